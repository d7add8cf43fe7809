"""ONNX models made elsewhere: their spec is put together from the graph and from what the user says."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from math import prod
from pathlib import Path
from typing import Literal

import msgspec

from edgecnn.artifact import Artifact, graph_input, graph_output, read_onnx
from edgecnn.cards import ModelCard, card_names, find_card, label_set
from edgecnn.errors import ArtifactError, UnknownNameError
from edgecnn.graph.reading import arithmetic_precision, ends_in_softmax
from edgecnn.spec import ModelSpec, Precision, Preprocess, TensorSpec, WeightsId, decode_spec

__all__ = ["adopt"]

Holds = Literal["logits", "probabilities"]

_FORM = (
    'A spec file holds {"preprocess": {"resize": 256, "crop": [224, 224], ...}} and, if the classes are not '
    'ImageNet\'s, "classes": [names] or "labels": "imagenet1k"; "scores" may be "logits" or "probabilities". '
    "Or it is what 'edgecnn export --spec-out' writes."
)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Said:
    """What the user says of a model; the fields of a spec file.

    Attributes:
        preprocess: from a decoded image to the model's input.
        classes: class names in the order of the output; ``labels`` names a label set instead.
        labels: a file of ``models/labels``, without its ending.
        scores: what the output holds; None to read it off the graph.
        network: what to call the model; None for the stem of its file.
    """

    preprocess: Preprocess
    classes: tuple[str, ...] | None = None
    labels: str = "imagenet1k"
    scores: Holds | None = None
    network: str | None = None


@dataclass(frozen=True, slots=True)
class _Graph:
    """What the model file says."""

    path: Path
    input: TensorSpec
    output: TensorSpec
    precision: Precision
    scores: Holds


def adopt(path: Path, spec_argument: str) -> Artifact:
    """An ONNX file that carries no spec, with the spec that ``spec_argument`` describes.

    Input, output and precision are read off the graph; a dynamic height and width become the crop of the
    preprocessing. A model of uint8 input takes pixels as they are: whatever normalisation it needs is
    within it.

    Args:
        path: the ONNX file; it is not changed.
        spec_argument: the name of a network whose preprocessing and classes the model has, or a JSON file
            with the fields preprocess, and optionally classes or labels, scores ("logits" or
            "probabilities") and network; or a whole spec as ``encode_spec`` writes it.

    Raises:
        ArtifactError: the file is not ONNX, has not one image input and one output, its input differs
            from the crop, its output from the number of classes, or the spec file is not valid.
        UnknownNameError: ``spec_argument`` is neither a file nor a network.
    """
    model = read_onnx(path)
    scores: Holds = "probabilities" if ends_in_softmax(model) else "logits"
    graph = _Graph(path, graph_input(model), graph_output(model), arithmetic_precision(model), scores)
    said = _said(spec_argument)
    if isinstance(said, ModelSpec):
        return Artifact(path, _fitted(said, graph))
    spec = ModelSpec(
        network=said.network or path.stem,
        classes=label_set(said.labels) if said.classes is None else said.classes,
        input=graph.input,
        output=graph.output,
        preprocess=said.preprocess,
        weights=WeightsId(kind="unknown", name=str(path)),
        precision=graph.precision,
        scores=said.scores or graph.scores,
    )
    return Artifact(path, _fitted(spec, graph))


def _said(argument: str) -> _Said | ModelSpec:
    path = Path(argument)
    if path.is_file():
        return _read_spec_file(path)
    if path.suffix == ".json" or len(path.parts) > 1:
        raise ArtifactError(f"{argument}: no such spec file.", _FORM)
    return _said_by_card(_card(argument))


def _card(name: str) -> ModelCard:
    if name not in card_names():
        listing = "Or pass a JSON file; 'edgecnn list' shows all networks."
        raise UnknownNameError("network (nor spec file)", name, card_names(), listing=listing)
    return find_card(name)


def _said_by_card(card: ModelCard) -> _Said:
    return _Said(preprocess=card.preprocess, labels=card.labels)


def _read_spec_file(path: Path) -> _Said | ModelSpec:
    try:
        text = path.read_bytes()
        document = msgspec.json.decode(text)
        if isinstance(document, dict) and "schema" in document:
            return decode_spec(text, origin=str(path))
        said = msgspec.json.decode(text, type=_Said)
    except OSError as error:
        raise ArtifactError(f"{path} cannot be read: {error.strerror or error}.", _FORM) from error
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise ArtifactError(f"{path} is not a spec: {error}.", _FORM) from error
    _require_known(document, _Said, str(path))
    _require_known(document["preprocess"], Preprocess, f"{path}: preprocess")
    return said


def _require_known(document: dict[str, object], form: type, where: str) -> None:
    """Check that no field is misspelt: its default would silently stand."""
    known = [field.name for field in fields(form)]
    if unknown := [name for name in document if name not in known]:
        raise ArtifactError(
            f"{where} has the unknown field {unknown[0]!r}; it may have {', '.join(known)}.", _FORM
        )


def _fitted(spec: ModelSpec, graph: _Graph) -> ModelSpec:
    """``spec`` with the graph's own input and output, if they fit."""
    input_spec, preprocess = _fitted_input(spec.preprocess, graph)
    values = _values_per_image(graph.output)
    if values is not None and values != len(spec.classes):
        raise ArtifactError(
            f"{graph.path}: its output {_shown(graph.output)} holds {values} scores an image, and the spec "
            f"names {len(spec.classes)} classes.",
            'Pass a spec file with the model\'s own "classes".',
        )
    return replace(
        spec,
        input=input_spec,
        output=graph.output,
        preprocess=preprocess,
        precision=graph.precision,
    )


