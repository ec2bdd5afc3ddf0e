package main

import (
	"context"
	"crypto/rand"
	"errors"
	"log"
	"net/http"
	"strings"
	"time"
	"unicode/utf8"

	"golang.org/x/oauth2"

	"github.com/openkenar/openkenar/kenar"
)

// consent is an order that waits for its user, who is on the platform's pages.
type consent struct {
	visit    string // whose browser has to come back
	verifier string // of PKCE: a code that somebody else has seen is of no use
	parcel   string
}

const maxParcel = 80 // characters

// order asks the user whether we may write in this chat for them: in this one,
// now that it is known why.
func (s *service) order(w http.ResponseWriter, r *http.Request, v visit) {
	parcel := strings.TrimSpace(r.PostFormValue("parcel"))
	if n := utf8.RuneCountInString(parcel); v.side != kenar.SideSupply || v.conversation == "" || n == 0 || n > maxParcel || !utf8.ValidString(parcel) {
		s.show(w, http.StatusBadRequest, view{Visit: v, Problem: "The seller says what is sent, in a few words."})
		return
	}
	asking := *s.oauth
	var err error
	if asking.Scopes, err = kenar.Scopes(kenar.ScopeUserID, kenar.ScopeConversationSend(v.conversation)); err != nil {
		s.fail(w, v, err)
		return
	}
	verifier := oauth2.GenerateVerifier()
	state := s.consents.Put(consent{r.PathValue("visit"), verifier, parcel})
	http.Redirect(w, r, asking.AuthCodeURL(state, oauth2.S256ChallengeOption(verifier)), http.StatusSeeOther)
}

// agreed is where the user comes back. The token is used for one message, and
// forgotten.
func (s *service) agreed(w http.ResponseWriter, r *http.Request) {
	state := r.FormValue("state")
	c, _ := s.consents.Take(state)
	v, ok := s.visit(r, c.visit)
	if !ok { // or somebody could slip this user another's consent
		s.show(w, http.StatusBadRequest, view{Problem: "This page was good once. Open the app in the chat again."})
		return
	}
	code, err := kenar.AuthCode(r, state)
	if err != nil {
		s.fail(w, v, err)
		return
	}
	ctx, cancel := context.WithTimeout(r.Context(), 15*time.Second)
	defer cancel()
	token, err := s.oauth.Exchange(ctx, code, oauth2.VerifierOption(c.verifier))
	if err != nil {
		s.fail(w, v, err)
		return
	}
	user := s.platform.User(oauth2.StaticTokenSource(token))
	id, err := s.tell(ctx, user, v, c.parcel)
	if err != nil {
		s.fail(w, v, err)
		return
	}
	http.Redirect(w, r, v.path+"deliveries/"+id, http.StatusSeeOther) //nolint:gosec // a path of ours
}

var errOther = errors.New("another user has agreed than the one who opened the app")

// tell writes to both sides of the chat, for the user, that a courier is ordered.
func (s *service) tell(ctx context.Context, user *kenar.User, v visit, parcel string) (id string, err error) {
	me, err := user.Me(ctx)
	if err != nil {
		return "", err
	}
	if me.UserID != v.user {
		return "", errOther
	}
	id = rand.Text()
	follow, err := kenar.NewKeyboard(kenar.NewRow(kenar.NewButton("Follow the parcel", kenar.OpenServerLink(button{id}))))
	if err != nil {
		return "", err
	}
	s.mu.Lock()
	s.deliveries[id] = delivery{parcel, ordered, v.conversation} // before anybody can click
	s.mu.Unlock()
	err = user.SendMessage(ctx, v.conversation, kenar.ChatMessage{Text: "A courier is ordered: " + parcel, SenderButtons: follow, ReceiverButtons: follow})
	if err != nil {
		// Failure policy: no order. Where the message was sent although no answer
		// came, its button says that there is no such delivery.
		s.mu.Lock()
		delete(s.deliveries, id)
		s.mu.Unlock()
	}
	return id, err
}

// fail tells the user what went wrong, as far as it is theirs to know.
func (s *service) fail(w http.ResponseWriter, v visit, err error) {
	switch {
	case errors.Is(err, kenar.ErrDenied):
		s.show(w, http.StatusOK, view{Visit: v, Problem: "Nothing was ordered, since you did not agree."})
	case errors.Is(err, kenar.ErrPrecondition):
		s.show(w, http.StatusConflict, view{Visit: v, Problem: "Nothing was ordered: the other side has blocked you."})
	case errors.Is(err, errOther):
		s.show(w, http.StatusForbidden, view{Visit: v, Problem: "Nothing was ordered: " + err.Error() + "."})
	default:
		log.Printf("order: %v", err)
		s.show(w, http.StatusBadGateway, view{Visit: v, Problem: "Nothing was ordered: something went wrong. Try again."})
	}
}
