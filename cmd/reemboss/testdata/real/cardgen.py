"""Reads a card generation file from standard input with expat and holds it
against the Card Generation Interface, XML, data format version 12. The tables
below were typed from the publication, not from the program's own layout.

    cardgen.py [--masked] < FILE

It prints what the file holds as JSON (card data in clear: into a pipe only),
or says on standard error what is wrong, by record and element, never with a
value. --masked is the cut-down copy for the program manager.
"""
import json
import re
import sys
import xml.etree.ElementTree as tree

from tracks import TRACKS, luhn

MASKED = sys.argv[1:] == ["--masked"]
MUST, MAY = True, False

# name, most characters (None: not said), may not be empty
CARDSUM = [("DATA_FORMAT_VERSION", 5, MUST), ("FILEDATE", None, MUST), ("FILETIME", None, MUST), ("NO_OF_CARRIERS", None, MUST),
           ("NO_OF_CARDS", None, MUST), ("NO_OF_PRODUCTS", None, MUST), ("TXREF", 30, MUST), ("ORDER_REF", 30, MAY)]
RECORD = [("REQUEST_TYPE", 15, MUST), ("UID", 20, MUST), ("CUST_ACCNO", 25, MAY), ("CARRIER", None, MUST), ("CARD", None, MUST)]
CARRIER = [("TITLE", 4, MAY), ("FNAME", 30, MAY), ("SNAME", 30, MAY), ("ADD1", 50, MAY), ("ADD2", 50, MAY), ("ADD3", 50, MAY), ("ADD4", 50, MAY),
           ("CITY", 50, MAY), ("POSTCODE", 10, MAY), ("MOBILE", 50, MAY), ("COUNTRY", 3, MAY), ("BULK_ADD1", 100, MAY), ("BULK_ADD2", 100, MAY),
           ("BULK_ADD3", 100, MAY), ("BULK_CITY", 50, MAY), ("BULK_COUNTY", 20, MAY), ("BULK_POSTCODE", 10, MAY), ("BULK_COUNTRY", 3, MAY),
           ("CARRIER_TYPE", 30, MUST), ("CARRIER_LOGO_ID", 20, MAY), ("DELV_METHOD", 1, MUST), ("DELV_CODE", 12, MAY), ("FULFIL1", 50, MAY),
           ("FULFIL2", 50, MAY), ("LANG", 2, MAY)]
CARD = [("TYPE", 20, MUST), ("CURRENCY", 4, MUST), ("TRACK1", 76, MUST), ("TRACK2", 37, MUST), ("TRACK3", 104, MAY), ("EMBOSS_PAN", 19, MUST),
        ("EMBOSS_NAME", 27, MAY), ("EMBOSS_START", 10, MUST), ("EMBOSS_EXPIRY", 10, MUST), ("EMBOSS_CVC2", 10, MUST), ("EMBOSS_LINE4", 27, MAY),
        ("THERMAL_LINE1", 120, MAY), ("THERMAL_LINE2", 70, MAY), ("IMAGE_ID", 20, MAY), ("LOGO_FRONT_ID", 30, MAY), ("LOGO_BACK_ID", 30, MAY),
        ("QRCODE", 100, MAY), ("PINBLOCK", 16, MAY)]
CHIP = [("TYPE", 10, MAY), ("PAN", 19, MAY), ("PAN_SEQ", 2, MAY), ("NAME", 26, MAY), ("START_DATE", 6, MAY), ("EXPIRY_DATE", 6, MAY),
        ("SERVICE_CODE", 3, MAY), ("CHIP_TRACK_1", 76, MAY), ("CHIP_TRACK_2", 38, MAY), ("CHIP_TRACK_1_MSD_CL", 76, MAY),
        ("CHIP_TRACK_2_MSD_CL", 37, MAY), ("PINBLOCK", 16, MAY)]
# The masked copy leaves these out; a third track is a track like the others.
LEFT_OUT = {"MOBILE", "TRACK1", "TRACK2", "TRACK3", "EMBOSS_CVC2", "PINBLOCK", "CHIP"}
REQUEST_TYPES = {"New", "Replacement", "PIN_MAILER", "NEW_WITH_PINM", "REPL_WITH_PINM"}
TECHNOLOGIES = {"Mag", "Chip&PIN", "Chip&PIN&Contactless"}
where, wrong = "the file", []


def must(holds, what):
    if not holds:
        wrong.append("%s: %s" % (where, what))


def fields(element, table, left_out=(), tail=()):
    """Holds the element's children against a table: every one of it, in its order, nothing else, each within its length."""
    names = [child.tag for child in element]
    want = [name for name, _, _ in table if name not in left_out] + list(tail)
    must(names == want, "%s does not hold the elements of the interface in their order" % element.tag)
    must(not element.attrib and not (element.text or "").strip() and not any((c.tail or "").strip() for c in element), "%s holds text or attributes of its own" % element.tag)
    got = {}
    for child in element:
        got.setdefault(child.tag, child.text or "")
    for name, length, required in table:
        if name in left_out or name in ("CARRIER", "CARD"):
            continue
        child = element.find(name)
        if child is None:
            continue
        text = got[name]
        must(len(child) == 0 and not child.attrib, "%s holds more than text" % name)
        must(length is None or len(text) <= length, "%s has %d characters, %s fit" % (name, len(text), length))
        must(text != "" or not required, "%s is empty" % name)
        must(text == text.strip() and not any(ord(c) < 32 for c in text), "%s begins or ends with a blank, or has a control character" % name)
    return got


