"""Laws of the reader: orientation, geometry, limits, refusal."""

from pathlib import Path
from types import SimpleNamespace

import cv2
import numpy as np
import pydicom
import pytest
from pydicom import uid
from pydicom.sequence import Sequence as Items

from data.cxr_registry.build import encode
from data.cxr_registry.dicom import codestream, headers, reader, views
from tests.support import datasets, registry_files
from tests.support.registry_files import WINDOW, film, write

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
    path = write(tmp_path / "a.dcm", stored, PatientOrientation=list(letters), **WINDOW)
    image = reader.read_radiograph(path)
    np.testing.assert_allclose(image.pixels, upright / 4095, atol=1e-6)
    rows, columns = np.nonzero(stored == 4000)
    box = [columns.min(), rows.min(), columns.max() + 1, rows.max() + 1]
    np.testing.assert_array_equal(image.orient(np.array([box])), [[8, 12, 20, 24]])


def test_missing_transfer_syntax_is_read_when_the_length_proves_it(tmp_path):
    expected = reader.read_radiograph(write(tmp_path / "a.dcm", film(3))).pixels
    raw = (tmp_path / "a.dcm").read_bytes()
    meta = 132 + 12 + int.from_bytes(raw[140:144], "little")
    (tmp_path / "b.dcm").write_bytes(raw[meta:])
    ours = reader.read_radiograph(tmp_path / "b.dcm").pixels
    np.testing.assert_array_equal(ours, expected)
    (tmp_path / "c.dcm").write_bytes(raw[meta:-100])
    with pytest.raises(reader.UnreadableRadiograph):
        reader.read_radiograph(tmp_path / "c.dcm")


REFUSED = {
    "several frames": {"NumberOfFrames": 2},
    "Modality must be one of CR, DX, RG": {"Modality": "CT"},
    "FOR PROCESSING": {"PresentationIntentType": "FOR PROCESSING"},
    "neither MONOCHROME1": {"PhotometricInterpretation": "PALETTE COLOR"},
    "over the limit of": {"Rows": 60000, "Columns": 60000},
    "states no image size": {"Rows": 0},
    "no decoder reads": {"PixelData": b"\0" * 10},
    "HighBit must be BitsStored - 1": {"HighBit": 15},
    "BitsAllocated must be 1, 8, 16, 32 or 64": {"BitsAllocated": 12},
    "PixelRepresentation must be 0 or 1": {"PixelRepresentation": None},
}


@pytest.mark.parametrize("reason", REFUSED)
def test_refusal_is_one_line_with_its_reason(tmp_path, reason):
    path = write(tmp_path / "CANARY.dcm", film(0), **REFUSED[reason])
    with pytest.raises(reader.UnreadableRadiograph, match=reason) as caught:
        reader.read_radiograph(path)
    assert "\n" not in str(caught.value) and "CANARY" not in str(caught.value)


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "is not a DICOM"),
        (b"a note about the patient" * 20, "is not a DICOM|damaged"),
        (codestream.PNG + b"\0" * 8 + b"\0\0\xff\xff" * 2, "over the limit"),
        (codestream.PNG + b"\0" * 8 + b"\0\0\0\x08" * 2, "damaged PNG"),
        (b"\0" * 128 + b"DICM" + b"\xff" * 50, "damaged|without pixels"),
    ],
)
def test_what_is_no_image_is_refused(tmp_path, content, reason):
    (tmp_path / "a").write_bytes(content)
    with pytest.raises(reader.UnreadableRadiograph, match=reason):
        reader.read_radiograph(tmp_path / "a")


def test_missing_file_is_refused_without_its_path(tmp_path):
    with pytest.raises(reader.UnreadableRadiograph, match="cannot be opened") as caught:
        reader.read_radiograph(tmp_path / "CANARY")
    assert "CANARY" not in str(caught.value)


def test_codestream_larger_than_its_header_is_refused_before_decoding(tmp_path):
    path = write(tmp_path / "a.dcm", film(0))
    ds = pydicom.dcmread(path)
    ds.compress(uid.JPEG2000Lossless, generate_instance_uid=False)
    ds.Rows -= 1
    ds.save_as(path)
    with pytest.raises(reader.UnreadableRadiograph, match="another size"):
        reader.read_radiograph(path)


