package main

import (
	"cmp"
	"slices"
)

// mark is what stands in a cell.
type mark string

const (
	free mark = ""
	user mark = "❌" // begins
	bot  mark = "⭕"
)

const saysLate = "The board is on its way. If it does not come, click again."

// board is the nine cells, row by row.
type board [9]mark

var lines = [...][3]int{{0, 1, 2}, {3, 4, 5}, {6, 7, 8}, {0, 3, 6}, {1, 4, 7}, {2, 5, 8}, {0, 4, 8}, {2, 4, 6}}

func (b board) won(m mark) bool {
	return slices.ContainsFunc(lines[:], func(l [3]int) bool { return b[l[0]] == m && b[l[1]] == m && b[l[2]] == m })
}

// end is what the bot says when the game is over, "" before.
func (b board) end() string {
	switch {
	case b.won(user):
		return "You win! Write to me to play again."
	case b.won(bot):
		return "I win. Write to me to play again."
	case !slices.Contains(b[:], free):
		return "A draw. Write to me to play again."
	}
	return ""
}

// reply is where the bot plays on a board that is not full: where it wins, else
// where the user would, else the best place that is left. It can be beaten.
func (b board) reply() int {
	for _, m := range []mark{bot, user} {
		for cell := range b {
			tried := b
			tried[cell] = m
			if b[cell] == free && tried.won(m) {
				return cell
			}
		}
	}
	best := []int{4, 0, 2, 6, 8, 1, 3, 5, 7}
	return best[slices.IndexFunc(best, func(cell int) bool { return b[cell] == free })]
}

// game is a game in one conversation. Each of its boards has a number, which
// its buttons carry, so that a click is good for one board only.
type game struct {
	id, conversation string // id: the webhook-id of the message that started it
	startedAt        int64  // when that was sent
	board            board
	move             int  // the number of the newest board, from 1
	shown            int  // the number of the newest board that the user was sent
	sending          bool // a board is on its way
}

// play makes the user's move and the bot's. What it returns tells the user what
// happened, or why nothing did.
func (g *game) play(c choice) string {
	switch {
	case g.sending:
		return saysLate
	case g.board.end() != "":
		return g.says()
	case c.Move != g.move:
		return "This board is old. Go on with the newest one."
	case c.Cell < 0 || c.Cell >= len(g.board) || g.board[c.Cell] != free:
		return "This cell is taken. Choose another."
	}
	g.board[c.Cell] = user
	if g.board.end() == "" {
		g.board[g.board.reply()] = bot
	}
	g.move++
	return g.says()
}

// says is the text above the newest board.
func (g *game) says() string { return cmp.Or(g.board.end(), "Your move, ❌.") }

// choice is what a button carries and a click brings back.
type choice struct {
	Game string `json:"game"`
	Move int    `json:"move"`
	Cell int    `json:"cell"`
}

type object = map[string]any

// message is the newest board as the platform takes it, a button for each cell.
func (g *game) message() object {
	var buttons, rows []object
	for cell, m := range g.board {
		action := object{"get_dynamic_action": object{"data": choice{g.id, g.move, cell}}}
		buttons = append(buttons, object{"caption": cmp.Or(m, "⬜"), "action": action})
	}
	for row := range slices.Chunk(buttons, 3) {
		rows = append(rows, object{"buttons": row})
	}
	return object{"text_message": g.says(), "buttons": object{"rows": rows}}
}
