"""``edgecnn quantize --cpu``: data types, and whether other CPUs answer alike."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from edgecnn.artifact import open_artifact
from edgecnn.environment import Environment, describe_environment
from edgecnn.quantize import pipeline
from edgecnn.quantize.portability import Portability, PortabilityUnknown
from edgecnn.quantize.settings import this_cpu
from tests.commands.quantize.running import Case, quantize


@pytest.mark.parametrize(
    ("sets", "cpu"),
    [
        (("avx2", "avx512_vnni"), "vnni"),
        (("avx2", "avx_vnni"), "vnni"),
        (("avx", "avx2", "avx512f"), "x86"),
        (("asimd", "asimddp"), "arm"),
        (("neon",), "arm"),
        ((), "x86"),
        (None, "x86"),
    ],
)
def test_this_cpu(sets: tuple[str, ...] | None, cpu: str) -> None:
    environment: Environment = replace(describe_environment(()), instruction_sets=sets)
    assert this_cpu(environment) == cpu


@pytest.mark.parametrize(("cpu", "scheme"), [("vnni", "uint8"), ("x86", "7"), ("arm", "int8 activations")])
def test_the_cpu_decides_the_data_types(cpu: str, scheme: str, case: Case) -> None:
    arguments = ("--calib", case.calib, "--recipe", "minmax", "--max-drop", "100", "-o", "q.onnx")
    result = quantize(case.model, *arguments, "--cpu", cpu)
    assert result.exit_code == 0, result.output
    record = open_artifact(Path("q.onnx")).spec.quantization
    assert record is not None
    assert scheme in record.scheme


def _portable(able: Sequence[str], layers: Sequence[tuple[str, float]], changed: int) -> Portability:
    return Portability(
        images=8,
        layers_checked=3,
        layers_exempt=0,
        layers_able=tuple(able),
        saturating_layers=tuple(layers),
        top1_changed=changed,
    )


@pytest.mark.parametrize(
    ("found", "words"),
    [
        (_portable([], [], 0), "no 8-bit sum can saturate: x86 CPUs with and without VNNI answer alike"),
        (_portable(["a"], [], 0), "sums could saturate on x86 CPUs without VNNI; on 8 images none did"),
        (
            _portable(["a", "c"], [("a", 0.1), ("c", 2.0)], 3),
            "not to x86 CPUs without VNNI (for those: --cpu x86): sums of 2 layers saturate there, and 3",
        ),
        (PortabilityUnknown("no rule."), "not known whether x86 CPUs without VNNI answer alike: no rule."),
    ],
)
def test_portability_is_told(
    found: Portability | PortabilityUnknown, words: str, case: Case, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pipeline, "check_portability", lambda *_: found)
    arguments = ("--calib", case.calib, "--recipe", "minmax", "--max-drop", "100", "--cpu", "vnni")
    result = quantize(case.model, *arguments)
    assert result.exit_code == 0, result.output
    assert f"Portable  {words}" in result.stdout


def test_reduced_weights_are_portable(case: Case) -> None:
    arguments = ("--calib", case.calib, "--recipe", "minmax", "--max-drop", "100", "--cpu", "x86")
    assert "no 8-bit sum can saturate" in quantize(case.model, *arguments).stdout
