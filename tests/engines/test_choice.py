"""Engines and their options as text, and engines that are not edgecnn's own."""

from __future__ import annotations

import re
import string
import subprocess
import sys
from contextlib import suppress
from dataclasses import fields, replace
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgecnn.artifact import Artifact
from edgecnn.engines import ENGINES, EngineOptions
from edgecnn.engines.base import Batch, CopyingEngine, EngineInfo, Scores
from edgecnn.engines.choice import EngineChoice, open_choice, parse_choice, parse_choices
from edgecnn.engines.fake import FakeEngine
from edgecnn.engines.option_text import format_options, parse_options
from edgecnn.errors import EngineError, EngineUnavailableError, UnknownNameError, UsageError
from edgecnn.spec import ModelSpec

EVERY = frozenset(field.name for field in fields(EngineOptions))
SWITCHES = st.none() | st.booleans()
OPTIONS = st.builds(
    EngineOptions,
    threads=st.none() | st.integers(1, 4096),
    spin=SWITCHES,
    arena=SWITCHES,
    precision=st.sampled_from([None, "fp32", "fp16", "bf16"]),
    hint=st.sampled_from([None, "latency", "throughput"]),
    streams=st.none() | st.integers(1, 4096),
    batch=st.none() | st.integers(1, 4096),
    cache=SWITCHES,
    device=st.none() | st.integers(0, 64),
    graph=SWITCHES,
)


class PluginEngine(FakeEngine):
    """A plug-in as somebody else would write it."""

    understands: ClassVar[frozenset[str]] = frozenset({"threads"})

    def __init__(self, artifact: Artifact, options: EngineOptions) -> None:
        super().__init__(artifact.spec)
        self.threads = options.threads

    @property
    def info(self) -> EngineInfo:
        return replace(self.check(), threads=self.threads or 1)

    @classmethod
    def check(cls) -> EngineInfo:
        return EngineInfo(name="plug", version="1", device="cpu", threads=1, precision="fp32")


class Inventive(PluginEngine):
    understands: ClassVar[frozenset[str]] = frozenset({"magic"})


class NoEngine:
    pass


class Undeclared:
    def check(self) -> None: ...

    __call__ = check


undeclared = Undeclared()
number = 7
PLUGIN = f"{__name__}:PluginEngine"


@given(OPTIONS)
def test_options_come_back_from_their_text(options: EngineOptions) -> None:
    text = format_options(options)
    assert (parse_options("any", EVERY, text) if text else EngineOptions()) == options


@given(OPTIONS, st.sampled_from(sorted(ENGINES)))
def test_a_choice_made_from_another_comes_back_from_its_text(options: EngineOptions, name: str) -> None:
    wishes = options.given()
    choice = parse_choice(name).preferring(**wishes)
    assert parse_choice(choice.text) == choice
    assert choice.options.given() == {key: wishes[key] for key in wishes if key in ENGINES[name].understands}


@st.composite
def choices(draw: st.DrawFn) -> EngineChoice:
    """A choice as a user could write it: of the table or a plug-in, options in any order, with spaces."""
    name = draw(st.sampled_from([*sorted(ENGINES), PLUGIN]))
    understands = ENGINES[name].understands if name in ENGINES else PluginEngine.understands
    given: dict[str, Any] = {key: value for key, value in draw(OPTIONS).given().items() if key in understands}
    if not given:
        return parse_choice(name)
    parts = draw(st.permutations(format_options(EngineOptions(**given)).split(",")))
    return parse_choice(f"{name}:{draw(st.sampled_from([',', ', '])).join(parts)}")


@given(st.lists(choices(), min_size=1, max_size=4), st.sampled_from([",", ", "]))
def test_any_list_of_choices_comes_back(wanted: list[EngineChoice], comma: str) -> None:
    assert parse_choices(comma.join(choice.text for choice in wanted)) == tuple(wanted)


def test_a_list_of_engines_and_their_options() -> None:
    found = parse_choices("torch, ort:threads=1,arena=off,openvino")
    assert [choice.text for choice in found] == ["torch", "ort:threads=1,arena=off", "openvino"]


@pytest.mark.parametrize("text", ["", ",", "ort,", "ort,,torch", ",ort", "ort,threads=1", "threads=1,ort"])
def test_a_list_with_something_else_is_refused(text: str) -> None:
    with pytest.raises(UsageError):
        parse_choices(text)


@given(st.text(string.ascii_letters + string.digits + ":=,._- ", max_size=40))
def test_no_text_fails_otherwise_than_with_an_explanation(text: str) -> None:
    with suppress(UsageError):
        assert parse_choice(text).text == text.strip()


