package server_test

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/openkenar/openkenar/internal/server"
	"github.com/openkenar/openkenar/internal/store/storetest"
)

const (
	// bounded is how long any call may take while the database fails: finding out
	// that it gives no sign of life takes some seconds.
	bounded = 15 * time.Second
	// backWithin is how soon everything works again by itself.
	backWithin = 30 * time.Second
	// failing is how much a failure must be felt before it is mended: refusals
	// of each client.
	failing = 5
)

// client is somebody who calls the platform over and over, and keeps what it
// was told.
type client struct {
	p       *platform
	call    func(id string) (answer, error)
	repeats bool // sends what was refused again, with the same id

	mu       sync.Mutex
	accepted []string // ids, in the order of the answers
	again    map[string]bool
	refused  map[string]string // what was said last, by id
	refusals int
	longest  time.Duration
	wrong    []string
}

// work calls until stop is closed; ids begin with name.
func (c *client) work(name string, stop <-chan struct{}) {
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	c.again, c.refused = map[string]bool{}, map[string]string{}
	for n := 0; ; {
		select {
		case <-tick.C:
		case <-stop:
			return
		}
		id := fmt.Sprintf("%s-%05d", name, n)
		began := time.Now()
		a, err := c.call(id)
		c.mu.Lock()
		c.longest = max(c.longest, time.Since(began))
		switch {
		case err != nil:
			c.wrong = append(c.wrong, err.Error())
		case a.status == http.StatusOK:
			c.accepted = append(c.accepted, id)
			delete(c.refused, id)
			n++
		case a.status == http.StatusServiceUnavailable && strings.HasPrefix(a.body, `{"code":14,`):
			c.refusals++
			c.refused[id] = a.body
			c.again[id] = true
			if !c.repeats {
				n++
			}
		default:
			c.wrong = append(c.wrong, fmt.Sprintf("%s: %d %s", id, a.status, a.body))
		}
		c.mu.Unlock()
	}
}

func (c *client) count() (accepted, refused int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return len(c.accepted), c.refusals
}

// crowd are clients of every kind.
type crowd struct {
	marketplace, impatient, apps, readers []*client

	begin   []func()
	stop    chan struct{}
	left    sync.Once
	working sync.WaitGroup
}

// gather returns n clients of each kind. Each writes into a conversation of its
// own, named after it.
func (p *platform) gather(name string, n int) *crowd {
	p.t.Helper()
	c := &crowd{stop: make(chan struct{})}
	for i := range n {
		conversation := fmt.Sprintf("%s-%d", name, i)
		p.newConversation(conversation, p.dev.PostToken, "buyer-of-"+conversation)
		token := p.dev.Users.Seller.AccessToken
		say := func(id string) (answer, error) {
			return p.try("POST", "/host/v1/conversations/"+conversation+"/messages",
				`{"id":"`+id+`","sender":"BUYER","text":"hello"}`, "Authorization: Bearer "+p.dev.HostKey)
		}
		app := func(method, path, body string) (answer, error) {
			return p.try(method, path, body, "X-API-Key: "+p.dev.App.APIKey, "Authorization: Bearer "+token)
		}
		c.add(&c.marketplace, &client{p: p, call: say, repeats: true}, conversation+"-a")
		c.add(&c.impatient, &client{p: p, call: say}, conversation+"-b")
		c.add(&c.apps, &client{p: p, call: func(id string) (answer, error) {
			return app("POST", "/v2/open-platform/conversations/"+conversation+"/messages", `{"message":"`+id+`"}`)
		}}, conversation+"-c")
		c.add(&c.readers, &client{p: p, call: func(id string) (answer, error) {
			if strings.HasSuffix(id, "0") {
				return p.try("GET", "/host/v1/conversations/"+conversation+"/messages", "", "Authorization: Bearer "+p.dev.HostKey)
			}
			return app("GET", "/v1/open-platform/finder/post/"+p.dev.PostToken, "")
		}}, conversation+"-d")
	}
	return c
}

func (c *crowd) add(kind *[]*client, member *client, name string) {
	*kind = append(*kind, member)
	c.begin = append(c.begin, func() { member.work(name, c.stop) })
}

func (c *crowd) start(t testing.TB) {
	t.Cleanup(c.leave)
	for _, work := range c.begin {
		c.working.Go(work)
	}
}

// leave ends the work of all.
func (c *crowd) leave() {
	c.left.Do(func() { close(c.stop) })
	c.working.Wait()
}

func (c *crowd) writers() []*client { return slices.Concat(c.marketplace, c.impatient, c.apps) }

