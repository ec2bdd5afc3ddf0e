package contract

import (
	"net/http"
	"slices"
	"strconv"
	"strings"

	"github.com/openkenar/openkenar/internal/access"
	"github.com/openkenar/openkenar/internal/api"
	"github.com/openkenar/openkenar/internal/schema"
	"github.com/openkenar/openkenar/internal/status"
)

// ForApps returns the OpenAPI document of the operations that apps call, with
// the webhooks and calls that they get.
func ForApps(operations []api.Operation) ([]byte, error) {
	d := newDocument("OpenKenar for apps",
		"What an app calls and what it is sent. Errors of all calls but OAuth's are a `google.rpc.Status`; a path that there is not is 404, a method that it "+
			"does not have 405. Unknown fields of requests are ignored, and null counts as absent outside free-form objects. Answers and webhooks may get "+
			"fields, and types and texts new values, but for what is marked as closed. Path segments are escaped; a successful answer is exactly 200.")
	for _, o := range operations {
		d.add(o)
	}
	for _, p := range append(events(), calls()...) {
		d.push(p)
	}
	return d.bytes()
}

// ForHost returns the OpenAPI document of the operations that the marketplace's
// backend and its operators call.
func ForHost(operations []api.Operation) ([]byte, error) {
	d := newDocument("OpenKenar for the marketplace",
		"What the marketplace's own backend calls. Every write is idempotent on the id in its path or body; a 2xx means that it is on disk. Errors are a "+
			"`google.rpc.Status`. Unknown fields of requests are ignored, and null counts as absent outside free-form objects. Lists are pages of 100.")
	for _, o := range operations {
		d.add(o)
	}
	return d.bytes()
}

// document is an OpenAPI document that is being written.
type document struct {
	title, words string
	set          *schema.Set
	tags         []string
	paths        map[string]map[string]schema.Object
	webhooks     map[string]schema.Object
	responses    map[string]schema.Object
	security     map[string]schema.Object
}

func newDocument(title, words string) *document {
	return &document{
		title: title, words: words, set: schema.NewSet("#/components/schemas/"), paths: map[string]map[string]schema.Object{},
		webhooks: map[string]schema.Object{}, responses: map[string]schema.Object{}, security: map[string]schema.Object{},
	}
}

func (d *document) bytes() ([]byte, error) {
	var o, info, license, components schema.Object
	license.Add("name", "Apache-2.0")
	license.Add("identifier", "Apache-2.0")
	info.Add("title", d.title)
	info.Add("version", Version)
	info.Add("description", d.words)
	info.Add("license", license)
	o.Add("openapi", "3.1.1")
	o.Add("info", info)
	o.Add("servers", []map[string]string{{"url": "/", "description": "The platform that serves this document."}})
	tags := []map[string]string{}
	for _, tag := range d.tags {
		tags = append(tags, map[string]string{"name": tag})
	}
	o.Add("tags", tags)
	paths := map[string]schema.Object{}
	for at, methods := range d.paths {
		paths[at] = sorted(methods)
	}
	o.Add("paths", sorted(paths))
	if len(d.webhooks) > 0 {
		o.Add("webhooks", sorted(d.webhooks))
	}
	components.Add("schemas", sorted(d.set.Defs()))
	components.Add("responses", sorted(d.responses))
	components.Add("securitySchemes", sorted(d.security))
	o.Add("components", components)
	return readable(o)
}

// add describes an operation.
func (d *document) add(o api.Operation) {
	method, at := split(o.Route)
	if d.paths[at] == nil {
		d.paths[at] = map[string]schema.Object{}
	}
	if !slices.Contains(d.tags, o.Tag) {
		d.tags = append(d.tags, o.Tag)
	}
	var is schema.Object
	is.Add("operationId", o.ID)
	is.Add("tags", []string{o.Tag})
	is.Add("summary", o.Summary)
	words := o.Words
	if o.AliasOf != "" {
		words = strings.TrimSpace("The same as `" + o.AliasOf + "`. " + words)
	}
	if words != "" {
		is.Add("description", words)
	}
	if o.Permission != "" {
		is.Add("x-openkenar-permission", o.Permission)
	}
	is.Add("security", d.credential(o))
	if params := d.params(o, at); len(params) > 0 {
		is.Add("parameters", params)
	}
	if o.In != nil {
		is.Add("requestBody", d.requestBody(o))
	}
	is.Add("responses", d.answers(o))
	d.paths[at][method] = is
}

func (d *document) params(o api.Operation, at string) []schema.Object {
	given := map[string]api.Param{}
	for _, p := range o.Params {
		given[p.Name] = p
	}
	var list []schema.Object
	names := pathNames(at)
	for _, name := range names {
		p, ok := given[name]
		if !ok {
			p = api.Param{Name: name, Schema: schema.ID("")}
		}
		p.Required = true
		list = append(list, parameter(p, "path"))
	}
	for _, p := range o.Params {
		if !slices.Contains(names, p.Name) {
			list = append(list, parameter(p, "query"))
		}
	}
	return list
}

