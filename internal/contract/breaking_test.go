package contract_test

import (
	"encoding/json"
	"flag"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/openkenar/openkenar/internal/contract"
)

var release = flag.Bool("release", false, "make the present contract the one that later changes must not break")

type object = map[string]any

// TestNothingBreaks holds the contract against the last that was released. What
// breaks it needs a major version, and a word in CHANGELOG.md; then
// go test ./internal/contract -release makes it the one to hold to.
func TestNothingBreaks(t *testing.T) {
	t.Parallel()
	files, err := contract.Files()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range files {
		if strings.Contains(f.Name, "/") {
			continue // the schemas are part of the documents
		}
		released := filepath.Join("testdata", "released", f.Name)
		if *release {
			if err := os.MkdirAll(filepath.Dir(released), 0o750); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(released, f.Content, 0o600); err != nil {
				t.Fatal(err)
			}
		}
		before, err := os.ReadFile(released)
		if err != nil {
			t.Fatal(err)
		}
		found, err := contract.Breaking(before, f.Content)
		if err != nil {
			t.Fatal(err)
		}
		for _, what := range found {
			t.Errorf("%s: %s", f.Name, what)
		}
	}
}

// at returns an object of a document.
func at(o object, names ...string) object {
	for _, name := range names {
		o = o[name].(object)
	}
	return o
}

func schemaOf(d object, name string, more ...string) object {
	return at(d, append([]string{"components", "schemas", name}, more...)...)
}

func without(l any, v any) []any {
	return slices.DeleteFunc(slices.Clone(l.([]any)), func(e any) bool { return e == v })
}

