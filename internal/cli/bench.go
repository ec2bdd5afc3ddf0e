package cli

import (
	"context"
	"encoding/json"
	"fmt"
	"os"

	"github.com/openkenar/openkenar/internal/bench"
)

type benchCmd struct {
	Scenario    []string    `default:"${scenarios}" enum:"${scenarios}" help:"What to run (${enum})." placeholder:"NAME"`
	Events      int         `help:"Events of each scenario. Default: its own." placeholder:"N"`
	Rate        int         `help:"Events a second of steady and fair. Default: 500 and 1000." placeholder:"N"`
	Connections int         `default:"64" help:"Connections of the bare loop and of the feeder (${default})." placeholder:"N"`
	Data        string      `help:"Directory to leave the ledgers and the server's log in. Default: a temporary one on a disk, removed at the end." type:"path" placeholder:"DIR"`
	Database    databaseURL `help:"URL of an empty PostgreSQL database for the ledger of the one scenario that is named; it is left there." placeholder:"URL"`
	JSON        bool        `name:"json" help:"Print JSON, one object a scenario and line."`
}

// Validate refuses what could not be run.
func (b benchCmd) Validate() error {
	if b.Events < 0 || b.Rate < 0 || b.Connections < 1 {
		return fmt.Errorf("--events, --rate and --connections are counts")
	}
	return nil
}

// Run measures the platform on this machine. When it lost an event or cannot
// account for one, the exit code is 1.
func (b benchCmd) Run(ctx context.Context, c *call) error {
	failed := false
	lines := json.NewEncoder(c.Out)
	if !b.JSON {
		if _, err := fmt.Fprintln(c.Out, bench.Header); err != nil {
			return err
		}
	}
	err := bench.Run(ctx, bench.Options{
		Scenarios: b.Scenario, Events: b.Events, Rate: b.Rate, Connections: b.Connections, Data: b.Data, Database: string(b.Database),
	}, func(r bench.Result) error {
		failed = failed || r.Failed()
		if b.JSON {
			return lines.Encode(r)
		}
		_, err := fmt.Fprintln(c.Out, r)
		return err
	})
	if err == nil && failed {
		err = errFound
	}
	return err
}

// benchReceiverCmd and benchBareCmd are the processes that bench starts.
type benchReceiverCmd struct {
	Apps  int    `required:"" help:"Healthy apps."`
	Ready string `required:"" help:"File to write the addresses to." type:"path"`
}

// Run plays the apps.
func (b benchReceiverCmd) Run(ctx context.Context) error {
	return bench.Receive(ctx, b.Apps, b.Ready, os.Stdin)
}

type benchBareCmd struct{}

// Run runs the bare loop.
func (benchBareCmd) Run(ctx context.Context, c *call) error { return bench.Bare(ctx, os.Stdin, c.Out) }
