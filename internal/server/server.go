// Package server is the only wiring: it opens the store, makes the domain
// packages and the faces over it, and runs them. Everything that it starts it
// stops, in reverse order. Nothing else in the project knows how the parts fit
// together.
package server

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.opentelemetry.io/otel/trace"

	"github.com/openkenar/openkenar/internal/access"
	"github.com/openkenar/openkenar/internal/account"
	"github.com/openkenar/openkenar/internal/api"
	"github.com/openkenar/openkenar/internal/chat"
	"github.com/openkenar/openkenar/internal/contract"
	"github.com/openkenar/openkenar/internal/delivery"
	"github.com/openkenar/openkenar/internal/event"
	"github.com/openkenar/openkenar/internal/extension"
	"github.com/openkenar/openkenar/internal/hostapi"
	"github.com/openkenar/openkenar/internal/market"
	"github.com/openkenar/openkenar/internal/oauth"
	"github.com/openkenar/openkenar/internal/openapi"
	"github.com/openkenar/openkenar/internal/panel"
	"github.com/openkenar/openkenar/internal/status"
	"github.com/openkenar/openkenar/internal/store"
	"github.com/openkenar/openkenar/internal/webhook"
)

const (
	// DefaultListen is the address of the one listener.
	DefaultListen = "127.0.0.1:7700"

	headTimeout = 10 * time.Second  // to read the head of a request
	readTimeout = 60 * time.Second  // to read a request
	idleTimeout = 120 * time.Second // of a connection between requests
	maxHead     = 64 << 10          // bytes of a request's head
	mediaDir    = "media"           // in the data directory

	minRetention = 96 * time.Hour // the retries of a delivery do not go on as long
)

// Options of a Server.
type Options struct {
	Listen string // default DefaultListen; port 0 takes a free one
	// OperationsListen is where metrics are shown, besides health; default: on
	// the one listener.
	OperationsListen string
	Data             string // the data directory: keys, media, and the ledger unless there is a database
	Database         string // URL of the PostgreSQL database that holds the ledger
	HostKeys         []string
	HostKeyFile      string // one key a line; used when HostKeys is empty
	MasterKey        string // default: kept in the data directory
	PublicURL        string // where browsers and apps reach us; default: http:// and the address
	LoginURL         string // the marketplace's login page; not used in dev mode
	AllowTargets     []netip.Prefix
	// EgressBind is the local addresses that connections to apps come from;
	// EgressPublished what apps see of them, default the same.
	EgressBind      []netip.Addr
	EgressPublished []netip.Prefix
	TrustedProxies  []netip.Prefix // whose X-Forwarded-For says where a request comes from
	Retention       time.Duration  // how long what is finished is kept; 0: for ever
	Version         string
	Dev             *DevOptions // dev mode when not nil
	Log             *slog.Logger
	Traces          TraceOptions
	// Transport replaces how apps are called; for tests.
	Transport http.RoundTripper
}

// Server is the whole platform in one process.
type Server struct {
	o     Options
	log   *slog.Logger
	clock *clock
	keys  hostKeys

	registry *prometheus.Registry
	audits   *audits
	tracer   trace.Tracer // nil: nobody traces

	tap    *webhook.Tap    // shows what goes to apps
	faults *webhook.Faults // nil outside dev mode

	keyring  *access.Keyring
	store    *store.Store
	engine   *delivery.Engine
	node     *delivery.Node // nil: the ledger is this server's alone
	access   *access.Access
	quotas   *access.Quotas // nil in dev mode
	market   *market.Market
	chat     *chat.Chat
	tail     *delivery.Tail
	media    *chat.Media
	panel    *panel.Panel
	handler  http.Handler
	listener net.Listener
	// Of operations; nil where they have no listener of their own.
	operations         http.Handler
	operationsListener net.Listener
	ready              atomic.Bool
	failed             chan error
	egress             []netip.Prefix // what is published

	stops []stop // in the order of starting
}

type stop struct {
	name string
	stop func(context.Context) error
}

