"""Input that wants out of the folder, or into a spreadsheet."""

import csv
import os
from pathlib import Path

import pytest

from aals_jax.evaluation import score
from aals_jax.runs.workdir import claim
from configs import base
from data.cxr_registry.build import folds, ledger, staging
from data.cxr_registry.guard import checks, formulas
from data.cxr_registry.tables import records
from data.public import conversion
from tests.support import datasets, registry_files

OUTSIDE = "outside.dcm"


@pytest.fixture
def root(tmp_path):
    """A registry of two images beside an image that is not its own."""
    registry_files.write(tmp_path / OUTSIDE, registry_files.film(9))
    return registry_files.registry(tmp_path / "registry", images=2)


def read(root: Path) -> records.Registry:
    return records.read_registry(root, findings=["rib"])


def point_to(root: Path, cell: str) -> None:
    """The image of row 2 is that cell."""
    with (root / "studies.csv").open(newline="") as stream:
        head, first, *rest = csv.reader(stream)
    registry_files.table(root / "studies.csv", [head, [cell, *first[1:]], *rest])
    (root / "regions.csv").unlink()


def to_outside(root: Path) -> None:
    (root / "images/a.dcm").symlink_to(root.parent / OUTSIDE)


def to_folder_outside(root: Path) -> None:
    (root / "images/a").symlink_to(root.parent)


PATHS = {
    "up": (f"../{OUTSIDE}", "leaves the registry's folder"),
    "up from below": (f"images/../../{OUTSIDE}", "leaves the registry's folder"),
    "absolute": ("{}", "leaves the registry's folder"),
    "the root": ("/", "leaves the registry's folder"),
    "the folder itself": (".", "is not a file"),
    "a device": ("/dev/zero", "leaves the registry's folder"),
    "a home": (f"~/{OUTSIDE}", "does not exist"),
    "backslashes": (f"..\\{OUTSIDE}", "does not exist"),
    "a drive": (f"C:\\{OUTSIDE}", "does not exist"),
    "a share": (f"\\\\host\\share\\{OUTSIDE}", "does not exist"),
    "an address": (f"file://{{}}/{OUTSIDE}", "does not exist"),
    "percent": (f"%2e%2e%2f{OUTSIDE}", "does not exist"),
    "full width dots": (f"\uff0e\uff0e/{OUTSIDE}", "does not exist"),
    "one-dot leaders": (f"\u2024\u2024/{OUTSIDE}", "does not exist"),
    "a division slash": (f"..\u2215{OUTSIDE}", "does not exist"),
    "a variable": ("$HOME/x", "does not exist"),
    "too long": ("a" * 5000, "is not a file"),
}


@pytest.mark.parametrize("name", PATHS)
def test_a_path_out_of_the_folder_is_refused(name, root):
    cell, words = PATHS[name]
    point_to(root, cell.format(root.parent / OUTSIDE))
    with pytest.raises(checks.RegistryError, match=words) as caught:
        read(root)
    assert [problem.row for problem in caught.value.problems] == [2]
    assert OUTSIDE not in str(caught.value)


@pytest.mark.parametrize(
    ("make", "cell"),
    [(to_outside, "images/a.dcm"), (to_folder_outside, f"images/a/{OUTSIDE}")],
)
def test_a_link_out_of_the_folder_is_refused(make, cell, root):
    make(root)
    point_to(root, cell)
    with pytest.raises(checks.RegistryError, match="leaves the registry's folder"):
        read(root)


def test_a_link_inside_the_folder_and_a_linked_folder_are_fine(root):
    (root / "images/a.dcm").symlink_to("000.dcm")
    (root / "b").symlink_to("images")
    point_to(root, "images/a.dcm")
    assert len(read(root).studies) == 2
    linked = root.with_name("linked")
    linked.symlink_to(root)
    assert len(read(linked).studies) == 2


@pytest.mark.parametrize("name", ["studies.csv", "regions.csv"])
def test_a_table_that_is_a_link_out_of_the_folder_is_refused(name, root):
    moved = (root / name).replace(root.parent / name)
    (root / name).symlink_to(moved)
    with pytest.raises(ValueError, match=f"{name}: is a link out of the registry"):
        read(root)
    (root / name).unlink()
    moved.replace(root / "images" / name)
    (root / name).symlink_to(f"images/{name}")
    assert read(root).studies


