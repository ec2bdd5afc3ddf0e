package server_test

import (
	"context"
	"errors"
	"io"
	"maps"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"regexp"
	"strings"
	"sync"
	"testing"

	"golang.org/x/oauth2"
)

// browser is a person at a browser: it keeps cookies, follows our pages, and
// stops where it is sent to an app.
type browser struct {
	t      *testing.T
	p      *platform
	client *http.Client
}

func (p *platform) browser(t *testing.T) *browser {
	jar, err := cookiejar.New(nil)
	if err != nil {
		t.Fatal(err)
	}
	return &browser{t: t, p: p, client: &http.Client{
		Jar:           jar,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}}
}

// visit is what the browser shows in the end: a page of ours, or the address
// of the app to which it was sent.
type visit struct {
	status int
	header http.Header
	page   string
	back   *url.URL // set when it left for the app
}

func (b *browser) do(method, address string, form url.Values) visit {
	b.t.Helper()
	for range 10 {
		var body io.Reader
		if form != nil {
			body = strings.NewReader(form.Encode())
		}
		req, err := http.NewRequestWithContext(b.t.Context(), method, address, body)
		if err != nil {
			b.t.Fatal(err)
		}
		if form != nil {
			req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		}
		resp, err := b.client.Do(req)
		if err != nil {
			b.t.Fatal(err)
		}
		content, err := io.ReadAll(resp.Body)
		_ = resp.Body.Close()
		if err != nil {
			b.t.Fatal(err)
		}
		b.p.held(req, form.Encode(), resp, content)
		if resp.StatusCode != http.StatusSeeOther {
			return visit{status: resp.StatusCode, header: resp.Header, page: string(content)}
		}
		to, err := req.URL.Parse(resp.Header.Get("Location"))
		if err != nil {
			b.t.Fatal(err)
		}
		if !strings.HasPrefix(to.String(), b.p.base+"/oauth2/") {
			return visit{status: resp.StatusCode, header: resp.Header, back: to}
		}
		method, address, form = http.MethodGet, to.String(), nil
	}
	b.t.Fatal("too many redirects")
	return visit{}
}

func (b *browser) open(address string) visit { b.t.Helper(); return b.do(http.MethodGet, address, nil) }

var (
	formAction = regexp.MustCompile(`<form method="post" action="([^"]+)"`)
	hidden     = regexp.MustCompile(`<input type="hidden" name="([^"]+)" value="([^"]+)"`)
)

// press presses a button of the page's form.
func (b *browser) press(v visit, name, value string) visit {
	b.t.Helper()
	action := formAction.FindStringSubmatch(v.page)
	if action == nil || !strings.Contains(v.page, `name="`+name+`" value="`+value+`"`) {
		b.t.Fatalf("there is no button %s=%s on the page:\n%s", name, value, v.page)
	}
	form := url.Values{name: {value}}
	for _, h := range hidden.FindAllStringSubmatch(v.page, -1) {
		form.Set(h[1], h[2])
	}
	return b.do(http.MethodPost, b.p.base+action[1], form)
}

// config is the sample app's own configuration of a standard client.
func (p *platform) config(scopes ...string) *oauth2.Config {
	return &oauth2.Config{
		ClientID: p.dev.App.Slug, ClientSecret: p.dev.App.ClientSecret, RedirectURL: p.dev.App.RedirectURI, Scopes: scopes,
		Endpoint: oauth2.Endpoint{AuthURL: p.base + "/oauth2/auth", TokenURL: p.base + "/oauth2/token"},
	}
}

// consent goes through login and consent as the seller and returns the code.
func (b *browser) consent(c *oauth2.Config, options ...oauth2.AuthCodeOption) string {
	b.t.Helper()
	v := b.press(b.open(c.AuthCodeURL("the state", options...)), "user", "seller")
	v = b.press(v, "decision", "accept")
	if v.back == nil || v.back.Query().Get("state") != "the state" || v.back.Query().Get("code") == "" {
		b.t.Fatalf("after accepting: %d %v\n%s", v.status, v.back, v.page)
	}
	return v.back.Query().Get("code")
}

// refused fails the test unless err is an error of RFC 6749 with a code, and
// says nothing more.
func refused(t *testing.T, err error, code string) {
	t.Helper()
	var failed *oauth2.RetrieveError
	if !errors.As(err, &failed) || failed.ErrorCode != code || string(failed.Body) != `{"error":"`+code+`"}` {
		t.Errorf("got %v, want %s alone", err, code)
	}
}

