"""Weights of torchvision's names: each has its place, and means there what it meant.

Names, layouts and the forward pass are written here a second time, in NumPy, by
torchvision's rules; `benchmarks/pretrained_vs_torchvision.py` asks torchvision itself.
"""

import re
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from aals_jax.models import pretrained
from aals_jax.models.densenet import SHAPES, Classifier, DenseNet, Shape
from aals_jax.models.detector import Detector
from aals_jax.models.intensity import IMAGENET_MEAN, IMAGENET_STD, normalised
from aals_jax.models.resnet import DEPTHS, EXPANSION, ResNet
from aals_jax.runtime import devices

# --- files as torchvision would write them


class Drawer:
    """Random arrays by torchvision's names."""

    def __init__(self, seed=0):
        self.rng = np.random.default_rng(seed)
        self.arrays: dict[str, np.ndarray] = {}

    def conv(self, name, out, into, side):
        scale = np.sqrt(2 / (into * side * side))
        kernel = scale * self.rng.normal(size=(out, into, side, side))
        self.arrays[f"{name}.weight"] = kernel.astype(np.float32)

    def norm(self, name, channels):
        draws = {
            "weight": self.rng.uniform(0.5, 1.5, channels),
            "bias": self.rng.normal(0, 0.2, channels),
            "running_mean": self.rng.normal(0, 0.3, channels),
            "running_var": self.rng.uniform(0.5, 2, channels),
        }
        for leaf, values in draws.items():
            self.arrays[f"{name}.{leaf}"] = values.astype(np.float32)
        self.arrays[f"{name}.num_batches_tracked"] = np.array(7)

    def linear(self, name, out, into):
        self.arrays[f"{name}.weight"] = np.zeros((out, into), np.float32)
        self.arrays[f"{name}.bias"] = np.zeros(out, np.float32)


def resnet_file(depth, block, width=64):
    """torchvision.models.resnet: a bottleneck's third convolution has four times the
    width; the first block of a stage that changes channels or side has `downsample`."""
    draw, grow = Drawer(), {"basic": 1, "bottleneck": 4}[block]
    draw.conv("conv1", width, 3, 7)
    draw.norm("bn1", width)
    into = width
    for stage, blocks in enumerate(depth):
        planes = width * 2**stage
        for i in range(blocks):
            name = f"layer{stage + 1}.{i}"
            sizes = {
                "basic": [(planes, into, 3), (planes, planes, 3)],
                "bottleneck": [
                    (planes, into, 1),
                    (planes, planes, 3),
                    (4 * planes, planes, 1),
                ],
            }[block]
            for k, size in enumerate(sizes, start=1):
                draw.conv(f"{name}.conv{k}", *size)
                draw.norm(f"{name}.bn{k}", size[0])
            if i == 0 and (stage > 0 or into != grow * planes):
                draw.conv(f"{name}.downsample.0", grow * planes, into, 1)
                draw.norm(f"{name}.downsample.1", grow * planes)
            into = grow * planes
    draw.linear("fc", 10, into)
    return draw.arrays


