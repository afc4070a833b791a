"""A phantom registry with a made-up patient's words wherever a hospital has real ones.

Names, numbers, dates, paths and phrases stand in the tables, in the names of files and
folders, in every field of DICOM headers that is read and in many that are not, in
comments of PNG and JPEG files, and are painted into films that say so.
"""

import csv
import datetime
import struct
import warnings
import zlib
from pathlib import Path

import cv2
import numpy as np
import pydicom
from pydicom.datadict import dictionary_VR
from pydicom.tag import Tag

from data.cxr_registry.dicom import headers
from data.phantom import registry as phantom
from tests.support import canaries, registry_files

NAME, FIELD, ID = "Quorlington", "FELDKANARIEN", "00917391846"
DAYS = [datetime.date(2014, 11, 21) + datetime.timedelta(37 * i) for i in range(4)]
BORN = datetime.date(1931, 5, 17)
WORDS = {
    "name": (NAME, "Wenzeslava"),
    "id": (ID, ID.lstrip("0"), "MRN-KJ44-71"),
    "date": [form for day in [*DAYS, BORN] for form in canaries.forms_of_date(day)],
    "accession": ("ACC-XKQ-55219",),
    "institution": ("Wolkenkuckuck", "Röntgen-Süd"),
    "path": ("Bildordner", "kanari-datei"),
    "report": ("Kanarienwort", "rippenkanari"),
    "header field": (FIELD,),
    "private tag": ("PRIVKANARI",),
    "comment": ("KOMMENTKANARI",),
    "cell": ("Zellenkanari",),
}
ALLOW = (
    "bad_value", "bad_date", "unreadable", "leaves_folder", "duplicate_image",
    "unknown_site", "box_outside", "box_without_study", "box_on_negative",
    "same_pixels",
)  # fmt: skip
_HEAD = (
    *phantom.STUDY_FIELDS, "report", "rib_count", "accession", "hospital",
    "patient_name",
)  # fmt: skip
# 8 x 8 random squares: a film has nothing like it
MARK = np.random.default_rng(5).integers(0, 2, (8, 8)).astype(np.uint8) * 255


def registry(root: Path, *, images: int = 64) -> Path:
    """Writes it; the root's own name is the user's and no secret."""
    drawn = root.with_name(f"{root.name}-drawn")
    options = phantom.PhantomOptions(
        images=images,
        seed=0,
        conspicuity={"rib": 1.0, "clavicle": 1.0},
        height=128,
        prevalence=0.4,
    )
    phantom.generate(drawn, options, workers=1)
    root.mkdir()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # pydicom's, of what is wrong on purpose
        _fill(root, drawn, images)
    return root


def _fill(root: Path, drawn: Path, images: int) -> None:
    studies, renamed = [], {}
    for index, row in enumerate(rows(drawn / "studies.csv")):
        name = f"Bildordner {NAME}/kanari-datei-{index}.dcm"
        renamed[row["image"]] = name
        cells = _cells(index, row["patient_id"][-4:])
        _relabel(drawn / row["image"], root / name, cells)
        studies.append({**row, **cells, "image": name})
    regions = [{**r, "image": renamed[r["image"]]} for r in rows(drawn / "regions.csv")]
    studies += _strange_files(root, images)
    studies += _strange_cells(root, studies[0])
    regions += _strange_regions(studies[0]["image"])
    _table(root / "studies.csv", _HEAD, studies)
    _table(root / "regions.csv", phantom.REGION_FIELDS, regions)


def flagged_rows(root: Path) -> set[int]:
    """Rows of studies.csv whose film is flagged as having burned-in text."""
    numbered = enumerate(rows(root / "studies.csv"), start=2)
    return {number for number, row in numbered if "/burned-" in row["image"]}


def mark(side: int) -> np.ndarray:
    """What is painted, as it looks on a square of that side."""
    size = side // 4
    return cv2.resize(MARK, (size, size), interpolation=cv2.INTER_NEAREST)


