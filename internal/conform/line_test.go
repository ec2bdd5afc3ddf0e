package conform

import (
	"crypto/x509"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/openkenar/openkenar/internal/webhook"
)

// TestOverTLS: every way to send goes over TLS too.
func TestOverTLS(t *testing.T) {
	t.Parallel()
	got := make(chan string, 1)
	app := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		got <- r.Method + " " + r.Header.Get("Content-Type")
		if err != nil || len(body) == 0 {
			w.WriteHeader(http.StatusBadRequest)
		}
	}))
	app.EnableHTTP2 = true
	app.StartTLS()
	defer app.Close()
	r, err := newRun(Options{EventURL: app.URL, IdentificationKey: "k"})
	if err != nil {
		t.Fatal(err)
	}
	l := newLine(false)
	l.base.TLSClientConfig.RootCAs = x509.NewCertPool()
	l.base.TLSClientConfig.RootCAs.AddCert(app.Certificate())
	r.client = webhook.NewClient(webhook.Options{Transport: l})
	defer r.client.Close()
	for name, c := range map[string]struct {
		hook   hook
		seen   string
		status int
	}{
		"as it is": {hook{}, "POST application/json", 200},
		"whole":    {hook{way: whole}, "POST application/json", 200},
		"broken":   {hook{way: broken}, "POST application/json", 400},
		"changed":  {hook{way: changed(func(req *http.Request) { req.Header["Content-Type"] = []string{"text/plain"} })}, "POST text/plain", 200},
		"gets":     {hook{way: replaced(nil)}, "POST application/json", 400},
	} {
		c.hook.sample = r.ordinary()
		p := r.send(t.Context(), c.hook)
		if p.Status != c.status || !p.connected {
			t.Errorf("%s: %s, want %d", name, p.says(), c.status)
			continue
		}
		if seen := <-got; seen != c.seen {
			t.Errorf("%s: the app saw %q, want %q", name, seen, c.seen)
		}
	}
}

// TestPlatform: the platform that conform plays knows the calls of the open
// API, and answers as it does.
func TestPlatform(t *testing.T) {
	t.Parallel()
	server := httptest.NewServer(newPlatform())
	defer server.Close()
	for call, want := range map[string]string{
		"POST /v1/open-platform/events/subscriptions":                             `{}`,
		"GET /v1/open-platform/events/subscriptions":                              `{"next":null,"subscriptions":[]}`,
		"DELETE /v1/open-platform/events/subscriptions/1":                         `{}`,
		"POST /experimental/open-platform/events/send?message=x&target_type=USER": `{}`,
		"POST /v2/open-platform/conversations/c/messages":                         `{"message":"the message was sent","status":200}`,
		"POST /v1/open-platform/chat/bot/conversations/c/messages":                `{"conversation_id":"c"}`,
		"POST /experimental/open-platform/chat/bot/conversations/c/messages":      `{"conversation_id":"c"}`,
		"POST /experimental/open-platform/chatbot-conversations/c/messages":       `{"conversation_id":"c"}`,
		"POST /v1/open-platform/chat/bot/users/u/messages":                        `{"conversation_id":"u"}`,
		"GET /v1/open-platform/chat/conversations/c":                              `{"conversation":{"id":"c","type":"BOT"},"messages":[]}`,
		"POST /experimental/open-platform/chat/upload":                            `{"token":"conform-upload"}`,
		"POST /upload/image":                      `{"id":"conform-media","status":"ok"}`,
		"GET /v1/open-platform/users":             `{"phone_number":"09120000001","phone_numbers":["09120000001"],"user_id":"conform-user"}`,
		"POST /v1/open-platform/users":            `{"phone_number":"09120000001","phone_numbers":["09120000001"],"user_id":"conform-user"}`,
		"GET /v1/open-platform/finder/user-posts": `{"posts":[]}`,
		"GET /v1/open-platform/finder/posts":      `{"code":5,"details":[],"message":"there is no GET /v1/open-platform/finder/posts"}`,
		"no key: GET /v1/open-platform/users":     `{"code":16,"details":[],"message":"no API key: send it in X-API-Key"}`,
	} {
		request, keyless := strings.CutPrefix(call, "no key: ")
		method, path, _ := strings.Cut(request, " ")
		req, err := http.NewRequestWithContext(t.Context(), method, server.URL+path, strings.NewReader(`{}`))
		if err != nil {
			t.Fatal(err)
		}
		if !keyless {
			req.Header.Set("X-API-Key", "k")
		}
		resp, err := server.Client().Do(req)
		if err != nil {
			t.Fatal(err)
		}
		body, err := io.ReadAll(resp.Body)
		_ = resp.Body.Close()
		if err != nil || strings.TrimSpace(string(body)) != want {
			t.Errorf("%s: %s %v, want %s", call, body, err, want)
		}
		if wantStatus := map[bool]int{true: 200, false: 400}[!strings.Contains(want, `"code"`)]; resp.StatusCode/100 != wantStatus/100 {
			t.Errorf("%s: status %d", call, resp.StatusCode)
		}
	}
}