def densenet_file(shape: Shape):
    """torchvision.models.densenet, in today's spelling."""
    draw = Drawer()
    draw.conv("features.conv0", shape.start, 3, 7)
    draw.norm("features.norm0", shape.start)
    channels = shape.start
    for block, layers in enumerate(shape.blocks, start=1):
        for layer in range(1, layers + 1):
            name = f"features.denseblock{block}.denselayer{layer}"
            draw.norm(f"{name}.norm1", channels)
            draw.conv(f"{name}.conv1", 4 * shape.growth, channels, 1)
            draw.norm(f"{name}.norm2", 4 * shape.growth)
            draw.conv(f"{name}.conv2", shape.growth, 4 * shape.growth, 3)
            channels += shape.growth
        if block < len(shape.blocks):
            draw.norm(f"features.transition{block}.norm", channels)
            draw.conv(f"features.transition{block}.conv", channels // 2, channels, 1)
            channels //= 2
    draw.norm("features.norm5", channels)
    draw.linear("classifier", 10, channels)
    return draw.arrays


def old_spelling(arrays):
    """`denselayer1.norm.1.weight`, as in torchvision's files of 2017."""
    pattern = r"(denselayer\d+)\.(norm|conv)([12])\."
    return {re.sub(pattern, r"\1.\2.\3.", n): a for n, a in arrays.items()}


def moved(arrays, prefix):
    return {prefix + name: array for name, array in arrays.items()}


# --- torchvision's forward pass in NumPy, B C H W


def conv(x, kernel, stride=1):
    side, pad = kernel.shape[2], kernel.shape[2] // 2
    x = np.pad(x, ((0, 0), (0, 0), (pad, pad), (pad, pad)))
    windows = np.lib.stride_tricks.sliding_window_view(x, (side, side), axis=(2, 3))
    windows = windows[:, :, ::stride, ::stride]
    return np.einsum("bihwkl,oikl->bohw", windows, kernel, optimize=True)


def norm(x, arrays, name):
    weight, bias, mean, var = (
        arrays[f"{name}.{leaf}"].astype(np.float64)[:, None, None]
        for leaf in ("weight", "bias", "running_mean", "running_var")
    )
    return (x - mean) / np.sqrt(var + 1e-5) * weight + bias


def relu(x):
    return np.maximum(x, 0)


def pool(x):
    """3 x 3, stride 2, padding 1."""
    x = np.pad(x, ((0, 0), (0, 0), (1, 1), (1, 1)), constant_values=-np.inf)
    windows = np.lib.stride_tricks.sliding_window_view(x, (3, 3), axis=(2, 3))
    return windows[:, :, ::2, ::2].max(axis=(4, 5))


def resnet_maps(arrays, x, depth, block):
    def unit(x, name, number, stride=1):
        x = conv(x, arrays[f"{name}.conv{number}.weight"], stride)
        return norm(x, arrays, f"{name}.bn{number}")

    x = conv(x, arrays["conv1.weight"], 2)
    x, maps = pool(relu(norm(x, arrays, "bn1"))), []
    for stage, blocks in enumerate(depth):
        for i in range(blocks):
            name, stride = f"layer{stage + 1}.{i}", 2 if stage and not i else 1
            if block == "basic":
                y = unit(relu(unit(x, name, 1, stride)), name, 2)
            else:
                y = unit(relu(unit(x, name, 1)), name, 2, stride)
                y = unit(relu(y), name, 3)
            if f"{name}.downsample.0.weight" in arrays:
                x = conv(x, arrays[f"{name}.downsample.0.weight"], stride)
                x = norm(x, arrays, f"{name}.downsample.1")
            x = relu(x + y)
        maps.append(x)
    return maps


def densenet_maps(arrays, x, shape):
    f = "features."
    x = conv(x, arrays[f + "conv0.weight"], 2)
    x = pool(relu(norm(x, arrays, f + "norm0")))
    for block, layers in enumerate(shape.blocks, start=1):
        for layer in range(1, layers + 1):
            name, y = f"{f}denseblock{block}.denselayer{layer}", x
            for k in (1, 2):
                y = relu(norm(y, arrays, f"{name}.norm{k}"))
                y = conv(y, arrays[f"{name}.conv{k}.weight"])
            x = np.concatenate([x, y], axis=1)
        if block < len(shape.blocks):
            name = f"{f}transition{block}"
            x = conv(
                relu(norm(x, arrays, f"{name}.norm")), arrays[f"{name}.conv.weight"]
            )
            b, c, h, w = x.shape
            x = x.reshape(b, c, h // 2, 2, w // 2, 2).mean(axis=(3, 5))
    return [relu(norm(x, arrays, f + "norm5"))]


# --- nets of both families, small, and what belongs to each

WIDTH = 8
SMALL = ((1, 2, 1, 1), "basic"), ((1, 1, 2, 1), "bottleneck")


def shapes_of(net, channels):
    image = jax.ShapeDtypeStruct((1, 64, 64, channels), jnp.float32)
    return jax.eval_shape(lambda x: net.init(jax.random.key(0), x, train=False), image)


@pytest.fixture(scope="module")
def image():
    """Grey, bright at its borders."""
    return np.random.default_rng(3).uniform(0.3, 1, (1, 64, 96, 1)).astype(np.float32)


def families():
    for depth, block in SMALL:
        yield (
            ResNet(depth, block, WIDTH),
            resnet_file(depth, block, WIDTH),
            lambda a, x, depth=depth, block=block: resnet_maps(a, x, depth, block),
        )
    shape = SHAPES["narrow"]
    arrays = densenet_file(shape)
    yield DenseNet(shape), arrays, lambda a, x: densenet_maps(a, x, shape)


@pytest.mark.parametrize("family", range(3))
def test_features_are_those_of_torchvisions_rules_with_either_stem(family, image):
    """Grey film three times with ImageNet's means, or one channel and ones: all maps,
    to their borders."""
    net, arrays, forward = list(families())[family]
    x = (image - np.array(IMAGENET_MEAN)) / np.array(IMAGENET_STD)
    expected = forward(arrays, x.transpose(0, 3, 1, 2))
    for channels in (1, 3):
        stem = normalised(image, channels, jnp.float32, imagenet=True)
        variables, report = pretrained.place(arrays, shapes_of(net, stem.shape[-1]))
        assert report.left_out and report.counters
        apply = devices.jit_for_one_call(partial(net.apply, train=False))
        maps = apply(variables, stem)
        for ours, theirs in zip(jax.tree.leaves(maps), expected, strict=True):
            theirs = theirs.transpose(0, 2, 3, 1)
            np.testing.assert_allclose(ours, theirs, atol=1e-4 * theirs.max())


@pytest.mark.parametrize("model", [Detector, Classifier])
def test_one_channel_and_three_give_the_same_map(model, image):
    """The law of the grey stem, for the whole net."""
    arrays = next(f for f in families() if isinstance(f[0], DenseNet))[1]
    options: dict = {"imagenet": True}
    if model is Detector:
        arrays = resnet_file((1, 1, 1, 1), "basic", WIDTH)
        options |= {"width": WIDTH, "fpn_channels": 8}
    head = devices.jit_for_one_call(
        partial(model("narrow", **options).init, train=False)
    )(jax.random.key(0), image)["params"]
    maps = []
    for channels in (1, 3):
        net = model("narrow", stem_channels=channels, **options)
        shapes = shapes_of(net, 1)
        backbone = {kind: tree["backbone"] for kind, tree in shapes.items()}
        placed, _ = pretrained.place(arrays, backbone)
        variables = {
            "params": {**head, "backbone": placed["params"]},
            "batch_stats": {"backbone": placed["batch_stats"]},
        }
        apply = devices.jit_for_one_call(partial(net.apply, train=False))
        maps.append(np.asarray(apply(variables, image)))
    assert np.ptp(maps[0]) > 1e-3
    np.testing.assert_allclose(maps[0], maps[1], atol=1e-5 * np.abs(maps[1]).max())


@pytest.mark.parametrize("name", [n for n in DEPTHS if n != "narrow"])
def test_every_array_of_torchvisions_resnets_has_its_place(name):
    """Nothing is computed: shapes alone; the head alone is left out."""
    depth, block = DEPTHS[name]
    arrays = {
        n: np.broadcast_to(np.float32(1), a.shape)
        for n, a in (resnet_file(depth, block, 2)).items()
        if not n.endswith("tracked")
    }
    placed, report = pretrained.place(arrays, shapes_of(ResNet(depth, block, 2), 3))
    assert report.left_out == ("fc.bias", "fc.weight")
    assert len(report.mapped) == len(arrays) - 2
    assert len(set(report.mapped.values())) == len(report.mapped)
    assert report.mapped["layer2.0.downsample.1.running_var"] == (
        "layer2_0/downsample_bn/var"
    )
    last = placed["params"]["layer4_0"]["downsample_conv"]["kernel"]
    assert last.shape[:2] == (1, 1) and last.shape[3] == 16 * EXPANSION[block]


def test_spellings_and_prefixes_are_one():
    """Old and new names, with or without `features.`, in a wrapper: equal arrays."""
    net, arrays, _ = list(families())[2]
    shapes = shapes_of(net, 3)
    expected, _ = pretrained.place(arrays, shapes)
    bare = {n.removeprefix("features."): a for n, a in arrays.items()}
    for other in (
        old_spelling(arrays),
        bare,
        moved(old_spelling(arrays), "module.net."),
    ):
        placed, report = pretrained.place(other, shapes)
        jax.tree.map(np.testing.assert_array_equal, placed, expected)
        assert len(report.left_out) == 2


# --- what does not fit


def test_all_that_does_not_fit_is_told_at_once():
    depth, block = SMALL[0]
    arrays = resnet_file(depth, block, WIDTH)
    del arrays["layer2.1.bn1.running_mean"]
    del arrays["conv1.weight"]
    arrays |= {
        "layer5.0.conv1.weight": np.zeros((2, 2), np.float32),
        "bn1.weight": np.zeros(WIDTH + 1, np.float32),
        "layer1.0.bn1.bias": np.zeros(WIDTH, np.int64),
        "layer1.0.bn2.bias": np.full(WIDTH, np.nan, np.float32),
        "layer1.0.bn2.running_var": np.full(WIDTH, -1, np.float32),
    }
    with pytest.raises(ValueError, match="don't fit") as raised:
        pretrained.place(arrays, shapes_of(ResNet(depth, block, WIDTH), 3))
    _, *lines = str(raised.value).splitlines()
    assert sorted(lines) == [
        "- bn1.weight: has shape (9,), the backbone needs (8,)",
        "- layer1.0.bn1.bias: is of int64, not of floats",
        "- layer1.0.bn2.bias: has values that are not finite in float32",
        "- layer1.0.bn2.running_var: has variances below 0",
        "- missing: conv1.weight",
        "- missing: layer2.1.bn1.running_mean",
        "- unmatched: layer5.0.conv1.weight",
    ]


def test_a_file_of_another_net_is_named():
    arrays = resnet_file(*DEPTHS["resnet18"], 2)
    with pytest.raises(ValueError, match=r"of model\.backbone=resnet18:"):
        pretrained.place(arrays, shapes_of(ResNet((1, 1, 1, 1), "basic", 2), 3))
    small = {n: np.zeros(1) for n in densenet_file(SHAPES["narrow"])}
    dense = {
        f"features.denseblock{b}.denselayer{k}.norm1.weight": np.zeros(1)
        for b, layers in enumerate(SHAPES["densenet121"].blocks, start=1)
        for k in range(1, layers + 1)
    }
    with pytest.raises(ValueError, match=r"of model\.densenet=densenet121:"):
        pretrained.place(small | dense, shapes_of(ResNet(*SMALL[0], 2), 3))


def test_half_precision_becomes_float32():
    depth, block = SMALL[0]
    arrays = resnet_file(depth, block, WIDTH)
    half = {
        n: a.astype(jnp.bfloat16 if i % 2 else np.float16) if a.ndim else a
        for i, (n, a) in enumerate(arrays.items())
    }
    placed, _ = pretrained.place(half, shapes_of(ResNet(depth, block, WIDTH), 2))
    assert {leaf.dtype for leaf in jax.tree.leaves(placed)} == {np.dtype("float32")}
