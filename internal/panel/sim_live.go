package panel

import (
	"bytes"
	"context"
	"fmt"
	"hash/maphash"
	"net/http"
	"strconv"
	"time"

	"github.com/a-h/templ"
)

const (
	// livePace is the least time between two events of a page.
	livePace = 100 * time.Millisecond
	// liveLook is how often a page looks for what others have changed.
	liveLook = time.Second
	// liveSign is how many looks without news pass until a sign of life.
	liveSign = 15
)

// part is a part of a page that is kept up to date: what stands in the element
// with its id.
type part struct {
	id      string
	content templ.Component
}

// live streams what changes on the page: exchanges as they happen, and each part
// of the page whose content is another than before. Its cursor is the version
// of the wire.
func (s *sim) live(w http.ResponseWriter, r *http.Request) error {
	app := s.chosen(r)
	if _, err := s.p.o.Access.App(r.Context(), app); err != nil {
		return err
	}
	stream, leave, err := s.p.openStream(w)
	if err != nil {
		return err
	}
	defer leave()
	s.wire.open()
	after := r.Header.Get("Last-Event-ID")
	if after == "" {
		after = r.URL.Query().Get("after")
	}
	version, err := strconv.ParseInt(after, 10, 64)
	if _, now, _ := s.wire.since(0); err != nil || version > now {
		version = 0 // of an earlier process
	}
	look, pace, turn := time.NewTicker(liveLook), time.NewTicker(livePace), time.NewTimer(liveTurn)
	defer turn.Stop()
	defer look.Stop()
	defer pace.Stop()
	seed, shown, quiet, left := maphash.MakeSeed(), map[string]uint64{}, 0, int64(0)
	for {
		grown := s.wire.growing() // before anything is read, so that nothing is missed in between
		ctx := s.p.later(r.Context())
		rows, now, missed := s.wire.since(version)
		left += missed
		html, err := s.news(ctx, app, rows, version, left, func(id, html string) bool {
			sum := maphash.String(seed, html)
			fresh := shown[id] != sum
			shown[id] = sum
			return fresh
		})
		if err != nil {
			if ctx.Err() == nil {
				s.p.o.Log.ErrorContext(ctx, "the simulator's stream broke off", "err", err)
			}
			return nil // the page comes again by itself
		}
		if html == "" {
			quiet++
		}
		if html != "" || quiet == liveSign {
			version, quiet = now, 0
			if err := stream.send(fmt.Sprintf("id: %d\n%s", now, eventData(html))); err != nil {
				return nil // the reader is gone
			}
		}
		select {
		case <-pace.C:
		case <-s.wire.stop:
			return nil
		case <-ctx.Done():
			return nil
		}
		select {
		case <-grown:
		case <-look.C:
		case <-turn.C: // the page comes again, if it still may
			return nil
		case <-s.wire.stop:
			return nil
		case <-ctx.Done():
			return nil
		}
	}
}

// later is the context of a page that is made again: only its time has passed.
func (p *Panel) later(ctx context.Context) context.Context {
	v := viewOf(ctx)
	v.now = p.o.Now()
	return withView(ctx, v)
}

// news renders rows, those that came after a version as new ones, and the parts
// of the page that fresh says are new.
func (s *sim) news(ctx context.Context, app string, rows []wireRow, version, left int64, fresh func(id, html string) bool) (string, error) {
	v, err := s.look(ctx, app)
	if err != nil {
		return "", err
	}
	var all, one bytes.Buffer
	for _, row := range rows {
		update := wireUpdate(row.Exchange)
		if row.came > version {
			update = wireNew(row.Exchange)
		}
		if err := update.Render(ctx, &all); err != nil {
			return "", err
		}
	}
	for _, p := range append(simParts(v), part{"wire-left", wireLeft(left + s.wire.lost())}) {
		one.Reset()
		if err := p.content.Render(ctx, &one); err != nil {
			return "", err
		}
		if !fresh(p.id, one.String()) {
			continue
		}
		if err := partial(p).Render(ctx, &all); err != nil {
			return "", err
		}
	}
	return all.String(), nil
}

// simParts are the parts of the page that change by themselves.
func simParts(v played) []part {
	parts := []part{
		{"sim-hints", simHints(v)},
		{"sim-now", simNow(v)},
		{"drawer-post", drawerPost(v)},
		{"drawer-payment", drawerPayment(v)},
		{"drawer-faults", drawerFaults(v)},
	}
	for _, ph := range v.phones {
		parts = append(
			parts,
			part{ph.side + "-post", phonePost(v, ph)}, part{ph.side + "-talk", phoneTalk(v, ph)}, part{ph.side + "-bot-talk", phoneBot(v, ph)},
			part{ph.side + "-notes-list", phoneNotes(v, ph)}, part{ph.side + "-apps-list", phoneApps(v, ph)},
			part{"drawer-" + ph.side, drawerAccess(v, ph)},
		)
	}
	return parts
}
