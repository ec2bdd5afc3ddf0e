package event

import (
	"cmp"
	"fmt"
	"slices"
	"time"

	"github.com/openkenar/openkenar/internal/delivery"
)

// JustEnded is how long after its end a subscription still explains, by a
// verdict, why its app was not told.
const JustEnded = 30 * 24 * time.Hour

// Emit writes an event and its verdicts into the transaction of the thing that
// happened, and returns the event's id.
func Emit(tx Tx, e Event) (int64, error) {
	verdicts, err := match(tx, e)
	if err != nil {
		return 0, fmt.Errorf("match %s: %w", e.Type, err)
	}
	if e.ID == 0 {
		e.ID = tx.NextID()
	}
	if err := tx.InsertEvent(e, verdicts); err != nil {
		return 0, fmt.Errorf("insert event %s: %w", e.Type, err)
	}
	return e.ID, nil
}

// match decides who hears of an event: at most one verdict for each app.
func match(tx Tx, e Event) ([]Verdict, error) {
	if kinds[e.Type].byDefault {
		return matchDefault(tx, e)
	}
	subscriptions, err := tx.Subscriptions(e.Owner, e.Type, e.Post, e.At, e.At.Add(-JustEnded))
	if err != nil {
		return nil, err
	}
	// Of one app's subscriptions a live one goes before an ended one, then the
	// one narrowed to the post before the one for all.
	slices.SortFunc(subscriptions, func(a, b Subscription) int {
		return cmp.Or(
			cmp.Compare(a.App, b.App),
			cmp.Compare(a.Ended, b.Ended), // "" first
			-cmp.Compare(a.Resource, b.Resource),
		)
	})
	subscriptions = slices.CompactFunc(subscriptions, func(a, b Subscription) bool { return a.App == b.App })
	verdicts := make([]Verdict, 0, len(subscriptions))
	for _, s := range subscriptions {
		v := Verdict{App: s.App, State: delivery.Pending, Grant: s.Grant, Metadata: s.Metadata}
		if s.Ended != "" {
			v = Verdict{App: s.App, State: delivery.Skipped, Reason: s.Ended}
		}
		if v, err = hear(tx, e, v); err != nil {
			return nil, err
		}
		verdicts = append(verdicts, v)
	}
	return verdicts, nil
}

// matchDefault decides for the types that the app concerned hears without a
// subscription. They rest on no grant.
func matchDefault(tx Tx, e Event) ([]Verdict, error) {
	user := ""
	if e.Type == NewChatbotMessage {
		user = e.User
	}
	metadata, err := tx.Echo(e.App, e.Type, user, e.At)
	if err != nil {
		return nil, err
	}
	v, err := hear(tx, e, Verdict{App: e.App, State: delivery.Pending, Metadata: metadata})
	return []Verdict{v}, err
}

// hear turns a verdict into a skip where the app cannot or does not want to be
// told.
func hear(tx Tx, e Event, v Verdict) (Verdict, error) {
	if v.State == delivery.Skipped {
		return v, nil
	}
	l, err := tx.Listener(v.App)
	if err != nil {
		return v, err
	}
	skip := func(reason string) (Verdict, error) {
		return Verdict{App: v.App, State: delivery.Skipped, Reason: reason}, nil
	}
	switch {
	case e.Sender == v.App && e.Type == NewChatbotMessage:
		return skip("the app's own message")
	case l.Suspended:
		return skip("the app is suspended")
	case e.Sender == v.App && e.Sender != "" && !l.HearOwn:
		return skip("the app's own message, and hear_own_messages is false")
	case !l.EventURL: // with what it takes to give the event to an app that fetches it
		v.State, v.Reason = delivery.Skipped, delivery.ReasonNoURL
		return v, nil
	default:
		return v, nil
	}
}
