package batch

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"slices"
	"strings"
	"time"

	"reemboss/batch/config"
	"reemboss/batch/hsm"
	"reemboss/bureau"
)

// warnAhead is how long before its end a key is told as one that a person must see to.
const warnAhead = 30 * 24 * time.Hour

// Kinds of [KeyEntry].
const (
	PGPKeyEntry   = "pgp"    // our own, a recipient's, an escrow key, a person's
	SSHKeyEntry   = "ssh"    // what we log in with
	HostKeyEntry  = "host"   // a server's, pinned in known_hosts
	KEKEntry      = "kek"    // opens the keyset
	KeysetEntry   = "keyset" // a key in it
	CardKeyEntry  = "card"   // a card verification key of the configuration
	RangeKeyEntry = "range"  // a PAN range and its allocation key
	RightsEntry   = "rights" // a file that others may read or write, an owner that is not ours
)

// What a key means to the next run.
const (
	KeyOK    = "ok"
	KeySoon  = "soon"  // it ends within 30 days
	KeyWaits = "waits" // something stays where it is until a person saw to it
	KeyStops = "stops" // no run begins
)

// KeyEntry is one key of the workspace as a person may see it; no secret is in it.
type KeyEntry struct {
	Kind        string     `json:"kind"`
	Owner       string     `json:"owner"`          // workspace, a recipient, a person
	Name        string     `json:"name,omitempty"` // of the key, in the configuration or the keyset
	ID          string     `json:"id,omitempty"`
	Use         string     `json:"use,omitempty"` // own, former, recipient, escrow, signer, person; card numbers, index …
	File        string     `json:"file,omitempty"`
	Fingerprint string     `json:"fingerprint,omitempty"`
	Algorithm   string     `json:"algorithm,omitempty"`
	Backend     string     `json:"backend,omitempty"`
	KCV         string     `json:"kcv,omitempty"` // check value
	Primary     bool       `json:"primary,omitempty"`
	Since       *time.Time `json:"since,omitempty"` // made, or in use since
	Expires     *time.Time `json:"expires,omitempty"`
	DaysLeft    *int       `json:"days_left,omitempty"`
	Rows        *int64     `json:"rows,omitempty"`    // of the ledger that are under it
	State       string     `json:"state"`             // ok, expires soon, expired, revoked, weak, exposed, missing …
	Effect      string     `json:"effect"`            // ok, soon, waits, stops
	Problem     string     `json:"problem,omitempty"` // what is wrong and what to do
}

// keyring gathers the keys of a workspace. It opens what it can and goes on with the rest.
type keyring struct {
	n       *Night
	keyset  *hsm.Keyset
	entries []KeyEntry
}

// ListKeys tells every key of a workspace. The configuration must be right, the
// keys need not be. With hardware it also asks tokens and modules for the keys in them.
func ListKeys(ctx context.Context, dir string, o Options, hardware bool) ([]KeyEntry, error) {
	n, err := newNight(dir, o)
	if err != nil {
		return nil, err
	}
	r := &keyring{n: n}
	r.own()
	r.kek(ctx)
	r.inKeyset()
	r.cardKeys(ctx, hardware)
	r.ranges()
	for _, name := range slices.Sorted(maps.Keys(n.Config.Bureaus)) {
		b := n.Config.Bureaus[name]
		r.recipient(name, b.Recipient)
		if s := b.Returns.Signer; s.KeyFile != "" {
			r.public(name, "signer", s.KeyFile, s.Fingerprint)
		}
	}
	r.recipient(config.CardSystem, n.Config.CardSystem)
	if n.Config.PINs.Backend != config.NoPINs {
		r.recipient("pins", n.Config.PINs.Recipient)
	}
	for _, name := range slices.Sorted(maps.Keys(n.Config.People)) {
		if p := n.Config.People[name]; p.KeyFile != "" {
			r.public(name, "person", p.KeyFile, p.Fingerprint)
		}
	}
	r.logins()
	return r.entries, nil
}

