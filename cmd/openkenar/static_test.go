package main

import (
	"debug/elf"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

// TestStaticBinary: the program runs in an image that holds nothing else. It
// builds everything without cgo, which takes a while: in CI only.
func TestStaticBinary(t *testing.T) {
	t.Parallel()
	if os.Getenv("CI") != "true" {
		t.Skip("builds the program; CI=true runs it")
	}
	file := filepath.Join(t.TempDir(), "openkenar")
	build := exec.CommandContext(t.Context(), "go", "build", "-o", file, ".")
	build.Env = append(os.Environ(), "CGO_ENABLED=0", "GOOS=linux", "GOFLAGS=")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	program, err := elf.Open(file)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = program.Close() }()
	for _, p := range program.Progs {
		if p.Type == elf.PT_INTERP || p.Type == elf.PT_DYNAMIC {
			t.Errorf("the program has a segment %s: it needs a loader, and libraries", p.Type)
		}
	}
}
