"""Prints where each sheet of a workbook is frozen, as openpyxl reads it: {sheet: "A2"}, "" where nothing is."""
import json
import sys

from openpyxl import load_workbook

print(json.dumps({sheet.title: sheet.freeze_panes or "" for sheet in load_workbook(sys.argv[1])}))
