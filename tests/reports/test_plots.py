from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from xml.etree import ElementTree

import pytest
from matplotlib.text import Annotation
from PIL import Image

from edgecnn.errors import ResultError
from edgecnn.reports.plots import drawn, write_plots
from edgecnn.reports.plots.bubbles import bubble_points
from edgecnn.reports.plots.figure import drawing
from edgecnn.reports.plots.kinds import kinds_of
from edgecnn.reports.plots.svg import inline_svg
from edgecnn.reports.plots.theme import DARK, LIGHT, PAGE, Theme, page_variables
from edgecnn.reports.result import Flip, LatencyMs, MemoryBytes, Result, ResultFile, Variant
from edgecnn.reports.rows import rows_of

pytestmark = pytest.mark.slow

MakeVariant = Callable[..., Variant]
MakeFile = Callable[..., ResultFile]


def test_every_plot_is_written_as_png_and_svg(comparison: ResultFile, tmp_path: Path) -> None:
    paths = write_plots(comparison, tmp_path / "plots", classes={})
    names = ["accuracy-latency", "latency-cdf", "memory", "flips"]
    assert [path.name for path in paths] == [f"{name}.{end}" for name in names for end in ("png", "svg")]
    for path in paths:
        if path.suffix == ".png":
            with Image.open(path) as picture:
                assert picture.width >= 1000
        else:
            assert "<image" not in path.read_text(encoding="utf-8")
    assert sorted(paths) == sorted((tmp_path / "plots").iterdir())


def test_equal_results_make_equal_files(few: ResultFile, tmp_path: Path) -> None:
    one, other = (write_plots(few, tmp_path / name, classes={}) for name in ("one", "other"))
    assert [path.read_bytes() for path in one] == [path.read_bytes() for path in other]


def test_labels_of_the_front_do_not_overlap_and_stay_within_the_plot(comparison: ResultFile) -> None:
    with drawing():
        figure = drawn(comparison, LIGHT, {})["accuracy-latency"]
        figure.draw_without_rendering()
    (axes,) = figure.axes
    labels = [artist for artist in axes.texts if isinstance(artist, Annotation)]
    assert len(labels) == sum(row.on_front for row in rows_of(comparison.results))
    boxes = [super(Annotation, label).get_window_extent() for label in labels]
    assert not [(a, b) for i, a in enumerate(boxes) for b in boxes[:i] if a.overlaps(b)]
    frame = axes.get_window_extent()
    assert all(frame.x0 <= box.x0 and box.y1 <= frame.y1 + 1 for box in boxes)


def test_the_area_is_memory_else_parameters_else_nothing(comparison: ResultFile) -> None:
    results = [result for result in comparison.results if result.error is None]
    assert bubble_points(rows_of(results))[1] == "peak memory (MB)"
    without = [replace(results[0], memory_bytes=None), *results[1:]]
    assert bubble_points(rows_of(without))[1] == "parameters (million)"
    assert bubble_points(rows_of([replace(one, size=None) for one in without]))[1] == ""


def test_a_document_without_figures_has_no_plots(
    variant: MakeVariant, file: MakeFile, tmp_path: Path
) -> None:
    assert write_plots(file(Result(variant=variant(), error="no")), tmp_path, classes={}) == ()
    assert write_plots(file(), tmp_path, classes={}) == ()


def test_one_variant_with_one_figure_is_drawn(variant: MakeVariant, file: MakeFile, tmp_path: Path) -> None:
    latency = LatencyMs(p50=1.0, p90=1.0, quantiles=(1.0, 1.0, 1.0))
    only = Result(variant=variant(), latency_ms=latency, memory_bytes=MemoryBytes(peak=5))
    assert len(write_plots(file(only), tmp_path, classes={})) == 4


