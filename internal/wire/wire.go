// Package wire reads what strangers send: JSON bodies, free-form objects,
// identifiers, times. Whatever it refuses becomes a status.Invalid error that
// names the field. Its rules are those of contract section 3: unknown fields
// are ignored and an explicit null counts as absent at every depth outside a
// free-form Object.
package wire

import (
	"bytes"
	"encoding/json"
	"errors"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/openkenar/openkenar/internal/status"
)

// Unmarshal reads one JSON object into the struct that v points to. An empty
// body reads as {}.
func Unmarshal(data []byte, v any) error {
	if len(bytes.TrimSpace(data)) == 0 {
		return nil
	}
	if at := invalidUTF8(data); at >= 0 {
		return status.New(status.Invalid, "body: not UTF-8 at byte %d; send JSON in UTF-8", at)
	}
	err := json.Unmarshal(data, v)
	var syntax *json.SyntaxError
	var kind *json.UnmarshalTypeError
	switch {
	case err == nil:
		return nil
	case errors.As(err, &syntax):
		return status.New(status.Invalid, "body: malformed JSON at byte %d: %s", syntax.Offset, syntax)
	case errors.As(err, &kind):
		field := kind.Field
		if field == "" {
			field = "body"
		}
		return status.New(status.Invalid, "%s: got a JSON %s, want %s", field, Clip(kind.Value), nameOf(kind.Type))
	default:
		return status.New(status.Invalid, "body: %s", err)
	}
}

func invalidUTF8(data []byte) int {
	if utf8.Valid(data) {
		return -1
	}
	for i := 0; i < len(data); {
		r, n := utf8.DecodeRune(data[i:])
		if r == utf8.RuneError && n == 1 {
			return i
		}
		i += n
	}
	return -1
}

// nameOf says a Go type in JSON's words.
func nameOf(t reflect.Type) string {
	for t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	if t == reflect.TypeFor[Time]() {
		return "a time in RFC 3339 from 1970 to 9999"
	}
	switch t.Kind() { //nolint:exhaustive // the rest are structs and maps
	case reflect.String:
		return "a string"
	case reflect.Bool:
		return "true or false"
	case reflect.Slice, reflect.Array:
		return "a list"
	case reflect.Float32, reflect.Float64:
		return "a number"
	case reflect.Int, reflect.Int32, reflect.Int64:
		return "a whole number"
	default:
		return "an object"
	}
}

// Marshal encodes v compactly and leaves <, > and & as they are: what is
// shown, signed and stored reads as it was written.
func Marshal(v any) ([]byte, error) {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(v); err != nil {
		return nil, err
	}
	return bytes.TrimSuffix(b.Bytes(), []byte("\n")), nil
}

// Object is a free-form JSON object, kept as its author wrote it apart from
// white space: nesting, nulls, the digits of numbers and any script. Absent
// and null are the nil Object.
type Object []byte

// UnmarshalJSON takes an object or null and refuses everything else.
func (o *Object) UnmarshalJSON(data []byte) error {
	switch {
	case string(data) == "null":
		*o = nil
		return nil
	case data[0] != '{':
		return &json.UnmarshalTypeError{Value: kindOf(data), Type: reflect.TypeFor[Object]()}
	}
	if depth(data) > maxDepth {
		return &json.UnmarshalTypeError{Value: "object that is nested too deep", Type: reflect.TypeFor[Object]()}
	}
	var b bytes.Buffer
	if err := json.Compact(&b, data); err != nil {
		return err
	}
	*o = b.Bytes()
	return nil
}

// maxDepth is how deep an Object may be nested: half of what encoding/json
// reads, so that what we send with it in an envelope can be read.
const maxDepth = 5000

// depth is how deep valid JSON is nested.
func depth(data []byte) (deepest int) {
	level, inString := 0, false
	for i := 0; i < len(data); i++ {
		switch c := data[i]; {
		case inString && c == '\\':
			i++
		case c == '"':
			inString = !inString
		case inString:
		case c == '{' || c == '[':
			level++
			deepest = max(deepest, level)
		case c == '}' || c == ']':
			level--
		}
	}
	return deepest
}

// MarshalJSON writes the object as it was given; the nil Object as null.
func (o Object) MarshalJSON() ([]byte, error) {
	if o == nil {
		return []byte("null"), nil
	}
	return o, nil
}

func kindOf(data []byte) string {
	switch data[0] {
	case '[':
		return "array"
	case '"':
		return "string"
	case 't', 'f':
		return "bool"
	default:
		return "number"
	}
}

