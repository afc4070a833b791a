"""How well labels are read from reports, by category, with intervals.

    python benchmarks/text_labels.py [--split NAME] [--errors]

Reads the project's own sentences and whole reports in tests/data for both findings:
`test` (never tuned on) and `dev` by the author of the rules, `hand_a` to `hand_g` by
other hands without sight of the rules, which were mended on them after each was
measured once; `heldback` by the author of the mended rules, measured once before they
were mended again; `styles` and `styles_heldback` in many departments' ways of writing,
two random halves of one set that was written before the rules were mended on the first.

Prints precision and recall with Wilson's 95 % intervals, what was read
of each right label (the confusion with unknown), the same by language and category, and
with --errors every label read wrong. The other hands' "unknown" holds what is not
mentioned too, and silence counts as unknown there; an empty label is not judged.
"""

import argparse
import csv
import math
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

sys.path.insert(0, str(Path(__file__).parent.parent))

from data.cxr_registry.labels import report_text

ROOT = Path(__file__).parent.parent
FINDINGS = ("rib", "clavicle")
SPLITS = (
    "test",
    "dev",
    "hand_a",
    "hand_b",
    "hand_c",
    "hand_d",
    "hand_e",
    "hand_f",
    "hand_g",
    "heldback",
    "styles",
    "styles_heldback",
)
LABELS = {"1": "positive", "0": "negative", "-1": "unknown", "": "not mentioned"}
# What --report_languages says for the reports of each language of the files.
LANGUAGES = {
    "en": ("en",),
    "de": ("de",),
    "zh": ("en", "zh"),
    "en+de": ("en", "de"),
}


class Case(NamedTuple):
    """One text and one finding: what is right, and what was read."""

    language: str
    category: str
    finding: str
    right: str  # a key of LABELS
    read: str
    text: str


def wilson(hits: int, total: int) -> str:
    """A share with Wilson's score interval of 95 %, "-" for a share of nothing."""
    if not total:
        return "-"
    z, p = 1.959964, hits / total
    middle = p + z * z / (2 * total)
    half = z * math.sqrt(p * (1 - p) / total + z * z / (4 * total * total))
    low, high = ((middle + sign * half) / (1 + z * z / total) for sign in (-1, 1))
    return f"{hits}/{total} = {p:.3f} [{max(low, 0):.3f}, {min(high, 1):.3f}]"


def read_cases(path: Path, *, silence: str) -> list[Case]:
    """All texts of a file, read for both findings.

    Args:
        path: a table with language, category, a column for each finding, and text.
        silence: the label of what is not mentioned, "negative" or "unknown"; "" asks
            whether a text speaks of the finding at all.
    """
    readers = {
        code: report_text.Reader(
            report_text.ReportOptions(
                languages=languages, silence=silence or "negative"
            )
        )
        for code, languages in LANGUAGES.items()
    }
    cases = []
    with path.open(encoding="utf-8", newline="") as stream:
        for line in csv.DictReader(stream):
            labels = readers[line["language"]].labels(line["text"], FINDINGS)
            for name, found in labels.items():
                if silence == "unknown" and not line[name]:
                    continue
                silent = found.silent and not silence
                cases.append(
                    Case(
                        language=line["language"],
                        category=line["category"],
                        finding=name,
                        right=line[name],
                        read="" if silent else str(found.label),
                        text=line["text"],
                    )
                )
    return cases


def row(name: str, cases: Iterable[Case], labels: set[str]) -> str:
    """A line of a table: precision and recall over the given labels."""
    cases = list(cases)
    read = [case for case in cases if case.read in labels]
    right = [case for case in cases if case.right in labels]
    hits = sum(case.read == case.right for case in read)
    return f"| {name} | {wilson(hits, len(read))} | {wilson(hits, len(right))} |"


def print_tables(title: str, cases: Sequence[Case]) -> None:
    present = [name for name in LABELS if any(case.right == name for case in cases)]
    print(f"\n{title}: {len(cases)} labels of {len({c.text for c in cases})} texts")
    print("\n| label | precision | recall |\n|---|---|---|")
    for label in present:
        print(row(LABELS[label], cases, {label}))
    print(row("positive and negative", cases, {"1", "0"}))
    read_as = " | ".join(f"read as {LABELS[name]}" for name in present)
    print(f"\n| right | {read_as} |\n|---|{'---|' * len(present)}")
    for right in present:
        mine = [case.read for case in cases if case.right == right]
        counts = " | ".join(str(mine.count(name)) for name in present)
        print(f"| {LABELS[right]} | {counts} |")
    print(
        "\n| category | positive: precision | positive: recall | all labels right | "
        "read as unknown |\n|---|---|---|---|---|"
    )
    for language, category in sorted({(c.language, c.category) for c in cases}):
        mine = [c for c in cases if (c.language, c.category) == (language, category)]
        print(category_row(f"{language}, {category}", mine))
    for language in sorted({case.language for case in cases}):
        mine = [case for case in cases if case.language == language]
        print(category_row(f"{language}, all", mine))
    print(category_row("all", cases))


def category_row(name: str, cases: Sequence[Case]) -> str:
    read = [case for case in cases if case.read == "1"]
    positive = [case for case in cases if case.right == "1"]
    hits = sum(case.right == "1" for case in read)
    right = sum(case.read == case.right for case in cases)
    lost = sum(case.read == "-1" != case.right for case in cases)
    shares = (
        wilson(hits, len(read)),
        wilson(hits, len(positive)),
        wilson(right, len(cases)),
    )
    return f"| {name} | {' | '.join(shares)} | {lost} |"


def print_errors(cases: Sequence[Case]) -> None:
    wrong = [case for case in cases if case.read != case.right]
    print(f"\n{len(wrong)} of {len(cases)} labels are wrong:")
    for case in wrong:
        text = case.text.replace("\n", " / ")
        words = f"{LABELS[case.right]}, read as {LABELS[case.read]}"
        print(f"- {case.finding} {words}: {text}")


def main() -> None:
    parser = argparse.ArgumentParser(description="Labels of reports: right?")
    parser.add_argument("--split", default="all", choices=(*SPLITS, "all"))
    parser.add_argument("--errors", action="store_true", help="print each wrong label")
    flags = parser.parse_args()
    for split in SPLITS if flags.split == "all" else (flags.split,):
        for kind in ("sentences", "reports"):
            silence = "negative" if kind == "reports" else ""
            silence = "unknown" if split not in ("test", "dev") else silence
            path = ROOT / f"tests/data/{kind}_{split}.csv"
            if not path.exists():  # sentences alone were written
                continue
            cases = read_cases(path, silence=silence)
            print_tables(f"{kind}, {split}", cases)
            if flags.errors:
                print_errors(cases)


if __name__ == "__main__":
    main()
