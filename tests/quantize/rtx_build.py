"""Builds an ONNX file with TensorRT for RTX, ahead of time and without a GPU: python rtx_build.py MODEL.

Prints one line of JSON: whether it parsed, what the parser and the builder complained of, the plan's bytes.
A script of its own, because a build after a failed one in the same process is not the same.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import tensorrt_rtx as trt

#: Smallest, typical and largest batch of the one optimisation profile.
BATCHES = (1, 4, 8)


class Complaints(trt.ILogger):  # type: ignore[misc]  # the package is untyped
    """Keeps warnings and errors."""

    def __init__(self) -> None:
        super().__init__()
        self.lines: list[str] = []

    def log(self, severity: trt.ILogger.Severity, text: str) -> None:
        if severity <= trt.ILogger.Severity.WARNING:
            self.lines.append(f"{severity.name}: {text}")


def build(path: Path) -> dict[str, object]:
    complaints = Complaints()
    builder = trt.Builder(complaints)
    network = builder.create_network(1 << int(trt.NetworkDefinitionCreationFlag.STRONGLY_TYPED))
    parser = trt.OnnxParser(network, complaints)
    parsed = parser.parse(path.read_bytes())
    errors = [parser.get_error(index).desc() for index in range(parser.num_errors)]
    plan = builder.build_serialized_network(network, configured(builder, network)) if parsed else None
    size = plan.nbytes if plan is not None else 0
    return {"parsed": parsed, "errors": errors, "complaints": complaints.lines, "plan_bytes": size}


def configured(builder: trt.Builder, network: trt.INetworkDefinition) -> trt.IBuilderConfig:
    config = builder.create_builder_config()
    profile = builder.create_optimization_profile()
    taken = network.get_input(0)
    profile.set_shape(taken.name, *((batch, *tuple(taken.shape)[1:]) for batch in BATCHES))
    config.add_optimization_profile(profile)
    return config


if __name__ == "__main__":
    sys.stdout.write(json.dumps(build(Path(sys.argv[1]))))
