"""Every name of TensorRT that building uses is in all versions from 10.3 to 11.4, and in TensorRT for RTX."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.plans.tensorrt_calls import BUILDING, used_names

#: Version -> class -> its members, in one string; made from the bindings of each.
NAMES: dict[str, dict[str, str]] = json.loads(
    Path(__file__).with_name("tensorrt_names.json").read_text(encoding="utf-8")
)

USED = sorted({use for path in BUILDING for use in used_names(path)})

#: Distribution, version, and the number in its libraries' names.
BINDINGS = (
    ("tensorrt-cu12-bindings", "10.3.0", 10),
    ("tensorrt-cu12-bindings", "10.7.0", 10),
    ("tensorrt-cu13-bindings", "10.13.3.9", 10),
    ("tensorrt-cu13-bindings", "10.16.1.11", 10),
    ("tensorrt-cu13-bindings", "11.4.0.106", 11),
)
_LIBRARIES = ("nvinfer", "nvinfer_plugin", "nvonnxparser")

#: What the bindings want of their libraries when they are imported.
_ENTRIES = (
    *("createInferBuilder_INTERNAL", "createInferRefitter_INTERNAL", "createInferRuntime_INTERNAL"),
    *("createNvOnnxParserRefitter_INTERNAL", "createNvOnnxParser_INTERNAL", "getBuilderPluginRegistry"),
    *("getPluginRegistry", "initLibNvInferPlugins", "getNvOnnxParserVersion", "getInferLibVersion"),
)


def test_the_source_is_read() -> None:
    """A sample, so that an empty list passes for nothing."""
    assert ("IBuilderConfig", "progress_monitor") in USED
    assert ("BuilderFlag", "TF32") in USED
    assert ("IProgressMonitor", "step_complete") in USED
    assert ("ParserError", "node_operator") in USED
    assert len(USED) > 40


@pytest.mark.parametrize("version", NAMES)
def test_every_name_is_in(version: str) -> None:
    known = NAMES[version]
    missing = [f"{kind}.{name}" for kind, name in USED if name not in (*known.get(kind, "-").split(), "")]
    assert missing == []
    assert [kind for kind, _ in USED if kind not in known] == []
    assert "AMPERE_PLUS" in known["HardwareCompatibilityLevel"].split()


@pytest.mark.slow
@pytest.mark.tensorrt
@pytest.mark.skipif(os.name != "posix" or shutil.which("gcc") is None, reason="needs gcc, for stub libraries")
@pytest.mark.parametrize(("package", "version", "number"), BINDINGS)
def test_the_bindings_themselves_have_every_name(
    package: str, version: str, number: int, tmp_path: Path
) -> None:
    """They import without TensorRT, over libraries of empty functions."""
    _install(package, version, tmp_path)
    source = tmp_path / "stub.c"
    source.write_text("".join(f"void *{name}(void) {{ return 0; }}\n" for name in _ENTRIES))
    for library in _LIBRARIES:
        file = f"lib{library}.so.{number}"
        command = ["gcc", "-shared", "-fPIC", f"-Wl,-soname,{file}", "-o", str(tmp_path / file), str(source)]
        subprocess.run(command, check=True, timeout=60)
    script = (
        f"import tensorrt_bindings as trt\nused = {USED!r}\n"
        "print([use for use in used if not hasattr(trt, use[0])"
        " or use[1] and not hasattr(getattr(trt, use[0]), use[1])], trt.__version__)"
    )
    done = subprocess.run(
        [sys.executable, "-c", script],
        env={**os.environ, "LD_LIBRARY_PATH": str(tmp_path), "PYTHONPATH": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert done.stdout == f"[] {version}\n", done.stderr


def _install(package: str, version: str, folder: Path) -> None:
    """From the registry as it is configured; without it, or for this Python, there is nothing to check."""
    uv = shutil.which("uv") or str(Path(sys.executable).with_name("uv"))
    command = [uv, "pip", "install", "-q", "--no-deps", "--python", sys.executable, "--target", str(folder)]
    try:
        done = subprocess.run(
            [*command, f"{package}=={version}"], capture_output=True, text=True, check=False, timeout=120
        )
    except OSError as error:
        pytest.skip(f"uv is not here: {error}")
    if done.returncode:
        pytest.skip(f"{package} {version} cannot be installed: {done.stderr.splitlines()[-1:]}")
