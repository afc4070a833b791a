"""Headers as people write them: read for what they are, or refused."""

import numpy as np
import pytest

from tests.support.submission_files import (
    DETECTIONS,
    IMAGES,
    LESIONS,
    NO_LESIONS,
    WIDER,
    faults,
    read,
)

SIZED = "image,label,width,height\na,1,200,200\nb,0,200,200\nc,1,200,200\nd,0,200,200\n"


def corners(x0, y0, x1, y1):
    return (x0, y0, x1, y1)


def sizes(x0, y0, x1, y1):
    return (x0, y0, x1 - x0, y1 - y0)


def middle(x0, y0, x1, y1):
    return ((x0 + x1) / 2, (y0 + y1) / 2, x1 - x0, y1 - y0)


def table(header, form, *, joined="{},{},{},{}", scores=(0.9, 0.8)):
    """The wider boxes under a header: image, coordinates, score."""
    rows = [
        f"{name},{joined.format(*form(*box))},{score}"
        for (name, box), score in zip(WIDER.items(), scores, strict=True)
    ]
    return "\n".join([header, *rows]) + "\n"


HEADERS = [
    ("image,x0,y0,x1,y1,score", corners),
    ("image,x1,y1,x2,y2,score", corners),
    ("image,xmin,ymin,xmax,ymax,score", corners),
    ("image_id,x_min,y_min,x_max,y_max,confidence", corners),
    ("filename,left,top,right,bottom,probability", corners),
    ("Image, X0 ,Y0,X1, Y1 ,SCORE", corners),
    ("image,x0_px,y0_px,x1_px,y1_px,conf", corners),
    ("image,x,y,width,height,score", sizes),
    ("image,x,y,w,h,score", sizes),
    ("image,left,top,width,height,score", sizes),
    ("image,bbox_x,bbox_y,bbox_width,bbox_height,prob", sizes),
    ("image,cx,cy,w,h,score", middle),
    ("image,x_center,y_center,width,height,score", middle),
]


@pytest.mark.parametrize(("header", "form"), HEADERS)
def test_a_header_says_what_its_numbers_are(tmp_path, header, form):
    found = read(
        tmp_path, images=IMAGES, lesions=LESIONS, detections=table(header, form)
    )
    for row, (box, score) in enumerate(zip(WIDER.values(), (0.9, 0.8), strict=True)):
        np.testing.assert_array_equal(
            found.detections[0][2 * row], [[*box, score]], err_msg=header
        )
    as_lesions = read(
        tmp_path, images=IMAGES, lesions=table(header, form), detections=DETECTIONS
    )
    assert as_lesions.truth.lesions[0].tolist() == [list(WIDER["a"])]


def test_what_is_not_this_projects_own_name_is_told(tmp_path):
    text = table("image_id,x,y,width,height,Probability", sizes)
    notes = read(tmp_path, images=IMAGES, lesions=LESIONS, detections=text).notes
    assert notes == (
        "detections.csv: the column imageid is read as the image",
        "detections.csv: the column probability is read as the score",
        "detections.csv: x, y, width, height are read as left, top, width, height",
    )
    plain = read(tmp_path, images=IMAGES, lesions=LESIONS, detections=DETECTIONS)
    assert plain.notes == ()


def test_lists_of_numbers_are_read_where_the_data_tell_what_they_are(tmp_path):
    listed = table("image,bbox,score", corners, joined='"[{}, {}, {}, {}]"')
    sized = read(tmp_path, images=SIZED, lesions=LESIONS, detections=listed)
    assert sized.detections[0][0].tolist() == [[8, 8, 32, 32, 0.9]]
    assert "two corners" in sized.notes[0]
    (told,) = faults(tmp_path, images=IMAGES, lesions=LESIONS, detections=listed)
    assert "bbox_xyxy or bbox_xywh" in told
    named = listed.replace("bbox", "bbox_xyxy")
    found = read(tmp_path, images=IMAGES, lesions=LESIONS, detections=named)
    assert found.detections[0][0].tolist() == [[8, 8, 32, 32, 0.9]]
    short = 'image,bbox_xywh,score\na,"[1, 2, 3]",.5\n'
    told = faults(tmp_path, images=IMAGES, lesions=LESIONS, detections=short)
    assert told == ["detections.csv row 2: needs 4 numbers, and has 3"]


