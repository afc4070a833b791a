"""Laws of findings as DICOM: valid, about the film they are about, and read back."""

import shutil
import subprocess
import warnings

import cv2
import highdicom as hd
import numpy as np
import pydicom
import pytest
from pydicom import uid

from data.cxr_registry.dicom import grayscale
from data.reading_room import capture, presentation, report, source
from tests.support import registry_files

SAMPLE = {
    "model": {"title": "clavicle, aals teacher", "manifest_sha256": "ab" * 32},
    "finding": "clavicle",
    "score": 0.83,
    "probability": 0.4,
    "reported_from": "0.5 false positives an image",
    "decisions": [
        {"point": "specificity 0.90", "threshold": 0.5, "positive": True},
        {"point": "specificity 0.95", "threshold": 0.9, "positive": False},
        {"point": "none", "threshold": None, "positive": None},
    ],
    "boxes": [
        {"x0": 3.5, "y0": 4.0, "x1": 20.25, "y1": 9.0, "score": 0.8, "reported": True},
        {"x0": 0.0, "y0": 0.0, "x1": 48.0, "y1": 60.0, "score": 0.5, "reported": True},
        {"x0": 1.0, "y0": 1.0, "x1": 2.0, "y1": 2.0, "score": 0.1, "reported": False},
    ],
    "stored_shape": [60, 48],
    "flags": {"lateral": True, "inverted": None, "burned_in": True},
    "beyond_model": ["lateral"],
}
PATIENT = {
    "PatientName": "Quörlington^Wenzeslava",
    "PatientID": "00917391846",
    "PatientBirthDate": "19310517",
    "PatientSex": "F",
    "AccessionNumber": "ACC-1",
    "StudyID": "1",
    "StudyDate": "20141121",
    "StudyTime": "101500",
    "ReferringPhysicianName": "Röntgen^Süd",
    "StudyInstanceUID": "1.2.3.4",
    "SeriesInstanceUID": "1.2.3.5",
    "SpecificCharacterSet": "ISO_IR 100",
}
DX = {
    "PatientOrientation": ["L", "F"],
    "ImagerPixelSpacing": [0.2, 0.2],
    "BodyPartExamined": "CHEST",
    "ImageLaterality": "U",
}


TOOLS = {
    "dciodvfy": "apt install dicom3tools",
    "dcmp2pgm": "apt install dcmtk",
    "dsrdump": "apt install dcmtk",
    "dsr2html": "apt install dcmtk",
}


def run(tool, *asked):
    if shutil.which(tool) is None:
        pytest.skip(f"{tool} is not installed: {TOOLS[tool]}")
    return subprocess.run([tool, *map(str, asked)], capture_output=True, timeout=60)


def assert_valid(path):
    said = run("dciodvfy", path).stderr.decode(errors="replace")
    assert "Error" not in said, said


@pytest.fixture
def stored(tmp_path):
    def write(pixels=None, **changes):
        fields = {**PATIENT, **registry_files.WINDOW, **DX, **changes}
        fields = {name: value for name, value in fields.items() if value is not None}
        pixels = registry_files.film(0) if pixels is None else pixels
        return registry_files.write(tmp_path / "a.dcm", pixels, **fields)

    return write


@pytest.fixture
def film(stored):
    return lambda **changes: source.read(stored(**changes))


def making(**changes):
    options = {"same_uids": True, "same_dates": True, "seed": "x"}
    return source.Making(**{"uid_root": source.UUID_ROOT} | options | changes)


def make(header, record=SAMPLE, **changes):
    return report.make(header, record, making=making(**changes), version="0.2.0")


def picture(header, **changes):
    image = np.random.default_rng(0).integers(0, 255, (70, 48, 3)).astype(np.uint8)
    return capture.make(
        header, image, making=making(**changes), version="0.2.0", frontal=True
    )


DISPLAY = {"BitsStored": 12, **registry_files.WINDOW}


def present(header, record=SAMPLE, display=DISPLAY, **changes):
    shown = pydicom.Dataset()
    for name, value in dict(display).items():
        setattr(shown, name, value)
    return presentation.make(
        header, shown, record, lines=["RESEARCH ONLY, NOT A MEDICAL DEVICE", "film 1"],
        making=making(**changes), version="0.2.0",
    )  # fmt: skip


def saved(made, path):
    made.save_as(path, enforce_file_format=True)
    return path


@pytest.fixture
def back(tmp_path):
    """What highdicom reads of an SR that was saved: its report."""
    return lambda made: hd.sr.srread(saved(made, tmp_path / "back.dcm")).content


# --- read back


def groups_of(content):
    """The group of the whole film, and those of findings."""
    groups = content.get_planar_roi_measurement_groups()
    assert not content.get_image_measurement_groups()
    whole = [one for one in groups if one.finding_type.value == "SEARCHED"]
    (film,) = whole
    return film, [one for one in groups if one not in whole]


