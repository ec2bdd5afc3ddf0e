package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/openkenar/openkenar/internal/server"
)

const (
	listenEvents = 10_000
	listenKills  = 10 // of listen, and as many of the server
	listenBatch  = 50
	listenAhead  = 400 // how many events may be fed and not posted yet
	listenTime   = 3 * time.Minute
)

// laptop is the app on the developer's machine: it answers every event with 200
// and writes down what came.
type laptop struct {
	mu    sync.Mutex
	order []string       // webhook-ids as they came
	times map[string]int // by webhook-id
	again map[string]int // those that came with a higher OpenKenar-Attempt
	texts map[string]bool
	heads map[string]bool // the names of headers that came
	came  chan struct{}   // receives for each that comes for the first time
}

func newLaptop() *laptop {
	return &laptop{times: map[string]int{}, again: map[string]int{}, texts: map[string]bool{}, heads: map[string]bool{}, came: make(chan struct{}, 2*listenEvents)}
}

// ServeHTTP implements http.Handler.
func (l *laptop) ServeHTTP(_ http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return // the sender was killed before it had sent the whole body
	}
	var hook struct {
		Post struct{ Text string } `json:"new_message"`
		Bot  struct{ Text string } `json:"new_chatbot_message"`
	}
	if json.Unmarshal(body, &hook) != nil {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	id := r.Header.Get("webhook-id")
	l.order = append(l.order, id)
	for name := range r.Header {
		l.heads[name] = true
	}
	l.texts[hook.Post.Text+hook.Bot.Text] = true
	if r.Header.Get("OpenKenar-Attempt") != "1" {
		l.again[id]++
	}
	if l.times[id]++; l.times[id] == 1 {
		l.came <- struct{}{} // before it is answered: a kill may come in between
	}
}

// repeats counts what came more than once, and how many of these said so.
func (l *laptop) repeats() (repeats, marked int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for id, n := range l.times {
		repeats += n - 1
		if n > 1 {
			marked += min(n-1, l.again[id])
		}
	}
	return repeats, marked
}

// listener is openkenar listen as a process of its own.
type listener struct {
	t     *testing.T
	p     *process
	to    string
	state string
	cmd   *exec.Cmd
	log   *os.File
}

func (l *listener) start() {
	l.t.Helper()
	l.cmd = exec.CommandContext(l.t.Context(), l.p.cmd.Path, "listen", "--json", "--from-start", "--forward", l.to, "--state", l.state)
	l.cmd.Env = append(l.p.env(), "OPENKENAR_SERVER="+l.p.dev.BaseURL, "OPENKENAR_API_KEY="+l.p.dev.App.APIKey)
	l.cmd.Stderr = l.log
	if err := l.cmd.Start(); err != nil {
		l.t.Fatal(err)
	}
}

// kill ends listen at once; what it has started goes on.
func (l *listener) kill() {
	l.t.Helper()
	if err := l.cmd.Process.Kill(); err != nil {
		l.t.Fatal(err)
	}
	_ = l.cmd.Wait()
}

// said is what listen has said.
func (l *listener) said() string {
	content, err := os.ReadFile(l.log.Name())
	if err != nil {
		l.t.Fatal(err)
	}
	return string(content)
}

// await waits until listen has said something.
func (l *listener) await(words string) {
	l.t.Helper()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for deadline := time.After(30 * time.Second); !strings.Contains(l.said(), words); {
		select {
		case <-tick.C:
		case <-deadline:
			l.t.Fatalf("listen has not said %q: %s", words, l.said())
		}
	}
}

// listening starts a server whose app hears of messages, and listen.
func listening(t *testing.T) (p *process, app *laptop, l *listener) {
	t.Helper()
	pushed := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
	t.Cleanup(pushed.Close)
	app = newLaptop()
	hook := httptest.NewServer(app)
	t.Cleanup(hook.Close)
	p = &process{t: t, Place: server.Place{Data: t.TempDir()}}
	p.args = []string{"dev", "--data", p.Data, "--listen", freeAddress(t), "--event-url", pushed.URL}
	p.start()
	prepare(t, p, marketplace{base: p.dev.BaseURL, key: p.dev.HostKey})
	dir := t.TempDir()
	log, err := os.Create(filepath.Join(dir, "log"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = log.Close() })
	l = &listener{t: t, p: p, to: hook.URL + "/hook", state: filepath.Join(dir, "state", "listen.json"), log: log}
	l.start()
	return p, app, l
}

