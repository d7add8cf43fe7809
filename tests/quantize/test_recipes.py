"""What every recipe keeps: the spec, names and types of input and output, and the dynamic batch."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import cache
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
from numpy.typing import NDArray

from edgecnn.artifact import (
    SPEC_KEY,
    Artifact,
    graph_input,
    graph_output,
    open_artifact,
    read_onnx,
    save_artifact,
)
from edgecnn.data import LabelledImages
from edgecnn.data.arrays import ArrayImages
from edgecnn.errors import QuantizationError, UsageError
from edgecnn.graph.layers import graph_layers
from edgecnn.preprocess import prepare
from edgecnn.quantize import measure, mixed_precision
from edgecnn.quantize.pipeline import Outcome, Sources, quantize_artifact
from edgecnn.quantize.recipes import RECIPES
from edgecnn.quantize.settings import RECIPE_NAMES, TARGETS, QuantizeSettings, RecipeName, Target
from edgecnn.spec import ModelSpec, Precision, Preprocess, Provenance, WeightsId
from edgecnn.timing import speed

Export = Callable[[str], onnx.ModelProto]
GraphOf = Callable[..., onnx.ModelProto]

NETWORK = "lenet5"
CLASSES = tuple(f"class {index}" for index in range(10))


@dataclass(frozen=True)
class Made:
    """One recipe's work, and what it was given."""

    path: Path
    outcome: Outcome
    calibration: LabelledImages
    evaluation: LabelledImages


Make = Callable[[RecipeName, Target], Made]


