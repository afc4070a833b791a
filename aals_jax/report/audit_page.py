"""The page of an audit: what audit.json holds, for a person; rows by number alone."""

import collections
import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.ticker import MaxNLocator

from aals_jax.report import entries, page, pictures, plots, wording

SHOWN = 100  # faults, refusals, pairs on the page; all of them are in the file
_ROWS = 10  # row numbers in one cell of a table
_FINDINGS = 3  # columns of positives beside a bar
_GROUPS = (  # key, title, whether it needs pixels
    ("years", "Year of the study", False),
    ("views", "View", False),
    ("makers", "Maker of the device", True),
    ("sexes", "Sex", False),
    ("ages", "Age", False),
)


@dataclasses.dataclass(frozen=True)
class Panel:
    """One upright image."""

    pixels: np.ndarray  # u8[h, w]
    boxes: np.ndarray  # f64[k, 4], (x0, y0, x1, y1) in its pixels


@dataclasses.dataclass(frozen=True)
class Figure:
    """Images side by side, and what they are; the caption names rows by number."""

    panels: tuple[Panel, ...]
    caption: str


@dataclasses.dataclass(frozen=True)
class Gallery:
    title: str
    says: str
    figures: tuple[Figure, ...]


@dataclasses.dataclass(frozen=True)
class Bar:
    """A value and its number of images."""

    name: str
    count: str
    width: float  # percent of the longest
    positives: tuple[str, ...]  # images with each finding


@dataclasses.dataclass(frozen=True)
class Bars:
    title: str
    findings: tuple[str, ...]  # columns of positives
    bars: tuple[Bar, ...]


def render(*, result: Mapping[str, Any], galleries: Sequence[Gallery] = ()) -> str:
    """The page as text.

    Args:
        result: what audit.json holds, see docs/audit.md.
        galleries: pictures; no image with burned-in text is among them.
    """
    pixels = result["pixels"] or {}
    table = result["table"]
    return (
        page.environment()
        .get_template("audit.html")
        .render(
            title="Registry audit",
            result=result,
            lead=[
                ("Rows", wording.number(table["rows"])),
                ("Images", wording.number(table["images"])),
                ("Patients", wording.number(table["patients"])),
                ("Findings", ", ".join(result["options"]["findings"]) or "none"),
            ],
            phantom=bool(pixels.get("makers", {}).get("Phantom")),
            most=SHOWN,
            groups=_groups(result),
            missing=_missing(table),
            prevalence=_prevalence(result["supervision"]),
            boxes=_boxes(result),
            pixels=pixels,
            reasons=collections.Counter(
                one["reason"] for one in pixels.get("unreadable", ())
            ).most_common(),
            sizes=_bars("Stored size", pixels.get("stored_sizes", {})),
            brightness=_bars("Brightness from", pixels.get("brightness_from", {})),
            galleries=_drawn(galleries),
            options=wording.flatten(result["options"]),
            versions=wording.flatten(result["versions"]),
            first_rows=_first_rows,
            number=wording.number,
            percent=wording.percent,
            count=wording.count,
            view=entries.view,
            whole=_whole,
        )
    )


def _whole(images: float) -> str:
    """An estimated number of images."""
    return wording.number(round(images))


def _first_rows(rows: Sequence[Mapping[str, Any]], count: Mapping[str, Any]) -> str:
    """The first rows of one kind of disagreement."""
    numbers = [
        str(one["row"])
        for one in rows
        if one["finding"] == count["finding"]
        and count["sources"] == f"{one['first']} against {one['second']}"
    ]
    return ", ".join(numbers[:_ROWS]) + (", ..." if len(numbers) > _ROWS else "")


def _groups(result: Mapping[str, Any]) -> list[Bars]:
    groups = []
    pixels = result["pixels"] or {}
    names = tuple(result["options"]["findings"])
    names = names if len(names) <= _FINDINGS else ()
    for key, title, needs_pixels in _GROUPS:
        # the header's view is known where pixels were read
        tree = pixels.get(key) or ({} if needs_pixels else result[key])
        if set(tree) - {"unknown"}:
            groups.append(_crossed(title, tree, names))
    return groups


