package server_test

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// bodied is a call that takes a JSON body, with a body that is good and what
// its fields take.
type bodied struct {
	name   string // of the case; the pattern when empty
	route  string // the pattern as the code has it
	path   string // the pattern with names of the demo world
	asApp  bool   // called with the sample app's key and the seller's token
	good   string
	fields string // "NAME:KIND", with a "!" behind those that may not be left out
	bad    []badBody
}

// badBody is a body that this call alone refuses, with the field to be named.
type badBody struct{ body, word string }

func bodies() []bodied {
	long := func(n int) string { return strings.Repeat("ب", n) }
	object := func(bytes int) string { return `{"k":"` + strings.Repeat("x", bytes-len(`{"k":""}`)) + `"}` }
	message := func(kind, data, fields string, bad ...badBody) bodied {
		typed := "type:enum! "
		if kind == "TEXT" {
			typed = "type:enum "
		}
		return bodied{
			name: "message " + kind, route: "POST /host/v1/conversations/{id}/messages", path: "/host/v1/conversations/CONVERSATION/messages",
			good:   `{"id":"m-1","sender":"BUYER","type":"` + kind + `","sent_at":"2024-10-20T13:12:06.14Z",` + data + `}`,
			fields: "id:string sender:enum! sent_at:time " + typed + fields, bad: bad,
		}
	}
	in := func(sender, rest string) string { return `{"id":"m-2","sender":"` + sender + `",` + rest + `}` }
	with := func(rest string) string { return in("BUYER", rest) }
	return []bodied{
		{
			route: "PUT /host/v1/users/{user}", path: "/host/v1/users/seller",
			good: `{"phone":"09120000009"}`, fields: "phone:string",
			bad: []badBody{{`{"phone":"` + long(33) + `"}`, "phone"}},
		},
		{
			route: "POST /host/v1/oauth/logins/{challenge}", path: "/host/v1/oauth/logins/LOGIN",
			good: `{"user":"seller"}`, fields: "user:string!",
			bad: []badBody{{`{"user":"سلام"}`, "user"}, {`{"user":""}`, "user"}},
		},
		{
			route: "PUT /host/v1/posts/{token}", path: "/host/v1/posts/gZd7omnS",
			good: `{"owner":"seller","title":"x","state":"PUBLISHED","category":"c","city":"tehran","district":"d","chat_enabled":false,` +
				`"is_phone_hidden":true,"supplier_chat_assistant_enabled":false,"first_published_at":"2024-10-20T13:12:06.14Z","data":{"k":[1.50,null]}}`,
			fields: "owner:string! title:string state:enum! category:string city:string district:string chat_enabled:bool is_phone_hidden:bool " +
				"supplier_chat_assistant_enabled:bool first_published_at:time data:object",
			bad: []badBody{
				{`{"owner":"seller","state":"RETIRED","title":"` + long(201) + `"}`, "title"},
				{`{"owner":"seller","state":"RETIRED","city":"` + long(101) + `"}`, "city"},
				{`{"owner":"seller","state":"RETIRED","data":` + object(64<<10+1) + `}`, "data"},
				{`{"owner":"seller","state":"RETIRED","first_published_at":"10000-01-01T00:00:00Z"}`, "first_published_at"},
				{`{"owner":"","state":"RETIRED"}`, "owner"},
				{`{"owner":"` + strings.Repeat("x", 65) + `","state":"RETIRED"}`, "owner"},
			},
		},
		{
			name: "conversation on a post", route: "PUT /host/v1/conversations/{id}", path: "/host/v1/conversations/fresh",
			good: `{"type":"POST","post_token":"gZd7omnS","buyer":"fresh"}`, fields: "type:enum! post_token:string! buyer:string!",
			bad: []badBody{
				{`{"type":"POST","post_token":"gZd7omnS","buyer":"seller"}`, "buyer"},
				{`{"type":"POST","post_token":"gZd7omnS","buyer":"fresh","app":"sample-app"}`, "app"},
				{`{"type":"POST","post_token":"gZd7omnS","buyer":"fresh","user":"fresh"}`, "user"},
			},
		},
		{
			name: "conversation with a bot", route: "PUT /host/v1/conversations/{id}", path: "/host/v1/conversations/fresh",
			good: `{"type":"BOT","app":"sample-app","user":"fresh"}`, fields: "type:enum! app:string! user:string!",
			bad: []badBody{{`{"type":"BOT","app":"sample-app","user":"fresh","post_token":"gZd7omnS"}`, "post_token"}},
		},
		{
			route: "PUT /host/v1/conversations/{id}/block", path: "/host/v1/conversations/CONVERSATION/block",
			good: `{"by":"SELLER","blocked":true}`, fields: "by:enum! blocked:bool!",
			bad: []badBody{{`{"by":"USER","blocked":true}`, "by"}},
		},
		message("TEXT", `"text":"hi"`, "text:string!",
			badBody{with(`"text":""`), "text"}, badBody{with(`"text":"` + long(4097) + `"`), "text"}, badBody{in("USER", `"text":"hi"`), "sender"},
			badBody{with(`"text":"hi","image_data":{"link":"https://x.test/i.jpg"}`), "image_data"}, badBody{`{"id":"a b","sender":"BUYER","text":"hi"}`, "id"},
			badBody{`{"id":"` + strings.Repeat("x", 65) + `","sender":"BUYER","text":"hi"}`, "id"}, badBody{with(`"text":"hi","sent_at":"1969-12-31T23:59:59Z"`), "sent_at"},
		),
		message("IMAGE", `"image_data":{"link":"https://x.test/i.jpg","size_bytes":1,"height_px":2,"width_px":3}`,
			"image_data:struct! image_data.link:string! image_data.size_bytes:int image_data.height_px:int image_data.width_px:int",
			badBody{with(`"type":"IMAGE","text":"hi"`), "IMAGE"}, badBody{with(`"type":"IMAGE","image_data":{"link":"not a link"}`), "image_data.link"},
			badBody{with(`"type":"IMAGE","image_data":{"link":"javascript:alert(1)"}`), "image_data.link"}, badBody{with(`"type":"IMAGE","image_data":{"link":"/i.jpg"}`), "image_data.link"},
			badBody{with(`"type":"IMAGE","image_data":{"link":"https://x.test/` + strings.Repeat("x", 2048) + `"}`), "image_data.link"},
			badBody{with(`"type":"IMAGE","image_data":{"link":"https://x.test/","size_bytes":-1}`), "image_data.size_bytes"},
			badBody{with(`"type":"IMAGE","image_data":{"link":"https://x.test/","width_px":-1}`), "image_data.width_px"},
		),
		message("FILE", `"file_data":{"link":"https://x.test/f.pdf","name":"f.pdf","size_bytes":1}`,
			"file_data:struct! file_data.link:string! file_data.name:string file_data.size_bytes:int",
			badBody{with(`"type":"FILE","file_data":{"link":"https://x.test/f.pdf","name":"` + long(256) + `"}`), "file_data.name"}),
		message("VOICE", `"voice_data":{"link":"https://x.test/v.m4a","size_bytes":1}`, "voice_data:struct! voice_data.link:string! voice_data.size_bytes:int",
			badBody{with(`"type":"VOICE","voice_data":{"link":"https://x.test/v.m4a","size_bytes":-1}`), "voice_data.size_bytes"}),
		message("LOCATION", `"location_data":{"latitude":35.6892,"longitude":51.389}`,
			"location_data:struct! location_data.latitude:number! location_data.longitude:number!",
			badBody{with(`"type":"LOCATION","location_data":{"latitude":90.1,"longitude":0}`), "location_data.latitude"},
			badBody{with(`"type":"LOCATION","location_data":{"latitude":0,"longitude":-180.1}`), "location_data.longitude"}),
		message("VIDEO", `"video_data":{"link":"https://x.test/v.mp4","thumbnail_link":"https://x.test/v.jpg","size_bytes":1}`,
			"video_data:struct! video_data.link:string! video_data.thumbnail_link:string video_data.size_bytes:int",
			badBody{with(`"type":"VIDEO","video_data":{"link":"https://x.test/v.mp4","thumbnail_link":"x"}`), "video_data.thumbnail_link"}),
		message("CONTACT", `"contact_data":{"name":"n","phone":"09120000002"}`, "contact_data:struct! contact_data.name:string contact_data.phone:string!",
			badBody{with(`"type":"CONTACT","contact_data":{"name":"` + long(256) + `","phone":"1"}`), "contact_data.name"}),
		{
			route: "PUT /host/v1/transactions/{id}", path: "/host/v1/transactions/tx-1",
			good:   `{"app":"sample-app","state":"PENDING","type":"REORDER","cost_rials":100000,"extra_details":{"k":1}}`,
			fields: "app:string! state:enum! type:enum cost_rials:int extra_details:object",
			bad: []badBody{
				{`{"app":"sample-app","state":"PENDING","cost_rials":-1}`, "cost_rials"},
				{`{"app":"sample-app","state":"PENDING","extra_details":` + object(16<<10+1) + `}`, "extra_details"},
				{`{"app":"sample-app","state":"TRANSACTION_STATE_PENDING"}`, "state"},
			},
		},
		{
			route: "POST /host/v1/apps", path: "/host/v1/apps",
			good: `{"slug":"another","display":"A","subtitle":"s","avatar":"https://x.test/a.png","description":"d","event_url":"https://x.test/events",` +
				`"session_initialization_url":"https://x.test/init","dynamic_action_url":"https://x.test/act","fallback_url":"https://x.test/",` +
				`"redirect_uris":["https://x.test/cb"],"identification_key":"k","permissions":["EVENTS_SEND"],"oauth_scopes":["USER_ID"],"status":"DEVELOPMENT",` +
				`"paused":true,"hear_own_messages":false,"touchpoints":[{"touchpoint":"CHAT","action":"START_CHAT_BOT"}],"service_type":"x","cities":["tehran"],` +
				`"categories":["bicycle"],"per_minute":1,"per_day":2}`,
			fields: "slug:string! display:string subtitle:string avatar:string description:string event_url:string session_initialization_url:string " +
				"dynamic_action_url:string fallback_url:string redirect_uris:list identification_key:string permissions:enums oauth_scopes:enums status:enum " +
				"paused:bool hear_own_messages:bool touchpoints:list service_type:string cities:list categories:list per_minute:int per_day:int",
			bad: []badBody{
				{`{"slug":"Another"}`, "slug"},
				{`{"slug":"سلام"}`, "slug"},
				{`{"slug":"a/b"}`, "slug"},
				{`{"slug":"` + strings.Repeat("a", 65) + `"}`, "slug"},
				{`{"slug":"another","event_url":"http://8.8.8.8/"}`, "event_url"},
				{`{"slug":"another","event_url":"ftp://x.test/"}`, "event_url"},
				{`{"slug":"another","event_url":"https://user:password@x.test/"}`, "event_url"},
				{`{"slug":"another","event_url":"https://10.0.0.1/"}`, "event_url"},
				{`{"slug":"another","session_initialization_url":"x"}`, "session_initialization_url"},
				{`{"slug":"another","dynamic_action_url":"x"}`, "dynamic_action_url"},
				{`{"slug":"another","fallback_url":"javascript:alert(1)"}`, "fallback_url"},
				{`{"slug":"another","redirect_uris":["x"]}`, "redirect_uris[0]"},
				{`{"slug":"another","redirect_uris":["https://x.test/","https://x.test/#f"]}`, "redirect_uris[1]"},
				{`{"slug":"another","identification_key":"سلام"}`, "identification_key"},
				{`{"slug":"another","identification_key":"a\r\nX-Y: z"}`, "identification_key"},
				{`{"slug":"another","touchpoints":[{"touchpoint":"CHAT","action":"NOPE"}]}`, "touchpoints[0].action"},
				{`{"slug":"another","touchpoints":[{"touchpoint":"","action":"START_CHAT_BOT"}]}`, "touchpoints[0].touchpoint"},
				{`{"slug":"another","touchpoints":[{"touchpoint":5}]}`, "touchpoints"},
				{`{"slug":"another","per_minute":-1}`, "per_minute"},
				{`{"slug":"another","display":"` + long(201) + `"}`, "display"},
				{`{"slug":"another","description":"` + long(4001) + `"}`, "description"},
			},
		},
		{
			route: "PATCH /host/v1/apps/{slug}", path: "/host/v1/apps/sample-app",
			good: `{"display":"B","paused":false,"permissions":["EVENTS_SEND"],"touchpoints":[{"touchpoint":"CHAT","action":"START_CHAT_BOT"}],"per_day":2}`,
			fields: "display:string subtitle:string avatar:string description:string event_url:string session_initialization_url:string " +
				"dynamic_action_url:string fallback_url:string redirect_uris:list identification_key:string permissions:enums oauth_scopes:enums status:enum " +
				"paused:bool hear_own_messages:bool touchpoints:list service_type:string cities:list categories:list per_minute:int per_day:int",
			bad: []badBody{
				{`{"display":"B","event_url":"http://8.8.8.8/"}`, "event_url"},
				{`{"paused":true,"identification_key":"سلام"}`, "identification_key"},
				{`{"display":"B","status":"GONE"}`, "status"},
				{`{"event_url":"","permissions":["EVENTS_SEND","NOPE"]}`, "permissions[1]"},
			},
		},
		{
			route: "POST /host/v1/apps/{slug}/signing-secrets", path: "/host/v1/apps/sample-app/signing-secrets",
			good: `{"older_ends_in":"1h"}`, fields: "older_ends_in:string",
			bad: []badBody{{`{"older_ends_in":"soon"}`, "older_ends_in"}, {`{"older_ends_in":"-1h"}`, "older_ends_in"}, {`{"older_ends_in":"99999999h"}`, "older_ends_in"}},
		},
		{
			route: "POST /host/v1/apps/{slug}/keys", path: "/host/v1/apps/sample-app/keys",
			good: `{"title":"t","permissions":["EVENTS_SEND"]}`, fields: "title:string permissions:enums",
			bad: []badBody{{`{"title":"` + long(201) + `"}`, "title"}, {`{"permissions":["EVENTS_SEND","NOPE"]}`, "permissions[1]"}},
		},
		{
			route: "POST /host/v1/operators", path: "/host/v1/operators",
			good: `{"name":"ops","password":"a few words are enough"}`, fields: "name:string! password:string",
			bad: []badBody{
				{`{"name":"Ops"}`, "name"},
				{`{"name":"a b"}`, "name"},
				{`{"name":"` + long(65) + `"}`, "name"},
				{`{"name":"other","password":"short"}`, "password"},
				{`{"name":"other","password":"` + long(257) + `"}`, "password"},
			},
		},
		{
			route: "PUT /host/v1/operators/{name}/password", path: "/host/v1/operators/OPERATOR/password",
			good: `{"password":"a few words are enough"}`, fields: "password:string",
			bad: []badBody{{`{"password":"short"}`, "password"}, {`{"password":"operatoroperator"}`, "password"}},
		},
		{
			route: "POST /host/v1/redeliveries", path: "/host/v1/redeliveries",
			good:   `{"app":"sample-app","state":"delivered","from":"2024-10-20T13:12:06Z","to":"2094-10-20T13:12:06Z","dry_run":false}`,
			fields: "app:string state:enum! from:time to:time dry_run:bool",
			bad:    []badBody{{`{"state":"skipped"}`, "state"}, {`{"state":"delivered","from":"2024-10-20T13:12:06Z","to":"2024-10-20T13:12:05Z"}`, "to"}},
		},
		{
			route: "POST /host/v1/extensions/{app}/open", path: "/host/v1/extensions/sample-app/open",
			good: `{"touchpoint":"CHAT","user":"seller","conversation_id":"edbb9499-cccc-4d35-b21f-621fa95f2b3e","post_token":"gZd7omnS",` +
				`"return_url":"https://market.test/"}`,
			fields: "touchpoint:string! user:string! conversation_id:string post_token:string return_url:string",
			bad: []badBody{
				{`{"touchpoint":"CHAT","user":"سلام"}`, "user"},
				{`{"touchpoint":"CHAT","user":"buyer","return_url":"javascript:alert(1)"}`, "return_url"},
				{`{"touchpoint":"CHAT","user":"buyer","return_url":"/chat"}`, "return_url"},
				{`{"touchpoint":"CHAT","user":"buyer","return_url":"https://x.test/` + strings.Repeat("x", 2048) + `"}`, "return_url"},
				{`{"touchpoint":"CHAT","user":"buyer","conversation_id":"edbb9499-cccc-4d35-b21f-621fa95f2b3e","post_token":"other"}`, "post_token"},
			},
		},
		{
			route: "POST /host/v1/messages/{id}/buttons/{row}/{column}/click", path: "/host/v1/messages/MESSAGE/buttons/0/0/click",
			good: `{"user":"buyer","return_url":"https://market.test/"}`, fields: "user:string! return_url:string",
			bad: []badBody{{`{"user":""}`, "user"}, {`{"user":"buyer","return_url":"data:text/html,x"}`, "return_url"}},
		},
		{
			route: "POST /host/v1/notifications/{id}/buttons/{n}/click", path: "/host/v1/notifications/NOTIFICATION/buttons/0/click",
			good: `{"user":"seller","return_url":"https://market.test/"}`, fields: "user:string! return_url:string",
			bad: []badBody{{`{"user":"a b"}`, "user"}, {`{"user":"seller","return_url":"x"}`, "return_url"}},
		},
		{
			route: "POST /v2/open-platform/conversations/{id}/messages", path: "/v2/open-platform/conversations/CONVERSATION/messages", asApp: true,
			good: `{"message":"hi","type":"TEXT","sender_buttons":{"rows":[{"buttons":[{"caption":"c","icon":"HOME","icon_name":"HOME",` +
				`"action":{"open_server_link":{"data":{"k":[1.50,null]}}}}]}]},"receiver_buttons":{"rows":[]}}`,
			fields: "message:string! type:enum sender_buttons:struct sender_buttons.rows:list receiver_buttons:struct receiver_buttons.rows:list",
			bad: append(badButtons("sender_buttons", `"message":"hi"`, long),
				badBody{`{"message":""}`, "message"}, badBody{`{"message":"` + long(4097) + `"}`, "message"}, badBody{`{"message":"a\u0000b"}`, "message"},
				badBody{`{"message":"hi","media_token":"m"}`, "media_token"}, badBody{`{"media_token":"unknown"}`, "media_token"},
				badBody{`{"message":"hi","type":"IMAGE"}`, "type"}, badBody{`{"media_token":5}`, "media_token"},
				badBody{`{"message":"hi","receiver_buttons":{"rows":[{"buttons":[{"caption":"c","action":{}}]}]}}`, "receiver_buttons.rows[0].buttons[0].action"},
			),
		},
		{
			name: "bot message in a conversation", route: "POST /experimental/open-platform/chatbot-conversations/{id}/messages",
			path: "/experimental/open-platform/chatbot-conversations/6b3d5cf7-9291-4fa9-892a-9d07e300daea/messages", asApp: true,
			good:   `{"text_message":"hi","type":"TEXT","buttons":{"rows":[{"buttons":[{"caption":"c","action":{"open_post_page":{"post_token":"gZd7omnS"}}}]}]}}`,
			fields: "text_message:string! type:enum buttons:struct buttons.rows:list",
			bad:    append(badButtons("buttons", `"text_message":"hi"`, long), badBody{`{"text_message":"` + long(4097) + `"}`, "text_message"}),
		},
		{
			route: "POST /experimental/open-platform/events/send", path: "/experimental/open-platform/events/send", asApp: true,
			good: `{"message":"hi","target_type":"POST","target_resource_id":"gZd7omnS","buttons":{"items":[{"title":"Press me",` +
				`"action":{"open_direct_link":"https://x.test/"}}]}}`,
			fields: "message:string! target_type:enum! target_resource_id:string! buttons:struct buttons.items:list",
			bad: []badBody{
				{`{"message":"` + long(4097) + `","target_type":"POST","target_resource_id":"gZd7omnS"}`, "message"},
				{`{"message":"hi","target_type":"user","target_resource_id":"x"}`, "target_type"},
				{`{"message":"hi","target_type":"POST","target_resource_id":"gZd7omnS","buttons":{"items":[{"title":"` + long(51) +
					`","action":{"open_direct_link":"https://x.test/"}}]}}`, "buttons.items[0].title"},
				{`{"message":"hi","target_type":"POST","target_resource_id":"gZd7omnS","buttons":{"items":[{"title":"Press me"}]}}`, "buttons.items[0].action"},
			},
		},
		{
			route: "POST /host/v1/dev/tokens", path: "/host/v1/dev/tokens",
			good: `{"app":"sample-app","user":"fresh","scopes":["USER_ID"],"ttl":"1h"}`, fields: "app:string! user:string! scopes:enums ttl:string",
			bad: []badBody{
				{`{"app":"sample-app","user":"fresh","ttl":"soon"}`, "ttl"},
				{`{"app":"sample-app","user":"fresh","scopes":["CHAT_CONVERSATION_READ"]}`, "scopes"},
				{`{"app":"sample-app","user":"fresh","scopes":["USER_ID.x"]}`, "scopes"},
				{`{"app":"sample-app","user":"fresh","scopes":["CHAT_CONVERSATION_READ.سلام"]}`, "scopes"},
			},
		},
		{
			route: "POST /host/v1/dev/clock", path: "/host/v1/dev/clock", good: `{"advance":"24h"}`, fields: "advance:string!",
			bad: []badBody{{`{"advance":"-1s"}`, "advance"}, {`{"advance":"tomorrow"}`, "advance"}, {`{"advance":"99999999h"}`, "advance"}},
		},
		{
			route: "POST /host/v1/dev/faults", path: "/host/v1/dev/faults",
			good:   `{"fault":"delay","app":"sample-app","calls":"WEBHOOK","count":1,"delay":"1ms"}`,
			fields: "fault:enum! app:string calls:enum count:int delay:string status:int",
			bad: []badBody{
				{`{"fault":"delay","calls":"NOPE"}`, "calls"},
				{`{"fault":"delay","count":0}`, "count"},
				{`{"fault":"delay","count":1001}`, "count"},
				{`{"fault":"delay","delay":"2m"}`, "delay"},
				{`{"fault":"cut","delay":"1s"}`, "delay"},
				{`{"fault":"cut","status":500}`, "status"},
				{`{"fault":"status","status":99}`, "status"},
			},
		},
		{
			route: "POST /v1/open-platform/events/subscriptions", path: "/v1/open-platform/events/subscriptions", asApp: true,
			good: `{"event_type":"POST_UPDATE","event_resource_id":"gZd7omnS","metadata":{"k":1.50}}`, fields: "event_type:enum! event_resource_id:string metadata:object",
			bad: []badBody{
				{`{"event_type":"NEW_MESSAGE"}`, "event_type"},
				{`{"event_type":"new_message_on_post"}`, "event_type"},
				{`{"event_type":"POST_UPDATE","metadata":` + object(4<<10+1) + `}`, "metadata"},
				{`{"event_type":"POST_UPDATE","event_resource_id":"سلام"}`, "event_resource_id"},
				{`{"event_type":"POST_UPDATE","event_resource_id":"` + strings.Repeat("x", 65) + `"}`, "event_resource_id"},
			},
		},
	}
}

