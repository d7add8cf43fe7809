"""The batcher, in virtual time: against invariants for every schedule, and against a reference model."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgecnn.serving.batch_sizes import BatchSizes, worthwhile_sizes
from edgecnn.serving.batcher import Answered, Batcher, BatcherSettings
from edgecnn.serving.fake import run_virtually
from edgecnn.serving.faults import DeadlineError, OverloadedError, UnavailableError
from edgecnn.serving.turn import Done, Ran

#: Virtual milliseconds are whole, so that two events at one time are really at one time.
MS = 1e-3


@dataclass(frozen=True)
class Arrival:
    """One request of a schedule: when, how many items, how long it may take, when its caller leaves."""

    at: int
    items: int
    allowed: int | None = None
    leaves: int | None = None


@dataclass
class Engine:
    """Takes as long as each batch's items say; writes down what it was given, and when.

    Attributes:
        duration_ms: of a batch by its items; 10 for others.
        log: when each batch was given, and its items.
        turns: batches of each turn.
        busy: 1 during a turn.
        fails_with: items that spoil their batch.
    """

    duration_ms: dict[int, int]
    log: list[tuple[float, list[tuple[int, int]]]] = field(default_factory=list)
    turns: list[int] = field(default_factory=list)
    busy: int = 0
    fails_with: set[tuple[int, int]] = field(default_factory=set)

    def run(self, batches: list[list[tuple[int, int]]], done: Done[str]) -> None:
        loop = asyncio.get_running_loop()
        assert batches
        assert not self.busy, "an engine was given a turn before it had answered the last"
        self.busy = 1
        now = loop.time()
        self.log += [(now, items) for items in batches]
        self.turns.append(len(batches))
        ran: list[Ran[str]] = []
        for items in batches:
            took = MS * self.duration_ms.get(len(items), 10)
            ran.append(Ran(self._answers(items), now, took))
            now += took

        def finish() -> None:
            self.busy = 0
            done(ran)

        loop.call_at(now, finish)

    def _answers(self, items: list[tuple[int, int]]) -> list[str] | RuntimeError:
        if self.fails_with & set(items):
            return RuntimeError("engine")
        return [f"answer {request}.{index}" for request, index in items]


def _batcher(engine: Engine, settings: BatcherSettings) -> Batcher[tuple[int, int], str]:
    return Batcher([engine.run], settings, asyncio.get_running_loop().time)


def _answers(request: int, count: int) -> list[str]:
    return [f"answer {request}.{index}" for index in range(count)]


Outcome = list[str] | type[BaseException]


async def _play(
    schedule: Sequence[Arrival],
    engines: Sequence[Engine],
    settings: BatcherSettings,
    submitted: list[int] | None = None,
) -> tuple[list[Outcome], list[float]]:
    """What became of each request of the schedule, and when; ``submitted`` gets their order."""
    loop = asyncio.get_running_loop()
    batcher = Batcher([engine.run for engine in engines], settings, loop.time)

    async def one(number: int, arrival: Arrival) -> tuple[Outcome, float]:
        await asyncio.sleep(MS * arrival.at)
        deadline = None if arrival.allowed is None else loop.time() + MS * arrival.allowed
        if submitted is not None:
            submitted.append(number)
        try:
            waiting = batcher.submit([(number, index) for index in range(arrival.items)], deadline)
            assert batcher.waiting <= settings.max_queue
            _assert_work_conserving(batcher, engines, settings)
            if arrival.leaves is not None:
                loop.call_later(MS * arrival.leaves, waiting.cancel)
            answered: Answered[str] = await waiting
        except (OverloadedError, DeadlineError, RuntimeError, asyncio.CancelledError) as error:
            return type(error), loop.time()
        _assert_work_conserving(batcher, engines, settings)
        return answered.answers, loop.time()

    async with asyncio.timeout(3600):
        found = await asyncio.gather(*(one(*each) for each in enumerate(schedule)))
        await batcher.close()
    assert batcher.waiting == 0
    assert not any(engine.busy for engine in engines)
    return [outcome for outcome, _ in found], [when for _, when in found]


def _assert_work_conserving(
    batcher: Batcher[tuple[int, int], str], engines: Sequence[Engine], settings: BatcherSettings
) -> None:
    if not settings.max_delay_s:
        assert batcher.waiting == 0 or all(engine.busy for engine in engines)


sizes = st.sets(st.integers(1, 9), min_size=1, max_size=4).map(lambda found: tuple(sorted(found)))
durations = st.dictionaries(st.integers(1, 9), st.integers(1, 40), max_size=9)
plain = st.lists(st.builds(Arrival, at=st.integers(0, 100), items=st.integers(1, 12)), max_size=25)
arrivals = st.lists(
    st.builds(
        Arrival,
        at=st.integers(0, 100),
        items=st.integers(1, 12),
        allowed=st.none() | st.integers(1, 120),
        leaves=st.none() | st.integers(0, 60),
    ),
    max_size=25,
)


gatherings = st.builds(
    BatcherSettings,
    sizes=sizes.map(BatchSizes),
    max_queue=st.integers(12, 40),
    max_delay_s=st.sampled_from([0.0, 5 * MS, 50 * MS]),
    turn_s=st.sampled_from([0.0, 20 * MS, 100 * MS]),
)


@settings(max_examples=300)
@given(arrivals, gatherings, st.integers(1, 3), durations, st.data())
def test_every_schedule(
    schedule: list[Arrival],
    gathering: BatcherSettings,
    instances: int,
    duration_ms: dict[int, int],
    data: st.DataObject,
) -> None:
    broken = data.draw(st.sets(st.tuples(st.integers(0, 24), st.integers(0, 3)), max_size=2))
    runs: list[tuple[float, list[tuple[int, int]]]] = []
    engines = [Engine(duration_ms, log=runs, fails_with=broken) for _ in range(instances)]
    submitted: list[int] = []
    outcomes, ends = run_virtually(_play(schedule, engines, gathering, submitted))

    ran = [item for _, items in runs for item in items]
    assert len(ran) == len(set(ran)), "an item was run twice"
    assert all(len(items) <= gathering.sizes.largest for _, items in runs)
    for number, (arrival, outcome, end) in enumerate(zip(schedule, outcomes, ends, strict=True)):
        mine = [(when, index) for when, items in runs for who, index in items if who == number]
        if isinstance(outcome, list):
            assert outcome == _answers(number, arrival.items)
            assert len(mine) == arrival.items
        elif outcome is OverloadedError:
            assert not mine
        elif outcome is DeadlineError:
            assert arrival.allowed is not None
            assert end == pytest.approx(MS * (arrival.at + arrival.allowed))
        elif outcome is asyncio.CancelledError:
            assert arrival.leaves is not None
        else:
            assert any(broken & set(items) and number in {who for who, _ in items} for _, items in runs)
        until = min(limit for limit in (arrival.allowed, arrival.leaves, 10**6) if limit is not None)
        assert all(when <= MS * (arrival.at + until) + 1e-9 for when, _ in mine), "a dead request cost a run"
        assert mine == sorted(mine), "the items of a request went out of order"
    first = {who: place for place, (_, items) in reversed(list(enumerate(runs))) for who, _ in items}
    in_order = [first[who] for who in submitted if who in first]
    assert in_order == sorted(in_order), "one overtook another"


def _reference(
    schedule: Sequence[Arrival], allowed: BatchSizes, duration_ms: dict[int, int]
) -> list[tuple[int, list[tuple[int, int]]]]:
    """The batches of a plain simulation of one engine; no two things happen at the same time."""
    coming = sorted(enumerate(schedule), key=lambda each: each[1].at)
    queue: list[tuple[int, int]] = []
    batches: list[tuple[int, list[tuple[int, int]]]] = []
    free_at = 0
    while coming or queue:
        now = free_at if queue else max(free_at, coming[0][1].at)
        while coming and coming[0][1].at <= now:
            number, arrival = coming.pop(0)
            queue += [(number, index) for index in range(arrival.items)]
        count = allowed.take(len(queue), 1)
        batches.append((now, queue[:count]))
        queue = queue[count:]
        free_at = now + duration_ms[count]
    return batches


@settings(max_examples=150)
@given(plain, sizes, durations)
def test_batches_are_those_of_the_reference_model(
    schedule: list[Arrival], allowed: tuple[int, ...], duration_ms: dict[int, int]
) -> None:
    # Runs end at a multiple of 64 ms after the arrival that began them, and no two arrivals differ by that.
    apart = [Arrival(at=64 * each.at + number, items=each.items) for number, each in enumerate(schedule)]
    lasting = {size: 64 * duration_ms.get(size, 5) for size in range(1, 10)}
    engine = Engine(lasting)
    chosen = BatchSizes(allowed)
    run_virtually(_play(apart, [engine], BatcherSettings(sizes=chosen, max_queue=1000)))
    found = [(round(when / MS), items) for when, items in engine.log]
    assert found == _reference(apart, chosen, lasting)


def test_a_free_engine_is_given_an_image_at_once() -> None:
    async def main() -> float:
        engine = Engine({1: 10})
        batcher = _batcher(engine, BatcherSettings(sizes=BatchSizes((1, 8))))
        answered = await batcher.submit([(0, 0)])
        assert answered.queue_s == 0
        assert answered.batches == (1,)
        return answered.compute_s

    assert run_virtually(main()) == pytest.approx(10 * MS)


def test_images_gather_while_all_engines_are_busy() -> None:
    engine = Engine({})
    run_virtually(
        _play([Arrival(at, 1) for at in range(6)], [engine], BatcherSettings(sizes=BatchSizes((1, 2, 4))))
    )
    assert [len(items) for _, items in engine.log] == [1, 4, 1]


def _turns(
    engine: Engine, waiting: int, *, turn_ms: int = 70, sizes: tuple[int, ...] = (1,)
) -> list[Outcome]:
    """One request that shows the engine's pace, and ``waiting`` more that gather meanwhile."""
    settings = BatcherSettings(sizes=BatchSizes(sizes), turn_s=MS * turn_ms)
    schedule = [Arrival(number, 1) for number in range(waiting + 1)]
    return run_virtually(_play(schedule, [engine], settings))[0]


