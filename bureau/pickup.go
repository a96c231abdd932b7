package bureau

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path"
	"slices"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/pkg/sftp"
)

// RemoteFile is a file that waits in a bureau's folder.
type RemoteFile struct {
	Name    string
	Size    int64     // bytes
	ModTime time.Time // by the bureau's clock
	// Odd: the name is no UTF-8, or has a slash or a control character in it. It is good for telling (quoted), and no
	// method takes it.
	Odd bool
	// NoFile is what stands under the name where it is no plain file: "folder", "link", "pipe, socket or device". It is
	// good for telling, and no method takes it. "" is a file.
	NoFile string
}

// Waiting lists the plain files of dir whose name matches one of patterns
// ([path.Match]), by name, and what is no file under such a name. Those with the
// temporary suffix are left out. A folder that is not there is [BureauLasting].
func (s *Session) Waiting(ctx context.Context, dir string, patterns []string) ([]RemoteFile, error) {
	if err := checkPatterns(patterns); err != nil {
		return nil, err
	}
	var waiting []RemoteFile
	err := s.pickUp(ctx, "list "+folderName(dir), func(r *remote) error {
		entries, err := r.sftp.ReadDir(path.Join(dir, "."))
		if err != nil {
			return r.notPickedUp("list", path.Join(dir, "*"), err)
		}
		waiting = filesAmong(entries, patterns, s.settings.TempSuffix)
		return nil
	})
	return waiting, err
}

// Fetch reads a file that [Session.Waiting] listed, to its end. open makes a new
// place for every attempt, because a retry begins at the file's start; each place
// is closed, and only a nil error of Fetch says that the last one holds the file
// whole. What came must be f.Size bytes: a file that grew, shrank or went meanwhile is
// [ErrChanging], never tried again. An error of the place is [Ours].
//
// Fetch does not change anything at the bureau. Its memory does not depend on the file's size.
func (s *Session) Fetch(ctx context.Context, dir string, f RemoteFile, open func() (io.WriteCloser, error)) error {
	if err := checkPickUpName(f.Name); err != nil {
		return err
	}
	return s.pickUp(ctx, "fetch "+f.Name, func(r *remote) error {
		return r.fetch(path.Join(dir, f.Name), f, open)
	})
}

// Discard removes a file that was fetched; a name that is gone already is no error.
func (s *Session) Discard(ctx context.Context, dir, name string) error {
	if err := checkPickUpName(name); err != nil {
		return err
	}
	return s.pickUp(ctx, "remove "+name, func(r *remote) error {
		full := path.Join(dir, name)
		err := r.sftp.Remove(full)
		if err == nil || errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		if gone, lookErr := r.gone(full); gone && lookErr == nil { // servers differ in what they say of a name that is gone
			return nil
		}
		return r.notPickedUp("remove", full, err)
	})
}

// SetAside moves a file that was fetched from dir into the folder to, without
// overwriting: where its name is taken it gets "-2", "-3" … before its extension. A name
// that is gone from dir is no error: an earlier attempt moved it and its answer was lost.
func (s *Session) SetAside(ctx context.Context, dir, name, to string) error {
	if err := checkPickUpName(name); err != nil {
		return err
	}
	return s.pickUp(ctx, "move "+name, func(r *remote) error { return r.setAside(dir, name, to) })
}

// pickUp does one request over the session's connection, with its retries.
func (s *Session) pickUp(ctx context.Context, op string, request func(*remote) error) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	stopped := func(cause error) error { return s.stopped(op, "before its end", cause) }
	return s.repeated(ctx, stopped, func(int) error {
		l, err := s.connected(ctx)
		if err != nil {
			return err
		}
		defer l.watch(ctx)()
		return request(s.remote(l))
	})
}

