"""Mutations that know the structure that they damage.

Tags, lengths and value kinds of DICOM, items and markers of codestreams, chunks of a
PNG with their checksum made right again, members of a zip, cells of a table.
"""

import functools
import io
import json
import re
import struct
import zipfile
import zlib
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from pydicom.datadict import tag_for_keyword

from data.cxr_registry.dicom import headers

CANARY = "CANARY"  # stands where patients' names and numbers stand: never in a message
_NUMBERS = (
    0, 1, 2, 7, 8, 15, 16, 17, 31, 32, 64, 127, 128, 255, 256, 0x7FFF, 0x8000, 0xFFFE,
    0xFFFF, 0x10000, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFE, 0xFFFFFFFF,
)  # fmt: skip
_TEXTS = (
    "", "nan", "inf", "-inf", "1e308", "-1e308", "1e-308", "0", "-0", "-1", "1e999",
    "99999999999999999999", "0x10", "1_0", "\uff11\uff12", "1\\2\\3\\4", "\\", "\\\\1",
    "\0", "YES", "MONOCHROME1", "RGB", "YBR_FULL_422", "PALETTE COLOR", "R\\F", "H\\L",
    CANARY, f"{CANARY}\\{CANARY}", "1\\" * 5000, "9" * 5000, "2020-02-30", "../../x",
    '"', "'", ";", ",", "\n", "=1+1", "\ud800", "\u202e", "True", "[]", "{}", "C:\\x",
)  # fmt: skip
_VRS = (b"AE", b"AS", b"AT", b"CS", b"DA", b"DS", b"DT", b"FL", b"FD", b"IS", b"LO",
        b"LT", b"OB", b"OD", b"OF", b"OL", b"OV", b"OW", b"PN", b"SH", b"SL", b"SQ",
        b"SS", b"ST", b"SV", b"TM", b"UC", b"UI", b"UL", b"UN", b"UR", b"US", b"UT",
        b"UV", b"\0\0", b"zz")  # fmt: skip
_NAMES = (*headers.WHITELIST, "PatientName", "PatientID")
_TAGS = (
    *(
        struct.pack("<HH", tag >> 16, tag & 0xFFFF)
        for tag in map(tag_for_keyword, _NAMES)
        if tag is not None
    ),
    b"\xfe\xff\x00\xe0",
    b"\xfe\xff\x0d\xe0",
    b"\xfe\xff\xdd\xe0",
    b"\x02\x00\x10\x00",
)

STUDIES = [
    ["image", "patient_id", "study_date", "rib", "diagnosis_codes", "view", "sex",
     "age", "split"],
    ["a.dcm", "00123", "2020-01-02", "1", "807.01;S22.31XA", "PA", "F", "37", "train"],
    ["b.dcm", "00124", "20200103", "0", "", "AP", "M", "091Y", "test"],
]  # fmt: skip
REGIONS = [
    ["image", "site", "x0", "y0", "x1", "y1", "x", "y", "radius"],
    ["a.dcm", "rib", 8, 12, 20.5, 24, "", "", ""],
    ["a.dcm", "rib", "", "", "", "", 11, 13, 4],
]


def members(data: bytes) -> dict[str, bytes]:
    with zipfile.ZipFile(io.BytesIO(data)) as book:
        return {name: book.read(name) for name in book.namelist()}


def zipped(parts: Mapping[str, bytes]) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as book:
        for name, body in parts.items():  # of 1980, whatever the day is
            book.writestr(zipfile.ZipInfo(name), body, zipfile.ZIP_DEFLATED)
    return out.getvalue()


Mutation = Callable[[bytes, np.random.Generator], bytes]


def pick(rng: np.random.Generator, options: Any) -> Any:
    return options[int(rng.integers(len(options)))]


def _at(rng: np.random.Generator, data: bytes) -> int:
    """A place; mostly near the beginning, where structure is."""
    end = len(data) if rng.random() < 0.5 else min(len(data), 1200)
    return int(rng.integers(max(1, end)))


def _replace(data: bytes, at: int, new: bytes) -> bytes:
    return data[:at] + new + data[at + len(new) :]


def _flip(data: bytes, rng: np.random.Generator) -> bytes:
    out = bytearray(data)
    for _ in range(int(rng.choice([1, 1, 4, 32]))):
        if out:
            out[_at(rng, data)] ^= 1 << int(rng.integers(8))
    return bytes(out)


def _cut(data: bytes, rng: np.random.Generator) -> bytes:
    return data[: _at(rng, data)]


def _repeat(data: bytes, rng: np.random.Generator) -> bytes:
    at, size = _at(rng, data), int(rng.integers(1, 300))
    return data[: at + size] * int(rng.choice([1, 1, 1, 40])) + data[at:]


