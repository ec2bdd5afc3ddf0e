package conform

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptrace"
	"net/netip"
	"strings"
	"syscall"
	"time"
	"unicode/utf8"

	"github.com/openkenar/openkenar/internal/webhook"
)

const (
	dialTimeout = 5 * time.Second
	maxHeader   = 32 << 10 // bytes of an answer's head that the platform reads
	maxQuote    = 120      // bytes of an answer that a finding quotes
	dripEvery   = 100 * time.Millisecond
)

// ErrPublic says that a target is not on this machine or its network, and nobody
// said that it is the caller's own (Options.Mine).
var ErrPublic = errors.New("its address is public")

// line is the connection to the app: what webhook.Client sends goes over it as
// it is, or in the way that the request's context asks for.
type line struct {
	base *http.Transport
	dial func(ctx context.Context, network, address string) (net.Conn, error)
}

// newLine returns the line; it makes connections to public addresses only
// where those are the caller's own.
func newLine(mine bool) *line {
	dialer := &net.Dialer{Timeout: dialTimeout}
	dialer.Control = func(_, address string, _ syscall.RawConn) error { // after name resolution: a name cannot lead astray
		ap, err := netip.ParseAddrPort(address)
		if err != nil {
			return err
		}
		ip := ap.Addr().Unmap()
		if mine || ip.IsLoopback() || ip.IsPrivate() || ip.IsLinkLocalUnicast() || ip.IsUnspecified() {
			return nil
		}
		return fmt.Errorf("%s: %w", ip, ErrPublic)
	}
	return &line{dial: dialer.DialContext, base: &http.Transport{
		DialContext:            dialer.DialContext,
		TLSClientConfig:        &tls.Config{MinVersion: tls.VersionTLS12},
		TLSHandshakeTimeout:    dialTimeout,
		ForceAttemptHTTP2:      true,
		DisableCompression:     true,
		MaxIdleConnsPerHost:    64,
		IdleConnTimeout:        time.Minute,
		MaxResponseHeaderBytes: maxHeader,
	}}
}

// way is how a request goes out when not as it is.
type way func(l *line, req *http.Request) (*http.Response, error)

// trip is what one request asks of the line, and what the line saw.
type trip struct {
	way       way
	connected bool  // there was a connection; what failed then, failed on it
	reused    bool  // which had been used before
	err       error // of the connection
	endless   bool  // nobody read the answer to its end
}

type tripKey struct{}

// RoundTrip implements http.RoundTripper.
func (l *line) RoundTrip(req *http.Request) (*http.Response, error) {
	t, ok := req.Context().Value(tripKey{}).(*trip)
	if !ok {
		return l.base.RoundTrip(req)
	}
	send := t.way
	if send == nil {
		send = asItIs
	}
	var resp *http.Response
	if resp, t.err = send(l, req); t.err != nil && t.reused && req.GetBody != nil && req.Context().Err() == nil {
		// The app may have closed the connection just as it was used again, which is no
		// fault of either. Failure policy: send once more, over a new one.
		l.CloseIdleConnections()
		if req.Body, t.err = req.GetBody(); t.err == nil {
			resp, t.err = send(l, req)
		}
	}
	if t.err != nil {
		return nil, t.err
	}
	resp.Body = &watched{ReadCloser: resp.Body, trip: t}
	return resp, nil
}

// CloseIdleConnections closes connections that nothing is sent over.
func (l *line) CloseIdleConnections() { l.base.CloseIdleConnections() }

// watched is an answer's body that knows whether it was read to its end.
type watched struct {
	io.ReadCloser
	trip *trip
	done bool
}

func (b *watched) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	b.done = b.done || err != nil
	return n, err
}

func (b *watched) Close() error {
	b.trip.endless = !b.done
	return b.ReadCloser.Close()
}

