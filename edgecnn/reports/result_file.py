"""Results as JSON text and files."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec

from edgecnn.atomic import replacing, writing
from edgecnn.errors import ResultError
from edgecnn.reports.result import RESULT_VERSION, ResultFile
from edgecnn.versioned import Form

__all__ = ["decode_results", "encode_results", "read_results", "write_results"]


_FORM = Form(
    schema=RESULT_VERSION,
    damage="is not a result of edgecnn",
    error=ResultError,
    newer="measure again",
    repair="Write it again with --json or -o.",
)


def encode_results(document: ResultFile) -> str:
    """The JSON text of ``document``, indented, with its version, without what was not measured."""
    fields = {
        "schema": RESULT_VERSION,
        "environment": document.environment,
        "results": _measured(msgspec.to_builtins(document.results)),
    }
    return msgspec.json.format(msgspec.json.encode(fields), indent=2).decode()


def decode_results(text: str | bytes, *, origin: str) -> ResultFile:
    """Read what :func:`encode_results` wrote.

    Args:
        text: the JSON text.
        origin: the file it came from, for the message.

    Raises:
        ResultError: not JSON, another version, or a field that is missing or of the wrong type.
    """
    return _FORM.from_json(text, ResultFile, origin=origin)


def read_results(path: Path) -> ResultFile:
    """The document in the file ``path``.

    Raises:
        ResultError: it cannot be read, or is not a result.
    """
    try:
        text = path.read_bytes()
    except OSError as error:
        raise ResultError(
            f"{path} cannot be read: {error.strerror or error}.", "Check the path; -o writes such a file."
        ) from error
    return decode_results(text, origin=str(path))


def write_results(document: ResultFile, path: Path) -> None:
    """Write ``document`` to ``path``; an older file survives until the new one is complete.

    Raises:
        ResultError: the file cannot be written.
    """
    text = encode_results(document)
    remedy = "Free some space or choose another place with -o; what was there before is untouched."
    with writing(path, ResultError, remedy), replacing(path) as temporary:
        temporary.write_text(text + "\n", encoding="utf-8")


def _measured(value: Any) -> Any:  # noqa: ANN401 - JSON
    """``value`` without the members of objects that are None."""
    if isinstance(value, dict):
        return {key: _measured(member) for key, member in value.items() if member is not None}
    if isinstance(value, list | tuple):
        return [_measured(item) for item in value]
    return value
