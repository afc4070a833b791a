"""Laws that hold for every row of the table, then what single rows are."""

import functools
import inspect
from functools import partial
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from scipy.special import expit, logit

from aals_jax.method import ema, methods, steps
from aals_jax.method.methods import METHODS
from aals_jax.runs import check, stages
from aals_jax.runtime import devices
from aals_jax.types import Labelled
from configs import base
from tests.support import small
from tests.support.small import Net, bound, make_batch

TX = optax.sgd(0.3)  # Adam's first step turns 1e-9 of noise into 1e-4
RAMP = 10  # steps; a test picks the weight of the term on P by the state's step
IMAGES = 8  # of P
USING_P = [name for name, row in METHODS.items() if row.weak is not None]
WITH_TEACHER = [n for n in USING_P if METHODS[n].guide in ("average", "first_stage")]


@functools.cache
def weights(head: str = "map"):
    return steps.init_state(Net(head=head), TX, jax.random.key(0), side=32).student


@functools.cache
def other_weights(head: str = "map"):
    return jax.tree.map(lambda x: 1.1 * x, weights(head))


def fresh_state(method: str):
    """A state whose untrained maps lie about t; its guide is another net."""
    head = METHODS[method].head
    memory = methods.initial_memory(method, other_weights(head), images=IMAGES, side=4)
    state = steps.restart(weights(head), TX, memory=memory)
    return state.replace(teacher=other_weights(head))


@functools.cache
def compiled(method: str, **changes):
    """The step on one device; compiled once for all tests that use it."""
    return jax.jit(make_step(method, net(method), **changes))


def net(method: str, axis_name: str | None = None):
    return Net(axis_name, METHODS[method].head)


def make_step(method: str, net, *, axis_name=None, **changes):
    # its terms are sums over cells, and grow what rounding there is
    tx = optax.sgd(0.003) if METHODS[method].cells else TX
    options = {"axis_name": axis_name, "ramp_steps": RAMP, **changes}
    return small.distill_step(method, net, tx, **options)


@functools.cache
def begun(method: str, *, at: int = RAMP):
    """The state after one step, which fills a memory; its clock then set to `at`."""
    state, _ = compiled(method)(fresh_state(method), make_batch())
    return state.replace(step=jnp.int32(at))


def largest_difference(a, b):
    differences = jax.tree.map(
        lambda x, y: np.abs(np.asarray(x) - np.asarray(y)).max(), a, b
    )
    return max(jax.tree.leaves(differences))


# --- the whole table


@pytest.mark.parametrize("method", USING_P)
def test_the_term_on_p_moves_the_student(method):
    """A term whose gradient is zero fails: with more weight the update is another."""
    full, metrics = compiled(method)(begun(method), make_batch(seed=1))
    little, _ = compiled(method)(begun(method, at=0), make_batch(seed=1))
    # one program: the difference of two dead terms would be exactly 0
    assert largest_difference(full.student["params"], little.student["params"]) > 1e-7
    assert metrics["pseudo/distill_grad_norm"] > 1e-6


@functools.cache
def student_pass():
    student = weights()  # made outside of jit, which compiles it with other options
    return jax.jit(
        lambda x: Net().apply(student, x, train=True, mutable=["batch_stats"])[0]
    )


def maps_of(method: str, batch):
    """The student's logits on R and N, and on P, and what its guide says there."""
    weak, row = batch.weak, METHODS[method]
    views = [batch.labelled.image, weak.student_image]
    views += [weak.image] if row.guide == "second_view" else []
    labelled, *on_p = np.split(student_pass()(np.concatenate(views)), [16, 24])
    if row.guide == "second_view":
        return labelled, on_p[0], on_p[1]
    look = methods.GUIDES[row.guide].look if row.guide else None
    state = begun(method).replace(student=weights())
    apply = jax.jit(partial(Net().apply, train=False))
    return labelled, on_p[0], look(apply, state, weak) if look else None


