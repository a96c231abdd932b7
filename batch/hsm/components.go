package hsm

// For the ceremony in which a key comes in: what a person compares, and what a
// module does with the exclusive or of components.

// CheckValue is the check value of a card verification key pair or of one of its
// components: the first three bytes of the encryption of zeros, six hexadecimal
// digits. It does not depend on parity.
func CheckValue(pair []byte) (string, error) { return kcvTDES(pair) }

// SetOddParity sets the lowest bit of each byte of a DES key, which means nothing to DES.
func SetOddParity(pair []byte) { setOddParity(pair) }

// KEKCheckValue is the check value of a key-encryption key, as [Keyset.KEKs] tells it.
func KEKCheckValue(kek []byte) (string, error) { return kcvAES(kek) }
