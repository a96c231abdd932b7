package main

import (
	"archive/zip"
	"bytes"
	"encoding/base64"
	"encoding/binary"
	"encoding/csv"
	"encoding/hex"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/xuri/excelize/v2"

	"reemboss/bureau"
	"reemboss/formats/iso"
	"reemboss/formats/layout"
)

// secrets is what must not be found anywhere: by the bytes to look for, what they are. Names never hold card data.
type secrets map[string]string

// pan adds a card number in every form in which a program could let it lie about.
func (s secrets) pan(pan, what string) {
	if len(pan) < iso.MinPANLength {
		return
	}
	s[pan] = what
	for name, separator := range map[string]string{"with spaces": " ", "with hyphens": "-", "with dots": "."} {
		var groups []string
		for rest := pan; rest != ""; rest = rest[min(4, len(rest)):] {
			groups = append(groups, rest[:min(4, len(rest))])
		}
		s[strings.Join(groups, separator)] = what + " " + name
	}
	var utf16LE, utf16BE strings.Builder
	for _, digit := range pan {
		utf16LE.WriteString(string(digit) + "\x00")
		utf16BE.WriteString("\x00" + string(digit))
	}
	s[utf16LE.String()], s[utf16BE.String()] = what+" in UTF-16", what+" in UTF-16"
	s[hex.EncodeToString([]byte(pan))] = what + " in hex"
	s.base64(pan, what)
	packed, err := hex.DecodeString(pan + strings.Repeat("F", len(pan)%2))
	if err == nil {
		s[string(packed)] = what + " packed"
		s.base64(string(packed), what+" packed")
	}
	if number, err := strconv.ParseUint(pan, 10, 64); err == nil && number > 1<<48 {
		big, little := binary.BigEndian.AppendUint64(nil, number), binary.LittleEndian.AppendUint64(nil, number)
		s[string(bytes.TrimLeft(big, "\x00"))] = what + " as an integer"
		s[string(bytes.TrimRight(little, "\x00"))] = what + " as an integer"
	}
	for _, mark := range []string{"=", "^", "D"} {
		s[pan+mark] = "a track with " + what
	}
}

// base64 adds the inner part of the encoding, which does not depend on what stands before and after, for each of the three alignments.
func (s secrets) base64(text, what string) {
	for _, encoding := range []*base64.Encoding{base64.StdEncoding, base64.URLEncoding} {
		for before := range 3 {
			encoded := encoding.EncodeToString([]byte(strings.Repeat("\x00", before) + text + strings.Repeat("\x00", 3)))
			from, to := (before*8+5)/6, (before+len(text))*8/6
			s[encoded[from:to]] = what + " in base64"
		}
	}
}

// record adds what a card carries.
func (s secrets) record(r layout.Record, what string) {
	s.pan(r[layout.PAN], "the number of "+what)
	for _, field := range []layout.Field{layout.Track1, layout.Track2, layout.ChipTrack1, layout.ChipTrack2, layout.ChipTrack1MSD, layout.ChipTrack2MSD, layout.CVV2Face, layout.PANGrouped} {
		if v := r[field]; len(v) >= 8 {
			s[v] = string(field) + " of " + what
		}
	}
}

// cardNumbers are those of the ranges of the test, known or not.
var cardNumbers = regexp.MustCompile(`(?:411111|555555)[ -]?\d{2}[ -]?\d{4}[ -]?\d{4}`)

// cardNumbersIn looks with the expression only where a number may begin.
func cardNumbersIn(text []byte) (n int) {
	for _, prefix := range []string{"411111", "555555"} {
		for rest := text; ; {
			at := bytes.Index(rest, []byte(prefix))
			if at < 0 {
				break
			}
			if cardNumbers.Match(rest[at:min(at+24, len(rest))]) {
				n++
			}
			rest = rest[at+len(prefix):]
		}
	}
	return n
}

