"""Damaged files, each a pure function of (target, seed, number): what fuzz.py feeds.

The seeds are small files that this code writes itself: a film in every transfer syntax,
PNG and JPEG pictures, and a registry's tables in each format.
"""

import functools
import io
import json
import re
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pydicom
from pydicom import uid
from pydicom.encaps import encapsulate

ROOT = Path(__file__).parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / "benchmarks")]

from fuzz_mutations import (  # noqa: E402
    ANY,
    CANARY,
    REGIONS,
    STUDIES,
    kinds,
    members,
    pick,
    zipped,
)

from tests.support import dicom_syntaxes, registry_files  # noqa: E402

COLOUR_SYNTAXES = {
    "rle": uid.RLELossless,
    "jpeg_baseline": uid.JPEGBaseline8Bit,
    "jpeg_ls": uid.JPEGLSLossless,
    "jpeg_2000": uid.JPEG2000Lossless,
}
TARGETS = ("dicom", "real", "tables")


def make(target: str, seed: int, number: int, folder: Path | None = None):
    """The input of that number: (file name, bytes).

    Args:
        target: "dicom", "tables", or "real" for the DICOM files of `folder`.
        seed: of the series.
        number: of the input in it.
        folder: real DICOM files.
    """
    rng = np.random.default_rng([TARGETS.index(target), seed, number])
    if target == "real":
        if folder is None:
            raise ValueError("the target real needs a folder of DICOM files")
        files = _real(folder)
    else:
        files = seeds(target)
    name = sorted(files)[int(rng.integers(len(files)))]
    data = files[name]
    mutations = (*kinds(name, data), *ANY)
    for _ in range(int(rng.choice([1, 1, 2, 3, 6]))):
        data = pick(rng, mutations)(data, rng)
    return Path(name).name.partition("@")[2] or Path(name).name, data[: 4 << 20]


@functools.cache
def seeds(target: str) -> Mapping[str, bytes]:
    """Whole files by name; what follows an @ is the name they are read under."""
    with tempfile.TemporaryDirectory() as folder:
        write = {"dicom": _write_images, "tables": _write_tables}[target]
        return write(Path(folder))


@functools.cache
def _real(folder: Path) -> Mapping[str, bytes]:
    return {f"{p.name}@image": p.read_bytes() for p in sorted(folder.glob("*.dcm"))}


