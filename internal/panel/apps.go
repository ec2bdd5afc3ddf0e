package panel

import (
	"context"
	"net/http"
	"net/url"

	"github.com/google/uuid"

	"github.com/openkenar/openkenar/internal/access"
	"github.com/openkenar/openkenar/internal/account"
	"github.com/openkenar/openkenar/internal/chat"
	"github.com/openkenar/openkenar/internal/delivery"
	"github.com/openkenar/openkenar/internal/event"
	"github.com/openkenar/openkenar/internal/status"
	"github.com/openkenar/openkenar/internal/webhook"
)

func (p *Panel) appRoutes() {
	p.handle("GET /panel/apps", p.listApps)
	p.operators("GET /panel/new-app", p.showNewApp)
	p.operators("POST /panel/new-app", p.createApp)
	p.operators("POST /panel/new-app/check", p.checkSetting)
	p.ofApp("GET /panel/apps/{slug}", p.showApp)
	p.ofApp("POST /panel/apps/{slug}/test/{what}", p.testApp)
	p.ofApp("GET /panel/apps/{slug}/settings", p.showSettings)
	p.ofApp("POST /panel/apps/{slug}/settings", p.changeSettings)
	p.ofApp("POST /panel/apps/{slug}/check", func(w http.ResponseWriter, r *http.Request, _ access.App) error { return p.checkSetting(w, r) })
}

// appHandler is a page of an app that its reader may see and change.
type appHandler func(w http.ResponseWriter, r *http.Request, app access.App) error

// ofApp routes a pattern with {slug} to a page of an app. Another's app is one
// that is not there.
func (p *Panel) ofApp(pattern string, h appHandler) {
	p.handle(pattern, func(w http.ResponseWriter, r *http.Request) error {
		slug := r.PathValue("slug")
		if err := mayApp(r.Context(), slug); err != nil {
			return err
		}
		app, err := p.o.Access.App(r.Context(), slug)
		if err != nil {
			return err
		}
		return h(w, r, app)
	})
}

// mayApp refuses another's app as one that is not there.
func mayApp(ctx context.Context, slug string) error {
	if !viewOf(ctx).who.May(slug) {
		return status.New(status.NotFound, "app %q: no such app", slug)
	}
	return nil
}

// ownApps are the apps to choose from where only operators see all; nil is all.
func ownApps(ctx context.Context) []string {
	who := viewOf(ctx).who
	if who.Role == account.Operator {
		return nil
	}
	return append([]string{}, who.Apps...)
}

func (p *Panel) listApps(w http.ResponseWriter, r *http.Request) error {
	if own := ownApps(r.Context()); own != nil {
		apps := make([]access.App, len(own))
		for i, slug := range own {
			var err error
			if apps[i], err = p.o.Access.App(r.Context(), slug); err != nil {
				return err
			}
		}
		return p.show(w, r, http.StatusOK, appsPage(apps, "", ""))
	}
	after := r.URL.Query().Get("after")
	apps, next, err := p.o.Access.Apps(r.Context(), after)
	if err != nil {
		return err
	}
	first, more := pages("/panel/apps", after, next, nil)
	return p.show(w, r, http.StatusOK, appsPage(apps, first, more))
}

// pages are where a list begins, "" there, and where it goes on.
func pages(path, after, next string, query url.Values) (first, more string) {
	with := func(cursor string) string {
		q := url.Values{}
		for name, values := range query {
			if name != "after" && len(values) > 0 && values[0] != "" {
				q[name] = values
			}
		}
		if cursor != "" {
			q.Set("after", cursor)
		}
		if len(q) == 0 {
			return path
		}
		return path + "?" + q.Encode()
	}
	if after != "" {
		first = with("")
	}
	if next != "" {
		more = with(next)
	}
	return first, more
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
		return visible(a.Display)
	}
	return a.Slug
}

// overview is what the first page of an app shows.
type overview struct {
	app         access.App
	hold        string
	lane        delivery.Lane
	here        bool // this process sends to it
	waiting     int
	oldest      delivery.Row
	more        bool
	pulse       []delivery.Interval
	over        string
	quotas      bool
	minute, day int64
	failed      []delivery.Row
}

func (p *Panel) showApp(w http.ResponseWriter, r *http.Request, app access.App) error {
	ctx := r.Context()
	o := overview{app: app, quotas: p.o.Quotas != nil}
	endpoint, err := p.o.Access.Endpoint(ctx, app.Slug)
	if err != nil {
		return err
	}
	o.hold = endpoint.Hold
	o.lane, o.here = p.o.Engine.Lane(app.Slug)
	if o.waiting, o.oldest.NextAt, o.more, err = p.o.Deliveries.Waiting(ctx, app.Slug); err != nil {
		return err
	}
	name, over := rangeOf(r.URL.Query().Get("over"))
	if o.pulse, err = p.o.Deliveries.Pulse(ctx, app.Slug, over); err != nil {
		return err
	}
	o.over = name
	if o.quotas {
		if o.minute, o.day, err = p.o.Quotas.Used(ctx, app.Slug); err != nil {
			return err
		}
	}
	if o.failed, _, err = p.o.Deliveries.List(ctx, delivery.Filter{App: app.Slug, State: delivery.Exhausted}); err != nil {
		return err
	}
	o.failed = o.failed[:min(len(o.failed), 5)]
	return p.show(w, r, http.StatusOK, appPage(o))
}

// trial is what came back from a test call.
type trial struct {
	what    string
	result  webhook.Result
	body    string
	problem string
}

func (t trial) ok() bool { return t.problem == "" && t.result.Error == "" }

// testApp makes a call of an app that nothing rests on.
func (p *Panel) testApp(w http.ResponseWriter, r *http.Request, app access.App) error {
	ctx := r.Context()
	made := trial{what: r.PathValue("what")}
	switch made.what {
	case "event":
		payload, err := chat.Sample(p.o.Now())
		if err != nil {
			return err
		}
		body := event.Envelope(event.NewChatbotMessage, []byte(`{"openkenar_test":true}`), payload)
		made.body = string(body)
		if made.result, err = p.o.Engine.Test(ctx, app.Slug, "test-"+uuid.NewString(), body); err != nil {
			return p.showTrial(w, r, app, made, err)
		}
		made.problem = made.result.Error
	case "session", "action":
		kind := event.SessionInitialization
		if made.what == "action" {
			kind = event.DynamicAction
		}
		tested, err := p.o.Extensions.Test(ctx, app.Slug, kind)
		if err != nil {
			return p.showTrial(w, r, app, made, err)
		}
		made.result, made.body, made.problem = tested.Result, string(tested.Body), tested.Problem
	default:
		return errNoPage()
	}
	return p.showTrial(w, r, app, made, nil)
}

// showTrial shows what came back: a part of the page where htmx asked for it.
func (p *Panel) showTrial(w http.ResponseWriter, r *http.Request, app access.App, made trial, err error) error {
	if err != nil {
		if status.KindOf(err) == status.Internal {
			return err
		}
		made.problem = status.Of(err).Message
	}
	if r.Header.Get("HX-Request") == "true" {
		return p.show(w, r, http.StatusOK, trialResult(made))
	}
	return p.show(w, r, http.StatusOK, trialPage(app, made))
}
