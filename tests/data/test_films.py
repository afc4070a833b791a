"""Laws of a film on its way to a net and back: every orientation, size and padding."""

import itertools
import warnings

import cv2
import numpy as np
import pydicom
import pytest
from pydicom import uid
from pydicom.dataset import FileMetaDataset

from data.cxr_registry.dicom import body_parts, reader
from data.reading_room import films, inputs
from data.reading_room.inputs import Source
from tests.support import registry_files

ORIENTATIONS = [
    *(list(pair) for pair in itertools.product("LR", "FH")),
    *(list(pair) for pair in itertools.product("FH", "LR")),
    None,
]
SHAPES = [(60, 48), (48, 60), (50, 50), (37, 91), (80, 20)]
ODD = np.array([[3.0, 5, 11, 9], [0, 0, 20, 20], [7, 2, 8, 3]])


def reading(side=64, **changes):
    options = {"side": side, "bits": 8, "allow": (), "timeout_s": 60.0}
    return films.Reading(**options | changes)


def write(path, stored, **fields):
    return registry_files.write(path, stored, **registry_files.WINDOW | fields)


def read(path, side=64, **changes):
    source = (1, Source(path, is_named=True))
    return films.read(source, reading=reading(side, **changes))


@pytest.mark.parametrize("kind", ["MONOCHROME1", "MONOCHROME2"])
@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("orientation", ORIENTATIONS, ids=str)
def test_a_box_seen_in_the_square_is_the_box_that_was_stored(
    tmp_path, orientation, shape, kind
):
    """Painted into stored pixels, found again in the square, and brought back."""
    stored = np.random.default_rng(0).integers(300, 500, shape)
    x0, y0, x1, y1 = 5, 9, 14, 15
    stored[y0:y1, x0:x1] = 4000
    if kind == "MONOCHROME1":
        stored = 4095 - stored
    fields = {"PatientOrientation": orientation} if orientation else {}
    path = write(tmp_path / "a.dcm", stored, PhotometricInterpretation=kind, **fields)
    film = read(path, side=max(shape))  # so that a pixel stays a pixel
    ys, xs = np.nonzero(film.square > 200)
    seen = np.array([[xs.min(), ys.min(), xs.max() + 1, ys.max() + 1]])
    back = films.map_boxes(film.to_stored, seen, film.stored_shape)
    np.testing.assert_array_equal(np.round(back, 9), [[x0, y0, x1, y1]])


@pytest.mark.parametrize("side", [16, 64, 200, 333])
@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("orientation", ORIENTATIONS, ids=str)
def test_there_and_back_is_nowhere(tmp_path, orientation, shape, side):
    """The way of a build's boxes, then that of findings: shrunk, enlarged, padded."""
    fields = {"PatientOrientation": orientation} if orientation else {}
    path = write(tmp_path / "a.dcm", registry_files.film(0, shape=shape), **fields)
    image = reader.read_radiograph(path)
    square = reader.to_square(image.pixels, side)
    film = films.prepare(1, image, reading=reading(side))
    there = reader.map_boxes(square.affine, image.orient(ODD))
    back = reader.map_boxes(film.to_stored, there)
    np.testing.assert_allclose(back, ODD, rtol=0, atol=1e-9)
    whole = np.array([film.content], np.float64)
    rows, columns = shape
    np.testing.assert_allclose(
        films.map_boxes(film.to_stored, whole, shape),
        [[0, 0, columns, rows]],
        atol=1e-4,
    )
    np.testing.assert_allclose(
        reader.map_boxes(film.to_picture, whole),
        [[0, 0, *film.picture.shape[::-1]]],
        atol=1e-4,
    )


def test_a_film_is_what_a_build_would_have_stored(tmp_path):
    path = write(tmp_path / "a.dcm", registry_files.film(0))
    square = reader.to_square(reader.read_radiograph(path).pixels, 64, bits=16)
    film = read(path, bits=16)
    np.testing.assert_array_equal(film.square, square.pixels)
    y0, x0, y1, x1 = np.array(square.content, np.float32) * 64
    np.testing.assert_array_equal(film.content, np.array([x0, y0, x1, y1], np.float32))


def test_boxes_end_where_the_film_ends():
    got = films.map_boxes(np.eye(2, 3), np.array([[-3.0, 1, 9, 99]]), (20, 5))
    np.testing.assert_array_equal(got, [[0, 1, 5, 20]])


# --- what is odd


