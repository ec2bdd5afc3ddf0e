package main

import (
	"context"
	"crypto/rand"
	"embed"
	"errors"
	"html/template"
	"log"
	"net/http"
	"slices"
	"strings"
	"time"

	"golang.org/x/oauth2"

	"github.com/openkenar/openkenar/kenar"
)

//go:embed pages
var pages embed.FS

var page = template.Must(template.ParseFS(pages, "pages/page.html"))

// The cookies. Browsers give those of all ports of this machine to each, so that
// names are for one app.
const (
	sessionCookie = "crm_session"
	askedCookie   = "crm_asked" // of who is at the platform's pages: the state, and PKCE's verifier
)

func (c *crm) handler() http.Handler {
	mux := http.NewServeMux()
	mux.Handle("/event", c.events)
	mux.HandleFunc("GET /{$}", c.show)
	mux.HandleFunc("POST /connect", c.ask)
	mux.HandleFunc("GET "+c.own.Path, c.agreed)
	mux.Handle("GET /pages/style.css", http.FileServerFS(pages))
	// Forms are taken from our own pages alone.
	guarded := http.NewCrossOriginProtection().Handler(mux)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Security-Policy", "default-src 'none'; style-src 'self'; base-uri 'none'; frame-ancestors 'none'")
		w.Header().Set("Referrer-Policy", "same-origin")
		w.Header().Set("X-Content-Type-Options", "nosniff")
		w.Header().Set("Cache-Control", "no-store")
		guarded.ServeHTTP(w, r)
	})
}

// ask sends a seller to the platform's pages. Who comes back from there is signed
// in here: the platform has said who it is. Anybody can ask, so nothing is kept
// of it but in the browser.
func (c *crm) ask(w http.ResponseWriter, r *http.Request) {
	state, verifier := rand.Text(), oauth2.GenerateVerifier()
	c.setCookie(w, askedCookie, state+"."+verifier, 10*time.Minute)
	http.Redirect(w, r, c.oauth.AuthCodeURL(state, oauth2.S256ChallengeOption(verifier)), http.StatusSeeOther)
}

// agreed is where a seller comes back.
func (c *crm) agreed(w http.ResponseWriter, r *http.Request) {
	state, verifier, _ := strings.Cut(value(r, askedCookie), ".")
	c.setCookie(w, askedCookie, "", -time.Second)
	// The cookie's state, so that nobody can slip this browser another's consent.
	code, err := kenar.AuthCode(r, state)
	switch {
	case errors.Is(err, kenar.ErrDenied):
		render(w, http.StatusOK, view{Problem: "Nothing is mirrored, since you did not agree."})
		return
	case err != nil:
		render(w, http.StatusBadRequest, view{Problem: "This page was good once. Connect again."})
		return
	}
	ctx, cancel := context.WithTimeout(r.Context(), 15*time.Second)
	defer cancel()
	id, err := c.signIn(ctx, code, verifier)
	if err != nil {
		log.Printf("connect: %v", err)
		render(w, http.StatusBadGateway, view{Problem: "Something went wrong. Connect again."})
		return
	}
	c.setCookie(w, sessionCookie, c.sessions.Put(id), c.sessions.Life)
	http.Redirect(w, r, "/", http.StatusSeeOther)
}

func (c *crm) signIn(ctx context.Context, code, verifier string) (id string, err error) {
	token, err := c.oauth.Exchange(ctx, code, oauth2.VerifierOption(verifier))
	if err != nil {
		return "", err
	}
	me, err := c.platform.User(oauth2.StaticTokenSource(token)).Me(ctx)
	if err != nil {
		return "", err
	}
	return me.UserID, c.connect(ctx, me.UserID, token)
}

// chat is a conversation as the page shows it.
type chat struct {
	Post    string
	Entries []entry
}

type view struct {
	Problem   string
	Connected bool // the seller is known
	Ended     bool // but must be asked again
	Chats     []chat
}

// show is the mirror: a seller's own chats, the newest first.
func (c *crm) show(w http.ResponseWriter, r *http.Request) {
	var v view
	if id, ok := c.sessions.Get(value(r, sessionCookie)); ok {
		c.book.look(id, func(s *seller) {
			if s == nil {
				return
			}
			v.Connected, v.Ended = true, s.Token == nil
			for _, entries := range s.Chats {
				v.Chats = append(v.Chats, chat{entries[0].Post, slices.Clone(entries)})
			}
		})
	}
	slices.SortFunc(v.Chats, func(a, b chat) int {
		return b.Entries[len(b.Entries)-1].At.Compare(a.Entries[len(a.Entries)-1].At)
	})
	render(w, http.StatusOK, v)
}

func (c *crm) setCookie(w http.ResponseWriter, name, value string, life time.Duration) {
	http.SetCookie(w, &http.Cookie{ //nolint:gosec // Secure wherever there is TLS
		Name: name, Value: value, Path: "/", MaxAge: int(life.Seconds()),
		HttpOnly: true, SameSite: http.SameSiteLaxMode, Secure: strings.HasPrefix(c.oauth.RedirectURL, "https:"),
	})
}

func value(r *http.Request, name string) string {
	if c, err := r.Cookie(name); err == nil {
		return c.Value
	}
	return ""
}

func render(w http.ResponseWriter, status int, v view) {
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	w.WriteHeader(status)
	if err := page.Execute(w, v); err != nil {
		log.Printf("show a page: %v", err)
	}
}
