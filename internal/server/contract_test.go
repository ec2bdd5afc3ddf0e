package server_test

import (
	"bytes"
	"fmt"
	"mime"
	"net/http"
	"net/url"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/santhosh-tekuri/jsonschema/v6"
)

// promises is the committed contract, against which all that goes over the wire
// in the tests of this package is held: each call that they make with its answer,
// each webhook and each call that an app gets.
//
// Of what we send, no field may be there that the schemas lack, though apps are
// told to put up with it. Of what callers send, all that is answered with 200
// must be good by the schemas: what they refuse, the platform refuses.
type promises struct {
	documents map[string]any // as committed, by file
	routes    *http.ServeMux
	described map[string]described // by route

	mu       sync.Mutex
	compiler *jsonschema.Compiler
	schemas  map[string]*jsonschema.Schema // by address
}

// described is an operation of a document.
type described struct {
	document, pointer string
	is                map[string]any
}

const (
	appsDocument = "openapi.json"
	hostDocument = "openapi-host.json"
	// closed is a document of which no answer may have more than it says.
	closed = "closed-"
)

var theContract = sync.OnceValues(readContract)

func readContract() (*promises, error) {
	c := &promises{
		documents: map[string]any{}, routes: http.NewServeMux(), described: map[string]described{},
		compiler: jsonschema.NewCompiler(), schemas: map[string]*jsonschema.Schema{},
	}
	c.compiler.DefaultDraft(jsonschema.Draft2020)
	c.compiler.AssertFormat()
	for _, name := range []string{appsDocument, hostDocument} {
		content, err := os.ReadFile(filepath.Join("..", "..", name))
		if err != nil {
			return nil, err
		}
		for _, as := range []string{name, closed + name} {
			document, err := jsonschema.UnmarshalJSON(bytes.NewReader(content))
			if err != nil {
				return nil, fmt.Errorf("%s: %w", name, err)
			}
			if as != name {
				closeAnswers(document)
			}
			if err := c.compiler.AddResource("https://openkenar.test/"+as, document); err != nil {
				return nil, err
			}
			c.documents[as] = document
		}
		for at, methods := range member(c.documents[name], "paths").(map[string]any) {
			for method, is := range methods.(map[string]any) {
				route := strings.ToUpper(method) + " " + at
				c.described[route] = described{name, "/paths/" + escape(at) + "/" + method, is.(map[string]any)}
				c.routes.Handle(route, http.NotFoundHandler())
			}
		}
	}
	for _, of := range []string{"events", "calls"} {
		files, err := filepath.Glob(filepath.Join("..", "..", "schemas", of, "*.json"))
		if err != nil || len(files) == 0 {
			return nil, fmt.Errorf("schemas of %s: %d files, %w", of, len(files), err)
		}
		for _, file := range files {
			content, err := os.ReadFile(file)
			if err != nil {
				return nil, err
			}
			schema, err := jsonschema.UnmarshalJSON(bytes.NewReader(content))
			if err != nil {
				return nil, fmt.Errorf("%s: %w", file, err)
			}
			if err := c.compiler.AddResource("https://openkenar.test/schemas/"+of+"/"+filepath.Base(file), schema); err != nil {
				return nil, err
			}
		}
	}
	return c, nil
}

// closeAnswers lets the objects of answers have no field that is not described.
func closeAnswers(document any) {
	for name, is := range member(document, "components", "schemas").(map[string]any) {
		if !strings.Contains(name, "Input") {
			closeObjects(is)
		}
	}
}

func closeObjects(v any) {
	switch v := v.(type) {
	case []any:
		for _, e := range v {
			closeObjects(e)
		}
	case map[string]any:
		for _, e := range v {
			closeObjects(e)
		}
		_, object := v["properties"]
		if _, said := v["additionalProperties"]; object && !said {
			v["additionalProperties"] = false
		}
	}
}

// member returns what a document has at a place, nil where that is nothing.
func member(v any, names ...string) any {
	for _, name := range names {
		m, ok := v.(map[string]any)
		if !ok {
			return nil
		}
		v = m[name]
	}
	return v
}

func escape(name string) string { return strings.NewReplacer("~", "~0", "/", "~1").Replace(name) }

// check holds JSON against the schema at a place of a document.
func (c *promises) check(document, pointer string, body []byte) error {
	v, err := jsonschema.UnmarshalJSON(bytes.NewReader(body))
	if err != nil {
		return err
	}
	return c.checkValue(document, pointer, v)
}

func (c *promises) checkValue(document, pointer string, v any) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	address := "https://openkenar.test/" + document + "#" + (&url.URL{Fragment: pointer}).EscapedFragment()
	s, ok := c.schemas[address]
	if !ok {
		var err error
		if s, err = c.compiler.Compile(address); err != nil {
			return err
		}
		c.schemas[address] = s
	}
	return s.Validate(v)
}

