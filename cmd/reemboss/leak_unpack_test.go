package main

import (
	"archive/zip"
	"bytes"
	"compress/gzip"
	"compress/zlib"
	"encoding/base64"
	"encoding/hex"
	"io"

	"github.com/ProtonMail/go-crypto/openpgp/armor"
	"github.com/ProtonMail/go-crypto/openpgp/packet"
)

// Most of what one thing unpacks to.
const mostUnpacked = 64 << 20

// unpack gives all that is packed in content, wherever in it: the parts of a ZIP, streams of gzip and zlib, what OpenPGP
// packs without a key, and long words of base64 and of hexadecimal digits.
//
//go:norace
func unpack(content []byte, part func(name string, inner []byte)) {
	unzip(content, part)
	for i := 0; i+2 < len(content); i++ {
		switch {
		case content[i] == 0x1f && content[i+1] == 0x8b && content[i+2] == 8:
			if r, err := gzip.NewReader(bytes.NewReader(content[i:])); err == nil {
				r.Multistream(false)
				inflated("gzip", r, part)
			}
		case content[i] == 0x78 && (int(content[i])<<8|int(content[i+1]))%31 == 0:
			if r, err := zlib.NewReader(bytes.NewReader(content[i:])); err == nil {
				inflated("zlib", r, part)
			}
		}
	}
	unarmour(content, part)
	openPackets(content, part)
	words(content, part)
}

// inflated gives what a stream had until its end or its first fault.
func inflated(name string, r io.Reader, part func(string, []byte)) {
	text, _ := io.ReadAll(io.LimitReader(r, mostUnpacked)) // what came before the fault is there
	if len(text) >= finderWindow {
		part(name, text)
	}
}

func unzip(content []byte, part func(string, []byte)) {
	if !bytes.Contains(content, []byte("PK\x03\x04")) {
		return
	}
	archive, err := zip.NewReader(bytes.NewReader(content), int64(len(content)))
	if err != nil {
		return
	}
	part("comment", []byte(archive.Comment))
	for _, f := range archive.File {
		part("name", []byte(f.Name+"\n"+f.Comment))
		if r, err := f.Open(); err == nil {
			inflated(f.Name, r, part)
			_ = r.Close()
		}
	}
}

func unarmour(content []byte, part func(string, []byte)) {
	const begins = "-----BEGIN PGP "
	for rest := content; ; {
		at := bytes.Index(rest, []byte(begins))
		if at < 0 {
			return
		}
		rest = rest[at:]
		if block, err := armor.Decode(bytes.NewReader(rest)); err == nil {
			inflated("armour", block.Body, part)
		}
		rest = rest[len(begins):]
	}
}

// openPackets gives what OpenPGP packets hold that needs no key: text, packed or as it is.
func openPackets(content []byte, part func(string, []byte)) {
	if len(content) < 3 || content[0]&0x80 == 0 {
		return
	}
	packets := packet.NewReader(bytes.NewReader(content))
	for range 20 {
		p, err := packets.Next()
		if err != nil {
			return
		}
		switch p := p.(type) {
		case *packet.Compressed:
			inflated("PGP packed", p.Body, part)
			return
		case *packet.LiteralData:
			inflated("PGP text", p.Body, part)
			return
		}
	}
}

// words decodes long words of base64, also over line ends, and of hexadecimal digits.
//
//go:norace
func words(content []byte, part func(string, []byte)) {
	const shortest = 24
	for begin := 0; begin < len(content); {
		if !isCodeByte(content[begin]) {
			begin++
			continue
		}
		end, word := begin, []byte(nil)
		for line := begin; end < len(content); {
			for end < len(content) && isCodeByte(content[end]) {
				end++
			}
			word = append(word, content[line:end]...)
			next := end
			for next < len(content) && next < end+2 && (content[next] == '\r' || content[next] == '\n') {
				next++
			}
			if end-line < 60 || next == end || next >= len(content) || !isCodeByte(content[next]) {
				break
			}
			line, end = next, next
		}
		if len(word) >= shortest {
			decoded(word, part)
		}
		begin = max(end, begin+1)
	}
}

func decoded(word []byte, part func(string, []byte)) {
	if text, err := hex.DecodeString(string(word[:len(word)/2*2])); err == nil {
		part("hex", text)
		return
	}
	for _, encoding := range []*base64.Encoding{base64.RawStdEncoding, base64.RawURLEncoding} {
		if text, err := encoding.DecodeString(string(word[:len(word)/4*4])); err == nil {
			part("base64", text)
			return
		}
	}
}

//go:norace
func isCodeByte(b byte) bool {
	return b >= '0' && b <= '9' || b >= 'A' && b <= 'Z' || b >= 'a' && b <= 'z' || b == '+' || b == '/' || b == '-' || b == '_'
}
