package server_test

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	standardwebhooks "github.com/standard-webhooks/standard-webhooks/libraries/go"
)

var updateGolden = flag.Bool("update", false, "rewrite the golden files in testdata")

// golden collects bytes that a test saw, to hold them against a file in
// testdata: a line "# NAME", and below it what was seen, byte by byte.
type golden struct {
	t *testing.T
	b bytes.Buffer
}

func (g *golden) saw(name, content string) {
	fmt.Fprintf(&g.b, "# %s\n%s\n", name, content)
}

// compare fails the test where the file has other bytes. With -update it
// writes the file instead.
func (g *golden) compare(file string) {
	g.t.Helper()
	path := filepath.Join("testdata", file)
	if *updateGolden {
		if err := os.MkdirAll("testdata", 0o750); err != nil {
			g.t.Fatal(err)
		}
		if err := os.WriteFile(path, g.b.Bytes(), 0o600); err != nil {
			g.t.Fatal(err)
		}
		return
	}
	content, err := os.ReadFile(path)
	if err != nil {
		g.t.Fatal(err)
	}
	if bytes.Equal(content, g.b.Bytes()) {
		return
	}
	got, want := strings.Split(g.b.String(), "\n"), strings.Split(string(content), "\n")
	name := ""
	for i := range max(len(got), len(want)) {
		var a, b string
		if i < len(got) {
			a = got[i]
		}
		if i < len(want) {
			b = want[i]
		}
		if strings.HasPrefix(b, "# ") {
			name = b
		}
		if a != b {
			g.t.Errorf("%s:%d, under %q\n got %s\nwant %s", path, i+1, name, a, b)
		}
	}
}

const (
	// sentAt is the moment of the contract's example, 1729429926140000.
	sentAt = "2024-10-20T13:12:06.14Z"
	// metadata has all that must survive; it is echoed without the white space.
	metadata = `{ "key" : "value", "n": 1.50, "big": 12345678901234567890, "e": 1E+2, "nothing": null,
		"list": [ 1, [ ], { "a": { } } ], "سلام": "<&>\u0633\/", "": false }`
)

// contents is every type of message, with the fields that the contract lets out
// (name?, thumbnail_link, type) and without.
var contents = []struct{ name, fields string }{
	{"TEXT", `"type":"TEXT","text":"Hello!"`},
	{"TEXT without a type", `"text":"Hello!"`},
	{"TEXT of any script and sign", `"type":"TEXT","text":"سلام 🙂 <b>&amp;</b> \"quoted\" \\ \/ \n\t\r\u0001\u007f\u2028\u0633"`},
	{"IMAGE", `"type":"IMAGE","image_data":{"link":"https://cdn.example.com/i.jpg?a=1&b=<2>","size_bytes":204800,"height_px":600,"width_px":800}`},
	{"FILE", `"type":"FILE","file_data":{"link":"https://cdn.example.com/f.pdf","name":"قرارداد.pdf","size_bytes":5242880}`},
	{"VOICE", `"type":"VOICE","voice_data":{"link":"https://cdn.example.com/v.m4a","size_bytes":9007199254740993}`},
	{"LOCATION", `"type":"LOCATION","location_data":{"latitude":35.6892,"longitude":51.389}`},
	{"LOCATION at the edges", `"type":"LOCATION","location_data":{"latitude":-90,"longitude":180.0}`},
	{"LOCATION near zero", `"type":"LOCATION","location_data":{"latitude":0.00000012,"longitude":0}`},
	{"VIDEO", `"type":"VIDEO","video_data":{"link":"https://cdn.example.com/v.mp4","thumbnail_link":"https://cdn.example.com/v.jpg","size_bytes":52428800}`},
	{"VIDEO without thumbnail", `"type":"VIDEO","video_data":{"link":"https://cdn.example.com/v.mp4","size_bytes":52428800}`},
	{"CONTACT", `"type":"CONTACT","contact_data":{"name":"علی","phone":"09120000002"}`},
	{"CONTACT without name", `"type":"CONTACT","contact_data":{"phone":"09120000002"}`},
}

