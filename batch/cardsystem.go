package batch

import (
	"context"
	"fmt"
	"io"
	"strconv"
	"time"

	"github.com/gocarina/gocsv"

	"reemboss/batch/config"
	"reemboss/batch/ledger"
	"reemboss/formats/layout"
)

// issuedRow is a line of the card system's file: what was issued, with the
// clear number, so it exists in memory and inside the sealed file only. The
// column names are a public promise.
type issuedRow struct {
	Run        string `csv:"run"`
	UID        string `csv:"uid"`
	Request    string `csv:"request"`
	CardID     int64  `csv:"card_id"`
	NewCardID  string `csv:"new_card_id"`
	PAN        string `csv:"pan"`
	PSN        string `csv:"psn"`
	Expiry     string `csv:"expiry"`
	Status     string `csv:"status"`
	OldStatus  string `csv:"old_status"`
	ReasonCode int    `csv:"reason_code"`
	Bureau     string `csv:"bureau"`
	FileName   string `csv:"file_name"`
	Sequence   int64  `csv:"sequence"`
}

// writeCardSystem tells the system that authorises payments what the bureaus'
// files issued: numbers, expiries and PSNs that it does not have yet. A
// re-embossing issues nothing new and is not in it.
func (n *Night) writeCardSystem(ctx context.Context) (int64, error) {
	records, err := n.queuedFor(ctx, config.CardSystem)
	if err != nil || records == 0 || n.stuck[config.CardSystem] {
		return 0, err
	}
	key, err := n.recipientKey(n.Config.CardSystem)
	if err != nil {
		n.wait(config.CardSystem, err.Error())
		return 0, nil
	}
	at := n.Now().In(n.zone).Truncate(time.Second)
	f := ledger.BureauFile{Recipient: config.CardSystem, Records: records, Layout: "card-system version 1"}
	public, err := key.Armored(false)
	if err != nil {
		return 0, err
	}
	h := head{Key: string(public), Compress: n.Config.CardSystem.PGP.Compress, Layout: layout.Head{Time: at, Records: records}}
	f, err = n.plan(ctx, f, h, key, cardSystemName, "csv", at, func(fn func(*ledger.Order) error) error {
		return n.Ledger.EachQueued(ctx, config.CardSystem, records, fn)
	})
	if err != nil {
		return 0, n.unplanned(config.CardSystem, err)
	}
	return records, n.finish(ctx, f)
}

// cardSystemName is the name of its files.
const cardSystemName = "{bureau}_{date:20060102}_{sequence:06}.{ext}.pgp"

// writeCardSystemText streams the lines of a card system file.
func writeCardSystemText(f ledger.BureauFile, orders eachOrder, w io.Writer) error {
	out := gocsv.DefaultCSVWriter(w)
	if err := gocsv.MarshalCSV([]issuedRow{}, out); err != nil {
		return fmt.Errorf("write the header: %w", err)
	}
	var records int64
	batch := make([]issuedRow, 0, secretsBatch)
	flush := func() error {
		if len(batch) == 0 {
			return nil
		}
		err := gocsv.MarshalCSVWithoutHeaders(batch, out)
		batch = batch[:0]
		return err
	}
	err := orders(func(o *ledger.Order) error {
		records++
		row := issuedRow{
			Run: o.RunID, UID: o.UID, Request: string(o.Kind), CardID: o.CardID,
			PAN: o.PAN.Reveal(), PSN: fmt.Sprintf("%02d", o.PSN), Expiry: o.Expiry.String(),
			Status: o.Status, OldStatus: o.OldStatus, ReasonCode: o.Reason,
			Bureau: o.Bureau, FileName: o.FileName, Sequence: o.Sequence,
		}
		if o.EmbossedCardID != o.CardID {
			row.NewCardID = strconv.FormatInt(o.EmbossedCardID, 10)
		}
		if batch = append(batch, row); len(batch) == cap(batch) {
			return flush()
		}
		return nil
	})
	if err == nil {
		err = flush()
	}
	if err != nil {
		return err
	}
	if records != f.Records {
		return fmt.Errorf("the ledger gave %d orders for a plan of %d", records, f.Records)
	}
	out.Flush()
	return out.Error()
}
