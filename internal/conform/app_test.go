package conform_test

import (
	"bytes"
	"context"
	"crypto/subtle"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	standardwebhooks "github.com/standard-webhooks/standard-webhooks/libraries/go"

	"github.com/openkenar/openkenar/internal/conform"
)

const (
	key     = "the-identification-key"
	secret  = "whsec_MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNDU2Nzg5MDE=" //nolint:gosec // of this test alone
	maxHook = 256 << 10
	settle  = 100 * time.Millisecond
	// What an app with little room has room for.
	room    = 8
	lingers = 100 * time.Millisecond
	// A sender is slow who needs so many reads for a body of this length; it does
	// not hang on how busy this machine is.
	slowReads = 5
	slowBytes = 512
)

// app is a receiver as it should be, but for its one fault.
type app struct {
	fault    string
	platform string
	verifier *standardwebhooks.Webhook
	closing  chan struct{}

	reading, acting sync.Mutex // of apps that do one thing at a time
	later           sync.WaitGroup

	mu     sync.Mutex
	hooks  map[string]string // webhook-id: taken or done
	newest map[string]int64  // by conversation
	inside int
	dead   bool
}

// place is where an app under test is, and where it finds its platform.
type place struct {
	url      string
	platform net.Listener
}

// start starts an app with a fault; "" is none.
func start(t *testing.T, fault string) place {
	t.Helper()
	var listen net.ListenConfig
	platform, err := listen.Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = platform.Close() })
	verifier, err := standardwebhooks.NewWebhook(secret)
	if err != nil {
		t.Fatal(err)
	}
	a := &app{
		fault: fault, platform: "http://" + platform.Addr().String(), verifier: verifier, closing: make(chan struct{}),
		hooks: map[string]string{}, newest: map[string]int64{},
	}
	server := httptest.NewUnstartedServer(http.HandlerFunc(a.serve))
	server.Config.ErrorLog = log.New(io.Discard, "", 0)
	server.Start()
	t.Cleanup(func() {
		close(a.closing)
		server.CloseClientConnections()
		server.Close()
		a.later.Wait()
	})
	return place{server.URL, platform}
}

func (a *app) is(faults ...string) bool { return slices.Contains(faults, a.fault) }

func (a *app) serve(w http.ResponseWriter, r *http.Request) {
	if r.Method == http.MethodGet && a.is("answers GET") {
		return
	}
	if r.Method != http.MethodPost {
		w.WriteHeader(http.StatusMethodNotAllowed)
		return
	}
	if !a.knows(r.Header.Get("Authorization")) {
		http.Error(w, "wrong identification key", http.StatusUnauthorized)
		return
	}
	leave, ok := a.enter()
	defer leave()
	if !ok {
		w.WriteHeader(http.StatusServiceUnavailable)
		return
	}
	switch r.URL.Path {
	case "/event":
		w.WriteHeader(a.event(w, r))
		if a.is("talks much") {
			_, _ = w.Write(bytes.Repeat([]byte("x"), 64<<10))
		}
	case "/session":
		a.session(w, r)
	case "/action":
		a.action(w, r)
	}
}

