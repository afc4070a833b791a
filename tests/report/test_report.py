"""The page of a run: complete, self-contained, safe, and the same every time."""

import dataclasses
import json
import math
import re
import shutil
import subprocess
from html.parser import HTMLParser

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from aals_jax.report import (
    calibration,
    comparison,
    entries,
    forest,
    operating,
    page,
    pictures,
    plots,
    training,
    wording,
)
from aals_jax.report.curve_figures import ModelCurves
from aals_jax.report.pictures import Example

MODELS = ("pretrained", "pretrained_average", "teacher", "student")
REASON = "the set has no lesion"
ONE_CLASS = "all 96 images are negative"
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
        "hardware": "2 x NVIDIA A100",
    }


def interval(value, half=0.03, **others):
    low, high = max(value - half, -1.0), min(value + half, 1.0)
    return {"value": value, "low": low, "high": high, **others}


def make_operating_points(models):
    def points(shift):
        image = {
            "sensitivity": interval(0.871 + shift),
            "specificity": interval(0.902, rejected=4, replicates=2000),
            "ppv": interval(0.502 + shift),
            "npv": interval(0.984),
        }
        lesion = {
            "sensitivity": interval(0.764 + shift),
            "false_positives_per_image": interval(0.483, 0.06),
        }
        common = {"chosen_on": "validation"}
        return [
            {
                "name": "Specificity 90 %",
                "level": "image",
                "rule": "lowest threshold with a specificity of at least 0.9",
                "threshold": 0.99987 - shift,
                "measured": image,
                **common,
            },
            {
                "name": "Half a false positive an image",
                "level": "lesion",
                "rule": "lowest threshold with at most 0.5 false positives an image",
                "threshold": 0.3127 + shift,
                "measured": lesion,
                **common,
            },
        ]

    return {model: points(0.01 * i) for i, model in enumerate(models)}


def make_calibration(models, *, num_bins=10):
    def bins(bend):
        mean = (np.arange(num_bins) + 0.5) / num_bins
        observed = mean**bend
        count = np.round(3000 * np.exp(-6 * mean) + 3).astype(int)
        half = 1.96 * np.sqrt(observed * (1 - observed) / count)
        rows = [
            {
                "mean_score": float(m),
                "observed": float(o),
                "low": float(max(o - h, 0)),
                "high": float(min(o + h, 1)),
                "count": int(n),
            }
            for m, o, h, n in zip(mean, observed, half, count, strict=True)
        ]
        empty = dict.fromkeys(("mean_score", "observed", "low", "high"))
        return [*rows, {**empty, "count": 0}]

    definition = "Ten bins of equal width; observed = share of positive images."
    return {
        model: {"definition": definition, "bins": bins(1.6 - 0.2 * i)}
        for i, model in enumerate(models)
    }


def make_subgroups(models):
    columns = {
        "sex": {"female": 210, "male": 202},
        "age_band": {"0 to 39": 96, "40 to 64": 171, "65 and above": 145},
        "lesion_size": {"below 10 mm": 21, "10 mm and above": 37},
    }

    def group(column, name, number, shift):
        cells = {
            "auroc": interval(0.9 + shift, 4 / number),
            "froc_count": interval(0.62 + shift, 7 / number),
        }
        if name == "0 to 39":
            cells["auroc"] = {"value": None, "low": None, "high": None}
            cells["auroc"]["reason"] = ONE_CLASS
        return {
            "column": column,
            "group": name,
            "n_images": number,
            "n_patients": number - 9,
            "n_positive": number // 10,
            "n_lesions": number // 7,
            "metrics": cells,
        }

    return {
        model: [
            group(column, name, number, 0.01 * i - 0.02 * j)
            for column, groups in columns.items()
            for j, (name, number) in enumerate(groups.items())
        ]
        for i, model in enumerate(models)
    }


def make_differences(a, b):
    common = {"a": a, "b": b, "n_images": 412}
    return [
        {
            "metric": "auroc",
            **interval(0.0196, 0.0121),
            "p_value": 0.00003,
            "method": "DeLong, paired",
            **common,
        },
        {
            "metric": "froc_count",
            **interval(-0.0942, 0.1013),
            "p_value": 0.071,
            "method": "paired patient bootstrap, 2,000 replicates, seed 17",
            **common,
        },
        {
            "metric": "froc_area",
            **dict.fromkeys(("value", "low", "high", "p_value")),
            "method": "paired patient bootstrap",
            "reason": REASON,
            **common,
        },
    ]


