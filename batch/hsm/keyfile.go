package hsm

import (
	"bytes"
	"crypto/aes"
	"crypto/cipher"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/tink-crypto/tink-go/v2/aead/aesgcm"
	"github.com/tink-crypto/tink-go/v2/insecuresecretdataaccess"
	"github.com/tink-crypto/tink-go/v2/keyset"
	"github.com/tink-crypto/tink-go/v2/secretdata"

	"reemboss/batch/config"
	"reemboss/batch/durable"
)

// KEKLength is the length in bytes of a key-encryption key.
const KEKLength = 32

// keyfileFormat names the format of the file; it is authenticated.
const keyfileFormat = "reemboss-keyset-1"

// Errors of key files and secrets.
var (
	ErrWrongKEK  = errors.New("the key-encryption key is not the one that sealed the keyset")
	ErrDamaged   = errors.New("the keyset file is damaged")
	ErrExposed   = errors.New("the file may be read by others than its owner; chmod 600 it and, where others could have read it, change the secret")
	ErrKeyLength = errors.New("the key has a wrong length")
)

// Spec says which named keys a new keyset has.
type Spec struct {
	Allocation []string // AES-256 keys of PAN ranges
	CVKs       []string // card verification key pairs, for a trial; real ones come with [Keyset.AddCVK]
	At         time.Time
	Files      durable.Files // how the file is written
}

// heldKeys is the clear content of the file.
type heldKeys struct {
	PAN        []heldKey `json:"pan"` // id: decimal tink key id
	Index      []heldKey `json:"index"`
	Digest     []heldKey `json:"digest"`
	Allocation []heldKey `json:"allocation"`
	CVK        []heldKey `json:"cvk"`
}

// heldKey is one key. In PAN, Index and Digest exactly one is primary.
type heldKey struct {
	ID      string `json:"id"`
	Name    string `json:"name,omitempty"`
	Key     []byte `json:"key"`
	Primary bool   `json:"primary,omitempty"`
	// MadeAt is not in files from before rotations.
	MadeAt time.Time `json:"made_at,omitzero"`
}

// keyfile is the file on disk.
type keyfile struct {
	Format string `json:"format"`
	sealedKeys
	// Former is the same content under the former key-encryption key, between [Keyset.Rewrap] and the next writing under the new one.
	Former *sealedKeys `json:"former,omitempty"`
}

// sealedKeys is the content of the file under one key-encryption key.
type sealedKeys struct {
	KEK    string `json:"kek"`    // check value of the key-encryption key
	Sealed []byte `json:"sealed"` // nonce, then heldKeys under AES-256-GCM
}

// kekCipher is a key-encryption key; check tells one from another.
type kekCipher struct {
	cipher.AEAD
	check string
}

// CreateKeyset makes fresh keys from rnd and writes them to path, which must
// not be there (fs.ErrExist): one JSON file, mode 0600, its whole content
// sealed with AES-256-GCM under kek ([KEKLength] bytes). Beside the sealed
// bytes stand only the format's name and the check value of kek.
func CreateKeyset(path string, kek []byte, rnd io.Reader, spec Spec) (*Keyset, error) {
	k, err := newKeyset(path, kek)
	if err != nil {
		return nil, err
	}
	k.Files = spec.Files
	held := heldKeys{}
	for _, list := range []*[]heldKey{&held.PAN, &held.Index, &held.Digest} {
		if err := addPrimary(list, list == &held.PAN, rnd); err != nil {
			return nil, err
		}
	}
	for _, name := range spec.Allocation {
		if err := addKey(&held.Allocation, name, 32, rnd); err != nil {
			return nil, fmt.Errorf("allocation key %s: %w", name, err)
		}
	}
	for _, name := range spec.CVKs {
		if err := held.addCVK(name, nil, rnd); err != nil {
			return nil, fmt.Errorf("card key %s: %w", name, err)
		}
	}
	for _, list := range held.lists() {
		for i := range *list {
			(*list)[i].MadeAt = spec.At
		}
	}
	use, err := held.ciphers()
	if err != nil {
		return nil, fmt.Errorf("make a keyset: %w", err)
	}
	if err := k.save(held, nil, rnd, k.Files.Create); err != nil {
		return nil, err
	}
	k.held = held
	k.use.Store(use)
	return k, nil
}

