"""COCO files as the tables that `submissions` reads: all cells text, one row per entry.

A box [x, y, width, height] becomes x0, y0, x1, y1. Categories are findings: one is
scored at a time.
"""

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from data.cxr_registry.tables.formats import Table

_CORNERS = ("x0", "y0", "x1", "y1")


class Entries(Table):
    """A list of a COCO file; a row's number is its place in that list, from 1."""

    __slots__ = ()

    def numbered(self) -> Iterator[tuple[int, dict[str, str]]]:
        return ((int(cells["entry"]), cells) for cells in self.rows)


def is_coco(path: Path) -> bool:
    return path.suffix.lower() == ".json"


def read_truth(path: Path, *, category: str | None) -> tuple[Table, Table]:
    """Images and lesions of a ground-truth file.

    An image is positive when an annotation of the category is on it. Its patient is
    its entry's `patient` or `patient_id`, else the image itself.

    Args:
        path: with `images`, `annotations` and `categories`.
        category: name of the finding; None: the only one there is.
    """
    coco = _load(path, kind=dict)
    try:
        wanted = _category(path, coco["categories"], category)
        _check_ids(path, coco["annotations"], coco["categories"])
        _check_crowds(path, coco["annotations"])
        kept = [
            (number, a)
            for number, a in enumerate(coco["annotations"], 1)
            if a["category_id"] == wanted
        ]
        names = {image["id"]: str(image["file_name"]) for image in coco["images"]}
        positive = {a["image_id"] for _, a in kept}
        images = [
            {
                "entry": str(number),
                "image": names[image["id"]],
                "patient": str(image.get("patient", image.get("patient_id", ""))),
                "label": str(int(image["id"] in positive)),
                "width": str(image.get("width", "")),
                "height": str(image.get("height", "")),
            }
            for number, image in enumerate(coco["images"], 1)
        ]
        lesions = [
            {
                "entry": str(number),
                "image": names.get(a["image_id"], str(a["image_id"])),
                "lesion": str(a.get("id", "")),
                **_corners(a["bbox"]),
            }
            for number, a in kept
        ]
    except (KeyError, TypeError, ValueError) as error:
        raise _malformed(path, error) from None
    columns = ("image", "patient", "label", "width", "height")
    return (
        Entries(path.name, columns, images),
        Entries(path.name, ("image", "lesion", *_CORNERS), lesions),
    )


def read_results(path: Path, *, truth: Path | None, category: str | None) -> Table:
    """Detections of a results file.

    Args:
        path: a list of `image_id, category_id, bbox, score`.
        truth: the ground-truth file that the ids are of; None: an id is the image's
            name, and categories are not looked at.
        category: as in `read_truth`.
    """
    entries = _load(path, kind=list)
    names: Mapping[Any, str] = {}
    wanted = None
    try:
        if truth is not None:
            coco = _load(truth, kind=dict)
            wanted = _category(truth, coco["categories"], category)
            _check_ids(path, entries, coco["categories"])
            names = {image["id"]: str(image["file_name"]) for image in coco["images"]}
        rows = [
            {
                "entry": str(number),
                "image": names.get(entry["image_id"], str(entry["image_id"])),
                **_corners(entry["bbox"]),
                "score": str(entry["score"]),
            }
            for number, entry in enumerate(entries, 1)
            if wanted is None or entry["category_id"] == wanted
        ]
    except (KeyError, TypeError, ValueError) as error:
        raise _malformed(path, error) from None
    return Entries(path.name, ("image", *_CORNERS, "score"), rows)


def _load(path: Path, *, kind: type) -> Any:
    try:
        loaded = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise _malformed(path, error) from None
    if not isinstance(loaded, kind):
        what = {dict: "an object, as ground truth is", list: "a list, as results are"}
        raise ValueError(f"{path.name}: is not {what[kind]} in COCO's format")
    return loaded


def _category(path: Path, categories: list[dict], name: str | None) -> Any:
    ids = {str(entry["name"]): entry["id"] for entry in categories}
    if name is None and len(ids) == 1:
        return next(iter(ids.values()))
    if name not in ids:
        raise ValueError(
            f"{path.name}: category {name!r} is not there; give --category, one of "
            f"{sorted(ids)}"
        )
    return ids[name]


def _check_crowds(path: Path, annotations: list[dict]) -> None:
    crowds = [n for n, a in enumerate(annotations, 1) if a.get("iscrowd")]
    if crowds:
        raise ValueError(
            f"{path.name} entry {crowds[0]} (of {len(crowds)}): iscrowd marks a region "
            "to ignore, which a lesion is not; take it out"
        )


def _check_ids(path: Path, entries: list[dict], categories: list[dict]) -> None:
    """Ids that no category has would vanish without a word."""
    ids = {category["id"] for category in categories}
    bad = [n for n, entry in enumerate(entries, 1) if entry["category_id"] not in ids]
    if bad:
        raise ValueError(
            f"{path.name} entry {bad[0]} (of {len(bad)}): its category_id is not "
            f"among those of the ground truth, {sorted(ids, key=str)}"
        )


def _corners(bbox: list[float]) -> dict[str, str]:
    x, y, width, height = (float(value) for value in bbox)
    corners = (x, y, x + width, y + height)
    return dict(zip(_CORNERS, map(repr, corners), strict=True))


def _malformed(path: Path, error: Exception) -> ValueError:
    if isinstance(error, ValueError) and str(error).startswith(path.name):
        return error
    return ValueError(
        f"{path.name}: is not a COCO file ({type(error).__name__}); ground truth has "
        "images, annotations and categories, results are a list of image_id, "
        "category_id, bbox and score"
    )
