package config

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// example is the sample configuration with replacements made: old, new, old, new …
func example(t *testing.T, replacements ...string) string {
	t.Helper()
	text := string(Example(SampleValues))
	for i := 0; i < len(replacements); i += 2 {
		if !strings.Contains(text, replacements[i]) {
			t.Fatalf("the sample configuration has no %q", replacements[i])
		}
		text = strings.Replace(text, replacements[i], replacements[i+1], 1)
	}
	return text
}

func mistakesOf(t *testing.T, text string) Mistakes {
	t.Helper()
	_, err := Parse("config.yaml", []byte(text), "")
	if err == nil {
		return nil
	}
	var m Mistakes
	if !errors.As(err, &m) {
		t.Fatalf("the error is no Mistakes: %v", err)
	}
	return m
}

// change is one thing of the sample that is made wrong, with the one mistake expected.
type change struct {
	rule string
	old  string // of the sample
	new  string // instead
	at   string // text at whose beginning the mistake is; "" : new
	path string
	says string
}

// expectMistakes makes each change to text and expects exactly one mistake, where that change stands.
func expectMistakes(t *testing.T, changes []change, replacements ...string) {
	t.Helper()
	for _, c := range changes {
		t.Run(c.rule, func(t *testing.T) {
			text := example(t, append(replacements[:len(replacements):len(replacements)], c.old, c.new)...)
			mistakes := mistakesOf(t, text)
			if len(mistakes) != 1 {
				t.Fatalf("%d mistakes, want 1:\n%v", len(mistakes), mistakes)
			}
			m := mistakes[0]
			if m.Path != c.path || !strings.Contains(m.Message, c.says) {
				t.Errorf("got %s\nwant %s: … %s", m, c.path, c.says)
			}
			if strings.Contains(m.Message, "hunter") {
				t.Error("the mistake repeats the secret")
			}
			if line, column := stands(text, c.new, c.at); m.Line != line || m.Column != column {
				t.Errorf("the mistake is said to be at %d:%d, it is at %d:%d (%s)", m.Line, m.Column, line, column, m)
			}
		})
	}
}

