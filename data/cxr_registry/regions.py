"""Expert boxes and points, checked against the images that they lie on."""

import math
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import NamedTuple

from data.cxr_registry import audit as audits
from data.cxr_registry import dicom, tables

_EDGE = 0.51  # pixels a box may overlap the border: annotation tools round


class Region(NamedTuple):
    """A box in pixels of the stored image, x to the right, y down, edges."""

    site: str
    x0: float
    y0: float
    x1: float
    y1: float


class Regions(NamedTuple):
    """Boxes by image file, and the table they came from ("" for none)."""

    by_path: dict[Path, tuple[Region, ...]]
    file: str


def read_regions(
    root: Path,
    *,
    by_path: Mapping[Path, int],
    known: Collection[str],
    point_radius: float,
    audit: audits.Audit,
) -> Regions:
    """Reads regions.csv, .parquet, .xlsx or COCO .json below the registry.

    Args:
        root: the registry.
        by_path: the images of the studies table: file -> row.
        known: site names that may occur.
        point_radius: for points without a radius, in pixels.
        audit: takes the problems.
    """
    path = tables.find_table(root, "regions", suffixes=(*tables.SUFFIXES, ".json"))
    if path is None:
        return Regions({}, "")
    table = tables.read_table(path)
    if not _has_columns(table, audit):
        return Regions({}, table.name)
    out: dict[Path, list[Region]] = {}
    shapes: dict[Path, tuple[int, int] | None] = {}
    top = root.resolve()
    for row, cells in table.numbered():
        image = (top / cells["image"].replace("\0", "")).resolve()
        if image not in by_path:
            text = "image is in no usable row of the studies table"
            audit.report(table.name, row, "box_without_study", text)
            continue
        if cells["site"] not in known:
            text = f"site is none of {', '.join(sorted(known))}"
            audit.report(table.name, row, "unknown_site", text)
            continue
        if image not in shapes:
            shapes[image] = _shape(image, by_path[image], audit, table.name)
        try:
            region = _region(cells, point_radius)
        except ValueError:
            text = "its coordinates are no numbers"
            audit.report(table.name, row, "box_outside", text)
            continue
        shape = shapes[image]
        inside = shape and _clip(
            region, shape, is_point="x" in cells and bool(cells["x"])
        )
        if inside:
            out.setdefault(image, []).append(inside)
        elif shape:
            text = "box outside the image or of no area; give stored pixels, x0 < x1"
            audit.report(table.name, row, "box_outside", text)
    return Regions({key: tuple(found) for key, found in out.items()}, table.name)


def _has_columns(table: tables.Table, audit: audits.Audit) -> bool:
    have = set(table.columns)
    corners = {"x0", "y0", "x1", "y1"}
    if {"image", "site"} <= have and (corners <= have or {"x", "y"} <= have):
        return True
    text = "needs the columns image, site and x0, y0, x1, y1 (or x, y, radius)"
    audit.report(table.name, None, "columns", text)
    return False


def _region(cells: Mapping[str, str], point_radius: float) -> Region:
    if cells.get("x0") or not cells.get("x"):
        values = [float(cells[name]) for name in ("x0", "y0", "x1", "y1")]
    else:
        x, y = float(cells["x"]), float(cells["y"])
        radius = float(cells.get("radius") or point_radius)
        values = [x - radius, y - radius, x + radius, y + radius]
    if not all(math.isfinite(value) for value in values):
        raise ValueError("not finite")
    return Region(cells["site"], *values)


def _clip(region: Region, shape: tuple[int, int], *, is_point: bool) -> Region | None:
    """The box within the image; None when it is outside or has no area."""
    rows, columns = shape
    site, x0, y0, x1, y1 = region
    if is_point:
        x, y = (x0 + x1) / 2, (y0 + y1) / 2
        is_inside = 0 <= x <= columns and 0 <= y <= rows
    else:
        is_inside = min(x0, y0) >= -_EDGE and x1 <= columns + _EDGE
        is_inside = is_inside and y1 <= rows + _EDGE
    x0, y0, x1, y1 = max(x0, 0), max(y0, 0), min(x1, columns), min(y1, rows)
    if not is_inside or x1 <= x0 or y1 <= y0:
        return None
    return Region(site, x0, y0, x1, y1)


def _shape(
    image: Path, row: int, audit: audits.Audit, file: str
) -> tuple[int, int] | None:
    try:
        return dicom.stored_shape(image)
    except dicom.UnreadableRadiograph as error:
        audit.report(
            file, None, "unreadable", f"the image of studies row {row} {error}"
        )
        return None
