package kenar

import (
	"errors"
	"fmt"
	"net/netip"
	"net/url"
	"regexp"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"
)

// maxPage is the longest URL that people are sent to, in characters.
const maxPage = 2048

// hostName is labels in any script, or an address in brackets. Browsers take
// more, each in its own way, and platforms refuse it.
var hostName = regexp.MustCompile(`^(?:[\p{L}\p{N}_-]+(?:\.[\p{L}\p{M}\p{N}_-]+)*\.?|\[[0-9a-fA-F:.]+\])$`)

// checkPage refuses a URL that a platform does not send people to.
func checkPage(raw string) (*url.URL, error) {
	if raw == "" {
		return nil, errors.New("missing or empty")
	}
	if n := utf8.RuneCountInString(raw); n > maxPage {
		return nil, fmt.Errorf("%d characters, want at most %d", n, maxPage)
	}
	for _, r := range raw {
		if r == '\\' || r == utf8.RuneError || unicode.IsSpace(r) || unicode.IsControl(r) || unicode.Is(unicode.Cf, r) {
			return nil, errors.New("not a URL: white space, control characters and \\ must be escaped")
		}
	}
	u, err := url.Parse(raw)
	if err != nil {
		return nil, errors.New("not a URL")
	}
	host := u.Host
	if _, err := strconv.ParseUint(u.Port(), 10, 16); err == nil {
		host = strings.TrimSuffix(host, ":"+u.Port())
	}
	switch {
	case u.Scheme != "https" && u.Scheme != "http" || u.Hostname() == "":
		return nil, errors.New("not an absolute https URL")
	case u.User != nil:
		return nil, errors.New("a user name or password in a URL is not allowed")
	case !hostName.MatchString(host):
		return nil, errors.New("its host is not one")
	}
	return u, nil
}

// checkSecurePage also refuses plain http, but to this machine itself.
func checkSecurePage(raw string) error {
	u, err := checkPage(raw)
	if err != nil {
		return err
	}
	if u.Scheme == "http" && !isLoopback(u.Hostname()) {
		return errors.New("plain http; https is needed")
	}
	return nil
}

func isLoopback(host string) bool {
	host = strings.TrimSuffix(strings.ToLower(host), ".")
	if host == "localhost" || strings.HasSuffix(host, ".localhost") {
		return true
	}
	a, err := netip.ParseAddr(host)
	return err == nil && a.Unmap().IsLoopback()
}
