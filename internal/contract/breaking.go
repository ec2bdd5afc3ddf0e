package contract

import (
	"encoding/json"
	"fmt"
	"maps"
	"path"
	"slices"
	"strings"
)

// Breaking says in words what of an OpenAPI document, after a change, those who
// rely on what it was before cannot bear: a call that is gone, a field that it
// answered, a value that it took. Additions are none, but for objects that are
// closed. Webhooks run the other way: their body is what we say, their answer
// what the app does.
func Breaking(before, after []byte) ([]string, error) {
	c := &comparison{seen: map[[3]string]bool{}}
	for to, content := range map[*object][]byte{&c.before: before, &c.after: after} {
		if err := json.Unmarshal(content, to); err != nil {
			return nil, fmt.Errorf("not an OpenAPI document: %w", err)
		}
		if _, ok := (*to)["openapi"].(string); !ok {
			return nil, fmt.Errorf("not an OpenAPI document: there is no openapi in it")
		}
	}
	c.schemes()
	c.items("paths", func(where string, a, b object) { c.operation(where, a, b, callersWrite) })
	c.items("webhooks", func(where string, a, b object) { c.operation(where, a, b, weWrite) })
	slices.Sort(c.found)
	return slices.Compact(c.found), nil
}

type object = map[string]any

// side is who writes a value.
type side string

const (
	callersWrite side = "request"
	weWrite      side = "answer"
)

func (s side) other() side {
	if s == weWrite {
		return callersWrite
	}
	return weWrite
}

type comparison struct {
	before, after object
	found         []string
	seen          map[[3]string]bool // pairs of references that were compared
}

func (c *comparison) report(where, format string, args ...any) {
	c.found = append(c.found, where+": "+fmt.Sprintf(format, args...))
}

// of returns what an object has at a place, nil where that is nothing.
func of(o object, names ...string) object {
	for _, name := range names {
		next, ok := o[name].(object)
		if !ok {
			return nil
		}
		o = next
	}
	return o
}

// as reads a part of a document as an object; what is none is an empty one.
func as(v any) object { o, _ := v.(object); return o }

func list(v any) []any { l, _ := v.([]any); return l }

func texts(v any) []string {
	var s []string
	for _, e := range list(v) {
		s = append(s, fmt.Sprint(e))
	}
	return s
}

func names(o object) []string { return slices.Sorted(maps.Keys(o)) }

// lacks returns what is in the first set alone.
func lacks(has, not []string) []string {
	return slices.DeleteFunc(slices.Clone(has), func(s string) bool { return slices.Contains(not, s) })
}

// items compares the operations below a part of the documents.
func (c *comparison) items(part string, compare func(where string, a, b object)) {
	for _, at := range names(of(c.before, part)) {
		for _, method := range names(of(c.before, part, at)) {
			where := strings.ToUpper(method) + " " + at
			if part == "webhooks" {
				where = "webhook " + at
			}
			switch a, b := of(c.before, part, at, method), of(c.after, part, at, method); {
			case a == nil: // no operation
			case b == nil:
				c.report(where, "it is gone")
			default:
				compare(where, a, b)
			}
		}
	}
}

// schemes compares what callers show who they are with.
func (c *comparison) schemes() {
	for _, name := range names(of(c.before, "components", "securitySchemes")) {
		where := "credential " + name
		a, b := of(c.before, "components", "securitySchemes", name), of(c.after, "components", "securitySchemes", name)
		if b == nil && a != nil {
			c.report(where, "it is gone")
			continue
		}
		for _, key := range []string{"type", "in", "name", "scheme"} {
			if a[key] != b[key] {
				c.report(where, "%s was %v and is %v", key, a[key], b[key])
			}
		}
		gone := lacks(names(of(a, "flows", "authorizationCode", "scopes")), names(of(b, "flows", "authorizationCode", "scopes")))
		for _, scope := range gone {
			c.report(where, "the scope %s is gone", scope)
		}
	}
}

