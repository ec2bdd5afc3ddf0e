package kenar

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"sync"
	"time"

	"golang.org/x/oauth2"
)

const (
	// defaultEarly leaves time for a platform that is away for a while.
	defaultEarly = 5 * time.Minute
	// renewTime bounds a renewal with its repeats. A refresh token that the
	// platform has replaced works for two minutes more, so that a lost answer can
	// be asked for again; this leaves time for another attempt.
	renewTime = 40 * time.Second
	// renewAttempt bounds one request of it.
	renewAttempt = 10 * time.Second
	// renewRest is how long no renewal is tried after one that has failed while
	// the old token works.
	renewRest = 5 * time.Second
	// refusedRest is the least time between renewals because of a refused token: a
	// platform that refuses each token, or the key, must not get a renewal a call.
	refusedRest = time.Minute
)

// TokenSource holds a user's pair of tokens and renews it in time. It is safe for
// concurrent use; a process has one for each user.
//
// A renewal replaces both tokens, and the old refresh token works for two minutes
// more (contract of the platform). So:
//
//   - The new pair is stored before it is used. While it cannot be stored, it is
//     kept and stored again at each call, which fails.
//   - When the answer is lost, the same refresh token is used again, at once and
//     at the next calls.
//   - A renewal that has begun is not broken off with the context of the call
//     that began it: that call returns once it has ended, within 40 seconds,
//     Save included. Other calls do not wait for it while the old token lives.
//   - After a crash in between, a source with the pair that was stored last goes
//     on within those two minutes. Later the user has to be asked again.
//
// While a renewal fails for the time being, the old token is given out as long as
// it lives.
type TokenSource struct {
	config *oauth2.Config
	save   func(context.Context, *oauth2.Token) error
	lock   func(context.Context) (*oauth2.Token, func(), error)
	early  time.Duration
	http   *http.Client

	turn chan struct{} // held by the one call that renews

	mu      sync.Mutex
	pair    *oauth2.Token
	since   time.Time     // of pair; zero: since before this process
	changed chan struct{} // closed when pair is replaced
	stale   string        // an access token that the platform has refused
	restTo  time.Time     // no renewal before, while pair lives
	ended   error

	unsaved *oauth2.Token // that has come but could not be stored; by turn
}

// TokenOptions of NewTokenSource.
type TokenOptions struct {
	// Config is the app's; see NewOAuth.
	Config *oauth2.Config
	// Token is the pair that oauth2.Config.Exchange gave, or that was stored last.
	Token *oauth2.Token
	// Save stores a new pair in the place of the one before. It is called before
	// the pair is used, never twice at a time. Needed unless the token cannot be
	// renewed.
	Save func(ctx context.Context, pair *oauth2.Token) error
	// Lock is for an app whose processes share a user's pair, and nil otherwise. It
	// waits until no other process renews the pair, and returns what is stored.
	// Save comes before unlock.
	Lock func(ctx context.Context) (stored *oauth2.Token, unlock func(), err error)
	// Early is how long before its end a token is renewed. Default: 5 minutes.
	Early time.Duration
	// HTTPClient makes the requests; it is copied, and follows no redirect.
	HTTPClient *http.Client
}

// NewTokenSource returns a source. It calls nobody yet.
func NewTokenSource(o TokenOptions) (*TokenSource, error) {
	switch {
	case o.Config == nil || o.Config.Endpoint.TokenURL == "":
		return nil, errors.New("kenar: Config: needed, with an endpoint; make one with NewOAuth")
	case o.Token == nil || o.Token.AccessToken == "" && o.Token.RefreshToken == "":
		return nil, errors.New("kenar: Token: needed; oauth2.Config.Exchange gives one")
	case o.Token.RefreshToken != "" && o.Save == nil:
		return nil, errors.New("kenar: Save: needed: a renewal replaces the refresh token, and the old one soon ends the access")
	case o.Early < 0:
		return nil, errors.New("kenar: Early: must not be negative")
	}
	return &TokenSource{
		config: o.Config, save: o.Save, lock: o.Lock, early: cmp.Or(o.Early, defaultEarly), http: withoutRedirects(o.HTTPClient),
		turn: make(chan struct{}, 1), pair: o.Token, changed: make(chan struct{}),
	}, nil
}

