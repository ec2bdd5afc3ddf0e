// Package webhook is the wire towards apps and nothing else: the envelope, the
// headers, the signature, and a client that calls only where it may. Send is
// for webhooks, Call for what an app answers while somebody waits. It keeps no
// state, decides nothing about retries, and never follows a redirect. A Tap
// shows what goes over it to whoever looks on; Faults spoil it, in dev mode.
// Contract: section 6.
package webhook

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"net/netip"
	"strconv"
	"strings"
	"time"

	standardwebhooks "github.com/standard-webhooks/standard-webhooks/libraries/go"
	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/trace"
)

const (
	// Timeout is how long an app has to answer a webhook.
	Timeout = 10 * time.Second
	// CallTimeout is how long an app has to answer while somebody waits.
	CallTimeout = 5 * time.Second
	// MaxAnswer is how much of an answer is kept, in bytes.
	MaxAnswer = 1 << 10
	// maxCallAnswer bounds what an app answers to a Call, in bytes.
	maxCallAnswer = 64 << 10
	// maxDrain is how much more is read so that the connection can be reused.
	maxDrain = 16 << 10
	// maxHeader bounds the head of an answer, in bytes.
	maxHeader = 32 << 10
	// traceparent is the header that names the span of a request, if it has one.
	traceparent = "traceparent"
	// mask stands for the identification key wherever a request is shown.
	mask = "••••••"
)

// Request is one webhook, ready to be sent.
type Request struct {
	About
	ID                string // the same in every attempt
	Attempt           int    // from 1
	URL               string
	IdentificationKey string
	Secrets           [][]byte // each signs; two during a rotation
	Body              []byte
}

// Call is a request that somebody waits for.
type Call struct {
	About
	URL               string
	IdentificationKey string
	Version           string // of the wire, in API_VERSION and API-Version; "" for neither
	Body              []byte
}

// Reason says in one bounded word how an attempt ended.
type Reason string

// The reasons.
const (
	OK         Reason = "ok"
	HTTPStatus Reason = "status"     // an answer that is not 2xx
	TimedOut   Reason = "timeout"    // no answer in time
	TooLarge   Reason = "size"       // an answer that nobody reads to its end
	Refused    Reason = "refused"    // the target may not be called
	Transport  Reason = "connection" // no connection, or it broke
	Canceled   Reason = "canceled"   // we stopped it ourselves
)

// Result is what came back.
type Result struct {
	Reason     Reason
	Status     int    // 0 without an answer
	Answer     []byte // of a webhook at most MaxAnswer bytes of the body
	Error      string // in words; empty when Reason is OK
	RetryAfter string // the header, as given
	Request    string // the head that was sent, its identification key masked
	Duration   time.Duration

	shown *shown // to those who look on; nil: nobody
}

// Client sends webhooks. It is safe for concurrent use.
type Client struct {
	// transport, and no http.Client over it: there are no cookies to keep and no
	// redirects to follow.
	transport http.RoundTripper
	timeout   time.Duration
	userAgent string
	tap       *Tap
	faults    *Faults
}

// Options of a Client. The zero value calls public https addresses only.
type Options struct {
	Guard     *Guard
	Bind      []netip.Addr // local addresses that connections come from, in turn; default: the system's choice
	Version   string
	Timeout   time.Duration     // default Timeout
	Transport http.RoundTripper // default: one that asks the Guard; for tests
	Tap       *Tap              // shows what goes over the wire; default: nobody looks on
	Faults    *Faults           // what goes wrong on purpose; default: nothing
}

// NewClient returns a client.
func NewClient(o Options) *Client {
	guard := o.Guard
	if guard == nil {
		guard = NewGuard()
	}
	transport := o.Transport
	if transport == nil {
		transport = newTransport(guard, o.Bind)
	}
	if o.Faults != nil {
		transport = o.Faults.over(transport)
	}
	return &Client{
		transport: transport,
		timeout:   cmp.Or(o.Timeout, Timeout),
		userAgent: "OpenKenar/" + cmp.Or(o.Version, "dev"),
		tap:       cmp.Or(o.Tap, NewTap(false)),
		faults:    o.Faults,
	}
}