func (p *platform) refresh(c *oauth2.Config, token string) (*oauth2.Token, error) {
	return c.TokenSource(p.t.Context(), &oauth2.Token{RefreshToken: token}).Token()
}

// works says whether a token lets its app ask who the user is.
func (p *platform) works(token string) bool {
	return p.app("GET", "/v1/open-platform/users", token, "").status == http.StatusOK
}

// TestOAuthFlow plays a whole life of a consent with a standard client library:
// consent, code, token, use, refresh, retry of the refresh, late reuse, revoke.
func TestOAuthFlow(t *testing.T) {
	t.Parallel()
	p := start(t)
	c := p.config("USER_ID", "USER_POSTS_GET", "NOTIFICATION_ACCESS_REVOCATION", "CHAT_POST_CONVERSATIONS_READ.gZd7omnS", "offline_access")
	verifier := oauth2.GenerateVerifier()
	code := p.browser(t).consent(c, oauth2.S256ChallengeOption(verifier))
	first, err := c.Exchange(t.Context(), code, oauth2.VerifierOption(verifier))
	if err != nil {
		t.Fatal(err)
	}
	if first.Type() != "Bearer" || first.Extra("expires_in") != 3600.0 || first.RefreshToken == "" ||
		first.Extra("scope") != "CHAT_POST_CONVERSATIONS_READ.gZd7omnS NOTIFICATION_ACCESS_REVOCATION USER_ID USER_POSTS_GET offline_access" {
		t.Errorf("token: %+v, scope %v, expires_in %v", first, first.Extra("scope"), first.Extra("expires_in"))
	}
	p.subscribe(first.AccessToken, `{"event_type":"NEW_MESSAGE_ON_POST","event_resource_id":"gZd7omnS"}`).ok()
	p.say("BUYER", "one")
	p.one()

	// A refresh replaces both; a retry, and the old pair, go on for two minutes.
	second, err := p.refresh(c, first.RefreshToken)
	if err != nil {
		t.Fatal(err)
	}
	p.advance("1m50s")
	retried, err := p.refresh(c, first.RefreshToken)
	if err != nil {
		t.Fatalf("retry within the grace: %v", err)
	}
	for name, token := range map[string]*oauth2.Token{"old": first, "new": second, "retried": retried} {
		if !p.works(token.AccessToken) {
			t.Errorf("the %s access token does not work within the grace", name)
		}
	}
	p.say("BUYER", "two")
	p.one()

	// Then the old token is dead, and with it its subscription.
	p.advance("20s")
	if p.works(first.AccessToken) || !p.works(second.AccessToken) || !p.works(retried.AccessToken) {
		t.Error("after the grace the old access token is to be dead, the new ones alive")
	}
	p.say("BUYER", "three")
	p.none()

	// Late reuse says that two hold the token: the family is revoked, and no
	// event tells of it.
	_, err = p.refresh(c, first.RefreshToken)
	refused(t, err, "invalid_grant")
	if p.works(second.AccessToken) || p.works(retried.AccessToken) {
		t.Error("late reuse leaves tokens of the family alive")
	}
	_, err = p.refresh(c, second.RefreshToken)
	refused(t, err, "invalid_grant")
	p.none()

	// The user takes the grant back: one event.
	p.host("DELETE", "/users/seller/grants/sample-app", "").ok()
	if h := p.one(); !strings.Contains(h.body, `"USER_ACCESS_REVOCATION"`) {
		t.Errorf("webhook: %s", h.body)
	}
}

