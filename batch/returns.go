package batch

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"reemboss/batch/config"
	"reemboss/batch/ledger"
	"reemboss/batch/report"
	"reemboss/batch/rules"
	"reemboss/bureau"
	"reemboss/formats/iso"
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

// prepare loads what every return file is read against.
func (r *returnReader) prepare(ctx context.Context, name string) (*returns.Format, error) {
	if r.files == nil {
		files, err := r.n.Ledger.BureauFiles(ctx, ledger.FileQuery{Brief: true})
		if err != nil {
			return nil, err
		}
		r.files = &sentFiles{map[string]*ledger.BureauFile{}, map[string]*ledger.BureauFile{}, map[int64]*ledger.BureauFile{}}
		for i := range files {
			if files[i].Recipient != config.CardSystem {
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
		clear, verdict := bureau.Open(head, n.ownKey, signers)
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
	return n.recipientKey(b.Recipient)
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
		n.needs = append(n.needs, report.Need{What: fmt.Sprintf("%s of %s waits", printable(file.Name), file.Bureau), Why: "The configuration has no bureau " + file.Bureau + " any more.", Command: "reemboss config check"})
		return nil
	}
	trouble, err := r.use(ctx, file)
	if err == nil && trouble != nil {
		file.Code, file.Detail = trouble.code, trouble.detail
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

// apply commits the lines of a checked file in chunks, from the one where an earlier process stopped.
// What is wrong with it now and was not when it was checked (the configuration changed meanwhile) is its trouble.
func (r *returnReader) apply(ctx context.Context, file *ledger.ReturnFile) (*returnTrouble, error) {
	format, err := r.prepare(ctx, file.Bureau)
	if err != nil {
		return nil, err
	}
	a := &applying{r: r, file: file, from: file.Pos}
	trouble, err := r.open(ctx, file, func(clear io.Reader) error {
		_, err := format.Read(clear, func(l *returns.Line) error { return a.line(ctx, l) }, func(b *returns.Bad) error { return a.bad(ctx, b) })
		if a.failed == nil && err == nil {
			a.failed = a.flush(ctx)
		}
		return err
	})
	if a.failed != nil {
		return nil, a.failed
	}
	return trouble, err
}

// returnChunks is how many times the rows of a decided chunk make a chunk of
// lines: they are small, and in no order, so that larger ones cost the ledger less.
const returnChunks = 4

// applying collects lines into chunks.
type applying struct {
	r      *returnReader
	file   *ledger.ReturnFile
	from   int // lines up to this one are in the ledger
	pos    int
	cards  []returns.Line
	chunk  ledger.ReturnChunk
	failed error // ours, not the file's
}

func (a *applying) line(ctx context.Context, l *returns.Line) error {
	if l.Number <= a.from {
		return nil
	}
	if l.Kind == returns.File {
		if a.failed = a.flush(ctx); a.failed == nil {
			a.pos = l.Number
			a.failed = a.bureauFile(ctx, l)
		}
		return a.failed
	}
	a.pos = l.Number
	a.cards = append(a.cards, *l)
	return a.full(ctx)
}

func (a *applying) bad(ctx context.Context, b *returns.Bad) error {
	if b.Number <= a.from {
		return nil
	}
	a.pos = b.Number
	a.problem(b.Number, lineMalformed, b.FileName, b.UID, b.Problem)
	return a.full(ctx)
}

func (a *applying) full(ctx context.Context) error {
	if len(a.cards)+len(a.chunk.Problems) >= returnChunks*a.r.n.chunk {
		a.failed = a.flush(ctx)
	}
	return a.failed
}

func (a *applying) problem(line int, code, fileName, uid, detail string) {
	a.chunk.Problems = append(a.chunk.Problems, ledger.Problem{ReturnID: a.file.ID, Line: line, Code: code, FileName: fileName, UID: uid, Detail: detail})
}

// flush decides the collected lines against what is known and commits them.
func (a *applying) flush(ctx context.Context) error {
	n := a.r.n
	if len(a.cards)+len(a.chunk.Problems)+len(a.chunk.Answers) == 0 {
		return nil
	}
	// By uid: neighbours in the ledger are written together, and the events of one card stay in their order.
	slices.SortStableFunc(a.cards, func(x, y returns.Line) int { return strings.Compare(x.UID, y.UID) })
	uids := make([]string, len(a.cards))
	for i := range a.cards {
		uids[i] = a.cards[i].UID
	}
	known, err := n.Ledger.Shipments(ctx, uids)
	if err != nil {
		return err
	}
	now := n.Now()
	for i := range a.cards {
		l := &a.cards[i]
		if s := a.shipment(known, l); s != nil {
			if err := a.delivered(ctx, known, s, l); err != nil {
				return err
			}
			a.follow(s, l, now)
		}
	}
	a.chunk.ReturnID, a.chunk.RunID, a.chunk.Pos, a.chunk.At = a.file.ID, n.run.ID, a.pos, now
	if err := n.Ledger.CommitReturn(ctx, a.chunk); err != nil {
		return err
	}
	if len(a.chunk.Answers) > 0 {
		if err := n.marks.raise(ctx, n.Ledger); err != nil {
			return err
		}
		if err := a.r.reload(ctx, a.chunk.Answers); err != nil {
			return err
		}
	}
	a.r.lines += int64(len(a.cards) + len(a.chunk.Problems))
	n.progress("collect", a.r.lines, 0)
	a.cards, a.chunk = a.cards[:0], ledger.ReturnChunk{}
	n.at("collect/chunk")
	return nil
}

// shipment finds the order that a CARD line speaks of; a line about none, or about another's, is listed.
func (a *applying) shipment(known map[string]*ledger.Shipment, l *returns.Line) *ledger.Shipment {
	s := known[l.UID]
	switch {
	case s == nil:
		a.problem(l.Number, uidUnknown, l.FileName, l.UID, "No card that we ever sent has this uid; ask the bureau which card it means.")
		return nil
	case s.Bureau != a.file.Bureau:
		a.problem(l.Number, uidElsewhere, l.FileName, l.UID, fmt.Sprintf("This card was given to %s, not to %s; ask both bureaus.", s.Bureau, a.file.Bureau))
		return nil
	}
	if f := a.r.files.find(a.file.Bureau, l); f != nil && f.ID != s.BureauFileID && (l.FileName != "" || l.Sequence != 0) {
		a.problem(l.Number, uidElsewhere, l.FileName, l.UID, fmt.Sprintf("This card is not in that file but in %s; ask the bureau which of the two it means.", orNone(s.FileName)))
		return nil
	}
	return s
}

func orNone(name string) string {
	if name == "" {
		return "none, it waits for its next one"
	}
	return name
}

// delivered: a line about a card of a file whose transfer has no known end
// shows that the bureau has the file, and decides it.
func (a *applying) delivered(ctx context.Context, known map[string]*ledger.Shipment, s *ledger.Shipment, l *returns.Line) error {
	f := a.r.files.byID[s.BureauFileID]
	if f == nil || f.State != ledger.Undecided && f.State != ledger.Renaming {
		return nil
	}
	now, err := a.r.fileNow(ctx, f)
	if err != nil {
		return err
	}
	e := a.event(l)
	if !rules.ProvesDelivery(now, happened(s.Events), rules.Happened{Status: e.Status, At: e.At, Source: ledger.FromBureau}) {
		return nil
	}
	evidence, err := a.evidence(f, l)
	if err != nil {
		return err
	}
	e.UID, e.FileID, e.Count = "", f.ID, returns.NoCount
	a.chunk.Answers = append(a.chunk.Answers, ledger.FileAnswer{Event: e, Delivered: true, Evidence: evidence, Entry: a.r.n.audit("file.sent", f.Name, string(evidence))})
	f.State = ledger.Sent
	for _, other := range known {
		if other.BureauFileID == f.ID && other.State == ledger.PlannedO {
			other.State = ledger.SentO
		}
	}
	return nil
}

// follow decides what one line does to its card.
func (a *applying) follow(s *ledger.Shipment, l *returns.Line, now time.Time) {
	e := a.event(l)
	turn := rules.Follow(string(s.State), happened(s.Events), rules.Happened{Status: e.Status, At: e.At, Code: particulars(&e), Source: ledger.FromBureau})
	if turn.Known {
		a.chunk.Known++
		return
	}
	if !s.SentAt.IsZero() && e.At.Before(s.SentAt.AddDate(-1, 0, 0)) { // a clock that was never set
		turn = rules.Turn{Dispute: fmt.Sprintf("%s at %s is more than a year before the card was sent; ask the bureau when it was", e.Status, e.At.UTC().Format(time.DateOnly))}
	}
	e.UID, e.FileID = s.UID, s.BureauFileID
	e.State, e.Acked, e.Rejected, e.Dispute = ledger.OrderState(turn.State), turn.Acked, turn.Rejected, turn.Dispute
	e.RunID, e.RecordedAt = a.r.n.run.ID, now
	a.chunk.Events, a.chunk.From = append(a.chunk.Events, e), append(a.chunk.From, s.State)
	if turn.Dispute != "" {
		a.problem(l.Number, eventDisputed, s.FileName, s.UID, sentence(errors.New(turn.Dispute)))
	}
	if e.State != "" {
		s.State = e.State
	}
	s.Events = append(s.Events, e)
}

// particulars tell two events of one status and time apart: the bureau's code, and the letter's tracking number.
func particulars(e *ledger.Event) string {
	if e.TrackingNumber == "" {
		return e.Code
	}
	return e.Code + " " + e.TrackingNumber
}

// happened gives the rules a history.
func happened(events []ledger.Event) []rules.Happened {
	list := make([]rules.Happened, len(events))
	for i, e := range events {
		list[i] = rules.Happened{Status: e.Status, At: e.At, Code: particulars(&e), Source: e.Source, Moved: e.State != "", Disputed: e.Dispute != ""}
	}
	return list
}

// event is a line as the ledger keeps it.
func (a *applying) event(l *returns.Line) ledger.Event {
	tracking := l.TrackingNumber
	if spans := iso.FindPANs(tracking); len(spans) > 0 { // by chance, or a card number in the wrong column: in doubt it is hidden
		tracking = iso.MaskSpans(tracking, spans)
	}
	return ledger.Event{
		Status: l.Status, At: l.OccurredAt, Code: l.Code, Description: l.Description, Carrier: l.Carrier, TrackingNumber: tracking,
		Count: l.Count, Source: ledger.FromBureau, ReturnID: a.file.ID, Line: l.Number, RunID: a.r.n.run.ID, RecordedAt: a.r.n.Now(),
	}
}

// evidence is what an acknowledgement shows of a file whose transfer had no known end.
func (a *applying) evidence(f *ledger.BureauFile, l *returns.Line) ([]byte, error) {
	text, err := json.Marshal(map[string]any{"acknowledged_in": a.file.Name, "line": l.Number, "status": l.Status, "occurred_at": l.OccurredAt,
		"return_sha256": a.file.SHA256, "size": f.Size, "sha256": f.SHA256})
	if err != nil {
		return nil, fmt.Errorf("keep the evidence of %s: %w", f.Name, err)
	}
	return text, nil
}

// bureauFile decides what a FILE line does to its file, and commits it alone.
func (a *applying) bureauFile(ctx context.Context, l *returns.Line) error {
	n := a.r.n
	f := a.r.files.find(a.file.Bureau, l)
	if f == nil { // a line that names no file: the reader lets none through, and check saw every other
		a.problem(l.Number, lineMalformed, "", "", "The line speaks of a file and names none; ask the bureau.")
		return a.flush(ctx)
	}
	now, err := a.r.fileNow(ctx, f)
	if err != nil {
		return err
	}
	e := a.event(l)
	e.FileID = f.ID
	turn := rules.FollowFile(now, rules.Happened{Status: e.Status, At: e.At, Code: e.Code, Source: ledger.FromBureau}, l.Count)
	if turn.Known {
		a.chunk.Known++
		a.chunk.Answers = nil
		return a.commitFile(ctx)
	}
	e.Dispute = turn.Dispute
	answer := ledger.FileAnswer{Event: e, Delivered: turn.Delivered, Acknowledge: turn.Acknowledge, Refuse: turn.Refuse}
	if turn.Delivered {
		if answer.Evidence, err = a.evidence(f, l); err != nil {
			return err
		}
	}
	switch {
	case turn.Dispute != "":
		a.problem(l.Number, bureauFileDisputed, f.Name, "", sentence(errors.New(turn.Dispute)))
	case turn.Refuse:
		a.chunk.Entry = n.audit("file.refused", f.Name, limit(strings.TrimSpace(e.Code+" "+e.Description), 200))
	case turn.Acknowledge:
		a.chunk.Entry = n.audit("file.acknowledged", f.Name, fmt.Sprintf("line %d of %s", l.Number, printable(a.file.Name)))
	}
	a.chunk.Answers = []ledger.FileAnswer{answer}
	return a.commitFile(ctx)
}

// fileNow is what the rules need to know of a bureau file when the bureau speaks of it.
func (r *returnReader) fileNow(ctx context.Context, f *ledger.BureauFile) (now rules.FileNow, err error) {
	now = rules.FileNow{State: string(f.State), Records: f.Records, ByState: map[string]int64{}, EverSent: !f.SentAt.IsZero(), SentAt: f.SentAt}
	history, err := r.n.Ledger.FileEvents(ctx, f.ID)
	if err != nil {
		return now, err
	}
	now.History = happened(history)
	states, err := r.n.Ledger.OrderStates(ctx, f.ID)
	if err != nil {
		return now, err
	}
	for state, count := range states {
		now.ByState[string(state)] = count
	}
	steps, err := r.n.Ledger.Deliveries(ctx, f.ID)
	for _, step := range steps {
		switch step.State {
		case ledger.Intent:
			now.Begun = step.At
		case ledger.Sent:
			now.Sendings++
		}
	}
	return now, err
}

// commitFile commits what a FILE line did, also when it did nothing: its position counts.
func (a *applying) commitFile(ctx context.Context) error {
	n := a.r.n
	a.chunk.ReturnID, a.chunk.RunID, a.chunk.Pos, a.chunk.At = a.file.ID, n.run.ID, a.pos, n.Now()
	if err := n.Ledger.CommitReturn(ctx, a.chunk); err != nil {
		return err
	}
	answers := a.chunk.Answers
	a.chunk = ledger.ReturnChunk{}
	a.r.lines++
	if err := n.marks.raise(ctx, n.Ledger); err != nil {
		return err
	}
	n.at("collect/answer")
	return a.r.reload(ctx, answers)
}

// reload reads again the bureau files that answers may have moved.
func (r *returnReader) reload(ctx context.Context, answers []ledger.FileAnswer) error {
	for _, answer := range answers {
		f := r.files.byID[answer.Event.FileID]
		if f == nil {
			continue
		}
		now, err := r.n.Ledger.FileByName(ctx, f.Name)
		if err != nil {
			return err
		}
		*f = now
	}
	return nil
}
