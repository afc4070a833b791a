"""A result as a table for a paper: LaTeX, Markdown or CSV, with the same digits each.

The one rule of rounding is `wording.interval`: three decimals; fewer for large numbers,
three digits for very small ones, more where an interval is narrow. A value that there
is not has its reason.
"""

import csv
import dataclasses
import io
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from typing import Any

from aals_jax.report import markdown, operating, tables, wording
from data.cxr_registry.guard import formulas

COUNTS = ("n_images", "n_patients", "n_positive", "n_lesions")


@dataclasses.dataclass(frozen=True)
class Cell:
    """One number; texts are rounded, "" where there is none."""

    value: str
    low: str
    high: str
    reason: str
    p_value: str = ""

    @property
    def text(self) -> str:
        """`0.876 [0.832, 0.914]`, or a dash and the reason why there is no value."""
        if not self.value:
            return f"{wording.NOTHING} ({self.reason})"
        if self.low:
            text = f"{self.value} [{self.low}, {self.high}]"
        else:
            text = f"{self.value} (no interval)" if self.reason else self.value
        return f"{text}, p {self.p_value}" if self.p_value else text


@dataclasses.dataclass(frozen=True)
class Row:
    """One number of one system, with where it belongs."""

    part: str  # a key of PARTS
    name: str  # what was measured, in words
    system: str
    place: str  # operating point or subgroup; "" for the whole set
    counts: Mapping[str, Any]  # of COUNTS, and prevalence
    cell: Cell


PARTS = {  # part -> its heading, and what its places are
    "metric": ("Metrics", ""),
    "operating point": ("Operating points", "Operating point"),
    "subgroup": ("Subgroups", "Subgroup"),
    "difference": ("Differences", "Method"),
}


def rows(result: Mapping[str, Any]) -> list[Row]:
    """Every number of a result that has an entry, part by part."""
    return [*_metrics(result), *_points(result), *_groups(result), *_pairs(result)]


def _cell(entry: Mapping, *, is_signed: bool = False) -> Cell:
    ends = [entry.get(end) for end in ("value", "low", "high")]
    has_value = wording.is_number(ends[0])
    has_ends = all(map(wording.is_number, ends))
    value, low, high = wording.interval(*ends, is_signed=is_signed)
    reason = str(entry.get("reason") or "")
    p_value = entry.get("p_value")
    return Cell(
        value=value if has_value else "",
        low=low if has_ends else "",
        high=high if has_ends else "",
        reason=reason or ("" if has_value else "no reason was recorded"),
        p_value=wording.p_value(p_value) if wording.is_number(p_value) else "",
    )


def _metrics(result: Mapping) -> Iterator[Row]:
    metrics = result["metrics"]
    for name in tables.in_order(name for cells in metrics.values() for name in cells):
        for system, cells in metrics.items():
            if name in cells:
                cell = _cell(cells[name])
                yield Row("metric", wording.title(name), system, "", cells[name], cell)


def _points(result: Mapping) -> Iterator[Row]:
    """Each point's threshold, which is rounded to four digits, and what it gives."""
    for system, points in (result.get("operating_points") or {}).items():
        for point in points:
            level = operating.LEVELS.get(point["level"], point["level"])
            row = partial(
                Row,
                "operating point",
                system=system,
                place=f"{point['name']}, {level}",
                counts={},
            )
            threshold = point.get("threshold")
            reason = str(point.get("reason") or "no reason was recorded")
            text = wording.threshold(threshold) if wording.is_number(threshold) else ""
            yield row("Threshold", cell=Cell(text, "", "", "" if text else reason))
            measured = point.get("measured") or {}
            for name in tables.in_order(measured):
                yield row(wording.title(name), cell=_cell(measured[name]))


def _groups(result: Mapping) -> Iterator[Row]:
    for system, groups in (result.get("subgroups") or {}).items():
        for group in groups:
            place = f"{group['column']}: {group['group']}"
            for name in tables.in_order(group["metrics"]):
                cell = _cell(group["metrics"][name])
                yield Row("subgroup", wording.title(name), system, place, group, cell)


