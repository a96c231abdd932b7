package main

import (
	"archive/zip"
	"bytes"
	"compress/gzip"
	"compress/zlib"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"io"
	"strings"
	"testing"
	"unicode/utf16"

	"github.com/ProtonMail/go-crypto/openpgp/armor"
	"github.com/ProtonMail/go-crypto/openpgp/packet"

	"reemboss/formats/layout"
)

// Made up values of one card; nothing else of these tests has them.
const (
	plantedPAN   = "4532015112830366"
	plantedOdd   = "601100099013942" // of fifteen digits
	plantedTrack = plantedPAN + "=29062017310000012"
	plantedPIN   = "270915538264"
	plantedCVV   = "731"
	plantedUID   = "01HZX5S3JV7Q2N8M4K6B"
)

// planted are the secrets of the made up card.
func planted() *secrets {
	s := newSecrets()
	s.record(layout.Record{layout.PAN: plantedPAN, layout.ChipTrack2: plantedTrack, layout.CVV2Face: plantedPAN[12:] + " " + plantedCVV, layout.UID: plantedUID}, "the planted card")
	s.pan(plantedOdd, "the other number")
	s.digits(plantedPIN, "the planted PIN")
	return s
}

func packedDigits(t *testing.T, nibbles string) string {
	t.Helper()
	b, err := hex.DecodeString(nibbles)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func inUTF16(text string, high, low int) string {
	var out []byte
	for _, unit := range utf16.Encode([]rune(text)) {
		pair := []byte{byte(unit >> 8), byte(unit)}
		out = append(out, pair[high], pair[low])
	}
	return string(out)
}

// spellings are the planted secrets in every way in which one is looked for.
func spellings(t *testing.T) map[string]string {
	all := map[string]string{"a track after its number": "…=" + strings.SplitN(plantedTrack, "=", 2)[1] + "…"}
	for name, text := range map[string]string{"number": plantedPAN, "number of 15 digits": plantedOdd, "PIN": plantedPIN, "track": plantedTrack} {
		all[name] = text
		all[name+" in UTF-16LE"], all[name+" in UTF-16BE"] = inUTF16(text, 1, 0), inUTF16(text, 0, 1)
		for before := range 3 {
			padded := strings.Repeat("~", before) + text + "~~~"
			all[fmt.Sprintf("%s in base64 behind %d bytes", name, before)] = base64.StdEncoding.EncodeToString([]byte(padded))
			all[fmt.Sprintf("%s in URL base64 behind %d bytes", name, before)] = base64.RawURLEncoding.EncodeToString([]byte(padded))
		}
		all[name+" in hex"], all[name+" in HEX"] = hex.EncodeToString([]byte(text)), strings.ToUpper(hex.EncodeToString([]byte(text)))
		digits := strings.ReplaceAll(text, "=", "D")
		aligned, shifted := digits+strings.Repeat("F", len(digits)%2), "5"+digits+strings.Repeat("A", 1-len(digits)%2)
		if len(digits)%2 == 1 {
			shifted = "5" + digits
		}
		for place, nibbles := range map[string]string{"packed": aligned, "packed behind half a byte": shifted} {
			if place != "packed" && (name == "track" || name == "PIN") {
				continue // the number in the track is found; five bytes of a PIN are anywhere by chance
			}
			bcd := packedDigits(t, nibbles)
			all[name+" "+place] = bcd
			all[name+" "+place+" in hex"] = strings.ToLower(nibbles)
			for before := range 3 {
				all[fmt.Sprintf("%s %s in base64 behind %d bytes", name, place, before)] = base64.StdEncoding.EncodeToString([]byte(strings.Repeat("~", before) + bcd + "~~"))
			}
		}
	}
	for name, separator := range map[string]string{"blanks": " ", "hyphens": "-", "dots": ".", "two blanks": "  ", "hard blanks": "\u00a0", "tabs": "\t",
		"blanks and a hyphen": " - ", "a comma and a blank": ", ", "colons": ":", "ends of lines": "\r\n", "bars": "|", "asterisks": "*", "wide blanks": "\u2003", "long dashes": " \u2014 ",
		"what is not seen": "\u200b", "soft hyphens": "\u00ad", "bytes of Windows-1252": "\xa0"} {
		var groups []string
		for i := 0; i < 16; i += 4 {
			groups = append(groups, plantedPAN[i:i+4])
		}
		all["number with "+name] = strings.Join(groups, separator)
		all["number with "+name+" in UTF-16"] = inUTF16(strings.Join(groups, separator), 1, 0)
	}
	for name, zero := range map[string]rune{"full-width": '\uff10', "Arabic-Indic": '\u0660', "mathematical": '\U0001d7d8'} {
		all["number in "+name+" digits"] = strings.Map(func(r rune) rune { return zero + r - '0' }, plantedPAN)
	}
	all["number after its sixth digit"] = plantedPAN[:6] + " " + plantedPAN[6:]
	beside := func(value string) string { return `{"uid": "` + plantedUID + `", "note": "` + value + `"}` }
	for name, value := range map[string]string{"clear": plantedCVV, "hex": hex.EncodeToString([]byte(plantedCVV)), "base64": base64.StdEncoding.EncodeToString([]byte(plantedCVV)), "packed in hex": plantedCVV + "F"} {
		all["CVV in its record in "+name] = beside("is " + value + ".")
		all["CVV in its record in "+name+" in UTF-16"] = inUTF16(beside("is "+value+"."), 1, 0)
	}
	all["CVV by its name"] = "card " + plantedPAN[:6] + "******" + plantedPAN[12:] + ": cvv=" + plantedCVV
	all["CVV in a row"] = plantedUID + "," + plantedCVV + ",Anna"
	return all
}

// containers are the things that something lies in.
func containers(t *testing.T) map[string]func(string) []byte {
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	streamed := func(open func(io.Writer) io.WriteCloser) func(string) []byte {
		return func(text string) []byte {
			var out bytes.Buffer
			w := open(&out)
			_, err := io.WriteString(w, text)
			must(err)
			must(w.Close())
			return out.Bytes()
		}
	}
	zipped := func(text string) []byte {
		var out bytes.Buffer
		archive := zip.NewWriter(&out)
		w, err := archive.Create("xl/part.xml")
		must(err)
		_, err = io.WriteString(w, text)
		must(err)
		must(archive.Close())
		return out.Bytes()
	}
	packed := streamed(func(w io.Writer) io.WriteCloser {
		c, err := packet.SerializeCompressed(struct {
			io.Writer
			io.Closer
		}{w, io.NopCloser(nil)}, packet.CompressionZIP, nil)
		must(err)
		literal, err := packet.SerializeLiteral(c, true, "x", 0)
		must(err)
		return literal
	})
	gzipped := streamed(func(w io.Writer) io.WriteCloser { return gzip.NewWriter(w) })
	return map[string]func(string) []byte{
		"itself": func(text string) []byte { return []byte(text) },
		"a text": func(text string) []byte {
			return []byte("It was 20:15 on 2026-11-21, see 4711: " + text + " and more.\n")
		},
		"a ZIP": zipped,
		"a ZIP in a ZIP": func(text string) []byte {
			return zipped(string(zipped(text)))
		},
		"gzip":                         gzipped,
		"gzip in the middle of a text": func(text string) []byte { return append([]byte("header\r\n"), gzipped(text)...) },
		"zlib":                         streamed(func(w io.Writer) io.WriteCloser { return zlib.NewWriter(w) }),
		"gzip in base64 in a page": func(text string) []byte {
			return []byte(`<script>const data="` + base64.StdEncoding.EncodeToString(gzipped(text)) + `"</script>`)
		},
		"base64 of many lines": func(text string) []byte {
			code := base64.StdEncoding.EncodeToString([]byte(strings.Repeat("line ", 40) + text + strings.Repeat(" and", 40)))
			var out strings.Builder
			for ; len(code) > 76; code = code[76:] {
				out.WriteString(code[:76] + "\r\n")
			}
			return []byte(out.String() + code)
		},
		"gzip in hex": func(text string) []byte { return []byte("X'" + hex.EncodeToString(gzipped(text)) + "'") },
		"PGP packed":  packed,
		"PGP packed, armoured": func(text string) []byte {
			var out bytes.Buffer
			w, err := armor.Encode(&out, "PGP MESSAGE", nil)
			must(err)
			_, err = w.Write(packed(text))
			must(err)
			must(w.Close())
			return append([]byte("see below\n"), out.Bytes()...)
		},
	}
}

// The search finds each secret in each spelling in each thing that it can lie in. A search that finds nothing anywhere proves nothing.
func TestTheSearchFindsWhatIsPlanted(t *testing.T) {
	hunt := planted().hunt()
	tried := 0
	for place, put := range containers(t) {
		for spelling, text := range spellings(t) {
			hits := 0
			hunt.search("", put(text), func(string, string) { hits++ })
			if tried++; hits == 0 {
				t.Errorf("in %s, %s is not found", place, spelling)
			}
		}
	}
	t.Logf("%d planted", tried)
}

// What may stand anywhere: masked numbers, and the digits of a card verification value where they are none.
func TestTheSearchLeavesInPeaceWhatIsNoSecret(t *testing.T) {
	hunt := planted().hunt()
	masked := plantedPAN[:6] + "******" + plantedPAN[12:]
	for _, text := range []string{
		"card " + masked + " of " + plantedUID,
		"card " + masked + " at 12:10:00.731Z, 731.25 and 0.731 seconds, 1731 rows, a731b, SHA-256 7f731c, number 731-22",
		"row 731 of another card altogether " + strings.Repeat("and nothing more of it ", 20) + plantedUID,
		plantedPAN[:6] + " " + plantedPAN[12:],
		plantedPAN[:6] + "******" + plantedPAN[6:10] + plantedPAN[10:13] + "***" + plantedPAN[13:],
	} {
		hunt.search(text, []byte(text), func(_, what string) { t.Errorf("%q is taken for %s", text, what) })
	}
}
