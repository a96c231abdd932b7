package issue

import (
	"fmt"
	"strings"

	"reemboss/batch/config"
	"reemboss/formats/iso"
)

// MMYY is the order of the expiry that some issuers feed; the default is YYMM.
const MMYY = "MMYY"

// KeyRefs name the key and the date order of each value of one card.
type KeyRefs struct {
	CVV1 KeyRef `json:"1"`
	CVV2 KeyRef `json:"2"`
	ICVV KeyRef `json:"i,omitzero"`
	// service is the service code that a cvk_ref keeps, "" for the product's. A Blank has it beside its keys.
	service string
}

// KeyRef is a card verification key with the order in which the expiry is fed.
type KeyRef struct {
	Key  string `json:"k"`
	MMYY bool   `json:"m,omitempty"` // else YYMM
}

// feed gives the expiry in the order of the key.
func (r KeyRef) feed(e iso.Expiry) string {
	if r.MMYY {
		return e.MMYY()
	}
	return e.YYMM()
}

func (r KeyRef) String() string {
	order := "YYMM"
	if r.MMYY {
		order = MMYY
	}
	return r.Key + ":" + order
}

// productRefs are the keys that a product's configuration names.
func productRefs(c config.CVV) KeyRefs {
	ref := func(k config.CVVKey) KeyRef { return KeyRef{Key: k.Key, MMYY: k.Order == MMYY} }
	return KeyRefs{CVV1: ref(c.CVV1), CVV2: ref(c.CVV2), ICVV: ref(c.ICVV)}
}

// CVKRef is the text for a card's cvk_ref that keeps keys and service code of
// today, so that its next embossing has the same values whatever the product says by then.
func CVKRef(product config.Product) string {
	refs := productRefs(product.CVV)
	refs.service = product.ServiceCode
	return refs.String()
}

// String is one "key:order" where all three are the same and no service code
// is kept, else "cvv1=key:order,cvv2=key:order,icvv=key:order,service=201".
func (k KeyRefs) String() string {
	if k.CVV1 == k.CVV2 && (k.CVV1 == k.ICVV || k.ICVV.Key == "") && k.service == "" {
		return k.CVV1.String()
	}
	text := "cvv1=" + k.CVV1.String() + ",cvv2=" + k.CVV2.String()
	if k.ICVV.Key != "" {
		text += ",icvv=" + k.ICVV.String()
	}
	if k.service != "" {
		text += ",service=" + k.service
	}
	return text
}

// cardRefs reads a card's cvk_ref. Blank means the product's keys; "key" all
// three under that key in the product's orders; "key:order" and the long form
// are as [KeyRefs.String] writes them.
func cardRefs(text string, product config.CVV) (KeyRefs, error) {
	refs := productRefs(product)
	if text == "" {
		return refs, nil
	}
	values := map[string]*KeyRef{"cvv1": &refs.CVV1, "cvv2": &refs.CVV2, "icvv": &refs.ICVV}
	if !strings.Contains(text, "=") {
		for _, ref := range values {
			if err := ref.read(text); err != nil {
				return KeyRefs{}, err
			}
		}
		return refs, nil
	}
	for part := range strings.SplitSeq(text, ",") {
		name, value, _ := strings.Cut(part, "=")
		if name == "service" {
			if len(value) != 3 || strings.Trim(value, "0123456789") != "" {
				return KeyRefs{}, fmt.Errorf("a service code has three digits")
			}
			refs.service = value
			continue
		}
		ref := values[name]
		if ref == nil {
			return KeyRefs{}, fmt.Errorf("%q is none of cvv1, cvv2, icvv, service", name)
		}
		if err := ref.read(value); err != nil {
			return KeyRefs{}, err
		}
	}
	return refs, nil
}

// read takes "key" (the order stays) or "key:order".
func (r *KeyRef) read(text string) error {
	key, order, ordered := strings.Cut(text, ":")
	switch {
	case key == "":
		return fmt.Errorf("a key has no name")
	case ordered && order != "YYMM" && order != MMYY:
		return fmt.Errorf("%q is no order of the expiry; use YYMM or MMYY", order)
	case ordered:
		r.MMYY = order == MMYY
	}
	r.Key = key
	return nil
}
