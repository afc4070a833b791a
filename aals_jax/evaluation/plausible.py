"""Whether the numbers of boxes can mean what their header says.

Boxes of a known image must lie in it, and detections lie on lesions more often than
not. Where that fails for what the header says, and holds for another reading of the
same numbers (two corners read as sizes, say), the table is refused: nobody sees from
the scores that every box was misread.
"""

from collections.abc import Callable, Mapping, Sequence

import numpy as np

from aals_jax.evaluation.layouts import Form
from aals_jax.metrics import matching

EDGE = 1.0  # unit of the coordinates by which a box may cross its image's border
_SHARE = 0.02  # of a side, by which it may, too: detectors don't clip
_AGREES = 0.5  # overlap with the lesions from which a reading is believed
_TIMES = 2.0  # how much better than the header's reading another one must be
_EXACT = 0.9  # overlap that no reading but the right one reaches
_NEARLY = 0.8  # overlap of the header's reading that leaves no doubt
_LEAST_POINTS = 3  # lesions that points must hit before they tell x from y
_LEAST_MOVED = 5  # lesions that boxes of another scale or origin must lie on
_ONE_SCALE = 0.02  # binary logarithm, within which ratios of coordinates are one
_SAME_SCALE = 0.1  # of 1, by which a scale must differ to be another one
_BORDERS = ((1, "from the bottom upwards"), (0, "from the right"))  # axis, words


def to_boxes(form: Form, raw: np.ndarray) -> np.ndarray:
    """f64[k, w] of a form -> corners f64[k, 4], in space f64[k, 6]; points stay."""
    return _READINGS[form](np.asarray(raw, np.float64))


def _corners(raw: np.ndarray) -> np.ndarray:
    return raw


def _sizes(raw: np.ndarray) -> np.ndarray:
    return np.concatenate([raw[:, :2], raw[:, :2] + raw[:, 2:]], axis=1)


def _middle(raw: np.ndarray) -> np.ndarray:
    half = raw[:, 2:] / 2
    return np.concatenate([raw[:, :2] - half, raw[:, :2] + half], axis=1)


def _round(raw: np.ndarray) -> np.ndarray:
    return np.concatenate(
        [raw[:, :-1] - raw[:, -1:], raw[:, :-1] + raw[:, -1:]], axis=1
    )


def _across(raw: np.ndarray) -> np.ndarray:
    return _round(np.concatenate([raw[:, :-1], raw[:, -1:] / 2], axis=1))


_READINGS: Mapping[Form, Callable[[np.ndarray], np.ndarray]] = {
    Form.POINT: _corners,
    Form.SPACE: _corners,
    Form.CIRCLE: _round,
    Form.CIRCLE_ACROSS: _across,
    Form.BALL: _round,
    Form.BALL_ACROSS: _across,
    Form.CORNERS: _corners,
    Form.SIZES: _sizes,
    Form.MIDDLE: _middle,
}
_BOXES = (Form.CORNERS, Form.SIZES, Form.MIDDLE)


def fits(boxes: np.ndarray, size: np.ndarray) -> np.ndarray:
    """bool[k], boxes with an area that lie in their images.

    Args:
        boxes: f64[k, 4], corners.
        size: f64[k, 2], width and height; infinite where unknown.
    """
    room = np.maximum(EDGE, _SHARE * np.where(np.isfinite(size), size, 0))
    inside = (boxes[:, :2] >= -room) & (boxes[:, 2:] <= size + room)
    known = np.isfinite(size)
    return np.all((boxes[:, :2] < boxes[:, 2:]) & (inside | ~known), axis=1)


def form_of_list(raw: np.ndarray, size: np.ndarray) -> Form | None:
    """CORNERS or SIZES, whichever alone fits all boxes; None: nobody can tell."""
    forms = [
        f for f in (Form.CORNERS, Form.SIZES) if fits(to_boxes(f, raw), size).all()
    ]
    return forms[0] if len(forms) == 1 else None


