package kenar

import (
	"context"
	"errors"
	"fmt"
	"time"

	"golang.org/x/oauth2"
)

const (
	// keepFirst doubles with each round in which something could not be
	// registered, up to keepLast.
	keepFirst = time.Second
	keepLast  = time.Minute
)

// Resubscribe registers subscriptions with the user's token, renewed first where
// it is time. What is there already stays as it is, and lives as long as that
// token. All are tried; the error joins those of each, which name it.
//
// Call it where the app starts, and after each renewal; KeepSubscribed does both.
func (u *User) Resubscribe(ctx context.Context, subscriptions ...Subscription) error {
	var problems []error
	for _, s := range subscriptions {
		if err := u.Subscribe(ctx, s); err != nil {
			problems = append(problems, fmt.Errorf("subscribe to %s of %q: %w", s.Type, s.PostToken, err))
			if ctx.Err() != nil || errors.Is(err, ErrAccessEnded) {
				break
			}
		}
	}
	return errors.Join(problems...)
}

// KeepOptions of KeepSubscribed.
type KeepOptions struct {
	// Wanted returns what the app wants to hear of for this user. It is asked in
	// each round, so that what is subscribed to later is kept, too.
	Wanted func(ctx context.Context) ([]Subscription, error)
	// OnError is told what goes wrong; the subscription is zero where it is about
	// none. What the platform refuses is left alone until the next renewal; all
	// else is tried again.
	OnError func(s Subscription, err error)
}

// KeepSubscribed keeps subscriptions alive until the context ends, or the access
// does: it returns ErrAccessEnded then. It is for an app that hears more than it
// calls: subscriptions die with their token, and a token that nobody uses is
// renewed by nobody. The user's source must be a *TokenSource.
//
// It registers all when it begins, which mends what a crash between a renewal and
// the registration behind it has left; and again after each renewal, whoever
// asked for that. What was registered with the old token goes on for up to two
// minutes, so that nothing is missed in between. Where processes share a
// pair (TokenOptions.Lock), run it in each that calls for the user: of what
// another process renews it learns when its own renewal is due.
func (u *User) KeepSubscribed(ctx context.Context, o KeepOptions) error {
	source, ok := u.source.(*TokenSource)
	if !ok {
		return errors.New("kenar: KeepSubscribed needs a user whose source is a *kenar.TokenSource")
	}
	if o.Wanted == nil || o.OnError == nil {
		return errors.New("kenar: KeepSubscribed: Wanted and OnError are needed")
	}
	k := keeper{user: u, source: source, o: o}
	for failed := 0; ; {
		whole, err := k.round(ctx)
		switch {
		case ctx.Err() != nil:
			return context.Cause(ctx)
		case errors.Is(err, ErrAccessEnded):
			return err
		case whole:
			failed = 0
		default:
			failed++
		}
		if err := sleepUntil(ctx, k.changed, k.wakeAt(failed)); err != nil {
			return err
		}
	}
}

// keeper is what KeepSubscribed remembers between rounds.
type keeper struct {
	user   *User
	source *TokenSource
	o      KeepOptions

	token   *oauth2.Token   // of the last round
	changed <-chan struct{} // closed when the source has another
	settled map[string]bool // what was registered with it, or refused for good
}

// round registers what is not settled yet, and says whether all is.
func (k *keeper) round(ctx context.Context) (whole bool, err error) {
	if _, err := k.source.TokenContext(ctx); err != nil {
		k.changed = nil // it may be closed already
		k.o.OnError(Subscription{}, err)
		return false, err
	}
	token, changed := k.source.current()
	if token != k.token {
		k.settled = map[string]bool{}
	}
	k.token, k.changed = token, changed
	wanted, err := k.o.Wanted(ctx)
	if err != nil {
		k.o.OnError(Subscription{}, fmt.Errorf("kenar: what to subscribe to: %w", err))
		return false, err
	}
	whole = true
	for _, s := range wanted {
		body, err := s.MarshalJSON()
		name := string(body)
		if err == nil && k.settled[name] {
			continue
		}
		err = k.user.Subscribe(ctx, s)
		if err != nil && ctx.Err() == nil {
			k.o.OnError(s, err)
		}
		switch {
		case err == nil || refusedForGood(err):
			k.settled[name] = true
		case ctx.Err() != nil || errors.Is(err, ErrAccessEnded):
			return false, err
		default:
			whole = false
		}
	}
	return whole, nil
}

// refusedForGood says whether the same registration with the same token will be
// refused again.
func refusedForGood(err error) bool {
	for _, kind := range []error{ErrInvalid, ErrPermission, ErrNotFound, ErrPrecondition, ErrMethod, ErrTooLarge, ErrConflict} {
		if errors.Is(err, kind) {
			return true
		}
	}
	return false
}

// wakeAt returns when the next round is due, unless the token changes before: a
// moment behind that at which the source renews it. Zero: never.
func (k *keeper) wakeAt(failed int) time.Time {
	if failed > 0 {
		return time.Now().Add(min(keepFirst<<min(failed-1, 10), keepLast))
	}
	if k.token.Expiry.IsZero() {
		return time.Time{}
	}
	at := k.token.Expiry.Add(-k.source.early + time.Millisecond)
	// A renewal that has just failed left the old token in use.
	if soon := time.Now().Add(renewRest + time.Millisecond); at.Before(soon) {
		return soon
	}
	return at
}

// sleepUntil returns at a moment, or when the channel is closed; zero: no moment.
func sleepUntil(ctx context.Context, changed <-chan struct{}, at time.Time) error {
	var due <-chan time.Time
	if !at.IsZero() {
		timer := time.NewTimer(time.Until(at))
		defer timer.Stop()
		due = timer.C
	}
	select {
	case <-changed:
	case <-due:
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	return nil
}
