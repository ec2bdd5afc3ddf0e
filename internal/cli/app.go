package cli

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"strconv"
	"strings"

	"github.com/openkenar/openkenar/internal/access"
)

type appCmd struct {
	Create appCreateCmd `cmd:"" help:"Create an app."`
	List   appListCmd   `cmd:"" help:"List the apps."`
	Show   appShowCmd   `cmd:"" help:"Show an app's settings."`
	Set    appSetCmd    `cmd:"" help:"Change some of an app's settings."`
	Test   appTestCmd   `cmd:"" help:"Send an app a test event and show what came back; exit 1 when it was not delivered."`
}

type appCreateCmd struct {
	Slug string `arg:"" help:"Its id, also its OAuth client_id."`
	settings
	hostFlags
}

// Run creates an app.
func (a appCreateCmd) Run(ctx context.Context, c *call) error {
	in, err := a.document()
	if err != nil {
		return err
	}
	if in["slug"], err = json.Marshal(a.Slug); err != nil {
		return err
	}
	var app access.App
	return a.call(ctx, c, hostCall{
		method: http.MethodPost, path: hostPath("apps"), in: in, out: &app,
		show: func() string { return appText(app) },
	})
}

type appShowCmd struct {
	Slug string `arg:"" help:"The app."`
	hostFlags
}

// Run shows an app.
func (a appShowCmd) Run(ctx context.Context, c *call) error {
	var app access.App
	return a.call(ctx, c, hostCall{
		method: http.MethodGet, path: hostPath("apps", a.Slug), out: &app,
		show: func() string { return appText(app) },
	})
}

type appSetCmd struct {
	Slug string `arg:"" help:"The app."`
	settings
	hostFlags
}

// Validate refuses a call without a setting.
func (a appSetCmd) Validate() error { return a.check() }

// Run changes an app.
func (a appSetCmd) Run(ctx context.Context, c *call) error {
	in, err := a.document()
	if err != nil {
		return err
	}
	delete(in, "slug") // the argument says which app
	var app access.App
	return a.call(ctx, c, hostCall{
		method: http.MethodPatch, path: hostPath("apps", a.Slug), in: in, out: &app,
		show: func() string { return appText(app) },
	})
}

// appText shows the settings that an app has, named like their flags.
func appText(app access.App) string {
	touchpoints := make([]string, len(app.Touchpoints))
	for i, t := range app.Touchpoints {
		touchpoints[i] = t.Touchpoint + "=" + string(t.Action)
	}
	permissions := make([]string, len(app.Permissions))
	for i, p := range app.Permissions {
		permissions[i] = string(p)
	}
	key := ""
	if app.IdentificationKey != "" {
		key = "set; --json shows it"
	}
	var rows [][]string
	for _, row := range [][]string{
		{"slug", app.Slug},
		{"display", app.Display},
		{"subtitle", app.Subtitle},
		{"description", app.Description},
		{"avatar", app.Avatar},
		{"status", string(app.Status)},
		{"paused", strconv.FormatBool(app.Paused)},
		{"hear-own-messages", strconv.FormatBool(app.HearOwnMessages)},
		{"event-url", app.EventURL},
		{"session-initialization-url", app.SessionInitializationURL},
		{"dynamic-action-url", app.DynamicActionURL},
		{"fallback-url", app.FallbackURL},
		{"identification-key", key},
		{"redirect-uri", strings.Join(app.RedirectURIs, " ")},
		{"permission", strings.Join(permissions, " ")},
		{"scope", strings.Join(app.OAuthScopes, " ")},
		{"touchpoint", strings.Join(touchpoints, " ")},
		{"service-type", app.ServiceType},
		{"city", strings.Join(app.Cities, ", ")},
		{"category", strings.Join(app.Categories, ", ")},
		{"per-minute", strconv.FormatInt(app.PerMinute, 10)},
		{"per-day", strconv.FormatInt(app.PerDay, 10)},
	} {
		if row[1] != "" {
			rows = append(rows, row)
		}
	}
	return columns(rows)
}

type appListCmd struct {
	After string `help:"Only those after this one." placeholder:"SLUG"`
	hostFlags
}

// Run lists the apps.
func (a appListCmd) Run(ctx context.Context, c *call) error {
	var out struct {
		Apps []access.App `json:"apps"`
		Next *string      `json:"next"`
	}
	return a.call(ctx, c, hostCall{
		method: http.MethodGet, path: hostPath("apps"), query: page(a.After), out: &out,
		show: func() string {
			rows := [][]string{{"SLUG", "DISPLAY", "STATUS", "EVENT URL"}}
			for _, app := range out.Apps {
				state := string(app.Status)
				if app.Paused {
					state += ", paused"
				}
				rows = append(rows, []string{app.Slug, app.Display, state, app.EventURL})
			}
			return columns(rows) + more(out.Next)
		},
	})
}

type appTestCmd struct {
	Slug string `arg:"" help:"The app."`
	hostFlags
}

// tested is what came back from a test event.
type tested struct {
	Delivered  bool   `json:"delivered"`
	Status     int    `json:"status"`
	Answer     string `json:"answer"`
	Error      string `json:"error"`
	DurationMS int64  `json:"duration_ms"`
	Request    string `json:"request"`
	Body       string `json:"body"`
}

// Run sends a test event.
func (a appTestCmd) Run(ctx context.Context, c *call) error {
	var t tested
	if err := a.call(ctx, c, hostCall{
		method: http.MethodPost, path: hostPath("apps", a.Slug, "test-event"), in: struct{}{}, out: &t, show: t.text,
	}); err != nil {
		return err
	}
	if !t.Delivered {
		return errFound
	}
	return nil
}

func (t *tested) text() string {
	verdict := fmt.Sprintf("delivered: answered %d in %d ms\n", t.Status, t.DurationMS)
	if !t.Delivered {
		verdict = fmt.Sprintf("not delivered: %s, after %d ms\n", plain(t.Error), t.DurationMS)
	}
	text := verdict + "\nsent\n" + indent(t.Request) + "\n" + indent(t.Body)
	if t.Answer != "" {
		text += "\nanswered\n" + indent(t.Answer)
	}
	return text
}