// TestBreaking changes the real documents and looks at what is found.
func TestBreaking(t *testing.T) {
	t.Parallel()
	files, err := contract.Files()
	if err != nil {
		t.Fatal(err)
	}
	documents := map[string][]byte{}
	for _, f := range files {
		documents[f.Name] = f.Content
	}
	const subscriptions, users, conversation = "/v1/open-platform/events/subscriptions", "/v1/open-platform/users", "/v1/open-platform/chat/conversations/{id}"
	apps, host := contract.AppsFile, contract.HostFile
	text := func() object { return object{"type": "string"} }
	for _, c := range []struct {
		name, file string
		change     func(d object)
		want       string // "" where nothing breaks
	}{
		{"nothing", apps, func(object) {}, ""},
		{"nothing", host, func(object) {}, ""},

		{"a path is gone", apps, func(d object) { delete(at(d, "paths"), users) }, "GET " + users + ": it is gone"},
		{"a method is gone", apps, func(d object) { delete(at(d, "paths", users), "post") }, "POST " + users + ": it is gone"},
		{"a path is new", apps, func(d object) { at(d, "paths")["/new"] = at(d, "paths", users) }, ""},
		{"a webhook is gone", apps, func(d object) { delete(at(d, "webhooks"), "POST_UPDATE") }, "webhook POST_UPDATE: it is gone"},
		{"a webhook is new", apps, func(d object) { at(d, "webhooks")["NEW"] = at(d, "webhooks", "POST_UPDATE") }, ""},
		{"another name for programs", apps, func(d object) { at(d, "paths", users, "get")["operationId"] = "x" }, "operationId"},
		{"another permission", apps, func(d object) { at(d, "paths", users, "get")["x-openkenar-permission"] = "GET_POST" }, "x-openkenar-permission"},
		{"another header for keys", apps, func(d object) { at(d, "components", "securitySchemes", "apiKey")["name"] = "Key" }, "credential apiKey: name"},
		{"a scope is gone", apps, func(d object) {
			delete(at(d, "components", "securitySchemes", "accessToken", "flows", "authorizationCode", "scopes"), "USER_ID")
		}, "the scope USER_ID is gone"},
		{"one scope more is needed", apps, func(d object) {
			way := at(d, "paths", users, "get")["security"].([]any)[0].(object)
			way["accessToken"] = []any{"USER_ID", "USER_POSTS_GET"}
		}, "what was enough to be let in is no more"},
		{"another scope is enough, too", apps, func(d object) {
			get := at(d, "paths", users, "get")
			get["security"] = append(get["security"].([]any), object{"apiKey": []any{}, "accessToken": []any{"SEND_EVENT"}})
		}, ""},
		{"a credential is needed", apps, func(d object) {
			at(d, "paths", "/.well-known/openkenar/egress.json", "get")["security"] = []any{object{"apiKey": []any{}}}
		}, "it needs a credential now"},

		{"a field of an answer is gone", apps, func(d object) { delete(schemaOf(d, "Subscription", "properties"), "metadata") }, ".metadata: the field is gone"},
		{"a field of an answer may be missing", apps, func(d object) {
			schemaOf(d, "Subscription")["required"] = without(schemaOf(d, "Subscription")["required"], "id")
		}, ".id: it may be missing now"},
		{"a field of an answer may be null", apps, func(d object) { schemaOf(d, "Subscription", "properties", "id")["type"] = []any{"string", "null"} }, "it may be null now"},
		{"a field of an answer is never null any more", apps, func(d object) { schemaOf(d, "Subscription", "properties", "event_resource_id")["type"] = "string" }, ""},
		{"a field of an answer is a number", apps, func(d object) { schemaOf(d, "Subscription", "properties", "id")["type"] = "integer" }, "it may be integer now"},
		{"a field of an answer is new", apps, func(d object) { schemaOf(d, "Subscription", "properties")["new"] = text() }, ""},
		{"a closed answer has a new field", apps, func(d object) { schemaOf(d, "TextMessage", "properties")["new"] = text() }, ".new: the field is new"},
		{"a closed answer has a new value", apps, func(d object) {
			schemaOf(d, "TalkSender", "properties", "type")["enum"] = []any{"HUMAN", "BOT", "USER"}
		}, "it was one of [HUMAN BOT]"},
		{"a closed answer is open", apps, func(d object) { delete(schemaOf(d, "TalkRef"), "additionalProperties") }, "fields may be added now"},
		{"an answer is gone", apps, func(d object) { delete(at(d, "paths", conversation, "get", "responses"), "200") }, "the answer 200 is gone"},
		{"an error is new", apps, func(d object) {
			at(d, "paths", conversation, "get", "responses")["409"] = object{"$ref": "#/components/responses/Conflict"}
		}, ""},
		{"errors lack a field", apps, func(d object) { delete(schemaOf(d, "Status", "properties"), "code") }, ".code: the field is gone"},

		{"a field of a request is required", apps, func(d object) {
			schemaOf(d, "RegistrationInput")["required"] = []any{"event_type", "metadata"}
		}, ".metadata: it is required now"},
		{"a new field of a request is required", apps, func(d object) {
			schemaOf(d, "RegistrationInput", "properties")["new"] = text()
			schemaOf(d, "RegistrationInput")["required"] = []any{"event_type", "new"}
		}, ".new: the field is new and required"},
		{"a field of a request is new", apps, func(d object) { schemaOf(d, "RegistrationInput", "properties")["new"] = text() }, ""},
		{"a field of a request is gone", apps, func(d object) { delete(schemaOf(d, "RegistrationInput", "properties"), "metadata") }, ".metadata: the field is gone"},
		{"null is not taken", apps, func(d object) { schemaOf(d, "RegistrationInput", "properties", "metadata")["type"] = "object" }, "it may not be null any more"},
		{"a value is not taken", apps, func(d object) {
			p := schemaOf(d, "RegistrationInput", "properties", "event_type")
			p["enum"] = without(p["enum"], "POST_UPDATE")
		}, "the value POST_UPDATE is not taken any more"},
		{"a value is taken, too", apps, func(d object) {
			p := schemaOf(d, "RegistrationInput", "properties", "event_type")
			p["enum"] = append(p["enum"].([]any), "NEW")
		}, ""},
		{"any value is one of a few", apps, func(d object) { schemaOf(d, "ButtonInput", "properties", "icon")["enum"] = []any{"HOME"} }, "one of a few values now"},
		{"a text is shorter", apps, func(d object) { schemaOf(d, "BotMessageInput", "properties", "text_message")["maxLength"] = 100 }, "maxLength is 100 now"},
		{"a text is longer", apps, func(d object) { schemaOf(d, "BotMessageInput", "properties", "text_message")["maxLength"] = 10000 }, ""},
		{"a text has a form", apps, func(d object) { schemaOf(d, "BotMessageInput", "properties", "text_message")["pattern"] = "^a" }, "pattern was"},
		{"fewer rows", apps, func(d object) { schemaOf(d, "KeyboardInput", "properties", "rows")["maxItems"] = 2 }, "maxItems is 2 now"},
		{"a form of an action is not taken", apps, func(d object) {
			schemaOf(d, "ActionInput")["oneOf"] = schemaOf(d, "ActionInput")["oneOf"].([]any)[1:]
		}, "is not taken any more"},
		{"unknown fields are refused", apps, func(d object) { schemaOf(d, "RegistrationInput")["additionalProperties"] = false }, "unknown fields are refused now"},
		{"a body is required", apps, func(d object) { at(d, "paths", users, "post", "requestBody")["required"] = true }, "a body is required now"},
		{"a media type is not taken", host, func(d object) {
			delete(at(d, "paths", "/host/v1/batch", "post", "requestBody", "content"), "application/x-ndjson")
		}, "the media type application/x-ndjson is gone"},
		{"a parameter is gone", apps, func(d object) { at(d, "paths", subscriptions, "get")["parameters"] = []any{} }, "the parameter in query after is gone"},
		{"a parameter is required", apps, func(d object) {
			at(d, "paths", subscriptions, "get")["parameters"].([]any)[0].(object)["required"] = true
		}, "query after: it is required now"},
		{"a new parameter is required", apps, func(d object) {
			at(d, "paths", users, "get")["parameters"] = []any{object{"in": "query", "name": "new", "required": true, "schema": text()}}
		}, "the parameter in query new is new and required"},
		{"a parameter is new", apps, func(d object) {
			at(d, "paths", users, "get")["parameters"] = []any{object{"in": "query", "name": "new", "schema": text()}}
		}, ""},
		{"a message type is not taken", host, func(d object) {
			schemaOf(d, "NewMessageInput")["oneOf"] = schemaOf(d, "NewMessageInput")["oneOf"].([]any)[:6]
		}, "the form NewMessageInputContact is not taken any more"},

		{"a field of a webhook is gone", apps, func(d object) {
			delete(schemaOf(d, "EventMessageText", "properties"), "sent_at")
		}, ".sent_at: the field is gone"},
		{"a field of a webhook is new and always there", apps, func(d object) {
			schemaOf(d, "EventMessageText", "properties")["new"] = text()
			schemaOf(d, "EventMessageText")["required"] = append(schemaOf(d, "EventMessageText")["required"].([]any), "new")
		}, ""},
		{"a webhook has another type", apps, func(d object) { schemaOf(d, "NewMessageWebhook", "properties", "type")["const"] = "NEW" }, "it was one of [NEW_MESSAGE]"},
		{"a webhook has a new value", apps, func(d object) {
			schemaOf(d, "EventPostChange", "properties", "type")["enum"] = []any{"PUBLISH", "ONGOING", "NEW"}
		}, ""},
		{"a webhook has a new message type", apps, func(d object) {
			schemaOf(d, "EventMessage")["oneOf"] = append(schemaOf(d, "EventMessage")["oneOf"].([]any), object{"$ref": "#/components/schemas/PostToken"})
		}, ""},
		{"a header of a webhook is gone", apps, func(d object) {
			post := at(d, "webhooks", "POST_UPDATE", "post")
			post["parameters"] = post["parameters"].([]any)[1:]
		}, "the parameter in header webhook-id is gone"},
		{"what a session carries is longer", apps, func(d object) {
			schemaOf(d, "SessionInitialization", "properties", "post_token")["maxLength"] = 11
		}, "maxLength was 10 and is 11"},
		{"an app's answer is shorter", apps, func(d object) {
			schemaOf(d, "DynamicActionAnswerInput", "properties", "text_message")["maxLength"] = 10
		}, "maxLength is 10 now"},
		{"an app's answer may have more", apps, func(d object) {
			schemaOf(d, "DynamicActionAnswerInput", "properties")["new"] = text()
		}, ""},
	} {
		var changed object
		if err := json.Unmarshal(documents[c.file], &changed); err != nil {
			t.Fatal(err)
		}
		c.change(changed)
		after, err := json.Marshal(changed)
		if err != nil {
			t.Fatal(err)
		}
		found, err := contract.Breaking(documents[c.file], after)
		if err != nil {
			t.Fatal(err)
		}
		all := strings.Join(found, "\n")
		if c.want == "" && all != "" || !strings.Contains(all, c.want) {
			t.Errorf("%s: found %q, want %q", c.name, all, c.want)
		}
	}
	for _, bad := range []string{``, `[]`, `{}`, `{"openapi":3}`, `x`} {
		if _, err := contract.Breaking(documents[apps], []byte(bad)); err == nil {
			t.Errorf("%q passes as a document", bad)
		}
	}
}

