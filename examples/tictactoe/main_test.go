package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/openkenar/openkenar/examples/internal/platform"
)

func TestMain(m *testing.M) { os.Exit(platform.Main(m)) }

// table is the game at play: a real platform in dev mode, with the game as its
// sample app. Tests are the marketplace, and use the host API alone.
type table struct {
	t *testing.T
	*platform.Platform
	game         string // the game's base URL
	conversation string // the seller's with the bot
	// line is what becomes of the game's calls of the platform.
	line            atomic.Int32
	arrived, goesOn chan struct{} // of a slow line
}

const (
	works    = iota
	broken   // they do not arrive
	oneSided // they arrive, and the answer does not
	slow     // they arrive, and the answer waits
)

func sit(t *testing.T) *table {
	t.Helper()
	b := &table{t: t, Platform: platform.Start(t), arrived: make(chan struct{}), goesOn: make(chan struct{})}
	b.conversation = b.Dev.BotConversationID
	base, err := url.Parse(b.Dev.BaseURL)
	if err != nil {
		t.Fatal(err)
	}
	proxy := httputil.NewSingleHostReverseProxy(base)
	proxy.ErrorLog = log.New(io.Discard, "", 0)
	proxy.ModifyResponse = func(resp *http.Response) error {
		switch b.line.Load() {
		case oneSided:
			return errors.New("the answer is lost")
		case slow:
			close(b.arrived)
			select {
			case <-b.goesOn:
			case <-resp.Request.Context().Done():
			}
		}
		return nil
	}
	line := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if b.line.Load() == broken {
			w.WriteHeader(http.StatusBadGateway)
			return
		}
		proxy.ServeHTTP(w, r)
	}))
	t.Cleanup(line.Close)
	address := platform.Address(t)
	platform.Example(t, address, append(b.Env(), "LISTEN="+address, "BASE_URL="+line.URL))
	b.game = "http://" + address
	b.Connect(`{"event_url":"` + b.game + `/event","dynamic_action_url":"` + b.game + `/action"}`)
	return b
}

// write writes to the bot.
func (b *table) write(conversation string) {
	b.t.Helper()
	b.Say(conversation, "USER", "/start")
	b.Settle()
}

// sent is a board as the user sees it.
type sent struct {
	ID, Text string
	cells    string // X, O and ., row by row
	choices  []choice
}

// String leaves out what is too long to read.
func (s sent) String() string { return s.cells + " " + s.Text }

// boards is all that the bot has said in a conversation.
func (b *table) boards(conversation string) (all []sent) {
	b.t.Helper()
	var out struct {
		Messages []struct {
			sent
			Sender  struct{ Type string }
			Buttons struct {
				Rows []struct {
					Buttons []struct {
						Caption string
						Action  struct {
							Dynamic struct{ Data choice } `json:"get_dynamic_action"`
						}
					}
				}
			}
		}
		Next *string
	}
	b.Host("GET", "/conversations/"+conversation+"/messages", "", &out)
	for _, m := range out.Messages {
		if m.Sender.Type != "BOT" {
			continue
		}
		for _, row := range m.Buttons.Rows {
			if len(row.Buttons) != 3 || len(m.Buttons.Rows) != 3 {
				b.t.Fatalf("this is no board: %+v", m)
			}
			for _, button := range row.Buttons {
				m.cells += strings.NewReplacer("❌", "X", "⭕", "O", "⬜", ".").Replace(button.Caption)
				m.choices = append(m.choices, button.Action.Dynamic.Data)
			}
		}
		all = append(all, m.sent)
	}
	return all
}

// newest is the seller's newest board, which must be number n.
func (b *table) newest(n int) sent {
	b.t.Helper()
	all := b.boards(b.conversation)
	if len(all) != n {
		b.t.Fatalf("%d boards, want %d: %v", len(all), n, all)
	}
	return all[n-1]
}

