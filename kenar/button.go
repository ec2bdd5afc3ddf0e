package kenar

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"unicode/utf8"
)

// Limits of buttons.
const (
	maxRows       = 3
	maxColumns    = 3
	maxCaption    = 200 // characters of a caption or an icon
	minTitle      = 5   // characters of a notification button's title
	maxTitle      = 50
	maxItems      = 10       // buttons of a notification
	maxActionData = 16 << 10 // bytes of JSON
	maxDepth      = 5000     // of objects and lists in the data of an action
	longestID     = 64       // bytes of an identifier
	maxMessage    = 4096     // characters of a message
)

// Action is what a button does. Make one with OpenDirectLink, OpenServerLink,
// GetDynamicAction, OpenPostPage or OpenPostManagePage.
type Action struct {
	DirectLink     string      `json:"open_direct_link,omitempty"`
	ServerLink     *ActionData `json:"open_server_link,omitempty"`
	DynamicAction  *ActionData `json:"get_dynamic_action,omitempty"`
	PostPage       *ActionPost `json:"open_post_page,omitempty"`
	PostManagePage *ActionPost `json:"open_post_manage_page,omitempty"`
}

// ActionData is what an app gets back when its button is clicked.
type ActionData struct {
	Data json.RawMessage `json:"data"`

	err error // of making Data; Check returns it
}

// ActionPost names a post.
type ActionPost struct {
	PostToken string `json:"post_token"`
}

// OpenDirectLink is the action that opens a web page: an absolute http or https
// URL of at most 2,048 characters without a user name or password in it.
func OpenDirectLink(page string) Action { return Action{DirectLink: page} }

// OpenServerLink is the action that opens the app: the platform calls its
// session initialization URL with data, which must encode to a JSON object of
// at most 16 KiB. nil is {}.
func OpenServerLink(data any) Action { return Action{ServerLink: newActionData(data)} }

// GetDynamicAction is the action that asks the app what shall happen: the
// platform calls its dynamic action URL with data, which must encode to a JSON
// object of at most 16 KiB. nil is {}.
func GetDynamicAction(data any) Action { return Action{DynamicAction: newActionData(data)} }

// OpenPostPage is the action that opens a post.
func OpenPostPage(postToken string) Action { return Action{PostPage: &ActionPost{postToken}} }

// OpenPostManagePage is the action that opens the page on which a post's owner
// manages it.
func OpenPostManagePage(postToken string) Action {
	return Action{PostManagePage: &ActionPost{postToken}}
}

func newActionData(data any) *ActionData {
	raw, err := encode(data)
	if err == nil && string(raw) == "null" {
		raw = []byte("{}")
	}
	return &ActionData{Data: raw, err: err}
}

// Check refuses an action that a platform refuses: none or more than one, or
// one that cannot be carried out. The error names the field.
func (a Action) Check() error { return a.check("action") }

func (a Action) check(field string) error {
	// Of clients that send every field they know, platforms drop a page without
	// a post beside another action.
	used := a.DirectLink != "" || a.ServerLink != nil || a.DynamicAction != nil ||
		a.PostPage != nil && a.PostPage.PostToken != "" || a.PostManagePage != nil && a.PostManagePage.PostToken != ""
	isGiven := func(p *ActionPost) bool { return p != nil && (p.PostToken != "" || !used) }
	given := 0
	for _, kind := range []struct {
		name  string
		given bool
		check func(field string) error
	}{
		{"open_direct_link", a.DirectLink != "", func(field string) error {
			_, err := checkPage(a.DirectLink)
			return in(field, err)
		}},
		{"open_server_link", a.ServerLink != nil, func(field string) error { return a.ServerLink.check(field + ".data") }},
		{"get_dynamic_action", a.DynamicAction != nil, func(field string) error { return a.DynamicAction.check(field + ".data") }},
		{"open_post_page", isGiven(a.PostPage), func(field string) error { return checkID(field+".post_token", a.PostPage.PostToken) }},
		{"open_post_manage_page", isGiven(a.PostManagePage), func(field string) error {
			return checkID(field+".post_token", a.PostManagePage.PostToken)
		}},
	} {
		if !kind.given {
			continue
		}
		given++
		if err := kind.check(field + "." + kind.name); err != nil {
			return err
		}
	}
	if given != 1 {
		return fmt.Errorf("%s: %d actions, want exactly one of open_direct_link, open_server_link, "+
			"get_dynamic_action, open_post_page, open_post_manage_page", field, given)
	}
	return nil
}

