"""Laws of a plan: what is compiled is what trains, and the largest batch was tried."""

import json
import math

import jax
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from aals_jax.input import prepare
from aals_jax.report import plan as page
from aals_jax.runs import data_options, loop, plan, stages
from aals_jax.runs.lowering import Lowering, images_of
from aals_jax.runtime import devices
from tests.support.small_runs import small_config


def options(tmp_path, **changes):
    return plan.Options(cache=tmp_path / "plans", **({"timed": 1} | changes))


@pytest.mark.parametrize("method, numbers", [
    ("aals", {}),
    ("supervised", {}),
    ("temporal_ensembling", {"images_of_p": 12}),
    ("fcos", {"most_boxes": 3}),
])  # fmt: skip
def test_shapes_are_those_of_the_run_s_own_states_and_batches(method, numbers):
    """Even where a method has a memory, boxes, or no P at all."""
    config = small_config(None, method=method)
    planned = Lowering(config, devices.topology(devices.LOCAL), **numbers)
    first = stages.pretrain_stage(config, 64)
    images = numbers.get("images_of_p", 1)
    second = stages.distill_stage(config, first.initial, images=images, side=64)
    for ours, runs in zip(planned.stages, (first, second), strict=True):
        assert jax.tree.map(_kind, ours.initial) == jax.tree.map(_kind, runs.initial)
        assert (ours.counts, ours.extras) == (runs.counts, runs.extras)


def _kind(x):
    return x.shape, np.dtype(x.dtype).name


def test_the_program_that_is_compiled_is_the_one_that_trains(tmp_path):
    """Text for text: the run's own state and batch, of a dataset, lower to the same."""
    config = small_config(tmp_path)
    data = prepare.open_data(data_options.of(config))
    lowering = Lowering(config, devices.topology(devices.LOCAL))
    first = stages.pretrain_stage(config, data.dataset.side)
    images = len(data.streams.image_level)
    second = stages.distill_stage(config, first.initial, images=images, side=64)
    for planned, stage in zip(lowering.stages, (first, second), strict=True):
        batch = next(loop._batches(stage, data, config, 0))
        step = devices.data_parallel(stage.step)
        trained = step.lower(devices.replicate(stage.initial), devices.shard(batch))
        ours = lowering.step(planned, *images_of(stage.counts))
        assert ours.as_text() == trained.as_text()


@pytest.fixture(scope="module")
def local(tmp_path_factory):
    """The record of a small config on the four devices of the tests, and its folder."""
    folder = tmp_path_factory.mktemp("plan")
    record = plan.plan(small_config(folder), [devices.LOCAL], options(folder))
    plan.write(record, folder / "out")
    return record, folder


def test_devices_at_hand_are_counted_and_timed(local):
    record, _ = local
    (there,) = record["topologies"]
    assert (there["name"], there["devices"], there["ran"]) == ("local", 4, True)
    assert list(there["programs"]) == ["pretrain", "distill", "evaluation"]
    for program in there["programs"].values():
        assert program["flops"] > 1e6 and program["traffic"] > 1e6
        assert program["seconds"] > 0 and program["compile_s"] > 0
        assert program["fits"] is None  # a CPU names no limit
        assert program["needed_bytes"] == (
            program["arguments"] + program["output"] - program["reused"]
            + program["temporary"] + program["code"]
        )  # fmt: skip
    steps = [there["programs"][name] for name in ("pretrain", "distill")]
    assert steps[0]["images"] == {"labelled": 2}
    assert steps[1]["images"] == {"labelled": 2, "image_level": 1}
    assert all(set(step["collectives"]) == {"all-reduce"} for step in steps)
    assert steps[0]["flops"] < steps[1]["flops"]
    assert there["programs"]["evaluation"]["collectives"] == {}


def test_a_plan_is_kept_as_json_and_as_a_page(local):
    record, folder = local
    assert json.loads((folder / "out/plan.json").read_text()) == json.loads(
        json.dumps(record)
    )
    text = (folder / "out/plan.md").read_text()
    assert text == page.render(record)
    assert "measured on 4 x cpu" in text and page.COMPILED not in text


@pytest.mark.parametrize("changes, asked, words", [
    ({"batch.region": 5}, {}, "is not a multiple of the 4 devices"),
    ({"ema_decay": 2.0}, {}, "ema_decay=2.0"),
    ({"method": "temporal_ensembling"}, {}, "--images_of_p"),
    ({"method": "fcos"}, {}, "--most_boxes"),
    ({}, {"largest": True}, "names no limit of its memory"),
])  # fmt: skip
def test_what_can_t_be_planned_is_refused(tmp_path, changes, asked, words):
    config = small_config(tmp_path, **changes)
    with pytest.raises(ValueError, match=words):
        plan.plan(config, [devices.LOCAL], options(tmp_path, **asked))


