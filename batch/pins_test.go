package batch

import (
	"bytes"
	"encoding/csv"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/rs/zerolog"

	"reemboss/batch/config"
	"reemboss/batch/hsm/payshield/payshieldtest"
	"reemboss/batch/ledger"
	"reemboss/bureau"
	"reemboss/formats/iso"
	"reemboss/formats/layout"
)

// Keys of PINs that the test knows and the module holds: the PVK of the published value 0481 among them.
var (
	zonePair = []byte{0x13, 0x34, 0x57, 0x79, 0x9b, 0xbc, 0xdf, 0xf1, 0xfe, 0xdc, 0xba, 0x98, 0x76, 0x54, 0x32, 0x10}
	pvkPair  = []byte{0x86, 0x19, 0x01, 0x76, 0x86, 0x6e, 0xc1, 0x7f, 0xb3, 0x26, 0x85, 0xad, 0xb6, 0xad, 0xa8, 0x3b}
)

const (
	pinsOff = "backend: none              # or payshield"
	pinsOn  = "backend: payshield         # or payshield"
)

// makesPINs has the workspace make PINs for visa-classic in a module that holds no card key.
func (b *bench) makesPINs(misbehave func(payshieldtest.Command) payshieldtest.Fault) *payshieldtest.Simulator {
	b.Helper()
	key, err := bureau.GenerateKey("reemboss simulated pins", "pins@example.invalid", b.now, keyValidity)
	if err != nil {
		b.Fatal(err)
	}
	private, errPrivate := key.Armored(true)
	public, errPublic := key.Armored(false)
	err = errors.Join(errPrivate, errPublic, os.MkdirAll(filepath.Dir(b.pinKey()), 0o700),
		os.WriteFile(b.pinKey(), private, 0o600), os.WriteFile(b.Path("keys", "pins.asc"), public, 0o600))
	if err != nil {
		b.Fatal(err)
	}
	b.configure("new_pin: false ", "new_pin: true ", pinsOff, pinsOn,
		`zpk: ""  `, "zpk: "+payshieldtest.Token(payshieldtest.ZPK, zonePair)+"  ", `zpk_check: ""  `, `zpk_check: "`+payshieldtest.KCV(zonePair)+`"  `,
		`pvk: ""  `, "pvk: "+payshieldtest.Token(payshieldtest.PVK, pvkPair)+"  ", `pvk_check: ""`, `pvk_check: "`+payshieldtest.KCV(pvkPair)+`"`,
		`  # pgp: {key_file: keys/pins.asc, fingerprint: "..."}`, `  pgp: {key_file: keys/pins.asc, fingerprint: "`+key.Fingerprint()+`"}`,
		`lmk_check: ""`, `lmk_check: "`+payshieldtest.LMKCheck[:6]+`"`, "retry_pause: 250ms", "retry_pause: 1ms", "retries: 3 ", "retries: 1 ")
	return b.nextModule(misbehave, nil)
}

func (b *bench) pinKey() string { return filepath.Join(b.Simulator("pins"), "keys", "pins.pgp") }

// replaced asks for count new numbers of visa-classic (reason 3), and for a
// damaged card of it and a lost mc-gold, which need no new PIN.
func (b *bench) replacedCards(count int) {
	b.Helper()
	var cards, asked strings.Builder
	cards.WriteString("card_id,customer_id,status,pan,psn,program_id,product,expiry,printed_name,address_line1,city,postcode,country\n")
	asked.WriteString("card_id,user_id,reason_code\n")
	for i := range count + 2 {
		product, prefix, reason := "visa-classic", "411111", 3
		switch i {
		case count:
			reason = 1
		case count + 1:
			product, prefix = "mc-gold", "555555"
		}
		body := fmt.Sprintf("%s%09d", prefix, i)
		fmt.Fprintf(&cards, "%d,C%d,NORMAL,%s%c,00,100,%s,2029-11,Anna Smith,1 Street,Berlin,10115,DE\n", i+1, i+1, body, iso.LuhnDigit(body), product)
		fmt.Fprintf(&asked, "%d,C%d,%d\n", i+1, i+1, reason)
	}
	if err := os.WriteFile(filepath.Join(b.InboxCards(), "cards.csv"), []byte(cards.String()), 0o600); err != nil {
		b.Fatal(err)
	}
	b.drop("lost.csv", asked.String())
}

