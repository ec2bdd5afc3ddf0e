package main

import (
	"bytes"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"

	"github.com/openkenar/openkenar/internal/server"
)

// step is a block of the README's walk and what the page shows of its answer.
type step struct{ script, gives, note string }

var stepForm = regexp.MustCompile("(?s)<!-- walk(.*?) -->\n```sh\n(.*?)```\n(?:<!-- gives -->\n```\n(.*?)```\n)?")

var hookForm = regexp.MustCompile("(?s)<!-- hook -->\n```\n(.*?)```\n")

// TestReadme pastes the README's lines into a shell, one block after another,
// and compares what comes out with what the page shows ("…" stands for
// anything).
func TestReadme(t *testing.T) {
	t.Parallel()
	for _, tool := range []string{"bash", "curl"} {
		if _, err := exec.LookPath(tool); err != nil {
			if os.Getenv("CI") != "" {
				t.Fatalf("%s is needed: %v", tool, err)
			}
			t.Skipf("%s is not on this machine", tool)
		}
	}
	page, err := os.ReadFile("../../README.md")
	if err != nil {
		t.Fatal(err)
	}
	var mu sync.Mutex
	var got bytes.Buffer
	hook := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			return
		}
		mu.Lock()
		defer mu.Unlock()
		got.WriteString(r.Header.Get("webhook-id") + " attempt " + r.Header.Get("OpenKenar-Attempt") + "\n" + string(body) + "\n")
	}))
	defer hook.Close()

	dir := t.TempDir()
	p := &process{t: t, Place: server.Place{Data: filepath.Join(dir, ".openkenar")}}
	p.args = []string{"dev", "--data", p.Data, "--listen", "127.0.0.1:0"}
	p.start()
	defer p.kill()
	host := marketplace{base: p.dev.BaseURL, key: p.dev.HostKey}

	steps := stepForm.FindAllStringSubmatch(string(page), -1)
	if len(steps) < 7 {
		t.Fatalf("only %d steps found in the README", len(steps))
	}
	prelude := "set -e\n"
	for _, m := range steps {
		s := step{note: m[1], script: m[2], gives: m[3]}
		if strings.Contains(s.note, "without the receiver") {
			hook.Close()
		}
		script := strings.NewReplacer(
			"go run ./cmd/openkenar", p.cmd.Path,
			"http://127.0.0.1:8000/", hook.URL+"/",
		).Replace(s.script)
		cmd := exec.CommandContext(t.Context(), "bash", "-c", prelude+script)
		cmd.Dir = dir
		cmd.Env = append(os.Environ(), asMain+"=1", "OPENKENAR_SERVER="+p.dev.BaseURL)
		out, err := cmd.CombinedOutput()
		if err != nil {
			t.Fatalf("%s\n%v: %s", s.script, err, out)
		}
		if s.gives != "" && !matches(s.gives, string(out)) {
			t.Errorf("%s\ngave:  %s\nshown: %s", s.script, out, s.gives)
		}
		// A person takes longer to paste the next block than a delivery does.
		if _, ok := host.post(t.Context(), "/dev/clock", "application/json", []byte(`{"advance":"0s"}`)); !ok {
			t.Fatal("the program did not settle")
		}
		if strings.HasPrefix(s.script, ". ") {
			prelude += s.script
		}
	}
	shown := hookForm.FindStringSubmatch(string(page))
	mu.Lock()
	defer mu.Unlock()
	if shown == nil || !matches(shown[1], got.String()) {
		t.Errorf("the receiver got:\n%s\nthe README shows:\n%s", got.String(), shown)
	}
}

// matches compares a text with one in which "…" stands for anything.
func matches(shown, got string) bool {
	parts := strings.Split(strings.TrimSpace(shown), "…")
	for i, p := range parts {
		parts[i] = regexp.QuoteMeta(p)
	}
	return regexp.MustCompile("^" + strings.Join(parts, ".+") + "$").MatchString(strings.TrimSpace(got))
}
