"""A figure as SVG for the inside of a page: colours of the page's style sheet, no width, names of its own."""

from __future__ import annotations

import io
import re
from collections.abc import Mapping

# What is parsed here was written by matplotlib a line before.
from xml.etree import ElementTree

from edgecnn.reports.plots.figure import Figure
from edgecnn.reports.plots.theme import PAGE, page_variables

__all__ = ["inline_svg"]

_SVG = "http://www.w3.org/2000/svg"
_XLINK = "http://www.w3.org/1999/xlink"
_VARIABLES = {colour: f"var(--{name})" for name, colour in page_variables(PAGE).items()}
_COLOUR = re.compile("|".join(_VARIABLES))
# The page has a font of its own.
_FONT = re.compile(r"font-family: [^;]*;? ?")


def inline_svg(figure: Figure, name: str, description: str, tips: Mapping[str, str]) -> str:
    """The ``<svg>`` element as text.

    Args:
        figure: drawn in the theme ``PAGE``.
        name: of letters, put before every identifier, so that several can be in one page.
        description: what assistive technology says of it.
        tips: identifier that was given to an artist -> what is shown when one points at it. The identifier
            becomes the class, for several plots may show the same row.
    """
    text = io.StringIO()
    figure.savefig(text, format="svg", metadata={"Date": None})
    ElementTree.register_namespace("", _SVG)
    ElementTree.register_namespace("xlink", _XLINK)
    root = ElementTree.fromstring(text.getvalue())  # noqa: S314
    for part in ("metadata", "defs"):
        for found in root.findall(f"{{{_SVG}}}{part}"):
            if part == "metadata" or found.find(f"{{{_SVG}}}style") is not None:
                root.remove(found)
    for element in root.iter():
        _add_tip(element, tips)
        _localise(element, name)
    _describe(root, name, description)
    return ElementTree.tostring(root, encoding="unicode")


def _add_tip(element: ElementTree.Element, tips: Mapping[str, str]) -> None:
    tip = tips.get(element.get("id", ""))
    if tip is not None:
        element.set("class", f"mark {element.get('id')}")
        title = ElementTree.Element(f"{{{_SVG}}}title")
        title.text = tip
        element.insert(0, title)


def _localise(element: ElementTree.Element, name: str) -> None:
    """Give identifiers and the references to them a prefix, and colours their variables."""
    for key, value in element.attrib.items():
        if key == "id":
            element.set(key, f"{name}-{value}")
        elif key in ("href", f"{{{_XLINK}}}href") and value.startswith("#"):
            element.set(key, f"#{name}-{value[1:]}")
        else:
            local = value.replace("url(#", f"url(#{name}-")
            local = _COLOUR.sub(lambda match: _VARIABLES[match[0]], local)
            element.set(key, _FONT.sub("", local) if key == "style" else local)


def _describe(root: ElementTree.Element, name: str, description: str) -> None:
    for attribute in ("width", "height", "version"):
        root.attrib.pop(attribute, None)
    root.set("role", "img")
    root.set("aria-labelledby", f"{name}-description")
    title = ElementTree.Element(f"{{{_SVG}}}title", {"id": f"{name}-description"})
    title.text = description
    root.insert(0, title)