// badButtons are keyboards that no message takes, under the name of one.
func badButtons(name, rest string, long func(int) string) []badBody {
	keyboard := func(row string, n int) string {
		return `{` + rest + `,"` + name + `":{"rows":[` + strings.TrimSuffix(strings.Repeat(row+",", n), ",") + `]}}`
	}
	button := func(caption, action string) string {
		return keyboard(`{"buttons":[{"caption":"`+caption+`","action":{`+action+`}}]}`, 1)
	}
	const link = `"open_direct_link":"https://x.test/"`
	first := name + ".rows[0].buttons[0]"
	return []badBody{
		{keyboard(`{"buttons":[]}`, 4), name + ".rows"},
		{keyboard(`{"buttons":[`+strings.TrimSuffix(strings.Repeat(`{"caption":"c","action":{`+link+`}},`, 4), ",")+`]}`, 1), name + ".rows[0].buttons"},
		{button("", link), first + ".caption"},
		{button(long(201), link), first + ".caption"},
		{button("c", ``), first + ".action"},
		{button("c", link+`,"open_server_link":{"data":{}}`), first + ".action"},
		{button("c", `"get_dynamic_action":{},"open_server_link":{}`), first + ".action"},
		{button("c", `"open_direct_link":"javascript:alert(1)"`), first + ".action.open_direct_link"},
		{button("c", `"open_direct_link":"/x"`), first + ".action.open_direct_link"},
		{button("c", `"open_post_page":{}`), first + ".action.open_post_page.post_token"},
		{button("c", `"open_post_manage_page":{"post_token":"سلام"}`), first + ".action.open_post_manage_page.post_token"},
		{button("c", `"get_dynamic_action":{"data":[]}`), "data"},
		{button("c", `"open_server_link":{"data":{"k":"`+strings.Repeat("x", 16<<10)+`"}}`), first + ".action.open_server_link.data"},
	}
}

