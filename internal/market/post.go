package market

import (
	"bytes"
	"context"
	"encoding/json"
	"time"

	"github.com/openkenar/openkenar/internal/event"
	"github.com/openkenar/openkenar/internal/status"
	"github.com/openkenar/openkenar/internal/wire"
)

// PostState is where a post stands.
type PostState string

// The states of posts. An archived post is gone for apps.
const (
	Published  PostState = "PUBLISHED"
	ReviewReq  PostState = "REVIEW_REQ"
	PaymentReq PostState = "PAYMENT_REQ"
	Retired    PostState = "RETIRED"
	Archived   PostState = "ARCHIVED"
)

// postStates lists them; the last is not seen by apps.
var postStates = []PostState{Published, ReviewReq, PaymentReq, Retired, Archived}

// Limits of a post.
const (
	maxTitle    = 200      // characters
	maxFacet    = 100      // characters of a city, district or category
	maxPostData = 64 << 10 // bytes of JSON
)

// PostKey is the order key of a post's events.
func PostKey(token string) string { return "post " + token }

// Post is a classified ad, as the host API takes it.
type Post struct {
	Token            string      `json:"token"`
	Owner            string      `json:"owner"`
	Title            string      `json:"title"`
	State            PostState   `json:"state"`
	Category         string      `json:"category"`
	City             string      `json:"city"`
	District         string      `json:"district"`
	ChatEnabled      bool        `json:"chat_enabled"`
	PhoneHidden      bool        `json:"is_phone_hidden"`
	ChatAssistant    bool        `json:"supplier_chat_assistant_enabled"`
	FirstPublishedAt wire.Time   `json:"first_published_at"`
	Data             wire.Object `json:"data"`
}

// View is a post as apps see it (contract section 4, get post).
type View struct {
	Token            string      `json:"token"`
	Category         string      `json:"category"`
	City             string      `json:"city"`
	District         string      `json:"district"`
	State            PostState   `json:"state"`
	ChatEnabled      bool        `json:"chat_enabled"`
	PhoneHidden      bool        `json:"is_phone_hidden"`
	ChatAssistant    bool        `json:"supplier_chat_assistant_enabled"`
	FirstPublishedAt wire.Time   `json:"first_published_at"`
	Data             wire.Object `json:"data"`
}

// View returns the post as apps see it.
func (p Post) View() View {
	data := p.Data
	if data == nil {
		data = wire.Object("{}")
	}
	return View{
		Token: p.Token, Category: p.Category, City: p.City, District: p.District, State: p.State,
		ChatEnabled: p.ChatEnabled, PhoneHidden: p.PhoneHidden, ChatAssistant: p.ChatAssistant,
		FirstPublishedAt: p.FirstPublishedAt, Data: data,
	}
}

func (p Post) check() error {
	if err := wire.CheckID("token", p.Token); err != nil {
		return err
	}
	if err := wire.CheckID("owner", p.Owner); err != nil {
		return err
	}
	if err := wire.Enum("state", p.State, postStates...); err != nil {
		return err
	}
	if err := wire.MaxText("title", p.Title, maxTitle); err != nil {
		return err
	}
	for _, f := range []struct{ name, text string }{{"category", p.Category}, {"city", p.City}, {"district", p.District}} {
		if err := wire.MaxText(f.name, f.text, maxFacet); err != nil {
			return err
		}
	}
	if len(p.Data) > maxPostData {
		return status.New(status.Invalid, "data: %d bytes of JSON, want at most %d", len(p.Data), maxPostData)
	}
	return nil
}

func (p Post) equal(q Post) bool {
	if !bytes.Equal(p.Data, q.Data) || !p.FirstPublishedAt.Equal(q.FirstPublishedAt.Time) {
		return false
	}
	p.Data, q.Data = nil, nil
	p.FirstPublishedAt, q.FirstPublishedAt = wire.Time{}, wire.Time{}
	x, _ := json.Marshal(p) //nolint:errchkjson // plain fields: cannot fail
	y, _ := json.Marshal(q) //nolint:errchkjson // plain fields: cannot fail
	return bytes.Equal(x, y)
}

// The payloads of POST_UPDATE: of a post that is there, and of one that has
// left, which holds its token alone.
type (
	postChange struct {
		Type string `json:"type"`
		Post View   `json:"post"`
	}
	postGone struct {
		Type string    `json:"type"`
		Post tokenOnly `json:"post"`
	}
	tokenOnly struct {
		Token string `json:"token"`
	}
)

// What happened to a post, in the contract's words.
const (
	updatePublish = "PUBLISH"
	updateOngoing = "ONGOING"
	updateRetire  = "RETIRE"
	updateArchive = "ARCHIVE"
)