// Close closes idle connections.
func (c *Client) Close() {
	if t, ok := c.transport.(interface{ CloseIdleConnections() }); ok {
		t.CloseIdleConnections()
	}
}

// Send makes one attempt and says how it went. now is the moment that is
// signed: real time, whatever the platform's clock says.
func (c *Client) Send(ctx context.Context, r Request, now time.Time) Result {
	ctx, cancel := context.WithTimeout(ctx, c.timeout)
	defer cancel()
	req, err := c.request(ctx, r, now)
	if err != nil {
		return Result{Reason: Refused, Error: err.Error()}
	}
	x := Exchange{About: r.About, ID: r.ID, Attempt: r.Attempt, Body: r.Body}
	return c.do(req, x, c.timeout, func(body io.Reader, res *Result) []byte {
		answer := readAnswer(body, res.shown != nil)
		res.Answer = answer[:min(len(answer), MaxAnswer)]
		return answer
	})
}

// Call makes a request and reads the whole answer, unless that is too large.
func (c *Client) Call(ctx context.Context, r Call) Result {
	ctx, cancel := context.WithTimeout(ctx, CallTimeout)
	defer cancel()
	req, err := c.post(ctx, r.URL, r.IdentificationKey, r.Body)
	if err != nil {
		return Result{Reason: Refused, Error: err.Error()}
	}
	if r.Version != "" {
		req.Header["API_VERSION"], req.Header["API-Version"] = []string{r.Version}, []string{r.Version}
	}
	return c.do(req, Exchange{About: r.About, Body: r.Body}, CallTimeout, func(body io.Reader, res *Result) []byte {
		var err error
		res.Answer, err = io.ReadAll(io.LimitReader(body, maxCallAnswer+1))
		switch {
		case err != nil:
			res.Reason, res.Error = explain(ctx, err, CallTimeout)
		case len(res.Answer) > maxCallAnswer:
			res.Reason, res.Error = TooLarge, "answered more than "+strconv.Itoa(maxCallAnswer)+" bytes"
		}
		return res.Answer
	})
}

// do makes a request; read takes the body, may find fault with it, and returns
// what there is to see of it.
func (c *Client) do(req *http.Request, x Exchange, timeout time.Duration, read func(body io.Reader, res *Result) []byte) Result {
	if c.faults != nil && c.faults.awaited() {
		req = req.WithContext(context.WithValue(req.Context(), spoilableKey{}, spoilable{x.About, x.Attempt > 0}))
	}
	start := time.Now()
	res := Result{Request: head(req, true)}
	x.Request = res.Request
	res.shown = c.tap.begin(req, x)
	resp, err := c.transport.RoundTrip(req)
	if err != nil {
		res.Reason, res.Error = explain(req.Context(), err, timeout)
		res.Duration = time.Since(start)
		if res.shown != nil {
			res.shown.end(res, "", nil)
		}
		return res
	}
	defer func() { _ = resp.Body.Close() }()
	res.Status = resp.StatusCode
	res.RetryAfter = resp.Header.Get("Retry-After")
	if res.Reason = OK; res.Status < 200 || res.Status > 299 {
		res.Reason, res.Error = HTTPStatus, "answered "+strconv.Itoa(res.Status)
		if res.Status >= 300 && res.Status < 400 {
			res.Error += "; redirects are not followed"
		}
	}
	answer := read(resp.Body, &res)
	res.Duration = time.Since(start)
	if res.shown != nil {
		res.shown.end(res, answerHead(resp), answer)
	}
	return res
}

// post builds a request to an app. Header names are set in the letter case of
// the contract; HTTP does not care, people reading a dump do.
func (c *Client) post(ctx context.Context, url, key string, body []byte) (*http.Request, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, url, bytes.NewReader(body))
	if err != nil {
		return nil, errors.New("the URL cannot be called")
	}
	req.Header = c.headers(key)
	if trace.SpanContextFromContext(ctx).IsValid() {
		parent := propagation.MapCarrier{}
		propagation.TraceContext{}.Inject(ctx, parent)
		req.Header[traceparent] = []string{parent[traceparent]} // and no more: what else a trace carries is not the app's
	}
	return req, nil
}

