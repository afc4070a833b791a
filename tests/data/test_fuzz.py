"""Damaged files are refused in one line, and the pool outlives what ends a process.

A short run of benchmarks/fuzz.py, and the corpus of what long ones found; see
docs/robustness.md.
"""

import io
import os
import re
import struct
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path

import openpyxl
import pyarrow
import pydicom
import pytest
from pyarrow import parquet

from benchmarks import fuzz, fuzz_inputs
from data.cxr_registry.dicom import codestream, headers, reader
from data.cxr_registry.guard import pool
from data.cxr_registry.tables import formats, limits
from tests.support.registry_files import WINDOW, dataset, film, write

CORPUS = Path(__file__).parent / "corpus"


@pytest.mark.parametrize(("target", "inputs"), [("dicom", 500), ("tables", 80)])
def test_no_input_crashes_hangs_swells_or_leaks(target, inputs):
    summary = fuzz.run(target, inputs, seed=7)
    assert not summary.findings
    kinds = {kind for kind, _ in summary.counts}
    assert kinds == {"accepted", "refused"}, "the damage is too small or too great"


def test_an_input_is_a_function_of_its_number():
    for target in ("dicom", "tables"):
        first = [fuzz_inputs.make(target, 0, number) for number in (5, 6)]
        assert first == [fuzz_inputs.make(target, 0, number) for number in (5, 6)]
        assert first[0] != first[1]


@pytest.mark.parametrize(
    ("raised", "kind"),
    [
        (KeyError("x"), "error"),
        (reader.UnreadableRadiograph("a\nb"), "error"),
        (reader.UnreadableRadiograph(f"of {fuzz_inputs.CANARY}"), "leak"),
        (reader.UnreadableRadiograph("is damaged"), "refused"),
    ],
)
def test_the_judge_tells_a_refusal_from_a_finding(monkeypatch, tmp_path, raised, kind):
    def read(path):
        raise raised

    monkeypatch.setattr(fuzz, "read_image", read)
    assert fuzz.judge("dicom", tmp_path / "image")[0] == kind


def raw(**fields) -> bytes:
    ds = dataset(film(0), **(WINDOW | fields))
    out = io.BytesIO()
    ds.save_as(out, enforce_file_format=True)
    return out.getvalue()


def swapped(old: bytes, new: bytes, data: bytes | None = None) -> bytes:
    data = raw() if data is None else data
    assert data.count(old) == 1
    return data.replace(old, new)


def encapsulated(stream: bytes, syntax: str, *, bits: int = 12, **fields) -> bytes:
    ds = dataset(film(0, shape=(40, 48)), bits=bits, **fields)
    ds.PixelData = pydicom.encaps.encapsulate([stream])
    ds["PixelData"].VR, ds.file_meta.TransferSyntaxUID = "OB", syntax
    out = io.BytesIO()
    ds.save_as(out, enforce_file_format=True)
    return out.getvalue()


def jpeg_2000(rows: int, columns: int, samples: int = 1) -> bytes:
    head = struct.pack(">HHIIIIIIII", 41, 0, columns, rows, 0, 0, columns, rows, 0, 0)
    return codestream.JPEG_2000 + head + struct.pack(">H", samples) + b"\x0b\1\1" * 9


def jp2_box(name: bytes, body: bytes) -> bytes:
    return struct.pack(">I", 8 + len(body)) + name + body


def png(rows: int, columns: int, body: bytes) -> bytes:
    """A PNG of a claimed size, all checksums right."""
    out = codestream.PNG
    head = struct.pack(">IIBBBBB", columns, rows, 8, 0, 0, 0, 0)
    for name, data in ((b"IHDR", head), (b"IDAT", body), (b"IEND", b"")):
        out += struct.pack(">I", len(data)) + name + data
        out += struct.pack(">I", zlib.crc32(name + data))
    return out


def rle() -> bytes:
    """Two segments whose last run ends behind the frame's last pixel."""
    body = b"\x81\x00" * 16  # 2,048 bytes for 40 x 48 pixels
    return struct.pack("<16I", 2, 64, 64 + len(body), *[0] * 13) + body * 2


