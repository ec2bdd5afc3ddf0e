package platform

import (
	"html"
	"io"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"regexp"
	"strings"
	"testing"
)

// Browser is a person at a browser: it keeps cookies, follows redirects, and
// presses buttons.
type Browser struct {
	t      testing.TB
	client *http.Client

	// Follow says whether to go where a page redirects; nil: always.
	Follow func(to string) bool

	URL    *url.URL // of the page that it shows
	Status int
	Header http.Header
	Page   string
}

// NewBrowser returns a browser without cookies.
func NewBrowser(t testing.TB) *Browser {
	t.Helper()
	jar, err := cookiejar.New(nil)
	if err != nil {
		t.Fatal(err)
	}
	b := &Browser{t: t, client: &http.Client{Jar: jar, Timeout: patience}}
	b.client.CheckRedirect = func(r *http.Request, _ []*http.Request) error {
		if b.Follow != nil && !b.Follow(r.URL.String()) {
			return http.ErrUseLastResponse
		}
		return nil
	}
	return b
}

// Cookie is the value of one of the browser's cookies for an address.
func (b *Browser) Cookie(address, name string) string {
	b.t.Helper()
	u, err := url.Parse(address)
	if err != nil {
		b.t.Fatal(err)
	}
	for _, c := range b.client.Jar.Cookies(u) {
		if c.Name == name {
			return c.Value
		}
	}
	b.t.Fatalf("there is no cookie %s", name)
	return ""
}

// Open goes to an address.
func (b *Browser) Open(address string) *Browser {
	b.t.Helper()
	return b.do(http.MethodGet, address, nil)
}

var (
	forms  = regexp.MustCompile(`(?s)<form .*?</form>`)
	action = regexp.MustCompile(`^<form [^>]*action="([^"]+)"`)
	hidden = regexp.MustCompile(`<input type="hidden" name="([^"]+)" value="([^"]+)"`)
)

// Press presses a button: button is part of it, as its text or its value. Fields
// are filled in before, in pairs of name and value.
func (b *Browser) Press(button string, fields ...string) *Browser {
	b.t.Helper()
	for _, form := range forms.FindAllString(b.Page, -1) {
		for _, tag := range strings.Split(form, "<button")[1:] {
			if !strings.Contains(tag, button) {
				continue
			}
			in := url.Values{}
			for _, field := range hidden.FindAllStringSubmatch(form, -1) {
				in.Set(field[1], html.UnescapeString(field[2]))
			}
			for i := 0; i < len(fields); i += 2 {
				in.Set(fields[i], fields[i+1])
			}
			if value := regexp.MustCompile(`^ name="([^"]+)" value="([^"]+)"`).FindStringSubmatch(tag); value != nil {
				in.Set(value[1], html.UnescapeString(value[2]))
			}
			to := b.URL
			if m := action.FindStringSubmatch(form); m != nil {
				var err error
				if to, err = b.URL.Parse(html.UnescapeString(m[1])); err != nil {
					b.t.Fatal(err)
				}
			}
			return b.do(http.MethodPost, to.String(), in)
		}
	}
	b.t.Fatalf("there is no button %q on %s:\n%s", button, b.URL, b.Page)
	return b
}

// Consent is a user at the platform's pages, who says who they are and accepts or
// denies.
func (b *Browser) Consent(user, decision string) *Browser {
	b.t.Helper()
	return b.Press(`value="` + user + `"`).Press(`value="` + decision + `"`)
}

// Sees fails the test unless the page has a status and all of these texts.
func (b *Browser) Sees(status int, texts ...string) *Browser {
	b.t.Helper()
	page := html.UnescapeString(b.Page)
	for _, text := range texts {
		if !strings.Contains(page, text) {
			b.t.Errorf("%s lacks %q:\n%s", b.URL, text, b.Page)
		}
	}
	if b.Status != status {
		b.t.Errorf("%s: %d, want %d:\n%s", b.URL, b.Status, status, b.Page)
	}
	return b
}

// Lacks fails the test if the page has the text.
func (b *Browser) Lacks(text string) *Browser {
	b.t.Helper()
	if strings.Contains(html.UnescapeString(b.Page), text) {
		b.t.Errorf("%s shows %q:\n%s", b.URL, text, b.Page)
	}
	return b
}

func (b *Browser) do(method, address string, form url.Values) *Browser {
	b.t.Helper()
	req, err := http.NewRequestWithContext(b.t.Context(), method, address, strings.NewReader(form.Encode()))
	if err != nil {
		b.t.Fatal(err)
	}
	if form != nil {
		req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		req.Header.Set("Origin", req.URL.Scheme+"://"+req.URL.Host)
	}
	resp, err := b.client.Do(req)
	if err != nil {
		b.t.Fatal(err)
	}
	defer resp.Body.Close()
	content, err := io.ReadAll(resp.Body)
	if err != nil {
		b.t.Fatal(err)
	}
	b.URL, b.Status, b.Header, b.Page = resp.Request.URL, resp.StatusCode, resp.Header, string(content)
	return b
}
