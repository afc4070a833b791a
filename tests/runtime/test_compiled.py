"""Laws of reading a compiled program: lines by hand, and programs one can count."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from aals_jax.runtime import compiled, devices
from aals_jax.runtime.compiled import Collectives

LINES = {
    "  %sum.1 = f32[64]{0:T(128)} all-reduce(f32[64]{0} %x), channel_id=1": (
        "all-reduce", 256
    ),
    "  ROOT %r = (f32[8,4]{1,0:T(8,128)S(1)}, bf16[3]{0}) all-reduce(%a, %b)": (
        "all-reduce", 134
    ),
    "  sum = f32[] all-reduce-start(x), replica_groups={{0,1}}": ("all-reduce", 4),
    "  %g = f32[16,2]{1,0} all-gather(%x), dimensions={0}": ("all-gather", 128),
    "  %g = (f32[2]{0}, f32[8]{0}) all-gather-start(%x)": ("all-gather", 32),
    "  %g = ((f32[2]{0}, s8[3]{0}), (f32[8]{0}, s8[12]{0})) all-gather-start(%x, %y)": (
        "all-gather", 44
    ),
    "  %p = (pred[7]{0}, pred[7]{0}, u32[], u32[]) collective-permute-start(%x)": (
        "collective-permute", 7
    ),
    "  %s = bf16[4]{0} reduce-scatter(%x), to_apply=%add": ("reduce-scatter", 8),
    "  %t = (f8e4m3fn[4]{0}, /*index=1*/s4[4]{0}) all-to-all(%x, %y)": (
        "all-to-all", 6
    ),
}  # fmt: skip
OTHERS = (
    "  %d = f32[64]{0} all-reduce-done(%sum.1)",
    "  %f = f32[64]{0} fusion(%all-reduce.3), kind=kLoop, calls=%fused",
    '  %a = f32[] add(%x, %y), metadata={op_name="all-reduce(x)"}',
    "%all-reduce-scatter.1 (x: f32[4]) -> f32[2] {",
    "  %t = f32[2]{0} get-tuple-element(%all-reduce), index=0",
)


@pytest.mark.parametrize("line", LINES)
def test_a_collective_is_read_with_the_bytes_of_its_result(line):
    kind, size = LINES[line]
    assert compiled.collectives(line) == {kind: Collectives(1, size)}


@pytest.mark.parametrize("line", OTHERS)
def test_what_only_names_a_collective_is_none(line):
    assert compiled.collectives(line) == {}


def test_collectives_of_a_kind_are_summed():
    text = "\n".join([*LINES, *OTHERS])
    found = compiled.collectives(text)
    assert found["all-reduce"] == Collectives(3, 256 + 134 + 4)
    assert found["all-gather"] == Collectives(3, 128 + 32 + 44)
    assert sum(kind.count for kind in found.values()) == len(LINES)


def test_a_matrix_product_is_counted():
    """[8, 16] x [16, 4]: two operations for each of 8 * 16 * 4."""
    a, b = np.ones((8, 16), "f"), np.ones((16, 4), "f")
    said = compiled.read(jax.jit(jnp.matmul).lower(a, b).compile())
    assert said.flops == 2 * 8 * 16 * 4
    assert (said.arguments, said.output) == (a.nbytes + b.nbytes, 4 * 8 * 4)
    assert said.collectives == {}


def test_the_mean_over_devices_is_one_reduction_and_a_donated_state_is_reused():
    def step(state, batch):
        mean = jax.lax.pmean(jnp.mean(batch, 0), devices.AXIS)
        return state + mean, {}

    parallel = devices.data_parallel(step)
    state = jax.ShapeDtypeStruct((256,), jnp.float32)
    batch = jax.ShapeDtypeStruct((8, 256), jnp.float32)
    lowered = devices.lower(parallel, state, batch, devices=jax.local_devices())
    said = compiled.read(lowered.compile())
    assert said.collectives == {"all-reduce": Collectives(1, 1024)}
    assert said.arguments == 1024 + 2 * 1024  # the state, and a fourth of the batch
    assert said.reused == 1024
    assert said.memory < said.arguments + said.output + said.temporary + said.code


def test_what_xla_does_not_count_is_unknown():
    class Opaque:
        def __init__(self, cost):
            self.cost_analysis = lambda: cost
            self.memory_analysis = jax.jit(jnp.sin).lower(1.0).compile().memory_analysis
            self.as_text = lambda: ""

    for cost in (None, {}, {"flops": -1.0, "bytes accessed": -1.0}):
        said = compiled.read(Opaque(cost))
        assert said.flops is None and said.traffic is None
