package main

import (
	"bytes"
	"encoding/csv"
	"encoding/hex"
	"fmt"
	"os/user"
	"strings"
	"testing"
	"time"

	"github.com/ProtonMail/go-crypto/openpgp/clearsign"
	"github.com/ProtonMail/go-crypto/openpgp/packet"
	openpgp "github.com/ProtonMail/go-crypto/openpgp/v2"
	"zombiezen.com/go/sqlite"
	"zombiezen.com/go/sqlite/sqlitex"

	"reemboss/batch"
	"reemboss/batch/hsm/payshield/payshieldtest"
	"reemboss/batch/ledger"
	"reemboss/bureau"
	"reemboss/formats/layout"
)

// Keys that the simulated module holds: a card verification pair, and the pairs of PINs.
var (
	leakCVK  = []byte{0x01, 0x23, 0x45, 0x67, 0x89, 0xab, 0xcd, 0xef, 0xfe, 0xdc, 0xba, 0x98, 0x76, 0x54, 0x32, 0x10}
	leakZone = []byte{0x13, 0x34, 0x57, 0x79, 0x9b, 0xbc, 0xdf, 0xf1, 0xfe, 0xdc, 0xba, 0x98, 0x76, 0x54, 0x32, 0x10}
	leakPVK  = []byte{0x86, 0x19, 0x01, 0x76, 0x86, 0x6e, 0xc1, 0x7f, 0xb3, 0x26, 0x85, 0xad, 0xb6, 0xad, 0xa8, 0x3b}
)

// featured is a workspace with every feature on, and what only the test knows of it.
type featured struct {
	*workspace
	s      *secrets
	theirs []string // return files that the bureaus keep, which are theirs
	ears   *everybody
	module *payshieldtest.Simulator
	people map[string]*bureau.Key // private
	cards  []plastic
}

// everyFeature has a first small night behind it, of which the bureaus answered, and before it a second with everything on:
// Visa keys and PINs of twelve digits in a hardware module, Mastercard keys in software; signers, holds and approvals, an
// escrow key, retention, mail, webhooks, heartbeat, metrics. PINs are as long as they may be: one cannot be met by chance.
func everyFeature(t *testing.T) *featured {
	t.Helper()
	f := &featured{people: map[string]*bureau.Key{}}
	f.workspace, f.s, f.theirs = carelessBureau(t, func(w *workspace) { f.ears = listening(t, w) })
	f.program = withoutRaceDetector(t)
	_, f.cards = sampleCards(t, 90)
	f.makesPINs()
	f.hasPeople()
	f.hasEscrow()
	f.configureBureau("alpha", "max_records: 0", "max_records: 4")
	f.configureBureau("alpha", "above: 0 ", "above: 3 ")
	for _, what := range []string{"sealed_files", "results", "returns", "reports"} {
		f.configure("  "+what+": 0", "  "+what+": 30")
	}
	return f
}

