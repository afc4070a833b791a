"""Which library computes the convolutions of the training step on this CPU.

    python benchmarks/convolutions.py

Compiles stage 2's step at laptop scale (nothing runs), reads the compiled HLO, and
prints the convolutions that YNNPACK does not compute, then how many it does.
"""

import collections
import re
import sys
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / "benchmarks")]

import jax  # noqa: E402
import jax.numpy as jnp  # noqa: E402
import paper_step  # noqa: E402

from aals_jax.method import steps  # noqa: E402
from aals_jax.runs import stages  # noqa: E402
from configs import clavicle  # noqa: E402


def lowered() -> jax.stages.Lowered:
    """The distillation step of the laptop's net, traced and not compiled yet."""
    config = clavicle.get_config()
    side, counts = config.data.side, config.batch
    model = stages.make_model(config, axis_name=None)
    tx = stages.make_tx(config.distill)
    state = jax.eval_shape(
        lambda key, image: steps.restart(model.init(key, image, train=False), tx),
        jax.random.key(0),
        jax.ShapeDtypeStruct((1, side, side, 1), jnp.float32),
    )
    batch = paper_step.shapes(counts.region + counts.negative, counts.image_level, side)
    step = jax.jit(stages.make_distill(config, axis_name=None))
    return step.lower(state, batch)


def compiled_hlo() -> str:
    hlo = lowered().compile().as_text()
    assert hlo is not None
    return hlo


def convolutions(hlo: str) -> Iterator[tuple[bool, str]]:
    """For each convolution: is it inside a YNNPACK fusion, and its line of HLO."""
    fused = {
        name
        for line in hlo.splitlines()
        if "__ynn_fusion" in line
        for name in re.findall(r"calls=%([\w.\-]+)", line)
    }
    computation = ""
    for line in hlo.splitlines():
        header = re.match(r"(?:ENTRY )?%([\w.\-]+) .*\{$", line)
        if header:
            computation = header[1]
        elif " convolution(" in line:
            yield computation in fused, line.strip()


def main() -> None:
    owners = collections.Counter()
    for by_ynnpack, line in convolutions(compiled_hlo()):
        owners[by_ynnpack] += 1
        if not by_ynnpack:
            print(*re.findall(r" = (\S+?)\{.*?(window=\{[^}]*\})", line)[0])
    print(
        f"{owners[True]} of {owners.total()} convolutions are YNNPACK's, "
        f"jax {jax.__version__} on {jax.default_backend()}"
    )


if __name__ == "__main__":
    main()
