package extension

import (
	"context"
	"fmt"
	"log/slog"
	"net/url"
	"slices"
	"unicode"
	"unicode/utf8"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/trace"

	"github.com/openkenar/openkenar/internal/access"
	"github.com/openkenar/openkenar/internal/chat"
	"github.com/openkenar/openkenar/internal/delivery"
	"github.com/openkenar/openkenar/internal/event"
	"github.com/openkenar/openkenar/internal/market"
	"github.com/openkenar/openkenar/internal/status"
	"github.com/openkenar/openkenar/internal/webhook"
	"github.com/openkenar/openkenar/internal/wire"
)

const (
	// maxToken is the longest post token that a session carries, in bytes.
	maxToken = 10
	// maxBusy is how many calls of one app may be under way.
	maxBusy = 64
	// maxText is the longest text of a dynamic action's answer, in characters.
	maxText = 4096
)

// WireVersion is that of session initialization.
const WireVersion = "2"

// Why a call is made, as the log has it.
const (
	whyOpened   = "a user waits for it"
	whyRepeated = "repeated by hand"
)

// sessionBody asks for a session; the order of its fields is the contract's.
type sessionBody struct {
	ReturnURL    string      `json:"return_url"`
	Source       string      `json:"source"`
	Post         *string     `json:"post_token"`
	Conversation *string     `json:"conversation_id"`
	Side         *string     `json:"user_side"`
	User         *string     `json:"user_id"`
	ExtraData    wire.Object `json:"extra_data"`
	ProviderData wire.Object `json:"provider_data"` // the same (contract, section 9)
}

// actionBody asks what a button does.
type actionBody struct {
	Touchpoint   string      `json:"touchpoint"`
	Post         *string     `json:"post_token"`
	Conversation *string     `json:"conversation_id"`
	Side         *string     `json:"user_side"`
	ExtraData    wire.Object `json:"extra_data"`
	User         *string     `json:"user_id"`
}

// sessionAnswer is the answer to a sessionBody.
type sessionAnswer struct {
	URL string `json:"url"`
}

// actionAnswer is the answer to an actionBody: at least one of its fields.
type actionAnswer struct {
	Action *chat.Action `json:"action"`
	Text   string       `json:"text_message"`
}

// The sides of users, each call in its own letter case (contract, section 9).
var (
	sessionSides = map[chat.Side]string{chat.Seller: "Supply", chat.Buyer: "Demand"}
	actionSides  = map[chat.Side]string{chat.Seller: "SUPPLY", chat.Buyer: "DEMAND"}
)

func orNull(s string) *string {
	if s == "" {
		return nil
	}
	return &s
}

// orEmpty is what a button carries: {} where that is nothing.
func orEmpty(d *chat.Data) wire.Object {
	if d == nil || d.Data == nil {
		return wire.Object("{}")
	}
	return d.Data
}

// initialize asks an app where to send the user.
func (x *Extensions) initialize(ctx context.Context, app access.App, s spot, d *chat.Data) (string, error) {
	if n := len(s.Post); n > maxToken {
		return "", status.New(status.FailedPrecondition, "post_token: %d bytes; a session initialization carries at most %d", n, maxToken)
	}
	body, err := wire.Marshal(sessionBody{
		ReturnURL: s.returnURL, Source: s.Touchpoint, Post: orNull(s.Post), Conversation: orNull(s.Conversation),
		Side: orNull(sessionSides[s.side]), User: orNull(x.o.Access.UserID(app.Slug, s.User)),
		ExtraData: orEmpty(d), ProviderData: orEmpty(d),
	})
	if err != nil {
		return "", err
	}
	a, err := x.call(ctx, app, event.SessionInitialization, s.User, body)
	return a.url, err
}

// act asks an app what its button does.
func (x *Extensions) act(ctx context.Context, app access.App, s spot, d *chat.Data) (answer, error) {
	touchpoint := s.Touchpoint
	if touchpoint == sourceMessage {
		touchpoint = touchpointChat
	}
	body, err := wire.Marshal(actionBody{
		Touchpoint: touchpoint, Post: orNull(s.Post), Conversation: orNull(s.Conversation), Side: orNull(actionSides[s.side]),
		ExtraData: orEmpty(d), User: orNull(x.o.Access.UserID(app.Slug, s.User)),
	})
	if err != nil {
		return answer{}, err
	}
	return x.call(ctx, app, event.DynamicAction, s.User, body)
}

// answer is what an app answers: a session's URL; or an action, a text or both.
type answer struct {
	url    string
	action *chat.Action
	text   string
}

// call calls an app for a user who waits, and puts that on the app's log. An
// app that does not answer as it should is Unavailable, with the reason.
func (x *Extensions) call(ctx context.Context, app access.App, kind event.Type, user string, body []byte) (answer, error) {
	e := event.Event{Type: kind, At: x.o.Now(), Key: event.CallKey(user), User: user, Payload: body}
	o, err := x.outcome(ctx, app, e, delivery.ID{App: app.Slug}, whyOpened)
	if err == nil && o.problem != "" {
		err = status.New(status.Unavailable, "app %q cannot be opened: it %s", app.Slug, o.problem)
	}
	return o.answer, err
}

