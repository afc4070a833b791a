"""The tables of a sweep from its trials' results: results.csv, results.md, sweep.html.

The metrics are those of each trial's result.json, on the test split, of the model that
a run shows; nothing is measured here. A trial without a result has a row that says so.
"""

import csv
import dataclasses
import io
import json
import statistics
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from aals_jax.evaluation.result import RUN_FILE
from aals_jax.report import entries, markdown, sweep, wording
from aals_jax.runtime import files, log, provenance
from aals_jax.sweeps.sweep_file import SEED
from aals_jax.sweeps.trials import Trial
from aals_jax.types import SHOWN
from data.cxr_registry.guard import formulas

METRICS = ("auroc", "average_precision", "froc_area", "froc_count")
_PHANTOM = "**Drawn phantom**: these numbers say that the code works, nothing else."


@dataclasses.dataclass(frozen=True)
class TrialResult:
    """A trial and what came out of it."""

    trial: Trial
    state: str  # one of trials.STATES
    cells: Mapping[str, Mapping[str, Any]]  # metric -> entry of result.json; or empty
    source: str  # its data: "phantom" or "registry"; "" without a result


@dataclasses.dataclass(frozen=True)
class SeedGroup:
    """Finished trials that differ only in the seed."""

    label: str
    values: Mapping[str, Sequence[float]]  # metric -> one value per trial

    def mean(self, metric: str) -> float | None:
        """None where no trial has a value."""
        return statistics.fmean(self.values[metric]) if self.values[metric] else None

    def spread(self, metric: str) -> float | None:
        """The sample's standard deviation; None below two values."""
        values = self.values[metric]
        return statistics.stdev(values) if len(values) > 1 else None

    def in_words(self, metric: str) -> str:
        """`0.912 ± 0.013`."""
        spread = self.spread(metric)
        after = "" if spread is None else f" ± {wording.number(spread)}"
        return wording.number(self.mean(metric)) + after


def write(trials: Sequence[Trial], root: Path) -> None:
    """Writes the three files, each whole or not at all."""
    rows = [read(trial) for trial in trials]
    by_seed = groups(rows)
    files.write_text(root / "results.csv", as_csv(rows))
    files.write_text(root / "results.md", as_markdown(rows, by_seed))
    page = sweep.render(**_for_page(rows, by_seed))
    files.write_text(root / "sweep.html", page)
    for name in ("results.csv", "results.md", "sweep.html"):
        log.info("written: %s", root / name)


def read(trial: Trial) -> TrialResult:
    """The trial with its state and, where it is finished, its result."""
    if not trial.is_done:
        return TrialResult(trial, trial.state(), {}, "")
    result = json.loads((trial.folder / RUN_FILE).read_text())
    metrics = result["metrics"][SHOWN]
    cells = {name: metrics[name] for name in METRICS if name in metrics}
    return TrialResult(trial, "done", cells, result["data"]["source"])


def groups(rows: Iterable[TrialResult]) -> list[SeedGroup]:
    """Finished trials by all differing fields but the seed, in the sweep's order."""
    members: dict[str, list[TrialResult]] = {}
    for row in sorted(rows, key=lambda row: row.trial.index):
        if row.cells:
            others = {k: v for k, v in row.trial.differing.items() if k != SEED}
            members.setdefault(_fields(others), []).append(row)
    return [
        SeedGroup(
            label,
            {
                metric: [
                    row.cells[metric]["value"]
                    for row in of_group
                    if wording.is_number(row.cells.get(metric, {}).get("value"))
                ]
                for metric in METRICS
            },
        )
        for label, of_group in members.items()
    ]


def _fields(fields: Mapping[str, Any]) -> str:
    """`method aals, seed 0`."""
    return (
        ", ".join(
            f"{k} {v:.4g}" if isinstance(v, float) else f"{k} {v}"
            for k, v in fields.items()
        )
        or "all trials"
    )


def as_csv(rows: Sequence[TrialResult]) -> str:
    """One line per trial, with all digits; the config's fields by dotted names."""
    fields = list(dict.fromkeys(name for row in rows for name in row.trial.differing))
    ends = [f"{metric}{end}" for metric in METRICS for end in ("", "_low", "_high")]
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow(["index", "trial", "state", *fields, "model", *ends])
    for row in rows:
        values = [row.trial.differing.get(name) for name in fields]
        numbers = [
            row.cells.get(metric, {}).get(end)
            for metric in METRICS
            for end in ("value", "low", "high")
        ]
        start = [row.trial.index, row.trial.name, row.state]
        writer.writerow(map(_plain, [*start, *values, SHOWN, *numbers]))
    return stream.getvalue()


def _plain(value: Any) -> Any:
    """A cell that no spreadsheet takes for a formula; a list as JSON."""
    return json.dumps(value) if isinstance(value, list) else formulas.neutralize(value)


def as_markdown(rows: Sequence[TrialResult], by_seed: Sequence[SeedGroup]) -> str:
    """Groups, then trials, then what the metrics mean."""
    titles = [wording.title(name) for name in METRICS]
    done = sum(bool(row.cells) for row in rows)
    parts = [
        "# Sweep",
        f"{provenance.DISCLAIMER} {done} of {len(rows)} trials done; test split, model "
        f"`{SHOWN}`, each at the checkpoint that validation chose.",
        *([_PHANTOM] if _any_phantom(rows) else []),
        "## By group: mean ± standard deviation over seeds",
        markdown.table(
            ["group", "runs", *titles],
            [
                [g.label, len(g.values[METRICS[0]]), *map(g.in_words, METRICS)]
                for g in by_seed
            ],
        ),
        "## Trials: value and 95 % interval",
        markdown.table(
            ["trial", "fields", "state", *titles],
            [
                [r.trial.name, _fields(r.trial.differing), r.state, *_intervals(r)]
                for r in rows
            ],
        ),
        "## Definitions",
        "\n".join(f"- {name}: {text}" for name, text in definitions(rows)),
    ]
    return "\n\n".join(parts) + "\n"


def _intervals(row: TrialResult) -> list[str]:
    if not row.cells:
        return [wording.NOTHING] * len(METRICS)
    return [entries.text(row.cells.get(metric, {})) for metric in METRICS]


def definitions(rows: Sequence[TrialResult]) -> list[tuple[str, str]]:
    """Title and definition of each metric, from the first finished trial."""
    cells = next((row.cells for row in rows if row.cells), {})
    return [
        (wording.title(name), str(cells[name].get("definition", wording.UNRECORDED)))
        for name in METRICS
        if name in cells
    ]


def _any_phantom(rows: Iterable[TrialResult]) -> bool:
    return any(row.source == "phantom" for row in rows)


def _for_page(
    rows: Sequence[TrialResult], by_seed: Sequence[SeedGroup]
) -> dict[str, Any]:
    """The arguments of `sweep.render`."""
    titles = [(name, wording.title(name)) for name in METRICS]
    return {
        "phantom": _any_phantom(rows),
        "lead": [
            ("Trials", f"{sum(bool(r.cells) for r in rows)} of {len(rows)} done"),
            ("Model", SHOWN),
            ("Set", "test"),
        ],
        "plots": [
            sweep.MetricPlot(
                name,
                title,
                tuple(
                    (g.label, g.in_words(name), tuple(g.values[name])) for g in by_seed
                ),
            )
            for name, title in titles
        ],
        "titles": [title for _, title in titles],
        "trials": [
            (r.trial.name, _fields(r.trial.differing), r.state, _intervals(r))
            for r in rows
        ],
        "definitions": definitions(rows),
    }