// CountRows fills in how many numbers of the ledger are under each key for card
// numbers and for the index. It reads every row: seconds for a million cards.
func CountRows(ctx context.Context, dir string, o Options, entries []KeyEntry) error {
	n, err := newNight(dir, o)
	if err != nil {
		return err
	}
	if _, err := os.Stat(n.LedgerFile()); errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err := n.reach(o.privilege()); err != nil {
		return err
	}
	if n.keyset, err = n.openKeyset(ctx); err != nil {
		return &SetupError{err}
	}
	if err := n.openLedger(ctx, false); err != nil {
		return err
	}
	defer n.leaveDoor()
	defer n.Ledger.Close()
	use, err := n.Ledger.KeyUse(ctx)
	if err != nil {
		return fmt.Errorf("count what is under each key: %w", err)
	}
	for i, e := range entries {
		counts := map[string]map[string]int64{hsm.KindPAN: use.Sealed, hsm.KindIndex: use.Indexed}[e.Use]
		if e.Kind == KeysetEntry && counts != nil {
			rows := counts[e.ID]
			entries[i].Rows = &rows
		}
	}
	return nil
}

// CheckKeys is [ListKeys] with everything asked that can be without a run, and
// the rights of files and folders beside it.
func CheckKeys(ctx context.Context, dir string, o Options) ([]KeyEntry, error) {
	entries, err := ListKeys(ctx, dir, o, true)
	if err != nil {
		return nil, err
	}
	n, err := newNight(dir, o)
	if err != nil {
		return nil, err
	}
	who := o.privilege()
	who.change = true // a run changes
	for _, m := range n.rights(who) {
		entries = append(entries, KeyEntry{Kind: RightsEntry, Owner: "workspace", Name: m.Path, State: "exposed", Effect: KeyStops, Problem: m.Message})
	}
	if who.uid == 0 && n.Config.Environment == config.Production {
		entries = append(entries, KeyEntry{Kind: RightsEntry, Owner: "workspace", State: "root", Effect: KeyStops, Problem: errRoot.Error()})
	}
	return entries, nil
}

// add completes an entry by its end and what is wrong with it. effect is what a key means that cannot be used.
func (r *keyring) add(e KeyEntry, effect string, err error) {
	e.State, e.Effect = "ok", KeyOK
	if e.Expires != nil {
		days := int(e.Expires.Sub(r.n.Now()).Hours() / 24)
		e.DaysLeft = &days
		if !e.Expires.After(r.n.Now().Add(warnAhead)) {
			e.State, e.Effect = "expires soon", KeySoon
			e.Problem = fmt.Sprintf("it ends in %d days; get its successor and compare the fingerprint by another way", days)
		}
	}
	if err != nil {
		e.State, e.Effect = stateOf(err), effect
		e.Problem = strings.NewReplacer("\n", "; ", r.n.Dir+"/", "").Replace(err.Error())
	}
	r.entries = append(r.entries, e)
}

var (
	errNotPinned = errors.New("no host key of this server is pinned")
	errTwoKEKs   = errors.New("the keyset still opens with the key-encryption key of before; reemboss keys rotate kek --finish ends that")
)

// stateOf is what is wrong with a key, in a word or two.
func stateOf(err error) string {
	var key *bureau.KeyError
	switch {
	case errors.As(err, &key):
		return string(key.Kind)
	case errors.Is(err, hsm.ErrExposed), strings.Contains(err.Error(), "chmod 600"):
		return "exposed"
	case errors.Is(err, hsm.ErrKCV):
		return "another check value"
	case errors.Is(err, errTwoKEKs):
		return "being changed"
	case errors.Is(err, hsm.ErrNoKey), errors.Is(err, errNotPinned):
		return "missing"
	case errors.Is(err, hsm.ErrWrongKEK):
		return "not the one in use"
	}
	return "unusable"
}

// described fills in what can be told of a PGP key file, usable or not.
func (r *keyring) described(e KeyEntry, fingerprint string) KeyEntry {
	e.Kind, e.Fingerprint = PGPKeyEntry, fingerprint
	d, err := bureau.DescribeKey(r.n.Resolve(e.File), fingerprint)
	if err != nil {
		return e
	}
	e.Fingerprint, e.Algorithm, e.Since = d.Fingerprint, d.Algorithm, &d.Made
	if !d.Expires.IsZero() {
		e.Expires = &d.Expires
	}
	return e
}

