package schema

import (
	"encoding"
	"fmt"
	"reflect"
	"slices"
	"strings"

	"github.com/openkenar/openkenar/internal/wire"
)

// Set is schemas of types, the named ones apart, so that others can refer to
// them. It panics on a type that has no JSON, and on two that share a name:
// both are mistakes in the program.
type Set struct {
	prefix string
	defs   map[string]*Schema
	types  map[string]reflect.Type
}

// NewSet returns an empty set whose schemas are referred to as PREFIX + NAME.
func NewSet(prefix string) *Set {
	return &Set{prefix: prefix, defs: map[string]*Schema{}, types: map[string]reflect.Type{}}
}

// Defs returns the named schemas.
func (s *Set) Defs() map[string]*Schema { return s.defs }

// Of returns the schema of a value's type: a reference where the type has a
// name. A *Schema is its own.
func (s *Set) Of(v any, d Direction) *Schema {
	if given, ok := v.(*Schema); ok {
		return given
	}
	return s.of(reflect.TypeOf(v), d)
}

// Refer returns a reference to a named schema of the caller's own.
func (s *Set) Refer(name string, is *Schema) *Schema {
	s.defs[name] = is
	return &Schema{Ref: s.prefix + name}
}

var (
	timeType   = reflect.TypeFor[wire.Time]()
	objectType = reflect.TypeFor[wire.Object]()
	textType   = reflect.TypeFor[encoding.TextMarshaler]()
)

func (s *Set) of(t reflect.Type, d Direction) *Schema {
	switch {
	case t == timeType:
		return &Schema{Type: "string", Format: "date-time", Nullable: true}
	case t == objectType:
		return &Schema{Type: "object", Nullable: true}
	case t.Kind() == reflect.Interface:
		return &Schema{}
	case t.Implements(textType):
		return &Schema{Type: "string"}
	}
	switch t.Kind() { //nolint:exhaustive // the rest has no JSON
	case reflect.Pointer:
		is := *s.of(t.Elem(), d)
		is.Nullable = true
		return &is
	case reflect.String:
		is := &Schema{Type: "string"}
		if e, ok := reflect.TypeAssert[Enumerated](reflect.Zero(t)); ok {
			is.Values = e.SchemaValues()
		}
		return is
	case reflect.Bool:
		return &Schema{Type: "boolean"}
	case reflect.Int, reflect.Int32, reflect.Int64:
		return &Schema{Type: "integer", Format: "int64"}
	case reflect.Float64:
		return &Schema{Type: "number", Format: "double"}
	case reflect.Slice:
		return &Schema{Type: "array", Items: s.of(t.Elem(), d)}
	case reflect.Map:
		return &Schema{Type: "object", Additional: s.of(t.Elem(), d)}
	case reflect.Struct:
		return s.named(t, d)
	}
	panic(fmt.Sprintf("schema: %s has no JSON", t))
}

// named returns a reference to a struct's schema; the schema itself of a struct
// without a name.
func (s *Set) named(t reflect.Type, d Direction) *Schema {
	name := nameOf(t, d)
	if name == "" {
		return s.object(t, d)
	}
	switch known := s.types[name]; {
	case known == nil:
		s.types[name] = t
		is := s.object(t, d)
		is.Title = name
		if describer, ok := reflect.TypeAssert[Describer](reflect.Zero(t)); ok {
			describer.Describe(is, d)
		}
		is.Title = ""
		for _, form := range append(s.split(name, is), is) {
			if d == Request {
				form.emptyIsAbsent()
			}
		}
		s.defs[name] = is
	case known != t:
		panic(fmt.Sprintf("schema: %s and %s are both called %s; give one a SchemaName", known, t, name))
	}
	return &Schema{Ref: s.prefix + name}
}

func nameOf(t reflect.Type, d Direction) string {
	name := t.Name()
	if n, ok := reflect.TypeAssert[Named](reflect.Zero(t)); ok {
		name = n.SchemaName()
	}
	if name == "" {
		return ""
	}
	name = strings.ToUpper(name[:1]) + name[1:]
	if d == Request {
		name += "Input"
	}
	return name
}

// split makes the forms of an object schemas of their own, and returns them.
func (s *Set) split(name string, is *Schema) (forms []*Schema) {
	if len(is.variants) == 0 {
		return nil
	}
	var fields []string
	for _, v := range is.variants {
		fields = append(fields, v.Fields...)
	}
	for _, v := range is.variants {
		form := &Schema{Type: is.Type, Closed: is.Closed, Required: slices.Clone(is.Required)}
		for _, p := range is.Properties {
			switch {
			case p.Name == is.ChosenBy:
				only := *p.Schema
				only.Values, only.Const = nil, v.Value
				if only.Nullable { // may be left out, for the default
					only.Const, only.Values = "", []string{v.Value}
				}
				p.Schema = &only
			case slices.Contains(fields, p.Name) && !slices.Contains(v.Fields, p.Name):
				continue
			}
			form.Properties = append(form.Properties, p)
		}
		form.Require(v.Fields...)
		if is.Default != v.Value {
			form.Require(is.ChosenBy)
		}
		forms = append(forms, form)
		is.OneOf = append(is.OneOf, s.Refer(name+Camel(v.Value), form))
	}
	if is.Default != nil {
		is.ChosenBy = "" // a discriminator is always there
	}
	is.Type, is.Properties, is.Required, is.Closed, is.Default = "", nil, nil, false, nil
	return forms
}

// Camel makes a value of the wire a part of a name: NEW_MESSAGE NewMessage.
func Camel(value string) string {
	var b strings.Builder
	for word := range strings.SplitSeq(value, "_") {
		b.WriteString(word[:1] + strings.ToLower(word[1:]))
	}
	return b.String()
}

func (s *Set) object(t reflect.Type, d Direction) *Schema {
	is := &Schema{Type: "object"}
	for f := range t.Fields() {
		name, options, _ := strings.Cut(f.Tag.Get("json"), ",")
		if f.Anonymous && name == "" {
			inner := s.object(f.Type, d)
			is.Properties = append(is.Properties, inner.Properties...)
			is.Required = append(is.Required, inner.Required...)
			continue
		}
		if name == "-" || !f.IsExported() {
			continue
		}
		if name == "" {
			panic(fmt.Sprintf("schema: %s.%s has no json tag", t, f.Name))
		}
		of := s.of(f.Type, d)
		optional := strings.Contains(options, "omitempty")
		switch {
		case d == Request:
			of.Nullable = true
		case optional:
			of.Nullable = false
		}
		if d == Answer && !optional {
			is.Required = append(is.Required, name)
		}
		is.Properties = append(is.Properties, Property{name, of})
	}
	return is
}
