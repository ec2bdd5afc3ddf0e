package server_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"strconv"
	"sync"
	"testing"
	"time"
)

const (
	fairApps   = 10
	fairEvents = 300
	fairEvery  = 3 * time.Millisecond
	hangFor    = 10 * time.Second
)

// arrivals collects how long events took from the start of the call that
// accepted them to their arrival at an app.
type arrivals struct {
	mu    sync.Mutex
	waits []time.Duration
	left  int
	done  chan struct{}
}

func (a *arrivals) expect(n int) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.waits, a.left, a.done = nil, n, make(chan struct{})
}

// ServeHTTP implements http.Handler: a healthy app.
func (a *arrivals) ServeHTTP(_ http.ResponseWriter, r *http.Request) {
	var hook struct {
		Message struct {
			Text string `json:"text"`
		} `json:"new_message"`
	}
	if err := json.NewDecoder(r.Body).Decode(&hook); err != nil {
		return
	}
	sent, err := strconv.ParseInt(hook.Message.Text, 10, 64)
	if err != nil {
		return
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	a.waits = append(a.waits, time.Since(time.Unix(0, sent)))
	if a.left--; a.left == 0 {
		close(a.done)
	}
}

// quantile of what arrived.
func (a *arrivals) quantile(q float64) time.Duration {
	a.mu.Lock()
	defer a.mu.Unlock()
	slices.Sort(a.waits)
	return a.waits[int(q*float64(len(a.waits)-1))]
}

// TestFair feeds events that ten apps hear, first while all are healthy, then
// while one of them hangs on every call. The bound is loose, for slow
// machines: a delay that the hanging app causes has the length of its hanging.
func TestFair(t *testing.T) {
	t.Parallel()
	p := start(t)
	healthy := &arrivals{}
	hook := httptest.NewServer(healthy)
	t.Cleanup(hook.Close)
	released := make(chan struct{})
	hanging := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		select {
		case <-time.After(hangFor):
		case <-released:
		case <-r.Context().Done():
		}
	}))
	t.Cleanup(hanging.Close)
	t.Cleanup(func() { close(released) }) // before the servers are stopped

	for i := range fairApps {
		slug := fmt.Sprintf("app-%d", i)
		p.host("POST", "/apps", fmt.Sprintf(`{"slug":%q,"event_url":%q,"permissions":["EVENTS_REGISTER_SUBSCRIPTION"]}`, slug, hook.URL)).ok()
		var k struct{ Key string }
		p.host("POST", "/apps/"+slug+"/keys", `{"permissions":["EVENTS_REGISTER_SUBSCRIPTION"]}`).ok().into(&k)
		token := p.tokenOf(slug, "seller", "1h", "CHAT_SUPPLIER_ALL_CONVERSATIONS_READ")
		p.do("POST", "/v1/open-platform/events/subscriptions", `{"event_type":"NEW_MESSAGE_ON_POST"}`,
			"X-API-Key: "+k.Key, "Authorization: Bearer "+token).ok()
	}

	run := func(apps int) (p50, p99, most time.Duration) {
		healthy.expect(apps * fairEvents)
		pace := time.NewTicker(fairEvery)
		defer pace.Stop()
		for i := range fairEvents {
			<-pace.C
			conversation := fmt.Sprintf("c%d", i%20)
			if i < 20 {
				p.host("PUT", "/conversations/"+conversation, `{"type":"POST","post_token":"gZd7omnS","buyer":"buyer"}`).ok()
			}
			p.host("POST", "/conversations/"+conversation+"/messages", fmt.Sprintf(`{"sender":"BUYER","text":"%d"}`, time.Now().UnixNano())).ok()
		}
		select {
		case <-healthy.done:
		case <-time.After(time.Minute):
			t.Fatal("not every event arrived within a minute")
		}
		return healthy.quantile(0.5), healthy.quantile(0.99), healthy.quantile(1)
	}

	run(fairApps) // warm up
	p50, p99, most := run(fairApps)
	t.Logf("ten healthy apps:         p50 %s · p99 %s · max %s", p50, p99, most)
	p.host("PATCH", "/apps/app-0", `{"event_url":"`+hanging.URL+`"}`).ok()
	p50, p99, most = run(fairApps - 1)
	t.Logf("nine beside a hanging one: p50 %s · p99 %s · max %s", p50, p99, most)
	if most >= hangFor {
		t.Errorf("an event took %s beside an app that hangs for %s", most, hangFor)
	}
}