// TestOAuthCode holds the rules of codes.
func TestOAuthCode(t *testing.T) {
	t.Parallel()
	p := start(t)
	b := p.browser(t)
	c := p.config("USER_ID", "offline_access")

	t.Run("reuse takes back what the code gave", func(t *testing.T) {
		code := b.consent(c)
		token, err := c.Exchange(t.Context(), code)
		if err != nil {
			t.Fatal(err)
		}
		_, err = c.Exchange(t.Context(), code)
		refused(t, err, "invalid_grant")
		if p.works(token.AccessToken) {
			t.Error("the access token works still")
		}
		_, err = p.refresh(c, token.RefreshToken)
		refused(t, err, "invalid_grant")
	})
	t.Run("of twenty parties one wins", func(t *testing.T) {
		code := b.consent(c)
		var wg sync.WaitGroup
		var mu sync.Mutex
		won := 0
		for range 20 {
			wg.Go(func() {
				if _, err := c.Exchange(t.Context(), code); err == nil {
					mu.Lock()
					defer mu.Unlock()
					won++
				}
			})
		}
		wg.Wait()
		if won != 1 {
			t.Errorf("%d parties got tokens", won)
		}
	})
	t.Run("it lives ten minutes", func(t *testing.T) {
		code := b.consent(c)
		p.advance("10m1s")
		_, err := c.Exchange(t.Context(), code)
		refused(t, err, "invalid_grant")
	})
	t.Run("the verifier must be the challenge's", func(t *testing.T) {
		verifier := oauth2.GenerateVerifier()
		code := b.consent(c, oauth2.S256ChallengeOption(verifier))
		_, err := c.Exchange(t.Context(), code, oauth2.VerifierOption(oauth2.GenerateVerifier()))
		refused(t, err, "invalid_grant")
		_, err = c.Exchange(t.Context(), code)
		refused(t, err, "invalid_grant")
		if _, err := c.Exchange(t.Context(), code, oauth2.VerifierOption(verifier)); err != nil {
			t.Errorf("the right verifier after wrong ones: %v", err)
		}
	})
	t.Run("a verifier without a challenge is refused", func(t *testing.T) {
		_, err := c.Exchange(t.Context(), b.consent(c), oauth2.VerifierOption(oauth2.GenerateVerifier()))
		refused(t, err, "invalid_grant")
	})
	t.Run("the redirect URI must be the request's", func(t *testing.T) {
		other := *c
		other.RedirectURL += "x"
		_, err := other.Exchange(t.Context(), b.consent(c))
		refused(t, err, "invalid_grant")
	})
	t.Run("another app cannot redeem it, and does no harm", func(t *testing.T) {
		other := p.otherClient(c)
		code := b.consent(c)
		_, err := other.Exchange(t.Context(), code)
		refused(t, err, "invalid_grant")
		token, err := c.Exchange(t.Context(), code)
		if err != nil {
			t.Fatal(err)
		}
		_, err = other.Exchange(t.Context(), code)
		refused(t, err, "invalid_grant")
		_, err = p.refresh(other, token.RefreshToken)
		refused(t, err, "invalid_grant")
		if !p.works(token.AccessToken) {
			t.Error("another app's tries have revoked the tokens")
		}
	})
	t.Run("no refresh without offline_access", func(t *testing.T) {
		c := p.config("USER_ID")
		token, err := c.Exchange(t.Context(), b.consent(c))
		if err != nil || token.RefreshToken != "" {
			t.Errorf("token %+v, %v", token, err)
		}
	})
	t.Run("a revoked grant gives nothing", func(t *testing.T) {
		code := b.consent(c)
		p.host("DELETE", "/users/seller/grants/sample-app", "").ok()
		_, err := c.Exchange(t.Context(), code)
		refused(t, err, "invalid_grant")
	})
}

// otherClient makes a second app with the same redirect URI.
func (p *platform) otherClient(c *oauth2.Config) *oauth2.Config {
	p.t.Helper()
	p.host("POST", "/apps", `{"slug":"other","redirect_uris":["`+c.RedirectURL+`"],"oauth_scopes":["USER_ID","offline_access"]}`).ok()
	var secret struct {
		Text string `json:"client_secret"`
	}
	p.host("POST", "/apps/other/client-secret", "").ok().into(&secret)
	other := *c
	other.ClientID, other.ClientSecret = "other", secret.Text
	return &other
}

