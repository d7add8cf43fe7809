#!/usr/bin/env python3
"""A long run whose every answer is checked: none lost, none of somebody else's, memory flat.

    python scripts/soak.py [--requests 200000] [--clients 16] [--reload-s 5]

A tiny model in a repository, which is reloaded now and then while requests go on: binary tensors, pixels and
JPEGs of many colours, whose answers are known beforehand and far apart, and one request in a hundred that is
bad, in one of several ways, and must get its 4xx. Exits with 1 where an answer is missing or wrong, a reload
fails, or the resident memory grows by a megabyte or more in 100,000 requests, by its slope over the last two
thirds.
"""

from __future__ import annotations

import argparse
import io
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from threading import Event, Thread

import httpx
import msgspec
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from edgecnn.artifact import Artifact
from edgecnn.client.answers import Predictions, TensorMetadata
from edgecnn.client.tensors import encode_tensor
from edgecnn.engines import open_engine
from edgecnn.environment import describe_environment
from edgecnn.loadtest.child_server import ChildServer, edgecnn_server
from edgecnn.loadtest.plan import LoadPlan, Payload
from edgecnn.loadtest.processes import resident_bytes
from edgecnn.loadtest.records import Fault
from edgecnn.loadtest.requests import http_request
from edgecnn.loadtest.run import LoadRun, run_load
from edgecnn.loadtest.summary import summarise_load
from edgecnn.loadtest.target import Target
from edgecnn.loadtest.tiny_model import save_tiny_model
from edgecnn.preprocess import crop, decode, normalise
from edgecnn.validate.ranking import probabilities

SIZE, CLASSES, COLOURS = 32, 16, 66
MOST_MB = 1.0

#: A batch may sum in another order than a single image: some units in the last place.
TOLERANCE = 1e-4

#: In each hundred payloads one is bad.
BAD_EVERY = 100

INFER, PREDICT = "/v2/models/tiny/infer", "/v1/predict/tiny"
RAW = {"content-type": "application/octet-stream"}


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--requests", type=int, default=200_000)
    parser.add_argument("--clients", type=int, default=16)
    parser.add_argument("--reload-s", type=float, default=5.0, help="between reloads")
    parser.add_argument("--workers", type=int, default=1)
    arguments = parser.parse_args()
    environment = describe_environment()
    print(f"{environment.cpu}, {environment.cores} cores, {environment.os}, Python {environment.python}")
    print(", ".join(f"{name} {version}" for name, version in environment.versions.items()))
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "tiny" / "1" / "model.onnx"
        path.parent.mkdir(parents=True)
        artifact = save_tiny_model(path, size=SIZE, classes=CLASSES)
        options = ["--repository", folder, "--model-control", "--workers", str(arguments.workers)]
        with edgecnn_server({}, options) as server:
            payloads = _payloads(artifact, server.target)
            with _Reloads(server.target, arguments.reload_s) as reloads, _Memory(server) as memory:
                plan = LoadPlan(
                    target=server.target,
                    payloads=payloads,
                    clients=arguments.clients,
                    requests=arguments.requests,
                    duration_s=None,
                    timeout_s=30,
                )
                run = run_load(plan, memory.observe)
    return _tell(run, reloads, memory, arguments)


def _tell(run: LoadRun, reloads: _Reloads, memory: _Memory, arguments: argparse.Namespace) -> int:
    summary, slope = summarise_load(run), memory.slope_mb(arguments.requests)
    records = run.measured
    bad = records.payload % BAD_EVERY == 0
    wrong, lost = int((records.fault == Fault.WRONG).sum()), int((records.status == 0).sum())
    held = not wrong and not lost and len(records) == arguments.requests
    held &= not reloads.failures and slope < MOST_MB
    rows = {
        "requests": f"{len(records):,} in {run.seconds:.0f} s ({summary.answered.per_s:.0f}/s)",
        "answered rightly": f"{int((records.fault == Fault.NONE).sum()):,}",
        "of them bad requests, refused": f"{int((bad & (records.fault == Fault.NONE)).sum()):,}",
        "wrong or of another": f"{wrong}",
        "without an answer": f"{lost} {summary.faults}",
        "reloads": f"{reloads.done}, failed: {len(reloads.failures)} {reloads.failures[:2]}",
        "RSS MB at the start, at the end": f"{memory.first_mb:.1f}, {memory.last_mb:.1f}",
        "RSS MB per 100,000 requests": f"{slope:+.3f} (asked: below {MOST_MB:g})",
        "all held": "yes" if held else "NO",
    }
    print("\n| | |\n| --- | --- |")
    for name, value in rows.items():
        print(f"| {name} | {value} |")
    for index in np.flatnonzero(records.fault != Fault.NONE)[:10]:
        print(f"payload {records.payload[index]}: status {records.status[index]}")
    return 0 if held else 1


def _payloads(artifact: Artifact, target: Target) -> tuple[Payload, ...]:
    """Good ones of every kind, with a bad one at every :data:`BAD_EVERY`-th place."""
    good = _good_payloads(artifact, target)
    bad = _bad_payloads(target)
    groups = [good[start : start + BAD_EVERY - 1] for start in range(0, len(good), BAD_EVERY - 1)]
    return tuple(
        payload for number, group in enumerate(groups) for payload in (bad[number % len(bad)], *group)
    )


