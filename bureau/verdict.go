package bureau

// reply is what the server said to the rename.
type reply int

const (
	replyLost reply = iota // nothing came back, or it was asked in an earlier life
	replyYes
	replyNo
)

// sighting is what stands under a name, compared with our file.
type sighting int

const (
	absent   sighting = iota
	whole             // our size; the content was not compared
	verified          // our size and our SHA-256
	other             // anything else: another size, another content, a folder, a link
)

func (s sighting) ours() bool { return s == whole || s == verified }

// verdict is what a look at both names after a rename comes to.
type verdict int

const (
	delivered       verdict = iota // under its final name
	deliveredTwice                 // and still under the temporary one: remove that
	takenAway                      // gone from both names, which means taken
	renameAgain                    // it did not happen: ask again
	renameRefused                  // it did not happen, and the server said no
	finalNameTaken                 // it did not happen, and another file has the name
	cannotBeDecided                // nobody can know
)

// judge is the last step of the protocol (docs/delivery.md, "After the
// rename") as one table. A success needs a positive sign: the file seen under
// its final name, the server's yes, or the bureau's standing promise to take files
// away at once. What has no such sign and does not prove the contrary is for a person.
func judge(answer reply, final, temporary sighting, takesAway bool) verdict {
	switch answer {
	case replyYes:
		return judgeConfirmed(final, temporary)
	case replyNo:
		return judgeRefused(final, temporary)
	}
	return judgeLost(final, temporary, takesAway)
}

func judgeConfirmed(final, temporary sighting) verdict {
	switch {
	case final.ours() && temporary == absent:
		return delivered
	case final.ours():
		return deliveredTwice
	case final == absent && temporary == absent:
		return takenAway // the yes is the evidence
	case final == absent && temporary.ours():
		return renameRefused // it said yes and did nothing
	}
	return cannotBeDecided
}

func judgeLost(final, temporary sighting, takesAway bool) verdict {
	switch {
	case final.ours() && temporary == absent:
		return delivered
	case final.ours():
		return deliveredTwice
	case final == absent && temporary.ours():
		return renameAgain
	case final == absent && temporary == absent && takesAway:
		return takenAway
	}
	return cannotBeDecided
}

// judgeRefused: a file of our size beside our temporary one may be a stranger's
// that came between the look and the rename; only its content tells.
func judgeRefused(final, temporary sighting) verdict {
	switch {
	case final.ours() && temporary == absent:
		return delivered // an earlier request that was answered late
	case final == verified:
		return deliveredTwice
	case final == absent && temporary.ours():
		return renameRefused
	case final == other && temporary.ours():
		return finalNameTaken
	}
	return cannotBeDecided
}
