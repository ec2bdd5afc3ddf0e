package kenar

import (
	"crypto/sha256"
	"crypto/subtle"
	"errors"
	"fmt"
	"net/http"
	"net/netip"
	"slices"
	"strings"
)

// Callers says whose requests an app believes. All that is set must hold.
type Callers struct {
	// Keys are the app's identification keys: the platform sends one in the
	// header Authorization, as it is and without a scheme. Name two while the
	// key is being changed. They are compared in constant time.
	Keys []string
	// Addresses are where requests may come from, as DivarAddresses has them.
	// Default: anywhere.
	Addresses []netip.Prefix
	// TrustedProxies are the proxies in front of the app. Only of a request
	// that comes from one of them X-Forwarded-For counts: from the right, the
	// first address that is not such a proxy's is the caller's. So each must add
	// the address that it was called from at the right end. Default: the address
	// of the connection is the caller's.
	TrustedProxies []netip.Prefix
}

// DivarAddresses returns the addresses from which Divar calls apps, as its
// documentation of Kenar lists them. Make sure that they are still those before
// you rely on them. A platform of OpenKenar publishes its own under
// /.well-known/openkenar/egress.json.
func DivarAddresses() []netip.Prefix {
	return []netip.Prefix{
		netip.MustParsePrefix("78.111.6.41/32"),
		netip.MustParsePrefix("78.111.6.42/32"),
		netip.MustParsePrefix("78.111.6.43/32"),
		netip.MustParsePrefix("31.214.250.128/27"),
	}
}

// callers is Callers, checked.
type callers struct {
	keys      [][sha256.Size]byte
	addresses []netip.Prefix
	proxies   []netip.Prefix
}

func newCallers(c Callers) (callers, error) {
	var out callers
	for i, key := range c.Keys {
		if err := checkKey(key); err != nil {
			return out, fmt.Errorf("kenar: Callers.Keys[%d]: %w", i, err)
		}
		out.keys = append(out.keys, sha256.Sum256([]byte(key)))
	}
	var err error
	if out.addresses, err = checkPrefixes("Addresses", c.Addresses); err != nil {
		return out, err
	}
	out.proxies, err = checkPrefixes("TrustedProxies", c.TrustedProxies)
	return out, err
}

// checkKey refuses a key that no header can carry, as one read from a file with
// its line end.
func checkKey(key string) error {
	switch {
	case key == "":
		return errors.New("empty")
	case strings.TrimSpace(key) != key:
		return errors.New("begins or ends with white space, which a header loses; trim it")
	case strings.ContainsFunc(key, func(r rune) bool { return r < ' ' || r == 0x7f }):
		return errors.New("holds a control character, which a header cannot carry")
	}
	return nil
}

func checkPrefixes(field string, prefixes []netip.Prefix) ([]netip.Prefix, error) {
	for i, p := range prefixes {
		switch {
		case !p.IsValid():
			return nil, fmt.Errorf("kenar: Callers.%s[%d]: not a range of addresses; use netip.ParsePrefix", field, i)
		case p.Addr().Is4In6():
			return nil, fmt.Errorf("kenar: Callers.%s[%d]: %s would match nothing; write it in IPv4", field, i, p)
		}
	}
	return slices.Clone(prefixes), nil
}

func contain(prefixes []netip.Prefix, a netip.Addr) bool {
	return slices.ContainsFunc(prefixes, func(p netip.Prefix) bool { return p.Contains(a) })
}

// check refuses a request that does not come from where it should, or does not
// say the key.
func (c *callers) check(r *http.Request) error {
	if len(c.addresses) > 0 {
		if from, ok := c.address(r); !ok || !contain(c.addresses, from) {
			return &answerError{status: http.StatusForbidden, message: "calls from this address are not taken"}
		}
	}
	if len(c.keys) == 0 {
		return nil
	}
	said := r.Header["Authorization"]
	if len(said) != 1 || !c.know(said[0]) {
		return &answerError{status: http.StatusUnauthorized, message: "Authorization: not this app's identification key"}
	}
	return nil
}

// know compares the hashes, which have one length, with all keys, so that the
// time says nothing about any.
func (c *callers) know(said string) bool {
	sum := sha256.Sum256([]byte(said))
	known := 0
	for i := range c.keys {
		known |= subtle.ConstantTimeCompare(sum[:], c.keys[i][:])
	}
	return known == 1
}

// address is where a request comes from. It is not known where a trusted proxy
// says something that is no address.
func (c *callers) address(r *http.Request) (from netip.Addr, ok bool) {
	from, ok = parseAddress(r.RemoteAddr)
	if !ok || !contain(c.proxies, from) {
		return from, ok
	}
	var hops []string
	for _, line := range r.Header["X-Forwarded-For"] {
		hops = append(hops, strings.Split(line, ",")...)
	}
	for i := len(hops) - 1; i >= 0 && ok && contain(c.proxies, from); i-- {
		from, ok = parseAddress(strings.TrimSpace(hops[i]))
	}
	return from, ok
}

// parseAddress reads an address with or without a port.
func parseAddress(text string) (netip.Addr, bool) {
	a, err := netip.ParseAddr(text)
	if err != nil {
		withPort, err := netip.ParseAddrPort(text)
		if err != nil {
			return netip.Addr{}, false
		}
		a = withPort.Addr()
	}
	return a.Unmap().WithZone(""), true
}