def _pairs(result: Mapping) -> Iterator[Row]:
    for row in result.get("differences") or ():
        system = f"{row['a']} minus {row['b']}"
        place = str(row.get("method") or f"method {wording.UNRECORDED}")
        cell = _cell(row, is_signed=True)
        yield Row("difference", wording.title(row["metric"]), system, place, row, cell)


# --- the three forms


def as_csv(result: Mapping[str, Any]) -> str:
    """A row for each number; counts whole, digits as in the other forms."""
    head = ("part", "name", "system", "place", "value", "low", "high", "p_value")
    lines: list[Sequence[Any]] = [(*head, "reason", *COUNTS, "prevalence")]
    for row in rows(result):
        cell = dataclasses.asdict(row.cell)
        numbers = [_bare(cell[key]) for key in head[4:]]
        counts = [row.counts.get(key, "") for key in COUNTS]
        prevalence = row.counts.get("prevalence")
        share = wording.number(prevalence, missing="")
        texts = [row.part, row.name, row.system, row.place, cell["reason"]]
        *place, reason = map(_one_line, texts)
        lines.append((*place, *numbers, reason, *counts, share))
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerows(formulas.neutralize_rows(lines))
    return stream.getvalue()


def _bare(number: str) -> str:
    """As a program reads it: no plus, no comma, a hyphen for minus."""
    return number.lstrip("+").replace(",", "").replace(wording.MINUS, "-")


def as_markdown(result: Mapping[str, Any]) -> str:
    """A table for each part, with the definitions below the first."""
    parts = [f"# {_markdown(str(result['title']))}", _brackets(result, "metric")]
    for part, head, lines in _wide(result, _markdown):
        parts += [f"## {PARTS[part][0]}", markdown.table(head, lines)]
        if part == "metric":
            definitions = [
                f"- {_markdown(name)}: {_markdown(text)}"
                for name, text in _definitions(result).items()
            ]
            parts.append("\n".join(definitions))
    return "\n\n".join(part for part in parts if part) + "\n"


def as_latex(result: Mapping[str, Any]) -> str:
    r"""A `table` for each part; needs \usepackage{booktabs} and UTF-8."""
    definitions = [
        f"% {name}: {_one_line(text)}" for name, text in _definitions(result).items()
    ]
    parts = ["\n".join([*_LATEX_NEEDS, *definitions])]
    for part, head, lines in _wide(result, latex):
        title = latex(f"{result['title']}: {PARTS[part][0].lower()}")
        body = [" & ".join(line) + r" \\" for line in lines]
        parts.append(
            "\n".join(
                [
                    r"\begin{table}",
                    rf"\caption{{{title}. {latex(_brackets(result, part))}}}",
                    rf"\begin{{tabular}}{{{'l' * len(head)}}}",
                    r"\toprule",
                    " & ".join(head) + r" \\",
                    r"\midrule",
                    *body,
                    r"\bottomrule",
                    r"\end{tabular}",
                    r"\end{table}",
                ]
            )
        )
    return "\n\n".join(parts) + "\n"


FORMATS: Mapping[str, tuple[str, Callable[[Mapping[str, Any]], str]]] = {
    "latex": ("results.tex", as_latex),
    "markdown": ("results.md", as_markdown),
    "csv": ("results.csv", as_csv),
}


def check(names: Sequence[str]) -> tuple[str, ...]:
    """The names of FORMATS that are asked for, each once.

    Raises:
        ValueError: one of them is unknown.
    """
    unknown = [name for name in names if name not in FORMATS]
    if unknown:
        known = ", ".join(FORMATS)
        raise ValueError(f"no table is called {', '.join(unknown)}: use {known}")
    return tuple(dict.fromkeys(names))


def _brackets(result: Mapping, part: str) -> str:
    """What brackets are, and what this is not."""
    kinds = dict.fromkeys(
        cell["interval"]
        for cells in result["metrics"].values()
        for cell in cells.values()
        if isinstance(cell.get("interval"), str) and cell["interval"] != "none"
    )
    if part == "difference":
        kinds = {"the interval of the method"}
    brackets = f"In brackets: {'; '.join(kinds)}." if kinds else ""
    return " ".join(filter(None, [brackets, str(result.get("disclaimer") or "")]))


