package batch

import (
	"archive/zip"
	"bufio"
	"bytes"
	"context"
	"errors"
	"io"
	"maps"
	"os"
	"slices"
	"strings"

	"reemboss/batch/ledger"
	"reemboss/bureau"
	"reemboss/formats/iso"
)

// blockSize is how much of a file is searched at once; overlap is carried into
// the next block so that a number across the border is seen: 19 digits with
// three characters between two of them, in UTF-32, as escapes, or with the tags
// of a format between them. Both are whole units of UTF-32.
const (
	blockSize = 1 << 20
	overlap   = 1 << 14
)

// bytesHoldPAN says whether the bytes of a file, or of any part of it where it
// is a zip archive (a workbook), hold a card number that the index knows. What
// cannot be looked into (a torn archive, a locked part, an old binary workbook,
// more than the limit, a text that nobody here can read) counts as holding one:
// the file is then kept sealed.
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
	scan := n.newScan()
	holds, err := n.scanHoldsPAN(ctx, scan, f, info.Size())
	start := make([]byte, bureau.FormHead)
	form, _ := bureau.FormOf(start[:readStart(f, start)])
	return holds || scan.unreadable && form == bureau.NotPGP, err
}

// contentHoldsPAN is [Night.bytesHoldPAN] for the first size bytes of f, of which a reader made rows.
func (n *Night) contentHoldsPAN(ctx context.Context, f io.ReaderAt, size int64) (bool, error) {
	return n.scanHoldsPAN(ctx, n.newScan(), f, size)
}

func (n *Night) scanHoldsPAN(ctx context.Context, scan *panScan, f io.ReaderAt, size int64) (bool, error) {
	if start := make([]byte, bureau.FormHead); packed(start[:readStart(f, start)]) {
		return true, nil
	}
	if err := scan.stream(ctx, io.NewSectionReader(f, 0, size)); err != nil {
		return false, err
	}
	archive, err := zip.NewReader(f, size)
	if err != nil {
		torn := make([]byte, len(zipMagic)) // what begins like an archive and is none
		return scan.found || string(torn[:readStart(f, torn)]) == zipMagic, nil
	}
	left := n.Config.Intake.MaxUnpacked
	defer func() { scan.unreadable = false }() // of an archive the parts were looked into
	for _, part := range archive.File {
		r, err := part.Open()
		if err != nil {
			return true, nil //nolint:nilerr // it cannot be looked into
		}
		limited := &watchedReader{LimitedReader: io.LimitedReader{R: r, N: left}}
		part := bufio.NewReaderSize(limited, maxMagic)
		start, _ := part.Peek(maxMagic)
		hidden := packed(start) || bytes.HasPrefix(start, []byte(zipMagic))
		if !hidden {
			err = scan.stream(ctx, part)
		}
		_ = r.Close()
		if err != nil {
			return false, err
		}
		if hidden {
			return true, nil
		}
		if left = limited.N; left <= 0 || limited.torn || scan.found {
			return true, nil
		}
	}
	return scan.found, nil
}

const (
	zipMagic = "PK\x03\x04"
	maxMagic = 16 // bytes, at least those of the longest magic
)

// packed says that bytes begin in a way that hides the text behind them: gzip, 7z, rar, bzip2, xz, zstd, PDF, the compound
// files of old or locked workbooks, and what PGP signed and did not encrypt, which anybody unpacks. So does an archive
// within an archive.
func packed(start []byte) bool {
	switch form, _ := bureau.FormOf(start); form {
	case bureau.Signed, bureau.OtherPGP:
		return true
	}
	for _, magic := range []string{"\x1f\x8b", "7z\xbc\xaf", "Rar!", "BZh", "\xfd7zXZ", "\x28\xb5\x2f\xfd", "%PDF", "\xd0\xcf\x11\xe0"} {
		if bytes.HasPrefix(start, []byte(magic)) {
			return true
		}
	}
	return false
}

// readStart fills start with the first bytes of a file and says how many there are; a file that cannot be read has none.
func readStart(f io.ReaderAt, start []byte) int {
	count, err := f.ReadAt(start, 0)
	if err != nil && !errors.Is(err, io.EOF) {
		return 0
	}
	return count
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
	first, units := true, false
	for !s.found {
		kept := copy(block[:overlap], block[max(0, len(block)-overlap):])
		count, err := io.ReadFull(r, block[kept:kept+blockSize])
		block = block[:kept+count]
		if count > 0 && !blank(block) {
			units = units || first && utf16Marked(block)
			s.unreadable = s.unreadable || !units && !readable(block)
			if err := s.cells(ctx, readings(block, units)); err != nil {
				return err
			}
		}
		first = false
		if err != nil {
			if ctx.Err() != nil && errors.Is(err, ctx.Err()) {
				return err
			}
			break
		}
	}
	return s.settle(ctx)
}

// blank says that a block has zero bytes only. The holes of a sparse file are nothing else, and there may be gigabytes of them.
func blank(block []byte) bool {
	return block[0] == 0 && bytes.Equal(block[1:], block[:len(block)-1])
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

// panScan asks the index about everything that could be a card number, many at a time.
type panScan struct {
	registry ledger.Registry
	ours     func(iso.PAN) bool
	pending  map[string]iso.PAN // by its digits
	found    bool

	unreadable bool // of what was streamed, a part is no text that can be read here
}

func (n *Night) newScan() *panScan {
	return &panScan{registry: n.Ledger, ours: n.ourNumber, pending: map[string]iso.PAN{}}
}

func (s *panScan) cells(ctx context.Context, cells []string) error {
	if s.found {
		return nil
	}
	for _, cell := range cells {
		for _, span := range iso.FindPANs(cell) {
			s.found = s.found || s.ours(span.PAN)
			s.pending[span.PAN.Reveal()] = span.PAN
		}
	}
	if len(s.pending) < 1000 {
		return nil
	}
	return s.settle(ctx)
}

// row searches cells that are neighbours in a row, and what stands over several of them.
func (s *panScan) row(ctx context.Context, cells []string) error {
	if line := strings.Join(cells, ","); iso.MayHoldPAN(line) {
		if err := s.cells(ctx, []string{line}); err != nil {
			return err
		}
	}
	return s.cells(ctx, cells)
}

func (s *panScan) settle(ctx context.Context) error {
	if s.found || len(s.pending) == 0 {
		return nil
	}
	known, err := s.registry.KnownPANs(ctx, slices.Collect(maps.Values(s.pending)))
	if err != nil {
		return err
	}
	clear(s.pending)
	for _, k := range known {
		s.found = s.found || k
	}
	return nil
}