// bodyless are the calls that take no body.
func bodyless() []string {
	return []string{
		"POST /host/v1/apps/{slug}/test-event", "POST /host/v1/apps/{slug}/client-secret", "POST /host/v1/deliveries/{id}/redeliver",
		"POST /v1/open-platform/users", "POST /experimental/open-platform/chat/upload",
	}
}

// elsewhere are the calls whose bodies other tests try.
func elsewhere() []string {
	return []string{"POST /host/v1/batch", "POST /upload/{kind}"}
}

// TestEveryBodyIsTried reads the routes in the code of the JSON faces, so that
// a new one does not go without bad bodies.
func TestEveryBodyIsTried(t *testing.T) {
	t.Parallel()
	tried := append(bodyless(), elsewhere()...)
	for _, b := range bodies() {
		tried = append(tried, b.route)
	}
	pattern := regexp.MustCompile(`"((?:POST|PUT|PATCH) /[^"]*)"`)
	for _, face := range []string{"hostapi", "openapi"} {
		files, err := filepath.Glob(filepath.Join("..", face, "*.go"))
		if err != nil || len(files) == 0 {
			t.Fatalf("%s: %d files, %v", face, len(files), err)
		}
		for _, file := range files {
			if strings.HasSuffix(file, "_test.go") {
				continue
			}
			code, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			for _, m := range pattern.FindAllSubmatch(code, -1) {
				if route := string(m[1]); !slices.Contains(tried, route) {
					t.Errorf("%s: %s is tried with no bad body; add it to bodies", file, route)
				}
			}
		}
	}
}

