// Package bureau is the far side of a night: it seals files for an embosser,
// hands them over by SFTP, picks up what comes back, and plays the embosser where a trial needs one.
//
// Sealing. [Seal] encrypts and signs one stream with OpenPGP: AES-256 with
// modification detection (SEIPD version 1) and a SHA-256 signature, the form
// that GnuPG 2.2 and later open. Clear text goes from the caller's Write into
// memory and from there encrypted to the writer; no temporary file exists. A
// recipient or signer that is missing, expired, revoked or weak is an error
// before the first byte: nothing is ever written in clear instead. [Open] is
// the way back.
//
// Delivery. [Session.Deliver] brings a frozen file under its final name exactly
// once, or says that a person must decide. Each step is recorded through a
// [Journal] before the next is taken, so that a killed delivery continues from
// the recorded [State]. The protocol is told in docs/delivery.md. Every failure
// is an [*Error] whose [Class] says who can mend it and whether to try again.
//
// Pick-up. [Session.Waiting], [Session.Fetch], [Session.Discard] and
// [Session.SetAside] bring what a bureau sends back, over the same connection and
// with the same retries; [Folder] does the same with a folder of this machine. A file
// that still changes is left, nothing is overwritten, and each may be repeated after a kill.
//
// Trial. [Simulator] is a bureau on a loopback port: an SFTP server that opens
// what it gets, verifies who signed it and tells what it received. With a [Life] it
// answers as well: return files that say what became of each card, from a seed.
//
// The package knows no card, no layout and no ledger. It reads the clock, dials
// and sleeps through fields of its settings, keeps no global state, and
// connects to nothing but the address in [Settings] (and the SSH agent's socket).
package bureau