func (f *featured) makesPINs() {
	f.tb.Helper()
	f.module = payshieldtest.New()
	f.module.PINLength = 13
	address, err := f.module.Listen(nil)
	if err != nil {
		f.tb.Fatal(err)
	}
	f.tb.Cleanup(f.module.Close)
	key := f.newKey("pins", "keys/pins.asc")
	private, err := key.Armored(true)
	if err != nil {
		f.tb.Fatal(err)
	}
	f.write("simulator/pins/keys/pins.pgp", private)
	for _, change := range [][2]string{
		{"new_pin: false ", "new_pin: true "}, {"backend: none              # or payshield", "backend: payshield         # or payshield"},
		{`zpk: ""  `, "zpk: " + payshieldtest.Token(payshieldtest.ZPK, leakZone) + "  "}, {`zpk_check: ""  `, `zpk_check: "` + payshieldtest.KCV(leakZone) + `"  `},
		{`pvk: ""  `, "pvk: " + payshieldtest.Token(payshieldtest.PVK, leakPVK) + "  "}, {`pvk_check: ""`, `pvk_check: "` + payshieldtest.KCV(leakPVK) + `"`},
		{`  # pgp: {key_file: keys/pins.asc, fingerprint: "..."}`, `  pgp: {key_file: keys/pins.asc, fingerprint: "` + key.Fingerprint() + `"}`},
		{`lmk_check: ""`, `lmk_check: "` + payshieldtest.LMKCheck[:6] + `"`}, {"retry_pause: 250ms", "retry_pause: 1ms"}, {"addresses: []", "addresses: ['" + address + "']"},
		{"length: 4                  # digits", "length: 12                 # digits"}, {"pin_length: 5", "pin_length: 13"},
	} {
		f.configure(change[0], change[1])
	}
	text := string(f.read("config.yaml"))
	at := strings.Index(text, "  cvk-visa: {backend: software")
	end := at + strings.IndexByte(text[at:], '\n')
	f.write("config.yaml", []byte(fmt.Sprintf("%s  cvk-visa: {backend: payshield, kcv: %q, token: %s}%s", text[:at], payshieldtest.KCV(leakCVK), payshieldtest.Token(payshieldtest.CVK, leakCVK), text[end:])))
}

// newKey makes a PGP key and puts its public half into the workspace.
func (f *featured) newKey(name, public string) *bureau.Key {
	f.tb.Helper()
	key, err := bureau.GenerateKey(name, name+"@bank.example", time.Now().Add(-time.Hour), 365*24*time.Hour)
	if err != nil {
		f.tb.Fatal(err)
	}
	text, err := key.Armored(false)
	if err != nil {
		f.tb.Fatal(err)
	}
	f.write(public, text)
	return key
}

// hasPeople: anna asks; ben, carol and dora approve, ben and carol by signed files, dora by command. The account that the
// tests run under, which owns every file of the inbox, is carol's.
func (f *featured) hasPeople() {
	f.tb.Helper()
	account, err := user.Current()
	if err != nil {
		f.tb.Fatal(err)
	}
	people := "people:\n"
	for _, p := range []struct{ name, may string }{
		{"anna", `submits: {requests: [reemboss, reissue], reasons: [1, 2, 3, 4, 5, 6], programs: ["*"], max_cards: 0}`},
		{"ben", `approves: {bureaus: ["*"]}`}, {"carol", `login: ` + account.Username + `, approves: {bureaus: ["*"]}`}, {"dora", `login: dora, approves: {bureaus: [alpha]}`},
	} {
		file := "keys/people/" + p.name + ".asc"
		f.people[p.name] = f.newKey(p.name, file)
		people += fmt.Sprintf("  %s: {key_file: %s, fingerprint: %q, %s}\n", p.name, file, f.people[p.name].Fingerprint(), p.may)
	}
	f.people["mallory"] = f.newKey("mallory", "../mallory.asc")
	f.configure("people: {}\n", people)
}

func (f *featured) hasEscrow() {
	f.tb.Helper()
	key := f.newKey("safe", "keys/escrow.asc")
	entry := fmt.Sprintf("escrow: {key_file: keys/escrow.asc, fingerprint: %q}", key.Fingerprint())
	f.configure(`# escrow: {key_file: keys/escrow.asc, fingerprint: "..."}`, entry)
	f.configure("      key_file: keys/bureaus/beta.asc", "      "+entry+"\n      key_file: keys/bureaus/beta.asc")
	f.configure("    key_file: keys/card-system.asc", "    "+entry+"\n    key_file: keys/card-system.asc")
}

// entity is a private key as the library has it.
func entity(tb testing.TB, key *bureau.Key) *openpgp.Entity {
	tb.Helper()
	armored, err := key.Armored(true)
	if err != nil {
		tb.Fatal(err)
	}
	ring, err := openpgp.ReadArmoredKeyRing(bytes.NewReader(armored))
	if err != nil {
		tb.Fatal(err)
	}
	return ring[0]
}

