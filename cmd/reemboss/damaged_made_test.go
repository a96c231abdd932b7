package main

import (
	"archive/zip"
	"bytes"
	"io"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/xuri/excelize/v2"

	"reemboss/batch/report"
	"reemboss/testdata/proof"
)

// The damaged files of expected.yaml that no repository can hold: names, what is no file at all, card numbers. Each
// function puts one into the inbox; ids are the case's own.

// asksFor is a good request for one card.
func asksFor(id int) []byte { return lines("card_id", strconv.Itoa(id)) }

// named puts a good request under an odd name, shown as it may be told.
func named(name, shown string) func(*damagedNight, int) damagedFile {
	return func(n *damagedNight, id int) damagedFile {
		content := asksFor(id)
		n.write("inbox/"+name, content)
		return damagedFile{name: name, shown: shown, content: content}
	}
}

// holding puts a file of this content under the case's own name.
func holding(make func(n *damagedNight, id int) []byte) func(*damagedNight, int) damagedFile {
	return func(n *damagedNight, id int) damagedFile {
		content := make(n, id)
		return damagedFile{content: content}
	}
}

// placed puts something into the inbox that is no file.
func placed(make func(path string) error) func(*damagedNight, int) damagedFile {
	return func(n *damagedNight, id int) damagedFile {
		name := "not-a-file-" + strconv.Itoa(id) + ".csv"
		if err := make(n.Path("inbox", name)); err != nil {
			n.tb.Fatal(err)
		}
		return damagedFile{name: name, shown: name}
	}
}

// linked is a link to what make gives the path of.
func linked(target func(n *damagedNight) string) func(*damagedNight, int) damagedFile {
	return func(n *damagedNight, id int) damagedFile {
		return placed(func(path string) error { return os.Symlink(target(n), path) })(n, id)
	}
}

// firstMade is the id of the card of a group's first file.
const firstMade = 23000

func cardNumber(id int) string {
	_, card := damagedCards()
	return card(id).pan
}

