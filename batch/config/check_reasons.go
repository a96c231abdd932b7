package config

import (
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// Card types that exist; config's embossed_card_types says which have a plastic.
var cardTypes = []string{"PLASTIC", "RECURRING", "TEMPORARY", "VIRTUAL"}

// Known gives every status of the table, class by class.
func (s Statuses) Known() []string {
	return slices.Concat(s.Initial, s.Active, s.Temporary, s.Terminal)
}

// IsTerminal says that a card in this status never becomes active or temporary again.
func (s Statuses) IsTerminal(status string) bool { return slices.Contains(s.Terminal, status) }

// Resolve gives the status that an alias stands for (CANCELLED: CANCELED), upper case.
func (s Statuses) Resolve(status string) string {
	status = strings.ToUpper(strings.TrimSpace(status))
	if known, ok := s.Aliases[status]; ok {
		return known
	}
	return status
}

var statusForm = regexp.MustCompile(`^[A-Z][A-Z0-9_]{0,29}$`)

func (c *checker) statuses() {
	s := c.Statuses
	owners := map[string]string{}
	for _, class := range []struct {
		name string
		list []string
	}{{"initial", s.Initial}, {"active", s.Active}, {"temporary", s.Temporary}, {"terminal", s.Terminal}} {
		for i, status := range class.list {
			at := fmt.Sprintf("statuses.%s[%d]", class.name, i)
			if !c.form(at, status, statusForm, "a status in capitals") {
				continue
			}
			if owner, twice := owners[status]; twice {
				c.wrong(at, "%s is already %s; a status has one class", status, owner)
			}
			owners[status] = class.name
		}
	}
	for alias, status := range s.Aliases {
		at := join("statuses.aliases", alias)
		if owner, exists := owners[alias]; exists {
			c.wrong(at, "%s is itself a status (%s); it cannot stand for another one", alias, owner)
		}
		c.status(at, status)
	}
	for before, after := range s.KeptBecomes {
		at := join("statuses.kept_becomes", before)
		c.status(at, before)
		if c.status(at, after) && s.IsTerminal(before) && !slices.Contains(s.Initial, after) {
			c.wrong(at, "%s is terminal and never becomes %s; it may only begin again, as one of %s", before, after, strings.Join(s.Initial, ", "))
		}
	}
	c.statusList("reemboss_statuses", c.ReembossStatuses)
	for i, status := range c.ReembossStatuses {
		if s.IsTerminal(status) {
			c.wrong(fmt.Sprintf("reemboss_statuses[%d]", i), "%s is terminal; such a card is not made again", status)
		}
	}
	c.cardTypes()
}

func (c *checker) cardTypes() {
	const path = "embossed_card_types"
	c.some(path, len(c.EmbossedCardTypes), "the card types that have a plastic, such as [PLASTIC]")
	for i, t := range c.EmbossedCardTypes {
		c.oneOf(fmt.Sprintf("%s[%d]", path, i), t, "card type", cardTypes...)
	}
	c.twice(path, c.EmbossedCardTypes)
}

// status notes one that the status table does not know.
func (c *checker) status(path, status string) bool {
	if c.brokenBelow("statuses") || c.malformed("statuses") {
		return false
	}
	return c.oneOf(path, status, "status", c.Statuses.Known()...)
}

func (c *checker) statusList(path string, list []string) {
	c.some(path, len(list), "the card statuses that are accepted")
	for i, status := range list {
		c.status(fmt.Sprintf("%s[%d]", path, i), status)
	}
	c.twice(path, list)
}

// newNumber is the reissue type that gives a new number; the others keep it.
const newNumber = 3

var amount = regexp.MustCompile(`^[0-9]{1,9}(\.[0-9]{1,4})?$`)

func (c *checker) reasons() {
	c.some("reasons", len(c.Reasons), "the reasons for a reissue")
	for _, code := range slices.Sorted(maps.Keys(c.Reasons)) {
		r, path := c.Reasons[code], join("reasons", strconv.Itoa(code))
		if code < 1 || code > 99 {
			c.wrong(path, "the reason code %d is out of range; number reasons from 1 to 99", code)
		}
		c.need(join(path, "name"), r.Name, "the reason in words")
		c.form(join(path, "fee"), r.Fee, amount, "an amount such as 0.00 or 12.50")
		c.reasonTypes(path, r)
		c.statusList(join(path, "statuses"), r.Statuses)
		c.reasonStatuses(path, r)
	}
}

// reasonTypes holds that the reason decides the number: type 3 gives a new
// one, 1 and 2 keep it. A table that says otherwise would print a stolen number again.
func (c *checker) reasonTypes(path string, r Reason) {
	at := join(path, "types")
	c.some(at, len(r.Types), "the reissue types that fit, of 1, 2 and 3")
	for i, t := range r.Types {
		element := fmt.Sprintf("%s[%d]", at, i)
		switch {
		case t < 1 || t > newNumber:
			c.wrong(element, "%d is no reissue type; known are 1, 2 (same number) and 3 (new number)", t)
		case r.NewPAN && t != newNumber:
			c.wrong(element, "type %d keeps the number, but new_pan is true; write types: [3], or new_pan: false", t)
		case !r.NewPAN && t == newNumber:
			c.wrong(element, "type 3 gives a new number, but new_pan is false; take 3 out, or write new_pan: true")
		case slices.Index(r.Types, t) < i:
			c.wrong(element, "%d stands in the list twice; take one out", t)
		}
	}
	if len(r.Types) > 0 && !slices.Contains(r.Types, r.DefaultType) {
		if !c.written(join(path, "default_type")) {
			c.wrong(join(path, "default_type"), "is missing; write the type that a blank one means, one of %s", numbers(r.Types))
		} else {
			c.wrong(join(path, "default_type"), "%d is not among types; write one of %s", r.DefaultType, numbers(r.Types))
		}
	}
}

func (c *checker) reasonStatuses(path string, r Reason) {
	if r.OldStatus != "" {
		at := join(path, "old_status")
		if c.status(at, r.OldStatus) && !r.NewPAN {
			c.wrong(at, "the number is kept (new_pan: false), so there is no old card; take old_status out")
		}
	}
	if r.NewPAN {
		return
	}
	for i, status := range r.Statuses {
		if _, begins := c.Statuses.KeptBecomes[status]; c.Statuses.IsTerminal(status) && !begins {
			c.wrong(fmt.Sprintf("%s.statuses[%d]", path, i), "%s is terminal and the number is kept; take it out, or let statuses.kept_becomes say what it becomes", status)
		}
	}
}

func numbers(list []int) string {
	words := make([]string, len(list))
	for i, n := range list {
		words[i] = strconv.Itoa(n)
	}
	return strings.Join(words, ", ")
}
