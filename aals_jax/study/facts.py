"""What a study is made of: how far it is, its data, its tuning, its time; the CSV."""

import csv
import io
import json
import math
import statistics
from collections.abc import Iterable, Mapping
from typing import Any

from aals_jax.report import wording
from aals_jax.report.markdown import table
from aals_jax.study.block import Part
from aals_jax.study.kept import FIRST, Kept
from aals_jax.study.plan import Planned, label, place
from aals_jax.study.tables import NOT_RUN
from aals_jax.sweeps.results import METRICS
from aals_jax.types import SHOWN


def progress(all_of: Part) -> str:
    """A row a part: how many of its trials are kept."""
    lines = []
    for name, planned in all_of.study.parts.items():
        count = len(all_of.kept(name))
        said = f"{count} of {len(planned)} trials done" if count else "not run"
        lines.append([name, said])
    trials = all_of.study.trials
    known = sum(name in trials for name in all_of.results)
    lines.append(["all, each once", f"{known} of {len(trials)} trials done"])
    text = table(["part", "state"], lines)
    if others := len(all_of.results) - known:
        text += f"\n\nKept results that belong to no part: {others}."
    return text


def data(all_of: Part) -> str:
    """A row a data set that was trained and tested on."""
    found: dict[str, list[Any]] = {}
    for name in all_of.study.parts:
        for trial, kept in all_of.kept(name):
            row = _data_row(trial, kept)
            found.setdefault(json.dumps(row), [row, {}])[1][name] = None
    if not found:
        return NOT_RUN
    head = ["parts", "source", "side, px", "noise", "fold"]
    head += ["train R, P, N", "validation R, P, N", "test R, P, N", "test prevalence"]
    lines = sorted([", ".join(parts), *row] for row, parts in found.values())
    note = "R: positives with boxes, P: positives without, N: negatives; images."
    return f"{note}\n\n{table(head, lines)}"


def _data_row(trial: Planned, kept: Kept) -> list[str]:
    fields, described = trial.fields, kept.record["data"]
    source = described["source"]
    if source == "phantom":
        source = f"phantom, {fields['phantom.difficulty']}"
    counts = [
        ", ".join(
            wording.number(split.get(kind, 0))
            for kind in ("region", "image_level", "negative")
        )
        for split in (described["splits"][s] for s in ("train", "validation", "test"))
    ]
    entry = kept.record["metrics"][SHOWN]["auroc"]
    noise = wording.percent(fields.get("data.label_noise", 0.0))
    rest = [*counts, wording.percent(entry.get("prevalence"))]
    return [source, str(described["side"]), noise, str(described["fold"]), *rest]


def definitions(all_of: Part) -> str:
    """A line a metric, as the first kept trial says."""
    for trial in all_of.study.trials.values():
        if trial.name in all_of.results:
            entries = all_of.results[trial.name].record["metrics"][SHOWN]
            return "\n".join(
                f"- {wording.title(name)}: {entries[name]['definition']}"
                for name in METRICS
                if name in entries
            )
    return NOT_RUN


def tuning(all_of: Part, part: str = "tuning") -> str:
    """A row a setting that was tried: validation alone, test metrics have no part."""
    planned = all_of.study.part(part)
    kept = all_of.kept(part)
    if not kept:
        return NOT_RUN
    varied = _varied(planned, apart=("seed", "method", "distill.max_strength"))
    found: dict[tuple[Any, ...], list[Kept]] = {}
    for trial, each in kept:
        key = (label(trial.fields), *(trial.fields.get(f) for f in varied))
        found.setdefault(key, []).append(each)
    means = {key: _validation(same) for key, same in found.items()}
    best = {
        name: max(m for key, m in means.items() if key[0] == name)
        for name in {key[0] for key in found}
    }
    lines = [
        [*map(_cell, key), len(same), _bold(means[key], means[key] == best[key[0]])]
        for key, same in sorted(found.items(), key=lambda item: _tuning_order(item[0]))
    ]
    note = (
        f"{len(kept)} of {len(planned)} trials done. Best AUROC on the validation "
        "split over stage 2 (teacher), mean over runs; bold: best of the method."
    )
    names = [field.rpartition(".")[2] for field in varied]
    return f"{note}\n\n{table(['method', *names, 'runs', 'validation AUROC'], lines)}"


