"""Numbers that can't mean what their header says are refused, others are not."""

import re

import numpy as np
import pytest

from aals_jax.evaluation import plausible
from aals_jax.evaluation.layouts import Form
from tests.evaluation.test_layouts import SIZED, corners, middle, sizes, table
from tests.support.submission_files import DETECTIONS, IMAGES, LESIONS, faults, read


@pytest.mark.parametrize(
    ("header", "form", "images", "told"),
    [
        ("image,x,y,width,height,score", corners, SIZED, "two corners"),
        ("image,x,y,width,height,score", corners, IMAGES, "two corners"),
        ("image,x0,y0,x1,y1,score", sizes, IMAGES, "left, top, width, height"),
        ("image,x,y,width,height,score", middle, IMAGES, "middle x, middle y"),
        (
            "image,x0,y0,x1,y1,score",
            lambda a, b, c, d: (b, a, d, c),
            IMAGES,
            "y before x",
        ),
        (
            "image,x0,y0,x1,y1,score",
            lambda *box: tuple(value / 200 for value in box),
            IMAGES,
            "shares of the image",
        ),
    ],
)
def test_numbers_of_another_kind_are_refused(tmp_path, header, form, images, told):
    found = table(header, form)
    given = faults(tmp_path, images=images, lesions=LESIONS, detections=found)
    assert any(told in text and "(see row" in text for text in given), given


def test_lesions_in_shares_are_refused_beside_pixels(tmp_path):
    shares = "image,x0,y0,x1,y1\na,.1,.1,.3,.3\nc,.5,.5,.8,.9\n"
    (told,) = faults(tmp_path, images=IMAGES, lesions=shares, detections=DETECTIONS)
    assert "larger than those of the lesions" in told
    found = "image,x,y,score\na,.2,.2,.9\n"
    read(tmp_path, images=IMAGES, lesions=shares, detections=found)


def test_points_with_y_before_x_are_refused_once_three_lesions_say_so():
    lesions = [np.array([[10.0 * i, 100, 10 * i + 9, 120]]) for i in range(1, 5)]
    points = np.array([[110.0, 10 * i + 4] for i in range(1, 5)])
    image = np.arange(4)
    size = np.full((4, 2), np.inf)
    assert plausible.doubt(Form.POINT, points, image, size, lesions)
    assert not plausible.doubt(Form.POINT, points[:2], image[:2], size[:2], lesions)
    assert not plausible.doubt(Form.POINT, points[:, ::-1], image, size, lesions)


def test_honest_numbers_are_never_doubted():
    """Detectors that miss, or reach beyond the border, under each form."""
    rng = np.random.default_rng(0)
    for trial in range(200):
        count = int(rng.integers(1, 30))
        image = rng.integers(0, 10, count)
        first = rng.uniform(0, 900, (count, 2))
        side = rng.uniform(5, 200, (count, 2))  # many reach beyond 1,000
        size = np.full((count, 2), 1000.0 if trial % 2 else np.inf)
        corner = rng.uniform(0, 800, (10, 2))
        lesions = [
            np.concatenate([c, c + rng.uniform(10, 100, 2)])[None] for c in corner
        ]
        for form, raw in (
            (Form.SIZES, np.hstack([first, side])),
            (Form.CORNERS, np.hstack([first, first + side])),
            (Form.MIDDLE, np.hstack([first, side])),
            (Form.POINT, first),
        ):
            assert plausible.doubt(form, raw, image, size, lesions) is None, form


def test_a_detector_may_reach_beyond_the_border_and_a_lesion_not(tmp_path):
    images = "image,label,width,height\na,1,100,100\nb,0,100,100\n"
    lesions = "image,lesion,x0,y0,x1,y1\na,1,50,50,99,90\n"
    found = "image,x,y,width,height,score\na,60,50,50,40,.9\n"
    read(tmp_path, images=images, lesions=lesions, detections=found)
    beyond = lesions.replace("99,90", "140,90")
    told = faults(tmp_path, images=images, lesions=beyond, detections=found)
    assert told[0].startswith("lesions.csv row 2: it reaches beyond the image")


