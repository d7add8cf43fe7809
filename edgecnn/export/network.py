"""From a PyTorch network to a verified ONNX artifact."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path
from tempfile import TemporaryDirectory

import onnx
import torch
from PIL import Image
from torch import nn

import edgecnn
from edgecnn.architectures.normalisation import with_preprocess
from edgecnn.artifact import Artifact, graph_input, graph_output, save_artifact
from edgecnn.atomic import writing
from edgecnn.cards import find_card
from edgecnn.engines import EngineOptions, open_engine
from edgecnn.engines.base import Batch, Scores
from edgecnn.errors import ArtifactError, ExportError, UsageError
from edgecnn.export.divergence import first_divergence
from edgecnn.export.exporter import INPUT_NAME, OUTPUT_NAME, to_onnx
from edgecnn.export.images import builtin_images, parity_batch
from edgecnn.export.parity import BATCH_SIZES, check_parity, within_tolerance
from edgecnn.export.settings import ExportSettings
from edgecnn.spec import ModelSpec, Parity, Preprocess, Provenance, TensorSpec
from edgecnn.weights import Network

__all__ = ["export_network", "resized"]


def export_network(
    network: Network,
    settings: ExportSettings,
    path: Path,
    *,
    images: Sequence[Image.Image] = (),
    observe: Callable[[str], None] = lambda _: None,
) -> Artifact:
    """Export ``network``, check the result against PyTorch, and only then put it at ``path``.

    Args:
        network: a module in eval mode, with its classes and preprocessing.
        settings: batch, size, opset, input and exporter.
        path: where the artifact goes; a file already there stays as it was unless all went well.
        images: for the parity check; the three built-in photographs if there are none.
        observe: told what happens, a line at a time.

    Raises:
        UsageError: the network does not take an input of that size.
        ExportError: the exporter failed, or the outputs differ by more than the tolerance; the message
            says where they first part ways.
        ArtifactError: the file cannot be written.
    """
    preprocess = replace(resized(network.preprocess, settings.size), in_graph=settings.input == "uint8")
    module = with_preprocess(network.module, preprocess).eval()
    spec = _spec(network, preprocess, settings)
    batch = parity_batch(images or builtin_images(), spec, settings.batch or max(BATCH_SIZES))
    reference = _pytorch_scores(module, batch, spec)
    observe(f"Exporting {network.card.name} with the {settings.exporter} exporter, opset {settings.opset}")
    model = to_onnx(module, torch.from_numpy(batch[: settings.batch or 2]), settings)
    observe("Comparing with PyTorch on real images")
    parity = _verified(module, model, spec, batch, reference, path)
    return save_artifact(model, replace(spec, provenance=replace(spec.provenance, parity=parity)), path)


def resized(preprocess: Preprocess, size: tuple[int, int] | None) -> Preprocess:
    """``preprocess`` for another input size, with the margin around the crop kept in proportion."""
    if size is None or size == preprocess.crop:
        return preprocess
    factors = (size[0] / preprocess.crop[0], size[1] / preprocess.crop[1])
    if isinstance(preprocess.resize, int):
        return replace(preprocess, crop=size, resize=round(preprocess.resize * max(factors)))
    if preprocess.resize is None:
        return replace(preprocess, crop=size, resize=size)
    height, width = (round(side * factor) for side, factor in zip(preprocess.resize, factors, strict=True))
    return replace(preprocess, crop=size, resize=(height, width))


def _spec(network: Network, preprocess: Preprocess, settings: ExportSettings) -> ModelSpec:
    """What the artifact is to carry, but for its parity."""
    libraries = ("torch", "torchvision", "onnx", *(["timm"] if network.card.source == "timm" else []))
    versions = {name: version(name) for name in libraries} | {"edgecnn": edgecnn.__version__}
    batch = settings.batch or "batch"
    pixels, channels = preprocess.crop, preprocess.channels
    shape = (batch, *pixels, channels) if preprocess.in_graph else (batch, channels, *pixels)
    return ModelSpec(
        network=network.card.name,
        classes=network.classes,
        input=TensorSpec(name=INPUT_NAME, dtype=settings.input, shape=shape),
        output=TensorSpec(name=OUTPUT_NAME, dtype="float32", shape=(batch, len(network.classes))),
        preprocess=preprocess,
        weights=network.weights,
        provenance=Provenance(exporter=settings.exporter, opset=settings.opset, versions=versions),
    )


def _pytorch_scores(module: nn.Module, batch: Batch, spec: ModelSpec) -> Scores:
    """What PyTorch answers; also the proof that the network takes this input at all."""
    try:
        with torch.inference_mode():
            scores: Scores = module(torch.from_numpy(batch)).numpy()
    except (RuntimeError, ValueError, AssertionError) as error:
        height, width = spec.preprocess.crop
        raise UsageError(
            f"{spec.network} does not take an input of {height}x{width}: {str(error).splitlines()[0]}",
            f"Choose a larger --size; {find_card(spec.network).preprocess.crop} is its own.",
        ) from error
    return scores


def _verified(
    module: nn.Module, model: onnx.ModelProto, spec: ModelSpec, batch: Batch, reference: Scores, path: Path
) -> Parity:
    """The parity of ``model``, if it is within tolerance.

    Raises:
        ExportError: it is not, or the graph's input or output is not as asked for.
    """
    if (graph_input(model), graph_output(model)) != (spec.input, spec.output):
        raise ExportError(
            f"The exporter wrote {graph_input(model)} -> {graph_output(model)}, "
            f"not {spec.input} -> {spec.output}.",
            "Try --exporter torchscript, or a fixed --batch.",
        )
    with _beside(path) as temporary:
        artifact = save_artifact(model, spec, temporary)
        onnx.checker.check_model(str(temporary))
        with open_engine("ort", artifact, EngineOptions(spin=False)) as engine:
            parity = check_parity(engine, batch, reference)
    if not within_tolerance(parity):
        raise _parity_error(parity, str(first_divergence(module, model, spec, batch[:2]) or ""))
    return parity


def _parity_error(parity: Parity, where: str) -> ExportError:
    return ExportError(
        f"The exported model does not answer as PyTorch does: difference {parity.max_rel:.2g} of the largest "
        f"logit, top-1 agreement {parity.top1_agreement:.0f} % of {parity.images} images"
        + (f"; {where}." if where else "."),
        "No file was written. Try the other exporter (--exporter) or another --opset.",
    )


@contextmanager
def _beside(path: Path) -> Iterator[Path]:
    """A temporary model path on the disk of ``path``, so that a full one is noticed before the end."""
    with writing(path.parent, ArtifactError, "Choose another place with -o."):
        path.parent.mkdir(parents=True, exist_ok=True)
        folder = TemporaryDirectory(prefix=f".{path.name}.", dir=path.parent)
    with folder as name:
        yield Path(name) / "model.onnx"
