package main

import (
	"net/http"
	"os"
	"strings"
	"testing"

	"github.com/openkenar/openkenar/examples/internal/platform"
)

func TestMain(m *testing.M) { os.Exit(platform.Main(m)) }

func TestReceiver(t *testing.T) {
	t.Parallel()
	p := platform.Start(t)
	address := platform.Address(t)
	p.Connect(`{"event_url":"http://` + address + `/"}`)
	receiver := platform.Example(t, address, nil, "-listen", address)
	p.Say(p.Dev.BotConversationID, "USER", "Hello!")
	p.Settle()
	receiver.Prints(t, "-sample-app attempt 1\n", 1)
	receiver.Prints(t, `"text":"Hello!"`, 1)

	// What it could not print has not arrived.
	if status, _ := p.Call(http.MethodPost, "http://"+address+"/", strings.Repeat("x", 1<<20+1)); status != http.StatusRequestEntityTooLarge {
		t.Errorf("too long: %d", status)
	}
}