// clearSigned signs a text that stays readable.
func (f *featured) clearSigned(who string, text []byte) []byte {
	f.tb.Helper()
	var out bytes.Buffer
	w, err := clearsign.Encode(&out, entity(f.tb, f.people[who]).PrivateKey, nil)
	if err == nil {
		_, err = w.Write(text)
	}
	if err == nil {
		err = w.Close()
	}
	if err != nil {
		f.tb.Fatal(err)
	}
	return append(out.Bytes(), '\n')
}

// packedSigned signs as gpg --sign does: packed, and nobody needs a key to read it.
func (f *featured) packedSigned(who string, content []byte) []byte {
	f.tb.Helper()
	var out bytes.Buffer
	w, err := openpgp.Sign(&out, []*openpgp.Entity{entity(f.tb, f.people[who])}, nil, &packet.Config{DefaultCompressionAlgo: packet.CompressionZLIB})
	if err == nil {
		_, err = w.Write(content)
	}
	if err == nil {
		err = w.Close()
	}
	if err != nil {
		f.tb.Fatal(err)
	}
	return out.Bytes()
}

// sealedSigned signs and encrypts to the workspace.
func (f *featured) sealedSigned(who string, content []byte) []byte {
	f.tb.Helper()
	own, err := bureau.ReadPrivateKey(f.Path("keys/issuer.pgp"), nil, "", time.Now())
	if err != nil {
		f.tb.Fatal(err)
	}
	var out bytes.Buffer
	sealed, err := bureau.Seal(&out, bureau.Sealing{To: []*bureau.Key{own}, Signer: f.people[who], FileName: "requests", Time: time.Now()})
	if err == nil {
		_, err = sealed.Write(content)
	}
	if err == nil {
		err = sealed.Close()
	}
	if err != nil {
		f.tb.Fatal(err)
	}
	return out.Bytes()
}

// signedRequests are files of people, good and bad, with card numbers where none belongs.
func (f *featured) signedRequests() map[string][]byte {
	pan := func(i int) string { return f.cards[i].pan }
	lost := func(header string, rows ...int) []byte {
		text := []string{"card_id,user_id,reason_code,submitter,remark" + header}
		for _, i := range rows {
			text = append(text, fmt.Sprintf("%s,%s,lost,,see %s", f.cards[i].id, f.cards[i].customer, spaced(pan(i))))
		}
		return lines(text...)
	}
	signed := f.clearSigned("anna", lost("", 80, 81, 82, 83, 84, 86))
	return map[string][]byte{
		"l-lost.csv.asc":      f.clearSigned("anna", lost(","+pan(60), 52, 53, 54, 55, 56, 57, 58)),
		"m-packed.csv.gpg":    f.packedSigned("anna", lost("", 74, 75, 76, 77)),
		"n-sealed.xlsx.pgp":   f.sealedSigned("anna", workbook(f.tb, [][]any{{"Card ID", "User ID", "Reason code", pan(70)}, {f.cards[87].id, f.cards[87].customer, "lost", pan(71)}})),
		"o-edited.csv.asc":    bytes.Replace(signed, []byte("lost,,see"), []byte("lost,,saw"), 1),
		"p-unknown.csv.asc":   f.clearSigned("mallory", lost("", 80)),
		"q-unknown.csv.pgp":   f.packedSigned("mallory", lost("", 81)),
		"r-cut.csv.gpg":       f.packedSigned("anna", lost("", 82))[:200],
		"s-approval.asc":      f.clearSigned("ben", []byte("reemboss approval 1\nhold: hold-"+pan(61)+"\ndigest: "+pan(62)+"\ndecision: approve\nreason: "+pan(63)+"\n")),
		"t-approval.asc":      f.clearSigned("ben", []byte("reemboss approval 1\nhold: "+pan(64)+"\n"+pan(65)+": x\n")),
		"u-again.csv":         lines("card_id,remark", f.cards[88].id+","+pan(88)),
		"v-the-same.csv":      lines("card_id,remark", f.cards[88].id+","+pan(88)),
		"w-lost.csv":          lost("", 78, 72, 73, 66, 67, 68, 69, 65, 64, 63, 62),
		"x-" + pan(66) + ".x": []byte("\x1f\x8b\x08" + pan(67)),
	}
}

