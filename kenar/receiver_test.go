package kenar_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"reflect"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	standardwebhooks "github.com/standard-webhooks/standard-webhooks/libraries/go"

	"github.com/openkenar/openkenar/kenar"
)

const (
	key     = "an-identification-key"
	secret  = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw" //nolint:gosec // a made-up one
	secret2 = "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD" //nolint:gosec // a made-up one
)

// textMessage is the example of the wire's description.
const textMessage = `{"type":"NEW_MESSAGE","metadata":{"key":"value"},
 "new_message":{"id":"e7a08a2c-8ee4-11ef-af85-4e9e9bfa3c12",
  "conversation":{"id":"edbb9499-cccc-4d35-b21f-621fa95f2b3e","type":"POST","post_token":"gZd7omnS"},
  "sender":{"side":"SELLER","type":"BOT"},"type":"TEXT","sent_at":1729429926140000,"text":"Hello!"}}`

var quiet = slog.New(slog.DiscardHandler)

// keyed is a Receiver's options of an app with a key.
func keyed(callback kenar.Callback) kenar.ReceiverOptions {
	return kenar.ReceiverOptions{Callers: kenar.Callers{Keys: []string{key}}, OnNewMessage: callback, OnOther: callback, Log: quiet}
}

func accept(context.Context, *kenar.Delivery) error { return nil }

// inbox is a callback that keeps what comes.
type inbox struct {
	mu   sync.Mutex
	all  []*kenar.Delivery
	says func(*kenar.Delivery) error // nil: nil
}

func (i *inbox) take(_ context.Context, d *kenar.Delivery) error {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.all = append(i.all, d)
	if i.says != nil {
		return i.says(d)
	}
	return nil
}

func (i *inbox) deliveries() []*kenar.Delivery {
	i.mu.Lock()
	defer i.mu.Unlock()
	return slices.Clone(i.all)
}

func receiver(t testing.TB, o kenar.ReceiverOptions) *kenar.Receiver {
	t.Helper()
	r, err := kenar.NewReceiver(o)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func listen(t testing.TB, h http.Handler) (url string) {
	t.Helper()
	server := httptest.NewServer(h)
	t.Cleanup(server.Close)
	return server.URL
}

type answer struct {
	status int
	body   string
	header http.Header
}

// post sends a body with pairs of header names and values.
func post(t testing.TB, url string, body io.Reader, header ...string) answer {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, url, body)
	if err != nil {
		t.Fatal(err)
	}
	for pair := range slices.Chunk(header, 2) {
		req.Header.Add(pair[0], pair[1])
	}
	return do(t, http.DefaultTransport, req)
}

func do(t testing.TB, transport http.RoundTripper, req *http.Request) answer {
	t.Helper()
	resp, err := transport.RoundTrip(req)
	if err != nil {
		t.Error(err)
		return answer{}
	}
	defer resp.Body.Close()
	content, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Error(err)
	}
	return answer{resp.StatusCode, string(content), resp.Header}
}

// authorized sends a body with the right key.
func authorized(t testing.TB, url, body string, header ...string) answer {
	t.Helper()
	return post(t, url, strings.NewReader(body), append([]string{"Authorization", key}, header...)...)
}

func TestTextMessage(t *testing.T) {
	t.Parallel()
	in := new(inbox)
	url := listen(t, receiver(t, keyed(in.take)))
	got := authorized(t, url, textMessage, "webhook-id", "1-app", "webhook-timestamp", "1729429927", "OpenKenar-Attempt", "3")
	if got.status != http.StatusOK || got.body != "" {
		t.Fatalf("answer: %+v", got)
	}
	all := in.deliveries()
	if len(all) != 1 {
		t.Fatalf("%d deliveries", len(all))
	}
	d := all[0]
	want := &kenar.Delivery{
		ID: "1-app", Attempt: 3, Timestamp: time.Unix(1729429927, 0).UTC(), Body: []byte(textMessage),
		Event: kenar.Event{
			Type: kenar.EventNewMessage, Metadata: []byte(`{"key":"value"}`),
			NewMessage: &kenar.Message{
				ID:           "e7a08a2c-8ee4-11ef-af85-4e9e9bfa3c12",
				Conversation: kenar.Conversation{ID: "edbb9499-cccc-4d35-b21f-621fa95f2b3e", Type: kenar.ConversationOnPost, PostToken: "gZd7omnS"},
				Sender:       kenar.Sender{Type: kenar.SenderBot, Side: kenar.SideSeller},
				Type:         kenar.MessageText, Text: "Hello!",
				SentAt: kenar.Time{Time: time.UnixMicro(1729429926140000).UTC()},
			},
		},
	}
	if !reflect.DeepEqual(d, want) {
		t.Errorf("got  %+v\nwant %+v", d, want)
	}
	meta, err := kenar.Decode[struct{ Key string }](d.Metadata)
	if err != nil || meta.Key != "value" || d.IsTest() {
		t.Errorf("metadata: %+v %v", meta, err)
	}
}

