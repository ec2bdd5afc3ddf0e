package server_test

import (
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/openkenar/openkenar/internal/server"
	"github.com/openkenar/openkenar/internal/store/storetest"
	"github.com/openkenar/openkenar/internal/webhook"
)

// startNodes runs two servers on one database: the first with the demo world,
// the second as it would run beside it. Each is tried out in every part: which
// of them sends to the sample app is not for others to know.
func startNodes(t *testing.T) (nodes [2]*platform) {
	t.Helper()
	hook := newReceiver(t)
	database := storetest.Postgres(t)
	shared := func(o *server.Options) {
		o.MasterKey, o.HostKeys = strings.Repeat("6b", 32), []string{"the-host-key-of-both"}
	}
	first := &platform{t: t, data: t.TempDir(), database: database, hook: hook}
	first.run(&server.DevOptions{EventURL: hook.url}, shared)
	o := server.Options{
		Listen: "127.0.0.1:0", Data: t.TempDir(), Database: database, Version: "test", AllowTargets: webhook.Loopback(), Log: slog.New(slog.DiscardHandler),
	}
	shared(&o)
	srv, err := server.New(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	if err := srv.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	second := &platform{t: t, data: o.Data, database: database, hook: hook, srv: srv, base: "http://" + srv.Addr(), dev: first.dev}
	t.Cleanup(second.stop)
	return [2]*platform{first, second}
}

// eachWay runs a test through each node, with the other one beside it.
func eachWay(t *testing.T, f func(t *testing.T, here, there *platform)) {
	t.Helper()
	nodes := startNodes(t)
	for i := range nodes {
		t.Run(fmt.Sprintf("through node %d", i+1), func(t *testing.T) { f(t, nodes[i], nodes[1-i]) })
	}
}

func TestNodesDeliver(t *testing.T) {
	t.Parallel()
	eachWay(t, func(t *testing.T, here, there *platform) {
		here.subscribe(here.dev.Users.Seller.AccessToken, `{"event_type":"NEW_MESSAGE_ON_POST"}`).ok()
		for i, p := range []*platform{here, there, here, there} {
			p.say("BUYER", fmt.Sprint("message ", i))
		}
		var got []hook
		until(t, "all messages arrive", 20*time.Second, func() bool { got = append(got, here.hook.take()...); return len(got) >= 4 })
		for i, e := range read(t, got) {
			if want := fmt.Sprint("message ", i); e.NewMessage.Text != want {
				t.Errorf("message %d is %q, want %q", i, e.NewMessage.Text, want)
			}
		}
	})
}

// TestNodesAreSilentAfterARevocation: whichever node is asked, and whichever
// sends.
func TestNodesAreSilentAfterARevocation(t *testing.T) {
	t.Parallel()
	eachWay(t, func(t *testing.T, here, there *platform) {
		token := here.tokenAt(t, "seller")
		here.subscribe(token, `{"event_type":"NEW_MESSAGE_ON_POST"}`).ok()
		begun, left := make(chan struct{}, 10), make(chan struct{}, 10)
		here.hook.respond(func(_ http.ResponseWriter, r *http.Request) {
			if body, err := io.ReadAll(r.Body); err != nil || !strings.Contains(string(body), `"NEW_MESSAGE"`) {
				return // the user's access was taken away: the app is told
			}
			begun <- struct{}{}
			<-r.Context().Done()
			left <- struct{}{}
		})
		events := []string{here.say("BUYER", "one"), there.say("BUYER", "two"), here.say("BUYER", "three")}
		<-begun
		here.host("DELETE", "/users/seller/grants/sample-app", "").ok()
		<-left
		for _, e := range events {
			until(t, "what is queued is canceled", 20*time.Second, func() bool { v := here.verdicts(e); return len(v) == 1 && v[0].State == "canceled" })
		}
		if len(begun) > 0 {
			t.Errorf("%d more were sent after the revocation", len(begun))
		}
		here.app("GET", "/v1/open-platform/users", token, "").refused(401, 16)
		there.app("GET", "/v1/open-platform/users", token, "").refused(401, 16)
		here.hook.respond(nil)
		here.hook.take()
	})
}

// tokenAt issues a token at the node that has dev mode.
func (p *platform) tokenAt(t *testing.T, user string) string {
	t.Helper()
	dev := *p
	dev.base = p.dev.BaseURL
	return dev.token(user, "CHAT_SUPPLIER_ALL_CONVERSATIONS_READ", "USER_ID")
}

func TestNodesForgetAtOnce(t *testing.T) {
	t.Parallel()
	eachWay(t, func(t *testing.T, here, there *platform) {
		var key struct{ ID, Key string }
		here.host("POST", "/apps/sample-app/keys", `{"title":"short-lived","permissions":["USER_RETRIEVE"]}`).ok().into(&key)
		token := here.tokenAt(t, "seller")
		for _, p := range []*platform{here, there} {
			p.do("GET", "/v1/open-platform/users", "", "X-API-Key: "+key.Key, "Authorization: Bearer "+token).ok()
		}
		here.host("DELETE", "/apps/sample-app/keys/"+key.ID, "").ok()
		for _, p := range []*platform{here, there} {
			p.do("GET", "/v1/open-platform/users", "", "X-API-Key: "+key.Key, "Authorization: Bearer "+token).refused(401, 16)
		}

		here.subscribe(token, `{"event_type":"NEW_MESSAGE_ON_POST"}`).ok()
		here.host("PATCH", "/apps/sample-app", `{"paused":true}`).ok()
		event := there.say("BUYER", "while it is paused")
		if got := here.hook.take(); len(got) > 0 {
			t.Errorf("%d were sent to an app that is paused", len(got))
		}
		there.host("PATCH", "/apps/sample-app", `{"paused":false}`).ok()
		until(t, "it is sent once the app is resumed", 20*time.Second, func() bool { return here.verdicts(event)[0].State == "delivered" })
		if got := here.hook.take(); len(got) != 1 {
			t.Errorf("%d webhooks, want 1", len(got))
		}
	})
}

func TestNodesShareTheFeed(t *testing.T) {
	t.Parallel()
	eachWay(t, func(t *testing.T, here, there *platform) {
		var before struct{ Next *string }
		there.host("GET", "/feed", "").ok().into(&before)
		after := ""
		if before.Next != nil {
			after = *before.Next
		}
		got := make(chan answer)
		go func() { got <- there.host("GET", "/feed?wait=60&after="+after, "") }()
		here.write(here.dev.Users.Seller.AccessToken, `{"message":"heard on the other node"}`).ok()
		select {
		case a := <-got:
			if !strings.Contains(a.ok().body, "heard on the other node") {
				t.Errorf("the feed says %s", a.body)
			}
		case <-time.After(20 * time.Second):
			t.Error("the feed of the other node did not grow within 20 s")
		}
	})
}
