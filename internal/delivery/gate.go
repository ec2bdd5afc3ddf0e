package delivery

import (
	"cmp"
	"context"
	"sync"
	"time"

	"github.com/openkenar/openkenar/internal/webhook"
)

// closedFor is how long, at least, the gate remembers what it closed. What is
// read from the ledger later comes marked as revoked; this covers the copies
// that lanes held at that moment: at worst a whole lane of one order key, each
// of which times out.
const closedFor = (laneItems + 1) * webhook.Timeout

// gate stands before every send. Closing a grant or an event ends the sends
// under way that rest on it and lets no other through; when Close returns,
// there is silence.
type gate struct {
	mu sync.Mutex
	// Why it is closed, by grant or event id: both come from one sequence. Two
	// generations, so that forgetting costs nothing: closings go into the
	// newer, which becomes the older after closedFor.
	newer, older map[int64]string
	since        time.Time // of the newer
	inside       map[*pass]struct{}
}

// pass is one send that is under way.
type pass struct {
	grant, event int64
	cancel       context.CancelFunc
	left         chan struct{}
}

func newGate() *gate {
	return &gate{newer: map[int64]string{}, inside: map[*pass]struct{}{}}
}

// enter lets a send through, or says why not. The context ends when the gate
// closes on it; the caller must call leave.
func (g *gate) enter(ctx context.Context, d Delivery) (_ context.Context, p *pass, refusal string) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if refusal := g.refusal(d); refusal != "" {
		return nil, nil, refusal
	}
	ctx, cancel := context.WithCancel(ctx)
	p = &pass{grant: d.Grant, event: d.ID.Event, cancel: cancel, left: make(chan struct{})}
	g.inside[p] = struct{}{}
	return ctx, p, ""
}

// enterAll lets through at once what is given out together; what the gate is
// closed for is not in passed. The context ends when the gate closes on any of
// it; the caller must call leave.
func (g *gate) enterAll(ctx context.Context, list []Entry) (_ context.Context, passed []Entry, refused []string, leave func()) {
	ctx, cancel := context.WithCancel(ctx)
	left := make(chan struct{})
	passes := make([]*pass, 0, len(list))
	g.mu.Lock()
	defer g.mu.Unlock()
	for _, e := range list {
		if refusal := g.refusal(e.Delivery); refusal != "" {
			refused = append(refused, refusal)
			continue
		}
		p := &pass{grant: e.Grant, event: e.ID.Event, cancel: cancel, left: left}
		g.inside[p] = struct{}{}
		passes, passed = append(passes, p), append(passed, e)
	}
	return ctx, passed, refused, func() {
		g.mu.Lock()
		defer g.mu.Unlock()
		for _, p := range passes {
			delete(g.inside, p)
		}
		cancel()
		close(left)
	}
}

// leave ends a pass and says whether the gate was closed on it meanwhile.
func (g *gate) leave(p *pass, d Delivery) (refusal string) {
	g.mu.Lock()
	defer g.mu.Unlock()
	delete(g.inside, p)
	p.cancel()
	close(p.left)
	return g.refusal(d)
}

func (g *gate) refusal(d Delivery) string {
	return cmp.Or(g.newer[d.ID.Event], g.older[d.ID.Event], g.newer[d.Grant], g.older[d.Grant])
}

// close shuts the gate for a grant or an event and waits for the sends under
// way that rest on it.
func (g *gate) close(ctx context.Context, id int64, reason string, now time.Time) error {
	g.mu.Lock()
	if now.Sub(g.since) > closedFor {
		g.older, g.newer, g.since = g.newer, map[int64]string{}, now
	}
	g.newer[id] = reason
	var waiting []*pass
	for p := range g.inside {
		if p.grant == id || p.event == id {
			p.cancel()
			waiting = append(waiting, p)
		}
	}
	g.mu.Unlock()
	for _, p := range waiting {
		select {
		case <-p.left:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return nil
}
