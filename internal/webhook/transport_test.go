package webhook

import (
	"bufio"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// piped is a transport whose connections lead to serve, which is told their
// number, counted from 1.
func piped(serve func(n int, c net.Conn)) (t *transport, dialed *atomic.Int64) {
	dialed = new(atomic.Int64)
	t = newTransport(NewGuard(), nil)
	t.ways["http"] = scheme{"80", func(context.Context, string, string) (net.Conn, error) {
		ours, theirs := net.Pipe()
		go serve(int(dialed.Add(1)), theirs)
		return ours, nil
	}}
	return t, dialed
}

// answering reads requests and gives each the next of the answers; after the
// last it closes the connection.
func answering(answers ...string) func(int, net.Conn) {
	return func(_ int, c net.Conn) {
		defer func() { _ = c.Close() }()
		r := bufio.NewReader(c)
		for _, answer := range answers {
			req, err := http.ReadRequest(r)
			if err != nil {
				return
			}
			_, _ = io.Copy(io.Discard, req.Body)
			_, _ = io.WriteString(c, answer)
		}
		_, _ = r.ReadByte() // until the client leaves
	}
}

// post makes a request and reads the answer to its end.
func post(ctx context.Context, t *transport) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://app.example/hook", strings.NewReader("{}"))
	if err != nil {
		return err
	}
	resp, err := t.RoundTrip(req)
	if err != nil {
		return err
	}
	defer func() { _ = resp.Body.Close() }()
	_, err = io.Copy(io.Discard, resp.Body)
	return err
}

const short = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"

func TestConnectionIsUsedAgain(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		answer      string
		connections int64 // for two requests
	}{
		"of known length":        {short, 1},
		"without a body":         {"HTTP/1.1 204 No Content\r\n\r\n", 1},
		"chunked":                {"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n", 1},
		"after interim answers":  {"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n" + short, 1},
		"after many of them":     {strings.Repeat("HTTP/1.1 102 Processing\r\n\r\n", maxInterim) + short, 1},
		"that is to be closed":   {"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nok", 2},
		"of HTTP/1.0":            {"HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nok", 2},
		"with more than its end": {short + "HTTP/1.1 200 OK\r\n", 2},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			tr, dialed := piped(answering(tt.answer, tt.answer))
			defer tr.CloseIdleConnections()
			for range 2 {
				// What becomes of a request's context later is nothing to the next.
				ctx, cancel := context.WithCancel(t.Context())
				if err := post(ctx, tr); err != nil {
					t.Fatal(err)
				}
				cancel()
			}
			if got := dialed.Load(); got != tt.connections {
				t.Errorf("%d connections, want %d", got, tt.connections)
			}
		})
	}
}

// TestClosedWhileIdle: who closes a connection after an answer without saying
// so is called on another.
func TestClosedWhileIdle(t *testing.T) {
	t.Parallel()
	closed := make(chan struct{}, 1)
	srv := httptest.NewUnstartedServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
	srv.Config.ConnState = func(c net.Conn, s http.ConnState) {
		if s == http.StateIdle {
			_ = c.Close()
			closed <- struct{}{}
		}
	}
	srv.Start()
	defer srv.Close()
	c := NewClient(Options{Guard: NewGuard(Loopback()...)})
	defer c.Close()
	for range 5 {
		if res := c.Send(t.Context(), Request{ID: "1", Attempt: 1, URL: srv.URL}, time.Now()); res.Reason != OK {
			t.Fatalf("%s: %s", res.Reason, res.Error)
		}
		<-closed
	}
}

func TestAnswersThatAreNone(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct{ answer, err string }{
		"switched":     {"HTTP/1.1 101 Switching Protocols\r\n\r\n", "101"},
		"only interim": {strings.Repeat("HTTP/1.1 100 Continue\r\n\r\n", maxInterim+1), "1xx"},
		"too long":     {"HTTP/1.1 200 OK\r\nX: " + strings.Repeat("x", maxHeader), "header"},
		"no HTTP":      {"220 mail.example ESMTP\r\n\r\n", "malformed"},
		"none":         {"", "EOF"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			tr, _ := piped(func(n int, c net.Conn) {
				if tt.answer == "" {
					_ = c.Close()
					return
				}
				answering(tt.answer)(n, c)
			})
			if err := post(t.Context(), tr); err == nil || !strings.Contains(err.Error(), tt.err) && !errors.Is(err, io.ErrClosedPipe) {
				t.Errorf("%v, want one about %q", err, tt.err)
			}
			if tr.kept != 0 {
				t.Error("the connection was kept")
			}
		})
	}
}