BOX = codestream.JP2_BOX + b"\r\n\x87\n"
IMAGES: dict[str, Callable[[], bytes]] = {
    "rows that are a list": lambda: swapped(b"(\0\x10\0US\2\0", b"(\0\x10\0SQ\2\0"),
    "a number of frames that is text": lambda: swapped(
        b"IS\2\x001 ", b"IS\2\x00x(", raw(NumberOfFrames=1)
    ),
    "a window that is not a number": lambda: swapped(
        b"2047.0", b"   nan", raw(WindowCenter=2047.0)
    ),
    "a slope that is text": lambda: swapped(
        b"DS\4\x001.25", b"DS\4\x00many", raw(RescaleSlope="1.25")
    ),
    "a spacing of 40,000 values": lambda: raw().replace(
        b"\xe0\x7f\x10\0OW",
        b"\x28\0\x30\0UT\0\0"
        + struct.pack("<I", 80_000)
        + b"1\\" * 40_000
        + b"\xe0\x7f\x10\0OW",
    ),
    "pixels of text": lambda: swapped(b"\xe0\x7f\x10\0OW", b"\xe0\x7f\x10\0UT"),
    "a sequence that never ends": lambda: (
        raw()[:300] + b"\x28\0\x10\x30SQ\0\0\xff\xff\xff\xff" * 400
    ),
    "items without end": lambda: raw().replace(
        b"\xe0\x7f\x10\0OW",
        b"\x28\0\x10\x30SQ\0\0\xff\xff\xff\xff"
        + b"\xfe\xff\0\xe0\0\0\0\0" * 6_000
        + b"\xfe\xff\xdd\xe0\0\0\0\0\xe0\x7f\x10\0OW",
    ),
    "a stream of 16,384 samples": lambda: encapsulated(
        jpeg_2000(40, 48, 16384), pydicom.uid.JPEG2000Lossless
    ),
    "a huge stream behind a small one in a box": lambda: encapsulated(
        BOX
        + jp2_box(b"uuid", jpeg_2000(40, 48))
        + jp2_box(b"jp2c", jpeg_2000(60000, 60000)),
        pydicom.uid.JPEG2000Lossless,
    ),
    "a stream of no kind": lambda: encapsulated(
        b"\0" * 5000, pydicom.uid.JPEGLSLossless
    ),
    "a PNG of 4 billion pixels": lambda: png(65535, 65535, zlib.compress(b"\0" * 99)),
    "a PNG of 16 MB in 16 KB": lambda: png(8, 8, zlib.compress(b"\5" * (16 << 20))),
}


def test_a_header_is_read_within_its_bound(tmp_path, monkeypatch):
    monkeypatch.setattr(headers, "_MAX_READS", 5_000)
    path = tmp_path / "image"
    path.write_bytes(IMAGES["items without end"]())
    with pytest.raises(reader.UnreadableRadiograph, match="too many elements"):
        reader.read_radiograph(path)


@pytest.mark.parametrize("name", IMAGES)
def test_images_found_are_refused(tmp_path, name):
    path = tmp_path / "image"
    path.write_bytes(IMAGES[name]())
    assert fuzz.judge("dicom", path)[0] == "refused"


def xlsx(member: str = "", change: Callable[[bytes], bytes] = lambda body: body):
    book, out = openpyxl.Workbook(), io.BytesIO()
    assert book.active is not None
    for row in fuzz_inputs.REGIONS:
        book.active.append(row)
    book.save(out)
    changed = io.BytesIO()
    with zipfile.ZipFile(out) as old, zipfile.ZipFile(changed, "w", 8) as new:
        for name in old.namelist():
            body = old.read(name)
            new.writestr(name, change(body) if name == member else body)
    return changed.getvalue()


def parquet_of(*values, rows: int = 0) -> bytes:
    column = pyarrow.repeat(values[0], rows) if rows else pyarrow.array(*values)
    out = io.BytesIO()
    parquet.write_table(pyarrow.table(dict.fromkeys("abcdefgh", column)), out)
    return out.getvalue()


