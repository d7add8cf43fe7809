"""Which cells a matrix has."""

from __future__ import annotations

from typing import Any

import pytest

from edgecnn.compare.cells import Making, cells_of, impossible
from edgecnn.compare.plan import PRECISIONS, ComparePlan
from edgecnn.engines.choice import parse_choice, parse_choices


def _plan(plan: Any, engines: str, *precisions: str) -> ComparePlan:
    made: ComparePlan = plan(engines=engines, precisions=precisions)
    return made


def test_every_precision_in_every_engine(plan: Any) -> None:
    cells, refused = cells_of(_plan(plan, "ort,openvino", "fp32", "fp16", "bf16", "int8"))
    assert [(str(cell), cell.making) for cell in cells] == [
        ("fp32 ort", None),
        ("fp16 ort", Making("ort", "fp16")),
        ("int8 ort", Making("ort", "auto")),
        ("fp32 openvino", None),
        ("fp16 openvino:precision=fp16", None),
        ("bf16 openvino:precision=bf16", None),
        ("int8 openvino", Making("openvino", "auto")),
    ]
    assert refused == ("bf16 in ort: only OpenVINO computes in bfloat16 here (--engine openvino).",)


@pytest.mark.parametrize("engine", ["torch", "torch-compile", "torch:threads=1"])
@pytest.mark.parametrize("precision", ["fp16", "bf16", "int8"])
def test_torch_runs_the_float_model_only(engine: str, precision: Any) -> None:
    assert impossible("fp32", parse_choice(engine)) is None
    assert impossible(precision, parse_choice(engine)) == "PyTorch runs the float model only."


def test_an_engine_that_was_told_its_precision_keeps_it(plan: Any) -> None:
    cells, refused = cells_of(_plan(plan, "openvino:precision=bf16", *PRECISIONS))
    assert [str(cell) for cell in cells] == [
        "bf16 openvino:precision=bf16",
        "int8 openvino:precision=bf16",
    ]
    assert refused == (
        "fp32 in openvino:precision=bf16: the engine is told to compute in bf16.",
        "fp16 in openvino:precision=bf16: the engine is told to compute in bf16.",
    )


def test_what_is_named_twice_in_other_words_is_one_cell(plan: Any) -> None:
    cells, _ = cells_of(_plan(plan, "ort:spin=on,arena=off,ort:arena=off,spin=on,ort,ort", "fp32"))
    assert [cell.choice.options for cell in cells] == [
        choice.options for choice in parse_choices("ort:spin=on,arena=off,ort")
    ]
    cells, _ = cells_of(_plan(plan, "openvino: precision=bf16,openvino", "bf16"))
    assert len(cells) == 1


def test_other_options_of_the_engine_stay(plan: Any) -> None:
    cells, _ = cells_of(_plan(plan, "openvino:hint=latency", "bf16"))
    assert cells[0].choice == parse_choice("openvino:precision=bf16,hint=latency")
