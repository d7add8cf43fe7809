"""What the server counts: Prometheus metrics, and out of them the statistics of the protocol.

With several workers each counts into files of a folder that they share (prometheus_client's multiprocess
mode, ``PROMETHEUS_MULTIPROC_DIR``), and whoever is asked answers for all.
"""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    ProcessCollector,
    disable_created_metrics,
    generate_latest,
)
from prometheus_client.multiprocess import MultiProcessCollector, mark_process_dead

from edgecnn.serving.lane import BatchRun

__all__ = ["AnsweredRequest", "Counted", "ModelMetrics", "ModelStatistics", "ServerMetrics", "forget_worker"]

_MODEL = ("model", "version")

#: Seconds; from a tiny model on a server to a large one on a small board.
_SECONDS = (*(base * scale for scale in (1e-4, 1e-3, 1e-2, 1e-1, 1.0) for base in (1, 2, 5)), 10.0, 30.0)
_SIZES = (1, 2, 4, 8, 16, 32, 64, 128)

#: How often, and nanoseconds in all.
Counted = tuple[int, int]

#: What a request's time goes to, and its two ends, in the order of Triton's statistics.
STAGES = ("success", "fail", "queue", "compute_input", "compute_infer", "compute_output")

#: Events that are noted before they are counted. Between two runs of an engine the caches are cold, and each
#: of prometheus_client's dozen counters a request takes several times what it takes in a row of them.
_NOTED = 64


class AnsweredRequest(NamedTuple):
    """One request that was answered.

    Attributes:
        images: that it held.
        total_s: all of it.
        queue_s: waiting for an engine.
        input_s: putting its slowest batch together.
        infer_s: that batch in the engine.
        protocol: by which it came.
        at_s: when, in seconds since 1970.
    """

    images: int
    total_s: float
    queue_s: float
    input_s: float
    infer_s: float
    protocol: str
    at_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelStatistics:
    """What happened to a model since the server started.

    Attributes:
        name: of the model.
        version: of it.
        last_inference_ms: when the last request was answered, in milliseconds since 1970; 0 for never.
        inference_count: images that were answered.
        execution_count: runs of an engine.
        success: requests that were answered, and their time.
        fail: requests that were taken and failed or expired.
        queue: waiting for an engine.
        compute_input: putting batches together.
        compute_infer: in the engine.
        compute_output: taking batches apart, which takes no time here.
        batches: size -> runs, and their time in the engine.
    """

    name: str
    version: str
    last_inference_ms: int
    inference_count: int
    execution_count: int
    success: Counted
    fail: Counted
    queue: Counted
    compute_input: Counted
    compute_infer: Counted
    compute_output: Counted
    batches: dict[int, Counted]


