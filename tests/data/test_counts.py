"""Laws of the number of lesions: from a cell of the record to a batch of training."""

import csv
import hashlib
import itertools
import json

import numpy as np
import pytest
import tensorflow_datasets as tfds

from aals_jax.input import audit, augment, pipeline, views
from aals_jax.input.dataset import Dataset, split_streams
from data.cxr_registry.build import builds, encode, ledger, versions
from data.cxr_registry.guard import checks
from data.cxr_registry.labels import report_text
from data.cxr_registry.tables import records
from data.cxr_registry.tables.cells import MOST_LESIONS
from tests.support import datasets, registry_files
from tests.support.registry_files import (
    REGIONS_HEAD,
    STUDIES_HEAD,
    film,
    registry,
    table,
    write,
)

OFF = augment.Ranges(0.0, (1.0, 1.0), 0.0, False, 0.0, 0.0, 0.0)


def one_image(root, cells, *, boxes=0):
    """A registry of one image with these cells, and boxes of its rib."""
    lines = [("a.dcm", "rib", 1 + n, 2, 30, 40) for n in range(boxes)]
    regions = [REGIONS_HEAD, *lines]
    registry_files.one_image(root, cells, cells.values(), regions=regions)


def read(root, **options):
    """Label, evidence and count of the only image."""
    options.setdefault("findings", ["rib"])
    (study,) = records.read_registry(root, **options).studies
    return study.labels["rib"], study.evidence["rib"], study.counts["rib"]


@pytest.mark.parametrize(
    ("cells", "expected"),
    [
        ({"rib": 1, "rib_count": 2}, (1, "column", 2)),
        ({"rib": 1, "rib_count": "2.0"}, (1, "column", 2)),  # as a spreadsheet writes
        ({"rib": 1, "rib_count": MOST_LESIONS}, (1, "column", MOST_LESIONS)),
        ({"rib": 1, "rib_count": ""}, (1, "column", -1)),
        ({"rib": 1}, (1, "column", -1)),
        ({"rib": 0, "rib_count": 0}, (0, "column", 0)),
        ({"diagnosis_codes": "S22.41XA", "rib_count": 3}, (1, "codes", 3)),
        # where nothing else states it, the number does
        ({"diagnosis_codes": "J18.9", "rib_count": 0}, (0, "count: 0", 0)),
        ({"rib_count": 2}, (1, "count: 2", 2)),
        ({"rib_count": 0}, (0, "count: 0", 0)),
        ({"rib": "", "rib_count": 1}, (1, "count: 1", 1)),
        ({"rib_count": ""}, (-1, "nothing", -1)),
        # what is silent or in doubt is outweighed
        ({"diagnosis_codes": "", "rib_count": 2}, (1, "count: 2", 2)),
        ({"diagnosis_codes": "S22.9XXA", "rib_count": 2}, (1, "count: 2", 2)),
        ({"diagnosis_codes": "S22.41XD", "rib_count": 0}, (0, "count: 0", 0)),
        # a column decides over the codes, and the number agrees with it
        ({"rib": 1, "diagnosis_codes": "J18.9", "rib_count": 2}, (1, "column", 2)),
    ],
)
def test_a_number_goes_with_its_label(tmp_path, cells, expected):
    one_image(tmp_path, cells)
    label, evidence, count = read(tmp_path)
    assert (label, count) == (expected[0], expected[2])
    assert evidence.startswith(expected[1])


@pytest.mark.parametrize(
    ("cells", "against", "left"),
    [
        ({"rib": 0, "rib_count": 2}, "column rib", (0, "column", -1)),
        ({"rib": 1, "rib_count": 0}, "column rib", (1, "column", -1)),
        (
            {"diagnosis_codes": "J18.9", "rib_count": 2},
            "other codes",
            (0, "codes: no code of the finding", -1),
        ),
        (
            {"diagnosis_codes": "807.02", "rib_count": 0},
            "codes",
            (1, "codes: 80702 (unspecified)", -1),
        ),
    ],
)
def test_a_number_against_its_label_is_told_and_may_count_as_empty(
    tmp_path, cells, against, left
):
    one_image(tmp_path, cells)
    with pytest.raises(checks.RegistryError) as caught:
        read(tmp_path)
    (problem,) = caught.value.problems
    assert (problem.row, problem.check) == (2, "bad_value")
    assert f"against the record's {against};" in problem.text
    assert problem.text.startswith("rib_count ")
    assert read(tmp_path, allow=["bad_value"]) == left


