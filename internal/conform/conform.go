// Package conform plays a receiver's hard life and says how it bears it. Run
// calls the URLs of an app as the platform does, byte for byte, and then in the
// ways that a network, a stranger and a later version of the platform do; each
// Check says what it sends, what it wants, why that matters and how to mend it.
// Where it also plays the platform that the app calls (Options.Platform), it
// sees what the app does, not only what it answers. What cannot be seen is
// NotSeen, never Passed.
//
// It calls addresses of this machine and of private networks only, unless told
// that the target is the caller's own. A run is bounded in time (Bounds) and in
// traffic: some two hundred requests, the largest of 1 MiB.
// Contract: sections 3, 4 and 6.
package conform

import (
	"cmp"
	"context"
	"crypto/rand"
	"encoding/base64"
	"errors"
	"fmt"
	"net"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/openkenar/openkenar/internal/event"
	"github.com/openkenar/openkenar/internal/webhook"
	"github.com/openkenar/openkenar/internal/wire"
)

// Target is what of an app is checked.
type Target string

// The targets.
const (
	Event   Target = "event"   // its event URL
	Session Target = "session" // its session initialization URL
	Action  Target = "action"  // its dynamic action URL
)

// Severity says how bad a finding is.
type Severity string

// The severities.
const (
	Error   Severity = "error"   // events are lost, repeated for days, or believed though they are forged
	Warning Severity = "warning" // it works until something else goes wrong
)

// Outcome is how a check ended.
type Outcome string

// The outcomes.
const (
	Passed  Outcome = "passed"
	Failed  Outcome = "failed"   // there is a Finding
	NotSeen Outcome = "not seen" // what the app did could not be observed
	Skipped Outcome = "skipped"  // there was nothing to check, or no sense in it
	NotRun  Outcome = "not run"  // the time was up, or the caller gave up
)

// Options of Run.
type Options struct {
	EventURL   string // the URLs to check; one at least
	SessionURL string
	ActionURL  string

	IdentificationKey string // what the app expects in Authorization
	SigningSecret     string // whsec_…; "": nothing is signed, and checks of signatures are skipped
	// Platform is what the app under test calls as its platform: Run answers on
	// it while it runs, and closes it. nil: what the app does is not seen.
	Platform net.Listener
	// Only are the checks to run, by id or by the part before the slash. The first
	// call of each target is always made. nil: all.
	Only []string
	// Text of messages: one that the app acts on. Default "Hello!".
	Text string
	// Metadata is what the app's subscriptions carry, a JSON object. Default
	// {"key":"value"}.
	Metadata []byte
	// ActionData is what a button of the app carries, a JSON object. Default {}.
	ActionData []byte
	// Mine says that the targets are the caller's own although their addresses are public.
	Mine    bool
	Version string // of this program, for the User-Agent
	Bounds  Bounds
	// Each is called as checks end, one at a time; nil: nobody wants to know.
	Each func(Result)
}

// Bounds are how long things may take; what is zero is as the contract has it.
type Bounds struct {
	Run    time.Duration // the whole run; default 60 s
	Answer time.Duration // of a webhook; default 10 s
	Call   time.Duration // of a session initialization or a dynamic action; default 5 s, and never more
	Slow   time.Duration // how long a sender may drip before the app has to end it; default twice Answer
	Settle time.Duration // how long an app that has answered may take to act; default 1 s
}

func (b Bounds) orDefault() Bounds {
	b.Run = cmp.Or(b.Run, time.Minute)
	b.Answer = cmp.Or(b.Answer, webhook.Timeout)
	b.Call = cmp.Or(b.Call, webhook.CallTimeout)
	b.Slow = cmp.Or(b.Slow, 2*b.Answer)
	b.Settle = cmp.Or(b.Settle, time.Second)
	return b
}

// Finding is something wrong with an app.
type Finding struct {
	ID       string   `json:"id"` // of the check; stable
	Target   Target   `json:"target"`
	Severity Severity `json:"severity"`
	What     string   `json:"what"` // happened
	Why      string   `json:"why"`  // it matters
	Mend     string   `json:"mend"` // how to
}

// Result is how one check ended.
type Result struct {
	ID      string   `json:"id"`
	Target  Target   `json:"target"`
	Outcome Outcome  `json:"outcome"`
	Note    string   `json:"note,omitempty"` // why it is neither passed nor failed
	TookMS  int64    `json:"took_ms"`
	Finding *Finding `json:"finding,omitempty"`
}

