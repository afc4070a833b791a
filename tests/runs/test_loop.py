"""Laws of the loop: when something is due."""

import dataclasses
import doctest

import numpy as np

from aals_jax.input.dataset import object_array
from aals_jax.runs import loop
from tests.input.test_pipeline import make_table


def test_due_each_so_many_steps_and_always_at_the_last():
    due = [s for s in range(12) if loop.is_due(s, every=4, last=11)]
    assert due == [4, 8, 11]
    assert [s for s in range(9) if loop.is_due(s, every=100, last=8)] == [8]


def test_all_boxes_of_r_are_kept_and_narrow_ones_are_told(caplog):
    table = make_table([1, 1], boxed=[True, True])
    boxes = [np.array([[0, 0, 9, 3], [5, 5, 9, 9]]), np.array([[0, 0, 4, 4]])]
    table = dataclasses.replace(table, boxes=object_array(boxes))
    assert loop.most_boxes(table) == 2
    loop.warn_of_narrow_boxes(table, stride=3)
    assert not caplog.records
    loop.warn_of_narrow_boxes(table, stride=4)
    assert "1 of the 3 boxes of R are narrower" in caplog.text


def test_nothing_is_due_before_the_first_step():
    assert not loop.is_due(0, every=1, last=0)


def test_the_examples_in_the_docstrings_hold():
    failed, tried = doctest.testmod(loop)
    assert tried > 0
    assert failed == 0
