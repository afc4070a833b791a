"""COCO files as the tables that `submissions` reads: all cells text, one row per entry.

Categories are findings, known by their names: one is scored at a time, under whichever
ids it has. Regions to ignore (`iscrowd`, `ignore`) are rows of their own.
"""

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from aals_jax.evaluation import layouts
from aals_jax.evaluation.faults import Entries, Faults
from data.cxr_registry.tables import coco
from data.cxr_registry.tables.formats import Table
from data.cxr_registry.tables.limits import UnreadableTable

_BOX = ("x", "y", "width", "height")
_WRAPPERS = ("annotations", "predictions", "detections", "results")
IGNORED = "ignored"  # column of lesions: "crowd" or "ignore" for a region to ignore
# Folded name of a flag of an annotation -> that cell
FLAGS = {
    **dict.fromkeys(("iscrowd", "crowd"), "crowd"),
    **dict.fromkeys(("ignore", "ignored", "isignore", "isignored"), "ignore"),
}
_NO = frozenset(("none", "0", "0.0", "false", ""))  # values of a flag that is not set


@dataclasses.dataclass(frozen=True)
class Names:
    """What the ids of a file stand for."""

    images: Mapping[str, str]  # id, as `coco.key` writes it -> the image's name
    categories: Mapping[str, str]  # id -> name
    wanted: frozenset[str]  # ids of the category that is scored


def is_coco(path: Path) -> bool:
    return path.suffix.lower() == ".json"


def read_truth(
    path: Path, *, category: str | None, faults: Faults
) -> tuple[Table, Table, Names]:
    """Images and lesions of a ground-truth file, and what its ids mean.

    An image is positive when a lesion or a crowd of the category is on it; a region
    with the flag `ignore` says nothing of the image.

    Args:
        path: with `images`, `annotations` and `categories`.
        category: name of the finding; None: the only one there is.
        faults: takes all that is wrong, by entry.
    """
    empty = Table(path.name, (), [])
    loaded = _load(path, dict, faults)
    parts = [_list(loaded, part) for part in ("images", "annotations", "categories")]
    if None in parts:
        if loaded is not None:
            text = "is not ground truth in COCO's format; it needs lists of images, "
            faults.add(empty, None, text + "annotations and categories")
        return empty, empty, Names({}, {}, frozenset())
    images, annotations, categories = (part or [] for part in parts)
    names = _names(path, images, categories, category, faults)
    lesions = Table(path.name, (), [])
    rows = list(_lesions(Entries(path.name, (), []), annotations, names, faults))
    columns = ("image", "lesion", *_BOX, IGNORED)
    lesions = Entries(path.name, columns, rows)
    positive = {row["image"] for row in rows if row[IGNORED] != "ignore"}
    table = _images(path, images, positive, faults)
    return table, lesions, names


def _images(
    path: Path, images: Sequence[Any], positive: set[str], faults: Faults
) -> Table:
    table = Entries(f"{path.name} images", (), [])
    rows = []
    patient_keys: dict[str, None] = {}
    for number, image in enumerate(images, 1):
        if not (isinstance(image, dict) and image.get("file_name") not in (None, "")):
            faults.add(table, number, "needs an id and a file_name")
            continue
        name = str(image["file_name"])
        own = {key: _text(image[key]) for key in image if layouts.is_patient(key)}
        patient_keys |= dict.fromkeys(own)
        rows.append(
            {
                "entry": str(number),
                "image": name,
                **own,
                "label": str(int(name in positive)),
                "width": _text(image.get("width")),
                "height": _text(image.get("height")),
            }
        )
    columns = ("image", *patient_keys, "label", "width", "height")
    rows = [dict.fromkeys(columns, "") | row for row in rows]
    return Entries(table.name, columns, rows)