def _cells(index: int, patient: str) -> dict[str, str]:
    return {
        "patient_id": f"{ID}{patient}",
        "study_date": DAYS[index % len(DAYS)].isoformat(),
        "report": "Kanarienwort: no rib fracture. rippenkanari gebrochen.",
        "accession": "ACC-XKQ-55219",
        "hospital": "Spital Wolkenkuckuck, Röntgen-Süd",
        "patient_name": f"{NAME}, Wenzeslava",
    }


def _relabel(source: Path, target: Path, cells: dict[str, str]) -> None:
    """A film of the phantom under the made-up patient's header."""
    header = pydicom.dcmread(source)
    header.SpecificCharacterSet = "ISO_IR 192"
    header.PatientName = f"{NAME}^Wenzeslava"
    header.PatientID, header.OtherPatientIDs = cells["patient_id"], ["MRN-KJ44-71"]
    header.PatientBirthDate = f"{BORN:%Y%m%d}"
    header.StudyDate = header.ContentDate = cells["study_date"].replace("-", "")
    header.AccessionNumber = "ACC-XKQ-55219"
    header.InstitutionName = "Spital Wolkenkuckuck"
    header.Manufacturer = header.StationName = "Röntgen-Süd"
    header.ImageComments = header.StudyDescription = "Kanarienwort"
    header.PatientComments = "rippenkanari"
    block = header.private_block(0x0009, "PRIVKANARI", create=True)
    block.add_new(1, "LO", "PRIVKANARI")
    header.add_new(0x60000010, "US", 8)  # an overlay, painted by some viewers
    header.add_new(0x60000022, "LO", "KOMMENTKANARI")
    header.add_new(0x60003000, "OW", b"KOMMENTKANARI ")
    header.file_meta.SourceApplicationEntityTitle = "PRIVKANARI"
    header.preamble = b"KOMMENTKANARI".ljust(128, b"\0")
    target.parent.mkdir(parents=True, exist_ok=True)
    header.save_as(target)


def _strange_files(root: Path, first: int) -> list[dict[str, str]]:
    """A file for each field that is read, with a word where a value should be."""
    folder = root / f"Bildordner {NAME}"
    names = []
    for seed, keyword in enumerate(headers.WHITELIST):
        names.append(f"kanari-datei-{keyword}.dcm")
        _write_field(folder / names[-1], keyword, seed)
    painted = np.full((128, 128), 300)
    painted[48:80, 64:96] = 3500 * (mark(128) > 0)
    for number in range(2):
        names.append(f"burned-{NAME}-{number}.dcm")
        fields = {"WindowCenter": 2048, "WindowWidth": 4096}
        painted[:2] = number
        registry_files.write(
            folder / names[-1], painted, BurnedInAnnotation="YES", **fields
        )
    for name, data in _pictures().items():
        names.append(f"kanari-datei-{name}")
        (folder / names[-1]).write_bytes(data)
    names.append("kanari-datei-text.dcm")
    (folder / names[-1]).write_text(f"{NAME} {ID} Kanarienwort " * 40)
    made = []
    for number, name in enumerate(names):
        cells = _cells(number, f"{first + number:04d}")
        made.append({"image": f"{folder.name}/{name}", **cells})
    return made


def _write_field(path: Path, keyword: str, seed: int) -> None:
    """A good file but for one field, whose bytes are a word."""
    header = registry_files.dataset(
        registry_files.film(seed, shape=(96, 96)), WindowCenter=2048, WindowWidth=4096
    )
    path.parent.mkdir(parents=True, exist_ok=True)
    header.save_as(path, enforce_file_format=True)
    data, word = path.read_bytes(), FIELD.encode()
    tag, kind = Tag(keyword), dictionary_VR(keyword).split(" ")[0]
    if kind == "SQ":
        item = pydicom.Dataset()
        item.LUTExplanation = FIELD
        item.add_new("LUTDescriptor", "LO", FIELD)
        setattr(header, keyword, [item])
        header.save_as(path, enforce_file_format=True)
        return
    start = struct.pack("<HH", tag.group, tag.element) + kind.encode()
    field = start + struct.pack("<H", len(word)) + word
    at = data.find(start, 132)
    if keyword == "PixelData":
        data = data[: -len(word)] + word
    elif at < 0:  # before the first one after the file's own
        at = 144 + struct.unpack("<I", data[140:144])[0]
        data = data[:at] + field + data[at:]
    else:
        (length,) = struct.unpack("<H", data[at + 6 : at + 8])
        data = data[:at] + field + data[at + 8 + length :]
    path.write_bytes(data)


