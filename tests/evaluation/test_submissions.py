"""Anybody's tables: what is read, and every fault at once with file and row."""

import json

import numpy as np
import pytest

from aals_jax.evaluation import submissions

IMAGES = """image,patient,label,sex,width,height
a.png,p1,1,F,100,80
b.png,p1,0,F,100,80
c.png,p2,1,M,100,80
d.png,p3,0,,100,80
"""
LESIONS = """image,lesion,x0,y0,x1,y1
a.png,1,10,10,20,30
a.png,2,50,40,60,50
"""
DETECTIONS = """image,x,y,score
a.png,15,20,0.9
a.png,90,70,0.2
d.png,5,5,0.4
"""


@pytest.fixture
def files(tmp_path):
    def write(images=IMAGES, lesions=LESIONS, *detections, **options):
        detections = detections or (DETECTIONS,)
        paths = {"images": tmp_path / "images.csv", "lesions": tmp_path / "lesions.csv"}
        paths["images"].write_text(images)
        paths["lesions"].write_text(lesions)
        found = []
        for number, text in enumerate(detections):
            found.append(tmp_path / f"detections{number}.csv")
            found[-1].write_text(text)
        return submissions.Files(**paths, detections=tuple(found), **options)

    return write


def faults(files) -> list[str]:
    with pytest.raises(submissions.SubmissionError) as caught:
        submissions.read(files)
    return list(caught.value.faults)


def test_tables_become_the_truth_and_the_reading(files):
    read = submissions.read(files())
    assert read.image.tolist() == ["a.png", "b.png", "c.png", "d.png"]
    assert read.truth.label.tolist() == [True, False, True, False]
    # c is positive without a marked lesion: no detection on it can be judged
    assert read.truth.judged.tolist() == [True, True, False, True]
    assert read.truth.patient.tolist() == [
        *("patient p1", "patient p1", "patient p2", "patient p3")
    ]
    assert read.truth.lesions[0].tolist() == [[10, 10, 20, 30], [50, 40, 60, 50]]
    assert [len(each) for each in read.truth.lesions] == [2, 0, 0, 0]
    assert {k: v.tolist() for k, v in read.truth.groups.items()} == {
        "sex": ["other", "other", "other", ""]  # each of one patient
    }
    assert read.detections[0][0].tolist() == [[15, 20, 0.9], [90, 70, 0.2]]
    assert read.image_scores()[0].tolist() == [0.9, 0.0, 0.0, 0.4]
    assert read.scores is None  # they are those of the highest detections
    assert set(read.split) == {""}


def test_the_order_of_rows_changes_nothing(files):
    header, *rows = DETECTIONS.splitlines()
    turned = "\n".join([header, *rows[::-1]])
    a, b = (submissions.read(files(IMAGES, LESIONS, t)) for t in (DETECTIONS, turned))
    for one, two in zip(a.detections[0], b.detections[0], strict=True):
        assert sorted(one.tolist()) == sorted(two.tolist())


def test_image_scores_win_over_the_highest_detection(files):
    text = "image,label,score\na.png,1,-3\nb.png,0,2.5\n"
    read = submissions.read(files(text, LESIONS, "image,x,y,score\na.png,1,1,0.5\n"))
    assert read.scores is not None and read.scores[0].tolist() == [-3.0, 2.5]
    assert read.truth.patient.tolist() == ["image a.png", "image b.png"]


def test_silence_is_below_every_score():
    found = [np.array([[0, 0, -2.0]]), np.empty((0, 3)), np.array([[0, 0, 0.5]])]
    assert submissions.highest(found).tolist() == [-2.0, -np.inf, 0.5]
    assert submissions.highest(found[1:]).tolist() == [0.0, 0.5]


def test_boxes_and_points_are_both_detections_and_lesions(files):
    boxes = "image,x0,y0,x1,y1,score\na.png,10,10,20,20,0.5\n"
    points = "image,lesion,x,y\na.png,1,15,20\n"
    read = submissions.read(files(IMAGES, points, boxes))
    assert read.truth.lesions[0].tolist() == [[15, 20]]
    assert read.detections[0][0].tolist() == [[10, 10, 20, 20, 0.5]]


