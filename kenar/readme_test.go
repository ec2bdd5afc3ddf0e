package kenar_test

import (
	"bufio"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"
)

// TestReadme: the page's program builds as an app of its own, which pulls in
// what the page says and nothing that an app does not need, and receives.
func TestReadme(t *testing.T) {
	t.Parallel()
	if _, err := exec.LookPath("go"); err != nil {
		t.Skip("this test needs the go command")
	}
	page, err := os.ReadFile("README.md")
	if err != nil {
		t.Fatal(err)
	}
	run := func(dir string, args ...string) string {
		t.Helper()
		cmd := exec.CommandContext(t.Context(), "go", args...)
		cmd.Dir = dir
		cmd.Env = append(os.Environ(), "GOWORK=off", "GOFLAGS=-mod=mod")
		out, err := cmd.CombinedOutput()
		if err != nil {
			t.Fatalf("go %s: %v: %s", strings.Join(args, " "), err, out)
		}
		return string(out)
	}
	lines := func(text string) []string {
		all := regexp.MustCompile(`(?m)^.* toolchain@.*\n`).ReplaceAllString(text, "") // of who builds
		return slices.Sorted(strings.SplitSeq(strings.TrimSpace(all), "\n"))
	}
	shown := regexp.MustCompile("(?s)<!-- go mod graph -->\n```\n(.*?)```").FindStringSubmatch(string(page))
	if shown == nil {
		t.Fatal("the page does not show the graph")
	}
	if graph := run(".", "mod", "graph"); !slices.Equal(lines(graph), lines(shown[1])) {
		t.Errorf("the page shows\n%s\nthe graph is\n%s", shown[1], graph)
	}

	app := regexp.MustCompile("(?s)```go\n(package main\n.*?)```").FindStringSubmatch(string(page))
	if app == nil {
		t.Fatal("the page has no program")
	}
	here, err := filepath.Abs(".")
	if err != nil {
		t.Fatal(err)
	}
	sums, err := os.ReadFile("go.sum")
	if err != nil {
		t.Fatal(err)
	}
	address := unusedAddress(t)
	dir := t.TempDir()
	for name, content := range map[string]string{
		"main.go": strings.Replace(app[1], ":8000", address, 1), "go.sum": string(sums),
		"go.mod": "module app.example\n\ngo 1.26.0\n\nrequire github.com/openkenar/openkenar/kenar v0.0.0\n\nreplace github.com/openkenar/openkenar/kenar => " + here + "\n",
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	run(dir, "vet", ".")
	for pkg := range strings.FieldsSeq(run(dir, "list", "-deps", ".")) {
		for _, unwanted := range []string{"database/sql", "html/template", "github.com/openkenar/openkenar/internal"} {
			if pkg == unwanted || strings.HasPrefix(pkg, unwanted+"/") {
				t.Errorf("an app that receives pulls in %s", pkg)
			}
		}
	}
	path := filepath.Join(dir, "app.exe")
	run(dir, "build", "-o", path, ".")
	p := startPlatform(t, "--event-url", "http://"+address+"/event", "--identification-key", "secret")
	program := exec.CommandContext(t.Context(), path)
	program.Env = append(os.Environ(), "IDENTIFICATION_KEY=secret")
	said, err := program.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := program.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = program.Process.Kill()
		_ = program.Wait()
	})
	eventually(t, "the page's program listens", func() bool {
		conn, err := (&net.Dialer{}).DialContext(t.Context(), "tcp", address)
		if err == nil {
			_ = conn.Close()
		}
		return err == nil
	})
	p.mustHost(http.MethodPost, "/conversations/"+p.dev.BotConversationID+"/messages", `{"sender":"USER","text":"Hello!"}`, nil)
	defer time.AfterFunc(30*time.Second, func() { _ = program.Process.Kill() }).Stop() // or it is read for ever
	line, err := bufio.NewReader(said).ReadString('\n')
	if err != nil || !strings.HasSuffix(line, ` somebody wrote "Hello!" to the bot`+"\n") {
		t.Errorf("the page's program said %q, %v", line, err)
	}
}

// unusedAddress is one on which nobody listens now.
func unusedAddress(t *testing.T) string {
	t.Helper()
	l, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = l.Close() }()
	return l.Addr().String()
}
