package main

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"reemboss/bureau"
	"reemboss/testdata/proof"
)

// damagedExtracts by the name of their line in expected.yaml; rows are those of a good extract without its header.
var damagedExtracts = map[string]func(n *damagedNight, header string, rows []string) []byte{
	"good.csv":           func(_ *damagedNight, h string, r []string) []byte { return lines(h, r[0], r[1]) },
	"cut-in-a-row.csv":   func(_ *damagedNight, h string, r []string) []byte { return []byte(h + "\n" + r[0] + "\n" + r[1][:30]) },
	"without-header.csv": func(_ *damagedNight, _ string, r []string) []byte { return lines(r[0]) },
	"without-pan.csv": func(_ *damagedNight, h string, r []string) []byte {
		return lines(strings.Replace(h, ",pan,", ",,", 1), r[0])
	},
	"header-only.csv": func(_ *damagedNight, h string, _ []string) []byte { return lines(h) },
	"nothing.csv":     func(*damagedNight, string, []string) []byte { return []byte{} },
	"wrong-digit.csv": func(n *damagedNight, h string, r []string) []byte {
		last := r[0][strings.Index(r[0], ",411111")+16]
		wrong := string('0' + (last-'0'+1)%10)
		at := strings.Index(r[0], ",411111") + 16
		return lines(h, r[0][:at]+wrong+r[0][at+1:], r[1])
	},
	"number-as-a-spreadsheet-has-it.csv": func(_ *damagedNight, h string, r []string) []byte {
		return lines(h, withNumber(r[0], "4.11111E+15"), r[1])
	},
	"same-card-twice.csv": func(_ *damagedNight, h string, r []string) []byte { return lines(h, r[0], r[0]) },
	"number-twice.csv": func(_ *damagedNight, h string, r []string) []byte {
		return lines(h, r[0], withNumber(r[1], numberOf(r[0])))
	},
	"number-in-a-name.csv": func(_ *damagedNight, h string, r []string) []byte {
		return lines(h, strings.Replace(r[0], "Ada Byron", numberOf(r[1]), 1), r[1])
	},
	"semicolons-utf16.csv": func(_ *damagedNight, h string, r []string) []byte {
		return utf16File(strings.ReplaceAll(h+"\r\n"+r[0]+"\r\n", ",", ";"))
	},
	"nul.csv": func(_ *damagedNight, h string, r []string) []byte { return []byte(h + "\n" + r[0] + "\n\x00\n") },
	"quote-never-closed.csv": func(_ *damagedNight, h string, r []string) []byte {
		return lines(h, strings.Replace(r[0], "Ada", `"Ada`, 1), r[1])
	},
	"sealed.csv.pgp": func(n *damagedNight, h string, r []string) []byte { return n.sealExtract(lines(h, r[0])) },
	"sealed-cut.csv.pgp": func(n *damagedNight, h string, r []string) []byte {
		message := n.sealExtract(lines(h, r[0]))
		return message[:len(message)-20]
	},
	"sealed-changed.csv.pgp": func(n *damagedNight, h string, r []string) []byte {
		message := n.sealExtract(lines(h, r[0]))
		message[len(message)-40] ^= 1
		return message
	},
	"sealed-to-another.csv.pgp": func(n *damagedNight, h string, r []string) []byte {
		other, err := bureau.GenerateKey("another", "another@example.invalid", time.Now(), time.Hour)
		if err != nil {
			n.tb.Fatal(err)
		}
		var out bytes.Buffer
		in, err := bureau.Seal(&out, bureau.Sealing{To: []*bureau.Key{other}, Signer: other, FileName: "cards.csv", Time: time.Now()})
		if err == nil {
			_, err = in.Write(lines(h, r[0]))
		}
		if err == nil {
			err = in.Close()
		}
		if err != nil {
			n.tb.Fatal(err)
		}
		return out.Bytes()
	},
	"sealed-nothing.csv.pgp": func(n *damagedNight, _ string, _ []string) []byte { return n.sealExtract(nil) },
	"sealed-rubbish.csv.pgp": func(*damagedNight, string, []string) []byte {
		return append([]byte{0xc1, 0xa5, 3}, bytes.Repeat([]byte{0xa5}, 300)...) // an encrypted session key of version 3, and rubbish
	},
	"armour-cut.csv.asc": func(*damagedNight, string, []string) []byte {
		return []byte("-----BEGIN PGP MESSAGE-----\n\nwcBMA0abcdabcdabcd\n")
	},
	"workbook-cut.xlsx": func(n *damagedNight, h string, r []string) []byte {
		var cells [][]any
		for _, line := range []string{h, r[0]} {
			var row []any
			for _, cell := range strings.Split(line, ",") {
				row = append(row, cell)
			}
			cells = append(cells, row)
		}
		book := workbook(n.tb, cells)
		return book[:len(book)-100]
	},
}

