package cli

import (
	"fmt"
	"strings"
	"text/tabwriter"
	"time"
	"unicode"
)

// columns lays rows out as a table.
func columns(rows [][]string) string {
	var b strings.Builder
	w := tabwriter.NewWriter(&b, 0, 0, 2, ' ', 0)
	for _, row := range rows {
		cells := make([]string, len(row))
		for i, cell := range row {
			cells[i] = plain(cell)
		}
		_, _ = fmt.Fprintln(w, strings.Join(cells, "\t"))
	}
	_ = w.Flush()
	return b.String()
}

// more says how to go on in a list; next is nil at its end.
func more(next *string) string {
	if next == nil {
		return ""
	}
	return "more: --after " + plain(*next) + "\n"
}

// plain makes the control characters of what others wrote harmless: they must
// not drive the terminal, nor break a line in two.
func plain(text string) string { return strings.Map(harmless, text) }

func harmless(r rune) rune {
	if unicode.IsControl(r) {
		return unicode.ReplacementChar
	}
	return r
}

// indent sets a block apart, and is as careful as plain.
func indent(text string) string {
	var b strings.Builder
	for l := range strings.Lines(strings.TrimRight(text, "\n")) {
		b.WriteString("    " + strings.Map(func(r rune) rune {
			if r == '\t' {
				return r
			}
			return harmless(r)
		}, strings.TrimRight(l, "\r\n")) + "\n")
	}
	return b.String()
}

// stamp shows a moment; "" for none.
func stamp(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return t.UTC().Format("2006-01-02T15:04:05.000Z")
}
