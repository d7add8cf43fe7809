"""scikit-learn's 1,797 handwritten digits: real data that needs no download."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from edgecnn.data.arrays import ArrayImages
from edgecnn.data.splits import Split
from edgecnn.errors import DependencyMissingError

__all__ = ["open_digits"]


def open_digits(*, split: Split = "test") -> ArrayImages:
    """The digits, 8 x 8 pixels, grey.

    The split is fixed and stratified: of each class, in the order of the data set, every fifth image is for
    testing (364 of 1,797) and the others are for training. Pixels, 0 to 16 there, are scaled to 0 to 255.

    Raises:
        DependencyMissingError: scikit-learn is not installed.
    """
    try:
        from sklearn.datasets import load_digits
    except ImportError as error:
        raise DependencyMissingError("scikit-learn", "The data set 'digits'", "train") from error
    data = load_digits()
    labels: NDArray[np.int64] = data.target.astype(np.int64)
    chosen = _for_testing(labels) == (split == "test")
    pixels = np.round(data.images[chosen] * (255 / 16)).astype(np.uint8)
    classes = tuple(str(digit) for digit in range(10))
    return ArrayImages(f"digits/{split}", None, classes, labels[chosen], pixels)


def _for_testing(labels: NDArray[np.int64]) -> NDArray[np.bool_]:
    """(n,) bool: every fifth image of each class."""
    result = np.zeros(len(labels), np.bool_)
    for label in np.unique(labels):
        result[np.flatnonzero(labels == label)[::5]] = True
    return result
