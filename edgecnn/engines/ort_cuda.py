"""ONNX Runtime on NVIDIA GPUs, through its CUDA provider."""

from __future__ import annotations

import io
from collections import Counter, deque
from collections.abc import Callable
from contextlib import redirect_stdout
from pathlib import Path
from threading import Lock
from typing import Any, ClassVar

import numpy as np
import onnxruntime
from numpy.typing import NDArray
from onnx import TensorProto, helper
from onnxruntime import InferenceSession, OrtValue

from edgecnn.artifact import Artifact
from edgecnn.cuda_driver import cuda_gpus
from edgecnn.engines import ENGINES
from edgecnn.engines.base import Batch, EngineInfo, EngineOptions, require_fit, require_understood
from edgecnn.engines.opened import OpenEngine, closed_failure, fixed_spec
from edgecnn.engines.ort_session import ERRORS, open_session, require_names, run_failure, session_settings
from edgecnn.errors import EngineError, EngineUnavailableError, UsageError
from edgecnn.spec import ModelSpec, Precision

__all__ = ["OrtCudaEngine"]

_PROVIDER = "CUDAExecutionProvider"

#: Where ONNX Runtime keeps what it computes of shapes, on purpose, and what it has no kernels for.
_FALLBACK = "CPUExecutionProvider"

_MEMORY = "cuda"

#: Operators that only work on shapes: some bytes, which ONNX Runtime keeps on the CPU rather than copy them.
_OF_SHAPES = {
    *("Shape", "Size", "Gather", "Slice", "Concat", "Squeeze", "Unsqueeze", "Cast", "Constant"),
    *("ConstantOfShape", "Range", "Add", "Sub", "Mul", "Div", "ReduceProd", "Identity"),
}

#: Sets of buffers that are kept for later runs: enough for the batch sizes that alternate in a server.
_KEPT_BUFFERS = 8

#: ONNX Runtime runs so many times as usual before it records a CUDA graph, and once to record it.
_RUNS_UNTIL_RECORDED = 3


class OrtCudaEngine(OpenEngine):
    """Runs an ONNX file with ONNX Runtime's CUDA provider; all its arithmetic, or it does not open.

    Float32 is float32: TensorFloat-32, ONNX Runtime's default on GPUs since Ampere, has 13 bits less. Of a
    quantised model the convolutions run in float32, as ``info.precision`` says: the provider has none in
    int8.

    ``run`` copies the batch into memory of the GPU that stays there for the next run, and the scores back.
    It may be called from several threads at once. Each result is a new array. With ``options.graph`` the
    model's kernels are recorded as one CUDA graph, for one batch size, and calls take turns.
    """

    understands: ClassVar[frozenset[str]] = ENGINES["ort-cuda"].understands

    def __init__(self, artifact: Artifact, options: EngineOptions) -> None:
        """Load and optimise the model; the file is not needed any more afterwards.

        Raises:
            UsageError: an option that it does not understand, or a CUDA graph of a model whose batch is open.
            EngineUnavailableError: the GPU, its driver, or a build of ONNX Runtime for it is missing.
            EngineError: ONNX Runtime refuses the model or cannot run it on the GPU, or the model's input or
                output is not what the spec says.
        """
        require_understood("ort-cuda", self.understands, options)
        spec, device = fixed_spec(artifact, options.batch), options.device or 0
        if options.graph:
            _require_fixed(spec)
        gpu = _gpu(device)
        session = _session(artifact.path, options, device)
        _require_on_gpu(session, artifact)
        require_names(session, artifact)
        info = _info(gpu, options.threads or 1, _precision(spec.precision))
        runner = _GraphRunner(session, spec, device) if options.graph else _Runner(session, spec, device)
        super().__init__(spec, info, runner.run)
        self._copy: Callable[[Batch], object] | None = runner.copy

    def copy_only(self, batch: Batch) -> None:
        """The copies of ``run``, as :class:`edgecnn.engines.base.CopyingEngine` says."""
        if self._copy is None:
            raise closed_failure(self.info)
        require_fit(batch, self.spec)
        self._copy(batch)

    def close(self) -> None:
        """Free everything. A second call does nothing."""
        self._copy = None
        super().close()

    @classmethod
    def check(cls) -> EngineInfo:
        """What would run here.

        Raises:
            EngineUnavailableError: the GPU, its driver, or a build of ONNX Runtime for it is missing.
        """
        gpu = _gpu(0)
        _session(_nothing(), EngineOptions(), 0)  # ONNX Runtime offers the provider where it does not load
        return _info(gpu, 1, "fp32")


