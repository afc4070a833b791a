"""Every transfer syntax x bits stored x sign x polarity gives back what was stored."""

import itertools

import numpy as np
import pydicom
import pytest
from pydicom import uid

from data.cxr_registry.dicom import reader
from tests.support import dicom_syntaxes
from tests.support.registry_files import film, write

LOSSY = {*dicom_syntaxes.LOSS, "jpeg_2000_lossy"}


def sample(bits: int, *, signed: bool, margin: int = 0) -> np.ndarray:
    """int[40, 48]: a ramp with noise and both ends of the range, less a margin."""
    y, x = np.mgrid[:40, :48]
    low, high = margin, (1 << bits) - 1 - margin
    stored = low + np.rint((y + x) / 86 * (high - low)).astype(np.int64)
    if not margin:
        stored[:4] = np.random.default_rng(bits).integers(low, high + 1, (4, 48))
        stored[0, :2] = low, high
    return stored - (signed << (bits - 1))


def full_range(bits: int, signed: bool) -> dict:
    """The window that shows the lowest value black and the highest white."""
    centre = 2 ** (bits - 1) - signed * 2 ** (bits - 1)
    return {"WindowCenter": centre, "WindowWidth": 1 << bits}


def shown(stored: np.ndarray, bits: int, *, signed: bool, inverted: bool) -> np.ndarray:
    """By hand: LINEAR over the whole range, x = 0 black, 2**bits - 1 white."""
    share = (stored + (signed << (bits - 1))) / ((1 << bits) - 1)
    return 1 - share if inverted else share


def cases(syntax: str):
    eight = syntax in dicom_syntaxes.EIGHT_BITS
    yield from itertools.product(
        (8,) if eight else range(6, 17), (False,) if eight else (False, True)
    )


@pytest.mark.parametrize("syntax", sorted({*dicom_syntaxes.NAMES}))
def test_what_was_stored_is_shown(tmp_path, syntax):
    if syntax in dicom_syntaxes.CONSTANT:
        pytest.skip("one codestream, read below")
    for (bits, signed), inverted in itertools.product(cases(syntax), (False, True)):
        # a loss at the ends of the range would wrap around: codecs know no sign
        margin = 4 if syntax == "jpeg_ls_near" else 0
        if syntax in LOSSY - {"jpeg_ls_near"}:
            margin = 1  # without the noise
        stored = sample(bits, signed=signed, margin=margin)
        kind = f"MONOCHROME{1 if inverted else 2}"
        path = dicom_syntaxes.write(
            tmp_path / "a.dcm",
            stored,
            syntax,
            bits=bits,
            PhotometricInterpretation=kind,
            **full_range(bits, signed),
        )
        image = reader.read_radiograph(path)
        assert image.source == "window"
        expected = shown(stored, bits, signed=signed, inverted=inverted)
        loss = dicom_syntaxes.LOSS.get(syntax, 0)
        if syntax == "jpeg_2000_lossy":
            loss = 1 + (1 << bits) / 200  # 60 dB are a root mean square of 1 / 1000
        error = np.abs(image.pixels - expected).max() * ((1 << bits) - 1)
        assert error <= loss + 0.01, f"{bits} bits, signed {signed}, {kind}"


@pytest.mark.parametrize("syntax", ["htj2k", "jpeg_xl", "jpeg_xl_in_boxes"])
def test_a_constant_of_no_loss_gives_the_ramp(tmp_path, syntax):
    ramp = dicom_syntaxes.ramp()
    path = dicom_syntaxes.write(
        tmp_path / "a.dcm", ramp, syntax, bits=12, **full_range(12, False)
    )
    expected = shown(ramp, 12, signed=False, inverted=False)
    np.testing.assert_allclose(reader.read_radiograph(path).pixels, expected, atol=1e-6)


def test_12_bit_jpeg_gives_the_ramp(tmp_path):
    ramp = dicom_syntaxes.ramp()
    path = dicom_syntaxes.write(
        tmp_path / "a.dcm", ramp, "jpeg_extended_12", bits=12, **full_range(12, False)
    )
    expected = shown(ramp, 12, signed=False, inverted=False)
    error = np.abs(reader.read_radiograph(path).pixels - expected).max()
    assert error * 4095 <= 4


@pytest.mark.parametrize("bits", [6, 12])
@pytest.mark.parametrize("syntax", ["explicit", "rle", "jpeg_lossless"])
def test_overlay_bits_above_bits_stored_are_no_pixels(tmp_path, syntax, bits):
    """Old files keep overlays there; the bits stored are the image."""
    container = 8 if bits <= 8 else 16
    clean = film(1, shape=(40, 48)) >> (12 - bits)
    overlay = np.random.default_rng(0).integers(0, 1 << (container - bits), clean.shape)
    path = tmp_path / "a.dcm"
    dicom_syntaxes.write(path, clean + (overlay << bits), syntax, bits=container)
    ds = pydicom.dcmread(path)
    ds.BitsStored, ds.HighBit = bits, bits - 1
    ds.save_as(path)
    expected = reader.read_radiograph(
        write(tmp_path / "b.dcm", clean, bits=bits)
    ).pixels
    np.testing.assert_array_equal(reader.read_radiograph(path).pixels, expected)


def test_deflated_files_are_refused_by_name(tmp_path):
    ds = pydicom.dcmread(write(tmp_path / "a.dcm", film(0)))
    ds.file_meta.TransferSyntaxUID = uid.DeflatedExplicitVRLittleEndian
    ds.file_meta.PrivateInformationCreatorUID = "1.2.3"
    ds.file_meta.PrivateInformation = b"\0" * 5000  # pushes the rest out of sight
    ds.save_as(tmp_path / "a.dcm")
    with pytest.raises(reader.UnreadableRadiograph, match="deflated"):
        reader.read_radiograph(tmp_path / "a.dcm")
