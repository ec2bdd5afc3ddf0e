package access

import (
	"context"
	"time"

	"github.com/openkenar/openkenar/internal/event"
)

// offered is a copy of the apps that have a touchpoint.
type offered struct {
	apps    []App
	at      time.Time // when it was read, in real time
	changes int
}

// Offered returns the apps that have a touchpoint and may be opened, by slug,
// without their identification keys. The list is a copy that is used for a
// second at most, and never after a change on the same node.
func (a *Access) Offered(ctx context.Context, touchpoint string) ([]App, error) {
	a.mu.Lock()
	known, changes := a.offered, a.changes
	a.mu.Unlock()
	if now := time.Now(); known.at.IsZero() || known.changes != changes || now.Sub(known.at) >= copyTTL {
		known = offered{at: now, changes: changes}
		for after := ""; ; {
			page, err := a.store.Apps(ctx, after, event.Page)
			if err != nil {
				return nil, err
			}
			for _, app := range page {
				if len(app.Touchpoints) > 0 && app.Status != Suspended && !app.Paused {
					known.apps = append(known.apps, app)
				}
			}
			if len(page) < event.Page {
				break
			}
			after = page[len(page)-1].Slug
		}
		a.mu.Lock()
		a.offered = known
		a.mu.Unlock()
	}
	var apps []App
	for _, app := range known.apps {
		if _, ok := app.At(touchpoint); ok {
			apps = append(apps, app)
		}
	}
	return apps, nil
}

// At returns what the app does at a touchpoint; ok is false where it has none.
func (app App) At(touchpoint string) (action OpenAction, ok bool) {
	for _, t := range app.Touchpoints {
		if t.Touchpoint == touchpoint {
			return t.Action, true
		}
	}
	return "", false
}
