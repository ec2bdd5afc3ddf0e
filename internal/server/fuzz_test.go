package server_test

import (
	"bytes"
	"encoding/json"
	"reflect"
	"strings"
	"testing"
)

// FuzzSubscription posts bodies to a running platform. Whatever it does not
// take is an error of the contract and never our fault; what it takes is
// listed, its metadata as it was given.
func FuzzSubscription(f *testing.F) {
	for _, seed := range []string{
		``, ` `, `{}`, `null`, `[]`, `"x"`, `5`, `{`, "\xff\xfe", "\xef\xbb\xbf{}", `{} {}`,
		`{"event_type":"NEW_MESSAGE_ON_POST"}`, `{"event_type":"NEW_MESSAGE_ON_POST","event_resource_id":"gZd7omnS","metadata":{"key":"value"}}`,
		`{"event_type":"POST_UPDATE","event_resource_id":"","metadata":{}}`, `{"event_type":"POST_UPDATE","event_resource_id":null,"metadata":null}`,
		`{"event_type":"NEW_CHATBOT_MESSAGE","event_resource_id":"ignored","metadata":{"n":1.50,"big":12345678901234567890,"e":1E+2,"l":[null,[],{"a":{}}]}}`,
		`{"event_type":"USER_ACCESS_REVOCATION","metadata":{"سلام":"<&>\u0633\/","lone":"\ud800","nul":"\u0000"}}`,
		`{"event_type":"PAYMENT_TRANSACTION","metadata":{"k":1,"k":2}}`, `{"event_type":"PAYMENT_TRANSACTION","metadata":[]}`, `{"event_type":"PAYMENT_TRANSACTION","metadata":"x"}`,
		`{"event_type":"NEW_MESSAGE"}`, `{"event_type":5}`, `{"event_type":null}`, `{"event_type":"POST_UPDATE","event_resource_id":5}`,
		`{"event_type":"POST_UPDATE","event_resource_id":"no-such-post"}`, `{"event_type":"POST_UPDATE","event_resource_id":"\u0000"}`,
		`{"event_type":"POST_UPDATE","event_resource_id":"سلام"}`, `{"event_type":"POST_UPDATE","event_resource_id":"` + strings.Repeat("x", 65) + `"}`,
		`{"event_type":"POST_UPDATE","metadata":{"k":"` + strings.Repeat("x", 300) + `"}}`,
		`{"event_type":"POST_UPDATE","metadata":` + strings.Repeat(`{"a":`, 50) + `1` + strings.Repeat(`}`, 50) + `}`,
		`{"Event_Type":"POST_UPDATE"}`, `{"event_type":"POST_UPDATE","event_type":"NOPE"}`, `{"event_type":"POST_UPDATE","unknown":[1]}`,
	} {
		f.Add([]byte(seed))
	}
	shared := start(f)
	token := shared.token("seller", "CHAT_SUPPLIER_ALL_CONVERSATIONS_READ", "USER_POSTS_GET", "USER_ID", "NOTIFICATION_ACCESS_REVOCATION")
	f.Fuzz(func(t *testing.T, body []byte) {
		p := shared.with(t)
		got := p.subscribe(token, string(body))
		if got.status != 200 {
			got.contractError(t)
			return
		}
		if got.body != "{}" {
			t.Fatalf("answered %s, want {}", got.body)
		}
		var list struct {
			Subscriptions []struct {
				ID       string          `json:"id"`
				Type     string          `json:"event_type"`
				Resource *string         `json:"event_resource_id"`
				Metadata json.RawMessage `json:"metadata"`
			} `json:"subscriptions"`
		}
		p.app("GET", "/v1/open-platform/events/subscriptions", "", "").ok().into(&list)
		var given map[string]json.RawMessage
		if err := json.Unmarshal(body, &given); err != nil {
			t.Fatalf("accepted what is no JSON object: %v", err)
		}
		if twice(given) {
			return // spelled in two ways: either may count
		}
		for _, s := range list.Subscriptions {
			if quoted, err := json.Marshal(s.Type); err != nil || !sameJSON(quoted, given["event_type"]) || s.Resource != nil {
				continue // of another type, or narrowed to a post
			}
			if resource := string(given["event_resource_id"]); resource != "" && resource != "null" && resource != `""` && !strings.HasPrefix(s.Type, "NEW_CHATBOT") &&
				s.Type != "USER_ACCESS_REVOCATION" && s.Type != "PAYMENT_TRANSACTION" {
				return
			}
			if metadata := given["metadata"]; !sameJSON(s.Metadata, metadata) && (len(metadata) > 0 || string(s.Metadata) != "null") {
				t.Fatalf("registered with metadata %s, listed with %s", metadata, s.Metadata)
			}
			return
		}
	})
}

// twice says whether a field may be there in two spellings.
func twice(fields map[string]json.RawMessage) bool {
	for name := range fields {
		for _, known := range []string{"event_type", "event_resource_id", "metadata"} {
			if name != known && strings.EqualFold(name, known) {
				return true
			}
		}
	}
	return false
}

// sameJSON says whether two texts mean the same, down to the digits of numbers.
func sameJSON(a, b []byte) bool {
	decode := func(text []byte) (v any, err error) {
		dec := json.NewDecoder(bytes.NewReader(text))
		dec.UseNumber()
		err = dec.Decode(&v)
		return v, err
	}
	x, errX := decode(a)
	y, errY := decode(b)
	return errX == nil && errY == nil && reflect.DeepEqual(x, y)
}
