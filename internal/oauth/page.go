package oauth

import (
	"bytes"
	"embed"
	"fmt"
	"html/template"
	"net/http"
	"strings"

	"github.com/openkenar/openkenar/internal/access"
	"github.com/openkenar/openkenar/internal/status"
)

//go:embed pages/*.html
var pages embed.FS

var templates = template.Must(template.ParseFS(pages, "pages/*.html"))

// view is what the pages show.
type view struct {
	Lang      string // "fa" or "en"
	Other     string // the address of the same page in the other language
	App       string
	Challenge string
	People    []string
	Scopes    []scopeView
	Back      string // the app's host
	Shown     string // the scopes, as the form gives them back
	Problem   string
}

// scopeView is a scope in plain words.
type scopeView struct{ Name, Words, About string }

// langCookie is where the panel keeps a reader's choice of a language.
const langCookie = "openkenar_lang"

// language is the page's language: Persian unless English is asked for.
func language(r *http.Request) access.Language {
	asked := r.URL.Query().Get("lang")
	if c, err := r.Cookie(langCookie); err == nil && asked == "" {
		asked = c.Value
	}
	if asked == "" && strings.HasPrefix(strings.ToLower(r.Header.Get("Accept-Language")), "en") {
		asked = "en"
	}
	if asked == "en" {
		return access.English
	}
	return access.Persian
}

// page is an endpoint that people see; what goes wrong is a page, too.
func (s *Server) page(h func(http.ResponseWriter, *http.Request) error) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		err := h(w, r)
		if err == nil {
			return
		}
		kind := status.KindOf(err)
		problem := status.Of(err).Message
		if kind == status.Internal || kind == status.Unavailable {
			s.log.ErrorContext(r.Context(), "oauth page failed", "path", r.URL.Path, "err", err)
		}
		if kind == status.NotFound {
			kind = status.Invalid // of a login, not of the page
		}
		if err := s.show(w, r, kind.HTTP(), "problem", view{Problem: problem}); err != nil {
			s.log.ErrorContext(r.Context(), "page cannot be shown", "err", err)
		}
	}
}

func (s *Server) render(w http.ResponseWriter, r *http.Request, name string, v view) error {
	return s.show(w, r, http.StatusOK, name, v)
}

// show makes a page whole before it writes anything, so that one which fails
// does not break off in the middle.
func (s *Server) show(w http.ResponseWriter, r *http.Request, code int, name string, v view) error {
	q := r.URL.Query()
	v.Lang = "fa"
	q.Set("lang", "en")
	if language(r) == access.English {
		v.Lang = "en"
		q.Set("lang", "fa")
	}
	if r.Method == http.MethodGet {
		v.Other = "?" + q.Encode()
	}
	var page bytes.Buffer
	if err := templates.ExecuteTemplate(&page, name, v); err != nil {
		return fmt.Errorf("page %s: %w", name, err)
	}
	s.head(w.Header())
	w.WriteHeader(code)
	_, _ = page.WriteTo(w)
	return nil
}

// head sets the headers of a page: nothing may frame it (RFC 9700, 4.16) but dev
// mode's simulator, whose phones show it where the marketplace's would, and no
// script runs. form-action is not set: browsers apply it to every redirect
// that follows, and an app's callback may lead anywhere.
func (s *Server) head(h http.Header) {
	ancestors, frames := "'none'", "DENY"
	if len(s.people) > 0 {
		ancestors, frames = "'self'", "SAMEORIGIN"
	}
	h.Set("Content-Type", "text/html; charset=utf-8")
	h.Set("Cache-Control", "no-store")
	h.Set("Content-Security-Policy", "default-src 'none'; style-src 'self'; base-uri 'none'; frame-ancestors "+ancestors)
	h.Set("X-Frame-Options", frames)
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Referrer-Policy", "no-referrer")
}

//go:embed pages/style.css
var stylesheet []byte

// style serves the stylesheet of the pages.
func style(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Type", "text/css; charset=utf-8")
	w.Header().Set("Cache-Control", "max-age=3600")
	_, _ = w.Write(stylesheet)
}
