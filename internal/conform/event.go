package conform

import (
	"bytes"
	"context"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/openkenar/openkenar/internal/event"
	"github.com/openkenar/openkenar/internal/webhook"
)

const (
	many         = 32               // webhooks in parallel; the platform goes up to 64
	largest      = 64<<10 + 4<<10   // bytes: a post's data and a subscription's metadata
	huge         = 1 << 20          // bytes
	daysLate     = 72 * time.Hour   // about as long as the platform tries
	outOfWindow  = 10 * time.Minute // twice what a signature may be off
	attemptsLate = 9                // by then
	maxNamed     = 3                // problems that one finding names
	dripped      = 8 << 10          // bytes: more than a slow sender gets rid of
)

// labelled is a webhook with what is special about it.
type labelled struct {
	label string
	hook
}

// accept sends webhooks, one after another; each must be accepted.
func (r *run) accept(ctx context.Context, hooks ...labelled) verdict {
	var problems []string
	for _, h := range hooks {
		if p := r.send(ctx, h.hook); !p.accepted() {
			problems = append(problems, fmt.Sprintf("%s: the app %s", h.label, p.says()))
		}
	}
	if len(problems) == 0 {
		return passed()
	}
	if more := len(problems) - maxNamed; more > 0 {
		problems = append(problems[:maxNamed], fmt.Sprintf("and %d more", more))
	}
	return failed("%s", strings.Join(problems, "; "))
}

// plain is a webhook, sent as the platform would.
func plain(label string, s sample) labelled { return labelled{label, hook{sample: s}} }

// locked judges the answer to a request that comes from nobody who may send.
func locked(what string, p reply) verdict {
	switch {
	case p.accepted():
		return failed("the app answered %d to %s", p.Status, what)
	case p.Status == http.StatusUnauthorized, p.Status == http.StatusForbidden:
		return passed()
	}
	return warned("the app %s to %s; it should be 401 or 403, so that whoever operates it sees what is wrong", p.says(), what)
}

// unread judges the answer to what the app cannot have read.
func unread(what string, p reply) verdict {
	switch {
	case p.accepted():
		return failed("the app answered %d to %s", p.Status, what)
	case p.Reason == webhook.TimedOut:
		return failed("the app gave no answer to %s and kept the connection open", what)
	}
	return passed()
}

// notTheirs signs what the app must not believe.
const notTheirs = "a key that is not the app's own..."

func unsigned() verdict { return verdict{Skipped, "no signing secret was given", ""} }

// signed is a check of a webhook whose signature is wrong in some way.
func signed(what string, wrong func(*run) hook) func(context.Context, *run) verdict {
	return func(ctx context.Context, r *run) verdict {
		if r.secrets == nil {
			return unsigned()
		}
		h := wrong(r)
		h.sample = r.ordinary()
		if p := r.send(ctx, h); p.accepted() {
			return failed("the app answered %d to %s", p.Status, what)
		}
		return passed()
	}
}

// carryingMetadata is a check of a message with some metadata.
func carryingMetadata(what, meta string) func(context.Context, *run) verdict {
	return func(ctx context.Context, r *run) verdict {
		return r.accept(ctx, plain(what, r.with(meta, event.NewMessageOnPost, postMessage)))
	}
}

func rotated(ctx context.Context, r *run) verdict {
	if r.secrets == nil {
		return unsigned()
	}
	return r.accept(ctx, labelled{"two signatures, the second the app's", hook{sample: r.ordinary(), secrets: append([][]byte{[]byte(notTheirs)}, r.secrets...)}})
}

func daysLater(ctx context.Context, r *run) verdict {
	s := r.at(time.Now().Add(-daysLate), event.NewMessageOnPost, postMessage)
	return r.accept(ctx, labelled{"a message of three days ago", hook{sample: s, attempt: attemptsLate}})
}

func cutJSON(ctx context.Context, r *run) verdict {
	s := r.ordinary()
	s.body = s.body[:len(s.body)/2]
	return unread("half a JSON body", r.send(ctx, hook{sample: s}))
}

