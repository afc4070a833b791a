"""Boxes that people drew on the films of a worklist, brought into regions.csv.

    python -m data.cxr_registry.drawn_boxes pictures --registry DIR --worklist DIR \\
        --key_file FILE --out DIR
    python -m data.cxr_registry.drawn_boxes take_back --registry DIR --worklist DIR \\
        --key_file FILE --coco FILE

`pictures` writes the films upright at full size, with the candidate boxes at that size;
`take_back` adds the boxes of a COCO file, drawn on pictures of any size, to the
registry's regions.csv in stored pixels. See docs/worklist.md.
"""

import argparse
import csv
import json
import re
import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import Any, NamedTuple

import cv2
import numpy as np

from data.cxr_registry.dicom import reader
from data.cxr_registry.guard import atomic, checks, failures, privacy
from data.cxr_registry.tables import coco, formats, paths
from data.cxr_registry.tables.limits import Noted

WORKLIST, COCO, LABEL_STUDIO = "worklist.csv", "coco.json", "label_studio.json"
REGIONS = "regions.csv"
CORNERS = ("x0", "y0", "x1", "y1")
_NAME = re.compile(r"[0-9a-f]{32}$")  # a pseudonym; tools put their own number before
_ROUNDED = 2.0  # pixels of the picture by which rounding may change its sides
_EDGE = 0.51  # pixels of the picture that a box may cross the border
_SAME = 0.01  # pixels of the picture: a candidate that nobody moved
_DIGITS = 2  # of a coordinate, stored pixels


class Film(NamedTuple):
    """A film of a worklist, found in its registry."""

    row: int  # of the studies table
    cell: str  # its image there
    path: Path
    record: str  # positive, negative, unknown


class TakenBack(NamedTuple):
    """What became of a COCO file's boxes."""

    added: int  # to the regions table
    repeated: int  # that were there already
    unchanged: int  # of the added ones, candidates that nobody moved
    films: int  # with added boxes
    empty: int  # of the file, without a box
    on_negative: tuple[int, ...]  # rows whose record is negative, and that have boxes


class DrawnError(ValueError):
    """Everything wrong with what was drawn, in one message."""

    def __init__(self, problems: Sequence[checks.Problem]):
        unnamed = [problem._replace(check="") for problem in problems]
        head = f"{len(problems)} fault(s) in the boxes that came back"
        super().__init__("\n".join([head, *checks.list_first(unnamed, bullet="- ")]))


def find_films(registry: Path, worklist: Path, key: bytes) -> dict[str, Film]:
    """Pseudonym -> film, of the films of a worklist.

    Args:
        registry: its folder, which may have grown since.
        worklist: the folder that --mode=worklist wrote.
        key: of the pseudonyms.

    Raises:
        DrawnError: films that are not in the registry, by this key.
        FileNotFoundError: a table is missing.
    """
    problems = checks.Problems(error=DrawnError)
    listed = worklist / WORKLIST
    if not listed.is_file():
        raise FileNotFoundError(f"--worklist has no {WORKLIST}: give its folder")
    lines = list(formats.scan_table(listed, problems).numbered())
    table = formats.open_table(registry, "studies", problems)
    problems.raise_if_any()
    if table is None or "image" not in table.columns:
        raise FileNotFoundError(
            "the registry has no studies table with a column image: give its folder"
        )
    row_of = {
        privacy.pseudonym(key, "image", cells["image"]): (row, cells)
        for row, cells in table.numbered()
    }
    resolver = paths.Paths(registry, table, problems)
    films = {}
    for line, cells in lines:
        name = cells.get("image", "")
        if name not in row_of:
            text = (
                f"its film (row {cells.get('row', '?')} then) is not in the studies "
                "table: its image cell has changed, or the key is another one"
            )
            problems.add(WORKLIST, line, text)
            continue
        row, study = row_of[name]
        path = resolver.resolve(row, study)
        if path is not None:
            films[name] = Film(row, study["image"], path, cells.get("record", ""))
    problems.raise_if_any()
    return films


