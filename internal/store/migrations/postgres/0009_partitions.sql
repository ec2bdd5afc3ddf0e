-- +goose Up
-- Events, deliveries and attempts lie in partitions by ranges of event ids, so
-- that what is old goes as a whole. What there is becomes the first partition,
-- up to a day that is still to come, with its indexes; it is read once, to see
-- that it fits, and not copied. Servers make the partitions that follow; what
-- has none of its own goes into the default one, so that there is a place for
-- every id.

-- Whoever waits for a lock here makes all others wait: less than it takes the
-- database to look for a deadlock. The program tries again.
SET LOCAL lock_timeout = '500ms';
LOCK TABLE events, deliveries, attempts IN ACCESS EXCLUSIVE MODE;

-- +goose StatementBegin
DO $$
DECLARE
  day CONSTANT BIGINT := 86400000000 << 10; -- in ids
  bound BIGINT;
  tab TEXT;
  key TEXT;
  defs TEXT[];
  def TEXT;
  old RECORD;
BEGIN
  SELECT (greatest(CAST(extract(epoch FROM now()) * 1000000 AS BIGINT) << 10, max(last)) / day + 2) * day INTO bound FROM
    (SELECT max(id) AS last FROM events UNION ALL SELECT max(event_id) FROM deliveries UNION ALL SELECT max(event_id) FROM attempts) AS ids;
  FOREACH tab IN ARRAY ARRAY['events', 'deliveries', 'attempts'] LOOP
    key := CASE tab WHEN 'events' THEN 'id' ELSE 'event_id' END;
    defs := '{}';
    FOR old IN
      SELECT c.relname AS name, i.indisprimary AS is_key, pg_get_indexdef(c.oid) AS def, pg_get_constraintdef(k.oid) AS key_def
      FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid LEFT JOIN pg_constraint k ON k.conindid = c.oid AND k.contype = 'p'
      WHERE i.indrelid = CAST(tab AS regclass)
    LOOP
      defs := defs || CASE WHEN old.is_key THEN format('ALTER TABLE %I ADD %s', tab, old.key_def) ELSE old.def END;
      EXECUTE format('ALTER INDEX %I RENAME TO %I', old.name, replace(old.name, tab, tab || '_first'));
    END LOOP;
    EXECUTE format('ALTER TABLE %I RENAME TO %I', tab, tab || '_first');
    EXECUTE format('CREATE TABLE %I (LIKE %I INCLUDING DEFAULTS) PARTITION BY RANGE (%I)', tab, tab || '_first', key);
    FOREACH def IN ARRAY defs LOOP
      EXECUTE def;
    END LOOP;
    EXECUTE format('ALTER TABLE %I ATTACH PARTITION %I FOR VALUES FROM (MINVALUE) TO (%s)', tab, tab || '_first', bound);
    EXECUTE format('CREATE TABLE %I PARTITION OF %I DEFAULT', tab || '_default', tab);
  END LOOP;
END
$$;
-- +goose StatementEnd

-- +goose Down
SELECT 1;