// own: our PGP key, then those it replaced.
func (r *keyring) own() {
	k := r.n.Config.Keys
	passphrase, err := r.n.passphrase()
	if err == nil {
		_, err = bureau.ReadPrivateKey(r.n.Resolve(k.SigningKey), passphrase, k.Fingerprint, r.n.Now())
	}
	r.add(r.described(KeyEntry{Owner: "workspace", Use: "own", File: k.SigningKey}, k.Fingerprint), KeyStops, err)
	for _, f := range k.Former {
		_, err := r.n.formerKey(f)
		e := r.described(KeyEntry{Owner: "workspace", Use: "former", File: f.KeyFile}, f.Fingerprint)
		e.Expires = nil // it still opens
		r.add(e, KeyStops, err)
	}
}

// public: a key that somebody gave us. One that cannot be used stops no run: what needs it waits.
func (r *keyring) public(owner, use, file, fingerprint string) {
	_, err := bureau.ReadPublicKey(r.n.Resolve(file), fingerprint, r.n.Now())
	var key *bureau.KeyError
	if (use == "person" || use == "signer") && errors.As(err, &key) && key.Kind == bureau.KeyNoEncryption {
		err = nil // it signs
	}
	r.add(r.described(KeyEntry{Owner: owner, Use: use, File: file}, fingerprint), KeyWaits, err)
}

func (r *keyring) recipient(name string, to config.Recipient) {
	r.public(name, "recipient", to.PGP.KeyFile, to.PGP.Fingerprint)
	if e := to.PGP.Escrow; e.KeyFile != "" {
		r.public(name, "escrow", e.KeyFile, e.Fingerprint)
	}
	if to.Delivery.Method == config.SFTP {
		r.hosts(name, to.Delivery)
	}
}

// hosts: the host keys that are pinned for a server.
func (r *keyring) hosts(name string, d config.Delivery) {
	keys, err := bureau.PinnedHostKeys(r.n.hostOf(d))
	e := KeyEntry{Kind: HostKeyEntry, Owner: name, Name: fmt.Sprintf("%s:%d", d.Host, d.Port), File: d.KnownHosts}
	if err == nil && len(keys) == 0 {
		r.add(e, KeyWaits, fmt.Errorf("%w; reemboss bureau pin-host %s shows it", errNotPinned, name))
		return
	}
	if err != nil {
		r.add(e, KeyWaits, err)
		return
	}
	for _, key := range keys {
		e.Algorithm, e.Fingerprint = bureau.DescribeSSHKey(key)
		r.add(e, KeyWaits, nil)
	}
}

// logins: each SSH key that we log in with, once, with those it is for.
func (r *keyring) logins() {
	for _, l := range r.n.logins() {
		e := KeyEntry{Kind: SSHKeyEntry, Owner: strings.Join(l.recipients, ", "), Use: "own", File: l.file}
		key, err := bureau.ReadSSHPublicKey(r.n.Resolve(l.file))
		if err == nil {
			_, err = bureau.ReadSSHKey(r.n.Resolve(l.file)) // one that is locked can be shown, and not used
			e.Algorithm, e.Fingerprint = bureau.DescribeSSHKey(key)
		}
		r.add(e, KeyWaits, err)
	}
}

// login is an SSH key file with those that it logs in at.
type login struct {
	file       string
	recipients []string
}

// logins are the SSH key files of the configuration, in the order of their names.
func (n *Night) logins() []login {
	by := map[string][]string{}
	for _, name := range n.recipients() {
		to, err := n.recipient(name)
		if err == nil && to.Delivery.Method == config.SFTP && to.Delivery.KeyFile != "" {
			by[to.Delivery.KeyFile] = append(by[to.Delivery.KeyFile], name)
		}
	}
	var list []login
	for _, file := range slices.Sorted(maps.Keys(by)) {
		list = append(list, login{file, by[file]})
	}
	return list
}