// TestEachMistakeHasItsPlaceAndItsCure changes one thing of the sample and
// expects exactly one mistake, where that thing stands.
func TestEachMistakeHasItsPlaceAndItsCure(t *testing.T) {
	expectMistakes(t, []change{
		{"unknown key, near a known one", "hold: false", "hodl: false", "", "bureaus.alpha.hodl", `did you mean "hold"?`},
		{"unknown key, near nothing", "stable_for: 1s", "xyzzy: 1s", "", "intake.xyzzy", "known are done_marker, duplicate_days"},
		{"unknown section", "routing:", "rooting:", "", "rooting", `did you mean "routing"?`},
		{"a secret in the file", "keyset_kek: {file: keys/kek}", "keyset_kek: {file: keys/kek}\n  kek_secret: x", "kek_secret", "keys.kek_secret", "Secrets never stand in the configuration"},
		{"duplicate key", "hold: false", "hold: false\n    hold: true", "hold: true", "bureaus.alpha.hold", "a second time (first in line"},
		{"duplicate entry", "  200: {on_demand: false}", "  200: {on_demand: false}\n  200: {on_demand: true}", "200: {on_demand: true}", "programs.200", "a second time"},
		{"wrong type: bool", "any_order: false", "any_order: yes", "yes", "bureaus.alpha.any_order", "must be true or false, not text"},
		{"wrong type: number", "max_rows: 5000000", "max_rows: many", "many", "intake.max_rows", "must be a whole number, not text"},
		{"wrong type: fraction", "max_rows: 5000000", "max_rows: 1.5", "1.5", "intake.max_rows", "must be a whole number"},
		{"wrong type: octal", "max_rows: 5000000", "max_rows: 010", "010", "intake.max_rows", "without leading zeros"},
		{"wrong type: list", "embossed_card_types: [PLASTIC]", "embossed_card_types: PLASTIC", "PLASTIC\n", "embossed_card_types", "must be a list"},
		{"wrong type: text", "service_code: \"201\"", "service_code: true", "true\n    validity", "products.visa-classic.service_code", "put it in quotes"},
		{"wrong type: section", "new_card_ids:\n  from: 900000000000\n  to: 999999999999", "new_card_ids: 5", "5\n\n# Card verification", "new_card_ids", "must have keys below it"},
		{"no value", "cut_off: \"16:00\" ", "cut_off: ", "         # local; from then", "bureaus.alpha.cut_off", "has no value"},
		{"duration without unit", "stable_for: 1s", "stable_for: 1", "1 ", "intake.stable_for", "with its unit"},
		{"duration below zero", "stable_for: 1s", "stable_for: -1s", "-1s", "intake.stable_for", "is not a duration"},
		{"size with an unknown unit", "512MiB", "512MegaByte", "", "intake.max_file_size", "such as 100MiB"},
		{"size beyond everything", "512MiB", "999999999999GiB", "", "intake.max_file_size", "pebibyte"},
		{"anchor", "client: reemboss", "client: &us reemboss", "&us", "bureaus.alpha.client", "anchors"},
		{"key that is no number", "  1: {name: normal, working_days: 5}", "  one: {name: normal, working_days: 5}\n  1: {name: normal, working_days: 5}", "one:", "shipping.one", "must be a whole number"},
		{"environment", "environment: test", "environment: prod", "prod ", "environment", "known are production, test"},
		{"environment missing", "environment: test ", "# ", "# The configuration", "environment", "is missing"},
		{"time zone", "time_zone: Europe/London     #", "time_zone: Europe/Lundon     #", "Europe/Lundon", "time_zone", "IANA"},
		{"time zone of the machine", "time_zone: Europe/London     #", "time_zone: Local #", "Local", "time_zone", "IANA"},
		{"marker", "done_marker: \"\"", "done_marker: done", "done ", "intake.done_marker", "such as .done"},
		{"bureau of a product", "bureau: alpha            #", "bureau: gamma #", "gamma", "products.visa-classic.bureau", "known are alpha, beta"},
		{"bureau of a product, near", "bureau: alpha            #", "bureau: alfa #", "alfa", "products.visa-classic.bureau", `did you mean "alpha"?`},
		{"bureau of a route", "group: vip, bureau: alpha", "group: vip, bureau: omega", "omega", "routing[0].bureau", "is no bureau of the section bureaus"},
		{"program of a route", `program: "200", group`, `program: "300", group`, `"300"`, "routing[0].program", "known are 100, 200"},
		{"route never reached", "bureau: alpha}", "bureau: alpha}\n  - {program: \"200\", group: vip, bureau: beta}", "{program: \"200\", group: vip, bureau: beta", "routing[1]", "routing[0] matches all"},
		{"range of a product", "range: visa-new", "range: visa-old", "visa-old", "products.visa-classic.range", "known are mastercard-new, visa-new"},
		{"range of another prefix", "range: visa-new", "range: mastercard-new", "mastercard-new ", "products.visa-classic.range", "begin with 555555"},
		{"card key of a product", "cvv2: {key: cvk-visa,", "cvv2: {key: cvk-visum,", "cvk-visum", "products.visa-classic.cvv.cvv2.key", `did you mean "cvk-visa"?`},
		{"card key missing", "icvv: {key: cvk-visa, order: YYMM}", "icvv: {order: YYMM}", "icvv: {order", "products.visa-classic.cvv.icvv.key", "is missing"},
		{"order of the expiry", "cvv2: {key: cvk-visa, order: YYMM}", "cvv2: {key: cvk-visa, order: YMYM}", "YMYM", "products.visa-classic.cvv.cvv2.order", "YYMM"},
		{"prefix", "prefix: \"411111\"         #", "prefix: \"41111\" #", "\"41111\"", "products.visa-classic.prefix", "6 to 8 digits"},
		{"chip of a short number", "    prefix: \"411111\"\n    pan_length: 16\n    from: 500000000\n    to: 999999999 ", "    prefix: \"411111\"\n    pan_length: 15\n    from: 50000000\n    to: 99999999 ", "visa-new ", "products.visa-classic.range", "makes numbers of 15 digits"},
		{"service code", "service_code: \"201\"", "service_code: \"801\"", "\"801\"", "products.visa-classic.service_code", "ISO/IEC 7813"},
		{"validity", "validity_months: 36", "validity_months: 100", "100 ", "products.visa-classic.validity_months", "from 1 to 99"},
		{"validity missing", "    validity_months: 36 ", "    # ", "visa-classic:", "products.visa-classic.validity_months", "is missing"},
		{"PSN", "first_psn: 0", "first_psn: 100", "100 ", "products.visa-classic.first_psn", "from 0 to 99"},
		{"chip without application", "chip_type: VisaCard ", "# ", "visa-classic:", "products.visa-classic.chip_type", "such as VisaCard"},
		{"stripe with application", "technology: Chip&PIN&Contactless   #", "technology: Mag #", "VisaCard", "products.visa-classic.chip_type", "has no chip"},
		{"currency", "\"0826\"", "\"826\"", "", "products.visa-classic.currency", "four digits"},
		{"delivery method", "delivery: {1: \"0\", 2: \"1\", 3: \"2\"} #", "delivery: {1: \"0\", 4: \"1\"} #", "\"1\"} #", "products.visa-classic.delivery.4", "is no shipping method"},
		{"fixed text of a secret", "logo_front_id: VC-FRONT", "track1: VC-FRONT", "VC-FRONT", "products.visa-classic.fixed.track1", "no field that may have a fixed text"},
		{"range upside down", "to: 999999999            #", "to: 400000000 #", "400000000", "ranges.visa-new.to", "is before from"},
		{"range beyond its digits", "to: 999999999            #", "to: 1000000000 #", "1000000000", "ranges.visa-new.to", "from 0 to 999999999"},
		{"range tweak", "tweak: \"\"                # hex", "tweak: \"ABC\" # hex", "\"ABC\"", "ranges.visa-new.tweak", "pairs of hex digits"},
		{"ranges overlap", "  mastercard-new:\n", "  visa-more: {prefix: \"4111119\", pan_length: 16, from: 0, to: 99999999, key: allocation}\n  mastercard-new:\n", "{prefix: \"4111119\"", "ranges.visa-more", "overlaps the range visa-new"},
		{"new card ids upside down", "from: 900000000000\n  to: 999999999999", "from: 900000000000\n  to: 5", "5\n\n# Card verification", "new_card_ids.to", "is before from"},
		{"new card ids too long", "from: 900000000000\n  to: 999999999999", "from: 1\n  to: 1000000000000000000", "1000000000000000000", "new_card_ids.to", "from 1 to 999999999999999999"},
		{"check value", "kcv: \"A1B2C3\"", "kcv: \"A1B2\"", "\"A1B2\"", "card_keys.cvk-mastercard.kcv", "six hex digits"},
		{"backend", "cvk-visa: {backend: software,", "cvk-visa: {backend: softare,", "softare", "card_keys.cvk-visa.backend", `did you mean "software"?`},
		{"reason with a type against its number", "types: [3]\n    default_type: 3\n    statuses: [NORMAL, BLOCKED, PENDING, WARNING, CREATED, LOST", "types: [3, 1]\n    default_type: 3\n    statuses: [NORMAL, BLOCKED, PENDING, WARNING, CREATED, LOST", "1]\n    default_type: 3", "reasons.3.types[1]", "keeps the number, but new_pan is true"},
		{"reason that keeps the number with type 3", "types: [1, 2]            #", "types: [1, 3] #", "3] #", "reasons.1.types[1]", "but new_pan is false"},
		{"reason whose default type does not fit", "default_type: 1          #", "default_type: 3 #", "3 # when", "reasons.1.default_type", "is not among types"},
		{"reason with an unknown status", "statuses: [NORMAL, BLOCKED, PENDING, WARNING, CREATED] #", "statuses: [NORML] #", "NORML", "reasons.1.statuses[0]", `did you mean "NORMAL"?`},
		{"reason that keeps the number of a terminal card", "statuses: [NORMAL, BLOCKED, PENDING, WARNING, CREATED] #", "statuses: [NORMAL, LOST] #", "LOST] #", "reasons.1.statuses[1]", "is terminal and the number is kept"},
		{"reason with an old status without a new number", "old_status: \"\"           #", "old_status: LOST #", "LOST #", "reasons.1.old_status", "take old_status out"},
		{"fee", "fee: \"0.00\"", "fee: free", "free", "reasons.1.fee", "12.50"},
		{"status in two classes", "active: [NORMAL, REISSUED]", "active: [NORMAL, REISSUED, PENDING]", "PENDING, WARNING]\n  terminal", "statuses.temporary[1]", "already active"},
		{"alias of nothing", "CANCELLED: CANCELED", "CANCELLED: CANCELD", "CANCELD,", "statuses.aliases.CANCELLED", `did you mean "CANCELED"?`},
		{"terminal card that lives again", "kept_becomes: {EXPIRED: CREATED}", "kept_becomes: {EXPIRED: NORMAL}", "NORMAL} #", "statuses.kept_becomes.EXPIRED", "is terminal and never becomes NORMAL"},
		{"terminal card re-embossed", "reemboss_statuses: [CREATED, ", "reemboss_statuses: [LOST, ", "LOST, NORMAL, BLOCKED", "reemboss_statuses[0]", "is terminal"},
		{"card type", "embossed_card_types: [PLASTIC]", "embossed_card_types: [PAPER]", "PAPER", "embossed_card_types[0]", "PLASTIC"},
		{"shipping days", "working_days: 5}", "working_days: 61}", "61", "shipping.1.working_days", "from 0 to 60"},
		{"bureau called card-system", "bureaus:\n  alpha:", "bureaus:\n  card-system: {layout: fixed-v1, file_name: \"{sequence}\", time_zone: UTC, pgp: {key_file: k, fingerprint: 000000000000000000000000000000000000000D}, delivery: {method: folder}}\n  alpha:", "{layout: fixed-v1, file", "bureaus.card-system", "among the recipients"},
		{"layout", "layout: cardgen-v12 ", "layout: cardgen-v11 ", "cardgen-v11 ", "bureaus.alpha.layout", `did you mean "cardgen-v12"?`},
		{"file name without sequence", "\"{client}_{bureau}_{date:20060102}_{sequence:06}.{ext}.pgp\"\n    max_records", "\"{client}_{time}.{ext}.pgp\"\n    max_records", "", "bureaus.alpha.file_name", "has no {sequence}"},
		{"length of a name", "max_name: 26", "max_name: 27", "27 ", "bureaus.alpha.max_name", "from 2 to 26"},
		{"character set", "charset: ascii-upper", "charset: ascii", "ascii ", "bureaus.alpha.charset", "known are ascii-upper, latin1-upper"},
		{"transliteration outside the set", "transliterate: {}", "transliterate: {ø: '#'}", "{ø", "bureaus.alpha.transliterate", "lacks"},
		{"bureau's time zone missing", "    time_zone: Europe/Berlin\n", "", "beta:\n    name", "bureaus.beta.time_zone", "is missing"},
		{"cut-off", "cut_off: \"16:00\" ", "cut_off: \"24:00\" ", "\"24:00\"", "bureaus.alpha.cut_off", "00:00 to 23:59"},
		{"weekday", "working_days: [mon, tue", "working_days: [monday, tue", "monday", "bureaus.alpha.working_days[0]", "mon"},
		{"weekday twice", "working_days: [mon, tue", "working_days: [tue, tue", "tue, wed", "bureaus.alpha.working_days[1]", "twice"},
		{"holiday", "\"2027-08-30\"", "\"2027-08-32\"", "", "bureaus.alpha.holidays[7]", "YYYY-MM-DD"},
		{"fingerprint", "fingerprint: \"000000000000000000000000000000000000000A\"", "fingerprint: \"0000 000A\"", "\"0000 000A\"", "bureaus.alpha.pgp.fingerprint", "40 hex digits"},
		{"way of delivery", "method: sftp", "method: ftp", "ftp ", "bureaus.alpha.delivery.method", `did you mean "sftp"?`},
		{"host missing", "      host: beta.simulator\n", "", "delivery:\n      user", "bureaus.beta.delivery.host", "is missing"},
		{"port", "port: 22", "port: 0", "0\n      user", "bureaus.alpha.delivery.port", "from 1 to 65535"},
		{"final name during the upload", "temp_suffix: .part", "temp_suffix: \"\"", "\"\"     #", "bureaus.alpha.delivery.temp_suffix", "before it is whole"},
		{"cipher", "ciphers: [aes128-gcm@openssh.com, ", "ciphers: [3des-cbc, ", "3des-cbc", "bureaus.alpha.delivery.ciphers[0]", "is no cipher"},
		{"secret written out", "keyset_kek: {file: keys/kek}", "keyset_kek: hunter2", "hunter2", "keys.keyset_kek", "never holds it"},
		{"secret in two places", "keyset_kek: {file: keys/kek}", "keyset_kek: {file: keys/kek, env: KEK}", "{file: keys/kek, env", "keys.keyset_kek", "keep one"},
		{"secret as variable's name", "keyset_kek: {file: keys/kek}", "keyset_kek: {env: hunter-2}", "hunter-2", "keys.keyset_kek.env", "never the secret"},
		{"header of no column", "headers: {}", "headers: {cardid: [x]}", "[x]", "headers.cardid", `did you mean "card_id"?`},
		{"header of two columns", "headers: {}", "headers: {city: [Card ID]}", "[Card ID]", "headers.city", "already means card_id"},
		{"word for no reason", "reason_words: {}", "reason_words: {eaten: 9}", "9}", "reason_words.eaten", "is no reason"},
		{"word with two meanings", "reason_words: {}", "reason_words: {gone: 4, Gone: 3}", "4, Gone", "reason_words.gone", "one word has one meaning"},
		{"postcode", "postcodes: {}", "postcodes: {GB: '('}", "'('", "postcodes.GB", "is no regular expression"},
		{"country", "postcodes: {}", "postcodes: {UK: ''}", "''", "postcodes.UK", "is no country"},
	})
}

