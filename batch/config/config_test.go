package config

import (
	"flag"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"
)

var update = flag.Bool("update", false, "write golden files and config.example.yaml again")

const exampleFile = "../../config.example.yaml"

func TestExampleFileIsWhatInitWrites(t *testing.T) {
	want := Example(SampleValues)
	if *update {
		if err := os.WriteFile(exampleFile, want, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	got, err := os.ReadFile(exampleFile)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), string(got)); diff != "" {
		t.Errorf("config.example.yaml is not the sample (-update writes it again):\n%s", diff)
	}
}

func TestExampleFileLoads(t *testing.T) {
	c, err := Load(exampleFile)
	if err != nil {
		t.Fatal(err)
	}
	if c.Environment != Test || !c.Programs["100"].OnDemand || c.Programs["200"].OnDemand {
		t.Error("environment or programs are not those of a new workspace")
	}
	if v, m := c.Products["visa-classic"], c.Products["mc-gold"]; v.Bureau != "alpha" || v.ValidityMonths != 36 || m.Bureau != "beta" || m.ValidityMonths != 48 {
		t.Error("the products are not those of a new workspace")
	}
	if a, b := c.Bureaus["alpha"], c.Bureaus["beta"]; a.Layout != "cardgen-v12" || b.Layout != "fixed-v1" || !a.Simulator || !b.Simulator || a.Delivery.Host != "alpha.simulator" {
		t.Error("the bureaus are not those of a new workspace")
	}
	if c.CardSystem.Delivery.Method != Folder {
		t.Error("the card system's file is not put into a folder")
	}
}

// TestExampleStatesEveryKey holds "every default stated": each key that the
// configuration knows stands in the sample, in use or in a comment.
func TestExampleStatesEveryKey(t *testing.T) {
	text := string(Example(SampleValues))
	for _, key := range keysOf(reflect.TypeFor[Config]()) {
		if !regexp.MustCompile(`(?m)(^|[\s{])` + regexp.QuoteMeta(key) + `:`).MatchString(text) {
			t.Errorf("the sample does not mention the key %s", key)
		}
	}
}

func TestEachSectionIsDocumented(t *testing.T) {
	doc, err := os.ReadFile("../../docs/configuration.md")
	if err != nil {
		t.Fatal(err)
	}
	for field := range reflect.TypeFor[Config]().Fields() {
		section := field.Tag.Get("yaml")
		if !strings.Contains(string(doc), "\n| `"+section+"` |") {
			t.Errorf("docs/configuration.md does not explain the section %s", section)
		}
	}
}

func keysOf(t reflect.Type) []string {
	switch t.Kind() {
	case reflect.Map, reflect.Slice:
		return keysOf(t.Elem())
	case reflect.Struct:
	default:
		return nil
	}
	var keys []string
	for i := range t.NumField() {
		name, _, _ := strings.Cut(t.Field(i).Tag.Get("yaml"), ",")
		if name != "" {
			keys = append(keys, name)
		}
		keys = append(keys, keysOf(t.Field(i).Type)...)
	}
	return keys
}

// without takes the lines of top-level keys out of the sample.
func without(t *testing.T, text string, sections ...string) string {
	t.Helper()
	for _, s := range sections {
		cut := regexp.MustCompile(`(?m)^` + s + `:.*\n(?:[ #].*\n|\n)*`)
		if !cut.MatchString(text) {
			t.Fatalf("the sample has no section %s", s)
		}
		text = cut.ReplaceAllString(text, "")
	}
	return text
}

func TestSectionsThatAreAbsentAreTheDefaults(t *testing.T) {
	full := example(t)
	less := without(t, full, "allow_software_keys", "intake", "reasons", "reemboss_statuses", "statuses", "embossed_card_types", "shipping", "headers", "reason_words", "postcodes", "notify", "events")
	if diff := cmp.Diff(parsed(t, full), parsed(t, less)); diff != "" {
		t.Errorf("the sample states other values than the defaults:\n%s", diff)
	}
}

// TestStatedBureauKeysAreTheDefaults compares alpha, which states every key,
// with what a bureau starts from.
func TestStatedBureauKeysAreTheDefaults(t *testing.T) {
	base, err := readDefaults()
	if err != nil {
		t.Fatal(err)
	}
	alpha, start := parsed(t, example(t)).Bureaus["alpha"], base.Each.Bureau
	start.Name, start.Layout, start.FileName, start.TimeZone, start.Holidays = alpha.Name, alpha.Layout, alpha.FileName, alpha.TimeZone, alpha.Holidays
	start.Simulator, start.Transliterate, start.PGP = true, alpha.Transliterate, alpha.PGP
	start.Acknowledges, start.Returns.Dir = true, "returns"
	start.Delivery.Host, start.Delivery.User, start.Delivery.KeyFile, start.Delivery.KnownHosts = alpha.Delivery.Host, alpha.Delivery.User, alpha.Delivery.KeyFile, alpha.Delivery.KnownHosts
	if diff := cmp.Diff(start, alpha); diff != "" {
		t.Errorf("the sample states other values than the defaults:\n%s", diff)
	}
}

