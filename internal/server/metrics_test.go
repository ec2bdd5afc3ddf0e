package server_test

import (
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"

	"code.dny.dev/ssrf"
	"github.com/prometheus/client_golang/prometheus/testutil/promlint"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"
	tracepb "go.opentelemetry.io/proto/otlp/trace/v1"
	"google.golang.org/protobuf/proto"

	"github.com/openkenar/openkenar/internal/server"
)

// answering plays every app: what a message asks for is what its webhook gets.
type answering struct {
	mu   sync.Mutex
	last http.Header
}

// RoundTrip implements http.RoundTripper.
func (a *answering) RoundTrip(r *http.Request) (*http.Response, error) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return nil, err
	}
	a.mu.Lock()
	a.last = r.Header.Clone()
	a.mu.Unlock()
	resp := &http.Response{StatusCode: http.StatusOK, Body: io.NopCloser(strings.NewReader(`{"url":"https://app.test/s"}`)), Request: r}
	switch text := string(body); {
	case strings.Contains(text, "refuse"):
		return nil, ssrf.ErrProhibitedIP
	case strings.Contains(text, "break"):
		return nil, errors.New("broken")
	case strings.Contains(text, "fail"):
		resp.StatusCode, resp.Header = http.StatusServiceUnavailable, http.Header{"Retry-After": {"86400"}}
	case strings.Contains(text, "gone"):
		resp.StatusCode = http.StatusGone
	}
	return resp, nil
}

func (a *answering) header(name string) string {
	a.mu.Lock()
	defer a.mu.Unlock()
	if values := a.last[name]; len(values) > 0 {
		return values[0]
	}
	return ""
}

// played starts a platform whose apps are played.
func played(t *testing.T, o server.Options) (*platform, *answering) {
	t.Helper()
	apps := &answering{}
	p := &platform{t: t, data: t.TempDir()}
	p.run(&server.DevOptions{EventURL: "https://app.test/", InitURL: "https://app.test/init"}, func(to *server.Options) {
		to.Transport, to.OperationsListen, to.Traces = apps, o.OperationsListen, o.Traces
		to.Log = cmp.Or(o.Log, to.Log)
	})
	p.subscribe(p.dev.Users.Seller.AccessToken, `{"event_type":"NEW_MESSAGE_ON_POST"}`).ok()
	return p, apps
}

// shows fails the test unless the metrics page has each of the lines.
func (p *platform) shows(lines ...string) {
	p.t.Helper()
	page := strings.Split(p.do("GET", "/metrics", "").ok().body, "\n")
	for _, line := range lines {
		if !slices.Contains(page, line) {
			name, _, _ := strings.Cut(line, " ")
			p.t.Errorf("no line %q; the page has %q", line, slices.DeleteFunc(slices.Clone(page), func(l string) bool { return !strings.HasPrefix(l, name) }))
		}
	}
}

func TestMetrics(t *testing.T) {
	t.Parallel()
	p, apps := played(t, server.Options{})
	p.shows("openkenar_oldest_due_seconds 0", "openkenar_deliveries_accepted_total 0")
	p.host("POST", "/extensions/sample-app/open", `{"touchpoint":"CHAT","user":"`+p.dev.Users.Seller.ID+`","conversation_id":"`+p.dev.ConversationID+`"}`).ok()
	for _, text := range []string{"hello", "again", "fail", "gone", "refuse", "break"} {
		p.host("POST", "/conversations/"+p.dev.ConversationID+"/messages", `{"id":"`+text+`","sender":"BUYER","text":"`+text+`"}`).ok()
	}
	p.settle()
	p.shows("openkenar_oldest_due_seconds 0")
	p.host("PATCH", "/apps/sample-app", `{"paused":true}`).ok() // no retries, whatever the time
	if parent := apps.header("traceparent"); parent != "" {
		t.Errorf("nobody traces, and the app gets traceparent %q", parent)
	}
	if page := p.do("GET", "/metrics", "").ok().body; strings.Contains(page, "openkenar_unaccounted") {
		t.Error("before the first audit something is shown as accounted for")
	}
	if err := p.srv.Audit(t.Context()); err != nil {
		t.Fatal(err)
	}
	p.shows(
		`openkenar_attempts_total{reason="ok"} 2`, `openkenar_attempts_total{reason="status"} 2`, `openkenar_attempts_total{reason="refused"} 1`,
		`openkenar_attempts_total{reason="connection"} 1`, `openkenar_attempts_total{reason="timeout"} 0`, `openkenar_attempts_total{reason="canceled"} 0`,
		`openkenar_deliveries_accepted_total 6`, `openkenar_deliveries_total{state="delivered"} 2`,
		`openkenar_deliveries_total{state="exhausted"} 1`, `openkenar_deliveries_total{state="canceled"} 0`,
		`openkenar_send_seconds_count 5`, `openkenar_sends_in_flight 0`, `openkenar_lanes_held 0`, `openkenar_circuits_open 0`, `openkenar_slots 256`,
		`openkenar_unaccounted 0`, `openkenar_feed_items_total 0`,
		`openkenar_calls_total{outcome="ok",type="session_initialization"} 1`, `openkenar_calls_total{outcome="busy",type="dynamic_action"} 0`,
	)
	p.host("DELETE", "/messages/fail", "").ok()
	p.shows(`openkenar_deliveries_total{state="canceled"} 1`)

	page := p.do("GET", "/metrics", "").ok()
	if strings.Contains(page.body, "sample-app") {
		t.Error("the page names an app")
	}
	documented(t, page.body)
	problems, err := promlint.New(strings.NewReader(page.body)).Lint()
	if err != nil || len(problems) > 0 {
		t.Errorf("promlint: %v %v", problems, err)
	}
	p.do("POST", "/metrics", "").refused(405, 12, "GET")
}

