package returns

import (
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/gocarina/gocsv"
)

// row is a line of our own CSV. The column names are a public promise.
type row struct {
	RecordType     string `csv:"record_type"`
	FileName       string `csv:"file_name"`
	Sequence       string `csv:"sequence"`
	UID            string `csv:"uid"`
	Status         string `csv:"status"`
	Count          string `csv:"count"`
	Code           string `csv:"code"`
	Description    string `csv:"description"`
	Carrier        string `csv:"carrier"`
	TrackingNumber string `csv:"tracking_number"`
	OccurredAt     string `csv:"occurred_at"`
}

// rowsAtOnce bounds what is held beside the lines.
const rowsAtOnce = 1000

// Write writes our own CSV: the names of the columns, the lines, the trailer.
// [Standard] reads the same lines back, numbered from 2, but for what looks like a card
// number in a text. Outer blanks are cut and Number does not count. A line that
// could not be read back is an error, and what was written until then has no trailer.
func Write(w io.Writer, lines []Line) error {
	out := gocsv.DefaultCSVWriter(w)
	if err := gocsv.MarshalCSV([]row{}, out); err != nil {
		return fmt.Errorf("write the names of the columns: %w", err)
	}
	rows := make([]row, 0, min(rowsAtOnce, len(lines)))
	n := 0
	for part := range slices.Chunk(lines, rowsAtOnce) {
		rows = rows[:0]
		for i := range part {
			n++
			r, err := rowOf(&part[i])
			if err != nil {
				return fmt.Errorf("line %d of the return file to be written: %w", n, err)
			}
			rows = append(rows, r)
		}
		if err := gocsv.MarshalCSVWithoutHeaders(rows, out); err != nil {
			return fmt.Errorf("write the lines: %w", err)
		}
	}
	trailer := []row{{RecordType: trailerRecord.String(), Count: strconv.Itoa(len(lines))}}
	if err := gocsv.MarshalCSVWithoutHeaders(trailer, out); err != nil {
		return fmt.Errorf("write the trailer: %w", err)
	}
	return nil
}

func rowOf(l *Line) (row, error) {
	r := row{
		RecordType: string(l.Kind), FileName: strings.TrimSpace(l.FileName), UID: strings.TrimSpace(l.UID), Status: l.Status,
		Code: strings.TrimSpace(l.Code), Description: strings.TrimSpace(l.Description), Carrier: strings.TrimSpace(l.Carrier),
		TrackingNumber: strings.TrimSpace(l.TrackingNumber), OccurredAt: l.OccurredAt.UTC().Format(time.RFC3339Nano),
	}
	if l.Sequence != 0 {
		r.Sequence = strconv.FormatInt(l.Sequence, 10)
	}
	if l.Count != NoCount {
		r.Count = strconv.FormatInt(l.Count, 10)
	}
	return r, writable(l, &r)
}

// writable holds that a line comes back as it is.
func writable(l *Line, r *row) error {
	statuses := map[Kind][]string{File: fileStatuses, Card: cardStatuses}[l.Kind]
	switch {
	case statuses == nil:
		return fmt.Errorf("%q is neither FILE nor CARD", l.Kind)
	case !slices.Contains(statuses, l.Status):
		return fmt.Errorf("%q is no status of a %s line", l.Status, l.Kind)
	case l.Sequence < 0 || l.Count < NoCount:
		return errors.New("a sequence or count below zero")
	case l.OccurredAt.Year() > 9999:
		return errors.New("a time beyond what RFC 3339 can write")
	case l.Kind == Card && l.Count != NoCount:
		return errors.New("a CARD line has no count")
	case l.Kind == File && (l.UID != "" || l.Carrier != "" || l.TrackingNumber != ""):
		return errors.New("a FILE line has no uid, carrier or tracking number")
	}
	read := Line{Kind: l.Kind, FileName: r.FileName, UID: r.UID, Code: r.Code, Description: r.Description, Carrier: r.Carrier, TrackingNumber: r.TrackingNumber, OccurredAt: l.OccurredAt}
	if fld, flaw := read.flaw(); flaw != "" {
		return fmt.Errorf("%s %s", fld, flaw)
	}
	for _, text := range []string{r.FileName, r.UID, r.Code, r.Description, r.Carrier, r.TrackingNumber} {
		if !utf8.ValidString(text) || strings.ContainsFunc(text, func(c rune) bool { return unicode.IsControl(c) && c != '\t' }) {
			return errors.New("a text of it is no UTF-8, or has a line break or another control character")
		}
	}
	return nil
}