// fetch is one attempt.
func (r *remote) fetch(name string, f RemoteFile, open func() (io.WriteCloser, error)) error {
	entry, err := r.entry(name)
	switch {
	case err != nil:
		return r.notPickedUp("look at", name, err)
	case entry == nil:
		return changing(r.settings.address(), name, "it is gone")
	case !entry.Mode().IsRegular():
		return changing(r.settings.address(), name, "it is no plain file any more")
	case entry.Size() != f.Size:
		return changing(r.settings.address(), name, fmt.Sprintf("it has %d bytes and had %d", entry.Size(), f.Size))
	}
	file, err := r.sftp.Open(name)
	if errors.Is(err, fs.ErrNotExist) {
		return changing(r.settings.address(), name, "it is gone")
	} else if err != nil {
		return r.notPickedUp("read", name, err)
	}
	defer func() { _ = file.Close() }()
	return intoPlace(open, name, f.Size, func(p *place) error {
		n, err := r.read(file, p, f.Size)
		switch {
		case p.over:
			return changing(r.settings.address(), name, fmt.Sprintf("it grew past the %d bytes that it had", f.Size))
		case p.err != nil:
			return nil // told by intoPlace
		case err != nil:
			return r.notPickedUp("read", name, err)
		case n != f.Size:
			return r.endedEarly(name, f.Size, n)
		}
		return nil
	})
}

// read copies a file to its end, or one byte past size. The library's own way keeps most requests under way
// but asks for the size first, which a server without stat refuses.
func (r *remote) read(file *sftp.File, p *place, size int64) (int64, error) {
	if r.settings.Stat {
		return file.WriteTo(p)
	}
	return io.CopyBuffer(p, io.NewSectionReader(file, 0, size+1), make([]byte, r.settings.Concurrency*(32<<10)))
}

// endedEarly tells a file that shrank from a connection that ended: the SFTP
// library may take the one for the other.
func (r *remote) endedEarly(name string, size, came int64) error {
	entry, err := r.entry(name)
	if err != nil {
		return r.notPickedUp("read", name, err)
	}
	if entry != nil && entry.Size() == size {
		return &Error{Class: BureauPassing, Op: "read " + name, Host: r.settings.address(),
			What: fmt.Sprintf("the server gave %d of %d bytes", came, size), Do: "ask the bureau if it lasts"}
	}
	return changing(r.settings.address(), name, fmt.Sprintf("it ended after %d of %d bytes", came, size))
}

// place is where a file is fetched to. It takes no more than the size that was
// listed, and remembers that an error was ours and not the bureau's.
type place struct {
	w    io.Writer
	left int64
	over bool
	err  error
}

func (p *place) Write(content []byte) (int, error) {
	if int64(len(content)) > p.left {
		p.over = true
		return 0, ErrChanging
	}
	n, err := p.w.Write(content)
	p.left -= int64(n)
	p.err = err
	return n, err
}

// intoPlace makes a place, has it filled and closes it, whatever came of it.
func intoPlace(open func() (io.WriteCloser, error), name string, size int64, fill func(*place) error) error {
	notKept := func(err error) error {
		return &Error{Class: Ours, Op: "fetch " + name, What: "what came could not be kept", Do: "see the cause; the file still waits at the bureau", Err: err}
	}
	w, err := open()
	if err != nil {
		return notKept(err)
	}
	p := &place{w: w, left: size}
	filled := fill(p)
	closed := w.Close()
	if err := cmp.Or(p.err, closed); err != nil && filled == nil {
		return notKept(err)
	}
	return filled
}

// mostTaken is how many names of one file SetAside looks at before it gives up.
const mostTaken = 1000

// setAside is one attempt. Never the POSIX rename: it replaces a file.
func (r *remote) setAside(dir, name, to string) error {
	from := path.Join(dir, name)
	for n := 1; n <= mostTaken; n++ {
		target := path.Join(to, numbered(name, n))
		taken, err := r.entry(target)
		if errors.Is(err, fs.ErrNotExist) {
			return r.noFolderFor(from, target, err)
		} else if err != nil {
			return r.notPickedUp("look at", target, err)
		}
		if taken != nil {
			if gone, err := r.gone(from); gone || err != nil {
				return err
			}
			continue
		}
		err = r.sftp.Rename(from, target)
		switch {
		case err == nil:
			return nil
		case errors.Is(err, fs.ErrNotExist):
			return r.noFolderFor(from, target, err)
		case !answered(err):
			return r.notPickedUp("move to", target, err)
		}
		if taken, lookErr := r.entry(target); lookErr != nil || taken == nil {
			return r.notPickedUp("move to", target, err)
		}
	}
	return allTaken(r.settings.address(), name, to)
}

