package server_test

import (
	"log/slog"
	"strconv"
	"testing"

	"github.com/openkenar/openkenar/internal/server"
)

// serve runs a platform in serve mode, with nothing in it; set changes how.
func serve(t *testing.T, set ...func(*server.Options)) *platform {
	t.Helper()
	p := &platform{t: t, data: t.TempDir()}
	p.dev.HostKey = "a-host-key-of-a-test"
	o := server.Options{
		Listen: "127.0.0.1:0", Data: p.data, HostKeys: []string{p.dev.HostKey}, Version: "test", Log: slog.New(slog.DiscardHandler),
	}
	for _, f := range set {
		f(&o)
	}
	srv, err := server.New(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	if err := srv.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	p.srv, p.base = srv, "http://"+srv.Addr()
	t.Cleanup(p.stop)
	return p
}

// TestQuotaRefusal: which limit, when it resets, and Retry-After.
func TestQuotaRefusal(t *testing.T) {
	t.Parallel()
	p := serve(t)
	p.host("POST", "/apps", `{"slug":"sample-app","permissions":["GET_POST"],"per_minute":1000000,"per_day":3}`).ok()
	var k struct{ Key string }
	p.host("POST", "/apps/sample-app/keys", `{"permissions":["GET_POST"]}`).ok().into(&k)
	p.dev.App.APIKey = k.Key
	for range 3 {
		p.app("GET", "/v1/open-platform/finder/post/none", "", "").refused(404, 5, "none")
	}
	a := p.app("GET", "/v1/open-platform/finder/post/none", "", "")
	a.refused(429, 8, "daily quota of 3", "resets at")
	if after, err := strconv.Atoi(a.header.Get("Retry-After")); err != nil || after < 1 || after > 24*60*60 {
		t.Errorf("Retry-After: %q", a.header.Get("Retry-After"))
	}
	p.host("GET", "/apps/sample-app", "").ok() // the marketplace itself has no quota
	p.host("PATCH", "/apps/sample-app", `{"per_day":0}`).ok()
	p.app("GET", "/v1/open-platform/finder/post/none", "", "").refused(404, 5, "none")
}

// TestServeHasNoDevRoutes: what only dev mode may do is not there.
func TestServeHasNoDevRoutes(t *testing.T) {
	t.Parallel()
	p := serve(t)
	p.host("POST", "/dev/tokens", `{}`).refused(404, 5, "no such path")
	p.host("POST", "/dev/clock", `{}`).refused(404, 5, "no such path")
	if a := p.do("GET", "/oauth2/login?login_challenge=x", ""); a.status != 404 {
		t.Errorf("the login page of dev mode answers %d", a.status)
	}
	p.host("POST", "/apps", `{"slug":"a","event_url":"http://127.0.0.1:1/"}`).refused(400, 3, "event_url", "--allow-targets")
}
