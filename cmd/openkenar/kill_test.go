package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/openkenar/openkenar/internal/delivery"
	"github.com/openkenar/openkenar/internal/server"
	"github.com/openkenar/openkenar/internal/store/storetest"
)

const (
	killEvents        = 20_000
	kills             = 20
	killConversations = 200
	killBatch         = 100
)

// process is the program, started as a process of its own.
type process struct {
	t *testing.T
	server.Place
	args []string
	cmd  *exec.Cmd
	log  bytes.Buffer
	dev  server.DevInfo
}

func (p *process) env() []string {
	return []string{asMain + "=1", "OPENKENAR_DATABASE=" + p.Database}
}

// start starts the program and returns once it is ready.
func (p *process) start() {
	p.t.Helper()
	file := filepath.Join(p.Data, "dev.json")
	if err := os.Remove(file); err != nil && !os.IsNotExist(err) {
		p.t.Fatal(err)
	}
	program, err := os.Executable()
	if err != nil {
		p.t.Fatal(err)
	}
	p.log.Reset()
	p.cmd = exec.CommandContext(p.t.Context(), program, p.args...)
	p.cmd.Env = p.env()
	p.cmd.Stderr = &p.log
	if err := p.cmd.Start(); err != nil {
		p.t.Fatal(err)
	}
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	deadline := time.After(30 * time.Second)
	for {
		select {
		case <-tick.C:
			content, err := os.ReadFile(file)
			if err != nil {
				continue
			}
			if err := json.Unmarshal(content, &p.dev); err != nil {
				p.t.Fatal(err)
			}
			return
		case <-deadline:
			p.t.Fatalf("the program is not ready after 30 s: %s", p.log.String())
		}
	}
}

// kill ends the program at once, in the middle of whatever it does.
func (p *process) kill() {
	p.t.Helper()
	if err := p.cmd.Process.Kill(); err != nil {
		p.t.Fatal(err)
	}
	_ = p.cmd.Wait()
}

// marketplace calls the host API of the program, whatever becomes of that.
type marketplace struct{ base, key string }

// post makes a call; ok is false when the program was killed meanwhile.
func (m marketplace) post(ctx context.Context, path, contentType string, body []byte) (answer []byte, ok bool) {
	req, err := m.request(ctx, http.MethodPost, path, bytes.NewReader(body))
	if err != nil {
		return nil, false
	}
	req.Header.Set("Content-Type", contentType)
	answer, status, err := call(req)
	return answer, err == nil && status == http.StatusOK
}

func (m marketplace) request(ctx context.Context, method, path string, body io.Reader) (*http.Request, error) {
	req, err := http.NewRequestWithContext(ctx, method, m.base+"/host/v1"+path, body)
	if err == nil {
		req.Header.Set("Authorization", "Bearer "+m.key)
	}
	return req, err
}

// call makes a call of the program. When that is killed meanwhile, there is an
// error, also where a part of the answer has come.
func call(req *http.Request) (answer []byte, status int, err error) {
	client := &http.Client{}
	resp, err := client.Do(req)
	if err != nil {
		return nil, 0, err
	}
	defer resp.Body.Close()
	answer, err = io.ReadAll(resp.Body)
	return answer, resp.StatusCode, err
}

// counter is the app: it answers every webhook with 200 and counts.
type counter struct {
	mu     sync.Mutex
	idle   sync.Cond
	active int
	sends  int
	seen   map[string]int // message id → times
	first  chan struct{}  // receives for each message seen for the first time
}

func newCounter() *counter {
	c := &counter{seen: map[string]int{}, first: make(chan struct{}, killEvents)}
	c.idle.L = &c.mu
	return c
}

// ServeHTTP implements http.Handler.
func (c *counter) ServeHTTP(_ http.ResponseWriter, r *http.Request) {
	c.mu.Lock()
	c.active++
	c.mu.Unlock()
	var hook struct {
		Message struct {
			ID string `json:"id"`
		} `json:"new_message"`
	}
	err := json.NewDecoder(r.Body).Decode(&hook)
	c.mu.Lock()
	defer c.mu.Unlock()
	c.active--
	c.idle.Broadcast()
	if err != nil {
		return // the sender was killed before it had sent the whole body
	}
	c.sends++
	if c.seen[hook.Message.ID]++; c.seen[hook.Message.ID] == 1 {
		c.first <- struct{}{}
	}
}

// arrived returns how many sends arrived, once none is being received.
func (c *counter) arrived() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	for c.active > 0 {
		c.idle.Wait()
	}
	return c.sends
}

// TestKill kills the program at random moments while events are fed and
// delivered: nothing that was accepted is lost, and only sends whose outcome
// was not yet on disk are repeated.
func TestKill(t *testing.T) {
	t.Parallel()
	t.Run("sqlite", func(t *testing.T) {
		t.Parallel()
		tryKilling(t, server.Place{Data: t.TempDir()})
	})
	t.Run("postgres", func(t *testing.T) {
		t.Parallel()
		tryKilling(t, server.Place{Data: t.TempDir(), Database: storetest.Postgres(t)})
	})
}

