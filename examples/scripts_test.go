// Package examples_test plays with the examples that are not written in Go.
package examples_test

import (
	"bufio"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/openkenar/openkenar/examples/internal/platform"
)

func TestMain(m *testing.M) { os.Exit(platform.Main(m)) }

// scripts are the examples that subscribe and receive with nothing but what
// their language brings, and what runs them.
var scripts = map[string][]string{
	"python":     {"python3", "receiver.py"},
	"javascript": {"node", "receiver.mjs"},
}

// script is one of them, connected to a platform of its own.
type script struct {
	t *testing.T
	*platform.Platform
	*platform.Running
	address string
	secret  string // with which it checks signatures, if it does
}

func each(t *testing.T, test func(t *testing.T, language string)) {
	for language := range scripts {
		t.Run(language, func(t *testing.T) {
			t.Parallel()
			platform.Need(t, scripts[language][0])
			test(t, language)
		})
	}
}

func run(t *testing.T, language string, signing bool) *script {
	t.Helper()
	s := &script{t: t, Platform: platform.Start(t), address: platform.Address(t)}
	s.Connect(`{"event_url":"http://` + s.address + `/"}`)
	var env []string
	if signing {
		s.secret = s.rotate()
		env = append(env, "SIGNING_SECRET="+s.secret)
	}
	file, err := filepath.Abs(filepath.Join(language, scripts[language][1]))
	if err != nil {
		t.Fatal(err)
	}
	s.Running = platform.Run(t, s.Dir, env, scripts[language][0], file, "--listen", s.address)
	s.Prints(t, "waiting for webhooks on http://"+s.address+"/", 1)
	return s
}

// rotate makes a new signing secret of the app. The older ones are used beside
// it for a day.
func (s *script) rotate() string {
	s.t.Helper()
	var made struct{ Secret string }
	s.Host("POST", "/apps/sample-app/signing-secrets", "{}", &made)
	return made.Secret
}

func (s *script) post(body string, header ...string) int {
	status, _ := s.Call("POST", "http://"+s.address+"/", body, header...)
	return status
}

// known is a header that the platform alone can write.
func (s *script) known(name string) []string {
	return []string{"Authorization", s.Dev.App.IdentificationKey, "webhook-id", name}
}

func message(text string) string {
	return `{"type":"NEW_MESSAGE","new_message":{"id":"1","sender":{"side":"BUYER","type":"HUMAN"},"type":"TEXT","sent_at":1,"text":"` + text + `"}}`
}

// prints is what the README says that the second terminal shows.
func prints(t *testing.T, language string) string {
	t.Helper()
	page, err := os.ReadFile(filepath.Join(language, "README.md"))
	if err != nil {
		t.Fatal(err)
	}
	_, after, _ := strings.Cut(string(page), "<!-- prints -->\n```\n")
	shown, _, found := strings.Cut(after, "```")
	if !found {
		t.Fatal("the README does not say what is printed")
	}
	return shown
}

// TestScripts: each message is printed once, however often it comes.
func TestScripts(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, language string) {
		s := run(t, language, false)
		s.Walk(language+"/README.md", 1)
		s.Prints(t, prints(t, language), 1)

		s.Say(s.Dev.ConversationID, "BUYER", "سلام!\x1b[2J")
		s.Settle()
		s.Prints(t, "BUYER", 2)
		if out := s.Output(); !strings.Contains(out, "سلام!") || strings.ContainsRune(out, '\x1b') {
			t.Errorf("it prints %q", out)
		}
		s.Say(s.Dev.ConversationID, "SELLER", "hello")
		s.Settle()
		s.Prints(t, "SELLER", 1)
		s.Redeliver("NEW_MESSAGE_ON_POST")
		s.Prints(t, "BUYER", 2)
		s.Prints(t, "SELLER", 1)

		s.Host("POST", "/dev/faults", `{"fault":"drop_answer","calls":"NEW_MESSAGE_ON_POST"}`, nil)
		s.Say(s.Dev.ConversationID, "BUYER", "the answer is lost")
		s.Advance("1m")
		s.Prints(t, "the answer is lost", 1)
		var log struct{ Deliveries []struct{ State string } }
		s.Host("GET", "/deliveries?state=pending", "", &log)
		if len(log.Deliveries) != 0 {
			t.Errorf("%d deliveries wait still", len(log.Deliveries))
		}

		var webhooks sync.WaitGroup
		for range 16 {
			webhooks.Go(func() {
				if status := s.post(message("all at once"), s.known("the-same")...); status != http.StatusOK {
					t.Errorf("one of sixteen webhooks: %d", status)
				}
			})
		}
		webhooks.Wait()
		s.Prints(t, "all at once", 1)
	})
}

