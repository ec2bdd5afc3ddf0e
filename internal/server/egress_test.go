package server_test

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"runtime"
	"testing"

	"github.com/openkenar/openkenar/internal/server"
)

const egressPath = "/.well-known/openkenar/egress.json"

// TestEgressIsPublished: the ranges that are named, else the addresses that
// are bound, else none.
func TestEgressIsPublished(t *testing.T) {
	t.Parallel()
	prefixes := func(list ...string) (ps []netip.Prefix) {
		for _, p := range list {
			ps = append(ps, netip.MustParsePrefix(p))
		}
		return ps
	}
	loopback := netip.MustParseAddr("127.0.0.1")
	mapped := netip.MustParseAddr("::ffff:127.0.0.1")
	for name, tt := range map[string]struct {
		bind      []netip.Addr
		published []netip.Prefix
		want      string
	}{
		"nothing": {nil, nil, `{"cidrs":[]}`},
		"bound":   {[]netip.Addr{loopback, mapped}, nil, `{"cidrs":["127.0.0.1/32"]}`},
		"named":   {nil, prefixes("203.0.113.0/24"), `{"cidrs":["203.0.113.0/24"]}`},
		"both": {
			[]netip.Addr{loopback},
			prefixes("203.0.113.77/24", "203.0.113.0/24", "2001:DB8:0:0::1/32", "198.51.100.1/32"),
			`{"cidrs":["203.0.113.0/24","2001:db8::/32","198.51.100.1/32"]}`,
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := serve(t, func(o *server.Options) { o.EgressBind, o.EgressPublished = tt.bind, tt.published })
			a := p.do("GET", egressPath, "").ok()
			if a.body != tt.want || a.header.Get("Content-Type") != "application/json" || a.header.Get("Cache-Control") != "no-store" {
				t.Errorf("%s %v, want %s", a.body, a.header, tt.want)
			}
			for _, method := range []string{"POST", "PUT", "PATCH", "DELETE"} {
				a := p.do(method, egressPath, "")
				a.refused(405, 12, method)
				if a.header.Get("Allow") != "GET" {
					t.Errorf("%s: Allow %q", method, a.header.Get("Allow"))
				}
			}
			p.do("GET", egressPath+"/", "").refused(404, 5)
		})
	}
	t.Run("IPv6", func(t *testing.T) {
		t.Parallel()
		var listen net.ListenConfig
		l, err := listen.Listen(t.Context(), "tcp", "[::1]:0")
		if err != nil {
			t.Skip(err)
		}
		_ = l.Close()
		p := serve(t, func(o *server.Options) { o.EgressBind = []netip.Addr{netip.IPv6Loopback(), loopback} })
		if a := p.do("GET", egressPath, "").ok(); a.body != `{"cidrs":["::1/128","127.0.0.1/32"]}` {
			t.Error(a.body)
		}
	})
}

// TestEgressIsBound: webhooks and calls come from the address that apps are
// told; what cannot be called from there says so in the delivery's log and to
// who waits.
func TestEgressIsBound(t *testing.T) {
	t.Parallel()
	if runtime.GOOS != "linux" {
		t.Skip("127.0.0.2 is this machine's on Linux only")
	}
	hook := newReceiver(t)
	p := &platform{t: t, data: t.TempDir(), hook: hook}
	p.run(&server.DevOptions{EventURL: hook.url, InitURL: hook.url, IdentificationKey: "the-identification-key"},
		func(o *server.Options) { o.EgressBind = []netip.Addr{netip.MustParseAddr("127.0.0.2")} })
	if a := p.do("GET", egressPath, "").ok(); a.body != `{"cidrs":["127.0.0.2/32"]}` {
		t.Errorf("in dev mode: %s", a.body)
	}
	from := make(chan string, 2)
	hook.respond(func(w http.ResponseWriter, r *http.Request) {
		host, _, _ := net.SplitHostPort(r.RemoteAddr)
		from <- host
		_, _ = io.WriteString(w, `{"url":"https://app.test/"}`)
	})
	pay := func(id string) string {
		t.Helper()
		p.host("PUT", "/transactions/"+id, `{"app":"sample-app","state":"COMPLETED","type":"REORDER","cost_rials":1}`).ok()
		p.settle()
		var out struct {
			Deliveries []struct{ ID, State, Reason string }
		}
		p.host("GET", "/deliveries?app=sample-app", "").ok().into(&out)
		if len(out.Deliveries) == 0 {
			t.Fatal("no delivery")
		}
		return fmt.Sprint(out.Deliveries[0].State, " ", out.Deliveries[0].Reason)
	}
	const open = `{"touchpoint":"CHAT","user":"seller","return_url":"https://market.test/"}`
	if got := pay("t1"); got != "delivered " {
		t.Error(got)
	}
	p.open(open).ok()
	for range 2 {
		if got := <-from; got != "127.0.0.2" {
			t.Errorf("called from %s", got)
		}
	}

	p.host("PATCH", "/apps/sample-app", `{"event_url":"http://[::1]:9/","session_initialization_url":"http://[::1]:9/"}`).ok()
	const why = "no --egress-bind address for IPv6"
	if got := pay("t2"); got != "pending the target's address may not be called: "+why {
		t.Error(got)
	}
	p.open(open).refused(503, 14, why)
}
