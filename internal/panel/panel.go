// Package panel is the pages that people look at: the panel, where operators
// and the developers of apps manage apps and see every delivery, and in dev mode
// the simulator. Pages are HTML made here, in Persian and English; they talk to
// the same domain packages as the APIs, and to the store never. Nothing is loaded
// from elsewhere, and no script runs but the files that are embedded.
//
// The files: panel.go routes and guards, layout.templ is the frame of a page,
// parts.templ what pages are made of, lang.go the languages; of each page its
// handlers and its templ file carry one name. Contract: sections 1 and 8.
package panel

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/subtle"
	"errors"
	"log/slog"
	"math"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"runtime/debug"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/a-h/templ"

	"github.com/openkenar/openkenar/internal/access"
	"github.com/openkenar/openkenar/internal/account"
	"github.com/openkenar/openkenar/internal/delivery"
	"github.com/openkenar/openkenar/internal/event"
	"github.com/openkenar/openkenar/internal/extension"
	"github.com/openkenar/openkenar/internal/status"
	"github.com/openkenar/openkenar/internal/webhook"
)

//go:generate go tool -modfile=../../tools/go.mod templ generate

const (
	// csrfField and csrfHeader carry the token of a form. It is made from the
	// session, so that another site can neither read nor guess it.
	csrfField  = "csrf"
	csrfHeader = "X-CSRF-Token"

	langCookie  = "openkenar_lang"
	themeCookie = "openkenar_theme"
	// keepChoice is how long a browser keeps the choice of a language, in seconds.
	keepChoice = 365 * 24 * 60 * 60
	// maxForm is the largest form, in bytes.
	maxForm = 1 << 20
)

// Options of New.
type Options struct {
	Access        *access.Access
	Accounts      *account.Accounts
	Subscriptions *event.Subscriptions
	Extensions    *extension.Extensions
	Deliveries    *delivery.Log
	Engine        *delivery.Engine
	Tap           *webhook.Tap
	Quotas        *access.Quotas                                     // nil where they are off
	Nodes         func(ctx context.Context) ([]delivery.Peer, error) // nil where there is one alone
	// PublicURL is where browsers reach the pages.
	PublicURL func() string
	// Open lets everybody who reaches the server from this machine in, as the
	// operator "dev": dev mode on a loopback address. Else people sign in.
	Open bool
	Now  func() time.Time
	Log  *slog.Logger
	Sim  *SimOptions // the simulator; nil outside dev mode
}

// Panel is the pages.
type Panel struct {
	o     Options
	mux   *http.ServeMux
	cross *http.CrossOriginProtection
	token string // of forms where nobody signs in
	sim   *sim   // nil outside dev mode

	readers chan struct{} // a place for each who looks on
	closed  chan struct{} // the server stops: streams end
	close   sync.Once
}

// New returns the pages.
func New(o Options) (*Panel, error) {
	if o.Access == nil || o.Accounts == nil || o.Subscriptions == nil || o.Extensions == nil || o.Deliveries == nil ||
		o.Engine == nil || o.Tap == nil || o.PublicURL == nil || o.Now == nil || o.Log == nil {
		return nil, errors.New("panel: every option but Quotas, Nodes and Open is needed")
	}
	p := &Panel{
		o: o, mux: http.NewServeMux(), cross: http.NewCrossOriginProtection(), token: rand.Text(),
		readers: make(chan struct{}, liveReaders), closed: make(chan struct{}),
	}
	p.routes()
	if o.Sim != nil {
		var err error
		if p.sim, err = newSim(p, *o.Sim); err != nil {
			return nil, err
		}
		p.sim.routes()
	}
	return p, nil
}

// Close ends the streams: who reads one holds the listener.
func (p *Panel) Close() {
	p.close.Do(func() { close(p.closed) })
	if p.sim != nil {
		p.sim.wire.wait()
	}
}

// routes are all pages; each file has those of its own.
func (p *Panel) routes() {
	p.mux.HandleFunc("GET "+assetPrefix, serveAsset)
	p.public("GET "+signInPath, p.showSignIn)
	p.public("POST "+signInPath, p.signIn)
	p.public("GET /panel/invitations/{token}", p.showInvitation)
	p.public("POST /panel/invitations/{token}", p.acceptInvitation)
	p.handle("POST /panel/sign-out", p.signOut)
	p.handle("GET /panel", p.home)
	p.handle("GET /panel/{$}", p.home)
	p.appRoutes()
	p.keyRoutes()
	p.deliveryRoutes()
	p.liveRoutes()
	p.listRoutes()
	p.handle("/", func(http.ResponseWriter, *http.Request) error { return errNoPage() })
}

