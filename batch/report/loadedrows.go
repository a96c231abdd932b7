package report

import (
	"reflect"

	"github.com/xuri/excelize/v2"
)

// loadedRows are the rows of a sheet as the library holds them in memory,
// where row n stands at n-1. Its own SetRowHeight makes every height one that
// somebody chose, and the row then never fits itself to its text again; and it
// does not tell the heights that the sender chose. Both are read and set here.
type loadedRows struct{ rows reflect.Value }

// newlyLoaded finds the sheet that was loaded since known was filled, and
// adds it there. Without one, as with another version of the library, heights
// stay as they are.
func newlyLoaded(book *excelize.File, known map[any]bool) loadedRows {
	var found loadedRows
	book.Sheet.Range(func(path, sheet any) bool {
		if known[path] {
			return true
		}
		known[path] = true
		if v := reflect.ValueOf(sheet); v.Kind() == reflect.Pointer && v.Elem().Kind() == reflect.Struct {
			if content := v.Elem().FieldByName("SheetData"); content.Kind() == reflect.Struct {
				found.rows = content.FieldByName("Row")
			}
		}
		return true
	})
	return found
}

// reserve gives a row room for exactly so many cells. The library adds them one
// by one, and then holds about twice as many as there are, 192 bytes each.
func (l loadedRows) reserve(row, cells int) {
	if l.rows.Kind() != reflect.Slice || row > l.rows.Len() {
		return
	}
	has := l.rows.Index(row - 1).FieldByName("C")
	if has.Kind() != reflect.Slice || has.Cap() >= cells {
		return
	}
	enough := reflect.MakeSlice(has.Type(), has.Len(), cells)
	reflect.Copy(enough, has)
	has.Set(enough)
}

// fit makes room for so many lines of our columns in a row, and says whether
// there is. A height that is automatic grows and stays automatic: a program
// that fits rows itself still does. One that the sender chose stays.
func (l loadedRows) fit(row, lines int) bool {
	const perLine, margin, most = 13.2, 2, 409 // points, in the letters of our columns
	if l.rows.Kind() != reflect.Slice || row > l.rows.Len() {
		return false
	}
	chosen, height := l.rows.Index(row-1).FieldByName("CustomHeight"), l.rows.Index(row-1).FieldByName("Ht")
	if chosen.Kind() != reflect.Bool || !height.IsValid() || height.Type() != reflect.TypeFor[*float64]() {
		return false
	}
	needed := min(most, perLine*float64(lines)+margin)
	if has, _ := height.Interface().(*float64); has != nil && *has >= needed {
		return true
	}
	if chosen.Bool() {
		return false
	}
	height.Set(reflect.ValueOf(&needed))
	return true
}
