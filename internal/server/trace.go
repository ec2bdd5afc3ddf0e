package server

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"sync/atomic"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace"
	"go.opentelemetry.io/otel/sdk/resource"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	tracepb "go.opentelemetry.io/proto/otlp/trace/v1"
	"google.golang.org/protobuf/proto"
)

const (
	tracerName = "github.com/openkenar/openkenar"
	// tellTime is how long a collector may take to accept spans.
	tellTime = 10 * time.Second
	// lastTell is how long it may take when the server stops.
	lastTell = 3 * time.Second
)

// TraceOptions say where traces go. The zero value: nowhere, and none are made.
type TraceOptions struct {
	URL     string            // of an OpenTelemetry collector, OTLP by http/protobuf
	Headers map[string]string // of each call to it
	// Spans takes them instead; for tests.
	Spans sdktrace.SpanProcessor
}

// startTracing makes the tracer, if traces go anywhere.
func (s *Server) startTracing(ctx context.Context) error {
	spans := s.o.Traces.Spans
	if spans == nil {
		if s.o.Traces.URL == "" {
			return nil
		}
		exporter, err := otlptrace.New(ctx, &collector{o: s.o.Traces, client: &http.Client{Timeout: tellTime}, log: s.log})
		if err != nil {
			return fmt.Errorf("traces: %w", err)
		}
		spans = sdktrace.NewBatchSpanProcessor(exporter)
	}
	self, err := resource.Merge(
		resource.NewSchemaless(attribute.String("service.name", "openkenar"), attribute.String("service.version", s.o.Version)),
		resource.Environment(),
	)
	if err != nil {
		return fmt.Errorf("traces: OTEL_RESOURCE_ATTRIBUTES: %w", err)
	}
	provider := sdktrace.NewTracerProvider(sdktrace.WithSpanProcessor(spans), sdktrace.WithResource(self))
	s.tracer = provider.Tracer(tracerName)
	s.onStop("traces", func(ctx context.Context) error {
		// Also when the time to stop is up: the last spans tell why.
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), lastTell)
		defer cancel()
		if err := provider.Shutdown(ctx); err != nil {
			s.log.WarnContext(ctx, "the last spans were lost", "err", err)
		}
		return nil
	})
	return nil
}

// collector is where spans go. The exporter of OpenTelemetry's own would bring
// gRPC with it, a hundred packages.
type collector struct {
	o      TraceOptions
	client *http.Client
	log    *slog.Logger
	lost   atomic.Bool // the last spans were, and that was said
}

// Start implements otlptrace.Client.
func (c *collector) Start(context.Context) error { return nil }

// Stop implements otlptrace.Client.
func (c *collector) Stop(context.Context) error {
	c.client.CloseIdleConnections()
	return nil
}

// UploadTraces implements otlptrace.Client. Failure policy: what the collector
// does not take is lost, and the log says so once until it takes some again;
// deliveries go on.
func (c *collector) UploadTraces(ctx context.Context, spans []*tracepb.ResourceSpans) error {
	err := c.upload(ctx, spans)
	if failed := err != nil; c.lost.Swap(failed) != failed {
		if failed {
			c.log.WarnContext(ctx, "spans are lost", "err", err)
		} else {
			c.log.InfoContext(ctx, "spans are told again")
		}
	}
	return nil
}

func (c *collector) upload(ctx context.Context, spans []*tracepb.ResourceSpans) error {
	body, err := proto.Marshal(&tracepb.TracesData{ResourceSpans: spans}) // on the wire the same as a request to export them
	if err != nil {
		return err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, c.o.URL, bytes.NewReader(body))
	if err != nil {
		return err
	}
	for name, value := range c.o.Headers {
		req.Header.Set(name, value)
	}
	req.Header.Set("Content-Type", "application/x-protobuf")
	resp, err := c.client.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if resp.StatusCode < 200 || resp.StatusCode > 299 {
		return fmt.Errorf("the collector answered %s", resp.Status)
	}
	return nil
}