def _crossed(
    title: str, tree: Mapping[str, Mapping[str, int]], names: tuple[str, ...]
) -> Bars:
    longest = max(cell["images"] for cell in tree.values())
    return Bars(
        title,
        names,
        tuple(
            Bar(
                value.replace("_", " "),
                wording.number(cell["images"]),
                round(100 * cell["images"] / longest, 2),
                tuple(wording.number(cell[f"{name}_positive"]) for name in names),
            )
            for value, cell in tree.items()
        ),
    )


def _bars(title: str, counts: Mapping[str, int]) -> Bars:
    tree = {name: {"images": number} for name, number in counts.items()}
    return _crossed(title, tree, ()) if tree else Bars(title, (), ())


def _missing(table: Mapping[str, Any]) -> Bars:
    """Columns by the share of their cells that are empty."""
    rows = max(table["rows"], 1)
    return Bars(
        "Empty cells",
        (),
        tuple(
            Bar(
                name,
                f"{wording.number(empty)} ({wording.percent(empty / rows)})",
                round(100 * empty / rows, 2),
                (),
            )
            for name, empty in table["missing"].items()
        ),
    )


def _prevalence(supervision: Mapping[str, Mapping[str, int]]) -> dict[str, str]:
    """Share of positives among the images whose label is known."""
    shares = {}
    for name, counts in supervision.items():
        positive = counts["R"] + counts["P"]
        labelled = positive + counts["N"]
        shares[name] = (
            wording.percent(positive / labelled) if labelled else wording.NOTHING
        )
    return shares


def _boxes(result: Mapping[str, Any]) -> list[tuple[str, Mapping[str, Any], Any]]:
    """(finding, numbers, histogram) of the findings with boxes."""
    return [
        (name, boxes, _histogram(boxes["histogram"], slot=slot, key=f"boxes-{slot}"))
        for slot, (name, boxes) in enumerate(result["boxes"].items())
        if boxes["boxes"]
    ]


def _histogram(counted: Mapping[str, Any], *, slot: int, key: str) -> plots.Drawing:
    edges, heights = np.array(counted["edges_px"]), np.array(counted["boxes"])
    figure, axes = plots.canvas(width=340, height=260)
    axes.bar(
        edges[:-1],
        heights,
        width=0.86 * np.diff(edges),
        align="edge",
        color=plots.slot_colour(slot),
        linewidth=0,
    )
    axes.grid(visible=False, axis="x")
    axes.yaxis.set_major_locator(MaxNLocator(5, integer=True))
    plots.label(axes, x="Square root of the area, stored pixels", y="Boxes")
    return plots.svg(figure, key=key)


def _drawn(galleries: Sequence[Gallery]) -> list[tuple[str, str, list[dict]]]:
    """Galleries for the template; the pictures share the bytes of a page."""
    number = sum(len(f.panels) for gallery in galleries for f in gallery.figures)
    limit = pictures.TOTAL_BYTES // max(number, 1)
    return [
        (
            gallery.title,
            gallery.says,
            [
                {
                    "caption": figure.caption,
                    "panels": [_panel(panel, limit) for panel in figure.panels],
                }
                for figure in gallery.figures
            ],
        )
        for gallery in galleries
        if gallery.figures
    ]


def _panel(panel: Panel, limit: int) -> dict[str, Any]:
    height, width = panel.pixels.shape
    return {
        "width": width,
        "height": height,
        "uri": pictures.radiograph_uri(panel.pixels, limit=limit),
        "boxes": [
            [round(side, 1) for side in (x0, y0, x1 - x0, y1 - y0)]
            for x0, y0, x1, y1 in panel.boxes.tolist()
        ],
    }
