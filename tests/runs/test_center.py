"""t from validation's peaks: which images count, who decides, what is kept and said."""

import json

import jax
import numpy as np
import pytest

from aals_jax.evaluation.evaluator import TrainedModel
from aals_jax.method.methods import METHODS
from aals_jax.runs import center, check, identity, run, stages
from aals_jax.runtime import hosts
from configs.sweeps import tiny
from tests.support import placed_maps, small
from tests.support.small_runs import run_until_killed, small_config

WEIGHTS = {"params": {"w": np.arange(3.0)}}


def config_with(**changes):
    config = tiny.tiny()
    config.update_from_flattened_dict({f"distill.{k}": v for k, v in changes.items()})
    return config


def evaluator_of(values, labels, boxed):
    """Of a validation set with these peaks."""
    table = placed_maps.table_of(labels, boxed)
    peaks = {f"i{i}": value for i, value in enumerate(values)}
    return placed_maps.evaluator_of(table, table, peaks=peaks)


# peaks of ten positives are 0.05, 0.10, ..., 0.50, of which three have a box; the lower
# ones of two negatives and of an unknown count nowhere
PEAKS = [0.05 * (1 + i) for i in range(10)] + [0.01, 0.02, 0.03]
LABELS, BOXED = [1] * 10 + [0, 0, -1], [1] * 3 + [0] * 10
START = TrainedModel("pretrained", 7, WEIGHTS)


def decided(tmp_path, share, *, most=0.4, values=PEAKS, start=START):
    config = config_with(dead_share=share, center=most)
    return center.decide(config, evaluator_of(values, LABELS, BOXED), start, tmp_path)


@pytest.mark.parametrize(
    "share, expected, lower",
    [(0.2, 0.10, 1), (0.3, 0.15, 2), (0.6, 0.30, 5), (0.9, 0.4, 7)],
)
def test_t_is_of_all_known_positives_and_of_nothing_else(
    tmp_path, share, expected, lower
):
    found = decided(tmp_path, share)
    assert found is not None
    assert found.value == pytest.approx(expected, rel=1e-6)
    assert (found.lower, found.positives) == (lower, 10)


def test_without_a_share_there_is_nothing_to_decide_and_nothing_is_written(tmp_path):
    assert decided(tmp_path, 0.0) is None
    assert not list(tmp_path.iterdir())


def test_a_run_that_goes_on_has_the_same_t_in_every_bit(tmp_path):
    """Also where its maps are rounded otherwise, as on other devices."""
    first = decided(tmp_path, 0.3)
    again = decided(tmp_path, 0.3, values=np.nextafter(np.float32(PEAKS), 1))
    assert again == first


@pytest.mark.parametrize("spoil", [
    lambda path: path.write_text(path.read_text()[:40]),
    lambda path: path.write_text("[]"),
    lambda path: path.write_text(path.read_text().replace("lower", "upper")),
    lambda path: path.unlink(),
])  # fmt: skip
def test_what_is_damaged_or_gone_is_found_again(tmp_path, spoil):
    first = decided(tmp_path, 0.3)
    spoil(tmp_path / center.FILE)
    assert decided(tmp_path, 0.3) == first
    assert json.loads((tmp_path / center.FILE).read_text())["center"]["lower"] == 2


def test_what_was_found_for_others_is_not_taken(tmp_path):
    """Other weights, another share, another t of the config."""
    halves = [value / 2 for value in PEAKS]
    other = TrainedModel("pretrained", 7, {"params": {"w": np.zeros(3)}})
    before = decided(tmp_path, 0.3)
    after = decided(tmp_path, 0.3, values=halves, start=other)
    assert before is not None and after is not None
    assert after.value == pytest.approx(before.value / 2)
    assert decided(tmp_path, 0.6, values=halves, start=other) != after
    found = decided(tmp_path, 0.6, most=0.1, values=halves, start=other)
    assert found is not None and found.value == 0.1


def test_host_0_decides_and_the_others_hear(tmp_path, monkeypatch):
    """A host that would have found another t takes host 0's, and writes nothing."""
    first = decided(tmp_path, 0.3)
    file = tmp_path / center.FILE
    told = iter([None, json.loads(file.read_text())["center"]])
    file.unlink()
    monkeypatch.setattr(hosts, "from_primary", lambda make: next(told))
    halves = [value / 2 for value in PEAKS]
    assert decided(tmp_path, 0.3, values=halves) == first
    assert not file.exists()


