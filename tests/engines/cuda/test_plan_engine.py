"""The engines ``trt`` and ``trt-rtx`` on a fake TensorRT and a fake CUDA, which keep count."""

from __future__ import annotations

import gc
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgecnn.artifact import Artifact
from edgecnn.cuda_driver import cuda_gpus
from edgecnn.engines import plan_source
from edgecnn.engines.base import Batch, CopyingEngine, EngineOptions, Scores
from edgecnn.engines.fake import pixel_sums
from edgecnn.engines.plan_engine import PlanEngine
from edgecnn.engines.plan_fake import FakePlan, FakeTensorRt
from edgecnn.engines.trt import TrtEngine
from edgecnn.engines.trt_rtx import TrtRtxEngine
from edgecnn.errors import ArtifactError, EngineError, EngineUnavailableError, UsageError
from edgecnn.plans import Plan, read_plan
from edgecnn.plans.options import BuildOptions
from edgecnn.plans.spec import Batches
from edgecnn.spec import ModelSpec

Machine = Callable[..., FakeTensorRt]
MakePlan = Callable[..., Artifact]


def images(count: int, seed: int = 0) -> Batch:
    return np.random.default_rng(seed).normal(size=(count, 1, 4, 4)).astype(np.float32)


def right(batch: Batch) -> Scores:
    return pixel_sums(batch, 3)


def opened(artifact: Artifact, **options: Any) -> TrtEngine:
    return TrtEngine(artifact, EngineOptions(**options))


@pytest.mark.parametrize("graph", [True, False], ids=["graph", "plain"])
def test_answers_at_every_size_in_any_order(machine: Machine, make_plan: MakePlan, graph: bool) -> None:
    machine()
    with opened(make_plan(), graph=graph) as engine:
        for turn, count in enumerate((1, 8, 3, 8, 1, 2, 3, 1)):
            batch = images(count, turn)
            assert np.array_equal(engine.run(batch), right(batch))


def test_what_info_says(machine: Machine, make_plan: MakePlan) -> None:
    machine()
    with opened(make_plan(precision="fp16"), streams=3) as engine:
        info = engine.info
    assert (info.name, info.version, info.device, info.precision) == ("trt", "11.4.0", "Fake GPU", "fp16")
    assert (info.parallel_runs, info.streams, info.threads) == (True, 3, 1)
    assert TrtEngine.check().device == "Fake GPU"


def test_a_graph_is_recorded_once_for_each_size(machine: Machine, make_plan: MakePlan) -> None:
    trt = machine()
    with opened(make_plan()) as engine:
        for count in (2, 5, 2, 5, 2):
            engine.run(images(count))
        assert trt.cuda.calls.count("cudaStreamBeginCapture") == 2
        assert trt.cuda.calls.count("cudaGraphLaunch") == 5
        assert trt.cuda.live["executable"] == 2
        assert trt.cuda.live["graph"] == 0, "what was instantiated is not needed any more"
        assert len(trt.contexts) == 2, "a graph must not share the context that it was captured from"
        assert trt.cuda.live["device"] == 3, "and they share their memory: input, output, activations"


def test_without_graphs_there_is_one_context(machine: Machine, make_plan: MakePlan) -> None:
    trt = machine()
    with opened(make_plan(), graph=False) as engine:
        for count in (2, 5, 2):
            engine.run(images(count))
        assert len(trt.contexts) == 1
    assert "cudaStreamBeginCapture" not in trt.cuda.calls


def test_graphs_that_are_too_many_are_dropped(machine: Machine, make_plan: MakePlan, spec: ModelSpec) -> None:
    trt = machine()
    with opened(make_plan(FakePlan.of(spec, 1, 50))) as engine:
        for count in (*range(1, 51), 1):
            batch = images(count, count)
            assert np.array_equal(engine.run(batch), right(batch))
        gc.collect()
        assert trt.cuda.live["executable"] == len(trt.contexts) == 32


def test_tensorrt_for_rtx_records_graphs_itself(machine: Machine, make_plan: MakePlan) -> None:
    trt = machine(version="1.7.1", name="tensorrt_rtx")
    plan = make_plan(flavour="trt-rtx", tensorrt_version="1.7.1", gpu=None, compute_capability=None)
    for graph, strategy in ((None, "WHOLE_GRAPH_CAPTURE"), (False, "DISABLED")):
        with TrtRtxEngine(plan, EngineOptions(graph=graph)) as engine:
            for count in (3, 1):
                assert np.array_equal(engine.run(images(count)), right(images(count)))
        assert trt.settings[-1].cuda_graph_strategy.name == strategy  # type: ignore[attr-defined]
    assert "cudaStreamBeginCapture" not in trt.cuda.calls


