package main

import (
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/openkenar/openkenar/examples/internal/platform"
)

func TestMain(m *testing.M) { os.Exit(platform.Main(m)) }

// desk is the CRM at work: a real platform, with it as its sample app. The tests
// are the marketplace, and the browsers of sellers.
type desk struct {
	t *testing.T
	*platform.Platform
	address, own, file string
	env                []string
	crm                *platform.Running
}

func open(t *testing.T, env ...string) *desk {
	t.Helper()
	d := &desk{t: t, Platform: platform.Start(t), address: platform.Address(t), env: env}
	d.own, d.file = "http://"+d.address, filepath.Join(d.Dir, "data", "crm.json")
	d.Connect(`{"event_url":"` + d.own + `/event","redirect_uris":["` + d.own + `/oauth/callback"]}`)
	d.start()
	return d
}

func (d *desk) start() {
	d.t.Helper()
	env := append(d.Env(), "LISTEN="+d.address, "REDIRECT_URI="+d.own+"/oauth/callback", "CRM_FILE="+d.file)
	d.crm = platform.Example(d.t, d.address, append(env, d.env...))
}

// seller is a seller who connects the CRM, and waits until they are subscribed.
func (d *desk) seller(user string) *platform.Browser {
	d.t.Helper()
	b := platform.NewBrowser(d.t).Open(d.own+"/").Sees(200, "Connect your account")
	b.Press("Connect your account").Press(`value="` + user + `"`)
	b.Sees(200, "CHAT_SUPPLIER_ALL_CONVERSATIONS_READ", "USER_ID", "NOTIFICATION_ACCESS_REVOCATION", "offline_access")
	b.Press(`value="accept"`).Sees(200, "All your chats").Lacks("Connect your account")
	return b
}

// subscribed waits until the app has so many subscriptions that end after a time,
// and returns when the last of them does.
func (d *desk) subscribed(many int, after time.Time) (until time.Time) {
	d.t.Helper()
	platform.Until(d.t, strconv.Itoa(many)+" are subscribed", func() bool {
		var out struct {
			Subscriptions []struct {
				ExpiresAt time.Time `json:"expires_at"`
			}
		}
		d.Host("GET", "/apps/sample-app/subscriptions", "", &out)
		n := 0
		for _, s := range out.Subscriptions {
			if s.ExpiresAt.After(after) {
				n++
				until = s.ExpiresAt
			}
		}
		return n == many
	})
	return until
}

// say says things in a conversation, and waits until they have arrived.
func (d *desk) say(conversation, sender string, texts ...string) {
	d.t.Helper()
	for _, text := range texts {
		d.Say(conversation, sender, text)
	}
	d.Settle()
}

// shows reloads a page and fails the test unless it has these texts, each once and
// in this order.
func (d *desk) shows(b *platform.Browser, texts ...string) {
	d.t.Helper()
	b.Open(d.own + "/")
	at := 0
	for _, text := range texts {
		i := strings.Index(b.Page[at:], text)
		if i < 0 || strings.Count(b.Page, text) != 1 {
			d.t.Fatalf("%q is there %d times, or in another order:\n%s", text, strings.Count(b.Page, text), b.Page)
		}
		at += i
	}
}

// saved is the CRM's file.
func (d *desk) saved() string {
	d.t.Helper()
	content, err := os.ReadFile(d.file)
	if err != nil {
		d.t.Fatal(err)
	}
	return string(content)
}

