"""Checklists: every item of the standards, and no answer that nobody gave."""

import collections
import itertools

import pytest

from aals_jax.evaluation import study_facts
from aals_jax.report import checklists, page
from tests.report.test_report import ATTACK, make_result

LETTERS = "abcdefg"
FACTS = {f"{s}.{key}" for s, keys in study_facts.FACTS.items() for key in keys}


def with_letters(*numbers: tuple[int, int]) -> list[str]:
    """Number and how many letters it has; 0 for a number alone."""
    return [
        f"{number}{letter}"
        for number, count in numbers
        for letter in (LETTERS[:count] or [""])
    ]


def numbers(last: int, **letters: int) -> list[str]:
    split = {int(name[1:]): count for name, count in letters.items()}
    return with_letters(*((n, split.get(n, 0)) for n in range(1, last + 1)))


# The items that each statement counts: 30 in 34 rows, 44, 27 in 52 rows.
ITEMS = {
    "STARD 2015": numbers(30, n10=2, n12=2, n13=2, n21=2),
    "CLAIM 2024": numbers(44),
    "TRIPOD+AI": numbers(
        27, n3=3, n5=2, n6=3, n8=3, n9=3, n12=7, n18=6, n20=3, n23=2, n27=3
    ),
}


def test_every_item_of_the_standards_stands_once_and_in_order():
    assert [len(items) for items in ITEMS.values()] == [34, 44, 52]
    listed = collections.defaultdict(list)
    for item in checklists.items():
        listed[item.standard].append(item.number)
    assert listed == ITEMS
    assert ITEMS.keys() == checklists.STANDARDS.keys()


def test_every_item_can_be_answered_by_what_there_is():
    asked = set()
    for item in checklists.items():
        assert item.asks and (item.known or item.facts), item
        assert set(item.known) <= checklists.KNOWN.keys(), item
        assert set(item.facts) <= FACTS | {checklists.EXCLUSIONS}, item
        assert item.of in ("", "development", "evaluation"), item
        asked |= {*item.known, *item.facts}
    assert asked == {*checklists.KNOWN, *FACTS, study_facts.EXCLUSIONS}
    assert study_facts.EXCLUSIONS == checklists.EXCLUSIONS


def test_what_tripod_asks_of_development_or_evaluation_alone():
    of = {i.number: i.of for i in checklists.items() if i.standard == "TRIPOD+AI"}
    marked = {n: part for n, part in of.items() if part}
    development = ("9a", "12a", "12b", "12c", "15", "22", "27a", "27b")
    evaluation = ("12f", "12g", "20c", "24")
    assert marked == {
        **dict.fromkeys(development, "development"),
        **dict.fromkeys(evaluation, "evaluation"),
    }


def by_number(filled: dict, standard: str) -> dict[str, dict]:
    return {row["item"]: row for row in filled["standards"][standard]["items"]}


def scoring(**changes) -> dict:
    result = make_result() | {"kind": "score", "config": None, "method": None}
    result["operating_points"] = {
        "teacher": [
            {
                "name": "specificity 0.90",
                "level": "image",
                "rule": "the most sensitive one",
                "threshold": 0.5,
                "chosen_on": "validation",
                "measured": {
                    "sensitivity": {"value": 30 / 42},
                    "specificity": {"value": 360 / 370},
                },
            }
        ]
    }
    for cells in result["metrics"].values():
        cells["auroc"]["n_positive"] = 42
    return result | changes


def test_an_item_is_filled_when_nothing_is_left_to_state():
    study = {"facts": {"study.background": "b", "study.intended_use": "u"}}
    rows = by_number(checklists.fill(scoring(study=study)), "STARD 2015")
    assert rows["3"]["status"] == checklists.FILLED
    assert "to_state" not in rows["3"]
    assert rows["27"] == {
        "item": "27",
        "asks": rows["27"]["asks"],
        "status": checklists.PARTLY,
        "stated": ["study.intended_use"],
        "to_state": ["study.implications"],
    }
    assert rows["4"]["status"] == checklists.OPEN


