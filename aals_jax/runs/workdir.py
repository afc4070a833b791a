"""A run's folder: which config and which data it belongs to."""

import json
from pathlib import Path
from typing import Any

from aals_jax.runs import identity
from aals_jax.runtime import files


def check_claim(config: Any, workdir: Path) -> None:
    """Raises ValueError when the workdir belongs to another config."""
    record = claimed(workdir)
    if record is None:
        return
    differing = identity.differences(record["config"], identity.of(config))
    if differing:
        raise ValueError(
            f"the workdir {workdir} belongs to another config; choose another "
            "--workdir or delete it:\n- " + "\n- ".join(differing)
        )


def check_data(data_hash: str, workdir: Path) -> None:
    """Raises ValueError when the workdir was begun on other data."""
    record = claimed(workdir)
    if record is not None and record["data_hash"] != data_hash:
        raise ValueError(
            f"the workdir {workdir} belongs to other data (data_hash "
            f"{record['data_hash'][:12]} there, {data_hash[:12]} now); choose "
            "another --workdir or delete it"
        )


def claim(config: Any, data_hash: str, workdir: Path) -> None:
    """Ties a workdir to this config and these data."""
    workdir.mkdir(mode=0o700, parents=True, exist_ok=True)  # its page shows images
    record = {"config": identity.of(config), "data_hash": data_hash}
    files.write_json(workdir / "config.json", record)


def claimed(workdir: Path) -> dict[str, Any] | None:
    """The config and data_hash that a workdir is tied to; None: it is free."""
    path = workdir / "config.json"
    if not path.exists():
        return None
    try:
        record = json.loads(path.read_text())
        return {name: record[name] for name in ("config", "data_hash")}
    except (ValueError, KeyError, TypeError):
        raise ValueError(
            f"{path} is damaged: restore it, or choose another --workdir"
        ) from None