def test_highdicom_reads_back_what_was_found(film, back):
    _, groups = groups_of(back(make(film())))
    assert [group.tracking_identifier for group in groups] == [
        "clavicle 1",
        "clavicle 2",
    ]
    for group, box in zip(groups, SAMPLE["boxes"], strict=False):
        assert (group.finding_type.value, group.finding_type.scheme_designator) == (
            "58150001", "SCT"
        )  # fmt: skip
        (site,) = group.finding_sites
        assert site.value.value == "51299004"
        (score,) = group.get_measurements()
        assert score.value == pytest.approx(box["score"])
        region = group.roi
        assert region.graphic_type == hd.sr.GraphicTypeValues.POLYLINE
        np.testing.assert_array_equal(region.value, report.rectangle(box))
        code = region.ConceptNameCodeSequence[0]
        assert (code.CodeValue, code.CodingSchemeDesignator) == ("111030", "DCM")
    assert len({group.tracking_uid for group in groups}) == 2


def test_a_rectangle_has_five_points_and_is_bounded_by(film):
    text = str(make(film()))
    assert text.count("'75958009'") == 2 and text.count("Bounded by") == 2
    points = report.rectangle({"x0": 1, "y0": 2, "x1": 5, "y1": 9})
    assert points.tolist() == [[1, 2], [5, 2], [5, 9], [1, 9], [1, 2]]


def test_a_film_without_a_box_names_no_finding(film, back):
    record = SAMPLE | {"boxes": [], "finding": "rib"}
    made = make(film(), record)
    group, findings = groups_of(back(made))
    assert not findings
    text = str(made)
    assert "33737001" not in text and "searched for rib" in text
    values = {m.name.value: m.value for m in group.get_measurements()}
    assert values == {"SCORE": 0.83, "PROBABILITY": 0.4}
    rows, columns = record["stored_shape"]
    corners = {"x0": 0, "y0": 0, "x1": columns, "y1": rows}
    np.testing.assert_array_equal(group.roi.value, report.rectangle(corners))


def test_every_group_has_coordinates(film):
    """OHIF 3.12 shows nothing of a report in which one group has none."""
    (measured,) = (
        item for item in make(film()).ContentSequence
        if item.ConceptNameCodeSequence[0].CodeValue == "126010"
    )  # fmt: skip
    groups = measured.ContentSequence
    assert len(groups) == 3
    for group in groups:
        assert "SCOORD" in [item.ValueType for item in group.ContentSequence]


def test_what_is_odd_and_decided_is_said(film, back):
    group, _ = groups_of(back(make(film())))
    said = {
        (one.name.value, one.value.value) for one in group.get_qualitative_evaluations()
    }
    assert said == {
        ("USE", "RESEARCH"), ("FLAG", "LATERAL"), ("DECISION1", "10828004"),
        ("DECISION2", "260385009"),
    }  # fmt: skip


def test_a_finding_that_no_table_has_gets_a_private_code(film, back):
    made = make(film(), SAMPLE | {"finding": "lung nodule"})
    _, (group, _) = groups_of(back(made))
    assert (group.finding_type.value, group.finding_type.scheme_designator) == (
        "LUNGNODULE", report.SCHEME
    )  # fmt: skip
    assert made.CodingSchemeIdentificationSequence[0].CodingSchemeDesignator == "99AALS"


@pytest.mark.parametrize("make_one", [make, picture, present])
def test_an_object_is_of_the_films_patient_and_study(film, make_one, tmp_path):
    header = film(FrameOfReferenceUID="1.2.9")
    read = pydicom.dcmread(saved(make_one(header), tmp_path / "b.dcm"))
    for name in ("PatientID", "StudyInstanceUID", "StudyDate", "AccessionNumber"):
        assert read[name].value == PATIENT[name]
    assert str(read.PatientName) == PATIENT["PatientName"]
    assert str(read.ReferringPhysicianName) == PATIENT["ReferringPhysicianName"]
    assert read.SeriesInstanceUID != PATIENT["SeriesInstanceUID"]
    assert str(header.SOPInstanceUID) in str(read)
    if make_one is not present:  # its standard has no frame of reference
        assert "1.2.9" in str(read)
    assert "RESEARCH ONLY" in read.SeriesDescription


def test_a_capture_has_the_pixels_and_says_what_it_is(film, tmp_path):
    image = np.random.default_rng(0).integers(0, 255, (70, 48, 3)).astype(np.uint8)
    read = pydicom.dcmread(saved(picture(film()), tmp_path / "a.sc.dcm"))
    np.testing.assert_array_equal(read.pixel_array, image)
    assert read.BurnedInAnnotation == "NO" and read.ImageType[0] == "DERIVED"
    (item,) = read.SourceImageSequence
    assert item.ReferencedSOPInstanceUID == film().SOPInstanceUID


