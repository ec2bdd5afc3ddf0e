package panel

import (
	"bytes"
	"net/http"
	"slices"
	"time"

	"github.com/openkenar/openkenar/internal/access"
	"github.com/openkenar/openkenar/internal/webhook"
)

const (
	// A live page gets what happened since the last word every liveEvery, and of
	// that no more than fits in liveDepth moments: what is left out costs the
	// senders next to nothing, and is counted.
	liveEvery = 250 * time.Millisecond
	liveDepth = 96
	// liveKeep is how many rows stay on the page.
	liveKeep = 200
	// liveSilence is how long nothing is said before a sign of life.
	liveSilence = 10 * time.Second
)

func (p *Panel) liveRoutes() {
	p.handle("GET /panel/live", p.showLive)
	p.handle("GET /panel/live/stream", p.streamLive)
	p.ofApp("GET /panel/apps/{slug}/live", func(w http.ResponseWriter, r *http.Request, app access.App) error {
		return p.show(w, r, http.StatusOK, livePage(liveView{app: &app, filter: app.Slug}))
	})
}

// liveView is what the page of the live tail shows.
type liveView struct {
	app    *access.App // nil: of any
	filter string
}

// liveApp is the app whose exchanges a request may see; "" is all.
func (p *Panel) liveApp(r *http.Request) (string, error) {
	app := r.URL.Query().Get("app")
	if own := ownApps(r.Context()); own != nil {
		if app == "" && len(own) > 0 {
			app = own[0]
		}
		return app, mayApp(r.Context(), app)
	}
	return app, nil
}

func (p *Panel) showLive(w http.ResponseWriter, r *http.Request) error {
	app, err := p.liveApp(r)
	if err != nil {
		return err
	}
	return p.show(w, r, http.StatusOK, livePage(liveView{filter: app}))
}

// liveBatch is what happened since the last word.
type liveBatch struct {
	rows   []*webhook.Exchange // newest first
	missed int64
	first  bool
}

// streamLive sends what goes to apps as server-sent events, while it happens.
func (p *Panel) streamLive(w http.ResponseWriter, r *http.Request) error {
	app, err := p.liveApp(r)
	if err != nil {
		return err
	}
	stream, leave, err := p.openStream(w)
	if err != nil {
		return err
	}
	defer leave()
	watch := p.o.Tap.Watch(webhook.WatchOptions{App: app, Depth: liveDepth})
	defer watch.Stop()
	tick, turn := time.NewTicker(liveEvery), time.NewTimer(liveTurn)
	defer tick.Stop()
	defer turn.Stop()
	quiet := time.Now()
	told := int64(0)
	for first := true; ; first = false {
		batch := liveBatch{first: first}
		batch.missed = watch.Missed() - told
		told += batch.missed
		for more := true; more; {
			select {
			case x := <-watch.Moments():
				if x.Moment == webhook.Ended {
					batch.rows = append(batch.rows, x)
				}
			default:
				more = false
			}
		}
		slices.Reverse(batch.rows)
		var rows bytes.Buffer
		if len(batch.rows) > 0 || batch.missed > 0 || batch.first {
			if err := liveRows(batch).Render(r.Context(), &rows); err != nil {
				return err
			}
		}
		if rows.Len() > 0 || time.Since(quiet) > liveSilence {
			quiet = time.Now()
			if err := stream.send(eventData(rows.String())); err != nil {
				return nil // the reader is gone
			}
		}
		select {
		case <-tick.C:
		case <-turn.C:
			return nil
		case <-r.Context().Done():
			return nil
		case <-p.closed:
			return nil
		}
	}
}
