"""ONNX Runtime sessions over models in memory, for calibration and for trying out variants."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnxruntime import InferenceSession, SessionOptions

from edgecnn.engines.ort_session import ERRORS
from edgecnn.errors import QuantizationError

__all__ = ["BATCH", "Images", "Session", "in_batches"]

#: (N, C, H, W) float32, or as the model's input says.
Images = NDArray[np.float32]

_LOG_NOTHING_BUT_FATAL = 4

#: ONNX Runtime gives weights to a float convolution between Q/DQ pairs an 8-bit form by itself, with one
#: scale for all channels; what is tried here as float must run as float.
_REQUANTISES = "WeightBiasQuantization"

#: Images per run: more would need more memory, and on CPUs gain no time.
BATCH = 4


class Session:
    """A model that is ready to run, on the CPU.

    Attributes:
        outputs: names of the model's outputs, in order.
    """

    def __init__(
        self,
        model: onnx.ModelProto,
        *,
        threads: int,
        exact_float: bool = False,
        optimised: Path | None = None,
    ) -> None:
        """Open ``model``.

        Args:
            model: at most 2 GiB.
            threads: that work on one run.
            exact_float: keep ONNX Runtime from quantising further what the model keeps in float.
            optimised: where to write the graph that really runs.

        Raises:
            QuantizationError: ONNX Runtime refuses the model.
        """
        settings = SessionOptions()
        settings.intra_op_num_threads = threads
        settings.inter_op_num_threads = 1
        settings.log_severity_level = _LOG_NOTHING_BUT_FATAL
        settings.add_session_config_entry("session.intra_op.allow_spinning", "0")
        # As on ARM. On x86 it would turn int8 activations into uint8 where it can, and then run in float what
        # lies between the two types (seen in 1.31).
        settings.add_session_config_entry("session.qdqisint8allowed", "1")
        if optimised is not None:
            settings.optimized_model_filepath = str(optimised)
        disabled = [_REQUANTISES] if exact_float else None
        try:
            self._session = InferenceSession(
                model.SerializeToString(),
                settings,
                providers=["CPUExecutionProvider"],
                disabled_optimizers=disabled,
            )
        except Exception as error:
            raise QuantizationError(
                f"ONNX Runtime refuses the model: {error}",
                "Check it with 'edgecnn inspect', or export it again with another --opset.",
            ) from error
        source = self._session.get_inputs()[0]
        self._input: str = source.name
        first = source.shape[0]  # some exporters write 0 or -1 for any batch
        self._fixed: int | None = first if isinstance(first, int) and first > 0 else None
        self.outputs: tuple[str, ...] = tuple(value.name for value in self._session.get_outputs())

    def run(
        self,
        images: Images,
        names: Sequence[str] | None = None,
        others: Mapping[str, NDArray[Any]] | None = None,
    ) -> list[NDArray[np.float32]]:
        """The outputs ``names``, or all, for any number of images; ``others`` are further inputs by name.

        A model that is fixed to a batch runs in pieces of it, the last one filled up with its last image.

        Raises:
            QuantizationError: ONNX Runtime fails: the graph may be for one image though its input is for any.
        """
        if names is not None and not names:
            return []  # ONNX Runtime takes an empty list for all
        wanted = None if names is None else list(names)
        size = self._fixed or len(images)
        parts: list[list[NDArray[np.float32]]] = [
            self._run(wanted, _filled(piece, size), others or {}) for piece in in_batches(images, size)
        ]
        if len(parts) == 1 and size == len(images):
            return parts[0]
        return [_joined(values, size, len(images)) for values in zip(*parts, strict=True)]

    def _run(
        self, names: list[str] | None, images: Images, others: Mapping[str, NDArray[Any]]
    ) -> list[NDArray[np.float32]]:
        try:
            return list(self._session.run(names, {self._input: images, **others}))
        except ERRORS as error:
            raise self._failure(images, others, error) from error

    def _failure(
        self, images: Images, others: Mapping[str, NDArray[Any]], error: Exception
    ) -> QuantizationError:
        if len(images) > 1 and self._fixed is None and self._takes(images[:1], others):
            return QuantizationError(
                f"The model takes one image and fails on {len(images)}, though its input {self._input!r} is "
                "for any: its graph is fixed to a batch of 1 further in, such as by a Reshape.",
                "Export it again with a dynamic batch in all of the graph, or with a batch of 1 in its "
                "input, too: then it runs one image at a time.",
            )
        return QuantizationError(
            f"ONNX Runtime fails to run the model: {' '.join(str(error).split())}",
            "Check it with 'edgecnn inspect', or export it again with another --opset.",
        )

    def _takes(self, images: Images, others: Mapping[str, NDArray[Any]]) -> bool:
        try:
            self._session.run(None, {self._input: images, **others})
        except ERRORS:
            return False
        return True

    def scores(self, images: Images, others: Mapping[str, NDArray[Any]] | None = None) -> NDArray[np.float32]:
        """(N, classes): the first output for any number of images."""
        parts = [self.run(batch, self.outputs[:1], others)[0] for batch in in_batches(images)]
        return np.concatenate([part.reshape(len(part), -1) for part in parts])


def _joined(values: Sequence[NDArray[np.float32]], size: int, images: int) -> NDArray[np.float32]:
    """One output of runs of ``size`` images each, for the first ``images`` of all.

    What has no dimension for the batch, such as a scalar, belongs to no image: all of it stays, a run after
    the other.
    """
    joined = np.concatenate([np.atleast_1d(value) for value in values])
    return joined[:images] if all(value.shape[:1] == (size,) for value in values) else joined


def _filled(images: Images, size: int) -> Images:
    missing = size - len(images)
    return np.concatenate([images, np.repeat(images[-1:], missing, axis=0)]) if missing else images


def in_batches(images: Images, size: int = BATCH) -> Iterator[Images]:
    """``images`` in pieces of ``size``, the last one of what is left."""
    for start in range(0, len(images), size):
        yield images[start : start + size]
