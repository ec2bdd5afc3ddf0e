package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/openkenar/openkenar/internal/conform"
)

type conformCmd struct {
	EventURL   string `name:"event-url" help:"The app's event URL." placeholder:"URL"`
	SessionURL string `name:"session-url" help:"Its session initialization URL." placeholder:"URL"`
	ActionURL  string `name:"action-url" help:"Its dynamic action URL." placeholder:"URL"`

	IdentificationKey string   `config:"" help:"What the app wants in Authorization. Default: OPENKENAR_IDENTIFICATION_KEY, else that of the sample app in DATA/dev.json." placeholder:"KEY"`
	SigningSecret     string   `config:"" help:"The app's signing secret (whsec_…): everything is signed, and signatures are checked. Best set as OPENKENAR_SIGNING_SECRET." placeholder:"SECRET"`
	Data              string   `config:"" default:".openkenar" help:"Data directory of dev mode, for its dev.json." type:"path" placeholder:"DIR"`
	PlatformListen    string   `help:"Address to play the platform on that the app calls: start the app with it as its platform, and what it does is seen too, as that a repeat sends nothing twice." placeholder:"HOST:PORT"`
	Text              string   `default:"Hello!" help:"Text of the messages: one that the app acts on (${default})." placeholder:"TEXT"`
	Metadata          string   `default:"{\"key\":\"value\"}" help:"What the app's subscriptions carry (${default})." placeholder:"JSON"`
	ActionData        string   `default:"{}" help:"What a button of the app carries, for its dynamic action URL (${default})." placeholder:"JSON"`
	Only              []string `help:"Run these checks alone; what stands before the slash names all of a kind." placeholder:"ID"`

	List    bool          `help:"Print what each check sends, why it matters and how to mend it; call nothing."`
	JSON    bool          `name:"json" help:"Print the report as one JSON object."`
	JUnit   string        `name:"junit" help:"Write the report to a file, as JUnit XML, too." type:"path" placeholder:"FILE"`
	Timeout time.Duration `default:"60s" help:"How long the whole run may take (${default})." placeholder:"DURATION"`
	SlowFor time.Duration `default:"20s" help:"How long a slow sender drips before the app has to end it (${default})." placeholder:"DURATION"`
	Mine    bool          `name:"yes-it-is-mine" help:"Also call public addresses: the app is yours, and a few hundred odd requests do it no harm."`
}

// Help is what the command's help says besides.
func (conformCmd) Help() string {
	return `Plays a receiver's hard life: webhooks that come twice, late, out of order, all at once, byte by byte, cut off, with a wrong key, or of types ` +
		`that do not exist yet. Each finding says what happened, why it matters and how to mend it.

The app must not call its real platform meanwhile: the conversations are made up, and the platform knows none of them. ` +
		`With --platform-listen it has one to call.

The exit code is 0 without findings, 1 with findings, and 2 when the app could not be checked.`
}

// Validate refuses what could not be run.
func (f conformCmd) Validate() error {
	switch {
	case f.EventURL == "" && f.SessionURL == "" && f.ActionURL == "" && !f.List:
		return errors.New("nothing to check: give --event-url, --session-url or --action-url; --list prints the checks")
	case f.Timeout <= 0 || f.SlowFor <= 0:
		return errors.New("--timeout and --slow-for must be longer than nothing")
	}
	return nil
}

// Run checks an app.
func (f conformCmd) Run(ctx context.Context, c *call) error {
	if f.List {
		return f.list(c)
	}
	o := conform.Options{
		EventURL: f.EventURL, SessionURL: f.SessionURL, ActionURL: f.ActionURL, SigningSecret: f.SigningSecret,
		Only: f.Only, Text: f.Text, Metadata: []byte(f.Metadata), ActionData: []byte(f.ActionData), Mine: f.Mine, Version: Version,
		Bounds: conform.Bounds{Run: f.Timeout, Slow: f.SlowFor},
	}
	var err error
	if o.IdentificationKey, err = f.key(); err != nil {
		return unable{err}
	}
	if f.PlatformListen != "" {
		var listen net.ListenConfig
		if o.Platform, err = listen.Listen(ctx, "tcp", f.PlatformListen); err != nil {
			return unable{fmt.Errorf("--platform-listen: %w; is the real platform running there?", err)}
		}
	}
	progress, done := c.progress("checks")
	ended := int64(0)
	o.Each = func(conform.Result) { ended++; progress(ended) }
	report, err := conform.Run(ctx, o)
	done()
	if errors.Is(err, conform.ErrPublic) {
		err = fmt.Errorf("%w; say so with --yes-it-is-mine", err)
	}
	if err != nil {
		return unable{err}
	}
	if f.JUnit != "" {
		text, err := report.JUnit()
		if err == nil {
			err = os.WriteFile(f.JUnit, text, 0o644) //nolint:gosec // a report for others to read
		}
		if err != nil {
			return unable{fmt.Errorf("--junit: %w", err)}
		}
	}
	if f.JSON {
		err = printJSON(c, report)
	} else {
		_, err = io.WriteString(c.Out, reportText(report, isTerminal(c.Out) && os.Getenv("NO_COLOR") == ""))
	}
	switch {
	case err != nil:
		return unable{err}
	case len(report.Findings) > 0:
		return errFound
	case report.Count(conform.NotRun) > 0:
		return unable{fmt.Errorf("%s did not run within %v; give more time with --timeout", counted(report.Count(conform.NotRun), "check"), f.Timeout)}
	}
	return nil
}

