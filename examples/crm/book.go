package main

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"golang.org/x/oauth2"
)

// book is what the app knows. It is a file that is written anew with each change:
// what the platform or a user hears that it is done is on disk. An app of weight
// has a database for that.
type book struct {
	file string

	mu      sync.Mutex
	sellers map[string]*seller // by the app's own ids of users
}

// seller is a user who has connected us.
type seller struct {
	Token *oauth2.Token      `json:"token"` // nil: it cannot be renewed any more; the user must be asked again
	Grant int                `json:"grant"` // how often the user has connected us
	Chats map[string][]entry `json:"chats"` // by conversation
}

// entry is a message.
type entry struct {
	ID    string    `json:"id"`
	At    time.Time `json:"at"`
	Post  string    `json:"post"`
	From  string    `json:"from"`
	Text  string    `json:"text"`
	Grant int       `json:"grant"` // by which we heard of it
}

func openBook(file string) (*book, error) {
	b := &book{file: file, sellers: map[string]*seller{}}
	content, err := os.ReadFile(file)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return b, os.MkdirAll(filepath.Dir(file), 0o700)
	case err != nil:
		return nil, err
	}
	if err := json.Unmarshal(content, &b.sellers); err != nil {
		return nil, fmt.Errorf("%s: %w", file, err)
	}
	return b, nil
}

// change does something about a seller, nil for one who is not there, and keeps
// what it returns, nil for nothing. It writes in any case: where it failed before,
// what is in memory is not yet on disk.
func (b *book) change(id string, to func(*seller) *seller) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if s := to(b.sellers[id]); s != nil {
		b.sellers[id] = s
	} else {
		delete(b.sellers, id)
	}
	content, err := json.Marshal(b.sellers)
	if err != nil {
		return err
	}
	return write(b.file, content)
}

// write replaces a file in one step, so that a crash leaves the old one or the new.
func write(file string, content []byte) error {
	next, err := os.CreateTemp(filepath.Dir(file), ".crm-*") // mode 0600
	if err != nil {
		return err
	}
	_, err = next.Write(content)
	err = errors.Join(err, next.Sync(), next.Close())
	if err == nil {
		err = os.Rename(next.Name(), file)
	}
	if err != nil {
		return errors.Join(err, os.Remove(next.Name()))
	}
	return nil
}

// look shows a seller to who only reads; nil for one who is not there.
func (b *book) look(id string, at func(*seller)) {
	b.mu.Lock()
	defer b.mu.Unlock()
	at(b.sellers[id])
}

func (b *book) ids() []string {
	b.mu.Lock()
	defer b.mu.Unlock()
	var ids []string
	for id := range b.sellers {
		ids = append(ids, id)
	}
	return ids
}

// add puts a message where it belongs. Messages come again, and out of order.
func (s *seller) add(conversation string, e entry) {
	chat := s.Chats[conversation]
	if slices.ContainsFunc(chat, func(old entry) bool { return old.ID == e.ID }) {
		return
	}
	at, _ := slices.BinarySearchFunc(chat, e, func(a, b entry) int {
		return cmp.Or(a.At.Compare(b.At), strings.Compare(a.ID, b.ID))
	})
	s.Chats[conversation] = slices.Insert(chat, at, e)
}

// forget takes away what was heard by grants before the one that is there.
func (s *seller) forget() {
	for conversation, chat := range s.Chats {
		chat = slices.DeleteFunc(chat, func(e entry) bool { return e.Grant < s.Grant })
		if s.Chats[conversation] = chat; len(chat) == 0 {
			delete(s.Chats, conversation)
		}
	}
}
