"""The documentation in a real browser, from the real document."""

from __future__ import annotations

import itertools
import os
from pathlib import Path
from typing import Any

import pytest

from edgecnn.serving.openapi import openapi_document

pytestmark = pytest.mark.browser

_SCREENSHOTS = os.environ.get("EDGECNN_SCREENSHOTS")


def _open(browser: Any, canned: Any, fragment: str = "") -> None:
    canned.answers.setdefault("/openapi.json", lambda _: (200, openapi_document("1.2.3", ["mobilenet_v2"])))
    browser.open(f"{canned.url}docs{fragment}")
    browser.until("document.querySelectorAll('.operation').length > 20")


def test_every_operation_is_there_in_its_group(browser: Any, canned: Any) -> None:
    _open(browser, canned)
    document = openapi_document("1.2.3", [])
    assert sorted(browser.texts(".operation .path")) == sorted(
        path for path, methods in document["paths"].items() for _ in methods
    )
    assert browser.texts(".group > h2") == [tag["name"] for tag in document["tags"]]
    assert browser.text("#version") == "1.2.3"


def test_an_address_opens_its_operation_with_command_lines_that_follow_the_fields(
    browser: Any, canned: Any
) -> None:
    _open(browser, canned, "#post_v1_predict_model")
    browser.until("document.querySelector('#post_v1_predict_model .command')")
    url = f"{canned.url}v1/predict/mobilenet_v2"
    assert browser.texts("#post_v1_predict_model .command pre") == [
        f"curl -X POST -H 'Content-Type: image/jpeg' --data-binary @cat.jpg '{url}'",
        f"curl -X POST -H 'Content-Type: application/octet-stream' --data-binary @request.bin '{url}'",
        f"curl -X POST -F image=@cat.jpg -F image=@dog.jpg '{url}'",
    ]
    browser.find("#post_v1_predict_model input[aria-label=top_k]").send_keys("3")
    first = browser.texts("#post_v1_predict_model .command pre")[0]
    assert first.endswith(f"'{url}?top_k=3'")
    model = browser.find("#post_v1_predict_model input[aria-label=model]")
    model.clear()
    model.send_keys("it's a/b")
    assert "/v1/predict/it'\\''s%20a%2Fb?" in browser.texts("#post_v1_predict_model .command pre")[0]


def test_shapes_and_refusals_are_shown(browser: Any, canned: Any) -> None:
    _open(browser, canned, "#post_v1_predict")
    browser.until("document.querySelector('#post_v1_predict .schema')")
    shown = browser.texts("#post_v1_predict .schema")[-1]
    assert '"probability": number' in shown
    assert '"timings_ms": {' in shown
    statuses = browser.texts("#post_v1_predict .status")
    assert statuses == sorted(statuses)
    assert {"200", "400", "401", "413", "415", "429", "503", "504"} <= set(statuses)


def test_hostile_names_are_text(browser: Any, canned: Any) -> None:
    hostile = "<img src=x onerror=alert(1)>"
    canned.answers["/openapi.json"] = lambda _: (200, openapi_document(hostile, [hostile]))
    _open(browser, canned, "#post_v1_predict_model")
    assert browser.text("#version") == hostile
    assert browser.script("return document.querySelectorAll('img[src=x]').length") == 0


def test_a_document_that_is_missing_is_said(browser: Any, canned: Any) -> None:
    browser.open(f"{canned.url}docs")
    browser.until_text("#docs-problem", "openapi.json could not be read: status 404")


def test_it_fits_says_nothing_to_the_console_and_asks_nobody_else(browser: Any, canned: Any) -> None:
    _open(browser, canned, "#post_v2_models_model_infer")
    browser.script("for (const each of document.querySelectorAll('details')) each.open = true")
    browser.until("[...document.querySelectorAll('.operation')].every((each) => each.querySelector('.body'))")
    for width, scheme in itertools.product((360, 1280), ("light", "dark")):
        browser.emulate(width=width, scheme=scheme)
        overflow = "const root = document.documentElement; return root.scrollWidth - root.clientWidth"
        assert browser.script(overflow) == 0
        _shoot(browser, f"docs-{width}-{scheme}.png", width)
    assert browser.log("browser") == []
    assert [url for url in browser.requests() if not url.startswith(canned.url)] == []


def _shoot(browser: Any, name: str, width: int) -> None:
    if _SCREENSHOTS:
        browser.resize(width, 1800)
        browser.script(
            "for (const each of document.querySelectorAll('details')) each.open = false;"
            "document.getElementById('post_v1_predict_model').open = true; scrollTo(0, 0)"
        )
        Path(_SCREENSHOTS).mkdir(parents=True, exist_ok=True)
        browser.chromium.save_screenshot(str(Path(_SCREENSHOTS) / name))
