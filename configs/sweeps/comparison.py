"""All methods and a0 = 1 on one footing: laptop scale, phantom, three seeds.

    python launch.py --mode=sweep --sweep configs/sweeps/comparison.py --workdir DIR

`comparison.py:rib` takes another finding. 36 runs; stage 1 is trained once a seed for
the methods that start from it. Learning rates and weights are those that the study
tuned, at its scale. **Not run at this scale here**; docs/sweeps.md.
"""

from typing import Any

from aals_jax.method.methods import METHODS
from configs import base
from configs.sweeps import study
from configs.sweeps.grid import grid

SEEDS = range(3)


def get_sweep(finding: str = "clavicle") -> list[Any]:
    names = [*METHODS, "control"]
    made = [study.tuned(base.get_config(finding), name) for name in names]
    return [trial for config in made for trial in grid(config, {"seed": SEEDS})]
