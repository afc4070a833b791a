"""Checklists of reporting, filled as far as a result can know.

The items of STARD 2015, CLAIM 2024 and TRIPOD+AI stand in checklists.csv by number,
each with what it asks for in our own short words, the names of KNOWN that answer it
from the result, and the keys of a study's facts that its author states. The standards
themselves have the full text; an item that is filled here is not thereby well reported.

References:
    P. Bossuyt et al., STARD 2015, BMJ 351 (2015), h5527.
    A. Tejani et al., CLAIM: 2024 update, Radiology: AI 6 (2024), e240300.
    G. Collins et al., TRIPOD+AI statement, BMJ 385 (2024), e078378.
"""

import csv
import dataclasses
import functools
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from aals_jax.report import entries, wording

STANDARDS = {  # name -> where its text is
    "STARD 2015": "doi:10.1136/bmj.h5527",
    "CLAIM 2024": "doi:10.1148/ryai.240300",
    "TRIPOD+AI": "doi:10.1136/bmj-2023-078378",
}
EXCLUSIONS = "exclusions"  # the one fact that is no text
FILLED, PARTLY = "filled", "partly filled"
OPEN = "to be stated by the author"
NOT_HERE = "not known here"  # only a result could fill it, and this one does not
OTHER_STUDY = "of a model's development"  # which a scoring is not
STATUSES = (FILLED, PARTLY, OPEN, NOT_HERE, OTHER_STUDY)
_FIRST = ("auroc", "average_precision", "froc_area", "froc_count")


@dataclasses.dataclass(frozen=True)
class Item:
    """A row of a standard."""

    standard: str
    number: str  # as the standard counts
    of: str  # "development" or "evaluation" where it is about these alone
    asks: str
    known: tuple[str, ...]  # keys of KNOWN
    facts: tuple[str, ...]  # section.key of a study's facts, or EXCLUSIONS


@functools.cache
def items() -> tuple[Item, ...]:
    """The rows of checklists.csv."""
    with Path(__file__).with_name("checklists.csv").open(newline="") as stream:
        return tuple(
            Item(
                standard=row["standard"],
                number=row["item"],
                of=row["of"],
                asks=row["asks"],
                known=tuple(row["known"].split()),
                facts=tuple(row["facts"].split()),
            )
            for row in csv.DictReader(stream)
        )


def fill(result: Mapping[str, Any]) -> dict[str, Any]:
    """What a result and its author's facts say to each item.

    Args:
        result: what result.json or metrics.json holds. `study` has the author's
            `facts` (section.key -> text) and `exclusions`; `flow` the images.

    Returns:
        known: name -> text, of those of KNOWN that the result has; standards: name ->
        source and items, each with its number, what it asks, status (of STATUSES), the
        names of what answers it (known, stated) and those that are left (to_state).
    """
    known = {name: text for name, of in KNOWN.items() if (text := of(result))}
    study = result.get("study") or {}
    stated = {*(study.get("facts") or {})}
    stated |= {EXCLUSIONS} if study.get(EXCLUSIONS) is not None else set()
    develops = result.get("kind", "run") == "run"
    standards: dict[str, Any] = {
        name: {"source": source, "items": []} for name, source in STANDARDS.items()
    }
    for item in items():
        answers = {
            "known": [name for name in item.known if name in known],
            "stated": [name for name in item.facts if name in stated],
            "to_state": [name for name in item.facts if name not in stated],
        }
        status = _status(answers, is_ours=develops or item.of != "development")
        row = {"item": item.number, "asks": item.asks, "status": status}
        row |= {"of": item.of} if item.of else {}
        row |= {name: names for name, names in answers.items() if names}
        standards[item.standard]["items"].append(row)
    return {"known": known, "standards": standards}


def _status(answers: Mapping[str, Sequence[str]], *, is_ours: bool) -> str:
    answered = answers["known"] or answers["stated"]
    if answered:
        return PARTLY if answers["to_state"] else FILLED
    if not is_ours:
        return OTHER_STUDY
    return OPEN if answers["to_state"] else NOT_HERE


@dataclasses.dataclass(frozen=True)
class Row:
    """An item with its answers in words."""

    number: str
    of: str
    asks: str
    status: str
    known: tuple[str, ...]
    stated: tuple[tuple[str, str], ...]  # key, text
    to_state: tuple[str, ...]


@dataclasses.dataclass(frozen=True)
class Checklist:
    """A standard, as the page shows it."""

    name: str
    source: str
    summary: str  # `9 filled, 3 partly filled, ...`
    rows: tuple[Row, ...]


