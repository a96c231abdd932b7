// Package config is what operations decide: the workspace's config.yaml as Go
// data. [Load] reads it strictly and reports every mistake at once, each with
// line, column and what would be right. The package reads files named by the
// configuration only where their existence is part of the check; it opens no
// key and connects to nothing.
package config

import (
	"time"

	"reemboss/formats/returns"
)

// Environments. Production refuses what is only good enough for a trial.
const (
	Test       = "test"
	Production = "production"
)

// CardSystem is the reserved name of the card system among the recipients of files.
const CardSystem = "card-system"

// PINRecipient is the reserved name of whoever gets the PIN files ([PINs]) among the recipients of files.
const PINRecipient = "pins"

// Reserved says that a recipient of files is none of the bureaus.
func Reserved(recipient string) bool { return recipient == CardSystem || recipient == PINRecipient }

// Config is the whole configuration with every default filled in.
type Config struct {
	Environment       string              `yaml:"environment"`
	AllowSoftwareKeys bool                `yaml:"allow_software_keys"`
	TimeZone          string              `yaml:"time_zone"` // IANA name; dates of folders and run ids
	Intake            Intake              `yaml:"intake"`
	Programs          map[string]Program  `yaml:"programs"`
	Products          map[string]Product  `yaml:"products"`
	Ranges            map[string]Range    `yaml:"ranges"`
	NewCardIDs        IDRange             `yaml:"new_card_ids"`
	CardKeys          map[string]CardKey  `yaml:"card_keys"`
	PKCS11            PKCS11              `yaml:"pkcs11"`
	PayShield         PayShield           `yaml:"payshield"`
	Reasons           map[int]Reason      `yaml:"reasons"`
	ReembossStatuses  []string            `yaml:"reemboss_statuses"`
	Statuses          Statuses            `yaml:"statuses"`
	EmbossedCardTypes []string            `yaml:"embossed_card_types"`
	Shipping          map[int]Shipping    `yaml:"shipping"`
	Routing           []Route             `yaml:"routing"`
	Bureaus           map[string]Bureau   `yaml:"bureaus"`
	CardSystem        Recipient           `yaml:"card_system"`
	PINs              PINs                `yaml:"pins"`
	Keys              Keys                `yaml:"keys"`
	People            map[string]Person   `yaml:"people"`
	Approvals         Approvals           `yaml:"approvals"`
	Retention         Retention           `yaml:"retention"`
	Headers           map[string][]string `yaml:"headers"`      // canonical column → further names for it
	ReasonWords       map[string]int      `yaml:"reason_words"` // word → reason code
	Postcodes         map[string]string   `yaml:"postcodes"`    // alpha-2 → regular expression the postcode must match whole
	Notify            Notify              `yaml:"notify"`
	Events            Events              `yaml:"events"`
}

// Intake limits what is taken from the inbox.
type Intake struct {
	StableFor     time.Duration `yaml:"stable_for"`                 // two looks this far apart must show the same size and time
	DoneMarker    string        `yaml:"done_marker"`                // suffix of a marker file, such as ".done"; "" for none
	MaxFileSize   int64         `yaml:"max_file_size" unit:"bytes"` // bytes
	MaxUnpacked   int64         `yaml:"max_unpacked" unit:"bytes"`  // bytes of one workbook, unpacked
	MaxRows       int           `yaml:"max_rows"`                   // rows of one file
	MaxField      int           `yaml:"max_field" unit:"bytes"`     // bytes of one cell
	DuplicateDays int           `yaml:"duplicate_days"`
	Signatures    string        `yaml:"signatures"` // of request files: optional or required
}

// Whether request files must be signed by one of [Config.People].
const (
	SignaturesOptional = "optional" // a signature that is there must be good all the same
	SignaturesRequired = "required"
)

// Program is a card program.
type Program struct {
	OnDemand bool `yaml:"on_demand"` // only on-demand programs may re-emboss
}

