package server_test

import (
	"bytes"
	"errors"
	"maps"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/openkenar/openkenar/internal/delivery"
	"github.com/openkenar/openkenar/internal/server"
	"github.com/openkenar/openkenar/internal/store/storetest"
)

// TestMovedLedgerGoesOn: a server on another ledger, made of the first one by
// the tools that OPERATIONS.md names, delivers what the first still had to
// deliver, and takes the same keys and tokens.
func TestMovedLedgerGoesOn(t *testing.T) {
	t.Parallel()
	if onPostgres() {
		t.Skip("this test chooses its engines itself")
	}
	// move makes of the ledger of p another one, for a data directory that has
	// the keys already.
	for name, c := range map[string]struct {
		postgres bool
		move     func(t *testing.T, p *platform, data string) (database string)
	}{
		"SQLite to PostgreSQL": {false, func(t *testing.T, p *platform, data string) string {
			p.stop()
			to := storetest.Postgres(t)
			p.moveTo(server.Place{Data: data, Database: to})
			return to
		}},
		"PostgreSQL to SQLite": {true, func(_ *testing.T, p *platform, data string) string {
			p.stop()
			p.moveTo(server.Place{Data: data})
			return ""
		}},
		"backup beside the server": {false, func(t *testing.T, p *platform, data string) string {
			if b, err := server.BackUp(t.Context(), p.data, filepath.Join(data, "openkenar.db"), func(int64) {}); err != nil || b.Audit.Unaccounted != 0 {
				t.Fatalf("%+v, %v", b, err)
			}
			p.stop()
			return ""
		}},
		"pg_dump beside the server, and pg_restore": {true, func(t *testing.T, p *platform, data string) string {
			to, dump := storetest.NoLedger(t), filepath.Join(data, "openkenar.dump")
			storetest.Tool(t, "pg_dump", "--format=custom", "--exclude-table-data=nodes", "--file="+dump, p.database)
			p.stop()
			storetest.Tool(t, "pg_restore", "--exit-on-error", "--no-owner", "--dbname="+to, dump)
			return to
		}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			hook := newReceiver(t)
			dev := &server.DevOptions{EventURL: hook.url, IdentificationKey: "the-identification-key"}
			p := &platform{t: t, data: t.TempDir(), hook: hook}
			if c.postgres {
				p.database = storetest.Postgres(t)
			}
			p.run(dev)
			token := p.dev.Users.Seller.AccessToken
			p.subscribe(token, `{"event_type":"NEW_MESSAGE_ON_POST"}`).ok()
			p.say("BUYER", "delivered")
			p.one()
			hook.respond(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusServiceUnavailable) })
			p.say("BUYER", "tried")
			tried := p.one()
			p.host("PATCH", "/apps/sample-app", `{"paused":true}`).ok()
			last := p.say("BUYER", "not tried")
			p.none()

			q := &platform{t: t, data: t.TempDir(), hook: hook}
			if err := os.Link(filepath.Join(p.data, "master.key"), filepath.Join(q.data, "master.key")); err != nil {
				t.Fatal(err)
			}
			q.database = c.move(t, p, q.data)
			hook.respond(nil)
			q.run(dev)
			q.host("PATCH", "/apps/sample-app", `{"paused":false}`).ok()
			q.advance("10m")
			got := map[string]string{} // webhook-id by text
			for _, h := range hook.take() {
				_, text, _ := strings.Cut(h.body, `"text":"`)
				text, _, _ = strings.Cut(text, `"`)
				got[text] = h.header.Get("webhook-id")
				if h.header.Get("Authorization") != "the-identification-key" {
					t.Errorf("the webhook of %q has another identification key", text)
				}
			}
			want := map[string]string{"tried": tried.header.Get("webhook-id"), "not tried": last + "-sample-app"}
			if !maps.Equal(got, want) {
				t.Fatalf("the copy sends %q, want what was not delivered: %q", got, want)
			}
			q.subscribe(token, `{"event_type":"NEW_MESSAGE_ON_POST"}`).ok()
			if id := q.say("BUYER", "new"); len(id) < len(last) || id <= last {
				t.Errorf("event %s comes after %s", id, last)
			}
			q.one()
			if a := q.audit(); a.Unaccounted != 0 || a.Delivered != 4 || a.Pending != 0 {
				t.Errorf("audit: %+v", a)
			}
		})
	}
}

// moveTo exports the platform's ledger and imports it elsewhere.
func (p *platform) moveTo(to server.Place) {
	p.t.Helper()
	nothing := func(int64) {}
	var stream bytes.Buffer
	exported, err := server.Export(p.t.Context(), p.place(), &stream, nothing)
	if err != nil {
		p.t.Fatal(err)
	}
	imported, audit, err := server.Import(p.t.Context(), server.ImportOptions{Place: to, Stream: &stream, Imported: nothing, Checked: nothing})
	if err != nil || audit.Unaccounted != 0 || imported.SHA256 != exported.SHA256 {
		p.t.Fatalf("import: %+v, %v", audit, err)
	}
}

func (p *platform) place() server.Place { return server.Place{Data: p.data, Database: p.database} }

// audit proves the platform's ledger.
func (p *platform) audit() delivery.Audit {
	p.t.Helper()
	ledger, err := server.OpenLedger(p.t.Context(), p.place())
	if err != nil {
		p.t.Fatal(err)
	}
	a, err := ledger.Audit(p.t.Context(), func(int64) {})
	if err := errors.Join(err, ledger.Close()); err != nil {
		p.t.Fatal(err)
	}
	return a
}