def test_only_the_whitelist_enters_the_process(tmp_path):
    path = write(tmp_path / "a.dcm", film(0), PatientName="CANARY^NAME", PatientID="7")
    header = headers.read_header(path.read_bytes())
    assert {element.keyword for element in header} <= set(headers.WHITELIST)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_png_and_grey_colour_png_read_alike(tmp_path, dtype):
    stored = (film(5) >> (4 if dtype == np.uint8 else 0)).astype(dtype)
    cv2.imwrite(str(tmp_path / "a.png"), stored)
    cv2.imwrite(str(tmp_path / "b.png"), np.dstack([stored] * 3))
    first = reader.read_radiograph(tmp_path / "a.png")
    second = reader.read_radiograph(tmp_path / "b.png")
    np.testing.assert_array_equal(first.pixels, second.pixels)
    white = 255 if dtype == np.uint8 else 4095
    np.testing.assert_allclose(first.pixels, stored / white, atol=1e-6)
    assert reader.stored_shape(tmp_path / "a.png") == stored.shape


def test_colour_is_refused(tmp_path):
    cv2.imwrite(str(tmp_path / "a.png"), np.eye(8)[..., None] * [0, 99, 255])
    with pytest.raises(reader.UnreadableRadiograph, match="in colour"):
        reader.read_radiograph(tmp_path / "a.png")


@pytest.mark.parametrize("kind", [".png", ".jpg"])
def test_codestream_shape_is_what_was_written(kind):
    _, data = cv2.imencode(kind, np.zeros((37, 91), np.uint8))
    samples = 0 if kind == ".png" else 1
    assert codestream.declared(data.tobytes()) == (37, 91, samples)
    assert codestream.image_shape(data.tobytes()[:12]) is None


@pytest.mark.parametrize("shape", [(60, 48), (33, 77), (1, 50), (100, 100), (301, 200)])
@pytest.mark.parametrize("bits", [8, 16])
def test_square_keeps_the_film_whole_and_its_border_sharp(shape, bits):
    square, content, affine = reader.to_square(
        np.ones(shape, np.float32), 64, bits=bits
    )
    y0, x0, y1, x1 = (round(value * 64) for value in content)
    white = 255 if bits == 8 else 65535
    assert (square[y0:y1, x0:x1] == white).all()
    assert (square == white).sum() == (y1 - y0) * (x1 - x0)
    edges = reader.map_boxes(affine, np.array([[0, 0, shape[1], shape[0]]]))
    np.testing.assert_allclose(edges, [[x0, y0, x1, y1]], atol=1e-9)
    assert abs((y0 + y1) - 64) <= 1 and abs((x0 + x1) - 64) <= 1


@pytest.mark.parametrize("factor", [2, 3, 7])
@pytest.mark.parametrize("bits", [8, 16])
def test_shrinking_by_a_whole_factor_is_the_mean_of_blocks(factor, bits):
    rng = np.random.default_rng(factor)
    image = rng.random((40 * factor, 32 * factor), np.float32)
    square = reader.to_square(image, 40, bits=bits).pixels
    blocks = image.reshape(40, factor, 32, factor).mean((1, 3), dtype=np.float64)
    white = (1 << bits) - 1
    film_columns = square[:, 4:36].astype(np.float64)
    assert np.abs(film_columns - blocks * white).max() <= 0.5 + 1e-6 * white
    assert not square[:, :4].any() and not square[:, 36:].any()