// bound is a bodied call on a running platform.
type bound struct {
	*platform
	method, path string
	header       []string
}

func (p *platform) bind(b bodied) bound {
	method, _, _ := strings.Cut(b.route, " ")
	header := []string{"Authorization: Bearer " + p.dev.HostKey}
	if b.asApp {
		header = []string{"Authorization: Bearer " + p.dev.Users.Seller.AccessToken, "X-API-Key: " + p.dev.App.APIKey}
	}
	path := strings.ReplaceAll(b.path, "CONVERSATION", p.dev.ConversationID)
	if strings.Contains(path, "LOGIN") {
		path = strings.ReplaceAll(path, "LOGIN", p.login())
	}
	if strings.Contains(path, "/extensions/") {
		p.host("PATCH", "/apps/sample-app", `{"touchpoints":[{"touchpoint":"CHAT","action":"START_CHAT_BOT"}]}`).ok()
	}
	if strings.Contains(path, "OPERATOR") {
		path = strings.ReplaceAll(path, "OPERATOR", "operator")
		if a := p.host("POST", "/operators", `{"name":"operator"}`); a.status != http.StatusConflict {
			a.ok()
		}
	}
	const button = `{"title":"Press me","caption":"c","action":{"open_direct_link":"https://x.test/"}}`
	if strings.Contains(path, "MESSAGE") {
		path = strings.ReplaceAll(path, "MESSAGE", p.sends(`{"message":"hi","receiver_buttons":{"rows":[{"buttons":[`+button+`]}]}}`))
	}
	if strings.Contains(path, "NOTIFICATION") {
		path = strings.ReplaceAll(path, "NOTIFICATION", p.notifies(`{"items":[`+button+`]}`))
	}
	p.settle()
	p.hook.take()
	return bound{p, method, path, header}
}

func (b bound) send(body string, header ...string) answer {
	b.t.Helper()
	return b.do(b.method, b.path, body, append(slices.Clone(b.header), header...)...)
}

// raw sends a call whose body is framed by hand, and then no more.
func (b bound) raw(framing, body string) answer {
	b.t.Helper()
	var dialer net.Dialer
	c, err := dialer.DialContext(b.t.Context(), "tcp", strings.TrimPrefix(b.base, "http://"))
	if err != nil {
		b.t.Fatal(err)
	}
	defer func() { _ = c.Close() }()
	head := b.method + " " + b.path + " HTTP/1.1\r\nHost: openkenar.test\r\nContent-Type: application/json\r\n" +
		strings.Join(append(slices.Clone(b.header), framing), "\r\n") + "\r\n\r\n"
	if _, err := io.WriteString(c, head+body); err != nil {
		b.t.Fatal(err)
	}
	if err := c.(*net.TCPConn).CloseWrite(); err != nil {
		b.t.Fatal(err)
	}
	resp, err := http.ReadResponse(bufio.NewReader(c), nil)
	if err != nil {
		b.t.Fatalf("%s %s, %s: %v", b.method, b.path, framing, err)
	}
	defer resp.Body.Close()
	content, err := io.ReadAll(resp.Body)
	if err != nil {
		b.t.Fatal(err)
	}
	return answer{t: b.t, call: b.method + " " + b.path + " broken off", status: resp.StatusCode, header: resp.Header, body: string(content)}
}

// refuses fails the test, and lets it go on, unless the answer is the error of
// the contract's table for a status, with a message that holds the word.
func (a answer) refuses(status int, word, what string) {
	a.t.Helper()
	code := errorTable[status]
	var s struct {
		Code    int               `json:"code"`
		Message string            `json:"message"`
		Details []json.RawMessage `json:"details"`
	}
	err := json.Unmarshal([]byte(a.body), &s)
	if a.status != status || err != nil || s.Code != code || s.Details == nil || len(s.Details) != 0 ||
		a.header.Get("Content-Type") != "application/json" || !strings.Contains(s.Message, word) {
		a.t.Errorf("%s with %s: %d %.300s; want %d, code %d and the word %q", a.call, what, a.status, a.body, status, code, word)
	}
}

// chunk is a piece of a chunked body.
func chunk(s string) string { return strconv.FormatInt(int64(len(s)), 16) + "\r\n" + s + "\r\n" }

var lastUsed = regexp.MustCompile(`"last_used_at":[^,}]*`)

// world is all that the platform shows of itself: what a refused call must
// leave as it was. Every event of the demo world gives a delivery, because the
// sample app listens to everything.
func (p *platform) world() string {
	p.t.Helper()
	p.settle()
	var b strings.Builder
	see := func(a answer) {
		fmt.Fprintf(&b, "%s: %d %s\n", a.call, a.status, lastUsed.ReplaceAllString(a.body, ""))
	}
	for _, path := range []string{
		"/deliveries", "/apps", "/apps/sample-app/keys", "/apps/sample-app/signing-secrets", "/apps/sample-app/subscriptions",
		"/users/seller/grants", "/users/buyer/grants", "/users/fresh/grants", "/users/seller/notifications", "/feed",
		"/conversations/" + p.dev.ConversationID + "/messages", "/conversations/" + p.dev.BotConversationID + "/messages", "/conversations/fresh/messages",
	} {
		see(p.host("GET", path, ""))
	}
	for _, token := range []string{p.dev.Users.Seller.AccessToken, p.dev.Users.Buyer.AccessToken} {
		see(p.app("GET", "/v1/open-platform/users", token, ""))
		see(p.app("GET", "/v1/open-platform/finder/user-posts", token, ""))
	}
	see(p.app("GET", "/v1/open-platform/finder/post/"+p.dev.PostToken, "", ""))
	fmt.Fprintf(&b, "%d webhooks\n", len(p.hook.take()))
	return b.String()
}

