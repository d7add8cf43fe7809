"""The matrix: what is measured, what is known from before, and what fails without stopping the rest."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgecnn.artifact import Artifact
from edgecnn.compare import ComparePlan, MatrixOutcome, Subject, run_matrix
from edgecnn.compare import accuracy as accuracy_module
from edgecnn.engines.choice import parse_choices
from edgecnn.errors import EngineUnavailableError, QuantizationError, UsageError
from edgecnn.reports.label import label
from edgecnn.reports.result import Result
from edgecnn.spec import QuantizationAccuracy
from edgecnn.validate import evaluate, open_for_pass

Make = Callable[..., Any]


@pytest.fixture
def passes(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many engines each pass over the images had."""
    found: list[int] = []
    real = evaluate

    def counted(engines: Any, *rest: Any, **more: Any) -> Any:
        found.append(len(engines))
        return real(engines, *rest, **more)

    monkeypatch.setattr(accuracy_module, "evaluate", counted)
    return found


def _summary(outcome: MatrixOutcome) -> list[tuple[str, str, str, bool]]:
    return [
        (each.variant.network, each.variant.precision, each.variant.engine, each.error is None)
        for each in outcome.document.results
    ]


def test_each_cell_has_accuracy_and_speed(plan: Make, artifact: Make, calls: Any) -> None:
    outcome = run_matrix(plan(artifact("one"), artifact("two", shift=1)))
    assert _summary(outcome) == [
        ("one", "fp32", "ort", True),
        ("one", "int8", "ort", True),
        ("two", "fp32", "ort", True),
        ("two", "int8", "ort", True),
    ]
    assert not outcome.failed
    accuracies = [each.accuracy for each in outcome.document.results]
    assert [each and each.top1 for each in accuracies] == [100.0, 100.0, 0.0, 100.0]
    assert [each and each.reference is None for each in accuracies] == [True, False, True, False]
    assert all(each.latency_ms is not None for each in outcome.document.results)
    assert len(calls.measured) == 2  # one for each network, its cells in turns


def test_the_settings_reach_the_benchmark_and_the_quantisation(
    plan: Make,
    artifact: Make,
    calls: Any,
) -> None:
    run_matrix(plan(artifact(), batch=4, threads=2, duration_s=0.5, max_drop=1.5, images=3))
    (measured,) = calls.measured
    assert (measured.batches, measured.threads, measured.duration_s) == ((4,), (2,), 0.5)
    assert measured.memory is False
    ((_, settings),) = calls.quantised
    assert (settings.target, settings.recipe, settings.max_drop, settings.images) == ("ort", "auto", 1.5, 3)


def test_cells_that_cannot_be_are_left_out_and_are_no_failure(
    plan: Make,
    artifact: Make,
    calls: Any,
) -> None:
    made = plan(artifact(), engines="ort,torch", precisions=("int8", "bf16"))
    outcome = run_matrix(made)
    assert _summary(outcome) == [("reader", "int8", "ort", True)]
    assert [text.partition(":")[0] for text in outcome.left_out] == [
        "bf16 in ort",
        "int8 in torch",
        "bf16 in torch",
    ]
    assert not outcome.failed
    assert calls.quantised


def test_nothing_but_such_cells_is_wrong_usage(plan: Make, artifact: Make) -> None:
    with pytest.raises(UsageError, match="nothing to compare: int8 in torch: PyTorch runs"):
        run_matrix(plan(artifact(), engines="torch", precisions=("int8",)))


def test_a_network_that_was_not_exported_fails_and_the_others_go_on(
    plan: Make,
    artifact: Make,
    calls: Any,
) -> None:
    outcome = run_matrix(plan(Subject("broken", None, "Its weights do not fit."), artifact()))
    assert _summary(outcome) == [
        ("broken", "fp32", "ort", False),
        ("broken", "int8", "ort", False),
        ("reader", "fp32", "ort", True),
        ("reader", "int8", "ort", True),
    ]
    assert outcome.document.results[1].error == "Its weights do not fit."
    assert label(outcome.document.results[1].variant) == "broken int8 ort, batch 1"
    assert outcome.failed
    assert len(calls.measured) == 1


