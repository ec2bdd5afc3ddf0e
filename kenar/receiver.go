package kenar

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"strconv"
	"time"
)

// Callback does what an app does about an event. The field of the event's type
// is never nil. When it returns nil, the platform is told that the delivery has
// arrived, and will not send it again. On any other error, and on a panic, it
// sends it again: when, Later can say; and Reject, that it shall not. Callbacks
// run at the same time, one for each delivery.
type Callback func(ctx context.Context, d *Delivery) error

// Delivery is an event as it came.
type Delivery struct {
	Event

	ID      string // webhook-id, the same in each attempt; "" where the platform sends none
	Attempt int    // from 1; 0 where the platform does not say
	// Timestamp is when this attempt was sent, to the second; the zero time where
	// the platform does not say. When the thing happened, its payload says.
	Timestamp time.Time
	Body      []byte // as it came, with all that Event does not know
}

// RepeatKey is by what a delivery that comes again is known: its webhook-id.
// Where the platform sends none (the documents of Divar's Kenar name none), it
// is the id of a message. It is "" for the other events, which are then never
// taken for a repeat: two of them may be alike and yet two, as when a post is
// changed and changed back. What such a callback does should be safe to do twice.
func (d *Delivery) RepeatKey() string {
	key := d.ID
	for _, m := range []*Message{d.NewMessage, d.NewChatbotMessage} {
		if key == "" && m != nil && m.ID != "" {
			key = "message/" + m.ID
		}
	}
	if len(key) > maxRepeatKey {
		sum := sha256.Sum256([]byte(key))
		key = "sha256/" + hex.EncodeToString(sum[:])
	}
	return key
}

// maxRepeatKey is the longest RepeatKey, in bytes.
const maxRepeatKey = 128

// ReceiverOptions make a Receiver.
type ReceiverOptions struct {
	// Callers says whom to believe. Without a key, Secrets are needed.
	Callers Callers
	// Secrets are the app's signing secrets, as the platform shows them
	// ("whsec_…"). When one is set, each webhook must be signed with one of
	// them, as Standard Webhooks says; name two while they are being changed. A
	// key keeps strangers out before their body is read, so set it too.
	// Default: signatures are not looked at.
	Secrets []string
	// Tolerance is how far webhook-timestamp may be from this app's clock,
	// either way, where Secrets are set. Default 5 minutes.
	Tolerance time.Duration

	// The callbacks, by what has happened.
	OnNewMessage        Callback // somebody wrote in a conversation on a post; also what the app itself sent
	OnNewChatbotMessage Callback // somebody wrote to the app's chatbot
	OnAccessRevoked     Callback // a user took the app's access away
	OnPostUpdate        Callback // a post was changed
	OnTransaction       Callback // a transaction was made, or has another state
	// OnOther hears what has no callback above, and types of events that this
	// package does not know. Default: those are answered with 200 and left alone.
	OnOther Callback

	// Repeats remembers what is done. Default: a MemoryRepeats.
	Repeats Repeats
	// MaxBody is the largest body, in bytes. Default 1 MiB.
	MaxBody int64
	// Timeout is how long the reading of the body and the callback may take
	// together: then the callback's context ends. Default 8 s, since a platform
	// gives up after 10. Middleware must not hide the http.ResponseWriter from
	// http.ResponseController, or a slow body is not cut off.
	Timeout time.Duration
	// Log gets a line for each callback that fails (Error), that returns Reject
	// or Later (Warn), and for each request that is refused (Debug). Default
	// slog.Default.
	Log *slog.Logger
}

// Receiver is the http.Handler of an app's event URL. It answers:
//
//   - 200 once the callback has returned nil, for a repeat of such a delivery,
//     and for what has no callback
//   - 400 to a body that is not an event, 401 without the right key or
//     signature, 403 to an address that is not in the list, 405 to another method
//     than POST, 408 to a body that comes too slowly, 413 to one that is too large
//   - 410 and 503 where the callback says Reject and Later
//   - 500 where it fails in another way, or panics
//   - 503 while another attempt of the same delivery is at work, and when Repeats
//     fails
//
// All but 200 and 410 make the platform send the delivery again.
type Receiver struct {
	door       door
	signatures signatures
	callbacks  map[EventType]Callback
	other      Callback
	repeats    Repeats
}

