"""The page of a run: complete, self-contained, safe, and the same every time."""

import dataclasses
import math
import os
import re
import shutil
import subprocess
from html.parser import HTMLParser
from pathlib import Path

import cv2
import numpy as np
import pytest

from aals_jax.report import Example, ModelCurves, page, pictures, plots, progress
from aals_jax.report import write_report as write

MODELS = ("pretrained", "pretrained_average", "teacher", "student")
REASON = "the set has no lesion"
ATTACK = '<script>alert("x")</script>'
CHROMIUM = next(
    filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))),
    None,
)


def metric(value, definition, **others):
    return {
        "value": value,
        "low": value - 0.0213,
        "high": value + 0.0187,
        "definition": definition,
        "n_images": 412,
        "n_lesions": 58,
        "prevalence": 0.1019,
        "rejected": 3,
        "replicates": 2000,
        **others,
    }


def make_result():
    auroc = "Probability that a positive image scores above a negative one."
    area = "Mean recall at box centres, at false-positive ratios of 1 % to 10 %."
    count = "Mean sensitivity at 0.1, 0.2, 0.5, 1, 2 and 4 false positives per image."
    metrics = {
        model: {
            "auroc": metric(0.9025 + 0.0098 * i, auroc),
            "froc_area": metric(0.7267 + 0.05481 * i, area),
            "froc_count": metric(0.6111 + 0.04712 * i, count),
        }
        for i, model in enumerate(MODELS)
    }
    metrics["student"]["froc_area"] = metric(math.nan, area, low=None, reason=REASON)
    split = {"region": 280, "image_level": 2100, "negative": 21300}
    return {
        "title": "clavicle",
        "method": "aals",
        "finding": "clavicle",
        "scale": "laptop",
        "data": {
            "source": "phantom",
            "data_hash": "b5d1c0ffee5eed17",
            "splits": {
                "train": split,
                "validation": {"region": 40, "image_level": 0, "negative": 360},
                "test": {"region": 42, "image_level": 0, "negative": 370},
            },
            "prevalence": 0.1019,
        },
        "metrics": metrics,
        "config": {
            "sharpening": {"center": 0.4, "max_strength": 4.0},
            "optim": {"learning_rate": 4e-5, "weight_decay": 1e-4},
            "batch": {"region": 4, "image_level": 4, "negative": 8},
            "fpn_levels": [2, 3, 4, 5],
            "weights": None,
        },
        "versions": {"python": "3.11.2", "jax": "0.4.38", "numpy": "1.26.4"},
        "commit": "0123456789abcdef0123456789abcdef01234567",
        "seed": 17,
        "time_s": {"pretrain": 812.4, "distill": 4210.0, "evaluate": 31.25},
        "command": "python launch.py --config=configs/clavicle.py --workdir=runs/a",
    }


def make_curves(rng):
    curves = {}
    for i, model in enumerate(MODELS):
        x = np.sort(rng.uniform(0, 1, 300)) ** 1.5
        x[0], x[-1] = 0.0, 1.0
        roc = x ** (0.22 - 0.04 * i)
        rate = np.sort(rng.exponential(2.0, 400))
        found = 0.95 * (1 - np.exp(-(rate + 0.05) * (1.2 + i)))
        ratio = rate / 20
        bands = {
            "roc_band": (x, np.clip(roc - 0.05, 0, 1), np.clip(roc + 0.04, 0, 1)),
            "froc_count_band": (rate, found - 0.06, found + 0.05),
        }
        curves[model] = ModelCurves(
            roc=(x, roc),
            froc_count=(rate, found),
            froc_area=None if model == "student" else (ratio, found),
            **(bands if i in (0, 2) else {}),
        )
    return curves


def make_history(rng, *, num_pretrain=40, num_distill=900):
    rows = []
    for i in range(num_pretrain):
        loss = 0.2 * math.exp(-i / 8) + 0.01 + 0.002 * rng.random()
        row = {"loss/supervised": loss, "loss/total": loss, "learning_rate": 4e-5}
        row["validation/auroc"] = 0.9 - 0.35 * math.exp(-i / 10)
        rows.append({"stage": "pretrain", "step": 10 * (i + 1), **row})
    for i in range(num_distill):
        noise, part = rng.random(3), i / num_distill
        row = {
            "loss/supervised": 0.011 * (1 + noise[0]),
            "loss/distill": 0.002 * (1 + noise[1]) * math.exp(-2 * part),
            "loss/total": 0.014 * (1 + noise[0]),
            "pseudo/mean_peak": 0.4 + 0.4 * part + 0.05 * noise[2],
            "pseudo/share_dead": 0.5 - 0.4 * part,
            "pseudo/share_raised_pixels": 0.002 + 0.004 * part,
            "pseudo/distill_grad_norm": 0.1 * math.exp(-3 * part) * (1 + noise[1]),
            "time/data_wait_share": 0.04 * noise[0],
            "learning_rate": 4e-5 * (1 - part),
            "ema_decay": min(0.999, (1 + i) / (10 + i)),
        }
        if i % 60 == 0:
            row["validation/auroc"] = 0.9 + 0.03 * part
            row["validation/auroc_teacher"] = 0.91 + 0.03 * part
        rows.append({"stage": "distill", "step": i, **row})
    rows[-1]["loss/total"] = math.nan
    return rows


