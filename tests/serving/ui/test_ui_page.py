"""The page in a real browser: Chromium, headless, against a server of canned answers."""

from __future__ import annotations

import base64
import io
import itertools
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

pytestmark = pytest.mark.browser

#: Where the screenshots go, if anywhere: EDGECNN_SCREENSHOTS=FOLDER, to be looked at.
_SCREENSHOTS = os.environ.get("EDGECNN_SCREENSHOTS")

_LABELS = "#answer .bars .label"
_FILE = (
    "const bytes = Uint8Array.from(atob(arguments[0]), (c) => c.charCodeAt(0));"
    "const data = new DataTransfer();"
    "data.items.add(new File([bytes], arguments[1], {type: arguments[2]}));"
)
_DROP = _FILE + "document.body.dispatchEvent(new DragEvent('drop', {dataTransfer: data, bubbles: true}))"
_PASTE = _FILE + (
    "document.body.dispatchEvent(new ClipboardEvent('paste', {clipboardData: data, bubbles: true}))"
)


def _jpeg(width: int = 320, height: int = 240) -> bytes:
    written = io.BytesIO()
    Image.radial_gradient("L").resize((width, height)).convert("RGB").save(written, "JPEG")
    return written.getvalue()


def _text(content: bytes) -> str:
    return base64.b64encode(content).decode()


@pytest.fixture
def picture(tmp_path: Path) -> Path:
    path = tmp_path / "cat.jpg"
    path.write_bytes(_jpeg())
    return path


def _ready(browser: Any, canned: Any) -> None:
    browser.open(canned.url)
    browser.until_text("#light", "2 models ready")


def _choose(browser: Any, *paths: Path) -> None:
    browser.find("#files").send_keys("\n".join(map(str, paths)))


def test_a_chosen_image_is_sent_as_it_is_and_its_labels_are_shown(
    browser: Any, canned: Any, picture: Path
) -> None:
    _ready(browser, canned)
    _choose(browser, picture)
    browser.until_text("#answer h2", "tabby cat")
    assert browser.texts(_LABELS) == ["tabby cat", "tiger cat", "Egyptian cat", "lynx", "Persian cat"]
    assert browser.texts("#answer .bars .value") == ["83.1 %", "10.7 %", "4.0 %", "0.8 %", "<0.1 %"]
    widths = browser.script(
        "return [...document.querySelectorAll('#answer .fill')].map((e) => parseFloat(e.style.width))"
    )
    assert widths == pytest.approx([83.12, 10.71, 4.02, 0.83, 0.04])
    (asked,) = canned.predictions()
    assert (asked.method, asked.path, asked.query) == ("POST", "/v1/predict/mobilenet_v2", "top_k=5")
    assert asked.headers["content-type"] == "image/jpeg"
    assert asked.body == picture.read_bytes()
    assert browser.text("#announce") == "cat.jpg: tabby cat, 83.1 %"


def test_the_time_is_split_and_what_the_server_says_is_shown(
    browser: Any, canned: Any, picture: Path
) -> None:
    _ready(browser, canned)
    _choose(browser, picture)
    browser.until_text("#answer h2", "tabby cat")
    legend = dict(zip(browser.texts("#answer .legend dt"), browser.texts("#answer .legend dd"), strict=True))
    assert list(legend) == ["Upload and network", "Decode", "Queue", "Compute", "Rest of the server"]
    assert (legend["Decode"], legend["Queue"], legend["Compute"]) == ("1.90 ms", "0.60 ms", "4.20 ms")
    assert legend["Rest of the server"] == "0.40 ms"
    assert len(browser.texts("#answer .split span")) == 5
    assert "mobilenet_v2, version 1" in browser.text("#answer .note")


@pytest.mark.parametrize("event", [_DROP, _PASTE], ids=["drop", "paste"])
def test_an_image_is_dropped_or_pasted(browser: Any, canned: Any, event: str) -> None:
    _ready(browser, canned)
    browser.script(event, _text(_jpeg()), "dropped.jpg", "image/jpeg")
    browser.until_text("#answer h2", "tabby cat")
    assert browser.text("#answer .caption").startswith("dropped.jpg")
    assert canned.predictions()[0].body == _jpeg()


def test_what_is_no_image_is_refused_where_it_came_in(browser: Any, canned: Any) -> None:
    _ready(browser, canned)
    browser.script(_DROP, _text(b"hello"), "notes.txt", "text/plain")
    browser.until_text("#ask-problem", "notes.txt is no image (text/plain).")
    assert canned.predictions() == []


def test_a_picture_from_the_camera(browser: Any, canned: Any) -> None:
    _ready(browser, canned)
    browser.find("#camera").click()
    browser.until("!document.getElementById('shoot').disabled")
    browser.find("#shoot").click()
    browser.until_text("#answer h2", "tabby cat")
    assert Image.open(io.BytesIO(canned.predictions()[0].body)).size[0] > 100
    assert browser.script("return document.getElementById('video').srcObject") is None


