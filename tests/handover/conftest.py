"""One small run, exported once for all tests of what becomes of a model."""

from pathlib import Path
from typing import NamedTuple

import jax
import pytest
from ml_collections import ConfigDict

from aals_jax.handover import export
from aals_jax.runs import run
from tests.support.small_runs import small_config


class Exported(NamedTuple):
    workdir: Path
    data_dir: Path
    model: Path  # the folder


@pytest.fixture(scope="session")
def exported(tmp_path_factory) -> Exported:
    root = tmp_path_factory.mktemp("handover")
    before = jax.config.jax_compilation_cache_dir
    jax.config.update("jax_compilation_cache_dir", str(root / ".xla"))
    found = Exported(root / "run", root / "data", root / "model")
    run.run(small_config(found.data_dir), found.workdir)
    hand_over(found, found.model)
    jax.config.update("jax_compilation_cache_dir", before)
    return found


def hand_over(of: Exported, out: Path, **options) -> Path:
    return export.export(
        of.workdir, out, load_config=ConfigDict, data_dir=of.data_dir, **options
    )
