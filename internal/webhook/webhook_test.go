package webhook_test

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/openkenar/openkenar/internal/webhook"
)

const (
	// soon is the limit of a client whose app never answers in time: long beside what
	// signing takes on a busy machine, which is not waiting.
	soon = 500 * time.Millisecond
	// late is a limit that no test reaches.
	late = 30 * time.Second
)

// client returns a client that may call loopback.
func client(t *testing.T, timeout time.Duration) *webhook.Client {
	t.Helper()
	c := webhook.NewClient(webhook.Options{Guard: webhook.NewGuard(webhook.Loopback()...), Version: "test", Timeout: timeout})
	t.Cleanup(c.Close)
	return c
}

// send makes one attempt at url.
func send(t *testing.T, c *webhook.Client, url string) webhook.Result {
	t.Helper()
	return c.Send(t.Context(), webhook.Request{
		ID: "1-sample-app", Attempt: 1, URL: url, IdentificationKey: "the-identification-key",
		Secrets: [][]byte{[]byte("0123456789abcdef0123456789abcdef")}, Body: []byte(`{"type":"NEW_MESSAGE"}`),
	}, time.Unix(1_729_429_926, 0))
}

// app runs an HTTP server and returns its URL. What it is sent has been read
// when h is called: from then on its context ends when the caller leaves.
func app(t *testing.T, h http.HandlerFunc) string {
	t.Helper()
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			return
		}
		r.Body = io.NopCloser(bytes.NewReader(body))
		h(w, r)
	}))
	t.Cleanup(srv.Close)
	return srv.URL + "/"
}

// wire runs a TCP server that reads a request's head and then does what talk
// does; the connection ends with it.
func wire(t *testing.T, talk func(c net.Conn)) string {
	t.Helper()
	var listen net.ListenConfig
	l, err := listen.Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var serving sync.WaitGroup
	serving.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			serving.Go(func() {
				defer func() { _ = c.Close() }()
				head := bufio.NewReader(c)
				for {
					line, err := head.ReadString('\n')
					if err != nil {
						return
					}
					if line == "\r\n" {
						break
					}
				}
				talk(c)
			})
		}
	})
	t.Cleanup(func() {
		_ = l.Close()
		serving.Wait()
	})
	return "http://" + l.Addr().String() + "/"
}

// untilGone reads until the other end closes.
func untilGone(c net.Conn) { _, _ = io.Copy(io.Discard, c) }

func TestStatus(t *testing.T) {
	t.Parallel()
	c := client(t, late)
	for _, code := range []int{200, 201, 202, 204, 299, 400, 401, 404, 410, 422, 429, 500, 502, 503, 599} {
		url := app(t, func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Retry-After", "120")
			w.WriteHeader(code)
		})
		want := webhook.Result{Reason: webhook.OK, Status: code, RetryAfter: "120"}
		if code >= 300 {
			want.Reason, want.Error = webhook.HTTPStatus, fmt.Sprintf("answered %d", code)
		}
		got := send(t, c, url)
		if got.Reason != want.Reason || got.Status != want.Status || got.RetryAfter != want.RetryAfter || got.Error != want.Error {
			t.Errorf("%d: got %+v", code, got)
		}
	}
}

func TestRedirectsAreNotFollowed(t *testing.T) {
	t.Parallel()
	c := client(t, late)
	var followed atomic.Int64
	target := app(t, func(http.ResponseWriter, *http.Request) { followed.Add(1) })
	for _, code := range []int{300, 301, 302, 303, 304, 307, 308} {
		for _, location := range []string{target, "/elsewhere", ""} {
			var calls atomic.Int64
			url := app(t, func(w http.ResponseWriter, _ *http.Request) {
				calls.Add(1)
				if location != "" {
					w.Header().Set("Location", location)
				}
				w.WriteHeader(code)
			})
			got := send(t, c, url)
			if got.Reason != webhook.HTTPStatus || got.Status != code || !strings.Contains(got.Error, "redirects are not followed") {
				t.Errorf("%d to %q: %+v", code, location, got)
			}
			if n := calls.Load(); n != 1 {
				t.Errorf("%d to %q: %d calls, want 1", code, location, n)
			}
		}
	}
	if n := followed.Load(); n != 0 {
		t.Errorf("%d redirects were followed", n)
	}
}

