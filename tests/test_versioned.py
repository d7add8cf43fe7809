"""Documents of a stated version: what is read, what is refused, and what is said of it."""

from __future__ import annotations

from dataclasses import dataclass

import pytest

from edgecnn.errors import ResultError
from edgecnn.versioned import Form

FORM = Form(
    schema="soup/2",
    damage="is no recipe",
    error=ResultError,
    newer="cook it again",
    repair="Write it by hand.",
)


@dataclass(frozen=True)
class Soup:
    """What such a document holds."""

    litres: float


def test_a_document_of_the_version_is_read_and_unknown_fields_are_ignored() -> None:
    text = '{"schema": "soup/2", "litres": 1.5, "colour": "green"}'
    assert FORM.from_json(text, Soup, origin="soup.json") == Soup(1.5)


def test_another_version_is_refused_before_its_fields_are_looked_at() -> None:
    with pytest.raises(ResultError) as caught:
        FORM.from_json(b'{"schema": "soup/3", "litres": "many"}', Soup, origin="soup.json")
    assert caught.value.problem == "soup.json: its schema is 'soup/3', and this edgecnn reads 'soup/2'."
    assert caught.value.remedy == "Use the edgecnn that wrote it, or cook it again."


@pytest.mark.parametrize(
    "text",
    ["", "[]", "{}", '{"schema": "soup/2"}', '{"schema": 2, "litres": 1}', b'{"schema": "\xff"}'],
    ids=["empty", "array", "no schema", "a field less", "number", "not UTF-8"],
)
def test_what_cannot_be_read_is_named_with_its_repair(text: str | bytes) -> None:
    with pytest.raises(ResultError, match=r"^soup\.json is no recipe: ") as caught:
        FORM.from_json(text, Soup, origin="soup.json")
    assert caught.value.remedy == "Write it by hand."