def test_each_form_gives_the_same_corners():
    box = np.array([[10.0, 20, 50, 80]])
    for form, raw in (
        (Form.CORNERS, box),
        (Form.SIZES, [[10, 20, 40, 60]]),
        (Form.MIDDLE, [[30, 50, 40, 60]]),
    ):
        np.testing.assert_array_equal(plausible.to_boxes(form, np.array(raw)), box)


def near_the_origin(side):
    """Lesions as corners near the origin, where corners pass for sizes, and images."""
    boxes = np.array([[5, 6, 5 + side, 6 + side], [8, 4, 8 + side, 4 + side]], float)
    return boxes, np.arange(2), np.full((2, 2), 100.0), [box[None] for box in boxes]


def test_a_reading_that_fits_the_lesions_exactly_is_the_right_one():
    boxes, image, size, lesions = near_the_origin(20)
    text, _ = plausible.doubt(Form.SIZES, boxes, image, size, lesions)
    assert "two corners" in text
    honest = np.concatenate([boxes[:, :2], boxes[:, 2:] - boxes[:, :2]], axis=1)
    assert plausible.doubt(Form.SIZES, honest, image, size, lesions) is None
    assert plausible.doubt(Form.CORNERS, boxes, image, size, lesions) is None


def test_a_reading_that_fits_a_little_better_is_no_doubt():
    # overlaps of 0.34 as they are, 0.58 as corners: neither twice nor exactly
    boxes, image, size, lesions = near_the_origin(20)
    loose = boxes + np.array([2, 2, 4, 4])
    assert plausible.doubt(Form.SIZES, loose, image, size, lesions) is None


def scattered(n=40, side=1000.0, seed=0):
    """One lesion an image; boxes on eight of ten of them, and as many anywhere."""
    rng = np.random.default_rng(seed)

    def some(number):
        low = rng.uniform(0, side - 100, (number, 2))
        return np.concatenate([low, low + rng.uniform(40, 90, (number, 2))], axis=1)

    lesions = some(n)
    near = lesions[: n * 4 // 5] + rng.uniform(-4, 4, (n * 4 // 5, 4))
    boxes = np.concatenate([near, some(n)])
    image = np.concatenate([np.arange(len(near)), rng.integers(0, n, n)])
    return (
        boxes,
        image,
        np.full((len(boxes), 2), side),
        [each[None] for each in lesions],
    )


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("scale", [(0.5, 0.5), (0.512, 0.4), (1.5, 1.5), (0.25, 0.8)])
def test_boxes_of_a_resized_image_are_refused(scale, seed):
    boxes, image, size, lesions = scattered(seed=seed)
    told, _ = plausible.doubt(
        Form.CORNERS, boxes * np.tile(scale, 2), image, size * np.inf, lesions
    )
    assert "another size" in told
    found = re.search(r"times (\S+) in x and (\S+) in y", told)
    assert [1 / float(each) for each in found.groups()] == pytest.approx(
        scale, rel=0.03
    )
    assert plausible.doubt(Form.CORNERS, boxes, image, size, lesions) is None


@pytest.mark.parametrize(("axis", "told"), [(0, "from the right"), (1, "the bottom")])
def test_coordinates_from_another_border_are_refused(axis, told):
    boxes, image, size, lesions = scattered()
    turned = boxes.copy()
    turned[:, [axis, axis + 2]] = 1000 - boxes[:, [axis + 2, axis]]
    points = (turned[:, :2] + turned[:, 2:]) / 2
    for form, raw in ((Form.CORNERS, turned), (Form.POINT, points)):
        assert told in plausible.doubt(form, raw, image, size, lesions)[0]
        unknown = plausible.doubt(form, raw, image, size * np.inf, lesions)
        assert unknown is None  # without sizes nobody can tell


def test_a_poor_system_is_scored():
    """On the other side, at random, or beside the lesions: wrong, but not misread."""
    boxes, image, size, lesions = scattered()
    both = np.concatenate([boxes, boxes])
    both[len(boxes) :, [0, 2]] = 1000 - boxes[:, [2, 0]]
    twice = np.tile(image, 2), np.tile(size, (2, 1))
    assert plausible.doubt(Form.CORNERS, both, *twice, lesions) is None
    rng = np.random.default_rng(1)
    for _ in range(20):
        shuffled = rng.permutation(boxes)
        assert plausible.doubt(Form.CORNERS, shuffled, image, size, lesions) is None
