"""Both loops against a server whose behaviour is known: counts are exact, and no latency is omitted."""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from edgecnn.errors import UsageError
from edgecnn.loadtest.fake import Behaviour, fake_server
from edgecnn.loadtest.open import due_moments
from edgecnn.loadtest.plan import LoadPlan, Payload
from edgecnn.loadtest.records import Fault
from edgecnn.loadtest.requests import http_request
from edgecnn.loadtest.run import LoadRun, run_load
from edgecnn.loadtest.summary import summarise_load
from edgecnn.loadtest.target import Target

Server = Callable[[Behaviour], Target]


@pytest.fixture
def server() -> Iterator[Server]:
    """Starts a server of a behaviour; says where it is."""
    with ExitStack() as stack:
        yield lambda behaviour: stack.enter_context(fake_server(behaviour))


def _plan(target: Target, **options: Any) -> LoadPlan:
    data = http_request(target, "POST", "/v2/models/m/infer", b"0000")
    given = {"payloads": (Payload(data),), "duration_s": None, "timeout_s": 20.0, "clients": 4}
    return LoadPlan(target=target, **{**given, **options})


def _echoed(target: Target, number: int, expected: bytes) -> Payload:
    request = http_request(target, "POST", "/v2/models/m/infer", b"%04d" % number)
    return Payload(request, lambda status, body: (status, body) == (200, expected))


def _faults(run: LoadRun) -> dict[Fault, int]:
    found, counts = np.unique(run.measured.fault, return_counts=True)
    return {Fault(fault): int(count) for fault, count in zip(found, counts, strict=True)}


@pytest.mark.parametrize("rate", [None, 2000.0])
@pytest.mark.parametrize("close", [False, True])
def test_each_request_is_answered_and_counted_once(server: Server, rate: float | None, close: bool) -> None:
    behaviour = Behaviour(close=close)
    run = run_load(_plan(server(behaviour), requests=300, rate_per_s=rate))
    assert len(run.measured) == behaviour.served == 300
    assert run.measured.accepted.all()
    assert (run.measured.status == 200).all()
    assert (np.diff(run.measured.due_ns) >= 0).all()
    assert (run.measured.due_ns <= run.measured.sent_ns).all()
    assert (run.measured.sent_ns < run.measured.done_ns).all()
    if not close and rate is None:
        assert behaviour.connections == 4


def test_a_closed_loop_has_as_many_requests_under_way_as_clients(server: Server) -> None:
    run = run_load(_plan(server(Behaviour(delay_s=0.01, room=3)), requests=60, clients=3))
    assert run.measured.accepted.all()
    run = run_load(_plan(server(Behaviour(delay_s=0.05, room=2)), requests=60, clients=3))
    assert set(run.measured.status.tolist()) == {200, 429}


def test_refusals_are_no_successes_and_no_faults(server: Server) -> None:
    run = run_load(_plan(server(Behaviour(room=0)), requests=50))
    summary = summarise_load(run)
    assert summary.accepted is None
    assert summary.goodput.per_s == 0
    assert summary.refused[429].count == 50
    assert summary.faults == {}
    assert summary.answered.per_s > 0


@pytest.mark.parametrize("rate", [None, 500.0])
def test_a_server_that_is_full_before_it_was_asked_is_answered_too(
    server: Server, rate: float | None
) -> None:
    run = run_load(_plan(server(Behaviour(full=True)), requests=50, rate_per_s=rate, timeout_s=5.0))
    assert len(run.measured) == 50
    assert Fault.TIMEOUT not in _faults(run)
    assert set(run.measured.status.tolist()) <= {503, 0}
    assert 503 in run.measured.status


def test_a_lost_connection_a_wrong_answer_and_silence_are_told_apart(server: Server) -> None:
    behaviour = Behaviour(hang_up={3, 7}, garbage={11}, silent={20})
    run = run_load(_plan(server(behaviour), requests=100, timeout_s=0.5))
    assert _faults(run) == {Fault.NONE: 96, Fault.RESET: 2, Fault.PROTOCOL: 1, Fault.TIMEOUT: 1}
    assert summarise_load(run).faults == {"reset": 2, "protocol": 1, "timeout": 1}
    late = run.measured.latency_ms[run.measured.fault == Fault.TIMEOUT]
    assert late >= 500


