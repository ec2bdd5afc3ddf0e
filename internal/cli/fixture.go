package cli

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"

	"github.com/openkenar/openkenar/internal/event"
)

// fixture is something that can happen, as the marketplace would tell it.
type fixture struct {
	name   string
	what   string
	typ    event.Type
	method string
	path   []string // of the host API, behind /host/v1
	body   string   // JSON; "" for none
	once   bool     // a second time it would not happen
	effect string   // what stays behind, in words; "" where that is only one more of its kind
}

// Names of the world stand in braces in paths and bodies: what there is to name
// in a demo world, and {n}, another one each time.
const (
	namePost         = "{post}"
	nameConversation = "{conversation}"
	nameBot          = "{bot}"
	nameUser         = "{user}"
	nameApp          = "{app}"
	nameNew          = "{n}"
)

// fixtures are all there are, in the order of the list.
func fixtures() []fixture {
	var list []fixture
	messages := []struct{ typ, what, content string }{
		{"TEXT", "a text", `"text":"Hello! Is it still there?"`},
		{"IMAGE", "a picture", `"image_data":{"link":"https://example.com/picture.jpg","size_bytes":204800,"height_px":600,"width_px":800}`},
		{"FILE", "a file", `"file_data":{"link":"https://example.com/contract.pdf","name":"contract.pdf","size_bytes":81920}`},
		{"VOICE", "a voice message", `"voice_data":{"link":"https://example.com/voice.m4a","size_bytes":40960}`},
		{"LOCATION", "a place", `"location_data":{"latitude":35.6892,"longitude":51.389}`},
		{"VIDEO", "a video", `"video_data":{"link":"https://example.com/video.mp4","thumbnail_link":"https://example.com/video.jpg","size_bytes":1048576}`},
		{"CONTACT", "a contact", `"contact_data":{"name":"Sara","phone":"09120000003"}`},
	}
	say := func(typ event.Type, to, conversation, sender string) {
		for i, m := range messages {
			name := string(typ)
			if i > 0 {
				name += "." + m.typ
			}
			list = append(list, fixture{
				name: name, what: to + " " + m.what, typ: typ, method: http.MethodPost, path: []string{"conversations", conversation, "messages"},
				body: `{"sender":"` + sender + `","type":"` + m.typ + `",` + m.content + `}`,
			})
		}
	}
	say(event.NewMessageOnPost, "the buyer sends", nameConversation, "BUYER")
	say(event.NewChatbotMessage, "the user sends the app's bot", nameBot, "USER")
	post := func(ending, what, state, title, effect string) {
		list = append(list, fixture{
			name: string(event.PostUpdate) + ending, what: what, typ: event.PostUpdate, method: http.MethodPut, path: []string{"posts", namePost},
			body: `{"owner":"` + nameUser + `","title":"` + title + `","state":"` + state + `","category":"bicycle","city":"tehran","district":"velenjak",` +
				`"chat_enabled":true,"is_phone_hidden":false,"supplier_chat_assistant_enabled":true,"first_published_at":"2026-01-01T08:00:00Z",` +
				`"data":{"title":"` + title + `","price":85000000,"change":"` + nameNew + `"}}`,
			effect: effect,
		})
	}
	const back = "; openkenar trigger POST_UPDATE publishes it again"
	post("", "the post is published, or changed while it is", "PUBLISHED", "دوچرخه شهری", "")
	post(".EDIT", "the published post is changed", "PUBLISHED", "دوچرخه شهری، تخفیف خورده", "")
	post(".ONGOING", "the post goes back to review", "REVIEW_REQ", "دوچرخه شهری", "the post waits for review now"+back)
	post(".RETIRE", "the post is retired", "RETIRED", "دوچرخه شهری", "the post is retired now"+back)
	post(".ARCHIVE", "the post is archived", "ARCHIVED", "دوچرخه شهری", "the post is archived now, and gone for apps"+back)
	for i, t := range []struct{ state, what string }{
		{"PENDING", "a payment begins"}, {"COMPLETED", "a payment is completed"}, {"FAILED", "a payment fails"}, {"REFUNDED", "a payment is refunded"},
	} {
		name := string(event.PaymentTransaction)
		if i > 0 {
			name += "." + t.state
		}
		list = append(list, fixture{
			name: name, what: t.what, typ: event.PaymentTransaction, method: http.MethodPut, path: []string{"transactions", "trigger-" + nameNew},
			body: `{"app":"` + nameApp + `","state":"` + t.state + `","type":"REORDER","cost_rials":100000,"extra_details":{"order":"` + nameNew + `"}}`,
		})
	}
	return append(list, fixture{
		name: string(event.UserAccessRevocation), what: "the user takes the app's access away", typ: event.UserAccessRevocation,
		method: http.MethodDelete, path: []string{"users", nameUser, "grants", nameApp}, once: true,
		effect: "the user's tokens and subscriptions at the app are dead; the app asks for access again, or, in dev mode, a restart makes new tokens",
	})
}