def pictures(films: Mapping[str, Film], worklist: Path, out: Path) -> int:
    """Writes films upright at full size, and the candidates scaled to them.

    Args:
        films: of `find_films`.
        worklist: the folder whose candidates they are.
        out: folder for images, and the files of CVAT and Label Studio.

    Returns:
        How many films were left out, since their header flags burned-in text.

    Raises:
        DrawnError: films that can't be read, by row.
    """
    problems = checks.Problems(error=DrawnError)
    (out / "images").mkdir(mode=0o700, parents=True, exist_ok=True)
    sizes: dict[str, tuple[int, int]] = {}
    left_out = 0
    for name, film in films.items():
        try:
            image = reader.read_radiograph(film.path, modalities=None)
        except reader.UnreadableRadiograph as error:
            problems.add("studies", film.row, str(error))
            continue
        if image.burned_in:
            left_out += 1
            continue
        levels = np.rint(255 * np.clip(image.pixels, 0, 1)).astype(np.uint8)
        done, png = cv2.imencode(".png", levels)
        if not done:
            problems.add("studies", film.row, "could not be encoded as PNG")
            continue
        with atomic.replacing(out / "images" / f"{name}.png") as draft:
            draft.write_bytes(png.tobytes())
        sizes[name] = levels.shape[1], levels.shape[0]
    problems.raise_if_any()
    for file, scaled in ((LABEL_STUDIO, _scaled_tasks), (COCO, _scaled_coco)):
        content = scaled(coco.load(worklist / file), sizes)
        with atomic.replacing(out / file) as draft:
            draft.write_text(json.dumps(content, indent=1) + "\n")
    return left_out


def _scaled_coco(content: Any, sizes: Mapping[str, tuple[int, int]]) -> Any:
    """The candidates on pictures of these sizes; films without one are left out."""
    factor: dict[int, list[float]] = {}
    images = []
    for image in content["images"]:
        name = _name(image["file_name"])
        if name in sizes:
            width, height = sizes[name]
            across, down = width / image["width"], height / image["height"]
            factor[image["id"]] = [across, down, across, down]
            images.append(image | {"width": width, "height": height})
    boxes = []
    for box in content["annotations"]:
        if box["image_id"] in factor:
            x, y, w, h = np.multiply(box["bbox"], factor[box["image_id"]]).tolist()
            bbox = [round(value, 3) for value in (x, y, w, h)]
            boxes.append(box | {"bbox": bbox, "area": round(w * h, 3)})
    return content | {"images": images, "annotations": boxes}


def _scaled_tasks(tasks: Any, sizes: Mapping[str, tuple[int, int]]) -> Any:
    """Tasks on pictures of these sizes; their boxes are in percent."""
    kept = []
    for task in tasks:
        name = _name(task["data"]["image"])
        if name not in sizes:
            continue
        kept.append(task)
        for box in task["predictions"][0]["result"]:
            box["original_width"], box["original_height"] = sizes[name]
    return kept


def take_back(
    films: Mapping[str, Film],
    registry: Path,
    worklist: Path,
    drawn: Path,
    *,
    accept_unchanged: bool = False,
) -> TakenBack:
    """Adds drawn boxes to the registry's regions.csv, which keeps its other rows.

    Args:
        films: of `find_films`.
        registry: its folder.
        worklist: the folder whose candidates were shown.
        drawn: the COCO file that came back; its pictures may have any size.
        accept_unchanged: take a file in which nobody has moved a candidate.

    Raises:
        DrawnError: every fault of the file, by its row (2 is the first annotation).
    """
    problems = checks.Problems(error=DrawnError)
    if not drawn.is_file():
        raise FileNotFoundError("--coco: there is no such file")
    shown = coco.load(worklist / COCO)
    sites = [category["name"] for category in shown["categories"]]
    boxes = list(_boxes(drawn, films, sites, problems))
    problems.raise_if_any()
    candidates = _candidates(shown)
    unchanged = [_is_candidate(box, candidates) for box in boxes]
    if boxes and all(unchanged) and not accept_unchanged:
        raise ValueError(
            f"--coco: all {len(boxes)} boxes are the candidates as they were written, "
            "so nobody seems to have drawn; give the file that was exported after "
            "drawing, or --accept_unchanged"
        )
    lines = [_line(box, films[box.name], problems, drawn.name) for box in boxes]
    problems.raise_if_any()
    columns, there = _regions(registry)
    known = {_key(cells) for cells in there}
    new, unmoved = [], 0
    for line, is_same in zip(lines, unchanged, strict=True):
        if _key(line) not in known:
            known.add(_key(line))
            new.append(line)
            unmoved += is_same
    if new:
        _write(registry / REGIONS, columns, [*there, *new])
    boxed = {box.name for box in boxes}
    listed = {_name(image["file_name"]) for image in coco.load(drawn)["images"]}
    return TakenBack(
        added=len(new),
        repeated=len(lines) - len(new),
        unchanged=unmoved,
        films=len({line["image"] for line in new}),
        empty=len(listed - boxed),
        on_negative=tuple(
            sorted(films[n].row for n in boxed if films[n].record == "negative")
        ),
    )