// listen makes the sample app hear of everything.
func (p *platform) listen() {
	p.t.Helper()
	for _, event := range []string{"NEW_MESSAGE_ON_POST", "POST_UPDATE"} {
		p.subscribe(p.dev.Users.Seller.AccessToken, `{"event_type":"`+event+`"}`).ok()
	}
	p.say("BUYER", "something that is there")
	p.settle()
	p.hook.take()
}

// unchanged runs f and fails the test if the world is another one after it.
func (p *platform) unchanged(f func()) {
	p.t.Helper()
	before := strings.Split(p.world(), "\n")
	f()
	after := strings.Split(p.world(), "\n")
	for i := range before {
		if before[i] != after[i] {
			p.t.Errorf("refused calls changed the world\nfrom %s\nto   %s", before[i], after[i])
		}
	}
}

// nested is JSON of a depth that no body has.
func nested(open, inner, end string) string {
	const depth = 20_000
	return strings.Repeat(open, depth) + inner + strings.Repeat(end, depth)
}

// notJSON is what no call takes, whatever its fields.
func notJSON() map[string]string {
	utf16 := func(s string) string {
		var b strings.Builder
		for _, c := range []byte(s) {
			b.Write([]byte{c, 0})
		}
		return b.String()
	}
	return map[string]string{
		"an array": `[]`, "an array of objects": `[{}]`, "a string": `"x"`, "a number": `5`, "true": `true`,
		"two objects": `{} {}`, "text behind": `{}x`, "a comma behind": `{"a":1,}`, "single quotes": `{'a':1}`, "a comment": `{/**/}`, "NaN": `{"a":NaN}`,
		"a control character": "{\"a\":\"\x01\"}", "NUL": "\x00", "a form": "a=1&b=2", "XML": "<a/>", "words": "hello",
		"UTF-16 with a mark": "\xff\xfe" + utf16(`{"a":1}`), "UTF-16 without a mark": utf16(`{"a":1}`), "UTF-32": "\xff\xfe\x00\x00{\x00\x00\x00",
		"invalid UTF-8": "{\"a\":\"\xff\"}", "overlong UTF-8": "{\"a\":\"\xc0\xaf\"}", "a surrogate in UTF-8": "{\"a\":\"\xed\xa0\x80\"}", "half a character": "{\"a\":\"\xd8",
		"deep objects": nested(`{"a":`, `1`, `}`), "deep arrays": `{"a":` + nested(`[`, ``, `]`) + `}`, "deep and cut": strings.Repeat(`{"a":`, 20_000),
		"deep at the top": nested(`[`, ``, `]`),
	}
}

// wrong are values that a kind of field does not take.
func wrong(kind string) []string {
	return map[string][]string{
		"string": {`5`, `true`, `{}`, `["x"]`},
		"enum":   {`5`, `true`, `{}`, `["x"]`, `"NOPE"`, `"سلام"`, `" "`},
		"bool":   {`"true"`, `1`, `{}`, `[]`},
		"int":    {`"5"`, `1.5`, `true`, `{}`, `[]`, `99999999999999999999`, `1e999`},
		"number": {`"5"`, `true`, `{}`, `[]`, `1e999`},
		"object": {`"x"`, `5`, `[]`, `true`, nested(`{"a":`, `1`, `}`)},
		"struct": {`"x"`, `5`, `[]`, `true`},
		"list":   {`"x"`, `5`, `{}`, `true`, `[5]`, `[[]]`},
		"enums":  {`"x"`, `5`, `{}`, `true`, `[5]`, `[{}]`, `["NOPE"]`, `["سلام"]`},
		"time":   {`5`, `1729429926140000`, `true`, `{}`, `[]`, `"yesterday"`, `"2024-10-20"`, `"2024-02-30T00:00:00Z"`, `"2024-10-20T13:12:06"`, `"0001-01-01T00:00:00Z"`},
	}[kind]
}

// change returns the JSON object with the field at a dotted path set to value;
// "" takes it out.
func change(t *testing.T, object, path, value string) string {
	t.Helper()
	var fields map[string]json.RawMessage
	if err := json.Unmarshal([]byte(object), &fields); err != nil {
		t.Fatalf("%v in %s", err, object)
	}
	name, rest, nested := strings.Cut(path, ".")
	switch {
	case nested:
		fields[name] = json.RawMessage(change(t, string(fields[name]), rest, value))
	case value == "":
		delete(fields, name)
	default:
		fields[name] = json.RawMessage(value)
	}
	// By hand: the encoder would refuse what is nested too deep.
	var b strings.Builder
	for name, value := range fields {
		fmt.Fprintf(&b, ",%q:%s", name, value)
	}
	return "{" + strings.TrimPrefix(b.String(), ",") + "}"
}

// field is one of a body's fields.
type field struct {
	path, kind string
	needed     bool
}

func (b bodied) list() []field {
	var list []field
	for word := range strings.FieldsSeq(b.fields) {
		path, kind, _ := strings.Cut(word, ":")
		kind, needed := strings.CutSuffix(kind, "!")
		list = append(list, field{path, kind, needed})
	}
	return list
}

func (b bodied) title() string {
	if b.name != "" {
		return b.name
	}
	return b.route
}

func TestBadBodies(t *testing.T) {
	t.Parallel()
	for _, b := range bodies() {
		t.Run(b.title(), func(t *testing.T) {
			t.Parallel()
			p := start(t)
			p.listen()
			call := p.bind(b)
			p.unchanged(func() {
				for name, body := range notJSON() {
					call.send(body).refuses(400, "body", name)
				}
				for i := 1; i < len(b.good); i++ {
					call.send(b.good[:i]).refuses(400, "body", "a body cut to "+strconv.Itoa(i))
				}
				for _, declared := range []string{
					"text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x", "application/xml", "application/x-ndjson",
					"application/json; charset=utf-16", "application/json; charset=iso-8859-1", "json", ";;;", "application/json, text/plain",
				} {
					call.send(b.good, "Content-Type: "+declared).refuses(415, "Content-Type", "a body declared as "+declared)
				}
				call.send(`{"a":"`+strings.Repeat("x", 2<<20)+`"}`).refused(413, 8, "body")
				call.raw("Transfer-Encoding: chunked", chunk(`{"a":"`+strings.Repeat("x", 2<<20)+`"}`)+"0\r\n\r\n").refused(413, 8, "body")
				call.raw("Content-Length: 2097152", "").refused(413, 8, "body")
				call.brokenOff(b.good)
			})
			p.unchanged(func() {
				for _, f := range b.list() {
					for _, value := range wrong(f.kind) {
						word := f.path
						if len(value) > 1000 {
							word = "body" // nested too deep: it is not read so far
						}
						call.send(change(t, b.good, f.path, value)).refuses(400, word, f.path+": "+value[:min(len(value), 40)])
					}
					if f.needed {
						for _, value := range []string{"", "null"} {
							call.send(change(t, b.good, f.path, value)).refuses(400, f.path, f.path+": "+value)
						}
					}
				}
				for _, bad := range b.bad {
					call.send(bad.body).refuses(400, bad.word, bad.body[:min(len(bad.body), 120)])
				}
				if slices.ContainsFunc(b.list(), func(f field) bool { return f.needed }) {
					call.send("").refused(400, 3)
					call.send("null").refused(400, 3)
					call.send("{}").refused(400, 3)
				}
			})
			// What the bad ones were made from is good: nothing but the badness
			// was refused. A field that is null is one that is not there.
			call.send(b.good, "Content-Type: application/json; charset=UTF-8").ok()
		})
	}
}

