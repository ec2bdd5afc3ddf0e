package webhook

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/openkenar/openkenar/internal/status"
)

// FaultKind is a way in which a call to an app goes wrong.
type FaultKind string

// The kinds of faults.
const (
	FaultDelay      FaultKind = "delay"       // it goes out only after a while
	FaultDuplicate  FaultKind = "duplicate"   // the app gets it twice
	FaultReorder    FaultKind = "reorder"     // the app gets it after what comes next
	FaultDropAnswer FaultKind = "drop_answer" // the app gets it, and its answer is lost
	FaultCut        FaultKind = "cut"         // the connection breaks before the app gets it
	FaultStatus     FaultKind = "status"      // it is answered with a status, and the app not asked
)

var faultKinds = []FaultKind{FaultDelay, FaultDuplicate, FaultReorder, FaultDropAnswer, FaultCut, FaultStatus}

// What chooses more calls than those of one type.
const (
	AnyWebhook = "WEBHOOK" // all webhooks
	AnyCall    = "CALL"    // all that somebody waits for
)

// MaxFaultCalls is how many calls a rule may spoil.
const MaxFaultCalls = 1000

const (
	maxFaults     = 100             // rules at a time
	maxDelay      = time.Minute     // longer than any call may take
	defaultDelay  = 3 * time.Second // of FaultDelay, and the longest that FaultReorder holds back
	defaultStatus = 500
)

// Fault is a rule: what goes wrong with the next calls that it chooses.
type Fault struct {
	ID     int64
	Kind   FaultKind
	App    string        // "" for all
	Type   string        // AnyWebhook, AnyCall, a type of event or of call; "" for all
	Count  int           // calls still to go wrong; default 1
	Delay  time.Duration // of FaultDelay and FaultReorder; default 3 s
	Status int           // of FaultStatus; default 500
}

// Faults is what goes wrong on purpose with calls to apps, in dev mode. Each
// call is spoilt by one rule at most, the oldest that chooses it. Rules are in
// memory: a restart forgets them. The zero value has none.
type Faults struct {
	mu     sync.Mutex
	last   int64
	rules  []Fault
	passed map[string]chan struct{} // by app: closed when its next call is through
}

// Add adds a rule and returns it with its defaults.
func (f *Faults) Add(rule Fault) (Fault, error) {
	refuse := func(format string, args ...any) (Fault, error) {
		return Fault{}, status.New(status.Invalid, format, args...)
	}
	timed := rule.Kind == FaultDelay || rule.Kind == FaultReorder
	switch {
	case !slices.Contains(faultKinds, rule.Kind):
		return refuse("fault: %q is not one of %s", rule.Kind, joinKinds())
	case rule.Count < 0 || rule.Count > MaxFaultCalls:
		return refuse("count: %d, want 1 to %d", rule.Count, MaxFaultCalls)
	case rule.Delay < 0 || rule.Delay > maxDelay:
		return refuse("delay: %s, want at most %s", rule.Delay, maxDelay)
	case rule.Delay != 0 && !timed:
		return refuse("delay: a fault of kind %s has none", rule.Kind)
	case rule.Status != 0 && rule.Kind != FaultStatus:
		return refuse("status: a fault of kind %s has none", rule.Kind)
	case rule.Status != 0 && (rule.Status < 200 || rule.Status > 599):
		return refuse("status: %d, want 200 to 599", rule.Status)
	}
	if rule.Count == 0 {
		rule.Count = 1
	}
	if timed && rule.Delay == 0 {
		rule.Delay = defaultDelay
	}
	if rule.Kind == FaultStatus && rule.Status == 0 {
		rule.Status = defaultStatus
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if len(f.rules) >= maxFaults {
		return Fault{}, status.New(status.FailedPrecondition, "%d faults wait already; clear them first", maxFaults)
	}
	f.last++
	rule.ID = f.last
	f.rules = append(f.rules, rule)
	return rule, nil
}

func joinKinds() string {
	names := make([]string, len(faultKinds))
	for i, k := range faultKinds {
		names[i] = string(k)
	}
	return strings.Join(names, ", ")
}

// List returns the rules that still wait, the oldest first.
func (f *Faults) List() []Fault {
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.Clone(f.rules)
}

// Clear takes a rule away, or all of them where id is 0. One that is not there
// is no error.
func (f *Faults) Clear(id int64) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.rules = slices.DeleteFunc(f.rules, func(r Fault) bool { return id == 0 || r.ID == id })
}

// spoilable is what the rules need to know of a call; its context carries it.
type spoilable struct {
	About
	webhook bool
}

type spoilableKey struct{}

// chooses says whether a rule is for a call.
func (r Fault) chooses(c spoilable) bool {
	if r.App != "" && r.App != c.App || r.Kind == FaultReorder && !c.webhook {
		return false
	}
	switch r.Type {
	case "", c.Type:
		return true
	case AnyWebhook:
		return c.webhook
	case AnyCall:
		return !c.webhook
	}
	return false
}

