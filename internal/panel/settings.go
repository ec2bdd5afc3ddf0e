package panel

import (
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"github.com/openkenar/openkenar/internal/access"
	"github.com/openkenar/openkenar/internal/status"
)

// setting is one of an app's settings as a form has it.
type setting struct {
	name string
	// read takes the value of a form into an app.
	read func(a *access.App, form url.Values) error
	// operators: only they may change it. What an app may ask for, and how much,
	// is the platform's to say.
	operators bool
}

// lines are the lines of a text that are not empty.
func lines(text string) []string {
	var list []string
	for line := range strings.Lines(text) {
		if line = strings.TrimSpace(line); line != "" {
			list = append(list, line)
		}
	}
	return list
}

func textSetting(name string, to func(*access.App) *string) setting {
	return setting{name: name, read: func(a *access.App, form url.Values) error {
		*to(a) = strings.ReplaceAll(strings.TrimSpace(form.Get(name)), "\r\n", "\n")
		return nil
	}}
}

func numberSetting(name string, to func(*access.App) *int64) setting {
	return setting{name: name, operators: true, read: func(a *access.App, form url.Values) error {
		n, err := strconv.ParseInt(latin(strings.TrimSpace(form.Get(name))), 10, 64)
		if err != nil {
			return status.New(status.Invalid, "%s: not a whole number; 0 is no limit", name)
		}
		*to(a) = n
		return nil
	}}
}

var latinDigits = strings.NewReplacer("۰", "0", "۱", "1", "۲", "2", "۳", "3", "۴", "4", "۵", "5", "۶", "6", "۷", "7", "۸", "8", "۹", "9", "٬", "", ",", "")

// latin reads digits as they are typed in Persian, too.
func latin(text string) string { return latinDigits.Replace(text) }

// settings are all of an app's, in the order of the form. The slug is not one: it
// does not change.
var settings = []setting{
	textSetting("display", func(a *access.App) *string { return &a.Display }),
	textSetting("subtitle", func(a *access.App) *string { return &a.Subtitle }),
	textSetting("avatar", func(a *access.App) *string { return &a.Avatar }),
	textSetting("description", func(a *access.App) *string { return &a.Description }),
	textSetting("event_url", func(a *access.App) *string { return &a.EventURL }),
	textSetting("session_initialization_url", func(a *access.App) *string { return &a.SessionInitializationURL }),
	textSetting("dynamic_action_url", func(a *access.App) *string { return &a.DynamicActionURL }),
	textSetting("fallback_url", func(a *access.App) *string { return &a.FallbackURL }),
	textSetting("identification_key", func(a *access.App) *string { return &a.IdentificationKey }),
	textSetting("service_type", func(a *access.App) *string { return &a.ServiceType }),
	{name: "redirect_uris", read: func(a *access.App, form url.Values) error {
		a.RedirectURIs = lines(form.Get("redirect_uris"))
		return nil
	}},
	{name: "cities", read: func(a *access.App, form url.Values) error { a.Cities = lines(form.Get("cities")); return nil }},
	{name: "categories", read: func(a *access.App, form url.Values) error { a.Categories = lines(form.Get("categories")); return nil }},
	{name: "touchpoints", read: readTouchpoints},
	{name: "paused", read: func(a *access.App, form url.Values) error { a.Paused = form.Has("paused"); return nil }},
	{name: "hear_own_messages", read: func(a *access.App, form url.Values) error {
		a.HearOwnMessages = form.Has("hear_own_messages")
		return nil
	}},
	{name: "status", operators: true, read: func(a *access.App, form url.Values) error {
		a.Status = access.AppStatus(form.Get("status"))
		return nil
	}},
	{name: "permissions", operators: true, read: func(a *access.App, form url.Values) error {
		a.Permissions = nil
		for _, p := range form["permissions"] {
			a.Permissions = append(a.Permissions, access.Permission(p))
		}
		return nil
	}},
	{name: "oauth_scopes", operators: true, read: func(a *access.App, form url.Values) error {
		a.OAuthScopes = slices.Clone(form["oauth_scopes"])
		return nil
	}},
	numberSetting("per_minute", func(a *access.App) *int64 { return &a.PerMinute }),
	numberSetting("per_day", func(a *access.App) *int64 { return &a.PerDay }),
}

// readTouchpoints takes pairs of a place and what happens there; a pair without a
// place is none.
func readTouchpoints(a *access.App, form url.Values) error {
	a.Touchpoints = nil
	for i, place := range form["touchpoint"] {
		if place = strings.TrimSpace(place); place == "" {
			continue
		}
		action := access.ServerLink
		if i < len(form["touchpoint_action"]) {
			action = access.OpenAction(form["touchpoint_action"][i])
		}
		a.Touchpoints = append(a.Touchpoints, access.Touchpoint{Touchpoint: place, Action: action})
	}
	return nil
}

// someSlug is a slug with which nothing is wrong.
const someSlug = "app"

