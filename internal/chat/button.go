package chat

import (
	"fmt"
	"slices"
	"unicode/utf8"

	"github.com/openkenar/openkenar/internal/status"
	"github.com/openkenar/openkenar/internal/wire"
)

// Limits of buttons (contract, section 4).
const (
	maxRows       = 3
	maxColumns    = 3
	maxCaption    = 200 // characters of a caption or an icon
	minTitle      = 5   // characters of a notification button's title
	maxTitle      = 50
	maxItems      = 10       // buttons of a notification
	maxActionData = 16 << 10 // bytes of JSON
)

// Data is what an app gets back when its button is clicked.
type Data struct {
	Data wire.Object `json:"data"`
}

// PostRef names a post.
type PostRef struct {
	Token string `json:"post_token"`
}

// Action is what a button does: exactly one of its fields.
type Action struct {
	DirectLink     string   `json:"open_direct_link,omitempty"`
	ServerLink     *Data    `json:"open_server_link,omitempty"`   // a session is initialized
	DynamicAction  *Data    `json:"get_dynamic_action,omitempty"` // the app says what happens
	PostPage       *PostRef `json:"open_post_page,omitempty"`
	PostManagePage *PostRef `json:"open_post_manage_page,omitempty"`
}

// Check refuses an action that is not exactly one, or one that cannot be
// carried out. Of clients that send every field they know, the empty ones
// beside a used one are dropped.
func (a *Action) Check(field string) error {
	pages := []**PostRef{&a.PostPage, &a.PostManagePage}
	used := a.DirectLink != "" || a.ServerLink != nil || a.DynamicAction != nil ||
		slices.ContainsFunc(pages, func(p **PostRef) bool { return *p != nil && (*p).Token != "" })
	for _, p := range pages {
		if used && *p != nil && (*p).Token == "" {
			*p = nil
		}
	}
	kinds := []struct {
		name  string
		given bool
		check func(field string) error
	}{
		{"open_direct_link", a.DirectLink != "", func(field string) error { return checkLink(field, a.DirectLink) }},
		{"open_server_link", a.ServerLink != nil, func(field string) error { return a.ServerLink.check(field) }},
		{"get_dynamic_action", a.DynamicAction != nil, func(field string) error { return a.DynamicAction.check(field) }},
		{"open_post_page", a.PostPage != nil, func(field string) error { return a.PostPage.check(field) }},
		{"open_post_manage_page", a.PostManagePage != nil, func(field string) error { return a.PostManagePage.check(field) }},
	}
	given := 0
	for _, k := range kinds {
		if !k.given {
			continue
		}
		given++
		if err := k.check(field + "." + k.name); err != nil {
			return err
		}
	}
	if given != 1 {
		return status.New(status.Invalid, "%s: %d actions, want exactly one of open_direct_link, open_server_link, "+
			"get_dynamic_action, open_post_page, open_post_manage_page", field, given)
	}
	return nil
}

func (d Data) check(field string) error {
	if len(d.Data) > maxActionData {
		return status.New(status.Invalid, "%s.data: %d bytes of JSON, want at most %d", field, len(d.Data), maxActionData)
	}
	return nil
}

func (p PostRef) check(field string) error { return wire.CheckID(field+".post_token", p.Token) }

// Button is a button of a message.
type Button struct {
	Action   Action `json:"action"`
	Caption  string `json:"caption"`
	Icon     string `json:"icon,omitempty"`
	IconName string `json:"icon_name,omitempty"` // the older name of Icon
}

func (b *Button) check(field string) error {
	if b.Caption == "" && b.Icon == "" && b.IconName == "" {
		return status.New(status.Invalid, "%s.caption: missing or empty, and there is no icon either", field)
	}
	return firstError(
		wire.MaxText(field+".caption", b.Caption, maxCaption),
		wire.MaxText(field+".icon", b.Icon, maxCaption),
		wire.MaxText(field+".icon_name", b.IconName, maxCaption),
		b.Action.Check(field+".action"),
	)
}

// Row is a row of buttons.
type Row struct {
	Buttons wire.List[Button] `json:"buttons"`
}

// Keyboard is the buttons below a message, for one of its readers.
type Keyboard struct {
	Rows wire.List[Row] `json:"rows"`
}

func (k *Keyboard) check(field string) error {
	if k == nil {
		return nil
	}
	if len(k.Rows) > maxRows {
		return status.New(status.Invalid, "%s.rows: %d rows, want at most %d", field, len(k.Rows), maxRows)
	}
	for i, row := range k.Rows {
		in := fmt.Sprintf("%s.rows[%d].buttons", field, i)
		if len(row.Buttons) > maxColumns {
			return status.New(status.Invalid, "%s: %d buttons, want at most %d", in, len(row.Buttons), maxColumns)
		}
		for j := range row.Buttons {
			if err := row.Buttons[j].check(fmt.Sprintf("%s[%d]", in, j)); err != nil {
				return err
			}
		}
	}
	return nil
}

// orNil is the keyboard; one without a button is as good as none.
func (k *Keyboard) orNil() *Keyboard {
	if k != nil {
		for _, row := range k.Rows {
			if len(row.Buttons) > 0 {
				return k
			}
		}
	}
	return nil
}

// action returns what the button at a place does, counted from 0.
func (k *Keyboard) action(row, column int) (Action, error) {
	if k == nil || row < 0 || row >= len(k.Rows) || column < 0 || column >= len(k.Rows[row].Buttons) {
		return Action{}, status.New(status.NotFound, "the user has no button in row %d, column %d of this message; both count from 0", row, column)
	}
	return k.Rows[row].Buttons[column].Action, nil
}

// Keyboards are the buttons of a message: in a conversation on a post for each
// side, in one with a bot for the user.
type Keyboards struct {
	Sender   *Keyboard `json:"sender_buttons,omitempty"`
	Receiver *Keyboard `json:"receiver_buttons,omitempty"`
	User     *Keyboard `json:"buttons,omitempty"`
}

// Item is a button of a notification.
type Item struct {
	Title  string `json:"title"`
	Action Action `json:"action"`
}

func (i *Item) check(field string) error {
	if n := utf8.RuneCountInString(i.Title); n < minTitle || n > maxTitle {
		return status.New(status.Invalid, "%s.title: %d characters, want %d to %d", field, n, minTitle, maxTitle)
	}
	return firstError(wire.MaxText(field+".title", i.Title, maxTitle), i.Action.Check(field+".action"))
}

// Items are the buttons of a notification.
type Items struct {
	Items wire.List[Item] `json:"items"`
}

func (l Items) check(field string) error {
	if len(l.Items) > maxItems {
		return status.New(status.Invalid, "%s.items: %d buttons, want at most %d", field, len(l.Items), maxItems)
	}
	for i := range l.Items {
		if err := l.Items[i].check(fmt.Sprintf("%s.items[%d]", field, i)); err != nil {
			return err
		}
	}
	return nil
}
