"""The study that docs/study.md reports is the one that its sweep file plans."""

import re
import shutil
import statistics
from pathlib import Path

from aals_jax.report import wording
from aals_jax.study import blocks, facts, kept, page, plan
from configs.sweeps import study as sweep_file

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs/study.md"
FOLDER = ROOT / "docs/study"
RESULTS = FOLDER / "results"

# Numbers of docs/study.md that are not ours: the paper's, and names of things.
OF_THE_PAPER = {
    *("0.9318", "0.8914", "0.9155", "0.8540", "0.9025", "0.7267", "1.63", "3.74"),
    *("2021", "65,845", "1024", "50", "48", "25", "4e-5"),
    *("14", "2"),  # ChestX-ray14, "Stage 2"
}


def load():
    return plan.load(str(ROOT / "configs/sweeps/study.py"))


def test_t_from_validation_s_peaks_is_an_arm_of_its_own():
    fields = {"method": "aals", "distill.max_strength": 4, "distill.dead_share": 0.0}
    assert plan.label(fields) == "aals"
    fields |= {"distill.dead_share": 0.2}
    assert plan.label(fields) == "aals, dead_share=0.2"
    asymmetric = fields | {"method": "asymmetric"}
    assert plan.label(asymmetric) == "asymmetric, dead_share=0.2"
    raised = fields | {"distill.dead_zone": "raise"}
    assert plan.label(raised) == f"{plan.RAISED}, dead_share=0.2"
    assert plan.label(fields | {"distill.max_strength": 1}) == plan.NO_SHARPENING


def test_tuned_values_are_the_best_on_validation():
    results = kept.read_all(RESULTS)
    found = {}
    for trial in load().part("tuning"):
        name = plan.label(trial.fields)
        name = "control" if name == plan.NO_SHARPENING else name
        point = tuple(
            float(trial.fields[f"distill.{field}"])
            for field in ("learning_rate", "weight")
        )
        auroc = facts.best_validation(results[trial.name])
        assert auroc is not None
        found.setdefault(name, []).append((auroc, point))
    assert {name: max(points)[1] for name, points in found.items()} == sweep_file.TUNED


def test_the_wider_tuning_chose_what_was_tested():
    results = kept.read_all(RESULTS)
    found = {}
    for part in ("tuning", "wider"):
        for trial in load().part(part):
            rate, weight = (
                float(trial.fields[f"distill.{f}"]) for f in ("learning_rate", "weight")
            )
            auroc = facts.best_validation(results[trial.name])
            assert auroc is not None
            found.setdefault(trial.fields["method"], []).append((auroc, rate, weight))
    for name in sweep_file.SQUARING:
        assert max(found[name])[1:] == sweep_file.REWEIGHTED


def test_the_chosen_sharpening_is_the_best_on_validation():
    results = kept.read_all(RESULTS)
    found = {}
    for trial in load().part("sharpening"):
        point = {name: float(trial.fields[name]) for name in sweep_file.CHOSEN}
        auroc = facts.best_validation(results[trial.name])
        assert auroc is not None
        found.setdefault(tuple(point.items()), []).append(auroc)
    assert len(found) == 13
    best = max(found, key=lambda point: statistics.fmean(found[point]))
    assert dict(best) == sweep_file.CHOSEN


def test_the_pages_are_what_the_kept_results_give(tmp_path):
    copy = tmp_path / "docs/study.md"
    copy.parent.mkdir()
    shutil.copy(PAGE, copy)
    shutil.copytree(FOLDER, copy.with_suffix(""), ignore=lambda *_: ["results"])
    for path in copy.with_suffix("").glob("*.[sc][vs][gv]"):
        path.unlink()  # figures and table are made anew
    page.run(str(ROOT / "configs/sweeps/study.py"), RESULTS, copy)
    assert copy.read_text() == PAGE.read_text()
    made = {file.name: file.read_bytes() for file in copy.with_suffix("").iterdir()}
    there = {
        file.name: file.read_bytes() for file in FOLDER.iterdir() if file.is_file()
    }
    assert made == there
    assert {name for name in there if name.endswith(".md")} == {
        f"{name}.md" for name in blocks.PAGES
    }


def test_each_part_has_its_page_and_each_page_is_linked():
    assert load().parts.keys() <= blocks.PAGES.keys()
    linked = set(re.findall(r"\]\(study/(\w+)\.md\)", PAGE.read_text()))
    assert linked == blocks.PAGES.keys()


def test_the_main_page_is_read_in_one_sitting():
    assert len(PAGE.read_text().splitlines()) <= 200


def test_a_shared_trial_is_kept_with_the_first_of_its_parts():
    home = load().first_part
    for folder in (RESULTS, RESULTS / kept.REPEATS):
        for path in folder.glob("*.jsonl"):
            for name in kept._read(path):
                assert home[name] == path.stem, name


def numbers(text):
    """`1,500`, `0.9318` and `4e-5` of a text, without their signs."""
    return set(re.findall(r"(?<![\w.])\d[\d,]*(?:\.\d+)?(?:e-\d)?(?<!,)", text))


def planned_numbers():
    """What the sweep file sets, and how many images there are in all."""
    config, results = sweep_file.scale(), kept.read_all(RESULTS)
    yield from (config.phantom.images, config.data.side, config.model.width)
    yield from (config.pretrain.steps, config.distill.steps)
    yield from (sum(config.batch.values()), len(load().trials))
    yield from (config.distill.max_strength, config.distill.center)
    for part in ("middle", "real"):
        splits = results[load().part(part)[0].name].record["data"]["splits"]
        kinds = ("region", "image_level", "negative")
        yield sum(splits["test"][kind] for kind in kinds)
        yield sum(split["region"] for split in splits.values())
        yield sum(split[kind] for split in splits.values() for kind in kinds)


def test_every_number_of_the_main_page_is_a_kept_one():
    """Of its prose: in a generated block, in the plan, or one of the paper's."""
    block = re.compile(r"<!-- ([\w-]+) -->.*?<!-- end \1 -->", re.DOTALL)
    pages = [path.read_text() for path in (PAGE, *FOLDER.glob("*.md"))]
    generated = "\n".join(m[0] for text in pages for m in block.finditer(text))
    prose = block.sub("", PAGE.read_text())
    prose = re.sub(r"\]\([^)]*\)|`[^`]*`|!\[.*?\]|^\d+\. ", " ", prose, flags=re.M)
    prose = " ".join(prose.split())
    allowed = numbers(generated) | OF_THE_PAPER
    for value in planned_numbers():
        allowed |= {f"{value:,}", f"{value:g}"}
    allowed |= {f"{rate:.0e}".replace("e-0", "e-") for rate, _ in sweep_file.STAR}
    assert numbers(prose) - allowed == set()
    # a difference and a mean stand there with their own interval and spread
    difference = rf"[{wording.MINUS}+]\d\.\d{{3}} \[[^]]*\]"
    for text in re.findall(rf"{difference}|\d\.\d{{3}} ± \d\.\d{{3}}", prose):
        assert text in generated, text