// press clicks a cell. It may be used in any goroutine.
func (b *table) press(s sent, cell int, user string) (status int, text string) {
	status, answer := b.HostCall("POST", fmt.Sprintf("/messages/%s/buttons/%d/%d/click", s.ID, cell/3, cell%3), `{"user":"`+user+`"}`)
	var out struct {
		Text string `json:"text_message"`
	}
	if err := json.Unmarshal([]byte(answer), &out); err != nil {
		b.t.Errorf("%v in %s", err, answer)
	}
	return status, out.Text
}

// click has the seller click a cell, and returns what the game says.
func (b *table) click(s sent, cell int) string {
	b.t.Helper()
	status, text := b.press(s, cell, "seller")
	if status != http.StatusOK || text == "" {
		b.t.Fatalf("a click on %d of %s: %d %q", cell, s.cells, status, text)
	}
	return text
}

// clickAtOnce has the seller's finger tremble: the same click four times.
func (b *table) clickAtOnce(s sent, cell int) {
	b.t.Helper()
	var clicks sync.WaitGroup
	for range 4 {
		clicks.Go(func() {
			polite := []string{yourMove, oldBoard, saysLate, youWin, iWin, aDraw}
			if status, text := b.press(s, cell, "seller"); status != http.StatusOK || !slices.Contains(polite, text) {
				b.t.Errorf("one of four clicks on %d of %s: %d %q", cell, s.cells, status, text)
			}
		})
	}
	clicks.Wait()
}

const (
	youWin   = "You win! Write to me to play again."
	iWin     = "I win. Write to me to play again."
	aDraw    = "A draw. Write to me to play again."
	oldBoard = "This board is old. Go on with the newest one."
	taken    = "This cell is taken. Choose another."
	gone     = "This game is no more. Write to me to play again."
	saysLate = "The board did not come? Click again."
)

// TestGames plays whole games, one after another in one conversation. What is
// done twice, late, or where it makes no sense changes nothing.
func TestGames(t *testing.T) {
	t.Parallel()
	type turn struct {
		cell  int
		gives string
	}
	b := sit(t)
	boards := 0
	for _, g := range []struct {
		turns []turn
		ends  string
	}{
		{[]turn{{0, "X...O...."}, {8, "X.O.O...X"}, {6, "X.OOO.X.X"}, {7, "X.OOO.XXX"}}, youWin},
		{[]turn{{4, "O...X...."}, {8, "O.O.X...X"}, {1, "OXO.X..OX"}, {3, "OXOXXO.OX"}, {6, "OXOXXOXOX"}}, aDraw},
		{[]turn{{1, ".X..O...."}, {3, "OX.XO...."}, {5, "OX.XOX..O"}}, iWin},
	} {
		before := b.boards(b.conversation)
		b.write(b.conversation)
		boards++
		now := b.newest(boards)
		if now.cells != "........." || now.Text != yourMove {
			t.Fatalf("a game begins with %+v", now)
		}
		for _, old := range before {
			if says := b.click(old, 2); says != gone {
				t.Errorf("on a board of an earlier game the bot says %q", says)
			}
		}
		var game []sent
		for i, turn := range g.turns {
			says := yourMove
			if i == len(g.turns)-1 {
				says = g.ends
			}
			last := now
			game = append(game, last)
			if i%2 == 0 {
				b.clickAtOnce(last, turn.cell)
			} else if got := b.click(last, turn.cell); got != says {
				t.Errorf("after %s the bot says %q, want %q", turn.gives, got, says)
			}
			boards++
			now = b.newest(boards)
			if now.cells != turn.gives || now.Text != says {
				t.Fatalf("after a click on %d of %s: %+v, want %s and %q", turn.cell, last.cells, now, turn.gives, says)
			}
			b.clickAtOnce(last, turn.cell)
			for cell := range 9 {
				if got := b.click(game[cell%len(game)], cell); got != oldBoard {
					t.Errorf("on an old board the bot says %q, want %q", got, oldBoard)
				}
				if now.cells[cell] == '.' && says != g.ends {
					continue // the only clicks that count
				}
				want := taken
				if says == g.ends {
					want = g.ends
				}
				if got := b.click(now, cell); got != want {
					t.Errorf("on cell %d of %s the bot says %q, want %q", cell, now.cells, got, want)
				}
			}
			b.Redeliver("NEW_CHATBOT_MESSAGE")
			b.newest(boards)
		}
	}
	b.Redeliver("NEW_CHATBOT_MESSAGE", "DYNAMIC_ACTION")
	b.newest(boards)
}

