package kenar_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/oauth2"

	"github.com/openkenar/openkenar/kenar"
)

// stored is where an app of these tests keeps a user's pair.
type stored struct {
	mu    sync.Mutex
	pair  *oauth2.Token
	saves int
	fail  int // as many saves more
}

var errDisk = errors.New("the disk is full")

func (s *stored) save(_ context.Context, pair *oauth2.Token) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.fail > 0 {
		s.fail--
		return errDisk
	}
	s.pair, s.saves = pair, s.saves+1
	return nil
}

func (s *stored) get() *oauth2.Token {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.pair
}

// aged returns a pair whose access token seems to end soon, so that it is time to
// renew it.
func aged(pair *oauth2.Token) *oauth2.Token {
	old := *pair
	old.Expiry = time.Now().Add(time.Minute)
	return &old
}

// lapsed returns a pair whose access token seems to have ended.
func lapsed(pair *oauth2.Token) *oauth2.Token {
	old := *pair
	old.Expiry = time.Now().Add(-time.Minute)
	return &old
}

// wire counts the requests of a client to a platform, and loses some answers on
// the way back: the platform has served those.
type wire struct {
	sent atomic.Int32
	lose atomic.Int32 // so many answers more
	next http.RoundTripper
}

func (w *wire) RoundTrip(r *http.Request) (*http.Response, error) {
	w.sent.Add(1)
	answer, err := w.next.RoundTrip(r)
	if err == nil && w.lose.Add(-1) >= 0 {
		_, _ = io.Copy(io.Discard, answer.Body)
		_ = answer.Body.Close()
		return nil, io.ErrUnexpectedEOF
	}
	return answer, err
}

// source returns a source of a pair on a real platform, and what is between.
func (p *platform) source(config *oauth2.Config, pair *oauth2.Token, set ...func(*kenar.TokenOptions)) (*kenar.TokenSource, *stored, *wire) {
	p.t.Helper()
	w := &wire{next: &http.Transport{DisableKeepAlives: true}}
	s := &stored{pair: pair}
	o := kenar.TokenOptions{Config: config, Token: pair, Save: s.save, HTTPClient: &http.Client{Transport: w}}
	for _, f := range set {
		f(&o)
	}
	source, err := kenar.NewTokenSource(o)
	if err != nil {
		p.t.Fatal(err)
	}
	return source, s, w
}

// TestTokenIsRenewed: in time, stored before it is used, and once however many
// ask.
func TestTokenIsRenewed(t *testing.T) {
	t.Parallel()
	p := startPlatform(t)
	config := p.oauth(p.everyScope()...)
	pair := p.grant(config, "seller")
	client := newClient(t, p)

	fresh, _, w := p.source(config, pair)
	if got, err := fresh.Token(); err != nil || got != pair || w.sent.Load() != 0 {
		t.Errorf("a fresh pair: %v, %d requests", err, w.sent.Load())
	}

	source, s, w := p.source(config, aged(pair))
	var all sync.WaitGroup
	for range 50 {
		all.Go(func() {
			got, err := source.TokenContext(t.Context())
			if err != nil {
				t.Error(err)
			} else if got.AccessToken != pair.AccessToken && got != s.get() {
				t.Error("a pair is used that is not stored")
			}
		})
	}
	all.Wait()
	if w.sent.Load() != 1 || s.saves != 1 {
		t.Errorf("%d requests, %d saves", w.sent.Load(), s.saves)
	}
	got, err := source.Token()
	if err != nil || got.AccessToken == pair.AccessToken || got.RefreshToken == pair.RefreshToken || time.Until(got.Expiry) < 50*time.Minute {
		t.Errorf("got %+v, %v", got, err)
	}
	if len(kenar.Granted(got)) != len(p.everyScope()) {
		t.Errorf("it has %v", kenar.Granted(got))
	}
	for what, token := range map[string]*oauth2.Token{"new": got, "old, for two minutes": pair} {
		if _, err := client.User(oauth2.StaticTokenSource(token)).Me(t.Context()); err != nil {
			t.Errorf("%s: %v", what, err)
		}
	}
}