def _info(gpu: str, threads: int, precision: Precision) -> EngineInfo:
    return EngineInfo(
        name="ort-cuda",
        version=onnxruntime.__version__,
        device=gpu,
        threads=threads,
        precision=precision,
        providers=(_PROVIDER, _FALLBACK),
        parallel_runs=True,
    )


def _precision(own: Precision) -> Precision:
    """The provider has no quantised convolutions: it dequantises before each (onnxruntime issue 24807)."""
    return "fp32" if own in ("int8", "mixed") else own


def _gpu(device: int) -> str:
    """The name of the GPU of that index.

    Raises:
        EngineUnavailableError: there is none, or ONNX Runtime is not the build for it.
    """
    names = [gpu.name for gpu in cuda_gpus()]
    if device >= len(names):
        listing = ", ".join(f"{index} ({name})" for index, name in enumerate(names))
        raise EngineUnavailableError(f"There is no GPU {device}.", f"Those here are {listing}.")
    offered = onnxruntime.get_available_providers()
    if _PROVIDER not in offered:
        raise EngineUnavailableError(
            f"This build of ONNX Runtime {onnxruntime.__version__} is not for CUDA: "
            f"it offers {', '.join(offered)}.",
            "Install the other in its place: "
            "pip uninstall -y onnxruntime onnxruntime-gpu; pip install 'edgecnn[gpu]'",
        )
    return names[device]


def _session(model: Path | bytes, options: EngineOptions, device: int) -> InferenceSession:
    """Open the model on the GPU.

    Raises:
        EngineUnavailableError: the provider does not load.
        EngineError: ONNX Runtime refuses the model.
    """
    words = _load_libraries()
    settings = session_settings(options.threads or 1)
    settings.add_session_config_entry("session.record_ep_graph_assignment_info", "1")
    chosen = {"device_id": str(device), "use_tf32": "0", "enable_cuda_graph": str(int(bool(options.graph)))}
    session = open_session(model, settings, [(_PROVIDER, chosen), _FALLBACK])
    if _PROVIDER not in session.get_providers():  # it drops a provider that does not load, and goes on
        raise EngineUnavailableError(
            f"ONNX Runtime {onnxruntime.__version__} does not load its CUDA provider. {words}".strip(),
            "Install the CUDA and cuDNN that it was built with: pip install --force-reinstall 'edgecnn[gpu]'",
        )
    return session


def _nothing() -> bytes:
    """The smallest model."""
    vectors = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [1]) for name in ("x", "y")]
    graph = helper.make_graph(
        [helper.make_node("Identity", ["x"], ["y"])], "nothing", vectors[:1], vectors[1:]
    )
    opset = [helper.make_opsetid("", 17)]
    model: bytes = helper.make_model(graph, opset_imports=opset, ir_version=8).SerializeToString()
    return model


def _load_libraries() -> str:
    """Load CUDA and cuDNN from their packages, where ONNX Runtime would not look; what failed, in words."""
    said = io.StringIO()
    with redirect_stdout(said):
        onnxruntime.preload_dlls()
    return " ".join(said.getvalue().split())


def _require_on_gpu(session: InferenceSession, artifact: Artifact) -> None:
    """All but the arithmetic of shapes runs on the GPU.

    Raises:
        EngineError: ONNX Runtime gave operators to the CPU.
    """
    on_cpu = Counter(
        node.op_type
        for part in session.get_provider_graph_assignment_info()
        if part.ep_name != _PROVIDER
        for node in part.get_nodes()
        if node.op_type not in _OF_SHAPES
    )
    if on_cpu:
        operators = ", ".join(f"{kind} ({count})" for kind, count in on_cpu.most_common())
        raise EngineError(
            f"{artifact.path} would run in part on the CPU: the CUDA provider of ONNX Runtime "
            f"{onnxruntime.__version__} has no kernel for {operators}.",
            "Export it again with another --opset, or run it with --engine ort.",
        )


