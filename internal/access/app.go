package access

import (
	"context"
	"encoding/base64"
	"fmt"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/openkenar/openkenar/internal/delivery"
	"github.com/openkenar/openkenar/internal/event"
	"github.com/openkenar/openkenar/internal/status"
	"github.com/openkenar/openkenar/internal/wire"
)

// AppStatus is how far an app has come.
type AppStatus string

// The stati of an app.
const (
	Development AppStatus = "DEVELOPMENT"
	Production  AppStatus = "PRODUCTION"
	Suspended   AppStatus = "SUSPENDED" // its keys are refused, nothing is sent to it
)

var appStatuses = []AppStatus{Development, Production, Suspended}

// OpenAction is what happens when a touchpoint of an app is opened.
type OpenAction string

// The actions of touchpoints.
const (
	ServerLink   OpenAction = "LOAD_WEBVIEW_SERVER_LINK"
	DirectLink   OpenAction = "LOAD_WEBVIEW_DIRECT_LINK"
	StartChatBot OpenAction = "START_CHAT_BOT"
)

var openActions = []OpenAction{ServerLink, DirectLink, StartChatBot}

// Touchpoint is a place where an app is offered.
type Touchpoint struct {
	Touchpoint string     `json:"touchpoint"`
	Action     OpenAction `json:"action"`
}

// Limits of an app's settings.
const (
	maxSlug     = 64
	maxShort    = 200  // characters of a name or title
	maxLong     = 4000 // characters of a description
	maxList     = 100  // entries of any list
	maxIdentKey = 512  // bytes of an identification key
	maxRedirect = 2048 // bytes of a redirect URI
	// maxTouchpoint is that of a session initialization's source, in bytes.
	maxTouchpoint = 20
	defaultRate   = 6000
	defaultDay    = 1_000_000
)

// App is an app and its settings, as the host API shows and takes them.
type App struct {
	Slug                     string                `json:"slug"` // also its OAuth client_id
	Display                  string                `json:"display"`
	Subtitle                 string                `json:"subtitle"`
	Avatar                   string                `json:"avatar"`
	Description              string                `json:"description"`
	EventURL                 string                `json:"event_url"`
	SessionInitializationURL string                `json:"session_initialization_url"`
	DynamicActionURL         string                `json:"dynamic_action_url"`
	FallbackURL              string                `json:"fallback_url"`
	RedirectURIs             wire.List[string]     `json:"redirect_uris"`
	IdentificationKey        string                `json:"identification_key"` // what our calls carry in Authorization
	Permissions              wire.List[Permission] `json:"permissions"`
	OAuthScopes              wire.List[string]     `json:"oauth_scopes"` // names it may ask for
	Status                   AppStatus             `json:"status"`
	Paused                   bool                  `json:"paused"`
	HearOwnMessages          bool                  `json:"hear_own_messages"`
	Touchpoints              wire.List[Touchpoint] `json:"touchpoints"`
	ServiceType              string                `json:"service_type"`
	Cities                   wire.List[string]     `json:"cities"`     // empty: all
	Categories               wire.List[string]     `json:"categories"` // empty: all
	PerMinute                int64                 `json:"per_minute"` // calls; 0: no limit
	PerDay                   int64                 `json:"per_day"`    // calls; 0: no limit

	// SealedKey is the identification key as the store keeps it.
	SealedKey []byte    `json:"-"`
	CreatedAt time.Time `json:"-"`
	UpdatedAt time.Time `json:"-"`
}

// NewApp returns an app with the defaults of its settings, to be changed by
// what the host sends.
func NewApp() App {
	return App{Status: Development, HearOwnMessages: true, PerMinute: defaultRate, PerDay: defaultDay}
}

// The letters of a slug are safe in a URL, in a header and in an id.
var slugForm = regexp.MustCompile(`^[a-z0-9]([a-z0-9._-]*[a-z0-9])?$`)

