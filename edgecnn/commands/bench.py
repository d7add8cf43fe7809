"""``edgecnn bench``: latency, throughput, memory and energy of models in engines."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click

from edgecnn.bench import BenchPlan, run_bench
from edgecnn.bench.plan import Driver
from edgecnn.commands.bench_tables import print_bench
from edgecnn.commands.console import Terminal, terminal_options
from edgecnn.commands.model_argument import ModelOptions, model_options, resolve_models
from edgecnn.commands.parameters import NumbersType
from edgecnn.commands.shared_options import duration_option, engines_option, memory_option, result_option
from edgecnn.engines.choice import parse_choices
from edgecnn.environment import describe_environment
from edgecnn.errors import GateError
from edgecnn.reports.label import label
from edgecnn.reports.missed import missed
from edgecnn.reports.result import Result, ResultFile
from edgecnn.reports.result_file import encode_results, write_results
from edgecnn.timing.scenarios import ScenarioName

__all__ = ["bench"]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Request:
    """What the user asked for; the fields are the options."""

    models: tuple[str, ...]
    engines: tuple[str, ...]
    batch: tuple[int, ...]
    threads: tuple[int, ...]
    scenario: ScenarioName
    driver: Driver
    duration: float
    qps: float | None
    latency_bound_ms: float | None
    instances: int
    baseline: str | None
    logs: Path | None
    memory: bool
    output: Path | None
    model_options: ModelOptions

    def plan(self, terminal: Terminal) -> BenchPlan:
        """The benchmark; networks that are given by name are exported for it.

        Raises:
            UsageError: options that make no sense, or not together.
            EdgecnnError: as :func:`edgecnn.commands.model_argument.resolve_models`.
        """
        engines = tuple(choice for text in self.engines for choice in parse_choices(text))
        return BenchPlan(
            models=tuple(resolve_models(self.models, self.model_options, terminal.note)),
            engines=engines,
            batches=self.batch,
            threads=self.threads,
            scenario=self.scenario,
            driver=self.driver,
            duration_s=self.duration,
            target_qps=self.qps,
            latency_bound_ms=self.latency_bound_ms,
            instances=self.instances,
            baseline=self.baseline,
            logs=self.logs,
            memory=self.memory,
        )


@click.command()
@click.argument("models", metavar="MODEL...", nargs=-1, required=True)
@engines_option
@click.option("--batch", type=NumbersType(), default=(), help="Images per call.  [default: 1]")
@click.option("--threads", type=NumbersType(), default=(), help="Threads of one call.  [default: all cores]")
@click.option(
    "--scenario",
    type=click.Choice(["single", "multi", "offline", "server"]),
    default="single",
    show_default=True,
    help="Of MLPerf Inference: one query after the other (p90), queries of eight images (p99), throughput, "
    "or queries that arrive by chance (p99).",
)
@duration_option(5.0)
@click.option("--qps", type=float, metavar="Q", help="Queries a second that arrive, of the server scenario.")
@click.option(
    "--latency-bound-ms",
    type=float,
    metavar="MS",
    help="What their 99th percentile may be; exit with 3 if it is more.",
)
@click.option(
    "--instances", type=int, default=1, show_default=True, help="Of each model, for offline and server."
)
@click.option(
    "--driver",
    type=click.Choice(["built-in", "loadgen"]),
    default="built-in",
    show_default=True,
    help="What makes the load; 'loadgen' is MLCommons LoadGen.",
)
@click.option(
    "--logs",
    type=click.Path(path_type=Path, file_okay=False),
    metavar="DIR",
    help="Where LoadGen's logs are kept.",
)
@click.option(
    "--baseline",
    metavar="WORDS",
    help="What the others are compared with, as 'resnet50.onnx ort batch=1'.  [default: the first variant]",
)
@memory_option
@result_option
@model_options
@terminal_options
def bench(terminal: Terminal, /, **options: Any) -> None:  # noqa: ANN401 - click's own
    """Measure every MODEL in every engine, with every batch size and number of threads.

    MODEL is a model file, or the name of a network, for which --weights says which. All variants take turns
    in one run, so that a machine that drifts favours none; each is warmed up until its latency has settled.
    In the server scenario, where a queue must last, one variant runs after the other. Intervals are of 95 %.

    A variant that cannot be measured is named with its reason; the others go on, and the exit code is 1.
    Where all are measured and --latency-bound-ms is exceeded, or was not tested (the run was too short, or
    --qps more than can be answered), it is 3.
    """
    request = _Request(**options)
    plan = request.plan(terminal)
    environment = describe_environment()
    with terminal.stages("Benchmark", terminal.detail) as observe:
        results = tuple(run_bench(plan, observe))
    document = ResultFile(environment=environment, results=results)
    if request.output is not None:
        write_results(document, request.output)
    if terminal.json:
        terminal.line(encode_results(document))
    else:
        print_bench(terminal, results, environment)
    _report(terminal, results)


def _report(terminal: Terminal, results: tuple[Result, ...]) -> None:
    """Say what makes the figures uncertain, and what could not be measured; exit with 1 for the latter.

    Raises:
        GateError: a bound of latency did not hold.
    """
    several = len(results) > 1
    by_text: dict[str, list[str]] = {}
    for result in results:
        for warning in result.warnings:
            by_text.setdefault(warning, []).append(label(result.variant))
    for text, names in by_text.items():
        everybody = len(names) == len(results)
        terminal.warn(text if everybody or not several else f"{'; '.join(names)}: {text}")
    failed = [result for result in results if result.error is not None]
    for result in failed:
        click.echo(f"Error: {label(result.variant)}: {result.error}", err=True)
    sentences = [f"{label(one.variant)}: {sentence}" for one in results for sentence in missed(one)]
    if failed:
        for sentence in sentences:
            terminal.warn(sentence)
        raise click.exceptions.Exit(1)
    if sentences:
        raise GateError(" ".join(sentences), _remedy(results))


def _remedy(results: tuple[Result, ...]) -> str:
    """What to do where a bound of latency did not hold, or was not tested."""
    longer = all(gate.held or gate.name == "duration" for result in results for gate in result.gates)
    if longer:
        return "Measure for longer (--duration), or at another --qps."
    return "Send fewer queries (--qps), use a faster model or engine, or allow more."
