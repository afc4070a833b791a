import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn

from aals_jax.models import fpn, pooling, resnet
from aals_jax.models.detector import Detector, per_cell
from aals_jax.models.heads import PRIOR


def shapes(backbone, *, width=64, fpn_channels=256, side=64, **options):
    model = Detector(backbone, width, fpn_channels, **options)
    image = jax.ShapeDtypeStruct((2, side, side, 1), jnp.float32)
    variables = jax.eval_shape(
        lambda key, x: model.init(key, x, train=False), jax.random.key(0), image
    )
    return model, variables, image


# Parameters of torchvision's networks without their classifier, as published there.
@pytest.mark.parametrize(
    ("name", "count"),
    [
        ("resnet18", 11_689_512 - 513_000),
        ("resnet34", 21_797_672 - 513_000),
        ("resnet50", 25_557_032 - 2_049_000),
        ("resnet101", 44_549_160 - 2_049_000),
        ("resnet152", 60_192_808 - 2_049_000),
    ],
)
def test_backbones_have_torchvisions_parameter_counts(name, count):
    _, variables, _ = shapes(name, stem_channels=3)
    leaves = jax.tree.leaves(variables["params"]["backbone"])
    assert sum(leaf.size for leaf in leaves) == count


def test_names_map_one_to_one_to_torchvisions_resnet50():
    """`layer2.0.downsample.0.weight` is `layer2_0/downsample_conv/kernel`."""
    _, variables, _ = shapes("resnet50", stem_channels=3)
    expected = {"conv1", "bn1"}
    for stage, blocks in enumerate((3, 4, 6, 3), start=1):
        for i in range(blocks):
            layers = [f"{kind}{n}" for kind in ("conv", "bn") for n in (1, 2, 3)]
            layers += ["downsample_conv", "downsample_bn"] if i == 0 else []
            expected |= {f"layer{stage}_{i}/{layer}" for layer in layers}
    paths = jax.tree_util.tree_leaves_with_path(variables["params"]["backbone"])
    layers = {"/".join(p.key for p in path[:-1]) for path, _ in paths}
    assert layers == expected


@pytest.mark.parametrize("backbone", ["narrow", "resnet18", "resnet50"])
def test_the_map_has_stride_four(backbone):
    model, variables, image = shapes(backbone, width=8, fpn_channels=8, side=96)
    logits = jax.eval_shape(
        lambda v, x: model.apply(v, x, train=False), variables, image
    )
    assert logits.shape == (2, 24, 24)
    assert logits.dtype == jnp.float32


def test_bfloat16_computes_in_it_and_keeps_params_in_float32():
    model, variables, image = shapes("narrow", width=8, dtype=jnp.bfloat16)
    assert {leaf.dtype for leaf in jax.tree.leaves(variables)} == {jnp.dtype("float32")}
    text = jax.jit(lambda v, x: model.apply(v, x, train=False)).lower(variables, image)
    assert "bf16" in text.as_text()


def test_untrained_output_is_near_the_prior_and_wrong_sides_are_refused():
    model = Detector("narrow", 8, 8)
    image = jax.random.uniform(jax.random.key(1), (1, 64, 64, 1))
    variables = jax.jit(lambda x: model.init(jax.random.key(0), x, train=False))(image)
    probability = nn.sigmoid(model.apply(variables, image, train=False))
    np.testing.assert_allclose(probability, PRIOR, atol=0.01)
    with pytest.raises(ValueError, match="multiple of 32"):
        model.apply(variables, image[:, :40], train=False)


def test_max_pool_equals_the_windowed_reduction():
    x = jax.random.normal(jax.random.key(0), (2, 12, 16, 3))
    expected = nn.max_pool(x, (3, 3), strides=(2, 2), padding=((1, 1), (1, 1)))
    np.testing.assert_array_equal(pooling.max_pool(x), expected)


def test_upsampling_repeats_each_value():
    x = jnp.arange(4.0).reshape(1, 2, 2, 1)
    expected = [[0, 0, 1, 1], [0, 0, 1, 1], [2, 2, 3, 3], [2, 2, 3, 3]]
    np.testing.assert_array_equal(fpn.upsample_nearest(x)[0, ..., 0], expected)


def test_batch_statistics_over_devices_are_those_of_the_whole_batch():
    """E[var] + Var[mean]: devices with different means must not lose the spread."""
    image = jax.random.normal(jax.random.key(0), (4, 2, 16, 16, 1))
    image += 5.0 * jnp.arange(4.0).reshape(4, 1, 1, 1, 1)

    def net(axis_name):
        return resnet.ResNet((1,), "basic", width=4, axis_name=axis_name)

    variables = net(None).init(jax.random.key(1), image[0], train=False)

    def statistics(axis_name, image):
        mutable = ["batch_stats"]
        return net(axis_name).apply(variables, image, train=True, mutable=mutable)[1]

    split = jax.vmap(lambda x: statistics("batch", x), axis_name="batch")(image)
    whole = statistics(None, image.reshape(8, 16, 16, 1))
    for devices, expected in zip(
        jax.tree.leaves(split), jax.tree.leaves(whole), strict=True
    ):
        for device in devices:
            np.testing.assert_allclose(device, expected, rtol=1e-3, atol=1e-5)


def test_cells_have_one_logit_the_mean_of_the_map():
    maps = jax.random.normal(jax.random.key(0), (2, 4, 8))
    blocks = np.asarray(maps).reshape(2, 2, 2, 4, 2).mean(axis=(2, 4))
    got = per_cell(maps, 2)
    np.testing.assert_allclose(got[:, ::2, ::2], blocks, rtol=1e-5, atol=1e-6)
    np.testing.assert_array_equal(got[:, ::2], got[:, 1::2])
    np.testing.assert_array_equal(got[:, :, ::2], got[:, :, 1::2])
    np.testing.assert_array_equal(per_cell(maps, 1), maps)


def test_loss_statistics_and_gradients_are_those_of_float64():
    """Of the backbone of the laptop's recipe in training, to 1e-5 of the largest."""
    image = jax.random.uniform(jax.random.key(1), (4, 64, 64, 1))

    def net(dtype):
        return resnet.ResNet(*resnet.DEPTHS["narrow"], width=16, dtype=dtype)

    variables = jax.jit(
        lambda: net(jnp.float32).init(jax.random.key(0), image, train=False)
    )()

    def results(dtype):
        def loss(params, rest, image):
            levels, statistics = net(dtype).apply(
                {**rest, "params": params}, image, train=True, mutable=["batch_stats"]
            )
            return sum(jnp.mean(jnp.sin(level)) for level in levels), statistics

        arguments = (
            variables["params"],
            {"batch_stats": variables["batch_stats"]},
            image,
        )
        arguments = jax.tree.map(lambda x: np.asarray(x, dtype), arguments)
        return jax.jit(jax.value_and_grad(loss, has_aux=True))(*arguments)

    with jax.enable_x64(True):
        (loss, statistics), gradient = jax.device_get(results(jnp.float64))
    assert {leaf.dtype for leaf in jax.tree.leaves(gradient)} == {np.dtype(float)}
    (found_loss, found_statistics), found_gradient = results(jnp.float32)
    for found, expected in (
        (found_loss, loss), (found_statistics, statistics), (found_gradient, gradient),
    ):  # fmt: skip
        most = max(np.abs(leaf).max() for leaf in jax.tree.leaves(expected))
        pairs = zip(jax.tree.leaves(found), jax.tree.leaves(expected), strict=True)
        assert max(np.abs(np.asarray(a) - b).max() for a, b in pairs) < 1e-5 * most
