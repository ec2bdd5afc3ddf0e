package panel

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/openkenar/openkenar/internal/access"
	"github.com/openkenar/openkenar/internal/delivery"
)

// ranges are the times over which the health of an endpoint is shown.
var ranges = []struct {
	name, persian, english string
	over                   time.Duration
}{
	{"1h", "یک ساعت", "1 hour", time.Hour},
	{"24h", "یک روز", "1 day", 24 * time.Hour},
	{"7d", "یک هفته", "7 days", 7 * 24 * time.Hour},
}

func rangeOf(name string) (string, time.Duration) {
	for _, x := range ranges {
		if x.name == name {
			return x.name, x.over
		}
	}
	return ranges[1].name, ranges[1].over
}

func sentIn(pulse []delivery.Interval) (n int) {
	for _, i := range pulse {
		n += i.Sent
	}
	return n
}

func sampledIn(pulse []delivery.Interval) bool {
	for _, i := range pulse {
		if i.Sampled {
			return true
		}
	}
	return false
}

// The size of a plot, in its own units; it is scaled to the page.
const (
	plotWidth, plotHeight = 720.0, 120.0
	plotLeft, plotBottom  = 44.0, 18.0 // room for words
)

// bar is a part of a bar of a plot.
type bar struct {
	class      string
	x, y, w, h string
	words      string
}

func places(v float64) string { return strconv.FormatFloat(v, 'f', 1, 64) }

// outcomeBars are shares of outcomes in each interval; where nothing was sampled
// the height is the number of attempts.
func outcomeBars(ctx context.Context, pulse []delivery.Interval) (bars []bar, top string) {
	most := 1
	sampled := sampledIn(pulse)
	for _, i := range pulse {
		most = max(most, i.Sent)
	}
	top = number(ctx, most)
	if sampled {
		top = t(ctx, "۱۰۰٪", "100%")
	}
	step := (plotWidth - plotLeft) / float64(len(pulse))
	for n, i := range pulse {
		if i.Sent == 0 {
			continue
		}
		scale := (plotHeight - 4) / float64(most)
		if sampled {
			scale = (plotHeight - 4) / float64(i.Sent)
		}
		x, w := plotLeft+float64(n)*step+1, step-2
		words := fmt.Sprintf("%s — %s %s، %s %s", stamp(ctx, i.From), number(ctx, i.Sent-i.Failed), t(ctx, "پذیرفته", "accepted"),
			number(ctx, i.Failed), t(ctx, "ناموفق", "failed"))
		accepted, failed := float64(i.Sent-i.Failed)*scale, float64(i.Failed)*scale
		bars = append(bars,
			bar{class: "ok", x: places(x), w: places(w), y: places(plotHeight - accepted), h: places(accepted), words: words},
			bar{class: "bad", x: places(x), w: places(w), y: places(plotHeight - accepted - failed), h: places(failed), words: words})
	}
	return bars, top
}

// isolated is a text that stands alone in a picture, which is laid out from left
// to right in every language.
func isolated(ctx context.Context, text string) string {
	if viewOf(ctx).lang == English {
		return text
	}
	return "\u2067" + text + "\u2069" // right-to-left isolate
}

// latencyLine is the median of each interval as a line, broken where there was
// nothing, and the dots of what one of twenty exceeded.
func latencyLine(ctx context.Context, pulse []delivery.Interval) (path string, dots []bar, top string) {
	worst := time.Millisecond
	for _, i := range pulse {
		worst = max(worst, i.Worst)
	}
	step := (plotWidth - plotLeft) / float64(len(pulse))
	y := func(d time.Duration) float64 {
		return plotHeight - float64(d)/float64(worst)*(plotHeight-6)
	}
	var b strings.Builder
	down := false
	for n, i := range pulse {
		if i.Sent == 0 {
			down = false
			continue
		}
		x := plotLeft + (float64(n)+.5)*step
		move := "L"
		if !down {
			move = "M"
		}
		down = true
		b.WriteString(move + places(x) + " " + places(y(i.Median)) + " ")
		dots = append(dots, bar{x: places(x), y: places(y(i.Worst)), words: stamp(ctx, i.From) + " — " + span(ctx, i.Median) + " / " + span(ctx, i.Worst)})
	}
	return strings.TrimSpace(b.String()), dots, span(ctx, worst)
}

// texts are values as plain texts.
func texts[T ~string](list []T) []string {
	out := make([]string, len(list))
	for i, x := range list {
		out[i] = string(x)
	}
	return out
}

func touchpointTexts(list []access.Touchpoint) []string {
	out := make([]string, len(list))
	for i, x := range list {
		out[i] = x.Touchpoint + " → " + string(x.Action)
	}
	return out
}

// holdText is why nothing may be sent to an app.
func holdText(ctx context.Context, hold string) string {
	switch hold {
	case "the app is suspended":
		return t(ctx, "برنامه تعلیق شده است.", "The app is suspended.")
	case "the app is paused":
		return t(ctx, "برنامه ایستاده است؛ آنچه باید برسد می‌ماند تا دوباره راه بیفتد.", "The app is paused; what is to be sent waits until it is not.")
	case "the app has no event URL":
		return t(ctx, "نشانی رویداد تنظیم نشده است.", "There is no event URL.")
	}
	return hold
}

func disabledTitle(ctx context.Context, url string) string {
	if url == "" {
		return t(ctx, "نخست این نشانی را در تنظیمات بنویسید", "Set this URL in the settings first")
	}
	return ""
}

func trialText(ctx context.Context, made trial) string {
	text := span(ctx, made.result.Duration)
	if made.result.Status != 0 {
		text = t(ctx, "وضعیت ", "Status ") + digits(ctx, strconv.Itoa(made.result.Status)) + t(ctx, " در ", " in ") + text
	}
	return text
}

// readable is an answer's first bytes as text; a character that was cut in two at
// the end is left out.
func readable(answer []byte) string {
	for range utf8.UTFMax {
		if r, n := utf8.DecodeLastRune(answer); r != utf8.RuneError || n != 1 {
			break
		}
		answer = answer[:len(answer)-1]
	}
	return strings.ToValidUTF8(string(answer), "\uFFFD")
}

func openCircuits(lanes []delivery.Lane) (n int) {
	for _, l := range lanes {
		if l.Open {
			n++
		}
	}
	return n
}
