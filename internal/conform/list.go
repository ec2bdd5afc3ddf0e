package conform

import (
	"context"
	"net/http"
	"strings"
	"time"

	"github.com/openkenar/openkenar/internal/event"
)

// Check is one thing that is tried on an app.
type Check struct {
	ID       string   `json:"id"` // stable
	Target   Target   `json:"target"`
	Severity Severity `json:"severity"` // of its finding, at worst
	Does     string   `json:"does"`     // what is sent, and what is wanted
	Why      string   `json:"why"`      // it matters
	Mend     string   `json:"mend"`     // how to

	wave int
	run  func(context.Context, *run) verdict // nil: the first call decides
}

// named says whether a name means the check: its id, or the part before the
// slash.
func (c Check) named(name string) bool { return c.ID == name || strings.HasPrefix(c.ID, name+"/") }

// The waves of checks: what disturbs the app goes after what does not.
const (
	gentle = iota
	hard
	acts  // what the app does is looked at
	held  // its calls of the platform are held up meanwhile
	slow  // a slow sender is at work
	after // is it still there?
)

// waves is how many checks of each wave run at a time.
var waves = [...]int{gentle: 4, hard: 1, acts: 8, held: 1, slow: 1, after: 1}

// What several checks have to say.
const (
	whyRetried = "What is not answered 2xx is sent again for more than three days and then given up (contract, section 6, retries); " +
		"meanwhile it counts as a failure of the app."
	whyKey     = "The event URL is public: whoever finds it can write to it. The identification key alone tells the platform from a stranger (contract, section 6, webhook)."
	mendKey    = "Compare the whole Authorization header with the identification key, in constant time, before anything else; answer 401 when it differs."
	whyGrows   = "The platform grows: types, fields and values are added while apps run. "
	mendGrows  = "Answer 2xx to what you do not know, and do nothing. Decode without refusing unknown fields, and keep enumerations as strings."
	whyLost    = "A 2xx says that the app has the event. What was not read and is answered 2xx is lost: nothing repeats it (contract, section 6)."
	whySecret  = "Who signs webhooks does so because the key alone is not enough: it is the same in each request, and a signature is not (contract, section 6, webhook)."
	mendSecret = "Verify webhook-signature with a Standard Webhooks library over webhook-id, webhook-timestamp and the body's bytes as they came, and refuse with 401."
	whyOnce    = "The platform delivers at least once: after a lost answer or a crash the same webhook comes again, with the same webhook-id (contract, section 6, retries)."
	whyWaits   = "A user waits while the app is asked. Anything but a good answer within 5 s shows them an error, and nothing is tried again (contract, section 6, session initialization)."
	whyActs    = "A user waits for what a button does. Anything but a good answer within 5 s shows them an error, and nothing is tried again (contract, section 6, dynamic action)."
	mendSlow   = "Limit how long reading a request may take, for example with ReadTimeout of Go's http.Server or with a proxy that reads whole requests before it passes them on."
)

// Checks returns all checks, in the order in which they are reported.
func Checks() []Check { return checks }

var checks = build()

