package store_test

import (
	"cmp"
	"context"
	"database/sql"
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/openkenar/openkenar/internal/store"
	"github.com/openkenar/openkenar/internal/store/storetest"
)

// wholeIndexes are read from end to end, and are meant to: they stay small, or
// hold no more than the work to be done.
var wholeIndexes = []string{
	"apps_pkey", "endpoint_health_pkey", "grants_unswept", "redeliveries_open", "media_gone", "deliveries_pending",
	"nodes_pkey", "slots_pkey",
}

// smallTables are of a few hundred rows at most.
var smallTables = []string{"nodes", "slots"}

// coldScan is the one statement, of the erasure of a user, that reads an index
// from end to end until there are statistics.
const coldScan = "FROM participants p JOIN messages m ON"

// crowd fills a ledger with so much that its plans matter.
const crowd = `
	INSERT INTO apps SELECT 'app-' || n, '{}', '', NULL, 0, 0 FROM generate_series(1, 100) n;
	INSERT INTO users SELECT 'user-' || n, '', 0 FROM generate_series(1, 5000) n;
	INSERT INTO grants SELECT n, 'app-' || (n % 100 + 1), 'user-' || n, '[]', 0, n % 5, 1 FROM generate_series(1, 5000) n;
	INSERT INTO access_tokens (id, hash, app, user_id, grant_id, scopes, created_at, expires_at)
		SELECT n, CAST(CAST(n AS TEXT) AS BYTEA), 'app-' || (n % 100 + 1), 'user-' || n, n, '[]', 0, n FROM generate_series(1, 5000) n;
	INSERT INTO refresh_tokens (id, hash, family, app, user_id, grant_id, scopes, expires_at)
		SELECT n, CAST(CAST(n AS TEXT) AS BYTEA), n, 'app-' || (n % 100 + 1), 'user-' || n, n, '[]', n FROM generate_series(1, 5000) n;
	INSERT INTO subscriptions (id, app, user_id, event_type, resource, token_id, grant_id, created_at, expires_at)
		SELECT n, 'app-' || (n % 100 + 1), 'user-' || n, 'POST_UPDATE', '', n, n, 0, n FROM generate_series(1, 5000) n;
	INSERT INTO posts SELECT 'post-' || n, 'user-' || n, 'PUBLISHED', '{}', n, 0 FROM generate_series(1, 5000) n;
	INSERT INTO conversations (id, type, post_token, created_at) SELECT 'c-' || n, 'POST', 'post-' || n, 0 FROM generate_series(1, 5000) n;
	INSERT INTO participants SELECT 'user-' || n % 1000, 'c-' || n FROM generate_series(1, 5000) n;
	INSERT INTO messages (event_id, id, conversation, user_id, sent_at, hash)
		SELECT n, 'm-' || n, 'c-' || n % 5000, 'user-' || n % 1000, 0, '' FROM generate_series(1, 1000000) n;
	INSERT INTO events SELECT n, 'POST_UPDATE', 'post ' || n / 10, '{}', n, 1, 0, 0 FROM generate_series(1, 1000000) n;
	INSERT INTO deliveries (event_id, app, slot, grant_id, state, next_at)
		SELECT n, 'app-' || (n % 100 + 1), 0, 0, CASE n % 4 WHEN 0 THEN 'pending' WHEN 1 THEN 'exhausted' ELSE 'delivered' END, n
		FROM generate_series(1, 1000000) n;
	INSERT INTO attempts (event_id, app, n, at, duration_us, request, status)
		SELECT n, 'app-' || (n % 100 + 1), 1, 0, 0, '', 200 FROM generate_series(1, 1000000) n;
	INSERT INTO feed SELECT n, 'MESSAGE', 'app-1', n FROM generate_series(1, 5000) n;
	INSERT INTO api_keys (id, app, title, prefix, hash, permissions, created_at)
		SELECT n, 'app-' || (n % 100 + 1), '', '', CAST(CAST(n AS TEXT) AS BYTEA), '[]', 0 FROM generate_series(1, 5000) n;
	INSERT INTO signing_secrets (id, app, sealed, created_at) SELECT n, 'app-' || (n % 100 + 1), '', 0 FROM generate_series(1, 5000) n;
	INSERT INTO notifications SELECT n, 'app-1', 'user-' || n % 1000, '', '', '', '', 0 FROM generate_series(1, 5000) n;
	INSERT INTO notices SELECT n, 'app-1', '', '', 0 FROM generate_series(1, 5000) n;
	INSERT INTO upload_tokens SELECT CAST(CAST(n AS TEXT) AS BYTEA), 'app-1', n, n FROM generate_series(1, 5000) n;
	INSERT INTO media SELECT 'media-' || n, 'app-' || (n % 100 + 1), '', '', '', 1, 1, 1, n, CASE n % 10 WHEN 0 THEN 'unsent' ELSE 'sent' END
		FROM generate_series(1, 5000) n;
	INSERT INTO oauth_logins (hash, app, redirect_uri, scopes, code_challenge, browser, expires_at)
		SELECT CAST(CAST(n AS TEXT) AS BYTEA), 'app-1', '', '', '', '', n FROM generate_series(1, 5000) n;
	INSERT INTO oauth_codes (hash, app, user_id, grant_id, family, redirect_uri, scopes, code_challenge, expires_at)
		SELECT CAST(CAST(n AS TEXT) AS BYTEA), 'app-1', 'user-1', n, n, '', '', '', n FROM generate_series(1, 5000) n;
	INSERT INTO quota_use SELECT 'app-' || (n % 100 + 1), 60000000, n, 1 FROM generate_series(1, 5000) n;
	INSERT INTO transactions SELECT 'x-' || n, 'app-1', '', '', 0, NULL, n, 0 FROM generate_series(1, 5000) n;
	INSERT INTO redeliveries SELECT n, 'app-1', '', 0, 0, 0, 0, '', 0, 0, 1 FROM generate_series(1, 5000) n;
	INSERT INTO accounts SELECT 'name-' || n, 'developer', '', 0, 0 FROM generate_series(1, 5000) n;
	INSERT INTO account_apps SELECT 'name-' || n, 'app-' || (n % 100 + 1), 0 FROM generate_series(1, 5000) n;
	INSERT INTO sessions SELECT CAST(CAST(n AS TEXT) AS BYTEA), 'name-' || n, 0, 0, n FROM generate_series(1, 5000) n;
	INSERT INTO invitations SELECT CAST(CAST(n AS TEXT) AS BYTEA), 'app-' || (n % 100 + 1), '', 0, n FROM generate_series(1, 5000) n;
	INSERT INTO audit_log SELECT n, n, '', 'app-' || (n % 100 + 1), '', '' FROM generate_series(1, 5000) n;
	INSERT INTO settings SELECT 'setting-' || n, '' FROM generate_series(1, 1000) n`

