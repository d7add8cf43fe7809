"""Named tensors out of files that many sorts of programs wrote."""

from __future__ import annotations

import sys
from argparse import Namespace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file

from edgecnn.checkpoint import Checkpoint, save_checkpoint
from edgecnn.errors import DependencyMissingError, WeightsError
from edgecnn.spec import Preprocess
from edgecnn.weights.state_dict import read_weights

STATE = {"conv.weight": torch.ones(2, 1, 3, 3), "conv.bias": torch.zeros(2)}


@pytest.mark.parametrize(
    "saved",
    [
        STATE,
        {"state_dict": STATE, "epoch": 3},
        {"model": STATE, "optimizer": {"lr": 0.1}},
        {"model_state_dict": STATE},
        {"model": {f"module.{name}": value for name, value in STATE.items()}},
        {f"_orig_mod.{name}": value for name, value in STATE.items()},
        {f"module._orig_mod.{name}": value for name, value in STATE.items()},
    ],
)
def test_wrappers_and_prefixes_are_taken_off(tmp_path: Path, saved: dict[str, Any]) -> None:
    torch.save(saved, tmp_path / "weights.pth")
    file = read_weights(tmp_path / "weights.pth")
    assert file.checkpoint is None
    assert file.tensors.keys() == STATE.keys()
    assert all(torch.equal(file.tensors[name], STATE[name]) for name in STATE)


def test_a_prefix_that_only_some_names_have_stays(tmp_path: Path) -> None:
    torch.save({"module.weight": torch.ones(1), "bias": torch.ones(1)}, tmp_path / "weights.pth")
    assert set(read_weights(tmp_path / "weights.pth").tensors) == {"module.weight", "bias"}


def test_a_checkpoint_comes_with_all_that_it_knows(tmp_path: Path) -> None:
    saved = Checkpoint("lenet5", ("a", "b"), Preprocess(resize=None, crop=(8, 8)), STATE)
    save_checkpoint(saved, tmp_path / "best.pt")
    file = read_weights(tmp_path / "best.pt")
    assert file.tensors.keys() == STATE.keys()
    assert file.checkpoint is not None
    assert file.checkpoint.classes == ("a", "b")


def test_safetensors(tmp_path: Path) -> None:
    save_file({f"module.{name}": value for name, value in STATE.items()}, tmp_path / "model.safetensors")
    tensors = read_weights(tmp_path / "model.safetensors").tensors
    assert torch.equal(tensors["conv.weight"], STATE["conv.weight"])


def test_safetensors_that_cannot_be_read_are_named(tmp_path: Path) -> None:
    path = tmp_path / "model.safetensors"
    with pytest.raises(WeightsError, match="no such file"):
        read_weights(path)
    save_file(STATE, path)
    path.write_bytes(path.read_bytes()[:-8])
    with pytest.raises(WeightsError, match=r"model\.safetensors cannot be read as safetensors"):
        read_weights(path)


def test_safetensors_without_their_package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "safetensors", None)
    with pytest.raises(DependencyMissingError, match="safetensors"):
        read_weights(tmp_path / "model.safetensors")


@pytest.mark.parametrize(
    ("saved", "reason"),
    [
        ([1, 2], "holds a list"),
        (torch.ones(2), "holds a Tensor"),
        ({}, "holds nothing"),
        ({"epoch": 3, "conv.weight": torch.ones(1)}, r"'epoch' \(int\)"),
        ({0: torch.ones(1)}, r"0 \(Tensor\)"),
        ({"w": torch.ones(1, dtype=torch.complex64)}, r"'w' \(Tensor\)"),
        ({"w": torch.ones(2, 2).to_sparse()}, r"'w' \(Tensor\)"),
    ],
)
def test_what_is_no_state_dict_is_described(tmp_path: Path, saved: object, reason: str) -> None:
    torch.save(saved, tmp_path / "other.pth")
    with pytest.raises(WeightsError, match=reason) as caught:
        read_weights(tmp_path / "other.pth")
    assert "torch.save(model.state_dict(), path)" in caught.value.remedy


def test_a_training_script_that_saved_its_options_is_refused_as_code(tmp_path: Path) -> None:
    torch.save({"state_dict": STATE, "args": Namespace(lr=0.1)}, tmp_path / "run.pth.tar")
    with pytest.raises(WeightsError, match=r"contains code.*argparse\.Namespace"):
        read_weights(tmp_path / "run.pth.tar")
