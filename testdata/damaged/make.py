"""Writes every file of this folder that is not made by the test itself.

    python3 make.py [NAME…]

A file asks for cards of its own: the n-th of its cards has the id 20000 + 10 × (number of the file) + n, so that what one
file gets does not depend on another. What must become of each file stands in expected.yaml and nowhere else.
LibreOffice (soffice) and openpyxl write the workbooks that are named for them.
"""
import codecs
import io
import os
import struct
import subprocess
import sys
import tempfile
import zipfile
import zlib

HERE = os.path.dirname(os.path.abspath(__file__))
files = {}


class Ids:
    """The ids of one file's cards; user() is the cardholder's."""

    def __init__(self, number):
        self.first = 20000 + 10 * number

    def __getitem__(self, n):
        return str(self.first + n)

    def user(self, n):
        return "C" + self[n]


def file(name):
    """Registers a function that gives the bytes (or text in UTF-8) of a file."""
    def keep(make):
        assert name not in files, name
        files[name] = (make, Ids(len(files) + 1))
        return make
    return keep


def plain(name, text):
    """A file from a text in which {1}, {2} … are ids and {u1} … users."""
    @file(name)
    def _(c):
        return fill(text, c)


def fill(text, c):
    """A text with the ids of a file in it; c is None for a text that has none yet."""
    for n in range(1, 10) if c else ():
        text = text.replace("{u%d}" % n, c.user(n)).replace("{%d}" % n, c[n])
    return text


def coded(name, text, encoding, mark=b""):
    @file(name)
    def _(c):
        return mark + fill(text, c).encode(encoding)


# --- encodings ---------------------------------------------------------------
TWO = "card_id,remark\n{1},Zürich\n{2},Łódź\n"
coded("utf8.csv", TWO, "utf-8")
coded("utf8-bom.csv", TWO, "utf-8", codecs.BOM_UTF8)
coded("utf8-bom-twice.csv", TWO, "utf-8", codecs.BOM_UTF8 * 2)
coded("utf16le-bom.csv", TWO, "utf-16-le", codecs.BOM_UTF16_LE)
coded("utf16be-bom.csv", TWO, "utf-16-be", codecs.BOM_UTF16_BE)
coded("utf16le.csv", TWO, "utf-16-le")
coded("utf16be.csv", TWO, "utf-16-be")
coded("utf32le-bom.csv", TWO, "utf-32-le", codecs.BOM_UTF32_LE)
coded("windows-1252.csv", "card_id;remark\r\n{1};Zürich – 5 €\r\n{2};Straße\r\n", "cp1252")
coded("ebcdic.csv", TWO.replace("Łódź", "Lodz"), "cp500")
plain("pasted-with-bom.csv", "card_id,remark\n{1},a\n\ufeffcard_id,remark\n{2},b\n")
plain("no-break-spaces.csv", "card_id ,remark\n\u00a0{1}\u200b,a\n\ufeff{2},b\n")
plain("fullwidth-digits.csv", "card_id\n２００１\n{2}\n")
plain("arabic-digits.csv", "card_id\n٢٠٠١\n{2}\n")
plain("replacement-character.csv", "card_id,printed_name\n{1},J\ufffdrg\n{2},Ada\n")


@file("utf16-half-a-character.csv")
def _(c):
    return codecs.BOM_UTF16_LE + fill(TWO, c).encode("utf-16-le")[:-1]


@file("utf16-lone-surrogate.csv")
def _(c):
    text = codecs.BOM_UTF16_LE + ("card_id,printed_name\n%s,A" % c[1]).encode("utf-16-le") + b"\x00\xd8"
    return text + ("B\n%s,Ada\n" % c[2]).encode("utf-16-le")


@file("utf16-mark-before-utf8.csv")
def _(c):
    return codecs.BOM_UTF16_LE + fill(TWO, c).encode()


@file("mixed-encodings.csv")
def _(c):
    rows = ["card_id,printed_name", c[1] + ",Jürg Vogt", c[2] + ",Zoë Łuk"]
    return "\n".join(rows).encode() + b"\n" + (c[3] + ",J\xfcrg Vogt\n").encode("latin-1") + (c[4] + ",Ada Byron\n").encode()


@file("overlong-utf8.csv")
def _(c):
    return ("card_id,printed_name\n%s,Jürg Ößt\n%s,A" % (c[1], c[2])).encode() + b"\xc0\xafB\n"


@file("nul-in-a-cell.csv")
def _(c):
    return fill("card_id,remark\n{1},a\0b\n{2},c\n", c)


@file("nul-far-down.csv")
def _(c):
    return fill("card_id,remark\n{1},a\n", c) + "\n" * 70000 + c[2] + ",\0\n"


@file("nul-padded.csv")
def _(c):
    return fill("card_id\n{1}\n", c) + "\0" * 512


