package batch

import (
	"bufio"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"strings"
	"time"

	"reemboss/batch/config"
	"reemboss/batch/hsm"
	"reemboss/batch/issue"
	"reemboss/batch/ledger"
	"reemboss/bureau"
	"reemboss/formats/layout"
)

// secretsBatch is how many cards get their verification values in one call of the HSM.
const secretsBatch = 512

// sampleOneIn: this share of a file's cards is computed again by a second way before the file is frozen.
const sampleOneIn = 100

// head is what a plan fixes beside the orders, so that a file can be made again
// from its plan, whatever the configuration says by then.
type head struct {
	Layout   layout.Head `json:"layout"`
	Client   string      `json:"client,omitempty"`
	Key      string      `json:"recipient_key"` // armoured public key
	Compress bool        `json:"compress,omitempty"`
	PINs     *pinHead    `json:"pins,omitempty"` // of a PIN file
	// The second key that the file is encrypted to, likewise (escrow.go); "" for none.
	EscrowKey         string `json:"escrow_key,omitempty"`
	EscrowFingerprint string `json:"escrow_fingerprint,omitempty"`
}

// write plans and writes a sealed file for each recipient whose orders wait.
// The plan (number, name, time, layout, keys, the orders in their order and a
// keyed digest of the clear text) is committed before the first byte; the
// clear text exists only between the ledger and the PGP writer. A file that a
// crash left without its state WRITTEN is discarded and made again; it had not
// got its name yet, so nobody has it.
func (n *Night) write(ctx context.Context) (int64, error) {
	if err := n.marks.raise(ctx, n.Ledger); err != nil {
		return 0, err
	}
	if err := n.giveNames(ctx); err != nil {
		return 0, err
	}
	planned, err := n.Ledger.BureauFiles(ctx, ledger.FileQuery{States: []ledger.BureauFileState{ledger.Planned}})
	if err != nil {
		return 0, err
	}
	var items int64
	for _, f := range planned {
		if err := n.finish(ctx, f); err != nil {
			return items, err
		}
		items += f.Records
	}
	bureaus, err := n.toWrite(ctx)
	if err != nil {
		return items, err
	}
	for _, w := range bureaus {
		if n.stuck[w.bureau] {
			continue
		}
		count, err := n.writeBureau(ctx, w)
		items += count
		if err != nil {
			return items, err
		}
	}
	// The card system is told after the bureaus' files are planned: it learns their names. PINs are for cards that are made.
	for _, own := range []func(context.Context) (int64, error){n.writeCardSystem, n.writePINFile} {
		count, err := own(ctx)
		if items += count; err != nil {
			return items, err
		}
	}
	return items, nil
}

// writeBureau makes the files of one bureau: those that were approved first, then those that need nobody's approval; what
// needs it is set aside before. What keeps it from that is told with what waits; the other bureaus go on.
func (n *Night) writeBureau(ctx context.Context, w bureauWork) (int64, error) {
	b, ok := n.Config.Bureaus[w.bureau]
	if !ok {
		n.wait(w.bureau, "the configuration has no bureau of this name; put it back")
		return 0, nil
	}
	if b.Hold {
		n.wait(w.bureau, "the bureau is on hold; set hold: false in config.yaml, then the next run writes them")
		return 0, nil
	}
	free, err := n.setAside(ctx, w.bureau, b, w.queued)
	if err != nil || free == 0 && len(w.approved) == 0 {
		return 0, err
	}
	key, err := n.recipientKey(b.Recipient)
	if err != nil {
		n.wait(w.bureau, err.Error())
		return 0, nil
	}
	items, err := n.writeFiles(ctx, w, b, key, free)
	return items, n.unplanned(w.bureau, err)
}

// unplanned takes an error that keeps the next file of one recipient from being planned, and tells it with what waits: no
// number was taken, and the other recipients go on. Any other error it gives back.
func (n *Night) unplanned(recipient string, err error) error {
	switch {
	case errors.Is(err, hsm.ErrNoKey):
		n.wait(recipient, err.Error()+"; put the key back into card_keys and the keyset")
	case doesNotFit(err):
		n.wait(recipient, err.Error()+"; no number was taken. Agree with the bureau on a layout that has room for it, or put back the one that had")
	case errors.Is(err, errName):
		n.wait(recipient, err.Error()+"; no number was taken. Change its file_name, so that its names are its own, and tell it")
	default:
		return err
	}
	return nil
}

