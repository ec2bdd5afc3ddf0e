package server_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"net/url"
	"os"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
)

const (
	usersPath = "/v1/open-platform/users"
	postPath  = "/v1/open-platform/finder/post/"
	postsPath = "/v1/open-platform/finder/user-posts"
)

// send makes a call with exactly the given header and body: no name is put
// into its canonical form, and a body that is no *strings.Reader has no length.
func (p *platform) send(method, path string, body io.Reader, header http.Header) answer {
	p.t.Helper()
	req, err := http.NewRequestWithContext(p.t.Context(), method, p.base+path, body)
	if err != nil {
		p.t.Fatal(err)
	}
	req.Header = header
	var sent kept
	if req.Body != nil {
		req.Body = io.NopCloser(io.TeeReader(req.Body, &sent))
	}
	resp, err := http.DefaultTransport.RoundTrip(req)
	if err != nil {
		p.t.Fatalf("%s %s: %v", method, path, err)
	}
	defer resp.Body.Close()
	content, err := io.ReadAll(resp.Body)
	if err != nil {
		p.t.Fatalf("%s %s: %v", method, path, err)
	}
	p.held(req, sent.String(), resp, content)
	return answer{t: p.t, call: method + " " + path, status: resp.StatusCode, header: resp.Header, body: string(content)}
}

// is fails the test unless the answer is 200 with exactly this body.
func (a answer) is(body string) {
	a.t.Helper()
	if a.ok().body != body {
		a.t.Errorf("%s: %s\nwant %s", a.call, a.body, body)
	}
}

// unlimited hides a reader's length, so that the body is sent in chunks.
type unlimited struct{ io.Reader }

// TestOrderOfChecks makes each call as wrong as can be and then puts one thing
// right after the other: key, permission, token, body, scope, resource.
func TestOrderOfChecks(t *testing.T) {
	t.Parallel()
	p := start(t)
	permissions := []string{"EVENTS_REGISTER_SUBSCRIPTION", "USER_RETRIEVE", "GET_POST"}
	full := p.dev.Users.Seller.AccessToken
	bare := p.token("seller", "SEND_EVENT")
	tests := []struct {
		method, path string
		permission   string
		token        bool
		body         string // valid; names what is not there
		scope        string
		want         int // when all is right
	}{
		{"POST", subscriptionsPath, "EVENTS_REGISTER_SUBSCRIPTION", true, `{"event_type":"POST_UPDATE","event_resource_id":"nowhere"}`, "USER_POSTS_GET", 404},
		{"GET", subscriptionsPath, "EVENTS_REGISTER_SUBSCRIPTION", false, "", "", 200},
		{"DELETE", subscriptionsPath + "/1", "EVENTS_REGISTER_SUBSCRIPTION", false, "", "", 404},
		{"GET", usersPath, "USER_RETRIEVE", true, "", "USER_ID", 200},
		{"POST", usersPath, "USER_RETRIEVE", true, "", "USER_ID", 200},
		{"GET", postPath + "nowhere", "GET_POST", false, "", "", 404},
		{"GET", postsPath, "GET_POST", true, "", "USER_POSTS_GET", 200},
	}
	for _, tt := range tests {
		t.Run(tt.method+" "+tt.path, func(t *testing.T) {
			p := p.forTest(t)
			others, err := json.Marshal(slices.DeleteFunc(slices.Clone(permissions), func(s string) bool { return s == tt.permission }))
			if err != nil {
				t.Fatal(err)
			}
			weak := p.newKey("sample-app", string(others)).Key
			call := func(key, token, contentType, body string) answer {
				header := []string{"X-API-Key: " + key, "Content-Type: " + contentType}
				if token != "" {
					header = append(header, "Authorization: Bearer "+token)
				}
				return p.do(tt.method, tt.path, body, header...)
			}
			const malformed, plain = `{"`, "text/plain"
			call("okk_unknown", "okt_unknown", plain, malformed).refused(401, 16, "API key")
			call(weak, "okt_unknown", plain, malformed).refused(403, 7, tt.permission)
			call(weak, "", plain, malformed).refused(403, 7, tt.permission)
			if tt.token {
				call(p.dev.App.APIKey, "okt_unknown", plain, malformed).refused(401, 16, "token")
				call(p.dev.App.APIKey, "", plain, malformed).refused(401, 16, "token")
			}
			if tt.body != "" {
				call(p.dev.App.APIKey, bare, plain, tt.body).refused(415, 3, "Content-Type")
				call(p.dev.App.APIKey, bare, "application/json", malformed).refused(400, 3, "body")
			}
			if tt.scope != "" {
				p.app(tt.method, tt.path, bare, tt.body).refused(403, 7, tt.scope)
			}
			if a := p.app(tt.method, tt.path, full, tt.body); tt.want == 404 {
				a.refused(404, 5)
			} else {
				a.ok()
			}
		})
	}
}