// New opens the ledger and wires everything. Nothing is listening yet; Stop
// undoes it.
func New(ctx context.Context, o Options) (_ *Server, err error) {
	if o.Data == "" {
		return nil, errors.New("server: Data is needed")
	}
	if err := checkAddresses(o); err != nil {
		return nil, err
	}
	seen, err := egress(ctx, o)
	if err != nil {
		return nil, err
	}
	if o.Retention != 0 && o.Retention < minRetention {
		return nil, fmt.Errorf("--retention: %s is less than retries may go on; give at least %s, or 0 to keep everything", o.Retention, minRetention)
	}
	s := &Server{o: o, log: o.Log, failed: make(chan error, 2), egress: seen}
	if s.log == nil {
		s.log = slog.New(slog.DiscardHandler)
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, s.Stop(context.WithoutCancel(ctx)))
		}
	}()
	s.clock = &clock{}
	s.registry = newRegistry()
	ledger := Place{Data: o.Data, Database: o.Database}.options()
	ledger.Now, ledger.Log, ledger.Metrics = s.clock.Now, s.log, s.registry
	if s.store, err = store.Open(ctx, ledger); err != nil {
		return nil, err
	}
	s.onStop("store", func(context.Context) error { return s.store.Close() })
	s.audits = newAudits(s.store, s.registry, s.log)
	if err := s.startTracing(ctx); err != nil {
		return nil, err
	}
	if err := os.MkdirAll(o.Data, 0o700); err != nil {
		return nil, fmt.Errorf("make the data directory: %w", err)
	}
	if err := s.clock.resume(ctx, s.store); err != nil {
		return nil, err
	}
	if s.keys, err = loadHostKeys(o, s.log); err != nil {
		return nil, err
	}
	if s.keyring, err = loadKeyring(ctx, o, s.store, s.log); err != nil {
		return nil, err
	}
	return s, s.wire()
}

// checkAddresses refuses addresses that browsers could not be sent to.
func checkAddresses(o Options) error {
	for name, address := range map[string]string{"--public-url": o.PublicURL, "--login-url": o.LoginURL} {
		if address == "" {
			continue
		}
		u, err := url.Parse(address)
		if err != nil || u.Host == "" || u.User != nil || u.Fragment != "" || u.Scheme != "https" && u.Scheme != "http" {
			return fmt.Errorf("%s: %q is not an http or https URL; write https://host", name, address)
		}
		if name == "--public-url" && (strings.Trim(u.Path, "/") != "" || u.RawQuery != "") {
			return fmt.Errorf("%s: %q has a path or a query; the platform's paths follow the host directly", name, address)
		}
	}
	return nil
}

// egress returns the ranges that apps see our connections come from, and
// refuses what they cannot come from.
func egress(ctx context.Context, o Options) ([]netip.Prefix, error) {
	if err := webhook.CheckBind(ctx, o.EgressBind); err != nil {
		return nil, fmt.Errorf("--egress-bind: %w", err)
	}
	seen := o.EgressPublished
	if len(seen) == 0 {
		for _, a := range o.EgressBind {
			seen = append(seen, netip.PrefixFrom(a.Unmap(), a.Unmap().BitLen()))
		}
	}
	ranges := []netip.Prefix{}
	for _, p := range seen {
		if !p.IsValid() || p.Addr().Is4In6() {
			return nil, fmt.Errorf("--egress-published: %q is not a range; write 203.0.113.0/24 or 2001:db8::/32", p)
		}
		if p = p.Masked(); !slices.Contains(ranges, p) {
			ranges = append(ranges, p)
		}
	}
	return ranges, nil
}

