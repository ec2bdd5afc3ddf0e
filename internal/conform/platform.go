package conform

import (
	"context"
	"encoding/json"
	"io"
	"log"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"time"
)

const (
	maxNames = 16 << 10 // bytes of a call that are looked at for what it names
	maxActs  = 2000     // acts that are remembered
	maxSent  = 64 << 20 // bytes of a call's body; the largest upload is 50 MB
)

// platform is what the app under test calls: an open API (contract section 4)
// that says yes to everything and remembers who did what.
type platform struct {
	mu      sync.Mutex
	acts    []act
	rules   []*rule
	changed chan struct{} // closed, and another made, with each act
}

// act is a call by which an app does something, as opposed to reading.
type act struct {
	text string // path, body and query: what it names
	tally
}

// tally counts acts.
type tally struct{ begun, done, failed int }

// rule says what becomes of acts that name one of refs: before they are
// answered, until is waited for; then they fail or not.
type rule struct {
	refs  []string
	until <-chan struct{}
	fails <-chan struct{} // acts fail until it is closed; nil: they do not
}

func newPlatform() *platform { return &platform{changed: make(chan struct{})} }

// serve answers on l until the function that it returns is called.
func (p *platform) serve(l net.Listener) (stop func()) {
	server := &http.Server{
		Handler: p, ReadHeaderTimeout: 5 * time.Second, ReadTimeout: 30 * time.Second, ErrorLog: log.New(io.Discard, "", 0),
	}
	var serving sync.WaitGroup
	serving.Go(func() { _ = server.Serve(l) })
	return func() {
		_ = server.Close() // an app that still waits for an answer has none to wait for
		serving.Wait()
	}
}

// ServeHTTP answers a call of the app.
func (p *platform) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	sent := http.MaxBytesReader(w, r.Body, maxSent)
	body, err := io.ReadAll(io.LimitReader(sent, maxNames))
	if err == nil {
		_, err = io.Copy(io.Discard, sent)
	}
	if err != nil {
		refuse(w, http.StatusRequestEntityTooLarge, 8, "the body cannot be read")
		return
	}
	isToken := r.Method == http.MethodPost && strings.HasPrefix(r.URL.Path, "/oauth2/") || strings.HasPrefix(r.URL.Path, "/upload/")
	if r.Header.Get("X-API-Key") == "" && !isToken {
		refuse(w, http.StatusUnauthorized, 16, "no API key: send it in X-API-Key")
		return
	}
	answer, ok := p.answer(r)
	if !ok {
		refuse(w, http.StatusNotFound, 5, "there is no "+r.Method+" "+r.URL.Path)
		return
	}
	if isSending(r) && !p.act(r.Context(), named(r, body)) {
		refuse(w, http.StatusServiceUnavailable, 14, "conform fails this call on purpose")
		return
	}
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(answer) // fails only where nobody waits for it any more
}

// isSending says whether a call does something that people see.
func isSending(r *http.Request) bool {
	return r.Method == http.MethodPost && (strings.HasSuffix(r.URL.Path, "/messages") || strings.HasSuffix(r.URL.Path, "/events/send"))
}

// named is all that a call names.
func named(r *http.Request, body []byte) string {
	query, err := url.QueryUnescape(r.URL.RawQuery)
	if err != nil {
		query = r.URL.RawQuery
	}
	text := r.URL.Path + "\n" + string(body) + "\n" + query
	return text[:min(len(text), maxNames)]
}

// act notes an act, and says whether it succeeds.
func (p *platform) act(ctx context.Context, text string) bool {
	p.mu.Lock()
	at := len(p.acts)
	known := at < maxActs
	if known {
		p.acts = append(p.acts, act{text, tally{begun: 1}})
	}
	rules := slices.DeleteFunc(slices.Clone(p.rules), func(r *rule) bool { return !names(text, r.refs) })
	p.tell()
	p.mu.Unlock()
	done := obey(ctx, rules)
	p.mu.Lock()
	defer p.mu.Unlock()
	switch {
	case known && done:
		p.acts[at].done = 1
	case known:
		p.acts[at].failed = 1
	}
	p.tell()
	return done
}

// obey does what rules say of an act, and says whether it succeeds.
func obey(ctx context.Context, rules []*rule) bool {
	for _, r := range rules {
		if r.until != nil {
			select {
			case <-r.until:
			case <-ctx.Done():
				return false
			}
		}
		if r.fails != nil && !isClosed(r.fails) {
			return false
		}
	}
	return true
}

