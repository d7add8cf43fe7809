"""What MODEL may be: a file, or a network's name."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from edgecnn.artifact import Artifact, open_artifact, read_onnx
from edgecnn.cache import cache_folder
from edgecnn.commands import export_cache
from edgecnn.commands.model_argument import ModelOptions, resolve_model, resolve_models
from edgecnn.errors import (
    DependencyMissingError,
    SpecMissingError,
    UnknownNameError,
    UsageError,
    WeightsError,
)

Make = Callable[..., Path]

RANDOM = ModelOptions(weights="random")


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("EDGECNN_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache" / "artifacts"


@pytest.fixture
def exports(monkeypatch: pytest.MonkeyPatch, reader: Make) -> list[tuple[str, int]]:
    """Stands in for the export, which has tests of its own; lists weights and seeds."""
    done: list[tuple[str, int]] = []

    def export(card: Any, weights: str, seed: int, path: Path, announce: Any) -> Artifact:
        done.append((weights, seed))
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(reader().read_bytes())
        return open_artifact(path)

    monkeypatch.setattr(export_cache, "_export", export)
    return done


def _without_spec(path: Path) -> Path:
    model = read_onnx(path)
    del model.metadata_props[:]
    path.write_bytes(model.SerializeToString())
    return path


def test_a_file_is_opened(reader: Make) -> None:
    path = reader()
    assert resolve_model(str(path), ModelOptions()).spec.network == "reader"


def test_a_file_counts_before_a_network_of_the_same_name(
    reader: Make, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    reader("alexnet")
    monkeypatch.chdir(tmp_path)
    assert resolve_model("alexnet", ModelOptions()).spec.network == "reader"


def test_a_foreign_file_needs_a_spec_and_takes_it(reader: Make, tmp_path: Path) -> None:
    path = _without_spec(reader())
    with pytest.raises(SpecMissingError, match="--spec"):
        resolve_model(str(path), ModelOptions())
    said = tmp_path / "said.json"
    said.write_text('{"preprocess": {"resize": null, "crop": [4, 4]}, "labels": "digits"}')
    spec = resolve_model(str(path), ModelOptions(spec=str(said))).spec
    assert (spec.classes[3], spec.preprocess.in_graph) == ("3", True)
    with pytest.raises(UnknownNameError, match="nor spec file"):
        resolve_model(str(path), ModelOptions(spec="mobilnet"))


def test_the_spec_that_a_file_carries_counts(reader: Make) -> None:
    said: list[str] = []
    artifact = resolve_model(str(reader()), ModelOptions(spec="mobilenet_v2"), said.append)
    assert artifact.spec.network == "reader"
    assert "carries its own spec" in said[0]


def test_a_network_is_exported_once(cache: Path, exports: list[tuple[str, int]]) -> None:
    first = resolve_model("alexnet", RANDOM)
    second = resolve_model("alexnet", RANDOM)
    assert first.path == second.path
    assert first.path.parent == cache
    assert exports == [("random", 0)]


def test_other_weights_are_another_export(
    cache: Path, exports: list[tuple[str, int]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    weights = tmp_path / "w.pth"
    weights.write_bytes(b"one")
    paths = [
        resolve_model("alexnet", RANDOM).path,
        resolve_model("alexnet", ModelOptions(weights="random", seed=1)).path,
        resolve_model("alexnet", ModelOptions(weights="pretrained")).path,
        resolve_model("alexnet", ModelOptions(weights="w.pth")).path,
        resolve_model("lenet5", RANDOM).path,
    ]
    weights.write_bytes(b"two")
    paths.append(resolve_model("alexnet", ModelOptions(weights=str(weights))).path)
    assert len(set(paths)) == len(paths)
    assert exports == [
        ("random", 0),
        ("random", 1),
        ("pretrained", 0),
        (str(weights), 0),
        ("random", 0),
        (str(weights), 0),
    ]


def test_a_new_version_of_a_library_is_another_export(
    cache: Path, exports: list[tuple[str, int]], monkeypatch: pytest.MonkeyPatch
) -> None:
    resolve_model("alexnet", RANDOM)
    monkeypatch.setattr(export_cache, "version", lambda package: "99")
    resolve_model("alexnet", RANDOM)
    assert len(exports) == 2


def test_a_damaged_cache_is_made_again(cache: Path, exports: list[tuple[str, int]]) -> None:
    path = resolve_model("alexnet", RANDOM).path
    path.write_bytes(b"damaged")
    said: list[str] = []
    assert resolve_model("alexnet", RANDOM, said.append).spec.network == "reader"
    assert len(exports) == 2
    assert "damaged" in said[0]


def test_a_network_needs_weights() -> None:
    with pytest.raises(UsageError, match="which weights") as caught:
        resolve_model("alexnet", ModelOptions())
    assert "--weights pretrained" in caught.value.remedy


def test_missing_weights_are_named(cache: Path) -> None:
    with pytest.raises(WeightsError, match=r"nowhere\.pth: there is no such file"):
        resolve_model("alexnet", ModelOptions(weights="nowhere.pth"))


def test_without_torch_the_error_says_what_to_install(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(export_cache, "find_spec", lambda package: None)
    with pytest.raises(DependencyMissingError, match=r"edgecnn\[export\]"):
        resolve_model("alexnet", RANDOM)


def test_neither_a_file_nor_a_network_gets_the_nearest_of_both(reader: Make, tmp_path: Path) -> None:
    reader("my_alexnet.onnx")
    with pytest.raises(UsageError, match="neither a file nor a network") as caught:
        resolve_model(str(tmp_path / "my_alexnt.onnx"), ModelOptions())
    assert str(tmp_path / "my_alexnet.onnx") in caught.value.remedy
    with pytest.raises(UsageError, match="neither a file") as caught:
        resolve_model("alexnett", ModelOptions())
    assert "Did you mean alexnet" in caught.value.remedy


def test_a_folder_and_a_file_of_weights_are_told_apart(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"neither a file \(it is a folder\) nor a network"):
        resolve_model(str(tmp_path), ModelOptions())
    weights = tmp_path / "w.pth"
    weights.touch()
    with pytest.raises(UsageError, match="holds weights, not a model"):
        resolve_model(str(weights), ModelOptions())


def test_options_that_no_model_can_use_are_refused(reader: Make) -> None:
    path = str(reader())
    with pytest.raises(UsageError, match="--weights is for networks"):
        resolve_models([path], RANDOM)
    with pytest.raises(UsageError, match="--spec is for model files"):
        resolve_models(["alexnet"], ModelOptions(spec="mobilenet_v2", weights="random"))


def test_a_model_named_twice_is_opened_once(reader: Make) -> None:
    path = str(reader())
    one, two = resolve_models([path, path], ModelOptions())
    assert one is two


@pytest.mark.slow
def test_a_real_export_is_found_again_without_torch(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    said: list[str] = []
    first = resolve_model("lenet5", RANDOM, said.append)
    assert said
    monkeypatch.setattr(export_cache, "_export", None)
    assert resolve_model("lenet5", RANDOM).spec == first.spec
    assert first.spec.weights.name == "seed=0"


@pytest.mark.parametrize(
    ("system", "variables", "expected"),
    [
        ("Linux", {"XDG_CACHE_HOME": "/x"}, "/x/edgecnn/artifacts"),
        ("Linux", {}, "/home/me/.cache/edgecnn/artifacts"),
        ("Darwin", {"XDG_CACHE_HOME": "/x"}, "/home/me/Library/Caches/edgecnn/artifacts"),
        ("Windows", {"LOCALAPPDATA": "/l"}, "/l/edgecnn/artifacts"),
        ("Linux", {"EDGECNN_CACHE": "/mine"}, "/mine/artifacts"),
    ],
)
def test_the_cache_is_where_the_platform_has_it(
    monkeypatch: pytest.MonkeyPatch, system: str, variables: dict[str, str], expected: str
) -> None:
    for name in ("EDGECNN_CACHE", "XDG_CACHE_HOME", "LOCALAPPDATA"):
        monkeypatch.delenv(name, raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr("platform.system", lambda: system)
    monkeypatch.setattr(Path, "home", lambda: Path("/home/me"))
    assert cache_folder("artifacts") == Path(expected)
