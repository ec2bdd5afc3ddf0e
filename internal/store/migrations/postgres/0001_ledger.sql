-- +goose Up
-- Text is compared byte by byte, as SQLite does, whatever the collation of the
-- database: pages keep their order and indexes outlive upgrades of the C library.
-- Times are microseconds since the epoch, UTC; 0 means never. Ids are
-- time-ordered integers. JSON is kept as text.

CREATE TABLE settings (
  name  TEXT COLLATE "C" PRIMARY KEY,
  value TEXT COLLATE "C" NOT NULL
);

CREATE TABLE apps (
  slug          TEXT COLLATE "C" PRIMARY KEY,
  settings      TEXT COLLATE "C" NOT NULL,
  sealed_key    BYTEA NOT NULL,
  client_secret BYTEA,
  created_at    BIGINT NOT NULL,
  updated_at    BIGINT NOT NULL
);

CREATE TABLE api_keys (
  id           BIGINT PRIMARY KEY,
  app          TEXT COLLATE "C" NOT NULL REFERENCES apps (slug),
  title        TEXT COLLATE "C" NOT NULL,
  prefix       TEXT COLLATE "C" NOT NULL,
  hash         BYTEA NOT NULL UNIQUE,
  permissions  TEXT COLLATE "C" NOT NULL,
  created_at   BIGINT NOT NULL,
  last_used_at BIGINT NOT NULL DEFAULT 0,
  revoked_at   BIGINT NOT NULL DEFAULT 0
);
CREATE INDEX api_keys_app ON api_keys (app, id);

CREATE TABLE signing_secrets (
  id         BIGINT PRIMARY KEY,
  app        TEXT COLLATE "C" NOT NULL REFERENCES apps (slug),
  sealed     BYTEA NOT NULL,
  created_at BIGINT NOT NULL,
  ends_at    BIGINT NOT NULL DEFAULT 0
);
CREATE INDEX signing_secrets_app ON signing_secrets (app, id);

CREATE TABLE users (
  id         TEXT COLLATE "C" PRIMARY KEY,
  phone      TEXT COLLATE "C" NOT NULL DEFAULT '',
  created_at BIGINT NOT NULL
);

CREATE TABLE grants (
  id         BIGINT PRIMARY KEY,
  app        TEXT COLLATE "C" NOT NULL REFERENCES apps (slug),
  user_id    TEXT COLLATE "C" NOT NULL,
  scopes     TEXT COLLATE "C" NOT NULL,
  granted_at BIGINT NOT NULL,
  revoked_at BIGINT NOT NULL DEFAULT 0,
  -- set once its queued deliveries are marked as canceled
  swept_at   BIGINT NOT NULL DEFAULT 0
);
CREATE UNIQUE INDEX grants_live ON grants (user_id, app) WHERE revoked_at = 0;
CREATE INDEX grants_user ON grants (user_id, app, id);
CREATE INDEX grants_unswept ON grants (id) WHERE revoked_at <> 0 AND swept_at = 0;

CREATE TABLE access_tokens (
  id         BIGINT PRIMARY KEY,
  hash       BYTEA NOT NULL UNIQUE,
  app        TEXT COLLATE "C" NOT NULL REFERENCES apps (slug),
  user_id    TEXT COLLATE "C" NOT NULL,
  grant_id   BIGINT NOT NULL REFERENCES grants (id),
  scopes     TEXT COLLATE "C" NOT NULL,
  created_at BIGINT NOT NULL,
  expires_at BIGINT NOT NULL,
  revoked_at BIGINT NOT NULL DEFAULT 0
);

CREATE TABLE subscriptions (
  id         BIGINT PRIMARY KEY,
  app        TEXT COLLATE "C" NOT NULL REFERENCES apps (slug),
  user_id    TEXT COLLATE "C" NOT NULL,
  event_type TEXT COLLATE "C" NOT NULL,
  resource   TEXT COLLATE "C" NOT NULL, -- '' means every resource of the user
  metadata   TEXT COLLATE "C",
  token_id   BIGINT NOT NULL REFERENCES access_tokens (id),
  grant_id   BIGINT NOT NULL REFERENCES grants (id),
  created_at BIGINT NOT NULL,
  expires_at BIGINT NOT NULL, -- of the token when it was made; it may die before
  ended_at   BIGINT NOT NULL DEFAULT 0, -- by the app itself
  UNIQUE (user_id, event_type, resource, app)
);
CREATE INDEX subscriptions_app ON subscriptions (app, id, expires_at);
CREATE INDEX subscriptions_newest ON subscriptions (app, event_type, created_at, expires_at);
CREATE INDEX subscriptions_living ON subscriptions (app, event_type, expires_at);

CREATE TABLE posts (
  token      TEXT COLLATE "C" PRIMARY KEY,
  owner      TEXT COLLATE "C" NOT NULL,
  state      TEXT COLLATE "C" NOT NULL,
  content    TEXT COLLATE "C" NOT NULL,
  event_id   BIGINT NOT NULL,
  updated_at BIGINT NOT NULL
);
CREATE INDEX posts_owner ON posts (owner, token);

