"""Every row of METHODS once, where fractures are plain: does each of them learn?

    python launch.py --mode=sweep --sweep configs/sweeps/rows.py --workdir DIR

The phantom at "easy", one seed, R of 100, the laptop's values for all rows: no
comparison of methods. `rows.py:rib` takes another finding. Results: docs/methods.md.
"""

from typing import Any

from aals_jax.method.methods import METHODS
from configs import base
from configs.sweeps import study
from configs.sweeps.grid import grid

# Short: whether a row learns at all shows early.
CHANGES = {
    **study.THEN,
    "phantom.difficulty": "easy",
    "pretrain.steps": 1_000,
    "distill.steps": 100,
    "distill.eval_every": 50,
    "distill.warmup_steps": 50,
}


def get_sweep(finding: str = "clavicle") -> list[Any]:
    config = base.get_config(finding)
    config.update_from_flattened_dict(CHANGES)
    return grid(config, {"method": [*METHODS]})