// TestErrors holds the error table of section 3, as far as it exists now.
func TestErrors(t *testing.T) {
	t.Parallel()
	world := start(t)
	token := world.dev.Users.Seller.AccessToken
	padded := func(bytes int) string {
		const body = `{"event_type":"PAYMENT_TRANSACTION"}`
		return body + strings.Repeat(" ", bytes-len(body))
	}

	t.Run("no such route is 404", func(t *testing.T) {
		t.Parallel()
		p := world.forTest(t)
		for _, path := range []string{
			"/", "/v1", "/v1/open-platform", "/v1/open-platform/", "/v1/open-platform/nothing", "/v3/open-platform/users",
			usersPath + "/", usersPath + "/x", "/" + usersPath, "/v1//open-platform/users", "/v1/./open-platform/users",
			"/v1/open-platform/x/../users", "/v1/open-platform%2Fusers", subscriptionsPath + "/1/2", "/v1/open-platform/finder/post",
			postPath, postPath + "a/b", postPath + "..", "/host", "/host/v1", "/host/v1/", "/host/v1/nothing", "/host%2Fv1/apps", "/host/v1/apps/",
			"/host/v1/users/a/b", "/host/v2/apps", "/healthz/", "/readyz/x", "/panel2", "/.", "/%2e%2e/host/v1/apps", "/%00", "/" + strings.Repeat("x", 4000),
		} {
			a := p.do("GET", path, "", "X-API-Key: "+p.dev.App.APIKey, "Authorization: Bearer "+p.dev.HostKey)
			a.refused(404, 5)
			if len(a.body) > 1000 {
				t.Errorf("%s: an answer of %d bytes repeats the path", path[:20], len(a.body))
			}
		}
	})

	t.Run("no such method is 405 with Allow", func(t *testing.T) {
		t.Parallel()
		p := world.forTest(t)
		for _, tt := range []struct{ method, path, allow string }{
			{"PUT", subscriptionsPath, "GET, POST"},
			{"DELETE", subscriptionsPath, "GET, POST"},
			{"GET", subscriptionsPath + "/1", "DELETE"},
			{"DELETE", usersPath, "GET, POST"},
			{"OPTIONS", usersPath, "GET, POST"},
			{"TRACE", usersPath, "GET, POST"},
			{"BREW", usersPath, "GET, POST"},
			{"get", usersPath, "GET, POST"},
			{"POST", postPath + "gZd7omnS", "GET"},
			{"POST", postPath + "a%2Fb", "GET"},
			{"POST", postsPath, "GET"},
			{"GET", "/host/v1/batch", "POST"},
			{"PATCH", "/host/v1/posts/x", "PUT, DELETE"},
			{"POST", "/host/v1/users/x", "PUT, DELETE"},
			{"PUT", "/host/v1/conversations/x/messages", "GET, POST"},
			{"PUT", "/host/v1/apps/x", "GET, PATCH"},
			{"GET", "/host/v1/redeliveries", "POST"},
			{"POST", "/healthz", "GET"},
		} {
			a := p.do(tt.method, tt.path, "")
			a.refused(405, 12)
			if got := a.header.Get("Allow"); got != tt.allow {
				t.Errorf("%s %s: Allow %q, want %q", tt.method, tt.path, got, tt.allow)
			}
		}
	})

	t.Run("malformed JSON is 400", func(t *testing.T) {
		t.Parallel()
		p := world.forTest(t)
		for _, body := range []string{
			`{`, `}`, `{"event_type"}`, `{"event_type":}`, `{'event_type':'X'}`, `{"event_type":"PAYMENT_TRANSACTION",}`,
			`{"event_type":"PAYMENT_TRANSACTION"} {}`, `{"event_type":"PAYMENT_TRANSACTION"}x`, `[]`, `[{"event_type":"PAYMENT_TRANSACTION"}]`,
			`"x"`, `1`, `true`, `null`, `{"metadata":{"a":NaN},"event_type":"PAYMENT_TRANSACTION"}`, `{} // no`, "\ufeff{}",
			"{\"event_type\":\"PAYMENT_TRANSACTION\",\"metadata\":{\"a\":\"\xff\"}}", "{\"event_type\":\"PAYMENT_TRANSACTION\n\"}",
			`{"event_type":"PAYMENT_TRANSACTION","metadata":` + strings.Repeat(`{"a":`, 20000) + `1` + strings.Repeat(`}`, 20001),
			strings.Repeat("[", 500000), "\x00", " ",
		} {
			p.subscribe(token, body).refused(400, 3)
			p.host("PUT", "/posts/malformed", body).refused(400, 3)
		}
		p.app("GET", postPath+"malformed", "", "").refused(404, 5)
	})

	t.Run("too large is 413", func(t *testing.T) {
		t.Parallel()
		p := world.forTest(t)
		p.subscribe(token, padded(1<<20)).ok()
		p.subscribe(token, padded(1<<20+1)).refused(413, 8, "1048576")
		p.host("PUT", "/users/x", padded(1<<20)).ok()
		p.host("PUT", "/users/x", padded(1<<20+1)).refused(413, 8, "1048576")
		p.host("PATCH", "/apps/sample-app", padded(1<<20+1)).refused(413, 8, "1048576")
		header := http.Header{"X-Api-Key": {p.dev.App.APIKey}, "Authorization": {"Bearer " + token}, "Content-Type": {"application/json"}}
		p.send("POST", subscriptionsPath, unlimited{strings.NewReader(padded(1 << 20))}, header).ok()
		p.send("POST", subscriptionsPath, unlimited{strings.NewReader(padded(1<<20 + 1))}, header).refused(413, 8, "1048576")
	})

	t.Run("not JSON is 415", func(t *testing.T) {
		t.Parallel()
		p := world.forTest(t)
		const body = `{"event_type":"PAYMENT_TRANSACTION"}`
		call := func(contentType ...string) answer {
			header := http.Header{"X-Api-Key": {p.dev.App.APIKey}, "Authorization": {"Bearer " + token}}
			if contentType != nil {
				header["Content-Type"] = contentType
			}
			return p.send("POST", subscriptionsPath, strings.NewReader(body), header)
		}
		for _, good := range []string{"application/json", "APPLICATION/JSON", "application/json; charset=utf-8", "application/json;charset=UTF-8"} {
			call(good).ok()
		}
		call().ok() // nothing is declared
		for _, bad := range []string{
			"text/plain", "text/json", "application/xml", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x",
			"application/x-ndjson", "application/octet-stream", "application/json; charset=latin1", "json", "/", "application/json, text/plain",
		} {
			call(bad).refused(415, 3, "Content-Type")
			p.do("PUT", "/host/v1/users/x", `{}`, "Authorization: Bearer "+p.dev.HostKey, "Content-Type: "+bad).refused(415, 3, "Content-Type")
		}
		for _, path := range []string{usersPath, postsPath} { // no body: nothing is declared of it
			p.do("GET", path, "", "X-API-Key: "+p.dev.App.APIKey, "Authorization: Bearer "+token, "Content-Type: text/plain").ok()
		}
	})

	t.Run("a JSON body on GET is ignored", func(t *testing.T) {
		t.Parallel()
		p := world.forTest(t)
		for _, body := range []string{`{"token":"other"}`, `{`, `[]`} {
			p.app("GET", postPath+"gZd7omnS", "", body).ok()
			p.app("GET", usersPath, token, body).ok()
			p.host("GET", "/apps/sample-app", body).ok()
		}
	})

	t.Run("null counts as absent", func(t *testing.T) {
		t.Parallel()
		p := world.forTest(t)
		p.host("PUT", "/posts/nulls", `{"owner":"seller","state":"PUBLISHED","title":null,"category":null,"city":null,"district":null,`+
			`"chat_enabled":null,"is_phone_hidden":null,"supplier_chat_assistant_enabled":null,"first_published_at":null,"data":null}`).ok()
		p.host("PUT", "/posts/nulls", `{"owner":null,"state":"PUBLISHED"}`).refused(400, 3, "owner")
		p.host("PUT", "/posts/nulls", `{"owner":"seller","state":null}`).refused(400, 3, "state")
		p.app("GET", postPath+"nulls", "", "").is(`{"token":"nulls","category":"","city":"","district":"","state":"PUBLISHED",` +
			`"chat_enabled":false,"is_phone_hidden":false,"supplier_chat_assistant_enabled":false,"first_published_at":null,"data":{}}`)
		p.host("PUT", "/posts/nulls", `{"owner":"seller","state":"PUBLISHED","data":{"a":null,"b":[null,{"c":null}]}}`).ok()
		if a := p.app("GET", postPath+"nulls", "", "").ok(); !strings.Contains(a.body, `"data":{"a":null,"b":[null,{"c":null}]}`) {
			t.Errorf("a post's data keeps its nulls; got %s", a.body)
		}
		p.host("POST", "/conversations/"+p.dev.ConversationID+"/messages",
			`{"id":null,"sender":"BUYER","type":null,"text":"x","sent_at":null,"image_data":null,"location_data":null}`).ok()
		p.host("POST", "/conversations/"+p.dev.ConversationID+"/messages",
			`{"sender":"BUYER","type":"VIDEO","video_data":{"link":"https://x.test/v","thumbnail_link":null,"size_bytes":null},"text":null}`).ok()
		p.host("PATCH", "/apps/sample-app", `{"display":null,"permissions":null,"paused":null,"event_url":null}`).ok()
		p.app("GET", postPath+"nulls", "", "").ok() // the permissions are as they were
	})

	t.Run("ids in the path win", func(t *testing.T) {
		t.Parallel()
		p := world.forTest(t)
		p.host("PUT", "/posts/in-path", `{"token":"in-body","owner":"seller","state":"PUBLISHED"}`).ok()
		p.app("GET", postPath+"in-path", "", "").ok()
		p.app("GET", postPath+"in-body", "", "").refused(404, 5)
		p.host("PUT", "/users/in-path", `{"id":"in-body","phone":"1"}`).is(`{"id":"in-path","phone":"1"}`)
		p.host("PUT", "/conversations/in-path", `{"id":"in-body","type":"POST","post_token":"gZd7omnS","buyer":"b"}`).ok()
		p.host("POST", "/conversations/in-path/messages", `{"conversation":"in-body","sender":"BUYER","text":"x"}`).ok()
		p.host("PUT", "/transactions/in-path", `{"id":"in-body","app":"sample-app","state":"PENDING","type":"REORDER"}`).ok()
		p.host("PATCH", "/apps/sample-app", `{"slug":"in-body"}`).ok()
		p.host("GET", "/apps/in-body", "").refused(404, 5, "in-body")
	})

	t.Run("no answer leaks our insides", func(t *testing.T) {
		t.Parallel()
		p := world.forTest(t)
		inside := regexp.MustCompile(`(?i)sql|goroutine|\.go:|runtime|internal/|panic|json: |strconv`)
		for _, a := range []answer{
			p.host("GET", "/deliveries?event=99999999999999999999", ""), p.host("GET", "/deliveries?after='--", ""),
			p.host("GET", "/deliveries?state=pending'", ""), p.host("GET", "/deliveries/'%20OR%201=1--", ""), p.host("GET", "/events/1e9", ""),
			p.host("GET", "/apps?after=%00", ""), p.host("GET", "/users/%FF/grants", ""), p.host("DELETE", "/apps/sample-app/keys/9e9", ""),
			p.host("POST", "/dev/tokens", `{"app":"sample-app","user":"u","ttl":"1y"}`), p.host("POST", "/dev/clock", `{"advance":"-1h"}`),
			p.subscribe(token, `{"event_type":{"a":1}}`), p.host("POST", "/apps", `{"slug":5}`), p.host("POST", "/redeliveries", `{"from":"x"}`),
		} {
			if a.status >= 500 || inside.MatchString(a.body) {
				t.Errorf("%s: %d %s", a.call, a.status, a.body)
			}
		}
	})
}

