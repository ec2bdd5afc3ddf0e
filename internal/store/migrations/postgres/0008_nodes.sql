-- +goose Up
-- Several nodes on one ledger. One at a time writes (a lock of the transaction),
-- and each transaction that writes leaves here the last id that it gave: ids
-- follow the order of commits, and a node sees whether others wrote meanwhile.
CREATE SEQUENCE ids MINVALUE 0 START 0 CACHE 1;
SELECT setval('ids', 0);

-- Nodes that live. Who is late beyond the end of its lease is taken out by
-- another; what is not here writes nothing.
CREATE TABLE nodes (
  id         BIGINT PRIMARY KEY,
  name       TEXT COLLATE "C" NOT NULL,
  session    BIGINT NOT NULL, -- an advisory lock that it holds while it listens
  version    TEXT COLLATE "C" NOT NULL,
  started_at BIGINT NOT NULL,
  lease_end  BIGINT NOT NULL, -- by the clock of the database
  seen       BIGINT NOT NULL  -- the last change that it acts on
) WITH (fillfactor = 50);

-- Which node sends to the apps of a slot; 0 is none.
CREATE TABLE slots (
  slot SMALLINT PRIMARY KEY,
  node BIGINT NOT NULL DEFAULT 0
) WITH (fillfactor = 50);
INSERT INTO slots (slot) SELECT generate_series(0, 255);

-- Transactions that wrote: one that has lost the answer of its COMMIT is found
-- here, or is not. An update of one row would be dear while an old snapshot is
-- kept open.
CREATE TABLE commits (
  id BIGINT PRIMARY KEY
);

-- What nodes must no longer remember.
CREATE TABLE changes (
  id   BIGINT PRIMARY KEY,
  kind TEXT COLLATE "C" NOT NULL,
  ref  TEXT COLLATE "C" NOT NULL
);

-- +goose Down
SELECT 1;
