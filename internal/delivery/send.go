package delivery

import (
	"context"
	"log/slog"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/trace"

	"github.com/openkenar/openkenar/internal/status"
	"github.com/openkenar/openkenar/internal/webhook"
)

// holdRetry is how long a lane waits when its app could not be looked up, or
// there was no lease.
const holdRetry = time.Second

// hold says that an app may not be called; zero until means until woken. back
// says that it may be again.
type hold struct {
	until time.Time
	back  bool
}

// attempt sends one delivery and returns its outcome. It returns nil when
// nothing was attempted and the delivery stays as it is in the ledger.
func (e *Engine) attempt(l *lane, d Delivery) (*Outcome, hold) {
	h, ctx := l.health, e.life()
	switch { // after the context was taken, which ends for what is under way
	case l.isClosed():
		return nil, hold{}
	case e.lapsed(): // or was, just now
		return nil, hold{until: e.now().Add(spread(holdRetry))}
	}
	if d.Revoked {
		return canceled(d, ReasonRevoked), hold{}
	}
	endpoint, err := e.endpoints.Endpoint(ctx, d.ID.App)
	if err != nil {
		if ctx.Err() == nil && status.KindOf(err) != status.Unavailable { // of which the ledger tells itself
			e.log.ErrorContext(ctx, "the app's endpoint cannot be read; trying again", "app", d.ID.App, "err", err)
		}
		return nil, hold{until: e.now().Add(spread(holdRetry))}
	}
	if endpoint.Hold != "" {
		return nil, hold{}
	}
	entered, until, ok := h.enter(e.now())
	if !ok {
		return nil, hold{until: until}
	}
	ctx, pass, refusal := e.gate.enter(ctx, d)
	if refusal != "" {
		h.left(e.ctx, entered, webhook.Result{Reason: webhook.Canceled}, e.now())
		return canceled(d, refusal), hold{}
	}
	ctx, span := e.span(ctx, d)
	defer span.End()
	result := e.client.Send(ctx, endpoint.request(webhook.Request{
		About: webhook.About{App: d.ID.App, Type: d.Type}, ID: d.ID.String(), Attempt: d.Attempts + 1, Body: d.Body,
	}), time.Now())
	e.metrics.attempted(result)
	refusal = e.gate.leave(pass, d)
	back := h.left(e.ctx, entered, result, e.now())
	if result.Reason == webhook.Canceled && refusal == "" {
		// The engine is stopping, or has no lease. Failure policy: leave it pending; it is sent
		// again with the same webhook-id, which the contract allows.
		e.tell(ctx, d, result, Outcome{State: Pending})
		return nil, hold{}
	}
	out := judge(d, result, e.now())
	if isDown(result) && h.sick() {
		out.postpone(d, e.now())
	}
	if refusal != "" && out.State != Delivered {
		out.State, out.Reason, out.NextAt, out.Attempt.NextAt = Canceled, refusal, time.Time{}, time.Time{}
	}
	e.tell(ctx, d, result, out)
	result.Judged(webhook.Verdict{Delivery: d.ID.String(), State: string(out.State), Reason: out.Reason, NextAt: out.NextAt})
	return &out, hold{back: back}
}

// span begins what traces tell of an attempt; where nobody traces, it records
// nothing.
func (e *Engine) span(ctx context.Context, d Delivery) (context.Context, trace.Span) {
	if e.tracer == nil {
		return ctx, trace.SpanFromContext(ctx)
	}
	return e.tracer.Start(ctx, "delivery attempt", trace.WithSpanKind(trace.SpanKindClient), trace.WithAttributes(
		attribute.String("openkenar.delivery", d.ID.String()), attribute.String("openkenar.app", d.ID.App),
		attribute.String("openkenar.type", d.Type), attribute.Int("openkenar.attempt", d.Attempts+1),
	))
}

// tell says everything about an attempt: one line of the log, and its span.
func (e *Engine) tell(ctx context.Context, d Delivery, r webhook.Result, out Outcome) {
	attrs := make([]slog.Attr, 0, 12)
	attrs = append(attrs,
		slog.String("delivery", d.ID.String()), slog.String("app", d.ID.App), slog.String("type", d.Type),
		slog.Int("attempt", d.Attempts+1), slog.String("result", string(r.Reason)), slog.Int("status", r.Status),
		slog.Duration("duration", r.Duration), slog.String("state", string(out.State)),
	)
	if r.Error != "" {
		attrs = append(attrs, slog.String("error", r.Error))
	}
	if out.State != Pending && out.State != Delivered {
		attrs = append(attrs, slog.String("reason", out.Reason))
	}
	if !out.NextAt.IsZero() {
		attrs = append(attrs, slog.Time("next_at", out.NextAt))
	}
	if span := trace.SpanFromContext(ctx); span.IsRecording() {
		attrs = append(attrs, slog.String("trace", span.SpanContext().TraceID().String()))
		span.SetAttributes(attribute.String("openkenar.result", string(r.Reason)), attribute.Int("http.status_code", r.Status),
			attribute.String("openkenar.state", string(out.State)))
		if r.Reason != webhook.OK {
			span.SetStatus(codes.Error, r.Error)
		}
	}
	e.log.LogAttrs(ctx, slog.LevelInfo, "delivery attempted", attrs...)
}

func canceled(d Delivery, reason string) *Outcome {
	return &Outcome{ID: d.ID, State: Canceled, Reason: reason, Attempts: d.Attempts, Retry: d.Retry}
}

// typeTest is what those who look on see a test as.
const typeTest = "TEST"

// Test makes one call to an app's event URL outside the ledger and returns
// what came back.
func (e *Engine) Test(ctx context.Context, app, id string, body []byte) (webhook.Result, error) {
	endpoint, err := e.endpoints.Endpoint(ctx, app)
	if err != nil {
		return webhook.Result{}, err
	}
	if endpoint.URL == "" {
		return webhook.Result{}, status.New(status.FailedPrecondition, "app %q has no event URL; set event_url first", app)
	}
	return e.client.Send(ctx, endpoint.request(webhook.Request{
		About: webhook.About{App: app, Type: typeTest}, ID: id, Attempt: 1, Body: body,
	}), time.Now()), nil
}

// request is a webhook, addressed to the endpoint.
func (p Endpoint) request(r webhook.Request) webhook.Request {
	r.URL, r.IdentificationKey, r.Secrets = p.URL, p.IdentificationKey, p.Secrets
	return r
}