// TestLostAnswerOfARenewal: the platform has replaced the pair, and the app does
// not know by what. Asking again with the same token mends it, at once, at the
// next call and after a crash; for two minutes.
func TestLostAnswerOfARenewal(t *testing.T) {
	t.Parallel()
	p := startPlatform(t)
	config := p.oauth(p.everyScope()...)
	works := func(t *testing.T, source *kenar.TokenSource) {
		t.Helper()
		if _, err := newClient(t, p).User(source).Me(t.Context()); err != nil {
			t.Error(err)
		}
	}
	t.Run("at once", func(t *testing.T) {
		source, s, w := p.source(config, aged(p.grant(config, "seller")))
		w.lose.Store(2)
		works(t, source)
		if w.sent.Load() != 3 || s.saves != 1 {
			t.Errorf("%d requests, %d saves", w.sent.Load(), s.saves)
		}
		// It is the newest pair of its family: minutes later it can be renewed.
		p.advance("10m")
		again, _, _ := p.source(config, aged(s.get()))
		works(t, again)
	})
	t.Run("after a crash", func(t *testing.T) {
		pair := p.grant(config, "seller")
		source, s, _ := p.source(config, aged(pair))
		s.fail = 1 // it dies before the pair is stored
		if _, err := source.Token(); !errors.Is(err, errDisk) {
			t.Fatal(err)
		}
		p.restart()
		p.advance("1m")
		again, _, _ := p.source(config, lapsed(s.get()))
		works(t, again)
	})
	t.Run("too late", func(t *testing.T) {
		source, s, _ := p.source(config, aged(p.grant(config, "seller")))
		s.fail = 1
		if _, err := source.Token(); !errors.Is(err, errDisk) {
			t.Fatal(err)
		}
		p.advance("3m")
		again, _, w := p.source(config, lapsed(s.get()))
		for range 2 {
			if _, err := newClient(t, p).User(again).Me(t.Context()); !errors.Is(err, kenar.ErrAccessEnded) {
				t.Errorf("got %v", err)
			}
		}
		if w.sent.Load() != 1 {
			t.Errorf("asked %d times", w.sent.Load())
		}
	})
}

// TestStoringFails: the pair is kept, not used, and stored at the next call.
func TestStoringFails(t *testing.T) {
	t.Parallel()
	p := startPlatform(t)
	config := p.oauth(p.everyScope()...)
	source, s, w := p.source(config, aged(p.grant(config, "seller")))
	s.fail = 3
	for range 3 {
		if got, err := source.Token(); got != nil || !errors.Is(err, errDisk) {
			t.Errorf("got %v, %v", got, err)
		}
	}
	p.advance("1h") // the old pair is long dead
	got, err := source.Token()
	if err != nil || got != s.get() || w.sent.Load() != 1 {
		t.Errorf("got %v, %v after %d requests", got, err, w.sent.Load())
	}
}

// TestRefusedToken: a token that dies before its time is replaced, and the call
// made again; once a minute at most.
func TestRefusedToken(t *testing.T) {
	t.Parallel()
	p := startPlatform(t)
	config := p.oauth(p.everyScope()...)
	source, s, w := p.source(config, p.grant(config, "seller"))
	user := newClient(t, p).User(source)
	p.advance("90m") // the clocks do not agree
	if err := user.SendMessage(t.Context(), p.dev.ConversationID, kenar.ChatMessage{Text: "once"}); err != nil {
		t.Fatal(err)
	}
	n := 0
	for _, m := range p.said(p.dev.ConversationID) {
		if m["text"] == "once" {
			n++
		}
	}
	if n != 1 || w.sent.Load() != 1 || s.saves != 1 {
		t.Errorf("sent %d times, with %d renewals", n, w.sent.Load())
	}

	// A key that is refused does not become a renewal with each call.
	stranger := newClient(t, p, func(o *kenar.Options) { o.APIKey = "okk_unknown" }).User(source)
	for range 3 {
		if _, err := stranger.Me(t.Context()); !errors.Is(err, kenar.ErrUnauthenticated) {
			t.Errorf("got %v", err)
		}
	}
	if w.sent.Load() != 1 {
		t.Errorf("%d renewals", w.sent.Load())
	}
	if _, err := user.Me(t.Context()); err != nil {
		t.Error(err)
	}
}

