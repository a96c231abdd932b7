package batch

import (
	"encoding/csv"
	"errors"
	"io"
	"path/filepath"
	"strconv"
	"strings"

	"reemboss/batch/durable"
	"reemboss/bureau"
	"reemboss/formats/extract"
)

// sealForUs keeps the bytes of a file encrypted to the workspace's own key (gpg --decrypt opens it).
func (n *Night) sealForUs(from, to, name string) error {
	in, err := durable.Open(from)
	if err != nil {
		return err
	}
	defer in.Close()
	return n.sealStream(in, to, name)
}

// sealStream is [Night.sealForUs] for bytes that lie nowhere yet.
func (n *Night) sealStream(in io.Reader, to, name string) error {
	return n.Files.Write(to, func(w io.Writer) error {
		sealed, err := bureau.Seal(w, bureau.Sealing{To: []*bureau.Key{n.ownKey}, Signer: n.ownKey, FileName: limit(printable(name), 200), Time: n.Now(), Rand: n.Random})
		if err != nil {
			return err
		}
		if _, err := io.Copy(sealed, in); err != nil {
			return err
		}
		return sealed.Close()
	})
}

// sealedRows keeps refused rows of an extract, card numbers and all, in a file
// that only the workspace's key opens. The file is made with the first row.
type sealedRows struct {
	n      *Night
	path   string
	pipe   *io.PipeWriter
	result chan error
	out    *csv.Writer
	header []string
}

func (r *sealedRows) add(row *extract.Row, a importAnswer) error {
	if r.pipe == nil {
		r.start()
	}
	if strings.Join(r.header, "\x00") != strings.Join(row.Header, "\x00") {
		r.header = append([]string(nil), row.Header...)
		if err := r.out.Write(append([]string{"sheet", "row", "code", "message"}, r.header...)); err != nil {
			return err
		}
	}
	return r.out.Write(append([]string{row.Sheet, strconv.Itoa(row.Line), string(a.code), a.message}, row.Cells...))
}

func (r *sealedRows) start() {
	reader, writer := io.Pipe()
	r.pipe, r.result, r.out = writer, make(chan error, 1), csv.NewWriter(writer)
	go func() {
		err := r.n.Files.Write(r.path, func(w io.Writer) error {
			sealed, err := bureau.Seal(w, bureau.Sealing{To: []*bureau.Key{r.n.ownKey}, Signer: r.n.ownKey,
				FileName: limit(strings.TrimSuffix(filepath.Base(r.path), ".pgp"), 200), Time: r.n.Now(), Rand: r.n.Random})
			if err != nil {
				return err
			}
			if _, err := io.Copy(sealed, reader); err != nil {
				return err
			}
			return sealed.Close()
		})
		_ = reader.CloseWithError(err)
		r.result <- err
	}()
}

func (r *sealedRows) close() error {
	if r.pipe == nil {
		return nil
	}
	r.out.Flush()
	if err := r.out.Error(); err != nil {
		return err
	}
	_ = r.pipe.Close()
	r.pipe = nil
	return <-r.result
}

// abandon ends the sealed file without a name after a failure.
func (r *sealedRows) abandon() {
	if r.pipe == nil {
		return
	}
	_ = r.pipe.CloseWithError(errors.New("the import stopped"))
	<-r.result
}
