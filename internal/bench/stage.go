package bench

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"github.com/openkenar/openkenar/internal/server"
)

const (
	conversations = 512                    // of all apps together, as the platform sends those of one in order
	fewest        = 8                      // of one app
	quiet         = 40 * time.Second       // without an arrival, the rest is lost; a second retry comes before that
	poll          = 20 * time.Millisecond  // how often the receiver is asked
	settle        = 500 * time.Millisecond // for the server to write the last outcomes down, before its CPU is read
)

// stage is what a scenario runs on: the server, the receiver, and the apps.
type stage struct {
	Options
	dir      string
	platform *platform
	process  *process // the receiver's
	receiver addresses
	joined   int   // apps made
	apps     []app // those of them that are well
	runs     int
	bare     float64 // requests a second of the bare loop
}

// app is an app that hears of one post, and the conversations on it.
type app struct{ conversations []string }

// open starts everything, sends each app a first event, and then measures the
// bare loop: the server has nothing to do meanwhile.
func (s *stage) open(ctx context.Context, apps int) error {
	if err := s.startReceiver(ctx, apps); err != nil {
		return err
	}
	s.platform = &platform{dir: s.dir, database: s.Database}
	if err := s.platform.start(ctx); err != nil {
		return err
	}
	for _, hook := range s.receiver.Hooks {
		a, err := s.join(ctx, hook)
		if err != nil {
			return err
		}
		s.apps = append(s.apps, a)
	}
	probe, err := s.measure(ctx, run{apps: s.apps, events: len(s.apps), lines: 1, connections: 1})
	if err != nil {
		return err
	}
	if probe.Lost > 0 {
		return fmt.Errorf("%d of %d apps do not hear; see %s", probe.Lost, len(s.apps), s.platform.log())
	}
	return s.measureBare(ctx)
}

// close ends the processes.
func (s *stage) close() {
	if s.platform != nil {
		s.platform.kill()
	}
	if s.process != nil {
		s.process.kill()
	}
}

func (s *stage) startReceiver(ctx context.Context, apps int) error {
	file := filepath.Join(s.dir, "receiver.json")
	cmd, err := program(ctx, "bench-receiver", "--apps", strconv.Itoa(apps), "--ready", file)
	if err != nil {
		return err
	}
	if _, err := cmd.StdinPipe(); err != nil { // it ends with this end of the pipe
		return err
	}
	cmd.Stderr = os.Stderr
	if s.process, err = start(cmd); err != nil {
		return err
	}
	return s.process.ready(ctx, file, &s.receiver)
}

// measureBare runs the bare loop with the first webhook that came.
func (s *stage) measureBare(ctx context.Context) error {
	job := bareJob{URL: s.receiver.Hooks[0], Connections: s.Connections, Requests: s.Events}
	if err := s.ask(ctx, "sample", nil, &job.Webhook); err != nil {
		return err
	}
	in, err := json.Marshal(job)
	if err != nil {
		return err
	}
	cmd, err := program(ctx, "bench-bare")
	if err != nil {
		return err
	}
	cmd.Stdin, cmd.Stderr = bytes.NewReader(in), os.Stderr
	out, err := cmd.Output()
	if err != nil {
		return fmt.Errorf("the bare loop: %w", err)
	}
	return json.Unmarshal(out, &s.bare)
}

// join makes an app with a post of its own, conversations on it, and a
// subscription to their messages.
func (s *stage) join(ctx context.Context, hook string) (a app, err error) {
	n := s.joined
	s.joined++
	slug, post, seller := fmt.Sprintf("bench-%03d", n), fmt.Sprintf("bench%03d", n), fmt.Sprintf("seller-%03d", n)
	lines := fmt.Appendf(nil, `{"post":{"token":%q,"owner":%q,"title":"Bench","state":"PUBLISHED"}}`+"\n", post, seller)
	for i := range max(fewest, conversations/len(s.receiver.Hooks)) {
		id := fmt.Sprintf("edbb9499-cccc-4d35-%04d-%0*d", n, digits, i)
		a.conversations = append(a.conversations, id)
		lines = fmt.Appendf(lines, `{"conversation":{"id":%q,"type":"POST","post_token":%q,"buyer":"buyer-%d"}}`+"\n", id, post, i)
	}
	host := s.platform.info.BaseURL + "/host/v1/"
	as := http.Header{"Authorization": {"Bearer " + s.platform.info.HostKey}}
	permissions := []string{"EVENTS_REGISTER_SUBSCRIPTION"}
	if err := call(ctx, host+"batch", http.Header{"Authorization": as["Authorization"], "Content-Type": {"application/x-ndjson"}}, lines, nil); err != nil {
		return a, err
	}
	err = call(ctx, host+"apps", as, map[string]any{
		"slug": slug, "event_url": hook, "permissions": permissions, "identification_key": "an-identification-key-of-usual-length",
	}, nil)
	if err != nil {
		return a, err
	}
	var key struct{ Key string }
	if err := call(ctx, host+"apps/"+slug+"/keys", as, map[string]any{"permissions": permissions}, &key); err != nil {
		return a, err
	}
	var token struct {
		Text string `json:"access_token"`
	}
	err = call(ctx, host+"dev/tokens", as, map[string]any{
		"app": slug, "user": seller, "scopes": []string{"CHAT_SUPPLIER_ALL_CONVERSATIONS_READ"}, "ttl": "24h",
	}, &token)
	if err != nil {
		return a, err
	}
	return a, call(ctx, s.platform.info.BaseURL+"/v1/open-platform/events/subscriptions",
		http.Header{"X-Api-Key": {key.Key}, "Authorization": {"Bearer " + token.Text}},
		map[string]any{"event_type": "NEW_MESSAGE_ON_POST", "event_resource_id": post, "metadata": map[string]string{"key": "value"}}, nil)
}