func TestNoAnswerInTime(t *testing.T) {
	t.Parallel()
	for name, url := range map[string]string{
		"silence":          app(t, func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() }),
		"half a head":      wire(t, func(c net.Conn) { _, _ = io.WriteString(c, "HTTP/1.1 200 OK\r\nX-Slow: "); untilGone(c) }),
		"interim only":     wire(t, func(c net.Conn) { _, _ = io.WriteString(c, "HTTP/1.1 102 Processing\r\n\r\n"); untilGone(c) }),
		"less than a byte": wire(t, untilGone),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got := send(t, client(t, soon), url)
			if got.Reason != webhook.TimedOut || got.Status != 0 || got.Error != "no answer within "+soon.String() || got.Duration < soon/2 || got.Duration > late {
				t.Errorf("%+v", got)
			}
		})
	}
}

func TestStoppedByTheCaller(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancel(t.Context())
	url := app(t, func(_ http.ResponseWriter, r *http.Request) {
		cancel()
		<-r.Context().Done()
	})
	got := client(t, late).Send(ctx, webhook.Request{ID: "1-a", Attempt: 1, URL: url, Body: []byte("{}")}, time.Unix(0, 0))
	if got.Reason != webhook.Canceled || got.Status != 0 {
		t.Errorf("%+v", got)
	}
}

func TestAnswerIsCut(t *testing.T) {
	t.Parallel()
	c := client(t, late)
	for _, size := range []int{0, 1, webhook.MaxAnswer - 1, webhook.MaxAnswer, webhook.MaxAnswer + 1, 1 << 20} {
		answer := bytes.Repeat([]byte("0123456789abcdef"), size/16+1)[:size]
		for _, code := range []int{200, 500} {
			got := send(t, c, app(t, func(w http.ResponseWriter, _ *http.Request) {
				w.WriteHeader(code)
				_, _ = w.Write(answer)
			}))
			if got.Status != code || !bytes.Equal(got.Answer, answer[:min(size, webhook.MaxAnswer)]) {
				t.Errorf("%d with %d bytes: status %d, %d bytes kept", code, size, got.Status, len(got.Answer))
			}
		}
	}
}

func TestAnswerThatNeverEndsIsLeft(t *testing.T) {
	t.Parallel()
	got := send(t, client(t, late), wire(t, func(c net.Conn) {
		_, _ = io.WriteString(c, "HTTP/1.1 200 OK\r\n\r\n")
		for {
			if _, err := c.Write(bytes.Repeat([]byte("x"), 4<<10)); err != nil {
				return // the client has left
			}
		}
	}))
	if got.Reason != webhook.OK || len(got.Answer) != webhook.MaxAnswer {
		t.Errorf("%s, %d bytes kept", got.Reason, len(got.Answer))
	}
}

// TestSlowAnswerIsBounded: the status came in time, so it counts; the body is
// read no longer than the limit.
func TestSlowAnswerIsBounded(t *testing.T) {
	t.Parallel()
	for name, url := range map[string]string{
		"one byte and silence": wire(t, func(c net.Conn) {
			_, _ = io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\nx")
			untilGone(c)
		}),
		"a byte now and then": app(t, func(w http.ResponseWriter, r *http.Request) {
			drip := time.NewTicker(5 * time.Millisecond)
			defer drip.Stop()
			for {
				_, _ = io.WriteString(w, "x")
				w.(http.Flusher).Flush()
				select {
				case <-drip.C:
				case <-r.Context().Done():
					return
				}
			}
		}),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got := send(t, client(t, soon), url)
			if got.Reason != webhook.OK || got.Status != 200 || got.Duration < soon/2 || got.Duration > late {
				t.Errorf("%+v", got)
			}
			if len(got.Answer) == 0 || strings.Trim(string(got.Answer), "x") != "" {
				t.Errorf("kept %q", got.Answer)
			}
		})
	}
}

