"""Clavicle fractures. `clavicle.py` is laptop scale on the phantom, `clavicle.py:paper`
the full recipe on a registry. Times and expected results: README, docs/laptop.md.

    python launch.py --config configs/clavicle.py
    python launch.py --config configs/clavicle.py:paper --config.registry=DIR
"""

from configs import base


def get_config(scale: str = "laptop"):
    return base.get_config("clavicle", scale or "laptop")
