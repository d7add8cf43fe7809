"""The same four scenarios, driven by MLCommons LoadGen.

LoadGen decides when queries are sent, takes the time and judges; what answers runs here, and crosses from C++
into Python and back once a query, which costs some 20 microseconds. Its logs stay in the folder that the user
names; :mod:`edgecnn.timing.loadgen_figures` reads them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from queue import SimpleQueue
from threading import Thread
from typing import Any

from edgecnn.atomic import writing
from edgecnn.errors import DependencyMissingError, ResultError
from edgecnn.timing.loadgen_figures import LoadgenFigures, read_figures
from edgecnn.timing.scenarios import LEAST_QUERIES, MULTI_STREAM_SAMPLES, ScenarioName, long_enough

try:
    import mlperf_loadgen
except ModuleNotFoundError as error:
    raise DependencyMissingError("mlcommons-loadgen", "The driver 'loadgen'", "mlperf") from error

__all__ = ["LoadgenSettings", "run_loadgen"]

_SCENARIOS: dict[ScenarioName, Any] = {
    "single": mlperf_loadgen.TestScenario.SingleStream,
    "multi": mlperf_loadgen.TestScenario.MultiStream,
    "offline": mlperf_loadgen.TestScenario.Offline,
    "server": mlperf_loadgen.TestScenario.Server,
}

#: Samples that LoadGen draws from, as its configuration for ResNet-50 says. All are the same input here.
_LIBRARY = 1024

#: Seeds of the official configuration ("*.*.qsl_rng_seed" and so on in LoadGen 6.0's mlperf.conf).
_SEEDS = {
    "qsl_rng_seed": 2085463073848966840,
    "sample_index_rng_seed": 2747215439041700203,
    "schedule_rng_seed": 16159082839903944936,
}

#: A server run that cannot keep up is ended after so many times its duration.
_PATIENCE = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadgenSettings:
    """One run of LoadGen.

    Attributes:
        scenario: which.
        seconds: how long; the rules ask for 600.
        logs: folder for its logs, made where it is missing.
        expected_per_s: samples a second of one caller, by which LoadGen plans.
        target_qps: of the server scenario: queries a second.
        latency_bound_ms: of the server scenario: what the 99th percentile may be.
        batch: samples of one call, for the offline scenario.
    """

    scenario: ScenarioName
    seconds: float
    logs: Path
    expected_per_s: float
    target_qps: float | None = None
    latency_bound_ms: float | None = None
    batch: int = 1


def run_loadgen(settings: LoadgenSettings, runs: Sequence[Callable[[], object]]) -> LoadgenFigures:
    """Let LoadGen drive ``runs``.

    Args:
        settings: the scenario and its length.
        runs: a call of each instance; the first alone answers the single and the multi stream, a call for
            each query. Of the offline scenario a call takes ``settings.batch`` samples.

    Raises:
        ResultError: the folder for logs cannot be made.
        EngineError: LoadGen wrote no figures; or as a run raises.
    """
    with writing(settings.logs, ResultError, "Name another folder for LoadGen's logs (--logs)."):
        settings.logs.mkdir(parents=True, exist_ok=True)
    answering = _Answering(settings, runs)
    sut = mlperf_loadgen.ConstructSUT(answering.issue, lambda: None)
    library = mlperf_loadgen.ConstructQSL(_LIBRARY, _LIBRARY, lambda _: None, lambda _: None)
    try:
        mlperf_loadgen.StartTestWithLogSettings(
            sut,
            library,
            _test_settings(settings),
            _log_settings(settings.logs),
            str(settings.logs / "audit.config"),
        )
    finally:
        answering.stop()
        mlperf_loadgen.DestroyQSL(library)
        mlperf_loadgen.DestroySUT(sut)
    if answering.errors:
        raise answering.errors[0]
    return read_figures(settings.logs, settings.scenario, settings.seconds)


@dataclass(slots=True)
class _Answering:
    """What answers LoadGen's queries: in its own thread for one caller, else in a thread for each instance.

    An exception must not reach LoadGen, which would end the process: the first is kept, and what is left of
    the run is answered without work.
    """

    settings: LoadgenSettings
    runs: Sequence[Callable[[], object]]
    errors: list[Exception] = field(default_factory=list)
    _waiting: SimpleQueue[list[int] | None] = field(default_factory=SimpleQueue)
    _threads: list[Thread] = field(default_factory=list)

    def __post_init__(self) -> None:
        if self.settings.scenario in {"offline", "server"}:
            self._threads = [Thread(target=self._work, args=(run,), daemon=True) for run in self.runs]
            for thread in self._threads:
                thread.start()

    def issue(self, samples: Sequence[Any]) -> None:
        """Take a query from LoadGen."""
        ids = [sample.id for sample in samples]
        if not self._threads:
            self._answer(self.runs[0], ids)
            return
        size = self.settings.batch
        for start in range(0, len(ids), size):
            self._waiting.put(ids[start : start + size])

    def stop(self) -> None:
        """Let the threads end, and wait for them."""
        for _ in self._threads:
            self._waiting.put(None)
        for thread in self._threads:
            thread.join()

    def _work(self, run: Callable[[], object]) -> None:
        while (ids := self._waiting.get()) is not None:
            self._answer(run, ids)

    def _answer(self, run: Callable[[], object], ids: list[int]) -> None:
        try:
            if not self.errors:
                run()
        except Exception as error:  # noqa: BLE001 - raised again when LoadGen has ended
            self.errors.append(error)
        response = mlperf_loadgen.QuerySampleResponse
        mlperf_loadgen.QuerySamplesComplete([response(each, 0, 0) for each in ids])


def _test_settings(settings: LoadgenSettings) -> Any:  # noqa: ANN401 - LoadGen has no types
    wanted = mlperf_loadgen.TestSettings()
    wanted.scenario = _SCENARIOS[settings.scenario]
    wanted.mode = mlperf_loadgen.TestMode.PerformanceOnly
    wanted.min_duration_ms = round(settings.seconds * 1e3)
    # A shortened run is not held up by the count that the rules ask for.
    full = settings.scenario == "offline" and long_enough("offline", settings.seconds, 1 << 62)
    wanted.min_query_count = LEAST_QUERIES["offline"] if full else 1
    wanted.single_stream_expected_latency_ns = round(1e9 / settings.expected_per_s)
    wanted.multi_stream_expected_latency_ns = 1e9 * MULTI_STREAM_SAMPLES / settings.expected_per_s
    wanted.multi_stream_samples_per_query = MULTI_STREAM_SAMPLES
    wanted.offline_expected_qps = settings.expected_per_s
    if settings.target_qps is not None and settings.latency_bound_ms is not None:
        wanted.server_target_qps = settings.target_qps
        wanted.server_target_latency_ns = round(settings.latency_bound_ms * 1e6)
        wanted.max_duration_ms = round(settings.seconds * 1e3 * _PATIENCE)
    for name, seed in _SEEDS.items():
        setattr(wanted, name, seed)
    return wanted


def _log_settings(folder: Path) -> Any:  # noqa: ANN401 - LoadGen has no types
    output = mlperf_loadgen.LogOutputSettings()
    output.outdir = str(folder)
    output.copy_summary_to_stdout = False
    settings = mlperf_loadgen.LogSettings()
    settings.log_output = output
    settings.enable_trace = False
    return settings
