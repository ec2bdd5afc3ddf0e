package server_test

import (
	"encoding/base64"
	"encoding/json"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
)

// TestEveryOperation makes each call of the contract so that it is answered, and
// hears each webhook and each call to apps; the harness holds all of them against
// the contract. What is described and not called fails the test.
func TestEveryOperation(t *testing.T) {
	t.Parallel()
	p := start(t)
	p.seen = &sync.Map{}
	heard := map[string]bool{}
	hear := func() {
		p.settle()
		for _, h := range p.hook.take() {
			var of struct{ Type string }
			if err := json.Unmarshal([]byte(h.body), &of); err != nil {
				t.Fatal(err)
			}
			heard[of.Type] = true
		}
	}
	seller, conversation, bot := p.dev.Users.Seller, p.dev.ConversationID, p.dev.BotConversationID

	p.subscribe(seller.AccessToken, `{"event_type":"NEW_MESSAGE_ON_POST","metadata":{"k":1}}`).ok()
	p.subscribe(seller.AccessToken, `{"event_type":"POST_UPDATE","event_resource_id":"gZd7omnS"}`).ok()
	var subscriptions struct{ Subscriptions []struct{ ID string } }
	p.app("GET", "/v1/open-platform/events/subscriptions", "", "").ok().into(&subscriptions)
	for _, method := range []string{"GET", "POST"} {
		p.app(method, "/v1/open-platform/users", seller.AccessToken, "").ok()
	}
	p.app("GET", "/experimental/open-platform/events?wait=1", "", "").ok()
	p.app("GET", "/v1/open-platform/finder/post/gZd7omnS", "", "").ok()
	p.app("GET", "/v1/open-platform/finder/user-posts", seller.AccessToken, "").ok()
	for _, path := range []string{
		"/v1/open-platform/chat/bot/conversations/" + bot, "/experimental/open-platform/chat/bot/conversations/" + bot,
		"/experimental/open-platform/chatbot-conversations/" + bot,
		"/v1/open-platform/chat/bot/users/" + seller.AppUserID, "/experimental/open-platform/chat/bot/users/" + seller.AppUserID,
	} {
		p.app("POST", path+"/messages", seller.AccessToken, `{"text_message":"hi","buttons":null}`).ok()
	}
	p.app("POST", "/experimental/open-platform/events/send?message=Look&target_type=USER&target_resource_id="+url.QueryEscape(seller.AppUserID)+
		"&primary_button.title=Press+me&primary_button.action.open_server_link.data[k]=v", seller.AccessToken, "").ok()
	p.app("GET", "/v1/open-platform/chat/conversations/"+conversation, seller.AccessToken, "").ok()

	// Media, as it is shown to the marketplace and to apps.
	var media struct{ ID string }
	p.upload(t, p.uploadToken(), "image", "a.png", samples(t)["image/a.png"]).ok().into(&media)
	p.write(seller.AccessToken, `{"media_token":"`+media.ID+`"}`).ok()
	var message struct {
		Data struct{ Link string } `json:"image_data"`
	}
	if err := json.Unmarshal(p.last().Message, &message); err != nil {
		t.Fatal(err)
	}
	p.do("GET", strings.TrimPrefix(message.Data.Link, p.base), "").ok()
	hear()

	// What an app answers while somebody waits.
	app := p.opens()
	app.says(200, `{"url":"https://app.test/"}`)
	p.host("PATCH", "/apps/sample-app", `{"touchpoints":[{"touchpoint":"CHAT","action":"LOAD_WEBVIEW_SERVER_LINK"}]}`).ok()
	p.host("GET", "/extensions?touchpoint=CHAT&user=buyer", "").ok()
	p.open(`{"touchpoint":"CHAT","user":"buyer"}`).ok()
	m := p.sends(`{"message":"hi","receiver_buttons":{"rows":[{"buttons":[{"caption":"c","action":{"get_dynamic_action":{"data":{"k":1}}}}]}]}}`)
	app.says(200, `{"text_message":"done"}`)
	p.click("/messages/"+m+"/buttons/0/0", "buyer").ok()

	// OAuth, to the end of a grant.
	c := p.config("USER_ID", "NOTIFICATION_ACCESS_REVOCATION", "offline_access")
	code := p.browser(t).consent(c)
	form := func(path string, values url.Values) answer {
		return p.do("POST", path, values.Encode(), "Content-Type: application/x-www-form-urlencoded",
			"Authorization: Basic "+base64.StdEncoding.EncodeToString([]byte(c.ClientID+":"+c.ClientSecret)))
	}
	var tokens struct {
		Refresh string `json:"refresh_token"`
	}
	form("/oauth2/token", url.Values{"grant_type": {"authorization_code"}, "code": {code}, "redirect_uri": {c.RedirectURL}}).ok().into(&tokens)
	form("/oauth2/token", url.Values{"grant_type": {"refresh_token"}, "refresh_token": {tokens.Refresh}}).ok().into(&tokens)
	form("/oauth2/token", url.Values{"grant_type": {"refresh_token"}, "refresh_token": {"x"}}).want(http.StatusBadRequest)
	form("/oauth2/revoke", url.Values{"token": {tokens.Refresh}}).ok()
	p.do("GET", "/.well-known/oauth-authorization-server", "").ok()
	p.do("GET", "/oauth2/auth?client_id=nobody", "").want(http.StatusBadRequest)
	p.host("GET", "/oauth/logins/"+p.login(), "").ok()

	// All bodies that are good.
	var settings struct {
		Permissions []string `json:"permissions"`
	}
	p.host("GET", "/apps/sample-app", "").ok().into(&settings)
	permissions, err := json.Marshal(settings)
	if err != nil {
		t.Fatal(err)
	}
	for _, b := range bodies() {
		if strings.Contains(b.path, "/dev/clock") {
			continue // it would end the tokens
		}
		if b.name == "conversation with a bot" {
			b.path += "-bot"
		}
		if strings.HasPrefix(b.name, "message ") {
			b.good = strings.Replace(b.good, `"m-1"`, `"`+b.name[len("message "):]+`"`, 1)
		}
		p.bind(b).send(b.good).ok()
		// What a body takes away, others need.
		p.host("PATCH", "/apps/sample-app", string(permissions)).ok()
		p.host("PUT", "/conversations/"+conversation+"/block", `{"by":"SELLER","blocked":false}`).ok()
		hear()
	}
	p.app("DELETE", "/v1/open-platform/events/subscriptions/"+subscriptions.Subscriptions[0].ID, "", "").ok()

	var key struct{ ID string }
	p.host("POST", "/apps/sample-app/keys", `{"title":"t"}`).ok().into(&key)
	for _, path := range []string{
		"/feed", "/users/seller/notifications", "/users/seller/grants", "/conversations/" + conversation + "/messages", "/apps", "/apps/sample-app",
		"/apps/sample-app/signing-secrets", "/apps/sample-app/keys", "/apps/sample-app/subscriptions", "/dev/faults", "/deliveries",
	} {
		p.host("GET", path, "").ok()
	}
	p.host("PATCH", "/apps/sample-app", `{"event_url":"`+p.hook.url+`","status":"DEVELOPMENT","paused":false}`).ok()
	p.host("POST", "/apps/sample-app/test-event", "").ok()
	p.host("POST", "/apps/sample-app/client-secret", "").ok()
	p.batch(`{"transaction":{"id":"t-1","app":"sample-app","state":"PENDING"}}`, `{"user":{"id":"u-1"}}`, `{"nothing":1}`)
	p.subscribe(seller.AccessToken, `{"event_type":"NEW_MESSAGE_ON_POST"}`).ok()
	p.host("DELETE", "/dev/faults", "").ok()
	event := p.say("BUYER", "hi")
	hear()
	delivery := *p.verdicts(event)[0].DeliveryID
	p.host("GET", "/deliveries/"+delivery, "").ok()
	p.host("POST", "/deliveries/"+delivery+"/redeliver", "").ok()
	p.host("DELETE", "/apps/sample-app/keys/"+key.ID, "").ok()
	p.host("DELETE", "/messages/"+m, "").ok()
	p.host("DELETE", "/posts/gZd7omnS", "").ok()
	p.host("DELETE", "/users/seller/grants/sample-app", "").ok()
	p.host("DELETE", "/users/seller", "").ok()
	hear()

	for _, path := range []string{
		"/healthz", "/readyz", "/metrics", "/.well-known/openkenar/egress.json", "/.well-known/openkenar/openapi.json",
		"/.well-known/openkenar/openapi-host.json", "/.well-known/openkenar/schemas/events/NEW_MESSAGE.json",
	} {
		p.do("GET", path, "").ok()
	}

	contract, err := theContract()
	if err != nil {
		t.Fatal(err)
	}
	for route, o := range contract.described {
		if _, ok := p.seen.Load(o.is["operationId"]); !ok {
			t.Errorf("%s, %s is described and was not called", o.is["operationId"], route)
		}
	}
	for _, got := range app.take() {
		heard["SESSION_INITIALIZATION"] = heard["SESSION_INITIALIZATION"] || strings.Contains(got, "POST /init")
		heard["DYNAMIC_ACTION"] = heard["DYNAMIC_ACTION"] || strings.Contains(got, "POST /act")
	}
	for name := range member(contract.documents[appsDocument], "webhooks").(map[string]any) {
		if !heard[name] {
			t.Errorf("%s is described and was not heard", name)
		}
	}
}

