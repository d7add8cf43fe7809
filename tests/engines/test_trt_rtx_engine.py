"""The engine ``trt-rtx`` with NVIDIA's own package, on a machine without a GPU."""

from __future__ import annotations

import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

from edgecnn.artifact import Artifact, open_artifact
from edgecnn.cuda_driver import Gpu, cuda_gpus
from edgecnn.engines import EngineOptions, open_engine
from edgecnn.engines.plan_source import open_plan
from edgecnn.errors import ArtifactError, EngineError, EngineUnavailableError
from edgecnn.plans.build import build_plan
from edgecnn.plans.flavour import TRT, TRT_RTX, load
from edgecnn.plans.options import BuildOptions

pytestmark = [
    pytest.mark.tensorrt,
    pytest.mark.skipif(find_spec("tensorrt_rtx") is None, reason="tensorrt-rtx is not installed"),
]


@pytest.fixture(scope="module")
def plan(dynamic: Artifact, tmp_path_factory: pytest.TempPathFactory) -> Artifact:
    """Of CIFAR's ResNet-20, built ahead of time."""
    try:
        cuda_gpus()
    except EngineUnavailableError:
        path = tmp_path_factory.mktemp("plans") / "net.plan"
        return build_plan(dynamic, BuildOptions(flavour=TRT_RTX), path).artifact
    pytest.skip("this machine has a GPU, and scripts/test-gpu has its tests")


@pytest.mark.parametrize("of", ["plan", "model"])
def test_without_a_driver_it_says_so_and_what_to_do(of: str, plan: Artifact, dynamic: Artifact) -> None:
    with pytest.raises(EngineUnavailableError, match=r"libcuda\.so\.1 is not installed") as caught:
        open_engine("trt-rtx", plan if of == "plan" else dynamic)
    assert "Install NVIDIA's driver" in caught.value.remedy


def test_tensorrt_itself_refuses_without_a_crash(plan: Artifact) -> None:
    """What is seen where the driver's library is there and does not work."""
    with pytest.raises(EngineError, match="cudaError 35: CUDA driver version is insufficient") as caught:
        open_plan(load(TRT_RTX), TRT_RTX, plan, EngineOptions(), Gpu("NVIDIA RTX", "8.9"))
    assert "checkMacros" not in caught.value.problem
    assert "edgecnn build MODEL.onnx --engine trt-rtx" in caught.value.remedy


def test_a_plan_of_the_other_package(plan: Artifact) -> None:
    with pytest.raises(EngineUnavailableError, match="TensorRT for RTX, and TensorRT would open it"):
        open_plan(load(TRT_RTX), TRT, plan, EngineOptions(), Gpu("NVIDIA H200", "9.0"))


@pytest.mark.parametrize("size", [0, 100, -1], ids=["empty", "short", "a byte less"])
def test_a_plan_that_is_cut_short(plan: Artifact, tmp_path: Path, size: int) -> None:
    path = tmp_path / plan.path.name
    for file in plan.files():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    path.write_bytes(path.read_bytes()[:size])
    with pytest.raises(ArtifactError, match="cut short"):
        open_artifact(path)


@pytest.mark.parametrize("engine", ["ort", "openvino", "torch"])
def test_other_engines_run_no_plans(plan: Artifact, engine: str) -> None:
    with pytest.raises(EngineError, match=f"is a TensorRT plan, and the engine '{engine}' runs no") as caught:
        open_engine(engine, plan)
    assert "--engine trt-rtx" in caught.value.remedy


def test_the_package_is_imported_only_by_whom_needs_it(dynamic: Artifact) -> None:
    script = (
        "import sys; from pathlib import Path; from edgecnn.engines import engine_type, open_engine;"
        "from edgecnn.artifact import open_artifact;"
        "engine_type('trt'); engine_type('trt-rtx');"
        f"open_engine('ort', open_artifact(Path({str(dynamic.path)!r})));"
        "print(*(name for name in sys.modules if name.startswith(('tensorrt', 'cuda'))))"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == ""


def test_the_package_has_every_name_that_the_engine_uses() -> None:
    trt = load(TRT_RTX)
    used = {
        trt.Runtime: ("deserialize_cuda_engine", "engine_host_code_allowed"),
        trt.ICudaEngine: (
            *("num_io_tensors", "get_tensor_name", "get_tensor_dtype", "get_tensor_shape"),
            *("get_tensor_profile_shape", "device_memory_size_v2", "create_execution_context"),
            *("create_engine_inspector", "create_runtime_config"),
        ),
        trt.IExecutionContext: (
            *("set_device_memory", "set_tensor_address", "set_input_shape", "execute_async_v3"),
        ),
        trt.EngineInspector: ("get_engine_information",),
        trt.IRuntimeConfig: ("cuda_graph_strategy",),
        trt.ExecutionContextAllocationStrategy: ("USER_MANAGED",),
        trt.LayerInformationFormat: ("JSON",),
        trt.CudaGraphStrategy: ("DISABLED", "WHOLE_GRAPH_CAPTURE"),
        trt.DataType: ("FLOAT", "HALF", "UINT8", "INT8", "INT32"),
    }
    missing = [
        (kind.__name__, name) for kind, names in used.items() for name in names if not hasattr(kind, name)
    ]
    assert not missing
