"""What a server says on standard error: sentences of its own, and a line of JSON for each request."""

from __future__ import annotations

import logging
import sys

__all__ = ["log_to_stderr"]


def log_to_stderr(*, verbose: bool, access: bool) -> None:
    """Let the server's loggers write.

    Args:
        verbose: what goes on, not only warnings.
        access: a line for each request.
    """
    _write(
        "edgecnn.serving",
        "%(asctime)s %(levelname)s %(message)s",
        logging.INFO if verbose else logging.WARNING,
    )
    _write("edgecnn.access", "%(message)s", logging.INFO if access else logging.CRITICAL)


def _write(name: str, form: str, level: int) -> None:
    logger = logging.getLogger(name)
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(logging.Formatter(form))
    logger.handlers[:] = [handler]
    logger.setLevel(level)
    logger.propagate = False
