package batch

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"unicode"
)

// Ways to write a card number of 16 digits that people and programs have.
var writings = map[string]func(string) string{
	"space dash space": inGroups(" - "), "two spaces": inGroups("  "), "two hyphens": inGroups("--"), "comma": inGroups(", "), "colon": inGroups(": "),
	"tab": inGroups("\t"), "bar": inGroups("|"), "asterisk": inGroups("*"), "plus": inGroups("+"), "backslash": inGroups("\\"),
	"em space": inGroups("\u2003"), "em dash": inGroups("\u2014"), "minus": inGroups("\u2212"), "ideographic space": inGroups("\u3000"),
	"zero width": inGroups("\u200b"), "soft hyphen": inGroups("\u00ad"), "line end": inGroups("\n"),
	"full width": inScript('\uff10'), "Arabic": inScript('\u0660'), "different": func(n string) string { return n[:4] + ", " + n[4:9] + " : " + n[9:] },
}

func inGroups(gap string) func(string) string {
	return func(n string) string { return strings.Join([]string{n[:4], n[4:8], n[8:12], n[12:]}, gap) }
}

func inScript(zero rune) func(string) string {
	return func(n string) string { return strings.Map(func(r rune) rune { return zero + r - '0' }, n) }
}

// onlyDigits writes the decimal digits that the tests use as ASCII, and leaves out all else but letters and masks.
func onlyDigits(text string) string {
	return strings.Map(func(r rune) rune {
		for _, zero := range []rune{'\uff10', '\u0660'} {
			if r >= zero && r <= zero+9 {
				return '0' + r - zero
			}
		}
		if unicode.IsLetter(r) || unicode.IsDigit(r) || r == '*' {
			return r
		}
		return -1
	}, text)
}

// nowhere fails for every file of the workspace, and every name of one, that shows one of the numbers, however written.
func (b *bench) nowhere(numbers ...string) {
	b.Helper()
	err := filepath.WalkDir(b.Dir, func(path string, d os.DirEntry, err error) error {
		if err != nil || d.IsDir() || strings.Contains(path, "/simulator/") {
			return err
		}
		content, err := os.ReadFile(path)
		for at, text := range map[string]string{"": string(content), "the name of ": filepath.Base(path)} {
			shown := onlyDigits(text)
			if n := slices.IndexFunc(numbers, func(n string) bool { return strings.Contains(shown, n) }); n >= 0 {
				b.Errorf("%s%s shows the card number %d", at, onlyLetters(b.Relative(path)), n)
			}
		}
		return err
	})
	if err != nil {
		b.Fatal(err)
	}
}

func onlyLetters(text string) string {
	return strings.Map(func(r rune) rune {
		if unicode.IsDigit(r) {
			return '#'
		}
		return r
	}, text)
}

func TestACardNumberIsRecognisedHoweverItIsWritten(t *testing.T) {
	b := newBench(t)
	b.cards("1 C1 NORMAL 411111000000001 00", "2 C2 NORMAL 411111000000002 00")
	number := b.number(2)
	fields := "card_id,user_id,reason_code,printed_name,address_line1,reference,submitter,comment\n"
	var rows []map[string]any
	for way, write := range writings {
		quoted := `"` + strings.ReplaceAll(write(number), `"`, `""`) + `"`
		b.drop("name "+way+".csv", fields+"1,C1,damaged,"+quoted+",,,,\n")
		b.drop("street "+way+".csv", fields+"1,C1,damaged,,"+quoted+",,,\n")
		b.drop("others "+way+".csv", fields+quoted+","+quoted+","+quoted+",,,"+quoted+","+quoted+","+quoted+"\n")
		b.drop("title "+way+".csv", "Cards of "+write(number)+"\n"+fields+"7,C1,damaged,,,,,\n")
		b.drop("refused "+way+".csv", "no header of ours "+write(number)+"\n")
		b.drop("named "+write(number)+".csv", fields+"8,C1,damaged,,,,,\n")
		rows = append(rows, map[string]any{"cardId": "9", "userId": "C1", "reasonCode": 1, "note": write(number)})
	}
	text, err := json.Marshal(map[string]any{"cards": rows})
	if err != nil {
		t.Fatal(err)
	}
	b.drop("ways.json", string(text))
	if r := b.run(); r.Accepted != 0 {
		t.Errorf("%d cards with a card number as name or street were accepted", r.Accepted)
	}
	for way := range writings {
		for _, kind := range []string{"name ", "street "} {
			b.want(b.codes("done", kind+way+".csv"), "row_malformed")
		}
	}
	b.nowhere(number)
}

