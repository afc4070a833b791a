"""A study with an oracle: no comparison without head-room, and the share of its gap."""

import re
import statistics
from pathlib import Path

import numpy as np
import pytest

from aals_jax.metrics import seeds
from aals_jax.metrics.seeds import Drawn
from aals_jax.study import comparisons, headroom, kept, page, plan
from aals_jax.study.kept import Study
from configs.sweeps import fair
from configs.sweeps import headroom as sweep_file
from tests.support import fake_studies

FILE = str(Path(__file__).parents[2] / "configs/sweeps/headroom.py")
WORLDS = 3
# how far positives lie above negatives
ROOM = {"supervised": 0.3, "oracle": 2.2, "aals": 1.5, "asymmetric": 0.3}
NO_ROOM = ROOM | {"oracle": 0.3}


@pytest.fixture(scope="module")
def planned():
    return plan.load(FILE)


def finished(planned, root, shifts, parts=("ribs",), leave=()):
    """The study with these parts done in the first worlds."""
    for part in parts:
        for trial in planned.part(part):
            if trial.fields["seed"] < WORLDS and trial.fields["method"] not in leave:
                fake_studies.finish(trial, root / "sweep", shifts)
    kept.keep(planned, root / "sweep", root / "results")
    return Study(planned, kept.read_all(root / "results"))


@pytest.fixture(scope="module")
def with_room(planned, tmp_path_factory):
    return finished(planned, tmp_path_factory.mktemp("room"), ROOM)


def drawn(values, replicates):
    return [Drawn(v, np.asarray(r)) for v, r in zip(values, replicates, strict=True)]


def systems(count=3, replicates=400, seed=0):
    """Three systems on `count` seeds: low, middle and high, with noise of their own."""
    rng = np.random.default_rng(seed)
    made = []
    for mean in (0.6, 0.65, 0.8):
        values = mean + 0.01 * rng.normal(size=count)
        noise = 0.01 * rng.normal(size=(count, replicates))
        made.append(drawn(values, values[:, None] + noise))
    return made


def test_the_share_of_a_bound_is_0_or_1_and_no_scale_matters():
    low, middle, high = systems()
    assert seeds.share_of_gap(low, low, high).value == 0
    assert seeds.share_of_gap(high, low, high).value == pytest.approx(1)
    share = seeds.share_of_gap(middle, low, high)
    means = [statistics.fmean(d.value for d in s) for s in (low, middle, high)]
    expected = (means[1] - means[0]) / (means[2] - means[0])
    assert share.value == pytest.approx(expected)
    assert share.low < expected < share.high
    scaled = [
        [Drawn(3 * d.value - 1, 3 * np.asarray(d.replicates) - 1) for d in system]
        for system in (middle, low, high)
    ]
    same = seeds.share_of_gap(*scaled)
    assert (same.value, same.low, same.high) == pytest.approx(
        (share.value, share.low, share.high)
    )


def test_without_a_gap_there_is_no_share_and_a_reason():
    low, middle, high = systems()
    for arms in ((middle, high, low), (middle, low, low)):
        share = seeds.share_of_gap(*arms)
        assert np.isnan([share.value, share.low, share.high]).all()
        assert "no gap in" in share.reason
    # a gap that is there on average, but not in many draws
    unsure = [Drawn(d.value, np.asarray(d.replicates) - 0.19) for d in high]
    share = seeds.share_of_gap(middle, low, unsure)
    assert np.isfinite(share.value) and np.isnan(share.low) and share.reason


def test_patients_of_worlds_are_drawn_on_their_own():
    """The same noise in every world cancels in the mean as independent noise does."""
    noise = np.random.default_rng(1).normal(size=4_000) * 0.01
    count = 4
    ours = drawn([0.7] * count, [0.7 + noise] * count)
    theirs = drawn([0.6] * count, [np.full(4_000, 0.6)] * count)
    shared = seeds.across_seeds(ours, theirs)
    own = seeds.across_seeds(ours, theirs, own_patients=True)
    widths = [interval.high - interval.low for interval in (shared, own)]
    assert shared.value == own.value == pytest.approx(0.1)
    # drawing worlds with replacement takes one twice at times: a little wider than 1/2
    assert widths[1] / widths[0] == pytest.approx(
        np.sqrt((2 * count - 1) / count**2), rel=0.08
    )
    assert "own" in own.method and "own" not in shared.method


def test_with_head_room_the_rows_are_compared(with_room):
    table = headroom.table_of(with_room, "ribs")
    (found,) = headroom.rooms(table)
    assert found.is_there and found.has("froc_count") and found.level == 16
    assert "own" in found.gaps["auroc"].across.method
    text = headroom.BLOCKS["pairs-ribs"](with_room).text
    assert "**Minus supervised.**" in text and "head-room" not in text
    assert "| yes |" in headroom.room(with_room).text
    shares = headroom.shares(with_room)
    assert "shares.svg" in shares.figures
    assert re.search(r"\| aals 8/0\.2 \| \+0\.\d+ \[\+0", shares.text)
    assert "| oracle |" not in shares.text and "| supervised |" not in shares.text
    # the share by hand, from the means over worlds
    at = {arm.label: arm for arm in table.arms}
    low, high, aals = (
        comparisons.summary(at[name], with_room.results, "froc_count").spread.mean
        for name in ("supervised", "oracle", "aals 8/0.2")
    )
    share = comparisons.share_of_gap(
        at["aals 8/0.2"], found.low, found.high, with_room.results, "froc_count"
    )
    assert share is not None and "own" in share.method
    assert share.value == pytest.approx((aals - low) / (high - low), abs=1e-9)