# --- delimiters and line ends --------------------------------------------------
plain("semicolon.csv", "card_id;remark\n{1};a,b\n{2};1,5\n")
plain("pipe.csv", "card_id|remark\n{1}|a;b\n{2}|c,d\n")
plain("tab.csv", "card_id\tremark\n{1}\ta,b;c\n{2}\td\n")
plain("sep-line.csv", "sep=|\ncard_id|remark\n{1}|a,b\n")
plain("sep-line-unusual.csv", "sep=^\ncard_id^remark\n{1}^a,b\n")
plain("sep-line-that-lies.csv", "sep=;\ncard_id,remark\n{1},a\n")
plain("colon.csv", "card_id:remark\n{1}:a\n")
plain("spaces.csv", "card_id remark\n{1} a\n")
plain("decimal-commas.csv", "card_id;fee;limit\n{1};1,50;2,75\n{2};3,00;4,25\n")
plain("cr.csv", "card_id,remark\r{1},a\r{2},b\r")
plain("crlf.csv", "card_id,remark\r\n{1},a\r\n{2},b\r\n")
plain("lfcr.csv", "card_id,remark\n\r{1},a\n\r{2},b\n\r")
plain("crcrlf.csv", "card_id,remark\r\r\n{1},a\r\r\n")
plain("mixed-line-ends.csv", "card_id,remark\r\n{1},a\r{2},b\n{3},c")
plain("line-separator.csv", "card_id,remark\u2028{1},a\n")
plain("form-feed.csv", "card_id,remark\n\f{1},a\n\v{2},b\n")
plain("ctrl-z.csv", "card_id,remark\r\n{1},a\r\n\x1a")

# --- structure -----------------------------------------------------------------
plain("quote-never-closed.csv", 'card_id,remark\n{1},"a\n{2},b\n{3},c\n')
plain("quote-open-at-the-end.csv", 'card_id,remark\n{1},a\n{2},"b')
plain("quote-in-the-middle.csv", 'card_id,remark\n{1},5" disk\n{2},b\n')
plain("text-after-a-quote.csv", 'card_id,remark\n{1},"a"b\n{2},b\n')
plain("quoted-line-break.csv", 'card_id,remark\n{1},"a\nb"\n{2},"c\r\nd"\n')
plain("quoted-everything.csv", '"card_id","remark"\n"{1}","a ""b"""\n')
plain("single-quotes.csv", "'card_id','remark'\n'{1}','a'\n")
plain("quoted-lines.csv", '"card_id,remark"\n"{1},a"\n')
plain("short-rows.csv", "card_id,remark,other\n{1}\n{2},a\n")
plain("long-rows.csv", "card_id,remark\n{1},a,b\n{2},a,,,\n")
plain("blank-end.csv", "card_id,remark,,,\n{1},a,,,\n,,,,\n\n\n  ,,,\n")
plain("blank-lines-between.csv", "\n\ncard_id,remark\n\n{1},a\n\n\n{2},b\n")
plain("title-of-19-rows.csv", "".join("title %d\n" % n for n in range(1, 20)) + "card_id\n{1}\n")
plain("title-of-20-rows.csv", "".join("title %d\n" % n for n in range(1, 21)) + "card_id\n{1}\n")
plain("title-with-an-open-quote.csv", '"Cards of today\ncard_id,remark\n{1},a\n')
plain("header-twice.csv", "card_id,Card ID\n{1},{2}\n")
plain("header-alias-twice.csv", "card_id,remark,Card No.\n{1},a,{2}\n")
plain("header-missing.csv", "{1},a\n{2},b\n")
plain("header-only.csv", "card_id,reference\n")
plain("header-only-no-line-end.csv", "card_id")
plain("header-again-below.csv", "card_id,remark\n{1},a\ncard_id,remark\n{2},b\n")
plain("header-in-capitals.csv", "CARD-ID , ReMaRk\n{1},a\n")
plain("header-aliases.csv", "card no.,CARDHOLDER ID,Reissue Reason,TYPE\n{1},{u1},damaged,\n")
plain("header-of-a-reissue-without-user.csv", "card_id,reason_code\n{1},damaged\n")
plain("header-with-a-line-break.csv", '"card\nid",remark\n{1},a\n')
plain("only-blank-lines.csv", "\n\r\n \n\t\n")
plain("only-delimiters.csv", ",,,\n,,,\n")
plain("one-line.csv", "{1}")
plain("ids-that-excel-spoiled.csv", 'card_id,remark\n2.001E+04,a\n"2,001E+04",b\n{3}.0,c\n9001110000000000,d\n{5},e\n')
plain("ids-that-are-none.csv", "card_id,remark\n-{1},a\n+{2},b\n0x4E21,c\nNULL,d\n#N/A,e\n1 234,f\n{7};x,g\n0,h\n1234567890123456789,i\n,j\n")
plain("ids-with-zeros-in-front.csv", "card_id\n000{1}\n")
plain("ids-as-formulas.csv", 'card_id,remark\n"=""{1}""",a\n={2},b\n\'{3},c\n')
plain("cells-that-are-formulas.csv", "card_id,remark\n{1},=cmd|' /C calc'!A0\n{2},@SUM(1+1)\n{3},-2+3\n")
plain("thousand-columns.csv", "card_id" + "," * 1001 + "x\n{1}" + "," * 1001 + "y\n{2}\n")
plain("a-cell-of-40000-bytes.csv", "card_id,remark\n{1}," + "x" * 40000 + "\n{2},a\n")
plain("a-line-above-a-megabyte.csv", "card_id,remark\n{1},a\n{2}," + "x" * 1100000 + "\n{3},b\n")
plain("conflict-markers.csv", "<<<<<<< HEAD\ncard_id\n{1}\n=======\n{2}\n>>>>>>> theirs\n")
plain("comments.csv", "# card_id of today\ncard_id,remark\n# {1},a\n{2},b\n")
plain("same-row-three-times.csv", "card_id,remark\n{1},a\n{1},a\n{1},a\n")