// progress waits until each of the clients has been accepted so often more.
func progress(t testing.TB, what string, clients []*client, times int) {
	t.Helper()
	before := make([]int, len(clients))
	for i, c := range clients {
		before[i], _ = c.count()
	}
	until(t, what, backWithin, func() bool {
		for i, c := range clients {
			if accepted, _ := c.count(); accepted < before[i]+times {
				return false
			}
		}
		return true
	})
}

// feel waits until each of the clients has been refused so often more.
func feel(t testing.TB, what string, clients []*client, times int) {
	t.Helper()
	before := make([]int, len(clients))
	for i, c := range clients {
		_, before[i] = c.count()
	}
	until(t, what, 3*bounded, func() bool {
		for i, c := range clients {
			if _, refused := c.count(); refused < before[i]+times {
				return false
			}
		}
		return true
	})
}

// ofApp is what an app says: it has no ids, so its texts are those.
var ofApp = regexp.MustCompile(`\w+-\d+-c-\d{5}`)

// end ends the crowd and compares what it was told with what the ledger has and
// with what the app was told. What is in the ledger is read past the platform.
func (c *crowd) end(t testing.TB, p *platform, s *storetest.Server) {
	t.Helper()
	c.leave()

	messages, texts := map[string]bool{}, map[string]int{}
	conn := s.Session()
	rows, err := conn.Query(t.Context(), `SELECT m.id, coalesce(e.payload, m.payload) FROM messages m LEFT JOIN events e ON e.id = m.event_id`)
	if err != nil {
		t.Fatal(err)
	}
	for rows.Next() {
		var id, payload string
		if err := rows.Scan(&id, &payload); err != nil {
			t.Fatal(err)
		}
		messages[id] = true
		texts[ofApp.FindString(payload)]++
	}
	if err := errorsOf(rows.Err(), conn.Close(t.Context())); err != nil {
		t.Fatal(err)
	}
	doubtful := 0
	check := func(kind string, clients []*client, there func(id string) bool) {
		longest := time.Duration(0)
		accepted, refusals := 0, 0
		for _, client := range clients {
			longest = max(longest, client.longest)
			accepted += len(client.accepted)
			refusals += client.refusals
			for _, w := range client.wrong {
				t.Errorf("%s: neither accepted nor 503 with code 14: %s", kind, w)
			}
			if there == nil {
				continue
			}
			for _, id := range client.accepted {
				if !there(id) {
					t.Errorf("%s: %s was answered 200 and is lost", kind, id)
				}
			}
			for id, said := range client.refused {
				switch {
				case strings.Contains(said, "is not known"):
					doubtful++
				case there(id):
					t.Errorf("%s: %s is there, and was answered %s", kind, id, said)
				}
			}
		}
		if longest > bounded {
			t.Errorf("%s: a call took %s", kind, longest)
		}
		t.Logf("%s: %d accepted, %d refused, the longest call took %s", kind, accepted, refusals, longest.Round(time.Millisecond))
	}
	isMessage := func(id string) bool { return messages[id] }
	check("marketplace", c.marketplace, isMessage)
	check("marketplace, once", c.impatient, isMessage)
	check("apps", c.apps, func(id string) bool { return texts[id] == 1 })
	check("readers", c.readers, nil)
	t.Logf("%d calls of those who do not repeat them were answered that it is not known", doubtful)

	arrived := func() map[string][]string { return p.hook.messages() }
	until(t, "all that was accepted arrives", 3*backWithin, func() bool {
		got := arrived()
		for _, clients := range [][]*client{c.marketplace, c.impatient} {
			for _, client := range clients {
				for _, id := range client.accepted {
					if !slices.Contains(got[strings.Join(strings.Split(id, "-")[:3], "-")], id) {
						return false
					}
				}
			}
		}
		return true
	})
	// In order, but for those that were sent to the platform more than once.
	for by, ids := range arrived() {
		last := ""
		for _, id := range ids {
			if c.repeated(id) {
				continue
			}
			if id < last {
				t.Errorf("%s: %s arrived after %s", by, id, last)
			}
			last = id
		}
	}
	p.settle()
	p.accounted()
}

func (c *crowd) repeated(id string) bool {
	for _, client := range c.writers() {
		if client.again[id] {
			return true
		}
	}
	return false
}

func errorsOf(errs ...error) error {
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}

// accounted proves that the ledger accounts for everything and has nothing left
// to do.
func (p *platform) accounted() {
	p.t.Helper()
	ledger, err := server.OpenLedger(p.t.Context(), server.Place{Data: p.data, Database: p.database})
	if err != nil {
		p.t.Fatal(err)
	}
	defer func() { _ = ledger.Close() }()
	a, err := ledger.Audit(p.t.Context(), func(int64) {})
	if err != nil {
		p.t.Fatal(err)
	}
	if a.Unaccounted != 0 || a.Pending != 0 || a.Exhausted != 0 {
		p.t.Errorf("audit: %+v", a)
	}
}