func build() []Check {
	e := func(id string, severity Severity, wave int, run func(context.Context, *run) verdict, does, why, mend string) Check {
		return Check{ID: id, Target: Event, Severity: severity, Does: does, Why: why, Mend: mend, wave: wave, run: run}
	}
	list := []Check{
		e("answer/status", Error, 0, nil, "An ordinary webhook; wanted is 2xx.",
			whyRetried, "Answer 2xx once the event is handled, or safely noted to be handled. An app that calls the platform meanwhile needs one to call: give --platform-listen, and start the app with that address."),
		e("key/refused", Error, 0, nil, "An ordinary webhook with the identification key; wanted is anything but 401 and 403.",
			"An app that refuses the platform hears nothing (contract, section 6, webhook).",
			"Give the app and this command the same identification key, and the same signing secret if the app wants signatures. The key stands in Authorization as it is, without Bearer before it."),
		e("answer/redirect", Error, 0, nil, "An ordinary webhook; wanted is no redirect.",
			"A 3xx is a failure and is not followed (contract, section 6, webhook): the event is tried again, and never arrives.",
			"Set the URL that answers itself. Often it is a slash at the end, http instead of https, or a login page in front."),
		e("answer/late", Error, 0, nil, "An ordinary webhook; wanted is an answer within 10 s.",
			"After 10 s the platform hangs up and sends the webhook again later (contract, section 6, webhook), though the app may have acted on it.",
			"Note the event, answer, and do what takes long afterwards."),
		e("answer/broken", Error, 0, nil, "An ordinary webhook; wanted is a whole answer with less than 32 KiB of headers.",
			"Without an answer that can be read the webhook counts as failed and is sent again (contract, section 6, webhook).",
			"Look for a crash in the app's log, for a TLS port that is called by http, and for cookies or headers that grow."),
		e("answer/size", Warning, 0, nil, "An ordinary webhook; wanted is an answer of at most 16 KiB.",
			"The platform reads the first of an answer only and then hangs up: each webhook costs a new connection.",
			"Answer with an empty body: nobody reads it."),

		e("key/missing", Error, gentle, keyed(Event, "a webhook without a key", missingKey),
			"A webhook without Authorization; wanted is 401 or 403.", whyKey, mendKey),
		e("key/wrong", Error, gentle, keyed(Event, "a webhook with a wrong key", wrongKey),
			"A webhook whose key differs in its last character; wanted is 401 or 403.", whyKey, mendKey),

		e("signature/wrong", Error, gentle, func(ctx context.Context, r *run) verdict {
			return r.sign(ctx, "a webhook signed with another secret", hook{secrets: [][]byte{[]byte("a secret that is not the app's...")}})
		}, "A webhook signed with another secret; wanted is not 2xx. Only with --signing-secret.", whySecret, mendSecret),
		e("signature/missing", Error, gentle, func(ctx context.Context, r *run) verdict {
			return r.sign(ctx, "a webhook without a signature", hook{secrets: [][]byte{}})
		}, "A webhook without a signature; wanted is not 2xx. Only with --signing-secret.", whySecret, mendSecret),
		e("signature/altered", Error, gentle, func(ctx context.Context, r *run) verdict {
			return r.sign(ctx, "a webhook whose body was changed after it was signed", hook{way: replaced(r.ordinary().body)})
		}, "A webhook whose body was changed after signing; wanted is not 2xx. Only with --signing-secret.", whySecret, mendSecret),
		e("signature/late", Error, gentle, func(ctx context.Context, r *run) verdict {
			return r.sign(ctx, "a webhook that was signed ten minutes ago", hook{at: time.Now().Add(-outOfWindow)})
		}, "A webhook signed ten minutes ago; wanted is not 2xx. Only with --signing-secret.",
			"Who once read a webhook could send it again for ever. Each attempt is signed anew, so an old webhook-timestamp is never the platform's (contract, section 6, webhook).",
			"Refuse a webhook-timestamp more than five minutes off. It is not sent_at, which may be days old."),
		e("signature/early", Error, gentle, func(ctx context.Context, r *run) verdict {
			return r.sign(ctx, "a webhook signed for ten minutes from now", hook{at: time.Now().Add(outOfWindow)})
		}, "A webhook signed for ten minutes from now; wanted is not 2xx. Only with --signing-secret.",
			"One that is good from ten minutes from now is good for longer than any should be (contract, section 6, webhook).",
			"Refuse a webhook-timestamp more than five minutes off, in both directions."),
		e("signature/rotated", Error, gentle, func(ctx context.Context, r *run) verdict {
			if r.secrets == nil {
				return verdict{Skipped, "no signing secret was given", ""}
			}
			other := []byte("the secret that comes after it...")
			return r.accept(ctx, labelled{"two signatures, the second the app's", hook{sample: r.ordinary(), secrets: append([][]byte{other}, r.secrets...)}})
		}, "A webhook with two signatures, the second of them right; wanted is 2xx. Only with --signing-secret.",
			"While a secret is replaced, webhooks carry a signature by each, separated by a space (contract, section 6, webhook). "+whyRetried,
			"Accept a webhook when one of its signatures is right."),

		e("repeat/answer", Error, gentle, repeats, "The same webhook-id a second time; wanted is 2xx both times.",
			whyOnce+" A repeat that is refused is repeated again.", "Answer 2xx to what was handled already."),
		e("order/older", Error, gentle, orders, "A message, and then an older one of the same conversation; wanted is 2xx both times.",
			"A webhook that failed steps aside until its retry, and later ones go on (contract, section 6, order).",
			"Accept what comes late, and put messages right by sent_at."),
		e("late/sent-at", Error, gentle, func(ctx context.Context, r *run) verdict {
			s := r.at(time.Now().Add(-daysLate), event.NewMessageOnPost, postMessage, metadata)
			return r.accept(ctx, labelled{"a message of three days ago", hook{sample: s, attempt: attemptsLate}})
		}, "A message with a sent_at of three days ago, in a late attempt; wanted is 2xx.",
			"After an outage of the app, webhooks of the last days come (contract, section 6, retries).",
			"Judge age by webhook-timestamp, which is new in each attempt, never by sent_at."),

		e("unknown/type", Error, gentle, unknownTypes, "A webhook of a type that does not exist yet; wanted is 2xx.", whyGrows+whyRetried, mendGrows),
		e("unknown/field", Error, gentle, unknownFields, "Webhooks with fields that do not exist yet, at every depth; wanted is 2xx.", whyGrows+whyRetried, mendGrows),
		e("unknown/enum", Error, gentle, unknownEnums, "Webhooks with values that do not exist yet, of messages, senders, posts and transactions; wanted is 2xx.", whyGrows+whyRetried, mendGrows),

		e("metadata/absent", Error, gentle, func(ctx context.Context, r *run) verdict {
			return r.accept(ctx, plain("a message without metadata", r.of(event.NewMessageOnPost, postMessage, "")))
		}, "A message without metadata; wanted is 2xx.",
			"A subscription without metadata gives webhooks without it (contract, section 6).", "Take metadata for optional."),
		e("metadata/null", Error, gentle, func(ctx context.Context, r *run) verdict {
			return r.accept(ctx, plain("a message with metadata null", r.of(event.NewMessageOnPost, postMessage, "null")))
		}, "A message with metadata null; wanted is 2xx.",
			"An explicit null means what absence means (contract, section 3).", "Take null for absent."),
		e("metadata/any", Error, gentle, func(ctx context.Context, r *run) verdict {
			return r.accept(ctx, plain("a message with nested metadata", r.of(event.NewMessageOnPost, postMessage, anyMetadata)))
		}, "A message with metadata of numbers, lists, null and other scripts; wanted is 2xx.",
			"Metadata is any JSON object that the app registered, as it was given (contract, section 4, subscription). "+whyRetried,
			"Decode metadata as free JSON, or exactly as you register it and leniently."),

		e("type/new-message", Error, gentle, typed(event.NewMessageOnPost), "NEW_MESSAGE from both sides; wanted is 2xx.", whyRetried, mendGrows),
		e("type/new-chatbot-message", Error, gentle, typed(event.NewChatbotMessage), "NEW_CHATBOT_MESSAGE; wanted is 2xx.",
			"Every app hears this type without a subscription (contract, section 5). "+whyRetried, mendGrows),
		e("type/post-update", Error, gentle, typed(event.PostUpdate), "POST_UPDATE: PUBLISH, ONGOING, and RETIRE and ARCHIVE with the token alone; wanted is 2xx.", whyRetried, mendGrows),
		e("type/user-access-revocation", Error, gentle, typed(event.UserAccessRevocation), "USER_ACCESS_REVOCATION; wanted is 2xx.",
			"Every app hears this type without a subscription (contract, section 5). "+whyRetried, mendGrows),
		e("type/payment-transaction", Error, gentle, typed(event.PaymentTransaction), "PAYMENT_TRANSACTION in each state; wanted is 2xx.",
			"Every app hears this type without a subscription (contract, section 5). "+whyRetried, mendGrows),
	}
	for _, typ := range []string{"TEXT", "IMAGE", "FILE", "VOICE", "LOCATION", "VIDEO", "CONTACT"} {
		list = append(list, e("message/"+strings.ToLower(typ), Error, gentle, carrying(typ),
			"Messages of type "+typ+", on a post and to the bot; wanted is 2xx.",
			"People send messages of every type, whatever the app can do with them (contract, section 6, message types). "+whyRetried,
			"Answer 2xx to messages that the app has no use for. Take numbers of any size, and optional fields for optional."))
	}
	list = append(list,
		e("body/cut-json", Error, gentle, func(ctx context.Context, r *run) verdict {
			s := r.ordinary()
			s.body = s.body[:len(s.body)/2]
			return unread("half a JSON body", r.send(ctx, hook{sample: s}))
		}, "Half a JSON body; wanted is an answer that is not 2xx.", whyLost, "Answer 400 where the body is not JSON."),
		e("body/empty", Warning, gentle, func(ctx context.Context, r *run) verdict {
			s := r.ordinary()
			s.body = nil
			return unread("an empty body", r.send(ctx, hook{sample: s}))
		}, "A webhook without a body; wanted is an answer that is not 2xx.", whyLost, "Answer 400 where there is no body."),
		e("body/not-json", Warning, gentle, func(ctx context.Context, r *run) verdict {
			s := r.ordinary()
			s.body = []byte("type=NEW_MESSAGE&text=Hello")
			form := changed(func(req *http.Request) { req.Header["Content-Type"] = []string{"application/x-www-form-urlencoded"} })
			return unread("a form instead of JSON", r.send(ctx, hook{sample: s, way: form}))
		}, "A form instead of JSON; wanted is an answer that is not 2xx.", whyLost, "Answer 415 to another content type than application/json, or 400 where the body is not JSON."),
		e("method/get", Warning, gentle, func(ctx context.Context, r *run) verdict {
			get := changed(func(req *http.Request) {
				req.Method, req.Body, req.ContentLength, req.GetBody = http.MethodGet, nil, 0, nil
				req.Header.Del("Content-Type")
			})
			return unread("GET", r.send(ctx, hook{sample: r.ordinary(), way: get}))
		}, "GET on the event URL; wanted is an answer that is not 2xx.",
			"The platform only ever uses POST. An address that says yes to GET hides that it is not the event URL: a mistyped path looks well.",
			"Answer 405 to everything but POST."),
		e("body/largest", Warning, hard, func(ctx context.Context, r *run) verdict {
			return r.accept(ctx, plain("a post update of 68 KiB", r.padded(largest)))
		}, "The largest webhook that the platform sends, a post with 64 KiB of data and 4 KiB of metadata; wanted is 2xx.",
			"An app that listens to posts and has a lower limit fails with a few webhooks that nobody looks for. "+whyRetried,
			"Allow bodies of 128 KiB at least, and refuse above 1 MiB."),
		e("body/huge", Error, hard, hugeBody, "A body of 1 MiB; wanted is 2xx or 413.",
			"Who can reach the app can send as much. It must neither hang nor fall over, and say what was too much.",
			"Limit the body, and answer 413 above the limit (in Go: http.MaxBytesReader, and errors.As with *http.MaxBytesError)."),
		e("body/cut", Error, hard, func(ctx context.Context, r *run) verdict {
			return unread("a body that ends before its Content-Length", r.send(ctx, hook{sample: r.ordinary(), way: broken}))
		}, "A body that ends before its Content-Length; wanted is no 2xx, and an end.", whyLost,
			"Read the whole body before you answer, and answer 400 when that fails."),
		e("parallel/at-once", Error, hard, parallel, "32 webhooks of different conversations at the same time; wanted is 2xx to each within 10 s.",
			"The platform sends up to 64 webhooks to an app at the same time; only those of one conversation wait for each other (contract, section 6, order).",
			"Serve requests side by side: more workers, or note the event, answer, and do what takes long afterwards."),

		e("repeat/acted-twice", Error, acts, actedTwice, "The same webhook-id a second time; wanted is that the app sends nothing twice. Seen only with --platform-listen.",
			whyOnce+" An app that does not look answers its user twice.",
			"Keep the webhook-ids of the last days with what was done, and answer 2xx to one that is there without doing it again."),
		e("repeat/lost", Error, acts, lostOnFailure, "A webhook while the platform fails the app's calls, and its repeat once it does not; wanted is that the app does then what it could not do. Seen only with --platform-listen.",
			"The repeat is the second chance: an app that notes a webhook-id before its work is done, or answers 2xx to work that failed, does the work never (contract, section 6, retries).",
			"Answer 2xx, and note the webhook-id, only after the work is done or is safe in a queue of your own."),
		e("repeat/own-message", Warning, acts, answersItself, "A message on a post whose sender is a BOT; wanted is no message in return. Seen only with --platform-listen.",
			"An app hears its own messages, and those of other apps, as messages of type BOT (contract, section 4, chat message). One that answers them talks to itself without end.",
			"Leave messages alone whose sender.type is not HUMAN."),
		e("repeat/at-once", Warning, held, actedAtOnce, "The same webhook-id while the app still works on the first; wanted is that the app sends nothing twice. Seen only with --platform-listen.",
			"After 10 s the platform tries again 5 s later, whether or not the app is still at work (contract, section 6, retries).",
			"Note the webhook-id as taken before the work, in one step with looking whether it is; answer 503 to a repeat that comes meanwhile, and take the note back when the work fails."),
		e("callback/inside", Error, held, callsBack, "Another webhook while the platform holds an app's call from inside the first; wanted is 2xx. Seen only with --platform-listen.",
			"The platform goes on sending while the app calls it from inside a webhook (contract, section 6, webhook). An app that takes one at a time stands still as long as its slowest call.",
			"Hold no lock while you call the platform, and have more than one worker."),

		e("slow/blocks-others", Error, slow, blocksOthers, "Webhooks while another arrives byte by byte; wanted is 2xx within 10 s.",
			"One slow line, or one stranger with patience, would keep all events from the app.",
			"Serve requests side by side. "+mendSlow),
		e("slow/never-ends", Warning, slow, neverEnds, "A webhook that arrives byte by byte; wanted is that the app ends it within 20 s.",
			"The platform gives up on a webhook after 10 s (contract, section 6, webhook); who sends longer is somebody else, and takes up a connection for as long as they like.",
			mendSlow),
		e("answer/afterwards", Error, after, func(ctx context.Context, r *run) verdict {
			return r.accept(ctx, plain("an ordinary webhook after all other checks", r.ordinary()))
		}, "An ordinary webhook after all other checks; wanted is 2xx.",
			"What a stranger can send must not end the app.", "Look for a crash, or for what is used up, in the app's log."),
	)
	list = append(list, sessionChecks()...)
	return append(list, actionChecks()...)
}

