package store

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/stdlib"

	"github.com/openkenar/openkenar/internal/delivery"
	"github.com/openkenar/openkenar/internal/status"
)

var _ delivery.Members = (*Store)(nil)

const (
	// turnLock is held by the one transaction of a schema that writes.
	turnLock = 0x6f6b6e72 // "oknr"
	// channel is where nodes tell each other what there is to see.
	channel = "openkenar"
	// maxNews is how long a notification may be, in bytes; PostgreSQL takes 7999.
	maxNews = 7000
	// keepChanges is how long changes are kept after every node has seen them.
	keepChanges = time.Hour
	// keepMarks is how long marks are kept: longer than somebody waits for what
	// became of a transaction.
	keepMarks = 10 * time.Minute
	// databaseNow is the clock that leases end by.
	databaseNow = `CAST(extract(epoch FROM clock_timestamp()) * 1000000 AS BIGINT)`

	ackWait    = 2 * time.Millisecond // between looks at what other nodes have seen
	maxAckWait = 50 * time.Millisecond
	// ackPatience is how long a change may take to be seen everywhere: a node that
	// does not answer is taken out before.
	ackPatience = 20 * time.Second
	// leavePatience is how long a node that stops may take to say so; then its
	// lease ends by itself.
	leavePatience = 3 * time.Second
	// listenCheck is how often the connection that listens is tried out.
	listenCheck = 5 * time.Second
)

// turn is what a transaction finds when its turn has come: no other writes
// until it ends.
type turn struct {
	last   int64 // the last id that was given, by any node
	others int   // nodes that live, besides this one
	member bool  // this one is not taken for dead
}

// after is the id that what happens now must not be taken to be before.
func (t turn) after() int64 {
	if t.others == 0 {
		return 0
	}
	return t.last
}

// Shared says whether several nodes may use the ledger.
func (s *Store) Shared() bool { return !s.dialect.exclusive }

// takeTurn begins a transaction and waits for its turn, in one exchange.
func takeTurn(ctx context.Context, s *Store) (t turn, err error) {
	node := s.node.Load()
	err = s.writing.Raw(func(driver any) (err error) {
		var batch pgx.Batch
		batch.Queue(`BEGIN ISOLATION LEVEL READ COMMITTED`)
		batch.Queue(fmt.Sprintf(`SELECT pg_advisory_xact_lock(%d, hashtext(current_schema()))`, turnLock))
		batch.Queue(`SELECT last_value, (SELECT count(*) FROM nodes WHERE id <> $1), EXISTS (SELECT 1 FROM nodes WHERE id = $1) FROM ids`, node)
		answers := driver.(*stdlib.Conn).Conn().SendBatch(ctx, &batch)
		defer func() { err = errors.Join(err, answers.Close()) }()
		for range 2 {
			if _, err := answers.Exec(); err != nil {
				return err
			}
		}
		return answers.QueryRow().Scan(&t.last, &t.others, &t.member)
	})
	t.member = t.member || node == 0
	return t, err
}

// endTurn leaves the mark of a transaction, the last id that was given, and word
// to the other nodes. No number of a transaction that the engine gives would do
// for a mark: after a crash, or on a standby that has become the primary, another
// transaction may have the same.
func endTurn(tx *Tx) (mark int64, err error) {
	mark = tx.NextID()
	q, args := `WITH mark AS (INSERT INTO commits (id) VALUES ($1)) SELECT setval('ids', $1), ''`, []any{mark}
	if news := tx.news(); news != "" && tx.others > 0 {
		q, args = `WITH mark AS (INSERT INTO commits (id) VALUES ($1)) SELECT setval('ids', $1), pg_notify('`+channel+`', $2)`, append(args, news)
	}
	var last, nothing any
	_, err = row(tx.ctx, tx, q, args, &last, &nothing)
	return mark, err
}

// news is what other nodes are told once the transaction is committed. It only
// says where to look; what there is, is in the ledger.
func (tx *Tx) news() string {
	var lines []string
	if len(tx.fresh) > 0 {
		lines = append(lines, strings.Join(append([]string{"look"}, appsOf(tx.fresh)...), " "))
	}
	if len(tx.woken) > 0 {
		slices.Sort(tx.woken)
		lines = append(lines, strings.Join(append([]string{"wake"}, slices.Compact(tx.woken)...), " "))
	}
	if len(tx.published) > 0 {
		lines = append(lines, "feed")
	}
	if tx.changed > 0 {
		lines = append(lines, "changes")
	}
	if tx.moved {
		lines = append(lines, "nodes")
	}
	if all := strings.Join(lines, "\n"); len(all) <= maxNews {
		return all
	}
	return "all"
}

// allNews makes a node look at everything.
var allNews = delivery.News{LookAll: true, Feed: true, Changes: true, Nodes: true}

