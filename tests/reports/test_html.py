from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import pytest

from edgecnn.errors import ResultError
from edgecnn.reports.html import page_html, write_page
from edgecnn.reports.page_gallery import MAX_IMAGES, MAX_THUMBNAIL_BYTES, wanted_images
from edgecnn.reports.result import Flip, Flips, Gate, LatencyMs, Result, ResultFile, Variant
from edgecnn.reports.rows import rows_of

MakeVariant = Callable[..., Variant]
MakeFile = Callable[..., ResultFile]

JPEG = b"\xff\xd8\xff\xe0" + bytes(range(256)) * 40


class _Page(HTMLParser):
    """What a browser would see."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.words: list[str] = []
        self._quiet = False
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: Sequence[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        self._quiet = tag in ("script", "style")

    def handle_endtag(self, tag: str) -> None:
        self._quiet = False

    def handle_data(self, data: str) -> None:
        if not self._quiet:
            self.words.append(data)

    @property
    def text(self) -> str:
        return " ".join(" ".join(self.words).split())

    def values(self, tag: str, attribute: str) -> list[str]:
        return [str(own[attribute]) for name, own in self.tags if name == tag and attribute in own]


def _thumbnails(document: ResultFile, size: int = len(JPEG)) -> dict[str, bytes]:
    return dict.fromkeys(wanted_images(rows_of(document.results)), JPEG[:size].ljust(size, b"\0"))


def test_the_page_needs_nothing_from_outside_and_is_small(comparison: ResultFile, tmp_path: Path) -> None:
    path = tmp_path / "new" / "report.html"
    write_page(comparison, path, _thumbnails(comparison, 30_000), "Six networks", {})
    assert path.stat().st_size < 1_500_000
    page = _Page(path.read_text(encoding="utf-8"))
    targets = [value for tag, own in page.tags for key in ("src", "href") if (value := own.get(key))]
    assert targets
    assert all(target.startswith(("#", "data:")) for target in targets)
    assert "default-src 'none'" in page.values("meta", "content")[2]
    assert not re.search(r"@import|url\((?!#)", path.read_text(encoding="utf-8"))
    assert [file.name for file in path.parent.iterdir()] == ["report.html"]


def test_the_page_answers_which_one_to_ship(comparison: ResultFile) -> None:
    text = _Page(page_html(comparison, {}, "Six networks", {})).text
    assert "38 variants · batch 1 · 2 threads · AMD EPYC 9R45 · 2 cores · 2026-11-21 14:47 UTC" in text
    assert "Fastest within 1 point of the most accurate efficientnet_b0 int8 openvino top-1 76.6 %" in text
    assert "Most accurate efficientnet_b0 fp32 torch" in text
    assert (
        "Not a run that complies with MLPerf's rules on its duration and number of queries. (all variants)"
        in text
    )
    assert "vary by 11 %. (mobilenet_v2 fp32 openvino)" in text
    assert "Energy was not measured: no RAPL counter can be read here" in text
    assert "Failed: resnet18 int8 torch: torch runs no quantised ONNX file" in text


def test_headings_captions_and_figures_have_structure(few: ResultFile) -> None:
    page = _Page(page_html(few, _thumbnails(few), "Six networks", {}))
    names = [tag for tag, _ in page.tags]
    assert names.count("h1") == 1
    assert names.count("figure") == names.count("figcaption") == 3
    assert names.count("table") == names.count("caption") == 3
    assert "lang" in dict(page.tags[0][1])
    assert all(value for value in page.values("img", "alt"))
    ids = [own["id"] for _, own in page.tags if "id" in own]
    assert len(ids) == len(set(ids))
    assert set(page.values("section", "aria-labelledby")) <= set(ids)


def test_hostile_names_stay_text(few: ResultFile, hostile: str) -> None:
    base = few.results[1]
    assert base.accuracy is not None
    flip = Flip(key=hostile, label=0, reference=0, predicted=1)
    named = replace(
        base,
        variant=replace(base.variant, network=hostile, engine=hostile, artifact=hostile, options=hostile),
        accuracy=replace(base.accuracy, flipped=(flip,), flips=Flips(gained=0, lost=1), per_class=None),
        warnings=(hostile,),
    )
    failed = Result(variant=named.variant, error=hostile)
    environment = replace(few.environment, cpu=hostile, versions={hostile: hostile}, started=hostile)
    document = ResultFile(environment=environment, results=(named, failed))
    assert base.accuracy.reference is not None
    classes = {base.accuracy.reference.sha256: [hostile, hostile]}
    page = _Page(page_html(document, {hostile: JPEG}, hostile, classes))
    tags = [tag for tag, _ in page.tags]
    assert tags.count("script") == 1
    assert tags.count("img") == 1
    assert not [key for _, own in page.tags for key in own if key.startswith("on")]
    visible = "".join(
        character if character.isprintable() else "\N{REPLACEMENT CHARACTER}"
        for character in " ".join(hostile.split())
    )
    assert visible in "".join(page.words)


def test_a_limit_that_did_not_hold_is_on_the_page(few: ResultFile) -> None:
    gate = Gate(name="max_drop", limit=0.5, value=3.0, held=False)
    document = replace(few, results=(replace(few.results[1], gates=(gate,)), *few.results[2:]))
    words = "".join(_Page(page_html(document, {}, "Six networks", {})).words)
    assert "Top-1 is 3.00 points below the float model's; --max-drop allows 0.5." in words


def test_the_script_is_the_only_one_that_may_run(few: ResultFile) -> None:
    text = page_html(few, {}, "Six networks", {})
    assert text.count("<script") == 1
    assert re.search(r"script-src 'sha256-[\w+/]{43}='\"", text)


def test_thumbnails_beyond_the_budget_are_left_out(few: ResultFile) -> None:
    flips = tuple(Flip(key=f"{i:03}", label=0, reference=0, predicted=1) for i in range(MAX_IMAGES + 5))
    base = few.results[1]
    assert base.accuracy is not None
    only = replace(base, accuracy=replace(base.accuracy, flipped=flips))
    document = replace(few, results=(only,))
    size = 40_000
    page = _Page(page_html(document, _thumbnails(document, size), "One", {}))
    assert len(page.values("img", "src")) == MAX_THUMBNAIL_BYTES // size
    assert page.text.count("lost tench, Tinca tinca → goldfish") == MAX_IMAGES
    assert "5 more images are not shown" in page.text


def test_many_classes_make_a_list_instead_of_a_matrix(few: ResultFile) -> None:
    base = few.results[1]
    assert base.accuracy is not None
    flips = tuple(Flip(key=str(i), label=i, reference=i, predicted=i + 1) for i in range(40))
    only = replace(base, accuracy=replace(base.accuracy, flipped=flips))
    text = _Page(page_html(replace(few, results=(only,)), {}, "One", {})).text
    assert "class 30 class 31" not in text
    assert "15 more are not shown" in text


@pytest.mark.parametrize("figures", ["nothing", "latency", "failure"])
def test_a_document_with_little_in_it_has_a_page(figures: str, variant: MakeVariant, file: MakeFile) -> None:
    latency = LatencyMs(p50=1.0, p90=1.0) if figures == "latency" else None
    result = Result(variant=variant(), latency_ms=latency, error="broken" if figures == "failure" else None)
    text = _Page(page_html(file(result), {}, "Little", {})).text
    assert "1 variant ·" in text
    assert ("Fastest (no accuracy was measured)" in text) == (figures == "latency")
    assert ("Nothing was measured" in text) == (figures != "latency")
    assert "Nothing was measured" in _Page(page_html(file(), {}, "Empty", {})).text


def test_an_old_page_survives_a_failure(
    few: ResultFile, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "page.html"
    path.write_text("old", encoding="utf-8")

    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(ResultError, match=r"page\.html cannot be written: No space left"):
        write_page(few, path, {}, "Six networks", {})
    assert path.read_text(encoding="utf-8") == "old"


@pytest.mark.parametrize("package", ["jinja2", "matplotlib"])
def test_a_missing_package_is_named_with_its_extra(package: str) -> None:
    script = f"import sys; sys.modules[{package!r}] = None; import edgecnn.reports.html"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert f"needs the package '{package}', which is not installed" in done.stderr
    assert "pip install 'edgecnn[plots]'" in done.stderr
