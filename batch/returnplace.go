package batch

import (
	"bytes"
	"context"
	"crypto/sha256"
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

	"reemboss/batch/ledger"
	"reemboss/batch/report"
)

// place puts a return file that is done with into returns/<bureau>/, or into
// quarantine/ there beside its reason. The bytes are those that came, unless
// they hold a card number in clear: then they stay sealed to us. The place is
// recorded first, so that each step may be repeated. One that was read again
// leaves its former place if it belongs elsewhere now.
func (r *returnReader) place(ctx context.Context, file *ledger.ReturnFile) error {
	n := r.n
	folder := n.Path("returns", file.Bureau)
	if file.Code != "" {
		folder = filepath.Join(folder, "quarantine")
	}
	sealed, err := n.returnHoldsPAN(ctx, file)
	if err != nil {
		return err
	}
	if file.Final != "" && (filepath.Dir(n.Path(file.Final)) != folder || placedSealed(file) != sealed) {
		if err := n.displace(file); err != nil {
			return err
		}
	}
	if file.Final == "" {
		if err := n.Files.MkdirAll(folder); err != nil {
			return err
		}
		path, err := freeName(folder, file.Name, sealed)
		if err != nil {
			return err
		}
		file.Final = n.Relative(path)
		if err := n.Ledger.UpdateReturn(ctx, *file, nil); err != nil {
			return err
		}
	}
	n.at("collect/placed")
	if err := n.copyHeld(file); err != nil {
		return err
	}
	what := "return.applied"
	file.State = ledger.ReturnApplied
	if file.Code != "" {
		what, file.State = "return.quarantined", ledger.ReturnQuarantined
		if err := n.writeReason(file); err != nil {
			return err
		}
	}
	held := n.Path(file.Held)
	if file.State == ledger.ReturnApplied {
		file.Held = ""
	}
	entry := n.entry(what, printable(file.Name), fmt.Sprintf("bureau %s, sha256 %s, %s", file.Bureau, file.SHA256, file.Code))
	if err := n.Ledger.UpdateReturn(ctx, *file, &entry); err != nil {
		return err
	}
	n.at("collect/done")
	if file.State == ledger.ReturnApplied {
		return n.Files.Remove(held)
	}
	return nil // a quarantined one may be read again: its bytes stay held until a person dismisses it
}

// displace removes a file from its place; its bytes are held.
func (n *Night) displace(file *ledger.ReturnFile) error {
	was := n.Path(file.Final)
	if filepath.Base(filepath.Dir(was)) == "quarantine" {
		if err := n.Files.Remove(was + ".result.csv"); err != nil {
			return err
		}
	}
	file.Final = ""
	return n.Files.Remove(was)
}

// freeName finds a name in folder that no file has: a.csv, then a-2.csv …
func freeName(folder, name string, sealed bool) (string, error) {
	name = printableName(name)
	ext := extension(name)
	base := strings.TrimSuffix(name, ext)
	for i := 1; ; i++ {
		candidate := base + ext
		if i > 1 {
			candidate = fmt.Sprintf("%s-%d%s", base, i, ext)
		}
		if sealed {
			candidate += ".pgp"
		}
		path := filepath.Join(folder, candidate)
		if _, err := os.Lstat(path); errors.Is(err, fs.ErrNotExist) {
			return path, nil
		} else if err != nil {
			return "", err
		}
	}
}

// extension is that of a name, with the one before .pgp: .csv, .csv.pgp.
func extension(name string) string {
	ext := filepath.Ext(name)
	if ext == ".pgp" {
		ext = filepath.Ext(strings.TrimSuffix(name, ext)) + ext
	}
	return ext
}

// printableName is a bureau's file name as we dare to use it: a plain name without control characters.
func printableName(name string) string {
	name = strings.Map(func(c rune) rune {
		if c < ' ' || c == 0x7f || c == '/' || c == '\\' {
			return '_'
		}
		return c
	}, limit(name, 200))
	if strings.Trim(name, ".") == "" {
		return "return"
	}
	return name
}

// heldError: what lies sealed in state/returns cannot be read.
type heldError struct{ err error }

func (e *heldError) Error() string { return e.err.Error() }
func (e *heldError) Unwrap() error { return e.err }