// exchange is a call and its answer.
type exchange struct {
	method, target string // the target as it went over the wire
	header         http.Header
	body           string
	status         int
	answered       http.Header
	answer         string
	lenient        bool // what is accepted may be more than what is promised
}

// operation returns what describes a call; ok is false for one that is not of
// the contract, as the pages are.
func (c *promises) operation(x exchange) (described, bool) {
	u, err := url.ParseRequestURI(x.target)
	if err != nil || path.Clean(u.EscapedPath()) != u.EscapedPath() {
		return described{}, false
	}
	_, route := c.routes.Handler(&http.Request{Method: x.method, URL: u, Host: "openkenar.test"})
	is, ok := c.described[route]
	return is, ok
}

// hold fails the test where an exchange is not what the contract says. It
// returns the id of the operation, "" where it is none of the contract.
func (c *promises) hold(t testing.TB, x exchange) string {
	t.Helper()
	o, ok := c.operation(x)
	if !ok {
		return ""
	}
	id, _ := o.is["operationId"].(string)
	if x.status == http.StatusNotFound && strings.Contains(x.answer, "no such path: ") {
		return "" // another server than the document's
	}
	if err := c.checkAnswer(o, x); err != nil {
		t.Errorf("contract: %s: %s %s: answer %d %.600s: %v", id, x.method, x.target, x.status, x.answer, err)
	}
	if x.status == http.StatusOK && !x.lenient {
		if err := c.checkRequest(o, x); err != nil {
			t.Errorf("contract: %s: %s %s was accepted with %.600s: %v", id, x.method, x.target, x.body, err)
		}
	}
	return id
}

func (c *promises) checkAnswer(o described, x exchange) error {
	pointer := o.pointer + "/responses/" + strconv.Itoa(x.status)
	is := member(o.is, "responses", strconv.Itoa(x.status))
	if is == nil {
		return fmt.Errorf("the status %d is not described", x.status)
	}
	if ref, ok := member(is, "$ref").(string); ok {
		pointer = strings.TrimPrefix(ref, "#")
		is = member(c.documents[o.document], "components", "responses", path.Base(ref))
	}
	contents, _ := member(is, "content").(map[string]any)
	media, _, _ := mime.ParseMediaType(x.answered.Get("Content-Type"))
	if _, ok := contents[media]; !ok {
		if _, any := contents["*/*"]; any || len(contents) == 0 && (x.answer == "" || x.status == http.StatusSeeOther) {
			return nil
		}
		return fmt.Errorf("the media type %q is not described", media)
	}
	if media != "application/json" {
		return nil
	}
	return c.check(closed+o.document, pointer+"/content/"+escape(media)+"/schema", []byte(x.answer))
}

func (c *promises) checkRequest(o described, x exchange) error {
	if err := c.checkQuery(o, x); err != nil {
		return err
	}
	body := member(o.is, "requestBody")
	if body == nil {
		return nil
	}
	contents := member(body, "content").(map[string]any)
	media, _, _ := mime.ParseMediaType(x.header.Get("Content-Type"))
	if media == "" {
		media = "application/json"
	}
	if _, ok := contents[media]; !ok {
		if x.body == "" {
			return nil
		}
		return fmt.Errorf("the media type %q is not described", media)
	}
	pointer := o.pointer + "/requestBody/content/" + escape(media) + "/schema"
	switch {
	case o.is["operationId"] == "batch":
		return c.checkLines(o, o.pointer+"/requestBody/content/application~1json/schema", x)
	case strings.TrimSpace(x.body) == "":
		if member(body, "required") == true {
			return fmt.Errorf("a body is required")
		}
	case media == "application/json":
		v, err := jsonschema.UnmarshalJSON(strings.NewReader(x.body))
		if err != nil || otherCase(v) {
			return err
		}
		return c.checkValue(o.document, pointer, v)
	case media == "application/x-www-form-urlencoded":
		form, err := url.ParseQuery(x.body)
		if err != nil {
			return err
		}
		fields := map[string]any{}
		for name := range form {
			fields[name] = form.Get(name)
		}
		return c.checkValue(o.document, pointer, fields)
	}
	return nil
}

// checkLines holds the lines of a batch that were accepted against the schema of
// a line.
func (c *promises) checkLines(o described, pointer string, x exchange) error {
	answer, err := jsonschema.UnmarshalJSON(strings.NewReader(x.answer))
	if err != nil {
		return err
	}
	refused := map[string]bool{}
	for _, e := range member(answer, "errors").([]any) {
		refused[fmt.Sprint(member(e, "line"))] = true
	}
	for i, line := range strings.Split(x.body, "\n") {
		if strings.TrimSpace(line) == "" || refused[strconv.Itoa(i+1)] {
			continue
		}
		if err := c.check(o.document, pointer, []byte(line)); err != nil {
			return fmt.Errorf("line %d: %w", i+1, err)
		}
	}
	return nil
}

