"""How often the 95 % intervals hold the truth, and how often alike systems differ.

    python benchmarks/coverage.py [--parts shares metrics null few] [--studies 1000]
        [--patients 30 50 100 300] [--replicates 400] [--seed 0] [--out FILE]

Simulated studies whose truth is known. Half of the patients are positive, with all
their images. "single": one image a patient; "several": 1 to 7, 4 in the mean. Every
score is N(mean, 1), of which half the variance is an effect that all images, lesions
and false positives of a patient share. Then, over the whole population:

    share       P(score > t): sensitivity, specificity, PPV, NPV at a fixed threshold
    rate        false positives per image, Poisson with that mean; with several images
                each patient has a gamma factor of mean 1 and variance 1/2
    auroc       Phi(d / sqrt(2)) for image scores of mean d (positive) and 0 (negative)
    ap          average precision of the same, integrated over the threshold
    froc_count  Poisson(3) false detections an image, of mean 0; a share q of the one or
                two lesions of a positive image is detected, with scores of mean m:
                S(x) = q (1 - Phi(t - m)) at the threshold t where 3 (1 - Phi(t)) = x
    froc_area   pixels of mean 0 outside the boxes, of mean 2 at the centres of lesions:
                S(x) = 1 - Phi(t - 2) at the threshold t where 1 - Phi(t) = x
    brier       squared error of Phi(score): integrated likewise

"null" draws two systems that are alike and share the effects of the patients, and
counts p <= 0.05 and intervals without 0. "few" is the closed form of AUROC with 25
negative patients and few positive ones. The intervals are those of the package.
Each cell is a line of --out; what is there already is not done again.
"""

import argparse
import dataclasses
import json
import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
sys.path.insert(0, str(Path(__file__).parent.parent))

import numpy as np
from scipy import special

from aals_jax.metrics import (
    binomial,
    calibration,
    delong,
    froc,
    intervals,
    matching,
    permutation,
    proportions,
    roc,
)
from aals_jax.metrics.draws import Draws

SHARED = 0.5  # of the variance, by the patient
FALSE_PER_IMAGE = 3.0
ROC_AT, FROC_AT = (0.1, 0.3), (0.5, 2.0)  # where `curves` looks
SIDE = 16  # pixels of a map
BOXES = np.array([[2.0, 2.0, 6.0, 6.0], [9.0, 9.0, 13.0, 13.0]])
CENTERS = (4, 11)  # row and column of the pixels that hold their centres


@dataclasses.dataclass(frozen=True)
class Setting:
    """What decides the truths; see the module."""

    share: float
    rate: float
    shift: float  # d
    lesion: float  # m
    detected: float  # q


SETTINGS = {
    "low": Setting(0.03, 0.03, -2.66, 2.0, 0.05),
    "middle": Setting(0.5, 0.5, 0.0, 2.0, 0.6),
    "good": Setting(0.85, 2.0, 1.4657, 2.0, 0.9),
    "high": Setting(0.97, 8.0, 2.66, 4.2, 0.98),
}


def truths(setting: Setting) -> dict[str, float]:
    """The value of each metric in the population."""
    share = np.minimum(np.array(froc.COUNT_LIMITS) / FALSE_PER_IMAGE, 1.0)
    count = setting.detected * special.ndtr(special.ndtri(share) + setting.lesion)
    area = special.ndtr(special.ndtri(np.array(froc.AREA_LIMITS)) + 2.0)
    at = np.linspace(-9.0, 12.0, 20_001)
    hits, alarms = special.ndtr(setting.shift - at), special.ndtr(-at)
    precision = hits / (hits + alarms)
    density = [
        np.exp(-((at - m) ** 2) / 2) / np.sqrt(2 * np.pi) for m in (0, setting.shift)
    ]
    errors = special.ndtr(at) ** 2 * density[0] + special.ndtr(-at) ** 2 * density[1]
    auroc = float(special.ndtr(setting.shift / np.sqrt(2)))
    curves = {
        **{
            f"roc at {x:g}": float(special.ndtr(special.ndtri(x) + setting.shift))
            for x in ROC_AT
        },
        **{
            f"froc at {x:g}": setting.detected
            * float(special.ndtr(special.ndtri(x / FALSE_PER_IMAGE) + setting.lesion))
            for x in FROC_AT
        },
    }
    return {
        **curves,
        **{f"{name}, percentile": value for name, value in curves.items()},
        "share": setting.share,
        "rate": setting.rate,
        "auroc": auroc,
        "auroc, closed form": auroc,
        "ap": float(-np.trapezoid(precision, hits)),
        "brier": float(np.trapezoid(errors, at) / 2),
        "froc_count": float(count.mean()),
        "froc_area": float(area.mean()),
    }


