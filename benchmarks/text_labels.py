"""How well and how fast labels are read from reports.

    python benchmarks/text_labels.py [--split test|dev] [--reports 2000]

Reads the project's own sentences (tests/data/sentences_test.csv, never tuned on) for
both findings and prints precision and recall with Wilson's 95 % intervals, by label and
by phenomenon, then every error, then reports a second on one core. Needs
requirements/text.txt.
"""

import argparse
import csv
import math
import random
import sys
import time
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

sys.path.insert(0, str(Path(__file__).parent.parent))

from data.cxr_registry.labels import report_text

ROOT = Path(__file__).parent.parent
FINDINGS = ("rib", "clavicle")
LABELS = {"1": "positive", "0": "negative", "-1": "unknown", "": "not mentioned"}
REGISTRY = 65_845  # radiographs of the paper
NEUTRAL = (
    "The lungs are clear.",
    "The cardiomediastinal silhouette is within normal limits.",
    "No focal consolidation is seen.",
    "There is a small left pleural effusion.",
    "No pneumothorax.",
    "Endotracheal tube terminates 4 cm above the carina.",
    "Mild degenerative changes of the thoracic spine.",
    "Bibasilar atelectasis is unchanged.",
    "The aorta is tortuous.",
    "A right chest tube is in place.",
)


class Case(NamedTuple):
    """One sentence and one finding: what is right, and what was read."""

    phenomenon: str
    finding: str
    right: str  # a key of LABELS
    read: str
    sentence: str


def wilson(hits: int, total: int) -> str:
    """A share with Wilson's score interval of 95 %, "-" for a share of nothing."""
    if not total:
        return "-"
    z, p = 1.959964, hits / total
    middle = p + z * z / (2 * total)
    half = z * math.sqrt(p * (1 - p) / total + z * z / (4 * total * total))
    low, high = ((middle + sign * half) / (1 + z * z / total) for sign in (-1, 1))
    return f"{hits}/{total} = {p:.3f} [{max(low, 0):.3f}, {min(high, 1):.3f}]"


def read_cases(reader: report_text.Reader, path: Path) -> list[Case]:
    cases = []
    with path.open(encoding="utf-8", newline="") as stream:
        for line in csv.DictReader(stream):
            read = reader.labels(line["text"], FINDINGS)
            for name, found in read.items():
                label = "" if found.silent else str(found.label)
                cases.append(
                    Case(line["phenomenon"], name, line[name], label, line["text"])
                )
    return cases


def row(name: str, cases: Iterable[Case], labels: set[str]) -> str:
    """A line of a table: precision and recall over the given labels."""
    cases = list(cases)
    read = [case for case in cases if case.read in labels]
    right = [case for case in cases if case.right in labels]
    hits = sum(case.read == case.right for case in read)
    return f"| {name} | {wilson(hits, len(read))} | {wilson(hits, len(right))} |"


def print_tables(cases: list[Case]) -> None:
    head = "| precision | recall |\n|---|---|---|"
    print(f"| finding, label {head}")
    for finding in FINDINGS:
        for label, name in LABELS.items():
            mine = (case for case in cases if case.finding == finding)
            print(row(f"{finding}, {name}", mine, {label}))
    print(f"\n| phenomenon {head}")
    named = set(LABELS) - {""}
    for phenomenon in dict.fromkeys(case.phenomenon for case in cases):
        print(row(phenomenon, (c for c in cases if c.phenomenon == phenomenon), named))
    print(row("all", cases, named))


def print_errors(cases: list[Case]) -> None:
    wrong = [case for case in cases if case.read != case.right]
    print(f"\n{len(wrong)} of {len(cases)} labels are wrong:")
    for case in wrong:
        sentence = case.sentence.replace("\n", " / ")
        words = f"{LABELS[case.right]}, read as {LABELS[case.read]}"
        print(f"- {case.finding} {words}: {sentence}")


def print_speed(count: int) -> None:
    """Reports of about ten sentences, two of them about bones; nothing remembered."""
    with (ROOT / "tests/data/sentences_dev.csv").open(encoding="utf-8") as stream:
        pool = [line["text"].split("\n")[-1] for line in csv.DictReader(stream)]
    draw = random.Random(0)
    reports = [
        "INDICATION: Fall, chest pain.\nFINDINGS: "
        + " ".join([*draw.sample(NEUTRAL, 7), *draw.sample(pool, 2)])
        + "\nIMPRESSION: "
        + draw.choice(pool)
        for _ in range(count)
    ]
    reader = report_text.Reader(report_text.Options(), remember=0)
    reader.labels(reports[0], FINDINGS)
    start = time.process_time()
    for report in reports:
        reader.labels(report, FINDINGS)
    rate = count / (time.process_time() - start)
    size = sum(map(len, reports)) / count
    print(
        f"\n{rate:.0f} reports/s on one core ({size:.0f} characters each, no sentence "
        f"remembered): {REGISTRY:,} take {REGISTRY / rate / 60:.1f} minutes"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description="Labels of reports: right, and fast?")
    parser.add_argument("--split", default="test", choices=("test", "dev"))
    parser.add_argument("--reports", type=int, default=2000, help="for the speed")
    flags = parser.parse_args()
    reader = report_text.Reader(report_text.Options())
    cases = read_cases(reader, ROOT / f"tests/data/sentences_{flags.split}.csv")
    print_tables(cases)
    print_errors(cases)
    print_speed(flags.reports)


if __name__ == "__main__":
    main()