func TestAPIKeys(t *testing.T) {
	t.Parallel()
	p := start(t)
	token := p.dev.Users.Seller.AccessToken

	// The header's name has no letter case; the key has.
	for _, name := range []string{"X-API-Key", "x-api-key", "X-API-KEY", "X-Api-Key", "x-Api-kEY"} {
		p.send("GET", postPath+"gZd7omnS", http.NoBody, http.Header{name: {p.dev.App.APIKey}}).ok()
	}
	for _, header := range []http.Header{
		{},
		{"X-API-Key": {""}},
		{"X-API-Key": {"okk_unknown"}},
		{"X-API-Key": {strings.ToUpper(p.dev.App.APIKey)}},
		{"X-API-Key": {p.dev.App.APIKey + "x"}},
		{"X-API-Key": {p.dev.App.APIKey[:len(p.dev.App.APIKey)-1]}},
		{"X-API-Key": {p.dev.HostKey}},
		{"X-API-Key": {token}},
		{"X-API-Key": {"Bearer " + p.dev.App.APIKey}},
		{"Authorization": {"Bearer " + p.dev.App.APIKey}},
	} {
		p.send("GET", postPath+"gZd7omnS", http.NoBody, header).refused(401, 16, "API key")
	}
	p.do("GET", postPath+"gZd7omnS?X-API-Key="+p.dev.App.APIKey, "").refused(401, 16, "API key")

	// A key lets what it and its app are permitted, whichever is less.
	reader := p.newKey("sample-app", `["GET_POST"]`)
	none := p.newKey("sample-app", `[]`)
	get := func(key string) answer { return p.do("GET", postPath+"gZd7omnS", "", "X-API-Key: "+key) }
	get(reader.Key).ok()
	get(none.Key).refused(403, 7, "GET_POST")
	p.do("GET", usersPath, "", "X-API-Key: "+reader.Key, "Authorization: Bearer "+token).refused(403, 7, "USER_RETRIEVE")
	p.host("POST", "/apps/sample-app/keys", `{"permissions":["FLY"]}`).refused(400, 3, "permissions[0]", "FLY")
	p.host("POST", "/apps/no-such-app/keys", `{"permissions":[]}`).refused(404, 5, "no-such-app")
	p.setApp(`{"permissions":["USER_RETRIEVE"]}`)
	get(reader.Key).refused(403, 7, "GET_POST")
	get(p.dev.App.APIKey).refused(403, 7, "GET_POST")
	p.app("GET", usersPath, token, "").ok()
	p.host("POST", "/apps/sample-app/keys", `{"permissions":["USER_RETRIEVE","GET_POST"]}`).refused(400, 3, "permissions[1]", "GET_POST")
	p.setApp(`{"permissions":["USER_RETRIEVE","GET_POST"]}`)
	get(reader.Key).ok()

	// Revoked at once; again is no error; another app's is not there.
	other := p.otherApp()
	p.host("DELETE", "/apps/other-app/keys/"+reader.ID, "").refused(404, 5, reader.ID)
	p.host("DELETE", "/apps/sample-app/keys/0", "").refused(404, 5)
	p.host("DELETE", "/apps/sample-app/keys/x", "").refused(404, 5)
	get(reader.Key).ok()
	p.host("DELETE", "/apps/sample-app/keys/"+reader.ID, "").is("{}")
	get(reader.Key).refused(401, 16, "API key", "revoked")
	p.host("DELETE", "/apps/sample-app/keys/"+reader.ID, "").ok()
	get(p.dev.App.APIKey).ok()
	get(other.key).ok()

	// The list tells them apart and shows no key.
	var list struct {
		Keys []struct {
			ID, Title   string
			Permissions []string
			LastUsedAt  *string `json:"last_used_at"`
			RevokedAt   *string `json:"revoked_at"`
		}
		Next *string
	}
	a := p.host("GET", "/apps/sample-app/keys", "").ok()
	a.into(&list)
	for _, secret := range []string{p.dev.App.APIKey, reader.Key, none.Key} {
		if strings.Contains(a.body, secret) {
			t.Error("the list shows a key")
		}
	}
	if len(list.Keys) != 3 || list.Next != nil || list.Keys[1].ID != reader.ID || list.Keys[1].RevokedAt == nil || list.Keys[0].RevokedAt != nil ||
		list.Keys[1].LastUsedAt == nil || !slices.Equal(list.Keys[1].Permissions, []string{"GET_POST"}) {
		t.Errorf("keys: %s", a.body)
	}
	unused := p.newKey("other-app", `["GET_POST"]`)
	if a := p.host("GET", "/apps/other-app/keys", "").ok(); !regexp.MustCompile(`"id":"` + unused.ID + `"[^}]*"last_used_at":null`).MatchString(a.body) {
		t.Errorf("a key that was never used: %s", a.body)
	}

	// A suspended app's keys let nothing.
	p.setApp(`{"status":"SUSPENDED"}`)
	get(p.dev.App.APIKey).refused(403, 7, "suspended")
	get(other.key).ok()
	p.setApp(`{"status":"PRODUCTION"}`)
	get(p.dev.App.APIKey).ok()
}

func TestAccessTokens(t *testing.T) {
	t.Parallel()
	p := start(t)
	other := p.otherApp()
	token := p.token("seller", "USER_ID")
	call := func(header http.Header) answer {
		header.Set("X-API-Key", p.dev.App.APIKey)
		return p.send("GET", usersPath, http.NoBody, header)
	}
	for _, header := range []http.Header{
		{"Authorization": {"Bearer " + token}},
		{"authorization": {"bearer " + token}},
		{"AUTHORIZATION": {"BEARER " + token}},
		{"x-access-token": {token}},
		{"X-Access-Token": {token}},
		{"X-ACCESS-TOKEN": {token}},
	} {
		call(header).is(`{"user_id":"` + p.dev.Users.Seller.AppUserID + `"}`)
	}
	for _, header := range []http.Header{
		{},
		{"Authorization": {""}},
		{"Authorization": {"Bearer "}},
		{"Authorization": {"Bearer okt_unknown"}},
		{"Authorization": {"Bearer " + token + "x"}},
		{"Authorization": {"Bearer " + strings.ToUpper(token)}},
		{"Authorization": {token}},
		{"Authorization": {"Basic " + token}},
		{"Authorization": {"Bearer " + p.dev.HostKey}},
		{"Authorization": {"Bearer " + p.dev.App.APIKey}},
		{"Authorization": {"Bearer " + p.dev.App.ClientSecret}},
		{"Authorization": {"Bearer " + other.token("seller", "USER_ID")}},
		{"X-Access-Token": {other.token("seller", "USER_ID")}},
		{"X-Access-Token": {""}},
		{"X-Access-Token": {"okt_unknown"}},
	} {
		call(header).refused(401, 16, "token")
	}
	other.call("GET", usersPath, token, "").refused(401, 16, "token")
	p.do("GET", usersPath+"?access_token="+token, "", "X-API-Key: "+p.dev.App.APIKey).refused(401, 16, "token")

	// Where a call needs no scope a token is ignored.
	for _, ignored := range []string{"okt_unknown", other.token("seller"), token} {
		p.app("GET", postPath+"gZd7omnS", ignored, "").ok()
	}

	short, long := p.tokenOf("sample-app", "seller", "1h", "USER_ID"), p.tokenOf("sample-app", "seller", "3h", "USER_ID")
	p.advance("50m")
	p.app("GET", usersPath, short, "").ok()
	p.advance("20m")
	p.app("GET", usersPath, short, "").refused(401, 16, "token", "expired")
	p.app("GET", usersPath, token, "").refused(401, 16, "token", "expired")
	p.app("GET", usersPath, long, "").ok()
	p.host("DELETE", "/users/seller/grants/sample-app", "").ok()
	p.app("GET", usersPath, long, "").refused(401, 16, "token", "revoked")
	p.app("GET", usersPath, p.dev.Users.Seller.AccessToken, "").refused(401, 16, "token", "revoked")
	p.app("GET", usersPath, p.dev.Users.Buyer.AccessToken, "").ok()
	other.call("GET", usersPath, other.token("seller", "USER_ID"), "").ok()
}

func TestHostKey(t *testing.T) {
	t.Parallel()
	p := start(t)
	routes := []string{
		"PUT /users/u", "DELETE /users/u", "GET /users/u/grants", "DELETE /users/u/grants/sample-app", "PUT /posts/p", "DELETE /posts/p",
		"PUT /conversations/c", "PUT /conversations/c/block", "POST /conversations/c/messages", "GET /conversations/c/messages",
		"DELETE /messages/m", "PUT /transactions/t", "POST /batch", "GET /apps", "POST /apps", "GET /apps/sample-app", "PATCH /apps/sample-app",
		"POST /apps/sample-app/test-event", "GET /apps/sample-app/signing-secrets", "POST /apps/sample-app/signing-secrets",
		"GET /apps/sample-app/keys", "POST /apps/sample-app/keys", "DELETE /apps/sample-app/keys/1", "POST /apps/sample-app/client-secret",
		"GET /apps/sample-app/subscriptions", "GET /deliveries", "GET /deliveries/1-sample-app", "POST /deliveries/1-sample-app/redeliver",
		"POST /redeliveries", "GET /events/1", "POST /dev/tokens", "POST /dev/clock",
	}
	credentials := map[string][]string{
		"none":           nil,
		"wrong":          {"Authorization: Bearer okh_wrong"},
		"a part":         {"Authorization: Bearer " + p.dev.HostKey[:len(p.dev.HostKey)-1]},
		"more":           {"Authorization: Bearer " + p.dev.HostKey + "x"},
		"other case":     {"Authorization: Bearer " + strings.ToLower(p.dev.HostKey)},
		"no scheme":      {"Authorization: " + p.dev.HostKey},
		"other scheme":   {"Authorization: Basic " + p.dev.HostKey},
		"other header":   {"X-API-Key: " + p.dev.HostKey},
		"an API key":     {"Authorization: Bearer " + p.dev.App.APIKey, "X-API-Key: " + p.dev.App.APIKey},
		"a user's token": {"Authorization: Bearer " + p.dev.Users.Seller.AccessToken},
		"the app's key":  {"Authorization: Bearer " + p.dev.App.IdentificationKey},
	}
	for _, route := range routes {
		method, path, _ := strings.Cut(route, " ")
		for name, header := range credentials {
			if a := p.do(method, "/host/v1"+path, `{"malformed`, header...); a.status != http.StatusUnauthorized {
				t.Errorf("%s with %s: %d %s, want 401", route, name, a.status, a.body)
			} else {
				a.refused(401, 16, "host key")
			}
		}
	}
	p.do("GET", "/host/v1/apps", "", "authorization: bearer "+p.dev.HostKey).ok()
	p.app("GET", postPath+"gZd7omnS", "", "").ok() // nothing of the above was done
	for _, path := range []string{"/healthz", "/readyz"} {
		p.do("GET", path, "").is("{}")
	}
}

