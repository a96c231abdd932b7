package main

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"reemboss/batch"
	"reemboss/bureau"
)

type keysCommand struct {
	List         keysListCommand   `cmd:"" help:"Every key of the workspace: whose, which, since when and until when. Never a secret."`
	Check        keysCheckCommand  `cmd:"" help:"Whether every key opens, is the pinned one and lasts: exit code 2 where a run would stop, 4 where a person must see to something."`
	Add          keysAddCommand    `cmd:"" help:"Add a key."`
	Rotate       keysRotateCommand `cmd:"" help:"Put a new key in the place of one in use."`
	Retire       keysRetireCommand `cmd:"" help:"Take a former sealing or index key out of the keyset, once nothing is under it."`
	ExportPublic keysExportCommand `cmd:"" name:"export-public" help:"The public half of our own keys, for bureaus and senders."`
}

func (s *session) options() batch.Options {
	o := s.seams
	o.Log = s.logger()
	return o
}

// keyring opens the workspace for a change of its keys.
func (s *session) keyring() (*batch.Night, error) { return batch.OpenKeyring(s, s.dir, s.options()) }

type keysListCommand struct {
	Rows bool `help:"Count how many card numbers of the ledger are under each sealing and index key; it reads all of them."`
	JSON bool `help:"Print the keys as JSON."`
}

// Run lists.
func (c *keysListCommand) Run(s *session) error {
	entries, err := batch.ListKeys(s, s.dir, s.options(), false)
	if err != nil {
		return err
	}
	if c.Rows {
		if err := batch.CountRows(s, s.dir, s.options(), entries); err != nil {
			return err
		}
	}
	if c.JSON {
		return printJSON(s.out, entries)
	}
	return printKeys(s.out, entries)
}

func printKeys(w io.Writer, entries []batch.KeyEntry) error {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "KIND\tWHOSE\tKEY\tALGORITHM\tCHECK\tSINCE\tUNTIL\tSTATE")
	for _, e := range entries {
		fmt.Fprintf(t, "%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\n", e.Kind, e.Owner, keyTitle(e), dash(e.Algorithm), dash(cmp.Or(e.KCV, e.Fingerprint)), day(e.Since), until(e), keyState(e))
	}
	return t.Flush()
}

// keyTitle names a key by its use, its name and where it is.
func keyTitle(e batch.KeyEntry) string {
	var parts []string
	for _, part := range []string{e.Use, e.Name, e.ID, e.Backend} {
		if part != "" {
			parts = append(parts, part)
		}
	}
	if e.Kind != "keyset" && e.File != "" {
		parts = append(parts, e.File)
	}
	return strings.Join(parts, " ")
}

func keyState(e batch.KeyEntry) string {
	state := e.State
	if e.Primary {
		state += ", in use"
	}
	if e.Rows != nil {
		state += fmt.Sprintf(", %d rows", *e.Rows)
	}
	return state
}

func dash(text string) string { return cmp.Or(text, "-") }

func day(t *time.Time) string {
	if t == nil {
		return "-"
	}
	return t.Format(time.DateOnly)
}

func until(e batch.KeyEntry) string {
	if e.DaysLeft == nil {
		return "-"
	}
	return fmt.Sprintf("%s (%d days)", day(e.Expires), *e.DaysLeft)
}

type keysCheckCommand struct {
	JSON bool `help:"Print the findings as JSON."`
}

// Run checks. What would stop a run is worse than what only waits.
func (c *keysCheckCommand) Run(s *session) error {
	entries, err := batch.CheckKeys(s, s.dir, s.options())
	if err != nil {
		return err
	}
	if c.JSON {
		err = printJSON(s.out, entries)
	} else {
		for _, e := range entries {
			fmt.Fprintln(s.out, checkLine(e))
		}
	}
	has := func(effects ...string) bool {
		return slices.ContainsFunc(entries, func(e batch.KeyEntry) bool { return slices.Contains(effects, e.Effect) })
	}
	switch {
	case err != nil:
		return err
	case has(batch.KeyStops):
		return exitCode(exitUsage)
	case has(batch.KeyWaits, batch.KeySoon):
		return exitCode(exitPerson)
	}
	return nil
}