// NewReceiver returns a Receiver.
func NewReceiver(o ReceiverOptions) (*Receiver, error) {
	if len(o.Callers.Keys) == 0 && len(o.Secrets) == 0 {
		return nil, errors.New("kenar: ReceiverOptions: set Callers.Keys to the app's identification key, or Secrets; without either anybody could make up events")
	}
	if o.Tolerance < 0 {
		return nil, errors.New("kenar: ReceiverOptions.Tolerance: must not be negative; 0 is the default")
	}
	callbacks := map[EventType]Callback{}
	for _, c := range []struct {
		typ      EventType
		callback Callback
	}{
		{EventNewMessage, o.OnNewMessage},
		{EventNewChatbotMessage, o.OnNewChatbotMessage},
		{EventUserAccessRevocation, o.OnAccessRevoked},
		{EventPostUpdate, o.OnPostUpdate},
		{EventPaymentTransaction, o.OnTransaction},
	} {
		if c.callback != nil {
			callbacks[c.typ] = c.callback
		}
	}
	if len(callbacks) == 0 && o.OnOther == nil {
		return nil, errors.New("kenar: ReceiverOptions: no callback is set; set OnNewMessage or another")
	}
	d, err := newDoor(doorOptions{o.Callers, o.MaxBody, cmp.Or(o.Timeout, receiveTimeout), o.Log})
	if err != nil {
		return nil, err
	}
	s, err := newSignatures(o.Secrets, cmp.Or(o.Tolerance, defaultTolerance))
	if err != nil {
		return nil, err
	}
	repeats := o.Repeats
	if repeats == nil {
		if repeats, err = NewMemoryRepeats(MemoryRepeatsOptions{}); err != nil {
			return nil, err
		}
	}
	d.knock = func(h http.Header) error { return s.checkTime(h, time.Now()) }
	return &Receiver{door: d, signatures: s, callbacks: callbacks, other: o.OnOther, repeats: repeats}, nil
}

// ServeHTTP implements http.Handler.
func (r *Receiver) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	r.door.serve(w, req, func(ctx context.Context, body []byte) (any, error) {
		if err := r.signatures.check(req.Header, body); err != nil {
			return nil, err
		}
		d, err := newDelivery(req.Header, body)
		if err != nil {
			return nil, err
		}
		return nil, r.receive(ctx, d)
	})
}

func newDelivery(h http.Header, body []byte) (*Delivery, error) {
	d := &Delivery{ID: h.Get(headerID), Body: body}
	if err := readObject(body, &d.Event); err != nil {
		return nil, err
	}
	if err := d.check(); err != nil {
		return nil, malformed(err)
	}
	d.Timestamp, _ = timestamp(h)
	if n, err := strconv.ParseUint(h.Get(headerAttempt), 10, 31); err == nil {
		d.Attempt = int(n)
	}
	return d, nil
}

func (r *Receiver) receive(ctx context.Context, d *Delivery) error {
	callback := r.callbacks[d.Type]
	if callback == nil {
		callback = r.other
	}
	if callback == nil {
		return nil
	}
	key := d.RepeatKey()
	if key == "" {
		return run(ctx, callback, d)
	}
	turn, err := r.repeats.Begin(ctx, key)
	switch {
	case err != nil:
		// Failure policy: later. A delivery that comes late is allowed by the
		// wire; one that is done twice is what the app asked not to have.
		return &answerError{
			status: http.StatusServiceUnavailable, message: "the app cannot take deliveries now",
			level: slog.LevelError, cause: fmt.Errorf("begin %s: %w", key, err),
		}
	case turn == TurnDone:
		return nil
	case turn != TurnFirst:
		return &answerError{status: http.StatusServiceUnavailable, message: "another attempt of this delivery is at work"}
	}
	end := r.repeats.Release
	defer func() { // also when the callback ends its goroutine
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), endTimeout)
		defer cancel()
		if err := end(ctx, key); err != nil {
			// Failure policy: the answer stands. What is done is done, though a
			// repeat of it may be done again.
			r.door.log.ErrorContext(ctx, "kenar: what became of a delivery is not remembered", "webhook_id", d.ID, "err", err)
		}
	}()
	if err := run(ctx, callback, d); err != nil {
		return err
	}
	end = r.repeats.Done
	return nil
}

// endTimeout is how long Repeats may take to note what became of a delivery.
const endTimeout = 5 * time.Second

func run(ctx context.Context, callback Callback, d *Delivery) (err error) {
	defer calm(&err)
	return callback(ctx, d)
}
