package storetest

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/jackc/pgx/v5"
)

// Server is a PostgreSQL server of a test's own, which may do to it what befalls
// servers. Its ledger is reached through a Proxy. It goes when the test ends.
type Server struct {
	*Proxy
	t       testing.TB
	cluster *cluster
	options string // of its start
}

// NewServer starts a server with an empty ledger; settings are of the server,
// "name=value". Where no PostgreSQL is installed the test is skipped; in CI it
// fails.
func NewServer(t testing.TB, settings ...string) *Server {
	t.Helper()
	s := emptyServer(t)
	s.options = "-c fsync=off -c full_page_writes=off -c autovacuum=off"
	for _, set := range settings {
		s.options += " -c " + set
	}
	if err := s.cluster.prepare(t.Context(), s.options); err != nil {
		t.Fatal(err)
	}
	return s
}

func emptyServer(t testing.TB) *Server {
	t.Helper()
	c, err := newCluster()
	if errors.Is(err, errMissing) && os.Getenv("CI") != "true" {
		t.Skip(err)
	}
	if err != nil {
		t.Fatalf("PostgreSQL for tests: %v", err)
	}
	t.Cleanup(func() {
		if err := c.end(); err != nil {
			t.Error(err)
		}
	})
	return &Server{Proxy: newProxy(t, c.dir), t: t, cluster: c}
}

// URL is of the ledger, on several servers of which one takes writes.
func (s *Server) URL(others ...*Server) string {
	hosts := []string{s.Addr()}
	for _, o := range others {
		hosts = append(hosts, o.Addr())
	}
	return "postgres://postgres:" + password + "@" + strings.Join(hosts, ",") + "/" + template + "?sslmode=disable"
}

// Direct is the URL of the ledger past the proxy.
func (s *Server) Direct() string { return s.cluster.url(template) }

// Crash stops the server as a power cut would: nothing is finished.
func (s *Server) Crash() {
	s.t.Helper()
	s.order(`pg_ctl stop --wait --mode immediate --pgdata "$DIR/data"`)
}

// Stop stops the server in good order.
func (s *Server) Stop() {
	s.t.Helper()
	s.order(`pg_ctl stop --wait --mode fast --pgdata "$DIR/data"`)
}

// Kill kills the server with SIGKILL, and with it all its processes.
func (s *Server) Kill() {
	s.t.Helper()
	// Its own children end by themselves once the first process is gone.
	s.order(`kill -9 "$(head -n 1 "$DIR/data/postmaster.pid")"`)
}

// Start starts the server that was stopped. What is left of one that was killed
// may be in the way for a moment.
func (s *Server) Start() {
	s.t.Helper()
	s.order(`for try in $(seq 50); do ` + fmt.Sprintf(start, s.options) + ` && break; sleep 0.2; done`)
}

// Restart restarts the server in good order.
func (s *Server) Restart() {
	s.t.Helper()
	s.Stop()
	s.Start()
}

// Standby starts another server that follows this one, which from then on
// answers no commit that the other does not have.
func (s *Server) Standby() *Server {
	s.t.Helper()
	b := emptyServer(s.t)
	b.options = s.options
	from := url.Values{"host": {s.cluster.dir}}
	b.order(`pg_basebackup --pgdata "$DIR/data" --checkpoint fast --no-sync --write-recovery-conf --dbname ` +
		`"postgres://postgres@/postgres?` + from.Encode() + `&application_name=standby"`)
	b.Start()
	s.Exec("ALTER SYSTEM SET synchronous_standby_names = 'standby'", "SELECT pg_reload_conf()")
	return b
}

// Promote makes a standby the primary.
func (s *Server) Promote() {
	s.t.Helper()
	s.order(`pg_ctl promote --wait --pgdata "$DIR/data"`)
	s.Exec("ALTER SYSTEM RESET synchronous_standby_names", "SELECT pg_reload_conf()")
}

func (s *Server) order(order string) {
	s.t.Helper()
	if err := s.cluster.do(order); err != nil {
		s.t.Fatal(err)
	}
}

// Exec runs statements in the ledger's database, past the proxy.
func (s *Server) Exec(statements ...string) {
	s.t.Helper()
	conn := s.Session()
	for _, q := range statements {
		if _, err := conn.Exec(s.t.Context(), q); err != nil {
			s.t.Fatalf("%s: %v", q, err)
		}
	}
	if err := conn.Close(s.t.Context()); err != nil {
		s.t.Fatal(err)
	}
}