// TestOAuthClient: secrets by form or as Basic, and nothing else.
func TestOAuthClient(t *testing.T) {
	t.Parallel()
	p := start(t)
	for name, style := range map[string]oauth2.AuthStyle{"form": oauth2.AuthStyleInParams, "basic": oauth2.AuthStyleInHeader} {
		t.Run(name, func(t *testing.T) {
			c := p.config("USER_ID")
			c.Endpoint.AuthStyle = style
			if _, err := c.Exchange(t.Context(), p.browser(t).consent(c)); err != nil {
				t.Error(err)
			}
			c.ClientSecret += "x"
			_, err := c.Exchange(t.Context(), "okc_anything")
			refused(t, err, "invalid_client")
		})
	}
	form := url.Values{"grant_type": {"authorization_code"}, "code": {"x"}, "client_id": {"sample-app"}, "client_secret": {p.dev.App.ClientSecret}}
	post := func(body, contentType string) answer {
		return p.do("POST", "/oauth2/token", body, "Content-Type: "+contentType)
	}
	const formType = "application/x-www-form-urlencoded"
	for name, c := range map[string]struct {
		body, contentType, want string
		status                  int
	}{
		"unknown code":            {form.Encode(), formType, "invalid_grant", 400},
		"unknown grant type":      {"grant_type=password&client_id=sample-app&client_secret=" + p.dev.App.ClientSecret, formType, "unsupported_grant_type", 400},
		"no grant type":           {"client_id=sample-app&client_secret=" + p.dev.App.ClientSecret, formType, "invalid_request", 400},
		"no client":               {"grant_type=refresh_token", formType, "invalid_client", 401},
		"unknown client":          {"grant_type=refresh_token&client_id=x&client_secret=y", formType, "invalid_client", 401},
		"a parameter twice":       {form.Encode() + "&code=y", formType, "invalid_request", 400},
		"JSON":                    {`{"grant_type":"refresh_token"}`, "application/json", "invalid_request", 400},
		"a body beyond the limit": {form.Encode() + "&x=" + strings.Repeat("x", 1<<17), formType, "invalid_request", 400},
	} {
		t.Run(name, func(t *testing.T) {
			a := post(c.body, c.contentType)
			if a.status != c.status || a.body != `{"error":"`+c.want+`"}` || a.header.Get("Cache-Control") != "no-store" {
				t.Errorf("%d %s", a.status, a.body)
			}
			if got := a.header.Get("WWW-Authenticate"); (got != "") != (c.status == 401) {
				t.Errorf("WWW-Authenticate: %q", got)
			}
		})
	}
}

// TestOAuthRevoke: RFC 7009.
func TestOAuthRevoke(t *testing.T) {
	t.Parallel()
	p := start(t)
	c := p.config("USER_ID", "NOTIFICATION_ACCESS_REVOCATION", "offline_access")
	b := p.browser(t)
	revoke := func(c *oauth2.Config, token string) answer {
		form := url.Values{"token": {token}, "client_id": {c.ClientID}, "client_secret": {c.ClientSecret}}
		return p.do("POST", "/oauth2/revoke", form.Encode(), "Content-Type: application/x-www-form-urlencoded")
	}
	get := func() *oauth2.Token {
		token, err := c.Exchange(t.Context(), b.consent(c))
		if err != nil {
			t.Fatal(err)
		}
		return token
	}
	one, two := get(), get()
	other := p.otherClient(c)
	revoke(other, one.AccessToken).ok()
	revoke(other, one.RefreshToken).ok()
	revoke(c, "okt_unknown").ok()
	if !p.works(one.AccessToken) {
		t.Fatal("another app can revoke a token")
	}
	revoke(c, one.AccessToken).ok()
	if p.works(one.AccessToken) {
		t.Error("a revoked access token works")
	}
	if _, err := p.refresh(c, one.RefreshToken); err != nil {
		t.Errorf("its refresh token: %v", err)
	}
	revoke(c, two.RefreshToken).ok()
	if p.works(two.AccessToken) {
		t.Error("the family of a revoked refresh token lives")
	}
	_, err := p.refresh(c, two.RefreshToken)
	refused(t, err, "invalid_grant")
	p.none() // and no event tells of it
}

