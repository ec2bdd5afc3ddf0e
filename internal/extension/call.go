package extension

import (
	"context"
	"fmt"
	"log/slog"
	"net/url"
	"strings"
	"unicode"

	"github.com/openkenar/openkenar/internal/access"
	"github.com/openkenar/openkenar/internal/chat"
	"github.com/openkenar/openkenar/internal/delivery"
	"github.com/openkenar/openkenar/internal/event"
	"github.com/openkenar/openkenar/internal/status"
	"github.com/openkenar/openkenar/internal/webhook"
	"github.com/openkenar/openkenar/internal/wire"
)

const (
	// maxURL is the longest URL that we send or take, in characters.
	maxURL = 2048
	// maxToken is the longest post token that a session carries, in characters.
	maxToken = 10
	// maxBusy is how many calls of one app may be under way.
	maxBusy = 64
	// maxText is the longest text of a dynamic action's answer, in characters.
	maxText = 4096
	// wireVersion is that of session initialization.
	wireVersion = "2"
)

// Why a call is made, as the log has it.
const (
	whyOpened   = "a user waits for it"
	whyRepeated = "repeated by hand"
)

// situation is what an app is told of where it is opened.
type situation struct {
	source, user, returnURL string
	conversation, post      string // "" for none
	side                    chat.Side
}

// from is the situation of who opens an app at the spot.
func (s spot) from(source, returnURL string) situation {
	return situation{
		source: source, user: s.User, returnURL: returnURL, conversation: s.Conversation, post: s.Post, side: s.side,
	}
}

// session is the body of a session initialization; the order of its fields is
// the contract's.
type session struct {
	ReturnURL    string      `json:"return_url"`
	Source       string      `json:"source"`
	Post         *string     `json:"post_token"`
	Conversation *string     `json:"conversation_id"`
	Side         *string     `json:"user_side"`
	User         *string     `json:"user_id"`
	ExtraData    wire.Object `json:"extra_data"`
	ProviderData wire.Object `json:"provider_data"` // the same (contract, section 9)
}

