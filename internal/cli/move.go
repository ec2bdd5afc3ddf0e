package cli

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"

	"github.com/openkenar/openkenar/internal/server"
)

type exportCmd struct{ ledgerFlags }

// Help says what to do with what it writes.
func (exportCmd) Help() string {
	return "The server may run meanwhile; what it writes after the beginning is not exported. To move to another ledger, stop it before. " +
		"The export goes to the standard output, for openkenar import of the same version, on whatever engine:\n\n" +
		"openkenar export --data DIR | openkenar import --database URL\n\n" +
		"It holds all that is in the ledger: what people wrote, and secrets sealed with the master key. Keep it as you keep the ledger. " +
		"Not in it are the keys and the directory media of the data directory: copy them as files."
}

// Run writes the ledger.
func (e exportCmd) Run(ctx context.Context, c *call) error {
	if isTerminal(c.Out) {
		return errors.New("an export is not for the screen: send it to a file with > FILE, or to openkenar import with |")
	}
	progress, done := c.progress("rows exported")
	moved, err := server.Export(ctx, e.place(), c.Out, progress)
	done()
	if err != nil {
		return fmt.Errorf("export: %w", err)
	}
	_, err = fmt.Fprintf(c.Err, "%d rows of %d tables were exported; the keys and media of the data directory are not in it\n", moved.Total(), len(moved.Rows))
	return err
}

type importCmd struct{ ledgerFlags }

// Help says what an import needs.
func (importCmd) Help() string {
	return "The export comes from the standard input. The ledger must be empty: a data directory without one, or a database right after openkenar migrate, " +
		"without a server on it. The master key must be that of the exported ledger, in " + envMasterKey + " or as master.key in the data directory. " +
		"It is imported whole or not at all: when it fails, put right what it names and begin again."
}

// Run fills the ledger; what is not accounted for in it is listed, and the exit
// code is 1.
func (i importCmd) Run(ctx context.Context, c *call) error {
	if isTerminal(c.In) {
		return errors.New("the export comes from the standard input: openkenar export --data DIR | openkenar import …")
	}
	imported, importDone := c.progress("rows imported")
	checked, checkDone := c.progress("rows checked")
	moved, audit, err := server.Import(ctx, server.ImportOptions{
		Place: i.place(), MasterKey: c.env[envMasterKey], Stream: c.In, Imported: imported, Checked: checked,
	})
	importDone()
	checkDone()
	if err != nil {
		return fmt.Errorf("import: %w", err)
	}
	if _, err := fmt.Fprintf(c.Out, "imported     %d rows of %d tables, read back with the same checksum\n", moved.Total(), len(moved.Rows)); err != nil {
		return err
	}
	if err := printAudit(c, audit); err != nil {
		return err
	}
	if audit.Unaccounted > 0 {
		if _, err := fmt.Fprintln(c.Out, "The exported ledger has the same, since the copy is equal to it."); err != nil {
			return err
		}
		return errFound
	}
	if n := moved.Rows["media"]; n > 0 {
		_, err = fmt.Fprintf(c.Out, `
The %d files that apps have uploaded are not in it. Copy the directory media of
the former data directory to %s before you start the server.
`, n, filepath.Join(shown(i.Data), "media"))
	}
	return err
}
