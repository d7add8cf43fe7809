"""Calibration images: half of them set the ranges, half judge what came of it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from edgecnn.data import LabelledImages, fingerprint, ordered_map, select
from edgecnn.preprocess import prepare
from edgecnn.quantize.sessions import BATCH, Images
from edgecnn.spec import ModelSpec

__all__ = ["CalibrationImages"]

#: So many are held in memory at most, whatever the source: judges of whole models, and of single ranges.
_HELD_OUT = 256
_TUNING = 24


@dataclass(frozen=True, slots=True)
class CalibrationImages:
    """The images of a source in three uses, each in the source's order.

    Every second image is held out: it judges and never sets a range. Of both halves, a number that does not
    grow with the source is kept prepared in memory; the rest streams.

    Attributes:
        source: at least two images.
        labels: (len(source),) class indices.
        spec: how the model takes them.
        threads: that decode.
    """

    source: LabelledImages
    labels: NDArray[np.int64]
    spec: ModelSpec
    threads: int

    @property
    def ranging(self) -> NDArray[np.int64]:
        """Indices of the images that set the ranges."""
        return np.arange(0, len(self.source), 2)

    @property
    def judging(self) -> NDArray[np.int64]:
        """Indices of the images that judge: at most 256 of the others, evenly spaced."""
        return _spaced(np.arange(1, len(self.source), 2), _HELD_OUT)

    def batches(self) -> Iterator[Images]:
        """The images that set the ranges, four at a time."""
        yield from self._pieces(self.ranging, BATCH)

    def spaced(self, limit: int, size: int) -> Iterator[Images]:
        """At most ``limit`` of the images that set the ranges, evenly spaced, always ``size`` at a time.

        Where they do not fill the last piece, it is filled up with the first of them.
        """
        indices = _spaced(self.ranging, limit)
        yield from self._pieces(np.resize(indices, -(-len(indices) // size) * size), size)

    def tuning(self) -> Images:
        """At most 24 of the images that set the ranges, to try ranges out on."""
        return self._prepared(_spaced(self.ranging, _TUNING).tolist())

    def seen(self) -> Images:
        """At most 256 of the images that set the ranges."""
        return self._prepared(_spaced(self.ranging, _HELD_OUT).tolist())

    def held_out(self) -> Images:
        """The images at ``judging``."""
        return self._prepared(self.judging.tolist())

    def fingerprint(self) -> str:
        """SHA-256 of the images that set the ranges: a key for caches."""
        return fingerprint(select(self.source, self.ranging, self.source.name))

    def _pieces(self, indices: NDArray[np.int64], size: int) -> Iterator[Images]:
        pieces = (indices[start : start + size].tolist() for start in range(0, len(indices), size))
        yield from ordered_map(self._prepared, pieces, workers=self.threads, window=self.threads + 1)

    def _prepared(self, indices: list[int]) -> Images:
        images = (prepare(self.source.image(at), self.spec, name=self.source.key(at)) for at in indices)
        return np.stack(list(images))


def _spaced(indices: NDArray[np.int64], limit: int) -> NDArray[np.int64]:
    if len(indices) <= limit:
        return indices
    return indices[np.arange(limit) * len(indices) // limit]
