package bureau

import (
	"bytes"
	"testing"
)

func TestTheFormOfAMessageIsSeenByItsBeginning(t *testing.T) {
	home := gpgHome(t)
	_, anna := home.key(t, "anna", "ed25519", "cv25519", "1y")
	clear := home.sign(t, anna, signedText, "--clearsign")
	for name, c := range map[string]struct {
		content []byte
		form    Form
	}{
		"clear-signed":                 {clear, ClearSigned},
		"signed":                       {home.sign(t, anna, signedText, "--sign"), Signed},
		"signed, not compressed":       {home.sign(t, anna, signedText, "--compress-algo", "none", "--sign"), Signed},
		"signed, armoured":             {home.sign(t, anna, signedText, "--armor", "--comment", "from anna", "--sign"), Signed},
		"encrypted":                    {home.sign(t, anna, signedText, "--recipient", anna, "--encrypt"), Encrypted},
		"encrypted and signed, armour": {home.sign(t, anna, signedText, "--armor", "--recipient", anna, "--sign", "--encrypt"), Encrypted},
		"encrypted with a passphrase":  {home.sign(t, anna, signedText, "--passphrase", "x", "--symmetric"), Encrypted},
		"packed and not signed":        {home.sign(t, anna, signedText, "--store"), Signed},
		"a detached signature":         {home.sign(t, anna, signedText, "--detach-sign"), Signature},
		"a detached signature, armour": {home.sign(t, anna, signedText, "--armor", "--detach-sign"), Signature},
		"a key":                        {readAll(t, home.export(t, "anna")), OtherPGP},
		"armour that is cut":           {[]byte("-----BEGIN PGP MESSAGE-----\n\n"), OtherPGP},
		"after a byte order mark":      {append([]byte("\xef\xbb\xbf\r\n"), clear...), ClearSigned},
		"text":                         {[]byte("card_id\n1\n"), NotPGP},
		"text with a mark":             {[]byte("\xef\xbb\xbfcard_id\n1\n"), NotPGP},
		"UTF-16":                       {[]byte("\xff\xfec\x00a\x00"), NotPGP},
		"UTF-16, the other way":        {[]byte("\xfe\xff\x00c\x00a"), NotPGP},
		"a title with an umlaut":       {[]byte("Änderungen\ncard_id\n"), NotPGP},
		"the same in Windows-1252":     {[]byte("\xc4nderungen\ncard_id\n"), NotPGP},
		"an accent in Windows-1252":    {[]byte("\xc8tat\tcard_id\n"), NotPGP},
		"a workbook":                   {[]byte("PK\x03\x04\x14\x00"), NotPGP},
		"an old workbook":              {[]byte("\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1"), NotPGP},
		"gzip":                         {[]byte("\x1f\x8b\x08"), NotPGP},
		"nothing":                      {nil, NotPGP},
		"one byte":                     {[]byte{0xc4}, NotPGP},
		"a title before the signature": {append([]byte("hello\n"), clear...), NotPGP},
	} {
		t.Run(name, func(t *testing.T) {
			form, begins := FormOf(c.content[:min(len(c.content), FormHead)])
			if form != c.form {
				t.Errorf("it is %q", form)
			}
			if begins > 0 && !bytes.HasPrefix(c.content[begins:], []byte(armourStart)) {
				t.Errorf("it begins at %d", begins)
			}
		})
	}
}

// What a signature holds for whatever its line ends are, is given with one kind of them: the same text is the same bytes.
func TestTextOfOneSignatureIsTheSameBytes(t *testing.T) {
	home := gpgHome(t)
	path, fingerprint := home.key(t, "anna", "ed25519", "", "1y")
	anna := signerKey(t, path, fingerprint)
	message := home.sign(t, fingerprint, "one\ntwo\n", "--textmode", "--compress-algo", "none", "--sign")
	at := bytes.Index(message, []byte("one\r\ntwo"))
	if at < 0 {
		t.Fatal("GnuPG packs the text otherwise")
	}
	changed := bytes.Clone(message)
	changed = bytes.Replace(changed, []byte("one\r\ntwo\r\n"), []byte("one\ntwo\n"), 1)
	literal := bytes.LastIndexByte(changed[:at], 't') - 1 // the length of the packet stands before its format
	changed[literal] -= 2
	for name, m := range map[string][]byte{"as it was signed": message, "with other line ends": changed} {
		content, _, _, err := ReadSigned(bytes.NewReader(m), 1000, []*Key{anna}, gpgTime)
		if err != nil || string(content) != "one\ntwo\n" {
			t.Errorf("%s: %q, %v", name, content, err)
		}
	}
}
