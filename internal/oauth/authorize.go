package oauth

import (
	"encoding/base64"
	"errors"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"time"

	"golang.org/x/time/rate"

	"github.com/openkenar/openkenar/internal/access"
	"github.com/openkenar/openkenar/internal/status"
)

// The error codes of redirects and of the token endpoint (RFC 6749, 4.1.2.1 and
// 5.2).
const (
	invalidRequest   = "invalid_request"
	invalidScope     = "invalid_scope"
	invalidClient    = "invalid_client"
	invalidGrant     = "invalid_grant"
	unsupportedType  = "unsupported_response_type"
	unsupportedGrant = "unsupported_grant_type"
	accessDenied     = "access_denied"

	unauthorizedClient = "unauthorized_client"
	serverError        = "server_error"
)

// challengeForm is an S256 code challenge (RFC 7636, 4.2).
var challengeForm = regexp.MustCompile(`^[A-Za-z0-9_-]{43}$`)

// authorize begins a login. An unknown client or redirect URI is told to the
// user and never redirected to; every other error goes back to the app.
func (s *Server) authorize(w http.ResponseWriter, r *http.Request) error {
	q, malformed := url.ParseQuery(r.URL.RawQuery)
	app, l, err := s.client(r, q)
	if err != nil {
		return err
	}
	code := readRequest(q, &l)
	switch {
	case malformed != nil:
		code = invalidRequest
	case code != "":
	case app.Status == access.Suspended:
		code = unauthorizedClient
	default:
		if l.Scopes = allowedScopes(app, q.Get("scope")); l.Scopes == nil {
			code = invalidScope
		}
	}
	if code != "" {
		sendBack(w, l, url.Values{"error": {code}})
		return nil
	}
	if err := s.begin(w, r, l); err != nil {
		s.log.ErrorContext(r.Context(), "a login cannot begin", "app", l.App, "err", err)
		sendBack(w, l, url.Values{"error": {serverError}})
	}
	return nil
}

// begin stores a login and sends the browser to the page that says who the
// user is.
func (s *Server) begin(w http.ResponseWriter, r *http.Request, l Login) error {
	login := s.loginURL
	if len(s.people) > 0 {
		login = s.issuer() + "/oauth2/login"
	}
	if login == "" {
		return errors.New("the marketplace's login page is not set; start with --login-url")
	}
	if !s.flood(l.App).AllowN(time.Now(), loginSize+l.stateSize()) {
		return errors.New("too many logins begin for this app")
	}
	challenge := access.NewSecret(challengePrefix)
	l.Hash, l.ExpiresAt = hash(challenge), s.now().Add(loginTTL)
	browser := access.NewSecret("")
	l.Browser = hash(browser)
	if err := s.store.Write(r.Context(), func(tx Tx) error { return tx.InsertLogin(l) }); err != nil {
		return err
	}
	http.SetCookie(w, &http.Cookie{ //nolint:gosec // Secure wherever the platform is reached over https
		Name: cookieName(l), Value: browser, Path: "/oauth2", MaxAge: int(loginTTL.Seconds()),
		HttpOnly: true, SameSite: http.SameSiteLaxMode, Secure: strings.HasPrefix(s.issuer(), "https:"),
	})
	http.Redirect(w, r, withQuery(login, url.Values{"login_challenge": {challenge}}), http.StatusSeeOther)
	return nil
}

func (l Login) stateSize() int {
	if l.State == nil {
		return 0
	}
	return len(*l.State)
}

// cookieName keeps the logins of several tabs apart.
func cookieName(l Login) string {
	return "openkenar_login_" + base64.RawURLEncoding.EncodeToString(l.Hash[:6])
}

