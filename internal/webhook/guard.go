package webhook

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"net/url"
	"slices"
	"strings"
	"syscall"

	"code.dny.dev/ssrf"

	"github.com/openkenar/openkenar/internal/status"
)

// maxCause bounds a cause in words, in bytes: it may quote what an app answered.
const maxCause = 200

// maxURL is the longest address that an app may set, in bytes.
const maxURL = 2048

var errPlain = errors.New("plain http is not allowed")

// Guard decides which addresses may be called. Public ones always may, over
// https; the ranges allowed by name also over plain http. It looks at a URL
// when it is set, and at the address itself when a connection is made, after
// name resolution, so that a name cannot be pointed elsewhere in between.
type Guard struct {
	allowed []netip.Prefix
	address *ssrf.Guardian
}

// Loopback is what dev mode allows by itself.
func Loopback() []netip.Prefix {
	return []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8"), netip.MustParsePrefix("::1/128")}
}

// NewGuard returns a guard that allows the given ranges besides the public ones.
func NewGuard(allowed ...netip.Prefix) *Guard {
	var v4, v6 []netip.Prefix
	for _, p := range allowed {
		if p.Addr().Is4() {
			v4 = append(v4, p)
		} else {
			v6 = append(v6, p)
		}
	}
	return &Guard{allowed: allowed, address: ssrf.New(
		ssrf.WithAnyPort(), ssrf.WithAllowedV4Prefixes(v4...), ssrf.WithAllowedV6Prefixes(v6...),
	)}
}

// CheckURL refuses an address that an app may not set, and says why.
func (g *Guard) CheckURL(field, raw string) error {
	refuse := func(format string, args ...any) error {
		return status.New(status.Invalid, "%s: %s", field, fmt.Sprintf(format, args...))
	}
	if len(raw) > maxURL {
		return refuse("%d bytes, want at most %d", len(raw), maxURL)
	}
	u, err := url.Parse(raw)
	switch {
	case err != nil || u.Host == "" || u.Hostname() == "":
		return refuse("not an absolute URL; write https://host/path")
	case u.Scheme != "https" && u.Scheme != "http":
		return refuse("scheme %q cannot be called; use https", u.Scheme)
	case u.User != nil:
		return refuse("a user name or password in a URL is not allowed")
	case u.Fragment != "":
		return refuse("a fragment (#) is not allowed")
	}
	ip, literal := address(u.Hostname())
	switch {
	case u.Scheme == "http" && (literal && !g.allows(ip) || len(g.allowed) == 0):
		return refuse("plain http is allowed only to ranges named by --allow-targets; use https")
	case literal && g.address.SafeAddr(ip) != nil:
		return refuse("address %s is not public; a range named by --allow-targets may be used", ip)
	default:
		return nil // a host name's addresses are checked when it is called
	}
}

// Plain says whether plain http may lead to a host: this machine, or where a
// range is allowed by name, that range and hosts whose address is not known yet.
func (g *Guard) Plain(host string) bool {
	ip, literal := address(host)
	if !literal {
		return len(g.allowed) > 0
	}
	return ip.IsLoopback() || g.allows(ip)
}

// Names says whether a host is an address of a range that is allowed by name.
func (g *Guard) Names(host string) bool {
	ip, literal := address(host)
	return literal && g.allows(ip)
}

// address reads a host that names its address; literal is false for a name
// that must be resolved.
func address(host string) (ip netip.Addr, literal bool) {
	host = strings.TrimSuffix(strings.ToLower(host), ".")
	if host == "localhost" || strings.HasSuffix(host, ".localhost") { // RFC 6761, 6.3
		return netip.AddrFrom4([4]byte{127, 0, 0, 1}), true
	}
	ip, err := netip.ParseAddr(host)
	return ip, err == nil
}

func (g *Guard) allows(ip netip.Addr) bool {
	return slices.ContainsFunc(g.allowed, func(p netip.Prefix) bool { return p.Contains(ip.Unmap()) })
}

// control is the net.Dialer hook: it sees the address after name resolution.
func (g *Guard) control(plain bool) func(network, address string, c syscall.RawConn) error {
	return func(network, address string, c syscall.RawConn) error {
		if plain {
			host, _, err := net.SplitHostPort(address)
			if err != nil {
				return err
			}
			if ip, err := netip.ParseAddr(host); err != nil || !g.allows(ip) {
				return fmt.Errorf("%w to %s", errPlain, host)
			}
		}
		return g.address.Safe(network, address, c)
	}
}

// isRefused tells a connection that was forbidden from one that failed.
func isRefused(err error) bool {
	for _, refusal := range []error{ssrf.ErrProhibitedIP, ssrf.ErrProhibitedPort, ssrf.ErrProhibitedNetwork, errPlain, errNoIPv4, errNoIPv6} {
		if errors.Is(err, refusal) {
			return true
		}
	}
	return false
}

// innermost is the cause at the end of an error's chain: the outer ones only
// repeat the method and the URL.
func innermost(err error) string {
	for next := err; next != nil; next = errors.Unwrap(next) {
		err = next
	}
	text := err.Error()
	return strings.ToValidUTF8(text[:min(len(text), maxCause)], "")
}
