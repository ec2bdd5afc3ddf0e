package cli

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/openkenar/openkenar/internal/delivery"
	"github.com/openkenar/openkenar/internal/server"
	"github.com/openkenar/openkenar/internal/status"
)

type deliveriesCmd struct {
	List      listCmd      `cmd:"" help:"List deliveries, newest first."`
	Show      showCmd      `cmd:"" help:"Show a delivery with every attempt."`
	Redeliver redeliverCmd `cmd:"" help:"Send deliveries again: one by its id, or many by a filter."`
}

// maxListed bounds a list that a person reads.
const maxListed = 100

type listCmd struct {
	Data  string `default:".openkenar" help:"Data directory." type:"path" placeholder:"DIR"`
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

// stamp shows a moment; "" for none.
func stamp(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return t.UTC().Format("2006-01-02T15:04:05.000Z")
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
	ledger, err := server.OpenLedger(ctx, l.Data)
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
	w := tabwriter.NewWriter(c.Out, 0, 0, 2, ' ', 0)
	_, _ = fmt.Fprintln(w, "ID\tTYPE\tSTATE\tATTEMPTS\tHAPPENED\tNEXT\tREASON")
	for _, d := range rows {
		v := line(d)
		_, _ = fmt.Fprintf(w, "%s\t%s\t%s\t%d\t%s\t%s\t%s\n", v.ID, v.Type, v.State, v.Attempts, v.At, v.NextAt, v.Reason)
	}
	if len(rows) == maxListed {
		_, _ = fmt.Fprintf(w, "older ones: --after %s\n", rows[len(rows)-1].ID)
	}
	return w.Flush()
}

type showCmd struct {
	ID   string `arg:"" help:"Id of the delivery (also the webhook-id header)."`
	Data string `default:".openkenar" help:"Data directory." type:"path" placeholder:"DIR"`
}

// Run shows a delivery with its attempts.
func (s showCmd) Run(ctx context.Context, c *call) (err error) {
	id, err := delivery.ParseID(s.ID)
	if err != nil {
		return err
	}
	ledger, err := server.OpenLedger(ctx, s.Data)
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
		_, _ = fmt.Fprintf(&b, ": %s", v.Reason)
	}
	if v.NextAt != "" {
		_, _ = fmt.Fprintf(&b, "\n  next attempt %s", v.NextAt)
	}
	b.WriteString("\n")
	for _, a := range attempts {
		_, _ = fmt.Fprintf(&b, "\nattempt %d at %s, because: %s\n%s\n", a.N, stamp(a.At), a.Why, indent(a.Request))
		if a.Status != 0 {
			_, _ = fmt.Fprintf(&b, "  answered %d in %s\n%s", a.Status, a.Duration.Round(time.Millisecond), indent(string(bytes.ToValidUTF8(a.Answer, []byte("\uFFFD")))))
		} else {
			_, _ = fmt.Fprintf(&b, "  %s after %s\n", a.Error, a.Duration.Round(time.Millisecond))
		}
	}
	_, err = io.WriteString(c.Out, b.String())
	return err
}

// indent sets a block apart. What an app answered is shown with control
// characters made harmless: it must not drive the terminal.
func indent(text string) string {
	var b strings.Builder
	for l := range strings.Lines(strings.TrimRight(text, "\n")) {
		b.WriteString("    " + strings.Map(func(r rune) rune {
			if r < ' ' && r != '\t' || r == 0x7f {
				return '\uFFFD'
			}
			return r
		}, strings.TrimRight(l, "\r\n")) + "\n")
	}
	return b.String()
}

type redeliverCmd struct {
	ID     string    `arg:"" optional:"" help:"Id of one delivery."`
	App    string    `help:"Only this app's." placeholder:"SLUG"`
	State  string    `help:"Those in this state: exhausted, canceled, delivered or pending." placeholder:"STATE"`
	From   time.Time `help:"Of what happened since (RFC 3339)." placeholder:"TIME"`
	To     time.Time `help:"Of what happened until (RFC 3339)." placeholder:"TIME"`
	DryRun bool      `help:"Only count them."`

	Server      string `default:"http://127.0.0.1:7700" help:"The running server." placeholder:"URL"`
	HostKeyFile string `help:"File with the host key. Default: OPENKENAR_HOST_KEY, else DATA/host.key." placeholder:"FILE"`
	Data        string `default:".openkenar" help:"Data directory, for its host key." type:"path" placeholder:"DIR"`
}

// Run puts deliveries back, through the running server.
func (r redeliverCmd) Run(ctx context.Context, c *call) error {
	key, err := r.hostKey(c)
	if err != nil {
		return err
	}
	host := hostClient{server: r.Server, key: key}
	if r.ID != "" {
		var d struct {
			ID    string `json:"id"`
			State string `json:"state"`
		}
		if err := host.call(ctx, "/host/v1/deliveries/"+url.PathEscape(r.ID)+"/redeliver", struct{}{}, &d); err != nil {
			return err
		}
		_, err := fmt.Fprintf(c.Out, "%s is sent again\n", d.ID)
		return err
	}
	if r.State == "" {
		return errors.New("name a delivery, or choose some by --state")
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
	if err := host.call(ctx, "/host/v1/redeliveries", in, &out); err != nil {
		return err
	}
	if r.DryRun {
		_, err = fmt.Fprintf(c.Out, "%d deliveries would be sent again\n", out.Count)
	} else {
		_, err = fmt.Fprintf(c.Out, "%d deliveries are sent again (redelivery %s)\n", out.Count, out.ID)
	}
	return err
}

func (r redeliverCmd) hostKey(c *call) (string, error) {
	keys := hostKeys(c)
	if len(keys) == 0 {
		file := r.HostKeyFile
		if file == "" {
			file = filepath.Join(r.Data, "host.key")
		}
		text, err := os.ReadFile(file) //nolint:gosec // the operator names the file
		if err != nil {
			return "", fmt.Errorf("no host key: set OPENKENAR_HOST_KEY, --host-key-file or --data: %w", err)
		}
		keys = strings.Fields(string(text))
	}
	if len(keys) == 0 {
		return "", errors.New("no host key: the file is empty")
	}
	return keys[0], nil
}

// hostClient calls the host API of a running server.
type hostClient struct{ server, key string }

// callTimeout bounds one call of a command.
const callTimeout = 60 * time.Second

func (h hostClient) call(ctx context.Context, path string, in, out any) error {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	body, err := json.Marshal(in)
	if err != nil {
		return err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, strings.TrimRight(h.server, "/")+path, bytes.NewReader(body))
	if err != nil {
		return err
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("Authorization", "Bearer "+h.key)
	client := &http.Client{}
	resp, err := client.Do(req)
	if err != nil {
		return fmt.Errorf("call the server: %w; is it running? --server names it", err)
	}
	defer func() { _ = resp.Body.Close() }()
	answer, err := io.ReadAll(io.LimitReader(resp.Body, 1<<20))
	if err != nil {
		return fmt.Errorf("read the server's answer: %w", err)
	}
	if resp.StatusCode != http.StatusOK {
		var s status.Status
		if err := json.Unmarshal(answer, &s); err != nil || s.Message == "" {
			return fmt.Errorf("the server answered %d", resp.StatusCode)
		}
		return errors.New(s.Message)
	}
	return json.Unmarshal(answer, out)
}