@pytest.mark.parametrize(
    ("header", "row", "told"),
    [
        ("image,x,y,width,score", "a,8,8,24,.9", "x, y with width is not clear"),
        ("image,x,y,x1,y1,score", "a,8,8,24,24,.9", "x, y with x1, y1 is not clear"),
        (
            "image,x0,y0,x1,y1,x2,y2,score",
            "a,8,8,32,32,40,40,.9",
            "coordinates are given twice: x0, y0, x1, y1 and x1, y1, x2, y2",
        ),
        ("image,x,y,score,confidence", "a,8,8,.1,.2", "2 columns may be the score"),
        ("image,x,y,score,Score", "a,8,8,.1,.2", "two columns are both score"),
        ("image,x,y,z", "a,8,8,1", "no column score"),
    ],
)
def test_a_header_that_can_be_read_twice_is_refused(tmp_path, header, row, told):
    text = f"{header}\n{row}\n"
    found = faults(tmp_path, images=IMAGES, lesions=LESIONS, detections=text)
    assert told in found[0], found


def test_one_name_in_two_spellings_is_refused(tmp_path):
    images = "image,label,Label \na,1,0\nb,0,1\n"
    told = faults(tmp_path, images=images, lesions=NO_LESIONS, detections=DETECTIONS)
    assert "two columns are both label but for case" in told[0]


def test_reserved_names_are_reserved_in_any_case(tmp_path):
    images = (
        "IMAGE,Label,SCORE,Split,Width,HEIGHT\na,1,.9,Test,50,60\nb,0,.1,VAL,50,60\n"
    )
    found = read(tmp_path, images=images)
    assert found.split.tolist() == ["test", "validation"]
    assert found.image_scores()[0].tolist() == [0.9, 0.1]
    assert found.truth.groups == {} and found.truth.unit == (1.0, "px")
    other = "image,label,score,fold\na,1,.9,test\nb,0,.1,train\n"
    assert "name it split" in faults(tmp_path, images=other)[0]


def test_rsna_names_images_by_patients_and_negatives_by_empty_boxes(tmp_path):
    truth = (
        "patientId,x,y,width,height,Target\n"
        "p1,10,10,20,20,1\np1,60,60,20,20,1\np2,,,,,0\np3,100,40,60,80,1\n"
    )
    told = "patientId,PredictionString\np1,.9 11 11 20 20 .8 60 61 20 20\np2,\n"
    for images in ({}, {"images": truth}):  # the same table, given once or twice
        found = read(tmp_path, lesions=truth, detections=told, **images)
        assert found.image.tolist() == ["p1", "p2", "p3"]
        assert found.truth.label.tolist() == [True, False, True]
        assert [len(each) for each in found.truth.lesions] == [2, 0, 1]
        assert found.detections[0][0].tolist() == [
            [11, 11, 31, 31, 0.9],
            [60, 61, 80, 81, 0.8],
        ]
    conflict = faults(tmp_path, lesions=truth + "p1,,,,,0\n", detections=told)
    assert conflict == ["lesions.csv row 6: its image has another label in row 2"]
    broken = told.replace(".9 11", "11")
    assert (
        "row 2: needs groups of five"
        in faults(tmp_path, lesions=truth, detections=broken)[0]
    )


VINDR = (
    "image_id,class_name,rad_id,x_min,y_min,x_max,y_max\n"
    "a,No finding,R1,,,,\nb,Rib,R1,10,10,30,30\nc,Nodule,R1,40,40,50,50\n"
)


def test_one_category_of_several_is_scored(tmp_path):
    found = "image_id,class_name,score,x_min,y_min,x_max,y_max\n"
    found += "b,Rib,.9,11,11,30,30\nc,Nodule,.99,40,40,50,50\n"
    given = {"lesions": VINDR, "detections": found}
    rib = read(tmp_path, **given, category="rib")
    assert rib.truth.label.tolist() == [False, True, False]
    assert rib.image_scores()[0].tolist() == [0, 0.9, 0]
    assert all("--category" in text for text in faults(tmp_path, **given))
    wrong = faults(tmp_path, **given, category="Spine")
    assert len(wrong) == 2 and "no row is of --category=Spine" in wrong[0]
    none = faults(
        tmp_path,
        images=IMAGES,
        lesions=LESIONS,
        detections=DETECTIONS,
        category="Rib",
    )
    assert none == ["--category is given, and no file has a column of categories"]


