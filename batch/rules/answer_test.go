package rules

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestWhatABureauSaysOfAFile(t *testing.T) {
	const none = -1
	acknowledged := FileTurn{Acknowledge: true}
	arrived := FileTurn{Delivered: true, Acknowledge: true}
	disputed := func(words string) FileTurn { return FileTurn{Dispute: words} }
	for _, c := range []struct {
		rule    string
		now     FileNow // Records 10, sent at hour 1 where EverSent
		history string
		event   string
		count   int64
		want    FileTurn
	}{
		{"received whole", FileNow{State: "SENT", EverSent: true}, "", "RECEIVED@2", 10, acknowledged},
		{"received, without a count", FileNow{State: "SENT", EverSent: true}, "", "RECEIVED@2", none, acknowledged},
		{"told twice", FileNow{State: "SENT", EverSent: true}, "RECEIVED@2", "RECEIVED@2", 10, FileTurn{Known: true}},
		{"a dispute told twice", FileNow{State: "SENT", EverSent: true}, "RECEIVED@2!", "RECEIVED@2", 9, FileTurn{Known: true}},
		{"counted wrongly", FileNow{State: "SENT", EverSent: true}, "", "RECEIVED@2", 9, disputed("the bureau counted 9 of 10 records")},
		{"an empty file received", FileNow{State: "SENT", EverSent: true}, "", "RECEIVED@2", 0, disputed("the bureau counted 0 of 10 records")},
		{"received decides an undecided delivery", FileNow{State: "UNDECIDED"}, "", "RECEIVED@2", 10, arrived},
		{"received decides a rename", FileNow{State: "RENAMING"}, "", "RECEIVED@2", 10, arrived},
		{"a wrong count decides nothing", FileNow{State: "UNDECIDED"}, "", "RECEIVED@2", 11, disputed("11 of 10")},
		{"received before it was refused, told late", FileNow{State: "REFUSED", EverSent: true}, "REFUSED@3", "RECEIVED@2", 10, FileTurn{}},
		{"received after it was refused", FileNow{State: "REFUSED", EverSent: true}, "REFUSED@3", "RECEIVED@4", 10, disputed("RECEIVED at 2026-11-23 14:00:00 UTC contradicts REFUSED at 2026-11-23 13:00:00 UTC")},
		{"received after it was repeated", FileNow{State: "SENT", EverSent: true}, "REFUSED@0", "RECEIVED@2", 10, acknowledged},
		{"received before the refusal, told after the repetition", FileNow{State: "SENT", EverSent: true}, "REFUSED@0", "RECEIVED@-1", 10, FileTurn{}},
		{"received before the refusal does not decide the repetition", FileNow{State: "UNDECIDED", EverSent: true}, "REFUSED@3", "RECEIVED@2", 10, FileTurn{}},
		{"received while it is repeated", FileNow{State: "INTENT", EverSent: true}, "", "RECEIVED@2", 10, acknowledged},
		{"received before it was sent", FileNow{State: "INTENT", EverSent: true}, "", "RECEIVED@0", 10, disputed("a file that we have not sent")},
		{"received after it was refused, while it is repeated", FileNow{State: "INTENT", EverSent: true, Begun: at(5)}, "REFUSED@3", "RECEIVED@4", 10, disputed("contradicts REFUSED")},
		{"received after an earlier refusal, while it is repeated once more", FileNow{State: "INTENT", EverSent: true, Begun: at(5)}, "REFUSED@0", "RECEIVED@4", 10, acknowledged},
		{"received and never sent", FileNow{State: "WRITTEN"}, "", "RECEIVED@2", 10, disputed("state WRITTEN: the bureau tells of a file that we have not sent")},
		{"received, refused, cancelled, told late", FileNow{State: "VOID", EverSent: true}, "REFUSED@3", "RECEIVED@2", 10, FileTurn{}},
		{"received and cancelled", FileNow{State: "VOID", EverSent: true}, "REFUSED@3", "RECEIVED@4", 10, disputed("VOID")},
		{"received before its repetition began decides nothing", FileNow{State: "UNDECIDED", EverSent: true, Begun: at(5)}, "REFUSED@2", "RECEIVED@3", 10, acknowledged},
		{"received since its repetition began", FileNow{State: "UNDECIDED", EverSent: true, Begun: at(5)}, "REFUSED@2", "RECEIVED@6", 10, arrived},

		{"refused", FileNow{State: "SENT", EverSent: true}, "", "REFUSED@2/E1", none, FileTurn{Refuse: true}},
		{"refused after it was acknowledged", FileNow{State: "SENT", EverSent: true, ByState: map[string]int64{"ACKED": 10}}, "RECEIVED@2", "REFUSED@3", none, FileTurn{Refuse: true}},
		{"refused shows that it arrived", FileNow{State: "UNDECIDED"}, "", "REFUSED@2", none, FileTurn{Delivered: true, Refuse: true}},
		{"refused, and one card went on", FileNow{State: "SENT", EverSent: true, ByState: map[string]int64{"ACKED": 9, "SHIPPED": 1}}, "", "REFUSED@2", none, disputed("of which 1 are SHIPPED")},
		{"refused, and one card was rejected", FileNow{State: "SENT", EverSent: true, ByState: map[string]int64{"SENT": 9, "REJECTED": 1}}, "", "REFUSED@2", none, disputed("REJECTED")},
		{"refused twice, at other times", FileNow{State: "REFUSED", EverSent: true}, "REFUSED@3", "REFUSED@4", none, FileTurn{}},
		{"refused and cancelled", FileNow{State: "VOID", EverSent: true}, "REFUSED@3", "REFUSED@4", none, FileTurn{}},
		{"the first refusal again, told after the repetition", FileNow{State: "SENT", EverSent: true, Begun: at(1)}, "REFUSED@-2", "REFUSED@-1", none, FileTurn{}},
		{"the repetition refused", FileNow{State: "SENT", EverSent: true}, "REFUSED@0", "REFUSED@2", none, FileTurn{Refuse: true}},
		{"an older refusal after a newer receipt", FileNow{State: "SENT", EverSent: true}, "RECEIVED@3", "REFUSED@2", none, FileTurn{}},
		{"a refusal of the second sending while a third is under way", FileNow{State: "INTENT", EverSent: true, Sendings: 2, Begun: at(5)}, "", "REFUSED@2", none, FileTurn{Refuse: true}},
		{"a refusal of the first sending while a third is under way", FileNow{State: "INTENT", EverSent: true, Sendings: 2, Begun: at(5)}, "", "REFUSED@0", none, FileTurn{}},
		{"a refusal of the first of two sendings", FileNow{State: "SENT", EverSent: true, Sendings: 2, Begun: at(1)}, "", "REFUSED@0", none, FileTurn{}},
		{"a refusal of the second of two sendings", FileNow{State: "SENT", EverSent: true, Sendings: 2, Begun: at(1)}, "", "REFUSED@2", none, FileTurn{Refuse: true}},
		{"the repetition refused before we called it SENT", FileNow{State: "SENT", EverSent: true, Sendings: 2, Begun: at(-2)}, "", "REFUSED@-1", none, FileTurn{Refuse: true}},
		{"the repetition refused in the minute of its rename", FileNow{State: "SENT", EverSent: true, Sendings: 2, Begun: at(1).Add(59 * time.Second)}, "REFUSED@-1", "REFUSED@1", none, FileTurn{Refuse: true}},
		{"refused a minute before the repetition", FileNow{State: "SENT", EverSent: true, Sendings: 2, Begun: at(1).Add(time.Minute)}, "", "REFUSED@1", none, FileTurn{}},
		{"the repetition refused in the second of its rename", FileNow{State: "SENT", EverSent: true, Sendings: 2, Begun: at(1).Add(999 * time.Millisecond)}, "REFUSED@-1", "REFUSED@1", none, FileTurn{Refuse: true}},
		{"a disputed refusal is no earlier one", FileNow{State: "SENT", EverSent: true}, "REFUSED@3!", "REFUSED@2", none, FileTurn{Refuse: true}},
		{"refused and never sent", FileNow{State: "PLANNED"}, "", "REFUSED@2", none, disputed("a file that we have not sent")},
		{"refused before its repetition arrived", FileNow{State: "UPLOADED", EverSent: true}, "", "REFUSED@2", none, FileTurn{Refuse: true}},
		{"refused before it was sent, told while it is repeated", FileNow{State: "UPLOADED", EverSent: true}, "", "REFUSED@0", none, disputed("a file that we have not sent")},
		{"the first refusal again, while it is repeated", FileNow{State: "INTENT", EverSent: true, Begun: at(5)}, "REFUSED@2", "REFUSED@3", none, FileTurn{}},
		{"a word for cards", FileNow{State: "SENT", EverSent: true}, "", "SHIPPED@2", none, disputed("nothing that happens to a file")},
	} {
		t.Run(c.rule, func(t *testing.T) {
			c.now.Records = 10
			if c.now.EverSent {
				c.now.SentAt = at(1)
			}
			for _, text := range strings.Fields(c.history) {
				bare, disputed := strings.CutSuffix(text, "!")
				h := parse(t, bare)
				h.Disputed = disputed
				c.now.History = append(c.now.History, h)
			}
			got := FollowFile(c.now, parse(t, c.event), c.count)
			if w := c.want.Dispute; w != "" && strings.Contains(got.Dispute, w) && strings.HasSuffix(got.Dispute, askTheBureau) {
				c.want.Dispute = got.Dispute
			}
			if diff := cmp.Diff(c.want, got); diff != "" {
				t.Error(diff)
			}
		})
	}
}
