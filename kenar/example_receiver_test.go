package kenar_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/openkenar/openkenar/kenar"
)

// asPlatform calls an app as a platform does, and says what it answers.
func asPlatform(app http.Handler, path, body string, header ...string) {
	server := httptest.NewServer(app)
	defer server.Close()
	req, err := http.NewRequestWithContext(context.Background(), http.MethodPost, server.URL+path, strings.NewReader(body))
	if err != nil {
		log.Fatal(err)
	}
	req.Header.Set("Authorization", "my-identification-key")
	for pair := range slices.Chunk(header, 2) {
		req.Header.Set(pair[0], pair[1])
	}
	resp, err := server.Client().Do(req)
	if err != nil {
		log.Fatal(err)
	}
	defer resp.Body.Close()
	answer, err := io.ReadAll(resp.Body)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(strings.TrimSpace(fmt.Sprint(resp.StatusCode, " ", string(answer))))
	if after := resp.Header.Get("Retry-After"); after != "" {
		fmt.Println("Retry-After:", after)
	}
}

func ExampleReceiver() {
	receiver, err := kenar.NewReceiver(kenar.ReceiverOptions{
		Callers: kenar.Callers{Keys: []string{"my-identification-key"}}, // os.Getenv in a real app
		OnNewChatbotMessage: func(_ context.Context, d *kenar.Delivery) error {
			if d.IsTest() {
				return nil // there is nobody to answer
			}
			fmt.Printf("%s says %q\n", d.NewChatbotMessage.Sender.Type, d.NewChatbotMessage.Text)
			return nil
		},
	})
	if err != nil {
		log.Fatal(err)
	}
	mux := http.NewServeMux()
	mux.Handle("/event", receiver)
	// A real app: (&http.Server{Addr: ":8000", Handler: mux, ReadHeaderTimeout: 5 * time.Second}).ListenAndServe()

	body := `{"type":"NEW_CHATBOT_MESSAGE","new_chatbot_message":{"id":"m1","conversation":{"id":"c1","type":"BOT"},
		"sender":{"type":"HUMAN"},"type":"TEXT","sent_at":1729429926140000,"text":"Hello!"}}`
	asPlatform(mux, "/event", body)
	asPlatform(mux, "/event", body) // the platform has not heard the answer, and sends it again
	asPlatform(mux, "/event", body, "Authorization", "a guess")
	// Output:
	// HUMAN says "Hello!"
	// 200
	// 200
	// 401 Authorization: not this app's identification key
}

// A callback says what becomes of a delivery that it cannot take.
func ExampleLater() {
	receiver, err := kenar.NewReceiver(kenar.ReceiverOptions{
		Callers: kenar.Callers{Keys: []string{"my-identification-key"}},
		OnPostUpdate: func(_ context.Context, d *kenar.Delivery) error {
			switch d.PostUpdate.Post.Category {
			case "cars":
				return kenar.Reject(errors.New("this app is for bicycles"))
			case "tandems":
				return kenar.Later(10*time.Minute, errors.New("the catalogue is being rebuilt"))
			}
			return nil
		},
	})
	if err != nil {
		log.Fatal(err)
	}
	asPlatform(receiver, "/", `{"type":"POST_UPDATE","post_update":{"type":"PUBLISH","post":{"token":"p1","category":"cars"}}}`)
	asPlatform(receiver, "/", `{"type":"POST_UPDATE","post_update":{"type":"PUBLISH","post":{"token":"p2","category":"tandems"}}}`)
	// Output:
	// 410 the app does not want this delivery
	// 503 the app asks for this delivery later
	// Retry-After: 600
}