// Report is what a run has found.
type Report struct {
	EventURL   string    `json:"event_url,omitempty"`
	SessionURL string    `json:"session_url,omitempty"`
	ActionURL  string    `json:"action_url,omitempty"`
	Platform   string    `json:"platform_url,omitempty"` // that the app was seen through
	StartedAt  time.Time `json:"started_at"`
	TookMS     int64     `json:"took_ms"`
	Findings   []Finding `json:"findings"` // in the order of the checks
	Results    []Result  `json:"checks"`
}

// Count returns how many checks ended in a way.
func (r Report) Count(o Outcome) (n int) {
	for _, result := range r.Results {
		if result.Outcome == o {
			n++
		}
	}
	return n
}

// Run checks an app. An error says that it could not be checked at all: an
// option is wrong, a URL cannot be reached, or ctx ended.
func Run(ctx context.Context, o Options) (Report, error) {
	if o.Platform != nil {
		defer func() { _ = o.Platform.Close() }() // also when nothing is served on it
	}
	r, err := newRun(o)
	if err != nil {
		return Report{}, err
	}
	report := Report{EventURL: o.EventURL, SessionURL: o.SessionURL, ActionURL: o.ActionURL, StartedAt: time.Now().UTC(), Findings: []Finding{}}
	if o.Platform != nil {
		report.Platform = "http://" + o.Platform.Addr().String()
		r.platform = newPlatform()
		defer r.platform.serve(o.Platform)()
	}
	defer r.client.Close()
	bounded, cancel := context.WithTimeout(ctx, r.bounds.Run)
	defer cancel()
	err = r.checks(bounded)
	if ctx.Err() != nil {
		return Report{}, fmt.Errorf("stopped: %w", context.Cause(ctx))
	}
	if err != nil {
		return Report{}, err
	}
	for _, c := range Checks() {
		result, ok := r.results[c.ID]
		if !ok {
			continue
		}
		report.Results = append(report.Results, result)
		if result.Finding != nil {
			report.Findings = append(report.Findings, *result.Finding)
		}
	}
	report.TookMS = time.Since(report.StartedAt).Milliseconds()
	return report, nil
}

// run is one run: what its checks share.
type run struct {
	o        Options
	bounds   Bounds
	targets  []Target
	secrets  [][]byte
	client   *webhook.Client
	patient  *webhook.Client // for as long as the run lasts
	platform *platform       // nil: what the app does is not seen
	begun    int64           // microseconds: webhook-ids of one run are of no other
	sent     atomic.Int64    // webhooks

	habits sync.Mutex
	usual  map[event.Type]int // acts that a webhook gives, once known

	mu      sync.Mutex
	results map[string]Result
}

func newRun(o Options) (*run, error) {
	r := &run{o: o, bounds: o.Bounds.orDefault(), begun: time.Now().UnixMicro(), results: map[string]Result{}, usual: map[event.Type]int{}}
	r.o.Text = cmp.Or(o.Text, "Hello!")
	if len(o.Metadata) == 0 {
		r.o.Metadata = []byte(`{"key":"value"}`)
	}
	if len(o.ActionData) == 0 {
		r.o.ActionData = []byte("{}")
	}
	for _, t := range []struct {
		target Target
		url    string
	}{{Event, o.EventURL}, {Session, o.SessionURL}, {Action, o.ActionURL}} {
		if t.url == "" {
			continue
		}
		if u, err := url.Parse(t.url); err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Hostname() == "" || u.User != nil || u.Fragment != "" {
			return nil, fmt.Errorf("%s URL %q cannot be called; write http://HOST:PORT/PATH", t.target, t.url)
		}
		r.targets = append(r.targets, t.target)
	}
	if len(r.targets) == 0 {
		return nil, errors.New("no URL to check: give an event, a session initialization or a dynamic action URL")
	}
	if o.IdentificationKey == "" {
		return nil, errors.New("no identification key: give the one that the app compares Authorization with")
	}
	if len(o.IdentificationKey) > maxKey || strings.ContainsFunc(o.IdentificationKey, func(c rune) bool { return c < ' ' || c > '~' }) {
		return nil, fmt.Errorf("the identification key is not printable ASCII of at most %d characters", maxKey)
	}
	if err := wire.MaxText("the text of messages", o.Text, maxText); err != nil {
		return nil, err
	}
	if !isObject(r.o.ActionData) {
		return nil, errors.New("the action's data is not a JSON object")
	}
	if !isObject(r.o.Metadata) || len(o.Metadata) > event.MaxMetadata {
		return nil, fmt.Errorf("the metadata is not a JSON object of at most %d bytes", event.MaxMetadata)
	}
	if o.SigningSecret != "" {
		secret, err := base64.StdEncoding.DecodeString(strings.TrimPrefix(o.SigningSecret, "whsec_"))
		if err != nil || len(secret) == 0 {
			return nil, errors.New(`the signing secret cannot be read: write it as the platform shows it, "whsec_…"`)
		}
		r.secrets = [][]byte{secret}
	}
	for _, name := range o.Only {
		if !slices.ContainsFunc(Checks(), func(c Check) bool { return c.named(name) }) {
			return nil, fmt.Errorf("there is no check %q; the list of them has their ids", name)
		}
	}
	transport := newLine(o.Mine)
	r.client = webhook.NewClient(webhook.Options{Transport: transport, Timeout: r.bounds.Answer, Version: o.Version})
	r.patient = webhook.NewClient(webhook.Options{Transport: transport, Timeout: r.bounds.Run, Version: o.Version})
	return r, nil
}

