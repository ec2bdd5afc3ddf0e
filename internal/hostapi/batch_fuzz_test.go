package hostapi

import (
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/openkenar/openkenar/internal/access"
	"github.com/openkenar/openkenar/internal/api"
	"github.com/openkenar/openkenar/internal/chat"
	"github.com/openkenar/openkenar/internal/market"
	"github.com/openkenar/openkenar/internal/status"
	"github.com/openkenar/openkenar/internal/wire"
)

// errReached is what a ledger says that no write should get past.
var errReached = errors.New("the ledger was reached")

// doorstep is a ledger that notes the first thing it is asked for and refuses.
type doorstep struct {
	chat.Tx  // nil: any other call panics, and fails the fuzzing
	asked    string
	question string
}

func (d *doorstep) ask(what, id string) error {
	d.question, d.asked = what, id
	return errReached
}

func (d *doorstep) User(id string) (u market.User, ok bool, err error) {
	return u, false, d.ask("user", id)
}

func (d *doorstep) Post(token string) (p market.Post, ok bool, err error) {
	return p, false, d.ask("post", token)
}

func (d *doorstep) Conversation(id string) (c chat.Conversation, ok bool, err error) {
	return c, false, d.ask("conversation", id)
}

func (d *doorstep) App(slug string) (a access.App, ok bool, err error) {
	return a, false, d.ask("app", slug)
}

// FuzzParseLine: a line is refused in words for its sender, or becomes a write
// that itself refuses or asks the ledger; nothing else.
func FuzzParseLine(f *testing.F) {
	for _, seed := range []string{
		``, `{}`, `null`, `[]`, `"x"`, `5`, `{`, "\xff\xfe", `{"user":null}`, `{"user":{}}`, `{"user":5}`, `{"nobody":{}}`,
		`{"user":{"id":"u","phone":"09120000001"}}`, `{"user":{"id":"سلام"}}`, `{"user":{"id":"a/b+c="},"post":{}}`,
		`{"post":{"token":"t","owner":"u","title":"x","state":"PUBLISHED","category":"c","city":"tehran","district":"d","chat_enabled":true,"is_phone_hidden":false,"supplier_chat_assistant_enabled":true,"first_published_at":"2024-10-20T13:12:06Z","data":{"k":[1.50,null]}}}`,
		`{"post":{"token":"t","owner":"u","state":"GONE"}}`, `{"post":{"token":"t","owner":"u","state":"RETIRED","data":[]}}`,
		`{"conversation":{"id":"c","type":"POST","post_token":"t","buyer":"b"}}`, `{"conversation":{"id":"c","type":"BOT","app":"a","user":"u"}}`,
		`{"conversation":{"id":"c","type":"BOT","app":"a","user":"u","buyer":"b"}}`,
		`{"message":{"conversation":"c","sender":"BUYER","text":"hi","id":"m","sent_at":"2024-10-20T13:12:06Z"}}`,
		`{"message":{"conversation":"\u0000","sender":"BUYER","text":"hi"}}`, `{"message":{"conversation":"c","sender":"BUYER","type":"IMAGE","image_data":{"link":"https://x/y"}}}`,
		`{"message":{"conversation":"c","sender":"USER","type":"LOCATION","location_data":{"latitude":35.7,"longitude":51.4}}}`,
		`{"message":{"conversation":"c","sender":"BUYER","type":"VIDEO","video_data":null}}`,
		`{"message":{"conversation":"c","sender":"SELLER","type":"CONTACT","contact_data":{"name":"n","phone":"1"}}}`,
		`{"transaction":{"id":"x","app":"a","state":"PENDING","type":"REORDER","cost_rials":100000,"extra_details":{}}}`,
		`{"transaction":{"id":"x","app":"a","state":"PENDING","cost_rials":-1}}`, `{"transaction":{"id":"x","app":"a","state":"PENDING","cost_rials":1.5}}`,
		`{"message":` + strings.Repeat(`{"a":`, 20_000) + `1` + strings.Repeat(`}`, 20_000) + `}`,
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, line []byte) {
		w, err := parseLine(line)
		if err != nil {
			if w.Message != nil || w.Other != nil {
				t.Fatal("refused, and yet there is a write")
			}
			shown(t, err)
			return
		}
		if (w.Message == nil) == (w.Other == nil) {
			t.Fatal("neither a write nor an error, or two writes")
		}
		if n, clear := operations(line); clear && n != 1 {
			t.Fatalf("accepted a line with %d operations", n)
		}
		var ledger doorstep
		change, err := carryOut(w, &ledger)
		if err == nil || change != market.Unchanged {
			t.Fatalf("the write was done: %v, %v", change, err)
		}
		if !errors.Is(err, errReached) {
			shown(t, err)
			if ledger.question != "" {
				t.Fatalf("asked for the %s and then refused with %v", ledger.question, err)
			}
			return
		}
		if wire.CheckID("id", ledger.asked) != nil {
			t.Fatalf("the ledger was asked for the %s %q, which no id can be", ledger.question, ledger.asked)
		}
	})
}

// carryOut does what a line says.
func carryOut(w chat.Write, tx chat.Tx) (market.Change, error) {
	now := time.Unix(1_729_429_926, 0)
	if w.Message != nil {
		r := chat.PutMessages(tx, []chat.NewMessage{*w.Message}, now)[0]
		return r.Change, r.Err
	}
	return w.Other(tx, now)
}

// shown fails the test unless err is one that a caller may be shown.
func shown(t *testing.T, err error) {
	t.Helper()
	if kind := status.KindOf(err); kind != status.Invalid && kind != status.TooLarge {
		t.Fatalf("refused with kind %d: %v", kind, err)
	}
	if message := status.Of(err).Message; message == "" || !utf8.ValidString(message) {
		t.Fatalf("message %q", message)
	}
}

// operations counts the operations of a line by other means; clear is false
// when one is named in two spellings.
func operations(line []byte) (n int, clear bool) {
	var fields map[string]json.RawMessage
	if err := json.Unmarshal(line, &fields); err != nil {
		return 0, true
	}
	for _, operation := range []string{"user", "post", "conversation", "message", "transaction"} {
		spellings := 0
		for name, value := range fields {
			if !strings.EqualFold(name, operation) {
				continue
			}
			spellings++
			if string(value) != "null" {
				n++
			}
		}
		if spellings > 1 {
			return 0, false
		}
	}
	return n, true
}

// TestMessageNamesItsConversation: what no id can be is an invalid field, not a
// conversation that is not there.
func TestMessageNamesItsConversation(t *testing.T) {
	t.Parallel()
	for _, id := range []string{``, `سلام`, `\u0000`, `a b`, strings.Repeat("x", wire.MaxID+1)} {
		w, err := parseLine([]byte(`{"message":{"conversation":"` + id + `","sender":"BUYER","text":"hi"}}`))
		if err == nil {
			_, err = carryOut(w, &doorstep{})
		}
		if status.KindOf(err) != status.Invalid || !strings.Contains(status.Of(err).Message, "conversation") {
			t.Errorf("conversation %q: %v, want Invalid that names the field", id, err)
		}
	}
}

func TestLineHasALimit(t *testing.T) {
	t.Parallel()
	w, err := parseLine([]byte(`{"user":{"id":"` + strings.Repeat("x", api.MaxBody) + `"}}`))
	if w.Other != nil || status.KindOf(err) != status.TooLarge {
		t.Errorf("a line over the limit: %v", err)
	}
}
