-- +goose Up
-- Which messages a conversation has, up to the event of listed_to. The few that
-- came since are looked through. An index would write a page for nearly every
-- message, since each comes to another conversation.
CREATE TABLE listed_messages (
  conversation TEXT NOT NULL,
  event_id     INTEGER NOT NULL,
  PRIMARY KEY (conversation, event_id)
) WITHOUT ROWID;
CREATE TABLE listed_to (event_id INTEGER NOT NULL);
INSERT INTO listed_to VALUES (0);
DROP INDEX messages_conversation;
