"""Workers behind one port: balance, deaths, hangs, draining, replacing, messages to all."""

from __future__ import annotations

import asyncio
import http.client
import importlib.util
import os
import shutil
import signal
import ssl
from collections import Counter
from collections.abc import Awaitable, Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from edgecnn.errors import UsageError
from edgecnn.serving.workers.refusal import REFUSAL
from edgecnn.serving.workers.settings import WorkerError

pytestmark = pytest.mark.slow

Serve = Callable[..., Any]
Until = Callable[[Callable[[], bool]], Awaitable[None]]


def _in_path(file: Path) -> str:
    """A file's name as one part of a URL's path, as the toy worker reads it."""
    return str(file).replace("/", "|")


def test_connections_are_spread_evenly(serve: Serve, files: Callable[[], int]) -> None:
    async def scenario() -> None:
        before = files()
        async with serve() as running:
            idle = files()
            clients = [await running.connect() for _ in range(64)]
            states = await asyncio.gather(*(each.get("/state") for each in clients))
            assert sorted(Counter(each["pid"] for each in states).values()) == [32, 32]
            assert {(each["index"], each["workers"]) for each in states} == {(0, 2), (1, 2)}
            assert states[0]["heavy"] == []
            # The supervisor keeps none of them, beyond this test's own 64.
            assert files() == idle + 64
            for each in clients:
                each.close()
            assert await running.drain()
        assert files() == before

    asyncio.run(scenario())


def test_what_closes_counts_no_longer(serve: Serve, until: Until) -> None:
    async def scenario() -> None:
        async with serve() as running:
            clients = [await running.connect() for _ in range(6)]
            await asyncio.gather(*(each.get("/pid") for each in clients))
            workers = running.supervisor._living
            assert [each.load for each in workers] == [3, 3]
            for each in clients:
                each.close()
            await until(lambda: [each.load for each in workers] == [0, 0])

    asyncio.run(scenario())


def test_one_that_is_killed_is_replaced_and_the_other_serves_on(serve: Serve, until: Until) -> None:
    has_uvloop = importlib.util.find_spec("uvloop") is not None
    event_loop = "uvloop:new_event_loop" if has_uvloop else "asyncio:new_event_loop"

    async def scenario() -> None:
        async with serve(event_loop=event_loop) as running:
            clients = [await running.connect() for _ in range(8)]
            pids = [(await each.get("/pid"))["pid"] for each in clients]
            victim = pids[0]
            os.kill(victim, signal.SIGKILL)
            for client, pid in zip(clients, pids, strict=True):
                if pid == victim:
                    with pytest.raises((asyncio.IncompleteReadError, ConnectionError)):
                        await client.get("/pid")
                else:
                    assert (await client.get("/pid"))["pid"] == pid
            seen: set[int] = set()
            while len(seen) < 2:  # new connections never fail, and come to the replacement soon
                seen.add((await running.get("/pid"))["pid"])
            assert victim not in seen
            await until(lambda: running.died == [victim])
            assert await running.drain()

    asyncio.run(scenario())


def test_clients_that_stay_connected_come_back_to_a_replacement(
    serve: Serve, until: Until, tmp_path: Path
) -> None:
    gate = tmp_path / "gate"
    gate.touch()

    async def scenario() -> None:
        async with serve(document={"gate": str(gate)}) as running:
            workers = running.supervisor._living
            victim, other = workers
            gate.unlink()
            os.kill(victim.pid, signal.SIGKILL)
            await until(lambda: running.died == [victim.pid])
            clients = [await running.connect() for _ in range(8)]
            assert {(await each.get("/pid"))["pid"] for each in clients} == {other.pid}
            gate.touch()
            closed = 0
            while closed < 4:  # it sheds half of them, each after an answer that says so
                for client in list(clients):
                    if (await client.get("/pid"))["last"]:
                        clients.remove(client)
                        closed += 1
            await until(lambda: sorted(each.load for each in workers) == [0, 4])
            (replacement,) = workers - {other}
            back = [await running.connect() for _ in range(4)]
            assert {(await each.get("/pid"))["pid"] for each in back} == {replacement.pid}

    asyncio.run(scenario())


def test_connections_wait_while_the_only_worker_is_replaced(serve: Serve) -> None:
    async def scenario() -> None:
        async with serve(workers=1) as running:
            with pytest.raises((asyncio.IncompleteReadError, ConnectionError)):
                await running.get("/die")
            assert (await running.get("/pid"))["pid"] != running.died[0]

    asyncio.run(scenario())


def test_one_that_has_no_room_leaves_connections_to_others(serve: Serve) -> None:
    async def scenario() -> None:
        async with serve() as running:
            client = await running.connect()
            full = (await client.get("/room/3"))["pid"]
            assert full not in {(await running.get("/pid"))["pid"] for _ in range(8)}
            await client.get("/room/256")
            while (await running.get("/pid"))["pid"] != full:
                pass

    asyncio.run(scenario())


