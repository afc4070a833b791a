"""Second hits on a lesion as false positives, as some fields count them.

By default a second hit counts neither for nor against (`matching`). LUNA16 has it so,
too; COCO, PASCAL VOC and most detection challenges call it false.
"""

import dataclasses
from collections.abc import Sequence

import numpy as np

from aals_jax.metrics.matching import FALSE_POSITIVE, Match

COUNTED = ("ignored", "false")  # how a second hit counts


def as_false(match: Match, detections: Sequence[np.ndarray]) -> Match:
    """The same match with every second hit among the false positives.

    Args:
        match: of `matching.match_images`.
        detections: the n arrays that it was made of, f[k, 3] or f[k, 5], score last.

    Returns:
        Match; lesions keep their scores, and each detection is now a hit or false.
    """
    rows = [np.asarray(each, np.float64) for each in detections]
    score = np.concatenate([np.empty(0), *(r[:, -1] for r in rows if r.size)])
    image = np.repeat(np.arange(len(rows)), [len(r) if r.size else 0 for r in rows])
    false = match.lesion_of < 0
    return dataclasses.replace(
        match,
        false_score=score[false],
        false_image=image[false],
        lesion_of=np.where(false, FALSE_POSITIVE, match.lesion_of),
    )