def _lesions(
    table: Table, annotations: Sequence[Any], names: Names, faults: Faults
) -> Iterator[dict[str, str]]:
    unclear = False
    for number, item in _of_category(table, annotations, names, faults):
        if not unclear and any(
            layouts.fold(key) == "difficult" and _is_set(flag)
            for key, flag in _marks(item).items()
        ):
            unclear = True
            text = "is marked difficult, which some rules leave out and others count: "
            text += "write ignore in its place, or take the mark out, in all entries"
            faults.add(table, number, text)
        box = _box(table, number, item, faults)
        image = _image(table, number, item, names, faults)
        if box is not None and image is not None:
            flags = _flags(item)
            yield {
                "entry": str(number),
                "image": image,
                "lesion": _text(item.get("id")),
                **box,
                IGNORED: flags[0] if flags else "",
            }


def read_results(
    path: Path, *, truth: Names | None, category: str | None, faults: Faults
) -> Table:
    """Detections of a results file.

    Args:
        path: a list of `image_id, category_id, bbox, score`, or an object with that
            list; its own `images` and `categories`, where it has them, tell what its
            ids mean.
        truth: what the ids of the ground truth mean; None: an id is the image's name.
        category: as in `read_truth`.
        faults: as in `read_truth`.
    """
    table = Entries(path.name, (), [])
    columns = ("image", *_BOX, "score")
    loaded = _load(path, (list, dict), faults)
    entries = loaded
    names = truth
    if isinstance(loaded, dict):
        entries = next((loaded[w] for w in _WRAPPERS if _list(loaded, w)), None)
        images, categories = _list(loaded, "images"), _list(loaded, "categories")
        if images and categories:
            names = _names(path, images, categories, category, faults)
    if not isinstance(entries, list):
        if loaded is not None:
            text = "is not results in COCO's format: a list of entries with image_id, "
            faults.add(table, None, text + "category_id, bbox and score")
        return Table(path.name, columns, [])
    if names is None:
        _check_single(table, entries, category, faults)
    rows = []
    for number, item in _of_category(table, entries, names, faults):
        box = _box(table, number, item, faults)
        image = _image(table, number, item, names, faults)
        if "score" not in item:
            faults.add(table, number, "has no score")
        elif box is not None and image is not None:
            row = {"entry": str(number), "image": image, **box}
            rows.append(row | {"score": _text(item["score"])})
    return Entries(path.name, columns, rows)


def _check_single(
    table: Table, entries: Sequence[Any], category: str | None, faults: Faults
) -> None:
    """Without the names of categories there must be one only."""
    ids = {
        coco.key(item["category_id"])
        for item in entries
        if isinstance(item, dict) and item.get("category_id") is not None
    }
    if category is not None:
        text = "--category names a finding, and nothing tells which category_id that is"
        text += "; give the ground truth as a COCO file, or take the others out"
        faults.add(table, None, text)
    elif len(ids) > 1:
        text = f"has detections of {len(ids)} categories, which can't be told apart"
        text += "; give the ground truth as a COCO file, or take the others out"
        faults.add(table, None, text)


def _load(path: Path, kind: type | tuple[type, ...], faults: Faults) -> Any:
    """What the file holds; None, and a fault, where that is no JSON or another kind."""
    table = Table(path.name, (), [])
    try:
        loaded = coco.load(path)
    except (ValueError, RecursionError) as error:
        text = f"is not JSON ({type(error).__name__}), as COCO files are"
        faults.add(table, None, text)
        return None
    if not isinstance(loaded, kind):
        wanted = "an object, as ground truth is" if kind is dict else "results"
        faults.add(table, None, f"is not {wanted} in COCO's format")
        return None
    return loaded


def _list(loaded: Any, part: str) -> list | None:
    found = loaded.get(part) if isinstance(loaded, dict) else None
    return found if isinstance(found, list) else None


