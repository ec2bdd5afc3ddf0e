package store

import (
	"context"
	"database/sql/driver"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"math/rand/v2"
	"net"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

const (
	// While nobody can connect, one tries again after retryFirst, then after
	// twice as long each time, at most retryMax; all less up to a half.
	retryFirst = 100 * time.Millisecond
	retryMax   = time.Second
	// connectAtOnce is how many connect at a time. All connections break at once
	// when a database goes away, and everybody wants a new one before anybody has
	// found out that there is none.
	connectAtOnce = 4
	// lookEvery is how often it is looked for answers that are overdue.
	lookEvery = 500 * time.Millisecond
	// slow is how long after a question nothing may come on a connection before
	// the server is asked whether it lives; it has signTime to give a sign, and
	// is asked again after signEvery.
	slow      = 2 * time.Second
	signTime  = 2 * time.Second
	signEvery = 5 * time.Second
)

// errDown says that the database could not be reached a moment ago. That was
// logged, so this is not.
var errDown = errors.New("the database cannot be reached")

// errCut is why a connection is closed whose server gives no sign of life.
var errCut = errors.New("the database gives no sign of life")

// link is how a pool reaches its database, and keeps what a failing database
// costs bounded, for the database and for those who wait:
//
//   - While nobody can connect, one tries to, at growing intervals, and all
//     others fail at once. How many want to connect does not count.
//   - Where no answer comes, the server is asked for a sign of life on a
//     connection of its own. If it gives none, all connections to it are closed,
//     and who waits on them fails then, not when the system gives up after a
//     quarter of an hour. A server that is only slow gives one.
//   - Nobody waits for one answer longer than longest, in whose middle a server
//     that lives may have been cut off from the others.
//
// It is the connector of a pool, and ends with it.
type link struct {
	name      string // of the ledger
	connector driver.Connector
	longest   time.Duration
	log       *slog.Logger
	ctx       context.Context // the link's life
	cancel    context.CancelFunc
	trying    sync.WaitGroup
	connects  chan struct{} // full while as many connect as may

	watching atomic.Bool // somebody looks for answers that are overdue

	mu     sync.Mutex
	lines  map[*line]struct{}
	down   error // errDown and why; nil: it is not known to be
	closed bool
}

func newLink(ctx context.Context, name string, longest time.Duration, log *slog.Logger) *link {
	l := &link{name: name, longest: longest, log: log, lines: map[*line]struct{}{}, connects: make(chan struct{}, connectAtOnce)}
	l.ctx, l.cancel = context.WithCancel(context.WithoutCancel(ctx))
	return l
}

// Driver implements driver.Connector.
func (l *link) Driver() driver.Driver { return l.connector.Driver() }

// Connect implements driver.Connector. It fails at once while nobody can.
func (l *link) Connect(ctx context.Context) (driver.Conn, error) {
	leave, err := l.enter(ctx)
	if err != nil {
		return nil, err
	}
	defer leave()
	conn, err := l.connect(ctx)
	if err != nil && ctx.Err() == nil {
		l.fell(err)
	}
	return conn, err
}

// enter waits until one may go to the database, and lets nobody while it is down.
func (l *link) enter(ctx context.Context) (leave func(), err error) {
	select {
	case l.connects <- struct{}{}:
		leave = func() { <-l.connects }
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	if err := l.isDown(); err != nil {
		leave()
		return nil, err
	}
	return leave, nil
}

// connecting marks the context of an attempt to connect.
type connecting struct{}

func (l *link) connect(ctx context.Context) (driver.Conn, error) {
	return l.connector.Connect(context.WithValue(ctx, connecting{}, true))
}

// Close implements io.Closer: the pool calls it at its end. Who still waits for an
// answer is let go.
func (l *link) Close() error {
	l.mu.Lock()
	l.closed = true
	left := slices.Collect(maps.Keys(l.lines))
	l.mu.Unlock()
	for _, c := range left {
		_ = c.Close()
	}
	l.cancel()
	l.trying.Wait()
	return nil
}

// fell notes that nobody can connect, and has one try.
func (l *link) fell(err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.down != nil || l.closed {
		return
	}
	l.down = fmt.Errorf("%w: %w", errDown, err)
	l.log.WarnContext(l.ctx, "the database cannot be reached; trying again", "ledger", l.name, "err", err)
	l.trying.Go(l.comeBack)
}

// comeBack tries to connect until it succeeds.
func (l *link) comeBack() {
	since := time.Now()
	for wait := retryFirst; ; wait = min(2*wait, retryMax) {
		select {
		case <-time.After(wait - rand.N(wait/2)): //nolint:gosec // spreads the attempts of many nodes
		case <-l.ctx.Done():
			return
		}
		conn, err := l.connect(l.ctx)
		if err != nil {
			l.found(fmt.Errorf("%w: %w", errDown, err))
			continue
		}
		_ = conn.Close()
		l.found(nil)
		l.log.InfoContext(l.ctx, "the database can be reached again", "ledger", l.name, "after", time.Since(since))
		return
	}
}

// found keeps why nobody can connect.
func (l *link) found(down error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.down = down
}

// line is a connection that knows since when an answer is awaited on it.
type line struct {
	net.Conn
	link  *link
	asked atomic.Int64 // when, in nanoseconds; 0: no answer is awaited
	alive time.Time    // when its server gave a sign of life; of the one who looks
}

func (l *link) isDown() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.down
}

// dial is a net.Dialer's for a link. The driver also dials to cancel what was
// under way on a connection that broke, each time that one did; while nobody can
// connect, that would only double the attempts.
func (l *link) dial(dial dialFunc) dialFunc {
	return func(ctx context.Context, network, address string) (net.Conn, error) {
		if ctx.Value(connecting{}) == nil {
			leave, err := l.enter(ctx)
			if err != nil {
				return nil, err
			}
			defer leave()
		}
		conn, err := dial(ctx, network, address)
		if err != nil {
			return nil, err
		}
		c := &line{Conn: conn, link: l}
		l.mu.Lock()
		l.lines[c] = struct{}{}
		l.mu.Unlock()
		return c, nil
	}
}

type dialFunc = func(ctx context.Context, network, address string) (net.Conn, error)

// Write implements net.Conn.
func (c *line) Write(b []byte) (int, error) {
	if c.asked.CompareAndSwap(0, time.Now().UnixNano()) && !c.link.watching.Swap(true) {
		time.AfterFunc(lookEvery, c.link.look)
	}
	return c.Conn.Write(b)
}

// Read implements net.Conn.
func (c *line) Read(b []byte) (int, error) {
	n, err := c.Conn.Read(b)
	if n > 0 {
		c.asked.Store(0)
	}
	return n, err
}

// Close implements net.Conn.
func (c *line) Close() error {
	c.link.mu.Lock()
	delete(c.link.lines, c)
	c.link.mu.Unlock()
	return c.Conn.Close()
}

// look looks for answers that are overdue, for as long as any is awaited.
func (l *link) look() {
	awaited := l.awaited()
	if len(awaited) == 0 {
		l.watching.Store(false)
		// A question that came meanwhile may have found the watch still on.
		if awaited = l.awaited(); len(awaited) == 0 || l.watching.Swap(true) {
			return
		}
	}
	for c, since := range awaited {
		switch {
		case since > l.longest:
			l.log.WarnContext(l.ctx, "an answer of the database did not come; its connection is closed", "ledger", l.name, "after", since)
			_ = c.Close()
		case since > slow && time.Since(c.alive) > signEvery:
			l.check(c)
		}
	}
	if l.ctx.Err() == nil {
		time.AfterFunc(lookEvery, l.look)
	}
}

// awaited returns for how long an answer has been awaited on which connections.
func (l *link) awaited() map[*line]time.Duration {
	l.mu.Lock()
	defer l.mu.Unlock()
	awaited := map[*line]time.Duration{}
	for c := range l.lines {
		if asked := c.asked.Load(); asked != 0 {
			awaited[c] = time.Since(time.Unix(0, asked))
		}
	}
	return awaited
}

// check closes all connections to the server of one if it gives no sign of life.
func (l *link) check(late *line) {
	network, address := late.RemoteAddr().Network(), late.RemoteAddr().String()
	if network == "unix" {
		return // the server is on this machine, and does not vanish
	}
	err := sign(l.ctx, network, address)
	l.mu.Lock()
	var same []*line
	for c := range l.lines {
		if c.RemoteAddr().String() == address {
			same = append(same, c)
		}
	}
	l.mu.Unlock()
	if err != nil {
		l.fell(errors.Join(errCut, err)) // first, so that who is let go does not try
	}
	for _, c := range same {
		if err == nil {
			c.alive = time.Now()
		} else {
			_ = c.Close()
		}
	}
}

// sign asks a server of PostgreSQL for its first byte: whether it would encrypt.
// That needs no session, so a server that has none left gives it too.
func sign(ctx context.Context, network, address string) (err error) {
	ctx, cancel := context.WithTimeout(ctx, signTime)
	defer cancel()
	var dialer net.Dialer
	conn, err := dialer.DialContext(ctx, network, address)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, conn.Close()) }()
	deadline, _ := ctx.Deadline()
	if err := conn.SetDeadline(deadline); err != nil {
		return err
	}
	const sslRequest = 80877103 // message formats of the frontend/backend protocol: SSLRequest
	question := binary.BigEndian.AppendUint32(binary.BigEndian.AppendUint32(nil, 8), sslRequest)
	if _, err := conn.Write(question); err != nil {
		return err
	}
	if _, err := io.ReadFull(conn, make([]byte, 1)); err != nil {
		return fmt.Errorf("no sign of life: %w", err)
	}
	return nil
}