func readNews(text string) (n delivery.News) {
	for line := range strings.Lines(text) {
		switch words := strings.Fields(line); {
		case len(words) == 0:
		case words[0] == "look":
			n.Look = words[1:]
		case words[0] == "wake":
			n.Wake = words[1:]
		case words[0] == "feed":
			n.Feed = true
		case words[0] == "changes":
			n.Changes = true
		case words[0] == "nodes":
			n.Nodes = true
		default: // also what a newer node may say
			return allNews
		}
	}
	return n
}

func appsOf(list []delivery.Delivery) (apps []string) {
	for _, d := range list {
		apps = append(apps, d.ID.App)
	}
	slices.Sort(apps)
	return slices.Compact(apps)
}

// change notes that what nodes remember of something is out of date. The write
// is answered once all have heard of it.
func (tx *Tx) change(kind delivery.ChangeKind, ref string) error {
	if tx.store.dialect.exclusive {
		return nil
	}
	tx.changed = tx.NextID()
	return tx.run(`INSERT INTO changes (id, kind, ref) VALUES ($1, $2, $3)`, tx.changed, string(kind), ref)
}

func (tx *Tx) changeID(kind delivery.ChangeKind, id int64) error {
	return tx.change(kind, strconv.FormatInt(id, 10))
}

// wake notes that an app has deliveries which were put back.
func (tx *Tx) wake(app string) { tx.woken = append(tx.woken, app) }

// Beat implements delivery.Members.
func (s *Store) Beat(ctx context.Context, b delivery.Beat) (st delivery.Standing, err error) {
	w := &write{patience: patience, lateToo: true, run: func(tx *Tx) (err error) {
		st, err = tx.beat(b)
		return err
	}}
	return st, s.submit(ctx, w)
}

func (tx *Tx) beat(b delivery.Beat) (st delivery.Standing, err error) {
	st.Node = tx.store.node.Load()
	n, err := tx.exec(`UPDATE nodes SET lease_end = `+databaseNow+` + $2, seen = greatest(seen, $3) WHERE id = $1`,
		st.Node, b.Lease.Microseconds(), b.Seen)
	if err != nil {
		return st, err
	}
	if n == 0 {
		if st.Node, err = tx.join(b); err != nil {
			return st, err
		}
	}
	// Who is late by a whole second may have stopped just now.
	n, err = tx.exec(`DELETE FROM nodes WHERE lease_end < `+databaseNow+` - $1`, time.Second.Microseconds())
	if err != nil {
		return st, err
	}
	tx.moved = tx.moved || n > 0
	if err := tx.run(`UPDATE slots SET node = 0 WHERE node <> 0 AND NOT EXISTS (SELECT 1 FROM nodes WHERE id = slots.node)`); err != nil {
		return st, err
	}
	for _, slot := range b.Release {
		tx.moved = true
		if err := tx.run(`UPDATE slots SET node = 0 WHERE slot = $2 AND node = $1`, st.Node, slot); err != nil {
			return st, err
		}
	}
	if _, err := row(tx.ctx, tx, `SELECT count(*) FROM nodes`, nil, &st.Nodes); err != nil {
		return st, err
	}
	own, err := rows(tx.ctx, tx, scanID, `SELECT slot FROM slots WHERE node = $1`, st.Node)
	if err != nil {
		return st, err
	}
	share := (delivery.Slots + st.Nodes - 1) / st.Nodes
	if len(own) < share {
		taken, err := rows(tx.ctx, tx, scanID, `UPDATE slots SET node = $1
			WHERE slot IN (SELECT slot FROM slots WHERE node = 0 ORDER BY slot LIMIT $2) RETURNING slot`, st.Node, share-len(own))
		if err != nil {
			return st, err
		}
		own = append(own, taken...)
	}
	st.Excess = max(0, len(own)-share)
	for _, slot := range own {
		st.Slots = append(st.Slots, int(slot))
	}
	slices.Sort(st.Slots)
	if err := tx.forgetMarks(); err != nil {
		return st, err
	}
	return st, tx.run(`DELETE FROM changes WHERE id < $1 AND id <= (SELECT min(seen) FROM nodes)`, idAt(tx.store.now().Add(-keepChanges)))
}

// forgetMarks takes old marks away. It begins where it has stopped, past what an
// old snapshot keeps in the index.
func (tx *Tx) forgetMarks() error {
	s := tx.store
	from, to := s.unmarked, idAt(s.now().Add(-keepMarks))
	if err := tx.run(`DELETE FROM commits WHERE id >= $1 AND id < $2`, from, to); err != nil {
		return err
	}
	s.unmarked = to
	return nil
}

// join makes this node a member, also when it was taken for dead.
func (tx *Tx) join(b delivery.Beat) (node int64, err error) {
	// This process was here before, has ended and is started again: nobody has to
	// wait for the end of its lease.
	if err := tx.run(`DELETE FROM nodes WHERE name = $1 AND session <> 0 AND pg_try_advisory_xact_lock(session)`, b.Name); err != nil {
		return 0, err
	}
	node = tx.NextID()
	seen := b.Seen
	if seen == 0 {
		seen = node // it remembers nothing yet
	}
	tx.joined, tx.moved = node, true
	return node, tx.run(`INSERT INTO nodes (id, name, session, version, started_at, lease_end, seen)
		VALUES ($1, $2, $3, $4, $5, `+databaseNow+` + $6, $7)`,
		node, b.Name, tx.store.presence.Load(), b.Version, micros(tx.store.now()), b.Lease.Microseconds(), seen)
}