func TestGetUser(t *testing.T) {
	t.Parallel()
	p := start(t)
	p.host("PUT", "/users/ali", `{"phone":"0912"}`).ok()
	ids := map[string]string{}
	for _, user := range []string{"ali", "nobody"} {
		var u struct {
			UserID string `json:"user_id"`
		}
		p.app("GET", usersPath, p.token(user, "USER_ID"), "").ok().into(&u)
		ids[user] = u.UserID
	}
	const phone = `"phone_number":"0912","phone_numbers":["0912"]`
	tests := []struct {
		name   string
		user   string
		scopes []string
		want   string // "" for 403
	}{
		{"both scopes", "ali", []string{"USER_ID", "USER_PHONE"}, `{"user_id":"` + ids["ali"] + `",` + phone + `}`},
		{"USER_ID", "ali", []string{"USER_ID"}, `{"user_id":"` + ids["ali"] + `"}`},
		{"USER_PHONE", "ali", []string{"USER_PHONE"}, `{` + phone + `}`},
		{"neither", "ali", nil, ""},
		{"other scopes", "ali", []string{"USER_POSTS_GET", "SEND_EVENT", "NOTIFICATION_ACCESS_REVOCATION"}, ""},
		{"no phone, USER_PHONE", "nobody", []string{"USER_PHONE"}, `{}`},
		{"no phone, both scopes", "nobody", []string{"USER_ID", "USER_PHONE"}, `{"user_id":"` + ids["nobody"] + `"}`},
	}
	for _, tt := range tests {
		for _, method := range []string{"GET", "POST"} {
			token := p.token(tt.user, tt.scopes...)
			for _, body := range []string{"", `{}`} {
				if a := p.app(method, usersPath, token, body); tt.want == "" {
					a.refused(403, 7, "USER_ID", "USER_PHONE")
				} else if a.ok().body != tt.want {
					t.Errorf("%s, %s: %s\nwant %s", tt.name, method, a.body, tt.want)
				}
			}
		}
	}
}

func TestUserIDsAreTheAppsOwn(t *testing.T) {
	t.Parallel()
	p := start(t)
	app, other := p.sample(), p.otherApp()
	safe := regexp.MustCompile(`^[A-Za-z0-9_-]{16,64}$`)
	seen := map[string]bool{}
	idOf := func(c caller, user string) string {
		var u struct {
			UserID string `json:"user_id"`
		}
		c.call("GET", usersPath, c.token(user, "USER_ID"), "").ok().into(&u)
		return u.UserID
	}
	for _, user := range []string{"seller", "buyer", "Seller", "sellerx", "a/b", "a+b"} {
		for _, c := range []caller{app, other} {
			id := idOf(c, user)
			if !safe.MatchString(id) || seen[id] || strings.Contains(id, user) {
				t.Errorf("%s of %s is %q: not URL-safe, not its own, or it shows the user", user, c.slug, id)
			}
			seen[id] = true
			if again := idOf(c, user); again != id {
				t.Errorf("%s of %s is %q and then %q", user, c.slug, id, again)
			}
		}
	}
	// Another grant makes no other id.
	id := idOf(app, "seller")
	p.host("DELETE", "/users/seller/grants/sample-app", "").ok()
	if again := idOf(app, "seller"); again != id {
		t.Errorf("after a new grant %q, before it %q", again, id)
	}
}

func TestGetPost(t *testing.T) {
	t.Parallel()
	p := start(t)
	get := func(escaped string) answer { return p.app("GET", postPath+escaped, "", "") }

	p.host("PUT", "/posts/full", `{"owner":"buyer","title":"t","state":"PUBLISHED","category":"bicycle","city":"tehran","district":"ونک",`+
		`"chat_enabled":true,"is_phone_hidden":true,"supplier_chat_assistant_enabled":true,`+
		`"first_published_at":"2026-01-02T06:34:05.5+03:30","data":{"price":1.50,"n":null,"tags":["<b>&"]},"unknown":1}`).ok()
	get("full").is(`{"token":"full","category":"bicycle","city":"tehran","district":"ونک","state":"PUBLISHED","chat_enabled":true,` +
		`"is_phone_hidden":true,"supplier_chat_assistant_enabled":true,"first_published_at":"2026-01-02T03:04:05.5Z",` +
		`"data":{"price":1.50,"n":null,"tags":["<b>&"]}}`)

	for state, status := range map[string]int{"PUBLISHED": 200, "REVIEW_REQ": 200, "PAYMENT_REQ": 200, "RETIRED": 200, "ARCHIVED": 404} {
		p.host("PUT", "/posts/stateful", `{"owner":"seller","state":"`+state+`"}`).ok()
		a := get("stateful")
		if status == http.StatusNotFound {
			a.refused(404, 5, "stateful")
		} else if !strings.Contains(a.ok().body, `"state":"`+state+`"`) {
			t.Errorf("%s: %s", state, a.body)
		}
	}
	get("nowhere").refused(404, 5, "nowhere")

	// Every printable character may stand in a token. It arrives escaped and
	// is decoded once; "+" is itself.
	for _, token := range []string{"a/b", "a+b", "a%2Fb", "a%b", "a?b", "a#b", "a&b=c", "a;b", "a.b", "...", "../x", "a//b", `a"b`, `a\b`, "{token}", "~!@$^*()"} {
		escaped := url.PathEscape(token)
		p.host("PUT", "/posts/"+escaped, `{"owner":"seller","state":"PUBLISHED"}`).ok()
		for _, path := range []string{escaped, strings.ReplaceAll(escaped, "+", "%2B"), everyByteEscaped(token)} {
			var post struct{ Token string }
			get(path).ok().into(&post)
			if post.Token != token {
				t.Errorf("%s: token %q, want %q", path, post.Token, token)
			}
		}
	}
	get("a%20b").refused(404, 5)
	get("a%252Fb").ok()
	get("%25252F").refused(404, 5)
}

func everyByteEscaped(s string) string {
	var b strings.Builder
	for i := range len(s) {
		fmt.Fprintf(&b, "%%%02X", s[i])
	}
	return b.String()
}

func TestListPosts(t *testing.T) {
	t.Parallel()
	p := start(t)
	token := p.token("ali", "USER_POSTS_GET")
	p.app("GET", postsPath, p.token("ali", "USER_ID"), "").refused(403, 7, "USER_POSTS_GET")
	p.app("GET", postsPath, token, "").is(`{"posts":[]}`)
	p.newPost("foreign", "veli")
	p.host("PUT", "/posts/b", `{"owner":"ali","state":"RETIRED","title":"دو","category":"c","data":{"images":["https://x.test/1","https://x.test/2"]}}`).ok()
	p.host("PUT", "/posts/a", `{"owner":"ali","state":"REVIEW_REQ","title":"one","data":{"images":[1]}}`).ok()
	p.host("PUT", "/posts/archived", `{"owner":"ali","state":"ARCHIVED"}`).ok()
	p.newPost("gone", "ali")
	p.host("DELETE", "/posts/gone", "").ok()
	p.app("GET", postsPath, token, "").is(`{"posts":[{"token":"a","title":"one","images":[],"category":""},` +
		`{"token":"b","title":"دو","images":["https://x.test/1","https://x.test/2"],"category":"c"}]}`)
	p.host("PUT", "/posts/b", `{"owner":"veli","state":"PUBLISHED"}`).ok() // sold with the shop
	p.app("GET", postsPath, token, "").is(`{"posts":[{"token":"a","title":"one","images":[],"category":""}]}`)
}

