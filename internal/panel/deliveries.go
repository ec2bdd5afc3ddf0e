package panel

import (
	"context"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/openkenar/openkenar/internal/access"
	"github.com/openkenar/openkenar/internal/delivery"
	"github.com/openkenar/openkenar/internal/event"
	"github.com/openkenar/openkenar/internal/status"
)

func (p *Panel) deliveryRoutes() {
	p.handle("GET /panel/deliveries", p.listDeliveries)
	p.ofApp("GET /panel/apps/{slug}/deliveries", func(w http.ResponseWriter, r *http.Request, app access.App) error {
		return p.showDeliveries(w, r, &app)
	})
	p.handle("GET /panel/deliveries/{id}", p.showDelivery)
	p.handle("POST /panel/deliveries/{id}/redeliver", p.redeliver)
	p.handle("POST /panel/redeliver", p.redeliverChosen)
	p.handle("GET /panel/redeliveries", p.showRedeliveries)
	p.handle("POST /panel/redeliveries", p.redeliverAll)
	p.handle("GET /panel/events/{id}", p.showEvent)
}

// deliveryFilter is a filter as its form has it.
type deliveryFilter struct {
	app, kind, state, user, post, from, to string
}

func (f deliveryFilter) query() url.Values {
	q := url.Values{}
	for name, value := range map[string]string{
		"app": f.app, "type": f.kind, "state": f.state, "user": f.user, "post": f.post, "from": f.from, "to": f.to,
	} {
		if value != "" {
			q.Set(name, value)
		}
	}
	return q
}

func (f deliveryFilter) any() bool { return len(f.query()) > 0 }

// localTime is how a browser gives a moment of a form.
const localTime = "2006-01-02T15:04"

func momentOf(field, text string, zone *time.Location) (time.Time, error) {
	if text == "" {
		return time.Time{}, nil
	}
	for _, layout := range []string{localTime, "2006-01-02T15:04:05", time.DateOnly} {
		if at, err := time.ParseInLocation(layout, text, zone); err == nil {
			return at, nil
		}
	}
	return time.Time{}, status.New(status.Invalid, "%s: not a time; write 2006-01-02T15:04", field)
}

// filterOf reads the filter of a request. A developer sees only deliveries of
// apps of their own: the one that is asked for, else the first.
func filterOf(ctx context.Context, q url.Values) (shown deliveryFilter, f delivery.Filter, err error) {
	shown = deliveryFilter{
		app: q.Get("app"), kind: q.Get("type"), state: q.Get("state"), user: strings.TrimSpace(q.Get("user")),
		post: strings.TrimSpace(q.Get("post")), from: q.Get("from"), to: q.Get("to"),
	}
	if own := ownApps(ctx); own != nil {
		if shown.app == "" && len(own) > 0 {
			shown.app = own[0]
		}
		if err := mayApp(ctx, shown.app); err != nil {
			return shown, f, err
		}
	}
	f = delivery.Filter{App: shown.app, State: delivery.State(shown.state), Type: shown.kind, User: shown.user, Post: shown.post}
	if f.From, err = momentOf("from", shown.from, viewOf(ctx).zone); err != nil {
		return shown, f, err
	}
	if f.To, err = momentOf("to", shown.to, viewOf(ctx).zone); err != nil {
		return shown, f, err
	}
	if !f.To.IsZero() { // to the end of the minute
		f.To = f.To.Add(time.Minute - time.Microsecond)
	}
	if after := q.Get("after"); after != "" {
		if f.After, err = delivery.ParseID(after); err != nil {
			return shown, f, status.New(status.Invalid, "after: not a place in this list; begin at its start")
		}
	}
	return shown, f, delivery.CheckState(f.State)
}

// deliveriesView is a page of the log.
type deliveriesView struct {
	app         *access.App // nil: of any
	filter      deliveryFilter
	rows        []delivery.Row
	first, next string
	narrow      bool
	done        string // what has just been done
	problem     string
}

func (p *Panel) listDeliveries(w http.ResponseWriter, r *http.Request) error {
	if own := ownApps(r.Context()); own != nil && len(own) == 0 {
		return p.show(w, r, http.StatusOK, deliveriesPage(deliveriesView{}))
	}
	return p.showDeliveries(w, r, nil)
}