def test_an_engine_without_options() -> None:
    choice = parse_choice("ort")
    assert (choice.text, choice.name, choice.options) == ("ort", "ort", EngineOptions())


def test_options_are_read() -> None:
    choice = parse_choice("openvino:precision=bf16,hint=throughput, streams=2,cache=off")
    assert choice.name == "openvino"
    assert choice.options == EngineOptions(precision="bf16", hint="throughput", streams=2, cache=False)
    assert choice.text == "openvino:precision=bf16,hint=throughput, streams=2,cache=off"


def test_other_numbers_of_threads() -> None:
    choice = parse_choice("ort:arena=off,threads=1")
    assert choice.with_threads(2) == parse_choice("ort:threads=2,arena=off")
    assert choice.with_threads(None) == parse_choice("ort:arena=off")
    assert choice.other_options == "arena=off"
    assert parse_choice("ort").with_threads(3).text == "ort:threads=3"


def test_wishes_do_not_override_the_user() -> None:
    assert parse_choice("ort:spin=on").preferring(spin=False, threads=1).text == "ort:threads=1,spin=on"
    assert parse_choice("torch").preferring(spin=False).text == "torch"


@pytest.mark.parametrize(
    ("text", "problem", "remedy"),
    [
        ("orrt", "no engine named 'orrt'", r"Did you mean ort\?"),
        ("orrt:threads=1", "no engine named 'orrt'", r"Did you mean ort\?"),
        ("zzz", "no engine named 'zzz'", "torch.*package.module:Class"),
        ("ort:aren=on", "no option of the engine 'ort' named 'aren'", r"mean arena\?.*arena=on\|off"),
        ("ort:hint=latency", "no option of the engine 'ort' named 'hint'", "threads=N, spin"),
        ("ort:arena=maybe", "arena=maybe: the value must be on or off", "Options of ort: threads=N"),
        ("ort:threads=0", "threads=0: the value must be a whole number of at least 1", "Options of ort"),
        ("ort:threads=\u00b2", "threads=\u00b2: the value", "Options of ort"),
        ("openvino:precision=f16", "must be fp32 or fp16 or bf16", "Options of openvino"),
        ("ort:", "'' is not an option", "name=value"),
        ("ort:arena", "'arena' is not an option", "name=value"),
        ("ort:arena=on,,", "'' is not an option", "name=value"),
        ("ort:arena=on,arena=off", "'arena' of 'ort' is given twice", "once"),
        ("a.module:", "'a.module:' is no name of a plug-in", "package.module:Class"),
        (":Engine", "':Engine' is no name of a plug-in", "package.module:Class"),
        ("a..module:Engine", "'a..module:Engine' is no name of a plug-in", "package.module:Class"),
        ("a module:Engine", "'a module:Engine' is no name of a plug-in", "package.module:Class"),
        ("a.module:Engine:threads=0", "threads=0: the value must be", "Options of a.module:Engine"),
        (f"{PLUGIN}:arena=on", f"no option of the engine '{PLUGIN}' named 'arena'", "threads=N"),
    ],
)
def test_what_is_wrong_is_said_with_what_would_be_right(text: str, problem: str, remedy: str) -> None:
    with pytest.raises(UsageError, match=problem) as caught:
        parse_choice(text)
    assert re.search(remedy, caught.value.remedy, re.DOTALL)


def test_a_plugin_opens_with_its_options(dynamic: Artifact) -> None:
    choice = parse_choice(f"{PLUGIN}:threads=3")
    assert (choice.name, choice.other_options) == (PLUGIN, "")
    assert parse_choice(choice.with_threads(None).text) == parse_choice(PLUGIN)
    with open_choice(choice, dynamic) as engine:
        assert (engine.spec, engine.info.threads) == (dynamic.spec, 3)


class Unopenable(PluginEngine):
    def __init__(self, artifact: Artifact, options: EngineOptions) -> None:
        raise KeyError("weights")


class Uninformed(PluginEngine):
    @property
    def info(self) -> EngineInfo:
        raise AttributeError("no info")


class Breaking(PluginEngine):
    """It fails with errors of its own once it is open."""

    def run(self, batch: Batch) -> Scores:
        raise ValueError("boom in run")

    def copy_only(self, batch: Batch) -> None:
        raise OSError("boom in copy")

    def close(self) -> None:
        raise RuntimeError("boom in close")

    def __exit__(self, *_: object) -> None: ...


class Refusing(PluginEngine):
    def __init__(self, artifact: Artifact, options: EngineOptions) -> None:
        raise EngineUnavailableError("There is no such device.", "Plug it in.")