// opened gives the clear text of a sealed file, its signature held against ours.
func (b *bench) openedText(path, key string) []byte {
	b.Helper()
	private, err := bureau.ReadPrivateKey(key, nil, "", b.now)
	if err != nil {
		b.Fatal(err)
	}
	n := b.open()
	defer n.Close()
	sealed, err := os.ReadFile(path)
	if err != nil {
		b.Fatal(err)
	}
	clear, verdict := bureau.Open(bytes.NewReader(sealed), private, []*bureau.Key{n.ownKey})
	text, err := io.ReadAll(clear)
	if err == nil {
		_, err = verdict()
	}
	if err != nil {
		b.Fatalf("%s: %v", path, err)
	}
	return text
}

// rowsOf reads a table, one map a line.
func (b *bench) rowsOf(text []byte) (rows []map[string]string) {
	b.Helper()
	lines, err := csv.NewReader(bytes.NewReader(text)).ReadAll()
	if err != nil || len(lines) == 0 {
		b.Fatalf("%d lines: %v", len(lines), err)
	}
	for _, line := range lines[1:] {
		row := map[string]string{}
		for i, cell := range line {
			row[lines[0][i]] = cell
		}
		rows = append(rows, row)
	}
	return rows
}

// pinFiles are those of the ledger.
func (b *bench) pinFiles() (files []ledger.BureauFile) {
	b.Helper()
	n := b.open()
	defer n.Close()
	all, err := n.Ledger.BureauFiles(b.Context(), ledger.FileQuery{})
	if err != nil {
		b.Fatal(err)
	}
	for _, f := range all {
		if f.Recipient == config.PINRecipient {
			files = append(files, f)
		}
	}
	return files
}

// newPINs opens every PIN file and gives the PIN of each order that needs one,
// after holding block, PVV, links and digest against what must be. It wants
// count of them, each once.
func (b *bench) newPINs(count int) map[string]string {
	b.Helper()
	orders := map[string]ledger.Order{}
	files := b.pinFiles()
	n := b.open()
	for _, f := range files {
		if err := n.Ledger.EachFileOrder(b.Context(), f.ID, func(o *ledger.Order) error { orders[o.UID] = *o; return nil }); err != nil {
			b.Fatal(err)
		}
	}
	if err := n.Close(); err != nil {
		b.Fatal(err)
	}
	pins := map[string]string{}
	for i, f := range files {
		if f.State != ledger.Sent || f.Sequence != int64(i+1) {
			b.Errorf("%s, number %d, is %s", f.Name, f.Sequence, f.State)
		}
		text := b.openedText(b.Path("outbox", "pins", f.Name), b.pinKey())
		digest := n.keyset.NewDigest("file")
		digest.Write(text)
		if hex.EncodeToString(digest.Sum(nil)) != f.PlainDigest {
			b.Errorf("%s has another digest than the ledger", f.Name)
		}
		if !bytes.HasPrefix(text, []byte("run,uid,card_id,new_card_id,pin_block,pin_block_format,zpk_check,pvv,pvki\n")) {
			b.Error("the header is another")
		}
		for _, row := range b.rowsOf(text) {
			o, known := orders[row["uid"]]
			number := o.PAN.Reveal()
			if _, twice := pins[o.UID]; twice || !known {
				b.Errorf("order %s has two PINs, or is in no plan", row["uid"])
				continue
			}
			if o.Product != "visa-classic" || o.EmbossedCardID == o.CardID || o.NewPIN != ledger.PINInFile {
				b.Errorf("order %s needs no new PIN and has one", o.UID)
			}
			if row["run"] != o.RunID || row["card_id"] != strconv.FormatInt(o.CardID, 10) || row["new_card_id"] != strconv.FormatInt(o.EmbossedCardID, 10) {
				b.Errorf("order %s is linked to other cards", o.UID)
			}
			if row["zpk_check"] != payshieldtest.KCV(zonePair) || row["pin_block_format"] != "01" && row["pin_block_format"] != "47" {
				b.Errorf("order %s: key %s, format %s", o.UID, row["zpk_check"], row["pin_block_format"])
			}
			pin, err := payshieldtest.OpenPINBlock(zonePair, row["pin_block"], number)
			if err != nil {
				b.Errorf("order %s: %v", o.UID, err)
				continue
			}
			if payshieldtest.PVV(pvkPair, number, row["pvki"], pin) != row["pvv"] {
				b.Errorf("order %s has the PVV of another PIN", o.UID)
			}
			if bytes.Contains(text, []byte(number)) {
				b.Error("a PIN file has a card number")
			}
			pins[o.UID] = pin
		}
	}
	if len(pins) != count {
		b.Errorf("%d orders have a PIN, want %d", len(pins), count)
	}
	return pins
}