func emptyBody(ctx context.Context, r *run) verdict {
	s := r.ordinary()
	s.body = nil
	return unread("an empty body", r.send(ctx, hook{sample: s}))
}

func form(ctx context.Context, r *run) verdict {
	s := r.ordinary()
	s.body = []byte("type=NEW_MESSAGE&text=Hello")
	form := changed(func(req *http.Request) { req.Header["Content-Type"] = []string{"application/x-www-form-urlencoded"} })
	return unread("a form instead of JSON", r.send(ctx, hook{sample: s, way: form}))
}

func gets(ctx context.Context, r *run) verdict {
	get := changed(func(req *http.Request) {
		req.Method, req.Body, req.ContentLength, req.GetBody = http.MethodGet, nil, 0, nil
		req.Header.Del("Content-Type")
	})
	return unread("GET", r.send(ctx, hook{sample: r.ordinary(), way: get}))
}

func largestBody(ctx context.Context, r *run) verdict {
	return r.accept(ctx, plain("a post update of 68 KiB", r.padded(largest)))
}

func cutBody(ctx context.Context, r *run) verdict {
	return unread("a body that ends before its Content-Length", r.send(ctx, hook{sample: r.ordinary(), way: broken}))
}

func afterwards(ctx context.Context, r *run) verdict {
	return r.accept(ctx, plain("an ordinary webhook after all other checks", r.ordinary()))
}

func orders(ctx context.Context, r *run) verdict {
	now := time.Now()
	newer, older := r.at(now, event.NewMessageOnPost, postMessage), r.at(now.Add(-time.Minute), event.NewMessageOnPost, postMessage)
	older.body = bytes.ReplaceAll(older.body, []byte(older.refs[0]), []byte(newer.refs[0])) // the same conversation
	return r.accept(ctx, plain("the newer message", newer), plain("the older one after it", older))
}

func repeats(ctx context.Context, r *run) verdict {
	var hooks []labelled
	for _, k := range kinds {
		s := r.of(k.event, k.payload)
		hooks = append(hooks, plain(k.name, s), labelled{k.name + ", repeated", hook{sample: s, attempt: 2}})
	}
	return r.accept(ctx, hooks...)
}

func unknownTypes(ctx context.Context, r *run) verdict {
	return r.accept(ctx,
		plain("type NEW_THING", r.raw(`{"type":"NEW_THING","metadata":$metadata,"new_thing":{"id":"$message"}}`)),
		plain("a type and nothing of it", r.raw(`{"type":"NEW_THING","metadata":$metadata}`)))
}

func unknownFields(ctx context.Context, r *run) verdict {
	deep := swap(postMessage, `"text":$text`, `"text":$text,"new_field":{"a":[1,null]}`, `"HUMAN"`, `"HUMAN","new_field":1`, `"POST"`, `"POST","new_field":null`)
	top := r.ordinary()
	top.body = append(bytes.TrimSuffix(top.body, []byte("}")), `,"new_field":{"a":1}}`...)
	return r.accept(ctx, plain("beside the type", top),
		plain("in the message, its sender and its conversation", r.of(event.NewMessageOnPost, deep)),
		plain("in the post", r.of(event.PostUpdate, swap(postUpdate, `"city"`, `"new_field":[],"city"`))),
		plain("in the transaction", r.of(event.PaymentTransaction, swap(transaction, `"state"`, `"new_field":"","state"`))))
}

