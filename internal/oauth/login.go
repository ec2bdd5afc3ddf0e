package oauth

import (
	"bytes"
	"context"
	"net/http"
	"net/url"
	"slices"

	"github.com/openkenar/openkenar/internal/access"
	"github.com/openkenar/openkenar/internal/status"
	"github.com/openkenar/openkenar/internal/wire"
)

// Pending is a login that waits for the marketplace to say who the user is.
type Pending struct {
	App     string
	Display string
	Scopes  access.Scopes
}

// noLogin is what an unknown, used or expired challenge gets: one answer for
// all, so that nothing can be found out by trying.
func noLogin() error {
	return status.New(status.NotFound, "the login is unknown, used or expired; start again from the app")
}

// PendingLogin returns who asks to log in.
func (s *Server) PendingLogin(ctx context.Context, challenge string) (Pending, error) {
	l, ok, err := s.store.Login(ctx, hash(challenge))
	if err != nil {
		return Pending{}, err
	}
	if !ok || l.User != "" || !s.now().Before(l.ExpiresAt) {
		return Pending{}, noLogin()
	}
	app, err := s.access.App(ctx, l.App)
	return Pending{App: app.Slug, Display: app.Display, Scopes: l.Scopes}, err
}

// AcceptLogin says who the user of a login is, once, and returns where the
// browser goes on.
func (s *Server) AcceptLogin(ctx context.Context, challenge, user string) (redirectTo string, err error) {
	if err := wire.CheckID("user", user); err != nil {
		return "", err
	}
	consent := access.NewSecret(consentPrefix)
	err = s.store.Write(ctx, func(tx Tx) error {
		won, err := tx.AcceptLogin(hash(challenge), user, hash(consent), s.now())
		if err != nil {
			return err
		}
		if !won {
			return noLogin()
		}
		return tx.EnsureUser(user, s.now())
	})
	if err != nil {
		return "", err
	}
	return withQuery(s.issuer()+"/oauth2/consent", url.Values{"consent_challenge": {consent}}), nil
}

// sameBrowser checks that a request comes from the browser in which the login
// began: nobody can be led into a consent that another has started.
func sameBrowser(r *http.Request, l Login) bool {
	c, err := r.Cookie(cookieName(l))
	return err == nil && bytes.Equal(hash(c.Value), l.Browser)
}

// showLogin is dev mode's login page.
func (s *Server) showLogin(w http.ResponseWriter, r *http.Request) error {
	challenge := r.URL.Query().Get("login_challenge")
	p, err := s.PendingLogin(r.Context(), challenge)
	if err != nil {
		return err
	}
	return s.render(w, r, "login", view{App: p.Display, Challenge: challenge, People: s.people})
}

// devLogin lets a person be one of the demo users, in dev mode.
func (s *Server) devLogin(w http.ResponseWriter, r *http.Request) error {
	form, err := readForm(r)
	if err != nil {
		return err
	}
	challenge := form.Get("login_challenge")
	l, ok, err := s.store.Login(r.Context(), hash(challenge))
	if err != nil {
		return err
	}
	if !ok || !sameBrowser(r, l) {
		return noLogin()
	}
	if !slices.Contains(s.people, form.Get("user")) {
		return status.New(status.Invalid, "user: choose one of the demo users")
	}
	to, err := s.AcceptLogin(r.Context(), challenge, form.Get("user"))
	if err != nil {
		return err
	}
	http.Redirect(w, r, to, http.StatusSeeOther)
	return nil
}
