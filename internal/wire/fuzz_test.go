package wire_test

import (
	"bytes"
	"encoding/json"
	"reflect"
	"regexp"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/openkenar/openkenar/internal/status"
	"github.com/openkenar/openkenar/internal/wire"
)

// body has a field of every kind that a call's body can have.
type body struct {
	Text  string            `json:"text"`
	Flag  bool              `json:"flag"`
	Count int64             `json:"count"`
	Share float64           `json:"share"`
	Data  wire.Object       `json:"data"`
	Names wire.List[string] `json:"names"`
	Parts wire.List[part]   `json:"parts"`
	At    wire.Time         `json:"at"`
	Inner *part             `json:"inner"`
	embedded
}

type part struct {
	Link string      `json:"link"`
	Data wire.Object `json:"data"`
	At   wire.Time   `json:"at"`
}

type embedded struct {
	Phone string `json:"phone"`
}

// refusedWell fails the test unless err is what a caller may be shown: Invalid,
// in words that can stand in JSON.
func refusedWell(t *testing.T, err error) {
	t.Helper()
	if kind := status.KindOf(err); kind != status.Invalid {
		t.Errorf("kind %d, want Invalid: %v", kind, err)
	}
	if message := status.Of(err).Message; message == "" || !utf8.ValidString(message) {
		t.Errorf("message %q", message)
	}
}

func FuzzUnmarshal(f *testing.F) {
	for _, seed := range []string{
		``, ` `, `null`, `{}`, `[]`, `"x"`, `1`, `{"text":"سلام","flag":true,"count":-5,"share":1e-7}`,
		`{"text":null,"flag":null,"count":null,"data":null,"names":null,"parts":null,"at":null,"inner":null,"phone":null}`,
		`{"data":{ "k" : [1.50, null, {"a":12345678901234567890}] }}`, `{"data":[]}`, `{"data":"x"}`, `{"data":1}`, `{"data":true}`,
		`{"names":["a","b"],"parts":[{"link":"l","data":{}},{}]}`, `{"names":{}}`, `{"names":[1]}`, `{"parts":[[]]}`, `{"parts":[{"data":1}]}`,
		`{"at":"2024-10-20T13:12:06.14Z"}`, `{"at":"2024-10-20T16:42:06.123456789+03:30"}`, `{"at":5}`, `{"at":""}`, `{"inner":{"at":"x"}}`,
		`{"text":"\ud800"}`, "{\"text\":\"\xff\"}", "\xff\xfe{\x00}\x00", "\xef\xbb\xbf{}", `{"text":"a"`, `{} {}`, `{"text":5}`, `{"count":1.5}`, `{"count":1e999}`,
		`{"unknown":[[[[]]]],"Text":"other case"}`, strings.Repeat(`{"a":`, 10_001) + `1` + strings.Repeat(`}`, 10_001),
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		var got body
		if err := wire.Unmarshal(data, &got); err != nil {
			refusedWell(t, err)
			return
		}
		if len(bytes.TrimSpace(data)) > 0 && !json.Valid(data) {
			t.Fatal("accepted what is not JSON")
		}
		for _, o := range []wire.Object{got.Data, first(got.Parts).Data} {
			if o != nil && (!json.Valid(o) || o[0] != '{') {
				t.Fatalf("an Object holds %q", o)
			}
		}
		text, err := wire.Marshal(got)
		if err != nil {
			t.Fatalf("what was read cannot be written: %v", err)
		}
		var again body
		if err := wire.Unmarshal(text, &again); err != nil {
			t.Fatalf("what was written cannot be read: %v in %s", err, text)
		}
		back, err := wire.Marshal(again)
		if err != nil || !bytes.Equal(text, back) {
			t.Fatalf("written %s, read and written again %s (%v)", text, back, err)
		}
	})
}

func first(parts wire.List[part]) part {
	if len(parts) == 0 {
		return part{}
	}
	return parts[0]
}

