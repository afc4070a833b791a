"""NIH ChestX-ray14, as downloaded, to studies.csv and regions.csv beside it.

    python -m data.public.nih_cxr14 --download DIR --splits parts

Official layout below DIR: Data_Entry_2017.csv or Data_Entry_2017_v2020.csv,
BBox_List_2017.csv, train_val_list.txt and test_list.txt (not for --splits parts), and
the PNG files in images/ or in images_001/images/ ... images_012/images/.

Labels are mined from reports: a finding that is not among them is negative. Boxes are
drawn by experts and win over the labels.

Reference: Wang et al., ChestX-ray8, CVPR 2017, arXiv 1705.02315.
"""

import collections
import re
from collections.abc import Callable, Collection, Mapping
from pathlib import Path

from data.cxr_registry.dicom import codestream
from data.cxr_registry.guard import checks
from data.public import conversion, convert_command, official_files, readers

OFFICIAL = "NIH ChestX-ray14 (nihcc.app.box.com/v/ChestXray-NIHCC)"
FINDINGS = (
    "atelectasis", "cardiomegaly", "effusion", "infiltration", "mass", "nodule",
    "pneumonia", "pneumothorax", "consolidation", "edema", "emphysema", "fibrosis",
    "pleural_thickening", "hernia",
)  # fmt: skip
BOXED = FINDINGS[:8]  # those of BBox_List_2017.csv

ENTRIES = ("Data_Entry_2017.csv", "Data_Entry_2017_v2020.csv")  # one of them
BOXES = "BBox_List_2017.csv"
_COLUMNS = (
    "Image Index", "Finding Labels", "Follow-up #", "Patient ID", "Patient Age",
    "View Position",
)  # fmt: skip
_SEX = ("Patient Gender", "Patient Sex")  # the column's name in 2017 and in v2020
_NONE = "no_finding"
_SPELLINGS = {"infiltrate": "infiltration"}  # the box file's word
_SIDE = 1024  # pixels of every official image, both ways
_OLDEST = 130  # years; typing errors in the file go up to 414

_Records = dict[str, tuple[int, dict[str, str]]]  # image -> row, cells
_Boxes = Mapping[str, list[tuple[str, readers.Box]]]  # image -> finding, box
_Notes = collections.Counter[str]
_SplitOf = Callable[[str, str], str | None]  # of image and patient


def convert(
    root: Path,
    *,
    splits: str = "official",
    validation_share: float = 0.1,
    seed: int = 0,
    allow: Collection[str] = (),
) -> conversion.Conversion:
    """Reads a download; every problem is reported at once.

    Args:
        root: the folder of the download.
        splits: "official" or "parts", see `convert_command`.
        validation_share: share of the patients of train_val_list.txt that go to
            validation, in [0, 1).
        seed: of their choice.
        allow: checks that may pass.

    Raises:
        RegistryError: file, row and check of each problem, no patient's number.
    """
    problems, notes = checks.Problems(allow), _Notes()
    folders = [root / "images", *root.glob("images_*/images")]
    images = official_files.find_images(root, folders, suffix=".png", problems=problems)
    entries = _Entries(root, images, problems, notes)
    boxes = _boxes(root, images, entries.by_image, problems, notes)
    split_of = None
    if splits == "official":
        split_of = _official(root, problems, share=validation_share, seed=seed)
    studies = tuple(
        entries.study(
            name,
            boxed={site for site, _ in boxes.get(name, ())},
            split_of=split_of,
        )
        for name in entries.by_image
    )
    problems.raise_if_any()
    regions = tuple(
        conversion.RegionRow(images[name], site, box)
        for name, image_boxes in boxes.items()
        for site, box in image_boxes
    )
    return conversion.Conversion(
        findings=FINDINGS,
        studies=studies,
        regions=regions,
        notes={**notes, **official_files.allowed_notes(problems)},
    )