# --- presentation states


def presented(path, tmp_path):
    made = presentation.make(
        source.read(path), source.read_display(path), SAMPLE, lines=["RESEARCH ONLY"],
        making=making(), version="0.2.0",
    )  # fmt: skip
    return pydicom.dcmread(saved(made, tmp_path / "a.pr.dcm"))


def test_a_presentation_has_the_rectangles_of_the_report(film, back, tmp_path):
    _, groups = groups_of(back(make(film())))
    read = pydicom.dcmread(saved(present(film()), tmp_path / "a.pr.dcm"))
    (shown,) = read.GraphicAnnotationSequence
    drawn = shown.GraphicObjectSequence
    assert len(drawn) == len(groups) == 2
    for graphic, group in zip(drawn, groups, strict=True):
        assert graphic.GraphicAnnotationUnits == "PIXEL"
        points = np.reshape(graphic.GraphicData, (-1, 2))
        np.testing.assert_array_equal(points, group.roi.value)
    assert shown.ReferencedImageSequence[0].ReferencedSOPInstanceUID == (
        film().SOPInstanceUID
    )
    words = [one.UnformattedTextValue for one in shown.TextObjectSequence]
    assert words[0].startswith("RESEARCH ONLY, NOT A MEDICAL DEVICE")
    assert words[1:] == ["0.80", "0.50"]


def test_a_film_without_a_box_is_presented_with_words_alone(film):
    (shown,) = present(film(), SAMPLE | {"boxes": []}).GraphicAnnotationSequence
    assert len(shown.TextObjectSequence) == 1 and "GraphicObjectSequence" not in shown


def ramp(bits, count=4096):
    return np.linspace(0, (1 << bits) - 1, count).astype(int) ** 2 // ((1 << bits) - 1)


