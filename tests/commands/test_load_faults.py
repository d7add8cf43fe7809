"""Errors of the client, told to somebody at a command line."""

from __future__ import annotations

import re

import pytest

from edgecnn.client import (
    AnswerError,
    ClientError,
    GaveUpError,
    RefusedError,
    TimedOutError,
    UnreachableError,
    UntrustedError,
)
from edgecnn.commands.load import load
from edgecnn.commands.load_faults import with_options

ERRORS = (
    (UntrustedError("a.", "Pass verify=..."), None, "--ca FILE"),
    (TimedOutError("a.", "Allow more with timeout_s=..."), None, "overloaded"),
    (
        GaveUpError(503, "a.", "RetryPolicy(...)", attempts=3, retry_after_s=None),
        None,
        "when the server is ready",
    ),
    (RefusedError(401, "a.", "Pass api_key=..."), None, "--api-key-file FILE"),
    (RefusedError(404, "a.", "models() lists"), "m", "--model"),
    (RefusedError(404, "a.", "models() lists"), None, "--model NAME"),
    (RefusedError(500, "a.", "See its log."), None, "See its log."),
    (UnreachableError("a.", "Is it there?"), None, "Is it there?"),
    (AnswerError("a.", "Is it one?"), None, "Is it one?"),
)


@pytest.mark.parametrize(("error", "model", "says"), ERRORS)
def test_the_remedy_names_options_and_no_python(error: ClientError, model: str | None, says: str) -> None:
    told = with_options(error, model=model)
    assert told.problem == "a."
    assert says in told.remedy
    assert "(" not in told.remedy
    assert "=" not in told.remedy
    known = {text for each in load.params for text in (*each.opts, *each.secondary_opts)}
    assert set(re.findall(r"--[a-z-]+", told.remedy)) <= known
