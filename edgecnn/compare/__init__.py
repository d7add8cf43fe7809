"""The whole matrix of networks, engines and precisions: quantised, validated and benchmarked."""

from edgecnn.compare.matrix import MatrixOutcome, run_matrix
from edgecnn.compare.plan import ComparePlan, Subject

__all__ = ["ComparePlan", "MatrixOutcome", "Subject", "run_matrix"]
