package access_test

import (
	"flag"
	"os"
	"strings"
	"testing"

	"github.com/openkenar/openkenar/internal/access"
)

var update = flag.Bool("update", false, "rewrite docs/SCOPES.md from the catalogue")

// TestScopesAreDocumented keeps docs/SCOPES.md the catalogue's own words.
func TestScopesAreDocumented(t *testing.T) {
	t.Parallel()
	const file = "../../docs/SCOPES.md"
	var b strings.Builder
	b.WriteString("# Scopes\n\nWhat an app may ask a user for, in the words of the consent page. Made from the catalogue in\n" +
		"`internal/access/scope.go` by `go test ./internal/access -update`.\n\n" +
		"| scope | lets the app | اجازه می‌دهد برنامه |\n|---|---|---|\n")
	for _, k := range access.Catalogue() {
		b.WriteString("| `" + k.Form() + "` | " + k.Words[access.English] + " | " + k.Words[access.Persian] + " |\n")
	}
	if *update {
		if err := os.WriteFile(file, []byte(b.String()), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	got, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if string(got) != b.String() {
		t.Errorf("%s is not what the catalogue says; run go test ./internal/access -update", file)
	}
}
