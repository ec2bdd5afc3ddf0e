package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/openkenar/openkenar/internal/delivery"
	"github.com/openkenar/openkenar/internal/server"
)

type verifyCmd struct {
	ledgerFlags
	JSON bool `name:"json" help:"Print JSON."`
}

// Run proves the ledger; what is not accounted for is listed, and the exit
// code is 1.
func (v verifyCmd) Run(ctx context.Context, c *call) (err error) {
	ledger, err := server.OpenLedger(ctx, v.place())
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, ledger.Close()) }()
	progress, done := c.progress("rows checked")
	defer done()
	audit, err := ledger.Audit(ctx, progress)
	if err != nil {
		return err
	}
	if err := v.print(c, audit); err != nil {
		return err
	}
	if audit.Unaccounted > 0 {
		return errFound
	}
	return nil
}

func (v verifyCmd) print(c *call, a delivery.Audit) error {
	if v.JSON {
		return printJSON(c, a)
	}
	return printAudit(c, a)
}

// printAudit prints what an audit counted, and found.
func printAudit(c *call, a delivery.Audit) error {
	_, err := fmt.Fprintf(c.Out, `events       %d
accepted     %d = %d delivered + %d pending + %d explained (%d exhausted, %d canceled, %d skipped)
unaccounted  %d
`, a.Events, a.Accepted, a.Delivered, a.Pending, a.Explained(), a.Exhausted, a.Canceled, a.Skipped, a.Unaccounted)
	if err != nil {
		return err
	}
	return c.findings(a)
}

// progress shows somebody who watches how many rows were worked on, until that
// is done.
func (c *call) progress(what string) (show func(rows int64), done func()) {
	if !isTerminal(c.Err) {
		return func(int64) {}, func() {}
	}
	return func(rows int64) { _, _ = fmt.Fprintf(c.Err, "\r\x1b[K%d %s", rows, what) }, func() { _, _ = fmt.Fprintln(c.Err) }
}

// findings lists what is not accounted for.
func (c *call) findings(a delivery.Audit) error {
	for _, f := range a.Findings {
		if _, err := fmt.Fprintln(c.Out, "  "+f); err != nil {
			return err
		}
	}
	if more := a.Unaccounted - int64(len(a.Findings)); more > 0 {
		_, err := fmt.Fprintf(c.Out, "  and %d more\n", more)
		return err
	}
	return nil
}

func printJSON(c *call, v any) error {
	enc := json.NewEncoder(c.Out)
	enc.SetEscapeHTML(false)
	enc.SetIndent("", "  ")
	return enc.Encode(v)
}
