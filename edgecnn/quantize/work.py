"""What a recipe is given and what it returns."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field

import onnx

from edgecnn.errors import UsageError
from edgecnn.quantize.calibration import Calibration, calibrate
from edgecnn.quantize.calibration_cache import cached_calibration, calibration_key
from edgecnn.quantize.finiteness import require_finite
from edgecnn.quantize.images import CalibrationImages
from edgecnn.quantize.mixed_precision import MixedPoint
from edgecnn.quantize.placement import Scheme, place_qdq
from edgecnn.quantize.ranges import Range
from edgecnn.quantize.settings import QuantizeSettings
from edgecnn.spec import ModelSpec

__all__ = ["Quantised", "Work"]


@dataclass(frozen=True, slots=True)
class Work:
    """One model to quantise.

    Attributes:
        model: in float32, rewritten for int8 kernels.
        spec: of the artifact that it comes from.
        settings: what is asked for.
        keep_float: names of the nodes that stay in float.
        images: None for recipes that need none.
        observe: told what happens, a line at a time.
    """

    model: onnx.ModelProto
    spec: ModelSpec
    settings: QuantizeSettings
    keep_float: frozenset[str]
    images: CalibrationImages | None
    observe: Callable[[str], None]

    @property
    def scheme(self) -> Scheme:
        """Data types for the CPU that the artifact is for."""
        return Scheme(signed_activations=self.settings.cpu == "arm", reduce_range=self.settings.cpu == "x86")

    @property
    def weight_levels(self) -> int:
        """The largest integer of a weight."""
        return 127 if self.settings.target == "trt" else self.scheme.weight_levels

    def required_images(self) -> CalibrationImages:
        """The calibration images.

        Raises:
            UsageError: there are none.
        """
        if self.images is None:
            raise UsageError(
                f"The recipe {self.settings.recipe} needs images to see the activations' ranges.",
                "Pass --calib DATA: some hundred images like those that the model will get.",
            )
        return self.images

    def calibrated(self, model: onnx.ModelProto) -> Calibration:
        """The activations of ``model`` on the images that set ranges, from the cache where they are known.

        Raises:
            QuantizationError: one that is to be held in 8 bits is NaN or infinite.
        """
        images = self.required_images()
        key = calibration_key(model, images.fingerprint(), self.spec.preprocess)
        calibration, known = cached_calibration(
            key,
            lambda: calibrate(
                model,
                images.batches(),
                len(images.ranging),
                threads=self.settings.threads,
                keep_float=self.keep_float,
            ),
        )
        if known:  # perhaps of a run that kept other nodes in float
            require_finite(model, calibration.not_finite, self.keep_float)
        where = "known from an earlier run" if known else "measured"
        self.observe(f"Ranges of {calibration.images} images {where}")
        return calibration

    def placed(
        self, model: onnx.ModelProto, ranges: Mapping[str, Range], keep_float: Collection[str] = ()
    ) -> onnx.ModelProto:
        """``model`` with Q/DQ pairs as the target wants them."""
        keep = self.keep_float | set(keep_float)
        if self.settings.target == "trt":
            from edgecnn.quantize.tensorrt import quantize_for_tensorrt

            return quantize_for_tensorrt(model, ranges, keep)
        return place_qdq(model, ranges, self.scheme, keep)


@dataclass(frozen=True, slots=True, kw_only=True)
class Quantised:
    """What a recipe made.

    Attributes:
        model: quantised.
        scheme: data types, in words.
        steps: what was done, in order.
        kept_float: names of nodes that were left in float for accuracy or speed.
        front: the mixed precisions that were tried.
        convergence: of the calibration, see ``Calibration``; None also where there was none.
    """

    model: onnx.ModelProto
    scheme: str
    steps: tuple[str, ...]
    kept_float: tuple[str, ...] = ()
    front: tuple[MixedPoint, ...] = field(default=())
    convergence: float | None = None
