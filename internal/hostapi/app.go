package hostapi

import (
	"net/http"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/google/uuid"

	"github.com/openkenar/openkenar/internal/access"
	"github.com/openkenar/openkenar/internal/api"
	"github.com/openkenar/openkenar/internal/chat"
	"github.com/openkenar/openkenar/internal/event"
	"github.com/openkenar/openkenar/internal/status"
	"github.com/openkenar/openkenar/internal/webhook"
	"github.com/openkenar/openkenar/internal/wire"
)

type appPage struct {
	Apps []access.App `json:"apps"`
	Next *string      `json:"next"`
}

func (a *API) listApps(r *http.Request) (any, error) {
	apps, next, err := a.access.Apps(r.Context(), r.URL.Query().Get("after"))
	if err != nil {
		return nil, err
	}
	return appPage{append([]access.App{}, apps...), api.Next(next)}, nil
}

// newApp is an app that is made: its settings have their defaults.
type newApp struct{ access.App }

func (a *API) createApp(r *http.Request) (any, error) {
	in := newApp{access.NewApp()}
	if err := api.Decode(r, &in); err != nil {
		return nil, err
	}
	return a.access.CreateApp(r.Context(), in.App)
}

func (a *API) getApp(r *http.Request) (any, error) {
	return a.access.App(r.Context(), r.PathValue("slug"))
}

// changeApp changes the settings that the body names and leaves the others.
func (a *API) changeApp(r *http.Request) (any, error) {
	body, err := api.Read(r, 0)
	if err != nil {
		return nil, err
	}
	if err := wire.Unmarshal(body, &access.App{}); err != nil {
		return nil, err
	}
	slug := r.PathValue("slug")
	return a.access.UpdateApp(r.Context(), slug, func(app *access.App) error {
		err := wire.Unmarshal(body, app)
		app.Slug = slug // the path's id wins over the body's
		return err
	})
}

// tested is what came back from a test event.
type tested struct {
	Delivered  bool   `json:"delivered"`
	Status     *int   `json:"status"`
	Answer     string `json:"answer"`
	Error      string `json:"error"`
	DurationMS int64  `json:"duration_ms"`
	Request    string `json:"request"`
	Body       string `json:"body"`
}

func (a *API) testEvent(r *http.Request) (any, error) {
	payload, err := chat.Sample(a.now())
	if err != nil {
		return nil, err
	}
	body := event.Envelope(event.NewChatbotMessage, []byte(`{"openkenar_test":true}`), payload)
	result, err := a.engine.Test(r.Context(), r.PathValue("slug"), "test-"+uuid.NewString(), body)
	if err != nil {
		return nil, err
	}
	return tested{
		Delivered: result.Reason == webhook.OK, Status: code(result.Status), Answer: readable(result.Answer),
		Error: result.Error, DurationMS: result.Duration.Milliseconds(), Request: result.Request, Body: string(body),
	}, nil
}

// code is an HTTP status, null where there was no answer.
func code(status int) *int {
	if status == 0 {
		return nil
	}
	return &status
}

// readable shows an answer's first bytes as text; a character that was cut in
// two at the end is left out.
func readable(answer []byte) string {
	if !utf8.Valid(answer) {
		for range min(utf8.UTFMax, len(answer)) {
			if r, n := utf8.DecodeLastRune(answer); r != utf8.RuneError || n > 1 {
				break
			}
			answer = answer[:len(answer)-1]
		}
	}
	return strings.ToValidUTF8(string(answer), "\uFFFD")
}

type signingSecret struct {
	ID        string    `json:"id"`
	Secret    string    `json:"secret"`
	CreatedAt wire.Time `json:"created_at"`
	EndsAt    wire.Time `json:"ends_at"`
}

func showSecret(s access.Secret) signingSecret {
	return signingSecret{
		ID: strconv.FormatInt(s.ID, 10), Secret: s.Text, CreatedAt: wire.Time{Time: s.CreatedAt}, EndsAt: wire.Time{Time: s.EndsAt},
	}
}

type secretPage struct {
	Secrets []signingSecret `json:"signing_secrets"`
	Next    *string         `json:"next"`
}

func (a *API) listSecrets(r *http.Request) (any, error) {
	secrets, err := a.access.Secrets(r.Context(), r.PathValue("slug"))
	if err != nil {
		return nil, err
	}
	out := secretPage{Secrets: make([]signingSecret, len(secrets))}
	for i, s := range secrets {
		out.Secrets[i] = showSecret(s)
	}
	return out, nil
}

type newSecret struct {
	OlderEndsIn string `json:"older_ends_in"`
}