// TestEvents: what comes in each form that platforms are known to use, and what
// they may come to use.
func TestEvents(t *testing.T) {
	t.Parallel()
	in := new(inbox)
	hears := func(who string) kenar.Callback {
		return func(ctx context.Context, d *kenar.Delivery) error {
			d.ID = who
			return in.take(ctx, d)
		}
	}
	url := listen(t, receiver(t, kenar.ReceiverOptions{
		Callers: kenar.Callers{Keys: []string{key}}, OnNewMessage: hears("message"), OnNewChatbotMessage: hears("bot"),
		OnAccessRevoked: hears("revoked"), OnPostUpdate: hears("post"), OnTransaction: hears("transaction"), OnOther: hears("other"), Log: quiet,
	}))
	first := time.Date(2024, 10, 20, 13, 12, 6, 140_000_000, time.UTC)
	message := func(m kenar.Message) kenar.Event {
		return kenar.Event{Type: kenar.EventNewMessage, NewMessage: &m}
	}
	transaction := kenar.Event{Type: kenar.EventPaymentTransaction, Transaction: &kenar.Transaction{
		ID: "t", CostRials: 100000, ExtraDetails: []byte(`{"a":1}`), State: kenar.TransactionPending, Type: kenar.TransactionReorder,
	}}
	const payment = `{"id":"t","cost_rials":100000,"extra_details":{"a":1},"state":"TRANSACTION_STATE_PENDING","type":"TRANSACTION_TYPE_REORDER"}`
	for _, test := range []struct {
		name, body, heard string
		want              kenar.Event
	}{
		{
			"of a bot", `{"type":"NEW_CHATBOT_MESSAGE","new_chatbot_message":{"id":"m","conversation":{"id":"c","type":"BOT"},"sender":{"type":"HUMAN"},"type":"TEXT","sent_at":1729429926140000,"text":"/start"}}`, "bot",
			kenar.Event{Type: kenar.EventNewChatbotMessage, NewChatbotMessage: &kenar.Message{
				ID: "m", Conversation: kenar.Conversation{ID: "c", Type: kenar.ConversationWithBot}, Sender: kenar.Sender{Type: kenar.SenderHuman},
				Type: kenar.MessageText, SentAt: kenar.Time{Time: first}, Text: "/start",
			}},
		},
		{
			"image, sizes as numbers", `{"type":"NEW_MESSAGE","new_message":{"type":"IMAGE","image_data":{"link":"https://l","size_bytes":7,"height_px":2,"width_px":3}}}`, "message",
			message(kenar.Message{Type: kenar.MessageImage, Image: &kenar.ImageData{Link: "https://l", SizeBytes: 7, HeightPx: 2, WidthPx: 3}}),
		},
		{
			"image, sizes with a point", `{"type":"NEW_MESSAGE","new_message":{"type":"IMAGE","sent_at":1.72942992614e15,"image_data":{"link":"https://l","size_bytes":7e0,"height_px":2.0,"width_px":"3.0"}}}`, "message",
			message(kenar.Message{Type: kenar.MessageImage, SentAt: kenar.Time{Time: first}, Image: &kenar.ImageData{Link: "https://l", SizeBytes: 7, HeightPx: 2, WidthPx: 3}}),
		},
		{
			"file, sizes as strings", `{"type":"NEW_MESSAGE","new_message":{"type":"FILE","sent_at":"1729429926140000","file_data":{"link":"https://l","name":"n","size_bytes":"7"}}}`, "message",
			message(kenar.Message{Type: kenar.MessageFile, SentAt: kenar.Time{Time: first}, File: &kenar.FileData{Link: "https://l", Name: "n", SizeBytes: 7}}),
		},
		{
			"voice, time as a date", `{"type":"NEW_MESSAGE","new_message":{"type":"VOICE","sent_at":"2024-10-20T13:12:06.14Z","voice_data":{"link":"https://l","size_bytes":null}}}`, "message",
			message(kenar.Message{Type: kenar.MessageVoice, SentAt: kenar.Time{Time: first}, Voice: &kenar.VoiceData{Link: "https://l"}}),
		},
		{
			"location", `{"type":"NEW_MESSAGE","new_message":{"type":"LOCATION","sent_at":null,"location_data":{"latitude":35.7,"longitude":51.4}}}`, "message",
			message(kenar.Message{Type: kenar.MessageLocation, Location: &kenar.LocationData{Latitude: 35.7, Longitude: 51.4}}),
		},
		{
			"video", `{"type":"NEW_MESSAGE","new_message":{"type":"VIDEO","video_data":{"link":"https://l","thumbnail_link":"https://t","size_bytes":7}}}`, "message",
			message(kenar.Message{Type: kenar.MessageVideo, Video: &kenar.VideoData{Link: "https://l", ThumbnailLink: "https://t", SizeBytes: 7}}),
		},
		{
			"contact", `{"type":"NEW_MESSAGE","new_message":{"type":"CONTACT","contact_data":{"phone":"0912"}}}`, "message",
			message(kenar.Message{Type: kenar.MessageContact, Contact: &kenar.ContactData{Phone: "0912"}}),
		},
		{
			"unknown values, fields and nulls", `{"type":"NEW_MESSAGE","later":{"a":[1]},"metadata":null,"new_message":{"id":null,"conversation":null,"sender":{"type":"ROBOT","side":"ABOVE","mood":1},"type":"STICKER","sticker_data":{},"text":null,"image_data":null}}`, "message",
			message(kenar.Message{Sender: kenar.Sender{Type: "ROBOT", Side: "ABOVE"}, Type: "STICKER"}),
		},
		{
			"revocation", `{"metadata":{"n":9007199254740993},"user_access_revocation":{"user_id":"u"},"type":"USER_ACCESS_REVOCATION"}`, "revoked",
			kenar.Event{Type: kenar.EventUserAccessRevocation, Metadata: []byte(`{"n":9007199254740993}`), UserAccessRevocation: &kenar.UserAccessRevocation{UserID: "u"}},
		},
		{
			"post", `{"type":"POST_UPDATE","post_update":{"type":"PUBLISH","post":{"token":"p","category":"c","city":"t","district":"d","state":"PUBLISHED","chat_enabled":true,"is_phone_hidden":true,"supplier_chat_assistant_enabled":true,"first_published_at":"2024-10-20T13:12:06.14Z","data":{"x":1}}}}`, "post",
			kenar.Event{Type: kenar.EventPostUpdate, PostUpdate: &kenar.PostUpdate{Type: kenar.PostPublished, Post: kenar.Post{
				Token: "p", Category: "c", City: "t", District: "d", State: kenar.StatePublished, ChatEnabled: true, PhoneHidden: true, ChatAssistant: true,
				FirstPublishedAt: kenar.Time{Time: first}, Data: []byte(`{"x":1}`),
			}}},
		},
		{
			"post, time as a number", `{"type":"POST_UPDATE","post_update":{"type":"PUBLISH","post":{"token":"p","first_published_at":1729429926140000}}}`, "post",
			kenar.Event{Type: kenar.EventPostUpdate, PostUpdate: &kenar.PostUpdate{Type: kenar.PostPublished, Post: kenar.Post{
				Token: "p", FirstPublishedAt: kenar.Time{Time: first},
			}}},
		},
		{
			"post, time empty", `{"type":"POST_UPDATE","post_update":{"type":"ONGOING","post":{"token":"p","first_published_at":""}}}`, "post",
			kenar.Event{Type: kenar.EventPostUpdate, PostUpdate: &kenar.PostUpdate{Type: kenar.PostOngoing, Post: kenar.Post{Token: "p"}}},
		},
		{
			"post that is gone", `{"type":"POST_UPDATE","post_update":{"type":"ARCHIVE","post":{"token":"p","first_published_at":null}}}`, "post",
			kenar.Event{Type: kenar.EventPostUpdate, PostUpdate: &kenar.PostUpdate{Type: kenar.PostArchived, Post: kenar.Post{Token: "p"}}},
		},
		{"transaction", `{"type":"PAYMENT_TRANSACTION","transaction":` + payment + `}`, "transaction", transaction},
		{"payment_transaction", `{"type":"PAYMENT_TRANSACTION","transaction":null,"payment_transaction":` + payment + `}`, "transaction", transaction},
		{"both", `{"type":"PAYMENT_TRANSACTION","transaction":` + payment + `,"payment_transaction":` + payment + `}`, "transaction", transaction},
		{"unknown type", `{"type":"POST_SOLD","metadata":["no object"],"post_sold":{},"transaction":"another thing","new_message":7}`, "other", kenar.Event{Type: "POST_SOLD", Metadata: []byte(`["no object"]`)}},
	} {
		if got := authorized(t, url, test.body); got.status != http.StatusOK {
			t.Errorf("%s: %+v", test.name, got)
			continue
		}
		all := in.deliveries()
		last := all[len(all)-1]
		if last.ID != test.heard || !reflect.DeepEqual(last.Event, test.want) || string(last.Body) != test.body {
			t.Errorf("%s: %s heard\n%+v, want\n%+v", test.name, last.ID, last.Event, test.want)
		}
	}
}

