package kenar_test

import (
	"context"
	"errors"
	"html"
	"io"
	"net/http"
	"net/http/cookiejar"
	"net/http/httptest"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"testing"

	"golang.org/x/oauth2"

	"github.com/openkenar/openkenar/kenar"
)

// everyScope is each scope there is, on what is the seller's.
func (p *platform) everyScope() []kenar.Scope {
	return []kenar.Scope{
		kenar.ScopeUserID, kenar.ScopeUserPhone, kenar.ScopeUserPosts, kenar.ScopeSendEvent, kenar.ScopeAccessRevocation,
		kenar.ScopeAllConversationsRead, kenar.ScopeAllConversationsSend, kenar.ScopeBotMessageSend, kenar.ScopeOffline,
		kenar.ScopePostConversationsRead(p.dev.PostToken), kenar.ScopePostConversationsSend(p.dev.PostToken),
		kenar.ScopeConversationRead(p.dev.ConversationID), kenar.ScopeConversationSend(p.dev.ConversationID),
	}
}

// oauth returns the sample app's configuration.
func (p *platform) oauth(scopes ...kenar.Scope) *oauth2.Config {
	p.t.Helper()
	config, err := kenar.NewOAuth(kenar.OAuthOptions{
		Host: p.dev.BaseURL, ClientID: p.dev.App.Slug, ClientSecret: p.dev.App.ClientSecret,
		RedirectURL: p.dev.App.RedirectURI, Scopes: scopes,
	})
	if err != nil {
		p.t.Fatal(err)
	}
	return config
}

// browser is a person's: it keeps cookies and follows redirects, but for the
// one that leads back to the app.
type browser struct {
	t    testing.TB
	http *http.Client
}

func newBrowser(t testing.TB, home string) *browser {
	t.Helper()
	jar, err := cookiejar.New(nil)
	if err != nil {
		t.Fatal(err)
	}
	return &browser{t, &http.Client{Jar: jar, CheckRedirect: func(r *http.Request, _ []*http.Request) error {
		if !strings.HasPrefix(r.URL.String(), home+"/") {
			return http.ErrUseLastResponse
		}
		return nil
	}}}
}

// do makes a request and returns the page, or where it leads back to.
func (b *browser) do(method, to, form string) (page string, back *url.URL) {
	b.t.Helper()
	r, err := http.NewRequestWithContext(b.t.Context(), method, to, strings.NewReader(form))
	if err != nil {
		b.t.Fatal(err)
	}
	if form != "" {
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	}
	answer, err := b.http.Do(r)
	if err != nil {
		b.t.Fatal(err)
	}
	defer answer.Body.Close()
	body, err := io.ReadAll(answer.Body)
	if err != nil {
		b.t.Fatal(err)
	}
	if location, err := answer.Location(); err == nil {
		return "", location
	}
	if answer.StatusCode != http.StatusOK {
		b.t.Fatalf("%s %s: %d %s", method, to, answer.StatusCode, body)
	}
	return string(body), nil
}

var (
	formAction = regexp.MustCompile(`<form method="post" action="([^"]*)"`)
	hidden     = regexp.MustCompile(`<input type="hidden" name="([^"]*)" value="([^"]*)"`)
)

// submit sends the form of a page with one of its buttons.
func (b *browser) submit(home, page, name, value string) (next string, back *url.URL) {
	b.t.Helper()
	action := formAction.FindStringSubmatch(page)
	if action == nil {
		b.t.Fatalf("no form in %s", page)
	}
	form := url.Values{name: {value}}
	for _, input := range hidden.FindAllStringSubmatch(page, -1) {
		form.Set(input[1], html.UnescapeString(input[2]))
	}
	return b.do(http.MethodPost, home+html.UnescapeString(action[1]), form.Encode())
}

// consent plays a user who is asked, and returns the request with which the
// browser comes back to the app.
func (p *platform) consent(ask, user, decision string) *http.Request {
	p.t.Helper()
	b := newBrowser(p.t, p.dev.BaseURL)
	page, back := b.do(http.MethodGet, ask, "")
	if back == nil {
		page, back = b.submit(p.dev.BaseURL, page, "user", user)
	}
	if back == nil {
		_, back = b.submit(p.dev.BaseURL, page, "decision", decision)
	}
	if back == nil {
		p.t.Fatal("the browser does not come back to the app")
	}
	return httptest.NewRequestWithContext(p.t.Context(), http.MethodGet, back.String(), nil)
}

