"""Labels of a user's own reader of reports: a table of image, finding, label.

The file may be made by anything: a person, another labeller, a local language model
(docs/labels.md). Here it is only checked and looked up.
"""

import hashlib
import unicodedata
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import NamedTuple

from data.cxr_registry.guard import checks
from data.cxr_registry.labels import words
from data.cxr_registry.tables import formats

COLUMNS = ("image", "finding", "label")
_LABELS = words.accepted(words.Reader.OWN)


class OwnLabel(NamedTuple):
    """What the table says about one finding of one image."""

    label: int  # 1, 0 or -1 unknown
    row: int  # of the table, as a spreadsheet numbers it


class OwnLabels:
    """The rows of such a table.

    Args:
        path: of the table.
        problems: takes what is wrong with the file itself.
    """

    def __init__(self, path: Path, problems: checks.Problems):
        table = formats.Table(path.name, (), [])
        if path.is_file():
            table = formats.scan_table(path, problems)
            lacking = [name for name in COLUMNS if name not in table.columns]
            if lacking:
                text = f"no column {', '.join(lacking)}; it needs {', '.join(COLUMNS)}"
                problems.add(path.name, None, text, check="columns")
                table = table._replace(rows=[])
        else:
            problems.add(path.name, None, "there is no such file", check="table")
        self._table = table
        self.digest = ""
        if path.is_file():
            self.digest = hashlib.sha256(path.read_bytes()).hexdigest()

    @property
    def findings(self) -> tuple[str, ...]:
        """The findings it names, in their order."""
        named = (cells["finding"] for _, cells in self._table.numbered())
        return tuple(dict.fromkeys(name for name in named if name))

    def of_images(
        self,
        images: Collection[str],
        findings: Collection[str],
        problems: checks.Problems,
    ) -> Mapping[tuple[str, str], OwnLabel]:
        """(image, finding) -> label; a row with a problem gives none.

        Args:
            images: those of the studies table.
            findings: all that a row may name, whether asked for or not.
            problems: takes every fault, by row.
        """
        known = {_plain(image): image for image in images}
        labels: dict[tuple[str, str], OwnLabel] = {}
        for row, cells in self._table.numbered():
            faults = []
            image = known.get(_plain(cells["image"]))
            label = _LABELS.get(cells["label"].lower())
            if image is None:
                faults.append("its image is not in the studies table")
            if cells["finding"] not in findings:
                have = ", ".join(sorted(findings))
                faults.append(f"finding must be one of {have}")
            if label is None:
                faults.append(f"label must be one of {', '.join(_LABELS)}")
            key = (image or "", cells["finding"])
            if not faults and key in labels:
                faults.append(f"the same image and finding as row {labels[key].row}")
            for text in faults:
                problems.add(self._table.name, row, text, check="bad_value")
            if not faults and label is not None:
                labels[key] = OwnLabel(label, row)
        return labels


def _plain(path: str) -> str:
    return unicodedata.normalize("NFC", path.replace("\\", "/"))
