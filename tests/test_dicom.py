"""Laws of the reader: brightness, polarity, orientation, refusal."""

import os
from pathlib import Path

import cv2
import highdicom
import numpy as np
import pydicom
import pytest
from pydicom import uid
from pydicom.dataset import Dataset
from pydicom.encaps import encapsulate
from pydicom.sequence import Sequence
from registry_files import film, write

from data.cxr_registry import codestream, decoding, dicom, grayscale

RAMP = np.arange(4096, dtype=np.int64).reshape(64, 64)


def pixels(path: Path, stored: np.ndarray = RAMP, **fields) -> np.ndarray:
    return dicom.read_radiograph(write(path, stored, **fields)).pixels


def lut(*, count: int, first: int, bits: int, data) -> Sequence:
    item = Dataset()
    item.add_new(0x00283002, "US", [count, first, bits])
    item.add_new(0x00283006, "US", [int(value) for value in data])
    item.ModalityLUTType = "US"
    return Sequence([item])


@pytest.mark.parametrize(
    ("function", "expected"),
    [
        # c = 100, w = 41, at x = 80, 100, 110, 120
        ("LINEAR", [0.0125, 0.5125, 0.7625, 1.0]),
        ("LINEAR_EXACT", [0.5 - 20 / 41, 0.5, 0.5 + 10 / 41, 0.5 + 20 / 41]),
        ("SIGMOID", 1 / (1 + np.exp(-4 * np.array([-20, 0, 10, 20]) / 41))),
    ],
)
def test_window_functions_are_the_standards_formulas(function, expected):
    x = np.array([80.0, 100.0, 110.0, 120.0])
    shown = grayscale.apply_window(x, center=100, width=41, function=function)
    np.testing.assert_allclose(shown, expected, atol=1e-12)


@pytest.mark.parametrize(
    "fields",
    [
        {"WindowCenter": 2000, "WindowWidth": 1000},
        {"WindowCenter": 600, "WindowWidth": 801, "VOILUTFunction": "LINEAR_EXACT"},
        {"WindowCenter": 2000, "WindowWidth": 900, "VOILUTFunction": "SIGMOID"},
        {"WindowCenter": [900, 2000], "WindowWidth": [700, 100]},
        {
            "WindowCenter": 0,
            "WindowWidth": 2000,
            "VOILUTFunction": "LINEAR_EXACT",
            "RescaleSlope": 0.5,
            "RescaleIntercept": -1000,
        },
        {"WindowCenter": 2000, "WindowWidth": 999, "PresentationLUTShape": "INVERSE"},
        {
            "WindowCenter": 2000,
            "WindowWidth": 999,
            "PhotometricInterpretation": "MONOCHROME1",
            "PresentationLUTShape": "INVERSE",
        },
        {
            "WindowCenter": 2000,
            "WindowWidth": 999,
            "PhotometricInterpretation": "MONOCHROME1",
        },
    ],
)
def test_brightness_equals_an_independent_reading(tmp_path, fields):
    ours = pixels(tmp_path / "a.dcm", **fields)
    image = highdicom.imread(tmp_path / "a.dcm")
    theirs = image.get_frame(1, apply_voi_transform=True, dtype=np.float64)
    np.testing.assert_allclose(ours, theirs, atol=1e-6)


def test_monochrome1_with_inverse_is_inverted_once(tmp_path):
    once = pixels(
        tmp_path / "a.dcm",
        PhotometricInterpretation="MONOCHROME1",
        PresentationLUTShape="INVERSE",
    )
    assert once[0, 0] == 1 and once[-1, -1] == 0


def test_signed_values_are_windowed_as_signed(tmp_path):
    stored = np.array([[-2048, -100], [0, 2047]])
    ours = pixels(tmp_path / "a.dcm", stored, WindowCenter=0.5, WindowWidth=201)
    np.testing.assert_allclose(ours, [[0, 0], [0.5, 1]], atol=1e-6)


def test_linear_window_is_in_modality_values_not_in_stored_ones(tmp_path):
    stored = np.array([[1000, 1400], [1801, 3000]])
    fields = {"RescaleSlope": 0.5, "RescaleIntercept": -900}
    ours = pixels(
        tmp_path / "a.dcm", stored, WindowCenter=0.5, WindowWidth=801, **fields
    )
    expected = [[0, 0.25], [0.5 + 0.5 / 800, 1]]  # -400, -200, 0.5, 600 in 800
    np.testing.assert_allclose(ours, expected, atol=1e-6)


