package store

import (
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// TestEffectsAreFound holds the statements of this package to what effectOf can
// read: one whose table it does not find would leave the writer with what was
// true before it.
func TestEffectsAreFound(t *testing.T) {
	t.Parallel()
	writes := regexp.MustCompile(`(?i)\b(?:into\s+\w|update\s+\w+\s+(?:as\s+\w+\s+)?set\b|update\s+or\s|delete\s+from\s+\w)`)
	tables := tablesOfMigrations(t)
	files, err := filepath.Glob("*.go")
	if err != nil {
		t.Fatal(err)
	}
	found := 0
	for _, name := range files {
		if strings.HasSuffix(name, "_test.go") {
			continue
		}
		set := token.NewFileSet()
		file, err := parser.ParseFile(set, name, nil, 0)
		if err != nil {
			t.Fatal(err)
		}
		ast.Inspect(file, func(n ast.Node) bool {
			literal, ok := n.(*ast.BasicLit)
			if !ok || literal.Kind != token.STRING {
				return true
			}
			q, err := strconv.Unquote(literal.Value)
			if err != nil {
				t.Fatal(err)
			}
			for _, write := range writes.FindAllStringIndex(q, -1) {
				found++
				changes := effectOf(q[write[0]:]).changes
				if len(changes) == 0 || !slices.Contains(tables, changes[0]) {
					t.Errorf("%s: effectOf finds %q and no table of the ledger in: %s", set.Position(literal.Pos()), changes, q[write[0]:])
				}
			}
			return true
		})
	}
	if found == 0 {
		t.Error("no statement that writes was found")
	}
}

func tablesOfMigrations(t *testing.T) (tables []string) {
	t.Helper()
	files, err := filepath.Glob("migrations/*/*.sql")
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range files {
		text, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range regexp.MustCompile(`CREATE TABLE (\w+)`).FindAllStringSubmatch(string(text), -1) {
			tables = append(tables, m[1])
		}
	}
	return tables
}
