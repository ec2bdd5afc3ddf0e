package panel

import (
	"context"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/openkenar/openkenar/internal/access"
	"github.com/openkenar/openkenar/internal/chat"
	"github.com/openkenar/openkenar/internal/webhook"
)

// withApp is a path of the simulator with the app that is played with.
func withApp(path, app string) string { return path + "?app=" + url.QueryEscape(app) }

// exampleCommand starts the example bot beside this server.
func exampleCommand(v played) string {
	return ". " + v.world.Env + "\ngo -C examples run ./tictactoe"
}

func sideName(ctx context.Context, side string) string {
	if side == sellerSide {
		return t(ctx, "فروشنده", "seller")
	}
	return t(ctx, "خریدار", "buyer")
}

func sideLetter(ctx context.Context, side string) string {
	name := sideName(ctx, side)
	_, n := utf8.DecodeRuneInString(name)
	return strings.ToUpper(name[:n])
}

func orSlug(display, slug string) string {
	if display != "" {
		return display
	}
	return slug
}

func firstLetter(display, slug string) string {
	r, _ := utf8.DecodeRuneInString(orSlug(display, slug))
	if isHidden(r) {
		return "?"
	}
	return strings.ToUpper(string(r))
}

// domID makes an id of ours from one that strangers chose.
func domID(prefix, id string) string {
	var b strings.Builder
	b.WriteString(prefix)
	for _, r := range id {
		if r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || r == '-' {
			b.WriteRune(r)
		} else {
			b.WriteString("_" + strconv.FormatInt(int64(r), 16) + "_")
		}
	}
	return b.String()
}

func messageID(side, id string) string { return domID(side+"-m-", id) }

func noteID(side, id string) string { return domID(side+"-n-", id) }

func buttonPath(side, message string, row, column int) string {
	return "/sim/phones/" + side + "/messages/" + url.PathEscape(message) + "/buttons/" + strconv.Itoa(row) + "/" + strconv.Itoa(column)
}

// isMine says whether a message in the conversation on the post is of a phone's
// own side.
func isMine(ph phone, m chat.Message) bool {
	return m.Sender.Side == chat.Buyer && ph.side == buyerSide || m.Sender.Side == chat.Seller && ph.side == sellerSide
}

// keyboardOf is the buttons that a message has for its reader.
func keyboardOf(m chat.Message, mine bool) []chat.Row {
	keys := m.Receiver
	switch {
	case m.User != nil:
		keys = m.User
	case mine:
		keys = m.Keyboards.Sender
	}
	if keys == nil {
		return nil
	}
	return keys.Rows
}

func buttonCaption(b chat.Button) string {
	for _, text := range []string{b.Caption, b.Icon, b.IconName} {
		if text != "" {
			return visible(text)
		}
	}
	return "•"
}

// actionWords says what a button does.
func actionWords(ctx context.Context, a chat.Action) string {
	switch {
	case a.DirectLink != "":
		return t(ctx, "پیوند مستقیم: ", "Direct link: ") + visible(a.DirectLink)
	case a.ServerLink != nil:
		return t(ctx, "برنامه می‌گوید کدام صفحه باز شود", "The app says which page opens")
	case a.DynamicAction != nil:
		return t(ctx, "برنامه می‌گوید چه شود", "The app says what happens")
	case a.PostPage != nil:
		return t(ctx, "آگهی ", "Post ") + visible(a.PostPage.Token)
	case a.PostManagePage != nil:
		return t(ctx, "مدیریت آگهی ", "Manage post ") + visible(a.PostManagePage.Token)
	}
	return ""
}

func openWords(ctx context.Context, a access.OpenAction) string {
	switch a {
	case access.StartChatBot:
		return t(ctx, "چت‌بات آغاز می‌شود", "starts the chatbot")
	case access.DirectLink:
		return t(ctx, "صفحهٔ ثابت", "opens a fixed page")
	case access.ServerLink:
	}
	return t(ctx, "برنامه نشانی را می‌گوید", "the app says which page")
}

func coordinates(l *chat.LocationData) string {
	if l.Latitude == nil || l.Longitude == nil {
		return ""
	}
	return strconv.FormatFloat(*l.Latitude, 'f', -1, 64) + ", " + strconv.FormatFloat(*l.Longitude, 'f', -1, 64)
}

// shortClock is a time of the day to the minute.
func shortClock(ctx context.Context, at time.Time) string {
	return digits(ctx, at.In(viewOf(ctx).zone).Format("15:04"))
}