// otherCase says whether JSON has a name that is one of ours in another letter
// case: what reads our bodies takes it for ours, and nobody is promised that.
func otherCase(v any) bool {
	switch v := v.(type) {
	case []any:
		return slices.ContainsFunc(v, otherCase)
	case map[string]any:
		for name, e := range v {
			if strings.ToLower(strings.ToUpper(name)) != name || otherCase(e) {
				return true
			}
		}
	}
	return false
}

// checkQuery holds the parameters of a query against their schemas.
func (c *promises) checkQuery(o described, x exchange) error {
	u, err := url.ParseRequestURI(x.target)
	if err != nil {
		return err
	}
	list, _ := o.is["parameters"].([]any)
	for i, p := range list {
		name, _ := member(p, "name").(string)
		values, given := u.Query()[name]
		switch {
		case member(p, "in") != "query" || member(p, "style") != nil:
		case !given && member(p, "required") == true:
			return fmt.Errorf("the parameter %s is required", name)
		case given && values[0] != "": // empty counts as absent
			var v any = values[0]
			if member(p, "schema", "type") == "integer" {
				if v, err = jsonschema.UnmarshalJSON(strings.NewReader(values[0])); err != nil {
					return fmt.Errorf("the parameter %s: %w", name, err)
				}
			}
			if err := c.checkValue(o.document, o.pointer+"/parameters/"+strconv.Itoa(i)+"/schema", v); err != nil {
				return fmt.Errorf("the parameter %s: %w", name, err)
			}
		}
	}
	return nil
}

// holdPushed fails the test where something that an app was sent is not what the
// contract says. What is no webhook and no call is left alone.
func (c *promises) holdPushed(t *faulty, header http.Header, body string) {
	var name string
	v, err := jsonschema.UnmarshalJSON(strings.NewReader(body))
	switch {
	case header.Get("webhook-id") != "":
		name, _ = member(v, "type").(string)
	case header.Get("API-Version") != "":
		name = "SESSION_INITIALIZATION"
	case member(v, "touchpoint") != nil:
		name = "DYNAMIC_ACTION"
	default:
		return
	}
	is := member(c.documents[appsDocument], "webhooks", name, "post")
	if err != nil || is == nil {
		t.Errorf("contract: an app was sent what is not described: %q, %v, %.600s", name, err, body)
		return
	}
	if err := c.checkValue(closed+appsDocument, "/webhooks/"+name+"/post/requestBody/content/application~1json/schema", v); err != nil {
		t.Errorf("contract: %s: an app was sent %.600s: %v", name, body, err)
	}
	file := "schemas/events/" + name + ".json"
	if header.Get("webhook-id") == "" {
		file = "schemas/calls/" + name + ".request.json"
	}
	if err := c.checkValue(file, "", v); err != nil {
		t.Errorf("contract: %s: an app was sent %.600s: %v", file, body, err)
	}
	list, _ := member(is, "parameters").([]any)
	for _, p := range list {
		if header.Get(member(p, "name").(string)) == "" {
			t.Errorf("contract: %s: an app was sent no %v", name, member(p, "name"))
		}
	}
}

// held holds a call that a test made against the contract.
func (p *platform) held(req *http.Request, body string, resp *http.Response, answer []byte) {
	p.t.Helper()
	c, err := theContract()
	if err != nil {
		p.t.Error(err)
		return
	}
	id := c.hold(p.t, exchange{
		method: req.Method, target: req.URL.RequestURI(), header: req.Header, body: body,
		status: resp.StatusCode, answered: resp.Header, answer: string(answer), lenient: p.lenient,
	})
	if p.seen != nil && resp.StatusCode < http.StatusBadRequest {
		p.seen.Store(id, true)
	}
}

// beyond is the platform for a test of what it puts up with beyond what the
// contract promises.
func (p *platform) beyond() *platform {
	other := *p
	other.lenient = true
	return &other
}

// faulty notes what was not as the contract says, from any goroutine, for a test
// to fail with in the end: what is running is no test's own.
type faulty struct {
	mu    sync.Mutex
	found []string
}

// Errorf notes a fault.
func (f *faulty) Errorf(format string, args ...any) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.found = append(f.found, fmt.Sprintf(format, args...))
}

// faultsOf lets a test fail in the end with what was noted until then.
func faultsOf(t testing.TB) *faulty {
	f := &faulty{}
	t.Cleanup(func() {
		f.mu.Lock()
		defer f.mu.Unlock()
		for _, what := range f.found {
			t.Error(what)
		}
	})
	return f
}

// heldPushed holds what an app was sent against the contract.
func heldPushed(f *faulty, header http.Header, body string) {
	c, err := theContract()
	if err != nil {
		f.Errorf("contract: %v", err)
		return
	}
	c.holdPushed(f, header, body)
}

// kept keeps what is read through it, from any goroutine.
type kept struct {
	mu sync.Mutex
	b  strings.Builder
}

// Write implements io.Writer.
func (k *kept) Write(b []byte) (int, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.b.Write(b)
}

// String returns what was read until now.
func (k *kept) String() string {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.b.String()
}
