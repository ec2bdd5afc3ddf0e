package kenar_test

import (
	"encoding/json"
	"math"
	"net/http"
	"regexp"
	"strings"
	"testing"

	"github.com/openkenar/openkenar/kenar"
)

var (
	link = kenar.OpenDirectLink("https://app.example/")
	yes  = kenar.NewButton("Yes", link)
)

// dataOf is the data of an action that has n bytes.
func dataOf(n int) map[string]string {
	return map[string]string{"x": strings.Repeat("x", n-len(`{"x":""}`))}
}

func nested(levels int) json.RawMessage {
	return json.RawMessage(strings.Repeat(`{"a":`, levels-1) + "{}" + strings.Repeat("}", levels-1))
}

// actions are what a button may do; says is the part of an error that is the
// same here and on the platform, "" where there is none.
var actions = []struct {
	name   string
	action kenar.Action
	says   string
}{
	{"link", link, ""},
	{"link over http", kenar.OpenDirectLink("http://app.example/"), ""},
	{"link of 2,048 characters", kenar.OpenDirectLink("https://app.example/" + strings.Repeat("x", 2048-20)), ""},
	{"link of 2,049 characters", kenar.OpenDirectLink("https://app.example/" + strings.Repeat("x", 2049-20)), ".action.open_direct_link: 2049 characters, want at most 2048"},
	{"link to nowhere", kenar.OpenDirectLink("/here"), ".action.open_direct_link: not an absolute https URL"},
	{"link that is a script", kenar.OpenDirectLink("javascript:alert(1)"), ".action.open_direct_link: not an absolute https URL"},
	{"link with a password", kenar.OpenDirectLink("https://a:b@app.example/"), ".action.open_direct_link: a user name or password in a URL is not allowed"},
	{"link with a space", kenar.OpenDirectLink("https://app.example/a b"), ".action.open_direct_link: not a URL"},
	{"link to a strange host", kenar.OpenDirectLink("https://a*b/"), ".action.open_direct_link: its host is not one"},
	{"no link", kenar.OpenDirectLink(""), ".action: 0 actions, want exactly one of"},
	{"session", kenar.OpenServerLink(map[string]any{"a": nil, "b": "<&>"}), ""},
	{"session without data", kenar.OpenServerLink(nil), ""},
	{"session with no data at all", kenar.Action{ServerLink: &kenar.ActionData{}}, ""},
	{"session with the most data", kenar.OpenServerLink(dataOf(16 << 10)), ""},
	{"session with the most data, of which each byte counts", kenar.OpenServerLink(map[string]string{"x": strings.Repeat("<", 16<<10-8)}), ""},
	{"session with white space", kenar.OpenServerLink(json.RawMessage(`{"a": 1` + strings.Repeat(" ", 16<<10) + `}`)), ""},
	{"session with too much data", kenar.OpenServerLink(dataOf(16<<10 + 1)), ".action.open_server_link.data: 16385 bytes of JSON, want at most 16384"},
	{"session with deep data", kenar.OpenServerLink(json.RawMessage(`{"a":"[{\"[[","b":` + string(nested(2000)) + `}`)), ""},
	{"session with a list", kenar.OpenServerLink([]int{1}), ".action.open_server_link.data: "},
	{"session with a text", kenar.OpenServerLink("x"), ".action.open_server_link.data: "},
	{"click", kenar.GetDynamicAction(struct {
		Cell int `json:"cell"`
	}{4}), ""},
	{"click with too much data", kenar.GetDynamicAction(dataOf(17 << 10)), ".action.get_dynamic_action.data: 17408 bytes of JSON, want at most 16384"},
	{"post", kenar.OpenPostPage("gZd7omnS"), ""},
	{"post of 64 bytes", kenar.OpenPostPage(strings.Repeat("x", 64)), ""},
	{"post of 65 bytes", kenar.OpenPostPage(strings.Repeat("x", 65)), ".action.open_post_page.post_token: 65 bytes, want at most 64"},
	{"no post", kenar.OpenPostPage(""), ".action.open_post_page.post_token: must not be empty"},
	{"post of a dot", kenar.OpenPostPage("."), `.action.open_post_page.post_token: "." cannot stand in a path`},
	{"post with a space", kenar.OpenPostPage("a b"), ".action.open_post_page.post_token: "},
	{"post in another script", kenar.OpenPostManagePage("دوچرخه"), ".action.open_post_manage_page.post_token: "},
	{"post to manage", kenar.OpenPostManagePage("gZd7omnS"), ""},
	{"nothing", kenar.Action{}, ".action: 0 actions, want exactly one of"},
	{"two", kenar.Action{DirectLink: "https://app.example/", PostPage: &kenar.ActionPost{PostToken: "p"}}, ".action: 2 actions, want exactly one of"},
	{"two, of which one is wrong", kenar.Action{DirectLink: "x", PostPage: &kenar.ActionPost{PostToken: "p"}}, ".action.open_direct_link: "},
	{"one, and an empty page", kenar.Action{DirectLink: "https://app.example/", PostPage: &kenar.ActionPost{}, PostManagePage: &kenar.ActionPost{}}, ""},
	{"two empty pages", kenar.Action{PostPage: &kenar.ActionPost{}, PostManagePage: &kenar.ActionPost{}}, ".action.open_post_page.post_token: must not be empty"},
}

