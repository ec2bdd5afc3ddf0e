package server_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/openkenar/openkenar/internal/server"
	"github.com/openkenar/openkenar/internal/store/storetest"
)

// platform is a running server in dev mode with a receiver behind the sample
// app's event URL.
type platform struct {
	t    testing.TB
	data string
	// database is its ledger's, when the tests run with TEST_ENGINE=postgres.
	database string
	base     string
	dev      server.DevInfo
	hook     *receiver
	srv      *server.Server
	// lenient: see beyond.
	lenient bool
	// seen are the operations that were answered, where a test has set it.
	seen *sync.Map
	// invitation is the path of one to its panel, where a test has made one.
	invitation string
}

func onPostgres() bool { return os.Getenv("TEST_ENGINE") == "postgres" }

// start runs a platform of its own for a test. Everything is real: the ledger
// on disk, HTTP on loopback.
func start(t testing.TB) *platform {
	t.Helper()
	hook := newReceiver(t)
	p := &platform{t: t, data: t.TempDir(), hook: hook}
	p.run(&server.DevOptions{EventURL: hook.url, IdentificationKey: "the-identification-key"})
	return p
}

// run starts a server on the platform's data; set changes how.
func (p *platform) run(dev *server.DevOptions, set ...func(*server.Options)) {
	p.t.Helper()
	if p.database == "" && onPostgres() {
		p.database = storetest.Postgres(p.t)
	}
	o := server.Options{Listen: "127.0.0.1:0", Data: p.data, Database: p.database, Version: "test", Dev: dev, Log: slog.New(slog.DiscardHandler)}
	for _, f := range set {
		f(&o)
	}
	srv, err := server.New(p.t.Context(), o)
	if err != nil {
		p.t.Fatal(err)
	}
	if err := srv.Start(p.t.Context()); err != nil {
		p.t.Fatal(err)
	}
	p.srv = srv
	p.t.Cleanup(p.stop)
	p.base = "http://" + srv.Addr()
	content, err := os.ReadFile(filepath.Join(p.data, "dev.json"))
	if err != nil {
		p.t.Fatal(err)
	}
	if err := json.Unmarshal(content, &p.dev); err != nil {
		p.t.Fatal(err)
	}
}

// stop ends the server; calling it again does nothing.
func (p *platform) stop() {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(p.t.Context()), 10*time.Second)
	defer cancel()
	if err := p.srv.Stop(ctx); err != nil {
		p.t.Errorf("stop: %v", err)
	}
}

// until waits for something that others bring about.
func until(t testing.TB, what string, within time.Duration, holds func() bool) {
	t.Helper()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for deadline := time.After(within); !holds(); {
		select {
		case <-tick.C:
		case <-deadline:
			t.Fatalf("not within %s: %s", within, what)
		}
	}
}

// answer is what a call got.
type answer struct {
	t      testing.TB
	call   string
	status int
	header http.Header
	body   string
}

// do makes a call; header is "Name: value" lines.
func (p *platform) do(method, path, body string, header ...string) answer {
	p.t.Helper()
	a, err := p.try(method, path, body, header...)
	if err != nil {
		p.t.Fatalf("%s %s: %v", method, path, err)
	}
	return a
}

// try makes a call, from any goroutine.
func (p *platform) try(method, path, body string, header ...string) (a answer, err error) {
	req, err := http.NewRequestWithContext(p.t.Context(), method, p.base+path, strings.NewReader(body))
	if err != nil {
		return a, err
	}
	if body != "" {
		req.Header.Set("Content-Type", "application/json")
	}
	for _, h := range header {
		name, value, _ := strings.Cut(h, ": ")
		req.Header.Set(name, value)
	}
	client := &http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	resp, err := client.Do(req)
	if err != nil {
		return a, err
	}
	defer resp.Body.Close()
	content, err := io.ReadAll(resp.Body)
	if err == nil {
		p.held(req, body, resp, content)
	}
	return answer{t: p.t, call: method + " " + path, status: resp.StatusCode, header: resp.Header, body: string(content)}, err
}

// host calls the host API with the host key.
func (p *platform) host(method, path, body string) answer {
	p.t.Helper()
	return p.do(method, "/host/v1"+path, body, "Authorization: Bearer "+p.dev.HostKey)
}

// app calls the open API with the sample app's key and a token ("" for none).
func (p *platform) app(method, path, token, body string) answer {
	p.t.Helper()
	header := []string{"X-API-Key: " + p.dev.App.APIKey}
	if token != "" {
		header = append(header, "Authorization: Bearer "+token)
	}
	return p.do(method, path, body, header...)
}

// token issues a token of the sample app for a user, for an hour.
func (p *platform) token(user string, scopes ...string) string {
	p.t.Helper()
	return p.tokenOf("sample-app", user, "1h", scopes...)
}

func (p *platform) tokenOf(app, user, ttl string, scopes ...string) string {
	p.t.Helper()
	in, _ := json.Marshal(map[string]any{"app": app, "user": user, "scopes": scopes, "ttl": ttl})
	var out struct {
		AccessToken string `json:"access_token"`
	}
	p.host("POST", "/dev/tokens", string(in)).ok().into(&out)
	return out.AccessToken
}