class _Box(NamedTuple):
    """A box of the file."""

    row: int  # 2 is the first annotation
    name: str  # pseudonym of its film
    site: str
    corners: tuple[float, ...]  # x0, y0, x1, y1, px of the picture
    size: tuple[float, float]  # width, height of the picture


def _boxes(
    path: Path,
    films: Mapping[str, Film],
    sites: Sequence[str],
    problems: checks.Problems,
) -> Iterable[_Box]:
    row = 1
    for line in coco.lines(path):
        if isinstance(line, Noted):
            problems.add(path.name, row if line.is_row else None, line.fault)
            row += line.is_row
            continue
        if row == 1 and tuple(line) == coco.HEADER:
            row = 2
            continue
        file, site, *corners, width, height = line
        name, number = _name(str(file)), row
        row += 1
        if name not in films:
            text = "its image is none of the worklist's: keep the names of its pictures"
            problems.add(path.name, number, text)
        elif site not in sites:
            text = f"its category is none of the worklist: name it {', '.join(sites)}"
            problems.add(path.name, number, text)
        elif not _is_size(width) or not _is_size(height):
            text = "its image has no width and height, by which the box is placed"
            problems.add(path.name, number, text)
        else:
            size = float(width), float(height)
            yield _Box(number, name, site, tuple(corners), size)


def _is_size(value: Any) -> bool:
    return isinstance(value, int | float) and 0 < value < 1e6


def _name(file: str) -> str:
    """The pseudonym at the end of a picture's name, before its ending; "" for none."""
    found = _NAME.search(PurePosixPath(file.replace("\\", "/")).stem)
    return found[0] if found else ""


def _candidates(content: Any) -> dict[str, np.ndarray]:
    """Pseudonym -> f64[k, 4], candidates in shares of the picture."""
    image_of = {image["id"]: image for image in content["images"]}
    found: dict[str, list[np.ndarray]] = {}
    for item in content["annotations"]:
        image = image_of[item["image_id"]]
        x, y, w, h = item["bbox"]
        sides = np.array([image["width"], image["height"]] * 2)
        corners = np.array([x, y, x + w, y + h]) / sides
        found.setdefault(_name(image["file_name"]), []).append(corners)
    return {name: np.array(boxes) for name, boxes in found.items()}


def _is_candidate(box: _Box, candidates: Mapping[str, np.ndarray]) -> bool:
    """Whether a box is a candidate that nobody moved."""
    sides = np.array([*box.size] * 2)
    there = candidates.get(box.name, np.zeros((0, 4))) * sides
    return bool((abs(there - np.array(box.corners)) < _SAME).all(axis=1).any())


def _line(
    box: _Box, film: Film, problems: checks.Problems, file: str
) -> dict[str, str]:
    """The row of the regions table, in stored pixels."""
    width, height = box.size
    (rows, columns), affine = reader.stored_to_upright(film.path)
    turned = reader.map_boxes(affine, np.array([[0.0, 0, columns, rows]]))[0]
    across, down = turned[2] / width, turned[3] / height
    if abs(across / down - 1) * height > _ROUNDED:
        text = (
            "its picture has other proportions than the film: it was cut or turned; "
            "draw on the pictures of the worklist"
        )
        problems.add(file, box.row, text)
    x0, y0, x1, y1 = box.corners
    is_inside = min(x0, y0) >= -_EDGE and x1 <= width + _EDGE and y1 <= height + _EDGE
    if not (is_inside and x0 < x1 and y0 < y1):
        problems.add(file, box.row, "lies outside its picture, or has no area")
    clipped = np.clip(box.corners, 0, [width, height, width, height])
    upright = clipped * [across, down, across, down]
    stored = reader.map_boxes(reader.inverse(affine), upright[None])[0]
    corners = zip(CORNERS, (f"{v:.{_DIGITS}f}" for v in stored), strict=True)
    return {"image": film.cell, "site": box.site, **dict(corners)}


