package server_test

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/cdproto/input"
	"github.com/chromedp/cdproto/log"
	"github.com/chromedp/cdproto/network"
	"github.com/chromedp/cdproto/page"
	"github.com/chromedp/cdproto/runtime"
	"github.com/chromedp/chromedp"
)

// errNoChromium says that there is no browser on this machine.
var errNoChromium = errors.New("no Chromium on this machine: no chromium, chromium-browser, google-chrome or chrome in PATH")

// stopChromium ends the browser; it is set once there is one.
var stopChromium = func() {}

func TestMain(m *testing.M) {
	code := m.Run()
	stopChromium()
	os.Exit(code)
}

// chromium starts the one browser of the test binary, without a network: names
// are not resolved, and it asks for nothing by itself.
var chromium = sync.OnceValues(func() (context.Context, error) {
	var path string
	for _, name := range []string{"chromium", "chromium-browser", "google-chrome", "chrome"} {
		if found, err := exec.LookPath(name); err == nil {
			path = found
			break
		}
	}
	if path == "" {
		return nil, errNoChromium
	}
	options := append(slices.Clone(chromedp.DefaultExecAllocatorOptions[:]),
		chromedp.ExecPath(path), chromedp.DisableGPU, chromedp.WindowSize(1280, 800),
		chromedp.Flag("host-resolver-rules", "MAP * ~NOTFOUND, EXCLUDE 127.0.0.1, EXCLUDE localhost"),
		chromedp.Flag("disable-component-update", true),
		chromedp.Flag("disable-component-extensions-with-background-pages", true),
		chromedp.Flag("disable-crash-reporter", true),
		chromedp.Flag("disable-quic", true),
		chromedp.Flag("font-render-hinting", "none"),
		chromedp.Flag("mute-audio", true),
		chromedp.Flag("no-pings", true),
	)
	allocator, freeAllocator := chromedp.NewExecAllocator(context.Background(), options...)
	browser, freeBrowser := chromedp.NewContext(allocator)
	stopChromium = func() { freeBrowser(); freeAllocator() }
	if err := chromedp.Do(browser); err != nil {
		return nil, fmt.Errorf("start %s: %w", path, err)
	}
	return browser, nil
})

// patience is how long a tab waits for what a page will show. Only a test that
// fails waits so long.
const patience = 30 * time.Second

// tab is a tab with cookies of its own. When the test ends it fails for each
// error of a script, each message on the console's error level (violations of
// the content security policy, and answers of 400 and above, among them) and
// each request to anywhere but this machine, unless tolerate names it.
type tab struct {
	t   *testing.T
	ctx context.Context

	mu        sync.Mutex
	faults    []string
	tolerated []string
	questions []string
	answering sync.WaitGroup
}

// openTab opens a tab of 1280 by 800 pixels. Where there is no Chromium the
// test is skipped; in CI it fails.
func openTab(t *testing.T) *tab {
	t.Helper()
	browser, err := chromium()
	if errors.Is(err, errNoChromium) && os.Getenv("CI") != "true" {
		t.Skip(err)
	}
	if err != nil {
		t.Fatal(err)
	}
	ctx, _ := chromedp.NewContext(browser, chromedp.WithNewBrowserContext())
	b := &tab{t: t, ctx: ctx}
	t.Cleanup(b.close)
	b.must("open a tab", chromedp.Listen(ctx, b.observe))
	b.call("watch requests, and have the focus beside other tabs", chromedp.Func(func(ctx context.Context, target *chromedp.Target) error {
		_, err := cdp.Call(ctx, target, network.Enable, network.EnableParams{})
		if err == nil {
			_, err = cdp.Call(ctx, target, emulation.SetFocusEmulationEnabled, emulation.SetFocusEmulationEnabledParams{Enabled: true})
		}
		return err
	}))
	b.screen(1280, 800)
	return b
}