// sayAll sends every type of message into a conversation and collects what the
// app hears.
func (p *platform) sayAll(g *golden, conversation, note string, sides ...string) {
	p.t.Helper()
	n := 0
	for _, side := range sides {
		for _, c := range contents {
			if side != sides[0] && !strings.HasPrefix(c.name, "TEXT") {
				continue // the side changes nothing else
			}
			n++
			id := fmt.Sprintf("e7a08a2c-8ee4-11ef-af85-%012d", n)
			if note != "" {
				id = fmt.Sprintf("e7a08a2c-8ee4-11ef-af86-%012d", n)
			}
			p.host("POST", "/conversations/"+conversation+"/messages",
				`{"id":"`+id+`","sender":"`+side+`","sent_at":"`+sentAt+`",`+c.fields+`}`).ok()
			g.saw(c.name+" from "+side+note, p.one().body)
		}
	}
}

func TestGoldenMessageOnPost(t *testing.T) {
	t.Parallel()
	p, g := start(t), &golden{t: t}
	p.subscribe(p.dev.Users.Seller.AccessToken, `{"event_type":"NEW_MESSAGE_ON_POST"}`).ok()
	p.sayAll(g, p.dev.ConversationID, "", "BUYER", "SELLER")
	p.subscribe(p.dev.Users.Seller.AccessToken, `{"event_type":"NEW_MESSAGE_ON_POST","metadata":`+metadata+`}`).ok()
	p.sayAll(g, p.dev.ConversationID, " with metadata", "BUYER", "SELLER")
	p.subscribe(p.dev.Users.Seller.AccessToken, `{"event_type":"NEW_MESSAGE_ON_POST","metadata":{}}`).ok()
	p.host("POST", "/conversations/"+p.dev.ConversationID+"/messages",
		`{"id":"an id/of+another=form","sender":"BUYER","sent_at":"2024-10-20T16:42:06.123456789+03:30","text":"Hello!"}`).refused(400, 3, "id")
	p.host("POST", "/conversations/"+p.dev.ConversationID+"/messages",
		`{"id":"id/of+another=<form>","sender":"BUYER","sent_at":"2024-10-20T16:42:06.123456789+03:30","text":"Hello!"}`).ok()
	g.saw("TEXT from BUYER with empty metadata, an id of another form, and nanoseconds in another zone", p.one().body)
	g.compare("new_message.golden")
}

// TestContractsExample is the body in section 6 of the contract, but that the
// marketplace tells of people, and its example is of a bot.
func TestContractsExample(t *testing.T) {
	t.Parallel()
	p := start(t)
	p.subscribe(p.dev.Users.Seller.AccessToken,
		`{"event_type":"NEW_MESSAGE_ON_POST","event_resource_id":"gZd7omnS","metadata":{"key":"value"}}`).ok()
	p.host("POST", "/conversations/"+p.dev.ConversationID+"/messages",
		`{"id":"e7a08a2c-8ee4-11ef-af85-4e9e9bfa3c12","sender":"SELLER","sent_at":"`+sentAt+`","text":"Hello!"}`).ok()
	const want = `{"type":"NEW_MESSAGE","metadata":{"key":"value"},` +
		`"new_message":{"id":"e7a08a2c-8ee4-11ef-af85-4e9e9bfa3c12",` +
		`"conversation":{"id":"edbb9499-cccc-4d35-b21f-621fa95f2b3e","type":"POST","post_token":"gZd7omnS"},` +
		`"sender":{"side":"SELLER","type":"HUMAN"},"type":"TEXT","sent_at":1729429926140000,"text":"Hello!"}}`
	if got := p.one().body; got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
}

func TestGoldenChatbotMessage(t *testing.T) {
	t.Parallel()
	p, g := start(t), &golden{t: t}
	p.sayAll(g, p.dev.BotConversationID, "", "USER")
	p.subscribe(p.dev.Users.Seller.AccessToken, `{"event_type":"NEW_CHATBOT_MESSAGE","metadata":`+metadata+`}`).ok()
	p.sayAll(g, p.dev.BotConversationID, " with metadata", "USER")
	g.compare("new_chatbot_message.golden")
}

