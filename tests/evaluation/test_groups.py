"""Patients are told apart by what names them, and nobody's name is a subgroup."""

import itertools

import pytest

from aals_jax.evaluation import groups, layouts
from tests.support.submission_files import NO_LESIONS, faults, read

MISSING = ("null", "NaN", "NA", "N/A", "None", "nan", "-", "", "#N/A", " ", "unknown")
MISSING += ("(null)", "--", "?", "NULL", "NaT", "not available", "tbd", "N.A", "nan.")
PATIENTS = (
    *("patient", "Patient", "PATIENT_ID", "PatientID", "patient id", "MRN", "subject"),
    *("subject_id", "case_id", "pid", "participant_id", "Patient-No", "patientUID"),
    *("anon_patient_id", "Medical Record Number", "PtID", "患者编号", "Patiënt"),
)


def table(column, cells, *, score=0.5):
    rows = [
        f'f{i},"{cell}",{int(i % 3 == 0)},{score + i / 100}'
        for i, cell in enumerate(cells)
    ]
    return "\n".join([f"image,{column},label,score", *rows]) + "\n"


@pytest.mark.parametrize("word", MISSING)
def test_a_missing_patient_is_nobody(tmp_path, word):
    cells = ["p0", word, "p0", word, word, "p1"]
    patient = read(tmp_path, images=table("patient", cells)).truth.patient.tolist()
    assert patient == [
        *("patient p0", "image f1", "patient p0", "image f3", "image f4", "patient p1")
    ]


def test_a_patient_and_an_image_of_one_name_are_two(tmp_path):
    images = "image,patient,label\n1,,1\n2,1,0\n3,1,0\n4,2,1\n"
    found = read(
        tmp_path, images=images, lesions=NO_LESIONS, detections="image,x,y,score\n"
    )
    assert len(set(found.truth.patient)) == 3


@pytest.mark.parametrize("column", PATIENTS)
def test_a_column_of_patients_is_known_by_many_names(tmp_path, column):
    cells = [f"MRN-88{i // 2}" for i in range(12)]
    found = read(tmp_path, images=table(column, cells))
    assert len(set(found.truth.patient)) == 6
    assert found.truth.groups == {} and found.left_out == ()
    assert layouts.is_patient(column)


def test_a_column_that_seems_to_name_patients_is_refused(tmp_path):
    for column in ("Patient Name", "the_patient", "patient_key_2", "Subject initials"):
        told = faults(tmp_path, images=table(column, "ababab"))
        assert "seems to name patients" in told[0] and column not in told[0]
    read(tmp_path, images=table("PatientSex", "FMFMFM"))
    read(tmp_path, images=table("outpatient", "010101"))
    # beside the patients it is an identifier like any other
    images = "image,patient,patient name,label,score\na,1,Doe,1,.5\nb,2,Roe,0,.4\n"
    found = read(tmp_path, images=images)
    assert found.left_out == ("patient name",)


@pytest.mark.parametrize("column", ["ID", "record_id", "StudyInstanceUID", "exam key"])
def test_identifiers_that_images_share_may_be_patients(tmp_path, column):
    cells = ["K1", "K2", "K3", "K4"] * 3
    (told,) = faults(tmp_path, images=table(column, cells))
    assert "seems to name patients, or studies of theirs" in told
    for harmless in (range(12), "ABC" * 4):  # of one image each; of four images each
        found = read(tmp_path, images=table(column, harmless))
        assert found.left_out == (column,) and len(set(found.truth.patient)) == 12
    dates = [f"2020-01-0{day}" for day in (1, 2, 3, 4)] * 3
    assert read(tmp_path, images=table("exam_date", dates)).left_out == ("exam_date",)


def test_two_columns_of_patients_are_refused_and_cases_give_way(tmp_path):
    images = "image,patient,MRN,label,score\na,1,2,1,.5\nb,1,2,0,.4\n"
    assert "2 columns may be the patient" in faults(tmp_path, images=images)[0]
    found = read(tmp_path, images=images.replace("MRN", "case_id"))
    assert len(set(found.truth.patient)) == 1 and found.left_out == ("case_id",)


def test_a_patient_in_two_spellings_is_refused(tmp_path):
    (told,) = faults(tmp_path, images=table("patient", ["012", "12"]))
    assert told.startswith("images.csv row 3: patient_id is that of row 2 in another")
    (told,) = faults(tmp_path, images=table("patient", ["P-3", "P3", "P-4", "Q-3"]))
    assert told.startswith("images.csv row 3: patient_id is that of row 2 in another")


