package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/text/encoding/charmap"

	"reemboss/batch/config"
	"reemboss/batch/hsm"
	"reemboss/batch/report"
	cells "reemboss/formats/table"
)

// realNight is one night whose every counterpart is somebody else's program:
// request files saved by LibreOffice and openpyxl, an extract sealed by GnuPG,
// bureaus that are an OpenSSH server and a GnuPG key.
type realNight struct {
	*workspace
	gpg      realGPG
	server   realServer
	cards    []realCard
	sent     map[string][]byte // request files by name, as they were dropped
	keys     verification
	told     *report.Reconciliation
	answers  map[string][]map[string]string // by request file
	plastics map[string]realPlastic         // by uid: what the bureaus were sent
	clear    map[string][]byte              // clear text of the sealed files, by recipient
}

// realPlastic is one record of a bureau's file as the scripts of testdata/real read it.
type realPlastic struct {
	Bureau, File                                                         string
	UID, PAN, PSN, Expiry, Service, Scheme                               string
	CVV1, CVV2, ICVV                                                     string
	Name, Face, Product, Request, Technology, Currency, Front            string
	Title, First, Last, Address1, Address2, Address3, Address4           string
	City, Region, Postcode, Country, Mobile, Language, Delivery, Carrier string
}

func TestNightAgainstTheRealThings(t *testing.T) {
	needReal(t, "gpg", "/usr/sbin/sshd", "/usr/lib/openssh/sftp-server", "ssh-keygen", "soffice", "/usr/bin/python3", "xmllint", "openssl")
	n := &realNight{workspace: newWorkspace(t), gpg: newRealGPG(t), sent: map[string][]byte{}, clear: map[string][]byte{}, plastics: map[string]realPlastic{}}
	n.cards = realCards(t, 112, time.Now())
	n.furnish(t)
	n.nothingComesBack(t)
	n.fillInbox(t)
	n.told = n.night(exitComplete)
	n.answers = n.results()

	t.Run("every row is answered as its sender expects", n.everyAnswer)
	t.Run("workbooks are read as openpyxl reads them", n.readsAsOpenpyxl)
	t.Run("the servers have the very files", n.delivered)
	t.Run("the XML file is to the letter of the interface", n.cardGeneration)
	t.Run("the fixed width file is to the column", n.fixedWidth)
	t.Run("every plastic is the right one", n.everyPlastic)
	t.Run("verification values are those that OpenSSL computes", n.verificationValues)
	t.Run("the card system learns the same numbers", n.cardSystemFile)
	t.Run("the masked twins hide what they must", n.maskedTwins)
	t.Run("the sender's workbooks are as they were, with the answers", n.resultWorkbooks)
	t.Run("LibreOffice opens the results and the report", n.opensInLibreOffice)
	t.Run("GnuPG verifies the manifest", n.manifest)
	t.Run("GnuPG opens the original that was sealed", n.sealedOriginal)
}

