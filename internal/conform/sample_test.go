package conform

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/openkenar/openkenar/internal/event"
)

// TestSamplesAreThePlatforms: each sample has the fields, in the order, of one
// of the bodies that the platform was seen to send. What is free-form, or an
// app's or a person's own, may differ.
func TestSamplesAreThePlatforms(t *testing.T) {
	t.Parallel()
	real := map[string][]string{}
	for _, file := range []string{"new_message", "new_chatbot_message", "post_update", "transaction", "user_access_revocation", "calls"} {
		text, err := os.ReadFile(filepath.Join("..", "server", "testdata", file+".golden"))
		if err != nil {
			t.Fatal(err)
		}
		for line := range strings.Lines(string(text)) {
			if strings.HasPrefix(line, "{") {
				real[file] = append(real[file], shape(t, []byte(line)))
			}
		}
	}
	r, err := newRun(Options{EventURL: "http://127.0.0.1/", IdentificationKey: "k"})
	if err != nil {
		t.Fatal(err)
	}
	known := func(file, what string, body []byte) {
		if got := shape(t, body); !slices.Contains(real[file], got) {
			t.Errorf("%s is not what the platform sends:\n%s\n%s", what, body, got)
		}
	}
	files := map[event.Type]string{
		event.NewMessageOnPost: "new_message", event.NewChatbotMessage: "new_chatbot_message", event.PostUpdate: "post_update",
		event.PaymentTransaction: "transaction", event.UserAccessRevocation: "user_access_revocation",
	}
	for _, typ := range event.Types() {
		if len(payloads[typ]) == 0 {
			t.Errorf("there is no sample of %s", typ)
		}
		for _, payload := range payloads[typ] {
			known(files[typ], string(typ), r.of(typ, payload).body)
		}
	}
	for _, k := range kinds {
		for _, c := range contents {
			known(files[k.event], c.typ, r.of(k.event, swap(k.payload, `"TEXT"`, `"`+c.typ+`"`, `"text":$text`, c.field)).body)
		}
	}
	for _, body := range []string{sessionBody, sessionNulls, actionBody, actionNulls} {
		known("calls", "a call", r.callBody(body))
	}
	r.o.Metadata = []byte(`{"much":"` + strings.Repeat("x", event.MaxMetadata-len(`{"much":""}`)) + `"}`)
	for _, size := range []int{dripped, largest, huge} {
		if body := r.padded(size).body; !json.Valid(body) || len(body) != size {
			t.Errorf("a body of %d bytes has %d, or is no JSON", size, len(body))
		}
	}
}

// shape is the names in a JSON text, in their order; of what is free-form only
// that it is there, and of metadata nothing.
func shape(t *testing.T, text []byte) string {
	t.Helper()
	var b strings.Builder
	var walk func(text json.RawMessage)
	walk = func(text json.RawMessage) {
		dec := json.NewDecoder(bytes.NewReader(text))
		if first, err := dec.Token(); err != nil || first != json.Delim('{') {
			b.WriteByte('1')
			return
		}
		b.WriteByte('{')
		for dec.More() {
			name, err := dec.Token()
			var value json.RawMessage
			if err == nil {
				err = dec.Decode(&value)
			}
			if err != nil {
				t.Fatalf("%v in %s", err, text)
			}
			switch name {
			case "metadata":
			case "data", "extra_details", "extra_data", "provider_data":
				b.WriteString(name.(string) + " ")
			default:
				b.WriteString(name.(string) + ":")
				walk(value)
			}
		}
		b.WriteByte('}')
	}
	walk(text)
	return b.String()
}

// FuzzAnswer: whatever an app answers to a call is judged, and what is judged
// well can be used.
func FuzzAnswer(f *testing.F) {
	for _, answer := range []string{
		`{"url":"https://app.example.com/"}`, `{"url":null}`, `{"text_message":"yes"}`, `{"action":{"open_direct_link":"https://a.example/"}}`,
		`{"action":{"open_post_page":{"post_token":"p"}},"text_message":null}`, `{"action":[]}`, `[]`, ``, "\xff",
	} {
		f.Add([]byte(answer))
	}
	f.Fuzz(func(t *testing.T, answer []byte) {
		if sessionProblem(answer) == "" {
			var in struct{ URL string }
			if err := json.Unmarshal(answer, &in); err != nil || in.URL == "" {
				t.Errorf("%q has no url: %v", answer, err)
			}
		}
		if actionProblem(answer) == "" {
			var in struct {
				Action any
				Text   string `json:"text_message"`
			}
			if err := json.Unmarshal(answer, &in); err != nil || in.Action == nil && in.Text == "" {
				t.Errorf("%q has nothing in it: %v", answer, err)
			}
		}
	})
}