// TestMirror: all chats of a seller are there, each message once and in its place,
// and nobody else's.
func TestMirror(t *testing.T) {
	t.Parallel()
	d := open(t)
	d.Host("PUT", "/posts/p2", `{"owner":"seller","title":"Pump","state":"PUBLISHED","category":"bicycle","city":"tehran","chat_enabled":true}`, nil)
	d.Host("PUT", "/posts/theirs", `{"owner":"buyer","title":"Bell","state":"PUBLISHED","category":"bicycle","city":"tehran","chat_enabled":true}`, nil)
	for conversation, post := range map[string]string{"on-p2": "p2", "on-theirs": "theirs"} {
		d.Host("PUT", "/conversations/"+conversation, `{"type":"POST","post_token":"`+post+`","buyer":"somebody"}`, nil)
	}
	d.say(d.Dev.ConversationID, "BUYER", "said before")
	seller := d.seller("seller")
	d.subscribed(1, time.Now())
	other := d.seller("buyer")
	d.subscribed(2, time.Now())

	d.say("on-p2", "BUYER", "How much is the pump?")
	d.say("on-theirs", "BUYER", "How loud is the bell?")
	d.say(d.Dev.ConversationID, "BUYER", "<b>first</b>", "second")
	d.say(d.Dev.ConversationID, "SELLER", "third")
	d.shows(seller, d.Dev.PostToken, "&lt;b&gt;first&lt;/b&gt;", "second", "third", "How much is the pump?")
	seller.Lacks("said before").Lacks("bell").Lacks("theirs")
	d.shows(other, "theirs", "How loud is the bell?")
	other.Lacks("pump").Lacks("third")
	platform.NewBrowser(t).Open(d.own+"/").Sees(200, "Connect your account").Lacks("pump")

	// What comes again, late or over a bad line.
	d.Redeliver("NEW_MESSAGE_ON_POST")
	d.Host("POST", "/dev/faults", `{"fault":"status","calls":"NEW_MESSAGE_ON_POST"}`, nil)
	d.Host("POST", "/dev/faults", `{"fault":"drop_answer","calls":"NEW_MESSAGE_ON_POST"}`, nil)
	d.say(d.Dev.ConversationID, "BUYER", "overtaken")
	d.say(d.Dev.ConversationID, "BUYER", "heard twice")
	d.say(d.Dev.ConversationID, "BUYER", "overtaking")
	d.Advance("1m")
	all := []string{"first", "second", "third", "overtaken", "heard twice", "overtaking", "How much is the pump?"}
	d.shows(seller, all...)

	// A crash forgets sessions, and nothing else.
	d.crm.Kill()
	d.say(d.Dev.ConversationID, "BUYER", "said meanwhile")
	d.start()
	d.Advance("1h")
	seller.Open(d.own+"/").Sees(200, "Connect your account").Lacks("pump")
	seller = d.seller("seller")
	d.shows(seller, "first", "second", "third", "overtaken", "heard twice", "overtaking", "said meanwhile", "How much is the pump?")
	if info, err := os.Stat(d.file); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("the file: %v, %v", info.Mode(), err)
	}
}

// TestHours: messages go on arriving when the token with which they were
// subscribed to is long dead.
func TestHours(t *testing.T) {
	t.Parallel()
	d := open(t, "RENEW_EARLY=59m58s") // it renews as soon as it may
	seller := d.seller("seller")
	first := d.subscribed(1, time.Now())
	d.Advance("50m")
	second := d.subscribed(1, first.Add(time.Minute)) // renewed by itself
	d.say(d.Dev.ConversationID, "BUYER", "in the first hour")
	d.Advance("50m")
	d.say(d.Dev.ConversationID, "BUYER", "in the second hour")
	d.shows(seller, "in the first hour", "in the second hour")

	// Nobody renewed while the app was away: it finds its token dead.
	d.crm.Kill()
	d.Advance("3h")
	d.start()
	d.subscribed(1, second.Add(2*time.Hour))
	d.say(d.Dev.ConversationID, "BUYER", "in the fifth hour")
	seller = d.seller("seller")
	d.shows(seller, "in the first hour", "in the second hour", "in the fifth hour")

	// Nobody tells the app that the access is gone: it says so, and forgets nothing.
	d.Connect(`{"event_url":"http://127.0.0.1:1/event"}`)
	d.Host("DELETE", "/users/seller/grants/sample-app", "", nil)
	platform.Until(t, "the app finds it out", func() bool {
		return strings.Contains(seller.Open(d.own+"/").Page, "Your connection has ended.")
	})
	d.shows(seller, "in the fifth hour")
	d.Connect(`{"event_url":"` + d.own + `/event"}`)
	seller.Press("Connect your account").Consent("seller", "accept").Sees(200, "in the fifth hour").Lacks("Your connection has ended.")
}