func in(field string, err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("%s: %w", field, err)
}

func (d *ActionData) check(field string) error {
	switch {
	case d.err != nil:
		return in(field, d.err)
	case absent(d.Data):
		return nil
	}
	var compact bytes.Buffer
	if err := json.Compact(&compact, d.Data); err != nil {
		return in(field, err)
	}
	switch data := compact.Bytes(); {
	case data[0] != '{':
		return fmt.Errorf("%s: %s is not a JSON object", field, clip(data))
	case !utf8.Valid(data):
		return fmt.Errorf("%s: not UTF-8", field)
	case depth(data) > maxDepth:
		return fmt.Errorf("%s: nested deeper than %d levels", field, maxDepth)
	case len(data) > maxActionData:
		return fmt.Errorf("%s: %d bytes of JSON, want at most %d", field, len(data), maxActionData)
	}
	return nil
}

// depth is how deep valid JSON is nested.
func depth(data []byte) (deepest int) {
	level, quoted := 0, false
	for i := 0; i < len(data); i++ {
		switch data[i] {
		case '"':
			quoted = !quoted
		case '\\':
			i++
		case '{', '[':
			if !quoted {
				level++
				deepest = max(deepest, level)
			}
		case '}', ']':
			if !quoted {
				level--
			}
		}
	}
	return deepest
}

// Button is a button below a message.
type Button struct {
	Action  Action `json:"action"`
	Caption string `json:"caption"` // at most 200 characters
	Icon    string `json:"icon,omitempty"`
}

// NewButton returns a button without an icon.
func NewButton(caption string, a Action) Button { return Button{Caption: caption, Action: a} }

// WithIcon is the same button with an icon, as "HOME". The names of icons are
// the platform's; it takes any, of at most 200 characters.
func (b Button) WithIcon(icon string) Button {
	b.Icon = icon
	return b
}

// Check refuses a button that a platform refuses. The error names the field.
func (b Button) Check() error { return b.check("button") }

func (b Button) check(field string) error {
	if b.Caption == "" && b.Icon == "" {
		return fmt.Errorf("%s.caption: missing or empty, and there is no icon either", field)
	}
	if err := maxText(field+".caption", b.Caption, maxCaption); err != nil {
		return err
	}
	if err := maxText(field+".icon", b.Icon, maxCaption); err != nil {
		return err
	}
	return b.Action.check(field + ".action")
}

// Row is a row of buttons: at most three.
type Row struct {
	Buttons []Button `json:"buttons"`
}

// NewRow returns a row of buttons.
func NewRow(buttons ...Button) Row { return Row{Buttons: buttons} }

// Keyboard is the buttons below a message: at most three rows of three.
type Keyboard struct {
	Rows []Row `json:"rows"`
}

// NewKeyboard returns the buttons below a message, or says which of them a
// platform would refuse and why.
func NewKeyboard(rows ...Row) (*Keyboard, error) {
	k := &Keyboard{Rows: rows}
	if err := k.Check(); err != nil {
		return nil, fmt.Errorf("kenar: keyboard: %w", err)
	}
	return k, nil
}

