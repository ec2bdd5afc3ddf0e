package hostapi

import (
	"net/http"

	"github.com/openkenar/openkenar/internal/access"
	"github.com/openkenar/openkenar/internal/api"
)

type pendingLogin struct {
	App     string        `json:"app"`
	Display string        `json:"display"`
	Scopes  access.Scopes `json:"scopes"`
}

// getLogin tells the marketplace's login page which app asks.
func (a *API) getLogin(r *http.Request) (any, error) {
	p, err := a.oauth.PendingLogin(r.Context(), r.PathValue("challenge"))
	return pendingLogin{p.App, p.Display, p.Scopes}, err
}

type loginAcceptance struct {
	User string `json:"user"`
}

type acceptedLogin struct {
	RedirectTo string `json:"redirect_to"`
}

// acceptLogin takes the marketplace's word for who the user is.
func (a *API) acceptLogin(r *http.Request) (any, error) {
	var in loginAcceptance
	if err := api.Decode(r, &in); err != nil {
		return nil, err
	}
	to, err := a.oauth.AcceptLogin(r.Context(), r.PathValue("challenge"), in.User)
	return acceptedLogin{to}, err
}
