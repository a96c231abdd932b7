package batch

import (
	"fmt"
	"io/fs"
	"maps"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// Every row gets an answer, so a person is told of what lies where files are
// read, has the name of one, and is not read.

// likeAFile says that a name is one of a file that is read: by its ending, a PGP one being taken off.
func likeAFile(name string) bool {
	name = strings.ToLower(name)
	if pgp := pgpExtension(name); pgp != "" {
		name = strings.TrimSuffix(name, pgp)
		if filepath.Ext(name) == "" {
			return true
		}
	}
	switch filepath.Ext(name) {
	case ".csv", ".xlsx", ".json":
		return !strings.HasPrefix(name, "._") // beside a file that a Macintosh wrote
	}
	return false
}

// The kinds of what is no file for us; the others are those of [bureau.RemoteFile].
const (
	hiddenFile = "hidden file"
	ofFolder   = "folder"
	ofLink     = "link"
	ofDevice   = "pipe, socket or device"
)

// noRequest says what an entry of an inbox is that is no file for us; "" for a file. A hidden file may be one that is being
// uploaded under another name, and is none for us from its second day on; no tool begins a name with two dots.
func (n *Night) noRequest(info fs.FileInfo) string {
	mode, hidden := info.Mode(), strings.HasPrefix(info.Name(), ".")
	switch {
	case mode.IsDir():
		return ofFolder
	case mode&fs.ModeSymlink != 0:
		return ofLink
	case !mode.IsRegular():
		return ofDevice
	case hidden && !strings.HasPrefix(info.Name(), "..") && n.Now().Sub(info.ModTime()) < 24*time.Hour:
		return onItsWay
	case hidden:
		return hiddenFile
	}
	return ""
}

// onItsWay is a hidden file of today; it is not told.
const onItsWay = "hidden file of today"

// passedOver are names of what is not read, masked, by what it is.
type passedOver map[string][]string

func (p *passedOver) add(kind, name string) {
	if *p == nil {
		*p = passedOver{}
	}
	(*p)[kind] = append((*p)[kind], name)
}

// passedNames is how many names a note has at most.
const passedNames = 5

// tell notes what was passed over at a place: one sentence a kind, once a night.
func (p passedOver) tell(n *Night, place string) {
	for _, kind := range slices.Sorted(maps.Keys(p)) {
		names := slices.Sorted(slices.Values(p[kind]))
		list := strings.Join(names[:min(len(names), passedNames)], ", ")
		if more := len(names) - passedNames; more > 0 {
			list += fmt.Sprintf(" and %d more", more)
		}
		one := len(names) == 1
		switch {
		case kind == onItsWay:
		case kind == hiddenFile && one:
			n.noteOnce("%s in %s is hidden by the dot that its name begins with, and is not read: give it a name without the dot", list, place)
		case kind == hiddenFile:
			n.noteOnce("%s in %s are hidden by the dot that their names begin with, and are not read: give them names without the dot", list, place)
		case one:
			n.noteOnce("%s in %s is a %s, not a file; it is left alone: put the file itself there", list, place, kind)
		default:
			n.noteOnce("%s in %s are no files (each is a %s); they are left alone: put the files themselves there", list, place, kind)
		}
	}
}
