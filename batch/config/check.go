package config

import (
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"

	"reemboss/formats/iso"
)

// checker looks at what the configuration means, after the decoder saw to its
// form. Each section has a method; each mistake names the path of the value.
type checker struct {
	*Config
	d         *decoder
	workspace string // "": files are not looked for
}

func (c *checker) all() {
	c.environment()
	c.intake()
	c.programs()
	c.products()
	c.ranges()
	c.newCardIDs()
	c.cardKeys()
	c.statuses()
	c.reasons()
	c.shipping()
	c.routing()
	c.bureaus()
	c.cardSystem()
	c.pins()
	c.retention()
	c.keys()
	c.submits()
	c.people()
	c.headers()
	c.words()
	c.postcodes()
	c.notify()
	c.events()
}

// wrong notes a mistake at path, unless its form was wrong already. A value
// that is not written down stands where its nearest written parent does.
func (c *checker) wrong(path, format string, args ...any) {
	if c.malformed(path) {
		return
	}
	where := position{1, 1}
	for p := path; p != ""; p = parent(p) {
		if stands, ok := c.d.places[p]; ok {
			where = stands.value
			if p != path {
				where = stands.key
			}
			break
		}
	}
	c.d.note(where, path, fmt.Sprintf(format, args...))
}

// malformed says that the decoder could not read the value at path or one above it.
func (c *checker) malformed(path string) bool {
	for p := path; p != ""; p = parent(p) {
		if c.d.failed[p] {
			return true
		}
	}
	return false
}

// written says whether the file itself holds path.
func (c *checker) written(path string) bool {
	_, ok := c.d.places[path]
	return ok
}

// parent is the path without its last key or index.
func parent(path string) string {
	return path[:max(0, strings.LastIndexAny(path, ".["))]
}

// need notes a value that is missing or empty; meaning says what belongs there.
func (c *checker) need(path, value, meaning string) bool {
	switch {
	case value != "":
		return true
	case c.written(path):
		c.wrong(path, "is empty; write %s", meaning)
	default:
		c.wrong(path, "is missing; write %s", meaning)
	}
	return false
}

// form notes a value that does not match a pattern.
func (c *checker) form(path, value string, pattern *regexp.Regexp, meaning string) bool {
	if !c.need(path, value, meaning) {
		return false
	}
	if !pattern.MatchString(value) {
		c.wrong(path, "%q does not fit; write %s", value, meaning)
		return false
	}
	return true
}

// within notes a number outside its limits.
func (c *checker) within(path string, value, lowest, highest int64, meaning string) bool {
	if value >= lowest && value <= highest {
		return true
	}
	if !c.written(path) {
		c.wrong(path, "is missing; write %s, from %d to %d", meaning, lowest, highest)
	} else {
		c.wrong(path, "%d is out of range; write %s, from %d to %d", value, meaning, lowest, highest)
	}
	return false
}

// oneOf notes a word that is not among the known ones.
func (c *checker) oneOf(path, value, what string, known ...string) bool {
	if !c.need(path, value, what+", one of "+strings.Join(known, ", ")) {
		return false
	}
	if !slices.Contains(known, value) {
		c.wrong(path, "%q is no %s; %s", value, what, hint(value, known))
		return false
	}
	return true
}

// refers notes a reference to an entry of a section that does not exist.
func refers[K comparable, V any](c *checker, path, value, what, section string, entries map[K]V) bool {
	known := make([]string, 0, len(entries))
	for key := range entries {
		known = append(known, fmt.Sprint(key))
	}
	if !c.need(path, value, fmt.Sprintf("%s, a key of %s", what, section)) || c.malformed(section) || slices.Contains(known, value) {
		return value != "" && slices.Contains(known, value)
	}
	// An entry that could not be read exists all the same.
	if c.written(join(section, value)) {
		return false
	}
	c.wrong(path, "%q is no %s of the section %s; %s", value, what, section, hint(value, known))
	return false
}

// some notes a section without an entry.
func (c *checker) some(path string, entries int, meaning string) {
	switch {
	case entries > 0 || c.malformed(path) || c.brokenBelow(path):
	case c.written(path):
		c.wrong(path, "has no entry; write %s", meaning)
	default:
		c.wrong(path, "is missing; write %s", meaning)
	}
}

// brokenBelow says that an entry of the section could not be read.
func (c *checker) brokenBelow(path string) bool {
	for failed := range c.d.failed {
		if strings.HasPrefix(failed, path+".") {
			return true
		}
	}
	return false
}

