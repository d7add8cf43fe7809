"""``edgecnn quantize``: a smaller and faster artifact, with what it cost."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from edgecnn.artifact import Artifact
from edgecnn.atomic import require_writable, writing
from edgecnn.commands.console import Terminal, terminal_options
from edgecnn.commands.model_argument import ModelOptions, model_options, resolve_model
from edgecnn.commands.quantization_report import print_outcome, save_front
from edgecnn.commands.shared_options import classes_option, max_drop_option, threads_option
from edgecnn.data import SOURCE_FORMS, LabelledImages, Split, open_source
from edgecnn.environment import describe_environment, usable_cores
from edgecnn.errors import ArtifactError, DependencyMissingError, GateError
from edgecnn.quantize.settings import CPUS, RECIPE_NAMES, TARGETS, QuantizeSettings, this_cpu
from edgecnn.reports.result import ResultFile
from edgecnn.reports.result_file import encode_results

if TYPE_CHECKING:
    from edgecnn.quantize.measure import Measured
    from edgecnn.quantize.pipeline import Outcome

__all__ = ["quantize"]


@click.command()
@click.argument("model")
@click.option(
    "--calib",
    metavar="DATA",
    help=f"Images that ranges are found on (of a source with parts, the training images): {SOURCE_FORMS}.",
)
@click.option(
    "--data",
    metavar="DATA",
    help="Other labelled images to measure accuracy on; of a source with parts, the test images. "
    "Default: those of --calib that set no range.",
)
@click.option(
    "--target", type=click.Choice(TARGETS), default="ort", show_default=True, help="What will run the file."
)
@click.option(
    "--recipe", type=click.Choice(RECIPE_NAMES), default="auto", show_default=True, help="How; see above."
)
@max_drop_option
@click.option(
    "--keep-float", multiple=True, metavar="NODE", help="Leave a node, or all of a module, in float. Repeat."
)
@click.option(
    "--cpu",
    type=click.Choice(CPUS),
    help="What it will run on: x86 with 8-bit dot products (vnni), x86 without, or ARM. Default: as here.",
)
@click.option("--images", type=click.IntRange(min=2), help="Use so many of --calib, evenly spaced.")
@classes_option
@threads_option
@click.option(
    "-o", "--output", type=click.Path(path_type=Path), help="Default: the model's name with .int8 or .fp16."
)
@model_options
@terminal_options
def quantize(terminal: Terminal, /, **options: Any) -> None:  # noqa: ANN401 - click's own
    """Make an int8 or fp16 artifact of MODEL, and measure what became of accuracy and speed.

    The recipe auto tries ranges by four methods, bias correction, weights rounded jointly, equalised
    channels, ranges searched by their effect on the scores, and layers in float where that is needed, each
    judged on images that set no range. minmax, percentile, entropy and mse are static int8 with those ranges
    and nothing else; dynamic needs no images; weights is for size; fp16 is for GPUs; nncf is OpenVINO's own
    quantiser.

    Layers in float are searched, by their measured latency, for --target ort only. For openvino, auto takes
    the better of its own file and NNCF's, as measured there; for trt it measures no speed. Name the layers
    with --keep-float there.

    The exit code is 3 if more than --max-drop is lost, or if an int8 file is not faster. What chance could
    explain, by a 95 % interval, is no failure; that it cannot be told which is faster is a warning.
    """
    settings = _settings(options)
    calibration = _opened(options["calib"], "train", terminal)  # of a source with parts
    evaluation = _opened(options["data"], "test", terminal)
    if settings.target == "trt":
        terminal.note("Accuracy is measured in ONNX Runtime; speed is not, for want of TensorRT.")
    artifact = _resolved(options["model"], options["model_options"], terminal)
    path = options["output"] or _default_path(artifact, settings)
    _require_place(path, artifact)
    environment = describe_environment()
    outcome = _run(artifact, settings, (calibration, evaluation, options["classes"]), path, terminal)
    front = save_front(outcome, path, terminal)
    if terminal.json:
        terminal.line(encode_results(ResultFile(environment=environment, results=outcome.measured.results)))
    else:
        print_outcome(terminal, outcome, front)
    for warning in outcome.measured.results[1].warnings:
        terminal.warn(warning)
    _judge(outcome, settings)


def _settings(options: dict[str, Any]) -> QuantizeSettings:
    return QuantizeSettings(
        target=options["target"],
        recipe=options["recipe"],
        max_drop=options["max_drop"],
        keep_float=options["keep_float"],
        cpu=options["cpu"] or this_cpu(describe_environment(())),
        images=options["images"],
        threads=options["threads"] or usable_cores(),
    )


def _opened(text: str | None, split: Split, terminal: Terminal) -> LabelledImages | None:
    return None if text is None else open_source(text, split=split, announce=terminal.note)


def _resolved(text: str, options: ModelOptions, terminal: Terminal) -> Artifact:
    return resolve_model(text, options, terminal.note)


def _default_path(artifact: Artifact, settings: QuantizeSettings) -> Path:
    kind = {"fp16": "fp16", "weights": "w8"}.get(settings.recipe, "int8")
    target = "" if settings.target == "ort" else f".{settings.target}"
    return Path(f"{artifact.path.stem}{target}.{kind}.onnx")


def _require_place(path: Path, artifact: Artifact) -> None:
    if path.resolve() == artifact.path.resolve():
        raise ArtifactError(
            f"{path} is the model itself, and would be lost.", "Choose another place with -o."
        )
    with writing(path, ArtifactError, "Choose another place with -o."):
        require_writable(path)


def _run(
    artifact: Artifact,
    settings: QuantizeSettings,
    data: tuple[LabelledImages | None, LabelledImages | None, Path | None],
    path: Path,
    terminal: Terminal,
) -> Outcome:
    try:
        from edgecnn.quantize.pipeline import Sources, quantize_artifact
    except ModuleNotFoundError as error:
        raise DependencyMissingError(error.name or "onnxruntime", "Quantising", "cpu") from error
    calibration, evaluation, classes = data
    sources = Sources(calibration=calibration, evaluation=evaluation, classes=classes)
    return quantize_artifact(artifact, settings, sources, path, observe=terminal.note, warn=terminal.warn)


def _judge(outcome: Outcome, settings: QuantizeSettings) -> None:
    """Fail for what was asked for and is not so.

    Raises:
        GateError: it lost too much, or is not faster.
    """
    failed = {gate.name: gate for gate in outcome.measured.gates if not gate.held}
    problems, remedies = [], []
    if gate := failed.get("max_drop"):
        problems.append(f"Top-1 fell by {gate.value:.2f} points; --max-drop allows {gate.limit:g}.")
        remedies.append(_against_a_drop(outcome, settings))
    if gate := failed.get("min_speedup"):
        about = _about_speed(outcome.measured)
        problems.append(f"It is not faster than the float model: {gate.value:.2f} times the speed{about}.")
        remedies.append("Ship the float model here, or quantise for another --target or --cpu.")
    if problems:
        raise GateError(f"{' '.join(problems)} The file was written.", " ".join(remedies))


def _against_a_drop(outcome: Outcome, settings: QuantizeSettings) -> str:
    """What is left to try, of what the target and the recipe allow."""
    record = outcome.artifact.spec.quantization
    ways = ["more calibration images"] if record is not None and record.calibration is not None else []
    ways += ["--recipe auto"] if settings.recipe != "auto" else []
    ways.append("--keep-float with the most sensitive layers")
    text = f"{', '.join(ways[:-1])} or {ways[-1]}" if len(ways) > 1 else ways[-1]
    remedy = f"{text[0].upper()}{text[1:]} can help."
    if settings.target == "ort":
        return remedy
    return (
        f"{remedy} Such layers are searched for --target ort only: quantise for it with --recipe auto, and "
        "'edgecnn inspect' names those to pass here."
    )


def _about_speed(measured: Measured) -> str:
    """How sure it is, and what would explain it, in parentheses."""
    parts = []
    if measured.speed is not None and measured.speed.ratio_ci95 is not None:
        low, high = measured.speed.ratio_ci95
        parts.append(f"95 % interval {low:.2f} to {high:.2f}")
    if measured.int8_mac_share is not None:
        parts.append(f"{measured.int8_mac_share:.0f} % of its multiply-accumulates run in int8")
    return f" ({'; '.join(parts)})" if parts else ""