// messages returns the ids of messages that have arrived, each once, in order,
// by who wrote them: what stands before the number.
func (r *receiver) messages() map[string][]string {
	r.mu.Lock()
	defer r.mu.Unlock()
	seen, by := map[string]bool{}, map[string][]string{}
	for _, h := range r.got {
		var hook struct {
			Message struct {
				ID string `json:"id"`
			} `json:"new_message"`
		}
		if json.Unmarshal([]byte(h.body), &hook) != nil || hook.Message.ID == "" || seen[hook.Message.ID] {
			continue
		}
		seen[hook.Message.ID] = true
		who := hook.Message.ID[:max(0, strings.LastIndex(hook.Message.ID, "-"))]
		by[who] = append(by[who], hook.Message.ID)
	}
	return by
}

// runOn runs a platform on a database.
func runOn(t testing.TB, database string) *platform {
	t.Helper()
	hook := newReceiver(t)
	p := &platform{t: t, data: t.TempDir(), database: database, hook: hook}
	p.run(&server.DevOptions{EventURL: hook.url, IdentificationKey: "the-identification-key"})
	return p
}

// isReady waits until /readyz says that the platform is ready, or, with a
// reason, that it is not. Whatever it says, the process lives.
func (p *platform) isReady(reason string) {
	p.t.Helper()
	var a answer
	until(p.t, "/readyz: "+reason, backWithin, func() bool {
		p.do("GET", "/healthz", "").ok()
		began := time.Now()
		a = p.do("GET", "/readyz", "")
		if took := time.Since(began); took > bounded {
			p.t.Errorf("/readyz took %s", took)
		}
		return (a.status == http.StatusOK) == (reason == "") && strings.Contains(a.body, reason)
	})
	if reason != "" {
		a.refused(503, 14, reason)
	}
}

// TestDatabaseFails: whatever befalls the database, what is refused is refused
// in time and with nothing accepted, what was accepted is delivered, and all
// works again by itself.
func TestDatabaseFails(t *testing.T) {
	t.Parallel()
	s := storetest.NewServer(t, "max_connections=40", "superuser_reserved_connections=0")
	p := runOn(t, s.URL())
	p.subscribe(p.dev.Users.Seller.AccessToken, `{"event_type":"NEW_MESSAGE_ON_POST"}`).ok()

	for _, f := range []struct {
		name   string
		fail   func() (mend func()) // nil: it is over
		reason string               // that /readyz gives
		reads  bool                 // reading goes on
	}{
		{"full", func() func() { return s.FillDisk("messages") }, "disk of the database is full", true}, // the first: it wants an empty table
		{"cut", func() func() { s.CutSessions(); return nil }, "", true},
		{"restart", func() func() { s.Restart(); return nil }, "", true},
		{"crash", func() func() { s.Crash(); return s.Start }, "cannot be reached", false},
		{"refuse", func() func() { s.Refuse(); return s.Pass }, "cannot be reached", false},
		{"stall", func() func() { s.Stall(); return s.Pass }, "cannot be reached", false},
		{"taken", s.TakeConnections, "no connection left", false},
		{"readonly", s.ReadOnly, "only reads", true},
	} {
		ok := t.Run(f.name, func(t *testing.T) {
			p := p.forTest(t)
			c := p.gather(f.name, 2)
			everybody := slices.Concat(c.writers(), c.readers)
			if f.name != "full" {
				c.start(t)
				progress(t, "everything works", everybody, failing)
			}
			mend := f.fail()
			if f.name == "full" {
				c.start(t)
			}
			if mend != nil {
				feel(t, "the failure is felt", c.writers(), failing)
				if f.reads {
					progress(t, "reading goes on", c.readers, failing)
				} else {
					feel(t, "reading is refused", c.readers, failing)
				}
				p.isReady(f.reason)
				mend()
			}
			began := time.Now()
			progress(t, "everything works again", everybody, 1)
			t.Logf("works again after %s", time.Since(began).Round(time.Millisecond))
			p.isReady("")
			c.end(t, p, s)
		})
		if !ok {
			return
		}
	}
	t.Run("sending goes on", func(t *testing.T) { sendingGoesOn(t, p.forTest(t), s) })
}

