"""Laws of labels that a person judged: from the sheet to audit.json and the page."""

import csv
import json
import re
from pathlib import Path

import pytest

from aals_jax.input import audit
from data.cxr_registry.labels import report_text
from data.cxr_registry.survey import label_sheet
from data.cxr_registry.tables import records
from tests.support.command_line import launch
from tests.support.registry_files import STUDIES_HEAD, table

FRACTURE, OTHER, VAGUE = "S22.41XA", "J18.9", "S22.9XXA"
# cell of codes, whether the film shows a fracture, images: what a person would find
FILMS = [
    (FRACTURE, True, 30), (FRACTURE, False, 10), (OTHER, True, 4), (OTHER, False, 96),
    ("", True, 2), ("", False, 8), (VAGUE, True, 6), (VAGUE, False, 14),
]  # fmt: skip


def write_registry(root: Path) -> dict[int, bool]:
    """Whether the film of each row has a fracture; every cell may name a patient."""
    lines = [(*STUDIES_HEAD, "diagnosis_codes", "report")]
    truth = {}
    for codes, broken, number in FILMS:
        for _ in range(number):
            name = f"CANARY-{len(lines)}.png"
            root.mkdir(exist_ok=True)
            (root / name).touch()
            truth[len(lines) + 1] = broken
            lines.append((name, f"p{len(lines)}", "2020-01-01", codes, "CANARY text"))
    table(root / "studies.csv", lines)
    return truth


def run(root: Path, out: Path, **options) -> dict:
    options = {"findings": ("rib",), "pixels": False, **options}
    assert audit.audit(audit.AuditOptions(registry=root, out=out, **options))
    return json.loads((out / "audit.json").read_text())


def judge(sheet: Path, answer) -> Path:
    """The sheet with answer(row) on each line, as a new file."""
    with sheet.open(encoding="utf-8-sig", newline="") as stream:
        lines = list(csv.DictReader(stream))
    for line in lines:
        line["answer"] = answer(int(line["row"]))
    filled = sheet.with_name("filled.csv")
    table(filled, [list(lines[0]), *(list(line.values()) for line in lines)])
    return filled


def test_a_registry_judged_whole_has_the_shares_that_are_counted(tmp_path):
    root, out = tmp_path / "registry", tmp_path / "out"
    truth = write_registry(root)
    found = run(root, out, sample=5_000)
    assert found["sample"]["labels"] == len(truth) == 170
    assert {one["weight"] for one in found["sample"]["drawn"]} == {1}
    filled = judge(out / label_sheet.SHEET, lambda row: "01"[truth[row]])
    sampled = run(root, out, sampled=filled)["sampled"]
    rib = sampled["findings"]["rib"]
    assert (sampled["answered"], sampled["empty"], sampled["absent"]) == (170, 0, 0)
    right = {
        (label, kind): entry["value"]
        for label, entries in rib["labels"].items()
        for kind, entry in entries.items()
    }
    assert right == pytest.approx(
        {
            ("1", "precision"): 30 / 40,
            ("1", "recall"): 30 / 42,
            ("0", "precision"): 104 / 110,
            ("0", "recall"): 104 / 128,
        }
    )
    confusion = {(c["label"], c["answer"]): c for c in rib["confusion"]}
    counts = {key: cell["images"]["value"] for key, cell in confusion.items()}
    assert counts == pytest.approx(
        {(1, 1): 30, (1, 0): 10, (1, -1): 0, (0, 1): 6, (0, 0): 104, (0, -1): 0}
        | {(-1, 1): 6, (-1, 0): 14, (-1, -1): 0}
    )
    kinds = {(one["label"], one["evidence"]): one for one in rib["evidence"]}
    assert [*kinds] == [
        (1, "codes"), (0, "other codes"), (0, "silence of codes"), (-1, "codes"),
    ]  # fmt: skip
    silence = kinds[0, "silence of codes"]
    assert silence["precision"]["value"] == 0.8
    assert silence["recall"]["value"] == pytest.approx(8 / 128)
    assert silence["answers"] == {"1": 2, "0": 8, "-1": 0}
    assert silence["wrong_rows"] == [142, 143]
    assert len(kinds[1, "codes"]["wrong_rows"]) == 10
    assert "precision" not in kinds[-1, "codes"]


def test_what_is_not_judged_is_counted_and_what_can_not_be_told_is_no_answer(tmp_path):
    root, out = tmp_path / "registry", tmp_path / "out"
    truth = write_registry(root)
    run(root, out, sample=60)
    rows = iter(range(60))

    def answer(row: int) -> str:
        place = next(rows)
        return "" if place < 5 else "?" if place < 12 else "01"[truth[row]]

    filled = judge(out / label_sheet.SHEET, answer)
    filled.write_text("".join(filled.read_text().splitlines(keepends=True)[:-3]))
    found = run(root, out, sampled=filled)
    sampled = found["sampled"]
    assert (sampled["answered"], sampled["empty"], sampled["absent"]) == (52, 5, 3)
    rib = sampled["findings"]["rib"]
    assert sum(cell["judged"] for cell in rib["confusion"]) == 52
    unsure = [c["judged"] for c in rib["confusion"] if c["answer"] == -1]
    assert sum(unsure) == 7
    for label, kind, share in (
        ("1", "precision", 30 / 40), ("1", "recall", 30 / 42),
        ("0", "precision", 104 / 110), ("0", "recall", 104 / 128),
    ):  # fmt: skip
        entry = rib["labels"][label][kind]
        assert 0 <= entry["low"] < share < entry["high"] <= 1
    page = (out / "audit.html").read_text()
    assert "52 of 60\N{NO-BREAK SPACE}labels" in page
    assert "5\N{NO-BREAK SPACE}lines of the sheet are empty" in page


