-- +goose Up
-- What apps say: messages with buttons and media, and notifications.
ALTER TABLE messages ADD COLUMN type TEXT COLLATE "C" NOT NULL DEFAULT 'TEXT';
ALTER TABLE messages ADD COLUMN app TEXT COLLATE "C" NOT NULL DEFAULT ''; -- that sent it, for the user or as its bot
ALTER TABLE messages ADD COLUMN buttons TEXT COLLATE "C";
ALTER TABLE messages ADD COLUMN media TEXT COLLATE "C" NOT NULL DEFAULT '';

CREATE INDEX messages_media ON messages (media) WHERE media <> '' AND erased_at = 0;

CREATE TABLE notifications (
  id          BIGINT PRIMARY KEY,
  app         TEXT COLLATE "C" NOT NULL REFERENCES apps (slug),
  user_id     TEXT COLLATE "C" NOT NULL,
  message     TEXT COLLATE "C" NOT NULL,
  buttons     TEXT COLLATE "C" NOT NULL,
  target_type TEXT COLLATE "C" NOT NULL,
  post_token  TEXT COLLATE "C" NOT NULL,
  sent_at     BIGINT NOT NULL
);
CREATE INDEX notifications_user ON notifications (user_id, id);

-- What apps did and the marketplace has to show. The number is given at the
-- commit, in the order of commits: none appears below one that was seen.
CREATE TABLE feed (
  number BIGINT PRIMARY KEY,
  type   TEXT COLLATE "C" NOT NULL,
  app    TEXT COLLATE "C" NOT NULL,
  ref    BIGINT NOT NULL -- the event of a message, or the id of a notification
);
CREATE TABLE counters (
  name  TEXT COLLATE "C" PRIMARY KEY,
  value BIGINT NOT NULL
);
INSERT INTO counters (name, value) VALUES ('feed', 0);

-- Media that apps uploaded; the content is a file by the id.
CREATE TABLE media (
  id         TEXT COLLATE "C" PRIMARY KEY,
  app        TEXT COLLATE "C" NOT NULL REFERENCES apps (slug),
  kind       TEXT COLLATE "C" NOT NULL,
  mime       TEXT COLLATE "C" NOT NULL,
  name       TEXT COLLATE "C" NOT NULL,
  size_bytes BIGINT NOT NULL,
  height_px  BIGINT NOT NULL,
  width_px   BIGINT NOT NULL,
  created_at BIGINT NOT NULL,
  state      TEXT COLLATE "C" NOT NULL -- 'unsent', 'sent' once a message carries it, 'gone' before the file is removed
);
CREATE INDEX media_unsent ON media (created_at) WHERE state = 'unsent';
CREATE INDEX media_unsent_app ON media (app) WHERE state = 'unsent';
CREATE INDEX media_gone ON media (id) WHERE state = 'gone';

CREATE TABLE upload_tokens (
  hash       BYTEA PRIMARY KEY,
  app        TEXT COLLATE "C" NOT NULL REFERENCES apps (slug),
  key_id     BIGINT NOT NULL REFERENCES api_keys (id),
  expires_at BIGINT NOT NULL
);
CREATE INDEX upload_tokens_expiry ON upload_tokens (expires_at);

-- Calls that an app answers while somebody waits are on the log as events with
-- one delivery; their order key names the user.
CREATE INDEX events_call ON events (order_key, id) WHERE type IN ('SESSION_INITIALIZATION', 'DYNAMIC_ACTION');

-- +goose Down
SELECT 1;