def _drop(data: bytes, rng: np.random.Generator) -> bytes:
    at = _at(rng, data)
    return data[:at] + data[at + int(rng.integers(1, 300)) :]


def _number(data: bytes, rng: np.random.Generator) -> bytes:
    layout = pick(rng, ("<H", ">H", "<I", ">I", "B"))
    value = pick(rng, _NUMBERS) & ((1 << 8 * struct.calcsize(layout)) - 1)
    return _replace(data, _at(rng, data), struct.pack(layout, value))


def _insert(data: bytes, rng: np.random.Generator) -> bytes:
    at = _at(rng, data)
    new = rng.bytes(int(rng.integers(1, 64)))
    if rng.random() < 0.5:
        new = pick(rng, _TEXTS).encode("utf-8", "surrogatepass")
    return data[:at] + new + data[at:]


ANY: tuple[Mutation, ...] = (_flip, _cut, _repeat, _drop, _number, _insert)


def kinds(name: str, data: bytes) -> tuple[Mutation, ...]:
    """The mutations that know the seed's structure, weighted by repetition."""
    if name.startswith("png"):
        return (_png,) * 8
    if name.startswith("jpg"):
        return (_marker,) * 6
    if name.endswith(".csv"):
        return (_csv,) * 12
    if name.endswith(".json"):
        return (_json,) * 8
    if name.endswith(".xlsx"):
        return (_xlsx,) * 12
    if name.endswith(".parquet"):
        return (_footer, _footer, _parquet, _parquet, _parquet)
    encapsulated = b"\xfe\xff\x00\xe0" in data
    return (_element,) * 8 + (_marker, _marker, _marker, _item) * encapsulated


def _element(data: bytes, rng: np.random.Generator) -> bytes:
    """Damages one element: its tag, its value kind, its length or its value."""
    tag = pick(rng, _TAGS)
    at = data.find(tag, 0 if tag[:2] == b"\x02\x00" else 132)
    if at < 0:  # it isn't there: put it somewhere, where elements begin
        at = data.find(pick(rng, _TAGS), 132)
        text = pick(rng, _TEXTS).encode("latin-1", "replace")[:60000]
        new = tag + pick(rng, _VRS) + struct.pack("<H", len(text)) + text
        return data[:at] + new + data[at:] if at > 0 else data
    long = data[at + 4 : at + 6] in (b"OB", b"OW", b"SQ", b"UN", b"UT", b"OF")
    place, layout = (at + 8, "<I") if long else (at + 6, "<H")
    kind = int(rng.integers(5))
    if kind == 0:
        return _replace(data, at, pick(rng, _TAGS))
    if kind == 1:
        return _replace(data, at + 4, pick(rng, _VRS))
    if kind == 2:
        value = pick(rng, _NUMBERS) & ((1 << 8 * struct.calcsize(layout)) - 1)
        return _replace(data, place, struct.pack(layout, value))
    start = place + struct.calcsize(layout)
    if kind == 3:
        return _replace(data, start, struct.pack("<H", pick(rng, _NUMBERS) & 0xFFFF))
    if len(data) < start:
        return data
    (size,) = struct.unpack_from(layout, data, place)
    text = pick(rng, _TEXTS).encode("latin-1", "replace")[: 60000 if long else 65534]
    text += b" " * (len(text) % 2)
    head = data[:place] + struct.pack(layout, len(text))
    return head + text + data[start + min(size, len(data)) :]


def _item(data: bytes, rng: np.random.Generator) -> bytes:
    """Damages an item of encapsulated pixels: its length, its order, its number."""
    places = [m.start() for m in re.finditer(rb"\xfe\xff[\x00\x0d\xdd]\xe0", data)]
    if not places:
        return data
    at, other = pick(rng, places), pick(rng, places)
    if rng.random() < 0.5:
        return _replace(data, at + 4, struct.pack("<I", pick(rng, _NUMBERS)))
    return data[:at] + data[min(at, other) : max(at, other)] * 2 + data[at:]


def _marker(data: bytes, rng: np.random.Generator) -> bytes:
    """Damages a marker of a JPEG, JPEG-LS or JPEG 2000 stream, or what follows it."""
    start = max(0, data.find(b"\xe0\x7f\x10\x00"))
    found = [m.start() for m in re.finditer(rb"\xff[\x4f-\x64\x90-\xfe]", data[start:])]
    if not found:
        return data
    at = start + pick(rng, found)
    kind = int(rng.integers(4))
    if kind == 0:
        return _replace(data, at + 1, bytes([pick(rng, (*range(0xC0, 0x100), 0x51))]))
    if kind == 1:
        value = pick(rng, _NUMBERS) & 0xFFFF
        return _replace(data, at + 2, struct.pack(">H", value))
    if kind == 2:
        place = at + 4 + int(rng.integers(40))
        layout = pick(rng, ("B", ">H", ">I"))
        value = pick(rng, _NUMBERS) & ((1 << 8 * struct.calcsize(layout)) - 1)
        return _replace(data, place, struct.pack(layout, value))
    return data[:at] + data[at : at + int(rng.integers(2, 80))] + data[at:]