func TestMalformed(t *testing.T) {
	t.Parallel()
	in := new(inbox)
	url := listen(t, receiver(t, keyed(in.take)))
	for _, test := range []struct{ body, says string }{
		{"", "malformed JSON"},
		{" ", "malformed JSON"},
		{"null", "not a JSON object"},
		{"[]", "not a JSON object"},
		{`"x"`, "not a JSON object"},
		{`{"type":`, "malformed JSON"},
		{textMessage + "x", "malformed JSON"},
		{textMessage[:len(textMessage)-1], "malformed JSON"},
		{"{}", "type: missing"},
		{`{"type":null}`, "type: missing"},
		{`{"type":""}`, "type: missing"},
		{`{"type":7}`, "type: a JSON number"},
		{`{"type":"NEW_MESSAGE"}`, "new_message: missing or null"},
		{`{"type":"NEW_MESSAGE","new_message":null}`, "new_message: missing or null"},
		{`{"type":"NEW_MESSAGE","new_chatbot_message":{}}`, "new_message: missing or null"},
		{`{"type":"NEW_CHATBOT_MESSAGE","new_message":{}}`, "new_chatbot_message: missing or null"},
		{`{"type":"USER_ACCESS_REVOCATION"}`, "user_access_revocation: missing or null"},
		{`{"type":"POST_UPDATE"}`, "post_update: missing or null"},
		{`{"type":"PAYMENT_TRANSACTION"}`, "transaction: missing or null"},
		{`{"type":"NEW_MESSAGE","new_message":[]}`, "new_message: a JSON array"},
		{`{"type":"NEW_MESSAGE","new_message":{"text":5}}`, "new_message.text: a JSON number"},
		{`{"type":"NEW_MESSAGE","new_message":{"sent_at":"yesterday"}}`, "new_message.sent_at: a JSON value \"yesterday\""},
		{`{"type":"NEW_MESSAGE","new_message":{"image_data":{"size_bytes":1.5}}}`, "new_message.image_data.size_bytes: a JSON value 1.5"},
		{`{"type":"NEW_MESSAGE","new_message":{"image_data":{"size_bytes":1e19}}}`, "new_message.image_data.size_bytes: a JSON value 1e19"},
		{`{"type":"NEW_MESSAGE","new_message":{"image_data":{"size_bytes":"NaN"}}}`, "new_message.image_data.size_bytes: a JSON value \"NaN\""},
		{`{"type":"POST_UPDATE","post_update":{"post":{"first_published_at":"yesterday"}}}`, "post_update.post.first_published_at: a JSON value"},
		{"{\"type\":\"NEW_MESSAGE\",\"new_message\":{\"text\":\"\xff\"}}", "not UTF-8"},
		{strings.Repeat("[", 20_000), "not a JSON object"},
		{`{"type":"X","a":` + strings.Repeat("[", 20_000), "malformed JSON"},
	} {
		got := authorized(t, url, test.body)
		if got.status != http.StatusBadRequest || !strings.HasPrefix(got.body, "body: "+test.says) {
			t.Errorf("%.60q: %d %q, want 400 %q", test.body, got.status, got.body, test.says)
		}
		if got.header.Get("X-Content-Type-Options") != "nosniff" {
			t.Error("a browser may guess what the answer is")
		}
	}
	if all := in.deliveries(); len(all) != 0 {
		t.Errorf("callbacks heard %d of them", len(all))
	}
}

func TestKeys(t *testing.T) {
	t.Parallel()
	in := new(inbox)
	o := keyed(in.take)
	o.Callers.Keys = []string{"the-new-key", key}
	url := listen(t, receiver(t, o))
	for _, test := range []struct {
		header []string
		want   int
	}{
		{[]string{"Authorization", key}, 200},
		{[]string{"authorization", "the-new-key"}, 200},
		{nil, 401},
		{[]string{"Authorization", ""}, 401},
		{[]string{"Authorization", key[1:]}, 401},
		{[]string{"Authorization", key + "x"}, 401},
		{[]string{"Authorization", "Bearer " + key}, 401},
		{[]string{"Authorization", strings.ToUpper(key)}, 401},
		{[]string{"Authorization", "wrong", "Authorization", key}, 401},
		{[]string{"Authorization", key, "Authorization", key}, 401},
		{[]string{"X-Authorization", key}, 401},
	} {
		got := post(t, url, strings.NewReader(textMessage), test.header...)
		if got.status != test.want {
			t.Errorf("%q: %d %q, want %d", test.header, got.status, got.body, test.want)
		}
		if strings.Contains(got.body, key) || strings.Contains(got.body, "the-new-key") {
			t.Errorf("%q: the answer shows a key: %q", test.header, got.body)
		}
	}
	if all := in.deliveries(); len(all) != 1 { // the second is a repeat of the first
		t.Errorf("%d deliveries", len(all))
	}
}

func TestMethods(t *testing.T) {
	t.Parallel()
	url := listen(t, receiver(t, keyed(accept)))
	for _, method := range []string{http.MethodGet, http.MethodHead, http.MethodPut, http.MethodDelete, http.MethodOptions, "post", "ANY"} {
		req, err := http.NewRequestWithContext(t.Context(), method, url, strings.NewReader(textMessage))
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Authorization", key)
		if got := do(t, http.DefaultTransport, req); got.status != http.StatusMethodNotAllowed || got.header.Get("Allow") != "POST" {
			t.Errorf("%s: %+v", method, got)
		}
	}
}

