package webhook

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"
)

func addrs(list ...string) []netip.Addr {
	var as []netip.Addr
	for _, a := range list {
		as = append(as, netip.MustParseAddr(a))
	}
	return as
}

// needs skips a test on a machine that lacks an address.
func needs(t *testing.T, list ...string) {
	t.Helper()
	if runtime.GOOS != "linux" {
		t.Skip("all of 127.0.0.0/8 is this machine's on Linux only")
	}
	if err := CheckBind(t.Context(), addrs(list...)); err != nil {
		t.Skip(err)
	}
}

// bound returns a client that may call loopback, from the given addresses.
func bound(t *testing.T, from ...string) *Client {
	t.Helper()
	c := NewClient(Options{Guard: NewGuard(Loopback()...), Bind: addrs(from...)})
	t.Cleanup(c.Close)
	return c
}

// calls are the two kinds that are made to apps.
var calls = map[string]func(ctx context.Context, c *Client, url string) Result{
	"webhook": func(ctx context.Context, c *Client, url string) Result {
		return c.Send(ctx, Request{ID: "1-a", Attempt: 1, URL: url, Body: []byte("{}")}, time.Unix(0, 0))
	},
	"call": func(ctx context.Context, c *Client, url string) Result {
		return c.Call(ctx, Call{URL: url, Body: []byte("{}")})
	},
}

// TestBind: an app sees the local addresses, in turn, a connection each.
func TestBind(t *testing.T) {
	t.Parallel()
	needs(t, "127.0.0.2", "127.0.0.3")
	for name, call := range calls {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			app := func(keep bool) string {
				srv := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
					host, _, _ := net.SplitHostPort(r.RemoteAddr)
					_, _ = io.WriteString(w, host) //nolint:gosec // no page reads it
				}))
				srv.Config.SetKeepAlivesEnabled(keep)
				srv.Start()
				t.Cleanup(srv.Close)
				_, port, _ := net.SplitHostPort(srv.Listener.Addr().String())
				return "http://localhost:" + port + "/"
			}
			c := bound(t, "127.0.0.2", "::ffff:127.0.0.3", "127.0.0.2") // in another spelling, and twice
			for _, tt := range []struct {
				keep bool
				want []string
			}{
				{false, []string{"127.0.0.2", "127.0.0.3", "127.0.0.2", "127.0.0.3"}},
				{true, []string{"127.0.0.2", "127.0.0.2", "127.0.0.2", "127.0.0.2"}}, // one connection
			} {
				url := app(tt.keep)
				var seen []string
				for range tt.want {
					r := call(t.Context(), c, url)
					if r.Reason != OK {
						t.Fatalf("%+v", r)
					}
					seen = append(seen, string(r.Answer))
				}
				if !slices.Equal(seen, tt.want) {
					t.Errorf("connections kept: %v: seen %v, want %v", tt.keep, seen, tt.want)
				}
			}
		})
	}
}

// TestBindOtherFamily: what cannot be called from here is refused, and says so.
func TestBindOtherFamily(t *testing.T) {
	t.Parallel()
	needs(t, "127.0.0.2")
	for name, call := range calls {
		for _, tt := range []struct{ from, url, want string }{
			{"127.0.0.2", "http://[::1]:9/", "the target's address may not be called: no --egress-bind address for IPv6"},
			{"127.0.0.2", "https://[2001:db8::1]/", "the target's address may not be called: no --egress-bind address for IPv6"},
			{"::1", "http://127.0.0.1:9/", "the target's address may not be called: no --egress-bind address for IPv4"},
			{"::1", "http://[::ffff:127.0.0.1]:9/", "the target's address may not be called: no --egress-bind address for IPv4"},
		} {
			if r := call(t.Context(), bound(t, tt.from), tt.url); r.Reason != Refused || r.Error != tt.want {
				t.Errorf("%s of %s from %s: %+v", name, tt.url, tt.from, r)
			}
		}
	}
}

// TestBindKeepsTheGuard: who binds may not call more than before.
func TestBindKeepsTheGuard(t *testing.T) {
	t.Parallel()
	needs(t, "127.0.0.2")
	c := NewClient(Options{Bind: addrs("127.0.0.2")})
	t.Cleanup(c.Close)
	for name, call := range calls {
		for _, url := range []string{"https://127.0.0.1/", "https://localhost/", "https://10.0.0.1/", "http://8.8.8.8/", "https://0.0.0.0/"} {
			if r := call(t.Context(), c, url); r.Reason != Refused || strings.Contains(r.Error, "--egress-bind") {
				t.Errorf("%s of %s: %+v", name, url, r)
			}
		}
		if r := call(t.Context(), c, "https://127.0.0.1:99999/"); r.Reason != Transport {
			t.Errorf("%s of a port that does not exist: %+v", name, r)
		}
		if r := call(t.Context(), c, "https://nowhere.invalid/"); r.Reason != Transport || !strings.HasPrefix(r.Error, "no connection: ") {
			t.Errorf("%s of a host that does not exist: %+v", name, r)
		}
	}
}

// TestBindVanished: an address that the machine has lost since the start fails
// the connection; it does not come from another address.
func TestBindVanished(t *testing.T) {
	t.Parallel()
	needs(t, "127.0.0.2")
	srv := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { t.Error("it was called") }))
	t.Cleanup(srv.Close)
	r := calls["webhook"](t.Context(), bound(t, "203.0.113.9"), srv.URL)
	if r.Reason != Transport || !strings.HasPrefix(r.Error, "no connection: ") {
		t.Errorf("%+v", r)
	}
}

