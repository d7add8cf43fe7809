"""A model file and its spec, as one thing: open, save (atomically), hash."""

from __future__ import annotations

import hashlib
import secrets
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from edgecnn.atomic import replacing, writing
from edgecnn.errors import ArtifactError, SpecMissingError
from edgecnn.spec import ModelSpec, TensorSpec, decode_spec, encode_spec
from edgecnn.versioned import Form

if TYPE_CHECKING:  # where an engine's memory is measured, it would share some of the 11 MB that onnx takes
    import onnx

__all__ = [
    "MAX_SINGLE_FILE_BYTES",
    "PLAN_FORM",
    "Artifact",
    "file_sha256",
    "graph_input",
    "graph_output",
    "is_plan",
    "open_artifact",
    "plan_sidecar",
    "read_onnx",
    "save_artifact",
]

SPEC_KEY = "edgecnn.spec"

#: Of the JSON file beside a TensorRT plan; :mod:`edgecnn.plans.spec` has all that is in it.
PLAN_FORM = Form(
    schema="edgecnn.plan/1",
    damage="cannot be read",
    error=ArtifactError,
    newer="build the plan again with 'edgecnn build MODEL'",
    repair="Build the plan again: edgecnn build MODEL",
)

#: A protobuf message ends at 2 GiB; above this, weights go to a file beside the model.
MAX_SINGLE_FILE_BYTES = 2**31 - 2**20


@dataclass(frozen=True, slots=True)
class Artifact:
    """A file that an engine can run, and its spec.

    Attributes:
        path: the model file, ONNX or a TensorRT plan; external weights, or the plan's sidecar, lie in the
            same folder and belong to it.
        spec: what the file carries, or what the user said of a foreign file.
    """

    path: Path
    spec: ModelSpec

    def files(self) -> tuple[Path, ...]:
        """The model file, then the files of external weights, sorted; of a plan, its sidecar."""
        if is_plan(self.path):
            return (self.path, plan_sidecar(self.path))
        locations = external_locations(_parse(self.path))
        return (self.path, *(self.path.parent / location for location in locations))

    def size_bytes(self) -> int:
        """Bytes on disk, external weights included, a plan's sidecar not."""
        if is_plan(self.path):
            return self.path.stat().st_size
        return sum(file.stat().st_size for file in self.files())

    def sha256(self) -> str:
        """Hash of the content of all its files: what caches are keyed by."""
        return file_sha256(*self.files())


def file_sha256(*paths: Path) -> str:
    """SHA-256 of the files' content, one after the other, in hexadecimal."""
    digest = hashlib.sha256()
    for path in paths:
        with path.open("rb") as file:
            while chunk := file.read(1 << 20):
                digest.update(chunk)
    return digest.hexdigest()


def open_artifact(path: Path, spec: ModelSpec | None = None) -> Artifact:
    """Open a model file with the spec that it carries, or with ``spec`` if given.

    Raises:
        ArtifactError: no such file, not ONNX, a plan that is cut short or without its sidecar, or its spec
            cannot be read.
        SpecMissingError: the file carries no spec and none was given.
    """
    if spec is not None:
        _require_file(path)
        return Artifact(path, spec)
    if is_plan(path):
        return Artifact(path, _plan_model(path))
    carried = {entry.key: entry.value for entry in _parse(path).metadata_props}.get(SPEC_KEY)
    if carried is None:
        raise SpecMissingError(
            f"{path} carries no edgecnn spec: its preprocessing and classes are unknown.",
            "Pass --spec NETWORK if it takes the input of a network that 'edgecnn list' shows, "
            "or --spec FILE with a JSON spec ('edgecnn export' writes one with --spec-out).",
        )
    return Artifact(path, decode_spec(carried, origin=str(path)))


def read_onnx(path: Path) -> onnx.ModelProto:
    """The whole model, external weights loaded into it.

    Raises:
        ArtifactError: no such file, not ONNX, or external weights are missing.
    """
    import onnx
    from onnx.external_data_helper import load_external_data_for_model

    model = _parse(path)
    try:
        load_external_data_for_model(model, str(path.parent))
    except (OSError, ValueError, onnx.checker.ValidationError) as error:
        raise ArtifactError(
            f"{path}: its external weights cannot be read: {error}.",
            "Keep the weights file in the same folder as the model.",
        ) from error
    return model


def save_artifact(model: onnx.ModelProto, spec: ModelSpec, path: Path) -> Artifact:
    """Write ``model`` with ``spec`` inside; the old file survives until the new one is complete.

    One self-contained file, or, above 2 GiB, the model and ``<name>.<hash>.data`` beside it.

    Raises:
        ArtifactError: the file cannot be written.
    """
    del_spec(model)
    model.metadata_props.add(key=SPEC_KEY, value=encode_spec(spec))
    superseded = set(_external_files(path))
    remedy = "Free some space or choose another place with -o; what was there before is untouched."
    with writing(path, ArtifactError, remedy), replacing(path) as temporary:
        if _weights_bytes(model) > MAX_SINGLE_FILE_BYTES:
            _save_with_external_data(model, temporary, path)
        else:
            temporary.write_bytes(model.SerializeToString())
    for stale in superseded - set(_external_files(path)):
        stale.unlink(missing_ok=True)
    return Artifact(path, spec)