def make_example(rng, kind, *, side=512):
    y, x = np.mgrid[:side, :side] / side
    image = 60 + 120 * np.exp(-(((x - 0.5) / 0.16) ** 2)) + 30 * np.cos(40 * y + 9 * x)
    image += rng.normal(0, 7, image.shape)
    cy, cx = rng.uniform(0.25, 0.75, 2)
    strength = {"hit": 0.93, "miss": 0.12, "false_alarm": 0.64, "clear": 0.05}[kind]
    small = np.mgrid[:128, :128] / 128
    peak = np.exp(-((small[0] - cy) ** 2 + (small[1] - cx) ** 2) / 0.003)
    where = np.array([cy - 0.08, cx - 0.1, cy + 0.08, cx + 0.1]) * side
    detections = {
        "hit": [(cx * side, cy * side, 0.93, True), (0.9 * side, 60.0, 0.21, False)],
        "false_alarm": [(cx * side, cy * side, 0.64, False)],
    }
    return Example(
        image=image.clip(0, 255).astype(np.uint8),
        probability=(strength * peak + 0.01).astype(np.float32),
        boxes=where[None] if kind in ("hit", "miss") else np.zeros((0, 4)),
        detections=detections.get(kind, []),
        kind=kind,
        score=strength + 0.01,
        caption=f"Test image, {kind.replace('_', ' ')}.",
    )


def make_inputs(*, num_examples=4, side=256):
    rng = np.random.default_rng(3)
    kinds = list(pictures.KINDS)
    return {
        "result": make_result(),
        "curves": make_curves(rng),
        "history": make_history(rng),
        "examples": [
            make_example(rng, kinds[i % 4], side=side) for i in range(num_examples)
        ],
    }


class Reader(HTMLParser):
    """Collects the tags, their attributes, and the text outside <style>."""

    def __init__(self, html):
        super().__init__()
        self.tags, self.parts, self.inside = [], [], []
        self.feed(html)
        self.text = " ".join(" ".join(self.parts).split())

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        if tag not in ("meta", "link", "br", "img", "input"):
            self.inside.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag):
        assert self.inside.pop() == tag, f"</{tag}> closes nothing"

    def handle_data(self, data):
        if "style" not in self.inside:
            self.parts.append(data)


@pytest.fixture(scope="module")
def inputs():
    return make_inputs()


@pytest.fixture(scope="module")
def html(inputs, tmp_path_factory):
    path = tmp_path_factory.mktemp("run") / "report.html"
    write(path, **inputs)
    return path.read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def reader(html):
    return Reader(html)


def test_every_tag_is_closed_and_every_id_is_unique(reader):
    assert reader.inside == []
    ids = [attrs["id"] for _, attrs in reader.tags if "id" in attrs]
    assert len(ids) == len(set(ids))
    inner = {f"#{name}" for name in ids}
    links = {attrs["href"] for _, attrs in reader.tags if "href" in attrs}
    assert {link for link in links if link.startswith("#")} <= inner


def test_every_picture_has_an_alternative_text(reader):
    for tag, attrs in reader.tags:
        if tag == "img":
            assert attrs.get("alt")
        if tag == "svg":
            assert attrs.get("aria-hidden") == "true" or attrs["aria-label"]
    labels = [attrs.get("aria-label") or "" for _, attrs in reader.tags]
    assert any("AUROC" in label and "teacher 0.922" in label for label in labels)
    assert any("1 lesion (1 found), 1 hit, 1 false alarm" in label for label in labels)


def test_nothing_is_loaded_and_nothing_runs(html, reader):
    for tag, attrs in reader.tags:
        assert tag not in ("script", "iframe", "object", "embed")
        assert not [name for name in attrs if name.startswith("on")]
        for name in ("src", "href", "xlink:href", "srcset", "data"):
            assert re.match(r"#|data:", attrs.get(name, "#")), (tag, attrs)
    assert "@import" not in html
    assert not re.search(r"url\((?!#)", html)
    assert "http" not in html