def test_runs_at_the_same_time_have_contexts_of_their_own(machine: Machine, make_plan: MakePlan) -> None:
    inside, together = [], threading.Barrier(3)

    def scores(batch: Batch, classes: int) -> Scores:
        if len(batch) == 4:
            inside.append(threading.get_ident())
            together.wait(timeout=30)  # all three are running, or this breaks
        return pixel_sums(batch, classes)

    trt = machine(scores=scores)
    with opened(make_plan(), streams=3, graph=False) as engine, ThreadPoolExecutor(3) as pool:
        batches = [images(4, seed) for seed in range(3)]
        for batch, found in zip(batches, pool.map(engine.run, batches), strict=True):
            assert np.array_equal(found, right(batch))
        assert len(trt.contexts) == 3
    assert len(set(inside)) == 3


@pytest.mark.parametrize("streams", [1, 2])
def test_more_callers_than_streams_wait_their_turn(
    machine: Machine, make_plan: MakePlan, streams: int
) -> None:
    machine()
    batches = [images(1 + seed % 8, seed) for seed in range(40)]
    with opened(make_plan(), streams=streams) as engine, ThreadPoolExecutor(6) as pool:
        for batch, found in zip(batches, pool.map(engine.run, batches), strict=True):
            assert np.array_equal(found, right(batch))


def test_every_thread_selects_the_gpu(machine: Machine, make_plan: MakePlan) -> None:
    trt = machine()
    with opened(make_plan(), device=1) as engine:
        trt.cuda.select(0)
        engine.run(images(1))
        assert trt.cuda.selected == 1


def test_a_result_belongs_to_the_caller(machine: Machine, make_plan: MakePlan) -> None:
    machine()
    with opened(make_plan()) as engine:
        batch = images(2)
        first = engine.run(batch)
        kept = first.copy()
        batch[:] = 0
        engine.run(images(2, 1))
    assert np.array_equal(first, kept)
    first[:] = 0  # writable, and not in memory that closing has freed


def test_copies_alone(machine: Machine, make_plan: MakePlan) -> None:
    trt = machine()
    with opened(make_plan()) as engine:
        assert isinstance(engine, CopyingEngine)
        engine.run(images(2))
        before = len(trt.cuda.calls)
        engine.copy_only(images(2, 1))
        assert trt.cuda.calls[before:] == [
            *("cudaSetDevice", "cudaMemcpyAsync", "cudaMemcpyAsync", "cudaStreamSynchronize")
        ]
    with pytest.raises(EngineError, match="is closed"):
        engine.copy_only(images(2))


def session(trt: FakeTensorRt, plan: Artifact, graph: bool) -> None:
    """All that an engine does in its life."""
    with opened(plan, streams=2, graph=graph) as engine:
        for count in (1, 3, 1):
            assert np.array_equal(engine.run(images(count)), right(images(count)))
        engine.copy_only(images(2))
        engine.close()
        engine.close()


@pytest.mark.parametrize("graph", [True, False], ids=["graph", "plain"])
def test_whatever_fails_nothing_leaks_and_the_error_is_clear(
    machine: Machine, make_plan: MakePlan, graph: bool
) -> None:
    """Every call of a whole session fails once: its k-th in the k-th session."""
    plan = make_plan()
    trt = machine()
    session(trt, plan, graph)
    total = len(trt.cuda.calls)
    assert total > 20
    contexts = []
    for failing in range(total):
        trt = machine(fail_at=failing)
        with pytest.raises(EngineError) as caught:
            session(trt, plan, graph)
        function = trt.cuda.calls[failing]
        assert caught.value.problem.startswith(f"CUDA failed in {function}: cudaErrorUnknown"), function
        assert caught.value.remedy
        assert not trt.cuda.live, f"{function}, call {failing}, leaves {trt.cuda.live}"
        contexts.append(trt.contexts)
        del caught
    gc.collect()
    assert not any(contexts)


@pytest.mark.parametrize("graph", [True, False], ids=["graph", "plain"])
def test_after_a_failed_run_the_next_is_right(machine: Machine, make_plan: MakePlan, graph: bool) -> None:
    trt = machine()
    with opened(make_plan(), graph=graph) as engine:
        for count in (1, 2, 2):  # a size that is new, and one that is known
            with pytest.raises(EngineError), trt.cuda.failing_at(len(trt.cuda.calls) + 2):
                engine.run(images(count))
            assert np.array_equal(engine.run(images(count, 1)), right(images(count, 1)))


def test_what_cannot_be_recorded_may_run_without_a_graph(machine: Machine, make_plan: MakePlan) -> None:
    trt = machine()
    with opened(make_plan()) as engine:
        begin = len(trt.cuda.calls) + 5  # select, copy, run, copy, wait
        with pytest.raises(EngineError, match="cudaStreamBeginCapture") as caught, trt.cuda.failing_at(begin):
            engine.run(images(2))
    assert "graph=off" in caught.value.remedy