// Product is a card design with its scheme data.
type Product struct {
	Name            string `yaml:"name"`
	Prefix          string `yaml:"prefix"`          // IIN, 6 to 8 digits
	PANLength       int    `yaml:"pan_length"`      // 13 to 19
	Range           string `yaml:"range"`           // of Ranges: where new numbers come from
	Tracks          string `yaml:"tracks"`          // visa or mastercard
	ServiceCode     string `yaml:"service_code"`    // three digits
	ValidityMonths  int    `yaml:"validity_months"` // 1 to 99
	FirstPSN        int    `yaml:"first_psn"`       // PSN of a new number, default 0
	TransitDays     int    `yaml:"transit_days"`    // × 24 h from SENT: no second card while the last may be under way
	ReturnMinDays   int    `yaml:"return_min_days"` // age from which reason 5 closes an open shipment
	ReissueLimit    int    `yaml:"reissue_limit"`   // reissues of one card (its chain of replacements) within ReissueDays; 0: no limit
	ReissueDays     int    `yaml:"reissue_days"`    // × 24 h
	Bureau          string `yaml:"bureau"`          // default bureau
	PhoneRequired   bool   `yaml:"phone_required"`
	AccountRequired bool   `yaml:"account_required"`
	NewPIN          bool   `yaml:"new_pin"` // a new card number needs a new PIN: the PVV depends on the number
	CVV             CVV    `yaml:"cvv"`
	// What the bureau's file says of the product.
	Reference   string            `yaml:"reference"`  // PRODUCT_REF
	Technology  string            `yaml:"technology"` // Mag, Chip&PIN, Chip&PIN&Contactless
	ChipType    string            `yaml:"chip_type"`  // VisaCard, Mastercard …; "" for magnetic stripe only
	Currency    string            `yaml:"currency"`   // ISO 4217 numeric, four digits, where the card has none
	CarrierType string            `yaml:"carrier_type"`
	Delivery    map[int]string    `yaml:"delivery"` // shipping method → DELV_METHOD
	Fixed       map[string]string `yaml:"fixed"`    // further neutral fields with a fixed text (logo_front_id …)
}

// CVV names the key and the date order of each card verification value.
type CVV struct {
	CVV1 CVVKey `yaml:"cvv1"`
	CVV2 CVVKey `yaml:"cvv2"`
	ICVV CVVKey `yaml:"icvv"`
}

// CVVKey is a key reference with the order in which the expiry is fed.
type CVVKey struct {
	Key   string `yaml:"key"`   // of CardKeys
	Order string `yaml:"order"` // YYMM (default) or MMYY
}

// CardKey is a card verification key pair, known by its check value.
type CardKey struct {
	Backend string   `yaml:"backend"` // software, pkcs11 or payshield
	KCV     string   `yaml:"kcv"`     // six hex digits
	LabelA  string   `yaml:"label_a"` // pkcs11: label of the token's key A, the left half
	LabelB  string   `yaml:"label_b"` // pkcs11: label of the token's key B, the right half
	Token   KeyToken `yaml:"token"`   // payshield: the pair, encrypted under the module's LMK
}

// Where card verification keys are.
const (
	SoftwareKeys  = "software"  // sealed in the keyset
	PKCS11Keys    = "pkcs11"    // in a token
	PayShieldKeys = "payshield" // in a host security module
	NoPINs        = "none"      // of [PINs]: PINs are due, and nobody here makes them
)

// Made says that PINs are made here and go out in PIN files.
func (p PINs) Made() bool { return p.Backend == PayShieldKeys }

// PKCS11 is the token that holds the card keys of backend pkcs11.
type PKCS11 struct {
	Module   string        `yaml:"module"`   // absolute path of the vendor's library
	Token    string        `yaml:"token"`    // label of the token
	Serial   string        `yaml:"serial"`   // its serial number, where labels are not unique; either is enough
	PIN      SecretRef     `yaml:"pin"`      // of the token's user
	Sessions int           `yaml:"sessions"` // open at a time
	Batch    int           `yaml:"batch"`    // cards of one call
	Timeout  time.Duration `yaml:"timeout"`  // a token that answers nothing for this long has failed
	// Labels of the public test key pair, for a token that lets no program make a key.
	TestLabelA string `yaml:"test_label_a"`
	TestLabelB string `yaml:"test_label_b"`
}

