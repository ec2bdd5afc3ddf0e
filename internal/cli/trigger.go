package cli

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/openkenar/openkenar/internal/delivery"
	"github.com/openkenar/openkenar/internal/event"
)

const (
	// outcomeWait is how long trigger waits for what becomes of deliveries, and
	// outcomeLook how often it looks.
	outcomeWait = 30 * time.Second
	outcomeLook = 50 * time.Millisecond
)

// triggerWorld names what happens, and to whom.
type triggerWorld struct {
	Post            string `help:"The post. Default: that of the demo world, as the others." placeholder:"TOKEN" group:"Where"`
	Conversation    string `help:"The conversation on a post." placeholder:"ID" group:"Where"`
	BotConversation string `help:"The conversation with the app's bot." placeholder:"ID" group:"Where"`
	User            string `help:"Who owns the post, and takes access away." placeholder:"ID" group:"Where"`
	App             string `help:"The app that is paid, or loses access." placeholder:"SLUG" group:"Where"`
}

type triggerCmd struct {
	Type   string    `arg:"" optional:"" help:"What shall happen; --list tells all."`
	List   bool      `help:"List what can happen."`
	Set    []string  `sep:"none" help:"Another value in what is sent, a dotted path and JSON or text. Repeatable." placeholder:"PATH=VALUE"`
	Count  int       `default:"1" help:"How often."`
	Rate   float64   `help:"How often a second. Default: one after another." placeholder:"N"`
	Wait   bool      `help:"Wait for what becomes of the deliveries, up to 30 s, and fail unless all are accepted."`
	DryRun bool      `help:"Only show what would be sent."`
	JSON   bool      `name:"json" help:"Print JSON, one event a line."`
	Server serverURL `config:"" help:"The running server. Default: that of DATA/dev.json, of openkenar dev." placeholder:"URL"`
	triggerWorld
	HostKeyFile string `config:"" help:"File with the host key. Default: OPENKENAR_HOST_KEY, else DATA/host.key, else that of DATA/dev.json." placeholder:"FILE"`
	Data        string `config:"" default:".openkenar" help:"Data directory of openkenar dev, or of the server." type:"path" placeholder:"DIR"`
}

// Help says what is real.
func (triggerCmd) Help() string {
	return `It tells the platform through the host API that something happened, as a marketplace does. So the whole chain runs: the event, who hears of it, and the webhooks. What became of it is said for each app concerned, with the way out where an app was not told.

A type is one of --list. What is sent is seen with --dry-run, and changed with --set, as in --set text=Salam or --set data.price=1000.

A message, a change and a payment are one more of their kind. USER_ACCESS_REVOCATION really takes the app's access away: its tokens and subscriptions of that user are dead, until a restart of dev mode makes new tokens.`
}

// Validate refuses what means nothing.
func (t triggerCmd) Validate() error {
	switch {
	case t.Type == "" && !t.List:
		return errors.New("name what shall happen; openkenar trigger --list tells what can")
	case t.Count < 1:
		return errors.New("--count: a number from 1")
	case t.Rate < 0:
		return errors.New("--rate: more than 0")
	default:
		return nil
	}
}

// Run makes something happen.
func (t triggerCmd) Run(ctx context.Context, c *call) error {
	if t.List {
		return t.list(c)
	}
	f, err := findFixture(t.Type)
	if err != nil {
		return err
	}
	if f, err = f.with(t.Set); err != nil {
		return err
	}
	if f.once && t.Count > 1 {
		return fmt.Errorf("--count: %s happens once", f.name)
	}
	r := &triggering{triggerCmd: t, fixture: f, c: c}
	if err := r.find(); err != nil {
		return err
	}
	pace := make(<-chan time.Time)
	if t.Rate > 0 {
		tick := time.NewTicker(max(time.Duration(float64(time.Second)/t.Rate), time.Microsecond))
		defer tick.Stop()
		pace = tick.C
	}
	failed := false
	for i := range t.Count {
		if i > 0 && t.Rate > 0 {
			select {
			case <-pace:
			case <-ctx.Done():
				return ctx.Err()
			}
		}
		good, err := r.once(ctx, strconv.FormatInt(time.Now().UnixMicro(), 36)+strconv.Itoa(i))
		if err != nil {
			return err
		}
		failed = failed || !good
	}
	if f.effect != "" && !t.DryRun {
		_, _ = fmt.Fprintln(c.Err, f.effect)
	}
	if failed && t.Wait {
		return errFound
	}
	return nil
}