def flags_of(tmp_path, stored=None, side=32, **fields):
    stored = registry_files.film(0) if stored is None else stored
    return read(write(tmp_path / "a.dcm", stored, **fields), side=side).flags


def test_a_film_without_oddities_has_no_flag(tmp_path):
    fields = {"ViewPosition": "PA", "BodyPartExamined": "CHEST"}
    flags = flags_of(tmp_path, BurnedInAnnotation="NO", **fields)
    assert flags.keys() == films.FLAGS.keys()
    assert {**flags, "inverted": False} == dict.fromkeys(films.FLAGS, False)


@pytest.mark.parametrize(
    ("fields", "flag", "value"),
    [
        ({"ViewPosition": "LL"}, "lateral", True),
        ({"PatientOrientation": ["A", "F"]}, "lateral", True),
        ({}, "lateral", None),
        ({"ViewPosition": "PA", "SeriesDescription": "Thorax lat"}, "lateral", None),
        ({"BodyPartExamined": "HIP"}, "other_body_part", True),
        ({"BodyPartExamined": "THORAX"}, "other_body_part", False),
        ({"BodyPartExamined": "SMITH"}, "other_body_part", None),
        ({}, "other_body_part", None),
        ({"BurnedInAnnotation": "YES"}, "burned_in", True),
        ({}, "burned_in", None),
        ({"ViewPosition": "LL"}, "inverted", None),
        ({"WindowCenter": 60000, "WindowWidth": 2}, "brightness_corrected", True),
    ],
    ids=str,
)
def test_a_header_tells(tmp_path, fields, flag, value):
    assert flags_of(tmp_path, **fields)[flag] is value


def test_pixels_tell(tmp_path):
    assert flags_of(tmp_path, side=61)["too_small"]  # the film has 60 x 48
    assert not flags_of(tmp_path, side=60)["too_small"]
    assert flags_of(tmp_path, np.full((60, 48), 700))["constant"]
    assert not flags_of(tmp_path)["constant"]


@pytest.mark.parametrize(
    "word", ["ABDOMEN", "Knie li.", "SHOULDER", "HAND", "LSPINE", "Becken", "SKULL"]
)
def test_other_parts_of_the_body_are_known(word):
    assert body_parts.known(word) == body_parts.OTHER


@pytest.mark.parametrize("word", ["CHEST", "RIB", "RIBS", "Clavicula", "Brustkorb"])
def test_parts_of_the_chest_are_known(word):
    assert body_parts.known(word) == body_parts.CHEST


def test_a_picture_that_may_name_the_patient_is_not_made(tmp_path):
    path = write(tmp_path / "a.dcm", registry_files.film(0), BurnedInAnnotation="YES")
    assert read(path).picture is None


# --- what is no film


def test_what_is_no_film_is_refused_by_its_kind(tmp_path):
    (tmp_path / "a.txt").write_text("x" * 200)
    (tmp_path / "b.png").write_bytes(b"\x89PNG\r\n\x1a\n cut")
    named = read(tmp_path / "a.txt")
    assert isinstance(named, films.Refused) and not named.is_other
    found = films.read(
        (1, Source(tmp_path / "a.txt", is_named=False)), reading=reading()
    )
    assert found == films.Refused(1, named.reason, is_other=True)
    assert not read(tmp_path / "b.png").is_other  # a film, but spoiled
    assert read(tmp_path / "gone.dcm").reason.startswith("cannot be opened")


# --- which files


def names(sources):
    return [source.path.name for source in sources]


