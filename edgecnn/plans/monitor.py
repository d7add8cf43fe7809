"""TensorRT's progress, step by step."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from edgecnn.plans.messages import Progress

__all__ = ["attach_monitor"]


def attach_monitor(trt: Any, observe: Callable[[Progress], None]) -> Any:  # noqa: ANN401 - untyped packages
    """A progress monitor that tells ``observe``; keep it until the build is over, since TensorRT does not.

    A build is cancelled by ending its process, which no phase can hold up, and so no step answers "stop".
    """

    class Monitor(trt.IProgressMonitor):  # type: ignore[misc]
        def __init__(self) -> None:
            trt.IProgressMonitor.__init__(self)
            self._phases: dict[str, tuple[str | None, int]] = {}

        def phase_start(self, phase_name: str, parent_phase: str | None, num_steps: int) -> None:
            self._phases[phase_name] = (parent_phase or None, num_steps)
            self._tell(phase_name, 0)

        def step_complete(self, phase_name: str, step: int) -> bool:
            self._tell(phase_name, step + 1)
            return True

        def phase_finish(self, phase_name: str) -> None:
            self._phases.pop(phase_name, None)

        def _tell(self, phase: str, done: int) -> None:
            parent, total = self._phases.get(phase, (None, done))
            observe(Progress(phase, parent, min(done, total), total))

    return Monitor()
