"""One line that names a variant, the same in every report."""

from __future__ import annotations

from pathlib import PurePath

from edgecnn.reports.result import Variant

__all__ = ["label", "model_name"]


def label(variant: Variant) -> str:
    """Such as "mobilenet_v2 int8 ort, batch 1, 2 threads, arena=off", with the file's name where it differs.

    What is not known is left out.
    """
    threads = {None: "", 1: "1 thread"}.get(variant.threads, f"{variant.threads} threads")
    batch = "" if variant.batch is None else f"batch {variant.batch}"
    head = f"{model_name(variant)} {variant.precision} {variant.engine}"
    return ", ".join(part for part in (head, batch, threads, variant.options) if part)


def model_name(variant: Variant) -> str:
    """The network, with the file's name where that does not begin with it."""
    stem = PurePath(variant.artifact).stem
    return variant.network if stem.startswith(variant.network) else f"{variant.network} ({stem})"
