package conform_test

import (
	"errors"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/openkenar/openkenar/internal/conform"
)

// TestExemplary: an app that does everything right passes every check.
func TestExemplary(t *testing.T) {
	t.Parallel()
	p := start(t, "")
	report := check(t, p, func(o *conform.Options) {
		o.EventURL, o.SessionURL, o.ActionURL = p.url+"/event", p.url+"/session", p.url+"/action"
	})
	for _, r := range report.Results {
		if r.Outcome != conform.Passed {
			t.Errorf("%s: %s %s %+v", r.ID, r.Outcome, r.Note, r.Finding)
		}
	}
	if got, want := len(report.Results), len(conform.Checks()); got != want || len(report.Findings) > 0 {
		t.Errorf("%d results of %d checks, %d findings", got, want, len(report.Findings))
	}
}

// TestNaive: an app that checks neither keys nor repeats, does not look who
// wrote, and forgets about failures, gets exactly what it deserves.
func TestNaive(t *testing.T) {
	t.Parallel()
	p := start(t, "is naive")
	report := check(t, p, func(o *conform.Options) { o.EventURL, o.SigningSecret, o.Bounds.Slow = p.url+"/event", "", time.Second })
	want := []string{"key/missing", "key/wrong", "repeat/acted-twice", "repeat/lost", "repeat/own-message", "repeat/at-once", "slow/never-ends"}
	if got := ids(report); !slices.Equal(got, want) {
		t.Errorf("findings %q, want %q", got, want)
	}
	for _, f := range report.Findings {
		if f.What == "" || f.Why == "" || f.Mend == "" || f.Target != conform.Event || f.Severity != conform.Error && f.Severity != conform.Warning {
			t.Errorf("a finding does not say all: %+v", f)
		}
	}
}

// TestActsAfterwards: an app that answers first and acts then, until it has, is
// as good.
func TestActsAfterwards(t *testing.T) {
	t.Parallel()
	p := start(t, "acts afterwards")
	report := check(t, p, func(o *conform.Options) {
		o.EventURL, o.Only, o.Bounds.Settle = p.url+"/event", []string{"repeat/lost"}, 3*time.Second
	})
	if len(report.Findings) > 0 || report.Count(conform.NotSeen) > 0 {
		t.Errorf("%+v", report.Results)
	}
}

// TestNotSeen: what an app does that calls another platform is not seen, and
// not passed either.
func TestNotSeen(t *testing.T) {
	t.Parallel()
	silent := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
	defer silent.Close()
	unseen := []string{"repeat/acted-twice", "repeat/lost", "repeat/own-message", "repeat/at-once", "callback/inside"}
	for _, p := range []place{{url: silent.URL}, {url: silent.URL, platform: start(t, "").platform}} {
		report := check(t, p, func(o *conform.Options) { o.EventURL, o.Only = p.url, []string{"repeat", "callback"} })
		for _, r := range report.Results {
			if want := slices.Contains(unseen, r.ID); want != (r.Outcome == conform.NotSeen) || want && r.Note == "" {
				t.Errorf("%s: %s %q", r.ID, r.Outcome, r.Note)
			}
		}
		if len(report.Results) != len(unseen)+1 {
			t.Errorf("%d results", len(report.Results))
		}
	}
}

// TestCannotRun: what cannot be checked is an error, and says what to do.
func TestCannotRun(t *testing.T) {
	t.Parallel()
	gone := httptest.NewServer(http.NotFoundHandler())
	gone.Close()
	for want, change := range map[string]func(*conform.Options){
		"no URL to check":              func(*conform.Options) {},
		"cannot be called":             func(o *conform.Options) { o.EventURL = "ftp://127.0.0.1/" },
		"is the app running":           func(o *conform.Options) { o.EventURL = gone.URL },
		"no identification key":        func(o *conform.Options) { o.EventURL, o.IdentificationKey = gone.URL, "" },
		"not printable ASCII":          func(o *conform.Options) { o.EventURL, o.IdentificationKey = gone.URL, "key\r\nX: y" },
		"signing secret":               func(o *conform.Options) { o.EventURL, o.SigningSecret = gone.URL, "whsec_?" },
		"data is not a JSON object":    func(o *conform.Options) { o.ActionURL, o.ActionData = gone.URL, []byte("[]") },
		"metadata is not":              func(o *conform.Options) { o.EventURL, o.Metadata = gone.URL, []byte("null") },
		"the text of messages: 4097":   func(o *conform.Options) { o.EventURL, o.Text = gone.URL, strings.Repeat("x", 4097) },
		`no check "repeat/twice"`:      func(o *conform.Options) { o.EventURL, o.Only = gone.URL, []string{"repeat/twice"} },
		"for an app of your own":       func(o *conform.Options) { o.EventURL = "http://203.0.113.9:9/" },
		"session URL http://127.0.0.1": func(o *conform.Options) { o.SessionURL = gone.URL },
	} {
		_, err := run(t, place{}, change)
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("error %v, want one with %q", err, want)
		}
		if want == "for an app of your own" && !errors.Is(err, conform.ErrPublic) {
			t.Errorf("error %v, want ErrPublic", err)
		}
	}
}