// documented fails the test unless OPERATIONS.md says what each of our metrics
// means, and of no others.
func documented(t *testing.T, page string) {
	t.Helper()
	manual, err := os.ReadFile("../../docs/OPERATIONS.md")
	if err != nil {
		t.Fatal(err)
	}
	names := func(form, text string) (list []string) {
		for _, m := range regexp.MustCompile(form).FindAllStringSubmatch(text, -1) {
			list = append(list, m[1])
		}
		slices.Sort(list)
		return list
	}
	shown, told := names(`(?m)^# TYPE (openkenar_\w+) `, page), names("(?m)^\\| `(openkenar_\\w+)[{`]", string(manual))
	if len(shown) < 10 || !slices.Equal(shown, told) {
		t.Errorf("the page shows\n%q, and the table of OPERATIONS.md tells of\n%q", shown, told)
	}
}

func TestOldestDue(t *testing.T) {
	t.Parallel()
	p, _ := played(t, server.Options{})
	p.host("PATCH", "/apps/sample-app", `{"paused":true}`).ok()
	p.say("BUYER", "hello")
	p.advance("1h")
	var late bool
	for line := range strings.SplitSeq(p.do("GET", "/metrics", "").ok().body, "\n") {
		late = late || strings.HasPrefix(line, "openkenar_oldest_due_seconds 360")
	}
	if !late {
		t.Error("a delivery waits for an hour, and the page does not say so")
	}
}

func TestOperationsListen(t *testing.T) {
	t.Parallel()
	p, _ := played(t, server.Options{OperationsListen: "127.0.0.1:0"})
	if p.srv.OperationsAddr() == p.srv.Addr() {
		t.Fatal("operations have no listener of their own")
	}
	p.do("GET", "/metrics", "").refused(404, 5, "no such path")
	p.do("GET", "/healthz", "").is("{}")
	p.base = "http://" + p.srv.OperationsAddr()
	p.shows("openkenar_deliveries_accepted_total 0")
	p.do("GET", "/healthz", "").is("{}")
	p.do("GET", "/readyz", "").is("{}")
	p.do("GET", "/host/v1/apps", "").refused(404, 5, "no such path")
}

// TestAttemptLine: one line of the log says everything about an attempt.
func TestAttemptLine(t *testing.T) {
	t.Parallel()
	var log bytes.Buffer
	p, _ := played(t, server.Options{Log: slog.New(slog.NewJSONHandler(&log, nil))})
	failed := p.say("BUYER", "fail")
	gone := p.say("BUYER", "gone")
	p.settle()
	p.stop()
	lines := map[string]map[string]any{}
	for line := range strings.Lines(log.String()) {
		var of map[string]any
		if err := json.Unmarshal([]byte(line), &of); err != nil {
			t.Fatal(err)
		}
		if id, ok := of["delivery"].(string); ok && of["msg"] == "delivery attempted" {
			if lines[id] != nil {
				t.Errorf("two lines of one attempt: %s", line)
			}
			lines[id] = of
		}
	}
	for id, want := range map[string]map[string]any{
		failed + "-sample-app": {"status": 503.0, "state": "pending", "error": "answered 503", "reason": nil},
		gone + "-sample-app": {
			"status": 410.0, "state": "exhausted", "error": "answered 410", "next_at": nil,
			"reason": "the app answered 410: it does not want this delivery",
		},
	} {
		got := lines[id]
		want["app"], want["type"], want["attempt"], want["result"], want["trace"] = "sample-app", "NEW_MESSAGE_ON_POST", 1.0, "status", nil
		for key, value := range want {
			if got[key] != value {
				t.Errorf("%s of delivery %s: %v, want %v", key, id, got[key], value)
			}
		}
		if _, ok := got["duration"].(float64); !ok || (got["next_at"] != nil) != (got["state"] == "pending") {
			t.Errorf("the line of delivery %s: %v", id, got)
		}
	}
}

// spansNamed returns the spans of a name, the first first.
func spansNamed(spans tracetest.SpanStubs, name string) (named tracetest.SpanStubs) {
	for _, s := range spans {
		if s.Name == name {
			named = append(named, s)
		}
	}
	return named
}