@dataclasses.dataclass(frozen=True)
class Study:
    """Images of a number of patients, as one system reads them."""

    patient: np.ndarray  # i64[n]
    label: np.ndarray  # i64[n]
    score: np.ndarray  # f64[n]
    count: froc.FrocData
    match: matching.Match
    area: froc.FrocData | None

    def statistics(self) -> dict[str, intervals.Statistic]:
        found: dict[str, intervals.Statistic] = {
            "auroc": lambda w: roc.auroc(self.score, self.label, weights=w),
            "ap": lambda w: roc.average_precision(self.score, self.label, weights=w),
            "brier": lambda w: calibration.brier_score(
                special.ndtr(self.score), self.label, weights=w
            ),
            "froc_count": lambda w: froc.froc_score(
                self.count, froc.COUNT_LIMITS, weights=w
            ),
        }
        if self.area is not None:
            area = self.area
            found["froc_area"] = lambda w: froc.froc_score(
                area, froc.AREA_LIMITS, weights=w
            )
        return found


def simulate(
    rng: np.random.Generator,
    positives: int,
    negatives: int,
    several: bool,
    setting: Setting,
    *,
    systems: int = 1,
    maps: bool = False,
) -> list[Study]:
    """One study; what is hit is drawn, as matching is exact and not in question."""
    count = positives + negatives
    images = rng.integers(1, 8, count) if several else np.ones(count, int)
    patient = np.repeat(np.arange(count), images)
    n, label = len(patient), (patient < positives).astype(int)
    effect = rng.normal(0, np.sqrt(SHARED), count)[patient]
    number = label * rng.integers(1, 3, n)  # lesions, one or two
    lesion_image = np.repeat(np.arange(n), number)

    def scores(image: np.ndarray, mean: float) -> np.ndarray:
        own = rng.normal(mean, np.sqrt(1 - SHARED), image.shape)
        return own + effect[image]

    def read() -> Study:
        lesion_score = scores(lesion_image, setting.lesion)
        lesion_score[rng.random(len(lesion_score)) > setting.detected] = -np.inf
        false_image = np.repeat(np.arange(n), rng.poisson(FALSE_PER_IMAGE, n))
        false_score = scores(false_image, 0.0)
        match = matching.Match(
            lesion_score, lesion_image, false_score, false_image, np.empty(0, int)
        )
        area = None
        if maps:
            every = np.broadcast_to(np.arange(n)[:, None, None], (n, SIDE, SIDE))
            values = scores(every, 0.0)
            for k, at in enumerate(CENTERS):
                values[number > k, at, at] += 2.0
            area = froc.area_data(values, [BOXES[:k] for k in number])
        image_score = scores(np.arange(n), 0.0) + setting.shift * label
        count_data = froc.matched_data(match, n)
        return Study(patient, label, image_score, count_data, match, area)

    return [read() for _ in range(systems)]


def patients_of(name: str, study: Study) -> tuple[int, float]:
    """What `share_interval` asks for: patients, and trials at 0 and 1."""
    kinds = [len(np.unique(study.patient[study.label == k])) for k in (0, 1)]
    if name.startswith("froc"):
        lesions = np.bincount(study.count.lesion_image, minlength=len(study.patient))
        return kinds[1], proportions.effective_number(lesions, study.patient)
    if name == "brier":
        once = np.ones(len(study.patient))
        return sum(kinds), proportions.effective_number(once, study.patient)
    pairs = proportions.independent_pairs(study.label == 1, study.patient)
    return min(kinds), pairs if name == "auroc" else 0.0


# --- cells: (name, number of studies) -> one entry a study


def shares(cell: dict, rng: np.random.Generator) -> Iterator[tuple[str, list]]:
    """A share and a rate; all patients are counted."""
    setting, k = SETTINGS[cell["setting"]], cell["patients"]
    images = rng.integers(1, 8, k) if cell["several"] else np.ones(k, int)
    effect = rng.normal(0, np.sqrt(SHARED), k)
    t = special.ndtri(setting.share)
    chance = special.ndtr((t - effect) / np.sqrt(1 - SHARED))
    hits, patient = rng.binomial(images, chance), np.arange(k)
    found = proportions.proportion(hits, images, patient)
    yield "share", [found.value, found.low, found.high]
    factor = rng.gamma(2.0, 0.5, k) if cell["several"] else 1.0
    found = proportions.rate(
        rng.poisson(setting.rate * factor * images), images, patient
    )
    yield "rate", [found.value, found.low, found.high]


