"""The walls of the building: who may import what. DESIGN in the README's code map says why."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1] / "edgecnn"

#: From the ground up: a part imports itself and parts that stand earlier in this list.
LAYERS = (
    ("errors",),
    ("atomic", "cache", "cuda_driver", "lookup", "nvml", "statistics", "environment", "versioned"),
    ("timing",),
    ("spec",),
    ("cards",),
    ("artifact", "preprocess", "checkpoint", "serving_config"),
    ("graph", "data", "architectures"),
    ("foreign", "weights"),
    ("profile", "plans"),
    ("engines",),
    ("train", "export", "reports"),
    ("validate",),
    ("bench",),
    ("quantize",),
    ("compare",),
    ("serving", "client"),
    ("loadtest",),
    ("commands",),
    ("cli",),
    ("__main__",),
)

#: package -> the parts that may import it.
OWNERS = {
    "torch": {
        "weights",
        "checkpoint",
        "architectures",
        "profile",
        "train",
        "export",
        "engines/torch",
        "data/cifar",
    },
    "torchvision": {"weights", "train", "data/cifar"},
    "timm": {"weights", "data/labels"},
    "onnxruntime": {"engines/ort", "engines/ort_cuda", "engines/ort_session", "quantize"},
    "onnxconverter_common": {"graph/half"},
    "nncf": {"quantize/nncf"},
    "onnx": {
        *(
            "artifact",
            "graph",
            "export",
            "engines",
            "foreign",
            "plans/prepare",
            "quantize",
            "loadtest/tiny_model",
        )
    },
    "tensorrt": {"plans/flavour"},
    "tensorrt_rtx": {"plans/flavour"},
    "cuda": {"engines"},
    "openvino": {"engines"},
    "click": {"cli", "commands"},
    "rich": {"commands", "quantize/nncf"},
    "sklearn": {"data/digits"},
    "matplotlib": {"train", "reports"},
    "jinja2": {"reports"},
    "markupsafe": {"reports"},
    "mlperf_loadgen": {"timing"},
    "grpc": {"serving"},
    "httptools": {"serving", "loadtest"},
    "prometheus_client": {"serving/metrics"},
    "python_multipart": {"serving/http/multipart"},
    "uvloop": {"commands/serve", "commands/load", "loadtest"},
    "httpx": {"client"},
}


def _modules() -> Iterator[tuple[str, Path]]:
    for path in sorted(ROOT.rglob("*.py")):
        relative = path.relative_to(ROOT)
        if relative.name != "__init__.py" or len(relative.parts) > 1:
            yield str(relative.with_suffix("")).removesuffix("/__init__"), path


def _imports(path: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            assert node.module is not None
            yield node.module
            if node.module == "edgecnn":
                yield from (f"edgecnn.{alias.name}" for alias in node.names)


def _layer(part: str) -> int:
    for height, names in enumerate(LAYERS):
        if part in names:
            return height
    raise AssertionError(f"{part} is in no layer: add it to LAYERS where it belongs")


@pytest.mark.parametrize(("name", "path"), list(_modules()), ids=str)
def test_imports_point_downward(name: str, path: Path) -> None:
    part = name.split("/", maxsplit=1)[0]
    for imported in _imports(path):
        package, _, rest = imported.partition(".")
        if package != "edgecnn" or not rest or rest == "__version__":
            continue
        target = rest.split(".", maxsplit=1)[0]
        if target == part:
            continue
        assert _layer(target) < _layer(part), (
            f"edgecnn.{name} imports edgecnn.{target}, which lies above or beside it"
        )


@pytest.mark.parametrize(("name", "path"), list(_modules()), ids=str)
def test_heavy_packages_stay_with_their_owners(name: str, path: Path) -> None:
    part = name.split("/", maxsplit=1)[0]
    for imported in _imports(path):
        owners = OWNERS.get(imported.split(".", maxsplit=1)[0])
        assert owners is None or part in owners or name in owners, (
            f"edgecnn.{name} must not import {imported}"
        )


def test_models_and_serve_are_data() -> None:
    for folder in ("models", "serve"):
        assert not list((ROOT.parent / folder).rglob("__init__.py"))


HEAVY = ("torch", "torchvision", "onnx", "onnxruntime", "tensorrt", "openvino", "numpy", "matplotlib", "rich")


@pytest.mark.parametrize("arguments", [["--help"], ["--version"]])
def test_help_imports_nothing_heavy(arguments: list[str]) -> None:
    script = (
        "import sys\n"
        "from edgecnn.cli import main\n"
        f"main({arguments!r}, standalone_mode=False)\n"
        f"print('heavy:', [name for name in {HEAVY!r} if name in sys.modules])\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "heavy: []"
