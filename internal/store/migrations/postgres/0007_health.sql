-- +goose Up
-- Apps whose endpoints have been failing for a while.
CREATE TABLE endpoint_health (
  app           TEXT COLLATE "C" PRIMARY KEY REFERENCES apps (slug),
  failing_since BIGINT NOT NULL,
  marked_at     BIGINT NOT NULL DEFAULT 0 -- as failing for days
);

-- What the owner of an app is told, once.
CREATE TABLE notices (
  id   BIGINT PRIMARY KEY,
  app  TEXT COLLATE "C" NOT NULL REFERENCES apps (slug),
  kind TEXT COLLATE "C" NOT NULL,
  text TEXT COLLATE "C" NOT NULL,
  at   BIGINT NOT NULL
);

-- +goose Down
SELECT 1;