func numberOf(row string) string {
	at := strings.Index(row, ",411111") + 1
	return row[at : at+16]
}

func withNumber(row, number string) string { return strings.Replace(row, numberOf(row), number, 1) }

// Damaged extracts of the card master: each row is answered, the good ones go in, what is refused is kept sealed only,
// and a clear file is gone once it is imported.
func TestDamagedExtractsAreAnsweredAsTheTableSays(t *testing.T) {
	cases := damagedTable(t)["extracts"]
	if len(cases) != len(damagedExtracts) {
		t.Fatalf("expected.yaml has %d extracts, the test makes %d", len(cases), len(damagedExtracts))
	}
	proof.Of(t, "damaged files").Add(len(cases))
	n := newDamagedNight(t, withoutRaceDetector(t))
	all, _ := damagedCards()
	table := strings.Split(strings.TrimSpace(string(all)), "\n")
	want := exitComplete
	s := newSecrets()
	for i, c := range cases {
		make := damagedExtracts[c.File]
		if make == nil {
			t.Fatalf("%s: nobody makes it", c.File)
		}
		var rows []string
		for k := range 2 { // cards that the good extract does not have
			id := 30000 + 10*i + k
			row := strings.Replace(table[1], "20000,C20000", cardOf(id).id+","+cardOf(id).customer, 1)
			rows = append(rows, withNumber(row, cardOf(id).pan))
			s.pan(cardOf(id).pan, "the number of a card of "+c.File)
		}
		n.write("inbox/cards/"+c.File, make(n, table[0], rows))
		if c.Refused != "" {
			want = exitPerson
		}
	}
	r := n.do(want, "run", "--json")
	balanced(t, told(t, r))
	for _, c := range cases {
		n.extractAnswered(c)
	}
	n.rowsOf("!first.csv", "2:00")
	n.rowsOf("~last.csv", "2:00")
	for _, place := range s.leaks(n.workspace, r.stdout, r.stderr) {
		t.Error(place)
	}
}

func cardOf(id int) plastic {
	_, card := damagedCards()
	return card(id)
}

// extractAnswered compares the rows of an extract's result, and how it is kept.
func (n *damagedNight) extractAnswered(c damagedCase) {
	n.tb.Helper()
	paths := append(n.glob("done/*/"+c.File+".result.csv"), n.glob("refused/*/"+c.File+".result.csv")...)
	if len(paths) != 1 {
		n.tb.Errorf("%s (%s) has %d results", c.File, c.Wrong, len(paths))
		return
	}
	var got []string
	refused := false
	for _, row := range table(n.tb, n.read(paths[0])) {
		got = append(got, row["row"]+":"+row["code"])
		refused = refused || row["outcome"] == "refused" && row["row"] != "0"
	}
	wants := "0:" + c.Refused
	if c.Rows != nil {
		wants = *c.Rows
	}
	if have := strings.Join(got, " "); have != wants {
		n.tb.Errorf("%s (%s):\n got %s\nwant %s\n%s", c.File, c.Wrong, have, wants, n.read(paths[0]))
	}
	folder := filepath.Dir(paths[0])
	exists := func(name string) bool { _, err := os.Lstat(n.Path(folder, name)); return err == nil }
	encrypted := strings.HasSuffix(c.File, ".pgp") || strings.HasSuffix(c.File, ".asc")
	if kept := exists(c.File); kept != encrypted {
		n.tb.Errorf("%s (%s): it is kept as it came: %v", c.File, c.Wrong, kept)
	}
	if kept := exists(c.File + ".refused.csv.pgp"); kept != refused {
		n.tb.Errorf("%s (%s): its refused rows are kept: %v, want %v", c.File, c.Wrong, kept, refused)
	}
	if kept := exists(c.File + ".pgp"); kept != (c.Refused != "" && !encrypted) {
		n.tb.Errorf("%s (%s): it is kept sealed: %v", c.File, c.Wrong, kept)
	}
	if len(n.glob("inbox/cards/"+c.File)) > 0 {
		n.tb.Errorf("%s (%s) is still in the inbox", c.File, c.Wrong)
	}
}
