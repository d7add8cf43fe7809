"""``edgecnn build`` at the command line."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest
from click.testing import CliRunner, Result

from edgecnn.artifact import Artifact
from edgecnn.cli import main
from edgecnn.errors import EngineUnavailableError
from edgecnn.plans import flavour, here, read_plan
from edgecnn.plans.spec import Batches
from tests.plans.conftest import GPU, fake_tensorrt, tiny

pytestmark = pytest.mark.slow

__all__ = ["fake_tensorrt", "tiny"]

Install = Callable[..., ModuleType]


@pytest.fixture
def build(
    tiny: Artifact, fake_tensorrt: Install, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> Callable[..., Result]:
    """Runs the command on the tiny model in an empty folder, with a TensorRT that does what is said."""
    folder = tmp_path / "work"
    folder.mkdir()
    monkeypatch.chdir(folder)

    def run(*arguments: str, wrong: str = "") -> Result:
        fake_tensorrt(wrong)
        return CliRunner().invoke(main, ["build", str(tiny.path), *arguments])

    return run


def files(folder: Path = Path()) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_a_table_and_two_files(build: Callable[..., Result]) -> None:
    result = build()
    assert result.exit_code == 0, result.output
    assert files() == ["tiny.fp32.plan", "tiny.fp32.plan.json"]
    assert "Building with TensorRT (--engine trt)." in result.stderr
    for words in ("tiny.fp32.plan", "fp32", "2 fp32", "1..32, best at 8", "10.13.3.9", GPU.name):
        assert words in result.stdout


def test_quiet_says_the_result_alone(build: Callable[..., Result]) -> None:
    result = build("-q")
    assert result.exit_code == 0
    assert result.stderr == ""
    assert "tiny.fp32.plan" in result.stdout


def test_verbose_tells_phases_and_warnings(build: Callable[..., Result]) -> None:
    result = build("-v")
    assert "Building engine (2 steps)" in result.stderr
    assert "TensorRT: a warning" in result.stderr


def test_json_is_the_spec(build: Callable[..., Result]) -> None:
    result = build("--json", "--precision", "fp16", "--batch", "1,4,16", "-o", "out/x.plan")
    assert result.exit_code == 0, result.output
    told = json.loads(result.stdout)
    assert (told["plan"], told["reused"]) == ("out/x.plan", False)
    plan = read_plan(Path("out/x.plan"))
    assert told["spec"]["plan_sha256"] == plan.spec.plan_sha256
    assert plan.spec.batches == Batches(min=1, opt=4, max=16)
    assert plan.spec.precision == "fp16"


def test_options_reach_the_plan(build: Callable[..., Result]) -> None:
    result = build(
        *(
            "--workspace-mb",
            "64",
            "--version-compatible",
            "--hardware",
            "ampere+",
            "--timing-cache",
            "t.cache",
        ),
        "-q",
    )
    assert result.exit_code == 0, result.output
    spec = read_plan(Path("tiny.fp32.plan")).spec
    assert (spec.version_compatible, spec.hardware) == (True, "ampere+")
    assert "Ampere and later" in result.stdout
    assert Path("t.cache").is_file()


def test_the_same_plan_is_not_built_twice(build: Callable[..., Result]) -> None:
    assert build().exit_code == 0
    again = build("--json")
    assert json.loads(again.stdout)["reused"]
    assert "is this plan already" in again.stderr
    assert not json.loads(build("--json", "--force").stdout)["reused"]
    assert not json.loads(build("--json", "--batch", "2").stdout)["reused"]


WRONGS = {
    "no-gpu": "finds no GPU to build on",
    "refuse": "node 'layer1/Thing' (Thing): no importer registered for op: Thing",
    "crash": "crashed while it built",
    "fp32": "is not in fp16, as it should be",
    "memory": "ran out of memory",
}


@pytest.mark.parametrize("wrong", WRONGS)
def test_what_goes_wrong_is_said_and_leaves_nothing(wrong: str, build: Callable[..., Result]) -> None:
    result = build("--precision", "fp16", wrong=wrong)
    assert result.exit_code == 1
    assert WRONGS[wrong] in result.stderr
    assert "Traceback" not in result.output
    assert result.stdout == ""
    assert files() == []


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["-o", "x.engine"], "does not end in .plan"),
        (["--batch", "0"], "no list of whole numbers"),
        (["--precision", "int4"], "'int4' is not one of"),
        (["--workspace-mb", "0"], "0 is not in the range"),
    ],
)
def test_wrong_usage(arguments: list[str], words: str, build: Callable[..., Result]) -> None:
    result = build(*arguments)
    assert result.exit_code == 2
    assert words in result.stderr


def test_int8_names_the_command_that_makes_it(build: Callable[..., Result], tiny: Artifact) -> None:
    result = build("--precision", "int8")
    assert result.exit_code == 1
    assert f"edgecnn quantize {tiny.path} --target trt" in result.stderr


def test_a_place_that_cannot_be_written_is_said_before_the_work(build: Callable[..., Result]) -> None:
    Path("x.plan").mkdir()
    result = build("-o", "x.plan", wrong="sleep")
    assert result.exit_code == 1
    assert "it is a folder" in result.stderr


def test_a_plan_is_shown(build: Callable[..., Result]) -> None:
    assert build().exit_code == 0
    shown = CliRunner().invoke(main, ["inspect", "tiny.fp32.plan"])
    assert shown.exit_code == 0, shown.output
    for words in (
        "TensorRT plan, trt 10.13.3.9",
        "NVIDIA Test 1 (compute capability 9.0)",
        "2 fp32 (from inspector)",
    ):
        assert words in shown.stdout
    document = json.loads(CliRunner().invoke(main, ["inspect", "tiny.fp32.plan", "--json"]).stdout)
    assert document["plan"]["flavour"] == "trt"


def test_no_tensorrt_comes_before_the_model(tiny: Artifact, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(flavour, "is_installed", lambda _: False)
    result = CliRunner().invoke(main, ["build", "mobilenet_v2", "--weights", "random"])
    assert result.exit_code == 1
    assert "pip install 'edgecnn[trt]'" in result.stderr


def test_no_gpu_comes_before_the_model(fake_tensorrt: Install, monkeypatch: pytest.MonkeyPatch) -> None:
    fake_tensorrt()

    def none() -> None:
        raise EngineUnavailableError("There is no NVIDIA GPU that works here.", "Install the driver.")

    monkeypatch.setattr(here, "cuda_gpus", none)
    result = CliRunner().invoke(main, ["build", "mobilenet_v2", "--weights", "random"])
    assert result.exit_code == 1
    assert "There is no NVIDIA GPU that works here.\nInstall the driver." in result.stderr


def test_help_imports_nothing_heavy() -> None:
    script = (
        "import sys\nfrom edgecnn.cli import main\nmain(['build', '--help'], standalone_mode=False)\n"
        "heavy = ('torch', 'tensorrt', 'tensorrt_rtx', 'onnxruntime', 'cuda')\n"
        "print([name for name in heavy if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]"
