"""Engines whose library is missing or broken, and what the survey says of them."""

from __future__ import annotations

import re
import sys
import tomllib
from dataclasses import replace
from pathlib import Path
from types import ModuleType

import pytest

from edgecnn.engines import ENGINES, engine_type
from edgecnn.engines.survey import runtime_clash, survey
from edgecnn.errors import EngineError, EngineUnavailableError, UsageError


@pytest.fixture
def no_onnxruntime(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in ("ort", "ort_session", "ort_cuda"):
        monkeypatch.delitem(sys.modules, f"edgecnn.engines.{module}", raising=False)
    monkeypatch.setitem(sys.modules, "onnxruntime", None)


@pytest.mark.parametrize("name", ENGINES)
def test_the_extra_of_an_engine_installs_its_package(name: str) -> None:
    project = tomllib.loads((Path(__file__).parents[2] / "pyproject.toml").read_text())["project"]
    wanted = project["optional-dependencies"][ENGINES[name].extra]
    assert any(re.match(rf"{ENGINES[name].package}(\[.*\])?>=", requirement) for requirement in wanted)


@pytest.mark.usefixtures("no_onnxruntime")
def test_a_missing_library_is_named_with_the_command_that_installs_it() -> None:
    with pytest.raises(EngineUnavailableError, match="needs the package 'onnxruntime'") as caught:
        engine_type("ort")
    assert caught.value.remedy == "Install it: pip install 'edgecnn[cpu]'"


def test_a_broken_library_says_what_it_raised(no_onnxruntime: None, monkeypatch: pytest.MonkeyPatch) -> None:
    # What is left of the folder when one of two builds was removed.
    monkeypatch.setitem(sys.modules, "onnxruntime", ModuleType("onnxruntime"))
    with pytest.raises(EngineUnavailableError, match="does not load: ImportError: cannot import") as caught:
        engine_type("ort")
    assert "pip uninstall -y onnxruntime; pip install" in caught.value.remedy


def test_a_wrong_reference_in_the_table_is_not_blamed_on_the_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    entry = replace(ENGINES["ort"], reference="edgecnn.engines.new:NewEngine")
    monkeypatch.setitem(ENGINES, "new", entry)
    with pytest.raises(UsageError, match=r"edgecnn\.engines\.new"):
        engine_type("new")


@pytest.mark.usefixtures("no_onnxruntime")
def test_the_survey_covers_every_engine() -> None:
    found = {status.name: status for status in survey()}
    assert list(found) == list(ENGINES)
    assert not found["ort"].opens
    assert found["ort"].info is None
    assert "pip install" in str(found["ort"].remedy)
    torch = found["torch"]
    assert torch.opens
    assert torch.info is not None
    assert torch.problem is None


def test_a_gpu_that_fails_while_it_is_asked_keeps_nobody_else_from_being_told(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def fail() -> None:
        raise EngineError("CUDA failed in cudaSetDevice: cudaErrorECCUncorrectable.", "Start it anew.")

    monkeypatch.setattr(engine_type("trt"), "check", fail)
    found = {status.name: status for status in survey()}
    assert "cudaErrorECCUncorrectable" in str(found["trt"].problem)
    assert found["ort"].opens


def test_two_builds_of_one_runtime_clash() -> None:
    both = {"onnxruntime": "1.31.1", "onnxruntime-gpu": "1.30.0", "torch": "2.15.0"}
    clash = runtime_clash(both)
    assert clash is not None
    assert "onnxruntime 1.31.1 and onnxruntime-gpu 1.30.0 are both installed" in clash
    assert "pip uninstall -y onnxruntime onnxruntime-gpu; pip install" in clash
    for name in ("onnxruntime", "onnxruntime-gpu"):
        assert runtime_clash({name: both[name]}) is None