# Name -> what the film is stored with; the window is taken away where it is None.
DISPLAYED = {
    "window": {"WindowCenter": [1500, 9], "WindowWidth": [2500, 9]},
    "sigmoid": {"WindowCenter": 700.5, "WindowWidth": 900, "VOILUTFunction": "SIGMOID"},
    "rescale": {"RescaleSlope": 0.3, "RescaleIntercept": -200.25,
                "WindowCenter": 400, "WindowWidth": 900},
    "negative": {"PhotometricInterpretation": "MONOCHROME1"},
    "voi": {"VOILUTSequence": registry_files.lut(
        count=4096, first=0, bits=16, data=ramp(12))},
    "both": {
        "ModalityLUTSequence": registry_files.lut(
            count=4096, first=0, bits=12, data=ramp(12)),
        "VOILUTSequence": registry_files.lut(
            count=4096, first=0, bits=10, data=4 * np.arange(4096) // 16),
        "PresentationLUTShape": "INVERSE"},
    "signed": {"PixelRepresentation": 1, "VOILUTSequence": registry_files.lut(
        count=4096, first=-2048, bits=12, data=ramp(12), vr="SS")},
}  # fmt: skip


@pytest.mark.parametrize("case", DISPLAYED)
def test_a_presentation_shows_the_film_as_it_was_read(stored, tmp_path, case):
    pixels = registry_files.film(0) - (2048 if case == "signed" else 0)
    path = stored(pixels, **DISPLAYED[case])
    made = presented(path, tmp_path)
    film = pydicom.dcmread(path)
    read = grayscale.brightness_table(film, film.pixel_array)
    assert not grayscale.is_corrected(read.source) or case == "voi"
    shown = pydicom.Dataset()
    for field in ("BitsStored", "PixelRepresentation"):
        shown[field] = film[field]
    for part in (made, *made.get("SoftcopyVOILUTSequence", ())):
        shown.update(part)
    again = grayscale.brightness_table(shown, film.pixel_array)
    np.testing.assert_allclose(again.values, read.values, atol=1 / 4095)
    assert_valid(tmp_path / "a.pr.dcm")
    if case == "sigmoid":  # which dcmtk 3.6.7 does not know here
        return
    drawn = tmp_path / "a.pgm"
    run("dcmp2pgm", "-p", tmp_path / "a.pr.dcm", path, drawn)
    expected = grayscale.apply_table(read, film.pixel_array)
    np.testing.assert_allclose(cv2.imread(str(drawn), -1) / 255, expected, atol=2 / 255)


def test_a_grey_film_in_colour_is_presented_in_colour(stored, tmp_path):
    pixels = np.repeat(registry_files.film(0)[..., None] // 16, 3, axis=2)
    path = stored(
        pixels, bits=8, SamplesPerPixel=3, PlanarConfiguration=0,
        PhotometricInterpretation="RGB", WindowCenter=None, WindowWidth=None,
        SOPClassUID=uid.SecondaryCaptureImageStorage,
    )  # fmt: skip
    first = presented(path, tmp_path)
    assert first.SOPClassUID == uid.ColorSoftcopyPresentationStateStorage
    assert len(first.ICCProfile) > 100 and "PresentationLUTShape" not in first
    assert_valid(tmp_path / "a.pr.dcm")


# --- UIDs and dates


@pytest.mark.parametrize("make_one", [make, picture, present])
def test_deterministic_objects_are_equal_bytes(film, make_one, tmp_path):
    first = saved(make_one(film()), tmp_path / "1").read_bytes()
    assert saved(make_one(film()), tmp_path / "2").read_bytes() == first
    other = saved(make_one(film(), seed="y"), tmp_path / "3").read_bytes()
    assert other != first
    there = pydicom.dcmread(tmp_path / "1")
    assert there.InstanceCreationDate == PATIENT["StudyDate"]


@pytest.mark.parametrize("make_one", [make, picture, present])
def test_other_objects_differ_in_uids_and_dates_alone(film, make_one):
    def plain(made):
        for element in made.iterall():
            if element.VR in ("UI", "DA", "TM", "DT") or element.keyword == "UID":
                element.value = ""
        return made.to_json_dict()

    first, second = (
        make_one(film(), same_uids=False, same_dates=False) for _ in range(2)
    )
    assert first.SOPInstanceUID != second.SOPInstanceUID
    assert plain(first) == plain(second)


@pytest.mark.parametrize("root", ["2.25", "1.2.826.0.1.3680043.9", "1.2.3"])
@pytest.mark.parametrize("same", [False, True])
def test_uids_are_valid_and_their_own(root, same):
    made = making(uid_root=root, same_uids=same)
    uids = {made.uid("SR", str(n)) for n in range(200)}
    assert len(uids) == 200
    assert all(uid.UID(one).is_valid and one.startswith(f"{root}.") for one in uids)


@pytest.mark.parametrize("root", ["", "x", "1..2", "1.2.", "1.02", "1." * 20 + "1"])
def test_what_is_no_root_is_refused(root):
    with pytest.raises(ValueError, match="is no root of UIDs"):
        making(uid_root=root)


# --- sources


@pytest.mark.parametrize(
    "name", ["SOPInstanceUID", "StudyInstanceUID", "SeriesInstanceUID"]
)
def test_a_film_that_nothing_can_refer_to_has_no_objects(film, name):
    if name != "SOPInstanceUID":  # without which no file is written
        with pytest.raises(source.NoSource, match=f"the file lacks {name}"):
            film(**{name: None})
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # pydicom's, of what is wrong on purpose
        with pytest.raises(source.NoSource, match=f"no valid {name}") as caught:
            film(**{name: "1.02.3"})
    assert "1.02.3" not in str(caught.value)


def test_what_may_be_empty_is_empty_and_what_is_invalid_too(film):
    names = ("PatientName", "PatientID", "PatientSex", "StudyDate", "AccessionNumber")
    header = film(**dict.fromkeys(names))
    assert all(header[name].value in ("", None) for name in names)
    make(header)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        header = film(PatientSex="Q", AccessionNumber="A" * 40)
    assert header.PatientSex == "" and header.AccessionNumber == ""
    make(header)


# --- other readers


CASES = {
    "dx": {},
    "cr": {"SOPClassUID": uid.ComputedRadiographyImageStorage, "Modality": "CR"},
    "bare": {"PatientOrientation": None, "ImagerPixelSpacing": None},
    "nameless": dict.fromkeys(("PatientName", "PatientID", "StudyDate", "StudyTime")),
    "frame": {"FrameOfReferenceUID": "1.2.9"},
    "other class": {
        "SOPClassUID": uid.SecondaryCaptureImageStorage, "Modality": "OT"
    },
}  # fmt: skip


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("make_one", [make, picture, present], ids=["sr", "sc", "pr"])
def test_dciodvfy_finds_no_error(film, tmp_path, case, make_one):
    path = saved(make_one(film(**CASES[case])), tmp_path / "b.dcm")
    assert_valid(path)


@pytest.mark.parametrize("case", CASES)
def test_dcmtk_reads_the_report(film, tmp_path, case):
    path = saved(make(film(**CASES[case])), tmp_path / "b.dcm")
    read = run("dsrdump", path)
    said = read.stdout.decode(errors="replace")
    assert read.returncode == 0 and not read.stderr.startswith(b"E:")
    assert said.count("SCOORD:") == 3 and "Comprehensive 3D SR Document" in said
    shown = run("dsr2html", path)
    assert shown.returncode == 0 and b"Fracture of clavicle" in shown.stdout
