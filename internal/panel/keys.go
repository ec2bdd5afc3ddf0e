package panel

import (
	"net/http"
	"slices"
	"time"

	"github.com/openkenar/openkenar/internal/access"
	"github.com/openkenar/openkenar/internal/status"
)

func (p *Panel) keyRoutes() {
	p.ofApp("GET /panel/apps/{slug}/keys", func(w http.ResponseWriter, r *http.Request, app access.App) error {
		return p.showKeys(w, r, http.StatusOK, keysView{app: app})
	})
	p.ofApp("POST /panel/apps/{slug}/keys", p.createKey)
	p.ofApp("POST /panel/apps/{slug}/keys/{id}/revoke", p.revokeKey)
	p.ofApp("POST /panel/apps/{slug}/client-secret", p.newClientSecret)
	p.ofApp("POST /panel/apps/{slug}/signing-secrets", p.rotateSecret)
}

// keysView is what the page of keys and secrets shows.
type keysView struct {
	app         access.App
	keys        []access.Key
	first, next string
	secrets     []access.Secret

	title    string // of a key that was not made
	chosen   []access.Permission
	problem  string
	newKey   string // shown this once
	newOAuth string
}

func (v keysView) has(x access.Permission) bool {
	return v.chosen == nil || slices.Contains(v.chosen, x)
}

func (p *Panel) showKeys(w http.ResponseWriter, r *http.Request, code int, v keysView) error {
	after := r.URL.Query().Get("after")
	keys, next, err := p.o.Access.Keys(r.Context(), v.app.Slug, after)
	if err != nil {
		return err
	}
	v.keys = keys
	v.first, v.next = pages(appPath(v.app.Slug, "keys"), after, next, nil)
	if v.secrets, err = p.o.Access.Secrets(r.Context(), v.app.Slug); err != nil {
		return err
	}
	return p.show(w, r, code, keysPage(v))
}

// createKey makes a key and shows it, this once: in the answer to the form, which
// no address leads to again.
func (p *Panel) createKey(w http.ResponseWriter, r *http.Request, app access.App) error {
	v := keysView{app: app, title: r.PostForm.Get("title"), chosen: []access.Permission{}}
	for _, x := range r.PostForm["permissions"] {
		v.chosen = append(v.chosen, access.Permission(x))
	}
	_, text, err := p.o.Access.CreateKey(r.Context(), app.Slug, v.title, v.chosen)
	switch {
	case status.KindOf(err) == status.Invalid && err != nil:
		v.problem = status.Of(err).Message
		return p.showKeys(w, r, http.StatusBadRequest, v)
	case err != nil:
		return err
	}
	return p.showKeys(w, r, http.StatusOK, keysView{app: app, newKey: text})
}

func (p *Panel) revokeKey(w http.ResponseWriter, r *http.Request, app access.App) error {
	if err := p.o.Access.RevokeKey(r.Context(), app.Slug, r.PathValue("id")); err != nil {
		return err
	}
	return see(w, r, appPath(app.Slug, "keys"))
}

func (p *Panel) newClientSecret(w http.ResponseWriter, r *http.Request, app access.App) error {
	text, err := p.o.Access.NewClientSecret(r.Context(), app.Slug)
	if err != nil {
		return err
	}
	return p.showKeys(w, r, http.StatusOK, keysView{app: app, newOAuth: text})
}

// overlaps are how long older signing secrets stay valid beside a new one.
var overlaps = []time.Duration{24 * time.Hour, 7 * 24 * time.Hour, time.Hour, 0}

func (p *Panel) rotateSecret(w http.ResponseWriter, r *http.Request, app access.App) error {
	overlap, err := time.ParseDuration(r.PostForm.Get("overlap"))
	if err != nil || !slices.Contains(overlaps, overlap) {
		return status.New(status.Invalid, "overlap: choose one of the list")
	}
	if _, err := p.o.Access.RotateSecret(r.Context(), app.Slug, overlap); err != nil {
		return err
	}
	return see(w, r, appPath(app.Slug, "keys"))
}
