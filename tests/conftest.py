"""Fixtures that every test may use."""

from __future__ import annotations

import os
from collections.abc import Callable, Generator, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import onnx
import pytest
from hypothesis import settings
from numpy.typing import NDArray
from onnx import helper, numpy_helper, parser

if TYPE_CHECKING:
    from selenium.webdriver import Chrome

    from tests.browser import Browser

# An example that takes long on a busy machine is no failure.
settings.register_profile("busy machine", deadline=None)
settings.load_profile("busy machine")

GraphOf = Callable[..., onnx.ModelProto]

#: scripts/test-gpu sets it: a test marked ``gpu`` that is skipped has then failed.
REQUIRE_GPU = "EDGECNN_REQUIRE_GPU"


#: scripts/test-gpu sets it, too: engines whose tests on a GPU are wanted, "ort-cuda,trt".
GPU_ENGINES = "EDGECNN_GPU_ENGINES"


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out the tests on a GPU of engines that are not wanted."""
    wanted = os.environ.get(GPU_ENGINES)
    if wanted is None:
        return
    left_out = [item for item in items if not {_gpu_engine(item)} <= {None, *wanted.split(",")}]
    config.hook.pytest_deselected(items=left_out)
    items[:] = [item for item in items if item not in left_out]


def _gpu_engine(item: pytest.Item) -> str | None:
    """The engine that a test on a GPU is about; None for other tests."""
    if item.get_closest_marker("gpu") is None or not isinstance(item, pytest.Function):
        return None
    parameters: dict[str, object] = item.callspec.params if hasattr(item, "callspec") else {}
    name = parameters.get("name")
    return name.partition(":")[0] if isinstance(name, str) else None


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Let no test of a GPU pass by being skipped where one has to be there."""
    report = yield
    wanted = os.environ.get(REQUIRE_GPU) == "1" and item.get_closest_marker("gpu") is not None
    if wanted and report.skipped and not hasattr(report, "wasxfail"):
        reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else report.longrepr
        report.outcome = "failed"
        report.longrepr = f"{REQUIRE_GPU}=1, and this was skipped: {reason}"
    return report


@pytest.fixture(scope="session")
def real_data() -> Path:
    """The folder of real weights and labelled images that EDGECNN_DATA names."""
    folder = os.environ.get("EDGECNN_DATA")
    if not folder:
        pytest.skip("EDGECNN_DATA names no folder of real weights and images")
    path = Path(folder).resolve()
    assert path.is_dir(), f"EDGECNN_DATA={folder} is no folder"
    return path


@pytest.fixture(scope="session")
def graph_of() -> GraphOf:
    """A model from ``x`` to ``y`` of nodes in ONNX's textual form; each is named after its result."""

    def build(
        nodes: str, constants: Mapping[str, NDArray[Any]], image: str = "3,8,8", opset: int = 18
    ) -> onnx.ModelProto:
        graph = parser.parse_graph(f"test (float[batch,{image}] x) => (float[] y) {{ {nodes} }}")
        graph.output[0].type.tensor_type.ClearField("shape")
        for node in graph.node:
            node.name = node.output[0]
        for name, value in constants.items():
            graph.initializer.append(numpy_helper.from_array(np.asarray(value), name))
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8)
        inferred = onnx.shape_inference.infer_shapes(model, strict_mode=True)
        model.graph.output[0].CopyFrom(inferred.graph.output[0])
        onnx.checker.check_model(model)
        return model

    return build


@pytest.fixture(scope="session")
def started_chromium() -> Iterator[Chrome]:
    """One browser for all tests; skips those where there is none."""
    from tests.browser import chromium  # here: a copy of this file is tried out without its neighbours

    with chromium() as started:
        yield started


@pytest.fixture
def browser(started_chromium: Chrome) -> Iterator[Browser]:
    """The browser, with nothing of a former test in it."""
    from tests.browser import Browser

    yield Browser(started_chromium)
    started_chromium.get("about:blank")
