package conform_test

import (
	"encoding/xml"
	"strings"
	"testing"
	"time"
	"unicode"

	"github.com/openkenar/openkenar/internal/conform"
)

// suites is what CI systems read of JUnit.
type suites struct {
	Suites []struct {
		Name     string `xml:"name,attr"`
		Tests    int    `xml:"tests,attr"`
		Failures int    `xml:"failures,attr"`
		Skipped  int    `xml:"skipped,attr"`
		Cases    []struct {
			Name    string `xml:"name,attr"`
			Failure *struct {
				Message string `xml:"message,attr"`
				Type    string `xml:"type,attr"`
				Text    string `xml:",chardata"`
			} `xml:"failure"`
			Skipped *struct{} `xml:"skipped"`
		} `xml:"testcase"`
	} `xml:"testsuite"`
}

func report(what string) conform.Report {
	finding := conform.Finding{ID: "key/missing", Target: conform.Event, Severity: conform.Error, What: what, Why: "because", Mend: "so"}
	return conform.Report{
		EventURL: "http://127.0.0.1/?a=1&b=<2>", ActionURL: "http://127.0.0.1/action", StartedAt: time.Unix(0, 0), TookMS: 1234,
		Findings: []conform.Finding{finding},
		Results: []conform.Result{
			{ID: "answer/status", Target: conform.Event, Outcome: conform.Passed, TookMS: 7},
			{ID: "key/missing", Target: conform.Event, Outcome: conform.Failed, Finding: &finding},
			{ID: "repeat/acted-twice", Target: conform.Event, Outcome: conform.NotSeen, Note: what},
			{ID: "action/answer", Target: conform.Action, Outcome: conform.Passed},
		},
	}
}

func TestJUnit(t *testing.T) {
	t.Parallel()
	text, err := report(`answered 200 ("<no> & yes")`).JUnit()
	if err != nil {
		t.Fatal(err)
	}
	var got suites
	if err := xml.Unmarshal(text, &got); err != nil {
		t.Fatalf("%v\n%s", err, text)
	}
	if len(got.Suites) != 2 || got.Suites[0].Name != "event http://127.0.0.1/?a=1&b=<2>" || len(got.Suites[1].Cases) != 1 {
		t.Fatalf("%+v\n%s", got, text)
	}
	s := got.Suites[0]
	if s.Tests != 3 || s.Failures != 1 || s.Skipped != 1 || len(s.Cases) != 3 {
		t.Errorf("%+v", s)
	}
	f := s.Cases[1].Failure
	if f == nil || f.Type != "error" || f.Message != `answered 200 ("<no> & yes")` || !strings.Contains(f.Text, "How to mend it: so") {
		t.Errorf("%+v", f)
	}
	if s.Cases[2].Skipped == nil || s.Cases[0].Failure != nil || s.Cases[0].Skipped != nil {
		t.Errorf("%+v", s.Cases)
	}
}

// FuzzJUnit: whatever an app answered, the file can be read, and says it.
func FuzzJUnit(f *testing.F) {
	f.Add("answered 400")
	f.Add("\x00\x1b[2J\xff\ufffe]]>\r\n")
	f.Fuzz(func(t *testing.T, what string) {
		text, err := report(what).JUnit()
		if err != nil {
			t.Fatal(err)
		}
		var got suites
		if err := xml.Unmarshal(text, &got); err != nil {
			t.Fatalf("%v\n%s", err, text)
		}
		letters := func(s string) string {
			return strings.Map(func(c rune) rune {
				if unicode.IsLetter(c) {
					return c
				}
				return -1
			}, s)
		}
		if said := got.Suites[0].Cases[1].Failure.Message; letters(said) != letters(what) {
			t.Errorf("%q became %q", what, said)
		}
	})
}
