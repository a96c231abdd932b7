package config

import (
	_ "embed"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"reflect"
	"slices"

	_ "time/tzdata" // the check of a time zone must not depend on the machine
)

// defaultsText is the configuration that counts where config.yaml is silent; it documents itself.
//
//go:embed defaults.yaml
var defaultsText []byte

// defaults is defaults.yaml: a Config, and what an element of a table starts from.
type defaults struct {
	Config `yaml:",inline"`
	Each   struct {
		Product  Product  `yaml:"product"`
		Bureau   Bureau   `yaml:"bureau"`
		CardKey  CardKey  `yaml:"card_key"`
		Reason   Reason   `yaml:"reason"`
		Shipping Shipping `yaml:"shipping"`

		MailRecipient MailRecipient `yaml:"mail_recipient"`
		Webhook       Webhook       `yaml:"webhook"`
	} `yaml:"each"`
}

// Load reads the configuration file at path; the folder it lies in is the
// workspace. What is wrong with the content comes back as [Mistakes], all of
// it, beside what could be understood, which is good for looking further and
// for nothing else; a file that cannot be read is another error.
func Load(path string) (*Config, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("read the configuration: %w", err)
	}
	return Parse(path, text, filepath.Dir(path))
}

// Parse reads a configuration from text; name is what mistakes call the file.
// Files that the configuration names (a layout of one's own) are looked for
// below workspace; with workspace "" they are not looked for.
func Parse(name string, text []byte, workspace string) (*Config, error) {
	base, err := readDefaults()
	if err != nil {
		return nil, err
	}
	d := newDecoder(name)
	d.each = base.each()
	cfg := base.Config
	d.decode(text, &cfg)
	cfg.complete(&base.Config)
	if !d.failed[""] {
		c := &checker{Config: &cfg, d: d, workspace: workspace}
		c.all()
	}
	if len(d.mistakes) > 0 {
		d.mistakes.sort()
		if d.failed[""] {
			return nil, d.mistakes
		}
		return &cfg, d.mistakes
	}
	return &cfg, nil
}

// readDefaults decodes the embedded defaults anew, so that no two
// configurations share a map.
func readDefaults() (*defaults, error) {
	var starts, base defaults
	d := newDecoder("defaults.yaml")
	d.decode(defaultsText, &starts)
	// Once more: the built-in tables have elements too, which start from `each`.
	d = newDecoder("defaults.yaml")
	d.each = starts.each()
	d.decode(defaultsText, &base)
	if len(d.mistakes) > 0 {
		return nil, fmt.Errorf("the defaults built into this program: %w", d.mistakes)
	}
	return &base, nil
}

func (b *defaults) each() map[reflect.Type]reflect.Value {
	elements := map[reflect.Type]reflect.Value{}
	for _, e := range []any{b.Each.Product, b.Each.Bureau, b.Each.CardKey, b.Each.Reason, b.Each.Shipping, b.Each.MailRecipient, b.Each.Webhook} {
		elements[reflect.TypeOf(e)] = reflect.ValueOf(e)
	}
	return elements
}

// complete fills in what follows from something else: names from their keys,
// and the built-in header names, reason words and postcode formats beside those
// of the file. What the file says of a word or a country wins.
func (c *Config) complete(base *Config) {
	for key, p := range c.Products {
		p.Name = orElse(p.Name, key)
		p.Reference = orElse(p.Reference, key)
		p.Delivery, p.Fixed = maps.Clone(p.Delivery), maps.Clone(p.Fixed)
		c.Products[key] = p
	}
	for key, b := range c.Bureaus {
		b.Name = orElse(b.Name, key)
		b.WorkingDays, b.Delivery.Ciphers = slices.Clone(b.WorkingDays), slices.Clone(b.Delivery.Ciphers)
		c.Bureaus[key] = b
	}
	headers := maps.Clone(base.Headers)
	for column, names := range c.Headers {
		all := slices.Clone(headers[column])
		for _, name := range names {
			if !slices.Contains(all, name) {
				all = append(all, name)
			}
		}
		headers[column] = all
	}
	c.Headers = headers
	c.ReasonWords = mergedWords(base.ReasonWords, c.ReasonWords)
	c.Postcodes = merged(base.Postcodes, c.Postcodes)
}

func merged[V any](base, own map[string]V) map[string]V {
	all := make(map[string]V, len(base)+len(own))
	maps.Copy(all, base)
	maps.Copy(all, own)
	return all
}

// mergedWords leaves out a built-in word that the file spells in its own way.
func mergedWords(base, own map[string]int) map[string]int {
	spelt := map[string]bool{}
	for word := range own {
		spelt[Fold(word)] = true
	}
	all := maps.Clone(own)
	if all == nil {
		all = map[string]int{}
	}
	for word, code := range base {
		if !spelt[Fold(word)] {
			all[word] = code
		}
	}
	return all
}

func orElse(text, otherwise string) string {
	if text == "" {
		return otherwise
	}
	return text
}