// client finds out who asks and where to go back to. What it refuses must not
// be redirected anywhere.
func (s *Server) client(r *http.Request, q url.Values) (access.App, Login, error) {
	id, ok := single(q, "client_id")
	redirect, once := single(q, "redirect_uri")
	app, err := s.access.App(r.Context(), id)
	switch {
	case status.KindOf(err) == status.NotFound || !ok:
		return app, Login{}, status.New(status.Invalid, "client_id: there is no such app")
	case err != nil:
		return app, Login{}, err
	case !once || !mayReturn(app.RedirectURIs, redirect):
		return app, Login{}, status.New(status.Invalid, "redirect_uri: it is not one of those that the app has registered")
	}
	return app, Login{App: app.Slug, RedirectURI: redirect}, nil
}

// mayReturn says whether a redirect URI is registered: equal to the letter, and
// without a query (RFC 9700, 2.1).
func mayReturn(registered []string, uri string) bool {
	return uri != "" && !strings.ContainsAny(uri, "?#") && slices.Contains(registered, uri)
}

// readRequest reads the rest of the request; what is wrong with it comes back
// as an error code.
func readRequest(q url.Values, l *Login) string {
	if q.Has("state") {
		state := q.Get("state")
		l.State = &state
	}
	for _, name := range []string{"response_type", "scope", "state", "code_challenge", "code_challenge_method"} {
		if _, ok := single(q, name); !ok {
			return invalidRequest
		}
	}
	switch responseType := q.Get("response_type"); {
	case responseType == "":
		return invalidRequest
	case responseType != "code":
		return unsupportedType
	}
	method := q.Get("code_challenge_method")
	l.CodeChallenge = q.Get("code_challenge")
	if (q.Has("code_challenge") || method != "") && (method != "S256" || !challengeForm.MatchString(l.CodeChallenge)) {
		return invalidRequest
	}
	return ""
}

// allowedScopes returns the scopes that are asked for, nil when there are none
// or one of them is unknown or not for this app.
func allowedScopes(app access.App, scope string) access.Scopes {
	scopes, err := access.ParseScopes("scope", splitScopes(scope))
	if err != nil || len(scopes) == 0 || len(stillAllowed(app, scopes)) != len(scopes) {
		return nil
	}
	return scopes
}

// splitScopes takes a scope parameter apart: at spaces alone (RFC 6749, 3.3).
func splitScopes(scope string) []string {
	return slices.DeleteFunc(strings.Split(scope, " "), func(s string) bool { return s == "" })
}

// stillAllowed returns those of the scopes that the app may ask for.
func stillAllowed(app access.App, scopes access.Scopes) access.Scopes {
	var allowed access.Scopes
	for _, scope := range scopes {
		if kind, _ := access.KindOf(scope); slices.Contains(app.OAuthScopes, kind.Name) {
			allowed = append(allowed, scope)
		}
	}
	return allowed
}

const (
	// floodRate and floodBurst bound what logins that strangers begin can write
	// for one app, in bytes a second and at once.
	floodRate  = 256 << 10
	floodBurst = 4 << 20
	loginSize  = 1 << 10 // of a login's row, about, without its state
)

// flood returns the limit of an app.
func (s *Server) flood(app string) *rate.Limiter {
	s.mu.Lock()
	defer s.mu.Unlock()
	l, ok := s.floods[app]
	if !ok {
		l = rate.NewLimiter(floodRate, floodBurst)
		s.floods[app] = l
	}
	return l
}

// sendBack sends the browser to the app with an answer, and the state as it was
// given.
func sendBack(w http.ResponseWriter, l Login, answer url.Values) {
	if l.State != nil {
		answer.Set("state", *l.State)
	}
	// Not http.Redirect: it would rewrite the address of an app's own scheme.
	w.Header().Set("Location", withQuery(l.RedirectURI, answer))
	w.Header().Set("Referrer-Policy", "no-referrer")
	w.WriteHeader(http.StatusSeeOther)
}

func withQuery(address string, q url.Values) string {
	sep := "?"
	if strings.Contains(address, "?") {
		sep = "&"
	}
	return address + sep + q.Encode()
}