// search looks into bytes, and into the parts of an archive.
func (s secrets) search(place string, content []byte, found func(place, what string)) {
	for needle, what := range s {
		if bytes.Contains(content, []byte(needle)) {
			found(place, what)
		}
	}
	for _, text := range [][]byte{content, bytes.ReplaceAll(content, []byte{0}, nil)} {
		if n := cardNumbersIn(text); n > 0 {
			found(place, fmt.Sprintf("%d card numbers of our ranges", n))
		}
	}
	if archive, err := zip.NewReader(bytes.NewReader(content), int64(len(content))); err == nil {
		for _, part := range archive.File {
			r, err := part.Open()
			if err != nil {
				found(place, "a part that cannot be opened: "+part.Name)
				continue
			}
			unpacked, err := io.ReadAll(r)
			if err != nil {
				found(place, "a part that cannot be read: "+part.Name)
			}
			s.search(place+"!"+part.Name, unpacked, found)
		}
	}
}

// leaks searches every file and every file name of the workspace, and what the processes said.
func (s secrets) leaks(w *workspace, said ...[]byte) (found []string) {
	w.tb.Helper()
	tell := func(place, what string) { found = append(found, place+": "+what) }
	for path, content := range w.files(".") {
		s.search(path, []byte(content), tell)
		s.search("the name "+path, []byte(path), tell)
	}
	for i, text := range said {
		s.search(fmt.Sprintf("output %d", i), text, tell)
	}
	slices.Sort(found)
	return slices.Compact(found)
}

// sealExtract encrypts an extract to the workspace's own key, as production demands it.
func (w *workspace) sealExtract(content []byte) []byte {
	w.tb.Helper()
	own, err := bureau.ReadPrivateKey(w.Path("keys/issuer.pgp"), nil, "", time.Now())
	if err != nil {
		w.tb.Fatal(err)
	}
	var out bytes.Buffer
	sealed, err := bureau.Seal(&out, bureau.Sealing{To: []*bureau.Key{own}, Signer: own, FileName: "cards.csv", Time: time.Now()})
	if err != nil {
		w.tb.Fatal(err)
	}
	if _, err := sealed.Write(content); err != nil {
		w.tb.Fatal(err)
	}
	if err := sealed.Close(); err != nil {
		w.tb.Fatal(err)
	}
	return out.Bytes()
}

// spaced is a card number as people type it.
func spaced(pan string) string { return pan[:4] + " " + pan[4:8] + " " + pan[8:12] + " " + pan[12:] }