// TestScriptsAndStrangers: only the platform may call, and what makes no sense
// does no harm.
func TestScriptsAndStrangers(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, language string) {
		s := run(t, language, false)
		key := s.Dev.App.IdentificationKey
		for _, header := range [][]string{nil, {"Authorization", ""}, {"Authorization", "Bearer " + key}, {"Authorization", key[1:]}, {"Authorization", key + "x"}, {"Authorization", "é"}} {
			if status := s.post(message("forged"), header...); status != http.StatusUnauthorized {
				t.Errorf("with %q: %d", header, status)
			}
		}
		for body, want := range map[string]int{
			"": 400, "[]": 400, "null": 400, "7": 400, `{"type":`: 400, "{}": 400, "\xff": 400, strings.Repeat("[", 500_000): 400,
			`{"type":"NEW_MESSAGE"}`:                        500,
			`{"type":"SOMETHING_NEW","something_new":{}}`:   200,
			`{"type":"POST_UPDATE","post_update":{}}`:       200,
			strings.Replace(message("new"), "TEXT", "X", 1): 200,
		} {
			status, _ := s.try(body, s.known(strconv.Itoa(len(body)))...)
			if want == 500 && status == 0 {
				continue // no answer is as good: the platform tries again
			}
			if status != want {
				t.Errorf("%.80q: %d, want %d", body, status, want)
			}
		}
		if status, _ := s.try(strings.Repeat("x", 3<<20), s.known("long")...); status != http.StatusRequestEntityTooLarge && status != 0 {
			t.Errorf("a long body: %d", status)
		}
		s.truncated()
		if strings.Contains(s.Output(), "forged") {
			t.Errorf("it believes what strangers say:\n%s", s.Output())
		}
		s.Say(s.Dev.ConversationID, "BUYER", "after all that")
		s.Settle()
		s.Prints(t, "after all that", 1)
	})
}

// try makes a call to which there may be no answer: 0 then.
func (s *script) try(body string, header ...string) (int, error) {
	req, err := http.NewRequestWithContext(s.t.Context(), http.MethodPost, "http://"+s.address+"/", strings.NewReader(body))
	if err != nil {
		return 0, err
	}
	for i := 0; i < len(header); i += 2 {
		req.Header.Set(header[i], header[i+1])
	}
	resp, err := (&http.Client{Timeout: 30 * time.Second}).Do(req)
	if err != nil {
		return 0, err
	}
	return resp.StatusCode, resp.Body.Close()
}

// truncated sends a body that ends early.
func (s *script) truncated() {
	s.t.Helper()
	dialer := net.Dialer{Timeout: 10 * time.Second}
	conn, err := dialer.DialContext(s.t.Context(), "tcp", s.address)
	if err != nil {
		s.t.Fatal(err)
	}
	defer func() { _ = conn.Close() }()
	body := message("forged")
	fmt.Fprintf(conn, "POST / HTTP/1.1\r\nHost: x\r\nAuthorization: %s\r\nContent-Length: %d\r\n\r\n%s", s.Dev.App.IdentificationKey, len(body)+1, body)
	if err := conn.(*net.TCPConn).CloseWrite(); err != nil {
		s.t.Fatal(err)
	}
	if err := conn.SetReadDeadline(time.Now().Add(30 * time.Second)); err != nil {
		s.t.Fatal(err)
	}
	resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		return // no answer is as good
	}
	defer resp.Body.Close()
	if resp.StatusCode == http.StatusOK {
		content, _ := io.ReadAll(resp.Body)
		s.t.Errorf("a body that ends early: %d %s", resp.StatusCode, content)
	}
}