func TestAddresses(t *testing.T) {
	t.Parallel()
	prefixes := func(texts ...string) (all []netip.Prefix) {
		for _, text := range texts {
			all = append(all, netip.MustParsePrefix(text))
		}
		return all
	}
	for _, test := range []struct {
		name      string
		addresses []netip.Prefix
		proxies   []netip.Prefix
		peer      string
		forwarded []string
		want      int
	}{
		{"anywhere", nil, nil, "203.0.113.9:1", nil, 200},
		{"anywhere, of no address", nil, nil, "@", nil, 200},
		{"one of the published", kenar.DivarAddresses(), nil, "78.111.6.42:1", nil, 200},
		{"in the published range", kenar.DivarAddresses(), nil, "31.214.250.159:1", nil, 200},
		{"below the published range", kenar.DivarAddresses(), nil, "31.214.250.127:1", nil, 403},
		{"above the published range", kenar.DivarAddresses(), nil, "31.214.250.160:1", nil, 403},
		{"beside the published", kenar.DivarAddresses(), nil, "78.111.6.44:1", nil, 403},
		{"IPv4 in IPv6", kenar.DivarAddresses(), nil, "[::ffff:78.111.6.41]:1", nil, 200},
		{"IPv6", prefixes("2001:db8::/32"), nil, "[2001:db8::1]:1", nil, 200},
		{"IPv6 with a zone", prefixes("fe80::/10"), nil, "[fe80::1%eth0]:1", nil, 200},
		{"no address", kenar.DivarAddresses(), nil, "@", nil, 403},
		{"forwarded by nobody that is trusted", kenar.DivarAddresses(), nil, "10.0.0.1:1", []string{"78.111.6.41"}, 403},
		{"forwarded by another than the proxy", kenar.DivarAddresses(), prefixes("10.0.0.0/8"), "192.0.2.1:1", []string{"78.111.6.41"}, 403},
		{"from a published address that says to be elsewhere", kenar.DivarAddresses(), prefixes("10.0.0.0/8"), "78.111.6.41:1", []string{"192.0.2.1"}, 200},
		{"forwarded", kenar.DivarAddresses(), prefixes("10.0.0.0/8"), "10.0.0.1:1", []string{"78.111.6.41"}, 200},
		{"forwarded with a port", kenar.DivarAddresses(), prefixes("10.0.0.0/8"), "10.0.0.1:1", []string{"78.111.6.41:4711"}, 200},
		{"made up at the left", kenar.DivarAddresses(), prefixes("10.0.0.0/8"), "10.0.0.1:1", []string{"78.111.6.41, 192.0.2.1"}, 403},
		{"made up in a header of its own", kenar.DivarAddresses(), prefixes("10.0.0.0/8"), "10.0.0.1:1", []string{"78.111.6.41", "192.0.2.1"}, 403},
		{"rubbish at the left", kenar.DivarAddresses(), prefixes("10.0.0.0/8"), "10.0.0.1:1", []string{"unknown, 78.111.6.41"}, 200},
		{"rubbish at the right", kenar.DivarAddresses(), prefixes("10.0.0.0/8"), "10.0.0.1:1", []string{"78.111.6.41, unknown"}, 403},
		{"through two proxies", kenar.DivarAddresses(), prefixes("10.0.0.0/8", "2001:db8::/32"), "[2001:db8::1]:1", []string{"192.0.2.1, 78.111.6.41", "10.0.0.7"}, 200},
		{"proxies alone", kenar.DivarAddresses(), prefixes("10.0.0.0/8"), "10.0.0.1:1", []string{"10.0.0.2"}, 403},
		{"proxies alone, which may", prefixes("10.0.0.2/32"), prefixes("10.0.0.0/8"), "10.0.0.1:1", []string{"10.0.0.2"}, 200},
		{"a proxy that says nothing", kenar.DivarAddresses(), prefixes("10.0.0.0/8"), "10.0.0.1:1", nil, 403},
		{"an empty header", kenar.DivarAddresses(), prefixes("10.0.0.0/8"), "10.0.0.1:1", []string{""}, 403},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			o := keyed(accept)
			o.Callers.Addresses, o.Callers.TrustedProxies = test.addresses, test.proxies
			r := receiver(t, o)
			url := listen(t, http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
				req.RemoteAddr = test.peer // a test cannot call from there
				r.ServeHTTP(w, req)
			}))
			var header []string
			for _, f := range test.forwarded {
				header = append(header, "X-Forwarded-For", f)
			}
			if got := authorized(t, url, textMessage, header...); got.status != test.want {
				t.Errorf("%+v, want %d", got, test.want)
			}
		})
	}
}

// sign is the headers of a signed webhook, with the id 1.
func sign(t testing.TB, at time.Time, body string, secrets ...string) []string {
	t.Helper()
	var signatures []string
	for _, s := range secrets {
		signer, err := standardwebhooks.NewWebhook(s)
		if err != nil {
			t.Fatal(err)
		}
		signature, err := signer.Sign("1", at, []byte(body))
		if err != nil {
			t.Fatal(err)
		}
		signatures = append(signatures, signature)
	}
	return []string{
		"webhook-id", "1", "webhook-timestamp", strconv.FormatInt(at.Unix(), 10), "webhook-signature", strings.Join(signatures, " "),
	}
}

