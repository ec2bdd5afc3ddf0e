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

// OpenLedger opens the ledger of a data directory for reading.
func OpenLedger(ctx context.Context, data string) (Ledger, error) {
	s, err := store.Open(ctx, store.Options{Dir: data, ReadOnly: true})
	if err != nil {
		return nil, err
	}
	return s, nil
}
