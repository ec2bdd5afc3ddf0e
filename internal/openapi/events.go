package openapi

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/http"

	"github.com/openkenar/openkenar/internal/access"
	"github.com/openkenar/openkenar/internal/api"
	"github.com/openkenar/openkenar/internal/delivery"
	"github.com/openkenar/openkenar/internal/wire"
)

// told is an event as the app fetches it. The body is a string that holds the
// bytes that are pushed, so that the signature among the headers is of it.
type told struct {
	Cursor    string            `json:"cursor"`
	WebhookID string            `json:"webhook_id"`
	Headers   map[string]string `json:"headers"`
	Body      string            `json:"body"`
}

func tell(e delivery.Told) told { return told{e.Cursor, e.ID, e.Headers, string(e.Body)} }

// gap is what a page lacks; it says why only where there is something.
type gap struct {
	Missed int                     `json:"missed"`
	Why    map[delivery.Missed]int `json:"missed_why,omitempty"`
}

type eventPage struct {
	Events []told  `json:"events"`
	Next   *string `json:"next"`
	gap
}

// events gives an app its own events, as a list or as a stream.
func (a *API) events(w http.ResponseWriter, r *http.Request) error {
	k, err := a.admit(r, access.RegisterSubscription)
	if err != nil {
		return err
	}
	w.Header().Set("OpenKenar-App", k.App) // who reads need not know whose key it is
	after, wait, stream, err := api.Following(w, r, delivery.MaxTailWait)
	if err != nil {
		return err
	}
	read := delivery.Read{App: k.App, After: after, Wait: wait, May: func(ctx context.Context) error {
		now, err := a.access.Authenticate(ctx, r.Header.Get("X-API-Key"))
		if err != nil {
			return err
		}
		return now.May(access.RegisterSubscription)
	}}
	if stream {
		return a.streamEvents(w, r, read)
	}
	return a.tail.Read(r.Context(), read, func(ctx context.Context, p delivery.Page) error {
		events := make([]told, len(p.Events))
		for i, e := range p.Events {
			events[i] = tell(e)
		}
		defer api.Revocable(ctx, w)()
		if err := api.Answer(w, http.StatusOK, eventPage{events, api.Next(p.Next), gap{p.Count(), p.Missed}}); err != nil {
			return err
		}
		// It is out before a revocation is answered; a reader that is gone comes again.
		_ = http.NewResponseController(w).Flush()
		return nil
	})
}

// streamEvents sends events as server-sent events until their reader goes, may no
// longer read, or the server stops.
func (a *API) streamEvents(w http.ResponseWriter, r *http.Request, read delivery.Read) error {
	begun := false
	for {
		err := a.tail.Read(r.Context(), read, func(ctx context.Context, p delivery.Page) error {
			text, err := frames(p)
			if err != nil {
				return err
			}
			if !begun {
				api.Stream(w)
				begun = true
			}
			read.After, read.Wait = p.Next, api.Heartbeat
			defer api.Revocable(ctx, w)()
			if _, err := w.Write(text); err != nil {
				return errGone
			}
			if http.NewResponseController(w).Flush() != nil {
				return errGone
			}
			return nil
		})
		select {
		case <-a.tail.Closed():
			return nil
		default:
		}
		switch {
		case err == nil:
		case !begun:
			return err
		default:
			if !errors.Is(err, errGone) && r.Context().Err() == nil {
				a.log.InfoContext(r.Context(), "a stream of events ended", "app", read.App, "why", err)
			}
			return nil
		}
	}
}

// errGone says that the reader of a stream is gone; it goes on from its cursor.
var errGone = errors.New("the reader is gone")

// frames are a page as server-sent events: what is missed, each event, and where
// to go on from.
func frames(p delivery.Page) ([]byte, error) {
	var b bytes.Buffer
	if len(p.Missed) > 0 {
		body, err := wire.Marshal(gap{p.Count(), p.Missed})
		if err != nil {
			return nil, err
		}
		fmt.Fprintf(&b, "event: missed\ndata: %s\n\n", body)
	}
	for _, e := range p.Events {
		body, err := wire.Marshal(tell(e))
		if err != nil {
			return nil, err
		}
		fmt.Fprintf(&b, "id: %s\ndata: %s\n\n", e.Cursor, body)
	}
	if b.Len() == 0 {
		b.WriteString(": nothing yet\n")
	}
	if p.Next != "" {
		fmt.Fprintf(&b, "id: %s\n", p.Next) // also past what was not meant for the app
	}
	b.WriteByte('\n')
	return b.Bytes(), nil
}
