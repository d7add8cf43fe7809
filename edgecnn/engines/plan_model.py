"""A plan that TensorRT has opened, and what its bindings say of it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from edgecnn.errors import ArtifactError, EngineError
from edgecnn.spec import ModelSpec, TensorSpec

__all__ = ["PlanModel", "Port", "read_model"]

#: Only the first profile is used: edgecnn builds no other.
_PROFILE = 0

#: TensorRT's names of data types -> numpy's.
_DTYPES = {"FLOAT": "float32", "HALF": "float16", "UINT8": "uint8", "INT8": "int8", "INT32": "int32"}


@dataclass(frozen=True, slots=True)
class Port:
    """The input or the output.

    Attributes:
        name: of the tensor.
        dtype: of its elements.
        image: its shape without the batch.
    """

    name: str
    dtype: np.dtype[Any]
    image: tuple[int, ...]

    def shape(self, images: int) -> tuple[int, ...]:
        """Of a batch."""
        return (images, *self.image)


@dataclass(frozen=True, slots=True)
class PlanModel:
    """What a runner must know of a model.

    Attributes:
        engine: TensorRT's ``ICudaEngine``.
        origin: the file, for messages.
        input: what it takes.
        output: what it gives.
        least: the smallest batch of its profile.
        most: the largest.
        activation_bytes: memory that one run works in.
    """

    engine: Any
    origin: str
    input: Port
    output: Port
    least: int
    most: int
    activation_bytes: int


def read_model(engine: Any, spec: ModelSpec, origin: str) -> PlanModel:  # noqa: ANN401 - no types
    """What ``engine`` is, checked against ``spec``.

    Args:
        engine: an ``ICudaEngine``.
        spec: what the plan's file says of it.
        origin: that file.

    Raises:
        ArtifactError: input or output are not what the spec says.
    """
    names = [engine.get_tensor_name(index) for index in range(engine.num_io_tensors)]
    if sorted(names) != sorted((spec.input.name, spec.output.name)):
        raise _mismatch(origin, f"has the tensors {', '.join(names)}", spec.input.name, spec.output.name)
    least, most = _batches(engine, spec.input.name)
    return PlanModel(
        engine=engine,
        origin=origin,
        input=_port(engine, spec.input, origin),
        output=_port(engine, spec.output, origin),
        least=least,
        most=most,
        activation_bytes=int(engine.device_memory_size_v2),
    )


def _batches(engine: Any, name: str) -> tuple[int, int]:  # noqa: ANN401
    fixed, *_ = engine.get_tensor_shape(name)
    if fixed != -1:
        return fixed, fixed
    (least, *_), _, (most, *_) = engine.get_tensor_profile_shape(name, _PROFILE)
    return least, most


def _port(engine: Any, tensor: TensorSpec, origin: str) -> Port:  # noqa: ANN401
    shape = tuple(engine.get_tensor_shape(tensor.name))
    dtype = _DTYPES.get(engine.get_tensor_dtype(tensor.name).name, "unknown")
    if dtype != tensor.dtype or not _agree(shape, tensor.shape):
        raise _mismatch(
            origin, f"has {tensor.name} as {dtype}{list(shape)}", f"{tensor.dtype}{list(tensor.shape)}"
        )
    if -1 in shape[1:]:
        raise EngineError(
            f"{origin} leaves sizes of {tensor.name} open besides the batch: {list(shape)}.",
            "Export the network again with fixed image sizes.",
        )
    return Port(tensor.name, np.dtype(dtype), shape[1:])


def _agree(shape: tuple[int, ...], wanted: tuple[int | str, ...]) -> bool:
    return len(shape) == len(wanted) and all(
        have == want or isinstance(want, str) or have == -1 for have, want in zip(shape, wanted, strict=True)
    )


def _mismatch(origin: str, has: str, *wanted: str) -> ArtifactError:
    return ArtifactError(
        f"{origin} {has}, and its spec says {', '.join(wanted)}.",
        "The plan and the spec beside it belong to different models: build the plan again.",
    )