def test_peaks_of_0_are_no_t(tmp_path):
    with pytest.raises(ValueError, match="0 everywhere on 9 of validation's 10"):
        decided(tmp_path, 0.3, values=[0.0] * 9 + PEAKS[9:])
    assert not (tmp_path / center.FILE).exists()


def test_log_and_page_say_where_t_is_from(tmp_path):
    config = config_with(dead_share=0.2, center=0.4)
    lowered = center.Center(0.23456, 11, 57)
    assert center.sentence(config, lowered) == (
        "t = 0.235, from validation's peaks, in place of 0.4 (distill.dead_share=0.2: "
        "11 of validation's 57 positives have a lower peak)."
    )
    assert "t = 0.4, as distill.center says" in center.sentence(
        config, center.Center(0.4, 3, 57)
    )


@pytest.mark.parametrize("share, least", [(0.2, 20), (0.04, 24)])
def test_too_few_positives_are_refused_before_anything_is_trained(share, least):
    config = config_with(dead_share=share)
    for count, refused in ((least, False), (least - 1, True)):
        labels = [1] * count + [0] * 30 + [-1] * 30
        data = evaluator_of([0.5] * len(labels), labels, [0] * len(labels)).data
        center.check_positives(config_with(), data)  # without the option: never
        if not refused:
            center.check_positives(config, data)
            continue
        with pytest.raises(ValueError) as caught:
            center.check_positives(config, data)
        for words in (f"at least {least}", f"has {count} for", "distill.dead_share=0,"):
            assert words in str(caught.value)


@pytest.mark.parametrize("method", METHODS)
def test_only_a_method_with_a_t_may_have_it_lowered(method):
    config = config_with()
    config.method = method
    check.check_fields(config)
    config.distill.dead_share = 0.2
    if method in ("aals", "asymmetric"):
        check.check_fields(config)
        return
    with pytest.raises(ValueError, match=f"must be 0 with method='{method}'"):
        check.check_fields(config)


def test_a_run_without_the_option_is_the_run_that_it_was():
    assert identity.LATER["distill.dead_share"] == 0.0
    stage = stages.distill_stage(
        config_with(), stages.initial_state(config_with(), 64), images=4, side=64
    )
    assert stage.found == {}


@pytest.mark.parametrize("method", ["aals", "asymmetric"])
def test_the_step_is_that_of_a_config_with_this_t(method, monkeypatch):
    """Bit for bit: targets, and the dead share of the monitors."""
    monkeypatch.setattr(stages, "make_model", lambda _, axis_name: small.Net(axis_name))

    def metrics(most, t=None):
        config = config_with(center=most)
        config.method = method
        step = jax.jit(stages.make_distill(config, axis_name=None, center=t))
        return step(stages.initial_state(config, 32), small.make_batch())[1]

    lowered, expected, untouched = metrics(0.9, 0.4), metrics(0.4), metrics(0.9)
    assert {k: float(v) for k, v in lowered.items()} == {
        k: float(v) for k, v in expected.items()
    }
    assert lowered["pseudo/share_dead"] < untouched["pseudo/share_dead"]


def test_a_run_that_was_killed_goes_on_with_its_t(compiled_once, monkeypatch):
    """Killed in stage 2, and the cached maps deleted; t is in every row, in the
    monitors and on the page."""
    monkeypatch.setattr(center, "LEAST", 1)
    changes = {"distill.dead_share": 0.5}
    config = small_config(compiled_once / "data", **changes)
    workdir = compiled_once / "run"
    run_until_killed(monkeypatch, config, workdir, validation=4)
    kept = (workdir / center.FILE).read_bytes()
    for path in (workdir / "predictions").iterdir():
        path.unlink()
    run.run(config, workdir)
    assert (workdir / center.FILE).read_bytes() == kept
    t = json.loads(kept)["center"]["value"]
    rows = [json.loads(x) for x in (workdir / "metrics.jsonl").read_text().splitlines()]
    assert [row["pseudo/center"] for row in rows if row["stage"] == "distill"] == [t, t]
    assert not any("pseudo/center" in r for r in rows if r["stage"] == "pretrain")
    result = json.loads((workdir / "result.json").read_text())
    assert result["monitors"]["center"] == t < 0.4
    (note,) = [n for n in result["notes"] if n.startswith("t = ")]
    page = (workdir / "report.html").read_text()
    assert note.split(",")[0] in page and "from validation&#39;s peaks" in page
