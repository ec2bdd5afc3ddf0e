package hostapi

import (
	"bytes"
	"fmt"
	"net/http"
	"strconv"

	"github.com/openkenar/openkenar/internal/api"
	"github.com/openkenar/openkenar/internal/chat"
	"github.com/openkenar/openkenar/internal/extension"
	"github.com/openkenar/openkenar/internal/status"
	"github.com/openkenar/openkenar/internal/wire"
)

type notificationPage struct {
	Notifications []chat.Notification `json:"notifications"`
	Next          *string             `json:"next"`
}

func (a *API) listNotifications(r *http.Request) (any, error) {
	list, next, err := a.chat.Notifications(r.Context(), r.PathValue("user"), r.URL.Query().Get("after"))
	return notificationPage{list, api.Next(next)}, err
}

type extensionList struct {
	Groups []extension.Group `json:"groups"`
}

func (a *API) listExtensions(r *http.Request) (any, error) {
	q := r.URL.Query()
	groups, err := a.extensions.Offered(r.Context(), extension.Place{
		Touchpoint: q.Get("touchpoint"), User: q.Get("user"), Conversation: q.Get("conversation_id"), Post: q.Get("post_token"),
	})
	return extensionList{groups}, err
}

func (a *API) openExtension(r *http.Request) (any, error) {
	var in extension.Opening
	if err := api.Decode(r, &in); err != nil {
		return nil, err
	}
	return a.extensions.Open(r.Context(), r.PathValue("app"), in.Place, in.ReturnURL)
}

func (a *API) clickMessage(r *http.Request) (any, error) {
	var c extension.Clicker
	if err := api.Decode(r, &c); err != nil {
		return nil, err
	}
	row, err := position(r, "row")
	if err != nil {
		return nil, err
	}
	column, err := position(r, "column")
	if err != nil {
		return nil, err
	}
	return a.extensions.ClickMessage(r.Context(), r.PathValue("id"), row, column, c)
}

func (a *API) clickNotification(r *http.Request) (any, error) {
	var c extension.Clicker
	if err := api.Decode(r, &c); err != nil {
		return nil, err
	}
	n, err := position(r, "n")
	if err != nil {
		return nil, err
	}
	return a.extensions.ClickNotification(r.Context(), r.PathValue("id"), n, c)
}

// position reads the place of a button in a path.
func position(r *http.Request, name string) (int, error) {
	n, err := strconv.Atoi(r.PathValue(name))
	if err != nil || n < 0 {
		return 0, status.New(status.NotFound, "%q is not the place of a button; they count from 0", wire.Clip(r.PathValue(name)))
	}
	return n, nil
}

type feedPage struct {
	Items []chat.FeedItem `json:"items"`
	Next  *string         `json:"next"`
}

// feed tells what apps did, as a list or as a stream.
func (a *API) feed(w http.ResponseWriter, r *http.Request) error {
	after, wait, stream, err := api.Following(w, r, chat.MaxWait)
	if err != nil {
		return err
	}
	if stream {
		return a.streamFeed(w, r, after)
	}
	items, next, err := a.chat.Feed().After(r.Context(), after, wait)
	if err != nil {
		return err
	}
	if after == "" && next == "0" {
		next = "" // the beginning has no cursor
	}
	return api.Answer(w, http.StatusOK, feedPage{items, api.Next(next)})
}

// streamFeed sends the feed as server-sent events until its reader goes, or
// the server stops.
func (a *API) streamFeed(w http.ResponseWriter, r *http.Request, after string) error {
	feed := a.chat.Feed()
	items, after, err := feed.After(r.Context(), after, 0)
	if err != nil {
		return err
	}
	api.Stream(w)
	w = api.Patient(w)
	for err == nil {
		var events bytes.Buffer
		for _, item := range items {
			body, err := wire.Marshal(item)
			if err != nil {
				return a.broken(r, err)
			}
			fmt.Fprintf(&events, "id: %s\ndata: %s\n\n", item.Cursor, body)
		}
		if len(items) == 0 {
			events.WriteString(": nothing yet\n\n")
		}
		if _, err := w.Write(events.Bytes()); err != nil {
			return nil //nolint:nilerr // the reader is gone; it goes on from its cursor
		}
		if err := http.NewResponseController(w).Flush(); err != nil {
			return nil //nolint:nilerr // as above
		}
		select {
		case <-feed.Closed():
			return nil
		default:
		}
		items, after, err = feed.After(r.Context(), after, api.Heartbeat)
	}
	return a.broken(r, err)
}

// broken logs why a stream ends whose reader has its answer already.
func (a *API) broken(r *http.Request, err error) error {
	if r.Context().Err() == nil {
		a.log.ErrorContext(r.Context(), "a stream broke off", "path", r.URL.Path, "err", err)
	}
	return nil
}