// madeFiles by the name of their line in expected.yaml.
var madeFiles = map[string]func(*damagedNight, int) damagedFile{
	"name-with-newline.csv":       named("name\nwith\r\nnewline.csv", "name_with__newline.csv"),
	"name-with-escape.csv":        named("\x1b[31mred\x07.csv", "_[31mred_.csv"),
	"name-with-c1-control.csv":    named("a\u0085\u009bb.csv", "a__b.csv"),
	"name-turned-round.csv":       named("cards\u202evsc.exe.csv", "cards_vsc.exe.csv"),
	"name-not-utf8.csv":           named("caf\xe9 \xff.csv", "caf\ufffd \ufffd.csv"),
	"name-of-255-bytes.csv":       named(strings.Repeat("n", 251)+".csv", strings.Repeat("n", 200)+".csv"),
	"name-of-255-bytes-umlauts":   named(strings.Repeat("ü", 125)+".csv", strings.Repeat("ü", 100)+".csv"),
	"name-of-255-bytes-extension": named("x."+strings.Repeat("e", 253), "x."+strings.Repeat("e", 19)),
	"name-with-dash-first.csv":    named("-rf.csv", "-rf.csv"),
	"name-of-a-blank":             named(" ", " "),
	"name-with-blank-behind.csv":  named("blank.csv ", "blank.csv "),
	"name-that-climbs.csv":        named("x..%2f..%2fetc%2fpasswd.csv", "x..%2f..%2fetc%2fpasswd.csv"),
	"name-with-other-slashes.csv": named("x∕..∕..∕y.csv", "x∕..∕..∕y.csv"),
	"name-with-backslashes.csv":   named(`x\..\..\y.csv`, `x\..\..\y.csv`),
	"name-with-dots-first.csv":    named("...x.csv", "...x.csv"),
	"name-for-a-shell.csv":        named("$(touch evil);`id`&|>.csv", "$(touch evil);`id`&|>.csv"),
	"name-with-quotes.csv":        named(`a"b'c.csv`, `a"b'c.csv`),
	"name-as-formula.csv":         named("=cmd|'x'!A0.csv", "=cmd|'x'!A0.csv"),
	"name-as-html.csv":            named("<img src=x onerror=alert(1)>.csv", "<img src=x onerror=alert(1)>.csv"),
	"name-of-a-result.csv":        named("name-of-a.csv.result.csv", "name-of-a.csv.result.csv"),
	"name-with-emoji.csv":         named("🙂.csv", "🙂.csv"),
	"name-with-percent.csv":       named("100%s%n%d.csv", "100%s%n%d.csv"),
	"name-with-card-number.csv": func(n *damagedNight, id int) damagedFile {
		pan := cardNumber(id)
		return named("card "+pan+".csv", "card "+pan[:6]+"xxxxxx"+pan[12:]+".csv")(n, id)
	},

	"link-to-a-file": linked(func(n *damagedNight) string {
		n.write("elsewhere.csv", []byte("card_id\n1\n"))
		return n.Path("elsewhere.csv")
	}),
	"link-to-a-folder": linked(func(n *damagedNight) string { return n.Path("keys") }),
	"link-to-nothing":  linked(func(n *damagedNight) string { return n.Path("nothing") }),
	"link-to-itself":   placed(func(path string) error { return os.Symlink(path, path) }),
	"link-to-a-device": linked(func(*damagedNight) string { return "/dev/zero" }),
	"pipe":             placed(func(path string) error { return syscall.Mkfifo(path, 0o600) }),
	"socket": placed(func(path string) error {
		folder, err := os.MkdirTemp("", "s") // the address of a socket has at most 108 bytes
		if err != nil {
			return err
		}
		defer os.RemoveAll(folder)
		l, err := net.ListenUnix("unix", &net.UnixAddr{Name: filepath.Join(folder, "s"), Net: "unix"})
		if err != nil {
			return err
		}
		l.SetUnlinkOnClose(false)
		if err := os.Rename(filepath.Join(folder, "s"), path); err != nil {
			return err
		}
		return l.Close()
	}),
	"folder":      placed(func(path string) error { return os.Mkdir(path, 0o700) }),
	"hidden-file": named(".hidden.csv", ".hidden.csv"),
	"file-with-two-links": func(n *damagedNight, id int) damagedFile {
		f := named("two-links.csv", "two-links.csv")(n, id)
		if err := os.Link(n.Path("inbox", f.name), n.Path("second-link.csv")); err != nil {
			n.tb.Fatal(err)
		}
		return f
	},
	"nothing.csv":      holding(func(*damagedNight, int) []byte { return []byte{} }),
	"nothing.json":     holding(func(*damagedNight, int) []byte { return []byte{} }),
	"nothing.xlsx":     holding(func(*damagedNight, int) []byte { return []byte{} }),
	"only-a-bom.csv":   holding(func(*damagedNight, int) []byte { return []byte("\xef\xbb\xbf") }),
	"only-a-bom16.csv": holding(func(*damagedNight, int) []byte { return []byte("\xff\xfe") }),
	"one-byte.csv":     holding(func(*damagedNight, int) []byte { return []byte("1") }),

	"number-in-a-cell.csv": holding(func(_ *damagedNight, id int) []byte {
		return lines("card_id,remark", strconv.Itoa(id)+",was "+cardNumber(id))
	}),
	"number-as-an-id.csv": holding(func(_ *damagedNight, id int) []byte { return lines("card_id", cardNumber(id)) }),
	"number-behind-a-bad-header.csv": holding(func(_ *damagedNight, id int) []byte {
		return lines("first,second", "x,"+spaced(cardNumber(id)))
	}),
	"number-in-utf16.csv": holding(func(_ *damagedNight, id int) []byte {
		return utf16File("card_id\tremark\r\n" + strconv.Itoa(id) + "\t" + cardNumber(id) + "\r\n")
	}),
	"number-behind-a-nul.csv": holding(func(_ *damagedNight, id int) []byte {
		return []byte("card_id\n1\x00\n" + cardNumber(id) + "\n")
	}),
	"number-over-two-blocks.csv": holding(func(_ *damagedNight, id int) []byte {
		return []byte("card_id\n" + strconv.Itoa(id) + "\n" + strings.Repeat("\n", 1<<20-24) + "," + cardNumber(id) + "\n")
	}),
	"number-in-an-inner-workbook.xlsx": holding(func(n *damagedNight, id int) []byte {
		return carrying(n.tb, workbook(n.tb, [][]any{{"card_id"}, {strconv.Itoa(id)}}), "xl/embeddings/inner.xlsx", workbook(n.tb, [][]any{{cardNumber(id)}}))
	}),
	"number-in-a-packed-part.xlsx": holding(func(n *damagedNight, id int) []byte {
		return carrying(n.tb, workbook(n.tb, [][]any{{"card_id"}, {strconv.Itoa(id)}}), "docProps/x.7z", []byte("7z\xbc\xaf\x27\x1c and so on"))
	}),
	"number-in-a-locked-workbook.xlsx": holding(func(n *damagedNight, id int) []byte {
		f := excelize.NewFile()
		defer f.Close()
		if err := f.SetCellValue("Sheet1", "A1", cardNumber(id)); err != nil {
			n.tb.Fatal(err)
		}
		out := new(bytes.Buffer)
		if err := f.Write(out, excelize.Options{Password: "secret"}); err != nil {
			n.tb.Fatal(err)
		}
		return out.Bytes()
	}),
	"number-in-7z.csv":        holding(func(*damagedNight, int) []byte { return []byte("7z\xbc\xaf\x27\x1c and so on") }),
	"number-in-an-xz.csv":     holding(func(*damagedNight, int) []byte { return []byte("\xfd7zXZ\x00 and so on") }),
	"number-in-a-zstd.csv":    holding(func(*damagedNight, int) []byte { return []byte("\x28\xb5\x2f\xfd and so on") }),
	"number-in-a-message.csv": holding(func(n *damagedNight, id int) []byte { return n.sealExtract(lines("card_id", cardNumber(id))) }),
	"number-as-a-part.xlsx": holding(func(n *damagedNight, id int) []byte {
		return carrying(n.tb, workbook(n.tb, [][]any{{"card_id"}, {strconv.Itoa(id)}}), "customXml/"+cardNumber(id)+".xml", []byte("<x/>"))
	}),
	"number-as-a-folder.xlsx": holding(func(n *damagedNight, id int) []byte {
		pan := cardNumber(id)
		return carrying(n.tb, workbook(n.tb, [][]any{{"card_id"}, {strconv.Itoa(id)}}), pan[:8]+"-"+pan[8:]+"/x.bin", []byte("x"))
	}),
	"number-as-a-part-twice.xlsx": holding(func(n *damagedNight, id int) []byte {
		name := "customXml/" + cardNumber(id) + ".xml"
		return carrying(n.tb, carrying(n.tb, workbook(n.tb, [][]any{{"card_id"}, {strconv.Itoa(id)}}), name, []byte("<x/>")), name, []byte("<x/>"))
	}),
	"number-as-a-merged-cell.xlsx": spoiled(`</sheetData>`, `</sheetData><mergeCells><mergeCell ref="NUMBER"/></mergeCells>`),
	"number-as-a-truth.xlsx":       spoiled(`<sheetData>`, `<sheetPr><outlinePr summaryBelow="NUMBER"/></sheetPr><sheetData>`),
	"number-as-a-style.xlsx":       spoiled(`<c r="A2"`, `<c r="A2" s="NUMBERx"`),
	"number-as-a-row-height.xlsx":  spoiled(`<row r="2"`, `<row r="2" ht="NUMBERx"`),
	"number-as-a-dimension.xlsx":   spoiled(`<sheetData>`, `<dimension ref="A1:NUMBER"/><sheetData>`),
	"number-as-an-element.xlsx":    spoiled(`</worksheet>`, `<a></bNUMBER></worksheet>`),
	"number-as-an-entity.xlsx":     spoiled(`</worksheet>`, `<a>&xNUMBER;</a></worksheet>`),
	"number-as-a-broken-name.xlsx": spoiled(`<sheetData>`, `<a:NUMBER:b/><sheetData>`),
	"number-over-cells.csv": holding(func(_ *damagedNight, id int) []byte {
		pan := cardNumber(id)
		return lines("card_id,a,b,c,d", strings.Join([]string{strconv.Itoa(id), pan[:4], pan[4:8], pan[8:12], pan[12:]}, ","))
	}),
	"number-over-cells.xlsx": holding(func(n *damagedNight, id int) []byte {
		pan := cardNumber(id)
		return workbook(n.tb, [][]any{{"card_id", "a", "b"}, {strconv.Itoa(id), pan[:8], pan[8:]}})
	}),
	"number-over-an-address.csv": holding(func(_ *damagedNight, id int) []byte {
		pan := cardNumber(id)
		return lines("card_id,address_line1,address_line2,city,postcode,country", strconv.Itoa(id)+","+pan[:8]+","+pan[8:]+",Berlin,10115,DE")
	}),
	"number-in-json.json": holding(func(_ *damagedNight, id int) []byte {
		return []byte(`{"cards":[` + strconv.Itoa(id) + `],"remark":"` + cardNumber(id) + `"}`)
	}),
}