// furnish gives the workspace bureaus with keys that GnuPG made, behind
// OpenSSH's server, two more designs, and a card key that the test knows.
func (n *realNight) furnish(t *testing.T) {
	t.Helper()
	n.server = startRealServer(t, n.read("keys/ssh_ed25519.pub"))
	n.write("keys/known_hosts", []byte("# pinned by hand\n"+n.server.pinned+"\n"))
	cfg, err := config.Load(n.Config())
	if err != nil {
		t.Fatal(err)
	}
	text := string(n.read("config.yaml"))
	replace := func(old, new string, times int) {
		if strings.Count(text, old) < max(times, 1) {
			t.Fatalf("config.yaml has no %q", old)
		}
		text = strings.Replace(text, old, new, times)
	}
	for _, r := range []struct{ name, path, old, primary, subkey string }{
		{"alpha", "keys/bureaus/alpha.asc", cfg.Bureaus["alpha"].PGP.Fingerprint, "ed25519", "cv25519"},
		{"beta", "keys/bureaus/beta.asc", cfg.Bureaus["beta"].PGP.Fingerprint, "rsa3072", "rsa3072"},
		{"card-system", "keys/card-system.asc", cfg.CardSystem.PGP.Fingerprint, "nistp384", "nistp384"},
	} {
		fingerprint, public := n.gpg.key(t, r.name+" <"+r.name+"@example.org>", r.primary, r.subkey)
		n.write(r.path, public)
		replace(r.old, fingerprint, 1)
	}
	n.gpg.run(t, n.read("keys/issuer.asc"), "--import")

	replace("simulator: true ", "simulator: false ", 1)
	replace("    simulator: true\n", "", 1)
	alpha, beta := strings.Index(text, "      method: sftp  "), 0
	end := strings.Index(text[alpha:], "\n  beta:") + alpha
	text = text[:strings.LastIndex(text[:alpha], "    delivery:")] + "    " + n.server.folder(t, "alpha/incoming") + "\n" + text[end:]
	beta = strings.Index(text, "    delivery:\n      host: beta.simulator")
	end = strings.Index(text[beta:], "\n\n") + beta
	text = text[:beta] + "    " + n.server.folder(t, "beta") + text[end:]
	replace("  delivery:\n    method: folder\n", "  "+n.server.folder(t, "card system")+"\n", 1)

	n.keys = verification{a: "0123456789ABCDEF", b: "FEDCBA9876543210"}
	n.knownCardKey(t)
	replace("\ncard_keys:\n", "\ncard_keys:\n  cvk-known: {backend: software, kcv: \"08D7B4\"}\n", 1)
	replace("key: cvk-visa,", "key: cvk-known,", -1)
	replace("key: cvk-mastercard,", "key: cvk-known,", -1)
	visa := `, tracks: visa, service_code: "201", validity_months: 36, bureau: alpha, cvv: {cvv1: {key: cvk-known}, cvv2: {key: cvk-known}, icvv: {key: cvk-known}}, `
	replace("\n  mc-gold:\n", `
  visa-long: {prefix: "433333", pan_length: 19, range: long-new`+visa+`technology: Chip&PIN, chip_type: VisaCard, currency: "0978", carrier_type: "A&B <C>"}
  visa-stripe: {prefix: "422222", pan_length: 16, range: stripe-new`+visa+`technology: Mag, currency: "0978", carrier_type: STANDARD}
  mc-gold:
`, 1)
	replace("\n  mastercard-new:\n", `
  long-new: {prefix: "433333", pan_length: 19, from: 500000000000, to: 999999999999, key: allocation-visa}
  stripe-new: {prefix: "422222", pan_length: 16, from: 500000000, to: 999999999, key: allocation-visa}
  mastercard-new:
`, 1)
	replace("\nrouting:\n", "\nrouting:\n  - {program: \"100\", group: to-alpha, bureau: alpha}\n  - {program: \"100\", group: to-beta, bureau: beta}\n", 1)
	n.write("config.yaml", []byte(text))
	n.do(exitComplete, "config", "check")
}

// nothingComesBack gives both bureaus an empty folder for their answers.
func (n *realNight) nothingComesBack(t *testing.T) {
	t.Helper()
	empty := filepath.Join(n.server.home, "nothing comes back")
	if err := os.MkdirAll(empty, 0o700); err != nil {
		t.Fatal(err)
	}
	text := string(n.read("config.yaml"))
	for old, now := range map[string]string{"dir: returns ": fmt.Sprintf("dir: %q ", empty), "returns: {dir: returns}": fmt.Sprintf("returns: {dir: %q}", empty)} {
		if strings.Count(text, old) != 1 {
			t.Fatalf("config.yaml has no one %q", old)
		}
		text = strings.Replace(text, old, now, 1)
	}
	n.write("config.yaml", []byte(text))
}

// knownCardKey puts the published example's key pair into the keyset.
func (n *realNight) knownCardKey(t *testing.T) {
	t.Helper()
	kek, err := hsm.LoadSecret(config.SecretRef{File: "keys/kek"}, n.Dir)
	if err != nil {
		t.Fatal(err)
	}
	set, err := hsm.OpenKeyset(n.Keyset(), kek)
	if err != nil {
		t.Fatal(err)
	}
	pair := []byte{0x01, 0x23, 0x45, 0x67, 0x89, 0xAB, 0xCD, 0xEF, 0xFE, 0xDC, 0xBA, 0x98, 0x76, 0x54, 0x32, 0x10}
	if err := set.AddCVK("cvk-known", pair, randomSource); err != nil {
		t.Fatal(err)
	}
}