// TestIdleConnectionsGo: what is kept is closed after a while, and so much is
// kept and no more.
func TestIdleConnectionsGo(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var open atomic.Int64
		tr, _ := piped(func(n int, c net.Conn) {
			open.Add(1)
			answering(short)(n, c)
			open.Add(-1)
		})
		req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, "http://app.example/hook", nil)
		if err != nil {
			t.Fatal(err)
		}
		conns := make([]*conn, maxIdlePerHost+1)
		for i := range conns {
			if conns[i], err = tr.conn(t.Context(), req); err != nil {
				t.Fatal(err)
			}
		}
		for i, c := range conns {
			if kept := tr.keep(c); kept != (i < maxIdlePerHost) {
				t.Fatalf("connection %d: kept is %v", i, kept)
			}
		}
		_ = conns[maxIdlePerHost].Close()
		<-time.After(2 * idleTime)
		synctest.Wait()
		if open.Load() != 0 || tr.kept != 0 {
			t.Errorf("%d connections are open, %d kept", open.Load(), tr.kept)
		}
	})
}

// TestTLS: a name is checked, and the connection used again.
func TestTLS(t *testing.T) {
	t.Parallel()
	var opened atomic.Int64
	srv := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "ok") }))
	srv.Config.ConnState = func(_ net.Conn, s http.ConnState) {
		if s == http.StateNew {
			opened.Add(1)
		}
	}
	srv.EnableHTTP2 = true // which is not spoken
	srv.StartTLS()
	defer srv.Close()
	roots := x509.NewCertPool()
	roots.AddCert(srv.Certificate())
	tr := newTransport(NewGuard(), nil)
	defer tr.CloseIdleConnections()
	to := func(ctx context.Context, network, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, network, srv.Listener.Addr().String())
	}
	tr.ways["https"] = scheme{"443", secured(to, &tls.Config{RootCAs: roots})}
	for host, ok := range map[string]bool{"example.com": true, "EXAMPLE.com": true, "other.example": false} {
		for range 2 {
			req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, "https://"+host+"/", strings.NewReader("{}"))
			if err != nil {
				t.Fatal(err)
			}
			resp, err := tr.RoundTrip(req)
			if (err == nil) != ok {
				t.Fatalf("%s: %v", host, err)
			}
			if err != nil {
				continue
			}
			if _, err := io.Copy(io.Discard, resp.Body); err != nil || resp.TLS != nil && resp.TLS.NegotiatedProtocol == "h2" {
				t.Fatal(err, resp.Proto)
			}
			_ = resp.Body.Close()
		}
	}
	if got := opened.Load(); got != 2+2 {
		t.Errorf("%d connections, want one for each good name and one for each refusal", got)
	}
}

// TestAnswersAreTheirOwn: whatever becomes of the requests before it on a
// connection, an answer is that of its own request.
func TestAnswersAreTheirOwn(t *testing.T) {
	t.Parallel()
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		said, err := io.ReadAll(r.Body)
		if err != nil {
			return
		}
		switch n, _ := strconv.Atoi(string(said)); n % 7 {
		case 1: // too late for its sender
			<-r.Context().Done()
		case 2:
			w.Header().Set("Connection", "close")
		case 3: // in pieces
			_, _ = w.Write(said[:1])
			_ = http.NewResponseController(w).Flush()
			said = said[1:]
		case 4:
			w.WriteHeader(http.StatusEarlyHints)
		case 5: // cut off in the middle
			w.Header().Set("Content-Length", "1000")
		}
		_, _ = w.Write(said)
	}))
	t.Cleanup(srv.Close)
	tr := newTransport(NewGuard(Loopback()...), nil)
	t.Cleanup(tr.CloseIdleConnections)
	var whole atomic.Int64
	var asking sync.WaitGroup
	const askers, each = 8, 140
	for asker := range askers {
		asking.Go(func() {
			for i := range each {
				n := 1000 + asker*each + i
				patience := 10 * time.Second
				if n%7 == 1 {
					patience = 5 * time.Millisecond
				}
				ctx, cancel := context.WithTimeout(t.Context(), patience)
				req, err := http.NewRequestWithContext(ctx, http.MethodPost, srv.URL, strings.NewReader(strconv.Itoa(n)))
				if err != nil {
					t.Error(err)
				}
				resp, err := tr.RoundTrip(req)
				if err == nil {
					var answer []byte
					answer, err = io.ReadAll(resp.Body)
					_ = resp.Body.Close()
					if string(answer) != strconv.Itoa(n) {
						t.Errorf("%d is answered with %q", n, answer)
					}
				}
				cancel()
				if err == nil {
					whole.Add(1)
				} else if n%7 != 1 && n%7 != 5 {
					t.Errorf("%d: %v", n, err)
				}
			}
		})
	}
	asking.Wait()
	if got := whole.Load(); got != askers*each*5/7 {
		t.Errorf("%d answers came whole", got)
	}
}