def test_a_picture_of_a_submission_comes_from_its_folder_alone(root):
    assert score._radiograph(root, "images/000.dcm") is not None
    (root / "loop").symlink_to(root / "loop")
    to_outside(root)
    for name in (f"../{OUTSIDE}", str(root.parent / OUTSIDE), "loop", "a\0b"):
        assert score._radiograph(root, name) is None
    assert score._radiograph(root, "images/a.dcm") is None


FORMULAS = (
    "=1+1", " =1+1", "+1+1", "-1+1", "@SUM(1)", "\t=1", "\r=1", "  =1", "\n=1", "-",
    " -1.5e", "-1-1", "-.", "--1",
)  # fmt: skip


def test_a_formula_becomes_a_text_and_a_number_stays_one():
    (row,) = formulas.neutralize_rows([FORMULAS])
    assert row == [f"'{cell}" for cell in FORMULAS]
    numbers = (
        -1,
        -1.5,
        "-1",
        "-1.5",
        "-1.50",
        "-1e-05",
        "-.5",
        "3",
        "rib",
        "",
        "a=b",
        None,
    )
    assert [*formulas.neutralize_rows([numbers])] == [list(numbers)]


def starts(path: Path) -> set[str]:
    with path.open(newline="") as stream:
        cells = [cell for row in csv.reader(stream) for cell in row]
    numbers = {cell for cell in cells if cell.removeprefix("-").isdecimal()}
    return {cell[:1] for cell in cells if cell not in numbers}


def test_no_table_of_a_build_has_a_formula(tmp_path):
    """Of a registry whose every text is one, the name of the finding too."""
    root = registry_files.registry(tmp_path / "registry")
    with (root / "studies.csv").open(newline="") as stream:
        rows = list(csv.reader(stream))
    for row in rows[1:]:
        row[1] = f"=cmd|'{row[1]}'!A0"
    rows[0][rows[0].index("rib")] = "-rib"
    (root / "images/003.dcm").write_bytes(b"=1+1" * 99)
    registry_files.table(root / "studies.csv", rows)
    (root / "regions.csv").write_text(
        (root / "regions.csv").read_text().replace("rib", "-rib")
    )
    path = datasets.build(
        root, tmp_path, findings=("-rib",), side=32, workers=1, max_bad_share=0.1
    )
    tables = sorted(path.glob("*.csv"))
    assert [t.name for t in tables] == ["audit.csv", "parts.csv", "quarantine.csv"]
    for table in tables:
        assert not starts(table) & set("=+-@\t\r")
    assert "'-rib" in (path / ledger.AUDIT_FILE).read_text()
    assert len(folds.read_parts(path / ledger.PARTS_FILE)) == 12


def test_no_table_of_a_converter_has_a_formula(tmp_path):
    labels = {"rib": 1}
    study = conversion.StudyRow(image="a.png", patient="=1+1", labels=labels, view="@x")
    made = conversion.Conversion(
        findings=("rib",),
        studies=(study,),
        regions=(conversion.RegionRow("a.png", "rib", (-1.5, 0, 2, 3)),),
        notes={},
    )
    conversion.write(made, tmp_path)
    assert not starts(tmp_path / "studies.csv") & set("=+-@\t\r")
    assert "-1.50" in (tmp_path / "regions.csv").read_text()


def test_folders_that_we_make_are_the_owners_and_others_keep_their_rights(
    root, tmp_path
):
    before = os.umask(0o022)
    try:
        claim(base.get_config("clavicle"), "0" * 64, tmp_path / "run")
        (tmp_path / "shared").mkdir()
        (tmp_path / "shared").chmod(0o750)
        claim(base.get_config("clavicle"), "0" * 64, tmp_path / "shared")
        with staging.lock(tmp_path / "data/cxr_registry"):
            pass
    finally:
        os.umask(before)
    modes = {
        name: (tmp_path / name).stat().st_mode & 0o777
        for name in ("run", "shared", "data/cxr_registry")
    }
    assert modes == {"run": 0o700, "shared": 0o750, "data/cxr_registry": 0o700}