def metrics(cell: dict, rng: np.random.Generator) -> Iterator[tuple[str, list]]:
    """What has a bootstrap, and the closed form of AUROC."""
    half = cell["patients"] // 2
    maps = cell["setting"] == "middle" and not cell["several"] and half < 100
    (study,) = simulate(
        rng, half, half, cell["several"], SETTINGS[cell["setting"]], maps=maps
    )
    draws = Draws(study.patient, replicates=cell["replicates"], seed=0)
    for name, drawn in intervals.draw(draws, study.statistics()).items():
        patients, trials = patients_of(name, study)
        found = intervals.share_interval(
            drawn, seed=0, patients=patients, trials=trials
        )
        yield name, [found.value, found.low, found.high]
    found = delong.auroc_interval(study.score, study.label, patients=study.patient)
    yield "auroc, closed form", [found.value, found.low, found.high]


def null(cell: dict, rng: np.random.Generator) -> Iterator[tuple[str, list]]:
    """Two systems that are alike: intervals of the difference, and p-values."""
    half = cell["patients"] // 2
    one, two = simulate(
        rng, half, half, cell["several"], SETTINGS[cell["setting"]], systems=2
    )
    n, patient = len(one.patient), one.patient
    draws = Draws(patient, replicates=cell["replicates"], seed=0)
    drawn = [intervals.draw(draws, each.statistics()) for each in (one, two)]
    scores = np.concatenate([delong.mid_ranks(each.score) for each in (one, two)])
    label = np.concatenate([one.label] * 2)
    count = permutation.joined(one.match, two.match, n)
    swapped: dict[str, intervals.Statistic] = {
        "auroc": lambda w: roc.auroc(scores, label, weights=w),
        "froc_count": lambda w: froc.froc_score(count, froc.COUNT_LIMITS, weights=w),
    }
    for name, statistic in swapped.items():
        found = intervals.paired_interval(
            drawn[0][name],
            drawn[1][name],
            seed=0,
            patients=patients_of(name, one)[0],
        )
        p_values = [found.p_value, np.nan, np.nan]
        if cell["patients"] <= 100:
            test = permutation.swap_test(
                statistic,
                patient,
                np.ones(n, bool),
                permutations=cell["replicates"],
            )
            p_values[1] = test.p_value
        if name == "auroc":
            p_values[2] = delong.auroc_difference(
                one.score, two.score, one.label, patients=patient
            ).p_value
        yield name, [found.value, found.low, found.high, *p_values]


def few(cell: dict, rng: np.random.Generator) -> Iterator[tuple[str, list]]:
    """The closed form, with few positive patients and 25 negative ones."""
    k, several = cell["patients"], cell["several"]
    images = rng.integers(1, 8, k + 25) if several else np.ones(k + 25, int)
    patient = np.repeat(np.arange(k + 25), images)
    label = (patient < k).astype(int)
    effect = rng.normal(0, np.sqrt(SHARED), k + 25)[patient]
    mean = effect + SETTINGS[cell["setting"]].shift * label
    a, b = mean + rng.normal(0, np.sqrt(1 - SHARED), (2, len(patient)))
    found = delong.auroc_interval(a, label, patients=patient)
    p_value = delong.auroc_difference(a, b, label, patients=patient).p_value
    low, high = found.low, found.high
    if found.value in (0.0, 1.0):
        pairs = proportions.independent_pairs(label == 1, patient)
        low, high = binomial.clopper_pearson(found.value, pairs)
    yield "auroc, closed form", [found.value, low, high, p_value]


def curves(cell: dict, rng: np.random.Generator) -> Iterator[tuple[str, list]]:
    """Bands of both curves at some points, beside percentiles of the replicates."""
    half = cell["patients"] // 2
    (study,) = simulate(rng, half, half, cell["several"], SETTINGS[cell["setting"]])
    draws = Draws(study.patient, replicates=cell["replicates"], seed=0)
    rates = np.array(ROC_AT)

    def roc_at(weights: np.ndarray | None = None) -> np.ndarray:
        return roc.sensitivity_at_rates(
            study.score, study.label, rates=rates, weights=weights
        )

    def froc_at(weights: np.ndarray | None = None) -> np.ndarray:
        return froc.sensitivity_at(study.count, FROC_AT, weights=weights)

    lesions = np.bincount(study.count.lesion_image, minlength=len(study.patient))
    kinds = [len(np.unique(study.patient[study.label == k])) for k in (0, 1)]
    for name, at, places, patients, units in (
        ("roc", roc_at, ROC_AT, min(kinds), study.label),
        ("froc", froc_at, FROC_AT, kinds[1], lesions),
    ):
        replicates = np.concatenate([at(weights) for weights in draws])
        trials = proportions.effective_number(units, study.patient)
        low, high = intervals.share_band(
            at(), replicates, patients=patients, trials=trials
        )
        plain = np.nanpercentile(replicates, (2.5, 97.5), axis=0)
        for k, x in enumerate(places):
            yield f"{name} at {x:g}", [at()[k], low[k], high[k]]
            yield f"{name} at {x:g}, percentile", [at()[k], *plain[:, k]]


