"""When a dead worker is replaced."""

from __future__ import annotations

from edgecnn.serving.workers.backoff import Backoff
from edgecnn.serving.workers.settings import SupervisorSettings

SETTINGS = SupervisorSettings(
    entry="", restart_s=0.5, longest_restart_s=3.0, stable_s=60.0, most_early_deaths=3
)


def test_at_once_then_doubling_up_to_a_limit() -> None:
    backoff = Backoff(SETTINGS)
    assert [backoff.died(10.0, 9.0) for _ in range(6)] == [0.0, 0.5, 1.0, 2.0, 3.0, 3.0]
    assert not backoff.hopeless  # it was ready each time
    assert all(backoff.died(10.0, 9.0) == 3.0 for _ in range(2000))


def test_a_long_life_clears_the_record() -> None:
    backoff = Backoff(SETTINGS)
    assert [backoff.died(10.0, None), backoff.died(11.0, None)] == [0.0, 0.5]
    assert backoff.died(100.0, 40.0) == 0.0


def test_hopeless_is_what_never_got_ready() -> None:
    backoff = Backoff(SETTINGS)
    for ready_since_s in (None, None, 0.5, None, None):
        backoff.died(1.0, ready_since_s)
    assert not backoff.hopeless
    backoff.died(1.0, None)
    assert backoff.hopeless
