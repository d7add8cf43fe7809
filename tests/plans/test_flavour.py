"""Packages that are missing or do not load."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from edgecnn.errors import EngineUnavailableError, UnknownNameError
from edgecnn.plans import flavour
from edgecnn.plans.flavour import FLAVOURS, TRT, TRT_RTX, Flavour, find_flavour, load, preferred_flavour


@pytest.mark.parametrize("name", FLAVOURS)
def test_a_missing_package_names_its_command(name: str) -> None:
    absent = Flavour(name, "no_such_package", FLAVOURS[name].extra, "Something")
    with pytest.raises(EngineUnavailableError, match=r"'no_such_package'.* is not installed") as caught:
        load(absent)
    assert f"pip install 'edgecnn[{name}]'" in caught.value.remedy


def test_no_such_flavour() -> None:
    with pytest.raises(UnknownNameError, match="trt-rtz"):
        find_flavour("trt-rtz")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("raise ImportError('libnvinfer.so.10: cannot open shared object file')", r"libnvinfer\.so\.10"),
        ("raise OSError('no libnvinfer')", "no libnvinfer"),
        ("import no_such_part", "no_such_part"),
        ("raise RuntimeError", "RuntimeError"),
    ],
)
def test_a_package_that_does_not_load(
    text: str, words: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "broken_tensorrt.py").write_text(text)
    monkeypatch.syspath_prepend(str(tmp_path))
    with pytest.raises(EngineUnavailableError, match=f"does not load: .*{words}") as caught:
        load(Flavour("trt", "broken_tensorrt", "trt", "TensorRT"))
    assert "--force-reinstall" in caught.value.remedy
    assert "broken_tensorrt" not in sys.modules


def test_tensorrt_comes_first(monkeypatch: pytest.MonkeyPatch) -> None:
    found: set[Flavour] = set()
    monkeypatch.setattr(flavour, "is_installed", found.__contains__)
    with pytest.raises(EngineUnavailableError, match="neither is installed") as caught:
        preferred_flavour()
    assert "edgecnn[trt]" in caught.value.remedy
    assert "edgecnn[trt-rtx]" in caught.value.remedy
    found.add(TRT_RTX)
    assert preferred_flavour() is TRT_RTX
    found.add(TRT)
    assert preferred_flavour() is TRT
