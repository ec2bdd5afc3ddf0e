// Command delivery-service is an app inside the chat: a seller orders a courier
// for what was sold, and both sides follow the parcel. README.md says how to run
// it.
package main

import (
	"cmp"
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

func main() {
	s, err := newService(os.Getenv("BASE_URL"), os.Getenv("REDIRECT_URI"))
	if err != nil {
		log.Fatalf("%v\n(\". .openkenar/dev.env\" sets what is needed)", err)
	}
	server := &http.Server{Addr: cmp.Or(os.Getenv("LISTEN"), "127.0.0.1:8000"), Handler: s.handler(), ReadTimeout: 10 * time.Second}
	log.Printf("the app is opened at http://%s/session", server.Addr)
	log.Fatal(server.ListenAndServe())
}

// service is the app. What it knows is in memory: a restart forgets it.
type service struct {
	platform *kenar.Client
	oauth    *oauth2.Config // without the scopes: they are asked for when it is known for what
	session  http.Handler
	own      *url.URL // to which the platform sends users back, on our own pages
	frame    string   // the platform, whose pages show ours in a frame

	tickets  shelf.Shelf[visit]
	visits   shelf.Shelf[visit] // by the browser's cookie
	consents shelf.Shelf[consent]

	mu         sync.Mutex
	deliveries map[string]delivery
}

// newService makes the app of the platform that is there, at the address to which
// it sends users back.
func newService(platform, redirectURL string) (*service, error) {
	own, err := url.Parse(redirectURL)
	if err != nil {
		return nil, err
	}
	s := &service{own: own, frame: platform, deliveries: map[string]delivery{}}
	s.tickets.Life, s.visits.Life, s.consents.Life = time.Minute, time.Hour, 10*time.Minute
	var errs [3]error
	s.platform, errs[0] = kenar.NewClient(kenar.Options{Host: platform, APIKey: os.Getenv("API_KEY")})
	s.oauth, errs[1] = kenar.NewOAuth(kenar.OAuthOptions{
		Host: platform, ClientID: os.Getenv("CLIENT_ID"), ClientSecret: os.Getenv("CLIENT_SECRET"),
		RedirectURL: redirectURL, Scopes: []kenar.Scope{kenar.ScopeUserID},
	})
	callers := kenar.Callers{Keys: []string{os.Getenv("IDENTIFICATION_KEY")}}
	s.session, errs[2] = kenar.NewSessionHandler(kenar.SessionOptions{Callers: callers, Open: s.open})
	return s, errors.Join(errs[:]...)
}

// delivery is a parcel on its way from a seller to a buyer.
type delivery struct {
	Parcel       string
	State        state
	conversation string // whose two sides follow it
}

type state string

// The states, in their order.
const (
	ordered state = "The courier is ordered."
	onWay   state = "The courier has it."
	arrived state = "It has arrived."
)

// next is what a side of the chat may do about a delivery, and what comes of it.
func (d delivery) next(side kenar.UserSide) (button string, then state) {
	switch {
	case d.State == ordered && side == kenar.SideSupply:
		return "I gave it to the courier", onWay
	case d.State == onWay && side == kenar.SideDemand:
		return "I have got it", arrived
	}
	return "", ""
}

// find returns a delivery, for those who are in its conversation.
func (s *service) find(id string, v visit) (d delivery, ok bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	d, ok = s.deliveries[id]
	return d, ok && d.conversation == v.conversation
}

// advance does what a visitor may do about a delivery, if they may do anything.
func (s *service) advance(id string, v visit) {
	s.mu.Lock()
	defer s.mu.Unlock()
	d := s.deliveries[id]
	if _, then := d.next(v.side); then != "" && d.conversation == v.conversation {
		d.State = then
		s.deliveries[id] = d
	}
}