def _regions(registry: Path) -> tuple[list[str], list[dict[str, str]]]:
    """Columns and rows of the registry's regions.csv; none where there is none.

    Raises:
        ValueError: the table is in another format, or can't be read.
    """
    problems = checks.Problems()
    suffixes = (*formats.SUFFIXES, ".json")
    table = formats.open_table(registry, "regions", problems, suffixes=suffixes)
    problems.raise_if_any()
    if table is None:
        return ["image", "site", *CORNERS], []
    if table.name != REGIONS:
        raise ValueError(
            f"the registry has {table.name}, and boxes are added to {REGIONS} alone: "
            f"save it as {REGIONS} first"
        )
    columns = dict.fromkeys([*table.columns, "image", "site", *CORNERS])
    return list(columns), [cells for _, cells in table.numbered()]


def _key(cells: Mapping[str, str]) -> tuple[str, ...]:
    """What two equal boxes have in common; coordinates as numbers."""
    corners = []
    for name in CORNERS:
        try:
            corners.append(f"{float(cells.get(name, '')):.{_DIGITS}f}")
        except ValueError:
            corners.append("")
    return (cells["image"], cells["site"], *corners)


def _write(
    path: Path, columns: Sequence[str], lines: Iterable[Mapping[str, str]]
) -> None:
    # cells as they were: an image's name must stay that of the studies table
    rows = ([cells.get(name, "") for name in columns] for cells in lines)
    path = path.resolve()  # where a link leads to
    with atomic.replacing(path) as draft:
        with draft.open("w", newline="", encoding="utf-8") as stream:
            writer = csv.writer(stream, lineterminator="\n")
            writer.writerow(columns)
            writer.writerows(rows)
        if path.exists():
            draft.chmod(path.stat().st_mode & 0o777)
        atomic.sync(draft)


def report(taken: TakenBack) -> str:
    """What was done, for whoever called."""
    said = [
        f"{taken.added} boxes of {taken.films} films added to {REGIONS}",
        f"{taken.empty} films of the file have no box, and nothing is said of them",
    ]
    if taken.repeated:
        said.append(f"{taken.repeated} boxes were there already")
    if taken.unchanged:
        said.append(f"{taken.unchanged} are candidates that nobody moved")
    if taken.on_negative:
        rows = ", ".join(map(str, taken.on_negative))
        said.append(
            f"negative by the record, and boxed now: rows {rows}; correct the record, "
            "since a build refuses that (box_on_negative)"
        )
    return "\n".join(said)


def main(arguments: list[str] | None = None) -> None:
    """The command line; errors in one line."""
    flags = _parser().parse_args(arguments)
    try:
        if not flags.registry.is_dir():
            raise FileNotFoundError("--registry: there is no such folder")
        key = privacy.load_or_create_key(
            flags.key_file, needed_by="the names of the films"
        )
        films = find_films(flags.registry, flags.worklist, key)
        if flags.action == "pictures":
            left_out = pictures(films, flags.worklist, flags.out)
            print(f"{len(films) - left_out} pictures")
            if left_out:
                print(f"{left_out} films flagged as having burned-in text left out")
            return
        taken = take_back(
            films,
            flags.registry,
            flags.worklist,
            flags.coco,
            accept_unchanged=flags.accept_unchanged,
        )
    except Exception as error:
        sys.exit(f"error: {failures.message(error)}")
    print(report(taken))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m data.cxr_registry.drawn_boxes",
        description="Boxes drawn on the films of a worklist; see docs/worklist.md.",
    )
    actions = parser.add_subparsers(dest="action", required=True)
    shown = actions.add_parser("pictures", help="write the films at full size")
    back = actions.add_parser("take_back", help="add the boxes to regions.csv")
    for action in (shown, back):
        for name in ("--registry", "--worklist", "--key_file"):
            action.add_argument(name, type=Path, required=True)
    shown.add_argument("--out", type=Path, required=True)
    back.add_argument("--coco", type=Path, required=True)
    back.add_argument("--accept_unchanged", action="store_true")
    return parser


if __name__ == "__main__":
    main()