def views(result: Mapping[str, Any]) -> list[Checklist]:
    """The `checklists` of a result for the page; none where it has none."""
    filled, study = result.get("checklists") or {}, result.get("study") or {}
    known, texts = filled.get("known") or {}, dict(study.get("facts") or {})
    if study.get(EXCLUSIONS) is not None:
        number = len(study[EXCLUSIONS])
        texts[EXCLUSIONS] = f"{number} kind(s), in the diagram" if number else "none"
    lists = []
    for name, standard in (filled.get("standards") or {}).items():
        rows = tuple(
            Row(
                number=row["item"],
                of=row.get("of", ""),
                asks=row["asks"],
                status=row["status"],
                known=tuple(known[key] for key in row.get("known", ())),
                stated=tuple((key, texts[key]) for key in row.get("stated", ())),
                to_state=tuple(row.get("to_state", ())),
            )
            for row in standard["items"]
        )
        found = [row.status for row in rows]
        counts = {status: found.count(status) for status in STATUSES}
        summary = ", ".join(f"{n} {status}" for status, n in counts.items() if n)
        lists.append(Checklist(name, standard["source"], summary, rows))
    return lists


# --- what a result knows, in a sentence; "" where it does not


def _accuracy(result: Mapping) -> str:
    texts = []
    for model, cells in result["metrics"].items():
        values = [
            f"{wording.title(name)} {_value(cells[name])}"
            for name in _FIRST
            if name in cells
        ]
        texts += [f"{model}: {', '.join(values)}"] if values else []
    return ". ".join(texts)


def _value(cell: Mapping) -> str:
    view = entries.view(cell)
    if not view.exact:
        return f"none ({view.reason})"
    has_ends = view.interval != wording.NOTHING
    return f"{view.value} (95 % {view.interval})" if has_ends else view.value


def _measures(result: Mapping) -> str:
    names = dict.fromkeys(n for cells in result["metrics"].values() for n in cells)
    points = any((result.get("operating_points") or {}).values())
    titles = [wording.title(name) for name in names]
    return ", ".join([*titles, *(["operating points"] if points else [])])


def _intervals(result: Mapping) -> str:
    texts = dict.fromkeys(
        cell["interval"]
        for cells in result["metrics"].values()
        for cell in cells.values()
        if isinstance(cell.get("interval"), str) and cell["interval"] != "none"
    )
    compared = dict.fromkeys(
        row["method"] for row in result.get("differences") or () if row.get("method")
    )
    return "; ".join([*texts, *(f"differences: {method}" for method in compared)])


def _thresholds(result: Mapping) -> str:
    rules = dict.fromkeys(
        f"{point['name']}: {point['rule']}, chosen on {point['chosen_on']}"
        for points in (result.get("operating_points") or {}).values()
        for point in points
        if point.get("rule") and point.get("chosen_on")
    )
    return "; ".join(rules)


def _cross_table(result: Mapping) -> str:
    """Counts at the image-level operating points, from shares that are exact."""
    texts = []
    for model, points in (result.get("operating_points") or {}).items():
        cell = result["metrics"].get(model, {}).get("auroc", {})
        positive, images = cell.get("n_positive"), cell.get("n_images")
        for point in points:
            measured = point.get("measured") or {}
            shares = [
                measured.get(name, {}).get("value")
                for name in ("sensitivity", "specificity")
            ]
            numbers = (positive, images, *shares)
            if point.get("level") != "image" or not all(
                map(wording.is_number, numbers)
            ):
                continue
            hit = round(shares[0] * positive)
            cleared = round(shares[1] * (images - positive))
            texts.append(
                f"{model}, {point['name']}: {hit} true and "
                f"{images - positive - cleared} false positives, {positive - hit} "
                f"false and {cleared} true negatives"
            )
    return "; ".join(texts)


def _rows(result: Mapping) -> list[Mapping]:
    """The subgroups of the first model."""
    return next(iter((result.get("subgroups") or {}).values()), [])


def _subgroups(result: Mapping) -> str:
    return ", ".join(dict.fromkeys(str(row["column"]) for row in _rows(result)))


def _groups(result: Mapping) -> str:
    """How many images each group has; lesion sizes are no groups of images."""
    columns: dict[str, list[str]] = {}
    for row in _rows(result):
        if row["column"] != "lesion size":
            text = f"{row['group']} {counted({'n_images': row.get('n_images')})}"
            columns.setdefault(str(row["column"]), []).append(text)
    return "; ".join(f"{column}: {', '.join(rows)}" for column, rows in columns.items())


