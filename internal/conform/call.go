package conform

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/google/uuid"

	"github.com/openkenar/openkenar/internal/chat"
	"github.com/openkenar/openkenar/internal/status"
	"github.com/openkenar/openkenar/internal/webhook"
	"github.com/openkenar/openkenar/internal/wire"
)

const (
	sessionBody = `{"return_url":"https://market.example/chat","source":"CHAT","post_token":"$post","conversation_id":"$conversation",` +
		`"user_side":"Supply","user_id":"$user","extra_data":{},"provider_data":{}}`
	sessionNulls = `{"return_url":"https://market.example/","source":"CHAT","post_token":null,"conversation_id":null,` +
		`"user_side":null,"user_id":null,"extra_data":{},"provider_data":{}}`
	actionBody = `{"touchpoint":"CHAT","post_token":"$post","conversation_id":"$conversation","user_side":"SUPPLY",` +
		`"extra_data":$data,"user_id":"$user"}`
	actionNulls = `{"touchpoint":"CHAT","post_token":null,"conversation_id":null,"user_side":null,"extra_data":{},"user_id":null}`

	callsAtOnce  = 16   // users who open the app at the same time
	maxReturnURL = 2048 // characters
	maxText      = 4096 // characters of a dynamic action's answer
)

// asked is what an app is asked, with what is special about it.
type asked struct{ label, body string }

// ask makes calls, one after another; each must be answered as the platform
// wants it.
func (r *run) ask(ctx context.Context, t Target, calls ...asked) verdict {
	var problems []string
	for _, c := range calls {
		if problem := r.problem(t, r.call(ctx, t, "", r.callBody(c.body))); problem != "" {
			problems = append(problems, c.label+": the app "+problem)
		}
	}
	if len(problems) > 0 {
		return failed("%s", strings.Join(problems[:min(len(problems), maxNamed)], "; "))
	}
	return passed()
}

func (r *run) callBody(text string) []byte {
	refs := []string{uuid.NewString(), uuid.NewString(), token(8)}
	return []byte(r.filled(swap(text, "$data", string(r.o.ActionData)), time.Now(), refs))
}

// problem says what the platform would find wrong with an answer, in words
// that follow "the app"; "" for nothing.
func (r *run) problem(t Target, p reply) string {
	switch {
	case p.Reason != webhook.OK:
		return p.says()
	case p.Status != http.StatusOK:
		return fmt.Sprintf("answered %d, want 200", p.Status)
	case t == Session:
		return sessionProblem(p.Answer)
	}
	return actionProblem(p.Answer)
}

func sessionProblem(answer []byte) string {
	var in struct {
		URL string `json:"url"`
	}
	if err := wire.Unmarshal(answer, &in); err != nil {
		return "gave an answer that cannot be read: " + status.Of(err).Message
	}
	if problem := pageProblem(in.URL); problem != "" {
		return "gave a url that cannot be opened: " + problem
	}
	return ""
}

func actionProblem(answer []byte) string {
	var in struct {
		Action *chat.Action `json:"action"`
		Text   string       `json:"text_message"`
	}
	if err := wire.Unmarshal(answer, &in); err != nil {
		return "gave an answer that cannot be read: " + status.Of(err).Message
	}
	if in.Action == nil && in.Text == "" {
		return "gave neither an action nor a text_message"
	}
	if err := wire.MaxText("text_message", in.Text, maxText); err != nil {
		return "gave a wrong answer: " + status.Of(err).Message
	}
	if in.Action == nil {
		return ""
	}
	if err := in.Action.Check("action"); err != nil {
		return "gave a wrong answer: " + status.Of(err).Message
	}
	if in.Action.DynamicAction != nil {
		return "gave action.get_dynamic_action: a dynamic action does not lead to another"
	}
	if in.Action.DirectLink != "" {
		if problem := pageProblem(in.Action.DirectLink); problem != "" {
			return "gave an action.open_direct_link that cannot be opened: " + problem
		}
	}
	return ""
}

// pageProblem says what is wrong with a URL that a user is sent to; plain http
// is for this machine alone, in dev mode.
func pageProblem(raw string) string {
	u, err := wire.Page(raw)
	switch {
	case err != nil:
		return err.Error()
	case u.Scheme == "http" && !webhook.NewGuard(webhook.Loopback()...).Names(u.Hostname()):
		return "plain http; https is needed"
	}
	return ""
}

// variants is a check that makes calls with something special about each.
func variants(t Target, calls ...asked) func(context.Context, *run) verdict {
	return func(ctx context.Context, r *run) verdict { return r.ask(ctx, t, calls...) }
}

func clicksTwice(ctx context.Context, r *run) verdict {
	body := string(r.callBody(actionBody))
	return r.ask(ctx, Action, asked{"the first click", body}, asked{"the second one", body})
}

// keyed is a check that calls with a key that is not the app's.
func keyed(t Target, what string, key func(right string) string) func(context.Context, *run) verdict {
	return func(ctx context.Context, r *run) verdict {
		if t == Event {
			return locked(what, r.send(ctx, hook{sample: r.ordinary(), key: key(r.o.IdentificationKey)}))
		}
		body := sessionBody
		if t == Action {
			body = actionBody
		}
		return locked(what, r.call(ctx, t, key(r.o.IdentificationKey), r.callBody(body)))
	}
}

func missingKey(string) string { return noKey }

// wrongKey is as long as the right one, and differs in its last character alone.
func wrongKey(right string) string {
	last := "x"
	if strings.HasSuffix(right, last) {
		last = "y"
	}
	return right[:len(right)-1] + last
}

// together is a check that makes calls at the same time.
func together(t Target, body string) func(context.Context, *run) verdict {
	return func(ctx context.Context, r *run) verdict {
		problems := make([]string, callsAtOnce)
		var asking sync.WaitGroup
		for i := range problems {
			asking.Go(func() { problems[i] = r.problem(t, r.call(ctx, t, "", r.callBody(body))) })
		}
		asking.Wait()
		bad, says := 0, ""
		for _, problem := range problems {
			if problem != "" {
				bad++
				says = problem
			}
		}
		if bad > 0 {
			return failed("of %d calls at the same time, %d went wrong; in one the app %s", callsAtOnce, bad, says)
		}
		return passed()
	}
}
