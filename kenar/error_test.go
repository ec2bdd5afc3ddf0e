package kenar_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/openkenar/openkenar/kenar"
)

// kinds are all errors that an answer can be.
var kinds = []error{
	kenar.ErrInvalid, kenar.ErrUnauthenticated, kenar.ErrPermission, kenar.ErrNotFound, kenar.ErrMethod, kenar.ErrConflict,
	kenar.ErrPrecondition, kenar.ErrTooLarge, kenar.ErrUnsupported, kenar.ErrQuota, kenar.ErrInternal, kenar.ErrUnavailable,
	kenar.ErrUnanswered, kenar.ErrAccessEnded, kenar.ErrDenied,
}

// isError checks that an error is a refusal of the platform, of one kind alone,
// that says something.
func isError(t testing.TB, what string, err, kind error, httpStatus, code int) {
	t.Helper()
	_ = refusal(t, what, err, kind, httpStatus, code)
}

// refusal is isError for who wants to see more of it.
func refusal(t testing.TB, what string, err, kind error, httpStatus, code int) *kenar.Error {
	t.Helper()
	e, ok := errors.AsType[*kenar.Error](err)
	if !ok {
		t.Errorf("%s: got %v", what, err)
		return &kenar.Error{}
	}
	for _, k := range kinds {
		if errors.Is(err, k) != (k == kind) { //nolint:errorlint // sentinels themselves
			t.Errorf("%s: %v: errors.Is %q: %t", what, err, k, errors.Is(err, k))
		}
	}
	if e.HTTPStatus != httpStatus || e.Code != code || e.Message == "" || e.Method == "" || !strings.HasPrefix(e.Path, "/") {
		t.Errorf("%s: got %+v, want HTTP %d and code %d", what, e, httpStatus, code)
	}
	return e
}