// TestButtonsOnPlatform: this package and the platform take and refuse the same,
// in the same words.
func TestButtonsOnPlatform(t *testing.T) {
	t.Parallel()
	p := startPlatform(t)
	agree := func(name string, ours error, status int, answer []byte, says string) {
		t.Helper()
		var refusal struct{ Message string }
		if err := json.Unmarshal(answer, &refusal); err != nil {
			t.Errorf("%s: %v in %s", name, err, answer)
		}
		// What it cannot read as what it should be, it names without its place.
		placeless := regexp.MustCompile(`\[\d\]`).ReplaceAllString(says, "")
		if (status == http.StatusOK) != (says == "") || !strings.Contains(refusal.Message, says) && !strings.Contains(refusal.Message, placeless) {
			t.Errorf("%s: the platform says %d %.200s, want %q", name, status, refusal.Message, says)
		}
		if (ours == nil) != (says == "") || ours != nil && !strings.Contains(ours.Error(), says) {
			t.Errorf("%s: this package says %v, want %q", name, ours, says)
		}
	}
	keyboard := func(name string, k *kenar.Keyboard, says string) {
		t.Helper()
		status, answer := p.say(k)
		agree(name, k.Check(), status, answer, says)
	}
	row := func(n int) kenar.Row {
		var all []kenar.Button
		for range n {
			all = append(all, yes)
		}
		return kenar.NewRow(all...)
	}
	keyboard("nothing", nil, "")
	keyboard("no rows", &kenar.Keyboard{}, "")
	keyboard("an empty row", &kenar.Keyboard{Rows: []kenar.Row{row(0)}}, "")
	keyboard("nine", &kenar.Keyboard{Rows: []kenar.Row{row(3), row(3), row(3)}}, "")
	keyboard("four rows", &kenar.Keyboard{Rows: []kenar.Row{row(1), row(1), row(1), row(1)}}, "rows: 4 rows, want at most 3")
	keyboard("four columns", &kenar.Keyboard{Rows: []kenar.Row{row(1), row(4)}}, "rows[1].buttons: 4 buttons, want at most 3")
	for _, b := range []struct {
		name   string
		button kenar.Button
		says   string
	}{
		{"a caption of 200 characters", kenar.NewButton(strings.Repeat("ی", 200), link), ""},
		{"a caption of 201 characters", kenar.NewButton(strings.Repeat("ی", 201), link), ".caption: 201 characters, want at most 200"},
		{"a caption with a NUL", kenar.NewButton("a\x00b", link), ".caption: holds a NUL character"},
		{"no caption", kenar.NewButton("", link), ".caption: missing or empty, and there is no icon either"},
		{"an icon alone", kenar.NewButton("", link).WithIcon("HOME"), ""},
		{"an icon of 201 characters", yes.WithIcon(strings.Repeat("x", 201)), ".icon: 201 characters, want at most 200"},
	} {
		says := b.says
		if says != "" {
			says = "rows[0].buttons[1]" + says
		}
		keyboard(b.name, &kenar.Keyboard{Rows: []kenar.Row{kenar.NewRow(yes, b.button)}}, says)
	}
	items := func(name string, all []kenar.NotificationButton, says string) {
		t.Helper()
		status, answer := p.notify(all)
		_, err := kenar.NotificationButtons(all...)
		agree(name, err, status, answer, says)
	}
	for _, a := range actions {
		says, item := a.says, a.says
		if says != "" {
			says, item = "rows[0].buttons[0]"+says, "items[1]"+says
		}
		keyboard(a.name, &kenar.Keyboard{Rows: []kenar.Row{kenar.NewRow(kenar.NewButton("Yes", a.action))}}, says)
		items(a.name+", in a notification", []kenar.NotificationButton{kenar.NewNotificationButton("Write", link), kenar.NewNotificationButton("Write", a.action)}, item)
	}
	many := make([]kenar.NotificationButton, 11)
	for i := range many {
		many[i] = kenar.NewNotificationButton("Write", link)
	}
	items("no buttons", nil, "")
	items("ten buttons", many[:10], "")
	items("eleven buttons", many, "items: 11 buttons, want at most 10")
	for title, says := range map[string]string{
		"Writ": "items[0].title: 4 characters, want 5 to 50", "": "items[0].title: 0 characters, want 5 to 50", "نوشتن": "",
		strings.Repeat("ی", 50): "", strings.Repeat("ی", 51): "items[0].title: 51 characters, want 5 to 50", "Wri\x00te": "items[0].title: holds a NUL character",
	} {
		items("a title of "+title, []kenar.NotificationButton{kenar.NewNotificationButton(title, link)}, says)
	}
}

