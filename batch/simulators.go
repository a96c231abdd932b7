package batch

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"maps"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/crypto/ssh"

	"reemboss/batch/config"
	"reemboss/bureau"
	"reemboss/formats/layout"
	"reemboss/formats/returns"
)

// SimulatorEars hear what a simulated bureau does; each may be nil.
type SimulatorEars struct {
	Received func(bureau.Received)
	Answered func(file string, answers []bureau.Answer)
}

// NewSimulator makes the simulated bureau of the configuration, with the keys
// that `init` put into simulator/<bureau>/keys/. It reads every record against
// the layout that the configuration names, and answers as bureaus.<name>.simulation
// says where simulation.answers and returns.dir are set. told, if any, hears of each file.
func (n *Night) NewSimulator(name string, told func(bureau.Received)) (*bureau.Simulator, error) {
	return n.NewSimulatorFor(name, SimulatorEars{Received: told})
}

// NewSimulatorFor is [Night.NewSimulator] for somebody who hears the answers too.
func (n *Night) NewSimulatorFor(name string, ears SimulatorEars) (*bureau.Simulator, error) {
	keys := func(file string) string { return filepath.Join(n.Simulator(name), "keys", file) }
	host, err := bureau.ReadSSHKey(keys("ssh_host_ed25519"))
	if err != nil {
		return nil, setup("host key of the simulated bureau %s: %w", name, err)
	}
	clients, err := authorizedKeys(keys("authorized_keys"))
	if err != nil {
		return nil, setup("known clients of the simulated bureau %s: %w", name, err)
	}
	private, err := bureau.ReadPrivateKey(keys("bureau.pgp"), nil, "", n.Now())
	if err != nil {
		return nil, &SetupError{err}
	}
	issuer, err := bureau.ReadPublicKey(keys("issuer.asc"), n.Config.Keys.Fingerprint, n.Now())
	if err != nil {
		return nil, &SetupError{err}
	}
	b := n.Config.Bureaus[name]
	life, err := lifeOf(name, b)
	if err != nil {
		return nil, &SetupError{err}
	}
	c := bureau.SimulatorConfig{
		Name: name, Dir: n.Simulator(name), HostKey: host, ClientKeys: clients, Key: private, Signers: []*bureau.Key{issuer},
		TempSuffix: b.Delivery.TempSuffix, Told: ears.Received, Now: n.Now,
		Check: checkAgainst(n.layouts[name], life != nil),
		Life:  life, WriteAnswers: writeAnswers, Answered: ears.Answered,
		Log: func(format string, args ...any) { n.Log.Debug().Str("simulator", name).Msgf(format, args...) },
	}
	if b.Returns.Sealed {
		c.SealTo = issuer
	}
	sim, err := bureau.NewSimulator(c)
	if err != nil {
		return nil, &SetupError{err}
	}
	return sim, nil
}

// answersOf has the simulated bureau of this process tell what happened until
// now. It does nothing for a real bureau, and for one that does not answer.
func (n *Night) answersOf(ctx context.Context, name string) error {
	b := n.Config.Bureaus[name]
	if !b.Simulator || !answers(b) || ctx.Err() != nil {
		return ctx.Err()
	}
	sim, err := n.simulator(name)
	if err != nil {
		return err
	}
	_, err = sim.Answer(n.Now())
	return err
}

// answers: somebody reads what the simulated bureau tells.
func answers(b config.Bureau) bool { return b.Simulation.Answers && b.Returns.Dir != "" }

// lifeOf is the life that the configuration gives a simulated bureau, nil for none.
func lifeOf(name string, b config.Bureau) (*bureau.Life, error) {
	if !answers(b) {
		return nil, nil
	}
	r, s := b.Returns, b.Simulation
	switch {
	case path.Clean("/"+r.Dir) != "/returns":
		return nil, fmt.Errorf("bureaus.%s.returns.dir is %q, and a simulated bureau answers in the folder returns: write dir: returns, or simulation.answers: false", name, r.Dir)
	case len(r.Mapping.Fields) > 0 || r.Mapping.Shape == "fixed":
		return nil, fmt.Errorf("bureaus.%s.returns.mapping describes another bureau's files, and a simulated one writes our own CSV: take the mapping away, or write simulation.answers: false", name)
	case !fetched(r, name):
		return nil, fmt.Errorf("bureaus.%s.returns.pattern %q leaves the simulated bureau's files (such as %s) where they are: widen it, or write simulation.answers: false", name, r.Pattern, returnName(r, name))
	}
	return &bureau.Life{
		Seed: int64(s.Seed), Reject: s.Reject, Return: s.Return, Lose: s.Lose, Late: s.Late, LateDays: s.LateDays, Twice: s.Twice,
		RefuseFiles: s.RefuseFiles, Shuffle: s.Shuffle, Acknowledges: b.Acknowledges,
		AckAfter: s.AckAfter, ProduceAfter: s.ProduceAfter, ShipAfter: s.ShipAfter, DeliverAfter: s.DeliverAfter,
	}, nil
}

