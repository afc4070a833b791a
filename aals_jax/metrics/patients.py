"""Patient level: a patient is as positive as their most suspicious image.

A patient's score is the highest of their images', and a patient is positive when one of
their images is. Patients are independent, so closed forms hold here without a caveat.
"""

import dataclasses

import numpy as np

from aals_jax.metrics.readings import Truth


@dataclasses.dataclass(frozen=True)
class Patients:
    """One row a patient, in the order of their first image."""

    score: np.ndarray  # f64[g], the highest of the patient's images
    label: np.ndarray  # bool[g], any image is positive
    images: np.ndarray  # i64[g], how many the patient has

    def __len__(self) -> int:
        return len(self.label)


def of_images(truth: Truth, score: np.ndarray) -> Patients:
    """Puts the images of each patient together.

    Args:
        truth: of n images.
        score: f64[n], any monotone scale, no nan.
    """
    if not len(truth):
        none = np.empty(0)
        return Patients(none, none.astype(bool), none.astype(int))
    _, first, member = np.unique(truth.patient, return_index=True, return_inverse=True)
    highest = np.full(len(first), -np.inf)
    np.maximum.at(highest, member, score)
    positive = np.zeros(len(first), bool)
    np.logical_or.at(positive, member, truth.label)
    order = np.argsort(first)
    images = np.bincount(member)
    return Patients(highest[order], positive[order], images[order])