// gone says that nothing has the name any more.
func (r *remote) gone(name string) (bool, error) {
	entry, err := r.entry(name)
	if err != nil {
		return false, r.notPickedUp("look at", name, err)
	}
	return entry == nil, nil
}

// noFolderFor is the answer to "no such file": either from is gone, which is
// well, or target's folder is not there.
func (r *remote) noFolderFor(from, target string, err error) error {
	if gone, lookErr := r.gone(from); gone || lookErr != nil {
		return lookErr
	}
	e := r.notPickedUp("move to", target, err)
	e.Do = "correct returns.move_to, or ask the bureau to make the folder"
	return e
}

// notPickedUp is [remote.failed] with what to do about the folder of returns.
func (r *remote) notPickedUp(op, name string, err error) *Error {
	e := r.failed(op, name, err)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		e.Do = "correct returns.dir, or ask the bureau to make it"
	case errors.Is(err, fs.ErrPermission):
		e.Do = fmt.Sprintf("ask the bureau for the right to list and read in %s, and to remove or move what returns.after says", path.Dir(name))
	}
	return e
}

func changing(host, name, what string) error {
	return &Error{Class: BureauPassing, Op: "fetch " + name, Host: host, What: what + " since it was listed",
		Do: "it is left there for the next night", Err: ErrChanging}
}

func allTaken(host, name, to string) error {
	return &Error{Class: BureauLasting, Op: "move " + name, Host: host,
		What: fmt.Sprintf("%d files of this name are in %s already", mostTaken, folderName(to)), Do: "have that folder cleared, or set returns.after to remove"}
}

// checkPatterns finds what matches nothing because it is malformed.
func checkPatterns(patterns []string) error {
	for _, pattern := range patterns {
		if _, err := path.Match(pattern, ""); err != nil {
			return &Error{Class: Operator, Op: "list", What: fmt.Sprintf("the pattern %q is malformed", pattern), Do: "correct returns.pattern", Err: err}
		}
	}
	return nil
}

// checkPickUpName refuses a name that could mean another folder.
func checkPickUpName(name string) error {
	if !plainName(name) {
		return &Error{Class: Ours, Op: "pick up", What: fmt.Sprintf("%q is not a file name", name)}
	}
	return nil
}

// plainName: a base name that reads the same in a folder, a log and a report.
func plainName(name string) bool {
	if name == "" || name == "." || name == ".." || len(name) > 255 || !utf8.ValidString(name) {
		return false
	}
	return !strings.ContainsFunc(name, func(c rune) bool { return c == '/' || unicode.IsControl(c) || unicode.Is(unicode.Cf, c) })
}

// filesAmong gives what has a name that one of patterns matches, by name.
func filesAmong(entries []fs.FileInfo, patterns []string, temporary string) []RemoteFile {
	var files []RemoteFile
	for _, entry := range entries {
		name := entry.Name()
		if !strings.HasSuffix(name, temporary) && matchesOne(name, patterns) {
			files = append(files, RemoteFile{Name: name, Size: entry.Size(), ModTime: entry.ModTime(), Odd: !plainName(name), NoFile: noFile(entry.Mode())})
		}
	}
	slices.SortFunc(files, func(a, b RemoteFile) int { return strings.Compare(a.Name, b.Name) })
	return files
}

func noFile(mode fs.FileMode) string {
	switch {
	case mode.IsRegular():
		return ""
	case mode.IsDir():
		return "folder"
	case mode&fs.ModeSymlink != 0:
		return "link"
	}
	return "pipe, socket or device"
}

func matchesOne(name string, patterns []string) bool {
	return slices.ContainsFunc(patterns, func(pattern string) bool {
		ok, err := path.Match(pattern, name)
		return ok && err == nil
	})
}

// numbered gives the n-th name of a file: x.csv, x-2.csv, x-3.csv.
func numbered(name string, n int) string {
	if n == 1 {
		return name
	}
	base := strings.TrimLeft(name, ".") // a leading point opens no extension
	point := strings.IndexByte(base, '.')
	if point < 0 {
		return fmt.Sprintf("%s-%d", name, n)
	}
	point += len(name) - len(base)
	return fmt.Sprintf("%s-%d%s", name[:point], n, name[point:])
}

func folderName(dir string) string {
	if dir == "" {
		return "the login's folder"
	}
	return strings.TrimSuffix(dir, "/") + "/"
}
