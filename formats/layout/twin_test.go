package layout

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

// secretsOf are the secret values of records, the card number in every form that the sample has.
func secretsOf(records []Record) []string {
	var list []string
	for _, r := range records {
		for f, v := range r {
			// Three digits of a CVV2 are everywhere; twins are searched for it in its element below.
			if f.Secret() && f != CVV2 && v != "" {
				list = append(list, v)
			}
		}
	}
	return list
}

func TestNoSecretIsInABuiltInTwin(t *testing.T) {
	records := night()
	for _, name := range Names() {
		l := compiled(t, name)
		twin := twinOf(t, l, records)
		for _, secret := range secretsOf(records) {
			if bytes.Contains(twin, []byte(secret)) {
				t.Errorf("%s: a secret of %d characters is in the twin", name, len(secret))
			}
		}
		for _, r := range records {
			if !bytes.Contains(twin, []byte(r[PANMasked])) || !bytes.Contains(twin, []byte(r[UID])) {
				t.Errorf("%s: a record's masked number or uid is not in the twin", name)
			}
		}
	}
}

func TestTheTwinIsTheSameWithAndWithoutTheSecrets(t *testing.T) {
	for _, name := range Names() {
		l := compiled(t, name)
		var open []Record
		for _, r := range night() {
			open = append(open, r.Public())
		}
		if !bytes.Equal(twinOf(t, l, night()), twinOf(t, l, open)) {
			t.Errorf("%s: the twin of records without secrets differs", name)
		}
	}
}

func TestTheFixedTwinHasNoHashTotalAndTheSameColumns(t *testing.T) {
	l := compiled(t, "fixed-v1")
	file, twin := strings.Split(string(written(t, l, night())), "\r\n"), strings.Split(string(twinOf(t, l, night())), "\r\n")
	if len(file) != len(twin) || file[0] != twin[0] {
		t.Fatal("the twin has other lines or another header")
	}
	if trailer := twin[len(twin)-2]; !strings.HasPrefix(trailer, "TR000000005****************0000000007") {
		t.Errorf("trailer: %q", strings.TrimRight(trailer, " "))
	}
	for _, e := range l.file.record {
		if e.name == "CVV2" && twin[1][e.at-1:e.at-1+3] != "***" {
			t.Error("the twin shows a CVV2")
		}
	}
}

func TestACardNumberInAnOpenFieldIsMaskedInTheTwin(t *testing.T) {
	for _, open := range []bool{false, true} {
		r := visaCard(1)
		r[AccountNo], r[Address2] = r[PAN], "No. "+r[PANGrouped]
		pan, spaced := r[PAN], r[PANGrouped]
		if open {
			r = r.Public()
		}
		for _, name := range Names() {
			twin := twinOf(t, compiled(t, name), []Record{r})
			if bytes.Contains(twin, []byte(pan)) || bytes.Contains(twin, []byte(spaced)) {
				t.Errorf("%s, record without secrets: %t: the card number is in the twin", name, open)
			}
		}
	}
}

func TestAMaskThatHidesNothingIsRefused(t *testing.T) {
	r := visaCard(1)
	masked := Record{UID: r[UID], PANMasked: r[PAN]}
	for f, v := range r.Public() {
		if f != PANMasked {
			masked[f] = v
		}
	}
	for _, name := range Names() {
		var b bytes.Buffer
		w := compiled(t, name).NewTwin(&b, headOf([]Record{masked}))
		if err := errors.Join(w.Write(masked), w.Close()); err == nil || bytes.Contains(b.Bytes(), []byte(r[PAN])) {
			t.Errorf("%s: a clear number passed as a masked one", name)
		}
	}
}

// A description made at random, its twin marks too: it either does not
// compile, or its twin has no secret. Half of them are XML, half fixed width.
func TestNoDescriptionLetsASecretIntoATwin(t *testing.T) {
	compiledOnes := 0
	t.Run("random", rapid.MakeCheck(func(t *rapid.T) {
		text := randomDescription(t)
		l, err := Compile("random", []byte(text))
		if err != nil {
			return
		}
		compiledOnes++
		r := Record{UID: "26112101000000000001", ProductRef: "P"}
		for _, f := range Fields() {
			if f.Secret() {
				r[f] = fmt.Sprintf("%s%d", strings.Repeat("7", 12), 10000+len(f)*97+int(f[0]))
			}
		}
		var b bytes.Buffer
		w := l.NewTwin(&b, headOf([]Record{r}))
		if err := errors.Join(w.Write(r), w.Close()); err != nil {
			return // refused is not shown
		}
		for f, v := range r {
			if f.Secret() && strings.Contains(b.String(), v) {
				t.Fatalf("%s is in the twin of:\n%s", f, text)
			}
		}
		if hash := fmt.Sprint(w.hash.value()); r[PAN] != "" && strings.Contains(b.String(), hash) {
			t.Fatalf("the hash total is in the twin of:\n%s", text)
		}
	}))
	if compiledOnes < 5 {
		t.Errorf("only %d descriptions compiled, which proves little", compiledOnes)
	}
}

func randomDescription(t *rapid.T) string {
	var s strings.Builder
	xml := rapid.Bool().Draw(t, "xml")
	length, marks := 20, []string{"", "", "mask", "stars"}
	if xml {
		s.WriteString("{kind: xml, encoding: utf-8, root: R, ")
		marks = []string{"", "", "mask", "omit", "only"}
	} else {
		s.WriteString("{kind: fixed, encoding: ascii, ")
	}
	s.WriteString("version: '1', extension: x, record: {")
	if xml {
		s.WriteString("name: REC, ")
	}
	s.WriteString("elements: [{name: U, from: uid, length: 20, required: true}")
	for i := range rapid.IntRange(1, 4).Draw(t, "elements") {
		f := rapid.SampledFrom(Fields()).Draw(t, "field")
		fmt.Fprintf(&s, ", {name: E%d, from: %s, length: %d", i, f, 20)
		if m := rapid.SampledFrom(marks).Draw(t, "mark"); m != "" {
			fmt.Fprintf(&s, ", twin: %s", m)
		}
		if rapid.IntRange(0, 3).Draw(t, "change") == 0 {
			s.WriteString(", transform: [digits]")
		}
		s.WriteString("}")
		length += 20
	}
	s.WriteString("]}")
	if !xml {
		fmt.Fprintf(&s, ", record_length: %d", length)
	}
	if rapid.IntRange(0, 3).Draw(t, "trailer") == 0 {
		s.WriteString(", trailer: {elements: [{name: T, hash: pan, length: 16}]}")
	}
	s.WriteString("}")
	return s.String()
}