func TestBrokenAnswer(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name, answer string
		status       int // 0: there is no answer
	}{
		{"nothing", "", 0},
		{"no HTTP", "hello\r\n\r\n", 0},
		{"half a head", "HTTP/1.1 200 OK\r\nX-", 0},
		{"no such status", "HTTP/1.1 2000 OK\r\n\r\n", 0},
		{"a huge header", "HTTP/1.1 200 OK\r\nX-Huge: " + strings.Repeat("x", 1<<20) + "\r\n\r\n", 0},
		{"huge headers", "HTTP/1.1 200 OK\r\n" + strings.Repeat("X-Huge: xxxxxxxxxxxxxxxx\r\n", 1<<14) + "\r\n", 0},
		{"many interim answers", strings.Repeat("HTTP/1.1 100 Continue\r\nX-Huge: "+strings.Repeat("x", 1000)+"\r\n\r\n", 100), 0},
		{"a body that breaks off", "HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\nx", 200},
		{"a body with a broken chunk", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n", 200},
		{"a failure that breaks off", "HTTP/1.1 503 Down\r\nContent-Length: 1000\r\nRetry-After: 7\r\n\r\nx", 503},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			got := send(t, client(t, late), wire(t, func(c net.Conn) { _, _ = io.WriteString(c, tt.answer) }))
			want := webhook.Transport
			switch tt.status {
			case 200:
				want = webhook.OK
			case 503:
				want = webhook.HTTPStatus
			}
			if got.Reason != want || got.Status != tt.status || (got.Error == "") != (want == webhook.OK) || len(got.Error) > 1<<10 {
				t.Errorf("%+v, want %s %d", got, want, tt.status)
			}
		})
	}
}

func TestNoConnection(t *testing.T) {
	t.Parallel()
	var listen net.ListenConfig
	l, err := listen.Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	got := send(t, client(t, late), "http://"+l.Addr().String()+"/")
	if got.Reason != webhook.Transport || !strings.HasPrefix(got.Error, "no connection: ") || !strings.Contains(got.Error, "refused") {
		t.Errorf("%+v", got)
	}
}

func TestUnknownCertificate(t *testing.T) {
	t.Parallel()
	srv := httptest.NewUnstartedServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { t.Error("it was called") }))
	srv.Config.ErrorLog = slog.NewLogLogger(slog.DiscardHandler, slog.LevelError)
	srv.StartTLS()
	t.Cleanup(srv.Close)
	got := send(t, client(t, late), srv.URL+"/")
	if got.Reason != webhook.Transport || !strings.Contains(got.Error, "certificate") {
		t.Errorf("%+v", got)
	}
}