// TestScriptsCheckSignatures: with a secret, the identification key alone does
// not open.
func TestScriptsCheckSignatures(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, language string) {
		s := run(t, language, true)
		s.rotate() // from now on there are several signatures
		s.Say(s.Dev.ConversationID, "BUYER", "signed")
		s.Settle()
		s.Prints(t, "signed", 1)

		now, body := strconv.FormatInt(time.Now().Unix(), 10), message("forged")
		good := s.sign("a", now, body)
		for name, header := range map[string][]string{
			"nothing":            nil,
			"another body's":     {"webhook-timestamp", now, "webhook-signature", s.sign("a", now, message("other"))},
			"another name's":     {"webhook-timestamp", now, "webhook-signature", s.sign("b", now, body)},
			"without its label":  {"webhook-timestamp", now, "webhook-signature", strings.TrimPrefix(good, "v1,")},
			"of another version": {"webhook-timestamp", now, "webhook-signature", strings.Replace(good, "v1,", "v1a,", 1)},
			"another time's":     {"webhook-timestamp", strconv.FormatInt(time.Now().Unix()+1, 10), "webhook-signature", good},
			"no time's":          {"webhook-timestamp", "soon", "webhook-signature", s.sign("a", "soon", body)},
			"of no secret":       {"webhook-timestamp", now, "webhook-signature", sign("", "a", now, body)},
		} {
			if status := s.post(body, append(s.known("a"), header...)...); status != http.StatusUnauthorized {
				t.Errorf("a signature, %s: %d", name, status)
			}
		}
		for name, at := range map[string]time.Time{"old": time.Now().Add(-10 * time.Minute), "new": time.Now().Add(10 * time.Minute)} {
			if s.accepts(name, at) {
				t.Errorf("a signature that is too %s is believed", name)
			}
		}
		if !s.accepts("c", time.Now()) || strings.Contains(s.Output(), "forged") {
			t.Errorf("it does not tell right from wrong:\n%s", s.Output())
		}
	})
}

// TestScriptsConform: they bear a receiver's hard life.
func TestScriptsConform(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, language string) {
		s := run(t, language, true)
		outcomes := platform.Conform(t, s.Dev.App.IdentificationKey, "--signing-secret", s.secret, "--event-url", "http://"+s.address+"/")
		if outcomes["signature/late"] != "passed" {
			t.Errorf("signatures are not checked: %v", outcomes)
		}
	})
}

// sign makes the signature of a webhook, as Standard Webhooks says.
func sign(secret, name, at, body string) string {
	raw, err := base64.StdEncoding.DecodeString(strings.TrimPrefix(secret, "whsec_"))
	if err != nil {
		return err.Error()
	}
	mac := hmac.New(sha256.New, raw)
	fmt.Fprintf(mac, "%s.%s.%s", name, at, body)
	return "v1," + base64.StdEncoding.EncodeToString(mac.Sum(nil))
}

func (s *script) sign(name, at, body string) string { return sign(s.secret, name, at, body) }

// accepts says whether the script takes a webhook that was signed at a time.
func (s *script) accepts(name string, when time.Time) bool {
	at, body := strconv.FormatInt(when.Unix(), 10), `{"type":"TEST"}`
	signatures := "v1,eA== " + s.sign(name, at, body)
	return s.post(body, append(s.known(name), "webhook-timestamp", at, "webhook-signature", signatures)...) == http.StatusOK
}

// TestEachHasAPage: whoever opens an example finds out what it shows.
func TestEachHasAPage(t *testing.T) {
	t.Parallel()
	entries, err := os.ReadDir(".")
	if err != nil {
		t.Fatal(err)
	}
	index, err := os.ReadFile("README.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, entry := range entries {
		if name := entry.Name(); !entry.IsDir() || name == "internal" || strings.HasPrefix(name, ".") { // .openkenar is where they keep things
			continue
		}
		if _, err := os.Stat(filepath.Join(entry.Name(), "README.md")); err != nil {
			t.Error(err)
		}
		if !strings.Contains(string(index), "]("+entry.Name()+"/)") {
			t.Errorf("README.md does not name %s", entry.Name())
		}
	}
}