def test_all_facts_leave_nothing_to_state():
    study = {"facts": dict.fromkeys(FACTS, "said"), "exclusions": []}
    filled = checklists.fill(scoring(study=study))
    rows = [row for s in filled["standards"].values() for row in s["items"]]
    assert not [row for row in rows if "to_state" in row]
    left = {row["status"] for row in rows} - {checklists.FILLED}
    assert left <= {checklists.NOT_HERE}


def test_no_fact_leaves_everything_that_only_an_author_knows():
    filled = checklists.fill(scoring(study=None))
    rows = [row for s in filled["standards"].values() for row in s["items"]]
    assert not [row for row in rows if "stated" in row]
    for row in rows:
        if "known" not in row:
            assert row["status"] not in (checklists.FILLED, checklists.PARTLY)


def test_items_of_development_are_no_debt_of_a_scoring():
    scored = by_number(checklists.fill(scoring()), "TRIPOD+AI")
    assert scored["9a"]["status"] == checklists.OTHER_STUDY
    run = by_number(checklists.fill(scoring(kind="run")), "TRIPOD+AI")
    assert run["9a"]["status"] == checklists.OPEN


def test_the_cross_table_is_counted_from_the_shares():
    known = checklists.fill(scoring())["known"]
    assert known["cross_table"] == (
        "teacher, specificity 0.90: 30 true and 10 false positives, 12 false and 360 "
        "true negatives"
    )
    rows = by_number(checklists.fill(scoring()), "STARD 2015")
    assert rows["23"]["status"] == checklists.FILLED
    without = by_number(checklists.fill(scoring(operating_points={})), "STARD 2015")
    assert without["23"]["status"] == checklists.NOT_HERE


def test_an_undefined_value_is_told_with_its_reason():
    result = scoring()
    result["metrics"] = {"a": {"auroc": {"value": None, "reason": "one class only"}}}
    assert checklists.fill(result)["known"]["accuracy"] == (
        "a: AUROC none (one class only)"
    )


def test_left_out_images_are_missing_data_and_the_other_split_is_not():
    left = [
        {"reason": "validation", "split": "validation", "n_images": 5},
        {"reason": "no lesion marked", "n_images": 2},
    ]
    stages = [{"stage": "in the tables", "n_images": 40, "left_out": left}]
    known = checklists.fill(scoring(flow={"stages": stages}))["known"]
    assert known["left_out"] == "no lesion marked: 2 images"
    none = checklists.fill(scoring(flow={"stages": [{"stage": "a", "n_images": 1}]}))
    assert none["known"]["left_out"] == "no image of the tables was left out"
    assert "left_out" not in checklists.fill(scoring())["known"]


@pytest.mark.parametrize(
    ("counts", "text"),
    [
        ({"n_images": 1, "n_patients": 1, "n_lesions": 0},
         "1 image of 1 patient, 0 lesions"),
        ({"n_images": 1200, "n_positive": 2, "n_negative": 1198},
         "1,200 images, 2 positive, 1,198 negative"),
        ({"n_patients": 3}, "3 patients"),
        ({}, ""),
    ],
)  # fmt: skip
def test_counts_in_words(counts, text):
    assert checklists.counted(counts) == text


def test_the_page_shows_every_item_and_escapes_what_the_author_wrote():
    study = {"facts": {"study.intended_use": ATTACK}, "exclusions": []}
    left = [{"reason": ATTACK, "n_images": 3}]
    result = scoring(study=study, flow={"stages": [{"stage": "a", "left_out": left}]})
    result["checklists"] = checklists.fill(result)
    html = page.render(result=result, curves={})
    assert ATTACK not in html and "&lt;script&gt;" in html
    for name, source in checklists.STANDARDS.items():
        assert f"{name}, {source}: " in html
    for item in itertools.islice(checklists.items(), 0, None, 7):
        assert f'<th scope="row">{item.number}</th>' in html
    assert "to state: study.background" in html
    assert 'id="flow"' in html


def test_a_result_without_them_has_no_such_sections():
    html = page.render(result=make_result(), curves={})
    assert 'id="checklists"' not in html and 'id="flow"' not in html
