"""Numbers as people read them."""

from __future__ import annotations

import pytest

from edgecnn.reports.digits import digits


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.0, "0.00"),
        (0.0131, "0.0131"),
        (0.0139, "0.0139"),
        (0.5, "0.500"),
        (3.14159, "3.14"),
        (1e-9, "0.000000"),
    ],
)
def test_small_ones_keep_significant_digits(value: float, text: str) -> None:
    assert digits(value, 2, least=3) == text


@pytest.mark.parametrize(
    ("value", "text"),
    [(0.0131, "0.01"), (-0.5, "-0.50"), (31.4159, "31.42"), (314.159, "314.2"), (31415.9, "31416")],
)
def test_others_have_decimals_and_large_ones_fewer(value: float, text: str) -> None:
    assert digits(value, 2) == text
