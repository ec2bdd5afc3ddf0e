package conform

import (
	"cmp"
	"context"
	"slices"
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
	whySigned  = "Who signs webhooks does so because the key alone is not enough: it is the same in each request, and a signature is not (contract, section 6, webhook)."
	mendSigned = "Verify webhook-signature with a Standard Webhooks library over webhook-id, webhook-timestamp and the body's bytes as they came, and refuse with 401."
	whyOnce    = "The platform delivers at least once: after a lost answer or a crash the same webhook comes again, with the same webhook-id (contract, section 6, retries)."
	whyWaits   = "A user waits while the app is asked. Anything but a good answer within 5 s shows them an error, and nothing is tried again (contract, section 6, session initialization)."
	whyActs    = "A user waits for what a button does. Anything but a good answer within 5 s shows them an error, and nothing is tried again (contract, section 6, dynamic action)."
	mendSlow   = "Limit how long reading a request may take, for example with ReadTimeout of Go's http.Server or with a proxy that reads whole requests before it passes them on."
)

// Checks returns all checks, in the order in which they are reported.
func Checks() []Check { return checks }

var checks = slices.Concat(
	aimed(Event, ordinaryChecks(), messageChecks(), oddChecks()),
	aimed(Session, sessionChecks()),
	aimed(Action, actionChecks()),
)

// aimed completes the checks of a target.
func aimed(t Target, lists ...[]Check) []Check {
	list := slices.Concat(lists...)
	for i := range list {
		list[i].Target, list[i].Severity = t, cmp.Or(list[i].Severity, Error)
	}
	return list
}

