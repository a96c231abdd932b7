package bureau

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/pkg/sftp"
)

// pickUps is what a bureau's folder is asked for, over SFTP or on this machine.
type pickUps interface {
	Waiting(ctx context.Context, dir string, patterns []string) ([]RemoteFile, error)
	Fetch(ctx context.Context, dir string, f RemoteFile, open func() (io.WriteCloser, error)) error
	Discard(ctx context.Context, dir, name string) error
	SetAside(ctx context.Context, dir, name, to string) error
}

// pickUpPoint is a folder of returns with a way to it.
type pickUpPoint struct {
	pickUps
	dir    string // as the way names it
	folder string // on this disk
	habits habits
}

func (p *pickUpPoint) put(t *testing.T, name string, content []byte) {
	t.Helper()
	writeFile(t, filepath.Join(p.folder, name), content, 0o600)
}

func (p *pickUpPoint) names(t *testing.T, below string) []string {
	t.Helper()
	entries, err := os.ReadDir(filepath.Join(p.folder, below))
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, entry := range entries {
		if !entry.IsDir() {
			names = append(names, entry.Name())
		}
	}
	return names
}

func session(t *testing.T, side *farSide) *Session {
	t.Helper()
	s, err := Connect(side.settings)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	return s
}

// onEachWay runs a test against every server and against a folder of this machine.
func onEachWay(t *testing.T, test func(t *testing.T, p *pickUpPoint)) {
	onEachServer(t, func(t *testing.T, side *farSide) {
		test(t, &pickUpPoint{pickUps: session(t, side), dir: side.returnsDir(), folder: side.returns(), habits: side.habits})
	})
	t.Run("without stat", func(t *testing.T) {
		side, _ := startSimulator(t, Faults{BeforeStat: func(string) error { return errors.New("no") }})
		side.settings.Stat = false
		test(t, &pickUpPoint{pickUps: session(t, side), dir: side.returnsDir(), folder: side.returns()})
	})
	t.Run("folder", func(t *testing.T) {
		root := t.TempDir()
		if err := os.MkdirAll(filepath.Join(root, outgoing, done), 0o700); err != nil {
			t.Fatal(err)
		}
		test(t, &pickUpPoint{pickUps: Folder{Root: root}, dir: outgoing, folder: filepath.Join(root, outgoing)})
	})
}

// shelf gives a new place for every attempt and keeps what each got.
type shelf struct {
	places []*bytes.Buffer
	closed int
}

func (s *shelf) open() (io.WriteCloser, error) {
	s.places = append(s.places, &bytes.Buffer{})
	return shelfPlace{s.places[len(s.places)-1], s}, nil
}

func (s *shelf) last() []byte { return s.places[len(s.places)-1].Bytes() }

type shelfPlace struct {
	*bytes.Buffer
	shelf *shelf
}

// ReadFrom of the buffer would take what Write may refuse.
func (p shelfPlace) ReadFrom(io.Reader) (int64, error) { panic("not asked for") }

func (p shelfPlace) Close() error {
	p.shelf.closed++
	return nil
}

func waiting(t *testing.T, p pickUps, dir string) []RemoteFile {
	t.Helper()
	files, err := p.Waiting(t.Context(), dir, []string{"*.csv", "*.csv.pgp"})
	if err != nil {
		t.Fatal(err)
	}
	return files
}

func TestWaitingGivesWhatMatchesAndSaysWhatIsNoFile(t *testing.T) {
	onEachWay(t, func(t *testing.T, p *pickUpPoint) {
		for name, size := range map[string]int{"b.csv": 5, "a.csv.pgp": 3, "c.csv.part": 1, "readme.txt": 1, "new\nline.csv": 1, "esc\x1b[2J.csv": 1,
			"bidi\u202efdp.csv": 1, "bad\xffutf8.csv": 1, "ümlaut.csv": 2, "done/old.csv": 1} {
			p.put(t, name, make([]byte, size))
		}
		mtime := time.Date(2026, 3, 4, 5, 6, 7, 0, time.UTC)
		if err := errors.Join(os.Chtimes(filepath.Join(p.folder, "b.csv"), mtime, mtime), os.Mkdir(filepath.Join(p.folder, "folder.csv"), 0o700), syscall.Mkfifo(filepath.Join(p.folder, "pipe.csv"), 0o600),
			os.Symlink(filepath.Join(p.folder, "b.csv"), filepath.Join(p.folder, "link.csv"))); err != nil {
			t.Fatal(err)
		}
		files := waiting(t, p, p.dir)
		var got, none []string
		for _, f := range files {
			if f.NoFile != "" {
				none = append(none, f.Name+" "+f.NoFile)
				continue
			}
			got = append(got, fmt.Sprintf("%s %d %v", f.Name, f.Size, f.Odd))
		}
		if want := []string{"folder.csv folder", "link.csv link", "pipe.csv pipe, socket or device"}; !slices.Equal(none, want) {
			t.Errorf("no files are %q, want %q", none, want)
		}
		if want := []string{"a.csv.pgp 3 false", "b.csv 5 false", "bad\xffutf8.csv 1 true", "bidi\u202efdp.csv 1 true", "esc\x1b[2J.csv 1 true", "new\nline.csv 1 true",
			"ümlaut.csv 2 false"}; !slices.Equal(got, want) {
			t.Errorf("%q, want %q", got, want)
		}
		if len(files) > 1 && !files[1].ModTime.Equal(mtime) {
			t.Errorf("changed at %s", files[1].ModTime)
		}
	})
}