// heldBytes opens what lies sealed in state/returns and gives the bytes as they
// came, which must be those that the ledger recorded. An error of the sealed copy
// is a [heldError], one of read is given as it is.
func (n *Night) heldBytes(file *ledger.ReturnFile, read func(io.Reader) error) error {
	held := file.Held
	f, err := os.Open(n.Path(held))
	if err != nil {
		return &heldError{err}
	}
	defer f.Close()
	came, verdict := n.openForUs(f, n.ours())
	sum := sha256.New()
	came = io.TeeReader(came, sum)
	given := read(came)
	if _, err := io.Copy(io.Discard, came); err != nil {
		return &heldError{fmt.Errorf("what is held in %s: %w", held, err)}
	}
	if _, err := verdict(); err != nil {
		return &heldError{fmt.Errorf("what is held in %s: %w", held, err)}
	}
	if got := hex.EncodeToString(sum.Sum(nil)); got != file.SHA256 {
		return &heldError{fmt.Errorf("what is held in %s is not what was fetched", held)}
	}
	return given
}

// returnHoldsPAN says whether the bytes as they came hold a card number of ours in clear.
func (n *Night) returnHoldsPAN(ctx context.Context, file *ledger.ReturnFile) (holds bool, err error) {
	err = n.heldBytes(file, func(came io.Reader) error {
		scan := n.newScan()
		if err := scan.stream(ctx, came); err != nil {
			return err
		}
		holds = scan.found
		return nil
	})
	return holds, err
}

// placedSealed says that a file lies sealed to us at its last place.
func placedSealed(file *ledger.ReturnFile) bool {
	return strings.HasSuffix(file.Final, extension(printableName(file.Name))+".pgp")
}

// holdPlaced puts the bytes of an applied file, as they came, sealed into
// state/returns again. A copy that a crash leaves there is swept by the next run.
func (n *Night) holdPlaced(file *ledger.ReturnFile) error {
	held, err := n.newHeld(file.Bureau, "again")
	if err != nil {
		return err
	}
	f, err := os.Open(n.Path(file.Final))
	if errors.Is(err, fs.ErrNotExist) {
		return setup("%s is not kept any more; have the bureau send it again, then it is read", file.Final)
	}
	if err != nil {
		return err
	}
	defer f.Close()
	came, verdict := io.Reader(f), func() (string, error) { return "", nil }
	if placedSealed(file) {
		came, verdict = n.openForUs(f, n.ours())
	}
	err = n.sealStream(came, held, file.Name)
	if err == nil {
		_, err = verdict()
	}
	file.Held = n.Relative(held)
	if err == nil {
		err = n.heldBytes(file, func(io.Reader) error { return nil })
	}
	if err != nil {
		return errors.Join(setup("%s cannot be read again (%w); have the bureau send it again, then it is read", file.Final, plain(err)), n.Files.Remove(held))
	}
	return nil
}

// copyHeld writes a held file to its last place: as it came, or sealed to us where the name says so.
func (n *Night) copyHeld(file *ledger.ReturnFile) error {
	final := n.Path(file.Final)
	if placedSealed(file) {
		return n.heldBytes(file, func(came io.Reader) error { return n.sealStream(came, final, file.Name) })
	}
	return n.Files.Write(final, func(w io.Writer) error {
		return n.heldBytes(file, func(came io.Reader) error {
			_, err := io.Copy(w, came)
			return err
		})
	})
}

// writeReason writes, beside a quarantined file, why it is there.
func (n *Night) writeReason(file *ledger.ReturnFile) error {
	return n.Files.Write(n.Path(file.Final)+".result.csv", func(w io.Writer) error {
		out := csv.NewWriter(w)
		for _, row := range [][]string{
			{"bureau", "file", "line", "code", "message", "sha256", "size"},
			{file.Bureau, report.Neutral(file.Name), "0", file.Code, report.Neutral(file.Detail), file.SHA256, strconv.FormatInt(file.Size, 10)},
		} {
			if err := out.Write(row); err != nil {
				return err
			}
		}
		out.Flush()
		return out.Error()
	})
}

// peeked looks at the first bytes of a stream without taking them.
type peeked struct {
	r     io.Reader
	head  []byte
	asked bool
}

func (p *peeked) some() bool {
	if !p.asked {
		p.asked = true
		p.head = make([]byte, 14)
		k, _ := io.ReadFull(p.r, p.head) //nolint:errcheck // the reader tells it again
		p.head = p.head[:k]
	}
	return len(p.head) > 0
}

// sealed: a PGP message, armoured or binary (a packet of an encrypted session key, RFC 9580 4.2 and 5.1).
func (p *peeked) sealed() bool {
	if !p.some() {
		return false
	}
	switch p.head[0] {
	case 0x84, 0x85, 0x86, 0xc1:
		return true
	}
	return bytes.HasPrefix(p.head, []byte("-----BEGIN PGP"))
}

// Read implements [io.Reader].
func (p *peeked) Read(b []byte) (int, error) {
	if len(p.head) > 0 {
		k := copy(b, p.head)
		p.head = p.head[k:]
		return k, nil
	}
	return p.r.Read(b)
}
