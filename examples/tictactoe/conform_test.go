package main

import (
	"testing"

	"github.com/openkenar/openkenar/examples/internal/platform"
)

// TestConform: the game bears a receiver's hard life, with conform as its
// platform.
func TestConform(t *testing.T) {
	t.Parallel()
	address, host := platform.Address(t), platform.Address(t)
	platform.Example(t, address, []string{"LISTEN=" + address, "BASE_URL=http://" + host, "API_KEY=an-api-key", "IDENTIFICATION_KEY=the-key"})
	outcomes := platform.Conform(t, "the-key", "--platform-listen", host,
		"--event-url", "http://"+address+"/event", "--action-url", "http://"+address+"/action")
	for _, id := range []string{"repeat/acted-twice", "repeat/lost", "repeat/at-once", "callback/inside", "action/answer"} {
		if outcomes[id] != "passed" {
			t.Errorf("%s: %q", id, outcomes[id])
		}
	}
}
