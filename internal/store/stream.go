package store

import (
	"bufio"
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"hash"
	"io"
	"maps"
	"strings"
	"unicode/utf8"
)

// A stream is an exported ledger, a JSON value a line: a header; then for each
// table a line with its columns and one with each row; then the end, with the
// number of rows of each table and the SHA-256 of all lines before it. A ledger
// has one stream, whatever engine it is on: columns come by name, rows by key.
const (
	streamName   = "ledger"
	streamFormat = 1
	// maxLine bounds a line: 32 times the largest body that the platform takes.
	maxLine = 32 << 20
	// maxOther bounds one that is not a row.
	maxOther = 64 << 10
)

// columnKind says how the values of a column are written; each may also be null.
type columnKind string

const (
	integerKind columnKind = "integer" // a number of 64 bits
	textKind    columnKind = "text"    // a string
	bytesKind   columnKind = "bytes"   // a string in base64
)

// column of a table. Its text is "NAME KIND".
type column struct {
	name string
	kind columnKind
}

// MarshalText implements encoding.TextMarshaler.
func (c column) MarshalText() ([]byte, error) { return []byte(c.name + " " + string(c.kind)), nil }

// UnmarshalText implements encoding.TextUnmarshaler.
func (c *column) UnmarshalText(text []byte) error {
	name, kind, _ := strings.Cut(string(text), " ")
	switch k := columnKind(kind); k {
	case integerKind, textKind, bytesKind:
		c.name, c.kind = name, k
		return nil
	}
	return fmt.Errorf("column %q is not of the form NAME KIND", text)
}

// The lines that are not rows.
type (
	headerLine struct {
		Stream    string `json:"openkenar"`
		Format    int    `json:"format"`
		Migration int64  `json:"migration"`
	}
	tableLine struct {
		Table   string   `json:"table"`
		Columns []column `json:"columns"`
	}
	endLine struct {
		End *Moved `json:"end"`
	}
)

// Moved is what a stream holds.
type Moved struct {
	Rows   map[string]int64 `json:"rows"` // of each table
	SHA256 string           `json:"sha256"`
}

// Total is the number of all rows.
func (m Moved) Total() (n int64) {
	for _, rows := range m.Rows {
		n += rows
	}
	return n
}

// streamWriter writes a stream.
type streamWriter struct {
	to   *bufio.Writer
	sum  hash.Hash
	line bytes.Buffer
	json *json.Encoder // to line
	rows map[string]int64
}

func newStreamWriter(to io.Writer) *streamWriter {
	w := &streamWriter{to: bufio.NewWriterSize(to, 1<<16), sum: sha256.New(), rows: map[string]int64{}}
	w.json = json.NewEncoder(&w.line)
	w.json.SetEscapeHTML(false)
	return w
}

// write writes a line.
func (w *streamWriter) write(value any) error {
	w.line.Reset()
	if err := w.json.Encode(value); err != nil {
		return err
	}
	if w.line.Len() > maxLine {
		return fmt.Errorf("a row takes %d bytes, more than the %d of a line", w.line.Len(), maxLine)
	}
	w.sum.Write(w.line.Bytes())
	_, err := w.to.Write(w.line.Bytes())
	return err
}

func (w *streamWriter) header(migration int64) error {
	return w.write(headerLine{streamName, streamFormat, migration})
}

func (w *streamWriter) table(t table) error {
	w.rows[t.name] = 0
	return w.write(tableLine{t.name, t.columns})
}

// row writes a row as it came from the engine. SQLite keeps what it is given,
// whatever the column's type: what is not of it is refused, or another engine
// would keep something else.
func (w *streamWriter) row(t table, values []any) error {
	for i, v := range values {
		c := t.columns[i]
		switch v := v.(type) {
		case nil:
			continue
		case int64:
			if c.kind == integerKind {
				continue
			}
		case string:
			if c.kind == textKind && utf8.ValidString(v) && strings.IndexByte(v, 0) < 0 {
				continue
			}
			if c.kind == bytesKind {
				values[i] = []byte(v)
				continue
			}
		case []byte:
			if c.kind == bytesKind {
				if v == nil { // which is null in JSON, and is not here
					values[i] = []byte{}
				}
				continue
			}
		}
		return fmt.Errorf("table %s, row %d: what column %s holds (a %T) is not sound %s", t.name, w.rows[t.name]+1, c.name, v, c.kind)
	}
	w.rows[t.name]++
	return w.write(values)
}

// moved is what was written so far.
func (w *streamWriter) moved() Moved {
	return Moved{Rows: maps.Clone(w.rows), SHA256: hex.EncodeToString(w.sum.Sum(nil))}
}

// end writes the last line.
func (w *streamWriter) end() (Moved, error) {
	m := w.moved()
	if err := w.write(endLine{&m}); err != nil {
		return m, err
	}
	return m, w.to.Flush()
}

// streamReader reads a stream, which may have been made by anybody: it holds
// one line of it at a time, and believes nothing before the end.
type streamReader struct {
	from   *bufio.Reader
	sum    hash.Hash
	line   []byte
	number int // of the line
	header headerLine
	rows   map[string]int64
	end    *Moved // once it was read
}

