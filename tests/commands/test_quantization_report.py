"""Files of a quantisation that cannot be written."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from edgecnn.commands.console import Terminal
from edgecnn.commands.quantization_report import save_front
from edgecnn.errors import ResultError
from edgecnn.quantize.fidelity import Fidelity
from edgecnn.quantize.goal import Drop
from edgecnn.quantize.mixed_precision import MixedPoint

POINT = MixedPoint(
    label="all in int8",
    kept_float=(),
    fidelity=Fidelity(noise=0.1, agreement=99.0, images=50),
    drop=Drop(n=50, gained=0, lost=1),
    relative_latency=1.0,
    latency_ci95=(1.0, 1.0),
    met=True,
)


@pytest.mark.parametrize("name", ["q.front.json", "q.front.png"])
def test_a_front_that_cannot_be_written_is_named_and_the_model_is_not_lost(tmp_path: Path, name: str) -> None:
    pytest.importorskip("matplotlib", reason="matplotlib is not installed")
    (tmp_path / name).mkdir()
    outcome: Any = SimpleNamespace(quantised=SimpleNamespace(front=(POINT,)))
    with pytest.raises(ResultError) as caught:
        save_front(outcome, tmp_path / "q.onnx", Terminal())
    assert caught.value.problem.startswith(f"{tmp_path / name} cannot be written: ")
    assert caught.value.remedy.startswith("The model is written")
