"""When to send a request again, and how long to wait before: pure, so that both clients share it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

__all__ = ["RETRIED_STATUSES", "RetryPolicy", "pause_s", "read_retry_after"]

#: Busy, and not ready (yet): what passes by itself. All else would be refused again.
RETRIED_STATUSES = frozenset({429, 503})


@dataclass(frozen=True, slots=True, kw_only=True)
class RetryPolicy:
    """How persistent a client is.

    Attributes:
        attempts: at most so many sendings of one request; 1 for no retry.
        deadline_s: from the call to its answer, all attempts and pauses included.
        first_pause_s: what the first pause is drawn below; it doubles from attempt to attempt.
        longest_pause_s: what it doubles up to. What the server asks for (Retry-After) may be longer.
    """

    attempts: int = 5
    deadline_s: float = 60.0
    first_pause_s: float = 0.1
    longest_pause_s: float = 5.0

    def __post_init__(self) -> None:
        if self.attempts < 1:
            raise ValueError(f"attempts must be at least 1, not {self.attempts}")
        if min(self.deadline_s, self.first_pause_s, self.longest_pause_s) <= 0:
            raise ValueError("deadline and pauses must be positive")


def pause_s(
    policy: RetryPolicy,
    *,
    attempts: int,
    left_s: float,
    retry_after_s: float | None,
    draw: Callable[[], float],
) -> float | None:
    """How long to wait before the next attempt; None to give up.

    Exponential back-off with full jitter (Brooker, "Exponential Backoff and Jitter", AWS Architecture Blog,
    2015): the pause is uniform between 0 and a bound that doubles, so that clients that were refused together
    do not come back together. The server's Retry-After is waited for in full, and the jitter comes on top,
    since it told the same to everybody. It gives up at once where the wait would outlast the deadline.

    Args:
        policy: how persistent.
        attempts: made so far, at least 1.
        left_s: until the deadline.
        retry_after_s: what the server asked for.
        draw: uniform from 0 to 1.
    """
    if attempts >= policy.attempts:
        return None
    # 64 doublings are beyond any bound, and 2.0 ** 1100 would overflow.
    bound = min(policy.longest_pause_s, policy.first_pause_s * 2.0 ** min(attempts - 1, 64))
    pause = (retry_after_s or 0.0) + bound * draw()
    return pause if pause < left_s else None


def read_retry_after(value: str | None, now: datetime | None = None) -> float | None:
    """Seconds that a Retry-After field asks for (RFC 9110, section 10.2.3); None without a readable one.

    Args:
        value: whole seconds, or a date.
        now: what a date is relative to; this moment if None.
    """
    text = (value or "").strip()
    if text.isascii() and text.isdecimal():
        return float(text)
    try:
        moment = parsedate_to_datetime(text)
    except ValueError:
        return None
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    return max(0.0, (moment - (now or datetime.now(UTC))).total_seconds())
