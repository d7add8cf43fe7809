"""When a client asks again, and when it gives up."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgecnn.client.retries import RetryPolicy, pause_s, read_retry_after

POLICY = RetryPolicy(attempts=4, deadline_s=100, first_pause_s=0.1, longest_pause_s=0.3)


def _pause(attempts: int, *, left_s: float = 100, retry_after_s: float | None = None) -> float | None:
    return pause_s(POLICY, attempts=attempts, left_s=left_s, retry_after_s=retry_after_s, draw=lambda: 1.0)


def test_pauses_double_up_to_a_bound_and_end_with_the_attempts() -> None:
    assert [_pause(attempts) for attempts in (1, 2, 3, 4)] == [0.1, 0.2, 0.3, None]


def test_what_the_server_asks_for_is_waited_for_in_full() -> None:
    assert _pause(1, retry_after_s=7.0) == pytest.approx(7.1)


def test_a_wait_beyond_the_deadline_is_not_begun() -> None:
    assert _pause(1, left_s=7.0, retry_after_s=7.0) is None
    assert _pause(1, left_s=0.0) is None


@given(
    attempts=st.integers(1, 2000),
    left=st.floats(0, 1e6),
    after=st.none() | st.floats(0, 1e6),
    draw=st.floats(0, 1, exclude_max=True),
)
def test_a_pause_is_never_shorter_than_asked_nor_longer_than_is_left(
    attempts: int, left: float, after: float | None, draw: float
) -> None:
    policy = RetryPolicy(attempts=1500, deadline_s=1, longest_pause_s=2)
    pause = pause_s(policy, attempts=attempts, left_s=left, retry_after_s=after, draw=lambda: draw)
    if pause is None:
        assert attempts >= 1500 or (after or 0) + 2 >= left
    else:
        assert (after or 0) <= pause < left
        assert pause <= (after or 0) + 2


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        ("3", 3.0),
        (" 0 ", 0.0),
        ("Sun, 06 Nov 1994 08:49:47 GMT", 10.0),
        ("Sun, 06 Nov 1994 08:49:27 GMT", 0.0),
        (None, None),
        ("", None),
        ("soon", None),
        ("-3", None),
        ("\N{SUPERSCRIPT TWO}", None),
    ],
)
def test_retry_after_is_seconds_or_a_date(value: str | None, seconds: float | None) -> None:
    now = datetime(1994, 11, 6, 8, 49, 37, tzinfo=UTC)
    assert read_retry_after(value, now) == seconds


@given(st.text())
def test_any_retry_after_is_read_or_left(value: str) -> None:
    found = read_retry_after(value)
    assert found is None or found >= 0


@pytest.mark.parametrize("options", [{"attempts": 0}, {"deadline_s": 0.0}, {"first_pause_s": -1.0}])
def test_a_policy_without_sense_is_refused(options: dict[str, float]) -> None:
    with pytest.raises(ValueError, match="must be"):
        RetryPolicy(**options)  # type: ignore[arg-type]
