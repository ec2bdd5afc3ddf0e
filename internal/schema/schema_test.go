package schema_test

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/openkenar/openkenar/internal/schema"
	"github.com/openkenar/openkenar/internal/wire"
)

type color string

func (color) SchemaValues() []string { return []string{"RED", "BLUE"} }

type inner struct {
	N int64 `json:"n,omitempty"`
}

type thing struct {
	Text  string            `json:"text"`
	Color color             `json:"color,omitempty"`
	Maybe *bool             `json:"maybe"`
	At    wire.Time         `json:"at"`
	Free  wire.Object       `json:"free"`
	List  wire.List[*inner] `json:"list"`
	Map   map[string]string `json:"map"`
	Me    *thing            `json:"me,omitempty"`
	inner
	Secret []byte `json:"-"`
}

func (thing) Describe(s *schema.Schema, d schema.Direction) {
	s.Field("text").Most(3).NotEmpty()
	if d == schema.Request {
		s.Require("text")
	} else {
		s.NotNull("at")
	}
}

type form struct {
	Kind string `json:"kind"`
	A    string `json:"a,omitempty"`
	B    *inner `json:"b,omitempty"`
}

func (form) Describe(s *schema.Schema, d schema.Direction) {
	s.ByField("kind", schema.Variant{Value: "KIND_A", Fields: []string{"a"}}, schema.Variant{Value: "KIND_B", Fields: []string{"b"}})
	if d == schema.Request {
		s.Default = "KIND_A"
	}
}

func TestSchemas(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name  string
		value any
		d     schema.Direction
		want  map[string]string
	}{
		{"in an answer all is there", thing{}, schema.Answer, map[string]string{
			"Thing": `{"type":"object","properties":{"text":{"type":"string","minLength":1,"maxLength":3},"color":{"type":"string","enum":["RED","BLUE"]},` +
				`"maybe":{"type":["boolean","null"]},"at":{"type":"string","format":"date-time"},"free":{"type":["object","null"]},` +
				`"list":{"type":"array","items":{"anyOf":[{"$ref":"#/$defs/Inner"},{"type":"null"}]}},"map":{"type":"object","additionalProperties":{"type":"string"}},` +
				`"me":{"$ref":"#/$defs/Thing"},"n":{"type":"integer","format":"int64"}},"required":["text","maybe","at","free","list","map"]}`,
			"Inner": `{"type":"object","properties":{"n":{"type":"integer","format":"int64"}}}`,
		}},
		{"in a request nothing has to be", thing{}, schema.Request, map[string]string{
			"ThingInput": `{"type":"object","properties":{"text":{"type":"string","minLength":1,"maxLength":3},"color":{"type":["string","null"],"enum":["RED","BLUE",null]},` +
				`"maybe":{"type":["boolean","null"]},"at":{"type":["string","null"],"format":"date-time"},"free":{"type":["object","null"]},` +
				`"list":{"type":["array","null"],"items":{"anyOf":[{"$ref":"#/$defs/InnerInput"},{"type":"null"}]}},` +
				`"map":{"type":["object","null"],"additionalProperties":{"type":"string"}},"me":{"anyOf":[{"$ref":"#/$defs/ThingInput"},{"type":"null"}]},` +
				`"n":{"type":["integer","null"],"format":"int64"}},"required":["text"]}`,
			"InnerInput": `{"type":"object","properties":{"n":{"type":["integer","null"],"format":"int64"}}}`,
		}},
		{"forms", form{}, schema.Answer, map[string]string{
			"Form": `{"oneOf":[{"$ref":"#/$defs/FormKindA"},{"$ref":"#/$defs/FormKindB"}],"discriminator":{"propertyName":"kind",` +
				`"mapping":{"KIND_A":"#/$defs/FormKindA","KIND_B":"#/$defs/FormKindB"}}}`,
			"FormKindA": `{"type":"object","properties":{"kind":{"type":"string","const":"KIND_A"},"a":{"type":"string"}},"required":["kind","a"]}`,
			"FormKindB": `{"type":"object","properties":{"kind":{"type":"string","const":"KIND_B"},"b":{"$ref":"#/$defs/Inner"}},"required":["kind","b"]}`,
			"Inner":     `{"type":"object","properties":{"n":{"type":"integer","format":"int64"}}}`,
		}},
		{"forms with a default", form{}, schema.Request, map[string]string{
			"FormInput":      `{"oneOf":[{"$ref":"#/$defs/FormInputKindA"},{"$ref":"#/$defs/FormInputKindB"}]}`,
			"FormInputKindA": `{"type":"object","properties":{"kind":{"type":["string","null"],"enum":["KIND_A",null]},"a":{"type":"string"}},"required":["a"]}`,
			"FormInputKindB": `{"type":"object","properties":{"kind":{"type":"string","enum":["KIND_B"]},"b":{"$ref":"#/$defs/InnerInput"}},"required":["b","kind"]}`,
			"InnerInput":     `{"type":"object","properties":{"n":{"type":["integer","null"],"format":"int64"}}}`,
		}},
	} {
		set := schema.NewSet("#/$defs/")
		set.Of(c.value, c.d)
		got := map[string]string{}
		for name, s := range set.Defs() {
			content, err := json.Marshal(s)
			if err != nil {
				t.Fatal(err)
			}
			got[name] = string(content)
		}
		for name, want := range c.want {
			if got[name] != want {
				t.Errorf("%s: %s is\n%s\nwant\n%s", c.name, name, got[name], want)
			}
			delete(got, name)
		}
		if len(got) > 0 {
			t.Errorf("%s: there are also %v", c.name, got)
		}
	}
}

// TestMistakes: what cannot be described stops the program that tries.
func TestMistakes(t *testing.T) {
	t.Parallel()
	type untagged struct{ Field string }
	for what, f := range map[string]func(set *schema.Set){
		"a channel":   func(set *schema.Set) { set.Of(make(chan int), schema.Answer) },
		"no json tag": func(set *schema.Set) { set.Of(untagged{}, schema.Answer) },
		"two of one name": func(set *schema.Set) {
			type thing struct{}
			set.Of(thing{}, schema.Answer)
			set.Of(other(), schema.Answer)
		},
		"an unknown field": func(*schema.Set) { (&schema.Schema{}).Field("nothing") },
	} {
		func() {
			defer func() {
				if said, ok := recover().(string); !ok || !strings.HasPrefix(said, "schema: ") {
					t.Errorf("%s is taken", what)
				}
			}()
			f(schema.NewSet("#/"))
		}()
	}
}

func other() any { return thing{} }