# --- JSON ------------------------------------------------------------------------
plain("cards.json", '{"cards":[{1},"{2}"]}')
plain("cards-bom.json", '\ufeff{"cards":[{1}]}')
coded("cards-utf16.json", '{"cards":[{1}]}', "utf-16-le", codecs.BOM_UTF16_LE)
coded("cards-latin1.json", '{"cards":[{1}],"from":"Zürich"}', "latin-1")
plain("cards-key-in-capitals.json", '{"CARDS":[{1}]}')
plain("cards-twice.json", '{"cards":[{1}],"cards":[{2}]}')
plain("cards-of-every-type.json", '{"cards":[{1},null,true,[{2}],{"cardId":{3}},"",1.5,{4}.0,1e3,-5,"x"]}')
plain("cards-null.json", '{"cards":null}')
plain("cards-empty.json", '{"cards":[]}')
plain("cards-as-text.json", '{"cards":"{1}"}')
plain("cards-as-object.json", '{"cards":{"0":{1}}}')
plain("cards-and-card.json", '{"cards":[{1}],"cardId":{2}}')
plain("cards-huge-number.json", '{"cards":[1e400,123456789012345678901234567890,{1}]}')
plain("cards-with-garbage-behind.json", '{"cards":[{1}]} oops')
plain("cards-two-bodies.json", '{"cards":[{1}]}\n{"cards":[{2}]}\n')
plain("cards-trailing-comma.json", '{"cards":[{1},]}')
plain("cards-with-comment.json", '{"cards":[{1} /* today */]}')
plain("cards-single-quotes.json", "{'cards':[{1}]}")
plain("cards-cut.json", '{"cards":[{1},2')
plain("cards-nul.json", '{"cards":[{1}]}\0\0\0')
plain("cards-nested-100000-deep.json", '{"cards":[' + "[" * 100000)
plain("cards-nested-in-a-value.json", '{"cards":[{1}],"x":' + "[" * 20000 + "]" * 20000 + "}")
plain("reissue.json", '{"cardId":"{1}","userId":"{u1}","reasonCode":"damaged"}')
plain("reissues.json", '[{"cardId":{1},"userId":"{u1}","reasonCode":3},{"card_id":"{2}","user-id":"{u2}","REASON CODE":"2"}]')
plain("reissue-key-twice.json", '[{"cardId":{1},"cardId":{2},"userId":"{u1}","reasonCode":1},{"cardId":{3},"Card No.":{3},"userId":"{u3}","reasonCode":1}]')
plain("reissue-wrong-types.json", '[{"cardId":{1},"userId":"{u1}","reasonCode":[1]},{"cardId":{"id":{2}},"userId":"{u2}","reasonCode":1},{"cardId":true,"userId":null,"reasonCode":1.0},{4},"x",null]')
plain("reissue-lone-surrogate.json", '[{"cardId":{1},"userId":"{u1}","reasonCode":1,"reference":"\\ud800"}]')
plain("reissue-nul-escaped.json", '[{"cardId":{1},"userId":"{u1}","reasonCode":1,"reference":"a\\u0000b"}]')
plain("json-of-nothing.json", "{}")
plain("json-list-of-nothing.json", "[]")
plain("json-text.json", '"{1}"')
plain("json-lines.json", '{"cardId":{1},"userId":"{u1}","reasonCode":1}\n{"cardId":{2},"userId":"{u2}","reasonCode":1}\n')
plain("json-nan.json", '{"cards":[NaN]}')
plain("html-behind-a-bracket.json", "[<html>]")