def _pictures() -> dict[str, bytes]:
    """PNG and JPEG files with comments, whole and cut."""
    film = (registry_files.film(77, shape=(96, 96)) // 16).astype(np.uint8)
    png = cv2.imencode(".png", film)[1].tobytes()
    jpeg = cv2.imencode(".jpg", film)[1].tobytes()
    comment = b"KOMMENTKANARI " + NAME.encode()
    exif = b"Exif\0\0II*\0\x08\0\0\0" + comment
    chunks = [
        chunk(b"tEXt", b"Comment\0" + comment),
        chunk(b"zTXt", b"Comment\0\0" + zlib.compress(comment)),
        chunk(b"iTXt", b"Comment\0\0\0\0\0" + comment),
        chunk(b"eXIf", exif[6:]),
    ]
    spoiled = chunks[0][:-4] + b"\0\0\0\0"
    segments = b"\xff\xfe" + struct.pack(">H", len(comment) + 2) + comment
    segments += b"\xff\xe1" + struct.pack(">H", len(exif) + 2) + exif
    commented = png[:33] + b"".join(chunks) + png[33:]
    return {
        "a.png": commented,
        "b.png": png[:33] + spoiled + png[33:],
        "c.png": commented[:-60],
        "d.jpg": jpeg[:2] + segments + jpeg[2:],
        "e.jpg": jpeg[:2] + segments + jpeg[2:-200] + comment,
    }


def chunk(kind: bytes, data: bytes) -> bytes:
    """A chunk of a PNG file."""
    check = struct.pack(">I", zlib.crc32(kind + data))
    return struct.pack(">I", len(data)) + kind + data + check


def _strange_cells(root: Path, good: dict[str, str]) -> list[dict[str, str]]:
    """Rows that the checks let pass by name, each with a word in a wrong place."""
    outside = root.with_name(f"{NAME}-outside.dcm")
    registry_files.write(outside, registry_files.film(1))
    (root / f"link-{NAME}.dcm").symlink_to(outside)
    (root / f"loop-{NAME}.dcm").symlink_to(root / f"loop-{NAME}.dcm")
    changes = [
        {"image": str(outside)},
        {"image": f"../{outside.name}"},
        {"image": f"link-{NAME}.dcm"},
        {"image": f"loop-{NAME}.dcm"},
        {"image": f"Zellenkanari{NAME}" * 40},
        {"image": f"Zellenkanari {NAME}.dcm"},
        {"image": good["image"]},
    ]
    bad = ("study_date", "diagnosis_codes", "view", "sex", "age", "report")
    for number, column in enumerate(bad):
        name = f"kanari-datei-cell-{number}.dcm"
        registry_files.write(root / name, registry_files.film(200 + number))
        word = f"=Zellenkanari {NAME} 17.05.1931"
        changes.append({"image": name, column: word, "rib_count": word})
    return [
        {**_cells(n, f"{900 + n}"), "view": "PA", "sex": "F", "age": "97"} | change
        for n, change in enumerate(changes)
    ]


def _strange_regions(image: str) -> list[dict[str, str]]:
    box = {"image": image, "site": "rib", "x0": "1", "y0": "2", "x1": "9", "y1": "9"}
    return [
        box | {"image": f"Zellenkanari {NAME}"},
        box | {"image": f"loop-{NAME}.dcm"},
        box | {"site": f"Zellenkanari {NAME}"},
        box | {"x0": f"Zellenkanari {NAME}"},
        box | {"x0": "900"},
    ]


def rows(path: Path) -> list[dict[str, str]]:
    with path.open(newline="", encoding="utf-8") as stream:
        return list(csv.DictReader(stream))


def _table(path: Path, fields: tuple[str, ...], rows: list[dict[str, str]]) -> None:
    lines = [[row.get(field, "") for field in fields] for row in rows]
    registry_files.table(path, [fields, *lines])
