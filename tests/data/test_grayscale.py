"""Laws of brightness (window, tables, polarity, padding) by independent readings."""

from pathlib import Path

import cv2
import highdicom
import numpy as np
import pydicom
import pytest

from data.cxr_registry.dicom import grayscale, reader
from tests.support import dicom_syntaxes, registry_files
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


# ---- tables as writers make them


def encoded(path: Path, ds: pydicom.Dataset, syntax: str, kind: str) -> Path:
    """Writes the file in that syntax with the words of its tables as OW."""
    order = ">u2" if syntax == "big_endian" else "<u2"
    for item in ds[kind].value:
        words = np.atleast_1d(item.LUTData).astype(order)
        item.add_new("LUTData", "OW", words.tobytes())
    if ds.BitsAllocated == 16:
        stored = np.frombuffer(ds.PixelData, "<u2")
        ds.PixelData = stored.astype(order).tobytes()
    ds.file_meta.TransferSyntaxUID = dicom_syntaxes.NATIVE[syntax]
    little, implicit = syntax != "big_endian", syntax == "implicit"
    pydicom.dcmwrite(path, ds, implicit_vr=implicit, little_endian=little)
    return path


@pytest.mark.parametrize("bits", [8, 12, 16])
@pytest.mark.parametrize("kind", ["VOILUTSequence", "ModalityLUTSequence"])
def test_words_of_a_table_have_the_order_of_the_file(tmp_path, kind, bits):
    """In big endian files the bytes are the other way round, packed entries too."""
    white = (1 << bits) - 1
    entries = np.linspace(0, white, 4096).round().astype("<u2")
    words = entries.astype(np.uint8).view("<u2") if bits == 8 else entries
    shown = entries[RAMP] / white
    for syntax in dicom_syntaxes.NATIVE:
        table = registry_files.lut(count=4096, first=0, bits=bits, data=words)
        ds = registry_files.dataset(RAMP, **{kind: table})
        image = reader.read_radiograph(encoded(tmp_path / "a", ds, syntax, kind))
        np.testing.assert_allclose(image.pixels, shown, atol=1e-6, err_msg=syntax)


FIRST_MAPPED = [
    # signed pixels, intercept, number of entries, first value mapped
    (False, 0, 4096, 0),
    (False, -1024, 4096, -1024),  # the rescaled range is signed: SS
    (False, -1024, 1000, -500),
    (True, 0, 4096, -2048),
    (True, 40000, 4096, 40000 - 2048),  # the rescaled range is unsigned: US
    (False, 50000, 4096, 50000),
    (False, 0, 40000, 0),  # a number of entries that SS makes negative
    (True, 0, 40000, -2048),
    (False, 0, 5120, -1024),  # the table begins before the pixels
]


@pytest.mark.parametrize("vr", ["implicit", "US", "SS"])
@pytest.mark.parametrize(("signed", "intercept", "count", "first"), FIRST_MAPPED)
def test_first_value_mapped_has_the_sign_of_what_is_mapped(
    tmp_path, signed, intercept, count, first, vr
):
    """PS3.3 C.11.2.1.1, whatever VR the writer chose for the same sixteen bits."""
    stored = RAMP - 2048 if signed else RAMP
    entries = np.linspace(0, 4095, count).round().astype(np.int64)
    table = registry_files.lut(count=1, first=0, bits=12, data=entries)
    ds = registry_files.dataset(
        stored, VOILUTSequence=table, RescaleSlope=1, RescaleIntercept=intercept
    )
    word = first % (1 << 16)  # 40,000 entries are written as a word without sign
    if vr == "SS" and word >= 1 << 15:
        word -= 1 << 16
    ds.VOILUTSequence[0].add_new(
        "LUTDescriptor", "SS" if vr == "SS" else "US", [count, word, 12]
    )
    syntax = "implicit" if vr == "implicit" else "explicit"
    path = encoded(tmp_path / "a.dcm", ds, syntax, "VOILUTSequence")
    at = np.clip(stored + intercept - first, 0, count - 1)
    image = reader.read_radiograph(path)
    if image.source == "voi_lut":
        np.testing.assert_allclose(image.pixels, entries[at] / 4095, atol=1e-6)
    else:  # so many entries leave few levels of these pixels
        assert count == 40000 and image.source == "image_range_voi_lut_missed"