func TestGoldenPostUpdate(t *testing.T) {
	t.Parallel()
	p, g := start(t), &golden{t: t}
	const full = `{"owner":"seller","title":"دوچرخه <شهری>","state":"STATE","category":"bicycle","city":"tehran","district":"velenjak",` +
		`"chat_enabled":true,"is_phone_hidden":true,"supplier_chat_assistant_enabled":true,"first_published_at":"` + sentAt + `","data":DATA}`
	data := strings.ReplaceAll(metadata, "key", "price")
	for i, note := range []string{"", " with metadata"} {
		registration := `{"event_type":"POST_UPDATE","event_resource_id":null,"metadata":null}`
		if note != "" {
			registration = `{"event_type":"POST_UPDATE","metadata":` + metadata + `}`
		}
		p.subscribe(p.dev.Users.Seller.AccessToken, registration).ok()
		token := "wXyZ000" + strconv.Itoa(i)
		put := func(name, state, data string) {
			p.host("PUT", "/posts/"+token, strings.NewReplacer("STATE", state, "DATA", data).Replace(full)).ok()
			g.saw(name+note, p.one().body)
		}
		put("ONGOING, in review", "REVIEW_REQ", data)
		put("ONGOING, to be paid", "PAYMENT_REQ", data)
		put("PUBLISH", "PUBLISHED", data)
		put("PUBLISH, changed while published", "PUBLISHED", `{"price":85000000}`)
		put("PUBLISH without data", "PUBLISHED", "null")
		put("RETIRE", "RETIRED", data)
		put("PUBLISH, again", "PUBLISHED", data)
		put("ARCHIVE", "ARCHIVED", data)
		token += "-bare"
		p.host("PUT", "/posts/"+token, `{"owner":"seller","state":"PUBLISHED"}`).ok()
		g.saw("PUBLISH of a post with nothing but owner and state"+note, p.one().body)
		p.host("DELETE", "/posts/"+token, "").ok()
		g.saw("ARCHIVE of a deleted post"+note, p.one().body)
	}
	g.compare("post_update.golden")
}

func TestGoldenTransaction(t *testing.T) {
	t.Parallel()
	p, g := start(t), &golden{t: t}
	for i, note := range []string{"", " with metadata"} {
		if note != "" {
			p.subscribe(p.dev.Users.Buyer.AccessToken, `{"event_type":"PAYMENT_TRANSACTION","metadata":`+metadata+`}`).ok()
		}
		id := "f3b0c442-98fc-1c14-9afb-00000000000" + strconv.Itoa(i)
		for _, state := range []string{"PENDING", "COMPLETED", "FAILED", "REFUNDED"} {
			p.host("PUT", "/transactions/"+id, `{"app":"sample-app","state":"`+state+`","type":"REORDER","cost_rials":100000,"extra_details":`+metadata+`}`).ok()
			g.saw(state+note, p.one().body)
		}
		p.host("PUT", "/transactions/bare"+strconv.Itoa(i), `{"app":"sample-app","state":"PENDING"}`).ok()
		g.saw("PENDING with nothing but app and state"+note, p.one().body)
	}
	g.compare("transaction.golden")
}

// TestGoldenRevocation: the app's id of a user is keyed with the installation's
// own key, so that one value is replaced by APP_USER_ID before comparing.
func TestGoldenRevocation(t *testing.T) {
	t.Parallel()
	p, g := start(t), &golden{t: t}
	revoke := func(name string) {
		p.host("DELETE", "/users/seller/grants/sample-app", "").ok()
		body := p.one().body
		if n := strings.Count(body, p.dev.Users.Seller.AppUserID); n != 1 {
			t.Fatalf("the app's id of the user stands %d times in %s", n, body)
		}
		g.saw(name, strings.Replace(body, p.dev.Users.Seller.AppUserID, "APP_USER_ID", 1))
	}
	revoke("taken away")
	token := p.token("seller", "USER_ID", "NOTIFICATION_ACCESS_REVOCATION")
	p.subscribe(token, `{"event_type":"USER_ACCESS_REVOCATION","metadata":`+metadata+`}`).ok()
	revoke("taken away with metadata")
	g.compare("user_access_revocation.golden")
}

