"""Every combination of some fields, as configs."""

import itertools
from collections.abc import Mapping, Sequence
from typing import Any

from ml_collections import ConfigDict


def grid(config: Any, fields: Mapping[str, Sequence[Any]]) -> list[Any]:
    """Copies of a config, one for each combination; the last field varies fastest.

        grid(base.get_config("rib"), {"method": ["aals", "supervised"],
                                      "data.fold": range(5), "seed": range(3)})

    Args:
      config: is copied, not changed.
      fields: dotted name -> values.

    Raises:
      ValueError: a field does not exist.
    """
    names = {*config.keys()} | {
        f"{section}.{name}"
        for section, inner in config.items()
        if isinstance(inner, ConfigDict)
        for name in inner
    }
    if unknown := sorted(fields.keys() - names):
        raise ValueError(f"no field {', '.join(unknown)} in the config")
    configs = []
    for values in itertools.product(*fields.values()):
        copy = config.copy_and_resolve_references()  # deep
        copy.update_from_flattened_dict(dict(zip(fields, values, strict=True)))
        configs.append(copy)
    return configs
