"""PyTorch on the CPU: the network that an artifact was exported from, eager and compiled.

Both engines ignore the ONNX graph. They build the network anew from the model card and the weights that the
spec records, so that their answers are the reference that the artifact is measured against.

PyTorch has one number of threads for the whole process (``torch.set_num_threads``). It is set before each
run if it is not the engine's, so two torch engines with different numbers must not run at the same time.
"""

from __future__ import annotations

import logging
import os
import platform
import shutil
import sysconfig
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from edgecnn.architectures.normalisation import with_preprocess
from edgecnn.artifact import Artifact
from edgecnn.engines import ENGINES
from edgecnn.engines.base import Batch, EngineInfo, EngineOptions, require_understood
from edgecnn.engines.opened import Infer, OpenEngine
from edgecnn.engines.provenance import find_origin
from edgecnn.environment import usable_cores
from edgecnn.errors import DependencyMissingError, EngineError, EngineUnavailableError, WeightsError
from edgecnn.spec import ModelSpec
from edgecnn.weights import load_network

__all__ = ["CompiledTorchEngine", "TorchEngine"]

_LOG = logging.getLogger(__name__)


class TorchEngine(OpenEngine):
    """Runs the original network in PyTorch, operator by operator.

    Weights and activations lie channels last in memory, the layout that oneDNN's convolutions work in.
    ``run`` may be called from several threads at once. Each result is a new array. Whether threads wait
    busily is no option of it: OpenMP reads its own setting when the process starts.
    """

    understands: ClassVar[frozenset[str]] = ENGINES["torch"].understands

    def __init__(self, artifact: Artifact, options: EngineOptions) -> None:
        """Rebuild the network of ``artifact``.

        Raises:
            UsageError: an option that it does not understand.
            EngineUnavailableError: its weights, or the library that has the network, are not here.
        """
        require_understood("torch", self.understands, options)
        info = _info("torch", options.threads or usable_cores(), parallel_runs=True)
        module = _rebuild(artifact)
        super().__init__(artifact.spec, info, partial(_infer, module, artifact.spec, info.threads))

    @classmethod
    def check(cls) -> EngineInfo:
        """What would run here."""
        return _info("torch", usable_cores(), parallel_runs=True)


class CompiledTorchEngine(OpenEngine):
    """Runs the original network through ``torch.compile``: Inductor's C++ kernels, weights frozen into them.

    Opening compiles for one image, or for the artifact's fixed batch: from seconds to minutes. With a
    dynamic batch the first run of more than one image compiles once more, for every size from 2. A network
    that cannot be compiled whole is an error; no part of it ever runs uncompiled. Runs must not overlap.
    """

    understands: ClassVar[frozenset[str]] = ENGINES["torch-compile"].understands

    def __init__(self, artifact: Artifact, options: EngineOptions) -> None:
        """Rebuild and compile the network of ``artifact``.

        Raises:
            UsageError: an option that it does not understand.
            EngineUnavailableError: as for :class:`TorchEngine`, or there is no C++ compiler.
            EngineError: the network does not compile.
        """
        require_understood("torch-compile", self.understands, options)
        info = self.check(options.threads)
        compiled = torch.compile(_rebuild(artifact), fullgraph=True, options={"freezing": True})
        infer: Infer = partial(_infer, compiled, artifact.spec, info.threads)
        _warm_up(infer, artifact.spec)
        super().__init__(artifact.spec, info, infer)

    @classmethod
    def check(cls, threads: int | None = None) -> EngineInfo:
        """What would run here.

        Raises:
            EngineUnavailableError: what Inductor compiles its kernels with is missing.
        """
        _require_compiler()
        return _info("torch-compile", threads or usable_cores(), parallel_runs=False)


def _info(name: str, threads: int, *, parallel_runs: bool) -> EngineInfo:
    return EngineInfo(
        name=name,
        version=str(torch.__version__),
        device="cpu",
        threads=threads,
        precision="fp32",
        parallel_runs=parallel_runs,
    )


def _rebuild(artifact: Artifact) -> nn.Module:
    """The module in eval mode that takes the artifact's input, channels last in memory.

    Raises:
        EngineUnavailableError: as the engines say.
    """
    spec, origin = artifact.spec, find_origin(artifact)
    try:
        network = load_network(
            origin.card, origin.weights, seed=origin.seed, classes=spec.classes, announce=_LOG.warning
        )
    except (WeightsError, DependencyMissingError) as error:
        raise EngineUnavailableError(error.problem, error.remedy) from error
    if network.weights.sha256 != spec.weights.sha256:
        raise EngineUnavailableError(
            f"The {spec.weights.kind} weights {spec.weights.name!r} have the SHA-256 "
            f"{network.weights.sha256}, and those of the export had {spec.weights.sha256}.",
            "Export again. The artifact itself runs with --engine ort.",
        )
    module = with_preprocess(network.module, spec.preprocess).eval()
    return module.to(memory_format=torch.channels_last)


def _infer(module: Callable[..., Tensor], spec: ModelSpec, threads: int, batch: Batch) -> NDArray[Any]:
    if torch.get_num_threads() != threads:
        torch.set_num_threads(threads)
    try:
        with torch.inference_mode():
            scores = module(_tensor(batch, spec))
    except RuntimeError as error:
        reason = str(error).strip().splitlines()
        raise EngineError(
            f"PyTorch failed to run {spec.network!r}: {reason[0] if reason else type(error).__name__}",
            "If memory is short, try a smaller batch.",
        ) from error
    answer: NDArray[Any] = scores.numpy()
    return answer


def _tensor(batch: Batch, spec: ModelSpec) -> Tensor:
    """``batch`` as PyTorch takes it: writable, without negative strides, its channels last in memory."""
    tensor = torch.from_numpy(np.require(batch, requirements=("C", "W")))
    return tensor if spec.preprocess.in_graph else tensor.contiguous(memory_format=torch.channels_last)


def _warm_up(infer: Infer, spec: ModelSpec) -> None:
    logging.getLogger("torch.utils.cpp_extension").setLevel(logging.ERROR)  # it warns of CUDA's absence
    sizes = [size if isinstance(size, int) else 1 for size in spec.input.shape]
    try:
        infer(np.zeros(sizes, spec.input.dtype))
    except EngineError as error:
        raise EngineError(
            error.problem.replace("run", "compile", 1), "Use the engine torch, or ort."
        ) from error


def _require_compiler() -> None:
    """Inductor writes C++ and compiles it against Python's own headers."""
    compiler = os.environ.get("CXX") or ("clang++" if platform.system() == "Darwin" else "g++")
    if shutil.which(compiler) is None:
        raise EngineUnavailableError(
            f"torch.compile needs a C++ compiler, and there is no {compiler}.",
            "Install one (Debian: apt install g++; macOS: xcode-select --install), or name it in CXX.",
        )
    header = Path(sysconfig.get_path("include")) / "Python.h"
    if not header.is_file():
        raise EngineUnavailableError(
            f"torch.compile needs Python's headers, and there is no {header}.",
            "Install them (Debian: apt install python3-dev), or use the engine torch.",
        )