def test_all_faults_of_all_files_are_told_at_once(files):
    images = IMAGES + "a.png,p4,1,F,100,80\ne.png,p4,2,F,100,0\n,p5,0,F,,\n"
    lesions = LESIONS + (
        "a.png,2,70,40,80,50\n"  # lesion 2 of the image again
        "b.png,1,10,10,20,20\n"  # on a negative
        "a.png,3,20,20,20,30\n"  # no area
        "z.png,1,0,0,5,5\n"  # unknown
        "a.png,4,200,0,220,5\n"  # outside
    )
    detections = DETECTIONS + (
        "a.png,15,20,0.9\n"  # again
        "a.png,15,21,nan\n"
        "a.png,15,21,inf\n"
        "a.png,,21,0.5\n"
        "y.png,1,1,0.5\n"
        "b.png,1,80,0.5\n"  # below the last row of pixels
    )
    assert faults(files(images, lesions, detections)) == [
        "images.csv row 6: the image of row 2 again",
        "images.csv row 7: label must be 0 or 1",
        "images.csv row 7: width and height must both be pixels, or empty",
        "images.csv row 8: image is empty",
        "lesions.csv row 4: the lesion of row 3 again",
        "lesions.csv row 5: a lesion on an image with label 0",
        "lesions.csv row 6: a box without area: it needs x0 < x1 and y0 < y1, or a "
        "width and height above 0",
        "lesions.csv row 7: its image is not in the images table",
        "lesions.csv row 8: it lies outside the image: check the order and scale of "
        "coordinates",
        "detections0.csv row 5: the detection of row 2 again",
        "detections0.csv row 6: score must be finite numbers",
        "detections0.csv row 7: score must be finite numbers",
        "detections0.csv row 8: x must be finite numbers",
        "detections0.csv row 9: its image is not in the images table",
        "detections0.csv row 10: it lies outside the image: check the order and scale "
        "of coordinates",
    ]


def test_messages_repeat_no_cell(files):
    secret = "DOE-JANE-19540302"
    images = IMAGES + f"{secret},{secret},x,F,1,1\n"
    detections = DETECTIONS + f"{secret}2,1,1,{secret}\n"
    assert not any(secret in fault for fault in faults(files(images, detections)))


def test_missing_columns_are_named_with_those_that_are_there(files):
    assert faults(files("name,label\na,1\n")) == [
        "images.csv: no column image; it has label and 1 unknown"
    ]
    told = faults(files(IMAGES, "image,ax,ay\n", "image,x,y\n"))
    assert told[0].startswith("lesions.csv: no column x, y (a box")
    assert told[1].startswith("detections0.csv: no column score")


def test_a_split_column_needs_its_words_and_whole_patients(files):
    images = "image,patient,label,split\na.png,p,1,test\nb.png,p,0,validation\n"
    assert faults(files(images + "c.png,q,1,train\nd.png,r,0,test\n")) == [
        "images.csv row 3: its patient is in the other split, too",
        "images.csv row 4: split must be one of validation, test",
    ]


def test_identifiers_are_patients_and_never_groups(files):
    images = "image,patient_id,label,accession,site\n"
    images += "".join(f"{i}.png,MRN{i // 2},{i % 2},ACC{i},{i % 2}\n" for i in range(8))
    read = submissions.read(files(images, "image,lesion,x,y\n", "image,x,y,score\n"))
    assert read.truth.patient.tolist() == [f"patient MRN{i // 2}" for i in range(8)]
    assert set(read.truth.groups) == {"site"}
    assert read.left_out == ("accession",)
    both = "image,patient,patient_id,label\na.png,p,q,1\n"
    assert "2 columns may be the patient" in faults(files(both))[0]


def test_two_systems_need_two_image_scores_or_none(files):
    images = "image,label,score,score_b\na.png,1,1,2\nd.png,0,3,4\n"
    read = submissions.read(files(images, LESIONS, DETECTIONS, DETECTIONS))
    assert [scores.tolist() for scores in read.image_scores()] == [[1, 3], [2, 4]]
    one = images.replace("score_b", "site")
    told = faults(files(one, LESIONS, DETECTIONS, DETECTIONS))
    assert told == [
        "images.csv: has score and not score_b: give each system its image scores, "
        "or none"
    ]


