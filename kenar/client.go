package kenar

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"iter"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"golang.org/x/oauth2"
)

// DefaultHost is the platform that a Client calls unless told otherwise.
const DefaultHost = "https://open-api.divar.ir"

const (
	defaultAttempt = 30 * time.Second
	defaultAgent   = "openkenar-kenar-go"
)

// Client calls the platform for an app. It is safe for concurrent use; one is
// enough for a program.
type Client struct {
	http    *http.Client
	base    string
	key     string // as it is sent
	secret  string // as it was given
	agent   string
	timeout time.Duration
	retries int
}

// Options of NewClient.
type Options struct {
	// Host is where the platform is: https://HOST, or http://HOST for one on this
	// machine. Default: DefaultHost.
	Host string
	// PlainHTTP allows http://HOST to another machine, too, as to a platform in
	// the same private network. Everybody on the way reads the API key and the
	// tokens.
	PlainHTTP bool
	// APIKey is the app's key; needed.
	APIKey string
	// APIKeyPrefix goes before the key, with a space between, for platforms that
	// want one. Default: none.
	APIKeyPrefix string
	// HTTPClient makes the requests. It is copied; its CheckRedirect is not used,
	// since a redirect could carry the key elsewhere. Default: one of its own on
	// http.DefaultTransport.
	HTTPClient *http.Client
	// Timeout bounds each attempt of a call but uploads, which may take ten
	// minutes. Bound a call with its repeats by its context. Default: 30 s.
	Timeout time.Duration
	// UserAgent is what the platform sees as the name of the program. Default:
	// that of this package.
	UserAgent string
	// Retries is how often a call is repeated where that is safe; less than 0:
	// never. Default: 3.
	Retries int
}

// NewClient returns a client. It calls nobody yet.
func NewClient(o Options) (*Client, error) {
	base, err := checkHost(cmp.Or(o.Host, DefaultHost))
	if err != nil {
		return nil, err
	}
	if err := checkPrivate(base); err != nil && !o.PlainHTTP {
		return nil, fmt.Errorf("%w; where the way there is all yours, set PlainHTTP", err)
	}
	key := o.APIKey
	switch {
	case key == "":
		return nil, errors.New("kenar: APIKey: must not be empty; the app's panel gives one")
	case strings.ContainsFunc(key, unprintable):
		return nil, errors.New("kenar: APIKey: it holds a space or a character that is not printable ASCII; is there a line break behind it?")
	case strings.ContainsFunc(strings.ReplaceAll(o.APIKeyPrefix+o.UserAgent, " ", ""), unprintable):
		return nil, errors.New("kenar: APIKeyPrefix, UserAgent: want printable ASCII")
	case o.Timeout < 0:
		return nil, errors.New("kenar: Timeout: must not be negative")
	}
	if o.APIKeyPrefix != "" {
		key = o.APIKeyPrefix + " " + key
	}
	return &Client{
		http: withoutRedirects(o.HTTPClient), base: base, key: key, secret: o.APIKey,
		agent: cmp.Or(o.UserAgent, defaultAgent), timeout: cmp.Or(o.Timeout, defaultAttempt), retries: max(cmp.Or(o.Retries, moreRetries), 0),
	}, nil
}

func unprintable(r rune) bool { return r <= ' ' || r > '~' }

// withoutRedirects copies a client so that it follows none: what we send with a
// request is for its address alone.
func withoutRedirects(c *http.Client) *http.Client {
	own := &http.Client{}
	if c != nil {
		*own = *c
	}
	own.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	return own
}

// checkHost takes the address of a platform and returns it without a slash at
// its end.
func checkHost(host string) (string, error) {
	u, err := url.Parse(host)
	switch {
	case err != nil:
		return "", errors.New("kenar: Host: not a URL; write https://HOST")
	case u.User != nil:
		return "", errors.New("kenar: Host: a user name or password is not allowed in it")
	case u.Scheme != "https" && u.Scheme != "http" || u.Hostname() == "" || strings.ContainsAny(host, "?#"):
		return "", errors.New("kenar: Host: not the address of a host alone; write https://HOST")
	}
	return strings.TrimRight(host, "/"), nil
}

