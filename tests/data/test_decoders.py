"""The decoders give the pixels of independent ones, and refuse what is damaged.

The oracles are pydicom's plugins over GDCM, Pillow, pyjpegls and pylibjpeg, none of
which the reader itself needs.
"""

import struct
import subprocess
import sys
from pathlib import Path

import cv2
import gdcm
import imagecodecs
import numpy as np
import pydicom
import pytest
from pydicom import uid
from pydicom.data import get_testdata_file
from pydicom.encaps import encapsulate, generate_frames
from pydicom.pixels.decoders.base import get_decoder

from data.cxr_registry.dicom import decoding, grayscale
from data.cxr_registry.dicom import reader as dicom
from tests.support import dicom_syntaxes
from tests.support.registry_files import dataset, film

ROOT = Path(__file__).parents[2]
ENCAPSULATED = sorted({*dicom_syntaxes.NAMES} - {*dicom_syntaxes.NATIVE})


@pytest.mark.parametrize(
    ("dtype", "bits", "lowest"),
    [
        (np.uint8, 8, 0), (np.int8, 8, -128), (np.int8, 7, -64), (np.uint16, 12, 0),
        (np.uint16, 16, 0), (np.int16, 12, -2048), (np.int16, 16, -32768),
        (np.uint32, 16, 0), (np.int32, 12, -2048),
    ],
)  # fmt: skip
def test_table_is_applied_as_by_indexing(dtype, bits, lowest):
    rng = np.random.default_rng(0)
    values = rng.random(1 << bits, dtype=np.float32)
    stored = rng.integers(lowest, lowest + (1 << bits), (40, 30)).astype(dtype)
    stored[0, :2] = lowest, lowest + (1 << bits) - 1
    shown = grayscale.apply_table(grayscale.BrightnessTable(values, lowest, ""), stored)
    expected = values[stored.astype(np.int64) - lowest]
    np.testing.assert_array_equal(shown, expected)
    assert shown.dtype == np.float32


# --- against other decoders


def smooth(bits: int, *, signed: bool) -> np.ndarray:
    """A film int[60, 48] that uses the range, as lossy codecs like it."""
    stored = cv2.GaussianBlur(film(3).astype(np.float32), (5, 5), 2)
    high = (1 << bits) - 1
    return np.rint(stored / 4095 * high).astype(np.int64) - (signed << (bits - 1))


def oracles(syntax: uid.UID, bits: int) -> set[str]:
    """pydicom's plugins that read such a file as the standard says."""
    found = set(get_decoder(syntax).available_plugins)
    if syntax in (uid.JPEGLSLossless, uid.JPEGLSNearLossless):
        found -= {"gdcm"} if bits < 8 else set()  # misreads 6 and 7 bits
    if syntax in (uid.JPEGLossless, uid.JPEGLosslessSV1):
        found -= {"gdcm"} if bits < 8 else set()  # ends its process
    return found


@pytest.mark.parametrize("name", sorted({*ENCAPSULATED} - dicom_syntaxes.CONSTANT))
def test_decoder_agrees_with_all_the_others(tmp_path, name):
    eight = name in dicom_syntaxes.EIGHT_BITS
    compared = set()
    for bits, signed in (
        [(8, False)]
        if eight
        else [(bits, signed) for bits in (6, 8, 10, 12, 16) for signed in (False, True)]
    ):
        stored = smooth(bits, signed=signed)
        path = dicom_syntaxes.write(tmp_path / "a.dcm", stored, name, bits=bits)
        ds = pydicom.dcmread(path)
        ours = decoding.decode(pydicom.dcmread(path), None)
        syntax = ds.file_meta.TransferSyntaxUID
        for plugin in oracles(syntax, bits):
            decoder = get_decoder(syntax)
            other = decoder.as_array(ds, index=0, decoding_plugin=plugin)[0]
            np.testing.assert_array_equal(other, ours, err_msg=f"{plugin}, {bits} bits")
            compared.add(plugin)
    assert compared, "no oracle is installed"


