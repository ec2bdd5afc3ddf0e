package panel

import (
	"io"
	"net/http"
	"strings"
	"time"

	"github.com/openkenar/openkenar/internal/api"
	"github.com/openkenar/openkenar/internal/status"
)

const (
	// liveTurn is how long a stream goes on. The browser then opens another, and
	// whoever may no longer look on is not let in.
	liveTurn = 2 * time.Minute
	// liveReaders is how many may look on at a time.
	liveReaders = 64
)

// stream is a page's server-sent events.
type stream struct{ w http.ResponseWriter }

// openStream gives a reader a place, as long as there is one, until leave.
func (p *Panel) openStream(w http.ResponseWriter) (s stream, leave func(), err error) {
	select {
	case p.readers <- struct{}{}:
		leave = func() { <-p.readers }
	default:
		return s, nil, status.Later(liveTurn, "too many look on already; try again in a while")
	}
	// A page stays open longer than a request may take to be read.
	if err := http.NewResponseController(w).SetReadDeadline(time.Time{}); err != nil {
		leave()
		return s, nil, err
	}
	api.Stream(w)
	return stream{api.Patient(w)}, leave, nil
}

// send sends lines of an event; an error means that the reader is gone.
func (s stream) send(lines string) error {
	if _, err := io.WriteString(s.w, lines+"\n\n"); err != nil {
		return err
	}
	return http.NewResponseController(s.w).Flush()
}

// eventData is a text as the data of a server-sent event; a comment where there
// is none.
func eventData(text string) string {
	if text == "" {
		return ": nothing new"
	}
	// A carriage return ends a line too; written out, it stays what it is.
	return "data: " + strings.NewReplacer("\n", "\ndata: ", "\r", "&#13;").Replace(text)
}