def test_each_kind_of_evidence_is_counted_with_ten_rows(tmp_path):
    root = tmp_path / "registry"
    write_registry(root)
    found = run(root, tmp_path / "out")
    cells = {(c["label"], c["evidence"]): c for c in found["evidence"]["rib"]}
    assert {key: cell["images"] for key, cell in cells.items()} == {
        (1, "codes"): 40,
        (0, "other codes"): 100,
        (0, "silence of codes"): 10,
        (-1, "codes"): 20,
    }
    assert cells[0, "silence of codes"]["examples"] == [*range(142, 152)]
    examples = cells[0, "other codes"]["examples"]
    assert (len(examples), examples[0], examples[-1]) == (10, 42, 141)
    assert found["sample"] is None and found["sampled"] is None


def test_doubts_of_reports_are_counted_by_the_rule_that_doubts(tmp_path):
    lines = [(*STUDIES_HEAD, "report")]
    for text in ("Old rib fracture.", "Cannot exclude rib fracture."):
        for _ in range(12):
            (tmp_path / f"{len(lines)}.png").touch()
            lines.append((f"{len(lines)}.png", f"p{len(lines)}", "2020-01-01", text))
    table(tmp_path / "studies.csv", lines)
    reading = records.ReadingOptions(reports=report_text.ReportOptions(read="always"))
    found = run(tmp_path, tmp_path.with_name("out"), reading=reading)
    doubts = found["unclear"]
    assert {reason: doubt["rows"] for reason, doubt in doubts.items()} == {
        "report: historical": 12,
        "report: uncertain": 12,
    }
    assert doubts["report: historical"]["examples"][0] == 2
    assert doubts["report: uncertain"]["examples"][-1] == 25
    assert len(doubts["report: uncertain"]["examples"]) == 10
    # and each stands on the page, with its rows, where a narrow screen can scroll
    page = (tmp_path.with_name("out") / "audit.html").read_text()
    unclear = page[page.index(">Unclear<") :]
    assert unclear[: unclear.index("<tr>")].count('<div class="wide"><table') == 1
    for kind, doubt in doubts.items():
        line = next(line for line in unclear.splitlines() if f">{kind}<" in line)
        cells = re.findall(r">([^<>]+)<", line)
        rows = ", ".join(map(str, doubt["examples"]))
        assert cells == [kind, str(doubt["rows"]), rows]


def test_the_command_hands_out_and_takes_back_and_names_nobody(tmp_path):
    root, out = tmp_path / "registry", tmp_path / "out"
    truth = write_registry(root)
    flags = ("--mode=audit", f"--registry={root}", "--findings=rib", "--nopixels")
    flags += ("--out=out", "--workers=0")
    told = launch(*flags, "--sample=40", cwd=tmp_path)
    assert told.returncode == 0, told.stderr
    assert "stays in the hospital" in told.stderr
    sheet = out / label_sheet.SHEET
    assert "CANARY text" in sheet.read_text()
    filled = judge(sheet, lambda row: "01"[truth[row]])
    told = launch(*flags, f"--sampled={filled}", cwd=tmp_path)
    assert told.returncode == 0, told.stderr
    assert "rib positive: precision 0." in told.stderr
    filled = judge(sheet, lambda row: "CANARY")
    wrong = launch(*flags, f"--sampled={filled}", cwd=tmp_path)
    assert wrong.returncode == 1
    assert "filled.csv row 41: its answer must be 1 (yes), 0" in wrong.stderr
    written = [p for p in out.iterdir() if p not in (sheet, filled)]
    assert {p.name for p in written} == {
        "audit.html",
        "audit.json",
        label_sheet.DRAW,
        ".owner",
    }
    for text in (told.stderr, wrong.stderr, *(p.read_text() for p in written)):
        assert "CANARY" not in text


def test_the_sheet_shows_the_columns_that_are_asked_for(tmp_path):
    root = tmp_path / "registry"
    write_registry(root)
    for columns, shown in (
        (None, ["report"]),
        ((), []),
        (("diagnosis_codes", "report"), ["diagnosis_codes", "report"]),
    ):
        out = tmp_path / f"out-{len(shown)}"
        run(root, out, sample=20, sample_columns=columns)
        head = (out / label_sheet.SHEET).read_text("utf-8-sig").splitlines()[0]
        assert head.split(",")[6:-2] == shown
    with pytest.raises(ValueError, match="1 of 2 are not columns") as caught:
        run(root, tmp_path / "out", sample=20, sample_columns=("report", "CANARY"))
    assert "CANARY" not in str(caught.value)
    with pytest.raises(ValueError, match="are not columns"):
        run(root, tmp_path / "out", sample=20, sample_columns=("image",))