// TestContractIsPublished: what a server tells of itself is what is committed,
// which is made from what is routed; a server beside a marketplace has no calls
// of dev mode.
func TestContractIsPublished(t *testing.T) {
	t.Parallel()
	p := start(t)
	root := filepath.Join("..", "..")
	files, err := filepath.Glob(filepath.Join(root, "schemas", "*", "*.json"))
	if err != nil || len(files) < 9 {
		t.Fatalf("%d schemas, %v", len(files), err)
	}
	for _, file := range append(files, filepath.Join(root, appsDocument), filepath.Join(root, hostDocument)) {
		committed, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		name, err := filepath.Rel(root, file)
		if err != nil {
			t.Fatal(err)
		}
		a := p.do("GET", "/.well-known/openkenar/"+filepath.ToSlash(name), "").ok()
		if a.body != string(committed) {
			t.Errorf("%s is not what the server says; run go generate ./...", name)
		}
		if got := a.header.Get("Content-Type"); got != "application/json" {
			t.Errorf("%s: Content-Type %q", name, got)
		}
	}
	p.do("GET", "/.well-known/openkenar/schemas/events/NOPE.json", "").refused(404, 5, "schemas/events")
	p.do("GET", "/.well-known/openkenar/nothing", "").refused(404, 5, "no such path")

	host := serve(t).do("GET", "/.well-known/openkenar/"+hostDocument, "").ok().body
	if strings.Contains(host, "/host/v1/dev/") || !strings.Contains(host, "/host/v1/users/{user}") {
		t.Error("a server beside a marketplace describes calls of dev mode, or none")
	}
}