def form(name, text, pattern):
    found = re.fullmatch(pattern, text)
    must(found, "%s has not its form" % name)
    return found.groupdict() if found else {}


def read_card(card):
    chips = card.findall("CHIP")
    got = fields(card, CARD, LEFT_OUT if MASKED else (), ["CHIP"] * len(chips))
    must(len(chips) <= 1, "CHIP stands twice")
    must(got.get("TYPE") in TECHNOLOGIES, "TYPE is no technology of the interface")
    form("CURRENCY", got.get("CURRENCY", ""), r"0\d{3}")
    for name in ("EMBOSS_START", "EMBOSS_EXPIRY"):
        form(name, got.get(name, ""), r"(0[1-9]|1[0-2])/\d\d")
    if MASKED:
        form("EMBOSS_PAN", got.get("EMBOSS_PAN", ""), r"\d{6}\*+\d{4}")
        return {"pan": got.get("EMBOSS_PAN"), "face": got.get("EMBOSS_NAME"), "currency": got.get("CURRENCY")}
    shown = got.get("EMBOSS_PAN", "")
    pan = shown.replace(" ", "")
    must(luhn(pan) and pan.isdigit(), "EMBOSS_PAN is no card number")
    groups = " ".join(pan[i:i + 4] for i in range(0, len(pan), 4))
    must(shown == (groups if len(groups) <= 19 else pan), "EMBOSS_PAN is not in groups of four")
    scheme = "mastercard" if pan.startswith("5") else "visa"
    stripe1 = form("TRACK1", got.get("TRACK1", ""), TRACKS[scheme]["TRACK1"])
    stripe2 = form("TRACK2", got.get("TRACK2", ""), TRACKS[scheme]["TRACK2"])
    if not stripe1 or not stripe2:
        return {}
    must(scheme == "visa" or len(got["TRACK2"]) == 37, "TRACK2 of a Mastercard has not 37 characters")
    face = form("EMBOSS_CVC2", got.get("EMBOSS_CVC2", ""), r"(?P<last>\d{4}) (?P<cvv>\d{3})")
    must(face.get("last") == pan[-4:], "EMBOSS_CVC2 begins with other digits than the number's last four")
    out = {"pan": pan, "scheme": scheme, "name": stripe1["name"], "face": got.get("EMBOSS_NAME"), "expiry": stripe1["expiry"], "service": stripe1["service"],
           "cvv1": stripe1["cvv"], "cvv2": face.get("cvv"), "technology": got.get("TYPE"), "currency": got.get("CURRENCY"),
           "validity": stripe2.get("validity"), "psn": stripe2.get("psn"), "start": got.get("EMBOSS_START")}
    must(2 <= len(out["name"]) <= 26 and out["name"].count("/") == 1, "TRACK1 has a name that is none")
    must(stripe1["cvv"] == stripe2["cvv"], "the stripes carry different values")
    must(got["EMBOSS_EXPIRY"] == out["expiry"][2:] + "/" + out["expiry"][:2], "EMBOSS_EXPIRY is another than the track's")
    for track in (stripe1, stripe2):
        must((track["pan"], track["expiry"], track["service"]) == (pan, out["expiry"], out["service"]), "a track belongs to another card")
    must(got["TYPE"] != "Mag" or not chips, "a stripe card has a CHIP")
    must(got["TYPE"] == "Mag" or len(chips) == 1, "a chip card has no CHIP")
    if chips:
        read_chip(chips[0], out)
    return out


