"""Small DICOM files and registries for the tests of data/cxr_registry."""

import csv
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
from pydicom import uid
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.sequence import Sequence as Items

STUDIES_HEAD = ("image", "patient_id", "study_date")  # the columns that all tables need
REGIONS_HEAD = ("image", "site", "x0", "y0", "x1", "y1")
WINDOW = {"WindowCenter": 2048, "WindowWidth": 4096}  # shows all values of `film`


def dataset(stored: np.ndarray, *, bits: int = 12, **fields: Any) -> pydicom.Dataset:
    """A minimal DX dataset around stored values; `fields` are set over it."""
    ds = pydicom.Dataset()
    ds.file_meta = FileMetaDataset()
    ds.file_meta.TransferSyntaxUID = uid.ExplicitVRLittleEndian
    ds.SOPClassUID = uid.DigitalXRayImageStorageForPresentation
    ds.SOPInstanceUID = ds.file_meta.MediaStorageSOPInstanceUID = uid.generate_uid(
        entropy_srcs=[stored.tobytes().hex()]
    )
    ds.file_meta.MediaStorageSOPClassUID = ds.SOPClassUID
    ds.Modality = "DX"
    ds.Rows, ds.Columns = stored.shape[:2]
    ds.SamplesPerPixel = 1
    ds.PhotometricInterpretation = "MONOCHROME2"
    ds.BitsAllocated = 8 if bits <= 8 else 16
    ds.BitsStored, ds.HighBit = bits, bits - 1
    ds.PixelRepresentation = int(stored.min() < 0)
    ds.PixelData = stored.astype(f"<i{ds.BitsAllocated // 8}").tobytes()
    if len(ds.PixelData) % 2:
        ds.PixelData += b"\0"
    for name, value in fields.items():
        setattr(ds, name, value)
    return ds


def write(path: Path, stored: np.ndarray, *, bits: int = 12, **fields: Any) -> Path:
    """Writes such a dataset as a DICOM file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    dataset(stored, bits=bits, **fields).save_as(path, enforce_file_format=True)
    return path


def lut(*, count: int, first: int, bits: int, data: Iterable[int], vr: str = "US"):
    """A lookup table's sequence; vr is US or SS by the sign of what it maps."""
    item = Dataset()
    item.add_new(0x00283002, vr, [count, first, bits])
    item.add_new(0x00283006, "US", [int(value) for value in data])
    item.ModalityLUTType = "US"
    return Items([item])


def table(path: Path, rows: Sequence[Sequence[Any]]) -> None:
    """Writes a CSV table; the first row is the header."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", newline="") as stream:
        csv.writer(stream).writerows(rows)


def film(seed: int, *, shape: tuple[int, int] = (60, 48)) -> np.ndarray:
    """Dark noise of 12 bits with one bright box at rows 12..24, columns 8..20."""
    stored = np.random.default_rng(seed).integers(0, 800, shape)
    stored[12:24, 8:20] = 4000
    return stored


def registry(root: Path, *, images: int = 24) -> Path:
    """A correct registry: two images a patient, rib boxes on every fourth image."""
    studies: list[Sequence[Any]] = [(*STUDIES_HEAD, "rib", "view", "sex", "age")]
    regions: list[Sequence[Any]] = [REGIONS_HEAD]
    for index in range(images):
        name = f"images/{index:03d}.dcm"
        write(root / name, film(index), **WINDOW, PixelSpacing=[0.2, 0.2])
        patient = f"{index // 2:05d}"
        date = f"2020-01-{1 + index % 2:02d}"
        studies.append([name, patient, date, 1 - index % 2, "PA", "F", 37])
        if index % 4 == 0:
            regions.append([name, "rib", 8, 12, 20, 24])
    table(root / "studies.csv", studies)
    table(root / "regions.csv", regions)
    return root


def one_image(
    root: Path,
    columns: Iterable[str] = (),
    values: Iterable[Any] = (),
    *,
    regions: Sequence[Sequence[Any]] = (),
) -> None:
    """A registry of the image a.dcm with these cells, and a table of regions."""
    write(root / "a.dcm", film(0))
    row = ("a.dcm", "00123", "2020-01-31", *values)
    table(root / "studies.csv", [(*STUDIES_HEAD, *columns), row])
    if regions:
        table(root / "regions.csv", regions)
