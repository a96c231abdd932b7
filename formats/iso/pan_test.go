package iso

import (
	"bytes"
	"encoding/csv"
	"encoding/json"
	"encoding/xml"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/goccy/go-yaml"
	"github.com/rs/zerolog"
	"pgregory.net/rapid"
)

const (
	clearPAN    = "4111111111111111"
	clearSecret = "B4111111111111111^DOE/JANE^291120100561000000"
	hidden      = "11111111111" // more ones in a row than any masked form shows
)

// vectors reads testdata/name: comma separated, # begins a comment.
func vectors(t *testing.T, name string) [][]string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("testdata", name))
	if err != nil {
		t.Fatal(err)
	}
	r := csv.NewReader(bytes.NewReader(text))
	r.Comment = '#'
	rows, err := r.ReadAll()
	if err != nil || len(rows) == 0 {
		t.Fatalf("read %s: %d rows, %v", name, len(rows), err)
	}
	return rows
}

func mustPAN(t testing.TB, digits string) PAN {
	t.Helper()
	p, err := ParsePAN(digits)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// holder has clear data at every depth that printing code can meet.
type holder struct {
	Public     PAN
	Hidden     Secret
	unexported struct {
		pan    PAN
		secret Secret
		list   []PAN
		byName map[string]Secret
		any    any
	}
	pointer *PAN
}

type element struct {
	P PAN
	S Secret
}

func newHolder(t testing.TB) holder {
	p := mustPAN(t, clearPAN)
	h := holder{Public: p, Hidden: NewSecret(clearSecret), pointer: &p}
	h.unexported.pan, h.unexported.secret = p, NewSecret(clearSecret)
	h.unexported.list = []PAN{p}
	h.unexported.byName = map[string]Secret{"track1": NewSecret(clearSecret)}
	h.unexported.any = p
	return h
}

func TestNoWayOfPrintingShowsCardData(t *testing.T) {
	h := newHolder(t)
	values := map[string]any{
		"PAN": h.Public, "*PAN": h.pointer, "Secret": h.Hidden, "struct": h, "*struct": &h,
		"slice": []PAN{h.Public}, "map": map[string]Secret{"x": h.Hidden}, "any": []any{h.Public, h.Hidden, h},
		"Span": Span{PAN: h.Public}, "Track": Track{PAN: h.Public, CVV: h.Hidden},
	}
	verbs := []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%X", "% x", "%d", "%o", "%b", "%e", "%c", "%U", "%t", "%T", "%p", "%6.3v", "%-40s", "%!", "%z", "%w"}
	for name, value := range values {
		for _, verb := range verbs {
			checkSilent(t, name+" with "+verb, fmt.Sprintf(verb, value))
		}
		checkSilent(t, name+" with Sprint", fmt.Sprint(value)+fmt.Sprintln(value))
		checkSilent(t, name+" in an error", fmt.Errorf("order: %w, %v", errors.Join(fmt.Errorf("%v", value)), value).Error())
	}
}

func TestNoEncoderShowsCardData(t *testing.T) {
	h := newHolder(t)
	encoders := map[string]func() (string, error){
		"json": func() (string, error) { b, err := json.Marshal(h); return string(b), err },
		"json indent": func() (string, error) {
			b, err := json.MarshalIndent(map[string]any{"h": h}, "", " ")
			return string(b), err
		},
		"json text": func() (string, error) {
			b, err := json.Marshal(map[Secret]PAN{h.Hidden: h.Public})
			return string(b), err
		},
		"xml": func() (string, error) {
			b, err := xml.Marshal(element{h.Public, h.Hidden})
			return string(b), err
		},
		"yaml": func() (string, error) {
			b, err := yaml.Marshal(map[string]any{"p": h.Public, "s": h.Hidden})
			return string(b), err
		},
		"zerolog": func() (string, error) {
			var b bytes.Buffer
			l := zerolog.New(&b)
			l.Info().Any("h", h).Interface("p", h.Public).Stringer("s", h.Hidden).Stringer("p2", h.Public).Str("t", h.Public.String()).
				AnErr("e", fmt.Errorf("card %v", h.Public)).Fields(map[string]any{"f": h.Public, "g": h.Hidden}).Msgf("%v %+v", h.Public, h)
			return b.String(), nil
		},
		"slog": func() (string, error) {
			var b bytes.Buffer
			slog.New(slog.NewTextHandler(&b, nil)).Info("x", "h", h, "p", h.Public, "s", h.Hidden)
			slog.New(slog.NewJSONHandler(&b, nil)).Info("x", "h", h, "p", h.Public, "s", h.Hidden)
			return b.String(), nil
		},
	}
	for name, encode := range encoders {
		out, err := encode()
		if err != nil {
			t.Errorf("%s: %v", name, err)
		}
		checkSilent(t, name, out)
	}
}

func TestPanicTextShowsNoCardData(t *testing.T) {
	if which := os.Getenv("ISO_TEST_PANIC"); which != "" {
		h := newHolder(t)
		panic(map[string]any{"pan": h.Public, "secret": h.Hidden, "struct": h, "error": fmt.Errorf("%v %v", h, h.Hidden)}[which])
	}
	for _, which := range []string{"pan", "secret", "struct", "error"} {
		cmd := exec.Command(os.Args[0], "-test.run=^TestPanicTextShowsNoCardData$")
		cmd.Env = append(os.Environ(), "ISO_TEST_PANIC="+which)
		out, err := cmd.CombinedOutput()
		if err == nil || !bytes.Contains(out, []byte("panic: ")) {
			t.Errorf("%s: the process did not panic: %v", which, err)
		}
		checkSilent(t, "panic of "+which, string(out))
	}
}

// checkSilent never repeats what leaked.
func checkSilent(t *testing.T, where, out string) {
	t.Helper()
	for _, leak := range []string{hidden, "DOE/JANE", "DOE", fmt.Sprintf("%x", clearPAN), fmt.Sprintf("%X", clearPAN), fmt.Sprintf("% x", clearPAN)} {
		if strings.Contains(out, leak) {
			t.Errorf("%s shows clear card data", where)
		}
	}
}

func TestMaskShowsFirstSixAndLastFour(t *testing.T) {
	for in, want := range map[string]string{
		clearPAN:              "411111******1111",
		"4222222222222":       "422222***2222",
		"4111111111111111110": "411111*********1110",
		"123456789012":        "************",
		"":                    "",
	} {
		if got := Mask(in); got != want {
			t.Errorf("a text of %d characters is masked as %s, want %s", len(in), got, want)
		}
	}
}

func TestParsePAN(t *testing.T) {
	for in, want := range map[string]error{
		clearPAN: nil, "4111 1111 1111 1111": nil, "4111-1111-1111-1111": nil, "4222222222222": nil, "6304000000000000000": nil, "6304000000000000001": ErrPANLuhn,
		"4111111111111112": ErrPANLuhn, "411111111111": ErrPANLength, "41111111111111111111": ErrPANLength, "": ErrPANLength,
		"4111x11111111111": ErrPANDigits, "４111111111111111": ErrPANDigits, "4111111111111111.0": ErrPANDigits, "+4111111111111111": ErrPANDigits,
	} {
		if _, err := ParsePAN(in); !errors.Is(err, want) {
			t.Errorf("a number of %d characters: %v, want %v", len(in), err, want)
		}
	}
}

func TestLuhnVectors(t *testing.T) {
	for _, v := range vectors(t, "luhn.csv") {
		if got := string(LuhnDigit(v[0])); got != v[1] {
			t.Errorf("%s: check digit %s, want %s", v[2], got, v[1])
		}
		if !LuhnValid(v[0] + v[1]) {
			t.Errorf("%s: the check digit is not recognised", v[2])
		}
	}
}

func TestLuhnFindsEveryWrongDigit(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		body := rapid.StringMatching(`[0-9]{12,18}`).Draw(t, "body")
		whole := []byte(body + string(LuhnDigit(body)))
		at := rapid.IntRange(0, len(whole)-1).Draw(t, "at")
		add := byte(rapid.IntRange(1, 9).Draw(t, "add"))
		whole[at] = '0' + (whole[at]-'0'+add)%10
		if LuhnValid(string(whole)) {
			t.Fatal("a changed digit was not noticed")
		}
	})
}

func TestZeroValues(t *testing.T) {
	var p PAN
	var s Secret
	if !p.IsZero() || p.Reveal() != "" || p.Len() != 0 || p.Masked() != "" {
		t.Error("the zero PAN is not none")
	}
	if !s.IsZero() || s.Reveal() != "" || s.String() != "[secret]" || !NewSecret("").IsZero() {
		t.Error("the zero Secret is not none")
	}
	if q := mustPAN(t, clearPAN); !q.Equal(mustPAN(t, "4111 1111 1111 1111")) || q.Equal(p) {
		t.Error("Equal compares something else than the digits")
	}
}