// findFixture returns the one that is meant.
func findFixture(name string) (fixture, error) {
	list := fixtures()
	names := make([]string, len(list))
	for i, f := range list {
		if strings.EqualFold(f.name, name) {
			return f, nil
		}
		names[i] = f.name
	}
	return fixture{}, fmt.Errorf("%q is nothing that can be triggered; did you mean %s? openkenar trigger --list tells all", plain(name), nearest(strings.ToUpper(name), names))
}

// with returns a fixture whose body has other values: each is "PATH=VALUE".
func (f fixture) with(settings []string) (fixture, error) {
	if len(settings) == 0 {
		return f, nil
	}
	if f.body == "" {
		return f, fmt.Errorf("--set: %s has no body", f.name)
	}
	var body any
	dec := json.NewDecoder(strings.NewReader(f.body))
	dec.UseNumber()
	if err := dec.Decode(&body); err != nil {
		return f, err
	}
	for _, s := range settings {
		path, value, ok := strings.Cut(s, "=")
		if !ok || path == "" {
			return f, fmt.Errorf("--set: %q; write PATH=VALUE", plain(s))
		}
		if err := set(body, path, value); err != nil {
			return f, fmt.Errorf("--set: %w", err)
		}
	}
	var out bytes.Buffer
	enc := json.NewEncoder(&out)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(body); err != nil {
		return f, err
	}
	f.body = strings.TrimSpace(out.String())
	return f, nil
}

// freeForm are the fields in which anything may be set.
var freeForm = []string{"data", "extra_details"}

// errNoPath says that there is nothing at a path.
var errNoPath = errors.New("there is no such path")

// set changes the value at a dotted path. What was a text stays one, unless the
// value is null.
func set(body any, path, value string) error {
	at, free := body, false
	names := strings.Split(path, ".")
	for i, name := range names {
		object, ok := at.(map[string]any)
		if !ok {
			return noPath(body, path)
		}
		old, there := object[name]
		if !there && !free || name == "" {
			return noPath(body, path)
		}
		if i == len(names)-1 {
			object[name] = valueOf(value, old)
			return nil
		}
		if free = free || slices.Contains(freeForm, name); free && !there {
			old = map[string]any{}
			object[name] = old
		}
		at = old
	}
	return nil
}

func valueOf(text string, old any) any {
	_, wasText := old.(string)
	dec := json.NewDecoder(strings.NewReader(text))
	dec.UseNumber()
	var v any
	if err := dec.Decode(&v); err != nil || dec.More() {
		return text
	}
	if _, isText := v.(string); wasText && !isText && v != nil {
		return text
	}
	return v
}

// noPath names the paths that were probably meant.
func noPath(body any, path string) error {
	all := paths(body, "")
	slices.SortFunc(all, func(a, b string) int { return distance(a, path) - distance(b, path) })
	return fmt.Errorf("%q: %w; near are %s", plain(path), errNoPath, strings.Join(all[:min(3, len(all))], ", "))
}

// paths are all that a body has.
func paths(v any, before string) (list []string) {
	object, _ := v.(map[string]any)
	for name, inner := range object {
		list = append(list, before+name)
		list = append(list, paths(inner, before+name+".")...)
	}
	slices.Sort(list)
	return list
}

// in puts the names of a world into a text; n tells one time from another.
func (w triggerWorld) in(text, n string) (string, error) {
	for _, name := range []struct{ mark, value, flag string }{
		{namePost, w.Post, "--post"},
		{nameConversation, w.Conversation, "--conversation"},
		{nameBot, w.BotConversation, "--bot-conversation"},
		{nameUser, w.User, "--user"},
		{nameApp, w.App, "--app"},
		{nameNew, n, ""},
	} {
		if !strings.Contains(text, name.mark) {
			continue
		}
		if name.value == "" {
			return "", fmt.Errorf("%s is needed: outside dev mode nothing says which is meant", name.flag)
		}
		quoted := strconv.Quote(name.value) // ids are printable ASCII
		text = strings.ReplaceAll(text, name.mark, quoted[1:len(quoted)-1])
	}
	return text, nil
}
