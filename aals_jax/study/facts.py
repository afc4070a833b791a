"""What a study consists of: how far it is, its data, tuning, time and repeats; the CSV.

Each function gives the Markdown of a block, or NOT_RUN.
"""

import csv
import io
import json
import math
import statistics
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from aals_jax.report import markdown, wording
from aals_jax.study.kept import KeptTrial, Study
from aals_jax.study.layout import NOT_RUN
from aals_jax.study.plan import PlannedTrial, label, place
from aals_jax.sweeps.results import METRICS
from aals_jax.types import SHOWN, STAGE_1, STAGES
from data.cxr_registry.tables import records

_Repeat = tuple[PlannedTrial, KeptTrial, KeptTrial]  # trial, result, its repeat


def progress(study: Study) -> str:
    """One row per part: how many of its trials are kept."""
    lines = []
    for part, planned in study.plan.parts.items():
        count = len(study.finished(part))
        state = f"{count} of {len(planned)} trials done" if count else "not run"
        lines.append([part, state])
    trials = study.plan.trials
    done = sum(name in trials for name in study.results)
    lines.append(["all, each once", f"{done} of {len(trials)} trials done"])
    text = markdown.table(["part", "state"], lines)
    if others := len(study.results) - done:
        text += f"\n\nKept results that belong to no part: {others}."
    return text


def data(study: Study) -> str:
    """One row per data set that was trained and tested on."""
    parts_by_row: dict[str, dict[str, None]] = {}  # parts in order, each once
    for part in study.plan.parts:
        for trial, kept in study.finished(part):
            row = json.dumps(_data_row(trial, kept))
            parts_by_row.setdefault(row, {})[part] = None
    if not parts_by_row:
        return NOT_RUN
    head = ["parts", "source", "side, px", "noise", "fold"]
    head += ["train R, P, N", "validation R, P, N", "test R, P, N", "test prevalence"]
    lines = [[", ".join(parts), *json.loads(r)] for r, parts in parts_by_row.items()]
    note = "R: positives with boxes, P: positives without, N: negatives; images."
    return f"{note}\n\n{markdown.table(head, sorted(lines))}"


def _data_row(trial: PlannedTrial, kept: KeptTrial) -> list[str]:
    fields, described = trial.fields, kept.record["data"]
    source = described["source"]
    if source == "phantom":
        source = f"phantom, {fields['phantom.difficulty']}"
    counts = [
        ", ".join(
            wording.number(split.get(kind, 0))
            for kind in ("region", "image_level", "negative")
        )
        for split in (described["splits"][s] for s in records.SPLITS)
    ]
    entry = kept.record["metrics"][SHOWN]["auroc"]
    noise = wording.percent(fields.get("data.label_noise", 0.0))
    rest = [*counts, wording.percent(entry.get("prevalence"))]
    return [source, str(described["side"]), noise, str(described["fold"]), *rest]


def definitions(study: Study) -> str:
    """One line per metric, as the first kept trial defines it."""
    for name in study.plan.trials:
        if name in study.results:
            entries = study.results[name].record["metrics"][SHOWN]
            return "\n".join(
                f"- {wording.title(metric)}: {entries[metric]['definition']}"
                for metric in METRICS
                if metric in entries
            )
    return NOT_RUN


def tuning(study: Study, part: str = "tuning") -> str:
    """One row per setting that was tried; of validation alone, not of the test set."""
    planned = study.plan.part(part)
    finished = study.finished(part)
    if not finished:
        return NOT_RUN
    # within a method: what methods differ in was not tried
    by_method: dict[str, list[Any]] = {}
    for trial in planned:
        by_method.setdefault(label(trial.fields), []).append(trial)
    apart = ("seed", "method", "distill.max_strength")
    varied = list(
        dict.fromkeys(f for t in by_method.values() for f in _varied(t, apart=apart))
    )
    by_setting: dict[tuple[Any, ...], list[KeptTrial]] = {}
    for trial, kept in finished:
        setting = (label(trial.fields), *(trial.fields.get(f) for f in varied))
        by_setting.setdefault(setting, []).append(kept)
    means = {
        setting: statistics.fmean(best_validation(kept) or 0.0 for kept in runs)
        for setting, runs in by_setting.items()
    }
    best = {
        method: max(mean for setting, mean in means.items() if setting[0] == method)
        for method in {setting[0] for setting in means}
    }
    lines = [
        [
            *map(_cell, setting),
            len(by_setting[setting]),
            _bold(means[setting], means[setting] == best[setting[0]]),
        ]
        for setting in sorted(by_setting, key=_tuning_order)
    ]
    note = (
        f"{len(finished)} of {len(planned)} trials done. Best AUROC on the validation "
        "split over stage 2 (teacher), mean over runs; bold: best of the method."
    )
    names = [field.rpartition(".")[2] for field in varied]
    names = [
        name if names.count(name) == 1 else field
        for name, field in zip(names, varied, strict=True)
    ]
    head = ["method", *names, "runs", "validation AUROC"]
    return f"{note}\n\n{markdown.table(head, lines)}"


def _tuning_order(setting: tuple[Any, ...]) -> tuple[Any, ...]:
    """By method, then by value; numbers come before words."""
    method, *values = setting
    numbers = (v if wording.is_number(v) else math.inf for v in values)
    return (
        place(method),
        *((n, str(v)) for n, v in zip(numbers, values, strict=True)),
    )