class ServerMetrics:
    """All metrics of one process."""

    def __init__(self) -> None:
        disable_created_metrics()  # type: ignore[no-untyped-call]
        self._models: list[ModelMetrics] = []
        self._routes: dict[str, Histogram] = {}
        self._answered: list[tuple[str, float]] = []
        self._shared = bool(os.environ.get("PROMETHEUS_MULTIPROC_DIR"))
        own = self._registry = CollectorRegistry()
        if not self._shared:
            ProcessCollector(registry=own)
        self.requests = Counter(
            "edgecnn_requests",
            "Requests for inference that were answered.",
            (*_MODEL, "protocol", "outcome"),
            registry=own,
        )
        self.refusals = Counter(
            "edgecnn_refusals", "Requests that were refused, by reason.", ("model", "reason"), registry=own
        )
        self.images = Counter("edgecnn_images", "Images that were classified.", _MODEL, registry=own)
        self.queue = _histogram("edgecnn_queue_seconds", "Waiting of a request for an engine.", _MODEL, own)
        self.compute = _histogram("edgecnn_compute_seconds", "One run of an engine.", _MODEL, own)
        self.batch_size = Histogram(
            "edgecnn_batch_size", "Images of a run.", _MODEL, buckets=_SIZES, registry=own
        )
        self.decode = _histogram("edgecnn_decode_seconds", "Decoding and resizing one image file.", (), own)
        self.request = _histogram(
            "edgecnn_request_seconds", "A request, from its first byte to its answer.", ("route",), own
        )
        self.stage_requests = Counter(
            "edgecnn_stage_requests", "Requests by stage.", (*_MODEL, "stage"), registry=own
        )
        self.stage_seconds = Counter(
            "edgecnn_stage_seconds", "Time of requests by stage.", (*_MODEL, "stage"), registry=own
        )
        self.batches = Counter("edgecnn_batches", "Runs by size.", (*_MODEL, "size"), registry=own)
        self.batch_seconds = Counter(
            "edgecnn_batch_seconds", "Time in the engine by size.", (*_MODEL, "size"), registry=own
        )
        self.queued = _gauge("edgecnn_queue_images", "Images that wait for an engine.", _MODEL, own)
        self.in_flight = _gauge("edgecnn_in_flight_requests", "Requests in work.", (), own)
        self.connections = _gauge("edgecnn_connections", "Open connections.", (), own)
        self.model_ready = _gauge("edgecnn_model_ready", "Workers that have it ready.", _MODEL, own)
        self.layout = Gauge(
            "edgecnn_layout_images_per_second",
            "Measured at the start, by batch.",
            (*_MODEL, "batch"),
            multiprocess_mode="max",
            registry=own,
        )
        self.last = Gauge(
            "edgecnn_last_inference_timestamp_seconds",
            "When the last request was answered.",
            _MODEL,
            multiprocess_mode="max",
            registry=own,
        )

    def model(self, name: str, version: str) -> ModelMetrics:
        """The metrics of one model."""
        found = ModelMetrics(self, name, version)
        self._models.append(found)
        return found

    def answered_http(self, route: str, seconds: float) -> None:
        """One HTTP request, whatever became of it."""
        self._answered.append((route, seconds))
        if len(self._answered) >= _NOTED:
            self._count_answered()

    def text(self) -> bytes:
        """Everything in Prometheus' text format, of all workers together."""
        return generate_latest(self._everything())

    def statistics(self, models: Iterable[tuple[str, str]]) -> list[ModelStatistics]:
        """The statistics of ``models`` (name, version), of all workers together."""
        sums: dict[str, dict[tuple[str, ...], float]] = {}
        for metric in self._everything().collect():
            for sample in metric.samples:
                labels = sample.labels
                key = (
                    labels.get("model", ""),
                    labels.get("version", ""),
                    labels.get("stage", labels.get("size", "")),
                )
                found = sums.setdefault(sample.name, {})
                found[key] = found.get(key, 0.0) + sample.value
        return [_statistics(sums, name, version) for name, version in models]

    def flush(self) -> None:
        """Write what was noted since the last time."""
        self._count_answered()
        for model in self._models:
            model.flush()

    def _count_answered(self) -> None:
        for route, seconds in self._answered:
            if route not in self._routes:
                self._routes[route] = self.request.labels(route)
            self._routes[route].observe(seconds)
        self._answered.clear()

    def _everything(self) -> CollectorRegistry:
        self.flush()
        if not self._shared:
            return self._registry
        collected = CollectorRegistry()
        MultiProcessCollector(collected)  # type: ignore[no-untyped-call]
        return collected