// wire makes the domain packages and the faces.
func (s *Server) wire() error {
	allowed := s.o.AllowTargets
	if s.o.Dev != nil {
		allowed = append(webhook.Loopback(), allowed...)
	}
	guard := webhook.NewGuard(allowed...)
	s.tap = webhook.NewTap(s.o.Dev != nil)
	if s.o.Dev != nil {
		s.faults = &webhook.Faults{}
	}
	client := webhook.NewClient(webhook.Options{
		Guard: guard, Bind: s.o.EgressBind, Version: s.o.Version, Transport: s.o.Transport, Tap: s.tap, Faults: s.faults,
	})
	s.onStop("client", func(context.Context) error { client.Close(); return nil })

	// Access tells the engine of changes and is asked by it for endpoints.
	var err error
	s.access, err = access.New(access.Options{
		Store: s.store.Access(), Keyring: s.keyring, Guard: guard, Now: s.clock.Now, Log: s.log,
		Changed: func(app string) { s.engine.Wake(app) },
		Silence: func(ctx context.Context, grant int64) error { return s.engine.Revoke(ctx, grant) },
	})
	if err != nil {
		return err
	}
	s.engine, err = delivery.New(delivery.Options{
		Store: s.store, Endpoints: s.access, Client: client, Now: s.clock.Now, Retention: s.o.Retention,
		Shared: s.store.Shared(), Log: s.log, Tracer: s.tracer, Metrics: s.registry,
	})
	if err != nil {
		return err
	}
	s.store.OnCommit(s.engine.Accept)
	if s.tail, err = delivery.NewTail(s.store, s.engine); err != nil {
		return err
	}
	s.store.OnHappen(s.tail.Happened)
	s.store.OnAppear(s.engine.Look)
	log, err := delivery.NewLog(s.store, s.engine)
	if err != nil {
		return err
	}
	subscriptions, err := event.NewSubscriptions(event.SubscriptionsOptions{Store: s.store, Now: s.clock.Now})
	if err != nil {
		return err
	}
	s.market, err = market.New(market.Options{Store: s.store.Market(), Access: s.access, Now: s.clock.Now, Erase: s.engine.Erase})
	if err != nil {
		return err
	}
	s.media, err = chat.NewMedia(chat.MediaOptions{
		Store: s.store, Dir: filepath.Join(s.o.Data, mediaDir), SyncDir: syncDir, Now: s.clock.Now, Log: s.log,
		Link: func(path string, expires time.Time) string {
			return s.publicURL() + path + "?" + s.access.SignLink(path, expires)
		},
	})
	if err != nil {
		return err
	}
	s.chat, err = chat.New(chat.Options{
		Store: s.store.Chat(), Access: s.access, Media: s.media, Now: s.clock.Now, Erase: s.engine.Erase,
	})
	if err != nil {
		return err
	}
	s.store.OnFeed(s.chat.Feed().Grown)
	if s.store.Shared() {
		s.node, err = delivery.NewNode(delivery.NodeOptions{
			Members: s.store, Engine: s.engine, Name: nodeName(s.o), Version: s.o.Version, Log: s.log,
			AppChanged: s.access.Forget, FeedGrown: s.chat.Feed().Grown,
		})
		if err != nil {
			return err
		}
	}
	extensions, err := extension.New(extension.Options{
		Store: s.store, Access: s.access, Chat: s.chat, Client: client, Guard: guard, Home: s.publicURL, Now: s.clock.Now, Log: s.log,
		Tracer: s.tracer, Metrics: s.registry,
	})
	if err != nil {
		return err
	}
	if s.o.Dev == nil { // in dev mode quotas are off
		s.quotas, err = access.NewQuotas(access.QuotaOptions{Store: s.store, Now: s.clock.Now, Log: s.log})
		if err != nil {
			return err
		}
	}
	open, err := openapi.New(openapi.Options{
		Access: s.access, Quotas: s.quotas, Subscriptions: subscriptions, Market: s.market, Chat: s.chat, Media: s.media,
		Tail: s.tail, Log: s.log, Tracer: s.tracer,
	})
	if err != nil {
		return err
	}
	authorization := oauth.Options{
		Store: s.store.OAuth(), Access: s.access, Issuer: s.publicURL, LoginURL: s.o.LoginURL, Now: s.clock.Now, Log: s.log,
	}
	if s.o.Dev != nil {
		authorization.People = []string{demoSeller, demoBuyer}
	}
	authorizer, err := oauth.New(authorization)
	if err != nil {
		return err
	}
	accounts, err := account.New(account.Options{Store: s.store.Accounts(), Now: s.clock.Now})
	if err != nil {
		return err
	}
	options := hostapi.Options{
		HostKeys: s.keys.list, OAuth: authorizer, Access: s.access, Accounts: accounts, Subscriptions: subscriptions, Market: s.market, Chat: s.chat,
		Extensions: extensions, Deliveries: log, Engine: s.engine, Now: s.clock.Now, Log: s.log,
		Tracer: s.tracer,
	}
	if s.o.Dev != nil {
		options.Faults = s.faults
		options.Clock = devClock{clock: s.clock, engine: s.engine, store: s.store}
	}
	host, err := hostapi.New(options)
	if err != nil {
		return err
	}
	pages := panel.Options{
		Access: s.access, Accounts: accounts, Subscriptions: subscriptions, Extensions: extensions, Deliveries: log, Engine: s.engine,
		Tap: s.tap, Quotas: s.quotas, PublicURL: s.publicURL, Now: s.clock.Now, Log: s.log,
		Open: s.o.Dev != nil && onLoopback(cmp.Or(s.o.Listen, DefaultListen)),
	}
	if s.store.Shared() {
		pages.Nodes = s.store.Nodes
	}
	if s.o.Dev != nil {
		pages.Sim = &panel.SimOptions{
			Market: s.market, Chat: s.chat, Faults: s.faults, Advance: options.Clock.Advance,
			World: panel.World{
				App: demoApp, Post: demoPost, Conversation: demoConversation, Seller: demoSeller, Buyer: demoBuyer,
				Env: filepath.Join(s.o.Data, devEnvFile),
			},
		}
	}
	if s.panel, err = panel.New(pages); err != nil {
		return err
	}
	s.handler = s.faces(open, host, authorizer.Handler())
	return nil
}