// returnName is a name as simulated bureaus give them.
func returnName(r config.Returns, name string) string {
	sample := name + "_returns_20260102030405_0001.csv"
	if r.Sealed {
		sample += ".pgp"
	}
	return sample
}

func fetched(r config.Returns, name string) bool {
	return slices.ContainsFunc(strings.Fields(r.Pattern), func(pattern string) bool {
		ok, err := path.Match(pattern, returnName(r, name))
		return ok && err == nil
	})
}

// opened is what a simulated bureau that answers found in a file. It holds no card data.
type opened struct {
	summary layout.Summary
	uids    []string
}

// Sequence implements [bureau.Contents].
func (o *opened) Sequence() int64 { return o.summary.Sequence }

// TakeUIDs implements [bureau.Contents].
func (o *opened) TakeUIDs() []string {
	uids := o.uids
	o.uids = nil
	return uids
}

// checkAgainst reads every record; answering keeps their uids.
func checkAgainst(lay *bureauLayout, answering bool) func(string, io.Reader) (any, error) {
	return func(_ string, clear io.Reader) (any, error) {
		found := &opened{}
		var err error
		found.summary, err = lay.Read(clear, func(r layout.Record) error {
			if answering {
				found.uids = append(found.uids, r[layout.UID])
			}
			return nil
		})
		return found, err
	}
}

// writeAnswers writes a simulated bureau's return file in our own CSV.
func writeAnswers(w io.Writer, answers []bureau.Answer) error {
	lines := make([]returns.Line, len(answers))
	for i, a := range answers {
		kind := returns.Card
		if a.File {
			kind = returns.File
		}
		lines[i] = returns.Line{Kind: kind, FileName: a.FileName, Sequence: a.Sequence, UID: a.UID, Status: a.Status, Count: a.Count,
			Code: a.Code, Description: a.Description, Carrier: a.Carrier, TrackingNumber: a.TrackingNumber, OccurredAt: a.At}
	}
	return returns.Write(w, lines)
}

// authorizedKeys reads public keys in OpenSSH's form, one a line.
func authorizedKeys(path string) ([]ssh.PublicKey, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	var keys []ssh.PublicKey
	for len(bytes.TrimSpace(text)) > 0 {
		key, _, _, rest, err := ssh.ParseAuthorizedKey(text)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", path, err)
		}
		keys, text = append(keys, key), rest
	}
	return keys, nil
}

// DescribeReceived tells in one line what a simulated bureau found in a file.
func DescribeReceived(name string, r bureau.Received) string {
	if r.Err != nil {
		return fmt.Sprintf("%s cannot use %s: %v", name, r.Name, r.Err)
	}
	found, ok := r.Summary.(*opened)
	if !ok {
		return fmt.Sprintf("%s received %s", name, r.Name)
	}
	s := found.summary
	line := fmt.Sprintf("%s received %s: number %d, %d cards", name, r.Name, s.Sequence, s.Records)
	if s.Products > 0 {
		line += fmt.Sprintf(" of %d products", s.Products)
	}
	return line + fmt.Sprintf(", every record as %s wants it, signed by %s", s.Title, last(r.SignedBy, 16))
}

// DescribeAnswers tells in one line what a simulated bureau wrote.
func DescribeAnswers(name, file string, answers []bureau.Answer) string {
	counts := map[string]int{}
	for _, a := range answers {
		word := a.Status
		if a.File {
			word = "FILE " + word
		}
		counts[word]++
	}
	var parts []string
	for _, word := range slices.Sorted(maps.Keys(counts)) {
		parts = append(parts, fmt.Sprintf("%d %s", counts[word], word))
	}
	lines := "lines"
	if len(answers) == 1 {
		lines = "line"
	}
	return fmt.Sprintf("%s answered in %s: %d %s, %s", name, file, len(answers), lines, strings.Join(parts, ", "))
}

func last(s string, n int) string {
	if len(s) <= n {
		return s
	}
	return s[len(s)-n:]
}
