"""The page: one HTML file that holds all it needs, to be read in any browser, now and in ten years."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from importlib.resources import files
from pathlib import Path
from typing import Any

from edgecnn.atomic import replacing, writing
from edgecnn.environment import Environment
from edgecnn.errors import DependencyMissingError, ResultError
from edgecnn.reports.class_names import ClassNames
from edgecnn.reports.class_pairs import flip_pairs
from edgecnn.reports.missed import missed
from edgecnn.reports.one_line import one_line
from edgecnn.reports.page_advice import cards_of, steps_of
from edgecnn.reports.page_gallery import gallery_of
from edgecnn.reports.page_matrix import confusions_of, matrix_of
from edgecnn.reports.page_plots import page_plots
from edgecnn.reports.page_table import shared_settings, table_of
from edgecnn.reports.plots.theme import DARK, LIGHT, page_variables
from edgecnn.reports.result import Result, ResultFile
from edgecnn.reports.rows import Row, rows_of

try:
    from jinja2 import Environment as Templates
    from jinja2 import PackageLoader, StrictUndefined
    from markupsafe import Markup
except ImportError as error:
    raise DependencyMissingError("jinja2", "The HTML page", "plots") from error

__all__ = ["page_html", "write_page"]


def write_page(
    document: ResultFile,
    path: Path,
    thumbnails: Mapping[str, bytes],
    title: str,
    classes: ClassNames,
) -> None:
    """Write the page of ``document`` to ``path``; an older one survives until the new one is complete.

    Args:
        document: the results.
        path: of the page.
        thumbnails: key of an image -> JPEG bytes, for the gallery of flips; ``wanted_images`` of
            ``page_gallery`` says which are shown. About 600 kB of them are embedded, the rest is left out.
        title: of the page.
        classes: what the classes of each reference are called.

    Raises:
        ResultError: it cannot be written.
    """
    text = page_html(document, thumbnails, title, classes)
    remedy = "Free some space or choose another place; what was there before is untouched."
    with writing(path, ResultError, remedy), replacing(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def page_html(document: ResultFile, thumbnails: Mapping[str, bytes], title: str, classes: ClassNames) -> str:
    """The page as text; arguments as of :func:`write_page`. Everything of others is escaped."""
    rows = rows_of(document.results)
    script = _data("page.js")
    templates = Templates(
        loader=PackageLoader("edgecnn.reports", "page"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return templates.get_template("page.html.j2").render(
        title=one_line(title),
        environment=_facts(document.environment),
        cards=cards_of(rows),
        steps=steps_of(rows),
        warnings=_warnings(rows),
        table=table_of(rows),
        plots=page_plots(rows),
        matrix=matrix_of(flip_pairs(document.results, classes)),
        confusions=confusions_of(rows, classes),
        gallery=gallery_of(rows, classes, thumbnails),
        failures=[(row.title, one_line(row.result.error)) for row in rows if row.result.error],
        considered=len(rows),
        shared=shared_settings(rows),
        # These are ours, not of others.
        style=Markup(_variables() + _data("page.css")),  # noqa: S704
        script=Markup(script),  # noqa: S704
        script_hash=base64.b64encode(hashlib.sha256(script.encode()).digest()).decode(),
    )


def _data(name: str) -> str:
    return (files("edgecnn.reports") / "page" / name).read_text(encoding="utf-8")


def _variables() -> str:
    """The colours of the plots as a style sheet, for light and dark."""
    light, dark = (
        "".join(f"--{name}:{colour};" for name, colour in page_variables(theme).items())
        for theme in (LIGHT, DARK)
    )
    return f":root{{{light}}}@media screen and (prefers-color-scheme:dark){{:root{{{dark}}}}}\n"


def _warnings(rows: Sequence[Row]) -> list[tuple[str, str]]:
    """What makes figures less certain, and of which variants."""
    concerned: dict[str, list[str]] = {}
    for row in rows:
        for warning in _cautions(row.result):
            concerned.setdefault(one_line(warning), []).append(row.name)
    measured = sum(row.result.error is None for row in rows)
    return [
        (warning, "all variants" if len(titles) >= measured else ", ".join(titles))
        for warning, titles in concerned.items()
    ]


def _moment(started: str) -> str:
    """To the minute; what is no moment stays as it is."""
    try:
        return datetime.fromisoformat(started).astimezone(UTC).strftime("%Y-%m-%d %H:%M UTC")
    except ValueError:
        return started


def _cautions(result: Result) -> Iterator[str]:
    """The limits missed, the result's warnings, that it is no compliant run, and why it has no energy."""
    yield from missed(result)
    yield from result.warnings
    if result.scenario is not None and not result.scenario.valid:
        yield "Not a run that complies with MLPerf's rules on its duration and number of queries."
    if result.energy_j_per_image is None and result.energy_note:
        yield f"Energy was not measured: {result.energy_note}"


def _facts(environment: Environment) -> list[tuple[str, str]]:
    """What the measurement depends on, in words."""
    memory = environment.memory_bytes
    facts: dict[str, Any] = {
        "CPU": environment.cpu,
        "Cores": environment.cores,
        "Instruction sets": ", ".join(environment.instruction_sets or ()),
        "Memory": None if memory is None else f"{memory / 1e9:.1f} GB",
        "GPU": environment.gpu or environment.gpu_problem,
        "Driver": environment.driver,
        "System": environment.os,
        "Python": environment.python,
        "Packages": ", ".join(f"{name} {version}" for name, version in environment.versions.items()),
        "Started": _moment(environment.started),
    }
    return [(name, one_line(str(value))) for name, value in facts.items() if value]