// kek: what opens the keyset, and whether it does.
func (r *keyring) kek(ctx context.Context) {
	ref := r.n.Config.Keys.Keyset
	e := KeyEntry{Kind: KEKEntry, Owner: "workspace", File: ref.File, Algorithm: "AES-256"}
	if ref.Env != "" {
		e.Name = "$" + ref.Env
	}
	keyset, err := r.n.openKeyset(ctx)
	if err != nil {
		r.add(e, KeyStops, err)
		return
	}
	r.keyset = keyset
	checks, err := keyset.KEKs()
	if err == nil && len(checks) > 1 {
		e.KCV = strings.Join(checks, ", ")
		r.add(e, KeyWaits, errTwoKEKs)
		return
	}
	if len(checks) == 1 {
		e.KCV = checks[0]
	}
	r.add(e, KeyStops, err)
}

// openKeyset opens the keyset with the configured key-encryption key.
func (n *Night) openKeyset(ctx context.Context) (*hsm.Keyset, error) {
	kek, err := n.loadKEK(ctx)
	if err != nil {
		return nil, fmt.Errorf("key-encryption key: %w", err)
	}
	defer clear(kek)
	keyset, err := hsm.OpenKeyset(n.Keyset(), kek)
	if err == nil {
		keyset.Files = n.Files
	}
	return keyset, err
}

func (r *keyring) inKeyset() {
	if r.keyset == nil {
		return
	}
	for _, k := range r.keyset.Keys() {
		e := KeyEntry{Kind: KeysetEntry, Owner: "workspace", Use: k.Kind, Name: k.Name, ID: k.ID, KCV: k.Check, Primary: k.Primary, File: r.n.Relative(r.n.Keyset())}
		if !k.MadeAt.IsZero() {
			e.Since = &k.MadeAt
		}
		r.add(e, KeyStops, nil)
	}
}

// cardKeys: those of the configuration, each at its place.
func (r *keyring) cardKeys(ctx context.Context, ask bool) {
	cfg := r.n.Config
	asked := map[string]error{}
	for _, h := range hardware {
		keys := keysIn(cfg, h.backend)
		if len(keys) == 0 || !ask {
			continue
		}
		opened, err := h.open(ctx, r.n, keys)
		if err == nil {
			err = opened.Close()
		}
		asked[h.backend] = err
	}
	for _, name := range slices.Sorted(maps.Keys(cfg.CardKeys)) {
		k := cfg.CardKeys[name]
		e := KeyEntry{Kind: CardKeyEntry, Owner: "workspace", Use: hsm.KindCVK, Name: name, Backend: k.Backend, KCV: strings.ToUpper(k.KCV), Algorithm: "2-key triple DES"}
		var err error
		switch {
		case k.Backend != config.SoftwareKeys:
			err = asked[k.Backend]
		case r.keyset != nil:
			_, err = hsm.NewSoftware(r.keyset, map[string]config.CardKey{name: k}, cfg.Environment, cfg.AllowSoftwareKeys)
		}
		r.add(e, KeyStops, err)
		if _, known := asked[k.Backend]; !known && k.Backend != config.SoftwareKeys {
			r.entries[len(r.entries)-1].State = "not asked"
		}
	}
}

func (r *keyring) ranges() {
	for _, name := range slices.Sorted(maps.Keys(r.n.Config.Ranges)) {
		e := KeyEntry{Kind: RangeKeyEntry, Owner: "workspace", Use: hsm.KindAllocation, Name: name, ID: r.n.Config.Ranges[name].Key}
		var err error
		if r.keyset != nil {
			_, err = r.keyset.Allocation(e.ID)
		}
		r.add(e, KeyStops, err)
	}
}

// hostOf is where a server's host key is looked up.
func (n *Night) hostOf(d config.Delivery) bureau.Settings {
	return bureau.Settings{Host: d.Host, Port: d.Port, KnownHosts: n.Resolve(d.KnownHosts), User: d.User, DialTimeout: d.DialTimeout, Ciphers: d.Ciphers, Dial: n.Dial}
}