// fault is an error of a stream.
func (r *streamReader) fault(format string, args ...any) error {
	return fmt.Errorf("line %d of the stream: %w", r.number, fmt.Errorf(format, args...))
}

// openStream reads the header.
func openStream(from io.Reader) (*streamReader, error) {
	r := &streamReader{from: bufio.NewReaderSize(from, 1<<16), sum: sha256.New(), rows: map[string]int64{}}
	if err := r.next(); err != nil {
		return nil, err
	}
	if err := strictly(r.line, &r.header); err != nil || r.header.Stream != streamName {
		return nil, r.fault(`not the header of an exported ledger: give what "openkenar export" writes`)
	}
	if r.header.Format != streamFormat {
		return nil, r.fault("its format is %d, this program reads %d: export and import with the same version", r.header.Format, streamFormat)
	}
	r.sum.Write(r.line)
	return r, nil
}

// next reads a line, without which a stream was cut off.
func (r *streamReader) next() error {
	r.number++
	r.line = r.line[:0]
	for {
		part, err := r.from.ReadSlice('\n')
		if len(r.line)+len(part) > maxLine {
			return r.fault("longer than %d bytes", maxLine)
		}
		r.line = append(r.line, part...)
		switch {
		case err == nil:
			return nil
		case errors.Is(err, io.EOF):
			return r.fault("the stream ends here, before its end line: the export broke off, or was not copied whole")
		case !errors.Is(err, bufio.ErrBufferFull):
			return r.fault("%w", err)
		}
	}
}

// read reads on behind the header: the values of a row, or where there are
// none the table whose rows follow, or at the end neither.
func (r *streamReader) read(of *tableLine) (values []any, err error) {
	if err := r.next(); err != nil {
		return nil, err
	}
	if r.line[0] == '[' {
		if of.Table == "" {
			return nil, r.fault("a row before its table")
		}
		if values, err = of.values(r.line); err != nil {
			return nil, r.fault("a row of table %q: %w", of.Table, err)
		}
		r.rows[of.Table]++
		r.sum.Write(r.line)
		return values, nil
	}
	var end endLine
	if strictly(r.line, &end) == nil && end.End != nil {
		return nil, r.finish(end.End)
	}
	*of = tableLine{}
	if err := strictly(r.line, of); err != nil || of.Table == "" {
		return nil, r.fault("neither a table, nor a row, nor the end")
	}
	if _, again := r.rows[of.Table]; again {
		return nil, r.fault("table %q comes again", of.Table)
	}
	r.rows[of.Table] = 0
	r.sum.Write(r.line)
	return nil, nil
}

// finish holds what the end says against what came.
func (r *streamReader) finish(end *Moved) error {
	if sum := hex.EncodeToString(r.sum.Sum(nil)); sum != end.SHA256 || !maps.Equal(end.Rows, r.rows) {
		return r.fault("the checksum, or the number of rows, is not that of the lines before: the stream was altered; export again")
	}
	if _, err := r.from.ReadByte(); !errors.Is(err, io.EOF) {
		return r.fault("something follows the end of the stream")
	}
	r.end = end
	return nil
}

// strictly decodes a line that has no fields but those of v.
func strictly(line []byte, v any) error {
	if len(line) > maxOther {
		return fmt.Errorf("longer than %d bytes", maxOther)
	}
	d := json.NewDecoder(bytes.NewReader(line))
	d.DisallowUnknownFields()
	if err := d.Decode(v); err != nil {
		return err
	}
	return ended(d)
}

// ended says whether a line has nothing more.
func ended(d *json.Decoder) error {
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return errors.New("something follows the value")
	}
	return nil
}

// values decodes a row.
func (t *tableLine) values(line []byte) ([]any, error) {
	if !utf8.Valid(line) {
		return nil, errors.New("not UTF-8")
	}
	d := json.NewDecoder(bytes.NewReader(line))
	if _, err := d.Token(); err != nil {
		return nil, err
	}
	values := make([]any, len(t.Columns))
	for i, c := range t.Columns {
		if !d.More() {
			return nil, fmt.Errorf("%d values in %d columns", i, len(values))
		}
		var err error
		if values[i], err = c.decode(d); err != nil {
			return nil, fmt.Errorf("column %s: %w", c.name, err)
		}
	}
	if d.More() {
		return nil, fmt.Errorf("more than %d values", len(values))
	}
	if _, err := d.Token(); err != nil {
		return nil, err
	}
	return values, errors.Join(ended(d), sound(values))
}

// decode returns the next value, as a column keeps it.
func (c column) decode(d *json.Decoder) (any, error) {
	switch c.kind {
	case integerKind:
		return decode[int64](d)
	case textKind:
		return decode[string](d)
	case bytesKind:
		return decode[[]byte](d)
	}
	return nil, fmt.Errorf("of the kind %q", c.kind)
}

// decode returns the next value; nil for null.
func decode[T any](d *json.Decoder) (any, error) {
	var v *T
	if err := d.Decode(&v); err != nil || v == nil {
		return nil, err
	}
	return *v, nil
}