CREATE TABLE conversations (
  id                TEXT COLLATE "C" PRIMARY KEY,
  type              TEXT COLLATE "C" NOT NULL,
  post_token        TEXT COLLATE "C" NOT NULL DEFAULT '',
  buyer             TEXT COLLATE "C" NOT NULL DEFAULT '',
  app               TEXT COLLATE "C" NOT NULL DEFAULT '',
  user_id           TEXT COLLATE "C" NOT NULL DEFAULT '',
  blocked_by_buyer  SMALLINT NOT NULL DEFAULT 0,
  blocked_by_seller SMALLINT NOT NULL DEFAULT 0,
  created_at        BIGINT NOT NULL
);
CREATE UNIQUE INDEX conversations_bot ON conversations (user_id, app) WHERE type = 'BOT';

CREATE TABLE messages (
  event_id     BIGINT PRIMARY KEY,
  id           TEXT COLLATE "C" NOT NULL UNIQUE,
  conversation TEXT COLLATE "C" NOT NULL,
  user_id      TEXT COLLATE "C" NOT NULL, -- who wrote it
  sent_at      BIGINT NOT NULL,
  hash         BYTEA NOT NULL,
  payload      TEXT COLLATE "C", -- NULL once erased
  erased_at    BIGINT NOT NULL DEFAULT 0
);
CREATE INDEX messages_conversation ON messages (conversation, event_id) WHERE erased_at = 0;
CREATE INDEX messages_user ON messages (user_id, event_id) WHERE erased_at = 0;

CREATE TABLE transactions (
  id            TEXT COLLATE "C" PRIMARY KEY,
  app           TEXT COLLATE "C" NOT NULL REFERENCES apps (slug),
  state         TEXT COLLATE "C" NOT NULL,
  type          TEXT COLLATE "C" NOT NULL,
  cost_rials    BIGINT NOT NULL,
  extra_details TEXT COLLATE "C",
  event_id      BIGINT NOT NULL,
  updated_at    BIGINT NOT NULL
);

-- An event with the number of deliveries and skips that its fan-out made:
-- what verify counts against.
CREATE TABLE events (
  id         BIGINT PRIMARY KEY,
  type       TEXT COLLATE "C" NOT NULL,
  order_key  TEXT COLLATE "C" NOT NULL,
  payload    TEXT COLLATE "C", -- NULL once erased
  at         BIGINT NOT NULL,
  deliveries BIGINT NOT NULL,
  skips      BIGINT NOT NULL,
  erased_at  BIGINT NOT NULL DEFAULT 0
);
CREATE INDEX events_post ON events (order_key, id) WHERE type = 'POST_UPDATE';

-- One row for each app that an event concerns: a delivery, or (state
-- 'skipped') the reason why there is none.
CREATE TABLE deliveries (
  event_id    BIGINT NOT NULL,
  app         TEXT COLLATE "C" NOT NULL,
  slot        SMALLINT NOT NULL,
  grant_id    BIGINT NOT NULL,
  metadata    TEXT COLLATE "C",
  state       TEXT COLLATE "C" NOT NULL,
  reason      TEXT COLLATE "C" NOT NULL DEFAULT '',
  attempts    BIGINT NOT NULL DEFAULT 0, -- made in all
  retry       BIGINT NOT NULL DEFAULT 0, -- steps of the retry schedule used
  next_at     BIGINT NOT NULL DEFAULT 0, -- of a pending one
  why         TEXT COLLATE "C" NOT NULL DEFAULT '',   -- the next attempt is made
  finished_at BIGINT NOT NULL DEFAULT 0,
  PRIMARY KEY (event_id, app)
);
CREATE INDEX deliveries_app ON deliveries (app, event_id);
CREATE INDEX deliveries_pending ON deliveries (app, next_at, event_id) WHERE state = 'pending';
CREATE INDEX deliveries_failed ON deliveries (state, event_id) WHERE state IN ('exhausted', 'canceled');
CREATE INDEX deliveries_failed_app ON deliveries (app, state, event_id) WHERE state IN ('exhausted', 'canceled');

CREATE TABLE attempts (
  event_id    BIGINT NOT NULL,
  app         TEXT COLLATE "C" NOT NULL,
  n           BIGINT NOT NULL,
  at          BIGINT NOT NULL,
  duration_us BIGINT NOT NULL,
  request     TEXT COLLATE "C" NOT NULL,
  status      BIGINT NOT NULL,
  answer      BYTEA,
  error       TEXT COLLATE "C" NOT NULL DEFAULT '',
  why         TEXT COLLATE "C" NOT NULL DEFAULT '',
  next_at     BIGINT NOT NULL DEFAULT 0,
  PRIMARY KEY (event_id, app, n)
);

-- Bulk redeliveries, taken up again after a crash.
CREATE TABLE redeliveries (
  id         BIGINT PRIMARY KEY,
  app        TEXT COLLATE "C" NOT NULL,
  state      TEXT COLLATE "C" NOT NULL,
  from_at    BIGINT NOT NULL, -- when the events happened, both ends included
  to_at      BIGINT NOT NULL,
  to_id      BIGINT NOT NULL, -- the last event that may be meant
  done_id    BIGINT NOT NULL, -- the last delivery that was looked at
  done_app   TEXT COLLATE "C" NOT NULL,
  count      BIGINT NOT NULL DEFAULT 0,
  created_at BIGINT NOT NULL,
  ended_at   BIGINT NOT NULL DEFAULT 0
);
CREATE INDEX redeliveries_open ON redeliveries (id) WHERE ended_at = 0;

-- +goose Down
SELECT 1;
