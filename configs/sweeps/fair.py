"""Every method tuned by the same number of trials, on validation alone: laptop scale.

    python launch.py --mode=sweep --sweep configs/sweeps/fair.py --workdir DIR
    python launch.py --mode=study --sweep configs/sweeps/fair.py --workdir DIR \\
        --results DIR/kept --out DIR/fair.md

The second command writes DIR/fair/tuning.md: each point, and the best of each method.
`fair.py:rib` takes another finding, `fair.py:clavicle,easy` another phantom, and
`fair.py:rib,easy,short` fewer updates; both commands take these words. Methods that
start from the same stage 1 share it. What was run: docs/methods.md.
"""

from collections.abc import Iterator
from typing import Any

from aals_jax.method.methods import METHODS
from configs import base
from configs.sweeps import study
from configs.sweeps.grid import grid

TRIALS = 8  # points for every method: as many for those without a second term
RATES = 3e-4, 1e-2  # of stage 2; a method without a teacher has it in stage 1 too
WEIGHTS = 0.1, 10.0  # lambda, in units of 30 where the loss is a squared error
# "short": about a minute a trial on one core once stage 1 is there
SHORT = {
    "pretrain.steps": 1_000,
    "distill.steps": 300,
    "distill.eval_every": 100,
    "distill.warmup_steps": 50,
}
# a phantom, a seed and a test set that no comparison uses; R of 100
APART = study.TUNING | study.THEN


def points() -> Iterator[tuple[float, float]]:
    """Pairs of rate and weight: the same for every method, evenly spread in logs.

    The points of Halton's sequence in bases 2 and 3: however many are taken, no rate
    and no weight is tried twice, so that a method without a weight has as many rates.
    """
    for number in range(1, TRIALS + 1):
        shares = _mirrored(number, 2), _mirrored(number, 3)
        ranges = zip((RATES, WEIGHTS), shares, strict=True)
        rate, weight = (low * (high / low) ** share for (low, high), share in ranges)
        yield float(f"{rate:.2g}"), float(f"{weight:.2g}")


def _mirrored(number: int, base_: int) -> float:
    """The digits of a number behind the point, in reverse: 6 = 110 -> 0.011."""
    share, place = 0.0, 1.0
    while number:
        number, digit = divmod(number, base_)
        place /= base_
        share += digit * place
    return share


def arms(finding: str, difficulty: str = "", length: str = "") -> dict[str, Any]:
    """What is compared, by name: each method, and the controls.

    `supervised` is the control that stops early: as everywhere, the checkpoint with the
    best validation AUROC is taken. `regularised` also has dropout and stronger
    augmentation. `control` is AALS without sharpening.
    """
    lengths: dict[str, dict[str, Any]] = {"": {}, "short": SHORT}
    if length not in lengths:
        raise ValueError(f"{length}: the third word is short, or is left out")
    changes: dict[str, dict[str, Any]] = {
        **{name: {"method": name} for name in METHODS},
        "control": study.CONTROL,
        "regularised": {"method": "supervised", **base.REGULARISED},
    }
    made = {}
    for name, fields in changes.items():
        config = base.get_config(finding)
        if difficulty:
            config.phantom.difficulty = difficulty
        config.update_from_flattened_dict(APART | lengths[length] | fields)
        made[name] = config
    return made


def get_sweep(choice: str = "") -> list[Any]:
    """Every arm at every point; all arms at one point come before the next, so that an
    unfinished tuning still has as many trials for each.

    Args:
      choice: finding, difficulty and "short", by commas; may end after any of them.
    """
    finding, *words = (choice or "clavicle").split(",")
    if len(words) > 2:
        raise ValueError(f"{choice}: use FINDING, FINDING,DIFFICULTY or both and short")
    configs = []
    for rate, weight in points():
        for config in arms(finding, *words).values():
            row = METHODS[config.method]
            fields = {"distill.learning_rate": [rate]}
            if row.from_start:
                fields["pretrain.learning_rate"] = [rate]
            if row.weak is not None:
                scale = study.SQUARED if study.is_squared(row) else 1.0
                fields["distill.weight"] = [weight * scale]
            configs += grid(config, fields)
    return configs


PARTS = {"tuning": get_sweep}
