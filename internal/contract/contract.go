// Package contract writes the wire's contract down for programs: an OpenAPI 3.1
// document for apps (what they call, and the webhooks and calls that they get),
// one for the marketplace's backend, and a JSON Schema of each event. All of it
// is made from the operations that the routers are made of and from the Go types
// that they read and write; the same program always gives the same bytes.
package contract

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"path"
	"slices"
	"strings"

	"github.com/openkenar/openkenar/internal/access"
	"github.com/openkenar/openkenar/internal/api"
	"github.com/openkenar/openkenar/internal/chat"
	"github.com/openkenar/openkenar/internal/event"
	"github.com/openkenar/openkenar/internal/extension"
	"github.com/openkenar/openkenar/internal/hostapi"
	"github.com/openkenar/openkenar/internal/market"
	"github.com/openkenar/openkenar/internal/oauth"
	"github.com/openkenar/openkenar/internal/openapi"
	"github.com/openkenar/openkenar/internal/schema"
	"github.com/openkenar/openkenar/internal/wire"
)

// Version is that of the contract, not of the program: it changes when the wire
// does.
const Version = "1.0.0"

// The documents.
const (
	AppsFile = "openapi.json"
	HostFile = "openapi-host.json"
)

// File is a document under the name that it is committed and served as.
type File struct {
	Name    string
	Content []byte
}

// Files returns all documents, by name.
func Files() ([]File, error) {
	apps, err := ForApps(slices.Concat(openapi.Operations(), oauth.Operations(), WellKnown()))
	if err != nil {
		return nil, err
	}
	host, err := ForHost(slices.Concat(hostapi.Operations(true), Probes()))
	if err != nil {
		return nil, err
	}
	files, err := Schemas()
	files = append(files, File{AppsFile, apps}, File{HostFile, host})
	slices.SortFunc(files, func(a, b File) int { return strings.Compare(a.Name, b.Name) })
	return files, err
}

// readable is JSON as people read it.
func readable(v any) ([]byte, error) {
	compact, err := wire.Marshal(v)
	if err != nil {
		return nil, err
	}
	var b bytes.Buffer
	if err := json.Indent(&b, compact, "", "  "); err != nil {
		return nil, err
	}
	b.WriteByte('\n')
	return b.Bytes(), nil
}

// pushed is something that we send to apps.
type pushed struct {
	name    string
	summary string
	words   string
	body    func(s *schema.Set) *schema.Schema
	answer  func(s *schema.Set) *schema.Schema // that is wanted; nil: any 2xx
	headers []api.Param
}

// events are the webhooks, in the order of the contract.
func events() []pushed {
	said := map[event.Type][2]string{
		event.NewMessageOnPost: {"A message was sent in a conversation on a post", "By either side, on a post that the subscription's user owns."},
		event.PostUpdate: {
			"A post changed", "One that the subscription's user owns.",
		},
		event.NewChatbotMessage:    {"A user wrote to the app's chatbot", "On by default."},
		event.UserAccessRevocation: {"A user took the app's access away", "On by default where the grant has `NOTIFICATION_ACCESS_REVOCATION` and `USER_ID`."},
		event.PaymentTransaction:   {"A transaction of the app changed state", "On by default. `transaction` and `payment_transaction` are the same."},
	}
	var list []pushed
	for _, t := range event.Types() {
		name, fields := t.Webhook()
		list = append(list, pushed{
			name: name, summary: said[t][0], words: said[t][1] + " Delivered is any 2xx within 10 seconds; redirects are not followed. " +
				"Delivered at least once: the same `webhook-id` is the same delivery.",
			headers: webhookHeaders(),
			body: func(s *schema.Set) *schema.Schema {
				is := &schema.Schema{Type: "object", Words: said[t][0] + ".", Required: append([]string{"type"}, fields...)}
				is.Properties = []schema.Property{
					{Name: "type", Schema: &schema.Schema{Type: "string", Const: name}},
					{Name: "metadata", Schema: &schema.Schema{Type: "object", Words: "What the subscription was registered with; left out where that is nothing."}},
				}
				for _, f := range fields {
					is.Properties = append(is.Properties, schema.Property{Name: f, Schema: payload(s, t)})
				}
				return is
			},
		})
	}
	return list
}