// fillInbox drops the extract, sealed by GnuPG, and one request file of each producer and encoding.
func (n *realNight) fillInbox(t *testing.T) {
	t.Helper()
	issuer := n.issuer(t)
	sealed, _ := n.gpg.run(t, realExtract(t, n.cards), "--recipient", issuer, "--encrypt")
	n.write("inbox/cards/cards.csv.pgp", sealed)
	n.sent["1-again.xlsx"] = libreOfficeWorkbook(t, n.cards[:24], n.cards[106:108])
	n.sent["2-replacements.xlsx"] = openpyxlWorkbook(t, n.cards[24:68], n.cards[111].pan)
	n.sent["3-addresses.csv"] = westernCSV(t, n.cards[68:84])
	n.sent["4-unicode.txt"] = unicodeTSV(t, n.cards[84:100])
	n.sent["5-body.json"] = jsonBody(n.cards[100:106])
	for name, content := range n.sent {
		n.write("inbox/"+name, content)
	}
}

func (n *realNight) issuer(t *testing.T) string {
	t.Helper()
	cfg, err := config.Load(n.Config())
	if err != nil {
		t.Fatal(err)
	}
	return cfg.Keys.Fingerprint
}

func (n *realNight) everyAnswer(t *testing.T) {
	if d := cmp.Diff(slices.Sorted(maps.Keys(n.sent)), slices.Sorted(maps.Keys(n.answers))); d != "" {
		t.Fatal("request files and results differ: ", d)
	}
	rows, accepted := 0, 0
	before := map[string]int{}
	for _, file := range slices.Sorted(maps.Keys(n.answers)) {
		for _, row := range n.answers[file] {
			rows++
			want, told := row["Expected"]
			if !told {
				want = "00"
			}
			if first, second, twice := strings.Cut(want, " then "); twice { // two rows that are alike in every cell
				if want = first; before[want] > 0 {
					want = second
				}
				before[first]++
			}
			got := row["all_codes"]
			switch row["outcome"] {
			case "accepted":
				accepted++
				got = row["code"]
			case "duplicate":
				if row["code"] == "00" {
					got = "00 once more"
				}
			}
			if strings.Contains(row["message"], "\n") {
				t.Errorf("%s %s row %s: the message is more than one line", file, row["sheet"], row["row"])
			}
			if got != want {
				t.Errorf("%s %s row %s: %s, want %s (%s)", file, row["sheet"], row["row"], got, want, row["message"])
			}
		}
	}
	if n.told.Read != int64(rows) || n.told.Accepted != int64(accepted) || n.told.Written != int64(accepted) {
		t.Errorf("the night tells read %d, accepted %d, written %d; the results have %d and %d", n.told.Read, n.told.Accepted, n.told.Written, rows, accepted)
	}
}

// sealedOriginal holds that GnuPG opens, with the issuer's private key, the
// workbook that was put away sealed because a card number stands in it.
func (n *realNight) sealedOriginal(t *testing.T) {
	n.gpg.run(t, n.read("keys/issuer.pgp"), "--import")
	original, _ := n.gpg.run(t, nil, "--decrypt", n.Path(n.one("done/*/2-replacements.xlsx.pgp")))
	if !bytes.Equal(original, n.sent["2-replacements.xlsx"]) {
		t.Error("it is not what was sent")
	}
	for _, f := range n.told.RequestFiles {
		want := map[string]string{"1-again.xlsx": `sheet "Old list" is hidden`, "2-replacements.xlsx": `sheet "Lists" is hidden`, "3-addresses.csv": "Windows-1252", "4-unicode.txt": "UTF-16"}[f.Name]
		if !strings.Contains(strings.Join(f.Notes, "; "), want) {
			t.Errorf("%s: no note says %q: %q", f.Name, want, f.Notes)
		}
	}
}

// delivered holds that OpenSSH's server has each file whole under its final name and nothing else, and has GnuPG open it.
func (n *realNight) delivered(t *testing.T) {
	for folder, recipient := range map[string]string{"alpha/incoming": "alpha", "beta": "beta", "card system": "card-system"} {
		name := filepath.Base(n.one("outbox/" + recipient + "/*"))
		entries, err := os.ReadDir(filepath.Join(n.server.home, folder))
		if err != nil {
			t.Fatal(err)
		}
		if len(entries) != 1 || entries[0].Name() != name {
			t.Fatalf("%s: the server has %v, want %s alone", recipient, entries, name)
		}
		path := filepath.Join(n.server.home, folder, name)
		if !bytes.Equal(readReal(t, path), n.read("outbox", recipient, name)) {
			t.Errorf("%s: the server has other bytes than the outbox", recipient)
		}
		n.clear[recipient] = n.gpg.open(t, path, n.issuer(t))
	}
}