// handler is a page, or what a form of one does. What goes wrong becomes a page.
type handler func(w http.ResponseWriter, r *http.Request) error

// handle routes a pattern to a page for those who are signed in.
func (p *Panel) handle(pattern string, h handler) {
	p.public(pattern, func(w http.ResponseWriter, r *http.Request) error {
		if viewOf(r.Context()).who.Name == "" {
			return p.askToSignIn(w, r)
		}
		return h(w, r)
	})
}

// operators routes a pattern to a page for operators. For others there is none.
func (p *Panel) operators(pattern string, h handler) {
	p.handle(pattern, func(w http.ResponseWriter, r *http.Request) error {
		if !isOperator(r.Context()) {
			return errNoPage()
		}
		return h(w, r)
	})
}

func errNoPage() error { return status.New(status.NotFound, "there is no such page") }

func isOperator(ctx context.Context) bool { return viewOf(ctx).who.Role == account.Operator }

// public routes a pattern to a page for everybody.
func (p *Panel) public(pattern string, h handler) {
	p.mux.HandleFunc(pattern, func(w http.ResponseWriter, r *http.Request) {
		if err := h(w, r); err != nil {
			p.fail(w, r, err)
		}
	})
}

// ServeHTTP implements http.Handler.
func (p *Panel) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	secure(w.Header())
	defer p.recover(w, r)
	if strings.HasPrefix(r.URL.Path, assetPrefix) {
		p.mux.ServeHTTP(w, r)
		return
	}
	w.Header().Set("Cache-Control", "no-store")
	if p.o.Open && !fromHere(r) {
		http.Error(w, "This panel is open to this machine only: call it as http://127.0.0.1 or http://localhost.", http.StatusForbidden)
		return
	}
	if p.choose(w, r) {
		return
	}
	v, err := p.viewFor(r)
	ctx := withView(r.Context(), v)
	if v.who.Name != "" {
		ctx = access.By(ctx, v.who.Name)
	}
	r = r.WithContext(ctx)
	if err == nil {
		err = p.guard(w, r)
	}
	if err != nil {
		p.fail(w, r, err)
		return
	}
	p.mux.ServeHTTP(w, r)
}

// secure sets the headers of every answer: nothing may frame a page, and nothing
// runs or is loaded but what this server has.
func secure(h http.Header) {
	h.Set("Content-Security-Policy", "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; font-src 'self'; "+
		"connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'")
	h.Set("X-Frame-Options", "DENY")
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Referrer-Policy", "same-origin")
	h.Set("Cross-Origin-Opener-Policy", "same-origin")
	h.Set("Cross-Origin-Resource-Policy", "same-origin")
	h.Set("Permissions-Policy", "camera=(), geolocation=(), microphone=()")
}

// fromHere says whether a request names this machine by a name of its own. A
// page of another site that has its name lead here does not (DNS rebinding).
func fromHere(r *http.Request) bool {
	host := r.Host
	if h, _, err := net.SplitHostPort(host); err == nil {
		host = h
	}
	if strings.EqualFold(host, "localhost") {
		return true
	}
	a, err := netip.ParseAddr(strings.Trim(host, "[]"))
	return err == nil && a.Unmap().IsLoopback()
}

// guard refuses what was not sent by a page of ours.
func (p *Panel) guard(w http.ResponseWriter, r *http.Request) error {
	if r.Method == http.MethodGet || r.Method == http.MethodHead {
		return nil
	}
	if err := p.cross.Check(r); err != nil {
		return status.New(status.PermissionDenied, "this form was sent from another site; open it here and send it again")
	}
	r.Body = http.MaxBytesReader(w, r.Body, maxForm)
	if err := r.ParseForm(); err != nil {
		return status.Wrap(status.Invalid, err, "the form cannot be read; it may be too large")
	}
	want := viewOf(r.Context()).csrf
	if want == "" || r.URL.Path == signInPath { // there is nothing to act with, or nobody's yet
		return nil
	}
	given := r.Header.Get(csrfHeader)
	if given == "" {
		given = r.PostForm.Get(csrfField)
	}
	if subtle.ConstantTimeCompare([]byte(given), []byte(want)) != 1 {
		return status.New(status.PermissionDenied, "this form is out of date; go back, load the page again and send it again")
	}
	return nil
}