// spoiled is a workbook in whose sheet a piece is replaced by one that has the card number for NUMBER.
func spoiled(from, to string) func(*damagedNight, int) damagedFile {
	return holding(func(n *damagedNight, id int) []byte {
		book := workbook(n.tb, [][]any{{"card_id"}, {strconv.Itoa(id)}})
		in, err := zip.NewReader(bytes.NewReader(book), int64(len(book)))
		if err != nil {
			n.tb.Fatal(err)
		}
		var out bytes.Buffer
		w := zip.NewWriter(&out)
		for _, part := range in.File {
			r, err := part.Open()
			if err != nil {
				n.tb.Fatal(err)
			}
			content, err := io.ReadAll(r)
			if err != nil {
				n.tb.Fatal(err)
			}
			if part.Name == "xl/worksheets/sheet1.xml" {
				if !bytes.Contains(content, []byte(from)) {
					n.tb.Fatalf("the sheet has no %s", from)
				}
				content = bytes.Replace(content, []byte(from), []byte(strings.ReplaceAll(to, "NUMBER", cardNumber(id))), 1)
			}
			copied, err := w.Create(part.Name)
			if err != nil {
				n.tb.Fatal(err)
			}
			if _, err := copied.Write(content); err != nil {
				n.tb.Fatal(err)
			}
		}
		if err := w.Close(); err != nil {
			n.tb.Fatal(err)
		}
		return out.Bytes()
	})
}