func tryKilling(t *testing.T, at server.Place) {
	app := newCounter()
	hook := httptest.NewServer(app)
	t.Cleanup(hook.Close)
	p := &process{t: t, Place: at}
	p.args = []string{"dev", "--data", p.Data, "--listen", freeAddress(t), "--event-url", hook.URL}
	p.start()
	host := marketplace{base: p.dev.BaseURL, key: p.dev.HostKey}
	prepare(t, p, host)

	fed := make(chan error, 1)
	go func() { fed <- feed(t.Context(), host) }()

	seen := 0
	for k := range kills {
		// The next kill comes after a random part of the next share of the
		// events, so that every one falls into the feeding.
		until := (k*killEvents + rand.IntN(killEvents)) / (kills + 1)
		for ; seen < until; seen++ {
			<-app.first
		}
		p.kill()
		if audit := audit(t, p.Place); audit.Unaccounted != 0 {
			t.Fatalf("after kill %d: %q", k+1, audit.Findings)
		}
		p.start()
	}
	if err := <-fed; err != nil {
		t.Fatal(err)
	}
	if _, ok := host.post(t.Context(), "/dev/clock", "application/json", []byte(`{"advance":"0s"}`)); !ok {
		t.Fatal("the program did not settle")
	}
	p.kill()

	result := audit(t, p.Place)
	// Every send that arrived is in the log, but for those that a kill cut off
	// before their outcome was on disk.
	unrecorded := app.arrived() - int(result.Attempts)
	received, repeats := 0, 0
	for i := range killEvents {
		times := app.seen[messageID(i)]
		if times == 0 {
			t.Errorf("message %d never arrived", i)
			continue
		}
		received++
		repeats += times - 1
	}
	t.Logf("kills %d · events %d · received %d · repeats %d · sends whose outcome was not recorded at a kill %d · unaccounted %d",
		kills, killEvents, received, repeats, unrecorded, result.Unaccounted)
	if repeats > unrecorded {
		t.Errorf("%d repeats, more than the %d sends whose outcome was not recorded", repeats, unrecorded)
	}
	if result.Unaccounted != 0 || result.Delivered != killEvents || result.Pending != 0 {
		t.Errorf("audit: %+v", result)
	}
	verify := exec.CommandContext(t.Context(), p.cmd.Path, "verify", "--data", p.Data)
	verify.Env = p.env()
	if out, err := verify.CombinedOutput(); err != nil || !strings.Contains(string(out), "unaccounted  0\n") {
		t.Errorf("verify: %v: %s", err, out)
	}
}

func messageID(i int) string { return fmt.Sprintf("message-%05d", i) }

// freeAddress returns a loopback address that was free a moment ago: the
// program keeps it over its restarts.
func freeAddress(t *testing.T) string {
	t.Helper()
	l := httptest.NewServer(nil)
	defer l.Close()
	return l.Listener.Addr().String()
}

// prepare makes the conversations and the subscription.
func prepare(t *testing.T, p *process, host marketplace) {
	t.Helper()
	var lines strings.Builder
	for i := range killConversations {
		fmt.Fprintf(&lines, `{"conversation":{"id":"c%d","type":"POST","post_token":%q,"buyer":"buyer-%d"}}`+"\n", i, p.dev.PostToken, i)
	}
	if answer, ok := host.post(t.Context(), "/batch", "application/x-ndjson", []byte(lines.String())); !ok {
		t.Fatalf("make conversations: %s", answer)
	}
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, p.dev.BaseURL+"/v1/open-platform/events/subscriptions",
		strings.NewReader(`{"event_type":"NEW_MESSAGE_ON_POST"}`))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("X-API-Key", p.dev.App.APIKey)
	req.Header.Set("Authorization", "Bearer "+p.dev.Users.Seller.AccessToken)
	if answer, status, err := call(req); err != nil || status != http.StatusOK {
		t.Fatalf("subscribe: %v: %d %s", err, status, answer)
	}
}

// feed sends all messages, each batch again until it is accepted.
func feed(ctx context.Context, host marketplace) error {
	for i := 0; i < killEvents; i += killBatch {
		var lines strings.Builder
		for j := i; j < i+killBatch; j++ {
			fmt.Fprintf(&lines, `{"message":{"conversation":"c%d","id":%q,"sender":"BUYER","text":"hello"}}`+"\n", j%killConversations, messageID(j))
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
			select {
			case <-again.C:
			case <-ctx.Done():
				return ctx.Err()
			}
		}
		again.Stop()
	}
	return nil
}

// audit proves the ledger, as verify does.
func audit(t *testing.T, at server.Place) (a delivery.Audit) {
	t.Helper()
	ledger, err := server.OpenLedger(t.Context(), at)
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := ledger.Close(); err != nil {
			t.Error(err)
		}
	}()
	if a, err = ledger.Audit(t.Context(), func(int64) {}); err != nil {
		t.Fatal(err)
	}
	return a
}