// PayShield are the host security modules that hold the card keys of backend payshield.
type PayShield struct {
	Addresses      []string      `yaml:"addresses"`     // host:port of each module; all have the same LMK
	HeaderLength   int           `yaml:"header_length"` // characters of the message header, as set in the module
	LMK            string        `yaml:"lmk"`           // identifier of the LMK, two digits; "": the port's
	LMKCheck       string        `yaml:"lmk_check"`     // check value of the LMK, 6 to 16 hex digits
	PINLength      int           `yaml:"pin_length"`    // characters of a PIN under the LMK, as the module's security settings say: 5 to 13, or 33 under an AES LMK
	TestKey        string        `yaml:"test_key"`      // of CardKeys: the one that holds the public test pair; "" for none
	TLS            PayShieldTLS  `yaml:"tls"`
	Connections    int           `yaml:"connections"`     // to all modules together
	InFlight       int           `yaml:"in_flight"`       // commands of one connection that wait for their reply
	Timeout        time.Duration `yaml:"timeout"`         // of one command
	ConnectTimeout time.Duration `yaml:"connect_timeout"` // of connecting, TLS and the LMK's check value together
	Retries        int           `yaml:"retries"`         // further tries of a command after its connection failed
	RetryPause     time.Duration `yaml:"retry_pause"`     // before connecting again, doubled up to 8 times itself
}

// PayShieldTLS secures the connections to the modules; without CAFile they are
// plain TCP, which is for environment test. Files are relative to the workspace.
type PayShieldTLS struct {
	CAFile          string `yaml:"ca_file"`          // PEM: who may have signed a module's certificate; no other authority is trusted
	CertificateFile string `yaml:"certificate_file"` // PEM: ours, where the modules ask for one
	KeyFile         string `yaml:"key_file"`         // PEM: its private key (0600)
	ServerName      string `yaml:"server_name"`      // in the modules' certificates; "": the host of the address
}

// Range is where new PANs come from: prefix + body + check digit, the body from From to To.
type Range struct {
	Prefix    string `yaml:"prefix"`
	PANLength int    `yaml:"pan_length"`
	From      int64  `yaml:"from"`
	To        int64  `yaml:"to"`    // inclusive
	Key       string `yaml:"key"`   // allocation key in the keyset
	Tweak     string `yaml:"tweak"` // hex, may be empty
}

// IDRange is the range of card ids that we give to new cards; no extract may bring a card in it that we did not make.
type IDRange struct {
	From int64 `yaml:"from"`
	To   int64 `yaml:"to"`
}

// Reason is one row of the reason table.
type Reason struct {
	Name          string   `yaml:"name"`
	NewPAN        bool     `yaml:"new_pan"`
	Types         []int    `yaml:"types"`          // reissue types that fit
	DefaultType   int      `yaml:"default_type"`   // when the type is blank
	Statuses      []string `yaml:"statuses"`       // card statuses accepted
	OldStatus     string   `yaml:"old_status"`     // status of the old card after a new number; "" keeps it
	ClosesTransit bool     `yaml:"closes_transit"` // reason 5: the mail came back
	Fee           string   `yaml:"fee"`            // decimal amount told in the answer
}

// Statuses sorts the card statuses into their classes.
type Statuses struct {
	Initial   []string          `yaml:"initial"`
	Active    []string          `yaml:"active"`
	Temporary []string          `yaml:"temporary"`
	Terminal  []string          `yaml:"terminal"`
	Aliases   map[string]string `yaml:"aliases"`
	// Becomes: status of a card whose number is kept, before → after (EXPIRED: CREATED).
	KeptBecomes map[string]string `yaml:"kept_becomes"`
}

// Shipping is a shipping method of a request.
type Shipping struct {
	Name        string `yaml:"name"`
	WorkingDays int    `yaml:"working_days"`
}

// Route sends a card to a bureau; the first match counts. An empty Program or Group matches every one.
type Route struct {
	Program string `yaml:"program"`
	Group   string `yaml:"group"`
	Bureau  string `yaml:"bureau"`
}

// Bureau is an embosser.
type Bureau struct {
	Recipient     `yaml:",inline"`
	Name          string            `yaml:"name"`
	Hold          bool              `yaml:"hold"`          // orders wait, no file is planned
	Layout        string            `yaml:"layout"`        // built-in layout name, or a file relative to the workspace
	FileName      string            `yaml:"file_name"`     // template
	MaxRecords    int               `yaml:"max_records"`   // records of one file; 0 for no limit
	AnyOrder      bool              `yaml:"any_order"`     // takes file N+1 before file N
	Approval      BureauApproval    `yaml:"approval"`      // which files a second person releases
	Client        string            `yaml:"client"`        // our name at the bureau
	MaxName       int               `yaml:"max_name"`      // characters of the embossed name, at most 26
	ShortenName   bool              `yaml:"shorten_name"`  // shorten a long name by rule and say so, instead of refusing it
	Charset       string            `yaml:"charset"`       // ascii-upper, latin1-upper …
	Transliterate map[string]string `yaml:"transliterate"` // further rules, before the built-in ones
	TimeZone      string            `yaml:"time_zone"`
	CutOff        string            `yaml:"cut_off"`      // HH:MM, local to the bureau
	WorkingDays   []string          `yaml:"working_days"` // mon tue …
	Holidays      []string          `yaml:"holidays"`     // YYYY-MM-DD
	Acknowledges  bool              `yaml:"acknowledges"`
	SLA           SLA               `yaml:"sla"`
	Returns       Returns           `yaml:"returns"`
	Simulator     bool              `yaml:"simulator"`
	Simulation    Simulation        `yaml:"simulation"`
}

