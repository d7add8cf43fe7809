"""Accuracy of artifacts on labelled images, and how far they agree with a reference."""

from __future__ import annotations

from edgecnn.validate.evaluation import Difference, Evaluation, PassSettings, Predictions
from edgecnn.validate.model_batches import run_images
from edgecnn.validate.one_pass import evaluate, open_for_pass
from edgecnn.validate.ranking import first_choices, probabilities
from edgecnn.validate.results import Wanted, measured_results

__all__ = [
    "Difference",
    "Evaluation",
    "PassSettings",
    "Predictions",
    "Wanted",
    "evaluate",
    "first_choices",
    "measured_results",
    "open_for_pass",
    "probabilities",
    "run_images",
]
