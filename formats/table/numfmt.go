package table

import (
	"math"
	"strconv"
	"strings"
	"time"
)

// numberFormat is what a number format says about the kind of a number.
type numberFormat struct {
	date   bool // shows a day, month or year
	clock  bool // shows a time of day
	noYear bool // a date without its year
	digits int  // shown with this many digits at least: 00000 is 5
}

// builtIn are the formats that a workbook does not describe (ISO/IEC 29500-1,
// 18.8.30). 27 to 36 and 50 to 58 are dates of East Asian locales.
func builtIn(id int) numberFormat {
	switch {
	case id == 16:
		return numberFormat{date: true, noYear: true}
	case id == 14, id == 15, id == 17, id >= 27 && id <= 31, id >= 34 && id <= 36, id >= 50 && id <= 58:
		return numberFormat{date: true}
	case id >= 18 && id <= 21, id == 32, id == 33, id >= 45 && id <= 47:
		return numberFormat{clock: true}
	case id == 22:
		return numberFormat{date: true, clock: true}
	}
	return numberFormat{}
}

// parseFormat reads a custom format. Only its first section counts; quoted and
// escaped characters, colours, locales and conditions are not part of the code.
func parseFormat(code string) numberFormat {
	code = formatCode(code)
	if len(code) > 1 && strings.Trim(code, "0") == "" {
		return numberFormat{digits: len(code)}
	}
	if code == "general" || strings.ContainsAny(code, "#0?@") && !strings.ContainsAny(code, "ydhs") {
		return numberFormat{}
	}
	has := func(letters string) bool { return strings.ContainsAny(code, letters) }
	f := numberFormat{clock: has("hs")}
	f.date = has("yd") || has("m") && !f.clock
	f.noYear = f.date && !has("ye")
	return f
}

// formatCode takes the letters that mean something out of a format, in lower case.
func formatCode(code string) string {
	var b strings.Builder
	for i := 0; i < len(code); i++ {
		switch c := code[i]; c {
		case ';':
			return strings.ToLower(b.String())
		case '"':
			end := strings.IndexByte(code[i+1:], '"')
			if end < 0 {
				return strings.ToLower(b.String())
			}
			i += end + 1
		case '\\', '_', '*':
			i++
		case '[':
			end := strings.IndexByte(code[i:], ']')
			if end < 0 {
				return strings.ToLower(b.String())
			}
			inner := strings.ToLower(code[i+1 : i+end])
			if strings.Trim(inner, "h") == "" || strings.Trim(inner, "m") == "" || strings.Trim(inner, "s") == "" {
				b.WriteString("h") // time that has passed, such as [hh]:mm
			}
			i += end
		default:
			b.WriteByte(c)
		}
	}
	return strings.ToLower(b.String())
}

// readStyles reads the number format of each cell style.
func (w *workbook) readStyles(name string) error {
	custom := map[int]numberFormat{}
	inCells := false
	return w.scan(name, func(x *xmlScanner, depth int) error {
		switch {
		case depth == 2:
			inCells = x.is("cellXfs")
		case depth == 3 && x.is("numFmt"):
			if id, err := strconv.Atoi(string(x.attr("numFmtId"))); err == nil {
				custom[id] = parseFormat(string(x.attr("formatCode")))
			}
		case depth == 3 && inCells && x.is("xf"):
			id, _ := strconv.Atoi(string(x.attr("numFmtId"))) // absent: 0, General
			format, described := custom[id]
			if !described {
				format = builtIn(id)
			}
			w.styles = append(w.styles, format)
		}
		return nil
	})
}

// Limits of serial dates: 1 is the first day, the last is 31 December 9999.
const (
	lastSerial     = 2958465
	leapBug        = 60 // 29 February 1900, which never was, but spreadsheets count it
	secondsPerDay  = 24 * 60 * 60
	date1904Offset = 1462
)

// SerialDate is the date that a spreadsheet counts as serial, in UTC, to the
// second. ok is false for what is no date: negative numbers, 29 February 1900,
// and what is past the year 9999.
func SerialDate(serial float64, date1904 bool) (t time.Time, ok bool) {
	if date1904 {
		serial += date1904Offset
	}
	if !(serial >= 0 && serial < lastSerial+1) || math.Floor(serial) == leapBug {
		return time.Time{}, false
	}
	first := time.Date(1899, 12, 30, 0, 0, 0, 0, time.UTC)
	if serial < leapBug {
		first = first.AddDate(0, 0, 1)
	}
	days := math.Floor(serial)
	seconds := math.Round((serial - days) * secondsPerDay)
	return first.AddDate(0, 0, int(days)).Add(time.Duration(seconds) * time.Second), true
}

// renderDate writes a serial date as ISO 8601, with a time where it has one.
func renderDate(dst, raw []byte, f numberFormat, date1904 bool) ([]byte, bool) {
	serial, err := strconv.ParseFloat(string(raw), 64)
	if err != nil {
		return dst, false
	}
	whole := serial == math.Floor(serial)
	if !f.date {
		if serial < 0 || serial >= 1 {
			return dst, false // hours that have passed, no time of day
		}
		t, _ := SerialDate(serial, false)
		return t.AppendFormat(dst, time.TimeOnly), true
	}
	t, ok := SerialDate(serial, date1904)
	if !ok {
		return dst, false
	}
	if whole {
		return t.AppendFormat(dst, time.DateOnly), true
	}
	return t.AppendFormat(dst, "2006-01-02T15:04:05"), true
}
