package cli

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/openkenar/openkenar/internal/filelock"
	"github.com/openkenar/openkenar/internal/webhook"
)

// listen is two processes. The one that people start follows the server; the
// courier, which it starts, posts one event after another and writes down how
// far it has come. When the first is killed, however hard, the courier finishes
// the event under way, writes that down and ends, so that nothing is repeated.
// Only when the courier itself is killed while it posts is an event in doubt; it
// is posted again, marked as a further attempt. See decision 10.

const (
	// courierWait is how long a courier waits for an earlier one to finish.
	courierWait = webhook.Timeout + 5*time.Second
	courierLook = 10 * time.Millisecond
	// courierTell is when it says that it waits.
	courierTell = time.Second
	// How long it waits until it posts again what was not accepted.
	againFirst = 200 * time.Millisecond
	againMax   = 5 * time.Second
	// maxLine is how long a line between the two may be, in bytes.
	maxLine = 16 << 20
)

// fetched is an event as the server gives it out.
type fetched struct {
	Cursor    string            `json:"cursor"`
	WebhookID string            `json:"webhook_id"`
	Headers   map[string]string `json:"headers"`
	Body      string            `json:"body"`

	read time.Time
}

// position is how far a courier has come: what its state file holds.
type position struct {
	Server  string `json:"server"`
	App     string `json:"app"`
	Cursor  string `json:"cursor"`            // all up to it is done with; "" at the very beginning
	Event   string `json:"event,omitempty"`   // the webhook-id of the next, once it was tried
	Attempt int    `json:"attempt,omitempty"` // how often
	// InDoubt: how the last attempt ended is not known (yet).
	InDoubt bool `json:"in_doubt,omitempty"`
}

// readPosition reads a state file; ok is false where there is none.
func readPosition(file string) (p position, ok bool, err error) {
	content, err := os.ReadFile(file) //nolint:gosec // the operator names the file
	if errors.Is(err, os.ErrNotExist) {
		return p, false, nil
	}
	if err == nil {
		err = json.Unmarshal(content, &p)
	}
	if err != nil {
		return p, false, fmt.Errorf("the state file %s cannot be read: %w; remove it to begin anew", file, err)
	}
	return p, true, nil
}

// write replaces the state file: whoever is killed meanwhile leaves the old one
// or the new one.
func (p position) write(file string) error {
	content, err := json.Marshal(p)
	if err != nil {
		return err
	}
	// Failure policy: no fsync. A machine that loses power may repeat what it
	// posted in the last seconds; a process that is killed loses nothing.
	next := file + ".next"
	if err := os.WriteFile(next, append(content, '\n'), 0o600); err != nil {
		return fmt.Errorf("write the state: %w", err)
	}
	if err := os.Rename(next, file); err != nil {
		return fmt.Errorf("write the state: %w", err)
	}
	return nil
}

// order is what a courier is told, one a line: where to begin unless its state
// says more, an event to post, or how far all is done with.
type order struct {
	Begin  *position `json:"begin,omitempty"`
	Event  *fetched  `json:"event,omitempty"`
	Read   time.Time `json:"read,omitzero"` // when the event was
	Cursor string    `json:"cursor,omitempty"`
}

// report is what it answers: where it stands, or how an attempt went.
type report struct {
	At *position `json:"at,omitempty"`

	Attempt int           `json:"attempt,omitempty"`
	Doubt   bool          `json:"doubt,omitempty"` // whether one before it arrived is not known
	Status  int           `json:"status,omitempty"`
	Answer  string        `json:"answer,omitempty"`
	Error   string        `json:"error,omitempty"`
	Took    time.Duration `json:"took,omitempty"`
	Again   time.Duration `json:"again,omitempty"` // until the next attempt; 0: there is none
	Done    bool          `json:"done,omitempty"`  // with the event; accepted, unless Error says why it is given up
	// Stale: the event must be read again before it is posted. Receivers refuse a
	// signature that is a few minutes old, and access may have been taken away.
	Stale bool `json:"stale,omitempty"`
}

// accepted says whether the app has taken the event.
func (r report) accepted() bool { return r.Done && r.Error == "" }

type courierCmd struct {
	State   string `required:"" type:"path"`
	Forward string `required:""`
	Tries   int
	Fresh   time.Duration `required:""` // how long after it was read an event is posted
}