func TestWaitingInAFolderThatIsNotThere(t *testing.T) {
	onEachWay(t, func(t *testing.T, p *pickUpPoint) {
		_, err := p.Waiting(t.Context(), p.dir+"/gone", []string{"*"})
		wantClass(t, err, BureauLasting, nil)
		if !strings.Contains(err.Error(), "returns.dir") {
			t.Errorf("%v does not say what to do", err)
		}
	})
}

func TestMalformedPatternIsTheOperators(t *testing.T) {
	onEachWay(t, func(t *testing.T, p *pickUpPoint) {
		_, err := p.Waiting(t.Context(), p.dir, []string{"*.csv", "[a"})
		wantClass(t, err, Operator, nil)
	})
}

func TestFetchBringsAFileWhole(t *testing.T) {
	onEachWay(t, func(t *testing.T, p *pickUpPoint) {
		for name, size := range map[string]int{"0-empty.csv": 0, "1-small.csv": 100, "2-large.csv": 20 << 20} {
			p.put(t, name, bytes.Repeat([]byte("0123456789abcdef\n"), size/17+1)[:size])
		}
		for _, f := range waiting(t, p, p.dir) {
			var s shelf
			if err := p.Fetch(t.Context(), p.dir, f, s.open); err != nil {
				t.Fatal(err)
			}
			if !bytes.Equal(s.last(), readAll(t, filepath.Join(p.folder, f.Name))) || len(s.places) != 1 || s.closed != 1 {
				t.Errorf("%s: %d bytes in %d places, %d closed", f.Name, len(s.last()), len(s.places), s.closed)
			}
		}
		if got := p.names(t, "."); len(got) != 3 {
			t.Errorf("left: %v", got)
		}
	})
}

// A file that is not what was listed is left for the next night.
func TestFetchLeavesWhatChanges(t *testing.T) {
	for name, change := range map[string]func(path string) error{
		"grew":   func(path string) error { return os.WriteFile(path, make([]byte, 2000), 0o600) },
		"shrank": func(path string) error { return os.Truncate(path, 10) },
		"went":   os.Remove,
		"link": func(path string) error {
			other := filepath.Join(filepath.Dir(path), "other")
			return errors.Join(os.Remove(path), os.WriteFile(other, make([]byte, 1000), 0o600), os.Symlink(other, path))
		},
	} {
		t.Run(name, func(t *testing.T) {
			onEachWay(t, func(t *testing.T, p *pickUpPoint) {
				p.put(t, "a.csv", make([]byte, 1000))
				f := waiting(t, p, p.dir)[0]
				if err := change(filepath.Join(p.folder, "a.csv")); err != nil {
					t.Fatal(err)
				}
				var s shelf
				err := p.Fetch(t.Context(), p.dir, f, s.open)
				if name == "link" && p.habits.showsTargets {
					return // it cannot be told from a file
				}
				if !errors.Is(err, ErrChanging) {
					t.Fatalf("%v", err)
				}
				if len(s.places) != 0 {
					t.Error("something was fetched")
				}
			})
		})
	}
}

// It changes while it is read: once the reading began, the size that was listed counts.
func TestFetchOfAFileThatChangesMeanwhile(t *testing.T) {
	for name, change := range map[string]func(path string) error{
		"grows":   func(path string) error { return os.WriteFile(path, make([]byte, 9<<20), 0o600) },
		"shrinks": func(path string) error { return os.Truncate(path, 4<<20) },
	} {
		t.Run(name, func(t *testing.T) {
			var path string
			side, _ := startSimulator(t, Faults{BeforeReadAt: func(_ string, offset int64, _ int) error {
				if offset > 0 {
					return nil
				}
				return change(path)
			}})
			path = side.returned(t, "a.csv", make([]byte, 8<<20))
			s := session(t, side)
			var got shelf
			err := s.Fetch(t.Context(), outgoing, waiting(t, s, outgoing)[0], got.open)
			if !errors.Is(err, ErrChanging) || len(got.places) != 1 || got.closed != 1 || len(got.last()) > 8<<20 {
				t.Errorf("%v, %d places, %d closed, %d bytes", err, len(got.places), got.closed, len(got.last()))
			}
		})
	}
}

