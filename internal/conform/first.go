package conform

import (
	"context"
	"errors"
	"fmt"
	"net/http"

	"github.com/openkenar/openkenar/internal/webhook"
)

// The checks that the first call of a target decides.
var (
	firstOfEvent   = []string{"answer/status", "key/refused", "answer/redirect", "answer/late", "answer/broken", "answer/size"}
	firstOfSession = []string{"session/answer", "session/key-refused"}
	firstOfAction  = []string{"action/answer", "action/key-refused"}
)

// first makes the first call of a target and says whether there is sense in
// more. An error says that nobody is there.
func (r *run) first(ctx context.Context, t Target) (ok bool, err error) {
	var p reply
	var ids []string
	target := r.o.EventURL
	switch t {
	case Event:
		ids, p = firstOfEvent, r.send(ctx, hook{sample: r.ordinary()})
	case Session:
		ids, target, p = firstOfSession, r.o.SessionURL, r.call(ctx, t, "", r.callBody(sessionBody))
	case Action:
		ids, target, p = firstOfAction, r.o.ActionURL, r.call(ctx, t, "", r.callBody(actionBody))
	}
	if ctx.Err() != nil {
		return false, fmt.Errorf("the time was up before %s was answered; give the run longer", target)
	}
	if !p.connected {
		if errors.Is(p.err, ErrPublic) {
			return false, fmt.Errorf("the %s URL %s is not called: %w, and these checks are for an app of your own", t, target, ErrPublic)
		}
		return false, fmt.Errorf("the %s URL %s cannot be reached: %s; is the app running, and is this its address?", t, target, p.Error)
	}
	wrong, v := "", verdict{}
	if t == Event {
		wrong, v = r.firstOfEvent(p)
	} else if problem := r.problem(t, p); problem != "" {
		wrong, v = ids[0], failed("the app %s", problem)
		if p.Status == http.StatusUnauthorized || p.Status == http.StatusForbidden {
			wrong = ids[1]
		}
	}
	for _, c := range Checks() {
		for _, id := range ids {
			switch {
			case c.ID != id:
			case id == wrong:
				r.record(c, v, p.Duration)
			case r.wanted(c) && (wrong == "" || p.accepted()):
				r.record(c, passed(), p.Duration)
			}
		}
	}
	return wrong == "" || t == Event && p.accepted(), nil
}

// firstOfEvent says which check the answer to the first webhook fails, if any.
func (r *run) firstOfEvent(p reply) (id string, v verdict) {
	const what = "an ordinary webhook"
	switch {
	case p.accepted() && p.endless:
		return "answer/size", failed("the app answered %s with so much that the platform stopped reading", what)
	case p.accepted():
		return "", verdict{}
	case p.Status == http.StatusUnauthorized, p.Status == http.StatusForbidden:
		return "key/refused", failed("the app %s to %s with the identification key that was given", p.says(), what)
	case p.Status >= 300 && p.Status < 400:
		return "answer/redirect", failed("the app answered %d to %s", p.Status, what)
	case p.Reason == webhook.TimedOut:
		return "answer/late", failed("the app %s to %s", p.says(), what)
	case p.Reason == webhook.HTTPStatus:
		return "answer/status", failed("the app %s to %s", p.says(), what)
	}
	return "answer/broken", failed("the app %s, to %s", p.says(), what)
}