// check says what is wrong with one setting of a form, by the domain's own rule:
// an app that has it, and else nothing.
func (p *Panel) check(s setting, form url.Values) string {
	one := access.NewApp()
	one.Slug = someSlug
	err := s.read(&one, form)
	if err == nil {
		err = p.o.Access.CheckApp(one)
	}
	if err != nil {
		return status.Of(err).Message
	}
	return ""
}

// checkSlug says what is wrong with the slug of a new app.
func (p *Panel) checkSlug(slug string) string {
	one := access.NewApp()
	one.Slug = slug
	if err := p.o.Access.CheckApp(one); err != nil {
		return status.Of(err).Message
	}
	return ""
}

// checkSetting answers, as one types, what is wrong with a field.
func (p *Panel) checkSetting(w http.ResponseWriter, r *http.Request) error {
	name := r.URL.Query().Get("field")
	if name == "slug" {
		return p.show(w, r, http.StatusOK, fieldProblem(name, p.checkSlug(r.PostForm.Get("slug"))))
	}
	at := slices.IndexFunc(settings, func(s setting) bool { return s.name == name })
	if at < 0 {
		return errNoPage()
	}
	return p.show(w, r, http.StatusOK, fieldProblem(name, p.check(settings[at], r.PostForm)))
}

// settingsForm is a form of settings and what is wrong with it.
type settingsForm struct {
	app      access.App
	problems map[string]string // by setting
	problem  string            // with the whole
	saved    bool
	fresh    bool      // of an app that is not there yet
	numbers  [2]string // per minute and per day, as they were typed
}

func formOf(app access.App) settingsForm {
	return settingsForm{app: app, numbers: [2]string{strconv.FormatInt(app.PerMinute, 10), strconv.FormatInt(app.PerDay, 10)}}
}

// submitted reads a form over the settings of an app. What its reader may not
// change stays as it is.
func (p *Panel) submitted(r *http.Request, app access.App) (f settingsForm, read func(*access.App) error) {
	f = settingsForm{app: app, problems: map[string]string{}, numbers: [2]string{r.PostForm.Get("per_minute"), r.PostForm.Get("per_day")}}
	read = func(to *access.App) error {
		for _, s := range settings {
			if s.operators && !isOperator(r.Context()) {
				continue
			}
			if err := s.read(to, r.PostForm); err != nil {
				return err
			}
		}
		return nil
	}
	for _, s := range settings {
		if s.operators && !isOperator(r.Context()) {
			continue
		}
		if problem := p.check(s, r.PostForm); problem != "" {
			f.problems[s.name] = problem
		}
		_ = s.read(&f.app, r.PostForm) // to be shown as it was written; what is wrong has just been noted
	}
	if !isOperator(r.Context()) {
		f.numbers = formOf(app).numbers
	}
	return f, read
}

func (p *Panel) showSettings(w http.ResponseWriter, r *http.Request, app access.App) error {
	f := formOf(app)
	f.saved = r.URL.Query().Has("saved")
	return p.show(w, r, http.StatusOK, settingsPage(f))
}

func (p *Panel) changeSettings(w http.ResponseWriter, r *http.Request, app access.App) error {
	f, read := p.submitted(r, app)
	if len(f.problems) > 0 {
		return p.show(w, r, http.StatusBadRequest, settingsPage(f))
	}
	if _, err := p.o.Access.UpdateApp(r.Context(), app.Slug, read); err != nil {
		if status.KindOf(err) != status.Invalid {
			return err
		}
		f.problem = status.Of(err).Message
		return p.show(w, r, http.StatusBadRequest, settingsPage(f))
	}
	return see(w, r, appPath(app.Slug, "settings")+"?saved")
}

func (p *Panel) showNewApp(w http.ResponseWriter, r *http.Request) error {
	app := access.NewApp()
	app.Permissions = access.Permissions()
	for _, k := range access.Catalogue() {
		app.OAuthScopes = append(app.OAuthScopes, k.Name)
	}
	app.IdentificationKey = access.NewSecret("oki_")
	f := formOf(app)
	f.fresh = true
	return p.show(w, r, http.StatusOK, settingsPage(f))
}

func (p *Panel) createApp(w http.ResponseWriter, r *http.Request) error {
	f, read := p.submitted(r, access.NewApp())
	f.fresh, f.app.Slug = true, strings.TrimSpace(r.PostForm.Get("slug"))
	if problem := p.checkSlug(f.app.Slug); problem != "" {
		f.problems["slug"] = problem
	}
	if len(f.problems) > 0 {
		return p.show(w, r, http.StatusBadRequest, settingsPage(f))
	}
	app := access.NewApp()
	app.Slug = f.app.Slug
	err := read(&app)
	if err == nil {
		_, err = p.o.Access.CreateApp(r.Context(), app)
	}
	switch kind := status.KindOf(err); {
	case err == nil:
		return see(w, r, appPath(app.Slug, "keys"))
	case kind == status.Conflict:
		f.problems["slug"] = status.Of(err).Message
	case kind == status.Invalid:
		f.problem = status.Of(err).Message
	default:
		return err
	}
	return p.show(w, r, status.KindOf(err).HTTP(), settingsPage(f))
}
