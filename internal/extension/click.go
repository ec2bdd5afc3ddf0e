package extension

import (
	"context"

	"github.com/openkenar/openkenar/internal/access"
	"github.com/openkenar/openkenar/internal/chat"
	"github.com/openkenar/openkenar/internal/market"
	"github.com/openkenar/openkenar/internal/wire"
)

// Clicker is who clicks a button, and where to go back to.
type Clicker struct {
	User      string `json:"user"`
	ReturnURL string `json:"return_url"`
}

func (c Clicker) check() error {
	if err := wire.CheckID("user", c.User); err != nil {
		return err
	}
	return checkReturn(c.ReturnURL)
}

// ClickMessage does what a button below a message says.
func (x *Extensions) ClickMessage(ctx context.Context, message string, row, column int, c Clicker) (Opened, error) {
	if err := c.check(); err != nil {
		return Opened{}, err
	}
	button, err := x.o.Chat.MessageButton(ctx, c.User, message, row, column)
	if err != nil {
		return Opened{}, err
	}
	return x.click(ctx, button, c, sourceMessage)
}

// ClickNotification does what a button of a notification says.
func (x *Extensions) ClickNotification(ctx context.Context, notification string, n int, c Clicker) (Opened, error) {
	if err := c.check(); err != nil {
		return Opened{}, err
	}
	button, err := x.o.Chat.NotificationButton(ctx, c.User, notification, n)
	if err != nil {
		return Opened{}, err
	}
	return x.click(ctx, button, c, sourceNotification)
}

func (x *Extensions) click(ctx context.Context, b chat.Click, c Clicker, source string) (Opened, error) {
	s := spot{Place: Place{Touchpoint: source, User: c.User, Conversation: b.Conversation, Post: b.Post}, side: b.Side}
	s.returnURL = x.returnURL(c.ReturnURL)
	if b.Action.ServerLink == nil && b.Action.DynamicAction == nil {
		return x.carryOut(ctx, access.App{}, s, b.Action) // no word of the app is needed
	}
	app, err := x.app(ctx, b.App)
	if err != nil {
		return Opened{}, err
	}
	if b.Action.DynamicAction == nil {
		return x.carryOut(ctx, app, s, b.Action)
	}
	a, err := x.act(ctx, app, s, b.Action.DynamicAction)
	if err != nil || a.action == nil {
		return Opened{Text: a.text}, err
	}
	opened, err := x.carryOut(ctx, app, s, *a.action)
	opened.Text = a.text
	return opened, err
}

// carryOut does what an action says; it is no dynamic one.
func (x *Extensions) carryOut(ctx context.Context, app access.App, s spot, a chat.Action) (Opened, error) {
	switch {
	case a.ServerLink != nil:
		url, err := x.initialize(ctx, app, s, a.ServerLink)
		return Opened{URL: url}, err
	case a.PostPage != nil:
		return x.postPage(ctx, a.PostPage.Token)
	case a.PostManagePage != nil:
		return x.postPage(ctx, a.PostManagePage.Token)
	default:
		return Opened{URL: a.DirectLink}, nil
	}
}

// postPage leads to a post that is still there.
func (x *Extensions) postPage(ctx context.Context, token string) (Opened, error) {
	there, err := x.isThere(ctx, token)
	if err == nil && !there {
		err = market.NoPost("post_token", token)
	}
	return Opened{Post: token}, err
}
