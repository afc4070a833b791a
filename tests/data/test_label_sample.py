"""Laws of the sample of labels: who is drawn, what the sheet holds, what comes back."""

import collections
import csv
import re

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from data.cxr_registry.guard import checks
from data.cxr_registry.survey import label_sample, label_sheet
from data.cxr_registry.survey.label_sample import Stratum
from data.cxr_registry.tables import records
from tests.support.registry_files import STUDIES_HEAD, table

FINDINGS = ("rib", "clavicle")
CODES = ("S22.41XA", *["J18.9"] * 8, "", "", "S22.9XXA", "S42.021A", "S22.41XD")


def scan(root, findings=FINDINGS):
    return records.scan_registry(
        root,
        findings=findings,
        problems=checks.Problems(),
        options=records.ReadingOptions(),
    )


def write_registry(root, rows=420):
    """Labels of codes in very unequal numbers, and four of a column of its own."""
    lines = [(*STUDIES_HEAD, "diagnosis_codes", "report", "rib")]
    for number in range(rows):
        name = f"CANARY-{number}.png"
        root.mkdir(exist_ok=True)
        (root / name).touch()
        code = CODES[number % len(CODES)]
        lines.append(
            (
                name,
                f"p{number}",
                "2020-01-01",
                code,
                "=CANARY, ü\n2",
                "1" * (number < 4),
            )
        )
    table(root / "studies.csv", lines)
    return root


@pytest.fixture(scope="module")
def registry(tmp_path_factory):
    return scan(write_registry(tmp_path_factory.mktemp("hospital") / "registry"))


sizes_of_strata = st.dictionaries(
    st.builds(
        Stratum, st.just("rib"), st.sampled_from([1, 0, -1]), st.sampled_from("abcde")
    ),
    st.integers(1, 40_000),
    min_size=1,
)


@given(sizes_of_strata, st.integers(0, 80))
def test_each_stratum_is_in_a_sample_and_a_larger_sample_takes_none_away(sizes, more):
    number = 2 * len(sizes) + more
    drawn, larger = (label_sample.allocate(sizes, n) for n in (number, number + 1))
    assert sum(drawn.values()) == min(number, sum(sizes.values()))
    for stratum, size in sizes.items():
        assert min(label_sample.LEAST, size) <= drawn[stratum] <= size
        assert drawn[stratum] <= larger[stratum]


def test_labels_have_their_shares_and_rare_ones_are_seen_as_often_as_common_ones():
    sizes = {
        Stratum("rib", 1, "codes"): 3_000,
        Stratum("rib", 0, "other codes"): 60_000,
    }
    sizes[Stratum("rib", -1, "codes")] = 900
    assert list(label_sample.allocate(sizes, 200).values()) == [80, 80, 40]
    # by the square root of the size within a label
    sizes[Stratum("rib", 1, "report")] = 12_000
    assert list(label_sample.allocate(sizes, 200).values()) == [27, 80, 40, 53]
    # what a small stratum can't give goes to the others
    sizes[Stratum("rib", -1, "codes")] = 5
    assert list(label_sample.allocate(sizes, 200).values()) == [
        33,
        97,
        5,
        65,
    ]  # of 32.5, 97.5, 5, 65


def test_a_seed_gives_one_sample_and_a_larger_one_contains_it(registry):
    sample = label_sample.draw(registry, number=60, seed=3)
    assert sample == label_sample.draw(registry, number=60, seed=3)
    keys = {one.key for one in sample.rows}
    assert len(keys) == len(sample.rows) == 60
    assert collections.Counter(finding for finding, _ in keys) == {
        "rib": 30,
        "clavicle": 30,
    }
    larger = {one.key for one in label_sample.draw(registry, number=90, seed=3).rows}
    assert keys < larger
    other = label_sample.draw(registry, number=60, seed=4)
    assert keys != {one.key for one in other.rows} and sample.name != other.name


