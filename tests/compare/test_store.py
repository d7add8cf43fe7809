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


def test_what_is_kept_is_known_the_next_time_with_its_date(store: Store, environment: Environment) -> None:
    assert store.known("key") is None
    store.keep("key", RESULTS)
    known = store.known("key")
    assert known is not None
    assert (known.results, known.environment.started) == (RESULTS, environment.started)
    assert store.known("another") is None


def test_a_fresh_store_knows_nothing_and_keeps_anew(store: Store) -> None:
    store.keep("key", RESULTS)
    fresh = replace(store, fresh=True)
    assert fresh.known("key") is None
    fresh.keep("key", RESULTS[:1])
    known = store.known("key")
    assert known is not None
    assert known.results == RESULTS[:1]


@pytest.mark.parametrize(
    "damage", [b"", b"\xff\xfe", b"{}", b'{"schema": "edgecnn.result/0"}', b'{"schema": "edgecnn.res']
)
def test_a_damaged_file_is_not_known(store: Store, damage: bytes) -> None:
    store.keep("key", ())
    (path,) = store.folder.iterdir()
    path.write_bytes(damage)
    assert store.known("key") is None


def test_a_folder_that_cannot_be_written_is_named(store: Store) -> None:
    store.folder.write_text("a file")
    with pytest.raises(ResultError, match="cannot be written"):
        store.keep("key", RESULTS)


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