// What an app gave when it subscribed comes with each event.
func ExampleDecode() {
	type mine struct {
		Shop string `json:"shop"`
	}
	receiver, err := kenar.NewReceiver(kenar.ReceiverOptions{
		Callers: kenar.Callers{Keys: []string{"my-identification-key"}},
		OnNewMessage: func(_ context.Context, d *kenar.Delivery) error {
			metadata, err := kenar.Decode[mine](d.Metadata)
			if err != nil {
				return kenar.Reject(err)
			}
			fmt.Println("for the shop", metadata.Shop)
			return nil
		},
	})
	if err != nil {
		log.Fatal(err)
	}
	asPlatform(receiver, "/", `{"type":"NEW_MESSAGE","metadata":{"shop":"north"},"new_message":{"type":"TEXT","text":"Hello!"}}`)
	// Output:
	// for the shop north
	// 200
}

// An app behind a proxy on the same machine takes calls from Divar alone, with
// the older key too while it is being changed.
func ExampleCallers() {
	receiver, err := kenar.NewReceiver(kenar.ReceiverOptions{
		Callers: kenar.Callers{
			Keys:           []string{"my-identification-key", "my-older-key"},
			Addresses:      kenar.DivarAddresses(),
			TrustedProxies: []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")},
		},
		OnOther: func(_ context.Context, d *kenar.Delivery) error {
			fmt.Println("heard of", d.Type)
			return nil
		},
	})
	if err != nil {
		log.Fatal(err)
	}
	body := `{"type":"USER_ACCESS_REVOCATION","user_access_revocation":{"user_id":"u1"}}`
	asPlatform(receiver, "/", body, "X-Forwarded-For", "31.214.250.140")
	asPlatform(receiver, "/", body, "X-Forwarded-For", "31.214.250.140, 192.0.2.1") // made up by 192.0.2.1
	// Output:
	// heard of USER_ACCESS_REVOCATION
	// 200
	// 403 calls from this address are not taken
}

// inTable shows what Repeats of several processes do: the comments are the
// statements for a table "deliveries (id PRIMARY KEY, begun, done)".
type inTable struct{ rows map[string]bool }

func (t inTable) Begin(_ context.Context, id string) (kenar.Turn, error) {
	// INSERT INTO deliveries VALUES ($1, now(), false) ON CONFLICT (id) DO UPDATE SET begun = now()
	// WHERE NOT deliveries.done AND deliveries.begun < now() - interval '1 minute'
	done, ok := t.rows[id]
	switch {
	case !ok:
		t.rows[id] = false
		return kenar.TurnFirst, nil // one row was affected
	case done: // SELECT done FROM deliveries WHERE id = $1
		return kenar.TurnDone, nil
	}
	return kenar.TurnBusy, nil
}

func (t inTable) Done(_ context.Context, id string) error {
	t.rows[id] = true // UPDATE deliveries SET done = true WHERE id = $1
	return nil
}

func (t inTable) Release(_ context.Context, id string) error {
	delete(t.rows, id) // DELETE FROM deliveries WHERE id = $1 AND NOT done
	return nil
}

// An app of several processes keeps what is done in its database.
func ExampleRepeats() {
	receiver, err := kenar.NewReceiver(kenar.ReceiverOptions{
		Callers: kenar.Callers{Keys: []string{"my-identification-key"}},
		Repeats: inTable{rows: map[string]bool{}},
		OnTransaction: func(_ context.Context, d *kenar.Delivery) error {
			if d.Attempt == 1 {
				return errors.New("the ledger is locked")
			}
			fmt.Println("booked", d.Transaction.CostRials, "rials")
			return nil
		},
	})
	if err != nil {
		log.Fatal(err)
	}
	body := `{"type":"PAYMENT_TRANSACTION","transaction":{"id":"t1","cost_rials":100000,"state":"TRANSACTION_STATE_COMPLETED"}}`
	asPlatform(receiver, "/", body, "webhook-id", "1-my-app", "OpenKenar-Attempt", "1")
	asPlatform(receiver, "/", body, "webhook-id", "1-my-app", "OpenKenar-Attempt", "2")
	asPlatform(receiver, "/", body, "webhook-id", "1-my-app", "OpenKenar-Attempt", "3")
	// Output:
	// 500 the app failed
	// booked 100000 rials
	// 200
	// 200
}

