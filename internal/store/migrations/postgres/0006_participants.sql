-- +goose Up
-- Who has written where: what an erasure starts from. An index of the messages
-- by user would cost each of them a page of its own.
CREATE TABLE participants (
  user_id      TEXT COLLATE "C" NOT NULL,
  conversation TEXT COLLATE "C" NOT NULL,
  PRIMARY KEY (user_id, conversation)
);
INSERT INTO participants (user_id, conversation) SELECT DISTINCT user_id, conversation FROM messages;
DROP INDEX messages_user;

-- +goose Down
SELECT 1;
