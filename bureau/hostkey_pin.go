package bureau

import (
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/sha1" //nolint:gosec // hashed names of known_hosts are HMAC-SHA-1
	"encoding/base64"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"strings"

	"golang.org/x/crypto/ssh"
	"golang.org/x/crypto/ssh/knownhosts"
)

// hostKeyFamilies are the kinds of host keys that a server may have one of each, the best first.
var hostKeyFamilies = [][]string{
	{ssh.KeyAlgoED25519},
	{ssh.KeyAlgoECDSA256, ssh.KeyAlgoECDSA384, ssh.KeyAlgoECDSA521},
	{ssh.KeyAlgoRSASHA512, ssh.KeyAlgoRSASHA256},
}

// FetchHostKeys asks the server of s for each of its host keys and logs in
// nowhere. The keys are as trustworthy as the network: a fingerprint must be
// compared with the bureau's by another way before the key is pinned.
func FetchHostKeys(ctx context.Context, s Settings) ([]ssh.PublicKey, error) {
	var keys []ssh.PublicKey
	var first error
	for _, family := range hostKeyFamilies {
		key, err := fetchHostKey(ctx, s, family)
		if err == nil {
			keys = append(keys, key)
		} else if first == nil {
			first = err
		}
	}
	if len(keys) == 0 {
		return nil, first
	}
	return keys, nil
}

// PinnedHostKeys are the keys that known_hosts of s pins for its server; none
// where the file is not there.
func PinnedHostKeys(s Settings) ([]ssh.PublicKey, error) {
	s = s.withDefaults()
	compare, err := knownhosts.New(s.KnownHosts)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("known_hosts: %w", err)
	}
	var keys []ssh.PublicKey
	for _, k := range knownKeys(compare, s.address()) {
		keys = append(keys, k.Key)
	}
	return keys, nil
}

// PinHostKey gives the text of a known_hosts file in which key, and no other
// key, is pinned for the server of s; every other host keeps its lines. Errors: the
// file marks the key as revoked, or pins the server by a pattern that covers other hosts too.
func PinHostKey(known []byte, s Settings, key ssh.PublicKey) ([]byte, error) {
	s = s.withDefaults()
	host := knownhosts.Normalize(s.address())
	var out bytes.Buffer
	for number, line := range bytes.SplitAfter(known, []byte("\n")) {
		kept, err := withoutHost(string(line), host, key)
		if err != nil {
			return nil, fmt.Errorf("known_hosts, line %d: %w", number+1, err)
		}
		out.WriteString(kept)
	}
	if out.Len() > 0 && !bytes.HasSuffix(out.Bytes(), []byte("\n")) {
		out.WriteByte('\n')
	}
	out.WriteString(KnownHostsLine(s.Host, s.Port, key) + "\n")
	return out.Bytes(), nil
}

// withoutHost takes a host out of a line; a line that named it alone is gone.
func withoutHost(line, host string, key ssh.PublicKey) (string, error) {
	marker, hosts, pinned, _, _, err := ssh.ParseKnownHosts([]byte(line))
	if err != nil { // a comment or a blank line; what is neither, the library refuses when it is read
		return line, nil //nolint:nilerr // see above
	}
	switch {
	case marker == "revoked" && bytes.Equal(pinned.Marshal(), key.Marshal()):
		return "", errors.New("the key is marked as revoked there; call the bureau")
	case marker != "":
		return line, nil
	}
	rest := slices.DeleteFunc(slices.Clone(hosts), func(h string) bool { return h == host || hashedHost(h, host) })
	for _, pattern := range rest {
		if strings.ContainsAny(pattern, "*?") && wildcard(pattern, host) {
			return "", fmt.Errorf("%s covers this host and others; take it out by hand first", pattern)
		}
	}
	switch {
	case len(rest) == len(hosts):
		return line, nil
	case len(rest) == 0:
		return "", nil
	}
	return strings.Join(rest, ",") + " " + string(ssh.MarshalAuthorizedKey(pinned)), nil
}

// hashedHost says whether a hashed name (|1|salt|hash) is that of host.
func hashedHost(name, host string) bool {
	parts := strings.Split(name, "|")
	if len(parts) != 4 || parts[1] != "1" {
		return false
	}
	salt, err := base64.StdEncoding.DecodeString(parts[2])
	if err != nil {
		return false
	}
	want, err := base64.StdEncoding.DecodeString(parts[3])
	if err != nil {
		return false
	}
	mac := hmac.New(sha1.New, salt)
	_, _ = mac.Write([]byte(host))
	return hmac.Equal(mac.Sum(nil), want)
}

// wildcard matches * and ? as known_hosts has them.
func wildcard(pattern, host string) bool {
	switch {
	case pattern == "":
		return host == ""
	case pattern[0] == '*':
		return wildcard(pattern[1:], host) || host != "" && wildcard(pattern, host[1:])
	case host == "":
		return false
	}
	return (pattern[0] == '?' || pattern[0] == host[0]) && wildcard(pattern[1:], host[1:])
}

// DescribeSSHKey names type and fingerprint of a key as OpenSSH's ssh-keygen -l does.
func DescribeSSHKey(key ssh.PublicKey) (kind, fingerprint string) {
	return key.Type(), ssh.FingerprintSHA256(key)
}

// ReadSSHPublicKey is the public half of a private SSH key file.
func ReadSSHPublicKey(path string) (ssh.PublicKey, error) {
	signer, err := ReadSSHKey(path)
	if err == nil {
		return signer.PublicKey(), nil
	}
	var locked *ssh.PassphraseMissingError
	if content, read := os.ReadFile(path); read == nil {
		if _, parse := ssh.ParsePrivateKey(content); errors.As(parse, &locked) && locked.PublicKey != nil {
			return locked.PublicKey, nil
		}
	}
	return nil, err
}