def test_bits_above_bits_stored_are_ignored(tmp_path):
    stored = np.array([[5, 4095], [5 + 0xF000, 4095]])
    stored = stored.astype(np.uint16).astype(np.int64)
    ours = pixels(tmp_path / "a.dcm", stored, PixelRepresentation=0)
    np.testing.assert_array_equal(ours, [[0, 1], [0, 1]])


@pytest.mark.parametrize("empty", [{}, {"WindowCenter": None, "WindowWidth": None}])
def test_without_window_the_image_range_is_shown(tmp_path, empty):
    stored = np.array([[100, 200], [150, 300]])
    ours = pixels(tmp_path / "a.dcm", stored, **empty)
    np.testing.assert_allclose(ours, [[0, 0.5], [0.25, 1]], atol=1e-6)


def test_window_that_misses_the_image_falls_back_to_its_range(tmp_path):
    stored = np.arange(4096).reshape(64, 64) % 500 + 3000
    path = write(tmp_path / "a.dcm", stored, WindowCenter=100, WindowWidth=50)
    image = dicom.read_radiograph(path)
    assert image.source == "image_range_window_missed"
    assert image.pixels.min() == 0 and image.pixels.max() == 1


def test_padding_is_air_whatever_the_polarity(tmp_path):
    stored = np.array([[0, 1000], [2000, 3000]])
    fields = {"PixelPaddingValue": 0, "PhotometricInterpretation": "MONOCHROME1"}
    ours = pixels(tmp_path / "a.dcm", stored, **fields)
    np.testing.assert_allclose(ours, [[0, 1], [0.5, 0]], atol=1e-6)


def test_voi_table_goes_before_the_window_and_clamps_at_its_ends(tmp_path):
    table = lut(count=4, first=10, bits=8, data=[0, 51, 102, 255])
    stored = np.array([[0, 10, 11], [12, 13, 4000]])
    ours = pixels(
        tmp_path / "a.dcm",
        stored,
        VOILUTSequence=table,
        WindowCenter=1,
        WindowWidth=1,
    )
    np.testing.assert_allclose(ours, [[0, 0, 0.2], [0.4, 1, 1]], atol=1e-6)


def test_modality_table_feeds_the_window(tmp_path):
    table = lut(count=3, first=0, bits=16, data=[0, 1000, 100])
    ours = pixels(
        tmp_path / "a.dcm",
        np.array([[0, 1, 2]]),
        ModalityLUTSequence=table,
        WindowCenter=500.5,
        WindowWidth=1001,
    )
    np.testing.assert_allclose(ours, [[0, 1, 0.1]], atol=1e-6)


# Patient Orientation -> how the upright image was turned to be stored so.
TURNS = {
    ("L", "F"): lambda a: a,
    ("R", "F"): lambda a: a[:, ::-1],
    ("L", "H"): lambda a: a[::-1],
    ("R", "H"): lambda a: a[::-1, ::-1],
    ("F", "L"): lambda a: a.T,
    ("F", "R"): lambda a: a[:, ::-1].T,
    ("H", "L"): lambda a: a[::-1].T,
    ("H", "R"): lambda a: a[::-1, ::-1].T,
    ("A", "F"): lambda a: a,  # a lateral view stays as it is
    ("P", "H"): lambda a: a[::-1],
}


@pytest.mark.parametrize("letters", TURNS)
def test_any_orientation_comes_upright_and_boxes_follow(tmp_path, letters):
    upright = film(0)
    stored = TURNS[letters](upright)
    fields = {"WindowCenter": 2048, "WindowWidth": 4096}
    path = write(tmp_path / "a.dcm", stored, PatientOrientation=list(letters), **fields)
    image = dicom.read_radiograph(path)
    np.testing.assert_allclose(image.pixels, upright / 4095, atol=1e-6)
    rows, columns = np.nonzero(stored == 4000)
    box = [columns.min(), rows.min(), columns.max() + 1, rows.max() + 1]
    np.testing.assert_array_equal(image.orient(np.array([box])), [[8, 12, 20, 24]])


def native(syntax):
    def encode(ds, stored):
        ds.file_meta.TransferSyntaxUID = syntax
        if syntax == uid.ExplicitVRBigEndian:
            ds.PixelData = stored.astype(">u2").tobytes()

    return encode


def compressed(syntax):
    def encode(ds, stored):
        del stored
        ds.compress(syntax, generate_instance_uid=False)

    return encode


