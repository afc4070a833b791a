"""Laws of brightness (window, tables, polarity, padding) by independent readings."""

from pathlib import Path

import highdicom
import numpy as np
import pydicom
import pytest

from data.cxr_registry.dicom import grayscale, reader
from tests.support import registry_files
from tests.support.registry_files import write

RAMP = np.arange(4096, dtype=np.int64).reshape(64, 64)


def pixels(path: Path, stored: np.ndarray = RAMP, **fields) -> np.ndarray:
    return reader.read_radiograph(write(path, stored, **fields)).pixels


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
    image = reader.read_radiograph(path)
    assert image.source == "image_range_window_missed"
    assert image.pixels.min() == 0 and image.pixels.max() == 1


def test_padding_is_air_whatever_the_polarity(tmp_path):
    stored = np.array([[0, 1000], [2000, 3000]])
    fields = {"PixelPaddingValue": 0, "PhotometricInterpretation": "MONOCHROME1"}
    ours = pixels(tmp_path / "a.dcm", stored, **fields)
    np.testing.assert_allclose(ours, [[0, 1], [0.5, 0]], atol=1e-6)


def test_voi_table_goes_before_the_window_and_clamps_at_its_ends(tmp_path):
    table = registry_files.lut(count=4, first=10, bits=8, data=[0, 51, 102, 255])
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
    table = registry_files.lut(count=3, first=0, bits=16, data=[0, 1000, 100])
    ours = pixels(
        tmp_path / "a.dcm",
        np.array([[0, 1, 2]]),
        ModalityLUTSequence=table,
        WindowCenter=500.5,
        WindowWidth=1001,
    )
    np.testing.assert_allclose(ours, [[0, 1, 0.1]], atol=1e-6)


@pytest.mark.parametrize("implicit", [False, True])
@pytest.mark.parametrize("signed", [False, True])
@pytest.mark.parametrize("bits", [8, 16])
@pytest.mark.parametrize("kind", ["VOILUTSequence", "ModalityLUTSequence"])
def test_tables_equal_an_independent_reading(tmp_path, kind, bits, signed, implicit):
    """As highdicom reads them; without a window the modality table's range is shown.

    Descriptor and padding are "US or SS" by the pixels' sign, which an implicit file
    does not say.
    """
    first = -300 if signed else 100
    data = np.linspace(0, (1 << bits) - 1, 1000)[::-1].round()
    if bits == 8 and implicit:  # highdicom reads them packed only
        data = data.astype(np.uint8).view("<u2")
    vr = "SS" if signed else "US"
    table = registry_files.lut(count=1000, first=first, bits=bits, data=data, vr=vr)
    stored = RAMP - 2048 if signed else RAMP
    path = write(tmp_path / "a.dcm", stored, **{kind: table})
    if implicit:
        ds = pydicom.dcmread(path)
        ds.file_meta.TransferSyntaxUID = pydicom.uid.ImplicitVRLittleEndian
        pydicom.dcmwrite(path, ds, implicit_vr=True, little_endian=True)
    image = highdicom.imread(path)
    theirs = image.get_frame(1, apply_voi_transform=None, dtype=np.float64)
    if kind == "ModalityLUTSequence":
        theirs = (theirs - theirs.min()) / (theirs.max() - theirs.min())
    np.testing.assert_allclose(reader.read_radiograph(path).pixels, theirs, atol=1e-6)


@pytest.mark.parametrize("implicit", [False, True])
def test_padding_below_zero_is_padding(tmp_path, implicit):
    stored = np.array([[-2000, -1999], [0, 1000]])
    path = write(tmp_path / "a.dcm", stored)
    ds = pydicom.dcmread(path)
    ds.add_new("PixelPaddingValue", "SS", -2000)
    if implicit:
        ds.file_meta.TransferSyntaxUID = pydicom.uid.ImplicitVRLittleEndian
    pydicom.dcmwrite(path, ds, implicit_vr=implicit, little_endian=True)
    ours = reader.read_radiograph(path).pixels
    np.testing.assert_allclose(ours, [[0, 0], [1999 / 2999, 1]], atol=1e-6)


def test_padding_range_is_air(tmp_path):
    fields = {"PixelPaddingValue": 10, "PixelPaddingRangeLimit": 12}
    stored = np.array([[10, 11], [12, 13], [9, 113]])
    ours = pixels(tmp_path / "a.dcm", stored, **fields)
    np.testing.assert_allclose(ours, [[0, 0], [0, 4 / 104], [0, 1]], atol=1e-6)


def test_table_of_8_bit_entries_packed_in_words(tmp_path):
    """PS3.3 C.11.1.1.1: entries of 8 bits may share 16-bit words, the low one first."""
    table = registry_files.lut(count=4, first=0, bits=8, data=[0x3300, 0xFF66])
    ours = pixels(tmp_path / "a.dcm", np.array([[0, 1], [2, 3]]), VOILUTSequence=table)
    np.testing.assert_allclose(ours, [[0, 0.2], [0.4, 1]], atol=1e-6)


def test_function_of_no_known_name_is_the_linear_one(tmp_path):
    function = {"VOILUTFunction": "LOGARITHMIC"}
    window = {"WindowCenter": 2000, "WindowWidth": 1000}
    ours = pixels(tmp_path / "a.dcm", **window, **function)
    np.testing.assert_array_equal(ours, pixels(tmp_path / "b.dcm", **window))
    narrow = {"WindowCenter": 2000, "WindowWidth": 0.5}  # LINEAR needs 1 at least
    path = write(tmp_path / "a.dcm", RAMP, **narrow, **function)
    assert reader.read_radiograph(path).source == "image_range"


MALFORMED = {
    "a center that is not a number": {"WindowCenter": "nan", "WindowWidth": "10"},
    "a width without end": {"WindowCenter": "10", "WindowWidth": "inf"},
    "a slope of 0": {"RescaleSlope": "0", "RescaleIntercept": "5"},
    "an intercept without end": {"RescaleSlope": "1", "RescaleIntercept": "-inf"},
    "a slope over the range": {"RescaleSlope": "1e308", "RescaleIntercept": "0"},
    "entries above their bits": {
        "VOILUTSequence": registry_files.lut(count=2, first=0, bits=8, data=[0, 999])
    },
    "fewer entries than stated": {
        "VOILUTSequence": registry_files.lut(count=9, first=0, bits=8, data=[1, 2])
    },
}


@pytest.mark.parametrize("reason", MALFORMED)
def test_malformed_brightness_is_refused_and_never_shown(tmp_path, reason):
    ds = registry_files.dataset(RAMP)
    with pydicom.config.disable_value_validation():
        for name, value in MALFORMED[reason].items():
            setattr(ds, name, value)
        ds.save_as(tmp_path / "a.dcm", enforce_file_format=True)
    told = "RescaleSlope is 0" if reason == "a slope of 0" else "malformed"
    with pytest.raises(reader.UnreadableRadiograph, match=told):
        reader.read_radiograph(tmp_path / "a.dcm")
