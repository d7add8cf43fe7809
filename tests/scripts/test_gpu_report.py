"""The report of a GPU machine, with engines of the CPU standing in, and the hook that forbids skipping."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from edgecnn.engines import EngineInfo
from edgecnn.environment import Environment
from edgecnn.nvml import GpuCondition
from edgecnn.reports.result import Accuracy, LatencyMs, Result, StagesMs, Variant
from edgecnn.spec import Parity

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]

GOOD = Parity(images=32, max_abs=0.01, max_rel=2e-4, sqnr_db=70.0, top1_agreement=100.0)


@pytest.fixture(scope="module")
def script() -> Iterator[ModuleType]:
    """scripts/gpu_report.py, which is in no package; it imports its neighbour, as a script may."""
    sys.path.insert(0, str(ROOT / "scripts"))
    found = importlib.util.spec_from_file_location("gpu_report", ROOT / "scripts" / "gpu_report.py")
    assert found is not None
    assert found.loader is not None
    module = importlib.util.module_from_spec(found)
    sys.modules[module.__name__] = module  # dataclasses look themselves up
    found.loader.exec_module(module)
    yield module
    sys.path.remove(str(ROOT / "scripts"))
    for name in (module.__name__, "gpu_page"):
        del sys.modules[name]


def result(precision: Any, batch: int | None, **measured: Any) -> Result:
    variant = Variant(
        network="tiny",
        artifact="m.onnx",
        sha256="0",
        precision=precision,
        artifact_precision=precision,
        engine="trt",
        batch=batch,
    )
    return Result(variant=variant, **measured)


def found(script: ModuleType, **changes: Any) -> Any:
    settings = script.Settings(
        network="tiny",
        weights="random",
        data="images",
        limit=None,
        engines=("trt",),
        batches=(1, 8),
        duration_s=1.0,
        builds=3,
        tests=None,
    )
    facts = {
        "settings": settings,
        "infos": (EngineInfo(name="trt", version="11.4", device="NVIDIA H200", threads=1, precision="fp32"),),
        "unavailable": {"trt-rtx": "It does not know this GPU."},
        "environment": Environment(
            cpu="CPU",
            cores=16,
            gpu="NVIDIA H200",
            driver="580",
            versions={},
            started="now",
            os="Linux",
            python="3",
        ),
        "parity": {("trt", "fp32"): GOOD, ("trt", "fp16"): GOOD},
        "speed": (
            result(
                "fp32",
                8,
                latency_ms=LatencyMs(p50=2.0, p99=3.0),
                stages_ms=StagesMs(copy=0.05, run=0.2),
                throughput_per_s=4000.0,
                gpu=GpuCondition(name="NVIDIA H200", temperature_c=45),
            ),
        ),
        "accuracy": (
            result("fp32", None, accuracy=Accuracy(n=100, top1=71.0, top1_ci95=(60, 80), agreement=99.9)),
        ),
        "builds": tuple(
            script.Build(engine="trt", precision="fp32", number=at, p50_ms=2.0 + 0.1 * at, top1=71.0)
            for at in range(3)
        ),
    }
    return script.Found(**facts | changes)


def test_the_page(script: ModuleType) -> None:
    text = script.page(found(script))
    assert text.startswith("# tiny on NVIDIA H200, 20")
    for line in (
        "- trt: 11.4 on NVIDIA H200",
        "- trt-rtx: not measured. It does not know this GPU.",
        "- under load, at its hottest: NVIDIA H200: 45 °C",
        "| trt | fp32 | 2.0e-04 | 70 | 100.00 |",
        "All as it should be.",
        "| trt | fp32 | 100 | 71.00 | 99.90 |",
        "| trt | fp32 | 8 | 2.000 | 3.000 | 0.400 | 1.600 | 4000 |",
        "| trt | fp32 | 3 | 2.000 to 2.200 (spread 10.0 %) | 71.00 to 71.00 (spread 0.0 %) |",
    ):
        assert line in text.splitlines()


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"parity": {("trt", "fp32"): "Out of memory."}}, "trt in fp32 fails: Out of memory."),
        (
            {
                "parity": {
                    ("trt", "fp32"): Parity(images=1, max_abs=1, max_rel=2e-3, sqnr_db=9, top1_agreement=100)
                }
            },
            "differs from PyTorch by 2.0e-03",
        ),
        (
            {
                "parity": {
                    ("trt", "fp16"): Parity(images=1, max_abs=1, max_rel=2e-3, sqnr_db=9, top1_agreement=99)
                }
            },
            "trt in fp16 agrees with PyTorch on 99.00 %",
        ),
        (
            {
                "accuracy": (
                    result("fp16", None, accuracy=Accuracy(n=9, top1=7, top1_ci95=(0, 9), agreement=99)),
                )
            },
            "trt fp16 on labelled images: it agrees with PyTorch on 99.00 %",
        ),
        ({"speed": (result("fp32", 8, error="It broke."),)}, "trt fp32, batch 8: It broke."),
    ],
)
def test_what_is_wrong_is_told(script: ModuleType, changes: dict[str, Any], problem: str) -> None:
    facts = found(script, **changes)
    (told,) = script.failures(facts)
    assert problem in told
    assert f"- **{told}**" in script.page(facts)


def test_without_data_the_page_says_so(script: ModuleType) -> None:
    text = script.page(found(script, accuracy=(), builds=()))
    assert "Not measured: no data" in text
    assert "Repeatability" not in text


def test_the_counts_of_the_gpu_tests(script: ModuleType, tmp_path: Path) -> None:
    file = tmp_path / "junit.xml"
    file.write_text('<testsuites><testsuite tests="9" failures="1" errors="0" skipped="2"/></testsuites>')
    assert sys.modules["gpu_page"]._tests(file) == "9 tests, 1 failures, 0 errors, 2 skipped"


def test_where_no_engine_opens_there_is_one_sentence(
    script: ModuleType, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(script, "opening", lambda names: ((), {"trt": "There is no NVIDIA driver."}))
    assert script.main(["--engines", "trt"]) == 1
    assert capsys.readouterr().err == "No engine opens here: There is no NVIDIA driver.\n"


@pytest.mark.slow
def test_a_whole_report_with_engines_of_the_cpu(
    script: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("EDGECNN_DATA", raising=False)
    output = tmp_path / "report.md"
    words = [
        "--engines",
        "ort",
        "--network",
        "lenet5",
        "--batch",
        "1,2",
        "--duration",
        "0.1",
        "--builds",
        "1",
    ]
    script.main([*words, "-o", str(output)])
    lines = output.read_text().splitlines()
    assert "- ort: " in "\n".join(lines)
    assert sum(line.startswith(("| ort | fp32 | 1 |", "| ort | fp16 | 2 |")) for line in lines) >= 2


@pytest.mark.parametrize(("wanted", "outcome"), [("", "1 skipped"), ("1", "1 failed")])
def test_a_gpu_test_may_not_be_skipped_where_there_must_be_a_gpu(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, wanted: str, outcome: str
) -> None:
    (tmp_path / "conftest.py").write_text((ROOT / "tests" / "conftest.py").read_text())
    (tmp_path / "test_it.py").write_text(
        "import pytest\n\n@pytest.mark.gpu\ndef test_it():\n    pytest.skip('no GPU')\n"
    )
    (tmp_path / "pytest.ini").write_text("[pytest]\nmarkers =\n    gpu: needs one\n")
    monkeypatch.setenv("EDGECNN_REQUIRE_GPU", wanted)
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, check=False)
    assert outcome in done.stdout
    if wanted:
        assert "EDGECNN_REQUIRE_GPU=1, and this was skipped: Skipped: no GPU" in done.stdout