// TestGuardAtConnectTime: whatever the URL looked like, the address decides,
// after name resolution.
func TestGuardAtConnectTime(t *testing.T) {
	t.Parallel()
	var calls atomic.Int64
	srv := httptest.NewUnstartedServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
	srv.Config.ConnState = func(_ net.Conn, s http.ConnState) {
		if s == http.StateNew {
			calls.Add(1)
		}
	}
	srv.Start()
	t.Cleanup(srv.Close)
	_, port, err := net.SplitHostPort(srv.Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	closed := webhook.NewClient(webhook.Options{Timeout: late})
	t.Cleanup(closed.Close)
	dev := client(t, late)
	other := webhook.NewClient(webhook.Options{Guard: webhook.NewGuard(netip.MustParsePrefix("10.0.0.0/8")), Timeout: late})
	t.Cleanup(other.Close)
	for _, tt := range []struct {
		name   string
		client *webhook.Client
		url    string
	}{
		{"a name of loopback", closed, "http://localhost:" + port + "/"},
		{"a name of loopback over TLS", closed, "https://localhost:" + port + "/"},
		{"loopback", closed, "http://127.0.0.1:" + port + "/"},
		{"loopback over TLS", closed, "https://127.0.0.1:" + port + "/"},
		{"loopback as IPv6", closed, "https://[::1]:" + port + "/"},
		{"loopback mapped to IPv6", closed, "https://[::ffff:127.0.0.1]:" + port + "/"},
		{"every address", closed, "https://0.0.0.0:" + port + "/"},
		{"every address as IPv6", closed, "https://[::]:" + port + "/"},
		{"a private address", closed, "https://10.0.0.1:" + port + "/"},
		{"the cloud's metadata", closed, "http://169.254.169.254/latest/meta-data/"},
		{"plain http to a public address", closed, "http://8.8.8.8:" + port + "/"},
		{"loopback where another range is allowed", other, "http://localhost:" + port + "/"},
		{"plain http to a public address in dev mode", dev, "http://8.8.8.8:" + port + "/"},
		{"plain http to a private address in dev mode", dev, "http://10.0.0.1:" + port + "/"},
		{"a private address in dev mode", dev, "https://192.168.0.1:" + port + "/"},
		{"every address in dev mode", dev, "http://0.0.0.0:" + port + "/"},
	} {
		got := send(t, tt.client, tt.url)
		if got.Reason != webhook.Refused || got.Status != 0 || !strings.HasPrefix(got.Error, "the target's address may not be called: ") {
			t.Errorf("%s, %s: %+v", tt.name, tt.url, got)
		}
	}
	if n := calls.Load(); n != 0 {
		t.Errorf("%d connections were made", n)
	}
	for _, host := range []string{"localhost", "127.0.0.1"} {
		if got := send(t, dev, "http://"+host+":"+port+"/"); got.Reason != webhook.OK {
			t.Errorf("%s in dev mode: %+v", host, got)
		}
	}
}

func TestGuardAtConnectTimeKnowsEveryRange(t *testing.T) {
	t.Parallel()
	url := app(t, func(http.ResponseWriter, *http.Request) {})
	c := webhook.NewClient(webhook.Options{
		Guard: webhook.NewGuard(append(webhook.Loopback(), netip.MustParsePrefix("10.0.0.0/8"))...), Timeout: late,
	})
	t.Cleanup(c.Close)
	if got := send(t, c, url); got.Reason != webhook.OK {
		t.Errorf("loopback is one of the ranges: %+v", got)
	}
}

func TestWhatCannotBeCalled(t *testing.T) {
	t.Parallel()
	c := client(t, late)
	for _, url := range []string{"", "://", "ftp://127.0.0.1/", "file:///etc/passwd", "http://\x00/", "http:///", "/events"} {
		if got := send(t, c, url); got.Reason == webhook.OK || got.Status != 0 || got.Error == "" {
			t.Errorf("%q: %+v", url, got)
		}
	}
}

// TestHeadInTheLog: the log shows the head in the contract's order, its key
// masked.
func TestHeadInTheLog(t *testing.T) {
	t.Parallel()
	var got http.Header
	var body []byte
	url := app(t, func(_ http.ResponseWriter, r *http.Request) {
		got = r.Header.Clone()
		body, _ = io.ReadAll(r.Body)
	})
	res := send(t, client(t, late), url)
	signature := got.Get("webhook-signature")
	want := "POST " + url + "\nAuthorization: ••••••\nContent-Type: application/json\nUser-Agent: OpenKenar/test\n" +
		"webhook-id: 1-sample-app\nwebhook-timestamp: 1729429926\nwebhook-signature: " + signature + "\nOpenKenar-Attempt: 1\n"
	if res.Request != want || !strings.HasPrefix(signature, "v1,") {
		t.Errorf("log:\n%s\nwant:\n%s", res.Request, want)
	}
	if got.Get("Authorization") != "the-identification-key" || string(body) != `{"type":"NEW_MESSAGE"}` {
		t.Errorf("sent %v %s", got, body)
	}
}

// TestRequestThatIsNeverRead: an app that takes the connection and reads
// nothing holds us no longer than the limit.
func TestRequestThatIsNeverRead(t *testing.T) {
	t.Parallel()
	var listen net.ListenConfig
	l, err := listen.Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	got := client(t, soon).Send(t.Context(), webhook.Request{
		ID: "1-a", Attempt: 1, URL: "http://" + l.Addr().String() + "/", Body: bytes.Repeat([]byte("x"), 64<<20),
	}, time.Unix(0, 0))
	if got.Reason != webhook.TimedOut || got.Status != 0 || got.Duration > late {
		t.Errorf("%s after %v: %s", got.Reason, got.Duration, got.Error)
	}
}

// TestCallAsItIsSent: the very bytes of a session initialization.
func TestCallAsItIsSent(t *testing.T) {
	t.Parallel()
	var listen net.ListenConfig
	l, err := listen.Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = l.Close() }()
	sent := make(chan string, 1)
	go func() {
		c, err := l.Accept()
		if err != nil {
			return
		}
		defer func() { _ = c.Close() }()
		var request strings.Builder
		for buffer := make([]byte, 1024); !strings.HasSuffix(request.String(), "}"); {
			n, err := c.Read(buffer)
			if err != nil {
				return
			}
			request.Write(buffer[:n])
		}
		sent <- request.String()
		_, _ = io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}")
	}()
	url := "http://" + l.Addr().String() + "/"
	r := client(t, 0).Call(t.Context(), webhook.Call{URL: url, IdentificationKey: "the key", Version: "2", Body: []byte(`{"a":1}`)})
	if r.Reason != webhook.OK || string(r.Answer) != "{}" {
		t.Fatalf("%+v", r)
	}
	got := <-sent
	for _, want := range []string{
		"\r\nAPI-Version: 2\r\n", "\r\nAPI_VERSION: 2\r\n", "\r\nAuthorization: the key\r\n", "\r\nContent-Type: application/json\r\n", "\r\n\r\n{\"a\":1}",
	} {
		if !strings.Contains(got, want) {
			t.Errorf("%q lacks %q", got, want)
		}
	}
}

