package main

import (
	"net/http"
	"os"
	"strings"
	"testing"

	"github.com/openkenar/openkenar/examples/internal/platform"
)

func TestMain(m *testing.M) { os.Exit(platform.Main(m)) }

// office is the delivery service at work: a real platform, with it as its sample
// app. The tests are the marketplace, and the browsers of its users.
type office struct {
	t *testing.T
	*platform.Platform
	own string // the service's base URL
}

const chat = "https://market.example/chat/1?a=1&b=2" // where users go back to

func open(t *testing.T) *office {
	t.Helper()
	o := &office{t: t, Platform: platform.Start(t)}
	address := platform.Address(t)
	o.own = "http://" + address
	o.Connect(`{"session_initialization_url":"` + o.own + `/session","redirect_uris":["` + o.own + `/oauth/callback"]}`)
	platform.Example(t, address, append(o.Env(), "LISTEN="+address, "REDIRECT_URI="+o.own+"/oauth/callback"))
	return o
}

// enter is a user who opens the app in a conversation.
func (o *office) enter(user, conversation string) *platform.Browser {
	o.t.Helper()
	return platform.NewBrowser(o.t).Open(o.address(user, conversation))
}

func (o *office) address(user, conversation string) string {
	o.t.Helper()
	var out struct{ URL string }
	o.Host("POST", "/extensions/sample-app/open", `{"touchpoint":"CHAT","user":"`+user+`","conversation_id":"`+conversation+`","return_url":"`+chat+`"}`, &out)
	return out.URL
}

// message is what the app has said last, and whether it has said so many things.
func (o *office) message(conversation string, said int) (id string) {
	o.t.Helper()
	var out struct {
		Messages []struct {
			ID, Text string
			Sender   struct{ Type, Side string }
		}
	}
	o.Host("GET", "/conversations/"+conversation+"/messages", "", &out)
	n := 0
	for _, m := range out.Messages {
		if m.Sender.Type == "BOT" {
			n++
			id = m.ID
			if m.Sender.Side != "SELLER" || !strings.HasPrefix(m.Text, "A courier is ordered: ") {
				o.t.Errorf("the app said %+v", m)
			}
		}
	}
	if n != said {
		o.t.Errorf("the app said %d things, want %d", n, said)
	}
	return id
}

// click is a user who clicks the button of a message.
func (o *office) click(user, message string) *platform.Browser {
	o.t.Helper()
	var out struct{ URL string }
	o.Host("POST", "/messages/"+message+"/buttons/0/0/click", `{"user":"`+user+`","return_url":"`+chat+`"}`, &out)
	return platform.NewBrowser(o.t).Open(out.URL)
}

// TestDelivery: a seller orders a courier, and both sides follow the parcel.
func TestDelivery(t *testing.T) {
	t.Parallel()
	o := open(t)
	conversation := o.Dev.ConversationID
	back := `href="` + chat + `"`
	seller := o.enter("seller", conversation).Sees(200, "What is sent?", back)
	if seller.URL.RawQuery != "" {
		t.Errorf("the ticket stays in the address: %s", seller.URL)
	}
	seller.Press("Order a courier", "parcel", "A <b>bicycle</b>").Press(`value="seller"`)
	seller.Sees(200, "CONVERSATION_SEND_MESSAGE", conversation, "USER_ID").Lacks("offline_access")
	o.message(conversation, 0)
	seller.Press(`value="accept"`).Sees(200, "A <b>bicycle</b>", "The courier is ordered.", "I gave it to the courier", back)
	if strings.Contains(seller.Page, "<b>") || !strings.HasPrefix(seller.URL.String(), o.own+"/visits/") {
		t.Errorf("%s shows:\n%s", seller.URL, seller.Page)
	}

	message := o.message(conversation, 1)
	buyer := o.click("buyer", message).Sees(200, "A <b>bicycle</b>", "The courier is ordered.", back).Lacks("<button")
	seller = o.click("seller", message).Sees(200, "The courier is ordered.")
	seller.Press("I gave it to the courier").Sees(200, "The courier has it.", back).Lacks("<button")
	buyer.Open(buyer.URL.String()).Press("I have got it").Sees(200, "It has arrived.", back).Lacks("<button")
	o.click("seller", message).Sees(200, "It has arrived.").Lacks("<button")

	// Another parcel in the same chat is another one.
	o.enter("seller", conversation).Press("Order a courier", "parcel", "A pump").Consent("seller", "accept").Sees(200, "A pump", "The courier is ordered.")
	o.click("buyer", message).Sees(200, "It has arrived.")
	o.click("buyer", o.message(conversation, 2)).Sees(200, "A pump", "The courier is ordered.")
}

