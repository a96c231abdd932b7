"""Compares a workbook with its result as openpyxl sees them.

    kept.py ORIGINAL.xlsx RESULT.xlsx RESULT.csv CELL…

All that was the sender's must be as it was: sheets, cells, styles, widths,
heights that somebody chose, merged cells, validations, what hangs on cells. A
row whose height is automatic may grow, for the lines of our message, and stays
automatic. CELL is a sender's cell that we
mask, as Sheet!A1. To the right of it stand the answers, as the CSV has them.
"""
import csv
import sys
import zipfile
from xml.etree import ElementTree

from openpyxl import load_workbook
from openpyxl.utils import get_column_letter

original, result, answers = sys.argv[1:4]
masked = set(sys.argv[4:])
was, now = load_workbook(original), load_workbook(result)
wrong = []


def same(what, a, b):
    if a != b:
        wrong.append("%s: it was %.200r and is %.200r" % (what, a, b))


def look(cell):
    """Every attribute of the cell's style by its path, such as font.color.rgb."""
    found = {"number_format": cell.number_format}

    def walk(path, part):
        if not hasattr(part, "__elements__"):
            found[path] = part
            return
        for name in tuple(part.__elements__) + tuple(part.__attrs__):
            walk(path + "." + name, getattr(part, name))

    for name in ("font", "fill", "border", "alignment", "protection"):
        walk(name, getattr(cell, name))
    return {path: value for path, value in found.items() if value not in (None, False)}  # some write out what is so by default


def rules(sheet):
    return sorted((str(area.sqref), rule.type, rule.operator, tuple(rule.formula)) for area in sheet.conditional_formatting for rule in area.rules)


same("the sheets", was.sheetnames, now.sheetnames)
def heights(path):
    """The rows' heights by sheet and row: chosen ones, and automatic ones as they were last seen."""
    main, links = "{http://schemas.openxmlformats.org/spreadsheetml/2006/main}", "{http://schemas.openxmlformats.org/officeDocument/2006/relationships}"
    with zipfile.ZipFile(path) as parts:
        read = lambda name: ElementTree.fromstring(parts.read(name))
        target = {r.get("Id"): r.get("Target") for r in read("xl/_rels/workbook.xml.rels")}
        chosen, automatic = {}, {}
        for sheet in read("xl/workbook.xml").iter(main + "sheet"):
            part = target[sheet.get(links + "id")]
            for row in read(part.lstrip("/") if part.startswith("/") else "xl/" + part).iter(main + "row"):
                if row.get("ht"):
                    own = row.get("customHeight") in ("1", "true")
                    (chosen if own else automatic)[sheet.get("name"), int(row.get("r"))] = float(row.get("ht"))
    return chosen, automatic


(chosen_was, automatic_was), (chosen_now, automatic_now) = heights(original), heights(result)
same("heights that somebody chose", chosen_was, chosen_now)
for at, height in automatic_was.items():
    if automatic_now.get(at, 0) < height:
        wrong.append("%s, row %d: its automatic height was %s and is %s" % (at + (height, automatic_now.get(at))))