// errName is wrapped by what keeps a file from having a name.
var errName = errors.New("no name for its next file")

// doesNotFit says that a file's head (its number, say) or a record of it is against the bureau's layout.
func doesNotFit(err error) bool {
	var field *layout.FieldError
	var record *layout.RecordError
	return errors.As(err, &field) || errors.As(err, &record)
}

// writeFiles plans and writes a file for each approved hold, and files for the first free orders of the queue.
func (n *Night) writeFiles(ctx context.Context, w bureauWork, b config.Bureau, key *bureau.Key, free int64) (items int64, err error) {
	write := func(records, hold int64) error {
		f, err := n.planBureau(ctx, w.bureau, b, n.layouts[w.bureau], key, records, hold)
		if err != nil {
			return err
		}
		if err := n.finish(ctx, f); err != nil || n.stuck[w.bureau] {
			return err
		}
		items += records
		return nil
	}
	for _, h := range w.approved {
		may, err := n.mayWrite(ctx, h)
		if err != nil {
			return items, err
		}
		if !may {
			continue
		}
		if err := write(h.Records, h.ID); err != nil || n.stuck[w.bureau] {
			return items, err
		}
	}
	for free > 0 {
		records := fileSize(b, free)
		if err := write(records, 0); err != nil || n.stuck[w.bureau] {
			return items, err
		}
		free -= records
	}
	return items, nil
}

// fileSize is how many of the waiting orders go into a bureau's next file.
func fileSize(b config.Bureau, waiting int64) int64 {
	if b.MaxRecords > 0 {
		return min(waiting, int64(b.MaxRecords))
	}
	return waiting
}

// wait keeps the reason why a recipient's orders stay where they are.
func (n *Night) wait(recipient, reason string) {
	reason = n.safe(reason)
	n.waiting[recipient] = reason
	n.Log.Warn().Str("run", n.run.ID).Str("recipient", recipient).Msg("orders wait: " + reason)
}

// planBureau fixes the next file of a bureau in the ledger: of a hold, or (0) of the first orders of its queue.
func (n *Night) planBureau(ctx context.Context, name string, b config.Bureau, lay *bureauLayout, key *bureau.Key, records, hold int64) (ledger.BureauFile, error) {
	queued := func(fn func(*ledger.Order) error) error { return n.Ledger.EachQueued(ctx, name, records, fn) }
	if hold != 0 {
		queued = func(fn func(*ledger.Order) error) error { return n.Ledger.EachHoldOrder(ctx, hold, fn) }
	}
	products, err := countProducts(queued)
	if err != nil {
		return ledger.BureauFile{}, fmt.Errorf("plan a file for %s: %w", name, err)
	}
	zone, err := time.LoadLocation(b.TimeZone)
	if err != nil {
		return ledger.BureauFile{}, fmt.Errorf("time zone of %s: %w", name, err)
	}
	f := ledger.BureauFile{Recipient: name, Records: records, HoldID: hold, Layout: lay.Title(), LayoutText: lay.Text()}
	at := n.Now().In(zone).Truncate(time.Second)
	public, err := key.Armored(false)
	if err != nil {
		return ledger.BureauFile{}, err
	}
	h := head{Client: b.Client, Key: string(public), Compress: b.PGP.Compress,
		Layout: layout.Head{Client: b.Client, Time: at, Records: records, Products: products}}
	return n.plan(ctx, f, h, key, b.FileName, lay.Extension(), at, queued)
}