def _require_fixed(spec: ModelSpec) -> None:
    if not isinstance(spec.input.shape[0], int):
        raise UsageError(
            "A CUDA graph replays one batch size, and the batch of the model is open.",
            "Say which with batch=N, beside graph=on.",
        )


class _Buffers:
    """Memory on the GPU for the input and the output of one batch size."""

    def __init__(self, session: InferenceSession, spec: ModelSpec, images: int, device: int) -> None:
        self.images = images
        self._session = session
        self._input = _value(images, spec.input.shape, spec.input.dtype, device)
        self._output = _value(images, spec.output.shape, spec.output.dtype, device)
        self._binding = session.io_binding()
        self._binding.bind_ortvalue_input(spec.input.name, self._input)
        self._binding.bind_ortvalue_output(spec.output.name, self._output)

    def run(self, batch: Batch) -> NDArray[Any]:
        """Copy in, run, and copy out."""
        self._copy_in(batch)
        self._session.run_with_iobinding(self._binding)
        return self._copied_out()

    def copy(self, batch: Batch) -> NDArray[Any]:
        """Copy in, and out what an earlier run has left there."""
        self._copy_in(batch)
        return self._copied_out()

    def _copy_in(self, batch: Batch) -> None:
        self._input.update_inplace(np.ascontiguousarray(batch))
        self._binding.synchronize_inputs()

    def _copied_out(self) -> NDArray[Any]:
        self._binding.synchronize_outputs()
        scores: NDArray[Any] = self._output.numpy()
        return scores.copy()  # whether ``numpy`` gives a view depends on the kind of memory


#: What is done with a batch on buffers.
Work = Callable[[_Buffers, Batch], NDArray[Any]]


def _value(images: int, shape: tuple[int | str, ...], dtype: str, device: int) -> OrtValue:
    sizes = [images, *shape[1:]]
    if any(isinstance(size, str) for size in sizes):
        raise EngineError(
            f"The model's tensor {list(shape)} has open sizes besides the batch, and the GPU's memory is "
            "laid out before the run.",
            "Export it again with fixed sizes.",
        )
    return OrtValue.ortvalue_from_shape_and_type(sizes, np.dtype(dtype).type, _MEMORY, device)


class _Runner:
    """Runs batches of any size, each call on buffers of its own."""

    def __init__(self, session: InferenceSession, spec: ModelSpec, device: int) -> None:
        self._session, self._spec, self._device = session, spec, device
        self._idle: deque[_Buffers] = deque(maxlen=_KEPT_BUFFERS)
        self._turn = Lock()

    def run(self, batch: Batch) -> NDArray[Any]:
        return self._on_buffers(batch, _Buffers.run)

    def copy(self, batch: Batch) -> NDArray[Any]:
        return self._on_buffers(batch, _Buffers.copy)

    def _on_buffers(self, batch: Batch, work: Work) -> NDArray[Any]:
        try:
            buffers = self._taken(len(batch)) or self._made(len(batch))
            scores = work(buffers, batch)
        except ERRORS as error:
            raise run_failure(self._spec, error) from error
        with self._turn:
            self._idle.append(buffers)
        return scores

    def _taken(self, images: int) -> _Buffers | None:
        with self._turn:
            found = next((buffers for buffers in self._idle if buffers.images == images), None)
            if found is not None:
                self._idle.remove(found)
            return found

    def _made(self, images: int) -> _Buffers:
        return _Buffers(self._session, self._spec, images, self._device)


class _GraphRunner:
    """Runs batches of one size on the same buffers, whose addresses are part of the CUDA graph."""

    def __init__(self, session: InferenceSession, spec: ModelSpec, device: int) -> None:
        self._spec = spec
        self._turn = Lock()
        sizes = [size for size in spec.input.shape if isinstance(size, int)]
        self._buffers = _Buffers(session, spec, sizes[0], device)
        for _ in range(_RUNS_UNTIL_RECORDED):
            self.run(np.zeros(sizes, spec.input.dtype))

    def run(self, batch: Batch) -> NDArray[Any]:
        return self._in_turn(batch, _Buffers.run)

    def copy(self, batch: Batch) -> NDArray[Any]:
        return self._in_turn(batch, _Buffers.copy)

    def _in_turn(self, batch: Batch, work: Work) -> NDArray[Any]:
        with self._turn:
            try:
                return work(self._buffers, batch)
            except ERRORS as error:
                raise run_failure(self._spec, error) from error