func unknownEnums(ctx context.Context, r *run) verdict {
	return r.accept(ctx,
		plain("message type STICKER", r.of(event.NewMessageOnPost, swap(postMessage, `"TEXT"`, `"STICKER"`, `"text":$text`, `"sticker_data":{"id":"s"}`))),
		plain("sender type SYSTEM", r.of(event.NewChatbotMessage, swap(botMessage, `"HUMAN"`, `"SYSTEM"`))),
		plain("conversation type GROUP", r.of(event.NewMessageOnPost, swap(postMessage, `"POST"`, `"GROUP"`))),
		plain("post update PROMOTE", r.of(event.PostUpdate, swap(postUpdate, `"PUBLISH"`, `"PROMOTE"`))),
		plain("post state FROZEN", r.of(event.PostUpdate, swap(postUpdate, `"PUBLISHED"`, `"FROZEN"`))),
		plain("transaction state DISPUTED", r.of(event.PaymentTransaction, swap(transaction, `PENDING`, `DISPUTED`))))
}

// typed is a check of one event type: every payload that it can have.
func typed(t event.Type) func(context.Context, *run) verdict {
	return func(ctx context.Context, r *run) verdict {
		var hooks []labelled
		for i, payload := range payloads[t] {
			hooks = append(hooks, plain(fmt.Sprintf("%s, variant %d", t, i+1), r.of(t, payload)))
		}
		return r.accept(ctx, hooks...)
	}
}

// carrying is a check of one message type, on posts and to the bot.
func carrying(typ string) func(context.Context, *run) verdict {
	return func(ctx context.Context, r *run) verdict {
		var hooks []labelled
		for _, c := range contents {
			if c.typ != typ {
				continue
			}
			for _, k := range kinds {
				hooks = append(hooks, plain(k.name+" of type "+typ, r.of(k.event, swap(k.payload, `"TEXT"`, `"`+typ+`"`, `"text":$text`, c.field))))
			}
		}
		return r.accept(ctx, hooks...)
	}
}

func hugeBody(ctx context.Context, r *run) verdict {
	switch p := r.send(ctx, hook{sample: r.padded(huge), way: whole}); {
	case p.accepted(), p.Status == http.StatusRequestEntityTooLarge:
		return passed()
	case p.Reason == webhook.Transport:
		return warned("the app broke the connection at a body of 1 MiB: %s", p.Error)
	default:
		return failed("the app %s to a body of 1 MiB; it should be 2xx or 413", p.says())
	}
}

func parallel(ctx context.Context, r *run) verdict {
	if bad, says := r.atOnce(ctx, many); bad > 0 {
		return failed("of %d webhooks at the same time, %d were not accepted; to one the app %s", many, bad, says)
	}
	return passed()
}

// atOnce sends ordinary webhooks at the same time, and says how many were not
// accepted, and what one of those came to.
func (r *run) atOnce(ctx context.Context, n int) (bad int, says string) {
	replies := make([]reply, n)
	var sending sync.WaitGroup
	for i := range replies {
		sending.Go(func() { replies[i] = r.send(ctx, hook{sample: r.ordinary()}) })
	}
	sending.Wait()
	for _, p := range replies {
		if !p.accepted() {
			bad++
			says = p.says()
		}
	}
	return bad, says
}

// kind is a kind of event that apps act on.
type kind struct {
	name    string
	event   event.Type
	payload string
}

var kinds = []kind{
	{"a message to the bot", event.NewChatbotMessage, botMessage},
	{"a message on a post", event.NewMessageOnPost, postMessage},
}

const (
	noPlatform = "whether the app acts cannot be seen: let it call conform as its platform (--platform-listen)"
	noActs     = "the app sent nothing when a message came; if it acts on certain texts only, give one (--text)"
	someActs   = "the app acts on some messages, and did not on this one"
)

// acting runs a check for each kind of event that the app acts on; the check is
// told how many acts one webhook gives.
func (r *run) acting(ctx context.Context, check func(k kind, usual int) verdict) verdict {
	if r.platform == nil {
		return notSeen(noPlatform)
	}
	all := notSeen(noActs)
	for _, k := range kinds {
		usual := r.habit(ctx, k)
		if usual == 0 {
			continue
		}
		switch v := check(k, usual); {
		case v.outcome == Failed:
			return v
		case all.outcome != Passed:
			all = v
		}
	}
	return all
}

