package kenar_test

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/oauth2"

	"github.com/openkenar/openkenar/kenar"
)

// listening is a platform that shows what it is asked, and gives answers by path.
func listening(answers map[string]string) *httptest.Server {
	return httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			log.Fatal(err)
		}
		if !json.Valid(body) {
			body = nil // a form: it is not the same each time
		}
		fmt.Println(strings.TrimSpace(r.Method + " " + r.URL.RequestURI() + " " + string(body)))
		answer, ok := answers[r.URL.Path]
		if !ok {
			answer = "{}"
		}
		w.Header().Set("Content-Type", "application/json")
		if strings.HasPrefix(answer, `{"code":`) {
			w.WriteHeader(http.StatusForbidden)
		}
		_, _ = io.WriteString(w, answer)
	}))
}

func ExampleClient() {
	platform := listening(map[string]string{
		"/v1/open-platform/finder/post/gZd7omnS": `{"token":"gZd7omnS","state":"PUBLISHED","category":"bicycle","data":{"title":"A bicycle"}}`,
	})
	defer platform.Close()

	client, err := kenar.NewClient(kenar.Options{
		Host:   platform.URL, // leave it out for Divar
		APIKey: "my-api-key", // os.Getenv in a real app
	})
	if err != nil {
		log.Fatal(err)
	}
	post, err := client.Post(context.Background(), "gZd7omnS")
	if err != nil {
		log.Fatal(err)
	}
	data, err := kenar.Decode[struct{ Title string }](post.Data)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(post.State, data.Title)
	// Output:
	// GET /v1/open-platform/finder/post/gZd7omnS
	// PUBLISHED A bicycle
}

// exampleClient is the client of ExampleClient.
func exampleClient(platform *httptest.Server) *kenar.Client {
	client, err := kenar.NewClient(kenar.Options{Host: platform.URL, APIKey: "my-api-key"})
	if err != nil {
		log.Fatal(err)
	}
	return client
}

// exampleUser is a user whose token does not need to be renewed.
func exampleUser(platform *httptest.Server) *kenar.User {
	return exampleClient(platform).User(oauth2.StaticTokenSource(&oauth2.Token{AccessToken: "a-token"}))
}

// A chatbot answers what it has received.
func ExampleClient_SendAsBot() {
	platform := listening(nil)
	defer platform.Close()
	client := exampleClient(platform)

	keyboard, err := kenar.Grid(2,
		kenar.NewButton("Tea", kenar.GetDynamicAction(map[string]string{"for": "tea"})),
		kenar.NewButton("Coffee", kenar.GetDynamicAction(map[string]string{"for": "coffee"})),
	)
	if err != nil {
		log.Fatal(err)
	}
	receiver, err := kenar.NewReceiver(kenar.ReceiverOptions{
		Callers: kenar.Callers{Keys: []string{"my-identification-key"}},
		OnNewChatbotMessage: func(ctx context.Context, d *kenar.Delivery) error {
			return client.SendAsBot(ctx, d.NewChatbotMessage.Conversation.ID, kenar.BotMessage{Text: "What shall it be?", Buttons: keyboard})
		},
	})
	if err != nil {
		log.Fatal(err)
	}
	asPlatform(receiver, "/event", `{"type":"NEW_CHATBOT_MESSAGE","new_chatbot_message":{"id":"m1","conversation":{"id":"c1","type":"BOT"},
		"sender":{"type":"HUMAN"},"type":"TEXT","sent_at":1729429926140000,"text":"Hello!"}}`)
	// Output:
	// POST /v1/open-platform/chat/bot/conversations/c1/messages {"text_message":"What shall it be?","buttons":{"rows":[{"buttons":[{"action":{"get_dynamic_action":{"data":{"for":"tea"}}},"caption":"Tea"},{"action":{"get_dynamic_action":{"data":{"for":"coffee"}}},"caption":"Coffee"}]}]},"type":"TEXT"}
	// 200
}

// Media is taken to the platform first, and then sent like a text.
func ExampleClient_Upload() {
	platform := listening(map[string]string{
		"/experimental/open-platform/chat/upload": `{"token":"an-upload-token"}`,
		"/upload/image": `{"id":"a-media-token","status":"ok"}`,
	})
	defer platform.Close()
	client := exampleClient(platform)
	ctx := context.Background()

	media, err := client.Upload(ctx, kenar.UploadImage, "map.png", bytes.NewReader([]byte("\x89PNG…"))) // os.Open in a real app
	if err != nil {
		log.Fatal(err)
	}
	if err := client.SendAsBot(ctx, "c1", kenar.BotMessage{MediaToken: media}); err != nil {
		log.Fatal(err)
	}
	// Output:
	// POST /experimental/open-platform/chat/upload
	// POST /upload/image
	// POST /v1/open-platform/chat/bot/conversations/c1/messages {"media_token":"a-media-token"}
}

