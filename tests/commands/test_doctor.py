"""``edgecnn doctor``."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace
from typing import Any

import pytest
from click.testing import CliRunner, Result

from edgecnn.cli import main
from edgecnn.commands import doctor
from edgecnn.engines import EngineInfo
from edgecnn.engines.gpu_software import GpuSoftware
from edgecnn.engines.survey import EngineStatus
from edgecnn.environment import Environment, describe_environment

INFO = EngineInfo(
    name="ort",
    version="1.31.1",
    device="cpu",
    threads=6,
    precision="fp32",
    providers=("CPUExecutionProvider",),
)
OPEN = EngineStatus(name="ort", opens=True, info=INFO)
SHUT = EngineStatus(name="torch", opens=False, problem="There is no torch.", remedy="pip install it")


def run(
    monkeypatch: pytest.MonkeyPatch, *arguments: str, engines: tuple[EngineStatus, ...], **facts: Any
) -> Result:
    """The command on a machine of which ``engines`` and ``facts`` hold."""
    machine = replace(describe_environment(), **facts)
    monkeypatch.setattr(doctor, "describe_environment", lambda: machine)
    monkeypatch.setattr(doctor, "survey", lambda: engines)
    return CliRunner().invoke(main, ["doctor", *arguments])


def test_it_tells_what_opens_and_why_the_rest_does_not(monkeypatch: pytest.MonkeyPatch) -> None:
    result = run(monkeypatch, engines=(OPEN, SHUT), cpu="Fast CPU 3000", cores=6, memory_bytes=3 << 30)
    assert result.exit_code == 0
    assert "Fast CPU 3000, 6 cores usable" in result.stdout
    assert "3.0 GiB" in result.stdout
    row = next(line for line in result.stdout.splitlines() if "│ ort" in line)
    assert row.replace("│", " ").split() == ["ort", "yes", "1.31.1", "cpu", "6", "CPUExecutionProvider"]
    assert "torch: There is no torch.\npip install it" in result.stdout
    assert result.stderr == ""


def test_exit_code_1_when_nothing_opens(monkeypatch: pytest.MonkeyPatch) -> None:
    assert run(monkeypatch, engines=(SHUT,)).exit_code == 1
    result = run(monkeypatch, "--json", engines=(SHUT,))
    assert result.exit_code == 1
    assert json.loads(result.stdout)["engines"][0]["problem"] == "There is no torch."


def test_two_builds_of_onnx_runtime_get_a_warning(monkeypatch: pytest.MonkeyPatch) -> None:
    versions = {"onnxruntime": "1.31.1", "onnxruntime-gpu": "1.31.1"}
    result = run(monkeypatch, "--quiet", engines=(OPEN,), versions=versions)
    assert result.exit_code == 0
    assert result.stderr.startswith("Warning: onnxruntime 1.31.1 and onnxruntime-gpu 1.31.1 are both")
    warnings = json.loads(run(monkeypatch, "--json", engines=(OPEN,), versions=versions).stdout)["warnings"]
    assert "pip uninstall -y onnxruntime onnxruntime-gpu" in warnings[0]


@pytest.mark.parametrize(
    ("facts", "line"),
    [
        ({"gpu": "NVIDIA H200", "driver": "580.159"}, "gpu NVIDIA H200 (driver 580.159)"),
        ({"gpu": None, "gpu_problem": "nvidia-smi failed: no driver"}, "gpu nvidia-smi failed: no driver"),
        ({"gpu": None, "gpu_problem": None}, "gpu no NVIDIA GPU found"),
        ({"instruction_sets": None}, "instruction sets not known"),
        ({"instruction_sets": ()}, "instruction sets none of those that matter"),
        ({"instruction_sets": ("avx2", "amx_int8")}, "instruction sets avx2 amx_int8"),
        ({"memory_bytes": None}, "memory not known"),
    ],
)
def test_facts_of_the_machine(monkeypatch: pytest.MonkeyPatch, facts: dict[str, Any], line: str) -> None:
    lines = run(monkeypatch, engines=(OPEN,), **facts).stdout.splitlines()
    assert line in [" ".join(words.split()) for words in lines]


def test_json_holds_the_environment_and_every_engine() -> None:
    result = CliRunner().invoke(main, ["doctor", "--json"])
    document = json.loads(result.stdout)
    assert document["environment"].keys() == set(Environment.__slots__)
    engines = {engine["name"]: engine for engine in document["engines"]}
    assert engines["ort"]["info"]["providers"] == ["CPUExecutionProvider"]
    assert engines["torch"]["info"]["version"].startswith(document["environment"]["versions"]["torch"])
    assert result.exit_code == 0


@pytest.mark.slow
def test_no_library_is_loaded_but_the_engines_own() -> None:
    script = "import sys, edgecnn.cli as c; c.main(['doctor'], standalone_mode=False); print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    loaded = set(done.stdout.splitlines()[-1].split())
    assert {"torch", "onnxruntime"} <= loaded
    assert not {"torchvision", "timm", "sklearn", "matplotlib", "torch._inductor.compile_fx"} & loaded


def test_the_layers_of_gpu_software(monkeypatch: pytest.MonkeyPatch) -> None:
    software = GpuSoftware(driver="13.0", tensorrt="11.4.0 (tensorrt-cu13)")
    monkeypatch.setattr(doctor, "find_gpu_software", lambda: software)
    lines = [" ".join(line.split()) for line in run(monkeypatch, engines=(OPEN,)).stdout.splitlines()]
    assert "driver knows CUDA 13.0" in lines
    assert "tensorrt 11.4.0 (tensorrt-cu13)" in lines
    assert "cudnn not found" in lines
    document = json.loads(run(monkeypatch, "--json", engines=(OPEN,)).stdout)
    assert document["gpu_software"]["tensorrt"] == "11.4.0 (tensorrt-cu13)"
    assert document["gpu_software"]["cudnn"] is None