// update says a change in the contract's words.
func update(p Post) any {
	switch p.State {
	case Retired:
		return postGone{Type: updateRetire, Post: tokenOnly{p.Token}}
	case Archived:
		return postGone{Type: updateArchive, Post: tokenOnly{p.Token}}
	case Published:
		return postChange{Type: updatePublish, Post: p.View()}
	case ReviewReq, PaymentReq:
	}
	return postChange{Type: updateOngoing, Post: p.View()}
}

func emitPost(tx Tx, p Post, now time.Time) (int64, error) {
	payload, err := wire.Marshal(update(p))
	if err != nil {
		return 0, err
	}
	return event.Emit(tx, event.Event{
		Type: event.PostUpdate, At: now, Key: PostKey(p.Token), Payload: payload,
		Owner: p.Owner, Post: p.Token, User: p.Owner,
	})
}

// PutPost stores a post; each write that changes it is an event.
func PutPost(tx Tx, p Post, now time.Time) (Change, error) {
	if err := p.check(); err != nil {
		return Unchanged, err
	}
	old, exists, err := tx.Post(p.Token)
	if err != nil {
		return Unchanged, err
	}
	if exists && old.equal(p) {
		return Unchanged, nil
	}
	if err := tx.EnsureUser(p.Owner, now); err != nil {
		return Unchanged, err
	}
	id, err := emitPost(tx, p, now)
	if err != nil {
		return Unchanged, err
	}
	return Changed, tx.PutPost(p, id, now)
}

// PutPost stores a post, and returns it with the event of its last change.
func (m *Market) PutPost(ctx context.Context, p Post) (stored Post, last int64, err error) {
	err = m.store.Write(ctx, func(tx Tx) (err error) {
		if _, err := PutPost(tx, p, m.now()); err != nil {
			return err
		}
		if stored, _, err = tx.Post(p.Token); err != nil {
			return err
		}
		last, err = tx.PostEvent(p.Token)
		return err
	})
	return stored, last, err
}

// DeletePost takes a post away: what its earlier events told of it is erased,
// in bounded steps, and its subscribers hear that it was archived. One that
// broke off is taken up by calling again. Deleting what is not there is no
// error.
func (m *Market) DeletePost(ctx context.Context, token string) error {
	if err := wire.CheckID("token", token); err != nil {
		return err
	}
	return m.eraseInSteps(ctx, func(tx Tx) ([]int64, bool, error) {
		p, ok, err := tx.Post(token)
		if err != nil || !ok {
			return nil, true, err
		}
		events, done, err := tx.ErasePostStep(token, m.now())
		if err != nil || !done {
			return events, false, err
		}
		if p.State != Archived {
			p.State = Archived
			if _, err := emitPost(tx, p, m.now()); err != nil {
				return nil, false, err
			}
		}
		return events, true, tx.DeletePost(token)
	})
}

// Post returns a post as apps see it; an archived one is NotFound.
func (m *Market) Post(ctx context.Context, token string) (View, error) {
	p, ok, err := m.store.Post(ctx, token)
	if err != nil {
		return View{}, err
	}
	if !ok || p.State == Archived {
		return View{}, NoPost("token", token)
	}
	return p.View(), nil
}

// Told returns a post as the marketplace told it, an archived one too.
func (m *Market) Told(ctx context.Context, token string) (Post, error) {
	p, ok, err := m.store.Post(ctx, token)
	if err == nil && !ok {
		err = NoPost("token", token)
	}
	return p, err
}

// NoPost is the error for a post that is not there.
func NoPost(field, token string) error {
	return status.New(status.NotFound, "%s: there is no post %q", field, token)
}

// Listed is a post in a list of the user's posts. The published clients know
// these four fields.
type Listed struct {
	Token    string   `json:"token"`
	Title    string   `json:"title"`
	Images   []string `json:"images"` // data.images, where that is a list of texts
	Category string   `json:"category"`
}

// PostsOf returns the user's posts by token, archived ones left out, a page of
// those behind the token after.
func (m *Market) PostsOf(ctx context.Context, owner, after string) ([]Listed, error) {
	posts, err := m.store.PostsOf(ctx, owner, after, event.Page)
	if err != nil {
		return nil, err
	}
	listed := make([]Listed, len(posts))
	for i, p := range posts {
		var data struct {
			Images []string `json:"images"`
		}
		if err := json.Unmarshal(p.View().Data, &data); err != nil || data.Images == nil {
			data.Images = []string{}
		}
		listed[i] = Listed{Token: p.Token, Title: p.Title, Images: data.Images, Category: p.Category}
	}
	return listed, nil
}
