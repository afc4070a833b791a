"""Laws of the loop: when something is due."""

import doctest

from aals_jax.runs import loop


def test_due_each_so_many_steps_and_always_at_the_last():
    due = [s for s in range(12) if loop.is_due(s, every=4, last=11)]
    assert due == [4, 8, 11]
    assert [s for s in range(9) if loop.is_due(s, every=100, last=8)] == [8]


def test_nothing_is_due_before_the_first_step():
    assert not loop.is_due(0, every=1, last=0)


def test_the_examples_in_the_docstrings_hold():
    failed, tried = doctest.testmod(loop)
    assert tried > 0
    assert failed == 0