func ExampleSessionHandler() {
	type order struct {
		Number int `json:"number"`
	}
	sessions, err := kenar.NewSessionHandler(kenar.SessionOptions{
		Callers: kenar.Callers{Keys: []string{"my-identification-key"}},
		Open: func(_ context.Context, r *kenar.SessionRequest) (string, error) {
			o, err := kenar.Decode[order](r.ExtraData) // what the button carried
			if err != nil {
				return "", err
			}
			return fmt.Sprintf("https://app.example/orders/%d?side=%s&token=a-token-for-one-visit", o.Number, r.UserSide), nil
		},
	})
	if err != nil {
		log.Fatal(err)
	}
	asPlatform(sessions, "/session", `{"return_url":"https://divar.ir/chat","source":"CHAT_MESSAGE_ACTION","post_token":"gZd7omnS",
		"conversation_id":"c1","user_side":"Supply","user_id":"u1","extra_data":{"number":7}}`)
	// Output:
	// 200 {"url":"https://app.example/orders/7?side=SUPPLY&token=a-token-for-one-visit"}
}

func ExampleActionHandler() {
	type vote struct {
		For string `json:"for"`
	}
	actions, err := kenar.NewActionHandler(kenar.ActionOptions{
		Callers: kenar.Callers{Keys: []string{"my-identification-key"}},
		Click: func(_ context.Context, r *kenar.ActionRequest) (kenar.ActionAnswer, error) {
			v, err := kenar.Decode[vote](r.ExtraData)
			if err != nil {
				return kenar.ActionAnswer{}, err
			}
			return kenar.ActionAnswer{Text: "You chose " + v.For + "."}, nil
		},
	})
	if err != nil {
		log.Fatal(err)
	}
	asPlatform(actions, "/action", `{"touchpoint":"CHAT","conversation_id":"c1","extra_data":{"for":"tea"},"user_id":"u1"}`)
	// Output:
	// 200 {"text_message":"You chose tea."}
}

func ExampleGrid() {
	type cell struct {
		Cell int `json:"cell"`
	}
	var board []kenar.Button
	for i := range 4 {
		board = append(board, kenar.NewButton("⬜", kenar.GetDynamicAction(cell{i})))
	}
	keyboard, err := kenar.Grid(2, board...)
	if err != nil {
		log.Fatal(err)
	}
	encoded, err := json.MarshalIndent(keyboard.Rows[1], "", "  ")
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(string(encoded))
	// Output:
	// {
	//   "buttons": [
	//     {
	//       "action": {
	//         "get_dynamic_action": {
	//           "data": {
	//             "cell": 2
	//           }
	//         }
	//       },
	//       "caption": "⬜"
	//     },
	//     {
	//       "action": {
	//         "get_dynamic_action": {
	//           "data": {
	//             "cell": 3
	//           }
	//         }
	//       },
	//       "caption": "⬜"
	//     }
	//   ]
	// }
}

func ExampleNewKeyboard() {
	_, err := kenar.NewKeyboard(
		kenar.NewRow(kenar.NewButton("Track", kenar.OpenServerLink(map[string]int{"order": 7})).WithIcon("HOME")),
		kenar.NewRow(
			kenar.NewButton("The post", kenar.OpenPostPage("gZd7omnS")),
			kenar.NewButton("Our page", kenar.OpenDirectLink("app.example")),
		),
	)
	fmt.Println(err)
	// Output:
	// kenar: keyboard: rows[1].buttons[1].action.open_direct_link: not an absolute https URL
}

func ExampleNotificationButtons() {
	_, err := kenar.NotificationButtons(
		kenar.NewNotificationButton("See the offer", kenar.OpenDirectLink("https://app.example/offer")),
		kenar.NewNotificationButton("Post", kenar.OpenPostManagePage("gZd7omnS")),
	)
	fmt.Println(err)
	// Output:
	// kenar: notification buttons: items[1].title: 4 characters, want 5 to 50
}
