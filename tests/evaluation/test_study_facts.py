"""The author's facts: a template that is read again, every fault with its remedy."""

import datetime
import re
import tomllib
from pathlib import Path

import pytest

from aals_jax.evaluation import study_facts
from aals_jax.evaluation.study_facts import (
    FACTS,
    Exclusion,
    StudyFacts,
    StudyFactsError,
)
from tests.support.command_line import launch

KEYS = {f"{section}.{key}" for section, keys in FACTS.items() for key in keys}


def read(folder: Path, text: str) -> StudyFacts:
    path = folder / "study.toml"
    path.write_text(text)
    return study_facts.read(path)


def fault(folder: Path, text: str) -> str:
    with pytest.raises(StudyFactsError) as caught:
        read(folder, text)
    return str(caught.value)


def test_an_empty_template_states_nothing(tmp_path):
    facts = read(tmp_path, study_facts.template())
    assert facts == StudyFacts()
    assert facts.as_json() is None


def test_a_template_with_every_line_filled_states_every_fact(tmp_path):
    text = re.sub(r'= ""', '= "said"', study_facts.template())
    assert read(tmp_path, text).facts.keys() == KEYS


def test_its_comments_about_exclusions_can_be_uncommented(tmp_path):
    text = study_facts.template()
    block = re.sub(r"^# (?=\[\[|reason|images|patients)", "", text, flags=re.M)
    assert read(tmp_path, block).exclusions == (Exclusion("lateral view", 12, 9),)
    none = text.replace("# nothing was, the line:  ", "")
    assert read(tmp_path, none).exclusions == ()


def test_no_exclusions_are_not_the_same_as_none_stated(tmp_path):
    unsaid = read(tmp_path, '[study]\ndesign = "x"').as_json()
    assert unsaid == {"facts": {"study.design": "x"}}
    none = read(tmp_path, "exclusions = []").as_json()
    assert none == {"facts": {}, "exclusions": []}


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ('"  two\\n words "', "two words"),
        ('"""\ntwo\nlines"""', "two lines"),
        ("3", "3"),
        ("2020-01-31", "2020-01-31"),
        ("true", "yes"),
        ('["one", "two"]', "one; two"),
        ('"none"', "none"),  # an answer, unlike "todo"
    ],
)
def test_a_value_is_one_line_of_text(tmp_path, value, text):
    facts = read(tmp_path, f"[reference_standard]\nannotators = {value}").facts
    assert facts == {"reference_standard.annotators": text}


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("[study]\ndesing = 'x'", "study.desing: no such key; did you mean design?"),
        ("[studdy]\ndesign = 'x'", "[studdy]: no such section; did you mean study?"),
        ("[Study]\ndesign = 'x'", "[Study]: no such section; did you mean study?"),
        ("design = 'x'", "design: belongs under [study]"),
        (
            "[study]\nannotators = '3'",
            "study.annotators: no such key; it belongs under [reference_standard]",
        ),
        (
            "[study]\nblinding = '3'",
            "it belongs under [reference_standard] or [model]",
        ),
        ("study = 'x'", "study: is a section: write [study]"),
        ("exclusion = []", "did you mean exclusions?"),
        ("[study]\ndesign = {a = 1}", "study.design: must be text, number, date"),
        ("[study]\ndesign = ['a', '']", "study.design: has an empty entry"),
        ("[study]\ndesign = 'TODO'", "study.design: states nothing"),
        ("[study]\ndesign = '...'", "study.design: states nothing"),
        ("exclusions = 'none'", "write a block [[exclusions]] for each, or exclusi"),
        ("[exclusions]\nreason = 'a'", "write a block [[exclusions]] for each"),
        ("[[exclusions]]\nimages = 1", "number 1: needs a reason"),
        ("[[exclusions]]\nreason = 'a'", "needs images or patients"),
        ("[[exclusions]]\nreason = 'a'\nimages = -1", "images must be a whole number"),
        ("[[exclusions]]\nreason = 'a'\nimages = true", "images must be a whole"),
        ("[[exclusions]]\nreason = 'a'\nimages = 1.0", "images must be a whole"),
        ("[[exclusions]]\nreason = 'a'\nimage = 1", "did you mean images?"),
        (
            "[[exclusions]]\nreason = 'a'\nimages = 1\npatients = 2",
            "more patients than images",
        ),
        ('{"study": 1}', "study.toml: no TOML: "),
        ("[study]\na = 1\na = 2", "--study_template=FILE writes an example"),
    ],
)
def test_a_fault_says_what_to_do(tmp_path, text, told):
    assert told in fault(tmp_path, text)


def test_all_faults_are_told_at_once(tmp_path):
    text = "x = 1\n[[exclusions]]\n[study]\ndesing = 'a'\ndesign = 'todo'\n[modle]\n"
    lines = fault(tmp_path, text).splitlines()
    assert lines[0] == "study.toml: 6 fault(s)"
    assert len(lines) == 7


def test_marks_of_bytes_and_windows_lines_are_no_fault_other_codings_are(tmp_path):
    path = tmp_path / "study.toml"
    path.write_bytes(b'\xef\xbb\xbf[study]\r\ndesign = "x"\r\n')
    assert study_facts.read(path).facts == {"study.design": "x"}
    path.write_bytes('[study]\ndesign = "ü"'.encode("latin-1"))
    with pytest.raises(StudyFactsError, match="not UTF-8 from byte 18"):
        study_facts.read(path)
    with pytest.raises(FileNotFoundError, match=r"^nowhere.toml: no such file$"):
        study_facts.read(tmp_path / "nowhere.toml")


def test_the_command_writes_the_template_alone_and_never_over_a_file(tmp_path):
    told = launch("--mode=score", "--study_template=study.toml", cwd=tmp_path)
    assert told.returncode == 0, told.stderr
    tree = tomllib.loads((tmp_path / "study.toml").read_text())
    assert tree.keys() == FACTS.keys()
    assert [path.name for path in tmp_path.iterdir()] == ["study.toml"]
    again = launch("--mode=score", "--study_template=study.toml", cwd=tmp_path)
    assert again.returncode == 1 and "name a new file" in again.stderr
    without = launch("--mode=score", "--title=x", cwd=tmp_path)
    assert without.returncode == 2 and "needs --out" in without.stderr


def test_dates_of_toml_are_written_as_dates():
    assert study_facts._text(datetime.date(2020, 1, 31)) == "2020-01-31"


def test_the_example_of_the_page_is_a_file_of_facts(tmp_path):
    page = (Path(__file__).parents[2] / "docs/scoring.md").read_text()
    facts = read(tmp_path, page.partition("```toml\n")[2].partition("```")[0])
    assert len(facts.facts) == 4
    assert facts.exclusions == (Exclusion("lateral view", 12, 9),)
