package server

import (
	"net/http"
	"net/http/httptest"
	"net/netip"
	"testing"
)

func TestForwarded(t *testing.T) {
	t.Parallel()
	trusted := []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8"), netip.MustParsePrefix("fd00::/8")}
	for name, tt := range map[string]struct {
		from   string
		header []string
		want   string
	}{
		"a stranger's word counts for nothing":  {"203.0.113.9:4000", []string{"198.51.100.1"}, "203.0.113.9:4000"},
		"a proxy says who it is":                {"10.0.0.2:4000", []string{"198.51.100.1"}, "198.51.100.1:0"},
		"a proxy on IPv6":                       {"[fd00::2]:4000", []string{"2001:db8::1"}, "[2001:db8::1]:0"},
		"an IPv4 address as IPv6":               {"[::ffff:10.0.0.2]:4000", []string{"::ffff:198.51.100.1"}, "198.51.100.1:0"},
		"two proxies":                           {"10.0.0.2:4000", []string{"198.51.100.1, 10.0.0.3"}, "198.51.100.1:0"},
		"what the client wrote is not believed": {"10.0.0.2:4000", []string{"192.0.2.66", "198.51.100.1"}, "198.51.100.1:0"},
		"all of it ours":                        {"10.0.0.2:4000", []string{"10.0.0.4, 10.0.0.3"}, "10.0.0.4:0"},
		"with ports":                            {"10.0.0.2:4000", []string{"198.51.100.1:5000"}, "198.51.100.1:0"},
		"with brackets":                         {"10.0.0.2:4000", []string{"[2001:db8::1]:5000"}, "[2001:db8::1]:0"},
		"no header":                             {"10.0.0.2:4000", nil, "10.0.0.2:0"},
		"nonsense":                              {"10.0.0.2:4000", []string{"198.51.100.1, unknown"}, "10.0.0.2:0"},
		"nonsense before a proxy of ours":       {"10.0.0.2:4000", []string{"unknown, 10.0.0.3"}, "10.0.0.3:0"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var got string
			h := forwarded(trusted, http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { got = r.RemoteAddr }))
			r := httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/panel/", nil)
			r.RemoteAddr = tt.from
			r.Header["X-Forwarded-For"] = tt.header
			h.ServeHTTP(httptest.NewRecorder(), r)
			if got != tt.want {
				t.Errorf("comes from %s, want %s", got, tt.want)
			}
			if r.RemoteAddr != tt.from {
				t.Error("the request itself was changed")
			}
		})
	}
}

// FuzzForwarded: whatever a stranger writes, it comes from the address that the
// trusted proxy saw.
func FuzzForwarded(f *testing.F) {
	f.Add("198.51.100.1, ")
	f.Add("[2001:db8::1]:80,,unknown")
	trusted := []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8")}
	f.Fuzz(func(t *testing.T, written string) {
		h := forwarded(trusted, http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
			if r.RemoteAddr != "203.0.113.9:0" {
				t.Errorf("%q makes it come from %s", written, r.RemoteAddr)
			}
		}))
		r := httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/", nil)
		r.RemoteAddr = "10.0.0.2:4000"
		r.Header["X-Forwarded-For"] = []string{written, "203.0.113.9"}
		h.ServeHTTP(httptest.NewRecorder(), r)
	})
}