def make_sections(models):
    return {
        "operating_points": make_operating_points(models),
        "calibration": make_calibration(models),
        "subgroups": make_subgroups(models),
        "differences": make_differences(*models[:2]),
        "notes": ["The test split was scored with the checkpoint of validation."],
    }


def make_score():
    """The page of `--mode=score`: no history, config or commit, no maps."""
    rng = np.random.default_rng(4)
    models = ("detections", "other detections")
    run = make_result()
    metrics = {
        model: {
            "auroc": {
                **run["metrics"][name]["auroc"],
                "delong": {"low": 0.8811, "high": 0.9403},
                "n_patients": 390,
                "interval": "95 % percentile bootstrap, seed 17",
            },
            "froc_count": run["metrics"][name]["froc_count"],
            "brier_score": metric(0.0712, "Mean squared error of the score."),
            "expected_calibration_error": metric(0.041, "Mean gap over the bins."),
        }
        for model, name in zip(models, ("pretrained", "teacher"), strict=True)
    }
    curves = [
        dataclasses.replace(curve, froc_area=None)
        for curve in make_curves(rng).values()
    ]
    examples = [make_example(rng, kind, side=256) for kind in pictures.KINDS]
    return {
        "result": {
            "kind": "score",
            "title": "detections of a system",
            "data": {"images": "images.csv", "lesions": "lesions.csv"},
            "settings": {"hit": "center_in_box", "replicates": 2000, "seed": 17},
            "metrics": metrics,
            "hardware": "2 x NVIDIA A100",
            **make_sections(models),
        },
        "curves": dict(zip(models, (curves[0], curves[2]), strict=True)),
        "examples": [dataclasses.replace(e, probability=None) for e in examples],
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
def html(inputs):
    return page.render(**inputs)


@pytest.fixture(scope="module")
def reader(html):
    return Reader(html)


@pytest.fixture(scope="module")
def score():
    """The arguments of a score page."""
    return make_score()


@pytest.fixture(scope="module")
def pages(inputs, html, score):
    """A run as it is, one with every section, a score page, and one of one model."""
    result = {**inputs["result"], **make_sections(MODELS)}
    by_model = ("metrics", "operating_points", "calibration", "subgroups")
    one = {
        name: {"detections": value["detections"]} if name in by_model else value
        for name, value in score["result"].items()
        if name != "differences"
    }
    return {
        "run": html,
        "full run": page.render(**{**inputs, "result": result}),
        "score": page.render(**score),
        "one model": page.render(result=one, curves={}),
    }


PAGES = ("run", "full run", "score", "one model")
every_page = pytest.mark.parametrize("name", PAGES)


def headings(reader_of_page):
    links = [a["href"] for tag, a in reader_of_page.tags if tag == "a"]
    sections = [a["id"] for tag, a in reader_of_page.tags if tag == "section"]
    assert links == [f"#{name}" for name in sections]
    return sections


@every_page
def test_every_tag_is_closed_and_every_id_is_unique(pages, name):
    reader = Reader(pages[name])
    assert reader.inside == []
    ids = [attrs["id"] for _, attrs in reader.tags if "id" in attrs]
    assert len(ids) == len(set(ids))
    inner = {f"#{name}" for name in ids}
    links = {attrs["href"] for _, attrs in reader.tags if "href" in attrs}
    assert {link for link in links if link.startswith("#")} <= inner


@every_page
def test_every_picture_has_an_alternative_text(pages, name):
    for tag, attrs in Reader(pages[name]).tags:
        assert tag != "img" or attrs.get("alt")
        if tag == "svg":
            assert attrs.get("aria-hidden") == "true" or attrs["aria-label"]


def test_alternative_texts_tell_what_the_pictures_show(reader):
    labels = [attrs.get("aria-label") or "" for _, attrs in reader.tags]
    assert any("AUROC" in label and "teacher 0.922" in label for label in labels)
    assert any("1 lesion (1 found), 1 hit, 1 false alarm" in label for label in labels)


@every_page
def test_nothing_is_loaded_and_nothing_runs(pages, name):
    html = pages[name]
    for tag, attrs in Reader(html).tags:
        assert tag not in ("script", "iframe", "object", "embed")
        assert not [name for name in attrs if name.startswith("on")]
        for name in ("src", "href", "xlink:href", "srcset", "data"):
            assert re.match(r"#|data:", attrs.get(name, "#")), (tag, attrs)
    assert "@import" not in html
    assert not re.search(r"url\((?!#)", html)
    assert "://" not in html
    assert "default-src 'none'" in html


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
    for value in (result["commit"], result["hardware"], result["data"]["data_hash"]):
        assert value in reader.text
    for words in ("sharpening.center 0.4", "jax 0.4.38", "Seed 17"):
        assert words in reader.text
    assert "train 280 2,100 21,300 23,680" in reader.text


def test_missing_facts_are_said_and_missing_results_are_an_error(inputs):
    result = make_result()
    del result["commit"], result["hardware"]
    text = Reader(page.render(**{**inputs, "result": result})).text
    assert "Commit not recorded" in text
    del result["metrics"]
    with pytest.raises(ValueError, match="metrics"):
        page.render(**{**inputs, "result": result})


def test_strings_are_escaped_everywhere(inputs):
    result = make_result()
    for field in ("title", "finding", "method", "scale", "commit", "hardware"):
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


def test_same_run_gives_the_same_bytes(inputs, html):
    assert page.render(**inputs).encode() == html.encode()


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
    assert training.stage_offsets(rows[:1] + rows) == {
        "pretrain": 0.0,
        "distill": offset,
    }


def test_of_rows_written_twice_the_later_one_counts():
    rows = [
        {"stage": "pretrain", "step": s, "a": v} for s, v in ((1, 1), (2, 9), (2, 3))
    ]
    np.testing.assert_array_equal(training.read_series(rows)["a"].y, [1, 3])


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


@pytest.mark.parametrize(
    ("section", "field"),
    [
        ("comparison", "differences"),
        ("calibration", "calibration"),
        ("operating", "operating_points"),
        ("subgroups", "subgroups"),
    ],
)
def test_a_section_is_there_exactly_when_it_has_something(score, section, field):
    assert section in headings(Reader(page.render(result=score["result"], curves={})))
    for nothing in ({}, {field: None}, {field: type(score["result"][field])()}):
        result = {k: v for k, v in score["result"].items() if k != field}
        text = page.render(result={**result, **nothing}, curves={})
        assert section not in headings(Reader(text))


def test_a_score_page_speaks_only_of_what_it_has(pages):
    html, reader = pages["score"], Reader(pages["score"])
    assert re.search("<title>Detections of a system . detection score report</", html)
    for words in ("not recorded", "AALS", "training", "config", "FROC, area rule"):
        assert words.lower() not in reader.text.lower(), words
    assert "training" not in headings(reader)
    for words in ("hit center_in_box", "Images images.csv", "Hardware 2 x NVIDIA"):
        assert words in reader.text
    assert "AALS run report</title>" in pages["run"]


def test_a_page_needs_no_history_no_pictures_and_no_curves():
    result = {"kind": "score", "title": "a", "data": {}, "metrics": {}}
    assert headings(Reader(page.render(result=result, curves={}))) == ["results"]


def test_an_unknown_kind_of_page_is_refused(score):
    result = {**score["result"], "kind": "walk"}
    with pytest.raises(ValueError, match=r"kind.*'walk'.*'run', 'score'"):
        page.render(**{**score, "result": result})


def test_notes_and_further_plain_entries_are_shown(score):
    result = {**score["result"], "split": "test", "notes": ["One.", "Two & three."]}
    text = Reader(page.render(**{**score, "result": result})).text
    assert "One. Two & three." in text
    assert "Split test" in text


def without_numbers(tree):
    """Every None becomes nan."""
    if isinstance(tree, dict):
        return {key: without_numbers(value) for key, value in tree.items()}
    if isinstance(tree, list):
        return [without_numbers(value) for value in tree]
    return math.nan if tree is None else tree


def test_nan_and_none_are_the_same_page(score, pages):
    result = without_numbers(score["result"])
    assert page.render(**{**score, "result": result}) == pages["score"]


@given(
    st.lists(
        st.tuples(*3 * [st.none() | st.floats(-1e6, 1e6, allow_subnormal=False)]).map(
            lambda triple: sorted(triple, key=lambda x: (x is None, x))
        ),
        min_size=1,
        max_size=5,
    ),
    st.booleans(),
)
def test_bars_stay_inside_their_scale_and_hold_their_value(triples, around_zero):
    cells = [{"low": low, "value": value, "high": high} for low, value, high in triples]
    make = entries.scale_around_zero if around_zero else entries.scale_around
    scale = make(cells)
    for cell in cells:
        bar = entries.view(cell, scale=scale).bar
        assert (bar is None) == (cell["value"] is None)
        if bar is not None:
            assert -0.01 <= bar.left <= bar.dot + 0.01
            assert bar.dot <= bar.left + bar.width + 0.02 <= 100.04
    if scale is not None:
        assert scale.at(scale.low) == 0
        assert scale.at(scale.high) == 100
        assert not around_zero or scale.at(0) == 50


@pytest.mark.parametrize(
    ("write", "value", "text"),
    [
        (wording.signed, 0.0196, "+0.020"),
        (wording.signed, -0.0942, f"{wording.MINUS}0.094"),
        (wording.signed, 0, "0"),
        (wording.signed, None, "—"),
        (wording.p_value, 0.0005, "< 0.001"),
        (wording.p_value, 0.071, "0.071"),
        (wording.threshold, 0.312749, "0.3127"),
        (wording.threshold, 0.99999871, "0.99999871"),
        (wording.threshold, math.inf, "above every score"),
        (wording.threshold, None, "—"),
    ],
)
def test_numbers_are_written_for_people(write, value, text):
    assert write(value) == text


def test_every_number_of_the_new_sections_stands_there(score, pages):
    reader = Reader(pages["score"])
    exact = {attrs["value"] for tag, attrs in reader.tags if tag == "data"}

    def shown(cell, write=wording.number):
        if cell["value"] is None:
            assert cell["reason"] in reader.text
            return
        assert repr(cell["value"]) in exact
        assert f"{write(cell['low'])} to {write(cell['high'])}" in reader.text

    for points in score["result"]["operating_points"].values():
        for point in points:
            assert repr(point["threshold"]) in exact
            for cell in point["measured"].values():
                shown(cell)
    for groups in score["result"]["subgroups"].values():
        for group in groups:
            for cell in group["metrics"].values():
                shown(cell)
    for record in score["result"]["differences"]:
        shown(record, wording.signed)
        assert record["method"] in reader.text


def test_the_interval_of_delong_is_a_second_line(pages):
    text = Reader(pages["score"]).text
    assert "0.881 to 0.921 DeLong 0.881 to 0.940" in text
    assert "{" not in text


def test_further_intervals_have_their_own_name_and_caveat():
    cell = {"value": 0.8, "low": 0.7, "high": 0.9}
    other = {"low": 0.6, "high": 0.95, "interval": "95 % DeLong", "note": "as if alone"}
    shown = entries.view({**cell, "delong": other})
    assert shown.others == ("DeLong 0.600 to 0.950",)
    assert shown.caveats == ("DeLong: as if alone",)
    clustered = other | {"interval": "95 % Obuchowski's variance over patients"}
    shown = entries.view({**cell, "delong": clustered})
    assert shown.others == ("Obuchowski 0.600 to 0.950",)
    lost = {"low": None, "high": None, "interval": "none", "reason": "too few"}
    assert entries.view({**cell, "delong": lost}).caveats == ("DeLong: too few",)
    assert not entries.view({**cell, "reason": "too few", "delong": lost}).caveats


def test_an_operating_point_says_where_it_was_chosen_and_what_it_lacks():
    points = make_operating_points(("a", "b"))
    points["b"][0] |= {"threshold": None, "measured": {}, "reason": ONE_CLASS}
    points["b"][1] |= {"chosen_on": "the test set itself", "n_images": 412}
    (image, lesion) = operating.blocks(points, slots={"a": 0, "b": 1})
    assert (image.level, lesion.level) == ("image level", "lesion level")
    assert image.rows[1].threshold == "—"
    assert image.rows[1].reason == ONE_CLASS
    assert not image.rows[1].is_measured
    assert [who for who, _ in lesion.rules] == ["a", "b"]
    assert lesion.rules[1][1].endswith("Chosen on the test set itself.")
    assert lesion.rows[1].facts == (f"412{wording.NBSP}images",)
    result = {"title": "a", "data": {}, "metrics": {}, "operating_points": points}
    text = Reader(page.render(result=result, curves={})).text
    assert f"b — {ONE_CLASS}" in text
    assert "Chosen on validation." in text


def test_a_reliability_curve_has_a_row_a_bin_and_names_its_worst_gap(score, pages):
    by_model = score["result"]["calibration"]
    slots = {model: i for i, model in enumerate(by_model)}
    metrics = score["result"]["metrics"]
    first, _ = calibration.figures(by_model, metrics=metrics, slots=slots)
    assert len(first.bins) == 11
    assert first.bins[-1] == ("—", "—", "—", "0")
    assert f"10{wording.NBSP}bins with images" in first.alt
    assert "mean score 0.450, observed share 0.279" in first.alt  # 0.45 ** 1.6
    assert "Brier score 0.071" in first.alt
    reader = Reader(pages["score"])
    assert first.alt in [attrs.get("aria-label") for _, attrs in reader.tags]
    assert "Ten bins of equal width" in reader.text


def test_a_model_without_bins_gives_its_reason_and_no_drawing():
    record = {"definition": "d", "bins": [], "reason": "scores leave 0 to 1"}
    (figure,) = calibration.figures({"a": record}, metrics={}, slots={"a": 0})
    assert figure.drawing is None
    assert figure.reason == "scores leave 0 to 1"
    (figure,) = calibration.figures({"a": {}}, metrics={}, slots={"a": 0})
    assert "no reason was recorded" in figure.reason


def test_a_forest_has_every_group_and_the_line_of_the_whole_set(score):
    result = score["result"]
    slots = {model: i for i, model in enumerate(result["metrics"])}
    columns = forest.columns(
        result["subgroups"], metrics=result["metrics"], slots=slots
    )
    assert [column.title for column in columns] == ["sex", "age band", "lesion size"]
    scales = {f.name: f.scale for column in columns for f in column.forests}
    for column in columns:
        for drawn in column.forests:
            assert drawn.scale == scales[drawn.name]  # one scale a metric
            for group in drawn.groups:
                assert "images" in group.counts
                for row in group.rows:
                    whole = result["metrics"][row.model][drawn.name]["value"]
                    assert row.whole == drawn.scale.at(whole)
    ages = columns[1].forests[0].groups
    assert [group.name for group in ages] == ["0 to 39", "40 to 64", "65 and above"]
    assert {row.entry.reason for row in ages[0].rows} == {ONE_CLASS}
    assert all(row.entry.bar for row in ages[1].rows)


def test_counts_that_differ_between_models_stand_in_their_rows():
    groups = make_subgroups(("a", "b"))
    groups["b"][0]["n_images"] = 7
    columns = forest.columns(groups, metrics={}, slots={"a": 0, "b": 1})
    group = columns[0].forests[0].groups[0]
    assert group.counts == ""
    assert group.rows[1].counts.startswith(f"7{wording.NBSP}images")
    assert group.rows[0].whole is None


def test_differences_of_a_pair_share_one_scale_with_zero_in_the_middle():
    records = [*make_differences("a", "b"), make_differences("a", "c")[0]]
    slots = {"a": 0, "b": 1, "c": 2}
    first, second = comparison.pairs(records, slots=slots)
    assert (first.a, first.b) == (("a", 0), ("b", 1))
    assert (first.scale.low, first.scale.high) == (-0.2, 0.2)
    assert second.scale.high == 0.05
    auroc, area, count = first.rows
    assert (auroc.entry.value, auroc.p_value) == ("+0.020", "< 0.001")
    assert (area.entry.reason, area.p_value) == (REASON, "—")
    assert count.entry.bar.dot < 50
    assert auroc.entry.bar.left > 50


def test_a_model_keeps_its_colour_in_every_section(score, pages):
    drawn = re.findall(
        r'stroke="var\(--line-(\d)\)"[^>]*></svg>([a-z ]+)', pages["score"]
    )
    assert {model: {s for s, m in drawn if m == model} for _, model in drawn} == {
        "detections": {"0"},
        "other detections": {"1"},
    }
    assert len(drawn) > 20


@pytest.mark.parametrize(
    "field", ["operating_points", "calibration", "subgroups", "differences"]
)
def test_a_model_may_be_known_to_one_section_only(field):
    sections = {field: make_sections(("a", "b"))[field]}
    result = {"title": "a", "data": {}, "metrics": {}, **sections}
    html = page.render(result=result, curves={})
    assert "var(--line-0)" in html
    assert "var(--line-1)" in html


def test_a_picture_without_a_map_has_marks_and_no_scale_of_a_map(score, pages):
    reader = Reader(pages["score"])
    assert not [tag for tag, attrs in reader.tags if attrs.get("class") == "ramp"]
    assert "probability map" not in pages["score"]
    assert "the same image with what was reported" in reader.text
    images = [attrs for tag, attrs in reader.tags if tag == "image"]
    assert len(images) == len(score["examples"])
    labels = [attrs.get("aria-label") or "" for _, attrs in reader.tags]
    assert any("1 lesion (1 found), 1 hit, 1 false alarm" in label for label in labels)


def test_the_worst_misses_and_the_surest_alarms_come_first():
    rng = np.random.default_rng(0)
    examples = [
        dataclasses.replace(make_example(rng, kind, side=32), score=score)
        for score in (0.2, 0.9, 0.5)
        for kind in pictures.KINDS
    ]
    shown = {g[0].kind: [p.score for p in g] for *_, g in pictures.galleries(examples)}
    assert shown["miss"] == shown["clear"] == ["0.200", "0.500", "0.900"]
    assert shown["false_alarm"] == shown["hit"] == ["0.900", "0.500", "0.200"]


def test_strings_of_the_new_sections_are_escaped():
    names = (ATTACK, f"{ATTACK} b")
    sections = make_sections(names)
    for groups in sections["subgroups"].values():
        for group in groups:
            group["column"] = group["group"] = ATTACK
            group["metrics"] = {ATTACK: {"value": None, "reason": ATTACK}}
    for points in sections["operating_points"].values():
        for point in points:
            point["name"] = point["level"] = point["rule"] = ATTACK
            point["chosen_on"] = point["reason"] = point[ATTACK] = ATTACK
            point["measured"] = {ATTACK: interval(0.5), "ppv": {"reason": ATTACK}}
    for record in sections["calibration"].values():
        record["definition"] = record["reason"] = ATTACK
    for record in sections["differences"]:
        record["metric"] = record["method"] = record[ATTACK] = ATTACK
    result = {
        "kind": "score",
        "title": ATTACK,
        "data": {ATTACK: ATTACK},
        "settings": {ATTACK: ATTACK},
        "metrics": {},
        ATTACK: ATTACK,
        **sections,
        "notes": [ATTACK],
    }
    html = page.render(result=result, curves={})
    assert "<script" not in html
    reader = Reader(html)
    assert reader.inside == []
    assert reader.text.count(ATTACK) > 50
    assert len(headings(reader)) == 6


def test_a_score_page_is_the_same_every_time(pages):
    assert page.render(**make_score()) == pages["score"]


def test_small_numbers_beside_a_plot_keep_their_digits():
    figure, axes = plots.canvas(width=340, height=230)
    axes.set_yticks([0.0], ["0.00125"])
    body = plots.svg(figure, key="a").body
    assert ">0.00125<" in body
    assert not re.search(r"<[^>]*\.\d{3}[^>]*>", re.sub("<!--.*?-->", "", body))


# In a real browser ------------------------------------------------------------------

needs_browser = pytest.mark.skipif(CHROMIUM is None, reason="no chromium on the path")
AWAY = "http://127.0.0.1:9/away.png"
# A window has 500 pixels or more, a frame as many as it likes.
FRAME = """<iframe style="border:0" width="390" height="900" srcdoc="{}"></iframe>"""
MEASURE = """<script>onload = () => {
  document.title = Array.from(document.querySelectorAll("iframe"), frame => {
    const shown = frame.contentDocument;
    const wide = [shown.documentElement.scrollWidth, shown.body.scrollWidth];
    return shown.defaultView.innerWidth + ":" + Math.max(...wide);
  }).join(" ");
};</script>"""


def browse(folder, html, *flags):
    """Opens a page without a network; what chromium says, and asks for over http."""
    (folder / "page.html").write_text(html, encoding="utf-8")
    log = folder / "net.json"
    quiet = "no-first-run disable-gpu disable-background-networking disable-sync"
    done = subprocess.run(
        [
            str(CHROMIUM),
            "--headless",
            "--no-sandbox",
            "--hide-scrollbars",
            *(f"--{flag}" for flag in f"{quiet} disable-component-update".split()),
            f"--user-data-dir={folder / 'profile'}",
            "--proxy-server=http://127.0.0.1:9",
            f"--log-net-log={log}",
            "--enable-logging=stderr",
            *flags,
            f"file://{folder / 'page.html'}",
        ],
        capture_output=True,
        text=True,
        timeout=300,
        check=True,
    )
    events = [
        event.get("params", {}) for event in json.loads(log.read_text())["events"]
    ]
    asked = {
        event["url"]
        for event in events
        # the browser's own requests come from no page
        if event.get("initiator", "not an origin") != "not an origin"
        and re.match(r"(https?|wss?|ftp):", event.get("url", ""))
    }
    return done, asked


@needs_browser
@pytest.mark.parametrize(("name", "width"), [("full run", 390), ("score", 1280)])
def test_a_browser_shows_the_page_without_complaint(pages, tmp_path, name, width):
    shot = tmp_path / "shot.png"
    flags = f"--window-size={width},1600", f"--screenshot={shot}"
    done, asked = browse(tmp_path, pages[name], *flags)
    assert "CONSOLE" not in done.stderr
    assert not asked
    pixels = cv2.imread(str(shot))
    assert pixels is not None
    assert pixels.shape == (1600, width, 3)
    assert pixels.std() > 5


@needs_browser
def test_this_test_would_see_a_request_and_the_page_would_stop_it(pages, tmp_path):
    picture = f"<body><img src='{AWAY}'>"
    _, asked = browse(tmp_path, picture, "--dump-dom")
    assert AWAY in asked
    html = pages["one model"].replace("<body>", picture)
    done, asked = browse(tmp_path, html, "--dump-dom")
    assert not asked
    assert "CONSOLE" in done.stderr


def widths_of(folder, pages):
    """(width of the view, width of what is in it) of pages on a phone, CSS pixels."""
    frames = [
        FRAME.format(html.replace("&", "&amp;").replace('"', "&quot;"))
        for html in pages
    ]
    html = f"<!DOCTYPE html>{''.join(frames)}{MEASURE}"
    done, _ = browse(folder, html, "--window-size=900,1000", "--dump-dom")
    found = re.findall(r"<title>(.*?)</title>", done.stdout)[0].split()
    return [tuple(map(int, each.split(":"))) for each in found]


@pytest.fixture(scope="module")
def long_words():
    """A score page whose names are long and have no space."""
    word = "averylongname" * 9
    names = (word, f"{word}b")
    sections = make_sections(names)
    for groups in sections["subgroups"].values():
        for group in groups:
            group["column"] = group["group"] = word
            group["metrics"] = {word: interval(0.5), "auroc": {"reason": word}}
    for points in sections["operating_points"].values():
        for point in points:
            point["name"] = point["rule"] = point["chosen_on"] = word
            point["measured"] = {word: interval(0.5), "ppv": {"reason": word}}
    for record in sections["differences"]:
        record["metric"] = record["method"] = word
    for record in sections["calibration"].values():
        record["definition"] = record["reason"] = word
    metrics = {name: {word: metric(0.5, word, **{word: word})} for name in names}
    return page.render(
        result={
            "kind": "score",
            "title": word,
            "data": {word: word, "splits": {word: {word: 1, "b": 2}}},
            "settings": {word: word},
            "versions": {word: word},
            "hardware": word,
            "metrics": metrics,
            **sections,
            "notes": [word],
        },
        curves=dict.fromkeys(names, make_curves(np.random.default_rng(0))["teacher"]),
    )


@needs_browser
def test_a_phone_never_scrolls_sideways(pages, long_words, tmp_path):
    """The last page is too wide on purpose: it shows that the test can see it."""
    wide = '<main><div style="width:412px">wide</div>'
    shown = [pages["full run"], pages["score"], pages["one model"], long_words]
    shown.append(pages["one model"].replace("<main>", wide))
    *good, bad = widths_of(tmp_path, shown)
    assert good == 4 * [(390, 390)]
    assert bad[0] == 390
    assert bad[1] > 390
