"""Histograms kept for the next time: under which key, and what damaged files do."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgecnn.quantize.calibration import Calibration
from edgecnn.quantize.calibration_cache import cached_calibration, calibration_key
from edgecnn.quantize.histogram import Histogram
from edgecnn.spec import Preprocess

SmallOf = Callable[[str], Any]

KEY = "0123"
PREPROCESS = Preprocess(resize=None, crop=(16, 16))


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("EDGECNN_CACHE", str(tmp_path))
    return tmp_path / "calibration"


@dataclass
class Maker:
    """Makes the same calibration every time, and counts."""

    calls: int = 0

    def __call__(self) -> Calibration:
        self.calls += 1
        rng = np.random.default_rng(0)
        values = {f"v/{at}": rng.normal(at, 1 + at, 500).astype(np.float32) for at in range(3)}
        values["constant"] = np.zeros(4, np.float32)
        return Calibration({name: Histogram.of(value) for name, value in values.items()}, 17, 1.25, ("e",))


def assert_equal(found: Calibration, expected: Calibration) -> None:
    assert list(found.histograms) == list(expected.histograms)
    assert (found.images, found.convergence) == (expected.images, expected.convergence)
    assert found.not_finite == expected.not_finite
    for name, histogram in expected.histograms.items():
        other = found.histograms[name]
        assert np.array_equal(other.counts, histogram.counts)
        assert other.counts.dtype == histogram.counts.dtype
        for field in ("exponent", "first", "low", "high"):
            assert getattr(other, field) == getattr(histogram, field)


def test_the_second_time_it_is_known_to_the_last_bit() -> None:
    make = Maker()
    first, known = cached_calibration(KEY, make)
    assert not known
    second, known = cached_calibration(KEY, make)
    assert known
    assert make.calls == 1
    assert_equal(first, make())
    assert_equal(second, first)


def test_another_key_is_another_calibration() -> None:
    make = Maker()
    cached_calibration(KEY, make)
    assert not cached_calibration("4567", make)[1]


@pytest.mark.parametrize("damage", [b"", b"no archive", None], ids=["empty", "text", "cut"])
def test_a_damaged_file_is_made_again(damage: bytes | None, cache: Path) -> None:
    make = Maker()
    cached_calibration(KEY, make)
    (file,) = cache.iterdir()
    file.write_bytes(file.read_bytes()[:-40] if damage is None else damage)
    found, known = cached_calibration(KEY, make)
    assert not known
    assert_equal(found, make())
    assert cached_calibration(KEY, make)[1]


def test_bytes_that_changed_are_noticed(cache: Path) -> None:
    make = Maker()
    expected, _ = cached_calibration(KEY, make)
    (file,) = cache.iterdir()
    content = file.read_bytes()
    for at in range(len(content) // 10, len(content), len(content) // 10):
        file.write_bytes(content[:at] + bytes([content[at] ^ 0xFF]) + content[at + 1 :])
        assert_equal(cached_calibration(KEY, make)[0], expected)


def test_an_archive_of_something_else_is_made_again(cache: Path) -> None:
    cache.mkdir()
    np.savez(cache / f"{KEY}.npz", other=np.zeros(3))
    assert not cached_calibration(KEY, Maker())[1]


def test_a_cache_that_cannot_be_written_is_no_failure(cache: Path) -> None:
    cache.write_text("a file in the folder's place")
    assert not cached_calibration(KEY, Maker())[1]


def test_a_calibration_that_fails_leaves_nothing(cache: Path) -> None:
    def fail() -> Calibration:
        raise KeyError("no such value")

    with pytest.raises(KeyError):
        cached_calibration(KEY, fail)
    assert not cache.exists()


def test_the_key_is_that_of_model_images_and_preprocessing(small: SmallOf) -> None:
    model = small("residual").model
    again = onnx.ModelProto.FromString(model.SerializeToString())
    key = calibration_key(model, "images", PREPROCESS)
    assert calibration_key(again, "images", PREPROCESS) == key
    assert len(key) == 32
    int(key, 16)
    weights = again.graph.initializer[0]
    weights.raw_data = weights.raw_data[:-1] + bytes([weights.raw_data[-1] ^ 1])
    others = {
        calibration_key(again, "images", PREPROCESS),
        calibration_key(model, "other images", PREPROCESS),
        calibration_key(model, "images", replace(PREPROCESS, divisor=1.0)),
        calibration_key(model, "images", replace(PREPROCESS, interpolation="bicubic")),
        calibration_key(small("silu").model, "images", PREPROCESS),
    }
    assert len(others - {key}) == 5


def test_what_the_file_says_of_itself_does_not_count(small: SmallOf) -> None:
    model = onnx.ModelProto.FromString(small("residual").model.SerializeToString())
    key = calibration_key(model, "images", PREPROCESS)
    model.metadata_props.add(key="edgecnn.spec", value="another")
    assert calibration_key(model, "images", PREPROCESS) == key


_CHANGES = st.fixed_dictionaries(
    {
        "divisor": st.sampled_from([1.0, 127.5, 255.0]),
        "interpolation": st.sampled_from(["nearest", "bilinear", "bicubic"]),
        "antialias": st.booleans(),
        "resize": st.sampled_from([None, 16, (16, 16), (20, 16)]),
        "color": st.sampled_from(["RGB", "BGR"]),
    }
)


@given(left=_CHANGES, right=_CHANGES)
def test_keys_are_equal_exactly_if_all_they_depend_on_is(left: dict[str, Any], right: dict[str, Any]) -> None:
    model = onnx.ModelProto()
    keys = [calibration_key(model, "i", replace(PREPROCESS, **changes)) for changes in (left, right)]
    assert (keys[0] == keys[1]) == (left == right)