// TestButtonsThatCannotBeSent: what does not become JSON is refused before a
// platform could.
func TestButtonsThatCannotBeSent(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		action kenar.Action
		says   string
	}{
		{kenar.OpenServerLink(math.Inf(1)), "action.open_server_link.data: json: unsupported value"},
		{kenar.GetDynamicAction(map[string]any{"f": func() {}}), "action.get_dynamic_action.data: json: unsupported type"},
		{kenar.Action{ServerLink: &kenar.ActionData{Data: json.RawMessage(`{"a":`)}}, "action.open_server_link.data: unexpected end of JSON input"},
		{kenar.Action{ServerLink: &kenar.ActionData{Data: json.RawMessage("{\"a\":\"\xff\"}")}}, "action.open_server_link.data: not UTF-8"},
		{kenar.OpenServerLink(nested(5001)), "action.open_server_link.data: nested deeper than 5000 levels"},
	} {
		if err := test.action.Check(); err == nil || !strings.HasPrefix(err.Error(), test.says) {
			t.Errorf("%v, want %q", err, test.says)
		}
	}
	if err := kenar.NewButton("\xff", link).Check(); err == nil || err.Error() != "button.caption: not UTF-8" {
		t.Error(err)
	}
	if err := kenar.NewNotificationButton("x", link).Check(); err == nil || err.Error() != "item.title: 1 characters, want 5 to 50" {
		t.Error(err)
	}
}

func TestGrid(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		columns, buttons int
		rows             []int
		says             string
	}{
		{3, 9, []int{3, 3, 3}, ""},
		{2, 5, []int{2, 2, 1}, ""},
		{1, 3, []int{1, 1, 1}, ""},
		{3, 0, nil, ""},
		{0, 1, nil, "kenar: grid: 0 columns, want 1 to 3"},
		{4, 1, nil, "kenar: grid: 4 columns, want 1 to 3"},
		{3, 10, nil, "kenar: keyboard: rows: 4 rows, want at most 3"},
		{1, 4, nil, "kenar: keyboard: rows: 4 rows, want at most 3"},
	} {
		var all []kenar.Button
		for range test.buttons {
			all = append(all, yes)
		}
		k, err := kenar.Grid(test.columns, all...)
		if test.says != "" {
			if k != nil || err == nil || err.Error() != test.says {
				t.Errorf("%+v: %v", test, err)
			}
			continue
		}
		if err != nil || len(k.Rows) != len(test.rows) {
			t.Errorf("%+v: %+v %v", test, k, err)
			continue
		}
		for i, row := range k.Rows {
			if len(row.Buttons) != test.rows[i] {
				t.Errorf("%+v: row %d has %d", test, i, len(row.Buttons))
			}
		}
	}
}