// TestHostWritesAreIdempotent sends each write twice: the same content again
// is 200 and nothing happens a second time; other content is what the contract
// says of that thing.
func TestHostWritesAreIdempotent(t *testing.T) {
	t.Parallel()
	const demo = "/conversations/edbb9499-cccc-4d35-b21f-621fa95f2b3e/messages"
	tests := []struct {
		name         string
		method, path string
		first        string
		same         []string // the same in other words
		events       int      // of the first
		other        string   // other content under the same id
		otherStatus  int
		otherEvents  int
	}{
		{
			"user", "PUT", "/users/u@", `{"phone":"1"}`, []string{`{"phone":"1","x":2}`}, 0, `{"phone":"2"}`, 200, 0,
		},
		{
			"post", "PUT", "/posts/p@", `{"owner":"seller","state":"PUBLISHED","data":{"a":[1.50]}}`,
			[]string{`{"data":{ "a": [ 1.50 ] },"title":"","state":"PUBLISHED","owner":"seller"}`},
			1,
			`{"owner":"seller","state":"PUBLISHED","data":{"a":[1.51]}}`, 200, 1,
		},
		{
			"conversation on a post", "PUT", "/conversations/c@", `{"type":"POST","post_token":"gZd7omnS","buyer":"ali@"}`,
			[]string{`{"buyer":"ali@","post_token":"gZd7omnS","type":"POST","app":null,"user":""}`},
			0,
			`{"type":"POST","post_token":"gZd7omnS","buyer":"veli@"}`, 409, 0,
		},
		{
			"conversation with a bot", "PUT", "/conversations/c@", `{"type":"BOT","app":"sample-app","user":"ali@"}`, nil, 0,
			`{"type":"POST","post_token":"gZd7omnS","buyer":"ali@"}`, 409, 0,
		},
		{
			"message", "POST", demo, `{"id":"m@","sender":"BUYER","text":"hello"}`,
			[]string{`{"id":"m@","sender":"BUYER","type":"TEXT","text":"hello","conversation":"another"}`, `{"text":"hell\u006f","sender":"BUYER","id":"m@","sent_at":null}`},
			1,
			`{"id":"m@","sender":"BUYER","text":"hello!"}`, 409, 0,
		},
		{
			"message, another sender", "POST", demo, `{"id":"m@","sender":"BUYER","text":"hello"}`, nil, 1,
			`{"id":"m@","sender":"SELLER","text":"hello"}`, 409, 0,
		},
		{
			"message, another time", "POST", demo, `{"id":"m@","sender":"BUYER","text":"hello","sent_at":"2026-01-02T03:04:05Z"}`,
			[]string{`{"id":"m@","sender":"BUYER","text":"hello","sent_at":"2026-01-02T06:34:05.000+03:30"}`},
			1,
			`{"id":"m@","sender":"BUYER","text":"hello","sent_at":"2026-01-02T03:04:06Z"}`, 409, 0,
		},
		{
			"message, another type", "POST", demo, `{"id":"m@","sender":"BUYER","type":"IMAGE","image_data":{"link":"https://x.test/i","size_bytes":1}}`, nil, 1,
			`{"id":"m@","sender":"BUYER","type":"FILE","file_data":{"link":"https://x.test/i","size_bytes":1}}`, 409, 0,
		},
		{
			"transaction", "PUT", "/transactions/t@", `{"app":"sample-app","state":"PENDING","type":"REORDER","cost_rials":5,"extra_details":{"a":1.50}}`,
			[]string{`{"extra_details":{ "a":1.50},"cost_rials":5,"type":"REORDER","state":"PENDING","app":"sample-app"}`},
			1,
			`{"app":"sample-app","state":"FAILED","type":"REORDER","cost_rials":5}`, 200, 1,
		},
		{
			"transaction, another app", "PUT", "/transactions/t@", `{"app":"sample-app","state":"PENDING","type":"REORDER","cost_rials":5}`, nil, 1,
			`{"app":"other-app","state":"PENDING","type":"REORDER","cost_rials":5}`, 409, 0,
		},
		{
			"app", "POST", "/apps", `{"slug":"made@","display":"x","identification_key":"k","permissions":["GET_POST"]}`,
			[]string{`{"slug":"made@","display":"x","identification_key":"k","permissions":["GET_POST"],"status":"DEVELOPMENT","cities":[],"per_minute":6000}`},
			0,
			`{"slug":"made@","display":"y","identification_key":"k","permissions":["GET_POST"]}`, 409, 0,
		},
	}
	world := start(t)
	world.otherApp()
	for _, typ := range []string{"NEW_MESSAGE_ON_POST", "POST_UPDATE"} {
		world.subscribe(world.dev.Users.Seller.AccessToken, `{"event_type":"`+typ+`"}`).ok()
	}
	for i, tt := range tests {
		t.Run(tt.name, func(t *testing.T) { // "@" makes the ids of each row its own
			p := world.forTest(t)
			write := func(body string) answer {
				t.Helper()
				own := func(s string) string { return strings.ReplaceAll(s, "@", fmt.Sprint("-", i)) }
				return p.host(tt.method, own(tt.path), own(body))
			}
			events := func(what string, want int) {
				t.Helper()
				p.settle()
				if got := len(p.hook.take()); got != want {
					t.Errorf("%s: %d events, want %d", what, got, want)
				}
			}
			first := write(tt.first).ok()
			events("the first time", tt.events)
			for _, again := range append([]string{tt.first}, tt.same...) {
				if a := write(again).ok(); a.body != first.body {
					t.Errorf("%s\nanswers %s\nthe first time %s", again, a.body, first.body)
				}
				events(again, 0)
			}
			a := write(tt.other)
			if tt.otherStatus != http.StatusConflict {
				a.ok()
				events("other content", tt.otherEvents)
				return
			}
			a.refused(409, 6)
			write(tt.first).is(first.body) // it still stands
			events("other content that was refused", 0)
		})
	}

	t.Run("a message's id is the marketplace's, whatever the conversation", func(t *testing.T) {
		t.Parallel()
		p := start(t)
		p.newConversation("c", "gZd7omnS", "ali")
		p.host("POST", demo, `{"id":"m","sender":"BUYER","text":"hello"}`).ok()
		p.host("POST", "/conversations/c/messages", `{"id":"m","sender":"BUYER","text":"hello"}`).refused(409, 6, "id", "m")
	})
	t.Run("without an id each message is another", func(t *testing.T) {
		t.Parallel()
		p := start(t)
		if first, second := p.say("BUYER", "hello"), p.say("BUYER", "hello"); first == second {
			t.Error("the second became the first's event")
		}
	})
	t.Run("a user has one conversation with a bot", func(t *testing.T) {
		t.Parallel()
		p := start(t)
		p.host("PUT", "/conversations/c", `{"type":"BOT","app":"sample-app","user":"seller"}`).refused(409, 6, p.dev.BotConversationID)
	})
	t.Run("a repeat is answered also when it could not be sent any more", func(t *testing.T) {
		t.Parallel()
		p := start(t)
		const message = `{"id":"m","sender":"BUYER","text":"hello"}`
		first := p.host("POST", demo, message).ok()
		p.host("PUT", "/conversations/"+p.dev.ConversationID+"/block", `{"by":"SELLER","blocked":true}`).ok()
		if a := p.host("POST", demo, message); a.status != 200 || a.body != first.body {
			t.Errorf("after a block: %d %s, want the first answer", a.status, a.body)
		}
		p.host("DELETE", "/posts/gZd7omnS", "").ok()
		if a := p.host("POST", demo, message); a.status != 200 || a.body != first.body {
			t.Errorf("after the post is gone: %d %s, want the first answer", a.status, a.body)
		}
	})
}

