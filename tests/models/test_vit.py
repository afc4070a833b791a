"""A ViT from a file: what it is, what it computes, and laws of its attention.

Names and the forward pass are written here a second time, in NumPy, by DINOv2's rules;
`benchmarks/vit_vs_torch.py` asks PyTorch.
"""

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.special import erf, expit, softmax

from aals_jax.models import encoders, resampling, vit, vit_weights
from aals_jax.models.detector import Detector
from aals_jax.runtime import devices
from tests.support import vit_files

KINDS = {
    "dinov2": {},
    "dino": {"patch": 16, "scaled": False},
    "registers": {"registers": 2},
    "giant": {"gated": True},
}


def shapes_of(arrays):
    return {name: array.shape for name, array in arrays.items()}


def read(arrays, **options):
    of = vit_weights.architecture(shapes_of(arrays), **options)
    return of, vit_weights.place(arrays, of)[0]


def features(of, weights, image):
    net = vit.ViT(of)
    apply = devices.jit_for_one_call(lambda w, x: net.apply({"params": w}, x))
    return np.asarray(apply(weights, image))


def colour_image(of, *sides):
    sides = [side * of.patch for side in sides or (of.grid, of.grid)]
    draws = np.random.default_rng(1).normal(size=(1, *sides, 3))
    return draws.astype(np.float32)


