package kenar

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math"
	"net/http"
	"os"
	"runtime/debug"
	"strconv"
	"time"
	"unicode/utf8"
)

const (
	// defaultMaxBody is how much a platform of OpenKenar sends at most.
	defaultMaxBody = 1 << 20
	// receiveTimeout leaves the platform, which waits 10 seconds, two for the
	// way there and back.
	receiveTimeout = 8 * time.Second
	// answerTimeout is the same where it waits 5 seconds.
	answerTimeout = 4 * time.Second
)

// answerError is an answer that is not 200. The platform shows its message to
// the app's developer, so it holds no secret and nothing of the app's inside.
type answerError struct {
	status     int
	message    string
	retryAfter time.Duration // 0: no such header
	level      slog.Level    // of its line on the app's log; 0: Debug, for strangers can make many
	cause      error         // for that log too; nil: there is no more to say
}

func (e *answerError) Error() string {
	if e.cause != nil {
		return e.cause.Error()
	}
	return e.message
}

func (e *answerError) Unwrap() error { return e.cause }

// Reject makes an error with which a callback says that it will never take this
// delivery: it is answered with 410, and the platform does not try again. err
// says why, for the app's log.
func Reject(err error) error {
	return &answerError{status: http.StatusGone, message: "the app does not want this delivery", level: slog.LevelWarn, cause: cmp.Or(err, errRejected)}
}

var errRejected = errors.New("rejected")

// Later makes an error with which a callback says when it wants the delivery
// again: it is answered with 503 and Retry-After. A platform of OpenKenar keeps
// to that from a second to 24 hours; without it, it tries after 5 s, 30 s, 5 min,
// 30 min, 2 h and so on. err says why, for the app's log.
func Later(wait time.Duration, err error) error {
	return &answerError{
		status: http.StatusServiceUnavailable, message: "the app asks for this delivery later",
		retryAfter: max(wait, time.Second), level: slog.LevelWarn, cause: cmp.Or(err, errLater),
	}
}

var errLater = errors.New("later")

// door is what the handlers of this package share: it lets in whom the app
// believes, reads the body, and answers.
type door struct {
	callers callers
	maxBody int64
	timeout time.Duration
	log     *slog.Logger
	// knock looks at the head, before the body is read; nil: any will do.
	knock func(http.Header) error
}

// doorOptions are the options that the handlers share.
type doorOptions struct {
	callers Callers
	maxBody int64
	timeout time.Duration
	log     *slog.Logger
}

func newDoor(o doorOptions) (door, error) {
	checked, err := newCallers(o.callers)
	if err != nil {
		return door{}, err
	}
	if o.maxBody < 0 || o.timeout < 0 {
		return door{}, errors.New("kenar: MaxBody and Timeout: must not be negative; 0 is the default")
	}
	if o.log == nil {
		// An error of a callback must not vanish because nobody has set a log.
		o.log = slog.Default()
	}
	return door{callers: checked, maxBody: cmp.Or(o.maxBody, defaultMaxBody), timeout: o.timeout, log: o.log}, nil
}