// OpenKeyset reads a keyset file. Errors: [ErrExposed] when group or others may
// read it, [ErrWrongKEK], [ErrDamaged], fs.ErrNotExist.
func OpenKeyset(path string, kek []byte) (*Keyset, error) {
	k, err := newKeyset(path, kek)
	if err != nil {
		return nil, err
	}
	if err := k.Reread(); err != nil {
		return nil, err
	}
	return k, nil
}

// Reread takes what the file says now. After an error everything is as before.
// Who is about to write rows calls it when it has the workspace's lock, since
// another process may have rotated the keys until then.
func (k *Keyset) Reread() error {
	k.mu.Lock()
	defer k.mu.Unlock()
	text, err := readPrivate(k.path)
	if err == nil {
		err = k.unseal(text)
	}
	if err != nil {
		return fmt.Errorf("keyset %s: %w", k.path, err)
	}
	return nil
}

func newKeyset(path string, kek []byte) (*Keyset, error) {
	wrapped, err := newKEK(kek)
	if err != nil {
		return nil, err
	}
	return &Keyset{path: path, wrapped: wrapped}, nil
}

func newKEK(kek []byte) (kekCipher, error) {
	if len(kek) != KEKLength {
		return kekCipher{}, fmt.Errorf("key-encryption key: %w: %d bytes instead of %d", ErrKeyLength, len(kek), KEKLength)
	}
	block, err := aes.NewCipher(kek)
	if err != nil {
		return kekCipher{}, err
	}
	gcm, err := cipher.NewGCM(block)
	if err != nil {
		return kekCipher{}, err
	}
	check, err := kcvAES(kek)
	return kekCipher{gcm, check}, err
}

// unseal opens the content of a key file and makes the keyset ready; after an error it is as before.
func (k *Keyset) unseal(text []byte) (err error) {
	erased(func() { err = k.open(text) })
	return err
}

func (k *Keyset) open(text []byte) error {
	var file keyfile
	if err := strictJSON(text, &file); err != nil {
		return fmt.Errorf("%w: %w", ErrDamaged, err)
	}
	if file.Format != keyfileFormat {
		return fmt.Errorf("%w: its format is %q, this program reads %s", ErrDamaged, file.Format, keyfileFormat)
	}
	content := file.sealedKeys
	if content.KEK != k.wrapped.check && file.Former != nil {
		content = *file.Former
	}
	held, err := k.wrapped.open(content)
	if err != nil {
		return err
	}
	use, err := held.ciphers()
	if err != nil {
		return err
	}
	k.held = held
	k.use.Store(use)
	return nil
}

func (c kekCipher) open(content sealedKeys) (held heldKeys, err error) {
	if content.KEK != c.check {
		return held, fmt.Errorf("%w (check value %s, the file was sealed under %s)", ErrWrongKEK, c.check, content.KEK)
	}
	size := c.NonceSize()
	if len(content.Sealed) < size {
		return held, ErrDamaged
	}
	clear, err := c.Open(nil, content.Sealed[:size], content.Sealed[size:], []byte(keyfileFormat))
	if err != nil {
		return held, ErrDamaged
	}
	if err := strictJSON(clear, &held); err != nil {
		return held, ErrDamaged // the cause could repeat content
	}
	if err := held.check(); err != nil {
		return held, fmt.Errorf("%w: %w", ErrDamaged, err)
	}
	return held, nil
}

