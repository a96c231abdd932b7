package config

import (
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"
	"time"
)

// This file checks who people are, which files wait for one of them, and who
// may release what. A file that nobody may release would wait for ever.

// EveryBureau stands in [Approves.Bureaus] for all of them.
const EveryBureau = "*"

// mostOfAFile is the greatest limit of cards of one file.
const mostOfAFile = 100_000_000

// loginName is a login of this machine, also one of a directory service.
var loginName = regexp.MustCompile(`^[A-Za-z0-9_][A-Za-z0-9_.@\\+-]{0,255}$`)

// Holds says that some of the bureau's files wait for a second person.
func (b Bureau) Holds() bool { return b.Approval.Always || b.Approval.Above > 0 }

// HoldsFile says that a file of so many cards waits for a second person.
func (b Bureau) HoldsFile(cards int64) bool {
	return b.Approval.Always || b.Approval.Above > 0 && cards > int64(b.Approval.Above)
}

// MayApprove says that the person may release a file of so many cards of the bureau.
func (p Person) MayApprove(bureau string, cards int64) bool {
	return p.approvesFor(bureau) && (p.Approves.MaxCards == 0 || cards <= int64(p.Approves.MaxCards))
}

func (p Person) approvesFor(bureau string) bool {
	return slices.Contains(p.Approves.Bureaus, bureau) || slices.Contains(p.Approves.Bureaus, EveryBureau)
}

func (c *checker) people() {
	logins := map[string]string{}
	for _, key := range slices.Sorted(maps.Keys(c.People)) {
		at, p := join("people", key), c.People[key]
		c.named(at, key, "a person")
		c.identity(at, p)
		c.onlyLogin(join(at, "login"), key, p.Login, logins)
		c.approves(join(at, "approves"), p)
	}
	c.span("approvals.valid_for", c.Approvals.ValidFor, time.Minute, 366*24*time.Hour)
}

// identity: a person is known by a login, by a key, or by both.
func (c *checker) identity(at string, p Person) {
	if p.Login != "" {
		c.form(join(at, "login"), p.Login, loginName, "the login on this machine, such as anna")
	}
	switch {
	case p.KeyFile != "":
		c.fingerprint(join(at, "fingerprint"), p.Fingerprint)
	case p.Fingerprint != "":
		c.wrong(join(at, "key_file"), "is missing, but there is a fingerprint; write the file of the PGP public key, such as keys/people/anna.asc")
	case p.Login == "":
		c.wrong(at, "has neither login nor key_file, so nobody can tell who it is; write one of them")
	}
}

// onlyLogin: a login that two people share proves neither of them.
func (c *checker) onlyLogin(at, key, login string, owners map[string]string) {
	if login == "" {
		return
	}
	login = strings.ToLower(login)
	if other, taken := owners[login]; taken {
		c.wrong(at, "is the login of %s too; nobody could tell which of the two approves: give each person a login of their own", other)
		return
	}
	owners[login] = key
}

func (c *checker) approves(at string, p Person) {
	a := p.Approves
	c.within(join(at, "max_cards"), int64(a.MaxCards), 0, mostOfAFile, "the most cards of one file (0: no limit)")
	if len(a.Bureaus) == 0 {
		if c.written(at) {
			c.wrong(join(at, "bureaus"), "has no entry, so the person may release nothing; write bureaus, such as [alpha], or [\"*\"] for every one, or take approves out")
		}
		return
	}
	list := join(at, "bureaus")
	c.twice(list, a.Bureaus)
	for i, bureau := range a.Bureaus {
		path := fmt.Sprintf("%s[%d]", list, i)
		switch {
		case bureau == EveryBureau:
		case slices.Contains(a.Bureaus, EveryBureau):
			c.wrong(path, "stands beside \"*\", which is every bureau; take one of the two out")
		default:
			refers(c, path, bureau, "bureau", "bureaus", c.Bureaus)
		}
	}
}

// approval: what is demanded can happen, and somebody may release what is held.
func (c *checker) approval(at, bureau string, b Bureau) {
	a := b.Approval
	fits := c.within(join(at, "above"), int64(a.Above), 0, mostOfAFile, "the cards above which a file waits for a second person (0: no threshold)")
	switch {
	case !fits || !b.Holds() || c.malformed("people") || c.brokenBelow("people"):
		return
	case a.Always && a.Above > 0:
		c.wrong(join(at, "above"), "says nothing beside always: true; take one of the two out")
		return
	case !a.Always && b.MaxRecords > 0 && b.MaxRecords <= a.Above:
		c.wrong(join(at, "above"), "%d is never passed, since max_records lets no file have more than %d cards; write less, or always: true", a.Above, b.MaxRecords)
		return
	}
	least, any := int64(a.Above)+1, false // of the smallest file that is held
	for _, p := range c.People {
		if p.MayApprove(bureau, least) {
			return
		}
		any = any || p.approvesFor(bureau)
	}
	if any {
		c.wrong(at, "holds files of %d cards and more, and nobody of people may approve one that large; raise somebody's approves.max_cards", least)
		return
	}
	c.wrong(at, "holds files until somebody approves them, and nobody of people may; write approves: {bureaus: [%s]} for a person", bureau)
}