// twice notes equal elements of a list.
func (c *checker) twice(path string, list []string) {
	for i, e := range list {
		if first := slices.Index(list, e); first < i {
			c.wrong(fmt.Sprintf("%s[%d]", path, i), "%q stands in the list twice; take one out", e)
		}
	}
}

// zone notes a time zone that does not exist.
func (c *checker) zone(path, name string) {
	const meaning = "an IANA time zone, such as Europe/London or UTC"
	if !c.need(path, name, meaning) {
		return
	}
	if _, err := time.LoadLocation(name); err != nil || name == "Local" {
		c.wrong(path, "%q is no time zone; write %s", name, meaning)
	}
}

// exists notes a file that the check needs and the workspace has not.
func (c *checker) exists(path, file, what string) {
	if c.workspace == "" {
		return
	}
	full := file
	if !filepath.IsAbs(full) {
		full = filepath.Join(c.workspace, filepath.FromSlash(file))
	}
	if state, err := os.Stat(full); err != nil || state.IsDir() {
		c.wrong(path, "there is no file %q in the workspace; write %s", file, what)
	}
}

func (c *checker) environment() {
	c.oneOf("environment", c.Environment, "environment", Test, Production)
	c.zone("time_zone", c.TimeZone)
}

var marker = regexp.MustCompile(`^\.[A-Za-z0-9._-]{1,20}$`)

func (c *checker) intake() {
	in := c.Intake
	if in.StableFor > time.Hour {
		c.wrong("intake.stable_for", "%s is out of range; write at most 1h", in.StableFor)
	}
	if in.DoneMarker != "" {
		c.form("intake.done_marker", in.DoneMarker, marker, `the ending of a marker file, such as .done, or "" for none`)
	}
	c.within("intake.max_file_size", in.MaxFileSize, 1<<10, 1<<40, "the greatest size of a request file in bytes")
	c.within("intake.max_unpacked", in.MaxUnpacked, 1<<10, 1<<42, "the greatest unpacked size of a workbook in bytes")
	c.within("intake.max_rows", int64(in.MaxRows), 1, 100_000_000, "the greatest number of rows of a file")
	c.within("intake.max_field", int64(in.MaxField), 64, 1<<24, "the greatest length of a cell in bytes")
	c.within("intake.duplicate_days", int64(in.DuplicateDays), 0, 3650, "for how many days the same content is a duplicate")
	c.signatures()
}

// name is how entries are called: the name becomes part of paths and file names.
var name = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9_-]{0,39}$`)

func (c *checker) named(path, key, what string) {
	if !name.MatchString(key) {
		c.wrong(path, "%q cannot name %s; use 1 to 40 letters, digits, hyphens and underscores, beginning with a letter or digit", key, what)
	}
}

func (c *checker) programs() {
	c.some("programs", len(c.Programs), "at least one program, such as 100: {on_demand: true}")
}

// Working days as they are written.
var weekdays = map[string]time.Weekday{
	"mon": time.Monday, "tue": time.Tuesday, "wed": time.Wednesday, "thu": time.Thursday,
	"fri": time.Friday, "sat": time.Saturday, "sun": time.Sunday,
}

// Weekday reads a working day of the configuration (mon tue wed thu fri sat sun).
func Weekday(text string) (time.Weekday, bool) {
	day, ok := weekdays[text]
	return day, ok
}

func (c *checker) shipping() {
	const path = "shipping"
	c.some(path, len(c.Shipping), "the shipping methods, such as 1: {name: normal, working_days: 5}")
	for method, s := range c.Shipping {
		at := join(path, strconv.Itoa(method))
		if method < 1 || method > 99 {
			c.wrong(at, "the method %d is out of range; number methods from 1 to 99", method)
		}
		c.need(join(at, "name"), s.Name, "the method's name, such as normal")
		if c.written(join(at, "working_days")) || !c.written(path) {
			c.within(join(at, "working_days"), int64(s.WorkingDays), 0, 60, "working days until delivery")
		} else {
			c.wrong(join(at, "working_days"), "is missing; write working days until delivery, from 0 to 60")
		}
	}
	if _, ok := c.Shipping[1]; !ok && len(c.Shipping) > 0 && !c.brokenBelow(path) {
		c.wrong(path, "the method 1 is missing; it counts where a request names none")
	}
}

func (c *checker) routing() {
	for i, r := range c.Routing {
		at := fmt.Sprintf("routing[%d]", i)
		refers(c, join(at, "bureau"), r.Bureau, "bureau", "bureaus", c.Bureaus)
		if r.Program != "" {
			refers(c, join(at, "program"), r.Program, "program", "programs", c.Programs)
		}
		for j, earlier := range c.Routing[:i] {
			if covers(earlier.Program, r.Program) && covers(earlier.Group, r.Group) {
				c.wrong(at, "never counts: routing[%d] matches all that this one matches; put this one before it", j)
				break
			}
		}
	}
}

func covers(earlier, later string) bool { return earlier == "" || earlier == later }

func (c *checker) cardSystem() {
	c.recipient(CardSystem, "card_system", c.Config.CardSystem)
}

var variable = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_]*$`)