// hook is a webhook to be sent, as the platform would where nothing is said.
type hook struct {
	sample
	attempt int       // default 1
	at      time.Time // that is signed; default now
	key     string    // default the app's
	secrets [][]byte  // default the app's; empty and not nil: none
	way     way
	drip    bool // takes longer than an answer may
}

// noKey stands for an Authorization header that is not there.
const noKey = "\x00"

// reply is what became of a request.
type reply struct {
	webhook.Result
	trip
}

func (r *run) send(ctx context.Context, h hook) reply {
	req := webhook.Request{
		About: webhook.About{App: "conform"}, ID: h.id, Attempt: max(h.attempt, 1), URL: r.o.EventURL,
		IdentificationKey: r.key(h.key), Secrets: r.secrets, Body: h.body,
	}
	if h.secrets != nil {
		req.Secrets = h.secrets
	}
	if h.at.IsZero() {
		h.at = time.Now()
	}
	client := r.client
	if h.drip {
		client = r.patient
	}
	t := &trip{way: h.way}
	result := client.Send(t.in(ctx), req, h.at)
	return reply{result, *t}
}

// call asks the app what it answers while somebody waits.
func (r *run) call(ctx context.Context, target Target, key string, body []byte) reply {
	ctx, cancel := context.WithTimeout(ctx, r.bounds.Call)
	defer cancel()
	req := webhook.Call{About: webhook.About{App: "conform"}, URL: r.o.SessionURL, IdentificationKey: r.key(key), Version: "2", Body: body}
	if target == Action {
		req.URL, req.Version = r.o.ActionURL, ""
	}
	t := &trip{}
	result := r.client.Call(t.in(ctx), req)
	return reply{result, *t}
}

func (r *run) key(given string) string {
	switch given {
	case "":
		return r.o.IdentificationKey
	case noKey:
		return ""
	}
	return given
}

// in is the context that takes the trip to the line.
func (t *trip) in(ctx context.Context) context.Context {
	ctx = httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{GotConn: func(c httptrace.GotConnInfo) { t.connected, t.reused = true, c.Reused }})
	return context.WithValue(ctx, tripKey{}, t)
}

// accepted says whether an answer is 2xx in time.
func (p reply) accepted() bool { return p.Reason == webhook.OK }

// says is what came back, in words that follow "the app" or a request.
func (p reply) says() string {
	switch p.Reason {
	case webhook.TimedOut:
		return "gave " + p.Error
	case webhook.OK, webhook.HTTPStatus:
		text := fmt.Sprintf("answered %d", p.Status)
		if quote := quoted(p.Answer); quote != "" && p.Reason != webhook.OK {
			text += " (" + quote + ")"
		}
		return text
	case webhook.TooLarge:
		return p.Error
	case webhook.Refused, webhook.Transport, webhook.Canceled:
	}
	return "gave no answer: " + p.Error
}

// quoted is the first line of what an app answered, in quotation marks.
func quoted(answer []byte) string {
	line, _, _ := strings.Cut(strings.TrimSpace(string(answer)), "\n")
	if line == "" || !utf8.ValidString(line) {
		return ""
	}
	if len(line) > maxQuote {
		line = strings.ToValidUTF8(line[:maxQuote], "") + "…"
	}
	return fmt.Sprintf("%q", line)
}

func asItIs(l *line, req *http.Request) (*http.Response, error) { return l.base.RoundTrip(req) }

// changed sends a request after a change to it.
func changed(change func(*http.Request)) way {
	return func(l *line, req *http.Request) (*http.Response, error) {
		req = req.Clone(req.Context())
		change(req)
		return l.base.RoundTrip(req)
	}
}

// replaced sends another body under a request's headers.
func replaced(body []byte) way {
	return changed(func(req *http.Request) {
		req.Body, req.ContentLength, req.GetBody = io.NopCloser(bytes.NewReader(body)), int64(len(body)), nil
	})
}

