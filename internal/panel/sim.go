package panel

import (
	"cmp"
	"context"
	"errors"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/google/uuid"

	"github.com/openkenar/openkenar/internal/access"
	"github.com/openkenar/openkenar/internal/chat"
	"github.com/openkenar/openkenar/internal/delivery"
	"github.com/openkenar/openkenar/internal/event"
	"github.com/openkenar/openkenar/internal/extension"
	"github.com/openkenar/openkenar/internal/market"
	"github.com/openkenar/openkenar/internal/status"
	"github.com/openkenar/openkenar/internal/webhook"
)

// SimOptions are what the simulator stands on, in dev mode.
type SimOptions struct {
	Market *market.Market
	Chat   *chat.Chat
	Faults *webhook.Faults
	// Advance moves the platform's clock and returns once what fell due is done.
	Advance func(ctx context.Context, by time.Duration) (time.Time, error)
	World   World
}

// World is the demo world that the simulator plays in.
type World struct {
	App, Post, Conversation string
	Seller, Buyer           string // users
	// Env is the file whose variables an app of the examples needs.
	Env string
}

// touchpoint is where the phones offer apps.
const touchpoint = "CHAT"

// The sides of the simulator: one phone each.
const (
	buyerSide  = "buyer"
	sellerSide = "seller"
)

// sim is the simulator: one person plays the marketplace and watches the app.
type sim struct {
	SimOptions
	p    *Panel
	wire *wire

	mu      sync.Mutex
	payment market.Transaction // the last that was made here
}

func newSim(p *Panel, o SimOptions) (*sim, error) {
	if o.Market == nil || o.Chat == nil || o.Faults == nil || o.Advance == nil {
		return nil, errors.New("panel: every option of the simulator is needed")
	}
	return &sim{SimOptions: o, p: p, wire: newWire(p.o.Tap, p.closed)}, nil
}

// routes are the pages of the simulator.
func (s *sim) routes() {
	for pattern, h := range map[string]handler{
		"GET /sim":      s.home,
		"GET /sim/{$}":  s.page,
		"GET /sim/live": s.live,
		"GET /sim/back": s.back,

		"POST /sim/phones/{side}/chat":                                 s.say,
		"POST /sim/phones/{side}/bot":                                  s.sayToBot,
		"POST /sim/phones/{side}/messages/{id}/buttons/{row}/{column}": s.clickMessage,
		"POST /sim/phones/{side}/notes/{id}/buttons/{n}":               s.clickNote,
		"POST /sim/phones/{side}/apps/{app}":                           s.openApp,
		"POST /sim/phones/{side}/consent":                              s.consent,
		"POST /sim/phones/{side}/revoke":                               s.revoke,
		"POST /sim/phones/{side}/expire":                               s.expire,
		"POST /sim/phones/{side}/token":                                s.giveToken,
		"POST /sim/phones/{side}/block":                                s.block,

		"POST /sim/post":         s.changePost,
		"POST /sim/payment":      s.pay,
		"POST /sim/clock":        s.moveClock,
		"POST /sim/faults":       s.addFault,
		"POST /sim/faults/clear": s.clearFaults,
		"POST /sim/app":          s.changeApp,
		"POST /sim/subscribe":    s.subscribe,

		"POST /sim/deliveries/{id}/redeliver": s.redeliver,
		"GET /sim/wire/{number}/edit":         s.editWire,
		"POST /sim/wire/{number}/resend":      s.resend,
	} {
		s.p.operators(pattern, func(w http.ResponseWriter, r *http.Request) error {
			w.Header().Set("Content-Security-Policy", simPolicy)
			return h(w, r)
		})
	}
}

// simPolicy is the policy of all pages, with frames: what an app opens is shown
// in a phone.
const simPolicy = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; font-src 'self'; connect-src 'self'; " +
	"form-action 'self'; base-uri 'none'; frame-ancestors 'none'; frame-src http: https:"

