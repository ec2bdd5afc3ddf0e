// Package hostapi is the face that the marketplace's own backend calls:
// /host/v1. Through it the marketplace tells what happened, manages apps, and
// sees what became of every event. A 2xx means: on disk. Contract: section 8.
package hostapi

import (
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"errors"
	"log/slog"
	"net/http"
	"time"

	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/trace"

	"github.com/openkenar/openkenar/internal/access"
	"github.com/openkenar/openkenar/internal/account"
	"github.com/openkenar/openkenar/internal/api"
	"github.com/openkenar/openkenar/internal/chat"
	"github.com/openkenar/openkenar/internal/delivery"
	"github.com/openkenar/openkenar/internal/event"
	"github.com/openkenar/openkenar/internal/extension"
	"github.com/openkenar/openkenar/internal/market"
	"github.com/openkenar/openkenar/internal/oauth"
	"github.com/openkenar/openkenar/internal/status"
	"github.com/openkenar/openkenar/internal/webhook"
)

// API answers the calls of the marketplace.
type API struct {
	keys          [][sha256.Size]byte
	access        *access.Access
	accounts      *account.Accounts
	subscriptions *event.Subscriptions
	market        *market.Market
	chat          *chat.Chat
	extensions    *extension.Extensions
	deliveries    *delivery.Log
	engine        *delivery.Engine
	oauth         *oauth.Server
	now           func() time.Time
	clock         Clock
	faults        *webhook.Faults
	log           *slog.Logger
}

// Clock moves the platform's clock; only dev mode has one.
type Clock interface {
	// Advance moves the clock, and returns once everything that fell due on
	// the way has been done, in order.
	Advance(ctx context.Context, by time.Duration) (now time.Time, err error)
}

// Options of New.
type Options struct {
	HostKeys      []string // any of them lets in
	Access        *access.Access
	Accounts      *account.Accounts
	Subscriptions *event.Subscriptions
	Market        *market.Market
	Chat          *chat.Chat
	Extensions    *extension.Extensions
	Deliveries    *delivery.Log
	Engine        *delivery.Engine
	OAuth         *oauth.Server
	Now           func() time.Time
	Clock         Clock           // nil outside dev mode
	Faults        *webhook.Faults // of dev mode, with Clock
	Log           *slog.Logger
	Tracer        trace.Tracer // of calls; default: none
}

// New returns the face's router.
func New(o Options) (*api.Mux, error) {
	if len(o.HostKeys) == 0 {
		return nil, errors.New("hostapi: at least one host key is needed")
	}
	if o.Access == nil || o.Accounts == nil || o.Subscriptions == nil || o.Market == nil || o.Chat == nil || o.Extensions == nil ||
		o.Deliveries == nil || o.Engine == nil || o.OAuth == nil || o.Now == nil || o.Log == nil ||
		(o.Clock == nil) != (o.Faults == nil) {
		return nil, errors.New("hostapi: every option but Tracer is needed; Clock and Faults in dev mode alone")
	}
	a := &API{
		access: o.Access, accounts: o.Accounts, subscriptions: o.Subscriptions, market: o.Market, chat: o.Chat, extensions: o.Extensions,
		deliveries: o.Deliveries, engine: o.Engine, oauth: o.OAuth, now: o.Now, clock: o.Clock, faults: o.Faults, log: o.Log,
	}
	for _, k := range o.HostKeys {
		a.keys = append(a.keys, sha256.Sum256([]byte(k)))
	}
	m := api.NewMux(api.Options{Log: o.Log, Tracer: o.Tracer, Parents: propagation.TraceContext{}})
	for pattern, h := range a.routes() {
		m.Handle(pattern, func(r *http.Request) (any, error) {
			if err := a.checkKey(r); err != nil {
				return nil, err
			}
			return h(r.WithContext(access.ByHost(r.Context())))
		})
	}
	m.HandleRaw("GET /host/v1/feed", func(w http.ResponseWriter, r *http.Request) error {
		if err := a.checkKey(r); err != nil {
			return err
		}
		return a.feed(w, r)
	})
	return m, nil
}