def test_many_networks_and_many_classes_are_drawn(few: ResultFile) -> None:
    base = few.results[1]
    assert base.accuracy is not None
    flips = tuple(Flip(key=str(i), label=i, reference=i, predicted=i + 1) for i in range(30))
    accuracy = replace(base.accuracy, flipped=flips)
    many = tuple(
        replace(base, accuracy=accuracy, variant=replace(base.variant, network=f"network number {index}"))
        for index in range(12)
    )
    with drawing():
        assert len(drawn(replace(few, results=many), LIGHT, {})) == 4


def test_hostile_names_are_text_in_every_plot(few: ResultFile, hostile: str) -> None:
    first = few.results[2]
    named = replace(first, variant=replace(first.variant, network=hostile, options=hostile))
    document = replace(few, results=(named, *few.results))
    assert first.accuracy is not None
    assert first.accuracy.reference is not None
    with drawing():
        figures = drawn(document, PAGE, {first.accuracy.reference.sha256: [hostile] * 3})
        texts = [inline_svg(figure, name, "what it shows", {}) for name, figure in figures.items()]
    assert len(texts) == 4
    for text in texts:
        names = [element.tag.rpartition("}")[2] for element in ElementTree.fromstring(text).iter()]
        assert not {"script", "foreignObject", "img", "image"} & set(names)


def test_an_inline_svg_has_only_colours_of_the_page_and_names_of_its_own(few: ResultFile) -> None:
    with drawing():
        figure = drawn(few, PAGE, {})["memory"]
        text = inline_svg(figure, "bars", "what it shows", {})
    root = ElementTree.fromstring(text)
    assert "#0102" not in text
    assert "#0101" not in text
    assert "var(--plot-series-0)" in text
    assert (root.get("role"), root.get("width")) == ("img", None)
    names = {element.get("id") for element in root.iter() if element.get("id")}
    assert all(str(name).startswith("bars-") for name in names)
    used = {
        value[1:] for element in root.iter() for key, value in element.attrib.items() if key.endswith("href")
    }
    assert used <= names
    assert root[0].text == "what it shows"


def _contrast(one: str, other: str) -> float:
    """WCAG 2.2's contrast ratio."""

    def luminance(colour: str) -> float:
        parts = (int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5))
        linear = [p / 12.92 if p <= 0.04045 else ((p + 0.055) / 1.055) ** 2.4 for p in parts]
        return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]

    high, low = sorted((luminance(one), luminance(other)), reverse=True)
    return (high + 0.05) / (low + 0.05)


@pytest.mark.parametrize("theme", [LIGHT, DARK], ids=["light", "dark"])
def test_colours_have_enough_contrast_with_the_paper(theme: Theme) -> None:
    assert all(_contrast(colour, theme.paper) >= 3 for colour in (*theme.series, theme.rest, theme.front))
    assert all(_contrast(colour, theme.paper) >= 4.5 for colour in (theme.ink, theme.faint))


def test_the_marks_of_the_page_are_distinct() -> None:
    assert len(set(page_variables(PAGE).values())) == len(page_variables(PAGE)) == len(page_variables(LIGHT))


def test_a_folder_that_cannot_be_written_is_named(few: ResultFile, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(ResultError, match=r"accuracy-latency\.png cannot be written"):
        write_plots(few, tmp_path / "file", classes={})


def test_the_legend_names_what_is_drawn_and_no_more(few: ResultFile) -> None:
    rows = rows_of(few.results)
    kinds = kinds_of(rows)
    names = [name for name, _ in kinds.legend(rows[:1], LIGHT)]
    assert names == ["mobilenet_v2"]
    many = [replace(row, result=replace(row.result, variant=replace(row.result.variant, network=f"n{index}")))
            for index, row in enumerate(rows * 2)]  # fmt: skip
    entries = kinds_of(many).legend(many, LIGHT)
    assert entries[-1] == ("others", LIGHT.rest)
    assert len({colour for _, colour in entries}) == len(entries) == len(LIGHT.series) + 1
