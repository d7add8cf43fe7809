"""Several files of results as one: what ``validate`` and ``bench`` each measured of a variant, together."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import fields, replace

from edgecnn.errors import UsageError
from edgecnn.reports.result import MemoryBytes, Result, ResultFile

__all__ = ["join"]

#: What tells one machine from another, as far as speed and memory go.
_MACHINE = ("cpu", "cores", "gpu")

#: What a variant's file and arithmetic decide, whatever the batch, the threads and the load.
_LENT = ("accuracy", "pace", "size")


def join(documents: Sequence[ResultFile]) -> ResultFile:
    """One document of all results; of what was measured twice, the later file counts.

    Results of the same variant (content, engine, batch, threads, options) and scenario become one. Accuracy
    belongs to the file, the engine and the precision, so a variant without one takes it from another batch,
    other threads or another scenario of the same three. A result that holds nothing else is then left out.

    Args:
        documents: at least one, in the order in which the user named them.

    Returns:
        With the environment of the last document that holds speed or memory, or of the last.

    Raises:
        UsageError: speed or memory comes from different machines, so that it cannot be compared.
    """
    _require_one_machine(documents)
    merged: dict[tuple[object, ...], Result] = {}
    for document in documents:
        for result in document.results:
            key = _key(result)
            merged[key] = _merged(merged[key], result) if key in merged else result
    results = _lend(list(merged.values()))
    timed = [document for document in documents if any(map(_has_figures, document.results))]
    return ResultFile(environment=(timed or documents)[-1].environment, results=tuple(results))


def _require_one_machine(documents: Iterable[ResultFile]) -> None:
    machines = {
        tuple(getattr(document.environment, name) for name in _MACHINE)
        for document in documents
        if any(map(_has_figures, document.results))
    }
    if len(machines) > 1:
        named = "; ".join(sorted(f"{cpu}, {cores} cores" for cpu, cores, _ in machines))
        raise UsageError(
            f"The speeds were measured on different machines ({named}), so they cannot be compared.",
            "Name the files of one machine; an accuracy may come from another.",
        )


def _has_figures(result: Result) -> bool:
    """Whether it says something that depends on the machine."""
    figures = (result.latency_ms, result.throughput_per_s, result.memory_bytes, result.energy_j_per_image)
    return any(figure is not None for figure in figures)


def _key(result: Result) -> tuple[object, ...]:
    variant, scenario = result.variant, result.scenario
    load = (
        None
        if scenario is None
        else (scenario.name, scenario.driver, scenario.target_qps, scenario.instances)
    )
    own = (variant.sha256, variant.engine, variant.precision, variant.batch, variant.threads, variant.options)
    # What did not open has neither a precision nor threads that are known for sure; its name tells it apart.
    return (*own, load, variant.network, variant.artifact if not variant.sha256 else "")


def _merged(older: Result, newer: Result) -> Result:
    """Both, field by field; the newer one's where it has one."""
    taken = {
        field.name: value
        for field in fields(newer)
        if (value := getattr(newer, field.name)) is not None and value != ()
    }
    if older.memory_bytes is not None and newer.memory_bytes is not None:
        taken["memory_bytes"] = _merged_memory(older.memory_bytes, newer.memory_bytes)
    if newer.error is None and _has_anything(newer):
        taken["error"] = None  # it failed once, and was measured since
    return replace(older, **taken)


def _merged_memory(older: MemoryBytes, newer: MemoryBytes) -> MemoryBytes:
    taken = {
        field.name: value for field in fields(newer) if (value := getattr(newer, field.name)) is not None
    }
    return replace(older, **taken)


def _has_anything(result: Result) -> bool:
    return result.accuracy is not None or _has_figures(result)


def _lend(results: Sequence[Result]) -> list[Result]:
    """``results`` with what a sibling knows filled in, and without siblings that knew nothing else."""
    families: dict[tuple[object, ...], list[Result]] = {}
    for result in results:
        families.setdefault(_family(result), []).append(result)
    lent = []
    for result in results:
        siblings = families[_family(result)]
        timed = any(map(_is_timed, siblings))
        if timed and not _is_timed(result) and result.error is None:
            continue
        lent.append(_completed(result, siblings))
    return lent


def _family(result: Result) -> tuple[object, ...]:
    variant = result.variant
    return variant.network, variant.sha256, variant.engine, variant.precision


def _is_timed(result: Result) -> bool:
    return result.latency_ms is not None or result.throughput_per_s is not None


def _completed(result: Result, siblings: Sequence[Result]) -> Result:
    """With accuracy, size and file size of a sibling, one of the same options first; not if it failed."""
    if result.error is not None:
        return result
    near = sorted(siblings, key=lambda one: one.variant.options != result.variant.options)
    known = {
        name: next((value for one in near if (value := getattr(one, name)) is not None), None)
        for name in _LENT
        if getattr(result, name) is None
    }
    file = next((one.memory_bytes.file for one in near if one.memory_bytes and one.memory_bytes.file), None)
    memory = result.memory_bytes
    if file is not None and (memory is None or memory.file is None):
        memory = replace(memory or MemoryBytes(), file=file)
    return replace(result, memory_bytes=memory, **known)  # type: ignore[arg-type]
