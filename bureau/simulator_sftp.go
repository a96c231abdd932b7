package bureau

import (
	"bytes"
	"cmp"
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
// [ErrHangUp] and [ErrPretend]. Names are relative to incoming; those in the folder of
// returns begin with "returns/".
type Faults struct {
	BeforeHello   func() error // a connection came; an error ends it before a byte was said
	BeforeLogin   func() error // an error refuses a key that is known
	BeforeSession func() error // an error refuses the session, as too many
	// KeepAlive asks the client for a sign of life so often, as sshd with ClientAliveInterval.
	KeepAlive time.Duration
	// Packets stands between the SFTP server and the client: it may change, hold back or reorder what either says.
	Packets func(stream io.ReadWriteCloser) io.ReadWriteCloser

	BeforeOpen   func(name string) error // for writing
	BeforeWrite  func(name string, offset int64, length int) error
	BeforeClose  func(name string) error
	BeforeRead   func(name string) error // opening for reading
	BeforeReadAt func(name string, offset int64, length int) error
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
	if faults := s.config.Faults; faults.BeforeHello != nil && faults.BeforeHello() != nil {
		return
	}
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
	if s.config.Faults.KeepAlive > 0 {
		sessions.Go(func() { keepAlive(conn, s.config.Faults.KeepAlive) })
	}
	for channel := range channels {
		if channel.ChannelType() != "session" {
			_ = channel.Reject(ssh.Prohibited, "only sftp here")
			continue
		}
		if hook := s.config.Faults.BeforeSession; hook != nil && hook() != nil {
			_ = channel.Reject(ssh.ResourceShortage, "too many sessions")
			continue
		}
		accepted, asked, err := channel.Accept()
		if err != nil {
			return
		}
		sessions.Go(func() { s.session(raw, accepted, asked) })
	}
}

// keepAlive asks until the connection ends.
func keepAlive(conn ssh.Conn, every time.Duration) {
	for {
		time.Sleep(every)
		if _, _, err := conn.SendRequest("keepalive@openssh.com", true, nil); err != nil {
			return
		}
	}
}

func (s *Simulator) admit(_ ssh.ConnMetadata, key ssh.PublicKey) (*ssh.Permissions, error) {
	if hook := s.config.Faults.BeforeLogin; hook != nil {
		if err := hook(); err != nil {
			return nil, err
		}
	}
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
		var stream io.ReadWriteCloser = channel
		if hook := s.config.Faults.Packets; hook != nil {
			stream = hook(stream)
		}
		server := sftp.NewRequestServer(stream, sftp.Handlers{FileGet: v, FilePut: v, FileCmd: v, FileList: v})
		_ = server.Serve()
		return
	}
}

// visit answers the SFTP requests of one connection.
type visit struct {
	simulator *Simulator
	conn      net.Conn
}

func (v *visit) faults() Faults { return v.simulator.config.Faults }

// spot is a path of a request: a folder that clients see, and what is below it.
type spot struct {
	folder string // incoming or outgoing
	below  string // "." for the folder itself
	root   *os.Root
}

// spot is where the path of a request leads. The root folder is seen, and nothing is done in it.
func (v *visit) spot(request string) (spot, error) {
	top, below, _ := strings.Cut(strings.TrimPrefix(path.Clean("/"+request), "/"), "/")
	s := spot{folder: top, below: cmp.Or(below, ".")}
	switch top {
	case incoming:
		s.root = v.simulator.root
	case outgoing:
		s.root = v.simulator.out
	default:
		return s, sftp.ErrSSHFxPermissionDenied
	}
	return s, nil
}

// arrival is a path below incoming, where files may be made.
func (v *visit) arrival(request string) (string, error) {
	s, err := v.spot(request)
	if err == nil && (s.folder != incoming || s.below == ".") {
		err = sftp.ErrSSHFxPermissionDenied
	}
	return s.below, err
}

// hookName is how [Faults] name a spot.
func (s spot) hookName() string {
	if s.folder == outgoing {
		return path.Join(outgoing, s.below)
	}
	return s.below
}

// direct: a name in the folder itself.
func (s spot) direct() bool { return s.below != "." && !strings.Contains(s.below, "/") }

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
	n, err := v.arrival(r.Filepath)
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
	f, err := v.simulator.root.OpenFile(n, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return nil, answerTo(err)
	}
	return &arriving{visit: v, name: n, file: f}, nil
}

// taken: a final name is given once in a simulator's life, even where the file
// was moved away since. In its next life a file that somebody took out of the
// folder may come again; [Simulator.note] sees whether it is the same.
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
		if err := a.visit.simulator.stamp(a.name); err != nil {
			return answerTo(err)
		}
		a.visit.simulator.arrived(a.name)
	}
	return nil
}

