package batch

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"reemboss/batch/config"
	"reemboss/batch/durable"
	"reemboss/batch/ledger"
	"reemboss/batch/report"
	"reemboss/batch/rules"
	"reemboss/bureau"
	"reemboss/formats/request"
)

// submission is a request file as its sender meant it: the file itself, or,
// where it is signed, what was signed. Content that is not the file's own bytes
// is only ever in memory: it may have come encrypted.
type submission struct {
	content io.ReaderAt
	size    int64
	sum     string // SHA-256 of the content, hex: what "the same content" means
	signed  *signature
	file    *os.File
}

// signature is who signed a request file, once all of it was verified.
type signature struct {
	person      string // key of people
	fingerprint string
	at          time.Time
}

// String is the signature for the audit log.
func (s *signature) String() string {
	return fmt.Sprintf("signed by %s with key %s at %s", s.person, s.fingerprint, s.at.UTC().Format(time.RFC3339))
}

// submitter is the person who signed, "" for nobody.
func (s *submission) submitter() string {
	if s.signed == nil {
		return ""
	}
	return s.signed.person
}

// signer is the fingerprint of the key that signed, "" for none.
func (s *submission) signer() string {
	if s.signed == nil {
		return ""
	}
	return s.signed.fingerprint
}

// Close closes the file.
func (s *submission) Close() error { return s.file.Close() }

// whole gives the content in memory.
func (s *submission) whole() ([]byte, error) {
	return io.ReadAll(io.NewSectionReader(s.content, 0, s.size))
}

// submitted opens the request file at path, which its sender calls name and
// which came at a certain time. A file that is signed is read into memory and
// verified, with the keys that the configuration has now, as of the time at
// which it came: however often that is done, for the same bytes the verdict is
// the same, until somebody changes a key.
//
// A signature that does not hold is a [*request.FileError] with
// file_signature_invalid; what is no file a [*durable.NotFileError]; any other error is of the disk.
func (n *Night) submitted(path, name string, came time.Time) (*submission, error) {
	file, err := durable.Open(path)
	if err != nil {
		return nil, err
	}
	s, err := n.readSubmitted(file, name, came)
	if err != nil {
		return nil, errors.Join(err, file.Close())
	}
	s.file = file
	return s, nil
}

func (n *Night) readSubmitted(file *os.File, name string, came time.Time) (*submission, error) {
	info, err := file.Stat()
	if err != nil {
		return nil, err
	}
	head := make([]byte, min(info.Size(), bureau.FormHead))
	if _, err := file.ReadAt(head, 0); err != nil && !errors.Is(err, io.EOF) {
		return nil, err
	}
	form, begins := bureau.FormOf(head)
	if form == bureau.NotPGP {
		if extension := pgpExtension(name); extension != "" {
			return nil, unsigned("the file is called %s and nothing in it is signed; %s, or send the sheet under its own name", extension, howToSign)
		}
		h := sha256.New()
		size, err := io.Copy(h, io.NewSectionReader(file, 0, 1<<62))
		return &submission{content: file, size: size, sum: hex.EncodeToString(h.Sum(nil))}, err
	}
	content, signed, err := n.verified(io.NewSectionReader(file, int64(begins), 1<<62), form, came)
	if err != nil {
		return nil, err
	}
	sum := sha256.Sum256(content)
	return &submission{content: bytes.NewReader(content), size: int64(len(content)), sum: hex.EncodeToString(sum[:]), signed: signed}, nil
}

// pgpExtension is the ending of a sender's name that promises PGP, "" for any other.
func pgpExtension(name string) string {
	switch extension := strings.ToLower(filepath.Ext(name)); extension {
	case ".asc", ".pgp", ".gpg", ".sig":
		return extension
	}
	return ""
}

// howToSign is the cure of every file that lacks a signature.
const howToSign = "sign it with the registered key (gpg --sign FILE, or gpg --clearsign FILE) and send what that makes"

// unsigned is the refusal of a file as a whole for its signature.
func unsigned(format string, args ...any) error {
	return &request.FileError{Code: string(rules.FileSignatureInvalid), Detail: fmt.Sprintf(format, args...)}
}

