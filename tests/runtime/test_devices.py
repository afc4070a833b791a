"""Laws of how JAX is set up: whose cache it is, and what is compiled in a hurry."""

import os
import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from aals_jax.runtime import devices


@pytest.fixture
def cache():
    """Reads where compiled programs are kept; the tests' own place comes back."""
    before = jax.config.jax_compilation_cache_dir
    yield lambda: jax.config.jax_compilation_cache_dir
    jax.config.update("jax_compilation_cache_dir", before)


def test_compiled_programs_are_kept_below_runs(cache, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("JAX_COMPILATION_CACHE_DIR", raising=False)
    devices.start()
    assert cache() == str(tmp_path / "runs" / ".xla")


@pytest.mark.parametrize("place", ["/users/own", ""])
def test_the_user_s_own_cache_wins(cache, monkeypatch, place):
    monkeypatch.setenv("JAX_COMPILATION_CACHE_DIR", place)
    jax.config.update("jax_compilation_cache_dir", place)  # as JAX does at its import
    devices.start()
    assert cache() == place


def test_whole_tracebacks_are_for_those_who_ask():
    before = jax.config.jax_traceback_filtering
    try:
        devices.start()
        assert jax.config.jax_traceback_filtering == before
        devices.start(whole_tracebacks=True)
        assert jax.config.jax_traceback_filtering == "off"
    finally:
        jax.config.update("jax_traceback_filtering", before)


def test_a_function_for_one_call_gives_what_jit_gives_but_for_the_last_bits():
    def draw(seed):
        weights = jax.random.truncated_normal(jax.random.key(seed), -2.0, 2.0, (64, 64))
        return jnp.linalg.norm(weights, axis=0), weights

    quick, usual = devices.jit_for_one_call(draw)(3), jax.jit(draw)(3)
    for a, b in zip(quick, usual, strict=True):
        np.testing.assert_allclose(a, b, rtol=2e-6, atol=1e-6)


MEMORY = """
import resource
from data.cxr_registry.guard import memory

memory.keep()  # as launch.py does
import jax, jax.numpy as jnp

many = jnp.arange(3 * 2**23, dtype=jnp.float32).reshape(-1, 3)  # 100 MB
step = jax.jit(lambda x: jnp.cumsum(jnp.sin(x * many), 1).sum(0))
for _ in range(15):  # until the heap has holes of the right size
    step(1.0).block_until_ready()
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
step(2.0).block_until_ready()
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="of GNU's malloc")
def test_a_step_s_memory_is_kept_for_the_next():
    """Else the system provides and zeroes some 25,000 pages of 4 KiB at each step."""
    environment = {
        **os.environ,
        "JAX_PLATFORMS": "cpu",
        "JAX_COMPILATION_CACHE_DIR": "",
    }
    command = [sys.executable, "-c", MEMORY]
    done = subprocess.run(command, env=environment, capture_output=True, check=True)
    assert int(done.stdout) < 1000
