package config

import (
	"bytes"
	_ "embed"
	"fmt"
	"strings"
	"text/template"
)

//go:embed example.yaml.tmpl
var exampleText string

// ExampleValues are what `reemboss init` makes anew for each workspace.
type ExampleValues struct {
	OwnFingerprint        string // of keys/issuer.pgp, 40 hex digits
	AlphaFingerprint      string // of the simulated bureau alpha
	BetaFingerprint       string // of the simulated bureau beta
	CardSystemFingerprint string // of the card system's test key
	VisaKCV               string // of cvk-visa, six hex digits
	MastercardKCV         string // of cvk-mastercard
}

// SampleValues are those of config.example.yaml. Behind them is no key.
var SampleValues = ExampleValues{
	OwnFingerprint:        "0000000000000000000000000000000000000001",
	AlphaFingerprint:      "000000000000000000000000000000000000000A",
	BetaFingerprint:       "000000000000000000000000000000000000000B",
	CardSystemFingerprint: "000000000000000000000000000000000000000C",
	VisaKCV:               "08D7B4",
	MastercardKCV:         "A1B2C3",
}

// Example is the commented configuration of a new workspace, every default
// stated. With [SampleValues] it is config.example.yaml, byte for byte.
func Example(values ExampleValues) []byte {
	// The template is part of the program and a test executes it; it cannot fail on six texts.
	t := template.Must(template.New("example").Funcs(template.FuncMap{"builtin": builtinSection}).Parse(exampleText))
	var out bytes.Buffer
	if err := t.Execute(&out, values); err != nil {
		panic(fmt.Sprintf("config: the built-in example: %v", err))
	}
	return out.Bytes()
}

// builtinSection gives the lines of a section of defaults.yaml as comments.
func builtinSection(section string) (string, error) {
	_, text, found := strings.Cut("\n"+string(defaultsText), "\n"+section+":\n")
	if !found {
		return "", fmt.Errorf("defaults.yaml has no section %s", section)
	}
	var lines []string
	for line := range strings.Lines(text) {
		if !strings.HasPrefix(line, "  ") {
			break
		}
		lines = append(lines, "#"+strings.TrimRight(line[1:], "\n"))
	}
	return strings.Join(lines, "\n"), nil
}