// TestContractBites: the harness finds what is not as the contract says.
func TestContractBites(t *testing.T) {
	t.Parallel()
	c, err := theContract()
	if err != nil {
		t.Fatal(err)
	}
	json := http.Header{"Content-Type": {"application/json"}}
	const talk = `{"conversation":{"id":"c","type":"POST","post_token":"p"},"messages":[{"id":"m","conversation":{"id":"c","type":"POST","post_token":"p"},` +
		`"sender":{"side":"BUYER","type":"HUMAN"},"type":"TEXT","sent_at":"2024-10-20T13:12:06.14Z","text":"hi"}]}`
	const path = "/v1/open-platform/chat/conversations/c"
	for _, x := range []struct {
		name, method, path, body, answer string
		status                           int
		good                             bool
	}{
		{"as it should be", "GET", path, "", talk, 200, true},
		{"a field more", "GET", path, "", strings.Replace(talk, `"messages"`, `"more":1,"messages"`, 1), 200, false},
		{"a field more in a message", "GET", path, "", strings.Replace(talk, `"text"`, `"more":1,"text"`, 1), 200, false},
		{"a field more in a sender", "GET", path, "", strings.Replace(talk, `"side"`, `"more":1,"side"`, 1), 200, false},
		{"a field more in a conversation", "GET", path, "", strings.Replace(talk, `"post_token"`, `"more":1,"post_token"`, 1), 200, false},
		{"a field less", "GET", path, "", strings.Replace(talk, `"text":"hi"`, `"text2":"hi"`, 1), 200, false},
		{"a number for a time", "GET", path, "", strings.Replace(talk, `"2024-10-20T13:12:06.14Z"`, `1729429926140000`, 1), 200, false},
		{"an unknown sender", "GET", path, "", strings.Replace(talk, `"HUMAN"`, `"USER"`, 1), 200, false},
		{"an error", "GET", path, "", `{"code":5,"message":"m","details":[]}`, 404, true},
		{"an error without details", "GET", path, "", `{"code":5,"message":"m","details":null}`, 404, false},
		{"a status that is not described", "GET", path, "", `{"code":6,"message":"m","details":[]}`, 409, false},
		{"a request", "POST", "/v1/open-platform/events/subscriptions", `{"event_type":"POST_UPDATE","metadata":null,"more":1}`, `{}`, 200, true},
		{"a request of an unknown type", "POST", "/v1/open-platform/events/subscriptions", `{"event_type":"NOPE"}`, `{}`, 200, false},
		{"a request with a field less", "POST", "/v1/open-platform/events/subscriptions", `{}`, `{}`, 200, false},
		{"a request without a body", "POST", "/v1/open-platform/events/subscriptions", ``, `{}`, 200, false},
		{"a query", "GET", "/host/v1/feed?wait=61", ``, `{"items":[],"next":null}`, 200, false},
	} {
		probe := &recorder{TB: t}
		c.hold(probe, exchange{method: x.method, target: x.path, header: json, body: x.body, status: x.status, answered: json, answer: x.answer})
		if good := len(probe.errors) == 0; good != x.good {
			t.Errorf("%s: %s", x.name, probe.errors)
		}
	}
	sent := http.Header{}
	for _, name := range []string{"webhook-id", "webhook-timestamp", "webhook-signature", "OpenKenar-Attempt"} {
		sent.Set(name, "1")
	}
	const webhook = `{"type":"USER_ACCESS_REVOCATION","user_access_revocation":{"user_id":"u"}}`
	for body, good := range map[string]bool{
		webhook: true,
		strings.Replace(webhook, `"user_id":"u"`, `"user_id":"u","more":1`, 1): false,
		strings.Replace(webhook, `"user_id":"u"`, ``, 1):                       false,
		strings.Replace(webhook, `"type":"USER_ACCESS`, `"type":"ACCESS`, 1):   false,
		strings.Replace(webhook, `,"user_access`, `,"metadata":1,"user_ac`, 1): false,
	} {
		probe := &faulty{}
		c.holdPushed(probe, sent, body)
		if found := len(probe.found) == 0; found != good {
			t.Errorf("%s: %s", body, probe.found)
		}
	}
}

// recorder is a test that notes its failures.
type recorder struct {
	testing.TB
	errors []string
}

// Errorf implements testing.TB.
func (r *recorder) Errorf(format string, _ ...any) { r.errors = append(r.errors, format) }

// Helper implements testing.TB.
func (r *recorder) Helper() {}
