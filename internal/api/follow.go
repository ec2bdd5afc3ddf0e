package api

import (
	"context"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/openkenar/openkenar/internal/status"
	"github.com/openkenar/openkenar/internal/wire"
)

// Heartbeat keeps the connection of a stream that has nothing to tell.
const Heartbeat = 15 * time.Second

// Following reads what is said by somebody who follows what happens: the cursor,
// how long to wait, in seconds, or that it is to be a stream of server-sent
// events. Then the cursor may also be where a browser goes on that has lost its
// connection. The call may go on for longer than others.
func Following(w http.ResponseWriter, r *http.Request, most time.Duration) (after string, wait time.Duration, stream bool, err error) {
	// A reader may wait longer than a request may take to be read.
	if err := http.NewResponseController(w).SetReadDeadline(time.Time{}); err != nil {
		return "", 0, false, err
	}
	after = r.URL.Query().Get("after")
	if strings.Contains(r.Header.Get("Accept"), "text/event-stream") && r.Method == http.MethodGet {
		if last := r.Header.Get("Last-Event-ID"); last != "" {
			after = last
		}
		return after, 0, true, nil
	}
	if text := r.URL.Query().Get("wait"); text != "" {
		seconds, err := strconv.Atoi(text)
		plain := err == nil && strconv.Itoa(seconds) == text // neither +1 nor 01
		if most := int(most / time.Second); !plain || seconds < 0 || seconds > most {
			return "", 0, false, status.New(status.Invalid, "wait: %q is not a number of seconds from 0 to %d", wire.Clip(text), most)
		}
		wait = time.Duration(seconds) * time.Second
	}
	return after, wait, false, nil
}

// Stream makes an answer one of server-sent events.
func Stream(w http.ResponseWriter) {
	w.Header().Set("Content-Type", "text/event-stream")
	w.Header().Set("Cache-Control", "no-store")
	w.Header().Set("X-Accel-Buffering", "no") // of reverse proxies
}

// Revocable gives the reader of what is written, until it is undone, as long as
// Patient does, and no longer once ctx ends.
func Revocable(ctx context.Context, w http.ResponseWriter) (undo func()) {
	control := http.NewResponseController(w)
	_ = control.SetWriteDeadline(time.Now().Add(patience))
	stop := context.AfterFunc(ctx, func() { _ = control.SetWriteDeadline(time.Now()) })
	return func() {
		if stop() { // else the connection has had it
			_ = control.SetWriteDeadline(time.Time{})
		}
	}
}
