"""The networks that naive int8 breaks, trained here: hard swish, SiLU and squeeze-excite keep their accuracy.

Trained on scikit-learn's digits, which need no download. Speed is no question here: on images of 32 pixels
most of the time goes into what is no arithmetic.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from edgecnn.artifact import open_artifact
from edgecnn.cli import main
from edgecnn.reports.result_file import decode_results

#: Coverage would double the time of the exporter, all Python; what would be covered is so elsewhere, too.
pytestmark = [pytest.mark.slow, pytest.mark.no_cover]

#: What a network must have learnt for its accuracy to say something, in percent.
MIN_TOP1 = 90.0


@dataclass(frozen=True)
class Training:
    """How long, and how; enough for more than 90 %, in about a minute of one core."""

    epochs: int
    optimizer: str
    lr: float


NETWORKS = {
    "mobilenet_v3_small": Training(6, "sgd", 0.05),
    "efficientnet_b0": Training(9, "adamw", 2e-3),
}


def _run(*arguments: object, codes: tuple[int, ...] = (0,)) -> Result:
    result = CliRunner().invoke(main, [str(argument) for argument in arguments])
    assert result.exit_code in codes, result.output
    return result


@pytest.mark.parametrize("name", NETWORKS)
def test_int8_keeps_what_was_learnt(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EDGECNN_CACHE", str(tmp_path / "cache"))
    training, weights = NETWORKS[name], tmp_path / "net.pt"
    how = ("--epochs", training.epochs, "--optimizer", training.optimizer, "--lr", training.lr)
    data = ("--data", "digits", "--size", 32, "--augment", "none", "--threads", 1)
    _run("train", name, "--weights", "random", *how, *data, "-o", weights, "-q")
    model, path = tmp_path / "net.onnx", tmp_path / "net.int8.onnx"
    _run("export", name, "--weights", weights, "-o", model, "-q")

    sources = ("--calib", "digits", "--images", 256, "--data", "digits")
    arguments = ("quantize", model, *sources, "--threads", 1, "-o", path, "--json", "-q")
    result = _run(*arguments, codes=(0, 3))  # 3: not faster

    reference, quantised = decode_results(result.stdout, origin="quantize").results
    assert reference.accuracy is not None
    assert reference.accuracy.top1 > MIN_TOP1
    gates = {gate.name: gate for gate in quantised.gates}
    assert gates["max_drop"].held, gates
    record = open_artifact(path).spec.quantization
    assert record is not None
    assert record.int8_mac_share is not None
    # What stays in float is chosen by measured latency, and so by the machine.
    assert record.int8_mac_share > 75