func ExampleClient_Subscriptions() {
	platform := listening(map[string]string{
		"/v1/open-platform/events/subscriptions": `{"subscriptions":[{"id":"7","event_type":"POST_UPDATE","event_resource_id":null,
			"user_id":"u1","metadata":{"shop":12},"expires_at":"2026-11-20T18:00:00Z"}],"next":null}`,
	})
	defer platform.Close()

	for s, err := range exampleClient(platform).Subscriptions(context.Background()) {
		if err != nil {
			log.Fatal(err)
		}
		fmt.Println(s.ID, s.Type, "for", s.UserID, "until", s.ExpiresAt.Format(time.TimeOnly))
	}
	// Output:
	// GET /v1/open-platform/events/subscriptions
	// 7 POST_UPDATE for u1 until 18:00:00
}

// An app that nobody can call from outside asks for its events.
func ExampleClient_Events() {
	platform := listening(map[string]string{
		"/experimental/open-platform/events": `{"events":[{"cursor":"41","webhook_id":"41-my-app","headers":{},
			"body":"{\"type\":\"USER_ACCESS_REVOCATION\",\"user_access_revocation\":{\"user_id\":\"u1\"}}"}],"next":"41","missed":0}`,
	})
	defer platform.Close()
	client := exampleClient(platform)

	cursor := "40" // kept in a file or a database, so that a restart goes on there
	for range 1 {  // for ctx.Err() == nil in a real app
		page, err := client.Events(context.Background(), cursor, 30*time.Second)
		if err != nil {
			log.Fatal(err) // wait a while and go on, in a real app
		}
		for _, e := range page.Events {
			d, err := e.Delivery()
			if err != nil {
				log.Print(err)
				continue
			}
			fmt.Println(d.ID, d.Type)
		}
		cursor = page.Next // once all of the page is done
	}
	// Output:
	// GET /experimental/open-platform/events?after=40&wait=30
	// 41-my-app USER_ACCESS_REVOCATION
}

func ExampleUser_Subscribe() {
	platform := listening(nil)
	defer platform.Close()
	user := exampleUser(platform)

	err := user.Subscribe(context.Background(), kenar.Subscription{
		Type: kenar.SubscribeNewMessageOnPost, PostToken: "gZd7omnS", Metadata: map[string]int{"shop": 12},
	})
	if err != nil {
		log.Fatal(err)
	}
	// Output:
	// POST /v1/open-platform/events/subscriptions {"event_type":"NEW_MESSAGE_ON_POST","event_resource_id":"gZd7omnS","metadata":{"shop":12}}
}

func ExampleUser_SendEvent() {
	platform := listening(nil)
	defer platform.Close()
	user := exampleUser(platform)

	buttons, err := kenar.NotificationButtons(
		kenar.NewNotificationButton("Track it", kenar.OpenServerLink(map[string]int{"parcel": 7})),
	)
	if err != nil {
		log.Fatal(err)
	}
	err = user.SendEvent(context.Background(), kenar.Notification{
		Message: "Your parcel is on its way.", TargetType: kenar.TargetUser, TargetID: "u1", Buttons: buttons,
	})
	if err != nil {
		log.Fatal(err)
	}
	// Output:
	// POST /experimental/open-platform/events/send {"message":"Your parcel is on its way.","target_type":"USER","target_resource_id":"u1","buttons":{"items":[{"title":"Track it","action":{"open_server_link":{"data":{"parcel":7}}}}]}}
}

func ExampleUser_SendMessage() {
	platform := listening(nil)
	defer platform.Close()
	user := exampleUser(platform)

	err := user.SendMessage(context.Background(), "c1", kenar.ChatMessage{Text: "It is still to be had."})
	if err != nil {
		log.Fatal(err)
	}
	// Output:
	// POST /v2/open-platform/conversations/c1/messages {"message":"It is still to be had.","type":"TEXT"}
}