class _Entries:
    """The label file: its usable rows, and cells to values."""

    def __init__(
        self,
        root: Path,
        images: Mapping[str, str],
        problems: checks.Problems,
        notes: _Notes,
    ):
        self._images, self._problems, self._notes = images, problems, notes
        present = [name for name in ENTRIES if (root / name).exists()]
        self._file = (present or ENTRIES)[0]
        if len(present) > 1:
            text = f"{ENTRIES[1]} is there too and differs in labels; move one away"
            problems.add(self._file, None, text, check="columns")
        sheet = official_files.read_sheet(
            root / self._file, columns=_COLUMNS, official=OFFICIAL, problems=problems
        )
        self._sex = next((name for name in _SEX if name in sheet.header), "")
        if sheet.header and not self._sex:
            text = f"has no column {' or '.join(_SEX)}"
            problems.add(self._file, None, text, check="columns")
        self.by_image: _Records = {}
        for row, cells in sheet.records():
            self._add(row, cells)

    def _add(self, row: int, cells: dict[str, str]) -> None:
        name = cells["Image Index"]
        if name in self.by_image:
            text = f"image is also in row {self.by_image[name][0]}"
            self._problems.add(self._file, row, text, check="duplicate_image")
        elif name in self._images:
            self.by_image[name] = row, cells
        elif self._images:  # without any image, one problem says it for all rows
            text = "its image is not in the download; get all 12 image archives"
            self._problems.add(self._file, row, text, check="unreadable")

    def study(
        self, name: str, *, boxed: Collection[str], split_of: _SplitOf | None
    ) -> conversion.StudyRow:
        row, cells = self.by_image[name]
        patient = cells["Patient ID"]
        labels = self._labels(row, cells["Finding Labels"])
        unnamed = "boxed findings that the mined labels do not name: now positive"
        self._notes[unnamed] += sum(labels[site] != 1 for site in boxed)
        split = split_of(name, patient) if split_of else ""
        if split is None:
            text = "image is not in exactly one of train_val_list.txt, test_list.txt"
            self._problems.add(self._file, row, text, check="columns")
        return conversion.StudyRow(
            image=self._images[name],
            patient=patient,
            labels=labels | dict.fromkeys(boxed, 1),
            split=split or "",
            view=cells["View Position"],
            sex=cells.get(self._sex, ""),
            age=self._age(row, cells["Patient Age"]),
            follow_up=cells["Follow-up #"],
        )

    def _labels(self, row: int, cell: str) -> dict[str, int]:
        named = {
            official_files.slug(part, names=_SPELLINGS) for part in cell.split("|")
        }
        if not named <= {*FINDINGS, _NONE} or {_NONE} < named:
            text = 'Finding Labels is neither "No Finding" nor findings split by "|"'
            self._problems.add(self._file, row, text, check="bad_value")
            return dict.fromkeys(FINDINGS, -1)
        return {name: int(name in named) for name in FINDINGS}

    def _age(self, row: int, cell: str) -> str:
        """Years, from "58" (v2020) or "058Y", "011M", "001D" (2017)."""
        match = re.fullmatch(r"(\d{1,4})([YMWD]?)", cell)
        if not match:
            text = "Patient Age is not a number of years"
            self._problems.add(self._file, row, text, check="bad_value")
            return ""
        years = int(match[1]) if match[2] in ("", "Y") else 0
        self._notes[f"ages over {_OLDEST} left out"] += years > _OLDEST
        return str(years) if years <= _OLDEST else ""


def _boxes(
    root: Path,
    images: Mapping[str, str],
    entries: _Records,
    problems: checks.Problems,
    notes: _Notes,
) -> _Boxes:
    """The expert boxes of each image.

    The header is "Image Index,Finding Label,Bbox [x,y,w,h],,,". The commas in its last
    name make four columns of it, so the four numbers are taken by their place.
    """
    sheet = official_files.read_sheet(
        root / BOXES,
        columns=("Image Index", "Finding Label"),
        official=OFFICIAL,
        problems=problems,
    )
    boxes: dict[str, list[tuple[str, readers.Box]]] = {}
    for row, (name, label, *numbers) in sheet.rows:
        site = official_files.slug(label, names=_SPELLINGS)
        if site not in FINDINGS:
            text = f"finding must be one of {', '.join(BOXED)}"
            problems.add(sheet.file, row, text, check="unknown_site")
        elif name not in entries:
            text = "its image is in no usable row of the label file"
            problems.add(sheet.file, row, text, check="box_without_study")
        elif not _is_official_size(root / images[name]):
            text = f"its image is not {_SIDE} x {_SIDE}; boxes fit official PNGs only"
            problems.add(sheet.file, row, text, check="box_outside")
        else:
            try:
                box = official_files.parse_box(numbers[:4], as_size=True)
                inside = _clip(box)
            except ValueError:
                text = "must be a box inside the image: x, y, width, height in pixels"
                problems.add(sheet.file, row, text, check="box_outside")
                continue
            notes["boxes cut at the image's border"] += inside != box
            boxes.setdefault(name, []).append((site, inside))
    return boxes


def _is_official_size(path: Path) -> bool:
    with path.open("rb") as stream:
        return codestream.image_shape(stream.read(64)) == (_SIDE, _SIDE)


def _clip(box: readers.Box) -> readers.Box:
    x0, y0, x1, y1 = (min(max(value, 0.0), float(_SIDE)) for value in box)
    if x1 <= x0 or y1 <= y0:
        raise ValueError("outside")
    return x0, y0, x1, y1


def _official(
    root: Path, problems: checks.Problems, *, share: float, seed: int
) -> _SplitOf:
    """The function from image and patient to train, validation or test.

    It gives None for an image that is not in exactly one of the two lists.
    """
    train, test = (
        official_files.read_names(root / name, official=OFFICIAL, problems=problems)
        for name in ("train_val_list.txt", "test_list.txt")
    )

    def split_of(name: str, patient: str) -> str | None:
        if (name in train) == (name in test):
            return None if train and test else ""  # a missing list is reported
        if name in test:
            return "test"
        held_out = conversion.in_validation(patient, share=share, seed=seed)
        return "validation" if held_out else "train"

    return split_of


def main(arguments: list[str] | None = None) -> None:
    """Converts by the flags of --help."""
    parser = convert_command.parser(
        "data.public.nih_cxr14",
        description="NIH ChestX-ray14 to a registry: mined labels of 14 findings, "
        "expert boxes of 8. All boxed images are in the official test split: take "
        "--splits parts to train with boxes.",
    )
    convert_command.run(convert, vars(parser.parse_args(arguments)))


if __name__ == "__main__":
    main()