func (n *realNight) cardGeneration(t *testing.T) {
	pipe(t, n.clear["alpha"], "xmllint", "--noout", "--nonet", "-")
	file := fromPython[struct {
		Summary  map[string]string
		Products []string
		Records  []realPlastic
	}](t, n.clear["alpha"], "cardgen.py")
	if len(file.Records) == 0 || file.Summary["NO_OF_CARDS"] != strconv.Itoa(len(file.Records)) || len(file.Products) != 4 {
		t.Errorf("the file has %d records and %d products, its CARDSUM says %s and %s", len(file.Records), len(file.Products), file.Summary["NO_OF_CARDS"], file.Summary["NO_OF_PRODUCTS"])
	}
	if n, err := strconv.ParseUint(file.Summary["TXREF"], 10, 64); err != nil || n == 0 {
		t.Error("TXREF is no number that can rise")
	}
	n.take(t, "alpha", file.Records)
}

func (n *realNight) fixedWidth(t *testing.T) {
	file := fromPython[struct {
		Control int
		Records []realPlastic
	}](t, n.clear["beta"], "fixedwidth.py")
	if file.Control != 1 {
		t.Errorf("the control number is %d", file.Control)
	}
	n.take(t, "beta", file.Records)
}

func (n *realNight) take(t *testing.T, bureau string, records []realPlastic) {
	t.Helper()
	for _, r := range records {
		if _, twice := n.plastics[r.UID]; twice {
			t.Errorf("%s stands in two records", r.UID)
		}
		r.Bureau, r.File = bureau, filepath.Base(n.one("outbox/"+bureau+"/*"))
		r.Request = map[string]string{"N": "New", "R": "Replacement"}[r.Request[:1]]
		n.plastics[r.UID] = r
	}
}

// accepted calls look for every accepted row with its card.
func (n *realNight) accepted(t *testing.T, look func(where string, row map[string]string, card realCard)) (count int) {
	t.Helper()
	byID := map[string]realCard{}
	for _, c := range n.cards {
		byID[c.id] = c
	}
	for _, file := range slices.Sorted(maps.Keys(n.answers)) {
		for _, row := range n.answers[file] {
			if row["outcome"] != "accepted" {
				continue
			}
			where := fmt.Sprintf("%s %s row %s", file, row["sheet"], row["row"])
			id := ""
			for _, name := range []string{"card_id", "Card ID", "CARD-ID", "Card No.", "cardId"} {
				if row[name] != "" {
					id = cells.Trim(row[name])
				}
			}
			card, ok := byID[id]
			if !ok {
				t.Errorf("%s: the card id in the result is not the sender's", where)
				continue
			}
			count++
			look(where, row, card)
		}
	}
	return count
}

// sameLetter holds name and address: to the character where the bureau's file
// has all characters of Unicode, and where Windows-1252 has them.
func (n *realNight) sameLetter(t *testing.T, where string, row map[string]string, card realCard, p realPlastic) {
	t.Helper()
	want := map[string]string{"country": fmt.Sprintf("%03s", card.person["numeric"]), "region": card.person["region"]}
	if p.Bureau == "alpha" {
		want["region"] = "" // this file has none
	}
	for _, name := range []string{"title", "first_name", "last_name", "address_line1", "address_line2", "address_line3", "address_line4", "city", "postcode", "phone", "language"} {
		want[name] = card.person[name]
	}
	if row["Street"] != "" {
		want["address_line1"], want["address_line2"], want["address_line3"], want["address_line4"] = row["Street"], row["Address 2"], "", ""
		want["city"], want["region"], want["postcode"], want["country"] = row["Town"], "", row["Postal Code"], "276"
	}
	for name, got := range map[string]string{"title": p.Title, "first_name": p.First, "last_name": p.Last, "address_line1": p.Address1, "address_line2": p.Address2,
		"address_line3": p.Address3, "address_line4": p.Address4, "city": p.City, "region": p.Region, "postcode": p.Postcode, "country": p.Country, "phone": p.Mobile, "language": p.Language} {
		if _, err := charmap.Windows1252.NewEncoder().String(want[name]); err != nil && p.Bureau == "beta" {
			continue // transliterated
		}
		if got != want[name] {
			t.Errorf("%s, %s: %s of the letter is %q, want %q", where, p.UID, name, got, want[name])
		}
	}
}

func or(text, other string) string {
	if text == "" {
		return other
	}
	return text
}

