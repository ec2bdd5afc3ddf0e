// Package schema says in JSON Schema (2020-12) what the wire's Go types are in
// JSON. Names, kinds and order come from the types themselves; what a type
// cannot tell (limits, what must be there, plain words) it adds by Describe,
// beside the rule that enforces it. The same values always give the same bytes.
//
// A type reads differently in its two directions. In an Answer each field is
// there unless it has omitempty. In a Request no field has to be there, and null
// counts as absent, unless Describe says that it is required (contract, section 3).
package schema

import (
	"encoding/json"
	"slices"

	"github.com/openkenar/openkenar/internal/wire"
)

// Dialect is the JSON Schema that the schemas are written in.
const Dialect = "https://json-schema.org/draft/2020-12/schema"

// Direction is who writes a value.
type Direction int

// The directions.
const (
	Answer  Direction = iota // we do: answers, and what apps are sent
	Request                  // a caller does
)

// Describer is a type that says more of itself than its fields do. A type that
// embeds one and has a Describe of its own calls that of the embedded one.
type Describer interface {
	Describe(s *Schema, d Direction)
}

// Named is a type that is called otherwise in documents than in Go.
type Named interface {
	SchemaName() string
}

// Enumerated is a text that is one of a few.
type Enumerated interface {
	SchemaValues() []string
}

// Values are the texts of an Enumerated type.
func Values[T ~string](values ...T) []string {
	texts := make([]string, len(values))
	for i, v := range values {
		texts[i] = string(v)
	}
	return texts
}

// Schema is a JSON Schema. The zero value takes everything.
type Schema struct {
	Dialect     string
	Ref         string
	Title       string
	Words       string // description
	Type        string
	Nullable    bool
	Values      []string // enum, of texts
	Const       string
	Format      string
	Form        string // pattern
	Default     any
	MinLength   int
	MaxLength   int // 0: no limit, as for all that follow
	MinItems    int
	MaxItems    int
	Minimum     *float64
	Maximum     *float64
	Items       *Schema
	Properties  []Property
	Required    []string
	Closed      bool    // additionalProperties: false
	Additional  *Schema // additionalProperties
	OneOf       []*Schema
	AnyOf       []*Schema
	Not         *Schema
	ChosenBy    string // discriminator, of OneOf
	ContentType string // contentMediaType, of bytes
	Defs        map[string]*Schema

	variants []Variant
}

// Property is a field of an object.
type Property struct {
	Name   string
	Schema *Schema
}

// Variant is one form of an object: it has the fields when the property that
// tells the forms apart has the value.
type Variant struct {
	Value  string
	Fields []string
}

// Field returns a property to be described. One that the type has not is a
// mistake in a Describe.
func (s *Schema) Field(name string) *Schema {
	for _, p := range s.Properties {
		if p.Name == name {
			return p.Schema
		}
	}
	panic("schema: " + s.Title + " has no field " + name)
}

// Require makes fields ones that must be there and are not null.
func (s *Schema) Require(names ...string) {
	for _, name := range names {
		s.Field(name).Nullable = false
		if !slices.Contains(s.Required, name) {
			s.Required = append(s.Required, name)
		}
	}
}

// NotNull says of fields that they are never null, though their Go type could be.
func (s *Schema) NotNull(names ...string) {
	for _, name := range names {
		s.Field(name).Nullable = false
	}
}

// Drop takes fields away.
func (s *Schema) Drop(names ...string) {
	s.Properties = slices.DeleteFunc(s.Properties, func(p Property) bool { return slices.Contains(names, p.Name) })
	s.Required = slices.DeleteFunc(s.Required, func(name string) bool { return slices.Contains(names, name) })
}

// ByField makes the object one of several, told apart by the text in a property.
// Of the variants' fields each has its own alone, and must have them.
func (s *Schema) ByField(property string, variants ...Variant) {
	s.ChosenBy, s.variants = property, variants
}

// ExactlyOne says that exactly one of the fields is there.
func (s *Schema) ExactlyOne(names ...string) {
	for _, name := range names {
		s.OneOf = append(s.OneOf, s.has(name))
	}
}

// AtLeastOne says that one of the fields is there, or more.
func (s *Schema) AtLeastOne(names ...string) {
	for _, name := range names {
		s.AnyOf = append(s.AnyOf, s.has(name))
	}
}

// has takes objects in which a field is there; null and the empty text count as
// absent.
func (s *Schema) has(name string) *Schema {
	is := &Schema{Required: []string{name}}
	switch of := s.Field(name); {
	case !of.Nullable:
	case of.Type == "string":
		is.Properties = []Property{{name, &Schema{Type: "string", MinLength: 1}}}
	default:
		is.Properties = []Property{{name, &Schema{Not: &Schema{Type: "null"}}}}
	}
	return is
}

// Say adds what it is, in plain words.
func (s *Schema) Say(words string) *Schema {
	s.Words = words
	return s
}

// Most bounds a text, in characters (code points).
func (s *Schema) Most(characters int) *Schema {
	s.MaxLength = characters
	return s
}

// NotEmpty says of a text or a list that it is not empty.
func (s *Schema) NotEmpty() *Schema {
	if s.Type == "array" {
		s.MinItems = 1
	} else {
		s.MinLength = 1
	}
	return s
}

// Between bounds a number.
func (s *Schema) Between(least, most float64) *Schema {
	s.Minimum, s.Maximum = &least, &most
	return s
}

// Span makes a text a span of time as Go writes it; empty where it may be left
// out.
func (s *Schema) Span() *Schema {
	const span = `[+]?(0|(([0-9]+[.]?[0-9]*|[.][0-9]+)(ns|us|µs|μs|ms|s|m|h))+)`
	s.Form = "^" + span + "$"
	if s.Nullable {
		s.Form = "^(" + span + ")?$"
	}
	return s
}

