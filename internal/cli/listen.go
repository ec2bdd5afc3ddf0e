package cli

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/openkenar/openkenar/internal/server"
	"github.com/openkenar/openkenar/internal/status"
)

const (
	// followWait is how long the server shall wait for the next event, and
	// followTime how long it may take to answer then.
	followWait = 30 * time.Second
	followTime = followWait + 30*time.Second
	// How long listen waits until it looks again for a server that is gone.
	lookFirst = 100 * time.Millisecond
	lookMax   = 5 * time.Second
)

type listenCmd struct {
	Forward    targetURL `xor:"what" required:"" help:"Post each event here, with the headers and the body of its webhook." placeholder:"URL"`
	Print      bool      `xor:"what" required:"" help:"Only show the events."`
	Server     serverURL `config:"" help:"The server to follow. Default: that of DATA/dev.json, of openkenar dev." placeholder:"URL"`
	APIKeyFile string    `name:"api-key-file" config:"" help:"File with the app's API key, which needs EVENTS_REGISTER_SUBSCRIPTION. Default: OPENKENAR_API_KEY, else that of DATA/dev.json." type:"path" placeholder:"FILE"`
	Data       string    `config:"" default:".openkenar" help:"Data directory of openkenar dev; the state lies there too." type:"path" placeholder:"DIR"`
	State      string    `help:"File that keeps how far it has come. Default: DATA/listen/APP@SERVER.json." type:"path" placeholder:"FILE"`
	FromStart  bool      `help:"Where there is no state yet, begin with the oldest event that is kept. Default: with the next one."`
	Tries      int       `help:"How often an event is posted that is not accepted, before the next one's turn. Default: until it is accepted."`
	JSON       bool      `name:"json" help:"Print JSON, one line for each attempt or event."`

	Fresh time.Duration `hidden:"" default:"2m"` // how long after it was read an event is posted
}

// Help says what is promised.
func (listenCmd) Help() string {
	return `It follows the app's own events on the server, whether or not they are pushed to an event URL too, and posts them one after another, in their order. An event is accepted by any 2xx within 10 seconds; else it is posted again until it is, or for --tries times.

Stopped or killed, it goes on where it was: nothing is lost, and nothing that was accepted is posted again. What posts is a process of its own, which finishes the event under way when listen is killed. Only if that one is killed in the middle of a post, or the machine stops, may an event arrive twice: it has the same webhook-id, and OpenKenar-Attempt is 2.

What it missed is said: events that rest on access which was taken away, whose content was deleted, or that are older than the server keeps.`
}

// targetURL is where events are posted.
type targetURL string

// UnmarshalText takes an absolute http or https URL.
func (t *targetURL) UnmarshalText(text []byte) error {
	u, err := url.Parse(string(text))
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" {
		return errors.New("not a URL; write http://localhost:8000/hook")
	}
	*t = targetURL(text)
	return nil
}

// Validate refuses numbers that mean nothing.
func (l listenCmd) Validate() error {
	if l.Tries < 0 {
		return errors.New("--tries: a number from 1, or nothing to try until the event is accepted")
	}
	return nil
}

// Run follows the events until it is stopped.
func (l listenCmd) Run(ctx context.Context, c *call) error {
	f, err := l.follower(c)
	if err != nil {
		return err
	}
	s := &screen{c: c, json: l.JSON, colours: isTerminal(c.Out) && os.Getenv("NO_COLOR") == "" && !l.JSON, target: string(l.Forward)}
	hello, err := f.read(ctx, s, "latest", 0)
	if err != nil || ctx.Err() != nil {
		return err
	}
	if hello.app == "" {
		return errors.New("the server does not give events out; does --server name an OpenKenar server?")
	}
	begin := position{Server: string(f.server), App: hello.app, Cursor: hello.Next}
	if l.FromStart {
		begin.Cursor = ""
	}
	if l.Print {
		s.note("shows the events of %s at %s", begin.App, f.server)
		return f.follow(ctx, begin.Cursor, s, func(_ context.Context, e fetched) error { return s.event(e, nil) }, func(string) error { return nil })
	}
	file := cmp.Or(l.State, filepath.Join(l.Data, "listen", plain(begin.App)+"@"+strings.NewReplacer(":", "_", "/", "_").Replace(f.host)+".json"))
	p := &poster{c: c, screen: s, begin: begin, cmd: courierCmd{State: file, Forward: string(l.Forward), Tries: l.Tries, Fresh: l.Fresh}}
	if err := p.open(ctx); err != nil {
		if ctx.Err() != nil {
			return nil //nolint:nilerr // it is stopped
		}
		return err
	}
	s.note("posts the events of %s at %s to %s", begin.App, f.server, l.Forward)
	if p.at.InDoubt {
		s.note("it was killed while %s was posted: the app may have that one already", p.at.Event)
	}
	err = f.follow(ctx, p.at.Cursor, s, p.deliver, p.moveTo)
	if r, ok := errors.AsType[refused](err); ok && r.status == http.StatusBadRequest { // the cursor
		err = fmt.Errorf("%w; to begin anew, remove the state file %s", err, shown(file))
	}
	if p.courier != nil {
		err = errors.Join(err, p.close(ctx))
	}
	return err
}