NAMING = {
    "StudyInstanceUID": "1.2.840.{}",
    "accession": "A{}",
    "Exam": "E{}",
    "exam_date": "2021-03-0{}",
    "ExamDate": "d{}",
    "Name": "Doe{}",
    "referring physician": "Dr {}",
    "dob": "{}",
    "series number": "{}",
    "site_id": "{}",
    "when": "{} Mar",
    "who": "Doe, J{}",
    "code": "K{}77",
    "remark": "{}",
    "mail": "{}",
    "anything": "a{}@b.org",
    "path": "{}",
    "visit": "{}",
    "value": "{}000",
    "long": "a sentence of more than forty characters, {}",
    "site": "Dr. Anna Meier {}",
    "scanner": "MRN{}",
}


@pytest.mark.parametrize(("column", "cell"), NAMING.items())
def test_what_names_somebody_is_no_subgroup(tmp_path, column, cell):
    images = table(column, [cell.format(i % 3 + 1) for i in range(24)])
    found = read(tmp_path, images=images)
    assert found.truth.groups == {} and found.left_out == (column,)


def test_plain_columns_are_subgroups(tmp_path):
    cells = {
        "Site": "AB",
        "sex": "FM",
        "age_group": ["0-17", "18-64", "65+"],
        "view position": ["PA", "AP"],
        "hybrid": "01",
        "solid": "01",
        "steroid": "01",
        "birth_weight_group": ["low", "high"],
        "scanner": ["maker a 1.5", "maker b"],
    }
    header = ",".join(["image", "label", "score", *cells])
    rows = [
        ",".join([f"f{i},{i % 2},{i}", *(v[i % len(v)] for v in cells.values())])
        for i in range(24)
    ]
    found = read(tmp_path, images="\n".join([header, *rows]) + "\n")
    assert set(found.truth.groups) == set(cells) and found.left_out == ()


def test_a_missing_group_is_unknown_and_one_patients_value_is_other():
    columns = {"site": ["A", "A", "NA", "B", "-"]}
    patient = ["p", "q", "q", "r", "s"]
    found, left_out = groups.of_columns(columns, patient)
    assert found["site"].tolist() == ["A", "A", "", "other", ""] and not left_out


def test_many_values_for_few_images_are_left_out():
    for count, kept in ((3, True), (4, False)):
        column = list(itertools.islice(itertools.cycle("abcd"[:count]), 12))
        found, _ = groups.of_columns({"site": column}, [str(i) for i in range(12)])
        assert bool(found) == kept
    column = [chr(97 + i % 12) for i in range(60)]
    assert groups.of_columns({"site": column}, list(map(str, range(60))))[0]


@pytest.mark.parametrize("cell", ["unknown", "-1", "", "NA", "2", "maybe", "nan"])
def test_a_label_that_is_none_is_refused(tmp_path, cell):
    images = f"image,label,score\na,1,.5\nb,{cell},.4\n"
    (told,) = faults(tmp_path, images=images)
    assert told.startswith("images.csv row 3: label ")


@pytest.mark.parametrize(
    ("yes", "no"),
    [
        *(("yes", "No"), ("TRUE", "false"), ("1.0", "0.0"), ("Positive", "negative")),
        *(("y", "N"), ('"1,0"', '"0,0"')),
    ],
)
def test_labels_are_words_or_numbers(tmp_path, yes, no):
    images = f"image,label,score\na,{yes},.5\nb,{no},.4\n"
    assert read(tmp_path, images=images).truth.label.tolist() == [True, False]


@pytest.mark.parametrize(
    ("cell", "told"),
    [
        ("87%", "write 0.5, not 50%"),
        ('"0,87"', "write a decimal point"),
        ("", "must be a finite number"),
        ("NA", "must be a finite number"),
        ("1_000", "must be a finite number"),
        ("inf", "must be a finite number"),
    ],
)
def test_a_score_that_is_no_number_is_refused(tmp_path, cell, told):
    (text,) = faults(tmp_path, images=f"image,label,score\na,1,.5\nb,0,{cell}\n")
    assert text.startswith("images.csv row 3: score must be") and told in text


FOREIGN = (
    *("HospNo", "Acc No", "Kennung", "Fallnummer", "apellidos", "cognome", "Nachname"),
    *("nom", "prénom", "reported_by", "Arzt", "consultant", "ФИО", "氏名", "病案号"),
    *("Geburtsdatum", "fecha", "unit num"),
)