// TestOnly: what was not asked for is not sent, but for the first call.
func TestOnly(t *testing.T) {
	t.Parallel()
	var calls atomic.Int32
	app := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { calls.Add(1) }))
	defer app.Close()
	var each []string
	report := check(t, place{}, func(o *conform.Options) {
		o.EventURL, o.Only = app.URL, []string{"key", "method/get"}
		o.Each = func(r conform.Result) { each = append(each, r.ID) }
	})
	want := []string{"key/refused", "key/missing", "key/wrong", "method/get"}
	var got []string
	for _, r := range report.Results {
		got = append(got, r.ID)
	}
	slices.Sort(each)
	if sorted := slices.Sorted(slices.Values(want)); !slices.Equal(got, want) || !slices.Equal(each, sorted) {
		t.Errorf("checks %q, told of %q, want %q", got, each, want)
	}
	if n := calls.Load(); n != 4 {
		t.Errorf("%d calls, want 4", n)
	}
}

// TestTimeIsUp: checks that do not end in time are no findings, and not passed.
func TestTimeIsUp(t *testing.T) {
	t.Parallel()
	p := start(t, "never ends")
	begun := time.Now()
	report := check(t, p, func(o *conform.Options) {
		o.EventURL, o.Only, o.Bounds = p.url+"/event", []string{"slow/never-ends", "answer/afterwards"}, conform.Bounds{Run: 2 * time.Second}
	})
	if report.Count(conform.NotRun) != 2 || len(report.Findings) > 0 {
		t.Errorf("%+v", report.Results)
	}
	if took := time.Since(begun); took > 10*time.Second {
		t.Errorf("a run of two seconds took %v", took)
	}
}

// zoo is apps that are wrong in one way each, and the findings that each gets.
var zoo = map[string][]string{
	// The first call says it all.
	"asks to come again":  {"answer/status"},
	"has another key":     {"key/refused"},
	"redirects":           {"answer/redirect"},
	"is late":             {"answer/late"},
	"breaks off":          {"answer/broken"},
	"has endless headers": {"answer/broken"},
	"talks much":          {"answer/size"},

	"needs no key":                      {"key/missing"},
	"looks at the beginning of the key": {"key/wrong"},
	"checks no key":                     {"key/missing", "key/wrong"},

	"verifies nothing":       {"signature/wrong", "signature/missing", "signature/altered", "signature/late", "signature/early"},
	"needs no signature":     {"signature/missing"},
	"takes old signatures":   {"signature/late", "signature/early"},
	"takes late signatures":  {"signature/late"},
	"takes early signatures": {"signature/early"},
	"reads one signature":    {"signature/rotated"},

	"refuses repeats":      {"repeat/answer"},
	"wants order":          {"order/older"},
	"refuses old messages": {"late/sent-at"},

	"refuses new types":  {"unknown/type"},
	"refuses new fields": {"unknown/field"},
	"refuses new values": {"unknown/enum"},
	"decodes strictly":   {"unknown/type", "unknown/field", "unknown/enum"},

	"needs metadata":            {"metadata/absent"},
	"chokes on null metadata":   {"metadata/null"},
	"wants strings in metadata": {"metadata/any"},

	"refuses sellers":       {"type/new-message"},
	"refuses retired posts": {"type/post-update"},
	"refuses revocations":   {"type/user-access-revocation"},
	"refuses refunds":       {"type/payment-transaction"},
	"refuses signs":         {"message/text"},
	"refuses IMAGE":         {"message/image"},
	"refuses FILE":          {"message/file"},
	"refuses VOICE":         {"message/voice"},
	"refuses LOCATION":      {"message/location"},
	"refuses VIDEO":         {"message/video"},
	"refuses CONTACT":       {"message/contact"},
	"refuses bots": {
		"repeat/answer", "unknown/enum", "type/new-chatbot-message", "message/text", "message/image", "message/file",
		"message/voice", "message/location", "message/video", "message/contact",
	},

	"forgives cut JSON":              {"body/cut-json"},
	"forgives an empty body":         {"body/empty"},
	"forgives forms":                 {"body/not-json"},
	"answers GET":                    {"method/get"},
	"reads 64 KiB":                   {"body/largest"},
	"does not say what was too much": {"body/huge"},
	"answers before it has read":     {"body/cut"},
	"has little room":                {"parallel/at-once"},

	"counts no repeats":        {"repeat/acted-twice", "repeat/at-once"},
	"forgets what is done":     {"repeat/acted-twice"},
	"notes when it is done":    {"repeat/at-once"},
	"notes before it works":    {"repeat/lost"},
	"swallows failures":        {"repeat/lost"},
	"answers bots":             {"repeat/own-message"},
	"does one thing at a time": {"callback/inside"},

	"never ends":            {"slow/never-ends"},
	"reads one at a time":   {"slow/blocks-others", "slow/never-ends"},
	"dies of a slow sender": {"answer/afterwards"},
}