func checkLine(e batch.KeyEntry) string {
	what := strings.TrimSpace(e.Kind + " " + e.Owner + " " + keyTitle(e))
	if e.Effect == batch.KeyOK {
		return fmt.Sprintf("%-6s %s", e.State, what)
	}
	word := map[string]string{batch.KeySoon: "SOON", batch.KeyWaits: "WAITS", batch.KeyStops: "STOPS"}[e.Effect]
	return fmt.Sprintf("%-6s %s: %s: %s", word, what, e.State, e.Problem)
}

type keysAddCommand struct {
	CVK        addCVKCommand        `cmd:"" name:"cvk" help:"A card verification key pair."`
	Allocation addAllocationCommand `cmd:"" help:"The key of a new PAN range."`
	PGP        addPGPCommand        `cmd:"" name:"pgp" help:"The public key of a bureau, the card system, a person …"`
}

type addCVKCommand struct {
	Name       string   `arg:"" help:"Name, as card_keys will say it."`
	File       string   `help:"File (0600) with the pair's 32 hex digits; delete it afterwards." xor:"source" required:"" placeholder:"FILE"`
	Components []string `help:"Two or three files (0600) with a component's 32 hex digits each, separated by commas." xor:"source" required:"" placeholder:"FILE"`
	Generate   bool     `help:"Draw a pair; environment: test only." xor:"source" required:""`
	KCV        string   `name:"kcv" help:"The check value that came with the key; without it the key's own is shown and nothing is changed." placeholder:"HEX"`
}

// Run adds the pair if its check value is the stated one.
func (c *addCVKCommand) Run(s *session) error {
	key, err := c.read()
	if err != nil {
		return err
	}
	if !c.Generate && c.KCV == "" {
		return c.ask(s, key)
	}
	n, err := s.keyring()
	if err != nil {
		return err
	}
	defer n.Close()
	var kcv string
	if c.Generate {
		kcv, err = n.GenerateCVK(s, c.Name)
	} else {
		kcv, err = n.AddCVK(s, c.Name, key, c.KCV)
	}
	if err != nil {
		return err
	}
	fmt.Fprintf(s.out, "Card key %s is in the keyset, check value %s. In config.yaml:\n\ncard_keys:\n  %s: {backend: software, kcv: %q}\n", c.Name, kcv, c.Name, kcv)
	if !c.Generate {
		fmt.Fprintf(s.out, "\nNow delete %s.\n", strings.Join(append(c.Components, c.File), " "))
	}
	return nil
}

func (c *addCVKCommand) read() (batch.CVK, error) {
	switch {
	case c.Generate:
		return batch.CVK{}, nil
	case c.File != "":
		return batch.Workspace{}.ReadCVK(c.File)
	}
	return batch.Workspace{}.CombineCVK(c.Components)
}

// ask shows the check values, for a person to compare with the letter that came with the key.
func (c *addCVKCommand) ask(s *session, key batch.CVK) error {
	kcv, err := key.KCV()
	if err != nil {
		return err
	}
	for i, check := range key.Components() {
		fmt.Fprintf(s.out, "component %d (%s): check value %s\n", i+1, c.Components[i], check)
	}
	source := "--file " + c.File
	if c.File == "" {
		source = "--components " + strings.Join(c.Components, ",")
	}
	fmt.Fprintf(s.out, "The key's check value is %s. Nothing was changed. If its sender states the same:\n\n  reemboss keys add cvk %s %s --kcv %s\n", kcv, c.Name, source, kcv)
	return exitCode(exitPerson)
}

type addAllocationCommand struct {
	Name string `arg:"" help:"Name, as ranges will say it (key)."`
}

// Run draws the key.
func (c *addAllocationCommand) Run(s *session) error {
	n, err := s.keyring()
	if err != nil {
		return err
	}
	defer n.Close()
	line, err := n.AddAllocation(s, c.Name)
	if err != nil {
		return err
	}
	fmt.Fprintf(s.out, "Allocation key %s is in the keyset, check value %s. In config.yaml a new range names it: key: %s\n", c.Name, line.Check, c.Name)
	return nil
}

type addPGPCommand struct {
	File        string `arg:"" help:"File with the public key."`
	For         string `help:"bureau/NAME, card-system, pins, people/NAME or escrow." required:"" placeholder:"WHO"`
	Fingerprint string `help:"The key's whole fingerprint as its owner told it by another way; without it the key's own is shown and nothing is changed." placeholder:"HEX"`
	JSON        bool   `help:"Print what was imported as JSON."`
}