def test_the_first_error_is_not_hidden_by_those_of_closing(machine: Machine, make_plan: MakePlan) -> None:
    trt = machine()

    def fail() -> None:
        with opened(make_plan()):
            trt.cuda.fail_from_now_on()
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError) as caught:
        fail()
    assert "cudaErrorUnknown" in "".join(caught.value.__notes__)


def test_out_of_device_memory(machine: Machine, make_plan: MakePlan, spec: ModelSpec) -> None:
    trt = machine(memory_bytes=3 << 20)
    with pytest.raises(
        EngineError, match=r"Out of memory of the GPU: 64\.0 MiB .* 3\.0 MiB are free"
    ) as caught:
        opened(make_plan(FakePlan.of(spec, 1, 8, activation_bytes=64 << 20)))
    assert "smaller batches" in caught.value.remedy
    assert not trt.cuda.live


@pytest.mark.parametrize(
    ("refusal", "problem"),
    [
        ("runtime", r"does not open .*tiny\.plan: it does not say why"),
        ("plan", r"does not open .*tiny\.plan: Error Code 1: the plan is refused"),
        ("context", r"makes no execution context: Error Code 2: OutOfMemory"),
        ("address", "does not take the memory for input"),
        ("shape", "does not take a batch of 2"),
        ("run", "does not run the model"),
    ],
)
@pytest.mark.parametrize("graph", [True, False], ids=["graph", "plain"])
def test_what_tensorrt_refuses(
    machine: Machine, make_plan: MakePlan, graph: bool, refusal: str, problem: str
) -> None:
    trt = machine(refusals={refusal})
    with pytest.raises(EngineError, match=problem) as caught, opened(make_plan(), graph=graph) as engine:
        engine.run(images(2))
    assert caught.value.remedy
    assert not trt.cuda.live


@pytest.mark.parametrize("count", [0, 9, 64])
def test_a_batch_outside_the_profile(machine: Machine, make_plan: MakePlan, count: int) -> None:
    machine()
    with opened(make_plan()) as engine, pytest.raises(EngineError) as caught:
        engine.run(images(count))
    if count:
        assert f"The batch is {count}" in caught.value.problem
        assert "takes 1 to 8 images" in caught.value.problem
        assert f"edgecnn build MODEL.onnx --batch 1,8,{count}" in caught.value.remedy


def test_a_plan_opened_for_one_batch(machine: Machine, make_plan: MakePlan) -> None:
    machine()
    with opened(make_plan(), batch=4) as engine:
        assert engine.spec.input.shape == (4, 1, 4, 4)
        assert np.array_equal(engine.run(images(4)), right(images(4)))
        with pytest.raises(EngineError, match=r"takes float32\[4, 1, 4, 4\]"):
            engine.run(images(2))
    with pytest.raises(EngineError, match=r"The batch is 16, and the plan of .* takes 1 to 8"):
        opened(make_plan(), batch=16)


def test_a_fixed_plan_has_no_profile(machine: Machine, make_plan: MakePlan, spec: ModelSpec) -> None:
    machine()
    fixed = replace(spec, input=replace(spec.input, shape=(2, 1, 4, 4)))
    with opened(make_plan(FakePlan.of(fixed, 1, 8), model=fixed)) as engine:
        assert np.array_equal(engine.run(images(2)), right(images(2)))


def test_a_plan_that_is_not_what_its_spec_says(
    machine: Machine, make_plan: MakePlan, spec: ModelSpec
) -> None:
    machine()
    wide = replace(spec, input=replace(spec.input, shape=("batch", 1, 8, 8)))
    for model in (wide, replace(spec, output=replace(spec.output, name="scores"))):
        with pytest.raises(ArtifactError, match="and its spec says"):
            opened(make_plan(FakePlan.of(model, 1, 8)))


def test_a_damaged_plan_never_reaches_tensorrt(machine: Machine, make_plan: MakePlan) -> None:
    trt = machine()
    plan = make_plan()
    content = bytearray(plan.path.read_bytes())
    content[5] ^= 1
    plan.path.write_bytes(content)
    with pytest.raises(ArtifactError, match="is damaged"):
        opened(plan)
    assert not trt.cuda.live


@pytest.mark.parametrize(
    ("facts", "problem"),
    [
        ({"gpu": "Tesla T4", "compute_capability": "7.5"}, "Tesla T4 .* and this is Fake GPU"),
        ({"tensorrt_version": "10.3.0"}, r"TensorRT 10\.3\.0, and this is 11\.4\.0"),
        ({"flavour": "trt-rtx"}, "TensorRT for RTX"),
    ],
    ids=["gpu", "version", "flavour"],
)
def test_a_plan_from_elsewhere(
    machine: Machine, make_plan: MakePlan, facts: dict[str, Any], problem: str
) -> None:
    machine()
    with pytest.raises(EngineUnavailableError, match=problem) as caught:
        opened(make_plan(**facts))
    assert "edgecnn build" in caught.value.remedy