// list tells all that can happen.
func (t triggerCmd) list(c *call) error {
	table := [][]string{{"TYPE", "WHAT HAPPENS"}}
	for _, f := range fixtures() {
		if t.JSON {
			if err := json.NewEncoder(c.Out).Encode(map[string]any{"type": f.name, "what": f.what, "body": json.RawMessage(cmp.Or(f.body, "null"))}); err != nil {
				return err
			}
			continue
		}
		table = append(table, []string{f.name, f.what})
	}
	if t.JSON {
		return nil
	}
	_, err := io.WriteString(c.Out, columns(table))
	return err
}

// triggering is a call of trigger at work.
type triggering struct {
	triggerCmd
	fixture fixture
	host    hostFlags
	key     string
	dev     bool // the world is the demo one
	c       *call
}

// find finds the server, its key, and the world where that is a demo one.
func (r *triggering) find() (err error) {
	r.host = hostFlags{Server: r.Server, HostKeyFile: r.HostKeyFile, Data: r.Data}
	dev, err := readDev(r.Data)
	if err != nil && r.Server == "" {
		return fmt.Errorf("%w; or give --server and --host-key-file", err)
	}
	if r.dev = err == nil && (r.Server == "" || string(r.Server) == dev.BaseURL); r.dev {
		r.host.Server = serverURL(dev.BaseURL)
		w := &r.triggerWorld
		w.Post, w.Conversation, w.BotConversation = cmp.Or(w.Post, dev.PostToken), cmp.Or(w.Conversation, dev.ConversationID), cmp.Or(w.BotConversation, dev.BotConversationID)
		w.User, w.App = cmp.Or(w.User, dev.Users.Seller.ID), cmp.Or(w.App, dev.App.Slug)
		if r.HostKeyFile == "" && r.c.env[envHostKey] == "" {
			r.key = dev.HostKey
		}
	}
	if r.key == "" && !r.DryRun {
		r.key, err = r.host.hostKey(r.c)
		return err
	}
	return nil
}

// verdict is what an event means for an app.
type verdict struct {
	App        string  `json:"app"`
	State      string  `json:"state"`
	Reason     string  `json:"reason"`
	DeliveryID *string `json:"delivery_id"`
}

// triggered is an event, and what became of it.
type triggered struct {
	EventID  string    `json:"event_id"`
	Type     string    `json:"type"`
	Verdicts []verdict `json:"verdicts"`
}

