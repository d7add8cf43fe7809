"""A folder of models: ``name/version/model.onnx``, versions being whole numbers."""

from __future__ import annotations

from pathlib import Path

from edgecnn.errors import UsageError

__all__ = ["MODEL_FILE", "scan"]

MODEL_FILE = "model.onnx"


def scan(folder: Path) -> dict[str, dict[str, Path]]:
    """The models of a repository: name -> version -> file, versions in ascending order.

    What is not of the form is passed over: hidden folders, folders whose name is no number, and files.

    Raises:
        UsageError: no such folder.
    """
    if not folder.is_dir():
        raise UsageError(
            f"{folder} is no folder.",
            f"A repository holds NAME/VERSION/{MODEL_FILE}, such as resnet50/1/{MODEL_FILE}.",
        )
    found: dict[str, dict[str, Path]] = {}
    for model in sorted(each for each in folder.iterdir() if each.is_dir() and each.name[0] != "."):
        versions = {each.name: each / MODEL_FILE for each in model.iterdir() if _is_version(each)}
        if versions:
            found[model.name] = dict(sorted(versions.items(), key=lambda item: int(item[0])))
    return found


def _is_version(folder: Path) -> bool:
    return folder.name.isascii() and folder.name.isdigit() and (folder / MODEL_FILE).is_file()
