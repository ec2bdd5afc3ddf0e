package hostapi

import (
	"net/http"
	"strconv"

	"github.com/openkenar/openkenar/internal/api"
	"github.com/openkenar/openkenar/internal/delivery"
	"github.com/openkenar/openkenar/internal/event"
	"github.com/openkenar/openkenar/internal/status"
	"github.com/openkenar/openkenar/internal/wire"
)

type deliveryRow struct {
	ID       string         `json:"id"`
	EventID  string         `json:"event_id"`
	App      string         `json:"app"`
	Type     string         `json:"type"`
	State    delivery.State `json:"state"`
	Attempts int            `json:"attempts"`
	NextAt   wire.Time      `json:"next_at"`
	Reason   string         `json:"reason"`
}

// show shows a delivery; of one that waits because its app may not be called,
// the reason says so.
func (a *API) show(r *http.Request, d delivery.Row) (deliveryRow, error) {
	row := deliveryRow{
		ID: d.ID.String(), EventID: strconv.FormatInt(d.ID.Event, 10), App: d.ID.App, Type: d.Type, State: d.State,
		Attempts: d.Attempts, NextAt: wire.Time{Time: d.NextAt}, Reason: d.Reason,
	}
	if d.State == delivery.Pending {
		endpoint, err := a.access.Endpoint(r.Context(), d.ID.App)
		if err != nil {
			return row, err
		}
		if endpoint.Hold != "" {
			row.Reason = endpoint.Hold
		}
	}
	return row, nil
}

type deliveryPage struct {
	Deliveries []deliveryRow `json:"deliveries"`
	Next       *string       `json:"next"`
}

func (a *API) listDeliveries(r *http.Request) (any, error) {
	q := r.URL.Query()
	f := delivery.Filter{App: q.Get("app"), State: delivery.State(q.Get("state"))}
	var err error
	if text := q.Get("event"); text != "" {
		if f.Event, err = strconv.ParseInt(text, 10, 64); err != nil {
			return nil, status.New(status.Invalid, "event: %q is not an event id", text)
		}
	}
	if text := q.Get("after"); text != "" {
		if f.After, err = delivery.ParseID(text); err != nil {
			return nil, status.New(status.Invalid, "after: not a cursor; use the value of next")
		}
	}
	list, next, err := a.deliveries.List(r.Context(), f)
	if err != nil {
		return nil, err
	}
	out := deliveryPage{make([]deliveryRow, len(list)), api.Next(next)}
	for i, d := range list {
		if out.Deliveries[i], err = a.show(r, d); err != nil {
			return nil, err
		}
	}
	return out, nil
}

type attempt struct {
	N          int       `json:"n"`
	At         wire.Time `json:"at"`
	DurationMS int64     `json:"duration_ms"`
	Request    string    `json:"request"`
	Status     *int      `json:"status"`
	Answer     string    `json:"answer"`
	Error      string    `json:"error"`
	Why        string    `json:"why"`
	NextAt     wire.Time `json:"next_at"`
}

type deliveryWithLog struct {
	deliveryRow
	Body       string    `json:"body"` // what is sent; empty once erased
	AttemptLog []attempt `json:"attempt_log"`
}

func (a *API) getDelivery(r *http.Request) (any, error) {
	id, err := delivery.ParseID(r.PathValue("id"))
	if err != nil {
		return nil, err
	}
	d, attempts, err := a.deliveries.Get(r.Context(), id)
	if err != nil {
		return nil, err
	}
	row, err := a.show(r, d)
	out := deliveryWithLog{row, string(d.Body), make([]attempt, len(attempts))}
	for i, t := range attempts {
		out.AttemptLog[i] = attempt{
			N: t.N, At: wire.Time{Time: t.At}, DurationMS: t.Duration.Milliseconds(), Request: t.Request, Status: code(t.Status),
			Answer: readable(t.Answer), Error: t.Error, Why: t.Why, NextAt: wire.Time{Time: t.NextAt},
		}
	}
	return out, err
}

func (a *API) redeliver(r *http.Request) (any, error) {
	id, err := delivery.ParseID(r.PathValue("id"))
	if err != nil {
		return nil, err
	}
	d, _, err := a.deliveries.Get(r.Context(), id)
	if err != nil {
		return nil, err
	}
	if event.Type(d.Type).IsCall() { // made again now: nobody waits for it in a lane
		if err := a.extensions.Repeat(r.Context(), id); err != nil {
			return nil, err
		}
		d, _, err = a.deliveries.Get(r.Context(), id)
	} else {
		d, err = a.deliveries.Redeliver(r.Context(), id)
	}
	if err != nil {
		return nil, err
	}
	return a.show(r, d)
}

// redelivery chooses deliveries to be sent again.
type redelivery struct {
	App    string         `json:"app"`
	State  delivery.State `json:"state"`
	From   wire.Time      `json:"from"`
	To     wire.Time      `json:"to"`
	DryRun bool           `json:"dry_run"`
}

type redelivering struct {
	Count int64   `json:"count"`
	ID    *string `json:"id"` // null of a dry run
}

func (a *API) redeliverAll(r *http.Request) (any, error) {
	var in redelivery
	if err := api.Decode(r, &in); err != nil {
		return nil, err
	}
	if in.App != "" {
		if _, err := a.access.App(r.Context(), in.App); err != nil {
			return nil, err
		}
	}
	selection := delivery.Selection{App: in.App, State: in.State, From: in.From.Time, To: in.To.Time}
	var out redelivering
	var err error
	if in.DryRun {
		out.Count, err = a.deliveries.Count(r.Context(), selection)
		return out, err
	}
	count, id, err := a.deliveries.RedeliverAll(r.Context(), selection)
	text := strconv.FormatInt(id, 10)
	out.Count, out.ID = count, &text
	return out, err
}

type verdict struct {
	App        string         `json:"app"`
	State      delivery.State `json:"state"`
	Reason     string         `json:"reason"`
	DeliveryID *string        `json:"delivery_id"` // null where there is none
}

// happened is an event with its verdicts.
type happened struct {
	ID       string    `json:"id"`
	Type     string    `json:"type"`
	At       wire.Time `json:"at"`
	Verdicts []verdict `json:"verdicts"`
}

func (a *API) getEvent(r *http.Request) (any, error) {
	h, err := a.deliveries.Event(r.Context(), r.PathValue("id"))
	if err != nil {
		return nil, err
	}
	out := happened{strconv.FormatInt(h.ID, 10), h.Type, wire.Time{Time: h.At}, make([]verdict, len(h.Verdicts))}
	for i, d := range h.Verdicts {
		v := verdict{App: d.ID.App, State: d.State, Reason: d.Reason}
		if d.State != delivery.Skipped {
			v.DeliveryID = api.Next(d.ID.String())
		}
		out.Verdicts[i] = v
	}
	return out, nil
}