// TestNothingOrdered: without the user's consent nothing is said.
func TestNothingOrdered(t *testing.T) {
	t.Parallel()
	o := open(t)
	conversation := o.Dev.ConversationID
	seller := o.enter("seller", conversation)
	start := seller.URL.String()
	seller.Press("Order a courier", "parcel", "A bicycle").Consent("seller", "deny").Sees(200, "you did not agree", `href="`+chat+`"`)
	seller.Open(start).Press("Order a courier", "parcel", "A bicycle").Consent("buyer", "accept").Sees(403, "another user has agreed")
	for _, parcel := range []string{"", "  ", strings.Repeat("x", maxParcel+1), "\xff"} {
		seller.Open(start).Press("Order a courier", "parcel", parcel).Sees(400, "The seller says what is sent")
	}
	o.message(conversation, 0)
	o.Host("PUT", "/conversations/"+conversation+"/block", `{"by":"BUYER","blocked":true}`, nil)
	seller.Open(start).Press("Order a courier", "parcel", "A bicycle").Consent("seller", "accept").Sees(409, "has blocked you")
	o.message(conversation, 0)

	o.enter("buyer", conversation).Sees(200, "A seller can order").Lacks("<form")
	o.enter("seller", o.Dev.BotConversationID).Sees(200, "A seller can order").Lacks("<form")
	o.enter("seller", "").Sees(200, "A seller can order").Lacks("<form")
}

// TestStrangers: what the platform has not said, or not to this browser, opens
// nothing.
func TestStrangers(t *testing.T) {
	t.Parallel()
	o := open(t)
	conversation := o.Dev.ConversationID
	stranger := platform.NewBrowser(t)
	for _, path := range []string{"/visits/x/", "/visits/x/deliveries/x"} {
		stranger.Open(o.own+path).Sees(403, "Open the app in the chat.")
	}
	stranger.Open(o.own+"/oauth/callback?code=x&state=x").Sees(400, "This page was good once.")
	ticket := o.address("seller", conversation)
	seller := platform.NewBrowser(t).Open(ticket).Sees(200, "What is sent?")
	stranger.Open(ticket).Sees(410, "This address was good once.")
	for _, ticket := range []string{"", "x", ticket[len(ticket)-26:]} {
		stranger.Open(o.own+"/enter?ticket="+ticket).Sees(410, "This address was good once.")
	}

	// A delivery is for the two sides of its chat.
	seller.Press("Order a courier", "parcel", "A bicycle").Consent("seller", "accept")
	o.Host("PUT", "/conversations/other", `{"type":"POST","post_token":"`+o.Dev.PostToken+`","buyer":"somebody"}`, nil)
	other := o.enter("somebody", "other")
	_, delivery, _ := strings.Cut(seller.URL.Path, "/deliveries/")
	stranger.Open(seller.URL.String()).Sees(403, "Open the app in the chat.").Lacks("bicycle")
	other.Open(seller.URL.String()).Sees(403, "Open the app in the chat.").Lacks("bicycle")
	other.Open(other.Open(o.address("somebody", "other")).URL.String()+"deliveries/"+delivery).Sees(404, "no such delivery").Lacks("bicycle")
	visit, _, _ := strings.Cut(strings.TrimPrefix(seller.URL.Path, "/visits/"), "/")
	form := []string{"Content-Type", "application/x-www-form-urlencoded", "Cookie", cookie(visit) + "=" + seller.Cookie(o.own, cookie(visit))}
	for _, origin := range []string{"http://evil.example", "null"} {
		if status, answer := o.Call("POST", seller.URL.String(), "", append(form, "Origin", origin)...); status != http.StatusForbidden {
			t.Errorf("a form of %s: %d %s", origin, status, answer)
		}
	}
	seller.Open(seller.URL.String()).Sees(200, "The courier is ordered.")

	// A consent is for the browser in which it began, and once.
	back := o.until(o.enter("seller", conversation), "A pump")
	o.enter("seller", conversation).Open(back).Sees(400, "This page was good once.")
	again := o.enter("seller", conversation)
	before := again.URL.String()
	again.Open(o.address("seller", o.Dev.BotConversationID)).Open(before) // the other is in another tab
	back = o.until(again, "A pump")
	again.Open(back).Sees(200, "A pump")
	again.Open(back).Sees(400, "This page was good once.")
	again.Open(o.own+"/oauth/callback?state=x&code=y").Sees(400, "This page was good once.")

	for _, header := range [][]string{nil, {"Authorization", ""}, {"Authorization", o.Dev.App.IdentificationKey[1:]}} {
		if status, answer := o.Call("POST", o.own+"/session", `{"user_id":"x"}`, header...); status != http.StatusUnauthorized {
			t.Errorf("a session with %q: %d %s", header, status, answer)
		}
	}
}

// until orders a parcel, and stops where the platform sends the user back.
func (o *office) until(b *platform.Browser, parcel string) (address string) {
	o.t.Helper()
	b.Press("Order a courier", "parcel", parcel).Press(`value="seller"`)
	b.Follow = func(to string) bool {
		if strings.HasPrefix(to, o.own) {
			address = to
		}
		return address == ""
	}
	b.Press(`value="accept"`)
	b.Follow = nil
	return address
}

// TestConform: whatever opens the app, there is a page.
func TestConform(t *testing.T) {
	t.Parallel()
	o := open(t)
	platform.Conform(t, o.Dev.App.IdentificationKey, "--session-url", o.own+"/session")
}
