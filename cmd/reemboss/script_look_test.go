package main

import (
	"encoding/csv"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/rogpeppe/go-internal/testscript"
	"github.com/xuri/excelize/v2"

	"reemboss/formats/iso"
	"reemboss/formats/layout"
)

// The commands with which a script looks at what a night left.

// ls PATTERN… prints the paths that are there, one a line; none is no failure.
func listPaths(ts *testscript.TestScript, neg bool, args []string) {
	wantArgs(ts, neg, args, 1, "ls PATTERN…")
	for _, pattern := range args {
		paths, err := filepath.Glob(ts.MkAbs(pattern))
		ts.Check(err)
		for _, path := range paths {
			rel, err := filepath.Rel(ts.MkAbs("."), path)
			ts.Check(err)
			fmt.Fprintln(ts.Stdout(), filepath.ToSlash(rel))
		}
	}
	fmt.Fprint(ts.Stdout(), "")
}

// show FILE prints a file; a pattern must name one.
func show(ts *testscript.TestScript, neg bool, args []string) {
	wantArgs(ts, neg, args, 1, "show FILE")
	fmt.Fprint(ts.Stdout(), readText(ts, args[0]))
}

// pick FILE COLUMN… prints some columns of a CSV file.
func pick(ts *testscript.TestScript, neg bool, args []string) {
	wantArgs(ts, neg, args, 2, "pick FILE COLUMN…")
	printColumns(ts, table(scriptTB{ts: ts}, []byte(readText(ts, args[0]))), args[1:])
}

// printColumns prints rows as CSV without a header; a column that is not there is an error.
func printColumns(ts *testscript.TestScript, rows []map[string]string, columns []string) {
	out := csv.NewWriter(ts.Stdout())
	for _, row := range rows {
		var cells []string
		for _, column := range columns {
			cell, there := row[column]
			if !there {
				ts.Fatalf("there is no column %s", column)
			}
			cells = append(cells, cell)
		}
		ts.Check(out.Write(cells))
	}
	out.Flush()
	ts.Check(out.Error())
}

// json FILE PATH == VALUE looks into a JSON file, or into lines of JSON as one list. PATH is .key, [n] and [key=value];
// other comparisons are ~ (a regular expression), len and keys (the keys of an object, in the order of the alphabet).
func jsonIs(ts *testscript.TestScript, neg bool, args []string) {
	wantArgs(ts, neg, args, 3, "json FILE PATH ==|~|len|keys VALUE…")
	value, err := walk(readJSON(ts, args[0]), args[1])
	if err != nil {
		ts.Fatalf("%s %s: %v", args[0], args[1], err)
	}
	want, got, ok := strings.Join(args[3:], " "), "", false
	switch args[2] {
	case "==":
		got = plainJSON(value)
		ok = got == want
	case "~":
		got = plainJSON(value)
		ok = regexp.MustCompile(want).MatchString(got)
	case "len":
		list, _ := value.([]any)
		got = strconv.Itoa(len(list))
		ok = got == want
	case "keys":
		object, _ := value.(map[string]any)
		var keys []string
		for key := range object {
			keys = append(keys, key)
		}
		slices.Sort(keys)
		got = strings.Join(keys, " ")
		ok = got == want
	}
	if !ok {
		ts.Fatalf("%s %s is %s, want %s %s", args[0], args[1], got, args[2], want)
	}
}

func readJSON(ts *testscript.TestScript, name string) any {
	d := json.NewDecoder(strings.NewReader(readText(ts, name)))
	d.UseNumber()
	var values []any
	for {
		var v any
		err := d.Decode(&v)
		if errors.Is(err, io.EOF) {
			break
		}
		ts.Check(err)
		values = append(values, v)
	}
	if len(values) == 1 && !strings.HasSuffix(name, ".ndjson") {
		return values[0]
	}
	return values
}

// plainJSON is a value as a person writes it: a string without quotes.
func plainJSON(v any) string {
	if s, ok := v.(string); ok {
		return s
	}
	text, err := json.Marshal(v)
	if err != nil {
		return err.Error()
	}
	return string(text)
}