func TestSignatures(t *testing.T) {
	t.Parallel()
	other := "whsec_" + strings.Repeat("b3Ro", 10)
	now := time.Now()
	unprefixed := strings.TrimPrefix(secret, "whsec_")
	without := func(name string) []string {
		h := sign(t, now, textMessage, secret)
		i := slices.Index(h, name)
		return slices.Delete(h, i, i+2)
	}
	with := func(name, value string) []string { return append(without(name), name, value) }
	good := sign(t, now, textMessage, secret)[5]
	for _, test := range []struct {
		name    string
		secrets []string
		header  []string
		want    int
	}{
		{"signed", []string{secret}, sign(t, now, textMessage, secret), 200},
		{"a secret without its prefix", []string{unprefixed}, sign(t, now, textMessage, secret), 200},
		{"the platform changes its secret", []string{secret}, sign(t, now, textMessage, secret2, secret), 200},
		{"the app knows both", []string{secret2, secret}, sign(t, now, textMessage, secret), 200},
		{"among others", []string{secret}, with("webhook-signature", "v2,x v1 v1a,abc "+good+" v1,"), 200},
		{"another secret", []string{secret}, sign(t, now, textMessage, other), 401},
		{"another body", []string{secret}, sign(t, now, textMessage+" ", secret), 401},
		{"another id", []string{secret}, append(without("webhook-id"), "webhook-id", "2"), 401},
		{"another time", []string{secret}, with("webhook-timestamp", strconv.FormatInt(now.Unix()-1, 10)), 401},
		{"another version", []string{secret}, with("webhook-signature", "v2"+good[2:]), 401},
		{"no signature", []string{secret}, without("webhook-signature"), 401},
		{"an empty signature", []string{secret}, with("webhook-signature", ""), 401},
		{"a short signature", []string{secret}, with("webhook-signature", good[:len(good)-1]), 401},
		{"no id", []string{secret}, without("webhook-id"), 401},
		{"no time", []string{secret}, without("webhook-timestamp"), 401},
		{"a time in words", []string{secret}, with("webhook-timestamp", "now"), 401},
		{"a time beyond all", []string{secret}, with("webhook-timestamp", "9223372036854775807"), 401},
		{"a time before all", []string{secret}, with("webhook-timestamp", "-9223372036854775808"), 401},
		{"nothing is asked for", nil, without("webhook-signature"), 200},
	} {
		in := new(inbox)
		o := keyed(in.take)
		o.Secrets = test.secrets
		got := authorized(t, listen(t, receiver(t, o)), textMessage, test.header...)
		if heard := len(in.deliveries()); got.status != test.want || (heard == 1) != (test.want == 200) {
			t.Errorf("%s: %+v, want %d; heard %d", test.name, got, test.want, heard)
		}
	}

	// Without a key the signature is enough; with one, both are needed.
	o := kenar.ReceiverOptions{Secrets: []string{secret}, OnNewMessage: accept, Log: quiet}
	url := listen(t, receiver(t, o))
	if got := post(t, url, strings.NewReader(textMessage), sign(t, now, textMessage, secret)...); got.status != 200 {
		t.Errorf("signed, of an app without a key: %+v", got)
	}
	if got := authorized(t, url, textMessage); got.status != 401 {
		t.Errorf("unsigned, of an app without a key: %+v", got)
	}
	o.Callers.Keys = []string{key}
	if got := post(t, listen(t, receiver(t, o)), strings.NewReader(textMessage), sign(t, now, textMessage, secret)...); got.status != 401 {
		t.Errorf("signed, without the key: %+v", got)
	}
}

// pipe serves a handler over connections in memory, which keep a bubble's time.
func overPipe(t *testing.T, h http.Handler) *http.Transport {
	t.Helper()
	l := &inMemory{conns: make(chan net.Conn), closed: make(chan struct{})}
	server := &http.Server{Handler: h, ReadHeaderTimeout: time.Minute, BaseContext: func(net.Listener) context.Context { return t.Context() }}
	var serving sync.WaitGroup
	serving.Go(func() { _ = server.Serve(l) })
	transport := &http.Transport{DialContext: l.dial, DisableKeepAlives: true}
	t.Cleanup(func() {
		transport.CloseIdleConnections()
		_ = server.Close()
		serving.Wait()
	})
	return transport
}

type inMemory struct {
	conns  chan net.Conn
	closed chan struct{}
	once   sync.Once
}

func (p *inMemory) dial(ctx context.Context, _, _ string) (net.Conn, error) {
	ours, theirs := net.Pipe()
	select {
	case p.conns <- theirs:
		return ours, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

func (p *inMemory) Accept() (net.Conn, error) {
	select {
	case c := <-p.conns:
		return c, nil
	case <-p.closed:
		return nil, net.ErrClosed
	}
}

func (p *inMemory) Close() error {
	p.once.Do(func() { close(p.closed) })
	return nil
}

func (p *inMemory) Addr() net.Addr { return &net.TCPAddr{} }

// through is authorized over a transport.
func through(t *testing.T, transport http.RoundTripper, body io.Reader, header ...string) answer {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, "http://app.example/event", body)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Authorization", key)
	for pair := range slices.Chunk(header, 2) {
		req.Header.Set(pair[0], pair[1])
	}
	return do(t, transport, req)
}

func TestSignatureWindow(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		tolerance, off time.Duration
		want           int
	}{
		{0, 0, 200},
		{0, 5 * time.Minute, 200},
		{0, 5*time.Minute + time.Second, 401},
		{0, -5 * time.Minute, 200},
		{0, -5*time.Minute - time.Second, 401},
		{time.Second, time.Second, 200},
		{time.Second, -2 * time.Second, 401},
		{time.Hour, -50 * time.Minute, 200},
	} {
		synctest.Test(t, func(t *testing.T) {
			o := keyed(accept)
			o.Secrets, o.Tolerance = []string{secret}, test.tolerance
			transport := overPipe(t, receiver(t, o))
			got := through(t, transport, strings.NewReader(textMessage), sign(t, time.Now().Add(test.off), textMessage, secret)...)
			if got.status != test.want {
				t.Errorf("%+v: %+v", test, got)
			}
		})
	}
}

var errApp = errors.New("the table kenar_orders of db.internal is locked")

func TestVerdicts(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name       string
		says       func(*kenar.Delivery) error
		want       int
		retryAfter string
	}{
		{"done", func(*kenar.Delivery) error { return nil }, 200, ""},
		{"failed", func(*kenar.Delivery) error { return errApp }, 500, ""},
		{"panicked", func(*kenar.Delivery) error { panic(errApp) }, 500, ""},
		{"panicked with nothing", func(*kenar.Delivery) error { panic(nil) }, 500, ""},
		{"aborted", func(*kenar.Delivery) error { panic(http.ErrAbortHandler) }, 500, ""},
		{"rejected", func(*kenar.Delivery) error { return kenar.Reject(errApp) }, 410, ""},
		{"rejected without a reason", func(*kenar.Delivery) error { return kenar.Reject(nil) }, 410, ""},
		{"rejected, wrapped", func(*kenar.Delivery) error { return fmt.Errorf("message: %w", kenar.Reject(errApp)) }, 410, ""},
		{"later", func(*kenar.Delivery) error { return kenar.Later(90*time.Second, errApp) }, 503, "90"},
		{"later, in a part of a second", func(*kenar.Delivery) error { return kenar.Later(1500*time.Millisecond, nil) }, 503, "2"},
		{"later, which is now", func(*kenar.Delivery) error { return kenar.Later(-1, errApp) }, 503, "1"},
	} {
		var log strings.Builder
		in := &inbox{says: test.says}
		o := keyed(in.take)
		o.Log = slog.New(slog.NewTextHandler(&log, nil))
		url := listen(t, receiver(t, o))
		got := authorized(t, url, textMessage, "webhook-id", "one")
		if got.status != test.want || got.header.Get("Retry-After") != test.retryAfter {
			t.Errorf("%s: %+v", test.name, got)
		}
		if strings.Contains(got.body, "kenar_orders") || strings.Contains(got.body, "goroutine") {
			t.Errorf("%s: the answer tells of the app's inside: %s", test.name, got.body)
		}
		post(t, url, strings.NewReader(textMessage), "Authorization", "a stranger's", "webhook-id", "none")
		if strings.Contains(log.String(), "webhook_id=none") {
			t.Errorf("%s: strangers can fill the log: %q", test.name, log.String())
		}
		if logged := strings.Contains(log.String(), "webhook_id=one"); logged != (test.want != 200) {
			t.Errorf("%s: the log says %q", test.name, log.String())
		}
		// Only what is done is not done again.
		authorized(t, url, textMessage, "webhook-id", "one")
		if heard, done := len(in.deliveries()), test.want == 200; done != (heard == 1) {
			t.Errorf("%s: heard %d times", test.name, heard)
		}
	}
	if err := kenar.Reject(errApp); !errors.Is(err, errApp) {
		t.Error("the reason is lost")
	}
}