def test_weights_give_back_the_registry_and_each_image_is_as_likely(registry):
    times: collections.Counter[int] = collections.Counter()
    stratum = Stratum("rib", 0, "other codes")
    for seed in range(100):
        sample = label_sample.draw(registry, number=60, seed=seed)
        stands_for = collections.Counter()
        for one in sample.rows:
            stands_for[one.stratum] += sample.weight(one.stratum)
        assert stands_for == pytest.approx(sample.images)
        times.update(one.row for one in sample.rows if one.stratum == stratum)
    rows = label_sample.strata(registry)[stratum]
    assert {s.label for s in sample.images} == {1, 0, -1}
    expected = sum(times.values()) / len(rows)
    counts = np.array([times[row] for row in rows])
    # chi-square over its degrees of freedom is 1 for a fair draw, +- 0.1 here
    assert np.sum((counts - expected) ** 2) / expected / len(rows) < 1.3


def test_a_sheet_is_in_random_order_so_that_a_part_of_it_is_a_sample(registry):
    """The first half has its share of each label, whatever the seed."""
    early = collections.Counter()
    for seed in range(60):
        rows = label_sample.draw(registry, number=60, seed=seed).rows
        early.update(one.stratum.label for one in rows[:30])
        early.update((one.stratum.label, "all") for one in rows)
    for label in (1, 0, -1):
        assert 0.44 < early[label] / early[label, "all"] < 0.56


def test_too_small_a_sample_is_refused_with_the_least_number(registry):
    with pytest.raises(ValueError, match="ask for at least") as caught:
        label_sample.draw(registry, number=8, seed=0)
    (least,) = re.findall(r"at least (\d+)", str(caught.value))
    label_sample.draw(registry, number=int(least), seed=0)


# ---- the sheet


def hand_out(registry, folder, number=60):
    sample = label_sample.draw(registry, number=number, seed=0)
    shown = {one.row: {"report": "=CANARY, ü\n2"} for one in sample.rows}
    path = label_sheet.write(folder, sample, registry, shown=shown)
    return sample, path


def lines_of(path):
    with path.open(encoding="utf-8-sig", newline="") as stream:
        return list(csv.DictReader(stream))


def fill(path, lines):
    table(path, [list(lines[0]), *(list(line.values()) for line in lines)])
    return path


def take_back(path, registry):
    problems = checks.Problems(error=label_sheet.SheetError)
    sheet = label_sheet.read(path, problems)
    sample = label_sheet.redraw(sheet, registry, problems)
    problems.raise_if_any()
    return sheet, sample


def test_the_sheet_hides_labels_is_private_and_the_draw_names_nobody(
    registry, tmp_path
):
    sample, path = hand_out(registry, tmp_path)
    lines = lines_of(path)
    assert list(lines[0]) == [
        "code", "row", "image", "finding", "answer", "remark", "report", "sample",
        "confidential",
    ]  # fmt: skip
    assert {line["report"] for line in lines} == {"'=CANARY, ü\n2"}
    assert {line["confidential"] for line in lines} == {label_sheet.WARNING}
    assert path.stat().st_mode & 0o777 == 0o600
    # nothing in it tells one stratum from another
    assert "S22" not in path.read_text() and "codes" not in path.read_text()
    draw = tmp_path / label_sheet.DRAW
    assert "CANARY" not in draw.read_text()
    for one, line, how in zip(sample.rows, lines, lines_of(draw), strict=True):
        assert (line["code"], line["row"]) == (how["code"], how["row"])
        assert int(line["row"]) == one.row
        assert line["image"] == f"CANARY-{one.row - 2}.png"
        images, drawn = sample.images[one.stratum], sample.drawn[one.stratum]
        assert how["evidence"] == one.stratum.basis
        assert float(how["weight"]) == pytest.approx(images / drawn, rel=1e-5)


def test_a_filled_sheet_is_never_overwritten(registry, tmp_path):
    _, path = hand_out(registry, tmp_path)
    hand_out(registry, tmp_path)  # the same sheet, still empty
    lines = lines_of(path)
    lines[0]["answer"] = "1"
    kept = fill(path, lines).read_bytes()
    with pytest.raises(FileExistsError, match="may be filled in"):
        hand_out(registry, tmp_path)
    assert path.read_bytes() == kept


