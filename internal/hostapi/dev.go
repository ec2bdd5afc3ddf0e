package hostapi

import (
	"net/http"
	"strconv"
	"time"

	"github.com/openkenar/openkenar/internal/access"
	"github.com/openkenar/openkenar/internal/api"
	"github.com/openkenar/openkenar/internal/status"
	"github.com/openkenar/openkenar/internal/webhook"
	"github.com/openkenar/openkenar/internal/wire"
)

// defaultTTL is how long a dev token lives unless said otherwise.
const defaultTTL = time.Hour

type newToken struct {
	App    string            `json:"app"`
	User   string            `json:"user"`
	Scopes wire.List[string] `json:"scopes"`
	TTL    string            `json:"ttl"`
}

type issuedToken struct {
	AccessToken string `json:"access_token"`
	ExpiresIn   int64  `json:"expires_in"` // seconds
}

// issueToken makes an access token without a consent, in dev mode.
func (a *API) issueToken(r *http.Request) (any, error) {
	var in newToken
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
	return issuedToken{text, int64(ttl / time.Second)}, err
}

type advance struct {
	Advance string `json:"advance"`
}

type clockAnswer struct {
	Now wire.Time `json:"now"`
}

// advanceClock moves the platform's clock, in dev mode.
func (a *API) advanceClock(r *http.Request) (any, error) {
	var in advance
	if err := api.Decode(r, &in); err != nil {
		return nil, err
	}
	by, err := duration("advance", in.Advance)
	if err != nil {
		return nil, err
	}
	now, err := a.clock.Advance(r.Context(), by)
	return clockAnswer{wire.Time{Time: now.UTC()}}, err
}

// fault is a rule on calls to apps as it is shown.
type fault struct {
	ID     string            `json:"id"`
	Fault  webhook.FaultKind `json:"fault"`
	App    string            `json:"app"`   // "" for all
	Calls  string            `json:"calls"` // "" for all
	Count  int               `json:"count"` // still to go wrong
	Delay  string            `json:"delay,omitempty"`
	Status int               `json:"status,omitempty"`
}

func showFault(f webhook.Fault) fault {
	shown := fault{ID: strconv.FormatInt(f.ID, 10), Fault: f.Kind, App: f.App, Calls: f.Type, Count: f.Count, Status: f.Status}
	if f.Delay > 0 {
		shown.Delay = f.Delay.String()
	}
	return shown
}

type newFault struct {
	Fault  webhook.FaultKind `json:"fault"`
	App    string            `json:"app"`
	Calls  string            `json:"calls"`
	Count  *int              `json:"count"`
	Delay  string            `json:"delay"`
	Status int               `json:"status"`
}

// addFault makes the next calls to apps go wrong, in dev mode.
func (a *API) addFault(r *http.Request) (any, error) {
	var in newFault
	if err := api.Decode(r, &in); err != nil {
		return nil, err
	}
	rule := webhook.Fault{Kind: in.Fault, App: in.App, Type: in.Calls, Count: 1, Status: in.Status}
	if in.Count != nil {
		if rule.Count = *in.Count; rule.Count < 1 {
			return nil, status.New(status.Invalid, "count: %d; at least one call goes wrong", rule.Count)
		}
	}
	if in.App != "" {
		if _, err := a.access.App(r.Context(), in.App); err != nil {
			return nil, err
		}
	}
	if in.Calls != "" {
		if err := wire.Enum("calls", in.Calls, callTypes()...); err != nil {
			return nil, err
		}
	}
	if in.Delay != "" {
		var err error
		if rule.Delay, err = duration("delay", in.Delay); err != nil {
			return nil, err
		}
	}
	rule, err := a.faults.Add(rule)
	return showFault(rule), err
}

type faultPage struct {
	Faults []fault `json:"faults"`
	Next   *string `json:"next"`
}

func (a *API) listFaults(*http.Request) (any, error) {
	rules := a.faults.List()
	out := faultPage{Faults: make([]fault, len(rules))}
	for i, rule := range rules {
		out.Faults[i] = showFault(rule)
	}
	return out, nil
}

// clearFaults takes all rules away.
func (a *API) clearFaults(*http.Request) (any, error) {
	a.faults.Clear(0)
	return api.Empty{}, nil
}