def numpy_features(a, image, patch, heads):
    """By the names of DINOv2's own code, at the stored grid."""
    a = {name: array.astype(np.float64) for name, array in a.items()}

    def dense(x, name):
        return x @ a[f"{name}.weight"].T + a[f"{name}.bias"]

    def norm(x, name):
        x = (x - x.mean(-1, keepdims=True)) / np.sqrt(x.var(-1, keepdims=True) + 1e-6)
        return x * a[f"{name}.weight"] + a[f"{name}.bias"]

    rows, columns = (side // patch for side in image.shape[1:3])
    kernel = a["patch_embed.proj.weight"]
    tokens = [
        np.einsum(
            "hwc,dchw->d",
            image[0, i * patch : (i + 1) * patch, j * patch : (j + 1) * patch],
            kernel,
        )
        + a["patch_embed.proj.bias"]
        for i in range(rows)
        for j in range(columns)
    ]
    x = np.concatenate([a["cls_token"][0], tokens]) + a["pos_embed"][0]
    if "register_tokens" in a:
        x = np.concatenate([x[:1], a["register_tokens"][0], x[1:]])
    for number in range(sum(name.endswith("norm1.bias") for name in a)):
        block = f"blocks.{number}"
        y = dense(norm(x, f"{block}.norm1"), f"{block}.attn.qkv")
        q, k, v = (np.split(part, heads, axis=1) for part in np.split(y, 3, axis=1))
        y = [
            softmax(q[h] @ k[h].T / np.sqrt(q[h].shape[1]), axis=1) @ v[h]
            for h in range(heads)
        ]
        y = dense(np.concatenate(y, axis=1), f"{block}.attn.proj")
        x = x + y * a.get(f"{block}.ls1.gamma", 1)
        y = norm(x, f"{block}.norm2")
        if f"{block}.mlp.w12.weight" in a:
            one, two = np.split(dense(y, f"{block}.mlp.w12"), 2, axis=1)
            y = dense(one * expit(one) * two, f"{block}.mlp.w3")
        else:
            y = dense(y, f"{block}.mlp.fc1")
            y = dense(y * (1 + erf(y / np.sqrt(2))) / 2, f"{block}.mlp.fc2")
        x = x + y * a.get(f"{block}.ls2.gamma", 1)
    return norm(x, "norm")[-rows * columns :].reshape(1, rows, columns, -1)


# --- what it computes


@pytest.mark.parametrize("kind", KINDS)
def test_features_are_those_of_dinos_rules(kind):
    arrays = vit_files.draw(**KINDS[kind])
    of, weights = read(arrays, heads=4)
    image = colour_image(of)
    expected = numpy_features(arrays, image, of.patch, 4)
    found = features(of, weights, image)
    np.testing.assert_allclose(found, expected, atol=1e-4 * np.abs(expected).max())


def test_the_order_of_heads_is_nobodys_business():
    """Heads of all blocks change places, with what each reads and writes."""
    arrays = vit_files.draw()
    of, weights = read(arrays, heads=4)
    order = np.random.default_rng(2).permutation(4)
    turned = dict(arrays)
    for number in range(of.depth):
        name = f"blocks.{number}.attn"
        for leaf in ("weight", "bias"):
            split = arrays[f"{name}.qkv.{leaf}"].reshape(3, 4, 16, -1)
            turned[f"{name}.qkv.{leaf}"] = split[:, order].reshape(
                arrays[f"{name}.qkv.{leaf}"].shape
            )
        split = arrays[f"{name}.proj.weight"].reshape(64, 4, 16)
        turned[f"{name}.proj.weight"] = split[:, order].reshape(64, 64)
    image = colour_image(of)
    np.testing.assert_allclose(
        features(of, read(turned, heads=4)[1], image),
        features(of, weights, image),
        atol=1e-5,
    )
    other = features(*read(arrays, heads=2), image)
    assert np.abs(other - features(of, weights, image)).max() > 1e-3


def test_a_constant_film_without_positions_gives_constant_maps():
    """Of any size, on every level: no place is another's."""
    of, weights = read(vit_files.draw(registers=2))
    weights = weights | {"positions": np.zeros_like(weights["positions"])}
    net = encoders.FrozenViT(of, name="backbone", parent=None)
    variables = {"frozen": {"weights": weights}}
    apply = devices.jit_for_one_call(net.apply)
    levels = apply(variables, np.full((1, 96, 64, 1), 0.3, np.float32))
    sides = [level.shape[1:3] for level in levels]
    assert sides == [(24, 16), (12, 8), (6, 4), (3, 2)]
    for level in levels:
        expected = np.broadcast_to(levels[0][:, :1, :1], level.shape)
        np.testing.assert_allclose(level, expected, atol=1e-5)


def test_the_encoder_gets_its_own_mean_and_deviation():
    """What they do to grey levels, undone beforehand, leaves the features."""
    arrays = vit_files.draw()
    one, weights = read(arrays, mean=(0.5,) * 3, std=(0.25,) * 3)
    other, _ = read(arrays, mean=(0.25,) * 3, std=(0.5,) * 3)
    image = np.random.default_rng(4).random((1, 32, 32, 1), np.float32)

    def last(of, x):
        net = encoders.FrozenViT(of, parent=None)
        return devices.jit_for_one_call(net.apply)({"frozen": {"weights": weights}}, x)[
            -1
        ]

    np.testing.assert_allclose(
        last(one, image), last(other, 2 * image - 0.75), atol=1e-4
    )


# --- positions and other sizes


def test_positions_are_themselves_at_the_stored_grid():
    _, weights = read(vit_files.draw())
    for antialias in (False, True):
        found = vit.at_grid(weights["positions"], 3, 3, antialias=antialias)
        np.testing.assert_array_equal(found, weights["positions"])
    for kernel in (resampling.linear, resampling.cubic, resampling.steep_cubic):
        for antialias in (False, True):
            same = resampling.matrix(5, 5, kernel, antialias=antialias)
            np.testing.assert_array_equal(same, np.eye(5))


def test_bicubic_weights_are_those_of_its_formula():
    """Half-way between two pixels; a = -0.75 and -0.5. The border is repeated."""
    for kernel, far in (
        (resampling.steep_cubic, -0.75 / 8),
        (resampling.cubic, -0.5 / 8),
    ):
        rows = resampling.matrix(8, 4, kernel, antialias=False)
        expected = np.zeros(8)
        expected[1:5] = far, 0.5 - far, 0.5 - far, far
        np.testing.assert_allclose(rows[1], expected, atol=1e-15)
        border = [0.5, 0.5 - far, far, *[0] * 5]
        np.testing.assert_allclose(rows[0], border, atol=1e-15)


@pytest.mark.parametrize(("before", "after"), [(5, 37), (7, 8)])
def test_more_pixels_keep_ramps_and_parabolas(before, after):
    """Within the border: a triangle keeps ramps, and Keys's cubic parabolas too."""
    places = (np.arange(after) + 0.5) * before / after - 0.5
    inside = (places > 1) & (places < before - 2)
    assert inside.any()
    for kernel, power in (
        (resampling.linear, 1),
        (resampling.cubic, 1),
        (resampling.cubic, 2),
    ):
        for antialias in (False, True):  # it changes nothing there
            rows = resampling.matrix(before, after, kernel, antialias=antialias)
            found = rows @ np.arange(before) ** power
            expected = places**power
            np.testing.assert_allclose(found[inside], expected[inside], atol=1e-10)


@pytest.mark.parametrize(("before", "after"), [(37, 14), (8, 3), (5, 9)])
def test_both_ends_are_treated_alike_and_constants_stay(before, after):
    for kernel in (resampling.linear, resampling.cubic, resampling.steep_cubic):
        for antialias in (False, True):
            rows = resampling.matrix(before, after, kernel, antialias=antialias)
            np.testing.assert_allclose(rows, rows[::-1, ::-1], atol=1e-12)
            np.testing.assert_allclose(rows.sum(axis=1), 1)
    wide = resampling.matrix(before, after, resampling.linear, antialias=True)
    read = (wide > 0).any(axis=0)
    assert read.all()  # antialias leaves no pixel unread


# --- files


@pytest.mark.parametrize("kind", KINDS)
def test_both_spellings_and_any_prefix_give_the_same_weights(kind):
    arrays = vit_files.draw(**KINDS[kind])
    of, expected = read(arrays)
    theirs = vit_files.as_transformers(arrays)
    assert not set(theirs) & set(arrays)
    for other in (
        theirs,
        {f"backbone.{name}": array for name, array in arrays.items()},
        {f"dinov2.{name}": array for name, array in theirs.items()}
        | {"classifier.weight": np.zeros((2, 64), np.float32)},
    ):
        there, weights = read(other)
        assert there == of
        jax.tree.map(np.testing.assert_array_equal, weights, expected)
        _, report = vit_weights.place(other, of)
        assert len(report.mapped) + len(report.left_out) == len(other)
    jax.tree.map(
        lambda leaf, shape: np.testing.assert_equal(leaf.shape, shape.shape),
        expected,
        vit.weights_of(of),
    )


def test_the_file_says_what_it_is():
    of, _ = read(vit_files.draw(width=128, patch=16, grid=5, registers=3, gated=True))
    found = of.width, of.depth, of.heads, of.patch, of.grid, of.registers, of.hidden
    assert found == (128, 2, 2, 16, 5, 3, 24)
    assert of.gated and of.scaled
    assert vit.Architecture.of_json(of.as_json()) == of
    # positions of patches alone, as timm has them for nets with registers
    arrays = vit_files.draw(registers=2)
    arrays["reg_token"] = arrays.pop("register_tokens")
    arrays["cls_token"] = arrays["cls_token"] + arrays["pos_embed"][:, :1]
    arrays["pos_embed"] = arrays["pos_embed"][:, 1:]
    _, expected = read(vit_files.draw(registers=2))
    jax.tree.map(np.testing.assert_array_equal, read(arrays)[1], expected)


def test_what_no_shape_tells_is_refused():
    odd, square = vit_files.draw(width=48), vit_files.draw()
    no_square = square | {"pos_embed": np.zeros((1, 8, 64), np.float32)}
    mean = square | {"patch_embed.proj.weight": np.zeros((64, 1, 14, 14), np.float32)}
    both = square | vit_files.as_transformers(square)
    for arrays, message in (
        (odd, r"48 channels are no multiple of 64: .* vit\.heads"),
        (no_square, "8 positions are no square"),
        (mean, r"patch_embed.proj.weight: has shape .* a ViT has \(any, 3, any, any\)"),
        (both, "2 arrays are called"),
        ({"conv1.weight": np.zeros(3)}, "no array is called"),
    ):
        with pytest.raises(ValueError, match=message):
            vit_weights.architecture(shapes_of(arrays))
    assert read(odd, heads=3)[0].heads == 3


@pytest.mark.parametrize("spelt", [lambda a: a, vit_files.as_transformers])
def test_all_that_does_not_fit_is_told_at_once(spelt):
    arrays = spelt(vit_files.draw())
    of = vit_weights.architecture(shapes_of(arrays))
    first, second = sorted(n for n in arrays if n.endswith("mlp.fc1.weight"))
    gone = second.replace("mlp.fc1.weight", "norm2.bias")
    del arrays[gone]
    arrays[second] = np.zeros((24, 63), np.float32)
    arrays[first] = np.full((24, 64), np.nan, np.float32)
    arrays["dino_head.weight"] = np.zeros(3, np.float32)
    with pytest.raises(ValueError, match="don't fit") as raised:
        vit_weights.place(arrays, of)
    _, *lines = str(raised.value).splitlines()
    assert sorted(lines) == sorted(
        [
            f"- missing: {gone}",
            "- unmatched: dino_head.weight",
            f"- {first}: has values that are not finite in float32",
            f"- {second}: has shape (24, 63), the backbone needs (24, 64)",
        ]
    )


# --- frozen


def test_gradients_reach_pyramid_and_head_and_never_the_encoder():
    of, weights = read(vit_files.draw())
    net = Detector("vit", fpn_channels=8, vit=of)
    image = np.random.default_rng(5).random((1, 64, 64, 1), np.float32)
    init = devices.jit_for_one_call(partial(net.init, train=False))
    variables = {**init(jax.random.key(0), image), **encoders.frozen_variables(weights)}
    assert set(variables) == {"params", "frozen"}

    def loss(variables):
        logits: Any = net.apply(variables, image, train=True)
        return jnp.sum(jnp.square(logits))

    gradient = jax.device_get(devices.jit_for_one_call(jax.grad(loss))(variables))
    assert not any(np.any(leaf) for leaf in jax.tree.leaves(gradient["frozen"]))
    assert all(np.any(leaf) for leaf in jax.tree.leaves(gradient["params"]))


def test_four_devices_say_what_one_says():
    of, weights = read(vit_files.draw())
    net = encoders.FrozenViT(of, parent=None)
    variables = {"frozen": {"weights": weights}}
    images = np.random.default_rng(6).random((4, 32, 64, 1), np.float32)
    found = []
    for count in (1, 4):
        chosen = jax.local_devices()[:count]
        step = devices.data_parallel_map(net.apply, devices=chosen)
        placed = devices.replicate(variables, devices=chosen)
        levels = step(placed, devices.shard(images, devices=chosen))
        found.append(devices.gather(levels))
    for one, four in zip(*found, strict=True):
        np.testing.assert_allclose(one, four, atol=1e-5)
