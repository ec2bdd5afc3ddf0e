package kenar_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/openkenar/openkenar/kenar"
)

// serve starts a server on connections in memory, and returns a client of it.
func serve(t *testing.T, h http.HandlerFunc) *http.Client {
	t.Helper()
	return &http.Client{Transport: overPipe(t, h)}
}

// onPipe returns a client of such a server.
func onPipe(t *testing.T, set func(*kenar.Options), h http.HandlerFunc) *kenar.Client {
	t.Helper()
	o := kenar.Options{Host: "http://localhost", APIKey: "okk_a-key-of-this-test", HTTPClient: serve(t, h)} //nolint:gosec // no secret
	if set != nil {
		set(&o)
	}
	c, err := kenar.NewClient(o)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// failing fails n times in a way, then answers 200.
func failing(n int, how http.HandlerFunc, calls *atomic.Int32) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		if int(calls.Add(1)) <= n {
			how(w, r)
			return
		}
		_, _ = w.Write([]byte(`{}`))
	}
}

func status(code int, retryAfter string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		if retryAfter != "" {
			w.Header().Set("Retry-After", retryAfter)
		}
		w.WriteHeader(code)
		_, _ = w.Write([]byte(`{"message":"no"}`))
	}
}

// lost takes the call and gives no answer.
func lost(w http.ResponseWriter, r *http.Request) {
	_, _ = io.Copy(io.Discard, r.Body)
	conn, _, err := http.NewResponseController(w).Hijack()
	if err == nil {
		_ = conn.Close()
	}
}

// silent takes the call and says nothing for as long as the caller waits.
func silent(_ http.ResponseWriter, r *http.Request) {
	_, _ = io.Copy(io.Discard, r.Body)
	<-r.Context().Done()
}

// halfway breaks off in the middle of the answer.
func halfway(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Content-Length", "100")
	_, _ = w.Write([]byte(`{"token":`))
	_ = http.NewResponseController(w).Flush()
	lost(w, r)
}

// TestWhatIsMadeAgain is the table of the package documentation: which call is made
// again after which failure.
func TestWhatIsMadeAgain(t *testing.T) {
	t.Parallel()
	calls := map[string]struct {
		make     func(context.Context, *kenar.Client) error
		harmless bool
	}{
		"Post":            {func(ctx context.Context, c *kenar.Client) error { _, err := c.Post(ctx, "x"); return err }, true},
		"Subscriptions":   {func(ctx context.Context, c *kenar.Client) error { return first(c.Subscriptions(ctx)) }, true},
		"EndSubscription": {func(ctx context.Context, c *kenar.Client) error { return c.EndSubscription(ctx, "1") }, true},
		"Events":          {func(ctx context.Context, c *kenar.Client) error { _, err := c.Events(ctx, "", 0); return err }, true},
		"SendAsBot": {func(ctx context.Context, c *kenar.Client) error {
			return c.SendAsBot(ctx, "x", kenar.BotMessage{Text: "x"})
		}, false},
		"Upload": {func(ctx context.Context, c *kenar.Client) error {
			_, err := c.Upload(ctx, "image", "x", strings.NewReader("x"))
			return err
		}, true},
		"User.Me":    {func(ctx context.Context, c *kenar.Client) error { _, err := c.User(static("x")).Me(ctx); return err }, true},
		"User.Posts": {func(ctx context.Context, c *kenar.Client) error { return first(c.User(static("x")).Posts(ctx)) }, true},
		"User.Conversation": {func(ctx context.Context, c *kenar.Client) error {
			_, err := c.User(static("x")).Conversation(ctx, "x")
			return err
		}, true},
		"User.Subscribe": {func(ctx context.Context, c *kenar.Client) error {
			return c.User(static("x")).Subscribe(ctx, kenar.Subscription{})
		}, true},
		"User.SendMessage": {func(ctx context.Context, c *kenar.Client) error {
			return c.User(static("x")).SendMessage(ctx, "x", kenar.ChatMessage{})
		}, false},
		"User.SendAsBotTo": {func(ctx context.Context, c *kenar.Client) error {
			_, err := c.User(static("x")).SendAsBotTo(ctx, "x", kenar.BotMessage{})
			return err
		}, false},
		"User.SendEvent": {func(ctx context.Context, c *kenar.Client) error {
			return c.User(static("x")).SendEvent(ctx, kenar.Notification{})
		}, false},
	}
	failures := map[string]struct {
		how              http.HandlerFunc
		harmless, others bool // whether a repeat is made
	}{
		"429 with Retry-After": {status(429, "7"), true, true},
		"429":                  {status(429, ""), true, true},
		"500":                  {status(500, ""), true, false},
		"502":                  {status(502, ""), true, false},
		"503 with Retry-After": {status(503, "7"), true, false},
		"503":                  {status(503, ""), true, false},
		"504":                  {status(504, ""), true, false},
		"a lost answer":        {lost, true, false},
		"half an answer":       {halfway, true, false},
		"400":                  {status(400, "7"), false, false},
		"401":                  {status(401, ""), false, false},
		"403":                  {status(403, ""), false, false},
		"404":                  {status(404, ""), false, false},
		"409":                  {status(409, ""), false, false},
		"412":                  {status(412, ""), false, false},
		"a redirect":           {status(307, ""), false, false},
	}
	for name, call := range calls {
		for what, f := range failures {
			t.Run(name+" after "+what, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					var n atomic.Int32
					c := onPipe(t, nil, failing(2, f.how, &n))
					err := call.make(t.Context(), c)
					repeats := f.harmless && call.harmless || f.others
					if repeats && err != nil {
						t.Errorf("gave up after %d calls: %v", n.Load(), err)
					}
					if !repeats && (err == nil || n.Load() != 1) {
						t.Errorf("made %d times: %v", n.Load(), err)
					}
				})
			})
		}
	}
}

