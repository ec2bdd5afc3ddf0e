package panel

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strings"
	"unicode/utf8"
)

// isHidden says whether a character changes how others are shown and is not
// seen itself: the controls of the bidirectional algorithm and their like.
func isHidden(r rune) bool {
	switch {
	case r == '\n', r == '\t', r == '\u200c', r == '\u200d': // the joiners are letters of Persian
		return false
	case r < ' ', r >= 0x7f && r < 0xa0:
		return true
	case r >= '\u200e' && r <= '\u200f', r >= '\u202a' && r <= '\u202e', r >= '\u2066' && r <= '\u2069':
		return true
	case r == '\u061c', r == '\u200b', r == '\ufeff', r == '\u2028', r == '\u2029':
		return true
	}
	return false
}

// visible writes out what could not be seen, and would make a text look like
// another one.
func visible(text string) string {
	if utf8.ValidString(text) && !strings.ContainsFunc(text, isHidden) {
		return text
	}
	var b strings.Builder
	for _, r := range strings.ToValidUTF8(text, "\ufffd") {
		if isHidden(r) {
			fmt.Fprintf(&b, `\u%04x`, r)
		} else {
			b.WriteRune(r)
		}
	}
	return b.String()
}

// laidOut is a payload for people: JSON on lines of its own, all else as it is.
func laidOut(text string) string {
	if first := strings.TrimSpace(text); strings.HasPrefix(first, "{") || strings.HasPrefix(first, "[") {
		var b bytes.Buffer
		if json.Indent(&b, []byte(text), "", "  ") == nil {
			text = b.String()
		}
	}
	return visible(text)
}
