package returns

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"
)

// Format reads the return files of one shape. It is made by [Compile] or
// [Standard], keeps nothing of a file, and several goroutines may use it.
type Format struct {
	fixed     bool
	encoding  encoding
	delimiter string
	quotes    bool
	header    bool
	ours      bool // our own columns, whose names may be left out
	columns   int  // of a CARD line; 0: any that reaches the last place
	length    int  // of a fixed line; 0: any

	typeAt   place
	places   [numRecords][numFields]place
	own      [numRecords]bool // has places of its own
	records  words[record]
	statuses [numRecords]words[string] // FILE and CARD
	codes    map[string]string
	time     timeFormat
	counts   trailerCount

	now   time.Time
	ahead time.Duration // how far after now a line's time may be
}

// At gives the same format with the clock at now: a line whose time is more
// than 24 hours later is bad, and a FILE line of a mapping without a time for
// it happened now. Without At each Read asks the system's clock.
func (f *Format) At(now time.Time) *Format {
	at := *f
	at.now = now
	return &at
}

// Ahead gives the same format with another limit of how far after now a line's
// time may be: for a simulated bureau that tells of days to come.
func (f *Format) Ahead(limit time.Duration) *Format {
	ahead := *f
	ahead.ahead = limit
	return &ahead
}

// trailerCount is what the count of a trailer counts.
type trailerCount int

const (
	countsLines trailerCount = iota
	countsCards
	countsNothing
)

// skip is the status word for a line of no interest.
const skip = "SKIP"

// fileStatuses and cardStatuses are our words for a FILE and for a CARD line.
var (
	fileStatuses = []string{Received, Refused}
	cardStatuses = []string{Acked, Rejected, Produced, Shipped, Delivered, Returned, Lost}
)

// DescriptionError is what is wrong with a [Description].
type DescriptionError struct {
	Key     string // path below the description, such as "fields.uid" or "time_format"
	Problem string // reads on after the key
}

func (e *DescriptionError) Error() string { return e.Key + ": " + e.Problem }

func wrong(key, format string, args ...any) error {
	return &DescriptionError{Key: key, Problem: fmt.Sprintf(format, args...)}
}

// Standard is the format of our own CSV: that of the zero [Description].
func Standard() *Format {
	f, err := Compile(Description{})
	if err != nil {
		panic(err)
	}
	return f
}

// Compile checks a description and makes its format. Its error is a
// *[DescriptionError] with the first mistake, always the same one.
func Compile(d Description) (*Format, error) {
	f := &Format{ahead: ahead}
	if wrong := f.compile(d); len(wrong) > 0 {
		return nil, wrong[0]
	}
	return f, nil
}

// Mistakes gives what is wrong with a description: of each of its parts (shape,
// words, fields, time, trailer) the first mistake, each a *[DescriptionError]. What only
// follows from another mistake is not told.
func Mistakes(d Description) []error { return (&Format{}).compile(d) }

func (f *Format) compile(d Description) (wrong []error) {
	try := func(steps ...func(Description) error) {
		for _, step := range steps {
			if err := step(d); err != nil {
				wrong = append(wrong, err)
			}
		}
	}
	try(f.compileShape)
	shaped := len(wrong) == 0
	try(f.compileWords)
	if shaped {
		try(f.compileFields)
	}
	try(f.compileTime, f.compileTrailer)
	if len(wrong) == 0 {
		try(f.complete)
	}
	return wrong
}

func (f *Format) compileShape(d Description) error {
	switch d.Shape {
	case "", "delimited":
	case "fixed":
		f.fixed = true
	default:
		return wrong("shape", "%q is neither delimited nor fixed", d.Shape)
	}
	var ok bool
	if f.encoding, ok = encodingNamed(d.Encoding); !ok {
		return wrong("encoding", "%q is none of %s", d.Encoding, encodingNames())
	}
	if f.fixed {
		return f.compileFixed(d)
	}
	return f.compileDelimited(d)
}