@pytest.mark.parametrize(
    "cell", ["-1", "1.5", "two CANARY", "101", "2019", "1e1", "\uff12", "0x2", "1 2"]
)
def test_what_is_no_number_of_lesions_is_told_without_the_cell(tmp_path, cell):
    one_image(tmp_path, {"rib": 1, "rib_count": cell})
    with pytest.raises(checks.RegistryError) as caught:
        read(tmp_path)
    (problem,) = caught.value.problems
    assert problem.check == "bad_value" and cell not in str(problem)
    assert problem.text == "rib_count must be a whole number from 0 to 100, or empty"
    assert read(tmp_path, allow=["bad_value"]) == (1, "column", -1)


def test_all_bad_numbers_come_at_once_beside_other_faults(tmp_path):
    rows = []
    given = [(1, "x", "F"), (0, 3, "F"), (1, 2, "?"), (1, 0, "F"), (2, -1, "F")]
    for n, cells in enumerate(given):
        write(tmp_path / f"{n}.dcm", film(n))
        rows.append((f"{n}.dcm", n, "", *cells))
    table(tmp_path / "studies.csv", [(*STUDIES_HEAD, "rib", "rib_count", "sex"), *rows])
    with pytest.raises(checks.RegistryError) as caught:
        read(tmp_path)
    told = [(p.row, p.text.split()[0]) for p in caught.value.problems]
    assert sorted(told) == [
        (2, "rib_count"),
        (3, "rib_count"),
        (4, "sex"),
        (5, "rib_count"),
        (6, "rib"),
        (6, "rib_count"),
    ]


def test_a_box_where_the_record_counts_none_is_a_box_on_a_negative(tmp_path):
    one_image(tmp_path, {"rib_count": 0}, boxes=1)
    with pytest.raises(checks.RegistryError, match="box_on_negative"):
        read(tmp_path)
    label, evidence, count = read(tmp_path, allow=["box_on_negative"])
    assert (label, evidence) == (1, "region, against count: 0")
    assert count == -1  # not 0 lesions on a positive image


def test_codes_and_a_report_that_disagree_stay_unknown(tmp_path):
    cells = {"diagnosis_codes": "S22.41XA", "report": "No rib fracture."}
    reports = report_text.ReportOptions(read="always")
    options = {"options": records.ReadingOptions(reports=reports)}
    one_image(tmp_path, {**cells, "rib_count": 2})
    assert read(tmp_path, **options)[0] == -1
    one_image(tmp_path, {**cells, "rib": 1, "rib_count": 2})
    assert read(tmp_path, **options) == (1, "column", 2)


def test_a_column_of_numbers_is_neither_a_finding_nor_a_site(tmp_path):
    cells = {"diagnosis_codes": "S22.41XA", "rib_count": 1, "nodule_count": 1}
    one_image(tmp_path, cells)
    found = records.scan_registry(
        tmp_path,
        findings=None,
        problems=checks.Problems(),
        options=records.ReadingOptions(),
    )
    assert found.findings == ("rib", "clavicle")
    assert found.studies[0].counts == {"rib": 1, "clavicle": -1}
    assert "rib_count" in found.missing and "column 6" in found.missing
    table(
        tmp_path / "regions.csv", [REGIONS_HEAD, ("a.dcm", "rib_count", 1, 2, 30, 40)]
    )
    with pytest.raises(checks.RegistryError, match="unknown_site"):
        read(tmp_path)
    (tmp_path / "regions.csv").unlink()
    with pytest.raises(checks.RegistryError, match="rename the column"):
        records.read_registry(tmp_path, findings=["nodule_count"])


def counted(root, *, images=40):
    """A registry whose positives without a box say 1 + (index mod 3) in rib_count.

    One of them leaves it empty; two with a box say what the box says, and otherwise.
    """
    registry(root, images=images)
    with (root / "studies.csv").open() as stream:
        head, *lines = csv.reader(stream)
    number: dict[int, str] = {n: str(1 + n % 3) for n in range(2, images, 4)}
    number |= {2: "", 4: "1", 8: "5", 1: "0"}
    rows = [[*line, number.get(n, "")] for n, line in enumerate(lines)]
    table(root / "studies.csv", [[*head, "rib_count"], *rows])
    return {n + 2: int(text) for n, text in number.items() if text}