// payload is what an event tells.
func payload(s *schema.Set, t event.Type) *schema.Schema {
	switch t { //nolint:exhaustive // the calls are no events
	case event.PostUpdate:
		is := &schema.Schema{}
		for _, v := range market.PostPayloads() {
			is.OneOf = append(is.OneOf, s.Of(v, schema.Answer))
		}
		return is
	case event.UserAccessRevocation:
		return s.Of(access.RevocationPayload(), schema.Answer)
	case event.PaymentTransaction:
		return s.Of(market.TransactionPayload(), schema.Answer)
	default:
		return s.Of(chat.EventPayload(), schema.Answer)
	}
}

func webhookHeaders() []api.Param {
	return []api.Param{
		{Name: "webhook-id", Schema: schema.Text("The same in every attempt (Standard Webhooks)."), Required: true},
		{Name: "webhook-timestamp", Schema: &schema.Schema{Type: "integer", Words: "Seconds since the epoch (Standard Webhooks)."}, Required: true},
		{Name: "webhook-signature", Schema: schema.Text("`v1,` and an HMAC-SHA256; two of them, with a space between, during a rotation (Standard Webhooks)."), Required: true},
		{Name: "OpenKenar-Attempt", Schema: &schema.Schema{Type: "integer", Words: "Counted from 1."}, Required: true},
	}
}

// calls are what an app answers while a user waits.
func calls() []pushed {
	call := func(t event.Type, summary, words string, types func() (asks, answers any), headers ...api.Param) pushed {
		asks, answers := types()
		return pushed{
			name: string(t), summary: summary, words: words + " Answered within 5 seconds. Never retried by itself.", headers: headers,
			body:   func(s *schema.Set) *schema.Schema { return s.Of(asks, schema.Answer) },
			answer: func(s *schema.Set) *schema.Schema { return s.Of(answers, schema.Request) },
		}
	}
	version := func(name string) api.Param {
		return api.Param{Name: name, Schema: &schema.Schema{Type: "string", Const: extension.WireVersion}, Required: true}
	}
	return []pushed{
		call(event.SessionInitialization, "A user opens the app", "To its session initialization URL.", extension.SessionCall, version("API_VERSION"), version("API-Version")),
		call(event.DynamicAction, "A user clicks a button", "To its dynamic action URL, for a button with `get_dynamic_action`.", extension.ActionCall),
	}
}

// Schemas returns a JSON Schema of each event, and of each call and its answer.
func Schemas() ([]File, error) {
	var files []File
	add := func(name string, body func(s *schema.Set) *schema.Schema) error {
		set := schema.NewSet("#/$defs/")
		is := *body(set)
		is.Dialect, is.Defs = schema.Dialect, set.Defs()
		content, err := readable(&is)
		files = append(files, File{path.Join("schemas", name+".json"), content})
		return err
	}
	for _, e := range events() {
		if err := add("events/"+e.name, e.body); err != nil {
			return nil, err
		}
	}
	for _, c := range calls() {
		for name, body := range map[string]func(*schema.Set) *schema.Schema{"request": c.body, "answer": c.answer} {
			if err := add("calls/"+c.name+"."+name, body); err != nil {
				return nil, err
			}
		}
	}
	return files, nil
}

// sorted is an object with its members by name.
func sorted[T any](members map[string]T) schema.Object {
	var o schema.Object
	for _, name := range slices.Sorted(maps.Keys(members)) {
		o.Add(name, members[name])
	}
	return o
}

// pathNames are the names in braces of a path.
func pathNames(route string) []string {
	var names []string
	for part := range strings.SplitSeq(route, "/") {
		if strings.HasPrefix(part, "{") && strings.HasSuffix(part, "}") {
			names = append(names, part[1:len(part)-1])
		}
	}
	return names
}

// split takes a route apart.
func split(route string) (method, at string) {
	method, at, ok := strings.Cut(route, " ")
	if !ok {
		panic(fmt.Sprintf("contract: route %q has no method", route))
	}
	return strings.ToLower(method), at
}