// onLoopback says whether only this machine reaches an address.
func onLoopback(listen string) bool {
	host, _, err := net.SplitHostPort(listen)
	if err != nil {
		return false
	}
	address, err := netip.ParseAddr(host)
	return host == "localhost" || err == nil && address.Unmap().IsLoopback()
}

// nodeName is what this server is called among those that share its database:
// the machine and its data directory.
func nodeName(o Options) string {
	host, err := os.Hostname()
	if err != nil {
		host = "localhost"
	}
	if path, err := filepath.Abs(o.Data); err == nil {
		return host + ":" + path
	}
	return host + ":" + o.Data
}

// faces sends a request to the face of its prefix.
func (s *Server) faces(open, host *api.Mux, authorization http.Handler) http.Handler {
	operations := api.NewMux(api.Options{Log: s.log})
	operations.Handle(contract.Alive(), func(*http.Request) (any, error) { return api.Empty{}, nil })
	operations.Handle(contract.Ready(), func(r *http.Request) (any, error) {
		if !s.ready.Load() {
			return nil, status.New(status.Unavailable, "not ready: the server starts or stops")
		}
		return api.Empty{}, s.store.Ready(r.Context())
	})
	operations.HandleRaw(contract.Metrics(), s.metrics())
	about := s.published(open.Operations(), host.Operations(), operations.Operations())
	apart := s.o.OperationsListen != ""
	if apart {
		s.operations = split(contract.WellKnownPath, about, operations)
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch {
		case strings.HasPrefix(r.URL.Path, "/host/v1/"):
			host.ServeHTTP(w, r)
		case strings.HasPrefix(r.URL.Path, "/oauth2/") || r.URL.Path == "/.well-known/oauth-authorization-server":
			authorization.ServeHTTP(w, r)
		case r.URL.Path == "/panel" || strings.HasPrefix(r.URL.Path, "/panel/"),
			s.o.Dev != nil && (r.URL.Path == "/sim" || strings.HasPrefix(r.URL.Path, "/sim/")):
			s.panel.ServeHTTP(w, r)
		case r.URL.Path == "/healthz" || r.URL.Path == "/readyz" || r.URL.Path == "/metrics" && !apart:
			operations.ServeHTTP(w, r)
		case strings.HasPrefix(r.URL.Path, contract.WellKnownPath):
			about.ServeHTTP(w, r)
		default:
			open.ServeHTTP(w, r)
		}
	})
}

// Start begins to deliver and to listen, and in dev mode makes the demo world.
func (s *Server) Start(ctx context.Context) (err error) {
	if s.o.Dev != nil {
		if err := s.forgetWorld(); err != nil {
			return err
		}
	}
	var listen net.ListenConfig
	if s.listener, err = listen.Listen(ctx, "tcp", cmp.Or(s.o.Listen, DefaultListen)); err != nil {
		return fmt.Errorf("listen: %w; choose another address with --listen", err)
	}
	if s.operations != nil {
		if s.operationsListener, err = listen.Listen(ctx, "tcp", s.o.OperationsListen); err != nil {
			err = fmt.Errorf("listen for operations: %w; choose another address with --operations-listen", err)
			return errors.Join(err, s.listener.Close())
		}
		s.serve("operations", s.operationsListener, s.operations)
	}
	if err := s.engine.Start(ctx); err != nil {
		return errors.Join(err, s.listener.Close())
	}
	if s.node != nil {
		s.onStop("node", s.node.Stop)
	}
	s.onStop("engine", s.engine.Stop)
	if s.node != nil {
		if err := s.node.Start(ctx); err != nil {
			return errors.Join(err, s.listener.Close())
		}
	}
	s.audits.start(ctx)
	s.onStop("audits", func(context.Context) error { s.audits.stop(); return nil })
	s.media.Start(ctx)
	s.onStop("media", func(context.Context) error { s.media.Stop(); return nil })
	if s.quotas != nil {
		s.quotas.Start(ctx)
		s.onStop("quotas", func(context.Context) error { s.quotas.Stop(); return nil })
	}
	s.serve("listener", s.listener, forwarded(s.o.TrustedProxies, s.handler))
	s.onStop("feed", func(context.Context) error { s.chat.Feed().Close(); return nil }) // who waits for it holds the listener
	s.onStop("tail", func(context.Context) error { s.tail.Close(); return nil })
	s.onStop("panel", func(context.Context) error { s.panel.Close(); return nil })
	if s.o.Dev == nil {
		s.ready.Store(true)
		return nil
	}
	world, err := s.makeWorld(ctx)
	if err != nil {
		return fmt.Errorf("make the demo world: %w", err)
	}
	s.ready.Store(true)
	return s.tell(world)
}