def _png(data: bytes, rng: np.random.Generator) -> bytes:
    """Damages a chunk and makes its checksum right again."""
    chunks, at = [], 8
    while at + 12 <= len(data):
        (size,) = struct.unpack_from(">I", data, at)
        chunks.append([data[at + 4 : at + 8], data[at + 8 : at + 8 + size]])
        at += 12 + size
    if not chunks:
        return data
    chunk = pick(rng, chunks)
    kind = int(rng.integers(5))
    if kind == 0:
        values = [pick(rng, _NUMBERS) for _ in range(2)]
        tail = bytes(pick(rng, (0, 1, 2, 3, 4, 6, 8, 16)) for _ in range(5))
        chunks[0] = [b"IHDR", struct.pack(">II", *values) + tail]
    elif kind == 1:
        chunk[1] = pick(rng, ANY)(chunk[1], rng)
    elif kind == 2:
        chunk[0] = pick(
            rng, b"IDAT PLTE tRNS iCCP zTXt acTL fcTL fdAT IEND eXIf gAMA".split()
        )
    elif kind == 3:
        chunks.insert(int(rng.integers(len(chunks))), list(chunk))
    else:  # a bomb: text of 16 MB in 16 KB, or as many pixels
        bomb = zlib.compress(b"\0" * (16 << 20))
        name, head = pick(
            rng, ((b"IDAT", b""), (b"zTXt", b"a\0\0"), (b"iCCP", b"a\0\0"))
        )
        chunks.insert(int(rng.integers(1, len(chunks) + 1)), [name, head + bomb])
    out = data[:8]
    for name, body in chunks:
        out += struct.pack(">I", len(body)) + name + body
        out += struct.pack(">I", zlib.crc32(name + body))
    return out


def _csv(data: bytes, rng: np.random.Generator) -> bytes:
    """Damages a cell, the quotes, the encoding or the shape of a table."""
    kind = int(rng.integers(6))
    text = data.decode("utf-8", "replace")
    if kind == 0:
        codec = pick(rng, ("utf-16", "utf-32", "latin-1", "utf-8-sig", "cp037"))
        return text.encode(codec, "replace")
    if kind == 1:
        return data.replace(b"\r\n", pick(rng, (b"\r", b"\n\n", b"\0", b"\x85", b"\n")))
    if kind == 2:
        return data + pick(
            rng, (b'"', b"x" * 200_000, b"," * 3000, b"\xff", b"\n" * 9999)
        )
    lines = [line.split(",") for line in text.split("\r\n")]
    line = pick(rng, lines)
    if kind == 3:
        lines += [line] * int(rng.choice([1, 1, 500]))
    else:
        cell = pick(rng, _TEXTS)
        if rng.random() < 0.3:
            cell = '"' + cell.replace('"', '""') + '"'
        line[int(rng.integers(len(line)))] = cell
    joined = "\r\n".join(",".join(line) for line in lines)
    return joined.encode("utf-8", "surrogatepass")


def _json(data: bytes, rng: np.random.Generator) -> bytes:
    """Replaces a value of a COCO file by an extreme one, or nests it deeply."""
    text = data.decode("utf-8", "replace")
    found = list(re.finditer(r'"\w+"|"[^"]*"|[\d.]+|\[|\{', text))
    if not found:
        return data
    at = pick(rng, found)
    value = pick(rng, (
        "NaN", "Infinity", "-1", "1e999", "9" * 400, "9" * 9000, "null", "true", "[]",
        "{}", "[" * 9000 + "]" * 9000, '{"a":' * 9000 + "1" + "}" * 9000, '"\\ud800"',
        '"\\u0000"', "[1]", json.dumps(pick(rng, _TEXTS)), "0.1", "-0", '"a.dcm"',
        json.dumps("x/" * 3000), json.dumps("x" * 300),
    ))  # fmt: skip
    return (text[: at.start()] + value + text[at.end() :]).encode("utf-8", "replace")