// verified gives what somebody of people signed.
func (n *Night) verified(message io.Reader, form bureau.Form, came time.Time) ([]byte, *signature, error) {
	signers, err := n.signers()
	if err != nil {
		return nil, nil, err
	}
	limit := n.Config.Intake.MaxFileSize
	content, key, at, err := bureau.ReadSigned(message, limit, append(signers.keys, n.ownKey), came)
	if err != nil {
		return nil, nil, signers.refusal(err, form, limit)
	}
	if oldest := n.duplicatesSince(came).Add(bureau.ClockSkew); at.Before(oldest) {
		return nil, nil, unsigned("the file was signed at %s, and a signature counts for %d days (intake.duplicate_days): an older file may be a repetition that nobody would notice; sign it again and send it again",
			at.UTC().Format("2006-01-02 15:04 UTC"), n.Config.Intake.DuplicateDays)
	}
	if inner, _ := bureau.FormOf(content[:min(len(content), bureau.FormHead)]); inner != bureau.NotPGP {
		return nil, nil, unsigned("what was signed is itself %s; sign the sheet, and sign and encrypt in one step (gpg --sign --encrypt)", inner)
	}
	fingerprint := key.Fingerprint()
	return content, &signature{person: signers.person[fingerprint], fingerprint: fingerprint, at: at}, nil
}

// duplicatesSince is the time from which on the same content is a duplicate of
// what came at a certain time. No signature from before it is taken, so that a
// file which was signed once is done once, however long somebody keeps it.
func (n *Night) duplicatesSince(came time.Time) time.Time {
	if came.IsZero() {
		came = n.Now()
	}
	return came.AddDate(0, 0, -n.Config.Intake.DuplicateDays)
}

// demandSignature refuses a file that nobody signed where the configuration demands it.
func (n *Night) demandSignature(s *submission) error {
	if s.signed != nil || n.Config.Intake.Signatures != config.SignaturesRequired {
		return nil
	}
	return unsigned("the file is not signed, and only signed files are taken here; %s", howToSign)
}

// signers are the keys of people.
type signers struct {
	keys   []*bureau.Key
	person map[string]string // fingerprint → key of people
	broken []string          // people whose key could not be read
}

// signers reads the keys of all people who have one. A key that cannot be read
// is noted, and what it signed is refused; the others' files go on.
func (n *Night) signers() (*signers, error) {
	s := &signers{person: map[string]string{}}
	for _, name := range slices.Sorted(maps.Keys(n.Config.People)) {
		p := n.Config.People[name]
		if p.KeyFile == "" {
			continue
		}
		key, err := bureau.ReadSignerKey(n.Resolve(p.KeyFile), p.Fingerprint, n.Now())
		var broken *bureau.KeyError
		switch {
		case errors.As(err, &broken):
			n.noteOnce("the key of %s in people is not used: %s; files that it signed are refused", name, broken.Detail)
			s.broken = append(s.broken, name)
		case err != nil:
			return nil, err
		default:
			s.keys, s.person[key.Fingerprint()] = append(s.keys, key), name
		}
	}
	return s, nil
}

// refusal turns what [bureau.ReadSigned] found into the answer to the file.
func (s *signers) refusal(err error, form bureau.Form, limit int64) error {
	var key *bureau.KeyError
	switch {
	case errors.Is(err, bureau.ErrTooLong):
		return &request.FileError{Code: request.FileTooLarge, Detail: fmt.Sprintf("what was signed has more than %d bytes, which is the limit; split it and sign the parts, or raise the limit in the configuration", limit)}
	case errors.As(err, &key):
		who := s.person[key.Fingerprint]
		if who == "" {
			who = "its sender"
		}
		return unsigned("the file was signed with the key %s of %s, which is not good: %s; sign it with a good key that operations know, and send it again", key.Fingerprint, who, key.Detail)
	case errors.Is(err, bureau.ErrNotSigned) && form == bureau.Encrypted:
		return unsigned("the file is encrypted and nobody signed it; sign and encrypt it in one step (gpg --sign --encrypt) and send it again")
	case errors.Is(err, bureau.ErrNotSigned):
		return unsigned("the file is packed by PGP and nobody signed it; %s", howToSign)
	case errors.Is(err, bureau.ErrUnknownSigner):
		return unsigned("the file is signed by nobody whom the configuration knows%s; sign it with the registered key, or have operations add yours to people, and send it again", s.whoIsMissing())
	case errors.Is(err, bureau.ErrBadSignature):
		return unsigned("%s; the file is not what was signed, or not by one person alone: sign it again, once, and send it again", plainly(err))
	case form == bureau.Signature:
		return unsigned("the file is a signature without what was signed; %s", howToSign)
	case form == bureau.OtherPGP:
		return unsigned("the file is PGP and no message that could be read; %s", howToSign)
	}
	return unsigned("the file cannot be opened (%s); it was cut or changed on its way, or is encrypted to another key than the workspace's (keys/issuer.asc): sign it, encrypt it to that key if it is to be encrypted, and send it again", plainly(err))
}

