"""One small radiograph in every transfer syntax that a decoder here reads.

pydicom writes the native ones, RLE, JPEG-LS and JPEG 2000; GDCM the other JPEGs.
12-bit JPEG Extended, High-Throughput JPEG 2000 and JPEG XL, which neither writes, are
constants: a codec that had written what it then reads would agree with itself whatever
it does. They were made once of `ramp()` by imagecodecs 2026.3.6 (libjpeg-turbo at
quality 98, whose result equals the ramp exactly; OpenJPH, reversible; libjxl, lossless,
bare and in boxes).
"""

import base64
from pathlib import Path

import gdcm
import numpy as np
import pydicom
from pydicom import uid
from pydicom.encaps import encapsulate

from tests.support import registry_files

NATIVE = {
    "implicit": uid.ImplicitVRLittleEndian,
    "explicit": uid.ExplicitVRLittleEndian,
    "big_endian": uid.ExplicitVRBigEndian,
}
_BY_PYDICOM = {
    "rle": (uid.RLELossless, {}),
    "jpeg_ls": (uid.JPEGLSLossless, {}),
    "jpeg_ls_near": (uid.JPEGLSNearLossless, {"jls_error": 2}),
    "jpeg_2000": (uid.JPEG2000Lossless, {}),
    "jpeg_2000_lossy": (uid.JPEG2000, {"j2k_psnr": [60]}),
}
_BY_GDCM = {
    "jpeg_lossless": gdcm.TransferSyntax.JPEGLosslessProcess14,
    "jpeg_lossless_sv1": gdcm.TransferSyntax.JPEGLosslessProcess14_1,
    "jpeg_baseline": gdcm.TransferSyntax.JPEGBaselineProcess1,
    "jpeg_extended_8": gdcm.TransferSyntax.JPEGExtendedProcess2_4,
}
_CONSTANT = {
    "jpeg_extended_12": (
        uid.JPEGExtended12Bit,
        "/9j/4AAQSkZJRgABAQAAAQABAAD/2wBDAAEBAQEBAQEBAQEBAQEBAQIBAQEBAQIBAQECAgICAgICAg"
        "IDAwQDAwMDAwICAwQDAwQEBAQEAgMFBQQEBQQEBAT/wQALDAAQABABAREA/8QAFQABAQAAAAAAAAAA"
        "AAAAAAAADgD/xAAbEAABBAMAAAAAAAAAAAAAAAAMACg4R1ZjdP/aAAgBAQAAPwA4TjcQ3FAtheNVtz"
        "aUgABuIbigWwvGq25tKhuIbigWwvGq25tKQAA3ENxQLYXjVbc2lf/Z",
    ),
    "htj2k": (
        uid.HTJ2KLossless,
        "/0//UQApQAAAAAAQAAAAEAAAAAAAAAAAAAAAEAAAABAAAAAAAAAAAAABDwEB/1AACAACAAAACv9SAA"
        "wAAgABAAUEBEAB/1wAEyCIkJCQkJCQkJCQkJCQiIiI/2QAFwABT3BlbkpQSCBWZXIgMC4yNi4zLv+Q"
        "AAoAAAAAAIMAAf+TwAAm0fYFB3QAAMAAE0AAEwAi+QMHdAAi+QMHdADAABPAABOAjjjyAoJ0AI505A"
        "CjVADAABVQAAVYPnz48PGqcgJ1AD768OHjwEIB7LYAwAAr4AAWiH6/3+/3+/3nynp6cQJ4AP5+v9/v"
        "9/v9iEB79iEB7LoA/9k=",
    ),
    "jpeg_xl": (
        uid.UID("1.2.840.10008.1.2.4.110"),
        "/wpDYFC0CAgEAQAkAUs4aZjKg/dLKJgCI+qLMV6MMV4LxyDoCQBISgAAAAAAAAAAAAAAAAAAAAAAAA"
        "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=",
    ),
    "jpeg_xl_in_boxes": (
        uid.UID("1.2.840.10008.1.2.4.112"),
        "AAAADEpYTCANCocKAAAAFGZ0eXBqeGwgAAAAAGp4bCAAAABganhsY/8KQ2BQtAgIBAEALAFLOGiYwo"
        "P3JRRMgRH1xRgvxhivhaMQ4AQAJCUAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"
        "AAAAAAAAAAAAAAAAAAA=",
    ),
}
# What the standard or the codec has no place for: lossy DCT is of 8 unsigned bits
# (PS3.5 table 8.2.1-1); the constants are of 12 unsigned bits.
EIGHT_BITS = frozenset({"jpeg_baseline", "jpeg_extended_8"})
CONSTANT = frozenset(_CONSTANT)
# Largest difference to the stored values that the encoder was asked for, in values.
LOSS = {"jpeg_ls_near": 2, "jpeg_baseline": 3, "jpeg_extended_8": 3}
NAMES = (*NATIVE, *_BY_PYDICOM, *_BY_GDCM, *_CONSTANT)


