"""What a model file consists of."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from edgecnn.errors import ArtifactError
from edgecnn.graph.index import GraphIndex
from edgecnn.graph.inventory import precision_shares, take_inventory
from edgecnn.graph.layers import GraphLayer
from edgecnn.graph.storage import stored_bytes


def written(path: Path, external: bool = False) -> Path:
    """A convolution and a product of float weights, with a constant and ONNX Runtime's own activation."""
    weight, half = np.zeros((4, 3, 2, 2), np.float32), np.zeros((4, 10), np.float16)
    nodes = [
        helper.make_node("Conv", ["x", "w"], ["c"], name="conv"),
        helper.make_node("QuickGelu", ["c"], ["g"], domain="com.microsoft"),
        helper.make_node("Constant", [], ["rows"], value_ints=[-1, 4]),
        helper.make_node("Reshape", ["g", "rows"], ["f"]),
        helper.make_node("Cast", ["f"], ["h"], to=TensorProto.FLOAT16),
        helper.make_node("MatMul", ["h", "m"], ["y"], name="product"),
    ]
    graph = helper.make_graph(
        nodes,
        "test",
        [
            helper.make_tensor_value_info("x", TensorProto.FLOAT, ["batch", 3, 2, 2]),
            helper.make_tensor_value_info("w", TensorProto.FLOAT, weight.shape),
        ],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT16, ["batch", 10])],
        [numpy_helper.from_array(weight, "w"), numpy_helper.from_array(half, "m")],
    )
    imports = [helper.make_opsetid("", 17), helper.make_opsetid("com.microsoft", 1)]
    model = helper.make_model(graph, opset_imports=imports, ir_version=8, producer_name="somebody")
    model.metadata_props.add(key="edgecnn.spec", value="{}")
    model.metadata_props.add(key="licence", value="MIT")
    onnx.save(model, path, save_as_external_data=external, location="w.data", size_threshold=0)
    return path


def test_a_file_without_a_spec(tmp_path: Path) -> None:
    path = written(tmp_path / "model.onnx")
    inventory = take_inventory(path)
    assert inventory.bytes == path.stat().st_size
    assert inventory.sha256 == hashlib.sha256(path.read_bytes()).hexdigest()
    assert inventory.metadata == {"licence": "MIT"}
    assert (inventory.producer, inventory.ir_version) == ("somebody", 8)
    assert inventory.opsets == {"ai.onnx": 17, "com.microsoft": 1}
    assert inventory.inputs == ("x: FLOAT, batchx3x2x2",)
    assert inventory.outputs == ("y: FLOAT16, batchx10",)
    assert inventory.operators["com.microsoft::QuickGelu"] == 1
    assert sum(inventory.operators.values()) == 6


def test_what_is_stored(tmp_path: Path) -> None:
    stored = {entry.dtype: entry for entry in take_inventory(written(tmp_path / "model.onnx")).stored}
    assert list(stored) == ["float", "float16", "int64"]
    assert (stored["float"].tensors, stored["float"].numbers, stored["float"].bytes) == (1, 48, 192)
    assert (stored["float16"].numbers, stored["float16"].bytes) == (40, 80)
    assert (stored["int64"].numbers, stored["int64"].bytes) == (2, 16)
    assert sum(entry.numbers_share for entry in stored.values()) == pytest.approx(100)
    assert stored["float"].bytes_share == pytest.approx(100 * 192 / 288)


def test_precisions_and_their_share_of_the_work(tmp_path: Path) -> None:
    inventory = take_inventory(written(tmp_path / "model.onnx"))
    first, second = inventory.precisions
    assert (first.precision, first.nodes, first.macs) == ("fp32", {"Conv": 1}, 48)
    assert (second.precision, second.nodes, second.macs, second.macs_share) == (
        "fp16",
        {"MatMul": 1},
        40,
        100 * 40 / 88,
    )
    assert (inventory.macs, inventory.nodes_of_unknown_macs) == (88, 0)


def test_what_is_behind_an_operator_that_nobody_knows(tmp_path: Path) -> None:
    model = onnx.load(written(tmp_path / "known.onnx"))
    model.graph.node[1].op_type = "Mystery"
    onnx.save(model, tmp_path / "unknown.onnx")
    inventory = take_inventory(tmp_path / "unknown.onnx")
    assert (inventory.macs, inventory.nodes_of_unknown_macs) == (48, 1)
    assert inventory.precisions[1].macs == 0


def test_shares_where_nothing_is_known() -> None:
    layer = GraphLayer(node="n", op="Conv", output_shape=None, precision="int8", macs=None)
    (share,) = precision_shares([layer])
    assert (share.macs, share.macs_share) == (0, None)
    assert precision_shares([]) == ()


def test_external_weights_belong_to_the_file(tmp_path: Path) -> None:
    path = written(tmp_path / "model.onnx", external=True)
    data = tmp_path / "w.data"
    inventory = take_inventory(path)
    assert inventory.bytes == path.stat().st_size + data.stat().st_size
    assert inventory.sha256 == hashlib.sha256(path.read_bytes() + data.read_bytes()).hexdigest()
    data.unlink()
    with pytest.raises(ArtifactError, match="external weights"):
        take_inventory(path)


@pytest.mark.parametrize(
    ("dtype", "numbers", "expected"),
    [
        (TensorProto.INT4, 5, 3),
        (TensorProto.INT2, 5, 2),
        (TensorProto.INT8, 5, 5),
        (TensorProto.BFLOAT16, 5, 10),
    ],
)
def test_numbers_of_few_bits_are_packed(dtype: int, numbers: int, expected: int) -> None:
    assert stored_bytes(dtype, numbers) == expected


def test_constants_are_found_wherever_they_are_written() -> None:
    nodes = [
        helper.make_node("Constant", [], ["one"], value_float=1.5),
        helper.make_node("Constant", [], ["many"], value_ints=[2, 3]),
        helper.make_node("Constant", [], ["tensor"], value=numpy_helper.from_array(np.array([[4]], np.int8))),
    ]
    index = GraphIndex(
        helper.make_graph(nodes, "test", [], [], [numpy_helper.from_array(np.ones(2), "plain")])
    )
    found = {name: index.array(name) for name in ("one", "many", "tensor", "plain", "none")}
    assert {name: None if value is None else value.tolist() for name, value in found.items()} == {
        "one": 1.5,
        "many": [2, 3],
        "tensor": [[4]],
        "plain": [1, 1],
        "none": None,
    }