def doubt(
    form: Form,
    raw: np.ndarray,
    image: np.ndarray,
    size: np.ndarray,
    lesions: Sequence[np.ndarray],
) -> tuple[str, int] | None:
    """Why the numbers are not of that form, and the row that shows it; None: no doubt.

    Args:
        form: what the header says.
        raw: f64[k, 4 or 2], finite.
        image: i64[k], of each place.
        size: f64[k, 2], of its image; infinite where unknown.
        lesions: corners f64[m, 4] or points f64[m, 2] of each image; none while the
            lesions themselves are looked at.
    """
    if not len(raw):
        return None
    if shares := _are_shares(raw, size, lesions):
        return shares
    if form not in (Form.POINT, *_BOXES):
        return None
    if form is Form.POINT:
        return _swapped_points(raw, image, size, lesions)
    boxes = to_boxes(form, raw)
    good, known = fits(boxes, size), np.isfinite(size).any()
    beside = _Lesions(image, lesions)
    agreement = beside.agreement(boxes)
    for other, name in _others(form):
        read = to_boxes(other, name(raw))
        if not fits(read, size).all():
            continue
        words = other.value if name is _as_given else f"{other.value} with y before x"
        by_border = {form, other} == {Form.CORNERS, Form.SIZES}  # clear of the others
        if not good.all() and by_border and (known or (~good).mean() > 0.5):
            text = f"{np.sum(~good)} of {len(raw)} boxes have no area or reach beyond "
            text += f"their images, but all fit if read as {words}: write what they are"
            return text, int(np.flatnonzero(~good)[0])
        may_be_exact = name is _as_given and agreement < _NEARLY
        if agreement * _TIMES >= 1 and not may_be_exact:
            continue  # nothing can agree so much better
        better = beside.agreement(read)
        is_exact = may_be_exact and better >= _EXACT
        if is_exact or (better >= _AGREES and agreement * _TIMES < better):
            text = f"read as {form.value} the boxes lie on the lesions worse than "
            return text + f"read as {words}: write what they are", 0
    return _moved(boxes, size, beside, agreement)


def _moved(
    boxes: np.ndarray, size: np.ndarray, beside: "_Lesions", agreement: float
) -> tuple[str, int] | None:
    """Whether the boxes lie on the lesions only from another border or at a scale."""
    if agreement >= _AGREES:
        return None
    known = np.isfinite(size).all()
    ways = [(_turned(boxes, size, axis), words) for axis, words in _BORDERS if known]
    if (scale := beside.scale_of(boxes)) is not None:
        words = f"times {scale[0]:.3g} in x and {scale[1]:.3g} in y, as of an image of "
        ways.append((boxes * np.tile(scale, 2), words + "another size"))
    for moved, words in ways:
        better = beside.agreement(moved)
        many = beside.number_within(moved, _AGREES) >= _LEAST_MOVED
        if many and better >= _AGREES and agreement * _TIMES < better:
            text = (
                "the boxes do not lie on the lesions, but do so if their coordinates "
            )
            return text + f"are taken {words}; give all tables one unit and origin", 0
    return None


def _turned(places: np.ndarray, size: np.ndarray, axis: int) -> np.ndarray:
    """Corners f64[k, 4] or points f64[k, 2] as counted from the other border."""
    turned = np.array(places)
    low, high = axis, axis + (2 if places.shape[1] == 4 else 0)
    turned[:, [low, high]] = size[:, [axis]] - places[:, [high, low]]
    return turned


def _others(form: Form):
    """Other readings of the same numbers, and what is done to them before."""
    for other in _BOXES:
        if other is not form:
            yield other, _as_given
    yield form, _swapped


def _as_given(raw: np.ndarray) -> np.ndarray:
    return raw


def _swapped(raw: np.ndarray) -> np.ndarray:
    return raw[:, [1, 0, 3, 2]]


def _are_shares(
    raw: np.ndarray, size: np.ndarray, lesions: Sequence[np.ndarray]
) -> tuple[str, int] | None:
    """Whether these are shares of the image while images or lesions are in pixels."""
    every = np.concatenate([np.empty(0), *(np.ravel(places) for places in lesions)])
    if len(every) and every.min() >= 0 and every.max() <= 1 < raw.max() / 2:
        text = "coordinates are larger than those of the lesions, which lie between 0 "
        return text + "and 1, as shares of the image do; give all tables one unit", 0
    if raw.max() > 1 or raw.min() < 0 or np.all(raw == np.floor(raw)):
        return None
    largest = every.max(initial=0)
    in_pixels = np.isfinite(size).any() and size[np.isfinite(size)].min() > 2
    if not (in_pixels or largest > 2):
        return None
    text = "all coordinates lie between 0 and 1, as shares of the image do, and the "
    text += "images or lesions are larger; give all tables one unit"
    return text, 0


