package hostapi

import (
	"net/http"
	"strconv"
	"time"

	"github.com/openkenar/openkenar/internal/access"
	"github.com/openkenar/openkenar/internal/api"
	"github.com/openkenar/openkenar/internal/event"
	"github.com/openkenar/openkenar/internal/status"
	"github.com/openkenar/openkenar/internal/webhook"
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

// addFault makes the next calls to apps go wrong, in dev mode.
func (a *API) addFault(r *http.Request) (any, error) {
	var in struct {
		Fault  webhook.FaultKind `json:"fault"`
		App    string            `json:"app"`
		Calls  string            `json:"calls"`
		Count  *int              `json:"count"`
		Delay  string            `json:"delay"`
		Status int               `json:"status"`
	}
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
		kinds := []string{webhook.AnyWebhook, webhook.AnyCall, string(event.SessionInitialization), string(event.DynamicAction)}
		for _, t := range event.Types() {
			kinds = append(kinds, string(t))
		}
		if err := wire.Enum("calls", in.Calls, kinds...); err != nil {
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

func (a *API) listFaults(*http.Request) (any, error) {
	rules := a.faults.List()
	out := struct {
		Faults []fault `json:"faults"`
		Next   *string `json:"next"`
	}{Faults: make([]fault, len(rules))}
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