// TestAccessEnds: what a revocation, a refresh token of another, a wrong secret
// and an access without a refresh token come to.
func TestAccessEnds(t *testing.T) {
	t.Parallel()
	p := startPlatform(t)
	config := p.oauth(p.everyScope()...)
	client := newClient(t, p)

	t.Run("wrong secret", func(t *testing.T) {
		wrong := *config
		wrong.ClientSecret = "oks_a-wrong-secret"
		pair := p.grant(config, "seller")
		source, _, _ := p.source(&wrong, lapsed(pair))
		_, err := source.Token()
		e, ok := errors.AsType[*kenar.Error](err)
		if !ok || !errors.Is(err, kenar.ErrUnauthenticated) || errors.Is(err, kenar.ErrAccessEnded) || e.OAuth != "invalid_client" || e.Path != "/oauth2/token" {
			t.Errorf("got %v", err)
		}
		if text := err.Error(); strings.Contains(text, "wrong-secret") || strings.Contains(text, pair.RefreshToken) {
			t.Errorf("says %s", text)
		}
		// While the old token lives, it is used; and it is not the user who is asked.
		source, _, w := p.source(&wrong, aged(pair))
		for range 3 {
			if _, err := client.User(source).Me(t.Context()); err != nil {
				t.Error(err)
			}
		}
		if w.sent.Load() != 1 {
			t.Errorf("%d requests", w.sent.Load())
		}
	})
	t.Run("not for this app", func(t *testing.T) {
		other := *config
		other.ClientID = "another-app"
		source, _, _ := p.source(&other, lapsed(p.grant(config, "seller")))
		if _, err := source.Token(); !errors.Is(err, kenar.ErrUnauthenticated) {
			t.Errorf("got %v", err)
		}
	})
	t.Run("no longer allowed", func(t *testing.T) {
		source, _, _ := p.source(config, lapsed(p.grant(config, "seller")))
		p.mustHost(http.MethodPatch, "/apps/"+p.dev.App.Slug, `{"oauth_scopes":[]}`, nil)
		if _, err := source.Token(); !errors.Is(err, kenar.ErrPermission) || errors.Is(err, kenar.ErrAccessEnded) {
			t.Errorf("got %v", err)
		}
		list, err := json.Marshal(config.Scopes)
		if err != nil {
			t.Fatal(err)
		}
		names := regexp.MustCompile(`\.[^"]*`).ReplaceAllString(string(list), "")
		p.mustHost(http.MethodPatch, "/apps/"+p.dev.App.Slug, `{"oauth_scopes":`+names+`}`, nil)
	})
	t.Run("no offline access", func(t *testing.T) {
		pair := p.grant(p.oauth(kenar.ScopeUserID), "seller")
		source, err := kenar.NewTokenSource(kenar.TokenOptions{Config: config, Token: aged(pair)}) // with nothing to save
		if err != nil {
			t.Fatal(err)
		}
		if _, err := client.User(source).Me(t.Context()); err != nil {
			t.Error(err)
		}
		if source, err = kenar.NewTokenSource(kenar.TokenOptions{Config: config, Token: lapsed(pair)}); err != nil {
			t.Fatal(err)
		}
		if _, err := client.User(source).Me(t.Context()); !errors.Is(err, kenar.ErrAccessEnded) || !strings.Contains(err.Error(), "offline_access") {
			t.Errorf("got %v", err)
		}
	})
	t.Run("platform away", func(t *testing.T) {
		pair := p.grant(config, "seller")
		alive, s, w := p.source(config, aged(pair))
		p.kill()
		began := time.Now()
		for range 3 {
			if got, err := alive.Token(); err != nil || got.AccessToken != pair.AccessToken {
				t.Errorf("the old token lives: %v", err)
			}
		}
		if w.sent.Load() != 1 || time.Since(began) > 5*time.Second {
			t.Errorf("%d requests in %s", w.sent.Load(), time.Since(began))
		}
		p.start()
		s.fail = 0
		dead, s, _ := p.source(config, lapsed(pair))
		if got, err := dead.Token(); err != nil || got != s.get() {
			t.Errorf("back again: %v", err)
		}
	})
	t.Run("revoked", func(t *testing.T) {
		source, _, w := p.source(config, p.grant(config, "seller"))
		user := client.User(source)
		if _, err := user.Me(t.Context()); err != nil {
			t.Fatal(err)
		}
		p.mustHost(http.MethodDelete, "/users/seller/grants/"+p.dev.App.Slug, "", nil)
		for range 3 {
			if _, err := user.Me(t.Context()); !errors.Is(err, kenar.ErrAccessEnded) {
				t.Errorf("got %v", err)
			}
		}
		if w.sent.Load() != 1 {
			t.Errorf("asked %d times", w.sent.Load())
		}
	})
}