func first[T any](walk func(func(T, error) bool)) error {
	for _, err := range walk {
		return err
	}
	return nil
}

// TestWaits: how long a call waits before it is made again.
func TestWaits(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		retryAfter string
		least      time.Duration // of the first wait
		most       time.Duration
		calls      int32
	}{
		"as it is told":         {"7", 7 * time.Second, 8 * time.Second, 2},
		"a minute":              {"60", time.Minute, 66 * time.Second, 2},
		"backing off":           {"", kenar.FirstWait / 2, kenar.FirstWait, 2},
		"told nothing":          {"soon", kenar.FirstWait / 2, kenar.FirstWait, 2},
		"longer than it waits":  {"61", 0, 0, 1},
		"until tomorrow":        {"86400", 0, 0, 1},
		"until the end of time": {"99999999999999999999", 0, 0, 1},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var n atomic.Int32
				c := onPipe(t, nil, failing(1, status(429, tt.retryAfter), &n))
				began := time.Now()
				_, err := c.Post(t.Context(), "x")
				if took := time.Since(began); took < tt.least || took > tt.most || n.Load() != tt.calls {
					t.Errorf("%d calls in %s: %v", n.Load(), took, err)
				}
				if e, ok := errors.AsType[*kenar.Error](err); tt.calls == 1 && (!ok || !errors.Is(err, kenar.ErrQuota) || e.RetryAfter < kenar.MaxWait) {
					t.Errorf("got %v", err)
				}
			})
		})
	}
}

