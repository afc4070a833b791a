"""What the hosts of a run compare before the first step, so that none trains apart."""

import secrets
import time
from pathlib import Path
from typing import Any

from aals_jax.runs import identity
from aals_jax.runtime import files, hosts, provenance

_TOKEN = ".hosts"  # a file that host 0 writes into the workdir
SEEN_S = 30.0  # for that file to appear on the other hosts
_VERSIONS = ("jax", "jaxlib", "flax", "optax", "numpy")


def agree_on_start(config: Any, workdir: Path) -> None:
    """Compares config, code, packages and workdir.

    Raises:
      Disagreement: on every host, where one of them differs; it says which and how.
    """
    if hosts.count() == 1:
        return
    versions = provenance.versions()
    hosts.agree(
        {
            "config": identity.digest(identity.of(config)),
            "code": provenance.code_digest(),
            "packages": ", ".join(f"{name} {versions[name]}" for name in _VERSIONS),
            "workdir": _seen_token(workdir),
        },
        {
            "config": "give every host the same --config and the same fields",
            "code": "install the same version of the project on every host",
            "packages": "install requirements.lock on every host",
            "workdir": "put --workdir on a file system that all hosts share",
        },
    )
    if hosts.is_primary():
        (workdir / _TOKEN).unlink()


def agree_on_data(data_hash: str) -> None:
    """Compares the data that the hosts opened.

    Raises:
      Disagreement: on every host, where they differ.
    """
    if hosts.count() > 1:
        hosts.agree(
            {"data": data_hash[:12]},
            {"data": "give every host the same dataset, at best by a shared data.dir"},
        )


def _seen_token(workdir: Path) -> str:
    """What this host finds in the file that host 0 wrote; "not shared" without it."""
    path = workdir / _TOKEN

    def write() -> str:
        workdir.mkdir(mode=0o700, parents=True, exist_ok=True)
        token = secrets.token_hex(6)
        files.write_text(path, token)
        return token

    token = hosts.from_primary(write)
    ends = time.monotonic() + SEEN_S
    while not (path.exists() and path.read_text() == token):
        if time.monotonic() > ends:
            return "another one"
        time.sleep(0.2)
    return "host 0's"