def test_a_number_may_be_a_label_or_a_class_and_not_both(tmp_path):
    header = "image,label,cx,cy,w,h\n"
    classes = header + "a,0,20,20,20,20\nc,0,130,80,60,80\n"
    found = read(tmp_path, images=IMAGES, lesions=classes, detections=DETECTIONS)
    assert [len(each) for each in found.truth.lesions] == [1, 0, 1, 0]
    both = classes.replace("c,0", "c,1")
    (told,) = faults(tmp_path, images=IMAGES, lesions=both, detections=DETECTIONS)
    assert told == "lesions.csv row 2: label 0 and a place: is it a lesion or not?"


def test_several_readers_or_systems_in_a_table_are_refused(tmp_path):
    found = "image_id,score,x,y\nb,.9,20,20\n"
    twice = VINDR + "b,Rib,R2,11,11,31,31\n"
    told = faults(tmp_path, lesions=twice, detections=found, category="Rib")
    assert "row 5: its image was read by several readers" in told[0]
    models = "image,model,x,y,score\na,A,20,20,.9\na,B,20,21,.9\n"
    told = faults(tmp_path, images=IMAGES, lesions=LESIONS, detections=models)
    assert "row 3: its image has rows of several systems" in told[0]
    folds = models.replace("a,B", "b,B").replace("model", "fold")
    read(tmp_path, images=IMAGES, lesions=LESIONS, detections=folds)


def test_points_in_space_are_near_in_space(tmp_path):
    images = "seriesuid,label\n1.3.1,1\n1.3.2,0\n"
    lesions = "seriesuid,coordX,coordY,coordZ,diameter_mm\n1.3.1,-28.5,-9,-298.4,4.2\n"
    found = "seriesuid,coordX,coordY,coordZ,probability\n1.3.1,-28,-9,-298,.9\n"
    given = read(tmp_path, images=images, lesions=lesions, detections=found)
    assert given.truth.lesions[0].tolist() == [[-28.5, -9, -298.4]]
    assert given.detections[0][0].tolist() == [[-28, -9, -298, 0.9]]
    assert (
        "lesions.csv: diameter is not used (--hit_rule=radius uses it)" in given.notes
    )
    flat = "image,x0,y0,x1,y1,slice,score\na,1,1,9,9,1,.5\nb,1,1,9,9,2,.5\n"
    told = faults(tmp_path, images=IMAGES, lesions=LESIONS, detections=flat)
    assert "boxes here are flat" in told[0]


def test_a_negative_coordinate_is_outside_unless_lesions_have_them(tmp_path):
    below = "image,x,y,score\na,-3,20,.9\n"
    told = faults(tmp_path, images=IMAGES, lesions=LESIONS, detections=below)
    assert told[0].startswith("detections.csv row 2: it lies outside the image")
    signed = "image,lesion,x,y\na,1,-10,20\n"
    read(tmp_path, images=IMAGES, lesions=signed, detections=below)


def test_regions_to_ignore_are_told_by_a_column(tmp_path):
    lesions = "image,x0,y0,x1,y1,iscrowd\na,10,10,30,30,0\nc,100,40,160,120,{}\n"
    for cell, count in (("1", 1), ("True", 1), ("", 0), ("no", 0)):
        text = lesions.format(cell)
        found = read(tmp_path, images=IMAGES, lesions=text, detections=DETECTIONS)
        assert sum(map(len, found.ignored)) == count
        assert sum(map(len, found.truth.lesions)) == 2 - count
    text = lesions.format("perhaps")
    (told,) = faults(tmp_path, images=IMAGES, lesions=text, detections=DETECTIONS)
    assert told.startswith("lesions.csv row 3: ignored must be 1")


@pytest.mark.parametrize(
    "columns", ["z1,z2", "z,depth", "slice,frame", "front,back", "zstart,angle"]
)
def test_a_depth_is_never_dropped_though_one_table_has_one_alone(tmp_path, columns):
    found = f"image,x0,y0,x1,y1,score,{columns}\na,1,1,9,9,.5,50,60\n"
    given = faults(tmp_path, images=IMAGES, lesions=LESIONS, detections=found)
    assert any("take that column out" in text for text in given), given