// subscribe registers a subscription of the sample app.
func (p *platform) subscribe(token, body string) answer {
	p.t.Helper()
	return p.app("POST", "/v1/open-platform/events/subscriptions", token, body)
}

// say writes a text into the demo conversation and returns the event's id.
func (p *platform) say(side, text string) string {
	p.t.Helper()
	in, _ := json.Marshal(map[string]string{"sender": side, "text": text})
	var m struct {
		EventID string `json:"event_id"`
	}
	p.host("POST", "/conversations/"+p.dev.ConversationID+"/messages", string(in)).ok().into(&m)
	return m.EventID
}

// advance moves the clock and waits for what falls due.
func (p *platform) advance(by string) {
	p.t.Helper()
	p.host("POST", "/dev/clock", `{"advance":"`+by+`"}`).ok()
}

// settle waits until everything that is due now has been attempted.
func (p *platform) settle() { p.t.Helper(); p.advance("0s") }

// verdict is a line of an event's verdicts.
type verdict struct {
	App        string  `json:"app"`
	State      string  `json:"state"`
	Reason     string  `json:"reason"`
	DeliveryID *string `json:"delivery_id"`
}

// verdicts returns what became of an event.
func (p *platform) verdicts(event string) []verdict {
	p.t.Helper()
	var out struct {
		Verdicts []verdict `json:"verdicts"`
	}
	p.host("GET", "/events/"+event, "").ok().into(&out)
	return out.Verdicts
}

// ok fails the test unless the answer is 200.
func (a answer) ok() answer {
	a.t.Helper()
	return a.want(http.StatusOK)
}

// want fails the test unless the answer has a status.
func (a answer) want(status int) answer {
	a.t.Helper()
	if a.status != status {
		a.t.Fatalf("%s: status %d, want %d; body %s", a.call, a.status, status, a.body)
	}
	return a
}

// refused fails the test unless the answer is the error of the contract's
// table, with a message that holds each of the words.
func (a answer) refused(status, code int, words ...string) {
	a.t.Helper()
	a.want(status)
	var s struct {
		Code    int               `json:"code"`
		Message string            `json:"message"`
		Details []json.RawMessage `json:"details"`
	}
	a.into(&s)
	if s.Code != code || s.Details == nil || len(s.Details) != 0 || a.header.Get("Content-Type") != "application/json" {
		a.t.Errorf("%s: %s %s, want code %d and details []", a.call, a.header.Get("Content-Type"), a.body, code)
	}
	for _, w := range words {
		if !strings.Contains(s.Message, w) {
			a.t.Errorf("%s: message %q does not name %q", a.call, s.Message, w)
		}
	}
}

func (a answer) into(v any) {
	a.t.Helper()
	if err := json.Unmarshal([]byte(a.body), v); err != nil {
		a.t.Fatalf("%s: %v in %s", a.call, err, a.body)
	}
}

// hook is one webhook as it arrived.
type hook struct {
	header http.Header
	body   string
}

// receiver is an app's event URL. It answers 200 unless told otherwise.
type receiver struct {
	faulty *faulty
	edited atomic.Bool // what it is sent, a developer makes up
	url    string

	mu     sync.Mutex
	got    []hook
	answer func(w http.ResponseWriter, r *http.Request)
}

func newReceiver(t testing.TB) *receiver {
	r := &receiver{faulty: faultsOf(t)}
	srv := httptest.NewServer(r)
	t.Cleanup(srv.Close)
	r.url = srv.URL + "/"
	return r
}

// ServeHTTP implements http.Handler.
func (r *receiver) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	body, err := io.ReadAll(req.Body)
	if err != nil {
		return
	}
	if !r.edited.Load() {
		heldPushed(r.faulty, req.Header, string(body))
	}
	r.mu.Lock()
	r.got = append(r.got, hook{header: req.Header.Clone(), body: string(body)})
	respond := r.answer
	r.mu.Unlock()
	if respond != nil {
		req.Body = io.NopCloser(bytes.NewReader(body))
		respond(w, req)
	}
}

// respond sets how the receiver answers from now on; nil for 200.
func (r *receiver) respond(f func(w http.ResponseWriter, r *http.Request)) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.answer = f
}

// take returns what arrived since the last call.
func (r *receiver) take() []hook {
	r.mu.Lock()
	defer r.mu.Unlock()
	got := r.got
	r.got = nil
	return got
}

// one settles the platform and returns the only webhook that arrived.
func (p *platform) one() hook {
	p.t.Helper()
	p.settle()
	got := p.hook.take()
	if len(got) != 1 {
		p.t.Fatalf("%d webhooks arrived, want 1: %s", len(got), fmt.Sprint(got))
	}
	return got[0]
}

// none settles the platform and fails the test if a webhook arrived.
func (p *platform) none() {
	p.t.Helper()
	p.settle()
	if got := p.hook.take(); len(got) != 0 {
		p.t.Fatalf("%d webhooks arrived, want none: %s", len(got), fmt.Sprint(got))
	}
}
