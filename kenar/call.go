package kenar

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"

	"golang.org/x/oauth2"
)

const (
	// maxAnswer bounds an answer, in bytes: a conversation of a thousand long
	// messages fits.
	maxAnswer = 32 << 20
	// maxErrorAnswer bounds an answer that says no, in bytes.
	maxErrorAnswer = 64 << 10
)

// call is a request and what is done with its answer.
type call struct {
	method, path string // path is escaped; see withID
	query        url.Values
	in           any // sent as JSON; nil: no body
	file         *part
	out          any  // what the JSON of the answer goes into; nil: nothing is wanted of it
	harmless     bool // to make twice
	user         *User
	bearer       string        // an upload token; of a user, what user gives
	timeout      time.Duration // of an attempt; 0: the client's
}

// withID puts an id, escaped once, in the place of {} in a path. One that would
// change the path is refused.
func withID(path, field, id string) (string, error) {
	switch id {
	case "":
		return "", invalid(field, "must not be empty")
	case ".", "..":
		return "", invalid(field, "cannot stand in a path")
	}
	return strings.Replace(path, "{}", url.PathEscape(id), 1), nil
}

// do makes a call, and makes it again where that is safe.
func (c *Client) do(ctx context.Context, k call) error {
	body, err := k.encode()
	if err != nil {
		return err
	}
	renewed := false
	for n := 0; ; n++ {
		var token *oauth2.Token
		if k.user != nil {
			if token, err = k.user.token(ctx); err != nil {
				return err
			}
			k.bearer = token.AccessToken
		}
		err := c.attempt(ctx, k, body)
		switch {
		case err == nil:
			return nil
		case ctx.Err() != nil:
			return err
		case token != nil && !renewed && errors.Is(err, ErrUnauthenticated) && k.user.isStale(token):
			// It was not served. The token may have died before its time.
			renewed = true
			continue
		case n >= c.retries || !mayRepeat(err, k.harmless) || !k.file.rewind():
			return err
		}
		wait, ok := backOff(err, n)
		if !ok {
			return err
		}
		if err := pause(ctx, wait, err); err != nil {
			return err
		}
	}
}

// encode makes the JSON body of a call; nil: it has none.
func (k call) encode() ([]byte, error) {
	if k.in == nil {
		return nil, nil
	}
	body, err := encode(k.in)
	if err != nil {
		return nil, fmt.Errorf("%w: the body of %s %s: %w", ErrInvalid, k.method, k.path, err)
	}
	return body, nil
}

// attempt makes a call once.
func (c *Client) attempt(ctx context.Context, k call, body []byte) error {
	timeout := c.timeout
	if k.timeout != 0 {
		timeout = k.timeout
	}
	ctx, cancel := context.WithTimeoutCause(ctx, timeout, fmt.Errorf("nothing for %s: %w", timeout, context.DeadlineExceeded))
	defer cancel()
	r, err := c.request(ctx, k, body)
	if err != nil {
		return err
	}
	defer k.file.release()
	answer, err := c.http.Do(r)
	if err != nil {
		return k.unanswered(ctx, err)
	}
	defer func() { _ = answer.Body.Close() }()
	return c.read(ctx, k, answer)
}

func (c *Client) request(ctx context.Context, k call, body []byte) (*http.Request, error) {
	target := c.base + k.path
	if len(k.query) > 0 {
		target += "?" + k.query.Encode()
	}
	var reader io.Reader
	if body != nil {
		reader = bytes.NewReader(body)
	}
	r, err := http.NewRequestWithContext(ctx, k.method, target, reader)
	if err != nil {
		return nil, fmt.Errorf("%w: %s %s: %w", ErrInvalid, k.method, k.path, err)
	}
	r.Header.Set("X-API-Key", c.key)
	r.Header.Set("Accept", "application/json")
	r.Header.Set("User-Agent", c.agent)
	if k.bearer != "" {
		r.Header.Set("Authorization", "Bearer "+k.bearer)
	}
	if body != nil {
		r.Header.Set("Content-Type", "application/json")
	}
	if k.file != nil {
		k.file.attach(r)
	}
	return r, nil
}

// unanswered wraps what went wrong on the way. Of net/http's own error only the
// reason is kept: it would repeat the address.
func (k call) unanswered(ctx context.Context, err error) error {
	if ue, ok := errors.AsType[*url.Error](err); ok {
		err = ue.Err
	}
	if cause := context.Cause(ctx); cause != nil && errors.Is(err, ctx.Err()) {
		err = cause
	}
	return fmt.Errorf("%w: %s %s: %w", ErrUnanswered, k.method, oneLine(k.path, maxErrorPath), err)
}

// read takes the answer of a call.
func (c *Client) read(ctx context.Context, k call, answer *http.Response) error {
	ok := answer.StatusCode >= 200 && answer.StatusCode < 300
	limit := int64(maxErrorAnswer)
	if ok {
		limit = maxAnswer
	}
	body, err := io.ReadAll(io.LimitReader(answer.Body, limit+1))
	whole := int64(len(body)) <= limit
	switch {
	case err != nil && ok:
		return k.unanswered(ctx, err)
	case ok && !whole:
		return fmt.Errorf("kenar: %s %s: the answer has more than %d bytes", k.method, k.path, limit)
	case ok && len(body) == 0 && k.out == nil:
		return nil
	}
	if ok {
		out := k.out
		if out == nil {
			out = new(json.RawMessage)
		}
		if err := json.Unmarshal(body, out); err != nil {
			return fmt.Errorf("kenar: %s %s: the answer (HTTP %d, %s) is not what was expected: %w",
				k.method, k.path, answer.StatusCode, oneLine(answer.Header.Get("Content-Type"), 50), err)
		}
		return nil
	}
	e := errorOf(answer.StatusCode, answer.Header, []byte(hide(string(body), c.secret, k.bearer)))
	e.Method, e.Path, e.Message = k.method, k.path, hide(e.Message, c.secret, k.bearer)
	return e
}

// hide takes secrets out of a text that will be shown.
func hide(text string, secrets ...string) string {
	for _, secret := range secrets {
		if len(secret) >= 8 { // a shorter one is none, and would spoil the text
			text = strings.ReplaceAll(text, secret, "[hidden]")
		}
	}
	return text
}
