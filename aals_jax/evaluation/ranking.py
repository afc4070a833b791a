"""Which films of a run a box would teach most: its films, and their order.

Films of training alone: boxes that a worklist chose for validation or test would bend
what is measured there.
"""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
from flax import linen as nn

from aals_jax.evaluation import looks
from aals_jax.evaluation.evaluator import Evaluator, TrainedModel
from aals_jax.evaluation.looks import Look
from aals_jax.input import views
from aals_jax.input.dataset import Data, ImageTable
from aals_jax.metrics import worklist
from aals_jax.runtime import log

RECORDS = {1: "positive", 0: "negative", -1: "unknown"}
TITLES = {  # a key of types.MODELS -> what a reason calls it
    "pretrained": "stage 1",
    "pretrained_average": "the average of stage 1",
    "student": "the student",
    "teacher": "the teacher",
}


class Ranked(NamedTuple):
    """The films of a worklist, the first one first."""

    table: ImageTable  # of them alone
    strength: Mapping[str, np.ndarray]  # reason -> f64[m]
    value: np.ndarray  # f64[m]
    seen: looks.Looks  # of them
    record: np.ndarray  # i[m], 1, 0, -1


def candidates(
    data: Data, *, negatives: int, seed: int
) -> tuple[ImageTable, np.ndarray]:
    """Training films that may be asked about, and what their record says, i8[n].

    Those of P and of unknown label that have no box yet, and at most so many of N.

    Args:
        data: of the run.
        negatives: films of N that are looked at; of more, so many drawn by the seed.
        seed: of that choice.

    Raises:
        ValueError: no film of P is without a box.
    """
    train, streams = data.train, data.streams
    unboxed = streams.image_level[~train.boxed[streams.image_level]]
    if not len(unboxed):
        withheld = f"; {data.withheld} of P have one that data.region_images withholds"
        raise ValueError(
            "no film of P is without a box, so there is none to box"
            + (f"{withheld}: raise it" if data.withheld else ": train on more films")
        )
    of_n = streams.negative
    if len(of_n) > negatives:
        rng = np.random.default_rng([seed, 2])
        of_n = np.sort(rng.permutation(of_n)[:negatives])
    whole = data.dataset.table
    trained = np.isin(whole.split, np.unique(train.split))
    unknown = whole.select(np.flatnonzero(trained & (whole.label < 0)))
    known = train.select(np.concatenate([unboxed, of_n]))
    log.info(
        "%d films of P without a box, %d of unknown label, %d of %d of N",
        len(unboxed), len(unknown), len(of_n), len(streams.negative),
    )  # fmt: skip
    record = np.repeat([1, 0, -1], [len(unboxed), len(of_n), len(unknown)])
    return _joined(known, unknown), record.astype(np.int8)


def _joined(*tables: ImageTable) -> ImageTable:
    return ImageTable(
        **{
            field.name: np.concatenate([getattr(each, field.name) for each in tables])
            for field in dataclasses.fields(ImageTable)
        }
    )


def rank(
    evaluator: Evaluator,
    model: TrainedModel,
    net: nn.Module,
    others: Sequence[Look],
    table: ImageTable,
    record: np.ndarray,
    *,
    center: float,
    count: int,
) -> Ranked:
    """The films of a table in the order in which boxes of them would teach most.

    Args:
        evaluator: of the run.
        model: whose peaks are meant.
        net: that its weights are of.
        others: that it is compared with.
        table: the films.
        record: i[n], what their records say.
        center: t in (0, 1).
        count: films wanted.

    Raises:
        ValueError: validation has no positives or no negatives.
    """
    dataset = evaluator.data.dataset
    batch_size = evaluator.predictor.batch_size
    settings = evaluator.detecting
    seen = looks.look(
        Look(TITLES[model.name], evaluator.predictor, model.variables),
        others,
        dataset,
        table,
        batch_size=batch_size,
        reach=max(1, round(settings.min_distance * dataset.side / views.MAP_STRIDE)),
    )
    validation = evaluator.predict(model, "validation").maps.max(axis=(1, 2))
    label = evaluator.table("validation").label
    strength = worklist.strengths(
        record,
        seen.peak,
        seen.disagreement,
        center=center,
        positives=validation[label == 1],
        negatives=validation[label == 0],
    )
    value = worklist.value(strength)
    pool = np.flatnonzero(value > 0)
    found = looks.features(
        net,
        model.variables,
        dataset,
        table.select(pool),
        batch_size=batch_size,
    )
    order = pool[
        worklist.order(
            value[pool],
            found,
            table.patient[pool],
            table.image_id[pool],
            count=count,
        )
    ]
    return Ranked(
        table=table.select(order),
        strength={name: each[order] for name, each in strength.items()},
        value=value[order],
        seen=looks.Looks(
            seen.peak[order],
            seen.disagreement[order],
            [seen.other[i] for i in order],
        ),
        record=record[order],
    )


def sentences(ranked: Ranked, film: int, *, center: float) -> list[str]:
    """The reasons of a film in words, the one that counts most first."""
    peak, seen = f"{ranked.seen.peak[film]:.2f}", ranked.seen
    words = {
        worklist.DEAD_ZONE: f"positive by the record, and the peak of {peak} is below "
        f"t = {center:g}, where sharpening leaves a map as it is",
        worklist.DISAGREEMENT: f"{seen.other[film] or 'another look'} sees something "
        f"else: the maps differ by {seen.disagreement[film]:.2f}",
        worklist.NOTHING_FOUND: "positive by the record, and nothing is found: half of "
        "validation's negatives have as high a peak, and few positives as low a one",
        worklist.SOMETHING_FOUND: f"{_RECORD[int(ranked.record[film])]}, and something "
        f"is found: few of validation's negatives have a peak of {peak}, and half of "
        "its positives no higher one",
        worklist.NO_BOX: "positive by the record, and nobody has drawn where",
    }
    return [words[name] for name in worklist.reasons(ranked.strength, film)]


_RECORD = {
    1: "positive by the record",
    0: "negative by the record",
    -1: "the record does not say",
}