def _xlsx(data: bytes, rng: np.random.Generator) -> bytes:
    """Damages a member of the zip; the checksums are right again, or it is a bomb."""
    try:
        parts = members(data)
    except Exception:  # an earlier mutation broke the zip: the bytes are left to others
        return pick(rng, ANY)(data, rng)
    name = pick(rng, sorted(parts))
    if rng.random() < 0.5:
        name = "xl/worksheets/sheet1.xml" if rng.random() < 0.7 else "xl/workbook.xml"
    body = parts.get(name, b"")
    kind = int(rng.integers(6))
    if kind == 0:
        parts.pop(name, None)
    elif kind == 1:
        parts[name] = pick(rng, ANY)(body, rng)
    elif kind == 2:
        bomb = b" " * (int(rng.choice([1, 1, 1, 1, 1, 40])) << 20)
        parts[pick(rng, (name, "xl/sharedStrings.xml"))] = body + bomb
    elif kind == 3:
        lol = "".join(f'<!ENTITY l{i} "{f"&l{i - 1};" * 10}">' for i in range(1, 9))
        dtd = f'<!DOCTYPE x [<!ENTITY l0 "lol">{lol}]>'.encode()
        parts[name] = body.replace(b"<worksheet", dtd + b"<worksheet", 1).replace(
            b"<v>", b"<v>&l8;", 1
        )
    else:
        old, new = pick(rng, (
            (rb'r="[A-Z]+\d+"', b'r="XFD1048576"'), (rb'r="[A-Z]+\d+"', b'r="ZZZZZ1"'),
            (rb'<row r="\d+"', b'<row r="999999999"'),
            (rb'<row r="\d+"', b'<row r="-1"'), (rb"<dimension[^>]*>", b""),
            (rb'<row r="\d+"', b'<row r="1048576"'),
            (rb'ref="[A-Z0-9:]+"', b'ref="A1:XFD1048576"'), (rb't="\w+"', b't="s"'),
            (rb't="\w+"', b't="d"'), (rb't="\w+"', b't="e"'), (rb't="\w+"', b't="b"'),
            (rb"<v>[^<]*</v>", b"<v>1e999</v>"), (rb"<v>[^<]*</v>", b"<v>99999999</v>"),
            (rb"<v>[^<]*</v>", b"<v></v>"), (rb"<v>[^<]*</v>", b"<v>-1</v>"),
            (rb"<v>[^<]*</v>", b"<v>" + b"9" * 5000 + b"</v>"),
            (rb"<sheet [^>]*>", b""), (rb's="\d+"', b's="99"'),
            (rb"sheet1", b"../sheet1"), (rb"<font>", b"<font><strike/>"),
            (rb"</si>", b"<strike/>"), (rb"<cellXfs", b"<fonts"),
        ))  # fmt: skip
        parts[name] = re.sub(old, new.replace(b"\\", b"\\\\"), body, count=1)
    return zipped(parts)


def _footer(data: bytes, rng: np.random.Generator) -> bytes:
    """Damages a Parquet file's metadata: at its end, its length in front of PAR1."""
    size = min(len(data), 8 + int.from_bytes(data[-8:-4], "little"))
    cut = len(data) - size
    return data[:cut] + pick(rng, (_flip, _number, _drop))(data[cut:], rng)


def _parquet(data: bytes, rng: np.random.Generator) -> bytes:
    """Another well-formed Parquet table of odd types, values or claims."""
    import pyarrow as pa
    from pyarrow import parquet

    names = list((STUDIES if b"patient_id" in data else REGIONS)[0])
    columns: list[Any] = [pa.array(["a.dcm", "b.dcm"]) for _ in names]
    for _ in range(int(rng.integers(1, 4))):
        columns[int(rng.integers(len(names)))] = pick(rng, (
            pa.array([1, None]), pa.array([float("nan"), float("inf")]),
            pa.array([2**63 - 1, -(2**63)]), pa.array([b"\xff\0", None], pa.binary()),
            pa.array([[1], None]), pa.array([{"a": 1}, None]), pa.nulls(2),
            pa.array([2**62, -(2**62)], pa.timestamp("us")),
            pa.array([2**62, 1], pa.timestamp("ns", "UTC")),
            pa.array([2**31 - 1, -(2**31)], pa.date32()),
            pa.array([2**62, 0], pa.duration("s")), pa.array([True, False]),
            pa.array(["1", CANARY]).dictionary_encode(), pa.array([1e308, -0.0]),
            pa.array([2**61, 5], pa.time64("ns")), pa.array(["x" * 100_000, "\0"]),
            pa.array([None, 10**30], pa.decimal128(38, 0)),
        ))  # fmt: skip
    if rng.random() < 0.2:
        names[int(rng.integers(len(names)))] = pick(rng, ("", "rib", "\0", "x" * 5000))
    if rng.random() < 0.02:
        return _parquet_bomb(len(names))
    rows = pa.table(columns, names=names)
    out = io.BytesIO()
    parquet.write_table(rows, out, compression="zstd")
    return out.getvalue()


@functools.cache
def _parquet_bomb(columns: int) -> bytes:
    """Some KB that stand for millions of equal rows."""
    import pyarrow as pa
    from pyarrow import parquet

    names = list(STUDIES[0])[:columns]
    rows = pa.table([pa.repeat("a.dcm", 2_500_000) for _ in names], names=names)
    out = io.BytesIO()
    parquet.write_table(rows, out, compression="zstd")
    return out.getvalue()