// TestCallIsBounded: what a user waits for has the bounds of a webhook, and one
// on the whole answer.
func TestCallIsBounded(t *testing.T) {
	t.Parallel()
	const most = 64 << 10
	var followed atomic.Int64
	target := app(t, func(http.ResponseWriter, *http.Request) { followed.Add(1) })
	for _, tt := range []struct {
		name   string
		url    string
		reason webhook.Reason
		status int
		err    string
	}{
		{"a redirect", app(t, func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, target, http.StatusTemporaryRedirect)
		}), webhook.HTTPStatus, 307, "redirects are not followed"},
		{"a huge header", wire(t, func(c net.Conn) {
			_, _ = io.WriteString(c, "HTTP/1.1 200 OK\r\nX-Huge: "+strings.Repeat("x", 1<<20)+"\r\n\r\n")
		}), webhook.Transport, 0, "header"},
		{"the largest answer", app(t, func(w http.ResponseWriter, _ *http.Request) {
			_, _ = w.Write(make([]byte, most))
		}), webhook.OK, 200, ""},
		{"an answer that is too large", app(t, func(w http.ResponseWriter, _ *http.Request) {
			_, _ = w.Write(make([]byte, most+1))
		}), webhook.TooLarge, 200, "more than 65536 bytes"},
		{"an answer that never ends", wire(t, func(c net.Conn) {
			_, _ = io.WriteString(c, "HTTP/1.1 200 OK\r\n\r\n")
			for {
				if _, err := c.Write(make([]byte, 4<<10)); err != nil {
					return // the client has left
				}
			}
		}), webhook.TooLarge, 200, "more than 65536 bytes"},
		{"an answer that breaks off", wire(t, func(c net.Conn) {
			_, _ = io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\nx")
		}), webhook.Transport, 200, "the connection broke"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			got := client(t, 0).Call(t.Context(), webhook.Call{URL: tt.url, Body: []byte("{}")})
			if got.Reason != tt.reason || got.Status != tt.status || !strings.Contains(got.Error, tt.err) || len(got.Answer) > most+1 {
				t.Errorf("%s %d %q, %d bytes; want %s %d %q", got.Reason, got.Status, got.Error, len(got.Answer), tt.reason, tt.status, tt.err)
			}
			if n := followed.Load(); n != 0 {
				t.Errorf("%d redirects were followed", n)
			}
		})
	}
}

// TestCallIsNotHeldUp: an answer that stands still counts as none.
func TestCallIsNotHeldUp(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithTimeout(t.Context(), soon)
	defer cancel()
	got := client(t, 0).Call(ctx, webhook.Call{URL: wire(t, func(c net.Conn) {
		_, _ = io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\nx")
		untilGone(c)
	}), Body: []byte("{}")})
	if got.Reason != webhook.TimedOut || !strings.HasPrefix(got.Error, "no answer within ") || got.Duration > late {
		t.Errorf("%+v", got)
	}
}

// TestOldTLS: nothing below TLS 1.2 is spoken.
func TestOldTLS(t *testing.T) {
	t.Parallel()
	srv := httptest.NewUnstartedServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { t.Error("it was called") }))
	srv.Config.ErrorLog = slog.NewLogLogger(slog.DiscardHandler, slog.LevelError)
	srv.TLS = &tls.Config{MinVersion: tls.VersionTLS10, MaxVersion: tls.VersionTLS11} //nolint:gosec // what is to be refused
	srv.StartTLS()
	t.Cleanup(srv.Close)
	c := client(t, late)
	for name, got := range map[string]webhook.Result{
		"webhook": send(t, c, srv.URL+"/"),
		"call":    c.Call(t.Context(), webhook.Call{URL: srv.URL + "/", Body: []byte("{}")}),
	} {
		if got.Reason != webhook.Transport || !strings.Contains(got.Error, "protocol version") {
			t.Errorf("%s: %+v", name, got)
		}
	}
}