// TestGoexit: a callback that ends its goroutine has not taken the delivery, and
// does not hold it either.
func TestGoexit(t *testing.T) {
	t.Parallel()
	in := &inbox{says: func(d *kenar.Delivery) error {
		if d.Attempt == 1 {
			runtime.Goexit()
		}
		return nil
	}}
	url := listen(t, receiver(t, keyed(in.take)))
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, url, strings.NewReader(textMessage))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Authorization", key)
	req.Header.Set("OpenKenar-Attempt", "1")
	if resp, err := (&http.Transport{DisableKeepAlives: true}).RoundTrip(req); err == nil {
		resp.Body.Close()
		t.Errorf("it is answered with %d", resp.StatusCode)
	}
	if got := authorized(t, url, textMessage, "OpenKenar-Attempt", "2"); got.status != 200 || len(in.deliveries()) != 2 {
		t.Errorf("the second attempt: %+v", got)
	}
}

func TestRepeatedDeliveries(t *testing.T) {
	t.Parallel()
	postUpdate := `{"type":"POST_UPDATE","post_update":{"type":"PUBLISH","post":{"token":"p"}}}`
	long := strings.Repeat("x", 5000)
	for _, test := range []struct {
		name    string
		bodies  [2]string
		headers [2][]string
		runs    int
		key     string
	}{
		{"the same id", [2]string{textMessage, textMessage}, [2][]string{{"webhook-id", "1"}, {"webhook-id", "1", "OpenKenar-Attempt", "2"}}, 1, "1"},
		{"the same id of anything", [2]string{postUpdate, textMessage}, [2][]string{{"webhook-id", "1"}, {"webhook-id", "1"}}, 1, "1"},
		{"other ids", [2]string{textMessage, textMessage}, [2][]string{{"webhook-id", "1"}, {"webhook-id", "2"}}, 2, "1"},
		{"a long id", [2]string{textMessage, textMessage}, [2][]string{{"webhook-id", long}, {"webhook-id", long}}, 1, "sha256/"},
		{"other long ids", [2]string{textMessage, textMessage}, [2][]string{{"webhook-id", long}, {"webhook-id", long + "y"}}, 2, "sha256/"},
		{"no id, the same message", [2]string{textMessage, textMessage}, [2][]string{}, 1, "message/e7a08a2c-8ee4-11ef-af85-4e9e9bfa3c12"},
		{"no id, other messages", [2]string{textMessage, strings.Replace(textMessage, "e7a0", "e7a1", 1)}, [2][]string{}, 2, "message/"},
		{"no id, the same change", [2]string{postUpdate, postUpdate}, [2][]string{}, 2, ""},
		{"no id, messages without one", [2]string{`{"type":"NEW_MESSAGE","new_message":{}}`, `{"type":"NEW_MESSAGE","new_message":{}}`}, [2][]string{}, 2, ""},
	} {
		in := new(inbox)
		url := listen(t, receiver(t, keyed(in.take)))
		for i, body := range test.bodies {
			if got := authorized(t, url, body, test.headers[i]...); got.status != 200 {
				t.Errorf("%s: %+v", test.name, got)
			}
		}
		all := in.deliveries()
		if len(all) != test.runs {
			t.Errorf("%s: the callback ran %d times, want %d", test.name, len(all), test.runs)
		}
		key := all[0].RepeatKey()
		if !strings.HasPrefix(key, test.key) || (test.key == "") != (key == "") || len(key) > 128 {
			t.Errorf("%s: its key is %q, want %q", test.name, key, test.key)
		}
	}
}

// TestAtOnce: attempts of one delivery that come at the same time do not run at
// the same time.
func TestAtOnce(t *testing.T) {
	t.Parallel()
	const calls = 16
	begun, goOn := make(chan struct{}, calls), make(chan struct{})
	var runs atomic.Int32
	url := listen(t, receiver(t, keyed(func(context.Context, *kenar.Delivery) error {
		runs.Add(1)
		begun <- struct{}{}
		<-goOn
		return nil
	})))
	statuses := make(chan int, calls)
	var calling sync.WaitGroup
	for range calls {
		calling.Go(func() { statuses <- authorized(t, url, textMessage, "webhook-id", "1").status })
	}
	<-begun
	for range calls - 1 {
		if status := <-statuses; status != http.StatusServiceUnavailable {
			t.Errorf("while the first is at work, another is answered with %d", status)
		}
	}
	close(goOn)
	calling.Wait()
	if status := <-statuses; status != http.StatusOK {
		t.Errorf("the first is answered with %d", status)
	}
	if got := authorized(t, url, textMessage, "webhook-id", "1"); got.status != http.StatusOK || runs.Load() != 1 {
		t.Errorf("the next attempt: %+v after %d runs", got, runs.Load())
	}
}

// TestOthersGoOn: one slow delivery holds no other.
func TestOthersGoOn(t *testing.T) {
	t.Parallel()
	begun, goOn := make(chan struct{}), make(chan struct{})
	url := listen(t, receiver(t, keyed(func(_ context.Context, d *kenar.Delivery) error {
		if d.ID == "slow" {
			close(begun)
			<-goOn
		}
		return nil
	})))
	var slow sync.WaitGroup
	slow.Go(func() {
		if got := authorized(t, url, textMessage, "webhook-id", "slow"); got.status != http.StatusOK {
			t.Errorf("the slow one: %+v", got)
		}
	})
	<-begun
	if got := authorized(t, url, textMessage, "webhook-id", "fast"); got.status != http.StatusOK {
		t.Errorf("the fast one: %+v", got)
	}
	close(goOn)
	slow.Wait()
}