def test_from_the_table_to_the_batch(tmp_path):
    """What P says in training: the record's number, else that of withheld boxes."""
    stated = counted(tmp_path / "registry")
    path = datasets.build(tmp_path / "registry", tmp_path)
    builder = tfds.builder_from_directory(str(path))
    assert str(builder.version) == versions.FEATURES
    row_of = {}
    for split in builder.info.splits:
        for position, record in enumerate(builder.as_data_source(split=split)):
            row_of[split, position] = row = int(record["row"])
            assert int(record["lesion_counts"]["rib"]) == stated.get(row, -1)
    dataset = Dataset(path, "rib")
    every = dataset.table
    streams = split_streams(every, region_images=2, seed=0)
    tables = {name: every.select(rows) for name, rows in vars(streams).items()}
    weak = tables["image_level"]
    expected = [
        stated.get(row_of[split, position], 1 if boxed else -1)
        for split, position, boxed in zip(
            weak.split, weak.position, weak.boxed, strict=True
        )
    ]
    assert {-1, 1, 2, 3, 5} >= {*expected} >= {-1, 1, 2, 3}
    batches = pipeline.batches(
        dataset,
        tables,
        {"region": 1, "negative": 1, "image_level": 6},
        seed=(0, 2),
        ranges=OFF,
        makers=views.makers(views.Extras()),
    )
    seen = {}
    for batch in itertools.islice(batches, len(weak)):
        found = zip(batch.weak.row.tolist(), batch.weak.lesions.tolist(), strict=True)
        seen |= dict(found)
    assert seen == dict(enumerate(expected))


def test_build_and_audit_count_the_positives_that_say_a_number(tmp_path):
    root = tmp_path / "registry"
    stated = counted(root)
    positives = {row: n for row, n in stated.items() if n}
    path = datasets.build(root, tmp_path)
    facts = builds.describe(path)
    assert facts["counts"]["rib"]["with_count"] == len(positives) == 11
    assert "| 11 |" in (path / ledger.CARD_FILE).read_text()
    with (path / ledger.AUDIT_FILE).open() as stream:
        lines = {int(line["row"]): line["count"] for line in csv.DictReader(stream)}
    assert {row: int(n) for row, n in lines.items() if n} == stated
    request = audit.AuditOptions(registry=root, out=tmp_path / "out", pixels=False)
    assert audit.audit(request)
    found = json.loads((tmp_path / "out/audit.json").read_text())["counts"]["rib"]
    assert found["positives"] == 20 and found["stated"] == 11
    assert found["lesions"] == {"1": 4, "2": 3, "3": 3, "5": 1}
    assert found["rows_of_other_boxes"] == [10]
    page = (tmp_path / "out/audit.html").read_text()
    assert "another number of boxes than the record says; first rows: 10." in page


def test_numbers_belong_to_the_hash_of_the_data_and_their_absence_does_not():
    example = {
        "image": b"png",
        "labels": {"rib": 1},
        "lesion_counts": {"rib": -1},
        "objects": [{"site": "rib", "bbox": np.float32([0, 0, 1, 1])}],
    }
    before = {
        "image": hashlib.sha256(b"png").hexdigest(),
        "labels": {"rib": 1},
        "objects": [["rib", [0.0, 0.0, 1.0, 1.0]]],
        "split": "part_0",
    }
    text = json.dumps(before, sort_keys=True).encode()
    assert encode.digest(example, "part_0") == hashlib.sha256(text).hexdigest()
    digests = {
        encode.digest({**example, "lesion_counts": {"rib": n}}, "part_0")
        for n in (-1, 0, 1, 2)
    }
    assert len(digests) == 4


def test_a_dataset_of_earlier_features_is_not_found_and_is_built_again(tmp_path):
    counted(tmp_path / "registry", images=24)
    path = datasets.build(tmp_path / "registry", tmp_path)
    number = builds.describe(path)["data_hash"]
    assert builds.find(tmp_path / "data", number) == path
    old = path.with_name("1.0.0")
    path.rename(old)
    with pytest.raises(FileNotFoundError, match=r"and version 1\.1\.0 .* again"):
        builds.find(tmp_path / "data", number)
