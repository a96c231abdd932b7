package bureau

import "testing"

func TestVerdictAfterTheRename(t *testing.T) {
	for _, test := range []struct {
		answer           reply
		final, temporary sighting
		want, takenAway  verdict // without and with the setting
	}{
		{replyYes, whole, absent, delivered, delivered},
		{replyYes, verified, absent, delivered, delivered},
		{replyYes, whole, whole, deliveredTwice, deliveredTwice},
		{replyYes, absent, absent, takenAway, takenAway},
		{replyYes, absent, whole, renameRefused, renameRefused},
		{replyYes, absent, other, cannotBeDecided, cannotBeDecided},
		{replyYes, other, absent, cannotBeDecided, cannotBeDecided},
		{replyYes, other, whole, cannotBeDecided, cannotBeDecided},

		{replyLost, whole, absent, delivered, delivered},
		{replyLost, verified, absent, delivered, delivered},
		{replyLost, whole, whole, deliveredTwice, deliveredTwice},
		{replyLost, verified, other, deliveredTwice, deliveredTwice},
		{replyLost, absent, whole, renameAgain, renameAgain},
		{replyLost, absent, verified, renameAgain, renameAgain},
		{replyLost, absent, other, cannotBeDecided, cannotBeDecided},
		{replyLost, absent, absent, cannotBeDecided, takenAway},
		{replyLost, other, absent, cannotBeDecided, cannotBeDecided},
		{replyLost, other, whole, cannotBeDecided, cannotBeDecided},

		{replyNo, whole, absent, delivered, delivered},
		{replyNo, whole, whole, cannotBeDecided, cannotBeDecided},
		{replyNo, verified, whole, deliveredTwice, deliveredTwice},
		{replyNo, absent, whole, renameRefused, renameRefused},
		{replyNo, absent, absent, cannotBeDecided, cannotBeDecided},
		{replyNo, absent, other, cannotBeDecided, cannotBeDecided},
		{replyNo, other, whole, finalNameTaken, finalNameTaken},
		{replyNo, other, verified, finalNameTaken, finalNameTaken},
		{replyNo, other, absent, cannotBeDecided, cannotBeDecided},
		{replyNo, other, other, cannotBeDecided, cannotBeDecided},
	} {
		for _, takes := range []bool{false, true} {
			want := test.want
			if takes {
				want = test.takenAway
			}
			if got := judge(test.answer, test.final, test.temporary, takes); got != want {
				t.Errorf("answer %d, final %d, temporary %d, taken away %v: %d, want %d", test.answer, test.final, test.temporary, takes, got, want)
			}
		}
	}
}

// Over every combination: success and a new rename each need their sign.
func TestInvariant7_NoSuccessWithoutEvidence(t *testing.T) {
	all := []sighting{absent, whole, verified, other}
	for _, answer := range []reply{replyLost, replyYes, replyNo} {
		for _, final := range all {
			for _, temporary := range all {
				for _, takes := range []bool{false, true} {
					switch judge(answer, final, temporary, takes) {
					case delivered, deliveredTwice:
						if !final.ours() {
							t.Errorf("%d %d %d: success, and our file is not under its name", answer, final, temporary)
						}
					case takenAway:
						if final != absent || temporary != absent || answer == replyNo || answer == replyLost && !takes {
							t.Errorf("%d %d %d: taken away without a sign", answer, final, temporary)
						}
					case renameAgain, renameRefused, finalNameTaken:
						if final.ours() || !temporary.ours() {
							t.Errorf("%d %d %d: not proven that nothing happened", answer, final, temporary)
						}
					}
				}
			}
		}
	}
}

func TestStatesFollowEachOther(t *testing.T) {
	for _, step := range [][2]State{{Written, Uploaded}, {Written, Sent}, {Intent, Renaming}, {Sent, Intent}, {Undecided, Sent}, {Undecided, Renaming}, {Renaming, Intent}} {
		if step[0].MayBecome(step[1]) {
			t.Errorf("%s may become %s", step[0], step[1])
		}
	}
	if !Renaming.MayBecome(Undecided) || !Written.MayBecome(Intent) || !Intent.MayBecome(Undecided) {
		t.Error("a step of the protocol is missing")
	}
}