// serve answers what comes to a listener, until Stop.
func (s *Server) serve(name string, listener net.Listener, handler http.Handler) {
	server := &http.Server{
		Handler: handler, ReadHeaderTimeout: headTimeout, ReadTimeout: readTimeout, IdleTimeout: idleTimeout,
		MaxHeaderBytes: maxHead, ErrorLog: slog.NewLogLogger(s.log.Handler(), slog.LevelWarn),
	}
	var serving sync.WaitGroup
	serving.Go(func() {
		if err := server.Serve(listener); !errors.Is(err, http.ErrServerClosed) {
			s.failed <- fmt.Errorf("serve: %w", err)
		}
	})
	s.onStop(name, func(ctx context.Context) error {
		// Whoever stands still has half of the time: sends want some too.
		half, cancel := context.WithTimeout(ctx, time.Until(deadlineOf(ctx))/2)
		defer cancel()
		if err := server.Shutdown(half); err != nil {
			s.log.WarnContext(ctx, "calls under way were broken off", "err", err)
			if err := server.Close(); err != nil {
				return err
			}
		}
		serving.Wait()
		return nil
	})
}

// deadlineOf is when a context ends, or a minute from now.
func deadlineOf(ctx context.Context) time.Time {
	if end, ok := ctx.Deadline(); ok {
		return end
	}
	return time.Now().Add(time.Minute)
}

// Addr returns the address that Start listens on.
func (s *Server) Addr() string { return s.listener.Addr().String() }

// OperationsAddr returns the address where metrics are shown.
func (s *Server) OperationsAddr() string {
	if s.operationsListener == nil {
		return s.Addr()
	}
	return s.operationsListener.Addr().String()
}

// publicURL is where browsers and apps reach us.
func (s *Server) publicURL() string {
	if s.o.PublicURL != "" {
		u, err := url.Parse(s.o.PublicURL) // checked by New; the scheme becomes lower-case
		if err == nil {
			return u.Scheme + "://" + u.Host
		}
	}
	return "http://" + s.Addr()
}

// Failed is told when the server can no longer serve.
func (s *Server) Failed() <-chan error { return s.failed }

// HostKeyMade returns the file of a host key that this start has made, or "".
func (s *Server) HostKeyMade() string { return s.keys.made }

func (s *Server) onStop(name string, f func(context.Context) error) {
	s.stops = append(s.stops, stop{name, f})
}

// lastWords is how long after the time of Stop what it broke off may still be
// recorded.
const lastWords = time.Second

// Stop ends what New and Start began, the last first: no new calls, then no
// new sends, then the ledger. Those under way have until ctx ends; a ledger that
// does not answer then is given up, as by a crash, and Stop returns some two
// seconds later. Calling it again does nothing.
func (s *Server) Stop(ctx context.Context) error {
	s.ready.Store(false)
	if s.store != nil {
		over := time.AfterFunc(time.Until(deadlineOf(ctx))+lastWords, func() { _ = s.store.Close() })
		defer over.Stop()
	}
	var err error
	for len(s.stops) > 0 {
		last := s.stops[len(s.stops)-1]
		s.stops = s.stops[:len(s.stops)-1]
		if e := last.stop(ctx); e != nil {
			err = errors.Join(err, fmt.Errorf("stop %s: %w", last.name, e))
		}
	}
	return err
}