def test_a_split_without_test_rows_is_a_fault(files):
    images = "image,label,split\na.png,1,validation\nd.png,0,validation\n"
    assert faults(files(images)) == [
        "images.csv: no row is of the split test: nothing to measure"
    ]


def test_rows_are_numbered_as_in_the_file_past_blank_lines(files):
    told = faults(files(IMAGES, LESIONS, DETECTIONS + "\n\nz.png,1,1,0.5\n"))
    assert told == ["detections0.csv row 7: its image is not in the images table"]


def test_labels_come_as_spreadsheets_write_them(files):
    images = "image,label\na.png,1.0\nb.png,False\nd.png,0\n"
    assert submissions.read(files(images)).truth.label.tolist() == [True, False, False]


def test_bad_image_scores_are_faults(files):
    images = "image,label,score\na.png,1,0.5\nd.png,0,\n"
    assert faults(files(images)) == ["images.csv row 3: score must be a finite number"]


def test_one_fault_of_many_rows_is_one_line_and_whole_in_the_record(files):
    rows = "".join(f"q{i}.png,1,1,0.5\n" for i in range(80)) + "a.png,1,1,x\n" * 2
    with pytest.raises(submissions.SubmissionError, match="82 fault") as caught:
        submissions.read(files(IMAGES, LESIONS, DETECTIONS + rows))
    told = str(caught.value).splitlines()
    assert told[1:] == [
        "- detections0.csv rows 5, 6, 7, 8, 9 and 75 more: its image is not in the "
        "images table",
        "- detections0.csv row 85: score must be finite numbers",
        "- detections0.csv row 86: score must be finite numbers",
    ]
    assert len(caught.value.faults) == 82


def test_long_lists_are_cut_in_the_message(files):
    rows = "".join(f"a.png,{i},1,0.{i}\n" * 2 for i in range(11, 91))
    with pytest.raises(submissions.SubmissionError, match="80 fault") as caught:
        submissions.read(files(IMAGES, LESIONS, DETECTIONS + rows))
    assert "... and 30 more" in str(caught.value)
    assert len(caught.value.faults) == 80


def test_missing_files_are_named_at_once(files, tmp_path):
    given = files()
    given.lesions.unlink()
    given.detections[0].unlink()
    assert faults(given) == [
        "lesions.csv: there is no such file",
        "detections0.csv: there is no such file",
    ]


COCO = {
    "images": [
        {"id": 7, "file_name": "a.png", "width": 100, "height": 80, "patient": "p1"},
        {"id": 9, "file_name": "b.png", "width": 100, "height": 80},
    ],
    "categories": [{"id": 1, "name": "rib"}, {"id": 2, "name": "clavicle"}],
    "annotations": [
        {"id": 1, "image_id": 7, "category_id": 1, "bbox": [10, 10, 10, 20]},
        {"id": 2, "image_id": 9, "category_id": 2, "bbox": [1, 1, 2, 2]},
    ],
}
RESULTS = [
    {"image_id": 7, "category_id": 1, "bbox": [12, 12, 6, 6], "score": 0.75},
    {"image_id": 9, "category_id": 2, "bbox": [12, 12, 6, 6], "score": 0.5},
]


@pytest.fixture
def coco(tmp_path):
    def write(truth=COCO, results=RESULTS, category="rib"):
        for name, value in (("truth.json", truth), ("results.json", results)):
            (tmp_path / name).write_text(json.dumps(value))
        found = (tmp_path / "results.json",)
        return submissions.Files(None, tmp_path / "truth.json", found, category)

    return write


def test_coco_gives_what_tables_give(coco, files):
    read = submissions.read(coco())
    same = submissions.read(
        files(
            "image,patient,label,width,height\na.png,p1,1,100,80\nb.png,,0,100,80\n",
            "image,lesion,x0,y0,x1,y1\na.png,1,10,10,20,30\n",
            "image,x0,y0,x1,y1,score\na.png,12,12,18,18,0.75\n",
        )
    )
    assert read.image.tolist() == same.image.tolist()
    assert read.truth.label.tolist() == same.truth.label.tolist() == [True, False]
    assert read.truth.patient.tolist() == same.truth.patient.tolist()
    for one, two in zip(
        [*read.truth.lesions, *read.detections[0]],
        [*same.truth.lesions, *same.detections[0]],
        strict=True,
    ):
        np.testing.assert_array_equal(one, two)


