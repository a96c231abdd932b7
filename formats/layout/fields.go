package layout

import (
	"encoding/json"
	"fmt"
	"slices"
)

// openFields may be seen by people: in the masked twin, in the ledger, in a
// sort key. It is a list of what is allowed. A field that is on neither list
// is unknown to every description, so a new field is not shown anywhere until
// somebody has decided where it belongs.
var openFields = map[Field]bool{
	UID: true, RequestType: true, ProductRef: true, CardID: true, AccountNo: true,
	Title: true, FirstName: true, LastName: true, Company: true,
	Address1: true, Address2: true, Address3: true, Address4: true,
	City: true, Region: true, Postcode: true, Mobile: true, Email: true, Country: true, CountryA2: true,
	BulkAddress1: true, BulkAddress2: true, BulkAddress3: true,
	BulkCity: true, BulkCounty: true, BulkPostcode: true, BulkCountry: true,
	CarrierType: true, CarrierLogo: true, DeliveryMeth: true, DeliveryCode: true,
	Fulfil1: true, Fulfil2: true, Language: true,
	Technology: true, Currency: true, PANMasked: true,
	EmbossedName: true, StartFace: true, ExpiryFace: true, Line4: true, Thermal1: true, Thermal2: true,
	ImageID: true, LogoFront: true, LogoBack: true, QRCode: true,
	ChipType: true, PSN: true, ChipName: true, StartDate: true, ExpiryDate: true, ServiceCode: true,
	ShippingName: true,
}

// secretFields exist in memory and inside the sealed file only (PCI DSS 4.0.1, 3.3 and 3.5).
var secretFields = map[Field]bool{
	PAN: true, PANGrouped: true,
	Track1: true, Track2: true, Track3: true,
	CVV2: true, CVV2Face: true, PINBlock: true,
	ChipTrack1: true, ChipTrack2: true, ChipTrack1MSD: true, ChipTrack2MSD: true,
}

// Secret says that the field may stand in the sealed file only. A field that
// nobody has listed counts as secret.
func (f Field) Secret() bool { return !openFields[f] }

// known says that a description may name the field.
func (f Field) known() bool { return openFields[f] || secretFields[f] }

// Fields are all fields that a description may name, in alphabetical order.
func Fields() []Field {
	var all []Field
	for f := range openFields {
		all = append(all, f)
	}
	for f := range secretFields {
		all = append(all, f)
	}
	slices.Sort(all)
	return all
}

// Public is a copy without the secret fields: what the ledger may keep.
func (r Record) Public() Record {
	kept := make(Record, len(r))
	for f, v := range r {
		if !f.Secret() {
			kept[f] = v
		}
	}
	return kept
}

// String shows the uid and nothing else, as do GoString and Format.
func (r Record) String() string { return "record " + shownUID(r[UID]) }

// GoString shows the uid for %#v.
func (r Record) GoString() string { return "layout.Record(" + shownUID(r[UID]) + ")" }

// Format shows the uid for every verb.
func (r Record) Format(f fmt.State, _ rune) { _, _ = f.Write([]byte(r.String())) }

// MarshalJSON gives the public fields only: no encoder and no logger can write
// a secret field.
func (r Record) MarshalJSON() ([]byte, error) {
	return json.Marshal(map[Field]string(r.Public()))
}