func (p *Panel) showDeliveries(w http.ResponseWriter, r *http.Request, app *access.App) error {
	q := r.URL.Query()
	path := "/panel/deliveries"
	if app != nil {
		q.Set("app", app.Slug)
		path = appPath(app.Slug, "deliveries")
	}
	shown, f, err := filterOf(r.Context(), q)
	v := deliveriesView{app: app, filter: shown, narrow: f.Narrow()}
	if n, convErr := strconv.Atoi(q.Get("redelivered")); convErr == nil {
		v.done = number(r.Context(), n)
	}
	if status.KindOf(err) == status.Invalid && err != nil {
		v.problem = status.Of(err).Message
		return p.show(w, r, http.StatusBadRequest, deliveriesPage(v))
	}
	if err != nil {
		return err
	}
	if f.User != "" && ownApps(r.Context()) != nil { // who knows only the app's own ids
		if f.User, err = p.userBehind(r.Context(), shown.app, f.User); err != nil {
			return err
		}
	}
	rows, next, err := p.o.Deliveries.List(r.Context(), f)
	if err != nil {
		return err
	}
	keep := shown.query()
	if app != nil {
		keep.Del("app")
	}
	v.rows = rows
	v.first, v.next = pages(path, q.Get("after"), next, keep)
	return p.show(w, r, http.StatusOK, deliveriesPage(v))
}

// usersLookedAt bounds the search for the user behind an app's id.
const usersLookedAt = 20_000

// userBehind finds the user whom an app knows by an id, among those who grant it
// something; nobody has the id that it returns where there is none.
func (p *Panel) userBehind(ctx context.Context, app, id string) (string, error) {
	after, seen := "", 0
	for seen < usersLookedAt {
		grants, next, err := p.o.Access.AppGrants(ctx, app, after)
		if err != nil {
			return "", err
		}
		for _, g := range grants {
			if p.o.Access.UserID(app, g.User) == id {
				return g.User, nil
			}
		}
		if seen += len(grants); next == "" {
			break
		}
		after = next
	}
	return "nobody " + id, nil
}

// deliveryView is a delivery with everything about it.
type deliveryView struct {
	row      delivery.Row
	attempts []delivery.Attempt
	hold     string
	problem  string
}

func (v deliveryView) erased() bool { return v.row.Body == nil }

// deliveryOf is the delivery of a request, if its reader may see it.
func (p *Panel) deliveryOf(r *http.Request) (v deliveryView, err error) {
	id, err := delivery.ParseID(r.PathValue("id"))
	if err != nil {
		return v, err
	}
	if !viewOf(r.Context()).who.May(id.App) {
		return v, status.New(status.NotFound, "delivery %q: no such delivery", id)
	}
	if v.row, v.attempts, err = p.o.Deliveries.Get(r.Context(), id); err != nil {
		return v, err
	}
	slices.Reverse(v.attempts)
	if v.row.State == delivery.Pending {
		endpoint, err := p.o.Access.Endpoint(r.Context(), id.App)
		if err != nil {
			return v, err
		}
		v.hold = endpoint.Hold
	}
	return v, nil
}

func (p *Panel) showDelivery(w http.ResponseWriter, r *http.Request) error {
	v, err := p.deliveryOf(r)
	if err != nil {
		return err
	}
	return p.show(w, r, http.StatusOK, deliveryPage(v))
}

// again sends a delivery again; a call is made again now.
func (p *Panel) again(ctx context.Context, row delivery.Row) error {
	if err := p.o.Access.Note(ctx, row.ID.App, access.Redelivered, row.ID.String()); err != nil {
		return err
	}
	if event.Type(row.Type).IsCall() {
		return p.o.Extensions.Repeat(ctx, row.ID)
	}
	_, err := p.o.Deliveries.Redeliver(ctx, row.ID)
	return err
}

func (p *Panel) redeliver(w http.ResponseWriter, r *http.Request) error {
	v, err := p.deliveryOf(r)
	if err != nil {
		return err
	}
	if err := p.again(r.Context(), v.row); err != nil {
		kind := status.KindOf(err)
		if kind == status.Internal {
			return err
		}
		v.problem = status.Of(err).Message
		return p.show(w, r, kind.HTTP(), deliveryPage(v))
	}
	return see(w, r, deliveryPath(v.row.ID))
}

func deliveryPath(id delivery.ID) string { return "/panel/deliveries/" + url.PathEscape(id.String()) }

