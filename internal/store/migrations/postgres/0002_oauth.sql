-- +goose Up
-- A login is one attempt of a browser to get through the consent: the request,
-- then the user whom the marketplace names, then the decision.
CREATE TABLE oauth_logins (
  hash           BYTEA PRIMARY KEY, -- of the login challenge
  app            TEXT COLLATE "C" NOT NULL REFERENCES apps (slug),
  redirect_uri   TEXT COLLATE "C" NOT NULL,
  scopes         TEXT COLLATE "C" NOT NULL,
  state          TEXT COLLATE "C",             -- base64; NULL when none was sent
  code_challenge TEXT COLLATE "C" NOT NULL DEFAULT '',
  browser        BYTEA NOT NULL,    -- hash of the cookie that binds it to its browser
  expires_at     BIGINT NOT NULL,
  user_id        TEXT COLLATE "C" NOT NULL DEFAULT '',
  consent        BYTEA UNIQUE,      -- hash of the consent challenge, once the user is known
  decided_at     BIGINT NOT NULL DEFAULT 0
);
CREATE INDEX oauth_logins_user ON oauth_logins (user_id) WHERE user_id <> '';
CREATE INDEX oauth_logins_expiry ON oauth_logins (expires_at);

CREATE TABLE oauth_codes (
  hash           BYTEA PRIMARY KEY,
  app            TEXT COLLATE "C" NOT NULL REFERENCES apps (slug),
  user_id        TEXT COLLATE "C" NOT NULL,
  grant_id       BIGINT NOT NULL REFERENCES grants (id),
  family         BIGINT NOT NULL, -- of the tokens that it gives
  redirect_uri   TEXT COLLATE "C" NOT NULL,
  scopes         TEXT COLLATE "C" NOT NULL,
  code_challenge TEXT COLLATE "C" NOT NULL DEFAULT '',
  expires_at     BIGINT NOT NULL,
  used_at        BIGINT NOT NULL DEFAULT 0
);
CREATE INDEX oauth_codes_expiry ON oauth_codes (expires_at);

CREATE TABLE refresh_tokens (
  id         BIGINT PRIMARY KEY,
  hash       BYTEA NOT NULL UNIQUE,
  family     BIGINT NOT NULL,
  app        TEXT COLLATE "C" NOT NULL REFERENCES apps (slug),
  user_id    TEXT COLLATE "C" NOT NULL,
  grant_id   BIGINT NOT NULL REFERENCES grants (id),
  scopes     TEXT COLLATE "C" NOT NULL,
  expires_at BIGINT NOT NULL,
  rotated_at BIGINT NOT NULL DEFAULT 0,
  revoked_at BIGINT NOT NULL DEFAULT 0
);
CREATE INDEX refresh_tokens_family ON refresh_tokens (family, expires_at);
CREATE INDEX refresh_tokens_current ON refresh_tokens (family) WHERE rotated_at = 0;

ALTER TABLE access_tokens ADD COLUMN family BIGINT NOT NULL DEFAULT 0;
CREATE INDEX access_tokens_family ON access_tokens (family, expires_at) WHERE family <> 0;

-- +goose Down
SELECT 1;
