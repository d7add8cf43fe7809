"""From a float artifact to a quantised file: what is refused, what is written, that it can be repeated."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import onnx
import pytest

from edgecnn.artifact import Artifact, graph_input, graph_output, open_artifact, read_onnx, save_artifact
from edgecnn.data import fingerprint, select
from edgecnn.data.arrays import ArrayImages
from edgecnn.errors import (
    DataError,
    DependencyMissingError,
    EngineUnavailableError,
    QuantizationError,
    UsageError,
)
from edgecnn.quantize import measure, mixed_precision, pipeline
from edgecnn.quantize.calibration import Calibration, calibrate
from edgecnn.quantize.pipeline import Outcome, Sources, quantize_artifact
from edgecnn.quantize.portability import Portability, PortabilityUnknown
from edgecnn.quantize.settings import QuantizeSettings, RecipeName
from edgecnn.spec import ModelSpec, Preprocess, WeightsId
from edgecnn.timing import speed

Export = Callable[[str], onnx.ModelProto]

CLASSES = tuple(f"class {index}" for index in range(10))
MINMAX = QuantizeSettings(recipe="minmax")


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Speeds are not looked at here; and nothing is known from earlier runs."""
    monkeypatch.setenv("EDGECNN_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(speed, "_ROUNDS", (1, 1))
    monkeypatch.setattr(speed, "_ROUND_SECONDS", 0.0)
    monkeypatch.setattr(measure, "_SECONDS", 0.0)
    monkeypatch.setattr(mixed_precision, "_SECONDS", 0.0)
    return tmp_path / "cache" / "calibration"


@pytest.fixture
def save(export: Export, tmp_path: Path) -> Callable[..., Artifact]:
    """Writes a network with random weights as an artifact."""

    def saved(network: str = "lenet5", name: str = "float.onnx") -> Artifact:
        model = onnx.ModelProto.FromString(export(network).SerializeToString())
        fed = graph_input(model)
        channels, height, width = (int(size) for size in fed.shape[1:])
        preprocess = Preprocess(resize=None, crop=(height, width))
        if channels == 1:
            preprocess = replace(preprocess, color="L", mean=(0.5,), std=(0.5,))
        spec = ModelSpec(
            network=network,
            classes=CLASSES,
            input=fed,
            output=graph_output(model),
            preprocess=preprocess,
            weights=WeightsId(kind="random", name="seed=1"),
        )
        return save_artifact(model, spec, tmp_path / name)

    return saved


@pytest.fixture
def artifact(save: Callable[..., Artifact]) -> Artifact:
    return save()


@pytest.fixture
def place(tmp_path: Path) -> Path:
    folder = tmp_path / "out"
    folder.mkdir()
    return folder / "quantised.onnx"


def images(count: int = 12, seed: int = 1, name: str | None = None) -> ArrayImages:
    pixels = np.random.default_rng(seed).integers(0, 256, (count, 32, 32, 3), dtype=np.uint8)
    labels = (np.arange(count) % 10).astype(np.int64)
    return ArrayImages(name or f"noise {seed}", None, CLASSES, labels, pixels)


def floats(outcome: Outcome) -> set[str]:
    """Convolutions and products whose weights are still in float."""
    model = read_onnx(outcome.artifact.path)
    constants = {
        tensor.name for tensor in model.graph.initializer if tensor.data_type == onnx.TensorProto.FLOAT
    }
    weighted = [node for node in model.graph.node if node.op_type in {"Conv", "Gemm", "MatMul"}]
    return {node.name for node in weighted if node.input[1] in constants}


def graph_bytes(path: Path) -> bytes:
    return read_onnx(path).graph.SerializeToString(deterministic=True)


def test_a_node_stays_in_float(artifact: Artifact, place: Path) -> None:
    names = [node.name for node in read_onnx(artifact.path).graph.node if node.op_type == "Conv"]
    settings = replace(MINMAX, keep_float=(names[1],))
    outcome = quantize_artifact(artifact, settings, Sources(calibration=images()), place)
    assert floats(outcome) == {names[1]}
    record = outcome.artifact.spec.quantization
    assert record is not None
    assert record.kept_float == (names[1],)
    assert 0 < (record.int8_mac_share or 0) < 100
    assert outcome.artifact.spec.precision == "mixed"


@pytest.mark.slow
@pytest.mark.parametrize("recipe", ["minmax", pytest.param("auto", marks=pytest.mark.slow)])
def test_a_module_means_all_nodes_inside(
    recipe: RecipeName, save: Callable[..., Artifact], place: Path
) -> None:
    artifact = save("cifar_resnet20")
    nodes = [node for node in read_onnx(artifact.path).graph.node if node.op_type == "Conv"]
    convolutions = {node.name for node in nodes if node.name.startswith("layer2.0")}
    assert len(convolutions) >= 2
    settings = QuantizeSettings(recipe=recipe, keep_float=("layer2.0",), max_drop=100.0)
    outcome = quantize_artifact(artifact, settings, Sources(calibration=images()), place)
    assert convolutions <= floats(outcome)
    assert convolutions <= set(outcome.quantised.kept_float)
    if recipe == "minmax":
        assert convolutions == floats(outcome)


def test_a_name_of_nothing_is_refused(artifact: Artifact, place: Path) -> None:
    settings = replace(MINMAX, keep_float=("layer9",))
    with pytest.raises(UsageError, match="no node or module 'layer9'") as caught:
        quantize_artifact(artifact, settings, Sources(calibration=images()), place)
    assert "inspect" in caught.value.remedy


def test_part_of_a_name_is_no_module(save: Callable[..., Artifact], place: Path) -> None:
    with pytest.raises(UsageError, match=r"'layer2\.0\.con'"):
        quantize_artifact(
            save("cifar_resnet20"),
            replace(MINMAX, keep_float=("layer2.0.con",)),
            Sources(calibration=images()),
            place,
        )


@pytest.mark.parametrize("recipe", ["minmax", "dynamic", "weights", "fp16"])
def test_what_is_quantised_already_is_refused(recipe: RecipeName, artifact: Artifact, place: Path) -> None:
    sources = Sources(calibration=images())
    first = quantize_artifact(artifact, QuantizeSettings(recipe=recipe), sources, place).artifact
    before = place.read_bytes()
    with pytest.raises(QuantizationError, match=r"already quantised|not in float32") as caught:
        quantize_artifact(first, MINMAX, sources, place)
    assert "float32" in caught.value.remedy
    assert place.read_bytes() == before


def test_calibrating_on_what_is_evaluated_is_refused(artifact: Artifact, place: Path) -> None:
    sources = Sources(calibration=images(), evaluation=images(name="the same under another name"))
    with pytest.raises(DataError, match="all of its images are among those of noise 1"):
        quantize_artifact(artifact, MINMAX, sources, place)
    assert list(place.parent.iterdir()) == []


@pytest.mark.parametrize("recipe", ["fp16", "weights"])
def test_recipes_that_set_no_range_are_evaluated_on_any_images(
    recipe: RecipeName, artifact: Artifact, place: Path
) -> None:
    sources = Sources(calibration=images(), evaluation=images())
    outcome = quantize_artifact(artifact, QuantizeSettings(recipe=recipe), sources, place)
    assert outcome.measured.accuracy is not None
    assert outcome.measured.accuracy.n == 12


def test_a_single_shared_image_of_many_is_a_warning(artifact: Artifact, place: Path) -> None:
    calibration, many = images(), images(120, 2)
    many.pixels[7] = calibration.pixels[0]
    warnings: list[str] = []
    sources = Sources(calibration=calibration, evaluation=many)
    quantize_artifact(artifact, MINMAX, sources, place, warn=warnings.append)
    assert any("1 of the 120 evaluation images" in text for text in warnings)


def test_few_images_are_warned_of_and_one_is_refused(artifact: Artifact, place: Path) -> None:
    warnings: list[str] = []
    quantize_artifact(artifact, MINMAX, Sources(calibration=images()), place, warn=warnings.append)
    assert len(warnings) == 1
    assert "12 calibration images" in warnings[0]
    with pytest.raises(DataError, match="one image"):
        quantize_artifact(artifact, MINMAX, Sources(calibration=images(1)), place)


def test_without_evaluation_the_images_that_set_no_range_judge(artifact: Artifact, place: Path) -> None:
    source = images(13)
    outcome = quantize_artifact(artifact, MINMAX, Sources(calibration=source), place)
    record = outcome.artifact.spec.quantization
    assert record is not None
    assert record.accuracy is not None
    assert record.accuracy.data == "noise 1 (held out)"
    assert record.accuracy.n == 6
    assert record.accuracy.fingerprint == fingerprint(select(source, np.arange(1, 13, 2), "odd"))
    assert record.calibration_images == 7
    assert record.calibration_sha256 == fingerprint(select(source, np.arange(0, 13, 2), "even"))


def test_fewer_images_of_a_large_source(artifact: Artifact, place: Path) -> None:
    settings = replace(MINMAX, images=10)
    outcome = quantize_artifact(artifact, settings, Sources(calibration=images(100)), place)
    record = outcome.artifact.spec.quantization
    assert record is not None
    assert record.calibration_images == 5
    assert record.calibration == "noise 1 (10 of 100)"


def _broken(*_: object, **__: object) -> None:
    raise QuantizationError("it broke", "mend it")


@pytest.mark.parametrize(
    "broken", ["edgecnn.quantize.static_int8.quantize_static", "measure", "save_artifact"]
)
@pytest.mark.parametrize("old", [None, b"an old file"])
def test_a_failure_leaves_what_was_there(
    broken: str, old: bytes | None, artifact: Artifact, place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if old is not None:
        place.write_bytes(old)
    before = artifact.path.read_bytes()
    monkeypatch.setattr(broken if "." in broken else f"{pipeline.__name__}.{broken}", _broken)
    with pytest.raises(QuantizationError, match="it broke"):
        quantize_artifact(artifact, MINMAX, Sources(calibration=images()), place)
    assert [file.name for file in place.parent.iterdir()] == ([] if old is None else [place.name])
    assert old is None or place.read_bytes() == old
    assert artifact.path.read_bytes() == before


def test_an_interruption_leaves_no_file(
    artifact: Artifact, place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(pipeline, "measure", interrupted)
    with pytest.raises(KeyboardInterrupt):
        quantize_artifact(artifact, MINMAX, Sources(calibration=images()), place)
    assert list(place.parent.iterdir()) == []


def test_only_the_artifact_is_left(artifact: Artifact, place: Path) -> None:
    place.write_bytes(b"an old file")
    outcome = quantize_artifact(artifact, MINMAX, Sources(calibration=images()), place)
    assert [file.name for file in place.parent.iterdir()] == [place.name]
    assert open_artifact(place).spec == outcome.artifact.spec


@pytest.mark.slow
@pytest.mark.parametrize(
    "recipe", [pytest.param("auto", marks=pytest.mark.slow), "entropy", "dynamic", "weights", "fp16"]
)
def test_the_same_input_gives_the_same_bytes(
    recipe: RecipeName,
    artifact: Artifact,
    place: Path,
    cache: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """With and without the cache, on one thread or two; only the measured speed differs."""
    monkeypatch.setattr(mixed_precision.Judge, "latency_over", lambda *_: mixed_precision.RelativeLatency())
    sources = Sources(calibration=images())
    specs = []
    graphs = []
    for threads, folder in ((1, "one"), (1, "one"), (2, "two")):
        monkeypatch.setenv("EDGECNN_CACHE", str(tmp_path / folder))
        settings = QuantizeSettings(recipe=recipe, threads=threads)
        spec = quantize_artifact(artifact, settings, sources, place).artifact.spec
        assert spec.quantization is not None
        specs.append(replace(spec, quantization=replace(spec.quantization, speed=None)))
        graphs.append(graph_bytes(place))
    assert graphs[0] == graphs[1] == graphs[2]
    assert specs[0] == specs[1] == specs[2]


def test_ranges_are_measured_once(artifact: Artifact, place: Path, cache: Path) -> None:
    told: list[str] = []
    run = partial(quantize_artifact, artifact, sources=Sources(calibration=images()), path=place)
    run(settings=MINMAX, observe=told.append)
    files = {file.name: file.stat().st_mtime_ns for file in cache.iterdir()}
    assert "Ranges of 6 images measured" in told
    run(settings=replace(MINMAX, recipe="mse"), observe=told.append)
    assert "Ranges of 6 images known from an earlier run" in told
    assert {file.name: file.stat().st_mtime_ns for file in cache.iterdir()} == files


@pytest.mark.slow
def test_other_images_models_and_preprocessing_are_measured_anew(
    artifact: Artifact, place: Path, cache: Path, save: Callable[..., Artifact]
) -> None:
    quantize_artifact(artifact, MINMAX, Sources(calibration=images()), place)
    other = save(name="other.onnx")
    darker = replace(other.spec, preprocess=replace(other.spec.preprocess, divisor=510.0))
    cases = [
        (artifact, images(seed=2)),
        (artifact, images(14)),
        (save_artifact(read_onnx(other.path), darker, other.path), images()),
        (save("cifar_resnet20", "third.onnx"), images()),
    ]
    for count, (each, source) in enumerate(cases, start=2):
        quantize_artifact(each, MINMAX, Sources(calibration=source), place)
        assert len(list(cache.iterdir())) == count


@pytest.mark.parametrize("recipe", ["minmax", pytest.param("auto", marks=pytest.mark.slow)])
def test_images_that_would_change_the_ranges_are_told(
    recipe: RecipeName, artifact: Artifact, place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def unsettled(*args: object, **options: object) -> Calibration:
        return replace(calibrate(*args, **options), convergence=12.5)  # type: ignore[arg-type]

    monkeypatch.setattr("edgecnn.quantize.work.calibrate", unsettled)
    outcome = quantize_artifact(
        artifact, replace(MINMAX, recipe=recipe), Sources(calibration=images()), place
    )
    warnings = outcome.measured.results[1].warnings
    assert len([text for text in warnings if "widened the ranges by 12.5 %" in text]) == 1
    record = open_artifact(place).spec.quantization
    assert record is not None
    assert record.calibration_convergence == 12.5


def test_a_missing_engine_is_told_before_the_search(
    artifact: Artifact, place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Missing:
        @staticmethod
        def check() -> None:
            raise EngineUnavailableError("openvino is not installed.", "pip install it")

    monkeypatch.setattr("edgecnn.engines.engine_type", lambda _: Missing)
    settings = replace(MINMAX, target="openvino")
    told: list[str] = []
    with pytest.raises(EngineUnavailableError, match="cannot be measured here"):
        quantize_artifact(artifact, settings, Sources(calibration=images()), place, told.append)
    assert told == []


@pytest.mark.parametrize("recipe", ["auto", "nncf"])
def test_nncf_missing_is_told_before_the_search(
    recipe: RecipeName, artifact: Artifact, place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("edgecnn.engines.engine_type", lambda _: SimpleNamespace(check=lambda: None))
    monkeypatch.setitem(sys.modules, "nncf", None)
    told: list[str] = []
    settings = QuantizeSettings(recipe=recipe, target="openvino")
    with pytest.raises(DependencyMissingError, match=f"The recipe {recipe} for OpenVINO.*'nncf'") as caught:
        quantize_artifact(artifact, settings, Sources(calibration=images()), place, told.append)
    assert "edgecnn[openvino]" in caught.value.remedy
    assert told == []


@pytest.mark.parametrize(("cpu", "checked"), [("vnni", True), ("x86", True), ("arm", False)])
def test_portability_is_a_question_of_x86(cpu: str, checked: bool, artifact: Artifact, place: Path) -> None:
    settings = replace(MINMAX, cpu=cpu)  # type: ignore[arg-type]
    outcome = quantize_artifact(artifact, settings, Sources(calibration=images()), place)
    assert (outcome.portability is not None) is checked
    if cpu == "x86":
        assert isinstance(outcome.portability, Portability)
        assert not outcome.portability.can_saturate


def test_a_check_that_fails_costs_nothing_else(
    artifact: Artifact, place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pipeline, "check_portability", _broken)
    outcome = quantize_artifact(artifact, MINMAX, Sources(calibration=images()), place)
    assert outcome.portability == PortabilityUnknown("it broke")
    assert outcome.measured.gates
    assert place.exists()