// grant gives the app what the configuration asks for, and returns the pair.
func (p *platform) grant(config *oauth2.Config, user string) *oauth2.Token {
	p.t.Helper()
	verifier := oauth2.GenerateVerifier()
	r := p.consent(config.AuthCodeURL("the-state", oauth2.S256ChallengeOption(verifier)), user, "accept")
	code, err := kenar.AuthCode(r, "the-state")
	if err != nil {
		p.t.Fatal(err)
	}
	pair, err := config.Exchange(p.t.Context(), code, oauth2.VerifierOption(verifier))
	if err != nil {
		p.t.Fatal(err)
	}
	return pair
}

// TestOAuth asks a user for every scope there is, and calls with what comes.
func TestOAuth(t *testing.T) {
	t.Parallel()
	p := startPlatform(t)
	pair := p.grant(p.oauth(p.everyScope()...), "seller")
	if pair.RefreshToken == "" || pair.Expiry.IsZero() || pair.Type() != "Bearer" {
		t.Errorf("got %+v", pair)
	}
	granted, asked := kenar.Granted(pair), p.everyScope()
	slices.Sort(granted)
	slices.Sort(asked)
	if !slices.Equal(granted, asked) {
		t.Errorf("granted %v, asked for %v", granted, asked)
	}
	me, err := newClient(t, p).User(oauth2.StaticTokenSource(pair)).Me(t.Context())
	if err != nil || me.UserID != p.dev.Users.Seller.AppUserID {
		t.Errorf("got %+v, %v", me, err)
	}

	// A user gives what is theirs, and no more.
	less := p.grant(p.oauth(kenar.ScopeUserID, kenar.ScopePostConversationsRead(p.dev.PostToken)), "buyer")
	if granted := kenar.Granted(less); !slices.Equal(granted, []kenar.Scope{kenar.ScopeUserID}) || less.RefreshToken != "" {
		t.Errorf("granted %v", granted)
	}
	if kenar.Granted(&oauth2.Token{AccessToken: "stored"}) != nil {
		t.Error("a stored token has scopes")
	}
}

// TestAuthCode: who comes back, and with what.
func TestAuthCode(t *testing.T) {
	t.Parallel()
	p := startPlatform(t)
	config := p.oauth(kenar.ScopeUserID)
	ask := config.AuthCodeURL("the-state")

	if code, err := kenar.AuthCode(p.consent(ask, "seller", "accept"), "the-state"); err != nil || code == "" {
		t.Errorf("accepted: %q, %v", code, err)
	}
	if _, err := kenar.AuthCode(p.consent(ask, "seller", "deny"), "the-state"); !errors.Is(err, kenar.ErrDenied) {
		t.Errorf("denied: %v", err)
	}
	for _, state := range []string{"another-state", ""} {
		if _, err := kenar.AuthCode(p.consent(ask, "seller", "accept"), state); !errors.Is(err, kenar.ErrInvalid) {
			t.Errorf("state %q: %v", state, err)
		}
	}
	if _, err := kenar.AuthCode(httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/back?state=", nil), ""); !errors.Is(err, kenar.ErrInvalid) {
		t.Errorf("no state at all: %v", err)
	}
	if _, err := kenar.AuthCode(httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/back?state=s", nil), "s"); !errors.Is(err, kenar.ErrInvalid) {
		t.Errorf("no code: %v", err)
	}
	// What the platform does not know it says.
	strange := *config
	strange.Scopes = []string{"NO_SUCH_SCOPE"}
	_, err := kenar.AuthCode(p.consent(strange.AuthCodeURL("the-state"), "seller", "accept"), "the-state")
	if !errors.Is(err, kenar.ErrInvalid) || !strings.Contains(err.Error(), "invalid_scope") {
		t.Errorf("an unknown scope: %v", err)
	}
}

// TestScopesAreThePlatforms: what the builders take, the platform takes; and what
// they refuse, it refuses.
func TestScopesAreThePlatforms(t *testing.T) {
	t.Parallel()
	p := startPlatform(t)
	takes := func(scope kenar.Scope) bool {
		body := map[string]any{"app": p.dev.App.Slug, "user": "seller", "scopes": []kenar.Scope{scope}}
		err := newClient(t, p).Do(t.Context(), http.MethodPost, "/host/v1/dev/tokens", p.dev.HostKey, body, nil)
		if err != nil {
			isError(t, string(scope), err, kenar.ErrInvalid, 400, 3)
		}
		return err == nil
	}
	for _, scope := range p.everyScope() {
		if _, err := kenar.Scopes(scope); err != nil || !takes(scope) {
			t.Errorf("%s: %v", scope, err)
		}
	}
	for _, id := range scopeIDs {
		for _, scope := range []kenar.Scope{
			kenar.ScopePostConversationsRead(id), kenar.ScopePostConversationsSend(id), kenar.ScopeConversationRead(id), kenar.ScopeConversationSend(id),
			kenar.ScopeUserID + "." + kenar.Scope(id),
		} {
			_, err := kenar.Scopes(scope)
			if taken := takes(scope); taken != (err == nil) {
				t.Errorf("%q: the platform takes it: %t; here: %v", scope, taken, err)
			}
			if err != nil && !errors.Is(err, kenar.ErrInvalid) {
				t.Errorf("%q: %v", scope, err)
			}
		}
	}
	list, err := kenar.Scopes(kenar.ScopeUserID, kenar.ScopeUserPhone, kenar.ScopeUserID, "OF_ANOTHER_PLATFORM.x")
	if err != nil || !slices.Equal(list, []string{"USER_ID", "USER_PHONE", "OF_ANOTHER_PLATFORM.x"}) {
		t.Errorf("got %q, %v", list, err)
	}
	if _, err := kenar.Scopes(slices.Repeat([]kenar.Scope{kenar.ScopeUserID}, 101)...); !errors.Is(err, kenar.ErrInvalid) {
		t.Errorf("101 scopes: %v", err)
	}
}

