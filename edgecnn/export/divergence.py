"""Where an exported model and its PyTorch module first part ways: a bisection over intermediate values."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from math import prod
from pathlib import Path
from tempfile import TemporaryDirectory

import onnx
import torch
from torch import nn

from edgecnn.artifact import save_artifact
from edgecnn.engines import EngineOptions, open_engine
from edgecnn.engines.base import Batch, Scores
from edgecnn.export.parity import MAX_RELATIVE_DIFFERENCE, compare_scores
from edgecnn.graph.naming import module_of
from edgecnn.spec import ModelSpec, TensorSpec

__all__ = ["Divergence", "first_divergence"]

_FOLDABLE = (nn.Conv1d, nn.Conv2d, nn.Conv3d)
_NORMS = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d)


@dataclass(frozen=True, slots=True)
class Divergence:
    """The boundary between equal and different values.

    Attributes:
        last_equal: path of the last module whose output still agrees; None when already the first differs.
        first_different: path of the module whose output differs.
        node: the node in the graph that produces that output.
        max_rel: largest difference there, as a share of the largest reference value.
    """

    last_equal: str | None
    first_different: str
    node: str
    max_rel: float

    def __str__(self) -> str:
        before = f"after {self.last_equal!r} they still agree" if self.last_equal else "nothing before agrees"
        return (
            f"the outputs first part ways at module {self.first_different!r} (node {self.node!r}): "
            f"{self.max_rel:.2g} of the largest value; {before}"
        )


@dataclass(frozen=True, slots=True)
class _Probe:
    """A module, and the node that computes its output."""

    module: str
    node: onnx.NodeProto


def first_divergence(
    module: nn.Module, model: onnx.ModelProto, spec: ModelSpec, images: Batch
) -> Divergence | None:
    """Bisect the modules, in graph order, for one that differs while the one before it agrees.

    Args:
        module: what was exported.
        model: what came of it, its nodes named by modules (``edgecnn.graph.naming``).
        spec: of ``model``.
        images: a batch that fits ``spec.input``; two images suffice.

    Returns:
        None when every module that can be compared agrees.
    """
    probes = _probes(module, model)
    expected = _module_outputs(module, images, [probe.module for probe in probes])
    sizes = _sizes(model)
    comparable = [
        probe
        for probe in probes
        if probe.module in expected and sizes.get(probe.node.output[0]) == expected[probe.module].shape[1]
    ]

    def relative_difference(probe: _Probe) -> float:
        wanted = expected[probe.module]
        answer = _value(model, spec, probe.node.output[0], images, wanted.shape[1])
        return compare_scores(wanted, answer, images=len(images)).max_rel

    return _bisect(comparable, relative_difference)


def _bisect(probes: list[_Probe], relative_difference: Callable[[_Probe], float]) -> Divergence | None:
    """Keep a probe that agrees (or the input) below and one that differs above, until they touch."""
    low, high = -1, len(probes)
    found = 0.0
    while high - low > 1:
        middle = (low + high) // 2
        difference = relative_difference(probes[middle])
        if difference <= MAX_RELATIVE_DIFFERENCE:
            low = middle
        else:
            high, found = middle, difference
    if high == len(probes):
        return None
    return Divergence(
        last_equal=probes[low].module if low >= 0 else None,
        first_different=probes[high].module,
        node=probes[high].node.name,
        max_rel=found,
    )


def _probes(module: nn.Module, model: onnx.ModelProto) -> list[_Probe]:
    """The modules that own nodes, each with its last node, in graph order.

    Where batch norm was folded into a convolution that kept its own name, that convolution's node computes
    the output of the norm, so convolutions are left out.
    """
    last = {module_of(node): node for node in model.graph.node}
    modules = {path: part for path, part in module.named_modules() if path in last}
    norms = [path for path, part in module.named_modules() if isinstance(part, _NORMS)]
    folded = any(path not in modules for path in norms)
    kept = [path for path, part in modules.items() if not (folded and isinstance(part, _FOLDABLE))]
    order = {node.name: index for index, node in enumerate(model.graph.node)}
    probes = [_Probe(path, last[path]) for path in kept]
    return sorted(probes, key=lambda probe: order[probe.node.name])


def _module_outputs(module: nn.Module, images: Batch, paths: list[str]) -> dict[str, Scores]:
    """The output of each module in ``paths`` that returns one tensor, as (N, values) float32."""
    outputs: dict[str, Scores] = {}
    with _hooks(module, paths, outputs), torch.inference_mode():
        module(torch.from_numpy(images))
    return outputs


@contextmanager
def _hooks(module: nn.Module, paths: list[str], outputs: dict[str, Scores]) -> Iterator[None]:
    def keep(path: str) -> Callable[[nn.Module, object, object], None]:
        def hook(_module: nn.Module, _inputs: object, output: object) -> None:
            if isinstance(output, torch.Tensor):  # copied: an in-place activation may follow
                outputs[path] = output.detach().float().numpy().reshape(len(output), -1).copy()

        return hook

    handles = [module.get_submodule(path).register_forward_hook(keep(path)) for path in paths]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def _sizes(model: onnx.ModelProto) -> dict[str, int]:
    """How many numbers per image each value of the graph holds; the torchscript exporter does not note it."""
    graph = (model if model.graph.value_info else onnx.shape_inference.infer_shapes(model)).graph
    return {
        value.name: prod(dim.dim_value for dim in value.type.tensor_type.shape.dim[1:])
        for value in (*graph.value_info, *graph.output)
    }


def _value(model: onnx.ModelProto, spec: ModelSpec, name: str, images: Batch, size: int) -> Scores:
    """The value ``name`` for ``images`` in ONNX Runtime, as (N, size) float32."""
    probed = onnx.ModelProto()
    probed.CopyFrom(model)
    del probed.graph.output[:]
    probed.graph.output.append(onnx.helper.make_empty_tensor_value_info(name))
    output = TensorSpec(name=name, dtype="float32", shape=("batch", size))
    with TemporaryDirectory() as folder:
        path = Path(folder) / "probe.onnx"
        artifact = save_artifact(probed, replace(spec, output=output, classes=("",) * size), path)
        with open_engine("ort", artifact, EngineOptions(spin=False)) as engine:
            return engine.run(images)
