"""``edgecnn inspect``: what is in a model file."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import click

from edgecnn.artifact import is_plan
from edgecnn.commands.console import Column, Terminal, terminal_options
from edgecnn.commands.model_argument import ModelOptions, model_options, resolve_models
from edgecnn.errors import SpecMissingError
from edgecnn.graph.inventory import Inventory, PrecisionShare, StoredNumbers, take_inventory
from edgecnn.graph.layers import ActivationRange, GraphLayer, WeightScales
from edgecnn.plans import Plan, read_plan
from edgecnn.spec import ModelSpec, Parity, Preprocess, Provenance, Quantization, TensorSpec, WeightsId

__all__ = ["inspect"]

_WRITTEN = "As written in the file; what an engine really runs in is measured by 'edgecnn quantize'."

_STORED = (
    Column("stored as", number=False),
    Column("tensors"),
    Column("numbers"),
    Column("%"),
    Column("bytes"),
    Column("%"),
)
_PRECISIONS = (
    Column("precision", number=False),
    Column("nodes", number=False),
    Column("MACs (M)"),
    Column("%"),
)
_LAYERS = (
    Column("node", number=False),
    Column("op", number=False),
    Column("output"),
    Column("precision", number=False),
    Column("MACs (M)"),
    Column("weight\nbytes"),
    Column("input: low..high\n(scale, zero point)"),
    Column("output: low..high\n(scale, zero point)"),
    Column("weight scales"),
)


@click.command()
@click.argument("model", metavar="MODEL")
@click.option("--layers", is_flag=True, help="Show every node with weights or quantised activations.")
@model_options
@terminal_options
def inspect(terminal: Terminal, model: str, layers: bool, model_options: ModelOptions) -> None:
    """Show what a model file holds: its spec, its operators, its precision, its quantisation.

    MODEL is a file or a network's name. A file that edgecnn did not write is shown without a spec.
    Multiply-accumulates (MACs) are for one image. Of a TensorRT plan, what was written beside it is shown.
    """
    path, spec = _resolved(model, model_options, terminal)
    if is_plan(path):
        _show_plan(terminal, read_plan(path))
        return
    inventory = take_inventory(path)
    if terminal.json:
        terminal.document({"model": str(path), "spec": spec, "inventory": inventory})
        return
    for name, text in (*_file_facts(path, inventory), *_spec_facts(spec)):
        terminal.line(f"{name:<16} {text}")
    terminal.line("")
    terminal.table(_STORED, [_stored_row(stored) for stored in inventory.stored])
    _print_precisions(terminal, inventory)
    if layers:
        terminal.table(_LAYERS, [_layer_row(layer) for layer in inventory.layers])


def _resolved(model: str, options: ModelOptions, terminal: Terminal) -> tuple[Path, ModelSpec | None]:
    """The file, and its spec unless nothing tells it."""
    try:
        (artifact,) = resolve_models([model], options, terminal.note)
    except SpecMissingError:
        return Path(model), None
    return artifact.path, artifact.spec


def _show_plan(terminal: Terminal, plan: Plan) -> None:
    if terminal.json:
        terminal.document({"model": str(plan.path), "plan": plan.spec})
        return
    for name, text in (*_plan_facts(plan), *_spec_facts(plan.spec.model)):
        terminal.line(f"{name:<16} {text}")


def _plan_facts(plan: Plan) -> Iterator[tuple[str, str]]:
    """The plan, line by line."""
    spec = plan.spec
    capability = f" (compute capability {spec.compute_capability})" if spec.compute_capability else ""
    ahead_of_time = f"ahead of time, for {', '.join(spec.capabilities) or 'all RTX GPUs'}"
    wider = {"this": "", "same": "; all GPUs of that capability", "ampere+": "; Ampere and later"}
    yield "file", str(plan.path)
    yield "size", f"{spec.plan_bytes / 2**20:.2f} MiB ({spec.plan_bytes:,} bytes)"
    yield "sha256", spec.plan_sha256
    yield "format", f"TensorRT plan, {spec.flavour} {spec.tensorrt_version}, {spec.os}"
    yield "built on", f"{spec.gpu}{capability}{wider[spec.hardware]}" if spec.gpu else ahead_of_time
    yield "versions", "this major, from this minor on" if spec.version_compatible else "this one alone"
    yield "from", f"the ONNX model with SHA-256 {spec.onnx_sha256}"
    yield "computes in", spec.precision
    yield (
        "layers",
        f"{_counts(spec.layers)} (from {spec.layers_from}); in the network {_counts(spec.network_layers)}",
    )
    yield "batches", str(spec.batches)
    yield (
        "build",
        f"{spec.build_seconds:.1f} s, edgecnn {spec.edgecnn_version}, log SHA-256 {spec.log_sha256}",
    )


def _counts(layers: dict[str, int]) -> str:
    return ", ".join(f"{count} {name}" for name, count in sorted(layers.items())) or "not known"


def _print_precisions(terminal: Terminal, inventory: Inventory) -> None:
    if not inventory.precisions:
        terminal.line("There are no convolutions and no matrix products.")
        return
    terminal.table(_PRECISIONS, [_precision_row(share) for share in inventory.precisions])
    terminal.line(_WRITTEN)
    if inventory.nodes_of_unknown_macs:
        terminal.line(
            f"MACs of {inventory.nodes_of_unknown_macs} nodes are not known: their shape is dynamic."
        )


def _file_facts(path: Path, inventory: Inventory) -> Iterator[tuple[str, str]]:
    """The file, line by line."""
    opsets = ", ".join(f"{domain} {version}" for domain, version in inventory.opsets.items())
    yield "file", str(path)
    yield "size", f"{inventory.bytes / 2**20:.2f} MiB ({inventory.bytes:,} bytes)"
    yield "sha256", inventory.sha256
    yield "format", f"ONNX IR {inventory.ir_version}, opset {opsets}"
    yield "producer", inventory.producer or "not stated"
    yield "metadata", ", ".join(f"{key}={value}" for key, value in inventory.metadata.items()) or "none"
    yield "graph inputs", "; ".join(inventory.inputs)
    yield "graph outputs", "; ".join(inventory.outputs)
    yield "operators", ", ".join(f"{name} {count}" for name, count in inventory.operators.items())


def _spec_facts(spec: ModelSpec | None) -> Iterator[tuple[str, str]]:
    """The spec, line by line."""
    if spec is None:
        yield (
            "spec",
            "none: the file carries none, so preprocessing and classes are unknown; --spec states it",
        )
        return
    yield "network", spec.network
    yield "classes", _classes(spec.classes)
    yield "input", _tensor(spec.input)
    yield "output", _tensor(spec.output)
    yield "preprocess", _preprocess(spec.preprocess)
    yield "weights", _weights(spec.weights)
    yield "precision", f"{spec.precision}, as the spec says"
    yield "scores", spec.scores
    yield from _provenance(spec.provenance)
    if spec.quantization is not None:
        yield from _quantization(spec.quantization)


def _quantization(done: Quantization) -> Iterator[tuple[str, str]]:
    """How it was quantised, and what was measured then."""
    yield "quantised", f"recipe {done.recipe} for {done.target}: {done.scheme}"
    yield "", f"of the model {done.source_sha256[:16]}"
    if done.calibration is not None:
        known = (done.calibration_sha256 or "")[:16]
        widened = done.calibration_convergence
        last = "" if widened is None else f"; the last of them widened the ranges by {widened:.1f} %"
        yield "calibrated", f"on {done.calibration_images} images of {done.calibration} ({known}){last}"
    yield "steps", "; ".join(done.steps) or "none"
    if done.kept_float:
        yield "in float", ", ".join(done.kept_float)
    if done.int8_mac_share is not None:
        yield "int8 MACs", f"{done.int8_mac_share:.1f} % where it was measured"
    if found := done.accuracy:
        low, high = found.drop_ci95
        yield (
            "accuracy",
            f"top-1 {found.top1:.2f} % of {found.n} images of {found.data}, float "
            f"{found.reference_top1:.2f} %: drop {found.drop:.2f} points (95 % interval {low:.2f} to "
            f"{high:.2f}), agreement {found.agreement:.1f} %",
        )
    if speed := done.speed:
        low, high = speed.ratio_ci95 or speed.ratio_spread
        bracket = "95 % interval" if speed.ratio_ci95 else "10th to 90th percentile"
        yield (
            "speed",
            f"{speed.ms:.2f} ms, float {speed.reference_ms:.2f} ms: {speed.ratio:.2f} times as fast "
            f"({bracket} {low:.2f} to {high:.2f}), in {speed.engine} on {speed.cpu}, one thread",
        )


def _classes(classes: tuple[str, ...]) -> str:
    shown = classes if len(classes) <= 4 else (*classes[:2], "...", classes[-1])
    return f"{len(classes)} ({', '.join(shown)})"


def _tensor(tensor: TensorSpec) -> str:
    return f"{tensor.name}: {tensor.dtype} ({', '.join(map(str, tensor.shape))})"


def _preprocess(preprocess: Preprocess) -> str:
    """``resize 256 (bilinear), crop 224x224, RGB, /255, mean 0.485 0.456 0.406, std 0.229 0.224 0.225``."""
    resize = preprocess.resize
    if resize is None:
        how = "no resize"
    else:
        size = f"{resize[0]}x{resize[1]}" if isinstance(resize, tuple) else f"short side to {resize}"
        antialias = ", antialiased" if preprocess.antialias else ""
        how = f"resize {size} ({preprocess.interpolation}{antialias})"
    mean = " ".join(f"{value:g}" for value in preprocess.mean)
    std = " ".join(f"{value:g}" for value in preprocess.std)
    crop = f"{preprocess.crop[0]}x{preprocess.crop[1]}"
    normalise = f"{preprocess.color}, /{preprocess.divisor:g}, mean {mean}, std {std}"
    where = "; normalised in the graph" if preprocess.in_graph else ""
    return f"{how}, crop {crop}, {normalise}{where}"


def _weights(weights: WeightsId) -> str:
    sha256 = f" (sha256 {weights.sha256})" if weights.sha256 else ""
    return f"{weights.kind}: {weights.name}{sha256}"


def _provenance(provenance: Provenance) -> Iterator[tuple[str, str]]:
    opset = f", opset {provenance.opset}" if provenance.opset is not None else ""
    yield "exporter", f"{provenance.exporter}{opset}"
    yield "made with", ", ".join(f"{name} {version}" for name, version in provenance.versions.items()) or "-"
    yield "parity", "not measured" if provenance.parity is None else _parity(provenance.parity)


def _parity(parity: Parity) -> str:
    sqnr = "infinite" if parity.sqnr_db is None else f"{parity.sqnr_db:.1f} dB"
    return (
        f"on {parity.images} images: largest difference {parity.max_abs:.2g} ({parity.max_rel:.2g} of the "
        f"largest logit), SQNR {sqnr}, top-1 agreement {parity.top1_agreement:g} %"
    )


def _stored_row(stored: StoredNumbers) -> Sequence[object]:
    numbers, size = f"{stored.numbers:,}", f"{stored.bytes:,}"
    return (
        stored.dtype,
        stored.tensors,
        numbers,
        f"{stored.numbers_share:.2f}",
        size,
        f"{stored.bytes_share:.2f}",
    )


def _precision_row(share: PrecisionShare) -> Sequence[object]:
    nodes = ", ".join(f"{op} {count}" for op, count in share.nodes.items())
    part = None if share.macs_share is None else f"{share.macs_share:.1f}"
    return share.precision, nodes, f"{share.macs / 1e6:,.2f}", part


def _layer_row(layer: GraphLayer) -> Sequence[object]:
    shape = None if layer.output_shape is None else "x".join(map(str, layer.output_shape))
    return (
        layer.node,
        layer.op,
        shape,
        layer.precision,
        None if not layer.macs else f"{layer.macs / 1e6:,.3f}",
        f"{layer.weight_bytes:,}" if layer.weight_bytes else None,
        "\n".join(map(_range, layer.inputs)) or None,
        None if layer.output is None else _range(layer.output),
        None if layer.weight_scales is None else _scales(layer.weight_scales),
    )


def _range(found: ActivationRange) -> str:
    limits = f"{found.low:.4g}..{found.high:.4g}"
    return f"{limits} ({found.scale:.3g}, {found.zero_point})"


def _scales(scales: WeightScales) -> str:
    limits = f"{scales.low:.3g}" if scales.count == 1 else f"{scales.low:.3g}..{scales.high:.3g}"
    return f"{limits} {scales.granularity}"
