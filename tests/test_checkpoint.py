"""What training writes can be read back, survives accidents, and never runs code."""

from __future__ import annotations

import os
import pickle
import zipfile
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from torch import nn

from edgecnn.checkpoint import (
    CHECKPOINT_FORMAT,
    Checkpoint,
    decode_checkpoint,
    is_checkpoint,
    load_checkpoint,
    read_torch_file,
    save_checkpoint,
)
from edgecnn.errors import WeightsError
from edgecnn.spec import Preprocess


def _checkpoint(**changes: Any) -> Checkpoint:
    values: dict[str, Any] = {
        "network": "lenet5",
        "classes": ("zero", "one"),
        "preprocess": Preprocess(resize=(32, 40), crop=(32, 32), color="L", mean=(0.1,), std=(0.2,)),
        "state_dict": {"weight": torch.arange(6.0).reshape(2, 3)},
        "progress": {
            "epoch": 3,
            "optimizer": {"state": {0: {"step": torch.tensor(7)}}, "betas": (0.9, 0.99)},
        },
    }
    return Checkpoint(**{**values, **changes})


class _Malice:
    """Unpickling it makes a file."""

    def __init__(self, trace: Path) -> None:
        self.trace = trace

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[str]]:
        return os.mkdir, (str(self.trace),)


def test_round_trip(tmp_path: Path) -> None:
    path = tmp_path / "runs" / "best.pt"
    saved = _checkpoint()
    save_checkpoint(saved, path)
    loaded = load_checkpoint(path)
    assert (loaded.network, loaded.classes, loaded.preprocess) == (
        saved.network,
        saved.classes,
        saved.preprocess,
    )
    assert torch.equal(loaded.state_dict["weight"], saved.state_dict["weight"])
    assert loaded.progress == saved.progress


def test_progress_may_be_empty(tmp_path: Path) -> None:
    save_checkpoint(_checkpoint(progress={}), tmp_path / "deploy.pt")
    assert load_checkpoint(tmp_path / "deploy.pt").progress == {}


def test_the_state_of_an_optimizer_and_of_generators_comes_back(tmp_path: Path) -> None:
    layer = nn.Linear(2, 2)
    optimizer = torch.optim.AdamW(layer.parameters(), lr=0.1)
    layer(torch.ones(1, 2)).sum().backward()
    optimizer.step()
    progress = {"optimizer": optimizer.state_dict(), "rng": torch.get_rng_state(), "history": [{"loss": 0.5}]}
    save_checkpoint(_checkpoint(progress=progress), tmp_path / "last.pt")
    loaded = load_checkpoint(tmp_path / "last.pt").progress
    torch.optim.AdamW(layer.parameters(), lr=0.3).load_state_dict(loaded["optimizer"])
    assert loaded["optimizer"]["param_groups"][0]["lr"] == 0.1
    assert torch.equal(loaded["rng"], progress["rng"])  # type: ignore[arg-type]
    assert loaded["history"] == [{"loss": 0.5}]


def test_what_could_not_be_read_back_is_refused_before_the_old_file_is_touched(tmp_path: Path) -> None:
    path = tmp_path / "last.pt"
    save_checkpoint(_checkpoint(), path)
    with pytest.raises(TypeError, match="not plain data"):
        save_checkpoint(_checkpoint(progress={"path": tmp_path}), path)
    assert load_checkpoint(path).network == "lenet5"
    assert list(tmp_path.iterdir()) == [path]


def test_a_full_disk_leaves_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "last.pt"
    save_checkpoint(_checkpoint(), path)

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(torch, "save", full)
    with pytest.raises(WeightsError, match="No space left") as caught:
        save_checkpoint(_checkpoint(network="other"), path)
    assert "untouched" in caught.value.remedy
    assert load_checkpoint(path).network == "lenet5"
    assert list(tmp_path.iterdir()) == [path]


def test_another_version_is_refused_naming_both(tmp_path: Path) -> None:
    torch.save({"format": "edgecnn.checkpoint/9"}, tmp_path / "future.pt")
    with pytest.raises(WeightsError) as caught:
        load_checkpoint(tmp_path / "future.pt")
    assert "edgecnn.checkpoint/9" in caught.value.problem
    assert CHECKPOINT_FORMAT in caught.value.problem


@pytest.mark.parametrize(
    ("loaded", "expected"),
    [
        ({"format": CHECKPOINT_FORMAT}, True),
        ({"format": "edgecnn.checkpoint/9"}, True),
        ({"format": "something"}, False),
        ({"conv.weight": torch.ones(1)}, False),
        ([1, 2], False),
    ],
)
def test_is_checkpoint(loaded: object, expected: bool) -> None:
    assert is_checkpoint(loaded) is expected


@pytest.mark.parametrize(
    "damage",
    [
        {"classes": None},
        {"classes": [1, 2]},
        {"preprocess": "{}"},
        {"preprocess": 3},
        {"state_dict": {"weight": 1}},
        {"progress": []},
        {"network": None},
    ],
)
def test_a_damaged_checkpoint_is_named(damage: dict[str, Any]) -> None:
    document = {
        "format": CHECKPOINT_FORMAT,
        "network": "lenet5",
        "classes": ["a"],
        "preprocess": '{"resize": null, "crop": [3, 3]}',
        "state_dict": {"weight": torch.ones(1)},
        "progress": {},
    }
    assert decode_checkpoint(document, origin="good.pt").classes == ("a",)
    with pytest.raises(WeightsError, match=r"bad\.pt is a damaged checkpoint"):
        decode_checkpoint({**document, **damage}, origin="bad.pt")
    missing = {key: value for key, value in document.items() if key not in damage}
    with pytest.raises(WeightsError, match=r"bad\.pt is a damaged checkpoint"):
        decode_checkpoint(missing, origin="bad.pt")


