package bureau

import (
	"fmt"
	"strings"
	"time"
)

// Status words of an [Answer]. A line on a file has Received or Refused.
const (
	toldReceived  = "RECEIVED"
	toldRefused   = "REFUSED"
	toldRejected  = "REJECTED"
	toldProduced  = "PRODUCED"
	toldShipped   = "SHIPPED"
	toldDelivered = "DELIVERED"
	toldReturned  = "RETURNED"
	toldLost      = "LOST"
)

// Life says how a simulated bureau answers. Shares are in percent: of the
// cards, of the events (Late, Twice), of the files (RefuseFiles).
//
// What becomes of a file is a function of Seed, the file's name, how often it was
// delivered, the uids in it and the time it came; of nothing else. A file keeps the Life
// under which it was first answered. Each step
// happens exactly its delay after the one before. One line is told of the file:
// RECEIVED acknowledges every card of it, REFUSED none. A card of an accepted file is
// REJECTED instead of PRODUCED, or PRODUCED, SHIPPED and then DELIVERED, RETURNED or LOST.
type Life struct {
	Seed         int64
	Reject       int // cards rejected, with one of Codes
	Return       int // cards whose mail comes back
	Lose         int // cards lost on the way
	Late         int // events told up to LateDays after they happened
	LateDays     int
	Twice        int  // events told once more, in a later file
	RefuseFiles  int  // files refused as a whole when they come for the first time; a repetition of the same bytes is accepted
	Shuffle      bool // lines of a return file in no order
	AckAfter     time.Duration
	ProduceAfter time.Duration
	ShipAfter    time.Duration
	DeliverAfter time.Duration
	Acknowledges bool       // false: no RECEIVED line
	Codes        []LifeCode // of rejected cards; nil: what bureaus were seen to use
}

// LifeCode is a bureau's reason for a rejected card.
type LifeCode struct{ Code, Text string }

// seenCodes are used where a [Life] has none of its own.
var seenCodes = []LifeCode{
	{"012", "Unregistered plastic"},
	{"021", "Embossed name does not fit the plastic"},
	{"034", "Carrier not in stock"},
	{"047", "Address incomplete"},
}

// Codes of files that are refused as a whole.
var (
	refusedAtWill   = LifeCode{"F01", "Transmission failed the intake control; send the same file again"}
	refusedUnusable = LifeCode{"F02", "File cannot be used"}
)

// carriers with the two letters that begin and end their tracking numbers (the form of UPU S10).
var carriers = []struct{ name, from, to string }{{"Royal Mail", "RR", "GB"}, {"Deutsche Post", "RE", "DE"}, {"Post.at", "RA", "AT"}}

// NoCount is the Count of an [Answer] that brings none.
const NoCount = -1

// Answer is one line that a simulated bureau tells.
type Answer struct {
	File           bool   // of the whole file; else of the card UID
	FileName       string // the bureau file
	Sequence       int64  // its number; 0 for none
	UID            string
	Status         string
	Code           string
	Description    string
	Carrier        string
	TrackingNumber string
	Count          int64     // RECEIVED: cards; else NoCount
	At             time.Time // when it happened, UTC, whole seconds
}

// check finds what no life can be made of.
func (l Life) check() error {
	for _, share := range []struct {
		name string
		n    int
	}{{"reject", l.Reject}, {"return", l.Return}, {"lose", l.Lose}, {"return and lose", l.Return + l.Lose}, {"late", l.Late}, {"twice", l.Twice}, {"refuse_files", l.RefuseFiles}} {
		if share.n < 0 || share.n > 100 {
			return fmt.Errorf("the share %s is %d percent; shares are 0 to 100", share.name, share.n)
		}
	}
	if l.LateDays < 0 || min(l.AckAfter, l.ProduceAfter, l.ShipAfter, l.DeliverAfter) < 0 {
		return fmt.Errorf("a delay is negative")
	}
	return nil
}

// telling is an answer with the times at which it is told; again is zero where it is told once.
type telling struct {
	Answer
	first, again time.Time
}

// Repetitions come that long after the first telling.
const (
	soonestAgain = 12 * time.Hour
	latestAgain  = 60 * time.Hour
)

// over is the time after which nothing of a file that came at received is told.
func (l Life) over(received time.Time) time.Time {
	return received.Add(l.AckAfter + l.ProduceAfter + l.ShipAfter + l.DeliverAfter +
		time.Duration(l.LateDays)*24*time.Hour + latestAgain)
}

// refuses says whether the file is refused as a whole, and why.
func (l Life) refuses(f *lifeFile) (LifeCode, bool) {
	if f.Unusable != "" {
		return LifeCode{refusedUnusable.Code, refusedUnusable.Text + ": " + f.Unusable}, true
	}
	return refusedAtWill, f.Delivery == 1 && l.dice(f).percent(dieRefuse, 0, l.RefuseFiles)
}

