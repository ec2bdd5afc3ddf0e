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
	for _, r := range routes(o.Clock != nil) {
		if r.raw != nil {
			m.HandleRaw(r.Operation, func(w http.ResponseWriter, req *http.Request) error {
				if err := a.checkKey(req); err != nil {
					return err
				}
				return r.raw(a, w, req)
			})
			continue
		}
		m.Handle(r.Operation, func(req *http.Request) (any, error) {
			if err := a.checkKey(req); err != nil {
				return nil, err
			}
			return r.handle(a, req.WithContext(access.ByHost(req.Context())))
		})
	}
	return m, nil
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
