"""As much of TensorRT as building a plan touches, without a GPU: for tests, and nothing else.

``FAKE_TENSORRT`` says what goes wrong: "no-gpu", "crash", "kill", "sleep", "memory", "no-kernel", "refuse",
"fp32" (a plan whose layers are float whatever was asked for), "silent" (a plan that lists no layers),
"unopened", "full" (no space), "raise", "noise" (prints while it builds),
"old" (no hardware level "same"), "still" (does nothing any more).
"""

from __future__ import annotations

import enum
import errno
import json
import os
import signal
import time
from pathlib import Path
from typing import Any

import onnx

__version__ = "10.13.3.9"

_WRONG = os.environ.get("FAKE_TENSORRT", "")
_MAGIC = b"fake plan "


class NetworkDefinitionCreationFlag(enum.IntEnum):
    STRONGLY_TYPED = 1


class BuilderFlag(enum.Enum):
    TF32 = 0
    VERSION_COMPATIBLE = 1


class MemoryPoolType(enum.Enum):
    WORKSPACE = 0


class ProfilingVerbosity(enum.Enum):
    DETAILED = 0


class LayerInformationFormat(enum.Enum):
    JSON = 0


class LayerType(enum.Enum):
    CONVOLUTION = 0
    DECONVOLUTION = 1
    MATRIX_MULTIPLY = 2
    DEQUANTIZE = 3
    OTHER = 4


class DataType(enum.Enum):
    FLOAT = 0
    HALF = 1
    INT8 = 2


class HardwareCompatibilityLevel:
    AMPERE_PLUS = "ampere"


if _WRONG != "old":
    HardwareCompatibilityLevel.SAME_COMPUTE_CAPABILITY = "same"  # type: ignore[attr-defined]


class ILogger:
    def log(self, severity: int, text: str) -> None:
        raise NotImplementedError


class IProgressMonitor:
    pass


class _Tensor:
    def __init__(self, name: str, dtype: DataType, shape: tuple[int, ...] = ()) -> None:
        self.name, self.dtype, self.shape = name, dtype, shape


class _Layer:
    def __init__(self, kind: LayerType, taken: _Tensor, made: _Tensor) -> None:
        self.type, self._taken, self._made = kind, taken, made

    def get_input(self, _: int) -> _Tensor:
        return self._taken

    def get_output(self, _: int) -> _Tensor:
        return self._made


_KINDS = {
    "Conv": LayerType.CONVOLUTION,
    "Gemm": LayerType.MATRIX_MULTIPLY,
    "DequantizeLinear": LayerType.DEQUANTIZE,
}


class _Network:
    def __init__(self) -> None:
        self.layers: list[_Layer] = []
        self.inputs: list[_Tensor] = []

    @property
    def num_layers(self) -> int:
        return len(self.layers)

    @property
    def num_inputs(self) -> int:
        return len(self.inputs)

    def get_layer(self, number: int) -> _Layer:
        return self.layers[number]

    def get_input(self, number: int) -> _Tensor:
        return self.inputs[number]


class _Fault:
    def node_name(self) -> str:
        return "layer1/Thing"

    def node_operator(self) -> str:
        return "Thing"

    def desc(self) -> str:
        return "no importer registered for op: Thing."


class OnnxParser:
    def __init__(self, network: _Network, logger: ILogger) -> None:
        self._network, self._logger = network, logger

    @property
    def num_errors(self) -> int:
        return 2

    def get_error(self, _: int) -> _Fault:
        return _Fault()

    def parse_from_file(self, path: str) -> bool:
        if _WRONG == "refuse":
            return False
        graph = onnx.load(path).graph
        stored = {tensor.name: tensor.data_type for tensor in graph.initializer}
        for value in graph.input:
            shape = tuple(dim.dim_value or -1 for dim in value.type.tensor_type.shape.dim)
            self._network.inputs.append(_Tensor(value.name, DataType.FLOAT, shape))
        for node in graph.node:
            half = any(stored.get(name) == onnx.TensorProto.FLOAT16 for name in node.input)
            dtype = DataType.HALF if half else DataType.FLOAT
            kind = _KINDS.get(node.op_type, LayerType.OTHER)
            taken, made = _Tensor(node.input[0], dtype), _Tensor(node.output[0], dtype)
            self._network.layers.append(_Layer(kind, taken, made))
        return True


class _TimingCache:
    """Lines, each a kernel."""

    def __init__(self, lines: set[str]) -> None:
        self.lines = lines

    def combine(self, other: _TimingCache, _: bool) -> bool:
        self.lines |= other.lines
        return True

    def serialize(self) -> bytes:
        return "\n".join(sorted(self.lines)).encode()