// operation compares a call, or what apps are sent; body is who writes its body.
func (c *comparison) operation(where string, a, b object, body side) {
	for _, key := range []string{"operationId", "x-openkenar-permission"} {
		if a[key] != b[key] {
			c.report(where, "%s was %v and is %v", key, a[key], b[key])
		}
	}
	for _, way := range list(a["security"]) {
		if !slices.ContainsFunc(list(b["security"]), func(other any) bool { return enough(as(way), as(other)) }) {
			c.report(where, "what was enough to be let in is no more: %v", way)
		}
	}
	if len(list(a["security"])) == 0 && len(list(b["security"])) > 0 {
		c.report(where, "it needs a credential now")
	}
	c.params(where, a, b, body)
	was, is := of(a, "requestBody"), of(b, "requestBody")
	if was["required"] != true && is["required"] == true && body == callersWrite {
		c.report(where, "a body is required now")
	}
	c.contents(where+" body", of(was, "content"), of(is, "content"), body)
	for _, code := range names(of(a, "responses")) {
		x, y := c.resolve(c.before, of(a, "responses", code)), c.resolve(c.after, of(b, "responses", code))
		switch {
		case x == nil:
		case y != nil:
			c.contents(where+" "+code, of(x, "content"), of(y, "content"), body.other())
		case code < "400": // nobody relies on an error
			c.report(where, "the answer %s is gone", code)
		}
	}
}

// enough says whether who has what the first asks for has what the second does.
func enough(has, asked object) bool {
	for scheme, scopes := range asked {
		given, ok := has[scheme]
		if !ok || len(lacks(texts(scopes), texts(given))) > 0 {
			return false
		}
	}
	return true
}

func (c *comparison) params(where string, a, b object, body side) {
	byName := func(o object) object {
		params := object{}
		for _, p := range list(o["parameters"]) {
			params[fmt.Sprint(as(p)["in"], " ", as(p)["name"])] = p
		}
		return params
	}
	was, is := byName(a), byName(b)
	for _, name := range names(was) {
		p, ok := is[name].(object)
		if !ok && of(was, name) != nil {
			c.report(where, "the parameter in %s is gone", name)
			continue
		}
		c.required(where+" "+name, of(was, name)["required"] == true, p["required"] == true, body)
		c.schema(where+" "+name, of(was, name, "schema"), of(p, "schema"), body, false)
	}
	for _, name := range names(is) {
		if of(was, name) == nil && of(is, name)["required"] == true && body == callersWrite {
			c.report(where, "the parameter in %s is new and required", name)
		}
	}
}

// required compares whether something must be there.
func (c *comparison) required(where string, was, is bool, who side) {
	switch {
	case who == callersWrite && !was && is:
		c.report(where, "it is required now")
	case who == weWrite && was && !is:
		c.report(where, "it may be missing now")
	}
}

func (c *comparison) contents(where string, a, b object, who side) {
	for _, media := range names(a) {
		if _, ok := b[media]; !ok {
			c.report(where, "the media type %s is gone", media)
			continue
		}
		c.schema(where, of(a, media, "schema"), of(b, media, "schema"), who, false)
	}
}

// resolve follows a reference within a document.
func (c *comparison) resolve(document, o object) object {
	ref, ok := o["$ref"].(string)
	if !ok {
		return o
	}
	return of(document, strings.Split(strings.TrimPrefix(ref, "#/"), "/")...)
}

// orNull takes apart what says of a schema that null is good, too.
func orNull(s object) (of object, null bool) {
	forms := list(s["anyOf"])
	if len(forms) == 2 && as(forms[1])["type"] == "null" {
		return as(forms[0]), true
	}
	return s, false
}

// schema compares two schemas. In closed objects new values break, too.
func (c *comparison) schema(where string, a, b object, who side, closed bool) {
	a, wasNull := orNull(a)
	b, isNull := orNull(b)
	if from, ok := a["$ref"].(string); ok {
		to, _ := b["$ref"].(string)
		pair := [3]string{from, to, string(who)}
		if to != "" && c.seen[pair] {
			return
		}
		c.seen[pair] = true
	}
	a, b = c.resolve(c.before, a), c.resolve(c.after, b)
	c.types(where, types(a, wasNull), types(b, isNull), who)
	c.values(where, a, b, who, closed || a["additionalProperties"] == false)
	c.limits(where, a, b, who)
	c.fields(where, a, b, who, closed)
	if x, y := of(a, "items"), of(b, "items"); x != nil || y != nil {
		c.schema(where+"[]", x, y, who, closed)
	}
	for _, kind := range []string{"oneOf", "anyOf"} {
		c.forms(where, list(a[kind]), list(b[kind]), who, closed)
	}
}

// types are the JSON types that a schema takes; none: all.
func types(s object, null bool) []string {
	t := texts(s["type"])
	if one, ok := s["type"].(string); ok {
		t = []string{one}
	}
	if null {
		t = append(t, "null")
	}
	return t
}

func (c *comparison) types(where string, was, is []string, who side) {
	if who == weWrite {
		was, is = is, was // what we say now must be what was said before
	}
	more := lacks(was, is)
	if len(is) > 0 && len(was) == 0 {
		more = []string{"anything"}
	}
	if slices.Contains(is, "number") {
		more = lacks(more, []string{"integer"})
	}
	if len(is) == 0 || len(more) == 0 {
		return
	}
	if who == weWrite {
		c.report(where, "it may be %s now", strings.Join(more, " or "))
	} else {
		c.report(where, "it may not be %s any more", strings.Join(more, " or "))
	}
}

