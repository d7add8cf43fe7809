from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest

from edgecnn.reports.label import file_name, label, model_names
from edgecnn.reports.result import LatencyMs, Result, Variant
from edgecnn.reports.rows import rows_of

MakeVariant = Callable[..., Variant]


@pytest.mark.parametrize(
    ("artifact", "name"),
    [
        ("comparison/artifacts/net.int8-0123456789abcdef.onnx", "net.int8"),
        ("net-minmax.onnx", "net-minmax"),
        ("net-0123456789abcde.onnx", "net-0123456789abcde"),
    ],
)
def test_the_key_of_compare_is_no_part_of_a_name(artifact: str, name: str, variant: MakeVariant) -> None:
    assert file_name(replace(variant(), artifact=artifact)) == name


def test_only_labels_that_collide_name_the_file(variant: MakeVariant) -> None:
    one = replace(variant(precision="int8"), artifact="a/mobilenet_v2-auto.onnx", sha256="aa")
    other = replace(one, artifact="a/mobilenet_v2-minmax.onnx", sha256="bb")
    assert model_names([variant(), one]) == ["mobilenet_v2"] * 2
    assert model_names([one, variant(), other]) == [
        "mobilenet_v2 (mobilenet_v2-auto)",
        "mobilenet_v2",
        "mobilenet_v2 (mobilenet_v2-minmax)",
    ]
    assert model_names([one, replace(other, artifact="b/mobilenet_v2-auto.onnx")]) == [
        "mobilenet_v2 (a/mobilenet_v2-auto.onnx)",
        "mobilenet_v2 (b/mobilenet_v2-auto.onnx)",
    ]
    assert model_names([one, replace(one, artifact="./a/mobilenet_v2-auto.onnx")]) == ["mobilenet_v2"] * 2


def test_rows_have_titles_and_names_of_their_own(variant: MakeVariant) -> None:
    one = replace(variant(), artifact="mobilenet_v2-a.onnx", sha256="aa")
    other = replace(one, artifact="mobilenet_v2-b.onnx", sha256="bb")
    rows = rows_of([Result(variant=each, latency_ms=LatencyMs(p50=1.0)) for each in (one, other)])
    assert [row.name for row in rows] == [
        "mobilenet_v2 (mobilenet_v2-a) fp32 ort",
        "mobilenet_v2 (mobilenet_v2-b) fp32 ort",
    ]
    assert len({row.title for row in rows}) == 2


def test_a_quantised_file_in_fp32_arithmetic_is_told_from_an_fp32_file(variant: MakeVariant) -> None:
    on_gpu = replace(variant(engine="ort-cuda"), artifact_precision="int8")
    assert label(on_gpu) == "mobilenet_v2 fp32 (int8 file) ort-cuda, batch 1, 2 threads"
    bf16 = replace(variant(precision="bf16", engine="openvino"), artifact_precision="fp32")
    assert label(bf16) == "mobilenet_v2 bf16 openvino, batch 1, 2 threads"
