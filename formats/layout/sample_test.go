package layout

import (
	"bytes"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"reemboss/formats/iso"
)

var update = flag.Bool("update", false, "write the golden files anew")

// compiled gives a built-in layout.
func compiled(t testing.TB, name string) *Layout {
	t.Helper()
	text, ok := Builtin(name)
	if !ok {
		t.Fatalf("no layout %s is built in", name)
	}
	l, err := Compile(name, text)
	if err != nil {
		t.Fatal(err)
	}
	return l
}

// numbered makes a card number of 16 digits from a prefix and a running number.
func numbered(prefix string, n int) string {
	body := fmt.Sprintf("%s%0*d", prefix, 15-len(prefix), n)
	return body + string(iso.LuhnDigit(body))
}

func grouped(pan string) string {
	return pan[:4] + " " + pan[4:8] + " " + pan[8:12] + " " + pan[12:]
}

// visaCard is a whole record of a chip card, Visa tracks.
func visaCard(n int) Record {
	pan := numbered("411111", n)
	return Record{
		UID: fmt.Sprintf("26112101%012d", n), RequestType: "Replacement", ProductRef: "VISA-CLASSIC", CardID: fmt.Sprint(1000 + n),
		AccountNo: fmt.Sprintf("ACC%09d", n),
		Title:     "Ms", FirstName: "Zoë", LastName: `O'Brien & "Söhne" <GmbH>`, Company: "Müller AG",
		Address1: "1 High Street", Address2: "Flat 2", City: "Zürich", Postcode: "8001",
		Mobile: "+41790000000", Country: "756", CountryA2: "CH", CarrierType: "STANDARD", DeliveryMeth: "1", Language: "de",
		Technology: "Chip&PIN&Contactless", Currency: "0756",
		PAN: pan, PANGrouped: grouped(pan), PANMasked: iso.Mask(pan),
		Track1:       "B" + pan + "^OBRIEN/ZOE^29112010000123000000",
		Track2:       pan + "=291120112300000",
		EmbossedName: "ZOE O'BRIEN", StartFace: "11/26", ExpiryFace: "11/29",
		CVV2: "456", CVV2Face: pan[12:] + " 456",
		ChipType: "VisaCard", PSN: "01", ChipName: "OBRIEN/ZOE", StartDate: "261101", ExpiryDate: "291130", ServiceCode: "201",
		ChipTrack1: "B" + pan + "^OBRIEN/ZOE^29112010000789000000", ChipTrack2: pan + "D291120178900000F",
		ChipTrack1MSD: "B" + pan + "^ /^29112010000789000000", ChipTrack2MSD: pan + "=291120178900000",
	}
}

// mastercard is a whole record of a chip card, Mastercard tracks, sent in bulk.
func mastercard(n int) Record {
	pan := numbered("555555", n)
	r := visaCard(n)
	for f, v := range map[Field]string{
		UID: fmt.Sprintf("26112102%012d", n), ProductRef: "MC-GOLD", RequestType: "New", ChipType: "Mastercard",
		PAN: pan, PANGrouped: grouped(pan), PANMasked: iso.Mask(pan), CVV2Face: pan[12:] + " 456",
		Track1:     "B" + pan + "^OBRIEN/ZOE^2911201000001230000000",
		Track2:     pan + "=29112010000003612301",
		ChipTrack1: "B" + pan + "^OBRIEN/ZOE^2911201000007890000000", ChipTrack2: pan + "D29112010000003678901F",
		ChipTrack1MSD: "B" + pan + "^ /^2911201000007890000000", ChipTrack2MSD: pan + "=29112010000003678901",
		DeliveryCode: "BRANCH-7", BulkAddress1: "Bank Square 1", BulkCity: "Basel", BulkPostcode: "4051", BulkCountry: "756",
	} {
		r[f] = v
	}
	return r
}

// magCard has no chip.
func magCard(n int) Record {
	r := visaCard(n)
	r[UID] = fmt.Sprintf("26112103%012d", n)
	r[ProductRef], r[Technology], r[ChipType], r[PINBlock] = "GIFT", "Mag", "", "7553DAA289620533"
	for _, f := range []Field{ChipName, ChipTrack1, ChipTrack2, ChipTrack1MSD, ChipTrack2MSD} {
		delete(r, f)
	}
	return r
}

// night is a small file in the order that the layouts want.
func night() []Record {
	return []Record{magCard(1), mastercard(2), mastercard(3), visaCard(4), visaCard(5)}
}

// headOf is a head that fits the records.
func headOf(records []Record) Head {
	products := map[string]bool{}
	for _, r := range records {
		products[r[ProductRef]] = true
	}
	zone := time.FixedZone("bureau", 3600)
	return Head{
		Client: "ISSUER1", Reference: "REF-0007", Sequence: 7, Time: time.Date(2026, 11, 21, 22, 30, 5, 0, zone),
		Records: int64(len(records)), Products: int64(len(products)), OrderRef: "2026-11-21-001",
	}
}

// written is the file of records.
func written(t testing.TB, l *Layout, records []Record) []byte {
	t.Helper()
	var b bytes.Buffer
	fill(t, l.NewWriter(&b, headOf(records)), records)
	return b.Bytes()
}

func twinOf(t testing.TB, l *Layout, records []Record) []byte {
	t.Helper()
	var b bytes.Buffer
	fill(t, l.NewTwin(&b, headOf(records)), records)
	return b.Bytes()
}

func fill(t testing.TB, w *Writer, records []Record) {
	t.Helper()
	for _, r := range records {
		if err := w.Write(r); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
}

func golden(t *testing.T, name string, got []byte) {
	t.Helper()
	path := filepath.Join("testdata", name)
	if *update {
		if err := os.WriteFile(path, got, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, want) {
		t.Errorf("%s differs (-want +got):\n%s", path, cmp.Diff(strings.Split(string(want), "\n"), strings.Split(string(got), "\n")))
	}
}
