"""Expert boxes and points, checked against the images that they lie on."""

import contextlib
import math
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from data.cxr_registry.dicom import reader
from data.cxr_registry.guard import checks
from data.cxr_registry.labels import codes
from data.cxr_registry.tables import formats, paths

_UNBOUNDED = (math.inf, math.inf)  # rows, columns of an image whose size is unknown
_EDGE = 0.51  # pixels that a box may cross the border: annotation tools round
_SMALLEST = 1.0  # pixel; a smaller side is a share of the image's
_ROUNDED = 2.0  # pixels of the smaller copy by which rounding may change its sides
_SAME_BOX = 0.8  # overlap from which two boxes are one; two lesions never have it
_SIZES = {"w", "h", "width", "height"}  # columns that make x and y a corner
_PERCENT = 100.0  # the largest coordinate of boxes that are given in percent
_PERCENT_SIDE = 5 * _PERCENT  # pixels of an image on which all boxes could not be so
_SURE_SIDE = 11 * _PERCENT  # and of one on which not a single one could
_PERCENT_BOXES = 3  # boxes from which on all of them tell
_COPY_BOXES = 20  # boxes from which on one may tell that all lie in a quarter
_WHOLE_AREA = 0.95  # share of the image from which a box says nothing of a place
_MOST_TURNED = 0.1  # share of boxes whose second corner lies before the first

_NO_NUMBERS = "its coordinates are not numbers; write them with a decimal point"
_OUTSIDE = (
    "box outside the image or of no area; give two corners in stored pixels, x0 < x1, "
    "not width and height"
)
_SHARES = (
    "box of less than a pixel, as shares of the image from 0 to 1 are; give stored "
    "pixels"
)
_OTHER_SHAPE = (
    "its image has other proportions than image_width and image_height say: the box "
    "was drawn on another image, or a turned or cut one; draw it on this one"
)
_AS_PERCENT = (
    "its coordinates are below 100 on a film of {} pixels, as percent are; give stored "
    "pixels"
)
_IN_QUARTER = (
    "lies in the upper left quarter, as all {} boxes of the table do: are they of a "
    "smaller copy? Give image_width and image_height of it, or stored pixels"
)
_WHOLE = "is the whole image, which no lesion is; draw the lesion, or remove the row"
_NO_SIZE = "image_width and image_height must be numbers of pixels, or both empty"


class Region(NamedTuple):
    """A box in the stored image: edges in pixels, x to the right, y down."""

    site: str
    x0: float
    y0: float
    x1: float
    y1: float


class _Place(NamedTuple):
    """Where the table puts a box on its stored image."""

    row: int  # of the regions table
    corner: tuple[float, float]  # x, y of the farther corner, or of a point
    shape: tuple[int, int]  # rows, columns of the image


class Regions(NamedTuple):
    """The boxes of all images, and the table that they came from."""

    by_row: dict[int, tuple[Region, ...]]  # row of the studies table -> its boxes
    shapes: dict[int, tuple[int, int]]  # row -> rows, columns of its stored image
    file: str  # name of the table; "" where there is none
    scaled: tuple[int, ...] = ()  # rows of studies with boxes of another image size


