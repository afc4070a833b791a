"""Four CPU devices for all tests, JAX at its strictest, examples without a clock."""

import os

os.environ.setdefault("JAX_PLATFORMS", "cpu")

import hypothesis
import jax
import pytest

# how long an example takes is the machine's matter, not the code's
hypothesis.settings.register_profile("patient", deadline=None)
hypothesis.settings.load_profile("patient")

jax.config.update("jax_num_cpu_devices", 4)
jax.config.update("jax_numpy_rank_promotion", "raise")
jax.config.update("jax_debug_key_reuse", True)


@pytest.fixture(scope="module")
def compiled_once(tmp_path_factory):
    """A folder in which the runs of a module, and those that launch.py starts there,
    share what they compile."""
    folder = tmp_path_factory.mktemp("runs")
    before = jax.config.jax_compilation_cache_dir
    jax.config.update("jax_compilation_cache_dir", str(folder / "runs/.xla"))
    yield folder
    jax.config.update("jax_compilation_cache_dir", before)
