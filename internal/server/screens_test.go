package server_test

import (
	"bytes"
	"flag"
	"image"
	"image/color"
	"image/png"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
)

// shownPage is a page of the panel or the simulator in a lively world.
type shownPage struct {
	pattern string // of its route
	name    string // of its pictures
	path    func(p *platform) string
	outside bool // who is not signed in sees it
	member  bool // only who is signed in sees it
	stir    bool // it shows what happens while one looks: something has to
}

func at(path string) func(*platform) string { return func(*platform) string { return path } }

// shownPages are all pages. TestEveryPageIsShown holds them against the routes.
func shownPages() []shownPage {
	one := func(part, state string) func(*platform) string {
		return func(p *platform) string {
			d := p.deliveries("app=price-guide&state=" + state)[0]
			if part == "events" {
				return "/panel/events/" + d.EventID
			}
			return "/panel/deliveries/" + d.ID
		}
	}
	return []shownPage{
		{pattern: "GET /sim/{$}", name: "simulator", path: at("/sim/"), stir: true},
		{pattern: "GET /panel/apps", name: "apps", path: at("/panel/apps")},
		{pattern: "GET /panel/new-app", name: "new-app", path: at("/panel/new-app")},
		{pattern: "GET /panel/apps/{slug}", name: "app", path: at("/panel/apps/price-guide")},
		{pattern: "GET /panel/apps/{slug}/settings", name: "settings", path: at("/panel/apps/sample-app/settings")},
		{pattern: "GET /panel/apps/{slug}/keys", name: "keys", path: at("/panel/apps/sample-app/keys")},
		{pattern: "GET /panel/apps/{slug}/deliveries", name: "app-deliveries", path: at("/panel/apps/sample-app/deliveries")},
		{pattern: "GET /panel/apps/{slug}/live", name: "app-live", path: at("/panel/apps/sample-app/live"), stir: true},
		{pattern: "GET /panel/apps/{slug}/subscriptions", name: "subscriptions", path: at("/panel/apps/sample-app/subscriptions")},
		{pattern: "GET /panel/apps/{slug}/grants", name: "grants", path: at("/panel/apps/sample-app/grants")},
		{pattern: "GET /panel/apps/{slug}/people", name: "app-people", path: at("/panel/apps/sample-app/people")},
		{pattern: "GET /panel/apps/{slug}/audit", name: "app-audit", path: at("/panel/apps/sample-app/audit")},
		{pattern: "GET /panel/deliveries", name: "deliveries", path: at("/panel/deliveries")},
		{pattern: "GET /panel/deliveries/{id}", name: "delivery", path: one("deliveries", "pending")},
		{pattern: "GET /panel/events/{id}", name: "event", path: one("events", "pending")},
		{pattern: "GET /panel/redeliveries", name: "redeliveries", path: at("/panel/redeliveries?app=price-guide")},
		{pattern: "GET /panel/live", name: "live", path: at("/panel/live"), stir: true},
		{pattern: "GET /panel/audit", name: "audit", path: at("/panel/audit")},
		{pattern: "GET /panel/engine", name: "engine", path: at("/panel/engine")},
		{pattern: "GET /panel/people", name: "people", path: at("/panel/people")},
		{pattern: "GET /panel/account", name: "account", path: at("/panel/account"), member: true},
		{pattern: "GET /panel/sign-in", name: "sign-in", path: at("/panel/sign-in"), outside: true},
		{pattern: "GET /panel/invitations/{token}", name: "invitation", path: func(p *platform) string { return p.invitation }, outside: true},
		{pattern: "GET /sim/back", name: "simulator-back", path: at("/sim/back?phone=buyer")},
	}
}

// pageless are the routes of no page: files, parts of pages, streams, ways to pages.
func pageless() []string {
	return []string{"GET /panel/assets/", "GET /panel", "GET /panel/{$}", "GET /panel/live/stream", "GET /sim", "GET /sim/live", "GET /sim/wire/{number}/edit"}
}