SYNTAXES = {
    "implicit": native(uid.ImplicitVRLittleEndian),
    "explicit": native(uid.ExplicitVRLittleEndian),
    "big_endian": native(uid.ExplicitVRBigEndian),
    "rle": compressed(uid.RLELossless),
    "jpeg_ls": compressed(uid.JPEGLSLossless),
    "jpeg_2000": compressed(uid.JPEG2000Lossless),
}


@pytest.mark.parametrize("name", SYNTAXES)
def test_lossless_syntaxes_give_the_same_pixels(tmp_path, name):
    stored = film(1)
    expected = pixels(tmp_path / "plain.dcm", stored)
    ds = pydicom.dcmread(tmp_path / "plain.dcm")
    SYNTAXES[name](ds, stored)
    little = name != "big_endian"
    implicit = name == "implicit"
    pydicom.dcmwrite(tmp_path / "a.dcm", ds, little_endian=little, implicit_vr=implicit)
    np.testing.assert_array_equal(
        dicom.read_radiograph(tmp_path / "a.dcm").pixels, expected
    )


def test_eight_bit_jpeg_baseline_is_close(tmp_path):
    stored = cv2.GaussianBlur(film(2).astype(np.float32) / 16, (9, 9), 3)
    stored = stored.astype(np.uint8)
    _, jpeg = cv2.imencode(".jpg", stored, [cv2.IMWRITE_JPEG_QUALITY, 95])
    window = {"WindowCenter": 128, "WindowWidth": 256}
    path = write(tmp_path / "a.dcm", stored, bits=8, **window)
    ds = pydicom.dcmread(path)
    ds.file_meta.TransferSyntaxUID = uid.JPEGBaseline8Bit
    ds.PixelData = encapsulate([jpeg.tobytes()])
    ds["PixelData"].VR = "OB"
    ds.save_as(path)
    ours = dicom.read_radiograph(path).pixels
    assert np.abs(ours * 255 - stored).max() < 6


def test_missing_transfer_syntax_is_read_when_the_length_proves_it(tmp_path):
    expected = pixels(tmp_path / "a.dcm", film(3))
    raw = (tmp_path / "a.dcm").read_bytes()
    meta = 132 + 12 + int.from_bytes(raw[140:144], "little")
    (tmp_path / "b.dcm").write_bytes(raw[meta:])
    ours = dicom.read_radiograph(tmp_path / "b.dcm").pixels
    np.testing.assert_array_equal(ours, expected)
    (tmp_path / "c.dcm").write_bytes(raw[meta:-100])
    with pytest.raises(dicom.UnreadableRadiograph):
        dicom.read_radiograph(tmp_path / "c.dcm")


REFUSED = {
    "several frames": {"NumberOfFrames": 2},
    "no radiograph by its Modality": {"Modality": "CT"},
    "FOR PROCESSING": {"PresentationIntentType": "FOR PROCESSING"},
    "neither MONOCHROME1": {"PhotometricInterpretation": "PALETTE COLOR"},
    "over the bound of": {"Rows": 60000, "Columns": 60000},
    "states no image size": {"Rows": 0},
    "no decoder reads": {"PixelData": b"\0" * 10},
    "malformed": {"VOILUTSequence": lut(count=9, first=0, bits=8, data=[1, 2])},
}


@pytest.mark.parametrize("reason", REFUSED)
def test_refusal_is_one_line_with_its_reason(tmp_path, reason):
    path = write(tmp_path / "CANARY.dcm", film(0), **REFUSED[reason])
    with pytest.raises(dicom.UnreadableRadiograph, match=reason) as caught:
        dicom.read_radiograph(path)
    assert "\n" not in str(caught.value) and "CANARY" not in str(caught.value)


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "is no DICOM"),
        (b"a note about the patient" * 20, "is no DICOM|damaged"),
        (codestream.PNG + b"\0" * 8 + b"\0\0\xff\xff" * 2, "over the bound"),
        (codestream.PNG + b"\0" * 8 + b"\0\0\0\x08" * 2, "damaged PNG"),
        (b"\0" * 128 + b"DICM" + b"\xff" * 50, "damaged|without pixels"),
    ],
)
def test_what_is_no_image_is_refused(tmp_path, content, reason):
    (tmp_path / "a").write_bytes(content)
    with pytest.raises(dicom.UnreadableRadiograph, match=reason):
        dicom.read_radiograph(tmp_path / "a")