// wantedPSN: a re-embossing changes nothing, a kept number counts on, a new one starts at 00.
func wantedPSN(t *testing.T, card realCard, reissueType string) string {
	t.Helper()
	old, err := strconv.Atoi(card.psn)
	switch {
	case err != nil:
		t.Fatal(err)
	case reissueType == "":
		return card.psn
	case realKeptNumber[reissueType]:
		return fmt.Sprintf("%02d", old+1)
	}
	return "00"
}

var realKeptNumber = map[string]bool{"1": true, "2": true}

func (n *realNight) everyPlastic(t *testing.T) {
	count := n.accepted(t, func(where string, row map[string]string, card realCard) {
		p, ok := n.plastics[row["uid"]]
		if !ok {
			t.Errorf("%s: no bureau has its record %s", where, row["uid"])
			return
		}
		same := func(what, got, want string) {
			if got != want {
				t.Errorf("%s, %s: %s is %q, want %q", where, p.UID, what, got, want)
			}
		}
		holds := func(what string, ok bool) {
			if !ok {
				t.Errorf("%s, %s: %s", where, p.UID, what)
			}
		}
		same("bureau", p.Bureau, card.bureau)
		same("bureau in the result", row["bureau"], card.bureau)
		same("file", row["file_name"], p.File)
		same("face", p.Face, card.person["face"])
		same("track name", p.Name, card.person["track"])
		same("service code", p.Service, "201")
		same("currency", p.Currency, "0978")
		same("card number in the result", row["card_number"], maskedNumber(card.pan))
		kind := row["reissue_type_used"]
		if p.PSN == "" && p.Bureau == "alpha" && p.Technology == "Mag" && p.Scheme == "visa" {
			p.PSN = wantedPSN(t, card, kind) // nothing in this record tells it
			n.plastics[p.UID] = p
		}
		same("PSN", p.PSN, wantedPSN(t, card, kind))
		switch {
		case kind == "": // re-embossing: nothing about the card changes
			holds("it is another number", p.PAN == card.pan)
			same("expiry", "20"+p.Expiry[:2]+"-"+p.Expiry[2:], card.expiry)
			same("request type", p.Request, "Replacement")
		default:
			holds("the number is kept or new against the reissue type", (p.PAN == card.pan) == realKeptNumber[kind])
			holds("the number is not of the design's", len(p.PAN) == len(card.pan) && p.PAN[:6] == card.pan[:6])
			holds("a new number is not of the range", realKeptNumber[kind] || p.PAN[6] >= '5')
			same("expiry", "20"+p.Expiry[:2]+"-"+p.Expiry[2:], row["new_expiry"])
			holds("the expiry is the old one", row["new_expiry"] != card.expiry)
			same("new number in the result", row["new_card_number"], maskedNumber(p.PAN))
		}
		n.sameLetter(t, where, row, card, p)
		same("delivery", p.Delivery, map[string]string{"": "0", "1": "0", "2": "1", "3": "2"}[or(row["Delivery Method"], row["Shipping method"])])
		same("carrier", p.Carrier, map[bool]string{true: "A&B <C>", false: "STANDARD"}[card.product == "visa-long"])
		same("logo", p.Front, map[string]string{"visa-classic": "VC-FRONT", "mc-gold": "MG-FRONT"}[card.product])
		same("design", p.Product, map[string]string{"visa-classic": "VISA-CLASSIC", "mc-gold": "MC-GOLD", "visa-long": "visa-long", "visa-stripe": "visa-stripe"}[card.product])
	})
	if count != len(n.plastics) {
		t.Errorf("%d rows were accepted, the bureaus have %d records", count, len(n.plastics))
	}
}

func maskedNumber(pan string) string {
	return pan[:6] + strings.Repeat("*", len(pan)-10) + pan[len(pan)-4:]
}

func (n *realNight) verificationValues(t *testing.T) {
	var ask [][3]string
	var have, whose []string
	for _, uid := range slices.Sorted(maps.Keys(n.plastics)) {
		p := n.plastics[uid]
		ask = append(ask, [3]string{p.PAN, p.Expiry, p.Service}, [3]string{p.PAN, p.Expiry, "000"})
		have, whose = append(have, p.CVV1, p.CVV2), append(whose, uid+" CVV1", uid+" CVV2")
		if p.ICVV != "" {
			ask = append(ask, [3]string{p.PAN, p.Expiry, "999"})
			have, whose = append(have, p.ICVV), append(whose, uid+" iCVV")
		}
	}
	if len(ask) < 3*80 {
		t.Fatalf("only %d values", len(ask))
	}
	for i, want := range n.keys.values(t, ask) {
		if have[i] != want {
			t.Errorf("%s is another one", whose[i])
		}
	}
}

