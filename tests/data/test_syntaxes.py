"""Every transfer syntax x bits stored x sign x polarity gives back what was stored."""

import itertools
import struct
from pathlib import Path

import imagecodecs
import numpy as np
import pydicom
import pytest
from pydicom import uid

from data.cxr_registry.dicom import codestream, decoding, reader
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


# ---- files without meta information, and syntaxes that nobody decodes


def without_meta(path: Path, *, preamble: bool) -> None:
    """Drops the group 2, and with it the word DICM."""
    data = path.read_bytes()
    (length,) = struct.unpack("<I", data[140:144])
    path.write_bytes((b"\0" * 128 if preamble else b"") + data[144 + length :])


@pytest.mark.parametrize("syntax", dicom_syntaxes.NATIVE)
@pytest.mark.parametrize(("bits", "signed"), [(8, False), (12, True), (16, False)])
def test_a_file_without_meta_information_is_read_as_it_is_parsed(
    tmp_path, syntax, bits, signed
):
    stored = sample(bits, signed=signed)
    path = tmp_path / "a.dcm"
    dicom_syntaxes.write(path, stored, syntax, bits=bits, **full_range(bits, signed))
    without_meta(path, preamble=False)
    expected = shown(stored, bits, signed=signed, inverted=False)
    image = reader.read_radiograph(path)
    np.testing.assert_allclose(image.pixels, expected, atol=1e-6)


def test_a_file_without_preamble_is_read(tmp_path):
    stored = sample(12, signed=False)
    path = write(tmp_path / "a.dcm", stored, **full_range(12, False))
    path.write_bytes(path.read_bytes()[132:])
    expected = shown(stored, 12, signed=False, inverted=False)
    np.testing.assert_allclose(reader.read_radiograph(path).pixels, expected, atol=1e-6)


@pytest.mark.parametrize("columns", [48, 47])
@pytest.mark.parametrize("vr", ["OB", "OW"])
def test_bytes_of_a_big_endian_file_are_pixels_or_halves_of_words(
    tmp_path, vr, columns
):
    """PS3.5 annex A.3: as OW, the first pixel is the low byte, which comes second."""
    stored = sample(8, signed=False)[:, :columns]
    path = tmp_path / "a.dcm"
    dicom_syntaxes.write(path, stored, "big_endian", bits=8, **full_range(8, False))
    ds = pydicom.dcmread(path)
    ds["PixelData"].VR = vr
    if vr == "OW":
        ds.PixelData = np.frombuffer(ds.PixelData, "<u2").astype(">u2").tobytes()
    pydicom.dcmwrite(path, ds, implicit_vr=False, little_endian=False)
    expected = shown(stored, 8, signed=False, inverted=False)
    np.testing.assert_allclose(reader.read_radiograph(path).pixels, expected, atol=1e-6)


@pytest.mark.parametrize(
    ("syntax", "name"),
    [
        ("1.2.840.10008.1.2.4.100", "MPEG2 Main Profile"),
        ("1.2.840.10008.1.2.4.92", "JPEG 2000 Part 2"),
        ("1.2.840.10008.1.2.4.204", "JPIP HTJ2K Referenced"),
        ("1.2.840.10008.1.2.8.1", "Deflated Image Frame Compression"),
        ("1.2.840.10008.5.1.4.1.1.2", "private"),  # a class of images, no syntax
        ("1.2.3.4", "private"),
        ("2.25.1234567890123456789", "private"),
    ],
)
def test_a_syntax_without_decoder_is_told_by_name(tmp_path, syntax, name):
    path = write(tmp_path / "a.dcm", film(0))
    ds = pydicom.dcmread(path)
    ds.file_meta.TransferSyntaxUID = uid.UID(syntax)
    told = rf"without a decoder.*{name}"
    with pytest.raises(reader.UnreadableRadiograph, match=told):
        decoding.decode(ds, None)


def test_a_damaged_stream_is_told_by_the_name_of_its_syntax(tmp_path):
    ramp = dicom_syntaxes.ramp()
    path = dicom_syntaxes.write(tmp_path / "a.dcm", ramp, "jpeg_xl", bits=12)
    data = path.read_bytes()
    at = data.rindex(b"\xff\x0a")
    for start in range(at + 3, at + 40, 12):
        path.write_bytes(data[:start] + bytes(20) + data[start + 20 :])
        with pytest.raises(reader.UnreadableRadiograph, match="JPEG XL Lossless"):
            reader.read_radiograph(path)


@pytest.mark.parametrize("samples", [1, 3])
@pytest.mark.parametrize(
    "shape", [(8, 8), (40, 48), (60, 48), (64, 80), (300, 1), (1, 3000), (90, 160)]
)
def test_size_of_a_jpeg_xl_stream_is_what_was_written(shape, samples):
    """Sides of a multiple of 8, ratios and free ones; bare and in boxes."""
    stored = np.zeros((*shape, samples)[: 2 + (samples > 1)], np.uint16)
    for kind in (np.uint8, np.uint16):
        for boxes in (False, True):
            stream = imagecodecs.jpegxl_encode(
                stored.astype(kind), lossless=True, usecontainer=boxes
            )
            assert codestream.declared(stream) == (*shape, samples)
            assert codestream.declared(stream[:4]) is None
