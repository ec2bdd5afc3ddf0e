package openkenar_test

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// layers is the program from the top down. A package imports only packages of
// lines below its own. internal/store is not here: see mayImport.
var layers = [][]string{
	{"cmd/openkenar"},
	{"internal/cli"},
	{"internal/bench", "internal/conform"},
	{"internal/server"},
	{"internal/contract"},
	{"internal/panel"},
	{"internal/openapi", "internal/hostapi"},
	{"internal/oauth"},
	{"internal/account"},
	{"internal/extension"},
	{"internal/chat"},
	{"internal/market"},
	{"internal/access"},
	{"internal/event"},
	{"internal/delivery"},
	{"internal/webhook"},
	{"internal/api"},
	{"internal/schema"},
	{"internal/wire"},
	{"internal/status"},
	{"internal/filelock"},
}

func mayImport(from, to string) bool {
	switch {
	case to == "internal/store":
		return from == "internal/server" || from == "internal/store/storetest"
	case to == "kenar" || outside(from):
		return true
	case from == "internal/store": // the types of the domain packages
		return layer(to) >= layer("internal/oauth") && to != "internal/api"
	}
	return layer(from) < layer(to)
}

func layer(pkg string) int {
	return slices.IndexFunc(layers, func(line []string) bool { return slices.Contains(line, pkg) })
}

// outside reports whether pkg is not part of the program.
func outside(pkg string) bool {
	top, _, _ := strings.Cut(pkg, "/")
	return pkg == "internal/store/storetest" || slices.Contains([]string{".", "kenar", "examples"}, top)
}

func TestLayout(t *testing.T) {
	for pkg, files := range packages(t) {
		if layer(pkg) < 0 && pkg != "internal/store" && !outside(pkg) {
			t.Errorf("%s has no place: add it to layers in layout_test.go, below all that import it", pkg)
			continue
		}
		for _, file := range files {
			for _, spec := range file.Imports {
				to, ours := strings.CutPrefix(strings.Trim(spec.Path.Value, "`\""), "github.com/openkenar/openkenar/")
				if ours && !mayImport(pkg, to) {
					t.Errorf("%s imports %s: layers in layout_test.go says which way imports go", pkg, to)
				}
			}
		}
	}
}

func TestPackageComments(t *testing.T) {
	for pkg, files := range packages(t) {
		if !slices.ContainsFunc(files, func(f *ast.File) bool { return f.Doc != nil && !ast.IsGenerated(f) }) {
			t.Errorf("%s has no package comment: say in it what the package promises", pkg)
		}
	}
}

// packages parses the files of each package, tests left out. It reads them here,
// not in a go list, so that the test cache sees which files the result hangs on.
func packages(t *testing.T) map[string][]*ast.File {
	t.Helper()
	pkgs := make(map[string][]*ast.File)
	err := filepath.WalkDir(".", func(path string, entry fs.DirEntry, err error) error {
		switch name := entry.Name(); {
		case err != nil:
			return err
		case entry.IsDir() && path != "." && (name == "testdata" || name == "tools" || strings.HasPrefix(name, ".")):
			return fs.SkipDir
		case entry.IsDir() || !strings.HasSuffix(name, ".go") || strings.HasSuffix(name, "_test.go"):
			return nil
		}
		file, err := parser.ParseFile(token.NewFileSet(), path, nil, parser.ImportsOnly|parser.ParseComments)
		dir := filepath.ToSlash(filepath.Dir(path))
		pkgs[dir] = append(pkgs[dir], file)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return pkgs
}