// addSecret adds a signing secret; the older ones end after a day, or after
// "older_ends_in".
func (a *API) addSecret(r *http.Request) (any, error) {
	var in newSecret
	if err := api.Decode(r, &in); err != nil {
		return nil, err
	}
	overlap := time.Duration(-1)
	if in.OlderEndsIn != "" {
		var err error
		if overlap, err = duration("older_ends_in", in.OlderEndsIn); err != nil {
			return nil, err
		}
	}
	s, err := a.access.RotateSecret(r.Context(), r.PathValue("slug"), overlap)
	return showSecret(s), err
}

// duration reads a span of time such as "24h".
func duration(field, text string) (time.Duration, error) {
	const most = 10 * 365 * 24 * time.Hour
	d, err := time.ParseDuration(text)
	if err != nil || d < 0 || d > most {
		return 0, status.New(status.Invalid, `%s: not a span of time between 0 and ten years; write "90s", "15m" or "24h"`, field)
	}
	return d, nil
}

type key struct {
	ID          string              `json:"id"`
	Title       string              `json:"title"`
	Prefix      string              `json:"prefix"`
	Permissions []access.Permission `json:"permissions"`
	CreatedAt   wire.Time           `json:"created_at"`
	LastUsedAt  wire.Time           `json:"last_used_at"`
	RevokedAt   wire.Time           `json:"revoked_at"`
}

type keyPage struct {
	Keys []key   `json:"keys"`
	Next *string `json:"next"`
}

func (a *API) listKeys(r *http.Request) (any, error) {
	keys, next, err := a.access.Keys(r.Context(), r.PathValue("slug"), r.URL.Query().Get("after"))
	if err != nil {
		return nil, err
	}
	out := keyPage{make([]key, len(keys)), api.Next(next)}
	for i, k := range keys {
		out.Keys[i] = key{
			ID: strconv.FormatInt(k.ID, 10), Title: k.Title, Prefix: k.Prefix, Permissions: k.Permissions,
			CreatedAt: wire.Time{Time: k.CreatedAt}, LastUsedAt: wire.Time{Time: k.LastUsedAt}, RevokedAt: wire.Time{Time: k.RevokedAt},
		}
	}
	return out, nil
}

type newKey struct {
	Title       string                       `json:"title"`
	Permissions wire.List[access.Permission] `json:"permissions"`
}

type createdKey struct {
	ID  string `json:"id"`
	Key string `json:"key"` // shown this once
}

func (a *API) createKey(r *http.Request) (any, error) {
	var in newKey
	if err := api.Decode(r, &in); err != nil {
		return nil, err
	}
	k, text, err := a.access.CreateKey(r.Context(), r.PathValue("slug"), in.Title, in.Permissions)
	return createdKey{strconv.FormatInt(k.ID, 10), text}, err
}

func (a *API) revokeKey(r *http.Request) (any, error) {
	return api.Empty{}, a.access.RevokeKey(r.Context(), r.PathValue("slug"), r.PathValue("id"))
}

type clientSecret struct {
	Secret string `json:"client_secret"`
}

func (a *API) newClientSecret(r *http.Request) (any, error) {
	secret, err := a.access.NewClientSecret(r.Context(), r.PathValue("slug"))
	return clientSecret{secret}, err
}

type subscription struct {
	ID        string      `json:"id"`
	Type      event.Type  `json:"event_type"`
	Resource  *string     `json:"event_resource_id"`
	User      string      `json:"user"` // the marketplace's own id
	UserID    string      `json:"user_id"`
	Metadata  wire.Object `json:"metadata"`
	ExpiresAt wire.Time   `json:"expires_at"`
}

type subscriptionPage struct {
	Subscriptions []subscription `json:"subscriptions"`
	Next          *string        `json:"next"`
}

func (a *API) listSubscriptions(r *http.Request) (any, error) {
	app := r.PathValue("slug")
	if _, err := a.access.App(r.Context(), app); err != nil {
		return nil, err
	}
	subscriptions, next, err := a.subscriptions.List(r.Context(), app, r.URL.Query().Get("after"))
	if err != nil {
		return nil, err
	}
	out := subscriptionPage{make([]subscription, len(subscriptions)), api.Next(next)}
	for i, s := range subscriptions {
		out.Subscriptions[i] = subscription{
			ID: strconv.FormatInt(s.ID, 10), Type: s.Type, Resource: api.Next(s.Resource), User: s.User,
			UserID: a.access.UserID(s.App, s.User), Metadata: s.Metadata, ExpiresAt: wire.Time{Time: s.ExpiresAt},
		}
	}
	return out, nil
}
