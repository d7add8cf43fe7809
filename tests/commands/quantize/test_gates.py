"""The gates of ``edgecnn quantize``: what was lost, and whether it is faster."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest

from edgecnn.quantize import measure
from edgecnn.reports.result import Gate
from edgecnn.timing.speed import SpeedRatio
from tests.commands.quantize.running import Case, breaks, quantize, results_of, speed_of


def test_losing_too_much_exits_with_3(case: Case, monkeypatch: pytest.MonkeyPatch) -> None:
    breaks(monkeypatch)
    arguments = ("--calib", case.calib, "--data", case.data, "--recipe", "minmax", "--max-drop", "1.5")
    result = quantize(case.model, *arguments)
    assert result.exit_code == 3
    assert "--max-drop allows 1.5" in result.stderr
    assert "not faster" not in result.stderr
    assert "--recipe auto" in result.stderr
    assert "--keep-float" in result.stderr
    assert "The file was written" in result.stderr
    assert Path("small.int8.onnx").is_file()
    assert quantize(case.model, *arguments[:-1], "100").exit_code == 0


FAILED = Gate(name="max_drop", limit=0.5, value=9.0, held=False)


@pytest.mark.parametrize(
    ("arguments", "said", "unsaid"),
    [
        (("--recipe", "minmax"), ("More calibration images, --recipe auto or --keep-float",), ("--target",)),
        (
            ("--recipe", "minmax", "--target", "trt"),
            ("More calibration images", "searched for --target ort only", "inspect"),
            (),
        ),
        (("--recipe", "auto", "--target", "trt"), ("images or --keep-float",), ("--recipe auto or",)),
        (("--recipe", "fp16"), ("\n--recipe auto or --keep-float",), ("calibration images",)),
    ],
)
def test_the_remedy_names_what_the_target_allows(
    arguments: Sequence[str],
    said: Sequence[str],
    unsaid: Sequence[str],
    case: Case,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(measure, "drop_gate", lambda *_: FAILED)
    result = quantize(case.model, "--calib", case.calib, *arguments)
    assert result.exit_code == 3, result.output
    for words in said:
        assert words in result.stderr
    for words in unsaid:
        assert words not in result.stderr.splitlines()[-1]


def test_other_answers_than_the_float_models_are_a_warning_on_few_images_too(
    case: Case, monkeypatch: pytest.MonkeyPatch
) -> None:
    breaks(monkeypatch)
    arguments = ("--calib", case.calib, "--recipe", "minmax", "--max-drop", "100", "--json")
    result = quantize(case.model, *arguments)
    assert result.exit_code == 0, result.output
    (warning,) = results_of(result).results[1].warnings
    assert "It answers as the float model on" in warning
    assert "of 20 images only" in warning
    assert f"Warning: {warning}" in result.stderr


def test_being_as_fast_as_the_float_model_exits_with_3(case: Case, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(measure, "compare_speed", speed_of(1.0, 0.01))
    result = quantize(case.model, "--calib", case.calib, "--recipe", "minmax")
    assert result.exit_code == 3
    assert "not faster than the float model: 1.00 times the speed (95 % interval 0.99 to" in result.stderr


def test_not_being_faster_exits_with_3(case: Case, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(measure, "compare_speed", speed_of(0.8))
    result = quantize(case.model, "--calib", case.calib, "--recipe", "minmax", "--json")
    assert result.exit_code == 3
    words = "not faster than the float model: 0.80 times the speed (95 % interval 0.72 to 0.88; 100 % of its"
    assert words in result.stderr
    assert "--max-drop" not in result.stderr
    assert "float model" in result.stderr.splitlines()[-1]
    gates = {gate.name: gate.held for gate in results_of(result).results[1].gates}
    assert gates == {"max_drop": True, "min_speedup": False}


CANNOT_TELL = "Whether it is faster than the float model cannot be told: the 95 % interval of its speed is"


@pytest.mark.parametrize(
    ("ratio", "reach", "words"),
    [
        (6.74, 0.969, f"{CANNOT_TELL} 0.21 to 13.27 times"),
        (0.96, 0.1, f"{CANNOT_TELL} 0.86 to 1.06 times"),
        (2.3, 0.6, f"{CANNOT_TELL} 0.92 to 3.68 times"),
    ],
)
def test_what_cannot_be_told_is_a_warning(
    ratio: float, reach: float, words: str, case: Case, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(measure, "compare_speed", speed_of(ratio, reach))
    result = quantize(case.model, "--calib", case.calib, "--recipe", "minmax", "--json")
    assert result.exit_code == 0, result.output
    assert f"Warning: {words}" in result.stderr
    quantised = results_of(result).results[1]
    assert {gate.name: gate.held for gate in quantised.gates} == {"max_drop": True, "min_speedup": True}
    assert len(quantised.warnings) == 1
    assert quantised.ratio is not None
    assert not quantised.ratio.distinct


def test_both_are_told(case: Case, monkeypatch: pytest.MonkeyPatch) -> None:
    breaks(monkeypatch)
    monkeypatch.setattr(measure, "compare_speed", speed_of(0.8))
    result = quantize(case.model, "--calib", case.calib, "--data", case.data, "--recipe", "minmax")
    assert result.exit_code == 3
    assert "--max-drop allows 0.5" in result.stderr
    assert "not faster" in result.stderr


def test_what_is_for_size_need_not_be_faster(case: Case, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(measure, "compare_speed", speed_of(0.8))
    result = quantize(case.model, "--recipe", "fp16", "--json")
    assert result.exit_code == 0, result.output
    assert results_of(result).results[1].gates == ()
    monkeypatch.setattr(measure, "compare_speed", speed_of(1.0))
    result = quantize(case.model, "--recipe", "fp16", "--json")
    assert results_of(result).results[1].warnings == ()
    assert "cannot be told" not in result.stderr


@pytest.mark.parametrize(("recipe", "tell_from"), [("minmax", 1.0), ("fp16", None)])
def test_only_what_must_be_faster_is_measured_until_it_is_told(
    recipe: str, tell_from: float | None, case: Case, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[object] = []

    def compare(*runs: object, **options: object) -> SpeedRatio:
        asked.append(options["tell_from"])
        return speed_of(2.0)()

    monkeypatch.setattr(measure, "compare_speed", compare)
    assert quantize(case.model, "--calib", case.calib, "--recipe", recipe).exit_code == 0
    assert asked == [tell_from]