const maxKey = 1024

// checks runs the checks, wave after wave. The first call of each target
// decides whether there is sense in the others.
func (r *run) checks(ctx context.Context) error {
	silent := map[Target]bool{}
	for _, t := range r.targets {
		ok, err := r.first(ctx, t)
		if err != nil {
			return err
		}
		silent[t] = !ok
	}
	for w := range waves {
		var running sync.WaitGroup
		turns := make(chan struct{}, waves[w])
		for _, c := range Checks() {
			switch {
			case c.run == nil || c.wave != w || !slices.Contains(r.targets, c.Target) || !r.wanted(c):
			case silent[c.Target]:
				r.record(c, verdict{Skipped, "the first call failed", ""}, 0)
			default:
				turns <- struct{}{}
				running.Go(func() {
					defer func() { <-turns }()
					r.check(ctx, c)
				})
			}
		}
		running.Wait()
	}
	return nil
}

func (r *run) wanted(c Check) bool {
	return len(r.o.Only) == 0 || slices.ContainsFunc(r.o.Only, c.named)
}

func (r *run) check(ctx context.Context, c Check) {
	begun := time.Now()
	v := verdict{outcome: NotRun}
	if ctx.Err() == nil {
		v = c.run(ctx, r)
	}
	if ctx.Err() != nil { // what it saw is what the end of the run did
		v = verdict{NotRun, "the time was up before it ended", ""}
	}
	r.record(c, v, time.Since(begun))
}

// verdict is what a check has to say.
type verdict struct {
	outcome  Outcome
	text     string   // of Failed: what happened; else a note
	severity Severity // of Failed, where it is not the check's own
}

func passed() verdict { return verdict{outcome: Passed} }
func failed(format string, args ...any) verdict {
	return verdict{Failed, fmt.Sprintf(format, args...), ""}
}
func notSeen(why string) verdict { return verdict{NotSeen, why, ""} }

// warned is a failure that is not as bad as the check's usual one.
func warned(format string, args ...any) verdict {
	return verdict{Failed, fmt.Sprintf(format, args...), Warning}
}

func (r *run) record(c Check, v verdict, took time.Duration) {
	result := Result{ID: c.ID, Target: c.Target, Outcome: v.outcome, Note: v.text, TookMS: took.Milliseconds()}
	if v.outcome == Failed {
		result.Note = ""
		result.Finding = &Finding{
			ID: c.ID, Target: c.Target, Severity: cmp.Or(v.severity, c.Severity), What: v.text, Why: c.Why, Mend: c.Mend,
		}
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.results[c.ID] = result
	if r.o.Each != nil {
		r.o.Each(result)
	}
}

// webhookID is one that no other webhook has, of this run or another: an app
// that remembers those that it has seen must not take one for a repeat.
func (r *run) webhookID() string {
	return strconv.FormatInt(r.begun+r.sent.Add(1), 10) + "-conform"
}

// token is a random name of n letters.
func token(n int) string { return rand.Text()[:n] }
