"""``edgecnn compare``: the whole matrix of networks, engines and precisions, and its report."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from edgecnn.atomic import require_writable, writing
from edgecnn.commands.comparison_report import gate_against, tell_drops, write_reports
from edgecnn.commands.console import Terminal, terminal_options
from edgecnn.commands.model_argument import ModelOptions, resolve_model
from edgecnn.commands.parameters import WordsType
from edgecnn.commands.result_table import print_rows
from edgecnn.commands.shared_options import (
    classes_option,
    duration_option,
    engines_option,
    limit_option,
    max_drop_option,
    memory_option,
    threads_option,
)
from edgecnn.data import SOURCE_FORMS, LabelledImages, Split, open_source, subset
from edgecnn.engines.choice import EngineChoice, parse_choices
from edgecnn.errors import DependencyMissingError, EdgecnnError, GateError, ResultError, UsageError
from edgecnn.reports.counted import counted
from edgecnn.reports.one_line import one_line
from edgecnn.reports.result import ResultFile
from edgecnn.reports.result_file import encode_results, read_results
from edgecnn.reports.rows import rows_of

if TYPE_CHECKING:
    from edgecnn.compare import ComparePlan, MatrixOutcome, Subject

__all__ = ["DEFAULT_FOLDER", "compare"]

#: Where reports go, and what can be used again.
DEFAULT_FOLDER = Path("comparison")

_PRECISIONS = ("fp32", "fp16", "bf16", "int8")

#: Endings of a file of weights in a folder of them, the first that is there.
_WEIGHT_ENDINGS = (".pth", ".pt", ".safetensors")


@dataclass(frozen=True, slots=True, kw_only=True)
class _Request:
    """What the user asked for; the fields are the options."""

    networks: tuple[str, ...]
    engines: tuple[str, ...]
    precisions: tuple[str, ...]
    weights: tuple[str, ...]
    spec: tuple[str, ...]
    seed: int
    data: str | None
    calib: str | None
    classes: Path | None
    limit: int | None
    images: int | None
    max_drop: float
    batch: int
    threads: int | None
    duration: float
    memory: bool
    fresh: bool
    baseline: Path | None
    plots: Path | None
    output: Path

    @property
    def choices(self) -> tuple[EngineChoice, ...]:
        return tuple(choice for text in self.engines for choice in parse_choices(text))

    def model_options(self, name: str) -> ModelOptions:
        """What resolves ``name``; a model file has its weights, and a network its spec."""
        if Path(name).is_file():
            return ModelOptions(spec=self._said_of(name, self.spec))
        return ModelOptions(weights=self.weights_of(name), seed=self.seed)

    def weights_of(self, network: str) -> str | None:
        """What was said of the weights of ``network``, or of all; of a folder, its file there."""
        text = self._said_of(network, self.weights)
        if text is None or not Path(text).is_dir():
            return text
        for ending in _WEIGHT_ENDINGS:
            if (path := Path(text) / f"{network}{ending}").is_file():
                return str(path)
        raise UsageError(
            f"{text} has no weights of {network}: no {network}.pth, .pt or .safetensors.",
            f"Put them there, or pass --weights {network}=PATH|pretrained|random, too.",
        )

    def _said_of(self, network: str, texts: Sequence[str]) -> str | None:
        """Of ``texts``, each for one network or for all, the last that is for ``network``; its own first."""
        mine, named = f"{network}=", tuple(f"{each}=" for each in self.networks)
        for_all = [each for each in texts if not each.startswith(named)]
        own = [each.removeprefix(mine) for each in texts if each.startswith(mine)]
        return [None, *for_all, *own][-1]


@click.command()
@click.argument("networks", metavar="NET...", nargs=-1, required=True)
@engines_option
@click.option(
    "--precision",
    "precisions",
    type=WordsType(_PRECISIONS),
    default="fp32,int8",
    show_default=True,
    help=f"Of {', '.join(_PRECISIONS)}.",
)
@click.option("--data", metavar="DATA", help=f"Labelled images to measure accuracy on: {SOURCE_FORMS}.")
@click.option(
    "--calib", metavar="DATA", help="Images to quantise by.  [default: the training part of --data]"
)
@click.option(
    "--weights",
    multiple=True,
    metavar="[NET=]pretrained|random|PATH",
    help="Of networks given by name; for all, or for one. A folder holds NET.pth for each.",
)
@click.option(
    "--spec",
    multiple=True,
    metavar="[FILE=]NET|SPEC",
    help="Of model files made elsewhere: a network whose input they take, or a JSON file.",
)
@click.option("--seed", type=int, default=0, show_default=True, help="Of random weights.")
@classes_option
@limit_option
@click.option("--images", type=click.IntRange(min=2), help="Quantise by so many images at most.")
@max_drop_option
@click.option("--batch", type=click.IntRange(min=1), default=1, show_default=True, help="Images per call.")
@threads_option
@duration_option(3.0)
@memory_option
@click.option("--fresh", is_flag=True, help="Make and measure again what is there from earlier runs.")
@click.option(
    "--baseline",
    type=click.Path(path_type=Path),
    metavar="OLD.json",
    help="Exit with 3 if anything got slower, bigger or less accurate than in these results.",
)
@click.option(
    "--plots", type=click.Path(path_type=Path, file_okay=False), metavar="DIR", help="PNG and SVG, too."
)
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path, file_okay=False),
    default=DEFAULT_FOLDER,
    show_default=True,
    metavar="DIR",
    help="Folder for the reports, and for what an interrupted run can go on from.",
)
@terminal_options
def compare(terminal: Terminal, /, **options: Any) -> None:  # noqa: ANN401 - click's own
    """Export, quantise, validate and benchmark every NET in every engine and precision.

    NET is the name of a network, for which --weights says which, or a model file in fp32, of which --spec
    says what it takes if it was made elsewhere. What is known from
    an earlier run into the same folder, by the content of models and images, is not measured again.

    Written into the folder: results.json, results.csv, results.md and report.html, one page that needs no
    network. 'edgecnn pick' chooses from results.json.

    What fails is named with its reason and the others go on; the exit code is then 1. It is 3 where top-1
    fell by more than --max-drop, beyond chance.
    """
    request = _Request(**options)
    baseline = _baseline(request)
    if request.plots is not None:
        import edgecnn.reports.plots  # noqa: F401 - what is missing is better told now than after the run
    plan = _plan(request, terminal)
    outcome = _run(plan, terminal)
    with _saying(terminal, lambda: _measured(plan)):
        reports = write_reports(outcome, plan.data, request.output, request.plots, terminal)
    rows = rows_of(outcome.document.results)
    if terminal.json:
        terminal.line(encode_results(outcome.document))
        for row in rows:
            if row.result.error is not None:
                terminal.warn(f"{row.title}: {one_line(row.result.error)}")
    else:
        print_rows(terminal, rows)
        terminal.line(f"Reports: {', '.join(map(str, reports))}")
    _tell(outcome, terminal)
    lost = tell_drops(rows, terminal)
    if baseline is not None:
        _tell_remembered(outcome, terminal)
        gate_against(baseline, outcome.document, terminal)
    if outcome.failed:
        raise click.exceptions.Exit(1)
    if lost:
        raise GateError(
            f"{counted(lost, 'variant')} lost more top-1 than --max-drop allows.",
            "The drops are named above. Ship the float model there, or allow a larger drop.",
        )


def _baseline(request: _Request) -> ResultFile | None:
    """The results to hold the new ones against.

    Raises:
        UsageError: the run would replace them, and the next one be held against what is worse.
        ResultError: they cannot be read.
    """
    path = request.baseline
    if path is None:
        return None
    if path.resolve() == (request.output / "results.json").resolve():
        raise UsageError(
            f"This run replaces the baseline {path}: what got worse would be the next run's baseline.",
            "Keep the baseline elsewhere: copy it, and pass --baseline COPY; or write elsewhere with -o.",
        )
    return read_results(path)


def _plan(request: _Request, terminal: Terminal) -> ComparePlan:
    try:
        from edgecnn.compare import ComparePlan
        from edgecnn.quantize.guards import require_disjoint
    except ModuleNotFoundError as error:
        raise DependencyMissingError(error.name or "onnxruntime", "Comparing", "cpu") from error
    data = _opened(request.data, "test", terminal)
    needs_images = "int8" in request.precisions
    calibration = _opened(request.calib or request.data, "train", terminal) if needs_images else None
    plan = ComparePlan(
        subjects=(),
        engines=request.choices,
        precisions=request.precisions,  # type: ignore[arg-type]
        folder=request.output,
        data=None if data is None else subset(data, request.limit),
        calibration=calibration,
        images=request.images,
        classes=request.classes,
        max_drop=request.max_drop,
        batch=request.batch,
        threads=request.threads,
        duration_s=request.duration,
        memory=request.memory,
        fresh=request.fresh,
    )
    if calibration is not None and data is not None:
        for warning in require_disjoint(calibration, data):
            terminal.warn(warning)
    models = {name: request.model_options(name) for name in request.networks}
    with writing(request.output, ResultError, "Choose another folder with -o."):
        require_writable(request.output / "results.json")
    # Last: exports take minutes, and what makes no sense is better told before them.
    return replace(plan, subjects=_subjects(models, terminal))


def _opened(text: str | None, split: Split, terminal: Terminal) -> LabelledImages | None:
    return None if text is None else open_source(text, split=split, announce=terminal.detail)


def _subjects(models: Mapping[str, ModelOptions], terminal: Terminal) -> tuple[Subject, ...]:
    found: list[Subject] = []
    with _saying(terminal, lambda: _exported(found)):
        for name, options in models.items():
            found.append(_subject(name, options, terminal))
    return tuple(found)


def _exported(found: Sequence[Subject]) -> str:
    """What an interrupt of the exports leaves."""
    kept = [each.name for each in found if each.artifact is not None and not Path(each.name).is_file()]
    if not kept:
        return "No export was complete, and nothing half-written is left. The same command starts again."
    done = f"Exported, and kept for the next time: {', '.join(kept)}; nothing half-written is left."
    return f"{done} The same command goes on from there."


def _subject(name: str, options: ModelOptions, terminal: Terminal) -> Subject:
    """The network ``name``; what keeps it from being exported is kept, so that the others go on.

    Raises:
        UsageError: there is no such network, or nothing says which weights it shall have.
    """
    from edgecnn.compare import Subject

    try:
        return Subject(name, resolve_model(name, options, terminal.note))
    except UsageError:
        raise
    except EdgecnnError as error:
        return Subject(name, None, str(error))


def _run(plan: ComparePlan, terminal: Terminal) -> MatrixOutcome:
    from edgecnn.compare import run_matrix

    with _saying(terminal, lambda: _measured(plan)), terminal.stages("Comparing", terminal.note) as observe:
        return run_matrix(plan, observe)


def _measured(plan: ComparePlan) -> str:
    """What an interrupt of the measurements, or of the reports on them, leaves."""
    how = "Without --fresh, the same command" if plan.fresh else "The same command"
    return f"What is done so far is in {plan.folder}. {how} goes on from there."


@contextmanager
def _saying(terminal: Terminal, done: Callable[[], str]) -> Iterator[None]:
    """Say what is done and how to go on where the user interrupts what is inside."""
    try:
        yield
    except KeyboardInterrupt:
        terminal.warn(f"Interrupted. {done()}")
        raise


def _tell(outcome: MatrixOutcome, terminal: Terminal) -> None:
    for reason in outcome.left_out:
        terminal.note(f"Left out: {reason}")
    for warning in dict.fromkeys(text for result in outcome.document.results for text in result.warnings):
        terminal.note(f"Note: {warning}")
    for problem in outcome.problems:
        terminal.warn(problem)


def _tell_remembered(outcome: MatrixOutcome, terminal: Terminal) -> None:
    """Warn that a gate judges speeds of before: perhaps by the very figures that it holds them against."""
    if outcome.remembered:
        variants = f"{outcome.remembered} of {counted(len(outcome.document.results), 'variant')}"
        terminal.warn(
            f"The speed and memory of {variants} are from an earlier run into this folder: what got slower "
            "or bigger since does not show. To measure anew, pass --fresh."
        )
