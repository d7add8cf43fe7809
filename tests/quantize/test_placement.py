"""Int8 models for ONNX Runtime: what they hold, what they take, and what they leave in float."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from numpy.typing import NDArray
from onnx import TensorProto, numpy_helper

from edgecnn.quantize.bias_correction import round_weights
from edgecnn.quantize.placement import Scheme, place_qdq
from edgecnn.quantize.sessions import Session
from edgecnn.statistics import sqnr_db

Array = NDArray[Any]
Small = Any  # conftest's

NAMES = pytest.mark.parametrize("name", ["residual", "excite", "silu"])
SCHEMES = pytest.mark.parametrize(
    "scheme",
    [Scheme(), Scheme(reduce_range=True), Scheme(signed_activations=True)],
    ids=str,
)
INTEGER = {"QLinearConv", "QGemm"}


def constants(model: onnx.ModelProto) -> dict[str, Array]:
    return {tensor.name: numpy_helper.to_array(tensor) for tensor in model.graph.initializer}


def optimised(model: onnx.ModelProto, folder: Path) -> dict[str, str]:
    """Name -> operator of each node that ONNX Runtime runs; it appends to names."""
    Session(model, threads=1, optimised=folder / "optimised.onnx")
    return {node.name: node.op_type for node in onnx.load(folder / "optimised.onnx").graph.node}


def runs_as(model: onnx.ModelProto, folder: Path, name: str) -> str:
    """The operator that ONNX Runtime computes the convolution or product ``name`` with."""
    products = {each: op for each, op in optimised(model, folder).items() if "Conv" in op or "Gemm" in op}
    (found,) = {op for each, op in products.items() if re.split("[_/]", each)[0] == name}
    return found


@NAMES
@SCHEMES
def test_the_outside_stays(small: Callable[[str], Small], name: str, scheme: Scheme) -> None:
    case = small(name)
    placed = place_qdq(case.model, case.ranges, scheme)
    onnx.checker.check_model(placed, full_check=True)
    assert list(placed.graph.input) == list(case.model.graph.input)
    assert [value.name for value in placed.graph.output] == ["y"]
    assert placed.graph.output[0].type.tensor_type.elem_type == TensorProto.FLOAT
    session = Session(placed, threads=1)
    (all_at_once,) = session.run(case.images[:3])
    assert all_at_once.shape == (3, 10)
    one_by_one = np.concatenate([session.run(case.images[at : at + 1])[0] for at in range(3)])
    # Integers until the last product, which is scaled in float32.
    np.testing.assert_allclose(all_at_once, one_by_one, rtol=1e-5, atol=1e-6)


@NAMES
@SCHEMES
def test_every_convolution_and_product_runs_in_int8(
    small: Callable[[str], Small], tmp_path: Path, name: str, scheme: Scheme
) -> None:
    case = small(name)
    kinds = optimised(place_qdq(case.model, case.ranges, scheme), tmp_path).values()
    weighted = [node for node in case.model.graph.node if node.op_type in {"Conv", "Gemm"}]
    assert sum(kind in INTEGER for kind in kinds) == len(weighted)
    assert not {"Conv", "FusedConv", "Gemm", "HardSwish", "HardSigmoid"} & set(kinds)


@NAMES
def test_scores_are_float_and_do_not_tie(small: Callable[[str], Small], name: str) -> None:
    case = small(name)
    scores = Session(place_qdq(case.model, case.ranges, Scheme(reduce_range=True)), threads=1).scores(
        case.images
    )
    assert len(np.unique(scores)) > 256
    found = sqnr_db(case.reference, scores)
    assert found is not None
    assert found > 35  # 8 bits lose 50 dB at best, 7-bit weights and six layers the rest


@pytest.mark.parametrize(("scheme", "levels"), [(Scheme(), 127), (Scheme(reduce_range=True), 64)], ids=str)
def test_weights_are_those_that_were_promised(
    small: Callable[[str], Small], scheme: Scheme, levels: int
) -> None:
    case = small("excite")
    assert scheme.weight_levels == levels
    found, source = constants(place_qdq(case.model, case.ranges, scheme)), constants(case.model)
    for name in ("w1", "depth", "w2", "squeeze", "excite", "dense"):
        stored, scale = found[f"{name}_quantized"], found[f"{name}_scale"]
        assert stored.dtype == np.int8
        assert np.abs(stored.astype(int)).max() == levels
        assert scale.shape == (len(stored),), "one scale for each output"
        restored = stored * scale.reshape(-1, *[1] * (stored.ndim - 1))
        np.testing.assert_allclose(restored, round_weights(source[name], levels), rtol=1e-5, atol=1e-7)


@NAMES
@pytest.mark.parametrize(
    ("scheme", "dtype"), [(Scheme(), np.uint8), (Scheme(signed_activations=True), np.int8)]
)
def test_activations_are_of_the_schemes_type(
    small: Callable[[str], Small], name: str, scheme: Scheme, dtype: type
) -> None:
    case = small(name)
    placed = place_qdq(case.model, case.ranges, scheme)
    found = constants(placed)
    pairs = [node for node in placed.graph.node if node.op_type == "QuantizeLinear"]
    assert {found[node.input[2]].dtype for node in pairs} == {np.dtype(dtype)}


def test_a_range_is_what_the_levels_span(small: Callable[[str], Small]) -> None:
    case = small("residual")
    found = constants(place_qdq(case.model, case.ranges, Scheme()))
    for value in ("x", "r", "t", "s"):
        scale, zero = float(found[f"{value}_scale"]), int(found[f"{value}_zero_point"])
        low, high = case.ranges[value]
        # The zero point is rounded: ends move by up to half a step, together.
        assert (-zero * scale, (255 - zero) * scale) == pytest.approx((low, high), abs=scale / 2 * (1 + 1e-5))
        assert 255 * scale == pytest.approx(high - low, rel=1e-5)


def test_gates_take_the_ranges_that_they_have(small: Callable[[str], Small]) -> None:
    """Whatever was seen of them: a gate's 8 bits span what it can be, and 6 / 6 is exactly 1."""
    for name, gate in (("excite", "k"), ("silu", "u")):
        case = small(name)
        placed = place_qdq(case.model, {**case.ranges, gate: (0.0, 0.4)}, Scheme())
        found = constants(placed)
        pair = next(node for node in placed.graph.node if f"{gate}_DequantizeLinear_Output" in node.output)
        assert 255 * float(found[pair.input[1]]) == pytest.approx(1, rel=1e-6)
        assert int(found[pair.input[2]]) == 0


