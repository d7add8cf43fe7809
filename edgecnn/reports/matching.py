"""Which result of one run is which of another, although the files were made anew."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

from edgecnn.reports.label import file_name
from edgecnn.reports.result import Result

__all__ = ["matched"]

_Key = Callable[[Result], tuple[object, ...]]


def matched(old: Sequence[Result], new: Sequence[Result]) -> tuple[list[tuple[Result, Result]], list[Result]]:
    """Pairs of the same variant, and the old results that have no counterpart.

    A variant is its network, precision, engine, options, batch, threads and scenario; a file's content and
    name may change. Where several files share all of these, they are told apart by content, then by name.
    Then int8 and mixed are one: which layers a request for int8 leaves in float differs from run to run.
    What failed may not know its precision and threads: it is matched by network, engine and batch in the end.
    """
    left, free = list(old), list(new)
    pairs: list[tuple[Result, Result]] = []
    for key in (_same_content, _same_name, _same_kind, _same_named_int8, _same_int8):
        pairs += _take(left, free, key)
    # Without the precision a match is a guess, which only a failure needs.
    failed = [result for result in free if result.error is not None]
    for key in (_same_named_request, _same_request):
        pairs += _take(left, failed, key)
    order = {id(result): index for index, result in enumerate(old)}
    return sorted(pairs, key=lambda pair: order[id(pair[0])]), left


def _take(left: list[Result], free: list[Result], key: _Key) -> list[tuple[Result, Result]]:
    """Pairs whose key is unique on both sides, removed from both."""
    pairs = []
    for one in list(left):
        mine = [other for other in left if key(other) == key(one)]
        theirs = [other for other in free if key(other) == key(one)]
        if len(mine) == len(theirs) == 1:
            left.remove(one)
            free.remove(theirs[0])
            pairs.append((one, theirs[0]))
    return pairs


def _same_kind(result: Result) -> tuple[object, ...]:
    variant, scenario = result.variant, result.scenario
    load = (
        None
        if scenario is None
        else (scenario.name, scenario.driver, scenario.target_qps, scenario.instances)
    )
    return (
        variant.network,
        variant.precision,
        variant.engine,
        variant.options,
        variant.batch,
        variant.threads,
        load,
    )


def _same_int8(result: Result) -> tuple[object, ...]:
    """The kind, whether some layers stayed in float or none."""
    if result.variant.precision != "mixed":
        return _same_kind(result)
    return _same_kind(replace(result, variant=replace(result.variant, precision="int8")))


def _same_named_int8(result: Result) -> tuple[object, ...]:
    return (*_same_int8(result), file_name(result.variant))


def _same_name(result: Result) -> tuple[object, ...]:
    return (*_same_kind(result), file_name(result.variant))


def _same_content(result: Result) -> tuple[object, ...]:
    return (*_same_kind(result), result.variant.sha256)


def _same_named_request(result: Result) -> tuple[object, ...]:
    return (*_same_request(result), file_name(result.variant))


def _same_request(result: Result) -> tuple[object, ...]:
    variant = result.variant
    return variant.network, variant.engine, variant.options, variant.batch