// tell wakes those who wait for acts; p.mu is held.
func (p *platform) tell() {
	close(p.changed)
	p.changed = make(chan struct{})
}

func isClosed(c <-chan struct{}) bool {
	select {
	case <-c:
		return true
	default:
		return false
	}
}

func names(text string, refs []string) bool {
	return slices.ContainsFunc(refs, func(ref string) bool { return strings.Contains(text, ref) })
}

// add makes a rule hold until the function that it returns is called.
func (p *platform) add(r *rule) (remove func()) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.rules = append(p.rules, r)
	return func() {
		p.mu.Lock()
		defer p.mu.Unlock()
		p.rules = slices.DeleteFunc(p.rules, func(other *rule) bool { return other == r })
	}
}

// count counts the acts that name one of refs.
func (p *platform) count(refs []string) tally {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.counted(refs)
}

// counted is count; p.mu is held.
func (p *platform) counted(refs []string) (t tally) {
	for _, a := range p.acts {
		if names(a.text, refs) {
			t.begun += a.begun
			t.done += a.done
			t.failed += a.failed
		}
	}
	return t
}

// wait waits until want is true of the acts that name one of refs, at most for
// a while, and says whether it is.
func (p *platform) wait(ctx context.Context, refs []string, atMost time.Duration, want func(tally) bool) bool {
	ctx, cancel := context.WithTimeout(ctx, atMost)
	defer cancel()
	for {
		p.mu.Lock()
		changed, ok := p.changed, want(p.counted(refs))
		p.mu.Unlock()
		if ok {
			return true
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return false
		}
	}
}

// answer is what a call of the open API is answered, and whether there is such
// a call.
func (p *platform) answer(r *http.Request) (any, bool) {
	type object = map[string]any
	path, post := r.URL.Path, r.Method == http.MethodPost
	last := path[strings.LastIndexByte(path, '/')+1:]
	in := func(prefixes ...string) bool {
		return slices.ContainsFunc(prefixes, func(prefix string) bool { return strings.HasPrefix(path, prefix) })
	}
	switch {
	case post && last == "messages" && in("/v2/open-platform/conversations/"):
		return object{"status": 200, "message": "the message was sent"}, true
	case post && last == "messages" && in("/v1/open-platform/chat/bot/", "/experimental/open-platform/chat/bot/", "/experimental/open-platform/chatbot-conversations/"):
		parts := strings.Split(path, "/")
		return object{"conversation_id": parts[len(parts)-2]}, true
	case post && in("/v1/open-platform/events/subscriptions"), post && path == "/experimental/open-platform/events/send":
		return object{}, true
	case r.Method == http.MethodDelete && in("/v1/open-platform/events/subscriptions/"):
		return object{}, true
	case path == "/v1/open-platform/events/subscriptions":
		return object{"subscriptions": []any{}, "next": nil}, true
	case path == "/v1/open-platform/users":
		return object{"user_id": "conform-user", "phone_number": "09120000001", "phone_numbers": []string{"09120000001"}}, true
	case in("/v1/open-platform/finder/post/"):
		return object{
			"token": last, "category": "bicycle", "city": "tehran", "district": "velenjak", "state": "PUBLISHED", "chat_enabled": true,
			"is_phone_hidden": false, "supplier_chat_assistant_enabled": true, "first_published_at": "2024-10-20T13:12:06.14Z", "data": object{},
		}, true
	case path == "/v1/open-platform/finder/user-posts":
		return object{"posts": []any{}}, true
	case in("/v1/open-platform/chat/conversations/"):
		return object{"conversation": object{"id": last, "type": "BOT"}, "messages": []any{}}, true
	case post && path == "/experimental/open-platform/chat/upload":
		return object{"token": "conform-upload"}, true
	case post && in("/upload/"):
		return object{"id": "conform-media", "status": "ok"}, true
	case post && path == "/oauth2/token":
		return object{"access_token": "conform-access", "refresh_token": "conform-refresh", "expires_in": 3600, "scope": "", "token_type": "bearer"}, true
	}
	return nil, false
}

// refuse answers with an error of the contract's section 3.
func refuse(w http.ResponseWriter, status, code int, message string) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(map[string]any{"code": code, "message": message, "details": []any{}})
}