func ExampleUser_Conversation() {
	platform := listening(map[string]string{
		"/v1/open-platform/chat/conversations/c1": `{"conversation":{"id":"c1","type":"POST","post_token":"gZd7omnS"},"messages":[
			{"id":"m1","conversation":{"id":"c1","type":"POST","post_token":"gZd7omnS"},"sender":{"type":"HUMAN","side":"BUYER"},
			"type":"TEXT","sent_at":"2026-11-20T18:00:00Z","text":"Is it still to be had?"}]}`,
	})
	defer platform.Close()
	user := exampleUser(platform)

	talk, err := user.Conversation(context.Background(), "c1")
	if err != nil {
		log.Fatal(err)
	}
	for _, m := range talk.Messages {
		fmt.Printf("%s %s: %s\n", m.SentAt.Format(time.TimeOnly), m.Sender.Side, m.Text)
	}
	// Output:
	// GET /v1/open-platform/chat/conversations/c1
	// 18:00:00 BUYER: Is it still to be had?
}

func ExampleUser_Posts() {
	platform := listening(map[string]string{
		"/v1/open-platform/finder/user-posts": `{"posts":[{"token":"gZd7omnS","title":"A bicycle","images":[],"category":"bicycle"}]}`,
	})
	defer platform.Close()

	for post, err := range exampleUser(platform).Posts(context.Background()) {
		if err != nil {
			log.Fatal(err)
		}
		fmt.Println(post.Token, post.Title)
	}
	// Output:
	// GET /v1/open-platform/finder/user-posts
	// gZd7omnS A bicycle
}

func ExampleError() {
	platform := listening(map[string]string{
		"/v1/open-platform/users": `{"code":7,"message":"token lacks USER_ID and USER_PHONE; one of them is needed","details":[]}`,
	})
	defer platform.Close()

	_, err := exampleUser(platform).Me(context.Background())
	switch {
	case errors.Is(err, kenar.ErrAccessEnded):
		fmt.Println("ask the user again")
	case errors.Is(err, kenar.ErrQuota):
		if e, ok := errors.AsType[*kenar.Error](err); ok {
			fmt.Println("come back after", e.RetryAfter)
		}
	case errors.Is(err, kenar.ErrUnanswered):
		fmt.Println("nobody knows whether it was done")
	case err != nil:
		fmt.Println(err)
	}
	// Output:
	// GET /v1/open-platform/users
	// kenar: GET /v1/open-platform/users: HTTP 403: token lacks USER_ID and USER_PHONE; one of them is needed
}

func ExampleScopes() {
	_, err := kenar.Scopes(kenar.ScopeUserID, kenar.ScopePostConversationsRead(""))
	fmt.Println(err)
	scopes, err := kenar.Scopes(kenar.ScopeUserID, kenar.ScopePostConversationsRead("gZd7omnS"))
	fmt.Println(scopes, err)
	// Output:
	// kenar: invalid request: scope CHAT_POST_CONVERSATIONS_READ.: needs the identifier of a post or conversation: CHAT_POST_CONVERSATIONS_READ.IDENTIFIER
	// [USER_ID CHAT_POST_CONVERSATIONS_READ.gZd7omnS] <nil>
}

// Two pages of an app: one that sends the browser to the platform, and the one to
// which it comes back.
func ExampleNewOAuth() {
	config, err := kenar.NewOAuth(kenar.OAuthOptions{
		ClientID: "my-app", ClientSecret: "my-client-secret", RedirectURL: "https://app.example/back",
		Scopes: []kenar.Scope{kenar.ScopeUserID, kenar.ScopeAllConversationsRead, kenar.ScopeOffline},
	})
	if err != nil {
		log.Fatal(err)
	}
	secure := func(name, value string) *http.Cookie {
		return &http.Cookie{Name: name, Value: value, Path: "/back", MaxAge: 600, Secure: true, HttpOnly: true, SameSite: http.SameSiteLaxMode}
	}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /begin", func(w http.ResponseWriter, r *http.Request) {
		state, verifier := rand.Text(), oauth2.GenerateVerifier()
		http.SetCookie(w, secure("state", state))
		http.SetCookie(w, secure("verifier", verifier))
		http.Redirect(w, r, config.AuthCodeURL(state, oauth2.S256ChallengeOption(verifier)), http.StatusSeeOther)
	})
	mux.HandleFunc("GET /back", func(w http.ResponseWriter, r *http.Request) {
		state, err := r.Cookie("state")
		if err != nil {
			http.Error(w, "please begin again", http.StatusBadRequest)
			return
		}
		verifier, err := r.Cookie("verifier")
		if err != nil {
			http.Error(w, "please begin again", http.StatusBadRequest)
			return
		}
		code, err := kenar.AuthCode(r, state.Value)
		if errors.Is(err, kenar.ErrDenied) {
			_, _ = io.WriteString(w, "as you wish")
			return
		}
		if err != nil {
			http.Error(w, "please begin again", http.StatusBadRequest)
			return
		}
		// Once: a code that comes twice takes back what it gave.
		pair, err := config.Exchange(r.Context(), code, oauth2.VerifierOption(verifier.Value))
		if err != nil {
			http.Error(w, "please begin again", http.StatusBadGateway)
			return
		}
		_ = pair // store it, and make a TokenSource of it
	})

	w := httptest.NewRecorder()
	mux.ServeHTTP(w, httptest.NewRequestWithContext(context.Background(), http.MethodGet, "/begin", nil))
	to, err := w.Result().Location()
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(to.Host, to.Query().Get("scope"))
	// Output:
	// oauth.divar.ir USER_ID CHAT_SUPPLIER_ALL_CONVERSATIONS_READ offline_access
}

