"""What the models are fed: random numbers of their own type, and one real photograph."""

from __future__ import annotations

from importlib.resources import files

import numpy as np

from edgecnn.engines.base import Batch
from edgecnn.errors import EngineError
from edgecnn.preprocess import decode, prepare
from edgecnn.spec import ModelSpec

__all__ = ["photograph", "photograph_batch", "random_batch"]


def random_batch(spec: ModelSpec, batch: int, seed: int) -> Batch:
    """``batch`` inputs: standard normal where the model takes floats, else over the whole range of its type.

    Latency does not depend on what is in a picture, but it may on zeros and denormal numbers, of which there
    are none here.

    Raises:
        EngineError: a dimension besides the batch is dynamic, so that there is no telling the size.
    """
    tensor = spec.input
    sizes = [size for size in tensor.shape[1:] if isinstance(size, int)]
    if len(sizes) != len(tensor.shape) - 1:
        raise EngineError(
            f"The model {spec.network!r} takes {tensor.dtype}{list(tensor.shape)}: any image size.",
            "Export it for one size: edgecnn export NET --size N",
        )
    random, shape, dtype = np.random.default_rng(seed), (batch, *sizes), np.dtype(tensor.dtype)
    if dtype.kind == "f":
        return random.standard_normal(shape, np.float32).astype(dtype, copy=False)
    limits = np.iinfo(dtype)
    return random.integers(limits.min, limits.max, shape, dtype, endpoint=True)


def photograph() -> bytes:
    """A JPEG of 384 x 256 pixels, 25 kB, as a client would send it."""
    return (files("edgecnn.export") / "images" / "pagoda.jpg").read_bytes()


def photograph_batch(spec: ModelSpec, batch: int) -> Batch:
    """``batch`` times the photograph, prepared as ``spec`` says, in the type that the model takes."""
    image = prepare(decode(photograph(), name="the built-in photograph"), spec)
    return np.repeat(image[np.newaxis], batch, axis=0).astype(spec.input.dtype, copy=False)