// TestErrors makes a real platform say each error of the contract's table that
// can be had in dev mode.
func TestErrors(t *testing.T) {
	t.Parallel()
	p := startPlatform(t, "--event-url", "http://127.0.0.1:9/hook")
	client := newClient(t, p)
	seller := client.User(static(p.dev.Users.Seller.AccessToken))
	buyer := client.User(static(p.dev.Users.Buyer.AccessToken))
	app := "/apps/" + p.dev.App.Slug

	t.Run("400", func(t *testing.T) {
		t.Parallel()
		err := seller.Subscribe(t.Context(), kenar.Subscription{Type: "NO_SUCH_TYPE"})
		e := refusal(t, "an unknown type", err, kenar.ErrInvalid, 400, 3)
		if !strings.Contains(e.Message, "event_type") || e.Path != "/v1/open-platform/events/subscriptions" || e.Method != http.MethodPost {
			t.Errorf("got %+v", e)
		}
		err = seller.SendMessage(t.Context(), p.dev.ConversationID, kenar.ChatMessage{})
		isError(t, "an empty message", err, kenar.ErrInvalid, 400, 3)
		err = client.Do(t.Context(), http.MethodPost, "/v1/open-platform/events/subscriptions", p.dev.Users.Seller.AccessToken, json.RawMessage(`"text"`), nil)
		isError(t, "no object", err, kenar.ErrInvalid, 400, 3)
		_, err = client.Events(t.Context(), "", -time.Second)
		if !errors.Is(err, kenar.ErrInvalid) {
			t.Errorf("a negative wait: %v", err)
		}
		err = seller.Subscribe(t.Context(), kenar.Subscription{Type: kenar.SubscribePostUpdate, Metadata: func() {}})
		if !errors.Is(err, kenar.ErrInvalid) {
			t.Errorf("metadata that is no JSON: %v", err)
		}
		_, err = client.Upload(t.Context(), kenar.UploadImage, "a.png", strings.NewReader("not a picture"))
		isError(t, "not a picture", err, kenar.ErrInvalid, 400, 3)
	})

	for name, metadata := range map[string]any{"too much": map[string]string{"x": strings.Repeat("x", 4<<10)}, "not an object": 5} {
		err := seller.Subscribe(t.Context(), kenar.Subscription{Type: kenar.SubscribePostUpdate, Metadata: metadata})
		isError(t, name, err, kenar.ErrInvalid, 400, 3)
	}

	t.Run("401", func(t *testing.T) {
		t.Parallel()
		stranger := newClient(t, p, func(o *kenar.Options) { o.APIKey = "okk_unknown-secret-key" })
		_, err := stranger.Post(t.Context(), p.dev.PostToken)
		isError(t, "an unknown key", err, kenar.ErrUnauthenticated, 401, 16)
		_, err = client.User(static("oka_unknown-secret-token")).Me(t.Context())
		isError(t, "an unknown token", err, kenar.ErrUnauthenticated, 401, 16)
		_, err = client.User(nil).Me(t.Context())
		if err == nil {
			t.Error("no source: nothing is wrong")
		}
	})

	t.Run("403", func(t *testing.T) {
		t.Parallel()
		var key struct {
			Key string `json:"key"`
		}
		p.mustHost(http.MethodPost, app+"/keys", `{"title":"reads posts","permissions":["GET_POST"]}`, &key)
		weak := newClient(t, p, func(o *kenar.Options) { o.APIKey = key.Key })
		e := refusal(t, "no permission", weak.SendAsBot(t.Context(), p.dev.BotConversationID, kenar.BotMessage{Text: "x"}), kenar.ErrPermission, 403, 7)
		if !strings.Contains(e.Message, "CHAT_BOT_SEND_MESSAGE") {
			t.Errorf("it does not say which: %v", e)
		}
		little := client.User(static(p.devToken("seller", "USER_POSTS_GET")))
		_, err := little.Me(t.Context())
		isError(t, "no scope", err, kenar.ErrPermission, 403, 7)
		err = buyer.SendEvent(t.Context(), kenar.Notification{Message: "x", TargetType: kenar.TargetUser, TargetID: p.dev.Users.Seller.AppUserID})
		isError(t, "another user", err, kenar.ErrPermission, 403, 7)
	})

	t.Run("404", func(t *testing.T) {
		t.Parallel()
		_, err := client.Post(t.Context(), "nowhere")
		isError(t, "a post", err, kenar.ErrNotFound, 404, 5)
		isError(t, "a subscription", client.EndSubscription(t.Context(), "12345"), kenar.ErrNotFound, 404, 5)
		isError(t, "a route", client.Do(t.Context(), http.MethodGet, "/v1/open-platform/nothing", "", nil, nil), kenar.ErrNotFound, 404, 5)
		_, err = client.Upload(t.Context(), "hologram", "a", strings.NewReader("x"))
		isError(t, "a kind of media", err, kenar.ErrNotFound, 404, 5)
	})

	t.Run("405", func(t *testing.T) {
		t.Parallel()
		err := client.Do(t.Context(), http.MethodDelete, "/v1/open-platform/users", "", nil, nil)
		isError(t, "DELETE of users", err, kenar.ErrMethod, 405, 12)
	})

	t.Run("409", func(t *testing.T) {
		t.Parallel()
		// No call of an app meets one; the marketplace's do.
		err := client.Do(t.Context(), http.MethodPost, "/host/v1/apps", p.dev.HostKey, map[string]string{"slug": p.dev.App.Slug}, nil)
		isError(t, "the app again", err, kenar.ErrConflict, 409, 6)
	})

	t.Run("412", func(t *testing.T) {
		t.Parallel()
		const conversation = "blocked"
		p.mustHost(http.MethodPut, "/conversations/"+conversation, `{"type":"POST","post_token":"`+p.dev.PostToken+`","buyer":"buyer"}`, nil)
		p.mustHost(http.MethodPut, "/conversations/"+conversation+"/block", `{"by":"BUYER","blocked":true}`, nil)
		owner := client.User(static(p.devToken("seller", "CHAT_SUPPLIER_ALL_CONVERSATIONS_MESSAGE_SEND")))
		err := owner.SendMessage(t.Context(), conversation, kenar.ChatMessage{Text: "hello"})
		isError(t, "blocked", err, kenar.ErrPrecondition, 412, 9)
	})

	t.Run("413", func(t *testing.T) {
		t.Parallel()
		err := seller.SendMessage(t.Context(), p.dev.ConversationID, kenar.ChatMessage{Text: strings.Repeat("x", 1<<20)})
		isError(t, "a long message", err, kenar.ErrTooLarge, 413, 8)
		for what, content := range map[string]io.Reader{
			"of known size":   bytes.NewReader(make([]byte, 6<<20)),
			"of unknown size": io.MultiReader(bytes.NewReader(pdf), bytes.NewReader(make([]byte, 6<<20))),
		} {
			_, err := client.Upload(t.Context(), kenar.UploadFile, "big.pdf", content)
			isError(t, "a file "+what, err, kenar.ErrTooLarge, 413, 8)
		}
	})

	t.Run("415", func(t *testing.T) {
		t.Parallel()
		err := client.DoFile(t.Context(), "/v1/open-platform/events/subscriptions", p.dev.Users.Seller.AccessToken, strings.NewReader("x"))
		isError(t, "a form", err, kenar.ErrUnsupported, 415, 3)
	})
}