@pytest.mark.parametrize("suffix", [".csv", ".xlsx"])
def test_answers_come_back_in_any_order_and_words(registry, tmp_path, suffix):
    _, path = hand_out(registry, tmp_path)
    lines = lines_of(path)[::-1]
    words = ["1", "Yes", "positive", "0", "no", "0.0", "?", "-1", "unsure", ""]
    right = [1, 1, 1, 0, 0, 0, -1, -1, -1, None]
    for line, word in zip(lines, words * 6, strict=True):
        line["answer"], line["remark"] = word, "=1+1"
    kept = lines[:-5]  # the last ones are cut off
    path = tmp_path / f"back{suffix}"
    if suffix == ".xlsx":
        openpyxl = pytest.importorskip("openpyxl")
        book = openpyxl.Workbook()
        for cells in [list(kept[0]), *(list(line.values()) for line in kept)]:
            book.active.append([int(c) if c.isdigit() else f"{c}" for c in cells])
            for cell in book.active[book.active.max_row]:
                cell.data_type = "s" if cell.data_type == "f" else cell.data_type
        book.save(path)
    else:
        fill(path, kept)
    sheet, sample = take_back(path, registry)
    assert sample == label_sample.draw(registry, number=60, seed=0)
    expected = {
        (line["finding"], int(line["row"])): answer
        for line, answer in zip(kept, right * 6, strict=False)
    }
    assert sheet.answers == {k: a for k, a in expected.items() if a is not None}
    assert sheet.empty == {k for k, a in expected.items() if a is None}


def test_all_faults_of_a_sheet_are_told_at_once_by_row(registry, tmp_path):
    sample, path = hand_out(registry, tmp_path)
    lines = lines_of(path)
    for line in lines:
        line["answer"] = "1"
    lines[1]["answer"] = "CANARY perhaps"
    lines[2]["row"] = str(int(lines[2]["row"]) + 1)
    lines[3]["finding"] = "clavicle" if lines[3]["finding"] == "rib" else "rib"
    lines[4]["code"] = "CANARYab"
    lines[5]["sample"] = "n60s1-bbbbbbbb"
    lines[6]["row"] = "CANARY"
    lines.append(dict(lines[7]))
    unknown = next(row for row in range(2, 400) if ("rib", row) not in
                   {one.key for one in sample.rows})  # fmt: skip
    code = sample.code(unknown, "rib")  # as another sheet of this sample would have
    lines.append({**lines[8], "row": unknown, "finding": "rib", "code": code})
    with pytest.raises(label_sheet.SheetError) as caught:
        take_back(fill(tmp_path / "back.csv", lines), registry)
    told = str(caught.value)
    assert "8 fault(s)" in told and "CANARY" not in told
    assert re.findall(r"back.csv row (\d+): (.{14})", told) == [
        ("3", "its answer mus"),
        *((str(row), "its code, row,") for row in range(4, 9)),
        ("62", "the same row a"),
        ("63", "is not of the "),
    ]


def test_a_sheet_of_another_registry_or_without_answers_is_refused(registry, tmp_path):
    _, path = hand_out(registry, tmp_path / "sheet")
    with pytest.raises(label_sheet.SheetError, match="has no answer"):
        take_back(path, registry)
    lines = lines_of(path)
    for line in lines:
        line["answer"] = "1"
    fill(path, lines)
    take_back(path, registry)
    for number, (old, new) in enumerate(
        [("CANARY-9.png", "CANARY-10.png"), ("S22.9XXA", "S22.41XA")]
    ):
        root = write_registry(tmp_path / f"other-{number}")
        text = (root / "studies.csv").read_text()
        swapped = text.replace(old, "*").replace(new, old).replace("*", new)
        (root / "studies.csv").write_text(swapped)
        with pytest.raises(label_sheet.SheetError, match="are not those that"):
            take_back(path, scan(root))
    for line in lines:
        del line["code"]
    with pytest.raises(label_sheet.SheetError, match="lacks code; send back"):
        take_back(fill(path, lines), registry)
    with pytest.raises(FileNotFoundError, match="no such file"):
        take_back(tmp_path / "gone.csv", registry)