// habit says how many acts one webhook of a kind gives.
func (r *run) habit(ctx context.Context, k kind) int {
	r.habits.Lock()
	defer r.habits.Unlock()
	if n, ok := r.usual[k.event]; ok {
		return n
	}
	s := r.of(k.event, k.payload)
	r.send(ctx, hook{sample: s})
	n := r.settled(ctx, s)
	r.usual[k.event] = n
	return n
}

// settled waits until an app does nothing more about a webhook, and says how
// many acts it gave.
func (r *run) settled(ctx context.Context, s sample) int {
	n := 0
	for r.platform.wait(ctx, s.refs, r.bounds.Settle, func(t tally) bool { return t.begun > n }) {
		n = r.platform.count(s.refs).begun
	}
	return n
}

// begins waits until an app acts on a webhook, or has not although it answered,
// and says whether it does.
func (r *run) begins(ctx context.Context, s sample, answered <-chan struct{}) bool {
	ctx, stop := context.WithCancel(ctx)
	var watching sync.WaitGroup
	watching.Go(func() {
		defer stop()
		select {
		case <-answered:
		case <-ctx.Done():
			return
		}
		select {
		case <-time.After(r.bounds.Settle):
		case <-ctx.Done():
		}
	})
	begun := r.platform.wait(ctx, s.refs, r.bounds.Run, func(t tally) bool { return t.begun > 0 })
	stop()
	watching.Wait()
	return begun
}

func actedTwice(ctx context.Context, r *run) verdict {
	return r.acting(ctx, func(k kind, _ int) verdict {
		s := r.of(k.event, k.payload)
		r.send(ctx, hook{sample: s})
		once := r.settled(ctx, s)
		if once == 0 {
			return notSeen(someActs)
		}
		r.send(ctx, hook{sample: s, attempt: 2})
		if r.platform.wait(ctx, s.refs, r.bounds.Settle, func(t tally) bool { return t.begun > once }) {
			return failed("%s came twice with the same webhook-id; the first made the app call the platform (calls: %d), and the second did so again (calls: %d)",
				k.name, once, r.platform.count(s.refs).begun-once)
		}
		return passed()
	})
}

func lostOnFailure(ctx context.Context, r *run) verdict {
	return r.acting(ctx, func(k kind, _ int) verdict {
		s, works := r.of(k.event, k.payload), make(chan struct{})
		defer r.platform.add(&rule{refs: s.refs, fails: works})()
		first := r.send(ctx, hook{sample: s})
		if !r.platform.wait(ctx, s.refs, r.bounds.Settle, func(t tally) bool { return t.failed > 0 }) {
			close(works)
			return notSeen(someActs)
		}
		close(works)
		done := func(t tally) bool { return t.done > 0 }
		if first.accepted() {
			if r.platform.wait(ctx, s.refs, r.bounds.Settle, done) {
				return passed()
			}
			return warned("for %s the app called the platform, which failed with 503; the app answered %d all the same, and did not call again", k.name, first.Status)
		}
		second := r.send(ctx, hook{sample: s, attempt: 2})
		switch {
		case r.platform.wait(ctx, s.refs, r.bounds.Settle, done):
			return passed()
		case second.accepted():
			return failed("for %s the app called the platform, which failed with 503; when the webhook was repeated, the app answered %d and did nothing", k.name, second.Status)
		}
		return warned("for %s the app called the platform, which failed with 503; when the platform was well again and the webhook repeated, the app %s and did nothing", k.name, second.says())
	})
}

func answersItself(ctx context.Context, r *run) verdict {
	if r.platform == nil {
		return notSeen(noPlatform)
	}
	if k := kinds[1]; r.habit(ctx, k) == 0 {
		return notSeen("the app sent nothing when a person wrote on a post")
	}
	s := r.of(event.NewMessageOnPost, swap(postMessage, `"side":"BUYER","type":"HUMAN"`, `"side":"SELLER","type":"BOT"`))
	r.send(ctx, hook{sample: s})
	if r.settled(ctx, s) > 0 {
		return failed("the app answered a message whose sender is a BOT")
	}
	return passed()
}