// carelessNight fills the inbox with card numbers wherever a person or a system could put one.
func (w *workspace) carelessNight() (requests map[string][]byte, s secrets) {
	w.tb.Helper()
	extract, cards := sampleCards(w.tb, 90)
	s = secrets{}
	for _, c := range cards {
		s.pan(c.pan, "the number of card "+c.id)
	}
	rows := strings.Split(strings.TrimSpace(string(extract)), "\n")
	header := strings.Split(rows[0], ",")
	altered := func(card int, changes map[string]string) string { // a row of the extract with some cells changed
		cells, err := csv.NewReader(strings.NewReader(rows[1+card])).Read()
		if err != nil {
			w.tb.Fatal(err)
		}
		for column, value := range changes {
			cells[slices.Index(header, column)] = value
		}
		var out strings.Builder
		line := csv.NewWriter(&out)
		_ = line.Write(cells)
		line.Flush()
		return strings.TrimSuffix(out.String(), "\n")
	}
	wrongLuhn := cards[60].pan[:15] + string('0'+(cards[60].pan[15]-'0'+1)%10)
	s.pan(wrongLuhn, "a number with a wrong check digit")
	clear := append(slices.Clone(rows[:60]),
		altered(60, map[string]string{"pan": wrongLuhn}),
		altered(61, map[string]string{"printed_name": spaced(cards[61].pan)}),
		altered(62, map[string]string{"product": cards[62].pan}),
		altered(63, map[string]string{"card_id": cards[63].pan}),
		altered(64, map[string]string{"account_id": cards[64].pan, "address_line1": "at " + cards[64].pan}),
		altered(65, map[string]string{"status": cards[65].pan}),
		altered(66, map[string]string{"expiry": cards[66].pan}),
		altered(67, map[string]string{"program_id": cards[67].pan}),
		altered(68, map[string]string{"customer_id": spaced(cards[68].pan)}),
		altered(69, map[string]string{"pan": cards[0].pan}), // the number of another card
		altered(70, map[string]string{"psn": cards[70].pan}),
		altered(71, map[string]string{"card_type": cards[71].pan}),
		altered(72, map[string]string{"country": cards[72].pan}),
		altered(73, map[string]string{"phone": cards[3].pan}), // a known number in another card's row
	)
	w.write("inbox/cards/a-clear.csv", lines(clear...))
	var book [][]any
	for _, row := range append([]string{rows[0]}, rows[76:80]...) {
		var cells []any
		for _, cell := range strings.Split(row, ",") {
			cells = append(cells, cell)
		}
		book = append(book, cells)
	}
	w.write("inbox/cards/b-book.xlsx", workbook(w.tb, book))
	w.write("inbox/cards/c-sealed.csv.pgp", w.sealExtract(lines(append([]string{rows[0]}, rows[81:86]...)...)))
	w.write("inbox/cards/d-broken.csv", lines("card_id,customer_id,pan", "1,C1,"+cards[1].pan, "2,C2,"+wrongLuhn))

	pan := func(card int) string { return cards[card].pan }
	requests = map[string][]byte{
		"a-again.csv": lines("card_id,reference,submitter,embossing_group,address_line1,remark,"+pan(5),
			cards[0].id+",A-0,,,,,", pan(1)+",A-1,,,,,", cards[2].id+","+spaced(pan(2))+",,,,,", cards[3].id+",A-3,"+pan(3)+",,,,",
			cards[4].id+",A-4,,"+pan(4)+",,,", cards[5].id+",A-5,,,"+pan(5)+" street,,", cards[6].id+",A-6,,,,call "+spaced(pan(6))+" now,",
			cards[7].id+",A-7,,,,=HYPERLINK("+pan(7)+"),", spaced(pan(8))+",A-8,,,,,", pan(9)[:4]+"-"+pan(9)[4:]+",A-9,,,,,"),
		"b-replace.csv": lines("Replacements for "+pan(20), "", "card_id;user_id;reason_code;reissue_type;shipping_method;printed_name",
			cards[10].id+";"+cards[10].customer+";lost;;;", cards[12].id+";"+pan(12)+";lost;;;", cards[13].id+";"+cards[13].customer+";"+pan(13)+";;;",
			cards[14].id+";"+cards[14].customer+";lost;"+pan(14)+";;", cards[15].id+";"+cards[15].customer+";lost;;"+pan(15)+";",
			cards[16].id+";"+cards[16].customer+";damaged;;;"+pan(16), cards[17].id+";"+cards[17].customer+";fraud;;;"),
		"c-book.xlsx":           carelessBook(w.tb, cards),
		"d-body.json":           []byte(`{"cards":[` + cards[20].id + `,` + pan(21) + `,"` + spaced(pan(22)) + `"]}`),
		"e-body.json":           []byte(`[{"cardId":"` + cards[23].id + `","userId":"` + cards[23].customer + `","reasonCode":"lost","reference":"` + pan(24) + `","` + pan(25) + `":1}]`),
		"f-refused.csv":         lines("first,second", "x,"+pan(26), spaced(pan(27))+",y"),
		"g-cut.xlsx":            carelessBook(w.tb, cards)[:3000],
		"h-utf16.csv":           utf16File("card_id\tremark\r\n" + cards[30].id + "\tthe number is " + pan(31) + "\r\n"),
		"i-headers.csv":         lines("card_id,card_id,"+pan(32), "1,2,3"),
		"j-" + pan(33) + ".csv": lines("card_id", cards[33].id),
	}
	for name, content := range requests {
		w.write("inbox/"+name, content)
	}
	return requests, s
}

