"""Annotations of a COCO file as rows of the regions table.

A category is known by its name; an image by its file and, where the file says so, by
the size on which the boxes were drawn. Row 2 is the first annotation.

Reference: COCO, data format, object detection (bbox is x, y, width, height from 0).
"""

import collections
import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from data.cxr_registry.tables import patients
from data.cxr_registry.tables.limits import Noted, UnreadableTable

HEADER = ("image", "site", "x0", "y0", "x1", "y1", "image_width", "image_height")
_NO_IDS = (None, "", -1, "-1")  # what programs write where there is none
_SAME_AREA = 0.01  # relative difference of two areas that are one


def lines(path: Path) -> Iterator[Sequence[Any] | Noted]:
    """The header and a row for each annotation.

    Raises:
        UnreadableTable: it is no COCO file of boxes.
    """
    try:
        coco = load(path)
        images = by_id(coco["images"])
        sites = by_id(coco["categories"])
        items = list(coco["annotations"])
    except (KeyError, TypeError, ValueError) as error:
        raise UnreadableTable(
            f"is not a COCO file ({type(error).__name__}); it needs images, categories "
            "and annotations with bbox"
        ) from None
    yield HEADER
    for what, found in (("images", images), ("categories", sites)):
        if repeated := sum(len(entries) > 1 for entries in found.values()):
            text = (
                f"{repeated} ids of {what} are given twice, perhaps by joined files: "
                "nobody knows whose the boxes are; give each its own id"
            )
            yield Noted(fault=text, is_row=False)
    if patients.stand_for_none(images):
        text = (
            "an image has an id such as 9999 or 0000, which stands for none, and no id "
            "next to it is in the file; give it another one"
        )
        yield Noted(fault=text, is_row=False)
    for item in items:
        try:
            yield _row(item, images, sites)
        except UnreadableTable as error:
            yield Noted(fault=str(error))
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            text = f"is no annotation with bbox ({type(error).__name__}); mend it"
            yield Noted(fault=text)


def load(path: Path) -> Any:
    """What a JSON file holds, in UTF-8, UTF-16 or UTF-32, with a mark or without.

    Raises:
        ValueError: it is not JSON.
    """
    return json.loads(path.read_bytes())


def key(value: Any) -> str:
    """An id as text; 1, 1.0 and "1" are one."""
    is_whole = isinstance(value, float) and value.is_integer()
    return str(int(value) if is_whole else value)


def by_id(entries: Sequence[Mapping[str, Any]]) -> dict[str, list[Mapping[str, Any]]]:
    """Id, as `key` writes it -> its entries, one in a sound file; None is no id."""
    found = collections.defaultdict(list)
    for entry in entries:
        if entry["id"] not in _NO_IDS:
            found[key(entry["id"])].append(entry)
    return dict(found)


def _row(
    item: Mapping[str, Any],
    images: Mapping[str, Sequence[Mapping[str, Any]]],
    sites: Mapping[str, Sequence[Mapping[str, Any]]],
) -> Sequence[Any]:
    image = _only(images, item["image_id"], "image")
    site = _only(sites, item["category_id"], "category")
    if item.get("iscrowd"):
        raise UnreadableTable("is a crowd (iscrowd); draw a box around each lesion")
    x, y, width, height = box(item)
    sizes = image.get("width"), image.get("height")
    return [image["file_name"], site["name"], x, y, x + width, y + height, *sizes]


def _only(
    found: Mapping[str, Sequence[Mapping[str, Any]]], value: Any, what: str
) -> Mapping[str, Any]:
    """The one entry with an id."""
    entries = found.get(key(value), ())
    if not entries:
        raise UnreadableTable(f"its {what}'s id is not in the file; mend it")
    if len(entries) > 1:
        raise UnreadableTable(f"its {what}'s id is given twice")
    return entries[0]


def box(item: Mapping[str, Any]) -> tuple[float, float, float, float]:
    """x, y, width, height: the bbox, or that of the segmentation's polygons.

    Args:
        item: an entry of annotations or of results.

    Raises:
        UnreadableTable: there is none, or it is not what COCO calls a bbox.
    """
    segmentation = item.get("segmentation")
    if "bbox" not in item and isinstance(segmentation, list) and segmentation:
        xs = [float(v) for polygon in segmentation for v in polygon[0::2]]
        ys = [float(v) for polygon in segmentation for v in polygon[1::2]]
        return min(xs), min(ys), max(xs) - min(xs), max(ys) - min(ys)
    if "bbox" not in item:
        text = "has no bbox, and its segmentation is no polygon; add the bbox"
        raise UnreadableTable(text)
    if not isinstance(item["bbox"], list) or len(item["bbox"]) != 4:
        raise UnreadableTable(
            "its bbox is not four numbers; an image without a lesion has no annotation"
        )
    x, y, width, height = (float(value) for value in item["bbox"])
    area = item.get("area")
    if not segmentation and isinstance(area, int | float):
        as_corners = (width - x) * (height - y)
        if _differ(area, width * height) and not _differ(area, as_corners):
            text = "its bbox seems to be two corners, by its area; COCO has x, y, w, h"
            raise UnreadableTable(text)
    return x, y, width, height


def _differ(one: float, other: float) -> bool:
    return abs(one - other) > _SAME_AREA * max(abs(one), abs(other))