func TestHostWritesNameWhatIsWrong(t *testing.T) {
	t.Parallel()
	p := start(t)
	long := func(n int) string { return strings.Repeat("x", n) }
	demo := "/conversations/" + p.dev.ConversationID
	tests := []struct {
		method, path, body string
		want               int
		says               string
	}{
		{"PUT", "/users/" + long(65), `{}`, 400, "user"},
		{"PUT", "/users/a%20b", `{}`, 400, "user"},
		{"PUT", "/users/%D8%B3", `{}`, 400, "user"},
		{"PUT", "/users/u", `{"phone":912}`, 400, "phone"},
		{"PUT", "/users/u", `{"phone":"` + long(33) + `"}`, 400, "phone"},
		{"PUT", "/posts/%2E", `{"owner":"a","state":"PUBLISHED"}`, 400, "token"},
		{"PUT", "/posts/%2e%2e", `{"owner":"a","state":"PUBLISHED"}`, 400, "token"},
		{"PUT", "/posts/p", `{"state":"PUBLISHED"}`, 400, "owner"},
		{"PUT", "/posts/p", `{"owner":"a","state":"SOLD"}`, 400, "state SOLD PUBLISHED"},
		{"PUT", "/posts/p", `{"owner":"a"}`, 400, "state"},
		{"PUT", "/posts/p", `{"owner":"a","state":"PUBLISHED","data":[]}`, 400, "data"},
		{"PUT", "/posts/p", `{"owner":"a","state":"PUBLISHED","chat_enabled":"yes"}`, 400, "chat_enabled"},
		{"PUT", "/posts/p", `{"owner":"a","state":"PUBLISHED","first_published_at":"today"}`, 400, "first_published_at"},
		{"PUT", "/conversations/c", `{"post_token":"gZd7omnS","buyer":"b"}`, 400, "type"},
		{"PUT", "/conversations/c", `{"type":"POST","buyer":"b"}`, 400, "post_token"},
		{"PUT", "/conversations/c", `{"type":"POST","post_token":"gZd7omnS"}`, 400, "buyer"},
		{"PUT", "/conversations/c", `{"type":"POST","post_token":"gZd7omnS","buyer":"seller"}`, 400, "buyer"},
		{"PUT", "/conversations/c", `{"type":"POST","post_token":"nowhere","buyer":"b"}`, 404, "post_token nowhere"},
		{"PUT", "/conversations/c", `{"type":"BOT","app":"no-such-app","user":"b"}`, 404, "app no-such-app"},
		{"PUT", "/conversations/c", `{"type":"BOT","app":"sample-app"}`, 400, "user"},
		{"PUT", "/conversations/c", `{"type":"BOT","app":"sample-app","user":"b","post_token":"gZd7omnS"}`, 400, "post_token"},
		{"POST", demo + "/messages", `{"text":"x"}`, 400, "sender"},
		{"POST", demo + "/messages", `{"sender":"USER","text":"x"}`, 400, "sender"},
		{"POST", "/conversations/" + p.dev.BotConversationID + "/messages", `{"sender":"BUYER","text":"x"}`, 400, "sender"},
		{"POST", demo + "/messages", `{"sender":"BUYER"}`, 400, "text"},
		{"POST", demo + "/messages", `{"sender":"BUYER","text":""}`, 400, "text"},
		{"POST", demo + "/messages", `{"sender":"BUYER","text":"` + strings.Repeat("س", 4097) + `"}`, 400, "text 4096"},
		{"POST", demo + "/messages", `{"sender":"BUYER","text":"x","type":"STICKER"}`, 400, "type STICKER"},
		{"POST", demo + "/messages", `{"sender":"BUYER","type":"IMAGE"}`, 400, "image_data"},
		{"POST", demo + "/messages", `{"sender":"BUYER","type":"IMAGE","image_data":{"link":"x"}}`, 400, "image_data.link"},
		{"POST", demo + "/messages", `{"sender":"BUYER","text":"x","image_data":{"link":"https://x.test"}}`, 400, "image_data"},
		{"POST", demo + "/messages", `{"sender":"BUYER","text":"x","sent_at":1}`, 400, "sent_at"},
		{"POST", "/conversations/nowhere/messages", `{"sender":"BUYER","text":"x"}`, 404, "nowhere"},
		{"GET", "/conversations/nowhere/messages", ``, 404, "nowhere"},
		{"PUT", "/conversations/nowhere/block", `{"by":"BUYER","blocked":true}`, 404, "nowhere"},
		{"PUT", demo + "/block", `{"blocked":true}`, 400, "by"},
		{"PUT", demo + "/block", `{"by":"USER","blocked":true}`, 400, "by"},
		{"PUT", demo + "/block", `{"by":"BUYER","blocked":"yes"}`, 400, "blocked"},
		{"PUT", "/conversations/" + p.dev.BotConversationID + "/block", `{"by":"BUYER","blocked":true}`, 400, "by"},
		{"PUT", "/transactions/t", `{"state":"PENDING","type":"REORDER"}`, 400, "app"},
		{"PUT", "/transactions/t", `{"app":"no-such-app","state":"PENDING","type":"REORDER"}`, 404, "app no-such-app"},
		{"PUT", "/transactions/t", `{"app":"sample-app","state":"PAID","type":"REORDER"}`, 400, "state PAID"},
		{"PUT", "/transactions/t", `{"app":"sample-app","state":"PENDING","type":"GIFT"}`, 400, "type GIFT"},
		{"PUT", "/transactions/t", `{"app":"sample-app","state":"PENDING","type":"REORDER","cost_rials":-1}`, 400, "cost_rials"},
		{"PUT", "/transactions/t", `{"app":"sample-app","state":"PENDING","type":"REORDER","cost_rials":1.5}`, 400, "cost_rials"},
		{"POST", "/apps", `{}`, 400, "slug"},
		{"POST", "/apps", `{"slug":"A B"}`, 400, "slug"},
		{"POST", "/apps", `{"slug":"../x"}`, 400, "slug"},
		{"POST", "/apps", `{"slug":"x","status":"GREAT"}`, 400, "status GREAT"},
		{"POST", "/apps", `{"slug":"x","event_url":"ftp://x.test"}`, 400, "event_url"},
		{"POST", "/apps", `{"slug":"x","event_url":"http://169.254.169.254/latest"}`, 400, "event_url"},
		{"POST", "/apps", `{"slug":"x","event_url":"https://10.0.0.1/"}`, 400, "event_url"},
		{"POST", "/apps", `{"slug":"x","permissions":["ALL"]}`, 400, "permissions[0]"},
		{"POST", "/apps", `{"slug":"x","oauth_scopes":["ALL"]}`, 400, "oauth_scopes[0]"},
		{"POST", "/apps", `{"slug":"x","identification_key":"a\r\nX-Y: z"}`, 400, "identification_key"},
		{"PATCH", "/apps/no-such-app", `{}`, 404, "no-such-app"},
		{"POST", "/dev/tokens", `{"app":"no-such-app","user":"u","scopes":[]}`, 404, "no-such-app"},
		{"POST", "/dev/tokens", `{"app":"sample-app","scopes":[]}`, 400, "user"},
		{"POST", "/dev/tokens", `{"app":"sample-app","user":"u","scopes":["ALL"]}`, 400, "scopes ALL"},
		{"POST", "/dev/tokens", `{"app":"sample-app","user":"u","scopes":["CHAT_POST_CONVERSATIONS_READ"]}`, 400, "scopes"},
		{"POST", "/dev/tokens", `{"app":"sample-app","user":"u","scopes":["USER_ID.x"]}`, 400, "scopes"},
	}
	for _, tt := range tests {
		t.Run(tt.method+" "+tt.body, func(t *testing.T) {
			p.forTest(t).host(tt.method, tt.path, tt.body).refused(tt.want, codes[tt.want], strings.Fields(tt.says)...)
		})
	}
	if got := p.deliveries(""); len(got) != 0 {
		t.Errorf("refused writes made events: %+v", got)
	}
}

func TestBlocks(t *testing.T) {
	t.Parallel()
	p := start(t)
	p.subscribe(p.dev.Users.Seller.AccessToken, `{"event_type":"NEW_MESSAGE_ON_POST"}`).ok()
	write := func(side string) answer {
		return p.host("POST", "/conversations/"+p.dev.ConversationID+"/messages", `{"sender":"`+side+`","text":"hello"}`)
	}
	block := func(by string, blocked bool) {
		p.host("PUT", "/conversations/"+p.dev.ConversationID+"/block", fmt.Sprintf(`{"by":%q,"blocked":%t}`, by, blocked)).ok()
	}
	steps := []struct {
		name          string
		by            string
		blocked       bool
		buyer, seller int
	}{
		{"the seller blocks", "SELLER", true, 412, 200},
		{"the same again", "SELLER", true, 412, 200},
		{"the buyer blocks too", "BUYER", true, 412, 412},
		{"the seller no longer", "SELLER", false, 200, 412},
		{"nor the buyer", "BUYER", false, 200, 200},
	}
	for _, step := range steps {
		block(step.by, step.blocked)
		want := 0
		for side, status := range map[string]int{"BUYER": step.buyer, "SELLER": step.seller} {
			if a := write(side); status == http.StatusOK {
				a.ok()
				want++
			} else {
				a.refused(412, 9, "blocked")
			}
		}
		p.settle()
		if got := len(p.hook.take()); got != want {
			t.Errorf("%s: %d events, want %d", step.name, got, want)
		}
	}
	block("SELLER", true)
	p.newConversation("another", "gZd7omnS", "ali")
	p.sayIn("another", "BUYER", "a block is of one conversation")
	p.one()
}

// echo makes the app answer with what it was sent, as debugging apps do.
func echo(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	if err == nil {
		_, _ = w.Write(body)
	}
}

// logOf is everything that the log says of an event's delivery to the sample
// app, and the list of deliveries.
func (p *platform) logOf(event string) string {
	p.t.Helper()
	return p.host("GET", "/deliveries/"+event+"-sample-app", "").ok().body + p.host("GET", "/deliveries?event="+event, "").ok().body +
		p.host("GET", "/events/"+event, "").ok().body
}

// gone checks that an event's secret content cannot be had or sent any more.
func (p *platform) gone(event string) {
	p.t.Helper()
	if log := p.logOf(event); strings.Contains(log, secret) {
		p.t.Errorf("the log of event %s still holds %q: %s", event, secret, log)
	}
	p.host("POST", "/deliveries/"+event+"-sample-app/redeliver", "").refused(412, 9, event)
	p.none()
}

// secret is the content that is deleted.
const secret = "the-secret-content"

func TestDeletedMessages(t *testing.T) {
	t.Parallel()
	listening := func(t *testing.T) *platform {
		p := start(t)
		p.subscribe(p.dev.Users.Seller.AccessToken, `{"event_type":"NEW_MESSAGE_ON_POST"}`).ok()
		return p
	}
	path := func(p *platform) string { return "/conversations/" + p.dev.ConversationID + "/messages" }
	write := func(p *platform, id, text string) string {
		var m struct {
			EventID string `json:"event_id"`
		}
		p.host("POST", path(p), `{"id":"`+id+`","sender":"BUYER","text":"`+text+`"}`).ok().into(&m)
		return m.EventID
	}

	t.Run("delivered", func(t *testing.T) {
		t.Parallel()
		p := listening(t)
		p.hook.respond(echo)
		event, kept := write(p, "m", secret), write(p, "kept", "the other message")
		p.settle()
		p.hook.take()
		if !strings.Contains(p.logOf(event), secret) {
			t.Fatal("the log does not keep answers; the test needs another way to see content there")
		}
		p.host("DELETE", "/messages/m", "").is("{}")
		p.gone(event)
		if got := p.stateOf(event); got != "delivered" {
			t.Errorf("state %s, want delivered: it was", got)
		}
		a := p.host("GET", path(p), "").ok()
		if strings.Contains(a.body, secret) || strings.Contains(a.body, `"id":"m"`) || !strings.Contains(a.body, "the other message") {
			t.Errorf("messages: %s, want the other one alone", a.body)
		}
		if dry := p.host("POST", "/redeliveries", `{"app":"sample-app","state":"delivered","dry_run":true}`).ok(); !strings.Contains(dry.body, `"count":1`) {
			t.Errorf("redeliveries: %s, want the other one alone", dry.body)
		}
		p.host("POST", "/deliveries/"+kept+"-sample-app/redeliver", "").ok()
		p.one()
		p.host("DELETE", "/messages/m", "").ok() // again
		p.host("DELETE", "/messages/never-there", "").ok()
		write(p, "m", secret) // the marketplace's retry of the old call
		p.none()
		if a := p.host("GET", path(p), "").ok(); strings.Contains(a.body, secret) {
			t.Errorf("a deleted message came back: %s", a.body)
		}
	})
	t.Run("waiting", func(t *testing.T) {
		t.Parallel()
		p := listening(t)
		p.setApp(`{"paused":true}`)
		event := write(p, "m", secret)
		p.host("DELETE", "/messages/m", "").ok()
		p.setApp(`{"paused":false}`)
		p.gone(event)
		if got := p.stateOf(event); got != "canceled" {
			t.Errorf("state %s, want canceled", got)
		}
	})
	t.Run("waiting for its retry", func(t *testing.T) {
		t.Parallel()
		p := listening(t)
		p.hook.respond(func(w http.ResponseWriter, r *http.Request) {
			w.WriteHeader(http.StatusInternalServerError)
			echo(w, r)
		})
		event := write(p, "m", secret)
		p.settle()
		p.host("DELETE", "/messages/m", "").ok()
		p.hook.take()
		p.hook.respond(nil)
		p.advance("72h")
		p.gone(event)
	})
	t.Run("being sent", func(t *testing.T) {
		t.Parallel()
		p := listening(t)
		began := make(chan struct{})
		var once sync.Once
		p.hook.respond(func(w http.ResponseWriter, r *http.Request) {
			echo(w, r) // 200 and the content, and then no end
			_ = http.NewResponseController(w).Flush()
			once.Do(func() { close(began) })
			<-r.Context().Done()
		})
		event := write(p, "m", secret)
		<-began
		p.host("DELETE", "/messages/m", "").ok()
		p.hook.respond(nil)
		p.settle()
		p.hook.take()
		p.gone(event)
	})
}