func parsed(t *testing.T, text string) *Config {
	t.Helper()
	c, err := Parse("config.yaml", []byte(text), "")
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func TestOwnHeadersWordsAndPostcodesAreAddedToTheBuiltIn(t *testing.T) {
	c := parsed(t, example(t, "headers: {}", "headers: {card_id: [Kartennummer intern]}",
		"reason_words: {}", "reason_words: {verloren: 3, Damaged: 3}", "postcodes: {}", "postcodes: {IE: ''}"))
	if h := c.Headers["card_id"]; h[0] != "Card No." || h[len(h)-1] != "Kartennummer intern" {
		t.Errorf("names of card_id: %v", h)
	}
	if c.ReasonWords["verloren"] != 3 || c.ReasonWords["lost"] != 3 || c.ReasonWords["Damaged"] != 3 || c.ReasonWords["damaged"] != 0 {
		t.Errorf("reason words: %v", c.ReasonWords)
	}
	if c.Postcodes["IE"] != "" || c.Postcodes["GB"] == "" {
		t.Error("postcode formats were not added to the built-in ones")
	}
}

func TestScalarsKeepTheTextTheyAreWrittenAs(t *testing.T) {
	c := parsed(t, example(t, `prefix: "411111"         #`, "prefix: 411111 #", `kcv: "08D7B4"`, "kcv: 12E456", `service_code: "201"`, "service_code: 201", `currency: "0826"`, "currency: 0826"))
	v := c.Products["visa-classic"]
	if v.Prefix != "411111" || v.Currency != "0826" || v.ServiceCode != "201" || c.CardKeys["cvk-visa"].KCV != "12E456" {
		t.Errorf("prefix %s, currency %s, service code %s, KCV %s", v.Prefix, v.Currency, v.ServiceCode, c.CardKeys["cvk-visa"].KCV)
	}
}

func TestSizesAndDurations(t *testing.T) {
	c := parsed(t, example(t, "512MiB", "100MiB", "4GiB", "2_000_000_000", "32KiB", "64KB", "stable_for: 1s", "stable_for: 1m30s"))
	if in := c.Intake; in.MaxFileSize != 100<<20 || in.MaxUnpacked != 2e9 || in.MaxField != 64000 || in.StableFor.Seconds() != 90 {
		t.Errorf("%+v", in)
	}
}

// TestAllMistakesAreToldTogether mixes mistakes of form and of meaning all over
// the file; one of them hides none of the others.
func TestAllMistakesAreToldTogether(t *testing.T) {
	text, err := os.ReadFile("testdata/many-mistakes.yaml")
	if err != nil {
		t.Fatal(err)
	}
	got := mistakesOf(t, string(text)).Error() + "\n"
	golden(t, "testdata/many-mistakes.txt", got)
	if strings.Contains(got, "hunter2") {
		t.Error("a secret that was written into the file is repeated")
	}
}

func golden(t *testing.T, path, got string) {
	t.Helper()
	if *update {
		if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), got); diff != "" {
		t.Errorf("%s (-update writes it again):\n%s", path, diff)
	}
}

func TestAnEmptyFileMissesEverySectionWithoutADefault(t *testing.T) {
	var missing []string
	for _, m := range mistakesOf(t, "") {
		if m.Line != 1 || m.Column != 1 {
			t.Errorf("%s does not stand at the beginning", m)
		}
		missing = append(missing, m.Path)
	}
	want := []string{"bureaus", "card_keys", "card_system.pgp.fingerprint", "card_system.pgp.key_file", "environment",
		"keys.fingerprint", "keys.keyset_kek", "new_card_ids", "products", "programs", "ranges"}
	if diff := cmp.Diff(want, missing); diff != "" {
		t.Error(diff)
	}
}

func TestWhatIsNoYAMLHasOnePlace(t *testing.T) {
	m := mistakesOf(t, "environment: test\n\tbureaus: {}\n")
	if len(m) != 1 || m[0].Line != 2 || !strings.Contains(m[0].Message, "is not YAML") {
		t.Errorf("%v", m)
	}
	m = mistakesOf(t, "- a\n")
	if len(m) != 1 || !strings.Contains(m[0].Message, "must have keys below it") {
		t.Errorf("%v", m)
	}
	m = mistakesOf(t, example(t)+"---\nenvironment: production\n")
	if len(m) != 1 || !strings.Contains(m[0].Message, "a second document") {
		t.Errorf("%v", m)
	}
}