// broken is Repeats that fail where they are told to.
type broken struct {
	kenar.Repeats
	begin, done error
}

func (b broken) Begin(ctx context.Context, id string) (kenar.Turn, error) {
	if b.begin != nil {
		return 0, b.begin
	}
	return b.Repeats.Begin(ctx, id)
}

func (b broken) Done(ctx context.Context, id string) error {
	if b.done != nil {
		return b.done
	}
	return b.Repeats.Done(ctx, id)
}

func memory(t testing.TB, o kenar.MemoryRepeatsOptions) *kenar.MemoryRepeats {
	t.Helper()
	m, err := kenar.NewMemoryRepeats(o)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

func TestBrokenRepeats(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name   string
		begin  error
		done   error
		status int
		runs   int
	}{
		{"it is not known whether it is done", errApp, nil, 503, 0},
		{"it is done, and that is not noted", nil, errApp, 200, 1},
	} {
		in := new(inbox)
		o := keyed(in.take)
		o.Repeats = broken{memory(t, kenar.MemoryRepeatsOptions{}), test.begin, test.done}
		got := authorized(t, listen(t, receiver(t, o)), textMessage)
		if got.status != test.status || len(in.deliveries()) != test.runs || strings.Contains(got.body, "kenar_orders") {
			t.Errorf("%s: %+v, %d runs", test.name, got, len(in.deliveries()))
		}
	}
}

func TestMemoryRepeats(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		m := memory(t, kenar.MemoryRepeatsOptions{Count: 3, Age: time.Hour})
		ctx := t.Context()
		begin := func(id string, want kenar.Turn) {
			t.Helper()
			if got, err := m.Begin(ctx, id); got != want || err != nil {
				t.Errorf("%s: %d %v, want %d", id, got, err, want)
			}
		}
		note := func(err error) {
			t.Helper()
			if err != nil {
				t.Error(err)
			}
		}
		begin("a", kenar.TurnFirst)
		begin("a", kenar.TurnBusy)
		note(m.Release(ctx, "a"))
		begin("a", kenar.TurnFirst)
		note(m.Done(ctx, "a"))
		note(m.Done(ctx, "a"))
		begin("a", kenar.TurnDone)
		for _, id := range []string{"b", "c", "d"} {
			begin(id, kenar.TurnFirst)
			note(m.Done(ctx, id))
		}
		begin("b", kenar.TurnDone)
		begin("d", kenar.TurnDone)
		begin("a", kenar.TurnFirst) // the oldest of four is forgotten
		note(m.Release(ctx, "a"))

		<-time.After(time.Hour)
		begin("b", kenar.TurnDone)
		<-time.After(time.Nanosecond)
		begin("b", kenar.TurnFirst)
		<-time.After(24 * time.Hour)
		begin("b", kenar.TurnBusy) // what is at work has no age
	})
	for _, o := range []kenar.MemoryRepeatsOptions{{Count: -1}, {Age: -1}} {
		if _, err := kenar.NewMemoryRepeats(o); err == nil {
			t.Errorf("%+v is taken", o)
		}
	}
}

func TestLargeBodies(t *testing.T) {
	t.Parallel()
	in := new(inbox)
	url := listen(t, receiver(t, keyed(in.take)))
	o := keyed(in.take)
	o.MaxBody = 100
	small := listen(t, receiver(t, o))
	body := func(size int) string {
		const head, tail = `{"type":"X","padding":"`, `"}`
		return head + strings.Repeat("x", size-len(head)-len(tail)) + tail
	}
	for _, test := range []struct {
		url     string
		size    int
		status  int
		chunked bool
	}{
		{url, 1 << 20, 200, false},
		{url, 1 << 20, 200, true},
		{url, 1<<20 + 1, 413, false},
		{url, 1<<20 + 1, 413, true},
		{small, 100, 200, false},
		{small, 101, 413, true},
	} {
		var r io.Reader = strings.NewReader(body(test.size))
		if test.chunked {
			r = struct{ io.Reader }{r}
		}
		if got := post(t, test.url, r, "Authorization", key); got.status != test.status {
			t.Errorf("%d bytes, chunked %t: %d %q, want %d", test.size, test.chunked, got.status, got.body, test.status)
		}
	}
}

// TestTruncated: a body that breaks off is nobody's event.
func TestTruncated(t *testing.T) {
	t.Parallel()
	in := new(inbox)
	url := listen(t, receiver(t, keyed(in.take)))
	conn, err := (&net.Dialer{}).DialContext(t.Context(), "tcp", strings.TrimPrefix(url, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close() }()
	fmt.Fprintf(conn, "POST / HTTP/1.1\r\nHost: app\r\nAuthorization: %s\r\nContent-Length: %d\r\n\r\n%s", key, len(textMessage)+1, textMessage)
	if err := conn.(*net.TCPConn).CloseWrite(); err != nil {
		t.Fatal(err)
	}
	resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusBadRequest || len(in.deliveries()) != 0 {
		t.Errorf("a truncated body: %d, heard %d", resp.StatusCode, len(in.deliveries()))
	}
}

// TestSlowSender: a sender who is slow holds nothing for longer than Timeout,
// and one who is just in time is taken.
func TestSlowSender(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		wait   time.Duration
		status int
	}{{7 * time.Second, 200}, {9 * time.Second, 408}} {
		synctest.Test(t, func(t *testing.T) {
			in := new(inbox)
			transport := overPipe(t, receiver(t, keyed(in.take)))
			r, w := io.Pipe()
			var sending sync.WaitGroup
			sending.Go(func() {
				_, _ = io.WriteString(w, textMessage[:10])
				<-time.After(test.wait)
				_, _ = io.WriteString(w, textMessage[10:])
				_ = w.Close()
			})
			start := time.Now()
			got := through(t, transport, r)
			if took := time.Since(start); got.status != test.status || took > 8*time.Second {
				t.Errorf("after %s: %+v, took %s", test.wait, got, took)
			}
			_ = r.Close()
			sending.Wait()
		})
	}
}

// TestSlowStranger: who is refused before the body is read holds nothing for
// longer than Timeout by not sending it.
func TestSlowStranger(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		header []string
		from   []netip.Prefix
		status int
	}{
		"wrong key":     {[]string{"Authorization", "another"}, nil, 401},
		"wrong address": {nil, kenar.DivarAddresses(), 403},
	} {
		synctest.Test(t, func(t *testing.T) {
			o := keyed(accept)
			o.Callers.Addresses = test.from
			transport := overPipe(t, receiver(t, o))
			transport.DisableKeepAlives = false // or the server does not wait for the rest
			r, w := io.Pipe()                   // nobody writes
			defer func() { _ = w.Close() }()
			start := time.Now()
			got := through(t, transport, r, test.header...)
			if took := time.Since(start); got.status != test.status || took > 8*time.Second {
				t.Errorf("%s: %+v, took %s", name, got, took)
			}
		})
	}
}

