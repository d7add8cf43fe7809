"""What may be chosen of an export, and what is said of the rest."""

from __future__ import annotations

from typing import Literal

import pytest

from edgecnn.errors import UsageError
from edgecnn.export.settings import ExportSettings


@pytest.mark.parametrize(
    ("exporter", "opset", "hint"),
    [
        ("dynamo", 17, "--exporter torchscript"),
        ("torchscript", 21, "--exporter dynamo"),
        ("dynamo", 5, "18 to 23"),
    ],
)
def test_an_opset_that_the_exporter_does_not_write(
    exporter: Literal["dynamo", "torchscript"], opset: int, hint: str
) -> None:
    with pytest.raises(UsageError, match=hint):
        ExportSettings(exporter=exporter, opset=opset)


def test_an_empty_batch() -> None:
    with pytest.raises(UsageError, match="batch of 0"):
        ExportSettings(batch=0)
