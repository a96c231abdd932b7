package issue

import (
	"context"
	"errors"
	"fmt"

	"reemboss/batch/hsm"
	"reemboss/formats/iso"
	"reemboss/formats/layout"
)

// Item is a card to be completed.
type Item struct {
	PAN   iso.PAN
	Blank *Blank
}

// ErrSample is wrapped by what [VerifySample] finds.
var ErrSample = errors.New("a record is not what a second computation gives; nothing made with it may leave the house")

// requests are the values that a card needs: CVV1, CVV2 and, with a chip, the iCVV.
func (i Item) requests(list []hsm.CVVRequest) []hsm.CVVRequest {
	ask := func(key KeyRef, service string) {
		list = append(list, hsm.CVVRequest{Key: key.Key, PAN: i.PAN, Expiry: key.feed(i.Blank.Expiry), ServiceCode: service})
	}
	ask(i.Blank.Keys.CVV1, i.Blank.ServiceCode)
	ask(i.Blank.Keys.CVV2, hsm.ServiceCVV2)
	if i.Blank.Chip {
		ask(i.Blank.Keys.ICVV, hsm.ServiceICVV)
	}
	return list
}

// valuesPerCard is the most that requests asks for.
const valuesPerCard = 3

// Complete gives the whole record of each item, in the same order: the blank's
// fields, the number, and the values and tracks that one call of the backend
// gives. An item whose values cannot be had has its error at its place and no
// record; the others are complete. The records hold card data in clear: they
// go from here to the PGP writer and nowhere else.
func Complete(ctx context.Context, backend hsm.Backend, items []Item) ([]layout.Record, []error) {
	requests := make([]hsm.CVVRequest, 0, valuesPerCard*len(items))
	for _, item := range items {
		requests = item.requests(requests)
	}
	results := backend.CVVs(ctx, requests)
	records, errs := make([]layout.Record, len(items)), make([]error, len(items))
	for i, item := range items {
		n := valuesPerCard
		if !item.Blank.Chip {
			n--
		}
		if len(results) < n {
			errs[i] = errors.New("the card key backend gave fewer values than it was asked for")
			continue
		}
		records[i], errs[i] = item.complete(results[:n])
		results = results[n:]
	}
	return records, errs
}

func (i Item) complete(results []hsm.CVVResult) (layout.Record, error) {
	var v values
	for n, to := range []*iso.Secret{&v.cvv1, &v.cvv2, &v.icvv}[:len(results)] {
		if results[n].Err != nil {
			return nil, fmt.Errorf("%s: %w", [...]string{"CVV1", "CVV2", "iCVV"}[n], results[n].Err)
		}
		*to = results[n].CVV
	}
	record, err := i.Blank.fill(i.PAN, v)
	if err != nil {
		return nil, err
	}
	return record, nil
}

// VerifySample takes completed records apart again and has every value in
// them, on each track and on the face, computed by other means. Errors wrap
// [ErrSample] and name the record's uid and the field, never a value.
func VerifySample(ctx context.Context, v hsm.Verifier, items []Item, records []layout.Record) error {
	if len(items) != len(records) {
		return fmt.Errorf("%w: %d cards, %d records", ErrSample, len(items), len(records))
	}
	var requests []hsm.CVVRequest
	var found []iso.Secret
	var owners []int
	for i, item := range items {
		got, err := item.Blank.valuesIn(item.PAN, records[i])
		if err != nil {
			return fmt.Errorf("%w: record %s: %w", ErrSample, item.Blank.UID(), err)
		}
		requests = item.requests(requests)
		for _, value := range []iso.Secret{got.cvv1, got.cvv2, got.icvv}[:len(requests)-len(found)] {
			found, owners = append(found, value), append(owners, i)
		}
	}
	for i, err := range v.VerifyCVVs(ctx, requests, found) {
		if err != nil {
			return fmt.Errorf("%w: record %s: %w", ErrSample, items[owners[i]].Blank.UID(), err)
		}
	}
	return ctx.Err()
}

// valuesIn finds the values in a record and holds all else in its secret fields against the blank.
func (b *Blank) valuesIn(pan iso.PAN, record layout.Record) (values, error) {
	v := values{cvv2: iso.NewSecret(record[layout.CVV2])}
	digits := pan.Reveal()
	if record[layout.PAN] != digits || record[layout.PANGrouped] != grouped(digits) {
		return v, errors.New("its card number is another")
	}
	if len(digits) < 4 || record[layout.CVV2Face] != digits[len(digits)-4:]+" "+record[layout.CVV2] {
		return v, fmt.Errorf("field %s differs", layout.CVV2Face)
	}
	for _, t := range b.tracks() {
		value, err := b.valueOn(t, pan, record[t.field])
		if err != nil {
			return v, fmt.Errorf("field %s: %w", t.field, err)
		}
		to := &v.cvv1
		if t.field == layout.ChipTrack1 || t.field == layout.ChipTrack2 {
			to = &v.icvv
		}
		if !to.IsZero() && to.Reveal() != value.Reveal() {
			return v, fmt.Errorf("field %s carries another value than its companion", t.field)
		}
		*to = value
	}
	return v, nil
}

// valueOn reads the value from a track: it stands where the track of 000 and
// the track of 999 differ, and everywhere else the three must agree.
func (b *Blank) valueOn(t trackOf, pan iso.PAN, text string) (iso.Secret, error) {
	low, errLow := t.make(b.track(pan, iso.NewSecret("000")))
	high, errHigh := t.make(b.track(pan, iso.NewSecret("999")))
	if err := errors.Join(errLow, errHigh); err != nil {
		return iso.Secret{}, err
	}
	l, h := low.Reveal(), high.Reveal()
	if len(text) != len(l) {
		return iso.Secret{}, errors.New("it has another length")
	}
	var value []byte
	for i := range len(text) {
		if l[i] != h[i] {
			value = append(value, text[i])
		} else if text[i] != l[i] {
			return iso.Secret{}, errors.New("it differs beside its value")
		}
	}
	return iso.NewSecret(string(value)), nil
}
