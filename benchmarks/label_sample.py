"""What a sample of judged labels says, beside the truth: on a phantom, and how often.

    python benchmarks/label_sample.py [--images 2000] [--sample 200] [--studies 1000]

Draws a phantom registry of small films, spoils its codes (the code of every sixth
broken rib is lost, one record in fifty without one gets one), has the audit draw
a sample, fills the sheet in by what the phantom drew, gives it back, and prints what
the audit says beside what is so in the whole registry.

Then it draws samples of registries of known truth, and prints how often the 95 %
intervals hold it, and how wide they are. A coverage of 95 % over 1,000 samples has a
standard error of 0.7 %.
"""

import argparse
import csv
import json
import random
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent))

import numpy as np

from aals_jax.input import audit
from aals_jax.metrics import stratified
from aals_jax.report import entries
from data.cxr_registry.survey import label_sheet
from data.phantom import registry as phantom

FINDING = "rib"
LOST, ADDED = 1 / 6, 1 / 50
# What is sampled: images, of which have the finding and can't be told, and are judged,
# and whether the label says so.
POPULATIONS = {
    "codes alone": [(3_000, 2_700, 0, 100, 1), (60_000, 300, 0, 100, 0)],
    "all labels are right": [
        (3_000, 3_000, 0, 50, 1), (800, 800, 0, 30, 1), (60_000, 0, 0, 120, 0),
    ],
    "codes, reports, boxes": [
        (3_000, 2_850, 60, 50, 1), (800, 640, 60, 30, 1), (200, 80, 20, 10, 1),
        (40_000, 200, 400, 60, 0), (4_000, 4, 0, 20, 0), (500, 150, 200, 30, -1),
    ],
    "eleven small strata": [
        (300, 285, 0, 20, 1), (80, 64, 0, 10, 1), (20, 8, 0, 6, 1), (10, 9, 0, 4, 1),
        (5, 5, 0, 2, 1), (600, 3, 0, 20, 0), (400, 0, 0, 10, 0), (80, 4, 0, 7, 0),
        (50, 15, 10, 8, -1), (20, 6, 4, 6, -1), (6, 1, 1, 3, -1),
    ],
}  # fmt: skip


def spoiled_phantom(root: Path, images: int) -> dict[int, bool]:
    """Writes the registry; returns whether the rib of each row is broken."""
    options = phantom.PhantomOptions(
        images=images, seed=0, height=64, conspicuity=phantom.DIFFICULTIES["easy"]
    )
    phantom.generate(root, options)
    films = phantom.plan(
        images, 0, prevalence=options.prevalence, boxed_share=options.boxed_share
    )
    rng = random.Random(0)
    with (root / "studies.csv").open(newline="") as stream:
        lines = list(csv.DictReader(stream))
    for line, film in zip(lines, films, strict=True):
        codes = line["diagnosis_codes"].split(";")
        ribs = [c for c in codes if c.startswith(("807.0", "S22.3", "S22.4"))]
        if FINDING in film.sites and rng.random() < LOST:
            codes = [code for code in codes if code not in ribs]
        elif FINDING not in film.sites and rng.random() < ADDED:
            codes.append("S22.41XA")
        line["diagnosis_codes"] = ";".join(codes)
    with (root / "studies.csv").open("w", newline="") as stream:
        writer = csv.DictWriter(stream, lines[0])
        writer.writeheader()
        writer.writerows(lines)
    (root / "regions.csv").unlink()  # a box would put a lost code right
    return {row: FINDING in film.sites for row, film in enumerate(films, start=2)}


def fill(sheet: Path, broken: dict[int, bool]) -> Path:
    """The sheet with an answer on each line."""
    with sheet.open(encoding="utf-8-sig", newline="") as stream:
        lines = list(csv.DictReader(stream))
    for line in lines:
        line["answer"] = "yes" if broken[int(line["row"])] else "no"
    filled = sheet.with_name("filled.csv")
    with filled.open("w", newline="") as stream:
        writer = csv.DictWriter(stream, lines[0])
        writer.writeheader()
        writer.writerows(lines)
    return filled


def run(root: Path, out: Path, **options) -> dict:
    audit.audit(
        audit.AuditOptions(
            registry=root, out=out, findings=(FINDING,), pixels=False, **options
        )
    )
    return json.loads((out / "audit.json").read_text())


def print_phantom(folder: Path, images: int, number: int) -> None:
    root, out = folder / "registry", folder / "out"
    broken = spoiled_phantom(root, images)
    drawn = run(root, out, sample=number)
    # the whole registry, judged: the truth
    whole = run(root, folder / "whole", sample=images)
    whole = run(root, out, sampled=fill(folder / "whole" / label_sheet.SHEET, broken))
    found = run(root, out, sampled=fill(out / label_sheet.SHEET, broken))
    found, whole = (each["sampled"]["findings"][FINDING] for each in (found, whole))
    print("| label | rests on | images | drawn | weight |\n|---|---|---|---|---|")
    for one in drawn["sample"]["drawn"]:
        names = ("label", "evidence", "images", "drawn", "weight")
        print("| " + " | ".join(str(one[name]) for name in names) + " |")
    print("\n| label | | sample | whole registry |\n|---|---|---|---|")
    for label, word in (("1", "positive"), ("0", "negative")):
        for kind, entry in found["labels"][label].items():
            truth = whole["labels"][label][kind]["value"]
            print(f"| {word} | {kind} | {entries.text(entry)} | {truth:.3f} |")
    print("\n| label | person | images | so many are |\n|---|---|---|---|")
    for one, true in zip(found["confusion"], whole["confusion"], strict=True):
        value, low, high = (one["images"][end] for end in ("value", "low", "high"))
        print(
            f"| {one['label']} | {one['answer']} | {value:.0f} [{low:.0f}, {high:.0f}] "
            f"| {true['images']['value']:.0f} |"
        )


def print_coverage(studies: int) -> None:
    rng = np.random.default_rng(0)
    print(
        "\n| registry | | truth | mean | width | covered | all below | all above |\n"
        "|---|---|---|---|---|---|---|---|"
    )
    for name, rows in POPULATIONS.items():
        images, hits, undecided, judged, label = np.array(rows).T
        part = label == 1
        truth = {
            "precision": hits[part].sum() / (images - undecided)[part].sum(),
            "recall": hits[part].sum() / hits.sum(),
        }
        found: dict[str, list[tuple[float, float, float]]] = {
            kind: [] for kind in truth
        }
        for _ in range(studies):
            drawn = [
                rng.multivariate_hypergeometric([x, u, size - x - u], number)
                for size, x, u, number, _ in rows
            ]
            counts = np.array(drawn)[:, :2].T
            strata = stratified.Strata(images, judged, *counts)
            for kind in truth:
                one = getattr(stratified, kind)(strata, part)
                found[kind].append((one.value, one.low, one.high))
        for kind, true in truth.items():
            value, low, high = np.array(found[kind]).T
            below, above = (high < true - 1e-9).mean(), (low > true + 1e-9).mean()
            print(
                f"| {name} | {kind} | {true:.3f} | {np.nanmean(value):.3f} | "
                f"{np.mean(high - low):.3f} | {100 * (1 - below - above):.1f} % | "
                f"{100 * below:.1f} % | {100 * above:.1f} % |"
            )


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--images", type=int, default=2_000)
    parser.add_argument("--sample", type=int, default=200)
    parser.add_argument("--studies", type=int, default=1_000)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        print_phantom(Path(folder), options.images, options.sample)
    print_coverage(options.studies)


if __name__ == "__main__":
    main()