// NotNegative bounds a number from below.
func (s *Schema) NotNegative() *Schema {
	zero := 0.0
	s.Minimum = &zero
	return s
}

// One makes a text one of a few.
func (s *Schema) One(values ...string) *Schema {
	s.Values = values
	return s
}

// Known lists values of a text that may get others.
func (s *Schema) Known(values ...string) *Schema {
	s.AnyOf = []*Schema{{Values: values}, {}}
	return s
}

// idForm is what identifiers are made of.
const idForm = "^[!-~]+$"

// ID makes a text an identifier as wire.CheckID takes it.
func (s *Schema) ID() *Schema {
	s.MinLength, s.MaxLength, s.Form = 1, wire.MaxID, idForm
	s.Not = &Schema{Values: []string{".", "..", "/"}}
	return s
}

// Text is a text.
func Text(words string) *Schema { return &Schema{Type: "string", Words: words} }

// emptyIsAbsent lets the identifiers that may be left out be empty, too.
func (s *Schema) emptyIsAbsent() {
	for _, p := range s.Properties {
		if p.Schema.Nullable && p.Schema.Form == idForm {
			p.Schema.MinLength, p.Schema.Form = 0, "^[!-~]*$"
		}
	}
}

// ID is an identifier as wire.CheckID takes it.
func ID(words string) *Schema { return Text(words).ID() }

// Cursor is where a list goes on.
func Cursor(words string) *Schema { return Text(words) }

// Page is a URL that people are sent to, as wire.Page takes it.
func (s *Schema) Page() *Schema {
	s.Format, s.Form, s.MinLength, s.MaxLength = "uri", "^[hH][tT][tT][pP][sS]?://", 1, wire.MaxPage
	return s
}

// MarshalJSON writes the schema's keywords in a fixed order.
func (s *Schema) MarshalJSON() ([]byte, error) {
	if s.Ref != "" && s.Nullable {
		return wire.Marshal(&Schema{Words: s.Words, AnyOf: []*Schema{{Ref: s.Ref}, {Type: "null"}}})
	}
	var o Object
	o.text("$schema", s.Dialect)
	o.text("$ref", s.Ref)
	o.text("title", s.Title)
	o.text("description", s.Words)
	switch {
	case s.Type != "" && s.Nullable:
		o.Add("type", []string{s.Type, "null"})
	default:
		o.text("type", s.Type)
	}
	switch {
	case len(s.Values) > 0 && s.Nullable:
		values := []any{}
		for _, v := range s.Values {
			values = append(values, v)
		}
		o.Add("enum", append(values, nil))
	case len(s.Values) > 0:
		o.Add("enum", s.Values)
	}
	o.text("const", s.Const)
	o.text("format", s.Format)
	o.text("pattern", s.Form)
	o.number("minLength", s.MinLength)
	o.number("maxLength", s.MaxLength)
	if s.Minimum != nil {
		o.Add("minimum", *s.Minimum)
	}
	if s.Maximum != nil {
		o.Add("maximum", *s.Maximum)
	}
	o.number("minItems", s.MinItems)
	o.number("maxItems", s.MaxItems)
	o.text("contentMediaType", s.ContentType)
	if s.Items != nil {
		o.Add("items", s.Items)
	}
	if len(s.Properties) > 0 {
		var properties Object
		for _, p := range s.Properties {
			properties.Add(p.Name, p.Schema)
		}
		o.Add("properties", properties)
	}
	if len(s.Required) > 0 {
		o.Add("required", s.Required)
	}
	switch {
	case s.Closed:
		o.Add("additionalProperties", false)
	case s.Additional != nil:
		o.Add("additionalProperties", s.Additional)
	}
	if len(s.OneOf) > 0 {
		o.Add("oneOf", s.OneOf)
	}
	if len(s.AnyOf) > 0 {
		o.Add("anyOf", s.AnyOf)
	}
	if s.Not != nil {
		o.Add("not", s.Not)
	}
	if s.ChosenBy != "" {
		o.Add("discriminator", s.discriminator())
	}
	if s.Default != nil {
		o.Add("default", s.Default)
	}
	if len(s.Defs) > 0 {
		o.Add("$defs", s.Defs)
	}
	return o.MarshalJSON()
}

func (s *Schema) discriminator() Object {
	var o, mapping Object
	o.Add("propertyName", s.ChosenBy)
	for i, v := range s.variants {
		mapping.Add(v.Value, s.OneOf[i].Ref)
	}
	o.Add("mapping", mapping)
	return o
}

// Object is a JSON object whose members keep the order in which they were added.
type Object []member

type member struct {
	name  string
	value any
}

// Add adds a member.
func (o *Object) Add(name string, value any) { *o = append(*o, member{name, value}) }

func (o *Object) text(name, value string) {
	if value != "" {
		o.Add(name, value)
	}
}

func (o *Object) number(name string, value int) {
	if value != 0 {
		o.Add(name, value)
	}
}

// MarshalJSON writes the members in their order.
func (o Object) MarshalJSON() ([]byte, error) {
	b := []byte{'{'}
	for i, m := range o {
		name, err := wire.Marshal(m.name)
		if err != nil {
			return nil, err
		}
		value, err := wire.Marshal(m.value)
		if err != nil {
			return nil, err
		}
		if i > 0 {
			b = append(b, ',')
		}
		b = append(append(append(b, name...), ':'), value...)
	}
	return append(b, '}'), nil
}

var _ json.Marshaler = (*Schema)(nil)