def test_a_plain_state_dict_is_no_checkpoint(tmp_path: Path) -> None:
    torch.save({"weight": torch.ones(1)}, tmp_path / "plain.pt")
    with pytest.raises(WeightsError, match="not an edgecnn checkpoint"):
        load_checkpoint(tmp_path / "plain.pt")


@pytest.mark.parametrize("protocol", [0, 1, 2, 3, 4, 5])
def test_a_pickle_with_code_is_refused_and_not_run(tmp_path: Path, protocol: int) -> None:
    trace, path = tmp_path / "was run", tmp_path / "malice.pkl"
    path.write_bytes(pickle.dumps({"weight": _Malice(trace)}, protocol=protocol))
    with pytest.raises(WeightsError, match=r"contains code.*posix\.mkdir.*none of it was run"):
        read_torch_file(path)
    assert not trace.exists()


@pytest.mark.parametrize("archive", [True, False])
def test_a_torch_file_with_code_is_refused_and_not_run(tmp_path: Path, archive: bool) -> None:
    trace, path = tmp_path / "was run", tmp_path / "malice.pth"
    torch.save({"weight": _Malice(trace)}, path, _use_new_zipfile_serialization=archive)
    with pytest.raises(WeightsError, match=r"contains code.*posix\.mkdir") as caught:
        read_torch_file(path)
    assert "state_dict()" in caught.value.remedy
    assert not trace.exists()


def test_a_whole_module_is_refused_as_code(tmp_path: Path) -> None:
    torch.save(nn.Sequential(nn.Linear(1, 1)), tmp_path / "module.pt")
    with pytest.raises(WeightsError, match=r"contains code.*torch\.nn\.modules"):
        read_torch_file(tmp_path / "module.pt")


def test_a_torchscript_archive_is_refused_as_code(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "scripted.pt", "w") as archive:
        archive.writestr("scripted/code/__torch__.py", "class Module: pass")
    with pytest.raises(WeightsError, match="a TorchScript program"):
        read_torch_file(tmp_path / "scripted.pt")


@pytest.mark.parametrize("archive", [True, False])
@pytest.mark.parametrize("protocol", [2, 3])
def test_files_of_all_ages_load(tmp_path: Path, archive: bool, protocol: int) -> None:
    path = tmp_path / "weights.pth"
    content = {"weight": torch.ones(2)}
    torch.save(content, path, pickle_protocol=protocol, _use_new_zipfile_serialization=archive)
    assert torch.equal(read_torch_file(path)["weight"], torch.ones(2))  # type: ignore[index]


def test_a_pickle_that_torch_does_not_read_safely_says_how_to_save_it(tmp_path: Path) -> None:
    (tmp_path / "plain.pkl").write_bytes(pickle.dumps({"weight": [1.0]}, protocol=4))
    with pytest.raises(WeightsError, match=r"plain\.pkl cannot be read") as caught:
        read_torch_file(tmp_path / "plain.pkl")
    assert "torch.save(model.state_dict(), path)" in caught.value.remedy


def test_what_is_no_file_of_weights_is_named(tmp_path: Path) -> None:
    (tmp_path / "empty.pth").touch()
    (tmp_path / "text.pth").write_text("These are no weights.\n")
    with pytest.raises(WeightsError, match="no such file") as caught:
        read_torch_file(tmp_path / "missing.pth")
    assert "--weights random" in caught.value.remedy
    with pytest.raises(WeightsError, match="is a folder"):
        read_torch_file(tmp_path)
    with pytest.raises(WeightsError, match="it is empty"):
        read_torch_file(tmp_path / "empty.pth")
    with pytest.raises(WeightsError, match=r"text\.pth cannot be read as weights"):
        read_torch_file(tmp_path / "text.pth")


def test_a_file_that_may_not_be_read_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    save_checkpoint(_checkpoint(), tmp_path / "a.pt")

    def denied(*_: object, **__: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(torch, "load", denied)
    with pytest.raises(WeightsError, match="Permission denied"):
        read_torch_file(tmp_path / "a.pt")


_UNHARMED = settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture])


@_UNHARMED
@given(archive=st.booleans(), kept=st.floats(0, 0.999))
def test_a_truncated_file_is_named(tmp_path: Path, archive: bool, kept: float) -> None:
    path = tmp_path / "weights.pth"
    torch.save({"weight": torch.ones(2, 3)}, path, _use_new_zipfile_serialization=archive)
    whole = path.read_bytes()
    path.write_bytes(whole[: int(kept * len(whole))])
    with pytest.raises(WeightsError, match=r"weights\.pth cannot be read"):
        read_torch_file(path)


@_UNHARMED
@given(archive=st.booleans(), place=st.floats(0, 0.999), byte=st.integers(0, 255))
def test_a_damaged_byte_never_escapes_as_another_error(
    tmp_path: Path, archive: bool, place: float, byte: int
) -> None:
    path = tmp_path / "weights.pth"
    torch.save({"weight": torch.ones(2, 3), "list": [1, "a"]}, path, _use_new_zipfile_serialization=archive)
    content = bytearray(path.read_bytes())
    content[int(place * len(content))] = byte
    path.write_bytes(content)
    with suppress(WeightsError):
        read_torch_file(path)