@pytest.mark.parametrize(
    ("name", "said"), [("Unopenable", "KeyError: 'weights'"), ("Uninformed", "AttributeError: no info")]
)
def test_whatever_a_plugin_raises_when_it_opens_is_an_engine_error(
    name: str, said: str, dynamic: Artifact
) -> None:
    with pytest.raises(EngineError, match=f"'{__name__}:{name}' failed to open: {said}") as caught:
        open_choice(parse_choice(f"{__name__}:{name}"), dynamic)
    assert "Repair the plug-in" in caught.value.remedy


def test_whatever_a_plugin_raises_while_it_runs_is_an_engine_error(dynamic: Artifact) -> None:
    batch = np.zeros((1, 3, 8, 8), np.float32)
    with open_choice(parse_choice(f"{__name__}:Breaking"), dynamic) as engine:
        with pytest.raises(EngineError, match=r"Breaking' failed to run: ValueError: boom in run"):
            engine.run(batch)
        with pytest.raises(EngineError, match="failed to close: RuntimeError: boom in close"):
            engine.close()
        assert isinstance(engine, CopyingEngine)
        with pytest.raises(EngineError, match="failed to copy: OSError: boom in copy"):
            engine.copy_only(batch)


def test_a_plugin_that_cannot_copy_alone_is_not_taken_for_one_that_can(dynamic: Artifact) -> None:
    with open_choice(parse_choice(PLUGIN), dynamic) as engine:
        assert not isinstance(engine, CopyingEngine)


def test_what_a_plugin_says_in_our_own_words_stays(dynamic: Artifact) -> None:
    with pytest.raises(EngineUnavailableError, match=r"^There is no such device\.\nPlug it in\.$"):
        open_choice(parse_choice(f"{__name__}:Refusing"), dynamic)


@pytest.mark.parametrize("options", ["", ":threads=1"])
@pytest.mark.parametrize(
    ("plugin", "problem", "remedy"),
    [
        ("no_such_module:Engine", "'no_such_module' of 'no_such_module:Engine' does not exist", "PYTHONPATH"),
        (f"{__name__}:Missing", "no attribute 'Missing'", "after the colon"),
        (f"{__name__}:number", "is no engine: 7 cannot be called", "EngineType"),
        (f"{__name__}:NoEngine", "is no engine: it has no method 'check'", "EngineType"),
        (f"{__name__}:undeclared", "has no set 'understands'", "EngineType"),
        (f"{__name__}:Inventive", "it understands magic, and there are only arena, ", "EngineType"),
    ],
)
def test_what_is_no_engine_is_told_when_it_is_opened(
    plugin: str, options: str, problem: str, remedy: str, dynamic: Artifact
) -> None:
    choice = parse_choice(plugin + options)
    with pytest.raises(UsageError, match=problem) as caught:
        open_choice(choice, dynamic)
    assert re.search(remedy, caught.value.remedy)


@pytest.mark.parametrize("options", ["", ":threads=1"])
def test_a_plugin_that_does_not_load_says_what_it_raised_when_it_is_opened(
    options: str, dynamic: Artifact, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "broken_plugin_engine.py").write_text("import no_such_library_at_all")
    monkeypatch.syspath_prepend(tmp_path)
    choice = parse_choice(f"broken_plugin_engine:Engine{options}")
    assert choice.preferring(batch=1) == choice
    with pytest.raises(EngineUnavailableError, match=r"does not load: .*no_such_library_at_all"):
        open_choice(choice, dynamic)


@pytest.mark.parametrize("name", ENGINES)
def test_an_engine_refuses_options_that_it_does_not_understand(name: str, dynamic: Artifact) -> None:
    foreign = sorted(EVERY - ENGINES[name].understands)[0]
    values: dict[str, Any] = {"hint": "latency", "precision": "fp32"}
    options = EngineOptions(**{foreign: values.get(foreign, 1)})
    try:
        with pytest.raises(UnknownNameError, match=f"option of the engine '{name}' named '{foreign}'"):
            open_choice(replace(parse_choice(name), options=options), dynamic)
    except EngineUnavailableError as error:
        pytest.skip(str(error))


def test_reading_a_choice_loads_no_engine() -> None:
    script = (
        "import sys; from edgecnn.engines.choice import parse_choice\n"
        "for name in ('ort', 'openvino:precision=bf16', 'torch'): parse_choice(name)\n"
        "print([name for name in ('onnxruntime', 'openvino', 'torch') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_a_model_that_does_not_open_stays_an_engine_error(tmp_path: Path, dynamic: Artifact) -> None:
    spec: ModelSpec = dynamic.spec
    with pytest.raises(EngineError, match="does not open"):
        open_choice(parse_choice("ort"), Artifact(tmp_path / "gone.onnx", spec))