// checkPrivate refuses an address of a platform on the way to which others can
// read along.
func checkPrivate(base string) error {
	if u, err := url.Parse(base); err != nil || u.Scheme == "http" && !isLoopback(u.Hostname()) {
		return fmt.Errorf("kenar: Host: %s is plain http to another machine; use https, or everybody on the way reads keys and tokens", base)
	}
	return nil
}

// User returns the calls that act for the user whose tokens the source gives:
// a *TokenSource, which renews them, or any other.
func (c *Client) User(source oauth2.TokenSource) *User { return &User{client: c, source: source} }

// BotMessage is what an app says as its chatbot: a text of at most 4,096
// characters, or media, not both.
type BotMessage struct {
	Text       string      `json:"text_message,omitempty"`
	Buttons    *Keyboard   `json:"buttons,omitempty"`
	MediaToken string      `json:"media_token,omitempty"` // from Client.Upload
	Type       MessageType `json:"type,omitempty"`        // default: TEXT, unless there is a media token
}

// typeOf is the type of a message for which the app names none: the clients that
// Divar publishes always send one.
func typeOf(named MessageType, mediaToken string) MessageType {
	if named == "" && mediaToken == "" {
		return MessageText
	}
	return named
}

// SendAsBot writes in a conversation of the app's chatbot. Permission
// CHAT_BOT_SEND_MESSAGE. Errors: ErrNotFound, ErrPermission for a conversation
// that is not with this bot, ErrPrecondition where the user has blocked it.
func (c *Client) SendAsBot(ctx context.Context, conversation string, m BotMessage) error {
	path, err := withID("/v1/open-platform/chat/bot/conversations/{}/messages", "conversation", conversation)
	if err != nil {
		return err
	}
	if err := invalidIn("buttons", m.Buttons.Check()); err != nil {
		return err
	}
	m.Type = typeOf(m.Type, m.MediaToken)
	return c.do(ctx, call{method: http.MethodPost, path: path, in: m})
}

// Post returns a post. Permission GET_POST. Errors: ErrNotFound, for archived
// ones too.
func (c *Client) Post(ctx context.Context, token string) (Post, error) {
	path, err := withID("/v1/open-platform/finder/post/{}", "post token", token)
	if err != nil {
		return Post{}, err
	}
	var p Post
	err = c.do(ctx, call{method: http.MethodGet, path: path, out: &p, harmless: true})
	return p, err
}

// SubscriptionType is what an app can subscribe to.
type SubscriptionType string

// The types of subscriptions. The last three are on by default: a subscription
// only sets the metadata to echo.
const (
	SubscribeNewMessageOnPost     SubscriptionType = "NEW_MESSAGE_ON_POST"
	SubscribePostUpdate           SubscriptionType = "POST_UPDATE"
	SubscribeNewChatbotMessage    SubscriptionType = "NEW_CHATBOT_MESSAGE"
	SubscribeUserAccessRevocation SubscriptionType = "USER_ACCESS_REVOCATION"
	SubscribePaymentTransaction   SubscriptionType = "PAYMENT_TRANSACTION"
)

// Subscription is what User.Subscribe asks for.
type Subscription struct {
	Type SubscriptionType
	// PostToken names the post; "" for all posts of the user.
	PostToken string
	// Metadata comes back with each event; see Decode. It encodes to a JSON object
	// of at most 4 KiB, or is one already, as a []byte; nil for none.
	Metadata any
}

// MarshalJSON writes a subscription as the platform takes it.
func (s Subscription) MarshalJSON() ([]byte, error) {
	if raw, ok := s.Metadata.([]byte); ok {
		s.Metadata = json.RawMessage(raw)
	}
	return encode(struct {
		Type      SubscriptionType `json:"event_type"`
		PostToken string           `json:"event_resource_id,omitempty"`
		Metadata  any              `json:"metadata,omitempty"`
	}{s.Type, s.PostToken, s.Metadata})
}

// LiveSubscription is one that the app has.
type LiveSubscription struct {
	ID        string           `json:"id"`
	Type      SubscriptionType `json:"event_type"`
	PostToken string           `json:"event_resource_id"` // "" for all posts of the user
	UserID    string           `json:"user_id"`           // the app's own id of the user
	Metadata  json.RawMessage  `json:"metadata"`          // see Decode
	ExpiresAt time.Time        `json:"expires_at"`
}