// follower reads an app's events.
type follower struct {
	server serverURL
	host   string // of it
	key    string
	client *http.Client
}

// follower finds the server and the key.
func (l listenCmd) follower(c *call) (*follower, error) {
	f := &follower{server: l.Server, key: c.env[envAPIKey], client: &http.Client{
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }, Timeout: followTime,
	}}
	if l.APIKeyFile != "" {
		content, err := os.ReadFile(l.APIKeyFile)
		if err != nil {
			return nil, fmt.Errorf("--api-key-file: %w", err)
		}
		if f.key = strings.TrimSpace(string(content)); f.key == "" {
			return nil, fmt.Errorf("--api-key-file: %s is empty", shown(l.APIKeyFile))
		}
	}
	if f.server == "" || f.key == "" {
		dev, err := readDev(l.Data)
		switch {
		case err != nil:
			return nil, fmt.Errorf("%w; or give --server and --api-key-file", err)
		case f.server == "":
			f.server = serverURL(dev.BaseURL)
		case string(f.server) != dev.BaseURL:
			return nil, errors.New("no API key for that server: give --api-key-file, or set OPENKENAR_API_KEY")
		}
		f.key = cmp.Or(f.key, dev.App.APIKey)
	}
	u, err := url.Parse(string(f.server))
	if err != nil {
		return nil, err
	}
	f.host = u.Host
	return f, nil
}

// readDev reads what openkenar dev has written.
func readDev(data string) (dev server.DevInfo, err error) {
	file := filepath.Join(data, "dev.json")
	content, err := os.ReadFile(file) //nolint:gosec // the operator names the directory
	if err != nil {
		return dev, fmt.Errorf("%s is not there: start openkenar dev, or name its --data", shown(file))
	}
	if err := json.Unmarshal(content, &dev); err != nil {
		return dev, fmt.Errorf("%s: %w", shown(file), err)
	}
	return dev, nil
}

// eventsPage is a page of events.
type eventsPage struct {
	Events []fetched      `json:"events"`
	Next   string         `json:"next"`
	Missed int            `json:"missed"`
	Why    map[string]int `json:"missed_why"`

	app string
}

// refused is an answer that does not change by asking again.
type refused struct {
	status  int // HTTP
	message string
}

func (r refused) Error() string { return r.message }

// read is get until there is an answer, or ctx ends.
func (f *follower) read(ctx context.Context, s *screen, cursor string, wait time.Duration) (eventsPage, error) {
	for pause := lookFirst; ; pause = min(2*pause, lookMax) {
		p, after, err := f.get(ctx, cursor, wait)
		_, final := errors.AsType[refused](err)
		switch {
		case ctx.Err() != nil:
			return p, nil //nolint:nilerr // it is stopped
		case err == nil && pause != lookFirst:
			s.note("connected again")
			return p, nil
		case err == nil || final:
			return p, err
		case pause == lookFirst:
			s.note("%v; trying until there is one", err)
		}
		select {
		case <-time.After(max(pause, after)):
		case <-ctx.Done():
			return p, nil
		}
	}
}