// messages are those of a result, by card.
func (b *bench) messages(name string) map[string]string {
	b.Helper()
	paths, err := filepath.Glob(b.Path("done", "*", name+".result.csv"))
	if err != nil || len(paths) != 1 {
		b.Fatalf("results of %s: %v %v", name, paths, err)
	}
	text, err := os.ReadFile(paths[0])
	if err != nil {
		b.Fatal(err)
	}
	told := map[string]string{}
	for _, row := range b.rowsOf(text) {
		told[row["card_id"]] = row["message"]
	}
	return told
}

// Over TCP and over TLS, of more cards than one batch: each new number of a product with new_pin has a PIN, no other card has.
func TestANightMakesPINsForNewNumbers(t *testing.T) {
	for _, secured := range []bool{false, true} {
		t.Run(fmt.Sprintf("TLS %v", secured), func(t *testing.T) {
			b := newBench(t)
			sim := b.makesPINs(nil)
			count := 20
			if secured {
				count = secretsBatch + 30
				sim = b.nextModule(nil, b.certified())
			}
			if err := CheckConfig(t.Context(), b.Dir, Options{Log: zerolog.Nop()}); err != nil {
				t.Fatalf("config check: %v", err)
			}
			b.replacedCards(count)
			r := b.run()
			if r.Accepted != int64(count+2) || r.Exit != 0 || r.PINsWritten != int64(count) || r.PINsDue != 0 || r.PINsWaiting != 0 || len(r.PINFiles) != 1 {
				t.Fatalf("accepted %d, exit %d, PINs written %d, due %d, waiting %d, files %v; %v", r.Accepted, r.Exit, r.PINsWritten, r.PINsDue, r.PINsWaiting, r.PINFiles, r.NeedsPerson)
			}
			b.mustHold(r.Reconciliation)
			different := map[string]bool{}
			for _, pin := range b.newPINs(count) {
				different[pin] = true
				if len(pin) != 4 {
					t.Errorf("a PIN of %d digits", len(pin))
				}
			}
			if len(different) < count*3/4 {
				t.Errorf("%d different PINs of %d", len(different), count)
			}
			again := count/sampleOneIn + 1
			if count > secretsBatch {
				again++ // the sample of the second batch
			}
			if asked := sim.Commands(); asked["JA"] != count || asked["DG"] != count+again || asked["JG"] != count+again || asked["QK"] != 0 {
				t.Errorf("the module was asked %v", asked)
			}
			told := b.messages("lost.csv")
			if !strings.HasSuffix(told["1"], "A new PIN goes out in the PIN file.") {
				t.Errorf("a new number: %q", told["1"])
			}
			for _, i := range []int{count + 1, count + 2} {
				if strings.Contains(told[strconv.Itoa(i)], "PIN") {
					t.Errorf("card %d needs none: %q", i, told[strconv.Itoa(i)])
				}
			}
		})
	}
}