def test_a_turn_is_as_many_batches_as_there_is_time_for_out_of_half_the_queue() -> None:
    engine = Engine({1: 20})
    _turns(engine, 12)
    assert engine.turns == [1, 3, 3, 3, 1, 1, 1]
    assert [items for _, items in engine.log] == [[(number, 0)] for number in range(13)]


def test_the_batches_of_a_turn_are_full() -> None:
    engine = Engine({1: 20, 4: 80})  # 20 ms an image
    _turns(engine, 18, turn_ms=1000, sizes=(1, 4))
    assert engine.turns == [1, 2, 1, 1, 1, 1]
    assert [len(items) for _, items in engine.log] == [1, 4, 4, 4, 4, 1, 1]


def test_no_turn_is_longer_than_a_batch_where_none_is_wanted() -> None:
    engine = Engine({1: 20})
    _turns(engine, 12, turn_ms=0)
    assert engine.turns == [1] * 13


def test_a_batch_that_fails_leaves_the_others_of_its_turn_alone() -> None:
    engine = Engine({1: 20}, fails_with={(2, 0)})
    outcomes = _turns(engine, 8)
    assert engine.turns[1] == 3
    assert [number for number, outcome in enumerate(outcomes) if outcome is RuntimeError] == [2]


def test_waiting_for_the_others_of_a_turn_is_waiting() -> None:
    async def main() -> list[float]:
        batcher = _batcher(Engine({}), BatcherSettings(turn_s=1.0))
        running = [batcher.submit([(number, 0)]) for number in range(5)]
        return [answered.queue_s / MS for answered in await asyncio.gather(*running)]

    assert run_virtually(main()) == pytest.approx([0, 10, 20, 30, 40])