// TestGoldenTestEvent: ids and the moment are made up, so they are masked.
func TestGoldenTestEvent(t *testing.T) {
	t.Parallel()
	p, g := start(t), &golden{t: t}
	p.host("POST", "/apps/sample-app/test-event", "").ok()
	body := p.one().body
	body = regexp.MustCompile(`[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}`).ReplaceAllString(body, "UUID")
	body = regexp.MustCompile(`"sent_at":[0-9]{16},`).ReplaceAllString(body, `"sent_at":MICROSECONDS,`)
	g.saw("test event", body)
	g.compare("test_event.golden")
}

// rawRequest is a request as it came over the wire.
type rawRequest struct{ head, body string }

// rawHook is an event URL that keeps the bytes it is sent. It answers with the
// statuses given, then with 200.
type rawHook struct {
	url string
	got chan rawRequest
}

func newRawHook(t *testing.T, statuses ...string) *rawHook {
	t.Helper()
	var listen net.ListenConfig
	l, err := listen.Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	h := &rawHook{url: "http://" + l.Addr().String() + "/events?from=openkenar", got: make(chan rawRequest, 16)}
	var serving sync.WaitGroup
	serving.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			r, err := readRaw(c)
			if err != nil {
				t.Errorf("read a request: %v", err)
			}
			h.got <- r
			answer := "200 OK"
			if len(statuses) > 0 {
				answer, statuses = statuses[0], statuses[1:]
			}
			_, _ = io.WriteString(c, "HTTP/1.1 "+answer+"\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
			_ = c.Close()
		}
	})
	t.Cleanup(func() {
		_ = l.Close()
		serving.Wait()
	})
	return h
}

func readRaw(c net.Conn) (r rawRequest, err error) {
	in := bufio.NewReader(c)
	length := 0
	for !strings.HasSuffix(r.head, "\r\n\r\n") {
		line, err := in.ReadString('\n')
		if err != nil {
			return r, err
		}
		r.head += line
		if value, ok := strings.CutPrefix(line, "Content-Length: "); ok {
			if length, err = strconv.Atoi(strings.TrimSpace(value)); err != nil {
				return r, err
			}
		}
	}
	body := make([]byte, length)
	_, err = io.ReadFull(in, body)
	r.body = string(body)
	return r, err
}

// header reads the head as a server would.
func (r rawRequest) header(t *testing.T) http.Header {
	t.Helper()
	req, err := http.ReadRequest(bufio.NewReader(strings.NewReader(r.head)))
	if err != nil {
		t.Fatal(err)
	}
	return req.Header
}

// masked replaces what differs from run to run, each by a value of its form.
func (r rawRequest) masked(t *testing.T) string {
	t.Helper()
	head := r.head
	for _, m := range []struct{ name, form, mask string }{
		{"Host", `127\.0\.0\.1:[0-9]+`, "HOST"},
		{"Content-Length", strconv.Itoa(len(r.body)), "LENGTH"},
		{"webhook-id", `[0-9]+-sample-app`, "ID"},
		{"webhook-timestamp", `[0-9]{10}`, "SECONDS"},
		{"webhook-signature", `v1,[A-Za-z0-9+/]{43}=`, "SIGNATURE"},
		{"webhook-signature", `v1,[A-Za-z0-9+/]{43}= v1,[A-Za-z0-9+/]{43}=`, "SIGNATURE SIGNATURE"},
	} {
		head = regexp.MustCompile(`(?m)^(`+m.name+`: )`+m.form+"(\r)$").ReplaceAllString(head, "${1}"+m.mask+"${2}")
	}
	return strings.ReplaceAll(head, "\r\n", "\\r\\n\n")
}

// sayToBot writes a text into the demo conversation with the bot.
func (p *platform) sayToBot(text string) {
	p.t.Helper()
	in, _ := json.Marshal(map[string]string{"sender": "USER", "text": text})
	p.host("POST", "/conversations/"+p.dev.BotConversationID+"/messages", string(in)).ok()
}