def test_a_category_must_be_named_where_there_are_several(coco):
    with pytest.raises(ValueError, match=r"one of \['clavicle', 'rib'\]"):
        submissions.read(coco(category=None))


def test_faults_of_coco_are_counted_by_entry(coco):
    results = [
        *RESULTS,
        {"image_id": 8, "category_id": 1, "bbox": [0, 0, 1, 1], "score": 1},
        {"image_id": 7, "category_id": 1, "bbox": [0, 0, 0, 1], "score": 1},
    ]
    assert faults(coco(results=results)) == [
        "results.json entry 3: its image is not in the images table",
        "results.json entry 4: a box without area: it needs x0 < x1 and y0 < y1, or a "
        "width and height above 0",
    ]


@pytest.mark.parametrize(
    ("truth", "results", "told"),
    [
        (RESULTS, RESULTS, "truth.json: is not an object"),
        (COCO, COCO, "results.json entry 1: has no score"),
        (COCO, 3, "results.json: is not results"),
        ({"images": []}, RESULTS, "truth.json: is not ground truth in COCO"),
        (
            COCO,
            [{**RESULTS[0], "category_id": 0}],
            "entry 1: its category_id is not among",
        ),
        (COCO, [{"image_id": 7}], "results.json entry 1: has no category_id"),
    ],
)
def test_what_is_no_coco_is_told(coco, truth, results, told):
    with pytest.raises(ValueError, match=told):
        submissions.read(coco(truth, results))


@pytest.mark.parametrize(
    ("name", "how"),
    [
        ("films/a.png", "folder"),
        ("A.png", "case"),
        ("a.dcm", "ending"),
        ("x\\\\A.nii.gz", "folder and case and ending"),
    ],
)
def test_names_that_differ_a_little_between_tables_are_told(name, how, files):
    given = files(IMAGES, LESIONS, DETECTIONS.replace("a.png,15", f"{name},15"))
    (told,) = faults(given)
    text = "detections0.csv row 2: its image is not in the images table, but one that "
    assert f"{text}differs by its {how} is: write the names" in told
    assert name not in told


@pytest.mark.parametrize(
    ("one", "other"),
    [("12", "12.0"), ("12", "0012"), ("film_7", "Film 007"), ("IMG-01", "img_1")],
)
def test_numbers_that_a_spreadsheet_changed_are_told(one, other, files):
    images = f"image,label\n{one},1\nb,0\n"
    given = files(
        images, LESIONS.replace("a.png", one), f"image,x,y,score\n{other},15,20,1\n"
    )
    (told,) = faults(given)
    assert "zeros, .0, blanks or signs" in told and "write the names" in told


def test_a_name_that_is_like_no_other_is_told_as_before(files):
    given = files(IMAGES, LESIONS, DETECTIONS.replace("a.png,15", "z.png,15"))
    (told,) = faults(given)
    assert told.endswith("its image is not in the images table")


ROUND = """image,x,y,diameter
a.png,15,20,10
c.png,50,40,4
"""


def test_lesions_with_a_radius_become_the_boxes_around_them(files):
    given = files(IMAGES, ROUND, DETECTIONS, with_radius=True)
    found = submissions.read(given).truth.lesions
    assert found[0].tolist() == [[10, 15, 20, 25]]
    assert found[2].tolist() == [[48, 38, 52, 42]]
    radius = ROUND.replace("diameter", "radius_mm").replace(",10\n", ",5\n")
    given = files(IMAGES, radius.replace(",4\n", ",2\n"), DETECTIONS, with_radius=True)
    again = submissions.read(given).truth.lesions
    assert [each.tolist() for each in again] == [each.tolist() for each in found]
    flat = submissions.read(files(IMAGES, ROUND, DETECTIONS))  # not asked for
    assert flat.truth.lesions[0].tolist() == [[15, 20]]