// flow feeds messages, on a post and to the bot by turns, each batch until it is
// accepted, and not far ahead of what was posted.
func flow(ctx context.Context, host marketplace, bot string, from, to int, posted <-chan int) error {
	seen := from
	for i := from; i < to; i += listenBatch {
		var lines strings.Builder
		for j := i; j < i+listenBatch; j++ {
			conversation, sender := "c"+strconv.Itoa(j%killConversations), "BUYER"
			if j%2 == 1 {
				conversation, sender = bot, "USER"
			}
			fmt.Fprintf(&lines, `{"message":{"conversation":%q,"id":"m-%d","sender":%q,"text":"text %d"}}`+"\n", conversation, j, sender, j)
		}
		again := time.NewTicker(5 * time.Millisecond)
		for {
			answer, ok := host.post(ctx, "/batch", "application/x-ndjson", []byte(lines.String()))
			if ok && strings.Contains(string(answer), `"errors":[]`) {
				break
			}
			if ok {
				return fmt.Errorf("batch at %d: %s", i, answer)
			}
			if !next(ctx, again.C) {
				return ctx.Err()
			}
		}
		again.Stop()
		for seen < i+listenBatch-listenAhead {
			select {
			case seen = <-posted:
			case <-ctx.Done():
				return ctx.Err()
			}
		}
	}
	return nil
}

// feeding has so many events happen, not far ahead of what is posted. await waits
// until some are, and fed says how it ended.
func feeding(ctx context.Context, t *testing.T, p *process, app *laptop, l *listener, events int) (await func(n int), fed <-chan error) {
	posted, ended := make(chan int, 2*events), make(chan error, 1)
	go func() {
		ended <- flow(ctx, marketplace{base: p.dev.BaseURL, key: p.dev.HostKey}, p.dev.BotConversationID, 0, events, posted)
	}()
	seen := 0
	return func(n int) {
		t.Helper()
		for ; seen < n; posted <- seen {
			select {
			case <-app.came:
				seen++
			case <-ctx.Done():
				t.Fatalf("%d events were posted: %v: %s", seen, ctx.Err(), l.said())
			}
		}
	}, ended
}

// TestListen kills listen and the server while events flow: every event is
// posted once, in order.
func TestListen(t *testing.T) {
	if testing.Short() {
		t.Skip("20 kills among 10,000 events")
	}
	t.Parallel()
	ctx, cancel := context.WithTimeout(t.Context(), listenTime)
	defer cancel()
	p, app, l := listening(t)
	await, fed := feeding(ctx, t, p, app, l, listenEvents)
	random := rand.New(rand.NewPCG(8, uint64(listenEvents)))
	kills := slices.Concat(slices.Repeat([]string{"listen"}, listenKills), slices.Repeat([]string{"server"}, listenKills))
	random.Shuffle(len(kills), func(i, j int) { kills[i], kills[j] = kills[j], kills[i] })
	for k, whom := range kills {
		await((k*listenEvents + random.IntN(listenEvents)) / (len(kills) + 1))
		if whom == "listen" {
			l.kill()
			l.start()
		} else {
			p.kill()
			p.start()
		}
	}
	await(listenEvents)
	if err := <-fed; err != nil {
		t.Fatal(err)
	}
	// Stopped as people do it, it has nothing left to do, and says so.
	if err := l.cmd.Process.Signal(os.Interrupt); err != nil {
		t.Fatal(err)
	}
	if err := l.cmd.Wait(); err != nil {
		t.Errorf("stopped: %v: %s", err, l.said())
	}
	repeats, _ := app.repeats()
	lost := 0
	for i := range listenEvents {
		if !app.texts["text "+strconv.Itoa(i)] {
			lost++
		}
	}
	t.Logf("kills of listen %d, of the server %d · events %d · posted %d · repeated %d · lost %d",
		listenKills, listenKills, listenEvents, len(app.order), repeats, lost)
	if lost != 0 || repeats != 0 || len(app.order) != listenEvents {
		t.Errorf("lost %d, repeated %d: %s", lost, repeats, l.said())
	}
	if !slices.IsSortedFunc(app.order, func(a, b string) int { return strings.Compare(a, b) }) {
		t.Error("the events did not come in order")
	}
	// Those of the webhook, and no others.
	want := []string{"Authorization", "Content-Length", "Content-Type", "Openkenar-Attempt", "User-Agent", "Webhook-Id", "Webhook-Signature", "Webhook-Timestamp"}
	if got := slices.Sorted(maps.Keys(app.heads)); !slices.Equal(got, want) {
		t.Errorf("the headers that came are %q, want %q", got, want)
	}
	if audit := audit(t, p.Place); audit.Unaccounted != 0 {
		t.Errorf("audit: %+v", audit)
	}
}

