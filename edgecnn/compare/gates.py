"""Whether what quantising cost is within what the user allows."""

from __future__ import annotations

from edgecnn.artifact import Artifact
from edgecnn.reports.max_drop import drop_gate, paired_drop_gate
from edgecnn.reports.result import Accuracy, Gate

__all__ = ["quantisation_gate"]


def quantisation_gate(artifact: Artifact, accuracy: Accuracy | None, limit: float) -> Gate | None:
    """The gate on the drop of a quantised ``artifact``; None where nobody measured it.

    Args:
        artifact: knows its drop on the images that calibration held out.
        accuracy: on the images to validate by, against the float model, which counts more; None without.
        limit: in percentage points.
    """
    measured = None if accuracy is None else paired_drop_gate(accuracy, limit)
    return measured or _recorded(artifact, limit)


def _recorded(artifact: Artifact, limit: float) -> Gate | None:
    done = artifact.spec.quantization
    found = None if done is None else done.accuracy
    return None if found is None else drop_gate(found.drop, found.drop_ci95, limit)
