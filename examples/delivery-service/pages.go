package main

import (
	"context"
	"crypto/rand"
	"embed"
	"html/template"
	"log"
	"net/http"
	"net/url"

	"github.com/openkenar/openkenar/kenar"
)

//go:embed pages
var pages embed.FS

var page = template.Must(template.ParseFS(pages, "pages/page.html"))

// visit is a user who has opened the app in a chat, and all that we believe about
// them: the platform has said it, never the browser. A browser may have several,
// in tabs, so each has a path and a cookie of its own.
type visit struct {
	path               string // /visits/ID/
	user, conversation string
	side               kenar.UserSide
	opens              string // what it begins with, below its path
	ReturnURL          string
}

// cookie is the name of the cookie of the visit with an id. Its value is the
// visit's name on the shelf, which nobody else knows.
func cookie(id string) string { return "visit_" + id }

func (s *service) handler() http.Handler {
	mux := http.NewServeMux()
	mux.Handle("/session", s.session)
	mux.HandleFunc("GET /enter", s.enter)
	mux.HandleFunc("GET "+s.own.Path, s.agreed)
	mux.HandleFunc("GET /visits/{visit}/{$}", s.visitor(s.start))
	mux.HandleFunc("POST /visits/{visit}/deliveries", s.visitor(s.order))
	mux.HandleFunc("GET /visits/{visit}/deliveries/{id}", s.visitor(s.follow))
	mux.HandleFunc("POST /visits/{visit}/deliveries/{id}", s.visitor(s.move))
	mux.Handle("GET /pages/style.css", http.FileServerFS(pages))
	// Forms are taken from our own pages alone.
	guarded := http.NewCrossOriginProtection().Handler(mux)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Security-Policy", "default-src 'none'; style-src 'self'; base-uri 'none'; frame-ancestors "+s.frame)
		w.Header().Set("Referrer-Policy", "same-origin")
		w.Header().Set("X-Content-Type-Options", "nosniff")
		w.Header().Set("Cache-Control", "no-store")
		http.MaxBytesHandler(guarded, 64<<10).ServeHTTP(w, r)
	})
}

// open begins a visit: the platform says who opens the app, where, and with which
// button. Addresses get written down in many places, so the one that it gets back
// holds a ticket that is good once, and for a minute.
func (s *service) open(_ context.Context, r *kenar.SessionRequest) (address string, err error) {
	v := visit{user: r.UserID, conversation: r.ConversationID, side: r.UserSide, ReturnURL: r.ReturnURL}
	// Data that is not ours, or no more, opens the first page.
	if button, err := kenar.Decode[button](r.ExtraData); err == nil && button.Delivery != "" {
		v.opens = "deliveries/" + url.PathEscape(button.Delivery)
	}
	return s.own.Scheme + "://" + s.own.Host + "/enter?ticket=" + s.tickets.Put(v), nil
}

// button is what our button in the chat carries.
type button struct {
	Delivery string `json:"delivery"`
}

// enter changes the ticket for a cookie.
func (s *service) enter(w http.ResponseWriter, r *http.Request) {
	v, ok := s.tickets.Take(r.FormValue("ticket"))
	if !ok {
		s.show(w, http.StatusGone, view{Problem: "This address was good once. Open the app in the chat again."})
		return
	}
	id := rand.Text()
	v.path = "/visits/" + id + "/"
	http.SetCookie(w, &http.Cookie{ //nolint:gosec // Secure wherever there is TLS
		Name: cookie(id), Value: s.visits.Put(v), Path: "/", MaxAge: int(s.visits.Life.Seconds()),
		HttpOnly: true, SameSite: http.SameSiteLaxMode, Secure: s.own.Scheme == "https",
	})
	http.Redirect(w, r, v.path+v.opens, http.StatusSeeOther)
}

// visitor lets in whoever has the cookie of the visit in the path.
func (s *service) visitor(page func(http.ResponseWriter, *http.Request, visit)) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		v, ok := s.visit(r, r.PathValue("visit"))
		if !ok {
			s.show(w, http.StatusForbidden, view{Problem: "Open the app in the chat."})
			return
		}
		page(w, r, v)
	}
}

func (s *service) visit(r *http.Request, id string) (v visit, ok bool) {
	c, err := r.Cookie(cookie(id))
	if err != nil {
		return v, false
	}
	v, ok = s.visits.Get(c.Value)
	return v, ok && v.path == "/visits/"+id+"/"
}

// start is where a delivery is ordered.
func (s *service) start(w http.ResponseWriter, _ *http.Request, v visit) {
	s.show(w, http.StatusOK, view{Visit: v, MayOrder: v.side == kenar.SideSupply && v.conversation != ""})
}

func (s *service) follow(w http.ResponseWriter, r *http.Request, v visit) {
	d, ok := s.find(r.PathValue("id"), v)
	if !ok {
		s.show(w, http.StatusNotFound, view{Visit: v, Problem: "There is no such delivery in this chat."})
		return
	}
	button, _ := d.next(v.side)
	s.show(w, http.StatusOK, view{Visit: v, Delivery: &d, Button: button})
}

func (s *service) move(w http.ResponseWriter, r *http.Request, v visit) {
	s.advance(r.PathValue("id"), v)
	http.Redirect(w, r, r.URL.Path, http.StatusSeeOther) //nolint:gosec // a path that begins with /visits/
}

// view is what a page shows.
type view struct {
	Visit    visit
	Problem  string
	MayOrder bool
	Delivery *delivery
	Button   string
}

func (s *service) show(w http.ResponseWriter, status int, v view) {
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	w.WriteHeader(status)
	if err := page.Execute(w, v); err != nil {
		log.Printf("show a page: %v", err)
	}
}