// sessions and actions are the same for the other two URLs.
var (
	sessions = map[string][]string{
		"opens a path":                      {"session/answer"},
		"opens plain http":                  {"session/answer"},
		"opens with a name":                 {"session/answer"},
		"opens nothing":                     {"session/answer"},
		"opens with 201":                    {"session/answer"},
		"has another key":                   {"session/key-refused"},
		"needs no key":                      {"session/key-missing"},
		"looks at the beginning of the key": {"session/key-wrong"},
		"opens for users alone":             {"session/nulls"},
		"opens with strings alone":          {"session/extra-data"},
		"opens for sellers alone":           {"session/sides"},
		"opens known places alone":          {"session/sources"},
		"opens with all it got":             {"session/long-return-url"},
		"opens without new fields":          {"session/unknown-field"},
		"has little room":                   {"session/at-once"},
	}
	actions = map[string][]string{
		"does nothing":                      {"action/answer"},
		"does two things":                   {"action/answer"},
		"does something dynamic":            {"action/answer"},
		"does something plain":              {"action/answer"},
		"does not speak JSON":               {"action/answer"},
		"says too much":                     {"action/answer"},
		"does a post":                       {},
		"has another key":                   {"action/key-refused"},
		"needs no key":                      {"action/key-missing"},
		"looks at the beginning of the key": {"action/key-wrong"},
		"does for chats alone":              {"action/nulls"},
		"does with its own data alone":      {"action/nulls", "action/extra-data"},
		"does for sellers alone":            {"action/sides"},
		"does without new fields":           {"action/unknown-field"},
		"does it once":                      {"action/twice"},
		"has little room":                   {"action/at-once"},
	}
)

// bounds are those of apps whose fault takes time.
var bounds = map[string]conform.Bounds{
	"is late":             {Answer: time.Second},
	"never ends":          {Slow: time.Second, Settle: settle},
	"reads one at a time": {Slow: time.Second, Settle: time.Second}, // it must have begun to read before others come
}

// TestZoo: an app that is wrong in one way gets the finding for that and no
// other; and there is an app for each check.
func TestZoo(t *testing.T) {
	t.Parallel()
	found := map[string]bool{}
	var running sync.WaitGroup
	turns := make(chan struct{}, 16) // they mostly wait: more than t.Parallel would run
	for _, z := range []struct {
		apps map[string][]string
		aim  func(o *conform.Options, url string)
	}{
		{zoo, func(o *conform.Options, url string) { o.EventURL = url + "/event" }},
		{sessions, func(o *conform.Options, url string) { o.SessionURL = url + "/session" }},
		{actions, func(o *conform.Options, url string) { o.ActionURL = url + "/action" }},
	} {
		for fault, want := range z.apps {
			for _, id := range want {
				found[id] = true
			}
			p := start(t, fault)
			running.Go(func() {
				turns <- struct{}{}
				defer func() { <-turns }()
				report, err := run(t, p, func(o *conform.Options) {
					z.aim(o, p.url)
					if b, ok := bounds[fault]; ok {
						o.Bounds = b
					}
				})
				if err != nil {
					t.Errorf("an app that %s: %v", fault, err)
				}
				if got := ids(report); !slices.Equal(got, want) {
					t.Errorf("an app that %s gets %q, want %q: %+v", fault, got, want, report.Findings)
				}
			})
		}
	}
	running.Wait()
	for _, c := range conform.Checks() {
		if !found[c.ID] {
			t.Errorf("no app fails %s", c.ID)
		}
	}
}

// TestChecks: each check has an id of its own and says all that a reader needs,
// the contract's section too.
func TestChecks(t *testing.T) {
	t.Parallel()
	seen := map[string]bool{}
	for _, c := range conform.Checks() {
		if seen[c.ID] || strings.Count(c.ID, "/") != 1 || c.Target == "" || c.Severity == "" {
			t.Errorf("%+v", c)
		}
		seen[c.ID] = true
		for _, text := range []string{c.Does, c.Why, c.Mend} {
			if !strings.HasSuffix(text, ".") {
				t.Errorf("%s: %q is not a sentence", c.ID, text)
			}
		}
		if !strings.Contains(c.Why, "(contract, section") {
			t.Errorf("%s: %q does not name the contract's section", c.ID, c.Why)
		}
		if !strings.Contains(c.Does, "; wanted is ") {
			t.Errorf("%s: %q does not say what is wanted", c.ID, c.Does)
		}
	}
}
