from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgecnn.environment import Environment, describe_environment
from edgecnn.errors import ResultError
from edgecnn.reports import result
from edgecnn.reports.result import Accuracy, EngineFacts, Flips, Gate, Result, ResultFile, Variant
from edgecnn.reports.result_file import decode_results, encode_results, read_results, write_results

VARIANT = Variant(
    network="mobilenet_v2",
    artifact="m.onnx",
    sha256="ab" * 32,
    precision="fp32",
    engine="ort",
    engine_info=EngineFacts(version="1.31.1", device="cpu", providers=("CPUExecutionProvider",)),
    batch=1,
    threads=2,
)
ENVIRONMENT = describe_environment()
DOCUMENT = ResultFile(environment=ENVIRONMENT, results=(Result(variant=VARIANT),))

#: The example of the design document, as any other program may have written it.
DESIGN = """
{"schema": "edgecnn.result/1",
 "environment": {"cpu": "EPYC", "cores": 2, "gpu": null, "driver": null, "gpu_problem": null, "os": "Linux",
                 "python": "3.11.2", "memory_bytes": null, "instruction_sets": null,
                 "versions": {"onnxruntime": "1.31.1"}, "started": "2026-11-01T00:00:00+00:00"},
 "results": [{
   "variant": {"network": "mobilenet_v2", "artifact": "m.onnx", "sha256": "aa", "precision": "fp32",
               "engine": "ort", "engine_info": {"version": "1.31.1", "device": "cpu",
               "providers": ["CPUExecutionProvider"]}, "batch": 1, "threads": 2},
   "accuracy": {"n": 700, "top1": 71.4, "top1_ci95": [68.0, 74.7], "top5": 90.1, "agreement": 99.7,
                "flips": {"gained": 1, "lost": 2}, "mcnemar_p": 1.0},
   "latency_ms": {"p50": 3.1, "p90": 3.2, "p95": 3.3, "p99": 3.9, "ci95": {"p50": [3.0, 3.2]}},
   "throughput_per_s": 322.0,
   "memory_bytes": {"file": 14000000, "load": 31000000, "peak": 52000000},
   "energy_j_per_image": null,
   "gates": [{"name": "max_drop", "limit": 0.5, "value": 0.2, "held": true}],
   "a_field_of_tomorrow": 1,
   "error": null}]}
"""

FINITE = st.floats(allow_nan=False, allow_infinity=False)
INTERVALS = st.tuples(FINITE, FINITE)
TEXTS = st.text(max_size=8)
COUNTS = st.integers(0, 2**40)


