"""Whether a quantised artifact was made for the engine that runs it."""

from __future__ import annotations

from edgecnn.engines import ENGINES
from edgecnn.spec import ModelSpec

__all__ = ["unsuitable"]

#: Target of a quantisation -> the engines that run its artifacts as they were meant.
_ENGINES = {"ort": {"ort"}, "openvino": {"openvino"}, "trt": {"trt", "trt-rtx", "ort-trt"}}

#: Engine -> the target to quantise for.
_TARGETS = {engine: target for target, engines in _ENGINES.items() for engine in engines}


def unsuitable(spec: ModelSpec, engine: str) -> str | None:
    """A sentence on why ``engine`` may be slow with the artifact of ``spec``; None where it is not.

    Each engine has kernels for its own placement of Q/DQ pairs, and what others lose by that varies:
    MobileNetV2 quantised for TensorRT takes ONNX Runtime's CPU provider more than twice as long as in float;
    a ResNet-20 so quantised runs twice as fast as in float in OpenVINO, and one made for OpenVINO 2.7 times.
    Of an engine that is not edgecnn's own, nothing is known.

    Args:
        spec: of the artifact.
        engine: its name, without options.
    """
    done = spec.quantization
    if done is None or spec.precision not in {"int8", "mixed"} or done.recipe == "dynamic":
        return None
    if engine in _ENGINES.get(done.target, {engine}) or engine not in {*ENGINES, *_TARGETS}:
        return None
    wanted = _TARGETS.get(engine)
    than = (
        f"a file made for it: edgecnn quantize --target {wanted}"
        if wanted
        else f"in float; {engine} has no int8 recipe"
    )
    return f"{spec.network} was quantised for {done.target}, and may be slower in {engine} than {than}."
