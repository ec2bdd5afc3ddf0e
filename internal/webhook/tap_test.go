package webhook_test

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/openkenar/openkenar/internal/webhook"
)

// tapped returns a client and its tap.
func tapped(t testing.TB, o webhook.Options, showKeys bool) (*webhook.Client, *webhook.Tap) {
	t.Helper()
	o.Guard, o.Version, o.Tap = webhook.NewGuard(webhook.Loopback()...), "test", webhook.NewTap(showKeys)
	c := webhook.NewClient(o)
	t.Cleanup(c.Close)
	return c, o.Tap
}

func aRequest(url, body string) webhook.Request {
	return webhook.Request{
		About: webhook.About{App: "one", Type: "POST_UPDATE"}, ID: "1-one", Attempt: 3, URL: url, IdentificationKey: "the-identification-key",
		Secrets: [][]byte{[]byte("0123456789abcdef0123456789abcdef")}, Body: []byte(body),
	}
}

// moment takes the next moment, which is there already.
func moment(t *testing.T, w *webhook.Watch) *webhook.Exchange {
	t.Helper()
	select {
	case x := <-w.Moments():
		return x
	default:
		t.Fatal("nothing more was shown")
		return nil
	}
}

func TestTapShowsAllOfAnExchange(t *testing.T) {
	t.Parallel()
	long := strings.Repeat("x", webhook.MaxAnswer+100)
	c, tap := tapped(t, webhook.Options{}, false)
	w := tap.Watch(webhook.WatchOptions{})
	url := app(t, func(rw http.ResponseWriter, _ *http.Request) {
		if x := <-w.Moments(); x.Moment != webhook.Began || x.Result.Status != 0 { // before there is an answer
			t.Errorf("began: %+v", x)
		}
		rw.Header().Set("X-App", "hers")
		rw.WriteHeader(http.StatusTeapot)
		_, _ = io.WriteString(rw, long)
	})
	res := c.Send(t.Context(), aRequest(url, `{"a":1}`), time.Now())
	if len(res.Answer) != webhook.MaxAnswer {
		t.Errorf("the log gets %d bytes of the answer, want %d", len(res.Answer), webhook.MaxAnswer)
	}
	x := moment(t, w)
	if x.Moment != webhook.Ended || x.App != "one" || x.Type != "POST_UPDATE" || x.ID != "1-one" || x.Attempt != 3 || x.URL != url ||
		string(x.Body) != `{"a":1}` || x.Result.Status != 418 || string(x.Answer) != long || x.Result.Duration <= 0 || x.At.IsZero() {
		t.Errorf("ended: %+v", x)
	}
	if !strings.HasPrefix(x.AnswerHead, "HTTP/1.1 418 I'm a teapot\n") || !strings.Contains(x.AnswerHead, "X-App: hers\n") || strings.Contains(x.AnswerHead, "\r") {
		t.Errorf("the answer's head: %q", x.AnswerHead)
	}
	res.Judged(webhook.Verdict{Delivery: "1-one", State: "pending", Reason: "answered 418"})
	if judged := moment(t, w); judged.Moment != webhook.Judged || judged.Number != x.Number || judged.Verdict.State != "pending" ||
		judged.Result.Status != 418 || x.Moment != webhook.Ended {
		t.Errorf("judged: %+v", judged)
	}
	call := c.Call(t.Context(), webhook.Call{About: webhook.About{App: "one", Type: "DYNAMIC_ACTION"}, URL: "http://127.0.0.1:1/", Body: []byte("{}")})
	if x := moment(t, w); x.Moment != webhook.Began || x.ID != "" || x.Type != "DYNAMIC_ACTION" {
		t.Errorf("a call began: %+v", x)
	}
	if x := moment(t, w); x.Moment != webhook.Ended || x.Result.Reason != webhook.Transport || x.Result.Error != call.Error || x.AnswerHead != "" {
		t.Errorf("a call ended: %+v", x)
	}
	w.Stop()
	w.Stop()
	c.Call(t.Context(), webhook.Call{URL: "http://127.0.0.1:1/"})
	if len(w.Moments()) != 0 || w.Missed() != 0 {
		t.Errorf("after Stop: %d shown, %d missed", len(w.Moments()), w.Missed())
	}
}