// Run imports the public half and says what must stand in the configuration.
func (c *addPGPCommand) Run(s *session) error {
	if c.Fingerprint == "" {
		d, err := bureau.DescribeKey(c.File, "")
		if err != nil {
			return &batch.SetupError{Err: err}
		}
		fmt.Fprintf(s.out, "%s (%s), %s\nNothing was changed. If its owner told the same by another way than the key came:\n\n  reemboss keys add pgp %s --for %s --fingerprint %s\n", d.Fingerprint, d.Algorithm, d.UserID, c.File, c.For, d.Fingerprint)
		return exitCode(exitPerson)
	}
	n, err := s.keyring()
	if err != nil {
		return err
	}
	defer n.Close()
	in, err := n.AddPGP(s, c.File, c.Fingerprint, c.For)
	if err != nil {
		return err
	}
	if c.JSON {
		return printJSON(s.out, in)
	}
	fmt.Fprintf(s.out, "%s (%s) is in %s. In config.yaml, which is not touched:\n\n%s", in.Fingerprint, in.UserID, in.File, in.Lines)
	return nil
}

type keysRotateCommand struct {
	What     string `arg:"" help:"sealing, index, kek, pgp or ssh."`
	Out      string `help:"With kek: write the new key-encryption key to this file instead of the configured place." placeholder:"FILE"`
	TokenKey string `help:"With kek and --out: encrypt it under this AES key of the pkcs11 token." placeholder:"LABEL"`
	Finish   bool   `help:"With kek: the configuration names the new key; the one before shall no longer open the keyset."`
}

// Run rotates.
func (c *keysRotateCommand) Run(s *session) error {
	if c.What != "kek" && (c.Out != "" || c.TokenKey != "" || c.Finish) {
		return &batch.SetupError{Err: errors.New("--out, --token-key and --finish go with kek")}
	}
	n, err := s.keyring()
	if err != nil {
		return err
	}
	defer n.Close()
	switch c.What {
	case "kek":
		return c.kek(s, n)
	case "pgp":
		return c.pgp(s, n)
	case "ssh":
		return c.ssh(s, n)
	}
	line, err := n.Rotate(s, c.What)
	if err != nil {
		return err
	}
	fmt.Fprintf(s.out, "The %s key in use is now %s (check value %s). Every card number still opens and is found; the next runs bring what is stored under the new key, a part of it each night (reemboss keys list --rows). The former key stays until reemboss keys retire %s ID.\n", c.What, line.ID, line.Check, c.What)
	return nil
}

func (c *keysRotateCommand) kek(s *session, n *batch.Night) error {
	if c.Finish {
		if err := n.FinishKEK(s); err != nil {
			return err
		}
		fmt.Fprintln(s.out, "The keyset opens with the configured key-encryption key only.")
		return nil
	}
	kcv, err := n.RotateKEK(s, c.Out, c.TokenKey)
	if err != nil {
		return err
	}
	if c.Out == "" {
		fmt.Fprintf(s.out, "The keyset opens with a new key-encryption key (check value %s), which is in its place. Back it up apart from the keyset.\n", kcv)
		return nil
	}
	fmt.Fprintf(s.out, "The new key-encryption key (check value %s) is in %s; the keyset opens with it and with the one before. Put it where keys.keyset_kek says, or change that, then:\n\n  reemboss keys rotate kek --finish\n", kcv, c.Out)
	return nil
}

func (c *keysRotateCommand) pgp(s *session, n *batch.Night) error {
	made, err := n.RotatePGP(s)
	if err != nil {
		return err
	}
	fmt.Fprintf(s.out, "A new PGP key is in %s; the one in use stays until config.yaml names the new one. First give every bureau and every sender its public half, which follows, and compare the fingerprint by another way:\n\n%s\nThen, in config.yaml:\n\n%s", made.File, made.Public, made.Lines)
	return nil
}

func (c *keysRotateCommand) ssh(s *session, n *batch.Night) error {
	made, err := n.RotateSSH(s)
	if err != nil {
		return err
	}
	fmt.Fprintf(s.out, "A new SSH key (%s) is in %s; the one in use stays until config.yaml names the new one. First give the bureaus this line:\n\n%s\nThen, in config.yaml:\n\n%s", made.Fingerprint, made.File, made.Public, made.Lines)
	return nil
}