// The connection is cut in the middle: the retry begins at the file's start, in a new place.
func TestFetchCutInTheMiddleBeginsAnew(t *testing.T) {
	var cuts atomic.Int64
	cuts.Store(2)
	side, _ := startSimulator(t, Faults{BeforeReadAt: func(_ string, offset int64, _ int) error {
		if offset > 5<<20 && cuts.Add(-1) >= 0 {
			return ErrHangUp
		}
		return nil
	}})
	content := bytes.Repeat([]byte("abcdefghij"), 1<<20)
	side.returned(t, "a.csv", content)
	s := session(t, side)
	f := waiting(t, s, outgoing)[0]
	var got shelf
	if err := s.Fetch(t.Context(), outgoing, f, got.open); err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got.last(), content) || got.closed != len(got.places) || len(got.places) < 2 {
		t.Errorf("%d bytes, %d places, %d closed", len(got.last()), len(got.places), got.closed)
	}
	cuts.Store(1000)
	err := s.Fetch(t.Context(), outgoing, f, got.open)
	wantClass(t, err, BureauPassing, nil)
	if errors.Is(err, ErrChanging) {
		t.Error("a lost connection was taken for a file that changes")
	}
}

func TestPlaceThatFailsIsOurs(t *testing.T) {
	onEachWay(t, func(t *testing.T, p *pickUpPoint) {
		p.put(t, "a.csv", make([]byte, 100_000))
		f, full, opened := waiting(t, p, p.dir)[0], errors.New("no space left here"), 0
		for name, open := range map[string]func() (io.WriteCloser, error){
			"open":  func() (io.WriteCloser, error) { opened++; return nil, full },
			"write": func() (io.WriteCloser, error) { opened++; return badPlace{write: full}, nil },
			"close": func() (io.WriteCloser, error) { opened++; return badPlace{close: full}, nil },
		} {
			opened = 0
			err := p.Fetch(t.Context(), p.dir, f, open)
			wantClass(t, err, Ours, full)
			if opened != 1 {
				t.Errorf("%s: tried %d times", name, opened)
			}
		}
	})
}

type badPlace struct{ write, close error }

func (b badPlace) Write(p []byte) (int, error) {
	if b.write != nil {
		return 0, b.write
	}
	return len(p), nil
}
func (b badPlace) Close() error { return b.close }

func TestPickUpStopsWhenToldTo(t *testing.T) {
	onEachWay(t, func(t *testing.T, p *pickUpPoint) {
		p.put(t, "a.csv", make([]byte, 8<<20))
		f := waiting(t, p, p.dir)[0]
		ctx, cancel := context.WithCancel(t.Context())
		err := p.Fetch(ctx, p.dir, f, func() (io.WriteCloser, error) { cancel(); return &discarding{}, nil })
		wantClass(t, err, Operator, context.Canceled)
	})
}

type discarding struct{}

func (discarding) Write(p []byte) (int, error) { return len(p), nil }
func (discarding) Close() error                { return nil }

func TestDiscardTakesAwayOnce(t *testing.T) {
	onEachWay(t, func(t *testing.T, p *pickUpPoint) {
		p.put(t, "a.csv", nil)
		p.put(t, "b.csv", nil)
		for range 2 { // the second time it is gone already
			if err := p.Discard(t.Context(), p.dir, "a.csv"); err != nil {
				t.Fatal(err)
			}
		}
		if got := p.names(t, "."); !slices.Equal(got, []string{"b.csv"}) {
			t.Errorf("left: %v", got)
		}
	})
}

func TestSetAsideNeverOverwrites(t *testing.T) {
	onEachWay(t, func(t *testing.T, p *pickUpPoint) {
		to := p.dir + "/" + done
		for i := range 3 {
			p.put(t, "a.csv.pgp", []byte{byte('1' + i)})
			for range 2 { // the second time it is gone already
				if err := p.SetAside(t.Context(), p.dir, "a.csv.pgp", to); err != nil {
					t.Fatal(err)
				}
			}
		}
		got := map[string]string{}
		for _, name := range p.names(t, done) {
			got[name] = string(readAll(t, filepath.Join(p.folder, done, name)))
		}
		if want := map[string]string{"a.csv.pgp": "1", "a-2.csv.pgp": "2", "a-3.csv.pgp": "3"}; !reflect.DeepEqual(got, want) {
			t.Errorf("%v", got)
		}
		if left := p.names(t, "."); len(left) != 0 {
			t.Errorf("left: %v", left)
		}
	})
}

