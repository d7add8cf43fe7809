"""Batches through the thread of one engine."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from itertools import pairwise
from threading import current_thread

import numpy as np
import pytest
from numpy.typing import NDArray

from edgecnn.engines.fake import FakeEngine, pixel_sums
from edgecnn.preprocess import normalise
from edgecnn.serving.batch_sizes import BatchSizes
from edgecnn.serving.faults import ServerFailureError
from edgecnn.serving.lane import BatchCall, BatchRun, Image, InlineLane, Lane, Row, ThreadLane
from edgecnn.serving.turn import Ran
from edgecnn.spec import ModelSpec, Preprocess, TensorSpec, WeightsId


def _spec(dtype: str = "float32") -> ModelSpec:
    pixels = dtype == "uint8"
    return ModelSpec(
        network="toy",
        classes=("a", "b", "c"),
        input=TensorSpec(name="x", dtype=dtype, shape=("batch", 4, 5, 3) if pixels else ("batch", 3, 4, 5)),
        output=TensorSpec(name="y", dtype="float32", shape=("batch", 3)),
        preprocess=Preprocess(resize=None, crop=(4, 5), in_graph=pixels),
        weights=WeightsId(kind="random", name="seed=0"),
    )


Kind = type[ThreadLane] | type[InlineLane]


@pytest.fixture(params=[ThreadLane, InlineLane], autouse=True)
def kind(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Kind:
    """Both kinds of lane answer alike."""
    chosen: Kind = request.param
    monkeypatch.setitem(globals(), "KIND", chosen)
    return chosen


KIND: Kind = ThreadLane


def _lane(engine: FakeEngine, sizes: tuple[int, ...], observe: Callable[[BatchRun], None]) -> Lane:
    return KIND(BatchCall(engine, BatchSizes(sizes)), observe)


def _run(
    engine: FakeEngine,
    sizes: tuple[int, ...],
    *batches: list[Image],
    observe: Callable[[BatchRun], None] = print,
) -> list[list[Row] | Exception]:
    """What became of the batches of one turn."""

    async def main() -> list[list[Row] | Exception]:
        lane = _lane(engine, sizes, observe)
        done: asyncio.Future[list[Ran[Row]]] = asyncio.get_running_loop().create_future()
        lane.run(list(batches), done.set_result)
        assert not done.done(), "an answer came before the question was over"
        ran = await done
        lane.close()
        assert all(each.took_s > 0 for each in ran)
        assert all(before.begun_s < after.begun_s for before, after in pairwise(ran))
        return [each.answers if isinstance(each.answers, Exception) else list(each.answers) for each in ran]

    return asyncio.run(main())


def _pixels(seed: int) -> NDArray[np.uint8]:
    return np.random.default_rng(seed).integers(0, 256, (4, 5, 3), dtype=np.uint8)


def test_pixels_and_tensors_share_a_batch_and_each_gets_its_own_answer() -> None:
    spec = _spec()
    tensor = normalise(_pixels(1), spec.preprocess)
    (rows,) = _run(FakeEngine(spec), (1, 4), [_pixels(0), tensor, _pixels(2)])
    assert not isinstance(rows, Exception)
    wanted = [normalise(_pixels(seed), spec.preprocess) for seed in range(3)]
    np.testing.assert_array_equal(np.stack([row.scores for row in rows]), pixel_sums(np.stack(wanted), 3))


def test_what_is_missing_to_a_batch_is_filled_up() -> None:
    engine = FakeEngine(_spec())
    runs: list[BatchRun] = []
    _run(engine, (2, 4), [_pixels(0)], [_pixels(0)] * 3, [_pixels(0)] * 4, observe=runs.append)
    assert engine.calls == [2, 4, 4]
    assert [run.images for run in runs] == [1, 3, 4]
    assert all(run.infer_ns > 0 and run.input_ns > 0 for run in runs)


def test_a_batch_leaves_nothing_in_the_next_one() -> None:
    spec = _spec()
    first, second = _run(FakeEngine(spec), (2,), [_pixels(1), _pixels(2)], [_pixels(3), _pixels(4)])
    assert not isinstance(first, Exception)
    assert not isinstance(second, Exception)
    for rows, seeds in ((first, (1, 2)), (second, (3, 4))):
        wanted = np.stack([normalise(_pixels(seed), spec.preprocess) for seed in seeds])
        np.testing.assert_array_equal(np.stack([row.scores for row in rows]), pixel_sums(wanted, 3))


def test_a_model_that_takes_pixels_gets_them_as_they_are() -> None:
    (rows,) = _run(FakeEngine(_spec("uint8")), (1, 2), [_pixels(0)])
    assert not isinstance(rows, Exception)
    np.testing.assert_array_equal(rows[0].scores, pixel_sums(_pixels(0)[np.newaxis], 3)[0])


def test_half_precision_input_is_normalised_in_single_precision() -> None:
    spec = _spec("float16")
    (rows,) = _run(FakeEngine(spec), (1,), [_pixels(0)])
    assert not isinstance(rows, Exception)
    wanted = normalise(_pixels(0), spec.preprocess).astype(np.float16)[np.newaxis]
    np.testing.assert_array_equal(rows[0].scores, pixel_sums(wanted, 3)[0])


def test_one_image_of_the_right_form_is_not_copied() -> None:
    seen: list[NDArray[np.float32]] = []

    def scores(batch: NDArray[np.float32]) -> NDArray[np.float32]:
        seen.append(batch)
        return pixel_sums(batch, 3)

    tensor = normalise(_pixels(0), _spec().preprocess)
    _run(FakeEngine(_spec(), scores), (1,), [tensor])
    assert np.shares_memory(seen[0], tensor)


def test_a_view_that_is_not_aligned_is_copied_before_the_engine_sees_it() -> None:
    seen: list[bool] = []

    def scores(batch: NDArray[np.float32]) -> NDArray[np.float32]:
        seen.append(batch.flags.aligned)
        return pixel_sums(batch, 3)

    tensor = normalise(_pixels(0), _spec().preprocess)
    unaligned = np.frombuffer(b"x" + tensor.tobytes(), np.float32, offset=1).reshape(tensor.shape)
    assert not unaligned.flags.aligned
    (rows,) = _run(FakeEngine(_spec(), scores), (1,), [unaligned])
    assert seen == [True]
    assert not isinstance(rows, Exception)
    np.testing.assert_array_equal(rows[0].scores, pixel_sums(tensor[np.newaxis], 3)[0])


def test_a_failing_run_fails_its_batch_and_no_other() -> None:
    engine = FakeEngine(_spec(), failing={1})
    first, second, third = _run(engine, (1,), [_pixels(0)], [_pixels(1)], [_pixels(2)])
    assert isinstance(first, list)
    assert isinstance(second, ServerFailureError)
    assert "Run 1 fails" in second.sentence
    assert isinstance(third, list)


def test_an_engine_that_breaks_its_contract_ends_no_thread() -> None:
    def scores(batch: NDArray[np.float32]) -> NDArray[np.float32]:
        if not scores_called:
            scores_called.append(True)
            raise ZeroDivisionError("oh")
        return pixel_sums(batch, 3)

    scores_called: list[bool] = []
    first, second = _run(FakeEngine(_spec(), scores), (1,), [_pixels(0)], [_pixels(1)])
    assert isinstance(first, ServerFailureError)
    assert "ZeroDivisionError: oh" in first.problem
    assert isinstance(second, list)


def test_a_thread_lane_leaves_the_event_loop_alone(kind: Kind) -> None:
    threads: list[str] = []

    def scores(batch: NDArray[np.float32]) -> NDArray[np.float32]:
        threads.append(current_thread().name)
        return pixel_sums(batch, 3)

    _run(FakeEngine(_spec(), scores), (1,), [_pixels(0)])
    assert threads[0].startswith("edgecnn-lane") == (kind is ThreadLane)


@pytest.mark.parametrize("count", [1, 3])
def test_closing_waits_for_what_was_given(count: int) -> None:
    async def main() -> list[int]:
        lane, seen = _lane(FakeEngine(_spec()), (1,), lambda _: None), list[int]()
        for seed in range(count):
            lane.run([[_pixels(seed)]], lambda ran: seen.append(len(ran)))
        await asyncio.to_thread(lane.close)
        await asyncio.sleep(0)
        return seen

    assert asyncio.run(main()) == [1] * count
