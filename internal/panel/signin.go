package panel

import (
	"crypto/sha256"
	"encoding/base64"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"path"
	"strings"

	"github.com/openkenar/openkenar/internal/account"
	"github.com/openkenar/openkenar/internal/status"
)

// signInPath is where people sign in.
const signInPath = "/panel/sign-in"

// sessionCookie carries the text of a session. Over https its name binds it to
// this host (RFC 6265bis, 4.1.3.2).
const sessionCookie = "openkenar_session"

// secure says whether browsers reach the pages over https.
func (p *Panel) secure() bool { return strings.HasPrefix(p.o.PublicURL(), "https:") }

func (p *Panel) cookieName() string {
	if p.secure() {
		return "__Host-" + sessionCookie
	}
	return sessionCookie
}

// sessionOf is the text of the session that a request carries, or "".
func (p *Panel) sessionOf(r *http.Request) string {
	c, err := r.Cookie(p.cookieName())
	if err != nil {
		return ""
	}
	return c.Value
}

// setSession gives a browser a session; "" takes it away. The cookie is Lax, not
// Strict: with Strict, whoever follows a link to a delivery from a chat would
// have to sign in again. What changes something asks for the form's token.
func (p *Panel) setSession(w http.ResponseWriter, text string) {
	c := &http.Cookie{ //nolint:gosec // Secure where there is https
		Name: p.cookieName(), Value: text, Path: "/", HttpOnly: true, Secure: p.secure(), SameSite: http.SameSiteLaxMode,
		MaxAge: int(account.SessionTTL.Seconds()),
	}
	if text == "" {
		c.MaxAge = -1
	}
	http.SetCookie(w, c)
}

// formToken is the token of the forms of a session. Who does not have the
// session's text cannot make it.
func formToken(session string) string {
	sum := sha256.Sum256([]byte("form token of " + session))
	return base64.RawURLEncoding.EncodeToString(sum[:])
}

// askToSignIn leads who is not signed in, or no longer, to where one does.
func (p *Panel) askToSignIn(w http.ResponseWriter, r *http.Request) error {
	to := signInPath
	if r.Method == http.MethodGet && r.URL.Path != "/panel/" && r.URL.Path != "/panel" {
		to += "?next=" + url.QueryEscape(r.URL.RequestURI())
	}
	if r.Header.Get("HX-Request") == "true" {
		w.Header().Set("HX-Redirect", signInPath)
		w.WriteHeader(http.StatusUnauthorized)
		return nil
	}
	if r.Method == http.MethodGet {
		return see(w, r, to)
	}
	return p.show(w, r, http.StatusUnauthorized, signInPage(signInForm{
		Problem: t(r.Context(), "دیگر وارد نیستید و چیزی تغییر نکرد. وارد شوید و دوباره بفرستید.",
			"You are no longer signed in, and nothing was changed. Sign in and send it again."),
	}))
}

// nextOf is where to go after signing in: a page of ours.
func nextOf(raw string) string {
	u, err := url.Parse(raw)
	if err != nil || u.IsAbs() || u.Host != "" || path.Clean(u.Path) != strings.TrimSuffix(u.Path, "/") ||
		!strings.HasPrefix(u.Path, "/panel/") && !strings.HasPrefix(u.Path, "/sim/") {
		return "/panel/"
	}
	return (&url.URL{Path: u.Path, RawPath: u.RawPath, RawQuery: u.RawQuery}).String()
}

// signInForm is what the page of signing in shows.
type signInForm struct{ Name, Next, Problem string }

func (p *Panel) showSignIn(w http.ResponseWriter, r *http.Request) error {
	next := r.URL.Query().Get("next")
	if viewOf(r.Context()).who.Name != "" {
		return see(w, r, nextOf(next))
	}
	return p.show(w, r, http.StatusOK, signInPage(signInForm{Next: next}))
}

func (p *Panel) signIn(w http.ResponseWriter, r *http.Request) error {
	if p.o.Open {
		return see(w, r, "/panel/")
	}
	f := signInForm{Name: strings.ToLower(strings.TrimSpace(r.PostForm.Get("name"))), Next: r.PostForm.Get("next")}
	text, _, err := p.o.Accounts.SignIn(r.Context(), f.Name, r.PostForm.Get("password"), addressOf(r))
	switch kind := status.KindOf(err); {
	case err == nil:
		p.setSession(w, text)
		return see(w, r, nextOf(f.Next))
	case kind == status.Unauthenticated:
		f.Problem = t(r.Context(), "نام یا گذرواژه درست نیست. اگر گذرواژه را فراموش کرده‌اید، از گردانندهٔ سکو بخواهید آن را عوض کند.",
			"The name or the password is wrong. If you forgot the password, ask an operator of the platform to replace it.")
		return p.show(w, r, kind.HTTP(), signInPage(f))
	case kind == status.ResourceExhausted:
		wait := status.RetryAfter(err)
		w.Header().Set("Retry-After", retryAfter(wait))
		f.Problem = t(r.Context(), "تلاش‌ها زیاد بود. صبر کنید: ", "Too many attempts. Wait ") + span(r.Context(), wait)
		return p.show(w, r, kind.HTTP(), signInPage(f))
	default:
		return err
	}
}

// addressOf is whom a request comes from, as far as guessing is slowed down: of
// IPv6 the network, since one machine has many addresses of it.
func addressOf(r *http.Request) string {
	host, _, err := net.SplitHostPort(r.RemoteAddr)
	if err != nil {
		return r.RemoteAddr
	}
	a, err := netip.ParseAddr(host)
	if err != nil {
		return host
	}
	if a = a.Unmap().WithZone(""); a.Is6() {
		if network, err := a.Prefix(64); err == nil {
			return network.String()
		}
	}
	return a.String()
}

func (p *Panel) signOut(w http.ResponseWriter, r *http.Request) error {
	if text := p.sessionOf(r); text != "" {
		if err := p.o.Accounts.SignOut(r.Context(), text); err != nil {
			return err
		}
	}
	p.setSession(w, "")
	return see(w, r, signInPath)
}

// invitationForm is what the page of an invitation shows.
type invitationForm struct{ App, Token, Name, Problem string }

func (p *Panel) showInvitation(w http.ResponseWriter, r *http.Request) error {
	token := r.PathValue("token")
	i, err := p.o.Accounts.Invitation(r.Context(), token)
	if err != nil {
		return err
	}
	return p.show(w, r, http.StatusOK, invitationPage(invitationForm{App: i.App, Token: token}))
}

func (p *Panel) acceptInvitation(w http.ResponseWriter, r *http.Request) error {
	token := r.PathValue("token")
	i, err := p.o.Accounts.Invitation(r.Context(), token)
	if err != nil {
		return err
	}
	if who := viewOf(r.Context()).who; who.Name != "" {
		if err := p.o.Accounts.Join(r.Context(), token, who); err != nil {
			return err
		}
		return see(w, r, appPath(i.App, ""))
	}
	f := invitationForm{App: i.App, Token: token, Name: strings.ToLower(strings.TrimSpace(r.PostForm.Get("name")))}
	made, err := p.o.Accounts.Accept(r.Context(), token, f.Name, r.PostForm.Get("password"))
	switch kind := status.KindOf(err); {
	case kind == status.Invalid || kind == status.Conflict:
		f.Problem = status.Of(err).Message
		return p.show(w, r, kind.HTTP(), invitationPage(f))
	case err != nil:
		return err
	}
	text, _, err := p.o.Accounts.Begin(r.Context(), made)
	if err != nil {
		return err
	}
	p.setSession(w, text)
	return see(w, r, appPath(i.App, ""))
}
