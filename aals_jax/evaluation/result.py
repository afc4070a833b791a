"""The one record of what was measured: result.json of a run, metrics.json of a scoring.

Made here and nowhere else. `publish` writes it, and the page that shows it.
"""

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from aals_jax.metrics.measurement import Measurement
from aals_jax.report import checklists, entries, page, result_tables
from aals_jax.report.curve_figures import ModelCurves
from aals_jax.report.pictures import Example
from aals_jax.runtime import files, log, provenance

# Version of the JSON: raised when a key comes, goes or changes its meaning. Its schema
# is record.schema.json beside this module.
FORMAT = 3
RUN_FILE, SCORE_FILE = "result.json", "metrics.json"


@dataclasses.dataclass(frozen=True, kw_only=True)
class Result:
    """What was measured, on what, and by which code; None is not written."""

    title: str
    measurements: Mapping[str, Measurement]  # model or system -> its numbers
    differences: Sequence[Mapping[str, Any]]  # from `measurement.differences`
    data: Mapping[str, Any]  # what was measured on; no path
    notes: Sequence[str]  # sentences for the reader
    warnings: Sequence[str] | None = None  # what must not be overlooked; see verdicts
    kind: str | None = None  # "score"; None: a run
    steps: Mapping[str, int] | None = None  # model -> step of its stage, measured here
    finding: str | None = None
    method: str | None = None
    scale: str | None = None
    seed: int | None = None
    # of a scoring: system -> figure -> its rows, of `metrics.further.measure`
    further: Mapping[str, Any] | None = None
    # of a scoring: system -> curve -> columns, of `metrics.points.corners`
    curve_points: Mapping[str, Any] | None = None
    run_version: int | None = None  # of a run: runs.identity.VERSION
    flow: Mapping[str, Any] | None = None  # the images' way, of `flow`
    study: Mapping[str, Any] | None = None  # what the author stated, of `StudyFacts`
    monitors: Mapping[str, Any] | None = None  # of a run: of `monitors.measure`
    bounds: Mapping[str, Any] | None = None  # of a run: of `runs.bounds.beside`
    # of a run that started from weights made elsewhere: sha256, source, license
    initial_weights: Mapping[str, str] | None = None
    config: Mapping[str, Any] | None = None  # what the numbers depend on
    settings: Mapping[str, Any] | None = None  # only of a scoring
    hardware: str | None = None
    versions: Mapping[str, str] = dataclasses.field(default_factory=provenance.versions)
    commit: str = dataclasses.field(default_factory=provenance.commit)

    def as_json(self) -> dict[str, Any]:
        """Plain numbers, texts, lists and dicts; parts are model -> its numbers."""
        fields = {
            field.name: getattr(self, field.name)
            for field in dataclasses.fields(self)
            if field.name != "measurements"
        }
        parts = ("metrics", "calibration", "operating_points", "subgroups")
        plain = {
            "format": FORMAT,
            "disclaimer": provenance.DISCLAIMER,
            **{name: value for name, value in fields.items() if value is not None},
            **{
                part: {
                    model: getattr(measurement, part)
                    for model, measurement in self.measurements.items()
                }
                for part in parts
            },
        }
        return plain | {"checklists": checklists.fill(plain)}


def publish(
    result: Result,
    path: Path,
    *,
    history: Sequence[Mapping[str, Any]] = (),
    examples: Sequence[Example] = (),
    tables: Sequence[str] = (),
) -> Path:
    """Writes report.html, then the JSON, which says that all is there; logs both.

    Args:
        result: what was measured.
        path: of the JSON, named RUN_FILE or SCORE_FILE, in a folder that exists.
        history: rows of metrics.jsonl, for the page.
        examples: pictures for the page.
        tables: keys of `result_tables.FORMATS`, each a file beside the page.

    Returns:
        `path`.
    """
    plain = result.as_json()
    html = page.render(
        result=plain,
        curves={
            model: ModelCurves(**measurement.curves)
            for model, measurement in result.measurements.items()
        },
        history=history,
        examples=examples,
    )
    page_path = path.with_name("report.html")
    files.write_text(page_path, html)
    written = [_write_table(plain, path, name) for name in tables]
    files.write_json(path, plain)
    for model, metrics in plain["metrics"].items():
        texts = [f"{name} {entries.text(e)}" for name, e in metrics.items()]
        log.info("%-20s %s", model, "  ".join(texts))
    if result.kind == "score":
        for row in result.differences:
            log.info("%s", entries.difference_text(row))
    for warning in result.warnings or ():
        log.warning("%s", warning)
    log.info("the %s: %s", path.stem, path)
    log.info("the page: %s", page_path)
    for table in written:
        log.info("the table: %s", table)
    for name, (file, _) in result_tables.FORMATS.items():
        if name not in tables and path.with_name(file).exists():
            log.warning("%s is of an earlier call: --table=%s renews it", file, name)
    return path


def _write_table(plain: Mapping[str, Any], path: Path, name: str) -> Path:
    file, write = result_tables.FORMATS[name]
    files.write_text(path.with_name(file), write(plain))
    return path.with_name(file)