// plan takes the recipient's next number, makes the clear text for its digest, and commits.
func (n *Night) plan(ctx context.Context, f ledger.BureauFile, h head, key *bureau.Key, template, ext string, at time.Time, orders eachOrder) (ledger.BureauFile, error) {
	used, err := n.Ledger.Counter(ctx, "sequence/"+f.Recipient)
	if err != nil {
		return f, err
	}
	f.Sequence = used + 1
	h.Layout.Sequence = f.Sequence
	f.Name, err = layout.FileName(template, layout.NameData{Client: h.Client, Bureau: f.Recipient, Sequence: f.Sequence, Time: at, Ext: ext})
	if err != nil {
		return f, fmt.Errorf("%w: %w", errName, err)
	}
	if err := n.nameNew(ctx, f.Name); err != nil {
		return f, err
	}
	if err := n.nameFree(f.Recipient, f.Name); err != nil {
		return f, err
	}
	h.Layout.Reference = fmt.Sprintf("%s-%06d", f.Recipient, f.Sequence)
	f.State, f.RunID, f.PlannedAt = ledger.Planned, n.run.ID, at
	f.RecipientKey, f.SigningKey = key.Fingerprint(), n.ownKey.Fingerprint()
	if err := n.freezeEscrow(&h, f.Recipient); err != nil {
		return f, fmt.Errorf("plan %s: %w", f.Name, err)
	}
	if f.Head, err = json.Marshal(h); err != nil {
		return f, fmt.Errorf("keep the plan of %s: %w", f.Name, err)
	}
	if f.PlainDigest, err = n.planDigest(ctx, f, h, orders); err != nil {
		return f, fmt.Errorf("plan %s: %w", f.Name, err)
	}
	n.at("write/plan")
	id, err := n.Ledger.PlanFile(ctx, ledger.Plan{File: f, Entry: n.entry("file.planned", f.Name, fmt.Sprintf("%s number %d, %d records", f.Recipient, f.Sequence, f.Records))})
	if err != nil {
		return f, fmt.Errorf("plan %s: %w", f.Name, err)
	}
	f.ID = id
	n.at("write/planned")
	return f, n.marks.raise(ctx, n.Ledger)
}

// nameNew is the error of a name that a file had before, of this recipient or of another one: each is given once for ever.
func (n *Night) nameNew(ctx context.Context, name string) error {
	before, err := n.Ledger.FileByName(ctx, name)
	switch {
	case errors.Is(err, ledger.ErrNotFound):
		return nil
	case err != nil:
		return err
	}
	return fmt.Errorf("%w: %s was that of number %d of %s", errName, name, before.Sequence, before.Recipient)
}

// planDigest makes the clear text and gives its keyed digest. With card keys in
// hardware it is made twice: a module that computes a wrong value once would
// otherwise leave a plan that no later run can write.
func (n *Night) planDigest(ctx context.Context, f ledger.BureauFile, h head, orders eachOrder) (string, error) {
	var sums [2]string
	for i := range sums {
		if i > 0 && (len(n.opened) == 0 || config.Reserved(f.Recipient)) {
			break
		}
		digest := n.keyset.NewDigest("file")
		if err := n.clearText(ctx, f, h, orders, digest, nil); err != nil {
			return "", err
		}
		sums[i] = hex.EncodeToString(digest.Sum(nil))
		if sums[i] != sums[0] {
			return "", fmt.Errorf("%w: the same cards have other card verification values than a moment ago; look at the HSM", issue.ErrSample)
		}
	}
	return sums[0], nil
}

// layoutName takes the version off a layout's title.
func layoutName(title string) string {
	name, _, _ := strings.Cut(title, " version ")
	return name
}

type eachOrder func(fn func(*ledger.Order) error) error

// countProducts counts the card designs of a file; orders come sorted by product.
func countProducts(orders eachOrder) (int64, error) {
	var products int64
	last := "\x00"
	err := orders(func(o *ledger.Order) error {
		if key := productOf(o.SortKey); key != last {
			products, last = products+1, key
		}
		return nil
	})
	return products, err
}

// clearText makes the clear text of a file, records streaming from the ledger, into w. twin, if any, gets the masked copy.
func (n *Night) clearText(ctx context.Context, f ledger.BureauFile, h head, orders eachOrder, w, twin io.Writer) error {
	switch f.Recipient {
	case config.CardSystem:
		return writeCardSystemText(f, orders, w)
	case config.PINRecipient: // all but its PINs
		return n.writePINText(ctx, f, h, orders, nil, w)
	}
	lay, err := layout.Compile(layoutName(f.Layout), f.LayoutText)
	if err != nil {
		return fmt.Errorf("the layout of the plan: %w", err)
	}
	out := lay.NewWriter(w, h.Layout)
	defer out.Close() //nolint:errcheck // wipes its buffer after a failure; the good end is below
	var masked *layout.Writer
	if twin != nil {
		masked = lay.NewTwin(twin, h.Layout)
		defer masked.Close() //nolint:errcheck // likewise
	}
	var done int64
	err = n.eachRecords(ctx, orders, func(records []layout.Record) error {
		for _, r := range records {
			if err := out.Write(r); err != nil {
				return err
			}
			if masked != nil {
				if err := masked.Write(r); err != nil {
					return err
				}
			}
		}
		done += int64(len(records))
		n.progress("write", done, f.Records)
		return ctx.Err()
	})
	if err != nil {
		return err
	}
	if masked != nil {
		if err := masked.Close(); err != nil {
			return err
		}
	}
	return out.Close()
}