def test_all_metrics_stand_there_with_interval_and_definition(inputs, reader):
    exact = {attrs["value"] for tag, attrs in reader.tags if tag == "data"}
    for by_name in inputs["result"]["metrics"].values():
        for cell in by_name.values():
            assert cell["definition"] in reader.text
            if math.isfinite(cell["value"]):
                assert repr(cell["value"]) in exact
                assert f"{cell['value']:.3f}" in reader.text
                assert f"{cell['low']:.3f} to {cell['high']:.3f}" in reader.text
    assert "412 images · 58 lesions · prevalence 10.2 %" in reader.text
    assert "3 of 2,000" in reader.text


def test_nan_is_a_dash_with_its_reason(reader):
    assert re.search(rf"student — {REASON}", reader.text)
    assert "nan" not in reader.text.lower().split()
    assert "Not defined for student." in reader.text
    assert "Left out, not finite: 1 of total." in reader.text


def test_different_image_sets_are_named_in_each_row(inputs):
    result = make_result()
    result["metrics"]["teacher"]["auroc"]["n_images"] = 77
    text = Reader(page.render(**{**inputs, "result": result})).text
    assert "77 images · 58 lesions" in text
    assert text.count("412 images · 58 lesions") == 2 + 3  # two sets, three rows


def test_banners(inputs, reader):
    assert "Research only, not a medical device." in reader.text
    assert "say nothing about patients" in reader.text
    result = make_result()
    result["data"]["source"] = "registry-2016"
    text = Reader(page.render(**{**inputs, "result": result})).text
    assert "Research only, not a medical device." in text
    assert "phantom" not in text.lower()


def test_what_defines_the_numbers_is_there(inputs, reader):
    result = inputs["result"]
    for value in (result["commit"], result["command"], result["data"]["data_hash"]):
        assert value in reader.text
    for words in ("sharpening.center 0.4", "jax 0.4.38", "1 h 10 min", "Seed 17"):
        assert words in reader.text
    assert "train 280 2,100 21,300 23,680" in reader.text


def test_missing_facts_are_said_and_missing_results_are_an_error(inputs):
    result = make_result()
    del result["commit"], result["command"]
    text = Reader(page.render(**{**inputs, "result": result})).text
    assert "Commit not recorded" in text
    del result["metrics"]
    with pytest.raises(ValueError, match="metrics"):
        page.render(**{**inputs, "result": result})


def test_strings_are_escaped_everywhere(inputs):
    result = make_result()
    for field in ("title", "finding", "method", "scale", "commit", "command"):
        result[field] = ATTACK
    result["config"] = {ATTACK: ATTACK}
    result["metrics"][ATTACK] = {ATTACK: metric(0.5, ATTACK, note=ATTACK)}
    example = dataclasses.replace(inputs["examples"][0], caption=ATTACK)
    html = page.render(
        result=result,
        curves={ATTACK: inputs["curves"]["teacher"]},
        history=[{"stage": ATTACK, "step": 1, ATTACK: 1.0, "$x_": 2.0}],
        examples=[example],
    )
    assert "<script" not in html
    reader = Reader(html)
    assert ATTACK in reader.text
    assert reader.inside == []


def test_same_run_gives_the_same_bytes(inputs, html, tmp_path):
    write(tmp_path / "again.html", **inputs)
    assert (tmp_path / "again.html").read_bytes() == html.encode()


@pytest.mark.parametrize("broken", ["write_text", "replace"])
def test_an_interrupted_call_leaves_the_old_page(inputs, tmp_path, monkeypatch, broken):
    path = tmp_path / "report.html"
    path.write_text("old")

    def half(self, text, **_):
        self.write_bytes(text[:100].encode())
        raise OSError("disk full")

    def stop(*_):
        raise OSError("disk full")

    if broken == "write_text":
        monkeypatch.setattr(Path, "write_text", half)
    else:
        monkeypatch.setattr(os, "replace", stop)
    with pytest.raises(OSError, match="disk full"):
        write(path, **inputs)
    assert path.read_bytes() == b"old"
    assert [entry.name for entry in tmp_path.iterdir()] == ["report.html"]


def test_a_run_with_nothing_to_show_still_has_a_page():
    result = {"title": "rib", "data": {}, "metrics": {}}
    reader = Reader(page.render(result=result, curves={}, history=[], examples=[]))
    assert "No metric was recorded." in reader.text
    assert "Training" not in reader.text