func TestDeletedPosts(t *testing.T) {
	t.Parallel()
	p := start(t)
	p.subscribe(p.dev.Users.Seller.AccessToken, `{"event_type":"POST_UPDATE"}`).ok()
	p.hook.respond(echo)
	p.host("PUT", "/posts/gZd7omnS", `{"owner":"seller","state":"PUBLISHED","city":"`+secret+`"}`).ok()
	p.settle()
	sent := p.deliveries("app=sample-app")
	if len(sent) != 1 || !strings.Contains(p.logOf(sent[0].EventID), secret) {
		t.Fatalf("deliveries: %+v, want the change with its content in the log", sent)
	}
	p.hook.take()
	p.hook.respond(nil)

	p.host("DELETE", "/posts/gZd7omnS", "").is("{}")
	if u := p.heard().PostUpdate; u.Type != "ARCHIVE" || string(u.Post) != `{"token":"gZd7omnS"}` {
		t.Errorf("heard %s %s, want ARCHIVE with the token alone", u.Type, u.Post)
	}
	p.app("GET", postPath+"gZd7omnS", "", "").refused(404, 5, "gZd7omnS")
	p.app("GET", postsPath, p.dev.Users.Seller.AccessToken, "").is(`{"posts":[]}`)
	p.subscribe(p.dev.Users.Seller.AccessToken, `{"event_type":"POST_UPDATE","event_resource_id":"gZd7omnS"}`).refused(404, 5, "gZd7omnS")
	p.host("POST", "/conversations/"+p.dev.ConversationID+"/messages", `{"sender":"BUYER","text":"x"}`).refused(404, 5, "gZd7omnS")
	p.host("DELETE", "/posts/gZd7omnS", "").ok()
	p.host("DELETE", "/posts/never-there", "").ok()
	p.none()
	p.gone(sent[0].EventID)
}

// TestErasedUsers erases a user with content of every kind.
func TestErasedUsers(t *testing.T) {
	t.Parallel()
	p := start(t)
	p.hook.respond(echo)
	p.host("PUT", "/users/ali", `{"phone":"`+secret+`"}`).ok()
	for _, token := range []string{"alis", "alis-deleted", "alis-archived"} {
		p.newPost(token, "ali")
	}
	p.newConversation("on-alis", "alis", "buyer")
	p.newConversation("ali-buys", "gZd7omnS", "ali")
	p.newBotConversation("alis-bot", "sample-app", "ali")
	token := p.token("ali", "USER_ID", "USER_PHONE", "NOTIFICATION_ACCESS_REVOCATION", "CHAT_SUPPLIER_ALL_CONVERSATIONS_READ", "USER_POSTS_GET")
	for _, typ := range eventTypes {
		p.subscribe(token, `{"event_type":"`+typ+`"}`).ok()
	}
	p.subscribe(p.dev.Users.Seller.AccessToken, `{"event_type":"NEW_MESSAGE_ON_POST"}`).ok()

	events := map[string]string{
		"a message of the user's own": p.sayIn("on-alis", "SELLER", secret),
		"a message to another":        p.sayIn("ali-buys", "BUYER", secret),
		"a message to the bot":        p.sayIn("alis-bot", "USER", secret),
	}
	kept := p.sayIn("ali-buys", "SELLER", "what another person wrote")
	change := func(token, state string) string {
		p.host("PUT", "/posts/"+token, `{"owner":"ali","state":"`+state+`","city":"`+secret+`"}`).ok()
		return p.deliveries("app=sample-app")[0].EventID
	}
	events["a change of a post"] = change("alis", "PUBLISHED")
	events["a change of a post that was archived since"] = change("alis-archived", "REVIEW_REQ")
	change("alis-archived", "ARCHIVED")
	events["a change of a post that was deleted since"] = change("alis-deleted", "PUBLISHED")
	p.host("DELETE", "/posts/alis-deleted", "").ok()
	p.settle()
	p.hook.take()
	p.hook.respond(nil)
	p.setApp(`{"paused":true}`)
	p.settle()
	waiting := p.sayIn("ali-buys", "BUYER", secret)
	p.host("DELETE", "/users/ali", "").is("{}")
	p.setApp(`{"paused":false}`)

	if e := p.heard(); e.Type != "USER_ACCESS_REVOCATION" {
		t.Errorf("heard %+v, want the revocation alone", e)
	}
	for what, event := range events {
		t.Run(what, func(t *testing.T) { p.forTest(t).gone(event) })
	}
	if got := p.stateOf(waiting); got != "canceled" {
		t.Errorf("state %s of what was waiting, want canceled", got)
	}
	p.app("GET", usersPath, token, "").refused(401, 16, "token")
	if a := p.host("GET", "/users/ali/grants", "").ok(); !strings.HasPrefix(a.body, `{"grants":[]`) {
		t.Errorf("grants: %s", a.body)
	}
	p.app("GET", postPath+"alis", "", "").refused(404, 5)
	for _, conversation := range []string{"on-alis", "ali-buys", "alis-bot"} {
		if a := p.host("GET", "/conversations/"+conversation+"/messages", "").ok(); strings.Contains(a.body, secret) {
			t.Errorf("%s: %s", conversation, a.body)
		}
	}
	p.host("POST", "/deliveries/"+kept+"-sample-app/redeliver", "").ok() // it rests on the seller's grant
	if m := p.heard().NewMessage; m == nil || m.Text != "what another person wrote" {
		t.Errorf("heard %+v, want what another person wrote", m)
	}
	p.host("DELETE", "/users/ali", "").ok() // again
	p.host("DELETE", "/users/never-there", "").ok()
	p.none()

	// The same id may come back as a new person.
	fresh := p.token("ali", "USER_PHONE", "USER_POSTS_GET")
	p.app("GET", usersPath, fresh, "").is(`{}`)
	p.app("GET", postsPath, fresh, "").is(`{"posts":[]}`)
}

// batchAnswer is what a batch got.
type batchAnswer struct {
	Accepted, Duplicates int
	Errors               []struct {
		Line   int
		Status struct {
			Code    int
			Message string
			Details []json.RawMessage
		}
	}
}

func (p *platform) batch(lines ...string) batchAnswer {
	p.t.Helper()
	var out batchAnswer
	p.host("POST", "/batch", strings.Join(lines, "\n")).ok().into(&out)
	return out
}

// counts is "ACCEPTED DUPLICATES LINE:CODE…".
func (b batchAnswer) counts() string {
	text := fmt.Sprintf("%d %d", b.Accepted, b.Duplicates)
	for _, e := range b.Errors {
		text += fmt.Sprintf(" %d:%d", e.Line, e.Status.Code)
	}
	return text
}