func sessionChecks() []Check {
	s := func(id string, severity Severity, wave int, run func(context.Context, *run) verdict, does, why, mend string) Check {
		return Check{ID: "session/" + id, Target: Session, Severity: severity, Does: does, Why: why, Mend: mend, wave: wave, run: run}
	}
	const answer = `Answer 200 with {"url":"https://…"}: absolute, https (http to this machine while you develop), at most 2,048 characters, without a user name or password.`
	var sources []asked
	for _, source := range []string{"CHAT", "CHAT_MESSAGE_ACTION", "POST_ADDON", "MY_POST", "NOTIFICATION", "NEW_PLACE"} {
		sources = append(sources, asked{"source " + source, swap(sessionBody, `"CHAT"`, `"`+source+`"`)})
	}
	long := "https://market.example/back?to="
	long += strings.Repeat("x", maxReturnURL-len(long))
	const data = `{"order":"17","n":1.50,"nothing":null,"list":[1,[],{"a":{}}],"سلام":"<&>"}`
	return []Check{
		s("answer", Error, 0, nil, `A user opens the app from a chat; wanted is 200 with {"url"} within 5 s.`, whyWaits, answer),
		s("key-refused", Error, 0, nil, "A call with the identification key; wanted is anything but 401 and 403.", whyWaits,
			"Give the app and this command the same identification key. It stands in Authorization as it is, without Bearer before it."),
		s("key-missing", Error, gentle, keyed(Session, "a call without a key", missingKey), "A call without Authorization; wanted is 401 or 403.",
			"Who can call the URL can open sessions as any user: user_id is believed because the key is right (contract, section 6, session initialization).", mendKey),
		s("key-wrong", Error, gentle, keyed(Session, "a call with a wrong key", wrongKey), "A call whose key differs in its last character; wanted is 401 or 403.",
			"Who can call the URL can open sessions as any user: user_id is believed because the key is right (contract, section 6, session initialization).", mendKey),
		s("nulls", Error, gentle, variants(Session, asked{"every field that may be null", sessionNulls}), "post_token, conversation_id, user_side and user_id null; wanted is a url.",
			"An app can be opened outside any post and chat: all four may be null. "+whyWaits, "Take the four fields for optional, and show a page that needs none of them."),
		s("extra-data", Error, gentle, variants(Session, asked{"extra_data of any shape", swap(sessionBody, `"extra_data":{},"provider_data":{}`, `"extra_data":`+data+`,"provider_data":`+data)}),
			"extra_data with numbers, lists, null and other scripts; wanted is a url.",
			"extra_data is what the app's own buttons carry, those of its older versions too. "+whyWaits, "Show a page that says what to do when the data is not understood."),
		s("sides", Error, gentle, variants(Session, asked{"Supply", sessionBody}, asked{"Demand", swap(sessionBody, `"Supply"`, `"Demand"`)}, asked{"no side", swap(sessionBody, `"Supply"`, `null`)}),
			"user_side Supply, Demand and null; wanted is a url.", "Either side of a chat can open the app, and in a bot's chat there are no sides. "+whyWaits,
			"Serve both sides, or show the other one a page that says why not."),
		s("sources", Error, gentle, variants(Session, sources...), "Each source, and one that does not exist yet; wanted is a url.", whyGrows+whyWaits, "Do not refuse a source that you do not know."),
		s("long-return-url", Error, gentle, variants(Session, asked{"a return_url of 2,048 characters", swap(sessionBody, "https://market.example/chat", long)}),
			"A return_url of 2,048 characters; wanted is a url.", "return_url may be so long (contract, section 6), while your url may not be longer: return_url in it does not fit. "+whyWaits,
			"Keep return_url on your side, under a key that goes into the url."),
		s("unknown-field", Error, gentle, variants(Session, asked{"a field that does not exist yet", swap(sessionBody, `"source"`, `"new_field":{"a":1},"source"`)}),
			"A field that does not exist yet; wanted is a url.", whyGrows+whyWaits, "Decode without refusing unknown fields."),
		s("at-once", Error, hard, together(Session, sessionBody), "16 calls at the same time; wanted is a url to each within 5 s.", whyWaits, "Serve requests side by side."),
	}
}

