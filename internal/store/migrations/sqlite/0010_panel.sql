-- +goose Up
-- People who sign in to the panel.
CREATE TABLE accounts (
  name       TEXT PRIMARY KEY,
  role       TEXT NOT NULL, -- 'operator' or 'developer'
  password   TEXT NOT NULL, -- argon2id, with its salt and costs
  created_at INTEGER NOT NULL,
  ended_at   INTEGER NOT NULL DEFAULT 0
);

-- The apps that a developer may see and change.
CREATE TABLE account_apps (
  account  TEXT NOT NULL REFERENCES accounts (name),
  app      TEXT NOT NULL REFERENCES apps (slug),
  added_at INTEGER NOT NULL,
  PRIMARY KEY (account, app)
) WITHOUT ROWID;
CREATE INDEX account_apps_app ON account_apps (app, account);

CREATE TABLE sessions (
  hash       BLOB PRIMARY KEY, -- of the cookie
  account    TEXT NOT NULL REFERENCES accounts (name),
  created_at INTEGER NOT NULL,
  seen_at    INTEGER NOT NULL,
  expires_at INTEGER NOT NULL
);
CREATE INDEX sessions_account ON sessions (account);
CREATE INDEX sessions_expiry ON sessions (expires_at);

CREATE TABLE invitations (
  hash       BLOB PRIMARY KEY, -- of what the link carries
  app        TEXT NOT NULL REFERENCES apps (slug),
  made_by    TEXT NOT NULL,
  created_at INTEGER NOT NULL,
  expires_at INTEGER NOT NULL
);
CREATE INDEX invitations_expiry ON invitations (expires_at);

-- Who changed what. Nothing changes in it, and nothing goes.
CREATE TABLE audit_log (
  id     INTEGER PRIMARY KEY,
  at     INTEGER NOT NULL,
  who    TEXT NOT NULL,
  app    TEXT NOT NULL, -- '' where it is of none
  action TEXT NOT NULL,
  detail TEXT NOT NULL
);
CREATE INDEX audit_log_app ON audit_log (app, id);
-- +goose StatementBegin
CREATE TRIGGER audit_log_stays BEFORE UPDATE ON audit_log BEGIN
  SELECT RAISE(ABORT, 'the audit log does not change');
END;
-- +goose StatementEnd
-- +goose StatementBegin
CREATE TRIGGER audit_log_grows BEFORE DELETE ON audit_log BEGIN
  SELECT RAISE(ABORT, 'nothing goes from the audit log');
END;
-- +goose StatementEnd

-- What the panel lists.
CREATE INDEX grants_app ON grants (app, id) WHERE revoked_at = 0;

-- +goose Down
SELECT 1;