// Session is a connection past the proxy.
func (s *Server) Session() *pgx.Conn {
	s.t.Helper()
	conn, err := pgx.Connect(s.t.Context(), s.Direct())
	if err != nil {
		s.t.Fatal(err)
	}
	return conn
}

// CutSessions ends all sessions of the platform at the server.
func (s *Server) CutSessions() {
	s.t.Helper()
	s.Exec("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'openkenar'")
}

// TakeConnections takes all connections of the server, also those that the
// platform has; give gives them back.
func (s *Server) TakeConnections() (give func()) {
	s.t.Helper()
	taken := []*pgx.Conn{s.Session()}
	// Twice in a row nothing is left: one that is ending holds its place a little
	// longer than it is seen.
	for nothing := 0; nothing < 2; nothing++ {
		if conn, err := pgx.Connect(s.t.Context(), s.Direct()); err == nil {
			taken, nothing = append(taken, conn), -1
			continue
		}
		var ended int
		if err := taken[0].QueryRow(s.t.Context(), `SELECT count(pg_terminate_backend(pid, 1000)) FROM pg_stat_activity
			WHERE application_name = 'openkenar'`).Scan(&ended); err != nil {
			s.t.Fatal(err)
		}
		if ended > 0 {
			nothing = -1
		}
	}
	return func() {
		for _, conn := range taken {
			_ = conn.Close(context.WithoutCancel(s.t.Context()))
		}
	}
}

// ReadOnly has the server take no writes until mend is called.
func (s *Server) ReadOnly() (mend func()) {
	s.t.Helper()
	s.Exec("ALTER SYSTEM SET default_transaction_read_only = on", "SELECT pg_reload_conf()")
	return func() {
		s.t.Helper()
		s.Exec("SET default_transaction_read_only = off", "ALTER SYSTEM RESET default_transaction_read_only", "SELECT pg_reload_conf()")
	}
}

// FillDisk leaves no room for the rows of an empty table: its file becomes one
// to which the system writes nothing, for want of room. The table is emptied
// when free is called.
func (s *Server) FillDisk(table string) (free func()) {
	s.t.Helper()
	conn := s.Session()
	defer func() { _ = conn.Close(s.t.Context()) }()
	rows := -1
	if err := conn.QueryRow(s.t.Context(), "SELECT count(*) FROM "+table).Scan(&rows); err != nil || rows != 0 {
		s.t.Fatalf("%s has %d rows, %v; it must be empty", table, rows, err)
	}
	var file string
	if _, err := conn.Exec(s.t.Context(), "TRUNCATE "+table); err != nil { // no process has the new file open
		s.t.Fatal(err)
	}
	if err := conn.QueryRow(s.t.Context(), "SELECT pg_relation_filepath('"+table+"')").Scan(&file); err != nil {
		s.t.Fatal(err)
	}
	s.order(`ln -sf /dev/full "$DIR/data/` + file + `"`)
	return func() {
		s.t.Helper()
		s.Exec("TRUNCATE " + table)
	}
}

// Proxy stands before a server, on a TCP port of its own, and misbehaves as
// networks do.
type Proxy struct {
	listener net.Listener
	behind   string // the server's socket
	running  sync.WaitGroup

	mu       sync.Mutex
	mode     mode
	attempts int
	answers  int    // that still come through, the next of which is the one meant; 0: none is
	meant    func() // what happens before it passes; nil: it is lost with its connection
	lost     int
	conns    map[net.Conn]struct{}
	flow     chan struct{} // closed while what is sent flows
}

type mode int

const (
	passing mode = iota
	refusing
	stalling
)

// NewProxy starts a proxy before the server of a database, and returns the
// database's URL through it.
func NewProxy(t testing.TB, direct string) (p *Proxy, through string) {
	t.Helper()
	u, err := url.Parse(direct)
	if err != nil {
		t.Fatal(err)
	}
	p = newProxy(t, u.Query().Get("host"))
	u.Host, u.RawQuery = p.Addr(), "sslmode=disable"
	return p, u.String()
}

