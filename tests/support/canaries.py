"""Searches files of every kind for words that must not come out.

Searched are a file's bytes and what they contain: records of array_record, members of
archives, streams of zlib, gzip and zstd, pictures in a page. Each word is searched in
all encodings in which software writes it.
"""

import base64
import binascii
import datetime
import io
import json
import re
import urllib.parse
import zipfile
import zlib
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

import cv2
import numpy as np
import pyarrow
from array_record.python.array_record_module import ArrayRecordReader

DEPTH = 4  # of containers in containers
_ZSTD = b"\x28\xb5\x2f\xfd"
_BASE64 = re.compile(rb"[A-Za-z0-9+/]{24,}={0,2}")
_PICTURE = re.compile(rb"\x89PNG\r\n\x1a\n|\xff\xd8\xff")


def forms_of_date(day: datetime.date) -> list[str]:
    patterns = ("%Y-%m-%d", "%Y%m%d", "%d.%m.%Y", "%Y/%m/%d", "%m/%d/%Y", "%d-%m-%Y")
    return [day.strftime(pattern) for pattern in patterns]


class Search:
    """Finds any of the canaries.

    Args:
        canaries: kind -> words, or bytes of a secret; dates are given in their forms.
    """

    def __init__(self, canaries: Mapping[str, Iterable[str | bytes]]):
        self._folded: dict[bytes, str] = {}  # forms in lower case
        self._exact: dict[bytes, str] = {}
        for kind, word in ((kind, w) for kind, ws in canaries.items() for w in ws):
            label = f"{kind} {word}"
            for form in _folded_forms(word):
                self._folded.setdefault(form.lower(), label)
            for form in _base64_forms(word):
                self._exact.setdefault(form, label)

    def in_bytes(self, data: bytes) -> set[str]:
        """The canaries in some bytes and in what these contain."""
        labels: set[str] = set()
        for view in _views(data):
            lower = view.lower()
            folded, exact = self._folded.items(), self._exact.items()
            labels |= {label for form, label in folded if _has(form, lower)}
            labels |= {label for form, label in exact if form in view}
        return labels

    def in_file(self, path: Path) -> set[str]:
        if ".array_record" in path.name and path.stat().st_size:
            reader = ArrayRecordReader(str(path))
            records = reader.read_all()
            reader.close()
            unpacked = self.in_bytes(b"\n".join(records))
        else:
            unpacked = set()
        return unpacked | self.in_bytes(path.read_bytes())

    def below(self, folder: Path) -> dict[str, set[str]]:
        """File -> canaries, in names and in contents; links are not followed."""
        canaries_of = {}
        for path in sorted(folder.rglob("*")):
            name = path.relative_to(folder).as_posix()
            canaries = self.in_bytes(name.encode())
            if path.is_file() and not path.is_symlink():
                canaries |= self.in_file(path)
            if canaries:
                canaries_of[name] = canaries
        return canaries_of


def _has(form: bytes, data: bytes) -> bool:
    """Whether the form is there; a date only where it begins, since floats hold any."""
    if not (form.isdigit() and len(form) == len("20141121")):
        return form in data
    begins = rb"(?:(?<![0-9a-f])|(?<=%[0-9a-f][0-9a-f]))"  # or after a %20
    return re.search(begins + form, data) is not None


def _folded_forms(word: str | bytes) -> set[bytes]:
    if isinstance(word, bytes):
        return {word, binascii.hexlify(word)}
    forms = set()
    for case in (word, word.lower(), word.upper()):  # of letters outside ASCII too
        text = case.encode()
        codecs = ("utf-8", "latin-1", "utf-16-le", "utf-16-be", "utf-32-le")
        forms |= {case.encode(codec) for codec in codecs}
        forms |= {json.dumps(case)[1:-1].encode(), binascii.hexlify(text)}
        forms |= {urllib.parse.quote(case, safe="").encode()}
        forms |= {"".join(f"%{byte:02x}" for byte in text).encode()}
    return forms


def _base64_forms(word: str | bytes) -> set[bytes]:
    """Base64 of the word at three offsets, without characters that neighbours share."""
    cases = {word, word.lower(), word.upper()}
    texts = [case if isinstance(case, bytes) else case.encode() for case in cases]
    forms = set()
    for text in texts:
        for offset in range(3):
            data = base64.b64encode(b"\0" * offset + text).rstrip(b"=")
            forms.add(data[(0, 2, 3)[offset] : -1])
    return forms


def _views(data: bytes, depth: int = DEPTH) -> Iterator[bytes]:
    yield data
    if not depth:
        return
    for inner in _held(data):
        yield from _views(inner, depth - 1)


def _held(data: bytes) -> Iterator[bytes]:
    if data.startswith(b"PK\x03\x04"):
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            yield from (archive.read(name) for name in archive.namelist())
    for match in re.finditer(rb"\x1f\x8b\x08|\x78[\x01\x5e\x9c\xda]", data):
        bits = 31 if match[0].startswith(b"\x1f") else 15
        try:
            opened = zlib.decompressobj(bits).decompress(data[match.start() :], 1 << 26)
        except zlib.error:
            continue
        if len(opened) > 4:
            yield opened
    for match in re.finditer(re.escape(_ZSTD), data):
        source = pyarrow.BufferReader(data[match.start() :])
        try:
            yield pyarrow.CompressedInputStream(source, "zstd").read(1 << 26)
        except OSError:
            continue
    for match in _BASE64.finditer(data):
        try:
            yield base64.b64decode(match[0], validate=True)
        except binascii.Error:
            continue


def pictures(data: bytes) -> Iterator[np.ndarray]:
    """The PNG and JPEG files in some bytes, in data URIs too: u8[H, W]."""
    for view in _views(data):
        for match in _PICTURE.finditer(view):
            part = np.frombuffer(view[match.start() :], np.uint8)
            image = cv2.imdecode(part, cv2.IMREAD_GRAYSCALE)
            if image is not None:
                yield image


def looks_like(image: np.ndarray, mark: np.ndarray) -> float:
    """The best normalised correlation of a mark with any place of an image, 0 to 1."""
    if image.shape[0] < mark.shape[0] or image.shape[1] < mark.shape[1]:
        return 0.0
    noise = np.random.default_rng(0).normal(0, 1e-3, image.shape)  # flat places: 0 / 0
    field = image.astype(np.float32) + noise.astype(np.float32)
    return float(
        cv2.matchTemplate(field, mark.astype(np.float32), cv2.TM_CCOEFF_NORMED).max()
    )