def test_missing_file_is_refused_without_its_path(tmp_path):
    with pytest.raises(dicom.UnreadableRadiograph, match="cannot be opened") as caught:
        dicom.read_radiograph(tmp_path / "CANARY")
    assert "CANARY" not in str(caught.value)


def test_codestream_larger_than_its_header_is_refused_before_decoding(tmp_path):
    path = write(tmp_path / "a.dcm", film(0))
    ds = pydicom.dcmread(path)
    ds.compress(uid.JPEG2000Lossless, generate_instance_uid=False)
    ds.Rows -= 1
    ds.save_as(path)
    with pytest.raises(dicom.UnreadableRadiograph, match="another size"):
        dicom.read_radiograph(path)


def test_only_the_whitelist_enters_the_process(tmp_path):
    path = write(tmp_path / "a.dcm", film(0), PatientName="CANARY^NAME", PatientID="7")
    header = decoding.read_header(path.read_bytes())
    assert {element.keyword for element in header} <= set(decoding.WHITELIST)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_png_and_grey_colour_png_read_alike(tmp_path, dtype):
    stored = (film(5) >> (4 if dtype == np.uint8 else 0)).astype(dtype)
    cv2.imwrite(str(tmp_path / "a.png"), stored)
    cv2.imwrite(str(tmp_path / "b.png"), np.dstack([stored] * 3))
    first = dicom.read_radiograph(tmp_path / "a.png")
    second = dicom.read_radiograph(tmp_path / "b.png")
    np.testing.assert_array_equal(first.pixels, second.pixels)
    white = 255 if dtype == np.uint8 else 4095
    np.testing.assert_allclose(first.pixels, stored / white, atol=1e-6)
    assert dicom.stored_shape(tmp_path / "a.png") == stored.shape


def test_colour_is_refused(tmp_path):
    cv2.imwrite(str(tmp_path / "a.png"), np.eye(8)[..., None] * [0, 99, 255])
    with pytest.raises(dicom.UnreadableRadiograph, match="in colour"):
        dicom.read_radiograph(tmp_path / "a.png")


@pytest.mark.parametrize("kind", [".png", ".jpg"])
def test_codestream_shape_is_what_was_written(kind):
    _, data = cv2.imencode(kind, np.zeros((37, 91), np.uint8))
    assert codestream.image_shape(data.tobytes()) == (37, 91)
    assert codestream.image_shape(data.tobytes()[:12]) is None


@pytest.mark.parametrize("shape", [(60, 48), (33, 77), (1, 50), (100, 100), (301, 200)])
@pytest.mark.parametrize("bits", [8, 16])
def test_square_keeps_the_film_whole_and_its_border_sharp(shape, bits):
    square, content, affine = dicom.to_square(np.ones(shape, np.float32), 64, bits=bits)
    y0, x0, y1, x1 = (round(value * 64) for value in content)
    white = 255 if bits == 8 else 65535
    assert (square[y0:y1, x0:x1] == white).all()
    assert (square == white).sum() == (y1 - y0) * (x1 - x0)
    edges = dicom.map_boxes(affine, np.array([[0, 0, shape[1], shape[0]]]))
    np.testing.assert_allclose(edges, [[x0, y0, x1, y1]], atol=1e-9)
    assert abs((y0 + y1) - 64) <= 1 and abs((x0 + x1) - 64) <= 1


def test_spacing_of_unequal_sides_or_of_zero_is_unknown(tmp_path):
    for spacing, expected in (([0.2, 0.2], 0.2), ([0.2, 0.3], None), ([0, 0], None)):
        path = write(tmp_path / "a.dcm", film(0), PixelSpacing=spacing)
        assert dicom.read_radiograph(path).spacing_mm == expected


SAMPLES = Path(os.environ.get("AALS_DICOM_DIR", "/nonexistent"))


@pytest.mark.skipif(
    not SAMPLES.is_dir(), reason="set AALS_DICOM_DIR to a folder of DICOM files"
)
def test_sample_files_are_read_or_refused_in_one_line():
    refused = []
    for path in sorted(SAMPLES.glob("*.dcm")):
        try:
            ours = dicom.read_radiograph(path, modalities=None)
        except dicom.UnreadableRadiograph as error:
            assert "\n" not in str(error)
            refused.append(path.name)
            continue
        assert 0 <= ours.pixels.min() < ours.pixels.max() <= 1
    assert refused in ([], ["RG2_JPLY.dcm"])
