"""TensorRT's log: what of it is kept, and what it says of a failure."""

from __future__ import annotations

import hashlib
from typing import Any

__all__ = ["BuildLog", "attach_log"]

#: Severities of ILogger, as numbers: internal error, error, warning.
_ERROR, _WARNING = 1, 2

#: What the builder lists its layers under, once, at the end of a build with detailed profiling verbosity.
_LAYERS = "Layers:"

#: More are not told: they repeat themselves.
_MOST = 20


class BuildLog:
    """What a build said.

    Attributes:
        errors: the last of them, oldest first.
        warnings: the first of them, each once.
        layers: the builder's own list of the plan's layers, a line each; "" until it wrote it.
    """

    def __init__(self) -> None:
        self.errors: list[str] = []
        self.warnings: list[str] = []
        self.layers = ""
        self._digest = hashlib.sha256()

    def add(self, severity: int, text: str) -> None:
        """Take one message."""
        self._digest.update(f"{severity} {text}\n".encode())
        if severity <= _ERROR:
            self.errors = [*self.errors, " ".join(text.split())][-_MOST:]
        elif severity == _WARNING and text not in self.warnings and len(self.warnings) < _MOST:
            self.warnings.append(text)
        elif text.startswith(_LAYERS):
            self.layers = text.removeprefix(_LAYERS)

    def sha256(self) -> str:
        """Of all messages so far."""
        return self._digest.hexdigest()

    def last_error(self, otherwise: str) -> str:
        """The last error, without the full stop at its end."""
        return (self.errors[-1] if self.errors else otherwise).rstrip(". ")


def attach_log(trt: Any, log: BuildLog) -> Any:  # noqa: ANN401 - the packages have no types
    """A logger for TensorRT's objects that fills ``log``; one a process, since TensorRT keeps the first."""

    class Logger(trt.ILogger):  # type: ignore[misc]
        def __init__(self) -> None:
            trt.ILogger.__init__(self)

        def log(self, severity: Any, text: str) -> None:  # noqa: ANN401
            log.add(int(severity), text)

    return Logger()