// pdf is the beginning of a document.
var pdf = []byte("%PDF-1.7\n%\xe2\xe3\xcf\xd3\n1 0 obj\n<</Type/Catalog>>\nendobj\n%%EOF\n")

// TestNoEventURL: what an app without one is told.
func TestNoEventURL(t *testing.T) {
	t.Parallel()
	p := startPlatform(t)
	p.mustHost(http.MethodPatch, "/apps/"+p.dev.App.Slug, `{"event_url":""}`, nil)
	u := newClient(t, p).User(static(p.dev.Users.Seller.AccessToken))
	err := u.Resubscribe(t.Context(), kenar.Subscription{Type: kenar.SubscribePostUpdate}, kenar.Subscription{Type: kenar.SubscribeNewMessageOnPost, PostToken: p.dev.PostToken})
	e := refusal(t, "subscribe", err, kenar.ErrPrecondition, 412, 9)
	if !strings.Contains(e.Message, "event_url") || strings.Count(err.Error(), "HTTP 412") != 2 || !strings.Contains(err.Error(), p.dev.PostToken) {
		t.Errorf("got %v", err)
	}
}

// TestPlatformFails: 500, when the platform's own disk is not as it was.
func TestPlatformFails(t *testing.T) {
	t.Parallel()
	p := startPlatform(t)
	c := newClient(t, p, func(o *kenar.Options) { o.Retries = -1 })
	unfinished := filepath.Join(p.data, "media", "unfinished")
	if err := os.RemoveAll(unfinished); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(unfinished, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	_, err := c.Upload(t.Context(), kenar.UploadFile, "a.pdf", bytes.NewReader(pdf))
	e := refusal(t, "upload", err, kenar.ErrInternal, 500, 13)
	if strings.Contains(e.Message, p.data) {
		t.Errorf("it says too much: %v", e)
	}
}

// serving is the real program in serve mode, where quotas are on.
type serving struct {
	base, hostKey string
}

// startServing starts "openkenar serve" on a ledger of its own.
func startServing(t testing.TB) *serving {
	t.Helper()
	if _, err := os.Stat(filepath.Join("..", "cmd", "openkenar")); err != nil {
		t.Skip("this test needs the platform: ../cmd/openkenar, the rest of the repository, is not here")
	}
	path, err := program()
	if err != nil {
		t.Fatal(err)
	}
	s := &serving{hostKey: "a-host-key-of-this-test"}
	cmd := exec.CommandContext(t.Context(), path, "serve", "--data", t.TempDir(), "--listen", "127.0.0.1:0")
	cmd.Env = append(slices.DeleteFunc(os.Environ(), func(v string) bool { return strings.HasPrefix(v, "OPENKENAR_") }), "OPENKENAR_HOST_KEY="+s.hostKey)
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	var log bytes.Buffer
	cmd.Stderr = &log
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
		if t.Failed() {
			t.Logf("the platform said:\n%s", log.String())
		}
	})
	// It says where it listens, on one line.
	line := make([]byte, 512)
	n, err := out.Read(line)
	if err != nil {
		t.Fatal(err)
	}
	address := regexp.MustCompile(`http://\S+`).Find(line[:n])
	if address == nil {
		t.Fatalf("it said %q", line[:n])
	}
	s.base = string(address)
	return s
}

// host calls the host API.
func (s *serving) host(t testing.TB, method, path string, in, out any) error {
	t.Helper()
	c, err := kenar.NewClient(kenar.Options{Host: s.base, APIKey: "none"})
	if err != nil {
		t.Fatal(err)
	}
	return c.Do(t.Context(), method, "/host/v1"+path, s.hostKey, in, out)
}

