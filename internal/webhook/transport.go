package webhook

import (
	"bufio"
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"math"
	"net"
	"net/http"
	"net/netip"
	"slices"
	"sync"
	"time"

	"golang.org/x/net/idna"
)

const (
	maxIdle        = 4096 // connections kept for later, in all
	maxIdlePerHost = 128
	idleTime       = time.Minute // how long one is kept, and up to half as long again
	handshakeTime  = 5 * time.Second
	// maxInterim is how many 1xx answers may come before the answer.
	maxInterim = 5
)

// transport speaks HTTP/1.1 over connections that it keeps. Who sends a request
// also reads the answer: net/http's own transport has two more goroutines for
// each connection, and passing an exchange between the three costs as much CPU
// as the exchange (docs/PERFORMANCE.md). A request ends with its context,
// whatever it is doing.
type transport struct {
	ways map[string]scheme // by name: the guard judges an address by how it is called

	mu   sync.Mutex
	idle map[string][]*conn // by scheme and authority, the newest last
	kept int                // in all
	reap *time.Timer        // runs while there are any
}

// scheme is how targets of a URL's scheme are reached.
type scheme struct {
	port string // where the URL names none
	dial dial
}

type dial func(ctx context.Context, network, address string) (net.Conn, error)

func newTransport(guard *Guard, bind []netip.Addr) *transport {
	base := func(plain bool) dial {
		dialer := &net.Dialer{Timeout: dialTimeout, KeepAlive: 30 * time.Second, Control: guard.control(plain)}
		if len(bind) > 0 {
			return newEgress(dialer, bind).dial
		}
		return dialer.DialContext
	}
	return &transport{
		ways: map[string]scheme{"http": {"80", base(true)}, "https": {"443", secured(base(false), &tls.Config{})}},
		idle: make(map[string][]*conn),
	}
}

// secured is a dial with TLS over it.
func secured(raw dial, config *tls.Config) dial {
	config.MinVersion, config.NextProtos = tls.VersionTLS12, []string{"http/1.1"}
	return func(ctx context.Context, network, address string) (net.Conn, error) {
		host, _, err := net.SplitHostPort(address)
		if err != nil {
			return nil, err
		}
		c, err := raw(ctx, network, address)
		if err != nil {
			return nil, err
		}
		ctx, cancel := context.WithTimeout(ctx, handshakeTime)
		defer cancel()
		named := config.Clone()
		named.ServerName = host
		over := tls.Client(c, named)
		if err := over.HandshakeContext(ctx); err != nil {
			_ = c.Close()
			return nil, err
		}
		return over, nil
	}
}

// conn is a connection; one exchange at a time has it.
type conn struct {
	net.Conn
	key   string
	limit io.LimitedReader // what may still be read from it
	r     *bufio.Reader    // from limit
	w     *bufio.Writer
	since time.Time // when it became idle
}

// RoundTrip implements http.RoundTripper.
func (t *transport) RoundTrip(req *http.Request) (*http.Response, error) {
	ctx := req.Context()
	c, err := t.conn(ctx, req)
	if err != nil {
		return nil, err
	}
	// A deadline in the past ends what the connection waits for.
	stop := context.AfterFunc(ctx, func() { _ = c.SetDeadline(time.Unix(1, 0)) })
	resp, err := c.exchange(req)
	if err != nil {
		stop()
		_ = c.Close()
		return nil, err
	}
	body := &answerBody{ReadCloser: resp.Body, transport: t, conn: c, stop: stop, reusable: !resp.Close}
	if resp.Body == http.NoBody {
		body.done(true)
		return resp, nil
	}
	resp.Body = body
	return resp, nil
}

// exchange sends a request and reads the head of the answer.
func (c *conn) exchange(req *http.Request) (*http.Response, error) {
	sent := req.Write(c.w)
	if sent == nil {
		sent = c.w.Flush()
	}
	// Who refuses a request may answer before it has come in whole.
	for range maxInterim + 1 {
		c.limit.N = maxHeader
		resp, err := http.ReadResponse(c.r, req)
		switch {
		case err != nil && c.limit.N <= 0:
			return nil, fmt.Errorf("the header of the answer has more than %d bytes", maxHeader)
		case sent != nil && err != nil:
			return nil, sent
		case err != nil:
			return nil, err
		case resp.StatusCode == http.StatusSwitchingProtocols:
			return nil, errors.New("answered 101, which nobody asked for")
		case resp.StatusCode >= http.StatusOK:
			c.limit.N = math.MaxInt64 // who reads the body has limits
			resp.Close = resp.Close || sent != nil
			return resp, nil
		}
	}
	return nil, errors.New("answered nothing but 1xx")
}

