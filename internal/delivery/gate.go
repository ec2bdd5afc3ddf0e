package delivery

import (
	"context"
	"sync"
	"time"
)

// closedFor is how long the gate remembers what it closed. What is read from
// the ledger later comes marked as revoked; this covers only copies that lanes
// held at that moment, which live minutes at most.
const closedFor = time.Hour

// gate stands before every send. Closing a grant or an event ends the sends
// under way that rest on it and lets no other through; when Close returns,
// there is silence.
type gate struct {
	mu     sync.Mutex
	closed map[int64]closing // by grant or event id: both come from one sequence
	inside map[*pass]struct{}
}

type closing struct {
	reason string
	at     time.Time
}

// pass is one send that is under way.
type pass struct {
	grant, event int64
	cancel       context.CancelFunc
	left         chan struct{}
}

func newGate() *gate {
	return &gate{closed: map[int64]closing{}, inside: map[*pass]struct{}{}}
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
	if c, ok := g.closed[d.ID.Event]; ok {
		return c.reason
	}
	if d.Grant != 0 {
		return g.closed[d.Grant].reason
	}
	return ""
}

// close shuts the gate for a grant or an event and waits for the sends under
// way that rest on it.
func (g *gate) close(ctx context.Context, id int64, reason string, now time.Time) error {
	g.mu.Lock()
	for old, c := range g.closed {
		if now.Sub(c.at) > closedFor {
			delete(g.closed, old)
		}
	}
	g.closed[id] = closing{reason: reason, at: now}
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