@pytest.mark.parametrize("letters", TURNS)
@pytest.mark.parametrize("shape", [(300, 200), (240, 480)])
def test_boxes_follow_painted_rectangles_into_the_square(tmp_path, letters, shape):
    """A bright box of the stored file is where its mapped box says, in the square."""
    rng = np.random.default_rng(sum(shape))
    stored = np.zeros(shape, np.int64)
    y0, x0 = (int(rng.integers(10, side // 2)) for side in shape)
    y1, x1 = y0 + 60, x0 + 40
    stored[y0:y1, x0:x1] = 4095
    path = write(tmp_path / "a.dcm", stored, PatientOrientation=list(letters), **WINDOW)
    image = reader.read_radiograph(path)
    square = reader.to_square(image.pixels, 96)
    box = reader.map_boxes(square.affine, image.orient(np.array([[x0, y0, x1, y1]])))[0]
    light = square.pixels / 255.0
    rows, columns = light.max(1), light.max(0)
    # half-covered border pixels are of half brightness: sums give the edges exactly
    painted = [columns.sum(), rows.sum()]
    np.testing.assert_allclose(box[2:] - box[:2], painted, atol=0.02)
    centre = [
        (line * (np.arange(96) + 0.5)).sum() / line.sum() for line in (columns, rows)
    ]
    np.testing.assert_allclose((box[:2] + box[2:]) / 2, centre, atol=0.05)


def test_pixel_spacing_goes_before_the_imager_s(tmp_path):
    cases = (
        ({"PixelSpacing": [0.2, 0.2], "ImagerPixelSpacing": [0.3, 0.3]}, 0.2),
        ({"ImagerPixelSpacing": [0.3, 0.3]}, 0.3),
        ({"PixelSpacing": [0, 0], "ImagerPixelSpacing": [0.3, 0.3]}, 0.3),
        ({"PixelSpacing": [0.2, 0.3]}, None),
        ({"PixelSpacing": None}, None),
        ({}, None),
    )
    for fields, expected in cases:
        path = write(tmp_path / "a.dcm", film(0), **fields)
        assert reader.read_radiograph(path).spacing_mm == expected, fields


def test_spacing_of_the_square_measures_the_same_length(tmp_path):
    """A bar of 40 pixels of 0.2 mm is 8 mm long in the square too."""
    path = write(tmp_path / "a.dcm", film(0, shape=(300, 200)), PixelSpacing=[0.2, 0.2])
    study = SimpleNamespace(
        path=path, row=2, labels={}, counts={}, regions=(), patient="p", image="a.dcm",
        days=0, view="", sex="", age=None,
    )  # fmt: skip
    options = datasets.options(tmp_path, tmp_path, side=96)
    example = encode.encode_study(study, options=options, key=b"k" * 32).example
    square = reader.to_square(reader.read_radiograph(path).pixels, 96)
    (x0, _, x1, _), *_ = reader.map_boxes(square.affine, np.array([[10, 0, 50, 9]]))
    np.testing.assert_allclose((x1 - x0) * example["spacing_mm"], 8, rtol=1e-5)


@pytest.mark.parametrize(
    ("flag", "expected"), [("YES", True), ("NO", False), ("", None), (None, None)]
)
def test_burned_in_flag_is_kept(tmp_path, flag, expected):
    fields = {} if flag is None else {"BurnedInAnnotation": flag}
    path = write(tmp_path / "a.dcm", film(0), **fields)
    assert reader.read_radiograph(path).burned_in is expected


def colour(path: Path, stored: np.ndarray, kind: str) -> Path:
    return write(
        path, stored, bits=8, SamplesPerPixel=3, PlanarConfiguration=0,
        PhotometricInterpretation=kind, PixelData=stored.astype(np.uint8).tobytes(),
    )  # fmt: skip


def test_dicom_in_colour_is_refused_unless_all_channels_say_the_same(tmp_path):
    grey = film(2) >> 4
    path = colour(tmp_path / "a.dcm", np.dstack([grey] * 3), "RGB")
    low, high = grey.min(), grey.max()
    expected = (grey - low) / (high - low)
    ours = reader.read_radiograph(path)
    np.testing.assert_allclose(ours.pixels, expected, atol=1e-6)
    tinted = np.dstack([grey, grey, grey // 2])
    with pytest.raises(reader.UnreadableRadiograph, match="in colour"):
        reader.read_radiograph(colour(tmp_path / "b.dcm", tinted, "RGB"))


# ---- values of more bits than stored


@pytest.mark.parametrize("signed", [False, True])
@pytest.mark.parametrize("bits", [8, 10, 11])
def test_a_film_of_more_bits_than_stated_is_refused(tmp_path, bits, signed):
    """Dropping the bits above would wrap the bright parts round to black."""
    y, x = np.mgrid[:60, :48]
    stored = 300 + 30 * (y + x)
    stored[8:20, 6:18] = 4000
    stored = stored - 2000 * signed
    path = write(tmp_path / "a.dcm", stored, bits=16)
    ds = pydicom.dcmread(path)
    ds.BitsStored, ds.HighBit = bits, bits - 1
    ds.save_as(path)
    with pytest.raises(reader.UnreadableRadiograph, match=f"its {bits} bits stored"):
        reader.read_radiograph(path)


@pytest.mark.parametrize("declared", [False, True])
def test_an_overlay_above_the_image_is_dropped(tmp_path, declared):
    """Where the header states one, or where the image runs on beneath it."""
    y, x = np.mgrid[:60, :48]
    clean = 300 + 20 * (y + x)
    overlay = np.zeros((60, 48), np.int64)
    overlay[30:40, 10:30:3] = 1
    if declared:
        overlay = clean > 1500  # a border that the image has as well
        clean = np.where(overlay, clean, 300)
    path = write(tmp_path / "a.dcm", clean + (overlay << 12), bits=16)
    ds = pydicom.dcmread(path)
    ds.BitsStored, ds.HighBit = 12, 11
    ds.save_as(path)
    if declared:
        with pytest.raises(reader.UnreadableRadiograph, match="its 12 bits stored"):
            reader.read_radiograph(path)
        ds.add_new(0x60020102, "US", 12)
        ds.save_as(path)
    expected = reader.read_radiograph(write(tmp_path / "b.dcm", clean)).pixels
    np.testing.assert_array_equal(reader.read_radiograph(path).pixels, expected)


# ---- what kind of image it is


def coded(value: str) -> Items:
    item = pydicom.Dataset()
    item.CodeValue, item.CodingSchemeDesignator = value, "SCT"
    item.CodeMeaning = "CANARY"
    return Items([item])


@pytest.mark.parametrize(
    ("fields", "view", "is_lateral"),
    [
        ({"ViewPosition": "PA"}, "PA", False),
        ({"ViewPosition": "LL"}, "LL", True),
        ({"ViewPosition": "LATERAL"}, "LATERAL", True),
        ({"ViewPosition": "LLD"}, "LLD", False),  # decubitus: lies, but is frontal
        ({"ViewPosition": "CANARY"}, "", False),
        ({"ViewPosition": "RLAT"}, "LATERAL", True),
        ({"ViewPosition": "L LATERAL"}, "LATERAL", True),
        ({"ViewPosition": "AP SUPINE"}, "AP", False),
        ({"ViewPosition": "LAT DECUBITUS"}, "", False),
        ({"ViewPosition": "CANARY", "ViewCodeSequence": coded("R-10236")}, "LL", True),
        ({"ViewCodeSequence": coded("399198007")}, "RL", True),
        ({"ViewCodeSequence": coded("R-10236")}, "LL", True),
        ({"ViewCodeSequence": coded("272479007")}, "PA", False),
        ({"ViewCodeSequence": coded("CANARY")}, "", False),
        ({"ViewPosition": "AP", "ViewCodeSequence": coded("R-10236")}, "AP", False),
        ({"PatientOrientation": ["A", "F"]}, "", True),
        ({"PatientOrientation": ["PL", "F"]}, "", True),
        ({"PatientOrientation": ["F", "P"]}, "", True),
        ({"PatientOrientation": ["L", "F"]}, "", False),
        ({}, "", False),
        ({"SeriesDescription": "Thorax seitl."}, "LATERAL", True),
        ({"SeriesDescription": "CANARY", "ProtocolName": "Chest LAT"}, "LATERAL", True),
        ({"ViewPosition": "", "StudyDescription": "Torax L-L"}, "LATERAL", True),
        ({"AcquisitionDeviceProcessingDescription": "CHEST,LATERAL"}, "LATERAL", True),
        ({"SeriesDescription": "pa", "StudyDescription": "PA + seitl."}, "PA", False),
        ({"StudyDescription": "CHEST PA/LAT"}, "", False),
        ({"ViewPosition": "PA", "SeriesDescription": "Thorax seitl."}, "PA", False),
        ({"ViewPosition": "LL", "SeriesDescription": "Thorax pa"}, "LL", True),
        ({"SeriesDescription": "Rippen schräg rechts"}, "OBLIQUE", False),
    ],
)
def test_view_comes_from_position_code_or_orientation(
    tmp_path, fields, view, is_lateral
):
    image = reader.read_radiograph(write(tmp_path / "a.dcm", film(0), **fields))
    assert (image.view, image.is_lateral) == (view, is_lateral)


@pytest.mark.parametrize(
    ("fields", "differ"),
    [
        ({"ViewPosition": "PA", "SeriesDescription": "Thorax seitl."}, True),
        ({"ViewPosition": "AP", "ProtocolName": "Chest LAT"}, True),
        (
            {
                "ViewCodeSequence": coded("272479007"),
                "StudyDescription": "LATERAL",
            },
            True,
        ),
        ({"ViewPosition": "PA", "StudyDescription": "CHEST PA/LAT"}, False),
        ({"ViewPosition": "PA", "SeriesDescription": "Lat decubitus"}, False),
        ({"ViewPosition": "PA", "SeriesDescription": "CANARY"}, False),
        ({"ViewPosition": "LL", "SeriesDescription": "Thorax pa"}, False),
        ({"SeriesDescription": "Thorax seitl."}, False),
    ],
)
def test_a_frontal_position_and_lateral_words_differ(tmp_path, fields, differ):
    image = reader.read_radiograph(write(tmp_path / "a.dcm", film(0), **fields))
    assert image.views_differ is differ


@pytest.mark.parametrize("modality", ["DR", "XR", "OT", "SC"])
def test_modalities_in_use_are_read_where_that_is_allowed(tmp_path, modality):
    path = write(tmp_path / "a.dcm", film(0), Modality=modality)
    with pytest.raises(reader.UnreadableRadiograph, match="then allow modality"):
        reader.read_radiograph(path)
    accepted = reader.modalities(["modality"])
    assert reader.read_radiograph(path, modalities=accepted).modality == modality
    path = write(tmp_path / "a.dcm", film(0), Modality="CT")
    with pytest.raises(reader.UnreadableRadiograph, match="is not a radiograph"):
        reader.read_radiograph(path, modalities=accepted)


@pytest.mark.parametrize("has_meta", [False, True])
@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("GrayscaleSoftcopyPresentationStateStorage", "Softcopy Presentation State"),
        ("BasicTextSRStorage", "Basic Text SR"),
        ("KeyObjectSelectionDocumentStorage", "Key Object Selection"),
    ],
)
def test_an_object_without_pixels_is_told_by_its_kind(tmp_path, name, words, has_meta):
    ds = registry_files.dataset(film(0), SOPClassUID=getattr(uid, name), Modality="PR")
    ds.file_meta.MediaStorageSOPClassUID = ds.SOPClassUID
    del ds.PixelData
    path = tmp_path / "a.dcm"
    ds.save_as(path, enforce_file_format=True)
    if not has_meta:
        raw = path.read_bytes()
        path.write_bytes(raw[144 + int.from_bytes(raw[140:144], "little") :])
    with pytest.raises(reader.UnreadableRadiograph, match=f"is no image .*{words}"):
        reader.read_radiograph(path)


@pytest.mark.parametrize(
    ("term", "cells"),
    [
        ("LATERAL", ["Lateral view", "Thorax seitl.", "seitlich", "LLAT", "R-LAT",
                     "left lateral", "Lat.", "profil", "Perfil", "Rx laterale", "側面",
                     "胸部侧位", "\uff2c\uff2c", "chest lat", "THORAX_LAT", "stl.",
                     "Seitaufnahme", "Thorax 2. Ebene", "thorax de profil",
                     "zijdelings", "sidobild", "boczne", "bo\u010dn\u00ed", "боковая",
                     "nghiêng",
                     "흉부 측면", "oldalirányú", "Torax latero-laterale"]),
        ("OBLIQUE", ["oblique", "Rippen schräg", "RIBS LPO 45", "oblicua", "obliqua",
                     "schuin", "ribs obl", "skośne", "斜位", "SCHRAEG"]),
        ("AP", ["ap", "A.P.", "AP supine", "portable AP", "Thorax a.p."]),
        ("PA", ["pa", "p.a.", "Chest PA", "PA (frontal)"]),
        # two views in one cell, a frontal film of one who lies on the side, names
        ("", ["PA + LAT", "AP LATERAL", "Lateral decubitus", "Seitenlage",
              "frontal", "正面", "L", "R", "2 Ebenen", "PAUL", "LATIMER", "APOLLO",
              "face + profil", "胸部正侧位", "pa und schräg", "bilateral", "LEFT SIDE",
              "laterality L", "lateral third of the clavicle"]),
    ],
)  # fmt: skip
def test_views_as_people_write_them(term, cells):
    for cell in cells:
        expected = {"Lat.": "LAT", "\uff2c\uff2c": "LL"}.get(cell, term)
        assert views.known(cell) == expected, cell
        assert not expected or (expected in views.LATERALS) == (term == "LATERAL")
