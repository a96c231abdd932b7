package layout

// Field is one field of the neutral record that every layout draws from.
type Field string

// Fields of a record. Names are what a layout description says after "from:".
const (
	UID         Field = "uid"
	RequestType Field = "request_type" // New or Replacement
	ProductRef  Field = "product_ref"
	CardID      Field = "card_id"
	AccountNo   Field = "customer_account_number"

	Title        Field = "title"
	FirstName    Field = "first_name"
	LastName     Field = "last_name"
	Company      Field = "company_name"
	Address1     Field = "address_line1"
	Address2     Field = "address_line2"
	Address3     Field = "address_line3"
	Address4     Field = "address_line4"
	City         Field = "city"
	Region       Field = "region"
	Postcode     Field = "postcode"
	Mobile       Field = "mobile"
	Email        Field = "email"
	Country      Field = "country_numeric" // ISO 3166-1, three digits
	CountryA2    Field = "country"         // ISO 3166-1 alpha-2
	BulkAddress1 Field = "bulk_address_line1"
	BulkAddress2 Field = "bulk_address_line2"
	BulkAddress3 Field = "bulk_address_line3"
	BulkCity     Field = "bulk_city"
	BulkCounty   Field = "bulk_county"
	BulkPostcode Field = "bulk_postcode"
	BulkCountry  Field = "bulk_country"
	CarrierType  Field = "carrier_type"
	CarrierLogo  Field = "carrier_logo_id"
	DeliveryMeth Field = "delivery_method"
	DeliveryCode Field = "delivery_code"
	Fulfil1      Field = "fulfil1"
	Fulfil2      Field = "fulfil2"
	Language     Field = "language"

	Technology   Field = "technology"  // Mag, Chip&PIN, Chip&PIN&Contactless
	Currency     Field = "currency"    // ISO 4217 numeric, four digits
	PAN          Field = "pan"         // secret
	PANGrouped   Field = "pan_grouped" // secret: groups of four, ungrouped where that would pass 19 characters
	PANMasked    Field = "pan_masked"
	Track1       Field = "track1" // secret, like every track
	Track2       Field = "track2"
	Track3       Field = "track3"
	EmbossedName Field = "embossed_name"
	StartFace    Field = "start_face"  // MM/YY
	ExpiryFace   Field = "expiry_face" // MM/YY
	CVV2Face     Field = "cvv2_face"   // secret: last four of the PAN, a space, the CVV2
	CVV2         Field = "cvv2"        // secret
	Line4        Field = "emboss_line4"
	Thermal1     Field = "thermal_line1"
	Thermal2     Field = "thermal_line2"
	ImageID      Field = "image_id"
	LogoFront    Field = "logo_front_id"
	LogoBack     Field = "logo_back_id"
	QRCode       Field = "qrcode"
	PINBlock     Field = "pin_block" // secret

	ChipType      Field = "chip_type" // "" for magnetic stripe only: no CHIP
	PSN           Field = "psn"       // two digits
	ChipName      Field = "chip_name"
	StartDate     Field = "start_date"  // YYMMDD
	ExpiryDate    Field = "expiry_date" // YYMMDD, last day of the month
	ServiceCode   Field = "service_code"
	ChipTrack1    Field = "chip_track1"
	ChipTrack2    Field = "chip_track2"
	ChipTrack1MSD Field = "chip_track1_msd"
	ChipTrack2MSD Field = "chip_track2_msd"
	ShippingName  Field = "shipping_method"
)

// Record is what one card carries, in the field's own terms. Secret fields
// (PAN, tracks, CVV2, PIN block) are in it only between the ledger and the PGP
// writer. Printing a Record shows its uid and nothing else.
type Record map[Field]string
