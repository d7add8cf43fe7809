"""A tiny real artifact whose answers are known, and image folders that it reads."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper
from PIL import Image

from edgecnn.artifact import save_artifact
from edgecnn.spec import ModelSpec, Preprocess, TensorSpec, WeightsId

CLASSES = tuple(f"class {index}" for index in range(10))


def reader_model(shift: int = 0, batch: int | str = "batch") -> onnx.ModelProto:
    """(N, 4, 4, 3) uint8 to (N, 10): highest is the class that the first pixel states, plus ``shift``."""
    constants: dict[str, np.ndarray] = {
        "start": np.array([0, 0, 0], np.int64),
        "end": np.array([1, 1, 1], np.int64),
        "axes": np.array([1, 2, 3], np.int64),
        "row": np.array([-1, 1], np.int64),
        "classes": np.arange(10, dtype=np.float32)[None] - shift,
    }
    nodes = [
        helper.make_node("Slice", ["input", "start", "end", "axes"], ["pixel"]),
        helper.make_node("Cast", ["pixel"], ["number"], to=TensorProto.FLOAT),
        helper.make_node("Reshape", ["number", "row"], ["stated"]),
        helper.make_node("Sub", ["classes", "stated"], ["distance"]),
        helper.make_node("Abs", ["distance"], ["size"]),
        helper.make_node("Neg", ["size"], ["scores"]),
    ]
    graph = helper.make_graph(
        nodes,
        "reader",
        [helper.make_tensor_value_info("input", TensorProto.UINT8, [batch, 4, 4, 3])],
        [helper.make_tensor_value_info("scores", TensorProto.FLOAT, [batch, 10])],
        [numpy_helper.from_array(value, name) for name, value in constants.items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def reader_spec(batch: int | str = "batch") -> ModelSpec:
    return ModelSpec(
        network="reader",
        classes=CLASSES,
        input=TensorSpec(name="input", dtype="uint8", shape=(batch, 4, 4, 3)),
        output=TensorSpec(name="scores", dtype="float32", shape=(batch, 10)),
        preprocess=Preprocess(resize=None, crop=(4, 4), in_graph=True),
        weights=WeightsId(kind="unknown", name="none"),
    )


@pytest.fixture
def reader(tmp_path: Path) -> Callable[..., Path]:
    """Writes an artifact that answers what an image states, plus ``shift``."""

    def write(name: str = "reader.onnx", shift: int = 0, batch: int | str = "batch") -> Path:
        return save_artifact(reader_model(shift, batch), reader_spec(batch), tmp_path / name).path

    return write


def write_image(path: Path, stated: int) -> Path:
    """A PNG of 4 x 4 pixels that states a class."""
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.zeros((4, 4, 3), np.uint8)
    pixels[0, 0, 0] = stated
    Image.fromarray(pixels).save(path)
    return path


@pytest.fixture
def image(tmp_path: Path) -> Callable[..., Path]:
    """Writes an image that states a class."""

    def write(stated: int, name: str = "image.png") -> Path:
        return write_image(tmp_path / name, stated)

    return write


@pytest.fixture
def folder(tmp_path: Path) -> Callable[..., Path]:
    """Writes an image folder: image i is in the folder of class labels[i] and states stated[i]."""

    def write(labels: Sequence[int], stated: Sequence[int] | None = None, broken: int = 0) -> Path:
        root = tmp_path / "images"
        for index, (label, says) in enumerate(zip(labels, stated or labels, strict=True)):
            write_image(root / CLASSES[label] / f"{index:03}.png", says)
        for index in range(broken):
            path = root / CLASSES[labels[0]] / f"broken{index:03}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(b"")
        return root

    return write