// TestOthers: each user has a game, and nobody plays another's.
func TestOthers(t *testing.T) {
	t.Parallel()
	b := sit(t)
	b.Host("PUT", "/conversations/buyers", `{"type":"BOT","app":"sample-app","user":"buyer"}`, nil)
	b.write(b.conversation)
	b.write("buyers")
	sellers, buyers := b.newest(1), b.boards("buyers")
	if len(buyers) != 1 {
		t.Fatalf("the buyer has %+v", buyers)
	}
	if status, _ := b.press(sellers, 4, "buyer"); status != http.StatusForbidden {
		t.Errorf("the buyer clicks on the seller's board: %d", status)
	}
	for _, conversation := range []string{`"buyers"`, `"` + sellers.ID + `"`, `""`, `null`} {
		data, _ := json.Marshal(sellers.choices[4])
		status, answer := b.Call("POST", b.game+"/action", `{"conversation_id":`+conversation+`,"extra_data":`+string(data)+`}`,
			"Authorization", b.Dev.App.IdentificationKey)
		if status != http.StatusOK || !strings.Contains(answer, gone) {
			t.Errorf("the seller's cell in conversation %s: %d %s", conversation, status, answer)
		}
	}
	b.newest(1)
	if _, text := b.press(buyers[0], 0, "buyer"); text != yourMove {
		t.Errorf("the buyer is told %q", text)
	}
	b.click(sellers, 4)
	if buyers = b.boards("buyers"); len(buyers) != 2 || buyers[1].cells != "X...O...." || b.newest(2).cells != "O...X...." {
		t.Errorf("the buyer has %+v, the seller %+v", buyers, b.newest(2))
	}
}

// TestStrangers: only the platform may call, and only what makes sense counts.
func TestStrangers(t *testing.T) {
	t.Parallel()
	b := sit(t)
	key := b.Dev.App.IdentificationKey
	message := `{"type":"NEW_CHATBOT_MESSAGE","new_chatbot_message":{"conversation":{"id":"` + b.conversation + `"},"sent_at":1}}`
	for _, path := range []string{"/event", "/action"} {
		for _, header := range [][]string{nil, {"Authorization", ""}, {"Authorization", "Bearer " + key}, {"Authorization", key[1:]}, {"Authorization", key + "x"}} {
			if status, answer := b.Call("POST", b.game+path, message, header...); status != http.StatusUnauthorized {
				t.Errorf("%s with %q: %d %s", path, header, status, answer)
			}
		}
		for body, want := range map[string]int{"": 400, "[]": 400, `{"type":`: 400, `{"more":"` + strings.Repeat("x", 1<<20) + `"}`: 413} {
			if status, answer := b.Call("POST", b.game+path, body, "Authorization", key); status != want {
				t.Errorf("%s with a wrong body: %d %s", path, status, answer)
			}
		}
	}
	if status, answer := b.Call("POST", b.game+"/event", `{"type":"POST_UPDATE","post_update":{}}`, "Authorization", key); status != http.StatusOK {
		t.Errorf("another event: %d %s", status, answer)
	}
	var test struct{ Delivered bool }
	if b.Host("POST", "/apps/sample-app/test-event", "", &test); !test.Delivered {
		t.Error("the test event was not taken")
	}
	if all := b.boards(b.conversation); len(all) != 0 {
		t.Fatalf("of all that came %+v", all)
	}

	var webhooks sync.WaitGroup
	for range 8 {
		webhooks.Go(func() {
			status, answer := b.Call("POST", b.game+"/event", message, "Authorization", key, "webhook-id", "the-same")
			if status != http.StatusOK && status != http.StatusServiceUnavailable { // 503: while another sends the board
				t.Errorf("one of eight webhooks: %d %s", status, answer)
			}
		})
	}
	webhooks.Wait()
	b.newest(1)
}