func (f *Format) compileFixed(d Description) error {
	switch {
	case d.Delimiter != "":
		return wrong("delimiter", "a fixed file has none")
	case d.Unquoted:
		return wrong("unquoted", "is for delimited files; a fixed file has no quotes")
	case d.Header:
		return wrong("header", "is for delimited files; leave a line with the names of columns to a word of records that is SKIP")
	case d.Columns != 0:
		return wrong("columns", "is for delimited files; a fixed file has a length")
	case d.Length < 0 || d.Length > maxLine:
		return wrong("length", "%d is not within 1 to %d", d.Length, maxLine)
	}
	f.length = d.Length
	return nil
}

func (f *Format) compileDelimited(d Description) error {
	f.delimiter, f.quotes = ",", !d.Unquoted
	switch d.Delimiter {
	case "":
	case "tab":
		f.delimiter = "\t"
	default:
		f.delimiter = d.Delimiter
	}
	f.header = d.Header || len(d.Fields) == 0
	f.ours = len(d.Fields) == 0 && !d.Header
	f.columns = d.Columns
	r, size := utf8.DecodeRuneInString(f.delimiter)
	switch {
	case size != len(f.delimiter) || r == utf8.RuneError:
		return wrong("delimiter", "%q is not one character", d.Delimiter)
	case r == '"' || r == '\r' || r == '\n' || r == 0 || unicode.IsLetter(r) || unicode.IsDigit(r):
		return wrong("delimiter", "%q cannot part fields", d.Delimiter)
	case d.Length != 0:
		return wrong("length", "is for fixed files")
	case d.Columns < 0 || d.Columns > maxLine:
		return wrong("columns", "%d is not within 1 to %d", d.Columns, maxLine)
	case d.Columns != 0 && f.header:
		return wrong("columns", "the header says how many there are")
	}
	return nil
}

func (f *Format) compileWords(d Description) error {
	if err := f.compileRecords(d); err != nil {
		return err
	}
	if err := f.compileStatuses(d); err != nil {
		return err
	}
	f.codes = make(map[string]string, len(d.Codes))
	for _, word := range sortedKeys(d.Codes) {
		if _, twice := f.codes[fold(word)]; twice {
			return wrong("codes."+word, "is there twice; case and outer blanks do not matter")
		}
		f.codes[fold(word)] = maskText(strings.TrimSpace(d.Codes[word]))
	}
	return nil
}

func (f *Format) compileRecords(d Description) error {
	described := d.Records
	if len(described) == 0 {
		described = map[string]string{"FILE": "FILE", "CARD": "CARD", "TRAILER": "TRAILER"}
	}
	for _, word := range sortedKeys(described) {
		r, ok := recordNamed(described[word])
		if !ok {
			return wrong("records."+word, "%q is none of CARD, FILE, TRAILER, HEADER, SKIP", described[word])
		}
		if word == anyWord && (r == trailerRecord || r == headerRecord) {
			return wrong("records.*", "%s cannot be what every other line is", r)
		}
		if !f.records.add(word, r) {
			return wrong("records."+word, "is there twice; case and outer blanks do not matter")
		}
	}
	switch {
	case !f.records.reach(trailerRecord):
		return wrong("records", "no word is TRAILER; without one a file that is cut short cannot be told from a whole one")
	case !f.records.reach(cardRecord) && !f.records.reach(fileRecord):
		return wrong("records", "no word is CARD or FILE, so that a file would tell nothing")
	}
	return nil
}

func (f *Format) compileStatuses(d Description) error {
	if len(d.Statuses) == 0 {
		for _, s := range fileStatuses {
			f.statuses[fileRecord].add(s, s)
		}
		for _, s := range cardStatuses {
			f.statuses[cardRecord].add(s, s)
		}
		return nil
	}
	seen := map[string]bool{}
	for _, key := range sortedKeys(d.Statuses) {
		if seen[fold(key)] {
			return wrong("statuses."+key, "is there twice; case and outer blanks do not matter")
		}
		seen[fold(key)] = true
	}
	// Words of one record type come before words of both, and win.
	for _, special := range []bool{true, false} {
		for _, key := range sortedKeys(d.Statuses) {
			if record, word := statusKey(key); (record != skipRecord) == special {
				if err := f.addStatus(key, record, word, d.Statuses[key]); err != nil {
					return err
				}
			}
		}
	}
	return nil
}

