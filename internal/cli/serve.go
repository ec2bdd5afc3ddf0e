package cli

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"runtime/debug"
	"strings"
	"time"

	"github.com/openkenar/openkenar/internal/server"
)

// drain is how long calls and sends under way have to end when the server
// stops.
const drain = 15 * time.Second

// listenFlags are the flags of every command that runs the server.
type listenFlags struct {
	Listen           string         `config:"" default:"127.0.0.1:7700" help:"Address to listen on; port 0 takes a free one." placeholder:"HOST:PORT"`
	OperationsListen string         `config:"" help:"Address for /metrics, and for /healthz and /readyz besides. Default: --listen shows them." placeholder:"HOST:PORT"`
	AllowTargets     []netip.Prefix `config:"" help:"Ranges that apps' URLs may point to although they are not public." placeholder:"CIDR"`
	EgressBind       []netip.Addr   `config:"" help:"Local addresses that connections to apps come from, in turn, each to targets of its family. Default: the system's choice." placeholder:"ADDR"`
	EgressPublished  []netip.Prefix `config:"" help:"Ranges that apps see our connections come from, published at /.well-known/openkenar/egress.json. Default: those of --egress-bind." placeholder:"CIDR"`
	TrustedProxies   []netip.Prefix `config:"" help:"Ranges of reverse proxies whose X-Forwarded-For says where a request comes from. Default: none is believed." placeholder:"CIDR"`
	PublicURL        string         `config:"" name:"public-url" help:"Where browsers and apps reach the platform. Default: the address it listens on." placeholder:"URL"`
	Retention        time.Duration  `config:"" default:"720h" help:"How long an event and its deliveries are kept once they are finished; 0 keeps everything." placeholder:"DURATION"`
	Database         databaseURL    `config:"" help:"URL of the PostgreSQL database that holds the ledger, made by openkenar migrate. Best set as OPENKENAR_DATABASE, or with its password in ~/.pgpass. Default: the ledger is in the data directory." placeholder:"URL"`
	HostKeyFile      string         `config:"" help:"File with the host keys, one a line. Default: OPENKENAR_HOST_KEY, else DATA/host.key." placeholder:"FILE"`
}

func (f listenFlags) options(c *call, data string) server.Options {
	return server.Options{
		Listen: f.Listen, OperationsListen: f.OperationsListen, Data: data, Database: string(f.Database), PublicURL: f.PublicURL,
		AllowTargets: f.AllowTargets, HostKeyFile: f.HostKeyFile, EgressBind: f.EgressBind, EgressPublished: f.EgressPublished,
		TrustedProxies: f.TrustedProxies, Retention: f.Retention, HostKeys: hostKeys(c, f.HostKeyFile), MasterKey: c.env[envMasterKey], Version: Version,
	}
}

// hostKeys returns the keys of the environment, several of which are valid at a
// time; none where a file is named for them.
func hostKeys(c *call, file string) []string {
	if file != "" {
		return nil
	}
	return server.SplitKeys(c.env[envHostKey])
}

type devCmd struct {
	listenFlags
	Data              string `config:"" default:".openkenar" help:"Data directory." type:"path" placeholder:"DIR"`
	EventURL          string `config:"" name:"event-url" help:"Where the sample app gets its webhooks." placeholder:"URL"`
	InitURL           string `config:"" name:"init-url" help:"The sample app's session initialization URL." placeholder:"URL"`
	ActionURL         string `config:"" name:"action-url" help:"The sample app's dynamic action URL." placeholder:"URL"`
	RedirectURI       string `config:"" name:"redirect-uri" help:"The sample app's OAuth redirect URI." placeholder:"URI"`
	IdentificationKey string `config:"" help:"What webhooks carry in their Authorization header." placeholder:"KEY"`
}

// Run starts the platform with its demo world.
func (d devCmd) Run(ctx context.Context, c *call) error {
	o := d.options(c, d.Data)
	o.Dev = &server.DevOptions{
		EventURL: d.EventURL, InitURL: d.InitURL, ActionURL: d.ActionURL,
		RedirectURI: d.RedirectURI, IdentificationKey: d.IdentificationKey,
	}
	return c.run(ctx, o, func(s *server.Server) error {
		_, err := fmt.Fprintf(c.Out, `OpenKenar %[1]s runs, with a demo world: a seller, a buyer, a post, a chat, and the app "sample-app".

  base URL     http://%[2]s
  simulator    http://%[2]s/sim/
  its secrets  %[3]s
  for a shell  . %[4]s

The simulator shows both phones and what goes to the app. Stop with Ctrl-C; the world stays in %[5]s.
`, Version, s.Addr(), filepath.Join(shown(d.Data), "dev.json"), filepath.Join(shown(d.Data), "dev.env"), shown(d.Data))
		return err
	})
}

// shown is a path as a person would write it from here.
func shown(path string) string {
	here, err := filepath.Abs(".")
	if err != nil {
		return path
	}
	if short, err := filepath.Rel(here, path); err == nil && !strings.HasPrefix(short, "..") {
		return short
	}
	return path
}

type serveCmd struct {
	listenFlags
	Data     string `config:"" required:"" help:"Data directory: keys, media, and the ledger unless it is in a database." type:"path" placeholder:"DIR"`
	LoginURL string `config:"" name:"login-url" help:"The marketplace's login page; login_challenge is added to it." placeholder:"URL"`
}

// Run starts the platform.
func (v serveCmd) Run(ctx context.Context, c *call) error {
	o := v.options(c, v.Data)
	o.LoginURL = v.LoginURL
	return c.run(ctx, o, func(s *server.Server) error {
		if file := s.HostKeyMade(); file != "" {
			if _, err := fmt.Fprintf(c.Out, "A host key was made. The marketplace's backend needs it: %s\n", file); err != nil {
				return err
			}
		}
		_, err := fmt.Fprintf(c.Out, "OpenKenar %s listens on http://%s\n", Version, s.Addr())
		return err
	})
}

// gcPercent lets the heap grow more than usual before it is collected: the heap
// of a server is small, most of its memory is the ledger's cache.
const gcPercent = 400

// gcBeside is the same where the ledger is in a database, which has the cache.
const gcBeside = 200

// run runs a server until ctx ends, then stops it within the drain time. Being
// stopped while it starts is no failure.
func (c *call) run(ctx context.Context, o server.Options, started func(*server.Server) error) (err error) {
	if o.Traces, err = traceOptions(c.otel); err != nil {
		return err
	}
	log, stop := serverLog(c.Err)
	defer stop()
	if os.Getenv("GOGC") == "" {
		percent := gcPercent
		if o.Database != "" {
			percent = gcBeside
		}
		debug.SetGCPercent(percent)
	}
	o.Log = log
	s, err := server.New(ctx, o)
	if ctx.Err() != nil && errors.Is(err, context.Canceled) {
		return nil
	}
	if err != nil {
		return err
	}
	defer func() {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), drain)
		defer cancel()
		err = errors.Join(err, s.Stop(ctx))
	}()
	if err := s.Start(ctx); ctx.Err() != nil && errors.Is(err, context.Canceled) {
		return nil
	} else if err != nil {
		return err
	}
	log.InfoContext(ctx, "listening", "addr", s.Addr(), "operations", s.OperationsAddr())
	if err := started(s); err != nil {
		return err
	}
	select {
	case <-ctx.Done():
		return nil
	case err := <-s.Failed():
		return err
	}
}