// TestQuota: a real platform's 429, and its Retry-After.
func TestQuota(t *testing.T) {
	t.Parallel()
	s := startServing(t)
	host := func(path string, in, out any) {
		t.Helper()
		if err := s.host(t, http.MethodPost, path, in, out); err != nil {
			t.Fatal(err)
		}
	}
	key := func(app string, perMinute, perDay int) *kenar.Client {
		t.Helper()
		host("/apps", map[string]any{"slug": app, "permissions": []string{"GET_POST"}, "per_minute": perMinute, "per_day": perDay}, nil)
		var key struct {
			Key string `json:"key"`
		}
		host("/apps/"+app+"/keys", map[string]any{"title": "t", "permissions": []string{"GET_POST"}}, &key)
		c, err := kenar.NewClient(kenar.Options{Host: s.base, APIKey: key.Key})
		if err != nil {
			t.Fatal(err)
		}
		return c
	}

	t.Run("a day", func(t *testing.T) {
		c := key("daily", 1000, 2)
		for range 2 {
			_, err := c.Post(t.Context(), "nowhere")
			isError(t, "within the quota", err, kenar.ErrNotFound, 404, 5)
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second) // so that it does not wait for midnight, should that be near
		defer cancel()
		_, err := c.Post(ctx, "nowhere")
		e := refusal(t, "beyond", err, kenar.ErrQuota, 429, 8)
		if e.RetryAfter <= 0 || e.RetryAfter > 24*time.Hour {
			t.Errorf("Retry-After: %s", e.RetryAfter)
		}
	})
	t.Run("a minute", func(t *testing.T) {
		c := key("minutely", 1, 1000)
		var e *kenar.Error
		// Two calls within a minute, unless a new one has just begun.
		for range 3 {
			ctx, cancel := context.WithTimeout(t.Context(), time.Second)
			_, err := c.Post(ctx, "nowhere")
			cancel()
			if errors.Is(err, kenar.ErrQuota) {
				e = refusal(t, "beyond", err, kenar.ErrQuota, 429, 8)
				break
			}
			isError(t, "within", err, kenar.ErrNotFound, 404, 5)
		}
		if e == nil || e.RetryAfter <= 0 || e.RetryAfter > time.Minute {
			t.Errorf("got %+v", e)
		}
	})
}

// TestSecretsAreHidden: a platform that says back what it was sent does not get
// it into a log.
func TestSecretsAreHidden(t *testing.T) {
	t.Parallel()
	const key, token = "okk_the-key-of-this-test", "oka_the-token-of-this-test"
	for name, echo := range map[string]string{
		"message": `{"code":16,"message":"no key %K and no token %T","details":["%T"]}`,
		"escaped": `{"code":16,"message":"\u006fkk_the-key-of-this-test %T","details":[]}`,
		"page":    `<html>%K %T</html>`,
		"nothing": ``,
	} {
		c := onPipe(t, func(o *kenar.Options) { o.APIKey, o.APIKeyPrefix = key, "Token" }, func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(http.StatusUnauthorized)
			_, _ = w.Write([]byte(strings.NewReplacer("%K", key, "%T", token).Replace(echo)))
		})
		_, err := c.User(static(token)).Me(t.Context())
		e, ok := errors.AsType[*kenar.Error](err)
		if !ok || !errors.Is(err, kenar.ErrUnauthenticated) {
			t.Errorf("%s: got %v", name, err)
			continue
		}
		all, jsonErr := json.Marshal(e)
		for _, text := range []string{err.Error(), e.Message, string(all)} {
			if jsonErr != nil || strings.Contains(text, "of-this-test") {
				t.Errorf("%s: %v says %s", name, jsonErr, text)
			}
		}
	}
}

