"""Twelve runs of seconds, to see a sweep work; their numbers mean nothing.

    python launch.py --mode=sweep --sweep configs/sweeps/tiny.py --workdir DIR

`tiny.py:4` runs the first four.
"""

from configs import base
from configs.sweeps.grid import grid

FIELDS = {"method": ["aals", "supervised", "mean_teacher"], "seed": range(4)}


def tiny():
    """A run of seconds on an easy phantom."""
    config = base.get_config("clavicle")
    config.log_every = 3
    config.data.update(side=64, threads=1, region_images=6)
    config.phantom.update(images=64, height=128, difficulty="easy")
    config.phantom.boxed_share = 0.8  # some of P without boxes, as in a registry
    config.model.update(width=8, fpn_channels=8)
    config.batch.update(region=4, negative=4, image_level=4)
    for stage in (config.pretrain, config.distill):
        stage.update(steps=12, warmup_steps=2, eval_every=3)
    config.evaluation.update(batch_size=8, replicates=50)
    return config


def get_sweep(count: str = ""):
    return grid(tiny(), FIELDS)[: int(count or 12)]
