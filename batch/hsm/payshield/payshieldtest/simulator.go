// Package payshieldtest is a payShield hardware security module for tests: it
// speaks the host commands NC, BU, CW, CY, JA, DG, JG and QK over any connection,
// with keys under the public test LMK, and can be told to misbehave.
//
// It shares no code with the client in package payshield. Its cryptography is
// proven by published vectors, in this package's tests. It keeps nothing secret
// and must never serve real cards.
package payshieldtest

import (
	"bufio"
	"crypto/tls"
	"encoding/binary"
	"io"
	"net"
	"sync"
	"time"
)

// Simulator is a module. Set its fields before it serves; the zero values are a
// module that behaves.
type Simulator struct {
	HeaderLength int             // characters of the message header; 0: 4
	PINLength    int             // characters of a PIN under the LMK, 5 to 13; 0: 5
	Check        string          // LMK check value to show; "": [LMKCheck]
	Latency      time.Duration   // from a command to its reply
	Disabled     map[string]bool // commands that are refused with error code 68

	// Misbehave is asked once for each command and may be nil. It is called
	// from several goroutines.
	Misbehave func(Command) Fault

	mu        sync.Mutex
	blocks    map[string][]byte
	commands  map[string]int
	number    int
	listeners []net.Listener
	conns     map[net.Conn]bool
	closed    bool
	running   sync.WaitGroup
}

// Command is one that arrived.
type Command struct {
	Number int    // from 0, in the order of arrival, over all connections
	Code   string // two characters
}

// Fault is how to answer a command.
type Fault struct {
	Kind  Kind
	Delay time.Duration // of the reply, besides the latency; unequal ones change the order
	Code  string        // the error code of [Refuse]
}

// Kind is a way to misbehave.
type Kind int

// Ways to misbehave. The zero value is none.
const (
	None     Kind = iota
	Drop          // no reply
	Hang          // no reply to this nor to any later command of the connection
	Refuse        // an error code
	Garble        // a byte of the reply is changed into one that is no text
	Short         // the last character is missing, the length says so
	Long          // a character more, the length says so
	Cut           // the connection is closed in the middle of the reply's frame
	Stranger      // the header is one that nobody sent
	Twice         // the reply comes twice
	Other         // the reply says that it answers another command
	Unasked       // a reply to nothing goes before
	Lie           // a card verification value or PVV is another, in all form a good reply
)

// New makes a module that behaves.
func New() *Simulator {
	return &Simulator{blocks: map[string][]byte{}, commands: map[string]int{}, conns: map[net.Conn]bool{}}
}

// LieOneIn lies in every n-th card verification value.
func LieOneIn(n int) func(Command) Fault {
	var mu sync.Mutex
	made := 0
	return func(c Command) Fault {
		if c.Code != "CW" {
			return Fault{}
		}
		mu.Lock()
		defer mu.Unlock()
		if made++; made%n == 0 {
			return Fault{Kind: Lie}
		}
		return Fault{}
	}
}

// Listen serves TCP, or TLS where settings are given, on a free port of the loopback address.
func (s *Simulator) Listen(settings *tls.Config) (address string, err error) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	if settings != nil {
		listener = tls.NewListener(listener, settings)
	}
	s.mu.Lock()
	s.listeners = append(s.listeners, listener)
	s.mu.Unlock()
	s.running.Go(func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			s.running.Go(func() { s.serve(conn) })
		}
	})
	return listener.Addr().String(), nil
}

// Pipe gives the client's end of a connection in memory.
func (s *Simulator) Pipe() net.Conn {
	ours, theirs := net.Pipe()
	s.running.Go(func() { s.serve(ours) })
	return theirs
}

// Commands counts what arrived, by command.
func (s *Simulator) Commands() map[string]int {
	s.mu.Lock()
	defer s.mu.Unlock()
	counts := map[string]int{}
	for code, n := range s.commands {
		counts[code] = n
	}
	return counts
}

// Connections counts those that are open.
func (s *Simulator) Connections() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.conns)
}

// DropConnections cuts all that are open.
func (s *Simulator) DropConnections() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for conn := range s.conns {
		_ = conn.Close()
	}
}

// Close ends listening and all connections and waits for their goroutines.
func (s *Simulator) Close() {
	s.mu.Lock()
	s.closed = true
	for _, l := range s.listeners {
		_ = l.Close()
	}
	s.mu.Unlock()
	s.DropConnections()
	s.running.Wait()
}

// sending is a frame on its way out.
type sending struct {
	frame []byte
	cut   bool // close the connection in its middle
}

// session is one connection.
type session struct {
	sim  *Simulator
	conn net.Conn
	out  chan sending
	over chan struct{} // closed when the reader is done
	mute chan struct{} // closed when the writer is done
}

