"""What every engine in the table promises, with options too, and the fake one with them."""

from __future__ import annotations

import functools
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from edgecnn.architectures.normalisation import with_preprocess
from edgecnn.artifact import Artifact
from edgecnn.cache import CACHE_VARIABLE
from edgecnn.engines import ENGINES, Engine, engine_type
from edgecnn.engines.base import Batch, Scores
from edgecnn.engines.choice import open_choice, parse_choice
from edgecnn.engines.fake import FakeEngine, pixel_sums
from edgecnn.environment import usable_cores
from edgecnn.errors import EngineError, EngineUnavailableError, UnknownNameError
from edgecnn.spec import ModelSpec
from edgecnn.weights import Network

#: Of the largest score. Two float32 implementations of one network differ by the order of their sums.
TOLERANCE = 1e-4

#: bfloat16 keeps 8 bits of a number: each of the 20 layers rounds to 2^-9.
BFLOAT16_TOLERANCE = 5e-2

#: Engines with options that change how they run.
VARIANTS = (
    "ort:arena=off,spin=off",
    "openvino:precision=bf16",
    "openvino:hint=throughput",
    "openvino:cache=on",
)

#: What keeps an engine out of the fast tests, or out of those without a GPU.
MARKS = {"torch-compile": pytest.mark.slow, **dict.fromkeys(("ort-cuda", "trt", "trt-rtx"), pytest.mark.gpu)}

NAMES = [
    "fake",
    *(pytest.param(name, marks=MARKS.get(name, ())) for name in ENGINES),
    *VARIANTS,
    *(pytest.param(name, marks=pytest.mark.gpu) for name in ("trt:graph=off", "trt:streams=2")),
]


def opened(name: str, artifact: Artifact, **wishes: Any) -> Engine:
    """The engine ``name``, with ``wishes`` that it understands; skips the test where it cannot open.

    One thread if nothing else is wished: on a busy machine, threads that wait for each other take seconds for
    what takes milliseconds.
    """
    if name == "fake":
        return FakeEngine(artifact.spec)
    choice = parse_choice(name).preferring(**(wishes or {"threads": 1}))
    try:
        return open_choice(choice, artifact)
    except EngineUnavailableError as error:
        pytest.skip(str(error))
    except EngineError as error:
        if "does not compute in" in error.problem:
            pytest.skip(str(error))
        raise


