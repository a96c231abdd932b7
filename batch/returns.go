package batch

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"reemboss/batch/config"
	"reemboss/batch/ledger"
	"reemboss/batch/report"
	"reemboss/bureau"
	"reemboss/formats/returns"
)

// Why a return file is quarantined as a whole.
const (
	returnNotSealed    = "not_sealed"     // must come sealed and signed, and does not
	returnSealed       = "sealed"         // comes sealed, and nothing says that it should
	returnSignature    = "signature"      // not signed, or by somebody else
	returnBroken       = "seal_broken"    // cannot be opened with our key
	returnContradicts  = "contradicts"    // with itself
	returnUnreadable   = "unreadable"     // not of the shape that the configuration describes
	returnFileUnknown  = "file_unknown"   // speaks of a bureau file that is none of ours
	returnOtherBureau  = "other_bureau"   // speaks of another bureau's file
	returnNoKey        = "no_key"         // the bureau's key cannot be used
	returnDamaged      = "held_damaged"   // our own sealed copy cannot be read any more
	lineMalformed      = "line_malformed" // a line that cannot be used
	uidUnknown         = "uid_unknown"    // no card of ours
	uidElsewhere       = "uid_elsewhere"  // a card of another file or bureau
	eventDisputed      = "event_disputed" // contradicts what is known
	bureauFileDisputed = "file_disputed"  // likewise, of a bureau file as a whole
)

// returnTrouble is why nothing of a return file may be used.
type returnTrouble struct {
	code, detail string
	unfinished   bool // it ends before its trailer: leave it
}

// returnReader reads return files against what was sent.
type returnReader struct {
	n       *Night
	lines   int64 // applied in this process
	formats map[string]*returns.Format
	files   *sentFiles
	checked map[string]bool // held paths that this process read to their end
}

// sentFiles finds bureau files by what a bureau says of them.
type sentFiles struct {
	byName   map[string]*ledger.BureauFile
	byNumber map[string]*ledger.BureauFile // bureau/number
	byID     map[int64]*ledger.BureauFile
}

func (s *sentFiles) put(f *ledger.BureauFile) {
	s.byName[f.Name], s.byID[f.ID] = f, f
	s.byNumber[fmt.Sprintf("%s/%d", f.Recipient, f.Sequence)] = f
}

// find gives the file that a line names by name or, failing that, by number; nil for none. A missing .pgp does not matter.
func (s *sentFiles) find(bureau string, l *returns.Line) *ledger.BureauFile {
	if l.FileName == "" {
		return s.byNumber[fmt.Sprintf("%s/%d", bureau, l.Sequence)]
	}
	if f := s.byName[l.FileName]; f != nil {
		return f
	}
	return s.byName[l.FileName+".pgp"]
}

// name is that of a bureau file, "" for none.
func (s *sentFiles) name(id int64) string {
	if f := s.byID[id]; f != nil {
		return f.Name
	}
	return ""
}

// prepare loads what every return file is read against.
func (r *returnReader) prepare(ctx context.Context, name string) (*returns.Format, error) {
	if r.files == nil {
		files, err := r.n.Ledger.BureauFiles(ctx, ledger.FileQuery{Brief: true})
		if err != nil {
			return nil, err
		}
		r.files = &sentFiles{map[string]*ledger.BureauFile{}, map[string]*ledger.BureauFile{}, map[int64]*ledger.BureauFile{}}
		for i := range files {
			if !config.Reserved(files[i].Recipient) {
				r.files.put(&files[i])
			}
		}
		r.formats, r.checked = map[string]*returns.Format{}, map[string]bool{}
	}
	if f := r.formats[name]; f != nil {
		return f, nil
	}
	f, err := returns.Compile(r.n.Config.Bureaus[name].Returns.Mapping)
	if err != nil {
		return nil, setup("returns of bureau %s: %w", name, err)
	}
	f = f.At(r.n.Now())
	if r.n.Config.Bureaus[name].Simulator { // may be asked to answer as if days had gone by
		f = f.Ahead(10 * 365 * 24 * time.Hour)
	}
	r.formats[name] = f
	return r.formats[name], nil
}