// Run posts events until its orders end.
func (k courierCmd) Run(ctx context.Context, c *call) (err error) {
	// Whoever gives the orders may be killed at any moment: then they end.
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	orders := make(chan order, 1) // so that their end is seen while the first one waits
	go func() {                   // ends with its input, or with the process
		defer cancel()
		lines := bufio.NewScanner(c.In)
		lines.Buffer(nil, maxLine)
		for lines.Scan() {
			var o order
			if json.Unmarshal(lines.Bytes(), &o) != nil {
				return
			}
			select {
			case orders <- o:
			case <-ctx.Done():
				return
			}
		}
	}()
	lock, err := k.take(ctx, c)
	switch {
	case ctx.Err() != nil && err != nil:
		return nil // nobody waits for it any more
	case err != nil:
		return err
	}
	defer func() { err = errors.Join(err, lock.Close()) }()
	var first order
	select {
	case first = <-orders:
	case <-ctx.Done():
		return nil
	}
	p, err := k.begin(first)
	if err != nil {
		return err
	}
	w := &worker{
		courierCmd: k, position: p, out: json.NewEncoder(c.Out),
		client: &http.Client{
			CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
			Timeout:       webhook.Timeout,
			Transport:     &http.Transport{Proxy: http.ProxyFromEnvironment, DisableCompression: true}, // else it adds a header
		},
	}
	if err := w.out.Encode(report{At: &w.position}); err != nil {
		return err
	}
	for {
		select {
		case o := <-orders:
			if err := w.carryOut(ctx, o); err != nil {
				return err
			}
		case <-ctx.Done():
			return nil
		}
	}
}