// TestProcessesShareAPair: with Lock, two processes do not take the family of
// tokens from each other.
func TestProcessesShareAPair(t *testing.T) {
	t.Parallel()
	p := startPlatform(t)
	config := p.oauth(p.everyScope()...)
	shared := &stored{pair: aged(p.grant(config, "seller"))}
	var database sync.Mutex
	lock := func(o *kenar.TokenOptions) {
		o.Token, o.Save = shared.get(), shared.save
		o.Lock = func(context.Context) (*oauth2.Token, func(), error) {
			database.Lock()
			return shared.get(), database.Unlock, nil
		}
	}
	first := shared.get()
	// An hour later each process finds that it is time; one renews the pair, and
	// the other takes what that has stored.
	for round := range 4 {
		one, _, w1 := p.source(config, nil, lock)
		two, _, w2 := p.source(config, nil, lock)
		var both sync.WaitGroup
		for _, source := range []*kenar.TokenSource{one, two} {
			both.Go(func() {
				if _, err := newClient(t, p).User(source).Me(t.Context()); err != nil {
					t.Errorf("round %d: %v", round, err)
				}
			})
		}
		both.Wait()
		if n := w1.sent.Load() + w2.sent.Load(); n != 1 {
			t.Errorf("round %d: %d renewals", round, n)
		}
		p.advance("65m")
		shared.pair = lapsed(shared.get())
	}
	// A process that has slept for hours, too.
	shared.pair = func() *oauth2.Token {
		one, s, _ := p.source(config, shared.get())
		if _, err := one.Token(); err != nil {
			t.Fatal(err)
		}
		return s.get()
	}()
	late, _, w := p.source(config, nil, lock, func(o *kenar.TokenOptions) { o.Token = first })
	if _, err := newClient(t, p).User(late).Me(t.Context()); err != nil || w.sent.Load() != 0 {
		t.Errorf("%d renewals: %v", w.sent.Load(), err)
	}

	broken, _, _ := p.source(config, lapsed(shared.get()), func(o *kenar.TokenOptions) {
		o.Lock = func(context.Context) (*oauth2.Token, func(), error) { return nil, nil, errDisk }
	})
	if _, err := broken.Token(); !errors.Is(err, errDisk) {
		t.Errorf("no lock: %v", err)
	}
}

// TestAnotherProcessGoesOn: with a Lock, the end of a pair is not the end of the
// source: the user may have been asked again by another process.
func TestAnotherProcessGoesOn(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		ended := &tokens{fail: func(_ int32, w http.ResponseWriter, _ *http.Request) bool {
			w.WriteHeader(http.StatusBadRequest)
			_, _ = io.WriteString(w, `{"error":"invalid_grant"}`)
			return true
		}}
		for _, shared := range []bool{true, false} {
			in := &stored{pair: pairFor(-time.Minute)}
			source, _ := onTokens(t, ended, in.get(), func(o *kenar.TokenOptions) {
				if shared {
					o.Lock = func(context.Context) (*oauth2.Token, func(), error) { return in.get(), func() {}, nil }
				}
			})
			if got, err := source.Token(); !errors.Is(err, kenar.ErrAccessEnded) {
				t.Errorf("shared %t: got %v, %v", shared, got, err)
			}
			if err := in.save(t.Context(), &oauth2.Token{AccessToken: "another", RefreshToken: "another", Expiry: time.Now().Add(time.Hour)}); err != nil {
				t.Fatal(err)
			}
			if got, err := source.Token(); (err == nil) != shared || shared && got.AccessToken != "another" {
				t.Errorf("shared %t, once another pair is stored: %v, %v", shared, got, err)
			}
		}
	})
}

