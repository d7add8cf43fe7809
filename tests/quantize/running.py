"""What models answer in ONNX Runtime, what is in them, and what TensorRT for RTX makes of them."""

from __future__ import annotations

import json
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
from numpy.typing import NDArray


def answers(model: onnx.ModelProto, batch: NDArray[np.generic]) -> NDArray[np.float32]:
    """The first output, of one thread."""
    settings = onnxruntime.SessionOptions()
    settings.intra_op_num_threads = 1
    settings.log_severity_level = 4
    session = onnxruntime.InferenceSession(model.SerializeToString(), settings)
    answer: NDArray[np.float32] = session.run(None, {model.graph.input[0].name: batch})[0]
    return answer


def operators(model: onnx.ModelProto) -> Counter[str]:
    """How often each kind of node is there."""
    return Counter(node.op_type for node in model.graph.node)


def built_for_rtx(model: onnx.ModelProto, folder: Path) -> dict[str, Any]:
    """What rtx_build.py tells of ``model``."""
    onnx.save(model, folder / "model.onnx")
    command = [sys.executable, str(Path(__file__).with_name("rtx_build.py")), str(folder / "model.onnx")]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=300)
    build: dict[str, Any] = json.loads(done.stdout)
    return build
