"""OpenVINO on the CPU."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Any, ClassVar
from weakref import ref

import numpy as np
from numpy.typing import NDArray

from edgecnn.artifact import Artifact
from edgecnn.engines import ENGINES
from edgecnn.engines.base import Batch, EngineInfo, EngineOptions, require_understood
from edgecnn.engines.opened import OpenEngine, fixed_spec
from edgecnn.engines.openvino_model import ERRORS, compile_artifact, compile_nothing, reason
from edgecnn.engines.telemetry import without_telemetry
from edgecnn.errors import EngineError
from edgecnn.spec import ModelSpec, Precision

with without_telemetry():
    import openvino
    from openvino import CompiledModel, ConstOutput, InferRequest, Node

__all__ = ["OpenVinoEngine"]

_OF_TYPES: dict[str, Precision] = {"f32": "fp32", "f16": "fp16", "bf16": "bf16"}

#: The types of OpenVINO's quantised kernels.
_INTEGERS = {"i8", "u8"}

#: The kinds of kernels that do a network's arithmetic.
_ARITHMETIC = {"Convolution", "Deconvolution", "FullyConnected", "MatMul"}


class OpenVinoEngine(OpenEngine):
    """Runs an ONNX file with OpenVINO's CPU plugin.

    Without options it is arranged for latency: one stream over all its threads. With ``hint="throughput"``,
    or several ``streams``, its threads are divided into streams, and so many calls really run at the same
    time; ``info.streams`` says how many.

    Arithmetic in float is float32, in quantised models as well: left to itself, OpenVINO takes bfloat16 on a
    CPU that has it. Only an artifact that is in half precision itself runs in it, where the CPU can, and what
    ``options.precision`` asks for. Layers that the artifact has in int8 stay in int8.

    ``run`` may be called from several threads at once: each call has its own infer request, and where there
    are more calls than streams they take turns. Each result is a new array. OpenVINO starts no more threads
    than the machine has cores; ``info.threads`` says how many it took. ``options.batch`` compiles for one
    size, which is some percent faster, and is then the only one that runs. ``options.cache`` keeps the
    compiled model on disk.
    """

    understands: ClassVar[frozenset[str]] = ENGINES["openvino"].understands

    def __init__(self, artifact: Artifact, options: EngineOptions) -> None:
        """Convert and compile the model; the file is not needed any more afterwards.

        Raises:
            UsageError: an option that it does not understand.
            EngineUnavailableError: this OpenVINO has no CPU plugin, or no reader of ONNX.
            EngineError: it refuses the model, the CPU cannot do what the options ask for, or the model's
                input or output is not what the spec says.
        """
        require_understood("openvino", self.understands, options)
        spec = fixed_spec(artifact, options.batch)
        compiled = compile_artifact(artifact, options)
        _require_match(compiled, artifact)
        info = _info(compiled, _precision(compiled, spec.precision))
        _require_asked(info, options)
        super().__init__(spec, info, _Requests(compiled, spec).infer)

    @classmethod
    def check(cls) -> EngineInfo:
        """What would run here.

        Raises:
            EngineUnavailableError: this OpenVINO has no CPU plugin, or no reader of ONNX.
        """
        return _info(compile_nothing(), "fp32")


def _info(compiled: CompiledModel, precision: Precision) -> EngineInfo:
    """What the compiled model says of itself."""
    return EngineInfo(
        name="openvino",
        version=openvino.__version__.partition("-")[0],
        device="cpu",
        threads=compiled.get_property("INFERENCE_NUM_THREADS"),
        precision=precision,
        providers=tuple(compiled.get_property("EXECUTION_DEVICES")),
        parallel_runs=True,
        streams=compiled.get_property("NUM_STREAMS"),
    )


def _precision(compiled: CompiledModel, own: Precision) -> Precision:
    """What the kernels really run in, those in float taken by the narrowest; ``own`` is the artifact's."""
    graph = compiled.get_runtime_model()  # held: what is read of it below lies in its memory
    kernels = [_kernel(node) for node in graph.get_ops()]
    types = {precision for kind, precision in kernels if kind in _ARITHMETIC}
    if own in ("int8", "mixed") and (types & _INTEGERS or not types):
        return own
    floats = [name for name in ("bf16", "f16", "f32") if name in types]
    hint: str = compiled.get_property("INFERENCE_PRECISION_HINT").to_string()
    return _OF_TYPES[floats[0] if floats else hint]


def _kernel(node: Node) -> tuple[str, str]:
    """The kind of a kernel and the type that it computes in."""
    info = node.get_rt_info()
    return info["layerType"].astype(str), info["runtimePrecision"].astype(str)


