-- +goose Up
-- People who sign in to the panel.
CREATE TABLE accounts (
  name       TEXT COLLATE "C" PRIMARY KEY,
  role       TEXT COLLATE "C" NOT NULL, -- 'operator' or 'developer'
  password   TEXT COLLATE "C" NOT NULL, -- argon2id, with its salt and costs
  created_at BIGINT NOT NULL,
  ended_at   BIGINT NOT NULL DEFAULT 0
);

-- The apps that a developer may see and change.
CREATE TABLE account_apps (
  account  TEXT COLLATE "C" NOT NULL REFERENCES accounts (name),
  app      TEXT COLLATE "C" NOT NULL REFERENCES apps (slug),
  added_at BIGINT NOT NULL,
  PRIMARY KEY (account, app)
);
CREATE INDEX account_apps_app ON account_apps (app, account);

CREATE TABLE sessions (
  hash       BYTEA PRIMARY KEY, -- of the cookie
  account    TEXT COLLATE "C" NOT NULL REFERENCES accounts (name),
  created_at BIGINT NOT NULL,
  seen_at    BIGINT NOT NULL,
  expires_at BIGINT NOT NULL
);
CREATE INDEX sessions_account ON sessions (account);
CREATE INDEX sessions_expiry ON sessions (expires_at);

CREATE TABLE invitations (
  hash       BYTEA PRIMARY KEY, -- of what the link carries
  app        TEXT COLLATE "C" NOT NULL REFERENCES apps (slug),
  made_by    TEXT COLLATE "C" NOT NULL,
  created_at BIGINT NOT NULL,
  expires_at BIGINT NOT NULL
);
CREATE INDEX invitations_expiry ON invitations (expires_at);

-- Who changed what. Nothing changes in it, and nothing goes.
CREATE TABLE audit_log (
  id     BIGINT PRIMARY KEY,
  at     BIGINT NOT NULL,
  who    TEXT COLLATE "C" NOT NULL,
  app    TEXT COLLATE "C" NOT NULL, -- '' where it is of none
  action TEXT COLLATE "C" NOT NULL,
  detail TEXT COLLATE "C" NOT NULL
);
CREATE INDEX audit_log_app ON audit_log (app, id);
-- +goose StatementBegin
CREATE FUNCTION audit_log_stays() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  RAISE EXCEPTION 'the audit log does not change';
END $$;
-- +goose StatementEnd
CREATE TRIGGER audit_log_stays BEFORE UPDATE OR DELETE ON audit_log FOR EACH STATEMENT EXECUTE FUNCTION audit_log_stays();

-- What the panel lists.
CREATE INDEX grants_app ON grants (app, id) WHERE revoked_at = 0;

-- +goose Down
SELECT 1;