// sendingGoesOn: what is in memory is sent while the ledger is out of reach,
// also by a lane that wants to read more, and recorded afterwards.
func sendingGoesOn(t *testing.T, p *platform, s *storetest.Server) {
	const count = 90 // a page of the log
	p.hook.take()
	gate, first := make(chan struct{}), make(chan struct{}, count)
	release := sync.OnceFunc(func() { close(gate) })
	t.Cleanup(release)
	p.hook.respond(func(w http.ResponseWriter, r *http.Request) {
		var hook struct {
			Message struct{ Text string } `json:"new_message"`
		}
		if err := json.NewDecoder(r.Body).Decode(&hook); err != nil {
			t.Error(err)
		}
		if hook.Message.Text == "fails once" && len(first) == 0 {
			first <- struct{}{}
			w.Header().Set("Retry-After", "1")
			w.WriteHeader(http.StatusServiceUnavailable)
			return
		}
		<-gate
	})
	var lines strings.Builder
	fmt.Fprintf(&lines, `{"message":{"id":"m-0","conversation":%q,"sender":"BUYER","text":"fails once"}}`+"\n", p.dev.ConversationID)
	for i := 1; i < count; i++ {
		fmt.Fprintf(&lines, `{"message":{"id":"m-%d","conversation":"full-%d","sender":"BUYER","text":"waits"}}`+"\n", i, i%2)
	}
	p.do("POST", "/host/v1/batch", lines.String(), "Authorization: Bearer "+p.dev.HostKey, "Content-Type: application/x-ndjson").ok()
	until(t, "the first is recorded", backWithin, func() bool {
		return strings.Contains(p.host("GET", "/deliveries?state=pending", "").body, `"attempts":1`)
	})
	s.Refuse()
	p.isReady("cannot be reached")
	again := time.Now().Add(1500 * time.Millisecond) // the lane wanted to read the ledger then
	until(t, "the time of the retry comes", backWithin, func() bool { return time.Now().After(again) })
	release()
	until(t, "what is in memory arrives", backWithin, func() bool { return len(p.hook.messages()["m"]) == count })
	p.do("GET", "/readyz", "").refused(503, 14, "cannot be reached")
	s.Pass()
	p.isReady("")
	until(t, "the retry arrives", backWithin, func() bool {
		p.settle()
		return !strings.Contains(p.host("GET", "/deliveries?state=pending", "").body, `"id"`)
	})
	if n := len(p.hook.take()); n != count+1 {
		t.Errorf("%d sends, want %d and a retry", n, count)
	}
	p.accounted()
}

// TestNoRetryStorm: how often a database that is down is tried to be reached
// does not depend on how many apps have something pending, nor on how many
// clients write.
func TestNoRetryStorm(t *testing.T) {
	t.Parallel()
	const (
		apps    = 200
		clients = 50
		// Attempts to connect: when it fails, and in each second after that.
		atFirst, most = 25, 4
	)
	s := storetest.NewServer(t)
	p := runOn(t, s.URL())
	var well atomic.Bool
	var mu sync.Mutex
	sends := map[string]int{} // by webhook-id
	hook := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		mu.Lock()
		id := r.Header.Get("webhook-id")
		sends[id]++
		n := sends[id]
		mu.Unlock()
		if !well.Load() {
			after := 1 // every lane wants to read the ledger again and again
			if n > 8 { // but for the last steps of its schedule
				after = 3600
			}
			w.Header().Set("Retry-After", strconv.Itoa(after))
			w.WriteHeader(http.StatusServiceUnavailable)
		}
	}))
	t.Cleanup(hook.Close)
	for i := range apps {
		p.host("POST", "/apps", fmt.Sprintf(`{"slug":"app-%d","event_url":%q}`, i, hook.URL)).ok()
		p.pay(fmt.Sprintf("t-%d", i), fmt.Sprintf("app-%d", i))
	}
	until(t, "every app has been called", backWithin, func() bool {
		mu.Lock()
		defer mu.Unlock()
		return len(sends) == apps
	})

	var writing crowd
	writing.stop = make(chan struct{})
	for i := range clients {
		writing.add(&writing.marketplace, &client{p: p, repeats: true, call: func(id string) (answer, error) {
			return p.try("PUT", "/host/v1/users/"+id, `{"phone":"0912"}`, "Authorization: Bearer "+p.dev.HostKey)
		}}, fmt.Sprintf("user-%d", i))
	}
	writing.start(t)
	progress(t, "writing works", writing.marketplace, 1)
	for name, fail := range map[string]func(){"refuse": s.Refuse, "stall": s.Stall} {
		before := s.Attempts()
		fail()
		feel(t, "the failure is felt", writing.marketplace, 1)
		known, began := s.Attempts(), time.Now()
		until(t, "some seconds pass", backWithin, func() bool { return time.Since(began) > 3*time.Second })
		took := time.Since(began)
		attempts := s.Attempts() - known
		_, refused := writing.marketplace[0].count()
		t.Logf("%s: %d attempts until it was known, %d in the %s after that; a client was refused %d times", name, known-before, attempts, took, refused)
		if limit := atFirst + int(most*took.Seconds()); known-before+attempts > limit {
			t.Errorf("%s: %d attempts until it was known, and %d in %s; want at most %d", name, known-before, attempts, took, limit)
		}
		if refused < 20 {
			t.Errorf("%s: a client was refused %d times: it waits instead", name, refused)
		}
		s.Pass()
		progress(t, "writing works again", writing.marketplace, 1)
	}
	writing.leave()
	for _, c := range writing.marketplace {
		if c.longest > bounded || len(c.wrong) > 0 {
			t.Errorf("a call took %s; %q", c.longest, c.wrong)
		}
	}
	well.Store(true)
	until(t, "everything is delivered", 3*backWithin, func() bool {
		p.advance("1h")
		return !strings.Contains(p.host("GET", "/deliveries?state=pending", "").body, `"id"`)
	})
	p.accounted()
}

