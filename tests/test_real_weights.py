"""The main job on real trained weights and real labelled images.

The figures are those of the data folder's own README, measured there with PyTorch and torchvision: correct
answers of top-1, and of top-5 where stated. "Within one image" is the tolerance, since ties in a resize or a
sum may fall either way.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import cache
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner, Result

from edgecnn.artifact import open_artifact
from edgecnn.cli import main
from edgecnn.engines import open_engine

#: Coverage would double the time of the exporter, all Python; what would be covered is so elsewhere, too.
pytestmark = [pytest.mark.realdata, pytest.mark.slow, pytest.mark.no_cover]

Exported = Callable[[str], Path]

ENGINES = ("torch", "ort")

#: weights -> correct answers: (eval top-1, eval top-5, eval_flickr top-1, eval_flickr top-5).
IMAGENET = {
    "mobilenet_v2": (807, 948, 581, 681),
    "squeezenet1_1": (705, 912, 425, 594),
    "squeezenet1_0": (665, 887, 411, 590),
}

CIFAR = {"cifar_resnet20": ("resnet20", 1817), "cifar_resnet56": ("resnet56", 1848)}

#: network -> largest and root mean square difference to the stored logits, as the data's README states them.
#: For squeezenet1_1 it states 1.2e-4. The stored logits are themselves 1.1e-4 from a float64 run, and so is
#: any float32 run, in a direction that depends on engine and threads: up to 3e-4 of logits around 100.
REFERENCE = {"mobilenet_v2": (0.0735, 0.0195), "squeezenet1_1": (3e-4, 1.2e-4)}


def _run(*arguments: object) -> Result:
    result = CliRunner().invoke(main, [str(argument) for argument in arguments])
    assert result.exit_code == 0, result.output
    return result


@pytest.fixture(scope="module")
def exported(real_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Exported:
    """Name -> its artifact, exported once by the command line, and only by those who ask for it."""
    folder = tmp_path_factory.mktemp("real")
    weights = {name: real_data / "weights" / f"{name}.pth" for name in IMAGENET}
    weights |= {name: real_data / "weights_cifar10" / f"{file}.pth" for name, (file, _) in CIFAR.items()}

    @cache
    def artifact(name: str) -> Path:
        path = folder / f"{name}.onnx"
        _run("export", name, "--weights", weights[name], "-o", path, "-q")
        return path

    return artifact


def _correct(path: Path, data: Path) -> dict[str, tuple[int, int]]:
    """engine -> (top-1, top-5), as correct answers, by ``edgecnn validate``."""
    engines = [word for name in ENGINES for word in ("--engine", name)]
    result = _run("validate", path, "--data", data, *engines, "--json", "-q")
    rows = json.loads(result.stdout)["results"]
    assert [row["variant"]["engine"] for row in rows] == list(ENGINES)
    return {
        row["variant"]["engine"]: (
            round(row["accuracy"]["top1"] * row["accuracy"]["n"] / 100),
            round(row["accuracy"]["top5"] * row["accuracy"]["n"] / 100),
        )
        for row in rows
    }


@pytest.mark.parametrize("name", IMAGENET)
@pytest.mark.parametrize("images", ["eval", "eval_flickr"])
def test_imagenet_accuracy(name: str, images: str, exported: Exported, real_data: Path) -> None:
    expected = IMAGENET[name][:2] if images == "eval" else IMAGENET[name][2:]
    for engine, correct in _correct(exported(name), real_data / "imagenet" / images).items():
        assert np.abs(np.subtract(correct, expected)).max() <= 1, (engine, correct, expected)


@pytest.mark.parametrize("name", CIFAR)
def test_cifar_accuracy(name: str, exported: Exported, real_data: Path) -> None:
    data = real_data / "cifar10" / "cifar10_subset.npz"
    for engine, (top1, _) in _correct(exported(name), data).items():
        assert abs(top1 - CIFAR[name][1]) <= 1, (engine, top1)


@pytest.mark.parametrize("name", REFERENCE)
@pytest.mark.parametrize("engine", ENGINES)
def test_stored_vectors(name: str, engine: str, exported: Exported, real_data: Path) -> None:
    stored = np.load(real_data / "reference_io" / f"{name}.npz")
    with open_engine(engine, open_artifact(exported(name))) as opened:
        logits = opened.run(stored["input"])
    largest, mean = REFERENCE[name]
    difference = logits - stored["logits"]
    assert np.abs(difference).max() <= largest
    assert np.sqrt(np.mean(difference**2)) <= mean
    assert np.array_equal(logits.argmax(1), stored["logits"].argmax(1))
