package oauth

import (
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/openkenar/openkenar/internal/access"
	"github.com/openkenar/openkenar/internal/status"
)

// consent finds the login that a consent challenge belongs to, in the browser
// in which it began.
func (s *Server) consent(r *http.Request, challenge string) (Login, error) {
	l, ok, err := s.store.LoginByConsent(r.Context(), hash(challenge))
	if err != nil {
		return Login{}, err
	}
	if !ok || l.Decided || !s.now().Before(l.ExpiresAt) || !sameBrowser(r, l) {
		return Login{}, noLogin()
	}
	return l, nil
}

// resources gives the titles of what is the user's own.
type resources func(user string, posts, conversations []string) (map[string]string, error)

// own returns those of the scopes that the user can give: a post or a
// conversation that a scope names must be the user's own.
func own(user string, scopes access.Scopes, of resources) (given access.Scopes, titles map[string]string, err error) {
	var posts, conversations []string
	for _, scope := range scopes {
		switch kind, identifier := access.KindOf(scope); kind.Resource {
		case access.Post:
			posts = append(posts, identifier)
		case access.Conversation:
			conversations = append(conversations, identifier)
		case access.NoResource:
		}
	}
	if titles, err = of(user, posts, conversations); err != nil {
		return nil, nil, err
	}
	for _, scope := range scopes {
		kind, identifier := access.KindOf(scope)
		if _, own := titles[string(kind.Resource)+" "+identifier]; own || kind.Resource == access.NoResource {
			given = append(given, scope)
		}
	}
	return given, titles, nil
}

// showConsent asks the user.
func (s *Server) showConsent(w http.ResponseWriter, r *http.Request) error {
	challenge := r.URL.Query().Get("consent_challenge")
	l, err := s.consent(r, challenge)
	if err != nil {
		return err
	}
	app, err := s.access.App(r.Context(), l.App)
	if err != nil {
		return err
	}
	scopes, titles, err := own(l.User, l.Scopes, func(user string, posts, conversations []string) (map[string]string, error) {
		return s.store.Resources(r.Context(), user, posts, conversations)
	})
	if err != nil {
		return err
	}
	if len(scopes) == 0 {
		return s.end(w, r, l, url.Values{"error": {invalidScope}})
	}
	v := view{App: app.Display, Challenge: challenge, Back: origin(l.RedirectURI), Shown: strings.Join(scopes, " ")}
	if v.App == "" {
		v.App = app.Slug
	}
	lang := language(r)
	for _, scope := range scopes {
		kind, identifier := access.KindOf(scope)
		v.Scopes = append(v.Scopes, scopeView{
			Name: scope, Words: kind.Words[lang], About: titles[string(kind.Resource)+" "+identifier],
		})
	}
	return s.render(w, r, "consent", v)
}

// decide takes the user's decision, once.
func (s *Server) decide(w http.ResponseWriter, r *http.Request) error {
	form, err := readForm(r)
	if err != nil {
		return err
	}
	l, err := s.consent(r, form.Get("consent_challenge"))
	if err != nil {
		return err
	}
	switch form.Get("decision") {
	case "deny":
		return s.end(w, r, l, url.Values{"error": {accessDenied}})
	case "accept":
		return s.accept(w, r, l, splitScopes(form.Get("scope")))
	default:
		return status.New(status.Invalid, "decision: want accept or deny")
	}
}

// end ends a login without a grant.
func (s *Server) end(w http.ResponseWriter, r *http.Request, l Login, answer url.Values) error {
	err := s.store.Write(r.Context(), func(tx Tx) error {
		won, err := tx.DecideLogin(l.Hash, s.now())
		if err == nil && !won {
			err = noLogin()
		}
		return err
	})
	if err != nil {
		return err
	}
	sendBack(w, l, answer)
	return nil
}

// accept grants the scopes that the page has shown and sends the browser back
// with a code. What has changed since the page was made counts: the app's
// settings, what is the user's own, and whether there still is such a user.
func (s *Server) accept(w http.ResponseWriter, r *http.Request, l Login, shown []string) error {
	code := access.NewSecret(codePrefix)
	var answer url.Values
	err := s.store.Write(r.Context(), func(tx Tx) error {
		answer = url.Values{"error": {invalidScope}}
		app, ok, err := tx.App(l.App)
		if err != nil {
			return err
		}
		exists, err := tx.UserExists(l.User)
		if err != nil {
			return err
		}
		if !ok || !exists || app.Status == access.Suspended || !mayReturn(app.RedirectURIs, l.RedirectURI) {
			return noLogin()
		}
		scopes, _, err := own(l.User, stillAllowed(app, l.Scopes), tx.Resources)
		if err != nil {
			return err
		}
		scopes = slices.DeleteFunc(scopes, func(scope string) bool { return !slices.Contains(shown, scope) })
		won, err := tx.DecideLogin(l.Hash, s.now())
		if err == nil && !won {
			err = noLogin()
		}
		if err != nil || len(scopes) == 0 {
			return err
		}
		g, err := s.access.GrantScopes(tx, l.App, l.User, scopes)
		if err != nil {
			return err
		}
		answer = url.Values{"code": {code}}
		return tx.InsertCode(Code{
			Hash: hash(code), App: l.App, User: l.User, Grant: g.ID, Family: tx.NextID(), RedirectURI: l.RedirectURI,
			Scopes: scopes, CodeChallenge: l.CodeChallenge, ExpiresAt: s.now().Add(codeTTL),
		})
	})
	if err != nil {
		return err
	}
	sendBack(w, l, answer)
	return nil
}

// origin is where the page says that one goes back to.
func origin(redirect string) string {
	u, err := url.Parse(redirect)
	if err != nil || u.Host == "" {
		return redirect
	}
	return u.Host
}
