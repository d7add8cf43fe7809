"""The page in a real browser: Chromium, headless, in light and dark, on a phone and on a desk."""

from __future__ import annotations

import io
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from PIL import Image

from edgecnn.reports.html import write_page
from edgecnn.reports.page_gallery import wanted_images
from edgecnn.reports.result import ResultFile
from edgecnn.reports.rows import rows_of

if TYPE_CHECKING:
    from tests.browser import Browser

pytestmark = pytest.mark.browser

#: Where the screenshots go, if anywhere: EDGECNN_SCREENSHOTS=FOLDER, to be looked at.
_SCREENSHOTS = os.environ.get("EDGECNN_SCREENSHOTS")


@pytest.fixture(scope="module")
def page(comparison: ResultFile, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A page with pictures."""
    path = tmp_path_factory.mktemp("page") / "report.html"
    keys = wanted_images(rows_of(comparison.results))
    write_page(comparison, path, dict.fromkeys(keys, _jpeg()), "Six networks on two cores", {})
    return path


def _jpeg() -> bytes:
    written = io.BytesIO()
    Image.linear_gradient("L").resize((160, 120)).save(written, "JPEG")
    return written.getvalue()


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [400, 1280])
def test_the_page_fits_says_nothing_to_the_console_and_asks_for_nothing(
    browser: Browser, page: Path, width: int, scheme: str
) -> None:
    browser.open(page.as_uri(), width=width, scheme=scheme)
    overflow = "const root = document.documentElement; return root.scrollWidth - root.clientWidth"
    assert browser.script(overflow) == 0
    assert browser.log("browser") == []
    assert [url for url in browser.requests() if not url.startswith("data:")] == [page.as_uri()]
    broken = "return [...document.images].filter((image) => !image.naturalWidth).length"
    assert browser.script(broken) == 0
    if _SCREENSHOTS:
        _shoot(browser, Path(_SCREENSHOTS) / f"page-{width}-{scheme}.png", width)


@pytest.mark.parametrize(("scheme", "dark"), [("light", False), ("dark", True)])
def test_paper_and_plots_follow_the_scheme(browser: Browser, page: Path, scheme: str, *, dark: bool) -> None:
    browser.open(page.as_uri(), scheme=scheme)
    colours = browser.script(
        "return ['background-color', 'color'].map((name) => getComputedStyle(document.body)[name])"
        ".concat(getComputedStyle(document.querySelector('.plot svg path')).fill)",
    )
    bright = [sum(map(int, colour[4:-1].split(","))) > 3 * 128 for colour in colours]
    assert bright == [not dark, dark, not dark]


def _column(browser: Browser, number: int) -> list[str]:
    rows = "[...document.querySelectorAll('.sortable tbody tr')]"
    return list(browser.script(f"return {rows}.map((row) => row.cells[{number}].innerText)"))


def _heading(browser: Browser, title: str) -> tuple[int, Any]:
    titles = browser.script(
        "return [...document.querySelectorAll('.sortable thead th')].map((e) => e.innerText)"
    )
    number = [text.strip() for text in titles].index(title)
    return number, browser.script(
        "return document.querySelectorAll('.sortable thead th')[arguments[0]]", number
    )


def _click(heading: Any) -> None:
    heading.find_element("tag name", "button").click()


def test_a_click_on_a_heading_sorts_and_another_turns_it_round(browser: Browser, page: Path) -> None:
    browser.open(page.as_uri())
    number, heading = _heading(browser, "p90 ms")
    before = _column(browser, number)
    assert heading.get_attribute("aria-sort") == "none"
    _click(heading)
    assert heading.get_attribute("aria-sort") == "ascending"
    assert _column(browser, number) == sorted(before, key=float) != before
    _click(heading)
    assert heading.get_attribute("aria-sort") == "descending"
    assert _column(browser, number) == sorted(before, key=float, reverse=True)
    sorted_by = browser.script("return document.querySelectorAll('[aria-sort]:not([aria-sort=none])').length")
    assert sorted_by == 1


def test_what_was_not_measured_stays_last(browser: Browser, page: Path) -> None:
    browser.open(page.as_uri())
    number, heading = _heading(browser, "agree %")
    for _ in range(2):
        _click(heading)
        cells = _column(browser, number)
        missing = cells.count("\N{EN DASH}")
        assert missing
        assert set(cells[-missing:]) == {"\N{EN DASH}"}


def test_text_is_sorted_as_text(browser: Browser, page: Path) -> None:
    browser.open(page.as_uri())
    number, heading = _heading(browser, "engine")
    _click(heading)
    assert _column(browser, number) == sorted(_column(browser, number))


def test_the_table_is_sorted_with_the_keyboard_alone(browser: Browser, page: Path) -> None:
    from selenium.webdriver.common.keys import Keys

    browser.open(page.as_uri())
    number, heading = _heading(browser, "top-1 %")
    browser.script("document.querySelector('.sortable').closest('.scroll').focus()")
    for _ in range(number + 1):
        browser.chromium.switch_to.active_element.send_keys(Keys.TAB)
    focused = browser.script("return document.activeElement.closest('th') === arguments[0]", heading)
    assert focused
    browser.chromium.switch_to.active_element.send_keys(Keys.ENTER)
    assert heading.get_attribute("aria-sort") == "ascending"
    browser.chromium.switch_to.active_element.send_keys(Keys.SPACE)
    assert heading.get_attribute("aria-sort") == "descending"


def test_pointing_at_a_bubble_shows_its_row(browser: Browser, page: Path) -> None:
    browser.open(page.as_uri())
    lit = browser.script(
        "const mark = document.querySelector('.plot .mark');"
        "mark.dispatchEvent(new PointerEvent('pointerenter'));"
        "const rows = [...document.querySelectorAll('tr.lit')];"
        "return rows.map((row) => mark.classList.contains(row.classList[0]))",
    )
    assert lit == [True]
    assert "top-1 %: " in browser.script("return document.querySelector('.plot .mark title').textContent")


def test_without_scripts_everything_is_there(browser: Browser, page: Path) -> None:
    browser.chromium.execute_cdp_cmd("Emulation.setScriptExecutionDisabled", {"value": True})
    try:
        browser.open(page.as_uri())
        rows = browser.chromium.find_elements("css selector", ".sortable tbody tr")
        assert len(rows) > 30
        assert not browser.chromium.find_elements("css selector", ".sortable button")
    finally:
        browser.chromium.execute_cdp_cmd("Emulation.setScriptExecutionDisabled", {"value": False})


def _shoot(browser: Browser, path: Path, width: int) -> None:
    height = browser.script("return document.documentElement.scrollHeight")
    browser.resize(width, min(height, 12_000))
    path.parent.mkdir(parents=True, exist_ok=True)
    browser.chromium.save_screenshot(str(path))