type keysRetireCommand struct {
	What string `arg:"" help:"sealing or index."`
	ID   string `arg:"" help:"The former key's id (reemboss keys list)."`
}

// Run retires.
func (c *keysRetireCommand) Run(s *session) error {
	n, err := s.keyring()
	if err != nil {
		return err
	}
	defer n.Close()
	if err := n.Retire(s, c.What, c.ID); err != nil {
		return err
	}
	fmt.Fprintf(s.out, "The %s key %s is out of the keyset. A copy of the ledger from before needs a copy of the keyset from before.\n", c.What, c.ID)
	return nil
}

type keysExportCommand struct {
	What string `arg:"" help:"pgp (ASCII armour) or ssh (lines for authorized_keys)." enum:"pgp,ssh"`
	Out  string `help:"Write to this new file instead of showing it." placeholder:"FILE"`
}

// Run exports.
func (c *keysExportCommand) Run(s *session) error {
	export := batch.ExportPGP
	if c.What == "ssh" {
		export = batch.ExportSSH
	}
	public, err := export(s.dir, s.options())
	if err != nil {
		return err
	}
	if c.Out != "" {
		return batch.WritePublic(c.Out, public)
	}
	_, err = s.out.Write(public)
	return err
}

type bureauPinHostCommand struct {
	Bureau      string `arg:"" help:"Name of the bureau, or card-system."`
	Fingerprint string `help:"SHA256:… of the host key, as the bureau told it by another way than the network." placeholder:"SHA256:…"`
	Replace     bool   `help:"The bureau has changed its host key: the pinned one goes."`
	JSON        bool   `help:"Print what the server shows as JSON."`
}

// Run shows the server's host keys, and pins the one whose fingerprint was given.
func (c *bureauPinHostCommand) Run(s *session) error {
	if c.Fingerprint == "" {
		return c.show(s)
	}
	n, err := s.keyring()
	if err != nil {
		return err
	}
	defer n.Close()
	h, err := n.HostKeys(s, c.Bureau)
	if err != nil {
		return unreachable(s, err)
	}
	key, err := n.PinHost(s, h, c.Fingerprint, c.Replace)
	if err != nil {
		return err
	}
	fmt.Fprintf(s.out, "%s is pinned for %s in %s: %s\n", key.Type, h.Server, h.KnownHosts, key.Fingerprint)
	return nil
}

func (c *bureauPinHostCommand) show(s *session) error {
	h, err := batch.ShowHostKeys(s, s.dir, s.options(), c.Bureau)
	if err != nil {
		return unreachable(s, err)
	}
	if c.JSON {
		if err := printJSON(s.out, h); err != nil {
			return err
		}
	} else {
		c.print(s.out, h)
	}
	if h.Settled() {
		return nil
	}
	return exitCode(exitPerson)
}

func (c *bureauPinHostCommand) print(w io.Writer, h *batch.HostKeys) {
	fmt.Fprintf(w, "%s shows:\n", h.Server)
	for _, k := range h.Shown {
		word := ""
		if k.Pinned {
			word = " (pinned)"
		}
		fmt.Fprintf(w, "  %s %s%s\n", k.Type, k.Fingerprint, word)
	}
	for _, k := range h.Pinned {
		fmt.Fprintf(w, "%s pins %s %s\n", h.KnownHosts, k.Type, k.Fingerprint)
	}
	replace := ""
	switch {
	case h.Settled():
		return
	case h.Alarm() != nil:
		fmt.Fprintf(w, "\nALARM: %v.\n", h.Alarm())
		replace = " --replace"
	}
	fmt.Fprintf(w, "\nNothing was changed. Compare with what the bureau told you by another way than the network; if one is the same:\n\n")
	for _, k := range h.Shown {
		fmt.Fprintf(w, "  reemboss bureau pin-host %s --fingerprint %s%s\n", h.Bureau, k.Fingerprint, replace)
	}
}

// unreachable: a server that does not answer is a matter for a person, like a failed transfer.
func unreachable(s *session, err error) error {
	var theirs *bureau.Error
	if errors.As(err, &theirs) {
		fmt.Fprintf(s.err, "reemboss: %v\n", theirs)
		return exitCode(exitPerson)
	}
	return err
}