// TestGoldenRequestHead holds the head of a request as it goes over the wire.
// Host, id, timestamp, signatures and length are masked.
func TestGoldenRequestHead(t *testing.T) {
	t.Parallel()
	p, g := start(t), &golden{t: t}
	raw := newRawHook(t, "500 Internal Server Error")
	p.host("PATCH", "/apps/sample-app", `{"event_url":"`+raw.url+`"}`).ok()
	p.sayToBot("one")
	p.settle()
	one := <-raw.got
	g.saw("first attempt", one.masked(t))
	p.advance("10s")
	two := <-raw.got
	g.saw("second attempt", two.masked(t))
	if a, b := one.header(t).Get("webhook-id"), two.header(t).Get("webhook-id"); a != b || a == "" {
		t.Errorf("webhook-id %q in the first attempt, %q in the second", a, b)
	}
	if one.body != two.body {
		t.Errorf("body %s in the first attempt, %s in the second", one.body, two.body)
	}
	p.host("POST", "/apps/sample-app/signing-secrets", "").ok()
	p.sayToBot("two")
	p.settle()
	g.saw("with two signing secrets", (<-raw.got).masked(t))
	p.host("PATCH", "/apps/sample-app", `{"identification_key":""}`).ok()
	p.sayToBot("three")
	p.settle()
	g.saw("without an identification key", (<-raw.got).masked(t))
	g.compare("request_head.golden")
}

// secrets returns the app's signing secrets that are valid now.
func (p *platform) secrets() []string {
	p.t.Helper()
	var out struct {
		Secrets []struct {
			Secret string `json:"secret"`
		} `json:"signing_secrets"`
	}
	p.host("GET", "/apps/sample-app/signing-secrets", "").ok().into(&out)
	secrets := make([]string, len(out.Secrets))
	for i, s := range out.Secrets {
		secrets[i] = s.Secret
	}
	return secrets
}

// verify checks a webhook as the published library does, with one secret.
func verify(t *testing.T, h hook, secret string) error {
	t.Helper()
	w, err := standardwebhooks.NewWebhook(secret)
	if err != nil {
		t.Fatal(err)
	}
	return w.Verify([]byte(h.body), h.header)
}

func TestSignatureOverARotation(t *testing.T) {
	t.Parallel()
	p := start(t)
	signatures := func(h hook) int { return len(strings.Fields(h.header.Get("webhook-signature"))) }

	old := p.secrets()
	if len(old) != 1 {
		t.Fatalf("%d signing secrets, want 1", len(old))
	}
	p.sayToBot("before")
	h := p.one()
	if err := verify(t, h, old[0]); err != nil || signatures(h) != 1 {
		t.Errorf("before: %v, %d signatures", err, signatures(h))
	}

	var added struct {
		Secret string    `json:"secret"`
		EndsAt time.Time `json:"ends_at"`
	}
	p.host("POST", "/apps/sample-app/signing-secrets", "").ok().into(&added)
	if both := p.secrets(); len(both) != 2 || added.Secret == old[0] || !added.EndsAt.IsZero() {
		t.Fatalf("signing secrets %v, added %+v", both, added)
	}
	p.sayToBot("during")
	h = p.one()
	for _, secret := range []string{old[0], added.Secret} {
		if err := verify(t, h, secret); err != nil || signatures(h) != 2 {
			t.Errorf("during: %v, %d signatures", err, signatures(h))
		}
	}
	h.body += " "
	if err := verify(t, h, added.Secret); !errors.Is(err, standardwebhooks.ErrNoMatchingSignature) {
		t.Errorf("another body: %v", err)
	}

	// The signed moment is real time, whatever the platform's clock says, so
	// that the library takes it.
	p.advance("25h")
	if left := p.secrets(); len(left) != 1 || left[0] != added.Secret {
		t.Errorf("after: signing secrets %v", left)
	}
	p.sayToBot("after")
	h = p.one()
	if err := verify(t, h, added.Secret); err != nil || signatures(h) != 1 {
		t.Errorf("after: %v, %d signatures", err, signatures(h))
	}
	if err := verify(t, h, old[0]); !errors.Is(err, standardwebhooks.ErrNoMatchingSignature) {
		t.Errorf("after, with the secret that ended: %v", err)
	}
}