def test_a_radius_that_is_not_there_or_not_above_zero_is_told(files):
    points = "image,x,y\na.png,15,20\n"
    (told,) = faults(files(IMAGES, points, DETECTIONS, with_radius=True))
    assert "needs one column radius or diameter, or boxes; it has neither" in told
    none = ROUND.replace(",10\n", ",0\n")
    (told,) = faults(files(IMAGES, none, DETECTIONS, with_radius=True))
    assert "lesions.csv row 2" in told and "above 0" in told


def test_a_missing_images_table_is_told_once(tmp_path):
    missing = submissions.Files(tmp_path / "none.csv", None, ())
    assert faults(missing) == ["none.csv: there is no such file"]


def test_columns_that_nothing_reads_are_named(files):
    found = "image,x,y,score,pred_class,status\na.png,20,20,.9,nodule,\n"
    notes = submissions.read(files(IMAGES, LESIONS, found)).notes
    told = [note for note in notes if "nothing reads" in note]
    assert len(told) == 1 and told[0].endswith("nothing reads the column(s) pred_class")


def classified(column, values, *, places=24):
    """Detections of several images, with a further column; values come in turn."""
    rows = [
        f"{'abd'[i % 3]}.png,{i},{i},0.{i + 10},{values[i % len(values)]}"
        for i in range(places)
    ]
    return "\n".join([f"image,x,y,score,{column}", *rows]) + "\n"


SORTED = LESIONS.replace("y1\n", "y1,category\n").replace("0\na", "0,rib\na")
SORTED = SORTED.rstrip("\n") + ",rib\n"
CLAVICLES = SORTED.replace("60,50,rib", "60,50,clavicle")


@pytest.mark.parametrize(
    ("lesions", "column", "values"),
    [
        (LESIONS, "pred_class", "012"),
        (LESIONS, "kind", ("rib", "clavicle")),
        (LESIONS, "Lesion Type", ("mass", "nodule")),
        (LESIONS, "predicted_label", "01"),
        (SORTED, "what", ("rib", "clavicle")),
        (SORTED, "side", ("Rib", "Clavicle")),  # whatever it is called
        (CLAVICLES, "thing", ("Rippe", "Schlüsselbein")),
    ],
)
def test_classes_under_a_strange_name_are_refused(lesions, column, values, files):
    asked = {"category": "rib"} if lesions == CLAVICLES else {}
    detections = classified(column, values)
    (told,) = faults(files(IMAGES, lesions, detections, **asked))
    assert told.startswith(
        f"detections0.csv: the column {column} seems to hold classes"
    )
    assert "name it category and give --category, or take it out" in told
    mended = detections.replace(column, "category")
    if lesions != CLAVICLES and "rib" in values:
        assert submissions.read(files(IMAGES, lesions, mended, category="rib"))


@pytest.mark.parametrize(
    ("column", "values"),
    [
        ("side", ("left", "right")),
        ("status", ("kept", "new")),
        ("pred_class", ("rib",)),  # one alone
        ("class_score", ("0.25", "0.5")),
        ("finding_no", "123"),
        ("area", ("100", "200")),
        ("det_id", [str(i) for i in range(24)]),
        ("scanner type", ("A", "B")),
        ("kind", [f"k{i}" for i in range(24)]),  # each another
    ],
)
def test_other_columns_of_detections_are_harmless(column, values, files):
    read = submissions.read(files(IMAGES, LESIONS, classified(column, values)))
    (note,) = [note for note in read.notes if "nothing reads" in note]
    assert note.endswith(f"the column(s) {column}")


def test_a_column_that_splits_both_tables_is_refused(files):
    lesions = LESIONS.replace("y1\n", "y1,what\n").replace("30\n", "30,mass\n")
    lesions = lesions.replace("50\n", "50,cyst\n")
    lesions += "c.png,1,1,1,5,5,cyst\nc.png,2,11,11,15,15,mass\n"
    (told,) = faults(files(IMAGES, lesions, classified("what", ("mass", "cyst"))))
    assert "the column splits lesions.csv, too" in told
    aside = lesions.replace("what", "side"), classified("side", ("mass", "cyst"))
    assert submissions.read(files(IMAGES, *aside))


