// Package cli holds the commands: it turns arguments and OPENKENAR_…
// environment variables into options, runs one command, and returns the exit
// code: 0 for success, 1 when the command failed or found something wrong, 2
// when it was called wrongly; of conform also when it could not judge.
package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"runtime/debug"
	"slices"
	"strings"

	"github.com/alecthomas/kong"

	"github.com/openkenar/openkenar/internal/bench"
)

// Version is the program's version; releases set it when they are built.
var Version = "0.1.0-dev"

// Exit codes.
const (
	exitOK    = 0
	exitFault = 1
	exitUsage = 2
)

// Streams are what a command reads, and where it writes.
type Streams struct {
	In       io.Reader
	Out, Err io.Writer
}

// errFound says that a command did its work and found something wrong, which
// it has already told.
var errFound = errors.New("something is wrong")

// unable is the error of a command that judges something and could not: its
// exit code must not be taken for a verdict.
type unable struct{ error }

func (u unable) Unwrap() error { return u.error }

// commands is the grammar of the command line.
type commands struct {
	Dev        devCmd        `cmd:"" help:"Start everything on this machine, with a small demo world."`
	Serve      serveCmd      `cmd:"" help:"Run the platform beside a marketplace."`
	Verify     verifyCmd     `cmd:"" help:"Prove from the ledger that everything accepted is accounted for."`
	Ready      readyCmd      `cmd:"" help:"Tell by the exit code whether a server is ready."`
	Migrate    migrateCmd    `cmd:"" help:"Make or update the schema of a PostgreSQL ledger."`
	Backup     backupCmd     `cmd:"" help:"Copy the ledger to a file, beside a running server."`
	Export     exportCmd     `cmd:"" help:"Write the ledger to a stream, beside a running server."`
	Import     importCmd     `cmd:"" help:"Fill an empty ledger from a stream, on whatever engine."`
	Deliveries deliveriesCmd `cmd:"" help:"Look at deliveries and send them again."`
	App        appCmd        `cmd:"" help:"Manage the apps of a running server."`
	Key        keyCmd        `cmd:"" help:"Manage the API keys of an app."`
	Secret     secretCmd     `cmd:"" help:"Replace the secrets of an app."`
	Token      tokenCmd      `cmd:"" help:"Make access tokens, in dev mode."`
	Listen     listenCmd     `cmd:"" help:"Follow an app's events and post them to an address on this machine."`
	Trigger    triggerCmd    `cmd:"" help:"Make something happen that apps hear of."`
	Grants     grantsCmd     `cmd:"" help:"See and take away what users gave apps access to."`
	Operator   operatorCmd   `cmd:"" help:"Manage who signs in to the panel."`
	Conform    conformCmd    `cmd:"" help:"Play a receiver's hard life to an app, and say how it bears it."`
	Contract   contractCmd   `cmd:"" help:"Print the contract for programs: OpenAPI documents and JSON Schemas."`
	Bench      benchCmd      `cmd:"" help:"Measure the platform on this machine."`
	Version    versionCmd    `cmd:"" help:"Print the version."`

	ListenCourier courierCmd       `cmd:"" hidden:"" help:"The part of listen that posts."`
	BenchReceiver benchReceiverCmd `cmd:"" hidden:"" help:"The apps of bench."`
	BenchBare     benchBareCmd     `cmd:"" hidden:"" help:"The bare loop of bench."`
}

// call is what a command needs besides its flags.
type call struct {
	Streams
	env  map[string]string
	otel map[string]string // the standard variables of OpenTelemetry
}

// exit carries kong's wish to end, as for --help, out of its parser.
type exit int

// Run runs the command that the arguments name and returns the exit code.
func Run(ctx context.Context, args, environ []string, streams Streams) (code int) {
	defer func() {
		if r := recover(); r != nil {
			wanted, ok := r.(exit)
			if !ok {
				panic(r)
			}
			code = int(wanted)
		}
	}()
	fail := func(code int, err error) int {
		_, _ = fmt.Fprintln(streams.Err, "openkenar: "+err.Error())
		return code
	}
	env, otel := map[string]string{}, map[string]string{}
	for _, e := range environ {
		switch name, value, _ := strings.Cut(e, "="); {
		case value == "":
		case strings.HasPrefix(name, envPrefix):
			env[name] = value
		case strings.HasPrefix(name, otelPrefix):
			otel[name] = value
		}
	}
	parser, err := newParser(ctx, env, streams)
	if err != nil {
		return fail(exitUsage, err)
	}
	if len(args) == 0 {
		args = []string{"--help"}
	}
	parsed, err := parser.Parse(args)
	if err != nil {
		return fail(exitUsage, fmt.Errorf("%w; see openkenar --help", err))
	}
	c := &call{Streams: streams, env: env, otel: otel}
	switch err := parsed.Run(c); {
	case err == nil:
		return exitOK
	case errors.Is(err, errFound):
		return exitFault
	case errors.As(err, &unable{}):
		return fail(exitUsage, err)
	default:
		return fail(exitFault, err)
	}
}