// TestSlowCallback: its context ends in time, and not because the body's time is
// over.
func TestSlowCallback(t *testing.T) {
	t.Parallel()
	for _, test := range []struct{ timeout, ends time.Duration }{{0, 8 * time.Second}, {time.Minute, time.Minute}} {
		synctest.Test(t, func(t *testing.T) {
			o := keyed(func(ctx context.Context, _ *kenar.Delivery) error {
				<-ctx.Done()
				return ctx.Err()
			})
			o.Timeout = test.timeout
			transport := overPipe(t, receiver(t, o))
			start := time.Now()
			got := through(t, transport, strings.NewReader(textMessage))
			if took := time.Since(start); got.status != http.StatusInternalServerError || took != test.ends {
				t.Errorf("%+v after %s, want %s", got, took, test.ends)
			}
		})
	}
}

// inTime is Repeats that do nothing once their context has ended, as a database
// does.
type inTime struct{ kenar.Repeats }

// Done implements kenar.Repeats.
func (r inTime) Done(ctx context.Context, id string) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	return r.Repeats.Done(ctx, id)
}

// TestHangUp: a platform that does not wait any more ends the callback's
// context; what the callback does all the same counts.
func TestHangUp(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		runs, ended := 0, make(chan struct{})
		o := keyed(func(ctx context.Context, _ *kenar.Delivery) error {
			runs++
			<-ctx.Done()
			close(ended)
			return nil
		})
		o.Repeats = inTime{memory(t, kenar.MemoryRepeatsOptions{})}
		transport := overPipe(t, receiver(t, o))
		ctx, hangUp := context.WithTimeout(t.Context(), time.Second)
		defer hangUp()
		req, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://app.example/", strings.NewReader(textMessage))
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Authorization", key)
		if resp, err := transport.RoundTrip(req); err == nil {
			resp.Body.Close()
			t.Error("there is an answer")
		}
		<-ended
		synctest.Wait()
		if got := through(t, transport, strings.NewReader(textMessage)); got.status != http.StatusOK || runs != 1 {
			t.Errorf("the next attempt: %+v after %d runs", got, runs)
		}
	})
}

func TestTestEvent(t *testing.T) {
	t.Parallel()
	for body, want := range map[string]bool{
		`{"type":"X","metadata":{"openkenar_test":true}}`:          true,
		`{"type":"X","metadata":{"openkenar_test":false}}`:         false,
		`{"type":"X","metadata":{"openkenar_test":"true"}}`:        false,
		`{"type":"X","metadata":{"deep":{"openkenar_test":true}}}`: false,
		`{"type":"X","metadata":[true]}`:                           false,
		`{"type":"X"}`:                                             false,
	} {
		in := new(inbox)
		if got := authorized(t, listen(t, receiver(t, keyed(in.take))), body); got.status != 200 {
			t.Errorf("%s: %+v", body, got)
			continue
		}
		if got := in.deliveries()[0].IsTest(); got != want {
			t.Errorf("%s: is a test: %t", body, got)
		}
	}
}

func TestReceiverOptions(t *testing.T) {
	t.Parallel()
	prefix := netip.MustParsePrefix
	for _, test := range []struct {
		name   string
		change func(*kenar.ReceiverOptions)
		says   string
	}{
		{"nothing to believe", func(o *kenar.ReceiverOptions) { o.Callers.Keys = nil }, "set Callers.Keys"},
		{"an empty key", func(o *kenar.ReceiverOptions) { o.Callers.Keys = []string{key, ""} }, "Callers.Keys[1]: empty"},
		{"a key with its line end", func(o *kenar.ReceiverOptions) { o.Callers.Keys = []string{key + "\n"} }, "trim it"},
		{"a key of two lines", func(o *kenar.ReceiverOptions) { o.Callers.Keys = []string{"a\nb"} }, "control character"},
		{"an empty secret", func(o *kenar.ReceiverOptions) { o.Secrets = []string{""} }, "Secrets[0]: 0 bytes"},
		{"a secret of the prefix alone", func(o *kenar.ReceiverOptions) { o.Secrets = []string{"whsec_"} }, "Secrets[0]: 0 bytes"},
		{"a short secret", func(o *kenar.ReceiverOptions) { o.Secrets = []string{"whsec_c2hvcnQ="} }, "Secrets[0]: 5 bytes, want at least 24"},
		{"a secret that is none", func(o *kenar.ReceiverOptions) { o.Secrets = []string{secret, "whsec_*"} }, "Secrets[1]: not base64"},
		{"no callback", func(o *kenar.ReceiverOptions) { o.OnNewMessage, o.OnOther = nil, nil }, "no callback is set"},
		{"an address that is none", func(o *kenar.ReceiverOptions) { o.Callers.Addresses = []netip.Prefix{{}} }, "Callers.Addresses[0]"},
		{"a proxy that matches nothing", func(o *kenar.ReceiverOptions) {
			o.Callers.TrustedProxies = []netip.Prefix{prefix("::ffff:10.0.0.0/104")}
		}, "write it in IPv4"},
		{"time that runs backwards", func(o *kenar.ReceiverOptions) { o.Timeout = -1 }, "must not be negative"},
		{"a window of less than nothing", func(o *kenar.ReceiverOptions) { o.Tolerance = -1 }, "Tolerance: must not be negative"},
		{"a body of less than nothing", func(o *kenar.ReceiverOptions) { o.MaxBody = -1 }, "must not be negative"},
	} {
		o := keyed(accept)
		test.change(&o)
		if _, err := kenar.NewReceiver(o); err == nil || !strings.Contains(err.Error(), test.says) || strings.Contains(err.Error(), key) {
			t.Errorf("%s: %v, want %q", test.name, err, test.says)
		}
	}
}

// TestNoCallback: what nobody has asked for is well received.
func TestNoCallback(t *testing.T) {
	t.Parallel()
	in := new(inbox)
	url := listen(t, receiver(t, kenar.ReceiverOptions{Callers: kenar.Callers{Keys: []string{key}}, OnPostUpdate: in.take, Log: quiet}))
	for _, body := range []string{textMessage, `{"type":"ANYTHING"}`} {
		if got := authorized(t, url, body); got.status != http.StatusOK || len(in.deliveries()) != 0 {
			t.Errorf("%s: %+v", body, got)
		}
	}
}
