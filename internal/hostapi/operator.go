package hostapi

import (
	"crypto/rand"
	"net/http"

	"github.com/openkenar/openkenar/internal/api"
)

// operator is an account as it was made. The password is shown when it was made
// here, this once.
type operator struct {
	Name     string  `json:"name"`
	Password *string `json:"password"`
}

// passwordOr is the password that was given, or a new one to be shown.
func passwordOr(given string) (password string, shown *string) {
	if given != "" {
		return given, nil
	}
	made := rand.Text()
	return made, &made
}

type newOperator struct {
	Name     string `json:"name"`
	Password string `json:"password"`
}

type newPassword struct {
	Password string `json:"password"`
}

// createOperator makes somebody who may do everything in the panel.
func (a *API) createOperator(r *http.Request) (any, error) {
	var in newOperator
	if err := api.Decode(r, &in); err != nil {
		return nil, err
	}
	password, shown := passwordOr(in.Password)
	made, err := a.accounts.CreateOperator(r.Context(), in.Name, password)
	return operator{made.Name, shown}, err
}

// setPassword replaces the password of an account; its sessions end.
func (a *API) setPassword(r *http.Request) (any, error) {
	var in newPassword
	if err := api.Decode(r, &in); err != nil {
		return nil, err
	}
	password, shown := passwordOr(in.Password)
	name := r.PathValue("name")
	return operator{name, shown}, a.accounts.SetPassword(r.Context(), name, password)
}
