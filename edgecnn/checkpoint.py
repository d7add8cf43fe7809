"""The file that training writes: weights with what is needed to use them, and to go on training."""

from __future__ import annotations

import io
import pickle
import pickletools
import re
import struct
import warnings
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

import msgspec
import torch
from torch import Tensor

from edgecnn.atomic import replacing
from edgecnn.errors import WeightsError
from edgecnn.spec import Preprocess

__all__ = [
    "CHECKPOINT_FORMAT",
    "Checkpoint",
    "decode_checkpoint",
    "is_checkpoint",
    "load_checkpoint",
    "read_torch_file",
    "require_weights_file",
    "save_checkpoint",
]

CHECKPOINT_FORMAT = "edgecnn.checkpoint/1"

#: What torch raises on a damaged file; which of them depends on the byte that is damaged.
_DAMAGE = (
    ArithmeticError,
    AssertionError,
    AttributeError,
    EOFError,
    LookupError,
    MemoryError,
    RuntimeError,
    StopIteration,
    TypeError,
    ValueError,
    struct.error,
    zipfile.BadZipFile,
)
_DAMAGED = "it is damaged or truncated, or torch.save did not write it"

#: What the pickle of a mapping of tensors names.
_OF_TENSORS = re.compile(
    r"collections\.OrderedDict|torch\._utils\._rebuild_\w+|torch\.\w+Storage|torch\.storage\.\w+|torch\.[a-z]+\d*"
)


@dataclass(frozen=True)
class Checkpoint:
    """A trained network, and where its training stands.

    Attributes:
        network: the card's name.
        classes: class names in the order of the output's last dimension.
        preprocess: how images were made into the network's input.
        state_dict: the weights to deploy (the averaged ones where training averages).
        progress: what training needs to resume: numbers, strings, tensors, and lists, tuples and
            mappings of them. Empty for a file that is only deployed.
    """

    network: str
    classes: tuple[str, ...]
    preprocess: Preprocess
    state_dict: dict[str, Tensor]
    progress: dict[str, Any] = field(default_factory=dict)


def save_checkpoint(checkpoint: Checkpoint, path: Path) -> None:
    """Write ``checkpoint``; the old file survives until the new one is complete and proven readable.

    Raises:
        WeightsError: the file cannot be written.
        TypeError: ``progress`` holds an object that could not be read back safely.
    """
    document = {
        "format": CHECKPOINT_FORMAT,
        "network": checkpoint.network,
        "classes": list(checkpoint.classes),
        "preprocess": msgspec.json.encode(checkpoint.preprocess).decode(),
        "state_dict": dict(checkpoint.state_dict),
        "progress": checkpoint.progress,
    }
    try:
        with replacing(path) as temporary:
            with temporary.open("wb") as file:
                torch.save(document, file)
            _require_safe(temporary)
    except (OSError, RuntimeError) as error:
        raise WeightsError(
            f"{path} cannot be written: {error}.",
            "Free some space or choose another place; what was there before is untouched.",
        ) from error


def load_checkpoint(path: Path) -> Checkpoint:
    """Read what :func:`save_checkpoint` wrote, tensors on the CPU.

    Raises:
        WeightsError: no such file, unreadable, holding code, no checkpoint, or of another version.
    """
    return decode_checkpoint(read_torch_file(path), origin=str(path))


def is_checkpoint(loaded: object) -> bool:
    """Whether ``loaded``, which came from a file, is an edgecnn checkpoint of any version."""
    form = loaded.get("format") if isinstance(loaded, Mapping) else None
    return isinstance(form, str) and form.startswith("edgecnn.checkpoint/")


def decode_checkpoint(loaded: object, *, origin: str) -> Checkpoint:
    """The checkpoint that ``loaded``, which came from the file ``origin``, stands for.

    Raises:
        WeightsError: no checkpoint, another version, or a part that is missing or of the wrong type.
    """
    if not is_checkpoint(loaded):
        raise WeightsError(
            f"{origin} is not an edgecnn checkpoint.", "Give a file that 'edgecnn train' wrote."
        )
    document = cast(Mapping[str, Any], loaded)
    if document["format"] != CHECKPOINT_FORMAT:
        raise WeightsError(
            f"{origin} is {document['format']!r}, and this edgecnn reads {CHECKPOINT_FORMAT!r}.",
            "Use the edgecnn that wrote it, or train again.",
        )
    try:
        return Checkpoint(
            network=msgspec.convert(document["network"], str),
            classes=msgspec.convert(document["classes"], tuple[str, ...]),
            preprocess=msgspec.json.decode(document["preprocess"], type=Preprocess),
            state_dict=msgspec.convert(document["state_dict"], dict[str, Tensor]),
            progress=msgspec.convert(document["progress"], dict[str, Any]),
        )
    except (KeyError, TypeError, msgspec.DecodeError) as error:
        raise WeightsError(
            f"{origin} is a damaged checkpoint: {error}.", "Train again, or take an earlier copy of the file."
        ) from error


