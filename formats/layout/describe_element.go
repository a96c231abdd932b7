package layout

import (
	"maps"
	"regexp"
	"slices"
	"strings"

	"github.com/goccy/go-yaml/ast"
)

// Bounds of a description.
const (
	maxLength = 9999 // characters of one element
	maxDepth  = 8    // elements in elements
)

// elementKeys of every kind.
var elementKeys = []string{"name", "from", "text", "head", "hash", "number", "length", "min", "required", "allow", "one_of", "map", "transform", "format", "pad", "twin"}

// nestKeys of an element that holds elements.
var nestKeys = []string{"name", "when", "twin", "elements"}

// sourceKeys say where an element's text comes from, by section.
var sourceKeys = map[string][]string{
	"header":  {"text", "head"},
	"group":   {"from", "text"},
	"record":  {"from", "text", "number"},
	"trailer": {"text", "head", "hash"},
}

// headSources by the name that a description uses.
var headSources = map[headSource]headSource{
	headClient: headClient, headReference: headReference, headOrderRef: headOrderRef, headSequence: headSequence,
	headTime: headTime, headRecords: headRecords, headProducts: headProducts,
}

// nodes reads a list of elements. path names their parent in messages.
func (b *builder) nodes(part string, f fields, at ast.Node, path string, conditional bool) []*node {
	if _, ok := f["elements"]; !ok {
		b.say(at, `"elements" is missing`)
		return nil
	}
	var list []*node
	for _, item := range b.list(f, "elements") {
		n := b.node(part, item, path, conditional)
		if n == nil {
			continue
		}
		if slices.ContainsFunc(list, func(m *node) bool { return m.name == n.name }) && b.kind.nests() {
			b.say(n.at, "%q stands here twice", n.name)
		}
		list = append(list, n)
	}
	return list
}

func (b *builder) node(part string, item ast.Node, path string, conditional bool) *node {
	keys := b.mapping(item, "an element")
	if _, nest := keys["elements"]; nest && b.kind.nests() {
		return b.nest(part, item, path, conditional)
	}
	b.allow(keys, "an element", slices.Concat(elementKeys, b.kind.elementKeys()))
	n := &node{name: b.text(keys, "name"), at: item, twin: b.mark(keys)}
	b.elementName(item, n.name)
	full := n.name
	if path != "" {
		full = lastPart(path) + "/" + n.name
	}
	n.leaf = b.element(part, full, item, keys)
	return n
}

func (b *builder) nest(part string, item ast.Node, path string, conditional bool) *node {
	f := b.mapping(item, "an element with elements", nestKeys...)
	n := &node{name: b.text(f, "name"), at: item, when: b.field(f, "when"), twin: b.mark(f)}
	b.elementName(item, n.name)
	if n.twin != twinKeep && n.twin != twinOmit {
		b.say(item, `an element with elements takes "twin: omit" or nothing`)
	}
	if n.when != "" && (conditional || part != "record") {
		b.say(item, `"when" is for elements of the record, and not inside another "when"`)
	}
	if strings.Count(path, "/") >= maxDepth {
		b.say(item, "elements stand at most %d deep", maxDepth)
		return n
	}
	n.children = b.nodes(part, f, item, path+"/"+n.name, conditional || n.when != "")
	return n
}

func lastPart(path string) string { return path[strings.LastIndexByte(path, '/')+1:] }

