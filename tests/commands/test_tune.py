"""``edgecnn tune`` from the command line, on a model that takes no time."""

from __future__ import annotations

import asyncio
import hashlib
import json
from collections.abc import Callable
from pathlib import Path

import onnx
import pytest
from click.testing import CliRunner, Result

from edgecnn.artifact import del_spec, read_onnx
from edgecnn.bench import instances
from edgecnn.bench.tune import Configuration
from edgecnn.cli import main
from edgecnn.commands import tune as command
from edgecnn.serving.service import InferenceService
from edgecnn.serving_config import ModelSettings, ServingConfig, decode_serving_config
from tests.reader_model import CLASSES

Reader = Callable[..., Path]


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Slices of a millisecond, and two cores whatever the machine has."""
    monkeypatch.setattr(instances, "_SLICE_S", 0.001)
    monkeypatch.setattr(instances, "_LEAD_IN_S", 0.0)
    monkeypatch.setattr(command, "usable_cores", lambda: 2)


def _tune(*arguments: object) -> Result:
    return CliRunner().invoke(main, ["tune", *map(str, arguments), "--duration", "0.1"])


def test_the_table_marks_the_best_and_the_file_says_how_to_serve(reader: Reader, tmp_path: Path) -> None:
    model, output = reader(), tmp_path / "serve.toml"
    done = _tune(model, "--batches", "1,4", "-o", output)
    assert done.exit_code == 0, done.output
    assert " best " in done.stdout
    assert " runner-up " in done.stdout
    assert f"Wrote {output}: " in done.stderr
    document = decode_serving_config(output.read_text(), origin=str(output))
    (config,) = document.model
    assert config.path == str(model.resolve())
    assert config.name == "reader"
    assert config.sha256 == hashlib.sha256(model.read_bytes()).hexdigest()
    assert config.engine == "ort"
    assert config.threads in (1, 2)
    assert config.max_batch in (1, 4)
    assert set(config.call_ms) == {1, 4}
    assert document.host is not None
    assert document.host.cores >= 1
    assert document.host.objective == "throughput"


def test_json_is_of_the_one_schema_best_first(reader: Reader, tmp_path: Path) -> None:
    done = _tune(reader(), "--batches", "1", "--json", "-o", tmp_path / "serve.toml")
    assert done.exit_code == 0, done.output
    document = json.loads(done.stdout)
    assert document["schema"] == "edgecnn.result/1"
    found = {(each["scenario"]["instances"], each["variant"]["threads"]) for each in document["results"]}
    assert found == {(1, 1), (1, 2), (2, 1)}
    best = document["results"][0]
    (config,) = decode_serving_config((tmp_path / "serve.toml").read_text(), origin="").model
    assert (config.instances, config.threads) == (
        best["scenario"]["instances"],
        best["variant"]["threads"],
    )
    assert best["throughput_per_s"] > 0
    assert best["latency_ms"]["p50"] > 0


def test_quiet_leaves_the_table_and_warnings(reader: Reader, tmp_path: Path) -> None:
    done = _tune(reader(), "-q", "-o", tmp_path / "serve.toml")
    assert done.exit_code == 0
    assert "Wrote" not in done.stderr


def test_options_of_the_engine_stay_and_its_threads_are_not_tried_out(reader: Reader, tmp_path: Path) -> None:
    output = tmp_path / "serve.toml"
    done = _tune(reader(), "--engine", "ort:arena=off,threads=1", "--batches", "1", "-o", output)
    assert done.exit_code == 0, done.output
    (config,) = decode_serving_config(output.read_text(), origin="").model
    assert config.engine == "ort:arena=off"
    assert config.threads == 1


def test_for_latency_the_batch_is_what_serves_most_of_those_that_wait(reader: Reader, tmp_path: Path) -> None:
    output = tmp_path / "serve.toml"
    done = _tune(reader(), "--objective", "latency", "--batches", "1,8", "-o", output)
    assert done.exit_code == 0, done.output
    (config,) = decode_serving_config(output.read_text(), origin="").model
    assert config.instances == 1
    rates = config.images_per_s
    assert config.max_batch == max(rates, key=lambda batch: rates[batch])
    threads = f"{config.threads} thread{'s' if config.threads != 1 else ''} each"
    (line,) = [line for line in done.stderr.splitlines() if line.startswith("Wrote")]
    assert line.startswith(f"Wrote {output}: 1 instance, {threads}, batches of up to {config.max_batch}")
    assert ("The best was measured with batch 1" in line) == (config.max_batch != 1)


@pytest.mark.parametrize(
    ("best", "most", "text"),
    [
        (1, 1, "2 instances, 1 thread each, batches of up to 1."),
        (
            1,
            8,
            "2 instances, 1 thread each, batches of up to 8. The best was measured with batch 1; requests "
            "that have to wait are answered soonest 8 at a time.",
        ),
    ],
)
def test_what_is_said_of_the_file_is_what_it_says(best: int, most: int, text: str) -> None:
    configuration = Configuration(instances=2, threads=1, batch=best)
    settings = ModelSettings(path="m.onnx", instances=2, threads=1, max_batch=most)
    assert command.written(settings, configuration) == text


def test_a_limit_that_nothing_keeps_to_exits_with_3_and_names_the_nearest(
    reader: Reader, tmp_path: Path
) -> None:
    output = tmp_path / "serve.toml"
    done = _tune(reader(), "--max-latency-ms", "1e-6", "-o", output)
    assert done.exit_code == 3
    assert "No configuration answers 95 % of the calls within 1e-06 ms; the nearest is " in done.stderr
    assert not output.exists()


def test_a_model_of_a_fixed_batch_is_tuned_at_it(reader: Reader, tmp_path: Path) -> None:
    output = tmp_path / "serve.toml"
    done = _tune(reader(batch=2), "-o", output)
    assert done.exit_code == 0, done.output
    assert set(decode_serving_config(output.read_text(), origin="").model[0].call_ms) == {2}


def test_other_batches_of_a_fixed_model_are_a_usage_error(reader: Reader, tmp_path: Path) -> None:
    done = _tune(reader(batch=2), "--batches", "1,2", "-o", tmp_path / "serve.toml")
    assert done.exit_code == 2
    assert "is fixed to a batch of 2" in done.stderr


@pytest.mark.parametrize(
    "arguments",
    [
        ["--duration", "0"],
        ["--duration", "-1"],
        ["--max-latency-ms", "0"],
        ["--batches", "0"],
        ["--batches", ""],
        ["--batches", "1,x"],
        ["--objective", "size"],
        ["--engine", "nothing"],
    ],
    ids=" ".join,
)
def test_values_that_make_no_sense_are_usage_errors(
    reader: Reader, tmp_path: Path, arguments: list[str]
) -> None:
    output = tmp_path / "serve.toml"
    done = CliRunner().invoke(main, ["tune", str(reader()), *arguments, "-o", str(output)])
    assert done.exit_code == 2, done.output
    assert not output.exists()


def test_a_place_that_cannot_be_written_is_told_before_the_measurement(
    reader: Reader, tmp_path: Path
) -> None:
    done = _tune(reader(), "-o", tmp_path)
    assert done.exit_code == 1
    assert "cannot be written: it is a folder" in done.stderr


def test_the_file_serves_a_model_made_elsewhere_from_any_folder(
    reader: Reader, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = read_onnx(path := reader("theirs.onnx"))
    del_spec(model)
    onnx.save(model, path)
    preprocess = {"resize": None, "crop": [4, 4]}
    (tmp_path / "spec.json").write_text(json.dumps({"preprocess": preprocess, "classes": CLASSES}))
    monkeypatch.chdir(tmp_path)
    done = _tune("theirs.onnx", "--spec", "spec.json", "--batches", "1", "-o", "serve.toml")
    assert done.exit_code == 0, done.output
    config = decode_serving_config(Path("serve.toml").read_text(), origin="")
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    assert asyncio.run(_ready(config)) == ["theirs"]


async def _ready(config: ServingConfig) -> list[str]:
    """The names of the models that a server of ``config`` answers for."""
    service = InferenceService(config)
    try:
        await service.start(strict=True)
        return [state.name for state in service.index(ready_only=True)]
    finally:
        await service.stop()
