package panel

import (
	"net/http"
	"net/url"

	"github.com/openkenar/openkenar/internal/access"
)

func (p *Panel) listApps(w http.ResponseWriter, r *http.Request) error {
	apps, next, err := p.o.Access.Apps(r.Context(), r.URL.Query().Get("after"))
	if err != nil {
		return err
	}
	first := ""
	if r.URL.Query().Get("after") != "" {
		first = "/panel/apps"
	}
	if next != "" {
		next = "/panel/apps?after=" + url.QueryEscape(next)
	}
	return p.show(w, r, http.StatusOK, appsPage(apps, first, next))
}

// appPath is where an app's pages are; page is "" for its first.
func appPath(slug, page string) string {
	path := "/panel/apps/" + url.PathEscape(slug)
	if page != "" {
		path += "/" + page
	}
	return path
}

func appName(a access.App) string {
	if a.Display != "" {
		return a.Display
	}
	return a.Slug
}