func attribute(s tracetest.SpanStub, key string) string {
	for _, a := range s.Attributes {
		if string(a.Key) == key {
			return a.Value.String()
		}
	}
	return ""
}

func TestTraces(t *testing.T) {
	t.Parallel()
	spans := tracetest.NewInMemoryExporter()
	p, apps := played(t, server.Options{Traces: server.TraceOptions{Spans: sdktrace.NewSimpleSpanProcessor(spans)}})

	event := p.say("BUYER", "fail")
	p.settle()
	attempt := spansNamed(spans.GetSpans(), "delivery attempt")[0]
	for key, want := range map[string]string{
		"openkenar.delivery": event + "-sample-app", "openkenar.app": "sample-app", "openkenar.type": "NEW_MESSAGE_ON_POST",
		"openkenar.attempt": "1", "openkenar.result": "status", "openkenar.state": "pending", "http.status_code": "503",
	} {
		if got := attribute(attempt, key); got != want {
			t.Errorf("%s of an attempt is %q, want %q", key, got, want)
		}
	}
	c := attempt.SpanContext
	if got, want := apps.header("traceparent"), "00-"+c.TraceID().String()+"-"+c.SpanID().String()+"-01"; got != want {
		t.Errorf("the app gets traceparent %q, want %q", got, want)
	}

	// The marketplace's own trace goes on, to the app that is asked meanwhile.
	const trace, caller = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
	const parent = "traceparent: 00-" + trace + "-" + caller + "-01"
	p.do("POST", "/host/v1/extensions/sample-app/open",
		`{"touchpoint":"CHAT","user":"`+p.dev.Users.Seller.ID+`","conversation_id":"`+p.dev.ConversationID+`"}`,
		"Authorization: Bearer "+p.dev.HostKey, parent, "tracestate: secret=1").ok()
	open := spansNamed(spans.GetSpans(), "POST /host/v1/extensions/{app}/open")[0]
	call := spansNamed(spans.GetSpans(), "app call")[0]
	if open.SpanContext.TraceID().String() != trace || open.Parent.SpanID().String() != caller || attribute(open, "http.status_code") != "200" {
		t.Errorf("the call's span: %+v", open)
	}
	if call.SpanContext.TraceID().String() != trace || call.Parent.SpanID() != open.SpanContext.SpanID() || attribute(call, "openkenar.result") != "ok" {
		t.Errorf("the span of the app's call: %+v", call)
	}
	if got := apps.header("traceparent"); !strings.HasPrefix(got, "00-"+trace+"-"+call.SpanContext.SpanID().String()) {
		t.Errorf("the app gets traceparent %q", got)
	}
	if got := apps.header("Tracestate"); got != "" {
		t.Errorf("the app gets tracestate %q", got)
	}

	// What an app says of its trace is not believed.
	p.do("GET", "/v1/open-platform/finder/post/none", "", "X-API-Key: "+p.dev.App.APIKey, parent).refused(404, 5, "none")
	get := spansNamed(spans.GetSpans(), "GET /v1/open-platform/finder/post/{token}")[0]
	if get.SpanContext.TraceID().String() == trace || attribute(get, "http.status_code") != "404" {
		t.Errorf("an app's call: %+v", get)
	}
	p.do("GET", "/v9/secret", "").want(404)
	if len(spansNamed(spans.GetSpans(), "no such path")) != 1 {
		t.Error("a call without a route has no span of the one name")
	}
}

// TestCollector: spans reach a collector before the server has stopped, and a
// collector that does not take them stops nothing.
func TestCollector(t *testing.T) {
	t.Parallel()
	for name, status := range map[string]int{"takes them": 200, "fails": 500} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var mu sync.Mutex
			var names []string
			collector := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				body, err := io.ReadAll(r.Body)
				var data tracepb.TracesData
				if err = errors.Join(err, proto.Unmarshal(body, &data)); err != nil || r.Header.Get("X-Key") != "k" {
					t.Errorf("%v; headers %v", err, r.Header)
				}
				mu.Lock()
				defer mu.Unlock()
				for _, of := range data.GetResourceSpans() {
					for _, scope := range of.GetScopeSpans() {
						for _, span := range scope.GetSpans() {
							names = append(names, span.GetName())
						}
					}
				}
				w.WriteHeader(status)
			}))
			t.Cleanup(collector.Close)
			p, _ := played(t, server.Options{Traces: server.TraceOptions{URL: collector.URL, Headers: map[string]string{"X-Key": "k"}}})
			p.say("BUYER", "hello")
			p.settle()
			p.stop()
			mu.Lock()
			defer mu.Unlock()
			if !slices.Contains(names, "delivery attempt") || !slices.Contains(names, "POST /host/v1/conversations/{id}/messages") {
				t.Errorf("the collector got %q", names)
			}
		})
	}
}
