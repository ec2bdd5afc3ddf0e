package panel

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/openkenar/openkenar/internal/account"
)

// Language is a language of the pages.
type Language string

// The languages. Persian is written from right to left, with its own digits and
// the solar calendar.
const (
	Persian Language = "fa"
	English Language = "en"
)

// view is what every page and part of one needs to know of its reader. It comes
// with the context of a component.
type view struct {
	lang  Language
	theme string // "light" or "dark"; "" follows the system
	now   time.Time
	zone  *time.Location
	who   account.Account
	csrf  string
	path  string // of the page, escaped
	query string // of the page, without lang and theme
	dev   bool
}

type viewKey struct{}

func withView(ctx context.Context, v view) context.Context {
	return context.WithValue(ctx, viewKey{}, v)
}

func viewOf(ctx context.Context) view {
	v, ok := ctx.Value(viewKey{}).(view)
	if !ok {
		return view{lang: Persian, zone: time.UTC}
	}
	return v
}

// t returns the text of the reader's language.
func t(ctx context.Context, persian, english string) string {
	if viewOf(ctx).lang == English {
		return english
	}
	return persian
}

// dir is the direction of the reader's language.
func dir(ctx context.Context) string { return t(ctx, "rtl", "ltr") }

var persianDigits = strings.NewReplacer("0", "۰", "1", "۱", "2", "۲", "3", "۳", "4", "۴", "5", "۵", "6", "۶", "7", "۷", "8", "۸", "9", "۹")

// digits writes the digits of a text in those of the reader's language. It is for
// numbers and times; ids and payloads keep theirs.
func digits(ctx context.Context, text string) string {
	if viewOf(ctx).lang == English {
		return text
	}
	return persianDigits.Replace(text)
}

// number writes a number in groups of three.
func number[N ~int | ~int64](ctx context.Context, n N) string {
	text := strconv.FormatInt(int64(n), 10)
	sign := ""
	if strings.HasPrefix(text, "-") {
		sign, text = "-", text[1:]
	}
	separator := t(ctx, "٬", ",")
	var groups []string
	for len(text) > 3 {
		groups = append([]string{text[len(text)-3:]}, groups...)
		text = text[:len(text)-3]
	}
	return sign + digits(ctx, strings.Join(append([]string{text}, groups...), separator))
}

// date writes the day of a moment: the solar one in Persian.
func date(ctx context.Context, at time.Time) string {
	at = at.In(viewOf(ctx).zone)
	if viewOf(ctx).lang == English {
		return at.Format("2 Jan 2006")
	}
	s := solarOf(at)
	return digits(ctx, fmt.Sprintf("%d %s %d", s.day, solarMonths[s.month-1], s.year))
}

// clock writes the time of the day of a moment, to the second.
func clock(ctx context.Context, at time.Time) string {
	return digits(ctx, at.In(viewOf(ctx).zone).Format("15:04:05"))
}

// stamp writes a moment: its day, unless that is today, and the time.
func stamp(ctx context.Context, at time.Time) string {
	if at.IsZero() {
		return "—"
	}
	now := viewOf(ctx).now.In(viewOf(ctx).zone)
	local := at.In(viewOf(ctx).zone)
	if now.Year() == local.Year() && now.YearDay() == local.YearDay() {
		return clock(ctx, at)
	}
	return date(ctx, at) + t(ctx, "، ", ", ") + clock(ctx, at)
}

// exact writes a moment for machines and for the curious.
func exact(at time.Time) string {
	if at.IsZero() {
		return ""
	}
	return at.UTC().Format("2006-01-02T15:04:05.000000Z")
}

// span writes a length of time in its largest unit, or two where that tells more.
func span(ctx context.Context, d time.Duration) string {
	type unit struct {
		of              time.Duration
		persian, one, n string
	}
	units := [...]unit{
		{24 * time.Hour, "روز", "day", "days"},
		{time.Hour, "ساعت", "hour", "hours"},
		{time.Minute, "دقیقه", "minute", "minutes"},
		{time.Second, "ثانیه", "second", "seconds"},
	}
	if d < 0 {
		d = -d
	}
	if d > 0 && d < time.Millisecond {
		return t(ctx, "کمتر از ۱ میلی‌ثانیه", "under 1 ms")
	}
	if d < time.Second {
		return digits(ctx, strconv.FormatInt(d.Milliseconds(), 10)) + " " + t(ctx, "میلی‌ثانیه", "ms")
	}
	name := func(u unit, n time.Duration) string {
		if n == 1 {
			return t(ctx, u.persian, u.one)
		}
		return t(ctx, u.persian, u.n)
	}
	for i, u := range units {
		n := d / u.of
		if n == 0 {
			continue
		}
		parts := []string{number(ctx, int64(n)) + " " + name(u, n)}
		for _, next := range units[i+1 : min(i+2, len(units))] {
			if rest := d % u.of / next.of; n < 3 && rest > 0 {
				parts = append(parts, number(ctx, int64(rest))+" "+name(next, rest))
			}
		}
		return strings.Join(parts, t(ctx, " و ", " "))
	}
	return ""
}

// ago writes how far a moment is from now.
func ago(ctx context.Context, at time.Time) string {
	if at.IsZero() {
		return t(ctx, "هرگز", "never")
	}
	d := viewOf(ctx).now.Sub(at)
	switch {
	case d >= 0 && d < time.Second:
		return t(ctx, "هم‌اکنون", "just now")
	case d >= 0:
		return span(ctx, d) + t(ctx, " پیش", " ago")
	default:
		return t(ctx, "تا ", "in ") + span(ctx, d) + t(ctx, " دیگر", "")
	}
}