// get reads the page after a cursor. after says when to ask again, where the
// server has said so.
func (f *follower) get(ctx context.Context, cursor string, wait time.Duration) (p eventsPage, after time.Duration, err error) {
	query := url.Values{"wait": {strconv.Itoa(int(wait / time.Second))}}
	if cursor != "" {
		query.Set("after", cursor)
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, string(f.server)+"/experimental/open-platform/events?"+query.Encode(), nil)
	if err != nil {
		return p, 0, err
	}
	req.Header.Set("X-API-Key", f.key)
	resp, err := f.client.Do(req)
	if err != nil {
		return p, 0, fmt.Errorf("no answer from %s: %s", f.server, reasonOf(err))
	}
	defer func() { _ = resp.Body.Close() }()
	body, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer))
	if err != nil {
		return p, 0, fmt.Errorf("the answer broke off: %s", reasonOf(err))
	}
	if resp.StatusCode != http.StatusOK {
		var s status.Status
		if json.Unmarshal(body, &s) != nil || s.Message == "" {
			s.Message = "answered " + strconv.Itoa(resp.StatusCode)
		}
		seconds, _ := strconv.Atoi(resp.Header.Get("Retry-After"))
		err := errors.New(plain(s.Message))
		if resp.StatusCode < 500 && resp.StatusCode != http.StatusTooManyRequests {
			err = refused{resp.StatusCode, err.Error()}
		}
		return p, time.Duration(seconds) * time.Second, err
	}
	if err := json.Unmarshal(body, &p); err != nil {
		return p, 0, refused{message: "the answer is not that of an OpenKenar server: " + err.Error()}
	}
	p.app = resp.Header.Get("OpenKenar-App")
	for i := range p.Events {
		p.Events[i].read = time.Now()
	}
	return p, 0, nil
}

// follow hands the events after a cursor to each, and each cursor that all is
// done with up to to done, until it is stopped.
func (f *follower) follow(ctx context.Context, cursor string, s *screen, each func(context.Context, fetched) error, done func(string) error) error {
	for {
		p, err := f.read(ctx, s, cursor, followWait)
		if err != nil || ctx.Err() != nil {
			return err
		}
		if err := s.missed(p); err != nil {
			return err
		}
		for _, e := range p.Events {
			if err = each(ctx, e); err != nil || ctx.Err() != nil {
				break
			}
			cursor = e.Cursor
		}
		if errors.Is(err, errStale) {
			continue
		}
		if err != nil || ctx.Err() != nil {
			return err
		}
		if p.Next != cursor {
			if err := done(p.Next); err != nil {
				return err
			}
			cursor = p.Next
		}
	}
}

// poster hands events to couriers.
type poster struct {
	*courier // nil where the last has ended, and no other could be started
	c        *call
	screen   *screen
	begin    position
	cmd      courierCmd
}

func (p *poster) open(ctx context.Context) (err error) {
	p.courier, err = startCourier(ctx, p.c, p.cmd, p.begin)
	return err
}

func (p *poster) close(ctx context.Context) error {
	err := p.stop()
	if ctx.Err() == nil {
		return err
	}
	at, _, err := readPosition(p.cmd.State)
	if err == nil {
		p.screen.note("stopped; it goes on behind %s", cmp.Or(at.Cursor, "the beginning"))
	}
	return err
}

// deliver has an event posted until it is done with. Where the courier was
// killed, another goes on.
func (p *poster) deliver(ctx context.Context, e fetched) error {
	o := order{Event: &e, Read: e.read}
	r, err := p.tell(o)
	for {
		switch {
		case err != nil && ctx.Err() != nil:
			return nil //nolint:nilerr // it has finished what was under way, and shown that
		case errors.Is(err, errCourier):
			p.screen.note("the process that posts was killed; starting another")
			if err := p.again(ctx); err != nil {
				return err
			}
			r, err = p.tell(o)
			continue
		case err != nil:
			return err
		case r.Stale:
			return errStale
		}
		if err := p.screen.event(e, &r); err != nil || r.Done {
			return err
		}
		r, err = p.next()
	}
}

// errStale says that events must be read again before they are posted.
var errStale = errors.New("the event was read too long ago")

// again starts another courier, unless it was for a reason that this one ended.
func (p *poster) again(ctx context.Context) error {
	err := p.fault()
	p.courier = nil
	if err != nil {
		return err
	}
	return p.open(ctx)
}

func (p *poster) moveTo(cursor string) error {
	if err := p.send(order{Cursor: cursor}); err != nil && !errors.Is(err, errCourier) {
		return err
	}
	return nil // of a courier that was killed the next event tells
}

