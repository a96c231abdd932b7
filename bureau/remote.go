package bureau

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"

	"github.com/pkg/sftp"
)

// remote is the far folder through one connection. Its errors are [*Error].
type remote struct {
	sftp     *sftp.Client
	settings Settings
}

// look says what stands under name compared with f; only its size, unless
// content is compared too. An answer "no such file" is absent, not an error.
func (r *remote) look(name string, f *File, content bool) (sighting, error) {
	entry, err := r.entry(name)
	switch {
	case err != nil:
		return other, r.failed("look at", name, err)
	case entry == nil:
		return absent, nil
	case f == nil || !entry.Mode().IsRegular() || entry.Size() != f.Size:
		return other, nil
	case !content:
		return whole, nil
	}
	return r.compare(name, f)
}

// lookAtFolder fails when the folder of final names, or that of temporary ones, is not there or must not be looked at.
func (r *remote) lookAtFolder() error {
	folders := []string{r.settings.Dir}
	if r.settings.TempDir != "" {
		folders = append(folders, r.settings.TempDir)
	}
	for _, folder := range folders {
		folder = path.Join(folder, ".")
		var err error
		if r.settings.Stat {
			_, err = r.sftp.Stat(folder)
		} else {
			_, err = r.sftp.ReadDir(folder)
		}
		if err != nil {
			return r.failed("look at", folder+"/", err)
		}
	}
	return nil
}

// entry is nil when nothing has the name. A link counts as what it is, not as what it points to.
func (r *remote) entry(name string) (os.FileInfo, error) {
	if !r.settings.Stat {
		return r.listed(name)
	}
	entry, err := r.sftp.Lstat(name)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	return entry, err
}

func (r *remote) listed(name string) (os.FileInfo, error) {
	folder := path.Dir(name)
	entries, err := r.sftp.ReadDir(folder)
	if err != nil {
		return nil, err
	}
	for _, entry := range entries {
		if entry.Name() == path.Base(name) {
			return entry, nil
		}
	}
	return nil, nil
}

// compare reads the file back. A server that refuses to give it leaves us
// with the size.
func (r *remote) compare(name string, f *File) (sighting, error) {
	sum, err := r.hash(name)
	switch {
	case err == nil && sum == f.SHA256:
		return verified, nil
	case err == nil:
		return other, nil
	case errors.Is(err, fs.ErrNotExist):
		return absent, nil // taken away between the two looks
	case answered(err):
		return whole, nil
	}
	return other, r.failed("read back", name, err)
}

func (r *remote) hash(name string) (string, error) {
	file, err := r.sftp.Open(name)
	if err != nil {
		return "", err
	}
	h := sha256.New()
	_, err = file.WriteTo(h)
	if err = errors.Join(err, file.Close()); err != nil {
		return "", err
	}
	return hex.EncodeToString(h.Sum(nil)), nil
}

// clear removes our own temporary file of an earlier attempt. Anything but a
// plain file stays, and is an error: we did not make it.
func (r *remote) clear(name string) error {
	entry, err := r.entry(name)
	if err != nil {
		return r.failed("look at", name, err)
	}
	if entry == nil {
		return nil
	}
	if !entry.Mode().IsRegular() {
		return &Error{Class: BureauLasting, Op: "upload", Host: r.settings.address(), What: name + " is not a plain file",
			Do: "ask the bureau to remove it, or set another delivery.temp_suffix"}
	}
	if err := r.sftp.Remove(name); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return r.failed("remove", name, err)
	}
	return nil
}