Part = Callable[[dict, np.random.Generator], Iterator[tuple[str, list]]]
PARTS: dict[str, Part] = {
    "shares": shares,
    "metrics": metrics,
    "null": null,
    "few": few,
    "curves": curves,
}
FEW = (5, 7, 10, 15)  # positive patients of `few`


def cells(options: argparse.Namespace) -> Iterator[dict]:
    for part in options.parts:
        for patients in FEW if part == "few" else options.patients:
            for several in (False, True):
                for setting in SETTINGS:
                    if setting == "good" and part in ("metrics", "null"):
                        continue
                    if setting == "low" and part in ("null", "few"):
                        continue
                    studies = options.studies
                    if part == "shares":
                        studies *= 5
                    if patients > 100:
                        studies //= 4
                    yield {
                        "part": part,
                        "patients": patients,
                        "several": several,
                        "setting": setting,
                        "studies": studies,
                        "replicates": options.replicates,
                        "seed": options.seed,
                    }


def run(cell: dict) -> dict:
    """All studies of a cell: metric -> counts and means."""
    key = [list(PARTS).index(cell["part"]), cell["patients"], int(cell["several"])]
    key += [list(SETTINGS).index(cell["setting"]), cell["seed"]]
    entries: dict[str, list] = {}
    for number in range(cell["studies"]):
        rng = np.random.default_rng([*key, number])
        for name, entry in PARTS[cell["part"]](cell, rng):
            entries.setdefault(name, []).append(entry)
    truth = truths(SETTINGS[cell["setting"]])
    return {
        name: summary(0.0 if cell["part"] == "null" else truth[name], np.array(rows))
        for name, rows in entries.items()
    }


def summary(truth: float, rows: np.ndarray) -> dict[str, float]:
    """Percentages of the studies that have an interval, and of all p-values."""
    rows = rows.astype(float)
    value, low, high = rows[:, :3].T
    there = ~np.isnan(low)
    found = {
        "truth": truth,
        "mean": float(np.nanmean(value)),
        "none": float(100 * np.mean(~there)),
        "edge": float(100 * np.mean((value <= 0) | (value >= 1))),
        "width": float(np.mean((high - low)[there])),
        "below": float(100 * np.mean(high[there] < truth)),
        "above": float(100 * np.mean(low[there] > truth)),
    }
    for k, column in enumerate(rows[:, 3:].T):
        if not np.isnan(column).all():
            found[f"p{k}"] = float(100 * np.mean(column <= 0.05))
    return found


def show(part: str, done: list[dict]) -> None:
    p_values = {
        "null": ["bootstrap", "permutation", "closed form"],
        "few": ["p <= 0.05"],
    }
    heads = [f"p: {name}" for name in p_values.get(part, [])]
    columns = ["metric", "patients", "images", "truth", "mean", "width", "covered"]
    columns += ["all below", "all above", "none", *heads]
    print(f"\n{part}\n\n| {' | '.join(columns)} |\n|{'---|' * len(columns)}")
    for cell in done:
        for name, found in cell["found"].items():
            covered = 100 - found["below"] - found["above"]
            row = [name, str(cell["patients"])]
            row += ["several" if cell["several"] else "single"]
            row += [f"{found[key]:.3f}" for key in ("truth", "mean", "width")]
            shares = [covered, *(found[key] for key in ("below", "above", "none"))]
            shares += [found.get(f"p{k}", np.nan) for k in range(len(heads))]
            print(f"| {' | '.join(row + [f'{share:.1f} %' for share in shares])} |")


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=list(PARTS))
    parser.add_argument("--studies", type=int, default=1000)
    parser.add_argument("--patients", type=int, nargs="+", default=[30, 50, 100, 300])
    parser.add_argument("--replicates", type=int, default=400)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=Path("coverage.jsonl"))
    options = parser.parse_args()
    intervals.LEAST = 2  # what few patients give is in question here
    lines = options.out.read_text().splitlines() if options.out.exists() else []
    there = [json.loads(line) for line in lines]
    done: dict[str, list[dict]] = {}
    for cell in cells(options):
        kept = [each for each in there if cell.items() <= each.items()]
        if not kept:
            kept = [cell | {"found": run(cell)}]
            with options.out.open("a") as file:
                file.write(json.dumps(kept[0]) + "\n")
        done.setdefault(cell["part"], []).append(kept[0])
    for part, each in done.items():
        show(part, each)


if __name__ == "__main__":
    main()