// brokenOff sends bodies that end before they should, the whole of good among
// them.
func (b bound) brokenOff(good string) {
	b.t.Helper()
	half := good[:len(good)/2]
	for _, c := range []struct{ name, framing, body string }{
		{"half a body", "Transfer-Encoding: chunked", chunk(half)},
		{"half a chunk", "Transfer-Encoding: chunked", chunk(good)[:len(chunk(good))/2]},
		{"without the last chunk", "Transfer-Encoding: chunked", chunk(good)},
		{"no size of a chunk", "Transfer-Encoding: chunked", chunk(half) + "zz\r\n"},
		{"half the length", "Content-Length: " + strconv.Itoa(len(good)), half},
		{"a byte too few", "Content-Length: " + strconv.Itoa(len(good)+1), good},
		{"nothing of it", "Content-Length: " + strconv.Itoa(len(good)), ""},
	} {
		b.raw(c.framing, c.body).refuses(400, "body", c.name)
	}
}

// TestWhatIsSentCanBeRead: free-form data that is taken does not make a webhook
// that is nested too deep for its readers (Go's own refuses over 10,000).
func TestWhatIsSentCanBeRead(t *testing.T) {
	t.Parallel()
	p := start(t)
	p.listen()
	for _, depth := range []int{10, 50, 9_990, 9_998, 9_999, 10_000} {
		data := `{"a":` + strings.Repeat("[", depth-1) + strings.Repeat("]", depth-1) + `}`
		a := p.host("PUT", "/posts/t-"+strconv.Itoa(depth), `{"owner":"seller","state":"PUBLISHED","data":`+data+`}`)
		if depth > 50 && a.status == 400 {
			a.contractError(t)
			continue
		}
		a.ok()
		if h := p.one(); !json.Valid([]byte(h.body)) {
			t.Errorf("data of depth %d is taken, and its webhook is no JSON for encoding/json", depth)
		}
	}
}

// TestNullIsAbsent: outside free-form objects an explicit null is a field that
// is not there.
func TestNullIsAbsent(t *testing.T) {
	t.Parallel()
	for _, b := range bodies() {
		t.Run(b.title(), func(t *testing.T) {
			t.Parallel()
			optional := slices.DeleteFunc(b.list(), func(f field) bool { return f.needed })
			if len(optional) == 0 {
				return
			}
			without, null := start(t), start(t)
			for i, f := range optional {
				// Ids that are made anew in each call, where there are such.
				good := strings.NewReplacer(`"m-1"`, fmt.Sprintf(`"m-1-%d"`, i), `"another"`, fmt.Sprintf(`"another-%d"`, i)).Replace(b.good)
				one := without.bind(b).send(change(t, good, f.path, "")).ok()
				two := null.bind(b).send(change(t, good, f.path, "null")).ok()
				if masked(one.body) != masked(two.body) {
					t.Errorf("without %s: %s\nwith null: %s", f.path, one.body, two.body)
				}
			}
		})
	}
}

// masked leaves out what two installations make up differently.
func masked(body string) string {
	for _, m := range []string{
		`"(id|event_id|key|secret|access_token|client_secret|identification_key|password)":"[^"]*"`,
		`"(now|created_at|ends_at|event_url)":"[^"]*"`, `"sent_at":"202[5-9][^"]*"`,
	} {
		body = regexp.MustCompile(m).ReplaceAllString(body, "")
	}
	return body
}

// TestCallsWithoutABody: what is sent along does no harm.
func TestCallsWithoutABody(t *testing.T) {
	t.Parallel()
	p := start(t)
	p.listen()
	delivery := p.verdicts(p.say("BUYER", "again"))[0].DeliveryID
	for _, route := range bodyless() {
		b := bodied{route: route, path: strings.NewReplacer("POST ", "", "{slug}", "sample-app", "{id}", *delivery).Replace(route), asApp: !strings.Contains(route, "/host/")}
		call := p.bind(b)
		answers := []answer{
			call.send(""), call.send("{}"), call.send("x=1", "Content-Type: application/x-www-form-urlencoded"),
			call.raw("Transfer-Encoding: chunked", "5\r\n{"), call.raw("Content-Length: 5", "{"),
		}
		for _, body := range notJSON() {
			answers = append(answers, call.send(body))
		}
		answers[0].ok()
		answers[1].ok()
		for _, a := range answers {
			if a.status != http.StatusOK {
				a.contractError(t)
			}
		}
	}
	p.settle()
}

// errorTable is section 3 of the contract, without what is our fault; 503 is
// also an app's.
var errorTable = map[int]int{400: 3, 401: 16, 403: 7, 404: 5, 405: 12, 409: 6, 412: 9, 413: 8, 415: 3, 429: 8, 503: 14}

// contractError fails the test unless the answer is an error of the table.
func (a answer) contractError(t *testing.T) {
	t.Helper()
	var s struct {
		Code    *int               `json:"code"`
		Message string             `json:"message"`
		Details *[]json.RawMessage `json:"details"`
	}
	if err := json.Unmarshal([]byte(a.body), &s); err != nil || s.Code == nil || s.Message == "" || s.Details == nil || len(*s.Details) != 0 ||
		a.header.Get("Content-Type") != "application/json" {
		t.Fatalf("%s: %d %s %s is not an error of the contract", a.call, a.status, a.header.Get("Content-Type"), a.body)
	}
	if code, ok := errorTable[a.status]; !ok || code != *s.Code {
		t.Fatalf("%s: status %d with code %d is no row of the contract's table: %s", a.call, a.status, *s.Code, s.Message)
	}
}

// TestTimesBeyondTheirYears: what has no RFC 3339 form in UTC is refused; it
// must not be stored and then be unreadable.
func TestTimesBeyondTheirYears(t *testing.T) {
	t.Parallel()
	for _, at := range []string{"9999-12-31T23:59:59-01:00", "1970-01-01T00:00:00+01:00"} {
		t.Run(at, func(t *testing.T) {
			t.Parallel()
			p := start(t)
			p.listen()
			p.unchanged(func() {
				p.host("POST", "/conversations/"+p.dev.ConversationID+"/messages", `{"id":"m-1","sender":"BUYER","text":"hi","sent_at":"`+at+`"}`).
					refuses(400, "sent_at", at)
				p.host("PUT", "/posts/gZd7omnS", `{"owner":"seller","state":"RETIRED","first_published_at":"`+at+`"}`).
					refuses(400, "first_published_at", at)
			})
			p.host("PUT", "/posts/gZd7omnS", `{"owner":"seller","state":"RETIRED"}`).ok() // the post can be had still
		})
	}
}

// batched is the answer to a batch.
type batched struct {
	Accepted, Duplicates int
	Errors               []struct {
		Line   int `json:"line"`
		Status struct {
			Code    int               `json:"code"`
			Message string            `json:"message"`
			Details []json.RawMessage `json:"details"`
		} `json:"status"`
	}
}

func (b bound) batch(body string) batched {
	b.t.Helper()
	var out batched
	b.send(body, "Content-Type: application/x-ndjson").ok().into(&out)
	return out
}