func TestSetAsideIntoAFolderThatIsNotThere(t *testing.T) {
	onEachWay(t, func(t *testing.T, p *pickUpPoint) {
		if strings.Contains(t.Name(), "simulator") || strings.Contains(t.Name(), "without_stat") {
			return // it permits one folder only
		}
		p.put(t, "a.csv", nil)
		err := p.SetAside(t.Context(), p.dir, "a.csv", p.dir+"/nowhere")
		wantClass(t, err, BureauLasting, nil)
		if !strings.Contains(err.Error(), "returns.move_to") || len(p.names(t, ".")) != 1 {
			t.Errorf("%v, left %v", err, p.names(t, "."))
		}
	})
}

// The move happened and its answer was lost, or it never happened: either way the file ends there once.
func TestSetAsideWithoutAnAnswer(t *testing.T) {
	for name, plan := range map[string]cut{"it happened": cutAnswer, "it never arrived": cutRequest} {
		t.Run(name, func(t *testing.T) {
			onEachServer(t, func(t *testing.T, side *farSide) {
				proxy := startCutter(t, side)
				side.returned(t, "a.csv", []byte("x"))
				s := session(t, side)
				waiting(t, s, side.returnsDir())
				proxy.arm(plan, 0)
				if err := s.SetAside(t.Context(), side.returnsDir(), "a.csv", side.returnsDir()+"/"+done); err != nil {
					t.Fatal(err)
				}
				p := &pickUpPoint{folder: side.returns()}
				if left, there := p.names(t, "."), p.names(t, done); len(left) != 0 || !slices.Equal(there, []string{"a.csv"}) {
					t.Errorf("left %v, there %v", left, there)
				}
			})
		})
	}
}

// A server that offers only the plain rename is enough: the POSIX one replaces files.
func TestSetAsideAsksForThePlainRenameOnly(t *testing.T) {
	var asked []string
	side, _ := startSimulator(t, Faults{BeforeRename: func(from, to string) error {
		asked = append(asked, from+" "+to)
		return nil
	}})
	side.returned(t, "a.csv", nil)
	if err := session(t, side).SetAside(t.Context(), outgoing, "a.csv", outgoing+"/"+done); err != nil {
		t.Fatal(err)
	}
	if want := []string{"returns/a.csv returns/done/a.csv"}; !slices.Equal(asked, want) {
		t.Errorf("%q", asked)
	}
}

func TestPickUpWithoutTheRight(t *testing.T) {
	deny := func(string) error { return sftp.ErrSSHFxPermissionDenied }
	side, _ := startSimulator(t, Faults{BeforeRead: deny, BeforeRemove: deny, BeforeRename: func(from, _ string) error { return deny(from) }})
	side.returned(t, "a.csv", []byte("x"))
	s := session(t, side)
	f := waiting(t, s, outgoing)[0]
	for what, err := range map[string]error{
		"fetch":   s.Fetch(t.Context(), outgoing, f, (&shelf{}).open),
		"discard": s.Discard(t.Context(), outgoing, f.Name),
		"move":    s.SetAside(t.Context(), outgoing, f.Name, outgoing+"/"+done),
	} {
		wantClass(t, err, BureauLasting, os.ErrPermission)
		if !strings.Contains(err.Error(), "ask the bureau for the right") {
			t.Errorf("%s: %v", what, err)
		}
	}
}

// No name leads out of the folder.
func TestPickUpRefusesNamesThatAreNone(t *testing.T) {
	onEachWay(t, func(t *testing.T, p *pickUpPoint) {
		p.put(t, "done/a.csv", []byte("x"))
		for _, name := range []string{"", ".", "..", "done/a.csv", "../x", "/etc/passwd", "a\nb", "a\x00b", strings.Repeat("x", 256)} {
			for what, err := range map[string]error{
				"fetch":   p.Fetch(t.Context(), p.dir, RemoteFile{Name: name, Size: 1}, (&shelf{}).open),
				"discard": p.Discard(t.Context(), p.dir, name),
				"move":    p.SetAside(t.Context(), p.dir, name, p.dir+"/"+done),
			} {
				if err == nil || ClassOf(err) != Ours {
					t.Errorf("%s %q: %v", what, name, err)
				}
			}
		}
	})
}

func TestNumberedKeepsTheExtension(t *testing.T) {
	for name, want := range map[string]string{"a": "a-2", "a.csv": "a-2.csv", "a.csv.pgp": "a-2.csv.pgp", ".hidden": ".hidden-2", ".h.csv": ".h-2.csv", "...": "...-2"} {
		if got := numbered(name, 2); got != want {
			t.Errorf("%s became %s", name, got)
		}
	}
}