def is_plan(path: Path) -> bool:
    """Whether the file is a TensorRT plan, by its ending."""
    return path.suffix.lower() == ".plan"


def plan_sidecar(path: Path) -> Path:
    """Where the spec of the plan at ``path`` is."""
    return path.with_name(f"{path.name}.json")


def graph_input(model: onnx.ModelProto) -> TensorSpec:
    """The model's one input; initialisers that are listed as inputs (old opsets) do not count.

    Raises:
        ArtifactError: the model has not exactly one input.
    """
    initialised = {tensor.name for tensor in model.graph.initializer}
    inputs = [value for value in model.graph.input if value.name not in initialised]
    return _tensor_spec(inputs, "input")


def graph_output(model: onnx.ModelProto) -> TensorSpec:
    """The model's one output.

    Raises:
        ArtifactError: the model has not exactly one output.
    """
    return _tensor_spec(list(model.graph.output), "output")


def del_spec(model: onnx.ModelProto) -> None:
    """Remove the spec from ``model``, if it carries one."""
    kept = [entry for entry in model.metadata_props if entry.key != SPEC_KEY]
    del model.metadata_props[:]
    model.metadata_props.extend(kept)


def external_locations(model: onnx.ModelProto) -> list[str]:
    """The relative paths of the files of external weights, sorted, each once."""
    from onnx.external_data_helper import uses_external_data

    return sorted(
        {
            entry.value
            for tensor in model.graph.initializer
            if uses_external_data(tensor)
            for entry in tensor.external_data
            if entry.key == "location"
        }
    )


def _tensor_spec(values: list[onnx.ValueInfoProto], what: str) -> TensorSpec:
    import onnx

    if len(values) != 1:
        names = ", ".join(value.name for value in values) or "none"
        raise ArtifactError(
            f"The model has {len(values)} {what}s ({names}).", f"A classifier has one {what}; export it so."
        )
    tensor = values[0].type.tensor_type
    dtype = onnx.helper.tensor_dtype_to_np_dtype(tensor.elem_type).name
    shape = tuple(
        dim.dim_value if dim.HasField("dim_value") else dim.dim_param or f"dim{index}"
        for index, dim in enumerate(tensor.shape.dim)
    )
    return TensorSpec(name=values[0].name, dtype=dtype, shape=shape)


@dataclass(frozen=True, slots=True, kw_only=True)
class _PlanFacts:
    """What an artifact needs of a plan's spec."""

    model: ModelSpec
    plan_bytes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class _PlanEnvelope:
    plan: _PlanFacts


def _plan_model(path: Path) -> ModelSpec:
    """From the sidecar; the plan itself is only measured here, and hashed before TensorRT gets it."""
    _require_file(path)
    sidecar = plan_sidecar(path)
    try:
        text = sidecar.read_bytes()
    except OSError as error:
        raise ArtifactError(
            f"{path} has no readable {sidecar.name} beside it ({error.strerror}), and nothing else tells its "
            "model, GPU and TensorRT.",
            f"Copy both files together; edgecnn opens no plans that others made. {PLAN_FORM.repair}",
        ) from error
    facts = PLAN_FORM.from_json(text, _PlanEnvelope, origin=str(sidecar)).plan
    if (size := path.stat().st_size) != facts.plan_bytes:
        raise ArtifactError(
            f"{path} has {size:,} bytes, and its spec says {facts.plan_bytes:,}: it is cut short, or not the "
            "plan that the spec belongs to.",
            f"Copy both files again. {PLAN_FORM.repair}",
        )
    return facts.model


def _require_file(path: Path) -> None:
    if not path.is_file():
        raise ArtifactError(
            f"{path}: no such model file.", "Check the path, or make it: edgecnn export NET -o FILE"
        )


def _parse(path: Path) -> onnx.ModelProto:
    import onnx
    from google.protobuf.message import DecodeError

    _require_file(path)
    try:
        model = onnx.load(path, format="protobuf", load_external_data=False)  # whatever the file's ending
    except (DecodeError, ValueError, OSError) as error:
        raise ArtifactError(
            f"{path} is not a readable ONNX file: {error}.", "Export or copy it again."
        ) from error
    if not model.HasField("graph") or not model.opset_import:
        raise ArtifactError(f"{path} is not an ONNX model: it holds no graph.", "Export or copy it again.")
    return model


def _external_files(path: Path) -> list[Path]:
    """The weights files of the artifact now at ``path``; none when there is no readable one."""
    with suppress(ArtifactError):
        return [path.parent / location for location in external_locations(_parse(path))]
    return []


def _weights_bytes(model: onnx.ModelProto) -> int:
    """Bytes of all weights; ``ModelProto.ByteSize`` fails above 2 GiB."""
    return sum(len(tensor.raw_data) for tensor in model.graph.initializer)


def _save_with_external_data(model: onnx.ModelProto, temporary: Path, path: Path) -> None:
    """Write the weights under a name that no earlier version uses, then the model that names them."""
    import onnx
    from onnx.external_data_helper import load_external_data_for_model

    data = path.with_name(f"{path.stem}.{secrets.token_hex(4)}.data")
    try:
        onnx.save_model(model, temporary, save_as_external_data=True, location=data.name, size_threshold=1024)
        load_external_data_for_model(model, str(path.parent))  # saving takes the weights out of ``model``
    except BaseException:
        data.unlink(missing_ok=True)
        raise
