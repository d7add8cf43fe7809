"""``edgecnn tune``: how many instances, threads and images per call suit this machine."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click
import numpy as np

from edgecnn.artifact import Artifact
from edgecnn.atomic import require_writable, writing
from edgecnn.bench.instances import open_instances
from edgecnn.bench.tune import Configuration, Measured, Objective, TuneSettings, Tuning, configurations, tune
from edgecnn.bench.tune_result import doubt, serving_config, tune_results, verdict
from edgecnn.commands.console import Column, Terminal, terminal_options
from edgecnn.commands.model_argument import ModelOptions, model_options, resolve_model
from edgecnn.commands.parameters import FiniteRange, NumbersType
from edgecnn.engines import engine_type
from edgecnn.engines.choice import EngineChoice, parse_choice
from edgecnn.engines.suitability import unsuitable
from edgecnn.environment import describe_environment, usable_cores
from edgecnn.errors import ArtifactError, GateError, UsageError
from edgecnn.reports.counted import counted
from edgecnn.reports.digits import digits
from edgecnn.reports.result import ResultFile
from edgecnn.reports.result_file import encode_results
from edgecnn.serving_config import ModelSettings, write_serving_config
from edgecnn.timing.order_statistics import median_interval

__all__ = ["tune_command", "written"]

_ELSEWHERE = "Choose another place with -o; what was there before is untouched."

#: Images per call that are tried when the user names none and the model takes any.
_BATCHES = (1, 2, 4, 8)

_COLUMNS = (
    Column("", number=False),
    Column("instances"),
    Column("threads"),
    Column("batch"),
    Column("images/s"),
    Column("95 %"),
    Column("p50 ms"),
    Column("p95 ms"),
    Column("calls"),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Request:
    """What the user asked for; the fields are the options."""

    model: str
    engine: str
    objective: Objective
    max_latency_ms: float | None
    batches: tuple[int, ...] | None
    duration: float
    output: Path
    model_options: ModelOptions

    @property
    def settings(self) -> TuneSettings:
        return TuneSettings(
            objective=self.objective, seconds=self.duration, max_latency_ms=self.max_latency_ms
        )

    @property
    def served_spec(self) -> str | None:
        """What was said of a model file made elsewhere, so that it means the same wherever one serves."""
        spec = self.model_options.spec
        if spec is None or not Path(self.model).is_file():
            return None
        return str(Path(spec).resolve()) if Path(spec).is_file() else spec


@click.command("tune")
@click.argument("model")
@click.option("--engine", default="ort", show_default=True, help="What runs it, such as ort:arena=off.")
@click.option(
    "--objective",
    type=click.Choice(["latency", "throughput"]),
    default="throughput",
    show_default=True,
    help="The fastest call, or the most images per second.",
)
@click.option(
    "--max-latency-ms",
    type=FiniteRange(min=0, min_open=True),
    metavar="MS",
    help="Only what answers 95 % of the calls in so many milliseconds; exit with 3 if nothing does.",
)
@click.option(
    "--batches",
    type=NumbersType(),
    help="Images per call to try.  [default: 1,2,4,8, or what the model is fixed to]",
)
@click.option(
    "--duration",
    type=FiniteRange(min=0, min_open=True),
    default=30.0,
    show_default=True,
    metavar="S",
    help="Seconds for all configurations together, about.",
)
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path),
    default=Path("serve.toml"),
    show_default=True,
    help="The serving configuration to write.",
)
@model_options
@terminal_options
def tune_command(terminal: Terminal, /, **options: Any) -> None:  # noqa: ANN401 - click's own
    """Find how many instances, threads and images per call suit this machine, and write it down for serving.

    MODEL is a model file, or the name of a network, for which --weights says which. All configurations are
    measured in turns with every instance busy, the hopeless are dropped, and the others measured for longer.
    Of those that the machine is too noisy to tell apart, the simplest is taken.

    Measure on an idle machine, of the kind that will serve.
    """
    request = _Request(**options)
    with writing(request.output, ArtifactError, _ELSEWHERE):
        require_writable(request.output)
    choice = parse_choice(request.engine)
    artifact = resolve_model(request.model, request.model_options, terminal.note)
    if reason := unsuitable(artifact.spec, choice.name):
        terminal.warn(reason)
    tried = _tried(request, choice, artifact)
    terminal.detail(f"Trying {len(tried)} configurations.")
    environment = describe_environment()
    with open_instances(choice, artifact, tried) as instances, terminal.shares("Tuning") as observe:
        tuning = tune(instances.slices, request.settings, observe=observe)
    results = tune_results(tuning, artifact, choice, instances.infos, request.settings)
    if terminal.json:
        terminal.line(encode_results(ResultFile(environment=environment, results=results)))
    else:
        _print(terminal, tuning)
    if tuning.best is None:
        raise _nothing_fits(tuning, request)
    if reason := doubt(tuning):
        terminal.warn(reason)
    elif sentence := verdict(tuning):
        terminal.note(sentence)
    config = serving_config(
        tuning, tuning.best, artifact, choice, request.settings, environment, request.served_spec
    )
    with writing(request.output, ArtifactError, _ELSEWHERE):
        write_serving_config(config, request.output)
    terminal.note(f"Wrote {request.output}: {written(config.model[0], tuning.best.configuration)}")


def _tried(request: _Request, choice: EngineChoice, artifact: Artifact) -> tuple[Configuration, ...]:
    """The configurations to measure.

    Raises:
        UsageError: batches that the model does not take.
        EngineUnavailableError: the engine cannot open here.
    """
    engine = engine_type(choice.name)
    threads: tuple[int, ...] | None = None
    if choice.options.threads is not None:
        threads = (choice.options.threads,)
    elif "threads" not in engine.understands or engine.check().device != "cpu":
        threads = (0,)
    return configurations(usable_cores(), _batches(request, choice, artifact), request.objective, threads)


def _batches(request: _Request, choice: EngineChoice, artifact: Artifact) -> tuple[int, ...]:
    own = artifact.spec.input.shape[0]
    fixed = own if isinstance(own, int) else choice.options.batch
    if fixed is None:
        return request.batches or _BATCHES
    if request.batches not in (None, (fixed,)):
        what, remedy = (
            (str(artifact.path), "Export it with --batch dynamic")
            if isinstance(own, int)
            else (f"--engine {choice.text}", "Take the option out of it")
        )
        raise UsageError(
            f"{what} is fixed to a batch of {fixed}, and --batches asks for others.",
            f"{remedy}, or leave --batches out.",
        )
    return (fixed,)


def _print(terminal: Terminal, tuning: Tuning) -> None:
    marks = {id(tuning.best): "best", id(tuning.runner_up): "runner-up"}
    terminal.table(_COLUMNS, [_row(each, marks.get(id(each), "")) for each in tuning.measured])


def _row(each: Measured, mark: str) -> tuple[object, ...]:
    summary, configuration = each.latency_ms, each.configuration
    interval = median_interval(each.images_per_s)
    return (
        mark,
        configuration.instances,
        configuration.threads or None,
        configuration.batch,
        f"{np.median(each.images_per_s):.1f}",
        None if interval is None else f"{interval[0]:.1f} to {interval[1]:.1f}",
        digits(summary.median, 2, least=3),
        digits(each.p95_ms, 2, least=3),
        summary.count,
    )


def _nothing_fits(tuning: Tuning, request: _Request) -> GateError:
    nearest = min(tuning.measured, key=lambda each: each.p95_ms)
    return GateError(
        f"No configuration answers 95 % of the calls within {request.max_latency_ms:g} ms; the nearest is "
        f"{_words(nearest.configuration)}, with {digits(nearest.p95_ms, 2, least=3)} ms.",
        f"Allow more, or use a smaller network or precision. {request.output} is not written.",
    )


def written(settings: ModelSettings, best: Configuration) -> str:
    """What the file says in words; where its batch is not that of ``best``, why."""
    most = settings.max_batch
    text = f"{_workers(best)}, batches of up to {most}."
    if most == best.batch:
        return text
    return (
        f"{text} The best was measured with batch {best.batch}; requests that have to wait are "
        f"answered soonest {most} at a time."
    )


def _words(configuration: Configuration) -> str:
    return f"{_workers(configuration)}, batch {configuration.batch}"


def _workers(configuration: Configuration) -> str:
    threads = configuration.threads
    each = f", {counted(threads, 'thread')} each" if threads else ""
    return f"{counted(configuration.instances, 'instance')}{each}"