// ordinaryChecks send what a platform does send, or will.
func ordinaryChecks() []Check {
	return []Check{
		{
			ID:   "answer/status",
			Does: "An ordinary webhook; wanted is 2xx.",
			Why:  whyRetried,
			Mend: "Answer 2xx once the event is handled, or safely noted to be handled. An app that calls the platform meanwhile needs one to call: give --platform-listen, and start the app with that address.",
		},
		{
			ID:   "key/refused",
			Does: "An ordinary webhook with the identification key; wanted is anything but 401 and 403.",
			Why:  "An app that refuses the platform hears nothing (contract, section 6, webhook).",
			Mend: "Give the app and this command the same identification key, and the same signing secret if the app wants signatures; let the app take this machine for the platform if it looks at addresses. The key stands in Authorization as it is, without Bearer before it.",
		},
		{
			ID:   "answer/redirect",
			Does: "An ordinary webhook; wanted is no redirect.",
			Why:  "A 3xx is a failure and is not followed (contract, section 6, webhook): the event is tried again, and never arrives.",
			Mend: "Set the URL that answers itself. Often it is a slash at the end, http instead of https, or a login page in front.",
		},
		{
			ID:   "answer/late",
			Does: "An ordinary webhook; wanted is an answer within 10 s.",
			Why:  "After 10 s the platform hangs up and sends the webhook again later (contract, section 6, webhook), though the app may have acted on it.",
			Mend: "Note the event, answer, and do what takes long afterwards.",
		},
		{
			ID:   "answer/broken",
			Does: "An ordinary webhook; wanted is a whole answer with less than 32 KiB of headers.",
			Why:  "Without an answer that can be read the webhook counts as failed and is sent again (contract, section 6, webhook).",
			Mend: "Look for a crash in the app's log, for a TLS port that is called by http, and for cookies or headers that grow.",
		},
		{
			ID: "answer/size", Severity: Warning,
			Does: "An ordinary webhook; wanted is an answer of at most 16 KiB.",
			Why:  "The status is all that counts (contract, section 6, webhook). The platform reads the first of an answer only and then hangs up: each webhook costs a new connection.",
			Mend: "Answer with an empty body: nobody reads it.",
		},

		{
			ID: "key/missing", run: keyed(Event, "a webhook without a key", missingKey),
			Does: "A webhook without Authorization; wanted is 401 or 403.",
			Why:  whyKey,
			Mend: mendKey,
		},
		{
			ID: "key/wrong", run: keyed(Event, "a webhook with a wrong key", wrongKey),
			Does: "A webhook whose key differs in its last character; wanted is 401 or 403.",
			Why:  whyKey,
			Mend: mendKey,
		},

		{
			ID: "signature/wrong", run: signed("a webhook signed with another secret", func(*run) hook { return hook{secrets: [][]byte{[]byte(notTheirs)}} }),
			Does: "A webhook signed with another secret; wanted is not 2xx. Only with --signing-secret.",
			Why:  whySigned,
			Mend: mendSigned,
		},
		{
			ID: "signature/missing", run: signed("a webhook without a signature", func(*run) hook { return hook{secrets: [][]byte{}} }),
			Does: "A webhook without a signature; wanted is not 2xx. Only with --signing-secret.",
			Why:  whySigned,
			Mend: mendSigned,
		},
		{
			ID: "signature/altered", run: signed("a webhook whose body was changed after it was signed", func(r *run) hook { return hook{way: replaced(r.ordinary().body)} }),
			Does: "A webhook whose body was changed after signing; wanted is not 2xx. Only with --signing-secret.",
			Why:  whySigned,
			Mend: mendSigned,
		},
		{
			ID: "signature/late", run: signed("a webhook that was signed ten minutes ago", func(*run) hook { return hook{at: time.Now().Add(-outOfWindow)} }),
			Does: "A webhook signed ten minutes ago; wanted is not 2xx. Only with --signing-secret.",
			Why:  "Who once read a webhook could send it again for ever. Each attempt is signed anew, so an old webhook-timestamp is never the platform's (contract, section 6, webhook).",
			Mend: "Refuse a webhook-timestamp more than five minutes off. It is not sent_at, which may be days old.",
		},
		{
			ID: "signature/early", run: signed("a webhook signed for ten minutes from now", func(*run) hook { return hook{at: time.Now().Add(outOfWindow)} }),
			Does: "A webhook signed for ten minutes from now; wanted is not 2xx. Only with --signing-secret.",
			Why:  "One that is good from ten minutes from now is good for longer than any should be (contract, section 6, webhook).",
			Mend: "Refuse a webhook-timestamp more than five minutes off, in both directions.",
		},
		{
			ID: "signature/rotated", run: rotated,
			Does: "A webhook with two signatures, the second of them right; wanted is 2xx. Only with --signing-secret.",
			Why:  "While a secret is replaced, webhooks carry a signature by each, separated by a space (contract, section 6, webhook). " + whyRetried,
			Mend: "Accept a webhook when one of its signatures is right.",
		},

		{
			ID: "repeat/answer", run: repeats,
			Does: "The same webhook-id a second time; wanted is 2xx both times.",
			Why:  whyOnce + " A repeat that is refused is repeated again.",
			Mend: "Answer 2xx to what was handled already.",
		},
		{
			ID: "order/older", run: orders,
			Does: "A message, and then an older one of the same conversation; wanted is 2xx both times.",
			Why:  "A webhook that failed steps aside until its retry, and later ones go on (contract, section 6, order).",
			Mend: "Accept what comes late, and put messages right by sent_at.",
		},
		{
			ID: "late/sent-at", run: daysLater,
			Does: "A message with a sent_at of three days ago, in a late attempt; wanted is 2xx.",
			Why:  "After an outage of the app, webhooks of the last days come (contract, section 6, retries).",
			Mend: "Judge age by webhook-timestamp, which is new in each attempt, never by sent_at.",
		},

		{
			ID: "unknown/type", run: unknownTypes,
			Does: "A webhook of a type that does not exist yet; wanted is 2xx.",
			Why:  whyGrows + whyRetried,
			Mend: mendGrows,
		},
		{
			ID: "unknown/field", run: unknownFields,
			Does: "Webhooks with fields that do not exist yet, at every depth; wanted is 2xx.",
			Why:  whyGrows + whyRetried,
			Mend: mendGrows,
		},
		{
			ID: "unknown/enum", run: unknownEnums,
			Does: "Webhooks with values that do not exist yet, of messages, senders, posts and transactions; wanted is 2xx.",
			Why:  whyGrows + whyRetried,
			Mend: mendGrows,
		},

		{
			ID: "metadata/absent", run: carryingMetadata("a message without metadata", ""),
			Does: "A message without metadata; wanted is 2xx.",
			Why:  "A subscription without metadata gives webhooks without it (contract, section 6).",
			Mend: "Take metadata for optional.",
		},
		{
			ID: "metadata/null", Severity: Warning, run: carryingMetadata("a message with metadata null", "null"),
			Does: "A message with metadata null; wanted is 2xx.",
			Why:  "An explicit null means what absence means (contract, section 3).",
			Mend: "Take null for absent.",
		},
		{
			ID: "metadata/any", Severity: Warning, run: carryingMetadata("a message with nested metadata", anyMetadata),
			Does: "A message with metadata of numbers, lists, null and other scripts; wanted is 2xx.",
			Why:  "Metadata is any JSON object that the app registered, as it was given (contract, section 4, subscription). " + whyRetried,
			Mend: "Decode metadata as free JSON, or exactly as you register it and leniently.",
		},

		{
			ID: "type/new-message", run: typed(event.NewMessageOnPost),
			Does: "NEW_MESSAGE from both sides; wanted is 2xx.",
			Why:  whyRetried,
			Mend: mendGrows,
		},
		{
			ID: "type/new-chatbot-message", run: typed(event.NewChatbotMessage),
			Does: "NEW_CHATBOT_MESSAGE; wanted is 2xx.",
			Why:  "Every app hears this type without a subscription (contract, section 5). " + whyRetried,
			Mend: mendGrows,
		},
		{
			ID: "type/post-update", run: typed(event.PostUpdate),
			Does: "POST_UPDATE: PUBLISH, ONGOING, and RETIRE and ARCHIVE with the token alone; wanted is 2xx.",
			Why:  whyRetried,
			Mend: mendGrows,
		},
		{
			ID: "type/user-access-revocation", run: typed(event.UserAccessRevocation),
			Does: "USER_ACCESS_REVOCATION; wanted is 2xx.",
			Why:  "Every app hears this type without a subscription (contract, section 5). " + whyRetried,
			Mend: mendGrows,
		},
		{
			ID: "type/payment-transaction", run: typed(event.PaymentTransaction),
			Does: "PAYMENT_TRANSACTION in each state; wanted is 2xx.",
			Why:  "Every app hears this type without a subscription (contract, section 5). " + whyRetried,
			Mend: mendGrows,
		},
	}
}

