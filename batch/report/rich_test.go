package report

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"testing"
	"time"

	"reemboss/batch/config"
	"reemboss/batch/ledger"
	"reemboss/batch/rules"
	"reemboss/formats/extract"
	"reemboss/formats/request"
)

// richNight is a night in the middle of a running business: three bureaus, a
// month of nights before it, files in every state, and what bureaus sent back.
func richNight(t testing.TB) (*memory, Extra) {
	r := &rich{t: t, memory: &memory{
		run:    ledger.Run{ID: runID, Date: "2026-11-21", StartedAt: started, Starts: 1, Host: "cards1", Version: "0.3.0"},
		orders: map[int64][]ledger.Order{}, cards: map[int64]*ledger.Known{}, moved: map[int64]int64{}, counts: map[string]ledger.OutcomeCounts{},
	}}
	r.nights()
	r.answers()
	r.sentFiles()
	r.returned()
	at := started
	for _, s := range []struct {
		name  string
		took  time.Duration
		items int64
	}{{"collect", 2400 * time.Millisecond, 318}, {"intake", 800 * time.Millisecond, 4}, {"decide", 5200 * time.Millisecond, r.rows}, {"issue", 3100 * time.Millisecond, 380},
		{"write", 1900 * time.Millisecond, 3}, {"send", 11400 * time.Millisecond, 4}} {
		r.stages = append(r.stages, ledger.Stage{RunID: runID, Name: s.name, StartedAt: at, EndedAt: at.Add(s.took), Items: s.items})
		at = at.Add(s.took)
	}
	end := started.AddDate(0, 0, 21)
	far := started.AddDate(2, 0, 0)
	return r.memory, Extra{
		Bureaus: map[string]Bureau{
			"alpha": {Name: "Alpha Cards", Acknowledges: true, SLA: config.SLA{Acknowledge: 1, Ship: 5, Close: 12}},
			"beta":  {Name: "Beta Print", Acknowledges: true, SLA: config.SLA{Acknowledge: 2, Ship: 5}},
			"gamma": {Name: "Gamma Plastics"},
		},
		Reasons: map[int]Reason{1: {Name: "damaged"}, 2: {Name: "expired"}, 3: {Name: "lost or stolen", NewPAN: true}, 4: {Name: "fraud, compromised", NewPAN: true}, 5: {Name: "returned"}, 6: {Name: "new enrolment", NewPAN: true}},
		Keys: []Key{
			{Owner: "alpha", Fingerprint: "0123456789ABCDEF0123456789ABCDEF01234567", Expires: &end}, {Owner: "beta", Fingerprint: "89ABCDEF0123456789ABCDEF0123456789ABCDEF", Expires: &far},
			{Owner: "workspace", Fingerprint: "FEDCBA9876543210FEDCBA9876543210FEDCBA98"},
		},
		Ranges: []Range{{Name: "visa", Capacity: 100_000, Used: 41_230, Products: []string{"visa-classic"}}, {Name: "mastercard", Capacity: 20_000, Used: 18_204, Products: []string{"mc-gold"}}},
	}
}

// rich makes the night.
type rich struct {
	*memory
	t    testing.TB
	rows int64
	card int64
}

// nights are those before: working days only, one that failed and some that needed a person.
func (r *rich) nights() {
	for day := 40; day >= 1; day-- {
		at := started.AddDate(0, 0, -day)
		if at.Weekday() == time.Sunday || day == 9 {
			continue
		}
		n := int64(300 + (day*137)%260)
		refused := n / 12
		exit := map[int]int{3: 4, 12: 1, 17: 4, 18: 4, 24: 5}[day]
		summary, err := json.Marshal(Reconciliation{
			RunID: at.Format(time.DateOnly) + "-001", Date: at.Format(time.DateOnly), Read: n, Accepted: n - refused - 4, Refused: refused, Duplicate: 4,
			Outstanding: 380 + int64((day*53)%90), UnderWay: 900 + int64((day*71)%400), ExitCode: exit,
			Events: []EventCount{{Bureau: "alpha", Status: "ACKED", N: n - 20, Acked: n - 20}, {Bureau: "alpha", Status: "REJECTED", N: 3}},
		})
		if err != nil {
			r.t.Fatal(err)
		}
		r.counts[at.Format(time.DateOnly)+"-001"] = ledger.OutcomeCounts{Read: n, Accepted: n - refused - 4, Refused: refused, Duplicate: 4}
		r.earlier = append(r.earlier, ledger.Run{ID: at.Format(time.DateOnly) + "-001", Date: at.Format(time.DateOnly), StartedAt: at, EndedAt: at.Add(time.Minute), Exit: exit, Summary: summary})
	}
}

