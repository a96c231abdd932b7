"""Prints every visible sheet of a workbook as openpyxl reads it:
{sheet: {row: {column index from 0: text}}}, numbers and dates as text."""
import datetime
import json
import sys

from openpyxl import load_workbook


def text(value):
    if isinstance(value, bool):
        return "TRUE" if value else "FALSE"
    if isinstance(value, datetime.datetime):
        return value.date().isoformat() if value.time() == datetime.time() else value.isoformat()
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    return str(value)


book = load_workbook(sys.argv[1], data_only=True)
print(json.dumps({sheet.title: {row[0].row: {c.column - 1: text(c.value) for c in row if c.value is not None} for row in sheet.iter_rows()}
                  for sheet in book if sheet.sheet_state == "visible"}))
