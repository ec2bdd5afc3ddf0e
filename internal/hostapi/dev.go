package hostapi

import (
	"net/http"
	"time"

	"github.com/openkenar/openkenar/internal/access"
	"github.com/openkenar/openkenar/internal/api"
	"github.com/openkenar/openkenar/internal/wire"
)

// defaultTTL is how long a dev token lives unless said otherwise.
const defaultTTL = time.Hour

// issueToken makes an access token without a consent, in dev mode.
func (a *API) issueToken(r *http.Request) (any, error) {
	var in struct {
		App    string            `json:"app"`
		User   string            `json:"user"`
		Scopes wire.List[string] `json:"scopes"`
		TTL    string            `json:"ttl"`
	}
	if err := api.Decode(r, &in); err != nil {
		return nil, err
	}
	scopes, err := access.ParseScopes("scopes", in.Scopes)
	if err != nil {
		return nil, err
	}
	ttl := defaultTTL
	if in.TTL != "" {
		if ttl, err = duration("ttl", in.TTL); err != nil {
			return nil, err
		}
	}
	_, text, err := a.access.IssueToken(r.Context(), in.App, in.User, scopes, ttl)
	return struct {
		AccessToken string `json:"access_token"`
		ExpiresIn   int64  `json:"expires_in"`
	}{text, int64(ttl / time.Second)}, err
}

// advanceClock moves the platform's clock, in dev mode.
func (a *API) advanceClock(r *http.Request) (any, error) {
	var in struct {
		Advance string `json:"advance"`
	}
	if err := api.Decode(r, &in); err != nil {
		return nil, err
	}
	by, err := duration("advance", in.Advance)
	if err != nil {
		return nil, err
	}
	now, err := a.clock.Advance(r.Context(), by)
	return struct {
		Now wire.Time `json:"now"`
	}{wire.Time{Time: now.UTC()}}, err
}