def test_even_pictures_of_noise_stay_inside_the_size_limit():
    rng = np.random.default_rng(0)
    example = dataclasses.replace(
        make_example(rng, "clear", side=64),
        image=rng.integers(0, 256, (1024, 1024), np.uint8),
        probability=rng.random((256, 256), np.float32),
    )
    drawn = pictures.pictures([example] * 24)
    size = sum(len(picture.image_uri + picture.heat_uri) for picture in drawn)
    assert size < 4 / 3 * pictures.TOTAL_BYTES + 24 * 100


def test_step_curve_takes_the_last_operating_point_not_beyond_x():
    x, y = np.array([0.0, 0.5, 0.5, 2.0]), np.array([0.2, 0.4, 0.6, 0.9])
    grid, value = plots.steps_within(x, y, 0.05, 1.0)
    np.testing.assert_array_equal(grid, [0.05, 0.5, 0.5, 1.0])
    np.testing.assert_array_equal(value, [0.2, 0.4, 0.6, 0.6])
    _, none = plots.steps_within(np.array([3.0]), np.array([0.5]), 0.05, 1.0)
    np.testing.assert_array_equal(none, [0.0, 0.0])


def test_thinning_keeps_both_ends_and_moves_no_value_by_more_than_a_cell():
    rng = np.random.default_rng(0)
    x, y = np.sort(rng.random((2, 50_000)))
    line = plots.thin(plots.Line(x, y, 0, (x, y, y)))
    assert line.x.size < 1100
    assert (line.x[0], line.x[-1]) == (x[0], x[-1])
    last = line.y[np.searchsorted(line.x, x, side="right") - 1]
    assert np.abs(last - y).max() <= 1 / 500
    assert line.band is not None
    assert line.band[0].size < 1100


@pytest.mark.parametrize(("first", "offset"), [(1, 100.0), (110, 0.0)])
def test_stages_follow_each_other_whether_or_not_the_steps_start_again(first, offset):
    rows = [{"stage": "pretrain", "step": 100}, {"stage": "distill", "step": first}]
    assert progress.stage_offsets(rows[:1] + rows) == {
        "pretrain": 0.0,
        "distill": offset,
    }


def test_of_rows_written_twice_the_later_one_counts():
    rows = [
        {"stage": "pretrain", "step": s, "a": v} for s, v in ((1, 1), (2, 9), (2, 3))
    ]
    np.testing.assert_array_equal(progress.read_series(rows)["a"].y, [1, 3])


def test_a_hit_claims_one_box():
    example = make_example(np.random.default_rng(0), "hit", side=100)
    boxes = np.array([[10, 10, 50, 50], [20, 20, 60, 60], [70, 70, 90, 90.0]])
    hits = [(38.0, 38.0, 0.9, True), (80.0, 80.0, 0.8, False)]
    example = dataclasses.replace(example, boxes=boxes, detections=hits)
    assert pictures.found_boxes(example) == [False, True, False]
    example = dataclasses.replace(example, found=[True, True, False])
    assert pictures.found_boxes(example) == [True, True, False]


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"kind": "maybe"}, "false_alarm"),
        ({"image": np.zeros((8, 8), np.float32)}, "u8"),
        ({"boxes": np.zeros(4)}, "np.zeros"),
        ({"probability": np.full((4, 4), np.nan)}, "finite"),
    ],
)
def test_a_wrong_example_is_refused_with_the_remedy(change, words):
    example = make_example(np.random.default_rng(0), "hit", side=64)
    with pytest.raises(ValueError, match=words):
        dataclasses.replace(example, **change)


@pytest.mark.skipif(CHROMIUM is None, reason="no chromium on the path")
@pytest.mark.parametrize("width", [390, 1280])
def test_a_browser_shows_the_page_without_complaint(html, tmp_path, width):
    (tmp_path / "report.html").write_text(html, encoding="utf-8")
    shot = tmp_path / "shot.png"
    quiet = "no-first-run disable-gpu disable-background-networking disable-sync"
    done = subprocess.run(
        [
            str(CHROMIUM),
            "--headless",
            "--no-sandbox",
            *(f"--{flag}" for flag in f"{quiet} disable-component-update".split()),
            f"--user-data-dir={tmp_path / 'profile'}",
            f"--window-size={width},1600",
            "--enable-logging=stderr",
            f"--screenshot={shot}",
            f"file://{tmp_path / 'report.html'}",
        ],
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )
    assert "CONSOLE" not in done.stderr
    pixels = cv2.imread(str(shot))
    assert pixels is not None
    assert pixels.std() > 5
