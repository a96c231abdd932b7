package report

import (
	"archive/zip"
	"bytes"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"regexp"
	"slices"
	"strings"
)

// sortedZip writes the parts of a workbook in the order of their names, so
// that the same content is the same bytes. It holds them until Close; the
// workbook of a run is small by its limits.
type sortedZip struct {
	to    io.Writer
	parts map[string]*bytes.Buffer
}

// Create begins a part.
func (z *sortedZip) Create(name string) (io.Writer, error) {
	z.parts[name] = new(bytes.Buffer)
	return z.parts[name], nil
}

// AddFS is not used by the writer of a workbook.
func (z *sortedZip) AddFS(fs.FS) error { return fmt.Errorf("a workbook has no folders to add") }

// Close writes the archive; the list of content types is first, as readers expect it.
func (z *sortedZip) Close() error {
	out := zip.NewWriter(z.to)
	const types = "[Content_Types].xml"
	names := slices.DeleteFunc(slices.Sorted(maps.Keys(z.parts)), func(n string) bool { return n == types })
	for _, name := range append([]string{types}, names...) {
		if z.parts[name] == nil {
			continue
		}
		w, err := out.Create(name)
		if err != nil {
			return err
		}
		content := z.parts[name].Bytes()
		if name == types {
			content = sortDefaults(content)
		}
		if _, err := w.Write(content); err != nil {
			return err
		}
	}
	return out.Close()
}

var defaultTypes = regexp.MustCompile(`(?:<Default [^>]*></Default>)+`)

// sortDefaults orders the content types by file ending; the library takes them from a map.
func sortDefaults(types []byte) []byte {
	return defaultTypes.ReplaceAllFunc(types, func(list []byte) []byte {
		const end = "</Default>"
		each := strings.SplitAfter(string(list), end)
		slices.Sort(each)
		return []byte(strings.Join(each, ""))
	})
}