// once makes it happen, and says whether every app that was to hear of it has.
func (r *triggering) once(ctx context.Context, n string) (good bool, err error) {
	path := make([]string, len(r.fixture.path))
	for i, segment := range r.fixture.path {
		if path[i], err = r.in(segment, n); err != nil {
			return false, err
		}
	}
	body, err := r.in(r.fixture.body, n)
	if err != nil {
		return false, err
	}
	call := hostCall{method: r.fixture.method, path: hostPath(path...)}
	if body != "" {
		call.in = json.RawMessage(body)
	}
	if r.DryRun {
		_, err := fmt.Fprintf(r.c.Out, "%s %s\n%s\n", call.method, call.path, body)
		return true, err
	}
	before := "" // the revocation before, if there was one
	if r.fixture.typ == event.UserAccessRevocation {
		if err := r.granted(ctx); err != nil {
			return false, err
		}
		if before, err = r.revocation(ctx); err != nil {
			return false, err
		}
	}
	answer, err := r.host.send(ctx, r.key, call)
	if err != nil {
		return false, err
	}
	var out struct {
		EventID string `json:"event_id"`
	}
	if err := json.Unmarshal(answer, &out); err != nil {
		return false, fmt.Errorf("the answer is not that of the host API: %w; does --server name an OpenKenar server?", err)
	}
	t := triggered{EventID: out.EventID, Type: string(r.fixture.typ), Verdicts: []verdict{}}
	if r.fixture.typ == event.UserAccessRevocation {
		if t.EventID, err = r.revocation(ctx); err != nil {
			return false, err
		}
		if t.EventID == before {
			t.EventID = ""
			if t.Verdicts, err = r.silence(ctx); err != nil {
				return false, err
			}
		}
	}
	if t.EventID != "" {
		if t.Verdicts, err = r.verdicts(ctx, t.EventID); err != nil {
			return false, err
		}
	}
	good = !slices.ContainsFunc(t.Verdicts, func(v verdict) bool { return v.State != "delivered" }) && len(t.Verdicts) > 0
	if r.JSON {
		return good, json.NewEncoder(r.c.Out).Encode(t)
	}
	_, err = io.WriteString(r.c.Out, r.told(t))
	return good, err
}

// get reads something from the host API.
func (r *triggering) get(ctx context.Context, query url.Values, out any, path ...string) error {
	answer, err := r.host.send(ctx, r.key, hostCall{method: http.MethodGet, path: hostPath(path...), query: query})
	if err != nil {
		return err
	}
	return json.Unmarshal(answer, out)
}

