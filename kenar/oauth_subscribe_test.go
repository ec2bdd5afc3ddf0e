package kenar_test

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/oauth2"

	"github.com/openkenar/openkenar/kenar"
)

// live returns until when the app's subscriptions live, by what they are about.
func live(t testing.TB, c *kenar.Client) map[string]time.Time {
	t.Helper()
	until := map[string]time.Time{}
	for s, err := range c.Subscriptions(t.Context()) {
		if err != nil {
			t.Fatal(err)
		}
		until[string(s.Type)+" "+s.PostToken] = s.ExpiresAt
	}
	return until
}

func wants(list ...kenar.Subscription) func(context.Context) ([]kenar.Subscription, error) {
	return func(context.Context) ([]kenar.Subscription, error) { return list, nil }
}

// TestSubscriptionsAreKept: over a renewal, whoever asked for it, and over a
// crash between the renewal and the registration.
func TestSubscriptionsAreKept(t *testing.T) {
	t.Parallel()
	p := startPlatform(t, "--event-url", "http://127.0.0.1:9/hook")
	config := p.oauth(p.everyScope()...)
	client := newClient(t, p)
	source, s, _ := p.source(config, p.grant(config, "seller"))
	user := client.User(source)
	all, one := "NEW_MESSAGE_ON_POST ", "POST_UPDATE "+p.dev.PostToken
	wanted := wants(
		kenar.Subscription{Type: kenar.SubscribeNewMessageOnPost},
		kenar.Subscription{Type: kenar.SubscribePostUpdate, PostToken: p.dev.PostToken},
	)
	keep := func(u *kenar.User) (stop func() error) {
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() {
			done <- u.KeepSubscribed(ctx, kenar.KeepOptions{Wanted: wanted, OnError: func(s kenar.Subscription, err error) { t.Errorf("%v: %v", s, err) }})
		}()
		return func() error { cancel(); return <-done }
	}
	both := func() bool { l := live(t, client); return !l[all].IsZero() && !l[one].IsZero() }

	stop := keep(user)
	eventually(t, "both are registered", both)
	before := live(t, client)
	p.advance("90m") // the token is dead, and what was registered with it
	if l := live(t, client); len(l) != 0 {
		t.Fatalf("still there: %v", l)
	}
	if _, err := user.Me(t.Context()); err != nil { // a call that has the token renewed
		t.Fatal(err)
	}
	eventually(t, "both are registered again", both)
	if after := live(t, client); !after[all].After(before[all]) {
		t.Errorf("they lived until %v, and now until %v", before, after)
	}
	if err := stop(); !errors.Is(err, context.Canceled) {
		t.Errorf("stopped with %v", err)
	}

	// A crash right after a renewal: the pair is stored, and nothing registered.
	crashed, s, _ := p.source(config, aged(s.get()))
	if _, err := crashed.Token(); err != nil {
		t.Fatal(err)
	}
	p.advance("1m")
	if !both() {
		t.Errorf("a minute after the renewal only these are left: %v", live(t, client))
	}
	p.advance("2m")
	if l := live(t, client); len(l) != 0 {
		t.Fatalf("still there: %v", l)
	}
	again, _, w := p.source(config, s.get())
	stop = keep(client.User(again))
	eventually(t, "both are registered after the crash", both)
	if err := stop(); !errors.Is(err, context.Canceled) || w.sent.Load() != 0 {
		t.Errorf("stopped with %v, after %d renewals", err, w.sent.Load())
	}
}

// TestKeepingEnds: with the access.
func TestKeepingEnds(t *testing.T) {
	t.Parallel()
	p := startPlatform(t, "--event-url", "http://127.0.0.1:9/hook")
	config := p.oauth(p.everyScope()...)
	source, _, _ := p.source(config, lapsed(p.grant(config, "seller")))
	p.mustHost(http.MethodDelete, "/users/seller/grants/"+p.dev.App.Slug, "", nil)
	var told []error
	err := newClient(t, p).User(source).KeepSubscribed(t.Context(), kenar.KeepOptions{
		Wanted: wants(), OnError: func(_ kenar.Subscription, err error) { told = append(told, err) },
	})
	if !errors.Is(err, kenar.ErrAccessEnded) || len(told) != 1 {
		t.Errorf("ended with %v, told %v", err, told)
	}
}