func TestNewTokenSourceRefuses(t *testing.T) {
	t.Parallel()
	config := &oauth2.Config{Endpoint: oauth2.Endpoint{TokenURL: "https://example.com/oauth2/token"}} //nolint:gosec // an address
	pair := &oauth2.Token{AccessToken: "a", RefreshToken: "r"}
	for name, o := range map[string]kenar.TokenOptions{
		"no config":   {Token: pair, Save: noSave},
		"no endpoint": {Config: &oauth2.Config{}, Token: pair, Save: noSave},
		"no token":    {Config: config, Save: noSave},
		"empty":       {Config: config, Token: &oauth2.Token{}, Save: noSave},
		"no save":     {Config: config, Token: pair},
		"early":       {Config: config, Token: pair, Save: noSave, Early: -1},
	} {
		if s, err := kenar.NewTokenSource(o); s != nil || err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
}

// tokens answers as a token endpoint, with pairs numbered from 1.
type tokens struct {
	n    atomic.Int32
	fail func(n int32, w http.ResponseWriter, r *http.Request) bool // true: it has
}

func (s *tokens) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	n := s.n.Add(1)
	if s.fail != nil && s.fail(n, w, r) {
		return
	}
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(map[string]any{
		"access_token": fmt.Sprintf("access-%d", n), "refresh_token": fmt.Sprintf("refresh-%d", n), "expires_in": 3600, "token_type": "bearer",
	})
}

// onTokens returns a source whose time is that of the test's bubble.
func onTokens(t *testing.T, s *tokens, pair *oauth2.Token, set ...func(*kenar.TokenOptions)) (*kenar.TokenSource, *stored) {
	t.Helper()
	keep := &stored{pair: pair}
	o := kenar.TokenOptions{
		Config: &oauth2.Config{ClientID: "app", ClientSecret: "secret", Endpoint: oauth2.Endpoint{ //nolint:gosec // none
			TokenURL: "http://localhost/oauth2/token", AuthStyle: oauth2.AuthStyleInParams,
		}},
		Token: pair, Save: keep.save, HTTPClient: serve(t, s.ServeHTTP),
	}
	for _, f := range set {
		f(&o)
	}
	source, err := kenar.NewTokenSource(o)
	if err != nil {
		t.Fatal(err)
	}
	return source, keep
}

func pairFor(life time.Duration) *oauth2.Token {
	return &oauth2.Token{AccessToken: "access-0", RefreshToken: "refresh-0", Expiry: time.Now().Add(life)}
}

// TestWhenTokensAreRenewed: early, and after a failure not with each call.
func TestWhenTokensAreRenewed(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var up atomic.Bool
		endpoint := &tokens{fail: func(_ int32, w http.ResponseWriter, _ *http.Request) bool {
			if up.Load() {
				return false
			}
			w.WriteHeader(http.StatusTooManyRequests) // it surely was not renewed
			return true
		}}
		source, _ := onTokens(t, endpoint, pairFor(time.Hour), func(o *kenar.TokenOptions) { o.Early = 10 * time.Minute })
		want := func(token string, requests int32) {
			t.Helper()
			got, err := source.Token()
			if err != nil || got.AccessToken != token || endpoint.n.Load() != requests {
				t.Errorf("got %v, %v after %d requests; want %s after %d", got, err, endpoint.n.Load(), token, requests)
			}
		}
		wait := func(d time.Duration) { <-time.After(d) }
		want("access-0", 0)
		wait(50*time.Minute - time.Second)
		want("access-0", 0)
		wait(2 * time.Second)
		want("access-0", 1)
		want("access-0", 1)
		wait(6 * time.Second)
		want("access-0", 2)
		up.Store(true)
		wait(6 * time.Second)
		want("access-3", 3)
		wait(49 * time.Minute)
		want("access-3", 3)
		wait(2 * time.Minute)
		want("access-4", 4)
	})
}

// TestRenewalIsFinished: it goes on when the call that began it has given up, and
// others do not wait for longer than they want.
func TestRenewalIsFinished(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		endpoint := &tokens{fail: func(n int32, w http.ResponseWriter, r *http.Request) bool {
			if n == 1 {
				silent(w, r)
			}
			return n == 1
		}}
		source, keep := onTokens(t, endpoint, pairFor(-time.Minute))
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		var other sync.WaitGroup
		other.Go(func() {
			synctest.Wait() // the first has begun
			short, cancel := context.WithTimeout(t.Context(), 3*time.Second)
			defer cancel()
			if _, err := source.TokenContext(short); !errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("the other: %v", err)
			}
		})
		got, err := source.TokenContext(ctx)
		if err != nil || got.AccessToken != "access-2" || keep.get() != got {
			t.Errorf("got %v, %v", got, err)
		}
		other.Wait()
	})
}