// whole sends a request over a connection of its own, and hears an answer that
// comes before the end of it.
func whole(l *line, req *http.Request) (*http.Response, error) {
	return l.raw(req, func(_ context.Context, conn net.Conn, head, body []byte) error {
		_, err := conn.Write(append(head, body...))
		return err
	})
}

// broken promises the whole body, sends half of it, and says that no more comes.
func broken(l *line, req *http.Request) (*http.Response, error) {
	return l.raw(req, func(_ context.Context, conn net.Conn, head, body []byte) error {
		if _, err := conn.Write(append(head, body[:len(body)/2]...)); err != nil {
			return err
		}
		if half, ok := conn.(interface{ CloseWrite() error }); ok {
			return half.CloseWrite()
		}
		return nil
	})
}

// drip sends the head, and then the body byte by byte until the request's
// context ends; the body is long enough for that. began is closed once the head
// is out.
func drip(began chan<- struct{}) way {
	return func(l *line, req *http.Request) (*http.Response, error) {
		return l.raw(req, func(ctx context.Context, conn net.Conn, head, body []byte) error {
			if _, err := conn.Write(append(head, body[0])); err != nil {
				return err
			}
			close(began)
			tick := time.NewTicker(dripEvery)
			defer tick.Stop()
			for i := 1; i < len(body)-1; i++ { // never the last
				select {
				case <-tick.C:
				case <-ctx.Done():
					return nil
				}
				if _, err := conn.Write(body[i : i+1]); err != nil {
					return err
				}
			}
			<-ctx.Done()
			return nil
		})
	}
}

// raw makes a connection of its own, has write send what it likes of a request,
// and reads the answer meanwhile. Whatever happens, it ends with the request's
// context.
func (l *line) raw(req *http.Request, write func(ctx context.Context, conn net.Conn, head, body []byte) error) (*http.Response, error) {
	var whole bytes.Buffer
	if err := req.Write(&whole); err != nil {
		return nil, err
	}
	end := bytes.Index(whole.Bytes(), []byte("\r\n\r\n")) + 4
	conn, err := l.connect(req)
	if err != nil {
		return nil, err
	}
	if trace := httptrace.ContextClientTrace(req.Context()); trace != nil && trace.GotConn != nil {
		trace.GotConn(httptrace.GotConnInfo{Conn: conn})
	}
	unhook := context.AfterFunc(req.Context(), func() { _ = conn.Close() })
	ctx, stop := context.WithCancel(req.Context())
	wrote := make(chan struct{})
	go func() {
		defer close(wrote)
		_ = write(ctx, conn, whole.Bytes()[:end:end], whole.Bytes()[end:]) // what fails, fails the reading too
	}()
	closeAll := func() error {
		unhook()
		stop()
		err := conn.Close()
		<-wrote
		return err
	}
	resp, err := http.ReadResponse(bufio.NewReader(io.LimitReader(conn, maxHeader)), req)
	if err != nil {
		_ = closeAll()
		return nil, err
	}
	resp.Body = struct {
		io.Reader
		io.Closer
	}{resp.Body, closer(closeAll)}
	return resp, nil
}

type closer func() error

// Close implements io.Closer.
func (c closer) Close() error { return c() }

func (l *line) connect(req *http.Request) (net.Conn, error) {
	ctx, cancel := context.WithTimeout(req.Context(), dialTimeout)
	defer cancel()
	address, host := req.URL.Host, req.URL.Hostname()
	if req.URL.Port() == "" {
		address = net.JoinHostPort(host, map[string]string{"http": "80", "https": "443"}[req.URL.Scheme])
	}
	conn, err := l.dial(ctx, "tcp", address)
	if err != nil || req.URL.Scheme == "http" {
		return conn, err
	}
	config := l.base.TLSClientConfig.Clone()
	config.ServerName, config.NextProtos = host, []string{"http/1.1"}
	secure := tls.Client(conn, config)
	if err := secure.HandshakeContext(ctx); err != nil {
		_ = conn.Close()
		return nil, err
	}
	return secure, nil
}