// messageChecks send messages of each type.
func messageChecks() (list []Check) {
	for _, typ := range []string{"TEXT", "IMAGE", "FILE", "VOICE", "LOCATION", "VIDEO", "CONTACT"} {
		list = append(list, Check{
			ID: "message/" + strings.ToLower(typ), run: carrying(typ),
			Does: "Messages of type " + typ + ", on a post and to the bot; wanted is 2xx.",
			Why:  "People send messages of every type, whatever the app can do with them (contract, section 6, message types). " + whyRetried,
			Mend: "Answer 2xx to messages that the app has no use for. Take numbers of any size, and optional fields for optional.",
		})
	}
	return list
}

// oddChecks send what goes wrong on the way, or comes from somebody else.
func oddChecks() []Check {
	return []Check{
		{
			ID: "body/cut-json", run: cutJSON,
			Does: "Half a JSON body; wanted is an answer that is not 2xx.",
			Why:  whyLost,
			Mend: "Answer 400 where the body is not JSON.",
		},
		{
			ID: "body/empty", Severity: Warning, run: emptyBody,
			Does: "A webhook without a body; wanted is an answer that is not 2xx.",
			Why:  whyLost,
			Mend: "Answer 400 where there is no body.",
		},
		{
			ID: "body/not-json", Severity: Warning, run: form,
			Does: "A form instead of JSON; wanted is an answer that is not 2xx.",
			Why:  whyLost,
			Mend: "Answer 415 to another content type than application/json, or 400 where the body is not JSON.",
		},
		{
			ID: "method/get", Severity: Warning, run: gets,
			Does: "GET on the event URL; wanted is an answer that is not 2xx.",
			Why:  "The platform only ever uses POST (contract, section 6, webhook). An address that says yes to GET hides that it is not the event URL: a mistyped path looks well.",
			Mend: "Answer 405 to everything but POST.",
		},
		{
			ID: "body/largest", Severity: Warning, wave: hard, run: largestBody,
			Does: "The largest webhook that the platform sends, a post with 64 KiB of data and 4 KiB of metadata; wanted is 2xx.",
			Why:  "An app that listens to posts and has a lower limit fails with a few webhooks that nobody looks for. " + whyRetried,
			Mend: "Allow bodies of 128 KiB at least, and refuse above 1 MiB.",
		},
		{
			ID: "body/huge", wave: hard, run: hugeBody,
			Does: "A body of 1 MiB; wanted is 2xx or 413.",
			Why:  "Who can reach the app can send as much. It must neither hang nor fall over, and say what was too much, as the platform does itself with 413 (contract, section 3).",
			Mend: "Limit the body, and answer 413 above the limit (in Go: http.MaxBytesReader, and errors.As with *http.MaxBytesError).",
		},
		{
			ID: "body/cut", wave: hard, run: cutBody,
			Does: "A body that ends before its Content-Length; wanted is no 2xx, and an end.",
			Why:  whyLost,
			Mend: "Read the whole body before you answer, and answer 400 when that fails.",
		},
		{
			ID: "parallel/at-once", wave: hard, run: parallel,
			Does: "32 webhooks of different conversations at the same time; wanted is 2xx to each within 10 s.",
			Why:  "The platform sends up to 64 webhooks to an app at the same time; only those of one conversation wait for each other (contract, section 6, order).",
			Mend: "Serve requests side by side: more workers, or note the event, answer, and do what takes long afterwards.",
		},

		{
			ID: "repeat/acted-twice", wave: acts, run: actedTwice,
			Does: "The same webhook-id a second time; wanted is that the app sends nothing twice. Seen only with --platform-listen.",
			Why:  whyOnce + " An app that does not look answers its user twice.",
			Mend: "Keep the webhook-ids of the last days with what was done, and answer 2xx to one that is there without doing it again.",
		},
		{
			ID: "repeat/lost", wave: acts, run: lostOnFailure,
			Does: "A webhook while the platform fails the app's calls, and its repeat once it does not; wanted is that the app does then what it could not do. Seen only with --platform-listen.",
			Why:  "The repeat is the second chance: an app that notes a webhook-id before its work is done, or answers 2xx to work that failed, does the work never (contract, section 6, retries).",
			Mend: "Answer 2xx, and note the webhook-id, only after the work is done or is safe in a queue of your own.",
		},
		{
			ID: "repeat/own-message", Severity: Warning, wave: acts, run: answersItself,
			Does: "A message on a post whose sender is a BOT; wanted is no message in return. Seen only with --platform-listen.",
			Why:  "An app hears its own messages, and those of other apps, as messages of type BOT (contract, section 4, chat message). One that answers them talks to itself without end.",
			Mend: "Leave messages alone whose sender.type is not HUMAN.",
		},
		{
			ID: "repeat/at-once", Severity: Warning, wave: held, run: actedAtOnce,
			Does: "The same webhook-id while the app still works on the first; wanted is that the app sends nothing twice. Seen only with --platform-listen.",
			Why:  "After 10 s the platform tries again 5 s later, whether or not the app is still at work (contract, section 6, retries).",
			Mend: "Note the webhook-id as taken before the work, in one step with looking whether it is; answer 503 to a repeat that comes meanwhile, and take the note back when the work fails.",
		},
		{
			ID: "callback/inside", wave: held, run: callsBack,
			Does: "Another webhook while the platform holds an app's call from inside the first; wanted is 2xx. Seen only with --platform-listen.",
			Why:  "The platform goes on sending while the app calls it from inside a webhook (contract, section 6, webhook). An app that takes one at a time stands still as long as its slowest call.",
			Mend: "Hold no lock while you call the platform, and have more than one worker.",
		},

		{
			ID: "slow/blocks-others", wave: slow, run: blocksOthers,
			Does: "Webhooks while another arrives byte by byte; wanted is 2xx within 10 s.",
			Why:  "Each webhook has 10 s (contract, section 6, webhook). One slow line, or one stranger with patience, would keep all events from the app.",
			Mend: "Serve requests side by side. " + mendSlow,
		},
		{
			ID: "slow/never-ends", Severity: Warning, wave: slow, run: neverEnds,
			Does: "A webhook that arrives byte by byte; wanted is that the app ends it within 20 s.",
			Why:  "The platform gives up on a webhook after 10 s (contract, section 6, webhook); who sends longer is somebody else, and takes up a connection for as long as they like.",
			Mend: mendSlow,
		},
		{
			ID: "answer/afterwards", wave: after, run: afterwards,
			Does: "An ordinary webhook after all other checks; wanted is 2xx.",
			Why:  "What a stranger can send must not end the app: what it then misses is tried again for three days only (contract, section 6, retries).",
			Mend: "Look for a crash, or for what is used up, in the app's log.",
		},
	}
}

