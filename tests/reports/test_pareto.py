from __future__ import annotations

import math
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgecnn.reports.pareto import Better, pareto_front

WAYS: st.SearchStrategy[list[Better]] = st.lists(st.sampled_from(["lower", "higher"]), min_size=1, max_size=3)
# Few distinct values, so that equals and ties happen.
VALUES = st.none() | st.integers(0, 4).map(float) | st.just(math.nan)


def _brute_force(points: Sequence[Sequence[float | None]], better: Sequence[Better]) -> list[int]:
    def known(values: Sequence[float | None]) -> bool:
        return not any(value is None or math.isnan(value) for value in values)

    def beats(one: Sequence[float | None], other: Sequence[float | None]) -> bool:
        signs = [1 if way == "lower" else -1 for way in better]
        a, b = ([s * (v or 0.0) for s, v in zip(signs, values, strict=True)] for values in (one, other))
        return all(x <= y for x, y in zip(a, b, strict=True)) and a != b

    return [
        index
        for index, values in enumerate(points)
        if known(values) and not any(known(other) and beats(other, values) for other in points)
    ]


@given(st.data())
def test_the_front_is_what_nothing_dominates(data: st.DataObject) -> None:
    better = data.draw(WAYS)
    row = st.lists(VALUES, min_size=len(better), max_size=len(better))
    points = data.draw(st.lists(row, max_size=12))
    assert list(pareto_front(points, better)) == _brute_force(points, better)


def test_a_point_that_lacks_a_value_is_not_on_the_front_and_dominates_none() -> None:
    assert pareto_front([(1.0, None), (2.0, 70.0), (3.0, 60.0)], ("lower", "higher")) == (1,)


def test_equals_are_on_the_front_together() -> None:
    assert pareto_front([(1.0,), (1.0,), (2.0,)], ("lower",)) == (0, 1)


def test_a_row_of_another_length_is_refused() -> None:
    with pytest.raises(ValueError, match="zip"):
        pareto_front([(1.0,)], ("lower", "higher"))