def test_a_delay_starts_with_the_first_image() -> None:
    engine = Engine({})
    settings = BatcherSettings(sizes=BatchSizes((1, 2, 4)), max_delay_s=20 * MS)
    run_virtually(_play([Arrival(5, 1), Arrival(15, 1), Arrival(60, 4)], [engine], settings))
    assert [(round(when / MS), len(items)) for when, items in engine.log] == [(25, 2), (60, 4)]


def test_closing_ends_a_delay_and_refuses_what_comes_after() -> None:
    async def main() -> None:
        engine = Engine({})
        settings = BatcherSettings(sizes=BatchSizes((1, 4)), max_delay_s=100.0)
        batcher = _batcher(engine, settings)
        waiting = batcher.submit([(0, 0)])
        await batcher.close()
        assert waiting.done()
        assert asyncio.get_running_loop().time() == pytest.approx(10 * MS)
        with pytest.raises(UnavailableError, match="unloaded"):
            batcher.submit([(1, 0)])

    run_virtually(main())


def test_what_would_expire_in_the_queue_is_refused_at_once_with_the_time_to_come_back() -> None:
    async def main() -> None:
        engine = Engine({1: 100})
        batcher = _batcher(engine, BatcherSettings())
        await batcher.submit([(0, 0)])  # the pace is known from now on
        loop = asyncio.get_running_loop()
        taken = [batcher.submit([(number, 0)]) for number in range(1, 6)]
        with pytest.raises(OverloadedError, match="would expire") as caught:
            batcher.submit([(9, 0)], deadline=loop.time() + 0.59)
        assert caught.value.retry_after_s == pytest.approx(0.4)
        taken.append(batcher.submit([(9, 0)], deadline=loop.time() + 0.61))  # half as much again, to be sure
        await asyncio.gather(*taken)

    run_virtually(main())