// key is what the platform says to prove itself.
func (f conformCmd) key() (string, error) {
	if f.IdentificationKey != "" {
		return f.IdentificationKey, nil
	}
	dev, err := readDev(f.Data)
	if err != nil {
		return "", fmt.Errorf("no identification key: %w; or set OPENKENAR_IDENTIFICATION_KEY or --identification-key", err)
	}
	return dev.App.IdentificationKey, nil
}

func (f conformCmd) list(c *call) error {
	if f.JSON {
		return printJSON(c, conform.Checks())
	}
	for _, check := range conform.Checks() {
		if _, err := fmt.Fprintf(c.Out, "%s (%s)\n%s%s%s\n", check.ID, check.Severity, wrapped("does", check.Does), wrapped("why", check.Why), wrapped("mend", check.Mend)); err != nil {
			return err
		}
	}
	return nil
}

// The colours of a terminal.
const (
	red    = "31"
	yellow = "33"
	green  = "32"
	faint  = "2"
)

// reportText is a report for people: the checks, and then what was found.
func reportText(r conform.Report, coloured bool) string {
	var b strings.Builder
	colour := func(code, text string) string {
		if !coloured {
			return text
		}
		return "\x1b[" + code + "m" + text + "\x1b[0m"
	}
	for _, t := range []struct {
		target conform.Target
		url    string
	}{{conform.Event, r.EventURL}, {conform.Session, r.SessionURL}, {conform.Action, r.ActionURL}} {
		if t.url == "" {
			continue
		}
		fmt.Fprintf(&b, "%s URL %s\n", t.target, plain(t.url))
		for _, result := range r.Results {
			if result.Target != t.target {
				continue
			}
			word, code := string(result.Outcome), faint
			switch {
			case result.Finding != nil && result.Finding.Severity == conform.Warning:
				word, code = "warning", yellow
			case result.Finding != nil:
				word, code = "error", red
			case result.Outcome == conform.Passed:
				code = green
			}
			line := fmt.Sprintf("  %s  %-28s  %s", colour(code, fmt.Sprintf("%-8s", word)), result.ID, plain(result.Note))
			b.WriteString(strings.TrimRight(line, " ") + "\n")
		}
		b.WriteByte('\n')
	}
	errs := 0
	for _, f := range r.Findings {
		code := yellow
		if f.Severity == conform.Error {
			code = red
			errs++
		}
		fmt.Fprintf(&b, "%s %s\n%s%s%s\n", colour(code, string(f.Severity)), f.ID, wrapped("what", plain(f.What)), wrapped("why", f.Why), wrapped("mend", f.Mend))
	}
	fmt.Fprintf(&b, "%d passed, %s, %s", r.Count(conform.Passed), counted(errs, "error"), counted(len(r.Findings)-errs, "warning"))
	for _, o := range []conform.Outcome{conform.NotSeen, conform.Skipped, conform.NotRun} {
		if n := r.Count(o); n > 0 {
			fmt.Fprintf(&b, ", %d %s", n, o)
		}
	}
	fmt.Fprintf(&b, ", in %.1f s\n", float64(r.TookMS)/1000)
	return b.String()
}

func counted(n int, what string) string {
	if n != 1 {
		what += "s"
	}
	return fmt.Sprintf("%d %s", n, what)
}

// wrapped sets a text in lines of a readable length beside its name.
func wrapped(name, text string) string {
	const most = 100
	var b strings.Builder
	fmt.Fprintf(&b, "  %-4s", name)
	width := 0
	for i, word := range strings.Fields(text) {
		n := utf8.RuneCountInString(word)
		if i > 0 && width+1+n > most {
			b.WriteString("\n      ")
			width = 0
		}
		b.WriteString(" " + word)
		width += 1 + n
	}
	return b.String() + "\n"
}
