package request

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"golang.org/x/text/encoding"
	"golang.org/x/text/encoding/unicode"
	"golang.org/x/text/transform"

	"reemboss/formats/table"
)

// body is a JSON request file: {"cards":[1,2,3]} for re-embossing, or one
// object or a list of objects for reissues. It is read as a stream of tokens,
// and a number never passes through a float.
type body struct {
	source io.ReaderAt
	size   int64
	names  *table.Dictionary
	limits table.Limits
	kind   Kind
	header []string
	at     map[string]int // column → index in header
}

// item is one element of the list.
type item struct {
	values []value
	broken []Problem
}

type value struct {
	column string // canonical, or the key as it is
	text   string
	number bool
}

// openJSON reads the whole body once: a body that is cut off or is no JSON is
// refused before any of its rows is taken.
func openJSON(source io.ReaderAt, size int64, names *table.Dictionary, limits table.Limits) (*File, error) {
	f := &File{format: "json", limits: limits}
	f.json = &body{source: source, size: size, names: names, limits: limits, at: map[string]int{}}
	if err := f.json.open(f); err != nil {
		return nil, err
	}
	return f, nil
}

func (b *body) open(f *File) error {
	if b.size > b.limits.FileSize {
		return &FileError{Code: FileTooLarge, Detail: fmt.Sprintf("the file has %d bytes, the limit is %d; split it, or raise the limit in the configuration", b.size, b.limits.FileSize)}
	}
	reader := b.reader()
	if err := reader.read(b.collect); err != nil {
		return err
	}
	b.kind = reader.kind
	if reader.ignored != nil {
		f.notes = append(f.notes, fmt.Sprintf("beside \"cards\" stand %d other keys, which are not read", len(reader.ignored)))
	}
	base := []string{cardID}
	if b.kind == Reissue {
		base = []string{cardID, userID, reasonCode, reissueType, reference}
	}
	b.header = append(base, slices.DeleteFunc(b.header, func(c string) bool { return slices.Contains(base, c) })...)
	for i, c := range b.header {
		b.at[c] = i
	}
	f.sheets = []Sheet{{Kind: b.kind, Header: b.header}}
	return nil
}

// collect gathers the keys that are used, in the order in which they come.
func (b *body) collect(_ int, it *item) error {
	for _, v := range it.values {
		if _, known := b.at[v.column]; known {
			continue
		}
		if len(b.at) == b.limits.Columns {
			return &FileError{Code: FileTooLarge, Detail: fmt.Sprintf("the objects have more than %d different keys, which is the limit; leave out what is not needed", b.limits.Columns)}
		}
		b.at[v.column] = len(b.header)
		b.header = append(b.header, v.column)
	}
	return nil
}

func (b *body) each(visit func(*Row) error) error {
	row := &Row{Kind: b.kind, Cells: make([]string, len(b.header))}
	return b.reader().read(func(n int, it *item) error {
		row.Pos, row.Line, row.Fields = n, n, Fields{}
		row.Problems = append(row.Problems[:0], it.broken...)
		clear(row.Cells)
		for _, v := range it.values {
			row.Cells[b.at[v.column]] = v.text
			if field := fields[v.column]; field != nil {
				b.take(row, field, v)
			}
		}
		return visit(row)
	})
}

func (b *body) take(row *Row, field func(*Fields) *string, v value) {
	text := table.Trim(v.text)
	*field(&row.Fields) = text
	var mark table.Mark
	if v.number && strings.ContainsAny(text, ".eE") {
		mark = table.Lossy
	}
	if spoiled(v.column, text, mark) {
		row.Problems = append(row.Problems, Problem{Code: PrecisionLoss, Column: v.column, Detail: fmt.Sprintf(
			"%s is a number with a decimal point or an exponent, so it is not sure which id is meant; send it as a string of digits", v.column)})
	}
}

// bodyReader reads a body once.
type bodyReader struct {
	tokens  *json.Decoder
	source  *sourceErrors
	names   *table.Dictionary
	limits  table.Limits
	kind    Kind
	ignored []string
	n       int
	it      item
}

func (b *body) reader() *bodyReader {
	source := &sourceErrors{src: io.NewSectionReader(b.source, 0, b.size)}
	decoder := json.NewDecoder(transform.NewReader(source, unicode.BOMOverride(encoding.UTF8Validator)))
	decoder.UseNumber()
	return &bodyReader{tokens: decoder, source: source, names: b.names, limits: b.limits}
}

// sourceErrors remembers an input error, so that a failing disk is not taken for bad JSON.
type sourceErrors struct {
	src io.Reader
	err error
}

func (s *sourceErrors) Read(p []byte) (int, error) {
	n, err := s.src.Read(p)
	if err != nil && err != io.EOF {
		s.err = err
	}
	return n, err
}

func unreadableJSON(detail string) error {
	return &FileError{Code: FileUnreadable, Detail: detail}
}

const jsonForms = `write {"cards":[1,2,3]} for re-embossing, or an object or a list of objects with cardId, userId and reasonCode for reissues`

// next reads a token.
func (r *bodyReader) next() (json.Token, error) {
	token, err := r.tokens.Token()
	switch {
	case err == nil:
		return token, nil
	case r.source.err != nil:
		return nil, r.source.err
	case errors.Is(err, encoding.ErrInvalidUTF8):
		return nil, unreadableJSON("the JSON is not in UTF-8; save it as UTF-8 and send it again")
	}
	return nil, unreadableJSON(fmt.Sprintf("the JSON is cut off or not well-formed near byte %d; send it again", r.tokens.InputOffset()))
}

