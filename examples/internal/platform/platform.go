// Package platform runs the real platform beside a test of an example: the
// program, built from the root of the repository, in dev mode, with its data in
// a temporary directory. The test is the marketplace and its people; what it
// has started ends with it.
package platform

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

// patience is how long something that must happen may take.
const patience = 30 * time.Second

var (
	dir     string // what is built
	program string // the platform

	example = sync.OnceValues(func() (string, error) {
		file := filepath.Join(dir, "example")
		args := slices.Concat([]string{"build"}, race, []string{"-o", file, "."})
		out, err := exec.CommandContext(context.Background(), "go", args...).CombinedOutput()
		if err != nil {
			return "", fmt.Errorf("build the example: %w\n%s", err, out)
		}
		return file, nil
	})
)

// Main builds the program, runs the tests, and returns their exit code.
func Main(m *testing.M) int {
	var err error
	if dir, err = os.MkdirTemp("", "openkenar-examples-"); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer func() { _ = os.RemoveAll(dir) }()
	program = filepath.Join(dir, "openkenar")
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Minute)
	defer cancel()
	build := exec.CommandContext(ctx, "go", "build", "-o", program, "./cmd/openkenar")
	build.Dir = root()
	if out, err := build.CombinedOutput(); err != nil {
		fmt.Fprintf(os.Stderr, "build the platform: %v\n%s", err, out)
		return 1
	}
	return m.Run()
}

// root is the root of the repository: a test runs in the directory of its package.
func root() string {
	dir := ".."
	for range 3 {
		if _, err := os.Stat(filepath.Join(dir, "cmd", "openkenar")); err == nil {
			break
		}
		dir = filepath.Join(dir, "..")
	}
	return dir
}

// Platform is a marketplace's platform with its demo world.
type Platform struct {
	t   testing.TB
	Dir string // where it was started: its data are in .openkenar below
	Dev Dev
}

// Dev is what dev mode writes to dev.json.
type Dev struct {
	BaseURL string `json:"base_url"`
	HostKey string `json:"host_key"`
	App     struct {
		Slug              string `json:"slug"`
		APIKey            string `json:"api_key"`
		ClientSecret      string `json:"client_secret"`
		IdentificationKey string `json:"identification_key"`
		RedirectURI       string `json:"redirect_uri"`
	} `json:"app"`
	Users struct {
		Seller DevUser `json:"seller"`
		Buyer  DevUser `json:"buyer"`
	} `json:"users"`
	PostToken         string `json:"post_token"`
	ConversationID    string `json:"conversation_id"`
	BotConversationID string `json:"bot_conversation_id"`
}

// DevUser is one of the people of the demo world.
type DevUser struct {
	AppUserID   string `json:"app_user_id"`
	AccessToken string `json:"access_token"`
}

// Start starts dev mode with more flags and waits until it is ready.
func Start(t testing.TB, flags ...string) *Platform {
	t.Helper()
	p := &Platform{t: t, Dir: t.TempDir()}
	args := append([]string{"dev", "--listen", "127.0.0.1:0"}, flags...)
	running := Run(t, p.Dir, nil, program, args...)
	file := filepath.Join(p.Dir, ".openkenar", "dev.json")
	Until(t, "the platform is ready", func() bool {
		_, err := os.Stat(file)
		if running.ended() {
			t.Fatalf("the platform has ended:\n%s", running.Output())
		}
		return err == nil
	})
	content, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(content, &p.Dev); err != nil {
		t.Fatal(err)
	}
	return p
}

// Env is what an example finds in its environment after ". .openkenar/dev.env".
func (p *Platform) Env() []string {
	return []string{
		"BASE_URL=" + p.Dev.BaseURL, "API_KEY=" + p.Dev.App.APIKey, "IDENTIFICATION_KEY=" + p.Dev.App.IdentificationKey,
		"CLIENT_ID=" + p.Dev.App.Slug, "CLIENT_SECRET=" + p.Dev.App.ClientSecret, "REDIRECT_URI=" + p.Dev.App.RedirectURI,
	}
}

// Connect tells the platform the addresses, or other settings, of the sample app.
func (p *Platform) Connect(settings string) {
	p.t.Helper()
	p.Host("PATCH", "/apps/sample-app", settings, nil)
}