// TestStandbyIsPromoted: the primary is killed in the middle of a run, its
// synchronous standby takes over, and nothing that was answered is lost.
func TestStandbyIsPromoted(t *testing.T) {
	t.Parallel()
	a := storetest.NewServer(t, "wal_level=replica")
	b := a.Standby()
	// The standby is named first: it is passed by as long as it is one.
	p := runOn(t, strings.Replace(b.URL(a), "?", "?target_session_attrs=read-write&", 1))
	p.subscribe(p.dev.Users.Seller.AccessToken, `{"event_type":"NEW_MESSAGE_ON_POST"}`).ok()
	c := p.gather("promoted", 4)
	everybody := slices.Concat(c.writers(), c.readers)
	c.start(t)
	progress(t, "everything works", everybody, 20)

	// Without the standby no commit is answered. What is under way is not known
	// then; when the standby is back, it turns out to be accepted.
	b.Stop()
	feel(t, "the standby is missed", c.writers(), 1)
	progress(t, "reading goes on", c.readers, 1)
	p.isReady("takes too long")
	b.Start()
	progress(t, "everything works again", everybody, 20)
	p.isReady("")

	event := p.say("BUYER", "before")
	a.Kill()
	feel(t, "the failure is felt", c.writers(), failing)
	p.isReady("only reads") // the standby, as long as it is one
	b.Promote()
	progress(t, "everything works again", everybody, 20)
	p.isReady("")
	if after := p.say("BUYER", "after"); after <= event {
		t.Errorf("event %s comes after %s", after, event)
	}
	// The old primary comes back, and knows nothing of the new one.
	a.Start()
	a.ReadOnly() // which is how it is fenced off
	b.CutSessions()
	progress(t, "everything works", everybody, 5)
	c.end(t, p, b)
}

// TestStopsWithoutAnAnswer: a server that is told to stop does not wait for a
// database that never answers its COMMIT. What was sent and not recorded is sent
// again by the next.
func TestStopsWithoutAnAnswer(t *testing.T) {
	t.Parallel()
	s := storetest.NewServer(t)
	p := runOn(t, s.URL())
	sent, answer := make(chan struct{}, 1), make(chan struct{})
	p.hook.respond(func(http.ResponseWriter, *http.Request) {
		sent <- struct{}{}
		<-answer
	})
	p.subscribe(p.dev.Users.Seller.AccessToken, `{"event_type":"NEW_MESSAGE_ON_POST"}`).ok()
	event := p.say("BUYER", "sent, and not recorded")
	<-sent
	s.Exec("ALTER SYSTEM SET synchronous_standby_names = 'nobody'", "SELECT pg_reload_conf()")
	p.isReady("takes too long")
	close(answer)

	ctx, cancel := context.WithTimeout(t.Context(), time.Second)
	defer cancel()
	begun := time.Now()
	if err := p.srv.Stop(ctx); err == nil {
		t.Error("stopped in good order, without an answer of the database")
	}
	if took := time.Since(begun); took > 5*time.Second {
		t.Errorf("stopping took %v", took)
	}
	s.Exec("SET synchronous_commit = local", "ALTER SYSTEM RESET synchronous_standby_names", "SELECT pg_reload_conf()")
	p.hook.respond(nil)
	p.run(&server.DevOptions{EventURL: p.hook.url})
	until(t, "it is delivered", backWithin, func() bool { v := p.verdicts(event); return len(v) == 1 && v[0].State == "delivered" })
	p.accounted()
}
