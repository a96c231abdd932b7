package config

import (
	"fmt"
	"reflect"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/goccy/go-yaml"
	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/parser"
	"github.com/goccy/go-yaml/token"
)

// decoder walks the YAML tree beside the Go types and notes every mistake
// instead of stopping at the first. It keeps where each value stands, so that
// the checks of meaning that follow can name line and column too.
type decoder struct {
	file     string
	mistakes Mistakes
	places   map[string]place // path → where its key and its value stand
	failed   map[string]bool  // paths with a mistake of form: their value means nothing
	// each holds, for a type that is the element of a map, the element to start from.
	each map[reflect.Type]reflect.Value
}

// place is where a key and its value begin.
type place struct{ key, value position }

type position struct{ line, column int }

func newDecoder(file string) *decoder {
	return &decoder{
		file:   file,
		places: map[string]place{},
		failed: map[string]bool{},
		each:   map[reflect.Type]reflect.Value{},
	}
}

// decode reads text into the struct that into points to; what text does not
// name keeps its value.
func (d *decoder) decode(text []byte, into any) {
	file, err := parser.ParseBytes(text, 0, parser.AllowDuplicateMapKey())
	if err != nil {
		d.syntax(err)
		return
	}
	target := reflect.ValueOf(into).Elem()
	for i, doc := range file.Docs {
		switch {
		case doc.Body == nil:
		case i > 0:
			d.note(at(doc.Body.GetToken()), "", "a second document begins here (after ---); the configuration is one document")
		default:
			d.value(doc.Body, target, "", "")
		}
	}
}

// syntax notes an error of the YAML itself, without the excerpt of the file
// that the parser adds: a line may hold what should not be printed.
func (d *decoder) syntax(err error) {
	where, message := position{1, 1}, "cannot be read as YAML"
	if e, ok := err.(yaml.Error); ok {
		if tk := e.GetToken(); tk != nil {
			where = at(tk)
		}
		message = "is not YAML: " + e.GetMessage() + "; mend this first, what follows it could not be read"
	}
	d.failed[""] = true
	d.note(where, "", message)
}

// begins is where a value begins: a table over several lines with its first
// key, not with the colon after it, which is the token that stands for the table.
func begins(n ast.Node) position {
	switch table := n.(type) {
	case *ast.MappingNode:
		if !table.IsFlowStyle && len(table.Values) > 0 {
			return at(table.Values[0].Key.GetToken())
		}
	case *ast.MappingValueNode:
		return at(table.Key.GetToken())
	}
	return at(n.GetToken())
}

func at(tk *token.Token) position {
	if tk == nil || tk.Position == nil {
		return position{1, 1}
	}
	return position{tk.Position.Line, tk.Position.Column}
}

func (d *decoder) note(where position, path, message string) {
	d.mistakes = append(d.mistakes, Mistake{File: d.file, Line: where.line, Column: where.column, Path: path, Message: message})
}

// bad notes a mistake of form: the value at path is not usable.
func (d *decoder) bad(n ast.Node, path, format string, args ...any) {
	d.failed[path] = true
	d.note(at(n.GetToken()), path, fmt.Sprintf(format, args...))
}

// value decodes n into target. unit is the field's unit tag.
func (d *decoder) value(n ast.Node, target reflect.Value, path, unit string) {
	switch n.(type) {
	case *ast.AnchorNode, *ast.AliasNode, *ast.TagNode, *ast.MergeKeyNode:
		d.bad(n, path, "anchors (&), aliases (*), merges (<<) and tags (!) are not used here; write the value out")
		return
	case *ast.NullNode:
		d.bad(n, path, "has no value; write one, or leave the key out to get its default")
		return
	}
	switch {
	case target.Type() == reflect.TypeFor[time.Duration]():
		d.duration(n, target, path)
	case unit == "bytes":
		d.size(n, target, path)
	default:
		d.byKind(n, target, path)
	}
}

func (d *decoder) byKind(n ast.Node, target reflect.Value, path string) {
	switch target.Kind() {
	case reflect.Struct:
		d.structure(n, target, path)
	case reflect.Map:
		d.table(n, target, path)
	case reflect.Slice:
		d.list(n, target, path)
	case reflect.String:
		if text, ok := d.text(n, path); ok {
			target.SetString(text)
		}
	case reflect.Bool:
		if b, ok := n.(*ast.BoolNode); ok {
			target.SetBool(b.Value)
		} else {
			d.bad(n, path, "must be true or false, not %s", kindOf(n))
		}
	case reflect.Int, reflect.Int64:
		d.integer(n, target, path)
	default:
		panic("config: a field of kind " + target.Kind().String() + " cannot stand in the configuration")
	}
}

