"""Which artifact a cell of the matrix needs, and how its engine runs it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from edgecnn.compare.plan import ComparedPrecision, ComparePlan
from edgecnn.engines.choice import EngineChoice
from edgecnn.quantize.settings import RecipeName, Target

__all__ = ["Cell", "Making", "cells_of", "impossible"]

#: Engines that run ONNX files made for ONNX Runtime, Q/DQ included; a plug-in is taken for one.
_NOT_ONNX = ("torch", "torch-compile")


@dataclass(frozen=True, slots=True)
class Making:
    """How an artifact comes from the float one.

    Attributes:
        target: the engine that it is for.
        recipe: of ``edgecnn quantize``.
    """

    target: Target
    recipe: RecipeName


@dataclass(frozen=True, slots=True)
class Cell:
    """One precision in one engine.

    Attributes:
        precision: that is asked for.
        choice: the engine, told what it must be told to run in that precision.
        making: of its artifact; None for the float one.
    """

    precision: ComparedPrecision
    choice: EngineChoice
    making: Making | None

    def __str__(self) -> str:
        return f"{self.precision} {self.choice.text}"


def cells_of(plan: ComparePlan) -> tuple[tuple[Cell, ...], tuple[str, ...]]:
    """The cells of one network, each once, and for those that there cannot be, why not."""
    cells, refused = [], []
    for engine in plan.engines:
        for precision in plan.precisions:
            reason = impossible(precision, engine)
            if reason is None:
                cells.append(_cell(precision, engine))
            else:
                refused.append(f"{precision} in {engine.text}: {reason}")
    once = {(cell.precision, cell.choice.name, cell.choice.options): cell for cell in cells}
    return tuple(once.values()), tuple(refused)


def impossible(precision: ComparedPrecision, engine: EngineChoice) -> str | None:
    """Why there is no such cell; None where there is."""
    told = engine.options.precision
    if told is not None and told != precision != "int8":
        return f"the engine is told to compute in {told}."
    if precision == "fp32":
        return None
    if engine.name in _NOT_ONNX:
        return "PyTorch runs the float model only."
    if precision == "bf16" and engine.name != "openvino":
        return "only OpenVINO computes in bfloat16 here (--engine openvino)."
    return None


def _cell(precision: ComparedPrecision, engine: EngineChoice) -> Cell:
    if engine.name == "openvino" and precision in ("fp16", "bf16"):
        return Cell(precision, engine.preferring(precision=precision), None)
    return Cell(precision, engine, _making(precision, engine.name))


def _making(precision: ComparedPrecision, engine: str) -> Making | None:
    targets: dict[str, Target] = {"openvino": "openvino", "trt": "trt", "trt-rtx": "trt"}
    recipes: dict[ComparedPrecision, Literal["auto", "fp16"]] = {"int8": "auto", "fp16": "fp16"}
    recipe = recipes.get(precision)
    return None if recipe is None else Making(targets.get(engine, "ort"), recipe)
