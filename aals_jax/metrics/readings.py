"""The truth about a set of images, and what one system says of them.

Every metric is computed from these two records, whether the system is a model of ours,
seen through its maps, or anybody's, seen through a table of detections.
"""

import dataclasses
import functools
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from aals_jax.metrics import froc, matching, repeats


@dataclasses.dataclass(frozen=True)
class Truth:
    """Labels, lesions and patients of n images."""

    label: np.ndarray  # bool[n], the record's
    judged: np.ndarray  # bool[n], all lesions are marked (none, too): the FROC set
    patient: np.ndarray  # str[n]
    lesions: Sequence[np.ndarray]  # n of f[k, 4] boxes or f[k, 2] points
    groups: Mapping[str, np.ndarray]  # column -> str[n], "" where unknown
    unit: tuple[float, str] = (1.0, "px")  # size and name of a unit of coordinates
    marked: bool = True  # False: nobody marked lesions, there are image labels alone

    def __len__(self) -> int:
        return len(self.label)

    @property
    def judged_rows(self) -> np.ndarray:
        """i64[m], the images that lesion-level metrics are about."""
        return np.flatnonzero(self.judged)

    @functools.cached_property
    def num_lesions(self) -> np.ndarray:
        """i64[n], of each image."""
        return np.array(list(map(len, self.lesions)), np.int64)

    def select(self, rows: np.ndarray) -> "Truth":
        return Truth(
            label=self.label[rows],
            judged=self.judged[rows],
            patient=self.patient[rows],
            lesions=[self.lesions[i] for i in rows],
            groups={name: values[rows] for name, values in self.groups.items()},
            unit=self.unit,
            marked=self.marked,
        )


@dataclasses.dataclass(frozen=True)
class Hit:
    """When a detection hits a lesion, see `matching.match`."""

    rule: str = "center_in_box"
    iou_threshold: float = matching.IOU_THRESHOLD
    max_distance: float = 0.0  # for the rule "distance", in the unit of the coordinates
    repeats: str = "ignored"  # one of repeats.COUNTED: how a second hit counts

    @property
    def matching(self) -> dict[str, Any]:
        """The arguments of `matching.match_images`."""
        names = ("rule", "iou_threshold", "max_distance")
        return {name: getattr(self, name) for name in names}

    def described(self) -> dict[str, str | float]:
        """The rule and the one number that it has, if any; repeats if they count."""
        numbers = {"iou": ("iou_threshold",), "distance": ("max_distance",)}
        fields = ("rule", *numbers.get(self.rule, ()))
        described = {name: getattr(self, name) for name in fields}
        if self.repeats != "ignored":
            described["repeats"] = self.repeats
        return described


@dataclasses.dataclass(frozen=True)
class Reading:
    """What one system says of the n images of a Truth."""

    score: np.ndarray  # f64[n], of each image
    detections: Sequence[np.ndarray]  # n of f[k, 3] points or f[k, 5] boxes
    match: matching.Match  # on the judged images, numbered in their order
    count: froc.FrocData  # on the judged images, from the match
    area: froc.FrocData | None  # on the judged images, from maps; None without maps
    marked: bool = True  # of its truth; False: image-level metrics alone

    def select(self, truth: Truth, rows: np.ndarray, *, hit: Hit) -> "Reading":
        """The reading of some images alone; `truth` is that of all.

        Area data are not kept: they need the maps.
        """
        detections = [self.detections[i] for i in rows]
        return read(truth.select(rows), self.score[rows], detections, hit=hit)


def read(
    truth: Truth,
    score: np.ndarray,
    detections: Sequence[np.ndarray],
    *,
    hit: Hit,
    area: froc.FrocData | None = None,
) -> Reading:
    """Matches detections with lesions once, for all metrics.

    Args:
        truth: of n images.
        score: f[n], any monotone scale, no nan.
        detections: n arrays as in `matching.match_images`.
        hit: when a detection hits.
        area: `froc.area_data` of the judged images, where there are maps.
    """
    rows = truth.judged_rows
    match = matching.match_images(
        [detections[i] for i in rows],
        [truth.lesions[i] for i in rows],
        **hit.matching,
    )
    if hit.repeats == "false":
        match = repeats.as_false(match, [detections[i] for i in rows])
    count = froc.matched_data(match, len(rows))
    score = np.asarray(score, np.float64)
    return Reading(score, list(detections), match, count, area, truth.marked)