// valuesOf are the values that a schema lists.
func valuesOf(s object) []string {
	if only, ok := s["const"]; ok {
		return []string{fmt.Sprint(only)}
	}
	return lacks(texts(s["enum"]), []string{"<nil>"})
}

func (c *comparison) values(where string, a, b object, who side, closed bool) {
	was, is := valuesOf(a), valuesOf(b)
	switch {
	case who == callersWrite && len(is) > 0 && len(was) == 0:
		c.report(where, "it is one of a few values now")
	case who == callersWrite && len(is) > 0:
		for _, gone := range lacks(was, is) {
			c.report(where, "the value %s is not taken any more", gone)
		}
	case who == weWrite && len(was) > 0 && (len(lacks(was, is)) == len(was) || closed && len(lacks(is, was)) > 0):
		c.report(where, "it was one of %v and is one of %v", was, is)
	}
}

func (c *comparison) limits(where string, a, b object, who side) {
	tighter := func(key string, sign float64) {
		was, wasSet := a[key].(float64)
		is, isSet := b[key].(float64)
		switch {
		case who == callersWrite && isSet && (!wasSet || sign*is < sign*was):
			c.report(where, "%s is %v now", key, is)
		case who == weWrite && wasSet && (!isSet || sign*is > sign*was):
			c.report(where, "%s was %v and is %v", key, was, b[key])
		}
	}
	for _, key := range []string{"maxLength", "maxItems", "maximum"} {
		tighter(key, 1)
	}
	for _, key := range []string{"minLength", "minItems", "minimum"} {
		tighter(key, -1)
	}
	for _, key := range []string{"pattern", "format", "contentMediaType", "not"} {
		was, is := fmt.Sprint(a[key]), fmt.Sprint(b[key])
		if was != is && (who == callersWrite && b[key] != nil || who == weWrite && a[key] != nil) {
			c.report(where, "%s was %s and is %s", key, was, is)
		}
	}
}

func (c *comparison) fields(where string, a, b object, who side, closed bool) {
	wasClosed, isClosed := a["additionalProperties"] == false, b["additionalProperties"] == false
	switch {
	case who == callersWrite && !wasClosed && isClosed:
		c.report(where, "unknown fields are refused now")
	case who == weWrite && wasClosed && !isClosed:
		c.report(where, "fields may be added now")
	}
	was, is := texts(a["required"]), texts(b["required"])
	for _, name := range names(of(a, "properties")) {
		at := where + "." + name
		if _, ok := of(b, "properties")[name]; !ok {
			c.report(at, "the field is gone")
			continue
		}
		c.required(at, slices.Contains(was, name), slices.Contains(is, name), who)
		c.schema(at, of(a, "properties", name), of(b, "properties", name), who, closed || wasClosed)
	}
	for _, name := range names(of(b, "properties")) {
		switch {
		case of(a, "properties", name) != nil:
		case who == weWrite && wasClosed:
			c.report(where+"."+name, "the field is new, and nobody there expects any")
		case who == callersWrite && slices.Contains(is, name):
			c.report(where+"."+name, "the field is new and required")
		}
	}
}

// forms compares what schemas are one of. Forms are the same by the name that
// they refer to, or when they are equal.
func (c *comparison) forms(where string, a, b []any, who side, closed bool) {
	key := func(form object) string {
		if ref, ok := form["$ref"].(string); ok {
			return path.Base(ref)
		}
		content, _ := json.Marshal(form) //nolint:errchkjson // it was read from JSON
		return string(content)
	}
	byKey := func(l []any) object {
		forms := object{}
		for _, v := range l {
			if form, ok := v.(object); ok {
				forms[key(form)] = form
			}
		}
		return forms
	}
	was, is := byKey(a), byKey(b)
	for _, name := range names(was) {
		if other := of(is, name); other != nil {
			c.schema(where+" "+name, of(was, name), other, who, closed)
		} else if who == callersWrite && len(is) > 0 {
			c.report(where, "the form %s is not taken any more", name)
		}
	}
	switch added := lacks(names(is), names(was)); {
	case who == callersWrite && len(was) == 0 && len(is) > 0:
		c.report(where, "it has to be one of several forms now")
	case who == weWrite && len(was) > 0 && (len(is) == 0 || closed && len(added) > 0):
		c.report(where, "it may be of another form now")
	}
}