def _names(
    path: Path,
    images: Sequence[Any],
    categories: Sequence[Any],
    category: str | None,
    faults: Faults,
) -> Names:
    """The ids of a file; those given twice are faults."""
    table = Table(path.name, (), [])
    found: dict[str, dict[str, str]] = {"images": {}, "categories": {}}
    for part, field, entries in (
        ("images", "file_name", images),
        ("categories", "name", categories),
    ):
        for number, entry in enumerate(entries, 1):
            where = Entries(f"{path.name} {part}", (), [])
            if not isinstance(entry, dict) or entry.get("id") is None:
                faults.add(where, number, "has no id")
                continue
            if entry.get(field) in (None, ""):
                faults.add(where, number, f"has no {field}")
                continue
            key = coco.key(entry["id"])
            if key in found[part]:
                text = (
                    f"its id is that of an earlier entry of {part}; give each its own"
                )
                faults.add(where, number, text)
            found[part][key] = str(entry[field]).strip()
    wanted = _wanted(table, found["categories"], category, faults)
    return Names(found["images"], found["categories"], wanted)


def _wanted(
    table: Table, names: Mapping[str, str], category: str | None, faults: Faults
) -> frozenset[str]:
    """The ids of the category of that name, which may be several."""
    by_name: dict[str, list[str]] = {}
    for key, name in names.items():
        by_name.setdefault(name, []).append(key)
    if category is None and len(by_name) == 1:
        return frozenset(names)
    near = [n for n in by_name if n.casefold() == (category or "").strip().casefold()]
    exact = [n for n in near if n == (category or "").strip()] or near
    if len(exact) == 1:
        return frozenset(by_name[exact[0]])
    if not names:
        return frozenset()
    lacks = "several of its categories have that name but for case"
    if not exact:
        lacks = f"category {category!r} is not there" if category else "has several"
        lacks += "" if category else " categories"
    text = f"{lacks}; give --category, one of {sorted(by_name)}"
    faults.add(table, None, text)
    return frozenset()


def _of_category(
    table: Table, entries: Sequence[Any], names: Names | None, faults: Faults
) -> Iterator[tuple[int, dict[str, Any]]]:
    """The entries of the wanted category, by number."""
    for number, item in enumerate(entries, 1):
        if not isinstance(item, dict):
            faults.add(table, number, "is not an object with image_id and bbox")
        elif names is None:
            yield number, item
        elif item.get("category_id") is None:
            faults.add(table, number, "has no category_id")
        elif coco.key(item["category_id"]) not in names.categories:
            text = "its category_id is not among those of the ground truth"
            faults.add(table, number, text)
        elif coco.key(item["category_id"]) in names.wanted:
            yield number, item


def _image(
    table: Table,
    number: int,
    item: Mapping[str, Any],
    names: Names | None,
    faults: Faults,
) -> str | None:
    """The name of an entry's image; None, and a fault, where there is none."""
    if item.get("image_id") is None:
        faults.add(table, number, "has no image_id")
        return None
    key = coco.key(item["image_id"])
    if names is None:
        return key
    if key not in names.images:
        faults.add(table, number, "its image is not in the images table")
        return None
    return names.images[key]


def _box(
    table: Table, number: int, item: Mapping[str, Any], faults: Faults
) -> dict[str, str] | None:
    """x, y, width, height as text; None, and a fault, where there is no box."""
    try:
        values = coco.box(item)
    except UnreadableTable as error:
        faults.add(table, number, str(error))
    except (TypeError, ValueError, AttributeError):
        faults.add(table, number, "its bbox is not four numbers")
    else:
        return dict(zip(_BOX, map(repr, values), strict=True))
    return None


def _flags(item: Mapping[str, Any]) -> list[str]:
    """The flags that are set, a crowd first."""
    marks = _marks(item).items()
    found = {FLAGS.get(layouts.fold(key)) for key, flag in marks if _is_set(flag)}
    return [word for word in ("crowd", "ignore") if word in found]


def _marks(item: Mapping[str, Any]) -> dict[str, Any]:
    """What an entry says of itself; tools write flags among attributes, too."""
    attributes = item.get("attributes")
    return {**(attributes if isinstance(attributes, dict) else {}), **item}


def _is_set(flag: Any) -> bool:
    return str(flag).casefold() not in _NO


def _text(value: Any) -> str:
    """A value as a cell; null is empty."""
    return "" if value is None else str(value).strip()
