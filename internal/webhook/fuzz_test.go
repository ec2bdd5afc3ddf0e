package webhook_test

import (
	"net/netip"
	"net/url"
	"slices"
	"strings"
	"testing"

	"github.com/openkenar/openkenar/internal/status"
	"github.com/openkenar/openkenar/internal/webhook"
)

// FuzzCheckURL: nothing is allowed to one guard, loopback to the other.
func FuzzCheckURL(f *testing.F) {
	for _, seed := range []string{
		"https://app.example.com/events", "http://app.example.com/", "https://app.example.com:8443/?a=b", "https://8.8.8.8/", "http://8.8.8.8/",
		"https://127.0.0.1/", "http://127.0.0.1:8000/", "https://localhost/", "http://localhost:8000/", "https://[::1]/", "http://[::1]:80/",
		"https://[::ffff:127.0.0.1]/", "https://10.0.0.1/", "https://172.16.0.1/", "https://192.168.1.1/", "https://169.254.169.254/latest/meta-data/",
		"https://0.0.0.0/", "https://[::]/", "https://100.64.0.1/", "https://[fe80::1%25eth0]/", "https://[fe80::1%25%cc]/", "https://[fc00::1]/", "https://[64:ff9b::7f00:1]/",
		"https://[2002:7f00:1::]/", "https://224.0.0.1/", "https://255.255.255.255/", "https://192.0.2.1/", "https://2130706433/", "https://0x7f.1/", "https://127.1/",
		"https://[2606:4700:4700::1111]/", "https://user:password@app.example.com/", "https://user@app.example.com/", "https://@app.example.com/",
		"https://app.example.com/#fragment", "https://app.example.com/#", "ftp://app.example.com/", "file:///etc/passwd", "//app.example.com/", "/events", "",
		"https://", "https:///events", "https://:443/", "https:app.example.com", "HTTPS://APP.EXAMPLE.COM/", "https://app.example.com:99999/", "https://app.example.com:x/",
		"https://\x00/", "https://app.example.com/\n", "https://پ.example/", "https://app.example.com\\@127.0.0.1/", "https://127.0.0.1%2f.example.com/", " https://app.example.com/",
		"https://" + strings.Repeat("a", 3000) + "/", "javascript:alert(1)", "https://%6c%6f%63%61%6c%68%6f%73%74/",
	} {
		f.Add(seed)
	}
	closed, dev := webhook.NewGuard(), webhook.NewGuard(webhook.Loopback()...)
	f.Fuzz(func(t *testing.T, raw string) {
		errClosed, errDev := closed.CheckURL("event_url", raw), dev.CheckURL("event_url", raw)
		for _, err := range []error{errClosed, errDev} {
			if err == nil {
				continue
			}
			message := status.Of(err).Message
			if status.KindOf(err) != status.Invalid || !strings.HasPrefix(message, "event_url: ") {
				t.Fatalf("%q is refused with %v", raw, err)
			}
		}
		if errClosed == nil && errDev != nil {
			t.Fatalf("%q may be called in general and not in dev mode: %v", raw, errDev)
		}
		if errDev != nil {
			return
		}
		u, err := url.Parse(raw)
		if err != nil || u.Scheme != "https" && u.Scheme != "http" || u.Hostname() == "" || u.User != nil || u.Fragment != "" || len(raw) > 2048 {
			t.Fatalf("accepted %q (%v)", raw, err)
		}
		if errClosed == nil && u.Scheme != "https" {
			t.Fatalf("plain http is accepted without a range: %q", raw)
		}
		ip, err := netip.ParseAddr(u.Hostname())
		if err != nil {
			return // a name: its addresses are judged at connect time
		}
		loopback := slices.ContainsFunc(webhook.Loopback(), func(p netip.Prefix) bool { return p.Contains(ip) })
		if u.Scheme == "http" && !loopback || !loopback && errClosed != nil {
			t.Fatalf("dev mode allows %q, which is no loopback", raw)
		}
		if errClosed == nil && !public(ip) {
			t.Fatalf("accepted %q: %s is not public", raw, ip)
		}
	})
}

// public says by other means than the guard's whether an address may belong to
// somebody out there.
func public(ip netip.Addr) bool {
	ip = ip.Unmap()
	return ip.Zone() == "" && ip.IsGlobalUnicast() && !ip.IsPrivate() && !ip.IsLoopback() && !ip.IsLinkLocalUnicast() &&
		ip != netip.AddrFrom4([4]byte{255, 255, 255, 255}) && !netip.MustParsePrefix("100.64.0.0/10").Contains(ip) &&
		!netip.MustParsePrefix("0.0.0.0/8").Contains(ip) && !netip.MustParsePrefix("64:ff9b::/96").Contains(ip)
}

func TestGuardAllowsEveryRangeItWasGiven(t *testing.T) {
	t.Parallel()
	guard := webhook.NewGuard(
		netip.MustParsePrefix("127.0.0.0/8"), netip.MustParsePrefix("::1/128"),
		netip.MustParsePrefix("10.1.0.0/16"), netip.MustParsePrefix("192.168.7.0/24"), netip.MustParsePrefix("fd00:7::/32"),
	)
	for _, host := range []string{"127.0.0.1", "[::1]", "10.1.2.3", "192.168.7.8", "[fd00:7::1]", "localhost"} {
		for _, scheme := range []string{"http", "https"} {
			if err := guard.CheckURL("event_url", scheme+"://"+host+"/"); err != nil {
				t.Errorf("%s://%s is within the ranges: %v", scheme, host, err)
			}
		}
	}
	for _, host := range []string{"10.2.0.1", "192.168.8.1", "[fd00:8::1]", "169.254.169.254", "[fe80::1]", "0.0.0.0"} {
		if err := guard.CheckURL("event_url", "https://"+host+"/"); err == nil {
			t.Errorf("https://%s is out of the ranges and not public", host)
		}
	}
}

// TestGuardKnowsTheNamesOfLoopback: names have no letter case, may end in a dot,
// and all of .localhost is loopback (RFC 6761, 6.3).
func TestGuardKnowsTheNamesOfLoopback(t *testing.T) {
	t.Parallel()
	for _, host := range []string{"localhost", "LOCALHOST", "localhost.", "app.localhost"} {
		if err := webhook.NewGuard().CheckURL("event_url", "https://"+host+"/"); status.KindOf(err) != status.Invalid {
			t.Errorf("https://%s is accepted where nothing is allowed", host)
		}
		if err := webhook.NewGuard(webhook.Loopback()...).CheckURL("event_url", "http://"+host+"/"); err != nil {
			t.Errorf("http://%s is refused where loopback is allowed: %v", host, err)
		}
	}
}
