"""What travels with a model: frozen values, and their JSON form.

An artifact carries a :class:`ModelSpec`, so that whoever has the file has its preprocessing, its classes
and its provenance. The JSON form is versioned.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

import msgspec

from edgecnn.errors import ArtifactError
from edgecnn.versioned import Form

__all__ = [
    "SPEC_VERSION",
    "Color",
    "Interpolation",
    "ModelSpec",
    "Parity",
    "Precision",
    "Preprocess",
    "Provenance",
    "Quantization",
    "QuantizationAccuracy",
    "QuantizationSpeed",
    "TensorSpec",
    "WeightsId",
    "decode_spec",
    "encode_spec",
]

SPEC_VERSION = "edgecnn.spec/1"

_FORM = Form(
    schema=SPEC_VERSION,
    damage="has a spec that cannot be read",
    error=ArtifactError,
    newer="export the model again",
    repair="Export the model again.",
)

Interpolation = Literal["nearest", "bilinear", "bicubic", "lanczos"]
Color = Literal["RGB", "BGR", "L"]
Precision = Literal["fp32", "fp16", "bf16", "int8", "mixed"]


@dataclass(frozen=True, slots=True, kw_only=True)
class TensorSpec:
    """One input or output of a model.

    Attributes:
        name: its name in the graph.
        dtype: numpy's name for its element type, such as "float32" or "uint8".
        shape: one entry per dimension; a string names a dynamic one, ("batch", 3, 224, 224).
    """

    name: str
    dtype: str
    shape: tuple[int | str, ...]

    @property
    def dynamic_batch(self) -> bool:
        """Whether the first dimension may be any positive number."""
        return bool(self.shape) and isinstance(self.shape[0], str)


@dataclass(frozen=True, slots=True, kw_only=True)
class Preprocess:
    """From a decoded 8-bit image to the model's input: resize, centre crop, scale, normalise.

    The arithmetic is torchvision's, in float32: ``(pixel / divisor - mean) / std``.

    Attributes:
        resize: length of the short side in pixels (the long side keeps the aspect ratio), an exact
            (height, width), or None for no resize.
        crop: (height, width) of the centre crop, which is the network's input size.
        interpolation: the filter of the resize.
        antialias: whether the filter's support grows with the reduction, as Pillow's always does.
        color: order of the channels; "L" is one channel of luma.
        divisor: pixels are divided by it before the mean is subtracted.
        mean: one value per channel, in the order of ``color``, in units of the scaled pixel.
        std: likewise.
        in_graph: whether scaling, normalisation and the change of layout are nodes of the model, whose
            input is then (N, H, W, C) uint8 instead of (N, C, H, W) float32.
    """

    resize: int | tuple[int, int] | None
    crop: tuple[int, int]
    interpolation: Interpolation = "bilinear"
    antialias: bool = True
    color: Color = "RGB"
    divisor: float = 255.0
    mean: tuple[float, ...] = (0.485, 0.456, 0.406)
    std: tuple[float, ...] = (0.229, 0.224, 0.225)
    in_graph: bool = False

    def __post_init__(self) -> None:
        if len(self.mean) != self.channels or len(self.std) != self.channels:
            raise ValueError(f"mean and std need {self.channels} values for {self.color}")
        resize = self.resize if isinstance(self.resize, tuple) else (self.resize,)
        sides = (*self.crop, *(side for side in resize if side is not None))
        if any(side < 1 for side in sides):
            raise ValueError("resize and crop need positive sizes")
        if self.divisor == 0 or 0 in self.std:
            raise ValueError("divisor and std must not be zero")

    @property
    def channels(self) -> int:
        """How many channels the network's input has."""
        return 1 if self.color == "L" else 3


@dataclass(frozen=True, slots=True, kw_only=True)
class WeightsId:
    """Where the numbers in a model come from.

    Attributes:
        kind: "pretrained", "file", "random", or "unknown" for a model that edgecnn did not export.
        name: the pretrained weights' id, the file's path as given, or "seed=N".
        sha256: of the file of weights; None for random and unknown ones.
    """

    kind: Literal["pretrained", "file", "random", "unknown"]
    name: str
    sha256: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Parity:
    """How far an artifact's outputs are from PyTorch's, on the same images, in float32.

    Attributes:
        images: how many real images were compared.
        max_abs: largest absolute difference of two logits.
        max_rel: ``max_abs`` divided by the largest absolute reference logit.
        sqnr_db: 10 log10(power of the reference / power of the difference), in decibel; None when equal.
        top1_agreement: share of images with the same arg max, 0 to 100.
    """

    images: int
    max_abs: float
    max_rel: float
    sqnr_db: float | None
    top1_agreement: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Provenance:
    """What made the artifact: versions by package name, the exporter, the opset, and its check."""

    exporter: str = "unknown"
    opset: int | None = None
    versions: dict[str, str] = field(default_factory=dict)
    parity: Parity | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class QuantizationAccuracy:
    """What quantising cost, image by image against the model that was quantised.

    Attributes:
        data: the images' source.
        fingerprint: of the images, labels and order.
        n: how many they are.
        reference_top1: percent that the float model has right.
        top1: percent that the quantised one has right.
        drop: reference minus quantised, in percentage points.
        drop_ci95: its 95 % interval, paired.
        agreement: percent of images with the same first choice.
    """

    data: str
    fingerprint: str
    n: int
    reference_top1: float
    top1: float
    drop: float
    drop_ci95: tuple[float, float]
    agreement: float