// read calls visit for every element, counted from 1.
func (r *bodyReader) read(visit func(n int, it *item) error) error {
	token, err := r.next()
	if err != nil {
		return err
	}
	switch token {
	case json.Delim('['):
		r.kind = Reissue
		err = r.list(visit, r.element)
	case json.Delim('{'):
		err = r.top(visit)
	default:
		err = unreadableJSON("the JSON is neither an object nor a list; " + jsonForms)
	}
	if err != nil {
		return err
	}
	if _, err := r.tokens.Token(); err != io.EOF {
		return unreadableJSON("something stands behind the end of the JSON; send one object or one list in a file")
	}
	return nil
}

// list reads the elements of a list whose bracket was just read.
func (r *bodyReader) list(visit func(int, *item) error, element func(json.Token) error) error {
	for {
		token, err := r.next()
		if err != nil {
			return err
		}
		if token == json.Delim(']') {
			return nil
		}
		r.it.values, r.it.broken = r.it.values[:0], r.it.broken[:0]
		if err := element(token); err != nil {
			return err
		}
		if r.n++; r.n > r.limits.Rows {
			return tooManyRows(r.limits)
		}
		if err := visit(r.n, &r.it); err != nil {
			return err
		}
	}
}

// top reads the one object of a body, whose brace was just read.
func (r *bodyReader) top(visit func(int, *item) error) error {
	cards := false
	var single item
	for {
		token, err := r.next()
		if err != nil {
			return err
		}
		if token == json.Delim('}') {
			break
		}
		if key := token.(string); table.Normalise(key) != "cards" {
			if err := r.member(&single, key); err != nil {
				return err
			}
			continue
		}
		if cards {
			return unreadableJSON(`"cards" stands twice in the JSON; send it once`)
		}
		cards = true
		if err := r.cards(visit); err != nil {
			return err
		}
	}
	return r.endTop(visit, cards, single)
}

func (r *bodyReader) endTop(visit func(int, *item) error, cards bool, single item) error {
	hasID := slices.ContainsFunc(single.values, func(v value) bool { return v.column == cardID })
	switch {
	case cards && hasID:
		return unreadableJSON(`the JSON has both "cards" and a card id of its own; ` + jsonForms)
	case cards && r.n == 0, !cards && !hasID:
		return &FileError{Code: CardIDMissing, Detail: "the JSON names no card; " + jsonForms}
	case cards:
		r.kind = Reemboss
		for _, v := range single.values {
			r.ignored = append(r.ignored, v.column)
		}
		return nil
	}
	r.kind, r.n = Reissue, 1
	return visit(1, &single)
}

func (r *bodyReader) cards(visit func(int, *item) error) error {
	token, err := r.next()
	switch {
	case err != nil:
		return err
	case token == nil:
		return nil // null: no cards
	case token != json.Delim('['):
		return unreadableJSON(`"cards" is no list; ` + jsonForms)
	}
	return r.list(visit, func(token json.Token) error { return r.value(&r.it, cardID, token) })
}

// element reads one element of a list of reissues.
func (r *bodyReader) element(token json.Token) error {
	if token != json.Delim('{') {
		r.it.refuse("", "the element is no object; "+jsonForms)
		return r.skip(token)
	}
	for {
		token, err := r.next()
		if err != nil {
			return err
		}
		if token == json.Delim('}') {
			return nil
		}
		if err := r.member(&r.it, token.(string)); err != nil {
			return err
		}
	}
}

// member reads the value of a key into the item.
func (r *bodyReader) member(it *item, key string) error {
	token, err := r.next()
	if err != nil {
		return err
	}
	column := r.names.Column(key)
	if column == "" {
		column = key
	}
	switch {
	case slices.ContainsFunc(it.values, func(v value) bool { return v.column == column }):
		it.refuse(column, "a key stands twice in the object, or two of its keys mean the same; send each once")
		return r.skip(token)
	case len(it.values) == r.limits.Columns || len(key) > r.limits.Field:
		it.refuse("", "the object has too many keys or a key that is too long; leave out what is not needed")
		return r.skip(token)
	}
	return r.value(it, column, token)
}

// value reads a value whose first token was just read.
func (r *bodyReader) value(it *item, column string, token json.Token) error {
	v := value{column: column}
	switch t := token.(type) {
	case nil:
	case string:
		v.text = t
	case json.Number:
		v.text, v.number = t.String(), true
	case bool:
		if v.text = fmt.Sprint(t); column == cardID {
			it.refuse(column, "the card id is neither a number nor a string; send it as a string of digits")
		}
	case json.Delim:
		it.refuse(place(column), "a value is an object or a list; send it as a string")
		it.values = append(it.values, v)
		return r.skip(token)
	}
	if len(v.text) > r.limits.Field {
		v.text = strings.ToValidUTF8(v.text[:r.limits.Field], "")
		it.refuse(place(column), "a value is longer than the limit; shorten it")
	}
	if strings.ContainsAny(v.text, "\x00\uFFFD") {
		it.refuse(place(column), "a value holds a NUL or a character that was damaged before the file was sent; write it anew")
	}
	it.values = append(it.values, v)
	return nil
}

// place names a column that we know; a key of the sender is not repeated.
func place(column string) string {
	if fields[column] == nil {
		return ""
	}
	return column
}

func (it *item) refuse(column, detail string) {
	if column = place(column); column != "" {
		detail = column + ": " + detail
	}
	it.broken = append(it.broken, Problem{Code: RowMalformed, Column: column, Detail: detail})
}

// skip passes over the rest of a value whose first token was just read.
func (r *bodyReader) skip(token json.Token) error {
	depth := 0
	for {
		switch token {
		case json.Delim('{'), json.Delim('['):
			depth++
		case json.Delim('}'), json.Delim(']'):
			depth--
		}
		if depth == 0 {
			return nil
		}
		var err error
		if token, err = r.next(); err != nil {
			return err
		}
	}
}