def ramp() -> np.ndarray:
    """int[16, 16] of 12 bits, what the constant codestreams hold."""
    y, x = np.mgrid[:16, :16]
    return np.clip(128 * (y + x) + 5, 0, 4095)


def write(path: Path, stored: np.ndarray, syntax: str, *, bits: int, **fields) -> Path:
    """Writes stored values as a DX file in a syntax of `NAMES`; returns the path."""
    registry_files.write(path, stored, bits=bits, **fields)
    if syntax == "explicit":
        return path
    ds = pydicom.dcmread(path)
    if syntax in NATIVE:
        ds.file_meta.TransferSyntaxUID = NATIVE[syntax]
        little, implicit = syntax != "big_endian", syntax == "implicit"
        if not little and ds.BitsAllocated == 16:
            ds.PixelData = np.frombuffer(ds.PixelData, "<u2").astype(">u2").tobytes()
        pydicom.dcmwrite(path, ds, little_endian=little, implicit_vr=implicit)
        return path
    if syntax in _BY_GDCM:  # its stream only: its header has the time of day
        written = _by_gdcm(path, _BY_GDCM[syntax])
        ds.file_meta.TransferSyntaxUID = written.file_meta.TransferSyntaxUID
        ds.PixelData, ds["PixelData"].VR = written.PixelData, "OB"
    elif syntax in _CONSTANT:
        name, stream = _CONSTANT[syntax]
        ds.PixelData = encapsulate([base64.b64decode(stream)])
        ds["PixelData"].VR, ds.file_meta.TransferSyntaxUID = "OB", name
    else:
        name, options = _BY_PYDICOM[syntax]
        ds.compress(name, generate_instance_uid=False, **options)
    wanted = ds.file_meta.TransferSyntaxUID
    if wanted.name != str(wanted):
        ds.save_as(path)
        return path
    # pydicom writes no syntax that it does not know: JPEG XL's has as many letters
    ds.file_meta.TransferSyntaxUID = uid.HTJ2KLossless
    ds.save_as(path)
    data = path.read_bytes()
    path.write_bytes(data.replace(uid.HTJ2KLossless.encode(), wanted.encode(), 1))
    return path


def _by_gdcm(path: Path, syntax: int) -> pydicom.Dataset:
    """The file as GDCM writes it, over the one that is there."""
    reader = gdcm.ImageReader()
    reader.SetFileName(str(path))
    assert reader.Read()
    change = gdcm.ImageChangeTransferSyntax()
    change.SetTransferSyntax(gdcm.TransferSyntax(syntax))
    change.SetInput(reader.GetImage())
    assert change.Change()
    writer = gdcm.ImageWriter()
    writer.SetFile(reader.GetFile())
    writer.SetImage(change.GetOutput())
    writer.SetFileName(str(path))
    assert writer.Write()
    return pydicom.dcmread(path)