def random_batch(spec: ModelSpec, images: int, seed: int = 0) -> Batch:
    """What the model takes; each image of another brightness, so that their scores differ."""
    shape = (images, *(size for size in spec.input.shape[1:] if isinstance(size, int)))
    rng = np.random.default_rng(seed)
    if spec.preprocess.in_graph:
        return (rng.integers(0, 256, shape) // rng.integers(1, 4, (images, 1, 1, 1))).astype(np.uint8)
    return (rng.normal(size=shape) + rng.normal(size=(images, 1, 1, 1))).astype(np.float32)


def expected(engine: Engine, network: Network, batch: Batch) -> Scores:
    """What the network answers in PyTorch; the sums of the pixels for the fake engine."""
    if isinstance(engine, FakeEngine):
        return pixel_sums(batch, len(network.classes))
    module = with_preprocess(network.module, engine.spec.preprocess)
    with torch.inference_mode():
        scores: Scores = module(torch.tensor(batch.copy())).numpy()
    return scores


def assert_right(engine: Engine, scores: Scores, wanted: Scores) -> None:
    tolerance = BFLOAT16_TOLERANCE if engine.info.precision == "bf16" else TOLERANCE
    assert scores.dtype == np.float32
    assert scores.shape == wanted.shape
    assert np.abs(scores - wanted).max() <= tolerance * np.abs(wanted).max()


def process_threads() -> int:
    """How many threads the system counts in this process."""
    status = Path("/proc/self/status")
    if not status.is_file():
        pytest.skip("only Linux counts the threads of a process where we can read it")
    return next(int(line.split()[1]) for line in status.read_text().splitlines() if "Threads:" in line)


@pytest.fixture(scope="module", autouse=True)
def cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """A folder for what engines keep on disk."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(CACHE_VARIABLE, str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture(scope="module", params=NAMES)
def name(request: pytest.FixtureRequest) -> str:
    parameter: str = request.param
    return parameter


@pytest.fixture(scope="module")
def engine(name: str, dynamic: Artifact) -> Iterator[Engine]:
    """Open with a dynamic batch, for all tests that leave it open."""
    with opened(name, dynamic) as engine:
        yield engine


@pytest.fixture(scope="module")
def fixed_engine(name: str, fixed: Artifact) -> Iterator[Engine]:
    """Open with a batch of two."""
    with opened(name, fixed) as engine:
        yield engine


@pytest.mark.parametrize("images", [1, 2, 5, 8])
def test_answers_are_those_of_the_network_at_every_batch_size(
    engine: Engine, network: Network, images: int
) -> None:
    batch = random_batch(engine.spec, images)
    assert_right(engine, engine.run(batch), expected(engine, network, batch))


def test_different_images_get_different_scores(engine: Engine) -> None:
    scores = engine.run(random_batch(engine.spec, 8))
    assert len(np.unique(scores[:, 0])) == 8


def test_normalisation_inside_the_model(name: str, pixels: Artifact, network: Network) -> None:
    batch = random_batch(pixels.spec, 3)
    with opened(name, pixels) as engine:
        assert_right(engine, engine.run(batch), expected(engine, network, batch))


def test_a_fixed_batch_runs_and_no_other(fixed_engine: Engine, network: Network) -> None:
    batch = random_batch(fixed_engine.spec, 2)
    assert_right(fixed_engine, fixed_engine.run(batch), expected(fixed_engine, network, batch))
    with pytest.raises(EngineError, match=r"float32\[3, 3, 32, 32\].*takes float32\[2, 3, 32, 32\]"):
        fixed_engine.run(random_batch(fixed_engine.spec, 3))


def test_a_result_belongs_to_the_caller(engine: Engine) -> None:
    first = engine.run(random_batch(engine.spec, 2, seed=1))
    kept = first.copy()
    second = engine.run(random_batch(engine.spec, 2, seed=2))
    assert not np.shares_memory(first, second)
    assert np.array_equal(first, kept)
    first[:] = 0  # writable, too


def test_the_batch_is_left_as_it_was_and_may_be_reused(engine: Engine) -> None:
    batch = random_batch(engine.spec, 2)
    copy = batch.copy()
    scores = engine.run(batch)
    kept = scores.copy()
    assert np.array_equal(batch, copy)
    batch[:] = 0
    assert np.array_equal(scores, kept)


def test_an_array_that_is_filled_anew_is_read_anew(engine: Engine, network: Network) -> None:
    batch, other = random_batch(engine.spec, 2), random_batch(engine.spec, 2) * 2
    engine.run(batch)
    batch[:] = other
    assert_right(engine, engine.run(batch), expected(engine, network, other))
    for images in range(1, 4):  # at the same address, perhaps
        batch = random_batch(engine.spec, images)
        assert_right(engine, engine.run(batch), expected(engine, network, batch))
        del batch


def test_any_memory_layout_is_read_right(engine: Engine, network: Network) -> None:
    wide = random_batch(engine.spec, 6)
    frozen = wide[:2].copy()
    frozen.flags.writeable = False
    channels_last = np.ascontiguousarray(wide[:2].transpose(0, 2, 3, 1)).transpose(0, 3, 1, 2)
    for batch in (frozen, wide[::3], wide[::-2], wide[:2, :, ::-1], channels_last):
        assert_right(engine, engine.run(batch), expected(engine, network, batch))


@pytest.mark.parametrize(
    "batch",
    [
        np.zeros((0, 3, 32, 32), np.float32),
        np.zeros((3, 32, 32), np.float32),
        np.zeros((1, 32, 32, 3), np.float32),
        np.zeros((1, 3, 32, 33), np.float32),
        np.zeros((1, 3, 32, 32), np.float64),
        np.zeros((1, 3, 32, 32), np.uint8),
        np.zeros((1, 3, 32, 32), np.dtype(np.float32).newbyteorder()),
        np.float32(0),
    ],
    ids=["empty", "no batch", "channels last", "wide", "float64", "uint8", "byte order", "number"],
)
def test_a_batch_that_does_not_fit_is_refused_with_both_shapes(engine: Engine, batch: Batch) -> None:
    with pytest.raises(EngineError, match="takes float32") as caught:
        engine.run(np.asarray(batch))
    assert f"[{', '.join(map(str, batch.shape))}]" in caught.value.problem


def test_after_close_every_run_fails_and_a_second_close_does_nothing(name: str, fixed: Artifact) -> None:
    with opened(name, fixed) as engine:
        engine.run(random_batch(fixed.spec, 2))
    with pytest.raises(EngineError, match="is closed"):
        engine.run(random_batch(fixed.spec, 2))
    engine.close()
    assert engine.spec == fixed.spec
    assert engine.info.name == name.partition(":")[0]


def test_it_closes_itself_when_the_block_fails(name: str, fixed: Artifact) -> None:
    engine = opened(name, fixed)
    with pytest.raises(ZeroDivisionError), engine:
        raise ZeroDivisionError
    with pytest.raises(EngineError, match="is closed"):
        engine.run(random_batch(fixed.spec, 2))


def test_runs_that_overlap_do_not_mix(engine: Engine, network: Network) -> None:
    if not engine.info.parallel_runs:
        pytest.skip(f"{engine.info.name} does not allow overlapping runs")
    batches = [random_batch(engine.spec, 1 + seed % 3, seed) for seed in range(24)]
    wanted = [expected(engine, network, batch) for batch in batches]
    together = threading.Barrier(4)

    @functools.cache
    def wait_once(thread: int) -> int:
        return together.wait(timeout=30)

    def run(batch: Batch) -> Scores:
        wait_once(threading.get_ident())
        return engine.run(batch)

    with ThreadPoolExecutor(4) as pool:
        for scores, right in zip(pool.map(run, batches), wanted, strict=True):
            assert_right(engine, scores, right)


def test_info_says_what_runs(name: str, fixed: Artifact) -> None:
    with opened(name, fixed, cache=False) as engine:
        info = engine.info
    bare, _, options = name.partition(":")
    assert info.name == bare
    assert info.precision == ("bf16" if "bf16" in options else "fp32")
    assert info.streams >= 1
    if name != "fake":
        assert info.threads == (usable_cores() if info.device == "cpu" else 1)
        assert info.version.split("+")[0] == version(ENGINES[bare].package).split("+")[0]
    if name in ENGINES:
        assert info == engine_type(name).check()


def test_the_asked_number_of_threads_is_used(name: str, fixed: Artifact, network: Network) -> None:
    if name == "fake":
        pytest.skip("the fake engine has no threads")
    batch = random_batch(fixed.spec, 2)
    before = process_threads()
    with opened(name, fixed, threads=3, spin=False) as engine:
        asked = engine.info.name in ENGINES and "threads" in ENGINES[engine.info.name].understands
        if asked and engine.info.name != "openvino":  # it starts no more than there are cores
            assert engine.info.threads == 3
        assert_right(engine, engine.run(batch), expected(engine, network, batch))
        if engine.info.name == "ort":
            assert process_threads() - before == 2  # the caller's is the third
        elif engine.info.name.startswith("torch"):
            assert torch.get_num_threads() == 3


def test_unknown_engine() -> None:
    with pytest.raises(UnknownNameError, match="no engine named 'orrt'") as caught:
        engine_type("orrt")
    assert caught.value.nearest[0] == "ort"