// action is the body of a dynamic action.
type action struct {
	Touchpoint   string      `json:"touchpoint"`
	Post         *string     `json:"post_token"`
	Conversation *string     `json:"conversation_id"`
	Side         *string     `json:"user_side"`
	ExtraData    wire.Object `json:"extra_data"`
	User         *string     `json:"user_id"`
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

// initialize asks an app where to send the user.
func (x *Extensions) initialize(ctx context.Context, app access.App, s situation, data wire.Object) (string, error) {
	if n := len(s.post); n > maxToken {
		return "", status.New(status.FailedPrecondition, "post_token: %d characters; a session initialization carries at most %d", n, maxToken)
	}
	returnURL := s.returnURL
	if returnURL == "" {
		returnURL = x.o.Home()
	}
	body, err := wire.Marshal(session{
		ReturnURL: returnURL, Source: s.source, Post: orNull(s.post), Conversation: orNull(s.conversation),
		Side: orNull(sessionSides[s.side]), User: orNull(x.o.Access.UserID(app.Slug, s.user)), ExtraData: data, ProviderData: data,
	})
	if err != nil {
		return "", err
	}
	answer, err := x.call(ctx, app, event.SessionInitialization, s.user, body)
	return answer.URL, err
}

// act asks an app what its button does.
func (x *Extensions) act(ctx context.Context, app access.App, s situation, data wire.Object) (answered, error) {
	touchpoint := touchpointChat
	if s.source == sourceNotification {
		touchpoint = s.source
	}
	body, err := wire.Marshal(action{
		Touchpoint: touchpoint, Post: orNull(s.post), Conversation: orNull(s.conversation), Side: orNull(actionSides[s.side]),
		ExtraData: data, User: orNull(x.o.Access.UserID(app.Slug, s.user)),
	})
	if err != nil {
		return answered{}, err
	}
	return x.call(ctx, app, event.DynamicAction, s.user, body)
}

// answered is what an app may answer: a session's URL, or a dynamic action.
type answered struct {
	URL    string       `json:"url"`
	Action *chat.Action `json:"action"`
	Text   string       `json:"text_message"`
}

// call calls an app for a user who waits, and puts that on the app's log. An
// app that does not answer as it should is Unavailable, with the reason.
func (x *Extensions) call(ctx context.Context, app access.App, kind event.Type, user string, body []byte) (answered, error) {
	e := event.Event{Type: kind, At: x.o.Now(), Key: event.CallKey(user), Payload: body}
	answer, problem, err := x.attempt(ctx, app, e, delivery.Outcome{
		ID: delivery.ID{App: app.Slug}, Attempt: &delivery.Attempt{Why: whyOpened},
	})
	if err == nil && problem != "" {
		err = status.New(status.Unavailable, "app %q cannot be opened: %s", app.Slug, problem)
	}
	return answer, err
}

// attempt makes a call and writes its outcome down. The user has an answer even
// when the log has no place for it.
func (x *Extensions) attempt(ctx context.Context, app access.App, e event.Event, o delivery.Outcome) (a answered, problem string, err error) {
	field, target := "session_initialization_url", app.SessionInitializationURL
	request := webhook.Call{IdentificationKey: app.IdentificationKey, Version: wireVersion, Body: e.Payload}
	if e.Type == event.DynamicAction {
		field, target, request.Version = "dynamic_action_url", app.DynamicActionURL, ""
	}
	if request.URL = target; target == "" {
		return a, "", status.New(status.FailedPrecondition, "app %q has no %s; set it first", app.Slug, field)
	}
	leave, ok := x.enter(app.Slug)
	if !ok {
		return a, "", status.New(status.Unavailable, "app %q cannot be opened: %d calls wait for its answer already", app.Slug, maxBusy)
	}
	o.Attempt.At = x.o.Now()
	result := x.o.Client.Call(ctx, request)
	leave()
	a, problem = x.read(e.Type, result)
	o.Attempt.Duration, o.Attempt.Request, o.Attempt.Status = result.Duration, result.Request, result.Status
	o.Attempt.Answer, o.Attempt.Error = result.Answer[:min(len(result.Answer), webhook.MaxAnswer)], problem
	if o.State, o.Reason = delivery.Delivered, ""; problem != "" {
		o.State, o.Reason = delivery.Exhausted, problem
	}
	id, err := x.o.Store.RecordCall(context.WithoutCancel(ctx), e, o)
	attrs := []slog.Attr{
		slog.String("delivery", id.String()), slog.String("app", app.Slug), slog.String("type", string(e.Type)),
		slog.String("result", string(result.Reason)), slog.Int("status", result.Status), slog.Duration("duration", result.Duration),
	}
	if problem != "" {
		attrs = append(attrs, slog.String("error", problem))
	}
	x.o.Log.LogAttrs(ctx, slog.LevelInfo, "app called", attrs...)
	if err != nil {
		x.o.Log.ErrorContext(ctx, "a call is not on the app's log", "app", app.Slug, "err", err)
	}
	return a, problem, nil
}

// enter makes sure that one app's slowness does not hold everything that we
// have to wait with.
func (x *Extensions) enter(app string) (leave func(), ok bool) {
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.busy[app] >= maxBusy {
		return nil, false
	}
	x.busy[app]++
	return func() {
		x.mu.Lock()
		defer x.mu.Unlock()
		if x.busy[app]--; x.busy[app] == 0 {
			delete(x.busy, app)
		}
	}, true
}

// read takes an app's answer, or says what is wrong with it.
func (x *Extensions) read(kind event.Type, r webhook.Result) (a answered, problem string) {
	switch {
	case r.Reason != webhook.OK:
		return a, "it " + strings.TrimPrefix(said(r.Error), "it ")
	case r.Status != 200:
		return a, fmt.Sprintf("it answered %d, want 200", r.Status)
	}
	if err := wire.Unmarshal(r.Answer, &a); err != nil {
		return answered{}, "its answer cannot be read: " + status.Of(err).Message
	}
	if kind == event.SessionInitialization {
		a = answered{URL: a.URL}
		if problem := x.checkPage(a.URL); problem != "" {
			return answered{}, "the url in its answer " + problem
		}
		return a, ""
	}
	a.URL = ""
	if problem := x.checkAction(a); problem != "" {
		return answered{}, problem
	}
	return a, ""
}

// said makes a sentence's end of an error.
func said(problem string) string {
	switch {
	case strings.HasPrefix(problem, "answered "):
		return problem
	case strings.HasPrefix(problem, "no answer"):
		return "gave " + problem
	default:
		return "was not reached: " + problem
	}
}

func (x *Extensions) checkAction(a answered) string {
	if a.Action == nil && a.Text == "" {
		return "its answer has neither an action nor a text_message"
	}
	if err := wire.MaxText("text_message", a.Text, maxText); err != nil {
		return "its answer is wrong: " + status.Of(err).Message
	}
	if a.Action == nil {
		return ""
	}
	if err := a.Action.Check("action"); err != nil {
		return "its answer is wrong: " + status.Of(err).Message
	}
	if a.Action.DynamicAction != nil {
		return "its answer is wrong: action.get_dynamic_action: a dynamic action does not lead to another"
	}
	if a.Action.DirectLink != "" {
		if problem := x.checkPage(a.Action.DirectLink); problem != "" {
			return "action.open_direct_link in its answer " + problem
		}
	}
	return ""
}

// checkPage says what is wrong with a URL that an app wants a user sent to.
func (x *Extensions) checkPage(raw string) (problem string) {
	if raw == "" {
		return "is missing or empty"
	}
	if n := len([]rune(raw)); n > maxURL {
		return fmt.Sprintf("has %d characters, want at most %d", n, maxURL)
	}
	u, err := url.Parse(raw)
	switch {
	case err != nil || strings.ContainsFunc(raw, func(r rune) bool { return unicode.IsSpace(r) || unicode.IsControl(r) || r == '\\' }):
		return "is not a URL"
	case u.Scheme != "https" && u.Scheme != "http" || u.Hostname() == "":
		return "is not an absolute https URL"
	case u.User != nil:
		return "has a user name or password in it"
	case u.Scheme == "http" && !x.o.Guard.Names(u.Hostname()):
		return "is plain http; https is needed"
	}
	return ""
}

// checkReturn refuses a place to go back to that is none.
func (x *Extensions) checkReturn(raw string) error {
	if raw == "" {
		return nil
	}
	u, err := url.Parse(raw)
	switch {
	case len(raw) > maxURL:
		return status.New(status.Invalid, "return_url: %d bytes, want at most %d", len(raw), maxURL)
	case err != nil || u.Scheme == "" || u.Scheme == "javascript" || u.Scheme == "data" || strings.ContainsFunc(raw, unicode.IsControl):
		return status.New(status.Invalid, "return_url: not an absolute URL")
	default:
		return nil
	}
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
	_, _, err = x.attempt(ctx, app, e, delivery.Outcome{ID: id, Attempt: &delivery.Attempt{Why: whyRepeated}})
	return err
}