class _Config:
    def __init__(self) -> None:
        self.profiling_verbosity: Any = None
        self.progress_monitor: Any = None
        self.hardware_compatibility_level: Any = None
        self.flags = {BuilderFlag.TF32}
        self.profiles: list[_Profile] = []
        self.workspace: int | None = None
        self.timings: _TimingCache | None = None

    def set_flag(self, flag: BuilderFlag) -> None:
        self.flags.add(flag)

    def clear_flag(self, flag: BuilderFlag) -> None:
        self.flags.discard(flag)

    def set_memory_pool_limit(self, _: MemoryPoolType, size: int) -> None:
        self.workspace = size

    def add_optimization_profile(self, profile: _Profile) -> int:
        self.profiles.append(profile)
        return len(self.profiles) - 1

    def create_timing_cache(self, content: bytes) -> _TimingCache | None:
        if b"damaged" in content:
            return None
        return _TimingCache({line for line in content.decode().splitlines() if line})

    def set_timing_cache(self, timings: _TimingCache, _: bool) -> bool:
        self.timings = timings
        return True

    def get_timing_cache(self) -> _TimingCache | None:
        return self.timings


class _Profile:
    def __init__(self) -> None:
        self.shapes: dict[str, tuple[tuple[int, ...], ...]] = {}

    def set_shape(self, name: str, *shapes: tuple[int, ...]) -> None:
        self.shapes[name] = shapes


class Builder:
    def __init__(self, logger: ILogger) -> None:
        self._logger = logger
        if _WRONG == "no-gpu":
            logger.log(1, "CUDA initialization failure with error: 35.")
            raise TypeError("pybind11::init(): factory function returned nullptr")

    def create_network(self, flags: int) -> _Network:
        assert flags == 1 << NetworkDefinitionCreationFlag.STRONGLY_TYPED
        return _Network()

    def create_builder_config(self) -> _Config:
        return _Config()

    def create_optimization_profile(self) -> _Profile:
        return _Profile()

    def build_serialized_network(self, network: _Network, config: _Config) -> bytes | None:
        monitor = config.progress_monitor
        monitor.phase_start("Building engine", None, 2)
        monitor.phase_start("Timing", "Building engine", 1)
        self._go_wrong(monitor)
        monitor.step_complete("Timing", 0)
        monitor.phase_finish("Timing")
        monitor.step_complete("Building engine", 0)
        if _WRONG in ("memory", "no-kernel"):
            return None
        if config.timings is not None:
            config.timings.lines.add(f"kernel of {os.getpid()}")
        self._logger.log(2, "a warning")
        return _MAGIC + json.dumps(_description(network, config)).encode()

    def _go_wrong(self, monitor: Any) -> None:
        if _WRONG == "crash":
            os.write(2, b"segfault in libnvinfer\n")
            os.abort()
        elif _WRONG == "kill":
            os.kill(os.getpid(), signal.SIGKILL)
        elif _WRONG == "raise":
            raise AssertionError("a bug in the binding")
        elif _WRONG == "full":
            raise OSError(errno.ENOSPC, "No space left on device")
        elif _WRONG == "noise":
            print("libnvinfer says hello")  # noqa: T201
        elif _WRONG == "memory":
            self._logger.log(1, "Error Code 2: OutOfMemory (Requested size was 1 GB)")
        elif _WRONG == "no-kernel":
            self._logger.log(1, "Could not find any implementation for node layer1/Conv.")
        elif _WRONG == "still":
            time.sleep(3600)
        while _WRONG == "sleep":
            monitor.step_complete("Timing", 0)
            time.sleep(0.01)


def _description(network: _Network, config: _Config) -> dict[str, Any]:
    dequantised = {layer.get_output(0).name for layer in network.layers if layer.type == LayerType.DEQUANTIZE}
    names = [
        "Int8" if layer.get_input(0).name in dequantised else layer.get_input(0).dtype.name.title()
        for layer in network.layers
        if layer.type in (LayerType.CONVOLUTION, LayerType.MATRIX_MULTIPLY)
    ]
    return {
        "layers": ["Float"] * len(names) if _WRONG == "fp32" else [] if _WRONG == "silent" else names,
        "profiles": [profile.shapes for profile in config.profiles],
        "workspace": config.workspace,
        "flags": sorted(flag.name for flag in config.flags),
        "hardware": config.hardware_compatibility_level,
    }


class _Inspector:
    def __init__(self, layers: list[str]) -> None:
        self._layers = layers

    def get_engine_information(self, _: LayerInformationFormat) -> str:
        listed = [
            {"LayerType": "CaskConvolution", "Inputs": [{"Format/Datatype": f"Row major {dtype}"}]}
            for dtype in self._layers
        ]
        return json.dumps({"Layers": [*listed, {"LayerType": "Reformat", "Inputs": [{"Datatype": "Float"}]}]})


class _Engine:
    def __init__(self, content: bytes) -> None:
        self._content = json.loads(bytes(content).removeprefix(_MAGIC))

    def create_engine_inspector(self) -> _Inspector:
        return _Inspector(self._content["layers"])


class Runtime:
    engine_host_code_allowed = False

    def __init__(self, logger: ILogger) -> None:
        self._logger = logger

    def deserialize_cuda_engine(self, content: bytes) -> _Engine | None:
        if _WRONG == "unopened":
            self._logger.log(1, "no device memory")
            return None
        return _Engine(content)


def read_fake_plan(path: Path) -> dict[str, Any]:
    """What was asked for when the plan was built."""
    described: dict[str, Any] = json.loads(path.read_bytes().removeprefix(_MAGIC))
    return described
