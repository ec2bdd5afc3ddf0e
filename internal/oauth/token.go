package oauth

import (
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"errors"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/openkenar/openkenar/internal/access"
	"github.com/openkenar/openkenar/internal/api"
	"github.com/openkenar/openkenar/internal/status"
	"github.com/openkenar/openkenar/internal/wire"
)

// maxForm bounds the body of the token endpoint and of our pages, in bytes.
const maxForm = 64 << 10

// refusal is an error of RFC 6749: a code, and nothing else that could tell a
// stranger why.
type refusal string

func (r refusal) Error() string { return string(r) }

// tokenAnswer is the answer of the token endpoint; its fields are the
// contract's.
type tokenAnswer struct {
	AccessToken  string `json:"access_token"`
	ExpiresIn    int64  `json:"expires_in"`
	RefreshToken string `json:"refresh_token,omitempty"`
	Scope        string `json:"scope"`
	TokenType    string `json:"token_type"`
}

// errorAnswer is the body of an error (RFC 6749, 5.2).
type errorAnswer struct {
	Error refusal `json:"error"`
}

// endpoint is an endpoint that apps call: a form in, JSON out.
func (s *Server) endpoint(h func(r *http.Request, app string, form url.Values) (any, error)) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		v, err := s.call(r, h)
		var code refusal
		switch {
		case err == nil:
			s.answer(w, r, http.StatusOK, v)
		case errors.As(err, &code):
			answer := http.StatusBadRequest
			if code == invalidClient {
				answer = http.StatusUnauthorized
				w.Header().Set("WWW-Authenticate", `Basic realm="openkenar"`)
			}
			s.answer(w, r, answer, errorAnswer{code})
		case slices.Contains([]status.Kind{status.Invalid, status.TooLarge, status.UnsupportedMediaType}, status.KindOf(err)):
			s.answer(w, r, http.StatusBadRequest, errorAnswer{invalidRequest})
		default:
			s.log.ErrorContext(r.Context(), "oauth call failed", "path", r.URL.Path, "err", err)
			s.answer(w, r, status.KindOf(err).HTTP(), errorAnswer{serverError})
		}
	}
}

func (s *Server) answer(w http.ResponseWriter, r *http.Request, code int, v any) {
	if err := api.Answer(w, code, v); err != nil {
		s.log.ErrorContext(r.Context(), "answer cannot be encoded", "path", r.URL.Path, "err", err)
	}
}

func (s *Server) call(r *http.Request, h func(*http.Request, string, url.Values) (any, error)) (any, error) {
	form, err := readForm(r)
	if err != nil {
		return nil, err
	}
	app, err := s.authenticate(r, form)
	if err != nil {
		return nil, err
	}
	return h(r, app, form)
}

// readForm reads a form-encoded body in which no parameter comes twice.
func readForm(r *http.Request) (url.Values, error) {
	body, err := api.Read(r, maxForm, "application/x-www-form-urlencoded")
	if err != nil {
		return nil, err
	}
	form, err := url.ParseQuery(string(body))
	if err != nil {
		return nil, status.New(status.Invalid, "body: not a form")
	}
	for name := range form {
		if _, ok := single(form, name); !ok {
			return nil, status.New(status.Invalid, "%s: more than once", wire.Clip(name))
		}
	}
	return form, nil
}

// authenticate finds out which app calls, by its client secret in the form or
// as Basic, not both (RFC 6749, 2.3).
func (s *Server) authenticate(r *http.Request, form url.Values) (app string, err error) {
	id, secret := form.Get("client_id"), form.Get("client_secret")
	if user, password, ok := r.BasicAuth(); ok {
		if secret != "" {
			return "", refusal(invalidRequest)
		}
		name, err1 := url.QueryUnescape(user)
		word, err2 := url.QueryUnescape(password)
		if err1 != nil || err2 != nil || id != "" && id != name {
			return "", refusal(invalidClient)
		}
		id, secret = name, word
	}
	want, err := s.store.ClientSecret(r.Context(), id)
	if err != nil {
		return "", err
	}
	if got := hash(secret); secret == "" || subtle.ConstantTimeCompare(got, want) != 1 {
		return "", refusal(invalidClient)
	}
	a, err := s.access.App(r.Context(), id)
	if err != nil {
		return "", err
	}
	if a.Status == access.Suspended {
		return "", refusal(invalidClient)
	}
	return id, nil
}

// token gives tokens for a code or a refresh token. A refusal commits what it
// has written: the revocation of what was reused.
func (s *Server) token(r *http.Request, app string, form url.Values) (any, error) {
	var give func(tx Tx, app string, form url.Values) (tokenAnswer, error)
	switch form.Get("grant_type") {
	case "authorization_code":
		give = s.redeem
	case "refresh_token":
		give = s.refresh
	case "":
		return nil, refusal(invalidRequest)
	default:
		return nil, refusal(unsupportedGrant)
	}
	var answer tokenAnswer
	var refused refusal
	err := s.store.Write(r.Context(), func(tx Tx) (err error) {
		answer, refused = tokenAnswer{}, ""
		answer, err = give(tx, app, form)
		if errors.As(err, &refused) {
			return nil
		}
		return err
	})
	if err == nil && refused != "" {
		err = refused
	}
	return answer, err
}

