package conform

import (
	"encoding/xml"
	"fmt"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"
)

// junit is the part of JUnit's format that everything which reads it knows.
type junit struct {
	XMLName xml.Name     `xml:"testsuites"`
	Name    string       `xml:"name,attr"`
	Time    string       `xml:"time,attr"`
	Suites  []junitSuite `xml:"testsuite"`
}

type junitSuite struct {
	Name     string      `xml:"name,attr"`
	Tests    int         `xml:"tests,attr"`
	Failures int         `xml:"failures,attr"`
	Errors   int         `xml:"errors,attr"`
	Skipped  int         `xml:"skipped,attr"`
	At       string      `xml:"timestamp,attr"`
	Time     string      `xml:"time,attr"`
	Cases    []junitCase `xml:"testcase"`
}

type junitCase struct {
	Class   string        `xml:"classname,attr"`
	Name    string        `xml:"name,attr"`
	Time    string        `xml:"time,attr"`
	Failure *junitFailure `xml:"failure"`
	Skipped *junitSkipped `xml:"skipped"`
}

type junitFailure struct {
	Message string `xml:"message,attr"`
	Type    string `xml:"type,attr"` // the severity
	Text    string `xml:",chardata"`
}

type junitSkipped struct {
	Message string `xml:"message,attr"`
}

// JUnit returns the report as JUnit XML: a suite for each target, a case for
// each check. A finding is a failure, whatever its severity; what was not seen
// or not run is skipped.
func (r Report) JUnit() ([]byte, error) {
	out := junit{Name: "openkenar conform", Time: seconds(r.TookMS)}
	for _, target := range []struct {
		target Target
		url    string
	}{{Event, r.EventURL}, {Session, r.SessionURL}, {Action, r.ActionURL}} {
		if target.url == "" {
			continue
		}
		suite := junitSuite{Name: string(target.target) + " " + printable(target.url), At: r.StartedAt.UTC().Format("2006-01-02T15:04:05")}
		var took int64
		for _, result := range r.Results {
			if result.Target != target.target {
				continue
			}
			c := junitCase{Class: "conform." + string(result.Target), Name: result.ID, Time: seconds(result.TookMS)}
			switch f := result.Finding; {
			case f != nil:
				suite.Failures++
				c.Failure = &junitFailure{printable(f.What), string(f.Severity), printable(fmt.Sprintf("%s\n\nWhy it matters: %s\n\nHow to mend it: %s\n", f.What, f.Why, f.Mend))}
			case result.Outcome != Passed:
				suite.Skipped++
				c.Skipped = &junitSkipped{printable(string(result.Outcome) + ": " + result.Note)}
			}
			took += result.TookMS
			suite.Tests++
			suite.Cases = append(suite.Cases, c)
		}
		suite.Time = seconds(took)
		out.Suites = append(out.Suites, suite)
	}
	text, err := xml.MarshalIndent(out, "", "  ")
	return append([]byte(xml.Header), append(text, '\n')...), err
}

func seconds(ms int64) string {
	return strconv.FormatFloat((time.Duration(ms) * time.Millisecond).Seconds(), 'f', 3, 64)
}

// printable is a text without what XML cannot carry.
func printable(text string) string {
	return strings.Map(func(c rune) rune {
		if c < ' ' && c != '\n' && c != '\t' || c == utf8.RuneError || c == 0xFFFE || c == 0xFFFF {
			return ' '
		}
		return c
	}, text)
}