func utf16File(text string) []byte {
	out := []byte{0xff, 0xfe}
	for _, r := range text {
		out = append(out, byte(r), 0)
	}
	return out
}

// carelessBook has card numbers in a title, a header, cells of text and of numbers, a comment, a hidden sheet, the name
// of a sheet and the properties of the document.
func carelessBook(tb testing.TB, cards []plastic) []byte {
	tb.Helper()
	f := excelize.NewFile()
	defer f.Close()
	must := func(err error) {
		tb.Helper()
		if err != nil {
			tb.Fatal(err)
		}
	}
	for r, row := range [][]any{
		{"cards of " + spaced(cards[40].pan)},
		{"Card ID", "User ID", "Reason code", "Comment", cards[41].pan},
		{cards[42].id, cards[42].customer, "lost", "was " + cards[42].pan},
		{cards[43].id, cards[43].customer, "damaged", 0},
		{cards[44].pan, cards[44].customer, "damaged", ""},
		{cards[45].id, cards[45].customer, "fraud", ""},
	} {
		must(f.SetSheetRow("Sheet1", fmt.Sprintf("A%d", r+1), &row))
	}
	number, err := strconv.ParseInt(cards[46].pan, 10, 64)
	must(err)
	must(f.SetCellInt("Sheet1", "D4", number))
	must(f.AddComment("Sheet1", excelize.Comment{Cell: "A3", Author: "a person", Paragraph: []excelize.RichTextRun{{Text: "number " + cards[47].pan}}}))
	_, err = f.NewSheet("hidden")
	must(err)
	must(f.SetCellValue("hidden", "B2", cards[49].pan))
	_, err = f.NewSheet(cards[48].pan)
	must(err)
	must(f.SetSheetCol(cards[48].pan, "A1", &[]string{"Card ID", cards[51].id, cards[52].pan}))
	must(f.SetSheetVisible("hidden", false))
	must(f.SetDocProps(&excelize.DocProperties{Title: "about " + cards[50].pan, Creator: "a person"}))
	return bookBytes(tb, f)
}

// After a night with card numbers wherever people put them, none is in clear in any file of the workspace, archives
// unpacked, the ledger's file included, nor in anything that a process said, nor in the temporary folder.
func TestInvariant5_NothingClearAnywhereAfterANight(t *testing.T) {
	w := newWorkspace(t)
	requests, s := w.carelessNight()
	temporary := t.TempDir()
	var said [][]byte
	say := func(args ...string) {
		t.Helper()
		r := w.start([]string{"TMPDIR=" + temporary}, append([]string{"--dir", w.Dir, "--log-level", "debug"}, args...)...)
		if r.exit != exitComplete && r.exit != exitPerson {
			t.Fatalf("%v: exit %d\n%s", args[0], r.exit, r.stderr)
		}
		said = append(said, r.stdout, r.stderr)
	}
	copies := t.TempDir()
	say("run", "--json")
	for _, name := range slices.Sorted(maps.Keys(requests)) {
		if err := os.WriteFile(filepath.Join(copies, name), requests[name], 0o600); err != nil {
			t.Fatal(err)
		}
	}
	runID := lastReport(t, w.Dir).RunID
	say("report", runID, "--json")
	say("status", "--json")
	say("status")
	for _, name := range []string{"a-again.csv", "b-replace.csv", "c-book.xlsx", "d-body.json", "e-body.json", "f-refused.csv", "g-cut.xlsx", "h-utf16.csv", "i-headers.csv"} {
		say("check", "--json", filepath.Join(copies, name))
		say("check", filepath.Join(copies, name))
	}
	say("run")
	control := w.secretsOfTheNight(s)
	if r := lastReport(t, w.Dir); len(control) < 9 || r.ExitCode != exitComplete {
		t.Fatalf("only %d cards were made; the last run ended with %d", len(control), r.ExitCode)
	}

	for i, text := range control { // the search finds what is there
		hits := 0
		s.search("", text, func(string, string) { hits++ })
		if hits == 0 {
			t.Errorf("the search does not find the secrets of opened file %d", i)
		}
	}
	for _, place := range s.leaks(w, said...) {
		t.Error(place)
	}
	_, cards := sampleCards(t, 34)
	pan := cards[33].pan
	if left := len(dirEntries(t, temporary)); left > 0 {
		t.Errorf("%d files are left in the temporary folder", left)
	}
	w.requestsAreWhole(map[string][]byte{"a-again.csv": requests["a-again.csv"], "c-book.xlsx": requests["c-book.xlsx"],
		"f-refused.csv": requests["f-refused.csv"], "g-cut.xlsx": requests["g-cut.xlsx"]})
	w.one("refused/*/g-cut.xlsx.pgp")                           // nobody can look into it
	w.one("done/*/j-" + pan[:6] + "xxxxxx" + pan[12:] + ".csv") // its name was a card number
}

