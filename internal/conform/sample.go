package conform

import (
	"encoding/json"
	"strconv"
	"strings"
	"time"

	"github.com/google/uuid"

	"github.com/openkenar/openkenar/internal/event"
	"github.com/openkenar/openkenar/internal/wire"
)

// sample is a webhook about what never happened: every sample has a
// conversation, a post and so on of its own.
type sample struct {
	id   string   // webhook-id
	refs []string // what a call of the app that acts on it names
	body []byte
}

// What every payload is written from, in the order of the contract's fields.
const (
	postMessage = `{"id":"$message","conversation":{"id":"$conversation","type":"POST","post_token":"$post"},` +
		`"sender":{"side":"BUYER","type":"HUMAN"},"type":"TEXT","sent_at":$at,"text":$text}`
	botMessage = `{"id":"$message","conversation":{"id":"$conversation","type":"BOT"},` +
		`"sender":{"type":"HUMAN"},"type":"TEXT","sent_at":$at,"text":$text}`
	postUpdate = `{"type":"PUBLISH","post":{"token":"$post","category":"bicycle","city":"tehran","district":"velenjak",` +
		`"state":"PUBLISHED","chat_enabled":true,"is_phone_hidden":false,"supplier_chat_assistant_enabled":true,` +
		`"first_published_at":"2024-10-20T13:12:06.14Z","data":{"title":"دوچرخه شهری","price":85000000}}}`
	postLeft    = `{"type":"RETIRE","post":{"token":"$post"}}`
	revocation  = `{"user_id":"$user"}`
	transaction = `{"id":"$message","cost_rials":100000,"extra_details":{},"state":"TRANSACTION_STATE_PENDING","type":"TRANSACTION_TYPE_REORDER"}`

	// anyMetadata is what a subscription may carry (contract section 4).
	anyMetadata = `{"n":1.50,"big":12345678901234567890,"e":1E+2,"nothing":null,"list":[1,[],{"a":{}}],"سلام":"<&>\u0633\/","":false}`
)

// contents are what messages of each type carry.
var contents = []struct{ typ, field string }{
	{"TEXT", `"text":$text`},
	{"TEXT", `"text":"سلام 🙂 <b>&amp;</b> \"quoted\" \\ / \n\t\u0001\u2028"`},
	{"IMAGE", `"image_data":{"link":"https://cdn.example.com/i.jpg?a=1&b=<2>","size_bytes":204800,"height_px":600,"width_px":800}`},
	{"FILE", `"file_data":{"link":"https://cdn.example.com/f.pdf","name":"قرارداد.pdf","size_bytes":5242880}`},
	{"VOICE", `"voice_data":{"link":"https://cdn.example.com/v.m4a","size_bytes":9007199254740993}`},
	{"LOCATION", `"location_data":{"latitude":35.6892,"longitude":51.389}`},
	{"LOCATION", `"location_data":{"latitude":-90,"longitude":1.2e-7}`},
	{"VIDEO", `"video_data":{"link":"https://cdn.example.com/v.mp4","thumbnail_link":"https://cdn.example.com/v.jpg","size_bytes":52428800}`},
	{"VIDEO", `"video_data":{"link":"https://cdn.example.com/v.mp4","size_bytes":52428800}`},
	{"CONTACT", `"contact_data":{"name":"علی","phone":"09120000002"}`},
	{"CONTACT", `"contact_data":{"phone":"09120000002"}`},
}

// payloads are what a webhook of each type carries, with its variants.
var payloads = map[event.Type][]string{
	event.NewMessageOnPost:     {postMessage, swap(postMessage, `"BUYER"`, `"SELLER"`)},
	event.NewChatbotMessage:    {botMessage},
	event.UserAccessRevocation: {revocation},
	event.PostUpdate: {
		postUpdate,
		swap(postUpdate, `"PUBLISH"`, `"ONGOING"`, `"PUBLISHED"`, `"REVIEW_REQ"`, `"2024-10-20T13:12:06.14Z"`, `null`),
		swap(postUpdate, `"PUBLISH"`, `"ONGOING"`, `"PUBLISHED"`, `"PAYMENT_REQ"`),
		postLeft,
		swap(postLeft, "RETIRE", "ARCHIVE"),
	},
	event.PaymentTransaction: {
		transaction,
		swap(transaction, "PENDING", "COMPLETED", `{}`, anyMetadata),
		swap(transaction, "PENDING", "FAILED"),
		swap(transaction, "PENDING", "REFUNDED"),
	},
}

// swap replaces what stands in a text by what is later.
func swap(text string, pairs ...string) string { return strings.NewReplacer(pairs...).Replace(text) }

// of returns a webhook of a type.
func (r *run) of(t event.Type, payload string) sample { return r.at(time.Now(), t, payload) }

// at is of for what is told to have happened at another time.
func (r *run) at(now time.Time, t event.Type, payload string) sample {
	s := r.fresh()
	s.body = event.Envelope(t, r.o.Metadata, []byte(r.filled(payload, now, s.refs)))
	return s
}

// with is of with other metadata than the app's subscriptions carry; "": none.
func (r *run) with(metadata string, t event.Type, payload string) sample {
	s := r.fresh()
	s.body = event.Envelope(t, []byte(metadata), []byte(r.filled(payload, time.Now(), s.refs)))
	return s
}

func (r *run) fresh() sample {
	return sample{id: r.webhookID(), refs: []string{uuid.NewString(), uuid.NewString(), token(8)}}
}

// raw returns a webhook whose whole body is given.
func (r *run) raw(body string) sample {
	s := r.fresh()
	s.body = []byte(r.filled(body, time.Now(), s.refs))
	return s
}

func (r *run) filled(text string, now time.Time, refs []string) string {
	quoted, _ := wire.Marshal(r.o.Text) // a string: cannot fail
	return swap(text, "$conversation", refs[0], "$message", refs[1], "$post", refs[2], "$user", token(22),
		"$at", strconv.FormatInt(now.UnixMicro(), 10), "$text", string(quoted), "$metadata", string(r.o.Metadata))
}

// ordinary is a webhook with nothing special to it.
func (r *run) ordinary() sample { return r.of(event.NewMessageOnPost, postMessage) }

// padded is a webhook of a size in bytes: a post with much data.
func (r *run) padded(size int) sample {
	empty := r.of(event.PostUpdate, swap(postUpdate, `85000000`, `85000000,"padding":"$padding"`))
	empty.body = []byte(swap(string(empty.body), "$padding", strings.Repeat("x", max(0, size-len(empty.body)+len("$padding")))))
	return empty
}

func isObject(b []byte) bool {
	var fields map[string]json.RawMessage
	return json.Unmarshal(b, &fields) == nil && fields != nil
}