// carrying adds a part to a workbook.
func carrying(tb testing.TB, book []byte, name string, content []byte) []byte {
	tb.Helper()
	in, err := zip.NewReader(bytes.NewReader(book), int64(len(book)))
	if err != nil {
		tb.Fatal(err)
	}
	var out bytes.Buffer
	w := zip.NewWriter(&out)
	for _, part := range in.File {
		if err := w.Copy(part); err != nil {
			tb.Fatal(err)
		}
	}
	part, err := w.Create(name)
	if err == nil {
		_, err = part.Write(content)
	}
	if err == nil {
		err = w.Close()
	}
	if err != nil {
		tb.Fatal(err)
	}
	return out.Bytes()
}

// Names, links, pipes, nothing at all and card numbers where they do not belong, each group in one night.
func TestDamagedFilesThatNoRepositoryHolds(t *testing.T) {
	program := withoutRaceDetector(t)
	seen, count := map[string]bool{}, proof.Of(t, "damaged files")
	for group, cases := range damagedTable(t) {
		if !strings.HasPrefix(group, "made") {
			continue
		}
		count.Add(len(cases))
		for _, c := range cases {
			seen[c.File] = true
		}
		t.Run(group, func(t *testing.T) {
			t.Parallel()
			n := newDamagedNight(t, program)
			var files []damagedFile
			for i, c := range cases {
				make := madeFiles[c.File]
				if make == nil {
					t.Fatalf("%s: nobody makes it", c.File)
				}
				f := make(n, firstMade+i)
				if f.damagedCase = c; f.name == "" {
					f.name, f.shown = c.File, c.File
					n.write("inbox/"+f.name, f.content)
				}
				files = append(files, f)
			}
			told := n.run(files)
			n.pageIsWhole(told)
			if _, err := os.Lstat(n.Path("evil")); err == nil {
				t.Error("a name was run by a shell")
			}
		})
	}
	for name := range madeFiles {
		if !seen[name] {
			t.Errorf("%s has no line in expected.yaml", name)
		}
	}
}

// pageIsWhole wants no sender's name to be markup in the report, and none of its characters to command a terminal.
func (n *damagedNight) pageIsWhole(told *report.Reconciliation) {
	n.tb.Helper()
	page := string(n.read("reports", told.RunID, "reconciliation.html"))
	for _, bad := range []string{"<img src=x", "\x1b", "\u202e", "\u0085"} {
		if strings.Contains(page, bad) {
			n.tb.Errorf("the report's page has %q of a file's name", bad)
		}
	}
}
