-- +goose Up
-- What apps say: messages with buttons and media, and notifications.
ALTER TABLE messages ADD COLUMN type TEXT NOT NULL DEFAULT 'TEXT';
ALTER TABLE messages ADD COLUMN app TEXT NOT NULL DEFAULT ''; -- that sent it, for the user or as its bot
ALTER TABLE messages ADD COLUMN buttons TEXT;
ALTER TABLE messages ADD COLUMN media TEXT NOT NULL DEFAULT '';

CREATE INDEX messages_media ON messages (media) WHERE media <> '' AND erased_at = 0;

CREATE TABLE notifications (
  id          INTEGER PRIMARY KEY,
  app         TEXT NOT NULL REFERENCES apps (slug),
  user_id     TEXT NOT NULL,
  message     TEXT NOT NULL,
  buttons     TEXT NOT NULL,
  target_type TEXT NOT NULL,
  post_token  TEXT NOT NULL,
  sent_at     INTEGER NOT NULL
);
CREATE INDEX notifications_user ON notifications (user_id, id);

-- What apps did and the marketplace has to show. The number is given at the
-- commit, in the order of commits: none appears below one that was seen.
CREATE TABLE feed (
  number INTEGER PRIMARY KEY,
  type   TEXT NOT NULL,
  app    TEXT NOT NULL,
  ref    INTEGER NOT NULL -- the event of a message, or the id of a notification
);
CREATE TABLE counters (
  name  TEXT PRIMARY KEY,
  value INTEGER NOT NULL
);
INSERT INTO counters (name, value) VALUES ('feed', 0);

-- Media that apps uploaded; the content is a file by the id.
CREATE TABLE media (
  id         TEXT PRIMARY KEY,
  app        TEXT NOT NULL REFERENCES apps (slug),
  kind       TEXT NOT NULL,
  mime       TEXT NOT NULL,
  name       TEXT NOT NULL,
  size_bytes INTEGER NOT NULL,
  height_px  INTEGER NOT NULL,
  width_px   INTEGER NOT NULL,
  created_at INTEGER NOT NULL,
  state      TEXT NOT NULL -- 'unsent', 'sent' once a message carries it, 'gone' before the file is removed
);
CREATE INDEX media_unsent ON media (created_at) WHERE state = 'unsent';
CREATE INDEX media_unsent_app ON media (app) WHERE state = 'unsent';
CREATE INDEX media_gone ON media (id) WHERE state = 'gone';

CREATE TABLE upload_tokens (
  hash       BLOB PRIMARY KEY,
  app        TEXT NOT NULL REFERENCES apps (slug),
  key_id     INTEGER NOT NULL REFERENCES api_keys (id),
  expires_at INTEGER NOT NULL
);
CREATE INDEX upload_tokens_expiry ON upload_tokens (expires_at);

-- Calls that an app answers while somebody waits are on the log as events with
-- one delivery; their order key names the user.
CREATE INDEX events_call ON events (order_key, id) WHERE type IN ('SESSION_INITIALIZATION', 'DYNAMIC_ACTION');

-- +goose Down
SELECT 1;