// BureauApproval says which files of a bureau are held, before they take a
// number, until a person who asked for none of their cards approves them.
type BureauApproval struct {
	Always bool `yaml:"always"`
	Above  int  `yaml:"above"` // files of more cards than this; 0: no threshold
}

// SLA is how soon a bureau answers, in its own working days from the business
// date on which the file was sent; 0: not watched. What is later is told as a breach.
type SLA struct {
	Acknowledge int `yaml:"acknowledge"` // file or card acknowledged or rejected; watched only where Acknowledges
	Ship        int `yaml:"ship"`        // shipped (or beyond)
	Close       int `yaml:"close"`       // delivered, returned or lost
}

// What becomes of a return file at the bureau once the ledger has all of it.
const (
	LeaveReturn  = "leave"
	RemoveReturn = "remove"
	MoveReturn   = "move"
)

// Returns says where a bureau's return files are and how to read them.
type Returns struct {
	Dir     string              `yaml:"dir"`     // remote folder (delivery.method sftp) or folder of the workspace (folder); "": this bureau sends nothing back
	Pattern string              `yaml:"pattern"` // of the names, * and ?; several separated by a blank
	After   string              `yaml:"after"`   // leave, remove or move
	MoveTo  string              `yaml:"move_to"` // remote folder for move
	Sealed  bool                `yaml:"sealed"`  // PGP: encrypted to us and signed by the bureau, both or the file is refused whole
	Signer  ReturnSigner        `yaml:"signer"`  // whose signature; default: the bureau's pgp key
	Mapping returns.Description `yaml:"mapping"` // the bureau's own shape; default: our CSV
}

// ReturnSigner is the key that a bureau signs with, where it is not the one it is encrypted to.
type ReturnSigner struct {
	KeyFile     string `yaml:"key_file"`
	Fingerprint string `yaml:"fingerprint"`
}

// Simulation is how a simulated bureau answers. Shares are in percent of the
// cards, or of the files where it says so. The same seed gives the same answers to the same files.
type Simulation struct {
	Answers     bool `yaml:"answers"`
	Seed        int  `yaml:"seed"`
	Reject      int  `yaml:"reject"`       // cards rejected, with a code
	Return      int  `yaml:"return"`       // cards whose mail comes back
	Lose        int  `yaml:"lose"`         // cards lost on the way
	Late        int  `yaml:"late"`         // events told up to LateDays after they happened
	LateDays    int  `yaml:"late_days"`    // days
	Twice       int  `yaml:"twice"`        // events told a second time in a later file
	Shuffle     bool `yaml:"shuffle"`      // lines of a return file in no order
	RefuseFiles int  `yaml:"refuse_files"` // files refused as a whole
	// How long each step takes after the one before.
	AckAfter     time.Duration `yaml:"ack_after"`
	ProduceAfter time.Duration `yaml:"produce_after"`
	ShipAfter    time.Duration `yaml:"ship_after"`
	DeliverAfter time.Duration `yaml:"deliver_after"`
}

// When a recipient is told.
const (
	WhenNeeded = "needed" // the night needs a person, failed, or does not balance
	Always     = "always"
)

// Notify is who is told of a night, and how.
type Notify struct {
	ReportURL string    `yaml:"report_url"` // where reports/ is seen by a browser, for the link; "" for none
	Mail      Mail      `yaml:"mail"`
	Webhooks  []Webhook `yaml:"webhooks"`
	Heartbeat Heartbeat `yaml:"heartbeat"`
	Metrics   Metrics   `yaml:"metrics"`
}