// Leave implements delivery.Members.
func (s *Store) Leave(ctx context.Context) error {
	node := s.node.Load()
	w := &write{patience: leavePatience, lateToo: true, run: func(tx *Tx) error {
		tx.moved = true
		if err := tx.run(`UPDATE slots SET node = 0 WHERE node = $1`, node); err != nil {
			return err
		}
		return tx.run(`DELETE FROM nodes WHERE id = $1`, node)
	}}
	err := s.submit(context.WithoutCancel(ctx), w) // who has no time left for sends has some for this
	if err == nil {
		s.node.Store(0)
	}
	return err
}

// Changes implements delivery.Members.
func (s *Store) Changes(ctx context.Context, after int64) ([]delivery.Change, error) {
	return rows(ctx, &s.reading, scanChange, `SELECT id, kind, ref FROM changes WHERE id > $1 ORDER BY id`, after)
}

func scanChange(r scanner) (c delivery.Change, err error) {
	err = r.Scan(&c.ID, &c.Kind, &c.Ref)
	return c, err
}

// Saw implements delivery.Members.
func (s *Store) Saw(ctx context.Context, change int64) error {
	return s.write(ctx, func(tx *Tx) error {
		return tx.run(`UPDATE nodes SET seen = $2 WHERE id = $1 AND seen < $2`, s.node.Load(), change)
	})
}

// agreed waits until no node can still act on what a change has ended: each has
// seen it, or is taken out.
func (s *Store) agreed(ctx context.Context, change int64) error {
	ctx, cancel := context.WithTimeout(ctx, ackPatience)
	defer cancel()
	for wait := ackWait; ; wait = min(2*wait, maxAckWait) {
		behind := 0
		_, err := row(ctx, &s.reading, `SELECT count(*) FROM nodes WHERE id <> $1 AND seen < $2`, []any{s.node.Load(), change}, &behind)
		if err == nil && behind == 0 {
			return nil
		}
		select {
		case <-time.After(wait):
		case <-s.stop:
			return errClosed()
		case <-ctx.Done():
			return status.Wrap(status.Unavailable, fmt.Errorf("wait for other nodes: %w", errors.Join(ctx.Err(), err)),
				"this is done, but other nodes may act on what was before for some seconds; try again to be told when they no longer do")
		}
	}
}

// Nodes returns the nodes that live, by id.
func (s *Store) Nodes(ctx context.Context) ([]delivery.Peer, error) {
	return rows(ctx, &s.reading, scanPeer, `SELECT n.id, n.name, n.version, n.started_at, (SELECT count(*) FROM slots WHERE node = n.id)
		FROM nodes n ORDER BY n.id`)
}

func scanPeer(r scanner) (p delivery.Peer, err error) {
	var started int64
	err = r.Scan(&p.Node, &p.Name, &p.Version, &started, &p.Slots)
	p.StartedAt = moment(started)
	return p, err
}

// Listen implements delivery.Members.
func (s *Store) Listen(ctx context.Context, heard func(delivery.News)) (err error) {
	conn, err := s.listener(ctx)
	if err != nil {
		return err
	}
	defer func() {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Second)
		defer cancel()
		err = errors.Join(err, conn.Close(ctx))
	}()
	if _, err := conn.Exec(ctx, `LISTEN `+channel); err != nil {
		return err
	}
	session := s.presence.Load()
	if session == 0 {
		session = rand.Int64() //nolint:gosec // no secret, and no other's by a chance of 2⁶³
	}
	// Failure policy: go on. It only tells that this process has ended.
	if _, err := conn.Exec(ctx, `SELECT pg_try_advisory_lock($1)`, session); err != nil {
		return err
	}
	s.presence.Store(session)
	heard(allNews) // what was said before is not heard again
	for {
		n, err := waitForNews(ctx, conn)
		switch {
		case ctx.Err() != nil:
			return nil
		case err != nil:
			return err
		case n != nil:
			heard(readNews(n.Payload))
		}
	}
}

type notification struct{ Payload string }

// waitForNews returns nil when all is quiet and the connection is alive.
func waitForNews(ctx context.Context, conn *pgx.Conn) (*notification, error) {
	quiet, cancel := context.WithTimeout(ctx, listenCheck)
	defer cancel()
	n, err := conn.WaitForNotification(quiet)
	if err == nil {
		return &notification{n.Payload}, nil
	}
	if quiet.Err() == nil || ctx.Err() != nil || conn.IsClosed() {
		return nil, err
	}
	alive, stop := context.WithTimeout(ctx, listenCheck)
	defer stop()
	return nil, conn.Ping(alive)
}