func actionChecks() []Check {
	a := func(id string, severity Severity, wave int, run func(context.Context, *run) verdict, does, why, mend string) Check {
		return Check{ID: "action/" + id, Target: Action, Severity: severity, Does: does, Why: why, Mend: mend, wave: wave, run: run}
	}
	const key = "Who can call the URL can click as any user: user_id is believed because the key is right (contract, section 6, dynamic action)."
	const other = `{"not":"yours","n":1.50,"nothing":null,"list":[1,[],{"a":{}}],"سلام":"<&>"}`
	return []Check{
		a("answer", Error, 0, nil, "A button is clicked; wanted is 200 with an action, a text_message or both within 5 s.", whyActs,
			`Answer 200 with {"text_message":"…"}, at most 4,096 characters, or {"action":{…}} with exactly one of open_direct_link, open_server_link, open_post_page and open_post_manage_page.`),
		a("key-refused", Error, 0, nil, "A call with the identification key; wanted is anything but 401 and 403.", whyActs,
			"Give the app and this command the same identification key. It stands in Authorization as it is, without Bearer before it."),
		a("key-missing", Error, gentle, keyed(Action, "a call without a key", missingKey), "A call without Authorization; wanted is 401 or 403.", key, mendKey),
		a("key-wrong", Error, gentle, keyed(Action, "a call with a wrong key", wrongKey), "A call whose key differs in its last character; wanted is 401 or 403.", key, mendKey),
		a("nulls", Error, gentle, variants(Action, asked{"every field that may be null", actionNulls}), "post_token, conversation_id, user_side and user_id null; wanted is an answer.",
			"Which of them there is depends on where the button stands. "+whyActs, "Take the four fields for optional."),
		a("extra-data", Error, gentle, variants(Action, asked{"extra_data that is not the app's", swap(actionBody, "$data", other)}, asked{"no data", swap(actionBody, "$data", "{}")}),
			"extra_data that the app never made; wanted is an answer.",
			"Buttons stay in chats for years: those of older versions of the app are clicked too. "+whyActs, "Answer a text_message that says that the button is too old."),
		a("sides", Error, gentle, variants(Action, asked{"SUPPLY", actionBody}, asked{"DEMAND", swap(actionBody, `"SUPPLY"`, `"DEMAND"`)}, asked{"no side", swap(actionBody, `"SUPPLY"`, `null`)}),
			"user_side SUPPLY, DEMAND and null; wanted is an answer.", "Either side of a chat can click, and in a bot's chat there are no sides. "+whyActs, "Serve both sides, or answer a text_message that says why not."),
		a("unknown-field", Error, gentle, variants(Action, asked{"a field that does not exist yet", swap(actionBody, `"touchpoint"`, `"new_field":{"a":1},"touchpoint"`)}, asked{"a touchpoint that does not exist yet", swap(actionBody, `"CHAT"`, `"NEW_PLACE"`)}),
			"A field and a touchpoint that do not exist yet; wanted is an answer.", whyGrows+whyActs, "Decode without refusing unknown fields and values."),
		a("twice", Error, gentle, clicksTwice, "The same button twice; wanted is an answer to each click.",
			"People click twice. The platform does not repeat clicks, and does not hold them back either. "+whyActs, "Answer a second click with words, too."),
		a("at-once", Error, hard, together(Action, actionBody), "16 calls at the same time; wanted is an answer to each within 5 s.", whyActs, "Serve requests side by side."),
	}
}