func (c kekCipher) close(held heldKeys, rnd io.Reader) (content sealedKeys, err error) {
	clear, err := json.Marshal(held)
	if err != nil {
		return content, err
	}
	nonce := make([]byte, c.NonceSize())
	if _, err := io.ReadFull(rnd, nonce); err != nil {
		return content, fmt.Errorf("draw a nonce: %w", err)
	}
	return sealedKeys{KEK: c.check, Sealed: c.Seal(nonce, nonce, clear, []byte(keyfileFormat))}, nil
}

// strictJSON is Unmarshal without unknown fields and without anything after the value.
func strictJSON(text []byte, into any) error {
	d := json.NewDecoder(bytes.NewReader(text))
	d.DisallowUnknownFields()
	if err := d.Decode(into); err != nil {
		return err
	}
	if _, err := d.Token(); err != io.EOF {
		return errors.New("something follows its end")
	}
	return nil
}

// replace writes the file with other keys and takes them. After an error nothing has changed.
func (k *Keyset) replace(held heldKeys, rnd io.Reader) error {
	use, err := held.ciphers()
	if err != nil {
		return fmt.Errorf("keyset %s: %w", k.path, err)
	}
	if err := k.save(held, nil, rnd, k.replaceFile); err != nil {
		return err
	}
	k.held = held
	k.use.Store(use)
	return nil
}

// save writes the file whole or not at all; with a former key-encryption key it opens under that one too.
func (k *Keyset) save(held heldKeys, former *kekCipher, rnd io.Reader, write func(string, func(io.Writer) error) error) error {
	content, err := k.wrapped.close(held, rnd)
	if err != nil {
		return fmt.Errorf("keyset %s: %w", k.path, err)
	}
	file := keyfile{Format: keyfileFormat, sealedKeys: content}
	if former != nil {
		content, err := former.close(held, rnd)
		if err != nil {
			return fmt.Errorf("keyset %s: %w", k.path, err)
		}
		file.Former = &content
	}
	text, err := json.MarshalIndent(file, "", "  ")
	if err != nil {
		return fmt.Errorf("keyset %s: %w", k.path, err)
	}
	err = write(k.path, func(w io.Writer) error {
		_, err := w.Write(append(text, '\n'))
		return err
	})
	if err != nil {
		return fmt.Errorf("keyset: %w", err)
	}
	return nil
}

// replaceFile is Write for a file that must be there.
func (k *Keyset) replaceFile(path string, fill func(io.Writer) error) error {
	if _, err := os.Stat(path); err != nil {
		return err
	}
	return k.Files.Write(path, fill)
}

// check holds the lengths, names and primaries of what was read.
func (h *heldKeys) check() error {
	for _, list := range [][]heldKey{h.PAN, h.Index, h.Digest} {
		if _, err := primary(list, "a kind of key"); err != nil {
			return err
		}
		for _, key := range list {
			if len(key.Key) != 32 || key.ID == "" {
				return ErrKeyLength
			}
		}
	}
	for _, key := range h.Allocation {
		if _, err := aes.NewCipher(key.Key); err != nil || key.Name == "" {
			return fmt.Errorf("allocation key %s: %w", key.Name, ErrKeyLength)
		}
	}
	for _, key := range h.CVK {
		if len(key.Key) != CVKLength || key.Name == "" {
			return fmt.Errorf("card key %s: %w", key.Name, ErrKeyLength)
		}
	}
	return nil
}

