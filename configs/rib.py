"""Rib fractures. `rib.py` is laptop scale on the phantom, `rib.py:paper`
the full recipe on a registry. Times and expected results: README, docs/laptop.md.

    python launch.py --config configs/rib.py
    python launch.py --config configs/rib.py:paper --config.registry=DIR
"""

from configs import base


def get_config(scale: str = "laptop"):
    return base.get_config("rib", scale or "laptop")