// spread fills the partition of a moment, which is %d in ids.
const spread = `
	INSERT INTO events (id, type, order_key, payload, at, deliveries, skips)
		SELECT id + %[1]d, type, order_key, payload, at, deliveries, skips FROM events_first WHERE id <= 5000;
	INSERT INTO deliveries (event_id, app, slot, grant_id, state, next_at)
		SELECT event_id + %[1]d, app, slot, grant_id, state, next_at FROM deliveries_first WHERE event_id <= 5000;
	INSERT INTO attempts (event_id, app, n, at, duration_us, request, status)
		SELECT event_id + %[1]d, app, n, at, duration_us, request, status FROM attempts_first WHERE event_id <= 5000`

// used are the tables that statistics are made of by themselves: those in which
// something is. The partition that comes next is empty, and so is the default.
const used = `SELECT relname FROM pg_class WHERE relkind = 'r' AND relnamespace = CAST('public' AS regnamespace) AND pg_relation_size(oid) > 0`

// checkPostgresPlans looks at the plans of what ran, in a full ledger of many
// partitions: before there are statistics of it, and with them.
func (st *statements) checkPostgresPlans(t *testing.T) {
	here := store.Options{URL: storetest.Postgres(t)}
	slices.Sort(st.list)
	list := slices.Compact(st.list)
	admin := raw(t, here)
	_, err := admin.ExecContext(t.Context(), crowd)
	ok(t, err)
	l := newTimed(t, here, time.Date(2040, 1, 1, 0, 0, 0, 0, time.UTC))
	for range 5 {
		l.makePartitions(month)
		_, err := admin.ExecContext(t.Context(), fmt.Sprintf(spread, l.now.UnixMicro()<<10))
		ok(t, err)
		l.now = l.now.Add(6 * day)
	}
	parents := parentsOfIndexes(t, admin)
	for _, step := range []string{"RESET ALL", "ANALYZE " + strings.Join(texts(t, admin, used), ", ")} {
		_, err := admin.ExecContext(t.Context(), step)
		ok(t, err)
		db, err := store.WriterDB(t.Context(), here.URL)
		ok(t, err)
		conn, err := db.Conn(t.Context())
		ok(t, err)
		_, err = conn.ExecContext(t.Context(), "SET plan_cache_mode = force_generic_plan")
		ok(t, err)
		for i, q := range list {
			whole := strings.HasSuffix(q, wholeLog) || step == "RESET ALL" && strings.Contains(q, coldScan)
			if !strings.Contains(q, "FROM") && !strings.Contains(q, "UPDATE ") || strings.HasPrefix(q, "INSERT") && !strings.Contains(q, "SELECT") {
				continue
			}
			for _, fault := range postgresPlan(t, conn, "s"+strconv.Itoa(i), q).faults(whole, parents) {
				t.Errorf("statistics %t: %s in\n%s", step != "RESET ALL", fault, q)
			}
		}
		ok(t, conn.Close())
		ok(t, db.Close())
	}
}

