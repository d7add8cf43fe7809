"""How ``edgecnn compare`` is run here: in the same process, with stubs for the parts that take long."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
from click.testing import CliRunner, Result

from edgecnn.artifact import Artifact, open_artifact, read_onnx, save_artifact
from edgecnn.bench import BenchPlan
from edgecnn.cli import main
from edgecnn.commands.model_argument import ModelOptions
from edgecnn.reports import result as schema

__all__ = ["Make", "Stubs", "compare"]

Make = Callable[..., Path]


def compare(*arguments: str | Path) -> Result:
    """Run the command."""
    return CliRunner().invoke(main, ["compare", *map(str, arguments)])


@dataclass
class Stubs:
    """What stands for the parts that take long.

    Attributes:
        p50: median latency, in milliseconds, that a benchmark finds.
        spread: the 90th percentile over the median.
        measured: how many benchmarks ran.
        exported: (network, weights) of each network that was given by name.
        refuse: network -> what its export raises.
    """

    artifact: Path
    p50: float = 10.0
    spread: float = 1.1
    measured: int = 0
    exported: list[tuple[str, str | None]] = field(default_factory=list)
    refuse: dict[str, BaseException] = field(default_factory=dict)

    def quantise(
        self, base: Artifact, _settings: object, _sources: object, path: Path, **_observe: object
    ) -> SimpleNamespace:
        model = read_onnx(base.path)
        (classes,) = [each for each in model.graph.initializer if each.name == "classes"]
        numbers = np.frombuffer(classes.raw_data, np.float32).copy()
        numbers[7] += 50  # the quantised one takes 7 for another class
        classes.raw_data = numbers.tobytes()
        return SimpleNamespace(artifact=save_artifact(model, replace(base.spec, precision="int8"), path))

    def bench(self, plan: BenchPlan, *_observe: object) -> list[schema.Result]:
        self.measured += 1
        latency = schema.LatencyMs(
            p50=self.p50,
            p90=self.spread * self.p50,
            ci95=schema.PercentilesCi95(p50=(0.99 * self.p50, 1.01 * self.p50)),
            quantiles=tuple(np.linspace(self.p50, 1.2 * self.p50, 101).tolist()),
        )
        return [
            schema.Result(
                variant=schema.Variant(
                    network=each.artifact.spec.network,
                    artifact=str(each.artifact.path),
                    sha256=each.artifact.sha256(),
                    precision=each.artifact.spec.precision,
                    engine=each.choice.name,
                    batch=each.batch,
                    threads=1,
                ),
                latency_ms=latency,
            )
            for each in plan.variants
        ]

    def resolve(self, name: str, options: ModelOptions, _announce: object) -> Artifact:
        if Path(name).is_file():
            assert options.weights is None
            return open_artifact(Path(name))
        self.exported.append((name, options.weights))
        if error := self.refuse.get(name):
            raise error
        artifact = open_artifact(self.artifact)
        return replace(artifact, spec=replace(artifact.spec, network=name))
