package delivery

import (
	"math/big"
	"net/http"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/openkenar/openkenar/internal/status"
	"github.com/openkenar/openkenar/internal/webhook"
)

func FuzzParseID(f *testing.F) {
	for _, seed := range []string{
		"1-sample-app", "9223372036854775807-a", "9223372036854775808-a", "0-a", "-1-a", "--a", "1-", "-", "", "1", "a-1",
		"1-a-b.c_d", "+1-a", "01-a", "1_000-a", " 1-a", "1 -a", "1-سلام", "1-\x00", "1-\xff", "0x1-a", "1e3-a",
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		id, err := ParseID(text)
		if err != nil {
			message := status.Of(err).Message
			if status.KindOf(err) != status.NotFound || !utf8.ValidString(message) {
				t.Fatalf("refused with %v", err)
			}
			if id != (ID{}) {
				t.Fatalf("refused, and yet there is %+v", id)
			}
			return
		}
		if id.App == "" || !strings.HasSuffix(text, "-"+id.App) || id.Event < 0 {
			t.Fatalf("%q became %+v", text, id)
		}
		if again, err := ParseID(id.String()); err != nil || again != id {
			t.Fatalf("%+v is written %q and read %+v (%v)", id, id, again, err)
		}
	})
}

// FuzzID: every id that there can be is read back from its text.
func FuzzID(f *testing.F) {
	f.Add(int64(1), "sample-app")
	f.Add(int64(1)<<62, "a.b-c_d")
	f.Add(int64(0), "0")
	f.Add(int64(7), "1-1")
	f.Fuzz(func(t *testing.T, event int64, app string) {
		if event < 0 || app == "" {
			return
		}
		id := ID{Event: event, App: app}
		if got, err := ParseID(id.String()); err != nil || got != id {
			t.Fatalf("%+v is written %q and read %+v (%v)", id, id, got, err)
		}
	})
}

func FuzzRetryAfter(f *testing.F) {
	const now = 1_729_429_926
	for _, seed := range []string{
		"", "0", "1", "120", "86400", "86401", "9223372036854775807", "99999999999999999999", "-1", "-9223372037", "1.5", "+5", " 5", "5 ", "0x10", "1e3",
		"Sun, 20 Oct 2024 13:12:36 GMT", "Sunday, 20-Oct-24 13:12:36 GMT", "Sun Oct 20 13:12:36 2024", "Mon, 21 Oct 2034 13:12:06 GMT",
		"Thu, 01 Jan 1970 00:00:00 GMT", "Fri, 31 Dec 9999 23:59:59 GMT", "soon", "\x00", "\xff",
	} {
		f.Add(seed, int64(now))
	}
	f.Add("Sun, 20 Oct 2024 13:12:36 GMT", int64(-1<<40))
	f.Fuzz(func(t *testing.T, header string, unix int64) {
		now := time.Unix(unix%(1<<40), 0)
		wait, ok := retryAfter(header, now)
		if !ok {
			if wait != 0 {
				t.Fatalf("%q is not understood, and yet gives %v", header, wait)
			}
			return
		}
		if wait < minRetryAfter || wait > maxRetryAfter {
			t.Fatalf("%q gives %v, out of bounds", header, wait)
		}
		if seconds, ok := new(big.Int).SetString(header, 10); ok && isDigits(header) {
			want := maxRetryAfter
			if seconds.Cmp(big.NewInt(int64(maxRetryAfter/time.Second))) < 0 {
				want = max(time.Duration(seconds.Int64())*time.Second, minRetryAfter)
			}
			if wait != want {
				t.Fatalf("%q gives %v, want %v", header, wait, want)
			}
		}
		if at, err := http.ParseTime(header); err == nil && now.Add(wait).Before(at) && wait != maxRetryAfter {
			t.Fatalf("%q at %v gives %v: too early", header, now, wait)
		}
		// The next attempt is never before that, and at most a day away.
		d := Delivery{ID: ID{Event: 1, App: "a"}}
		out := judge(d, webhook.Result{Reason: webhook.HTTPStatus, Status: http.StatusServiceUnavailable, RetryAfter: header}, now)
		if out.State != Pending || !out.NextAt.Equal(now.Add(wait)) {
			t.Fatalf("%q: %s, next at %v, want %v later", header, out.State, out.NextAt, wait)
		}
	})
}

func isDigits(s string) bool {
	return s != "" && strings.Trim(s, "0123456789") == ""
}

// TestRetryAfterOfAnySize: delay-seconds is digits alone (RFC 9110, 10.2.3), as
// many as there may be; a minus is none of them.
func TestRetryAfterOfAnySize(t *testing.T) {
	t.Parallel()
	now := time.Unix(1_729_429_926, 0)
	for _, header := range []string{"86400", "9223372036854775807", "9223372036854775808", "99999999999999999999999"} {
		if wait, ok := retryAfter(header, now); !ok || wait != maxRetryAfter {
			t.Errorf("%q: %v, %t; want the most, %v", header, wait, ok, maxRetryAfter)
		}
	}
	for _, header := range []string{"-1", "-9223372037", "-9223372036854775808", "-99999999999999999999999"} {
		if wait, ok := retryAfter(header, now); ok && wait != minRetryAfter {
			t.Errorf("%q: waits for %v", header, wait)
		}
	}
}

// TestSpreadStaysWithinTheJitter: ±20 % of each step, contract section 6.
func TestSpreadStaysWithinTheJitter(t *testing.T) {
	t.Parallel()
	for _, step := range schedule {
		low, high := step-step/5, step+step/5
		for range 1000 {
			if got := spread(step); got < low || got > high {
				t.Fatalf("%v became %v, want %v to %v", step, got, low, high)
			}
		}
	}
}
