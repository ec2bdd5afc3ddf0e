package server_test

import (
	"cmp"
	"context"
	_ "embed"
	"fmt"
	"io"
	"mime"
	"net/http"
	"net/http/httptest"
	"path"
	"slices"
	"strings"
	"testing"

	"github.com/chromedp/cdproto/accessibility"
	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/kb"
)

//go:embed testdata/accessibility.js
var accessibilityScript string

// usable fails the test for everything about the page in the tab that shuts
// somebody out: who does not see well, uses no mouse, or holds a phone.
func (b *tab) usable() {
	b.t.Helper()
	where := js[string](b, "location.pathname + location.search")
	for _, wrong := range slices.Concat(b.accessible(), b.byKeyboard(), b.narrow()) {
		b.t.Errorf("%s: %s", where, wrong)
	}
}

// accessible returns what is wrong with the page in the tab for people who do
// not see it as we do: its structure, and its contrast in light and in dark.
func (b *tab) accessible() (wrong []string) {
	b.t.Helper()
	js[*struct{}](b, accessibilityScript+"; null")
	wrong = append(wrong, js[[]string](b, "accessibility.structure()")...)
	wrong = append(wrong, b.nameless()...)
	for _, theme := range []string{"light", "dark"} {
		b.theme(theme)
		for _, w := range js[[]string](b, "accessibility.contrast()") {
			wrong = append(wrong, theme+": "+w)
		}
	}
	b.theme("light")
	return wrong
}

// byKeyboard goes through the page with the Tab key and returns what it does
// not reach, and what does not show that it has the focus.
func (b *tab) byKeyboard() []string {
	b.t.Helper()
	js[*struct{}](b, accessibilityScript+"; null")
	for range js[int](b, "accessibility.walk()") + 3 {
		b.press(kb.Tab)
	}
	return js[[]string](b, "accessibility.walked()")
}

// narrow returns what makes the page wider than a phone of 360 pixels.
func (b *tab) narrow() []string {
	b.t.Helper()
	b.screen(360, 740)
	defer b.screen(1280, 800)
	js[*struct{}](b, accessibilityScript+"; null")
	return js[[]string](b, "accessibility.width()")
}

// nameless returns what has no name in the tree that the browser shows to
// screen readers.
func (b *tab) nameless() (wrong []string) {
	b.t.Helper()
	tree, err := chromedp.Run(b.ctx, func(ctx context.Context, target *chromedp.Target) (accessibility.GetFullAXTreeResult, error) {
		return cdp.Call(ctx, target, accessibility.GetFullAXTree, accessibility.GetFullAXTreeParams{})
	})
	b.must("read the accessibility tree", err)
	roles := []string{
		"button", "link", "textbox", "searchbox", "combobox", "listbox", "checkbox", "radio", "spinbutton", "slider",
		"switch", "menuitem", "tab", "image", "dialog", "table", "navigation", "region",
	}
	value := func(v *accessibility.Value) string {
		if v == nil {
			return ""
		}
		return strings.Trim(string(v.Value), `" `)
	}
	navigations := 0
	for _, node := range tree.Nodes {
		role := value(node.Role)
		if role == "navigation" {
			navigations++
		}
		if node.Ignored || !slices.Contains(roles, role) || value(node.Name) != "" {
			continue
		}
		if (role == "navigation" && navigations == 1) || role == "table" {
			continue // the only one of its kind needs none
		}
		wrong = append(wrong, fmt.Sprintf("a %s has no name (%s)", role, value(node.Value)))
	}
	return wrong
}

// TestBrowserNotices holds the tools of these tests against pages that are
// wrong in one way each.
func TestBrowserNotices(t *testing.T) {
	t.Parallel()
	const right = `<!doctype html><html lang="en" dir="ltr"><meta name=viewport content="width=device-width"><title>Page</title><main><h1>Head</h1>%s</main>`
	for name, c := range map[string]struct {
		page string
		want string // of a fault; "" for none
	}{
		"nothing":             {fmt.Sprintf(right, `<label>A <input></label> <button>B</button> <a href="/">C</a> <p>Text`), ""},
		"a script that fails": {fmt.Sprintf(right, `<script src="/fail.js"></script>`), "script: Uncaught Error: broken"},
		"a refused script":    {fmt.Sprintf(right, `<script>1</script>`), "Content Security Policy"},
		"a refused style":     {fmt.Sprintf(right, `<p style="color: red">Text`), "Content Security Policy"},
		"another host":        {fmt.Sprintf(right, `<a href="/away">away</a><img alt="" src="http://images.test/x.png">`), "http://images.test/x.png"},
		"what is not there":   {fmt.Sprintf(right, `<link rel=stylesheet href="/nothing.css">`), "/nothing.css"},
		"no language":         {`<!doctype html><html><title>Page</title><main><h1>Head</h1></main>`, "want fa and rtl, or en and ltr"},
		"two heads":           {fmt.Sprintf(right, `<h1>Head</h1>`), "want one"},
		"a heading left out":  {fmt.Sprintf(right, `<h3>Third</h3>`), "follows a heading of level 1"},
		"no label":            {fmt.Sprintf(right, `<input name="x" placeholder="x">`), "name=x has no label"},
		"no name":             {fmt.Sprintf(right, `<button></button>`), "a button has no name"},
		"grey on white":       {fmt.Sprintf(right, `<p class="grey">Text`), "contrast 2.85"},
		"grey in the dark":    {fmt.Sprintf(right, `<p class="night">Text`), "dark: text <p.night> “Text”: contrast 1.00"},
		"too wide":            {fmt.Sprintf(right, `<p class="wide">Text`), "px wide on a screen of 360: <p.wide>"},
		"no focus":            {fmt.Sprintf(right, `<button class="plain">B</button>`), "does not show that it has the focus"},
		"not reached":         {fmt.Sprintf(right, `<button id="one">A</button><button id="two">B</button><script src="/trap.js"></script>`), "<button#two> “B” is not reached"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			files := map[string]string{
				"/":            strings.Replace(c.page, "<main>", `<link rel=stylesheet href="/style.css"><main>`, 1),
				"/favicon.ico": "",
				"/fail.js":     `throw new Error("broken")`,
				"/trap.js":     `one.onkeydown = e => e.preventDefault()`,
				"/style.css":   `.grey { color: #999 } .wide { width: 500px } .plain:focus { outline: none } @media (prefers-color-scheme: dark) { .night { color: #fff } }`,
			}
			srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				content, ok := files[r.URL.Path]
				if !ok {
					http.NotFound(w, r)
					return
				}
				w.Header().Set("Content-Security-Policy", "default-src 'self'; img-src *")
				w.Header().Set("Content-Type", mime.TypeByExtension(cmp.Or(path.Ext(r.URL.Path), ".html")))
				_, _ = io.WriteString(w, content)
			}))
			defer srv.Close()
			b := openTab(t)
			b.open(srv.URL)
			found := slices.Concat(b.accessible(), b.byKeyboard(), b.narrow(), b.take())
			if c.want == "" && len(found) > 0 {
				t.Errorf("found %q on a page that is right", found)
			}
			if c.want != "" && !slices.ContainsFunc(found, func(f string) bool { return strings.Contains(f, c.want) }) {
				t.Errorf("found %q, want %q", found, c.want)
			}
		})
	}
}