func TestKeepSubscribedRefuses(t *testing.T) {
	t.Parallel()
	source, _ := onTokens(t, &tokens{}, pairFor(time.Hour))
	c := onPipe(t, nil, status(500, ""))
	quiet := func(kenar.Subscription, error) {}
	for name, err := range map[string]error{
		"another source": c.User(static("x")).KeepSubscribed(t.Context(), kenar.KeepOptions{Wanted: wants(), OnError: quiet}),
		"no wanted":      c.User(source).KeepSubscribed(t.Context(), kenar.KeepOptions{OnError: quiet}),
		"no listener":    c.User(source).KeepSubscribed(t.Context(), kenar.KeepOptions{Wanted: wants()}),
	} {
		if err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
}

// registry takes registrations and notes with which token they came.
type registry struct {
	mu   sync.Mutex
	got  []string
	fail func(s kenar.Subscription, n int) int // the status; 0: registered
	n    int
}

func (r *registry) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	r.mu.Lock()
	defer r.mu.Unlock()
	var in struct {
		PostToken string `json:"event_resource_id"`
	}
	if err := json.NewDecoder(req.Body).Decode(&in); err != nil {
		w.WriteHeader(http.StatusBadRequest)
		return
	}
	s := kenar.Subscription{PostToken: in.PostToken}
	r.n++
	if r.fail != nil {
		if code := r.fail(s, r.n); code != 0 {
			status(code, "")(w, req)
			return
		}
	}
	r.got = append(r.got, s.PostToken+" with "+req.Header.Get("Authorization")[len("Bearer "):])
	_, _ = w.Write([]byte(`{}`))
}

func (r *registry) take() []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	got := r.got
	r.got = nil
	return got
}

// TestSubscriptionsAreKeptInTime: nobody calls, and still the token is renewed
// before it ends and all is registered with the new one, day after day.
func TestSubscriptionsAreKeptInTime(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		platform := &registry{}
		endpoint := &tokens{}
		source, _ := onTokens(t, endpoint, pairFor(time.Hour))
		user := onPipe(t, nil, platform.ServeHTTP).User(source)
		ctx, cancel := context.WithCancel(t.Context())
		wanted := []kenar.Subscription{{Type: kenar.SubscribePostUpdate, PostToken: "one"}}
		var mu sync.Mutex
		done := make(chan error, 1)
		go func() {
			done <- user.KeepSubscribed(ctx, kenar.KeepOptions{
				Wanted: func(context.Context) ([]kenar.Subscription, error) {
					mu.Lock()
					defer mu.Unlock()
					return slices.Clone(wanted), nil
				},
				OnError: func(s kenar.Subscription, err error) { t.Errorf("%v: %v", s, err) },
			})
		}()
		wait := func(d time.Duration, want ...string) {
			t.Helper()
			<-time.After(d)
			synctest.Wait()
			if got := platform.take(); !slices.Equal(got, want) {
				t.Errorf("registered %q, want %q", got, want)
			}
		}
		wait(time.Second, "one with access-0")
		wait(54 * time.Minute)
		wait(time.Minute, "one with access-1")
		mu.Lock()
		wanted = append(wanted, kenar.Subscription{Type: kenar.SubscribePostUpdate, PostToken: "two"})
		mu.Unlock()
		wait(55*time.Minute, "one with access-2", "two with access-2")
		<-time.After(24 * time.Hour)
		synctest.Wait()
		if n := endpoint.n.Load(); n < 25 || n > 30 || len(platform.take()) != 2*int(n-2) {
			t.Errorf("%d renewals in a day", n)
		}
		cancel()
		if err := <-done; !errors.Is(err, context.Canceled) {
			t.Errorf("ended with %v", err)
		}
	})
}

