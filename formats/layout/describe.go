package layout

import (
	"cmp"
	"regexp"
	"slices"
	"strings"

	"github.com/goccy/go-yaml/ast"
)

// kind is a family of layouts. What is common to all of them (elements, their
// limits, twins, rules, counts) is not its business; a further kind is one
// more type with these methods and a line in kinds.
type kind interface {
	// keys of a description, and of an element, that only this kind has.
	keys() []string
	elementKeys() []string
	// sections and twin marks that it takes; charsets by name.
	sections() []string
	marks() []twinMark
	charsets() []string
	// nests says that elements may hold elements.
	nests() bool
	// settings reads the kind's own keys of the description.
	settings(b *builder, f fields)
	// element reads the kind's own keys of an element and holds its demands.
	element(b *builder, at ast.Node, f fields, e *element)
	// body compiles the sections of the bureau's file or of the twin, once
	// they are without mistakes of their own.
	body(b *builder, s sections) body
}

// kinds by the name that a description uses.
var kinds = map[Kind]func() kind{
	XML:   func() kind { return &xmlKind{} },
	Fixed: func() kind { return &fixedKind{} },
}

// section is one of header, group, record and trailer.
type section struct {
	name  string // of its element in XML
	at    ast.Node
	nodes []*node
}

// sections of a layout by their key in the description; absent ones are nil.
type sections struct{ header, group, record, trailer *section }

func (s sections) each(do func(*section)) {
	for _, part := range []*section{s.header, s.group, s.record, s.trailer} {
		if part != nil {
			do(part)
		}
	}
}

// node is an element, or elements under a name of their own.
type node struct {
	name     string
	at       ast.Node
	leaf     *element // nil for a node with children
	children []*node
	when     Field // the children stand in the file only where this field is filled
	twin     twinMark
}

// leaves gives every leaf below nodes, in order, with the field on which its presence depends.
func leaves(nodes []*node, when Field, do func(*node, Field)) {
	for _, n := range nodes {
		if n.leaf != nil {
			do(n, when)
			continue
		}
		leaves(n.children, cmp.Or(n.when, when), do)
	}
}

// builder turns a description into a layout and collects its mistakes.
type builder struct {
	clerk
	kind    kind
	charset charset
	forbid  string
	classes map[string]class
}

// commonKeys of a description.
var commonKeys = []string{"kind", "version", "about", "extension", "encoding", "together", "classes", "forbid", "rules"}

var (
	extensionForm = regexp.MustCompile(`^[a-z0-9]{1,8}$`)
	versionForm   = regexp.MustCompile(`^[A-Za-z0-9._-]{1,20}$`)
)

func (b *builder) layout(name string, text []byte) *Layout {
	root := b.parse(text)
	if root == nil {
		return nil
	}
	l := &Layout{name: name, source: slices.Clone(text)}
	top := b.mapping(root, "a description")
	l.kind = Kind(b.text(top, "kind"))
	newKind, ok := kinds[l.kind]
	if !ok {
		b.say(top.at("kind", root), `"kind" must be one of %s`, names(kinds))
		return nil
	}
	b.kind = newKind()
	b.allow(top, "a description of this kind", slices.Concat(commonKeys, b.kind.keys(), b.kind.sections()))
	b.settings(root, top, l)
	parts := b.sections(root, top)
	if len(b.mistakes) > 0 {
		return nil // what follows would only repeat them
	}
	b.agreement(top, l, parts)
	b.forms(l, parts)
	return l
}

func (b *builder) settings(root ast.Node, top fields, l *Layout) {
	l.version = b.text(top, "version")
	if !versionForm.MatchString(l.version) {
		b.say(top.at("version", root), `"version" is missing or not 1 to 20 letters, digits, points and hyphens`)
	}
	l.extension = b.text(top, "extension")
	if !extensionForm.MatchString(l.extension) {
		b.say(top.at("extension", root), `"extension" is missing or not 1 to 8 small letters and digits, without a point`)
	}
	encoding := b.text(top, "encoding")
	if !slices.Contains(b.kind.charsets(), encoding) {
		b.say(top.at("encoding", root), `"encoding" of this kind must be one of %s`, strings.Join(b.kind.charsets(), ", "))
	}
	b.charset = charsets[encoding]
	b.forbid = b.text(top, "forbid")
	b.ownClasses(top)
	b.kind.settings(b, top)
}

// ownClasses adds the description's classes to the built-in ones.
func (b *builder) ownClasses(top fields) {
	b.classes = map[string]class{}
	for name, c := range classes {
		b.classes[name] = c
	}
	e, ok := top["classes"]
	if !ok {
		return
	}
	own := b.mapping(e.value, `"classes"`)
	for name, entry := range own {
		c, err := parseClass(name, b.text(own, name))
		switch _, builtin := classes[name]; {
		case builtin:
			b.say(entry.key, "the class %q is built in, take another name", name)
		case err != nil:
			b.say(entry.value, "%v", err)
		}
		b.classes[name] = c
	}
}

