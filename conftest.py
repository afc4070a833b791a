"""Which modules' examples are not collected, and why."""

import importlib.util

# Modules that import an optional dependency at their top can't be collected where it is
# missing. Nothing else may be left out.
_EXTRAS = {"aals_jax/sweeps/ray_engine.py": ("ray", "optuna")}  # requirements/sweep.txt

collect_ignore = [
    path
    for path, packages in _EXTRAS.items()
    if any(importlib.util.find_spec(package) is None for package in packages)
]