// CheckApp refuses settings that no app can have.
func (a *Access) CheckApp(app App) error {
	if len(app.Slug) > maxSlug || !slugForm.MatchString(app.Slug) {
		return status.New(status.Invalid,
			"slug: want at most %d of a-z, 0-9, dot, dash and underscore, with a letter or digit at both ends", maxSlug)
	}
	if err := wire.Enum("status", app.Status, appStatuses...); err != nil {
		return err
	}
	if err := checkTexts(app); err != nil {
		return err
	}
	for field, raw := range map[string]string{
		"event_url": app.EventURL, "session_initialization_url": app.SessionInitializationURL,
		"dynamic_action_url": app.DynamicActionURL,
	} {
		if raw == "" {
			continue
		}
		if err := a.guard.CheckURL(field, raw); err != nil {
			return err
		}
	}
	for i, raw := range app.RedirectURIs {
		if err := a.checkRedirect(fmt.Sprintf("redirect_uris[%d]", i), raw); err != nil {
			return err
		}
	}
	if app.FallbackURL != "" {
		if err := checkLink("fallback_url", app.FallbackURL); err != nil {
			return err
		}
	}
	if err := CheckPermissions("permissions", app.Permissions); err != nil {
		return err
	}
	for i, name := range app.OAuthScopes {
		if !slices.ContainsFunc(catalogue, func(k ScopeKind) bool { return k.Name == name }) {
			return status.New(status.Invalid, "oauth_scopes[%d]: %q is not a scope of the catalogue", i, name)
		}
	}
	for i, t := range app.Touchpoints {
		if err := wire.Enum(fmt.Sprintf("touchpoints[%d].action", i), t.Action, openActions...); err != nil {
			return err
		}
		field := fmt.Sprintf("touchpoints[%d].touchpoint", i)
		if err := wire.CheckID(field, t.Touchpoint); err != nil {
			return err
		}
		if len(t.Touchpoint) > maxTouchpoint {
			return status.New(status.Invalid, "%s: %d bytes, want at most %d", field, len(t.Touchpoint), maxTouchpoint)
		}
	}
	if app.PerMinute < 0 || app.PerDay < 0 {
		return status.New(status.Invalid, "per_minute, per_day: must not be negative")
	}
	return nil
}

func checkTexts(app App) error {
	for field, text := range map[string]string{
		"display": app.Display, "subtitle": app.Subtitle, "avatar": app.Avatar, "service_type": app.ServiceType,
	} {
		if err := wire.MaxText(field, text, maxShort); err != nil {
			return err
		}
	}
	if err := wire.MaxText("description", app.Description, maxLong); err != nil {
		return err
	}
	if len(app.IdentificationKey) > maxIdentKey || strings.ContainsFunc(app.IdentificationKey, func(r rune) bool { return r < ' ' || r > '~' }) {
		return status.New(status.Invalid, "identification_key: want at most %d printable ASCII characters: it is sent in a header", maxIdentKey)
	}
	for field, n := range map[string]int{
		"redirect_uris": len(app.RedirectURIs), "touchpoints": len(app.Touchpoints), "oauth_scopes": len(app.OAuthScopes),
		"cities": len(app.Cities), "categories": len(app.Categories),
	} {
		if n > maxList {
			return status.New(status.Invalid, "%s: %d entries, want at most %d", field, n, maxList)
		}
	}
	return nil
}

// checkRedirect takes what RFC 9700 (2.6 and 4.1) and RFC 8252 (7.1) allow as a
// redirect URI: https, plain http to this machine or where it is allowed by
// name, or a scheme of the app's own with a dot in it; without a query.
func (a *Access) checkRedirect(field, raw string) error {
	refuse := func(problem string) error { return status.New(status.Invalid, "%s: %s", field, problem) }
	u, err := url.Parse(raw)
	switch {
	case err != nil || u.Scheme == "" || len(raw) > maxRedirect:
		return refuse("not an absolute URI; write https://host/path")
	case strings.ContainsAny(raw, "?#*\\") || strings.ContainsFunc(raw, func(r rune) bool { return r <= ' ' || r > '~' }):
		return refuse("a query, a fragment, a star, a backslash or a character that is not ASCII is not allowed")
	case u.User != nil:
		return refuse("a user name or password is not allowed")
	case u.Scheme == "https" && u.Hostname() == "", u.Scheme == "http" && u.Hostname() == "":
		return refuse("it names no host")
	case u.Scheme == "http" && !a.guard.Plain(u.Hostname()):
		return refuse("plain http is allowed only to this machine; use https")
	case u.Scheme != "https" && u.Scheme != "http" && !strings.Contains(u.Scheme, "."):
		return refuse("an app's own scheme has a dot in it, as com.example.app:/back has; or use https")
	default:
		return nil
	}
}

// checkLink takes an absolute URL that a browser is sent to.
func checkLink(field, raw string) error {
	u, err := url.Parse(raw)
	switch {
	case err != nil || u.Scheme == "" || u.Host == "" && u.Opaque == "" && u.Path == "":
		return status.New(status.Invalid, "%s: not an absolute URL", field)
	case u.Scheme == "javascript" || u.Scheme == "data":
		return status.New(status.Invalid, "%s: scheme %q is not a place to go to", field, u.Scheme)
	case u.Fragment != "" || strings.Contains(raw, "#"):
		return status.New(status.Invalid, "%s: a fragment (#) is not allowed", field)
	case u.User != nil:
		return status.New(status.Invalid, "%s: a user name or password in a URL is not allowed", field)
	default:
		return nil
	}
}