// TestOAuthRequests: an unknown client or redirect URI is shown, everything
// else goes back to the app.
func TestOAuthRequests(t *testing.T) {
	t.Parallel()
	p := start(t)
	b := p.browser(t)
	good := url.Values{
		"response_type": {"code"}, "client_id": {"sample-app"}, "redirect_uri": {p.dev.App.RedirectURI}, "scope": {"USER_ID"}, "state": {"s"},
	}
	with := func(name, value string) url.Values {
		q := maps.Clone(good)
		if q.Del(name); value != "" {
			q.Set(name, value)
		}
		return q
	}
	uri := p.dev.App.RedirectURI // http://127.0.0.1:8000/oauth/callback
	shown := map[string]url.Values{
		"unknown client": with("client_id", "nobody"), "no client": with("client_id", ""), "no redirect URI": with("redirect_uri", ""),
		"two redirect URIs": {"client_id": {"sample-app"}, "redirect_uri": {uri, uri}},
	}
	for name, other := range map[string]string{
		"case": strings.ToUpper(uri), "port": strings.Replace(uri, "8000", "8001", 1), "path dots": strings.Replace(uri, "/callback", "/x/../callback", 1),
		"fragment": uri + "#x", "query": uri + "?x=y", "userinfo": strings.Replace(uri, "//", "//me@", 1), "scheme": strings.Replace(uri, "http:", "https:", 1),
		"slash": uri + "/", "prefix": uri[:len(uri)-1], "space": uri + " ", "escape": strings.Replace(uri, "callback", "%63allback", 1), "host": strings.Replace(uri, "127.0.0.1", "localhost", 1),
	} {
		shown["redirect URI: "+name] = with("redirect_uri", other)
	}
	for name, q := range shown {
		t.Run(name, func(t *testing.T) {
			v := b.open(p.base + "/oauth2/auth?" + q.Encode())
			if v.back != nil || v.status != 400 || !strings.Contains(v.page, "<h1>") || !strings.HasPrefix(v.header.Get("Content-Type"), "text/html") {
				t.Errorf("%d, back to %v", v.status, v.back)
			}
		})
	}
	for name, c := range map[string]struct {
		q    url.Values
		want string
	}{
		"no response type":    {with("response_type", ""), "invalid_request"},
		"implicit flow":       {with("response_type", "token"), "unsupported_response_type"},
		"no scope":            {with("scope", ""), "invalid_scope"},
		"unknown scope":       {with("scope", "USER_ID ADMIN"), "invalid_scope"},
		"empty identifier":    {with("scope", "CHAT_POST_CONVERSATIONS_READ."), "invalid_scope"},
		"identifier missing":  {with("scope", "CHAT_POST_CONVERSATIONS_READ"), "invalid_scope"},
		"identifier too much": {with("scope", "USER_ID.x"), "invalid_scope"},
		"10 kB of scope":      {with("scope", "CHAT_POST_CONVERSATIONS_READ."+strings.Repeat("x", 10<<10)), "invalid_scope"},
		"plain PKCE":          {with("code_challenge", strings.Repeat("x", 43)), "invalid_request"},
		"two scopes":          {url.Values{"response_type": {"code"}, "client_id": {"sample-app"}, "redirect_uri": {uri}, "scope": {"USER_ID", "USER_ID"}, "state": {"s"}}, "invalid_request"},
	} {
		t.Run(name, func(t *testing.T) {
			v := b.open(p.base + "/oauth2/auth?" + c.q.Encode())
			if v.back == nil || v.back.Query().Get("error") != c.want || v.back.Query().Get("state") != "s" {
				t.Errorf("%d, back to %v", v.status, v.back)
			}
		})
	}
	for name, state := range map[string]string{"long": strings.Repeat("ش", 2000), "short": "x", "none": ""} {
		t.Run("state: "+name, func(t *testing.T) {
			v := b.press(b.press(b.open(p.base+"/oauth2/auth?"+with("state", state).Encode()), "user", "seller"), "decision", "deny")
			if v.back == nil || v.back.Query().Get("error") != "access_denied" || v.back.Query().Get("state") != state || v.back.Query().Has("state") != (state != "") {
				t.Errorf("back to %v", v.back)
			}
		})
	}
}