def test_layers_that_nobody_has_seen_are_looked_at_now(
    machine: Machine, make_plan: MakePlan, spec: ModelSpec
) -> None:
    machine()
    layer = '{"LayerType": "CaskConvolution", "Inputs": [{"Format/Datatype": "%s"}]}'
    facts = {"precision": "fp16", "layers_from": "nothing", "layers": {}, "network_layers": {"fp16": 1}}
    half = FakePlan.of(spec, 1, 8, layers=f'{{"Layers": [{layer % "Half"}]}}')
    with opened(make_plan(half, **facts)) as engine:
        assert engine.info.precision == "fp16"
    single = FakePlan.of(spec, 1, 8, layers=f'{{"Layers": [{layer % "Float"}]}}')
    with pytest.raises(EngineError, match="is not in fp16"):
        opened(make_plan(single, **facts))


@pytest.mark.parametrize("precision", ["fp16", "bf16"])
def test_a_plan_has_the_precision_that_it_was_built_in(
    machine: Machine, make_plan: MakePlan, precision: str
) -> None:
    trt = machine()
    with pytest.raises(UsageError, match=f"is in fp32, and precision={precision}"):
        opened(make_plan(), precision=precision)
    with opened(make_plan(), precision="fp32") as engine:
        assert engine.info.precision == "fp32"
    assert not trt.cuda.live


def test_of_an_onnx_file_a_plan_is_built_and_that_is_told_once(
    machine: Machine,
    make_plan: MakePlan,
    spec: ModelSpec,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    machine()
    plan, asked = read_plan(make_plan(precision="fp16").path), []

    def cached(artifact: Artifact, options: BuildOptions, observe: Callable[..., None]) -> Plan:
        asked.append(options)
        for step in range(3):
            observe(step)
        return plan

    monkeypatch.setattr(plan_source, "cached_plan", cached)
    with opened(Artifact(Path("tiny.onnx"), spec), batch=4, precision="fp16", device=1) as engine:
        assert np.array_equal(engine.run(images(4)), right(images(4)))
        assert engine.info.precision == "fp16"
    (options,) = asked
    assert (options.batches, options.precision, options.device) == (Batches(min=4, opt=4, max=4), "fp16", 1)
    assert caplog.messages == [
        "TensorRT builds a plan of tiny.onnx; that can take minutes, and is kept for the next time."
    ]
    with pytest.raises(UsageError, match="no plans in bf16"):
        opened(Artifact(Path("tiny.onnx"), spec), precision="bf16")


def test_there_is_no_such_gpu(machine: Machine, make_plan: MakePlan) -> None:
    machine()
    with pytest.raises(EngineUnavailableError, match="no GPU 2") as caught:
        opened(make_plan(), device=2)
    assert "0 (Fake GPU), 1 (Fake GPU)" in caught.value.remedy


def test_closing_waits_for_runs_and_lets_nobody_wait_for_ever(machine: Machine, make_plan: MakePlan) -> None:
    running, go_on = threading.Event(), threading.Event()

    def scores(batch: Batch, classes: int) -> Scores:
        if len(batch) == 5:
            running.set()
            assert go_on.wait(timeout=30)
        return pixel_sums(batch, classes)

    trt = machine(scores=scores)
    engine = opened(make_plan(), graph=False)
    with ThreadPoolExecutor(3) as pool:
        under_way = pool.submit(engine.run, images(5))
        assert running.wait(timeout=30)
        waiting = pool.submit(engine.run, images(1))
        closing = pool.submit(engine.close)
        with pytest.raises(EngineError, match="is closed"):
            engine.run(images(1))  # waits for the lane, too, unless closing has begun
        assert trt.cuda.live, "the run under way still needs its memory"
        go_on.set()
        assert np.array_equal(under_way.result(timeout=30), right(images(5)))
        closing.result(timeout=30)
        with pytest.raises(EngineError, match="is closed"):
            waiting.result(timeout=30)
    assert not trt.cuda.live


@pytest.mark.parametrize("kind", [TrtEngine, TrtRtxEngine])
def test_without_a_driver(kind: type[PlanEngine], tmp_path: Path, spec: ModelSpec) -> None:
    try:
        cuda_gpus()
    except EngineUnavailableError:
        with pytest.raises(EngineUnavailableError) as caught:
            kind(Artifact(tmp_path / "m.onnx", spec), EngineOptions())
        assert caught.value.remedy
        with pytest.raises(EngineUnavailableError):
            kind.check()
    else:
        pytest.skip("this machine has a GPU")