func parameter(p api.Param, in string) schema.Object {
	var o schema.Object
	o.Add("name", p.Name)
	o.Add("in", in)
	if p.Schema.Words != "" {
		o.Add("description", p.Schema.Words)
	}
	if p.Required {
		o.Add("required", true)
	}
	if p.Deep {
		o.Add("style", "deepObject")
		o.Add("explode", true)
	}
	bare := *p.Schema
	bare.Words = ""
	o.Add("schema", &bare)
	return o
}

func content(mediaType string, is *schema.Schema) schema.Object {
	var media, o schema.Object
	media.Add("schema", is)
	o.Add(mediaType, media)
	return o
}

const mediaJSON = "application/json"

func (d *document) requestBody(o api.Operation) schema.Object {
	is := d.set.Of(o.In, schema.Request)
	types := o.InType
	if len(types) == 0 {
		types = []string{mediaJSON}
	}
	var body, contents schema.Object
	for _, t := range types {
		if strings.HasSuffix(t, "ndjson") || strings.HasSuffix(t, "jsonl") {
			contents = append(contents, content(t, schema.Text("Lines, each of which is an object as `"+mediaJSON+"` has it."))...)
			continue
		}
		contents = append(contents, content(t, is)...)
	}
	if !d.takesNothing(is) {
		body.Add("required", true)
	}
	body.Add("content", contents)
	return body
}

// takesNothing says whether {} is good, so that the body may be left out.
func (d *document) takesNothing(is *schema.Schema) bool {
	if is.Ref != "" {
		is = d.set.Defs()[is.Ref[strings.LastIndex(is.Ref, "/")+1:]]
	}
	return len(is.Required) == 0 && len(is.OneOf) == 0 && len(is.AnyOf) == 0
}

func (d *document) answers(o api.Operation) schema.Object {
	all := map[string]schema.Object{}
	if o.Out != nil || len(o.Also) > 0 {
		var ok, contents schema.Object
		ok.Add("description", "Done.")
		if o.Out != nil {
			contents = append(contents, content(mediaJSON, d.set.Of(o.Out, schema.Answer))...)
		}
		for _, c := range o.Also {
			contents = append(contents, content(c.Type, c.Schema)...)
		}
		ok.Add("content", contents)
		all[strconv.Itoa(http.StatusOK)] = ok
	}
	for _, other := range o.Others {
		var is schema.Object
		is.Add("description", other.Words)
		if other.Body != nil {
			is.Add("content", content(other.Type, d.set.Of(other.Body, schema.Answer)))
		}
		all[strconv.Itoa(other.Status)] = is
	}
	if len(o.Others) == 0 {
		for _, kind := range errorsOf(o) {
			all[strconv.Itoa(kind.HTTP())] = d.failure(kind)
		}
	}
	return sorted(all)
}

// errorsOf are the errors of an operation: those that follow from what it needs,
// and its own.
func errorsOf(o api.Operation) []status.Kind {
	kinds := append([]status.Kind{status.Internal, status.Unavailable}, o.Errors...)
	if _, at := split(o.Route); len(o.Params) > 0 || len(pathNames(at)) > 0 {
		kinds = append(kinds, status.Invalid)
	}
	if o.In != nil {
		kinds = append(kinds, status.Invalid, status.TooLarge, status.UnsupportedMediaType)
	}
	switch o.Credential {
	case api.APIKey, api.AccessToken:
		kinds = append(kinds, status.Unauthenticated, status.PermissionDenied, status.ResourceExhausted)
	case api.HostKey, api.UploadToken:
		kinds = append(kinds, status.Unauthenticated)
	case api.NoCredential, api.ClientSecret:
	}
	return kinds
}

// failures says in words what the contract's table of errors (section 3) says.
var failures = map[status.Kind][2]string{
	status.Invalid:              {"Invalid", "Malformed JSON, a missing or invalid field, or an unknown value."},
	status.Unauthenticated:      {"Unauthenticated", "No, an unknown or a revoked key; no, an unknown, expired or revoked token."},
	status.PermissionDenied:     {"PermissionDenied", "The key lacks the permission, the token lacks the scope, or it is not the user's own."},
	status.NotFound:             {"NotFound", "There is no such thing."},
	status.Conflict:             {"Conflict", "It exists with other content."},
	status.FailedPrecondition:   {"FailedPrecondition", "A precondition does not hold."},
	status.TooLarge:             {"TooLarge", "The body is over the limit."},
	status.UnsupportedMediaType: {"UnsupportedMediaType", "The body is declared as something else."},
	status.ResourceExhausted:    {"ResourceExhausted", "The limit of a minute or of the day is reached."},
	status.Internal:             {"Internal", "Our fault."},
	status.Unavailable:          {"Unavailable", "Not ready, or not now."},
}

func (d *document) failure(kind status.Kind) schema.Object {
	said := failures[kind]
	if _, ok := d.responses[said[0]]; !ok {
		var is schema.Object
		is.Add("description", said[1]+" Code "+strconv.Itoa(kind.Code())+".")
		if kind == status.ResourceExhausted {
			is.Add("headers", map[string]any{"Retry-After": map[string]any{
				"description": "Seconds.", "schema": &schema.Schema{Type: "integer"},
			}})
		}
		is.Add("content", content(mediaJSON, d.status()))
		d.responses[said[0]] = is
	}
	var ref schema.Object
	ref.Add("$ref", "#/components/responses/"+said[0])
	return ref
}

