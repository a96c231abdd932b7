package batch

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"reemboss/batch/config"
	"reemboss/batch/ledger"
	"reemboss/batch/report"
	"reemboss/bureau"
)

// returnsFolder is where a bureau leaves its return files: over SFTP, or in a folder of this machine.
type returnsFolder interface {
	Waiting(ctx context.Context, dir string, patterns []string) ([]bureau.RemoteFile, error)
	Fetch(ctx context.Context, dir string, f bureau.RemoteFile, open func() (io.WriteCloser, error)) error
	Discard(ctx context.Context, dir, name string) error
	SetAside(ctx context.Context, dir, name, to string) error
}

// collect takes in what the bureaus sent back. Every file is fetched into
// state/returns, sealed to ourselves, and recorded; read once to its end, so
// that one which contradicts itself changes nothing; then applied in chunks
// (returnlines.go), put into returns/<bureau>/, and only then removed or moved at
// the bureau, as configured. Each step may be repeated after a crash. A bureau
// that cannot be reached, or one file of it that cannot be used, is told in the
// report, and the others go on.
func (n *Night) collect(ctx context.Context) (int64, error) {
	if err := n.sweepReturns(ctx); err != nil {
		return 0, err
	}
	reader := &returnReader{n: n}
	folders := map[string]returnsFolder{}
	for _, name := range n.recipients() {
		b, ok := n.Config.Bureaus[name]
		if !ok || b.Returns.Dir == "" {
			continue
		}
		folder, done, err := n.returnsFolder(ctx, name)
		if err == nil {
			defer done()
			folders[name] = folder
			err = n.fetchReturns(ctx, name, folder, reader)
		}
		if err := n.returnsTrouble(ctx, name, "fetched", err); err != nil {
			return reader.lines, err
		}
	}
	if err := reader.applyHeld(ctx); err != nil { // those fetched now, and those of an earlier start
		return reader.lines, err
	}
	for _, name := range n.recipients() {
		if folder := folders[name]; folder != nil {
			if err := n.returnsTrouble(ctx, name, "removed or moved at the bureau, though they are taken", n.settleAtBureau(ctx, name, folder)); err != nil {
				return reader.lines, err
			}
		}
	}
	return reader.lines, nil
}

// returnsFolder opens the folder of a bureau's return files.
func (n *Night) returnsFolder(ctx context.Context, name string) (folder returnsFolder, done func(), err error) {
	b := n.Config.Bureaus[name]
	if b.Delivery.Method == config.Folder {
		return &bureau.Folder{Root: n.Dir, Disk: n.Files.Disk}, func() {}, nil
	}
	settings, err := n.settings(name, b.Delivery)
	if err != nil {
		return nil, nil, err
	}
	switch err := n.answersOf(ctx, name); {
	case err != nil && ctx.Err() != nil: // asked to stop, which is no trouble of the bureau's
		return nil, nil, ctx.Err()
	case err != nil:
		return nil, nil, &bureau.Error{Class: bureau.Operator, Op: "let the simulated bureau answer", What: err.Error(), Do: "mend simulator/" + name}
	}
	session, err := bureau.Connect(settings)
	if err != nil {
		return nil, nil, err
	}
	return session, func() { _ = session.Close() }, nil
}

// returnsTrouble tells a bureau's error in the report; any other ends the stage.
func (n *Night) returnsTrouble(ctx context.Context, name, undone string, err error) error {
	var theirs *bureau.Error
	if err == nil || ctx.Err() != nil || !errors.As(err, &theirs) {
		return err
	}
	n.Log.Error().Str("run", n.run.ID).Str("bureau", name).Str("class", theirs.Class.String()).Msg(n.safe(theirs.Error()))
	n.need(report.Need{What: "the return files of " + name + " could not be " + undone, Why: theirs.Error(), Command: wayOut(name, err)})
	return nil
}

