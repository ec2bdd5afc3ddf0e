-- +goose Up
-- How many calls an app made in a minute or a day, by all nodes.
CREATE TABLE quota_use (
  app      TEXT COLLATE "C" NOT NULL,
  unit_us  BIGINT NOT NULL,
  start_us BIGINT NOT NULL,
  used     BIGINT NOT NULL,
  PRIMARY KEY (app, unit_us, start_us)
);
CREATE INDEX quota_use_age ON quota_use (unit_us, start_us);

-- +goose Down
SELECT 1;
