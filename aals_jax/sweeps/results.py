"""What a sweep leaves, from its trials' results: results.csv, results.md, sweep.html.

Test metrics are those of each trial's result.json, of the model that a run shows;
nothing is measured here. Trials without a result have a row that says so.
"""

import csv
import dataclasses
import io
import json
import statistics
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from aals_jax.metrics import definitions as metric_definitions
from aals_jax.report import sweep, wording
from aals_jax.report.markdown import table
from aals_jax.runtime import files, log, provenance
from aals_jax.sweeps.sweep_file import SEED
from aals_jax.sweeps.trials import Trial
from aals_jax.types import SHOWN

METRICS = ("auroc", "average_precision", "froc_area", "froc_count")
_PHANTOM = "**Drawn phantom**: these numbers say that the code works, nothing else."


@dataclasses.dataclass(frozen=True)
class Row:
    """A trial."""

    trial: Trial
    state: str
    cells: Mapping[str, Mapping[str, Any]]  # metric -> its entry in result.json
    source: str  # of the data; "" without a result


@dataclasses.dataclass(frozen=True)
class Group:
    """Finished trials that differ in the seed alone."""

    label: str
    values: Mapping[str, Sequence[float]]  # metric -> one value a trial

    def mean(self, metric: str) -> float | None:
        return statistics.fmean(self.values[metric]) if self.values[metric] else None

    def spread(self, metric: str) -> float | None:
        """The sample's standard deviation; None of a single value."""
        values = self.values[metric]
        return statistics.stdev(values) if len(values) > 1 else None

    def said(self, metric: str) -> str:
        """`0.912 ± 0.013`."""
        spread = self.spread(metric)
        after = "" if spread is None else f" ± {wording.number(spread)}"
        return wording.number(self.mean(metric)) + after


def write(trials: Sequence[Trial], root: Path) -> None:
    """Writes the three files, each whole or not at all."""
    rows = [read(trial) for trial in trials]
    found = groups(rows)
    files.write_text(root / "results.csv", as_csv(rows))
    files.write_text(root / "results.md", as_markdown(rows, found))
    files.write_text(root / "sweep.html", sweep.render(**_for_page(rows, found)))
    for name in ("results.csv", "results.md", "sweep.html"):
        log.log.info("written: %s", root / name)


def read(trial: Trial) -> Row:
    if not trial.is_done:
        return Row(trial, trial.state(), {}, "")
    result = json.loads((trial.folder / "result.json").read_text())
    metrics = result["metrics"][SHOWN]
    cells = {name: metrics[name] for name in METRICS if name in metrics}
    return Row(trial, "done", cells, result["data"]["source"])


def groups(rows: Iterable[Row]) -> list[Group]:
    """In the order of their first trials."""
    members: dict[str, list[Row]] = {}
    for row in sorted(rows, key=lambda row: row.trial.index):
        if row.cells:
            others = {k: v for k, v in row.trial.differing.items() if k != SEED}
            members.setdefault(_said(others), []).append(row)
    return [
        Group(
            label,
            {
                metric: [
                    row.cells[metric]["value"]
                    for row in same
                    if wording.is_number(row.cells.get(metric, {}).get("value"))
                ]
                for metric in METRICS
            },
        )
        for label, same in members.items()
    ]


def _said(fields: Mapping[str, Any]) -> str:
    return (
        ", ".join(
            f"{k} {v:.4g}" if isinstance(v, float) else f"{k} {v}"
            for k, v in fields.items()
        )
        or "all trials"
    )


def as_csv(rows: Sequence[Row]) -> str:
    """A line a trial, numbers with all digits; the config's fields by dotted names."""
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
    """A cell that no spreadsheet takes for a formula."""
    if isinstance(value, str) and value.startswith(("=", "+", "-", "@", "\t", "\r")):
        return f"'{value}"
    return json.dumps(value) if isinstance(value, list) else value


def as_markdown(rows: Sequence[Row], found: Sequence[Group]) -> str:
    titles = [wording.title(name) for name in METRICS]
    done = sum(bool(row.cells) for row in rows)
    parts = [
        "# Sweep",
        f"{provenance.DISCLAIMER} {done} of {len(rows)} trials done; test split, model "
        f"`{SHOWN}`, each at the checkpoint that validation chose.",
        *([_PHANTOM] if _any_phantom(rows) else []),
        "## By group: mean ± standard deviation over seeds",
        table(
            ["group", "runs", *titles],
            [
                [g.label, len(g.values[METRICS[0]]), *(g.said(m) for m in METRICS)]
                for g in found
            ],
        ),
        "## Trials: value and 95 % interval",
        table(
            ["trial", "fields", "state", *titles],
            [
                [r.trial.name, _said(r.trial.differing), r.state, *_intervals(r)]
                for r in rows
            ],
        ),
        "## Definitions",
        "\n".join(f"- {name}: {text}" for name, text in definitions(rows)),
    ]
    return "\n\n".join(parts) + "\n"


def _intervals(row: Row) -> list[str]:
    if not row.cells:
        return [wording.NOTHING] * len(METRICS)
    return [
        metric_definitions.entry_text(row.cells.get(metric, {})) for metric in METRICS
    ]


def definitions(rows: Sequence[Row]) -> list[tuple[str, str]]:
    """Title of a metric, how it is defined; as the first result says."""
    cells = next((row.cells for row in rows if row.cells), {})
    return [
        (wording.title(name), str(cells[name].get("definition", wording.UNRECORDED)))
        for name in METRICS
        if name in cells
    ]


def _any_phantom(rows: Iterable[Row]) -> bool:
    return any(row.source == "phantom" for row in rows)


def _for_page(rows: Sequence[Row], found: Sequence[Group]) -> dict[str, Any]:
    titles = [(name, wording.title(name)) for name in METRICS]
    return {
        "phantom": _any_phantom(rows),
        "lead": [
            ("Trials", f"{sum(bool(r.cells) for r in rows)} of {len(rows)} done"),
            ("Model", SHOWN),
            ("Set", "test"),
        ],
        "plots": [
            sweep.Dots(
                name,
                title,
                tuple((g.label, g.said(name), tuple(g.values[name])) for g in found),
            )
            for name, title in titles
        ],
        "titles": [title for _, title in titles],
        "trials": [
            (r.trial.name, _said(r.trial.differing), r.state, _intervals(r))
            for r in rows
        ],
        "definitions": definitions(rows),
    }
