"""Intervals in words: digits that say as much as the numbers do."""

from hypothesis import given
from hypothesis import strategies as st

from aals_jax.report import entries, wording

numbers = st.floats(-1e4, 1e4, allow_nan=False)


@given(numbers, st.floats(1e-9, 10.0), st.booleans())
def test_an_interval_with_a_width_never_reads_as_one_without(low, width, is_signed):
    high = low + width
    value, left, right = wording.interval(low, low, high, is_signed=is_signed)
    assert left != right and value == left


def test_digits_follow_the_width():
    assert wording.interval(0.0101, 0.01009, 0.0102) == ("0.0101", "0.0101", "0.0102")
    narrow = {"value": 0.0100, "low": 0.00996, "high": 0.01004}
    assert entries.text(narrow) == "0.01000 [0.00996, 0.01004]"
    assert entries.view(narrow).interval == "0.00996 to 0.01004"
    assert wording.interval(0.5, None, None)[0] == "0.500"
    assert wording.interval(0.3, 0.1, 0.5, is_signed=True)[0] == "+0.300"
