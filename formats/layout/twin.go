package layout

import (
	"slices"
)

// twinMark says what becomes of an element in the masked twin.
type twinMark string

const (
	twinKeep  twinMark = ""
	twinOmit  twinMark = "omit"  // left out
	twinMask  twinMark = "mask"  // card number with its first six and last four digits
	twinStars twinMark = "stars" // asterisks over its whole width
	twinOnly  twinMark = "only"  // in the twin and not in the bureau's file
)

func (b *builder) mark(f fields) twinMark {
	e, ok := f["twin"]
	if !ok {
		return twinKeep
	}
	m := twinMark(b.text(f, "twin"))
	if !slices.Contains(b.kind.marks(), m) {
		b.say(e.value, `"twin" of this kind must be one of %v`, b.kind.marks())
	}
	return m
}

// fileSections are the sections without what is in the twin only.
func fileSections(s sections) sections {
	return s.with(func(n *node) *node {
		if n.twin == twinOnly {
			return nil
		}
		return n
	})
}

// twin makes the sections of the masked twin and then looks at every element
// of the result, whatever the marks said: one that shows a secret is a
// mistake of the description, so that no layout can exist whose twin has one.
func (b *builder) twin(s sections) sections {
	made := s.with(b.twinNode)
	made.each(func(part *section) {
		leaves(part.nodes, "", func(n *node, _ Field) {
			if !n.leaf.open() {
				b.say(n.at, "the masked twin would show a secret here; say twin: with one of %v", b.kind.marks())
			}
		})
	})
	return made
}

func (b *builder) twinNode(n *node) *node {
	if n.twin == twinOmit {
		return nil
	}
	if n.leaf == nil {
		return n
	}
	shown := *n
	leaf := *n.leaf
	shown.leaf = &leaf
	leaf.scrub = true
	switch n.twin {
	case twinMask:
		if leaf.field != PAN && leaf.field != PANGrouped && leaf.field != PANMasked {
			b.say(n.at, "twin: mask is for a card number")
		}
		leaf.becomes(asMasked)
	case twinStars:
		leaf.becomes(asStars)
	}
	return &shown
}

// becomes makes e an element that shows s instead of its value, and takes off
// the demands that only the value can meet.
func (e *element) becomes(s source) {
	e.source = s
	e.min, e.class, e.oneOf, e.out, e.in, e.transform, e.format = 0, class{}, nil, nil, nil, nil, nil
	if e.number {
		e.number, e.left = false, true
	}
}

// open says that people may see what the element shows. What is not known to
// be open is not.
func (e *element) open() bool {
	switch e.source {
	case fromText, fromHead, fromNumber, asMasked, asStars:
		return true
	case fromField:
		return !e.field.Secret()
	}
	return false
}

// with gives sections whose nodes went through change; nil takes a node out.
func (s sections) with(change func(*node) *node) sections {
	part := func(old *section) *section {
		if old == nil {
			return nil
		}
		made := *old
		made.nodes = changed(old.nodes, change)
		return &made
	}
	return sections{part(s.header), part(s.group), part(s.record), part(s.trailer)}
}

func changed(nodes []*node, change func(*node) *node) []*node {
	var kept []*node
	for _, n := range nodes {
		n = change(n)
		if n == nil {
			continue
		}
		if n.leaf == nil {
			nest := *n
			nest.children = changed(n.children, change)
			n = &nest
		}
		kept = append(kept, n)
	}
	return kept
}