// stands is line and column of the first at in text after the beginning of
// changed, or, where at is only before it, of at itself.
func stands(text, changed, at string) (line, column int) {
	from := strings.Index(text, changed)
	i := strings.Index(text[from:], at)
	if i < 0 {
		from, i = 0, strings.Index(text, at)
	}
	before := text[:from+i]
	return 1 + strings.Count(before, "\n"), len(before) - strings.LastIndex(before, "\n")
}

// What only others can find wrong is told by its place like everything else, in the order of the file; a value that is not
// written stands where its section does.
func TestLocateFindsTheLineOfAValue(t *testing.T) {
	path := filepath.Join(t.TempDir(), "config.yaml")
	text := "environment: test\nkeys:\n  signing_key: keys/issuer.pgp\nbureaus:\n  alpha:\n    pgp: {key_file: keys/alpha.asc}\n"
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	got, err := Locate(path, []Mistake{
		{Path: "bureaus.alpha.delivery.known_hosts", Message: "is not there"},
		{Path: "bureaus.alpha.pgp.key_file", Message: "is another key"},
		{Path: "keys.signing_key", Message: "is not there"},
	})
	if err != nil {
		t.Fatal(err)
	}
	want := Mistakes{
		{File: path, Line: 3, Column: 16, Path: "keys.signing_key", Message: "is not there"},
		{File: path, Line: 5, Column: 3, Path: "bureaus.alpha.delivery.known_hosts", Message: "is not there"},
		{File: path, Line: 6, Column: 21, Path: "bureaus.alpha.pgp.key_file", Message: "is another key"},
	}
	if !slices.Equal(got, want) {
		t.Errorf("got\n%v\nwant\n%v", got, want)
	}
}
