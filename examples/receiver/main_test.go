package main

import (
	"os"
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
}
