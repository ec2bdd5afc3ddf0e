// Package api is what the JSON faces share: a router that never answers in
// plain text and never redirects, reading of bodies within limits, and the one
// renderer of errors. A handler returns a value or an error; the value becomes
// 200 with JSON, the error a google.rpc.Status. Contract: section 3.
package api

import (
	"cmp"
	"context"
	"errors"
	"io"
	"log/slog"
	"math"
	"mime"
	"net/http"
	"path"
	"runtime/debug"
	"slices"
	"strconv"
	"strings"
	"time"

	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/trace"

	"github.com/openkenar/openkenar/internal/status"
	"github.com/openkenar/openkenar/internal/wire"
)

// MaxBody is the largest body of a call unless its route says otherwise, in
// bytes.
const MaxBody = 1 << 20

// Handler answers a call.
type Handler func(r *http.Request) (any, error)

// Mux routes calls of one face by method and escaped path: an id may hold
// "%2F", and each segment is decoded once.
type Mux struct {
	mux        *http.ServeMux
	operations []Operation
	o          Options
	log        *slog.Logger
}

// Options of a Mux.
type Options struct {
	Log    *slog.Logger // needed
	Tracer trace.Tracer // of calls; default: none
	// Parents reads which span a call is part of; default: what callers say of
	// that is not believed.
	Parents propagation.TextMapPropagator
}

// NewMux returns an empty router.
func NewMux(o Options) *Mux {
	m := &Mux{mux: http.NewServeMux(), o: o, log: o.Log}
	m.mux.HandleFunc(otherwise, m.unrouted)
	return m
}

// otherwise is the pattern of what has no other.
const otherwise = "/"

// Handle routes an operation to what answers it.
func (m *Mux) Handle(o Operation, h Handler) {
	m.operations = append(m.operations, o)
	m.mux.HandleFunc(o.Route, func(w http.ResponseWriter, r *http.Request) {
		v, err := h(r)
		if err != nil {
			m.fail(w, r, err)
			return
		}
		m.answer(w, r, http.StatusOK, v)
	})
}

// HandleRaw routes an operation to a handler that writes its answer itself, as a
// stream or a file needs it. An error that it returns is rendered; it may return
// one only before it has written anything.
func (m *Mux) HandleRaw(o Operation, h func(w http.ResponseWriter, r *http.Request) error) {
	m.operations = append(m.operations, o)
	m.mux.HandleFunc(o.Route, func(w http.ResponseWriter, r *http.Request) {
		if err := h(w, r); err != nil {
			m.fail(w, r, err)
		}
	})
}

// Operations returns what is routed.
func (m *Mux) Operations() []Operation { return slices.Clone(m.operations) }

// ServeHTTP implements http.Handler.
func (m *Mux) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if m.o.Tracer != nil {
		m.traced(w, r)
		return
	}
	m.serve(w, r)
}

func (m *Mux) serve(w http.ResponseWriter, r *http.Request) {
	defer m.recover(w, r)
	if clean := path.Clean(r.URL.EscapedPath()); clean != r.URL.EscapedPath() {
		// ServeMux would redirect; a call is not a page.
		m.fail(w, r, noRoute(r))
		return
	}
	m.mux.ServeHTTP(w, r)
}

// unrouted answers what has no route.
func (m *Mux) unrouted(w http.ResponseWriter, r *http.Request) {
	if allowed := m.allowed(r); len(allowed) > 0 {
		w.Header().Set("Allow", strings.Join(allowed, ", "))
		m.fail(w, r, status.New(status.MethodNotAllowed, "%s is not a method of this path; use %s", r.Method, strings.Join(allowed, " or ")))
		return
	}
	m.fail(w, r, noRoute(r))
}

func noRoute(r *http.Request) error {
	const most = 200
	p := r.URL.EscapedPath()
	return status.New(status.NotFound, "no such path: %s", p[:min(len(p), most)])
}

// allowed returns the methods that the path of a call has.
func (m *Mux) allowed(r *http.Request) []string {
	var methods []string
	for _, method := range []string{http.MethodGet, http.MethodPost, http.MethodPut, http.MethodPatch, http.MethodDelete} {
		try := r.Clone(r.Context())
		try.Method = method
		if _, pattern := m.mux.Handler(try); pattern != otherwise {
			methods = append(methods, method)
		}
	}
	return methods
}

func (m *Mux) recover(w http.ResponseWriter, r *http.Request) {
	switch v := recover(); v {
	case nil:
	case http.ErrAbortHandler:
		panic(v)
	default:
		m.log.ErrorContext(r.Context(), "panic in a handler", "method", r.Method, "path", r.URL.Path, "panic", v, "stack", string(debug.Stack()))
		m.fail(w, r, errors.New("panic"))
	}
}