class ModelMetrics:
    """The metrics of one version of one model. All of it is used on one event loop.

    What happens is noted here, and counted when there is enough of it, or by :meth:`flush`, before anybody
    reads it.
    """

    def __init__(self, server: ServerMetrics, name: str, version: str) -> None:
        labels = (name, version)
        self._server, self._labels = server, labels
        self._queue = server.queue.labels(*labels)
        self._compute = server.compute.labels(*labels)
        self._batch_size = server.batch_size.labels(*labels)
        self._last = server.last.labels(*labels)
        self._last_s = 0.0
        self._runs: list[BatchRun] = []
        self._answered: list[AnsweredRequest] = []
        self._pending: dict[Counter, float] = defaultdict(float)
        self._images = server.images.labels(*labels)
        self._stages = {
            stage: (server.stage_requests.labels(*labels, stage), server.stage_seconds.labels(*labels, stage))
            for stage in STAGES
        }
        self._sizes: dict[int, tuple[Counter, Counter]] = {}
        self._outcomes: dict[tuple[str, str], Counter] = {}
        self.queued = server.queued.labels(*labels)
        self.ready = server.model_ready.labels(*labels)

    def batch(self, run: BatchRun) -> None:
        """One run of an engine."""
        self._runs.append(run)
        if len(self._runs) >= _NOTED:
            self._count_runs()

    def answered(self, request: AnsweredRequest) -> None:
        """One request that was answered."""
        self._answered.append(request)
        if len(self._answered) >= _NOTED:
            self._count_answered()

    def refused(self, reason: str) -> None:
        """One request that was not taken."""
        self._server.refusals.labels(self._labels[0], reason).inc()

    def failed(self, seconds: float, protocol: str, outcome: str) -> None:
        """One request that was taken and has no answer: "failed" or "expired"."""
        self._pending[self._outcome(protocol, outcome)] += 1
        self._add("fail", seconds)

    def layout(self, images_per_s: dict[int, float]) -> None:
        """What was measured at the start, by batch."""
        for batch, rate in images_per_s.items():
            self._server.layout.labels(*self._labels, str(batch)).set(rate)

    def flush(self) -> None:
        """Write what was noted since the last time."""
        self._count_runs()
        self._count_answered()
        for counter, amount in self._pending.items():
            counter.inc(amount)
        self._pending.clear()
        if self._last_s:
            self._last.set(self._last_s)

    def _count_runs(self) -> None:
        for run in self._runs:
            self._compute.observe(1e-9 * (run.input_ns + run.infer_ns))
            self._batch_size.observe(run.images)
            runs, seconds = self._size(run.images)
            self._pending[runs] += 1
            self._pending[seconds] += 1e-9 * run.infer_ns
        self._runs.clear()

    def _count_answered(self) -> None:
        for request in self._answered:
            self._queue.observe(request.queue_s)
            self._pending[self._outcome(request.protocol, "answered")] += 1
            self._pending[self._images] += request.images
            self._add("success", request.total_s)
            self._add("queue", request.queue_s)
            self._add("compute_input", request.input_s)
            self._add("compute_infer", request.infer_s)
            self._add("compute_output", 0.0)  # taking batches apart takes no time here
            self._last_s = request.at_s
        self._answered.clear()

    def _add(self, stage: str, seconds: float) -> None:
        count, sum_s = self._stages[stage]
        self._pending[count] += 1
        self._pending[sum_s] += seconds

    def _outcome(self, protocol: str, outcome: str) -> Counter:
        key = (protocol, outcome)
        if key not in self._outcomes:
            self._outcomes[key] = self._server.requests.labels(*self._labels, protocol, outcome)
        return self._outcomes[key]

    def _size(self, images: int) -> tuple[Counter, Counter]:
        if images not in self._sizes:
            labels = (*self._labels, str(images))
            self._sizes[images] = (
                self._server.batches.labels(*labels),
                self._server.batch_seconds.labels(*labels),
            )
        return self._sizes[images]


def forget_worker(pid: int, folder: Path) -> None:
    """Take the gauges of a worker that has ended out of the shared folder; its counts stay."""
    mark_process_dead(pid, str(folder))  # type: ignore[no-untyped-call]


def _histogram(name: str, text: str, labels: tuple[str, ...], registry: CollectorRegistry) -> Histogram:
    return Histogram(name, text, labels, buckets=_SECONDS, registry=registry)


def _gauge(name: str, text: str, labels: tuple[str, ...], registry: CollectorRegistry) -> Gauge:
    return Gauge(name, text, labels, multiprocess_mode="livesum", registry=registry)


def _statistics(sums: dict[str, dict[tuple[str, ...], float]], name: str, version: str) -> ModelStatistics:
    def total(metric: str, part: str = "") -> float:
        return sums.get(metric, {}).get((name, version, part), 0.0)

    sizes = sorted(
        int(part)
        for model, of_version, part in sums.get("edgecnn_batches_total", {})
        if (model, of_version) == (name, version)
    )
    batches = {
        size: (
            int(total("edgecnn_batches_total", str(size))),
            round(1e9 * total("edgecnn_batch_seconds_total", str(size))),
        )
        for size in sizes
    }
    stages = {
        stage: (
            int(total("edgecnn_stage_requests_total", stage)),
            round(1e9 * total("edgecnn_stage_seconds_total", stage)),
        )
        for stage in STAGES
    }
    return ModelStatistics(
        name=name,
        version=version,
        last_inference_ms=round(1e3 * total("edgecnn_last_inference_timestamp_seconds")),
        inference_count=int(total("edgecnn_images_total")),
        execution_count=sum(runs for runs, _ in batches.values()),
        batches=batches,
        **stages,
    )
