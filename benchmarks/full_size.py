"""Drawn films of full size as DICOM files, one encoder for each transfer syntax.

Rows x columns and bits are those of the detectors that the benchmarks speak of. The
films come from the phantom: tissue, bones and the noise of quanta, so that a lossless
codec has as much to do as on a radiograph.
"""

from collections.abc import Callable, Mapping
from pathlib import Path

import cv2
import gdcm
import numpy as np
import pydicom
from pydicom import uid
from pydicom.dataset import FileMetaDataset
from pydicom.encaps import encapsulate

from data.phantom import registry as phantom

ROWS, COLUMNS, BITS = 3056, 2544, 12
_DRAWN = 4000  # rows asked for: the smallest film still holds the crop


def film(seed: int) -> np.ndarray:
    """Stored values u16[3056, 2544] in [0, 4095], high = bone; 8 s to draw."""
    drawn = phantom.draw(seed, 0, height=_DRAWN, broken={"rib": 1.0}).pixels
    top, left = (drawn.shape[0] - ROWS) // 2, (drawn.shape[1] - COLUMNS) // 2
    cropped = drawn[top : top + ROWS, left : left + COLUMNS]
    return np.rint(cropped * ((1 << BITS) - 1)).astype(np.uint16)


def write(path: Path, stored: np.ndarray, syntax: str) -> None:
    """Writes stored values u16[H, W] of 12 bits under a key of SYNTAXES."""
    ds = _dataset(stored)
    SYNTAXES[syntax](path, ds, stored)


def _dataset(stored: np.ndarray) -> pydicom.Dataset:
    """A presentable DX image with one window, uncompressed."""
    ds = pydicom.Dataset()
    ds.file_meta = FileMetaDataset()
    ds.file_meta.TransferSyntaxUID = uid.ExplicitVRLittleEndian
    ds.SOPClassUID = uid.DigitalXRayImageStorageForPresentation
    ds.SOPInstanceUID = uid.generate_uid()
    ds.Modality, ds.ViewPosition = "DX", "PA"
    ds.PatientID, ds.PatientName = "BENCHMARK", "BENCHMARK^FILM"
    ds.PatientOrientation = ["L", "F"]
    ds.ImagerPixelSpacing = ["0.139", "0.139"]
    ds.PresentationIntentType = "FOR PRESENTATION"
    ds.SamplesPerPixel, ds.PhotometricInterpretation = 1, "MONOCHROME2"
    ds.PresentationLUTShape = "IDENTITY"
    ds.WindowCenter, ds.WindowWidth = "2048", "4096"
    ds.RescaleSlope, ds.RescaleIntercept, ds.RescaleType = "1", "0", "US"
    _set_pixels(ds, stored, bits=BITS)
    return ds


def _set_pixels(ds: pydicom.Dataset, stored: np.ndarray, *, bits: int) -> None:
    ds.Rows, ds.Columns = stored.shape
    ds.BitsAllocated = 8 * stored.itemsize
    ds.BitsStored, ds.HighBit, ds.PixelRepresentation = bits, bits - 1, 0
    ds.PixelData = stored.astype(f"<u{stored.itemsize}").tobytes()
    ds["PixelData"].VR = "OW" if stored.itemsize == 2 else "OB"


def _native(syntax: uid.UID) -> Callable:
    def save(path: Path, ds: pydicom.Dataset, stored: np.ndarray) -> None:
        del stored
        ds.file_meta.TransferSyntaxUID = syntax
        ds.save_as(path, enforce_file_format=True)

    return save


def _compressed(syntax: uid.UID, **options) -> Callable:
    def save(path: Path, ds: pydicom.Dataset, stored: np.ndarray) -> None:
        del stored
        ds.compress(syntax, generate_instance_uid=False, **options)
        ds.save_as(path, enforce_file_format=True)

    return save


def _jpeg_lossless(path: Path, ds: pydicom.Dataset, stored: np.ndarray) -> None:
    """JPEG lossless, first-order prediction, by GDCM: not by what reads it."""
    del stored
    ds.save_as(path, enforce_file_format=True)
    reader = gdcm.ImageReader()
    reader.SetFileName(str(path))
    change = gdcm.ImageChangeTransferSyntax()
    change.SetTransferSyntax(
        gdcm.TransferSyntax(gdcm.TransferSyntax.JPEGLosslessProcess14_1)
    )
    if not reader.Read() or not _converted(change, reader):
        raise RuntimeError("GDCM could not encode JPEG lossless")
    writer = gdcm.ImageWriter()
    writer.SetFileName(str(path))
    writer.SetFile(reader.GetFile())
    writer.SetImage(change.GetOutput())
    if not writer.Write():
        raise RuntimeError("GDCM could not write JPEG lossless")


def _converted(change: gdcm.ImageChangeTransferSyntax, reader) -> bool:
    change.SetInput(reader.GetImage())
    return change.Change()


def _jpeg_baseline(path: Path, ds: pydicom.Dataset, stored: np.ndarray) -> None:
    """8 bits stored, quality 95."""
    grey = (stored >> (BITS - 8)).astype(np.uint8)
    _set_pixels(ds, grey, bits=8)
    ds.WindowCenter, ds.WindowWidth = "128", "256"
    _, jpeg = cv2.imencode(".jpg", grey, [cv2.IMWRITE_JPEG_QUALITY, 95])
    ds.file_meta.TransferSyntaxUID = uid.JPEGBaseline8Bit
    ds.PixelData = encapsulate([jpeg.tobytes()])
    ds["PixelData"].VR = "OB"
    ds.save_as(path, enforce_file_format=True)


SYNTAXES: Mapping[str, Callable[[Path, pydicom.Dataset, np.ndarray], None]] = {
    "explicit": _native(uid.ExplicitVRLittleEndian),
    "implicit": _native(uid.ImplicitVRLittleEndian),
    "RLE": _compressed(uid.RLELossless),
    "JPEG-LS lossless": _compressed(uid.JPEGLSLossless),
    "JPEG 2000 lossless": _compressed(uid.JPEG2000Lossless),
    "JPEG 2000 lossy": _compressed(uid.JPEG2000, j2k_cr=[10]),
    "JPEG lossless SV1": _jpeg_lossless,
    "JPEG baseline, 8 bits": _jpeg_baseline,
}