var jsonStep = regexp.MustCompile(`^(?:\.([A-Za-z0-9_]+)|\[(\d+)\]|\[([a-z_]+)=([^\]]*)\])`)

func walk(v any, path string) (any, error) {
	for path != "" && path != "." {
		m := jsonStep.FindStringSubmatch(path)
		if m == nil {
			return nil, fmt.Errorf("the path is not understood at %s", path)
		}
		object, _ := v.(map[string]any)
		list, _ := v.([]any)
		there := false
		switch n, _ := strconv.Atoi(m[2]); {
		case m[1] != "":
			v, there = object[m[1]]
		case m[2] != "" && n < len(list):
			v, there = list[n], true
		case m[3] != "":
			k := slices.IndexFunc(list, func(e any) bool {
				object, _ := e.(map[string]any)
				return plainJSON(object[m[3]]) == m[4]
			})
			if there = k >= 0; there {
				v = list[k]
			}
		}
		if !there {
			return nil, fmt.Errorf("there is nothing at %s", m[0])
		}
		path = path[len(m[0]):]
	}
	return v, nil
}

// received FIELD… opens what the simulated bureaus have, with their own keys, and prints fields of each record (bureau, file
// and sequence too, else those of a layout). Card numbers are masked.
func received(ts *testscript.TestScript, neg bool, args []string) {
	wantArgs(ts, neg, args, 1, "received FIELD…")
	var rows []map[string]string
	for _, card := range scriptWorkspace(ts).delivered() {
		row := map[string]string{"bureau": card.bureau, "file": card.file, "sequence": strconv.FormatInt(card.sequence, 10)}
		for _, field := range args {
			if _, ours := row[field]; !ours {
				row[field] = maskedText(card.Record[layout.Field(field)])
			}
		}
		rows = append(rows, row)
	}
	printColumns(ts, rows, args)
}

// issued COLUMN… opens the files for the card system and prints columns of theirs. Card numbers are masked.
func issued(ts *testscript.TestScript, neg bool, args []string) {
	wantArgs(ts, neg, args, 1, "issued COLUMN…")
	rows := scriptWorkspace(ts).cardSystem()
	for _, row := range rows {
		row["pan"] = iso.Mask(row["pan"])
	}
	printColumns(ts, rows, args)
}

// agree wants every line of the card system's files to be a card that the bureau's file of that name has: number, PSN, expiry.
func agree(ts *testscript.TestScript, neg bool, args []string) {
	w := scriptWorkspace(ts)
	made := map[string]layout.Record{}
	for _, card := range w.delivered() {
		made[card.Record[layout.UID]+" "+card.file+" "+strconv.FormatInt(card.sequence, 10)] = card.Record
	}
	for _, line := range w.cardSystem() {
		key := line["uid"] + " " + line["file_name"] + " " + line["sequence"]
		record, there := made[key]
		if !there {
			ts.Fatalf("no bureau has %s", key)
		}
		face := line["expiry"][5:7] + "/" + line["expiry"][2:4]
		if record[layout.PAN] != line["pan"] || record[layout.PSN] != line["psn"] || record[layout.ExpiryFace] != face {
			ts.Fatalf("%s: the plastic and the card system have different numbers", key)
		}
	}
}

// maskedText hides all that could be a card number.
func maskedText(text string) string { return iso.MaskSpans(text, iso.FindPANs(text)) }

// sheet FILE SHEET prints a sheet of a workbook as CSV.
func showSheet(ts *testscript.TestScript, neg bool, args []string) {
	wantArgs(ts, neg, args, 2, "sheet FILE SHEET")
	f, err := excelize.OpenFile(onePath(ts, args[0]))
	ts.Check(err)
	defer f.Close()
	rows, err := f.GetRows(args[1])
	ts.Check(err)
	out := csv.NewWriter(ts.Stdout())
	ts.Check(out.WriteAll(rows))
}