// TestListenCourierKilled kills what posts for listen: nothing is lost, and what
// may have arrived is posted again with a mark, at most one event for each kill.
func TestListenCourierKilled(t *testing.T) {
	if testing.Short() {
		t.Skip("kills among events")
	}
	if _, err := os.Stat("/proc/self/task"); err != nil {
		t.Skip("the process that posts is found in /proc")
	}
	t.Parallel()
	const events, kills = 2000, 10
	ctx, cancel := context.WithTimeout(t.Context(), listenTime)
	defer cancel()
	p, app, l := listening(t)
	await, fed := feeding(ctx, t, p, app, l, events)
	for k := range kills {
		await((k + 1) * events / (kills + 1))
		pid, err := child(l.cmd.Process.Pid)
		if err != nil {
			t.Fatal(err)
		}
		if k%2 == 1 { // both at once, as a machine that stops
			l.kill()
		}
		if err := killed(pid); err != nil {
			t.Logf("kill %d came too late: %v", k+1, err)
		}
		if k%2 == 1 {
			l.start()
		}
	}
	await(events)
	if err := <-fed; err != nil {
		t.Fatal(err)
	}
	if err := l.cmd.Process.Signal(os.Interrupt); err != nil {
		t.Fatal(err)
	}
	if err := l.cmd.Wait(); err != nil {
		t.Errorf("stopped: %v: %s", err, l.said())
	}
	repeats, marked := app.repeats()
	t.Logf("kills of what posts %d · events %d · repeated %d, of which marked %d", kills, events, repeats, marked)
	if repeats != marked || repeats > kills || len(app.times) != events {
		t.Errorf("%d events arrived; %d repeats, of which %d say so: %s", len(app.times), repeats, marked, l.said())
	}
}

// TestListenCannotPost: where what posts is killed and no other can take over,
// listen ends, and has said why.
func TestListenCannotPost(t *testing.T) {
	if _, err := os.Stat("/proc/self/task"); err != nil {
		t.Skip("the process that posts is found in /proc")
	}
	t.Parallel()
	p, _, l := listening(t)
	l.await("posts the events")
	pid, err := child(l.cmd.Process.Pid)
	if err != nil {
		t.Fatal(err)
	}
	if err := killed(pid); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(l.state, []byte("{"), 0o600); err != nil {
		t.Fatal(err)
	}
	host := marketplace{base: p.dev.BaseURL, key: p.dev.HostKey}
	message := []byte(`{"sender":"USER","text":"hello"}`)
	if answer, ok := host.post(t.Context(), "/conversations/"+p.dev.BotConversationID+"/messages", "application/json", message); !ok {
		t.Fatalf("a message was not accepted: %s", answer)
	}
	err = l.cmd.Wait()
	if exit, ok := errors.AsType[*exec.ExitError](err); !ok || exit.ExitCode() != 1 {
		t.Errorf("listen ended with %v: %s", err, l.said())
	}
	if said := l.said(); !strings.HasSuffix(said, "; remove it to begin anew\n") || strings.Contains(said, "panic") {
		t.Errorf("listen said %s", said)
	}
}

// TestListenTwice: a second one with the same state says what it waits for, and
// can be stopped meanwhile.
func TestListenTwice(t *testing.T) {
	t.Parallel()
	_, _, l := listening(t)
	l.await("posts the events")
	second := *l
	log, err := os.Create(filepath.Join(t.TempDir(), "log"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = log.Close() })
	second.log = log
	second.start()
	second.await("another one works with the state file")
	begin := time.Now()
	if err := second.cmd.Process.Signal(os.Interrupt); err != nil {
		t.Fatal(err)
	}
	if err := second.cmd.Wait(); err != nil || time.Since(begin) > 5*time.Second {
		t.Errorf("stopped after %s: %v: %s", time.Since(begin), err, second.said())
	}
}

// killed ends a process at once.
func killed(pid int) error {
	p, err := os.FindProcess(pid)
	if err != nil {
		return err
	}
	return p.Kill()
}

// child is the one process that another has started, by any of its threads.
func child(pid int) (int, error) {
	tasks, err := os.ReadDir(fmt.Sprintf("/proc/%d/task", pid))
	if err != nil {
		return 0, err
	}
	var list []string
	for _, task := range tasks {
		content, err := os.ReadFile(fmt.Sprintf("/proc/%d/task/%s/children", pid, task.Name()))
		if err != nil {
			continue // the thread is gone
		}
		list = append(list, strings.Fields(string(content))...)
	}
	if len(list) != 1 {
		return 0, fmt.Errorf("process %d has the children %q", pid, list)
	}
	return strconv.Atoi(list[0])
}