// TestAnswersThatAreNotTheirs: a page of a proxy, an empty answer, one without
// end, and one that is not JSON.
func TestAnswersThatAreNotTheirs(t *testing.T) {
	t.Parallel()
	const page = "<html>\r\n<head><title>502 Bad Gateway</title></head>\r\n<body>\x1b[2J</body>\r\n</html>"
	for name, tt := range map[string]struct {
		status int
		body   string
		kind   error
		says   string
	}{
		"a page":               {502, page, kenar.ErrUnavailable, "<title>502 Bad Gateway</title>"},
		"nothing":              {503, "", kenar.ErrUnavailable, "service unavailable"},
		"a long page":          {500, strings.Repeat("سلام ", 1<<20), kenar.ErrInternal, "سلام"},
		"a gateway's status":   {400, `{"code":9,"message":"blocked","details":[{"@type":"x"}]}`, kenar.ErrPrecondition, "blocked"},
		"a status with more":   {404, `{"code":5,"message":"gone","details":[],"reason":{"a":1}}`, kenar.ErrNotFound, "gone"},
		"another's JSON":       {403, `{"error":"no"}`, kenar.ErrPermission, `{"error":"no"}`},
		"of no kind":           {418, `{"message":"a teapot"}`, nil, "a teapot"},
		"quota without status": {429, "slow down", kenar.ErrQuota, "slow down"},
		"200 that is a page":   {200, page, nil, "is not what was expected"},
		"200 without a body":   {200, "", nil, "is not what was expected"},
	} {
		c := onPipe(t, func(o *kenar.Options) { o.Retries = -1 }, func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(tt.status)
			_, _ = w.Write([]byte(tt.body))
		})
		_, err := c.Post(t.Context(), "x")
		if err == nil {
			t.Errorf("%s: nothing is wrong", name)
			continue
		}
		for _, k := range kinds {
			if errors.Is(err, k) != (k == tt.kind) { //nolint:errorlint // sentinels themselves
				t.Errorf("%s: %v: errors.Is %q: %t", name, err, k, errors.Is(err, k))
			}
		}
		text := err.Error()
		if !strings.Contains(text, tt.says) || len(text) > 800 || !utf8.ValidString(text) || strings.ContainsFunc(text, unicode.IsControl) {
			t.Errorf("%s: says %q", name, text)
		}
	}
}

// TestAnswersAreBounded: an answer without end is not read to its end.
func TestAnswersAreBounded(t *testing.T) {
	t.Parallel()
	for _, code := range []int{200, 500} {
		c := onPipe(t, func(o *kenar.Options) { o.Retries = -1 }, func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(code)
			_, _ = w.Write([]byte(`{"message":"`))
			chunk := bytes.Repeat([]byte("x"), 1<<20)
			for {
				if _, err := w.Write(chunk); err != nil {
					return
				}
			}
		})
		if _, err := c.Post(t.Context(), "x"); err == nil || len(err.Error()) > 800 {
			t.Errorf("%d: got %v", code, err)
		}
	}
}

// FuzzErrorOf takes any answer. Whatever it is, the error keeps its status, says
// something, fits on a line of a log, and asks for a wait that makes sense.
func FuzzErrorOf(f *testing.F) {
	for _, seed := range []struct {
		status               int
		retryAfter, to, body string
	}{
		{400, "", "", `{"code":3,"message":"event_type: missing","details":[]}`},
		{429, "17", "", `{"code":8,"message":"quota","details":[]}`},
		{503, "Fri, 31 Dec 1999 23:59:59 GMT", "", ``},
		{503, "-1", "", `null`},
		{502, "99999999999999999999", "", "<html>\x00\x1b[31m\u202e</html>"},
		{302, "", "https://example.com/?secret=1", ""},
		{500, "1e9", "", `{"code":1e99,"message":5,"details":{}}`},
		{404, "", "", "\xff\xfe" + strings.Repeat("گ", 5000)},
		{401, "", "", `{"message":""}`},
	} {
		f.Add(seed.status, seed.retryAfter, seed.to, []byte(seed.body))
	}
	f.Fuzz(func(t *testing.T, status int, retryAfter, to string, body []byte) {
		e := kenar.ErrorOf(status, http.Header{"Retry-After": {retryAfter}, "Location": {to}}, body)
		e.Method, e.Path = http.MethodGet, "/x"
		text := e.Error()
		switch {
		case e.HTTPStatus != status:
			t.Fatalf("status %d became %d", status, e.HTTPStatus)
		case !utf8.ValidString(text) || strings.ContainsFunc(text, unicode.IsControl) || strings.ContainsRune(text, '\u202e') || len(text) > 1000:
			t.Fatalf("says %q", text)
		case strings.HasSuffix(text, ": "):
			t.Fatalf("says nothing: %q", text)
		case e.RetryAfter < 0 || e.RetryAfter > 366*24*time.Hour:
			t.Fatalf("waits %s", e.RetryAfter)
		}
		n := 0
		for _, k := range kinds {
			if errors.Is(e, k) {
				n++
			}
		}
		if n > 1 {
			t.Fatalf("%v is %d kinds of errors", e, n)
		}
	})
}
