package returns

// Description says how one bureau writes its return files: where each field
// stands, which words it uses for what happened, how it writes a time. The zero
// Description is our own CSV. It is data of the configuration (bureaus.<name>.returns.mapping);
// [Compile] checks it.
type Description struct {
	Shape     string `yaml:"shape"`     // delimited (default) or fixed
	Encoding  string `yaml:"encoding"`  // utf-8, windows-1252, iso-8859-15, utf-16; "" (default): UTF-8, and Windows-1252 where it is none
	Delimiter string `yaml:"delimiter"` // one character, or "tab"; default: a comma. delimited only
	Header    bool   `yaml:"header"`    // delimited: the first line names the columns; fields may then name a column instead of a place

	// Fields says where our fields stand: record_type file_name sequence uid status count code description carrier
	// tracking_number occurred_at, or occurred_date and occurred_time where the bureau writes them apart.
	// delimited: a column's number from 1, or its name when there is a header. fixed: "FIRST-LAST", character positions from 1.
	// An entry "RECORD.field" (such as TRAILER.count) counts for the lines of that record type only: CARD, FILE, TRAILER, HEADER.
	Fields map[string]string `yaml:"fields"`

	// Records are the words of record_type: the bureau's word → CARD, FILE, TRAILER, HEADER or SKIP. A HEADER line opens the
	// file; its file_name (and occurred_at's date) counts for the lines after it that bring none. A word "*" takes every line whose word is no other's.
	Records map[string]string `yaml:"records"`

	// Statuses are the bureau's status words → ours (FILE: RECEIVED REFUSED; CARD: ACKED REJECTED PRODUCED SHIPPED
	// DELIVERED RETURNED LOST; SKIP: a line of no interest). Case and outer blanks do not matter.
	Statuses map[string]string `yaml:"statuses"`

	// Codes are the bureau's codes → a text, used as the description where the line brings none.
	Codes map[string]string `yaml:"codes"`

	// TimeFormat is how occurred_at (or date and time, joined by a blank) is written: rfc3339 (default), unix, or a pattern of YYYY YY MM DD hh mm ss
	// and literal characters, such as "DD.MM.YYYY hh:mm". TimeZone is the IANA name that counts where the text itself has no offset.
	TimeFormat string `yaml:"time_format"`
	TimeZone   string `yaml:"time_zone"` // default UTC

	// TrailerCounts: lines (default: every line before the trailer, a header line too, the names of columns not) or cards (CARD lines only).
	TrailerCounts string `yaml:"trailer_counts"`
}