// CreateApp stores a new app; the same app again changes nothing, another
// under its slug is Conflict. A first signing secret is made with it.
func (a *Access) CreateApp(ctx context.Context, app App) (App, error) {
	if err := a.CheckApp(app); err != nil {
		return App{}, err
	}
	app = a.sealed(app)
	app.CreatedAt, app.UpdatedAt = a.now(), a.now()
	err := a.store.Write(ctx, func(tx Tx) error {
		old, exists, err := tx.App(app.Slug)
		if err != nil {
			return err
		}
		if exists {
			if same, err := a.sameApp(old, app); err != nil || same {
				return err
			}
			return status.New(status.Conflict, "slug: %q exists with other settings; change it with PATCH", app.Slug)
		}
		if err := tx.InsertApp(app); err != nil {
			return err
		}
		if _, err = a.addSecret(tx, app.Slug); err != nil {
			return err
		}
		return a.note(ctx, tx, app.Slug, AppCreated, "")
	})
	if err != nil {
		return App{}, err
	}
	a.Forget(app.Slug)
	return a.App(ctx, app.Slug)
}

// sameApp compares settings, the identification keys unsealed.
func (a *Access) sameApp(old, app App) (bool, error) {
	old, err := a.opened(old)
	if err != nil {
		return false, err
	}
	x, err := wire.Marshal(old)
	if err != nil {
		return false, err
	}
	y, err := wire.Marshal(app)
	return string(x) == string(y), err
}

// UpdateApp changes an app through a function on its present settings.
func (a *Access) UpdateApp(ctx context.Context, slug string, change func(*App) error) (App, error) {
	err := a.store.Write(ctx, func(tx Tx) error {
		old, ok, err := tx.App(slug)
		if err != nil {
			return err
		}
		if !ok {
			return noApp(slug)
		}
		before, err := a.opened(old)
		if err != nil {
			return err
		}
		app, err := a.opened(old)
		if err != nil {
			return err
		}
		if err := change(&app); err != nil {
			return err
		}
		if app.Slug != slug {
			return status.New(status.Invalid, "slug: an app's slug cannot change")
		}
		if err := a.CheckApp(app); err != nil {
			return err
		}
		names, err := changedSettings(before, app)
		if err != nil {
			return err
		}
		app = a.sealed(app)
		app.UpdatedAt = a.now()
		if err := tx.UpdateApp(app); err != nil || names == "" {
			return err
		}
		return a.note(ctx, tx, slug, AppChanged, names)
	})
	if err != nil {
		return App{}, err
	}
	a.Forget(slug)
	a.changed(slug)
	return a.App(ctx, slug)
}

func noApp(slug string) error { return status.New(status.NotFound, "app %q: no such app", slug) }

// App returns an app with its identification key readable.
func (a *Access) App(ctx context.Context, slug string) (App, error) {
	app, ok, err := a.store.App(ctx, slug)
	if err != nil {
		return App{}, err
	}
	if !ok {
		return App{}, noApp(slug)
	}
	return a.opened(app)
}

// Apps returns a page of apps by slug and the cursor of the next.
func (a *Access) Apps(ctx context.Context, after string) ([]App, string, error) {
	apps, err := a.store.Apps(ctx, after, event.Page+1)
	if err != nil {
		return nil, "", err
	}
	apps, next := event.CutPage(apps, func(app App) string { return app.Slug })
	for i := range apps {
		if apps[i], err = a.opened(apps[i]); err != nil {
			return nil, "", err
		}
	}
	return apps, next, nil
}

func identification(app string) string { return "identification key of " + app }

func (a *Access) sealed(app App) App {
	app.SealedKey = a.keys.Seal(identification(app.Slug), []byte(app.IdentificationKey))
	return app
}

func (a *Access) opened(app App) (App, error) {
	key, err := a.keys.Open(identification(app.Slug), app.SealedKey)
	app.IdentificationKey = string(key)
	return app, err
}

// NewClientSecret replaces the app's OAuth client secret and returns it, once.
func (a *Access) NewClientSecret(ctx context.Context, app string) (string, error) {
	secret := NewSecret("oks_")
	err := a.store.Write(ctx, func(tx Tx) error {
		if _, ok, err := tx.App(app); err != nil || !ok {
			return errOr(err, noApp(app))
		}
		if err := tx.SetClientSecret(app, hash(secret), a.now()); err != nil {
			return err
		}
		return a.note(ctx, tx, app, ClientSecretMade, "")
	})
	return secret, err
}

func errOr(err, otherwise error) error {
	if err != nil {
		return err
	}
	return otherwise
}

// Secret is a webhook signing secret. Several may be valid at a time.
type Secret struct {
	ID        int64
	App       string
	Sealed    []byte
	CreatedAt time.Time
	EndsAt    time.Time // zero: no end set
	Text      string    // whsec_…; only in what access returns
}