func TestProductionRefusesSimulatorsAndSoftwareKeys(t *testing.T) {
	var got []string
	for _, m := range mistakesOf(t, example(t, "environment: test ", "environment: production ")) {
		got = append(got, m.Path)
	}
	want := []string{"card_keys.cvk-visa.backend", "card_keys.cvk-mastercard.backend", "bureaus.alpha.simulator", "bureaus.beta.simulator"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	accepted := example(t, "environment: test ", "environment: production ", "allow_software_keys: false", "allow_software_keys: true",
		"simulator: true ", "simulator: false ", "simulator: true", "simulator: false")
	if m := mistakesOf(t, accepted); len(m) > 0 {
		t.Errorf("production with the risk accepted and real bureaus: %v", m)
	}
}

func TestALayoutOfOnesOwnMustExist(t *testing.T) {
	dir := t.TempDir()
	text := example(t, "layout: cardgen-v12 ", "layout: layouts/own.yaml ")
	path := filepath.Join(dir, "config.yaml")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Load(path); err == nil || !strings.Contains(err.Error(), `there is no file "layouts/own.yaml"`) {
		t.Errorf("a layout file that is missing: %v", err)
	}
	if err := os.Mkdir(filepath.Join(dir, "layouts"), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "layouts/own.yaml"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Load(path); err != nil {
		t.Errorf("a layout file that is there: %v", err)
	}
}

func TestMastercardHas16DigitsAndAChip16To19(t *testing.T) {
	for _, c := range []struct{ tracks, technology, length, says string }{
		{"mastercard", "Mag", "15", "a Mastercard number has 16 digits"},
		{"mastercard", "Chip&PIN", "19", "a Mastercard number has 16 digits"},
		{"visa", "Chip&PIN", "15", "does not fit a chip"},
		{"visa", "Chip&PIN", "19", ""},
		{"visa", "Mag", "13", ""},
	} {
		chip := "chip_type: VisaCard "
		if c.technology == "Mag" {
			chip = "# "
		}
		text := example(t, "pan_length: 16           # 13", "pan_length: "+c.length+" #", "tracks: visa ", "tracks: "+c.tracks+" ",
			"technology: Chip&PIN&Contactless   #", "technology: "+c.technology+" #", "chip_type: VisaCard ", chip,
			"    prefix: \"411111\"\n    pan_length: 16\n    from: 500000000\n    to: 999999999 ", "    prefix: \"411111\"\n    pan_length: "+c.length+"\n    from: 0\n    to: 999999 ")
		got := mistakesOf(t, text)
		if c.says == "" && len(got) > 0 || c.says != "" && (len(got) != 1 || !strings.Contains(got[0].Message, c.says)) {
			t.Errorf("%+v: %v", c, got)
		}
	}
}

func TestBuiltInPostcodesAcceptRealOnes(t *testing.T) {
	c := parsed(t, example(t))
	if len(c.Postcodes) < 60 {
		t.Errorf("only %d countries", len(c.Postcodes))
	}
	for country, codes := range map[string][2]string{ // right, wrong
		"GB": {"SW1A 1AA", "SW1A"}, "DE": {"10115", "1011"}, "NL": {"1012 AB", "1012"}, "US": {"90210-1234", "9021"}, "CA": {"K1A 0B1", "K1A"},
		"IE": {"D02 AF30", "D02"}, "PL": {"00-950", "00950-1"}, "JP": {"100-0001", "100"}, "PT": {"1000-001", "1000"}, "SE": {"111 22", "111"}, "BR": {"01001-000", "01001"},
	} {
		whole := regexp.MustCompile(`^(?:` + c.Postcodes[country] + `)$`)
		if !whole.MatchString(codes[0]) || whole.MatchString(codes[1]) {
			t.Errorf("%s: %q must fit, %q must not", country, codes[0], codes[1])
		}
	}
}

// TestParseNeverPanics feeds it damaged samples: lines lost, doubled, moved or cut.
func TestParseNeverPanics(t *testing.T) {
	lines := strings.Split(example(t), "\n")
	rapid.Check(t, func(t *rapid.T) {
		damaged := append([]string(nil), lines...)
		for range rapid.IntRange(1, 4).Draw(t, "damages") {
			i := rapid.IntRange(0, len(damaged)-1).Draw(t, "line")
			switch rapid.IntRange(0, 3).Draw(t, "kind") {
			case 0:
				damaged = append(damaged[:i:i], damaged[i+1:]...)
			case 1:
				damaged[i] = "  " + damaged[i]
			case 2:
				damaged[i] = damaged[i][:rapid.IntRange(0, len(damaged[i])).Draw(t, "cut")]
			case 3:
				damaged[i] += rapid.SampledFrom([]string{"x", ":", " {", "]", "\"", "&a", "*a", "-1", "null", "\t"}).Draw(t, "added")
			}
			if len(damaged) == 0 {
				return
			}
		}
		_, _ = Parse("config.yaml", []byte(strings.Join(damaged, "\n")), "")
	})
}