func (c *checker) keys() {
	c.keyEncryptionKey("keys.keyset_kek", c.Keys.Keyset)
	c.secret("keys.passphrase", c.Keys.Passphrase, false)
	c.need("keys.signing_key", c.Keys.SigningKey, "the file of our own PGP private key")
	c.fingerprint("keys.fingerprint", c.Keys.Fingerprint)
	c.formerKeys()
	c.ownEscrow()
}

func (c *checker) secret(path string, s SecretRef, required bool) {
	switch {
	case s.TokenKey != "":
		c.wrong(join(path, "token_key"), "is for keys.keyset_kek only; give this secret as file: or env:")
	case s.File != "" && s.Env != "":
		c.wrong(path, "names both a file and an environment variable; keep one of them")
	case s.File == "" && s.Env == "" && (required || c.written(path)):
		c.need(path, "", "file: with a path or env: with a variable's name below it")
	case s.Env != "" && !variable.MatchString(s.Env):
		// The value is not repeated: somebody may have written the secret itself.
		c.wrong(join(path, "env"), "is no name of an environment variable; write the variable's name, never the secret")
	}
}

func (c *checker) headers() {
	owners := map[string]string{}
	for _, column := range requestColumns {
		owners[Fold(column)] = column
	}
	for _, column := range slices.Sorted(maps.Keys(c.Headers)) {
		path := join("headers", column)
		if !slices.Contains(requestColumns, column) {
			c.wrong(path, "%q is no column of a request file; %s", column, hint(column, requestColumns))
			continue
		}
		for i, alias := range c.Headers[column] {
			owner, taken := owners[Fold(alias)]
			at := fmt.Sprintf("%s[%d]", path, i)
			switch {
			case Fold(alias) == "":
				c.wrong(at, "is empty; write a name that senders use for %s", column)
			case taken && owner != column:
				c.wrong(path, "%q already means %s; one name cannot mean two columns", alias, owner)
			}
			owners[Fold(alias)] = column
		}
	}
}

// requestColumns are the columns of a request file that mean something.
var requestColumns = []string{
	"card_id", "user_id", "reason_code", "reissue_type", "reference", "submitter", "shipping_method", "printed_name",
	"embossing_group", "address_line1", "address_line2", "address_line3", "address_line4", "city", "region", "postcode", "country",
}

// Fold brings names of columns and words to the one form in which they are
// compared: letters and digits only, lower case.
func Fold(text string) string {
	return strings.Map(func(r rune) rune {
		if unicode.IsLetter(r) || unicode.IsDigit(r) {
			return unicode.ToLower(r)
		}
		return -1
	}, text)
}

func (c *checker) words() {
	folded := map[string]string{}
	for _, word := range slices.Sorted(maps.Keys(c.ReasonWords)) {
		code, path := c.ReasonWords[word], join("reason_words", word)
		if Fold(word) == "" || strings.Trim(word, "0123456789") == "" {
			c.wrong(path, "is not a word; digits are reason codes themselves")
		}
		if other, twice := folded[Fold(word)]; twice && c.ReasonWords[other] != code {
			c.wrong(path, "means %d here and, written %q, %d; one word has one meaning", code, other, c.ReasonWords[other])
		}
		folded[Fold(word)] = word
		if !c.written(path) {
			continue // a built-in word for a reason that the table no longer has is never met
		}
		refers(c, path, strconv.Itoa(code), "reason", "reasons", c.Reasons)
	}
}

func (c *checker) postcodes() {
	for country, pattern := range c.Postcodes {
		path := join("postcodes", country)
		if code, _, _, ok := iso.Country(country); !ok || code != country {
			c.wrong(path, "%q is no country; write ISO 3166-1 alpha-2 in capitals, such as GB", country)
		}
		if _, err := regexp.Compile(pattern); err != nil {
			c.wrong(path, "is no regular expression: %v; the syntax is that of RE2", err)
		}
	}
}
