package market

import (
	"bytes"
	"context"
	"time"

	"github.com/openkenar/openkenar/internal/event"
	"github.com/openkenar/openkenar/internal/status"
	"github.com/openkenar/openkenar/internal/wire"
)

// TransactionState is where a payment stands.
type TransactionState string

// The states of transactions.
const (
	TransactionPending   TransactionState = "PENDING"
	TransactionCompleted TransactionState = "COMPLETED"
	TransactionFailed    TransactionState = "FAILED"
	TransactionRefunded  TransactionState = "REFUNDED"
)

// transactionStates lists them in the order of the contract.
var transactionStates = []TransactionState{TransactionPending, TransactionCompleted, TransactionFailed, TransactionRefunded}

// TransactionType is what was paid for.
type TransactionType string

// Reorder is the one type there is.
const Reorder TransactionType = "REORDER"

// maxDetails bounds extra_details, in bytes of JSON.
const maxDetails = 16 << 10

// Transaction is a payment that concerns an app, as the host API takes it.
type Transaction struct {
	ID           string           `json:"id"`
	App          string           `json:"app"`
	State        TransactionState `json:"state"`
	Type         TransactionType  `json:"type"`
	CostRials    int64            `json:"cost_rials"`
	ExtraDetails wire.Object      `json:"extra_details"`
}

// transactionPayload is the payload of PAYMENT_TRANSACTION.
type transactionPayload struct {
	ID           string      `json:"id"`
	CostRials    int64       `json:"cost_rials"`
	ExtraDetails wire.Object `json:"extra_details"`
	State        string      `json:"state"`
	Type         string      `json:"type"`
}

func (t Transaction) check() error {
	if err := wire.CheckID("id", t.ID); err != nil {
		return err
	}
	if err := wire.CheckID("app", t.App); err != nil {
		return err
	}
	if err := wire.Enum("state", t.State, transactionStates...); err != nil {
		return err
	}
	if err := wire.Enum("type", t.Type, Reorder); err != nil {
		return err
	}
	if t.CostRials < 0 {
		return status.New(status.Invalid, "cost_rials: %d is negative", t.CostRials)
	}
	if len(t.ExtraDetails) > maxDetails {
		return status.New(status.Invalid, "extra_details: %d bytes of JSON, want at most %d", len(t.ExtraDetails), maxDetails)
	}
	return nil
}

// PutTransaction stores a transaction; its first sight and each change of its
// state are events.
func PutTransaction(tx Tx, t Transaction, now time.Time) (Change, error) {
	if t.Type == "" {
		t.Type = Reorder
	}
	if err := t.check(); err != nil {
		return Unchanged, err
	}
	if _, ok, err := tx.App(t.App); err != nil {
		return Unchanged, err
	} else if !ok {
		return Unchanged, status.New(status.NotFound, "app: there is no app %q", t.App)
	}
	old, exists, err := tx.Transaction(t.ID)
	switch {
	case err != nil:
		return Unchanged, err
	case exists && old.App != t.App:
		return Unchanged, status.New(status.Conflict, "app: transaction %q belongs to another app", t.ID)
	case exists && old.State == t.State && old.Type == t.Type && old.CostRials == t.CostRials &&
		bytes.Equal(old.ExtraDetails, t.ExtraDetails):
		return Unchanged, nil
	}
	var id int64
	if !exists || old.State != t.State {
		if id, err = emitTransaction(tx, t, now); err != nil {
			return Unchanged, err
		}
	}
	return Changed, tx.PutTransaction(t, id, now)
}

// wireState and wireType are the names that apps know.
func wireState(s TransactionState) string { return "TRANSACTION_STATE_" + string(s) }

func wireType(t TransactionType) string { return "TRANSACTION_TYPE_" + string(t) }

func emitTransaction(tx Tx, t Transaction, now time.Time) (int64, error) {
	details := t.ExtraDetails
	if details == nil {
		details = wire.Object("{}")
	}
	payload, err := wire.Marshal(transactionPayload{
		ID: t.ID, CostRials: t.CostRials, ExtraDetails: details,
		State: wireState(t.State), Type: wireType(t.Type),
	})
	if err != nil {
		return 0, err
	}
	return event.Emit(tx, event.Event{
		Type: event.PaymentTransaction, At: now, Key: "transaction " + t.ID, Payload: payload, App: t.App,
	})
}

// PutTransaction stores a transaction, and returns it with the event of its last
// change of state.
func (m *Market) PutTransaction(ctx context.Context, t Transaction) (_ Transaction, last int64, err error) {
	if t.Type == "" {
		t.Type = Reorder
	}
	err = m.store.Write(ctx, func(tx Tx) (err error) {
		if _, err := PutTransaction(tx, t, m.now()); err != nil {
			return err
		}
		last, err = tx.TransactionEvent(t.ID)
		return err
	})
	return t, last, err
}
