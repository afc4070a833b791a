"""Alternative free-response figures of merit: lesions against the worst false mark.

Each lesion is compared with the highest false detection of each image without lesions,
as AUROC compares positives with negatives:

    theta = sum_k sum_i sum_l W_il psi(f_k, s_il) / (K sum_il W_il),

psi = 1 where the lesion's score is higher, 1/2 where both are equal, else 0. A lesion
that is not hit and an image without a false detection have the score -inf, so a missed
lesion on one side and a silent image on the other count half. There is no rate at which
the curve must be cut, and false marks on images with lesions do not count.

`wafroc` gives each image with lesions the same weight (W = 1 / its lesions); `jafroc`
gives each lesion the same (W = 1), so that one image with many lesions counts for many.

Reference: Chakraborty and Zhai 2016, doi:10.1118/1.4950885; Chakraborty and Berbaum
2004, doi:10.1118/1.1769352.
"""

import dataclasses
from collections.abc import Sequence

import numpy as np

from aals_jax.metrics import roc
from aals_jax.metrics.matching import Match

NAMES = ("wafroc", "jafroc")


@dataclasses.dataclass(frozen=True)
class AfrocData:
    """Lesions, and images without any, as one list of k scores with labels."""

    score: np.ndarray  # f64[k], -inf where there is no mark
    label: np.ndarray  # bool[k], a lesion
    image: np.ndarray  # i64[k]
    weight: np.ndarray  # f64[k], of the lesion within its image; 1 of an image
    num_images: int


def afroc_data(match: Match, num_images: int, *, name: str = "wafroc") -> AfrocData:
    """What the figure of merit needs.

    Args:
        match: of the judged images, see `matching.match_images`.
        num_images: how many they are.
        name: one of NAMES.
    """
    if name not in NAMES:
        raise ValueError(f"name={name!r}; use one of {NAMES}")
    lesions = np.bincount(match.lesion_image, minlength=num_images)
    highest = np.full(num_images, -np.inf)
    np.maximum.at(highest, match.false_image, match.false_score)
    without = np.flatnonzero(lesions == 0)
    weight = np.ones(len(match.lesion_score))
    if name == "wafroc":
        weight = 1.0 / lesions[match.lesion_image]
    return AfrocData(
        score=np.concatenate([match.lesion_score, highest[without]]),
        label=np.repeat([True, False], [len(match.lesion_score), len(without)]),
        image=np.concatenate([match.lesion_image, without]),
        weight=np.concatenate([weight, np.ones(len(without))]),
        num_images=num_images,
    )


def figure_of_merit(
    data: AfrocData, *, weights: np.ndarray | None = None
) -> np.ndarray:
    """theta of the set, or of replicates.

    Args:
        data: of n images.
        weights: f64[..., n], how often an image counts, >= 0; None: 1 each.

    Returns:
        f64[...], 0 .. 1; nan where no lesion or no image without one has weight.
    """
    return figures_of_merit([data], weights=weights)[..., 0]


def figures_of_merit(
    several: Sequence[AfrocData], *, weights: np.ndarray | None = None
) -> np.ndarray:
    """`figure_of_merit` of each of some collections of one match, in one search.

    Args:
        several: s of them, which differ in the weights of the lesions alone.
        weights: as in `figure_of_merit`.

    Returns:
        f64[..., s].
    """
    first = several[0]
    pairs = roc.Pairs(first.score, first.label)
    lesion, without = (first.image[p] for p in (pairs.positives, pairs.negatives))
    shares = [data.weight[pairs.positives] for data in several]

    def merits(rows: np.ndarray) -> np.ndarray:
        twice, total = pairs.twice_won(np.take(rows, without, axis=1))
        often, found = np.take(rows, lesion, axis=1), []
        for share in shares:
            own = often * share
            won = np.einsum("rp,rp->r", own, twice) / 2.0
            found.append(roc.ratio(won, own.sum(axis=1) * total))
        return np.stack(found, axis=-1)

    return roc.by_block(merits, weights, first.num_images)


def undefined_reason(data: AfrocData) -> str:
    """Why it is nan; empty when it has a value."""
    if not data.label.any():
        return f"no lesion in {data.num_images} images"
    return "" if not data.label.all() else "no image without lesions"