@pytest.fixture(autouse=True, scope="module")
def _quick(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Speeds are not looked at here; and nothing is known from earlier runs."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("EDGECNN_CACHE", str(tmp_path_factory.mktemp("cache")))
        patch.setattr(speed, "_ROUNDS", (1, 1))
        patch.setattr(speed, "_ROUND_SECONDS", 0.0)
        patch.setattr(measure, "_SECONDS", 0.0)
        patch.setattr(mixed_precision, "_SECONDS", 0.0)
        yield


@pytest.fixture(scope="module")
def artifact(export: Export, tmp_path_factory: pytest.TempPathFactory) -> Artifact:
    model = onnx.ModelProto()
    model.CopyFrom(export(NETWORK))
    model.metadata_props.add(key="some", value="metadata")
    model.producer_name, model.producer_version, model.doc_string = "me", "7", "mine"
    fed = graph_input(model)
    height, width = (int(size) for size in fed.shape[2:])
    spec = ModelSpec(
        network=NETWORK,
        classes=CLASSES,
        input=fed,
        output=graph_output(model),
        preprocess=Preprocess(resize=None, crop=(height, width), color="L", mean=(0.5,), std=(0.5,)),
        weights=WeightsId(kind="random", name="seed=1"),
        provenance=Provenance(exporter="torchscript", opset=18, versions={"torch": "2"}),
    )
    return save_artifact(model, spec, tmp_path_factory.mktemp("recipes") / "float.onnx")


@pytest.fixture(scope="module")
def make(artifact: Artifact) -> Make:
    """Quantises once with each recipe and target."""

    @cache
    def made(recipe: RecipeName, target: Target) -> Made:
        calibration, evaluation = images(24, 1), images(8, 2)
        path = artifact.path.with_name(f"{recipe}.{target}.onnx")
        settings = QuantizeSettings(target=target, recipe=recipe)
        sources = Sources(calibration=calibration, evaluation=evaluation)
        return Made(path, quantize_artifact(artifact, settings, sources, path), calibration, evaluation)

    return made


def images(count: int, seed: int, side: int = 32) -> ArrayImages:
    rng = np.random.default_rng(seed)
    pixels = rng.integers(0, 256, (count, side, side, 3), dtype=np.uint8)
    return ArrayImages(f"noise {seed}", None, CLASSES, (np.arange(count) % 10).astype(np.int64), pixels)


def _allowed() -> list[object]:
    """Every recipe with every target that takes it; those that need OpenVINO are skipped without it."""
    found: list[object] = []
    for target in TARGETS:
        for recipe in RECIPE_NAMES:
            try:
                QuantizeSettings(target=target, recipe=recipe)
            except UsageError:
                continue
            needed = {"openvino": ["openvino"]}.get(target, []) + (["nncf"] if recipe == "nncf" else [])
            missing = [name for name in needed if find_spec(name) is None]
            marks = [pytest.mark.skip(reason=f"{', '.join(missing)} not installed")] if missing else []
            if target == "openvino":
                marks.append(pytest.mark.slow)
            found.append(pytest.param(recipe, target, marks=marks, id=f"{recipe}-{target}"))
    return found


def run(path: Path, batch: NDArray[np.float32]) -> NDArray[np.float32]:
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    scores: NDArray[np.float32] = session.run(None, {session.get_inputs()[0].name: batch})[0]
    return scores


@pytest.mark.parametrize(("recipe", "target"), _allowed())
def test_what_every_recipe_keeps(recipe: RecipeName, target: Target, artifact: Artifact, make: Make) -> None:
    made = make(recipe, target)
    path = made.path
    opened, model = open_artifact(path), read_onnx(path)
    assert opened.spec == made.outcome.artifact.spec
    onnx.checker.check_model(model, full_check=recipe not in {"dynamic"})
    metadata = {entry.key: entry.value for entry in model.metadata_props}
    assert metadata == {"some": "metadata", SPEC_KEY: metadata[SPEC_KEY]}
    assert (model.producer_name, model.producer_version, model.doc_string) == ("me", "7", "mine")
    assert (graph_input(model), graph_output(model)) == (artifact.spec.input, artifact.spec.output)
    assert graph_input(model).dynamic_batch
    kept = replace(opened.spec, precision="fp32", quantization=None, provenance=artifact.spec.provenance)
    assert kept == artifact.spec

    source = images(3, 3)
    batch = np.stack([prepare(source.image(at), opened.spec) for at in range(3)])
    scores = run(path, batch)
    assert scores.shape == (3, 10)
    assert scores.dtype == np.float32
    assert np.isfinite(scores).all()
    one_by_one = np.concatenate([run(path, batch[at : at + 1]) for at in range(3)])
    spread = float(np.ptp(scores))
    # Ranges that are found at run time depend on the batch; others only on the order of sums.
    assert np.abs(scores - one_by_one).max() <= (0.1 if recipe == "dynamic" else 0.01) * spread
    reference = run(artifact.path, batch)
    assert np.abs(scores - reference).max() <= 0.5 * float(np.ptp(reference))


@pytest.mark.parametrize(("recipe", "target"), _allowed())
def test_the_record_is_filled(recipe: RecipeName, target: Target, artifact: Artifact, make: Make) -> None:
    made = make(recipe, target)
    spec = open_artifact(made.path).spec
    record = spec.quantization
    assert record is not None
    assert (record.recipe, record.target) == (recipe, target)
    assert record.source_sha256 == artifact.sha256()
    assert record.scheme
    assert record.steps
    if RECIPES[recipe].calibrates:
        assert (record.calibration, record.calibration_images) == (made.calibration.name, 12)
        assert record.calibration_sha256 is not None
        assert len(record.calibration_sha256) == 64
    else:
        assert (record.calibration, record.calibration_images, record.calibration_sha256) == (None,) * 3
    assert record.accuracy is not None
    assert (record.accuracy.data, record.accuracy.n) == (made.evaluation.name, 8)
    assert record.accuracy.drop == pytest.approx(record.accuracy.reference_top1 - record.accuracy.top1)
    assert (record.speed is None) == (target == "trt")
    assert (record.int8_mac_share is None) == (target != "ort")
    assert spec.precision == ("mixed" if record.kept_float else RECIPES[recipe].precision)
    variant = made.outcome.measured.results[1].variant
    assert (variant.artifact, variant.sha256) == (str(made.path), made.outcome.artifact.sha256())


@pytest.mark.parametrize(
    ("recipe", "precision"),
    [("minmax", "mixed"), ("dynamic", "mixed"), ("fp16", "fp16"), ("weights", "fp32")],
)
def test_nodes_in_float_make_int8_mixed(
    recipe: RecipeName, precision: Precision, artifact: Artifact, tmp_path: Path
) -> None:
    node = next(node.name for node in read_onnx(artifact.path).graph.node if node.op_type == "Conv")
    settings = QuantizeSettings(recipe=recipe, keep_float=(node,))
    path = tmp_path / "quantised.onnx"
    quantize_artifact(artifact, settings, Sources(calibration=images(8, 1)), path)
    spec = open_artifact(path).spec
    assert spec.precision == precision
    assert spec.quantization is not None
    assert spec.quantization.kept_float == (node,)


@pytest.mark.parametrize("recipe", [name for name in RECIPE_NAMES if RECIPES[name].calibrates])
def test_recipes_that_calibrate_demand_images(recipe: RecipeName, artifact: Artifact, tmp_path: Path) -> None:
    target: Target = "openvino" if recipe == "nncf" else "ort"
    if recipe == "nncf" and (find_spec("nncf") is None or find_spec("openvino") is None):
        pytest.skip("NNCF or OpenVINO is not installed")
    settings = QuantizeSettings(recipe=recipe, target=target)
    with pytest.raises(UsageError, match="needs images") as caught:
        quantize_artifact(artifact, settings, Sources(), tmp_path / "q.onnx")
    assert "--calib" in caught.value.remedy


@pytest.mark.parametrize("recipe", [name for name in RECIPE_NAMES if not RECIPES[name].calibrates])
def test_the_others_need_none(recipe: RecipeName, artifact: Artifact, tmp_path: Path) -> None:
    outcome = quantize_artifact(artifact, QuantizeSettings(recipe=recipe), Sources(), tmp_path / "q.onnx")
    assert outcome.measured.accuracy is None
    assert all(result.accuracy is None for result in outcome.measured.results)


def _renamed_input(model: onnx.ModelProto) -> None:
    model.graph.input[0].name = "other"


def _renamed_output(model: onnx.ModelProto) -> None:
    model.graph.output[0].name = "other"


def _half_input(model: onnx.ModelProto) -> None:
    model.graph.input[0].type.tensor_type.elem_type = onnx.TensorProto.FLOAT16


def _fixed_batch(model: onnx.ModelProto) -> None:
    model.graph.input[0].type.tensor_type.shape.dim[0].dim_value = 1


@pytest.mark.parametrize("change", [_renamed_input, _renamed_output, _half_input, _fixed_batch])
def test_a_recipe_that_breaks_its_promise_is_caught(
    change: Callable[[onnx.ModelProto], None], export: Export
) -> None:
    before, after = export(NETWORK), onnx.ModelProto()
    after.CopyFrom(before)
    RECIPES["minmax"].ensures(before, after)
    change(after)
    with pytest.raises(QuantizationError, match="Quantising changed") as caught:
        RECIPES["minmax"].ensures(before, after)
    assert "report" in caught.value.remedy


def test_what_a_recipe_works_on_is_a_copy(export: Export) -> None:
    before = export(NETWORK).SerializeToString(deterministic=True)
    for recipe in RECIPES.values():
        prepared = recipe.requires(export(NETWORK))
        del prepared.graph.node[:]
    assert export(NETWORK).SerializeToString(deterministic=True) == before


_FOREIGN = """c = Conv<auto_pad="SAME_UPPER">(x, w) n = BatchNormalization(c, scale, shift, mean, variance)
    a = Add(n, three) l = Clip(a, zero, six) d = Div(l, six) h = Mul(n, d)
    m = ReduceMean<axes=[2, 3], keepdims=0>(h) top = ReduceMax<keepdims=0>(m) one = Div(top, top)
    o = Mul(m, one) y = Gemm<transB=1>(o, dense)"""


def _foreign(graph_of: GraphOf, name: str, opset: int = 13) -> onnx.ModelProto:
    """What ONNX allows and edgecnn's exports never have; every node is called ``name``."""
    rng = np.random.default_rng(1)
    shapes: dict[str, int | tuple[int, ...]] = {
        "w": (40, 3, 3, 3),
        "scale": 40,
        "shift": 40,
        "mean": 40,
        "dense": (10, 40),
    }
    weights = {key: rng.normal(size=shape).astype(np.float32) for key, shape in shapes.items()}
    weights["variance"] = rng.uniform(0.5, 2, 40).astype(np.float32)
    numbers = {"three": 3, "zero": 0, "six": 6}
    model = graph_of(
        _FOREIGN, weights | {key: np.float32(value) for key, value in numbers.items()}, "3,16,16", opset
    )
    for node in model.graph.node:
        node.name = name
    listed = [
        onnx.helper.make_tensor_value_info(tensor.name, tensor.data_type, tensor.dims)
        for tensor in model.graph.initializer
    ]
    inputs = [*listed, onnx.ValueInfoProto.FromString(model.graph.input[0].SerializeToString())]
    del model.graph.input[:]
    model.graph.input.extend(inputs)
    return model


@pytest.mark.parametrize("recipe", ["auto", "minmax", "dynamic", "weights", "fp16"])
def test_graphs_of_other_exporters(recipe: RecipeName, graph_of: GraphOf, tmp_path: Path) -> None:
    model = _foreign(graph_of, "")
    spec = ModelSpec(
        network="foreign",
        classes=CLASSES,
        input=graph_input(model),
        output=graph_output(model),
        preprocess=Preprocess(resize=None, crop=(16, 16), mean=(0.5,) * 3, std=(0.5,) * 3),
        weights=WeightsId(kind="random", name="seed=1"),
        provenance=Provenance(exporter="other", opset=13, versions={}),
    )
    artifact = save_artifact(model, spec, tmp_path / "float.onnx")
    source = images(24, 1, 16)
    settings = QuantizeSettings(recipe=recipe, keep_float=("c",))
    path = tmp_path / "quantised.onnx"
    outcome = quantize_artifact(artifact, settings, Sources(calibration=source), path)
    quantised = read_onnx(path)
    assert "c" in outcome.quantised.kept_float, "a node is called after the value that it makes"
    assert not {"BatchNormalization"} & {node.op_type for node in quantised.graph.node}
    batch = np.stack([prepare(source.image(at), spec) for at in range(3)])
    scores, reference = run(path, batch), _fed(artifact.path, batch)
    assert np.abs(scores - reference).max() <= 0.2 * float(np.ptp(reference))


def _fed(path: Path, batch: NDArray[np.float32]) -> NDArray[np.float32]:
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    scores: NDArray[np.float32] = session.run(None, {"x": batch})[0]
    return scores


@pytest.mark.parametrize("opset", [11, 13])
@pytest.mark.parametrize("name", ["", "node"])
def test_the_form_that_recipes_work_on(graph_of: GraphOf, name: str, opset: int) -> None:
    model = _foreign(graph_of, name, opset)
    shown = {layer.node for layer in graph_layers(model)}
    prepared = RECIPES["minmax"].requires(model)
    assert {layer.node for layer in graph_layers(prepared)} == shown == {"c", "y"}
    names = {node.name: node.op_type for node in prepared.graph.node}
    assert len(names) == len(prepared.graph.node)
    kinds = {"c": "Conv", "d": "HardSigmoid", "h": "Mul", "m": "GlobalAveragePool", "y": "Gemm"}
    assert kinds.items() <= names.items()
    assert not {"BatchNormalization", "Clip", "ReduceMean"} & set(names.values())
    assert [value.name for value in prepared.graph.input] == ["x"]
    onnx.checker.check_model(prepared, full_check=True)


def test_the_table_has_a_line_for_every_name() -> None:
    assert tuple(RECIPES) == RECIPE_NAMES
    assert all(recipe.summary for recipe in RECIPES.values())