// enter says whether the app has room for one more.
func (a *app) enter() (leave func(), ok bool) {
	if !a.is("has little room") {
		return func() {}, true
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	a.inside++
	stays := lingers
	if a.inside > room/2 { // a crowd comes: it does not get done before all are there
		stays *= 10
	}
	ok = a.inside <= room
	return func() {
		if ok {
			select {
			case <-time.After(stays):
			case <-a.closing:
			}
		}
		a.mu.Lock()
		defer a.mu.Unlock()
		a.inside--
	}, ok
}

func (a *app) knows(given string) bool {
	switch {
	case a.is("has another key"):
		return given == "another-key"
	case a.is("needs no key") && given == "":
		return true
	case a.is("looks at the beginning of the key"):
		return strings.HasPrefix(given, key[:8])
	case a.is("checks no key", "is naive"):
		return true
	}
	return subtle.ConstantTimeCompare([]byte(given), []byte(key)) == 1
}

type message struct {
	ID           string
	Conversation struct {
		ID, Type string
		Post     string `json:"post_token"`
	}
	Sender struct{ Side, Type string }
	Type   string
	SentAt int64 `json:"sent_at"`
	Text   string
}

type webhook struct {
	Type     string
	Metadata json.RawMessage
	OnPost   *message `json:"new_message"`
	ToBot    *message `json:"new_chatbot_message"`
}

// event handles a webhook and says what to answer.
func (a *app) event(w http.ResponseWriter, r *http.Request) int {
	if a.is("asks to come again") {
		return http.StatusServiceUnavailable
	}
	switch a.fault {
	case "redirects":
		w.Header().Set("Location", "/elsewhere")
		return http.StatusTemporaryRedirect
	case "is late":
		_, _ = io.Copy(io.Discard, r.Body)
		select {
		case <-r.Context().Done():
		case <-a.closing:
		}
		return http.StatusOK
	case "breaks off":
		panic(http.ErrAbortHandler)
	case "has endless headers":
		w.Header().Set("X-Endless", strings.Repeat("x", 40<<10))
		return http.StatusOK
	}
	a.mu.Lock()
	dead := a.dead
	a.mu.Unlock()
	if dead {
		return http.StatusInternalServerError
	}
	body, status := a.read(w, r)
	if status != 0 {
		return status
	}
	if !a.signed(r.Header, body) {
		return http.StatusUnauthorized
	}
	var in webhook
	if status := a.decode(r.Header, body, &in); status != 0 {
		return status
	}
	return a.handle(r.Context(), r.Header.Get("webhook-id"), in)
}

// read reads a webhook's body; status is what to answer where that fails.
func (a *app) read(w http.ResponseWriter, r *http.Request) (body []byte, status int) {
	most := int64(maxHook)
	if a.is("reads 64 KiB") {
		most = 64 << 10
	}
	if a.is("reads one at a time") {
		a.reading.Lock()
		defer a.reading.Unlock()
	}
	body, err := a.readAll(http.MaxBytesReader(w, r.Body, most))
	_, large := errors.AsType[*http.MaxBytesError](err)
	switch {
	case large && a.is("does not say what was too much"):
		return nil, http.StatusBadRequest
	case large:
		return nil, http.StatusRequestEntityTooLarge
	case errors.Is(err, errSlow):
		a.mu.Lock()
		defer a.mu.Unlock()
		a.dead = a.is("dies of a slow sender")
		w.Header().Set("Connection", "close")
		return nil, http.StatusRequestTimeout
	case err != nil && a.is("answers before it has read"):
		return nil, http.StatusOK
	case err != nil:
		return nil, http.StatusBadRequest
	}
	return body, 0
}

var errSlow = errors.New("a slow sender")

// readAll reads a body, unless it drips.
func (a *app) readAll(r io.Reader) (body []byte, err error) {
	patience := slowReads
	if a.is("dies of a slow sender") {
		patience *= 5 // it lives until others have been served beside one
	}
	buf := make([]byte, 64<<10)
	for reads := 1; ; reads++ {
		n, err := r.Read(buf)
		body = append(body, buf[:n]...)
		switch {
		case errors.Is(err, io.EOF):
			return body, nil
		case err != nil:
			return body, err
		case reads >= patience && len(body) < slowBytes && !a.is("never ends", "reads one at a time", "is naive"):
			return body, errSlow
		}
	}
}

func (a *app) signed(h http.Header, body []byte) bool {
	stamp := h.Get("webhook-timestamp")
	switch {
	case a.is("verifies nothing", "is naive"), a.is("needs no signature") && h.Get("webhook-signature") == "":
		return true
	case a.is("takes old signatures"):
		return a.verifier.VerifyIgnoringTimestamp(body, h) == nil
	case a.is("takes early signatures"):
		return a.verifier.VerifyIgnoringTimestamp(body, h) == nil && stamp > fmt.Sprint(time.Now().Add(-5*time.Minute).Unix())
	case a.is("takes late signatures"):
		return a.verifier.VerifyIgnoringTimestamp(body, h) == nil && stamp < fmt.Sprint(time.Now().Add(5*time.Minute).Unix())
	case a.is("reads one signature"):
		h = h.Clone()
		first, _, _ := strings.Cut(h.Get("webhook-signature"), " ")
		h.Set("webhook-signature", first)
	}
	return a.verifier.Verify(body, h) == nil
}

// decode reads a webhook; status is what to answer where the app cannot.
func (a *app) decode(h http.Header, body []byte, in *webhook) (status int) {
	const bad = http.StatusBadRequest
	err := json.Unmarshal(body, in)
	var meta map[string]string
	metaErr := json.Unmarshal(in.Metadata, &meta)
	m := in.OnPost
	if m == nil {
		m = &message{}
	}
	typed := func(typ string) bool { return m.Type == typ && a.is("refuses "+typ) }
	has := func(text string) bool { return bytes.Contains(body, []byte(text)) }
	switch {
	case err != nil && len(body) > 0 && body[0] == '{' && a.is("forgives cut JSON"),
		len(body) == 0 && a.is("forgives an empty body"),
		h.Get("Content-Type") != "application/json" && a.is("forgives forms"):
		return http.StatusOK
	case err != nil:
		return bad
	case a.is("decodes strictly") && (has("new_field") || has("new_thing") || has("sticker_data")),
		a.is("refuses new fields") && has("new_field"),
		a.is("refuses new types") && in.Type == "NEW_THING",
		a.is("refuses new values") && has("STICKER"),
		a.is("needs metadata") && in.Metadata == nil,
		a.is("chokes on null metadata") && string(in.Metadata) == "null",
		a.is("wants strings in metadata") && metaErr != nil && len(in.Metadata) > 0,
		a.is("refuses sellers") && m.Sender.Side == "SELLER" && m.Sender.Type == "HUMAN",
		a.is("refuses retired posts") && has(`"RETIRE"`),
		a.is("refuses revocations") && in.Type == "USER_ACCESS_REVOCATION",
		a.is("refuses refunds") && has("REFUNDED"),
		a.is("refuses old messages") && m.SentAt > 0 && time.Since(time.UnixMicro(m.SentAt)) > 24*time.Hour,
		a.is("refuses signs") && strings.Contains(m.Text, "<b>"),
		typed("IMAGE"), typed("FILE"), typed("VOICE"), typed("LOCATION"), typed("VIDEO"), typed("CONTACT"):
		return bad
	case a.is("refuses bots") && in.Type == "NEW_CHATBOT_MESSAGE":
		return http.StatusNotImplemented
	}
	return 0
}

// handle acts on a webhook, once.
func (a *app) handle(ctx context.Context, id string, in webhook) int {
	if a.is("does one thing at a time") {
		a.acting.Lock()
		defer a.acting.Unlock()
	}
	if a.is("wants order") && in.OnPost != nil {
		a.mu.Lock()
		defer a.mu.Unlock()
		newest := a.newest[in.OnPost.Conversation.ID]
		a.newest[in.OnPost.Conversation.ID] = max(newest, in.OnPost.SentAt)
		if in.OnPost.SentAt < newest {
			return http.StatusConflict
		}
		return http.StatusOK
	}
	if status := a.take(id); status != 0 {
		return status
	}
	if a.is("acts afterwards") {
		a.later.Go(func() {
			ctx := context.WithoutCancel(ctx)
			for a.act(ctx, in) != nil {
				select {
				case <-time.After(10 * time.Millisecond):
				case <-a.closing:
					return
				}
			}
		})
	}
	err := error(nil)
	if !a.is("acts afterwards") {
		err = a.act(ctx, in)
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	switch {
	case err != nil && a.is("notes before it works"):
		a.hooks[id] = "done"
		return http.StatusInternalServerError
	case err != nil && !a.is("swallows failures", "is naive"):
		delete(a.hooks, id)
		return http.StatusInternalServerError
	case a.is("forgets what is done"):
		delete(a.hooks, id)
	default:
		a.hooks[id] = "done"
	}
	return http.StatusOK
}

// take notes a webhook as taken; status is what to answer where it is already.
func (a *app) take(id string) (status int) {
	a.mu.Lock()
	defer a.mu.Unlock()
	switch state := a.hooks[id]; {
	case a.is("is naive", "counts no repeats"):
	case state == "done" && a.is("refuses repeats"):
		return http.StatusConflict
	case state == "done":
		return http.StatusOK
	case state == "taken" && !a.is("notes when it is done"):
		return http.StatusServiceUnavailable
	}
	a.hooks[id] = "taken"
	return 0
}

// act answers a person's message.
func (a *app) act(ctx context.Context, in webhook) error {
	var to, body string
	m := in.OnPost
	switch {
	case in.ToBot != nil:
		to, body, m = "/v1/open-platform/chat/bot/conversations/"+url.PathEscape(in.ToBot.Conversation.ID)+"/messages", `{"text_message":"yes"}`, in.ToBot
	case m != nil:
		to, body = "/v2/open-platform/conversations/"+url.PathEscape(m.Conversation.ID)+"/messages", `{"message":"yes"}`
	default:
		return nil
	}
	if m.Sender.Type != "HUMAN" && !a.is("answers bots", "is naive") {
		return nil
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, a.platform+to, strings.NewReader(body))
	if err != nil {
		return err
	}
	req.Header.Set("X-API-Key", "an API key")
	req.Header.Set("Authorization", "Bearer an access token")
	client := &http.Client{Timeout: 5 * time.Second}
	defer client.CloseIdleConnections()
	resp, err := client.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return errors.New(resp.Status)
	}
	return nil
}

func (a *app) session(w http.ResponseWriter, r *http.Request) {
	var in struct {
		ReturnURL    string `json:"return_url"`
		Source       string
		User         *string `json:"user_id"`
		Side         *string `json:"user_side"`
		ProviderData struct {
			List []any
		} `json:"provider_data"`
		NewField any `json:"new_field"`
	}
	if err := json.NewDecoder(r.Body).Decode(&in); err != nil {
		w.WriteHeader(http.StatusBadRequest)
		return
	}
	switch {
	case a.is("opens for users alone") && in.User == nil,
		a.is("opens for sellers alone") && in.Side != nil && *in.Side == "Demand",
		a.is("opens known places alone") && in.Source == "NEW_PLACE",
		a.is("opens with strings alone") && in.ProviderData.List != nil,
		a.is("opens without new fields") && in.NewField != nil:
		w.WriteHeader(http.StatusInternalServerError)
		return
	}
	to := "https://app.example.com/s/1"
	switch a.fault {
	case "opens a path":
		to = "/s/1"
	case "opens plain http":
		to = "http://app.example.com/s/1"
	case "opens with a name":
		to = "https://user@app.example.com/s/1"
	case "opens with all it got":
		to += "?back=" + url.QueryEscape(in.ReturnURL)
	case "opens nothing":
		_, _ = io.WriteString(w, `{"url":null}`)
		return
	case "opens with 201":
		w.WriteHeader(http.StatusCreated)
	}
	_ = json.NewEncoder(w).Encode(map[string]string{"url": to})
}

func (a *app) action(w http.ResponseWriter, r *http.Request) {
	var in struct {
		Conversation *string `json:"conversation_id"`
		Side         *string `json:"user_side"`
		ExtraData    struct {
			Cell *int
		} `json:"extra_data"`
		NewField any `json:"new_field"`
	}
	if err := json.NewDecoder(r.Body).Decode(&in); err != nil {
		w.WriteHeader(http.StatusBadRequest)
		return
	}
	again := false
	if in.Conversation != nil {
		a.mu.Lock()
		again = a.hooks[*in.Conversation] != ""
		a.hooks[*in.Conversation] = "clicked"
		a.mu.Unlock()
	}
	answers := map[string]string{
		"does nothing":           `{}`,
		"does two things":        `{"action":{"open_direct_link":"https://app.example.com/","open_post_page":{"post_token":"p"}}}`,
		"does something dynamic": `{"action":{"get_dynamic_action":{"data":{}}}}`,
		"does something plain":   `{"action":{"open_direct_link":"http://app.example.com/"}}`,
		"does not speak JSON":    `<p>yes</p>`,
		"says too much":          `{"text_message":"` + strings.Repeat("x", 5000) + `"}`,
		"does a post":            `{"action":{"open_post_page":{"post_token":"p"}},"text_message":null}`,
	}
	switch {
	case a.is("does for chats alone") && in.Conversation == nil,
		a.is("does for sellers alone") && in.Side != nil && *in.Side == "DEMAND",
		a.is("does with its own data alone") && in.ExtraData.Cell == nil,
		a.is("does without new fields") && in.NewField != nil,
		a.is("does it once") && again:
		w.WriteHeader(http.StatusInternalServerError)
	case answers[a.fault] != "":
		_, _ = io.WriteString(w, answers[a.fault])
	default:
		_, _ = io.WriteString(w, `{"text_message":"yes"}`)
	}
}

// run runs the checks against an app. It may be used in any goroutine.
func run(t *testing.T, p place, change func(*conform.Options)) (conform.Report, error) {
	o := conform.Options{
		IdentificationKey: key, SigningSecret: secret, Platform: p.platform, Version: "test", ActionData: []byte(`{"cell":4}`),
		// Far above what a right app takes on a busy machine.
		Bounds: conform.Bounds{Run: 3 * time.Minute, Slow: 30 * time.Second, Settle: settle},
	}
	change(&o)
	return conform.Run(t.Context(), o)
}

func check(t *testing.T, p place, change func(*conform.Options)) conform.Report {
	t.Helper()
	report, err := run(t, p, change)
	if err != nil {
		t.Fatal(err)
	}
	return report
}

func ids(r conform.Report) []string {
	list := []string{}
	for _, f := range r.Findings {
		list = append(list, f.ID)
	}
	return list
}