// TestGivesUp: a call that fails each time ends, at the count, at the deadline of
// its context or when that is canceled.
func TestGivesUp(t *testing.T) {
	t.Parallel()
	t.Run("count", func(t *testing.T) {
		for retries, want := range map[int]int32{0: 4, 1: 2, 7: 8, -1: 1} {
			synctest.Test(t, func(t *testing.T) {
				var n atomic.Int32
				c := onPipe(t, func(o *kenar.Options) { o.Retries = retries }, failing(100, status(503, ""), &n))
				began := time.Now()
				if _, err := c.Post(t.Context(), "x"); !errors.Is(err, kenar.ErrUnavailable) || n.Load() != want {
					t.Errorf("retries %d: %d calls, %v", retries, n.Load(), err)
				}
				if most := time.Duration(want) * kenar.LastWait; time.Since(began) > most {
					t.Errorf("retries %d: took %s", retries, time.Since(began))
				}
			})
		}
	})
	t.Run("deadline", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			var n atomic.Int32
			c := onPipe(t, nil, failing(100, status(429, "10"), &n))
			ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
			defer cancel()
			began := time.Now()
			// A wait that the context does not allow is not begun.
			if _, err := c.Post(ctx, "x"); !errors.Is(err, kenar.ErrQuota) || time.Since(began) > time.Second || n.Load() != 1 {
				t.Errorf("%d calls in %s: %v", n.Load(), time.Since(began), err)
			}
		})
	})
	t.Run("canceled", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			var n atomic.Int32
			c := onPipe(t, nil, failing(100, status(429, "10"), &n))
			ctx, cancel := context.WithCancel(t.Context())
			time.AfterFunc(3*time.Second, cancel)
			began := time.Now()
			_, err := c.Post(ctx, "x")
			if !errors.Is(err, kenar.ErrQuota) || !errors.Is(err, context.Canceled) || time.Since(began) != 3*time.Second {
				t.Errorf("after %s: %v", time.Since(began), err)
			}
		})
	})
	t.Run("silence", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			var n atomic.Int32
			c := onPipe(t, func(o *kenar.Options) { o.Timeout, o.Retries = 3*time.Second, 1 }, func(w http.ResponseWriter, r *http.Request) {
				n.Add(1)
				silent(w, r)
			})
			began := time.Now()
			_, err := c.Post(t.Context(), "x")
			if took := time.Since(began); !errors.Is(err, kenar.ErrUnanswered) || !errors.Is(err, context.DeadlineExceeded) || n.Load() != 2 || took < 6*time.Second || took > 7*time.Second {
				t.Errorf("%d calls in %s: %v", n.Load(), took, err)
			}
			if !strings.Contains(err.Error(), "nothing for 3s") {
				t.Errorf("it does not say what happened: %v", err)
			}
		})
	})
}

// TestNoConnection: a call for which no connection was made surely was not
// served, so that each is made again.
func TestNoConnection(t *testing.T) {
	t.Parallel()
	for name, harmless := range map[string]bool{"Post": true, "SendAsBot": false} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var served atomic.Int32
				good := serve(t, failing(0, nil, &served))
				dial := good.Transport.(*http.Transport).DialContext
				var dials atomic.Int32
				refusing := &http.Transport{DialContext: func(ctx context.Context, network, address string) (net.Conn, error) {
					if dials.Add(1) <= 2 {
						return nil, &net.OpError{Op: "dial", Net: network, Err: syscall.ECONNREFUSED}
					}
					return dial(ctx, network, address)
				}}
				t.Cleanup(refusing.CloseIdleConnections)
				c, err := kenar.NewClient(kenar.Options{Host: "http://localhost", APIKey: "key", HTTPClient: &http.Client{Transport: refusing}})
				if err != nil {
					t.Fatal(err)
				}
				if harmless {
					_, err = c.Post(t.Context(), "x")
				} else {
					err = c.SendAsBot(t.Context(), "x", kenar.BotMessage{Text: "x"})
				}
				if err != nil || served.Load() != 1 || dials.Load() != 3 {
					t.Errorf("%d connections, %d served: %v", dials.Load(), served.Load(), err)
				}
			})
		})
	}
}

