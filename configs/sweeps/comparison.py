"""All methods on one footing: laptop scale, phantom, three seeds.

    python launch.py --mode=sweep --sweep configs/sweeps/comparison.py --workdir DIR

`comparison.py:rib` takes another finding. 33 runs; stage 1 is trained once a seed for
the methods that start from it. **Not run at this scale here**; docs/sweeps.md.
"""

from aals_jax.methods import METHODS
from configs import base
from configs.sweeps.grid import grid

SEEDS = range(3)


def get_sweep(finding: str = "clavicle"):
    config = base.get_config(finding or "clavicle")
    return grid(config, {"method": sorted(METHODS), "seed": SEEDS})
