import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn

from aals_jax.models import densenet
from aals_jax.models.densenet import SHAPES, Classifier, DenseNet, average_pool
from aals_jax.models.detector import Detector
from aals_jax.models.intensity import normalised

IMAGE = jax.ShapeDtypeStruct((2, 64, 64, 1), jnp.float32)


def shapes_of(name: str) -> dict[str, tuple[int, ...]]:
    """Names and shapes of a backbone's weights and statistics; nothing is computed."""
    model = Classifier(name, stem_channels=3)
    variables = jax.eval_shape(
        lambda key, x: model.init(key, x, train=False), jax.random.key(0), IMAGE
    )
    leaves = {}
    for kind in ("params", "batch_stats"):
        paths = jax.tree_util.tree_leaves_with_path(variables[kind]["backbone"])
        leaves |= {"/".join(p.key for p in path): leaf.shape for path, leaf in paths}
    return leaves


def torchvisions(shape: densenet.Shape) -> dict[str, tuple[int, ...]]:
    """Names and shapes of torchvision's `features`, worked out from the paper's rules:
    names as ours, shapes as there (out, in, height, width)."""
    found: dict[str, tuple[int, ...]] = {}

    def norm(name, channels):
        for leaf in ("weight", "bias", "running_mean", "running_var"):
            found[f"{name}.{leaf}"] = (channels,)

    def conv(name, out, into, side):
        found[f"{name}.weight"] = (out, into, side, side)

    conv("conv0", shape.start, 3, 7)
    norm("norm0", shape.start)
    channels, between = shape.start, 4 * shape.growth
    for block, layers in enumerate(shape.blocks, start=1):
        for layer in range(1, layers + 1):
            name = f"denseblock{block}.denselayer{layer}"
            norm(f"{name}.norm1", channels)
            conv(f"{name}.conv1", between, channels, 1)
            norm(f"{name}.norm2", between)
            conv(f"{name}.conv2", shape.growth, between, 3)
            channels += shape.growth
        if block < len(shape.blocks):
            norm(f"transition{block}.norm", channels)
            conv(f"transition{block}.conv", channels // 2, channels, 1)
            channels //= 2
    norm("norm5", channels)
    return found


LEAVES = {
    "bias": "bias",
    "running_mean": "mean",
    "running_var": "var",
}


def as_ours(name: str, shape: tuple[int, ...]) -> tuple[str, tuple[int, ...]]:
    """`denseblock1.denselayer2.conv1.weight` [o, i, h, w] is
    `denseblock1_denselayer2/conv1/kernel` [h, w, i, o]."""
    *modules, leaf = name.replace(".denselayer", "_denselayer").split(".")
    if len(shape) == 4:
        leaf, shape = "kernel", (*shape[2:], shape[1], shape[0])
    else:
        leaf = LEAVES.get(leaf, "scale")
    return "/".join([*modules, leaf]), shape


@pytest.mark.parametrize(
    ("name", "published", "features"),
    [("densenet121", 7_978_856, 1_024), ("densenet169", 14_149_480, 1_664)],
)
def test_every_weight_of_torchvision_has_its_place_and_no_place_is_left(
    name, published, features
):
    """Names and shapes one to one; and as many parameters as are published, without
    the classifier of 1,000 classes."""
    theirs = torchvisions(SHAPES[name])
    ours = shapes_of(name)
    assert dict(as_ours(*item) for item in theirs.items()) == ours
    learnt = [s for n, s in theirs.items() if ".running_" not in n]
    count = sum(int(np.prod(shape)) for shape in learnt)
    assert count == published - 1_000 * (features + 1)
    assert SHAPES[name].channels == features


def small_net():
    model = Classifier("narrow")
    image = jax.random.uniform(jax.random.key(1), (2, 64, 96, 1))
    variables = jax.jit(lambda x: model.init(jax.random.key(0), x, train=False))(image)
    return model, variables, image


def test_the_mean_of_the_map_is_the_linear_layer_of_the_pooled_features():
    """Two ways of computing; bilinear enlargement keeps the mean, at the edges too."""
    model, variables, image = small_net()
    maps = model.apply(variables, image, train=False)
    assert maps.shape == (2, 16, 24) and maps.dtype == jnp.float32
    backbone = DenseNet(SHAPES["narrow"])
    features = backbone.apply(
        {kind: variables[kind]["backbone"] for kind in ("params", "batch_stats")},
        normalised(image, 1, jnp.float32),
        train=False,
    )
    assert features.shape == (2, 2, 3, model.dropout_channels)
    head = variables["params"]["head"]
    pooled = features.mean(axis=(1, 2)) @ head["kernel"][0, 0, :, 0] + head["bias"]
    np.testing.assert_allclose(maps.mean(axis=(1, 2)), pooled, rtol=1e-4, atol=1e-6)
    assert len(np.unique(maps[0])) > 2 * 3 * 8  # not 2 x 3 blocks of one value


def test_pooling_is_the_mean_of_four():
    x = jax.random.normal(jax.random.key(0), (2, 4, 6, 3))
    expected = nn.avg_pool(x, (2, 2), strides=(2, 2))
    np.testing.assert_allclose(average_pool(x), expected, rtol=1e-6)


@pytest.mark.parametrize("model", [Classifier("narrow"), Detector("narrow", 8, 8)])
def test_dropout_takes_channels_away_before_the_last_layer(model):
    """No channel: the bias alone. All channels: the net itself. One device's images
    have their own channels."""
    image = jax.random.uniform(jax.random.key(1), (2, 64, 64, 1))
    variables = jax.jit(lambda x: model.init(jax.random.key(0), x, train=False))(image)
    apply = jax.jit(lambda keep: model.apply(variables, image, train=False, keep=keep))
    ones = jnp.ones((2, model.dropout_channels))
    plain = model.apply(variables, image, train=False)
    np.testing.assert_allclose(apply(ones), plain, rtol=1e-5)
    bias = variables["params"]["head"]["bias"][0]
    mixed = apply(ones.at[0].set(0.0))
    np.testing.assert_allclose(mixed[0], bias, atol=1e-6)
    np.testing.assert_allclose(mixed[1], plain[1], rtol=1e-5)


def test_training_on_several_devices_is_training_on_one():
    """Maps, statistics and gradients of the whole net; every weight is reached."""
    image = jax.random.uniform(jax.random.key(1), (4, 64, 64, 1))
    image = image * jnp.array([0.2, 0.4, 0.7, 1.0])[:, None, None, None]

    def net(axis_name):
        return Classifier("narrow", axis_name=axis_name)

    variables = jax.jit(lambda: net(None).init(jax.random.key(0), image, train=False))()

    def passed(axis_name, image):
        def loss(params):
            maps, statistics = net(axis_name).apply(
                {**variables, "params": params},
                image,
                train=True,
                mutable=["batch_stats"],
            )
            mean = jnp.mean(jnp.sin(30 * maps))
            return mean if axis_name is None else jax.lax.pmean(mean, axis_name), (
                maps,
                statistics,
            )

        gradient, (maps, statistics) = jax.grad(loss, has_aux=True)(variables["params"])
        return gradient, maps, statistics

    whole = jax.jit(lambda x: passed(None, x))(image)
    split = jax.jit(
        jax.shard_map(
            lambda x: passed("batch", x),
            mesh=jax.sharding.Mesh(np.array(jax.devices()[:2]), ("batch",)),
            in_specs=jax.P("batch"),
            out_specs=(jax.P(), jax.P("batch"), jax.P()),
        )
    )(image)
    for part, expected in zip(split, whole, strict=True):
        pairs = zip(jax.tree.leaves(part), jax.tree.leaves(expected), strict=True)
        highest = max(np.abs(leaf).max() for leaf in jax.tree.leaves(expected))
        for a, b in pairs:
            np.testing.assert_allclose(a, b, rtol=1e-3, atol=1e-4 * highest)
    assert all(np.abs(leaf).max() > 0 for leaf in jax.tree.leaves(whole[0]))