// TestRedirectsAreNotFollowed: neither the key nor the token goes where an answer
// points to.
func TestRedirectsAreNotFollowed(t *testing.T) {
	t.Parallel()
	for _, code := range []int{301, 302, 303, 307, 308} {
		var n atomic.Int32
		c := onPipe(t, func(o *kenar.Options) {
			o.HTTPClient.CheckRedirect = func(*http.Request, []*http.Request) error { return nil } // not asked
		}, func(w http.ResponseWriter, r *http.Request) {
			n.Add(1)
			http.Redirect(w, r, "http://elsewhere.localhost/?secret=x", code)
		})
		for name, err := range map[string]error{
			"get":  first(c.User(static("a-token-of-this-test")).Posts(t.Context())),
			"post": c.User(static("a-token-of-this-test")).SendMessage(t.Context(), "x", kenar.ChatMessage{Text: "x"}),
		} {
			e, ok := errors.AsType[*kenar.Error](err)
			if !ok || e.HTTPStatus != code || !strings.Contains(err.Error(), "elsewhere.localhost") || strings.Contains(err.Error(), "secret") {
				t.Errorf("%d, %s: %v", code, name, err)
			}
		}
		if n.Load() != 2 {
			t.Errorf("%d: %d requests came", code, n.Load())
		}
	}
}

// TestUploadIsSentAgain: from where the content stood; what cannot be sought is
// only while nothing of it was read.
func TestUploadIsSentAgain(t *testing.T) {
	t.Parallel()
	content := strings.Repeat("0123456789", 50_000)
	for name, tt := range map[string]struct {
		content func() io.Reader
		how     http.HandlerFunc
		again   bool
	}{
		"a file": {func() io.Reader {
			r := strings.NewReader("skipped" + content)
			_, _ = r.Seek(7, io.SeekStart)
			return r
		}, lost, true},
		"a pipe, read":      {func() io.Reader { return io.MultiReader(strings.NewReader(content)) }, lost, false},
		"a pipe, not begun": {func() io.Reader { return io.MultiReader(strings.NewReader(content)) }, status(429, "1"), true},
		"a file, not begun": {func() io.Reader { return strings.NewReader(content) }, status(429, "1"), true},
		"nothing in it":     {func() io.Reader { return strings.NewReader("") }, lost, true},
		"bytes":             {func() io.Reader { return bytes.NewReader([]byte(content)) }, lost, true},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var n atomic.Int32
				var got string
				var length int64
				c := onPipe(t, func(o *kenar.Options) {
					o.HTTPClient.Transport.(*http.Transport).ExpectContinueTimeout = time.Hour
				}, func(w http.ResponseWriter, r *http.Request) {
					if r.URL.Path != "/upload/file" {
						_, _ = w.Write([]byte(`{"token":"an-upload-token"}`))
						return
					}
					if n.Add(1) == 1 {
						tt.how(w, r)
						return
					}
					file, header, err := r.FormFile("file")
					if err != nil || header.Filename != `a "b".pdf` || r.Header.Get("Authorization") != "Bearer an-upload-token" {
						t.Errorf("got %v, %v, %v", header, err, r.Header)
						return
					}
					all, err := io.ReadAll(file)
					if err != nil {
						t.Error(err)
					}
					got, length = string(all), r.ContentLength
					_, _ = w.Write([]byte(`{"id":"a-media-token","status":"ok"}`))
				})
				stream := tt.content()
				id, err := c.Upload(t.Context(), kenar.UploadFile, `a "b".pdf`, stream)
				if !tt.again {
					if err == nil || n.Load() != 1 {
						t.Errorf("sent %d times: %v", n.Load(), err)
					}
					return
				}
				want := content
				if name == "nothing in it" {
					want = ""
				}
				if err != nil || id != "a-media-token" || got != want || n.Load() != 2 {
					t.Errorf("sent %d times, got %q and %d bytes: %v", n.Load(), id, len(got), err)
				}
				if _, seeks := stream.(io.Seeker); seeks != (length > int64(len(want))) {
					t.Errorf("Content-Length %s for a content that can be sought: %t", strconv.FormatInt(length, 10), seeks)
				}
			})
		})
	}
}