// take waits for a courier that finishes what an earlier listen has begun.
func (k courierCmd) take(ctx context.Context, c *call) (io.Closer, error) {
	if err := os.MkdirAll(filepath.Dir(k.State), 0o700); err != nil {
		return nil, fmt.Errorf("make the directory of the state file: %w", err)
	}
	tick := time.NewTicker(courierLook)
	defer tick.Stop()
	tell, deadline := time.After(courierTell), time.After(courierWait)
	for {
		lock, err := filelock.Take(k.State + ".lock")
		if !errors.Is(err, filelock.ErrHeld) {
			return lock, err
		}
		select {
		case <-tick.C:
		case <-tell:
			_, _ = fmt.Fprintf(c.Err, "listen: another one works with the state file %s; waiting for it to finish\n", shown(k.State))
		case <-deadline:
			return nil, fmt.Errorf("another openkenar listen works with the state file %s: stop it, or choose another --state", shown(k.State))
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

// begin returns where to go on.
func (k courierCmd) begin(o order) (position, error) {
	if o.Begin == nil {
		return position{}, errors.New("this is a part of openkenar listen")
	}
	p, known, err := readPosition(k.State)
	switch {
	case err != nil:
		return p, err
	case !known:
		return *o.Begin, o.Begin.write(k.State)
	case p.Server != o.Begin.Server || p.App != o.Begin.App:
		return p, fmt.Errorf("the state file %s is of the app %s at %s: name another with --state", k.State, plain(p.App), plain(p.Server))
	}
	return p, nil
}

// worker is a courier at work.
type worker struct {
	courierCmd
	position
	out    *json.Encoder
	client *http.Client
}

func (w *worker) moveTo(cursor string) {
	w.Cursor, w.Event, w.Attempt, w.InDoubt = cursor, "", 0, false
}

func (w *worker) carryOut(ctx context.Context, o order) error {
	switch {
	case o.Event != nil:
		return w.deliver(ctx, *o.Event, o.Read)
	case o.Cursor != "" && o.Cursor != w.Cursor:
		w.moveTo(o.Cursor)
		return w.write(w.State)
	}
	return nil
}

// deliver posts an event until it is accepted or given up, is no longer fresh, or
// the orders end.
func (w *worker) deliver(ctx context.Context, e fetched, read time.Time) error {
	if e.Cursor == w.Cursor { // the report of it was lost
		return w.out.Encode(report{Done: true, Attempt: w.Attempt})
	}
	if w.Event != e.WebhookID {
		w.Event, w.Attempt, w.InDoubt = e.WebhookID, 0, false
	}
	for again := againFirst; ; again = min(2*again, againMax) {
		if time.Since(read) > w.Fresh {
			return w.out.Encode(report{Stale: true})
		}
		r := report{Attempt: w.Attempt + 1, Doubt: w.InDoubt}
		// Failure policy: what may have arrived is posted again, and says so. The app
		// tells by the webhook-id; an event that is lost nobody can tell.
		w.Attempt, w.InDoubt = r.Attempt, true
		if err := w.write(w.State); err != nil {
			return err
		}
		w.post(ctx, e, &r)
		if r.Done = r.Error == "" || w.Tries > 0 && r.Attempt >= w.Tries; r.Done {
			w.moveTo(e.Cursor)
		} else {
			w.InDoubt, r.Again = false, again
		}
		if err := w.write(w.State); err != nil {
			return err
		}
		if err := w.out.Encode(r); err != nil || r.Done {
			return err
		}
		select {
		case <-time.After(again):
		case <-ctx.Done():
			return nil
		}
	}
}

// post makes an attempt. It is finished whatever happens meanwhile.
func (w *worker) post(ctx context.Context, e fetched, r *report) {
	start := time.Now()
	defer func() { r.Took = time.Since(start) }()
	req, err := http.NewRequestWithContext(context.WithoutCancel(ctx), http.MethodPost, w.Forward, strings.NewReader(e.Body))
	if err != nil {
		r.Error = err.Error()
		return
	}
	for name, value := range e.Headers {
		req.Header[name] = []string{value}
	}
	req.Header["OpenKenar-Attempt"] = []string{strconv.Itoa(r.Attempt)}
	resp, err := w.client.Do(req)
	if err != nil {
		r.Error = "no answer: " + reasonOf(err)
		return
	}
	defer func() { _ = resp.Body.Close() }()
	answer, _ := io.ReadAll(io.LimitReader(resp.Body, webhook.MaxAnswer))
	_, _ = io.CopyN(io.Discard, resp.Body, webhook.MaxAnswer) // so that the connection can be used again
	r.Status, r.Answer = resp.StatusCode, string(bytes.ToValidUTF8(answer, []byte("\uFFFD")))
	if r.Status < 200 || r.Status > 299 {
		r.Error = "answered " + strconv.Itoa(r.Status)
	}
}

// reasonOf is an error without the URL that people know anyway.
func reasonOf(err error) string {
	for inner := errors.Unwrap(err); inner != nil; inner = errors.Unwrap(err) {
		err = inner
	}
	return err.Error()
}

// courier is the process that posts, as listen sees it.
type courier struct {
	cmd     *exec.Cmd
	in      io.WriteCloser
	reports *bufio.Scanner
	at      position // where it stood when it began
	watch   func() bool
}

// startCourier starts a courier, which begins where its state file says, or else
// at a position.
func startCourier(ctx context.Context, c *call, k courierCmd, begin position) (*courier, error) {
	path, err := os.Executable()
	if err != nil {
		return nil, err
	}
	// It outlives ctx: its orders end then, and it finishes.
	cmd := exec.CommandContext(context.WithoutCancel(ctx), path, "listen-courier", //nolint:gosec // this very program
		"--state", k.State, "--forward", k.Forward, "--tries", strconv.Itoa(k.Tries), "--fresh", k.Fresh.String())
	cmd.Args[0] = os.Args[0]
	cmd.SysProcAttr, cmd.Stderr = detached(), c.Err
	d := &courier{cmd: cmd}
	if d.in, err = cmd.StdinPipe(); err != nil {
		return nil, err
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	d.reports = bufio.NewScanner(out)
	d.reports.Buffer(nil, maxLine)
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("start the process that posts: %w", err)
	}
	d.watch = context.AfterFunc(ctx, d.rest)
	r, err := d.tell(order{Begin: &begin})
	if err != nil || r.At == nil {
		if err := d.fault(); err != nil {
			return nil, err
		}
		return nil, errCourier
	}
	d.at = *r.At
	return d, nil
}

// errCourier says that a courier has ended.
var errCourier = errors.New("the process that posts has ended")

// tell gives an order and returns the first report of it.
func (d *courier) tell(o order) (report, error) {
	if err := d.send(o); err != nil {
		return report{}, err
	}
	return d.next()
}

func (d *courier) send(o order) error {
	line, err := json.Marshal(o)
	if err != nil {
		return err
	}
	if _, err := d.in.Write(append(line, '\n')); err != nil {
		return errCourier
	}
	return nil
}

// next returns a report.
func (d *courier) next() (r report, err error) {
	if !d.reports.Scan() {
		return r, errCourier
	}
	return r, json.Unmarshal(d.reports.Bytes(), &r)
}

// rest ends the orders: the courier finishes what is under way.
func (d *courier) rest() { _ = d.in.Close() }

// stop waits until the courier has finished.
func (d *courier) stop() error {
	d.watch()
	d.rest()
	for d.reports.Scan() {
		continue // nobody asked for it
	}
	return d.cmd.Wait()
}

// fault is why the courier failed; nil where it was killed, or has finished.
func (d *courier) fault() error {
	err := d.stop()
	exit, ok := errors.AsType[*exec.ExitError](err)
	switch {
	case ok && exit.ExitCode() < 0:
		return nil
	case ok:
		return errFound // it has said what itself
	default:
		return err
	}
}