// headers are those of every request to an app.
func (c *Client) headers(key string) http.Header {
	h := http.Header{"Content-Type": {"application/json"}, "User-Agent": {c.userAgent}}
	if key != "" {
		h["Authorization"] = []string{key}
	}
	return h
}

// request builds the HTTP request of a webhook.
func (c *Client) request(ctx context.Context, r Request, now time.Time) (*http.Request, error) {
	req, err := c.post(ctx, r.URL, r.IdentificationKey, r.Body)
	if err != nil {
		return nil, err
	}
	return req, sign(req.Header, r, now)
}

// Headers returns what Send gives a webhook besides its body, and what a trace
// adds: each header's name, in the letter case of the contract, and value.
func (c *Client) Headers(r Request, now time.Time) (map[string]string, error) {
	h := c.headers(r.IdentificationKey)
	if err := sign(h, r, now); err != nil {
		return nil, err
	}
	flat := make(map[string]string, len(h))
	for name, values := range h {
		flat[name] = values[0]
	}
	return flat, nil
}

// sign adds what makes a webhook of a request.
func sign(h http.Header, r Request, now time.Time) error {
	h["OpenKenar-Attempt"] = []string{strconv.Itoa(r.Attempt)}
	h[standardwebhooks.HeaderWebhookID] = []string{r.ID}
	h[standardwebhooks.HeaderWebhookTimestamp] = []string{strconv.FormatInt(now.Unix(), 10)}
	signatures := make([]string, 0, len(r.Secrets))
	for _, secret := range r.Secrets {
		signer, err := standardwebhooks.NewWebhookRaw(secret)
		if err != nil {
			return err
		}
		signature, err := signer.Sign(r.ID, now, r.Body)
		if err != nil {
			return err
		}
		signatures = append(signatures, signature)
	}
	if len(signatures) > 0 {
		h[standardwebhooks.HeaderWebhookSignature] = []string{strings.Join(signatures, " ")}
	}
	return nil
}

// head is a request's head in the contract's order; the log shows it masked.
func head(req *http.Request, masked bool) string {
	var b strings.Builder
	b.Grow(512)
	b.WriteString("POST " + req.URL.String() + "\n")
	for _, name := range [...]string{
		"Authorization", "Content-Type", "User-Agent", "API_VERSION", "API-Version",
		standardwebhooks.HeaderWebhookID, standardwebhooks.HeaderWebhookTimestamp,
		standardwebhooks.HeaderWebhookSignature, "OpenKenar-Attempt", traceparent,
	} {
		values := req.Header[name]
		if len(values) == 0 {
			continue
		}
		value := values[0]
		if masked && name == "Authorization" {
			value = mask
		}
		b.WriteString(name + ": " + value + "\n")
	}
	return b.String()
}

// readAnswer keeps the first bytes of the body, or all that is read where
// somebody looks on. A body that breaks off does not undo the status that came
// before it.
func readAnswer(body io.Reader, all bool) []byte {
	if body == http.NoBody {
		return nil
	}
	if all {
		answer, _ := io.ReadAll(io.LimitReader(body, MaxAnswer+maxDrain))
		return answer
	}
	answer, _ := io.ReadAll(io.LimitReader(body, MaxAnswer))
	_, _ = io.CopyN(io.Discard, body, maxDrain)
	return answer
}

func explain(ctx context.Context, err error, timeout time.Duration) (Reason, string) {
	var op *net.OpError
	switch {
	case errors.Is(ctx.Err(), context.DeadlineExceeded):
		return TimedOut, "no answer within " + timeout.String()
	case ctx.Err() != nil:
		return Canceled, "stopped before an answer came"
	case isRefused(err):
		return Refused, "the target's address may not be called: " + innermost(err)
	case errors.As(err, &op) && op.Op == "dial":
		return Transport, "no connection: " + innermost(err)
	case errors.Is(err, errFault):
		return Transport, err.Error()
	default:
		return Transport, "the connection broke: " + innermost(err)
	}
}
