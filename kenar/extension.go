package kenar

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"strings"
	"time"
)

// UserSide is the side of a user who opens an app or clicks a button: of the
// post, who supplies it and who asks for it. Platforms write it in letter cases
// of their own; here it is always upper case.
type UserSide string

// The sides. A user may have none, as in a conversation with a chatbot.
const (
	SideSupply UserSide = "SUPPLY" // the post's owner, SideSeller in messages
	SideDemand UserSide = "DEMAND" // SideBuyer
)

// UnmarshalJSON reads any letter case; null is "".
func (s *UserSide) UnmarshalJSON(b []byte) error {
	var text string
	if err := json.Unmarshal(b, &text); err != nil {
		return err
	}
	*s = UserSide(strings.ToUpper(text))
	return nil
}

// SessionRequest is what a platform says of a user who opens the app (session
// initialization). What does not concern it is "".
type SessionRequest struct {
	ReturnURL      string          `json:"return_url"` // where the app sends the user when it is done
	Source         string          `json:"source"`     // where the user comes from: CHAT, CHAT_MESSAGE_ACTION, POST_ADDON, MY_POST, …
	PostToken      string          `json:"post_token"`
	ConversationID string          `json:"conversation_id"`
	UserSide       UserSide        `json:"user_side"`
	UserID         string          `json:"user_id"`    // the app's own id of the user
	ExtraData      json.RawMessage `json:"extra_data"` // the data of the button, {} where there is none; read it with Decode
}

// UnmarshalJSON also reads provider_data, the older name of extra_data.
func (r *SessionRequest) UnmarshalJSON(b []byte) error {
	type plain SessionRequest
	in := struct {
		*plain
		ProviderData json.RawMessage `json:"provider_data"`
	}{plain: (*plain)(r)}
	if err := json.Unmarshal(b, &in); err != nil {
		return err
	}
	if absent(r.ExtraData) {
		r.ExtraData = in.ProviderData
	}
	r.ExtraData = orEmpty(r.ExtraData)
	return nil
}

func orEmpty(raw json.RawMessage) json.RawMessage {
	if absent(raw) {
		return json.RawMessage("{}")
	}
	return raw
}

// SessionOptions make a SessionHandler.
type SessionOptions struct {
	// Callers says whom to believe. A key is needed.
	Callers Callers
	// Open returns the page to which the user is sent: an absolute https URL of
	// at most 2,048 characters without a user name or password in it; http only
	// to this machine itself, where a platform in dev mode takes it. The page
	// must know the user by it, as by a token that is good once: the browser
	// brings nothing else. An error, or a URL that no platform takes, means that
	// the user sees the platform's own page instead.
	Open func(ctx context.Context, r *SessionRequest) (page string, err error)
	// MaxBody is the largest body, in bytes. Default 1 MiB.
	MaxBody int64
	// Timeout is how long the reading of the body and Open may take together:
	// then Open's context ends. Default 4 s, since a platform gives up after 5.
	Timeout time.Duration
	// Log gets a line for each Open that fails (Error), and for each request that
	// is refused (Debug). Default slog.Default.
	Log *slog.Logger
}

// SessionHandler is the http.Handler of an app's session initialization URL. A
// platform calls it while a user waits, and once: what fails is not tried
// again. It answers 200 and {"url": …}, else as a Receiver does.
type SessionHandler struct {
	door door
	open func(ctx context.Context, r *SessionRequest) (string, error)
}

// NewSessionHandler returns a SessionHandler.
func NewSessionHandler(o SessionOptions) (*SessionHandler, error) {
	if o.Open == nil {
		return nil, errors.New("kenar: SessionOptions.Open: not set")
	}
	d, err := newCallDoor("SessionOptions", doorOptions{o.Callers, o.MaxBody, o.Timeout, o.Log})
	if err != nil {
		return nil, err
	}
	return &SessionHandler{door: d, open: o.Open}, nil
}

// newCallDoor is the door of what is called while a user waits; such calls are
// not signed.
func newCallDoor(name string, o doorOptions) (door, error) {
	if len(o.callers.Keys) == 0 {
		return door{}, fmt.Errorf("kenar: %s.Callers.Keys: set the app's identification key; without it anybody could call", name)
	}
	o.timeout = cmp.Or(o.timeout, answerTimeout)
	return newDoor(o)
}

// ServeHTTP implements http.Handler.
func (h *SessionHandler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	h.door.serve(w, r, func(ctx context.Context, body []byte) (any, error) {
		in := new(SessionRequest)
		if err := readObject(body, in); err != nil {
			return nil, err
		}
		page, err := h.call(ctx, in)
		if err != nil {
			return nil, err
		}
		if err := checkSecurePage(page); err != nil {
			return nil, wrongAnswer(fmt.Errorf("url: %w", err))
		}
		return struct {
			URL string `json:"url"`
		}{page}, nil
	})
}

