"""Exactness and speed of the metrics beside MONAI and picai_eval, on the same inputs.

    python benchmarks/froc_vs_peers.py [--repeats 5] [--parts cases speed memory growth]

The peers are no requirements of the project; where one is missing, its columns are:
    pip install monai torch picai_eval

cases   easy sets as plain numbers, and what each code makes of them
speed   medians of CPU seconds (one thread, ours and theirs in turns) and their ratios
memory  peak of what a bootstrap allocates, by the number of replicates
growth  time and peak memory at 1,000, 10,000 and 100,000 images
"""

import argparse
import contextlib
import dataclasses
import gc
import importlib
import importlib.metadata
import io
import os
import platform
import sys
import time
import tracemalloc
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

os.environ["OPENBLAS_NUM_THREADS"] = "1"
sys.path.insert(0, str(Path(__file__).parent.parent))

import cv2
import numpy as np
from scipy import ndimage, special

from aals_jax.metrics import detection, froc, intervals, matching, roc
from aals_jax.metrics.draws import Draws

PEERS = {"monai": "pip install monai torch", "picai_eval": "pip install picai_eval"}
SIDE = 1024  # pixels of an image
MAP_SIDE = 48  # pixels of the maps of froc_area
AREA_BYTES = 2**31  # froc_area keeps 4 n t bytes; more lesions are left out


def peer(name: str, module: str) -> Any:
    """A module of a peer, or None with a line that says how to get it."""
    try:
        with contextlib.redirect_stdout(io.StringIO()):  # they greet at import
            return importlib.import_module(module)
    except ImportError:
        print(f"{name} is not installed, its numbers are left out: {PEERS[name]}")
        return None


MONAI = peer("monai", "monai.metrics.froc")
PICAI = peer("picai_eval", "picai_eval.eval")


def versions() -> str:
    names = ("numpy", "scipy", "opencv-python-headless", *PEERS)
    found = [f"Python {platform.python_version()}"]
    for name in names:
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            found.append(f"{name} {importlib.metadata.version(name)}")
    return ", ".join(found)


# --- the same inputs for all


@dataclasses.dataclass(frozen=True)
class Readings:
    """Images with detections and lesions, in the form that each code reads."""

    found: list[np.ndarray]  # n of f64[k, 3]
    boxes: list[np.ndarray]  # n of f64[m, 4]
    match: matching.Match
    score: np.ndarray  # f64[n], of the image
    label: np.ndarray  # i64[n]

    def lesion_results(self) -> dict[int, list[tuple[int, float, float]]]:
        """As picai_eval keeps them: (is lesion, confidence or 0, overlap)."""
        rows: dict[int, list] = {i: [] for i in range(len(self.found))}
        hit = np.maximum(self.match.lesion_score, 0.0).tolist()
        for i, score in zip(self.match.lesion_image.tolist(), hit, strict=True):
            rows[i].append((1, score, 1.0))
        false = zip(
            self.match.false_image.tolist(),
            self.match.false_score.tolist(),
            strict=True,
        )
        for i, score in false:
            rows[i].append((0, score, 0.0))
        return rows