var scopeIDs = []string{
	"", " ", ".", "..", "/", "a", "a b", "a.b", "a/b+c=", "a\tb", "a\x00", "سلام", `a"b`, `a\b`, "...", "./", strings.Repeat("x", 64), strings.Repeat("x", 65),
	strings.Repeat("x", 300),
}

// FuzzScopes: what is taken is what OpenKenar takes. Its rule, in its words: of a
// known name, the identifier is there exactly where the name needs one, printable
// ASCII of 1 to 64 bytes, and not ".", ".." or "/"; the whole has at most 256
// bytes. Of any name the whole is a scope-token of RFC 6749 or close to it: no
// space can split it in two.
func FuzzScopes(f *testing.F) {
	for _, id := range scopeIDs {
		f.Add("CHAT_CONVERSATION_READ", id)
		f.Add("USER_ID", id)
		f.Add("OF_ANOTHER", id)
	}
	f.Add("USER_ID USER_PHONE", "x")
	withID := regexp.MustCompile(`^[!-~]{1,64}$`)
	f.Fuzz(func(t *testing.T, name, id string) {
		for _, scope := range []kenar.Scope{
			kenar.Scope(name), kenar.Scope(name + "." + id),
			kenar.ScopePostConversationsRead(id), kenar.ScopePostConversationsSend(id), kenar.ScopeConversationRead(id), kenar.ScopeConversationSend(id),
		} {
			list, err := kenar.Scopes(scope)
			if err != nil {
				if !errors.Is(err, kenar.ErrInvalid) || len(err.Error()) > 500 || list != nil {
					t.Fatalf("%q is refused with %v", scope, err)
				}
				continue
			}
			text := string(scope)
			if !slices.Equal(list, []string{text}) || len(strings.Fields(text)) != 1 || len(text) > 256 || text == "" {
				t.Fatalf("%q was taken", scope)
			}
			head, tail, has := strings.Cut(text, ".")
			switch head {
			case "CHAT_POST_CONVERSATIONS_READ", "CHAT_POST_CONVERSATIONS_MESSAGE_SEND", "CONVERSATION_SEND_MESSAGE", "CHAT_CONVERSATION_READ":
				if !withID.MatchString(tail) || tail == "." || tail == ".." || tail == "/" {
					t.Fatalf("%q was taken", scope)
				}
			case "USER_ID", "USER_PHONE", "USER_POSTS_GET", "SEND_EVENT", "NOTIFICATION_ACCESS_REVOCATION", "CHAT_SUPPLIER_ALL_CONVERSATIONS_READ",
				"CHAT_SUPPLIER_ALL_CONVERSATIONS_MESSAGE_SEND", "CHAT_BOT_USER_MESSAGE_SEND", "offline_access":
				if has {
					t.Fatalf("%q was taken", scope)
				}
			}
		}
	})
}

var redirectURLs = map[string]bool{
	"https://app.example/back":                         true,
	"https://app.example":                              true,
	"https://app.example:8443/a/b;c=d,e":               true,
	"http://127.0.0.1:8000/oauth/callback":             true,
	"http://localhost/":                                true,
	"http://[::1]:80/":                                 true,
	"com.example.app:/back":                            true,
	"com.example.app://back":                           true,
	"https://xn--mgba3a4f16a.ir/":                      true,
	"":                                                 false,
	"/back":                                            false,
	"app.example/back":                                 false,
	"http://app.example/back":                          false,
	"http://localhost.app.example/":                    false,
	"https://app.example/back?x=y":                     false,
	"https://app.example/back?":                        false,
	"https://app.example/back#":                        false,
	"https://*.app.example/":                           false,
	"https://me@app.example/":                          false,
	`https://app.example\@evil.example/`:               false,
	"https://app.example/ ":                            false,
	"https://app.example/\r\nX: y":                     false,
	"https://دیوار.example/":                           false,
	"https:///back":                                    false,
	"https://:443/":                                    false,
	"myapp:/back":                                      false,
	"javascript:alert(1)":                              false,
	"https://app.example/" + strings.Repeat("x", 2028): true,
	"https://app.example/" + strings.Repeat("x", 2029): false,
}