// write makes the new file name of f's bytes, read from their start. What
// tells success is every single answer of the server, the one to close included; the
// number of bytes that were accepted proves nothing.
func (r *remote) write(name string, f *File) error {
	local, err := os.Open(f.LocalPath)
	if err != nil {
		return frozenFileError(f, "cannot be read", err)
	}
	defer func() { _ = local.Close() }()

	file, err := r.sftp.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL)
	if err != nil {
		return r.failed("create", name, err)
	}
	source := &localReader{r: local}
	h := sha256.New()
	n, err := file.ReadFromWithConcurrency(io.TeeReader(source, h), r.settings.Concurrency)
	if err == nil && r.settings.Fsync {
		err = file.Sync()
	}
	closed := file.Close()
	switch {
	case source.err != nil:
		return frozenFileError(f, "cannot be read", source.err)
	case err != nil:
		return r.failed("write", name, err)
	case closed != nil:
		return r.failed("close", name, closed)
	case n != f.Size || hex.EncodeToString(h.Sum(nil)) != f.SHA256:
		return frozenFileError(f, "changed while it was sent", ErrFrozenFile)
	}
	return nil
}

// localReader remembers that an error was ours and not the server's.
type localReader struct {
	r   io.Reader
	err error
}

func (l *localReader) Read(p []byte) (int, error) {
	n, err := l.r.Read(p)
	if err != nil && err != io.EOF {
		l.err = err
	}
	return n, err
}

// rename asks for the plain SFTP rename, which must fail when the new name is
// taken. Never the POSIX one: that replaces a file. An error is nil only with a yes;
// with a no answered holds for the cause, else the answer is lost.
func (r *remote) rename(from, to string) (reply, error) {
	err := r.sftp.Rename(from, to)
	switch {
	case err == nil:
		return replyYes, nil
	case answered(err):
		return replyNo, r.failed("rename to", to, err)
	}
	return replyLost, r.failed("rename to", to, err)
}

// answered tells a server's no from silence. What is in doubt counts as silence.
func answered(err error) bool {
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, fs.ErrPermission) {
		return true
	}
	var status *sftp.StatusError
	if !errors.As(err, &status) {
		return false
	}
	code := status.FxCode()
	return code != sftp.ErrSSHFxNoConnection && code != sftp.ErrSSHFxConnectionLost && code != sftp.ErrSSHFxEOF
}

// SFTP status codes of later protocol versions that some servers send all the same.
const (
	noSpace       = 14 // SSH_FX_NO_SPACE_ON_FILESYSTEM
	quotaExceeded = 15 // SSH_FX_QUOTA_EXCEEDED
)

// failed classes a server's answer, or its silence.
func (r *remote) failed(op, name string, err error) *Error {
	e := &Error{Op: op + " " + name, Host: r.settings.address(), Err: err}
	var status *sftp.StatusError
	_ = errors.As(err, &status)
	switch {
	case !answered(err):
		e.Class, e.What = BureauPassing, "the connection was lost"
	case errors.Is(err, fs.ErrNotExist):
		e.Class, e.What = BureauLasting, fmt.Sprintf("the folder %s does not exist", path.Dir(name))
		e.Do = "correct delivery.dir or delivery.temp_dir, or ask the bureau to make it"
	case errors.Is(err, fs.ErrPermission):
		e.Class, e.What = BureauLasting, "the server does not permit it"
		e.Do = fmt.Sprintf("ask the bureau for the right to list, create, remove our own and rename in %s", path.Dir(name))
	case status.FxCode() == sftp.ErrSSHFxOpUnsupported:
		e.Class, e.What = BureauLasting, "the server cannot do it"
		e.Do = "see docs/delivery.md for what a server must offer; set fsync: false if it was the fsync"
	case status.Code == noSpace || status.Code == quotaExceeded:
		e.Class, e.What = BureauPassing, "the server's disk or our quota is full"
		e.Do = "ask the bureau to make room"
	default:
		e.Class, e.What = BureauPassing, "the server says failure, often a full disk or quota"
		e.Do = "ask the bureau if it lasts"
	}
	return e
}

func frozenFileError(f *File, what string, err error) *Error {
	return &Error{Class: Ours, Op: "outbox", What: f.LocalPath + " " + what,
		Do: "nothing of it was delivered; bring the very same file back from a copy", Err: err}
}