def _values_per_image(output: TensorSpec) -> int | None:
    """How many numbers the output holds for one image; None where the graph does not say."""
    sizes = [size for size in output.shape[1:] if isinstance(size, int)]
    return prod(sizes) if sizes and len(sizes) == len(output.shape) - 1 else None


def _fitted_input(preprocess: Preprocess, graph: _Graph) -> tuple[TensorSpec, Preprocess]:
    """The graph's input with nothing but the batch dynamic, and the preprocessing that makes it."""
    tensor, (height, width) = graph.input, preprocess.crop
    if len(tensor.shape) != 4 or tensor.dtype not in ("float32", "float16", "uint8"):
        raise ArtifactError(
            f"{graph.path}: its input {_shown(tensor)} is not a batch of images.",
            "A classifier takes (N, C, H, W) float32 or float16, or uint8 pixels.",
        )
    last = _channels_last(tensor, preprocess)
    if last and tensor.dtype != "uint8":
        raise ArtifactError(
            f"{graph.path}: its input {_shown(tensor)} is floating point with the channels last.",
            "edgecnn prepares (N, C, H, W) for floating point; put a Transpose before the model.",
        )
    planes = (preprocess.channels,)
    wanted = (height, width, *planes) if last else (*planes, height, width)
    _require_shape(graph, wanted, preprocess)
    shape = (_batch(tensor.shape[0]), *wanted)
    return replace(tensor, shape=shape), _pixels(preprocess, last) if tensor.dtype == "uint8" else preprocess


def _channels_last(tensor: TensorSpec, preprocess: Preprocess) -> bool:
    channels = preprocess.channels
    return preprocess.in_graph or (tensor.shape[3] == channels and tensor.shape[1] != channels)


def _require_shape(graph: _Graph, wanted: tuple[int, ...], preprocess: Preprocess) -> None:
    given = graph.input.shape[1:]
    if any(
        isinstance(have, int) and have not in (want, 0, -1) for have, want in zip(given, wanted, strict=True)
    ):
        height, width = preprocess.crop
        raise ArtifactError(
            f"{graph.path}: its input {_shown(graph.input)} is not what the spec's preprocessing makes: "
            f"a crop of {height} x {width} with {preprocess.channels} channels.",
            'Pass a spec file whose "crop" and "color" are the model\'s own.',
        )


def _batch(size: int | str) -> int | str:
    """Some exporters write 0 or -1 for a dynamic batch."""
    return size if isinstance(size, str) or size > 0 else "batch"


def _pixels(preprocess: Preprocess, last: bool) -> Preprocess:
    """Preprocessing that ends in uint8 pixels."""
    if last:
        return replace(preprocess, in_graph=True)
    zeros, ones = (0.0,) * preprocess.channels, (1.0,) * preprocess.channels
    return replace(preprocess, divisor=1.0, mean=zeros, std=ones)


def _shown(tensor: TensorSpec) -> str:
    return f"{tensor.name!r} {tensor.dtype}{list(tensor.shape)}"