// TestOthersDoNotWait: while the old token lives, a renewal that takes its time
// holds up the one call that makes it.
func TestOthersDoNotWait(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		endpoint := &tokens{fail: func(_ int32, w http.ResponseWriter, r *http.Request) bool { silent(w, r); return true }}
		source, _ := onTokens(t, endpoint, pairFor(time.Minute))
		var first sync.WaitGroup
		first.Go(func() {
			began := time.Now()
			if got, err := source.Token(); err != nil || got.AccessToken != "access-0" || time.Since(began) > 40*time.Second {
				t.Errorf("after %s: %v, %v", time.Since(began), got, err)
			}
		})
		synctest.Wait()
		began := time.Now()
		if got, err := source.Token(); err != nil || got.AccessToken != "access-0" || time.Since(began) != 0 {
			t.Errorf("after %s: %v, %v", time.Since(began), got, err)
		}
		first.Wait()
	})
	// An endpoint that answers, if with 500, does not hold it up for long.
	synctest.Test(t, func(t *testing.T) {
		endpoint := &tokens{fail: func(_ int32, w http.ResponseWriter, r *http.Request) bool { status(500, "")(w, r); return true }}
		source, _ := onTokens(t, endpoint, pairFor(time.Minute))
		began := time.Now()
		if got, err := source.Token(); err != nil || got.AccessToken != "access-0" || time.Since(began) > 2*time.Second {
			t.Errorf("after %s: %v, %v", time.Since(began), got, err)
		}
	})
}

// TestRenewalGivesUp: after 40 seconds of failures, with what went wrong; and the
// next call tries again.
func TestRenewalGivesUp(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		fail http.HandlerFunc
		kind error
	}{
		"silence":    {silent, kenar.ErrUnanswered},
		"no answer":  {lost, kenar.ErrUnanswered},
		"503":        {status(503, ""), kenar.ErrUnavailable},
		"not tokens": {func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte(`<html>`)) }, kenar.ErrUnanswered},
		"no token":   {func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte(`{}`)) }, kenar.ErrUnanswered},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var up atomic.Bool
				var mu sync.Mutex
				var used []string
				endpoint := &tokens{fail: func(_ int32, w http.ResponseWriter, r *http.Request) bool {
					mu.Lock()
					used = append(used, r.FormValue("refresh_token"))
					mu.Unlock()
					if !up.Load() {
						tt.fail(w, r)
						return true
					}
					return false
				}}
				source, _ := onTokens(t, endpoint, pairFor(-time.Minute))
				began := time.Now()
				_, err := source.Token()
				if took := time.Since(began); !errors.Is(err, tt.kind) || took < 20*time.Second || took > 40*time.Second {
					t.Errorf("after %s: %v", took, err)
				}
				up.Store(true)
				if got, err := source.Token(); err != nil || !strings.HasPrefix(got.AccessToken, "access-") {
					t.Errorf("then %v, %v", got, err)
				}
				mu.Lock()
				defer mu.Unlock()
				if len(used) < 4 || len(slices.Compact(used)) != 1 {
					t.Errorf("used %v", used)
				}
			})
		})
	}
}

// TestRedirectOfATokenEndpoint: the secret does not go where it points to.
func TestRedirectOfATokenEndpoint(t *testing.T) {
	t.Parallel()
	endpoint := &tokens{fail: func(_ int32, w http.ResponseWriter, r *http.Request) bool {
		http.Redirect(w, r, "http://elsewhere.localhost/", http.StatusTemporaryRedirect)
		return true
	}}
	source, _ := onTokens(t, endpoint, pairFor(-time.Minute))
	_, err := source.Token()
	if e, ok := errors.AsType[*kenar.Error](err); !ok || e.HTTPStatus != http.StatusTemporaryRedirect || endpoint.n.Load() != 1 {
		t.Errorf("%d requests: %v", endpoint.n.Load(), err)
	}
}
