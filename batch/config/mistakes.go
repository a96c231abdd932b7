package config

import (
	"cmp"
	"fmt"
	"os"
	"slices"
	"strings"
)

// Mistake is one thing that is wrong with the configuration: where it stands,
// what is wrong, and what would be right. It never repeats a value that could
// be a secret.
type Mistake struct {
	File    string `json:"file"`
	Line    int    `json:"line"`   // from 1
	Column  int    `json:"column"` // from 1
	Path    string `json:"path"`   // such as bureaus.alpha.pgp.fingerprint; "" for the file as a whole
	Message string `json:"message"`
}

// String is file:line:column: path: message, the form that editors jump to.
func (m Mistake) String() string {
	at := fmt.Sprintf("%s:%d:%d: ", m.File, m.Line, m.Column)
	if m.Path == "" {
		return at + m.Message
	}
	return at + m.Path + ": " + m.Message
}

// Mistakes are all mistakes of one configuration, in the order of the file. It
// is the error of [Load] and [Parse] when the file could be read.
type Mistakes []Mistake

// Error lists every mistake, one a line.
func (m Mistakes) Error() string {
	lines := make([]string, len(m))
	for i := range m {
		lines[i] = m[i].String()
	}
	return strings.Join(lines, "\n")
}

// sort puts the mistakes in the order of the file.
func (m Mistakes) sort() {
	slices.SortFunc(m, func(a, b Mistake) int {
		return cmp.Or(cmp.Compare(a.Line, b.Line), cmp.Compare(a.Column, b.Column),
			strings.Compare(a.Path, b.Path), strings.Compare(a.Message, b.Message))
	})
}

// hint names what was probably meant, or, where nothing is near, all that there is.
func hint(written string, known []string) string {
	known = slices.Sorted(slices.Values(known))
	list := "known are " + strings.Join(known, ", ")
	switch near := nearest(written, known); {
	case len(known) == 0:
		return "there is none"
	case near == "":
		return list
	case len(known) <= 3:
		return fmt.Sprintf("did you mean %q? (%s)", near, list)
	default:
		return fmt.Sprintf("did you mean %q?", near)
	}
}

// nearest is the known name that takes the fewest single-character edits: at
// most a third of its length, two in a word of four to eight characters. It is
// "" when none is that near; numbers are never near each other.
func nearest(written string, known []string) string {
	best, fewest := "", 1<<30
	for _, k := range known {
		limit := max(1, len(k)/3)
		if len(k) >= 4 {
			limit = max(2, limit)
		}
		n := edits(strings.ToLower(written), strings.ToLower(k))
		if n < fewest && n <= limit && strings.Trim(k, "0123456789") != "" {
			best, fewest = k, n
		}
	}
	return best
}

// edits is the Levenshtein distance of a and b in bytes.
func edits(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := 1; i <= len(a); i++ {
		diagonal := row[0]
		row[0] = i
		for j := 1; j <= len(b); j++ {
			change := diagonal
			if a[i-1] != b[j-1] {
				change++
			}
			diagonal = row[j]
			row[j] = min(change, row[j]+1, row[j-1]+1)
		}
	}
	return row[len(b)]
}

// Locate tells where mistakes stand that only somebody else can find, such as
// a key file that is not there: of each, Path and Message are given. They come
// back in the order of the file at path, with its name, line and column.
func Locate(path string, found []Mistake) (Mistakes, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("read the configuration: %w", err)
	}
	base, err := readDefaults()
	if err != nil {
		return nil, err
	}
	d := newDecoder(path)
	d.each = base.each()
	d.decode(text, &base.Config)
	c := &checker{d: d}
	for _, m := range found {
		c.wrong(m.Path, "%s", m.Message)
	}
	d.mistakes.sort()
	return d.mistakes, nil
}
