"""Expert boxes and points, checked against the images that they lie on."""

import math
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import NamedTuple

from data.cxr_registry.dicom import reader
from data.cxr_registry.guard import checks
from data.cxr_registry.labels import codes
from data.cxr_registry.tables import formats, paths

_UNBOUNDED = (math.inf, math.inf)  # rows, columns of an image whose size is unknown
_NO_NUMBERS = "its coordinates are not numbers; write them with a decimal point"
_EDGE = 0.51  # pixels that a box may cross the border: annotation tools round


class Region(NamedTuple):
    """A box in the stored image: edges in pixels, x to the right, y down."""

    site: str
    x0: float
    y0: float
    x1: float
    y1: float


class Regions(NamedTuple):
    """The boxes of all images, and the table that they came from."""

    by_row: dict[int, tuple[Region, ...]]  # row of the studies table -> its boxes
    shapes: dict[int, tuple[int, int]]  # row -> rows, columns of its stored image
    file: str  # name of the table; "" where there is none


def read_regions(
    root: Path,
    *,
    images: paths.Paths,
    studies: formats.Table,
    sites: Collection[str],
    point_radius: float,
    problems: checks.Problems,
) -> Regions:
    """Reads regions.csv, .parquet, .xlsx or COCO .json below the registry.

    Args:
        root: the registry.
        images: the usable files of the studies table.
        studies: that table; where it lacks an image column, boxes are checked alone.
        sites: names that may occur.
        point_radius: in pixels, for points without a radius of their own.
        problems: takes all that is wrong.
    """
    table = formats.open_table(
        root, "regions", problems, suffixes=(*formats.SUFFIXES, ".json")
    )
    if table is None or not _has_columns(table, problems):
        return Regions({}, {}, table.name if table else "")
    boxes_of: dict[int, list[Region]] = {}
    shapes = _Shapes(studies.name, problems)
    for row, cells in table.numbered():
        path = images.locate(cells["image"])
        study = images.rows.get(path) if path else None
        if study is None and "image" in studies.columns:
            text = "image is in no usable row of the studies table; mend that row"
            if problems.add(table.name, row, text, check="box_without_study"):
                continue
        if studies.columns and cells["site"] not in sites:
            text = f"site must be a finding's name, such as {', '.join(codes.POSITIVE)}"
            if problems.add(table.name, row, text, check="unknown_site"):
                continue
        shape = shapes.read(path, study) if path and study else None
        region, text = _checked(cells, shape or _UNBOUNDED, point_radius)
        if region is None:
            check = "bad_value" if text == _NO_NUMBERS else "box_outside"
            problems.add(table.name, row, text, check=check)
        elif study and shape and region.site in sites:
            boxes_of.setdefault(study, []).append(region)
    by_row = {study: tuple(boxes) for study, boxes in boxes_of.items()}
    known_shapes = {study: shape for study, shape in shapes.by_row.items() if shape}
    return Regions(by_row, known_shapes, table.name)


def _has_columns(table: formats.Table, problems: checks.Problems) -> bool:
    have = set(table.columns)
    corners = {"x0", "y0", "x1", "y1"}
    if {"image", "site"} <= have and (corners <= have or {"x", "y"} <= have):
        return True
    text = "needs the columns image, site and x0, y0, x1, y1 (or x, y, radius)"
    problems.add(table.name, None, text, check="columns")
    return False


def _checked(
    cells: Mapping[str, str], shape: tuple[float, float], point_radius: float
) -> tuple[Region | None, str]:
    """The box within the image; or None, and what is wrong with it."""
    is_point = bool(cells.get("x")) and not cells.get("x0")
    try:
        region = _region(cells, point_radius, is_point=is_point)
    except ValueError:
        return None, _NO_NUMBERS
    text = "box outside the image or of no area; give stored pixels, x0 < x1"
    return _clip(region, shape, is_point=is_point), text


def _region(cells: Mapping[str, str], point_radius: float, *, is_point: bool) -> Region:
    if is_point:
        x, y = (float(cells.get(name, "")) for name in ("x", "y"))
        radius = float(cells.get("radius") or point_radius)
        values = [x - radius, y - radius, x + radius, y + radius]
    else:
        values = [float(cells.get(name, "")) for name in ("x0", "y0", "x1", "y1")]
    if not all(math.isfinite(value) for value in values):
        raise ValueError("not finite")
    return Region(cells["site"], *values)


def _clip(
    region: Region, shape: tuple[float, float], *, is_point: bool
) -> Region | None:
    """The part of a box within the image; None where it is outside or has no area."""
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


class _Shapes:
    """Stored rows and columns of the images that have boxes, each read once."""

    def __init__(self, studies: str, problems: checks.Problems):
        self._studies, self._problems = studies, problems
        self.by_row: dict[int, tuple[int, int] | None] = {}

    def read(self, image: Path, row: int) -> tuple[int, int] | None:
        """Rows, columns; None where the file can't be read, which is reported once."""
        if row not in self.by_row:
            try:
                self.by_row[row] = reader.stored_shape(image)
            except reader.UnreadableRadiograph as error:
                self.by_row[row] = None
                text = f"its image has boxes but can't be read: {error}"
                self._problems.add(self._studies, row, text, check="unreadable")
        return self.by_row[row]