def readings(num_images: int, seed: int = 0) -> Readings:
    """5.4 detections and 0.4 lesions an image, on 30 % of them; 10 % are missed."""
    rng = np.random.default_rng(seed)
    positive = rng.choice(num_images, int(0.3 * num_images), replace=False)
    second = rng.choice(positive, num_images // 10, replace=False)
    lesion_image = np.sort(np.concatenate([positive, second]))
    m = len(lesion_image)
    size = rng.uniform(20, 100, (m, 2))
    corner = rng.random((m, 2)) * (SIDE - size)
    boxes = np.concatenate([corner, corner + size], axis=1)
    seen = rng.random(m) < 0.9
    k = int(5.4 * num_images) - int(seen.sum())
    image = np.concatenate([lesion_image[seen], rng.integers(0, num_images, k)])
    points = np.concatenate([(corner + size / 2)[seen], rng.random((k, 2)) * SIDE])
    score = special.expit(
        np.concatenate([rng.normal(1, 1, seen.sum()), rng.normal(-0.5, 1, k)])
    )
    rows = np.concatenate([points, score[:, None]], axis=1)

    def split(rows: np.ndarray, image: np.ndarray) -> list[np.ndarray]:
        ends = np.cumsum(np.bincount(image, minlength=num_images))[:-1]
        return np.split(rows[np.argsort(image, kind="stable")], ends)

    found, lesions = split(rows, image), split(boxes, lesion_image)
    highest = np.zeros(num_images)
    np.maximum.at(highest, image, score)
    label = np.bincount(lesion_image, minlength=num_images) > 0
    return Readings(
        found,
        lesions,
        matching.match_images(found, lesions),
        highest,
        label.astype(int),
    )


def area_of(data: Readings, seed: int = 0) -> froc.FrocData:
    """froc_area of random maps, brighter at the lesions."""
    rng = np.random.default_rng(seed)
    shape = (len(data.found), MAP_SIDE, MAP_SIDE)
    maps = rng.random(shape, np.float32) ** 4
    most = AREA_BYTES // (4 * len(data.found))  # lesions
    past = np.cumsum([len(each) for each in data.boxes]) > most
    boxes = [
        each[: 0 if late else None] * MAP_SIDE / SIDE
        for each, late in zip(data.boxes, past, strict=True)
    ]
    for values, each in zip(maps, boxes, strict=True):
        for x, y in ((each[:, :2] + each[:, 2:]) / 2).astype(int):
            values[y, x] = rng.random() ** 0.5
    return froc.area_data(maps, boxes)


def bright_map(seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """A map f32[1024, 1024] with twelve blobs on a smooth ground, three in boxes."""
    rng = np.random.default_rng(seed)
    ground = ndimage.gaussian_filter(rng.random((SIDE, SIDE)), 8)
    values = 0.1 * (ground - ground.min()) / np.ptp(ground)
    y, x = np.mgrid[:SIDE, :SIDE]
    centers = rng.integers(40, SIDE - 40, (12, 2))
    for at_x, at_y in centers:
        width, height = rng.uniform(6, 14), rng.uniform(0.3, 0.95)
        far = (x - at_x) ** 2 + (y - at_y) ** 2
        values = np.maximum(values, height * np.exp(-far / (2 * width**2)))
    boxes = np.concatenate([centers[:3] - 20, centers[:3] + 20], axis=1)
    return values.astype(np.float32), boxes.astype(np.float64)


# --- cases: what each makes of sets that can be counted by hand


def by_ours(hit: list[float], missed: int, false: list[float], limit: float) -> float:
    lesions = np.array([*hit, *[-np.inf] * missed])
    zeros = [np.zeros(len(each), int) for each in (lesions, false)]
    match = matching.Match(lesions, zeros[0], np.array(false), zeros[1], np.empty(0))
    return float(froc.sensitivity_at(froc.matched_data(match, 1), (limit,))[0])


def by_monai(hit: list[float], missed: int, false: list[float], limit: float) -> float:
    lesions = np.array([*hit, *[0.0] * missed])
    curve = MONAI.compute_froc_curve_data(np.array(false), lesions, len(lesions), 1)
    return float(MONAI.compute_froc_score(*curve, eval_thresholds=(limit,)))


def by_picai(hit: list[float], missed: int, false: list[float], limit: float) -> float:
    rows = [(1, score, 1.0) for score in [*hit, *[0.0] * missed]]
    rows += [(0, score, 0.0) for score in false]
    return float(PICAI.Metrics({0: rows}).lesion_TPR_at_FPR(limit))


CURVES = {  # one image: (scores of hits, missed lesions, false positives, limit)
    "hit at 0.1, false positive at 0.2; at 1": ([0.1], 0, [0.2], 1.0),
    "one hit and nothing else; at 1": ([0.1], 0, [], 1.0),
    "only a false positive, one missed lesion; at 1": ([], 1, [0.2], 1.0),
    "hit and false positive tie at 0.5, one missed; at 0.5": ([0.5], 1, [0.5], 0.5),
}


def in_the_corner() -> str:
    """What ours says of a point outside of its image, with a lesion in the corner."""
    detections, lesions = np.array([[-1, -1, 0.9]]), np.array([[8, 8, 10, 10]])
    try:
        matching.match(detections, lesions, image_shape=(10, 10))
    except ValueError:
        return "refused"
    return "no fault"


def masks_of_monai() -> list[tuple[str, str, float]]:
    """(case, right and ours, MONAI) where its input is a mask of labels."""
    gap, corner = np.zeros((2, 10, 10), int)
    gap[1:3, 1:3], gap[6:8, 6:8], corner[8:, 8:] = 1, 3, 1
    find = MONAI.compute_fp_tp_probs_nd
    hits = find(np.array([0.9, 0.8]), np.array([[1, 1], [6, 6]]), gap)
    wrapped = find(np.array([0.9]), np.array([[-1, -1]]), corner)
    tie = find(np.array([0.1, 0.1]), np.array([[1, 1], [9, 9]]), gap % 3)
    curve = MONAI.compute_froc_curve_data(*tie, 1)
    at_zero = MONAI.compute_froc_score(*curve, eval_thresholds=(0.0,))
    return [
        ("labels 1 and 3, both hit: share of lesions", "1", sum(hits[1] > 0) / hits[2]),
        (
            "a point at (-1, -1): hits on the lesion in the last corner",
            in_the_corner(),
            len(wrapped[1]),
        ),
        ("hit and false positive tie at 0.1; at 0", "0", at_zero),
    ]


def cases() -> None:
    print("\n| case | right, and ours | MONAI | picai_eval |\n|---|---|---|---|")
    for name, case in CURVES.items():
        others = [
            f"{function(*case):.3g}" if module else "-"
            for function, module in ((by_monai, MONAI), (by_picai, PICAI))
        ]
        print(f"| {name} | {by_ours(*case):.3g} | {others[0]} | {others[1]} |")
    for name, right, theirs in masks_of_monai() if MONAI else []:
        print(f"| {name} | {right} | {theirs:.3g} | |")
    if PICAI:
        one_class()
        many_thresholds()


def one_class() -> None:
    """Four images, one positive: some replicates have one class."""
    scores, labels = np.array([0.9, 0.2, 0.95, 0.0]), np.array([1, 0, 0, 0])
    ours = intervals.patient_bootstrap(
        Draws(range(4), seed=0), lambda w: roc.auroc(scores, labels, weights=w)
    )
    rows = {i: [(labels[i], scores[i], 1.0)] for i in range(4)}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        low, high = PICAI.Metrics(rows).bootstrap_score_ci(200, seed=0)["auroc_95_ci"]
    print(
        f"| AUROC of 4 images, 1 positive: 95 % interval | {ours.low:.2g} to "
        f"{ours.high:.2g}, {ours.rejected} of {ours.replicates} replicates rejected | "
        f"| {low:.2g} to {high:.2g} |"
    )


def many_thresholds() -> None:
    """Beyond 10,000 distinct scores it looks at some of them only."""
    data = readings(10_000)
    metrics = PICAI.Metrics(data.lesion_results())
    limits = np.geomspace(0.01, 2.0, 200)
    rate, recall = metrics.lesion_FPR, metrics.lesion_TPR
    theirs = recall[np.searchsorted(rate, limits, side="right") - 1]
    ours = froc.sensitivity_at(froc.matched_data(data.match, 10_000), limits)
    worst = np.max(np.abs(ours - theirs))
    print(
        f"| 54,000 distinct scores, {len(rate)} of them looked at: largest error of a "
        f"sensitivity at 0.01 to 2 | 0 | | {worst:.2g} |"
    )


# --- speed


def cpu_seconds(call: Callable[[], Any]) -> float:
    started = time.process_time()
    call()
    return time.process_time() - started


def in_turns(calls: dict[str, Callable[[], Any]], repeats: int) -> dict[str, float]:
    """Median CPU seconds of each, one after the other, several times."""
    gc.freeze()  # the inputs are many small objects that no collection need visit
    rounds = [
        {name: cpu_seconds(call) for name, call in calls.items()}
        for _ in range(repeats)
    ]
    return {name: float(np.median([each[name] for each in rounds])) for name in calls}


def compare(
    what: str,
    calls: dict[str, Callable[[], Any]],
    repeats: int,
    *,
    per: dict[str, int] | None = None,
) -> None:
    """One row a call; the first one is ours and the others are compared with it."""
    found = in_turns(calls, repeats)
    found = {name: x / (per or {}).get(name, 1) for name, x in found.items()}
    ours = next(iter(found.values()))
    for name, seconds in found.items():
        ratio = "" if seconds == ours else f"{seconds / ours:,.0f}"
        print(f"| {what} | {name} | {1000 * seconds:,.2f} | {ratio} |", flush=True)


def curve_and_points(data: froc.FrocData) -> tuple[froc.FrocCurve, np.ndarray]:
    return froc.froc_curve(data), froc.sensitivity_at(data, froc.COUNT_LIMITS)


def curves(data: Readings, repeats: int) -> None:
    n, match = len(data.found), data.match
    hit = np.maximum(match.lesion_score, 0.0)

    def monai() -> None:
        curve = MONAI.compute_froc_curve_data(match.false_score, hit, len(hit), n)
        for limit in froc.COUNT_LIMITS:
            MONAI.compute_froc_score(*curve, eval_thresholds=(limit,))

    rows = data.lesion_results() if PICAI else {}

    def picai() -> None:
        metrics = PICAI.Metrics(rows)
        rate, recall = metrics.lesion_FPR, metrics.lesion_TPR
        for limit in froc.COUNT_LIMITS:  # as its lesion_TPR_at_FPR, once for all
            _ = recall[rate <= limit][-1:]

    calls = {
        "ours, matching included": lambda: curve_and_points(
            froc.count_data(data.found, data.boxes)
        ),
        **({"MONAI, matched before": monai} if MONAI else {}),
        **({"picai_eval, matched before": picai} if PICAI else {}),
    }
    compare(f"curve and 6 points, {n:,} images", calls, repeats)
    calls["ours, matching included"] = lambda: curve_and_points(
        froc.matched_data(match, n)
    )
    renamed = {
        name.replace(", matching included", ", matched before"): call
        for name, call in calls.items()
    }
    compare("the same", renamed, repeats)


def replicates(data: Readings, repeats: int) -> None:
    """Per replicate: ours AUROC and both FROC values, picai_eval's AUROC and AP."""
    n = len(data.found)
    statistics = bootstrap_statistics(data, area_of(data))
    counts = {"ours: AUROC, both FROC values": 512, "picai_eval: AUROC, AP": 2}

    def ours() -> None:
        intervals.draw(Draws(range(n), replicates=512, seed=0), statistics)

    calls: dict[str, Callable[[], Any]] = {"ours: AUROC, both FROC values": ours}
    if PICAI:
        metrics = PICAI.Metrics(data.lesion_results())
        calls["picai_eval: AUROC, AP"] = lambda: metrics.bootstrap_score_ci(2, 0)
    what = f"a replicate of the bootstrap, {n:,} images"
    compare(what, calls, repeats, per=counts)


def bootstrap_statistics(
    data: Readings, area: froc.FrocData | None
) -> dict[str, intervals.Statistic]:
    count = froc.matched_data(data.match, len(data.found))
    found: dict[str, intervals.Statistic] = {
        "auroc": lambda w: roc.auroc(data.score, data.label, weights=w),
        "count": lambda w: froc.froc_score(count, froc.COUNT_LIMITS, weights=w),
    }
    if area is not None:
        found["area"] = lambda w: froc.froc_score(area, froc.AREA_LIMITS, weights=w)
    return found


def detections(repeats: int) -> None:
    """Both look for what is at least 0.4 of the peak, as picai_eval's example does."""
    values, boxes = bright_map()
    truth = np.zeros((1, SIDE, SIDE), np.int32)
    for x0, y0, x1, y1 in boxes.astype(int):
        truth[0, y0:y1, x0:x1] = 1

    def ours() -> matching.Match:
        found = detection.find_detections(
            values, min_distance=20, threshold=0.4 * float(values.max())
        )
        return matching.match(found.rows(), boxes, image_shape=values.shape)

    calls: dict[str, Callable[[], Any]] = {"ours": ours}
    if PICAI:
        with contextlib.redirect_stdout(io.StringIO()):
            module = importlib.import_module("report_guided_annotation")
        calls["picai_eval, its default candidates"] = lambda: PICAI.evaluate_case(
            values[None],
            truth,
            y_det_postprocess_func=lambda x: module.extract_lesion_candidates(x)[0],
        )
    compare("detection and matching, a 1024 x 1024 map", calls, max(repeats, 9))


def speed(repeats: int) -> None:
    print("\n| what | who | CPU ms | times ours |\n|---|---|---|---|")
    data = readings(10_000)
    curves(data, repeats)
    replicates(data, repeats)
    detections(repeats)


# --- memory and growth


def peak_mib(call: Callable[[], Any]) -> float:
    tracemalloc.start()
    call()
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    return peak / 2**20


def memory() -> None:
    print("\n| replicates, 10,000 images | peak MiB allocated |\n|---|---|")
    statistics = bootstrap_statistics(readings(10_000), None)
    for number in (256, 1024, 4096):

        def run(number: int = number) -> None:
            intervals.draw(Draws(range(10_000), replicates=number, seed=0), statistics)

        print(f"| {number:,} | {peak_mib(run):.0f} |", flush=True)


def growth(repeats: int) -> None:
    print(
        "\n| images | lesions | matching, curve, 6 points: ms | peak MiB | "
        "a replicate of AUROC and froc_count: ms | peak MiB | "
        "lesions of froc_area | area_data: s | it keeps MiB | a replicate: ms |\n"
        "|---|---|---|---|---|---|---|---|---|---|"
    )
    for n in (1_000, 10_000, 100_000):
        data = readings(n)

        def whole(data: Readings = data) -> Any:
            return curve_and_points(froc.count_data(data.found, data.boxes))

        cells = [f"{n:,}", f"{len(data.match.lesion_score):,}"]
        cells += timed_and_peak(whole, repeats, 1)
        statistics = bootstrap_statistics(data, None)
        cells += bootstrap_cells(statistics, n, repeats)
        print(f"| {' | '.join(cells + area_cells(data, repeats))} |", flush=True)


def timed_and_peak(call: Callable[[], Any], repeats: int, number: int) -> list[str]:
    seconds = np.median([cpu_seconds(call) for _ in range(repeats)])
    return [f"{1000 * seconds / number:,.3g}", f"{peak_mib(call):,.0f}"]


def bootstrap_cells(
    statistics: dict[str, intervals.Statistic], n: int, repeats: int
) -> list[str]:
    def run() -> None:
        intervals.draw(Draws(range(n), replicates=128, seed=0), statistics)

    return timed_and_peak(run, repeats, 128)


def area_cells(data: Readings, repeats: int) -> list[str]:
    n = len(data.found)
    found: list[froc.FrocData] = []
    seconds = cpu_seconds(lambda: found.append(area_of(data)))
    kept = 4 * n * len(found[0].threshold) / 2**20
    statistics: dict[str, intervals.Statistic] = {
        "area": lambda w: froc.froc_score(found[0], froc.AREA_LIMITS, weights=w)
    }
    each = bootstrap_cells(statistics, n, repeats)[0]
    lesions = len(found[0].lesion_score)
    return [f"{lesions:,}", f"{seconds:.2g}", f"{kept:,.0f}", each]


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--repeats", type=int, default=5)
    parts = ("cases", "speed", "memory", "growth")
    parser.add_argument("--parts", nargs="+", choices=parts, default=parts)
    options = parser.parse_args()
    cv2.setNumThreads(1)
    print(versions())
    if "cases" in options.parts:
        cases()
    if "speed" in options.parts:
        speed(options.repeats)
    if "memory" in options.parts:
        memory()
    if "growth" in options.parts:
        growth(options.repeats)


if __name__ == "__main__":
    main()
