package batch

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/ProtonMail/go-crypto/openpgp/clearsign"
	"github.com/ProtonMail/go-crypto/openpgp/packet"
	openpgp "github.com/ProtonMail/go-crypto/openpgp/v2"

	"reemboss/batch/ledger"
	"reemboss/bureau"
)

// hall is a workspace whose bureau alpha holds files, with people who have keys.
type hall struct {
	*bench
	keys map[string]*bureau.Key // private
}

// newHall: every file of alpha is held; anna, ben, carol and dora may do what the words say.
func newHall(t *testing.T) *hall {
	t.Helper()
	return newHallAt(t, monday())
}

func newHallAt(t *testing.T, now time.Time) *hall {
	t.Helper()
	h := &hall{bench: newBenchAt(t, now), keys: map[string]*bureau.Key{}}
	if err := os.MkdirAll(h.Path("keys", "people"), 0o700); err != nil {
		t.Fatal(err)
	}
	people := "people:\n"
	for _, p := range []struct{ key, approves string }{
		{"anna", `{bureaus: ["*"]}`}, {"ben", "{bureaus: [alpha]}"}, {"carol", "{bureaus: [alpha], max_cards: 1}"}, {"dora", "{bureaus: [beta]}"},
	} {
		h.keys[p.key] = h.key(p.key, 0)
		people += fmt.Sprintf("  %[1]s: {name: %[2]s Example, login: %[1]s, key_file: keys/people/%[1]s.asc, fingerprint: %[3]q, approves: %[4]s}\n",
			p.key, strings.ToUpper(p.key[:1])+p.key[1:], h.keys[p.key].Fingerprint(), p.approves)
	}
	h.configure("people: {}\n", people, "always: false          # true: every file", "always: true")
	return h
}

// key makes a key, an hour old, and puts its public half where the configuration says that name's is.
func (h *hall) key(name string, validity time.Duration) *bureau.Key {
	h.Helper()
	key, err := bureau.GenerateKey(name, name+"@example.org", h.now.Add(-time.Hour), validity)
	if err != nil {
		h.Fatal(err)
	}
	public, err := key.Armored(false)
	if err == nil {
		err = os.WriteFile(h.Path("keys", "people", name+".asc"), public, 0o600)
	}
	if err != nil {
		h.Fatal(err)
	}
	return key
}

// as runs act under a login.
func (b *bench) as(login string, act func(*Night)) {
	b.Helper()
	n := b.open()
	n.Login = func() (string, error) { return login, nil }
	act(n)
	if err := n.Close(); err != nil {
		b.Fatal(err)
	}
}

// held gives the newest hold.
func (b *bench) held() ledger.Hold {
	b.Helper()
	n := b.open()
	defer n.Close()
	holds, err := n.Ledger.Holds(b.Context(), ledger.HoldQuery{})
	if err != nil || len(holds) == 0 {
		b.Fatalf("%d holds, %v", len(holds), err)
	}
	return holds[len(holds)-1]
}

// holdTwo has two cards of alpha asked for, by a row that names a submitter, and held.
func (h *hall) holdTwo(submitter string) ledger.Hold {
	h.Helper()
	h.cards("1 C1 NORMAL 411111000000001 00", "2 C2 NORMAL 411111000000002 00")
	h.drop("a.csv", fmt.Sprintf("card_id,user_id,reason_code,submitter\n1,C1,1,%[1]s\n2,C2,3,%[1]s\n", submitter))
	if r := h.run(); r.Exit != 4 || r.Accepted != 2 || r.Waiting != 2 || r.Written != 0 {
		h.Fatalf("exit %d, %s", r.Exit, r.Verdict)
	}
	return h.held()
}

// approvalOf is what is signed to decide a hold.
func approvalOf(hold ledger.Hold, decision, reason string) string {
	return fmt.Sprintf("reemboss approval 1\nhold: %s\ndigest: %s\ndecision: %s\nreason: %s\n", hold.Name, hold.Digest, decision, reason)
}

// clearSigned signs a text so that it can be read.
func clearSigned(t testing.TB, key *bureau.Key, text string, at time.Time) string {
	t.Helper()
	armored, err := key.Armored(true)
	if err != nil {
		t.Fatal(err)
	}
	ring, err := openpgp.ReadArmoredKeyRing(bytes.NewReader(armored))
	if err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	w, err := clearsign.Encode(&out, ring[0].PrivateKey, &packet.Config{Time: func() time.Time { return at }})
	if err == nil {
		_, err = w.Write([]byte(text))
	}
	if err == nil {
		err = w.Close()
	}
	if err != nil {
		t.Fatal(err)
	}
	return out.String() + "\n"
}

