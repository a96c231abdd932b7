package rules

import (
	"cmp"
	"slices"
)

// The vocabulary: why a row or a file is refused. Results, reports, events and
// logs use these codes and no others.
const (
	FileUnreadable        Code = "file_unreadable"
	FileTooLarge          Code = "file_too_large"
	FileSignatureInvalid  Code = "file_signature_invalid"
	HeaderMissing         Code = "header_missing"
	HeaderDuplicate       Code = "header_duplicate"
	RowMalformed          Code = "row_malformed"
	CardIDMissing         Code = "card_id_missing"
	CardIDInvalid         Code = "card_id_invalid"
	ExcelPrecisionLoss    Code = "excel_precision_loss"
	ReasonCodeMissing     Code = "reason_code_missing"
	ReasonCodeInvalid     Code = "reason_code_invalid"
	ReissueTypeInvalid    Code = "reissue_type_invalid"
	ReissueTypeConflict   Code = "reissue_type_conflict"
	ShippingMethodInvalid Code = "shipping_method_invalid"
	CardValidationError   Code = "card_validation_error"

	NotOnDemand         Code = "not_on_demand"
	SubmitterNotAllowed Code = "submitter_not_allowed"
	ProgramNotPermitted Code = "program_not_permitted"

	CardNotFound           Code = "card_not_found"
	CustomerNotFound       Code = "customer_not_found"
	AccountNotFound        Code = "account_not_found"
	AccountAddressNotFound Code = "account_address_not_found"
	AccountPhoneNotFound   Code = "account_phone_not_found"

	DuplicateFile     Code = "duplicate_file"
	DuplicateRow      Code = "duplicate_row"
	AlreadyRequested  Code = "already_requested"
	ReferenceConflict Code = "reference_conflict"

	CardAlreadyReplaced          Code = "card_already_replaced"
	CardInTransit                Code = "card_in_transit"
	CardStatusInvalid            Code = "card_status_invalid"
	CardTypeInvalid              Code = "card_type_invalid"
	CardExpired                  Code = "card_expired"
	CardPCIPasswordUnchanged     Code = "card_pci_password_unchanged"
	AccountAddressInactive       Code = "account_address_inactive"
	AccountAddressZipcodeInvalid Code = "account_address_zipcode_invalid"
	InvalidPrintedName           Code = "invalid_printed_name"
	EmbosserNotConfigured        Code = "embosser_not_configured"
	ReissueLimitReached          Code = "reissue_limit_reached"
	PSNExhausted                 Code = "psn_exhausted"
	PANRangeExhausted            Code = "pan_range_exhausted"
	EmbossingLineInvalidFormat   Code = "embossing_line_invalid_format"

	InternalError Code = "internal_error"
)

// word is one entry of the vocabulary: its class (the HTTP meaning of the two
// interfaces that the requests come from) and one plain sentence that says what
// to do about it.
type word struct {
	code     Code
	class    int
	sentence string
}

