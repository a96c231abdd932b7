package bureau

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"os"
	"path"
	"strings"
	"sync"
	"time"

	"github.com/pkg/sftp"
	"golang.org/x/crypto/ssh"
)

// Faults are the places where a test makes a simulated bureau fail. Each
// hook may be nil. Its error is the answer of the server, with two exceptions:
// [ErrHangUp] and [ErrPretend]. Names are relative to incoming.
type Faults struct {
	BeforeOpen   func(name string) error // for writing
	BeforeWrite  func(name string, offset int64, length int) error
	BeforeClose  func(name string) error
	BeforeRead   func(name string) error // opening for reading
	BeforeStat   func(name string) error
	BeforeList   func(name string) error
	BeforeRemove func(name string) error
	BeforeRename func(from, to string) error
	AfterRename  func(from, to string) error // it happened; an error is told instead of the yes
}

// What a hook of [Faults] may return besides an answer.
var (
	// ErrHangUp cuts the connection without an answer.
	ErrHangUp = errors.New("the connection is cut")
	// ErrPretend answers yes and does nothing.
	ErrPretend = errors.New("yes is answered and nothing done")
)

// serve is one connection: login, then nothing but the sftp subsystem.
func (s *Simulator) serve(raw net.Conn) {
	config := &ssh.ServerConfig{PublicKeyCallback: s.admit}
	config.AddHostKey(s.config.HostKey)
	_ = raw.SetDeadline(time.Now().Add(30 * time.Second))
	conn, channels, requests, err := ssh.NewServerConn(raw, config)
	if err != nil {
		s.config.Log("simulated bureau %s: login refused: %v", s.config.Name, err)
		return
	}
	_ = raw.SetDeadline(time.Time{})
	defer func() { _ = conn.Close() }()
	go ssh.DiscardRequests(requests)
	var sessions sync.WaitGroup
	defer sessions.Wait()
	for channel := range channels {
		if channel.ChannelType() != "session" {
			_ = channel.Reject(ssh.Prohibited, "only sftp here")
			continue
		}
		accepted, asked, err := channel.Accept()
		if err != nil {
			return
		}
		sessions.Go(func() { s.session(raw, accepted, asked) })
	}
}

func (s *Simulator) admit(_ ssh.ConnMetadata, key ssh.PublicKey) (*ssh.Permissions, error) {
	for _, known := range s.config.ClientKeys {
		if bytes.Equal(known.Marshal(), key.Marshal()) {
			return nil, nil
		}
	}
	return nil, errUnknownClient
}

func (s *Simulator) session(raw net.Conn, channel ssh.Channel, asked <-chan *ssh.Request) {
	defer func() { _ = channel.Close() }()
	for request := range asked {
		var subsystem struct{ Name string }
		granted := request.Type == "subsystem" && ssh.Unmarshal(request.Payload, &subsystem) == nil && subsystem.Name == "sftp"
		if request.WantReply {
			_ = request.Reply(granted, nil)
		}
		if !granted {
			continue
		}
		go ssh.DiscardRequests(asked)
		v := &visit{simulator: s, conn: raw}
		server := sftp.NewRequestServer(channel, sftp.Handlers{FileGet: v, FilePut: v, FileCmd: v, FileList: v})
		_ = server.Serve()
		return
	}
}

// visit answers the SFTP requests of one connection.
type visit struct {
	simulator *Simulator
	conn      net.Conn
}

func (v *visit) root() *os.Root { return v.simulator.root }
func (v *visit) faults() Faults { return v.simulator.config.Faults }

// belowIncoming is the request's path below /incoming. The root folder is seen, and
// nothing is done in it.
func belowIncoming(request string) (string, error) {
	clean := path.Clean("/" + request)
	below, ok := strings.CutPrefix(clean, "/"+incoming+"/")
	if !ok {
		return "", sftp.ErrSSHFxPermissionDenied
	}
	return below, nil
}

// fault applies what a hook said: pretend means answer yes at once.
func (v *visit) fault(err error) (pretend bool, answer error) {
	switch {
	case errors.Is(err, ErrPretend):
		return true, nil
	case errors.Is(err, ErrHangUp):
		_ = v.conn.Close()
	}
	return false, err
}

func told[A any](hook func(A) error, a A) error {
	if hook == nil {
		return nil
	}
	return hook(a)
}

// Filewrite makes a new file. An existing one is never opened for writing.
func (v *visit) Filewrite(r *sftp.Request) (io.WriterAt, error) {
	n, err := belowIncoming(r.Filepath)
	if err != nil {
		return nil, err
	}
	if _, err := v.fault(told(v.faults().BeforeOpen, n)); err != nil {
		return nil, err
	}
	if flags := r.Pflags(); !flags.Creat || flags.Append {
		return nil, sftp.ErrSSHFxOpUnsupported
	}
	if v.taken(n) {
		return nil, sftp.ErrSSHFxFailure
	}
	f, err := v.root().OpenFile(n, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return nil, answerTo(err)
	}
	return &arriving{visit: v, name: n, file: f}, nil
}

// taken: a final name is given once, even where the file was moved away since.
func (v *visit) taken(n string) bool {
	v.simulator.mu.Lock()
	defer v.simulator.mu.Unlock()
	_, known := v.simulator.received[n]
	return known
}

// arriving is a file that is being written.
type arriving struct {
	visit *visit
	name  string
	file  *os.File
	cut   bool // the connection ended in the middle
}

// TransferError is told by the SFTP library when the connection ends in the middle.
func (a *arriving) TransferError(error) { a.cut = true }