// cardSystemFile holds the card system's file against the bureaus': the same number, PSN and expiry for each reissue, nothing for a re-embossing.
func (n *realNight) cardSystemFile(t *testing.T) {
	lines := map[string]map[string]string{}
	for _, line := range table(t, n.clear["card-system"]) {
		lines[line["uid"]] = line
	}
	n.accepted(t, func(where string, row map[string]string, card realCard) {
		line, told := lines[row["uid"]]
		if told != (row["reissue_type_used"] != "") {
			t.Errorf("%s: the card system is told: %v", where, told)
		}
		if !told {
			return
		}
		delete(lines, row["uid"])
		p := n.plastics[row["uid"]]
		newID := ""
		if row["reissue_type_used"] == "3" {
			newID = row["new_card_reference_id"]
		}
		for what, pair := range map[string][2]string{
			"pan": {line["pan"], p.PAN}, "psn": {line["psn"], p.PSN}, "expiry": {line["expiry"], "20" + p.Expiry[:2] + "-" + p.Expiry[2:]}, "card_id": {line["card_id"], card.id},
			"new_card_id": {line["new_card_id"], newID}, "bureau": {line["bureau"], p.Bureau}, "file_name": {line["file_name"], p.File}, "sequence": {line["sequence"], "1"},
			"run": {line["run"], n.told.RunID}, "request": {line["request"], "reissue"},
		} {
			if pair[0] != pair[1] {
				t.Errorf("%s: column %s of the card system's file differs from the bureau's record", where, what)
			}
		}
	})
	if len(lines) > 0 {
		t.Errorf("%d lines of the card system's file are nobody's", len(lines))
	}
}

func (n *realNight) maskedTwins(t *testing.T) {
	for bureau, script := range map[string]string{"alpha": "cardgen.py", "beta": "fixedwidth.py"} {
		twin := n.read(n.one("reports/*/*_" + bureau + "_*.masked.*"))
		masked := fromPython[struct{ Records []realPlastic }](t, twin, script, "--masked")
		clear := fromPython[struct{ Records []realPlastic }](t, n.clear[bureau], script)
		if len(masked.Records) != len(clear.Records) {
			t.Fatalf("the twin for %s has %d records, the file %d", bureau, len(masked.Records), len(clear.Records))
		}
		for i, r := range clear.Records {
			if m := masked.Records[i]; m.UID != r.UID || m.PAN != maskedNumber(r.PAN) || m.Face != r.Face || m.City != r.City {
				t.Errorf("record %d of the twin for %s is not that of %s", i+1, bureau, r.UID)
			}
			var groups []string
			for d := range slices.Chunk([]byte(r.PAN), 4) {
				groups = append(groups, string(d))
			}
			for what, secret := range map[string]string{"the number": r.PAN, "the number in groups": strings.Join(groups, " "), "the CVV2 on the face": r.PAN[len(r.PAN)-4:] + " " + r.CVV2} {
				if bytes.Contains(twin, []byte(secret)) {
					t.Errorf("%s of %s stands in the twin", what, r.UID)
				}
			}
		}
		if bureau == "alpha" {
			pipe(t, twin, "xmllint", "--noout", "--nonet", "-")
		}
	}
}

func (n *realNight) manifest(t *testing.T) {
	path := n.Path(n.one("reports/*/manifest.json"))
	_, status := n.gpg.run(t, nil, "--verify", path+".asc", path)
	if !strings.Contains(status, "[GNUPG:] VALIDSIG "+strings.ToUpper(n.issuer(t))) {
		t.Errorf("gpg does not see the issuer's signature:\n%s", status)
	}
	var told struct {
		Files []struct{ Path, SHA256 string }
	}
	if err := json.Unmarshal(readReal(t, path), &told); err != nil {
		t.Fatal(err)
	}
	var list strings.Builder
	for _, f := range told.Files {
		fmt.Fprintf(&list, "%s  %s\n", f.SHA256, n.Path(f.Path))
	}
	pipe(t, []byte(list.String()), "sha256sum", "--check", "--strict", "--quiet", "-")
}
