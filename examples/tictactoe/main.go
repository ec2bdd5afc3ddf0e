// Command tictactoe is a chatbot that plays tic-tac-toe: whoever writes to it
// gets a board of nine buttons. Run it in two terminals; README.md plays in a third:
//
//	go run ./cmd/openkenar dev --event-url http://127.0.0.1:8000/event --action-url http://127.0.0.1:8000/action
//	. .openkenar/dev.env # the second begins here
//	go -C examples run ./tictactoe
package main

import (
	"bytes"
	"context"
	"crypto/subtle"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/url"
	"os"
	"sync"
	"time"
)

const maxBody = 64 << 10 // bytes; a webhook is much shorter

func main() {
	listen := flag.String("listen", "127.0.0.1:8000", "address to listen on")
	platform := flag.String("platform", "http://127.0.0.1:7700", "where the platform is")
	flag.Parse()
	a := newApp(*platform, os.Getenv("API_KEY"), os.Getenv("IDENTIFICATION_KEY"))
	if a.apiKey == "" || a.identificationKey == "" {
		log.Fatal(`API_KEY and IDENTIFICATION_KEY are not set: run ". .openkenar/dev.env" first`)
	}
	server := &http.Server{Addr: *listen, Handler: a.handler(), ReadTimeout: 10 * time.Second, WriteTimeout: 10 * time.Second}
	fmt.Printf("waiting for webhooks on http://%[1]s/event and for clicks on http://%[1]s/action\n", *listen)
	log.Fatal(server.ListenAndServe())
}

// app is the chatbot. Its games are in memory: a restart forgets them.
type app struct {
	platform          string // where it is
	apiKey            string // tells the platform who we are
	identificationKey string // tells us that it is the platform who calls
	client            *http.Client

	mu    sync.Mutex       // never held while the platform is called
	games map[string]*game // by conversation, the newest in each
}

func newApp(platform, apiKey, identificationKey string) *app {
	client := &http.Client{Timeout: 4 * time.Second} // a user who clicked waits, and the platform gives up on us after 5
	return &app{platform: platform, apiKey: apiKey, identificationKey: identificationKey, client: client, games: map[string]*game{}}
}

// handler lets nobody in who does not know the identification key. Comparing it
// takes the same time however much of a guess is right.
func (a *app) handler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("POST /event", a.event)
	mux.HandleFunc("POST /action", a.action)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if subtle.ConstantTimeCompare([]byte(r.Header.Get("Authorization")), []byte(a.identificationKey)) != 1 {
			http.Error(w, "wrong identification key", http.StatusUnauthorized)
			return
		}
		http.MaxBytesHandler(mux, maxBody).ServeHTTP(w, r)
	})
}

// event gets the webhooks. A user who writes to the bot gets a new board.
func (a *app) event(w http.ResponseWriter, r *http.Request) {
	var in struct {
		Type     string
		Metadata map[string]any
		Message  struct {
			Conversation struct{ ID string }
			SentAt       int64 `json:"sent_at"`
		} `json:"new_chatbot_message"`
	}
	if err := json.NewDecoder(r.Body).Decode(&in); err != nil {
		http.Error(w, "the body cannot be read", http.StatusBadRequest)
		return
	}
	if in.Type != "NEW_CHATBOT_MESSAGE" || in.Metadata["openkenar_test"] == true {
		return // 200: it has arrived, and there is nothing to do: a test's conversation is made up
	}
	g := a.start(in.Message.Conversation.ID, r.Header.Get("webhook-id"), in.Message.SentAt)
	if err := a.show(r.Context(), g); err != nil {
		log.Printf("answer a message: %v", err)
		// Not 2xx: the platform tries again, and start finds the same game then.
		http.Error(w, "the board was not sent", http.StatusInternalServerError)
	}
}

// start begins a game in place of the conversation's last one. A webhook that
// is repeated, or was overtaken by a later message, begins none.
func (a *app) start(conversation, webhookID string, sentAt int64) *game {
	a.mu.Lock()
	defer a.mu.Unlock()
	if g := a.games[conversation]; g != nil && (g.id == webhookID || sentAt < g.startedAt) {
		return g
	}
	g := &game{id: webhookID, conversation: conversation, startedAt: sentAt, move: 1}
	a.games[conversation] = g
	return g
}

// action gets the clicks. The platform repeats none by itself, so each is
// answered with words for the user.
func (a *app) action(w http.ResponseWriter, r *http.Request) {
	var in struct {
		Conversation string `json:"conversation_id"`
		Choice       choice `json:"extra_data"`
	}
	if err := json.NewDecoder(r.Body).Decode(&in); err != nil {
		http.Error(w, "the body cannot be read", http.StatusBadRequest)
		return
	}
	g, says := a.play(in.Conversation, in.Choice)
	if err := a.show(r.Context(), g); err != nil {
		log.Printf("answer a click: %v", err)
		says = saysLate
	}
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(object{"text_message": says}) // fails only where nobody waits for it any more
}

// play plays the clicked game; nil if it is no more. A conversation with a bot
// has one user, so nobody plays another's game.
func (a *app) play(conversation string, c choice) (g *game, says string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if g = a.games[conversation]; g == nil || g.id != c.Game {
		return nil, "This game is no more. Write to me to play again."
	}
	return g, g.play(c)
}

// show sends the newest board of a game, unless the user has it. The game has
// moved already: where sending fails, the next webhook or click sends the same
// board, and nothing is played twice.
func (a *app) show(ctx context.Context, g *game) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	switch {
	case g == nil || g.shown == g.move:
		return nil
	case g.sending:
		return errors.New("another request is sending the board")
	}
	board, move := g.message(), g.move
	g.sending = true
	a.mu.Unlock()
	err := a.send(ctx, g.conversation, board)
	a.mu.Lock()
	if g.sending = false; err == nil {
		g.shown = move
	}
	return err
}

// send says something as the bot.
func (a *app) send(ctx context.Context, conversation string, message object) error {
	body, err := json.Marshal(message)
	if err != nil {
		return err
	}
	to := a.platform + "/v1/open-platform/chat/bot/conversations/" + url.PathEscape(conversation) + "/messages"
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, to, bytes.NewReader(body)) //nolint:gosec // the operator names the platform
	if err != nil {
		return err
	}
	req.Header.Set("X-API-Key", a.apiKey)
	req.Header.Set("Content-Type", "application/json")
	resp, err := a.client.Do(req) //nolint:gosec // the operator names the platform
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		answer, _ := io.ReadAll(io.LimitReader(resp.Body, maxBody)) // as much of the reason as there is
		return fmt.Errorf("send a board: %s: %s", resp.Status, answer)
	}
	return nil
}