// panHandle makes the tink keyset: prefix TINK, so that the key id stands in
// front of every sealed number.
func (h *heldKeys) panHandle() (*keyset.Handle, error) {
	params, err := aesgcm.NewParameters(aesgcm.ParametersOpts{KeySizeInBytes: 32, IVSizeInBytes: 12, TagSizeInBytes: 16, Variant: aesgcm.VariantTink})
	if err != nil {
		return nil, err
	}
	m := keyset.NewManager()
	for _, held := range h.PAN {
		id, err := strconv.ParseUint(held.ID, 10, 32)
		if err != nil {
			return nil, fmt.Errorf("key id %q is no number of 32 bits", held.ID)
		}
		key, err := aesgcm.NewKey(secretdata.NewBytesFromData(held.Key, insecuresecretdataaccess.Token{}), uint32(id), params)
		if err != nil {
			return nil, err
		}
		if _, err := m.AddKey(key); err != nil {
			return nil, err
		}
		if held.Primary {
			if err := m.SetPrimary(uint32(id)); err != nil {
				return nil, err
			}
		}
	}
	return m.Handle()
}

// addKey draws a key of n bytes and its id.
func addKey(list *[]heldKey, name string, n int, rnd io.Reader) error {
	drawn := make([]byte, 4+n)
	if _, err := io.ReadFull(rnd, drawn); err != nil {
		return fmt.Errorf("draw a key: %w", err)
	}
	return putKey(list, heldKey{ID: hex.EncodeToString(drawn[:4]), Name: name, Key: drawn[4:]})
}

func putKey(list *[]heldKey, key heldKey) error {
	for _, other := range *list {
		if other.ID == key.ID {
			return fmt.Errorf("%w: id %s", ErrKeyTaken, key.ID)
		}
		if key.Name != "" && other.Name == key.Name {
			return ErrKeyTaken
		}
	}
	*list = append(*list, key)
	return nil
}

func (h *heldKeys) addCVK(name string, key []byte, rnd io.Reader) error {
	if name == "" {
		return errors.New("a card key needs a name")
	}
	if key == nil {
		key = make([]byte, CVKLength)
		if _, err := io.ReadFull(rnd, key); err != nil {
			return fmt.Errorf("draw a key: %w", err)
		}
		setOddParity(key)
	}
	if len(key) != CVKLength {
		return fmt.Errorf("%w: a pair has %d bytes, not %d", ErrKeyLength, CVKLength, len(key))
	}
	if !oddParity(key) {
		return ErrParity
	}
	id := make([]byte, 4)
	if _, err := io.ReadFull(rnd, id); err != nil {
		return fmt.Errorf("draw a key id: %w", err)
	}
	return putKey(&h.CVK, heldKey{ID: hex.EncodeToString(id), Name: name, Key: append([]byte(nil), key...)})
}

// addPrimary draws a key and makes it the primary one of its list.
func addPrimary(list *[]heldKey, tinks bool, rnd io.Reader) error {
	keys := append([]heldKey(nil), *list...)
	if err := addKey(&keys, "", 32, rnd); err != nil {
		return err
	}
	last := len(keys) - 1
	if tinks { // its ids are decimal, and not zero
		id, err := strconv.ParseUint(keys[last].ID, 16, 32)
		if err != nil {
			return fmt.Errorf("make a key id: %w", err)
		}
		key := keys[last]
		key.ID = strconv.FormatUint(id|1, 10)
		keys = keys[:last]
		if err := putKey(&keys, key); err != nil {
			return err
		}
	}
	for i := range keys {
		keys[i].Primary = i == last
	}
	*list = keys
	return nil
}

// lists are the keys of each kind.
func (h *heldKeys) lists() []*[]heldKey {
	return []*[]heldKey{&h.PAN, &h.Index, &h.Digest, &h.Allocation, &h.CVK}
}

// primary finds the one primary key of a list.
func primary(list []heldKey, what string) (heldKey, error) {
	var found []heldKey
	for _, key := range list {
		if key.Primary {
			found = append(found, key)
		}
	}
	if len(found) != 1 {
		return heldKey{}, fmt.Errorf("%s: %d primary keys instead of one", what, len(found))
	}
	return found[0], nil
}

// named finds a key; where a rotation left several of one name, the last counts.
func named(list []heldKey, name string) ([]byte, error) {
	for i := len(list) - 1; i >= 0; i-- {
		if list[i].Name == name {
			return list[i].Key, nil
		}
	}
	return nil, ErrNoKey
}

