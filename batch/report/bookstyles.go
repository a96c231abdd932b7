package report

import (
	"encoding/xml"
	"fmt"
	"path"
	"reflect"
	"strings"

	"github.com/xuri/excelize/v2"
)

// Small exporters write workbooks without styles, or with styles that leave out
// what every one of theirs would be: both are workbooks (ISO/IEC 29500-1, 12.3.20
// and 18.8). The library takes styles for given where it adds one, so the
// workbook gets those that every program draws with when there are none.

// stylesPart is where the library looks for styles, and the only place.
const stylesPart = "xl/styles.xml"

const (
	relationOfStyles = "http://schemas.openxmlformats.org/officeDocument/2006/relationships/styles"
	typeOfStyles     = "application/vnd.openxmlformats-officedocument.spreadsheetml.styles+xml"
	plainStyles      = `<styleSheet xmlns="http://schemas.openxmlformats.org/spreadsheetml/2006/main">` +
		`<fonts count="1"><font><sz val="11"/><name val="Calibri"/><family val="2"/></font></fonts>` +
		`<fills count="2"><fill><patternFill patternType="none"/></fill><fill><patternFill patternType="gray125"/></fill></fills>` +
		`<borders count="1"><border><left/><right/><top/><bottom/><diagonal/></border></borders>` +
		`<cellStyleXfs count="1"><xf numFmtId="0" fontId="0" fillId="0" borderId="0"/></cellStyleXfs>` +
		`<cellXfs count="1"><xf numFmtId="0" fontId="0" fillId="0" borderId="0" xfId="0"/></cellXfs></styleSheet>`
)

// relation is one line of a part's list of relations.
type relation struct {
	ID         string `xml:"Id,attr"`
	Type       string `xml:",attr"`
	Target     string `xml:",attr"`
	TargetMode string `xml:",attr,omitempty"`
}

type relations struct {
	XMLName xml.Name   `xml:"http://schemas.openxmlformats.org/package/2006/relationships Relationships"`
	List    []relation `xml:"Relationship"`
}

// of finds the relation of a kind, by the end of its type: it begins in two ways (transitional, strict).
func (r *relations) of(kind string) *relation {
	for i := range r.List {
		if strings.HasSuffix(r.List[i].Type, "/relationships/"+kind) {
			return &r.List[i]
		}
	}
	return nil
}

// free gives an id that no relation has.
func (r *relations) free() string {
	taken := map[string]bool{}
	for _, relation := range r.List {
		taken[relation.ID] = true
	}
	for k := 1; ; k++ {
		if id := fmt.Sprintf("rIdStyles%d", k); !taken[id] {
			return id
		}
	}
}

type contentTypes struct {
	XMLName  xml.Name `xml:"http://schemas.openxmlformats.org/package/2006/content-types Types"`
	Defaults []struct {
		Extension   string `xml:",attr"`
		ContentType string `xml:",attr"`
	} `xml:"Default"`
	Overrides []override `xml:"Override"`
}

type override struct {
	PartName    string `xml:",attr"`
	ContentType string `xml:",attr"`
}

// giveStyles makes sure that styles can be added to the workbook. To be called before anything of it is used.
func giveStyles(book *excelize.File) error {
	if _, there := book.Pkg.Load(stylesPart); !there {
		if err := addStylesPart(book); err != nil {
			return errWithheld{"it has no styles, and none can be added"}
		}
	}
	if _, err := book.GetStyle(0); err != nil && book.Styles == nil { // loads them
		return errWithheld{"its styles cannot be read"}
	}
	return fillStyles(reflect.ValueOf(book.Styles))
}

// addStylesPart puts the styles to where the library looks for them: those that lie elsewhere in the package, or plain ones.
func addStylesPart(book *excelize.File) error {
	const types = "[Content_Types].xml"
	var root, own relations
	var parts contentTypes
	if err := decodePart(book, "_rels/.rels", &root); err != nil {
		return err
	}
	workbook := root.of("officeDocument")
	if workbook == nil {
		return fmt.Errorf("_rels/.rels names no workbook")
	}
	at := strings.TrimPrefix(workbook.Target, "/")
	list := path.Join(path.Dir(at), "_rels", path.Base(at)+".rels")
	if err := decodePart(book, list, &own); err != nil {
		return err
	}
	if err := decodePart(book, types, &parts); err != nil {
		return err
	}
	content, former := []byte(plainStyles), ""
	if theirs := own.of("styles"); theirs == nil {
		own.List = append(own.List, relation{ID: own.free(), Type: relationOfStyles, Target: "/" + stylesPart})
	} else {
		former = path.Join(path.Dir(at), theirs.Target)
		if strings.HasPrefix(theirs.Target, "/") {
			former = theirs.Target[1:]
		}
		if part, there := book.Pkg.LoadAndDelete(former); there {
			content = part.([]byte)
		}
		theirs.Target = "/" + stylesPart
	}
	overrides := parts.Overrides[:0:0]
	for _, o := range parts.Overrides {
		if o.PartName != "/"+former && o.PartName != "/"+stylesPart {
			overrides = append(overrides, o)
		}
	}
	parts.Overrides = append(overrides, override{"/" + stylesPart, typeOfStyles})
	book.Pkg.Store(stylesPart, content)
	book.Styles, book.ContentTypes = nil, nil // read before; they are read again
	book.Relationships.Delete(list)
	if err := storePart(book, list, own); err != nil {
		return err
	}
	return storePart(book, types, parts)
}

func decodePart(book *excelize.File, name string, into any) error {
	part, there := book.Pkg.Load(name)
	if !there {
		return fmt.Errorf("the part %s is not there", name)
	}
	if err := xml.Unmarshal(part.([]byte), into); err != nil {
		return fmt.Errorf("the part %s is not what it should be", name) // what the error says may quote it
	}
	return nil
}

func storePart(book *excelize.File, name string, content any) error {
	text, err := xml.Marshal(content)
	if err != nil {
		return err
	}
	book.Pkg.Store(name, append([]byte(xml.Header), text...))
	return nil
}

// fillStyles gives the styles each list that they leave out, and counts the
// lists that do not say how long they are (the count is optional). The library
// has no words for either, so the lists are found by their names.
func fillStyles(styles reflect.Value) error {
	if styles.Kind() != reflect.Pointer || styles.Elem().Kind() != reflect.Struct {
		return nil // another version of the library
	}
	plain := reflect.New(styles.Type().Elem())
	if err := xml.Unmarshal([]byte(plainStyles), plain.Interface()); err != nil {
		return err
	}
	for list, entry := range map[string]string{"Fonts": "Font", "Fills": "Fill", "Borders": "Border", "CellStyleXfs": "Xf", "CellXfs": "Xf"} {
		has := styles.Elem().FieldByName(list)
		if has.Kind() != reflect.Pointer || has.Type().Elem().Kind() != reflect.Struct {
			continue
		}
		if has.IsNil() || has.Elem().FieldByName(entry).Len() == 0 {
			has.Set(plain.Elem().FieldByName(list))
		}
		has.Elem().FieldByName("Count").SetInt(int64(has.Elem().FieldByName(entry).Len()))
	}
	return nil
}
