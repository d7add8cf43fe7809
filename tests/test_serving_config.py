"""Serving configurations, to TOML and back."""

from __future__ import annotations

import string
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgecnn.errors import UsageError
from edgecnn.serving_config import (
    Host,
    ModelSettings,
    RepositorySettings,
    ServerSettings,
    ServingConfig,
    decode_serving_config,
    encode_serving_config,
    write_serving_config,
)

_TEXT = st.text(st.characters(codec="utf-8", exclude_categories=["Cs"]))
_CURVE = st.dictionaries(st.integers(1, 512), st.floats(0.001, 1e6))

MODELS = st.builds(
    ModelSettings,
    path=_TEXT,
    name=st.none() | _TEXT,
    sha256=st.none() | st.text(string.hexdigits),
    engine=_TEXT,
    instances=st.none() | st.integers(1, 64),
    threads=st.none() | st.integers(1, 64),
    max_batch=st.none() | st.integers(1, 512),
    max_delay_ms=st.floats(0, 1e4),
    call_ms=_CURVE,
    images_per_s=_CURVE,
)

CONFIGS = st.builds(
    ServingConfig,
    model=st.lists(MODELS, max_size=3).map(tuple),
    repository=st.none() | st.builds(RepositorySettings, path=_TEXT, threads=st.none() | st.integers(1, 9)),
    server=st.builds(
        ServerSettings,
        host=_TEXT,
        grpc_port=st.integers(0, 65535),
        timeout_ms=st.floats(1, 1e6),
        cors_origins=st.lists(_TEXT, max_size=2).map(tuple),
        api_keys=st.none() | _TEXT,
        model_control=st.booleans(),
    ),
    host=st.none()
    | st.builds(
        Host,
        cpu=_TEXT,
        cores=st.integers(1, 512),
        os=_TEXT,
        measured=_TEXT,
        objective=st.sampled_from(["latency", "throughput"]),
        max_latency_ms=st.none() | st.floats(0.1, 1e4),
        gpu=st.none() | _TEXT,
        versions=st.dictionaries(_TEXT, _TEXT, max_size=3),
    ),
)


@given(CONFIGS)
def test_what_is_written_is_read(config: ServingConfig) -> None:
    assert decode_serving_config(encode_serving_config(config), origin="test") == config


def test_a_person_may_leave_out_what_has_a_default() -> None:
    text = """
        schema = "edgecnn.serve/1"
        [server]
        timeout_ms = 500
        [[model]]
        path = "m.onnx"
        max_delay_ms = 5
    """
    config = decode_serving_config(text, origin="serve.toml")
    assert config.server == ServerSettings(timeout_ms=500.0)
    assert config.model == (ModelSettings(path="m.onnx", max_delay_ms=5.0),)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("[model", "serve.toml is no serving configuration"),
        ("[[model]]", "path"),
        ("[server]\nmax_qeue = 3", "Did you mean max_queue"),
        ('schema = "edgecnn.serve/9"', "'edgecnn.serve/9', and this edgecnn reads 'edgecnn.serve/1'"),
        ("[[model]]\npath = 1", "path"),
        ('[[model]]\npath = "m"\ninstances = 0', "instances is 0, and must be 1 or more"),
        ("[server]\nport = 99999", "port is 99999, and must be from 0 to 65535"),
        ("[server]\ntimeout_ms = -1", "timeout_ms is -1"),
    ],
    ids=["no TOML", "missing", "misspelt", "version", "type", "no instance", "port", "timeout"],
)
def test_what_cannot_be_read_is_told(text: str, says: str) -> None:
    with pytest.raises(UsageError, match=says.replace("[", r"\[")):
        decode_serving_config(text, origin="serve.toml")


def test_the_file_is_replaced_whole(tmp_path: Path) -> None:
    path = tmp_path / "serve.toml"
    path.write_text("old")
    config = ServingConfig(model=(ModelSettings(path="m.onnx"),))
    write_serving_config(config, path)
    assert decode_serving_config(path.read_text(), origin=str(path)) == config
    assert list(tmp_path.iterdir()) == [path]