// feed feeds a run under a mark of its own, whose arrivals nobody counts.
func (s *stage) feed(ctx context.Context, r run) (*fed, error) {
	r.mark = s.nextMark()
	return r.feed(ctx, s.platform)
}

// nextMark is the start of a run's message ids.
func (s *stage) nextMark() string {
	s.runs++
	return fmt.Sprintf("e7a08a2c-8ee4-11ef-%04d-", s.runs)
}

// measure feeds a run, waits until all of it has arrived, and says how it went.
func (s *stage) measure(ctx context.Context, r run) (Result, error) {
	r.mark = s.nextMark()
	if err := s.ask(ctx, "expect", expectation{Mark: `"id":"` + r.mark, Events: r.events}, nil); err != nil {
		return Result{}, err
	}
	before := s.platform.usage()
	f, err := r.feed(ctx, s.platform)
	if err != nil {
		return Result{}, err
	}
	if err := s.await(ctx, f.accepted.Load()); err != nil {
		return Result{}, err
	}
	used := s.platform.usage().cpu - before.cpu
	var came arrivals
	if err := s.ask(ctx, "arrivals", nil, &came); err != nil {
		return Result{}, err
	}
	result := compare(f, came)
	result.Bare, result.Ratio = s.bare, result.Delivered/s.bare
	if arrived := result.Events - result.Lost; arrived > 0 {
		result.ServerCPU = float64(used.Microseconds()) / float64(arrived)
	}
	if r.killAfter > 0 {
		result.FirstDelivery = milliseconds(firstAfter(s.platform.started, came.First))
	}
	return result, nil
}

// await waits until so many events have arrived, or none more do, and until
// the server has written their outcomes down.
func (s *stage) await(ctx context.Context, events int64) error {
	tick := time.NewTicker(poll)
	defer tick.Stop()
	seen, changed := int64(0), time.Now()
	for {
		var arrived int64
		if err := s.ask(ctx, "arrived", nil, &arrived); err != nil {
			return err
		}
		if arrived != seen {
			seen, changed = arrived, time.Now()
		}
		if since := time.Since(changed); since > quiet || arrived >= events && since > settle {
			return nil
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// audit counts what the ledger of the killed server does not account for.
func (s *stage) audit(ctx context.Context) (unaccounted int64, err error) {
	ledger, err := server.OpenLedger(ctx, server.Place{Data: s.dir, Database: s.Database})
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, ledger.Close()) }()
	audit, err := ledger.Audit(ctx, func(int64) {})
	return audit.Unaccounted, err
}

// ask asks the receiver.
func (s *stage) ask(ctx context.Context, what string, in, out any) error {
	return call(ctx, s.receiver.Control+what, nil, in, out)
}

// call makes a call outside the measured runs. in is sent as JSON, or as it is.
func call(ctx context.Context, url string, header http.Header, in, out any) (err error) {
	body, ready := in.([]byte)
	if !ready && in != nil {
		if body, err = json.Marshal(in); err != nil {
			return err
		}
	}
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, url, bytes.NewReader(body))
	if err != nil {
		return err
	}
	req.Header.Set("Content-Type", "application/json")
	maps.Copy(req.Header, header)
	client := &http.Client{}
	resp, err := client.Do(req)
	if err != nil {
		return err
	}
	defer func() { _ = resp.Body.Close() }()
	answer, err := io.ReadAll(resp.Body)
	if err != nil {
		return err
	}
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("%s was answered with %d: %s", url, resp.StatusCode, answer)
	}
	if out == nil {
		return nil
	}
	return json.Unmarshal(answer, out)
}
