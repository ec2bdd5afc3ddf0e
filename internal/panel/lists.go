package panel

import (
	"net/http"
	"net/url"

	"github.com/openkenar/openkenar/internal/access"
	"github.com/openkenar/openkenar/internal/account"
	"github.com/openkenar/openkenar/internal/delivery"
	"github.com/openkenar/openkenar/internal/event"
	"github.com/openkenar/openkenar/internal/status"
)

func (p *Panel) listRoutes() {
	p.ofApp("GET /panel/apps/{slug}/subscriptions", p.listSubscriptions)
	p.ofApp("GET /panel/apps/{slug}/grants", p.listGrants)
	p.ofApp("POST /panel/apps/{slug}/grants/revoke", p.revokeGrant)
	p.ofApp("GET /panel/apps/{slug}/audit", func(w http.ResponseWriter, r *http.Request, app access.App) error {
		return p.showAudit(w, r, &app)
	})
	p.handle("GET /panel/audit", p.audit)
	p.ofApp("GET /panel/apps/{slug}/people", func(w http.ResponseWriter, r *http.Request, app access.App) error {
		return p.showAppPeople(w, r, app, "")
	})
	p.ofApp("POST /panel/apps/{slug}/invitations", p.invite)
	p.ofApp("POST /panel/apps/{slug}/people/{name}/remove", p.removePerson)
	p.operators("GET /panel/people", p.listPeople)
	p.operators("POST /panel/people/{name}/end", p.endAccount)
	p.handle("GET /panel/account", p.showAccount)
	p.handle("POST /panel/account", p.changePassword)
	p.operators("GET /panel/engine", p.showEngine)
}

// subscriptionsView is a page of an app's subscriptions.
type subscriptionsView struct {
	app         access.App
	list        []event.Subscription
	users       map[string]string // as the reader may know them
	first, next string
}

// shownUser is a user as a reader may know them: an operator by the marketplace's
// own id, a developer by the app's.
func (p *Panel) shownUser(r *http.Request, app, user string) string {
	if isOperator(r.Context()) {
		return user
	}
	return p.o.Access.UserID(app, user)
}

func (p *Panel) listSubscriptions(w http.ResponseWriter, r *http.Request, app access.App) error {
	after := r.URL.Query().Get("after")
	list, next, err := p.o.Subscriptions.List(r.Context(), app.Slug, after)
	if err != nil {
		return err
	}
	v := subscriptionsView{app: app, list: list, users: map[string]string{}}
	for _, s := range list {
		v.users[s.User] = p.shownUser(r, app.Slug, s.User)
	}
	v.first, v.next = pages(appPath(app.Slug, "subscriptions"), after, next, nil)
	return p.show(w, r, http.StatusOK, subscriptionsPage(v))
}

// grantsView is a page of what users granted an app.
type grantsView struct {
	app         access.App
	list        []access.Grant
	users       map[string]string
	first, next string
}

func (p *Panel) listGrants(w http.ResponseWriter, r *http.Request, app access.App) error {
	after := r.URL.Query().Get("after")
	list, next, err := p.o.Access.AppGrants(r.Context(), app.Slug, after)
	if err != nil {
		return err
	}
	v := grantsView{app: app, list: list, users: map[string]string{}}
	for _, g := range list {
		v.users[g.User] = p.shownUser(r, app.Slug, g.User)
	}
	v.first, v.next = pages(appPath(app.Slug, "grants"), after, next, nil)
	return p.show(w, r, http.StatusOK, grantsPage(v))
}

// revokeGrant takes an app's access to a user away, as the user could. That is
// for operators: an app has OAuth's own way.
func (p *Panel) revokeGrant(w http.ResponseWriter, r *http.Request, app access.App) error {
	if !isOperator(r.Context()) {
		return errNoPage()
	}
	if err := p.o.Access.Revoke(r.Context(), r.PostForm.Get("user"), app.Slug); err != nil {
		return err
	}
	return see(w, r, appPath(app.Slug, "grants"))
}

// auditView is a page of the audit log.
type auditView struct {
	app         *access.App // nil: of all
	list        []access.Note
	first, next string
}

// audit is the log of everything for operators; a developer has it by app.
func (p *Panel) audit(w http.ResponseWriter, r *http.Request) error {
	own := ownApps(r.Context())
	switch {
	case own == nil:
		return p.showAudit(w, r, nil)
	case len(own) == 0:
		return p.show(w, r, http.StatusOK, auditPage(auditView{}))
	}
	return see(w, r, appPath(own[0], "audit"))
}

func (p *Panel) showAudit(w http.ResponseWriter, r *http.Request, app *access.App) error {
	v := auditView{app: app}
	path, slug := "/panel/audit", ""
	if app != nil {
		path, slug = appPath(app.Slug, "audit"), app.Slug
	}
	after := r.URL.Query().Get("after")
	var next string
	var err error
	if v.list, next, err = p.o.Access.Notes(r.Context(), slug, after); err != nil {
		return err
	}
	v.first, v.next = pages(path, after, next, nil)
	return p.show(w, r, http.StatusOK, auditPage(v))
}

