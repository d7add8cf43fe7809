"""The recipes by name: what each needs, what it makes, and what must hold of its result."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import cast

import onnx

from edgecnn.artifact import graph_input, graph_output
from edgecnn.errors import QuantizationError
from edgecnn.graph.batch_norm import fold_batch_norm
from edgecnn.graph.constants import drop_constant_inputs, store_constants
from edgecnn.graph.join_gates import join_hard_gates
from edgecnn.graph.node_names import name_apart
from edgecnn.graph.order import tidy
from edgecnn.graph.pooling import pool_globally
from edgecnn.lookup import resolve
from edgecnn.quantize.guards import at_least_opset, at_most_opset, require_quantisable
from edgecnn.quantize.labels import keep_labels
from edgecnn.quantize.settings import RecipeName
from edgecnn.quantize.work import Quantised, Work
from edgecnn.spec import Precision

__all__ = ["RECIPES", "Recipe"]

#: Per-channel scales exist from 13 on; ONNX Runtime's quantiser knows operators up to 20.
_OPSETS = (13, 20)


@dataclass(frozen=True, slots=True)
class Recipe:
    """One way to quantise.

    Attributes:
        summary: what it does, in a line.
        reference: "module:function" of what does it: takes a Work, returns a Quantised.
        precision: what most of the arithmetic runs in afterwards.
        calibrates: whether it needs images.
        multiplies_integers: whether it is to be faster: if not, it is for size, or for other machines.
    """

    summary: str
    reference: str
    precision: Precision
    calibrates: bool
    multiplies_integers: bool

    def requires(self, model: onnx.ModelProto) -> onnx.ModelProto:
        """The float ``model`` in the form that the recipe works on.

        It is a copy, of an opset that the recipe knows, in which every node has a name of its own (that which
        'edgecnn inspect' shows), constants are stored as initialisers and are no inputs, and batch
        normalisation is part of the layer before it. For recipes that calibrate, means over pixels and hard
        gates are the operators that have int8 kernels.

        Raises:
            QuantizationError: there is nothing in it that could be quantised, or it cannot be converted.
        """
        require_quantisable(model)
        prepared = onnx.ModelProto()
        prepared.CopyFrom(at_least_opset(at_most_opset(model, _OPSETS[1]), _OPSETS[0]))
        name_apart(prepared.graph)  # not before: ONNX's converter adds nodes without names
        store_constants(prepared)
        drop_constant_inputs(prepared)
        fold_batch_norm(prepared)
        if self.calibrates:
            pool_globally(prepared)
            join_hard_gates(prepared)
        tidy(prepared)
        return prepared

    def apply(self, work: Work) -> Quantised:
        """Quantise; the result keeps the model's producer, texts and metadata.

        Raises:
            QuantizationError: as the recipe says; or its result broke what :meth:`ensures` demands.
        """
        quantised = cast(Callable[[Work], Quantised], resolve(self.reference))(work)
        self.ensures(work.model, quantised.model)
        keep_labels(quantised.model, work.model)
        return quantised

    def ensures(self, before: onnx.ModelProto, after: onnx.ModelProto) -> None:
        """Whether input and output are what they were: names, types and the dynamic batch.

        Raises:
            QuantizationError: they are not.
        """
        pairs = ((graph_input(before), graph_input(after)), (graph_output(before), graph_output(after)))
        for was, now in pairs:
            if was != now:
                raise QuantizationError(
                    f"Quantising changed {was} to {now}.",
                    "This is a defect of edgecnn or of a library below it: please report it. "
                    "Another --recipe may work.",
                )


def _static(name: str) -> Recipe:
    return Recipe(
        f"static int8, ranges by {name}",
        "edgecnn.quantize.static_int8:quantize_static",
        "int8",
        calibrates=True,
        multiplies_integers=True,
    )


RECIPES: dict[RecipeName, Recipe] = {
    "auto": Recipe(
        "static int8, tried and measured until accurate and fast",
        "edgecnn.quantize.auto:quantize_automatically",
        "int8",
        calibrates=True,
        multiplies_integers=True,
    ),
    "minmax": _static("minmax"),
    "percentile": _static("percentile"),
    "entropy": _static("entropy"),
    "mse": _static("mse"),
    "dynamic": Recipe(
        "int8 matrix products, ranges found anew for each input",
        "edgecnn.quantize.uncalibrated:dynamic",
        "mixed",
        calibrates=False,
        multiplies_integers=True,
    ),
    "weights": Recipe(
        "int8 weights, float arithmetic: a quarter of the size",
        "edgecnn.quantize.uncalibrated:weights",
        "fp32",
        calibrates=False,
        multiplies_integers=False,
    ),
    "fp16": Recipe(
        "half-precision floats, for GPUs: half the size",
        "edgecnn.quantize.uncalibrated:fp16",
        "fp16",
        calibrates=False,
        multiplies_integers=False,
    ),
    "nncf": Recipe(
        "OpenVINO's own quantiser with its defaults",
        "edgecnn.quantize.with_nncf:nncf_default",
        "int8",
        calibrates=True,
        multiplies_integers=True,
    ),
}