def test_files_and_folders_give_each_file_once(tmp_path):
    for name in ("b.dcm", "a.dcm", ".hidden", "sub/c.png", "DICOMDIR"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(b"x")
    found = inputs.find([tmp_path / "b.dcm", tmp_path, tmp_path / "sub"])
    assert names(found) == ["b.dcm", "a.dcm", "c.png"]
    assert [source.is_named for source in found] == [True, False, False]


def test_a_link_out_of_the_folder_is_told(tmp_path):
    (tmp_path / "in").mkdir()
    (tmp_path / "a.dcm").write_bytes(b"x")
    (tmp_path / "in/b.dcm").symlink_to(tmp_path / "a.dcm")
    (found,) = inputs.find([tmp_path / "in"])
    assert "link out of the folder" in found.problem
    assert films.read((1, found), reading=reading()).reason == found.problem


def test_links_that_lead_nowhere_are_told_without_their_names(tmp_path):
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    (tmp_path / "gone").symlink_to(tmp_path / "nothing")
    found = inputs.find([tmp_path])
    assert len(found) == 2 and all("leads nowhere" in one.problem for one in found)
    inputs.numbered(found, tmp_path / "files.csv")


def test_all_that_is_missing_is_told_at_once(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"no .*a.dcm, no .*b"):
        inputs.find([tmp_path / "a.dcm", tmp_path / "b"])


def test_numbers_stay_and_new_films_get_the_next(tmp_path):
    table = tmp_path / "files.csv"
    a, b, c = (Source(tmp_path / name, is_named=True) for name in ("a", "b\nü", "c"))
    films_, paths = inputs.numbered([a, c], table)
    assert list(films_) == [1, 2]
    inputs.write_table(table, paths)
    assert table.stat().st_mode & 0o777 == 0o600
    films_, paths = inputs.numbered([b, c], table)
    assert films_ == {2: c, 3: b} and list(paths) == [1, 2, 3]
    inputs.write_table(table, paths)
    assert inputs.numbered([a, b, c], table)[0] == {1: a, 2: c, 3: b}
    table.write_text("film,file\nx,y\n")
    with pytest.raises(ValueError, match="is damaged"):
        inputs.numbered([a], table)


def directory(path, listed):
    """A DICOMDIR whose images are at these paths."""
    header = pydicom.Dataset()
    header.file_meta = FileMetaDataset()
    header.file_meta.TransferSyntaxUID = uid.ExplicitVRLittleEndian
    header.file_meta.MediaStorageSOPClassUID = uid.MediaStorageDirectoryStorage
    header.file_meta.MediaStorageSOPInstanceUID = "1.2.3"
    header.FileSetID = "DISC"
    records = [("PATIENT", None), *(("IMAGE", names) for names in listed)]
    items = []
    for kind, names in records:
        item = pydicom.Dataset()
        item.DirectoryRecordType = kind
        item.PatientName = "Quorlington"
        if names:
            item.ReferencedFileID = names
        items.append(item)
    header.DirectoryRecordSequence = items
    header.save_as(path, enforce_file_format=True)


LISTED = [["PT0", "SE0", "IM0"], ["PT0", "SE0", "IM1"], ["IM2"]]


@pytest.fixture
def disc(tmp_path):
    """A disc of three films with a DICOMDIR."""
    for number, names in enumerate(LISTED):
        write(tmp_path.joinpath("disc", *names), registry_files.film(number))
    directory(tmp_path / "disc/DICOMDIR", LISTED)
    return tmp_path / "disc"


def test_a_dicomdir_gives_its_images(disc):
    found = inputs.find([disc / "DICOMDIR"])
    assert len(found) == 3 and not any(source.problem for source in found)
    assert all(source.is_named for source in found)
    listed = {source.path.resolve() for source in found}
    assert listed == {p.resolve() for p in disc.rglob("*") if p.is_file()} - {
        (disc / "DICOMDIR").resolve()
    }


def test_letters_of_a_disc_may_have_another_case(disc):
    for path in sorted(disc.rglob("*"), reverse=True):
        if path.name != "DICOMDIR":
            path.rename(path.with_name(path.name.lower()))
    assert not any(s.problem for s in inputs.find([disc / "DICOMDIR"]))


def test_what_a_dicomdir_lists_in_vain_is_told(disc):
    first, *_ = sorted(
        p for p in disc.rglob("*") if p.is_file() and p.name != "DICOMDIR"
    )
    first.unlink()
    found = inputs.find([disc / "DICOMDIR"])
    assert [bool(source.problem) for source in found].count(True) == 1
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # pydicom's: no such path is allowed
        directory(disc / "DICOMDIR", [["..", "..", "secret"], ["..", "PT0"], ["/etc"]])
    found = inputs.find([disc / "DICOMDIR"])
    assert len(found) == 3 and all(source.problem for source in found)


def test_a_spoiled_dicomdir_is_refused_without_its_words(disc):
    (disc / "DICOMDIR").write_bytes(b"Quorlington" * 100)
    with pytest.raises(ValueError, match="is no DICOMDIR that can be read") as caught:
        inputs.find([disc / "DICOMDIR"])
    assert "Quorlington" not in str(caught.value).replace(str(disc), "")


def test_a_picture_of_another_kind_is_read(tmp_path):
    image = (registry_files.film(0) // 16).astype(np.uint8)
    cv2.imwrite(str(tmp_path / "a.png"), image)
    film = read(tmp_path / "a.png", side=60)
    assert not film.is_dicom and film.stored_shape == (60, 48)
