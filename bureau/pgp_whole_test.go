package bureau

import (
	"bytes"
	"errors"
	"strings"
	"testing"

	"github.com/ProtonMail/go-crypto/openpgp/armor"
)

func armour(t *testing.T, message []byte) []byte {
	t.Helper()
	var out bytes.Buffer
	w, err := armor.Encode(&out, "PGP MESSAGE", nil)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.Write(message); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

// Cut anywhere, a message is known to be cut; whole, and damaged but whole, it is not.
func TestWholeKnowsEveryCut(t *testing.T) {
	key := testKey(t, "whole")
	for _, size := range []int{0, 10, 300, 70_000} {
		for _, armoured := range []bool{false, true} {
			var out bytes.Buffer
			sealed, err := Seal(&out, Sealing{To: []*Key{key}, Signer: key, Time: keyTime})
			if err != nil {
				t.Fatal(err)
			}
			if _, err := sealed.Write(bytes.Repeat([]byte("x"), size)); err != nil {
				t.Fatal(err)
			}
			if err := sealed.Close(); err != nil {
				t.Fatal(err)
			}
			message := out.Bytes()
			if armoured {
				message = armour(t, message)
			}
			if err := Whole(bytes.NewReader(message)); err != nil {
				t.Fatalf("%d bytes, armoured %v: %v", size, armoured, err)
			}
			end := len(message)
			if armoured { // what stands after the last line of content is not needed
				end = strings.LastIndex(string(message), "\n=")
				if end < 0 {
					end = strings.LastIndex(string(message), "\n-----END")
				}
			}
			for cut := 1; cut < end; cut += 1 + cut/97 {
				if err := Whole(bytes.NewReader(message[:cut])); !errors.Is(err, ErrCut) {
					t.Fatalf("%d bytes, armoured %v, cut at %d of %d: %v", size, armoured, cut, len(message), err)
				}
			}
			if armoured {
				continue
			}
			damaged := bytes.Clone(message)
			damaged[len(damaged)-8] ^= 1
			if err := Whole(bytes.NewReader(damaged)); err != nil {
				t.Errorf("damaged, and all there: %v", err)
			}
		}
	}
}