// Call makes a call with a header. It may be used in any goroutine.
func (p *Platform) Call(method, to, body string, header ...string) (status int, answer string) {
	req, err := http.NewRequestWithContext(p.t.Context(), method, to, strings.NewReader(body))
	if err != nil {
		p.t.Error(err)
		return 0, ""
	}
	req.Header.Set("Content-Type", "application/json")
	for pair := range slices.Chunk(header, 2) {
		req.Header.Set(pair[0], pair[1])
	}
	resp, err := (&http.Client{Timeout: patience}).Do(req)
	if err != nil {
		p.t.Error(err)
		return 0, ""
	}
	defer resp.Body.Close()
	content, err := io.ReadAll(resp.Body)
	if err != nil {
		p.t.Error(err)
	}
	return resp.StatusCode, string(content)
}

// HostCall calls the host API and returns what it answers. It may be used in any
// goroutine.
func (p *Platform) HostCall(method, path, body string) (status int, answer string) {
	return p.Call(method, p.Dev.BaseURL+"/host/v1"+path, body, "Authorization", "Bearer "+p.Dev.HostKey)
}

// Host calls the host API, which must agree, and reads the answer into into,
// unless that is nil.
func (p *Platform) Host(method, path, body string, into any) {
	p.t.Helper()
	status, answer := p.HostCall(method, path, body)
	if status != http.StatusOK {
		p.t.Fatalf("%s %s: %d %s", method, path, status, answer)
	}
	if into == nil {
		return
	}
	if err := json.Unmarshal([]byte(answer), into); err != nil {
		p.t.Fatalf("%s %s: %v in %s", method, path, err, answer)
	}
}

// Say says something in a conversation: sender is BUYER, SELLER or, to a bot, USER.
func (p *Platform) Say(conversation, sender, text string) {
	p.t.Helper()
	body, err := json.Marshal(map[string]string{"sender": sender, "text": text})
	if err != nil {
		p.t.Fatal(err)
	}
	p.Host("POST", "/conversations/"+conversation+"/messages", string(body), nil)
}

// Advance moves the platform's clock. What is due by then has been sent when it returns.
func (p *Platform) Advance(by string) {
	p.t.Helper()
	p.Host("POST", "/dev/clock", `{"advance":"`+by+`"}`, nil)
}

// Settle returns when nothing is under way.
func (p *Platform) Settle() { p.t.Helper(); p.Advance("0s") }

// Conform plays a receiver's hard life to an app that is its own, which must give
// no findings, and returns how each check ended.
func Conform(t testing.TB, identificationKey string, flags ...string) (outcomes map[string]string) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), program, append([]string{"conform", "--json"}, flags...)...)
	cmd.Env = append(os.Environ(), "OPENKENAR_IDENTIFICATION_KEY="+identificationKey)
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%v:\n%s", err, out)
	}
	var report struct {
		Checks []struct{ ID, Outcome string }
	}
	if err := json.Unmarshal(out, &report); err != nil {
		t.Fatalf("%v in %s", err, out)
	}
	outcomes = map[string]string{}
	for _, check := range report.Checks {
		outcomes[check.ID] = check.Outcome
	}
	return outcomes
}

// Redeliver sends every webhook, or makes every call, of these types again.
func (p *Platform) Redeliver(types ...string) {
	p.t.Helper()
	for after := new(""); after != nil; {
		var page struct {
			Deliveries []struct{ ID, Type string }
			Next       *string
		}
		p.Host("GET", "/deliveries?app=sample-app&after="+*after, "", &page)
		for _, d := range page.Deliveries {
			if slices.Contains(types, d.Type) {
				p.Host("POST", "/deliveries/"+d.ID+"/redeliver", "", nil)
			}
		}
		after = page.Next
	}
	p.Settle()
}

// Running is a program that a test has started.
type Running struct {
	cmd  *exec.Cmd
	mu   sync.Mutex
	out  bytes.Buffer
	done chan struct{}
}

// Run starts a program in a directory, with more environment, and ends it with
// the test.
func Run(t testing.TB, dir string, env []string, name string, args ...string) *Running {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), name, args...)
	r := &Running{cmd: cmd, done: make(chan struct{})}
	cmd.Dir, cmd.Env = dir, append(os.Environ(), env...)
	cmd.Stdout, cmd.Stderr = r, r
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() {
		defer close(r.done)
		_ = cmd.Wait() // the test's context ends it
	}()
	t.Cleanup(func() {
		<-r.done
		if strings.Contains(r.Output(), "DATA RACE") {
			t.Errorf("%s:\n%s", name, r.Output())
		}
	})
	return r
}