// eachRecords gives the complete records of orders, in their order, some at a
// time. The next ones are made while fn writes; at most a few batches are in memory.
func (n *Night) eachRecords(ctx context.Context, orders eachOrder, fn func([]layout.Record) error) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	made, ended := make(chan []layout.Record, 2), make(chan error, 1)
	go func() {
		defer close(made)
		ended <- n.makeRecords(ctx, orders, made)
	}()
	var failed error
	for records := range made {
		if failed == nil {
			if failed = fn(records); failed != nil {
				cancel() // what is still made is thrown away
			}
		}
	}
	if err := <-ended; failed == nil {
		failed = err
	}
	return failed
}

// makeRecords reads orders and sends their records on, a batch at a time.
func (n *Night) makeRecords(ctx context.Context, orders eachOrder, made chan<- []layout.Record) error {
	batch := make([]issue.Item, 0, secretsBatch)
	send := func() error {
		if len(batch) == 0 {
			return nil
		}
		records, err := n.complete(ctx, batch)
		if err != nil {
			return err
		}
		batch = batch[:0]
		select {
		case made <- records:
			return nil
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	err := orders(func(o *ledger.Order) error {
		var blank issue.Blank
		if err := json.Unmarshal(o.Record, &blank); err != nil {
			return fmt.Errorf("the record of order %s cannot be read: %w", o.UID, err)
		}
		if batch = append(batch, issue.Item{PAN: o.PAN, Blank: &blank}); len(batch) < secretsBatch {
			return nil
		}
		return send()
	})
	if err != nil {
		return err
	}
	return send()
}

// complete gives the records of a batch with their secrets. A share of the values is checked by the second way of
// the place that their key is in: other code for keys in software, the hardware once more for the others.
func (n *Night) complete(ctx context.Context, batch []issue.Item) ([]layout.Record, error) {
	records, errs := issue.Complete(ctx, n.cardKeys, batch)
	for i, err := range errs {
		if err != nil {
			return nil, fmt.Errorf("card verification values of %s: %w", batch[i].Blank.UID(), err)
		}
	}
	sample := batch[:0:0]
	values := records[:0:0]
	for i := 0; i < len(batch); i += sampleOneIn {
		sample, values = append(sample, batch[i]), append(values, records[i])
	}
	if err := issue.VerifySample(ctx, n.cardKeys, sample, values); err != nil {
		return nil, err
	}
	return records, nil
}

// finish writes the file of a plan: sealed bytes into the outbox, whole or not at all, looked at again from the disk, then WRITTEN,
// then their own name. Killed before WRITTEN, the next run makes them anew; nobody had them. Killed after, it gives them their name.
// A plan that cannot be met as things are stays PLANNED with its reason, which is no error; see [Night.unwritten].
func (n *Night) finish(ctx context.Context, f ledger.BureauFile) error {
	var h head
	if err := json.Unmarshal(f.Head, &h); err != nil {
		return n.unwritten(ctx, f, fmt.Sprintf("its plan cannot be read: %v", err))
	}
	keys, err := n.plannedKeys(f, h)
	if err != nil {
		return n.unwritten(ctx, f, err.Error())
	}
	signer := n.signerOf(f.SigningKey)
	if signer == nil {
		return n.unwritten(ctx, f, fmt.Sprintf("its plan names our signing key %s, which is neither the configured one nor a former one that may still sign; put it into keys.former until the file is written", f.SigningKey))
	}
	if f.Recipient == config.PINRecipient {
		if err := n.samePINKeys(f, h); err != nil {
			return n.unwritten(ctx, f, err.Error())
		}
	}
	path := n.sealed(f) + unsettled
	if err := n.Files.MkdirAll(filepath.Dir(path)); err != nil {
		return fmt.Errorf("make the outbox: %w", err)
	}
	if err := n.Files.Sweep(filepath.Dir(path)); err != nil {
		return fmt.Errorf("clear the outbox: %w", err)
	}
	text := n.textOf(ctx, f, h)
	sealedSum, size := sha256.New(), int64(0)
	n.at("write/bytes")
	err = n.withTwin(f, func(twin io.Writer) error {
		return n.Files.Write(path, func(w io.Writer) error {
			counted := &countingWriter{w: io.MultiWriter(w, sealedSum)}
			err := n.seal(counted, f, h, keys, signer, func(clear io.Writer) error { return text.write(clear, twin) })
			size = counted.n
			n.at("write/sealed") // all bytes are there, under no name yet
			if err == nil && hex.EncodeToString(text.planned.Sum(nil)) != f.PlainDigest {
				return errDigest // they never get one
			}
			return err
		})
	})
	switch {
	case errors.Is(err, errPINs):
		return n.unwritten(ctx, f, err.Error())
	case errors.Is(err, hsm.ErrNoKey):
		return n.unwritten(ctx, f, err.Error()+"; put the key back into card_keys and the keyset")
	case errors.Is(err, errDigest), doesNotFit(err):
		return n.unwritten(ctx, f, err.Error())
	case err != nil:
		return fmt.Errorf("write %s: %w", f.Name, err)
	}
	sum := hex.EncodeToString(sealedSum.Sum(nil))
	if err := frozen(path, size, sum); err != nil {
		return fmt.Errorf("write %s: %w", f.Name, err)
	}
	change := ledger.FileChange{FileID: f.ID, From: []ledger.BureauFileState{ledger.Planned}, To: ledger.Written,
		At: n.Now(), RunID: n.run.ID, Size: size, SHA256: sum, Evidence: n.leaves(f.Recipient),
		Entry: n.audit("file.written", f.Name, fmt.Sprintf("%d bytes sealed, SHA-256 %s", size, sum))}
	if text.whole != nil {
		change.PlainDigest = hex.EncodeToString(text.whole.Sum(nil))
	}
	n.at("write/written")
	if err := n.Ledger.ChangeFile(ctx, change); err != nil {
		return err
	}
	n.at("write/frozen")
	return n.giveName(ctx, f)
}

// seal puts what fill writes into one PGP message to the recipient (and the escrow key), signed by us.
func (n *Night) seal(w io.Writer, f ledger.BureauFile, h head, keys []*bureau.Key, signer *bureau.Key, fill func(io.Writer) error) error {
	sealed, err := bureau.Seal(w, bureau.Sealing{To: keys, Signer: signer,
		FileName: strings.TrimSuffix(f.Name, ".pgp"), Time: f.PlannedAt, Compress: h.Compress, Rand: n.Random})
	if err != nil {
		return err
	}
	buffered := newBuffer(sealed)
	if err := fill(buffered); err != nil {
		return err // the message stays without its end and its file without a name
	}
	if err := buffered.Flush(); err != nil {
		return err
	}
	return sealed.Close()
}

// withTwin runs fill with a writer for the masked twin of a bureau file, which becomes <file>.masked.<ext> in the reports of the run.
func (n *Night) withTwin(f ledger.BureauFile, fill func(twin io.Writer) error) error {
	if config.Reserved(f.Recipient) {
		return fill(nil)
	}
	path := filepath.Join(n.Reports(n.run.ID), twinName(f.Name))
	if err := n.Files.MkdirAll(filepath.Dir(path)); err != nil {
		return fmt.Errorf("make the folder of reports: %w", err)
	}
	return n.Files.Write(path, func(w io.Writer) error {
		buffered := newBuffer(w)
		if err := fill(buffered); err != nil {
			return err
		}
		return buffered.Flush()
	})
}

// twinName: reemboss_alpha_000001.xml.pgp → reemboss_alpha_000001.xml.masked.xml
func twinName(name string) string {
	clear := strings.TrimSuffix(strings.TrimSuffix(name, ".pgp"), ".gpg")
	return clear + ".masked" + filepath.Ext(clear)
}

// frozen compares a file on the disk with what the ledger knows of it.
func frozen(path string, size int64, sum string) error {
	got, bytes, err := hashFile(path)
	if err != nil {
		return fmt.Errorf("read it again: %w", err)
	}
	if bytes != size || got != sum {
		return errors.New("the file on the disk is not the one that was written; keep it and look at the disk")
	}
	return nil
}

type countingWriter struct {
	w io.Writer
	n int64
}

func (c *countingWriter) Write(p []byte) (int, error) {
	k, err := c.w.Write(p)
	c.n += int64(k)
	return k, err
}

// newBuffer stands before the sealing writer: few large writes instead of many small ones.
func newBuffer(w io.Writer) *bufio.Writer { return bufio.NewWriterSize(w, 64<<10) }