// TestBreakingOfOddDocuments: what is no schema and no operation is passed by, and
// a document that refers to itself comes to an end.
func TestBreakingOfOddDocuments(t *testing.T) {
	t.Parallel()
	for _, document := range []string{
		`{"openapi":"3.1.1"}`, `{"openapi":"3.1.1","paths":1,"webhooks":[]}`,
		`{"openapi":"3.1.1","paths":{"/a":{"parameters":[],"get":{"security":[1],"parameters":[1,{}],"responses":{"200":1,"400":{"content":{"x":1}}}}}}}`,
		`{"openapi":"3.1.1","paths":{"/a":{"get":{"requestBody":{"content":{"x":{"schema":{"$ref":"#/x"}}}}}}},
			"x":{"$ref":"#/x","properties":{"a":true,"b":{"$ref":"#/x"}},"items":{"$ref":"#/x"},"anyOf":[{"$ref":"#/x"},{"type":"null"}],"oneOf":[1]}}`,
	} {
		if found, err := contract.Breaking([]byte(document), []byte(document)); err != nil || len(found) > 0 {
			t.Errorf("%s breaks itself: %q, %v", document, found, err)
		}
	}
}

// TestSameBytes: the documents do not depend on when they are made.
func TestSameBytes(t *testing.T) {
	t.Parallel()
	first, err := contract.Files()
	if err != nil {
		t.Fatal(err)
	}
	for range 5 {
		again, err := contract.Files()
		if err != nil {
			t.Fatal(err)
		}
		for i, f := range again {
			if f.Name != first[i].Name || string(f.Content) != string(first[i].Content) {
				t.Fatalf("%s differs from one time to the next", f.Name)
			}
		}
	}
}
