"""Which labels a person is asked to judge: a random sample, the same for a seed.

A stratum is all images whose label of one finding is the same and rests on the same
kind of evidence. From each of them images are drawn at random without replacement, and
of rare strata a larger share, so that they are in it: an image drawn out of N, of which
n were drawn, stands for N / n.
"""

import collections
import hashlib
import heapq
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from data.cxr_registry.tables import records

# Share of a finding's rows by label. Precision needs positives, recall needs negatives:
# among them are those that were missed.
SHARES = {1: 0.4, 0: 0.4, -1: 0.2}
LEAST = 2  # rows of each stratum, or all of a smaller one
_LETTERS = "bcdfghjkmnpqrstvwxyz"  # of codes: no spreadsheet takes them for a number


class Stratum(NamedTuple):
    """Labels that are drawn from together."""

    finding: str
    label: int  # 1, 0 or -1 unknown
    basis: str  # kind of evidence, see `settling.basis`


class Drawn(NamedTuple):
    """One label that is to be judged."""

    row: int  # of the studies table
    stratum: Stratum

    @property
    def key(self) -> tuple[str, int]:
        """Finding and row: a sample has each at most once."""
        return self.stratum.finding, self.row


class Sample(NamedTuple):
    """A sample of a registry's labels."""

    name: str  # of number, seed and all labels: those of two samples differ
    number: int  # of labels that were asked for
    seed: int
    rows: tuple[Drawn, ...]  # in random order: any part of a sheet is a sample too
    images: Mapping[Stratum, int]  # of the registry
    drawn: Mapping[Stratum, int]

    def weight(self, stratum: Stratum) -> float:
        """How many images one that was drawn stands for."""
        return self.images[stratum] / self.drawn[stratum]

    def code(self, row: int, finding: str) -> str:
        """Letters that tell whether a line of a sheet is still as it was written."""
        return code(self.name, row, finding)


def draw(registry: records.Registry, *, number: int, seed: int) -> Sample:
    """Draws labels of all findings, about as many of each.

    A sample of a larger number contains that of a smaller one with the same seed.

    Args:
        registry: its labels.
        number: labels to be drawn; fewer where the registry has fewer.
        seed: another one draws others.

    Raises:
        ValueError: the number is too small for all strata.
    """
    rows_of = strata(registry)
    drawn: dict[Stratum, int] = {}
    for place, finding in enumerate(registry.findings):
        sizes = {s: len(rows) for s, rows in rows_of.items() if s.finding == finding}
        share = (number + len(registry.findings) - 1 - place) // len(registry.findings)
        if share < (least := sum(min(LEAST, size) for size in sizes.values())):
            raise ValueError(
                f"a sample of {number} has {share} labels of {finding}, which has "
                f"{len(sizes)} kinds of evidence and label: ask for at least "
                f"{least * len(registry.findings)}, or for fewer findings"
            )
        drawn |= allocate(sizes, share)
    rows = [
        Drawn(row, stratum)
        for stratum, number_of in drawn.items()
        for row in heapq.nsmallest(
            number_of,
            rows_of[stratum],
            key=lambda row, name=stratum.finding: _rank(seed, "draw", name, row),
        )
    ]
    # another order than that of the draw, which would put large strata first
    rows.sort(key=lambda one: _rank(seed, "order", *one.key))
    return Sample(
        name=f"n{number}s{seed}-{_letters(_facts(registry))}",
        number=number,
        seed=seed,
        rows=tuple(rows),
        images={stratum: len(rows_of[stratum]) for stratum in drawn},
        drawn=drawn,
    )


def strata(registry: records.Registry) -> dict[Stratum, list[int]]:
    """Stratum -> rows of its images; positives first, then large ones first."""
    rows: dict[Stratum, list[int]] = collections.defaultdict(list)
    for study in registry.studies:
        for name in registry.findings:
            rows[Stratum(name, study.labels[name], study.basis[name])].append(study.row)
    order = list(registry.findings)

    def place(stratum: Stratum) -> tuple[int, int, int, str]:
        label = list(SHARES).index(stratum.label)
        finding = order.index(stratum.finding)
        return finding, label, -len(rows[stratum]), stratum.basis

    return {stratum: rows[stratum] for stratum in sorted(rows, key=place)}


def allocate(sizes: Mapping[Stratum, int], number: int) -> dict[Stratum, int]:
    """How many are drawn of each stratum of one finding.

    LEAST of each, then one by one by the divisors 1, 3, 5, ... (Sainte-Laguë): labels
    in the shares of SHARES, the strata of a label by the square root of their size.
    What a small stratum can't give goes to the others.

    Args:
        sizes: stratum -> its images.
        number: at least LEAST a stratum.
    """
    roots = {stratum: size**0.5 for stratum, size in sizes.items()}
    whole: dict[int, float] = collections.defaultdict(float)
    for stratum, root in roots.items():
        whole[stratum.label] += root
    wish = {s: SHARES[s.label] * root / whole[s.label] for s, root in roots.items()}
    drawn = {stratum: min(LEAST, size) for stratum, size in sizes.items()}
    while sum(drawn.values()) < min(number, sum(sizes.values())):
        left = [stratum for stratum in sizes if drawn[stratum] < sizes[stratum]]
        drawn[max(left, key=lambda s: wish[s] / (2 * drawn[s] + 1))] += 1
    return drawn


def code(name: str, row: int, finding: str) -> str:
    """Letters for one line of the sheet of the sample of that name."""
    return _letters([f"{name}/{row}/{finding}"])


def _rank(seed: int, use: str, finding: str, row: int) -> bytes:
    """A pseudo-random number of a row; equal on any machine and version."""
    return hashlib.sha256(f"{seed}/{use}/{row}/{finding}".encode()).digest()


def _facts(registry: records.Registry) -> list[str]:
    """All that the strata depend on, and which image stands in which row."""
    return [
        f"{study.row}/{study.image}/{name}/{study.labels[name]}/{study.basis[name]}"
        for study in registry.studies
        for name in registry.findings
    ]


def _letters(texts: Sequence[str]) -> str:
    """Eight letters that stand for texts, as a digest does."""
    digest = hashlib.sha256("\n".join(texts).encode()).digest()
    return "".join(_LETTERS[byte % len(_LETTERS)] for byte in digest[:8])