// dropped says what became of a hold and of the only approval file that a run takes.
func (h *hall) dropped(name, content string) (code string, state ledger.HoldState) {
	h.Helper()
	h.drop(name, content)
	h.run()
	for _, folder := range []string{"done", "refused"} {
		if found, _ := filepath.Glob(h.Path(folder, "*", name+".result.csv")); len(found) > 0 {
			return h.codes(folder, name)[0], h.held().State
		}
	}
	h.Fatalf("%s has no result", name)
	return "", ""
}

func TestApprovalMatrix(t *testing.T) {
	const no, yes = false, true
	for _, test := range []struct {
		name      string
		person    string
		submitter string // of the rows
		owner     bool   // the person put the file into the inbox
		decided   bool   // by somebody else before
		login     string // "" the person's
		command   bool   // may by command
		code      string // of the signed file
	}{
		{"anna, every bureau", "anna", "branch 7", no, no, "", yes, "00"},
		{"ben, this bureau", "ben", "branch 7", no, no, "", yes, "00"},
		{"carol, fewer cards", "carol", "branch 7", no, no, "", no, "submitter_not_allowed"},
		{"dora, another bureau", "dora", "branch 7", no, no, "", no, "submitter_not_allowed"},
		{"ben asked, by key", "ben", "BEN", no, no, "", no, "submitter_not_allowed"},
		{"ben asked, by name", "ben", "ben example", no, no, "", no, "submitter_not_allowed"},
		{"anna asked, ben approves", "ben", "anna", no, no, "", yes, "00"},
		{"ben brought the file", "ben", "branch 7", yes, no, "", no, "submitter_not_allowed"},
		{"decided already", "ben", "branch 7", no, yes, "", no, "duplicate_file"},
		{"a login of nobody", "ben", "branch 7", no, no, "mallory", no, "00"},
		{"a login in other letters", "ben", "branch 7", no, no, "Ben", no, "00"},
	} {
		t.Run(test.name, func(t *testing.T) {
			h := newHall(t)
			if test.owner {
				h.configure("Example, login: "+test.person, "Example, login: "+ownerOf(h.Config()))
			}
			hold := h.holdTwo(test.submitter)
			if test.decided {
				h.as("anna", func(n *Night) {
					if _, err := n.Approve(t.Context(), hold.Name, ""); err != nil {
						t.Fatal(err)
					}
				})
			}
			login := test.login
			switch {
			case test.owner:
				login = ownerOf(h.Config())
			case login == "":
				login = test.person
			}
			h.as(login, func(n *Night) {
				_, err := n.Approve(t.Context(), hold.Name, "looked at")
				var refused *SetupError
				if (err == nil) != test.command || err != nil && !errors.As(err, &refused) {
					t.Errorf("by command: %v", err)
				}
				wantAudit(t, n, "approval.refused", err != nil && !test.decided)
			})
			if test.command { // it is decided: the signed file needs a hold of its own
				h = newHall(t)
				hold = h.holdTwo(test.submitter)
			}
			if code, _ := h.dropped("approval.asc", clearSigned(t, h.keys[test.person], approvalOf(hold, "approve", "looked at"), h.now)); code != test.code {
				t.Errorf("by signed file: code %s, want %s", code, test.code)
			}
		})
	}
}