func actedAtOnce(ctx context.Context, r *run) verdict {
	return r.acting(ctx, func(k kind, usual int) verdict {
		s, goesOn := r.of(k.event, k.payload), make(chan struct{})
		defer r.platform.add(&rule{refs: s.refs, until: goesOn})()
		var sending sync.WaitGroup
		ended := make(chan struct{})
		sending.Go(func() {
			defer close(ended)
			r.send(ctx, hook{sample: s})
		})
		if !r.begins(ctx, s, ended) {
			close(goesOn)
			sending.Wait()
			return notSeen(someActs)
		}
		answered := make(chan struct{})
		sending.Go(func() {
			defer close(answered)
			r.send(ctx, hook{sample: s, attempt: 2})
		})
		// While the first act is held, another one can only be the repeat's.
		watching, stop := context.WithCancel(ctx)
		sending.Go(func() { <-answered; stop() })
		r.platform.wait(watching, s.refs, r.bounds.Settle, func(t tally) bool { return t.begun > 1 })
		close(goesOn)
		sending.Wait()
		if acts := r.settled(ctx, s); acts > usual {
			return failed("%s came again while the app was still at work on it, and the app called the platform for both (calls: %d; of one webhook: %d)", k.name, acts, usual)
		}
		return passed()
	})
}

func callsBack(ctx context.Context, r *run) verdict {
	return r.acting(ctx, func(k kind, _ int) verdict {
		s, goesOn := r.of(k.event, k.payload), make(chan struct{})
		defer r.platform.add(&rule{refs: s.refs, until: goesOn})()
		var first reply
		var sending sync.WaitGroup
		ended := make(chan struct{})
		sending.Go(func() {
			defer close(ended)
			first = r.send(ctx, hook{sample: s})
		})
		if !r.begins(ctx, s, ended) {
			close(goesOn)
			sending.Wait()
			return notSeen(someActs)
		}
		half := r.bounds.Answer / 2 // the app must not give up on the platform before
		short, cancel := context.WithTimeout(ctx, half)
		other := r.send(short, hook{sample: r.of(k.event, k.payload)})
		cancel()
		close(goesOn)
		sending.Wait()
		switch {
		case other.Reason == webhook.TimedOut:
			return failed("while the platform had not yet answered a call of the app, %s in another conversation came, and the app gave no answer for %v", k.name, half)
		case !other.accepted():
			return failed("while the platform had not yet answered a call of the app, %s in another conversation came, and the app %s", k.name, other.says())
		case !first.accepted():
			return failed("the app called the platform from inside a webhook, was answered as soon as another webhook was, and %s", first.says())
		}
		return passed()
	})
}

func blocksOthers(ctx context.Context, r *run) verdict {
	dripping, stop := context.WithCancel(ctx)
	defer stop()
	began, ended := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(ended)
		r.send(dripping, hook{sample: r.padded(dripped), way: drip(began), drip: true})
	}()
	defer func() { stop(); <-ended }()
	select {
	case <-began:
	case <-ended:
		return failed("the app took no connection")
	}
	// The app shall be at work on it before others come.
	settled := time.NewTimer(r.bounds.Settle)
	defer settled.Stop()
	select {
	case <-settled.C:
	case <-ended:
	}
	const others = 3
	if bad, says := r.atOnce(ctx, others); bad > 0 {
		return failed("while a webhook arrived byte by byte, %d of %d others were not accepted; to one the app %s", bad, others, says)
	}
	return passed()
}

func neverEnds(ctx context.Context, r *run) verdict {
	bounded, cancel := context.WithTimeout(ctx, r.bounds.Slow)
	defer cancel()
	p := r.send(bounded, hook{sample: r.padded(dripped), way: drip(make(chan struct{})), drip: true})
	if p.Reason == webhook.TimedOut {
		return failed("a sender that sent one byte every %v was still listened to after %v", dripEvery, r.bounds.Slow)
	}
	return passed()
}