@pytest.mark.parametrize(("name", "kept"), [("residual", "d"), ("excite", "a"), ("silu", "c")])
def test_a_layer_that_is_kept_runs_in_float(
    small: Callable[[str], Small], tmp_path: Path, name: str, kept: str
) -> None:
    case = small(name)
    placed = place_qdq(case.model, case.ranges, Scheme(), keep_float=[kept])
    assert runs_as(placed, tmp_path, kept) in {"Conv", "FusedConv"}
    others = {node.name for node in case.model.graph.node if node.op_type in {"Conv", "Gemm"}} - {kept}
    assert {runs_as(placed, tmp_path, other) for other in others} <= INTEGER


def test_a_last_product_may_be_kept(small: Callable[[str], Small], tmp_path: Path) -> None:
    case = small("residual")
    placed = place_qdq(case.model, case.ranges, Scheme(), keep_float=["y"])
    assert runs_as(placed, tmp_path, "y") == "Gemm"


def test_with_all_nodes_kept_the_model_is_the_float_one(small: Callable[[str], Small]) -> None:
    case = small("excite")
    placed = place_qdq(case.model, case.ranges, Scheme(), [node.name for node in case.model.graph.node])
    np.testing.assert_allclose(Session(placed, threads=1).scores(case.images), case.reference, atol=1e-5)
    assert not any("QuantizeLinear" in node.op_type for node in placed.graph.node)


def test_hard_gates_are_opened_unless_kept(small: Callable[[str], Small]) -> None:
    case = small("excite")
    kinds = [node.op_type for node in place_qdq(case.model, case.ranges, Scheme()).graph.node]
    assert not {"HardSwish", "HardSigmoid"} & set(kinds)
    assert kinds.count("Mul") == 3, "of the activations; the divisions by 6 are changes of scale"
    kept = place_qdq(case.model, case.ranges, Scheme(), keep_float=["r"])
    assert [node.name for node in kept.graph.node if node.op_type == "HardSwish"] == ["r"]


def test_activations_that_are_always_0_do_no_harm(small: Callable[[str], Small]) -> None:
    case = small("residual")
    placed = place_qdq(case.model, {**case.ranges, "t": (0.0, 0.0)}, Scheme())
    assert np.isfinite(Session(placed, threads=1).scores(case.images)).all()


def test_the_source_is_not_changed(small: Callable[[str], Small]) -> None:
    case = small("excite")
    before, ranges = case.model.SerializeToString(), dict(case.ranges)
    place_qdq(case.model, case.ranges, Scheme())
    assert case.model.SerializeToString() == before
    assert dict(case.ranges) == ranges