def test_one_topology_of_several_may_be_too_large(local, tmp_path, monkeypatch):
    """It says why in its place, and the others are planned."""
    four = devices.topology(devices.LOCAL)
    many = devices.Topology("v5e:8x8", [*four.chips] * 16)
    there = {"many": many, "four": four}
    monkeypatch.setattr(devices, "topology", there.get)
    planned = local[0]["topologies"][0]
    monkeypatch.setattr(plan._Planner, "result", lambda self: planned)
    record = plan.plan(small_config(tmp_path), ["many", "four"], options(tmp_path))
    refused, found = record["topologies"]
    assert "is not a multiple of the 64 devices" in refused["refused"]
    assert found == planned
    text = page.render(record)
    assert refused["refused"] in text and page.COMPILED in text


class Lowered:
    """A program that takes `needed` bytes of a TPU with 100."""

    def __init__(self, needed):
        self.needed, self.compiled = needed, 0

    def as_text(self):
        return f"program of {self.needed}"

    def compile(self):
        self.compiled += 1
        if self.needed > 100:
            raise jax.errors.JaxRuntimeError(f"Used {self.needed} of 100 hbm.")
        return jax.jit(lambda x: x).lower(1.0).compile()


@pytest.fixture
def planner(tmp_path):
    """Of a TPU with 100 bytes, in whose place stand the devices at hand."""
    chips = devices.topology(devices.LOCAL).chips
    made = plan._Planner(
        small_config(tmp_path), devices.Topology("v5e:2x2", chips), options(tmp_path)
    )
    made._memory = 100
    return made


def test_what_does_not_fit_is_a_result_and_both_kinds_are_kept(planner):
    for needed, fits in ((40, True), (130, False)):
        lowered = Lowered(needed)
        said = [planner._compile("distill", lowered, {"labelled": 8}, 4) for _ in "ab"]
        assert said[0] == said[1] and lowered.compiled == 1
        assert said[0]["fits"] == fits and said[0]["images"] == {"labelled": 2}
    assert said[0]["needed_bytes"] == 130


def test_a_step_that_runs_out_of_memory_does_not_fit(planner):
    def program(state, batch):
        raise jax.errors.JaxRuntimeError("RESOURCE_EXHAUSTED: Out of memory")

    planner._compiled["distill"] = program
    record = {"fits": True}
    planner._run(record, "distill", np.zeros(3), np.zeros((8, 2)))
    assert record == {"fits": False}


def test_an_error_of_another_kind_stays_one(planner):
    lowered = Lowered(0)
    lowered.compile = lambda: (_ for _ in ()).throw(
        jax.errors.JaxRuntimeError("INTERNAL: no")
    )
    with pytest.raises(jax.errors.JaxRuntimeError, match="INTERNAL"):
        planner._compile("distill", lowered, {"labelled": 8}, 4)


def test_the_largest_batch_has_the_config_s_mix(planner):
    """60 bytes for the weights and 12 for each 2 of R and N with 1 of P: 3 fit."""
    planner._step = lambda stage, units: {
        "needed_bytes": 60 + 12 * units,
        "fits": units <= 3,
    }
    programs = {"pretrain": {"needed_bytes": 62}, "distill": {"needed_bytes": 72}}
    found = planner._largest(programs)
    assert (found["stage"], found["labelled"], found["image_level"]) == (
        "distill",
        6,
        3,
    )
    assert (found["needed_bytes"], found["next_needed_bytes"]) == (96, 108)
    assert (found["next_labelled"], found["next_image_level"]) == (8, 4)


def counted(needs):
    calls = []

    def call(number):
        calls.append(number)
        return needs(number)

    return call, calls


@given(
    fixed=st.integers(0, 500),
    each=st.integers(1, 50),
    bend=st.floats(0.5, 1.5),
    bound=st.integers(1, 2_000),
    start=st.integers(1, 20),
)
def test_the_largest_fits_and_the_next_does_not(fixed, each, bend, bound, start):
    """Along lines and curves; nothing is tried twice."""
    needs, calls = counted(lambda n: math.floor(fixed + each * n**bend) + n)
    found = plan.largest_that_fits(needs, bound=bound, start=start)
    assert found.most == 0 or needs(found.most) <= bound
    assert needs(found.most + 1) > bound
    assert set(found.needed) >= {n for n in (found.most, found.most + 1) if n}
    assert len(set(calls[: len(found.needed)])) == len(found.needed)


@pytest.mark.parametrize("bound, most", [(1000, 30), (129, 0), (130, 1), (10**5, 3330)])
def test_along_a_line_four_or_five_compilations_are_enough(bound, most):
    needs, calls = counted(lambda n: 100 + 30 * n)
    assert plan.largest_that_fits(needs, bound=bound, start=1).most == most
    assert len(calls) <= 5


def test_a_memory_without_end_is_no_answer():
    with pytest.raises(ValueError, match="would fit"):
        plan.largest_that_fits(lambda n: 1, bound=2, start=1)