// answers are this night's rows.
func (r *rich) answers() {
	names := []string{"branch-north.csv", "branch-south.xlsx", "call-centre.json"}
	for i, name := range names {
		r.files = append(r.files, ledger.RequestFile{ID: int64(i + 1), RunID: runID, Name: name, State: ledger.DecidedF, SHA256: fmt.Sprintf("%064x", i+1), Final: "done/2026-11-21/" + name})
	}
	r.files = append(r.files, ledger.RequestFile{ID: 4, RunID: runID, Name: "friday list.xlsx", State: ledger.Answered, Code: "header_missing", Final: "refused/2026-11-21/friday list.xlsx",
		Detail: "None of the first 20 rows names a card id column; the first row reads \"Kundenliste KW 47\"."})
	refusals := []struct {
		code    rules.Code
		class   int
		message string
	}{
		{"card_in_transit", 412, "Unable to reissue card as last reissued card is still in shipment; wait until it is delivered or comes back."},
		{"card_not_found", 404, "The registry has no card with this id: check the id, or import the extract that has it."},
		{"reissue_type_conflict", 400, "Reason 3 needs a new number and type 1 keeps it: leave the type blank or write 3."},
		{"excel_precision_loss", 400, "The spreadsheet has changed this number (4.11E+15): format the column as text and type the id again."},
	}
	var told []*ledger.Told
	for i := range 412 {
		file := i % 3
		a := ledger.Told{FileName: names[file], Answer: ledger.Answer{FileID: int64(file + 1), Pos: i/3 + 1, RunID: runID, Line: i/3 + 2, Kind: request.Reissue, CardID: fmt.Sprint(100_000 + i), Reason: 1 + i*7%6}}
		if i%4 == 0 {
			a.Kind, a.Reason = request.Reemboss, 0
		}
		product, bureau := "visa-classic", "alpha"
		switch {
		case i%9 == 0:
			product, bureau = "prepaid-gift", "gamma"
		case i%3 == 1:
			product, bureau = "mc-gold", "beta"
		}
		a.Outcome, a.Class, a.Code, a.Message = rules.Accepted, 201, rules.Approved, "accepted"
		switch {
		case i%11 == 5:
			why := refusals[i/11%len(refusals)]
			a.Outcome, a.Class, a.Code, a.Codes, a.Message = rules.Refused, why.class, why.code, []rules.Code{why.code}, why.message
		case i%67 == 3:
			a.Outcome, a.Class, a.Code, a.Message = rules.Duplicate, 409, "already_requested", "This card has an open order; it was answered there."
		default:
			a.Order = &ledger.Order{UID: fmt.Sprintf("N%019d", i), RunID: runID, Kind: a.Kind, CardID: int64(100_000 + i), EmbossedCardID: int64(100_000 + i), PAN: pan(r.t, "411111", i), Product: product, Bureau: bureau, Reason: a.Reason, CreatedAt: started}
		}
		a.Card = &extract.Card{ID: int64(100_000 + i), Product: product, ProgramID: "100"}
		r.files[file].Rows++
		r.rows++
		told = append(told, &a)
	}
	told = append(told, &ledger.Told{FileName: "friday list.xlsx", Answer: ledger.Answer{FileID: 4, RunID: runID, Outcome: rules.Refused, Class: 400, Code: "header_missing", Codes: []rules.Code{"header_missing"}, Message: r.files[3].Detail}})
	r.told = slices.Values(told)
	r.written = map[string]int64{}
	for _, a := range told {
		if a.Order != nil {
			r.written[a.Order.Bureau]++
		}
	}
	held := int64(7)
	r.written["beta"] -= held
	r.waits = []ledger.Waiting{{RunID: runID, Bureau: "beta", Orders: held}}
}

