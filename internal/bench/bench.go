// Package bench measures the platform as it is run: a server process of its own
// on a real data directory, fed over HTTP, that calls apps in another process.
//
// What it promises: nothing leaves the loopback interface; every run is bounded
// in events, and ends when nothing has arrived for a while; what it starts it
// ends. An event counts from the start of the request that the platform
// accepted it with to its arrival, both in the machine's clock. The rate is
// compared with that of the bare loop: a plain HTTP client, alone on the
// machine, that posts the same webhook to the same receiver over as many
// connections as the platform uses for one app. After each scenario the server
// is killed, not stopped, and its ledger audited: what it promises has to hold
// then too.
//
// The files follow the work: scenario.go says what is run, stage.go sets it up
// and measures it, feed.go is the marketplace, tail.go who looks on,
// receiver.go the apps, bare.go the bare loop, process.go the processes,
// report.go what is told.
package bench

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/openkenar/openkenar/internal/server"
)

// Options of Run. The zero value runs no scenario.
type Options struct {
	Scenarios   []string // by name, in this order; see Names
	Events      int      // of each scenario; default: its own
	Rate        int      // events a second of steady and fair; default: their own
	Connections int      // of the bare loop and of the feeder; default 64
	Data        string   // where the ledgers are left; default: a temporary directory, removed at the end
	// Database is the URL of an empty PostgreSQL database for the ledger of the
	// one scenario; it is left there.
	Database string
}

// defaultConnections is how many sends of one app the platform has under way.
const defaultConnections = 64

// Run runs the scenarios one after another and reports each as it ends. What a
// scenario finds (lost events, say) is in its result and no error.
func Run(ctx context.Context, o Options, report func(Result) error) (err error) {
	o.Connections = cmp.Or(o.Connections, defaultConnections)
	if o.Database != "" {
		if len(o.Scenarios) != 1 {
			return errors.New("a database takes one scenario, whose ledger is left in it: name one")
		}
		if from, _, err := server.Migrate(ctx, o.Database); err != nil {
			return err
		} else if from != 0 {
			return errors.New("the database has a ledger: a scenario begins with an empty database")
		}
	}
	if o.Data == "" {
		if o.Data, err = os.MkdirTemp(disk(), "openkenar-bench-"); err != nil {
			return err
		}
		defer func() { err = errors.Join(err, os.RemoveAll(o.Data)) }()
	}
	for _, name := range o.Scenarios {
		i := slices.IndexFunc(scenarios, func(s scenario) bool { return s.name == name })
		if i < 0 {
			return fmt.Errorf("no scenario %q; there are %s", name, strings.Join(Names(), ", "))
		}
		result, err := o.scenario(ctx, scenarios[i])
		if err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
		if err := report(result); err != nil {
			return err
		}
	}
	return nil
}

// disk is the directory for temporary files that is on a disk: where there is
// memory behind /tmp, an fsync would cost nothing.
func disk() string {
	const persistent = "/var/tmp"
	if info, err := os.Stat(persistent); err == nil && info.IsDir() {
		return persistent
	}
	return os.TempDir()
}

// scenario runs one scenario in a directory of its own.
func (o Options) scenario(ctx context.Context, sc scenario) (_ Result, err error) {
	dir := filepath.Join(o.Data, sc.name)
	if err := os.MkdirAll(o.Data, 0o700); err != nil {
		return Result{}, err
	}
	if err := os.Mkdir(dir, 0o700); err != nil {
		return Result{}, fmt.Errorf("%w; a scenario begins with an empty ledger: choose another --data", err)
	}
	o.Rate = cmp.Or(o.Rate, sc.rate)
	o.Events = cmp.Or(o.Events, sc.events, o.Rate*sc.seconds)
	s := &stage{Options: o, dir: dir}
	defer s.close()
	if err := s.open(ctx, sc.apps); err != nil {
		return Result{}, err
	}
	result, err := sc.run(s, ctx)
	if err != nil {
		return Result{}, err
	}
	result.Scenario = sc.name
	result.PeakRSS = float64(s.platform.kill().peak) / 1e6
	result.Unaccounted, err = s.audit(ctx)
	return result, err
}
