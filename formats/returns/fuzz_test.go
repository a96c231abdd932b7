package returns

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/goccy/go-yaml"

	"reemboss/formats/iso"
)

// FuzzRead holds, for any bytes and each of our shapes, that reading ends with
// one of the three errors or with a file that agrees with itself, that every
// line has its status and time, and that no card number is told in clear.
func FuzzRead(f *testing.F) {
	formats := []*Format{Standard()}
	for _, bureau := range []string{"kartenhaus", "oakpress", "pontocard"} {
		text, err := os.ReadFile(filepath.Join("../../testdata/returns", bureau, "mapping.yaml"))
		if err != nil {
			f.Fatal(err)
		}
		var d Description
		if err := yaml.Unmarshal(text, &d); err != nil {
			f.Fatal(err)
		}
		format, err := Compile(d)
		if err != nil {
			f.Fatal(err)
		}
		formats = append(formats, format)
	}
	f.Add(uint8(0), []byte(ours(shipped, card(status, "GONE"))))
	f.Add(uint8(0), []byte(markUTF16LE+"r\x00e\x00"))
	f.Add(uint8(2), []byte("TR000000000\n"))
	f.Fuzz(func(t *testing.T, shape uint8, content []byte) {
		format := formats[int(shape)%len(formats)]
		got, err := read(format, string(content))
		sum := got.Summary
		if int64(len(got.Bad)) != sum.Bad || int64(len(got.Lines)) < sum.Cards || int64(len(got.Lines))+sum.Bad > sum.Lines {
			t.Errorf("the summary %+v does not count %d lines and %d bad ones", sum, len(got.Lines), len(got.Bad))
		}
		last := 0
		for _, l := range got.Lines {
			if l.Status == "" || l.Status == skip || l.OccurredAt.Year() < yearZero || l.OccurredAt.After(now.Add(ahead)) || l.Number <= last {
				t.Errorf("line %d has status %q and time %s", l.Number, l.Status, l.OccurredAt)
			}
			if l.Kind == Card && l.UID == "" || l.Kind == File && l.FileName == "" {
				t.Errorf("line %d tells of nothing", l.Number)
			}
			unseen(t, l.Code, l.Description, l.Carrier)
			last = l.Number
		}
		for _, b := range got.Bad {
			if b.Problem == "" {
				t.Errorf("line %d is bad for no reason", b.Number)
			}
			unseen(t, b.Problem, withoutDates(b.FileName))
			if !likeOurs(b.UID) {
				unseen(t, b.UID)
			}
		}
		if err == nil {
			agrees(t, format, string(content), got)
			return
		}
		if !errors.Is(err, ErrNoTrailer) && !errors.Is(err, ErrContradicts) && !errors.Is(err, ErrUnreadable) {
			t.Error(err)
		}
		unseen(t, err.Error())
	})
}

// unseen fails on what looks like a card number; it does not repeat it.
func unseen(t *testing.T, texts ...string) {
	t.Helper()
	for _, text := range texts {
		if len(iso.FindEvident(text)) > 0 {
			t.Error("a possible card number comes out in clear")
		}
	}
}

// agrees holds that a whole file stops being one with a line more.
func agrees(t *testing.T, format *Format, content string, got told) {
	t.Helper()
	more := content + "\nx\n"
	if got.Summary.Encoding == "UTF-16" {
		return
	}
	if _, err := read(format, more); !errors.Is(err, ErrContradicts) {
		t.Errorf("a line after the trailer: %v", err)
	}
	if strings.TrimSpace(content) == "" {
		t.Error("nothing is a whole file")
	}
}
