"""How right a registry's labels are, by a sample of them that a person judged.

What is judged is a label of one image. The estimates are of all images that the sample
was drawn from: each judged one counts for those that it stands for.
"""

import collections
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from aals_jax.metrics import definitions, stratified
from data.cxr_registry.guard import checks
from data.cxr_registry.survey import label_sample, label_sheet, table_survey
from data.cxr_registry.tables import formats, records

ANSWERS = (1, 0, -1)  # of the person; -1: can't be told
REPORT = "report"


def hand_out(
    registry: records.Registry,
    tables: Path,
    out: Path,
    *,
    number: int,
    seed: int,
    columns: Sequence[str] | None,
) -> dict[str, Any]:
    """Draws a sample and writes its sheet; returns how it was drawn, for audit.json.

    Args:
        registry: its labels.
        tables: folder of its studies table.
        out: folder that the sheet is written to.
        number: labels to judge.
        seed: another one draws others.
        columns: of the studies table, shown to the person; None: the report, if any.

    Raises:
        ValueError: columns that the table lacks, or too small a number.
        FileExistsError: `out` has another sheet.
    """
    table = formats.open_table(tables, "studies", checks.Problems())
    have = table.columns if table else ()
    columns = [REPORT] * (REPORT in have) if columns is None else list(columns)
    if wrong := sum(name not in have or name in label_sheet.OWN for name in columns):
        raise ValueError(
            f"--sample_columns: {wrong} of {len(columns)} are not columns of the "
            "studies table that the sheet can show beside its own"
        )
    sample = label_sample.draw(registry, number=number, seed=seed)
    wanted = {one.row for one in sample.rows}
    shown = {
        row: {name: cells[name] for name in columns}
        for row, cells in (table.numbered() if table else ())
        if row in wanted
    }
    label_sheet.write(out, sample, registry, shown=shown)
    return {
        "labels": len(sample.rows),
        "seed": seed,
        "sheet": label_sheet.SHEET,
        "columns": columns,
        "drawn": [
            {
                "finding": stratum.finding,
                "label": stratum.label,
                "evidence": stratum.basis,
                "images": sample.images[stratum],
                "drawn": drawn,
                "weight": round(sample.weight(stratum), 4),
            }
            for stratum, drawn in sample.drawn.items()
        ],
    }


def take_back(path: Path, registry: records.Registry) -> dict[str, Any]:
    """What the answers of a sheet say about the labels; docs/audit.md has the keys.

    Args:
        path: of the sheet that came back.
        registry: that it was drawn from.

    Raises:
        SheetError: every fault of the sheet, with its row.
        FileNotFoundError: there is no sheet.
    """
    problems = checks.Problems(error=label_sheet.SheetError)
    sheet = label_sheet.read(path, problems)
    sample = label_sheet.redraw(sheet, registry, problems)
    problems.raise_if_any()
    if sample is None:  # it has no line, which is a fault
        raise ValueError("the sheet names no sample; draw one with --sample")
    return {
        "seed": sample.seed,
        "labels": len(sample.rows),
        "answered": len(sheet.answers),
        "empty": len(sheet.empty),
        "absent": len(sample.rows) - len(sheet.answers) - len(sheet.empty),
        "findings": {name: _finding(sample, sheet, name) for name in registry.findings},
    }


def _finding(
    sample: label_sample.Sample, sheet: label_sheet.Sheet, finding: str
) -> dict[str, Any]:
    """Precision, recall, confusion and evidence of one finding."""
    strata = [stratum for stratum in sample.images if stratum.finding == finding]
    answers = {stratum: collections.Counter[int]() for stratum in strata}
    wrong: dict[label_sample.Stratum, list[int]] = {stratum: [] for stratum in strata}
    for one in sample.rows:
        if one.stratum in answers and one.key in sheet.answers:
            answer = sheet.answers[one.key]
            answers[one.stratum][answer] += 1
            if min(answer, one.stratum.label) >= 0 and answer != one.stratum.label:
                wrong[one.stratum].append(one.row)
    found = {
        answer: stratified.Strata(
            images=np.array([sample.images[s] for s in strata]),
            judged=np.array([answers[s].total() for s in strata]),
            hits=np.array([answers[s][answer] for s in strata]),
            undecided=np.array([answers[s][-1] * (answer >= 0) for s in strata]),
        )
        for answer in ANSWERS
    }
    label = np.array([stratum.label for stratum in strata])
    return {
        "answered": sum(counts.total() for counts in answers.values()),
        "labels": {
            str(value): _right(found[value], label == value) for value in (1, 0)
        },
        "confusion": [
            {
                "label": value,
                "answer": answer,
                "judged": int(found[answer].hits[label == value].sum()),
                "images": definitions.entry(
                    stratified.total(found[answer], label == value)
                ),
            }
            for value in ANSWERS
            if (label == value).any()
            for answer in ANSWERS
        ],
        "evidence": [
            {
                "label": stratum.label,
                "evidence": stratum.basis,
                "images": sample.images[stratum],
                "drawn": sample.drawn[stratum],
                "answers": {str(a): answers[stratum][a] for a in ANSWERS},
                **(
                    _right(found[stratum.label], np.arange(len(strata)) == place)
                    if stratum.label >= 0
                    else {}
                ),
                "wrong_rows": table_survey.examples(sorted(wrong[stratum])),
            }
            for place, stratum in enumerate(strata)
        ],
    }


def _right(found: stratified.Strata, part: np.ndarray) -> dict[str, Any]:
    return {
        "precision": definitions.entry(stratified.precision(found, part)),
        "recall": definitions.entry(stratified.recall(found, part)),
    }
