package cli

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"

	"github.com/openkenar/openkenar/internal/access"
)

// settings are an app's settings as flags. What was not given is nil and is
// not sent. None of them is taken from the environment: a variable that was
// left there would change every app.
type settings struct {
	Display                  *string      `json:"display,omitzero" help:"Its name." placeholder:"NAME"`
	Subtitle                 *string      `json:"subtitle,omitzero" help:"The line under its name." placeholder:"TEXT"`
	Description              *string      `json:"description,omitzero" help:"What it does." placeholder:"TEXT"`
	Avatar                   *string      `json:"avatar,omitzero" help:"Its picture." placeholder:"URL"`
	EventURL                 *string      `json:"event_url,omitzero" name:"event-url" help:"Where it gets its webhooks." placeholder:"URL"`
	SessionInitializationURL *string      `json:"session_initialization_url,omitzero" name:"session-initialization-url" help:"What is asked for a link when it is opened." placeholder:"URL"`
	DynamicActionURL         *string      `json:"dynamic_action_url,omitzero" name:"dynamic-action-url" help:"What is asked when a dynamic button is clicked." placeholder:"URL"`
	FallbackURL              *string      `json:"fallback_url,omitzero" name:"fallback-url" help:"Where people go when it does not answer." placeholder:"URL"`
	RedirectURIs             []string     `json:"redirect_uris,omitzero" name:"redirect-uri" sep:"none" help:"Where OAuth may send people back to. ${repeatable}" placeholder:"URI"`
	IdentificationKeyFile    string       `json:"-" help:"File with what our calls to it carry in their Authorization header." placeholder:"FILE"`
	Permissions              []string     `json:"permissions,omitzero" name:"permission" sep:"none" help:"What its keys may do at most. ${repeatable}" placeholder:"NAME"`
	OAuthScopes              []string     `json:"oauth_scopes,omitzero" name:"scope" sep:"none" help:"What it may ask people for. ${repeatable}" placeholder:"NAME"`
	Status                   *string      `json:"status,omitzero" help:"DEVELOPMENT, PRODUCTION or SUSPENDED." placeholder:"STATUS"`
	Paused                   *bool        `json:"paused,omitzero" negatable:"" help:"Keep what is to be sent to it until it is no longer paused."`
	HearOwnMessages          *bool        `json:"hear_own_messages,omitzero" negatable:"" help:"Send it the messages that it wrote itself."`
	Touchpoints              []touchpoint `json:"touchpoints,omitzero" name:"touchpoint" sep:"none" help:"Where it is offered, and what happens there: LOAD_WEBVIEW_SERVER_LINK, LOAD_WEBVIEW_DIRECT_LINK or START_CHAT_BOT. ${repeatable}" placeholder:"NAME=ACTION"`
	ServiceType              *string      `json:"service_type,omitzero" help:"The group it is shown in." placeholder:"NAME"`
	Cities                   []string     `json:"cities,omitzero" name:"city" sep:"none" help:"Offer it only in these cities. ${repeatable}" placeholder:"NAME"`
	Categories               []string     `json:"categories,omitzero" name:"category" sep:"none" help:"Offer it only in these categories. ${repeatable}" placeholder:"NAME"`
	PerMinute                *int64       `json:"per_minute,omitzero" help:"Calls that it may make in a minute." placeholder:"N"`
	PerDay                   *int64       `json:"per_day,omitzero" help:"Calls that it may make in a day." placeholder:"N"`

	From string `json:"-" help:"JSON document with any settings; those given as flags win." placeholder:"FILE"`
}

// repeatable ends the help of a flag that may be given several times.
const repeatable = `Repeatable; replaces the whole list; "" for none.`

// touchpoint is a place and an action, written NAME=ACTION.
type touchpoint struct{ access.Touchpoint }

// UnmarshalText takes NAME=ACTION, and "" for no touchpoint.
func (t *touchpoint) UnmarshalText(text []byte) error {
	name, action, ok := strings.Cut(string(text), "=")
	if len(text) > 0 && (!ok || name == "" || action == "") {
		return fmt.Errorf("%q is not NAME=ACTION", text)
	}
	t.Touchpoint = access.Touchpoint{Touchpoint: name, Action: access.OpenAction(action)}
	return nil
}

// document is a JSON object, its values as they were written.
type document map[string]json.RawMessage

// document returns the settings that were given, the host API's way.
func (s settings) document() (document, error) {
	d := document{}
	if s.From != "" {
		var err error
		if d, err = readSettings(s.From); err != nil {
			return nil, err
		}
	}
	flags, err := s.flags()
	if err != nil {
		return nil, err
	}
	maps.Copy(d, flags)
	if s.IdentificationKeyFile != "" {
		text, err := os.ReadFile(s.IdentificationKeyFile)
		if err != nil {
			return nil, fmt.Errorf("identification key: %w", err)
		}
		key := strings.TrimRight(string(text), "\r\n")
		if key == "" {
			return nil, fmt.Errorf("identification key: %s is empty", s.IdentificationKeyFile)
		}
		if d["identification_key"], err = json.Marshal(key); err != nil {
			return nil, err
		}
	}
	return d, nil
}

// flags returns the settings that were given as flags of their own.
func (s settings) flags() (document, error) {
	for _, list := range []*[]string{&s.RedirectURIs, &s.Permissions, &s.OAuthScopes, &s.Cities, &s.Categories} {
		*list = listed(*list)
	}
	s.Touchpoints = listed(s.Touchpoints)
	return documentOf(s)
}

// listed is the list that was given; one empty entry stands for the empty list.
func listed[T comparable](given []T) []T {
	if len(given) == 1 && given[0] == *new(T) {
		return []T{}
	}
	return given
}

func documentOf(v any) (d document, err error) {
	b, err := json.Marshal(v)
	if err != nil {
		return nil, err
	}
	return d, json.Unmarshal(b, &d)
}

// readSettings reads a JSON document with settings. The server ignores a field
// that it does not know; here one is a misspelling.
func readSettings(file string) (document, error) {
	text, err := os.ReadFile(file) //nolint:gosec // the operator names the file
	if err != nil {
		return nil, fmt.Errorf("settings: %w", err)
	}
	var d document
	err = json.Unmarshal(text, &d)
	if _, other := errors.AsType[*json.UnmarshalTypeError](err); other || err == nil && d == nil {
		return nil, fmt.Errorf("settings: %s: want a JSON object", file)
	}
	if err != nil {
		return nil, fmt.Errorf("settings: %s: %w", file, err)
	}
	known, err := documentOf(access.NewApp())
	if err != nil {
		return nil, err
	}
	names := slices.Sorted(maps.Keys(known))
	for _, name := range slices.Sorted(maps.Keys(d)) {
		if _, ok := known[name]; !ok {
			return nil, fmt.Errorf("settings: %s: there is no setting %q; did you mean %q?", file, name, nearest(name, names))
		}
	}
	return d, nil
}

// check refuses a call that would change nothing.
func (s settings) check() error {
	flags, err := s.flags()
	if err == nil && len(flags) == 0 && s.From == "" && s.IdentificationKeyFile == "" {
		return errors.New("nothing to set; give a setting, such as --event-url")
	}
	return err
}
