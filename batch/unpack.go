package batch

import (
	"archive/tar"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"strings"

	"reemboss/batch/durable"
	"reemboss/batch/ledger/sqlite"
)

// maxList bounds the list of a backup, bytes.
const maxList = 64 << 20

// unpack opens a backup and puts its parts into a folder of ours. Nothing of them
// counts before the whole message was read and its signature, which must be our
// own, holds; every part then has the size and the digest that the list says.
// Errors of what the file is are [SetupError].
func (n *Night) unpack(ctx context.Context, path, folder string) (*backupList, error) {
	f, err := durable.Open(path)
	if err != nil {
		return nil, setup("%s: %w", path, plain(err))
	}
	defer f.Close()
	clear, verdict := n.openForUs(f, n.ours())
	list, err := n.unpackParts(ctx, clear, folder)
	if err == nil {
		_, err = io.Copy(io.Discard, clear) // to its end, where the signature is
	}
	if err == nil {
		_, err = verdict()
	}
	var ours *localError
	switch {
	case err == nil:
		return list, nil
	case errors.As(err, &ours), ctx.Err() != nil:
		return nil, fmt.Errorf("unpack the backup: %w", err)
	}
	return nil, setup("%s is no whole backup of this workspace: %w; nothing was changed", filepath.Base(path), err)
}

// localError is a fault of our disk, not of the backup.
type localError struct{ error }

func (e *localError) Unwrap() error { return e.error }

func (n *Night) unpackParts(ctx context.Context, r io.Reader, folder string) (*backupList, error) {
	in := tar.NewReader(r)
	list, err := n.readList(in)
	if err != nil {
		return nil, err
	}
	if err := n.Files.MkdirAll(filepath.Join(folder, partHeads)); err != nil {
		return nil, &localError{err}
	}
	for _, part := range list.Parts {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		header, err := in.Next()
		if err != nil {
			return nil, fmt.Errorf("its part %s: %w", part.Name, err)
		}
		if header.Name != part.Name || header.Size != part.Size || !partName(part.Name) {
			return nil, fmt.Errorf("its parts are not those of its list: %q", printable(header.Name))
		}
		if err := n.unpackPart(in, filepath.Join(folder, filepath.FromSlash(part.Name)), part); err != nil {
			return nil, err
		}
	}
	if _, err := in.Next(); !errors.Is(err, io.EOF) {
		return nil, errors.Join(errors.New("it has more parts than its list"), err)
	}
	return list, nil
}

// partName says that a name is one that a backup has: no path leads out of the folder.
func partName(name string) bool {
	head, isHead := strings.CutPrefix(name, partHeads)
	switch {
	case isHead:
		return head != "" && !strings.ContainsAny(head, "/\\\x00") && !strings.HasPrefix(head, ".")
	default:
		return name == partLedger || name == partMarks
	}
}

func (n *Night) unpackPart(in io.Reader, path string, part backupPart) error {
	sum := sha256.New()
	var filled error
	err := n.Files.Create(path, func(w io.Writer) error {
		_, filled = io.Copy(&localWriter{w}, io.TeeReader(in, sum))
		if filled == nil && hex.EncodeToString(sum.Sum(nil)) != part.SHA256 {
			filled = fmt.Errorf("its part %s is not the one that was backed up", part.Name)
		}
		return filled
	})
	if filled != nil {
		return filled
	}
	return local(err)
}

// localWriter tells errors of writing from errors of reading.
type localWriter struct{ io.Writer }

func (w *localWriter) Write(p []byte) (int, error) {
	k, err := w.Writer.Write(p)
	return k, local(err)
}

func local(err error) error {
	if err == nil {
		return nil
	}
	return &localError{err}
}

// readList reads the first part and says whether this program and this workspace can use the backup.
func (n *Night) readList(in *tar.Reader) (*backupList, error) {
	header, err := in.Next()
	if err != nil {
		return nil, err
	}
	if header.Name != partList || header.Size > maxList {
		return nil, errors.New("it does not begin with the list of a backup")
	}
	list := &backupList{}
	if err := json.NewDecoder(in).Decode(list); err != nil {
		return nil, fmt.Errorf("its list: %w", err)
	}
	schema, err := sqlite.SchemaVersion()
	switch {
	case err != nil:
		return nil, &localError{err}
	case list.Format != backupFormat || list.Schema > schema:
		return nil, fmt.Errorf("it was made by reemboss %s, which is newer than this %s", printable(list.Version), Version)
	case list.Workspace != n.workspaceID():
		return nil, errors.New("it is of another workspace: its keyset is not ours")
	}
	return list, nil
}