// wayOut is the command that helps after a bureau's error.
func wayOut(name string, err error) string {
	if errors.Is(err, bureau.ErrHostKey) {
		return report.PinHost(name)
	}
	return "reemboss run"
}

// fetchReturns takes every file that was not taken before.
func (n *Night) fetchReturns(ctx context.Context, name string, folder returnsFolder, reader *returnReader) error {
	settings := n.Config.Bureaus[name].Returns
	waiting, err := folder.Waiting(ctx, settings.Dir, strings.Fields(settings.Pattern))
	if err != nil {
		return err
	}
	var passed passedOver
	defer func() { passed.tell(n, "the returns folder of "+name) }()
	for i, f := range waiting {
		shown := n.shownReturn(ctx, f.Name)
		if f.NoFile != "" {
			passed.add(f.NoFile, printable(shown))
			continue
		}
		if f.Odd {
			n.need(report.Need{What: fmt.Sprintf("a file of %s has a name that cannot be used: %s", name, printable(shown)),
				Why: "It is not UTF-8, or has control characters or a slash in it, and would not be the same name in a folder, a log and a report. It is left at the bureau and nothing of it was done; have it sent again under a plain name."})
			continue
		}
		seen, err := n.Ledger.SeenReturn(ctx, name, shown, f.Size, f.ModTime)
		again := seen.Settled && settings.After != config.LeaveReturn || forgotten(seen) // it was taken away, so this is another one; its content decides
		if err == nil && !again {
			continue
		}
		if err != nil && !errors.Is(err, ledger.ErrNotFound) {
			return err
		}
		if err := n.oneReturn(name, "fetched", shown, n.fetchReturn(ctx, name, folder, f, reader)); err != nil {
			return err
		}
		n.progress("collect", int64(i+1), int64(len(waiting)))
	}
	return nil
}

// forgotten: it was taken and lost by a damage of ours, and a person dismissed it.
func forgotten(f ledger.ReturnFile) bool {
	return f.State == ledger.ReturnDismissed && f.Code == returnDamaged
}

// oneReturn tells the bureau's lasting refusal of one file in the report; the
// others go on. Any other error is given as it is.
func (n *Night) oneReturn(bureauName, undone, file string, err error) error {
	var theirs *bureau.Error
	if !errors.As(err, &theirs) || theirs.Class != bureau.BureauLasting {
		return err
	}
	n.Log.Error().Str("run", n.run.ID).Str("bureau", bureauName).Str("class", theirs.Class.String()).Msg(n.safe(theirs.Error()))
	n.need(report.Need{What: fmt.Sprintf("%s of %s could not be %s", printable(file), bureauName, undone), Why: theirs.Error(), Command: wayOut(bureauName, err)})
	return nil
}

// fetchReturn holds one file: sealed bytes first, then the record of them.
func (n *Night) fetchReturn(ctx context.Context, name string, folder returnsFolder, f bureau.RemoteFile, reader *returnReader) error {
	if f.Size > n.Config.Intake.MaxFileSize {
		n.need(report.Need{What: fmt.Sprintf("%s of %s is too large", printable(n.shownReturn(ctx, f.Name)), name),
			Why: fmt.Sprintf("It has %d bytes and at most %d are taken (intake.max_file_size); it is left at the bureau.", f.Size, n.Config.Intake.MaxFileSize), Command: "reemboss config check"})
		return nil
	}
	held, err := n.newHeld(name, n.run.ID)
	if err != nil {
		return err
	}
	writer := &holding{n: n, path: held, name: f.Name}
	err = folder.Fetch(ctx, n.Config.Bureaus[name].Returns.Dir, f, writer.open)
	if errors.Is(err, bureau.ErrChanging) {
		n.note("%s of %s is still being written and is left for the next run", printable(n.shownReturn(ctx, f.Name)), name)
		return n.Files.Remove(held)
	}
	if err != nil {
		return err
	}
	n.at("collect/fetched")
	file := ledger.ReturnFile{RunID: n.run.ID, Bureau: name, Name: n.shownReturn(ctx, f.Name), Size: f.Size, SHA256: writer.sum(), ModTime: f.ModTime,
		State: ledger.ReturnHeld, Held: n.Relative(held), FetchedAt: n.Now()}
	same, came, err := n.cameBefore(ctx, &file)
	switch {
	case err != nil:
		return err
	case came:
		return n.repeated(ctx, file, same)
	}
	trouble, err := reader.check(ctx, &file)
	switch {
	case err != nil:
		return err
	case trouble != nil && trouble.unfinished:
		return n.leave(file, trouble.detail)
	case trouble != nil:
		file.Code, file.Detail = trouble.code, n.safe(trouble.detail)
	}
	id, err := n.Ledger.AddReturn(ctx, file)
	if err != nil {
		return err
	}
	n.at("collect/held")
	n.Log.Info().Str("run", n.run.ID).Str("bureau", name).Str("file", printable(file.Name)).Int64("return", id).Int64("bytes", f.Size).Msg("return file taken")
	return nil
}