// TestBadLines: the bodies of the single calls, as lines of a batch.
func TestBadLines(t *testing.T) {
	t.Parallel()
	p := start(t)
	p.listen()
	call := p.bind(bodied{route: "POST /host/v1/batch", path: "/host/v1/batch"})
	type line struct{ text, word string }
	lines := []line{
		{`{}`, "exactly one"},
		{`{"nobody":{}}`, "exactly one"},
		{`null`, "exactly one"},
		{`{"user":null}`, "exactly one"},
		{`{"user":{"id":"fresh"},"message":{"conversation":"` + p.dev.ConversationID + `","sender":"BUYER","text":"hi"}}`, "exactly one"},
		{`{"user":5}`, "user"},
		{`{"message":[]}`, "message"},
		{`{"post":"x"}`, "post"},
		{`{"user":{"phone":"1"}}`, "user"},
		{`{"user":{"id":"سلام"}}`, "user"},
		{`{"conversation":{"id":"\u0000","type":"BOT","app":"sample-app","user":"fresh"}}`, "id"},
	}
	for _, text := range notJSON() {
		if !strings.Contains(text, "\n") && strings.TrimSpace(text) != "" {
			lines = append(lines, line{text, "body"})
		}
	}
	ids := map[string][2]string{ // what a path says in a single call
		"PUT /host/v1/users/{user}": {"user", `"id":"seller"`}, "PUT /host/v1/posts/{token}": {"post", `"token":"gZd7omnS"`},
		"PUT /host/v1/conversations/{id}": {"conversation", `"id":"fresh"`}, "PUT /host/v1/transactions/{id}": {"transaction", `"id":"tx-1"`},
		"POST /host/v1/conversations/{id}/messages": {"message", `"conversation":"` + p.dev.ConversationID + `"`},
	}
	for _, b := range bodies() {
		op, ok := ids[b.route]
		if !ok {
			continue
		}
		wrap := func(body string) string {
			return `{"` + op[0] + `":{` + op[1] + "," + strings.TrimPrefix(body, "{") + `}`
		}
		for _, bad := range b.bad {
			lines = append(lines, line{wrap(bad.body), bad.word})
		}
		for _, f := range b.list() {
			for _, value := range wrong(f.kind) {
				if len(value) < 1000 {
					lines = append(lines, line{wrap(change(t, b.good, f.path, value)), f.path})
				}
			}
			if f.needed {
				lines = append(lines, line{wrap(change(t, b.good, f.path, "")), f.path})
			}
		}
	}
	p.unchanged(func() {
		const page = 400
		for chunk := range slices.Chunk(lines, page) {
			var body strings.Builder
			for _, l := range chunk {
				body.WriteString(l.text + "\n")
			}
			out := call.batch(body.String())
			if out.Accepted != 0 || out.Duplicates != 0 || len(out.Errors) != len(chunk) {
				t.Errorf("%d accepted, %d duplicates, %d errors of %d bad lines", out.Accepted, out.Duplicates, len(out.Errors), len(chunk))
			}
			for _, e := range out.Errors {
				l := chunk[e.Line-1]
				if e.Status.Code != 3 || !strings.Contains(e.Status.Message, l.word) || e.Status.Details == nil {
					t.Errorf("line %.120s: %+v, want code 3 and the word %q", l.text, e.Status, l.word)
				}
			}
			seen := make([]bool, len(chunk))
			for _, e := range out.Errors {
				seen[e.Line-1] = true
			}
			for i, l := range chunk {
				if !seen[i] {
					t.Errorf("line %.120s was taken", l.text)
				}
			}
		}
		big := call.batch(`{"user":{"id":"fresh","phone":"` + strings.Repeat("1", 1<<20) + `"}}`)
		if len(big.Errors) != 1 || big.Errors[0].Status.Code != 8 {
			t.Errorf("a line over 1 MiB: %+v", big)
		}
		call.send(strings.Repeat(" ", 16<<20+1)).refused(413, 8, "body")
		call.raw("Transfer-Encoding: chunked", chunk(strings.Repeat(" ", 16<<20+1))+"0\r\n\r\n").refused(413, 8, "body")
		for _, declared := range []string{"text/plain", "text/csv", "application/x-www-form-urlencoded", "application/x-ndjson; charset=utf-16"} {
			call.send(`{"user":{"id":"fresh","phone":"1"}}`, "Content-Type: "+declared).refused(415, 3, "Content-Type")
		}
		good := `{"user":{"id":"seller","phone":"1"}}` + "\n"
		call.brokenOff(good + good)
	})
}

// TestGoodLinesAmongBadOnes: lines take effect in order, the good ones are kept.
func TestGoodLinesAmongBadOnes(t *testing.T) {
	t.Parallel()
	p := start(t)
	p.listen()
	call := p.bind(bodied{route: "POST /host/v1/batch", path: "/host/v1/batch"})
	message := func(id string) string {
		return `{"message":{"conversation":"` + p.dev.ConversationID + `","id":"` + id + `","sender":"BUYER","text":"hi"}}`
	}
	out := call.batch(strings.Join([]string{
		message("m-1"), "", `{"message":`, message("m-2") + "\r", `{"message":{"conversation":"nowhere","sender":"BUYER","text":"hi"}}`,
		message("m-1"), `{"message":{"conversation":"` + p.dev.ConversationID + `","id":"m-1","sender":"BUYER","text":"other"}}`,
		nested(`{"a":`, `1`, `}`), "\xff", "   ", message("m-3"),
	}, "\n"))
	if out.Accepted != 3 || out.Duplicates != 1 || len(out.Errors) != 5 {
		t.Errorf("%+v", out)
	}
	want := map[int]int{3: 3, 5: 5, 7: 6, 8: 3, 9: 3} // line to code
	for _, e := range out.Errors {
		if want[e.Line] != e.Status.Code {
			t.Errorf("line %d: %+v, want code %d", e.Line, e.Status, want[e.Line])
		}
	}
	p.settle()
	got := p.hook.take()
	if len(got) != 3 {
		t.Fatalf("%d webhooks, want 3", len(got))
	}
	for i, id := range []string{"m-1", "m-2", "m-3"} {
		if !strings.Contains(got[i].body, `"id":"`+id+`"`) {
			t.Errorf("webhook %d: %s, want message %s", i, got[i].body, id)
		}
	}
}

// with is the platform as a subtest uses it.
func (p *platform) with(t *testing.T) *platform {
	q := *p
	q.t = t
	return &q
}

// escaped is an id as it arrives in a path.
func escaped(id string) string {
	if id == "." || id == ".." {
		return strings.ReplaceAll(id, ".", "%2E") // or it would be no segment
	}
	return url.PathEscape(id)
}

// TestIDsOfPrintableASCII: the marketplace's ids are its own; whatever they are
// made of comes back as it was given.
func TestIDsOfPrintableASCII(t *testing.T) {
	t.Parallel()
	p := start(t)
	var all strings.Builder
	for c := byte('!'); c <= '~'; c++ {
		all.WriteByte(c)
	}
	for _, id := range []string{
		"a/b+c=", "//", "a/", "/a", "../a", "%", "%2F", "a%2Fb+c=", "%zz", "+", "=", "==", "&", "...", "?x=1", "#x", ";a", "a:b@c", `\`, `"`, "'",
		"<>^`{|}", "[]", "!$&()*,", "~", "-1", "0", "null", "{id}", "messages", all.String()[:47], all.String()[47:], strings.Repeat("x", 64), strings.Repeat("/", 64),
	} {
		t.Run(id, func(t *testing.T) {
			p := p.with(t)
			quoted, err := json.Marshal(id)
			if err != nil {
				t.Fatal(err)
			}
			q, path := string(quoted), escaped(id)
			same := func(a answer, field string) {
				t.Helper()
				var fields map[string]any
				a.ok().into(&fields)
				if fields[field] != id {
					t.Errorf("%s: %s is %q, want %q", a.call, field, fields[field], id)
				}
			}
			same(p.host("PUT", "/users/"+path, `{"phone":"1"}`), "id")
			same(p.host("PUT", "/posts/"+path, `{"owner":"seller","state":"PUBLISHED"}`), "token")
			same(p.host("PUT", "/conversations/"+path, `{"type":"POST","post_token":`+q+`,"buyer":`+q+`}`), "buyer")
			same(p.host("PUT", "/conversations/"+path, `{"type":"POST","post_token":`+q+`,"buyer":`+q+`}`), "id")
			p.host("PUT", "/conversations/"+path+"/block", `{"by":"BUYER","blocked":false}`).ok()

			p.subscribe(p.token("seller", "CHAT_POST_CONVERSATIONS_READ."+id), `{"event_type":"NEW_MESSAGE_ON_POST","event_resource_id":`+q+`}`).ok()
			same(p.host("POST", "/conversations/"+path+"/messages", `{"id":`+q+`,"sender":"BUYER","text":"hi"}`), "id")
			var webhook struct {
				NewMessage struct {
					ID           string `json:"id"`
					Conversation struct {
						ID        string `json:"id"`
						PostToken string `json:"post_token"`
					} `json:"conversation"`
				} `json:"new_message"`
			}
			if err := json.Unmarshal([]byte(p.one().body), &webhook); err != nil {
				t.Fatal(err)
			}
			if m := webhook.NewMessage; m.ID != id || m.Conversation.ID != id || m.Conversation.PostToken != id {
				t.Errorf("webhook: %+v, want %q everywhere", m, id)
			}
			var list struct {
				Messages []struct{ ID string }
			}
			p.host("GET", "/conversations/"+path+"/messages", "").ok().into(&list)
			if len(list.Messages) != 1 || list.Messages[0].ID != id {
				t.Errorf("messages: %+v", list)
			}
			same(p.app("GET", "/v1/open-platform/finder/post/"+path, "", ""), "token")
			same(p.host("PUT", "/transactions/"+path, `{"app":"sample-app","state":"PENDING"}`), "id")
			p.token(id, "USER_ID")
			var grants struct{ Grants []struct{ App string } }
			p.host("GET", "/users/"+path+"/grants", "").ok().into(&grants)
			if len(grants.Grants) != 1 {
				t.Errorf("grants: %+v", grants)
			}
			p.host("DELETE", "/users/"+path+"/grants/sample-app", "").ok()
			p.host("DELETE", "/messages/"+path, "").ok()
			p.host("DELETE", "/posts/"+path, "").ok()
			p.app("GET", "/v1/open-platform/finder/post/"+path, "", "").refused(404, 5)
			p.host("DELETE", "/users/"+path, "").ok()
			p.settle()
			p.hook.take() // of the transaction
		})
	}
}

