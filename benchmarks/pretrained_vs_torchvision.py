"""Features of torchvision's weights in our backbones against torchvision's own.

    pip install -r requirements.lock -r requirements/bench.txt
    python benchmarks/pretrained_vs_torchvision.py [NAME ...]

A net of torchvision with random weights, and random statistics of its BatchNorm, is
saved as safetensors and read as `launch.py` does. Both see the same random grey film:
torchvision three times with ImageNet's mean and standard deviation, ours by
`stem_channels` 3 and 1. The largest difference of the last maps, as a share of
the largest feature, is printed; one above 1e-4 ends with an error.
"""

# pyright: reportMissingImports=false

import importlib.metadata
import sys
import tempfile
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import torch
import torchvision
from safetensors.torch import save_file

sys.path.insert(0, str(Path(__file__).parent.parent))

from aals_jax.models import densenet, pretrained, resnet
from aals_jax.models.intensity import IMAGENET_MEAN, IMAGENET_STD, normalised
from aals_jax.runtime import weights

TOLERANCE = 1e-4
NAMES = ("resnet18", "resnet50", "densenet121")
SIDE = 224


def theirs_of(name: str) -> torch.nn.Module:
    """Random weights, and random statistics: those of a new net are 0 and 1."""
    torch.manual_seed(0)
    net = getattr(torchvision.models, name)(weights=None).eval()
    for module in net.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            assert module.running_mean is not None and module.running_var is not None
            torch.nn.init.uniform_(module.weight, 0.5, 1.5)
            torch.nn.init.normal_(module.bias, 0.0, 0.2)
            torch.nn.init.normal_(module.running_mean, 0.0, 0.3)
            torch.nn.init.uniform_(module.running_var, 0.5, 2.0)
    return net


def features(net: Any, image: torch.Tensor) -> torch.Tensor:
    """The maps before pooling and classifier."""
    if hasattr(net, "features"):
        return torch.relu(net.features(image))
    layers = (net.conv1, net.bn1, net.relu, net.maxpool)
    layers += (net.layer1, net.layer2, net.layer3, net.layer4)
    return torch.nn.Sequential(*layers)(image)


def ours_of(name: str) -> Any:
    if name in densenet.SHAPES:
        return densenet.DenseNet(densenet.SHAPES[name])
    return resnet.ResNet(*resnet.DEPTHS[name])


def difference(name: str, channels: int, file: Path, expected: np.ndarray) -> float:
    net = ours_of(name)
    x = normalised(jnp.asarray(film()), channels, jnp.float32, imagenet=True)
    shapes = jax.eval_shape(lambda x: net.init(jax.random.key(0), x, train=False), x)
    variables, _ = pretrained.place(weights.read(file), shapes)
    found = jax.jit(lambda v, x: net.apply(v, x, train=False))(variables, x)
    last = np.asarray(found[-1] if isinstance(found, list) else found)
    return float(np.abs(last - expected).max() / np.abs(expected).max())


def film() -> np.ndarray:
    """f32[2, SIDE, SIDE, 1] in [0, 1]."""
    return np.random.default_rng(0).random((2, SIDE, SIDE, 1), np.float32)


def main() -> None:
    for package in ("torch", "torchvision", "jax"):
        print(package, importlib.metadata.version(package))
    worst = 0.0
    for name in sys.argv[1:] or NAMES:
        net = theirs_of(name)
        colours = (film() - np.array(IMAGENET_MEAN)) / np.array(IMAGENET_STD)
        image = torch.from_numpy(colours.transpose(0, 3, 1, 2).astype(np.float32))
        with torch.no_grad():
            expected = features(net, image).numpy().transpose(0, 2, 3, 1)
        with tempfile.TemporaryDirectory() as folder:
            file = Path(folder) / f"{name}.safetensors"
            save_file(net.state_dict(), file)
            for channels in (3, 1):
                found = difference(name, channels, file, expected)
                print(f"{name:<12} stem_channels={channels}: {found:.1e}", flush=True)
                worst = max(worst, found)
    if worst > TOLERANCE:
        raise SystemExit(f"the largest difference {worst:.1e} is above {TOLERANCE}")


if __name__ == "__main__":
    main()