// TestBoardIsNotSent: what the game could not say is said later, and nothing is
// played twice.
func TestBoardIsNotSent(t *testing.T) {
	t.Parallel()
	b := sit(t)
	b.line.Store(broken)
	b.write(b.conversation)
	if all := b.boards(b.conversation); len(all) != 0 {
		t.Fatalf("through a broken line came %+v", all)
	}
	b.line.Store(works)
	b.Advance("10s") // the platform tries again
	first := b.newest(1)

	b.line.Store(broken)
	if says := b.click(first, 0); says != saysLate {
		t.Errorf("when its board is not sent the bot says %q", says)
	}
	b.newest(1)
	b.line.Store(works)
	if says := b.click(first, 8); says != yourMove { // nothing was played
		t.Errorf("the second time it says %q", says)
	}
	second := b.newest(2)
	if second.cells != "....O...X" {
		t.Errorf("the board is %s", second.cells)
	}

	b.line.Store(oneSided)
	if says := b.click(second, 0); says != saysLate {
		t.Errorf("when it does not know of its board the bot says %q", says)
	}
	third := b.newest(3)
	b.line.Store(works)
	if says := b.click(third, 6); says != yourMove || b.newest(4).cells != "X.OOO.X.X" {
		t.Errorf("then the bot says %q, and the board is %s", says, b.newest(4).cells)
	}

	b.line.Store(oneSided)
	b.write(b.conversation)
	once := b.newest(5)
	b.line.Store(works)
	b.Advance("10s")
	again := b.newest(6) // the same board: the bot cannot know that the first one came
	if again.cells != once.cells || !slices.Equal(again.choices, once.choices) {
		t.Errorf("sent first %+v, then %+v", once, again)
	}
	if says := b.click(once, 4); says != yourMove {
		t.Errorf("on the one the bot says %q", says)
	}
	if says := b.click(again, 8); says != oldBoard {
		t.Errorf("on the other the bot says %q", says)
	}
	b.Redeliver("NEW_CHATBOT_MESSAGE", "DYNAMIC_ACTION")
	b.newest(7)
}

// TestBoardIsOnItsWay: the user has the board before the game knows, and is fast.
func TestBoardIsOnItsWay(t *testing.T) {
	t.Parallel()
	b := sit(t)
	b.write(b.conversation)
	first := b.newest(1)
	b.line.Store(slow)
	var click sync.WaitGroup
	click.Go(func() {
		if status, text := b.press(first, 0, "seller"); status != http.StatusOK || text != yourMove {
			t.Errorf("a slow click: %d %q", status, text)
		}
	})
	<-b.arrived
	b.line.Store(works)
	second := b.newest(2)
	if says := b.click(first, 8); says != oldBoard {
		t.Errorf("on the first board the bot says %q", says)
	}
	if says := b.click(second, 8); says != yourMove {
		t.Errorf("on the second board the bot says %q", says)
	}
	third := b.newest(3)
	close(b.goesOn)
	click.Wait()
	b.Redeliver("NEW_CHATBOT_MESSAGE")
	if says := b.click(second, 6); says != oldBoard {
		t.Errorf("then the bot says %q", says)
	}
	if says := b.click(third, 6); says != yourMove {
		t.Errorf("on the newest it says %q", says)
	}
	b.newest(4)
}

// TestReadme pastes the README's lines for the third terminal into a shell.
func TestReadme(t *testing.T) {
	t.Parallel()
	sit(t).Walk("README.md", 5)
}