def test_where_none_has_room_a_connection_is_refused_in_words(serve: Serve) -> None:
    async def scenario() -> None:
        async with serve(workers=1, hold_s=0.05) as running:
            await (await running.connect()).get("/room/3")
            refused = await running.connect()
            assert (await refused.response())[0] == 503

    asyncio.run(scenario())


def test_without_a_worker_for_long_a_connection_is_refused_in_words(serve: Serve) -> None:
    async def scenario() -> None:
        async with serve(
            wait=False, workers=1, hold_s=0.05, document={"fault": "crash"}, restart_s=60.0
        ) as running:
            client = await running.connect()
            client.writer.write(b"POST / HTTP/1.1\r\ncontent-length: 100000\r\n\r\n" + bytes(100_000))
            status, body = await client.response()
            assert status == 503
            assert b"they are starting" in body
            assert body == REFUSAL.partition(b"\r\n\r\n")[2]

    asyncio.run(scenario())


def _post_over_tls(port: int, certificate: Path) -> tuple[int, bytes]:
    trusting = ssl.create_default_context(cafile=str(certificate))
    client = http.client.HTTPSConnection("localhost", port, timeout=30, context=trusting)
    try:
        client.request("POST", "/", bytes(100_000))
        answer = client.getresponse()
        return answer.status, answer.read()
    finally:
        client.close()


def test_without_a_worker_for_long_a_tls_client_is_refused_in_words(
    serve: Serve, certificate: tuple[Path, Path]
) -> None:
    async def scenario() -> None:
        options = {"hold_s": 0.05, "document": {"fault": "crash"}, "restart_s": 60.0}
        async with serve(wait=False, workers=1, tls_files=certificate, **options) as running:
            port = running.supervisor.port
            status, body = await asyncio.to_thread(_post_over_tls, port, certificate[0])
            assert status == 503
            assert body == REFUSAL.partition(b"\r\n\r\n")[2]

    asyncio.run(scenario())


def test_tls_files_that_cannot_be_used_end_the_start(serve: Serve, tmp_path: Path) -> None:
    missing = tmp_path / "missing"

    async def scenario() -> None:
        with pytest.raises(UsageError, match="is no file"):
            async with serve(wait=False, tls_files=(missing, missing)):
                pass

    asyncio.run(scenario())


def test_a_crash_loop_is_given_up(serve: Serve) -> None:
    async def scenario() -> None:
        async with serve(
            wait=False, workers=1, document={"fault": "crash"}, most_early_deaths=3, restart_s=0.01
        ) as running:
            with pytest.raises(WorkerError, match=r"worker 0 died 3 times .* exit code 7"):
                await running.outcome
            assert len(running.died) == 3

    asyncio.run(scenario())


def test_a_worker_that_says_what_is_wrong_ends_the_start(serve: Serve) -> None:
    async def scenario() -> None:
        async with serve(wait=False, document={"fault": "named"}) as running:
            with pytest.raises(UsageError, match="The toy is broken") as caught:
                await running.outcome
            assert caught.value.remedy == "Buy another one."

    asyncio.run(scenario())


@pytest.mark.parametrize("entry", [{"entry": "no_such_module:run"}, {"event_loop": "asyncio:no_such_loop"}])
def test_a_wrong_reference_ends_the_start(serve: Serve, entry: dict[str, str]) -> None:
    async def scenario() -> None:
        async with serve(wait=False, workers=1, **entry) as running:
            with pytest.raises(UsageError, match="no_such"):
                await running.outcome

    asyncio.run(scenario())


