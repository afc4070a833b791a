"""All methods, and AALS without sharpening, compared: laptop scale, phantom, 3 seeds.

    python launch.py --mode=sweep --sweep configs/sweeps/comparison.py --workdir DIR

`comparison.py:rib` takes another finding. Methods that start from the same stage 1
share it, so it is trained once for each seed. Learning rates and weights are those that
the study tuned, at its own scale; rows that came after it have the usual ones, so read
their places with care until `fair.py` has been run. **Not run at this scale here**;
docs/sweeps.md.
"""

from typing import Any

from aals_jax.method.methods import METHODS
from configs import base
from configs.sweeps import study
from configs.sweeps.grid import grid

SEEDS = range(3)


def get_sweep(finding: str = "clavicle") -> list[Any]:
    names = [*METHODS, "control"]
    configs = [study.tuned(base.get_config(finding), name) for name in names]
    return [trial for config in configs for trial in grid(config, {"seed": SEEDS})]
