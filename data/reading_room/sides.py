"""On which side of the patient a box lies, by the film alone.

A claim about halves of the film and no more: no bone is recognised, and a patient who
is turned or not in the middle is not noticed. The header's Patient Orientation says
which half is which, also of a film that was stored turned or mirrored; where it does
not, no side is named.
"""

from collections.abc import Sequence

import numpy as np

LEFT, RIGHT, MIDLINE = "left", "right", "midline"
MARGIN = 0.05  # share of the film's width, on either side of its middle
SAID = (
    "side of the patient: the half of the film, by Patient Orientation, in which the "
    "middle of the box lies; midline: within 5 % of the film's width of its middle; "
    "null: the header does not say which half is which, or the film is a lateral one"
)


def of_boxes(
    boxes: np.ndarray, film: np.ndarray, *, known: bool
) -> Sequence[str | None]:
    """The side of each box: LEFT, RIGHT or MIDLINE of the patient; None: not known.

    Args:
        boxes: f[k, 4], (x0, y0, x1, y1) of an upright image: x to the patient's left.
        film: f[4], likewise, the part of the image that is film.
        known: whether the header says where the patient's left is.

    >>> of_boxes(np.array([[0, 0, 20, 9]]), np.array([0, 0, 100, 99]), known=True)
    ['right']
    """
    if not known:
        return [None] * len(boxes)
    width = film[2] - film[0]
    middle = (boxes[:, 0] + boxes[:, 2]) / 2
    away = (middle - (film[0] + film[2]) / 2) / width
    names = np.select([away > MARGIN, away < -MARGIN], [LEFT, RIGHT], MIDLINE)
    return names.tolist()
