"""Writes the reissue workbook of the night as openpyxl writes it, and then puts
into it what openpyxl does not write: rich text, shared strings, cached values of formulas.

    replacements.py CARDS.json OUT.xlsx

CARDS.json: {"cards": [{"id", "customer", "answer"}…], "pan": a known card number}. Each
row says in its last column what the answer must be.
"""
import datetime
import json
import os
import re
import sys
import zipfile

from openpyxl import Workbook
from openpyxl.chart import BarChart, Reference
from openpyxl.comments import Comment
from openpyxl.formatting.rule import CellIsRule
from openpyxl.styles import Alignment, Border, Font, PatternFill, Protection, Side
from openpyxl.workbook.defined_name import DefinedName
from openpyxl.worksheet.datavalidation import DataValidation

told = json.load(open(sys.argv[1], encoding="utf-8"))
cards = iter(told["cards"])
book = Workbook()

# --- the sheet of reissues -------------------------------------------------
sheet = book.active
sheet.title = "Replacements"
sheet["B1"] = "Karten, die ersetzt werden"
sheet.merge_cells("B1:G1")
sheet["B1"].font = Font(name="Georgia", size=18, bold=True, color="7F3300")
sheet["B1"].alignment = Alignment(horizontal="center", vertical="center")
sheet.row_dimensions[1].height = 32
sheet.append([])
HEADER = ["Comment", "Reason for reissue", "CARD-ID", "Cardholder ID", "type of reissue", "Delivery Method", "Reported", "Expected"]
sheet.append(HEADER)
for cell in sheet[3]:
    cell.font = Font(bold=True, color="FFFFFF")
    cell.fill = PatternFill("solid", start_color="305496")
    cell.border = Border(bottom=Side(style="medium"))
    cell.alignment = Alignment(wrap_text=True, vertical="center")
for column, width in zip("ABCDEFGH", (31.5, 20, 24.25, 14, 9, 11, 13, 28)):
    sheet.column_dimensions[column].width = width
sheet.column_dimensions["G"].hidden = True
sheet.freeze_panes = "D4"

rich, cached = {}, {}
day = datetime.date(2026, 2, 28)


def row(reason, card, customer=None, kind=None, method=None, comment=None, expected="00"):
    """Adds a row; card is a cell value, customer and the rest too. Gives its number."""
    sheet.append([comment, reason, card, customer, kind, method, day, expected])
    at = sheet.max_row
    sheet.cell(at, 7).number_format = "DD/MM/YYYY"
    return at


def good(reason, kind=None, method=None, comment=None, as_number=False):
    c = next(cards)
    return row(reason, int(c["id"]) if as_number else c["id"], c["customer"], kind, method, comment, c["answer"])


# Every reason, in words and as numbers, with and without a type, every way of delivery.
for reason, kind, method in (("damaged", 1, 1), (2, "2", 2), ("Lost", 3, 3), ("STOLEN", None, None), ("fraud", "", "1"), ("compromised", 3, 2),
                             ("returned mail", None, 3), ("New Enrolment", None, 1), (1, None, None), ("2", 1, None), (3, None, 2), (4, "3", None),
                             (5, 2, None), ("6", None, "2")):
    good(reason, kind, method)
# The same ids as numbers and as text.
good("expired", as_number=True, comment="a number")
good("damage", comment="text, green triangle and all")
# Rich text, a preserved blank and a no-break space.
c = next(cards)
rich["RICH-ID"] = [c["id"][:3], c["id"][3:]]
rich["RICH-REASON"] = ["dam", "aged"]
row("RICH-REASON", "RICH-ID", c["customer"], comment="rich text")
c = next(cards)
row("  damaged ", "\u00a0" + c["id"] + " ", c["customer"], comment="blanks around it")
# Formulas: with a cached value (text and number), without one, and an error.
c = next(cards)
at = row("lost", '=CONCATENATE("%s","")' % c["id"], c["customer"], comment="=1+1 as text")
sheet.cell(at, 1).data_type = "s"
cached[at] = ("str", c["id"])
c = next(cards)
cached[row("damaged", "=%s+0" % c["id"], c["customer"])] = (None, c["id"])
row("damaged", "=1+1", "C1", comment="never calculated", expected="row_malformed")
cached[row("damaged", "=1/0", "C1", expected="row_malformed")] = ("e", "#DIV/0!")
row("damaged", "#REF!", "C1", expected="row_malformed")
# What a spreadsheet does to ids.
row("damaged", 4111111111111111, "C1", comment="sixteen digits", expected="excel_precision_loss")
row("damaged", 4.11e15, "C1", comment="scientific", expected="excel_precision_loss")
row("damaged", "4.11E+15", "C1", comment="scientific text", expected="excel_precision_loss")
row("damaged", 100001.5, "C1", comment="a fraction", expected="card_id_invalid")
row("damaged", datetime.date(2026, 3, 1), "C1", comment="a date", expected="excel_precision_loss")
row("damaged", True, "C1", comment="a truth", expected="card_id_invalid")
# What people do.
c = next(cards)
row("lost", c["id"], c["customer"], kind=1, comment="contradiction", expected="reissue_type_conflict")
row("eaten", c["id"], c["customer"], expected="reason_code_invalid")
row("damaged", c["id"], "C1", comment="another's card", expected="customer_not_found")
row(None, None, None, comment="no card", expected="card_id_missing;reason_code_missing;customer_not_found")
row("damaged", c["id"], c["customer"], comment="the number is " + told["pan"])
last = sheet.max_row

