package api

import (
	"net/http"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/trace"
)

// noSuchPath is the span of a call that no route takes.
const noSuchPath = "no such path"

// traced serves a call within a span that is named after its route.
func (m *Mux) traced(w http.ResponseWriter, r *http.Request) {
	name := noSuchPath
	if _, pattern := m.mux.Handler(r); pattern != otherwise {
		name = pattern
	}
	ctx := r.Context()
	if m.o.Parents != nil {
		ctx = m.o.Parents.Extract(ctx, propagation.HeaderCarrier(r.Header))
	}
	ctx, span := m.o.Tracer.Start(ctx, name, trace.WithSpanKind(trace.SpanKindServer))
	defer span.End()
	seen := &seen{w, http.StatusOK}
	m.serve(seen, r.WithContext(ctx))
	span.SetAttributes(attribute.Int("http.status_code", seen.code))
	if seen.code >= http.StatusInternalServerError {
		span.SetStatus(codes.Error, http.StatusText(seen.code))
	}
}

// seen is a writer whose status is known afterwards.
type seen struct {
	http.ResponseWriter
	code int
}

// WriteHeader implements http.ResponseWriter.
func (s *seen) WriteHeader(code int) {
	s.code = code
	s.ResponseWriter.WriteHeader(code)
}

// Unwrap lets a ResponseController through.
func (s *seen) Unwrap() http.ResponseWriter { return s.ResponseWriter }