def read_regions(
    home: Path,
    *,
    images: paths.Paths,
    studies: formats.Table,
    sites: Collection[str],
    point_radius: float,
    problems: checks.Problems,
) -> Regions:
    """Reads regions.csv, .parquet, .xlsx or COCO .json.

    Args:
        home: the folder of the table.
        images: the usable files of the studies table.
        studies: that table; where it lacks an image column, boxes are checked alone.
        sites: names that may occur.
        point_radius: in pixels, for points without a radius of their own.
        problems: takes all that is wrong.
    """
    table = formats.open_table(
        home, "regions", problems, suffixes=(*formats.SUFFIXES, ".json")
    )
    if table is None or not _has_columns(table, problems):
        return Regions({}, {}, table.name if table else "")
    _check_corners(table, problems)
    boxes_of: dict[int, list[tuple[int, Region]]] = {}
    scaled: dict[int, None] = {}
    placed: list[_Place] = []
    shapes = _Shapes(studies.name, problems)
    for row, cells in table.numbered():
        path = images.find(cells["image"])
        study = images.rows.get(path) if path else None
        if study is None and "image" in studies.columns:
            text = "image is in no usable row of the studies table; mend that row"
            if not (path and paths.is_file(path)):
                text = images.explain(cells["image"])
            if problems.add(table.name, row, text, check="box_without_study"):
                continue
        if studies.columns and cells["site"] not in sites:
            text = f"site must be a finding's name, such as {', '.join(codes.POSITIVE)}"
            if problems.add(table.name, row, text, check="unknown_site"):
                continue
        shape = shapes.read(path, study) if path and study else None
        region, text = _checked(cells, shape, point_radius)
        if region is None:
            check = "bad_value" if text in (_NO_NUMBERS, _NO_SIZE) else "box_outside"
            problems.add(table.name, row, text, check=check)
        elif study and shape and region.site in sites:
            boxes_of.setdefault(study, []).append((row, region))
            if _scales(cells, shape) != (1, 1):
                scaled[study] = None
            else:
                placed.append(_Place(row, _farthest(cells), shape))
    _check_scale(placed, table.name, problems)
    by_row = {
        study: _distinct(boxes, table.name, problems)
        for study, boxes in boxes_of.items()
    }
    known_shapes = {study: shape for study, shape in shapes.by_row.items() if shape}
    return Regions(by_row, known_shapes, table.name, tuple(scaled))


def _has_columns(table: formats.Table, problems: checks.Problems) -> bool:
    have = set(table.columns)
    corners = {"x0", "y0", "x1", "y1"}
    if not corners <= have and {"x", "y"} <= have and have & _SIZES:
        text = (
            "has x, y with a width or height: write the corners x0, y0, x1, y1, since "
            "x, y may be a corner or the middle"
        )
        problems.add(table.name, None, text, check="columns")
        return False
    if {"image", "site"} <= have and (corners <= have or {"x", "y"} <= have):
        return True
    text = "needs the columns image, site and x0, y0, x1, y1 (or x, y, radius)"
    problems.add(table.name, None, text, check="columns")
    return False


def _check_corners(table: formats.Table, problems: checks.Problems) -> None:
    """Reports x1, y1 that are width and height: few lesions are wider than their x."""
    corners = []
    for _, cells in table.numbered():
        with contextlib.suppress(ValueError):
            corners.append([float(cells.get(n, "")) for n in ("x0", "y0", "x1", "y1")])
    turned = sum((x1 < x0 or y1 < y0) and min(x1, y1) > 0 for x0, y0, x1, y1 in corners)
    if turned > max(_MOST_TURNED * len(corners), 1):
        text = (
            f"in {turned} of {len(corners)} boxes x1 < x0 or y1 < y0: are x1, y1 width "
            "and height? Write the second corner"
        )
        problems.add(table.name, None, text, check="columns")


def _farthest(cells: Mapping[str, str]) -> tuple[float, float]:
    """x, y of a box's second corner, or of a point."""
    x, y = ("x1", "y1") if cells.get("x0") else ("x", "y")
    return float(cells[x]), float(cells[y])


