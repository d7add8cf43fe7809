"""What is kept from one run to the next."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgecnn.compare.store import Store, key_of
from edgecnn.environment import Environment, describe_environment
from edgecnn.errors import ResultError
from edgecnn.reports.result import LatencyMs, Result, Variant

VARIANT = Variant(network="net", artifact="net.onnx", sha256="0", precision="fp32", engine="ort")
RESULTS = (Result(variant=VARIANT, latency_ms=LatencyMs(p50=1.5)), Result(variant=VARIANT))


@pytest.fixture(scope="module")
def environment() -> Environment:
    return describe_environment(())


@pytest.fixture
def store(tmp_path: Path, environment: Environment) -> Store:
    return Store(tmp_path / "cells", environment)


def _never() -> tuple[Result, ...]:
    raise AssertionError("it is known")


def test_what_is_measured_is_known_the_next_time(store: Store) -> None:
    assert store.known("key") is None
    assert store.remembered("key", lambda: RESULTS) == RESULTS
    assert store.remembered("key", _never) == RESULTS
    assert store.known("another") is None


def test_a_fresh_store_measures_again_and_keeps_that(store: Store) -> None:
    store.keep("key", RESULTS)
    assert replace(store, fresh=True).remembered("key", lambda: RESULTS[:1]) == RESULTS[:1]
    assert store.known("key") == RESULTS[:1]


def test_failures_are_not_kept(store: Store) -> None:
    failed = (RESULTS[0], Result(variant=VARIANT, error="It broke."))
    assert store.remembered("key", lambda: failed) == failed
    assert store.remembered("key", lambda: RESULTS) == RESULTS


@pytest.mark.parametrize(
    "damage", [b"", b"\xff\xfe", b"{}", b'{"schema": "edgecnn.result/0"}', b'{"schema": "edgecnn.res']
)
def test_a_damaged_file_is_made_again(store: Store, damage: bytes) -> None:
    store.keep("key", ())
    (path,) = store.folder.iterdir()
    path.write_bytes(damage)
    assert store.remembered("key", lambda: RESULTS) == RESULTS
    assert store.remembered("key", _never) == RESULTS


def test_a_folder_that_cannot_be_written_is_named(store: Store) -> None:
    store.folder.write_text("a file")
    with pytest.raises(ResultError, match="cannot be written"):
        store.remembered("key", lambda: RESULTS)


def test_another_machine_or_library_is_another(store: Store, environment: Environment) -> None:
    others = [
        replace(environment, cpu="another"),
        replace(environment, cores=environment.cores + 1),
        replace(environment, gpu="another"),
        replace(environment, driver="another"),
        replace(environment, versions={"onnxruntime": "0"}),
    ]
    keys = {key_of(replace(store, environment=each).machine()) for each in (environment, *others)}
    assert len(keys) == 1 + len(others)


@given(st.lists(st.text(), max_size=4), st.lists(st.text(), max_size=4))
def test_keys_differ_where_the_parts_do(one: list[str], other: list[str]) -> None:
    assert (key_of(*one) == key_of(*other)) == (one == other)


def test_a_key_does_not_depend_on_the_order_of_a_mapping() -> None:
    assert key_of({"a": 1, "b": 2}) == key_of({"b": 2, "a": 1})
