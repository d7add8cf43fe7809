"""Chromium, headless, and what tests do with it."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from selenium.webdriver import Chrome

_FLAGS = (
    *("--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"),
    *("--disable-background-networking", "--disable-component-update", "--no-first-run"),
    *("--use-fake-device-for-media-stream", "--use-fake-ui-for-media-stream"),
    "--window-size=1280,900",
)


@contextmanager
def chromium() -> Iterator[Chrome]:
    """A running browser that keeps a log of its console and of its network; its camera is a fake one."""
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
    opened.set_script_timeout(20)
    try:
        yield opened
    finally:
        opened.quit()


class Browser:
    """What the tests do with a browser: open, ask, wait, and read its logs."""

    def __init__(self, chromium: Chrome) -> None:
        self.chromium = chromium

    def open(self, url: str, *, width: int = 1280, scheme: str = "light") -> None:
        """Open ``url`` afresh, with empty logs; on a desk and in light, where nothing else is said."""
        self.emulate(width=width, scheme=scheme)
        self.chromium.get("about:blank")
        for kind in ("browser", "performance"):
            self.log(kind)
        self.chromium.get(url)

    def emulate(self, *, width: int, scheme: str) -> None:
        """A window of ``width`` CSS pixels of somebody who prefers ``scheme``, and things not to move."""
        features = {"prefers-color-scheme": scheme, "prefers-reduced-motion": "reduce"}
        self.chromium.execute_cdp_cmd(
            "Emulation.setEmulatedMedia",
            {"features": [{"name": name, "value": value} for name, value in features.items()]},
        )
        self.resize(width, 900)

    def resize(self, width: int, height: int) -> None:
        """Make the window so large, in CSS pixels."""
        self.chromium.execute_cdp_cmd(
            "Emulation.setDeviceMetricsOverride",
            {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": False},
        )

    def script(self, text: str, *arguments: object) -> Any:
        """What ``text``, the body of a function, returns in the page."""
        return self.chromium.execute_script(text, *arguments)

    def log(self, kind: str) -> list[str]:
        """The messages since the last call."""
        return [entry["message"] for entry in self.chromium.get_log(kind)]  # type: ignore[no-untyped-call]

    def requests(self) -> list[str]:
        """The addresses that were asked since the last call."""
        events = [json.loads(message)["message"] for message in self.log("performance")]
        return [
            event["params"]["request"]["url"]
            for event in events
            if event["method"] == "Network.requestWillBeSent"
        ]

    def find(self, selector: str) -> Any:
        """The first element of ``selector``."""
        return self.chromium.find_element("css selector", selector)

    def text(self, selector: str) -> str:
        """The text of the first element of ``selector``, shown or not; empty without one."""
        found = self.script("return document.querySelector(arguments[0])?.textContent ?? ''", selector)
        return str(found)

    def texts(self, selector: str) -> list[str]:
        """The texts of all elements of ``selector``."""
        return list(
            self.script(
                "return [...document.querySelectorAll(arguments[0])].map(e => e.textContent)", selector
            )
        )

    def until(self, condition: str, *arguments: object) -> None:
        """Wait until the JavaScript expression holds."""
        from selenium.webdriver.support.ui import WebDriverWait

        wait = WebDriverWait(self.chromium, 20, poll_frequency=0.02)
        wait.until(lambda _: self.script(f"return {condition}", *arguments), condition)

    def until_text(self, selector: str, text: str) -> None:
        """Wait until the first element of ``selector`` says ``text`` somewhere."""
        self.until("document.querySelector(arguments[0])?.textContent.includes(arguments[1])", selector, text)
