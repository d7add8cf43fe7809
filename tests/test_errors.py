"""The error tree: exit codes, remedies, and the nearest names."""

from __future__ import annotations

import inspect

import pytest

from edgecnn import errors


def _types() -> list[type[errors.EdgecnnError]]:
    return [getattr(errors, name) for name in errors.__all__]


def test_every_error_is_documented_in_the_tree() -> None:
    assert errors.__doc__ is not None
    for kind in _types():
        assert kind.__name__ in errors.__doc__
        assert inspect.getdoc(kind)


@pytest.mark.parametrize(
    ("kind", "code"),
    [
        (errors.UsageError, 2),
        (errors.UnknownNameError, 2),
        (errors.EmptyDataError, 2),
        (errors.GateError, 3),
        (errors.ExportError, 1),
    ],
)
def test_exit_codes(kind: type[errors.EdgecnnError], code: int) -> None:
    assert kind.exit_code == code


def test_message_is_problem_then_remedy() -> None:
    error = errors.WeightsError("The file is gone.", "Put it back.")
    assert str(error) == "The file is gone.\nPut it back."


def test_unknown_name_offers_the_nearest() -> None:
    error = errors.UnknownNameError("network", "mobilnet_v2", ["mobilenet_v2", "vgg16"])
    assert error.nearest == ("mobilenet_v2",)
    assert "Did you mean mobilenet_v2?" in str(error)


def test_unknown_name_without_a_near_one_lists_all() -> None:
    assert "Known: ort, torch." in str(errors.UnknownNameError("engine", "xyz", ["torch", "ort"]))


def test_image_error_names_the_image_and_the_reason() -> None:
    error = errors.ImageError("a.jpg", "it is empty")
    assert (error.image, error.reason) == ("a.jpg", "it is empty")
    assert str(error).startswith("a.jpg: it is empty")


def test_missing_dependency_names_the_command() -> None:
    assert "pip install 'edgecnn[timm]'" in str(errors.DependencyMissingError("timm", "NASNet", "timm"))