@pytest.mark.parametrize("name", ["JPGExtended.dcm", "JPEG-lossy.dcm"])
def test_12_bit_jpeg_is_as_gdcm_reads_it(name):
    """pydicom ships the files; its GDCM plugin does not know the syntax, GDCM does."""
    path = get_testdata_file(name, download=False)
    reader = gdcm.ImageReader()
    reader.SetFileName(path)
    assert reader.Read()
    pixels = reader.GetImage().GetBuffer().encode("utf-8", "surrogateescape")
    ours = decoding.decode(pydicom.dcmread(path), None)
    other = np.frombuffer(pixels, "<u2").reshape(ours.shape)
    assert other.max() > 255
    np.testing.assert_array_equal(ours, other)


def test_high_throughput_jpeg_2000_is_openjphs_too(tmp_path):
    path = dicom_syntaxes.write(
        tmp_path / "a.dcm", dicom_syntaxes.ramp(), "htj2k", bits=12
    )
    ds = pydicom.dcmread(path)
    frame = next(generate_frames(ds.PixelData, number_of_frames=1))
    other = imagecodecs.htj2k_decode(frame)
    np.testing.assert_array_equal(decoding.decode(ds, None), other)


def test_no_other_decoder_is_needed(tmp_path):
    """Every syntax is read where the tests' own decoders can't be imported."""
    for name in dicom_syntaxes.NAMES:
        bits = 8 if name in dicom_syntaxes.EIGHT_BITS else 12
        stored = film(0, shape=(40, 48)) >> (12 - bits)
        if name in dicom_syntaxes.CONSTANT:
            stored = dicom_syntaxes.ramp()
        dicom_syntaxes.write(tmp_path / f"{name}.dcm", stored, name, bits=bits)
    code = (
        "import sys\n"
        "for name in ('gdcm', 'PIL', 'jpeg_ls', 'openjpeg', 'rle', 'pylibjpeg'):\n"
        "    sys.modules[name] = None\n"
        "from pathlib import Path\n"
        "from data.cxr_registry.dicom import reader as dicom\n"
        "for path in sorted(Path(sys.argv[1]).iterdir()):\n"
        "    print(dicom.read_radiograph(path).pixels.shape)\n"
    )
    command = [sys.executable, "-c", code, str(tmp_path)]
    done = subprocess.run(
        command, cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr[-2000:]
    assert len(done.stdout.splitlines()) == len(dicom_syntaxes.NAMES)


# --- what is cut or claims other than it holds


@pytest.mark.parametrize("name", ENCAPSULATED)
def test_a_cut_frame_is_refused(tmp_path, name):
    """libjpeg fills in what a cut file lacks: half a film would pass for a whole."""
    bits = 8 if name in dicom_syntaxes.EIGHT_BITS else 12
    stored = film(0) >> (12 - bits)
    if name in dicom_syntaxes.CONSTANT:
        stored = dicom_syntaxes.ramp()
    path = dicom_syntaxes.write(tmp_path / "a.dcm", stored, name, bits=bits)
    ds = pydicom.dcmread(path)
    frame = next(generate_frames(ds.PixelData, number_of_frames=1)).rstrip(b"\0")
    decoding.decode(ds, None)
    for share in (0.5, 0.8, 0.95):
        for padding in (b"", b"\0" * 4000):
            cut = frame[: int(share * len(frame))] + padding
            if name == "rle" and padding:
                continue  # zeros are pixels there
            ds = pydicom.dcmread(path)
            ds.PixelData = encapsulate([cut])
            with pytest.raises(dicom.UnreadableRadiograph):
                decoding.decode(ds, None)


def rle(*segments: bytes, number: int | None = None, first: int = 64) -> bytes:
    """A frame of these segments, each in its place."""
    offsets = [first]
    for segment in segments[:-1]:
        offsets.append(offsets[-1] + len(segment))
    header = [len(segments) if number is None else number, *offsets]
    return struct.pack("<16I", *header, *[0] * (16 - len(header))) + b"".join(segments)


FULL = bytes([129, 7]) * 22 + bytes([193, 7])  # 22 runs of 128 bytes, one of 64
RLE_REFUSED = {
    "one segment for two bytes": rle(FULL),
    "a third segment": rle(FULL, FULL, FULL),
    "a number of segments of no header": rle(FULL, FULL, number=2**32 - 1),
    "a segment inside the header": struct.pack("<16I", 2, 62, 64 + len(FULL), *[0] * 13)
    + FULL * 2,
    "segments in disorder": struct.pack("<16I", 2, 64 + len(FULL), 64, *[0] * 13)
    + FULL * 2,
    "a segment outside": rle(FULL, FULL, first=10_000),
    "no header": b"\2\0\0\0" * 5,
    "too few pixels": rle(FULL, FULL[:-2]),
    "a run without its byte": rle(FULL[:-1], FULL[:-2] + bytes([128, 193])),
    "pixels without end": rle(FULL, bytes([129, 7]) * 100_000),
}


def of_frame(frame: bytes) -> pydicom.Dataset:
    ds = dataset(film(0))
    ds.file_meta.TransferSyntaxUID = uid.RLELossless
    ds.PixelData = encapsulate([frame])
    ds["PixelData"].VR = "OB"
    return ds


@pytest.mark.parametrize("reason", RLE_REFUSED)
def test_rle_that_contradicts_itself_is_refused(reason):
    with pytest.raises(dicom.UnreadableRadiograph, match="no decoder reads"):
        decoding.decode(of_frame(RLE_REFUSED[reason]), None)


@pytest.mark.parametrize("excess", [b"", b"\0\0", b"\0" * 64, bytes([129, 7]) * 2])
def test_rle_is_read_and_a_little_excess_is_cut(excess):
    """Some writers pad a segment by more than the byte that makes it even."""
    assert len(FULL) % 2 == 0
    stored = decoding.decode(of_frame(rle(FULL, FULL + excess)), None)
    np.testing.assert_array_equal(stored, np.full((60, 48), 0x0707))


@pytest.mark.parametrize(
    ("dtype", "bits", "signed", "expected"),
    [
        (np.uint16, 12, False, [0, 1, 0x7FF, 0x800, 0xFFF]),
        (np.uint16, 12, True, [0, 1, 0x7FF, -0x800, -1]),
        (np.int16, 12, False, [0, 1, 0x7FF, 0x800, 0xFFF]),
        (np.int16, 12, True, [0, 1, 0x7FF, -0x800, -1]),
        (np.uint8, 8, True, [0, 1, 0x7F, -0x80, -1]),
    ],
)
def test_sign_is_the_headers_whatever_the_codestreams_is(dtype, bits, signed, expected):
    values = np.array(expected)
    stored = values % (1 << bits)
    if np.dtype(dtype).kind == "i":
        stored = (stored + (1 << (bits - 1))) % (1 << bits) - (1 << (bits - 1))
    found = decoding.within_bits(
        stored.astype(dtype)[None], bits, signed=signed, drops=False
    )
    np.testing.assert_array_equal(found, values[None])


@pytest.mark.parametrize("values", [[0, 4096], [-2049, 0]])
def test_values_of_more_bits_are_an_overlay_or_a_fault(values):
    stored = np.array([values], np.int16)
    with pytest.raises(dicom.UnreadableRadiograph, match="outside its 12 bits"):
        decoding.within_bits(stored, 12, signed=False, drops=False)
    with pytest.raises(dicom.UnreadableRadiograph, match="outside its 12 bits"):
        decoding.within_bits(stored, 12, signed=False, drops=True)
    dropped = decoding.within_bits(
        stored, 12, signed=False, drops=True, has_overlay=True
    )
    np.testing.assert_array_equal(dropped, [[value % 4096 for value in values]])


def test_a_codestream_of_fewer_bits_than_stated_is_refused(tmp_path):
    path = dicom_syntaxes.write(tmp_path / "a.dcm", film(0) >> 4, "jpeg_ls", bits=8)
    ds = pydicom.dcmread(path)
    ds.BitsAllocated, ds.BitsStored, ds.HighBit = 16, 12, 11
    with pytest.raises(dicom.UnreadableRadiograph, match="8 bits in its pixels"):
        decoding.decode(ds, None)