// MaxID is the longest identifier of a marketplace's thing, in bytes.
const MaxID = 64

// CheckID refuses an identifier that is empty, longer than MaxID bytes, not
// printable ASCII, or one of ".", ".." and "/", which a path cannot carry as a
// segment (RFC 3986, 5.2.4; ServeMux takes "%2F" alone for a trailing slash).
// The marketplace chooses its own ids, so within one "/", "+" and "=" are as
// good as any other character.
func CheckID(field, id string) error {
	if id == "" {
		return status.New(status.Invalid, "%s: must not be empty", field)
	}
	if id == "." || id == ".." || id == "/" {
		return status.New(status.Invalid, "%s: %q cannot stand in a path", field, id)
	}
	if len(id) > MaxID {
		return status.New(status.Invalid, "%s: %d bytes, want at most %d", field, len(id), MaxID)
	}
	for i := range len(id) {
		if c := id[i]; c <= ' ' || c > '~' {
			return status.New(status.Invalid, "%s: byte %d is not a printable ASCII character", field, i)
		}
	}
	return nil
}

// Enum refuses a value that is not one of those allowed.
func Enum[T ~string](field string, value T, allowed ...T) error {
	if slices.Contains(allowed, value) {
		return nil
	}
	names := make([]string, len(allowed))
	for i, a := range allowed {
		names[i] = string(a)
	}
	return status.New(status.Invalid, "%s: %q is not one of %s", field, Clip(string(value)), strings.Join(names, ", "))
}

// MaxText refuses a text longer than n characters (code points), one that is
// not UTF-8, and one with a NUL in it, which not every storage takes.
func MaxText(field, text string, n int) error {
	if !utf8.ValidString(text) {
		return status.New(status.Invalid, "%s: not UTF-8", field)
	}
	if strings.Contains(text, "\x00") {
		return status.New(status.Invalid, "%s: holds a NUL character", field)
	}
	if got := utf8.RuneCountInString(text); got > n {
		return status.New(status.Invalid, "%s: %d characters, want at most %d", field, got, n)
	}
	return nil
}

// Clip keeps a stranger's value short in a message.
func Clip(s string) string {
	const most = 40
	if len(s) <= most {
		return s
	}
	return strings.ToValidUTF8(s[:most], "") + "…"
}

// Time is a moment in RFC 3339, UTC, at the microsecond, as the REST faces
// write it. Its zero value is absent.
type Time struct{ time.Time }

// rfc3339 is what time.Parse does not insist on: two digits for hours, a dot
// before fractions, an offset that exists.
var rfc3339 = regexp.MustCompile(`^"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]([01]\d|2[0-3]):[0-5]\d)"$`)

// UnmarshalJSON takes RFC 3339 with any offset, or null.
func (t *Time) UnmarshalJSON(data []byte) error {
	if string(data) == "null" {
		*t = Time{}
		return nil
	}
	wrong := &json.UnmarshalTypeError{Value: kindOf(data), Type: reflect.TypeFor[Time]()}
	if data[0] != '"' {
		return wrong
	}
	at, err := time.Parse(`"`+time.RFC3339Nano+`"`, string(data))
	at = at.UTC() // before the bounds: an offset may carry it over them
	if err != nil || !rfc3339.Match(data) || at.Year() < 1970 || at.Year() > 9999 {
		wrong.Value = "string " + Clip(string(data))
		return wrong
	}
	t.Time = at.Truncate(time.Microsecond)
	return nil
}

// MarshalJSON writes RFC 3339 in UTC, or null for the zero Time.
func (t Time) MarshalJSON() ([]byte, error) {
	if t.IsZero() {
		return []byte("null"), nil
	}
	return []byte(strconv.Quote(t.UTC().Format(time.RFC3339Nano))), nil
}

// List is a JSON list for which null counts as absent and that is never
// written as null.
type List[T any] []T

// UnmarshalJSON takes a list, or null for "as it was".
func (l *List[T]) UnmarshalJSON(data []byte) error {
	if string(data) == "null" {
		return nil
	}
	if data[0] != '[' {
		return &json.UnmarshalTypeError{Value: kindOf(data), Type: reflect.TypeFor[[]T]()}
	}
	var list []T // fresh: what an element leaves out must not come from an older one
	if err := json.Unmarshal(data, &list); err != nil {
		return err
	}
	*l = list
	return nil
}

// MarshalJSON writes [] for the nil List.
func (l List[T]) MarshalJSON() ([]byte, error) {
	if l == nil {
		return []byte("[]"), nil
	}
	return Marshal([]T(l))
}
