package config

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
)

// This file checks who submits request files and what each may ask for. An
// empty list permits nothing, so a list that is missing where another one is
// written is a mistake: somebody meant to permit something and did not.

// EveryProgram stands in [Submits.Programs] for all of them.
const EveryProgram = "*"

// Kinds of requests in [Submits.Requests].
const (
	RequestReemboss = "reemboss"
	RequestReissue  = "reissue"
)

// mostCards is the greatest limit of cards of one night.
const mostCards = 100_000_000

// Any says that the person may ask for something at all.
func (s Submits) Any() bool { return len(s.Requests) > 0 }

// signatures: a file that must be signed needs somebody who signs. A signature
// is too old once the same content is no duplicate any more, so with no such
// window none would ever be good.
func (c *checker) signatures() {
	const at = "intake.signatures"
	if !c.oneOf(at, c.Intake.Signatures, "rule for signatures", SignaturesOptional, SignaturesRequired) {
		return
	}
	submit := false
	for _, p := range c.People {
		submit = submit || p.Submits.Any()
	}
	if c.Intake.Signatures == SignaturesRequired && !submit && !c.malformed("people") && !c.brokenBelow("people") {
		c.wrong(at, "is required while nobody of people submits anything, so every request file would be refused; write submits for somebody, or optional")
	}
	if submit && c.Intake.DuplicateDays == 0 && c.written("intake.duplicate_days") {
		c.wrong("intake.duplicate_days", "is 0 while people sign request files; a signed file could then be sent a second time by anybody: write for how many days a signature counts, such as 90")
	}
}

func (c *checker) submits() {
	owners := map[string]string{}
	for _, key := range slices.Sorted(maps.Keys(c.People)) {
		at, p := join("people", key), c.People[key]
		c.onlyTheirs(join(at, "fingerprint"), key, p.Fingerprint, owners)
		if c.written(join(at, "submits")) && !c.malformed(join(at, "submits")) {
			c.submitsOf(at, p)
		}
	}
}

// onlyTheirs: a key that two people share proves neither of them.
func (c *checker) onlyTheirs(at, key, fingerprint string, owners map[string]string) {
	fingerprint = strings.ToUpper(fingerprint)
	if fingerprint == "" {
		return
	}
	if other, taken := owners[fingerprint]; taken {
		c.wrong(at, "is the key of %s too; a signature would not say which of the two signed: give each person a key of their own", other)
		return
	}
	owners[fingerprint] = key
}

func (c *checker) submitsOf(at string, p Person) {
	s, at := p.Submits, join(at, "submits")
	if s.Any() && p.KeyFile == "" {
		c.wrong(join(parent(at), "key_file"), "is missing, but the person submits request files, which are known by their signature; write the file of the PGP public key")
	}
	c.requests(join(at, "requests"), s)
	c.reasonsOf(join(at, "reasons"), s)
	c.programsOf(join(at, "programs"), s)
	c.within(join(at, "max_cards"), int64(s.MaxCards), 0, mostCards, "the most cards of one night (0: no limit)")
}

func (c *checker) requests(at string, s Submits) {
	c.twice(at, s.Requests)
	for i, kind := range s.Requests {
		c.oneOf(fmt.Sprintf("%s[%d]", at, i), kind, "kind of request", RequestReemboss, RequestReissue)
	}
	if len(s.Requests) == 0 {
		c.wrong(at, "has no entry, so the person may ask for nothing; write reemboss, reissue or both, or take submits out")
	}
}

func (c *checker) reasonsOf(at string, s Submits) {
	reissues := slices.Contains(s.Requests, RequestReissue)
	switch {
	case reissues && len(s.Reasons) == 0:
		c.wrong(at, "has no entry, so the person may ask for no reissue; write the reasons, such as [1, 2], or take reissue out of requests")
	case !reissues && len(s.Reasons) > 0 && len(s.Requests) > 0:
		c.wrong(at, "names reasons, but requests has no reissue; only reissues have a reason: add reissue, or take reasons out")
	}
	for i, reason := range s.Reasons {
		path := fmt.Sprintf("%s[%d]", at, i)
		if first := slices.Index(s.Reasons, reason); first < i {
			c.wrong(path, "%d stands in the list twice; take one out", reason)
			continue
		}
		refers(c, path, strconv.Itoa(reason), "reason", "reasons", c.Reasons)
	}
}

func (c *checker) programsOf(at string, s Submits) {
	if len(s.Programs) == 0 && s.Any() {
		c.wrong(at, "has no entry, so the person may ask for no card; write programs, such as [\"100\"], or [\"*\"] for every one")
		return
	}
	c.twice(at, s.Programs)
	every := slices.Index(s.Programs, EveryProgram)
	for i, program := range s.Programs {
		path := fmt.Sprintf("%s[%d]", at, i)
		switch {
		case program == EveryProgram:
		case every >= 0:
			c.wrong(path, "%q stands beside \"*\", which is every program; keep one of them", program)
		default:
			refers(c, path, program, "program", "programs", c.Programs)
		}
	}
}
