package main

import (
	"cmp"
	"context"
	"errors"
	"log"
	"net/http"
	"net/url"
	"os"
	"sync"
	"time"

	"golang.org/x/oauth2"

	"github.com/openkenar/openkenar/examples/internal/shelf"
	"github.com/openkenar/openkenar/kenar"
)

// crm is the app.
type crm struct {
	platform *kenar.Client
	oauth    *oauth2.Config
	events   http.Handler
	own      *url.URL      // to which the platform sends users back, on our own pages
	early    time.Duration // how long before its end a token is renewed
	book     *book

	changed  chan string         // sellers who came or went, for keep
	sessions shelf.Shelf[string] // sellers, by their browsers' cookie
}

func newCRM(b *book, early time.Duration) (*crm, error) {
	host, redirectURL := os.Getenv("BASE_URL"), os.Getenv("REDIRECT_URI")
	own, err := url.Parse(redirectURL)
	if err != nil {
		return nil, err
	}
	c := &crm{own: own, early: early, book: b, changed: make(chan string)}
	c.sessions.Life = 12 * time.Hour
	var errs [3]error
	c.platform, errs[0] = kenar.NewClient(kenar.Options{Host: host, APIKey: os.Getenv("API_KEY")})
	c.oauth, errs[1] = kenar.NewOAuth(kenar.OAuthOptions{
		Host: host, ClientID: os.Getenv("CLIENT_ID"), ClientSecret: os.Getenv("CLIENT_SECRET"), RedirectURL: redirectURL,
		Scopes: []kenar.Scope{kenar.ScopeAllConversationsRead, kenar.ScopeUserID, kenar.ScopeAccessRevocation, kenar.ScopeOffline},
	})
	c.events, errs[2] = kenar.NewReceiver(kenar.ReceiverOptions{
		Callers: kenar.Callers{Keys: []string{os.Getenv("IDENTIFICATION_KEY")}}, OnNewMessage: c.message, OnAccessRevoked: c.revoked,
	})
	return c, errors.Join(errs[:]...)
}

// owner is the metadata of a subscription. A message does not say whose post it is
// about; what we subscribed with comes back with it, and does.
type owner struct {
	Seller string `json:"seller"`
}

// message mirrors a message.
func (c *crm) message(_ context.Context, d *kenar.Delivery) error {
	of, err := kenar.Decode[owner](d.Metadata)
	if err != nil || of.Seller == "" {
		return nil //nolint:nilerr // it comes from a subscription that is not ours, and never will
	}
	m := d.NewMessage
	return c.book.change(of.Seller, func(s *seller) *seller {
		if s != nil { // else they have left meanwhile
			s.add(m.Conversation.ID, entry{m.ID, m.SentAt.Time, m.Conversation.PostToken, string(m.Sender.Side), cmp.Or(m.Text, string(m.Type)), s.Grant})
		}
		return s
	})
}

// revoked forgets a user who took our access away. One who has connected us again
// before we heard of it stays, without what we knew before.
func (c *crm) revoked(ctx context.Context, d *kenar.Delivery) error {
	id, connected := d.UserAccessRevocation.UserID, false
	var token *oauth2.Token
	c.book.look(id, func(s *seller) {
		if s != nil {
			token = s.Token
		}
	})
	if token != nil {
		_, err := c.platform.User(oauth2.StaticTokenSource(&oauth2.Token{AccessToken: token.AccessToken})).Me(ctx)
		if err != nil && !errors.Is(err, kenar.ErrUnauthenticated) {
			return err // we cannot know now; the webhook comes again
		}
		connected = err == nil
	}
	err := c.book.change(id, func(s *seller) *seller {
		if s == nil || !connected {
			return nil
		}
		s.forget()
		return s
	})
	if err != nil || connected {
		return err
	}
	c.sessions.DeleteFunc(func(seller string) bool { return seller == id })
	return c.tell(ctx, id)
}

// connect notes a seller who has agreed.
func (c *crm) connect(ctx context.Context, id string, token *oauth2.Token) error {
	err := c.book.change(id, func(s *seller) *seller {
		if s == nil {
			s = &seller{Chats: map[string][]entry{}}
		}
		s.Token = token
		s.Grant++
		return s
	})
	if err != nil {
		return err
	}
	return c.tell(ctx, id)
}

// tell has keep look at a seller.
func (c *crm) tell(ctx context.Context, id string) error {
	select {
	case c.changed <- id:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// keep keeps the tokens and the subscriptions of all sellers alive, until ctx ends.
func (c *crm) keep(ctx context.Context) {
	var keepers sync.WaitGroup
	defer keepers.Wait()
	stops := map[string]context.CancelFunc{}
	look := func(id string) {
		if stop := stops[id]; stop != nil {
			stop()
		}
		one, stop := context.WithCancel(ctx)
		stops[id] = stop
		c.book.look(id, func(s *seller) {
			if s == nil || s.Token == nil {
				stop()
				delete(stops, id)
				return
			}
			token, grant := s.Token, s.Grant
			keepers.Go(func() { c.keepOne(one, id, token, grant) })
		})
	}
	for _, id := range c.book.ids() {
		look(id)
	}
	for {
		select {
		case id := <-c.changed:
			look(id)
		case <-ctx.Done():
			return
		}
	}
}

// keepOne keeps one seller's. What it writes counts only as long as the seller has
// not connected us again.
func (c *crm) keepOne(ctx context.Context, id string, token *oauth2.Token, grant int) {
	save := func(_ context.Context, token *oauth2.Token) error {
		return c.book.change(id, func(s *seller) *seller {
			if s != nil && s.Grant == grant {
				s.Token = token
			}
			return s
		})
	}
	source, err := kenar.NewTokenSource(kenar.TokenOptions{Config: c.oauth, Token: token, Save: save, Early: c.early})
	if err == nil {
		all := kenar.Subscription{Type: kenar.SubscribeNewMessageOnPost, Metadata: owner{id}}
		err = c.platform.User(source).KeepSubscribed(ctx, kenar.KeepOptions{
			Wanted:  func(context.Context) ([]kenar.Subscription, error) { return []kenar.Subscription{all}, nil },
			OnError: func(_ kenar.Subscription, err error) { log.Printf("seller %s: %v", id, err) },
		})
	}
	if ctx.Err() != nil {
		return
	}
	if errors.Is(err, kenar.ErrAccessEnded) {
		// What we know stays: of a revocation the platform tells us, and then it goes.
		err = errors.Join(err, save(ctx, nil))
	}
	log.Printf("seller %s is kept no more: %v", id, err)
}