// TestRedirectURLsAreThePlatforms: as with scopes; of serve mode, since dev mode
// takes plain http to anywhere.
func TestRedirectURLsAreThePlatforms(t *testing.T) {
	t.Parallel()
	s := startServing(t)
	if err := s.host(t, http.MethodPost, "/apps", map[string]string{"slug": "app"}, nil); err != nil {
		t.Fatal(err)
	}
	for raw, want := range redirectURLs {
		err := kenar.CheckRedirectURL(raw)
		if (err == nil) != want || err != nil && !errors.Is(err, kenar.ErrInvalid) {
			t.Errorf("%q: %v", raw, err)
		}
		refused := s.host(t, http.MethodPatch, "/apps/app", map[string][]string{"redirect_uris": {raw}}, nil)
		if (refused == nil) != want {
			t.Errorf("%q: the platform says %v", raw, refused)
		}
	}
}

// FuzzRedirectURL: what is taken is what OpenKenar lets an app register: https
// with a host, plain http to this machine, or a scheme with a dot; printable
// ASCII without ?, #, * and \, no user name, at most 2,048 bytes. So no browser
// reads another host in it than we do.
func FuzzRedirectURL(f *testing.F) {
	for raw := range redirectURLs {
		f.Add(raw)
	}
	f.Fuzz(func(t *testing.T, raw string) {
		err := kenar.CheckRedirectURL(raw)
		if err != nil {
			if !errors.Is(err, kenar.ErrInvalid) || len(err.Error()) > 500 {
				t.Fatalf("%q is refused with %v", raw, err)
			}
			return
		}
		u, err := url.Parse(raw)
		if err != nil || len(raw) > 2048 || strings.ContainsAny(raw, "?#*\\ ") || u.User != nil || u.RawQuery != "" || u.Fragment != "" {
			t.Fatalf("%q was taken", raw)
		}
		for _, r := range raw {
			if r <= ' ' || r > '~' {
				t.Fatalf("%q was taken", raw)
			}
		}
		switch host := u.Hostname(); u.Scheme {
		case "https":
			if host == "" {
				t.Fatalf("%q was taken", raw)
			}
		case "http":
			if host != "localhost" && !strings.HasSuffix(host, ".localhost") && !strings.HasPrefix(host, "127.") && !strings.HasPrefix(host, "0") && !strings.HasPrefix(host, ":") && !strings.HasSuffix(host, ":1") && !strings.HasPrefix(host, "::ffff:127.") && !strings.Contains(host, ":ffff:7f") {
				t.Fatalf("%q was taken", raw)
			}
		default:
			if !strings.Contains(u.Scheme, ".") {
				t.Fatalf("%q was taken", raw)
			}
		}
	})
}

func TestNewOAuthRefuses(t *testing.T) {
	t.Parallel()
	good := kenar.OAuthOptions{
		ClientID: "app", ClientSecret: "oks_secret", RedirectURL: "https://app.example/back", Scopes: []kenar.Scope{kenar.ScopeUserID},
	}
	config, err := kenar.NewOAuth(good)
	if err != nil || config.Endpoint.AuthURL != "https://oauth.divar.ir/oauth2/auth" || config.Endpoint.TokenURL != "https://oauth.divar.ir/oauth2/token" {
		t.Fatalf("got %+v, %v", config, err)
	}
	for name, spoil := range map[string]func(*kenar.OAuthOptions){
		"host":     func(o *kenar.OAuthOptions) { o.Host = "http://example.com" },
		"id":       func(o *kenar.OAuthOptions) { o.ClientID = "" },
		"secret":   func(o *kenar.OAuthOptions) { o.ClientSecret = "" },
		"redirect": func(o *kenar.OAuthOptions) { o.RedirectURL = "http://app.example/back" },
		"none":     func(o *kenar.OAuthOptions) { o.Scopes = nil },
		"scope":    func(o *kenar.OAuthOptions) { o.Scopes = []kenar.Scope{kenar.ScopeConversationRead("")} },
	} {
		o := good
		spoil(&o)
		if config, err := kenar.NewOAuth(o); err == nil || config != nil || strings.Contains(err.Error(), "oks_") {
			t.Errorf("%s: got %v, %v", name, config, err)
		}
	}
}

// noSave is for tests in which nothing is to be stored.
func noSave(context.Context, *oauth2.Token) error { return errors.New("nothing is to be stored here") }