var elementNameForm = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_.-]{0,63}$`)

func (b *builder) elementName(at ast.Node, name string) {
	if !elementNameForm.MatchString(name) {
		b.say(at, `"name" is missing or not 1 to 64 letters, digits, _ . and -, a letter or _ first`)
	}
}

// element reads a leaf that errors will call name.
func (b *builder) element(part, name string, at ast.Node, f fields) *element {
	e := &element{
		name: name, charset: b.charset, forbid: b.forbid,
		max: b.number(f, "length", 1, maxLength), min: b.number(f, "min", 1, maxLength),
		required: b.flag(f, "required"), pad: b.number(f, "pad", 1, 30),
		class: choice(&b.clerk, f, "allow", b.classes, "any"),
		oneOf: b.texts(f, "one_of"),
	}
	b.source(part, at, f, e)
	b.changes(at, f, e)
	if e.min > e.max && e.max > 0 {
		b.say(at, `"min" is above "length"`)
	}
	b.kind.element(b, at, f, e)
	b.possible(at, e)
	return e
}

// source reads the one key that says where the text comes from.
func (b *builder) source(part string, at ast.Node, f fields, e *element) {
	var given []string
	for _, key := range []string{"from", "text", "head", "hash", "number"} {
		if _, ok := f[key]; ok {
			given = append(given, key)
		}
	}
	if len(given) != 1 || !slices.Contains(sourceKeys[part], given[0]) {
		b.say(at, "an element of the %s takes exactly one of %s", part, strings.Join(sourceKeys[part], ", "))
		return
	}
	switch given[0] {
	case "from":
		e.source, e.field = fromField, b.field(f, "from")
		if e.max == 0 {
			b.say(at, `"length" is missing`)
		}
	case "text":
		e.source, e.text = fromText, b.text(f, "text")
	case "head":
		e.source, e.head = fromHead, choice(&b.clerk, f, "head", headSources, "")
	case "hash":
		e.source = fromHash
		b.only(f, "hash", "pan")
	case "number":
		e.source = fromNumber
		b.only(f, "number", "record")
	}
}

// only holds that the key has the one value that there is so far.
func (b *builder) only(f fields, key, value string) {
	if b.text(f, key) != value {
		b.say(f[key].value, "%q takes %q", key, value)
	}
}

// changes reads what happens to a value on its way into the file.
func (b *builder) changes(at ast.Node, f fields, e *element) {
	for _, n := range b.list(f, "transform") {
		name, _ := scalarText(n)
		t, ok := transforms[name]
		if !ok {
			b.say(n, `"transform" takes a list of %s`, names(transforms))
		}
		e.transform = append(e.transform, t)
	}
	b.valueMap(f, e)
	b.dateFormat(at, f, e)
	if e.source != fromField && (len(e.transform) > 0 || e.out != nil || e.oneOf != nil) {
		b.say(at, `"transform", "map" and "one_of" are for elements with "from"`)
	}
	if _, ok := f["pad"]; ok && e.head != headSequence && e.head != headRecords && e.head != headProducts {
		b.say(at, `"pad" is for the head's sequence, records and products`)
	}
}

func (b *builder) valueMap(f fields, e *element) {
	entry, ok := f["map"]
	if !ok {
		return
	}
	e.out, e.in = map[string]string{}, map[string]string{}
	own := b.mapping(entry.value, `"map"`)
	for _, record := range slices.Sorted(maps.Keys(own)) {
		pair, file := own[record], b.text(own, record)
		if _, twice := e.in[file]; twice || file == "" {
			b.say(pair.key, `"map" needs a text of its own for each value, so that it can be read back`)
		}
		e.out[record], e.in[file] = file, record
	}
}

func (b *builder) dateFormat(at ast.Node, f fields, e *element) {
	_, given := f["format"]
	isDate := e.field == StartDate || e.field == ExpiryDate
	if e.head == headTime && !given || given && !isDate && e.head != headTime {
		b.say(at, `"format" is for the head's time, which needs it, and for %s and %s`, StartDate, ExpiryDate)
		return
	}
	if !given {
		return
	}
	format, err := parseFormat(b.text(f, "format"))
	if err != nil {
		b.say(f["format"].value, "%v", err)
		return
	}
	if isDate && format.hasClock() {
		b.say(f["format"].value, "%s has no time of day", e.field)
	}
	e.format = format
}

// possible refuses limits that the element's own constants break.
func (b *builder) possible(at ast.Node, e *element) {
	if len(b.mistakes) > 0 || e.source == 0 {
		return
	}
	e.compile()
	texts := slices.Clone(e.oneOf)
	if e.source == fromText {
		texts = append(texts, e.text)
	}
	for file := range e.in {
		texts = append(texts, file)
	}
	var f faults
	for _, text := range texts {
		if text != "" {
			e.check(text, &f)
		}
	}
	if len(f.found) > 0 {
		b.say(at, "a text that this element names does not fit it: %v", f.found[0])
	}
	if e.format != nil && e.max > 0 && len(e.format.String()) > e.max {
		b.say(at, "the date format is longer than the element")
	}
}
