"""Strength a0 and centre t of sharpening: laptop scale, phantom, two seeds.

    python launch.py --mode=sweep --sweep configs/sweeps/sharpening.py --workdir DIR

30 runs, which share two stages 1, one for each seed. **Not run at this scale here**;
docs/sweeps.md.
"""

from configs import base
from configs.sweeps.grid import grid

FIELDS = {
    "distill.max_strength": [1.0, 2.0, 4.0, 8.0, 16.0],  # a0; 1: no sharpening
    "distill.center": [0.2, 0.4, 0.5],  # t
    "seed": range(2),
}


def get_sweep(finding: str = "clavicle"):
    return grid(base.get_config(finding or "clavicle"), FIELDS)
