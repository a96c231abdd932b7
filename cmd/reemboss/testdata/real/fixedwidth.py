"""Reads a file of the layout fixed-v1 from standard input by column numbers
and holds lengths, counts, hash total and control number.

    fixedwidth.py [--masked] < FILE

It prints what the file holds as JSON (card data in clear: into a pipe only),
or says on standard error what is wrong, by line and columns, never with a value.
"""
import json
import re
import sys

from tracks import TRACKS, luhn

MASKED = sys.argv[1:] == ["--masked"]
LENGTH = 1300
# What a bureau's programmer would type: first column, columns.
DETAIL = {"number": (3, 9), "uid": (12, 20), "request": (32, 1), "product": (33, 50), "pan": (83, 19), "psn": (102, 2), "service": (104, 3),
          "start": (107, 6), "expiry": (113, 6), "technology": (119, 1), "chip_type": (120, 10), "currency": (130, 4), "shown": (134, 19),
          "face": (153, 27), "line4": (180, 27), "start_face": (207, 5), "expiry_face": (212, 5), "cvv2": (217, 3), "track1": (220, 76),
          "track2": (296, 37), "name": (333, 26), "chip1": (359, 76), "chip2": (435, 38), "msd1": (473, 76), "msd2": (549, 37), "title": (586, 10),
          "first": (596, 30), "last": (626, 30), "company": (656, 50), "address1": (706, 50), "address2": (756, 50), "address3": (806, 50),
          "address4": (856, 50), "city": (906, 50), "region": (956, 50), "postcode": (1006, 10), "country": (1016, 3), "mobile": (1019, 50),
          "language": (1069, 2), "delivery": (1071, 1), "code": (1072, 12), "carrier": (1084, 30), "logo": (1114, 20), "image": (1134, 20),
          "front": (1154, 30), "back": (1184, 30)}
SECRET = ("cvv2", "track1", "track2", "chip1", "chip2", "msd1", "msd2", "mobile")
wrong = []


def must(holds, line, what):
    if not holds:
        wrong.append("line %d: %s" % (line, what))


def cut(line, at, length):
    return line[at - 1:at - 1 + length].decode("cp1252")


def take_tracks(n, got):
    """Takes the tracks apart, holds them against the record and puts what only they tell into it."""
    scheme = "mastercard" if got["pan"].startswith("5") else "visa"
    must(luhn(got["pan"]), n, "the check digit of the number is wrong")
    for name, form in (("track1", "TRACK1"), ("track2", "TRACK2"), ("chip1", "TRACK1"), ("chip2", "CHIP")):
        if name.startswith("chip") and not got["chip_type"]:
            must(got[name] == "", n, "a card without chip has %s" % name)
            continue
        found = re.fullmatch(TRACKS[scheme][form], got[name])
        must(found, n, "%s has not its form" % name)
        if not found:
            continue
        of = found.groupdict()
        must((of["pan"], of["expiry"], of["service"]) == (got["pan"], got["expiry"][:4], got["service"]), n, "%s belongs to another card" % name)
        must(of.get("psn") in (None, got["psn"]), n, "%s has another PSN" % name)
        value = "icvv" if name.startswith("chip") else "cvv1"
        must(got.setdefault(value, of["cvv"]) == of["cvv"], n, "the tracks carry different values")
        must(got.get("name") in ("", of.get("name", got["name"])), n, "%s has another name than the chip" % name)
        if of.get("name") and not got["name"]:
            got["name"] = of["name"]
        got["validity"] = of.get("validity") or got.get("validity")
    got.update(scheme=scheme, expiry=got["expiry"][:4])


raw = sys.stdin.buffer.read()
must(raw.endswith(b"\r\n"), 0, "the last line has no end")
lines = raw.split(b"\r\n")[:-1]
for n, line in enumerate(lines, 1):
    must(len(line) == LENGTH, n, "it has %d columns" % len(line))
    must(b"\n" not in line and b"\r" not in line and b"\t" not in line, n, "it has a control character")
    must(line[:2] == (b"HD" if n == 1 else b"TR" if n == len(lines) else b"DT"), n, "it is not of the type that its place wants")
header, trailer = lines[0], lines[-1]
must(cut(header, 3, 8) == "FIXED-V1", 1, "columns 3 to 10 do not name the format")
must(re.fullmatch(r"20\d{6}", cut(header, 21, 8)) and re.fullmatch(r"([01]\d|2[0-3])[0-5]\d[0-5]\d", cut(header, 29, 6)), 1, "date and time have not their form")
count = len(lines) - 2
must(cut(header, 115, 9) == "%09d" % count, 1, "the count is not that of the details")
must(cut(trailer, 3, 9) == "%09d" % count, len(lines), "the count is not that of the details")
must(cut(header, 11, 10) == cut(trailer, 28, 10), len(lines), "the control number is not the header's")
records, total = [], 0
for n, line in enumerate(lines[1:-1], 2):
    got = {name: cut(line, at, length).rstrip(" ") for name, (at, length) in DETAIL.items()}
    must(got["number"] == "%09d" % (n - 1), n, "the running number is wrong")
    must(not any(c != " " for c in cut(line, 1214, 87)), n, "the filler is not blank")
    if MASKED:
        must(re.fullmatch(r"\d{6}\*{3,9}\d{4}", got["pan"]), n, "the number is not masked")
        for name in SECRET:
            must(set(got[name]) == {"*"} and len(got[name]) == DETAIL[name][1], n, "%s is not hidden" % name)
    else:
        total += int(got["pan"][-10:])
        must(got["shown"].replace(" ", "") == got["pan"], n, "the embossed number is another")
        take_tracks(n, got)
    records.append(got)
if MASKED:
    must(set(cut(trailer, 12, 16)) == {"*"}, len(lines), "the hash total is not hidden")
else:
    must(cut(trailer, 12, 16) == "%016d" % (total % 10 ** 16), len(lines), "the hash total is not the sum")
if wrong:
    sys.exit("\n".join(wrong[:40]))
json.dump({"control": int(cut(header, 11, 10)), "records": records}, sys.stdout)