// fail renders an error; what is our fault goes to the log, and so does what
// has a cause that the caller does not see.
func (m *Mux) fail(w http.ResponseWriter, r *http.Request, err error) {
	kind := status.KindOf(err)
	if errors.Is(err, context.Canceled) && r.Context().Err() != nil {
		kind = status.Unavailable // the caller is gone; nobody reads this
	} else if kind == status.Internal || kind == status.Unavailable && errors.Unwrap(err) != nil {
		m.log.ErrorContext(r.Context(), "call failed", "method", r.Method, "path", r.URL.Path, "err", err)
	}
	if after := status.RetryAfter(err); after > 0 {
		w.Header().Set("Retry-After", strconv.FormatInt(int64(math.Ceil(after.Seconds())), 10))
	}
	m.answer(w, r, kind.HTTP(), status.Of(err))
}

func (m *Mux) answer(w http.ResponseWriter, r *http.Request, code int, v any) {
	if err := Answer(w, code, v); err != nil {
		m.log.ErrorContext(r.Context(), "answer cannot be encoded", "path", r.URL.Path, "err", err)
	}
}

// Answer writes a JSON answer that no cache keeps. What cannot be encoded
// becomes a bare 500, and its error is returned for the log.
func Answer(w http.ResponseWriter, code int, v any) error {
	body, err := wire.Marshal(v)
	if err != nil {
		code, body = status.Internal.HTTP(), []byte(`{"code":13,"message":"internal error","details":[]}`)
	}
	h := w.Header()
	h.Set("Content-Type", "application/json")
	h.Set("Cache-Control", "no-store")
	h.Set("X-Content-Type-Options", "nosniff")
	w.WriteHeader(code)
	_, _ = w.Write(body) //nolint:gosec // JSON, declared as such and with nosniff
	return err
}

// Read returns the body of a call: at most limit bytes (MaxBody when 0), and
// declared as one of the media types (application/json when none is given).
// A body that is there must be UTF-8 by its own declaration.
func Read(r *http.Request, limit int64, types ...string) ([]byte, error) {
	limit = cmp.Or(limit, MaxBody)
	tooLarge := status.New(status.TooLarge, "body: more than %d bytes", limit)
	if r.ContentLength > limit {
		return nil, tooLarge
	}
	body, err := io.ReadAll(http.MaxBytesReader(nil, r.Body, limit))
	var most *http.MaxBytesError
	switch {
	case errors.As(err, &most):
		return nil, tooLarge
	case err != nil:
		return nil, status.Wrap(status.Invalid, err, "body: it broke off after %d bytes", len(body))
	case len(body) == 0:
		return nil, nil
	}
	if len(types) == 0 {
		types = []string{"application/json"}
	}
	return body, checkType(r.Header.Get("Content-Type"), types)
}

func checkType(declared string, types []string) error {
	if declared == "" {
		return nil
	}
	media, params, err := mime.ParseMediaType(declared)
	if err != nil || !slices.Contains(types, media) {
		return status.New(status.UnsupportedMediaType, "Content-Type: %q; send %s", wire.Clip(declared), strings.Join(types, " or "))
	}
	if charset := params["charset"]; charset != "" && !strings.EqualFold(charset, "utf-8") {
		return status.New(status.UnsupportedMediaType, "Content-Type: charset %q; send UTF-8", wire.Clip(charset))
	}
	return nil
}

// patience is how long the reader of an answer may take to take more of it.
const patience = 30 * time.Second

// Patient gives the reader of a long answer time for each part of it, and no
// more: one that stands still is let go.
func Patient(w http.ResponseWriter) http.ResponseWriter {
	return patient{w, http.NewResponseController(w)}
}

type patient struct {
	http.ResponseWriter
	control *http.ResponseController
}

// Write implements io.Writer.
func (p patient) Write(b []byte) (int, error) {
	if err := p.control.SetWriteDeadline(time.Now().Add(patience)); err != nil {
		return 0, err
	}
	return p.ResponseWriter.Write(b)
}

// Unwrap lets a ResponseController through.
func (p patient) Unwrap() http.ResponseWriter { return p.ResponseWriter }

// Decode reads the JSON body of a call into the struct that v points to.
func Decode(r *http.Request, v any) error {
	body, err := Read(r, 0)
	if err != nil {
		return err
	}
	return wire.Unmarshal(body, v)
}

// Bearer returns the token of an Authorization header, "" when there is none.
func Bearer(r *http.Request) string {
	const scheme = "bearer "
	h := r.Header.Get("Authorization")
	if len(h) < len(scheme) || !strings.EqualFold(h[:len(scheme)], scheme) {
		return ""
	}
	return strings.TrimSpace(h[len(scheme):])
}

// Empty is the answer {}.
type Empty struct{}

// Next is the cursor of a list's next page as the wire has it: null at the end.
func Next(cursor string) *string {
	if cursor == "" {
		return nil
	}
	return &cursor
}