// TestRevoked: who takes the access away is forgotten.
func TestRevoked(t *testing.T) {
	t.Parallel()
	d := open(t)
	d.Host("PUT", "/posts/theirs", `{"owner":"buyer","title":"Bell","state":"PUBLISHED","category":"bicycle","city":"tehran","chat_enabled":true}`, nil)
	d.Host("PUT", "/conversations/on-theirs", `{"type":"POST","post_token":"theirs","buyer":"somebody"}`, nil)
	seller, other := d.seller("seller"), d.seller("buyer")
	d.subscribed(2, time.Now())
	d.say(d.Dev.ConversationID, "BUYER", "a secret")
	d.say("on-theirs", "BUYER", "something else")
	d.shows(seller, "a secret")
	d.Host("DELETE", "/users/seller/grants/sample-app", "", nil)
	d.say(d.Dev.ConversationID, "BUYER", "said afterwards")
	seller.Open(d.own+"/").Sees(200, "Connect your account").Lacks("secret")
	d.shows(other, "something else")
	if saved := d.saved(); strings.Contains(saved, "secret") || strings.Contains(saved, "afterwards") || !strings.Contains(saved, "something else") {
		t.Errorf("the file has %s", saved)
	}

	// While the app is away.
	seller = d.seller("seller")
	d.subscribed(2, time.Now())
	d.say(d.Dev.ConversationID, "BUYER", "another secret")
	d.shows(seller, "another secret")
	d.crm.Kill()
	d.Host("DELETE", "/users/seller/grants/sample-app", "", nil)
	d.start()
	platform.Until(t, "the app has heard of it", func() bool {
		d.Advance("10s")
		return !strings.Contains(d.saved(), "secret")
	})
	if saved := d.saved(); !strings.Contains(saved, "something else") {
		t.Errorf("the file has %s", saved)
	}

	// Connected again before the app has heard of it.
	d.seller("seller")
	d.subscribed(2, time.Now())
	d.say(d.Dev.ConversationID, "BUYER", "the last secret")
	d.Host("POST", "/dev/faults", `{"fault":"status","calls":"USER_ACCESS_REVOCATION"}`, nil)
	d.Host("DELETE", "/users/seller/grants/sample-app", "", nil)
	d.Settle()
	seller = d.seller("seller")
	d.subscribed(2, time.Now())
	d.say(d.Dev.ConversationID, "BUYER", "with a new consent")
	d.shows(seller, "the last secret", "with a new consent")
	d.Advance("1m")
	d.shows(seller, "with a new consent")
	seller.Lacks("secret")
	d.say(d.Dev.ConversationID, "BUYER", "and on")
	d.shows(seller, "with a new consent", "and on")
}

// TestStrangers: nobody gets at chats, and nobody makes up a consent.
func TestStrangers(t *testing.T) {
	t.Parallel()
	d := open(t)
	for _, header := range [][]string{nil, {"Authorization", ""}, {"Authorization", d.Dev.App.IdentificationKey + "x"}} {
		if status, answer := d.Call("POST", d.own+"/event", `{"type":"NEW_MESSAGE"}`, header...); status != 401 {
			t.Errorf("an event with %q: %d %s", header, status, answer)
		}
	}
	message := `{"type":"NEW_MESSAGE","metadata":%,"new_message":{"id":"1","conversation":{"id":"1"},"type":"TEXT","sent_at":1,"text":"made up"}}`
	for _, metadata := range []string{`null`, `{}`, `{"seller":"nobody"}`, `{"seller":7}`, `[]`} {
		status, answer := d.Call("POST", d.own+"/event", strings.Replace(message, "%", metadata, 1), "Authorization", d.Dev.App.IdentificationKey)
		if status != 200 {
			t.Errorf("an event with metadata %s: %d %s", metadata, status, answer)
		}
	}
	for _, user := range []string{"nobody", ""} {
		status, answer := d.Call("POST", d.own+"/event", `{"type":"USER_ACCESS_REVOCATION","user_access_revocation":{"user_id":"`+user+`"}}`,
			"Authorization", d.Dev.App.IdentificationKey)
		if status != 200 {
			t.Errorf("a revocation of %q: %d %s", user, status, answer)
		}
	}
	if strings.Contains(d.saved(), "made up") {
		t.Errorf("the file has %s", d.saved())
	}

	denied := platform.NewBrowser(t).Open(d.own+"/").Press("Connect your account").Consent("seller", "deny")
	denied.Sees(200, "you did not agree", "Connect your account")
	// A consent is for the browser in which it began, and once.
	b := platform.NewBrowser(t).Open(d.own + "/").Press("Connect your account").Press(`value="seller"`)
	var back string
	b.Follow = func(to string) bool {
		if strings.HasPrefix(to, d.own) {
			back = to
		}
		return back == ""
	}
	b.Press(`value="accept"`)
	b.Follow = nil
	platform.NewBrowser(t).Open(back).Sees(400, "This page was good once.")
	platform.NewBrowser(t).Open(d.own+"/oauth/callback?state=&code=x").Sees(400, "This page was good once.")
	b.Open(back).Sees(200, "You are connected.")
	b.Open(back).Sees(400, "This page was good once.")
	d.Walk("README.md", 1)
	if status, answer := d.Call("POST", d.own+"/connect", "", "Origin", "http://evil.example"); status != 403 {
		t.Errorf("a form of another site: %d %s", status, answer)
	}
}

// TestConform: the mirror bears a receiver's hard life.
func TestConform(t *testing.T) {
	t.Parallel()
	d := open(t)
	platform.Conform(t, d.Dev.App.IdentificationKey, "--event-url", d.own+"/event")
}