// secretOverlap is how long an older signing secret stays valid beside a new
// one unless said otherwise.
const secretOverlap = 24 * time.Hour

func signing(app string, id int64) string {
	return "signing secret " + strconv.FormatInt(id, 10) + " of " + app
}

func (a *Access) addSecret(tx Tx, app string) (Secret, error) {
	raw := random()
	s := Secret{ID: tx.NextID(), App: app, CreatedAt: a.now(), Text: secretText(raw)}
	s.Sealed = a.keys.Seal(signing(app, s.ID), raw)
	return s, tx.InsertSecret(s)
}

func secretText(raw []byte) string { return "whsec_" + base64.StdEncoding.EncodeToString(raw) }

// RotateSecret adds a signing secret; those before it end after overlap, a day
// when it is negative.
func (a *Access) RotateSecret(ctx context.Context, app string, overlap time.Duration) (Secret, error) {
	if overlap < 0 {
		overlap = secretOverlap
	}
	var s Secret
	err := a.store.Write(ctx, func(tx Tx) error {
		if _, ok, err := tx.App(app); err != nil || !ok {
			return errOr(err, noApp(app))
		}
		var err error
		if s, err = a.addSecret(tx, app); err != nil {
			return err
		}
		if err := tx.EndSecrets(app, s.ID, a.now().Add(overlap)); err != nil {
			return err
		}
		return a.note(ctx, tx, app, SigningSecret, "older ones end in "+overlap.String())
	})
	if err != nil {
		return Secret{}, err
	}
	a.Forget(app)
	return s, nil
}

// Secrets returns the app's signing secrets that are still valid.
func (a *Access) Secrets(ctx context.Context, app string) ([]Secret, error) {
	if _, err := a.App(ctx, app); err != nil {
		return nil, err
	}
	return a.secrets(ctx, app)
}

func (a *Access) secrets(ctx context.Context, app string) ([]Secret, error) {
	list, err := a.store.Secrets(ctx, app, a.now())
	if err != nil {
		return nil, err
	}
	for i, s := range list {
		raw, err := a.keys.Open(signing(app, s.ID), s.Sealed)
		if err != nil {
			return nil, err
		}
		list[i].Text = secretText(raw)
	}
	return list, nil
}

// endpoint is what is kept in memory of an app for sending.
type endpoint struct {
	delivery.Endpoint
	ends []time.Time // of Secrets, one each
}

// Endpoint says where an app is called; it implements delivery.Endpoints.
func (a *Access) Endpoint(ctx context.Context, app string) (delivery.Endpoint, error) {
	a.mu.Lock()
	cached, ok := a.endpoints[app]
	a.mu.Unlock()
	if !ok {
		var err error
		if cached, err = a.loadEndpoint(ctx, app); err != nil {
			return delivery.Endpoint{}, err
		}
	}
	e := cached.Endpoint
	e.Secrets = make([][]byte, 0, len(cached.Secrets))
	for i, s := range cached.Secrets {
		if end := cached.ends[i]; end.IsZero() || a.now().Before(end) {
			e.Secrets = append(e.Secrets, s)
		}
	}
	return e, nil
}

// loadEndpoint reads an app's endpoint and keeps it, unless one was changed
// meanwhile: an old copy must not stay behind.
func (a *Access) loadEndpoint(ctx context.Context, slug string) (endpoint, error) {
	a.mu.Lock()
	changes := a.changes
	a.mu.Unlock()
	app, err := a.App(ctx, slug)
	if err != nil {
		return endpoint{}, err
	}
	secrets, err := a.secrets(ctx, slug)
	if err != nil {
		return endpoint{}, err
	}
	e := endpoint{Endpoint: delivery.Endpoint{URL: app.EventURL, IdentificationKey: app.IdentificationKey}}
	for _, s := range secrets {
		raw, err := base64.StdEncoding.DecodeString(strings.TrimPrefix(s.Text, "whsec_"))
		if err != nil {
			return endpoint{}, err
		}
		e.Secrets, e.ends = append(e.Secrets, raw), append(e.ends, s.EndsAt)
	}
	switch {
	case app.Status == Suspended:
		e.Hold = "the app is suspended"
	case app.Paused:
		e.Hold = "the app is paused"
	case app.EventURL == "":
		e.Hold = "the app has no event URL"
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.changes == changes {
		a.endpoints[slug] = e
	}
	return e, nil
}

// Forget makes what is remembered of an app be read again; of all where app is "".
func (a *Access) Forget(app string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if app == "" {
		clear(a.endpoints)
	}
	a.changes++
	delete(a.endpoints, app)
	clear(a.keysKnown)
}
