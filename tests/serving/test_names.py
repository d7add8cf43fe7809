"""Names of models."""

from __future__ import annotations

import pytest

from edgecnn.errors import UsageError
from edgecnn.serving.names import is_servable, require_servable


@pytest.mark.parametrize(
    "name", ["resnet50", "mobilenet_v2-int8", "a.b+c~d", "cars:2@edge", "größe", "7", "..."]
)
def test_what_a_path_holds_as_it_is_is_a_name(name: str) -> None:
    require_servable(name, "Rename it.")


@pytest.mark.parametrize(
    "name", ["", "a/b", "a b", "a\n", "a?b", "a%2Fb", "a#b", ".", "..", "stats", "\udcff"]
)
def test_what_no_url_reaches_is_none(name: str) -> None:
    assert not is_servable(name)
    with pytest.raises(UsageError, match=r"is no name for a model.*\n.*Rename it\.") as caught:
        require_servable(name, "Rename it.")
    assert repr(name) in caught.value.problem
