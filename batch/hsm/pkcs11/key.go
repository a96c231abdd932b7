//go:build pkcs11 && cgo

package pkcs11

import (
	"bytes"
	"errors"
	"fmt"
	"strings"

	cryptoki "github.com/miekg/pkcs11"
)

// role is what a half of a pair is for.
type role struct {
	name             string // A or B
	use, mustNot     uint   // attributes of what it may and may not do
	useName, notName string
}

var (
	roleA = role{"A", cryptoki.CKA_ENCRYPT, cryptoki.CKA_DECRYPT, "CKA_ENCRYPT", "CKA_DECRYPT"}
	roleB = role{"B", cryptoki.CKA_DECRYPT, cryptoki.CKA_ENCRYPT, "CKA_DECRYPT", "CKA_ENCRYPT"}
)

// half is a key of the token with the way to do single DES under it.
type half struct {
	object cryptoki.ObjectHandle
	kind   uint // CKA_KEY_TYPE
}

// repeated is how often the eight bytes of a half stand in a key of the kind; 0 for a kind that is none of DES.
func repeated(kind uint) int {
	switch kind {
	case cryptoki.CKK_DES:
		return 1
	case cryptoki.CKK_DES2:
		return 2
	case cryptoki.CKK_DES3:
		return 3
	}
	return 0
}

func (h half) mechanism() []*cryptoki.Mechanism {
	if h.kind == cryptoki.CKK_DES {
		return []*cryptoki.Mechanism{cryptoki.NewMechanism(cryptoki.CKM_DES_ECB, nil)}
	}
	return []*cryptoki.Mechanism{cryptoki.NewMechanism(cryptoki.CKM_DES3_ECB, nil)}
}

// objects are the keys of a token as one session sees them.
type objects struct {
	module  module
	session cryptoki.SessionHandle
}

// pair finds the halves of a key pair, called owner in errors. strict refuses
// what production must not have.
func (o objects) pair(owner, labelA, labelB string, strict bool) (a, b half, err error) {
	a, errA := o.half(labelA, roleA, strict)
	b, errB := o.half(labelB, roleB, strict)
	var wrong []error
	if errA != nil {
		wrong = append(wrong, fmt.Errorf("%s, key A, label %q: %w", owner, labelA, errA))
	}
	if errB != nil {
		wrong = append(wrong, fmt.Errorf("%s, key B, label %q: %w", owner, labelB, errB))
	}
	return a, b, errors.Join(wrong...)
}

func (o objects) half(label string, r role, strict bool) (half, error) {
	object, err := o.find(label)
	if err != nil {
		return half{}, err
	}
	kind, err := o.kind(object)
	if err != nil {
		return half{}, err
	}
	return half{object, kind}, o.rights(object, r, strict)
}

// find gives the one secret key with a label.
func (o objects) find(label string) (cryptoki.ObjectHandle, error) {
	err := o.module.FindObjectsInit(o.session, []*cryptoki.Attribute{
		cryptoki.NewAttribute(cryptoki.CKA_CLASS, cryptoki.CKO_SECRET_KEY),
		cryptoki.NewAttribute(cryptoki.CKA_LABEL, label),
	})
	if err != nil {
		return 0, failed("look for it", err)
	}
	found, _, err := o.module.FindObjects(o.session, 2)
	if endErr := o.module.FindObjectsFinal(o.session); err == nil {
		err = endErr
	}
	switch {
	case err != nil:
		return 0, failed("look for it", err)
	case len(found) == 0:
		return 0, fmt.Errorf("%w; look with pkcs11-tool --list-objects what it is called there", ErrNoKey)
	case len(found) > 1:
		return 0, fmt.Errorf("%w that could be told from another: several have this label", ErrNoKey)
	}
	return found[0], nil
}

// kind is the key's type, which must be one of DES.
func (o objects) kind(object cryptoki.ObjectHandle) (uint, error) {
	value, err := o.attribute(object, cryptoki.CKA_KEY_TYPE)
	if err != nil {
		return 0, failed("read its type", err)
	}
	kind := ulong(value)
	if repeated(kind) == 0 {
		return 0, fmt.Errorf("%w of its type: it is 0x%X, and must be CKK_DES2 (A‖A), CKK_DES3 (A‖A‖A) or CKK_DES", ErrNoKey, kind)
	}
	return kind, nil
}

func (o objects) attribute(object cryptoki.ObjectHandle, which uint) ([]byte, error) {
	list, err := o.module.GetAttributeValue(o.session, object, []*cryptoki.Attribute{cryptoki.NewAttribute(which, nil)})
	if err != nil {
		return nil, err
	}
	if len(list) != 1 {
		return nil, fmt.Errorf("%d attributes came for one", len(list))
	}
	return list[0].Value, nil
}

// flag reads an attribute that is true or false; known is false where the token does not tell.
func (o objects) flag(object cryptoki.ObjectHandle, which uint) (set, known bool, err error) {
	value, err := o.attribute(object, which)
	if is(err, cryptoki.CKR_ATTRIBUTE_TYPE_INVALID, cryptoki.CKR_ATTRIBUTE_SENSITIVE) {
		return false, false, nil
	}
	if err != nil {
		return false, false, failed("read its attributes", err)
	}
	return bytes.ContainsFunc(value, func(c rune) bool { return c != 0 }), len(value) > 0, nil
}

// rights holds a key against what its half of a pair may do. strict: it must
// also be kept in the token, and be good for nothing that would give it away.
func (o objects) rights(object cryptoki.ObjectHandle, r role, strict bool) error {
	checks := []struct {
		attribute uint
		name      string
		want      bool
		untold    bool // right where the token does not tell
	}{
		{r.use, r.useName, true, false},
		{cryptoki.CKA_SENSITIVE, "CKA_SENSITIVE", true, false},
		{cryptoki.CKA_EXTRACTABLE, "CKA_EXTRACTABLE", false, false},
		{r.mustNot, r.notName, false, true},
		{cryptoki.CKA_WRAP, "CKA_WRAP", false, true},
		{cryptoki.CKA_UNWRAP, "CKA_UNWRAP", false, true},
	}
	if !strict {
		checks = checks[:1]
	}
	var wrong []string
	for _, c := range checks {
		set, known, err := o.flag(object, c.attribute)
		switch {
		case err != nil:
			return err
		case !known && !c.untold:
			wrong = append(wrong, fmt.Sprintf("%s is not told and must be %v", c.name, c.want))
		case known && set != c.want:
			wrong = append(wrong, fmt.Sprintf("%s is %v and must be %v", c.name, set, c.want))
		}
	}
	if len(wrong) > 0 {
		return fmt.Errorf("%w: %s", ErrRights, strings.Join(wrong, ", "))
	}
	return nil
}

// create makes a key for this session only. value is the eight bytes of the half.
func (o objects) create(value []byte, kind uint, r role) (half, error) {
	object, err := o.module.CreateObject(o.session, []*cryptoki.Attribute{
		cryptoki.NewAttribute(cryptoki.CKA_CLASS, cryptoki.CKO_SECRET_KEY),
		cryptoki.NewAttribute(cryptoki.CKA_KEY_TYPE, kind),
		cryptoki.NewAttribute(cryptoki.CKA_TOKEN, false),
		cryptoki.NewAttribute(cryptoki.CKA_SENSITIVE, true),
		cryptoki.NewAttribute(cryptoki.CKA_EXTRACTABLE, false),
		cryptoki.NewAttribute(r.use, true),
		cryptoki.NewAttribute(cryptoki.CKA_VALUE, bytes.Repeat(value, repeated(kind))),
	})
	return half{object: object, kind: kind}, err
}
