package layout

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/goccy/go-yaml"
	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/parser"
)

// maxDescription is the size of a description in bytes; the built-in ones have a tenth.
const maxDescription = 1 << 20

// clerk reads YAML nodes strictly and writes down every mistake with its place.
type clerk struct{ mistakes []Mistake }

// say notes a mistake at a node.
func (c *clerk) say(n ast.Node, format string, args ...any) {
	line, column := 1, 1
	if n != nil {
		line, column = position(n)
	}
	c.mistakes = append(c.mistakes, Mistake{line, column, fmt.Sprintf(format, args...)})
}

// position is where a node begins: a block mapping's own token is its first colon, so its first key counts.
func position(n ast.Node) (line, column int) {
	switch m := n.(type) {
	case *ast.MappingNode:
		if !m.IsFlowStyle && len(m.Values) > 0 {
			return position(m.Values[0].Key)
		}
	case *ast.MappingValueNode:
		return position(m.Key)
	}
	t := n.GetToken()
	if t == nil || t.Position == nil {
		return 1, 1
	}
	return max(t.Position.Line, 1), max(t.Position.Column, 1)
}

// parse gives the one document of a description, nil where it is not YAML.
func (c *clerk) parse(text []byte) (root ast.Node) {
	if len(text) > maxDescription {
		c.say(nil, "a description has at most %d bytes", maxDescription)
		return nil
	}
	// The parser panics on some malformed input instead of returning an error.
	defer func() {
		if recover() != nil {
			root = nil
			c.say(nil, "this is not YAML that can be read")
		}
	}()
	file, err := parser.ParseBytes(text, 0, parser.AllowDuplicateMapKey())
	if err != nil {
		c.syntax(err)
		return nil
	}
	if len(file.Docs) != 1 || file.Docs[0].Body == nil {
		c.say(nil, "a description is one YAML document")
		return nil
	}
	return file.Docs[0].Body
}

func (c *clerk) syntax(err error) {
	m := Mistake{Line: 1, Column: 1, Text: "this is not YAML: " + firstLine(err.Error())}
	var syntax *yaml.SyntaxError
	if errors.As(err, &syntax) {
		m.Text = "this is not YAML: " + syntax.Message
		if syntax.Token != nil && syntax.Token.Position != nil {
			m.Line, m.Column = max(syntax.Token.Position.Line, 1), max(syntax.Token.Position.Column, 1)
		}
	}
	c.mistakes = append(c.mistakes, m)
}

func firstLine(s string) string {
	line, _, _ := strings.Cut(s, "\n")
	return line
}

// entry is one key of a mapping with its value.
type entry struct{ key, value ast.Node }

// fields are the keys of a mapping by name.
type fields map[string]entry

// at is the place of a key's value; of the whole, where the key is missing.
func (f fields) at(key string, whole ast.Node) ast.Node {
	if e, ok := f[key]; ok {
		return e.value
	}
	return whole
}

// mapping reads a mapping whose keys are among allowed (any, where nothing is
// given). what names it in messages.
func (c *clerk) mapping(n ast.Node, what string, allowed ...string) fields {
	found := fields{}
	for _, pair := range c.pairs(n, what) {
		name, ok := scalarText(pair.key)
		switch _, twice := found[name]; {
		case !ok:
			c.say(pair.key, "a key of %s is a plain word", what)
		case twice:
			c.say(pair.key, "%q stands here twice", name)
		default:
			found[name] = pair
		}
	}
	if len(allowed) > 0 {
		c.allow(found, what, allowed)
	}
	return found
}

// allow holds that the keys found are among allowed.
func (c *clerk) allow(found fields, what string, allowed []string) {
	for name, e := range found {
		if !slices.Contains(allowed, name) {
			c.say(e.key, "%s has no key %q; it takes %s", what, name, strings.Join(allowed, ", "))
		}
	}
}

func (c *clerk) pairs(n ast.Node, what string) []entry {
	var list []entry
	switch m := n.(type) {
	case *ast.MappingNode:
		for _, v := range m.Values {
			list = append(list, entry{v.Key, v.Value})
		}
	case *ast.MappingValueNode:
		list = append(list, entry{m.Key, m.Value})
	default:
		c.say(n, "%s is written as keys with values", what)
	}
	return list
}

// scalarText is the text of a plain value as it is written, so that 0826 stays 0826.
func scalarText(n ast.Node) (string, bool) {
	switch s := n.(type) {
	case *ast.StringNode:
		return s.Value, true
	case *ast.LiteralNode:
		return s.Value.Value, true
	case *ast.IntegerNode, *ast.FloatNode, *ast.BoolNode:
		return s.GetToken().Value, true
	}
	return "", false
}

// text reads the value of key; where it is missing, "".
func (c *clerk) text(f fields, key string) string {
	e, ok := f[key]
	if !ok {
		return ""
	}
	s, ok := scalarText(e.value)
	if !ok {
		c.say(e.key, "%q takes one text", key)
	}
	return s
}

// number reads a whole number from low to high; where it is missing, 0.
func (c *clerk) number(f fields, key string, low, high int) int {
	e, ok := f[key]
	if !ok {
		return 0
	}
	s, _ := scalarText(e.value)
	n, err := strconv.Atoi(s)
	if _, whole := e.value.(*ast.IntegerNode); !whole || err != nil || n < low || n > high {
		c.say(e.value, "%q takes a whole number from %d to %d", key, low, high)
		return 0
	}
	return n
}

// flag reads true or false; where it is missing, false.
func (c *clerk) flag(f fields, key string) bool {
	e, ok := f[key]
	if !ok {
		return false
	}
	b, ok := e.value.(*ast.BoolNode)
	if !ok {
		c.say(e.value, "%q takes true or false", key)
		return false
	}
	return b.Value
}

// list reads the items of a list; where it is missing, none.
func (c *clerk) list(f fields, key string) []ast.Node {
	e, ok := f[key]
	if !ok {
		return nil
	}
	s, ok := e.value.(*ast.SequenceNode)
	if !ok || len(s.Values) == 0 {
		c.say(e.key, "%q takes a list", key)
		return nil
	}
	return s.Values
}

// texts reads a list of texts.
func (c *clerk) texts(f fields, key string) []string {
	var list []string
	for _, n := range c.list(f, key) {
		s, ok := scalarText(n)
		switch {
		case !ok:
			c.say(n, "%q takes a list of texts", key)
		case slices.Contains(list, s):
			c.say(n, "%q stands here twice", s)
		default:
			list = append(list, s)
		}
	}
	return list
}

// choice reads a text that is a key of table.
func choice[K ~string, V any](c *clerk, f fields, key string, table map[K]V, unset K) V {
	if _, ok := f[key]; !ok {
		return table[unset]
	}
	s := K(c.text(f, key))
	v, ok := table[s]
	if !ok {
		c.say(f[key].value, "%q must be one of %s", key, names(table))
	}
	return v
}

// field reads the name of a record's field.
func (c *clerk) field(f fields, key string) Field {
	e, ok := f[key]
	if !ok {
		return ""
	}
	name := Field(c.text(f, key))
	if !name.known() {
		c.say(e.value, "there is no field %q; docs/layouts.md lists them", string(name))
		return ""
	}
	return name
}