def test_several_images_one_of_them_bad(
    browser: Any, canned: Any, picture: Path, tmp_path: Path, documents: Callable[..., dict[str, Any]]
) -> None:
    bad = tmp_path / "bad.jpg"
    bad.write_bytes(b"\xff\xd8 no more")
    sentence = "The image is cut off. Send the whole file."
    canned.answers["/v1/predict/mobilenet_v2"] = lambda asked: (
        (400, {"error": sentence}) if len(asked.body) < 100 else (200, documents("mobilenet_v2"))
    )
    _ready(browser, canned)
    _choose(browser, picture, bad)
    browser.until("document.querySelectorAll('#recent .done, #recent .failed').length === 2")
    assert browser.texts("#recent .name") == ["No answer", "tabby cat"]
    browser.find("#recent .failed").click()
    assert browser.text("#answer .problem") == sentence
    assert browser.find("#recent .failed").get_attribute("aria-current") == "true"
    canned.answers["/v1/predict/mobilenet_v2"] = lambda _: (200, documents("mobilenet_v2"))
    browser.find("#answer .reply button").click()
    browser.until_text("#answer h2", "tabby cat")


def test_another_model_and_more_labels_answer_for_the_shown_image(
    browser: Any, canned: Any, picture: Path
) -> None:
    _ready(browser, canned)
    assert browser.texts("#model option") == ["mobilenet_v2", "resnet18"]
    assert "224 \N{MULTIPLICATION SIGN} 224" in browser.text("#model-facts")
    _choose(browser, picture)
    browser.until_text("#answer .note", "mobilenet_v2")
    choose = (
        "const field = document.getElementById(arguments[0]); field.value = arguments[1];"
        "field.dispatchEvent(new Event('change', {bubbles: true}))"
    )
    browser.script(choose, "model", "resnet18")
    browser.until_text("#answer .note", "resnet18, version 1")
    browser.script(choose, "labels", "3")
    browser.until("!document.querySelector('#answer .waiting')")
    last = canned.predictions()[-1]
    assert (last.path, last.query) == ("/v1/predict/resnet18", "top_k=3")
    assert "fp32" in browser.text("#model-facts")


def test_the_key_is_asked_for_sent_and_kept_in_the_tab_alone(
    browser: Any, canned: Any, picture: Path, documents: Callable[..., dict[str, Any]]
) -> None:
    guarded = {
        "/v1/status": canned.answers["/v1/status"],
        "/v1/predict/mobilenet_v2": lambda _: (200, documents("mobilenet_v2")),
    }
    for path, answer in guarded.items():
        canned.answers[path] = lambda asked, answer=answer: (
            answer(asked)
            if asked.headers.get("authorization") == "Bearer sesame"
            else (401, {"error": "No API key came. Send it as 'Authorization: Bearer KEY'."})
        )
    browser.open(canned.url)
    browser.until("!document.getElementById('key-form').hidden")
    assert browser.text("#light-text") == "API key needed"
    browser.find("#key").send_keys("wrong\n")
    browser.until_text("#key-problem", "The server does not take this key.")
    browser.find("#key").send_keys("sesame\n")
    browser.until_text("#light", "2 models ready")
    _choose(browser, picture)
    browser.until_text("#answer h2", "tabby cat")
    assert browser.script("return [localStorage.length, sessionStorage.length, document.cookie]") == [
        0,
        1,
        "",
    ]
    browser.script("sessionStorage.clear()")


def test_labels_names_and_errors_of_others_are_text(
    browser: Any, canned: Any, picture: Path, documents: Callable[..., dict[str, Any]]
) -> None:
    hostile = "<img src=x onerror=\"document.title='broken'\">"
    status = canned.answers["/v1/status"](None)[1]
    status["models"][0]["network"] = status["models"][0]["engine"] = hostile
    canned.answers["/v1/status"] = lambda _: (200, status)
    canned.answers["/v1/predict/mobilenet_v2"] = lambda _: (200, documents("mobilenet_v2", (hostile, "b")))
    canned.answers["/v1/predict/resnet18"] = lambda _: (400, {"error": hostile})
    _ready(browser, canned)
    _choose(browser, picture)
    browser.until_text("#answer h2", hostile)
    assert browser.texts(_LABELS) == [hostile, "b"]
    assert hostile in browser.text("#model-facts")
    assert hostile in browser.text("#recent .name")
    browser.script(
        "const field = document.getElementById('model'); field.value = 'resnet18';"
        "field.dispatchEvent(new Event('change', {bubbles: true}))"
    )
    browser.until_text("#answer .problem", hostile)
    assert browser.script("return document.querySelectorAll('img[src=x]').length") == 0
    assert browser.script("return document.title") == "edgecnn: classify an image"


