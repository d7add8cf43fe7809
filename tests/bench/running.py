"""What tests of whole benchmarks share."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgecnn.artifact import Artifact
from edgecnn.bench import BenchPlan
from edgecnn.engines import Engine
from edgecnn.engines.base import Batch
from edgecnn.engines.choice import EngineChoice, parse_choice

Make = Callable[..., Artifact]
Open = Callable[[EngineChoice, Artifact], Engine]


def plan(*models: Artifact, engines: tuple[str, ...] = ("ort:threads=1",), **options: Any) -> BenchPlan:
    """A short benchmark of ``models``, without memory and energy."""
    settings: dict[str, Any] = {"duration_s": 0.05, "memory": False, "energy": False, **options}
    return BenchPlan(models=models, engines=tuple(map(parse_choice, engines)), **settings)


def constant(batch: Batch) -> NDArray[Any]:
    """Scores that are all 1."""
    return np.ones((len(batch), 3), np.float32)