def _maybe(strategy: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    return st.none() | strategy


def _tuples(strategy: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    return st.lists(strategy, max_size=2).map(tuple)


FACTS = st.builds(result.EngineFacts, version=TEXTS, device=TEXTS, providers=_tuples(TEXTS))
VARIANTS = st.builds(
    result.Variant,
    network=TEXTS,
    artifact=TEXTS,
    sha256=TEXTS,
    precision=st.sampled_from(["fp32", "int8"]),
    engine=TEXTS,
    engine_info=_maybe(FACTS),
    batch=_maybe(COUNTS),
    threads=_maybe(COUNTS),
)
DATASETS = st.builds(
    result.Dataset,
    name=TEXTS,
    fingerprint=TEXTS,
    images=COUNTS,
    bad=_tuples(st.builds(result.BadImage, key=TEXTS, reason=TEXTS)),
)
ACCURACIES = st.builds(
    result.Accuracy,
    n=COUNTS,
    top1=FINITE,
    top1_ci95=INTERVALS,
    top5=_maybe(FINITE),
    top5_ci95=_maybe(INTERVALS),
    tied=_maybe(COUNTS),
    reference=_maybe(VARIANTS),
    agreement=_maybe(FINITE),
    flips=_maybe(st.builds(result.Flips, gained=COUNTS, lost=COUNTS)),
    mcnemar_p=_maybe(FINITE),
    sqnr_db=_maybe(FINITE),
    max_abs_difference=_maybe(FINITE),
    flipped=_maybe(
        _tuples(st.builds(result.Flip, key=TEXTS, label=COUNTS, reference=COUNTS, predicted=COUNTS))
    ),
    per_class=_maybe(
        _tuples(
            st.builds(
                result.ClassAccuracy,
                index=COUNTS,
                name=TEXTS,
                n=COUNTS,
                top1=FINITE,
                reference_top1=_maybe(FINITE),
            )
        )
    ),
    dataset=_maybe(DATASETS),
)
PERCENTILES = st.builds(result.PercentilesCi95, p50=_maybe(INTERVALS), p99=_maybe(INTERVALS))
RESULTS = st.builds(
    Result,
    variant=VARIANTS,
    accuracy=_maybe(ACCURACIES),
    pace=_maybe(
        st.builds(
            result.Pace,
            seconds=FINITE,
            images_per_s=FINITE,
            engine_images_per_s=FINITE,
            workers=COUNTS,
        )
    ),
    latency_ms=_maybe(st.builds(result.LatencyMs, p50=FINITE, p90=_maybe(FINITE), ci95=_maybe(PERCENTILES))),
    throughput_per_s=_maybe(FINITE),
    memory_bytes=_maybe(st.builds(result.MemoryBytes, file=_maybe(COUNTS), load=st.none(), peak=st.none())),
    energy_j_per_image=_maybe(FINITE),
    gates=_tuples(st.builds(Gate, name=TEXTS, limit=FINITE, value=FINITE, held=st.booleans())),
    error=_maybe(TEXTS),
)


@given(st.lists(RESULTS, max_size=3).map(tuple))
def test_what_is_written_is_read_back(results: tuple[Result, ...]) -> None:
    document = ResultFile(environment=ENVIRONMENT, results=results)
    assert decode_results(encode_results(document), origin="here") == document


@pytest.mark.parametrize("nothing", [ENVIRONMENT, replace(ENVIRONMENT, gpu=None, memory_bytes=None)])
def test_what_was_not_measured_is_absent_never_zero(nothing: Environment) -> None:
    document = ResultFile(environment=nothing, results=DOCUMENT.results)
    written = json.loads(encode_results(document))
    assert written["schema"] == "edgecnn.result/1"
    assert set(written["results"][0]) == {"variant", "gates", "warnings"}
    assert decode_results(encode_results(document), origin="here") == document


def test_the_example_of_the_design_is_read() -> None:
    only = decode_results(DESIGN, origin="design").results[0]
    assert only.accuracy is not None
    assert (only.accuracy.n, only.accuracy.top1_ci95, only.accuracy.mcnemar_p) == (700, (68.0, 74.7), 1.0)
    assert only.accuracy.flips == Flips(gained=1, lost=2)
    assert only.accuracy.sqnr_db is None
    assert only.latency_ms is not None
    assert only.latency_ms.ci95 is not None
    assert only.latency_ms.ci95.p50 == (3.0, 3.2)
    assert only.gates == (Gate(name="max_drop", limit=0.5, value=0.2, held=True),)
    assert only.energy_j_per_image is None


def test_another_version_is_refused_and_both_are_named() -> None:
    with pytest.raises(ResultError, match=r"r\.json: .*'edgecnn\.result/9'.*'edgecnn\.result/1'"):
        decode_results(DESIGN.replace("result/1", "result/9"), origin="r.json")


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        "{}",
        '{"schema": 1}',
        b'{"schema": "\xff"}',
        DESIGN.replace('"n": 700', '"n": "many"'),
        DESIGN.replace('"network": "mobilenet_v2",', ""),
    ],
)
def test_what_is_no_result_is_refused_by_name(text: str) -> None:
    with pytest.raises(ResultError, match=r"r\.json"):
        decode_results(text, origin="r.json")


def test_a_file_goes_round(tmp_path: Path) -> None:
    path = tmp_path / "new" / "r.json"
    write_results(DOCUMENT, path)
    assert read_results(path) == DOCUMENT
    assert [file.name for file in path.parent.iterdir()] == ["r.json"]


def test_an_interrupted_write_leaves_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "r.json"
    write_results(DOCUMENT, path)

    def disk_full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", disk_full)
    with pytest.raises(ResultError, match=r"r\.json cannot be written: No space left"):
        write_results(ResultFile(environment=ENVIRONMENT, results=()), path)
    assert read_results(path) == DOCUMENT
    assert [file.name for file in tmp_path.iterdir()] == ["r.json"]


def test_a_place_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(ResultError, match="cannot be written"):
        write_results(DOCUMENT, tmp_path / "file" / "r.json")


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(ResultError, match=r"no\.json cannot be read: No such file"):
        read_results(tmp_path / "no.json")


def test_accuracy_alone_needs_no_comparison() -> None:
    accuracy = Accuracy(n=10, top1=50.0, top1_ci95=(23.7, 76.3))
    document = replace(DOCUMENT, results=(Result(variant=VARIANT, accuracy=accuracy),))
    written = json.loads(encode_results(document))["results"][0]["accuracy"]
    assert written == {"n": 10, "top1": 50.0, "top1_ci95": [23.7, 76.3]}
