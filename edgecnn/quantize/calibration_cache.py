"""Histograms kept for the next time: the same model on the same images gives the same ones."""

from __future__ import annotations

import hashlib
import json
import zipfile
import zlib
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import numpy as np
import onnx

from edgecnn.atomic import replacing
from edgecnn.cache import cache_folder
from edgecnn.quantize.calibration import Calibration
from edgecnn.quantize.histogram import BINS, Histogram
from edgecnn.spec import Preprocess

__all__ = ["cached_calibration", "calibration_key"]

_FORMAT = 3

#: What damaged archives raise, depending on the byte that is wrong.
_UNREADABLE = (
    *(OSError, EOFError, KeyError, ValueError, RuntimeError, MemoryError),
    *(zipfile.BadZipFile, zlib.error),
)


def calibration_key(model: onnx.ModelProto, images: str, preprocess: Preprocess) -> str:
    """Hexadecimal digits of all that the histograms depend on.

    Args:
        model: whose activations are observed.
        images: fingerprint of the images, in order.
        preprocess: what makes them the model's input.
    """
    digest = hashlib.sha256(f"{_FORMAT} {BINS} {images} {preprocess}".encode())
    digest.update(model.graph.SerializeToString(deterministic=True))
    return digest.hexdigest()[:32]


def cached_calibration(key: str, make: Callable[[], Calibration]) -> tuple[Calibration, bool]:
    """The calibration under ``key``, made and kept where it is new or its file is damaged.

    Returns:
        The calibration, and whether it came from the cache.
    """
    path = cache_folder("calibration") / f"{key}.npz"
    with suppress(*_UNREADABLE):
        return _read(path), True
    calibration = make()
    with suppress(OSError):  # a cache that cannot be written costs time the next time, and nothing else
        _write(calibration, path)
    return calibration, False


def _write(calibration: Calibration, path: Path) -> None:
    histograms = calibration.histograms
    about = {
        "images": calibration.images,
        "convergence": calibration.convergence,
        "not_finite": calibration.not_finite,
        "names": list(histograms),
        "bins": [[h.exponent, h.first, len(h.counts), h.low, h.high] for h in histograms.values()],
    }
    counts = np.concatenate([h.counts for h in histograms.values()])
    with replacing(path) as temporary, temporary.open("wb") as file:
        np.savez_compressed(file, about=np.array(json.dumps(about)), counts=counts)


def _read(path: Path) -> Calibration:
    with path.open("rb") as opened, np.load(opened, allow_pickle=False) as file:
        about, counts = json.loads(str(file["about"])), file["counts"]
    ends = np.cumsum([bins[2] for bins in about["bins"]])
    histograms = {
        name: Histogram(exponent, first, counts[end - size : end], low, high)
        for name, (exponent, first, size, low, high), end in zip(
            about["names"], about["bins"], ends, strict=True
        )
    }
    not_finite = tuple(about["not_finite"])
    return Calibration(histograms, about["images"], about["convergence"], not_finite)