// text takes a scalar as it is written: 411111, 0826 and 1E5000 stay what they are.
func (d *decoder) text(n ast.Node, path string) (string, bool) {
	switch n := n.(type) {
	case *ast.StringNode:
		return n.Value, true
	case *ast.LiteralNode:
		return n.Value.Value, true
	case *ast.IntegerNode, *ast.FloatNode:
		return n.GetToken().Value, true
	}
	d.bad(n, path, "must be text, not %s; put it in quotes", kindOf(n))
	return "", false
}

// decimal is a whole number in the one form that nobody reads as octal.
var decimal = regexp.MustCompile(`^-?(0|[1-9][0-9_]*)$`)

func (d *decoder) integer(n ast.Node, target reflect.Value, path string) {
	if _, ok := n.(*ast.IntegerNode); !ok {
		d.bad(n, path, "must be a whole number, not %s", kindOf(n))
		return
	}
	text := n.GetToken().Value
	number, err := strconv.ParseInt(strings.ReplaceAll(text, "_", ""), 10, 64)
	if !decimal.MatchString(text) || err != nil {
		d.bad(n, path, "must be a whole number in decimal digits without leading zeros, of at most 18 digits")
		return
	}
	target.SetInt(number)
}

func (d *decoder) duration(n ast.Node, target reflect.Value, path string) {
	text, ok := n.(*ast.StringNode)
	if !ok {
		d.bad(n, path, "must be a duration with its unit, such as 1s, 30s or 5m, not %s", kindOf(n))
		return
	}
	span, err := time.ParseDuration(text.Value)
	if err != nil || span < 0 {
		d.bad(n, path, "%q is not a duration; write one with its unit, such as 1s, 30s or 5m", text.Value)
		return
	}
	target.SetInt(int64(span))
}

// sizeUnits are the units of a size, in bytes.
var sizeUnits = map[string]int64{
	"": 1, "B": 1, "KiB": 1 << 10, "MiB": 1 << 20, "GiB": 1 << 30, "KB": 1e3, "MB": 1e6, "GB": 1e9,
}

var sizeForm = regexp.MustCompile(`^(0|[1-9][0-9_]{0,15}) ?([KMG]i?B|B)?$`)

func (d *decoder) size(n ast.Node, target reflect.Value, path string) {
	switch n.(type) {
	case *ast.StringNode, *ast.IntegerNode:
	default:
		d.bad(n, path, "must be a size, such as 104857600 (bytes) or 100MiB, not %s", kindOf(n))
		return
	}
	form := sizeForm.FindStringSubmatch(n.GetToken().Value)
	if form == nil {
		d.bad(n, path, "%q is not a size; write bytes, or a whole number with KiB, MiB, GiB, KB, MB or GB, such as 100MiB", n.GetToken().Value)
		return
	}
	number, _ := strconv.ParseInt(strings.ReplaceAll(form[1], "_", ""), 10, 64)
	unit := sizeUnits[form[2]]
	if number > (1<<50)/unit {
		d.bad(n, path, "is more than a pebibyte; write a size that this machine can hold")
		return
	}
	target.SetInt(number * unit)
}

func (d *decoder) list(n ast.Node, target reflect.Value, path string) {
	sequence, ok := n.(*ast.SequenceNode)
	if !ok {
		d.bad(n, path, "must be a list, such as [a, b], not %s", kindOf(n))
		return
	}
	list := reflect.MakeSlice(target.Type(), len(sequence.Values), len(sequence.Values))
	for i, element := range sequence.Values {
		where := fmt.Sprintf("%s[%d]", path, i)
		d.places[where] = place{begins(element), begins(element)}
		if start, ok := d.each[target.Type().Elem()]; ok {
			list.Index(i).Set(start)
		}
		d.value(element, list.Index(i), where, "")
	}
	target.Set(list)
}

// table decodes a map. What stands in the file is the whole map; each element
// starts from the defaults of its type.
func (d *decoder) table(n ast.Node, target reflect.Value, path string) {
	made := reflect.MakeMap(target.Type())
	element := target.Type().Elem()
	d.entries(n, path, func(key string, keyNode, v ast.Node, where string) {
		k := reflect.New(target.Type().Key()).Elem()
		if k.Kind() == reflect.Int {
			number, err := strconv.Atoi(key)
			if err != nil || !decimal.MatchString(key) {
				d.bad(keyNode, where, "the key %q must be a whole number", key)
				return
			}
			k.SetInt(int64(number))
		} else {
			k.SetString(key)
		}
		e := reflect.New(element).Elem()
		if start, ok := d.each[element]; ok {
			e.Set(start)
		}
		d.value(v, e, where, "")
		made.SetMapIndex(k, e)
	})
	target.Set(made)
}