// Fileread gives a file back: what arrived, for a check, and what the bureau answers.
func (v *visit) Fileread(r *sftp.Request) (io.ReaderAt, error) {
	at, err := v.spot(r.Filepath)
	if err != nil {
		return nil, err
	}
	if _, err := v.fault(told(v.faults().BeforeRead, at.hookName())); err != nil {
		return nil, err
	}
	if entry, err := at.root.Lstat(at.below); err != nil || !entry.Mode().IsRegular() {
		if err != nil {
			return nil, answerTo(err)
		}
		return nil, sftp.ErrSSHFxPermissionDenied
	}
	f, err := at.root.Open(at.below)
	if err != nil {
		return nil, answerTo(err)
	}
	return &leaving{File: f, visit: v, name: at.hookName()}, nil
}

// leaving is a file that is being read.
type leaving struct {
	*os.File
	visit *visit
	name  string
}

func (l *leaving) ReadAt(p []byte, offset int64) (int, error) {
	if hook := l.visit.faults().BeforeReadAt; hook != nil {
		if _, err := l.visit.fault(hook(l.name, offset, len(p))); err != nil {
			return 0, err
		}
	}
	return l.File.ReadAt(p, offset)
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
// also when two ask at once. A return file can only be put into the folder of those that are done.
func (v *visit) rename(r *sftp.Request) error {
	from, err := v.spot(r.Filepath)
	if err != nil {
		return err
	}
	to, err := v.spot(r.Target)
	if err != nil {
		return err
	}
	arrives := from.folder == incoming && to.folder == incoming && from.below != "." && to.below != "."
	if doneWith := from.folder == outgoing && from.direct() && to.folder == outgoing && path.Dir(to.below) == done; !arrives && !doneWith {
		return sftp.ErrSSHFxPermissionDenied
	}
	if hook := v.faults().BeforeRename; hook != nil {
		pretend, err := v.fault(hook(from.hookName(), to.hookName()))
		if pretend || err != nil {
			return err
		}
	}
	if arrives && v.taken(to.below) {
		return sftp.ErrSSHFxFailure
	}
	if arrives {
		if err := v.simulator.stamp(from.below); err != nil {
			return answerTo(err)
		}
	}
	if err := from.root.Link(from.below, to.below); err != nil {
		return answerTo(err)
	}
	if err := from.root.Remove(from.below); err != nil {
		return answerTo(err)
	}
	if arrives && v.simulator.isFinal(to.below) {
		v.simulator.arrived(to.below)
	}
	if hook := v.faults().AfterRename; hook != nil {
		_, err := v.fault(hook(from.hookName(), to.hookName()))
		return err
	}
	return nil
}

// remove takes away what has no final name yet, and return files.
func (v *visit) remove(r *sftp.Request) error {
	at, err := v.spot(r.Filepath)
	if err != nil {
		return err
	}
	if _, err := v.fault(told(v.faults().BeforeRemove, at.hookName())); err != nil {
		return err
	}
	if at.below == "." || at.folder == incoming && v.simulator.isFinal(at.below) || at.folder == outgoing && !at.direct() {
		return sftp.ErrSSHFxPermissionDenied
	}
	if entry, err := at.root.Lstat(at.below); err == nil && entry.IsDir() {
		return sftp.ErrSSHFxFailure
	}
	return answerTo(at.root.Remove(at.below))
}

// Filelist answers list and stat.
func (v *visit) Filelist(r *sftp.Request) (sftp.ListerAt, error) {
	hook := v.faults().BeforeList
	if r.Method != "List" {
		hook = v.faults().BeforeStat
	}
	if path.Clean("/"+r.Filepath) == "/" {
		return v.rootFolder(r.Method)
	}
	at, err := v.spot(r.Filepath)
	if err != nil {
		return nil, fs.ErrNotExist
	}
	if _, err := v.fault(told(hook, at.hookName())); err != nil {
		return nil, err
	}
	if r.Method == "List" {
		return at.list()
	}
	entry, err := at.root.Lstat(at.below)
	if err != nil {
		return nil, answerTo(err)
	}
	return listing{entry}, nil
}

func (s spot) list() (sftp.ListerAt, error) {
	folder, err := s.root.Open(s.below)
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
	entry, err := v.simulator.root.Lstat(".")
	if err != nil {
		return nil, answerTo(err)
	}
	if method == "List" {
		return listing{renamed{entry, incoming}, renamed{entry, outgoing}}, nil
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
