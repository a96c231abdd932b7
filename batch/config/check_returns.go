package config

import (
	"errors"
	"fmt"
	"math"
	"path"
	"slices"
	"strings"
	"time"

	"reemboss/formats/returns"
)

// This file checks what is said of a bureau's answers: how soon they come,
// where and in which shape, and how a simulated bureau gives them.

// longestSLA is the most working days in which a bureau can promise something.
const longestSLA = 250

func (c *checker) sla(at string, b Bureau) {
	for _, promise := range []struct {
		key, meaning string
		days         int
	}{
		{"acknowledge", "the bureau's working days until a file is acknowledged", b.SLA.Acknowledge},
		{"ship", "the bureau's working days until a card is shipped", b.SLA.Ship},
		{"close", "the bureau's working days until a card is delivered, returned or lost", b.SLA.Close},
	} {
		c.within(join(at, promise.key), int64(promise.days), 0, longestSLA, promise.meaning+" (0: not watched)")
	}
	if b.SLA.Close > 0 && b.SLA.Close < b.SLA.Ship {
		c.wrong(join(at, "close"), "%d is before ship, %d; a card ends after it was shipped: write at least %d, or 0 for not watched", b.SLA.Close, b.SLA.Ship, b.SLA.Ship)
	}
}

// returns checks where a bureau's return files are and how they are read.
func (c *checker) returns(at string, b Bureau) {
	r := b.Returns
	if r.Dir == "" {
		c.returnsUnused(at, b)
		return
	}
	c.returnsDir(at, b)
	c.namePatterns(join(at, "pattern"), r.Pattern)
	c.afterReturn(at, r)
	c.returnSigner(join(at, "signer"), r.Signer)
	c.mapping(join(at, "mapping"), r.Mapping)
}

// returnsUnused: without a folder nothing is fetched, so nothing else may count on it.
func (c *checker) returnsUnused(at string, b Bureau) {
	if b.Acknowledges {
		c.wrong(join(parent(at), "acknowledges"), "is true, but returns.dir is empty and nothing is fetched: every file would be overdue; write the bureau's folder there, or acknowledges: false")
	}
	for _, key := range []string{"pattern", "after", "move_to", "sealed", "signer", "mapping"} {
		if c.written(join(at, key)) {
			c.wrong(join(at, "dir"), "is missing, and without it nothing is fetched; write the folder of the bureau's return files, or take what else stands below returns out")
			return
		}
	}
}

// ownFolders are folders of the workspace in which no return file is looked for.
var ownFolders = []string{"inbox", "outbox", "done", "refused", "reports", "state", "keys"}

// returnsDir: a folder of the workspace must not be one that we fill ourselves.
func (c *checker) returnsDir(at string, b Bureau) {
	if b.Delivery.Method != Folder {
		return
	}
	folder := path.Clean(b.Returns.Dir)
	first, below, _ := strings.Cut(folder, "/")
	if slices.Contains(ownFolders, first) || first == "returns" && below != "" {
		c.wrong(join(at, "dir"), "%q is a folder of the workspace's own (with delivery.method: folder, dir is one of the workspace); name another one, such as from-bureau", b.Returns.Dir)
	}
}

func (c *checker) namePatterns(at, patterns string) {
	const meaning = "which names are return files, such as *.csv; several separated by a blank"
	if !c.need(at, strings.TrimSpace(patterns), meaning) {
		return
	}
	for pattern := range strings.FieldsSeq(patterns) {
		if strings.Contains(pattern, "/") {
			c.wrong(at, "%q holds a path separator; a pattern is of names, the folder stands in dir", pattern)
		} else if _, err := path.Match(pattern, ""); err != nil {
			c.wrong(at, "%q is no pattern; write %s (* for any text, ? for one character)", pattern, meaning)
		}
	}
}

func (c *checker) afterReturn(at string, r Returns) {
	if !c.oneOf(join(at, "after"), r.After, "end of a return file", LeaveReturn, RemoveReturn, MoveReturn) {
		return
	}
	switch moveTo := join(at, "move_to"); {
	case r.After != MoveReturn && r.MoveTo != "":
		c.wrong(moveTo, "means nothing while after is %s; write after: move, or take move_to out", r.After)
	case r.After == MoveReturn && c.need(moveTo, r.MoveTo, "the bureau's folder for return files that we have") && path.Clean(r.MoveTo) == path.Clean(r.Dir):
		c.wrong(moveTo, "%q is the folder that return files come from; name another one", r.MoveTo)
	}
}

func (c *checker) returnSigner(at string, s ReturnSigner) {
	if s.KeyFile == "" && s.Fingerprint == "" {
		return
	}
	c.need(join(at, "key_file"), s.KeyFile, "the file of the PGP public key that the bureau signs with; without a signer its pgp key counts")
	c.fingerprint(join(at, "fingerprint"), s.Fingerprint)
}

// mapping lets the reader of return files say what is wrong with a bureau's own shape.
func (c *checker) mapping(at string, d returns.Description) {
	if c.malformed(at) || c.brokenBelow(at) {
		return
	}
	for _, err := range returns.Mistakes(d) {
		var wrong *returns.DescriptionError
		if errors.As(err, &wrong) {
			c.wrong(join(at, wrong.Key), "%s", wrong.Problem)
		} else {
			c.wrong(at, "%v", err)
		}
	}
}

func (c *checker) simulation(at string, s Simulation) {
	c.within(join(at, "seed"), int64(s.Seed), 0, math.MaxInt32, "the seed of the answers")
	for _, share := range []struct {
		key, meaning string
		percent      int
	}{
		{"reject", "the share of cards that are rejected", s.Reject},
		{"return", "the share of cards whose mail comes back", s.Return},
		{"lose", "the share of cards that are lost", s.Lose},
		{"late", "the share of events told late", s.Late},
		{"twice", "the share of events told twice", s.Twice},
		{"refuse_files", "the share of files that are refused", s.RefuseFiles},
	} {
		c.within(join(at, share.key), int64(share.percent), 0, 100, share.meaning+" in percent")
	}
	if most := max(s.Reject, s.Return, s.Lose); most <= 100 && min(s.Reject, s.Return, s.Lose) >= 0 && s.Reject+s.Return+s.Lose > 100 {
		c.wrong(at, "reject, return and lose are %d percent together; a card has one end: write at most 100", s.Reject+s.Return+s.Lose)
	}
	c.within(join(at, "late_days"), int64(s.LateDays), 0, 365, "by how many days an event is told late at most")
	for _, step := range []struct {
		key  string
		time time.Duration
	}{{"ack_after", s.AckAfter}, {"produce_after", s.ProduceAfter}, {"ship_after", s.ShipAfter}, {"deliver_after", s.DeliverAfter}} {
		c.span(join(at, step.key), step.time, 0, 365*24*time.Hour)
	}
}

// span notes a duration outside its limits.
func (c *checker) span(at string, d, least, most time.Duration) {
	if d < least || d > most {
		c.wrong(at, "%s is out of range; write from %s to %s", d, inWords(least), inWords(most))
	}
}

// inWords is a duration as a person writes it: 1h, not 1h0m0s.
func inWords(d time.Duration) string {
	if d > 0 && d%time.Hour == 0 {
		return fmt.Sprintf("%dh", d/time.Hour)
	}
	return d.String()
}