// TestIDsThatNoPathCarries: an id that a body may name can be called by.
func TestIDsThatNoPathCarries(t *testing.T) {
	t.Parallel()
	p := start(t)
	for _, id := range []string{".", "..", "/"} {
		named := p.host("PUT", "/posts/t-1", `{"owner":"`+id+`","state":"PUBLISHED"}`)
		if named.status == 400 {
			named.refuses(400, "owner", id)
			continue
		}
		if called := p.host("PUT", "/users/"+escaped(id), `{"phone":"1"}`); called.status != 200 {
			t.Errorf("a body may name the user %q, and yet %s: %d %s", id, called.call, called.status, called.body)
		}
	}
}

// TestSegmentsAreDecodedOnce: %2F is a slash within a segment, + is a plus, and
// what is escaped twice is another id.
func TestSegmentsAreDecodedOnce(t *testing.T) {
	t.Parallel()
	p := start(t)
	put := func(path string) string {
		t.Helper()
		var c struct{ ID string }
		p.host("PUT", "/conversations/"+path, `{"type":"POST","post_token":"gZd7omnS","buyer":"b"}`).ok().into(&c)
		return c.ID
	}
	for path, want := range map[string]string{
		"a%2Fb+c=": "a/b+c=", "a%2fb%2Bc%3D": "a/b+c=", "%61%2Fb+c=": "a/b+c=", "a%252Fb+c=": "a%2Fb+c=", "a+b": "a+b", "a%2Bb": "a+b",
	} {
		if got := put(path); got != want {
			t.Errorf("%s: id %q, want %q", path, got, want)
		}
	}
	p.host("POST", "/conversations/a%2Fb+c=/messages", `{"id":"m-1","sender":"BUYER","text":"hi"}`).ok()
	for path, want := range map[string]int{"a%2Fb+c=": 1, "a%2fb%2Bc%3D": 1, "a%252Fb+c=": 0} {
		var list struct{ Messages []any }
		p.host("GET", "/conversations/"+path+"/messages", "").ok().into(&list)
		if len(list.Messages) != want {
			t.Errorf("%s: %d messages, want %d", path, len(list.Messages), want)
		}
	}
	p.host("GET", "/conversations/a/b+c=/messages", "").refused(404, 5)
	p.host("GET", "/conversations/a%20b%20c=/messages", "").refused(404, 5)
}

// TestIDsOfOtherLetters: no id holds anything but printable ASCII.
func TestIDsOfOtherLetters(t *testing.T) {
	t.Parallel()
	p := start(t)
	p.listen()
	p.unchanged(func() {
		for _, id := range []string{"سلام", "é", "a\u200cb", "\x00", "a\nb", "\t", "\x7f", "\u0085", "a\x1b[0m", "🙂", "\ufeffa", strings.Repeat("x", 65)} {
			quoted, err := json.Marshal(id)
			if err != nil {
				t.Fatal(err)
			}
			q, path := string(quoted), escaped(id)
			for _, c := range []struct{ method, path, body, word string }{
				{"PUT", "/users/" + path, `{"phone":"1"}`, "user"},
				{"PUT", "/posts/" + path, `{"owner":"seller","state":"PUBLISHED"}`, "token"},
				{"PUT", "/posts/t-1", `{"owner":` + q + `,"state":"PUBLISHED"}`, "owner"},
				{"PUT", "/conversations/" + path, `{"type":"POST","post_token":"gZd7omnS","buyer":"b"}`, "id"},
				{"PUT", "/conversations/fresh", `{"type":"POST","post_token":"gZd7omnS","buyer":` + q + `}`, "buyer"},
				{"PUT", "/conversations/fresh", `{"type":"POST","post_token":` + q + `,"buyer":"b"}`, "post_token"},
				{"PUT", "/conversations/fresh", `{"type":"BOT","app":"sample-app","user":` + q + `}`, "user"},
				{"PUT", "/conversations/fresh", `{"type":"BOT","app":` + q + `,"user":"fresh"}`, "app"},
				{"POST", "/conversations/" + path + "/messages", `{"id":"m-1","sender":"BUYER","text":"hi"}`, "conversation"},
				{"POST", "/conversations/" + p.dev.ConversationID + "/messages", `{"id":` + q + `,"sender":"BUYER","text":"hi"}`, "id"},
				{"PUT", "/transactions/" + path, `{"app":"sample-app","state":"PENDING"}`, "id"},
				{"PUT", "/transactions/tx-1", `{"app":` + q + `,"state":"PENDING"}`, "app"},
				{"POST", "/dev/tokens", `{"app":"sample-app","user":` + q + `}`, "user"},
				{"POST", "/apps", `{"slug":` + q + `}`, "slug"},
				{"GET", "/users/" + path + "/grants", "", "user"},
				{"DELETE", "/users/" + path, "", "user"},
				{"DELETE", "/posts/" + path, "", "token"},
				{"DELETE", "/messages/" + path, "", "id"},
			} {
				p.host(c.method, c.path, c.body).refuses(400, c.word, strconv.QuoteToASCII(id))
			}
			p.subscribe(p.dev.Users.Seller.AccessToken, `{"event_type":"POST_UPDATE","event_resource_id":`+q+`}`).
				refuses(400, "event_resource_id", strconv.QuoteToASCII(id))
			// Where an id only names what must be there, it is enough that it
			// is not.
			for _, a := range []answer{
				p.host("PUT", "/conversations/"+path+"/block", `{"by":"BUYER","blocked":true}`), p.host("GET", "/conversations/"+path+"/messages", ""),
				p.host("GET", "/apps/"+path, ""), p.host("PATCH", "/apps/"+path, `{"paused":true}`), p.host("POST", "/apps/"+path+"/keys", `{}`),
				p.host("POST", "/apps/"+path+"/signing-secrets", `{}`), p.host("POST", "/apps/"+path+"/client-secret", ""), p.host("POST", "/apps/"+path+"/test-event", ""),
				p.host("GET", "/deliveries/"+path, ""), p.host("POST", "/deliveries/"+path+"/redeliver", ""), p.host("GET", "/events/"+path, ""),
				p.host("DELETE", "/users/buyer/grants/"+path, ""), p.app("GET", "/v1/open-platform/finder/post/"+path, "", ""),
				p.app("DELETE", "/v1/open-platform/events/subscriptions/"+path, "", ""),
			} {
				if a.status == 200 && strings.HasPrefix(a.call, "DELETE") {
					continue // taking away what is not there is no error
				}
				a.contractError(t)
				if a.status != 400 && a.status != 404 {
					t.Errorf("%s: %d %s, want 400 or 404", a.call, a.status, a.body)
				}
			}
		}
		// A path that is no UTF-8 when decoded.
		p.host("PUT", "/users/%FF", `{"phone":"1"}`).refuses(400, "user", "%FF")
		p.host("PUT", "/conversations/%C0%AF", `{"type":"POST","post_token":"gZd7omnS","buyer":"b"}`).refuses(400, "id", "%C0%AF")
	})
}
