"""Does the artifact answer as PyTorch does? Compared on real images, at several batch sizes."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from edgecnn.engines.base import Batch, Engine, Scores
from edgecnn.errors import ExportError
from edgecnn.spec import Parity
from edgecnn.statistics import sqnr_db

__all__ = ["BATCH_SIZES", "MAX_RELATIVE_DIFFERENCE", "check_parity", "compare_scores", "within_tolerance"]

#: An exporter that specialised the batch away answers at one of these only.
BATCH_SIZES = (1, 2, 5, 8)

#: Of the largest logit. Two float32 implementations of one network differ by 1e-7 to 1e-4 (the order of
#: sums, Winograd); a wrong constant, layout or epsilon shows as 1e-2 and more.
MAX_RELATIVE_DIFFERENCE = 1e-3


def check_parity(engine: Engine, images: Batch, reference: Scores) -> Parity:
    """Run ``images`` at every batch size that the artifact takes, and compare with ``reference``.

    Args:
        engine: the artifact, opened.
        images: at least as many as the largest batch size.
        reference: PyTorch's scores of ``images``.

    Raises:
        ExportError: PyTorch's own scores are not finite, so that nothing can be compared.
    """
    if not np.isfinite(reference).all():
        raise ExportError(
            "PyTorch itself answers NaN or infinity for real images, so the export cannot be checked.",
            "Check the weights (was the training stable?) and the input size.",
        )
    sizes = BATCH_SIZES if engine.spec.input.dynamic_batch else (len(images),)
    answers = [engine.run(images[:size]) for size in sizes]
    expected = [reference[:size] for size in sizes]
    return compare_scores(np.concatenate(expected), np.concatenate(answers), images=len(images))


def compare_scores(reference: Scores, other: Scores, *, images: int) -> Parity:
    """How far ``other`` is from ``reference``; both (N, classes), from ``images`` different images."""
    difference = np.abs(other.astype(np.float64) - reference.astype(np.float64))
    scale = float(np.abs(reference).max())
    max_abs = float(difference.max())
    return Parity(
        images=images,
        max_abs=max_abs,
        max_rel=max_abs / scale if scale else max_abs,
        sqnr_db=sqnr_db(reference, other) if max_abs else None,
        top1_agreement=100.0 * float(np.mean(_same_top1(reference, other, scale))),
    )


def within_tolerance(parity: Parity) -> bool:
    """Whether the difference is what two float32 implementations of one network may show."""
    return parity.max_rel <= MAX_RELATIVE_DIFFERENCE and parity.top1_agreement == 100.0


def _same_top1(reference: Scores, other: Scores, scale: float) -> NDArray[np.bool_]:
    """Equal arg max; a class that ties with the winner within the tolerance counts as the winner."""
    chosen = np.take_along_axis(reference, other.argmax(axis=1)[:, None], axis=1)[:, 0]
    return np.asarray(reference.max(axis=1) - chosen <= 2 * MAX_RELATIVE_DIFFERENCE * scale)