// secretsOfPINs adds what the PIN files hold, and gives how many PINs there are.
func (f *featured) secretsOfPINs() (count int) {
	f.tb.Helper()
	numbers := map[string]string{}
	for _, m := range f.delivered() {
		numbers[m.Record[layout.UID]] = m.Record[layout.PAN]
	}
	for _, path := range f.glob("outbox/pins/*.pgp") {
		rows, err := csv.NewReader(bytes.NewReader(f.openAt(path, "simulator/pins/keys/pins.pgp"))).ReadAll()
		if err != nil {
			f.tb.Fatal(err)
		}
		for _, row := range rows[1:] { // run,uid,card_id,new_card_id,pin_block,pin_block_format,zpk_check,pvv,pvki
			uid, block, number := row[1], row[4], numbers[row[1]]
			if number == "" {
				continue // its card is not delivered yet
			}
			pin, err := payshieldtest.OpenPINBlock(leakZone, block, number)
			if err != nil || len(pin) != 12 {
				f.tb.Fatalf("the PIN block of %s: %v", uid, err)
			}
			f.s.digits(pin, "the PIN of "+uid)
			f.s.digits(f.module.SealPIN(number[3:15], pin), "the PIN of "+uid+" under the LMK")
			f.s.everywhere(block, "the PIN block of "+uid)
			f.s.everywhere(strings.ToLower(block), "the PIN block of "+uid)
			if bits, err := hex.DecodeString(block); err == nil {
				f.s.needles[string(bits)] = "the PIN block of " + uid
				f.s.encoded(string(bits), "the PIN block of "+uid)
			}
			f.s.nearby(row[7], "the PVV of "+uid, uid, row[2], row[3], number[:6]+"******"+number[12:])
			count++
		}
	}
	return count
}

// holds are those that wait for a decision.
func (f *featured) openHolds() (names []string) {
	f.tb.Helper()
	f.inside(func(n *batch.Night) {
		holds, err := n.Ledger.Holds(f.tb.Context(), ledger.HoldQuery{Open: true})
		if err != nil {
			f.tb.Fatal(err)
		}
		for _, h := range holds {
			if h.State == ledger.Held {
				names = append(names, h.Name)
			}
		}
	})
	return names
}

// rows gives every value of every table of the ledger as the database has it, a row a line, whatever page it lies on.
func (w *workspace) rows() []byte {
	w.tb.Helper()
	c := w.copyOf(w.tb) // with its write-ahead log
	conn, err := sqlite.OpenConn(c.LedgerFile(), sqlite.OpenReadWrite)
	if err != nil {
		w.tb.Fatal(err)
	}
	defer conn.Close()
	must := func(err error) {
		w.tb.Helper()
		if err != nil {
			w.tb.Fatal(err)
		}
	}
	var tables []string
	must(sqlitex.ExecuteTransient(conn, "SELECT name FROM sqlite_schema WHERE type = 'table'", &sqlitex.ExecOptions{ResultFunc: func(s *sqlite.Stmt) error {
		tables = append(tables, s.ColumnText(0))
		return nil
	}}))
	var out bytes.Buffer
	for _, name := range tables {
		must(sqlitex.ExecuteTransient(conn, `SELECT * FROM "`+name+`"`, &sqlitex.ExecOptions{ResultFunc: func(s *sqlite.Stmt) error {
			for i := range s.ColumnCount() {
				out.WriteString(" | ")
				if s.ColumnType(i) == sqlite.TypeBlob {
					blob := make([]byte, s.ColumnLen(i))
					s.ColumnBytes(i, blob)
					out.Write(blob)
					continue
				}
				out.WriteString(s.ColumnText(i))
			}
			out.WriteString("\n" + strings.Repeat(" ", recordReach) + "\n") // a row is a record of its own
			return nil
		}}))
	}
	return out.Bytes()
}
