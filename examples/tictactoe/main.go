// Command tictactoe is a chatbot that plays tic-tac-toe on nine buttons. README.md says how.
package main

import (
	"cmp"
	"context"
	"errors"
	"log"
	"net/http"
	"os"
	"sync"
	"time"

	"github.com/openkenar/openkenar/kenar"
)

func main() {
	platform, err1 := kenar.NewClient(kenar.Options{Host: os.Getenv("BASE_URL"), APIKey: os.Getenv("API_KEY")})
	a := &app{platform: platform}
	callers := kenar.Callers{Keys: []string{os.Getenv("IDENTIFICATION_KEY")}}
	event, err2 := kenar.NewReceiver(kenar.ReceiverOptions{Callers: callers, OnNewChatbotMessage: a.message})
	action, err3 := kenar.NewActionHandler(kenar.ActionOptions{Callers: callers, Click: a.click})
	if err := errors.Join(err1, err2, err3); err != nil {
		log.Fatalf("%v\n(BASE_URL, API_KEY and IDENTIFICATION_KEY are in .openkenar/dev.env)", err)
	}
	http.Handle("/event", event)
	http.Handle("/action", action)
	server := &http.Server{Addr: cmp.Or(os.Getenv("LISTEN"), "127.0.0.1:8000"), ReadTimeout: 10 * time.Second}
	log.Printf("waiting for webhooks on http://%[1]s/event and for clicks on http://%[1]s/action", server.Addr)
	log.Fatal(server.ListenAndServe())
}

// app is the chatbot. What it remembers is in memory: a restart ends all games.
type app struct {
	platform *kenar.Client
	newest   sync.Map // choices by conversation: on older boards nobody plays
}

// choice is what a button carries, and a click brings back.
type choice struct {
	Game       int64 // when the message that began it was sent
	Board      board
	Move, Cell int
}

// message begins a game, unless a later message has, or this one comes again
// while the user plays. Where it fails, the webhook comes again.
func (a *app) message(ctx context.Context, d *kenar.Delivery) error {
	conversation, first := d.NewChatbotMessage.Conversation.ID, choice{Game: d.NewChatbotMessage.SentAt.UnixMicro()}
	last, _ := a.newest.LoadOrStore(conversation, choice{})
	if late := first.Game < last.(choice).Game || first.Game == last.(choice).Game && last != first; late || d.IsTest() {
		return nil // of a test the conversation is made up
	}
	a.newest.Store(conversation, first)
	return a.show(ctx, conversation, first)
}

// click plays, and tells the user what happened or why nothing did.
func (a *app) click(ctx context.Context, r *kenar.ActionRequest) (answer kenar.ActionAnswer, _ error) {
	c, err := kenar.Decode[choice](r.ExtraData)
	last, _ := a.newest.LoadOrStore(r.ConversationID, choice{})
	next := choice{Game: c.Game, Board: c.Board.play(c.Cell), Move: c.Move + 1}
	switch newest := last.(choice); {
	case err != nil || c.Game != newest.Game || c.Game == 0:
		answer.Text = "This game is no more." + again
	case c.Move >= newest.Move && c.Board.says() != yourMove:
		answer.Text = c.Board.says()
	case c.Move >= newest.Move && next.Board == c.Board:
		answer.Text = "This cell is taken. Choose another."
	case c.Move < newest.Move || !a.newest.CompareAndSwap(r.ConversationID, last, next): // of two clicks one plays
		answer.Text = "This board is old. Go on with the newest one."
	default:
		answer.Text = next.Board.says()
		if err := a.show(ctx, r.ConversationID, next); err != nil {
			log.Printf("answer a click: %v", err)
			answer.Text = "The board did not come? Click again."
			a.newest.CompareAndSwap(r.ConversationID, next, last) // unless it came, and the user has gone on with it
		}
	}
	return answer, nil
}

// show sends a board, a button for each cell.
func (a *app) show(ctx context.Context, conversation string, c choice) error {
	var buttons []kenar.Button
	for c.Cell = range c.Board {
		buttons = append(buttons, kenar.NewButton(cmp.Or(c.Board[c.Cell], "⬜"), kenar.GetDynamicAction(c)))
	}
	keyboard, err := kenar.Grid(3, buttons...)
	if err == nil {
		err = a.platform.SendAsBot(ctx, conversation, kenar.BotMessage{Text: c.Board.says(), Buttons: keyboard})
	}
	return err
}
