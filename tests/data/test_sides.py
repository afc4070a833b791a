"""Laws of the side of a finding: the patient's, by the header, and nothing beyond."""

import itertools

import highdicom as hd
import numpy as np
import pytest

from data.reading_room import films, report, sides, source
from data.reading_room.inputs import Source
from tests.support import registry_files

FILM = np.array([10.0, 0, 110, 99])
ROWS, COLUMNS = 60, 48
KNOWN = [*itertools.product("LR", "FH"), *itertools.product("FH", "LR")]
UNKNOWN = [None, ["L", ""], ["A", "F"], ["P", "F"], ["L", "R"], ["F", "H"], ["X", "F"]]


def box(middle: float) -> np.ndarray:
    return np.array([[middle - 3.0, 5, middle + 3.0, 20]])


def stored_on(orientation, side: str) -> np.ndarray:
    """A box of the stored film on this side of the patient, whose x runs to the
    left of the patient where `L` says so."""
    letter = next(one for one in orientation if one in "LR")
    is_along_row = letter == orientation[0]
    length, across = (COLUMNS, ROWS) if is_along_row else (ROWS, COLUMNS)
    is_far = (side == "left") == (letter == "L")
    low = length - 14 if is_far else 4
    corners = [low, across / 2, low + 10, across / 2 + 6]
    return np.array([corners if is_along_row else [corners[i] for i in (1, 0, 3, 2)]])


def read(tmp_path, orientation, **fields) -> films.Film:
    fields = {**registry_files.WINDOW, **fields}
    if orientation:
        fields["PatientOrientation"] = list(orientation)
    stored = registry_files.film(0, shape=(ROWS, COLUMNS))
    path = registry_files.write(tmp_path / "a.dcm", stored, **fields)
    reading = films.Reading(side=64, bits=8, allow=(), timeout_s=60.0)
    film = films.read((1, Source(path, is_named=True)), reading=reading)
    assert isinstance(film, films.Film)
    return film


@pytest.mark.parametrize("side", ["left", "right"])
@pytest.mark.parametrize("orientation", KNOWN, ids="".join)
def test_the_side_is_the_patients_however_the_film_was_stored(
    tmp_path, orientation, side
):
    film = read(tmp_path, orientation)
    to_square = films.reader.inverse(film.to_stored)
    boxes = films.reader.map_boxes(to_square, stored_on(orientation, side))
    named = sides.of_boxes(boxes, film.content, known=film.sides_known)
    assert named == [side]


@pytest.mark.parametrize("orientation", UNKNOWN, ids=str)
def test_a_header_that_does_not_say_names_no_side(tmp_path, orientation):
    assert read(tmp_path, orientation).sides_known is False


def test_a_lateral_film_names_no_side(tmp_path):
    assert read(tmp_path, "LF", ViewPosition="LL").sides_known is False
    assert read(tmp_path, "LF", ViewPosition="PA").sides_known is True


def test_the_middle_is_that_of_the_film_and_has_a_margin():
    places = [(30, "right"), (54.9, "right"), (55.1, "midline"), (60, "midline")]
    places += [(64.9, "midline"), (65.1, "left"), (90, "left")]
    for middle, side in places:
        assert sides.of_boxes(box(middle), FILM, known=True) == [side], middle
    assert sides.of_boxes(box(30), FILM, known=False) == [None]
    assert sides.of_boxes(np.zeros((0, 4)), FILM, known=True) == []


def test_the_mirrored_box_is_on_the_other_side():
    for middle in np.linspace(15, 105, 46):
        (one,) = sides.of_boxes(box(middle), FILM, known=True)
        (other,) = sides.of_boxes(box(120 - middle), FILM, known=True)
        assert {one, other} in ({"left", "right"}, {"midline"})


@pytest.mark.parametrize(
    ("side", "code"),
    [("right", "24028007"), ("left", "7771000"), ("midline", None), (None, None)],
)
def test_the_report_codes_the_laterality_of_the_site(tmp_path, side, code):
    fields = {
        "StudyInstanceUID": "1.2.3.4", "SeriesInstanceUID": "1.2.3.5",
        "PatientOrientation": ["L", "F"],
    }  # fmt: skip
    path = registry_files.write(
        tmp_path / "a.dcm", registry_files.film(0), **registry_files.WINDOW, **fields
    )
    where = {"x0": 3.0, "y0": 4.0, "x1": 20.0, "y1": 9.0}
    record = {
        "model": {"title": "rib", "manifest_sha256": "ab" * 32}, "finding": "rib",
        "score": 0.8, "probability": None, "reported_from": "a point",
        "decisions": [], "beyond_model": [], "stored_shape": [24, 32],
        "boxes": [where | {"score": 0.8, "reported": True, "side": side}],
    }  # fmt: skip
    making = source.Making(
        uid_root=source.UUID_ROOT, same_uids=True, same_dates=True, seed="x"
    )
    made = report.make(source.read(path), record, making=making, version="1")
    made.save_as(tmp_path / "sr.dcm", enforce_file_format=True)
    read_back = hd.sr.srread(tmp_path / "sr.dcm").content
    groups = read_back.get_planar_roi_measurement_groups()  # the whole film's too
    (site,) = (site for group in groups for site in group.finding_sites)
    assert site.value == hd.sr.CodedConcept("113197003", "SCT", "Rib")
    given = site.laterality
    assert (given.value if given else None) == code
