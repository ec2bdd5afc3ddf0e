package cli

import (
	"context"
	"fmt"

	"github.com/openkenar/openkenar/internal/server"
)

// databaseURL is where a PostgreSQL database is. It may hold a password, and is
// not printed.
type databaseURL string

// UnmarshalText takes the URL of a database.
func (d *databaseURL) UnmarshalText(text []byte) error {
	*d = databaseURL(text)
	return server.CheckDatabase(string(text))
}

// ledgerFlags say which ledger a command reads.
type ledgerFlags struct {
	Data     string      `config:"" default:".openkenar" help:"Data directory." type:"path" placeholder:"DIR"`
	Database databaseURL `config:"" help:"URL of the PostgreSQL database that holds the ledger. Default: it is in the data directory." placeholder:"URL"`
}

func (f ledgerFlags) place() server.Place {
	return server.Place{Data: f.Data, Database: string(f.Database)}
}

type migrateCmd struct {
	Database databaseURL `config:"" required:"" help:"URL of the PostgreSQL database. Best set as OPENKENAR_DATABASE, or with its password in ~/.pgpass." placeholder:"URL"`
}

// Help says when to run it.
func (migrateCmd) Help() string {
	return "Run it once on an empty database, and before the server of a new version. Servers of the version before go on meanwhile. " +
		"A ledger in a data directory needs none of this: its server updates it."
}

// Run updates the schema.
func (m migrateCmd) Run(ctx context.Context, c *call) error {
	from, to, err := server.Migrate(ctx, string(m.Database))
	if err != nil {
		return err
	}
	if from == to {
		_, err = fmt.Fprintf(c.Out, "the schema is at migration %d\n", to)
	} else {
		_, err = fmt.Fprintf(c.Out, "the schema went from migration %d to %d\n", from, to)
	}
	return err
}