// peopleLines tells the key of each person who has one with its end, or why it cannot be used.
func (n *Night) peopleLines() (list []report.Key) {
	for _, name := range slices.Sorted(maps.Keys(n.Config.People)) {
		p := n.Config.People[name]
		if p.KeyFile == "" {
			continue
		}
		line := report.Key{Owner: name + " (people)", Fingerprint: p.Fingerprint, Signs: true}
		key, err := bureau.ReadSignerKey(n.Resolve(p.KeyFile), p.Fingerprint, n.Now())
		if err == nil {
			err = key.MaySign(n.Now())
		}
		if err != nil {
			line.Problem = err.Error()
		} else if end := key.ExpiresAt(); !end.IsZero() {
			line.Expires = &end
		}
		list = append(list, line)
	}
	return list
}

func (s *signers) whoIsMissing() string {
	if len(s.broken) == 0 {
		return ""
	}
	return " (the key of " + strings.Join(s.broken, ", ") + " could not be read)"
}

// plainly is an error on one line.
func plainly(err error) string { return strings.ReplaceAll(err.Error(), "\n", "; ") }

// submittedOnce opens a file of which rows were answered: its signature held then. If it does not any more, somebody
// changed the file or took the key away, and a person settles it; the other files go on.
func (n *Night) submittedOnce(f ledger.RequestFile) (*submission, error) {
	s, err := n.submitted(n.Path(f.Intake), f.Name, f.ClaimedAt)
	return s, held(f, err)
}

// held is what it means that a file of which rows were answered cannot be opened; nil for nil.
func held(f ledger.RequestFile, err error) error {
	var broken *request.FileError
	switch {
	case err == nil:
		return nil
	case errors.Is(err, fs.ErrNotExist):
		return gone(f)
	case errors.As(err, &broken):
		return &fileTrouble{what: fmt.Sprintf("%s cannot go on", printable(f.Name)),
			why: fmt.Sprintf("rows of it are answered, and its signature does not hold any more: %s; put the very file back to %s, and the key of %s back to people", broken.Detail, f.Intake, f.Submitter)}
	}
	return fmt.Errorf("read %s again: %w", f.Intake, err)
}

// errChanged: a file is not what was checked.
var errChanged = errors.New("the file changed after it was checked")

// submittedAgain opens a checked file to decide it: all that was proved is proved again, the signature included. One
// that is not what was checked is errChanged, whether its content or its signer is another or nothing holds any more;
// but where rows of it are answered, a signature that is gone is a person's to settle.
func (n *Night) submittedAgain(f ledger.RequestFile, answered int) (*submission, error) {
	s, err := n.submitted(n.Path(f.Intake), f.Name, f.ClaimedAt)
	var broken *request.FileError
	switch {
	case errors.As(err, &broken) && answered == 0:
		return nil, errChanged
	case err != nil:
		return nil, held(f, err)
	case !sameSubmission(s, f):
		return nil, errors.Join(errChanged, s.Close())
	}
	return s, nil
}

// sameSubmission says that a file is still what was checked: the same content, signed by the same person.
func sameSubmission(s *submission, f ledger.RequestFile) bool {
	return s.sum == f.SHA256 && s.submitter() == f.Submitter
}
