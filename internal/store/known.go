package store

import (
	"regexp"
	"slices"

	"github.com/openkenar/openkenar/internal/chat"
	"github.com/openkenar/openkenar/internal/event"
)

// maxKnown bounds each kind of what the writer remembers, in entries.
const maxKnown = 16 << 10

// known is what the writer remembers of the ledger, so that a message does not
// ask for what the last one asked for. What changes a table makes it forget
// what it knows of that table; so does a rollback. Where other processes write
// too, it knows nothing at the beginning of a transaction.
type known struct {
	conversations map[string]chat.Conversation // by id, without the seller
	owners        map[string]string            // of posts, by token; "" where there is no post
	subscriptions map[heard][]dated
	listeners     map[string]event.Listener // by app
	participants  map[participant]struct{}  // that are in the ledger
}

// heard is what subscriptions are looked up by.
type heard struct {
	user     string
	typ      event.Type
	resource string
}

type participant struct{ user, conversation string }

func (k *known) forgetAll() { *k = known{} }

// forget forgets what is known of a table.
func (k *known) forget(table string) {
	switch table {
	case "conversations":
		k.conversations = nil
	case "posts":
		k.owners = nil
	case "subscriptions", "access_tokens", "grants":
		k.subscriptions = nil
	case "apps":
		k.listeners = nil
	case "participants":
		k.participants = nil
	}
}

// learn adds to a kind of what is known.
func learn[K comparable, V any](m *map[K]V, key K, value V) {
	if *m == nil || len(*m) >= maxKnown {
		*m = map[K]V{}
	}
	(*m)[key] = value
}

// effect is what a statement does besides its work, found in its text.
type effect struct {
	sees    []*bulkKind // rows that must be written before it
	changes []string    // tables
}

var (
	changed = regexp.MustCompile(`\b(?:INTO|UPDATE|DELETE FROM)\s+(\w+)`)
	word    = regexp.MustCompile(`\w+`)
)

func effectOf(q string) (e effect) {
	words := word.FindAllString(q, -1)
	for _, kind := range gathered {
		if slices.Contains(words, kind.table) {
			e.sees = append(e.sees, kind)
		}
	}
	for _, m := range changed.FindAllStringSubmatch(q, -1) {
		e.changes = append(e.changes, m[1])
	}
	return e
}