// TestOAuthConsent: what the page shows, and to whom.
func TestOAuthConsent(t *testing.T) {
	t.Parallel()
	p := start(t)
	p.host("PATCH", "/apps/sample-app", `{"display":"<b>Sample</b> \u202eapp"}`).ok()
	address := p.config("USER_ID", "CHAT_POST_CONVERSATIONS_READ.gZd7omnS", "CHAT_CONVERSATION_READ."+p.dev.ConversationID).AuthCodeURL("s")

	t.Run("it names the app, the scopes and the post", func(t *testing.T) {
		b := p.browser(t)
		v := b.press(b.open(address), "user", "seller")
		for _, want := range []string{
			`dir="rtl"`, "&lt;b&gt;Sample&lt;/b&gt;", `data-scope="CHAT_POST_CONVERSATIONS_READ.gZd7omnS"`, "دوچرخه شهری",
		} {
			if !strings.Contains(v.page, want) {
				t.Errorf("the page lacks %q:\n%s", want, v.page)
			}
		}
		if strings.Contains(v.page, "<script") || !strings.Contains(v.header.Get("Content-Security-Policy"), "frame-ancestors 'self'") ||
			v.header.Get("X-Frame-Options") != "SAMEORIGIN" || v.header.Get("Referrer-Policy") != "no-referrer" {
			t.Errorf("headers: %v", v.header)
		}
	})
	t.Run("nothing frames a page outside dev mode", func(t *testing.T) {
		h := serve(t).do("GET", "/oauth2/auth?client_id=nobody", "").want(400).header
		if !strings.Contains(h.Get("Content-Security-Policy"), "frame-ancestors 'none'") || h.Get("X-Frame-Options") != "DENY" {
			t.Errorf("headers: %v", h)
		}
	})
	t.Run("a post that is not the user's own is not offered", func(t *testing.T) {
		b := p.browser(t)
		v := b.press(b.open(address), "user", "buyer")
		if strings.Contains(v.page, "CHAT_POST_CONVERSATIONS_READ") || !strings.Contains(v.page, "CHAT_CONVERSATION_READ") {
			t.Errorf("offered to the buyer:\n%s", v.page)
		}
		v = b.press(v, "decision", "accept")
		token, err := p.config().Exchange(t.Context(), v.back.Query().Get("code"))
		if err != nil || token.Extra("scope") != "CHAT_CONVERSATION_READ."+p.dev.ConversationID+" USER_ID" {
			t.Errorf("granted %v, %v", token.Extra("scope"), err)
		}
	})
	t.Run("nothing of one's own is left", func(t *testing.T) {
		b := p.browser(t)
		v := b.press(b.open(p.config("CHAT_POST_CONVERSATIONS_READ.gZd7omnS").AuthCodeURL("s")), "user", "buyer")
		if v.back == nil || v.back.Query().Get("error") != "invalid_scope" {
			t.Errorf("%d, back to %v", v.status, v.back)
		}
	})
	t.Run("a decision counts once", func(t *testing.T) {
		b := p.browser(t)
		v := b.press(b.open(address), "user", "seller")
		if again := b.press(v, "decision", "deny"); again.back == nil {
			t.Fatal("deny does not lead back")
		}
		if again := b.press(v, "decision", "accept"); again.back != nil || again.status != 400 {
			t.Errorf("a second decision: %d, back to %v", again.status, again.back)
		}
	})
	t.Run("another browser cannot take it over", func(t *testing.T) {
		b := p.browser(t)
		login := b.open(address)
		if v := p.browser(t).press(login, "user", "buyer"); v.status != 400 {
			t.Errorf("another browser can log in: %d", v.status)
		}
		consent := b.press(login, "user", "seller")
		if v := p.browser(t).press(consent, "decision", "accept"); v.status != 400 || v.back != nil {
			t.Errorf("another browser can consent: %d", v.status)
		}
	})
	t.Run("it expires", func(t *testing.T) {
		b := p.browser(t)
		v := b.press(b.open(address), "user", "seller")
		p.advance("10m1s")
		if v := b.press(v, "decision", "accept"); v.status != 400 {
			t.Errorf("after ten minutes: %d", v.status)
		}
	})
}

// TestOAuthLogin: the marketplace says who the user is.
func TestOAuthLogin(t *testing.T) {
	t.Parallel()
	p := start(t)
	b := p.browser(t)
	v := b.open(p.config("USER_ID").AuthCodeURL("s"))
	challenge := hidden.FindStringSubmatch(v.page)[2]
	var asks struct {
		App, Display string
		Scopes       []string
	}
	p.host("GET", "/oauth/logins/"+challenge, "").ok().into(&asks)
	if asks.App != "sample-app" || len(asks.Scopes) != 1 {
		t.Errorf("asks: %+v", asks)
	}
	p.host("GET", "/oauth/logins/okl_unknown", "").refused(404, 5, "start again")
	p.host("POST", "/oauth/logins/"+challenge, `{}`).refused(400, 3, "user")
	p.do("POST", "/host/v1/oauth/logins/"+challenge, `{"user":"seller"}`).refused(401, 16)
	var to struct {
		RedirectTo string `json:"redirect_to"`
	}
	p.host("POST", "/oauth/logins/"+challenge, `{"user":"a-new-one"}`).ok().into(&to)
	p.host("POST", "/oauth/logins/"+challenge, `{"user":"seller"}`).refused(404, 5, "used")
	p.host("GET", "/oauth/logins/"+challenge, "").refused(404, 5)
	v = b.press(b.open(to.RedirectTo), "decision", "accept")
	token, err := p.config().Exchange(context.WithoutCancel(t.Context()), v.back.Query().Get("code"))
	if err != nil || !p.works(token.AccessToken) {
		t.Errorf("token: %v", err)
	}
}