// ofFile gives the lines on the file as a whole: none or one.
func (l Life) ofFile(f *lifeFile) []telling {
	a := Answer{File: true, FileName: f.Name, Sequence: f.Sequence, Count: NoCount, At: f.Received.Add(l.AckAfter)}
	if code, refused := l.refuses(f); refused {
		a.Status, a.Code, a.Description = toldRefused, code.Code, code.Text
	} else if l.Acknowledges {
		a.Status, a.Count = toldReceived, f.Cards
	} else {
		return nil
	}
	return []telling{l.told(a, l.dice(f), 0)}
}

// ofCard appends the lines on a card of an accepted file, in the order of what happened.
func (l Life) ofCard(dst []telling, f *lifeFile, uid string) []telling {
	d := l.dice(f).with(uid)
	a := Answer{FileName: f.Name, Sequence: f.Sequence, UID: uid, Count: NoCount, At: f.Received.Add(l.AckAfter + l.ProduceAfter)}
	if d.percent(dieReject, 0, l.Reject) {
		codes := l.Codes
		if len(codes) == 0 {
			codes = seenCodes
		}
		code := codes[d.roll(dieCode, 0)%uint64(len(codes))]
		a.Status, a.Code, a.Description = toldRejected, code.Code, code.Text
		return append(dst, l.told(a, d, 1))
	}
	a.Status = toldProduced
	dst = append(dst, l.told(a, d, 1))
	by := carriers[d.roll(dieCarrier, 0)%uint64(len(carriers))]
	a.Status, a.At = toldShipped, a.At.Add(l.ShipAfter)
	a.Carrier, a.TrackingNumber = by.name, fmt.Sprintf("%s%09d%s", by.from, d.roll(dieTracking, 0)%1e9, by.to)
	dst = append(dst, l.told(a, d, 2))
	a.Status, a.At = l.end(d), a.At.Add(l.DeliverAfter)
	return append(dst, l.told(a, d, 3))
}

func (l Life) end(d dice) string {
	switch {
	case d.percent(dieEnd, 0, l.Return):
		return toldReturned
	case d.percent(dieEnd, 0, l.Return+l.Lose):
		return toldLost
	}
	return toldDelivered
}

// told decides when a is told, and whether a second time.
func (l Life) told(a Answer, d dice, step uint64) telling {
	t := telling{Answer: a, first: a.At}
	if l.LateDays > 0 && d.percent(dieLate, step, l.Late) {
		most := uint64(l.LateDays) * 24 * 60 * 60
		t.first = t.first.Add(time.Duration(1+d.roll(dieLateBy, step)%most) * time.Second)
	}
	if d.percent(dieTwice, step, l.Twice) {
		seconds := uint64((latestAgain - soonestAgain) / time.Second)
		t.again = t.first.Add(soonestAgain + time.Duration(d.roll(dieTwiceBy, step)%seconds)*time.Second)
	}
	return t
}

// due says whether t is told in an answer that reaches until, of a file whose
// answers were told in two steps: until f.Before, then until f.Told. A repetition waits for a later file than the first telling.
func (t *telling) due(f *lifeFile, until time.Time) bool {
	within := func(at, after, until time.Time) bool { return at.After(after) && !at.After(until) }
	switch {
	case within(t.first, f.Told, until):
		return true
	case t.again.IsZero() || t.first.After(f.Told):
		return false
	case within(t.again, f.Told, until):
		return true
	}
	return !t.again.After(f.Told) && t.first.After(f.Before) // it was due together with the first
}

// dice are thrown for one file or card: the same question gets the same answer, always.
type dice uint64

// What dice are thrown for.
const (
	dieRefuse uint64 = iota + 1
	dieReject
	dieCode
	dieCarrier
	dieTracking
	dieEnd
	dieLate
	dieLateBy
	dieTwice
	dieTwiceBy
)

func (l Life) dice(f *lifeFile) dice {
	const offset = 14695981039346656037 // of FNV-1a
	return dice(offset).with(fmt.Sprintf("%d/%d/", l.Seed, f.Delivery)).with(f.Name).with("/")
}

// with mixes text in, by FNV-1a.
func (d dice) with(text string) dice {
	for i := range len(text) {
		d = (d ^ dice(text[i])) * 1099511628211
	}
	return d
}

// roll spreads dice, question and step over 64 bits (the finaliser of SplitMix64).
func (d dice) roll(question, step uint64) uint64 {
	z := uint64(d) + (question<<8|step)*0x9e3779b97f4a7c15
	z = (z ^ z>>30) * 0xbf58476d1ce4e5b9
	z = (z ^ z>>27) * 0x94d049bb133111eb
	return z ^ z>>31
}

func (d dice) percent(question, step uint64, share int) bool {
	return d.roll(question, step)%10_000 < uint64(share)*100
}

// plainReason is a cause as it may stand in a return file: one line, short,
// and no run of digits that a card number could be.
func plainReason(err error) string {
	line := strings.Map(func(c rune) rune {
		if c < ' ' || c == 0x7f {
			return ' '
		}
		return c
	}, err.Error())
	var b strings.Builder
	run := 0
	for _, c := range line {
		if c >= '0' && c <= '9' {
			if run++; run > 8 {
				c = '*'
			}
		} else {
			run = 0
		}
		if b.Len() > 300 {
			b.WriteString("…")
			break
		}
		b.WriteRune(c)
	}
	return b.String()
}