def _definitions(result: Mapping) -> dict[str, str]:
    return {
        wording.title(name): str(cell["definition"])
        for cells in result["metrics"].values()
        for name, cell in cells.items()
        if cell.get("definition")
    }


def _wide(
    result: Mapping, escape: Callable[[str], str]
) -> Iterator[tuple[str, list[str], list[list[str]]]]:
    """Part, head and lines of each part that has a row, a column for each system.

    Every text is escaped.
    """
    by_part: dict[str, list[Row]] = {}
    for row in rows(result):
        by_part.setdefault(row.part, []).append(row)
    for part, found in by_part.items():
        place = PARTS[part][1]
        systems = list(dict.fromkeys(row.system for row in found))
        lines: dict[tuple[str, str, str], dict[str, Cell]] = {}
        for row in found:
            key = (row.place, row.name, _set_of(row.counts))
            lines.setdefault(key, {})[row.system] = row.cell
        head = [*([place] if place else []), "Measured", "Set", *systems]
        texts = []
        for (where, name, images), cells in lines.items():
            shown = [cells[s].text if s in cells else wording.NOTHING for s in systems]
            texts.append([*([where] if place else []), name, images, *shown])
        if not any(images for _, _, images in lines):  # points repeat the metrics' set
            column = head.index("Set")
            for line in (head, *texts):
                del line[column]
        yield (
            part,
            [escape(h) for h in head],
            [[escape(t) for t in x] for x in texts],
        )


def _set_of(counts: Mapping) -> str:
    """`40 images, 20 patients, 12 lesions`."""
    return ", ".join(
        wording.count(counts[key], key[2:].removesuffix("s"))
        for key in ("n_images", "n_patients", "n_lesions")
        if key in counts
    )


# --- what a text may not be read as


def _one_line(text: str) -> str:
    """Without line ends; a space that may not break stays one."""
    return re.sub(r"[\x00-\x20\x7f\u2028\u2029]+", " ", text).strip()


def _markdown(text: str) -> str:
    r"""Text that Markdown shows as it is; `markdown.table` takes care of bars.

    >>> _markdown("a_b *c* <d> [e]")
    'a\\_b \\*c\\* \\<d\\> \\[e\\]'
    """
    return re.sub(r"([\\`*_\[\]<>#&~$])", r"\\\1", _one_line(text))


_LATEX_NEEDS = (
    r"% needs \usepackage{booktabs}",
    "% letters that are not Latin need LuaLaTeX or XeLaTeX",
)
_LATEX = {
    "\\": r"\textbackslash{}",
    "{": r"\{",
    "}": r"\}",
    "$": r"\$",
    "&": r"\&",
    "#": r"\#",
    "%": r"\%",
    "_": r"\_",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": r"$<$",
    ">": r"$>$",
    "|": r"\textbar{}",
    '"': "''",
    wording.NOTHING: "---",
    wording.MINUS: "$-$",
    wording.NBSP: "~",
    "\N{GREATER-THAN OR EQUAL TO}": r"$\geq$",
    "\N{LESS-THAN OR EQUAL TO}": r"$\leq$",
    "\N{MULTIPLICATION SIGN}": r"$\times$",
    "\N{PLUS-MINUS SIGN}": r"$\pm$",
    "\N{HORIZONTAL ELLIPSIS}": r"\ldots{}",
}


def latex(text: str) -> str:
    r"""Text that LaTeX sets as it is; letters beyond ASCII stay.

    >>> latex("50 % of a_b & {c} \\ -0.5")
    '50 \\% of a\\_b \\& \\{c\\} \\textbackslash{} $-$0.5'
    """
    escaped = "".join(_LATEX.get(letter, letter) for letter in _one_line(text))
    return re.sub(r"(?<![\w.-])-(?=\d)", "$-$", escaped)