func TestBatch(t *testing.T) {
	t.Parallel()
	const demo = "edbb9499-cccc-4d35-b21f-621fa95f2b3e"
	message := func(id, text string) string {
		return `{"message":{"conversation":"` + demo + `","id":"` + id + `","sender":"BUYER","text":"` + text + `"}}`
	}
	const (
		user         = `{"user":{"id":"u@","phone":"1"}}`
		post         = `{"post":{"token":"p@","owner":"u","state":"PUBLISHED"}}`
		conversation = `{"conversation":{"id":"c@","type":"POST","post_token":"p@","buyer":"b"}}`
		inside       = `{"message":{"conversation":"c@","id":"m@","sender":"SELLER","text":"x"}}`
		transaction  = `{"transaction":{"id":"t@","app":"sample-app","state":"PENDING","type":"REORDER"}}`
	)
	all := []string{user, post, conversation, inside, transaction}
	tests := []struct {
		name  string
		lines []string
		want  string // see counts
	}{
		{"nothing", nil, "0 0"},
		{"blank lines", []string{"", "  ", "\t", "\r"}, "0 0"},
		{"each operation", all, "5 0"},
		{"each twice", append(slices.Clone(all), all...), "5 5"},
		{"line ends", []string{user + "\r", post + "\r", ""}, "2 0"},
		{"null is absent", []string{`{"user":{"id":"u@"},"post":null,"message":null}`}, "1 0"},
		{"unknown fields", []string{`{"user":{"id":"u@","x":1},"y":2}`}, "1 0"},
		{"lines take effect in order", []string{inside, conversation, post, conversation, inside}, "3 0 1:5 2:5"},
		{"good lines are kept", []string{user, `{`, post, `{}`, conversation, `[]`, inside}, "4 0 2:3 4:3 6:3"},
		{"line numbers count blank lines", []string{"", user, "", `x`, "", "", `y`}, "1 0 4:3 7:3"},
		{"several operations on a line", []string{`{"user":{"id":"u@"},"post":{"token":"p@","owner":"u","state":"PUBLISHED"}}`}, "0 0 1:3"},
		{"several lines on a line", []string{user + user}, "0 0 1:3"},
		{"an unknown operation", []string{`{"grant":{}}`}, "0 0 1:3"},
		{"null and words", []string{`null`, `"user"`, `1`, `true`}, "0 0 1:3 2:3 3:3 4:3"},
		{"not UTF-8", []string{user, "{\"user\":{\"id\":\"v\",\"phone\":\"\xff\"}}", post}, "2 0 2:3"},
		{"no conversation", []string{`{"message":{"sender":"BUYER","text":"x"}}`}, "0 0 1:3"},
		{"no id", []string{`{"user":{}}`, `{"post":{"owner":"u","state":"PUBLISHED"}}`, `{"conversation":{"type":"BOT","app":"sample-app","user":"u@"}}`, `{"transaction":{"app":"sample-app","state":"PENDING"}}`}, "0 0 1:3 2:3 3:3 4:3"},
		{"what is not there", []string{`{"message":{"conversation":"x","sender":"BUYER","text":"x"}}`, `{"transaction":{"id":"t@","app":"x","state":"PENDING"}}`}, "0 0 1:5 2:5"},
		{"errors come in the order of their lines", []string{`{"message":{"conversation":"x","sender":"BUYER","text":"x"}}`, `{`, user}, "1 0 1:5 2:3"},
		{"other content under the same id", []string{message("m@", "one"), message("m@", "one"), message("m@", "two"), message("m@", "one")}, "1 2 3:6"},
		{"a change and back", []string{`{"user":{"id":"u@","phone":"1"}}`, `{"user":{"id":"u@","phone":"2"}}`, `{"user":{"id":"u@","phone":"1"}}`}, "3 0"},
		{"a line over the limit", []string{user, message("m@", strings.Repeat("x", 1<<20)), post}, "2 0 2:8"},
	}
	world := start(t)
	for i, tt := range tests {
		t.Run(tt.name, func(t *testing.T) { // "@" makes the ids of each row its own
			lines := strings.ReplaceAll(strings.Join(tt.lines, "\n"), "@", fmt.Sprint("-", i))
			b := world.forTest(t).batch(lines)
			if got := b.counts(); got != tt.want {
				t.Errorf("accepted, duplicates, errors: %s, want %s", got, tt.want)
			}
			for _, e := range b.Errors {
				if e.Status.Message == "" || e.Status.Details == nil {
					t.Errorf("line %d: %+v is no status", e.Line, e.Status)
				}
			}
		})
	}

	t.Run("events in the order of lines", func(t *testing.T) {
		t.Parallel()
		p := start(t)
		p.subscribe(p.dev.Users.Seller.AccessToken, `{"event_type":"NEW_MESSAGE_ON_POST"}`).ok()
		const n = 603 // over more than one transaction
		lines := make([]string, 0, n)
		for i := range n {
			lines = append(lines, message(fmt.Sprint("m-", i), fmt.Sprint(i)))
		}
		lines[550] = `{"message":{"conversation":"x","sender":"BUYER","text":"x"}}`
		if got := p.batch(lines...).counts(); got != "602 0 551:5" {
			t.Errorf("accepted, duplicates, errors: %s", got)
		}
		if got := p.batch(lines...).counts(); got != "0 602 551:5" {
			t.Errorf("the same batch again: %s, want duplicates alone", got)
		}
		var texts []string
		for _, e := range p.sample().arrived() {
			texts = append(texts, e.NewMessage.Text)
		}
		want := []string{}
		for i := range n {
			if i != 550 {
				want = append(want, fmt.Sprint(i))
			}
		}
		if !slices.Equal(texts, want) {
			t.Errorf("%d messages arrived, want %d in the order of the lines", len(texts), len(want))
		}
	})
	t.Run("a batch and a single call are the same write", func(t *testing.T) {
		t.Parallel()
		p := start(t)
		if got := p.batch(message("m", "hello")).counts(); got != "1 0" {
			t.Errorf("first %s", got)
		}
		const path = "/conversations/" + demo + "/messages"
		p.host("POST", path, `{"id":"m","sender":"BUYER","text":"hello"}`).ok()
		p.host("POST", path, `{"id":"m","sender":"BUYER","text":"other"}`).refused(409, 6, "m")
		p.host("POST", path, `{"id":"n","sender":"BUYER","text":"hello"}`).ok()
		if got := p.batch(message("n", "hello")).counts(); got != "0 1" {
			t.Errorf("then %s, want a duplicate", got)
		}
	})
	t.Run("blocked", func(t *testing.T) {
		t.Parallel()
		p := start(t)
		p.host("PUT", "/conversations/"+demo+"/block", `{"by":"SELLER","blocked":true}`).ok()
		if got := p.batch(message("m", "hello"), strings.Replace(message("n", "hello"), "BUYER", "SELLER", 1)).counts(); got != "1 0 1:9" {
			t.Errorf("got %s, want the buyer's refused", got)
		}
	})
	t.Run("media types and size", func(t *testing.T) {
		t.Parallel()
		p := start(t)
		call := func(contentType string, body io.Reader) answer {
			h := http.Header{"Authorization": {"Bearer " + p.dev.HostKey}}
			if contentType != "" {
				h.Set("Content-Type", contentType)
			}
			return p.send("POST", "/host/v1/batch", body, h)
		}
		for _, good := range []string{"", "application/x-ndjson", "application/json", "application/json; charset=utf-8"} {
			call(good, strings.NewReader(user)).ok()
		}
		for _, bad := range []string{"text/plain", "text/csv", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x"} {
			call(bad, strings.NewReader(user)).refused(415, 3, "Content-Type")
		}
		const most = 16 << 20
		body := bytes.Repeat([]byte("\n"), most+1)
		copy(body, post)
		call("", unlimited{bytes.NewReader(body)}).refused(413, 8, "16777216")
		call("", bytes.NewReader(body)).refused(413, 8, "16777216")
		p.app("GET", postPath+"p", "", "").refused(404, 5) // nothing of it was done
		call("", bytes.NewReader(body[:most])).is(`{"accepted":1,"duplicates":0,"errors":[]}`)
	})
}

// TestSecretsAreNotStored looks for secrets in everything that lies in the data
// directory, besides the files that are there to hold them.
func TestSecretsAreNotStored(t *testing.T) {
	if onPostgres() {
		t.Skip("searches the files of the data directory, and the ledger is not there")
	}
	t.Parallel()
	p := start(t)
	token := p.token("seller", "USER_ID", "CHAT_SUPPLIER_ALL_CONVERSATIONS_READ")
	p.subscribe(token, `{"event_type":"NEW_MESSAGE_ON_POST"}`).ok()
	event := p.say("BUYER", "a canary that must be found") // or the search is blind
	p.one()
	var signing struct{ Secret string }
	p.host("POST", "/apps/sample-app/signing-secrets", `{}`).ok().into(&signing)
	var client struct {
		Secret string `json:"client_secret"`
	}
	p.host("POST", "/apps/sample-app/client-secret", "").ok().into(&client)
	secrets := map[string]string{
		"API key": p.dev.App.APIKey, "token": token, "dev token": p.dev.Users.Seller.AccessToken,
		"client secret": client.Secret, "old client secret": p.dev.App.ClientSecret, "identification key": p.dev.App.IdentificationKey,
		"signing secret": strings.TrimPrefix(signing.Secret, "whsec_"), "host key": p.dev.HostKey,
	}
	log := p.logOf(event)
	for name, text := range secrets {
		if text == "" || strings.Contains(log, text) {
			t.Errorf("the delivery's log shows the %s", name)
		}
	}
	p.stop()

	found := false
	data := os.DirFS(p.data)
	err := fs.WalkDir(data, ".", func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		if slices.Contains([]string{"dev.json", "dev.env", "host.key", "master.key"}, path) {
			if info, err := d.Info(); err != nil || info.Mode().Perm() != 0o600 {
				t.Errorf("%s: %v, %v; want mode 600", path, info.Mode(), err)
			}
			return nil
		}
		content, err := fs.ReadFile(data, path)
		found = found || bytes.Contains(content, []byte("a canary that must be found"))
		for name, text := range secrets {
			if bytes.Contains(content, []byte(text)) {
				t.Errorf("%s holds the %s", path, name)
			}
		}
		return err
	})
	if err != nil || !found {
		t.Errorf("the search is blind: %v", err)
	}
}
