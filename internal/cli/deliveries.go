package cli

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/openkenar/openkenar/internal/delivery"
	"github.com/openkenar/openkenar/internal/server"
)

type deliveriesCmd struct {
	List      listCmd      `cmd:"" help:"List deliveries, newest first."`
	Show      showCmd      `cmd:"" help:"Show a delivery with every attempt."`
	Redeliver redeliverCmd `cmd:"" help:"Send deliveries again: one by its id, or many by a filter."`
}

// maxListed bounds a list that a person reads.
const maxListed = 100

type listCmd struct {
	ledgerFlags
	App   string `help:"Only this app's." placeholder:"SLUG"`
	State string `help:"Only those in this state: pending, delivered, exhausted or canceled." placeholder:"STATE"`
	Event int64  `help:"Only this event's." placeholder:"ID"`
	After string `help:"Only those older than this delivery." placeholder:"ID"`
	JSON  bool   `name:"json" help:"Print JSON, one delivery a line."`
}

// deliveryLine is a delivery in JSON.
type deliveryLine struct {
	ID       string         `json:"id"`
	App      string         `json:"app"`
	Type     string         `json:"type"`
	State    delivery.State `json:"state"`
	Attempts int            `json:"attempts"`
	At       string         `json:"at"`
	NextAt   string         `json:"next_at,omitempty"`
	Reason   string         `json:"reason,omitempty"`
}

func line(d delivery.Row) deliveryLine {
	return deliveryLine{
		ID: d.ID.String(), App: d.ID.App, Type: d.Type, State: d.State, Attempts: d.Attempts,
		At: stamp(d.At), NextAt: stamp(d.NextAt), Reason: d.Reason,
	}
}

// Run lists deliveries.
func (l listCmd) Run(ctx context.Context, c *call) (err error) {
	f := delivery.Filter{App: l.App, State: delivery.State(l.State), Event: l.Event, Limit: maxListed}
	if err := delivery.CheckState(f.State); err != nil {
		return err
	}
	if l.After != "" {
		if f.After, err = delivery.ParseID(l.After); err != nil {
			return err
		}
	}
	ledger, err := server.OpenLedger(ctx, l.place())
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, ledger.Close()) }()
	rows, err := ledger.Deliveries(ctx, f)
	if err != nil {
		return err
	}
	if l.JSON {
		enc := json.NewEncoder(c.Out)
		for _, d := range rows {
			if err := enc.Encode(line(d)); err != nil {
				return err
			}
		}
		return nil
	}
	table := [][]string{{"ID", "TYPE", "STATE", "ATTEMPTS", "HAPPENED", "NEXT", "REASON"}}
	for _, d := range rows {
		v := line(d)
		table = append(table, []string{v.ID, v.Type, string(v.State), strconv.Itoa(v.Attempts), v.At, v.NextAt, v.Reason})
	}
	text := columns(table)
	if len(rows) == maxListed {
		text += fmt.Sprintf("older ones: --after %s\n", rows[len(rows)-1].ID)
	}
	_, err = io.WriteString(c.Out, text)
	return err
}

type showCmd struct {
	ID string `arg:"" help:"Id of the delivery (also the webhook-id header)."`
	ledgerFlags
}

// Run shows a delivery with its attempts.
func (s showCmd) Run(ctx context.Context, c *call) (err error) {
	id, err := delivery.ParseID(s.ID)
	if err != nil {
		return err
	}
	ledger, err := server.OpenLedger(ctx, s.place())
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, ledger.Close()) }()
	d, attempts, ok, err := ledger.Delivery(ctx, id)
	if err != nil {
		return err
	}
	if !ok {
		return fmt.Errorf("delivery %s: no such delivery; see openkenar deliveries list", id)
	}
	v := line(d)
	var b strings.Builder
	_, _ = fmt.Fprintf(&b, "%s\n  %s for %s, happened %s\n  %s after %d attempts", v.ID, v.Type, v.App, v.At, v.State, v.Attempts)
	if v.Reason != "" {
		_, _ = fmt.Fprintf(&b, ": %s", plain(v.Reason))
	}
	if v.NextAt != "" {
		_, _ = fmt.Fprintf(&b, "\n  next attempt %s", v.NextAt)
	}
	b.WriteString("\n")
	for _, a := range attempts {
		_, _ = fmt.Fprintf(&b, "\nattempt %d at %s, because: %s\n%s\n", a.N, stamp(a.At), plain(a.Why), indent(a.Request))
		if a.Status != 0 {
			_, _ = fmt.Fprintf(&b, "  answered %d in %s\n%s", a.Status, a.Duration.Round(time.Millisecond), indent(string(bytes.ToValidUTF8(a.Answer, []byte("\uFFFD")))))
		} else {
			_, _ = fmt.Fprintf(&b, "  %s after %s\n", plain(a.Error), a.Duration.Round(time.Millisecond))
		}
	}
	_, err = io.WriteString(c.Out, b.String())
	return err
}

type redeliverCmd struct {
	ID     string    `arg:"" optional:"" help:"Id of one delivery."`
	App    string    `help:"Only this app's." placeholder:"SLUG"`
	State  string    `help:"Those in this state: exhausted, canceled, delivered or pending." placeholder:"STATE"`
	From   time.Time `help:"Of what happened since (RFC 3339)." placeholder:"TIME"`
	To     time.Time `help:"Of what happened until (RFC 3339)." placeholder:"TIME"`
	DryRun bool      `help:"Only count them."`
	hostFlags
}

// Validate refuses a call that does not say what to send, or says it twice.
func (r redeliverCmd) Validate() error {
	filter := r.App != "" || r.State != "" || !r.From.IsZero() || !r.To.IsZero() || r.DryRun
	switch {
	case r.ID != "" && filter:
		return errors.New("name a delivery, or choose some by a filter, not both")
	case r.ID == "" && r.State == "":
		return errors.New("name a delivery, or choose some by --state")
	default:
		return nil
	}
}

// Run puts deliveries back, through the running server.
func (r redeliverCmd) Run(ctx context.Context, c *call) error {
	if r.ID != "" {
		var d struct {
			ID string `json:"id"`
		}
		return r.call(ctx, c, hostCall{
			method: http.MethodPost, path: hostPath("deliveries", r.ID, "redeliver"), in: struct{}{}, out: &d,
			show: func() string { return plain(d.ID) + " is sent again\n" },
		})
	}
	in := map[string]any{"app": r.App, "state": r.State, "dry_run": r.DryRun}
	if !r.From.IsZero() {
		in["from"] = r.From
	}
	if !r.To.IsZero() {
		in["to"] = r.To
	}
	var out struct {
		Count int64  `json:"count"`
		ID    string `json:"id"`
	}
	return r.call(ctx, c, hostCall{
		method: http.MethodPost, path: hostPath("redeliveries"), in: in, out: &out,
		show: func() string {
			if r.DryRun {
				return fmt.Sprintf("%d deliveries would be sent again\n", out.Count)
			}
			return fmt.Sprintf("%d deliveries are sent again (redelivery %s)\n", out.Count, plain(out.ID))
		},
	})
}