// Token is TokenContext for who has no context; it implements oauth2.TokenSource.
func (s *TokenSource) Token() (*oauth2.Token, error) {
	return s.TokenContext(context.Background()) //nolint:forbidigo // oauth2.TokenSource has none to take, and a renewal has its own bound
}

// TokenContext returns a token that can be used now, and renews the pair first
// where it is time. Errors: ErrAccessEnded where the user has to be asked again;
// ErrUnauthenticated for a wrong client secret; what Save said; ErrUnanswered and
// ErrUnavailable when the old token has lapsed meanwhile.
func (s *TokenSource) TokenContext(ctx context.Context) (*oauth2.Token, error) {
	if t, err := s.usable(); t != nil || err != nil {
		return t, err
	}
	select {
	case s.turn <- struct{}{}:
	default:
		// Another call renews the pair. The old one works for two minutes more.
		if t := s.living(); t != nil {
			return t, nil
		}
		select {
		case s.turn <- struct{}{}:
		case <-ctx.Done():
			return nil, fmt.Errorf("kenar: wait for the renewal of a token: %w", context.Cause(ctx))
		}
	}
	defer func() { <-s.turn }()
	if t, err := s.usable(); t != nil || err != nil {
		return t, err // another call has renewed it
	}
	return s.renew(ctx)
}

// usable returns the token that can be used without a renewal; nil: none can.
func (s *TokenSource) usable() (*oauth2.Token, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.ended != nil:
		return nil, s.ended
	case !s.lives():
		return nil, nil //nolint:nilnil // time for a renewal
	case s.pair.Expiry.IsZero(), time.Until(s.pair.Expiry) > s.early, s.pair.RefreshToken == "", time.Now().Before(s.restTo):
		return s.pair, nil
	default:
		return nil, nil //nolint:nilnil // time for a renewal
	}
}

// living returns the pair while its access token works, whether or not it is
// time to renew it.
func (s *TokenSource) living() *oauth2.Token {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.ended != nil || !s.lives() {
		return nil
	}
	return s.pair
}

// lives says whether the access token works, as far as we know.
func (s *TokenSource) lives() bool {
	p := s.pair
	return p.AccessToken != "" && p.AccessToken != s.stale && (p.Expiry.IsZero() || time.Now().Before(p.Expiry))
}

// refused notes that the platform has refused a token, and says whether a call
// may be made again with another.
func (s *TokenSource) refused(t *oauth2.Token) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.pair.AccessToken != t.AccessToken:
		return true
	case s.pair.RefreshToken == "" || !s.since.IsZero() && time.Since(s.since) < refusedRest:
		return false
	default:
		s.stale = t.AccessToken
		return true
	}
}

// renew replaces the pair. The caller has the turn.
func (s *TokenSource) renew(ctx context.Context) (*oauth2.Token, error) {
	if s.lock != nil {
		stored, unlock, err := s.lock(ctx)
		if err != nil {
			return nil, fmt.Errorf("kenar: lock the stored tokens: %w", err)
		}
		defer unlock()
		if stored != nil && s.adopt(stored) {
			if t, err := s.usable(); t != nil || err != nil {
				return t, err
			}
		}
	}
	// Not broken off with its caller: an answer that nobody hears costs the user's
	// consent when nobody asks again within two minutes.
	ctx, cancel := context.WithTimeoutCause(context.WithoutCancel(ctx), renewTime,
		fmt.Errorf("nothing for %s: %w", renewTime, context.DeadlineExceeded))
	defer cancel()
	if s.unsaved == nil {
		pair, err := s.refresh(ctx)
		if err != nil {
			return s.without(err)
		}
		s.unsaved = pair
	}
	// Failure policy: fail the call. With a pair that is in memory alone a crash
	// would end the access, and nobody would know why.
	if err := s.save(ctx, s.unsaved); err != nil {
		return nil, fmt.Errorf("kenar: store the renewed tokens: %w", err)
	}
	pair := s.unsaved
	s.replace(pair, time.Now())
	return pair, nil
}

