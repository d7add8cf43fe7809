"""``edgecnn profile``: what each layer of a network costs and sees."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from edgecnn.cards import find_card
from edgecnn.commands.console import Column, Terminal, terminal_options
from edgecnn.commands.parameters import SizeType

if TYPE_CHECKING:
    from edgecnn.profile import Layer, Profile

__all__ = ["profile"]

_COLUMNS = (
    Column("Layer", number=False),
    Column("Kind", number=False),
    Column("Input"),
    Column("Kernel/\nstride/pad", number=False),
    Column("Output"),
    Column("Memory\n(KB)"),
    Column("Params\n(k)"),
    Column("Biases"),
    Column("MACs\n(M)"),
    Column("Receptive\nfield"),
)

_FOOTNOTE = """\
For one image. Memory: the output in float32, 1 KB = 1024 bytes; its total is over conv, pool and linear.
Params (k): weights in thousands, without biases, which have a column of their own; the total has both.
MACs: multiply-accumulates of conv and linear, additions of biases not counted.
Receptive field: pixels of the image, along the longest path; all: every output sees the whole image.
A gate that looks at the whole image (squeeze-and-excitation) does not widen it."""


@click.command()
@click.argument("network", metavar="NET")
@click.option("--size", type=SizeType(), help="Input size if not the network's own, as N or HxW.")
@click.option(
    "--all-layers", is_flag=True, help="Normalisations, activations, dropout, additions and joins, too."
)
@terminal_options
def profile(terminal: Terminal, network: str, size: tuple[int, int] | None, all_layers: bool) -> None:
    """Show what each layer of the network NET costs and sees, for one image.

    Sizes are channels x height x width. Nothing is downloaded and nothing is computed: sizes and costs do
    not depend on the weights. With --json every layer is there, all numbers as they are.
    """
    card = find_card(network)  # a wrong name is told before torch is imported
    from edgecnn.profile import MAIN_KINDS, profile_network

    result = profile_network(card, size)
    if terminal.json:
        terminal.document(result)
        return
    shown = [layer for layer in result.layers if all_layers or layer.kind in MAIN_KINDS]
    title = f"{result.network} at {_shape(result.input_shape)}"
    terminal.table(_COLUMNS, [_cells(layer) for layer in shown], title=title)
    terminal.line(_totals(result))
    if terminal.verbosity >= 0:
        terminal.line(_FOOTNOTE)


def _cells(layer: Layer) -> list[str | None]:
    return [
        layer.name,
        layer.kind,
        _shape(layer.input_shape),
        _window(layer),
        _shape(layer.output_shape),
        _rounded(layer.activation_bytes / 1024),
        _rounded(layer.weights / 1e3),
        f"{layer.biases:,}",
        _rounded(layer.macs / 1e6, whole_from=10),
        _field(layer),
    ]


def _totals(result: Profile) -> str:
    field = result.receptive_field
    sees = f", receptive field {field.size[0]}x{field.size[1]}" if field else ""
    return (
        f"Total: {_magnitude(result.parameters)} parameters, {_magnitude(result.macs)} MACs, "
        f"memory {_rounded(result.activation_bytes / 1024)} KB "
        f"(largest {_rounded(result.peak_activation_bytes / 1024)} KB){sees}"
    )


def _shape(shape: tuple[int, ...]) -> str:
    return "x".join(map(str, shape))


def _window(layer: Layer) -> str | None:
    """ "3x3/2/1": a kernel, its stride and padding; then groups and dilation where there are any."""
    if layer.window is None:
        return None
    window = layer.window
    steps = "/".join(str(a) if a == b else f"{a}x{b}" for a, b in (window.stride, window.padding))
    groups = f" groups {window.groups}" if window.groups > 1 else ""
    dilation = f" dilation {_shape(window.dilation)}" if window.dilation != (1, 1) else ""
    return f"{_shape(window.kernel)}/{steps}{groups}{dilation}"


def _field(layer: Layer) -> str:
    return _shape(layer.receptive_field.size) if layer.receptive_field else "all"


def _rounded(value: float, *, whole_from: float = 1) -> str:
    """1,234 from ``whole_from`` on, 0.2 below, and one digit of what is smaller still: 0.008."""
    if value == 0 or value >= whole_from - 0.05:
        return f"{value:,.0f}"
    return f"{value:.1f}" if value >= 0.095 else f"{value:.1g}"


def _magnitude(value: int) -> str:
    """Three digits and the unit: 15.5 G, 138 M, 60.9 k."""
    for unit, letter in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if value >= 0.5 * unit:
            return f"{value / unit:#.3g}".removesuffix(".") + f" {letter}"
    return str(value)