def test_one_that_hangs_is_killed_after_it_showed_where(
    serve: Serve, until: Until, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    sign = tmp_path / "hangs"

    async def scenario() -> None:
        async with serve(hang_s=1.0) as running:
            stuck = await running.connect()
            stuck.writer.write(f"GET /hang/{_in_path(sign)} HTTP/1.1\r\n\r\n".encode())
            await until(sign.exists)
            # Half of these come to the hung worker, which does not take them: they end at the other.
            answers = await asyncio.gather(*(running.get("/pid") for _ in range(10)))
            with suppress(ConnectionError):
                assert await stuck.reader.read() == b""
            await until(lambda: len(running.died) == 1)
            assert running.died[0] not in {each["pid"] for each in answers}
            seen: set[int] = set()
            while len(seen) < 2:
                seen.add((await running.get("/pid"))["pid"])

    asyncio.run(scenario())
    assert "toy_worker.py" in capfd.readouterr().err


def test_draining_finishes_what_is_under_way(serve: Serve, until: Until, tmp_path: Path) -> None:
    gate = tmp_path / "gate"

    async def scenario() -> None:
        async with serve() as running:
            client = await running.connect()
            request = asyncio.create_task(client.get(f"/wait/{_in_path(gate)}"))
            idle = await running.connect()
            await idle.get("/pid")
            await asyncio.sleep(0)
            running.supervisor.stop()
            assert await idle.reader.read() == b""
            with pytest.raises(ConnectionRefusedError):
                await running.connect()
            assert not request.done()
            gate.touch()
            assert "pid" in await request
            assert await running.outcome is True

    asyncio.run(scenario())


def test_what_does_not_drain_is_killed(serve: Serve, tmp_path: Path) -> None:
    async def scenario() -> None:
        async with serve(drain_s=0.1) as running:
            client = await running.connect()
            await client.get("/pid")
            client.writer.write(f"GET /wait/{_in_path(tmp_path / 'never')} HTTP/1.1\r\n\r\n".encode())
            await running.get("/pid")
            assert await running.drain() is False

    asyncio.run(scenario())


def test_rolling_loses_no_request(serve: Serve, until: Until) -> None:
    async def scenario() -> None:
        async with serve(settle_s=0.5) as running:

            async def pid() -> int:
                return int((await running.get("/pid"))["pid"])

            old = {await pid() for _ in range(4)}
            assert len(old) == 2
            running.supervisor.roll()
            answers = []
            while len(running.died) < 2:
                answers.append(await pid())
            assert old == set(running.died)
            await pid()
            assert await pid() not in old

    asyncio.run(scenario())


def test_a_roll_that_fails_keeps_the_old_worker(serve: Serve, until: Until, tmp_path: Path) -> None:
    gate = tmp_path / "gate"
    gate.touch()

    async def scenario() -> None:
        async with serve(workers=1, document={"gate": str(gate)}) as running:
            old = (await running.get("/pid"))["pid"]
            gate.unlink()
            running.supervisor.roll()
            await until(lambda: len(running.supervisor._living) == 2)
            (new,) = (each for each in running.supervisor._living if each.pid != old)
            os.kill(new.pid, signal.SIGKILL)
            await until(lambda: running.died == [new.pid])
            assert (await running.get("/pid"))["pid"] == old

    asyncio.run(scenario())


def test_a_roll_needs_tls_files_that_can_be_used(
    serve: Serve, until: Until, tmp_path: Path, certificate: tuple[Path, Path]
) -> None:
    own = tmp_path / "server.pem", tmp_path / "server.key"
    for source, target in zip(certificate, own, strict=True):
        shutil.copy(source, target)

    async def scenario() -> None:
        async with serve(workers=1, tls_files=own) as running:
            old = (await running.get("/pid"))["pid"]
            own[0].write_text("nothing")
            running.supervisor.roll()
            await until(lambda: not running.supervisor._roll_asked.is_set())
            assert [each.pid for each in running.supervisor._living] == [old]
            shutil.copy(certificate[0], own[0])
            running.supervisor.roll()
            await until(lambda: running.died == [old])
            assert (await running.get("/pid"))["pid"] != old

    asyncio.run(scenario())


def test_a_worker_asked_by_signal_is_replaced_first(serve: Serve, until: Until) -> None:
    async def scenario() -> None:
        async with serve(workers=1) as running:
            client = await running.connect()
            old = (await client.get("/pid"))["pid"]
            os.kill(old, signal.SIGTERM)
            while running.died != [old]:
                await running.get("/pid")
            assert (await running.get("/pid"))["pid"] != old

    asyncio.run(scenario())


def test_before_it_is_ready_a_worker_answers_for_itself(serve: Serve, tmp_path: Path) -> None:
    gate = tmp_path / "gate"

    async def scenario() -> None:
        async with serve(wait=False, document={"gate": str(gate)}) as running:
            assert "pid" in await running.get("/pid")
            assert not any(each.is_ready for each in running.supervisor._living)
            gate.touch()

    asyncio.run(scenario())


def test_a_message_reaches_all_and_those_that_come_later(serve: Serve, until: Until) -> None:
    async def scenario() -> None:
        async with serve() as running:
            answers = await running.get("/keep/colour/red")
            assert len({each["pid"] for each in answers}) == 2
            assert all(each["told"] == {"colour": "red"} for each in answers)
            passing = await running.get("/tell/size/9")
            assert all(each["told"] == {"colour": "red", "size": "9"} for each in passing)
            spoilt = await running.get("/spoil/taste")
            assert spoilt == [{"error": "bad message"}] * 2

            os.kill(answers[0]["pid"], signal.SIGKILL)
            old, told = {each["pid"] for each in answers}, None
            while told is None:
                state = await running.get("/state")
                if state["pid"] not in old:
                    told = state["told"]
            assert told == {"colour": "red"}

    asyncio.run(scenario())


def test_a_port_in_use_is_said(serve: Serve) -> None:
    async def scenario() -> None:
        async with serve(wait=False, workers=1) as running:
            with pytest.raises(UsageError, match="Address already in use"):
                async with serve(port=running.supervisor.port):
                    pass

    asyncio.run(scenario())
