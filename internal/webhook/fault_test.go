package webhook_test

import (
	"io"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/openkenar/openkenar/internal/status"
	"github.com/openkenar/openkenar/internal/webhook"
)

// recorder is an app that keeps the bodies that it gets, in their order.
type recorder struct {
	url string

	mu  sync.Mutex
	got []string
}

func record(t *testing.T) *recorder {
	t.Helper()
	r := &recorder{}
	r.url = app(t, func(_ http.ResponseWriter, req *http.Request) {
		body, _ := io.ReadAll(req.Body)
		r.mu.Lock()
		defer r.mu.Unlock()
		r.got = append(r.got, string(body))
	})
	return r
}

func (r *recorder) bodies() []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.got)
}

func TestFaults(t *testing.T) {
	t.Parallel()
	long := 5 * time.Second
	for _, tt := range []struct {
		fault  webhook.Fault
		gets   int // times that the app gets the webhook
		reason webhook.Reason
		status int
		says   string
	}{
		{fault: webhook.Fault{Kind: webhook.FaultDelay, Delay: time.Millisecond}, gets: 1, reason: webhook.OK, status: 200},
		{fault: webhook.Fault{Kind: webhook.FaultDelay, Delay: long}, reason: webhook.TimedOut, says: "no answer within"},
		{fault: webhook.Fault{Kind: webhook.FaultDuplicate}, gets: 2, reason: webhook.OK, status: 200},
		{fault: webhook.Fault{Kind: webhook.FaultReorder, Delay: time.Millisecond}, reason: webhook.Transport, says: "steps aside until its retry"},
		{fault: webhook.Fault{Kind: webhook.FaultDropAnswer}, gets: 1, reason: webhook.Transport, says: "the answer is lost"},
		{fault: webhook.Fault{Kind: webhook.FaultCut}, reason: webhook.Transport, says: "the app got nothing"},
		{fault: webhook.Fault{Kind: webhook.FaultStatus}, reason: webhook.HTTPStatus, status: 500, says: "answered 500"},
		{fault: webhook.Fault{Kind: webhook.FaultStatus, Status: 204}, reason: webhook.OK, status: 204},
		{fault: webhook.Fault{Kind: webhook.FaultCut, App: "another"}, gets: 1, reason: webhook.OK, status: 200},
		{fault: webhook.Fault{Kind: webhook.FaultCut, Type: webhook.AnyCall}, gets: 1, reason: webhook.OK, status: 200},
		{fault: webhook.Fault{Kind: webhook.FaultCut, Type: "NEW_MESSAGE"}, gets: 1, reason: webhook.OK, status: 200},
		{fault: webhook.Fault{Kind: webhook.FaultCut, App: "one", Type: webhook.AnyWebhook}, reason: webhook.Transport, says: "the app got nothing"},
		{fault: webhook.Fault{Kind: webhook.FaultCut, App: "one", Type: "POST_UPDATE"}, reason: webhook.Transport, says: "the app got nothing"},
	} {
		r, faults := record(t), &webhook.Faults{}
		timeout := late
		if tt.reason == webhook.TimedOut {
			timeout = soon
		}
		c, _ := tapped(t, webhook.Options{Faults: faults, Timeout: timeout}, false)
		if _, err := faults.Add(tt.fault); err != nil {
			t.Fatal(err)
		}
		got := c.Send(t.Context(), aRequest(r.url, "{}"), time.Now())
		if got.Reason != tt.reason || got.Status != tt.status || !strings.Contains(got.Error, tt.says) || len(r.bodies()) != tt.gets {
			t.Errorf("%+v: %s %d %q, the app got %d", tt.fault, got.Reason, got.Status, got.Error, len(r.bodies()))
		}
	}
}

func TestFaultsCount(t *testing.T) {
	t.Parallel()
	r, faults := record(t), &webhook.Faults{}
	c, _ := tapped(t, webhook.Options{Faults: faults}, false)
	for _, rule := range []webhook.Fault{{Kind: webhook.FaultStatus, Status: 503, Count: 2}, {Kind: webhook.FaultStatus, Status: 410}} {
		if _, err := faults.Add(rule); err != nil {
			t.Fatal(err)
		}
	}
	var got []int
	for range 4 {
		got = append(got, c.Call(t.Context(), webhook.Call{URL: r.url, Body: []byte("{}")}).Status)
	}
	if want := []int{503, 503, 410, 200}; !slices.Equal(got, want) {
		t.Errorf("answers %v, want %v", got, want)
	}
	if left := faults.List(); len(left) != 0 {
		t.Errorf("left: %+v", left)
	}
	first, _ := faults.Add(webhook.Fault{Kind: webhook.FaultCut})
	second, _ := faults.Add(webhook.Fault{Kind: webhook.FaultCut, Count: 7})
	faults.Clear(first.ID)
	if left := faults.List(); !slices.Equal(left, []webhook.Fault{second}) {
		t.Errorf("after clearing one: %+v", left)
	}
	faults.Clear(0)
	if left := faults.List(); len(left) != 0 {
		t.Errorf("after clearing all: %+v", left)
	}
	for range 100 {
		if _, err := faults.Add(webhook.Fault{Kind: webhook.FaultCut}); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := faults.Add(webhook.Fault{Kind: webhook.FaultCut}); status.KindOf(err) != status.FailedPrecondition {
		t.Errorf("one too many: %v", err)
	}
}

func TestFaultReordersWebhooks(t *testing.T) {
	t.Parallel()
	r, faults := record(t), &webhook.Faults{}
	c, _ := tapped(t, webhook.Options{Faults: faults}, false)
	if _, err := faults.Add(webhook.Fault{Kind: webhook.FaultReorder, Delay: late}); err != nil {
		t.Fatal(err)
	}
	c.Call(t.Context(), webhook.Call{About: webhook.About{App: "one"}, URL: r.url, Body: []byte("call")}) // no webhook: not held back
	var sending sync.WaitGroup
	sending.Go(func() {
		if got := c.Send(t.Context(), aRequest(r.url, "first"), time.Now()); got.Reason != webhook.OK {
			t.Errorf("the first: %+v", got)
		}
	})
	poll := time.NewTicker(time.Millisecond)
	defer poll.Stop()
	for len(faults.List()) > 0 { // until the first is held back
		<-poll.C
	}
	for len(r.bodies()) < 3 {
		c.Send(t.Context(), aRequest(r.url, "second"), time.Now())
	}
	sending.Wait()
	if got := r.bodies(); got[0] != "call" || got[1] != "second" || !slices.Contains(got, "first") {
		t.Errorf("the app got %v", got)
	}
}