func (a *API) routes() map[string]api.Handler {
	routes := map[string]api.Handler{
		"PUT /host/v1/users/{user}":                                a.putUser,
		"DELETE /host/v1/users/{user}":                             a.deleteUser,
		"GET /host/v1/users/{user}/grants":                         a.listGrants,
		"DELETE /host/v1/users/{user}/grants/{app}":                a.revokeGrant,
		"GET /host/v1/users/{user}/notifications":                  a.listNotifications,
		"PUT /host/v1/posts/{token}":                               a.putPost,
		"DELETE /host/v1/posts/{token}":                            a.deletePost,
		"PUT /host/v1/conversations/{id}":                          a.putConversation,
		"PUT /host/v1/conversations/{id}/block":                    a.block,
		"POST /host/v1/conversations/{id}/messages":                a.postMessage,
		"GET /host/v1/conversations/{id}/messages":                 a.listMessages,
		"DELETE /host/v1/messages/{id}":                            a.deleteMessage,
		"POST /host/v1/messages/{id}/buttons/{row}/{column}/click": a.clickMessage,
		"POST /host/v1/notifications/{id}/buttons/{n}/click":       a.clickNotification,
		"GET /host/v1/extensions":                                  a.listExtensions,
		"POST /host/v1/extensions/{app}/open":                      a.openExtension,
		"PUT /host/v1/transactions/{id}":                           a.putTransaction,
		"GET /host/v1/oauth/logins/{challenge}":                    a.getLogin,
		"POST /host/v1/oauth/logins/{challenge}":                   a.acceptLogin,
		"POST /host/v1/batch":                                      a.batch,
		"GET /host/v1/apps":                                        a.listApps,
		"POST /host/v1/apps":                                       a.createApp,
		"GET /host/v1/apps/{slug}":                                 a.getApp,
		"PATCH /host/v1/apps/{slug}":                               a.changeApp,
		"POST /host/v1/apps/{slug}/test-event":                     a.testEvent,
		"GET /host/v1/apps/{slug}/signing-secrets":                 a.listSecrets,
		"POST /host/v1/apps/{slug}/signing-secrets":                a.addSecret,
		"GET /host/v1/apps/{slug}/keys":                            a.listKeys,
		"POST /host/v1/apps/{slug}/keys":                           a.createKey,
		"DELETE /host/v1/apps/{slug}/keys/{id}":                    a.revokeKey,
		"POST /host/v1/apps/{slug}/client-secret":                  a.newClientSecret,
		"GET /host/v1/apps/{slug}/subscriptions":                   a.listSubscriptions,
		"GET /host/v1/deliveries":                                  a.listDeliveries,
		"GET /host/v1/deliveries/{id}":                             a.getDelivery,
		"POST /host/v1/deliveries/{id}/redeliver":                  a.redeliver,
		"POST /host/v1/redeliveries":                               a.redeliverAll,
		"GET /host/v1/events/{id}":                                 a.getEvent,
		"POST /host/v1/operators":                                  a.createOperator,
		"PUT /host/v1/operators/{name}/password":                   a.setPassword,
	}
	if a.clock != nil {
		routes["POST /host/v1/dev/tokens"] = a.issueToken
		routes["POST /host/v1/dev/clock"] = a.advanceClock
		routes["POST /host/v1/dev/faults"] = a.addFault
		routes["GET /host/v1/dev/faults"] = a.listFaults
		routes["DELETE /host/v1/dev/faults"] = a.clearFaults
	}
	return routes
}

// checkKey refuses a call without a host key.
func (a *API) checkKey(r *http.Request) error {
	text := api.Bearer(r)
	if text == "" {
		return status.New(status.Unauthenticated, "no host key; send it as Authorization: Bearer HOST_KEY")
	}
	given, valid := sha256.Sum256([]byte(text)), 0
	for i := range a.keys { // all of them: the time tells nothing
		valid |= subtle.ConstantTimeCompare(given[:], a.keys[i][:])
	}
	if valid == 0 {
		return status.New(status.Unauthenticated, "the host key is not valid")
	}
	return nil
}