// adopt takes the pair that another process has stored, if it is another.
func (s *TokenSource) adopt(stored *oauth2.Token) bool {
	s.mu.Lock()
	same := stored.AccessToken == s.pair.AccessToken && stored.RefreshToken == s.pair.RefreshToken
	s.mu.Unlock()
	if !same {
		s.replace(stored, time.Time{})
	}
	return !same
}

func (s *TokenSource) replace(pair *oauth2.Token, since time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.unsaved = nil
	s.pair, s.since, s.stale, s.restTo = pair, since, "", time.Time{}
	close(s.changed)
	s.changed = make(chan struct{})
}

// without says what a call gets when a renewal has failed.
func (s *TokenSource) without(err error) (*oauth2.Token, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if errors.Is(err, ErrAccessEnded) {
		if s.lock == nil { // else another process may yet store a pair that works
			s.ended = err
		}
		return nil, err
	}
	// Failure policy: use the old token as long as it lives. It does so for two
	// minutes at least, even if the platform has replaced it.
	if s.lives() {
		s.restTo = time.Now().Add(renewRest)
		return s.pair, nil
	}
	return nil, err
}

// refresh asks for a new pair, again where no answer comes.
func (s *TokenSource) refresh(ctx context.Context) (*oauth2.Token, error) {
	s.mu.Lock()
	refreshToken, lives := s.pair.RefreshToken, s.lives()
	s.mu.Unlock()
	if refreshToken == "" {
		return nil, fmt.Errorf("%w: the access token has lapsed, and without %s there is no refresh token", ErrAccessEnded, ScopeOffline)
	}
	for n := 0; ; n++ {
		pair, err := s.refreshOnce(ctx, refreshToken)
		if err == nil {
			return pair, nil
		}
		// While the old token lives, only an answer that is lost is worth that a
		// call waits for it.
		_, answered := errors.AsType[*Error](err)
		if !mayRepeat(err, true) || lives && (mayRepeat(err, false) || answered && n >= moreRetries) {
			return nil, err
		}
		wait, ok := backOff(err, n)
		if !ok {
			return nil, err
		}
		if err := pause(ctx, wait, err); err != nil {
			return nil, err
		}
	}
}

func (s *TokenSource) refreshOnce(ctx context.Context, refreshToken string) (*oauth2.Token, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, renewAttempt, fmt.Errorf("nothing for %s: %w", renewAttempt, context.DeadlineExceeded))
	defer cancel()
	ctx = context.WithValue(ctx, oauth2.HTTPClient, s.http)
	pair, err := s.config.TokenSource(ctx, &oauth2.Token{RefreshToken: refreshToken}).Token()
	if err != nil {
		return nil, s.explain(ctx, err, refreshToken)
	}
	return pair, nil
}

// explain makes an error of ours of one of package oauth2.
func (s *TokenSource) explain(ctx context.Context, err error, refreshToken string) error {
	path := s.config.Endpoint.TokenURL
	if u, err := url.Parse(path); err == nil {
		path = u.EscapedPath()
	}
	said, ok := errors.AsType[*oauth2.RetrieveError](err)
	if !ok || said.Response == nil {
		// Failure policy: an answer that cannot be read counts as lost.
		return call{method: http.MethodPost, path: path}.unanswered(ctx, err)
	}
	hidden := func(text string) string { return hide(text, refreshToken, s.config.ClientSecret) }
	e := errorOf(said.Response.StatusCode, said.Response.Header, []byte(hidden(string(said.Body))))
	e.Method, e.Path = http.MethodPost, path
	// Package oauth2 reads the code only of what is declared as JSON.
	var problem struct {
		Error       string `json:"error"`
		Description string `json:"error_description"`
	}
	_ = json.Unmarshal(said.Body, &problem)
	if e.OAuth = hidden(cmp.Or(problem.Error, said.ErrorCode)); e.OAuth != "" {
		e.Message = hidden(cmp.Or(problem.Description, said.ErrorDescription, e.OAuth))
	}
	return e
}

// current returns the pair, and a channel that is closed when it is replaced.
func (s *TokenSource) current() (*oauth2.Token, <-chan struct{}) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.pair, s.changed
}