// check reads a held file once to its end. Nothing is changed.
func (r *returnReader) check(ctx context.Context, file *ledger.ReturnFile) (*returnTrouble, error) {
	format, err := r.prepare(ctx, file.Bureau)
	if err != nil {
		return nil, err
	}
	var first *returnTrouble // the first line that speaks of what is not ours
	var summary returns.Summary
	trouble, err := r.open(ctx, file, func(clear io.Reader) error {
		var err error
		summary, err = format.Read(clear, func(l *returns.Line) error {
			if first == nil {
				first = r.foreign(ctx, file.Bureau, l)
			}
			return ctx.Err()
		}, func(*returns.Bad) error { return ctx.Err() })
		return err
	})
	switch {
	case err != nil, trouble != nil:
		return trouble, err
	case first != nil:
		return first, nil
	}
	file.Lines = summary.Lines
	r.checked[file.Held] = true
	return nil, nil
}

// foreign says why a line cannot belong to what we sent to this bureau.
func (r *returnReader) foreign(ctx context.Context, name string, l *returns.Line) *returnTrouble {
	if l.FileName == "" && l.Sequence == 0 {
		return nil
	}
	told := l.FileName
	if told == "" {
		told = fmt.Sprintf("the file number %d", l.Sequence)
	}
	switch f := r.files.find(name, l); {
	case f == nil:
		told = r.n.masker(ctx)(printable(told))
		return &returnTrouble{code: returnFileUnknown, detail: fmt.Sprintf("Line %d speaks of %s, and no file of ours has ever had that name; nothing of it was used. Ask the bureau whose file it is.", l.Number, told)}
	case f.Recipient != name:
		return &returnTrouble{code: returnOtherBureau, detail: fmt.Sprintf("Line %d speaks of %s, which went to %s and not to %s; nothing of it was used. Ask both bureaus how it came here.", l.Number, told, f.Recipient, name)}
	}
	return nil
}

// open gives read the clear content of a held file, and afterwards says what is wrong with its seal, its signature or its shape.
func (r *returnReader) open(ctx context.Context, file *ledger.ReturnFile, read func(clear io.Reader) error) (*returnTrouble, error) {
	n := r.n
	var signers []*bureau.Key
	settings := n.Config.Bureaus[file.Bureau].Returns
	if settings.Sealed {
		key, err := n.returnSigner(file.Bureau)
		if err != nil {
			return &returnTrouble{code: returnNoKey, detail: fmt.Sprintf("The signature cannot be checked: %v.", err)}, nil
		}
		signers = []*bureau.Key{key}
	}
	var trouble *returnTrouble
	err := n.heldBytes(file, func(came io.Reader) error {
		head := &peeked{r: came}
		sealed := head.sealed()
		switch {
		case settings.Sealed && !sealed && head.some():
			trouble = &returnTrouble{code: returnNotSealed, detail: "Files of this bureau come encrypted to us and signed by it (returns.sealed), and this one is not; nothing of it was used. Ask the bureau who sent it."}
			return nil
		case !settings.Sealed && sealed:
			trouble = &returnTrouble{code: returnSealed, detail: "It is PGP encrypted, and the configuration says that files of this bureau are not; set returns.sealed: true, then reemboss settle it with --read-again."}
			return nil
		case !settings.Sealed:
			trouble = wholeTrouble(read(head))
			return nil
		}
		clear, verdict := n.openForUs(head, signers)
		shape := read(clear)
		_, _ = io.Copy(io.Discard, clear) // to its end: the signature stands there; what is wrong the verdict says
		signer, err := verdict()
		if trouble = sealTrouble(err); trouble == nil {
			trouble = wholeTrouble(shape)
		}
		file.SignedBy = signer
		return nil
	})
	if err == nil && trouble != nil && trouble.code == returnBroken {
		err = n.heldBytes(file, func(came io.Reader) error { // damaged, or not all there yet?
			if errors.Is(bureau.Whole(came), bureau.ErrCut) {
				trouble = &returnTrouble{unfinished: true, detail: "It ends in the middle of its seal."}
			}
			return nil
		})
	}
	if err == nil {
		err = ctx.Err()
	}
	return trouble, err
}

// sealTrouble says what is wrong with a seal or a signature.
func sealTrouble(err error) *returnTrouble {
	const unused = " Nothing of it was used."
	switch {
	case err == nil:
		return nil
	case errors.Is(err, bureau.ErrNotSigned):
		return &returnTrouble{code: returnSignature, detail: "It is encrypted to us and not signed; files of this bureau carry its signature." + unused + " Ask the bureau who sent it."}
	case errors.Is(err, bureau.ErrUnknownSigner):
		return &returnTrouble{code: returnSignature, detail: "It is signed with a key that is not this bureau's." + unused + " Ask the bureau whether it has a new key, and compare the fingerprint by telephone before you configure it (returns.signer)."}
	case errors.Is(err, bureau.ErrBadSignature):
		return &returnTrouble{code: returnSignature, detail: "Its signature does not hold: it was changed after it was signed." + unused + " Ask the bureau to send it again."}
	}
	return &returnTrouble{code: returnBroken, detail: fmt.Sprintf("It cannot be opened: %v.%s Ask the bureau to encrypt it to our key.", plain(err), unused)}
}