func TestACardNumberOfABureauIsRecognisedHoweverItIsWritten(t *testing.T) {
	b, s := oneCard(t)
	number := b.number(2)
	var lines []string
	for _, write := range writings {
		q := `"` + strings.ReplaceAll(write(number), "\n", "|") + `"`
		at := b.now.UTC().Format("2006-01-02T15:04:05Z")
		lines = append(lines, fmt.Sprintf("CARD,%s,%d,%s,REJECTED,,%s,%s,%s,%s,%s", s.FileName, s.Sequence, s.UID, q, q, q, q, at),
			fmt.Sprintf("CARD,%s,%s,%s,%s,%s,,,,,%s", s.FileName, q, q, q, q, at))
	}
	b.answer("r.csv", lines...)
	for way, write := range writings {
		b.answer(way+" "+strings.NewReplacer("\n", "|").Replace(write(number))+".csv", b.event(s, "PRODUCED", b.now))
	}
	b.run()
	b.nowhere(number)
}

func TestACardNumberInAnExtractIsRecognisedHoweverItIsWritten(t *testing.T) {
	b := newBench(t)
	b.cards("1 C1 NORMAL 411111000000001 00")
	extract := filepath.Join(b.InboxCards(), "cards.csv")
	text, err := os.ReadFile(extract)
	if err != nil {
		t.Fatal(err)
	}
	for _, write := range writings {
		text = fmt.Appendf(text, "3,C3,NORMAL,%s,00,100,\"%s\",203611,\"%s\",1 Street,Berlin,10115,DE\n", b.number(3), write(b.number(1)), write(b.number(1)))
	}
	if err := os.WriteFile(extract, text, 0o600); err != nil {
		t.Fatal(err)
	}
	b.run()
	b.nowhere(b.number(1))
}

// Of a track nothing stays but what of its card number may be shown: neither expiry nor service code nor discretionary data.
func TestTheRestOfATrackIsMaskedWithItsCardNumber(t *testing.T) {
	b, s := oneCard(t)
	number, tail, name := b.number(2), "27082011234567890", "TESTER/ANNA"
	tracks := map[string]string{"track 2": number + "=" + tail, "with sentinels": ";" + number + "=" + tail + "?", "in a chip": number + "D" + tail + "F",
		"track 1": "%B" + number + "^" + name + "^" + tail + "?", "in groups": inGroups(" ")(number) + " = " + tail}
	for place, track := range tracks {
		b.drop("track "+place+".csv", "card_id,user_id,reason_code,reference,printed_name,comment\n"+
			"1,C1,damaged,"+track+",,"+track+" please\n1,C1,damaged,,"+track+",\n"+track+",C1,"+track+",,,\n")
		b.drop("refused "+strings.ReplaceAll(track, "/", "-")+".csv", "x\n")
		b.drop(place+".xlsx", workbook(t, requestTable(1), rowOf(1, "<t>read "+track+" twice</t>")))
	}
	b.answer("r.csv", strings.Replace(b.event(s, "REJECTED", b.now), "REJECTED,,,,", "REJECTED,,7,read "+tracks["track 1"]+" twice,", 1))
	b.run()
	b.nowhere(number, tail, onlyDigits(name))
	result, err := os.ReadFile(first(t, b.Path("done", "*", "track track 2.csv.result.csv")))
	if err != nil || !strings.Contains(string(result), ","+number[:6]+"******"+number[12:]+"="+strings.Repeat("*", len(tail))+" please,") {
		t.Errorf("the comment is not masked as it should be (%v)", err)
	}
	if got := b.order(1).Events[0].Description; !strings.HasSuffix(got, "? twice") {
		t.Errorf("what follows a track is hidden too: %q", got)
	}
}

func first(t *testing.T, pattern string) string {
	t.Helper()
	found, err := filepath.Glob(pattern)
	if err != nil || len(found) == 0 {
		t.Fatalf("%s: %v", pattern, err)
	}
	return found[0]
}