func TestTapMasksKeysUnlessTold(t *testing.T) {
	t.Parallel()
	url := app(t, func(http.ResponseWriter, *http.Request) {})
	for _, shows := range []bool{false, true} {
		c, tap := tapped(t, webhook.Options{}, shows)
		w := tap.Watch(webhook.WatchOptions{})
		res := c.Send(t.Context(), aRequest(url, "{}"), time.Now())
		for range 2 {
			if x := moment(t, w); strings.Contains(x.Request, "Authorization: the-identification-key\n") != shows ||
				!strings.Contains(x.Request, "Authorization: ") || strings.Contains(x.Result.Request, "the-identification-key") {
				t.Errorf("shows %t: %s", shows, x.Request)
			}
		}
		if strings.Contains(res.Request, "the-identification-key") {
			t.Errorf("the log gets the key: %s", res.Request)
		}
	}
}

// TestTapLeavesOutWholeExchanges has nobody read, so that only some fit.
func TestTapLeavesOutWholeExchanges(t *testing.T) {
	t.Parallel()
	url := app(t, func(http.ResponseWriter, *http.Request) {})
	c, tap := tapped(t, webhook.Options{}, false)
	few, other := tap.Watch(webhook.WatchOptions{App: "one", Depth: 7}), tap.Watch(webhook.WatchOptions{App: "another"})
	const sends = 40
	var sending sync.WaitGroup
	for range 4 {
		sending.Go(func() {
			for range sends / 4 {
				c.Send(t.Context(), aRequest(url, "{}"), time.Now())
			}
		})
	}
	sending.Wait()
	began, ended := map[int64]bool{}, map[int64]bool{}
	for range len(few.Moments()) {
		x := moment(t, few)
		if x.Moment == webhook.Began {
			began[x.Number] = true
		} else if ended[x.Number] = true; !began[x.Number] {
			t.Errorf("exchange %d ended without beginning", x.Number)
		}
	}
	if len(began) == 0 || len(began) > 3 || len(began) != len(ended) || few.Missed() != sends-int64(len(began)) {
		t.Errorf("%d began, %d ended, %d of %d were missed", len(began), len(ended), few.Missed(), sends)
	}
	if len(other.Moments()) != 0 || other.Missed() != 0 {
		t.Errorf("of another app: %d shown, %d missed", len(other.Moments()), other.Missed())
	}
	c.Send(t.Context(), aRequest(url, "{}"), time.Now())
	if len(few.Moments()) != 2 { // there is room again
		t.Errorf("%d moments, want 2", len(few.Moments()))
	}
}

// BenchmarkTap is BenchmarkSend, with those who look on and those who do not
// keep up.
func BenchmarkTap(b *testing.B) {
	for _, watchers := range []string{"none", "reading", "stalled"} {
		b.Run(watchers, func(b *testing.B) {
			url := devNull(b)
			c, tap := tapped(b, webhook.Options{}, false)
			if watchers != "none" {
				w := tap.Watch(webhook.WatchOptions{})
				ctx, cancel := context.WithCancel(b.Context())
				var reading sync.WaitGroup
				b.Cleanup(func() { cancel(); reading.Wait(); w.Stop() })
				if watchers == "reading" {
					reading.Go(func() {
						for {
							select {
							case x := <-w.Moments():
								_, _ = fmt.Fprintf(io.Discard, "%s%s%s", x.Request, x.Body, x.AnswerHead)
							case <-ctx.Done():
								return
							}
						}
					})
				}
			}
			r := aRequest(url, string(webhook.Envelope("NEW_MESSAGE", nil, benchPayload, "new_message")))
			b.ReportAllocs()
			b.SetParallelism(16)
			b.RunParallel(func(pb *testing.PB) {
				for pb.Next() {
					c.Send(b.Context(), r, time.Now())
				}
			})
		})
	}
}