// Repeat makes a call of the log again, with the same body, for its app's
// developer to see what comes back; no user waits for it.
func (x *Extensions) Repeat(ctx context.Context, id delivery.ID) error {
	e, ok, err := x.o.Store.Call(ctx, id)
	switch {
	case err != nil:
		return err
	case !ok:
		return status.New(status.NotFound, "delivery %q is not a call", id)
	case e.Payload == nil:
		return status.New(status.FailedPrecondition, "delivery %q cannot be sent again: %s", id, delivery.ReasonErased)
	}
	app, err := x.app(ctx, id.App)
	if err != nil {
		return err
	}
	_, err = x.outcome(ctx, app, e, id, whyRepeated)
	return err
}

// outcome is what became of a call: an answer, or a problem with it, in words
// that follow "it".
type outcome struct {
	answer  answer
	problem string
}

// Tested is what came back from a call that nobody waited for.
type Tested struct {
	webhook.Result
	Body    []byte // what was asked
	Problem string // with the answer, in words that follow "it"; empty when it is as it should be
}

// Test makes a call of an app without a user, a post or a conversation, outside
// the log, for its developer to see what comes back.
func (x *Extensions) Test(ctx context.Context, slug string, kind event.Type) (Tested, error) {
	app, err := x.o.Access.App(ctx, slug)
	if err != nil {
		return Tested{}, err
	}
	empty := wire.Object("{}")
	body, err := wire.Marshal(sessionBody{ReturnURL: x.o.Home(), Source: touchpointChat, ExtraData: empty, ProviderData: empty})
	if kind == event.DynamicAction {
		body, err = wire.Marshal(actionBody{Touchpoint: touchpointChat, ExtraData: empty})
	}
	if err != nil {
		return Tested{}, err
	}
	request, err := requestOf(app, event.Event{Type: kind, Payload: body})
	if err != nil {
		return Tested{}, err
	}
	result := x.o.Client.Call(ctx, request)
	_, problem, err := x.judge(ctx, kind, result)
	return Tested{Result: result, Body: body, Problem: problem}, err
}

// requestOf is the request of a call, or why the app cannot be called.
func requestOf(app access.App, e event.Event) (webhook.Call, error) {
	request := webhook.Call{
		About: webhook.About{App: app.Slug, Type: string(e.Type)}, URL: app.SessionInitializationURL,
		IdentificationKey: app.IdentificationKey, Version: WireVersion, Body: e.Payload,
	}
	field := "session_initialization_url"
	if e.Type == event.DynamicAction {
		request.URL, request.Version, field = app.DynamicActionURL, "", "dynamic_action_url"
	}
	if request.URL == "" {
		return request, status.New(status.FailedPrecondition, "app %q has no %s; set it first", app.Slug, field)
	}
	return request, nil
}

// outcome makes a call and writes down how it went. Failure policy: the user
// has an answer even when the log has no place for it.
func (x *Extensions) outcome(ctx context.Context, app access.App, e event.Event, id delivery.ID, why string) (o outcome, err error) {
	request, err := requestOf(app, e)
	if err != nil {
		return o, err
	}
	leave, ok := x.underWay.Enter(app.Slug)
	if !ok {
		x.calls[called{e.Type, outcomeBusy}].Inc()
		return o, status.New(status.Unavailable, "app %q cannot be opened: %d calls wait for its answer already", app.Slug, maxBusy)
	}
	defer leave()
	at := x.o.Now()
	// Also when the marketplace hangs up: the app is asked, and its log says so.
	ctx, span := x.span(ctx, app.Slug, e.Type)
	defer span.End()
	result := x.o.Client.Call(context.WithoutCancel(ctx), request)
	o.answer, o.problem, err = x.judge(ctx, e.Type, result)
	x.calls[called{e.Type, outcomeOf(result, o.problem)}].Inc()
	if err != nil {
		return o, err
	}
	record := delivery.Outcome{ID: id, State: delivery.Delivered, Attempt: &delivery.Attempt{
		At: at, Duration: result.Duration, Request: result.Request, Status: result.Status, Why: why,
		Answer: result.Answer[:min(len(result.Answer), webhook.MaxAnswer)],
	}}
	if o.problem != "" {
		record.State, record.Reason, record.Attempt.Error = delivery.Exhausted, o.problem, o.problem
	}
	verdict := webhook.Verdict{State: string(record.State), Reason: record.Reason}
	id, err = x.o.Store.RecordCall(context.WithoutCancel(ctx), e, record)
	if err != nil {
		x.o.Log.ErrorContext(ctx, "a call is not on the app's log", "app", app.Slug, "err", err)
	} else {
		verdict.Delivery = id.String()
	}
	result.Judged(verdict)
	if span.IsRecording() {
		span.SetAttributes(attribute.String("openkenar.delivery", id.String()),
			attribute.String("openkenar.result", string(result.Reason)), attribute.Int("http.status_code", result.Status))
		if o.problem != "" {
			span.SetStatus(codes.Error, o.problem)
		}
	}
	attrs := []slog.Attr{
		slog.String("delivery", id.String()), slog.String("app", app.Slug), slog.String("type", string(e.Type)),
		slog.String("result", string(result.Reason)), slog.Int("status", result.Status), slog.Duration("duration", result.Duration),
	}
	if o.problem != "" {
		attrs = append(attrs, slog.String("error", o.problem))
	}
	x.o.Log.LogAttrs(ctx, slog.LevelInfo, "app called", attrs...)
	return o, nil
}