// Grid is NewKeyboard with as many buttons in each row as there are columns,
// from 1 to 3. The last row may have fewer.
func Grid(columns int, buttons ...Button) (*Keyboard, error) {
	if columns < 1 || columns > maxColumns {
		return nil, fmt.Errorf("kenar: grid: %d columns, want 1 to %d", columns, maxColumns)
	}
	var rows []Row
	for row := range slices.Chunk(buttons, columns) {
		rows = append(rows, NewRow(row...))
	}
	return NewKeyboard(rows...)
}

// Check refuses what a platform refuses. The error names the field, as
// "rows[0].buttons[1].caption". No keyboard, and one without buttons, is well.
func (k *Keyboard) Check() error { return k.check("") }

// check is Check below a field, as "sender_buttons."; "" for none.
func (k *Keyboard) check(within string) error {
	if k == nil {
		return nil
	}
	if len(k.Rows) > maxRows {
		return fmt.Errorf("%srows: %d rows, want at most %d", within, len(k.Rows), maxRows)
	}
	for i, row := range k.Rows {
		in := fmt.Sprintf("%srows[%d].buttons", within, i)
		if len(row.Buttons) > maxColumns {
			return fmt.Errorf("%s: %d buttons, want at most %d", in, len(row.Buttons), maxColumns)
		}
		for j, b := range row.Buttons {
			if err := b.check(fmt.Sprintf("%s[%d]", in, j)); err != nil {
				return err
			}
		}
	}
	return nil
}

// NotificationButton is a button below a notification.
type NotificationButton struct {
	Title  string `json:"title"` // 5 to 50 characters
	Action Action `json:"action"`
}

// NewNotificationButton returns a button below a notification, with a title of 5
// to 50 characters.
func NewNotificationButton(title string, a Action) NotificationButton {
	return NotificationButton{Title: title, Action: a}
}

// Check refuses a button that a platform refuses. The error names the field.
func (b NotificationButton) Check() error { return b.check("item") }

func (b NotificationButton) check(field string) error {
	if n := utf8.RuneCountInString(b.Title); n < minTitle || n > maxTitle {
		return fmt.Errorf("%s.title: %d characters, want %d to %d", field, n, minTitle, maxTitle)
	}
	if err := maxText(field+".title", b.Title, maxTitle); err != nil {
		return err
	}
	return b.Action.check(field + ".action")
}

// NotificationButtons returns the buttons below a notification, at most ten, or
// says which of them a platform would refuse and why.
func NotificationButtons(buttons ...NotificationButton) ([]NotificationButton, error) {
	if err := checkItems("items", buttons); err != nil {
		return nil, fmt.Errorf("kenar: notification buttons: %w", err)
	}
	return buttons, nil
}

func checkItems(field string, items []NotificationButton) error {
	if len(items) > maxItems {
		return fmt.Errorf("%s: %d buttons, want at most %d", field, len(items), maxItems)
	}
	for i, b := range items {
		if err := b.check(fmt.Sprintf("%s[%d]", field, i)); err != nil {
			return err
		}
	}
	return nil
}

// maxText refuses a text longer than n characters (code points), and one that
// no platform can store.
func maxText(field, text string, n int) error {
	switch {
	case !utf8.ValidString(text):
		return fmt.Errorf("%s: not UTF-8", field)
	case strings.ContainsRune(text, 0):
		return fmt.Errorf("%s: holds a NUL character", field)
	}
	if got := utf8.RuneCountInString(text); got > n {
		return fmt.Errorf("%s: %d characters, want at most %d", field, got, n)
	}
	return nil
}

// checkID refuses an identifier that no platform has.
func checkID(field, id string) error {
	var problem error
	switch {
	case id == "":
		problem = errors.New("must not be empty")
	case id == "." || id == ".." || id == "/":
		problem = fmt.Errorf("%q cannot stand in a path", id)
	case len(id) > longestID:
		problem = fmt.Errorf("%d bytes, want at most %d", len(id), longestID)
	case strings.ContainsFunc(id, unprintable):
		problem = errors.New("holds what is not a printable ASCII character")
	}
	return in(field, problem)
}