// appPeopleView is who may see and change an app.
type appPeopleView struct {
	app  access.App
	list []account.Account
	link string // of an invitation, shown this once
}

func (p *Panel) showAppPeople(w http.ResponseWriter, r *http.Request, app access.App, link string) error {
	list, err := p.o.Accounts.Of(r.Context(), app.Slug)
	if err != nil {
		return err
	}
	return p.show(w, r, http.StatusOK, appPeoplePage(appPeopleView{app, list, link}))
}

func (p *Panel) invite(w http.ResponseWriter, r *http.Request, app access.App) error {
	if !isOperator(r.Context()) {
		return errNoPage()
	}
	text, _, err := p.o.Accounts.Invite(r.Context(), viewOf(r.Context()).who.Name, app.Slug)
	if err != nil {
		return err
	}
	return p.showAppPeople(w, r, app, p.o.PublicURL()+"/panel/invitations/"+url.PathEscape(text))
}

func (p *Panel) removePerson(w http.ResponseWriter, r *http.Request, app access.App) error {
	if !isOperator(r.Context()) {
		return errNoPage()
	}
	if err := p.o.Accounts.Leave(r.Context(), r.PathValue("name"), app.Slug); err != nil {
		return err
	}
	return see(w, r, appPath(app.Slug, "people"))
}

// peopleView is a page of all accounts.
type peopleView struct {
	list        []account.Account
	first, next string
}

func (p *Panel) listPeople(w http.ResponseWriter, r *http.Request) error {
	after := r.URL.Query().Get("after")
	list, next, err := p.o.Accounts.List(r.Context(), after)
	if err != nil {
		return err
	}
	v := peopleView{list: list}
	v.first, v.next = pages("/panel/people", after, next, nil)
	return p.show(w, r, http.StatusOK, peoplePage(v))
}

func (p *Panel) endAccount(w http.ResponseWriter, r *http.Request) error {
	name := r.PathValue("name")
	if name == viewOf(r.Context()).who.Name {
		return status.New(status.FailedPrecondition, "this is your own account; another operator can end it")
	}
	if err := p.o.Accounts.End(r.Context(), name); err != nil {
		return err
	}
	return see(w, r, "/panel/people")
}

func (p *Panel) showAccount(w http.ResponseWriter, r *http.Request) error {
	if p.o.Open {
		return errNoPage()
	}
	return p.show(w, r, http.StatusOK, accountPage("", ""))
}

// changePassword replaces the reader's own password; it asks for the present one,
// so that a browser left alone is not enough.
func (p *Panel) changePassword(w http.ResponseWriter, r *http.Request) error {
	if p.o.Open {
		return errNoPage()
	}
	who := viewOf(r.Context()).who
	text, err := p.o.Accounts.Replace(r.Context(), who, r.PostForm.Get("present"), r.PostForm.Get("password"), addressOf(r))
	switch kind := status.KindOf(err); {
	case err == nil:
		p.setSession(w, text)
		return see(w, r, "/panel/")
	case kind == status.Unauthenticated:
		return p.show(w, r, status.PermissionDenied.HTTP(), accountPage(t(r.Context(), "گذرواژهٔ کنونی درست نیست.", "The present password is wrong."), ""))
	case kind == status.Invalid:
		return p.show(w, r, kind.HTTP(), accountPage("", status.Of(err).Message))
	default:
		return err
	}
}

// engineView is what the engine does on this node and what others there are.
type engineView struct {
	nodes         []delivery.Peer
	shared        bool
	lanes         []delivery.Lane
	held, sending int
	waiting       []waitingApp
	more          bool
}

// waitingApp is an app's share of the backlog.
type waitingApp struct {
	app    string
	n      int
	more   bool
	oldest delivery.Row
}

// mostWaiting is how many apps the page counts the backlog of.
const mostWaiting = 50

func (p *Panel) showEngine(w http.ResponseWriter, r *http.Request) error {
	ctx := r.Context()
	v := engineView{lanes: p.o.Engine.Lanes(), shared: p.o.Nodes != nil}
	v.held, v.sending = p.o.Engine.Load()
	var err error
	if v.shared {
		if v.nodes, err = p.o.Nodes(ctx); err != nil {
			return err
		}
	}
	apps, err := p.o.Deliveries.Apps(ctx)
	if err != nil {
		return err
	}
	if v.more = len(apps) > mostWaiting; v.more {
		apps = apps[:mostWaiting]
	}
	for _, app := range apps {
		of := waitingApp{app: app}
		if of.n, of.oldest.NextAt, of.more, err = p.o.Deliveries.Waiting(ctx, app); err != nil {
			return err
		}
		v.waiting = append(v.waiting, of)
	}
	return p.show(w, r, http.StatusOK, enginePage(v))
}