func newProxy(t testing.TB, dir string) *Proxy {
	t.Helper()
	p := &Proxy{behind: filepath.Join(dir, ".s.PGSQL.5432"), conns: map[net.Conn]struct{}{}, flow: make(chan struct{})}
	close(p.flow)
	var listen net.ListenConfig
	var err error
	if p.listener, err = listen.Listen(t.Context(), "tcp", "127.0.0.1:0"); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.WithoutCancel(t.Context()))
	p.running.Go(func() { p.accept(ctx) })
	t.Cleanup(func() {
		cancel()
		_ = p.listener.Close()
		p.Pass()
		p.Cut()
		p.running.Wait()
	})
	return p
}

// Addr is the address of the proxy.
func (p *Proxy) Addr() string {
	a := p.listener.Addr().(*net.TCPAddr)
	return net.JoinHostPort(a.IP.String(), strconv.Itoa(a.Port))
}

// Attempts is how many connections were asked for so far.
func (p *Proxy) Attempts() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.attempts
}

// LoseAnswer loses the answer that comes after so many others, with its
// connection.
func (p *Proxy) LoseAnswer(after int) {
	p.Before(after, nil)
}

// Before has something happen while the answer that comes after so many others
// is on its way.
func (p *Proxy) Before(after int, happens func()) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.answers, p.meant = after+1, happens
}

// Lost is how many answers were lost.
func (p *Proxy) Lost() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.lost
}

// lose says whether an answer is to be lost.
func (p *Proxy) lose() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.answers == 0 {
		return false
	}
	if p.answers--; p.answers > 0 {
		return false
	}
	if happens := p.meant; happens != nil {
		p.mu.Unlock()
		happens()
		p.mu.Lock()
		return false
	}
	p.lost++
	return true
}

// Pass passes everything on, from now on.
func (p *Proxy) Pass() { p.set(passing) }

// Refuse ends all connections, and each new one at once.
func (p *Proxy) Refuse() {
	p.set(refusing)
	p.Cut()
}

// Stall leaves all connections as they are, takes new ones, and lets nothing
// through any more, in either direction.
func (p *Proxy) Stall() { p.set(stalling) }

func (p *Proxy) set(m mode) {
	p.mu.Lock()
	defer p.mu.Unlock()
	switch {
	case m == stalling && p.mode != stalling:
		p.flow = make(chan struct{})
	case m != stalling && p.mode == stalling:
		close(p.flow)
	}
	p.mode = m
}

// Cut ends all connections.
func (p *Proxy) Cut() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for c := range p.conns {
		_ = c.Close()
	}
}

func (p *Proxy) accept(ctx context.Context) {
	for {
		client, err := p.listener.Accept()
		if err != nil {
			return
		}
		p.mu.Lock()
		p.attempts++
		refused := p.mode == refusing
		p.mu.Unlock()
		if refused {
			_ = client.Close()
			continue
		}
		p.running.Go(func() { p.connect(ctx, client) })
	}
}

// connect connects a client with the server.
func (p *Proxy) connect(ctx context.Context, client net.Conn) {
	var dialer net.Dialer
	server, err := dialer.DialContext(ctx, "unix", p.behind)
	if err != nil { // it is not there
		_ = client.Close()
		return
	}
	p.mu.Lock()
	p.conns[client], p.conns[server] = struct{}{}, struct{}{}
	p.mu.Unlock()
	var passing sync.WaitGroup
	passing.Go(func() { p.pass(server, client, func() bool { return false }) })
	p.pass(client, server, p.lose)
	passing.Wait()
	p.mu.Lock()
	delete(p.conns, client)
	delete(p.conns, server)
	p.mu.Unlock()
}

// pass passes on what comes, until something is to be lost, and the end too.
func (p *Proxy) pass(to io.WriteCloser, from io.ReadCloser, lose func() bool) {
	defer func() { _, _ = to.Close(), from.Close() }()
	buffer := make([]byte, 1<<16) // an answer of the statements in question comes in one piece
	for {
		n, err := from.Read(buffer)
		p.mu.Lock()
		flow := p.flow
		p.mu.Unlock()
		<-flow
		if n > 0 {
			if lose() {
				return
			}
			if _, err := to.Write(buffer[:n]); err != nil {
				return
			}
		}
		if err != nil {
			return
		}
	}
}
