package layout

import (
	"bytes"
	"encoding/xml"
	"errors"
	"io"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// published is the interface as its publication tables it, typed by hand and
// independently of the description: name, maximum length (0 where none is
// given), required.
type published struct {
	name     string
	length   int
	required bool
}

var (
	cardsum = []published{
		{"DATA_FORMAT_VERSION", 5, true}, {"FILEDATE", 10, true}, {"FILETIME", 8, true},
		{"NO_OF_CARRIERS", 0, true}, {"NO_OF_CARDS", 0, true}, {"NO_OF_PRODUCTS", 0, true},
		{"TXREF", 30, true}, {"ORDER_REF", 30, false},
	}
	product = []published{{"PRODUCT_REF", 50, true}}
	outer   = []published{{"REQUEST_TYPE", 15, true}, {"UID", 20, true}}
	carrier = []published{
		{"TITLE", 4, false}, {"FNAME", 30, false}, {"SNAME", 30, false},
		{"ADD1", 50, false}, {"ADD2", 50, false}, {"ADD3", 50, false}, {"ADD4", 50, false},
		{"CITY", 50, false}, {"POSTCODE", 10, false}, {"MOBILE", 50, false}, {"COUNTRY", 3, false},
		{"BULK_ADD1", 100, false}, {"BULK_ADD2", 100, false}, {"BULK_ADD3", 100, false},
		{"BULK_CITY", 50, false}, {"BULK_COUNTY", 20, false}, {"BULK_POSTCODE", 10, false}, {"BULK_COUNTRY", 3, false},
		{"CARRIER_TYPE", 30, true}, {"CARRIER_LOGO_ID", 20, false}, {"DELV_METHOD", 1, true}, {"DELV_CODE", 12, false},
		{"FULFIL1", 50, false}, {"FULFIL2", 50, false}, {"LANG", 2, false},
	}
	card = []published{
		{"TYPE", 20, true}, {"CURRENCY", 4, true}, {"TRACK1", 76, true}, {"TRACK2", 37, true}, {"TRACK3", 104, false},
		{"EMBOSS_PAN", 19, true}, {"EMBOSS_NAME", 27, false}, {"EMBOSS_START", 10, true}, {"EMBOSS_EXPIRY", 10, true},
		{"EMBOSS_CVC2", 10, true}, {"EMBOSS_LINE4", 27, false}, {"THERMAL_LINE1", 120, false}, {"THERMAL_LINE2", 70, false},
		{"IMAGE_ID", 20, false}, {"LOGO_FRONT_ID", 30, false}, {"LOGO_BACK_ID", 30, false}, {"QRCODE", 100, false},
		{"PINBLOCK", 16, false},
	}
	chip = []published{
		{"TYPE", 10, false}, {"PAN", 19, false}, {"PAN_SEQ", 2, false}, {"NAME", 26, false},
		{"START_DATE", 6, false}, {"EXPIRY_DATE", 6, false}, {"SERVICE_CODE", 3, false},
		{"CHIP_TRACK_1", 76, false}, {"CHIP_TRACK_2", 38, false},
		{"CHIP_TRACK_1_MSD_CL", 76, false}, {"CHIP_TRACK_2_MSD_CL", 37, false}, {"PINBLOCK", 16, false},
	}
)

// wholeRecord is a record's part of the publication under the names that errors use.
func wholeRecord() []published {
	all := append(slices.Clone(product), outer...)
	for _, part := range []struct {
		parent string
		list   []published
	}{{"CARRIER", carrier}, {"CARD", card}, {"CHIP", chip}} {
		for _, p := range part.list {
			all = append(all, published{part.parent + "/" + p.name, p.length, p.required})
		}
	}
	return all
}

func described(elements []*element) []published {
	var list []published
	for _, e := range elements {
		list = append(list, published{e.name, e.max, e.required})
	}
	return list
}

func TestCardgenHasEveryElementInItsOrderWithItsLength(t *testing.T) {
	l := compiled(t, "cardgen-v12")
	if diff := cmp.Diff(cardsum, described(l.file.header), cmp.AllowUnexported(published{})); diff != "" {
		t.Errorf("CARDSUM (-published +described):\n%s", diff)
	}
	if diff := cmp.Diff(wholeRecord(), described(l.file.record), cmp.AllowUnexported(published{})); diff != "" {
		t.Errorf("RECORD (-published +described):\n%s", diff)
	}
}

// lines lists the elements of a file in their order as an independent parser sees them, each under its parent.
func lines(t *testing.T, file []byte) []string {
	t.Helper()
	var open, list []string
	d := xml.NewDecoder(bytes.NewReader(file))
	for {
		token, err := d.Token()
		if errors.Is(err, io.EOF) {
			return list
		}
		if err != nil {
			t.Fatal(err)
		}
		switch token := token.(type) {
		case xml.StartElement:
			open = append(open, token.Name.Local)
			list = append(list, strings.Join(open, "/"))
		case xml.EndElement:
			open = open[:len(open)-1]
		}
	}
}

func under(parent string, list []published) []string {
	names := []string{parent}
	for _, p := range list {
		names = append(names, parent+"/"+p.name)
	}
	return names
}

func TestAnIndependentParserSeesThePublishedOrder(t *testing.T) {
	const record = "CARDGEN/PRODUCT/RECORD"
	want := slices.Concat([]string{"CARDGEN"}, under("CARDGEN/CARDSUM", cardsum), under("CARDGEN/PRODUCT", product),
		under(record, outer), under(record+"/CARRIER", carrier), under(record+"/CARD", card), under(record+"/CARD/CHIP", chip))
	got := lines(t, written(t, compiled(t, "cardgen-v12"), []Record{visaCard(1)}))
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-published +written):\n%s", diff)
	}
}

