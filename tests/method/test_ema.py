import jax.numpy as jnp
import numpy as np

from aals_jax.method import ema


def test_teacher_after_k_steps_is_the_closed_form_average():
    rng = np.random.default_rng(0)
    students = rng.normal(size=(6, 3)).astype(np.float32)
    decay, start = 0.9, np.ones(3, np.float32)
    teacher = {"params": {"w": start}, "batch_stats": {"mean": start * 2}}
    for w in students:
        student = {"params": {"w": w}, "batch_stats": {"mean": 2 * w}}
        teacher = ema.update(teacher, student, jnp.float32(decay))
    k = len(students)
    weights = (1 - decay) * decay ** np.arange(k)[::-1]
    expected = decay**k * start + weights @ students
    np.testing.assert_allclose(teacher["params"]["w"], expected, rtol=1e-5)
    np.testing.assert_allclose(teacher["batch_stats"]["mean"], 2 * expected, rtol=1e-5)


def test_warm_up_starts_short_and_ends_at_the_decay():
    decays = [ema.warmed_decay(jnp.int32(t), 0.999) for t in (0, 1, 90, 10**6)]
    np.testing.assert_allclose(np.array(decays), [0.1, 2 / 11, 0.91, 0.999], rtol=1e-6)


def test_a_small_difference_survives_a_decay_near_one():
    teacher, student = {"w": jnp.ones(1)}, {"w": jnp.full(1, 1.001)}
    for _ in range(1000):
        teacher = ema.update(teacher, student, jnp.float32(0.999))
    np.testing.assert_allclose(teacher["w"] - 1, 0.001 * (1 - 0.999**1000), rtol=0.05)