// Transport security of mail.
const (
	StartTLS = "starttls" // demanded, never silently without
	TLS      = "tls"      // from the first byte
	NoTLS    = "none"     // environment: test only
)

// Mail is the way to the mail server; Host "" sends none.
type Mail struct {
	Host     string          `yaml:"host"`
	Port     int             `yaml:"port"`
	Security string          `yaml:"security"` // starttls, tls, none
	CAFile   string          `yaml:"ca_file"`  // PEM; "" for the system's
	User     string          `yaml:"user"`     // "" for no login
	Password SecretRef       `yaml:"password"`
	From     string          `yaml:"from"`
	Timeout  time.Duration   `yaml:"timeout"`
	To       []MailRecipient `yaml:"to"`
}

// MailRecipient is one person or list.
type MailRecipient struct {
	Address string `yaml:"address"`
	When    string `yaml:"when"`   // needed (default) or always
	Attach  bool   `yaml:"attach"` // reconciliation.html comes with it
}

// Webhook is a URL that gets the night's sentence as JSON.
type Webhook struct {
	URL     string        `yaml:"url"`
	When    string        `yaml:"when"`
	Secret  SecretRef     `yaml:"secret"` // of the HMAC signature
	Timeout time.Duration `yaml:"timeout"`
	CAFile  string        `yaml:"ca_file"`
}

// Heartbeat are URLs pinged at the start and end of a run, for a service that
// raises the alarm when the ping does not come; "" for none.
type Heartbeat struct {
	Start   string        `yaml:"start"`
	End     string        `yaml:"end"`  // exit codes 0 and 4
	Fail    string        `yaml:"fail"` // any other end that could still be told
	Timeout time.Duration `yaml:"timeout"`
}

// Metrics is a Prometheus text file for the node exporter's textfile collector.
type Metrics struct {
	File string `yaml:"file"` // "" for none; the collector wants *.prom
}

// Events says where else than in events.ndjson events go.
type Events struct {
	Webhook EventHook `yaml:"webhook"`
}

// EventHook is a URL that gets every event at least once, as CloudEvents in
// batches; URL "" for none.
type EventHook struct {
	URL     string        `yaml:"url"`
	Secret  SecretRef     `yaml:"secret"`
	Batch   int           `yaml:"batch"` // events of one request
	Timeout time.Duration `yaml:"timeout"`
	CAFile  string        `yaml:"ca_file"`
}

// Recipient is who a sealed file is for and how it gets there.
type Recipient struct {
	PGP      PGP      `yaml:"pgp"`
	Delivery Delivery `yaml:"delivery"`
}

// PGP is the recipient's encryption key, pinned.
type PGP struct {
	KeyFile     string `yaml:"key_file"`    // relative to the workspace
	Fingerprint string `yaml:"fingerprint"` // full, hex
	Compress    bool   `yaml:"compress"`
	// Escrow is a second key that the files are encrypted to, such as the issuer's safe-deposit key; none without KeyFile.
	Escrow EscrowKey `yaml:"escrow"`
}

// EscrowKey is a second recipient's key, pinned.
type EscrowKey struct {
	KeyFile     string `yaml:"key_file"`
	Fingerprint string `yaml:"fingerprint"`
}

// Delivery is how a file goes out. Folder: it stays in outbox/<recipient>/. SFTP: the protocol of docs/delivery.md.
type Delivery struct {
	Method      string        `yaml:"method"` // sftp or folder
	Host        string        `yaml:"host"`
	Port        int           `yaml:"port"`
	User        string        `yaml:"user"`
	KeyFile     string        `yaml:"key_file"` // private key; "" means the SSH agent
	KnownHosts  string        `yaml:"known_hosts"`
	Dir         string        `yaml:"dir"`         // remote folder
	TempSuffix  string        `yaml:"temp_suffix"` // of the temporary name, default .part
	TempDir     string        `yaml:"temp_dir"`    // remote folder for temporary names; "" is Dir
	Stat        bool          `yaml:"stat"`        // size may be looked at after the upload
	ReadBack    bool          `yaml:"read_back"`   // content may be read back and hashed
	TakenAway   bool          `yaml:"taken_away"`  // bureau takes files away at once: final name gone means taken
	Fsync       bool          `yaml:"fsync"`
	Concurrency int           `yaml:"concurrency"` // requests in flight
	Ciphers     []string      `yaml:"ciphers"`
	DialTimeout time.Duration `yaml:"dial_timeout"`
	IdleTimeout time.Duration `yaml:"idle_timeout"` // no answer for this long is a lost connection
	Attempts    int           `yaml:"attempts"`
	RetryPause  time.Duration `yaml:"retry_pause"` // first pause, doubled each time
}