# --- what has another name than it should ------------------------------------------
plain("csv-as.json", "card_id,remark\n{1},a\n")
plain("csv-as.xlsx", "card_id,remark\n{1},a\n")
plain("csv-as.txt", "card_id,remark\n{1},a\n")
plain("csv-without-extension", "card_id,remark\n{1},a\n")
plain("CSV-IN-CAPITALS.CSV", "card_id,remark\n{1},a\n")
plain("json-as.csv", '{"cards":[{1}]}')
plain("csv-as.pgp", "card_id,remark\n{1},a\n")
plain("html-as.xls", "<html><body><table><tr><td>card_id</td></tr><tr><td>{1}</td></tr></table></body></html>")
plain("xml-2003-as.xls", '<?xml version="1.0"?><Workbook xmlns="urn:schemas-microsoft-com:office:spreadsheet"></Workbook>')
plain("slk-as.csv", "ID;PWXL;N;E\nC;Y1;X1;K\"card_id\"\nC;Y2;X1;K{1}\nE\n")
plain("mail-as.csv", "From: a@example.org\nSubject: cards\n\ncard_id\n{1}\n")
plain("pgp-armoured-as.csv", "-----BEGIN PGP MESSAGE-----\n\nwcBMA0\n=abcd\n-----END PGP MESSAGE-----\n")


@file("pdf-as.csv")
def _(c):
    return b"%PDF-1.7\n%\xe2\xe3\xcf\xd3\n" + c[1].encode()


@file("picture-as.csv")
def _(c):
    return b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR" + bytes(20)


@file("gzip-as.csv")
def _(c):
    deflate = zlib.compressobj(9, zlib.DEFLATED, 31)
    packed = bytearray(deflate.compress(fill("card_id\n{1}\n", c).encode()) + deflate.flush())
    packed[4:8] = bytes(4)  # no time
    return bytes(packed)


# --- workbooks ------------------------------------------------------------------------
MAIN = "http://schemas.openxmlformats.org/spreadsheetml/2006/main"
DOC = "http://schemas.openxmlformats.org/officeDocument/2006/relationships"
PACKAGE = "http://schemas.openxmlformats.org/package/2006/relationships"
HEAD = '<?xml version="1.0" encoding="UTF-8" standalone="yes"?>\n'


def rows(c, *cells):
    """A sheet of inline strings: one column of cells."""
    return "".join('<row r="%d"><c r="A%d" t="inlineStr"><is><t>%s</t></is></c></row>' % (n, n, fill(cell, c)) for n, cell in enumerate(cells, 1))


def sheet(data, before="", after=""):
    return HEAD + '<worksheet xmlns="%s">%s<sheetData>%s</sheetData>%s</worksheet>' % (MAIN, before, data, after)


def parts(*sheets, names=None, states=None, strings=None, workbook="", styles=None):
    """The parts of a small workbook, in their order; each may be changed or removed before it is packed."""
    names = names or ["Sheet%d" % n for n in range(1, len(sheets) + 1)]
    states = states or [""] * len(sheets)
    entries = "".join('<sheet name="%s" sheetId="%d"%s r:id="rId%d"/>' % (name, n, state, n) for n, (name, state) in enumerate(zip(names, states), 1))
    relations = "".join('<Relationship Id="rId%d" Type="%s/worksheet" Target="worksheets/sheet%d.xml"/>' % (n, DOC, n) for n in range(1, len(sheets) + 1))
    p = {"[Content_Types].xml": HEAD + '<Types xmlns="http://schemas.openxmlformats.org/package/2006/content-types"><Default Extension="xml" ContentType="application/xml"/></Types>',
         "_rels/.rels": HEAD + '<Relationships xmlns="%s"><Relationship Id="rId1" Type="%s/officeDocument" Target="xl/workbook.xml"/></Relationships>' % (PACKAGE, DOC),
         "xl/workbook.xml": HEAD + '<workbook xmlns="%s" xmlns:r="%s">%s<sheets>%s</sheets></workbook>' % (MAIN, DOC, workbook, entries)}
    if strings is not None:
        relations += '<Relationship Id="rId90" Type="%s/sharedStrings" Target="sharedStrings.xml"/>' % DOC
        p["xl/sharedStrings.xml"] = HEAD + '<sst xmlns="%s">%s</sst>' % (MAIN, strings)
    if styles is not None:
        relations += '<Relationship Id="rId91" Type="%s/styles" Target="styles.xml"/>' % DOC
        p["xl/styles.xml"] = HEAD + '<styleSheet xmlns="%s">%s</styleSheet>' % (MAIN, styles)
    p["xl/_rels/workbook.xml.rels"] = HEAD + '<Relationships xmlns="%s">%s</Relationships>' % (PACKAGE, relations)
    for n, text in enumerate(sheets, 1):
        p["xl/worksheets/sheet%d.xml" % n] = text
    return p


def pack(p, method=zipfile.ZIP_DEFLATED):
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", method) as z:
        for name, content in (p.items() if isinstance(p, dict) else p):
            info = zipfile.ZipInfo(name, (2026, 1, 1, 0, 0, 0))
            info.compress_type = method
            z.writestr(info, content)
    return out.getvalue()