// span begins what traces tell of a call; where nobody traces, it records
// nothing.
func (x *Extensions) span(ctx context.Context, app string, kind event.Type) (context.Context, trace.Span) {
	if x.o.Tracer == nil {
		return ctx, trace.SpanFromContext(ctx)
	}
	return x.o.Tracer.Start(ctx, "app call", trace.WithSpanKind(trace.SpanKindClient), trace.WithAttributes(
		attribute.String("openkenar.app", app), attribute.String("openkenar.type", string(kind)),
	))
}

// judge takes an app's answer, or says what is wrong with it; the error is
// ours.
func (x *Extensions) judge(ctx context.Context, kind event.Type, r webhook.Result) (a answer, problem string, err error) {
	switch {
	case r.Reason == webhook.HTTPStatus, r.Reason == webhook.TooLarge:
		return a, r.Error, nil
	case r.Reason == webhook.TimedOut:
		return a, "gave " + r.Error, nil
	case r.Reason != webhook.OK:
		return a, "was not reached: " + r.Error, nil
	case r.Status != 200:
		return a, fmt.Sprintf("answered %d, want 200", r.Status), nil
	case kind == event.SessionInitialization:
		a, problem = x.judgeSession(r.Answer)
		return a, problem, nil
	default:
		return x.judgeAction(ctx, r.Answer)
	}
}

func (x *Extensions) judgeSession(body []byte) (answer, string) {
	var in sessionAnswer
	if err := wire.Unmarshal(body, &in); err != nil {
		return answer{}, "gave an answer that cannot be read: " + status.Of(err).Message
	}
	if problem := x.checkPage(in.URL); problem != "" {
		return answer{}, "gave a url that cannot be opened: " + problem
	}
	return answer{url: in.URL}, ""
}

func (x *Extensions) judgeAction(ctx context.Context, body []byte) (a answer, problem string, err error) {
	var in actionAnswer
	if err := wire.Unmarshal(body, &in); err != nil {
		return a, "gave an answer that cannot be read: " + status.Of(err).Message, nil
	}
	const wrong = "gave a wrong answer: "
	a = answer{action: in.Action, text: in.Text}
	if in.Action == nil && in.Text == "" {
		return a, wrong + "neither an action nor a text_message", nil
	}
	if err := wire.MaxText("text_message", in.Text, maxText); err != nil {
		return a, wrong + status.Of(err).Message, nil
	}
	if in.Action == nil {
		return a, "", nil
	}
	if err := in.Action.Check("action"); err != nil {
		return a, wrong + status.Of(err).Message, nil
	}
	switch {
	case in.Action.DynamicAction != nil:
		return a, wrong + "action.get_dynamic_action: a dynamic action does not lead to another", nil
	case in.Action.DirectLink != "":
		if problem := x.checkPage(in.Action.DirectLink); problem != "" {
			return a, wrong + "action.open_direct_link: " + problem, nil
		}
	}
	for _, page := range []*chat.PostRef{in.Action.PostPage, in.Action.PostManagePage} {
		if page == nil {
			continue
		}
		if there, err := x.isThere(ctx, page.Token); err != nil || !there {
			return a, fmt.Sprintf("%saction: there is no post %q", wrong, page.Token), err
		}
	}
	return a, "", nil
}

// isThere says whether a post is there to be seen.
func (x *Extensions) isThere(ctx context.Context, post string) (bool, error) {
	p, ok, err := x.o.Store.Post(ctx, post)
	return ok && p.State != market.Archived, err
}

// checkPage says what is wrong with a URL that an app wants a user sent to.
func (x *Extensions) checkPage(raw string) (problem string) {
	u, err := wire.Page(raw)
	switch {
	case err != nil:
		return err.Error()
	case u.Scheme == "http" && !x.o.Guard.Names(u.Hostname()):
		return "plain http; https is needed"
	}
	return ""
}

// checkReturn refuses a place to go back to that is none: a page, or a place
// in the marketplace's own app by a scheme of its own.
func checkReturn(raw string) error {
	if raw == "" {
		return nil
	}
	u, err := url.Parse(raw)
	noPlaces := []string{"", "javascript", "vbscript", "data", "blob", "file", "about"}
	switch {
	case utf8.RuneCountInString(raw) > wire.MaxPage:
		return status.New(status.Invalid, "return_url: more than %d characters", wire.MaxPage)
	case err != nil || slices.Contains(noPlaces, u.Scheme) || !utf8.ValidString(raw):
		return status.New(status.Invalid, "return_url: not an absolute URL")
	}
	for _, r := range raw {
		if unicode.IsControl(r) || unicode.IsSpace(r) {
			return status.New(status.Invalid, "return_url: white space and control characters must be escaped")
		}
	}
	return nil
}