// FuzzObject: an Object takes exactly the objects, and means what was given.
func FuzzObject(f *testing.F) {
	for _, seed := range []string{
		`{}`, `null`, `{"k":1.50}`, ` { "k" : [ 1 , null , true ] } `, `{"big":12345678901234567890,"e":1E+2,"z":-0.0}`,
		`{"سلام":"<&>\u2028\/\ud83d\ude42"}`, `{"k":1,"k":2}`, `{"":{"":{"":null}}}`, `[]`, `"x"`, `1`, `true`, `{"a":"` + "\u2028" + `"}`,
		`{"lone":"\ud800"}`, `{"nul":"\u0000"}`, `{`, `{"a":1}}`, `nul`,
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, value []byte) {
		if !json.Valid(value) {
			return // might close the outer object and open another
		}
		var got struct {
			Data wire.Object `json:"data"`
		}
		err := wire.Unmarshal(around(`{"data":`, value, `}`), &got)
		kind := bytes.TrimSpace(value)[0]
		switch {
		case err != nil:
			refusedWell(t, err)
			if kind == '{' && utf8.Valid(value) && shallow(value) {
				t.Fatalf("an object was refused: %v", err)
			}
			if (kind == '[' || kind == '"' || kind == 't') && utf8.Valid(value) && shallow(value) && !strings.Contains(err.Error(), "data: ") {
				t.Fatalf("%v does not name the field", err)
			}
			return
		case kind == 'n':
			if got.Data != nil {
				t.Fatalf("null became %q", got.Data)
			}
			return
		case kind != '{':
			t.Fatalf("accepted %q", value)
		}
		if want, have := meaning(t, value), meaning(t, got.Data); !reflect.DeepEqual(want, have) {
			t.Fatalf("given %s, kept %s", value, got.Data)
		}
		var compact bytes.Buffer
		if err := json.Compact(&compact, value); err != nil || !bytes.Equal(compact.Bytes(), got.Data) {
			t.Fatalf("given %s, kept %s: more than white space changed (%v)", value, got.Data, err)
		}
		if out, err := wire.Marshal(got); err != nil || !bytes.Equal(out, around(`{"data":`, got.Data, `}`)) {
			t.Fatalf("kept %s, written %s (%v)", got.Data, out, err)
		}
	})
}

func around(before string, middle []byte, after string) []byte {
	return append(append([]byte(before), middle...), after...)
}

// shallow: far from the depth where any JSON is refused.
func shallow(value []byte) bool {
	return bytes.Count(value, []byte("{"))+bytes.Count(value, []byte("[")) < 5000
}

// meaning decodes JSON with the digits of its numbers.
func meaning(t *testing.T, text []byte) any {
	t.Helper()
	dec := json.NewDecoder(bytes.NewReader(text))
	dec.UseNumber()
	var v any
	if err := dec.Decode(&v); err != nil {
		t.Fatalf("%v in %q", err, text)
	}
	return v
}

// rfc3339 is date-time of RFC 3339, 5.6, without leap seconds.
var rfc3339 = regexp.MustCompile(`^\d{4}-\d\d-\d\d[Tt]\d\d:\d\d:\d\d(\.\d+)?([Zz]|[+-]([01]\d|2[0-3]):[0-5]\d)$`)