// Another length and a block that is filled at random.
func TestPINsOfAnotherLengthAndFormat(t *testing.T) {
	b := newBench(t)
	b.makesPINs(nil)
	b.configure("length: 4                  # digits", "length: 6                  # digits", `format: "01"`, `format: "47"`, "pin_length: 5", "pin_length: 9", "pvki: 1 ", "pvki: 3 ")
	sim := payshieldtest.New()
	sim.PINLength = 9
	address, err := sim.Listen(nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(sim.Close)
	b.rewrite(`(?m)^  addresses: .*$`, "  addresses: ['"+address+"']")
	b.replacedCards(5)
	if r := b.run(); r.Exit != 0 {
		t.Fatalf("exit %d: %v", r.Exit, r.NeedsPerson)
	}
	for _, pin := range b.newPINs(5) {
		if len(pin) != 6 {
			t.Errorf("a PIN of %d digits", len(pin))
		}
	}
}

// Neither PIN, nor block, nor PVV is anywhere but in the sealed PIN file: not in another file, the ledger, the log, a report, a result.
func TestPINsAreInThePINFileOnly(t *testing.T) {
	b := newBench(t)
	b.makesPINs(nil)
	b.configure("length: 4                  # digits", "length: 12                 # digits", "pin_length: 5", "pin_length: 13")
	sim := payshieldtest.New()
	sim.PINLength = 13
	address, err := sim.Listen(nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(sim.Close)
	b.rewrite(`(?m)^  addresses: .*$`, "  addresses: ['"+address+"']")
	const count = 8
	b.replacedCards(count)
	var log bytes.Buffer
	if r := b.run(func(n *Night) { n.Log = zerolog.New(zerolog.SyncWriter(&log)).Level(zerolog.TraceLevel) }); r.Exit != 0 {
		t.Fatalf("exit %d: %v", r.Exit, r.NeedsPerson)
	}
	var secrets []string
	pins := b.newPINs(count)
	files := b.pinFiles()
	n := b.open()
	numbers := map[string]string{}
	if err := n.Ledger.EachFileOrder(t.Context(), files[0].ID, func(o *ledger.Order) error { numbers[o.UID] = o.PAN.Reveal(); return nil }); err != nil {
		t.Fatal(err)
	}
	n.Close()
	for _, row := range b.rowsOf(b.openedText(b.Path("outbox", "pins", files[0].Name), b.pinKey())) {
		number, pin := numbers[row["uid"]], pins[row["uid"]]
		block, err := hex.DecodeString(row["pin_block"])
		if err != nil {
			t.Fatal(err)
		}
		secrets = append(secrets, pin, sim.SealPIN(number[len(number)-13:len(number)-1], pin), row["pin_block"], strings.ToLower(row["pin_block"]), string(block),
			","+row["pvv"]+",", `"`+row["pvv"]+`"`, ">"+row["pvv"]+"<")
	}
	places := map[string][]byte{"the log": log.Bytes()}
	err = filepath.WalkDir(b.Dir, func(path string, d fs.DirEntry, err error) error {
		if err == nil && d.Type().IsRegular() {
			places[path], err = os.ReadFile(path)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, of := range []struct{ pattern, key string }{
		{"simulator/alpha/incoming/*", filepath.Join(b.Simulator("alpha"), "keys", "bureau.pgp")},
		{"outbox/card-system/*", filepath.Join(b.Simulator("card-system"), "keys", "card-system.pgp")},
	} {
		paths, _ := filepath.Glob(b.Path(of.pattern))
		if len(paths) != 1 {
			t.Fatalf("%s: %v", of.pattern, paths)
		}
		places["inside "+paths[0]] = b.openedText(paths[0], of.key)
	}
	for place, content := range places {
		for i, secret := range secrets {
			if bytes.Contains(content, []byte(secret)) {
				t.Errorf("%s has secret %d", place, i)
			}
		}
	}
}

// A file of its own for the card, one for its PIN, joined by uid with what the card system learns.
func TestThePINFileIsLinkedByUID(t *testing.T) {
	b := newBench(t)
	b.makesPINs(nil)
	b.replacedCards(3)
	b.run()
	paths, _ := filepath.Glob(b.Path("outbox/card-system/*"))
	numbers := map[string]string{}
	for _, row := range b.rowsOf(b.openedText(paths[0], filepath.Join(b.Simulator("card-system"), "keys", "card-system.pgp"))) {
		numbers[row["uid"]] = row["pan"]
	}
	for _, row := range b.rowsOf(b.openedText(b.Path("outbox", "pins", b.pinFiles()[0].Name), b.pinKey())) {
		if _, err := payshieldtest.OpenPINBlock(zonePair, row["pin_block"], numbers[row["uid"]]); err != nil {
			t.Errorf("order %s with the number that the card system has: %v", row["uid"], err)
		}
	}
}

// Where nobody makes PINs, nothing is asked of a module and each row says what is to be done.
func TestWithoutTheCapabilityTheResultSaysThatThePINIsDue(t *testing.T) {
	b := newBench(t)
	b.configure("new_pin: false ", "new_pin: true ")
	var log bytes.Buffer
	if err := CheckConfig(t.Context(), b.Dir, Options{Log: zerolog.New(&log)}); err != nil || !strings.Contains(log.String(), "new_pin is true for visa-classic") {
		t.Errorf("config check: %v, log %s", err, log.String())
	}
	b.replacedCards(3)
	r := b.run()
	if r.Exit != 0 || r.PINsDue != 3 || r.PINsWritten != 0 || len(r.PINFiles) != 0 || !strings.Contains(strings.Join(r.Notes, " "), "3 new PINs are due") {
		t.Errorf("exit %d, PINs due %d, written %d, files %v, notes %v", r.Exit, r.PINsDue, r.PINsWritten, r.PINFiles, r.Notes)
	}
	told := b.messages("lost.csv")
	for i := 1; i <= 5; i++ {
		if due := strings.Contains(told[strconv.Itoa(i)], "The PIN is due: "); due != (i <= 3) {
			t.Errorf("card %d: %q", i, told[strconv.Itoa(i)])
		}
	}
	if _, err := os.Stat(b.Path("outbox", "pins")); err == nil {
		t.Error("there is a folder for PIN files")
	}
	// Somebody makes these PINs elsewhere: the capability does not come back for them.
	b.configure("new_pin: true ", "new_pin: false ")
	b.makesPINs(nil)
	if r := b.run(); r.PINsWritten != 0 || r.PINsWaiting != 0 || len(b.pinFiles()) != 0 {
		t.Errorf("PINs were made for cards whose rows say that they are due: %v", r.PINFiles)
	}
}

// A lost transmission is repeated as the same bytes; the module is not asked again.
func TestAPINFileIsSentAgainAsTheSameBytes(t *testing.T) {
	b := newBench(t)
	sim := b.makesPINs(nil)
	b.replacedCards(2)
	b.run()
	path := b.Path("outbox", "pins", b.pinFiles()[0].Name)
	before, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	asked := sim.Commands()["JA"]
	n := b.open()
	f, err := n.Resend(t.Context(), filepath.Base(path), "they lost it")
	if err != nil || f.State != ledger.Sent {
		t.Errorf("%s, %v", f.State, err)
	}
	n.Close()
	if after, err := os.ReadFile(path); err != nil || !bytes.Equal(before, after) || sim.Commands()["JA"] != asked {
		t.Errorf("the file was made again: %v", err)
	}
	b.newPINs(2)
}

// PIN files go by SFTP as every file does, and their recipient is another server than any bureau.
func TestPINFilesGoBySFTP(t *testing.T) {
	b := newBench(t)
	b.makesPINs(nil)
	n := b.open()
	host, errHost := bureau.GenerateHostKey(filepath.Join(b.Simulator("pins"), "keys", "host"))
	private, errKey := bureau.ReadPrivateKey(b.pinKey(), nil, "", b.now)
	clients, errClients := authorizedKeys(filepath.Join(b.Simulator("alpha"), "keys", "authorized_keys"))
	if err := errors.Join(errHost, errKey, errClients); err != nil {
		t.Fatal(err)
	}
	server, err := bureau.NewSimulator(bureau.SimulatorConfig{Name: "pins", Dir: b.Simulator("pins"), HostKey: host, ClientKeys: clients, Key: private, Signers: []*bureau.Key{n.ownKey}})
	if err == nil {
		err = server.Start(t.Context(), "127.0.0.1:0")
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = server.Close() })
	n.Close()
	port, err := strconv.Atoi(server.Addr()[strings.LastIndexByte(server.Addr(), ':')+1:])
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(b.Path("keys", "known_pins"), []byte(bureau.KnownHostsLine("127.0.0.1", port, host.PublicKey())+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	b.configure("  # delivery: {method: folder}\n\n# Who signs", fmt.Sprintf("  delivery: {method: sftp, host: 127.0.0.1, port: %d, user: reemboss, key_file: keys/ssh_ed25519, known_hosts: keys/known_pins}\n\n# Who signs", port))
	b.replacedCards(4)
	if r := b.run(); r.Exit != 0 || len(r.PINFiles) != 1 || r.PINFiles[0].State != ledger.Sent {
		t.Fatalf("exit %d: %v %v", r.Exit, r.PINFiles, r.NeedsPerson)
	}
	got := server.Received()
	if len(got) != 1 || got[0].Err != nil || got[0].Name != b.pinFiles()[0].Name {
		t.Errorf("the recipient received %v", got)
	}
	b.newPINs(4)
}

// The plastic carries no PIN, and no layout field has one.
func TestTheCardFileCarriesNoPINBlock(t *testing.T) {
	b := newBench(t)
	b.makesPINs(nil)
	b.replacedCards(2)
	b.run()
	f := b.plan()
	n := b.open()
	defer n.Close()
	for _, r := range b.sealedRecords(n, f) {
		if r[layout.PINBlock] != "" {
			t.Error("a record has a PIN block")
		}
	}
}