// wholeTrouble says what is wrong with the shape of a file.
func wholeTrouble(err error) *returnTrouble {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, returns.ErrNoTrailer):
		return &returnTrouble{unfinished: true, detail: sentence(err)}
	case errors.Is(err, returns.ErrContradicts):
		return &returnTrouble{code: returnContradicts, detail: sentence(err) + " Nothing of it was used; ask the bureau to send it again."}
	}
	return &returnTrouble{code: returnUnreadable, detail: sentence(err) + " Nothing of it was used; compare returns.mapping with docs/returns.md and with what the bureau promises."}
}

// sentence makes an error a sentence of its own.
func sentence(err error) string {
	text := strings.TrimRight(err.Error(), ".")
	return strings.ToUpper(text[:1]) + text[1:] + "."
}

// returnSigner is the key that a bureau signs its return files with.
func (n *Night) returnSigner(name string) (*bureau.Key, error) {
	b := n.Config.Bureaus[name]
	if s := b.Returns.Signer; s.KeyFile != "" {
		return bureau.ReadPublicKey(n.Resolve(s.KeyFile), s.Fingerprint, n.Now())
	}
	return bureau.ReadPublicKey(n.Resolve(b.PGP.KeyFile), b.PGP.Fingerprint, n.Now())
}

// applyHeld applies every held file, the oldest first.
func (r *returnReader) applyHeld(ctx context.Context) error {
	held, err := r.n.Ledger.ReturnFiles(ctx, ledger.ReturnQuery{States: []ledger.ReturnState{ledger.ReturnHeld}})
	if err != nil {
		return err
	}
	for i := range held {
		if err := ctx.Err(); err != nil {
			return err
		}
		if err := r.take(ctx, &held[i]); err != nil {
			return fmt.Errorf("return file %s of %s: %w", printable(held[i].Name), held[i].Bureau, err)
		}
	}
	return nil
}

// take brings one held file to its end: applied, or quarantined.
func (r *returnReader) take(ctx context.Context, file *ledger.ReturnFile) error {
	n := r.n
	if _, known := n.Config.Bureaus[file.Bureau]; !known {
		n.need(report.Need{What: fmt.Sprintf("%s of %s waits", printable(file.Name), file.Bureau), Why: "The configuration has no bureau " + file.Bureau + " any more.", Command: "reemboss config check"})
		return nil
	}
	trouble, err := r.use(ctx, file)
	if err == nil && trouble != nil {
		file.Code, file.Detail = trouble.code, n.safe(trouble.detail)
		if trouble.unfinished { // read again by a person's word, and still cut short
			file.Code = returnUnreadable
		}
	}
	if err == nil {
		err = r.place(ctx, file)
	}
	var damaged *heldError
	if errors.As(err, &damaged) {
		return r.giveUp(ctx, file, damaged)
	}
	return err
}

// use checks a held file where that was not done, and applies it.
func (r *returnReader) use(ctx context.Context, file *ledger.ReturnFile) (*returnTrouble, error) {
	if file.Code != "" {
		return nil, nil
	}
	if file.Pos == 0 && !r.checked[file.Held] {
		if trouble, err := r.check(ctx, file); trouble != nil || err != nil {
			return trouble, err
		}
	}
	return r.apply(ctx, file)
}

// giveUp quarantines a file whose bytes in state/returns cannot be read any
// more: one file must not keep every later night from its work.
func (r *returnReader) giveUp(ctx context.Context, file *ledger.ReturnFile, damaged *heldError) error {
	n := r.n
	file.State, file.Code, file.Final = ledger.ReturnQuarantined, returnDamaged, ""
	file.Detail = fmt.Sprintf("What was fetched of it cannot be read any more (%v); %d of its lines are in the ledger. Put state/returns back from a copy and read it again, or dismiss it: then the bureau's copy, if it is still there, is fetched anew.", plain(damaged.err), file.Pos)
	entry := n.entry("return.quarantined", printable(file.Name), fmt.Sprintf("bureau %s, sha256 %s, %s", file.Bureau, file.SHA256, file.Code))
	return n.Ledger.UpdateReturn(ctx, *file, &entry)
}