def book(name):
    """Registers a workbook: the function changes the parts of a good one with two cards."""
    def keep(change):
        @file(name)
        def _(c):
            p = parts(sheet(rows(c, "card_id", "{1}", "{2}")))
            got = change(p, c)
            return got if isinstance(got, bytes) else pack(p)
    return keep


def cells(name, text, **more):
    """Registers a workbook whose sheet has this XML as its rows."""
    @file(name)
    def _(c):
        return pack(parts(sheet(fill(text, c)), **more))


def numbers(*cells):
    """Rows under a header card_id, each one cell as it is."""
    return rows(None, "card_id") + "".join('<row r="%d">%s</row>' % (n, cell) for n, cell in enumerate(cells, 2))


book("inline-strings.xlsx")(lambda p, c: None)
book("stored-not-packed.xlsx")(lambda p, c: pack(p, zipfile.ZIP_STORED))
book("packed-with-bzip2.xlsx")(lambda p, c: pack(p, zipfile.ZIP_BZIP2))
book("packed-with-lzma.xlsx")(lambda p, c: pack(p, zipfile.ZIP_LZMA))
book("cut-in-half.xlsx")(lambda p, c: pack(p)[:len(pack(p)) // 2])
book("cut-by-a-byte.xlsx")(lambda p, c: pack(p)[:-1])
book("bytes-behind-the-end.xlsx")(lambda p, c: pack(p) + b"\r\n--boundary--\r\n")
book("bytes-before-the-start.xlsx")(lambda p, c: b"\0" * 7 + pack(p))
book("xlsx-as.csv")(lambda p, c: None)
book("parts-with-slash-first.xlsx")(lambda p, c: pack([("/" + n, t) for n, t in p.items()]))
book("parts-with-backslashes.xlsx")(lambda p, c: pack([(n.replace("/", "\\"), t) for n, t in p.items()]))
book("part-that-climbs-out.xlsx")(lambda p, c: p.update({"../../../../tmp/reemboss-evil": "x", "/etc/reemboss-evil": "y"}))
book("part-twice.xlsx")(lambda p, c: pack(list(p.items()) + [("XL/worksheets/Sheet1.xml", sheet(rows(c, "card_id", "{9}")))]))
book("sheet-part-missing.xlsx")(lambda p, c: p.pop("xl/worksheets/sheet1.xml") and None)
book("workbook-part-missing.xlsx")(lambda p, c: p.pop("xl/workbook.xml") and None)
book("relations-missing.xlsx")(lambda p, c: p.pop("xl/_rels/workbook.xml.rels") and None)
book("relations-to-elsewhere.xlsx")(lambda p, c: p.update({"xl/_rels/workbook.xml.rels": p["xl/_rels/workbook.xml.rels"].replace("worksheets/sheet1.xml", "../../../etc/passwd")}))
book("relations-to-the-network.xlsx")(lambda p, c: p.update({"xl/_rels/workbook.xml.rels": p["xl/_rels/workbook.xml.rels"].replace('Target="worksheets/sheet1.xml"', 'Target="http://127.0.0.1:1/x" TargetMode="External"')}))
book("relations-in-a-circle.xlsx")(lambda p, c: p.update({"xl/_rels/workbook.xml.rels": p["xl/_rels/workbook.xml.rels"].replace("worksheets/sheet1.xml", "workbook.xml")}))
book("no-content-types.xlsx")(lambda p, c: p.pop("[Content_Types].xml") and None)
book("no-visible-sheet.xlsx")(lambda p, c: p.update({"xl/workbook.xml": p["xl/workbook.xml"].replace("sheetId", 'state="veryHidden" sheetId')}))
book("xml-cut.xlsx")(lambda p, c: p.update({"xl/worksheets/sheet1.xml": p["xl/worksheets/sheet1.xml"][:-60]}))
book("xml-cut-between-rows.xlsx")(lambda p, c: p.update({"xl/worksheets/sheet1.xml": p["xl/worksheets/sheet1.xml"].split('<row r="3">')[0]}))
book("xml-bare-ampersand.xlsx")(lambda p, c: p.update({"xl/worksheets/sheet1.xml": p["xl/worksheets/sheet1.xml"].replace(c[2], c[2] + " Smith & Sons")}))
book("xml-billion-laughs.xlsx")(lambda p, c: p.update({"xl/worksheets/sheet1.xml": p["xl/worksheets/sheet1.xml"].replace("?>\n", '?>\n<!DOCTYPE x [<!ENTITY a "ha">' + "".join('<!ENTITY %s "%s">' % (chr(98 + n), ("&%s;" % chr(97 + n)) * 10) for n in range(12)) + "]>").replace(c[2], "&m;")}))
book("xml-external-entity.xlsx")(lambda p, c: p.update({"xl/worksheets/sheet1.xml": p["xl/worksheets/sheet1.xml"].replace("?>\n", '?>\n<!DOCTYPE x [<!ENTITY a SYSTEM "file:///etc/passwd">]>').replace(c[2], "&a;")}))
book("xml-in-utf16.xlsx")(lambda p, c: p.update({"xl/worksheets/sheet1.xml": codecs.BOM_UTF16_LE + p["xl/worksheets/sheet1.xml"].replace("UTF-8", "UTF-16").encode("utf-16-le")}))
book("xml-in-latin1.xlsx")(lambda p, c: p.update({"xl/worksheets/sheet1.xml": p["xl/worksheets/sheet1.xml"].replace("UTF-8", "ISO-8859-1").replace(c[2], c[2] + "ü").encode("latin-1")}))
book("xml-nested-deep.xlsx")(lambda p, c: p.update({"xl/worksheets/sheet1.xml": p["xl/worksheets/sheet1.xml"].replace("</worksheet>", "<a>" * 200000 + "</a>" * 200000 + "</worksheet>")}))
book("xml-other-namespace.xlsx")(lambda p, c: p.update({"xl/worksheets/sheet1.xml": p["xl/worksheets/sheet1.xml"].replace(MAIN, "http://example.org/none")}))
book("xml-strict-namespace.xlsx")(lambda p, c: [p.update({n: t.replace(MAIN, "http://purl.oclc.org/ooxml/spreadsheetml/main").replace(DOC, "http://purl.oclc.org/ooxml/officeDocument/relationships")}) for n, t in p.items()] and None)
book("bomb-that-says-so.xlsx")(lambda p, c: p.update({"xl/media/image1.png": bytes(48 << 20)}))
book("bomb-of-a-sheet.xlsx")(lambda p, c: p.update({"xl/worksheets/sheet1.xml": p["xl/worksheets/sheet1.xml"].replace("<sheetData>", "<sheetData>" + " " * (48 << 20))}))
book("two-thousand-parts.xlsx")(lambda p, c: p.update({"xl/%05d" % n: "" for n in range(2000)}))
book("binary-workbook.xlsb")(lambda p, c: p.update({"_rels/.rels": p["_rels/.rels"].replace("workbook.xml", "workbook.bin"), "xl/workbook.bin": b"\x83\x01\0"}) or p.pop("xl/workbook.xml") and None)
book("word-document.docx")(lambda p, c: p.update({"_rels/.rels": p["_rels/.rels"].replace("xl/workbook.xml", "word/document.xml"), "word/document.xml": "<w/>"}))
book("zip-of-a-csv.xlsx")(lambda p, c: pack({"cards.csv": "card_id\n%s\n" % c[1]}))
book("empty-archive.xlsx")(lambda p, c: pack({}))
book("workbook-in-an-archive.xlsx")(lambda p, c: pack({"cards.xlsx": pack(p)}))
book("macros.xlsm")(lambda p, c: p.update({"xl/vbaProject.bin": b"\0" * 64}))
book("two-sheets-of-one-name.xlsx")(lambda p, c: pack(parts(p["xl/worksheets/sheet1.xml"], sheet(rows(c, "card_id", "{3}")), names=["Cards", "Cards"])))
book("wrong-dimension.xlsx")(lambda p, c: p.update({"xl/worksheets/sheet1.xml": p["xl/worksheets/sheet1.xml"].replace("<sheetData>", '<dimension ref="A1"/><sheetData>')}))
book("merged-cells.xlsx")(lambda p, c: p.update({"xl/worksheets/sheet1.xml": p["xl/worksheets/sheet1.xml"].replace("</sheetData>", '</sheetData><mergeCells count="1"><mergeCell ref="A2:A3"/></mergeCells>')}))


@book("wrong-checksum.xlsx")
def _(p, c):
    packed = bytearray(pack(p))
    at = packed.index(b"xl/worksheets/sheet1.xml") - 16  # CRC-32 in the local header
    packed[at] ^= 0xff
    at = packed.rindex(b"xl/worksheets/sheet1.xml") - 30  # and in the directory
    packed[at] ^= 0xff
    return bytes(packed)


@book("bomb-that-lies.xlsx")
def _(p, c):
    name, size = b"xl/worksheets/sheet1.xml", 48 << 20
    p["xl/worksheets/sheet1.xml"] = p["xl/worksheets/sheet1.xml"].replace("<sheetData>", "<sheetData>" + " " * size)
    true = len(p["xl/worksheets/sheet1.xml"])
    packed = pack(p)
    assert packed.count(struct.pack("<I", true)) == 2
    return packed.replace(struct.pack("<I", true), struct.pack("<I", 500))


@book("bomb-of-strings.xlsx")
def _(p, c):
    return pack(parts(sheet('<row r="1"><c r="A1" t="s"><v>0</v></c></row>'), strings="<si><t>%s</t></si>" % ("x" * (20 << 20))))


@book("locked-archive.xlsx")
def _(p, c):
    packed = bytearray(pack(p))
    at = -1
    while (at := packed.find(b"PK\x03\x04", at + 1)) >= 0:
        packed[at + 6] |= 1
    at = -1
    while (at := packed.find(b"PK\x01\x02", at + 1)) >= 0:
        packed[at + 8] |= 1
    return bytes(packed)


@book("two-kinds-on-two-sheets.xlsx")
def _(p, c):
    header = "".join('<c r="%s1" t="inlineStr"><is><t>%s</t></is></c>' % x for x in zip("ABC", ("card_id", "user_id", "reason_code")))
    row = "".join('<c r="%s2" t="inlineStr"><is><t>%s</t></is></c>' % x for x in zip("ABC", (c[3], c.user(3), "damaged")))
    return pack(parts(p["xl/worksheets/sheet1.xml"], sheet('<row r="1">%s</row><row r="2">%s</row>' % (header, row))))


@book("hidden-sheet.xlsx")
def _(p, c):
    return pack(parts(p["xl/worksheets/sheet1.xml"], sheet(rows(c, "card_id", "{3}")), states=["", ' state="hidden"']))


@book("shared-strings.xlsx")
def _(p, c):
    strings = "<si><t>card_id</t></si><si><r><t>%s</t></r><r><t>%s</t></r></si>" % (c[1][:2], c[1][2:])
    return pack(parts(sheet('<row r="1"><c r="A1" t="s"><v>0</v></c></row><row r="2"><c r="A2" t="s"><v>1</v></c></row>'), strings=strings))


@book("shared-strings-missing.xlsx")
def _(p, c):
    p = parts(sheet('<row r="1"><c r="A1" t="s"><v>0</v></c></row>'), strings="<si><t>card_id</t></si>")
    del p["xl/sharedStrings.xml"]
    return pack(p)


@book("shared-string-that-is-not-there.xlsx")
def _(p, c):
    return pack(parts(sheet('<row r="1"><c r="A1" t="s"><v>0</v></c></row><row r="2"><c r="A2" t="s"><v>7</v></c></row>'), strings="<si><t>card_id</t></si>"))


DATES = '<cellXfs count="2"><xf numFmtId="0"/><xf numFmtId="14"/></cellXfs>'
cells("formulas.xlsx", numbers('<c r="A2"><f>A9</f></c>', '<c r="A3"><f>A9</f><v>{2}</v></c>', '<c r="A4" t="str"><f>A9</f><v>{3}</v></c>', '<c r="A5" t="e"><f>A9</f><v>#REF!</v></c>'))
cells("errors.xlsx", numbers('<c r="A2" t="e"><v>#REF!</v></c>', '<c r="A3" t="inlineStr"><is><t>#N/A</t></is></c>', '<c r="A4"><v>{3}</v></c>'))
cells("numbers.xlsx", numbers('<c r="A2"><v>9001110000000010</v></c>', '<c r="A3"><v>2.001E+4</v></c>', '<c r="A4"><v>{3}.0</v></c>', '<c r="A5"><v>{4}.5</v></c>', '<c r="A6"><v>{5}</v></c>', '<c r="A7"><v>-{6}</v></c>', '<c r="A8"><v></v></c>'))
cells("dates.xlsx", numbers('<c r="A2" s="1"><v>46000</v></c>', '<c r="A3" t="d"><v>2026-03-01</v></c>', '<c r="A4"><v>{3}</v></c>'), styles=DATES)
cells("truths.xlsx", numbers('<c r="A2" t="b"><v>1</v></c>', '<c r="A3"><v>{2}</v></c>'))
cells("number-that-is-none.xlsx", numbers('<c r="A2"><v>abc</v></c>', '<c r="A3"><v>{2}</v></c>'))
cells("escaped-characters.xlsx", numbers('<c r="A2" t="inlineStr"><is><t>{1}_x0020_</t></is></c>', '<c r="A3" t="inlineStr"><is><t>{2}_x0000_</t></is></c>'))
cells("unknown-type.xlsx", numbers('<c r="A2" t="z"><v>1</v></c>'))
cells("rows-with-gaps.xlsx", rows(None, "card_id") + '<row r="5"><c r="A5"><v>{1}</v></c></row><row r="1048576"><c r="A1048576"><v>{2}</v></c></row>')
cells("rows-out-of-order.xlsx", rows(None, "card_id") + '<row r="3"><c r="A3"><v>{1}</v></c></row><row r="2"><c r="A2"><v>{2}</v></c></row>')
cells("rows-twice.xlsx", rows(None, "card_id") + '<row r="2"><c r="A2"><v>{1}</v></c></row><row r="2"><c r="A2"><v>{2}</v></c></row>')
cells("row-beyond-the-last.xlsx", rows(None, "card_id") + '<row r="1048577"><c r="A1048577"><v>{1}</v></c></row>')
cells("row-of-a-huge-number.xlsx", rows(None, "card_id") + '<row r="99999999999999999999"><c><v>{1}</v></c></row>')
cells("rows-without-numbers.xlsx", '<row><c t="inlineStr"><is><t>card_id</t></is></c></row><row><c><v>{1}</v></c></row>')
cells("cells-out-of-order.xlsx", rows(None, "card_id") + '<row r="2"><c r="B2"><v>1</v></c><c r="A2"><v>{1}</v></c></row>')
cells("cell-of-another-row.xlsx", rows(None, "card_id") + '<row r="2"><c r="A7"><v>{1}</v></c></row>')
cells("last-column-of-all.xlsx", rows(None, "card_id") + '<row r="2"><c r="A2"><v>{1}</v></c><c r="XFD2"><v>1</v></c></row><row r="3"><c r="A3"><v>{2}</v></c></row>')
cells("column-beyond-the-last.xlsx", rows(None, "card_id") + '<row r="2"><c r="A2"><v>{1}</v></c><c r="XFE2"><v>1</v></c></row>')
cells("blank-rows-with-styles.xlsx", rows(None, "card_id") + '<row r="2"><c r="A2"><v>{1}</v></c></row>' + "".join('<row r="%d"><c r="A%d" s="1"/></row>' % (n, n) for n in range(3, 20000)), styles=DATES)
cells("header-in-row-20.xlsx", '<row r="20"><c r="A20" t="inlineStr"><is><t>card_id</t></is></c></row><row r="21"><c r="A21"><v>{1}</v></c></row>')
cells("header-in-row-21.xlsx", '<row r="21"><c r="A21" t="inlineStr"><is><t>card_id</t></is></c></row><row r="22"><c r="A22"><v>{1}</v></c></row>')
cells("phonetic.xlsx", numbers('<c r="A2" t="inlineStr"><is><t>{1}</t><rPh sb="0" eb="1"><t>9</t></rPh></is></c>'))
cells("a-cell-of-40000-bytes.xlsx", rows(None, "card_id") + '<row r="2"><c r="A2"><v>{1}</v></c><c r="B2" t="inlineStr"><is><t>' + "x" * 40000 + '</t></is></c></row><row r="3"><c r="A3"><v>{2}</v></c></row>')


# --- other producers --------------------------------------------------------------------
def libreoffice(name, to, text):
    """Saves a CSV with LibreOffice in another format."""
    @file(name)
    def _(c):
        with tempfile.TemporaryDirectory() as folder:
            source = os.path.join(folder, "cards.csv")
            with open(source, "w", encoding="utf-8") as f:
                f.write(fill(text, c))
            subprocess.run(["soffice", "-env:UserInstallation=file://" + folder + "/profile", "--headless", "--convert-to", to,
                            "--outdir", folder, source], check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
            with open(os.path.join(folder, "cards." + to.split(":")[0]), "rb") as f:
                return f.read()


libreoffice("libreoffice.xlsx", "xlsx", "card_id,remark\n{1},a\n9001110000000010,spoiled\n{3},\"b, c\"\n")
libreoffice("libreoffice.xls", "xls", "card_id,remark\n{1},a\n")
libreoffice("libreoffice-xls-as.xlsx", "xls", "card_id,remark\n{1},a\n")
libreoffice("libreoffice.ods", "ods", "card_id,remark\n{1},a\n")
libreoffice("libreoffice-ods-as.xlsx", "ods", "card_id,remark\n{1},a\n")
libreoffice("libreoffice.fods", "fods", "card_id,remark\n{1},a\n")


@file("openpyxl.xlsx")
def _(c):
    import datetime
    import openpyxl
    book = openpyxl.Workbook()
    sheet = book.active
    sheet.append(["Cards of today"])
    sheet.append(["Card ID", "Reference", "Asked on"])
    sheet.append([int(c[1]), "OP-1", datetime.date(2026, 2, 28)])
    sheet.append([c[2], "OP-2", None])
    sheet.append(["=A3+1", "OP-3", None])
    sheet.append([20001.0, "OP-4", None])
    book.properties.created = book.properties.modified = datetime.datetime(2026, 1, 1)
    out = io.BytesIO()
    book.save(out)
    with zipfile.ZipFile(out) as z:
        return pack([(i.filename, z.read(i)) for i in z.infolist()])


def main(names):
    for name, (make, ids) in files.items():
        if names and name not in names:
            continue
        content = make(ids)
        with open(os.path.join(HERE, "requests", name), "wb") as f:
            f.write(content.encode() if isinstance(content, str) else content)
    print(len(files), "files")


os.makedirs(os.path.join(HERE, "requests"), exist_ok=True)
main(sys.argv[1:])