// stampMinute is a day and a time to the minute.
func stampMinute(ctx context.Context, at time.Time) string {
	return date(ctx, at) + t(ctx, "، ", ", ") + shortClock(ctx, at)
}

// framed says whether a frame can show an address at all.
func framed(address string) bool {
	u, err := url.Parse(address)
	return err == nil && (u.Scheme == "http" || u.Scheme == "https")
}

func hostOf(address string) string {
	if u, err := url.Parse(address); err == nil && u.Host != "" {
		return visible(u.Host)
	}
	return visible(address)
}

func faultsLeft(faults []webhook.Fault) (n int) {
	for _, f := range faults {
		n += f.Count
	}
	return n
}

func faultKinds(ctx context.Context) []option {
	return []option{
		{string(webhook.FaultCut), t(ctx, "قطع پیش از رسیدن", "Fail: the connection is cut")},
		{string(webhook.FaultStatus), t(ctx, "پاسخ ناموفق", "Fail: answered with a status")},
		{string(webhook.FaultDropAnswer), t(ctx, "گم شدن پاسخ", "Fail: the answer is lost")},
		{string(webhook.FaultDelay), t(ctx, "کند", "Slow")},
		{string(webhook.FaultDuplicate), t(ctx, "دوبار", "Twice")},
		{string(webhook.FaultReorder), t(ctx, "جابه‌جا", "Out of order")},
	}
}

func faultCalls(ctx context.Context) []option {
	return []option{
		{"", t(ctx, "همه", "All")},
		{webhook.AnyWebhook, t(ctx, "وب‌هوک‌ها", "Webhooks")},
		{webhook.AnyCall, t(ctx, "تماس‌های هم‌زمان", "Calls that somebody waits for")},
	}
}

// faultWords is a rule in words.
func faultWords(ctx context.Context, f webhook.Fault) string {
	kinds := faultKinds(ctx)
	words := number(ctx, f.Count) + " × "
	if i := slices.IndexFunc(kinds, func(o option) bool { return o.Value == string(f.Kind) }); i >= 0 {
		words += kinds[i].Label
	}
	if f.Delay > 0 {
		words += " (" + span(ctx, f.Delay) + ")"
	}
	if f.Status > 0 {
		words += " (" + digits(ctx, strconv.Itoa(f.Status)) + ")"
	}
	for _, o := range faultCalls(ctx) {
		if o.Value == f.Type {
			return words + "، " + o.Label
		}
	}
	return words + "، " + f.Type
}

func wireID(x *webhook.Exchange) string { return editID(x.Number) }

func editID(number int64) string { return "x-" + strconv.FormatInt(number, 10) }

// milliseconds is how long something took.
func milliseconds(ctx context.Context, d time.Duration) string {
	if d >= time.Second {
		return digits(ctx, strconv.FormatFloat(d.Seconds(), 'f', 1, 64)) + t(ctx, " ثانیه", " s")
	}
	return digits(ctx, strconv.FormatFloat(float64(d.Microseconds())/1000, 'f', 1, 64)) + t(ctx, " م‌ث", " ms")
}

// outcome is how an exchange went, in a word for scripts, a colour and words.
type outcome struct {
	word string
	tone tone
	text func(ctx context.Context) string
}

func outcomeOf(x *webhook.Exchange) outcome {
	says := func(word string, of tone, persian, english string) outcome {
		return outcome{word, of, func(ctx context.Context) string { return t(ctx, persian, english) }}
	}
	status := func(word string, of tone) outcome {
		return outcome{word, of, func(ctx context.Context) string { return digits(ctx, strconv.Itoa(x.Result.Status)) }}
	}
	switch {
	case x.Moment == webhook.Began:
		return says("wait", info, "در راه", "under way")
	case x.Result.Reason == webhook.OK && x.Moment == webhook.Judged && x.Verdict.State == "exhausted":
		return says("bad", bad, "پاسخ نادرست", "wrong answer")
	case x.Result.Reason == webhook.OK:
		return status("ok", good)
	case x.Result.Status > 0:
		return status("bad", bad)
	case x.Result.Reason == webhook.TimedOut:
		return says("bad", bad, "بی‌پاسخ", "no answer in time")
	case x.Result.Reason == webhook.Refused:
		return says("bad", bad, "مجاز نیست", "may not be called")
	case x.Result.Reason == webhook.Canceled:
		return says("bad", quiet, "متوقف شد", "stopped")
	}
	return says("bad", bad, "وصل نشد", "no connection")
}

func boolWord(b bool) string { return strconv.FormatBool(b) }
