package rules

import (
	"errors"
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"time"

	"reemboss/batch/config"
	"reemboss/formats/request"
)

// NameCheck says whether a bureau can emboss and encode a name, in one sentence
// if not. printed is what stands on the card; last and first, where known, say
// which part of it is the surname. It must depend on nothing but its arguments.
type NameCheck func(bureau, printed, last, first string) error

// Policy is a configuration compiled for deciding. It does not change and may
// be used by several goroutines.
type Policy struct {
	cfg       *config.Config
	names     NameCheck
	postcodes map[string]*regexp.Regexp
	calendars map[string]*Calendar
	words     map[string]int             // reason words, folded
	columns   map[string]map[string]bool // column → its names, folded
	embossed  map[string]bool            // card types
	zone      *time.Location             // ours
	people    map[string]*Submitter      // by their keys
}

// New compiles a configuration that [config.Load] found right.
func New(cfg *config.Config, names NameCheck) (*Policy, error) {
	if names == nil {
		return nil, errors.New("rules: a check of names is needed")
	}
	p := &Policy{
		cfg: cfg, names: names,
		postcodes: make(map[string]*regexp.Regexp, len(cfg.Postcodes)),
		calendars: make(map[string]*Calendar, len(cfg.Bureaus)),
		words:     make(map[string]int, len(cfg.ReasonWords)),
		columns:   map[string]map[string]bool{},
		embossed:  map[string]bool{},
	}
	for country, pattern := range cfg.Postcodes {
		if pattern == "" {
			continue
		}
		whole, err := regexp.Compile("^(?:" + pattern + ")$")
		if err != nil {
			return nil, fmt.Errorf("rules: postcodes of %s: %w", country, err)
		}
		p.postcodes[country] = whole
	}
	for name, b := range cfg.Bureaus {
		calendar, err := NewCalendar(b)
		if err != nil {
			return nil, fmt.Errorf("rules: bureau %s: %w", name, err)
		}
		p.calendars[name] = calendar
	}
	if err := p.bureausExist(); err != nil {
		return nil, err
	}
	var err error
	if p.zone, err = time.LoadLocation(cfg.TimeZone); err != nil {
		return nil, fmt.Errorf("rules: time zone: %w", err)
	}
	for word, code := range cfg.ReasonWords {
		p.words[config.Fold(word)] = code
	}
	for _, column := range []string{"card_id", "user_id", "reason_code", "reissue_type", "shipping_method", "submitter", "printed_name", "postcode"} {
		names := map[string]bool{config.Fold(column): true}
		for _, alias := range cfg.Headers[column] {
			names[config.Fold(alias)] = true
		}
		p.columns[column] = names
	}
	for _, t := range cfg.EmbossedCardTypes {
		p.embossed[t] = true
	}
	p.people = submitters(cfg.People)
	return p, nil
}

// bureausExist holds what the configuration's check promised: wherever a card
// is routed there is a bureau, and shipping method 1 exists.
func (p *Policy) bureausExist() error {
	for name, product := range p.cfg.Products {
		if p.calendars[product.Bureau] == nil {
			return fmt.Errorf("rules: product %s: there is no bureau %q", name, product.Bureau)
		}
	}
	for i, line := range p.cfg.Routing {
		if p.calendars[line.Bureau] == nil {
			return fmt.Errorf("rules: line %d of the routing: there is no bureau %q", i+1, line.Bureau)
		}
	}
	if _, ok := p.cfg.Shipping[1]; !ok {
		return errors.New("rules: shipping method 1 is missing")
	}
	return nil
}

// Calendar is a bureau's, nil where the configuration has no such bureau.
func (p *Policy) Calendar(bureau string) *Calendar { return p.calendars[bureau] }

// Decide answers one row. The same input always gets the same decision.
func (p *Policy) Decide(in Input) Decision {
	w := p.weigh(in)
	if decision, repeated := w.answeredBefore(); repeated && w.mayAsk() {
		return decision
	}
	for _, rule := range rowRules {
		rule(w)
	}
	if len(w.violations) > 0 {
		return w.refused(w.violations)
	}
	return w.accepted()
}

// rowRules are all rules that a row is checked against. Each adds what it
// finds and looks at nothing that another one found; the vocabulary, not this
// list, gives the order of the answer.
var rowRules = []func(*weighing){
	// What the row says.
	whatItsReaderFound,
	cardIDIsANumber,
	reasonIsKnown,
	typeFitsReason,
	shippingMethodIsKnown,
	// Whether the card is there and may be made.
	cardIsRegistered,
	cardCanBeEmbossed,
	programIsOnDemand,
	submitterMayAsk,
	nightsLimitIsLeft,
	programIsPermitted,
	userIsTheHolder,
	accountIsThere,
	phoneIsThere,
	addressIsWhole,
	addressIsActive,
	postcodeFitsCountry,
	// What was asked and done before.
	referenceIsFree,
	noOpenOrder,
	notReplaced,
	notInTransit,
	notReissuedTooOften,
	// What the card is.
	statusIsAccepted,
	typeHasPlastic,
	notExpired,
	pinWasSet,
	bureauIsConfigured,
	nameCanBeEmbossed,
	sequenceNumberIsLeft,
}

// Refuse is the decision for a row that a later stage cannot carry out (no
// number left, a field that does not fit the bureau's file, a fault of ours).
func (p *Policy) Refuse(in Input, violations ...Violation) Decision {
	if len(violations) == 0 {
		violations = []Violation{{InternalError, Sentence(InternalError)}}
	}
	return p.weigh(in).refused(violations)
}

// refused makes the decision from what is wrong.
func (w *weighing) refused(violations []Violation) Decision {
	found := append([]Violation(nil), violations...)
	inOrder(found)
	sentences := make([]string, len(found))
	for i, v := range found {
		sentences[i] = v.Detail
	}
	return Decision{
		Outcome: Refused, Code: found[0].Code, Violations: found, Reason: w.reasonCode,
		Message: strings.Join(sentences, " "),
		Because: []string{"refused: " + string(found[0].Code)},
	}
}

// Class is the decision's HTTP meaning: 201 for an accepted reissue, 202 for an
// accepted re-embossing, else the class of its code.
func (d Decision) Class() int {
	if d.Outcome == Accepted && d.Plan != nil && d.Plan.Kind == request.Reemboss {
		return 202
	}
	return Class(d.Code)
}

// Codes gives all codes of the decision, in the order of the vocabulary.
func (d Decision) Codes() []Code {
	if len(d.Violations) == 0 {
		return []Code{d.Code}
	}
	codes := make([]Code, len(d.Violations))
	for i, v := range d.Violations {
		codes[i] = v.Code
	}
	return codes
}

// ParseCardID reads a card id: 1 to 18 digits, compared as a number.
func ParseCardID(text string) (int64, bool) {
	if text == "" || len(text) > 18 || strings.Trim(text, "0123456789") != "" {
		return 0, false
	}
	id, err := strconv.ParseInt(text, 10, 64)
	return id, err == nil
}
