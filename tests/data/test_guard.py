"""Laws of what data/ and aals_jax/ share: files that appear whole, problems."""

import errno
import os

import pytest

from data.cxr_registry.guard import atomic, checks, failures


def test_a_file_is_the_old_one_until_the_new_one_is_whole(tmp_path):
    path = tmp_path / "a.txt"
    path.write_text("old")
    with atomic.replacing(path) as draft:
        draft.write_text("new")
        assert path.read_text() == "old"
    assert path.read_text() == "new"
    assert [file.name for file in tmp_path.iterdir()] == ["a.txt"]


def test_a_write_that_breaks_off_leaves_the_old_file_and_nothing_else(tmp_path):
    path = tmp_path / "a.txt"
    path.write_text("old")
    with pytest.raises(KeyboardInterrupt), atomic.replacing(path) as draft:
        draft.write_text("half of the n")
        raise KeyboardInterrupt
    assert path.read_text() == "old"
    assert [file.name for file in tmp_path.iterdir()] == ["a.txt"]


def test_two_writers_of_one_file_do_not_mix(tmp_path):
    path = tmp_path / "a.txt"
    with atomic.replacing(path) as first, atomic.replacing(path) as second:
        assert first != second
        first.write_text("first")
        second.write_text("second")
    assert path.read_text() == "first"  # the last one to end


def test_a_problem_says_where_it_is_and_never_an_empty_place():
    texts = {
        str(checks.Problem("a.csv", 3, "bad_value", "x")): "a.csv row 3: x [bad_value]",
        str(checks.Problem("a.csv", None, "", "x")): "a.csv: x",
        str(checks.Problem("", None, "", "x")): "x",
    }
    assert all(shown == expected for shown, expected in texts.items())


def test_an_allowed_problem_is_counted_and_the_others_are_raised_together():
    problems = checks.Problems(["bad_date"])
    assert problems.add("b.csv", 2, "not a date", check="bad_date")
    problems.raise_if_any()
    assert not problems.add("b.csv", 3, "no number", check="bad_value")
    assert not problems.add("a.csv", None, "no rows", check="columns")
    with pytest.raises(checks.RegistryError) as caught:
        problems.raise_if_any()
    assert [problem.file for problem in caught.value.problems] == ["a.csv", "b.csv"]
    assert problems.allowed == {"bad_date": 1}
    with pytest.raises(ValueError, match="are not checks"):
        checks.Problems(["no_such_check"])


def test_a_message_lists_fifty_problems_and_says_how_many_are_left():
    assert checks.list_first(range(50), bullet="- ") == [f"- {n}" for n in range(50)]
    assert checks.list_first(range(52), bullet="- ")[-1] == "- ... and 2 more"


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EDQUOT, errno.EROFS])
def test_what_can_not_be_written_says_what_to_do_and_no_path(code):
    error = OSError(code, os.strerror(code), "films/SMITH.dcm")
    told = failures.message(error)
    assert "--workdir, --out" in told and "SMITH" not in told