// sentFiles are those of this night and of the weeks before, each with its orders.
func (r *rich) sentFiles() {
	id := int64(0)
	file := func(bureau, name string, sequence int64, daysAgo, records int, state ledger.BureauFileState) int64 {
		id++
		at := started.AddDate(0, 0, -daysAgo).Add(90 * time.Second)
		run := at.Format(time.DateOnly) + "-001"
		f := ledger.BureauFile{ID: id, Recipient: bureau, Sequence: sequence, Name: fmt.Sprintf(name, sequence), State: state, RunID: run, PlannedAt: at, WrittenAt: at, Records: int64(records), Size: int64(records) * 912, SHA256: fmt.Sprintf("%064x", id)}
		if state != ledger.Undecided {
			f.SentAt, f.SentRunID = at, run
		}
		r.sealed = append(r.sealed, f)
		for range records {
			r.card++
			o := ledger.Order{UID: fmt.Sprintf("U%019d", r.card), RunID: run, Kind: request.Reissue, CardID: r.card, EmbossedCardID: r.card, PAN: pan(r.t, "555555", int(r.card)), Bureau: bureau, State: ledger.SentO, ExpectedDelivery: at.AddDate(0, 0, 7).Format(time.DateOnly)}
			if state == ledger.Undecided || state == ledger.Refused {
				o.State = ledger.PlannedO
			}
			r.orders[id] = append(r.orders[id], o)
		}
		return id
	}
	alpha, beta, gamma := "reemboss_alpha_%06d.xml.pgp", "reemboss_beta_%06d.txt.pgp", "reemboss_gamma_%06d.json.pgp"
	for i := range 60 { // long settled
		r.all(file("alpha", alpha, int64(i+1), 110-i, 20, ledger.Sent), "ACKED", "SHIPPED", "DELIVERED")
	}
	for i, days := range []int{16, 13, 11, 9, 7, 6, 5, 4} {
		f := file("alpha", alpha, int64(61+i), days, 60+i*9, ledger.Sent)
		r.all(f, "ACKED")
		for k := range r.orders[f] {
			switch way := k * 16 / len(r.orders[f]); {
			case k%29 == 28:
				r.tell(f, k, "REJECTED", "012")
			case way < days-3:
				r.tell(f, k, "SHIPPED", "")
				if way < days-7 {
					r.tell(f, k, []string{"DELIVERED", "DELIVERED", "DELIVERED", "RETURNED", "DELIVERED", "LOST"}[k%6], "")
				}
			case k%2 == 0:
				r.tell(f, k, "PRODUCED", "")
			}
		}
	}
	late := file("alpha", alpha, 69, 3, 118, ledger.Sent)
	r.all(file("beta", beta, 30, 12, 75, ledger.Sent), "ACKED", "PRODUCED", "SHIPPED")
	part := file("beta", beta, 31, 2, 140, ledger.Sent)
	for k := range 96 {
		r.tell(part, k, "ACKED", "")
	}
	_ = late
	file("beta", beta, 32, 1, 88, ledger.Refused)
	file("gamma", gamma, 11, 8, 34, ledger.Sent)
	file("gamma", gamma, 12, 1, 29, ledger.Sent)
	file("alpha", alpha, 70, 0, int(r.written["alpha"]), ledger.Sent)
	file("beta", beta, 33, 0, int(r.written["beta"]), ledger.Undecided)
	file("gamma", gamma, 13, 0, int(r.written["gamma"]), ledger.Sent)
	id++
	r.sealed = append(r.sealed, ledger.BureauFile{ID: id, Recipient: config.CardSystem, Sequence: 71, Name: "card-system_20261121_000071.csv.pgp", State: ledger.Sent, RunID: runID, SentRunID: runID, SentAt: written, WrittenAt: written, Records: 268, Size: 30_120, SHA256: fmt.Sprintf("%064x", id)})
}