// newHeld is a place in state/returns that no file ever had: no name is given twice, also when a file of that name is gone.
func (n *Night) newHeld(bureauName, when string) (string, error) {
	var unique [8]byte
	if _, err := io.ReadFull(n.Random, unique[:]); err != nil {
		return "", err
	}
	return filepath.Join(n.HeldReturns(), fmt.Sprintf("%s-%s-%x.pgp", bureauName, when, unique)), nil
}

// cameBefore finds the file with the same content of which every line was used,
// or will be: its bytes are ours and can be read. Content of which a line was not
// used, or nothing, may be what we ask the bureau to send again, and is read
// again; what the ledger has of it already is known.
func (n *Night) cameBefore(ctx context.Context, file *ledger.ReturnFile) (same ledger.ReturnFile, came bool, err error) {
	same, err = n.Ledger.SameReturn(ctx, file.Bureau, file.SHA256, 0)
	if err == nil && same.State == ledger.ReturnHeld {
		err = n.heldBytes(&same, func(io.Reader) error { return nil })
	}
	var damaged *heldError
	if errors.Is(err, ledger.ErrNotFound) || errors.As(err, &damaged) {
		return same, false, nil
	}
	return same, err == nil, err
}

// leave gives up a file that is still being written, or was cut short; one that stays so for a day is told to a person.
func (n *Night) leave(file ledger.ReturnFile, why string) error {
	if n.Now().Sub(file.ModTime) >= 24*time.Hour {
		n.need(report.Need{What: fmt.Sprintf("%s of %s has had no trailer for a day", printable(file.Name), file.Bureau),
			Why: why + " It is left at the bureau and nothing of it was done; ask the bureau to send it whole."})
	} else {
		n.note("%s of %s is left at the bureau for the next run: %s", printable(file.Name), file.Bureau, why)
	}
	return n.Files.Remove(n.Path(file.Held))
}

// repeated records that the same content came before and was used; nothing of it is done again.
func (n *Night) repeated(ctx context.Context, file, same ledger.ReturnFile) error {
	held := n.Path(file.Held)
	file.State, file.Held, file.Final = ledger.ReturnRepeated, "", same.Final
	file.Detail = fmt.Sprintf("The same content was taken as %s on %s; nothing was done again.", printable(same.Name), same.FetchedAt.UTC().Format("2006-01-02 15:04 UTC"))
	if _, err := n.Ledger.AddReturn(ctx, file); err != nil {
		return err
	}
	return n.Files.Remove(held)
}

// shownReturn is a return file's name as the ledger and the reports have it: a card number in it is masked.
func (n *Night) shownReturn(ctx context.Context, name string) string {
	return strings.ReplaceAll(n.masker(ctx)(name), "*", "x")
}

