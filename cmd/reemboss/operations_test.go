package main

import (
	"context"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"

	"reemboss/batch"
	"reemboss/batch/durable"
)

// An operation is one step by which a process changes something outside itself or learns of it: a call of the disk, a
// commit of the ledger (before it and after it), a packet to or from a bureau. The program under test counts them:
//
//	REEMBOSS_OPERATIONS=file  names each in the file, a line each, when the program ends
//	REEMBOSS_KILL_OP=number   ends the process with SIGKILL before that one, counted from 1
//	REEMBOSS_DIAL=a=b,c=d     dials the address b for the bureau at a
type operations struct {
	mu     sync.Mutex
	kill   int
	names  []string
	dialed map[string]string
}

// seams gives the program what the environment asks for, and what to do when it ends.
func seams() (o batch.Options, end func() error) {
	o.Checkpoint = checkpoint()
	list, kill, dial := os.Getenv("REEMBOSS_OPERATIONS"), os.Getenv("REEMBOSS_KILL_OP"), os.Getenv("REEMBOSS_DIAL")
	if list+kill+dial == "" {
		return o, func() error { return nil }
	}
	ops := &operations{dialed: map[string]string{}}
	ops.kill, _ = strconv.Atoi(kill)
	for pair := range strings.SplitSeq(dial, ",") {
		name, address, _ := strings.Cut(pair, "=")
		ops.dialed[name] = address
	}
	o.Disk = countedDisk{durable.Machine{}, ops}
	o.Ledger.Commit = func(durable bool) {
		if durable {
			ops.next("committed")
		} else {
			ops.next("commit")
		}
	}
	o.Dial = ops.dial
	return o, func() error {
		if list == "" {
			return nil
		}
		ops.mu.Lock()
		defer ops.mu.Unlock()
		return os.WriteFile(list, []byte(strings.Join(ops.names, "\n")+"\n"), 0o600)
	}
}

// next counts an operation that is about to be done; the process may end here.
func (o *operations) next(format string, args ...any) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.names = append(o.names, fmt.Sprintf(format, args...))
	if len(o.names) == o.kill {
		_ = syscall.Kill(os.Getpid(), syscall.SIGKILL)
		select {} // until the signal is there
	}
}

func (o *operations) dial(ctx context.Context, network, address string) (net.Conn, error) {
	o.next("dial %s", address)
	if other, known := o.dialed[address]; known {
		address = other
	}
	conn, err := new(net.Dialer).DialContext(ctx, network, address)
	if err != nil {
		return nil, err
	}
	return countedConn{conn, o}, nil
}

// countedConn counts each packet; one that was answered is counted when it is here.
type countedConn struct {
	net.Conn
	ops *operations
}

func (c countedConn) Write(p []byte) (int, error) {
	c.ops.next("send")
	return c.Conn.Write(p)
}

func (c countedConn) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	if n > 0 {
		c.ops.next("receive")
	}
	return n, err
}

// countedDisk counts each step.
type countedDisk struct {
	durable.Disk
	ops *operations
}

func (d countedDisk) CreateTemp(folder, prefix string) (durable.File, error) {
	d.ops.next("create in %s", filepath.Base(folder))
	f, err := d.Disk.CreateTemp(folder, prefix)
	if err != nil {
		return nil, err
	}
	return countedFile{f, d.ops}, nil
}

func (d countedDisk) Rename(from, to string) error {
	d.ops.next("rename to %s", filepath.Base(to))
	return d.Disk.Rename(from, to)
}

func (d countedDisk) Link(from, to string) error {
	d.ops.next("link to %s", filepath.Base(to))
	return d.Disk.Link(from, to)
}

func (d countedDisk) RenameNew(from, to string) error {
	d.ops.next("rename to the new %s", filepath.Base(to))
	return d.Disk.RenameNew(from, to)
}

func (d countedDisk) Remove(path string) error {
	d.ops.next("remove %s", filepath.Base(path))
	return d.Disk.Remove(path)
}

func (d countedDisk) RemoveIn(root *os.Root, path string) error {
	d.ops.next("remove %s", path)
	return d.Disk.RemoveIn(root, path)
}

func (d countedDisk) Mkdir(path string) error {
	d.ops.next("make folder %s", filepath.Base(path))
	return d.Disk.Mkdir(path)
}

func (d countedDisk) SyncFolder(path string) error {
	d.ops.next("sync folder %s", filepath.Base(path))
	return d.Disk.SyncFolder(path)
}

type countedFile struct {
	durable.File
	ops *operations
}

// Write may end in the middle: half of the bytes are there then.
func (f countedFile) Write(p []byte) (int, error) {
	f.ops.next("write")
	half := len(p) / 2
	n, err := f.File.Write(p[:half])
	if err != nil {
		return n, err
	}
	f.ops.next("write the rest")
	rest, err := f.File.Write(p[half:])
	return n + rest, err
}

func (f countedFile) Chmod(mode fs.FileMode) error {
	f.ops.next("change mode")
	return f.File.Chmod(mode)
}

func (f countedFile) Sync() error {
	f.ops.next("sync")
	return f.File.Sync()
}

func (f countedFile) Close() error {
	f.ops.next("close")
	return f.File.Close()
}
