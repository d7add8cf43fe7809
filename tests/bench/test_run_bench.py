"""Whole benchmarks, short ones; nothing here says how fast anything is."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from numpy.typing import NDArray

from edgecnn.artifact import Artifact
from edgecnn.bench import run, run_bench
from edgecnn.engines import Engine
from edgecnn.engines.base import Batch, EngineInfo
from edgecnn.engines.choice import EngineChoice, open_choice
from edgecnn.engines.fake import FakeEngine
from edgecnn.errors import EngineError, EngineUnavailableError
from edgecnn.reports.result import MemoryBytes, ResultFile
from edgecnn.reports.result_file import decode_results, encode_results
from tests.bench.running import Make, constant, plan

pytestmark = pytest.mark.usefixtures("short_stages")


#: A plug-in that raises what an engine should not.
_BOOM = """
from edgecnn.engines.ort import OrtEngine


class Unopenable(OrtEngine):
    def __init__(self, artifact, options):
        raise ValueError("boom")


class Breaking(OrtEngine):
    def run(self, batch):
        raise ValueError("boom")
"""


def test_a_result_holds_all_that_was_measured(artifact: Make) -> None:
    (result,) = run_bench(plan(artifact(), energy=True))
    assert result.error is None
    assert (result.variant.batch, result.variant.threads, result.variant.engine) == (1, 1, "ort")
    latency, stages, scenario = result.latency_ms, result.stages_ms, result.scenario
    assert latency is not None
    assert latency.p90 is not None
    assert 0 < latency.p50 <= latency.p90
    assert latency.ci95 is not None
    # No interval is told where the machine's moods outlast an eighth of so short a run.
    low, high = latency.ci95.p50 or (latency.p50, latency.p50)
    assert low <= latency.p50 <= high
    assert latency.quantiles is not None
    assert len(latency.quantiles) == 101
    assert latency.samples is not None
    assert latency.warmup is not None
    assert latency.warmup > 0
    assert stages is not None
    assert stages.copy is None
    assert stages.preprocess is not None
    assert stages.postprocess is not None
    assert stages.run == pytest.approx(latency.p50, rel=0.01)
    assert result.throughput_per_s is not None
    slow, fast = result.throughput_ci95 or (0.0, float("inf"))
    assert slow < result.throughput_per_s < fast
    assert scenario is not None
    assert (scenario.name, scenario.driver, scenario.valid) == ("single", "built-in", False)
    assert scenario.duration_s > 0
    assert result.ratio is None
    assert result.energy_note
    assert result.energy_j_per_image is None or result.energy_j_per_image > 0


def test_results_survive_the_result_file(artifact: Make) -> None:
    from edgecnn.environment import describe_environment

    results = tuple(run_bench(plan(artifact(), batches=(1, 2))))
    document = ResultFile(environment=describe_environment(()), results=results)
    assert decode_results(encode_results(document), origin="test") == document


@pytest.mark.parametrize("dtype", ["uint8", "int8", "float32", "float16"])
def test_models_of_every_input_type_are_fed(artifact: Make, dtype: str) -> None:
    (result,) = run_bench(plan(artifact(dtype=dtype), batches=(2,)))
    assert result.error is None


def test_variants_take_turns_and_are_compared_with_the_baseline(artifact: Make) -> None:
    models = artifact("one"), artifact("other")
    first, second = run_bench(plan(*models, baseline="other"))
    assert second.ratio is None
    assert first.ratio is not None
    assert first.ratio.baseline == "other fp32 ort, batch 1, 1 thread"
    assert first.ratio.ci95[0] <= first.ratio.speedup <= first.ratio.ci95[1]


def test_throughput_counts_images(artifact: Make, opening: Callable[..., None]) -> None:
    """An engine that sleeps 4 ms a call cannot make more than 250 calls a second; of batches of 2, 500."""

    def open_fake(choice: EngineChoice, model: Artifact) -> Engine:
        return FakeEngine(model.spec, constant, latency_s=lambda _: 0.004)

    opening(open_fake)
    one, two = run_bench(plan(artifact(), batches=(1, 2)))
    assert one.throughput_per_s is not None
    assert two.throughput_per_s is not None
    assert one.throughput_per_s <= 250
    assert two.throughput_per_s <= 500
    assert two.stages_ms is not None
    assert two.latency_ms is not None
    # The stage is of one image, the latency of a query of two.
    assert two.stages_ms.run == pytest.approx(two.latency_ms.p50 / 2, rel=0.01)


def test_an_engine_that_does_not_open_does_not_stop_the_others(
    artifact: Make, opening: Callable[..., None]
) -> None:
    def open_some(choice: EngineChoice, model: Artifact) -> Engine:
        if choice.name == "openvino":
            raise EngineUnavailableError(
                "There is no openvino.", "Install it: pip install 'edgecnn[openvino]'"
            )
        return open_choice(choice, model)

    opening(open_some)
    failed, good = run_bench(plan(artifact(), engines=("openvino", "ort:threads=1")))
    assert failed.error is not None
    assert "pip install 'edgecnn[openvino]'" in failed.error
    assert (failed.variant.engine, failed.variant.engine_info, failed.latency_ms) == ("openvino", None, None)
    assert good.error is None
    assert good.ratio is None
    assert any("baseline" in warning and "failed" in warning for warning in good.warnings)


def test_an_engine_that_fails_on_the_way_does_not_stop_the_others(
    artifact: Make, opening: Callable[..., None]
) -> None:
    def open_fake(choice: EngineChoice, model: Artifact) -> Engine:
        failing = range(60, 10**9) if model.spec.network == "bad" else ()
        return FakeEngine(model.spec, constant, latency_s=lambda _: 0.002, failing=failing)

    opening(open_fake)
    bad, good = run_bench(plan(artifact("bad"), artifact("good"), duration_s=0.3))
    assert bad.error is not None
    assert "fails, as the test wants" in bad.error
    assert (bad.latency_ms, bad.throughput_per_s) == (None, None)
    assert good.error is None
    assert good.latency_ms is not None


def test_when_all_variants_have_failed_it_does_not_wait_for_the_time_to_be_up(
    artifact: Make, opening: Callable[..., None]
) -> None:
    seen: list[str] = []

    def scores(batch: Batch) -> NDArray[Any]:
        if seen and seen[-1].startswith("Measuring"):
            raise EngineError("It breaks under load.", "Nothing to do.")
        return constant(batch)

    opening(lambda choice, model: FakeEngine(model.spec, scores, latency_s=lambda _: 0.001))
    results = run_bench(plan(artifact("a"), artifact("b")), lambda text, _: seen.append(text))
    assert all(result.error and "under load" in result.error for result in results)
    assert seen.count("Measuring 2 variants") == 2  # at the start, and after the one round


class _OnGpu(FakeEngine):
    @property
    def info(self) -> EngineInfo:
        return replace(super().info, device="NVIDIA Fake")


class _Copying(_OnGpu):
    def copy_only(self, batch: Batch) -> None:
        time.sleep(0.02 * len(batch))


def test_copies_to_a_device_are_told_apart_from_the_run(artifact: Make, opening: Callable[..., None]) -> None:
    """These copies alone take longer than a call with all in it: nothing is left for the run."""
    opening(lambda choice, model: _Copying(model.spec, constant, latency_s=lambda images: 0.001 * images))
    (result,) = run_bench(plan(artifact(), batches=(2,)))
    stages = result.stages_ms
    assert stages is not None
    assert stages.copy is not None
    assert stages.copy >= 20
    assert stages.run == 0
    assert not any("copies" in warning for warning in result.warnings)


def test_copies_that_cannot_be_told_from_the_run_are_a_warning(
    artifact: Make, opening: Callable[..., None]
) -> None:
    opening(lambda choice, model: _OnGpu(model.spec, constant))
    (result,) = run_bench(plan(artifact()))
    assert "The stage 'run' holds the copies to and from NVIDIA Fake." in result.warnings
    assert result.stages_ms is not None
    assert result.stages_ms.copy is None


def test_a_plugin_that_does_not_load_does_not_stop_the_others(artifact: Make) -> None:
    failed, good = run_bench(plan(artifact(), engines=("no_such_module:Engine", "ort:threads=1")))
    assert failed.error is not None
    assert "'no_such_module' of 'no_such_module:Engine' does not exist" in failed.error
    assert failed.variant.engine == "no_such_module:Engine"
    assert good.error is None


@pytest.mark.parametrize("name", ["Unopenable", "Breaking"])
def test_a_plugin_that_raises_anything_does_not_stop_the_others(
    artifact: Make, name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "boom_bench_plugin.py").write_text(_BOOM)
    monkeypatch.syspath_prepend(tmp_path)
    failed, good = run_bench(plan(artifact(), engines=(f"boom_bench_plugin:{name}", "ort:threads=1")))
    assert failed.error is not None
    assert f"The plug-in engine 'boom_bench_plugin:{name}' failed to " in failed.error
    assert "ValueError: boom" in failed.error
    assert (good.error, good.latency_ms is not None) == (None, True)


def test_a_model_that_answers_nan_is_an_error(artifact: Make) -> None:
    (result,) = run_bench(plan(artifact(scale=float("nan"))))
    assert result.error is not None
    assert "NaN" in result.error


@pytest.mark.parametrize(("own", "asked"), [(1, 8), (4, 1)])
def test_a_fixed_batch_that_does_not_fit_is_an_error_with_its_remedy(
    artifact: Make, own: int, asked: int
) -> None:
    (result,) = run_bench(plan(artifact("net", batch=own), batches=(asked,)))
    assert result.error is not None
    assert f"fixed to a batch of {own}, and a batch of {asked} was asked for" in result.error
    assert "edgecnn export net --batch dynamic" in result.error


def test_a_fixed_batch_that_makes_no_query_is_an_error(artifact: Make) -> None:
    (result,) = run_bench(plan(artifact(batch=3), scenario="multi"))
    assert result.error is not None
    assert "8 images" in result.error
    (result,) = run_bench(plan(artifact(batch=3), scenario="server", target_qps=100.0))
    assert result.error is not None
    assert "one image" in result.error


def test_a_multi_stream_query_is_eight_images(artifact: Make, opening: Callable[..., None]) -> None:
    engines: list[FakeEngine] = []

    def open_fake(choice: EngineChoice, model: Artifact) -> Engine:
        engines.append(FakeEngine(model.spec, constant, latency_s=lambda images: 0.0005 * images))
        return engines[-1]

    opening(open_fake)
    (result,) = run_bench(plan(artifact(), batches=(4,), scenario="multi"))
    assert result.latency_ms is not None
    assert result.latency_ms.p50 >= 4
    assert set(engines[0].calls) == {4}
    assert result.throughput_per_s is not None
    assert result.throughput_per_s <= 2000


def test_offline_uses_every_instance(artifact: Make, opening: Callable[..., None]) -> None:
    """Two engines that sleep 2 ms a call: together up to 1000 calls a second, alone at most 500."""
    engines: list[FakeEngine] = []

    def open_fake(choice: EngineChoice, model: Artifact) -> Engine:
        engines.append(FakeEngine(model.spec, constant, latency_s=lambda _: 0.002))
        return engines[-1]

    opening(open_fake)
    (result,) = run_bench(plan(artifact(), scenario="offline", instances=2, duration_s=0.2))
    assert len(engines) == 2
    assert result.scenario is not None
    assert result.scenario.instances == 2
    assert result.throughput_per_s is not None
    assert result.throughput_per_s <= 1000


def test_what_was_quantised_for_another_engine_is_told(
    artifact: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(run, "unsuitable", lambda spec, engine: f"{engine} is slow with {spec.network}.")
    (result,) = run_bench(plan(artifact("net")))
    assert "ort is slow with net." in result.warnings


def test_memory_is_measured_when_all_engines_are_closed(
    artifact: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    def memory_of(planned: object) -> MemoryBytes:
        return MemoryBytes(file=1, peak=2)

    monkeypatch.setattr(run, "memory_of", memory_of)
    (result,) = run_bench(plan(artifact(), memory=True))
    assert result.memory_bytes == MemoryBytes(file=1, peak=2)


def test_memory_that_cannot_be_measured_is_a_warning(artifact: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    def memory_of(planned: object) -> MemoryBytes:
        raise EngineError("The process crashed.", "Look.")

    monkeypatch.setattr(run, "memory_of", memory_of)
    (result,) = run_bench(plan(artifact(), memory=True))
    assert result.error is None
    assert result.memory_bytes == MemoryBytes(file=Path(result.variant.artifact).stat().st_size)
    assert "Its memory could not be measured: The process crashed." in result.warnings


def test_without_memory_the_size_of_the_file_is_told(artifact: Make) -> None:
    (result,) = run_bench(plan(artifact()))
    assert result.memory_bytes == MemoryBytes(file=Path(result.variant.artifact).stat().st_size)


def test_progress_grows_to_the_end(artifact: Make) -> None:
    seen: list[tuple[str, float]] = []
    run_bench(plan(artifact(), batches=(1, 2)), lambda text, share: seen.append((text, share)))
    shares = [share for _, share in seen]
    assert all(one <= other for one, other in pairwise(shares))
    assert shares[-1] == 1.0
    assert {"Measuring 2 variants"} <= {text for text, _ in seen}
