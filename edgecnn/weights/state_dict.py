"""From a file to named tensors, whoever wrote it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import cast

from torch import Tensor

from edgecnn.checkpoint import (
    Checkpoint,
    decode_checkpoint,
    is_checkpoint,
    read_torch_file,
    require_weights_file,
)
from edgecnn.errors import DependencyMissingError, WeightsError

__all__ = ["WeightsFile", "read_weights"]

#: Under which key training scripts keep the state dict among other things, in order of preference.
_WRAPPERS = ("state_dict", "model", "model_state_dict")

#: What DataParallel and torch.compile put in front of every name.
_PREFIXES = ("module.", "_orig_mod.")


@dataclass(frozen=True)
class WeightsFile:
    """What a file of weights holds.

    Attributes:
        tensors: by name, on the CPU, without the prefixes of wrappers.
        checkpoint: the whole, when ``edgecnn train`` wrote it.
    """

    tensors: dict[str, Tensor]
    checkpoint: Checkpoint | None = None


def read_weights(path: Path) -> WeightsFile:
    """Read a state dict, plain, wrapped or as safetensors, or an edgecnn checkpoint. No code is ever run.

    Raises:
        WeightsError: the file cannot be read, holds code, or holds something else.
        DependencyMissingError: a ``.safetensors`` file, and the package safetensors is not installed.
    """
    if path.suffix == ".safetensors":
        return WeightsFile(_read_safetensors(path))
    loaded = read_torch_file(path)
    if is_checkpoint(loaded):
        checkpoint = decode_checkpoint(loaded, origin=str(path))
        return WeightsFile(checkpoint.state_dict, checkpoint)
    return WeightsFile(_without_prefixes(_named_tensors(_unwrapped(loaded), path)))


def _read_safetensors(path: Path) -> dict[str, Tensor]:
    try:
        from safetensors import SafetensorError
        from safetensors.torch import load_file
    except ModuleNotFoundError as error:
        raise DependencyMissingError("safetensors", f"Reading {path}", "timm") from error
    require_weights_file(path)
    try:
        return _without_prefixes(_named_tensors(load_file(path), path))
    except (SafetensorError, OSError) as error:
        raise WeightsError(
            f"{path} cannot be read as safetensors: {error}.", "Copy or download it again."
        ) from error


def _unwrapped(loaded: object) -> object:
    """The state dict inside the mapping that a training script saved; anything else as it is."""
    if isinstance(loaded, Mapping):
        for key in _WRAPPERS:
            if isinstance(loaded.get(key), Mapping):
                return loaded[key]
    return loaded


def _named_tensors(loaded: object, path: Path) -> dict[str, Tensor]:
    remedy = "Save the weights alone: torch.save(model.state_dict(), path)."
    if not isinstance(loaded, Mapping) or not loaded:
        kind = "nothing" if isinstance(loaded, Mapping) else f"a {type(loaded).__name__}"
        raise WeightsError(f"{path} holds {kind}, and not a mapping of names to tensors.", remedy)
    strange = [key for key, value in loaded.items() if not _is_plain(key, value)]
    if strange:
        listed = ", ".join(f"{key!r} ({type(loaded[key]).__name__})" for key in strange[:10])
        raise WeightsError(f"{path} is no state dict: not a name with a dense tensor are {listed}.", remedy)
    return dict(cast(Mapping[str, Tensor], loaded))


def _is_plain(key: object, value: object) -> bool:
    if not isinstance(key, str) or not isinstance(value, Tensor):
        return False
    return not (value.is_sparse or value.is_quantized or value.is_complex())


def _without_prefixes(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    for prefix in _PREFIXES:
        if all(name.startswith(prefix) for name in tensors):
            stripped = {name.removeprefix(prefix): tensor for name, tensor in tensors.items()}
            return _without_prefixes(stripped)
    return tensors