@pytest.mark.parametrize("kind", ["MONOCHROME1", "MONOCHROME2"])
@pytest.mark.parametrize("used", range(8, 17))
def test_white_is_of_the_bits_that_the_entries_have(tmp_path, used, kind):
    """A descriptor may say 16 and the entries end at 4095: no film is near black."""
    entries = np.linspace(0, (1 << used) - 1, 4096).round()
    table = registry_files.lut(count=4096, first=0, bits=16, data=entries)
    path = write(
        tmp_path / "a", RAMP, VOILUTSequence=table, PhotometricInterpretation=kind
    )
    image = reader.read_radiograph(path)
    expected = entries[RAMP] / ((1 << used) - 1)
    expected = 1 - expected if kind == "MONOCHROME1" else expected
    np.testing.assert_allclose(image.pixels, expected, atol=1e-6)
    assert image.source == ("voi_lut" if used == 16 else "voi_lut_of_fewer_bits")


def test_a_table_that_uses_half_of_its_range_is_shown_as_it_is(tmp_path):
    table = registry_files.lut(count=4096, first=0, bits=12, data=RAMP.ravel() // 2 + 1)
    path = write(tmp_path / "a.dcm", RAMP, VOILUTSequence=table)
    image = reader.read_radiograph(path)
    assert image.source == "voi_lut"
    np.testing.assert_allclose(image.pixels, (RAMP // 2 + 1) / 4095, atol=1e-6)


# ---- contrast of what comes out


def chest(bits: int, *, border: bool = False) -> np.ndarray:
    """int[60, 48]: a gradient with noise and a bright box, in part of the range."""
    high = (1 << bits) - 1
    y, x = np.mgrid[:60, :48]
    light = 0.08 + 0.4 * (y + x) / 106
    light += np.random.default_rng(bits).normal(0, 0.01, light.shape)
    light[8:20, 6:18] = 0.85
    stored = np.rint(np.clip(light, 0, 1) * high).astype(np.int64)
    if border:
        stored[:, :8] = stored[:, 40:] = 0
    return stored


def own_range(stored: np.ndarray) -> np.ndarray:
    return (stored - stored.min()) / (stored.max() - stored.min())


def whole(bits: int) -> dict[str, float]:
    return {"WindowCenter": 2.0 ** (bits - 1), "WindowWidth": 2.0**bits}


@pytest.mark.parametrize("border", [False, True])
@pytest.mark.parametrize(
    ("stored_bits", "window_bits"),
    [(8, 12), (8, 16), (10, 12), (12, 16), (12, 8), (12, 10), (14, 12), (16, 8)],
)
def test_a_window_of_another_depth_gives_way_to_the_own_range(
    tmp_path, stored_bits, window_bits, border
):
    stored = chest(stored_bits, border=border)
    path = write(tmp_path / "a", stored, bits=stored_bits, **whole(window_bits))
    image = reader.read_radiograph(path)
    assert image.source == "image_range_window_missed"
    np.testing.assert_allclose(image.pixels, own_range(stored), atol=1e-6)


MISSED = {
    "a threshold": {"WindowCenter": 1500, "WindowWidth": 1},
    "of which the pixels reach a fifth": {"WindowCenter": 10000, "WindowWidth": 19000},
    "a narrow one": {"WindowCenter": 2600, "WindowWidth": 300},
    "a flat one": {"WindowCenter": 2000, "WindowWidth": 50000},
    "a flat sigmoid": {
        "WindowCenter": 2000,
        "WindowWidth": 50000,
        "VOILUTFunction": "SIGMOID",
    },
    "of stored values where the rescaled are few": {
        **whole(12),
        "RescaleSlope": 0.05,
        "RescaleIntercept": 0,
    },
    "a black table": {
        "VOILUTSequence": registry_files.lut(
            count=4096, first=0, bits=12, data=[0] * 4095 + [4095]
        )
    },
}


@pytest.mark.parametrize("border", [False, True])
@pytest.mark.parametrize("stored_bits", [14, 15, 16])
@pytest.mark.parametrize("width", [65535, 65536])
@pytest.mark.parametrize("center", [32767, 32767.5, 32768])
def test_a_window_of_sixteen_bits_gives_way_on_values_of_fourteen(
    tmp_path, center, width, stored_bits, border
):
    stored = chest(14, border=border)  # whatever the header says of its bits
    window = {"WindowCenter": center, "WindowWidth": width}
    image = reader.read_radiograph(
        write(tmp_path / "a", stored, bits=stored_bits, **window)
    )
    assert image.source == "image_range_window_missed"
    np.testing.assert_allclose(image.pixels, own_range(stored), atol=1e-6)


def test_a_ramp_table_of_more_bits_gives_way_as_a_window_does(tmp_path):
    stored = chest(12)
    ramp = registry_files.lut(
        count=1 << 14, first=0, bits=14, data=list(range(1 << 14))
    )
    path = write(tmp_path / "a", stored, bits=14, VOILUTSequence=ramp)
    image = reader.read_radiograph(path)
    assert image.source == "image_range_voi_lut_missed"
    np.testing.assert_allclose(image.pixels, own_range(stored), atol=1e-6)


@pytest.mark.parametrize("name", MISSED)
def test_what_shows_next_to_nothing_gives_way_to_the_own_range(tmp_path, name):
    stored = chest(12)
    image = reader.read_radiograph(write(tmp_path / "a", stored, **MISSED[name]))
    assert image.source.endswith("_missed")
    assert grayscale.is_corrected(image.source)
    np.testing.assert_allclose(image.pixels, own_range(stored), atol=1e-6)


@pytest.mark.parametrize("border", [False, True])
@pytest.mark.parametrize("bits", [8, 10, 12, 14, 16])
def test_a_fitting_window_is_kept(tmp_path, bits, border):
    stored = chest(bits, border=border)
    for window in (whole(bits), whole(bits - 1) if bits > 8 else whole(9)):
        path = write(tmp_path / "a", stored, bits=bits, **window)
        assert reader.read_radiograph(path).source == "window"
    # two values are black and white in any window; so they are meant
    drawn = np.where(stored > stored.mean(), (1 << bits) - 1, 0)
    path = write(tmp_path / "a", drawn, bits=bits, **whole(bits))
    assert reader.read_radiograph(path).source == "window"


@pytest.mark.parametrize("signed", [False, True])
def test_a_few_pixels_far_off_do_not_stretch_the_range(tmp_path, signed):
    stored = chest(12) - 2000 * signed
    stored[0, :2] = 30000
    path = write(tmp_path / "a.dcm", stored, bits=16)
    image = reader.read_radiograph(path)
    assert image.source == "image_range_without_outliers"
    film = image.pixels[1:]
    assert np.ptp(film) == 1 and 0.2 < np.median(film) < 0.7


def test_a_picture_with_pixels_far_off_is_shown_by_its_range(tmp_path):
    stored = chest(12).astype(np.uint16)
    cv2.imwrite(str(tmp_path / "a.png"), stored)
    assert reader.read_radiograph(tmp_path / "a.png").source == "file"
    stored[0, :2] = 65535
    cv2.imwrite(str(tmp_path / "a.png"), stored)
    image = reader.read_radiograph(tmp_path / "a.png")
    assert image.source == "file_range"
    assert np.ptp(image.pixels[1:]) == 1


@pytest.mark.parametrize("word", [-2000, (1 << 16) - 2000])
def test_padding_has_the_sign_of_the_pixels_whatever_its_vr(tmp_path, word):
    ds = registry_files.dataset(np.array([[-2000, -1999], [0, 1000]]))
    ds.add_new("PixelPaddingValue", "SS" if word < 0 else "US", word)
    ds.save_as(tmp_path / "a.dcm")
    ours = reader.read_radiograph(tmp_path / "a.dcm").pixels
    np.testing.assert_allclose(ours, [[0, 0], [1999 / 2999, 1]], atol=1e-6)


def test_code_words_are_read_in_any_case(tmp_path):
    fields = {"PhotometricInterpretation": "monochrome1"}
    with pydicom.config.disable_value_validation():
        ours = pixels(tmp_path / "a.dcm", **fields)
    assert ours[0, 0] == 1 and ours[-1, -1] == 0


def test_a_slope_below_zero_turns_the_values_and_not_the_meaning(tmp_path):
    fields = {"RescaleSlope": -1, "RescaleIntercept": 4095}
    ours = pixels(tmp_path / "a.dcm", **fields, **whole(12))
    np.testing.assert_allclose(ours, (4095 - RAMP) / 4095, atol=1e-6)
