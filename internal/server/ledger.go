package server

import (
	"context"

	"github.com/openkenar/openkenar/internal/delivery"
	"github.com/openkenar/openkenar/internal/store"
)

// Ledger is the ledger as commands read it beside a running server.
type Ledger interface {
	delivery.Ledger
	// Audit proves that everything accepted is accounted for.
	Audit(ctx context.Context, progress func(rows int64)) (delivery.Audit, error)
	Close() error
}

// Place is where a ledger is: in a data directory, or in a database.
type Place struct {
	Data     string
	Database string // URL; default: the ledger is in Data
}

func (p Place) options() store.Options { return store.Options{Dir: p.Data, URL: p.Database} }

// OpenLedger opens a ledger for reading.
func OpenLedger(ctx context.Context, p Place) (Ledger, error) {
	o := p.options()
	o.ReadOnly = true
	s, err := store.Open(ctx, o)
	if err != nil {
		return nil, err
	}
	return s, nil
}

// CheckDatabase says what is wrong with the URL of a database.
func CheckDatabase(url string) error { return store.CheckURL(url) }

// Migrate brings the schema of a ledger in a database up to date, and says from
// which migration to which.
func Migrate(ctx context.Context, database string) (from, to int64, err error) {
	return store.Migrate(ctx, store.Options{URL: database})
}