SHEET = "xl/worksheets/sheet1.xml"
TABLES: dict[str, Callable[[], bytes]] = {
    "json.json": lambda: b'{"images":' + b"[" * 100_000,
    "huge.json": lambda: (
        b'{"images": [{"id": 1, "file_name": "a"}], "categories": [{"id": 1, "name": '
        b'"rib"}], "annotations": [{"image_id": 1, "category_id": 1, "bbox": [1, 1, 1'
        + b"0" * 400
        + b", 1]}]}"
    ),
    "utf16.csv": lambda: "image,site\na,rib\n".encode("utf-16")[:-1],
    "wide.csv": lambda: b"image\n" + b"x" * 200_000,
    "bomb.xlsx": lambda: xlsx(SHEET, lambda body: body + b" " * (11 << 20)),
    "rows.xlsx": lambda: xlsx(
        SHEET,
        lambda body: re.sub(b"<dimension[^>]*>", b"", body).replace(
            b'<row r="3"', b'<row r="999999999"'
        ),
    ),
    "entities.xlsx": lambda: xlsx(
        SHEET, lambda body: b"<!DOCTYPE x [<!ENTITY a 'b'>]>" + body[:-9]
    ),
    "sheets.xlsx": lambda: xlsx(
        "xl/workbook.xml", lambda body: re.sub(b"<sheet [^>]*>", b"", body)
    ),
    "rows.parquet": lambda: parquet_of("a", rows=50_000),
    "dates.parquet": lambda: parquet_of([2**62], pyarrow.timestamp("us")),
    "footer.parquet": lambda: (
        parquet_of(["a"])[:-300] + b"\0" * 292 + b"\xff\0\0\0PAR1"
    ),
}


@pytest.mark.parametrize("name", TABLES)
def test_tables_found_are_refused(tmp_path, monkeypatch, name):
    monkeypatch.setattr(limits, "MAX_UNPACKED", 10 << 20)
    monkeypatch.setattr(limits, "MAX_CELLS", 100_000)
    path = tmp_path / name
    path.write_bytes(TABLES[name]())
    assert path.stat().st_size < 1 << 20
    with pytest.raises(ValueError, match=name) as caught:
        formats.read_table(path)
    assert str(tmp_path) not in str(caught.value)


def test_half_a_character_is_no_path(tmp_path):
    fuzz.prepare("tables", tmp_path)
    path = tmp_path / "regions.json"
    path.write_bytes(fuzz_inputs.seeds("tables")["coco@regions.json"])
    path.write_text(path.read_text().replace("a.dcm", "\\ud800"))
    assert fuzz.judge("tables", path)[0] == "refused"


def test_a_bound_is_held_while_the_cells_are_read(tmp_path, monkeypatch):
    monkeypatch.setattr(limits, "MAX_CELLS", 1000)
    path = tmp_path / "a.csv"
    path.write_text("image\n" + "x\n" * 98)
    assert len(formats.read_table(path).rows) == 98
    path.write_text("image\n" + "x\n" * 100)
    with pytest.raises(ValueError, match="over 1,000 cells"):
        formats.read_table(path)


def test_rle_of_a_few_bytes_more_than_pixels_is_read(tmp_path):
    (tmp_path / "image").write_bytes(encapsulated(rle(), pydicom.uid.RLELossless))
    assert fuzz.judge("dicom", tmp_path / "image")[0] == "accepted"


def test_jpeg_lossless_that_ended_gdcms_process_is_refused(tmp_path):
    """In this process: imagecodecs' `ljpeg_decode` would end it as well."""
    (tmp_path / "image").write_bytes(
        (CORPUS / "gdcm_ends_its_process.dcm").read_bytes()
    )
    assert fuzz.judge("dicom", tmp_path / "image")[0] == "refused"


def _read_or_die(path: Path):
    if path.name == "b.dcm":
        os.abort()
    return reader.read_radiograph(path)


def test_pool_refuses_what_ends_a_decoder_s_process_and_goes_on(tmp_path):
    """No file is known to do so now; the next codec's memory fault may."""
    paths = [write(tmp_path / f"{name}.dcm", film(0)) for name in "abc"]
    done = pool.map_in_order(
        _read_or_die, paths, workers=2, timeout_s=8, on_timeout=lambda _: None
    )
    assert [image and image.stored_shape for image in done] == [
        (60, 48),
        None,
        (60, 48),
    ]