func (a *arriving) WriteAt(p []byte, offset int64) (int, error) {
	if hook := a.visit.faults().BeforeWrite; hook != nil {
		pretend, err := a.visit.fault(hook(a.name, offset, len(p)))
		if pretend {
			return len(p), nil
		}
		if err != nil {
			return 0, err
		}
	}
	return a.file.WriteAt(p, offset)
}

func (a *arriving) Close() error {
	_, fault := a.visit.fault(told(a.visit.faults().BeforeClose, a.name))
	err := a.file.Close()
	if fault != nil {
		return fault
	}
	if err != nil {
		return answerTo(err)
	}
	if !a.cut && a.visit.simulator.isFinal(a.name) { // sent without a temporary name
		a.visit.simulator.arrived(a.name)
	}
	return nil
}

// Fileread gives a file back, for a check of what arrived.
func (v *visit) Fileread(r *sftp.Request) (io.ReaderAt, error) {
	n, err := belowIncoming(r.Filepath)
	if err != nil {
		return nil, err
	}
	if _, err := v.fault(told(v.faults().BeforeRead, n)); err != nil {
		return nil, err
	}
	if entry, err := v.root().Lstat(n); err != nil || !entry.Mode().IsRegular() {
		if err != nil {
			return nil, answerTo(err)
		}
		return nil, sftp.ErrSSHFxPermissionDenied
	}
	f, err := v.root().Open(n)
	if err != nil {
		return nil, answerTo(err)
	}
	return f, nil
}

// Filecmd renames and removes; nothing else is offered.
func (v *visit) Filecmd(r *sftp.Request) error {
	switch r.Method {
	case "Rename":
		return v.rename(r)
	case "Remove":
		return v.remove(r)
	}
	return sftp.ErrSSHFxOpUnsupported
}

// PosixRename is refused: it would replace a file.
func (v *visit) PosixRename(*sftp.Request) error { return sftp.ErrSSHFxOpUnsupported }

// rename gives a file a name that is free. The link fails where it is not,
// also when two ask at once.
func (v *visit) rename(r *sftp.Request) error {
	from, err := belowIncoming(r.Filepath)
	if err != nil {
		return err
	}
	to, err := belowIncoming(r.Target)
	if err != nil {
		return err
	}
	if hook := v.faults().BeforeRename; hook != nil {
		pretend, err := v.fault(hook(from, to))
		if pretend || err != nil {
			return err
		}
	}
	if v.taken(to) {
		return sftp.ErrSSHFxFailure
	}
	if err := v.root().Link(from, to); err != nil {
		return answerTo(err)
	}
	if err := v.root().Remove(from); err != nil {
		return answerTo(err)
	}
	if v.simulator.isFinal(to) {
		v.simulator.arrived(to)
	}
	if hook := v.faults().AfterRename; hook != nil {
		_, err := v.fault(hook(from, to))
		return err
	}
	return nil
}

// remove takes away what has no final name yet.
func (v *visit) remove(r *sftp.Request) error {
	n, err := belowIncoming(r.Filepath)
	if err != nil {
		return err
	}
	if _, err := v.fault(told(v.faults().BeforeRemove, n)); err != nil {
		return err
	}
	if v.simulator.isFinal(n) {
		return sftp.ErrSSHFxPermissionDenied
	}
	return answerTo(v.root().Remove(n))
}

// Filelist answers list and stat.
func (v *visit) Filelist(r *sftp.Request) (sftp.ListerAt, error) {
	hook, inRoot := v.faults().BeforeList, path.Clean("/"+r.Filepath) == "/"
	if r.Method != "List" {
		hook = v.faults().BeforeStat
	}
	if inRoot {
		return v.rootFolder(r.Method)
	}
	n := "."
	if path.Clean("/"+r.Filepath) != "/"+incoming {
		below, err := belowIncoming(r.Filepath)
		if err != nil {
			return nil, fs.ErrNotExist
		}
		n = below
	}
	if _, err := v.fault(told(hook, n)); err != nil {
		return nil, err
	}
	if r.Method == "List" {
		return v.list(n)
	}
	entry, err := v.root().Lstat(n)
	if err != nil {
		return nil, answerTo(err)
	}
	return listing{entry}, nil
}

func (v *visit) list(n string) (sftp.ListerAt, error) {
	folder, err := v.root().Open(n)
	if err != nil {
		return nil, answerTo(err)
	}
	defer func() { _ = folder.Close() }()
	entries, err := folder.Readdir(-1)
	if err != nil {
		return nil, answerTo(err)
	}
	return listing(entries), nil
}

func (v *visit) rootFolder(method string) (sftp.ListerAt, error) {
	entry, err := v.root().Lstat(".")
	if err != nil {
		return nil, answerTo(err)
	}
	if method == "List" {
		return listing{renamed{entry, incoming}}, nil
	}
	return listing{renamed{entry, "/"}}, nil
}

// renamed is a folder under the name that clients know.
type renamed struct {
	fs.FileInfo
	as string
}

func (r renamed) Name() string { return r.as }

// listing is a list of entries as the SFTP library reads it.
type listing []fs.FileInfo

// ListAt copies from offset on.
func (l listing) ListAt(into []fs.FileInfo, offset int64) (int, error) {
	if offset >= int64(len(l)) {
		return 0, io.EOF
	}
	n := copy(into, l[offset:])
	if n < len(into) {
		return n, io.EOF
	}
	return n, nil
}

// answerTo gives the SFTP status of a file system error and hides our paths.
func answerTo(err error) error {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, fs.ErrNotExist):
		return sftp.ErrSSHFxNoSuchFile
	case errors.Is(err, fs.ErrPermission), strings.Contains(fmt.Sprint(err), "escapes"):
		return sftp.ErrSSHFxPermissionDenied
	}
	return sftp.ErrSSHFxFailure
}