func sessionChecks() []Check {
	const answer = `Answer 200 with {"url":"https://…"}: absolute, https (http to this machine while you develop), at most 2,048 characters, without a user name or password.`
	var sources []asked
	for _, source := range []string{"CHAT", "CHAT_MESSAGE_ACTION", "POST_ADDON", "MY_POST", "NOTIFICATION", "NEW_PLACE"} {
		sources = append(sources, asked{"source " + source, swap(sessionBody, `"CHAT"`, `"`+source+`"`)})
	}
	long := "https://market.example/back?to="
	long += strings.Repeat("x", maxReturnURL-len(long))
	const data = `{"order":"17","n":1.50,"nothing":null,"list":[1,[],{"a":{}}],"سلام":"<&>"}`
	return []Check{
		{
			ID:   "session/answer",
			Does: `A user opens the app from a chat; wanted is 200 with {"url"} within 5 s.`,
			Why:  whyWaits,
			Mend: answer,
		},
		{
			ID:   "session/key-refused",
			Does: "A call with the identification key; wanted is anything but 401 and 403.",
			Why:  whyWaits,
			Mend: "Give the app and this command the same identification key. It stands in Authorization as it is, without Bearer before it.",
		},
		{
			ID: "session/key-missing", run: keyed(Session, "a call without a key", missingKey),
			Does: "A call without Authorization; wanted is 401 or 403.",
			Why:  "Who can call the URL can open sessions as any user: user_id is believed because the key is right (contract, section 6, session initialization).",
			Mend: mendKey,
		},
		{
			ID: "session/key-wrong", run: keyed(Session, "a call with a wrong key", wrongKey),
			Does: "A call whose key differs in its last character; wanted is 401 or 403.",
			Why:  "Who can call the URL can open sessions as any user: user_id is believed because the key is right (contract, section 6, session initialization).",
			Mend: mendKey,
		},
		{
			ID: "session/nulls", run: variants(Session, asked{"every field that may be null", sessionNulls}),
			Does: "post_token, conversation_id, user_side and user_id null; wanted is a url.",
			Why:  "An app can be opened outside any post and chat: all four may be null. " + whyWaits,
			Mend: "Take the four fields for optional, and show a page that needs none of them.",
		},
		{
			ID: "session/extra-data", run: variants(Session, asked{"extra_data of any shape", swap(sessionBody, `"extra_data":{},"provider_data":{}`, `"extra_data":`+data+`,"provider_data":`+data)}),
			Does: "extra_data with numbers, lists, null and other scripts; wanted is a url.",
			Why:  "extra_data is what the app's own buttons carry, those of its older versions too. " + whyWaits,
			Mend: "Show a page that says what to do when the data is not understood.",
		},
		{
			ID: "session/sides", run: variants(Session, asked{"Supply", sessionBody}, asked{"Demand", swap(sessionBody, `"Supply"`, `"Demand"`)}, asked{"no side", swap(sessionBody, `"Supply"`, `null`)}),
			Does: "user_side Supply, Demand and null; wanted is a url.",
			Why:  "Either side of a chat can open the app, and in a bot's chat there are no sides. " + whyWaits,
			Mend: "Serve both sides, or show the other one a page that says why not.",
		},
		{
			ID: "session/sources", run: variants(Session, sources...),
			Does: "Each source, and one that does not exist yet; wanted is a url.",
			Why:  whyGrows + whyWaits,
			Mend: "Do not refuse a source that you do not know.",
		},
		{
			ID: "session/long-return-url", run: variants(Session, asked{"a return_url of 2,048 characters", swap(sessionBody, "https://market.example/chat", long)}),
			Does: "A return_url of 2,048 characters; wanted is a url.",
			Why:  "return_url may be so long (contract, section 6), while your url may not be longer: return_url in it does not fit. " + whyWaits,
			Mend: "Keep return_url on your side, under a key that goes into the url.",
		},
		{
			ID: "session/unknown-field", run: variants(Session, asked{"a field that does not exist yet", swap(sessionBody, `"source"`, `"new_field":{"a":1},"source"`)}),
			Does: "A field that does not exist yet; wanted is a url.",
			Why:  whyGrows + whyWaits,
			Mend: "Decode without refusing unknown fields.",
		},
		{
			ID: "session/at-once", wave: hard, run: together(Session, sessionBody),
			Does: "16 calls at the same time; wanted is a url to each within 5 s.",
			Why:  whyWaits,
			Mend: "Serve requests side by side.",
		},
	}
}

