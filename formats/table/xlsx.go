package table

import (
	"archive/zip"
	"errors"
	"io"
	"path"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/klauspost/compress/flate"
)

// workbook is an open .xlsx file (ISO/IEC 29500-1, SpreadsheetML).
type workbook struct {
	file    *File
	limits  Limits
	parts   map[string]*zip.File // by lower-case name: part names are case-insensitive (ISO/IEC 29500-2, 6.2.2)
	sheets  []*sheetPart
	strings sharedStrings
	styles  []numberFormat // by the index of a cell's style
}

// sheetPart is a visible worksheet.
type sheetPart struct {
	name string
	part string
}

const damagedArchive = "the workbook is damaged or was cut off on its way; open it in the spreadsheet program, save it again and send that"

func (f *File) openWorkbook(r io.ReaderAt, size int64) error {
	w := &workbook{file: f, limits: f.limits, parts: map[string]*zip.File{}}
	if err := w.openArchive(r, size); err != nil {
		return err
	}
	if err := w.readStructure(); err != nil {
		return err
	}
	f.format = XLSX
	for _, s := range w.sheets {
		f.sheets = append(f.sheets, Sheet{Name: s.name})
	}
	f.walk = w.walk
	return nil
}

func (w *workbook) openArchive(r io.ReaderAt, size int64) error {
	archive, err := zip.NewReader(r, size)
	if err != nil && !errors.Is(err, zip.ErrInsecurePath) {
		return unreadable(damagedArchive)
	}
	archive.RegisterDecompressor(zip.Deflate, flate.NewReader)
	var unpacked uint64
	for _, part := range archive.File {
		name := strings.ToLower(strings.TrimPrefix(strings.ReplaceAll(part.Name, `\`, "/"), "/"))
		if _, twice := w.parts[name]; twice {
			return unreadable("the workbook holds the part %q twice; open it in the spreadsheet program, save it again and send that", name)
		}
		w.parts[name] = part
		if part.UncompressedSize64 > uint64(w.limits.Unpacked) {
			return w.bomb()
		}
		if unpacked += part.UncompressedSize64; unpacked > uint64(w.limits.Unpacked) {
			return w.bomb()
		}
	}
	return nil
}

func (w *workbook) bomb() error {
	return tooLarge("the workbook has more than %d bytes when unpacked, which is the limit; split it, or raise the limit in the configuration", w.limits.Unpacked)
}

// notWorkbook says what an archive is that is no .xlsx file.
func (w *workbook) notWorkbook() error {
	has := func(name string) bool { _, ok := w.parts[name]; return ok }
	switch {
	case has("mimetype") && has("content.xml"):
		return unreadable("the file is an OpenDocument file (.ods); open it in the spreadsheet program and save it as .xlsx")
	case has("index/document.iwa"), has("index.zip"):
		return unreadable("the file is a Numbers document; export it as .xlsx")
	case has("word/document.xml"), has("ppt/presentation.xml"):
		return unreadable("the file is an Office document, but no workbook; send the sheet as .xlsx or .csv")
	case has("_rels/.rels"):
		return unreadable(damagedArchive)
	}
	return unreadable("the file is a zip archive, but no workbook; unpack it and send the sheet itself, as .xlsx or .csv")
}

// open opens a part. Its bytes are counted, so that a part that is larger than
// the archive says does not get past the limit.
func (w *workbook) open(name string) (*part, error) {
	entry, ok := w.parts[strings.ToLower(name)]
	if !ok {
		return nil, unreadable("the workbook lacks the part %q; open it in the spreadsheet program, save it again and send that", name)
	}
	if entry.Flags&1 != 0 {
		return nil, errEncrypted
	}
	body, err := entry.Open()
	if err != nil {
		return nil, unreadable(damagedArchive)
	}
	return &part{body: body, left: w.limits.Unpacked, bomb: w.bomb}, nil
}

// part reads one part; every failure but a limit is damage.
type part struct {
	body io.ReadCloser
	left int64
	bomb func() error
}

func (p *part) Read(b []byte) (int, error) {
	n, err := p.body.Read(b)
	if p.left -= int64(n); p.left < 0 {
		return 0, p.bomb()
	}
	if err != nil && err != io.EOF {
		return n, unreadable(damagedArchive)
	}
	return n, err
}

func (p *part) Close() error { return p.body.Close() }

// relation is an entry of a relationships part.
type relation struct {
	id, kind, target string
}

// relations reads the relationships of a part ("" is the archive itself); targets are part names.
func (w *workbook) relations(of string) ([]relation, error) {
	folder, base := path.Split(of)
	var all []relation
	err := w.scan(folder+"_rels/"+base+".rels", func(x *xmlScanner, depth int) error {
		if x.space != spacePackage || string(x.name) != "Relationship" || string(x.attr("TargetMode")) == "External" {
			return nil
		}
		target := string(x.attr("Target"))
		if !strings.HasPrefix(target, "/") {
			target = path.Join("/", folder, target)
		}
		kind := string(x.attr("Type"))
		all = append(all, relation{
			id:     string(x.attr("Id")),
			kind:   kind[strings.LastIndexByte(kind, '/')+1:],
			target: strings.TrimPrefix(path.Clean(target), "/"),
		})
		return nil
	})
	return all, err
}

// scan reads a part whole and calls start for every start tag with its depth, 1 for the root.
func (w *workbook) scan(name string, start func(x *xmlScanner, depth int) error) (err error) {
	p, err := w.open(name)
	if err != nil {
		return err
	}
	defer func() { _ = p.Close() }()
	x := newXMLScanner(p)
	for {
		switch kind, err := x.next(); {
		case err != nil:
			return err
		case kind == tokenEOF:
			return nil
		case kind == tokenStart:
			if err := start(x, x.depth); err != nil {
				return err
			}
		}
	}
}

// readStructure finds the sheets, the strings and the styles.
func (w *workbook) readStructure() error {
	main, err := w.mainPart()
	if err != nil {
		return err
	}
	relations, err := w.relations(main)
	if err != nil {
		return err
	}
	byID := map[string]relation{}
	for _, r := range relations {
		byID[r.id] = r
		switch r.kind {
		case "styles":
			err = w.readStyles(r.target)
		case "sharedStrings":
			err = w.strings.read(w, r.target)
		}
		if err != nil {
			return err
		}
	}
	if err := w.readSheets(main, byID); err != nil {
		return err
	}
	if len(w.sheets) == 0 {
		return unreadable("the workbook has no visible worksheet; unhide the sheet to be read and save it again")
	}
	return nil
}

func (w *workbook) mainPart() (string, error) {
	if _, ok := w.parts["_rels/.rels"]; !ok {
		return "", w.notWorkbook()
	}
	relations, err := w.relations("")
	if err != nil {
		return "", err
	}
	for _, r := range relations {
		if r.kind != "officeDocument" {
			continue
		}
		switch {
		case strings.HasSuffix(r.target, ".bin"):
			return "", unreadable("the file is a binary workbook (.xlsb); open it in the spreadsheet program and save it as .xlsx")
		case strings.HasPrefix(strings.ToLower(r.target), "word/"), strings.HasPrefix(strings.ToLower(r.target), "ppt/"):
			return "", w.notWorkbook()
		}
		return r.target, nil
	}
	return "", w.notWorkbook()
}

func (w *workbook) readSheets(main string, relations map[string]relation) error {
	isWorkbook, seen := false, map[string]bool{}
	return w.scan(main, func(x *xmlScanner, depth int) error {
		switch {
		case depth == 1:
			isWorkbook = x.is("workbook")
			if !isWorkbook {
				return unreadable("the main part of the file is no workbook; save the sheet as .xlsx or .csv")
			}
		case depth == 2 && x.is("workbookPr"):
			w.file.date04 = isTrue(x.attr("date1904"))
		case depth == 3 && x.is("sheet"):
			name := string(x.attr("name"))
			if seen[name] {
				return notXML("two sheets have one name")
			}
			seen[name] = true
			return w.addSheet(name, string(x.attr("state")), relations[string(x.attrIn(spaceRel, "id"))])
		}
		return nil
	})
}

func (w *workbook) addSheet(name, state string, r relation) error {
	switch {
	case state == "hidden" || state == "veryHidden":
		w.file.note("sheet %q is hidden and is not read", name)
	case r.kind == "worksheet":
		w.sheets = append(w.sheets, &sheetPart{name: name, part: r.target})
	case r.kind == "":
		return unreadable("the workbook does not say where its sheet %q is; open it in the spreadsheet program, save it again and send that", name)
	default:
		w.file.note("sheet %q is no worksheet (%s) and is not read", name, r.kind)
	}
	return nil
}

func isTrue(value []byte) bool {
	switch string(value) {
	case "1", "true", "on":
		return true
	}
	return false
}

// sharedStrings are the texts of a workbook that cells refer to by number.
type sharedStrings struct {
	text string
	ends []uint32
}

// at gives string number n.
func (s *sharedStrings) at(n int) (string, bool) {
	if n < 0 || n >= len(s.ends) {
		return "", false
	}
	from := uint32(0)
	if n > 0 {
		from = s.ends[n-1]
	}
	return s.text[from:s.ends[n]], true
}

func (s *sharedStrings) read(w *workbook, name string) error {
	p, err := w.open(name)
	if err != nil {
		return err
	}
	defer func() { _ = p.Close() }()
	limit := min(w.limits.Strings, 1<<32-1)
	x := newXMLScanner(p)
	var text strings.Builder
	for {
		kind, err := x.next()
		switch {
		case err != nil:
			return err
		case kind == tokenEOF:
			s.text = text.String()
			return nil
		case kind != tokenStart:
			continue
		case x.depth == 1 && !x.is("sst"):
			return notXML("the shared strings are something else")
		case x.depth == 2 && x.is("si"):
			if err := richText(x, func(piece []byte) { text.Write(piece) }, limit-int64(text.Len())); err != nil {
				return err
			}
			s.ends = append(s.ends, uint32(text.Len()))
		}
		if int64(text.Len())+4*int64(len(s.ends)) > limit {
			return tooLarge("the texts of the workbook have more than %d bytes, which is the limit; split it, or save the sheet as .csv", w.limits.Strings)
		}
	}
}

// richText gives the text of the element that was just started (si or is): its
// t and the t of its runs, one after the other. Phonetic runs are not part of it.
// Text beyond limit is not given: the caller sees that it got too much.
func richText(x *xmlScanner, add func([]byte), limit int64) error {
	depth := x.depth
	var escaped []byte
	inText := false
	given := int64(0)
	flush := func() {
		decoded := unescape(escaped)
		given += int64(len(decoded))
		add(decoded)
		escaped = escaped[:0]
	}
	for x.depth >= depth {
		kind, err := x.next()
		if err != nil {
			return err
		}
		switch kind {
		case tokenStart:
			switch {
			case x.is("t"):
				inText = true
			case x.is("r"):
			default:
				if err := x.skip(); err != nil {
					return err
				}
			}
		case tokenText:
			if inText && given+int64(len(escaped)) <= limit {
				escaped = append(escaped, x.text...)
			}
		case tokenEnd:
			if inText {
				flush()
			}
			inText = false
		}
	}
	return nil
}

// unescape resolves _xHHHH_, with which a workbook writes characters that XML
// has no place for (ISO/IEC 29500-1, 22.9.2.19). It works in place.
func unescape(b []byte) []byte {
	out := b[:0]
	for i := 0; i < len(b); i++ {
		if b[i] == '_' && i+6 < len(b) && b[i+1] == 'x' && b[i+6] == '_' {
			if r, err := strconv.ParseUint(string(b[i+2:i+6]), 16, 16); err == nil {
				out = utf8.AppendRune(out, rune(r))
				i += 6
				continue
			}
		}
		out = append(out, b[i])
	}
	return out
}
