package hostapi

import (
	"bytes"
	"net/http"
	"slices"
	"time"

	"github.com/openkenar/openkenar/internal/api"
	"github.com/openkenar/openkenar/internal/chat"
	"github.com/openkenar/openkenar/internal/market"
	"github.com/openkenar/openkenar/internal/status"
	"github.com/openkenar/openkenar/internal/wire"
)

const (
	maxBatch   = 16 << 20 // bytes of a batch
	maxLines   = 100_000  // lines of a batch: each may cost an error in the answer
	batchLines = 500      // lines that share a transaction
)

// operation is a line of a batch: exactly one of its fields.
type operation struct {
	User         *market.User        `json:"user"`
	Post         *market.Post        `json:"post"`
	Conversation *chat.Conversation  `json:"conversation"`
	Message      *chat.NewMessage    `json:"message"`
	Transaction  *market.Transaction `json:"transaction"`
}

// parseLine reads a line of a batch.
func parseLine(line []byte) (w chat.Write, err error) {
	if len(line) > api.MaxBody {
		return w, status.New(status.TooLarge, "the line has %d bytes, want at most %d", len(line), api.MaxBody)
	}
	var o operation
	if err := wire.Unmarshal(line, &o); err != nil {
		return w, err
	}
	given := 0
	other := func(present bool, f func(tx chat.Tx, now time.Time) (market.Change, error)) {
		if present {
			w.Other = f
			given++
		}
	}
	if o.Message != nil {
		w.Message = o.Message
		given++
	}
	other(o.User != nil, func(tx chat.Tx, now time.Time) (market.Change, error) { return market.PutUser(tx, *o.User, now) })
	other(o.Post != nil, func(tx chat.Tx, now time.Time) (market.Change, error) { return market.PutPost(tx, *o.Post, now) })
	other(o.Conversation != nil, func(tx chat.Tx, now time.Time) (market.Change, error) {
		return chat.PutConversation(tx, *o.Conversation, now)
	})
	other(o.Transaction != nil, func(tx chat.Tx, now time.Time) (market.Change, error) {
		return market.PutTransaction(tx, *o.Transaction, now)
	})
	if given != 1 {
		return chat.Write{}, status.New(status.Invalid,
			"the line names %d operations; want exactly one of user, post, conversation, message, transaction", given)
	}
	return w, nil
}

// lineError is what was wrong with a line.
type lineError struct {
	Line   int           `json:"line"`
	Status status.Status `json:"status"`
}

// batchAnswer counts the lines of a batch.
type batchAnswer struct {
	Accepted   int         `json:"accepted"`
	Duplicates int         `json:"duplicates"`
	Errors     []lineError `json:"errors"`
}

func (b *batchAnswer) refuse(line int, err error) {
	b.Errors = append(b.Errors, lineError{Line: line, Status: status.Of(err)})
}

// batch carries out the lines in their order. Good lines are kept; when the
// storage fails on the way, the call fails, what was committed stays, and the
// same batch may be sent again.
func (a *API) batch(r *http.Request) (any, error) {
	body, err := api.Read(r, maxBatch, "application/x-ndjson", "application/ndjson", "application/jsonl", "application/json")
	if err != nil {
		return nil, err
	}
	lineCount := 0
	for line := range bytes.Lines(body) {
		if len(bytes.TrimSpace(line)) > 0 {
			lineCount++
		}
	}
	if lineCount > maxLines {
		return nil, status.New(status.TooLarge, "body: %d lines, want at most %d", lineCount, maxLines)
	}
	answer := batchAnswer{Errors: []lineError{}}
	var writes []chat.Write
	var lines []int
	flush := func() error {
		results, err := a.chat.All(r.Context(), writes)
		if err != nil {
			return err
		}
		for i, result := range results {
			switch {
			case result.Err != nil:
				answer.refuse(lines[i], result.Err)
			case result.Change == market.Changed:
				answer.Accepted++
			default:
				answer.Duplicates++
			}
		}
		writes, lines = writes[:0], lines[:0]
		return nil
	}
	n := 0
	for line := range bytes.Lines(body) {
		n++
		if line = bytes.TrimSpace(line); len(line) == 0 {
			continue
		}
		w, err := parseLine(line)
		if err != nil {
			answer.refuse(n, err)
			continue
		}
		writes, lines = append(writes, w), append(lines, n)
		if len(writes) == batchLines {
			if err := flush(); err != nil {
				return nil, err
			}
		}
	}
	if len(writes) > 0 {
		if err := flush(); err != nil {
			return nil, err
		}
	}
	slices.SortFunc(answer.Errors, func(a, b lineError) int { return a.Line - b.Line })
	return answer, nil
}