def _bold(value: float, is_best: bool) -> str:
    text = wording.number(value)
    return f"**{text}**" if is_best else text


def best_validation(kept: KeptTrial) -> float | None:
    """The largest validation AUROC of the teacher in stage 2."""
    _, values = kept.curve("auroc_teacher")
    return float(values.max()) if len(values) else None


def time(study: Study) -> str:
    """One row per part, method and hardware: how long stage 2 trained."""
    lines = []
    for part in study.plan.parts:
        spent: dict[tuple[str, str], list[Mapping[str, Any]]] = {}
        for trial, kept in study.finished(part):
            training = kept.record["training"][STAGES[-1]]
            if training["seconds"] is not None:
                key = (label(trial.fields), kept.hardware)
                spent.setdefault(key, []).append(training)
        for method, hardware in sorted(spent, key=lambda key: (place(key[0]), key[1])):
            runs = spent[method, hardware]
            steps, seconds, pace = (
                statistics.median(run[key] for run in runs)
                for key in ("steps", "seconds", "steps_per_s")
            )
            cells = [f"{steps:.0f}", f"{seconds:.0f}", f"{pace:.2f}"]
            lines.append([part, method, hardware, len(runs), *cells])
    if not lines:
        return NOT_RUN
    note = (
        "Stage 2 without validation; medians over runs, whatever else the machine did."
    )
    head = ["part", "method", "hardware", "runs", "steps", "seconds", "steps/s"]
    return f"{note}\n\n{markdown.table(head, lines)}"


def repeats(study: Study) -> str:
    """One row per trial that was run on two kinds of hardware, and how far results lie
    apart, by metric: what rounding alone does to a result."""
    trials = study.plan.trials
    pairs = [
        (trials[name], study.results[name], again)
        for name, again in study.repeats.items()
        if name in trials and name in study.results
    ]
    if not pairs:
        return NOT_RUN
    pairs.sort(key=lambda pair: (place(label(pair[0].fields)), pair[0].fields["seed"]))
    first, *_ = METRICS
    lines = []
    for trial, kept, again in pairs:
        a, b = kept.value(first), again.value(first)
        change = wording.NOTHING if a is None or b is None else wording.signed(b - a)
        hardware = f"{kept.hardware}, {again.hardware}"
        values = [wording.number(a), wording.number(b), change]
        lines.append([label(trial.fields), trial.fields["seed"], hardware, *values])
    head = ["method", "seed", "hardware", wording.title(first), "again", "difference"]
    return f"{markdown.table(head, lines)}\n\n{_deviations(pairs)}"


def _deviations(pairs: Sequence[_Repeat]) -> str:
    """One row per metric: standard deviation over hardware, and over seeds."""
    lines = []
    for metric in METRICS:
        values = [(t, a.value(metric), b.value(metric)) for t, a, b in pairs]
        both = [(t, a, b) for t, a, b in values if a is not None and b is not None]
        if both:
            by_method: dict[str, list[float]] = {}
            for trial, a, _ in both:
                by_method.setdefault(label(trial.fields), []).append(a)
            # the difference of two draws has twice the variance of one
            over_hardware = [(b - a) ** 2 / 2 for _, a, b in both]
            over_seeds = [
                statistics.variance(of_method)
                for of_method in by_method.values()
                if len(of_method) > 1
            ]
            cells = [
                f"{math.sqrt(statistics.fmean(variances)):.3f}"
                if variances
                else wording.NOTHING
                for variances in (over_hardware, over_seeds)
            ]
            lines.append([wording.title(metric), len(both), *cells])
    note = (
        "Standard deviation of one result, over hardware (the same seed, weights and "
        "data twice) and over seeds (of the method, as in the tables)."
    )
    head = ["metric", "trials", "over hardware", "over seeds"]
    return f"{note}\n\n{markdown.table(head, lines)}"


def _varied(
    trials: Iterable[PlannedTrial], *, apart: tuple[str, ...] = ()
) -> list[str]:
    """The fields in which trials differ, without those that are set `apart`."""
    flats = [trial.fields for trial in trials]
    names = dict.fromkeys(name for flat in flats for name in sorted(flat))
    return [
        name
        for name in names
        if name not in apart and len({json.dumps(f.get(name)) for f in flats}) > 1
    ]


def _cell(value: Any) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)


def as_csv(study: Study) -> str:
    """One line per trial, run or not, with all digits."""
    trials = study.plan.trials
    fields = _varied(trials.values())
    ends = ("value", "low", "high")
    models = (SHOWN, STAGE_1)
    numbers = [f"{m}_{metric}_{e}" for m in models for metric in METRICS for e in ends]
    steps = [f"{model}_best_step" for model in models]
    stream = io.StringIO()
    lines = csv.writer(stream, lineterminator="\n")
    head = ["trial", "parts", "state", "label", *fields, *steps]
    lines.writerow([*head, "validation_auroc", *numbers])
    for name, trial in trials.items():
        parts = [part for part, own in study.plan.parts.items() if trial in own]
        kept = study.results.get(name)
        values = [
            json.dumps(v) if isinstance(v, list) else v
            for v in map(trial.fields.get, fields)
        ]
        start = [name, " ".join(parts), "done" if kept else "not run"]
        rest = _numbers(kept) if kept else []
        lines.writerow([*start, label(trial.fields), *values, *rest])
    return stream.getvalue()


def _numbers(kept: KeptTrial) -> list[Any]:
    record, models = kept.record, (SHOWN, STAGE_1)
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