// sweepReturns removes what a crash left in state/returns between the bytes and
// their record: the bureau still has the file.
func (n *Night) sweepReturns(ctx context.Context) error {
	entries, err := os.ReadDir(n.HeldReturns())
	if err != nil {
		return err
	}
	if len(entries) == 0 {
		return nil
	}
	known, err := n.Ledger.ReturnFiles(ctx, ledger.ReturnQuery{States: []ledger.ReturnState{ledger.ReturnHeld, ledger.ReturnQuarantined}})
	if err != nil {
		return err
	}
	for _, e := range entries {
		path := filepath.Join(n.HeldReturns(), e.Name())
		if !slices.ContainsFunc(known, func(f ledger.ReturnFile) bool { return f.Held == n.Relative(path) }) {
			if err := n.Files.Remove(path); err != nil {
				return err
			}
		}
	}
	return nil
}

// settleAtBureau removes or moves what the ledger has, as configured; a file
// that has changed since it was fetched is another one and stays.
func (n *Night) settleAtBureau(ctx context.Context, name string, folder returnsFolder) error {
	settings := n.Config.Bureaus[name].Returns
	files, err := n.Ledger.ReturnFiles(ctx, ledger.ReturnQuery{Bureau: name, Unsettled: true})
	if err != nil || len(files) == 0 {
		return err
	}
	var waiting []bureau.RemoteFile
	if settings.After != config.LeaveReturn {
		if waiting, err = folder.Waiting(ctx, settings.Dir, strings.Fields(settings.Pattern)); err != nil {
			return err
		}
	}
	for _, f := range files {
		if f.State == ledger.ReturnHeld || f.Code == returnDamaged { // not all of it is in the ledger
			continue
		}
		there := slices.IndexFunc(waiting, func(r bureau.RemoteFile) bool {
			return r.NoFile == "" && n.shownReturn(ctx, r.Name) == f.Name && r.Size == f.Size && r.ModTime.UTC().Truncate(time.Millisecond).Equal(f.ModTime)
		})
		switch {
		case there < 0:
		case settings.After == config.RemoveReturn:
			err = folder.Discard(ctx, settings.Dir, waiting[there].Name)
		case settings.After == config.MoveReturn:
			err = folder.SetAside(ctx, settings.Dir, waiting[there].Name, settings.MoveTo)
		}
		if err != nil {
			if err = n.oneReturn(name, "removed or moved at the bureau, though it is taken", f.Name, err); err != nil {
				return err
			}
			continue
		}
		n.at("collect/settled")
		f.Settled = true
		if err := n.Ledger.UpdateReturn(ctx, f, nil); err != nil {
			return err
		}
	}
	return nil
}

// holding writes the bytes of a return file, as they come, sealed to ourselves:
// whatever a bureau writes into it, nothing clear lies on our disk before it was
// looked at. Each attempt of a transfer begins anew.
type holding struct {
	n     *Night
	path  string
	name  string
	pipe  *io.PipeWriter
	bytes hash.Hash
	done  chan error
}

func (h *holding) open() (io.WriteCloser, error) {
	if h.pipe != nil {
		_ = h.pipe.CloseWithError(errors.New("the transfer begins again"))
		<-h.done
	}
	reader, writer := io.Pipe()
	h.pipe, h.bytes, h.done = writer, sha256.New(), make(chan error, 1)
	done := h.done
	go func() {
		err := h.n.sealStream(reader, h.path, h.name)
		_ = reader.CloseWithError(err)
		done <- err
	}()
	return h, nil
}

// Write implements [io.Writer].
func (h *holding) Write(p []byte) (int, error) {
	k, err := h.pipe.Write(p)
	h.bytes.Write(p[:k])
	return k, err
}

// Close ends the file; a nil error means that it is durable.
func (h *holding) Close() error {
	_ = h.pipe.Close()
	h.pipe = nil
	return <-h.done
}

func (h *holding) sum() string { return hex.EncodeToString(h.bytes.Sum(nil)) }