// Example runs the example in the test's directory, with more environment, and
// returns once somebody listens at an address.
func Example(t testing.TB, address string, env []string, args ...string) *Running {
	t.Helper()
	file, err := example()
	if err != nil {
		t.Fatal(err)
	}
	r := Run(t, t.TempDir(), env, file, args...)
	dialer := net.Dialer{}
	Until(t, "the example listens", func() bool {
		if r.ended() {
			t.Fatalf("the example has ended:\n%s", r.Output())
		}
		conn, err := dialer.DialContext(t.Context(), "tcp", address)
		return err == nil && conn.Close() == nil
	})
	return r
}

// Write takes what the program prints.
func (r *Running) Write(b []byte) (int, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.out.Write(b)
}

// Output is all that the program has printed.
func (r *Running) Output() string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.out.String()
}

// Kill ends the program in the middle of whatever it does.
func (r *Running) Kill() {
	_ = r.cmd.Process.Kill() // fails where it has ended
	<-r.done
}

func (r *Running) ended() bool {
	select {
	case <-r.done:
		return true
	default:
		return false
	}
}

// Prints waits until the program has printed a text so many times.
func (r *Running) Prints(t testing.TB, text string, times int) {
	t.Helper()
	end := time.Now().Add(patience)
	Until(t, "it prints "+text, func() bool { return strings.Count(r.Output(), text) >= times || r.ended() || time.Now().After(end) })
	if n := strings.Count(r.Output(), text); n != times {
		t.Fatalf("%q is printed %d times, want %d:\n%s", text, n, times, r.Output())
	}
}

// Until waits until something is so.
func Until(t testing.TB, what string, so func() bool) {
	t.Helper()
	ticker := time.NewTicker(10 * time.Millisecond)
	defer ticker.Stop()
	for end := time.Now().Add(patience); !so(); {
		if time.Now().After(end) {
			t.Fatalf("not so: %s", what)
		}
		<-ticker.C
	}
}

// Address is an address of this machine that nobody listens on.
func Address(t testing.TB) string {
	t.Helper()
	config := net.ListenConfig{}
	l, err := config.Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = l.Close() }()
	return l.Addr().String()
}

// Need skips the test on a machine that lacks a program, and fails it in CI.
func Need(t testing.TB, names ...string) {
	t.Helper()
	for _, name := range names {
		if _, err := exec.LookPath(name); err != nil {
			if os.Getenv("CI") != "" {
				t.Fatalf("%s is needed: %v", name, err)
			}
			t.Skipf("%s is not on this machine", name)
		}
	}
}

var step = regexp.MustCompile("(?s)<!-- walk -->\n```sh\n(.*?)```\n(?:<!-- gives -->\n```\n(.*?)```\n)?")

// Walk pastes the lines of a README's last terminal into a shell, one block after
// another, and compares what comes out with what the page shows ("…" stands for
// anything).
func (p *Platform) Walk(readme string, blocks int) {
	p.t.Helper()
	Need(p.t, "bash", "curl")
	page, err := os.ReadFile(readme)
	if err != nil {
		p.t.Fatal(err)
	}
	steps := step.FindAllStringSubmatch(string(page), -1)
	if len(steps) != blocks {
		p.t.Fatalf("%d blocks found in the README, want %d", len(steps), blocks)
	}
	const shell = "set -e; touch state; . ./state\n%s\ndeclare -px >state" // one terminal: what is set in a block stays so
	for _, block := range steps {
		script := block[1]
		cmd := exec.CommandContext(p.t.Context(), "bash", "-c", fmt.Sprintf(shell, "set -a\n"+script))
		cmd.Dir = p.Dir
		out, err := cmd.CombinedOutput()
		if err != nil {
			p.t.Fatalf("%s\n%v: %s", script, err, out)
		}
		if gives := strings.TrimSpace(block[2]); gives != "" && !matches(gives, string(out)) {
			p.t.Errorf("%s\ngave:  %s\nshown: %s", script, out, gives)
		}
		p.Settle() // a person takes longer to paste the next block than a delivery does
	}
}

// matches compares a text with one in which "…" stands for anything.
func matches(shown, got string) bool {
	parts := strings.Split(strings.TrimSpace(shown), "…")
	for i, part := range parts {
		parts[i] = regexp.QuoteMeta(part)
	}
	return regexp.MustCompile("^" + strings.Join(parts, ".+") + "$").MatchString(strings.TrimSpace(got))
}