def test_live_figures_are_shown_and_a_server_that_is_gone_is_said(browser: Any, canned: Any) -> None:
    _ready(browser, canned)
    assert [browser.text(f"#{name}") for name in ("rate", "queue", "in-flight")] == ["413", "3", "9"]
    browser.until("document.querySelector('#rate-spark .line')?.getAttribute('d').length > 3")
    assert browser.find("#rate-spark").get_attribute("aria-label").startswith("Requests per second: now 413")
    canned.answers["/v1/status"] = lambda _: (503, {"error": "The server is going away."})
    browser.until_text("#light", "Refused")


def test_a_hidden_page_asks_nothing(browser: Any, canned: Any) -> None:
    _ready(browser, canned)
    browser.script(
        "Object.defineProperty(document, 'hidden', {value: true, configurable: true});"
        "document.dispatchEvent(new Event('visibilitychange'))"
    )
    browser.script("window.before = performance.now()")
    asked = len(canned.asked)
    browser.until("performance.now() > window.before + 1500")
    assert len(canned.asked) - asked <= 1  # one may have been on its way
    browser.script(
        "Object.defineProperty(document, 'hidden', {value: false, configurable: true});"
        "document.dispatchEvent(new Event('visibilitychange'))"
    )
    browser.until("performance.getEntriesByType('resource').at(-1).startTime > window.before + 1500")


def test_with_the_keyboard_alone(browser: Any, canned: Any, picture: Path) -> None:
    from selenium.webdriver import ActionChains, Keys

    _ready(browser, canned)
    _choose(browser, picture)
    browser.until_text("#answer h2", "tabby cat")
    browser.script("document.activeElement?.blur()")
    order = []
    for _ in range(12):
        ActionChains(browser.chromium).send_keys(Keys.TAB).perform()
        order.append(
            browser.script("return document.activeElement.id || document.activeElement.textContent.trim()")
        )
    wanted = ["Skip to the answer", "API", "OpenAPI", "Metrics", "files", "camera", "model", "labels"]
    assert order[: len(wanted)] == wanted
    assert "The same with curl" in order
    assert "clear" in order


def test_every_field_and_button_has_a_name(browser: Any, canned: Any, picture: Path) -> None:
    _ready(browser, canned)
    _choose(browser, picture)
    browser.until_text("#answer h2", "tabby cat")
    nodes = browser.chromium.execute_cdp_cmd("Accessibility.getFullAXTree", {})["nodes"]
    named = {
        (node["role"]["value"], node.get("name", {}).get("value", "").strip())
        for node in nodes
        if not node["ignored"] and "role" in node
    }
    roles = {"button", "combobox", "spinbutton", "textbox", "link", "image", "img", "searchbox"}
    assert [role for role, name in named if role in roles and not name] == []
    assert {("combobox", "Model"), ("spinbutton", "Labels"), ("button", "Camera")} <= named


_PICTURES = ("tabby.jpg", "a name that is much longer than any place that is left for it.jpg", "third.jpg")


def test_the_page_fits_says_nothing_to_the_console_and_asks_nobody_else(
    browser: Any, canned: Any, tmp_path: Path
) -> None:
    _ready(browser, canned)
    _require_fit(browser, "empty")
    for name in _PICTURES:
        (tmp_path / name).write_bytes(_jpeg())
    _choose(browser, *[tmp_path / name for name in _PICTURES])
    browser.until("document.querySelectorAll('#recent .done').length === 3")
    _require_fit(browser, "answer")
    assert browser.log("browser") == []
    assert [url for url in browser.requests() if not url.startswith((canned.url, f"blob:{canned.url}"))] == []
    broken = "return [...document.images].filter((image) => !image.naturalWidth).length"
    assert browser.script(broken) == 0


def _require_fit(browser: Any, name: str) -> None:
    """On a small phone, on a phone and on a desk, in light and dark."""
    for width, scheme in itertools.product((360, 400, 1280), ("light", "dark")):
        browser.emulate(width=width, scheme=scheme)
        overflow = "const root = document.documentElement; return root.scrollWidth - root.clientWidth"
        assert browser.script(overflow) == 0
        colours = browser.script(
            "return ['background-color', 'color'].map((name) => getComputedStyle(document.body)[name])"
        )
        bright = [sum(map(int, colour[4:-1].split(","))) > 3 * 128 for colour in colours]
        assert bright == [scheme == "light", scheme == "dark"]
        _shoot(browser, f"{name}-{width}-{scheme}", width)


def _shoot(browser: Any, name: str, width: int) -> None:
    if _SCREENSHOTS:
        browser.resize(width, browser.script("return document.documentElement.scrollHeight"))
        Path(_SCREENSHOTS).mkdir(parents=True, exist_ok=True)
        browser.chromium.save_screenshot(str(Path(_SCREENSHOTS) / f"ui-{name}.png"))
        browser.resize(width, 900)
