"""Benchmarks of variants: which artifact, in which engine, how fast, with how much memory and energy."""

from edgecnn.bench.plan import BenchPlan, PlannedVariant
from edgecnn.bench.run import run_bench

__all__ = ["BenchPlan", "PlannedVariant", "run_bench"]