// serve answers a request. handle makes the answer, nil for an empty one. What
// it returns as an error and is no answerError is the app's fault, and nobody
// else's business.
func (d *door) serve(w http.ResponseWriter, r *http.Request, handle func(ctx context.Context, body []byte) (any, error)) {
	ctx, cancel := context.WithTimeout(r.Context(), d.timeout)
	defer cancel()
	answer, err := d.admit(ctx, w, r, handle)
	var encoded []byte
	if err == nil && answer != nil {
		encoded, err = encode(answer)
	}
	if err != nil {
		d.refuse(ctx, w, r, err)
		return
	}
	if encoded == nil {
		w.WriteHeader(http.StatusOK)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("X-Content-Type-Options", "nosniff")
	_, _ = w.Write(encoded) //nolint:gosec // JSON, declared as such
}

func (d *door) admit(ctx context.Context, w http.ResponseWriter, r *http.Request, handle func(ctx context.Context, body []byte) (any, error)) (any, error) {
	if deadline, ok := ctx.Deadline(); ok {
		// Before all checks: the server reads the rest of a body also of who is
		// refused. Not all writers have a deadline; those of net/http do.
		_ = http.NewResponseController(w).SetReadDeadline(deadline)
	}
	if r.Method != http.MethodPost {
		w.Header().Set("Allow", http.MethodPost)
		return nil, &answerError{status: http.StatusMethodNotAllowed, message: "only POST is taken here"}
	}
	if err := d.callers.check(r); err != nil {
		return nil, err
	}
	if d.knock != nil {
		if err := d.knock(r.Header); err != nil {
			return nil, err
		}
	}
	body, err := d.read(w, r)
	if err != nil {
		return nil, err
	}
	return handle(ctx, body)
}

// read takes the body, of a sender who is slow only until the deadline.
func (d *door) read(w http.ResponseWriter, r *http.Request) ([]byte, error) {
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, d.maxBody))
	var large *http.MaxBytesError
	switch {
	case errors.As(err, &large):
		return nil, &answerError{
			status:  http.StatusRequestEntityTooLarge,
			message: fmt.Sprintf("body: more than %d bytes", large.Limit),
		}
	case errors.Is(err, os.ErrDeadlineExceeded):
		return nil, &answerError{status: http.StatusRequestTimeout, message: "body: not all of it came in time"}
	case err != nil:
		return nil, &answerError{status: http.StatusBadRequest, message: "body: it broke off"}
	}
	// Past its end the server watches the connection, and a deadline there would
	// end the callback's context.
	_ = http.NewResponseController(w).SetReadDeadline(time.Time{})
	return body, nil
}

// refuse answers with an error, and puts on the log what is the app's to know.
func (d *door) refuse(ctx context.Context, w http.ResponseWriter, r *http.Request, err error) {
	answer := &answerError{status: http.StatusInternalServerError, message: "the app failed"}
	level := slog.LevelError
	if errors.As(err, &answer) {
		level = cmp.Or(answer.level, slog.LevelDebug)
	}
	d.log.LogAttrs(ctx, level, "kenar: a call was not taken",
		slog.String("path", r.URL.Path), slog.String("webhook_id", r.Header.Get(headerID)), slog.String("from", r.RemoteAddr),
		slog.Int("status", answer.status), slog.String("err", err.Error()))
	if answer.retryAfter > 0 {
		w.Header().Set("Retry-After", strconv.FormatInt(int64(math.Ceil(answer.retryAfter.Seconds())), 10))
	}
	http.Error(w, answer.message, answer.status)
}

// panicError is a callback's panic.
type panicError struct {
	value any
	stack []byte
}

func (e *panicError) Error() string { return fmt.Sprintf("panic: %v\n%s", e.value, e.stack) }

// calm turns a panic into an error.
func calm(err *error) {
	if v := recover(); v != nil {
		*err = &panicError{v, debug.Stack()}
	}
}

// readObject reads a body, which is one JSON object.
func readObject(body []byte, into any) error {
	if !utf8.Valid(body) {
		return malformed(errors.New("not UTF-8"))
	}
	if body = bytes.TrimLeft(body, " \t\r\n"); len(body) > 0 && body[0] != '{' {
		return malformed(errors.New("not a JSON object"))
	}
	if err := json.Unmarshal(body, into); err != nil {
		return malformed(err)
	}
	return nil
}

// malformed is a body that is not what it should be.
func malformed(err error) error {
	return &answerError{status: http.StatusBadRequest, message: "body: " + reason(err)}
}

// reason says in the wire's words why JSON cannot be read.
func reason(err error) string {
	var syntax *json.SyntaxError
	var kind *json.UnmarshalTypeError
	switch {
	case errors.As(err, &syntax):
		return "malformed JSON: " + syntax.Error()
	case errors.As(err, &kind):
		return fmt.Sprintf("%s: a JSON %s is not what belongs there", cmp.Or(kind.Field, "it"), clip([]byte(kind.Value)))
	}
	return err.Error()
}

// encode writes JSON with <, > and & as they are: a platform counts bytes as
// they come.
func encode(v any) ([]byte, error) {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(v); err != nil {
		return nil, err
	}
	return bytes.TrimSuffix(b.Bytes(), []byte("\n")), nil
}
