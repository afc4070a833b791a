"""Which modules' examples are not collected, and why."""

import importlib.util

# Modules of an extra dependency, which import it at the top: where it is missing, so are
# their examples. Nothing else may be left out.
_EXTRAS = {"aals_jax/sweeps/ray_engine.py": ("ray", "optuna")}  # requirements/sweep.txt

collect_ignore = [
    path
    for path, packages in _EXTRAS.items()
    if any(importlib.util.find_spec(package) is None for package in packages)
]
