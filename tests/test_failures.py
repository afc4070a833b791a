"""What an exception may say: our own words, never what somebody else's quote."""

import datetime
import json
import subprocess
import sys
from pathlib import Path

import jax.numpy as jnp
import pytest

from data.cxr_registry.build import folds
from data.cxr_registry.guard import failures

ROOT = Path(__file__).parents[1]
SECRET = "SMITH17"


def caught(call, *arguments) -> BaseException:
    with pytest.raises(Exception) as info:
        call(*arguments)
    return info.value


FOREIGN = {
    "a date": (datetime.date.fromisoformat, SECRET),
    "a file": (Path(f"{SECRET}/x.dcm").read_bytes,),
    "a number": (int, SECRET),
    "a key": ({}.__getitem__, SECRET),
    "a library": (json.loads, f"[{SECRET}"),
}


@pytest.mark.parametrize("name", FOREIGN)
def test_words_of_others_are_not_told(name):
    error = caught(*FOREIGN[name])
    assert SECRET not in failures.message(error) + failures.trace(error)
    assert type(error).__name__ in failures.message(error)
    assert type(error).__name__ in failures.trace(error)


def test_our_own_words_are_told_with_the_way_there():
    error = caught(folds.fold_splits, 7)
    assert failures.message(error) == "fold=7 must be 0 to 4"
    assert "ValueError: fold=7 must be" in failures.trace(error)
    assert "in fold_splits" in failures.trace(error)


def test_a_conversion_in_our_function_is_located_and_not_told(tmp_path):
    """The same line of ours may raise by itself or through Python: only the first
    has composed the words."""
    body = f"a,{SECRET}\n"
    digest = folds.hashlib.sha256(body.encode()).hexdigest()
    path = tmp_path / "parts.csv"
    path.write_text(f"# parts version 1 sha256 {digest}\npatient,part\n{body}")
    error = caught(folds.read_parts, path)
    assert SECRET in str(error)
    message = failures.message(error)
    assert "ValueError in data.cxr_registry.build.folds." in message
    assert "line" in message
    assert SECRET not in message + failures.trace(error)


def test_a_library_that_sees_only_arrays_is_told():
    error = caught(lambda: jnp.zeros(3) @ jnp.zeros(4))
    assert "3" in failures.message(error) and "4" in failures.message(error)


def test_a_chain_is_shown_without_foreign_words():
    def fail():
        try:
            int(SECRET)
        except ValueError:
            folds.fold_splits(7)

    trace = failures.trace(caught(fail))
    assert SECRET not in trace
    assert trace.index("ValueError: (its text") < trace.index("fold=7 must be")


def test_values_of_variables_are_never_shown():
    def fail(patient):
        return folds.fold_splits(len(patient))

    assert SECRET not in failures.trace(caught(fail, SECRET))


SCRIPT = f"""
import sys, threading
from data.cxr_registry.guard import failures
failures.guard()
def fail():
    open("{SECRET[:3]}" + "{SECRET[3:]}")
class Late:
    def __del__(self):
        fail()
if sys.argv[1] == "thread":
    threading.Thread(target=fail).start()
elif sys.argv[1] == "deletion":
    late = Late()
    del late
elif sys.argv[1] == "interrupt":
    try:
        fail()
    except OSError:
        raise KeyboardInterrupt
else:
    fail()
"""


@pytest.mark.parametrize("where", ["main", "thread", "deletion", "interrupt"])
def test_what_nobody_catches_is_told_alike(where, tmp_path):
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, where],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert "FileNotFoundError" in done.stderr and "in fail" in done.stderr
    assert SECRET not in done.stderr
    assert (done.returncode != 0) == (where in ("main", "interrupt"))
