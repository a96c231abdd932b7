package rules

import (
	"flag"
	"fmt"
	"os"
	"regexp"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

var update = flag.Bool("update", false, "write docs/codes.md again")

// classes is the vocabulary of the rule book, class by class in its order.
var classes = []struct {
	class int
	codes string
}{
	{400, "file_unreadable file_too_large file_signature_invalid header_missing header_duplicate row_malformed card_id_missing card_id_invalid excel_precision_loss reason_code_missing reason_code_invalid reissue_type_invalid reissue_type_conflict shipping_method_invalid card_validation_error"},
	{403, "not_on_demand submitter_not_allowed program_not_permitted"},
	{404, "card_not_found customer_not_found account_not_found account_address_not_found account_phone_not_found"},
	{409, "duplicate_file duplicate_row already_requested reference_conflict"},
	{412, "card_already_replaced card_in_transit card_status_invalid card_type_invalid card_expired card_pci_password_unchanged account_address_inactive account_address_zipcode_invalid invalid_printed_name embosser_not_configured reissue_limit_reached psn_exhausted pan_range_exhausted embossing_line_invalid_format"},
	{500, "internal_error"},
}

func TestVocabularyIsWholeAndInOrder(t *testing.T) {
	var want []Code
	for _, c := range classes {
		for code := range strings.FieldsSeq(c.codes) {
			want = append(want, Code(code))
			if got := Class(Code(code)); got != c.class {
				t.Errorf("%s has class %d, want %d", code, got, c.class)
			}
		}
	}
	if diff := cmp.Diff(want, Codes()); diff != "" {
		t.Error(diff)
	}
	if Class(Approved) != 201 || Class("eaten_by_a_dog") != 500 || Known("eaten_by_a_dog") {
		t.Error("approved is 201, and what nobody knows is ours")
	}
}

// advice is what a sentence tells a person to do.
var advice = regexp.MustCompile(`; .*\b(send|add|keep|correct|format|fill|write|complete|ask|leave|wait|change|have|split|sign|save|check|use|tell)\b`)

func TestEachSentenceSaysWhatToDo(t *testing.T) {
	seen := map[string]Code{}
	for _, code := range Codes() {
		s := Sentence(code)
		if !strings.HasSuffix(s, ".") || strings.Count(s, ". ") > 0 || !advice.MatchString(s) {
			t.Errorf("%s: %q is not one sentence with what to do after its semicolon", code, s)
		}
		if other, twice := seen[s]; twice {
			t.Errorf("%s and %s say the same", code, other)
		}
		seen[s] = code
	}
}

func TestDocumentedCodesAreTheVocabulary(t *testing.T) {
	const path = "../../docs/codes.md"
	var doc strings.Builder
	doc.WriteString(`# Why a row or a file is refused

Results, reports, events and logs use these codes and no others. A row is checked against every rule; it is told all that is wrong
with it in this order, and the first code is its outcome. The code of an accepted row is ` + "`00`" + `: class 201 for a reissue, 202 for a
re-embossing. Classes keep the meaning of HTTP: 400 malformed, 403 not permitted, 404 not found, 409 duplicate, 412 precondition
failed, 500 ours.

The message of a row says the same with the values concerned; anything long enough to be a card number is masked in it.
The outcome ` + "`duplicate`" + ` goes with ` + "`duplicate_file`, `duplicate_row`" + ` and a repeated reference with the same content, whose first answer is
given again; every other code here goes with ` + "`refused`" + `.

This file is written by ` + "`go test ./batch/rules -update`" + ` from the table in ` + "`batch/rules/codes.go`" + `.

| class | code | what it means, and what to do |
|---|---|---|
`)
	for _, code := range Codes() {
		fmt.Fprintf(&doc, "| %d | `%s` | %s |\n", Class(code), code, Sentence(code))
	}
	if *update {
		if err := os.WriteFile(path, []byte(doc.String()), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	got, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(doc.String(), string(got)); diff != "" {
		t.Errorf("docs/codes.md is not the vocabulary (-update writes it again):\n%s", diff)
	}
}