// TestEveryPageIsShown reads the routes in the code of the panel, so that a new
// page does not go without the checks and pictures of the others.
func TestEveryPageIsShown(t *testing.T) {
	t.Parallel()
	var known []string
	for _, page := range shownPages() {
		known = append(known, page.pattern)
	}
	known = append(known, pageless()...)
	files, err := filepath.Glob(filepath.Join("..", "panel", "*.go"))
	if err != nil || len(files) == 0 {
		t.Fatalf("%d files, %v", len(files), err)
	}
	var code []byte
	for _, file := range files {
		if strings.HasSuffix(file, "_test.go") {
			continue
		}
		content, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		code = append(code, content...)
	}
	routes := map[string]bool{}
	for _, m := range regexp.MustCompile(`"GET (/[^"]*)?"(?:\+(\w+))?`).FindAllSubmatch(code, -1) {
		route := "GET " + string(m[1])
		if name := string(m[2]); name != "" {
			value := regexp.MustCompile(`\b` + name + ` += "([^"]+)"`).FindSubmatch(code)
			if value == nil {
				t.Fatalf("what is %s, of a route?", name)
			}
			route += string(value[1])
		}
		routes[route] = true
	}
	for route := range routes {
		if !slices.Contains(known, route) {
			t.Errorf("%s is looked at by nobody; add it to shownPages, or to pageless", route)
		}
	}
	for _, route := range known {
		if !routes[route] {
			t.Errorf("%s is no route of the panel any more", route)
		}
	}
}

// shows is where pages are looked at: a lively platform that is open to this
// machine, and one that asks people to sign in.
type shows struct {
	inside, outside *platform
	said            atomic.Int64 // lines of talk so far
}

func newShows(t *testing.T) *shows {
	t.Helper()
	s := &shows{inside: lively(t), outside: asksToSignIn(t)}
	b := openTab(t)
	b.open(s.outside.base + "/panel/apps/sample-app/people")
	b.signIn("ops", operatorPassword)
	b.follow("form[action$='/invitations'] button")
	_, path, _ := strings.Cut(b.text("[data-secret]"), "/panel/")
	s.outside.invitation = "/panel/" + path
	return s
}

// tabs opens the tab of somebody who is not signed in, and of one who is.
func (s *shows) tabs(t *testing.T, lang string) (b, member *tab) {
	t.Helper()
	b, member = openTab(t), openTab(t)
	b.open(s.inside.base + "/panel/?lang=" + lang)
	member.open(s.outside.base + "/panel/sign-in?lang=" + lang)
	member.signIn("ops", operatorPassword)
	return b, member
}

// address is where a page is.
func (s *shows) address(page shownPage) string {
	if page.outside || page.member {
		return s.outside.base + page.path(s.outside)
	}
	return s.inside.base + page.path(s.inside)
}

// stir lets something happen on a page that waits for it.
func (s *shows) stir(b *tab, page shownPage) {
	b.t.Helper()
	if !page.stir {
		return
	}
	b.until("the page follows", `!/Connecting|پیوستن…/.test(document.querySelector("#live-rate")?.innerText)`)
	talk := []struct{ side, text string }{
		{"BUYER", "قفل هم دارد؟"}, {"SELLER", "بله، با دو کلید."}, {"BUYER", "Can I come on Friday?"}, {"SELLER", "Friday at ten is fine."},
	}
	line := talk[int(s.said.Add(1)-1)%len(talk)]
	s.inside.with(b.t).say(line.side, line.text)
	b.until("it shows what happens", `document.querySelectorAll("#live li, #wire-list .x-line[data-outcome=ok]").length > 0`)
	if js[bool](b, `document.querySelector("#wire-list") !== null && innerWidth > 600`) {
		b.clickOn("#wire-list summary", "NEW_MESSAGE")
	}
}

// TestEveryPage opens all pages in both languages, and holds them against what
// makes a page usable.
func TestEveryPage(t *testing.T) {
	t.Parallel()
	s := newShows(t)
	for _, lang := range []string{"fa", "en"} {
		t.Run(lang, func(t *testing.T) {
			t.Parallel()
			b, member := s.tabs(t, lang)
			navigation := js[[]string](b, `[...document.querySelectorAll("nav a")].map(a => a.href)`)
			for _, page := range shownPages() {
				address := s.address(page)
				b := b
				if page.member {
					b = member
				}
				b.open(address)
				s.stir(b, page)
				b.usable()
				navigation = slices.DeleteFunc(navigation, func(to string) bool { return to == address })
			}
			if len(navigation) > 0 {
				t.Errorf("the navigation leads to %q, which are not among the pages", navigation)
			}
		})
	}
}