// TestOAuthSubscriptions holds the table of contract section 5 with tokens from
// the real flow: each type with what it needs and without, then the end of a
// subscription by refresh and by revocation.
func TestOAuthSubscriptions(t *testing.T) {
	t.Parallel()
	p := start(t)
	b := p.browser(t)
	p.host("PUT", "/posts/another", `{"owner":"seller","state":"PUBLISHED","title":"Another"}`).ok()
	token := func(scopes ...string) *oauth2.Token {
		c := p.config(scopes...)
		token, err := c.Exchange(t.Context(), b.consent(c))
		if err != nil {
			t.Fatal(err)
		}
		return token
	}
	const one, all = `{"event_type":"NEW_MESSAGE_ON_POST","event_resource_id":"gZd7omnS"}`, `{"event_type":"NEW_MESSAGE_ON_POST"}`
	const another = `{"event_type":"NEW_MESSAGE_ON_POST","event_resource_id":"another"}`
	const revocation = `{"event_type":"USER_ACCESS_REVOCATION"}`
	for _, c := range []struct {
		scopes string
		body   string
		want   int
	}{
		{"CHAT_POST_CONVERSATIONS_READ.gZd7omnS", one, 200},
		{"CHAT_POST_CONVERSATIONS_READ.gZd7omnS", another, 403},
		{"CHAT_POST_CONVERSATIONS_READ.gZd7omnS", all, 403},
		{"CHAT_SUPPLIER_ALL_CONVERSATIONS_READ", one, 200},
		{"CHAT_SUPPLIER_ALL_CONVERSATIONS_READ", all, 200},
		{"USER_ID", one, 403},
		{"USER_POSTS_GET", `{"event_type":"POST_UPDATE"}`, 200},
		{"USER_ID", `{"event_type":"POST_UPDATE"}`, 403},
		{"NOTIFICATION_ACCESS_REVOCATION USER_ID", revocation, 200},
		{"NOTIFICATION_ACCESS_REVOCATION", revocation, 403},
		{"USER_ID", revocation, 403},
		{"USER_ID", `{"event_type":"NEW_CHATBOT_MESSAGE"}`, 200},
		{"USER_ID", `{"event_type":"PAYMENT_TRANSACTION"}`, 200},
	} {
		p.subscribe(token(strings.Fields(c.scopes)...).AccessToken, c.body).want(c.want)
	}
	p.host("DELETE", "/users/seller/grants/sample-app", "").ok()
	p.settle()
	p.hook.take()

	c := p.config("USER_POSTS_GET", "offline_access")
	first := token("USER_POSTS_GET", "offline_access")
	change := func(title string) {
		p.host("PUT", "/posts/another", `{"owner":"seller","state":"PUBLISHED","title":"`+title+`"}`).ok()
	}
	p.subscribe(first.AccessToken, `{"event_type":"POST_UPDATE"}`).ok()
	second, err := p.refresh(c, first.RefreshToken)
	if err != nil {
		t.Fatal(err)
	}
	change("within the grace")
	p.one()
	p.advance("2m1s")
	change("after it")
	p.none()
	p.subscribe(second.AccessToken, `{"event_type":"POST_UPDATE"}`).ok()
	change("registered again")
	p.one()
	p.host("DELETE", "/users/seller/grants/sample-app", "").ok()
	change("revoked")
	p.none()
	p.subscribe(second.AccessToken, `{"event_type":"POST_UPDATE"}`).refused(401, 16, "revoked")
}