def test_answers_are_checked_where_a_payload_says_what_is_right(server: Server) -> None:
    target = server(Behaviour())
    payloads = tuple(_echoed(target, number, b"%04d" % (number or 9)) for number in range(5))
    run = run_load(_plan(target, payloads=payloads, requests=100))
    assert _faults(run) == {Fault.NONE: 80, Fault.WRONG: 20}
    assert set(run.measured.payload[run.measured.fault == Fault.WRONG].tolist()) == {0}
    assert int(run.measured.accepted.sum()) == 80


@pytest.mark.parametrize("rate", [None, 200.0])
def test_nobody_there_ends_all_the_same(rate: float | None) -> None:
    with socket.socket() as reserved:
        reserved.bind(("127.0.0.1", 0))
        target = Target(host="127.0.0.1", port=reserved.getsockname()[1])
        run = run_load(_plan(target, requests=20, rate_per_s=rate))
    assert _faults(run) == {Fault.CONNECT: 20}


def test_a_stall_shows_in_every_request_that_was_due_meanwhile(server: Server) -> None:
    # 400 requests in 2 s; the server stands still for 0.5 s: those due in it wait for what is left of it.
    behaviour = Behaviour(stall={100: 0.5})
    run = run_load(_plan(server(behaviour), requests=400, rate_per_s=200.0, arrivals="constant", clients=64))
    assert run.measured.accepted.all()
    assert int((run.measured.latency_ms > 100).sum()) >= 70
    # A closed loop of one client has a single bad sample: what an open loop is for.
    behaviour = Behaviour(stall={100: 0.5})
    run = run_load(_plan(server(behaviour), requests=400, clients=1))
    assert 1 <= int((run.measured.latency_ms > 400).sum()) <= 3


def test_requests_that_wait_for_a_connection_count_from_when_they_were_due(server: Server) -> None:
    run = run_load(
        _plan(server(Behaviour(delay_s=0.05)), requests=20, rate_per_s=2000.0, arrivals="constant", clients=1)
    )
    # One connection, 50 ms each: the last is done after a second, and was due after 10 ms.
    assert run.measured.latency_ms[-1] >= 20 * 50 - 20
    late = summarise_load(run).late_ms
    assert late is not None
    assert late.max >= 19 * 50 - 20


def test_what_waits_for_a_connection_is_given_up_in_time(server: Server) -> None:
    behaviour = Behaviour(silent=set(range(100)))
    plan = _plan(server(behaviour), requests=10, rate_per_s=1000.0, clients=1, timeout_s=0.2)
    assert _faults(run_load(plan)) == {Fault.TIMEOUT: 10}
    assert behaviour.served < 10


@pytest.mark.parametrize("rate", [None, 500.0])
def test_the_warm_up_is_not_measured(server: Server, rate: float | None) -> None:
    run = run_load(_plan(server(Behaviour(delay_s=0.001)), requests=50, warmup_s=0.2, rate_per_s=rate))
    assert len(run.measured) == 50
    assert len(run.records) > 50
    assert (run.measured.due_ns >= 0).all()


def test_a_duration_ends_it(server: Server) -> None:
    shares: list[float] = []
    run = run_load(_plan(server(Behaviour(delay_s=0.005)), duration_s=0.5), shares.append)
    assert run.seconds == 0.5
    assert len(run.measured) > 4
    assert run.measured.due_ns.max() < 0.5e9
    assert shares == sorted(shares)
    assert all(0 <= share <= 1 for share in shares)


def test_arrivals_are_those_of_the_plan() -> None:
    plan = _plan(Target(host="h", port=1), rate_per_s=100.0, duration_s=2.0, warmup_s=1.0)
    even = due_moments(replace(plan, arrivals="constant"))
    assert len(even) == 300
    assert np.diff(even).tolist() == [10_000_000] * 299
    by_chance = due_moments(plan)
    assert by_chance.tolist() == due_moments(plan).tolist()
    assert by_chance.tolist() != due_moments(replace(plan, seed=1)).tolist()
    limited = due_moments(replace(plan, requests=7, duration_s=None))
    assert int((limited >= 1e9).sum()) == 7


def test_a_load_without_end_or_bound_is_refused() -> None:
    with pytest.raises(UsageError, match="no end"):
        _plan(Target(host="h", port=1), requests=None)
    with pytest.raises(UsageError, match="more than 20,000,000"):
        _plan(Target(host="h", port=1), rate_per_s=1e6, duration_s=3600.0)