def _stages(result: Mapping) -> list[Mapping]:
    return (result.get("flow") or {}).get("stages") or []


def counted(counts: Mapping) -> str:
    """`40 images of 20 patients, 10 positive, 30 negative, 12 lesions`."""
    texts = [wording.count(counts[n], n[2:-1]) for n in ("n_images",) if n in counts]
    if "n_patients" in counts:
        texts = [" of ".join([*texts, wording.count(counts["n_patients"], "patient")])]
    for name in ("positive", "negative"):
        if f"n_{name}" in counts:
            texts.append(f"{wording.number(counts[f'n_{name}'])} {name}")
    if "n_lesions" in counts:
        texts.append(wording.count(counts["n_lesions"], "lesion"))
    return ", ".join(texts).replace(wording.NBSP, " ")


def _flow(result: Mapping) -> str:
    return "; ".join(f"{row['stage']}: {counted(row)}" for row in _stages(result))


def _left_out(result: Mapping) -> str:
    stages = _stages(result)
    texts = [
        f"{row['reason']}: {counted(row)}"
        for stage in stages
        for row in stage.get("left_out") or ()
        if "split" not in row  # those have another use
    ]
    nothing = "no image of the tables was left out" if stages else ""
    return "; ".join(texts) or nothing


def _partitions(result: Mapping) -> str:
    splits = result["data"].get("splits") or {}
    texts = []
    for name, split in splits.items():
        images = sum(number for number in split.values() if wording.is_number(number))
        texts.append(f"{name} {wording.number(images)} images")
    return ", ".join(texts) or (result.get("flow") or {}).get("partitions", "")


def _disjoint(result: Mapping) -> str:
    return (result.get("flow") or {}).get("disjoint", "")


def _numbers(result: Mapping) -> str:
    texts = dict.fromkeys(
        counted(cell)
        for cells in result["metrics"].values()
        for cell in cells.values()
        if "n_images" in cell
    )
    return "; ".join(texts)


def _source(result: Mapping) -> str:
    if not result.get("config"):
        return ""  # of tables nobody knows where their films come from
    source = str(result["data"].get("source") or "")
    return f"{source}: drawn, no patients" if source == "phantom" else source


def _section(result: Mapping, name: str) -> Mapping:
    section = (result.get("config") or {}).get(name)
    return section if isinstance(section, Mapping) else {}


def _model(result: Mapping) -> str:
    fields = wording.flatten(_section(result, "model"))
    model = [f"{name} {text}" for name, text in sorted(fields) if text]
    method = (result.get("config") or {}).get("method") or result.get("method")
    return ", ".join([f"method {method}", *model]) if model and method else ""


def _training(result: Mapping) -> str:
    stages = ("pretrain", "distill")
    steps = {name: _section(result, name).get("steps") for name in stages}
    texts = [f"{name} {number} steps" for name, number in steps.items() if number]
    return f"{', '.join(texts)}; all settings are in the config" if texts else ""


def _selection(result: Mapping) -> str:
    steps = (result.get("steps") or {}).items()
    return ", ".join(f"{model} at step {step} of its stage" for model, step in steps)


def _initial_weights(result: Mapping) -> str:
    weights = wording.flatten(result.get("initial_weights") or {})
    if weights:
        return ", ".join(f"{name} {text}" for name, text in weights)
    seed = result.get("seed", (result.get("config") or {}).get("seed"))
    return f"random, seed {seed}" if result.get("config") and seed is not None else ""


def _software(result: Mapping) -> str:
    versions = wording.flatten(result.get("versions") or {})
    texts = [f"{name} {text}" for name, text in versions]
    by = "trained and measured" if result.get("config") else "scored"
    return f"{by} with {', '.join(sorted(texts))}" if texts else ""


KNOWN: Mapping[str, Callable[[Mapping], str]] = {
    "accuracy": _accuracy,
    "measures": _measures,
    "intervals": _intervals,
    "thresholds": _thresholds,
    "cross_table": _cross_table,
    "subgroups": _subgroups,
    "groups": _groups,
    "flow": _flow,
    "left_out": _left_out,
    "numbers": _numbers,
    "partitions": _partitions,
    "disjoint": _disjoint,
    "source": _source,
    "model": _model,
    "training": _training,
    "selection": _selection,
    "initial_weights": _initial_weights,
    "software": _software,
}