// TestOAuthChangesBeforeTheDecision: what counts is how things are when the
// user decides, and no more than the page has shown.
func TestOAuthChangesBeforeTheDecision(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		user   string
		change func(p *platform)
		want   string // of the scopes; "" for a page instead
	}{
		"the user is deleted":  {"buyer", func(p *platform) { p.host("DELETE", "/users/buyer", "").ok() }, ""},
		"the app is suspended": {"buyer", func(p *platform) { p.host("PATCH", "/apps/sample-app", `{"status":"SUSPENDED"}`).ok() }, ""},
		"the redirect URI is deregistered": {
			"buyer", func(p *platform) {
				p.host("PATCH", "/apps/sample-app", `{"redirect_uris":["https://a.example/"]}`).ok()
			}, "",
		},
		"a scope is taken from the app": {
			"buyer", func(p *platform) { p.host("PATCH", "/apps/sample-app", `{"oauth_scopes":["USER_ID"]}`).ok() }, "USER_ID",
		},
		"a post becomes the user's own": {
			"buyer", func(p *platform) { p.host("PUT", "/posts/gZd7omnS", `{"owner":"buyer","state":"PUBLISHED"}`).ok() }, "USER_ID USER_PHONE",
		},
		"a post is no longer the user's own": {
			"seller", func(p *platform) { p.host("PUT", "/posts/gZd7omnS", `{"owner":"buyer","state":"PUBLISHED"}`).ok() }, "USER_ID USER_PHONE",
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := start(t)
			b := p.browser(t)
			config := p.config("USER_ID", "USER_PHONE", "CHAT_POST_CONVERSATIONS_READ.gZd7omnS")
			v := b.press(b.open(config.AuthCodeURL("s")), "user", c.user)
			c.change(p)
			v = b.press(v, "decision", "accept")
			if c.want == "" {
				if v.status != 400 || v.back != nil {
					t.Errorf("%d, back to %v", v.status, v.back)
				}
				return
			}
			token, err := config.Exchange(t.Context(), v.back.Query().Get("code"))
			if err != nil || token.Extra("scope") != c.want {
				t.Errorf("granted %v, %v; want %s", token, err, c.want)
			}
		})
	}
}

// TestRedirectURIsOfApps: what may be registered.
func TestRedirectURIsOfApps(t *testing.T) {
	t.Parallel()
	p := serve(t)
	p.host("POST", "/apps", `{"slug":"app"}`).ok()
	set := func(uri string) answer { return p.host("PATCH", "/apps/app", `{"redirect_uris":["`+uri+`"]}`) }
	for _, uri := range []string{
		"https://app.example/cb", "https://app.example:8443/", "http://127.0.0.1:8000/cb", "http://localhost/cb", "http://[::1]:1/cb", "com.example.app:/cb",
	} {
		set(uri).ok()
	}
	for _, uri := range []string{
		"http://app.example/cb", "http://10.0.0.1/cb", "https:/cb", "https://", "https://*.example/", "https://app.example/?x", "https://app.example/#x",
		"https://me@app.example/", "javascript:alert(1)", "vbscript:x", "data:text/html,x", "file:///etc/passwd", "blob:https://a/x", "/cb", "", "https://مثال.example/",
	} {
		set(uri).refused(400, 3, "redirect_uris[0]")
	}
}

// TestExpiredRefreshTokenTellsOfReuse: also an old token that has expired since
// says that two hold it.
func TestExpiredRefreshTokenTellsOfReuse(t *testing.T) {
	t.Parallel()
	p := start(t)
	c := p.config("USER_ID", "offline_access")
	first, err := c.Exchange(t.Context(), p.browser(t).consent(c))
	if err != nil {
		t.Fatal(err)
	}
	p.advance("696h") // 29 days
	second, err := p.refresh(c, first.RefreshToken)
	if err != nil {
		t.Fatal(err)
	}
	p.advance("48h")
	_, err = p.refresh(c, first.RefreshToken)
	refused(t, err, "invalid_grant")
	_, err = p.refresh(c, second.RefreshToken)
	refused(t, err, "invalid_grant")

	p.advance("720h")
	third, err := c.Exchange(t.Context(), p.browser(t).consent(c))
	if err != nil {
		t.Fatal(err)
	}
	p.advance("721h")
	_, err = p.refresh(c, third.RefreshToken)
	refused(t, err, "invalid_grant")
}

// login begins a login and returns its challenge.
func (p *platform) login() string {
	p.t.Helper()
	a := p.do("GET", strings.TrimPrefix(p.config("USER_ID").AuthCodeURL("s"), p.base), "").want(http.StatusSeeOther)
	to, err := url.Parse(a.header.Get("Location"))
	if err != nil {
		p.t.Fatal(err)
	}
	return to.Query().Get("login_challenge")
}

// TestOAuthMetadata: RFC 8414.
func TestOAuthMetadata(t *testing.T) {
	t.Parallel()
	p := start(t)
	var m map[string]any
	p.do("GET", "/.well-known/oauth-authorization-server", "").ok().into(&m)
	if m["issuer"] != p.base || m["token_endpoint"] != p.base+"/oauth2/token" {
		t.Errorf("metadata: %v", m)
	}
}