// status is the body of every error.
func (d *document) status() *schema.Schema {
	ref := d.set.Of(status.Status{}, schema.Answer)
	is := d.set.Defs()["Status"]
	is.Say("google.rpc.Status")
	is.Field("message").Say("Names the field, the problem and the way out.")
	is.Field("details").Say("Always empty.")
	return ref
}

// credential is what an operation needs, each entry being enough.
func (d *document) credential(o api.Operation) []schema.Object {
	need := func(names ...string) (all schema.Object) {
		for _, name := range names {
			all.Add(name, []string{})
		}
		return all
	}
	for _, name := range schemesOf(o.Credential) {
		d.security[name] = scheme(name)
	}
	switch o.Credential {
	case api.NoCredential:
		return []schema.Object{}
	case api.ClientSecret: // or in the form
		return []schema.Object{need(schemeClient), {}}
	case api.AccessToken:
		var ways []schema.Object
		for _, scopes := range o.Scopes {
			way := need(schemeKey)
			way.Add(schemeToken, scopes)
			ways = append(ways, way)
		}
		if ways == nil {
			ways = append(ways, need(schemeKey, schemeToken))
		}
		return ways
	case api.HostKey, api.APIKey, api.UploadToken:
	}
	return []schema.Object{need(schemesOf(o.Credential)...)}
}

const (
	schemeKey    = "apiKey"
	schemeToken  = "accessToken"
	schemeHost   = "hostKey"
	schemeUpload = "uploadToken"
	schemeClient = "clientSecret"
	schemeIdent  = "identificationKey"
)

func schemesOf(c api.Credential) []string {
	return map[api.Credential][]string{
		api.HostKey: {schemeHost}, api.APIKey: {schemeKey}, api.AccessToken: {schemeKey, schemeToken},
		api.UploadToken: {schemeUpload}, api.ClientSecret: {schemeClient},
	}[c]
}

func scheme(name string) (o schema.Object) {
	kind := func(kind string, more ...string) schema.Object {
		o.Add("type", kind)
		for i := 0; i < len(more); i += 2 {
			o.Add(more[i], more[i+1])
		}
		return o
	}
	switch name {
	case schemeKey:
		return kind("apiKey", "in", "header", "name", "X-API-Key", "description", "An API key of the app; it carries permissions.")
	case schemeIdent:
		return kind("apiKey", "in", "header", "name", "Authorization", "description", "The app's identification key, as it is, without a scheme.")
	case schemeHost:
		return kind("http", "scheme", "bearer", "description", "A host key.")
	case schemeUpload:
		return kind("http", "scheme", "bearer", "description", "An upload token; it lives an hour.")
	case schemeClient:
		return kind("http", "scheme", "basic", "description", "The app's slug and its client secret; or both in the form.")
	}
	kind("oauth2", "description", "A user's access token. The older header x-access-token is taken, too.")
	var flow, scopes schema.Object
	for _, k := range access.Catalogue() {
		scopes.Add(k.Form(), "Lets the app "+k.Words[access.English]+".")
	}
	flow.Add("authorizationUrl", "/oauth2/auth")
	flow.Add("tokenUrl", "/oauth2/token")
	flow.Add("refreshUrl", "/oauth2/token")
	flow.Add("scopes", scopes)
	o.Add("flows", map[string]any{"authorizationCode": flow})
	return o
}

// push describes something that apps are sent.
func (d *document) push(p pushed) {
	const tag = "What apps are sent"
	if !slices.Contains(d.tags, tag) {
		d.tags = append(d.tags, tag)
	}
	d.security[schemeIdent] = scheme(schemeIdent)
	var is, body, ok, post schema.Object
	is.Add("operationId", "on"+schema.Camel(p.name))
	is.Add("tags", []string{tag})
	is.Add("summary", p.summary)
	is.Add("description", p.words)
	is.Add("security", []map[string][]string{{schemeIdent: {}}})
	var headers []schema.Object
	for _, h := range p.headers {
		headers = append(headers, parameter(h, "header"))
	}
	if len(headers) > 0 {
		is.Add("parameters", headers)
	}
	sent := p.body(d.set)
	if sent.Ref == "" {
		sent = d.set.Refer(schema.Camel(p.name)+"Webhook", sent)
	}
	body.Add("required", true)
	body.Add("content", content(mediaJSON, sent))
	is.Add("requestBody", body)
	if p.answer == nil {
		ok.Add("description", "Delivered.")
		is.Add("responses", map[string]any{"2XX": ok})
	} else {
		ok.Add("description", "What happens next.")
		ok.Add("content", content(mediaJSON, p.answer(d.set)))
		is.Add("responses", map[string]any{"200": ok})
	}
	post.Add("post", is)
	d.webhooks[p.name] = post
}