def test_lesions_of_the_classes_of_the_detections_are_refused(files):
    lesions = LESIONS.replace("y1\n", "y1,what\n").replace("30\n", "30,rib\n")
    lesions = lesions.replace("50\n", "50,mass\n")
    lesions += "c.png,1,1,1,5,5,rib\nc.png,2,11,11,15,15,mass\n"
    detections = classified("category", ("rib", "lung"))
    (told,) = faults(files(IMAGES, lesions, detections, category="rib"))
    assert told.startswith("lesions.csv: the column what seems to hold classes")


def test_detections_without_categories_are_said_to_be_of_the_one_scored(files):
    notes = submissions.read(files(IMAGES, CLAVICLES, category="rib")).notes
    assert any("every row counts as the one scored" in note for note in notes)
    notes = submissions.read(files(IMAGES, LESIONS)).notes
    assert not any("every row counts" in note for note in notes)


def test_patients_of_other_tables_must_be_those_of_the_images(files):
    lesions = LESIONS.replace("image,", "image,Patient ID,").replace("png,", "png,p1,")
    assert submissions.read(files(IMAGES, lesions))
    (told,) = faults(files(IMAGES, lesions.replace("png,p1,2", "png,p2,2")))
    assert (
        told == "lesions.csv row 3: its image is of another patient in the images table"
    )
    for other in ("MRN", "case"):  # numbers of another kind
        assert submissions.read(files(IMAGES, lesions.replace("Patient ID", other)))
    alone = IMAGES.replace(",patient,", ",").replace("png,p1", "png")
    alone = alone.replace("png,p2", "png").replace("png,p3", "png")
    assert submissions.read(files(alone, lesions))
    found = "image,patient,x,y,score\na.png,p1,15,20,0.9\nb.png,p1,5,5,0.4\n"
    (told,) = faults(files(alone, lesions, found))
    assert "bring the column over" in told and told.startswith("detections0.csv: says")


@pytest.mark.parametrize("word", ["-1", "999", "-99.0"])
def test_scores_that_stand_for_none_are_refused(word, files):
    (told,) = faults(files(IMAGES, LESIONS, DETECTIONS.replace("0.2", word)))
    assert told.startswith("detections0.csv row 3: the score seems to stand for none")
    images = f"image,label,score\na.png,1,0.5\nd.png,0,{word}\n"
    told = faults(files(images, LESIONS, "image,x,y,score\n"))
    assert "images.csv row 3: the score seems" in told[0]
    logits = DETECTIONS.replace("0.2", word).replace("0.9", "3.5")
    assert submissions.read(files(IMAGES, LESIONS, logits))


@pytest.mark.parametrize("column", ["difficult", "Is_Uncertain", "exclude"])
def test_rows_that_may_not_count_are_asked_about(column, files):
    lesions = LESIONS.replace("y1\n", f"y1,{column}\n").replace("0\na", "0,0\na")
    marked = lesions.rstrip("\n") + ",1\n"
    (told,) = faults(files(IMAGES, marked))
    assert told.startswith(f"lesions.csv row 3: the column {column} is set here")
    assert told.endswith("or name it ignore")
    assert submissions.read(files(IMAGES, marked.replace(",1\n", ",0\n")))
    images = IMAGES.replace("sex", column).replace(",F,", ",0,").replace("M", "1")
    (told,) = faults(files(images))
    assert told.startswith(f"images.csv row 4: the column {column} is set here")
    asked = submissions.read(files(images, subgroups=(column,)))
    assert set(asked.truth.groups) == {column}


def test_images_of_one_name_in_two_spellings_are_told(files):
    images = IMAGES + "A.PNG,p1,0,F,100,80\n"
    notes = submissions.read(files(images)).notes
    assert any(note.startswith("2 image(s) have the name of another") for note in notes)
    notes = submissions.read(files()).notes
    assert not any("name of another" in note for note in notes)


def test_detections_in_one_place_are_told(files):
    rows = [f"a.png,{10 + i},20,0.{i + 11}" for i in range(8)]
    once = "\n".join(["image,x,y,score", *rows]) + "\n"
    twice = once + once.split("\n", 1)[1].replace(",0.", ",0.2")
    notes = submissions.read(files(IMAGES, LESIONS, twice)).notes
    assert any("16 detection(s) lie exactly where another" in note for note in notes)
    assert not submissions.read(files(IMAGES, LESIONS, once)).notes