def test_without_head_room_nothing_is_compared(planned, tmp_path):
    study = finished(planned, tmp_path, NO_ROOM)
    for block in ("pairs-ribs", "room", "shares"):
        made = headroom.BLOCKS[block](study)
        assert re.search("no head-room", made.text, re.IGNORECASE)
        assert "aals" not in made.text and not made.figures
    assert "aals 8/0.2" in headroom.BLOCKS["methods-ribs"](study).text  # its own values


def test_a_part_that_lacks_a_bound_is_not_compared(planned, tmp_path):
    study = finished(planned, tmp_path, ROOM, leave={"oracle"})
    text = headroom.BLOCKS["pairs-ribs"](study).text
    assert "not known" in text and "aals" not in text
    assert headroom.room(study).text == "Not run."


def test_each_level_has_a_gate_of_its_own(planned, tmp_path):
    study = finished(planned, tmp_path, ROOM, ("ribs", "regions"), leave={"oracle"})
    for trial in planned.part("regions"):
        if trial.fields["seed"] < WORLDS and trial.fields["method"] == "oracle":
            shifts = ROOM if trial.fields["data.region_images"] == 8 else NO_ROOM
            fake_studies.finish(trial, tmp_path / "sweep", shifts)
    kept.keep(planned, tmp_path / "sweep", tmp_path / "results")
    study = Study(planned, kept.read_all(tmp_path / "results"))
    found = headroom.rooms(headroom.table_of(study, "regions"))
    assert {r.level: r.is_there for r in found} == {8: True, 32: False, 64: False}
    text = headroom.BLOCKS["pairs-regions"](study).text
    assert "**No head-room at R = 32, 64**" in text
    assert re.search(r"\| aals 8/0\.2 \| 8 \|", text)
    assert not re.search(r"\| aals 8/0\.2 \| (32|64) \|", text)


def test_the_other_methods_borrow_the_bounds_of_the_same_worlds(
    planned, with_room, tmp_path
):
    study = finished(planned, tmp_path, ROOM, ("ribs", "methods"))
    table = headroom.table_of(study, "methods")
    labels = {arm.label for arm in table.arms}
    assert {"supervised", "oracle", "mil", "fcos"} <= labels
    assert headroom.rooms(table)[0].is_there
    assert re.search(
        r"\| mil \| 16 \| 0, 1 \|", headroom.pairs_of("methods")(study).text
    )


def test_worlds_that_share_some_data_are_refused(planned, tmp_path):
    study = finished(planned, tmp_path, ROOM)
    changed = dict(study.results)
    for name, trial in study.results.items():
        if trial.record["config"]["seed"] == 1:  # world 1 has the films of world 0
            data = {**trial.record["data"], "data_hash": "easy20"}
            record = {**trial.record, "data": data}
            changed[name] = kept.KeptTrial(name, record, trial.replicates)
    with pytest.raises(ValueError, match="can't be paired"):
        headroom.room(Study(planned, changed))


def test_the_pages_are_written_by_the_command_s_function(planned, tmp_path):
    finished(planned, tmp_path, ROOM)
    page.run(FILE, tmp_path / "results", tmp_path / "headroom.md")
    text = (tmp_path / "headroom.md").read_text()
    assert "![Share of the oracle's gap" in text
    pages = {path.stem for path in (tmp_path / "headroom").glob("*.md")}
    assert pages == {"setup", *headroom.PARTS}


def test_the_localisation_of_stage_1_is_kept_with_a_trial(planned, tmp_path):
    trial = planned.part("ribs")[0]
    peaks = {"pretrained": {"peak_in_box_p": {"value": 0.62}}}
    moments = {"pretrained": "at the start of stage 2", "teacher": "at the end"}
    monitors = {"moments": moments, "peaks": peaks}
    fake_studies.finish(trial, tmp_path / "sweep", ROOM, monitors=monitors)
    kept.keep(planned, tmp_path / "sweep", tmp_path / "results")
    (found,) = kept.read_all(tmp_path / "results").values()
    assert found.start_in_box == 0.62
    older = dict(found.record)
    older.pop("start_in_box")
    assert kept.KeptTrial(trial.name, older, found.replicates).start_in_box is None


def test_the_worlds_are_apart_from_those_of_tuning_and_alike_in_all_but_the_row():
    rows = [sweep_file.row(sweep_file.world(0, "rib", 16), n) for n in sweep_file.MAIN]
    used = {sweep_file.FIRST_WORLD + number for number in range(sweep_file.WORLDS)}
    assert fair.APART["phantom.seed"] not in used and 0 not in used
    for name in ("batch", "data", "phantom", "evaluation"):
        assert len({row[name].to_json(sort_keys=True) for row in rows}) == 1
    steps = {(row.pretrain.steps, row.distill.steps) for row in rows}
    assert len(steps) == 1


def test_a_choice_takes_parts_and_one_world():
    whole = sweep_file.get_sweep()
    assert [c.seed for c in whole] == sorted(c.seed for c in whole)
    some = sweep_file.get_sweep("ribs+regions,3")
    assert {c.seed for c in some} == {3} and len(some) == 10 + 9
    for wrong, words in (("rib", "no part rib"), ("ribs,9", "no world 9")):
        with pytest.raises(ValueError, match=words):
            sweep_file.get_sweep(wrong)
