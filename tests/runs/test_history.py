"""Laws of a run's history: a resumed one has each step once, and alarms are heard."""

import logging

import jax.numpy as jnp
import numpy as np
import pytest

from aals_jax.runs.history import History, Window, read_history
from aals_jax.runtime import devices, log


def write_history(workdir, stage, steps, *, start=0):
    history = History(workdir, stage, step=start)
    for step in steps:
        history.write(step, {"loss/total": step / 10})
    history.close()


def rows(workdir):
    return [(row["stage"], row["step"]) for row in read_history(workdir)]


def test_history_reads_back_what_was_written(tmp_path):
    write_history(tmp_path, "pretrain", [1, 2])
    assert read_history(tmp_path) == [
        {"stage": "pretrain", "step": 1, "loss/total": 0.1},
        {"stage": "pretrain", "step": 2, "loss/total": 0.2},
    ]


def test_a_resumed_stage_forgets_what_it_does_again_and_nothing_else(tmp_path):
    write_history(tmp_path, "pretrain", [2, 4, 6])
    write_history(tmp_path, "distill", [2, 4, 6])
    write_history(tmp_path, "distill", [4, 6], start=2)
    assert rows(tmp_path) == [
        *[("pretrain", step) for step in (2, 4, 6)],
        *[("distill", step) for step in (2, 4, 6)],
    ]


def test_a_line_cut_off_by_a_kill_is_dropped(tmp_path):
    write_history(tmp_path, "pretrain", [1, 2])
    path = tmp_path / "metrics.jsonl"
    whole = path.read_text()
    for cut in range(1, len(whole.splitlines()[-1])):
        path.write_text(whole[: -1 - cut])
        assert rows(tmp_path) == [("pretrain", 1)]
    write_history(tmp_path, "pretrain", [2, 3], start=1)
    assert rows(tmp_path) == [("pretrain", step) for step in (1, 2, 3)]


def test_no_history_is_an_empty_one(tmp_path):
    assert read_history(tmp_path) == []


def add(window, steps=1, **values):
    for _ in range(steps):
        metrics = {
            name.replace("__", "/"): jnp.float32(v) for name, v in values.items()
        }
        window.add(devices.replicate(metrics))


def test_a_window_gives_the_means_of_its_own_steps():
    window = Window("distill")
    for values in ([1.0, 2.0, 6.0], [4.0, 6.0]):
        for value in values:
            add(window, loss__total=value, grad_norm=2 * value)
        closed = window.close(9)
        np.testing.assert_allclose(closed["loss/total"], np.mean(values), rtol=1e-6)
        np.testing.assert_allclose(closed["grad_norm"], 2 * np.mean(values), rtol=1e-6)


def test_of_a_largest_value_a_window_gives_the_largest():
    window = Window("distill")
    for values in ([0.1, 0.4, 0.2], [0.1, 0.2]):
        for value in values:
            add(window, loss__total=1.0, pseudo__lift_largest=value)
        closed = window.close(9)
        np.testing.assert_allclose(closed["pseudo/lift_largest"], max(values))
        assert closed["loss/total"] == 1.0


def test_the_share_of_waiting_is_a_share():
    window = Window("distill")
    with window.waiting():
        pass
    add(window, loss__total=1.0)
    closed = window.close(1)
    assert 0.0 <= closed["time/data_wait_share"] < 1.0
    assert closed["time/steps_per_s"] > 0.0


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_a_non_finite_loss_stops_with_stage_step_and_names(bad):
    window = Window("distill")
    add(window, steps=3, loss__total=1.0, loss__distill=1.0)
    add(window, loss__total=bad, loss__distill=bad)
    with pytest.raises(FloatingPointError) as caught:
        window.close(120)
    assert str(caught.value).startswith(
        "distill: loss/distill, loss/total not finite within the 4 steps up to 120"
    )


@pytest.fixture
def alarms(caplog):
    """The warnings so far, also where a run has set up its own handler before."""
    log.logger.addHandler(caplog.handler)
    caplog.set_level(logging.WARNING, logger=log.logger.name)
    yield lambda: {record.getMessage() for record in caplog.records}
    log.logger.removeHandler(caplog.handler)


def test_the_alarm_comes_after_a_hundred_steps_without_a_gradient(alarms):
    window = Window("distill")
    for closed in range(40, 121, 40):
        add(window, steps=40, loss__total=1.0, pseudo__distill_grad_norm=0.0)
        window.close(closed)
        assert bool(alarms()) == (closed >= 100)
    (alarm,) = alarms()
    assert "no gradient for 120 steps (step 120)" in alarm


def test_one_step_with_a_gradient_starts_the_count_anew(alarms):
    window = Window("distill")
    for closed, norm in [(60, 0.0), (120, 1e-6), (180, 0.0)]:
        add(window, steps=60, loss__total=1.0, pseudo__distill_grad_norm=norm)
        window.close(closed)
    assert not alarms()


def test_a_stage_without_distillation_gives_no_alarm(alarms):
    window = Window("pretrain")
    add(window, steps=150, loss__total=1.0)
    window.close(150)
    assert not alarms()
