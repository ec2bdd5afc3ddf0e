package cli

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"time"

	"github.com/openkenar/openkenar/internal/server"
)

type backupCmd struct {
	Data     string      `config:"" default:".openkenar" help:"Data directory." type:"path" placeholder:"DIR"`
	Database databaseURL `config:"" hidden:"" help:"URL of a database, which is backed up by its own tools."`
	File     string      `arg:"" help:"File to write, which must not exist." type:"path"`
}

// Help says what a backup is good for.
func (backupCmd) Help() string {
	return "The server may run meanwhile. The copy is checked and verified before it gets its name.\n\n" +
		"To restore, put the file into an empty data directory as openkenar.db, with the master.key of the former one, " +
		"and start the server on it. The master key is not part of the backup: keep it too, in another place. Nor are the media that apps have uploaded: " +
		"they are files in the directory media, to be copied as such."
}

// Run copies the ledger; when something is not accounted for in the copy, it
// is listed, and the exit code is 1.
func (b backupCmd) Run(ctx context.Context, c *call) error {
	if b.Database != "" {
		return errors.New("the ledger is in a PostgreSQL database (--database, OPENKENAR_DATABASE): back that up with pg_dump or pg_basebackup, and keep master.key and media of the data directory too")
	}
	began := time.Now()
	progress, done := c.progress("rows checked")
	backup, err := server.BackUp(ctx, b.Data, b.File, progress)
	done()
	if err != nil {
		return err
	}
	a := backup.Audit
	if _, err := fmt.Fprintf(c.Out, "backup       %s\ncopied       %d bytes, %d events, checked and verified in %.1f s\nunaccounted  %d\n",
		shown(backup.File), backup.Bytes, a.Events, time.Since(began).Seconds(), a.Unaccounted); err != nil {
		return err
	}
	if err := c.findings(a); err != nil {
		return err
	}
	if a.Unaccounted > 0 {
		return errFound
	}
	_, err = fmt.Fprintf(c.Out, `
The master key is not in it. Keep %s (or %s) too, in another
place: without it no secret in the backup can be read.
`, filepath.Join(shown(b.Data), "master.key"), envMasterKey)
	return err
}
