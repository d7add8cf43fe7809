"""The command line. Commands are named in a table and imported when they are used."""

from __future__ import annotations

from typing import Any, cast

import click

from edgecnn import __version__
from edgecnn.errors import DependencyMissingError, EdgecnnError
from edgecnn.lookup import resolve

__all__ = ["COMMANDS", "main"]

#: name -> (reference, one-line help); the help is here so that 'edgecnn --help' imports no command.
COMMANDS = {
    "list": ("edgecnn.commands.list:list_networks", "Networks, their size, accuracy and source."),
    "profile": ("edgecnn.commands.profile:profile", "Per-layer sizes, parameters, MACs and receptive field."),
    "train": ("edgecnn.commands.train:train", "Fine-tune a network on labelled images."),
    "export": ("edgecnn.commands.export:export", "PyTorch network to verified ONNX artifact."),
    "validate": ("edgecnn.commands.validate:validate", "Accuracy and agreement of models on labelled data."),
    "predict": ("edgecnn.commands.predict:predict", "Labels for images."),
    "quantize": (
        "edgecnn.commands.quantize:quantize",
        "Make an int8 or fp16 artifact, with measured accuracy and speed.",
    ),
    "build": ("edgecnn.commands.build:build", "TensorRT plan of a model."),
    "inspect": (
        "edgecnn.commands.inspect:inspect",
        "What a model file holds: spec, precision, quantisation.",
    ),
    "bench": ("edgecnn.commands.bench:bench", "Latency, throughput, memory and energy of models in engines."),
    "compare": ("edgecnn.commands.compare:compare", "All networks, engines and precisions, and a report."),
    "pick": ("edgecnn.commands.pick:pick", "The variant to ship under stated limits."),
    "tune": ("edgecnn.commands.tune:tune_command", "Instances, threads and batch that suit this machine."),
    "serve": ("edgecnn.commands.serve:serve_command", "Batching inference server over HTTP and gRPC."),
    "load": ("edgecnn.commands.load:load", "Load on a running server: throughput, latency, refusals."),
    "doctor": ("edgecnn.commands.doctor:doctor", "Which engines open here, and why the others do not."),
}

#: optional package -> the extra that brings it.
EXTRAS = {
    "torch": "export",
    "torchvision": "export",
    "onnxscript": "export",
    "timm": "timm",
    "uvloop": "serve",
    "httptools": "serve",
    "grpc": "serve",
    "prometheus_client": "serve",
    "python_multipart": "serve",
    "httpx": "serve",
}


class _Failure(click.ClickException):
    """An edgecnn error on its way to the terminal."""

    def __init__(self, error: EdgecnnError) -> None:
        super().__init__(str(error))
        self.exit_code = error.exit_code  # type: ignore[misc]


class _LazyGroup(click.Group):
    """A group that imports a command when it runs, and turns the project's errors into exit codes."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        return cast(click.Command, resolve(COMMANDS[cmd_name][0]))

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, text) for name, (_, text) in COMMANDS.items()])

    def invoke(self, ctx: click.Context) -> Any:  # noqa: ANN401 - click's own signature
        try:
            return super().invoke(ctx)
        except EdgecnnError as error:
            raise _Failure(error) from error
        except ModuleNotFoundError as error:
            package = (error.name or "").partition(".")[0]
            if package not in EXTRAS:
                raise
            raise _Failure(DependencyMissingError(package, "This command", EXTRAS[package])) from error


@click.group(cls=_LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="edgecnn")
def main() -> None:
    """From a trained PyTorch CNN classifier to a small, fast, proven and served edge model.

    Exit codes: 0 done, 1 failed, 2 wrong usage, 3 a stated limit did not hold.
    """
