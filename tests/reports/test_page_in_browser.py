"""The page in a real browser: Chromium, headless, in light and dark, on a phone and on a desk."""

from __future__ import annotations

import io
import json
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from PIL import Image

from edgecnn.reports.html import write_page
from edgecnn.reports.page_gallery import wanted_images
from edgecnn.reports.result import ResultFile
from edgecnn.reports.rows import rows_of

if TYPE_CHECKING:
    from selenium.webdriver import Chrome

pytestmark = pytest.mark.browser

_FLAGS = (
    *("--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"),
    *("--disable-background-networking", "--disable-component-update", "--no-first-run"),
    "--window-size=1280,900",
)

#: Where the screenshots go, if anywhere: EDGECNN_SCREENSHOTS=FOLDER, to be looked at.
_SCREENSHOTS = os.environ.get("EDGECNN_SCREENSHOTS")


@pytest.fixture(scope="module")
def chromium() -> Iterator[Chrome]:
    """A running browser that keeps a log of its console and of its network."""
    webdriver = pytest.importorskip("selenium.webdriver", reason="selenium is not installed")
    from selenium.webdriver.chrome.service import Service

    browser, driver = shutil.which("chromium"), shutil.which("chromedriver")
    if browser is None or driver is None:
        pytest.skip("no Chromium with its driver; scripts/install-browser installs them")
    options = webdriver.ChromeOptions()
    options.binary_location = browser
    for flag in _FLAGS:
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    opened = webdriver.Chrome(options=options, service=Service(driver))
    yield opened
    opened.quit()


