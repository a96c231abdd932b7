package config

// keyEncryptionKey checks where the key of the keyset is: in a file, in the
// environment, or in a file that a key of the token has encrypted.
func (c *checker) keyEncryptionKey(path string, s SecretRef) {
	if s.TokenKey == "" {
		c.secret(path, s, true)
		return
	}
	if s.Env != "" {
		c.wrong(join(path, "env"), "does not go with token_key; what the token has encrypted is in a file: take env out, or token_key")
	}
	if s.File == "" {
		c.wrong(join(path, "token_key"), "needs a file: beside it, with the secret encrypted under this key of the token (docs/rotation.md says how it is made)")
	}
	if !label.MatchString(s.TokenKey) {
		c.wrong(join(path, "token_key"), "is no label of a token's key; write 1 to 64 printable ASCII characters")
	}
}
