package webhook

import (
	"io"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// tapDepth is how many moments of exchanges wait for a subscriber of a Tap
// unless it says otherwise.
const tapDepth = 256

// Moment is how far an exchange has come.
type Moment int

// The moments, in their order.
const (
	Began  Moment = iota // the request goes out
	Ended                // it has its Result
	Judged               // and what follows from that is decided, its Verdict
)

// About says whose call a request is, and what of.
type About struct {
	App  string
	Type string // of the event; of a call what is asked
}

// Exchange is a request to an app and its answer, as far as it has come. It is
// shared: nobody may change it.
type Exchange struct {
	About
	Number  int64 // of this process, ascending; the same at all moments
	Moment  Moment
	At      time.Time // when it began, in real time
	ID      string    // webhook-id; of a call empty
	Attempt int       // of a webhook
	URL     string
	Request string // the head; the identification key is masked unless the tap shows keys
	Body    []byte

	// From Ended on.
	Result     Result
	AnswerHead string // status line and headers; empty without an answer
	Answer     []byte // as much as was read of it

	Verdict Verdict // of Judged
}

// Verdict is what follows from a Result.
type Verdict struct {
	Delivery string    // what the log has it under
	State    string    // of the delivery
	Reason   string    // why that is not delivered
	NextAt   time.Time // when the next attempt follows, if one does
}

// Tap shows exchanges while they happen to whoever looks on. Where nobody
// does, it costs one atomic read; and nobody who looks on is ever waited for:
// what does not fit is left out, whole exchanges at a time, and counted.
type Tap struct {
	showKeys bool
	last     atomic.Int64
	watching atomic.Pointer[[]*Watch] // nil when nobody does

	mu sync.Mutex // of those who come and go
}

// NewTap returns a tap. With showKeys it shows identification keys as they are
// sent: that is for dev mode alone.
func NewTap(showKeys bool) *Tap { return &Tap{showKeys: showKeys} }

// Watch is one who looks on.
type Watch struct {
	tap     *Tap
	app     string
	moments chan *Exchange
	missed  atomic.Int64

	mu   sync.Mutex // of what is put into moments
	open int        // exchanges shown that have not ended yet: each has a place for its end
}

// WatchOptions say what to show.
type WatchOptions struct {
	App   string // "" for all
	Depth int    // moments that may wait; default 256
}

// Watch begins to look on; Stop ends it.
func (t *Tap) Watch(o WatchOptions) *Watch {
	if o.Depth <= 0 {
		o.Depth = tapDepth
	}
	w := &Watch{tap: t, app: o.App, moments: make(chan *Exchange, o.Depth)}
	t.mu.Lock()
	defer t.mu.Unlock()
	var list []*Watch
	if now := t.watching.Load(); now != nil {
		list = slices.Clone(*now)
	}
	list = append(list, w)
	t.watching.Store(&list)
	return w
}

// Stop ends looking on. The channel stays open, and empty in the end.
func (w *Watch) Stop() {
	w.tap.mu.Lock()
	defer w.tap.mu.Unlock()
	now := w.tap.watching.Load()
	if now == nil {
		return
	}
	list := slices.DeleteFunc(slices.Clone(*now), func(o *Watch) bool { return o == w })
	if len(list) == 0 {
		w.tap.watching.Store(nil)
		return
	}
	w.tap.watching.Store(&list)
}

// Moments is where exchanges come, each at its moments and in their order.
func (w *Watch) Moments() <-chan *Exchange { return w.moments }

// Missed returns how many exchanges were left out so far.
func (w *Watch) Missed() int64 { return w.missed.Load() }

// begin takes an exchange if there is room for its end, too.
func (w *Watch) begin(x *Exchange) bool {
	if w.app != "" && w.app != x.App {
		return false
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	const needs = 2 // its beginning and its end
	if len(w.moments)+w.open+needs > cap(w.moments) {
		w.missed.Add(1)
		return false
	}
	w.moments <- x // there is room, and nobody else takes it
	w.open++
	return true
}

// end shows the end of an exchange, which has its place.
func (w *Watch) end(x *Exchange) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.open--
	w.moments <- x
}

// more shows a further moment, if there is room beside the ends to come.
func (w *Watch) more(x *Exchange) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if len(w.moments)+w.open < cap(w.moments) {
		w.moments <- x
	}
}

// shown is an exchange under way and those who see it.
type shown struct {
	to []*Watch
	x  Exchange
}

// begin shows that a request goes out; nil when nobody sees it.
func (t *Tap) begin(req *http.Request, x Exchange) *shown {
	watching := t.watching.Load()
	if watching == nil {
		return nil
	}
	x.Number, x.At, x.URL = t.last.Add(1), time.Now(), req.URL.String()
	if t.showKeys {
		x.Request = head(req, false)
	}
	s := &shown{x: x}
	first := s.x
	for _, w := range *watching {
		if w.begin(&first) {
			s.to = append(s.to, w)
		}
	}
	if len(s.to) == 0 {
		return nil
	}
	return s
}

// end shows the result.
func (s *shown) end(r Result, answerHead string, answer []byte) {
	s.x.Moment, s.x.Result, s.x.AnswerHead, s.x.Answer = Ended, r, answerHead, answer
	ended := s.x
	for _, w := range s.to {
		w.end(&ended)
	}
}

// Judged shows what follows from a result, if anybody looks on.
func (r Result) Judged(v Verdict) {
	if r.shown == nil {
		return
	}
	judged := r.shown.x
	judged.Moment, judged.Verdict = Judged, v
	for _, w := range r.shown.to {
		w.more(&judged)
	}
}

// answerHead is the head of an answer as people read it.
func answerHead(resp *http.Response) string {
	var b strings.Builder
	b.WriteString(resp.Proto + " " + strconv.Itoa(resp.StatusCode) + " " + http.StatusText(resp.StatusCode) + "\n")
	_ = resp.Header.WriteSubset(crlfless{&b}, nil) // a Builder takes everything
	return b.String()
}

// crlfless takes the carriage returns out of a head that is shown.
type crlfless struct{ to *strings.Builder }

var _ io.StringWriter = crlfless{}

func (c crlfless) Write(p []byte) (int, error) { return c.WriteString(string(p)) }

func (c crlfless) WriteString(s string) (int, error) {
	_, _ = c.to.WriteString(strings.ReplaceAll(s, "\r", ""))
	return len(s), nil
}