def read_chip(chip, card):
    got = fields(chip, CHIP)
    scheme, pan = card["scheme"], card["pan"]
    must(got.get("PAN") == pan and 16 <= len(pan) <= 19, "the chip's PAN is not the card's, or not of 16 to 19 digits")
    must(got.get("NAME") == card["name"], "the chip's name is not track 1's")
    must(got.get("SERVICE_CODE") == card["service"], "the chip's service code is not the track's")
    form("PAN_SEQ", got.get("PAN_SEQ", ""), r"\d\d")
    must(card["psn"] in (None, got.get("PAN_SEQ")), "the chip's PSN is not track 2's")
    card["psn"] = got.get("PAN_SEQ")
    month_ends = {"01": "31", "02": "2[89]", "03": "31", "04": "30", "05": "31", "06": "30", "07": "31", "08": "31", "09": "30", "10": "31", "11": "30", "12": "31"}
    form("EXPIRY_DATE", got.get("EXPIRY_DATE", ""), card["expiry"] + month_ends.get(card["expiry"][2:], "none"))
    form("START_DATE", got.get("START_DATE", ""), card["start"][3:] + card["start"][:2] + r"([012]\d|3[01])")
    chip1 = form("CHIP_TRACK_1", got.get("CHIP_TRACK_1", ""), TRACKS[scheme]["TRACK1"])
    chip2 = form("CHIP_TRACK_2", got.get("CHIP_TRACK_2", ""), TRACKS[scheme]["CHIP"])
    must(len(got.get("CHIP_TRACK_2", "")) % 2 == 0, "CHIP_TRACK_2 is no whole number of bytes")
    for track in (chip1, chip2):
        must((track.get("pan"), track.get("expiry"), track.get("service")) == (pan, card["expiry"], card["service"]), "a track of the chip belongs to another card")
    must(chip1.get("cvv") == chip2.get("cvv"), "the chip's tracks carry different values")
    must(chip1.get("name") == card["name"], "the chip's track 1 has another name")
    card["icvv"] = chip1.get("cvv")
    if got.get("CHIP_TRACK_1_MSD_CL"):
        msd = form("CHIP_TRACK_1_MSD_CL", got["CHIP_TRACK_1_MSD_CL"], TRACKS[scheme]["TRACK1"])
        must(msd.get("name") == " /", "the contactless stripe carries a name")
    if got.get("CHIP_TRACK_2_MSD_CL"):
        form("CHIP_TRACK_2_MSD_CL", got["CHIP_TRACK_2_MSD_CL"], TRACKS[scheme]["TRACK2"])


def read_record(record):
    global where
    where = "record %s" % record.findtext("UID")
    got = fields(record, RECORD, () if MASKED else ("CUST_ACCNO",))
    must(got.get("REQUEST_TYPE") in REQUEST_TYPES, "REQUEST_TYPE is none of the interface")
    carrier = fields(record.find("CARRIER"), CARRIER, LEFT_OUT if MASKED else ())
    form("DELV_METHOD", carrier.get("DELV_METHOD", ""), "[0-7]")
    form("COUNTRY", carrier.get("COUNTRY", ""), r"\d{3}")
    form("LANG", carrier.get("LANG", ""), r"[a-z]{2}|")
    got_card = record.find("CARD")
    out = read_card(got_card)
    out.update(uid=got.get("UID"), request=got.get("REQUEST_TYPE"), account=got.get("CUST_ACCNO"), delivery=carrier.get("DELV_METHOD"), code=carrier.get("DELV_CODE"),
               title=carrier.get("TITLE"), first=carrier.get("FNAME"), last=carrier.get("SNAME"), address1=carrier.get("ADD1"),
               address2=carrier.get("ADD2"), address3=carrier.get("ADD3"), address4=carrier.get("ADD4"), city=carrier.get("CITY"),
               postcode=carrier.get("POSTCODE"), country=carrier.get("COUNTRY"), mobile=carrier.get("MOBILE"), language=carrier.get("LANG"),
               carrier=carrier.get("CARRIER_TYPE"), front=got_card.findtext("LOGO_FRONT_ID"))
    return out


raw = sys.stdin.buffer.read()
must(raw.startswith(b'<?xml version="1.0" encoding="utf-8"?>'), "the declaration is not the interface's")
must(b"<!DOCTYPE" not in raw and b"<![CDATA[" not in raw and b"<!--" not in raw, "there is more than elements and text")
root = tree.fromstring(raw)
must(root.tag == "CARDGEN" and [c.tag for c in root] == ["CARDSUM"] + ["PRODUCT"] * (len(root) - 1), "CARDGEN does not hold one CARDSUM and then PRODUCTs")
summary = fields(root[0], CARDSUM)
must(summary.get("DATA_FORMAT_VERSION") == "12", "DATA_FORMAT_VERSION is not 12")
form("FILEDATE", summary.get("FILEDATE", ""), r"([012]\d|3[01])-(0\d|1[0-2])-20\d\d")
form("FILETIME", summary.get("FILETIME", ""), r"([01]\d|2[0-3])-[0-5]\d-[0-5]\d")
products, records = [], []
for product in root[1:]:
    where = "the file"
    must([c.tag for c in product] == ["PRODUCT_REF"] + ["RECORD"] * (len(product) - 1), "PRODUCT does not hold one PRODUCT_REF and then RECORDs")
    must(len(product) > 1, "a PRODUCT holds no record")
    reference = product.findtext("PRODUCT_REF")
    must(reference and len(reference) <= 50, "PRODUCT_REF is empty or too long")
    products.append(reference)
    last, closed = None, set()
    for record in product[1:]:
        found = read_record(record)
        found["product"] = reference
        records.append(found)
        code = found["code"]
        if code and code != last:
            must(code not in closed, "carriers of one DELV_CODE do not stand together")
            closed.add(code)
        last = code
where = "the file"
must(len(set(products)) == len(products), "records of one product do not stand together")
must(len({r["uid"] for r in records}) == len(records), "a UID stands twice")
for name, count in (("NO_OF_CARRIERS", len(records)), ("NO_OF_CARDS", len(records)), ("NO_OF_PRODUCTS", len(products))):
    must(summary.get(name) == str(count), "%s is not the count" % name)
if wrong:
    sys.exit("\n".join(wrong[:40]))
json.dump({"summary": summary, "products": products, "records": records}, sys.stdout)
