"""What load to make."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from edgecnn.errors import UsageError
from edgecnn.loadtest.target import Target

__all__ = ["MOST_REQUESTS", "Arrivals", "LoadPlan", "Payload"]

Arrivals = Literal["poisson", "constant"]

#: Of one run: each takes 27 bytes, and a mistyped rate must not take the machine.
MOST_REQUESTS = 20_000_000


@dataclass(frozen=True, slots=True)
class Payload:
    """One request as it goes over the wire, and what its answer must be.

    Attributes:
        data: head and body.
        right: whether an answer of this status and body is right; None where any is.
    """

    data: bytes
    right: Callable[[int, bytes], bool] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadPlan:
    """One run.

    Attributes:
        target: the server.
        payloads: sent in turn.
        clients: of a closed loop; of an open one, the most connections at a time.
        rate_per_s: of an open loop; None for a closed one.
        arrivals: of an open loop: as those of independent users, or at even distances.
        duration_s: seconds measured; None for as long as ``requests`` take.
        requests: measured at most; None for as many as ``duration_s`` has room for.
        warmup_s: before that, of the same load.
        timeout_s: from when a request was due; then it is given up.
        verify: whether a certificate is checked.
        ca: a file of the authorities to trust instead of the system's.
        seed: of the arrivals.
    """

    target: Target
    payloads: tuple[Payload, ...]
    clients: int = 8
    rate_per_s: float | None = None
    arrivals: Arrivals = "poisson"
    duration_s: float | None = 10.0
    requests: int | None = None
    warmup_s: float = 0.0
    timeout_s: float = 10.0
    verify: bool = True
    ca: Path | None = None
    seed: int = 0

    def __post_init__(self) -> None:
        if not self.payloads or self.clients < 1:
            raise ValueError("a load needs payloads and clients")
        if self.duration_s is None and self.requests is None:
            raise UsageError("The load has no end.", "Give --duration or --requests.")
        if (
            self.rate_per_s is not None
            and (self.open_seconds + self.warmup_s) * self.rate_per_s > MOST_REQUESTS
        ):
            raise UsageError(
                f"{self.rate_per_s:g} requests a second for {self.open_seconds:g} s are more than "
                f"{MOST_REQUESTS:,}, the most that one run keeps.",
                "Lower --rate or --duration.",
            )

    @property
    def open_seconds(self) -> float:
        """For how long an open loop goes on at most, without its warm-up; only where there is a rate."""
        assert self.rate_per_s is not None
        if self.duration_s is not None:
            return self.duration_s
        assert self.requests is not None
        # Chance may let requests arrive later: three times the time and a little are enough for all.
        return 3 * self.requests / self.rate_per_s + 30 / self.rate_per_s