// A source for a user, whose pair of tokens is kept in a file.
func ExampleTokenSource() {
	platform := listening(map[string]string{
		"/oauth2/token":           `{"access_token":"access-2","refresh_token":"refresh-2","expires_in":3600,"token_type":"bearer"}`,
		"/v1/open-platform/users": `{"user_id":"u1"}`,
	})
	defer platform.Close()
	dir, err := os.MkdirTemp("", "app-")
	if err != nil {
		log.Fatal(err)
	}
	defer func() { _ = os.RemoveAll(dir) }()
	config, err := kenar.NewOAuth(kenar.OAuthOptions{
		Host: platform.URL, ClientID: "my-app", ClientSecret: "my-client-secret",
		RedirectURL: "https://app.example/back", Scopes: []kenar.Scope{kenar.ScopeUserID, kenar.ScopeOffline},
	})
	if err != nil {
		log.Fatal(err)
	}

	file := filepath.Join(dir, "u1.json")
	source, err := kenar.NewTokenSource(kenar.TokenOptions{
		Config: config,
		Token:  &oauth2.Token{AccessToken: "access-1", RefreshToken: "refresh-1", Expiry: time.Now().Add(time.Minute)}, // read from the file
		Save: func(_ context.Context, pair *oauth2.Token) error {
			content, err := json.Marshal(pair) //nolint:gosec // that is what is stored
			if err != nil {
				return err
			}
			// All of it or nothing, also when the app is killed in between.
			if err := os.WriteFile(file+".new", content, 0o600); err != nil {
				return err
			}
			return os.Rename(file+".new", file)
		},
	})
	if err != nil {
		log.Fatal(err)
	}
	me, err := exampleClient(platform).User(source).Me(context.Background())
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(me.UserID)
	// Output:
	// POST /oauth2/token
	// GET /v1/open-platform/users
	// u1
}

// An app that hears of all messages to a seller, for as long as the seller lets
// it. Each user has a goroutine of this kind.
func ExampleUser_KeepSubscribed() {
	ctx, stop := context.WithCancel(context.Background())
	defer stop()
	platform := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		fmt.Println(r.Method, r.URL.Path)
		stop() // the app ends here; a real one ends when it is told to
	}))
	defer platform.Close()
	source, err := kenar.NewTokenSource(kenar.TokenOptions{
		Config: &oauth2.Config{Endpoint: oauth2.Endpoint{TokenURL: platform.URL + "/oauth2/token"}},         // see NewOAuth
		Token:  &oauth2.Token{AccessToken: "access-1", Expiry: time.Now().Add(time.Hour)},                   // from the database
		Save:   func(context.Context, *oauth2.Token) error { return errors.New("store it, in a real app") }, // see TokenSource
	})
	if err != nil {
		log.Fatal(err)
	}
	err = exampleClient(platform).User(source).KeepSubscribed(ctx, kenar.KeepOptions{
		Wanted: func(context.Context) ([]kenar.Subscription, error) {
			return []kenar.Subscription{{Type: kenar.SubscribeNewMessageOnPost, Metadata: map[string]int{"seller": 7}}}, nil
		},
		OnError: func(s kenar.Subscription, err error) { log.Printf("%s: %v", s.Type, err) },
	})
	switch {
	case errors.Is(err, kenar.ErrAccessEnded):
		fmt.Println("forget the user's tokens")
	case ctx.Err() != nil:
		fmt.Println("the app ends")
	}
	// Output:
	// POST /v1/open-platform/events/subscriptions
	// the app ends
}