// Keys are the workspace's own keys.
type Keys struct {
	Keyset      SecretRef `yaml:"keyset_kek"`  // key-encryption key of keys/keyset.json
	SigningKey  string    `yaml:"signing_key"` // our PGP private key: signs what goes out, opens what comes in
	Fingerprint string    `yaml:"fingerprint"`
	Passphrase  SecretRef `yaml:"passphrase"` // of the PGP private key
	// Former are our PGP keys of before: they open what was sealed to them and verify what they signed.
	Former []FormerKey `yaml:"former"`
	// Escrow is a second key that backups are encrypted to; none without KeyFile.
	Escrow EscrowKey `yaml:"escrow"`
}

// FormerKey is a PGP private key that ours replaced. It may have expired.
type FormerKey struct {
	KeyFile     string    `yaml:"key_file"`
	Fingerprint string    `yaml:"fingerprint"`
	Passphrase  SecretRef `yaml:"passphrase"` // default: keys.passphrase
}

// SecretRef says where a secret is: in a file (0600) or in an environment variable. It is never in the configuration itself.
type SecretRef struct {
	File string `yaml:"file"`
	Env  string `yaml:"env"`
	// TokenKey is the label of an AES key in the PKCS#11 token ([PKCS11]); File is then the secret encrypted under it.
	// Only the key-encryption key of the keyset may be kept like this ([Keys.Keyset]).
	TokenKey string `yaml:"token_key"`
}

// PINs are the PIN files: for each new number whose product needs a new PIN a
// random PIN from the payShield, as an encrypted PIN block with its PVV, linked
// to the order by uid and never beside the card's data. With backend none there
// are none and results say that a PIN is due.
type PINs struct {
	Recipient `yaml:",inline"`
	Backend   string   `yaml:"backend"`   // none or payshield
	Length    int      `yaml:"length"`    // digits of a PIN, 4 to 12
	Format    string   `yaml:"format"`    // of the PIN block, the module's code: 01 is ISO 9564-1 format 0, 47 is format 3
	ZPK       KeyToken `yaml:"zpk"`       // zone PIN key shared with the recipient, encrypted under the module's LMK
	ZPKCheck  string   `yaml:"zpk_check"` // its check value, six hex digits
	PVK       KeyToken `yaml:"pvk"`       // PIN verification key pair, likewise
	PVKCheck  string   `yaml:"pvk_check"`
	PVKI      int      `yaml:"pvki"` // PIN verification key indicator, 1 to 6
}

// Person is somebody who submits request files or approves files that are held.
// A person is known by a PGP key (signed files) or by a login of this machine (`reemboss approve`).
type Person struct {
	Name        string   `yaml:"name"`
	Login       string   `yaml:"login"`       // on this machine; "": approves by signed files only
	KeyFile     string   `yaml:"key_file"`    // PGP public key; "": signs nothing
	Fingerprint string   `yaml:"fingerprint"` // full, hex
	Submits     Submits  `yaml:"submits"`
	Approves    Approves `yaml:"approves"`
}

// Submits is what a person may ask for. Empty lists permit nothing.
type Submits struct {
	Requests []string `yaml:"requests"`  // reemboss, reissue
	Reasons  []int    `yaml:"reasons"`   // of reissues
	Programs []string `yaml:"programs"`  // of the cards; "*" for every one
	MaxCards int      `yaml:"max_cards"` // accepted rows of one night (local date); 0: no limit
}

// Approves is what a person may release. An empty list permits nothing.
type Approves struct {
	Bureaus  []string `yaml:"bureaus"`   // "*" for every one
	MaxCards int      `yaml:"max_cards"` // of one file; 0: no limit
}

// Approvals limits signed approval files.
type Approvals struct {
	ValidFor time.Duration `yaml:"valid_for"` // from the time of the signature
}

// Retention is for how many days what was delivered and settled is kept; 0: for ever.
type Retention struct {
	SealedFiles int `yaml:"sealed_files"` // outbox/
	Results     int `yaml:"results"`      // done/ and refused/: request files and their results
	Returns     int `yaml:"returns"`      // returns/
	Reports     int `yaml:"reports"`      // reports/
}
