package batch

import (
	"archive/zip"
	"bytes"
	"context"
	"errors"
	"io"
	"os"

	"reemboss/bureau"
	"reemboss/formats/iso"
)

// blockSize is how much of a file is searched at once; overlap is carried into
// the next block so that a number across the border is seen (19 digits with a
// separator each, or two bytes a character, fit).
const (
	blockSize = 1 << 20
	overlap   = 128
)

// bytesHoldPAN says whether the bytes of a file, or of any part of it where it
// is a zip archive (a workbook), hold a card number that the index knows. What
// cannot be looked into (a torn archive, a locked part, an old binary workbook,
// more than the limit) counts as holding one: the file is then kept sealed.
func (n *Night) bytesHoldPAN(ctx context.Context, path string) (bool, error) {
	f, err := os.Open(path)
	if err != nil {
		return false, nil //nolint:nilerr // what cannot be read cannot be copied either; the refusal says so
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return false, err
	}
	return n.contentHoldsPAN(ctx, f, info.Size())
}

// contentHoldsPAN is [Night.bytesHoldPAN] for the first size bytes of f.
func (n *Night) contentHoldsPAN(ctx context.Context, f io.ReaderAt, size int64) (bool, error) {
	scan := &panScan{registry: n.Ledger, ours: n.ourNumber}
	if err := scan.stream(ctx, io.NewSectionReader(f, 0, size)); err != nil {
		return false, err
	}
	archive, err := zip.NewReader(f, size)
	if err != nil {
		closed, err := opaque(f)
		return scan.found || closed, err
	}
	left := n.Config.Intake.MaxUnpacked
	for _, part := range archive.File {
		r, err := part.Open()
		if err != nil {
			return true, nil //nolint:nilerr // it cannot be looked into
		}
		limited := &watchedReader{LimitedReader: io.LimitedReader{R: r, N: left}}
		err = scan.stream(ctx, limited)
		_ = r.Close()
		if err != nil {
			return false, err
		}
		if left = limited.N; left <= 0 || limited.torn || scan.found {
			return true, nil
		}
	}
	return scan.found, nil
}

// opaque says that a file is packed in a way that hides its text: what begins
// like a zip archive and is none, gzip, the compound files of old or locked
// workbooks, and what PGP signed and did not encrypt: anybody unpacks that.
func opaque(f io.ReaderAt) (bool, error) {
	start := make([]byte, bureau.FormHead)
	k, err := f.ReadAt(start, 0)
	if err != nil && !errors.Is(err, io.EOF) {
		return false, err
	}
	start = start[:k]
	switch form, _ := bureau.FormOf(start); form {
	case bureau.Signed, bureau.OtherPGP:
		return true, nil
	}
	for _, magic := range []string{"PK\x03\x04", "\x1f\x8b", "\xd0\xcf\x11\xe0"} {
		if bytes.HasPrefix(start, []byte(magic)) {
			return true, nil
		}
	}
	return false, nil
}

// watchedReader remembers that its source broke off.
type watchedReader struct {
	io.LimitedReader
	torn bool
}

func (r *watchedReader) Read(p []byte) (int, error) {
	k, err := r.LimitedReader.Read(p)
	r.torn = r.torn || err != nil && !errors.Is(err, io.EOF)
	return k, err
}

// stream searches everything that can be read from r. A read error ends the search, not the night.
func (s *panScan) stream(ctx context.Context, r io.Reader) error {
	block := make([]byte, 0, blockSize+overlap)
	for !s.found {
		kept := copy(block[:overlap], block[max(0, len(block)-overlap):])
		count, err := io.ReadFull(r, block[kept:kept+blockSize])
		block = block[:kept+count]
		if count > 0 {
			text := block
			if bytes.IndexByte(text, 0) >= 0 { // UTF-16: digits with zero bytes between them
				text = bytes.ReplaceAll(text, []byte{0}, nil)
			}
			if err := s.cells(ctx, []string{string(text)}); err != nil {
				return err
			}
		}
		if err != nil {
			if ctx.Err() != nil && errors.Is(err, ctx.Err()) {
				return err
			}
			break
		}
	}
	return s.settle(ctx)
}

// masker gives a function that masks every card number of a text that the index
// knows, or that begins like those of a configured product: it may come with the next extract.
func (n *Night) masker(ctx context.Context) func(string) string {
	return func(cell string) string {
		spans := iso.FindPANs(cell)
		if len(spans) == 0 {
			return cell
		}
		pans := make([]iso.PAN, len(spans))
		for i, s := range spans {
			pans[i] = s.PAN
		}
		known, err := n.Ledger.KnownPANs(ctx, pans)
		if err != nil { // fail closed: what cannot be asked is hidden
			return iso.MaskSpans(cell, spans)
		}
		masked := spans[:0]
		for i, s := range spans {
			if known[i] || n.ourNumber(s.PAN) {
				masked = append(masked, s)
			}
		}
		return iso.MaskSpans(cell, masked)
	}
}

// knownIn says whether a text holds a card number that the index knows; when in doubt, yes.
func (n *Night) knownIn(ctx context.Context) func(string) bool {
	mask := n.masker(ctx)
	return func(text string) bool { return mask(text) != text }
}
