package payshield

import (
	"errors"
	"fmt"
)

// Error codes of the HSM that are no refusal.
const (
	codeGood  = "00"
	codeWrong = "01" // a verification that failed
)

// ErrStop is wrapped by every refusal that would meet the next card too: keys,
// rights or settings are wrong. From the first one on the client sends nothing
// more; the run stops and a person acts.
var ErrStop = errors.New("the HSM or its configuration is not as it must be; the run stops")

// CodeError is a refusal by the HSM. It holds no card data.
type CodeError struct {
	Command string // two characters
	Code    string // two characters, never 00
}

// Error says what was refused, why, and what to do.
func (e *CodeError) Error() string {
	text := "the HSM refuses with a code that is not known here; look it up in the host command manual of its firmware"
	if m, known := meanings[e.Code]; known {
		text = m.text
	}
	return fmt.Sprintf("HSM command %s (%s) answered with error code %s: %s", e.Command, purposes[e.Command], e.Code, text)
}

// Is makes a refusal that concerns every card an [ErrStop].
func (e *CodeError) Is(target error) bool { return target == ErrStop && meanings[e.Code].stops }

// purposes say what a command is for.
var purposes = map[string]string{
	cmdDiagnose: "diagnostics and LMK check value", cmdCheckValue: "key check value",
	cmdCVV: "generate a card verification value", cmdVerifyCVV: "verify a card verification value",
	cmdRandomPIN: "random PIN", cmdPVV: "PIN verification value", cmdPINBlock: "PIN block for a zone", cmdRebindPIN: "PIN from an old to a new account number",
}

type meaning struct {
	text  string
	stops bool // the next card would meet the same
}

// meanings of the error codes that our commands can give, in our own words.
var meanings = map[string]meaning{
	"04": {"it does not know the key type code; this firmware numbers key types in another way: compare the key types with its manual", true},
	"05": {"the key is of another length than its kind has; check that the configured token is that of the named key", true},
	"10": {"the key has wrong parity after decryption: its token was mistyped, is of another kind, or was made under another LMK; import the key again and configure the new token", true},
	"11": {"the key it should encrypt under has wrong parity or is all zeros: its token was mistyped, is of another kind, or was made under another LMK; import the key again and configure the new token", true},
	"12": {"its user storage is empty (restarted, erased or overwritten): load it again, or configure whole key tokens instead of storage places", true},
	"13": {"no LMK is loaded under the identifier that was asked for, or the LMK is damaged: have the security officers load the LMK, and check lmk in the configuration", true},
	"14": {"the encrypted PIN is not one for this account number under this LMK; a new PIN must be made for the card", false},
	"15": {"it cannot read the fields of the command: the message header length, the length of encrypted PINs or the key tokens are configured in another way here than in the HSM; make them the same", true},
	"17": {"it is not in the authorised state that this command needs; ask the security officers to authorise it", true},
	"20": {"the PIN block holds no PIN", false},
	"22": {"it does not take the account number", false},
	"23": {"it does not take the PIN block format; configure one that its security settings allow", true},
	"24": {"the PIN has fewer than 4 or more than 12 digits", false},
	"26": {"it does not take the key scheme (the first letter of the token); check that the whole token was configured", true},
	"27": {"the key has not the length that the command needs: card verification keys and PIN verification keys are double length; export the key pair again", true},
	"28": {"the key is of another kind than the command needs; check that the configured token is that of the named key", true},
	"29": {"its key type table does not permit this use of the key; ask the security officers", true},
	"39": {"its fraud detection has blocked PIN commands; the security officers must look into it and re-enable them", true},
	"40": {"its firmware failed the self-test; take it out of service and call the maker's support", true},
	"41": {"it has an internal fault; take it out of service and call the maker's support", false},
	"42": {"its cipher hardware failed; take it out of service and call the maker's support", false},
	"47": {"its licence does not cover the algorithm; ask the security officers for the licence", true},
	"51": {"it does not take the message header; configure the header length that is set in the HSM", true},
	"67": {"its licence does not cover the command; ask the security officers for the licence", true},
	"68": {"the command is disabled in its security settings; the security officers must enable it for this host", true},
	"69": {"the PIN block format is disabled in its security settings; enable it, or configure another", true},
	"75": {"the key is a single-length key that pretends to be longer; it is of no use: import the right key", true},
	"83": {"the key block is not well formed: it was cut off or mistyped; configure the whole token", true},
	"84": {"the key block's check value is wrong: it was changed or mistyped; export the key again", true},
	"86": {"the PIN is in the table of excluded PINs", false},
	"A1": {"the key token is for another kind of LMK (variant or key block) than the one loaded; check lmk in the configuration", true},
	"A2": {"the key tokens are under different LMKs; configure tokens of one LMK", true},
	"A3": {"the key block names another LMK than the command; check lmk in the configuration", true},
	"A4": {"the key block does not authenticate under the LMK: it was changed, mistyped or made under another LMK; export the key again", true},
	"A5": {"the key has not the length that the command needs; export the right key", true},
	"A6": {"the key block's usage does not allow this command; export the key for its right usage", true},
	"A7": {"the key block's algorithm does not fit the command; export the right key", true},
	"A8": {"the key block's mode of use does not allow this command (generating and verifying both are needed); export the key again", true},
}
