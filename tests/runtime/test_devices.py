"""Laws of how JAX is set up: whose cache it is, and what is compiled in a hurry."""

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