def _good_payloads(artifact: Artifact, target: Target) -> list[Payload]:
    random = np.random.default_rng(0)
    spec, payloads = artifact.spec, []
    tensor = TensorMetadata(name=spec.input.name, datatype="FP32", shape=(-1, 3, SIZE, SIZE))
    with open_engine("ort", artifact) as engine:

        def scores_of(pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
            return engine.run(normalise(pixels, spec.preprocess)[None]).copy()

        for _ in range(COLOURS * (BAD_EVERY - 1) // 3):
            pixels = np.full((SIZE, SIZE, 3), random.integers(0, 256, 3), np.uint8)
            scores = scores_of(pixels)
            body, length = encode_tensor(normalise(pixels, spec.preprocess)[None], tensor)
            head = {**RAW, "inference-header-content-length": str(length)}
            jpeg = io.BytesIO()
            Image.fromarray(pixels).resize((50, 40)).save(jpeg, "jpeg", quality=95)
            seen = scores_of(crop(decode(jpeg.getvalue()), spec.preprocess))
            requests = (
                (INFER, body, head, _scores_are(scores)),
                (PREDICT, pixels.tobytes(), RAW, _prediction_is(probabilities(scores, spec.scores)[0])),
                (
                    PREDICT,
                    jpeg.getvalue(),
                    {"content-type": "image/jpeg"},
                    _prediction_is(probabilities(seen, spec.scores)[0]),
                ),
            )
            payloads += [
                Payload(http_request(target, "POST", path, body, fields), right)
                for path, body, fields, right in requests
            ]
    return payloads


def _scores_are(expected: NDArray[np.float32]) -> Callable[[int, bytes], bool]:
    def right(status: int, body: bytes) -> bool:
        if status != 200 or len(body) < expected.nbytes:
            return False
        found = np.frombuffer(body[-expected.nbytes :], np.float32)
        return bool(np.abs(found - expected[0]).max() <= TOLERANCE * np.abs(expected).max())

    return right


def _prediction_is(expected: NDArray[np.float32]) -> Callable[[int, bytes], bool]:
    decoder = msgspec.json.Decoder(Predictions)

    def right(status: int, body: bytes) -> bool:
        if status != 200:
            return False
        (prediction,) = decoder.decode(body).predictions
        return len(prediction.top) == 5 and all(
            abs(choice.probability - float(expected[choice.index])) <= TOLERANCE for choice in prediction.top
        )

    return right


def _bad_payloads(target: Target) -> list[Payload]:
    json = {"content-type": "application/json"}
    shape = b'{"inputs":[{"name":"input","shape":[1,3,9,9],"datatype":"FP32","data":[1,2]}]}'
    requests: list[tuple[str, bytes, dict[str, str], int]] = [
        (INFER, b"{", json, 400),
        (INFER, shape, json, 400),
        (INFER, b"{}" + bytes(100), {**RAW, "inference-header-content-length": "5000"}, 400),
        (PREDICT, b"\xff\xd8\xff\xe0 no more", {"content-type": "image/jpeg"}, 400),
        (PREDICT, bytes(100), RAW, 400),
        ("/v1/predict/nobody", bytes(10), RAW, 404),
        ("/v2/models/tiny/versions/9/infer", shape, json, 404),
    ]
    return [
        Payload(http_request(target, "POST", path, body, fields), _refused(expected))
        for path, body, fields, expected in requests
    ]


def _refused(expected: int) -> Callable[[int, bytes], bool]:
    return lambda status, body: status == expected and b'"error"' in body


class _Reloads:
    """Reloads the model now and then, while it is used."""

    def __init__(self, target: Target, every_s: float) -> None:
        self.done, self.failures = 0, list[str]()
        self._url, self._every_s, self._over = target.url, every_s, Event()
        self._thread = Thread(target=self._work)

    def __enter__(self) -> _Reloads:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()

    def _work(self) -> None:
        with httpx.Client(base_url=self._url, timeout=60) as client:
            while not self._over.wait(self._every_s):
                answer = client.post("/v2/repository/models/tiny/load", json={})
                self.done += 1
                if answer.status_code != 200:
                    self.failures.append(answer.text[:200])


class _Memory:
    """Resident memory of the server against the share of the requests that is done."""

    def __init__(self, server: ChildServer) -> None:
        self._pid = server.pid
        self._samples: list[tuple[float, float]] = []
        self._next_s = 0.0

    @property
    def first_mb(self) -> float:
        return self._samples[0][1]

    @property
    def last_mb(self) -> float:
        return self._samples[-1][1]

    def observe(self, share: float) -> None:
        if time.monotonic() >= self._next_s:
            self._next_s = time.monotonic() + 0.5
            self._samples.append((share, resident_bytes(self._pid) / 1e6))

    def slope_mb(self, requests: int) -> float:
        """Per 100,000 requests, of the last two thirds: the first fills buffers."""
        shares, sizes = np.array(self._samples[len(self._samples) // 3 :]).T
        return float(np.polyfit(shares * requests / 1e5, sizes, 1)[0]) if len(shares) > 2 else 0.0

    def __enter__(self) -> _Memory:
        return self

    def __exit__(self, *_: object) -> None:
        pass


if __name__ == "__main__":
    sys.exit(main())