@pytest.mark.parametrize("method", USING_P)
def test_each_term_is_the_mean_over_its_own_images(method):
    """By closed form: a term divided by any count but its own fails. And an image's
    value depends on no other image."""
    functions, batch = bound(method), make_batch(seed=1)
    labelled, on_p, guidance = maps_of(method, batch)

    @jax.jit
    def loss_terms(labels, labelled, weak, on_p, guidance):
        target = functions.target(guidance, weak) if functions.guide else None
        distill = functions.weak(target, on_p, weak)
        return functions.labelled(labelled, labels), distill

    images = (batch.labelled, labelled, batch.weak, on_p, guidance)
    values = loss_terms(*images)
    state = begun(method).replace(student=weights())
    _, metrics = compiled(method)(state, batch)
    turned = loss_terms(*jax.tree.map(lambda x: np.roll(x, 1, axis=0), images))
    counted = np.ones(16), functions.counted(batch.weak)
    names = ("supervised", "labelled"), ("distill", "image_level")
    for value, rolled, own, (loss, images) in zip(
        values, turned, counted, names, strict=True
    ):
        mean = np.average(value, weights=own)
        np.testing.assert_allclose(metrics[f"loss/{loss}"], mean, rtol=1e-4)
        np.testing.assert_allclose(rolled, np.roll(value, 1), rtol=1e-5)
        assert value[0] == 0.0 < value[-1]  # the first is all padding
        assert metrics[f"images/{images}"] == own.sum()


@pytest.mark.parametrize("method", METHODS)
def test_the_teacher_is_the_average_of_the_student_and_of_its_statistics(method):
    state = begun(method)
    after, metrics = compiled(method)(state, make_batch(seed=1))
    expected = ema.update(state.teacher, after.student, metrics["ema_decay"])
    assert largest_difference(after.teacher, expected) < 1e-6
    assert largest_difference(
        after.teacher["batch_stats"], state.teacher["batch_stats"]
    )


@pytest.mark.parametrize("method", WITH_TEACHER)
def test_a_teacher_is_not_normalised_by_its_own_batch(method):
    """Images that change places between two batches are to it what they were."""
    one, other = make_batch(seed=1), make_batch(seed=2)
    mine = np.arange(IMAGES) % 2 == 0

    def mixed(a, b):
        chosen = jax.tree.map(
            lambda x, y: np.where(mine.reshape(-1, *[1] * (x.ndim - 1)), x, y),
            a.weak,
            b.weak,
        )
        return a.replace(weak=chosen)

    def monitors(*batches):
        both = [compiled(method)(begun(method), batch)[1] for batch in batches]
        return [
            sum(m[f"pseudo/{n}"] for m in both) for n in ("mean_peak", "mean_target")
        ]

    expected = monitors(one, other)
    got = monitors(mixed(one, other), mixed(other, one))
    np.testing.assert_allclose(got, expected, rtol=1e-5)