for sheet in was:
    new, name = now[sheet.title], sheet.title
    same(name + ", state", sheet.sheet_state, new.sheet_state)
    for row in sheet.iter_rows():
        for cell in row:
            at, there = "%s!%s" % (name, cell.coordinate), new[cell.coordinate]
            if at in masked:
                if there.value == cell.value or "*" not in str(there.value):
                    wrong.append(at + " is not masked")
            else:
                same(at, cell.value, there.value)
                same(at + ", type", cell.data_type, there.data_type)
            before, after = look(cell), look(there)
            for path in sorted(set(before) | set(after)):
                same(at + ", " + path, before.get(path), after.get(path))
            same(at + ", note", cell.comment and (cell.comment.text, cell.comment.author), there.comment and (there.comment.text, there.comment.author))
            same(at + ", link", cell.hyperlink and cell.hyperlink.target, there.hyperlink and there.hyperlink.target)
    widths = {k: (d.width, d.hidden, d.min, d.max) for k, d in sheet.column_dimensions.items()}
    same(name + ", columns", widths, {k: (d.width, d.hidden, d.min, d.max) for k, d in new.column_dimensions.items() if k in widths})
    same(name + ", hidden rows", [k for k, d in sheet.row_dimensions.items() if d.hidden], [k for k, d in new.row_dimensions.items() if d.hidden])
    same(name + ", merged", sorted(map(str, sheet.merged_cells.ranges)), sorted(map(str, new.merged_cells.ranges)))
    same(name + ", validations", [(str(v.sqref), v.type, v.formula1, v.error, v.promptTitle) for v in sheet.data_validations.dataValidation],
         [(str(v.sqref), v.type, v.formula1, v.error, v.promptTitle) for v in new.data_validations.dataValidation])
    same(name + ", conditional formats", rules(sheet), rules(new))
    same(name + ", panes", sheet.freeze_panes, new.freeze_panes)
    same(name + ", filter", sheet.auto_filter.ref, new.auto_filter.ref)
    same(name + ", print titles", sheet.print_title_rows, new.print_title_rows)
    same(name + ", paper", sheet.page_setup.orientation, new.page_setup.orientation)
    same(name + ", charts", len(sheet._charts), len(new._charts))


def names_of(book):
    got = book.defined_names
    return sorted((n.name, n.attr_text) for n in (got.values() if hasattr(got, "values") else got.definedName))


same("defined names", names_of(was), names_of(now))
with zipfile.ZipFile(original) as a, zipfile.ZipFile(result) as b:
    if b.testzip():
        wrong.append("the archive is damaged")
    lost = {n.lower() for n in a.namelist()} - {n.lower().lstrip("/") for n in b.namelist()}
    same("lost parts", lost, set())

# Values of formulas must be what the sender's program had calculated.
was, now = load_workbook(original, data_only=True), load_workbook(result, data_only=True)
for sheet in was:
    for row in sheet.iter_rows():
        for cell in row:
            if "%s!%s" % (sheet.title, cell.coordinate) not in masked:
                same("%s!%s, calculated" % (sheet.title, cell.coordinate), cell.value, now[sheet.title][cell.coordinate].value)

# The answers.
FIRST, AMOUNTS = "outcome", {"class", "balance", "fee"}
places = {}
with open(answers, newline="", encoding="utf-8-sig") as text:
    rows = list(csv.reader(text))
header = rows[0]
appended = header[header.index(FIRST):]
told = {}
for row in rows[1:]:
    told.setdefault(row[0], {})[int(row[1])] = dict(zip(appended, row[header.index(FIRST):]))
for title, lines in told.items():
    new = now[title]
    top = next(r for r in range(1, 21) if FIRST in [c.value for c in new[r]])
    names = [c.value for c in new[top]]
    start = names.index(FIRST)
    same(title + ", appended header", names[start:], appended)
    used = [c.column for row in was[title].iter_rows() for c in row if c.value is not None] + [area.max_col for area in was[title].merged_cells.ranges]
    same(title + ", first appended column", max(used) + 1, start + 1)
    for r in range(top + 1, new.max_row + 1):
        cells = [c.value for c in new[r]][start:]
        want = lines.get(r, {})
        for i, name in enumerate(appended):
            text = want.get(name, "")
            value = (float(text) if name in AMOUNTS else text) if text else None
            same("%s!%s%d, %s" % (title, get_column_letter(start + i + 1), r, name), value, cells[i])
for title in now.sheetnames:
    if title not in told:
        same(title + ", size", was[title].dimensions, now[title].dimensions)
if wrong:
    sys.exit("\n".join(wrong[:40]))
print(sum(map(len, told.values())), "answers")