// screen shows what happens.
type screen struct {
	c             *call
	json, colours bool
	target        string
	shown         string // the event that was shown last
}

// note says something about listen itself, beside what it shows.
func (s *screen) note(format string, args ...any) {
	_, _ = fmt.Fprintln(s.c.Err, "listen: "+plain(fmt.Sprintf(format, args...)))
}

const bold = "1"

func (s *screen) paint(colour, text string) string {
	if !s.colours {
		return text
	}
	return "\x1b[" + colour + "m" + text + "\x1b[0m"
}

// whyMissed says it in words.
var whyMissed = map[string]string{
	"revoked":   "the user took the app's access away",
	"erased":    "the content was deleted",
	"retention": "they are older than what the server keeps, and how many they were is not known any more",
}

// missed says what a page lacks.
func (s *screen) missed(p eventsPage) error {
	if p.Missed == 0 {
		return nil
	}
	if s.json {
		return s.line(map[string]any{"missed": p.Missed, "missed_why": p.Why})
	}
	var b strings.Builder
	for _, why := range slices.Sorted(maps.Keys(p.Why)) {
		n := strconv.Itoa(p.Why[why])
		if why == "retention" {
			n = "some"
		}
		b.WriteString(s.paint(yellow, "missed "+n) + ": " + cmp.Or(whyMissed[why], plain(why)) + "\n")
	}
	_, err := io.WriteString(s.c.Out, b.String())
	return err
}

func (s *screen) line(v any) error { return json.NewEncoder(s.c.Out).Encode(v) }

// shownAttempt is a line of --json.
type shownAttempt struct {
	fetched
	Attempt  int     `json:"attempt,omitempty"`
	InDoubt  bool    `json:"in_doubt,omitempty"`
	Status   int     `json:"status,omitempty"`
	Answer   string  `json:"answer,omitempty"`
	Error    string  `json:"error,omitempty"`
	TookMS   float64 `json:"took_ms,omitempty"`
	Accepted bool    `json:"accepted,omitempty"`
	GivenUp  bool    `json:"given_up,omitempty"`
}

// event shows an event, and how an attempt to post it went, if there was one.
func (s *screen) event(e fetched, r *report) error {
	if s.json {
		line := shownAttempt{fetched: e}
		if r != nil {
			line.Attempt, line.InDoubt, line.Status, line.Answer, line.Error = r.Attempt, r.Doubt, r.Status, r.Answer, r.Error
			line.TookMS, line.Accepted, line.GivenUp = float64(r.Took.Microseconds())/1000, r.accepted(), r.Done && r.Error != ""
		}
		return s.line(line)
	}
	var b strings.Builder
	if s.shown != e.WebhookID {
		s.shown = e.WebhookID
		var typed struct {
			Type string `json:"type"`
		}
		var body bytes.Buffer
		if json.Unmarshal([]byte(e.Body), &typed) != nil || json.Indent(&body, []byte(e.Body), "", "  ") != nil {
			body.Reset()
			body.WriteString(e.Body)
		}
		b.WriteString(time.Now().Format("15:04:05") + " " + s.paint(bold, plain(typed.Type)) + " " + plain(e.WebhookID) + "\n")
		b.WriteString(s.paint(faint, indent(body.String())))
	}
	if r != nil {
		b.WriteString(s.attempt(*r))
	}
	_, err := io.WriteString(s.c.Out, b.String())
	return err
}

// attempt is how it went, in words.
func (s *screen) attempt(r report) string {
	if r.Attempt == 0 {
		return "  posted before\n"
	}
	text := "  " + s.target + "  "
	if r.Attempt > 1 {
		text += "attempt " + strconv.Itoa(r.Attempt) + "  "
	}
	if r.Doubt {
		text += "(it may have it already)  "
	}
	if r.Error == "" {
		text += s.paint(green, strconv.Itoa(r.Status))
	} else {
		text += s.paint(red, plain(r.Error))
	}
	text += " in " + r.Took.Round(time.Millisecond).String()
	switch {
	case r.Again > 0:
		text += "; again in " + r.Again.String()
	case r.Error != "":
		text += "; given up"
	}
	text += "\n"
	if r.Answer != "" {
		text += indent(r.Answer)
	}
	return text
}