// take returns the rule for a call and counts it; ok is false for none.
func (f *Faults) take(c spoilable) (rule Fault, ok bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	i := slices.IndexFunc(f.rules, func(r Fault) bool { return r.chooses(c) })
	if i < 0 {
		return rule, false
	}
	rule = f.rules[i]
	if f.rules[i].Count--; f.rules[i].Count == 0 {
		f.rules = slices.Delete(f.rules, i, i+1)
	}
	return rule, true
}

// awaited says whether rules wait for calls, or calls for others.
func (f *Faults) awaited() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return len(f.rules) > 0 || len(f.passed) > 0
}

// pass tells that a call of an app is through.
func (f *Faults) pass(app string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if c, ok := f.passed[app]; ok {
		close(c)
		delete(f.passed, app)
	}
}

// next returns a channel that is closed when the app's next call is through.
func (f *Faults) next(app string) <-chan struct{} {
	f.mu.Lock()
	defer f.mu.Unlock()
	c, ok := f.passed[app]
	if !ok {
		if f.passed == nil {
			f.passed = map[string]chan struct{}{}
		}
		c = make(chan struct{})
		f.passed[app] = c
	}
	return c
}

// over returns a transport whose calls go wrong as the rules say.
func (f *Faults) over(sound http.RoundTripper) http.RoundTripper { return faulty{f, sound} }

type faulty struct {
	faults *Faults
	sound  http.RoundTripper
}

var errFault = errors.New("a fault that was asked for")

// RoundTrip implements http.RoundTripper.
func (t faulty) RoundTrip(r *http.Request) (*http.Response, error) {
	c, ok := r.Context().Value(spoilableKey{}).(spoilable)
	if !ok {
		return t.sound.RoundTrip(r)
	}
	rule, ok := t.faults.take(c)
	if !ok {
		return t.through(c.App, r)
	}
	switch rule.Kind {
	case FaultDelay:
		if _, err := wait(r.Context(), rule.Delay, nil); err != nil {
			return nil, err
		}
	case FaultReorder:
		// Those behind it in its own conversation wait for it. So it steps aside in
		// the end as one that failed, and comes again with its retry.
		overtaken, err := wait(r.Context(), rule.Delay, t.faults.next(c.App))
		if err == nil && !overtaken {
			err = fmt.Errorf("%w: nothing came to overtake it, so it steps aside until its retry", errFault)
		}
		if err != nil {
			return nil, err
		}
	case FaultDuplicate:
		if resp, err := t.again(r); err == nil {
			_, _ = io.CopyN(io.Discard, resp.Body, maxDrain)
			_ = resp.Body.Close()
		}
	case FaultDropAnswer:
		if resp, err := t.through(c.App, r); err == nil {
			_ = resp.Body.Close()
		}
		return nil, fmt.Errorf("%w: the answer is lost", errFault)
	case FaultCut:
		return nil, fmt.Errorf("%w: the app got nothing", errFault)
	case FaultStatus:
		return answer(r, rule.Status), nil
	}
	return t.through(c.App, r)
}

// through makes a call and tells those that wait for it to overtake them.
func (t faulty) through(app string, r *http.Request) (*http.Response, error) {
	resp, err := t.sound.RoundTrip(r)
	t.faults.pass(app)
	return resp, err
}

// again makes a call a first time, that can be made a second time.
func (t faulty) again(r *http.Request) (*http.Response, error) {
	body, err := r.GetBody()
	if err != nil {
		return nil, err
	}
	first := r.Clone(r.Context())
	first.Body = body
	return t.sound.RoundTrip(first)
}

// CloseIdleConnections is what http.Client calls it.
func (t faulty) CloseIdleConnections() {
	if sound, ok := t.sound.(interface{ CloseIdleConnections() }); ok {
		sound.CloseIdleConnections()
	}
}

// wait waits for a time, or until passed is closed.
func wait(ctx context.Context, long time.Duration, passed <-chan struct{}) (done bool, err error) {
	timer := time.NewTimer(long)
	defer timer.Stop()
	select {
	case <-timer.C:
		return false, nil
	case <-passed:
		return true, nil
	case <-ctx.Done():
		return false, ctx.Err()
	}
}

// answer is one that no app gave.
func answer(r *http.Request, code int) *http.Response {
	text := "a fault that was asked for: status " + strconv.Itoa(code) + "\n"
	return &http.Response{
		StatusCode: code, Status: strconv.Itoa(code) + " " + http.StatusText(code), Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1,
		Header: http.Header{"Content-Type": {"text/plain; charset=utf-8"}}, ContentLength: int64(len(text)),
		Body: io.NopCloser(bytes.NewReader([]byte(text))), Request: r,
	}
}
