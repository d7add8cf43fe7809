"""One line that names a variant, the same in every report."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from pathlib import PurePath

from edgecnn.reports.result import Variant

__all__ = ["file_name", "file_precision", "label", "model_name", "model_names", "precision_name"]

#: What ``compare`` appends to the files that it makes, and changes whenever it makes them anew.
_KEY = re.compile(r"-[0-9a-f]{16}$")


def label(variant: Variant, model: str | None = None) -> str:
    """Such as "mobilenet_v2 int8 ort, batch 1, 2 threads, arena=off"; what is not known is left out.

    Args:
        variant: what to name.
        model: what to call its model, if not :func:`model_name`.
    """
    threads = {None: "", 1: "1 thread"}.get(variant.threads, f"{variant.threads} threads")
    batch = "" if variant.batch is None else f"batch {variant.batch}"
    head = f"{model or model_name(variant)} {precision_name(variant)} {variant.engine}"
    return ", ".join(part for part in (head, batch, threads, variant.options) if part)


def model_name(variant: Variant) -> str:
    """The network, with the file's name where that does not begin with it."""
    stem = PurePath(variant.artifact).stem
    return variant.network if stem.startswith(variant.network) else f"{variant.network} ({stem})"


def model_names(variants: Sequence[Variant]) -> list[str]:
    """The model's name of each; with the file's name, or else its path, where labels would be the same."""
    names = [model_name(variant) for variant in variants]
    names = _told_apart(variants, names, file_name, file_name)
    return _told_apart(
        variants, names, lambda variant: variant.artifact, lambda variant: variant.sha256 or variant.artifact
    )


def file_name(variant: Variant) -> str:
    """The file's name, without its ending and the key that ``compare`` appends."""
    return _KEY.sub("", PurePath(variant.artifact).stem)


def precision_name(variant: Variant) -> str:
    """What the arithmetic ran in, with :func:`file_precision`, such as "fp32 (int8 file)"."""
    held = file_precision(variant)
    return variant.precision if held is None else f"{variant.precision} ({held} file)"


def file_precision(variant: Variant) -> str | None:
    """What the file holds where the arithmetic does not tell; that of an fp32 file is what was chosen."""
    held = variant.artifact_precision
    return None if held in ("fp32", variant.precision) else held


def _told_apart(
    variants: Sequence[Variant],
    names: Sequence[str],
    text: Callable[[Variant], str],
    identity: Callable[[Variant], str],
) -> list[str]:
    """``names``, with ``text`` where variants of one label differ in ``identity``."""
    alike: dict[str, set[str]] = {}
    for variant, name in zip(variants, names, strict=True):
        alike.setdefault(label(variant, name), set()).add(identity(variant))
    return [
        f"{variant.network} ({text(variant)})" if len(alike[label(variant, name)]) > 1 else name
        for variant, name in zip(variants, names, strict=True)
    ]
