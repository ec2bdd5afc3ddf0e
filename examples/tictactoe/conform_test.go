package main

import (
	"net"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/openkenar/openkenar/internal/conform"
)

// TestConform: the game bears a receiver's hard life, with conform as its
// platform.
func TestConform(t *testing.T) {
	t.Parallel()
	var listen net.ListenConfig
	platform, err := listen.Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	game := httptest.NewUnstartedServer(newApp("http://"+platform.Addr().String(), "an-api-key", "the-key").handler())
	game.Config.ReadTimeout = 3 * time.Second // main's is longer, and a slow sender would be waited for
	game.Start()
	defer game.Close()
	report, err := conform.Run(t.Context(), conform.Options{
		EventURL: game.URL + "/event", ActionURL: game.URL + "/action", IdentificationKey: "the-key", Platform: platform,
		Bounds: conform.Bounds{Slow: 20 * time.Second, Settle: 300 * time.Millisecond},
	})
	if err != nil {
		t.Fatal(err)
	}
	// It refuses what is longer than any webhook that it hears, and does not say so.
	deserved := map[string]bool{"body/largest": true, "body/huge": true}
	for _, f := range report.Findings {
		if !deserved[f.ID] {
			t.Errorf("%s: %s", f.ID, f.What)
		}
		delete(deserved, f.ID)
	}
	for id := range deserved {
		t.Errorf("%s is mended: take it out of this test", id)
	}
	seen := map[string]bool{}
	for _, r := range report.Results {
		seen[r.ID] = r.Outcome == conform.Passed
	}
	for _, id := range []string{"repeat/acted-twice", "repeat/lost", "repeat/at-once", "callback/inside"} {
		if !seen[id] {
			t.Errorf("%s was not seen", id)
		}
	}
}