// redeem exchanges a code, once. A code that comes again takes back what it
// gave, unless another app sends it, which proves nothing of its owner.
func (s *Server) redeem(tx Tx, app string, form url.Values) (tokenAnswer, error) {
	c, ok, err := tx.Code(hash(form.Get("code")))
	switch {
	case err != nil:
		return tokenAnswer{}, err
	case !ok || c.App != app:
		return tokenAnswer{}, refusal(invalidGrant)
	case c.Used:
		return tokenAnswer{}, s.reused(tx, c.Family)
	case c.Revoked || !s.now().Before(c.ExpiresAt) || form.Get("redirect_uri") != c.RedirectURI ||
		!verifies(c.CodeChallenge, form.Get("code_verifier")):
		return tokenAnswer{}, refusal(invalidGrant)
	}
	won, err := tx.UseCode(c.Hash, s.now())
	if err != nil {
		return tokenAnswer{}, err
	}
	if !won {
		return tokenAnswer{}, s.reused(tx, c.Family)
	}
	return s.pair(tx, Refresh{Family: c.Family, App: c.App, User: c.User, Grant: c.Grant, Scopes: c.Scopes}, c.Scopes)
}

func (s *Server) reused(tx Tx, family int64) error {
	if err := tx.RevokeFamily(family, s.now()); err != nil {
		return err
	}
	return refusal(invalidGrant)
}

// verifies checks a code verifier (RFC 7636, 4.6). One that comes without a
// challenge is refused, too: somebody has taken the challenge away (RFC 9700,
// 4.8.2).
func verifies(challenge, verifier string) bool {
	if challenge == "" {
		return verifier == ""
	}
	sum := sha256.Sum256([]byte(verifier))
	got := base64.RawURLEncoding.EncodeToString(sum[:])
	return len(verifier) >= 43 && len(verifier) <= 128 && subtle.ConstantTimeCompare([]byte(got), []byte(challenge)) == 1
}

// refresh replaces a pair. Within the grace a retry gets a further pair of the
// same family; later, the old token's use means that two hold it, and the
// family is revoked.
func (s *Server) refresh(tx Tx, app string, form url.Values) (tokenAnswer, error) {
	old, ok, err := tx.Refresh(hash(form.Get("refresh_token")))
	now := s.now()
	switch {
	case err != nil:
		return tokenAnswer{}, err
	case !ok || old.App != app || old.Revoked:
		return tokenAnswer{}, refusal(invalidGrant)
	case !old.RotatedAt.IsZero() && now.After(old.RotatedAt.Add(grace)):
		return tokenAnswer{}, s.reused(tx, old.Family)
	case !now.Before(old.ExpiresAt):
		return tokenAnswer{}, refusal(invalidGrant)
	}
	scopes := old.Scopes
	if asked := form.Get("scope"); asked != "" {
		if scopes, err = access.ParseScopes("scope", splitScopes(asked)); err != nil || len(old.Scopes.Union(scopes)) != len(old.Scopes) {
			return tokenAnswer{}, refusal(invalidScope)
		}
	}
	// The whole family: should a stranger have got a pair by a retry, it becomes
	// old now, and its later use is noticed. Who does not win is such a retry.
	if _, err := tx.Rotate(old, now, now.Add(grace)); err != nil {
		return tokenAnswer{}, err
	}
	return s.pair(tx, old, scopes)
}

// pair makes an access token with the scopes and, where the user granted
// offline_access, a refresh token that keeps what was granted.
func (s *Server) pair(tx Tx, of Refresh, scopes access.Scopes) (tokenAnswer, error) {
	app, ok, err := tx.App(of.App)
	if err != nil {
		return tokenAnswer{}, err
	}
	if scopes = stillAllowed(app, scopes); !ok || len(scopes) == 0 {
		return tokenAnswer{}, refusal(invalidScope)
	}
	_, text, err := s.access.InsertToken(tx, access.Token{
		App: of.App, User: of.User, Grant: of.Grant, Scopes: scopes, Family: of.Family, ExpiresAt: s.now().Add(accessTTL),
	})
	if err != nil {
		return tokenAnswer{}, err
	}
	answer := tokenAnswer{
		AccessToken: text, ExpiresIn: int64(accessTTL / time.Second), Scope: strings.Join(scopes, " "), TokenType: "bearer",
	}
	if !of.Scopes.Holds(access.ScopeOffline, "") {
		return answer, nil
	}
	answer.RefreshToken = access.NewSecret(refreshPrefix)
	of.ID, of.Hash, of.RotatedAt, of.ExpiresAt = tx.NextID(), hash(answer.RefreshToken), time.Time{}, s.now().Add(refreshTTL)
	return answer, tx.InsertRefresh(of)
}

// revoke ends a token of the app (RFC 7009): a refresh token with its whole
// family, an access token alone. A token that is not the app's is answered the
// same and not touched.
func (s *Server) revoke(r *http.Request, app string, form url.Values) (any, error) {
	token := form.Get("token")
	if token == "" {
		return nil, refusal(invalidRequest)
	}
	return struct{}{}, s.store.Write(r.Context(), func(tx Tx) error {
		old, ok, err := tx.Refresh(hash(token))
		if err != nil {
			return err
		}
		if ok {
			if old.App != app {
				return nil
			}
			return tx.RevokeFamily(old.Family, s.now())
		}
		return tx.RevokeAccess(app, hash(token), s.now())
	})
}
