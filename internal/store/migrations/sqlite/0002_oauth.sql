-- +goose Up
-- A login is one attempt of a browser to get through the consent: the request,
-- then the user whom the marketplace names, then the decision.
CREATE TABLE oauth_logins (
  hash           BLOB PRIMARY KEY, -- of the login challenge
  app            TEXT NOT NULL REFERENCES apps (slug),
  redirect_uri   TEXT NOT NULL,
  scopes         TEXT NOT NULL,
  state          TEXT,             -- base64; NULL when none was sent
  code_challenge TEXT NOT NULL DEFAULT '',
  browser        BLOB NOT NULL,    -- hash of the cookie that binds it to its browser
  expires_at     INTEGER NOT NULL,
  user_id        TEXT NOT NULL DEFAULT '',
  consent        BLOB UNIQUE,      -- hash of the consent challenge, once the user is known
  decided_at     INTEGER NOT NULL DEFAULT 0
);
CREATE INDEX oauth_logins_user ON oauth_logins (user_id) WHERE user_id <> '';
CREATE INDEX oauth_logins_expiry ON oauth_logins (expires_at);

CREATE TABLE oauth_codes (
  hash           BLOB PRIMARY KEY,
  app            TEXT NOT NULL REFERENCES apps (slug),
  user_id        TEXT NOT NULL,
  grant_id       INTEGER NOT NULL REFERENCES grants (id),
  family         INTEGER NOT NULL, -- of the tokens that it gives
  redirect_uri   TEXT NOT NULL,
  scopes         TEXT NOT NULL,
  code_challenge TEXT NOT NULL DEFAULT '',
  expires_at     INTEGER NOT NULL,
  used_at        INTEGER NOT NULL DEFAULT 0
);
CREATE INDEX oauth_codes_expiry ON oauth_codes (expires_at);

CREATE TABLE refresh_tokens (
  id         INTEGER PRIMARY KEY,
  hash       BLOB NOT NULL UNIQUE,
  family     INTEGER NOT NULL,
  app        TEXT NOT NULL REFERENCES apps (slug),
  user_id    TEXT NOT NULL,
  grant_id   INTEGER NOT NULL REFERENCES grants (id),
  scopes     TEXT NOT NULL,
  expires_at INTEGER NOT NULL,
  rotated_at INTEGER NOT NULL DEFAULT 0,
  revoked_at INTEGER NOT NULL DEFAULT 0
);
CREATE INDEX refresh_tokens_family ON refresh_tokens (family, expires_at);
CREATE INDEX refresh_tokens_current ON refresh_tokens (family) WHERE rotated_at = 0;

ALTER TABLE access_tokens ADD COLUMN family INTEGER NOT NULL DEFAULT 0;
CREATE INDEX access_tokens_family ON access_tokens (family, expires_at) WHERE family <> 0;

-- +goose Down
SELECT 1;