def test_a_quantisation_that_fails_leaves_the_float_cell(
    plan: Make,
    artifact: Make,
    calls: Any,
) -> None:
    calls.fail["one"] = QuantizationError("It cannot be quantised.", "Use another.")
    outcome = run_matrix(plan(artifact("one"), artifact("two")))
    assert [each[-1] for each in _summary(outcome)] == [True, False, True, True]
    assert "It cannot be quantised." in str(outcome.document.results[1].error)
    assert outcome.failed


def test_an_engine_that_is_not_installed_fails_alone(
    plan: Make,
    artifact: Make,
    calls: Any,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    real = open_for_pass

    def opened(engine: str, *rest: Any) -> Any:
        if engine == "torch":
            raise EngineUnavailableError("torch is not installed.", "pip install 'edgecnn[export]'")
        return real(engine, *rest)

    monkeypatch.setattr(accuracy_module, "open_for_pass", opened)
    outcome = run_matrix(plan(artifact(), engines="torch,ort", precisions=("fp32",)))
    assert [each[-1] for each in _summary(outcome)] == [False, True]
    assert "pip install" in str(outcome.document.results[0].error)
    assert len(calls.measured[0].variants) == 1


def test_an_engine_that_fails_in_the_benchmark_keeps_its_accuracy(
    plan: Make,
    artifact: Make,
    calls: Any,
) -> None:
    calls.fail["bench reader"] = QuantizationError("It broke.", "Mend it.")
    outcome = run_matrix(plan(artifact()))
    assert outcome.failed
    assert all(each.error and each.accuracy for each in outcome.document.results)
    calls.fail.clear()
    assert not run_matrix(plan(artifact())).failed  # failures are tried again


def _undated(outcome: MatrixOutcome) -> tuple[Result, ...]:
    """The results without the note that their speed is from an earlier run, which each has."""
    for result in outcome.document.results:
        assert "from an earlier run, of 20" in result.warnings[-1]
    return tuple(replace(result, warnings=result.warnings[:-1]) for result in outcome.document.results)


def test_the_second_run_makes_and_measures_nothing(
    plan: Make,
    artifact: Make,
    calls: Any,
    passes: list[int],
) -> None:
    made = plan(artifact())
    first = run_matrix(made)
    assert (len(calls.quantised), len(calls.measured), passes) == (1, 1, [2])
    again = run_matrix(made)
    assert _undated(again) == first.document.results
    assert (len(calls.quantised), len(calls.measured), passes) == (1, 1, [2])
    run_matrix(replace(made, fresh=True))
    assert (len(calls.quantised), len(calls.measured), passes) == (2, 2, [2, 2])


@pytest.mark.parametrize(
    ("change", "work"),
    [
        ({"duration_s": 0.06}, (0, 0, 1)),
        ({"batch": 2}, (0, 0, 1)),
        ({"threads": 1}, (0, 0, 1)),
        ({"memory": True}, (0, 0, 1)),
        ({"max_drop": 2.0}, (1, 0, 0)),
        ({"engines": parse_choices("ort:arena=off")}, (0, 1, 1)),
        ({"precisions": ("fp32",)}, (0, 0, 1)),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else None,
)
def test_a_changed_setting_repeats_what_depends_on_it(
    plan: Make,
    artifact: Make,
    calls: Any,
    passes: list[int],
    change: dict[str, Any],
    work: tuple[int, int, int],
) -> None:
    made = plan(artifact())
    run_matrix(made)
    before = (len(calls.quantised), len(passes), len(calls.measured))
    run_matrix(replace(made, **change))
    after = (len(calls.quantised), len(passes), len(calls.measured))
    assert tuple(new - old for new, old in zip(after, before, strict=True)) == work


def test_other_images_are_other_accuracies(
    plan: Make,
    artifact: Make,
    images: Make,
    calls: Any,
    passes: list[int],
) -> None:
    made = plan(artifact())
    run_matrix(made)
    outcome = run_matrix(replace(made, data=images([1, 2, 3, 4], stated=[1, 2, 3, 5])))
    accuracy = outcome.document.results[0].accuracy
    assert accuracy is not None
    assert accuracy.top1 == 75.0
    assert (len(calls.quantised), len(calls.measured), passes) == (1, 1, [2, 2])
    run_matrix(replace(made, calibration=images([5, 6, 7, 9])))
    assert len(calls.quantised) == 2


def test_another_table_of_classes_is_another_accuracy(
    plan: Make,
    artifact: Make,
    images: Make,
    calls: Any,
    tmp_path: Path,
) -> None:
    data = images([0, 1], stated=[1, 2], classes=["a", "b"])
    table = tmp_path / "classes.csv"
    made = plan(artifact(), data=data, calibration=data, classes=table)
    top1 = []
    for indices in ((0, 1), (1, 2)):
        lines = [f"{index},{name},{name}" for index, name in zip(indices, "ab", strict=True)]
        table.write_text("\n".join(["index,wnid,name", *lines]))
        accuracy = run_matrix(made).document.results[0].accuracy
        assert accuracy is not None
        top1.append(accuracy.top1)
    assert top1 == [0.0, 100.0]
    assert len(calls.quantised) == 2


def test_a_changed_model_is_made_and_measured_again(
    plan: Make,
    artifact: Make,
    calls: Any,
    passes: list[int],
) -> None:
    run_matrix(plan(artifact()))
    run_matrix(plan(artifact(shift=1)))
    assert (len(calls.quantised), len(calls.measured), passes) == (2, 2, [2, 2])


def test_the_same_model_under_another_name_is_known_and_called_by_it(
    plan: Make,
    artifact: Make,
    calls: Any,
    tmp_path: Path,
) -> None:
    base: Artifact = artifact()
    copy = Artifact(tmp_path / "copy.onnx", base.spec)
    shutil.copy(base.path, copy.path)
    first, *_, second, _ = run_matrix(plan(base, copy)).document.results
    assert (first.variant.artifact, second.variant.artifact) == (str(base.path), str(copy.path))
    assert len(calls.measured) == 1


@pytest.mark.parametrize("damage", [b"", b"\x00" * 64, None], ids=["empty", "zeros", "cut"])
def test_a_damaged_artifact_is_made_again(
    plan: Make,
    artifact: Make,
    calls: Any,
    damage: bytes | None,
) -> None:
    made: ComparePlan = plan(artifact())
    first = run_matrix(made)
    (path,) = (made.folder / "artifacts").glob("*.onnx")
    path.write_bytes(path.read_bytes()[:-100] if damage is None else damage)
    said: list[str] = []
    again = run_matrix(made, lambda text, _share: said.append(text))
    assert _undated(again) == first.document.results
    assert len(calls.quantised) == 2
    assert any("Quantising again, since the file is damaged" in text for text in said)


def test_damaged_cells_are_measured_again(
    plan: Make,
    artifact: Make,
    calls: Any,
    passes: list[int],
) -> None:
    made: ComparePlan = plan(artifact())
    run_matrix(made)
    for path in (made.folder / "cells").iterdir():
        path.write_bytes(path.read_bytes()[:50])
    assert not run_matrix(made).failed
    assert (len(calls.quantised), len(calls.measured), passes) == (1, 2, [2, 2])


def test_an_interrupted_run_goes_on_where_it_was(
    plan: Make,
    artifact: Make,
    calls: Any,
    passes: list[int],
) -> None:
    made = plan(artifact("one"), artifact("two", shift=1))
    calls.fail["bench two"] = KeyboardInterrupt()
    with pytest.raises(KeyboardInterrupt):
        run_matrix(made)
    calls.fail.clear()
    assert not run_matrix(made).failed
    assert [network for network, _ in calls.quantised] == ["one", "two"]
    assert [plan.variants[0].artifact.spec.network for plan in calls.measured] == ["one", "two", "two"]
    assert passes == [2, 2]


def test_labels_that_do_not_fit_leave_the_speed(
    plan: Make,
    artifact: Make,
    images: Make,
    calls: Any,
) -> None:
    made = plan(artifact(), data=images([0, 1], classes=["cat", "dog"]))
    outcome = run_matrix(made)
    assert outcome.failed
    (problem,) = outcome.problems
    assert problem.startswith(
        "The accuracy of reader could not be measured. tiny: the model has no class 'cat'"
    )
    for result in outcome.document.results:
        assert (result.error, result.accuracy) == (None, None)
        assert result.latency_ms is not None
    assert calls.measured


def test_without_data_there_is_speed_alone(
    plan: Make,
    artifact: Make,
    calls: Any,
    passes: list[int],
) -> None:
    outcome = run_matrix(plan(artifact(), data=None, calibration=None, precisions=("fp32", "fp16")))
    assert not outcome.failed
    assert passes == []
    assert [settings.recipe for _, settings in calls.quantised] == ["fp16"]


def test_the_progress_never_goes_back_and_ends_at_the_end(
    plan: Make,
    artifact: Make,
    calls: Any,
) -> None:
    shares: list[float] = []
    made = plan(artifact("one"), Subject("broken", None, "No."), artifact("two"))
    run_matrix(made, lambda _text, share: shares.append(share))
    assert shares == sorted(shares)
    assert len(set(shares)) == 10  # start, end, and four steps of each sound network
    assert shares[-1] == 1.0
    assert calls.measured


@pytest.mark.parametrize("duration", [0.0, -1.0, float("nan"), float("inf")])
def test_no_duration_is_wrong_usage(plan: Make, artifact: Make, duration: float) -> None:
    with pytest.raises(UsageError, match="--duration is"):
        plan(artifact(), duration_s=duration)


def test_threads_are_said_once(plan: Make, artifact: Make) -> None:
    with pytest.raises(UsageError, match="--threads and the options of --engine ort:threads=1"):
        plan(artifact(), engines="torch,ort:threads=1", threads=2)


def test_no_images_are_wrong_usage(plan: Make, artifact: Make, images: Make) -> None:
    with pytest.raises(UsageError, match="tiny has no images"):
        plan(artifact(), data=images(np.zeros(0, np.int64)))


def test_int8_without_images_says_what_gives_them(plan: Make, artifact: Make) -> None:
    with pytest.raises(UsageError, match="int8 needs images") as caught:
        plan(artifact(), calibration=None)
    assert "--calib DATA" in caught.value.remedy


def _gates(outcome: MatrixOutcome) -> list[list[tuple[str, float, float, bool]]]:
    return [
        [(gate.name, gate.limit, gate.value, gate.held) for gate in each.gates]
        for each in outcome.document.results
    ]


def test_the_drop_of_what_was_quantised_is_a_gate(plan: Make, artifact: Make, calls: Any) -> None:
    outcome = run_matrix(plan(artifact(), max_drop=1.5))
    assert _gates(outcome) == [[], [("max_drop", 1.5, 0.0, True)]]


@pytest.mark.parametrize(("images_of_each", "held"), [(1, True), (20, False)])
def test_a_drop_that_chance_explains_holds(
    plan: Make, artifact: Make, images: Make, calls: Any, images_of_each: int, held: bool
) -> None:
    """The float model has all right, the quantised one those of the last class only."""
    calls.wrong = True
    made = plan(artifact(), data=images([1, 9, 9, 9] * images_of_each), max_drop=1.5)
    for _ in range(2):  # measured, and known from before
        assert _gates(run_matrix(made)) == [[], [("max_drop", 1.5, 25.0, held)]]


def test_without_images_to_validate_by_the_drop_is_that_of_the_quantisation(
    plan: Make, artifact: Make, calls: Any
) -> None:
    calls.accuracy = QuantizationAccuracy(
        data="held out",
        fingerprint="0",
        n=500,
        reference_top1=90.0,
        top1=86.0,
        drop=4.0,
        drop_ci95=(2.0, 6.0),
        agreement=95.0,
    )
    for _ in range(2):
        outcome = run_matrix(plan(artifact(), data=None, max_drop=1.0))
        assert _gates(outcome) == [[], [("max_drop", 1.0, 4.0, False)]]


def test_what_nobody_measured_has_no_gate(plan: Make, artifact: Make, calls: Any) -> None:
    assert _gates(run_matrix(plan(artifact(), data=None))) == [[], []]
