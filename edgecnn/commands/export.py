"""``edgecnn export``: PyTorch network to verified ONNX artifact."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click
import msgspec

from edgecnn.artifact import Artifact
from edgecnn.atomic import replacing, require_writable, writing
from edgecnn.cards import find_card
from edgecnn.commands.console import Terminal, terminal_options
from edgecnn.commands.parameters import BatchType, SizeType
from edgecnn.errors import ArtifactError, DataError, UsageError
from edgecnn.export.settings import DEFAULT_OPSET, ExportSettings
from edgecnn.preprocess import decode
from edgecnn.spec import encode_spec

__all__ = ["export"]


@click.command()
@click.argument("network", metavar="NET")
@click.option(
    "--weights",
    default="pretrained",
    show_default=True,
    metavar="pretrained|random|PATH",
    help="Published weights, random ones, or a state dict or 'edgecnn train' checkpoint.",
)
@click.option("--seed", type=int, default=0, show_default=True, help="For random weights.")
@click.option("--classes", type=click.Path(path_type=Path), help="Text file with one class name a line.")
@click.option("-o", "--output", type=click.Path(path_type=Path), help="The artifact; NET.onnx if not given.")
@click.option("--batch", type=BatchType(), default="dynamic", show_default=True, help="Batch size.")
@click.option("--size", type=SizeType(), help="Input size if not the network's own, as N or HxW.")
@click.option(
    "--opset", type=int, default=DEFAULT_OPSET, show_default=True, help="Version of the ONNX operators."
)
@click.option(
    "--input",
    type=click.Choice(["float32", "uint8"]),
    default="float32",
    show_default=True,
    help="uint8: pixels (N, H, W, C) go in, and the graph normalises them.",
)
@click.option(
    "--exporter",
    type=click.Choice(["dynamo", "torchscript"]),
    default="dynamo",
    show_default=True,
    help="torch.export, or the older torch.jit.trace, which also writes opset 11 to 17.",
)
@click.option(
    "--check-image",
    "check_images",
    multiple=True,
    type=click.Path(path_type=Path),
    help="Image for the comparison with PyTorch; repeat for more. Three photographs come with edgecnn.",
)
@click.option("--spec-out", type=click.Path(path_type=Path), help="Write the spec as a JSON file, too.")
@terminal_options
def export(terminal: Terminal, /, **options: Any) -> None:  # noqa: ANN401
    """Export the network NET to ONNX and prove that it answers as PyTorch does.

    The artifact carries its preprocessing, class names, provenance and parity figures. If the outputs
    differ by more than the tolerance, the command fails, says where they first part ways, and leaves no
    file; an older file of the same name stays as it was.
    """
    card = find_card(
        options["network"]
    )  # a wrong value is told before torch is imported, which takes seconds
    settings = ExportSettings(
        batch=options["batch"],
        size=options["size"],
        opset=options["opset"],
        input=options["input"],
        exporter=options["exporter"],
    )
    classes = _read_classes(options["classes"])
    images = [decode(path) for path in options["check_images"]]
    path = options["output"] or Path(f"{card.name}.onnx")
    with writing(path, ArtifactError, "Choose another place with -o."):
        require_writable(path)
    from edgecnn.export.network import export_network
    from edgecnn.weights import load_network

    network = load_network(
        card, options["weights"], seed=options["seed"], classes=classes, announce=terminal.note
    )
    artifact = export_network(network, settings, path, images=images, observe=terminal.note)
    if options["spec_out"]:
        _write_spec(artifact, options["spec_out"])
    _print(terminal, artifact)


def _write_spec(artifact: Artifact, path: Path) -> None:
    """The spec as a file that people can edit and give to --spec."""
    remedy = "The model is written; choose another place with --spec-out."
    with writing(path, ArtifactError, remedy), replacing(path) as temporary:
        temporary.write_bytes(msgspec.json.format(encode_spec(artifact.spec).encode(), indent=2))


def _read_classes(path: Path | None) -> tuple[str, ...] | None:
    if path is None:
        return None
    try:
        names = tuple(path.read_text(encoding="utf-8").splitlines())
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(
            f"{path}: cannot be read: {error}.", "Give a UTF-8 text file, one class a line."
        ) from error
    if not names or not all(name.strip() for name in names):
        raise UsageError(
            f"{path} holds no or empty class names.", "Write one class name a line, in index order."
        )
    return names


def _print(terminal: Terminal, artifact: Artifact) -> None:
    spec, size = artifact.spec, artifact.size_bytes()
    if terminal.json:
        terminal.document(
            {"artifact": str(artifact.path), "size_bytes": size, "sha256": artifact.sha256(), "spec": spec}
        )
        return
    parity = spec.provenance.parity
    assert parity is not None
    sqnr = "equal" if parity.sqnr_db is None else f"SQNR {parity.sqnr_db:.0f} dB"
    terminal.line(f"{artifact.path}  {size / 1e6:.1f} MB, {len(spec.classes)} classes")
    terminal.line(f"  input   {spec.input.name} {spec.input.dtype} {list(spec.input.shape)}")
    terminal.line(f"  output  {spec.output.name} {spec.output.dtype} {list(spec.output.shape)}")
    terminal.line(f"  weights {spec.weights.kind} {spec.weights.name}")
    terminal.line(
        f"  parity  max difference {parity.max_abs:.2g} ({parity.max_rel:.1g} of the largest logit), {sqnr}, "
        f"top-1 agreement {parity.top1_agreement:.0f} % of {parity.images} images"
    )