// vocabulary in its order: the order in which a row's violations are told, the
// first being the row's outcome.
var vocabulary = []word{
	{FileUnreadable, 400, "The file cannot be read as CSV, XLSX or JSON; save it again in one of these formats and send it again."},
	{FileTooLarge, 400, "The file is larger than the configuration allows; split it and send the parts."},
	{FileSignatureInvalid, 400, "The file's signature does not hold; sign the file again with the registered key and send it again."},
	{HeaderMissing, 400, "None of the first 20 rows names the card id column; add a header row with card_id and send the file again."},
	{HeaderDuplicate, 400, "Two columns have the same meaning; keep one of them and send the file again."},
	{RowMalformed, 400, "The row cannot be read as it stands; correct the cell that is named and send the row again."},
	{CardIDMissing, 400, "The row has no card id; fill it in and send the row again."},
	{CardIDInvalid, 400, "The card id is not a whole number of 1 to 18 digits; correct it and send the row again."},
	{ExcelPrecisionLoss, 400, "The spreadsheet has changed the number; format the column as text, enter the number again and send the row again."},
	{ReasonCodeMissing, 400, "The row has no reason code; write 1 to 6 or the reason in words and send the row again."},
	{ReasonCodeInvalid, 400, "The reason code is not known; write 1 to 6 or the reason in words and send the row again."},
	{ReissueTypeInvalid, 400, "The reissue type is not known; write 1, 2 or 3, or leave it blank, and send the row again."},
	{ReissueTypeConflict, 400, "The reissue type contradicts the reason; leave the type blank or write one that fits, and send the row again."},
	{ShippingMethodInvalid, 400, "The shipping method is not known; write one of the configured methods, or leave it blank, and send the row again."},
	{CardValidationError, 400, "The card's record cannot be embossed; correct it in the card master and send the row again after the next extract."},
	{NotOnDemand, 403, "Cards of this program may not be re-embossed; ask for a reissue instead."},
	{SubmitterNotAllowed, 403, "The sender may not make this request; ask operations for the right or have somebody send it who has it."},
	{ProgramNotPermitted, 403, "The sender may not make requests for this program; ask operations for the right or have somebody send it who has it."},
	{CardNotFound, 404, "The card registry has no card with this id; check the id, and that the card was in an extract, and send the row again."},
	{CustomerNotFound, 404, "The user id is missing or is not that of this card's holder; correct it and send the row again."},
	{AccountNotFound, 404, "The card has no account, which its product needs; complete it in the card master and send the row again after the next extract."},
	{AccountAddressNotFound, 404, "The address lacks a line, the city or the country; complete it in the card master or give one in the request, and send the row again."},
	{AccountPhoneNotFound, 404, "The card has no phone number, which its product needs; complete it in the card master and send the row again after the next extract."},
	{DuplicateFile, 409, "The same content was taken before; nothing was done again, so send it only if you change it."},
	{DuplicateRow, 409, "The same row stands in this file before; nothing was done again, so leave it out."},
	{AlreadyRequested, 409, "An order for this card is already open; wait for it and leave the row out."},
	{ReferenceConflict, 409, "The reference was used for another request; use a new reference and send the row again."},
	{CardAlreadyReplaced, 412, "The card was replaced by a new one; ask for the new card instead."},
	{CardInTransit, 412, "The last card is still on its way; wait until it is delivered, returned or overdue, and send the row again."},
	{CardStatusInvalid, 412, "The card's status does not allow the request; change the status first or choose another reason, and send the row again."},
	{CardTypeInvalid, 412, "Cards of this type have no plastic; leave the row out."},
	{CardExpired, 412, "The card is past its expiry and is not made again; ask for a reissue with reason 2 (expired)."},
	{CardPCIPasswordUnchanged, 412, "The PIN of the card was never set; have the cardholder set it and send the row again after the next extract."},
	{AccountAddressInactive, 412, "The card's address is inactive; correct it in the card master or give one in the request, and send the row again."},
	{AccountAddressZipcodeInvalid, 412, "The postcode does not fit the country; correct it and send the row again."},
	{InvalidPrintedName, 412, "The printed name cannot be embossed as it is; correct or shorten it and send the row again."},
	{EmbosserNotConfigured, 412, "No bureau is configured for the card's program and embossing group; ask operations to add the route, and send the row again."},
	{ReissueLimitReached, 412, "The card was reissued as often as its product allows; wait until the oldest reissue no longer counts, and send the row again."},
	{PSNExhausted, 412, "The card's sequence number has reached 99; ask for a new number with reason 3, 4 or 6."},
	{PANRangeExhausted, 412, "The product's range has no card number left; ask operations to configure a new range, and send the row again."},
	{EmbossingLineInvalidFormat, 412, "A field does not fit the bureau's file; shorten or correct what is named and send the row again."},
	{InternalError, 500, "The fault is ours; tell operations, and send the row again once they have mended it."},
}

// rank is the place of a code in the vocabulary.
var rank = func() map[Code]int {
	r := make(map[Code]int, len(vocabulary))
	for i, w := range vocabulary {
		r[w.code] = i
	}
	return r
}()

// Codes gives every code in the order of the vocabulary.
func Codes() []Code {
	codes := make([]Code, len(vocabulary))
	for i, w := range vocabulary {
		codes[i] = w.code
	}
	return codes
}

// Known says whether the vocabulary has the code.
func Known(code Code) bool {
	_, ok := rank[code]
	return ok
}

// Class is the code's HTTP meaning: 400 malformed, 403 not permitted, 404 not
// found, 409 duplicate, 412 precondition failed, 500 ours. [Approved] is 201
// (see [Decision.Class] for the 202 of a re-embossing); what the vocabulary
// does not know is a fault of ours.
func Class(code Code) int {
	if code == Approved {
		return 201
	}
	if i, ok := rank[code]; ok {
		return vocabulary[i].class
	}
	return 500
}

// Sentence says in one sentence what the code means and what to do about it.
func Sentence(code Code) string {
	if code == Approved {
		return "The request was accepted; there is nothing to do."
	}
	i, ok := rank[code]
	if !ok {
		i = rank[InternalError]
	}
	return vocabulary[i].sentence
}

// inOrder sorts violations as the vocabulary does; those of one code keep the order in which they were found.
func inOrder(violations []Violation) {
	slices.SortStableFunc(violations, func(a, b Violation) int {
		return cmp.Compare(place(a.Code), place(b.Code))
	})
}

func place(code Code) int {
	if i, ok := rank[code]; ok {
		return i
	}
	return len(vocabulary)
}