func (b *tab) close() {
	if b.t.Failed() {
		b.keepEvidence()
	}
	b.answering.Wait()
	if err := chromedp.Cancel(b.ctx); err != nil {
		b.t.Errorf("close the tab: %v", err)
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, fault := range b.faults {
		if !slices.ContainsFunc(b.tolerated, func(part string) bool { return strings.Contains(fault, part) }) {
			b.t.Errorf("in the browser: %s", fault)
		}
	}
}

// take returns what the browser has reported since the last call.
func (b *tab) take() []string {
	b.mu.Lock()
	defer b.mu.Unlock()
	faults := b.faults
	b.faults = nil
	return faults
}

// tolerate lets what the browser reports pass when it contains part.
func (b *tab) tolerate(part string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.tolerated = append(b.tolerated, part)
}

// observe takes an event of the tab; it must not wait for anything.
func (b *tab) observe(event any) {
	var fault string
	switch e := event.(type) {
	case *runtime.EventExceptionThrown:
		fault = "script: " + e.ExceptionDetails.Text
		if thrown := e.ExceptionDetails.Exception; thrown != nil {
			fault += " " + thrown.Description
		}
	case *runtime.EventConsoleAPICalled:
		if e.Type != runtime.ConsoleAPICalledTypeError && e.Type != runtime.ConsoleAPICalledTypeAssert {
			return
		}
		fault = "console:"
		for _, arg := range e.Args {
			fault += " " + cmp.Or(arg.Description, string(arg.Value))
		}
	case *log.EventEntryAdded:
		if e.Entry.Level != log.EntryLevelError {
			return
		}
		fault = fmt.Sprintf("%s: %s %s", e.Entry.Source, e.Entry.Text, e.Entry.URL)
	case *network.EventRequestWillBeSent:
		if !stranger(e.Request.URL) {
			return
		}
		fault = "a request left this machine: " + e.Request.URL
	case *page.EventJavascriptDialogOpening:
		b.answering.Go(func() { b.answer(e.Message) }) // whoever observes must not wait
		return
	default:
		return
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.faults = append(b.faults, fault)
}

// answer says yes to a question of the page.
func (b *tab) answer(question string) {
	ctx, cancel := context.WithTimeout(b.ctx, patience)
	defer cancel()
	_, err := chromedp.Run(ctx, func(ctx context.Context, target *chromedp.Target) (cdp.Empty, error) {
		return cdp.Call(ctx, target, page.HandleJavaScriptDialog, page.HandleJavaScriptDialogParams{Accept: true})
	})
	b.mu.Lock()
	defer b.mu.Unlock()
	b.questions = append(b.questions, question)
	if err != nil {
		b.faults = append(b.faults, fmt.Sprintf("answer %q: %v", question, err))
	}
}

// asked returns the questions that pages have asked since the last call, all
// answered with yes.
func (b *tab) asked() []string {
	b.mu.Lock()
	defer b.mu.Unlock()
	questions := b.questions
	b.questions = nil
	return questions
}

// stranger reports whether an address is not of this machine.
func stranger(address string) bool {
	u, err := url.Parse(address)
	if err != nil {
		return true
	}
	switch u.Scheme {
	case "data", "blob", "about":
		return false
	}
	ip := net.ParseIP(u.Hostname())
	return u.Hostname() != "localhost" && (ip == nil || !ip.IsLoopback())
}

// keepEvidence keeps what the tab shows, for who runs the test with -artifacts,
// and the beginning of its text for all.
func (b *tab) keepEvidence() {
	ctx, cancel := context.WithTimeout(b.ctx, 5*time.Second)
	defer cancel()
	if text, err := chromedp.Run(ctx, chromedp.Evaluate[string](`location.href + "\n" + document.body?.innerText.slice(0, 2000)`)); err == nil {
		b.t.Logf("the tab shows %s", text)
	}
	if html, err := chromedp.Run(ctx, chromedp.Evaluate[string](`document.documentElement.outerHTML`)); err == nil {
		_ = os.WriteFile(filepath.Join(b.t.ArtifactDir(), "page.html"), []byte(html), 0o600)
	}
	if picture, err := chromedp.Run(ctx, chromedp.CaptureScreenshot()); err == nil {
		_ = os.WriteFile(filepath.Join(b.t.ArtifactDir(), "page.png"), picture, 0o600)
	}
}

func (b *tab) must(what string, err error) {
	b.t.Helper()
	if err != nil {
		b.t.Fatalf("%s: %v", what, err)
	}
}

func (b *tab) call(what string, step chromedp.Action[chromedp.Void]) {
	b.t.Helper()
	ctx, cancel := context.WithTimeout(b.ctx, patience)
	defer cancel()
	b.must(what, chromedp.Do(ctx, step))
}

// screen sets the size; below 600 pixels the tab is a phone's.
func (b *tab) screen(width, height int64) {
	b.t.Helper()
	var options []chromedp.EmulateViewportOption
	if width < 600 {
		options = append(options, chromedp.EmulateMobile)
	}
	b.call("set the size", chromedp.EmulateViewport(width, height, options...))
}

// theme sets what the person prefers: "light" or "dark".
func (b *tab) theme(name string) {
	b.t.Helper()
	b.call("set the theme", chromedp.Func(func(ctx context.Context, target *chromedp.Target) error {
		_, err := cdp.Call(ctx, target, emulation.SetEmulatedMedia, emulation.SetEmulatedMediaParams{
			Features: []*emulation.MediaFeature{
				{Name: "prefers-color-scheme", Value: name},
				{Name: "prefers-reduced-motion", Value: "reduce"},
			},
		})
		return err
	}))
}

// speak sets the language that the browser asks for.
func (b *tab) speak(language string) {
	b.t.Helper()
	agent := js[string](b, "navigator.userAgent")
	b.call("set the language", chromedp.Func(func(ctx context.Context, target *chromedp.Target) error {
		_, err := cdp.Call(ctx, target, emulation.SetUserAgentOverride, emulation.SetUserAgentOverrideParams{UserAgent: agent, AcceptLanguage: language})
		return err
	}))
}

// open goes to an address and waits for the page.
func (b *tab) open(address string) {
	b.t.Helper()
	b.call("open "+address, chromedp.Navigate(address))
}

// status goes to an address that is refused, and wants the status of that.
func (b *tab) status(address string, want int64) {
	b.t.Helper()
	b.tolerate(fmt.Sprintf("status of %d", want))
	ctx, cancel := context.WithTimeout(b.ctx, patience)
	defer cancel()
	response, err := chromedp.Run(ctx, chromedp.NavigateResponse(address))
	b.must("open "+address, err)
	if response.Status != want {
		b.t.Errorf("%s: status %d, want %d", address, response.Status, want)
	}
}

// js evaluates an expression in a page as it is now.
func js[T any](b *tab, expression string) T {
	b.t.Helper()
	ctx, cancel := context.WithTimeout(b.ctx, patience)
	defer cancel()
	value, err := chromedp.Run(ctx, chromedp.Evaluate[T](expression, chromedp.EvalAwaitPromise))
	b.must("evaluate "+expression, err)
	return value
}

// until waits until an expression holds; while a page goes and another comes
// there is nothing to ask.
func (b *tab) until(what, expression string) {
	b.t.Helper()
	var last error
	deadline := time.Now().Add(patience)
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for time.Now().Before(deadline) {
		ctx, cancel := context.WithDeadline(b.ctx, deadline)
		holds, err := chromedp.Run(ctx, chromedp.Evaluate[bool]("Boolean("+expression+")"))
		cancel()
		if holds {
			return
		}
		last = err
		<-tick.C
	}
	b.t.Fatalf("not within %s: %s (%v)", patience, what, last)
}

// quote makes a JavaScript string.
func quote(s string) string {
	b, _ := json.Marshal(s)
	return string(b)
}

// shown is an expression: the visible elements of a selector that contain a
// text, which may be empty. "FRAME >> SELECTOR" looks in a frame of ours.
func shown(selector, text string) string {
	document := "document"
	if frame, inside, ok := strings.Cut(selector, " >> "); ok {
		document, selector = fmt.Sprintf("(document.querySelector(%s)?.contentDocument ?? new Document())", quote(frame)), inside
	}
	return fmt.Sprintf(`[...%s.querySelectorAll(%s)].filter(e =>
		e.checkVisibility({visibilityProperty: true, opacityProperty: true}) && (e.innerText ?? e.textContent).includes(%s))`,
		document, quote(selector), quote(text))
}

// see waits for a visible element that contains a text, which may be empty.
func (b *tab) see(selector, text string) {
	b.t.Helper()
	b.until(fmt.Sprintf("%s shows %q", selector, text), shown(selector, text)+".length > 0")
}

// gone waits until no visible element of a selector contains a text.
func (b *tab) gone(selector, text string) {
	b.t.Helper()
	b.until(fmt.Sprintf("%s does not show %q", selector, text), shown(selector, text)+".length === 0")
}

// text waits for an element and returns its text.
func (b *tab) text(selector string) string {
	b.t.Helper()
	b.see(selector, "")
	return js[string](b, "document.querySelector("+quote(selector)+").innerText")
}

// click clicks the first visible element of a selector with the mouse, once
// nothing lies over it and it has stopped moving.
func (b *tab) click(selector string) { b.t.Helper(); b.clickOn(selector, "") }

// clickOn clicks the first element of a selector that contains a text.
func (b *tab) clickOn(selector, text string) {
	b.t.Helper()
	what := fmt.Sprintf("%s with %q can be clicked", selector, text)
	b.until(what, fmt.Sprintf(`(() => {
		const e = %s[0];
		if (!e || e.disabled) return false;
		const frame = e.ownerDocument.defaultView.frameElement;
		frame?.scrollIntoView({block: "center", behavior: "instant"});
		e.scrollIntoView({block: "center", inline: "nearest", behavior: "instant"});
		const r = e.getClientRects()[0], f = frame?.getBoundingClientRect() ?? {x: 0, y: 0};
		const [x, y] = [r.x + r.width / 2, r.y + r.height / 2];
		const hit = e.ownerDocument.elementFromPoint(x, y);
		const at = [f.x + x, f.y + y].join();
		const still = window.clickAt === at;
		window.clickAt = at;
		return still && hit && (e.contains(hit) || hit.closest("label")?.control === e);
	})()`, shown(selector, text)))
	x, y, _ := strings.Cut(js[string](b, "window.clickAt"), ",")
	left, errX := strconv.ParseFloat(x, 64)
	top, errY := strconv.ParseFloat(y, 64)
	b.must("where to click", errors.Join(errX, errY))
	b.call("click "+selector, chromedp.MouseClickXY(left, top))
}

// follow clicks what leads to another page, and waits for that.
func (b *tab) follow(selector string) { b.t.Helper(); b.followOn(selector, "") }

// followOn is follow for the first element that contains a text.
func (b *tab) followOn(selector, text string) {
	b.t.Helper()
	b.see(selector, text)
	js[bool](b, "window.leaving = true")
	b.clickOn(selector, text)
	b.until(selector+" leads to another page", `!window.leaving && document.readyState === "complete"`)
}

// fill types a text into a field in place of what it holds.
func (b *tab) fill(selector, text string) {
	b.t.Helper()
	b.see(selector, "")
	b.until(selector+" takes the focus", fmt.Sprintf(
		`(() => { const e = document.querySelector(%s); e.focus(); e.select(); return document.activeElement === e; })()`, quote(selector)))
	b.call("fill "+selector, chromedp.Func(func(ctx context.Context, target *chromedp.Target) error {
		_, err := cdp.Call(ctx, target, input.InsertText, input.InsertTextParams{Text: text})
		return err
	}))
}

// tick ticks a box that is not ticked yet.
func (b *tab) tick(selector string) {
	b.t.Helper()
	b.see(selector, "")
	if !js[bool](b, "document.querySelector("+quote(selector)+").checked") {
		b.click(selector)
	}
}

// choose sets a select element to one of its values.
func (b *tab) choose(selector, value string) {
	b.t.Helper()
	b.until(selector+" offers "+value, fmt.Sprintf(`(() => {
		const e = document.querySelector(%s);
		if (!e || ![...e.options].some(o => o.value === %s)) return false;
		e.value = %[2]s;
		e.dispatchEvent(new Event("input", {bubbles: true}));
		e.dispatchEvent(new Event("change", {bubbles: true}));
		return true;
	})()`, quote(selector), quote(value)))
}

// press presses a key of package kb.
func (b *tab) press(key string) {
	b.t.Helper()
	b.call("press a key", chromedp.KeyEvent(key))
}

// picture is a PNG of the screen or, when it is long, of the whole page.
func (b *tab) picture(whole bool) []byte {
	b.t.Helper()
	ctx, cancel := context.WithTimeout(b.ctx, patience)
	defer cancel()
	in := page.CaptureScreenshotParams{Format: page.CaptureScreenshotFormatPng}
	if whole {
		in.CaptureBeyondViewport = &whole
		size := js[[]float64](b, `[document.documentElement.clientWidth, Math.max(innerHeight, document.documentElement.scrollHeight)]`)
		in.Clip = &page.Viewport{Width: size[0], Height: size[1], Scale: 1}
	}
	out, err := chromedp.Run(ctx, func(ctx context.Context, target *chromedp.Target) (page.CaptureScreenshotResult, error) {
		return cdp.Call(ctx, target, page.CaptureScreenshot, in)
	})
	b.must("take a picture", err)
	return out.Data
}