def _check_scale(
    places: Sequence[_Place], file: str, problems: checks.Problems
) -> None:
    """Reports boxes in percent, and boxes that all lie in a corner of their films.

    The corner of a film is air beside the shoulder: a lesion within a tenth of its
    sides is none, and of many some lie on the other side of the patient.
    """
    are_small = len(places) >= _PERCENT_BOXES and all(
        max(place.corner) <= _PERCENT and min(place.shape) >= _PERCENT_SIDE
        for place in places
    )
    in_quarter = len(places) >= _COPY_BOXES and all(
        2 * place.corner[0] <= place.shape[1] and 2 * place.corner[1] <= place.shape[0]
        for place in places
    )
    for place in places:
        text = _IN_QUARTER.format(len(places)) if in_quarter else ""
        is_large = min(place.shape) >= _SURE_SIDE
        if max(place.corner) <= _PERCENT and (is_large or are_small):
            text = _AS_PERCENT.format(min(place.shape))
        if text:
            problems.add(file, place.row, text, check="box_scale")


def _checked(
    cells: Mapping[str, str], shape: tuple[int, int] | None, point_radius: float
) -> tuple[Region | None, str]:
    """The box within the image; or None, and what is wrong with it."""
    is_point = bool(cells.get("x")) and not cells.get("x0")
    try:
        region = _region(cells, point_radius, is_point=is_point)
    except ValueError:
        return None, _NO_NUMBERS
    try:
        across, down = _scales(cells, shape)
    except ValueError:
        return None, _NO_SIZE
    if shape and abs(across / down - 1) * shape[0] > _ROUNDED * max(across, down, 1):
        return None, _OTHER_SHAPE
    if _is_share(cells, region, is_point=is_point):
        return None, _SHARES
    site, x0, y0, x1, y1 = region
    if (across, down) != (1, 1):
        region = Region(site, x0 * across, y0 * down, x1 * across, y1 * down)
    clipped = _clip(region, shape or _UNBOUNDED, is_point=is_point)
    if clipped and shape and not is_point:
        area = (clipped.x1 - clipped.x0) * (clipped.y1 - clipped.y0)
        if area >= _WHOLE_AREA * shape[0] * shape[1]:
            return None, _WHOLE
    return clipped, _OUTSIDE


def _scales(
    cells: Mapping[str, str], shape: tuple[int, int] | None
) -> tuple[float, float]:
    """Stored pixels a pixel of the image that the box was drawn on, in x and in y."""
    sizes = [cells.get(name, "") for name in ("image_width", "image_height")]
    if not any(sizes) or shape is None:
        return 1, 1
    width, height = (float(size) for size in sizes)
    if not (0 < width < math.inf and 0 < height < math.inf):
        raise ValueError("no size")
    return shape[1] / width, shape[0] / height


def _is_share(cells: Mapping[str, str], region: Region, *, is_point: bool) -> bool:
    """Whether a box is given in shares of the image: no lesion is under a pixel."""
    _, x0, y0, x1, y1 = region
    if is_point:
        x, y = float(cells["x"]), float(cells["y"])
        return max(x, y) <= 1 and not (x.is_integer() and y.is_integer())
    return 0 < x1 - x0 < _SMALLEST or 0 < y1 - y0 < _SMALLEST or max(x1, y1) <= 1


def _distinct(
    boxes: Sequence[tuple[int, Region]], file: str, problems: checks.Problems
) -> tuple[Region, ...]:
    """The boxes of an image without those that are given twice, which are reported."""
    kept: list[tuple[int, Region]] = []
    for row, box in boxes:
        same = (r for r, b in kept if b.site == box.site and _overlap(b, box))
        if (earlier := next(same, None)) is not None:
            text = f"is the box of row {earlier} again, or nearly; keep one a lesion"
            problems.add(file, row, text, check="duplicate_box")
        else:
            kept.append((row, box))
    return tuple(box for _, box in kept)


def _overlap(one: Region, other: Region) -> bool:
    """Whether two boxes are one: intersection over union of _SAME_BOX."""
    width = min(one.x1, other.x1) - max(one.x0, other.x0)
    height = min(one.y1, other.y1) - max(one.y0, other.y0)
    shared = max(width, 0) * max(height, 0)
    areas = sum((box.x1 - box.x0) * (box.y1 - box.y0) for box in (one, other))
    return shared >= _SAME_BOX * (areas - shared)


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