func FuzzTime(f *testing.F) {
	for _, seed := range []string{
		"2024-10-20T13:12:06Z", "2024-10-20T13:12:06.140Z", "2024-10-20T16:42:06.123456789+03:30", "1970-01-01T00:00:00Z",
		"9999-12-31T23:59:59.999999Z", "2024-02-29T00:00:00-00:00", "2023-02-29T00:00:00Z", "2024-10-20", "yesterday", "",
		"1969-12-31T23:59:59Z", "2024-10-20T24:00:00Z", "2024-10-20 13:12:06Z", "2024-10-20T13:12:06", "1729429926140000",
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		quoted, err := json.Marshal(text)
		if err != nil {
			t.Fatal(err)
		}
		var got struct {
			At wire.Time `json:"at"`
		}
		if err := wire.Unmarshal(around(`{"at":`, quoted, `}`), &got); err != nil {
			refusedWell(t, err)
			if !strings.HasPrefix(status.Of(err).Message, "at: ") {
				t.Fatalf("%v does not name the field", err)
			}
			if at, err := time.Parse(time.RFC3339Nano, text); err == nil && rfc3339.MatchString(text) && at.UTC().Year() >= 1970 && at.UTC().Year() <= 9999 {
				t.Fatalf("refused %q", text)
			}
			return
		}
		if got.At.Location() != time.UTC || got.At.Nanosecond()%1000 != 0 || got.At.Year() < 1970 || got.At.Year() > 9999 {
			t.Fatalf("%q became %v: not UTC at the microsecond, from 1970 to 9999", text, got.At)
		}
		out, err := wire.Marshal(got)
		if err != nil || !rfc3339.Match(bytes.TrimSuffix(bytes.TrimPrefix(out, []byte(`{"at":"`)), []byte(`"}`))) {
			t.Fatalf("%q is written as %s (%v)", text, out, err)
		}
	})
}

// TestTimeKeepsToItsYears: the bounds are those of the moment, not of its local
// date, or what was accepted could not be written as RFC 3339 again.
func TestTimeKeepsToItsYears(t *testing.T) {
	t.Parallel()
	for _, text := range []string{"9999-12-31T23:59:59-01:00", "1970-01-01T00:00:00+01:00"} {
		var got struct {
			At wire.Time `json:"at"`
		}
		if err := wire.Unmarshal([]byte(`{"at":"`+text+`"}`), &got); err != nil {
			refusedWell(t, err)
			continue
		}
		out, err := wire.Marshal(got)
		if err != nil {
			t.Fatal(err)
		}
		if err := wire.Unmarshal(out, &got); err != nil {
			t.Errorf("%s was accepted, is written as %s, and cannot be read again: %v", text, out, err)
		}
	}
}

func TestTimeIsRFC3339(t *testing.T) {
	t.Parallel()
	for _, text := range []string{
		"2024-10-20T1:02:03Z", "2024-10-20T01:02:03,5Z", "2024-10-20T01:02:03+24:00", "2024-10-20T01:02:03+03:60", "2024-10-20T01:02:03.Z",
	} {
		var got struct {
			At wire.Time `json:"at"`
		}
		if err := wire.Unmarshal([]byte(`{"at":"`+text+`"}`), &got); err == nil {
			t.Errorf("%s was accepted as %v; it is not RFC 3339", text, got.At)
		} else {
			refusedWell(t, err)
		}
	}
	var got struct {
		At wire.Time `json:"at"`
	}
	for _, value := range []string{`"yesterday"`, `5`} {
		err := wire.Unmarshal([]byte(`{"at":`+value+`}`), &got)
		if message := status.Of(err).Message; !strings.Contains(message, "RFC 3339") {
			t.Errorf("%s: message %q does not say the way out", value, message)
		}
	}
}

// TestMessagesStayShort: what a stranger sent is not sent back whole.
func TestMessagesStayShort(t *testing.T) {
	t.Parallel()
	const most = 1 << 10
	long := strings.Repeat("1", 1<<19)
	for _, text := range []string{
		`{"count":` + long + `}`, `{"share":` + long + `e999}`, `{"at":"` + long + `"}`, `{"at":` + long + `}`, `{"text":` + long + `}`,
		`{"data":` + long + `}`, `{"` + long + `":`, `{"flag":"` + long + `"}`, `{"inner":{"link":` + long + `}}`,
	} {
		var got body
		err := wire.Unmarshal([]byte(text), &got)
		if err == nil {
			t.Errorf("%.20s… was accepted", text)
			continue
		}
		refusedWell(t, err)
		if n := len(status.Of(err).Message); n > most {
			t.Errorf("%.20s…: a message of %d bytes, want at most %d", text, n, most)
		}
	}
}