var pictures = flag.String("pictures", "", "write pictures of all pages into this directory; see make screenshots")

// TestPictures makes the pictures of make screenshots.
func TestPictures(t *testing.T) {
	if *pictures == "" {
		t.Skip("make screenshots runs this")
	}
	dir, err := filepath.Abs(*pictures)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.MkdirAll(dir, 0o750); err != nil {
		t.Fatal(err)
	}
	s := newShows(t)
	for _, lang := range []string{"fa", "en"} {
		guest, member := s.tabs(t, lang)
		for _, page := range shownPages() {
			b := guest
			if page.member {
				b = member
			}
			for _, theme := range []string{"light", "dark"} {
				b.theme(theme)
				for name, width := range map[string]int64{"wide": 1280, "phone": 360} {
					b.screen(width, 800)
					b.open(s.address(page))
					s.stir(b, page)
					b.until("the fonts are there", `document.fonts.status === "loaded"`)
					file := filepath.Join(dir, strings.Join([]string{page.name, lang, theme, name}, "-")+".png")
					if err := os.WriteFile(file, small(t, b.picture(width < 600)), 0o600); err != nil {
						t.Fatal(err)
					}
				}
			}
		}
	}
}

// small brings a picture to the 256 colours that it has most of: a screen has
// few, and the file is a third of what it was.
func small(t *testing.T, picture []byte) []byte {
	t.Helper()
	full, err := png.Decode(bytes.NewReader(picture))
	if err != nil {
		t.Fatal(err)
	}
	bounds := full.Bounds()
	counts := map[color.RGBA]int{}
	for y := bounds.Min.Y; y < bounds.Max.Y; y++ {
		for x := bounds.Min.X; x < bounds.Max.X; x++ {
			counts[color.RGBAModel.Convert(full.At(x, y)).(color.RGBA)]++
		}
	}
	most := slices.SortedFunc(maps.Keys(counts), func(a, b color.RGBA) int { return counts[b] - counts[a] })
	palette := color.Palette{}
	for _, c := range most[:min(len(most), 256)] {
		palette = append(palette, c)
	}
	index := map[color.RGBA]uint8{}
	for c := range counts {
		index[c] = uint8(palette.Index(c)) //nolint:gosec // it has 256 colours
	}
	out := image.NewPaletted(bounds, palette)
	for y := bounds.Min.Y; y < bounds.Max.Y; y++ {
		for x := bounds.Min.X; x < bounds.Max.X; x++ {
			out.SetColorIndex(x, y, index[color.RGBAModel.Convert(full.At(x, y)).(color.RGBA)])
		}
	}
	var file bytes.Buffer
	encoder := png.Encoder{CompressionLevel: png.BestCompression}
	if err := encoder.Encode(&file, out); err != nil {
		t.Fatal(err)
	}
	return file.Bytes()
}

// TestSwitches: language and colours are chosen on the page, and stay.
func TestSwitches(t *testing.T) {
	t.Parallel()
	p := start(t)
	b := openTab(t)
	b.theme("light")
	b.open(p.base + "/panel/apps")
	b.see("h1", "برنامه‌ها")
	b.followOn(".switches a", "English")
	b.see("h1", "Apps")
	dark := func() bool {
		return js[bool](b, `getComputedStyle(document.body).backgroundColor.match(/\d+/g).slice(0, 3).every(c => c < 60)`)
	}
	if dark() {
		t.Error("the page is dark for who prefers light")
	}
	b.followOn(".switches a", "Dark")
	b.see(".switches [aria-current]", "Dark")
	b.open(p.base + "/panel/apps")
	b.see("h1", "Apps")
	if !dark() {
		t.Error("the choice of dark is forgotten")
	}
	b.usable()
	b.theme("dark")
	b.followOn(".switches a", "Light")
	b.see(".switches [aria-current]", "Light")
	if dark() {
		t.Error("the page is dark for who chose light")
	}
	b.followOn(".switches a", "Auto")
	b.see(".switches [aria-current]", "Auto")
	b.theme("dark")
	if !dark() {
		t.Error("the page is light for who prefers dark")
	}
	b.followOn(".switches a", "فارسی")
	b.see("h1", "برنامه‌ها")
}