// TestWhatIsRefusedIsLeftAlone: and what fails is tried again, ever more rarely.
func TestWhatIsRefusedIsLeftAlone(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		platform := &registry{fail: func(s kenar.Subscription, n int) int {
			switch {
			case s.PostToken == "gone":
				return http.StatusNotFound
			case s.PostToken == "later" && n < 20:
				return http.StatusServiceUnavailable
			default:
				return 0
			}
		}}
		source, _ := onTokens(t, &tokens{}, pairFor(10*time.Hour))
		user := onPipe(t, func(o *kenar.Options) { o.Retries = -1 }, platform.ServeHTTP).User(source)
		ctx, cancel := context.WithCancel(t.Context())
		var gone, later, lists atomic.Int32
		done := make(chan error, 1)
		go func() {
			done <- user.KeepSubscribed(ctx, kenar.KeepOptions{
				Wanted: func(context.Context) ([]kenar.Subscription, error) {
					if lists.Add(1) == 1 {
						return nil, errDisk
					}
					return []kenar.Subscription{{PostToken: "gone"}, {PostToken: "later"}}, nil
				},
				OnError: func(s kenar.Subscription, err error) {
					switch {
					case s.PostToken == "gone" && errors.Is(err, kenar.ErrNotFound):
						gone.Add(1)
					case s.PostToken == "later" && errors.Is(err, kenar.ErrUnavailable):
						later.Add(1)
					case s.PostToken != "" || !errors.Is(err, errDisk):
						t.Errorf("%v: %v", s, err)
					}
				},
			})
		}()
		<-time.After(9 * time.Hour)
		synctest.Wait()
		if gone.Load() != 1 || later.Load() < 10 {
			t.Errorf("told %d and %d times", gone.Load(), later.Load())
		}
		if got := platform.take(); !slices.Equal(got, []string{"later with access-0"}) {
			t.Errorf("registered %q", got)
		}
		cancel()
		if err := <-done; !errors.Is(err, context.Canceled) {
			t.Errorf("ended with %v", err)
		}
	})
}

// TestKeepingOverAnOutage: the token endpoint is away when it is time, and comes
// back before the old token ends.
func TestKeepingOverAnOutage(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		platform := &registry{}
		var up atomic.Bool
		endpoint := &tokens{fail: func(_ int32, w http.ResponseWriter, _ *http.Request) bool {
			if up.Load() {
				return false
			}
			w.WriteHeader(http.StatusTooManyRequests)
			return true
		}}
		source, _ := onTokens(t, endpoint, pairFor(time.Hour))
		user := onPipe(t, nil, platform.ServeHTTP).User(source)
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() {
			done <- user.KeepSubscribed(ctx, kenar.KeepOptions{
				Wanted: wants(kenar.Subscription{PostToken: "one"}), OnError: func(s kenar.Subscription, err error) { t.Errorf("%v: %v", s, err) },
			})
		}()
		<-time.After(57 * time.Minute)
		if n := endpoint.n.Load(); n < 10 || n > 30 {
			t.Errorf("asked %d times in two minutes", n)
		}
		up.Store(true)
		<-time.After(10 * time.Second)
		synctest.Wait()
		want := []string{"one with access-0", "one with access-" + strconv.Itoa(int(endpoint.n.Load()))}
		if got := platform.take(); !slices.Equal(got, want) {
			t.Errorf("registered %q, want %q", got, want)
		}
		cancel()
		if err := <-done; !errors.Is(err, context.Canceled) {
			t.Errorf("ended with %v", err)
		}
	})
}

// TestResubscribeTriesAll: and says what went wrong with which.
func TestResubscribeTriesAll(t *testing.T) {
	t.Parallel()
	platform := &registry{fail: func(s kenar.Subscription, _ int) int {
		if s.PostToken == "gone" {
			return http.StatusNotFound
		}
		return 0
	}}
	user := onPipe(t, nil, platform.ServeHTTP).User(oauth2.StaticTokenSource(&oauth2.Token{AccessToken: "x"}))
	err := user.Resubscribe(t.Context(), kenar.Subscription{PostToken: "gone"}, kenar.Subscription{PostToken: "one"})
	if got := platform.take(); !errors.Is(err, kenar.ErrNotFound) || !slices.Equal(got, []string{"one with x"}) {
		t.Errorf("registered %q: %v", got, err)
	}
	if err := user.Resubscribe(t.Context()); err != nil {
		t.Error(err)
	}
	ended := onPipe(t, nil, platform.ServeHTTP)
	source, _ := onTokens(t, &tokens{fail: func(_ int32, w http.ResponseWriter, _ *http.Request) bool {
		w.WriteHeader(http.StatusBadRequest)
		_, _ = w.Write([]byte(`{"error":"invalid_grant"}`))
		return true
	}}, pairFor(-time.Hour))
	if err := ended.User(source).Resubscribe(t.Context(), kenar.Subscription{PostToken: "one"}, kenar.Subscription{PostToken: "two"}); !errors.Is(err, kenar.ErrAccessEnded) {
		t.Errorf("got %v", err)
	}
}