@pytest.fixture(scope="module")
def page(comparison: ResultFile, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A page with pictures."""
    path = tmp_path_factory.mktemp("page") / "report.html"
    keys = wanted_images(rows_of(comparison.results))
    write_page(comparison, path, dict.fromkeys(keys, _jpeg()), "Six networks on two cores")
    return path


def _jpeg() -> bytes:
    written = io.BytesIO()
    Image.linear_gradient("L").resize((160, 120)).save(written, "JPEG")
    return written.getvalue()


def _open(chromium: Chrome, page: Path, *, width: int = 1280, scheme: str = "light") -> None:
    chromium.execute_cdp_cmd(
        "Emulation.setEmulatedMedia", {"features": [{"name": "prefers-color-scheme", "value": scheme}]}
    )
    chromium.execute_cdp_cmd(
        "Emulation.setDeviceMetricsOverride",
        {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": False},
    )
    for kind in ("browser", "performance"):
        _log(chromium, kind)  # what was before
    chromium.get(page.as_uri())


def _script(chromium: Chrome, text: str, *arguments: object) -> Any:
    return chromium.execute_script(text, *arguments)


def _log(chromium: Chrome, kind: str) -> list[str]:
    """The messages since the last call."""
    return [entry["message"] for entry in chromium.get_log(kind)]  # type: ignore[no-untyped-call]


def _requests(chromium: Chrome) -> list[str]:
    events = [json.loads(message)["message"] for message in _log(chromium, "performance")]
    return [
        event["params"]["request"]["url"]
        for event in events
        if event["method"] == "Network.requestWillBeSent"
    ]


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [400, 1280])
def test_the_page_fits_says_nothing_to_the_console_and_asks_for_nothing(
    chromium: Chrome, page: Path, width: int, scheme: str
) -> None:
    _open(chromium, page, width=width, scheme=scheme)
    overflow = "const root = document.documentElement; return root.scrollWidth - root.clientWidth"
    assert _script(chromium, overflow) == 0
    assert _log(chromium, "browser") == []
    assert [url for url in _requests(chromium) if not url.startswith("data:")] == [page.as_uri()]
    broken = "return [...document.images].filter((image) => !image.naturalWidth).length"
    assert _script(chromium, broken) == 0
    if _SCREENSHOTS:
        _shoot(chromium, Path(_SCREENSHOTS) / f"page-{width}-{scheme}.png", width)


@pytest.mark.parametrize(("scheme", "dark"), [("light", False), ("dark", True)])
def test_paper_and_plots_follow_the_scheme(chromium: Chrome, page: Path, scheme: str, *, dark: bool) -> None:
    _open(chromium, page, scheme=scheme)
    colours = _script(
        chromium,
        "return ['background-color', 'color'].map((name) => getComputedStyle(document.body)[name])"
        ".concat(getComputedStyle(document.querySelector('.plot svg path')).fill)",
    )
    bright = [sum(map(int, colour[4:-1].split(","))) > 3 * 128 for colour in colours]
    assert bright == [not dark, dark, not dark]


def _column(chromium: Chrome, number: int) -> list[str]:
    rows = "[...document.querySelectorAll('.sortable tbody tr')]"
    return list(_script(chromium, f"return {rows}.map((row) => row.cells[{number}].innerText)"))


def _heading(chromium: Chrome, title: str) -> tuple[int, Any]:
    titles = _script(
        chromium, "return [...document.querySelectorAll('.sortable thead th')].map((e) => e.innerText)"
    )
    number = [text.strip() for text in titles].index(title)
    return number, _script(
        chromium, "return document.querySelectorAll('.sortable thead th')[arguments[0]]", number
    )


def _click(heading: Any) -> None:
    heading.find_element("tag name", "button").click()


def test_a_click_on_a_heading_sorts_and_another_turns_it_round(chromium: Chrome, page: Path) -> None:
    _open(chromium, page)
    number, heading = _heading(chromium, "p90 ms")
    before = _column(chromium, number)
    assert heading.get_attribute("aria-sort") == "none"
    _click(heading)
    assert heading.get_attribute("aria-sort") == "ascending"
    assert _column(chromium, number) == sorted(before, key=float) != before
    _click(heading)
    assert heading.get_attribute("aria-sort") == "descending"
    assert _column(chromium, number) == sorted(before, key=float, reverse=True)
    sorted_by = _script(
        chromium, "return document.querySelectorAll('[aria-sort]:not([aria-sort=none])').length"
    )
    assert sorted_by == 1


def test_what_was_not_measured_stays_last(chromium: Chrome, page: Path) -> None:
    _open(chromium, page)
    number, heading = _heading(chromium, "agree %")
    for _ in range(2):
        _click(heading)
        cells = _column(chromium, number)
        missing = cells.count("\N{EN DASH}")
        assert missing
        assert set(cells[-missing:]) == {"\N{EN DASH}"}


def test_text_is_sorted_as_text(chromium: Chrome, page: Path) -> None:
    _open(chromium, page)
    number, heading = _heading(chromium, "engine")
    _click(heading)
    assert _column(chromium, number) == sorted(_column(chromium, number))


def test_the_table_is_sorted_with_the_keyboard_alone(chromium: Chrome, page: Path) -> None:
    from selenium.webdriver.common.keys import Keys

    _open(chromium, page)
    number, heading = _heading(chromium, "top-1 %")
    _script(chromium, "document.querySelector('.sortable').closest('.scroll').focus()")
    for _ in range(number + 1):
        chromium.switch_to.active_element.send_keys(Keys.TAB)
    focused = _script(chromium, "return document.activeElement.closest('th') === arguments[0]", heading)
    assert focused
    chromium.switch_to.active_element.send_keys(Keys.ENTER)
    assert heading.get_attribute("aria-sort") == "ascending"
    chromium.switch_to.active_element.send_keys(Keys.SPACE)
    assert heading.get_attribute("aria-sort") == "descending"


def test_pointing_at_a_bubble_shows_its_row(chromium: Chrome, page: Path) -> None:
    _open(chromium, page)
    lit = _script(
        chromium,
        "const mark = document.querySelector('.plot .mark');"
        "mark.dispatchEvent(new PointerEvent('pointerenter'));"
        "const rows = [...document.querySelectorAll('tr.lit')];"
        "return rows.map((row) => mark.classList.contains(row.classList[0]))",
    )
    assert lit == [True]
    assert "top-1 %: " in _script(chromium, "return document.querySelector('.plot .mark title').textContent")


def test_without_scripts_everything_is_there(chromium: Chrome, page: Path) -> None:
    chromium.execute_cdp_cmd("Emulation.setScriptExecutionDisabled", {"value": True})
    try:
        _open(chromium, page)
        rows = chromium.find_elements("css selector", ".sortable tbody tr")
        assert len(rows) > 30
        assert not chromium.find_elements("css selector", ".sortable button")
    finally:
        chromium.execute_cdp_cmd("Emulation.setScriptExecutionDisabled", {"value": False})


def _shoot(chromium: Chrome, path: Path, width: int) -> None:
    height = _script(chromium, "return document.documentElement.scrollHeight")
    chromium.execute_cdp_cmd(
        "Emulation.setDeviceMetricsOverride",
        {"width": width, "height": min(height, 12_000), "deviceScaleFactor": 1, "mobile": False},
    )
    path.parent.mkdir(parents=True, exist_ok=True)
    chromium.save_screenshot(str(path))