def test_an_outlier_does_not_make_it_refuse_for_ever() -> None:
    async def main() -> None:
        engine = Engine({1: 100_000})
        batcher = _batcher(engine, BatcherSettings())
        await batcher.submit([(0, 0)])
        engine.duration_ms = {1: 1}
        loop = asyncio.get_running_loop()
        assert (await batcher.submit([(1, 0)], deadline=loop.time() + 1)).answers == ["answer 1.0"]

    run_virtually(main())


def test_one_that_fails_takes_only_its_batch_with_it() -> None:
    engine = Engine({}, fails_with={(2, 0)})
    schedule = [Arrival(0, 1), *(Arrival(1, 1) for _ in range(3))]
    outcomes, _ = run_virtually(_play(schedule, [engine], BatcherSettings(sizes=BatchSizes((1, 2)))))
    assert outcomes == [["answer 0.0"], RuntimeError, RuntimeError, ["answer 3.0"]]


def test_memory_of_withdrawn_requests_is_let_go() -> None:
    async def main() -> None:
        engine = Engine({1: 1000})
        batcher = _batcher(engine, BatcherSettings(max_queue=10))
        first = batcher.submit([(0, 0)])
        for number in range(1, 5000):
            batcher.submit([(number, 0)]).cancel()
            await asyncio.sleep(0)
        assert batcher.waiting == 0
        assert len(batcher._queue) < 10
        await first

    run_virtually(main())


@pytest.mark.parametrize(
    ("call_ms", "expected"),
    [
        ({1: 1.86, 8: 18.2, 32: 86.5}, (1,)),  # MobileNetV2 in ONNX Runtime on two cores
        ({1: 2.0, 2: 2.2, 4: 2.6, 8: 3.4}, (1, 2, 4, 8)),  # a GPU
        ({1: 1.0, 2: 1.99, 4: 3.2}, (1, 4)),  # half a percent is noise
        ({4: 10.0}, (4,)),
    ],
)
def test_only_batches_that_pay_are_formed(call_ms: dict[int, float], expected: tuple[int, ...]) -> None:
    assert worthwhile_sizes(call_ms).sizes == expected


@given(sizes, st.integers(1, 50), st.integers(1, 4))
def test_what_is_taken_can_be_run(allowed: tuple[int, ...], waiting: int, idle: int) -> None:
    chosen = BatchSizes(allowed)
    count = chosen.take(waiting, idle)
    assert 1 <= count <= waiting
    assert count in allowed or count < allowed[0]
    assert chosen.padded(count) in allowed


@pytest.mark.parametrize("wrong", [(), (0, 1), (2, 1), (1, 1)])
def test_wrong_sizes_are_refused(wrong: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="ascending"):
        BatchSizes(wrong)