func TestAMagneticStripeCardHasNoCHIP(t *testing.T) {
	file := written(t, compiled(t, "cardgen-v12"), []Record{magCard(1)})
	if bytes.Contains(file, []byte("CHIP>")) {
		t.Error("CHIP is there")
	}
}

func TestTheMaskedTwinHasThePublishedStructure(t *testing.T) {
	without := func(list []published, left ...string) []published {
		return slices.DeleteFunc(slices.Clone(list), func(p published) bool { return slices.Contains(left, p.name) })
	}
	const record = "CARDGEN/PRODUCT/RECORD"
	want := slices.Concat([]string{"CARDGEN"}, under("CARDGEN/CARDSUM", cardsum), under("CARDGEN/PRODUCT", product),
		under(record, append(slices.Clone(outer), published{name: "CUST_ACCNO"})),
		under(record+"/CARRIER", without(carrier, "MOBILE")),
		under(record+"/CARD", without(card, "TRACK1", "TRACK2", "TRACK3", "EMBOSS_CVC2", "PINBLOCK")))
	got := lines(t, twinOf(t, compiled(t, "cardgen-v12"), []Record{visaCard(1)}))
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-published +written):\n%s", diff)
	}
}

func TestReservedCharactersAreEscapedAndEmptyElementsWrittenEmpty(t *testing.T) {
	file := string(written(t, compiled(t, "cardgen-v12"), []Record{visaCard(1)}))
	for _, want := range []string{
		"<SNAME>O&apos;Brien &amp; &quot;Söhne&quot; &lt;GmbH&gt;</SNAME>",
		"<ADD4></ADD4>",
		"<TYPE>Chip&amp;PIN&amp;Contactless</TYPE>",
	} {
		if !strings.Contains(file, want) {
			t.Errorf("%s is not there", want)
		}
	}
}

func TestTXREFRisesWithTheSequence(t *testing.T) {
	l := compiled(t, "cardgen-v12")
	last := ""
	for _, sequence := range []int64{1, 2, 9, 10, 99, 100, 999_999, 1_000_000, 999_999_999_999} {
		h := headOf([]Record{visaCard(1)})
		h.Sequence = sequence
		var b bytes.Buffer
		fill(t, l.NewWriter(&b, h), []Record{visaCard(1)})
		_, after, _ := strings.Cut(b.String(), "<TXREF>")
		ref, _, _ := strings.Cut(after, "<")
		if ref <= last || len(ref) > 30 {
			t.Errorf("%q does not rise above %q within 30 characters", ref, last)
		}
		last = ref
	}
}