// phone is one of the two, with what it shows.
type phone struct {
	side string
	user string

	talk    []chat.Message // on the post
	blocked bool           // by this side
	bot     []chat.Message
	notes   []chat.Notification
	offers  []extension.Group
	grant   *access.Grant // to the chosen app
	problem error         // why it has no conversation
}

// played is everything that the simulator shows but the wire.
type played struct {
	world    World
	app      access.App
	apps     []access.App
	post     *market.Post // nil when it is gone
	phones   [2]phone
	now      time.Time
	ahead    time.Duration // of real time
	faults   []webhook.Fault
	payment  market.Transaction
	messages bool // the app hears of messages on the post
	changes  bool // and of its changes
}

// side returns the user of a phone that a path names.
func (s *sim) side(r *http.Request) (side, user string, err error) {
	switch side = r.PathValue("side"); side {
	case buyerSide:
		return side, s.World.Buyer, nil
	case sellerSide:
		return side, s.World.Seller, nil
	}
	return "", "", status.New(status.NotFound, "there is no phone %q; one is the buyer's, the other the seller's", side)
}

// chosen is the app that is played with.
func (s *sim) chosen(r *http.Request) string { return cmp.Or(r.URL.Query().Get("app"), s.World.App) }

// look reads what there is to show.
func (s *sim) look(ctx context.Context, app string) (v played, err error) {
	v.world, v.now, v.faults = s.World, s.p.o.Now(), s.Faults.List()
	v.ahead = time.Until(v.now).Round(time.Second)
	if v.app, err = s.p.o.Access.App(ctx, app); err != nil {
		return v, err
	}
	if v.apps, _, err = s.p.o.Access.Apps(ctx, ""); err != nil {
		return v, err
	}
	post, err := s.Market.Told(ctx, s.World.Post)
	switch {
	case err == nil:
		v.post = &post
	case status.KindOf(err) != status.NotFound:
		return v, err
	}
	if err := s.hears(ctx, &v); err != nil {
		return v, err
	}
	for i, side := range []string{buyerSide, sellerSide} {
		if v.phones[i], err = s.phone(ctx, app, side); err != nil {
			return v, err
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	v.payment = s.payment
	return v, nil
}

// hears finds out what the app has subscribed to.
func (s *sim) hears(ctx context.Context, v *played) error {
	list, _, err := s.p.o.Subscriptions.List(ctx, v.app.Slug, "")
	for _, sub := range list {
		if sub.User != s.World.Seller || sub.Resource != "" && sub.Resource != s.World.Post {
			continue
		}
		v.messages = v.messages || sub.Type == event.NewMessageOnPost
		v.changes = v.changes || sub.Type == event.PostUpdate
	}
	return err
}

func (s *sim) phone(ctx context.Context, app, side string) (ph phone, err error) {
	ph = phone{side: side, user: s.World.Buyer}
	if side == sellerSide {
		ph.user = s.World.Seller
	}
	conv, _, err := s.Chat.Of(ctx, ph.user, s.World.Conversation)
	if err != nil {
		ph.problem = err
	} else {
		if ph.talk, _, err = s.Chat.Messages(ctx, conv.ID, ""); err != nil {
			return ph, err
		}
		ph.blocked = side == buyerSide && conv.BlockedByBuyer || side == sellerSide && conv.BlockedBySeller
	}
	bot, ok, err := s.Chat.WithBot(ctx, app, ph.user)
	if err == nil && ok {
		ph.bot, _, err = s.Chat.Messages(ctx, bot, "")
	}
	if err != nil {
		return ph, err
	}
	if ph.notes, _, err = s.Chat.Notifications(ctx, ph.user, ""); err != nil {
		return ph, err
	}
	if ph.offers, err = s.p.o.Extensions.Offered(ctx, s.place(ph.user)); err != nil {
		ph.offers = nil // the post may be gone; the phone says so
		if kind := status.KindOf(err); kind == status.Internal || kind == status.Unavailable {
			return ph, err
		}
	}
	grants, err := s.p.o.Access.Grants(ctx, ph.user)
	if i := slices.IndexFunc(grants, func(g access.Grant) bool { return g.App == app }); i >= 0 {
		ph.grant = &grants[i]
	}
	return ph, err
}

// place is where a phone offers apps: in the conversation.
func (s *sim) place(user string) extension.Place {
	return extension.Place{Touchpoint: touchpoint, User: user, Conversation: s.World.Conversation}
}

// returnTo is where an app sends its user back to: a page that puts it away.
func returnTo(r *http.Request, side string) string {
	return "http://" + r.Host + "/sim/back?phone=" + side
}

func (s *sim) home(w http.ResponseWriter, r *http.Request) error { return see(w, r, "/sim/") }

func (s *sim) page(w http.ResponseWriter, r *http.Request) error {
	s.wire.open()
	v, err := s.look(r.Context(), s.chosen(r))
	if err != nil {
		return err
	}
	rows, version, left := s.wire.since(0)
	return s.p.show(w, r, http.StatusOK, simPage(v, rows, version, left))
}

// back is where apps lead their users to when they are done, in the frame of a
// phone or in a tab of its own.
func (s *sim) back(w http.ResponseWriter, r *http.Request) error {
	w.Header().Set("Content-Security-Policy", strings.Replace(simPolicy, "frame-ancestors 'none'", "frame-ancestors 'self'", 1))
	w.Header().Set("X-Frame-Options", "SAMEORIGIN")
	return s.p.show(w, r, http.StatusOK, simBack(r.URL.Query().Get("phone")))
}

// done shows what a form of the drawer has done; all that it changed follows by
// itself.
func (s *sim) done(w http.ResponseWriter, r *http.Request, persian, english string) error {
	s.wire.touch()
	return s.p.show(w, r, http.StatusOK, simDone(t(r.Context(), persian, english)))
}

// sent answers a form whose outcome shows elsewhere.
func (s *sim) sent(w http.ResponseWriter, r *http.Request) error {
	s.wire.touch()
	return s.p.show(w, r, http.StatusOK, simNothing())
}

func (s *sim) say(w http.ResponseWriter, r *http.Request) error {
	side, _, err := s.side(r)
	if err != nil {
		return err
	}
	n := chat.NewMessage{Conversation: s.World.Conversation, Sender: chat.Buyer, Content: chat.Content{Text: text(r, "text")}}
	if side == sellerSide {
		n.Sender = chat.Seller
	}
	if _, err := s.Chat.PutMessage(r.Context(), n); err != nil {
		return err
	}
	return s.sent(w, r)
}

func (s *sim) sayToBot(w http.ResponseWriter, r *http.Request) error {
	_, user, err := s.side(r)
	if err != nil {
		return err
	}
	app := s.chosen(r)
	id, ok, err := s.Chat.WithBot(r.Context(), app, user)
	switch {
	case err != nil:
		return err
	case ok:
		_, err = s.Chat.PutMessage(r.Context(), chat.NewMessage{Conversation: id, Sender: chat.User, Content: chat.Content{Text: text(r, "text")}})
	default:
		if text(r, "text") == "" {
			return status.New(status.Invalid, "text: missing or empty")
		}
		_, err = s.Chat.StartBot(r.Context(), app, user, text(r, "text"))
	}
	if err != nil {
		return err
	}
	return s.sent(w, r)
}

// text is a text of a form; browsers end its lines with CR LF.
func text(r *http.Request, name string) string {
	return strings.TrimSpace(strings.ReplaceAll(r.PostForm.Get(name), "\r\n", "\n"))
}

// opened shows on a phone what an app wants opened, or why it cannot be.
func (s *sim) opened(w http.ResponseWriter, r *http.Request, side string, o extension.Opened, err error) error {
	s.wire.touch()
	switch {
	case err != nil:
		if status.KindOf(err) == status.Internal {
			s.p.o.Log.ErrorContext(r.Context(), "the simulator cannot open an app", "err", err)
		}
		return s.p.show(w, r, http.StatusOK, stageProblem(side, status.Of(err).Message))
	case o.URL != "":
		return s.p.show(w, r, http.StatusOK, stageFrame(side, o.URL, o.Text))
	case o.Conversation != "":
		return s.p.show(w, r, http.StatusOK, stageTab(side, "bot"))
	case o.Post != "":
		post, err := s.Market.Told(r.Context(), o.Post)
		if err != nil {
			return err
		}
		return s.p.show(w, r, http.StatusOK, stagePost(side, post, o.Text))
	}
	return s.p.show(w, r, http.StatusOK, stageText(side, o.Text))
}

func (s *sim) openApp(w http.ResponseWriter, r *http.Request) error {
	side, user, err := s.side(r)
	if err != nil {
		return err
	}
	o, err := s.p.o.Extensions.Open(r.Context(), r.PathValue("app"), s.place(user), returnTo(r, side))
	return s.opened(w, r, side, o, err)
}

func (s *sim) clickMessage(w http.ResponseWriter, r *http.Request) error {
	side, user, err := s.side(r)
	if err != nil {
		return err
	}
	row, err1 := strconv.Atoi(r.PathValue("row"))
	column, err2 := strconv.Atoi(r.PathValue("column"))
	if err := cmp.Or(err1, err2); err != nil {
		return status.Wrap(status.NotFound, err, "there is no such button")
	}
	o, err := s.p.o.Extensions.ClickMessage(r.Context(), r.PathValue("id"), row, column, extension.Clicker{User: user, ReturnURL: returnTo(r, side)})
	return s.opened(w, r, side, o, err)
}

func (s *sim) clickNote(w http.ResponseWriter, r *http.Request) error {
	side, user, err := s.side(r)
	if err != nil {
		return err
	}
	n, err := strconv.Atoi(r.PathValue("n"))
	if err != nil {
		return status.Wrap(status.NotFound, err, "there is no such button")
	}
	o, err := s.p.o.Extensions.ClickNotification(r.Context(), r.PathValue("id"), n, extension.Clicker{User: user, ReturnURL: returnTo(r, side)})
	return s.opened(w, r, side, o, err)
}

// scopes are all that an app may ask for, those with an identifier for what the
// world has.
func (s *sim) scopes(app access.App) access.Scopes {
	var scopes access.Scopes
	for _, k := range access.Catalogue() {
		if !slices.Contains(app.OAuthScopes, k.Name) {
			continue
		}
		switch k.Resource {
		case access.NoResource:
			scopes = append(scopes, k.Name)
		case access.Post:
			scopes = append(scopes, k.Name+"."+s.World.Post)
		case access.Conversation:
			scopes = append(scopes, k.Name+"."+s.World.Conversation)
		}
	}
	slices.Sort(scopes)
	return scopes
}

// consent leads to where the app would send its user to ask for access.
func (s *sim) consent(w http.ResponseWriter, r *http.Request) error {
	side, _, err := s.side(r)
	if err != nil {
		return err
	}
	app, err := s.p.o.Access.App(r.Context(), s.chosen(r))
	if err != nil {
		return err
	}
	scopes := s.scopes(app)
	switch {
	case len(app.RedirectURIs) == 0:
		return s.p.show(w, r, http.StatusOK, stageProblem(side, t(r.Context(),
			"این برنامه نشانی بازگشت ندارد؛ در پنل برای آن redirect_uris بگذارید.", "The app has no redirect URI; set redirect_uris in the panel.")))
	case len(scopes) == 0:
		return s.p.show(w, r, http.StatusOK, stageProblem(side, t(r.Context(),
			"این برنامه هیچ دامنه‌ای نمی‌تواند بخواهد؛ در پنل oauth_scopes را تنظیم کنید.", "The app may ask for no scope; set oauth_scopes in the panel.")))
	}
	q := url.Values{
		"response_type": {"code"}, "client_id": {app.Slug}, "redirect_uri": {app.RedirectURIs[0]}, "scope": {strings.Join(scopes, " ")},
		"state": {"simulator"},
	}
	http.SetCookie(w, &http.Cookie{ //nolint:gosec // of the language, which the pages of the consent follow
		Name: langCookie, Value: string(viewOf(r.Context()).lang), Path: "/", MaxAge: keepChoice, SameSite: http.SameSiteLaxMode,
		HttpOnly: true, Secure: r.TLS != nil,
	})
	return s.p.show(w, r, http.StatusOK, stageFrame(side, "http://"+r.Host+"/oauth2/auth?"+q.Encode(), ""))
}

func (s *sim) revoke(w http.ResponseWriter, r *http.Request) error {
	_, user, err := s.side(r)
	if err != nil {
		return err
	}
	if err := s.p.o.Access.Revoke(r.Context(), user, s.chosen(r)); err != nil {
		return err
	}
	return s.done(w, r, "دسترسی گرفته شد؛ چیزی که به آن وابسته است دیگر فرستاده نمی‌شود.", "Access is revoked; nothing that rests on it is sent any more.")
}

func (s *sim) expire(w http.ResponseWriter, r *http.Request) error {
	_, user, err := s.side(r)
	if err != nil {
		return err
	}
	n, err := s.p.o.Access.ExpireTokens(r.Context(), s.chosen(r), user)
	if err != nil {
		return err
	}
	count := strconv.FormatInt(n, 10)
	return s.done(w, r, digits(r.Context(), count)+" توکن همین حالا پایان یافت، و اشتراک‌هایی که با آن ساخته شده بود.",
		count+" tokens ended now, and the subscriptions that were made with them.")
}

// tokenTTL is how long a token from the simulator lives.
const tokenTTL = time.Hour

func (s *sim) giveToken(w http.ResponseWriter, r *http.Request) error {
	side, user, err := s.side(r)
	if err != nil {
		return err
	}
	app, err := s.p.o.Access.App(r.Context(), s.chosen(r))
	if err != nil {
		return err
	}
	_, token, err := s.p.o.Access.IssueToken(r.Context(), app.Slug, user, s.scopes(app), tokenTTL)
	if err != nil {
		return err
	}
	s.wire.touch()
	return s.p.show(w, r, http.StatusOK, simToken("export "+strings.ToUpper(side)+"_TOKEN='"+token+"'"))
}

func (s *sim) block(w http.ResponseWriter, r *http.Request) error {
	side, _, err := s.side(r)
	if err != nil {
		return err
	}
	by, blocked := chat.Buyer, r.PostForm.Get("blocked") == "true"
	if side == sellerSide {
		by = chat.Seller
	}
	if err := s.Chat.Block(r.Context(), s.World.Conversation, by, blocked); err != nil {
		return err
	}
	if blocked {
		return s.done(w, r, "طرف مقابل مسدود شد؛ پیامش پذیرفته نمی‌شود.", "The other side is blocked; its messages are refused.")
	}
	return s.done(w, r, "دیگر مسدود نیست.", "No longer blocked.")
}

// changePost tells a change of the post: its state, or what a form gives.
func (s *sim) changePost(w http.ResponseWriter, r *http.Request) error {
	post, err := s.Market.Told(r.Context(), s.World.Post)
	if err != nil {
		return err
	}
	if state := r.PostForm.Get("state"); state != "" {
		post.State = market.PostState(state)
	}
	for name, to := range map[string]*string{"title": &post.Title, "city": &post.City, "district": &post.District, "category": &post.Category} {
		if r.PostForm.Has(name) {
			*to = text(r, name)
		}
	}
	if r.PostForm.Has("data") {
		if err := post.Data.UnmarshalJSON([]byte(text(r, "data"))); err != nil {
			return status.New(status.Invalid, "data: %s", status.Of(err).Message)
		}
	}
	if _, _, err := s.Market.PutPost(r.Context(), post); err != nil {
		return err
	}
	return s.done(w, r, "آگهی تغییر کرد.", "The post has changed.")
}

// pay makes a payment for the app, or moves the last one on.
func (s *sim) pay(w http.ResponseWriter, r *http.Request) error {
	s.mu.Lock()
	pay := s.payment
	s.mu.Unlock()
	state := market.TransactionState(r.PostForm.Get("state"))
	if state == market.TransactionPending || pay.ID == "" || pay.App != s.chosen(r) {
		cost, err := strconv.ParseInt(cmp.Or(r.PostForm.Get("cost"), "100000"), 10, 64)
		if err != nil {
			return status.Wrap(status.Invalid, err, "cost: not a number of rials")
		}
		pay = market.Transaction{ID: "sim-" + uuid.NewString()[:8], App: s.chosen(r), Type: market.Reorder, CostRials: cost}
	}
	pay.State = state
	if _, _, err := s.Market.PutTransaction(r.Context(), pay); err != nil {
		return err
	}
	s.mu.Lock()
	s.payment = pay
	s.mu.Unlock()
	return s.done(w, r, "پرداخت تغییر کرد.", "The payment has changed.")
}

// maxAdvance is the furthest that the clock moves at once.
const maxAdvance = 366 * 24 * time.Hour

func (s *sim) moveClock(w http.ResponseWriter, r *http.Request) error {
	by, err := time.ParseDuration(text(r, "advance"))
	if err != nil || by < 0 || by > maxAdvance {
		return status.New(status.Invalid, `advance: not a span of time up to a year; write "90s", "15m" or "24h"`)
	}
	if _, err := s.Advance(r.Context(), by); err != nil {
		return err
	}
	return s.done(w, r, "ساعت جلو رفت و آنچه سررسیدش رسیده بود انجام شد.", "The clock has moved, and what fell due is done.")
}

func (s *sim) addFault(w http.ResponseWriter, r *http.Request) error {
	f := webhook.Fault{Kind: webhook.FaultKind(r.PostForm.Get("fault")), Type: r.PostForm.Get("calls")}
	var err error
	if f.Count, err = strconv.Atoi(cmp.Or(r.PostForm.Get("count"), "1")); err != nil {
		return status.Wrap(status.Invalid, err, "count: not a number")
	}
	if f.Kind == webhook.FaultStatus {
		if f.Status, err = strconv.Atoi(cmp.Or(r.PostForm.Get("status"), "500")); err != nil {
			return status.Wrap(status.Invalid, err, "status: not a number")
		}
	}
	if d := text(r, "delay"); d != "" && (f.Kind == webhook.FaultDelay || f.Kind == webhook.FaultReorder) {
		if f.Delay, err = time.ParseDuration(d); err != nil {
			return status.Wrap(status.Invalid, err, `delay: not a span of time; write "3s"`)
		}
	}
	if _, err := s.Faults.Add(f); err != nil {
		return err
	}
	return s.done(w, r, "از تماس بعدی اثر می‌کند.", "It takes effect with the next call.")
}

func (s *sim) clearFaults(w http.ResponseWriter, r *http.Request) error {
	s.Faults.Clear(0)
	return s.done(w, r, "همه چیز دوباره درست کار می‌کند.", "Everything goes well again.")
}

// changeApp sets where the app is called.
func (s *sim) changeApp(w http.ResponseWriter, r *http.Request) error {
	_, err := s.p.o.Access.UpdateApp(r.Context(), s.chosen(r), func(a *access.App) error {
		a.EventURL, a.DynamicActionURL, a.SessionInitializationURL = text(r, "event_url"), text(r, "action_url"), text(r, "init_url")
		return nil
	})
	if err != nil {
		return err
	}
	return s.done(w, r, "نشانی‌های برنامه ذخیره شد.", "The app's addresses are saved.")
}

// subscribe does for the app what it would do with the seller's token: hear of
// messages and changes of the post.
func (s *sim) subscribe(w http.ResponseWriter, r *http.Request) error {
	app, err := s.p.o.Access.App(r.Context(), s.chosen(r))
	if err != nil {
		return err
	}
	scopes := s.scopes(app)
	token, _, err := s.p.o.Access.IssueToken(r.Context(), app.Slug, s.World.Seller, scopes, subscribeTTL)
	if err != nil {
		return err
	}
	holder := token.Holder(access.Key{AppEventURL: app.EventURL != ""})
	for _, typ := range []event.Type{event.NewMessageOnPost, event.PostUpdate} {
		if err := s.p.o.Subscriptions.Register(r.Context(), holder, event.Registration{Type: typ, Resource: s.World.Post}); err != nil {
			return err
		}
	}
	return s.done(w, r, "برنامه از پیام‌ها و تغییرهای این آگهی باخبر می‌شود.", "The app now hears of messages on this post and of its changes.")
}

// subscribeTTL is how long the simulator's subscriptions live.
const subscribeTTL = 30 * 24 * time.Hour

// redeliver sends a delivery of the log again, or repeats a call.
func (s *sim) redeliver(w http.ResponseWriter, r *http.Request) error {
	id, err := delivery.ParseID(r.PathValue("id"))
	if err != nil {
		return err
	}
	d, _, err := s.p.o.Deliveries.Get(r.Context(), id)
	if err != nil {
		return err
	}
	if event.Type(d.Type).IsCall() {
		err = s.p.o.Extensions.Repeat(r.Context(), id)
	} else {
		_, err = s.p.o.Deliveries.Redeliver(r.Context(), id)
	}
	if err != nil {
		return err
	}
	return s.done(w, r, "دوباره فرستاده شد؛ بالای فهرست است.", "Sent again; see the top of the list.")
}

func (s *sim) exchange(r *http.Request) (*webhook.Exchange, error) {
	number, err := strconv.ParseInt(r.PathValue("number"), 10, 64)
	if err == nil {
		if x, ok := s.wire.row(number); ok {
			return x, nil
		}
	}
	return nil, status.New(status.NotFound, "this exchange is no longer remembered; find its delivery in the panel")
}

func (s *sim) editWire(w http.ResponseWriter, r *http.Request) error {
	x, err := s.exchange(r)
	if err != nil {
		return err
	}
	return s.p.show(w, r, http.StatusOK, wireEdit(x.Number, laidOut(string(x.Body))))
}

// maxTyped is the longest body that is sent by hand, in bytes.
const maxTyped = 256 << 10

// resend sends what was typed to the app's event URL, signed like a webhook and
// under an id that says that it is a test.
func (s *sim) resend(w http.ResponseWriter, r *http.Request) error {
	x, err := s.exchange(r)
	if err != nil {
		return err
	}
	body := text(r, "body")
	if len(body) > maxTyped {
		return status.New(status.TooLarge, "body: %d bytes, want at most %d", len(body), maxTyped)
	}
	res, err := s.p.o.Engine.Test(r.Context(), x.App, "test-"+uuid.NewString(), []byte(body))
	if err != nil {
		return err
	}
	if res.Reason != webhook.OK {
		s.wire.touch()
		return s.p.show(w, r, http.StatusOK, problem(res.Error))
	}
	return s.done(w, r, "فرستاده شد؛ پاسخ بالای فهرست است.", "Sent; the answer is at the top of the list.")
}