func (d *decoder) structure(n ast.Node, target reflect.Value, path string) {
	fields := fieldsOf(target)
	if target.Type() == reflect.TypeFor[SecretRef]() {
		if _, ok := n.(*ast.MappingNode); !ok {
			d.bad(n, path, "names where a secret is and never holds it; write file: with a path or env: with a variable's name below it")
			return
		}
	}
	d.entries(n, path, func(key string, keyNode, v ast.Node, where string) {
		f, ok := fields[key]
		if !ok {
			d.unknown(keyNode, where, key, fields)
			return
		}
		d.value(v, f.value, where, f.unit)
	})
}

// entries calls fn for each key of a mapping, once: of equal keys the later ones are mistakes.
func (d *decoder) entries(n ast.Node, path string, fn func(key string, keyNode, value ast.Node, where string)) {
	var values []*ast.MappingValueNode
	switch n := n.(type) {
	case *ast.MappingNode:
		values = n.Values
	case *ast.MappingValueNode:
		values = []*ast.MappingValueNode{n}
	default:
		d.bad(n, path, "must have keys below it (key: value), not be %s", kindOf(n))
		return
	}
	first := map[string]int{}
	for _, v := range values {
		keyNode := v.Key
		switch keyNode.(type) {
		case *ast.StringNode, *ast.IntegerNode, *ast.BoolNode, *ast.FloatNode:
		default:
			d.note(at(keyNode.GetToken()), path, "a key must be a plain word or number; anchors, merges (<<) and keys over several lines are not used here")
			continue
		}
		key := keyNode.GetToken().Value
		where := join(path, key)
		if line, twice := first[key]; twice {
			d.note(at(keyNode.GetToken()), where, fmt.Sprintf("the key stands here a second time (first in line %d); keep one of them", line))
			continue
		}
		first[key] = at(keyNode.GetToken()).line
		d.places[where] = place{at(keyNode.GetToken()), begins(v.Value)}
		fn(key, keyNode, v.Value, where)
	}
}

func (d *decoder) unknown(keyNode ast.Node, where, key string, fields map[string]field) {
	known := make([]string, 0, len(fields))
	for name := range fields {
		known = append(known, name)
	}
	message := fmt.Sprintf("unknown key %q; %s", key, hint(key, known))
	if soundsSecret(key) {
		message += ". Secrets never stand in the configuration: the keys that need one (keyset_kek, passphrase, password, secret) name a file: or an environment variable with env:"
	}
	d.bad(keyNode, where, "%s", message)
}

func soundsSecret(key string) bool {
	key = strings.ToLower(key)
	for _, word := range []string{"pass", "secret", "pwd", "token", "credential"} {
		if strings.Contains(key, word) {
			return true
		}
	}
	return false
}

// field is one key of a struct.
type field struct {
	value reflect.Value
	unit  string
}

// fieldsOf gives the keys of a struct, those of inlined structs included.
func fieldsOf(target reflect.Value) map[string]field {
	fields := map[string]field{}
	for i := range target.NumField() {
		tag := target.Type().Field(i).Tag
		name, options, _ := strings.Cut(tag.Get("yaml"), ",")
		switch {
		case options == "inline":
			for k, f := range fieldsOf(target.Field(i)) {
				fields[k] = f
			}
		case name != "":
			fields[name] = field{target.Field(i), tag.Get("unit")}
		}
	}
	return fields
}

// kindOf names the kind of a node in plain words.
func kindOf(n ast.Node) string {
	switch n.(type) {
	case *ast.StringNode, *ast.LiteralNode:
		return "text"
	case *ast.IntegerNode:
		return "a number"
	case *ast.FloatNode, *ast.InfinityNode, *ast.NanNode:
		return "a number with a fraction"
	case *ast.BoolNode:
		return "true or false"
	case *ast.SequenceNode:
		return "a list"
	case *ast.MappingNode, *ast.MappingValueNode:
		return "a table of keys"
	}
	return "something else"
}

func join(path, key string) string {
	if path == "" {
		return key
	}
	return path + "." + key
}