func dirEntries(tb testing.TB, dir string) []os.DirEntry {
	tb.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		tb.Fatal(err)
	}
	return entries
}

// secretsOfTheNight adds what the delivered files hold, and gives their clear texts.
func (w *workspace) secretsOfTheNight(s secrets) (clear [][]byte) {
	w.tb.Helper()
	for _, m := range w.delivered() {
		s.record(m.Record, "card "+m.Record[layout.UID])
		clear = append(clear, []byte(m.Record[layout.PAN]+" "+m.Record[layout.CVV2Face]))
	}
	for _, line := range w.cardSystem() {
		s.pan(line["pan"], "the number issued by "+line["uid"])
	}
	for _, name := range []string{"alpha", "beta"} {
		for _, path := range w.glob("simulator/" + name + "/incoming/*.pgp") {
			clear = append(clear, w.openAt(path, "simulator/"+name+"/keys/bureau.pgp"))
		}
	}
	return clear
}

// Killed at any of these points, the same holds, but for what is still the sender's: what lies in the inbox, and what
// was taken and not yet answered.
func TestInvariant5_NothingClearAnywhereAfterAKill(t *testing.T) {
	prepared := newWorkspace(t)
	prepared.program = withoutRaceDetector(t)
	_, s := prepared.carelessNight()
	for _, point := range []string{"cards/imported", "cards/imported#2", "cards/away#3", "decide/committed", "decide/committed#4", "write/planned", "write/sealed", "write/written#2",
		"sent/UPLOADED", "sent/RENAMING", "sent/SENT#2", "answer/result#3", "answer/sealed", "reconcile/reports", "reconcile/finished"} {
		t.Run(strings.ReplaceAll(point, "/", ":"), func(t *testing.T) {
			t.Parallel()
			w, s := prepared.copyOf(t), maps.Clone(s)
			killed := w.killed(point)
			after := w.copyOf(t) // as it lies there: the write-ahead log too
			for _, folder := range []string{"inbox", "state/intake"} {
				for path := range after.files(folder) {
					if point == "reconcile/finished" {
						t.Errorf("%s is left after the night", path)
					}
					after.remove(path)
				}
			}
			r := w.start(nil, "--dir", w.Dir, "--log-level", "debug", "run")
			if r.exit != exitPerson && r.exit != exitComplete {
				t.Fatalf("started again: exit %d\n%s", r.exit, r.stderr)
			}
			w.secretsOfTheNight(s) // the numbers that the killed process had drawn
			for _, place := range s.leaks(after, killed.stdout, killed.stderr) {
				t.Error("after the kill: " + place)
			}
			for _, place := range s.leaks(w, r.stdout, r.stderr) {
				t.Error("after the night: " + place)
			}
		})
	}
}