// viewFor is what pages need to know of the reader of a request.
func (p *Panel) viewFor(r *http.Request) (view, error) {
	v := view{lang: Persian, now: p.o.Now(), zone: time.Local, path: r.URL.EscapedPath(), dev: p.o.Open}
	if c, err := r.Cookie(langCookie); err == nil && c.Value == string(English) {
		v.lang = English
	}
	if c, err := r.Cookie(themeCookie); err == nil && (c.Value == "light" || c.Value == "dark") {
		v.theme = c.Value
	}
	if r.Method == http.MethodGet {
		v.query = r.URL.RawQuery
	}
	if p.o.Open {
		v.who, v.csrf = account.Account{Name: "dev", Role: account.Operator}, p.token
		return v, nil
	}
	text := p.sessionOf(r)
	if text == "" {
		return v, nil
	}
	who, ok, err := p.o.Accounts.Session(r.Context(), text)
	if err != nil || !ok {
		return v, err
	}
	v.who, v.csrf = who, formToken(text)
	return v, nil
}

// choose keeps a choice of language or colours that a link carries, and leads
// back to the page without it.
func (p *Panel) choose(w http.ResponseWriter, r *http.Request) (chosen bool) {
	q := r.URL.Query()
	for name, cookie := range map[string]string{"lang": langCookie, "theme": themeCookie} {
		if r.Method != http.MethodGet || !q.Has(name) {
			continue
		}
		chosen = true
		http.SetCookie(w, &http.Cookie{ //nolint:gosec // a language is no secret; Secure where there is https
			Name: cookie, Value: url.QueryEscape(q.Get(name)), Path: "/", MaxAge: keepChoice, SameSite: http.SameSiteLaxMode,
			HttpOnly: true, Secure: p.secure(),
		})
		q.Del(name)
	}
	if chosen {
		to := url.URL{Path: r.URL.Path, RawPath: r.URL.RawPath, RawQuery: q.Encode()}
		if strings.HasPrefix(to.Path, "//") {
			to.Path, to.RawPath = "/panel/", ""
		}
		http.Redirect(w, r, to.String(), http.StatusSeeOther)
	}
	return chosen
}

// switchTo is the address of the same page with a choice in it.
func switchTo(ctx context.Context, name, value string) templ.SafeURL {
	q, err := url.ParseQuery(viewOf(ctx).query)
	if err != nil {
		q = url.Values{}
	}
	q.Set(name, value)
	return templ.SafeURL("?" + q.Encode())
}

// show writes a page. It is made whole before anything is written, so that one
// which fails does not break off in the middle.
func (p *Panel) show(w http.ResponseWriter, r *http.Request, code int, c templ.Component) error {
	var page bytes.Buffer
	if err := c.Render(r.Context(), &page); err != nil {
		return err
	}
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	w.WriteHeader(code)
	_, _ = page.WriteTo(w)
	return nil
}

// fail shows what went wrong: a line where htmx asked for a part of a page, else
// a page.
func (p *Panel) fail(w http.ResponseWriter, r *http.Request, err error) {
	kind := status.KindOf(err)
	if errors.Is(err, context.Canceled) && r.Context().Err() != nil {
		return // the reader is gone
	}
	if kind == status.Internal || kind == status.Unavailable && errors.Unwrap(err) != nil {
		p.o.Log.ErrorContext(r.Context(), "page failed", "method", r.Method, "path", r.URL.Path, "err", err)
	}
	if after := status.RetryAfter(err); after > 0 {
		w.Header().Set("Retry-After", retryAfter(after))
	}
	text := status.Of(err).Message
	page := failurePage(kind, text)
	switch {
	case r.Header.Get("HX-Request") == "true":
		page = problem(text)
	case viewOf(r.Context()).who.Name == "":
		page = aloneFailure(kind, text)
	}
	if err := p.show(w, r, kind.HTTP(), page); err != nil {
		p.o.Log.ErrorContext(r.Context(), "page cannot be shown", "err", err)
	}
}

// retryAfter is a wait as the header has it: whole seconds, and not too few.
func retryAfter(wait time.Duration) string {
	return strconv.FormatInt(int64(math.Ceil(wait.Seconds())), 10)
}

func (p *Panel) recover(w http.ResponseWriter, r *http.Request) {
	switch v := recover(); v {
	case nil:
	case http.ErrAbortHandler:
		panic(v)
	default:
		p.o.Log.ErrorContext(r.Context(), "panic in a page", "method", r.Method, "path", r.URL.Path, "panic", v, "stack", string(debug.Stack()))
		p.fail(w, r, errors.New("panic"))
	}
}

// see leads to a page after a form has done its work.
func see(w http.ResponseWriter, r *http.Request, path string) error {
	http.Redirect(w, r, path, http.StatusSeeOther) //nolint:gosec // paths are made here; what a form names is checked by who reads it
	return nil
}

func (p *Panel) home(w http.ResponseWriter, r *http.Request) error {
	return see(w, r, "/panel/apps")
}