// answerBody gives its connection back once it was read to its end.
type answerBody struct {
	io.ReadCloser
	transport *transport
	conn      *conn
	stop      func() bool
	reusable  bool
	once      sync.Once
}

func (b *answerBody) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	if err != nil {
		b.done(errors.Is(err, io.EOF))
	}
	return n, err
}

func (b *answerBody) Close() error {
	b.done(false)
	return nil
}

// done keeps the connection for the next request, or closes it.
func (b *answerBody) done(whole bool) {
	b.once.Do(func() {
		sound := b.stop() // else its deadline has passed, or is about to
		if whole && sound && b.reusable && b.conn.r.Buffered() == 0 && b.transport.keep(b.conn) {
			return
		}
		_ = b.conn.Close()
	})
}

// conn returns a connection that is kept, or makes one.
func (t *transport) conn(ctx context.Context, req *http.Request) (*conn, error) {
	by, ok := t.ways[req.URL.Scheme]
	if !ok {
		return nil, errors.New("unsupported scheme " + req.URL.Scheme)
	}
	key := req.URL.Scheme + " " + req.URL.Host
	for c := t.take(key); c != nil; c = t.take(key) {
		if c.lives() {
			return c, nil
		}
		_ = c.Close()
	}
	host, err := idna.Lookup.ToASCII(req.URL.Hostname())
	if err != nil {
		host = req.URL.Hostname() // an address, or a name that only this network knows
	}
	raw, err := by.dial(ctx, "tcp", net.JoinHostPort(host, cmp.Or(req.URL.Port(), by.port)))
	if err != nil {
		return nil, err
	}
	c := &conn{Conn: raw, key: key, w: bufio.NewWriter(raw)}
	c.limit.R = raw
	c.r = bufio.NewReader(&c.limit)
	return c, nil
}

// take returns the connection that was used last: the others may then grow old.
func (t *transport) take(key string) *conn {
	t.mu.Lock()
	defer t.mu.Unlock()
	list := t.idle[key]
	if len(list) == 0 {
		return nil
	}
	c := list[len(list)-1]
	list[len(list)-1] = nil
	t.idle[key] = list[:len(list)-1]
	t.kept--
	return c
}

// keep keeps a connection, unless there are enough.
func (t *transport) keep(c *conn) bool {
	c.since = time.Now()
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.kept >= maxIdle || len(t.idle[c.key]) >= maxIdlePerHost {
		return false
	}
	t.idle[c.key] = append(t.idle[c.key], c)
	t.kept++
	if t.reap == nil {
		t.reap = time.AfterFunc(idleTime, t.closeOld)
	}
	return true
}

// closeOld closes what was kept for too long.
func (t *transport) closeOld() { t.close(time.Now().Add(-idleTime)) }

// CloseIdleConnections closes all connections that are kept.
func (t *transport) CloseIdleConnections() { t.close(time.Now().Add(time.Hour)) }

// close closes what has been kept since before a moment.
func (t *transport) close(before time.Time) {
	t.mu.Lock()
	var old []*conn
	for key, list := range t.idle {
		n := slices.IndexFunc(list, func(c *conn) bool { return !c.since.Before(before) })
		if n < 0 {
			n = len(list)
			delete(t.idle, key)
		} else {
			t.idle[key] = slices.Clone(list[n:])
		}
		old = append(old, list[:n]...)
	}
	t.kept -= len(old)
	if t.reap != nil {
		t.reap.Stop()
		t.reap = nil
	}
	if t.kept > 0 {
		t.reap = time.AfterFunc(idleTime/2, t.closeOld)
	}
	t.mu.Unlock()
	for _, c := range old {
		_ = c.Close()
	}
}