// statusKey takes "FILE.word" and "CARD.word" apart; any other word is of skipRecord, both.
func statusKey(key string) (record, string) {
	for _, r := range []record{fileRecord, cardRecord} {
		if word, ok := strings.CutPrefix(key, r.String()+"."); ok {
			return r, word
		}
	}
	return skipRecord, key
}

func (f *Format) addStatus(key string, r record, word, meaning string) error {
	ofFile, ofCard := slices.Contains(fileStatuses, meaning), slices.Contains(cardStatuses, meaning)
	switch {
	case !ofFile && !ofCard && meaning != skip:
		return wrong("statuses."+key, "%q is none of %s (FILE), %s (CARD), SKIP", meaning, strings.Join(fileStatuses, " "), strings.Join(cardStatuses, " "))
	case r == fileRecord && ofCard, r == cardRecord && ofFile:
		return wrong("statuses."+key, "%s is no status of a %s line", meaning, r)
	}
	if r != cardRecord && !ofCard {
		f.statuses[fileRecord].add(word, meaning)
	}
	if r != fileRecord && !ofFile {
		f.statuses[cardRecord].add(word, meaning)
	}
	return nil
}

func (f *Format) compileTime(d Description) error {
	zone := time.UTC
	if d.TimeZone != "" {
		var err error
		if zone, err = time.LoadLocation(d.TimeZone); err != nil || d.TimeZone == "Local" {
			return wrong("time_zone", "%q is no IANA time zone such as Europe/Berlin", d.TimeZone)
		}
	}
	var problem string
	if f.time, problem = compileTime(d.TimeFormat, zone, d.TimeZone != ""); problem != "" {
		return wrong("time_format", "%s", problem)
	}
	return nil
}

func (f *Format) compileTrailer(d Description) error {
	switch d.TrailerCounts {
	case "", "lines":
		f.counts = countsLines
	case "cards":
		f.counts = countsCards
	case "none":
		f.counts = countsNothing
	default:
		return wrong("trailer_counts", "%q is none of lines, cards, none", d.TrailerCounts)
	}
	return nil
}

// anyWord takes what no other word does.
const anyWord = "*"

// words are what a bureau's words mean.
type words[T comparable] struct {
	of    map[string]T
	other *T // of any other word
}

// add is false when the word has a meaning already.
func (w *words[T]) add(word string, meaning T) bool {
	if word == anyWord {
		if w.other != nil {
			return false
		}
		w.other = &meaning
		return true
	}
	word = fold(word)
	if _, twice := w.of[word]; twice {
		return false
	}
	if w.of == nil {
		w.of = map[string]T{}
	}
	w.of[word] = meaning
	return true
}

func (w *words[T]) mean(word string) (meaning T, ok bool) {
	if meaning, ok = w.of[fold(word)]; ok || w.other == nil {
		return meaning, ok
	}
	return *w.other, true
}

func (w *words[T]) reach(meaning T) bool {
	return w.other != nil && *w.other == meaning || slices.Contains(slices.Collect(maps.Values(w.of)), meaning)
}

// fold makes words comparable: case and outer blanks do not matter.
func fold(word string) string { return strings.ToUpper(strings.TrimSpace(word)) }

func sortedKeys(m map[string]string) []string { return slices.Sorted(maps.Keys(m)) }

// number reads a place's number from 1.
func number(s string) (int, bool) {
	n, err := strconv.Atoi(s)
	return n, err == nil && n >= 1 && n <= maxLine && s[0] != '+'
}
