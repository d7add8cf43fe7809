"""``edgecnn list``: which networks there are."""

from __future__ import annotations

import click
from rich.console import Console

from edgecnn.cards import ModelCard, all_cards
from edgecnn.commands.console import Column, Terminal, terminal_options
from edgecnn.errors import UnknownNameError

__all__ = ["list_networks"]

#: What a narrow terminal goes without, the least important first.
_DISPENSABLE = ("Title", "Weights", "Top-5", "Family", "Source", "Year")
_WORDS = ("Name", "Title", "Family", "Source", "Weights")


@click.command("list")
@click.option("--family", metavar="F", help="Only this family, such as ResNet; upper or lower case.")
@terminal_options
def list_networks(terminal: Terminal, family: str | None) -> None:
    """List the networks: size, cost, published accuracy, and where the weights come from.

    Parameters and multiply-accumulates are for the default classes and the input shown. Top-1 and top-5
    are percentages on ImageNet-1k, as the publisher of the weights states them. A dash: there are no
    published weights; train the network, or give a file.
    """
    cards = _chosen(family)
    if terminal.json:
        terminal.document(cards)
        return
    rows = [_cells(card) for card in cards]
    titles = _fitting(rows, _width())
    columns = [Column(title, number=title not in _WORDS) for title in titles]
    terminal.table(columns, [[row[title] for title in titles] for row in rows])


def _chosen(family: str | None) -> list[ModelCard]:
    """The cards of ``family`` or all, by family, then year, then size.

    Raises:
        UnknownNameError: no such family.
    """
    cards = sorted(all_cards(), key=lambda card: (card.family.lower(), card.year, card.parameters))
    if family is None:
        return cards
    families = {card.family.lower() for card in cards}
    if family.lower() not in families:
        raise UnknownNameError("family", family, families)
    return [card for card in cards if card.family.lower() == family.lower()]


def _width() -> int | None:
    """Columns of the terminal, or None when the output is no terminal."""
    console = Console()
    return console.width if console.is_terminal else None


def _fitting(rows: list[dict[str, str | None]], width: int | None) -> list[str]:
    """The titles of the columns that fit ``width`` without folding a cell."""
    titles = list(rows[0])
    dispensable = iter(_DISPENSABLE)
    while width is not None and _table_width(rows, titles) > width:
        title = next(dispensable, None)
        if title is None:
            break
        titles.remove(title)
    return titles


def _table_width(rows: list[dict[str, str | None]], titles: list[str]) -> int:
    """Of each column its longest cell or line of its title, two blanks and a rule; and one last rule."""
    longest = (
        max(len(cell or "-") for cell in (*title.split("\n"), *(row[title] for row in rows)))
        for title in titles
    )
    return sum(length + 3 for length in longest) + 1


def _cells(card: ModelCard) -> dict[str, str | None]:
    height, width = card.preprocess.crop
    published = card.pretrained
    return {
        "Name": card.name,
        "Title": card.title,
        "Family": card.family,
        "Year": str(card.year),
        "Params\n(M)": _rounded(card.parameters / 1e6),
        "MACs\n(G)": _rounded(card.macs / 1e9),
        "Input": str(height) if height == width else f"{height}x{width}",
        "Top-1": f"{published.top1:.1f}" if published else None,
        "Top-5": f"{published.top5:.1f}" if published else None,
        "Source": card.source,
        "Weights": published.id.removeprefix(f"{card.name}.") if published else None,
    }


def _rounded(value: float) -> str:
    """138, 25.6, 3.50, 0.714, 0.0003: three digits, or three decimals, or what is left."""
    if value >= 1:
        return f"{value:#.3g}".removesuffix(".")
    return f"{value:.3f}" if value >= 0.001 else f"{value:.1g}"