def read_torch_file(path: Path) -> object:
    """What ``torch.save`` wrote to ``path``, tensors on the CPU; no code in the file is ever run.

    Raises:
        WeightsError: no such file, empty, truncated, of another kind, or holding code.
    """
    require_weights_file(path)
    with warnings.catch_warnings():
        # A newer pickle protocol, or a text that torch finds odd, either loads whole or raises.
        warnings.simplefilter("ignore")
        return _read(path)


def _read(path: Path) -> object:
    try:
        _refuse_programs(path)
        return torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        code = _code_in(path)
        raise _holds_code(path, code) if code else _unreadable(path, _DAMAGED) from error
    except OSError as error:
        raise _unreadable(path, error.strerror or str(error)) from error
    except _DAMAGE as error:
        raise _unreadable(path, _DAMAGED) from error


def require_weights_file(path: Path) -> None:
    """Check that there is something to read at ``path``.

    Raises:
        WeightsError: no such file, a folder, or an empty file.
    """
    if path.is_dir():
        raise WeightsError(f"{path} is a folder.", "Give the file of weights inside it.")
    if not path.is_file():
        raise WeightsError(
            f"{path}: no such file of weights.",
            "Check the path. Without weights, '--weights random --seed N' builds an untrained network.",
        )
    if path.stat().st_size == 0:
        raise _unreadable(path, "it is empty")


def _refuse_programs(path: Path) -> None:
    """Refuse TorchScript before torch.load hands it to the loader of programs."""
    if zipfile.is_zipfile(path):
        with zipfile.ZipFile(path) as archive:
            if any("/code/" in name for name in archive.namelist()):
                raise _holds_code(path, ["a TorchScript program"])


def _unreadable(path: Path, reason: str) -> WeightsError:
    return WeightsError(
        f"{path} cannot be read as weights: {reason}.",
        "Copy or download it again, or save it anew with torch.save(model.state_dict(), path).",
    )


def _holds_code(path: Path, names: Sequence[str]) -> WeightsError:
    listed = ", ".join(names[:5]) + (f" and {len(names) - 5} more" if len(names) > 5 else "")
    return WeightsError(
        f"{path} contains code, not only weights: {listed}. It was refused, and none of it was run.",
        "Where you trust its origin, load it in PyTorch and save the weights alone: "
        "torch.save(model.state_dict(), path).",
    )


def _code_in(path: Path) -> list[str]:
    """The functions and classes beyond those of tensors that the pickles in ``path`` name, sorted."""
    try:
        return sorted(name for name in _named(_pickles(path)) if not _OF_TENSORS.fullmatch(name))
    except _DAMAGE:
        return []


def _pickles(path: Path) -> io.BytesIO:
    """The pickle inside the zip archive that torch.save writes; the whole of any other file."""
    if not zipfile.is_zipfile(path):
        return io.BytesIO(path.read_bytes())
    with zipfile.ZipFile(path) as archive:
        return io.BytesIO(
            archive.read(next(name for name in archive.namelist() if name.endswith("data.pkl")))
        )


def _named(stream: io.BytesIO) -> Iterator[str]:
    """What a row of pickles imports, read off their instructions; ends where the file is no pickle."""
    strings: list[str] = []
    while True:
        try:
            for instruction, argument, _ in pickletools.genops(stream):
                if instruction.name in {"GLOBAL", "INST"}:
                    yield str(argument).replace(" ", ".")
                elif instruction.name == "STACK_GLOBAL":
                    yield ".".join(strings[-2:])
                elif isinstance(argument, str):
                    strings.append(argument)
        except ValueError:
            return


def _require_safe(path: Path) -> None:
    """Check that :func:`read_torch_file` will take the file, without reading its tensors' data."""
    try:
        torch.load(path, map_location="cpu", weights_only=True, mmap=True)
    except pickle.UnpicklingError as error:
        raise TypeError(f"the checkpoint holds objects that are not plain data: {_code_in(path)}") from error
