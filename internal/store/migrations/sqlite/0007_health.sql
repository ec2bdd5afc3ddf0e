-- +goose Up
-- Apps whose endpoints have been failing for a while.
CREATE TABLE endpoint_health (
  app           TEXT PRIMARY KEY REFERENCES apps (slug),
  failing_since INTEGER NOT NULL,
  marked_at     INTEGER NOT NULL DEFAULT 0 -- as failing for days
);

-- What the owner of an app is told, once.
CREATE TABLE notices (
  id   INTEGER PRIMARY KEY,
  app  TEXT NOT NULL REFERENCES apps (slug),
  kind TEXT NOT NULL,
  text TEXT NOT NULL,
  at   INTEGER NOT NULL
);

-- +goose Down
SELECT 1;