def _write_images(folder: Path) -> dict[str, bytes]:
    names: Any = {"PatientName": f"{CANARY}^A", "PatientID": CANARY}
    names["StudyDate"] = "20200101"
    table = registry_files.lut(count=4096, first=0, bits=12, data=range(4096))
    fields = {
        "WindowCenter": [600, 500], "WindowWidth": [900, 90], "RescaleSlope": 0.5,
        "RescaleIntercept": -20, "PixelSpacing": [0.2, 0.2], "PixelPaddingValue": 0,
        "PatientOrientation": ["R", "F"], "ViewPosition": "PA",
        "BurnedInAnnotation": "NO", "PresentationLUTShape": "IDENTITY",
    }  # fmt: skip
    for index, name in enumerate(dicom_syntaxes.NAMES):
        bits = 8 if name in dicom_syntaxes.EIGHT_BITS else 12
        stored = registry_files.film(index, shape=(40, 48)) >> (12 - bits)
        if name in dicom_syntaxes.CONSTANT:
            stored = dicom_syntaxes.ramp()
        path = folder / f"{name}@image"
        dicom_syntaxes.write(path, stored, name, bits=bits, **fields, **names)
    film = registry_files.film(0)
    registry_files.write(folder / "lut@image", film, VOILUTSequence=table, **names)
    registry_files.write(
        folder / "modality@image", film, ModalityLUTSequence=table, **names
    )
    for name, big in (("lut_implicit", False), ("lut_big_endian", True)):
        ds = registry_files.dataset(film, VOILUTSequence=table, **names)
        syntax = "big_endian" if big else "implicit"
        ds.file_meta.TransferSyntaxUID = dicom_syntaxes.NATIVE[syntax]
        words = np.arange(4096, dtype=">u2" if big else "<u2")
        ds.VOILUTSequence[0].add_new("LUTData", "OW", words.tobytes())
        pydicom.dcmwrite(
            folder / f"{name}@image", ds, implicit_vr=not big, little_endian=not big
        )
    registry_files.write(folder / "signed@image", film - 2000, **fields, **names)
    colour = np.dstack([film >> 4] * 3)
    registry_files.write(
        folder / "colour@image", colour, bits=8, SamplesPerPixel=3,
        PlanarConfiguration=0, PhotometricInterpretation="RGB", PixelRepresentation=0,
        PixelData=colour.astype(np.uint8).tobytes(), **names,
    )  # fmt: skip
    for name in COLOUR_SYNTAXES:
        _compress(folder / "colour@image", folder / f"colour_{name}@image", name)
    grey = (film >> 4).astype(np.uint8)
    for name, suffix, image in (
        ("png8", ".png", grey), ("png16", ".png", film.astype(np.uint16)),
        ("png_colour", ".png", np.dstack([grey] * 3)), ("jpg", ".jpg", grey),
    ):  # fmt: skip
        done, data = cv2.imencode(suffix, image)
        assert done
        (folder / f"{name}@image").write_bytes(data.tobytes())
    _, data = cv2.imencode(".jpg", grey, [cv2.IMWRITE_JPEG_PROGRESSIVE, 1])
    (folder / "jpg_progressive@image").write_bytes(data.tobytes())
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def _compress(source: Path, target: Path, name: str) -> None:
    """The colour image at `source` under another transfer syntax."""
    ds = pydicom.dcmread(source)
    syntax = COLOUR_SYNTAXES[name]
    if name == "jpeg_baseline":  # which pydicom does not encode
        done, stream = cv2.imencode(".jpg", ds.pixel_array)
        assert done
        ds.PixelData = encapsulate([stream.tobytes()])
        ds["PixelData"].VR, ds.file_meta.TransferSyntaxUID = "OB", syntax
    else:
        ds.compress(syntax, generate_instance_uid=False)
    ds.save_as(target)


def _write_tables(folder: Path) -> dict[str, bytes]:
    import openpyxl
    import pyarrow
    from pyarrow import parquet

    for stem, rows in (("studies", STUDIES), ("regions", REGIONS)):
        registry_files.table(folder / f"csv@{stem}.csv", rows)
        book = openpyxl.Workbook()
        assert book.active is not None
        for row in rows:
            book.active.append(row)
        packed = io.BytesIO()
        book.save(packed)
        parts = members(packed.getvalue())
        # the time of day would make another input of every run
        parts["docProps/core.xml"] = re.sub(
            rb"\d{4}-\d\d-\d\dT[\d:.]+",
            b"2020-01-01T00:00:00",
            parts["docProps/core.xml"],
        )
        (folder / f"xlsx@{stem}.xlsx").write_bytes(zipped(parts))
        styles = parts["xl/styles.xml"]
        parts["xl/styles.xml"] = styles.replace(b"<font>", b"<font><strike/>", 1)
        (folder / f"struck@{stem}.xlsx").write_bytes(zipped(parts))
        columns = zip(*([str(cell) for cell in row] for row in rows[1:]), strict=True)
        table = pyarrow.table(dict(zip(rows[0], map(list, columns), strict=True)))
        parquet.write_table(table, folder / f"parquet@{stem}.parquet")
        parquet.write_table(
            table, folder / f"zstd@{stem}.parquet", compression="zstd", version="1.0"
        )
    coco = {
        "images": [{"id": 1, "file_name": "a.dcm", "width": 48, "height": 60}],
        "categories": [{"id": 1, "name": "rib"}],
        "annotations": [
            {"id": 1, "image_id": 1, "category_id": 1, "bbox": [8, 12, 12, 12]}
        ],
    }
    (folder / "coco@regions.json").write_text(json.dumps(coco))
    return {path.name: path.read_bytes() for path in folder.iterdir()}