func actionChecks() []Check {
	const key = "Who can call the URL can click as any user: user_id is believed because the key is right (contract, section 6, dynamic action)."
	const other = `{"not":"yours","n":1.50,"nothing":null,"list":[1,[],{"a":{}}],"سلام":"<&>"}`
	return []Check{
		{
			ID:   "action/answer",
			Does: "A button is clicked; wanted is 200 with an action, a text_message or both within 5 s.",
			Why:  whyActs,
			Mend: `Answer 200 with {"text_message":"…"}, at most 4,096 characters, or {"action":{…}} with exactly one of open_direct_link, open_server_link, open_post_page and open_post_manage_page.`,
		},
		{
			ID:   "action/key-refused",
			Does: "A call with the identification key; wanted is anything but 401 and 403.",
			Why:  whyActs,
			Mend: "Give the app and this command the same identification key. It stands in Authorization as it is, without Bearer before it.",
		},
		{
			ID: "action/key-missing", run: keyed(Action, "a call without a key", missingKey),
			Does: "A call without Authorization; wanted is 401 or 403.",
			Why:  key,
			Mend: mendKey,
		},
		{
			ID: "action/key-wrong", run: keyed(Action, "a call with a wrong key", wrongKey),
			Does: "A call whose key differs in its last character; wanted is 401 or 403.",
			Why:  key,
			Mend: mendKey,
		},
		{
			ID: "action/nulls", run: variants(Action, asked{"every field that may be null", actionNulls}),
			Does: "post_token, conversation_id, user_side and user_id null; wanted is an answer.",
			Why:  "Which of them there is depends on where the button stands. " + whyActs,
			Mend: "Take the four fields for optional.",
		},
		{
			ID: "action/extra-data", run: variants(Action, asked{"extra_data that is not the app's", swap(actionBody, "$data", other)}, asked{"no data", swap(actionBody, "$data", "{}")}),
			Does: "extra_data that the app never made; wanted is an answer.",
			Why:  "Buttons stay in chats for years: those of older versions of the app are clicked too. " + whyActs,
			Mend: "Answer a text_message that says that the button is too old.",
		},
		{
			ID: "action/sides", run: variants(Action, asked{"SUPPLY", actionBody}, asked{"DEMAND", swap(actionBody, `"SUPPLY"`, `"DEMAND"`)}, asked{"no side", swap(actionBody, `"SUPPLY"`, `null`)}),
			Does: "user_side SUPPLY, DEMAND and null; wanted is an answer.",
			Why:  "Either side of a chat can click, and in a bot's chat there are no sides. " + whyActs,
			Mend: "Serve both sides, or answer a text_message that says why not.",
		},
		{
			ID: "action/unknown-field", run: variants(Action, asked{"a field that does not exist yet", swap(actionBody, `"touchpoint"`, `"new_field":{"a":1},"touchpoint"`)}, asked{"a touchpoint that does not exist yet", swap(actionBody, `"CHAT"`, `"NEW_PLACE"`)}),
			Does: "A field and a touchpoint that do not exist yet; wanted is an answer.",
			Why:  whyGrows + whyActs,
			Mend: "Decode without refusing unknown fields and values.",
		},
		{
			ID: "action/twice", run: clicksTwice,
			Does: "The same button twice; wanted is an answer to each click.",
			Why:  "People click twice. The platform does not repeat clicks, and does not hold them back either. " + whyActs,
			Mend: "Answer a second click with words, too.",
		},
		{
			ID: "action/at-once", wave: hard, run: together(Action, actionBody),
			Does: "16 calls at the same time; wanted is an answer to each within 5 s.",
			Why:  whyActs,
			Mend: "Serve requests side by side.",
		},
	}
}
