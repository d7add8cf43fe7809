"""Keeps OpenVINO and NNCF from reporting to Intel that they are used."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager

__all__ = ["without_telemetry"]

_REPORTER = "openvino_telemetry"


@contextmanager
def without_telemetry() -> Iterator[None]:
    """While it is open, ``openvino_telemetry`` cannot be imported: import OpenVINO and NNCF inside it.

    Otherwise ``import openvino`` writes a client id to ``~/intel`` and sends an event to Google Analytics,
    unless the user has opted out; NNCF sends the models' facts. Both go without where the package is missing,
    each with a stub of its own, and look for it only while they are imported. The user's own setting
    (``opt_in_out``) and environment stay as they are.
    """
    before = sys.modules.get(_REPORTER)
    sys.modules[_REPORTER] = None  # type: ignore[assignment]  # Python's own way to say that it is not there
    try:
        yield
    finally:
        if before is None:
            del sys.modules[_REPORTER]
        else:
            sys.modules[_REPORTER] = before