choice = DataValidation(type="list", formula1='"damaged,expired,lost,fraud,returned,new enrolment"', allow_blank=True)
choice.error, choice.promptTitle = "Choose one", "Reason"
choice.add("B4:B%d" % (last + 50))
sheet.add_data_validation(choice)
sheet.conditional_formatting.add("F4:F%d" % last, CellIsRule(operator="equal", formula=["3"], fill=PatternFill("solid", bgColor="FFC000")))
sheet["B4"].comment = Comment("Reported by phone.", "Branch 7")
sheet["A4"].hyperlink = "https://example.org/ticket/1"
sheet["A4"].value = "Ticket 1"
sheet.row_dimensions[5].height = 28.5
sheet.row_dimensions[6].hidden = True
sheet.cell(7, 2).fill = PatternFill("lightUp", start_color="00B050")
sheet.cell(7, 2).protection = Protection(locked=False)
sheet.auto_filter.ref = "A3:H%d" % last
sheet.print_title_rows = "3:3"
sheet.page_setup.orientation = "landscape"
book.defined_names.append(DefinedName("Reasons", attr_text="Replacements!$B$4:$B$%d" % last))

# --- the other kind, on a second sheet -------------------------------------
again = book.create_sheet("Same card again")
again.append(["card_id", "Remark", "Expected"])
for _ in range(6):
    card = next(cards)
    again.append([card["id"], None, card["answer"]])
again.append([c["id"], "asked for on the first sheet", "already_requested"])
again.append(["99", "no such card", "card_not_found"])
again.column_dimensions["B"].width = 40

# --- sheets that ask for nothing -------------------------------------------
notes = book.create_sheet("Figures")
notes.append(["Month", "Cards"])
for month, count in (("Jan", 12), ("Feb", 17), ("Mar", 9)):
    notes.append([month, count])
notes["B5"] = "=SUM(B2:B4)"
notes["B5"].number_format = "0.00"
chart = BarChart()
chart.add_data(Reference(notes, min_col=2, min_row=1, max_row=4), titles_from_data=True)
notes.add_chart(chart, "D2")
hidden = book.create_sheet("Lists")
hidden.append(["card_id"])
hidden.append(["99"])
hidden.sheet_state = "veryHidden"
book.save(sys.argv[2] + ".tmp")


def runs(text):
    font = '<rPr><b/><sz val="11"/><color rgb="FFC00000"/><rFont val="Calibri"/></rPr>'
    return "<r><t>%s</t></r><r>%s<t>%s</t></r>" % (text[0], font, text[1])


def finish(text):
    """Puts cached values and rich text into the sheet, and makes the strings of every other row shared ones."""
    for at, (kind, value) in cached.items():
        put = r'<c r="C%d"\1%s><f>\2</f><v>%s</v></c>' % (at, ' t="%s"' % kind if kind else "", value)
        text, done = re.subn(r'<c r="C%d"([^>]*?)><f>([^<]*)</f>(?:<v ?/>|<v></v>)</c>' % at, put, text)
        assert done == 1, (at, done)
    for name, pieces in rich.items():
        assert text.count("<is><t>%s</t></is>" % name) == 1, name
        text = text.replace("<is><t>%s</t></is>" % name, "<is>%s</is>" % runs(pieces))
    shared = []

    def share(cell):
        if int(cell[2]) % 2:
            return cell[0]
        if cell[4] not in shared:
            shared.append(cell[4])
        return '<c r="%s%s"%s t="s"><v>%d</v></c>' % (cell[1], cell[2], cell[3], shared.index(cell[4]))

    text = re.sub(r'<c r="([A-Z]+)(\d+)"([^>]*?) t="inlineStr"><is>(.*?)</is></c>', share, text, flags=re.S)
    assert len(shared) > 20
    main = "http://schemas.openxmlformats.org/spreadsheetml/2006/main"
    table = '<sst xmlns="%s" uniqueCount="%d">%s</sst>' % (main, len(shared), "".join("<si>%s</si>" % s for s in shared))
    return text, table


# --- what openpyxl does not write -------------------------------------------
KIND = "application/vnd.openxmlformats-officedocument.spreadsheetml.sharedStrings+xml"
RELATION = "http://schemas.openxmlformats.org/officeDocument/2006/relationships/sharedStrings"
with zipfile.ZipFile(sys.argv[2] + ".tmp") as source, zipfile.ZipFile(sys.argv[2], "w", zipfile.ZIP_DEFLATED) as out:
    for part in source.infolist():
        text = source.read(part).decode("utf-8")
        if part.filename == "xl/worksheets/sheet1.xml":
            text, table = finish(text)
            out.writestr("xl/sharedStrings.xml", table)
        elif part.filename == "[Content_Types].xml":
            text = text.replace("</Types>", '<Override PartName="/xl/sharedStrings.xml" ContentType="%s"/></Types>' % KIND)
        elif part.filename == "xl/_rels/workbook.xml.rels":
            text = text.replace("</Relationships>", '<Relationship Type="%s" Target="sharedStrings.xml" Id="rId900"/></Relationships>' % RELATION)
        out.writestr(part, text)
os.remove(sys.argv[2] + ".tmp")