func (h *SessionHandler) call(ctx context.Context, r *SessionRequest) (page string, err error) {
	defer calm(&err)
	return h.open(ctx, r)
}

// wrongAnswer is what a platform would refuse: the app's log says so, and the
// platform's.
func wrongAnswer(err error) error {
	return &answerError{status: http.StatusInternalServerError, message: "the app's own answer is wrong: " + err.Error(), level: slog.LevelError}
}

// ActionRequest is what a platform says of a user who clicks a button with
// GetDynamicAction. What does not concern it is "".
type ActionRequest struct {
	Touchpoint     string          `json:"touchpoint"` // CHAT
	PostToken      string          `json:"post_token"`
	ConversationID string          `json:"conversation_id"`
	UserSide       UserSide        `json:"user_side"`
	ExtraData      json.RawMessage `json:"extra_data"` // the data of the button, {} where there is none; read it with Decode
	UserID         string          `json:"user_id"`    // the app's own id of the user
}

// UnmarshalJSON reads an absent extra_data as {}.
func (r *ActionRequest) UnmarshalJSON(b []byte) error {
	type plain ActionRequest
	if err := json.Unmarshal(b, (*plain)(r)); err != nil {
		return err
	}
	r.ExtraData = orEmpty(r.ExtraData)
	return nil
}

// ActionAnswer is what happens at a click: an action, a text, or both.
type ActionAnswer struct {
	// Action is carried out: any but GetDynamicAction. The page of a direct link
	// is https, or http to this machine itself. nil: nothing.
	Action *Action `json:"action,omitempty"`
	// Text is shown to the user, at most 4,096 characters.
	Text string `json:"text_message,omitempty"`
}

// Check refuses what a platform refuses, except for a post page of a post that
// is not there.
func (a ActionAnswer) Check() error {
	if a.Action == nil && a.Text == "" {
		return errors.New("neither an action nor a text_message")
	}
	if err := maxText("text_message", a.Text, maxMessage); err != nil {
		return err
	}
	if a.Action == nil {
		return nil
	}
	if err := a.Action.check("action"); err != nil {
		return err
	}
	switch {
	case a.Action.DynamicAction != nil:
		return errors.New("action.get_dynamic_action: a dynamic action does not lead to another")
	case a.Action.DirectLink != "":
		if err := checkSecurePage(a.Action.DirectLink); err != nil {
			return fmt.Errorf("action.open_direct_link: %w", err)
		}
	}
	return nil
}

// ActionOptions make an ActionHandler.
type ActionOptions struct {
	// Callers says whom to believe. A key is needed.
	Callers Callers
	// Click says what happens. On an error, and on an answer that Check refuses,
	// the user sees that the app did not answer. The same click may come twice.
	Click func(ctx context.Context, r *ActionRequest) (ActionAnswer, error)
	// MaxBody is the largest body, in bytes. Default 1 MiB.
	MaxBody int64
	// Timeout is how long the reading of the body and Click may take together:
	// then Click's context ends. Default 4 s, since a platform gives up after 5.
	Timeout time.Duration
	// Log gets a line for each Click that fails (Error), and for each request
	// that is refused (Debug). Default slog.Default.
	Log *slog.Logger
}

// ActionHandler is the http.Handler of an app's dynamic action URL. A platform
// calls it while a user waits, and once: what fails is not tried again. It
// answers 200 and an ActionAnswer, else as a Receiver does.
type ActionHandler struct {
	door  door
	click func(ctx context.Context, r *ActionRequest) (ActionAnswer, error)
}

// NewActionHandler returns an ActionHandler.
func NewActionHandler(o ActionOptions) (*ActionHandler, error) {
	if o.Click == nil {
		return nil, errors.New("kenar: ActionOptions.Click: not set")
	}
	d, err := newCallDoor("ActionOptions", doorOptions{o.Callers, o.MaxBody, o.Timeout, o.Log})
	if err != nil {
		return nil, err
	}
	return &ActionHandler{door: d, click: o.Click}, nil
}

// ServeHTTP implements http.Handler.
func (h *ActionHandler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	h.door.serve(w, r, func(ctx context.Context, body []byte) (any, error) {
		in := new(ActionRequest)
		if err := readObject(body, in); err != nil {
			return nil, err
		}
		answer, err := h.call(ctx, in)
		if err != nil {
			return nil, err
		}
		if err := answer.Check(); err != nil {
			return nil, wrongAnswer(err)
		}
		return answer, nil
	})
}

func (h *ActionHandler) call(ctx context.Context, r *ActionRequest) (answer ActionAnswer, err error) {
	defer calm(&err)
	return h.click(ctx, r)
}
