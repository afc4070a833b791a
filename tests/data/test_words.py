"""Each reader of labels takes the words it always took, and no other's."""

import pytest

from data.cxr_registry.guard import checks
from data.cxr_registry.labels.words import Reader, accepted
from data.cxr_registry.survey import label_sample, label_sheet
from data.cxr_registry.tables import columns, formats, own_labels, records
from tests.support.registry_files import one_image, table

# word -> what the column, the own table and the sheet take it for; None: refused
MEANT = {
    "1": (1, 1, 1),
    "1.0": (1, 1, 1),
    "0": (0, 0, 0),
    "0.0": (0, 0, 0),
    "-1": (None, -1, -1),
    "-1.0": (None, -1, -1),
    "positive": (None, 1, 1),
    "Negative": (None, 0, 0),
    "UNKNOWN": (None, -1, -1),
    "yes": (None, None, 1),
    "Y": (None, None, 1),
    "No": (None, None, 0),
    "n": (None, None, 0),
    "?": (None, None, -1),
    "unsure": (None, None, -1),
    "Unclear": (None, None, -1),
    "true": (None, None, None),
    "false": (None, None, None),
    "ja": (None, None, None),
    "2": (None, None, None),
    "01": (None, None, None),
    "nan": (None, None, None),
}
WORDS = list(MEANT.items())


def test_every_word_of_the_table_is_tried():
    words = {word for reader in Reader for word in accepted(reader)}
    assert words <= {word.lower() for word in MEANT}


@pytest.mark.parametrize(("word", "meant"), WORDS)
def test_a_column_takes_numbers_alone(tmp_path, word, meant):
    one_image(tmp_path, ["rib"], [word])
    problems = checks.Problems()
    found = records.scan_registry(
        tmp_path, findings=["rib"], problems=problems, options=records.ReadingOptions()
    )
    label = found.studies[0].labels["rib"]
    assert label == (-1 if meant[0] is None else meant[0])
    refused = [(p.row, p.check) for p in problems.standing]
    assert refused == ([(2, "bad_value")] if meant[0] is None else [])
    assert bool(found.unclear) == (meant[0] is None)


@pytest.mark.parametrize(("word", "meant"), WORDS)
def test_a_table_of_own_labels_takes_names_too(tmp_path, word, meant):
    path = tmp_path / "own.csv"
    table(path, [own_labels.COLUMNS, ("a.dcm", "rib", word)])
    problems = checks.Problems()
    labels = own_labels.OwnLabels(path, problems).of_images(
        ["a.dcm"], ["rib"], problems
    )
    expected = {} if meant[1] is None else {("a.dcm", "rib"): (meant[1], 2)}
    assert labels == expected and bool(problems.standing) == (meant[1] is None)


@pytest.mark.parametrize(("word", "meant"), WORDS)
def test_a_sheet_takes_what_a_person_writes(tmp_path, word, meant):
    path, sample = tmp_path / "sheet.csv", "n1s0-abcdefgh"
    code = label_sample.code(sample, row=2, finding="rib")
    table(path, [label_sheet.NEEDED, (code, 2, "rib", word, sample)])
    problems = checks.Problems()
    answers = label_sheet.read(path, problems).answers
    assert answers == ({} if meant[2] is None else {("rib", 2): meant[2]})
    assert bool(problems.standing) == (meant[2] is None)


@pytest.mark.parametrize(
    ("cells", "is_finding"),
    [
        (["1", "0", "", "1.0"], True),
        (["yes", "no", "no", ""], False),  # a smoker is no finding
        (["positive", "negative", "1", ""], False),
        (["-1", "-1", "1", ""], False),
        (["1", "0", "2"], True),
        ([""], False),
    ],
)
def test_a_column_is_a_finding_by_its_numbers(cells, is_finding):
    rows = [{"image": "a", "smoker": cell} for cell in cells]
    found = formats.Table("studies.csv", ("image", "smoker"), rows)
    reports = records.ReadingOptions().reports
    assert (columns.findings_of(found, reports) == ("smoker",)) == is_finding
