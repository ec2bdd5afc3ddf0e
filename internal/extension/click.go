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

func (x *Extensions) check(c Clicker) error {
	if err := wire.CheckID("user", c.User); err != nil {
		return err
	}
	return x.checkReturn(c.ReturnURL)
}

// ClickMessage does what a button below a message says.
func (x *Extensions) ClickMessage(ctx context.Context, message string, row, column int, c Clicker) (Opened, error) {
	if err := x.check(c); err != nil {
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
	if err := x.check(c); err != nil {
		return Opened{}, err
	}
	button, err := x.o.Chat.NotificationButton(ctx, c.User, notification, n)
	if err != nil {
		return Opened{}, err
	}
	return x.click(ctx, button, c, sourceNotification)
}

func (x *Extensions) click(ctx context.Context, b chat.Click, c Clicker, source string) (Opened, error) {
	s := situation{source: source, user: c.User, returnURL: c.ReturnURL, post: b.Post, side: b.Side}
	if b.Conversation != nil {
		s.conversation = b.Conversation.ID
	} else if b.Post != "" {
		s.side = chat.Seller // a notification on a post goes to its owner
	}
	if b.Action.DirectLink != "" || b.Action.PostPage != nil || b.Action.PostManagePage != nil {
		return x.carryOut(ctx, access.App{}, s, b.Action)
	}
	app, err := x.app(ctx, b.App)
	if err != nil {
		return Opened{}, err
	}
	if b.Action.DynamicAction == nil {
		return x.carryOut(ctx, app, s, b.Action)
	}
	answer, err := x.act(ctx, app, s, data(b.Action.DynamicAction))
	if err != nil || answer.Action == nil {
		return Opened{Text: answer.Text}, err
	}
	opened, err := x.carryOut(ctx, app, s, *answer.Action)
	opened.Text = answer.Text
	return opened, err
}

// carryOut does what an action says that needs no further word of its app but
// where a session begins.
func (x *Extensions) carryOut(ctx context.Context, app access.App, s situation, a chat.Action) (Opened, error) {
	switch {
	case a.ServerLink != nil:
		url, err := x.initialize(ctx, app, s, data(a.ServerLink))
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
	p, ok, err := x.o.Store.Post(ctx, token)
	if err == nil && (!ok || p.State == market.Archived) {
		err = market.NoPost("post_token", token)
	}
	return Opened{Post: token}, err
}

// data is what a button carries: {} where there is nothing.
func data(d *chat.Data) wire.Object {
	if d.Data == nil {
		return wire.Object("{}")
	}
	return d.Data
}
