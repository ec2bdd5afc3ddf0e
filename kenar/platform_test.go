package kenar_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

// platform is the real program in dev mode, as a process of its own on a world
// of its own. Tests are the marketplace, and use the host API alone.
type platform struct {
	dev devInfo

	t      testing.TB
	args   []string
	data   string
	listen string
	cmd    *exec.Cmd
	log    bytes.Buffer // what the program says; read it once the program is dead
}

// devInfo is what dev mode writes to dev.json.
type devInfo struct {
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
		Seller devUser `json:"seller"`
		Buyer  devUser `json:"buyer"`
	} `json:"users"`
	PostToken         string `json:"post_token"`
	ConversationID    string `json:"conversation_id"`
	BotConversationID string `json:"bot_conversation_id"`
}

type devUser struct {
	ID          string `json:"id"`
	AppUserID   string `json:"app_user_id"`
	AccessToken string `json:"access_token"`
}

// programDir is where the program is built; TestMain takes it away.
var programDir string

// program is the path of the program, built once for all tests that want one.
var program = sync.OnceValues(func() (string, error) {
	dir, err := os.MkdirTemp("", "openkenar-test-")
	if err != nil {
		return "", err
	}
	programDir = dir
	path := filepath.Join(dir, "openkenar")
	if runtime.GOOS == "windows" {
		path += ".exe"
	}
	build := exec.Command("go", "build", "-o", path, "./cmd/openkenar")
	build.Dir = ".."
	if out, err := build.CombinedOutput(); err != nil {
		return "", fmt.Errorf("build the platform: %w: %s", err, out)
	}
	return path, nil
})

func TestMain(m *testing.M) {
	code := m.Run()
	if programDir != "" {
		_ = os.RemoveAll(programDir)
	}
	os.Exit(code)
}

// startPlatform starts the program with further arguments of "openkenar dev",
// and returns once it is ready. The test is skipped where the program's source
// is not beside this module.
func startPlatform(t testing.TB, args ...string) *platform {
	t.Helper()
	if _, err := os.Stat(filepath.Join("..", "cmd", "openkenar")); err != nil {
		t.Skip("this test needs the platform: ../cmd/openkenar, the rest of the repository, is not here")
	}
	p := &platform{t: t, args: args, data: t.TempDir(), listen: "127.0.0.1:0"}
	t.Cleanup(func() {
		p.kill()
		if t.Failed() {
			t.Logf("the platform said:\n%s", p.log.String())
		}
	})
	p.start()
	return p
}

func (p *platform) start() {
	p.t.Helper()
	path, err := program()
	if err != nil {
		p.t.Fatal(err)
	}
	file := filepath.Join(p.data, "dev.json")
	if err := os.Remove(file); err != nil && !os.IsNotExist(err) {
		p.t.Fatal(err)
	}
	p.cmd = exec.CommandContext(p.t.Context(), path, slices.Concat([]string{"dev", "--data", p.data, "--listen", p.listen}, p.args)...)
	p.cmd.Env = slices.DeleteFunc(os.Environ(), func(v string) bool { return strings.HasPrefix(v, "OPENKENAR_") })
	p.cmd.Stderr = &p.log
	if err := p.cmd.Start(); err != nil {
		p.t.Fatal(err)
	}
	// What it wrote is renamed into place: it is whole once it is there.
	eventually(p.t, "dev.json is written", func() bool {
		content, err := os.ReadFile(file)
		return err == nil && json.Unmarshal(content, &p.dev) == nil
	})
	p.listen = strings.TrimPrefix(p.dev.BaseURL, "http://")
}

// kill ends the program at once, in the middle of whatever it does.
func (p *platform) kill() {
	if p.cmd == nil {
		return
	}
	_ = p.cmd.Process.Kill()
	_ = p.cmd.Wait()
	p.cmd = nil
}

// restart kills the program and starts it again on the same world and address.
func (p *platform) restart() {
	p.t.Helper()
	p.kill()
	p.start()
}

// host calls the host API: path is what follows /host/v1, a body is JSON, "" is
// none.
func (p *platform) host(method, path, body string) (status int, answer []byte) {
	p.t.Helper()
	return p.call(method, p.dev.BaseURL+"/host/v1"+path, body, "Authorization", "Bearer "+p.dev.HostKey)
}

// mustHost calls the host API, wants 200, and reads the answer into a value
// unless that is nil.
func (p *platform) mustHost(method, path, body string, into any) {
	p.t.Helper()
	status, answer := p.host(method, path, body)
	if status != http.StatusOK {
		p.t.Fatalf("%s %s: %d %s", method, path, status, answer)
	}
	if into == nil {
		return
	}
	if err := json.Unmarshal(answer, into); err != nil {
		p.t.Fatalf("%s %s: %v in %s", method, path, err, answer)
	}
}

// advance moves the platform's clock, as "24h". What is due then has been sent
// when it returns.
func (p *platform) advance(by string) {
	p.t.Helper()
	p.mustHost(http.MethodPost, "/dev/clock", `{"advance":"`+by+`"}`, nil)
}

// call makes any call, with pairs of header names and values.
func (p *platform) call(method, to, body string, header ...string) (status int, answer []byte) {
	p.t.Helper()
	req, err := http.NewRequestWithContext(p.t.Context(), method, to, strings.NewReader(body))
	if err != nil {
		p.t.Fatal(err)
	}
	if body != "" {
		req.Header.Set("Content-Type", "application/json")
	}
	for pair := range slices.Chunk(header, 2) {
		req.Header.Set(pair[0], pair[1])
	}
	resp, err := (&http.Client{Timeout: 30 * time.Second}).Do(req)
	if err != nil {
		p.t.Fatal(err)
	}
	defer resp.Body.Close()
	answer, err = io.ReadAll(resp.Body)
	if err != nil {
		p.t.Fatal(err)
	}
	return resp.StatusCode, answer
}

// eventually waits until something is true, at most half a minute.
func eventually(t testing.TB, what string, is func() bool) {
	t.Helper()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	deadline := time.After(30 * time.Second)
	for {
		if is() {
			return
		}
		select {
		case <-tick.C:
		case <-deadline:
			t.Fatalf("after 30 s it is still not so that %s", what)
		}
	}
}

func TestPlatform(t *testing.T) {
	t.Parallel()
	p := startPlatform(t)
	p.mustHost(http.MethodPut, "/users/someone", `{"phone":"09120000000"}`, nil)
	before := p.dev
	p.advance("1h")
	p.restart()
	if p.dev != before {
		t.Errorf("a restart has changed the world:\n%+v\n%+v", before, p.dev)
	}
	if status, answer := p.host(http.MethodGet, "/apps/nobody", ""); status != http.StatusNotFound {
		t.Errorf("an unknown app: %d %s", status, answer)
	}
}
