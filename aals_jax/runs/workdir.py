"""A run's folder: which config, which data and which version it belongs to."""

import json
from pathlib import Path
from typing import Any

from aals_jax.runs import identity
from aals_jax.runtime import files, log


def check_claim(config: Any, workdir: Path) -> None:
    """Raises ValueError when the workdir belongs to another config or version."""
    record = claimed(workdir)
    if record is None:
        return
    differing = identity.differences(record["config"], identity.of(config))
    if record["version"] != identity.VERSION:
        differing.append(
            f"version of the run: {record['version']} there, {identity.VERSION} now"
        )
    if differing:
        raise ValueError(
            f"the workdir {workdir} belongs to another config; choose another "
            "--workdir or delete it:\n- " + "\n- ".join(differing)
        )


def is_done(result_path: Path) -> bool:
    """Whether a run's result is there, whole; a damaged one is measured again.

    Raises:
      ValueError: nothing says of which config it is.
    """
    if not result_path.exists():
        return False
    try:
        is_whole = "metrics" in json.loads(result_path.read_text())
    except (ValueError, TypeError):
        is_whole = False
    if not is_whole:
        log.warning("%s is damaged: it is measured again", result_path)
    elif claimed(result_path.parent) is None:
        raise ValueError(
            f"{result_path.parent} has a result and no config.json, that says of what: "
            "put it back, or choose another --workdir"
        )
    return is_whole


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
    """Ties a workdir to this config, these data and this version."""
    workdir.mkdir(mode=0o700, parents=True, exist_ok=True)  # its page shows images
    record = {
        "config": identity.of(config),
        "data_hash": data_hash,
        "version": identity.VERSION,
    }
    files.write_json(workdir / "config.json", record)


def claimed(workdir: Path) -> dict[str, Any] | None:
    """What a workdir is tied to: `config`, `data_hash`, `version`; None: it is free.

    Raises:
      ValueError: its config.json is damaged.
    """
    path = workdir / "config.json"
    if not path.exists():
        return None
    try:
        record = json.loads(path.read_text())
        return {
            "config": identity.completed(record["config"]),
            "data_hash": record["data_hash"],
            "version": record.get("version", 1),  # the first one wrote none
        }
    except (ValueError, KeyError, TypeError, AttributeError):
        raise ValueError(
            f"{path} is damaged: put back a copy, or choose another --workdir"
        ) from None