func (s *Simulator) serve(conn net.Conn) {
	s.mu.Lock()
	if s.closed {
		s.mu.Unlock()
		_ = conn.Close()
		return
	}
	s.conns[conn] = true
	s.mu.Unlock()
	n := &session{sim: s, conn: conn, out: make(chan sending, 64), over: make(chan struct{}), mute: make(chan struct{})}
	go n.write()
	n.read()
	close(n.over)
	_ = conn.Close()
	<-n.mute
	s.mu.Lock()
	delete(s.conns, conn)
	s.mu.Unlock()
}

func (n *session) read() {
	in := bufio.NewReader(n.conn)
	hung := false
	for {
		var length [2]byte
		if _, err := io.ReadFull(in, length[:]); err != nil {
			return
		}
		frame := make([]byte, binary.BigEndian.Uint16(length[:]))
		if _, err := io.ReadFull(in, frame); err != nil {
			return
		}
		fault := n.sim.received(frame)
		if hung = hung || fault.Kind == Hang; !hung {
			n.reply(frame, fault)
		}
	}
}

func (s *Simulator) headerLength() int {
	if s.HeaderLength != 0 {
		return s.HeaderLength
	}
	return 4
}

// received counts a command and asks how to answer it.
func (s *Simulator) received(frame []byte) Fault {
	code := "??"
	if at := s.headerLength(); len(frame) >= at+2 {
		code = string(frame[at : at+2])
	}
	s.mu.Lock()
	s.commands[code]++
	c := Command{Number: s.number, Code: code}
	s.number++
	s.mu.Unlock()
	if s.Misbehave == nil {
		return Fault{}
	}
	return s.Misbehave(c)
}

// Reply carries out one command: a frame without its length in, the reply's out.
func (s *Simulator) Reply(frame []byte) []byte {
	at := s.headerLength()
	if len(frame) < at+2 {
		return append(append([]byte(nil), frame...), badInput...)
	}
	command := string(frame[at : at+2])
	code, fields := s.answer(command, string(frame[at+2:]))
	return []byte(string(frame[:at]) + command[:1] + string(command[1]+1) + code + fields)
}

func (n *session) reply(frame []byte, fault Fault) {
	if fault.Kind == Drop {
		return
	}
	reply := n.sim.Reply(frame)
	if fault.Kind == Unasked {
		n.after(0, sending{frame: framed(stranger(reply, n.sim.headerLength()))})
	}
	out := sending{frame: framed(n.sim.spoil(reply, fault)), cut: fault.Kind == Cut}
	delay := n.sim.Latency + fault.Delay
	n.after(delay, out)
	if fault.Kind == Twice {
		n.after(delay, out)
	}
}

// after sends later, unless the connection is over by then.
func (n *session) after(delay time.Duration, out sending) {
	send := func() {
		select {
		case n.out <- out:
		case <-n.over:
		case <-n.mute:
		}
	}
	if delay == 0 {
		send()
		return
	}
	time.AfterFunc(delay, send)
}

func (n *session) write() {
	defer close(n.mute)
	out := bufio.NewWriter(n.conn)
	for {
		select {
		case next := <-n.out:
			if !n.put(out, next) {
				return
			}
		case <-n.over:
			return
		}
	}
}

// put writes a frame and flushes when no other waits.
func (n *session) put(out *bufio.Writer, next sending) bool {
	frame := next.frame
	if next.cut {
		frame = frame[:len(frame)/2]
	}
	_, err := out.Write(frame)
	if err == nil && (next.cut || len(n.out) == 0) {
		err = out.Flush()
	}
	if err != nil || next.cut {
		_ = n.conn.Close() // the reader ends too
		return false
	}
	return true
}

func framed(reply []byte) []byte {
	return append(binary.BigEndian.AppendUint16(nil, uint16(len(reply))), reply...)
}

// spoil changes a reply as the fault says.
func (s *Simulator) spoil(reply []byte, fault Fault) []byte {
	at := s.headerLength()
	switch fault.Kind {
	case Refuse:
		return append(reply[:at+2:at+2], fault.Code...)
	case Garble:
		reply[s.roll(len(reply))] ^= 0x80
	case Short:
		return reply[:len(reply)-1]
	case Long:
		return append(reply, '0')
	case Stranger:
		return stranger(reply, at)
	case Other:
		reply[at] = 'A' + (reply[at]-'A'+1)%26
	case Lie:
		if last := len(reply) - 1; last >= at+4 && reply[last] >= '0' && reply[last] <= '9' {
			reply[last] = '0' + (reply[last]-'0'+1)%10
		}
	}
	return reply
}

// stranger changes one character of the header: the client's headers have a
// check character, so that it is none of theirs.
func stranger(reply []byte, headerLength int) []byte {
	changed := append([]byte(nil), reply...)
	if last := headerLength - 1; changed[last] == '7' {
		changed[last] = '8'
	} else {
		changed[last] = '7'
	}
	return changed
}

// roll picks a place without chance: another one each time.
func (s *Simulator) roll(n int) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return (s.number * 7) % n
}
