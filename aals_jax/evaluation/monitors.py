"""Whether sharpening can work in a run: what its teacher's peaks and its targets say.

The boxes that P withholds are looked at here, after training and outside of any batch.
Only `oracle` learns from them, by its own extra of a view (`input/views.py`).
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from aals_jax.evaluation import model_maps
from aals_jax.evaluation.evaluator import Evaluator, TrainedModel
from aals_jax.input.dataset import Data, ImageTable
from aals_jax.method import monitors
from aals_jax.method.methods import METHODS
from aals_jax.metrics import peaks
from aals_jax.metrics.definitions import Entry
from aals_jax.metrics.peaks import Peaks
from aals_jax.metrics.readings import Truth
from aals_jax.report import verdicts
from aals_jax.types import SHOWN

MOST_OF_P = 1000  # images of P that are looked at, spread evenly over a larger P
P_NAME, VALIDATION = "image_level", "validation"  # of their cached predictions
_LIFTS: Mapping[str, tuple[str, Any]] = {  # metric of the step: definition, of the rows
    monitors.LARGEST: (
        "the most that a target of stage 2 exceeds the teacher's map, in probability; "
        "over all its images and updates",
        max,
    ),
    "pseudo/lift_mean": (
        "the most that an image's target exceeds the teacher's map, in probability; "
        "mean over the images and updates of stage 2",
        np.mean,
    ),
}


def moments(start: str) -> dict[str, str]:
    """The models whose peaks are looked at -> when each is the teacher.

    Args:
        start: the model that stage 2 starts from, a key of types.MODELS.
    """
    return {start: "at the start of stage 2", SHOWN: "at the end of stage 2"}


def measure(
    evaluator: Evaluator,
    models: Sequence[TrainedModel],
    *,
    start: str,
    method: str,
    center: float,
    history: Sequence[Mapping[str, Any]],
) -> dict[str, Any]:
    """The monitors of a run, as result.json holds them.

    Args:
        evaluator: of the run.
        models: of the run; those of `moments` are looked at.
        start: as in `moments`.
        method: a row of METHODS.
        center: t in (0, 1), as stage 2 had it.
        history: rows of metrics.jsonl.

    Returns:
        `peaks`, model -> name -> entry; `moments`, model -> when it was the teacher;
        `targets`, name -> entry, of all updates of stage 2; `histograms`, model -> a
        set of images -> counts of peaks between `bin_edges`; `center`, t.
    """
    data, looked_at = evaluator.data, moments(start)
    image_level = images_of_p(data)
    measured: dict[str, dict[str, Entry]] = {}
    histograms: dict[str, dict[str, list[int]]] = {}
    for model in models:
        if model.name not in looked_at:
            continue
        labelled, found = _look(evaluator, model, data.validation, VALIDATION)
        weak, found_weak = _look(evaluator, model, image_level, P_NAME)
        bootstrap = evaluator.bootstrap
        measured[model.name] = peaks.of_image_level(
            weak, found_weak, center=center, bootstrap=bootstrap
        ) | peaks.of_labelled(labelled, found, bootstrap=bootstrap)
        histograms[model.name] = {
            "P, training": peaks.histogram(found_weak.value),
            "positives, validation": peaks.histogram(found.value[labelled.label]),
            "negatives, validation": peaks.histogram(found.value[~labelled.label]),
        }
    return {
        "center": center,
        "moments": looked_at,
        "peaks": measured,
        "targets": targets(method, history),
        "histograms": histograms,
        "bin_edges": peaks.BIN_EDGES.tolist(),
    }


def images_of_p(data: Data) -> ImageTable:
    """The images of P that are looked at, cached under P_NAME."""
    return data.train.select(_some(data.streams.image_level))


def positive_peaks(evaluator: Evaluator, model: TrainedModel) -> np.ndarray:
    """f64[n], the peaks of a model's maps on the positives of validation, boxed or not.

    Its maps are those that `measure` reads: they are cached, and computed once.
    """
    table = evaluator.data.validation
    labelled, found = _look(evaluator, model, table, VALIDATION)
    return found.value[labelled.label]


def _look(
    evaluator: Evaluator, model: TrainedModel, table: ImageTable, name: str
) -> tuple[Truth, Peaks]:
    """The truth of a table, and the peaks of the model's maps of it."""
    truth = model_maps.truth_of(table)
    if not len(table):
        return truth, Peaks(np.empty(0), np.empty(0, bool))
    prediction = evaluator.predict_table(model, table, name)
    return truth, peaks.find_peaks(prediction.maps, truth, valid=prediction.valid)


def targets(method: str, history: Sequence[Mapping[str, Any]]) -> dict[str, Entry]:
    """How far the targets of stage 2 were above the teacher's map; or why not known.

    Args:
        method: a row of METHODS.
        history: rows of metrics.jsonl.
    """
    entries = {}
    for name, (definition, of_rows) in _LIFTS.items():
        values = [row[name] for row in history if name in row]
        entry: Entry = {"value": None, "low": None, "high": None}
        if values:
            entry["value"] = float(of_rows(values))
        else:
            entry["reason"] = _no_lift(method)
        entries[name.removeprefix("pseudo/")] = entry | {"definition": definition}
    return entries


def sentences(auroc: Entry, monitored: Mapping[str, Any], *, method: str) -> list[str]:
    """What must not be overlooked, for the top of the page; mostly nothing.

    Args:
        auroc: of the model that stage 2 starts from, on the test set.
        monitored: of `measure`.
        method: a row of METHODS.
    """
    said = [verdicts.stage_one(auroc)]
    row = METHODS[method]
    if row.guide is not None:
        seen = [monitored["peaks"][name] for name in monitored["moments"]]
        if row.guide == "first_stage":
            seen = seen[:1]
        is_withheld = any(e["peak_in_box_p"]["value"] is not None for e in seen)
        said.append(
            verdicts.head_room(
                auroc=auroc,
                in_box=[
                    e["peak_in_box_p" if is_withheld else "peak_in_box"] for e in seen
                ],
                images="images of P whose boxes are withheld"
                if is_withheld
                else "boxed positives of validation",
                dead_share=[e["dead_share_p"] for e in seen],
                lift=monitored["targets"]["lift_largest"],
                sharpens=row.sharpens,
            )
        )
    return [sentence for sentence in said if sentence]


def _some(rows: np.ndarray) -> np.ndarray:
    """At most MOST_OF_P of the rows, evenly spread."""
    if len(rows) <= MOST_OF_P:
        return rows
    return rows[np.linspace(0, len(rows) - 1, MOST_OF_P).round().astype(int)]


def _no_lift(method: str) -> str:
    if METHODS[method].guide is None:
        return f"does not apply: {method} has no teacher's map"
    return f"does not apply: the guide of {method} is no map of a teacher in the step"
