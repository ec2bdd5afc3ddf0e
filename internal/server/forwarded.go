package server

import (
	"net"
	"net/http"
	"net/netip"
	"slices"
	"strings"
)

// forwarded lets a request that comes through proxies of ours come from whom
// they say: of the addresses in X-Forwarded-For, read from its end, the first
// that is not a trusted proxy's. What stands before that anybody may have
// written. From others the header counts for nothing.
func forwarded(trusted []netip.Prefix, next http.Handler) http.Handler {
	if len(trusted) == 0 {
		return next
	}
	ours := func(a netip.Addr) bool {
		return slices.ContainsFunc(trusted, func(p netip.Prefix) bool { return p.Contains(a) })
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		from, err := netip.ParseAddrPort(r.RemoteAddr)
		if err != nil || !ours(from.Addr().Unmap()) {
			next.ServeHTTP(w, r)
			return
		}
		seen := from.Addr().Unmap()
		hops := strings.Split(strings.Join(r.Header.Values("X-Forwarded-For"), ","), ",")
		for _, hop := range slices.Backward(hops) {
			a, err := hopAddress(strings.TrimSpace(hop))
			if err != nil {
				break
			}
			if seen = a; !ours(a) {
				break
			}
		}
		r = r.WithContext(r.Context()) // a copy
		r.RemoteAddr = netip.AddrPortFrom(seen, 0).String()
		next.ServeHTTP(w, r)
	})
}

// hopAddress reads an address as proxies write it, some of them with a port.
func hopAddress(hop string) (netip.Addr, error) {
	if host, _, err := net.SplitHostPort(hop); err == nil {
		hop = host
	}
	a, err := netip.ParseAddr(strings.Trim(hop, "[]"))
	return a.Unmap().WithZone(""), err
}