class _Lesions:
    """The boxes of all lesions beside the places on their images, as pairs."""

    def __init__(self, image: np.ndarray, lesions: Sequence[np.ndarray]):
        boxes = [each for each in lesions if len(each) and each.shape[1] == 4]
        self._boxes = np.concatenate([np.empty((0, 4)), *boxes])
        number = np.array([len(e) * (e.shape[1] == 4) for e in lesions], int)
        first = np.cumsum(number) - number  # lesion of each image
        count = number[image] if len(number) else np.zeros(len(image), int)
        self._place = np.repeat(np.arange(len(image)), count)
        within = np.arange(len(self._place)) - np.repeat(
            np.cumsum(count) - count, count
        )
        start = first[image] if len(number) else count
        self._lesion = np.repeat(start, count) + within

    def agreement(self, boxes: np.ndarray) -> float:
        """Mean over lesions, on images with a box, of the best overlap; 0 without."""
        best = self._best(boxes)
        seen = best >= 0
        return float(best[seen].mean()) if seen.any() else 0.0

    def number_within(self, boxes: np.ndarray, least: float) -> int:
        """How many lesions have a box with that overlap or more."""
        return int(np.sum(self._best(boxes) >= least))

    def scale_of(self, boxes: np.ndarray) -> np.ndarray | None:
        """f64[2], what x and y of most boxes must be multiplied by; None: by 1 or none.

        The ratios of a lesion's centre to a box's are all alike where the boxes are of
        a larger or a smaller image, and scattered for all other pairs.
        """
        centers = matching.center(boxes)[self._place], matching.center(self._boxes)
        with np.errstate(divide="ignore", invalid="ignore"):
            ratio = np.log2(centers[1][self._lesion] / centers[0])
        sound = np.isfinite(ratio).all(axis=1)
        if not sound.any():
            return None
        ratio = ratio[sound]
        bins = np.floor(ratio / _ONE_SCALE)
        _, member, count = np.unique(
            bins, axis=0, return_inverse=True, return_counts=True
        )
        most = np.median(ratio[member.ravel() == np.argmax(count)], axis=0)
        near = np.abs(ratio - most).max(axis=1) < 2 * _ONE_SCALE
        scale = 2.0 ** np.median(ratio[near], axis=0)
        return scale if np.abs(scale - 1).max() > _SAME_SCALE else None

    def _best(self, boxes: np.ndarray) -> np.ndarray:
        """f64[m], of each lesion the best overlap; -1 on an image without a box."""
        best = np.full(len(self._boxes), -1.0)
        low, high = boxes[:, :2], np.maximum(boxes[:, :2], boxes[:, 2:])
        boxes = np.concatenate([low, high], axis=1)  # without negative areas
        with np.errstate(invalid="ignore", divide="ignore"):  # of lesions without any
            shared = matching.overlap(boxes[self._place], self._boxes[self._lesion])
        shared = np.nan_to_num(shared)
        np.maximum.at(best, self._lesion, shared)
        return best

    def holding(self, points: np.ndarray) -> int:
        """How many lesions have a point in them."""
        point, box = points[self._place], self._boxes[self._lesion]
        inside = np.all((point >= box[:, :2]) & (point < box[:, 2:]), axis=1)
        return len(np.unique(self._lesion[inside]))


def _swapped_points(
    points: np.ndarray,
    image: np.ndarray,
    size: np.ndarray,
    lesions: Sequence[np.ndarray],
) -> tuple[str, int] | None:
    """Whether points lie in lesions only with y before x, or from another border."""
    beside = _Lesions(image, lesions)
    given = beside.holding(points)
    swap = "with y before x: write x and y in their columns"
    ways = [(points[:, ::-1], _LEAST_POINTS, swap)]
    if np.isfinite(size).all():
        ways += [
            (
                _turned(points, size, axis),
                _LEAST_MOVED,
                f"{words}; give all tables one origin",
            )
            for axis, words in _BORDERS
        ]
    for moved, enough, words in ways:
        hit = beside.holding(moved)
        if hit >= max(enough, _LEAST_MOVED * given):
            text = f"points lie in {given} lesions, but {hit} lesions would be hit "
            return text + words, 0
    return None