@pytest.mark.parametrize("method", METHODS)
def test_four_devices_equal_one_with_the_whole_batch(method):
    state, batches = fresh_state(method), [make_batch(), make_batch(seed=1)]
    step = devices.data_parallel(
        make_step(method, net(method, devices.AXIS), axis_name=devices.AXIS)
    )
    many, one = devices.replicate(state), state
    for batch in batches:
        many, of_many = step(many, devices.shard(batch))
        one, of_one = compiled(method)(one, batch)
    devices.assert_replicated(many)
    assert largest_difference(devices.to_host(many), one) < 5e-6
    for name, value in of_one.items():
        np.testing.assert_allclose(of_many[name], value, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("method", ["aals", "pi_model", "oracle"])
def test_with_dropout_and_equal_images_four_devices_still_equal_one(method):
    state, batch = fresh_state(method), make_batch(dropout_channels=8)
    options = {"image_weights": True}
    net = Net(devices.AXIS)
    step = devices.data_parallel(
        make_step(method, net, axis_name=devices.AXIS, **options)
    )
    many, of_many = step(devices.replicate(state), devices.shard(batch))
    one, of_one = compiled(method, **options)(state, batch)
    assert largest_difference(devices.to_host(many), one) < 5e-6
    on_p = bound(method).counted(batch.weak).sum()
    ratio = of_one["loss/distill_weighted"] / of_one["loss/distill"]
    share = np.exp(-5.0) * on_p / 16  # at the start of the ramp
    np.testing.assert_allclose(ratio, 0.7 * share, rtol=1e-5)
    without, _ = compiled(method, **options)(state, make_batch())
    assert largest_difference(one.student, without.student) > 1e-5
    for name, value in of_one.items():
        np.testing.assert_allclose(of_many[name], value, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("method", ["aals", "pi_model"])
def test_dropout_takes_each_view_of_p_by_factors_of_its_own(method):
    """The student's by the first, a second view by the second; a teacher's by none."""
    state, batch = begun(method), make_batch(seed=1, dropout_channels=8)
    after, _ = compiled(method)(state, batch)
    for view, is_read in enumerate((True, METHODS[method].guide == "second_view")):
        keep = batch.weak.keep.copy()
        keep[:, view] = 2.0 - keep[:, view]  # the other half of the channels
        other = batch.replace(weak=batch.weak.replace(keep=keep))
        got, _ = compiled(method)(state, other)
        assert (largest_difference(after.student, got.student) > 1e-6) == is_read


@pytest.mark.parametrize("method", METHODS)
def test_only_the_oracle_depends_on_the_boxes_that_p_withholds(method):
    """Bit for bit, with other boxes and with none there."""
    state, batch = begun(method), make_batch(seed=1)
    there = batch.weak.withheld
    moved = there.replace(target=1.0 - there.target)
    step = compiled(method)
    after, metrics = step(state, batch)
    if METHODS[method].withheld:
        other = batch.replace(weak=batch.weak.replace(withheld=moved))
        assert largest_difference(after, step(state, other)[0]) > 1e-4
        return
    for withheld in (moved, None):
        other = batch.replace(weak=batch.weak.replace(withheld=withheld))
        got, of_other = step(state, other)
        assert largest_difference(after, got) == 0.0
        assert metrics == of_other


def test_a_missing_reduction_of_the_memory_raises_under_vmap():
    split = jax.tree.map(lambda x: x.reshape(4, -1, *x.shape[1:]), make_batch())
    method = "temporal_ensembling"

    def run(axis_name):
        step = make_step(method, Net("batch"), axis_name=axis_name)
        mapped = jax.vmap(step, axis_name="batch", in_axes=(None, 0), out_axes=None)
        return jax.eval_shape(mapped, fresh_state(method), split)

    run("batch")
    with pytest.raises(ValueError, match="out_axes"):
        run(None)


def config_of(method: str):
    config = base.get_config("clavicle")
    config.method = method
    return config


@pytest.mark.parametrize("method", METHODS)
def test_what_compares_two_views_starts_with_almost_no_weight(method):
    """As configured: consistency ramps, the other methods have full weight at once."""
    config = config_of(method)
    ramp = stages.ramp_steps(config)
    assert METHODS[method].ramps == (ramp > 0)
    assert ramp < config.distill.steps
    config.distill.ramp_steps = 7
    assert stages.ramp_steps(config) == 7


@pytest.mark.parametrize("method", USING_P)
def test_the_weight_follows_the_ramp(method):
    for number, share in ((0, np.exp(-5.0)), (RAMP // 2, np.exp(-1.25)), (RAMP, 1.0)):
        _, m = compiled(method)(begun(method, at=number), make_batch(seed=1))
        ratio = m["loss/distill_weighted"] / m["loss/distill"]
        np.testing.assert_allclose(ratio, 0.7 * share, rtol=1e-4)
        total = m["loss/supervised"] + m["loss/distill_weighted"]
        np.testing.assert_allclose(m["loss/total"], total, rtol=1e-6)


def test_rows_of_the_table_fit_together():
    for row in METHODS.values():
        # as the step reads it: a look, or the second view in the student's own pass
        guide = methods.GUIDES[row.guide] if row.guide else None
        assert guide is None or (guide.look is None) == (row.guide == "second_view")
        assert row.guide is None or row.guide in methods.GUIDES
        assert (row.guide is None) or row.weak is not None
        # stage 1 has no teacher yet
        assert not (row.from_start and row.guide)
        # what is learnt from P, and the dense loss of stage 1, are of maps
        assert row.head == "map" or (row.from_start and row.weak is None)


# --- what single rows are


def test_without_strength_the_sharpened_methods_are_one_bit_for_bit():
    """a0 = 1: the average's own map, whichever operator; and the fixed teacher's,
    where it is the average."""

    def after(method, **changes):
        state = fresh_state(method).replace(step=jnp.int32(RAMP))
        return compiled(method, **changes)(state, make_batch())[0].student

    plain = after("self_training")
    for method in ("aals", "asymmetric", "temperature"):
        assert largest_difference(plain, after(method, max_strength=1.0)) == 0.0
        assert largest_difference(plain, after(method)) > 1e-5


def target_of(method: str, probability: float, lesions=-1, **changes) -> float:
    """The target at the peak of a map that is low elsewhere."""
    logits = jnp.full((1, 4, 4), -4.0).at[0, 1, 1].set(logit(probability))
    weak = make_batch(weak=1, side=16).weak
    weak = weak.replace(valid=np.ones((1, 4, 4)), lesions=np.array([lesions]))
    target = bound(method, **changes).target(logits, weak)
    return float(jax.nn.sigmoid(target)[0, 1, 1])


@pytest.mark.parametrize("method, peak, expected", [
    ("aals", 0.60, 0.7988),
    ("aals", 0.20, 0.2000),
    ("asymmetric", 0.60, 0.9447),
    ("asymmetric", 0.45, 0.6020),
    ("asymmetric", 0.20, 0.2000),
    ("temperature", 0.60, 0.8351),
    ("temperature", 0.45, 0.3095),
    ("pseudo_label", 0.51, 1.0000),
    ("pseudo_label", 0.49, 0.0000),
    ("self_training", 0.49, 0.4900),
    ("mean_teacher", 0.49, 0.4900),
])  # fmt: skip
def test_golden_targets_at_the_peak(method, peak, expected):
    assert target_of(method, peak) == pytest.approx(expected, abs=5e-5)


def test_our_options_of_aals_move_the_center_and_only_where_they_say():
    """Closed forms: t is half the peak of a dead image; or the second pixel of one
    lesion's pixel."""

    def expected(peak, center):
        a = 4.0 - 3.0 * peak
        return expit(a * logit(peak) + (1 - a) * center)

    raised = {"dead_zone": "raise", "dead_zone_share": 0.5}
    got = target_of("aals", 0.2, **raised)
    assert got == pytest.approx(expected(0.2, logit(0.1)), abs=1e-5)
    for peak in (0.45, 0.8):
        assert target_of("aals", peak, **raised) == target_of("aals", peak)
    counted = {"lesion_area": 1 / 16}
    assert target_of("aals", 0.2, **counted) == target_of("aals", 0.2)  # unknown
    got = target_of("aals", 0.2, lesions=1, **counted)
    assert got == pytest.approx(expected(0.2, -4.0), abs=1e-5)


@pytest.mark.parametrize("peak", [0.05, 0.3, 0.45, 0.7, 0.97])
@pytest.mark.parametrize("strength", [1.0, 2.0, 8.0])
def test_fixed_strength_is_the_papers_operator_without_its_adaptation(peak, strength):
    sharpened = expit(strength * logit(peak) + (1 - strength) * logit(0.4))
    expected = max(sharpened, peak)
    got = target_of("asymmetric", peak, max_strength=strength)
    assert got == pytest.approx(expected, abs=1e-5)
    got = target_of("temperature", peak, max_strength=strength)
    assert got == pytest.approx(expit(strength * logit(peak)), abs=1e-5)


def test_the_fixed_teacher_stays_and_is_the_first_stages_student():
    memory = methods.initial_memory("self_training", weights(), images=1, side=1)
    assert largest_difference(memory, weights()) == 0.0
    state = begun("self_training")
    after, _ = compiled("self_training")(state, make_batch(seed=1))
    assert largest_difference(after.memory, state.memory) == 0.0
    assert largest_difference(after.teacher, state.teacher) > 1e-5


@pytest.mark.parametrize("method", ["image_level", "chexnet"])
def test_the_image_level_methods_read_no_box(method):
    state, batch = begun(method), make_batch(seed=1)
    moved = batch.labelled.replace(target=1.0 - batch.labelled.target)
    step = compiled(method)
    a, b = (step(state, x)[0] for x in (batch, batch.replace(labelled=moved)))
    assert largest_difference(a, b) == 0.0
    other = batch.labelled.replace(label=1.0 - batch.labelled.label)
    assert largest_difference(a, step(state, batch.replace(labelled=other))[0]) > 1e-4


def test_the_pi_model_learns_from_its_two_views_alike():
    """They can change places: the gradient goes through both of them."""
    batch, state = make_batch(seed=1), begun("pi_model")
    weak, step = batch.weak, compiled("pi_model")
    turned = weak.replace(image=weak.student_image, student_image=weak.image)
    one, other = (step(state, b)[0] for b in (batch, batch.replace(weak=turned)))
    assert largest_difference(one.student["params"], other.student["params"]) < 1e-6


def all_of_p_labelled(batch):
    """R, N and the images of P that have a box, as the supervised step takes them."""
    weak, rows = batch.weak, batch.weak.withheld.boxed > 0
    on_p = Labelled(
        image=weak.student_image[rows],
        target=weak.withheld.target[rows],
        valid=weak.valid[rows],
        label=np.ones(rows.sum(), np.float32),
        boxes=None,
        keep=None,
    )
    labelled = batch.labelled.replace(boxes=None)
    joined = jax.tree.map(lambda *x: np.concatenate(x), labelled, on_p)
    return batch.replace(labelled=joined, weak=None)


def test_the_oracle_is_supervised_training_on_all_boxes():
    """With equal weights and all of P boxed its gradient is that of one dense step on
    R, N and P; SGD, so the update is the gradient."""
    batch, state = make_batch(seed=1), fresh_state("oracle")
    withheld = batch.weak.withheld.replace(boxed=np.ones(IMAGES, np.float32))
    batch = batch.replace(weak=batch.weak.replace(withheld=withheld))
    together = all_of_p_labelled(batch)
    oracle = small.distill_step(
        "oracle", Net(), optax.sgd(0.3), distill_weight=1.0, image_weights=True
    )
    # a mean over 24 where the oracle's total is a sum over 16: 1.5 times as large
    supervised = small.distill_step("supervised", Net(), optax.sgd(0.45))
    one, of_one = jax.jit(oracle)(state, batch)
    other, of_other = jax.jit(supervised)(state, together)
    assert largest_difference(one, other) < 1e-6
    assert largest_difference(one.student["params"], weights()["params"]) > 1e-4
    np.testing.assert_allclose(
        of_one["loss/total"], 1.5 * of_other["loss/total"], rtol=1e-5
    )


def test_images_of_p_without_a_box_carry_no_loss_in_the_oracle():
    state, batch = begun("oracle"), make_batch(seed=1)
    there = batch.weak.withheld
    target = np.where(there.boxed[:, None, None] > 0, there.target, 1 - there.target)
    other = batch.weak.replace(withheld=there.replace(target=target))
    step = compiled("oracle")
    a, b = (step(state, x)[0] for x in (batch, batch.replace(weak=other)))
    assert largest_difference(a, b) == 0.0


def test_the_pooled_label_is_supervised_with_a_little_of_the_image_level_method():
    batch = make_batch(seed=1)
    pooled, image_level = bound("pooled_label", pooled_weight=0.2), bound("image_level")
    logits = jax.random.normal(jax.random.key(0), batch.weak.valid.shape)
    np.testing.assert_allclose(
        pooled.weak(None, logits, batch.weak),
        0.2 * image_level.weak(None, logits, batch.weak),
    )
    assert pooled.labelled is methods.dense


def test_a_class_activation_map_is_pooled_by_its_mean_over_film():
    """Closed form, in float64: the cross-entropy of the mean logit."""
    batch = make_batch(seed=1)
    logits = np.random.default_rng(0).normal(size=batch.labelled.valid.shape)
    functions = bound("chexnet")
    got = functions.labelled(jnp.float32(logits), batch.labelled)
    film, label = batch.labelled.valid.astype(np.float64), batch.labelled.label
    mean = (logits * film).sum((1, 2))[1:] / film.sum((1, 2))[1:]
    signed = np.where(label[1:] > 0, mean, -mean)
    np.testing.assert_allclose(got[1:], np.log1p(np.exp(-signed)), rtol=1e-5)
    on_p = functions.weak(None, jnp.float32(logits[:8]), batch.weak)
    film = batch.weak.valid.astype(np.float64)
    mean = (logits[:8] * film).sum((1, 2))[1:] / film.sum((1, 2))[1:]
    np.testing.assert_allclose(on_p[1:], np.log1p(np.exp(-mean)), rtol=1e-5)


def test_dense_teacher_with_all_of_the_film_and_no_focus_is_plain_distillation():
    """Up to its divisor: soft cross-entropy, whose gradient is the KL's."""
    weak = make_batch(seed=1).weak
    teacher, student = jax.random.normal(jax.random.key(0), (2, *weak.valid.shape))
    functions = bound("dense_teacher", region_share=1.0, focus=0.0)

    def dense_teacher(logits):
        return functions.weak(functions.target(teacher, weak), logits, weak)

    def plain(logits):
        return methods.divergence(teacher, logits, weak)

    gradients = [
        jax.jit(jax.grad(lambda z, f=f: f(z).sum()))(student)
        for f in (dense_teacher, plain)
    ]
    pixels = weak.valid.sum((1, 2))
    mass = (jax.nn.sigmoid(teacher) * weak.valid).sum((1, 2))
    divisor = np.maximum(mass, 1.0) / np.maximum(pixels, 1.0)
    np.testing.assert_allclose(
        gradients[0] * divisor[:, None, None], gradients[1], rtol=1e-4, atol=1e-7
    )


def test_cells_are_likelihoods_of_li_et_al():
    """Products over cells, as printed, in float64."""
    rng = np.random.default_rng(0)
    logits = rng.normal(size=(2, 4, 4)).astype(np.float32)
    batch = make_batch(2, 2, side=16)
    target = np.zeros((2, 4, 4), np.float32)
    target[0, 1, 1] = 1.0  # in the first of four cells
    valid = np.ones((2, 4, 4), np.float32)
    labelled = batch.labelled.replace(target=target, valid=valid)
    p = expit(logits.astype(np.float64).reshape(2, 2, 2, 2, 2).mean(axis=(2, 4)))
    boxed, bare = p[0].ravel(), p[1].ravel()
    got = methods.boxed_cells(jnp.array(logits), labelled, cell=2, box_weight=5.0)
    expected = [
        -5 * np.log(boxed[0] * np.prod(1 - boxed[1:])),
        -np.log(np.prod(1 - bare)),
    ]
    np.testing.assert_allclose(got, expected, rtol=1e-5)
    weak = batch.weak.replace(valid=valid)
    got = methods.any_cell(None, jnp.array(logits), weak, cell=2)
    expected = [-np.log(1 - np.prod(1 - boxed)), -np.log(1 - np.prod(1 - bare))]
    np.testing.assert_allclose(got, expected, rtol=1e-5)


def test_the_grid_is_of_the_net_in_training_and_testing():
    config = config_of("mil")
    assert stages.make_model(config, axis_name=None).cell == config.distill.cell
    assert stages.make_model(config_of("aals"), axis_name=None).cell == 1


def test_the_example_of_the_docs_is_a_method(monkeypatch):
    """docs/methods.md: its function and its row, trained for one step."""
    page = (Path(__file__).parents[2] / "docs" / "methods.md").read_text()
    _, code = page.split("```python\n")
    example = {}
    exec(code.split("```")[0], example)
    for name, row in example["ROW"].items():
        monkeypatch.setitem(METHODS, name, row)
    check.check_config(config_of("capped"))
    test_the_term_on_p_moves_the_student("capped")
    assert target_of("capped", 0.97) == pytest.approx(0.9)
    assert target_of("capped", 0.6) == pytest.approx(0.6)


def test_each_constant_comes_from_the_field_that_its_row_names():
    def capped(logits, weak, *, highest, sharpness):
        return highest, sharpness

    rule = methods.Configured(capped, "highest", sharpness="max_strength")
    bound_rule = rule.bind({"highest": 0.9, "max_strength": 4.0, "center": 0.4})
    assert bound_rule(None, None) == (0.9, 4.0)
    with pytest.raises(KeyError, match="highest"):
        rule.bind(small.settings())


@pytest.mark.parametrize("method", METHODS)
def test_a_row_names_every_constant_of_its_functions_and_fields_that_exist(method):
    row = METHODS[method]
    guide = methods.GUIDES[row.guide] if row.guide else methods.Guide()
    of_the_step = {"axis_name"}  # a memory's, beside its constants
    for entry in (row.labelled, row.target, row.weak, guide.remember):
        is_configured = isinstance(entry, methods.Configured)
        fields = entry.field_of if is_configured else {}
        function = entry.function if is_configured else entry
        parameters = inspect.signature(function).parameters if function else {}
        keywords = {p.name for p in parameters.values() if p.kind is p.KEYWORD_ONLY}
        assert keywords - of_the_step == set(fields)
        assert set(fields.values()) <= small.settings().keys()


def test_the_docs_have_each_method_once():
    page = (Path(__file__).parents[2] / "docs" / "methods.md").read_text()
    rows = [line.split("`")[1] for line in page.splitlines() if line.startswith("| `")]
    assert rows == list(METHODS)