def _require_asked(info: EngineInfo, options: EngineOptions) -> None:
    """OpenVINO takes less than it is asked for without a word."""
    if options.precision is not None and info.precision not in (options.precision, "int8", "mixed"):
        raise EngineError(
            f"OpenVINO was asked for {options.precision}, and runs this model in {info.precision}.",
            f"Leave out precision={options.precision}.",
        )
    if options.streams is not None and info.streams != options.streams:
        raise EngineError(
            f"OpenVINO was asked for {options.streams} streams, and makes {info.streams} of the "
            f"{info.threads} threads that it has.",
            f"Ask for at most as many streams as threads: streams={info.streams}.",
        )


class _Requests:
    """Infer requests of a compiled model: one for each caller that there ever was at the same time."""

    def __init__(self, compiled: CompiledModel, spec: ModelSpec) -> None:
        self._compiled, self._spec = compiled, spec
        self._output = _output_index(compiled, spec)
        self._idle: deque[_Request] = deque()
        self._proven: set[int] = set()

    def infer(self, batch: Batch) -> NDArray[Any]:
        """Run on the request that was idle last, or on a new one."""
        try:
            request = self._idle.pop()
        except IndexError:
            request = _Request(self._compiled.create_infer_request(), self._output)
        try:
            scores = request.infer(batch, proven=len(batch) in self._proven)
        except ERRORS as error:
            raise EngineError(
                f"OpenVINO failed to run {self._spec.network!r}: {reason(error)}",
                "If memory is short, try a smaller batch; "
                "otherwise export the model again with --batch dynamic.",
            ) from error
        self._proven.add(len(batch))
        self._idle.append(request)
        return scores


class _Request:
    """One infer request, and the array that it reads.

    The tensors are set and read one by one: the dictionaries of ``InferRequest.infer`` cost 10 microseconds
    more a call. Setting an input costs up to a percent of a small model's run, so that the array of the last
    call, if it is still there and given again (with whatever is in it now), is not set anew.
    """

    def __init__(self, request: InferRequest, output: int) -> None:
        self._request, self._output = request, output
        self._given: Callable[[], Batch | None] = _nothing
        self._shape: tuple[int, ...] = ()

    def infer(self, batch: Batch, *, proven: bool) -> NDArray[Any]:
        """Run in the caller's own thread once a batch size has been seen to run; at first in another one.

        When ``infer`` fails, OpenVINO 2026.4 leaves its task in a queue of the thread, and the next ``infer``
        there, of whatever model, runs the freed task: the process dies. ``start_async`` costs a change of
        threads, and fails cleanly.
        """
        if self._given() is not batch or self._shape != batch.shape:
            flags = batch.flags
            readable = (
                batch if flags.c_contiguous and flags.writeable else np.require(batch, None, ("C", "W"))
            )
            # OpenVINO does not keep the array alive: it is the caller's, or a copy that lives for this call.
            self._request.set_input_tensor(openvino.Tensor(readable, shared_memory=True))
            self._given, self._shape = (ref(batch) if readable is batch else _nothing), batch.shape
        if proven:
            self._request.infer(share_outputs=True)
        else:
            self._request.start_async()
            self._request.wait()
        scores: NDArray[Any] = self._request.get_output_tensor(self._output).data.copy()
        return scores


def _nothing() -> None:
    return None


def _output_index(compiled: CompiledModel, spec: ModelSpec) -> int:
    return next(i for i, port in enumerate(compiled.outputs) if spec.output.name in port.names)


def _require_match(compiled: CompiledModel, artifact: Artifact) -> None:
    """A spec that was given for a foreign file may speak of another model."""
    spec = artifact.spec
    inputs = {_name(port): _dtype(port) for port in compiled.inputs}
    outputs = [name for port in compiled.outputs for name in port.names]
    if inputs != {spec.input.name: spec.input.dtype} or spec.output.name not in outputs:
        taken = ", ".join(f"{name} ({dtype})" for name, dtype in inputs.items())
        raise EngineError(
            f"{artifact.path} maps {taken or 'nothing'} to {', '.join(outputs) or 'nothing'}, and its spec "
            f"maps {spec.input.name} ({spec.input.dtype}) to {spec.output.name}.",
            "Give the spec that belongs to this file (--spec).",
        )


def _name(port: ConstOutput) -> str:
    return str(port.any_name)


def _dtype(port: ConstOutput) -> str:
    return str(np.dtype(port.element_type.to_dtype()))