// parentsOfIndexes tells of the indexes of partitions which they are part of.
func parentsOfIndexes(t *testing.T, db *sql.DB) map[string]string {
	t.Helper()
	parents := map[string]string{}
	for _, pair := range texts(t, db, `SELECT c.relname || ' ' || p.relname FROM pg_inherits i
		JOIN pg_class c ON c.oid = i.inhrelid AND c.relkind = 'i' JOIN pg_class p ON p.oid = i.inhparent`) {
		child, parent, _ := strings.Cut(pair, " ")
		parents[child] = parent
	}
	if len(parents) < 8*6 {
		t.Fatalf("only %d indexes of partitions", len(parents))
	}
	return parents
}

// planned is a step of a plan.
type planned struct {
	Node  string `json:"Node Type"`
	Table string `json:"Relation Name"`
	Index string `json:"Index Name"`
	Cond  string `json:"Index Cond"`
	Plans []planned
}

// faults are the steps whose cost grows with the past.
func (p planned) faults(wholeLog bool, parents map[string]string) (list []string) {
	switch {
	case slices.Contains(smallTables, p.Table):
	case strings.HasSuffix(p.Node, "Seq Scan"), strings.HasPrefix(p.Node, "Hash"), strings.HasPrefix(p.Node, "Merge") && p.Node != "Merge Append", strings.HasPrefix(p.Node, "Bitmap"):
		list = append(list, p.Node+" "+p.Table)
	case strings.HasPrefix(p.Node, "Index") && p.Cond == "" && !wholeLog && !slices.Contains(wholeIndexes, cmp.Or(parents[p.Index], p.Index)):
		list = append(list, p.Node+" through all of "+p.Index)
	}
	for _, below := range p.Plans {
		list = append(list, below.faults(wholeLog, parents)...)
	}
	return list
}

// postgresPlan returns the plan of a statement for any parameters.
func postgresPlan(t *testing.T, conn *sql.Conn, name, q string) planned {
	t.Helper()
	args := 0
	for _, p := range parameter.FindAllStringSubmatch(q, -1) {
		n, err := strconv.Atoi(p[1])
		ok(t, err)
		args = max(args, n)
	}
	given := ""
	if args > 0 {
		given = "(" + strings.TrimSuffix(strings.Repeat("NULL, ", args), ", ") + ")"
	}
	var text string
	for _, step := range []string{"PREPARE " + name + " AS " + q, "EXPLAIN (FORMAT JSON) EXECUTE " + name + given} {
		if err := explain(t.Context(), conn, step, &text); err != nil {
			t.Fatalf("%v: %s", err, q)
		}
	}
	var plans []struct{ Plan planned }
	if err := json.Unmarshal([]byte(text), &plans); err != nil || len(plans) != 1 {
		t.Fatalf("the plan %s: %v", text, err)
	}
	return plans[0].Plan
}

func explain(ctx context.Context, conn *sql.Conn, q string, text *string) error {
	if strings.HasPrefix(q, "PREPARE") {
		_, err := conn.ExecContext(ctx, q)
		return err
	}
	if err := conn.QueryRowContext(ctx, q).Scan(text); err != nil {
		return fmt.Errorf("explain: %w", err)
	}
	return nil
}