// NewSecret draws a key-encryption key.
func NewSecret(rnd io.Reader) ([]byte, error) {
	key := make([]byte, KEKLength)
	if _, err := io.ReadFull(rnd, key); err != nil {
		return nil, fmt.Errorf("draw a key-encryption key: %w", err)
	}
	return key, nil
}

// EncodeSecret writes a key in the form that [LoadSecret] reads (base64, no line end).
func EncodeSecret(key []byte) []byte { return []byte(base64.StdEncoding.EncodeToString(key)) }

// LoadSecret reads a key-encryption key: 32 bytes in base64 or in hexadecimal
// digits. The error names the place, never the content.
func LoadSecret(ref config.SecretRef, workspace string) ([]byte, error) {
	text, err := LoadText(ref, workspace)
	if err != nil {
		return nil, err
	}
	if key, err := hex.DecodeString(string(text)); err == nil && len(key) == KEKLength {
		return key, nil
	}
	for _, encoding := range []*base64.Encoding{base64.StdEncoding, base64.RawStdEncoding, base64.URLEncoding, base64.RawURLEncoding} {
		if key, err := encoding.Strict().DecodeString(string(text)); err == nil && len(key) == KEKLength {
			return key, nil
		}
	}
	return nil, fmt.Errorf("%s: %w: it must be %d bytes in base64 or hexadecimal digits", place(ref), ErrKeyLength, KEKLength)
}

// LoadText reads a secret as it is, without line ends behind it: from a file
// (relative to the workspace; mode 0600, else [ErrExposed]) or from an
// environment variable. An empty secret is an error.
func LoadText(ref config.SecretRef, workspace string) ([]byte, error) {
	var text []byte
	switch {
	case ref.TokenKey != "":
		return nil, fmt.Errorf("%s is encrypted under the key %q of a token; only the key-encryption key of the keyset can be", place(ref), ref.TokenKey)
	case (ref.File == "") == (ref.Env == ""):
		return nil, errors.New("a secret is either in a file (file:) or in the environment (env:), one of the two")
	case ref.Env != "":
		text = []byte(os.Getenv(ref.Env))
	default:
		path := ref.File
		if !filepath.IsAbs(path) {
			path = filepath.Join(workspace, path)
		}
		var err error
		if text, err = readPrivate(path); err != nil {
			return nil, fmt.Errorf("%s: %w", place(ref), err)
		}
	}
	if text = bytes.TrimRight(text, "\r\n"); len(text) == 0 {
		return nil, fmt.Errorf("%s holds no secret", place(ref))
	}
	return text, nil
}

func place(ref config.SecretRef) string {
	if ref.Env != "" {
		return "environment variable " + ref.Env
	}
	return "secret file " + strings.ToValidUTF8(ref.File, "?")
}

// maxKeyFile is more than any file of keys has, in bytes.
const maxKeyFile = 1 << 20

// readPrivate reads a regular file that only its owner may read.
func readPrivate(path string) ([]byte, error) {
	f, err := durable.Open(path)
	if err != nil {
		return nil, cause(err)
	}
	defer f.Close()
	stat, err := f.Stat()
	switch {
	case err != nil:
		return nil, cause(err)
	case stat.Mode().Perm()&0o077 != 0:
		return nil, fmt.Errorf("%w (mode %04o)", ErrExposed, stat.Mode().Perm())
	case stat.Size() > maxKeyFile:
		return nil, fmt.Errorf("it has %d bytes, more than any key file", stat.Size())
	}
	return io.ReadAll(io.LimitReader(f, maxKeyFile))
}

// cause is an error of the file system without the path, which the caller names.
func cause(err error) error {
	var path *fs.PathError
	if errors.As(err, &path) {
		return path.Err
	}
	return err
}