// TestBindDualStack: of a host's addresses only those of a bound family are
// called; where both are bound, one that hangs or fails does not hold up the
// other.
func TestBindDualStack(t *testing.T) {
	t.Parallel()
	needs(t, "127.0.0.2", "::1")
	var listen net.ListenConfig
	l, err := listen.Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	_, port, _ := net.SplitHostPort(l.Addr().String())

	fails := errors.New("no way")
	hangs := func(family string) func(context.Context, string, string, syscall.RawConn) error {
		return func(ctx context.Context, network, _ string, _ syscall.RawConn) error {
			if network == family {
				<-ctx.Done()
				return ctx.Err()
			}
			return nil
		}
	}
	broken := func(family string) func(context.Context, string, string, syscall.RawConn) error {
		return func(_ context.Context, network, _ string, _ syscall.RawConn) error {
			if network == family {
				return fails
			}
			return nil
		}
	}
	for _, tt := range []struct {
		name    string
		from    []string
		host    []string
		control func(context.Context, string, string, syscall.RawConn) error
		err     error // nil: connected over IPv4
	}{
		{"only IPv4 is bound", []string{"127.0.0.2"}, []string{"::1", "127.0.0.1"}, broken("tcp6"), nil},
		{"only IPv4 is bound, the host has it first", []string{"127.0.0.2"}, []string{"127.0.0.1", "::1"}, broken("tcp6"), nil},
		{"IPv6 fails", []string{"127.0.0.2", "::1"}, []string{"::1", "127.0.0.1"}, broken("tcp6"), nil},
		{"IPv6 hangs", []string{"127.0.0.2", "::1"}, []string{"::1", "127.0.0.1"}, hangs("tcp6"), nil},
		{"IPv4 is first", []string{"127.0.0.2", "::1"}, []string{"127.0.0.1", "::1"}, hangs("tcp6"), nil},
		{"the first address of the family fails", []string{"127.0.0.2"}, []string{"127.255.255.255", "127.0.0.1"}, nil, nil},
		{"all fail", []string{"127.0.0.2", "::1"}, []string{"::1", "::1", "127.0.0.1"}, func(context.Context, string, string, syscall.RawConn) error { return fails }, fails},
		{"the bound family fails", []string{"127.0.0.2"}, []string{"::1", "127.0.0.1"}, broken("tcp4"), fails},
		{"no family is bound", []string{"127.0.0.2"}, []string{"::1"}, nil, errNoIPv6},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			e := newEgress(&net.Dialer{}, addrs(tt.from...))
			e.dialer.ControlContext = tt.control
			e.lookup = func(_ context.Context, host string) ([]net.IPAddr, error) {
				if host != "app.test" {
					t.Errorf("looked up %q", host)
				}
				var found []net.IPAddr
				for _, a := range tt.host {
					found = append(found, net.IPAddr{IP: net.ParseIP(a)})
				}
				return found, nil
			}
			c, err := e.dial(t.Context(), "tcp", "app.test:"+port)
			if !errors.Is(err, tt.err) {
				t.Fatalf("error %v, want %v", err, tt.err)
			}
			if err != nil {
				return
			}
			defer func() { _ = c.Close() }()
			if from, _, _ := net.SplitHostPort(c.LocalAddr().String()); from != "127.0.0.2" {
				t.Errorf("connected from %s", from)
			}
		})
	}
}

// TestBindIsStopped: a caller who leaves does not wait for connections.
func TestBindIsStopped(t *testing.T) {
	t.Parallel()
	needs(t, "127.0.0.2", "::1")
	ctx, cancel := context.WithCancel(t.Context())
	e := newEgress(&net.Dialer{}, addrs("127.0.0.2", "::1"))
	e.dialer.ControlContext = func(ctx context.Context, _, _ string, _ syscall.RawConn) error {
		cancel()
		<-ctx.Done()
		return ctx.Err()
	}
	if c, err := e.dial(ctx, "tcp", "localhost:9"); err == nil {
		_ = c.Close()
		t.Error("connected")
	}
}

// TestCheckBind: what connections cannot be bound to stops the start.
func TestCheckBind(t *testing.T) {
	t.Parallel()
	if err := CheckBind(t.Context(), addrs("127.0.0.1", "::ffff:127.0.0.1")); err != nil {
		t.Error(err)
	}
	for addr, want := range map[string]string{
		"203.0.113.9":        "give only addresses that this machine has",
		"2001:db8::1":        "give only addresses that this machine has",
		"::ffff:203.0.113.9": "give only addresses that this machine has",
		"0.0.0.0":            "not an address of one machine",
		"::":                 "not an address of one machine",
		"224.0.0.1":          "not an address of one machine",
		"fe80::1%lo":         "without a zone",
	} {
		err := CheckBind(t.Context(), append(addrs("127.0.0.1"), netip.MustParseAddr(addr)))
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", addr, err)
		}
	}
	if err := CheckBind(t.Context(), []netip.Addr{{}}); err == nil || !strings.Contains(err.Error(), "empty") {
		t.Errorf("no address: %v", err)
	}
}