// Subscriptions walks through the app's live subscriptions, asking for them page
// by page. An error ends it. Permission EVENTS_REGISTER_SUBSCRIPTION. Only
// OpenKenar has this call: elsewhere ErrMethod or ErrNotFound.
func (c *Client) Subscriptions(ctx context.Context) iter.Seq2[LiveSubscription, error] {
	return func(yield func(LiveSubscription, error) bool) {
		for after := ""; ; {
			var page struct {
				Subscriptions []LiveSubscription `json:"subscriptions"`
				Next          string             `json:"next"`
			}
			if err := c.do(ctx, call{
				method: http.MethodGet, path: subscriptionsPath, query: pageAfter(after), out: &page, harmless: true,
			}); err != nil {
				yield(LiveSubscription{}, err)
				return
			}
			for _, s := range page.Subscriptions {
				if !yield(s, nil) {
					return
				}
			}
			if page.Next == "" || page.Next == after {
				return
			}
			after = page.Next
		}
	}
}

const subscriptionsPath = "/v1/open-platform/events/subscriptions"

func pageAfter(cursor string) url.Values {
	if cursor == "" {
		return nil
	}
	return url.Values{"after": {cursor}}
}

// EndSubscription ends one of the app's subscriptions by its id. Permission
// EVENTS_REGISTER_SUBSCRIPTION. Errors: ErrNotFound for one that is not there
// any more; after a lost answer that may mean that this call has ended it. Only
// OpenKenar has this call.
func (c *Client) EndSubscription(ctx context.Context, id string) error {
	path, err := withID(subscriptionsPath+"/{}", "subscription id", id)
	if err != nil {
		return err
	}
	return c.do(ctx, call{method: http.MethodDelete, path: path, harmless: true})
}

// LoggedEvent is an event as it is pushed to the app's event URL.
type LoggedEvent struct {
	Cursor    string            `json:"cursor"`
	WebhookID string            `json:"webhook_id"` // the same as that of the push
	Headers   map[string]string `json:"headers"`
	// Body is what is pushed, byte for byte, so that the signature among the
	// headers is of it.
	Body string `json:"body"`
}

// Delivery reads the event as a Receiver does.
func (e LoggedEvent) Delivery() (*Delivery, error) {
	headers := http.Header{}
	for name, value := range e.Headers {
		headers.Set(name, value)
	}
	d, err := newDelivery(headers, []byte(e.Body))
	if err != nil {
		return nil, fmt.Errorf("kenar: event %s of the log: %w", e.Cursor, err)
	}
	d.ID = cmp.Or(d.ID, e.WebhookID)
	return d, nil
}

// EventPage is a piece of the app's own event log.
type EventPage struct {
	Events []LoggedEvent `json:"events"`
	// Next is where to go on: what Events takes as after.
	Next string `json:"next"`
	// Missed counts events behind after that can no longer be had; MissedWhy by
	// reason.
	Missed    int64            `json:"missed"`
	MissedWhy map[string]int64 `json:"missed_why"`
}

// Events returns what was pushed to the app behind a cursor, "" for as far back
// as the platform remembers. With nothing there yet it waits for up to wait, in
// whole seconds from 0 to 60, and then returns an empty page. Permission
// EVENTS_REGISTER_SUBSCRIPTION. Only OpenKenar has this call.
func (c *Client) Events(ctx context.Context, after string, wait time.Duration) (EventPage, error) {
	if wait < 0 {
		return EventPage{}, invalid("wait", "must not be negative")
	}
	q := url.Values{}
	if after != "" {
		q.Set("after", after)
	}
	if wait > 0 {
		q.Set("wait", strconv.FormatInt(int64((wait+time.Second-1)/time.Second), 10))
	}
	var page EventPage
	err := c.do(ctx, call{
		method: http.MethodGet, path: "/experimental/open-platform/events", query: q, out: &page, harmless: true, timeout: c.timeout + wait,
	})
	page.Next = cmp.Or(page.Next, after)
	return page, err
}