@dataclass(frozen=True, slots=True, kw_only=True)
class QuantizationSpeed:
    """Latency of one image on one thread against the float model, both in alternation in one run.

    Attributes:
        engine: what ran.
        cpu: where.
        reference_ms: median latency of the float model.
        ms: median latency of the quantised one.
        ratio: median of the pairwise ratios float / quantised; above 1 is faster.
        ratio_spread: 10th and 90th percentile of those ratios.
        ratio_ci95: 95 % interval of the median; where it holds 1, which of the two is faster cannot be told.
            None in files of before it was kept.
    """

    engine: str
    cpu: str
    reference_ms: float
    ms: float
    ratio: float
    ratio_spread: tuple[float, float]
    ratio_ci95: tuple[float, float] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Quantization:
    """How an artifact was quantised, and what was measured of it right afterwards.

    Attributes:
        recipe: as asked for, such as "auto".
        target: the engine that it is for: "ort", "openvino" or "trt".
        scheme: data types of activations and weights, such as "uint8 x int8 per channel".
        source_sha256: of the model that was quantised.
        calibration: name of the source of calibration images; None where none are needed.
        calibration_images: how many of its images the ranges come from.
        calibration_sha256: their fingerprint.
        calibration_convergence: by how much, in percent, the last of them still widened the ranges;
            None where that cannot be told.
        steps: what was done, in order, each kept because it helped.
        kept_float: names of the nodes that stayed in float for accuracy or speed, or were asked to.
        int8_mac_share: percent of the multiply-accumulates that the engine really runs in int8; None where
            it was not measured.
        accuracy: None where it was not measured.
        speed: likewise.
    """

    recipe: str
    target: str
    scheme: str
    source_sha256: str
    calibration: str | None = None
    calibration_images: int | None = None
    calibration_sha256: str | None = None
    calibration_convergence: float | None = None
    steps: tuple[str, ...] = ()
    kept_float: tuple[str, ...] = ()
    int8_mac_share: float | None = None
    accuracy: QuantizationAccuracy | None = None
    speed: QuantizationSpeed | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelSpec:
    """All that an engine, a validation run or a server must know of a model besides its graph.

    Attributes:
        network: the card's name, such as "mobilenet_v2"; a file's stem for foreign models.
        classes: class names in the order of the output's last dimension.
        input: the one input.
        output: the one output that holds a score per class.
        preprocess: from a decoded image to ``input``.
        weights: where the weights come from.
        precision: what most of the arithmetic runs in.
        scores: whether the output holds logits or probabilities.
        provenance: what made it.
        quantization: how it was quantised; None for what was not.
    """

    network: str
    classes: tuple[str, ...]
    input: TensorSpec
    output: TensorSpec
    preprocess: Preprocess
    weights: WeightsId
    precision: Precision = "fp32"
    scores: Literal["logits", "probabilities"] = "logits"
    provenance: Provenance = field(default_factory=Provenance)
    quantization: Quantization | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class _Opened:
    """So far that the places in a message are those within the spec."""

    spec: msgspec.Raw


@dataclass(frozen=True, slots=True, kw_only=True)
class _Envelope:
    schema: str
    spec: ModelSpec


def encode_spec(spec: ModelSpec) -> str:
    """The JSON text of ``spec``, with its version."""
    return msgspec.json.encode(_Envelope(schema=SPEC_VERSION, spec=spec)).decode()


def decode_spec(text: str | bytes, *, origin: str) -> ModelSpec:
    """Read what :func:`encode_spec` wrote.

    Args:
        text: the JSON text.
        origin: the file it came from, for the message.

    Raises:
        ArtifactError: not JSON, another version, or a field that is missing or of the wrong type.
    """
    with _FORM.reading(origin):
        return msgspec.json.decode(_FORM.from_json(text, _Opened, origin=origin).spec, type=ModelSpec)
