package oauth

import (
	"net/http"
	"net/url"
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

// offered returns those of the scopes that the user can give: a post or a
// conversation that a scope names must be the user's own.
func (s *Server) offered(r *http.Request, l Login) (scopes access.Scopes, titles map[string]string, err error) {
	var posts, conversations []string
	for _, scope := range l.Scopes {
		switch kind, identifier := access.KindOf(scope); kind.Resource {
		case access.Post:
			posts = append(posts, identifier)
		case access.Conversation:
			conversations = append(conversations, identifier)
		case access.NoResource:
		}
	}
	if titles, err = s.store.Resources(r.Context(), l.User, posts, conversations); err != nil {
		return nil, nil, err
	}
	for _, scope := range l.Scopes {
		kind, identifier := access.KindOf(scope)
		if _, own := titles[string(kind.Resource)+" "+identifier]; own || kind.Resource == access.NoResource {
			scopes = append(scopes, scope)
		}
	}
	return scopes, titles, nil
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
	scopes, titles, err := s.offered(r, l)
	if err != nil {
		return err
	}
	if len(scopes) == 0 {
		return s.end(w, r, l, url.Values{"error": {invalidScope}})
	}
	v := view{App: app.Display, Challenge: challenge, Back: origin(l.RedirectURI)}
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
	form, err := readForm(w, r)
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
		return s.accept(w, r, l)
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
	sendBack(w, r, l, answer)
	return nil
}

// accept grants the scopes and sends the browser back with a code.
func (s *Server) accept(w http.ResponseWriter, r *http.Request, l Login) error {
	scopes, _, err := s.offered(r, l)
	if err != nil {
		return err
	}
	if len(scopes) == 0 {
		return s.end(w, r, l, url.Values{"error": {invalidScope}})
	}
	code := access.NewSecret(codePrefix)
	err = s.store.Write(r.Context(), func(tx Tx) error {
		won, err := tx.DecideLogin(l.Hash, s.now())
		if err != nil {
			return err
		}
		if !won {
			return noLogin()
		}
		g, err := s.access.GrantScopes(tx, l.App, l.User, scopes)
		if err != nil {
			return err
		}
		return tx.InsertCode(Code{
			Hash: hash(code), App: l.App, User: l.User, Grant: g.ID, Family: tx.NextID(), RedirectURI: l.RedirectURI,
			Scopes: scopes, CodeChallenge: l.CodeChallenge, ExpiresAt: s.now().Add(codeTTL),
		})
	})
	if err != nil {
		return err
	}
	sendBack(w, r, l, url.Values{"code": {code}})
	return nil
}

// origin is what a page's policy must allow forms to lead to: an app's address.
func origin(redirect string) string {
	u, err := url.Parse(redirect)
	if err != nil {
		return ""
	}
	if u.Host == "" || strings.ContainsAny(u.Host, "; ,'") {
		return u.Scheme + ":"
	}
	return u.Scheme + "://" + u.Host
}