func (r *rich) all(file int64, statuses ...string) {
	for k := range r.orders[file] {
		for _, s := range statuses {
			r.tell(file, k, s, "")
		}
	}
}

// tell adds an event of the days before, or of this run where it is of a young file.
func (r *rich) tell(file int64, k int, status, code string) {
	f := r.sealed[file-1]
	e := ledger.Event{Status: status, Code: code, At: f.SentAt.AddDate(0, 0, 1), RunID: "2026-11-19-001", ReturnID: 1}
	if started.Sub(f.SentAt) < 8*24*time.Hour && (status != "ACKED" || started.Sub(f.SentAt) < 3*24*time.Hour) {
		e.RunID, e.At = runID, started.Add(-time.Duration(3+k%9)*time.Hour)
	}
	if code != "" {
		e.Description = "Unregistered plastic"
	}
	if status == "SHIPPED" {
		e.Carrier, e.TrackingNumber = "Swiss Post", fmt.Sprintf("CH%09d", k)
	}
	r.happens(file, k, e)
}

// returned are this night's return files.
func (r *rich) returned() {
	r.returns = []ledger.ReturnFile{
		{ID: 1, RunID: runID, Bureau: "alpha", Name: "ALPHA_STATUS_20261121.csv.pgp", State: ledger.ReturnApplied, Lines: 231, Applied: 219, Known: 10, Problems: 2, FetchedAt: started, SHA256: fmt.Sprintf("%064x", 501)},
		{ID: 2, RunID: runID, Bureau: "beta", Name: "beta-return-0112.csv", State: ledger.ReturnApplied, Lines: 97, Applied: 97, FetchedAt: started, SHA256: fmt.Sprintf("%064x", 502)},
		{ID: 3, RunID: runID, Bureau: "beta", Name: "beta-return-0113.csv", State: ledger.ReturnQuarantined, Code: "trailer_count", Detail: "The trailer says 120 lines and there are 97 before it.", FetchedAt: started, SHA256: fmt.Sprintf("%064x", 503)},
	}
	r.problems = []ledger.Problem{
		{ReturnID: 1, Line: 88, Code: "uid_unknown", FileName: "reemboss_alpha_000068.xml.pgp", UID: "U9999999999999999999", Detail: "No order has this uid; ask the bureau which record is meant."},
		{ReturnID: 1, Line: 140, Code: "event_disputed", FileName: "reemboss_alpha_000061.xml.pgp", UID: r.orders[61][3].UID, Detail: "It contradicts what is known."},
	}
	r.happens(61, 0, ledger.Event{Status: "REJECTED", Code: "044", Description: "Chip fault", At: started.AddDate(0, 0, -1), RunID: runID, ReturnID: 1, Line: 140,
		Dispute: "the card was DELIVERED on 2026-11-16, and a card that is rejected is not delivered; ask the bureau which of the two is right"})
	for i := range r.sealed {
		if f := r.sealed[i]; f.State == ledger.Refused {
			r.events = append(r.events, ledger.ToldEvent{Event: ledger.Event{ID: 90_000, FileID: f.ID, Status: "REFUSED", Code: "SEQ", Description: "Expected number 31", At: started.Add(-20 * time.Hour), Source: ledger.FromBureau}})
		}
	}
}

// quietNight is a night on which nothing came and everything is settled.
func quietNight(t testing.TB) (*memory, Extra) {
	m, extra := richNight(t)
	m.files, m.told, m.waits, m.written, m.returns, m.problems = nil, slices.Values([]*ledger.Told(nil)), nil, nil, nil, nil
	m.sealed = m.sealed[:60]
	maps.DeleteFunc(m.orders, func(file int64, _ []ledger.Order) bool { return file > 60 })
	m.events = slices.DeleteFunc(m.events, func(e ledger.ToldEvent) bool { return e.FileID > 60 || e.RunID == runID })
	m.stages = m.stages[:2]
	return m, Extra{Bureaus: extra.Bureaus, Reasons: extra.Reasons}
}
