package table

import (
	"bytes"
	"errors"
	"io"
	"strings"
)

// sampleSize is how much of a file is looked at to tell its kind, encoding and delimiter.
const sampleSize = 64 << 10

var (
	oleMagic = []byte("\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1")
	zipMagic = []byte("PK\x03\x04")
	// encryptedPackage is the name of the stream that holds a workbook with a password ([MS-OFFCRYPTO] 2.3.4).
	encryptedPackage = []byte("E\x00n\x00c\x00r\x00y\x00p\x00t\x00e\x00d\x00P\x00a\x00c\x00k\x00a\x00g\x00e\x00")
)

// ErrPGP refuses a file that is no sheet but PGP, which whoever expects such files unpacks before.
var ErrPGP = unreadable("the file is PGP encrypted or signed; send the sheet itself, as .xlsx or .csv")

var (
	errOldExcel  = unreadable("the file is an old Excel workbook (.xls); open it in the spreadsheet program and save it as .xlsx")
	errEncrypted = unreadable("the workbook is protected with a password; remove the password and save it as .xlsx")
)

// recognise tells the kind of a file by how it begins.
func recognise(head []byte) (Format, error) {
	begins := func(s string) bool { return bytes.HasPrefix(head, []byte(s)) }
	switch {
	case len(head) == 0, bytes.Equal(head, []byte(bomUTF8)), bytes.Equal(head, []byte(bomUTF16LE)), bytes.Equal(head, []byte(bomUTF16BE)):
		return "", unreadable("the file is empty; send it again")
	case bytes.HasPrefix(head, zipMagic):
		return XLSX, nil
	case begins("PK\x05\x06"):
		return "", unreadable("the file is an empty archive; save the sheet as .xlsx or .csv and send it again")
	case bytes.HasPrefix(head, oleMagic):
		return "", errOldExcel
	case begins("-----BEGIN PGP"):
		return "", ErrPGP
	case begins("\x89PNG"), begins("\xff\xd8\xff"), begins("GIF8"), begins("II*\x00"), begins("MM\x00*"):
		return "", unreadable("the file is a picture; send the sheet itself, as .xlsx or .csv")
	case binaryPGP(head): // a picture can begin like one
		return "", ErrPGP
	case begins("%PDF"):
		return "", unreadable("the file is a PDF; send the sheet itself, as .xlsx or .csv")
	case begins("\x1f\x8b"), begins("7z\xbc\xaf"), begins("Rar!"), begins("BZh"), begins("\xfd7zXZ"), begins("\x28\xb5\x2f\xfd"):
		return "", unreadable("the file is a compressed archive; unpack it and send the sheet itself, as .xlsx or .csv")
	case begins("\xff\xfe\x00\x00"), begins("\x00\x00\xfe\xff"):
		return "", unreadable("the text is UTF-32; save it as UTF-8")
	}
	text := bytes.TrimLeft(bytes.TrimPrefix(head, []byte(bomUTF8)), " \t\r\n")
	if len(text) > 1 && text[0] == '<' && (text[1] == '?' || text[1] == '!' || isNameByte(text[1])) {
		return "", unreadable("the file is HTML or XML under the name of a sheet; open it in the spreadsheet program and save it as .xlsx")
	}
	return CSV, nil
}

// binaryPGP says that the bytes begin like an OpenPGP message or signature: a
// packet header of a kind that comes first (RFC 9580, 4.3 and 10.3), and no text.
func binaryPGP(head []byte) bool {
	if head[0] < 0x80 {
		return false
	}
	tag := head[0] >> 2 & 0x0f
	if head[0]&0x40 != 0 {
		tag = head[0] & 0x3f
	}
	switch tag {
	case 1, 2, 3, 4, 8:
		return bytes.ContainsFunc(head[:min(len(head), 256)], func(r rune) bool { return r < ' ' && !strings.ContainsRune("\t\r\n\f", r) })
	}
	return false
}

// explainOLE tells a workbook with a password from an old one: the container is the same.
func (f *File) explainOLE(err error, size int64) error {
	if !errors.Is(err, errOldExcel) {
		return err
	}
	window := make([]byte, sampleSize)
	for at := int64(0); at < size; at += sampleSize - int64(len(encryptedPackage)) {
		n, readErr := f.watched.ReadAt(window, at)
		if bytes.Contains(window[:n], encryptedPackage) {
			return errEncrypted
		}
		if readErr == io.EOF {
			break
		}
		if readErr != nil {
			return readErr
		}
	}
	return err
}
