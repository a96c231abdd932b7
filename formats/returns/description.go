package returns

// Description says how one bureau writes its return files: where each field
// stands, which words it uses for what happened, how it writes a time. The zero
// Description is our own CSV. It is data of the configuration (bureaus.<name>.returns.mapping);
// [Compile] checks it. docs/returns.md shows three whole ones.
type Description struct {
	Shape     string `yaml:"shape"`     // delimited (default) or fixed
	Encoding  string `yaml:"encoding"`  // utf-8, utf-16, windows-1250, windows-1252, iso-8859-1, iso-8859-2, iso-8859-15, ibm850; "" (default): UTF-8 or UTF-16, and Windows-1252 for a line that is no UTF-8
	Delimiter string `yaml:"delimiter"` // one character, or "tab"; default: a comma. delimited only
	Unquoted  bool   `yaml:"unquoted"`  // delimited: quotes are characters like any other; else they are RFC 4180's
	Header    bool   `yaml:"header"`    // delimited: the first line names the columns; fields may then name a column instead of a place

	// Columns is how many fields a CARD line has, and a FILE line without places of its own; delimited without header only.
	// 0 (default): any number that reaches the last place. With a header it is the header's number.
	Columns int `yaml:"columns"`
	// Length is how many characters every line has; fixed only. 0 (default): any; what is missing at a line's end is blank.
	Length int `yaml:"length"`

	// Fields says where our fields stand: record_type file_name sequence uid status count code description carrier
	// tracking_number occurred_at, or occurred_date and occurred_time where the bureau writes them apart.
	// delimited: a column's number from 1, or its name when there is a header. fixed: "FIRST-LAST", character positions from 1.
	// "=TEXT" stands for the text itself on every line (status, code, description, carrier).
	// An entry "RECORD.field" (such as TRAILER.count) counts for the lines of that record type only: CARD, FILE, TRAILER, HEADER;
	// "" there: these lines do not bring it. Header lines have such entries only. Without any entry: our own names, and a header.
	Fields map[string]string `yaml:"fields"`

	// Records are the words of record_type: the bureau's word → CARD, FILE, TRAILER, HEADER or SKIP. A HEADER line opens the
	// file; its file_name, sequence and time (or date alone) count for the lines after it that bring none. A word "*" takes every line whose word is no other's.
	Records map[string]string `yaml:"records"`

	// Statuses are the bureau's status words → ours (FILE: RECEIVED REFUSED; CARD: ACKED REJECTED PRODUCED SHIPPED
	// DELIVERED RETURNED LOST; SKIP: a line of no interest). Case and outer blanks do not matter, here and in Records and Codes.
	// "FILE.word" and "CARD.word" count for the lines of that record type only; "*" is every word that is no other's. Default: our own words.
	Statuses map[string]string `yaml:"statuses"`

	// Codes are the bureau's codes → a text, used as the description where the line brings none.
	Codes map[string]string `yaml:"codes"`

	// TimeFormat is how occurred_at (or date and time, joined by a blank) is written: rfc3339 (default), unix (seconds), or a pattern of
	// YYYY YY MM MMM (Jan, Feb …) DD hh mm ss, Z (an offset: Z, +01:00 or +0100), the letter T and signs, such as "DD.MM.YYYY hh:mm".
	// TimeZone is the IANA name that counts where the text itself has no offset. What the change to or from summer time makes
	// doubtful is read as RFC 5545, 3.3.5 has it: a time that comes twice is the first, one that does not come is taken by the clock not yet put forward.
	TimeFormat string `yaml:"time_format"`
	TimeZone   string `yaml:"time_zone"` // default UTC; rfc3339: without one, the offset is required

	// TrailerCounts: lines (default: every line before the trailer, a header line too, the names of columns not), cards (CARD lines only)
	// or none: the trailer brings no count.
	TrailerCounts string `yaml:"trailer_counts"`
}
