"""t of stage 2 where `distill.dead_share` takes it from validation's peaks. Ours.

Between the stages host 0 looks at the maps of the network that stage 2 starts from, and
decides; the others hear. What it found is kept in the workdir, so that a run that goes
on has the same t in every bit, also on other devices, whose maps differ by rounding.
"""

import dataclasses
import json
from pathlib import Path
from typing import Any

import numpy as np

from aals_jax.evaluation import monitors
from aals_jax.evaluation.evaluator import Evaluator, TrainedModel
from aals_jax.input.dataset import Data
from aals_jax.metrics import peaks
from aals_jax.runtime import digest, files, hosts, log

FILE = "center.json"  # in the workdir
# positives of validation, at least. From 20, and for a share of 0.2, the share of
# further images that are dead is 0.19 on average, with a standard deviation of 0.08
LEAST = 20


@dataclasses.dataclass(frozen=True)
class Center:
    """What was found."""

    value: float  # t in (0, 1)
    lower: int  # positives of validation whose peak is below t
    positives: int  # all of them


def check_positives(config: Any, data: Data) -> None:
    """Raises ValueError where validation has too few positives for `decide`.

    Known positives count, whether they have a box or not.
    """
    share, found = config.distill.dead_share, int(np.sum(data.validation.label == 1))
    if not share or found >= (least := max(LEAST, peaks.least_peaks(share))):
        return
    raise ValueError(
        f"distill.dead_share={share:g} takes t from the peaks on validation's "
        f"positives, which needs at least {least} of them, and validation has {found} "
        f"for {config.finding!r}: use distill.dead_share=0, where t is "
        f"distill.center={config.distill.center:g}, or data with more of them"
    )


def decide(
    config: Any, evaluator: Evaluator, start: TrainedModel, workdir: Path
) -> Center | None:
    """t of stage 2, the same on every host; None: it is `distill.center`.

    Args:
        config: of the run.
        evaluator: of the run; validation's maps go into its cache.
        start: the model that stage 2 starts from.
        workdir: of the run, where `FILE` is read, or written.

    Raises:
        ValueError: the peaks are 0, so that there is no t.
    """
    if not config.distill.dead_share:
        return None
    made_of = {
        "dead_share": config.distill.dead_share,
        "most": config.distill.center,
        "model": start.name,
        "step": start.step,
        "weights": digest.of_tree(start.variables),
    }
    path = workdir / FILE
    kept = hosts.from_primary(lambda: _kept(path, made_of))
    if kept is None:
        evaluator.predict_together(
            start, evaluator.data.validation, monitors.VALIDATION
        )
        kept = hosts.from_primary(lambda: _found(evaluator, start, path, made_of))
    center = Center(**kept)
    log.info("%s", sentence(config, center))
    return center


def _kept(path: Path, made_of: dict[str, Any]) -> dict[str, Any] | None:
    """The fields of Center, as they were found; None: from these weights, not yet."""
    try:
        record = json.loads(path.read_text())
        if record["made_of"] != made_of:
            return None
        return dataclasses.asdict(Center(**record["center"]))
    except (FileNotFoundError, ValueError, KeyError, TypeError):
        return None  # damaged: it is found again


def _found(
    evaluator: Evaluator, start: TrainedModel, path: Path, made_of: dict[str, Any]
) -> dict[str, Any]:
    """The fields of Center, which are kept."""
    values = monitors.positive_peaks(evaluator, start)
    share, most = made_of["dead_share"], made_of["most"]
    t = peaks.lowered_center(values, share=share, most=most)
    if not t > 0:
        raise ValueError(
            f"distill.dead_share={share:g}: {start.name}'s maps are 0 everywhere on "
            f"{np.sum(values == 0)} of validation's {len(values)} positives, so that "
            "their peaks say nothing of t: use distill.dead_share=0 in another "
            "--workdir, or look at stage 1"
        )
    center = Center(t, int(np.sum(values < t)), len(values))
    kept = dataclasses.asdict(center)
    files.write_json(path, {"made_of": made_of, "center": kept})
    return kept


def sentence(config: Any, center: Center) -> str:
    """What log and page say of it."""
    given, share = config.distill.center, config.distill.dead_share
    how = (
        f"from validation's peaks, in place of {given:g}"
        if center.value < given
        else "as distill.center says: validation's peaks don't ask for a lower one"
    )
    return (
        f"t = {center.value:.3g}, {how} (distill.dead_share={share:g}: {center.lower} "
        f"of validation's {center.positives} positives have a lower peak)."
    )