// verdicts returns what became of an event; with --wait once all is decided.
func (r *triggering) verdicts(ctx context.Context, id string) ([]verdict, error) {
	enough, look := time.NewTimer(outcomeWait), time.NewTicker(outcomeLook)
	defer enough.Stop()
	defer look.Stop()
	for {
		var out struct {
			Verdicts []verdict `json:"verdicts"`
		}
		if err := r.get(ctx, nil, &out, "events", id); err != nil {
			return nil, err
		}
		if !r.Wait || !slices.ContainsFunc(out.Verdicts, func(v verdict) bool { return v.State == "pending" }) {
			return out.Verdicts, nil
		}
		select {
		case <-look.C:
		case <-enough.C:
			return out.Verdicts, nil
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

// granted explains why there is nothing to take away.
func (r *triggering) granted(ctx context.Context) error {
	var out struct {
		Grants []struct{ App string } `json:"grants"`
	}
	if err := r.get(ctx, nil, &out, "users", r.User, "grants"); err != nil {
		return err
	}
	for _, g := range out.Grants {
		if g.App == r.App {
			return nil
		}
	}
	again := "let the user grant it access first"
	if r.dev {
		again += ", or restart openkenar dev"
	}
	return fmt.Errorf("%s has granted %s nothing that could be taken away: %s", r.User, r.App, again)
}

// revocation finds the newest revocation of the app's; "" where there is none that
// makes a delivery.
func (r *triggering) revocation(ctx context.Context) (string, error) {
	var out struct {
		Deliveries []struct {
			EventID string `json:"event_id"`
			Type    string `json:"type"`
		} `json:"deliveries"`
	}
	if err := r.get(ctx, url.Values{"app": {r.App}}, &out, "deliveries"); err != nil {
		return "", err
	}
	for _, d := range out.Deliveries {
		if d.Type == string(event.UserAccessRevocation) {
			return d.EventID, nil
		}
	}
	return "", nil
}

// silence is why an app is not told of a revocation: only deliveries are listed.
func (r *triggering) silence(ctx context.Context) ([]verdict, error) {
	var app struct {
		EventURL string `json:"event_url"`
	}
	if err := r.get(ctx, nil, &app, "apps", r.App); err != nil || app.EventURL != "" {
		return []verdict{}, err
	}
	return []verdict{{App: r.App, State: string(delivery.Skipped), Reason: delivery.ReasonNoURL}}, nil
}

// told is an event and its verdicts in words.
func (r *triggering) told(t triggered) string {
	var b strings.Builder
	b.WriteString(t.Type)
	if t.EventID != "" {
		b.WriteString(" event " + plain(t.EventID))
	}
	b.WriteString("\n")
	if len(t.Verdicts) == 0 {
		b.WriteString("  no app hears of it: " + r.unheard() + "\n")
	}
	for _, v := range t.Verdicts {
		b.WriteString("  " + plain(v.App) + ": " + plain(v.State))
		if v.Reason != "" {
			b.WriteString(", " + plain(v.Reason))
		}
		b.WriteString("\n")
		if way := r.wayOut(v); way != "" {
			b.WriteString("    " + way + "\n")
		}
	}
	return b.String()
}

// unheard says why there is no verdict at all, and what to do.
func (r *triggering) unheard() string {
	if r.fixture.typ == event.UserAccessRevocation {
		return "what the user had granted lacked NOTIFICATION_ACCESS_REVOCATION and USER_ID"
	}
	return "none has subscribed to " + string(r.fixture.typ) + " of this post or of its owner.\n    " + r.subscribe()
}

// subscribe says how an app subscribes.
func (r *triggering) subscribe() string {
	if !r.dev {
		return "The app subscribes with a token of the post's owner: POST /v1/open-platform/events/subscriptions"
	}
	return "Subscribe as the sample app: . " + filepath.Join(shown(r.Data), "dev.env") + ` && curl "$BASE_URL/v1/open-platform/events/subscriptions"` +
		` -H "X-API-Key: $API_KEY" -H "Authorization: Bearer $SELLER_TOKEN" -H "Content-Type: application/json"` +
		` -d '{"event_type":"` + string(r.fixture.typ) + `"}'` +
		"\n    An app without an event URL cannot; any will do: " + r.setApp(r.App, "--event-url http://127.0.0.1:8000/")
}

// wayOut is what helps where an app was not told, or not yet; "" where it was.
func (r *triggering) wayOut(v verdict) string {
	has := func(words string) bool { return strings.Contains(v.Reason, words) }
	switch {
	case v.State == "pending" && r.Wait:
		return "It is tried again. See openkenar deliveries show " + v.delivery() + r.dataFlag()
	case v.State == "exhausted":
		return "Mend the app, then: openkenar deliveries redeliver " + v.delivery() + r.serverFlags()
	case v.State != "skipped":
		return ""
	case has("no event URL"):
		return "openkenar listen --forward URL" + r.dataFlag() + " fetches it all the same. To have it pushed: " + r.setApp(v.App, "--event-url URL")
	case has("token expired"), has("token was revoked"), has("ended its subscription"), has("took the app's access away"):
		return "The subscription is dead; the app registers again with a live token. " + r.subscribe()
	case has("suspended"):
		return r.setApp(v.App, "--status DEVELOPMENT")
	case has("hear_own_messages"):
		return r.setApp(v.App, "--hear-own-messages")
	default:
		return ""
	}
}

// setApp is the command that changes an app of this server.
func (r *triggering) setApp(app, change string) string {
	return "openkenar app set " + plain(app) + " " + change + r.serverFlags()
}

// serverFlags are what commands need to find this server and its host key, where
// they do not by themselves.
func (r *triggering) serverFlags() string {
	flags := r.dataFlag()
	if r.c.env[envServer] == "" && r.host.Server != defaultServer {
		flags = " --server " + string(r.host.Server) + flags
	}
	return flags
}

// dataFlag is what commands need to find the data directory.
func (r *triggering) dataFlag() string {
	if r.c.env[envData] != "" || shown(r.Data) == defaultData {
		return ""
	}
	return " --data " + shown(r.Data)
}

// delivery is its id as it is shown.
func (v verdict) delivery() string {
	if v.DeliveryID == nil {
		return ""
	}
	return plain(*v.DeliveryID)
}
