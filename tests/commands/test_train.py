"""``edgecnn train`` at the command line."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner, Result

from edgecnn.cli import main
from edgecnn.train.learner import Learner

Train = Callable[..., Result]


@pytest.fixture
def stripes(tmp_path: Path) -> Path:
    """Horizontal and vertical stripes as an .npz with both splits."""
    image = np.zeros((2, 32, 32, 3), np.uint8)
    image[0, ::4] = image[1, :, ::4] = 255
    path = tmp_path / "stripes.npz"
    arrays = {
        f"{kind}_{split}": value
        for split, n in (("train", 8), ("test", 4))
        for kind, value in (("x", np.tile(image, (n, 1, 1, 1))), ("y", np.tile([0, 1], n)))
    }
    np.savez(path, classes=np.array(["lying", "standing"]), **arrays)  # type: ignore[arg-type]
    return path


@pytest.fixture
def train(stripes: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Train:
    """Runs the command in an empty folder on two epochs of stripes; later options win."""
    folder = tmp_path / "run"
    folder.mkdir()
    monkeypatch.chdir(folder)

    def run(*options: str | Path, network: str = "lenet5") -> Result:
        defaults = ["--data", str(stripes), "--weights", "random", "--epochs", "2", "--batch-size", "4"]
        fixed = ["train", network, *defaults, "--lr", "0.01", "--threads", "1"]
        return CliRunner().invoke(main, [*fixed, *map(str, options)])

    return run


def test_people_see_epochs_the_accuracy_and_the_files(train: Train) -> None:
    result = train("--augment", "none")
    assert result.exit_code == 0, result.output
    assert [line.split()[:2] for line in result.stderr.splitlines()] == [["epoch", "1/2"], ["epoch", "2/2"]]
    assert "lenet5.pt  lenet5, 2 classes" in result.stdout
    assert "val top-1 100.00 % (95 % interval 67.6 to 100.0, 8 images)" in result.stdout
    assert sorted(path.name for path in Path.cwd().iterdir()) == ["lenet5.curve.png", "lenet5.pt"]


def test_machines_get_one_document(train: Train, tmp_path: Path) -> None:
    output = tmp_path / "mine.pt"
    result = train("--json", "-o", output, "--ema", "0.9", "--augment", "cutmix")
    assert result.exit_code == 0, result.output
    document = json.loads(result.stdout)
    assert document["checkpoint"] == str(output)
    assert document["network"] == "lenet5"
    assert (document["epochs"], document["n_val"], len(document["history"])) == (2, 8, 2)
    assert document["best_top1"] == max(record["val_top1"] for record in document["history"])
    assert document["seconds"] == pytest.approx(sum(r["seconds"] for r in document["history"]))


def test_quiet_says_only_the_result(train: Train) -> None:
    assert train("-q", "--epochs", "1").stderr == ""


def test_ctrl_c_says_how_to_go_on_and_resume_goes_on(train: Train, monkeypatch: pytest.MonkeyPatch) -> None:
    train_epoch = Learner.train_epoch

    def interrupted(self: Learner, epoch: int, *arguments: Any) -> Any:
        if epoch == 2:
            raise KeyboardInterrupt
        return train_epoch(self, epoch, *arguments)

    with monkeypatch.context() as patch:
        patch.setattr(Learner, "train_epoch", interrupted)
        result = train()
    assert result.exit_code == 1
    assert "Interrupted. lenet5.pt holds the best epoch so far." in result.stderr
    assert "--resume" in result.stderr
    result = train("--resume")
    assert result.exit_code == 0, result.output
    assert result.stderr.startswith("epoch 2/2")


def test_ctrl_c_in_the_first_epoch(train: Train, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(Learner, "train_epoch", interrupted)
    result = train()
    assert result.exit_code == 1
    assert "Interrupted before the first epoch was complete." in result.stderr
    assert not list(Path.cwd().iterdir())


@pytest.mark.parametrize(
    ("options", "code", "told"),
    [
        (["--epochs", "0"], 2, "--epochs 0"),
        (["--train-layers", "head"], 2, "--train-layers head"),
        (["--optimizer", "adam"], 2, "adam"),
        (["--size", "40"], 2, "lenet5 does not take images of 40x40"),
        (["--data", "nowhere.csv"], 2, "nowhere.csv"),
        (["--weights", "none.pth"], 1, "none.pth"),
        (["-o", "."], 1, "is a folder"),
        (["--resume"], 1, "nothing to resume"),
    ],
)
def test_bad_input(options: list[str], code: int, told: str, train: Train) -> None:
    result = train(*options)
    assert result.exit_code == code, result.output
    assert told in result.stderr
    assert not list(Path.cwd().iterdir())


def test_a_misspelt_network(train: Train) -> None:
    result = train(network="lenet")
    assert result.exit_code == 2
    assert "lenet5" in result.stderr


@pytest.mark.slow
@pytest.mark.parametrize(
    ("network", "options"),
    [
        ("mobilenet_v2", ["--epochs", "6", "--optimizer", "sgd", "--lr", "0.05", "--batch-size", "32"]),
        ("cifar_resnet20", ["--epochs", "2", "--batch-size", "32", "--lr", "0.002"]),
    ],
)
def test_digits_are_learnt_in_seconds(network: str, options: list[str], train: Train) -> None:
    result = train("--data", "digits", "--augment", "none", "--json", *options, network=network)
    assert result.exit_code == 0, result.output
    assert json.loads(result.stdout)["best_top1"] > 90