@pytest.mark.parametrize("column", FOREIGN)
def test_names_of_people_in_other_words_are_no_subgroups(tmp_path, column):
    rows = [f"f{i},Doe {i % 2},p{i},{i % 2},0.{i + 1}" for i in range(8)]
    images = "\n".join([f"image,{column},patient,label,score", *rows]) + "\n"
    found = read(tmp_path, images=images)
    assert found.left_out == (column,) and found.truth.groups == {}


def test_several_codes_are_no_subgroups_whatever_the_column_is_called():
    def columns(name, cells):
        return groups.of_columns({name: cells * 8}, [str(i) for i in range(8 * 5)])

    codes = ["A17", "A18", "B20", "B21", "C11"]
    assert columns("cohort", codes) == ({}, ("cohort",))
    assert set(columns("cohort", [*codes[:3], "", ""])[0]["cohort"]) == {*codes[:3], ""}
    assert not columns("age group", ["20-29", "30-39", "40-49", "50-59", "60+"])[1]
    assert not columns("kVp", ["60", "65", "70", "75", "80"])[1]
    assert not columns("site", ["A", "B", "C", "D", "E"])[1]


UNKNOWN = (
    *(
        "pat",
        "volunteer",
        "bewohner",
        "kuerzel",
        "alias",
        "mother",
        "animal",
        "insured",
    ),
    *("upn", "household", "skeleton", "PtStudy", "pseud", "quux", "site contact"),
)


@pytest.mark.parametrize("column", UNKNOWN)
def test_what_no_list_of_names_knows_is_no_subgroup(tmp_path, column):
    cells = ["Anna", "Bert", "Dora"] * 8
    patient = [f"{k % 12}" for k in range(24)]
    images = table(column, cells).replace(column, f"{column},patient", 1)
    rows = images.splitlines()
    rows[1:] = [
        row.replace(f'"{cell}"', f'"{cell}",{who}')
        for row, cell, who in zip(rows[1:], cells, patient, strict=True)
    ]
    found = read(tmp_path, images="\n".join(rows) + "\n")
    assert found.truth.groups == {} and found.left_out == (column,)


def test_a_column_of_people_is_asked_about_where_there_are_no_patients(tmp_path):
    for column in ("pat", "volunteer", "insured", "upn"):
        told = faults(tmp_path, images=table(column, ["QV0", "QV1", "QV2"] * 4))
        assert "name it patient" in told[0] and "QV0" not in told[0]


def test_who_asks_for_a_column_gets_it_unless_its_cells_name_somebody(tmp_path):
    images = table("quux", "abcabcabcabc")
    found = read(tmp_path, images=images, subgroups=("quux",))
    assert set(found.truth.groups["quux"]) == {"a", "b", "c"}
    (told,) = faults(tmp_path, images=images, subgroups=("quuux",))
    assert "no such further column" in told
    images = table("quux", [f"2021-03-0{k % 3 + 1}" for k in range(12)])
    (told,) = faults(tmp_path, images=images, subgroups=("quux",))
    assert "identifiers, names or dates" in told


def grouped(tmp_path, cells, column="sex"):
    return read(tmp_path, images=table(column, cells)).truth.groups[column]


def test_the_case_of_a_value_makes_no_group(tmp_path):
    found = grouped(tmp_path, ["M", "m", "F", "M ", "f", "F", "M", "F"])
    assert found.tolist() == ["M", "M", "F", "M", "F", "F", "M", "F"]
    sites = ["North Wing", "north  wing", "South", "SOUTH", "South", "North Wing"]
    found = grouped(tmp_path, sites * 2, column="site")
    assert set(found) == {"North Wing", "South"}
    assert set(grouped(tmp_path, ["1", "1.0", "2", "2.0"] * 3, "grade")) == {"1", "2"}


@pytest.mark.parametrize(
    ("cells", "told"),
    [
        (("m", "male", "F", "female"), ["F and female", "m and male"]),
        (("site-a", "site_a", "b"), ["site-a and site_a"]),
        (("scanner 1", "scanner 01", "x"), ["scanner 01 and scanner 1"]),
        (("M", "F"), []),
        (("HER+", "HER-", "1", "2"), []),  # signs at the end mean something
        (("L", "left", "lower"), []),  # of which one?
        (("1", "12", "other"), []),
    ],
)
def test_groups_that_look_like_one_are_told_and_not_joined(tmp_path, cells, told):
    found = grouped(tmp_path, cells * 6, column="type")
    assert set(found) == set(cells)
    notes = groups.alike({"type": found})
    assert len(notes) == bool(told)
    for pair in told:
        assert pair in notes[0]