func eventPath(id int64) string { return "/panel/events/" + strconv.FormatInt(id, 10) }

// mostChosen is how many deliveries a form may name: as many as a page shows.
const mostChosen = 100

// redeliverChosen sends those again that were chosen on a page.
func (p *Panel) redeliverChosen(w http.ResponseWriter, r *http.Request) error {
	ids := r.PostForm["id"]
	switch {
	case len(ids) == 0:
		return status.New(status.Invalid, "nothing was chosen; tick the deliveries that are to be sent again")
	case len(ids) > mostChosen:
		return status.New(status.Invalid, "%d were chosen, want at most %d", len(ids), mostChosen)
	}
	back, err := url.Parse(r.PostForm.Get("back"))
	if err != nil || !strings.HasPrefix(back.Path, "/panel/") {
		back = &url.URL{Path: "/panel/deliveries"}
	}
	sent := 0
	for _, text := range ids {
		id, err := delivery.ParseID(text)
		if err != nil {
			return err
		}
		if !viewOf(r.Context()).who.May(id.App) {
			return status.New(status.NotFound, "delivery %q: no such delivery", id)
		}
		row, _, err := p.o.Deliveries.Get(r.Context(), id)
		if err != nil {
			return err
		}
		err = p.again(r.Context(), row)
		switch kind := status.KindOf(err); {
		case err == nil:
			sent++
		case kind != status.FailedPrecondition && kind != status.Unavailable: // revoked, erased, or not answered: the log says so
			return err
		}
	}
	q := back.Query()
	q.Set("redelivered", strconv.Itoa(sent))
	return see(w, r, (&url.URL{Path: back.Path, RawQuery: q.Encode()}).String())
}

// bulkView is the form of a bulk redelivery.
type bulkView struct {
	filter  deliveryFilter
	counted bool
	count   int64
	begun   bool
	problem string
}

func (p *Panel) showRedeliveries(w http.ResponseWriter, r *http.Request) error {
	shown, _, err := filterOf(r.Context(), r.URL.Query())
	if err != nil {
		return err
	}
	if shown.state == "" {
		shown.state = string(delivery.Exhausted)
	}
	return p.show(w, r, http.StatusOK, bulkPage(bulkView{filter: shown}))
}

// redeliverAll counts what a selection chooses, and sends it again when that is
// asked for.
func (p *Panel) redeliverAll(w http.ResponseWriter, r *http.Request) error {
	ctx := r.Context()
	shown, f, err := filterOf(ctx, r.PostForm)
	v := bulkView{filter: shown}
	if err == nil {
		s := delivery.Selection{App: f.App, State: f.State, From: f.From, To: f.To}
		if s.App != "" {
			_, err = p.o.Access.App(ctx, s.App)
		}
		switch {
		case err != nil:
		case r.PostForm.Has("send"):
			detail := strings.ReplaceAll(shown.query().Encode(), "&", " ")
			if err = p.o.Access.Note(ctx, s.App, access.AllRedelivered, detail); err == nil {
				v.begun = true
				v.count, _, err = p.o.Deliveries.RedeliverAll(ctx, s)
			}
		default:
			v.counted = true
			v.count, err = p.o.Deliveries.Count(ctx, s)
		}
	}
	if err != nil {
		if status.KindOf(err) != status.Invalid {
			return err
		}
		v = bulkView{filter: shown, problem: status.Of(err).Message}
		return p.show(w, r, http.StatusBadRequest, bulkPage(v))
	}
	return p.show(w, r, http.StatusOK, bulkPage(v))
}

// showEvent shows an event with its verdicts; a developer sees those of apps of
// their own, and no event that has none.
func (p *Panel) showEvent(w http.ResponseWriter, r *http.Request) error {
	h, err := p.o.Deliveries.Event(r.Context(), r.PathValue("id"))
	if err != nil {
		return err
	}
	who := viewOf(r.Context()).who
	h.Verdicts = slices.DeleteFunc(h.Verdicts, func(v delivery.Row) bool { return !who.May(v.ID.App) })
	if len(h.Verdicts) == 0 && !isOperator(r.Context()) {
		return status.New(status.NotFound, "event %q: no such event", r.PathValue("id"))
	}
	return p.show(w, r, http.StatusOK, eventPage(h))
}
