package wire

import (
	"errors"
	"fmt"
	"net/url"
	"regexp"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"
)

// MaxPage is the longest URL that people are sent to, in characters.
const MaxPage = 2048

// host is a name of labels, in any script, or an address; a browser takes more,
// and reads it in ways of its own.
var host = regexp.MustCompile(`^(?:[\p{L}\p{N}_-]+(?:\.[\p{L}\p{M}\p{N}_-]+)*\.?|\[[0-9a-fA-F:.]+\])$`)

// Page reads a URL that somebody else wants people sent to: absolute, http or
// https, and the same for every reader. The error says what is wrong with it,
// without its name.
func Page(raw string) (*url.URL, error) {
	if raw == "" {
		return nil, errors.New("missing or empty")
	}
	if n := utf8.RuneCountInString(raw); n > MaxPage {
		return nil, fmt.Errorf("%d characters, want at most %d", n, MaxPage)
	}
	strange := func(r rune) bool {
		return r == '\\' || r == utf8.RuneError || unicode.IsSpace(r) || unicode.IsControl(r) || unicode.Is(unicode.Cf, r)
	}
	u, err := url.Parse(raw)
	switch {
	case err != nil || strings.ContainsFunc(raw, strange):
		return nil, errors.New("not a URL")
	case u.Scheme != "https" && u.Scheme != "http" || u.Hostname() == "":
		return nil, errors.New("not an absolute https URL")
	case u.User != nil:
		return nil, errors.New("a user name or password in a URL is not allowed")
	case !host.MatchString(strings.TrimSuffix(u.Host, portOf(u))):
		return nil, errors.New("its host is not one")
	}
	return u, nil
}

// portOf is the port of a URL with its colon, where it is one.
func portOf(u *url.URL) string {
	if _, err := strconv.ParseUint(u.Port(), 10, 16); err != nil {
		return ""
	}
	return ":" + u.Port()
}