// newParser returns the parser of the command line, in an environment that
// holds nothing that no command reads.
func newParser(ctx context.Context, env map[string]string, streams Streams) (*kong.Kong, error) {
	parser, err := kong.New(&commands{},
		kong.Name("openkenar"),
		kong.Description("The open platform of a marketplace in one binary. How a server runs (the flags of dev and serve) "+
			"and which one is meant (--server, --host-key-file, --api-key-file, --data, --database) may also be set as "+envPrefix+"NAME in the environment."),
		kong.Vars{"repeatable": repeatable, "scenarios": strings.Join(bench.Names(), ",")},
		kong.Writers(streams.Out, streams.Err),
		kong.Exit(func(code int) { panic(exit(code)) }),
		kong.Resolvers(fromEnv(env)),
		kong.UsageOnError(),
		kong.BindTo(ctx, (*context.Context)(nil)),
	)
	if err != nil {
		return nil, err
	}
	return parser, checkEnv(parser.Model, env)
}

const (
	envPrefix = "OPENKENAR_"
	envServer = envPrefix + "SERVER"
	envData   = envPrefix + "DATA"
)

// Secrets come from the environment or from a file, never from an argument,
// which other users of the machine can see.
const (
	envHostKey   = envPrefix + "HOST_KEY"
	envAPIKey    = envPrefix + "API_KEY"
	envMasterKey = envPrefix + "MASTER_KEY"
)

func envName(flag string) string {
	return envPrefix + strings.ToUpper(strings.ReplaceAll(flag, "-", "_"))
}

// configures says whether a flag is also read from the environment: it says
// how a server runs, or which one is meant. What a single call shall do is only
// ever an argument; from a variable left in a shell it would come as a surprise.
func configures(flag *kong.Flag) bool { return flag.Tag.Has("config") }

// fromEnv takes the value of a flag that was not given from the environment.
func fromEnv(env map[string]string) kong.Resolver {
	return kong.ResolverFunc(func(_ *kong.Context, _ *kong.Path, flag *kong.Flag) (any, error) {
		if value, ok := env[envName(flag.Name)]; ok && configures(flag) {
			return value, nil
		}
		return nil, nil //nolint:nilnil // kong's way to say that there is none
	})
}

// checkEnv refuses an OPENKENAR_ variable that nothing reads: it is a
// misspelling, or an argument in the wrong place, that would otherwise do
// nothing, silently.
func checkEnv(model *kong.Application, env map[string]string) error {
	known := []string{envHostKey, envAPIKey, envMasterKey}
	argument := map[string]string{}
	_ = kong.Visit(model, func(node kong.Visitable, next kong.Next) error {
		if flag, ok := node.(*kong.Flag); ok {
			if configures(flag) {
				known = append(known, envName(flag.Name))
			} else {
				argument[envName(flag.Name)] = "--" + flag.Name
			}
		}
		return next(nil)
	})
	slices.Sort(known)
	known = slices.Compact(known)
	for _, name := range slices.Sorted(maps.Keys(env)) {
		switch flag, ok := argument[name]; {
		case slices.Contains(known, name):
		case ok:
			return fmt.Errorf("%s is set in the environment, and nothing reads it; give %s as an argument", name, flag)
		default:
			return fmt.Errorf("%s is set in the environment, and nothing reads it; did you mean %s?", name, nearest(name, known))
		}
	}
	return nil
}

// nearest returns the one of the names that was probably meant, perhaps by its
// beginning.
func nearest(name string, names []string) string {
	from := func(a string) int { return min(distance(a, name), 1+distance(a[:min(len(a), len(name))], name)) }
	return slices.MinFunc(names, func(a, b string) int { return from(a) - from(b) })
}

// distance is the number of letters to add, drop or change to get from a to b.
func distance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			change := diagonal
			if a[i] != b[j] {
				change++
			}
			diagonal = row[j+1]
			row[j+1] = min(change, row[j]+1, row[j+1]+1)
		}
	}
	return row[len(b)]
}

// isTerminal says whether somebody watches, or types.
func isTerminal(stream any) bool {
	f, ok := stream.(*os.File)
	if !ok {
		return false
	}
	info, err := f.Stat()
	if err != nil || info.Mode()&os.ModeCharDevice == 0 {
		return false
	}
	null, err := os.Stat(os.DevNull)
	return err != nil || !os.SameFile(info, null)
}

type versionCmd struct{}

// Run prints the version.
func (versionCmd) Run(c *call) error {
	revision := ""
	if info, ok := debug.ReadBuildInfo(); ok {
		for _, s := range info.Settings {
			if s.Key == "vcs.revision" {
				revision = " (" + s.Value[:min(12, len(s.Value))] + ")"
			}
		}
	}
	_, err := fmt.Fprintf(c.Out, "openkenar %s%s\n", Version, revision)
	return err
}