func wantAudit(t *testing.T, n *Night, what string, want bool) {
	t.Helper()
	found := false
	if err := n.Ledger.EachAudit(t.Context(), func(e ledger.AuditEntry) error {
		found = found || e.What == what
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	if found != want {
		t.Errorf("an audit entry %s: %v, want %v", what, found, want)
	}
}

func TestSignedApprovalsThatDoNotCount(t *testing.T) {
	for name, test := range map[string]struct {
		message func(h *hall, hold ledger.Hold) string
		code    string
	}{
		"signed by another key": {func(h *hall, hold ledger.Hold) string {
			return clearSigned(t, h.key("mallory", 0), approvalOf(hold, "approve", ""), h.now)
		}, "file_signature_invalid"},
		"another person's name, a key of one's own": {func(h *hall, hold ledger.Hold) string {
			forged, _ := bureau.GenerateKey("ben", "ben@example.org", h.now.Add(-time.Hour), 0)
			return clearSigned(t, forged, approvalOf(hold, "approve", ""), h.now)
		}, "file_signature_invalid"},
		"content edited": {func(h *hall, hold ledger.Hold) string {
			return strings.Replace(clearSigned(t, h.keys["ben"], approvalOf(hold, "cancel", "no"), h.now), "decision: cancel", "decision: approve", 1)
		}, "file_signature_invalid"},
		"signed too long ago": {func(h *hall, hold ledger.Hold) string {
			signed := clearSigned(t, h.keys["ben"], approvalOf(hold, "approve", ""), h.now)
			h.now = h.now.Add(73 * time.Hour)
			return signed
		}, "file_signature_invalid"},
		"signed in the future": {func(h *hall, hold ledger.Hold) string {
			return clearSigned(t, h.keys["ben"], approvalOf(hold, "approve", ""), h.now.Add(6*time.Minute))
		}, "file_signature_invalid"},
		"key expired since": {func(h *hall, hold ledger.Hold) string {
			old := h.keys["ben"].Fingerprint()
			h.keys["ben"] = h.key("ben", 3*time.Hour)
			h.configure(old, h.keys["ben"].Fingerprint())
			signed := clearSigned(t, h.keys["ben"], approvalOf(hold, "approve", ""), h.now)
			h.now = h.now.Add(24 * time.Hour)
			return signed
		}, "file_signature_invalid"},
		"key revoked": {func(h *hall, hold ledger.Hold) string {
			signed := clearSigned(t, h.keys["ben"], approvalOf(hold, "approve", ""), h.now)
			h.revoke("ben")
			return signed
		}, "file_signature_invalid"},
		"for other cards": {func(h *hall, hold ledger.Hold) string {
			hold.Digest = strings.Repeat("ab", 32)
			return clearSigned(t, h.keys["ben"], approvalOf(hold, "approve", ""), h.now)
		}, "reference_conflict"},
		"for another hold": {func(h *hall, hold ledger.Hold) string {
			hold.Name += "1"
			return clearSigned(t, h.keys["ben"], approvalOf(hold, "approve", ""), h.now)
		}, "reference_conflict"},
		"a line too many": {func(h *hall, hold ledger.Hold) string {
			return clearSigned(t, h.keys["ben"], approvalOf(hold, "approve", "")+"hold: other\n", h.now)
		}, "file_unreadable"},
		"a line too few": {func(h *hall, hold ledger.Hold) string {
			return clearSigned(t, h.keys["ben"], strings.Replace(approvalOf(hold, "approve", ""), "decision: approve\n", "", 1), h.now)
		}, "file_unreadable"},
		"a decision that is none": {func(h *hall, hold ledger.Hold) string {
			return clearSigned(t, h.keys["ben"], approvalOf(hold, "maybe", ""), h.now)
		}, "file_unreadable"},
		"cancelled without a reason": {func(h *hall, hold ledger.Hold) string {
			return clearSigned(t, h.keys["ben"], approvalOf(hold, "cancel", ""), h.now)
		}, "file_unreadable"},
	} {
		t.Run(name, func(t *testing.T) {
			h := newHall(t)
			hold := h.holdTwo("branch 7")
			code, state := h.dropped("approval.asc", test.message(h, hold))
			if code != test.code || state != ledger.Held {
				t.Errorf("code %s, want %s; the hold is %s", code, test.code, state)
			}
			h.as("x", func(n *Night) { wantAudit(t, n, "approval.refused", true) })
		})
	}
}

// revoke puts a public key with its owner's revocation in place of the public key.
func (h *hall) revoke(name string) {
	h.Helper()
	armored, err := h.keys[name].Armored(true)
	if err != nil {
		h.Fatal(err)
	}
	ring, err := openpgp.ReadArmoredKeyRing(bytes.NewReader(armored))
	if err == nil {
		err = ring[0].Revoke(packet.KeyCompromised, "stolen", &packet.Config{Time: func() time.Time { return h.now }})
	}
	var public bytes.Buffer
	if err == nil {
		err = ring[0].Serialize(&public)
	}
	if err == nil {
		err = os.WriteFile(h.Path("keys", "people", name+".asc"), public.Bytes(), 0o600)
	}
	if err != nil {
		h.Fatal(err)
	}
}

func TestAnApprovalCountsOnce(t *testing.T) {
	h := newHall(t)
	first := h.holdTwo("branch 7")
	signed := clearSigned(t, h.keys["ben"], approvalOf(first, "approve", "looked at"), h.now)
	if code, _ := h.dropped("one.asc", signed); code != "00" {
		t.Fatalf("code %s", code)
	}
	if code, _ := h.dropped("again.asc", signed); code != "duplicate_file" {
		t.Errorf("the same file again: %s", code)
	}
	if code, _ := h.dropped("resigned.asc", clearSigned(t, h.keys["anna"], approvalOf(first, "approve", "looked at"), h.now)); code != "duplicate_file" {
		t.Errorf("the same text signed again: %s", code)
	}
	h.now = h.now.AddDate(0, 0, 20)
	h.cards("3 C3 NORMAL 411111000000003 00")
	h.drop("c.csv", "card_id\n3\n")
	h.run()
	second := h.held()
	mixed := second
	mixed.Digest = first.Digest
	if code, state := h.dropped("mixed.asc", clearSigned(t, h.keys["ben"], approvalOf(mixed, "approve", ""), h.now)); code != "reference_conflict" || state != ledger.Held {
		t.Errorf("the digest of another hold: %s, %s", code, state)
	}
	if second.Name == first.Name {
		t.Error("a name was used twice")
	}
}

// A hold that is approved by a file of the night is written in the same night, exactly its cards in exactly one file.
func TestASignedApprovalReleasesTheHoldInTheSameNight(t *testing.T) {
	for _, form := range []string{"clear-signed", "signed and encrypted"} {
		h := newHall(t)
		hold := h.holdTwo("branch 7")
		message := clearSigned(t, h.keys["ben"], approvalOf(hold, "approve", "looked at"), h.now)
		if form != "clear-signed" {
			message = h.sealedFor(h.keys["ben"], approvalOf(hold, "approve", "looked at"))
		}
		h.cards("3 C3 NORMAL 411111000000003 00")
		h.drop("b.csv", "card_id\n3\n") // a later order never joins the hold
		h.drop("x.asc", message)
		r := h.run()
		h.want(h.codes("done", "x.asc"), "00")
		if r.Read != 1 || r.Accepted != 1 || r.Waiting != 1 || r.CarriedOver.Before != 2 || r.CarriedOver.Written != 2 {
			t.Errorf("%s: %s (%+v)", form, r.Verdict, r.CarriedOver)
		}
		var sent, waits []string
		for _, f := range r.ListedFiles() {
			if f.State == ledger.Sent {
				sent = append(sent, fmt.Sprint(f.Sequence, " ", f.Records))
			}
			if f.Hold != nil {
				waits = append(waits, fmt.Sprint(f.Sequence, " ", f.Records, " ", f.State))
			}
		}
		if fmt.Sprint(sent, waits) != "[1 2] [0 1 HELD]" || r.Exit != 4 {
			t.Errorf("%s: sent %q, held %q, exit %d", form, sent, waits, r.Exit)
		}
	}
}

// sealedFor signs a text and encrypts it to the workspace.
func (h *hall) sealedFor(signer *bureau.Key, text string) string {
	h.Helper()
	n := h.open()
	defer n.Close()
	var out bytes.Buffer
	w, err := bureau.Seal(&out, bureau.Sealing{To: []*bureau.Key{n.ownKey}, Signer: signer, Time: h.now})
	if err == nil {
		_, err = w.Write([]byte(text))
	}
	if err == nil {
		err = w.Close()
	}
	if err != nil {
		h.Fatal(err)
	}
	return out.String()
}

func TestOnlyFilesAboveTheThresholdAreHeld(t *testing.T) {
	h := newHall(t)
	h.configure("always: true", "always: false", "above: 0               # files", "above: 2 # files", "max_records: 0 ", "max_records: 3 ")
	var rows []string
	for i := 1; i <= 8; i++ {
		rows = append(rows, fmt.Sprintf("%d C%d NORMAL 41111100000000%d 00", i, i, i))
	}
	h.cards(rows...)
	h.drop("a.csv", "card_id\n1\n2\n3\n4\n5\n6\n7\n8\n")
	r := h.run()
	var files []string
	for _, f := range r.Files {
		files = append(files, fmt.Sprint(f.Records, " ", f.State))
	}
	if fmt.Sprint(files) != "[3 HELD 3 HELD 2 SENT]" && fmt.Sprint(files) != "[2 SENT 3 HELD 3 HELD]" {
		t.Errorf("files %q", files)
	}
	if r.Accepted != 8 || r.Written != 2 || r.Waiting != 6 {
		t.Errorf("%s", r.Verdict)
	}
}

// Who signed a request file does not approve its cards under another name either: the key is the same.
func TestARenamedPersonApprovesNoCardOfHerOwn(t *testing.T) {
	h := newHall(t)
	h.configure("name: Anna Example, login: anna,", "name: Anna Example, login: a.example,",
		`approves: {bureaus: ["*"]}}`, `approves: {bureaus: ["*"]}, submits: {requests: [reissue], reasons: [1], programs: ["*"]}}`)
	h.cards("1 C1 NORMAL 411111000000001 00")
	h.drop("a.csv.asc", clearSigned(t, h.keys["anna"], "card_id,user_id,reason_code\n1,C1,1\n", h.now))
	h.run()
	hold := h.held()
	h.configure("  anna: {name: Anna Example", "  anna-maria: {name: Anna Maria Example")
	h.as("a.example", func(n *Night) {
		if told, err := n.Approve(t.Context(), hold.Name, ""); err == nil || !strings.Contains(err.Error(), "signed the request file of 1 card") {
			t.Errorf("%s %v", told, err)
		}
	})
	if h.held().State != ledger.Held {
		t.Errorf("%s", h.held().State)
	}
}
