package main

import "slices"

const (
	user     = "❌" // begins
	bot      = "⭕"
	yourMove = "Your move, ❌."
	again    = " Write to me to play again."
)

// board is the nine cells, row by row; "" is a free one.
type board [9]string

var lines = [][3]int{{0, 1, 2}, {3, 4, 5}, {6, 7, 8}, {0, 3, 6}, {1, 4, 7}, {2, 5, 8}, {0, 4, 8}, {2, 4, 6}}

func (b board) won(mark string) bool {
	return slices.ContainsFunc(lines, func(l [3]int) bool { return b[l[0]] == mark && b[l[1]] == mark && b[l[2]] == mark })
}

// says is the text above a board: yourMove until the game is over.
func (b board) says() string {
	switch {
	case b.won(user):
		return "You win!" + again
	case b.won(bot):
		return "I win." + again
	case !slices.Contains(b[:], ""):
		return "A draw." + again
	}
	return yourMove
}

// play makes the user's move, if there is such a cell and it is free, and then
// the bot's: where it wins, else where the user would, else on the best place.
func (b board) play(cell int) board {
	if cell < 0 || cell >= len(b) || b[cell] != "" {
		return b
	}
	if b[cell] = user; b.says() != yourMove {
		return b
	}
	places := slices.DeleteFunc([]int{4, 0, 2, 6, 8, 1, 3, 5, 7}, func(cell int) bool { return b[cell] != "" })
	for _, mark := range []string{bot, user} {
		for _, cell := range places {
			tried := b
			if tried[cell] = mark; tried.won(mark) {
				b[cell] = bot
				return b
			}
		}
	}
	b[places[0]] = bot
	return b
}
