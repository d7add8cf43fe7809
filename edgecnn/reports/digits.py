"""Numbers as people read them: no more digits than a measurement is good for, and enough for small ones."""

from __future__ import annotations

import math

__all__ = ["digits"]

#: Of large numbers, about as many significant digits as measurements are good for.
_MOST = 4

#: Decimals, however small the number: a nanosecond in milliseconds.
_FINEST = 6


def digits(value: float, places: int, least: int = 0) -> str:
    """``value`` with ``places`` decimals: fewer where it is large, more where it is small.

    Args:
        value: finite.
        places: decimals of a number around 1.
        least: significant digits that a small one keeps; 0 where decimals are what counts, as of percentages.
    """
    magnitude = math.floor(math.log10(abs(value))) if value else 0
    wanted = max(0, min(places, _MOST - 1 - max(0, magnitude)))
    if least and value:
        wanted = max(wanted, min(_FINEST, least - 1 - magnitude))
    return f"{value:.{wanted}f}"