func (b *builder) sections(root ast.Node, top fields) sections {
	var s sections
	for key, part := range map[string]**section{"header": &s.header, "group": &s.group, "record": &s.record, "trailer": &s.trailer} {
		if e, ok := top[key]; ok && slices.Contains(b.kind.sections(), key) {
			*part = b.section(key, e)
		}
	}
	if s.record == nil {
		b.say(root, `"record" is missing`)
	}
	return s
}

func (b *builder) section(key string, e entry) *section {
	allowed := []string{"elements"}
	if b.kind.nests() {
		allowed = append(allowed, "name")
	}
	f := b.mapping(e.value, `"`+key+`"`, allowed...)
	s := &section{at: e.key, name: b.text(f, "name")}
	if b.kind.nests() {
		b.elementName(e.key, s.name)
	}
	s.nodes = b.nodes(key, f, s.at, "", false)
	return s
}

// agreement holds what concerns several elements at once: uid, what stands together, rules, hash total.
func (b *builder) agreement(top fields, l *Layout, s sections) {
	plain := plainElements(s)
	b.uid(s, plain)
	for _, n := range b.list(top, "together") {
		name, _ := scalarText(n)
		switch f := Field(name); {
		case !f.known() || f.Secret():
			b.say(n, `"together" takes fields that are not secret`)
		case plain[f] == nil:
			b.say(n, "%q must stand in the record, unchanged, to hold records together", name)
		default:
			l.together = append(l.together, f)
		}
	}
	if s.group != nil && !groupHolds(s.group, l.together) {
		b.say(s.group.at, `a "group" shows the first field of "together", and no other field of the record`)
	}
	l.rules = b.rules(top, plain)
	b.hashed(s, plain)
}

// plainElements are those whose file text is the record's own value, by field.
func plainElements(s sections) map[Field]*element {
	plain := map[Field]*element{}
	for _, part := range []*section{s.group, s.record} {
		if part == nil {
			continue
		}
		leaves(part.nodes, "", func(n *node, _ Field) {
			if n.leaf.plain() && n.twin != twinOnly && plain[n.leaf.field] == nil {
				plain[n.leaf.field] = n.leaf
			}
		})
	}
	return plain
}

func (b *builder) uid(s sections, plain map[Field]*element) {
	direct := slices.ContainsFunc(s.record.nodes, func(n *node) bool { return n.leaf != nil && n.leaf == plain[UID] })
	if e := plain[UID]; !direct || !e.required || e.out != nil || e.max < maxUID {
		b.say(s.record.at, "the record needs an element from: uid, required, with a length of at least %d: problems are told by it", maxUID)
	}
}

func groupHolds(group *section, together []Field) bool {
	shown := 0
	for _, n := range group.nodes {
		if n.leaf == nil || n.leaf.source != fromField {
			continue
		}
		if len(together) == 0 || n.leaf.field != together[0] {
			return false
		}
		shown++
	}
	return shown > 0
}

// hashed holds that a hash total is over a number that every record shows.
func (b *builder) hashed(s sections, plain map[Field]*element) {
	if s.trailer == nil {
		return
	}
	leaves(s.trailer.nodes, "", func(n *node, _ Field) {
		if n.leaf.source != fromHash {
			return
		}
		pan := plain[PAN]
		if pan == nil || !pan.required || !pan.class.within(classes["digits"]) {
			b.say(n.at, "a hash total needs an element from: pan, required, of digits, in the record")
		}
	})
}

// forms compiles the bureau's file and the twin.
func (b *builder) forms(l *Layout, s sections) {
	twin := b.twin(s)
	if len(b.mistakes) > 0 {
		return
	}
	l.file = b.form(fileSections(s))
	l.file.rules = l.rules
	l.twin = b.form(twin)
}

func (b *builder) form(s sections) *form {
	f := &form{}
	collect := func(part *section, to *[]*element) {
		if part != nil {
			leaves(part.nodes, "", func(n *node, _ Field) { *to = append(*to, n.leaf) })
		}
	}
	s.each(func(part *section) {
		leaves(part.nodes, "", func(n *node, _ Field) { n.leaf.compile() })
	})
	collect(s.header, &f.header)
	collect(s.trailer, &f.trailer)
	for _, part := range []*section{s.group, s.record} {
		if part == nil {
			continue
		}
		leaves(part.nodes, "", func(n *node, when Field) {
			f.record = append(f.record, n.leaf)
			f.when = append(f.when, when)
		})
	}
	f.body = b.kind.body(b, s)
	return f
}