def _tuning_order(key: tuple[Any, ...]) -> tuple[Any, ...]:
    """By method, then by value: numbers first."""
    numbers = (v if wording.is_number(v) else math.inf for v in key[1:])
    return (
        place(key[0]),
        *((n, str(v)) for n, v in zip(numbers, key[1:], strict=True)),
    )


def _bold(value: float, is_best: bool) -> str:
    text = wording.number(value)
    return f"**{text}**" if is_best else text


def _validation(same: Iterable[Kept]) -> float:
    return statistics.fmean(best_validation(kept) or 0.0 for kept in same)


def best_validation(kept: Kept) -> float | None:
    """The largest validation AUROC of the teacher in stage 2."""
    _, values = kept.curve("auroc_teacher")
    return float(values.max()) if len(values) else None


def time(all_of: Part) -> str:
    """A row a part, method and hardware: how long stage 2 trained."""
    lines = []
    for part in all_of.study.parts:
        found: dict[tuple[str, str], list[Mapping[str, Any]]] = {}
        for trial, kept in all_of.kept(part):
            spent = kept.record["training"]["distill"]
            if spent["seconds"] is not None:
                key = (label(trial.fields), kept.hardware)
                found.setdefault(key, []).append(spent)
        for method, hardware in sorted(found, key=lambda key: (place(key[0]), key[1])):
            runs = found[method, hardware]
            steps, seconds, pace = (
                statistics.median(each[key] for each in runs)
                for key in ("steps", "seconds", "steps_per_s")
            )
            said = [f"{steps:.0f}", f"{seconds:.0f}", f"{pace:.2f}"]
            lines.append([part, method, hardware, len(runs), *said])
    if not lines:
        return NOT_RUN
    note = (
        "Stage 2 without validation; medians over runs, whatever else the machine did."
    )
    head = ["part", "method", "hardware", "runs", "steps", "seconds", "steps/s"]
    return f"{note}\n\n{table(head, lines)}"


def _varied(trials: Iterable[Planned], *, apart: tuple[str, ...] = ()) -> list[str]:
    """The fields in which trials differ."""
    flats = [trial.fields for trial in trials]
    names = dict.fromkeys(name for flat in flats for name in sorted(flat))
    return [
        name
        for name in names
        if name not in apart and len({json.dumps(f.get(name)) for f in flats}) > 1
    ]


def _cell(value: Any) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)


def as_csv(all_of: Part) -> str:
    """A line a trial, run or not, with all digits."""
    trials = all_of.study.trials
    fields = _varied(trials.values())
    ends = ("value", "low", "high")
    models = (SHOWN, FIRST)
    numbers = [f"{m}_{metric}_{e}" for m in models for metric in METRICS for e in ends]
    steps = [f"{model}_best_step" for model in models]
    stream = io.StringIO()
    lines = csv.writer(stream, lineterminator="\n")
    head = ["trial", "parts", "state", "label", *fields, *steps]
    lines.writerow([*head, "validation_auroc", *numbers])
    for name, trial in trials.items():
        parts = [p for p, own in all_of.study.parts.items() if trial in own]
        kept = all_of.results.get(name)
        values = [
            json.dumps(v) if isinstance(v, list) else v
            for v in map(trial.fields.get, fields)
        ]
        start = [name, " ".join(parts), "done" if kept else "not run"]
        rest = _numbers(kept) if kept else []
        lines.writerow([*start, label(trial.fields), *values, *rest])
    return stream.getvalue()


def _numbers(kept: Kept) -> list[Any]:
    record, models = kept.record, (SHOWN, FIRST)
    return [
        *(record["best_steps"].get(model) for model in models),
        best_validation(kept),
        *(
            record["metrics"][model].get(metric, {}).get(end)
            for model in models
            for metric in METRICS
            for end in ("value", "low", "high")
        ),
    ]
