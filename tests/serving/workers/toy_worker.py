"""A worker that serves a little HTTP, for tests: it imports nothing heavy, so it starts at once."""

from __future__ import annotations

import asyncio
import json
import os
import resource
import socket
import sys
import time
from pathlib import Path
from typing import Any

from edgecnn.errors import UsageError
from edgecnn.serving.workers.channel import WorkerChannel


class Toy:
    """Answers in JSON; what is asked of it is the path."""

    def __init__(self, channel: WorkerChannel) -> None:
        self.channel = channel
        self.told: dict[str, Any] = {}
        self.open = 0
        self.tasks: set[asyncio.Task[None]] = set()
        self.to_shed = 0
        channel.on_broadcast(self.hear)
        channel.on_shed(self.shed)

    async def hear(self, message: dict[str, Any]) -> dict[str, Any]:
        if message.get("bad"):
            raise ValueError("bad message")
        self.told.update(message)
        return {"pid": os.getpid(), "told": dict(self.told)}

    def shed(self, connections: int) -> None:
        self.to_shed = connections

    def accept(self, connection: socket.socket) -> None:
        self.open += 1
        task = asyncio.create_task(self.serve(connection))
        self.tasks.add(task)
        task.add_done_callback(self.closed)

    def closed(self, task: asyncio.Task[None]) -> None:
        self.tasks.discard(task)
        self.open -= 1
        self.channel.report(open_connections=self.open)

    async def serve(self, connection: socket.socket) -> None:
        reader, writer = await asyncio.open_connection(sock=connection)
        stop = asyncio.create_task(self.channel.stopping.wait())
        try:
            while True:
                head = asyncio.create_task(reader.readuntil(b"\r\n\r\n"))
                await asyncio.wait([head, stop], return_when=asyncio.FIRST_COMPLETED)
                if not head.done():
                    head.cancel()
                    break
                path = head.result().split()[1].decode()
                answer = await self.answer(path.strip("/").split("/"))
                last = self.to_shed > 0
                if isinstance(answer, dict):
                    answer["last"] = last
                body = json.dumps(answer).encode()
                writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n%b" % (len(body), body))
                await writer.drain()
                if last:
                    self.to_shed -= 1
                    break
        except (OSError, asyncio.IncompleteReadError):
            pass
        finally:
            stop.cancel()
            writer.close()

    async def answer(self, path: list[str]) -> Any:
        match path:
            case ["state"]:
                return {
                    "pid": os.getpid(),
                    "index": self.channel.index,
                    "workers": self.channel.workers,
                    "told": self.told,
                    "files": sum(1 for _ in Path("/proc/self/fd").iterdir()),
                    "heavy": [name for name in ("numpy", "onnx", "onnxruntime") if name in sys.modules],
                    "folder": os.environ.get("PROMETHEUS_MULTIPROC_DIR"),
                }
            case ["wait", path_of_file]:
                while not Path("/", path_of_file.replace("|", "/")).exists():
                    await asyncio.sleep(0.01)
                return {"pid": os.getpid()}
            case ["keep", key, value]:
                return await self.channel.broadcast({key: value}, keep=key)
            case ["tell", key, value]:
                return await self.channel.broadcast({key: value})
            case ["spoil", key]:
                return await self.channel.broadcast({key: 1, "bad": True}, keep=key)
            case ["room", files]:
                _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
                resource.setrlimit(resource.RLIMIT_NOFILE, (int(files), most))
            case ["die"]:
                os._exit(3)
            case ["hang", sign]:
                Path("/", sign.replace("|", "/")).touch()
                time.sleep(60)
        return {"pid": os.getpid()}


async def run(channel: WorkerChannel, document: dict[str, Any]) -> None:
    if document.get("fault") == "crash":
        os._exit(7)
    if document.get("fault") == "named":
        raise UsageError("The toy is broken.", "Buy another one.")
    toy = Toy(channel)
    if (gate := document.get("gate")) is None:
        channel.ready()
    else:
        warming = asyncio.create_task(_warm(channel, Path(gate)))
        toy.tasks.add(warming)
        warming.add_done_callback(toy.tasks.discard)
    async for connection in channel.connections():
        toy.accept(connection)
    while toy.tasks:
        await asyncio.wait(set(toy.tasks))


async def _warm(channel: WorkerChannel, gate: Path) -> None:
    while not gate.exists():
        await asyncio.sleep(0.01)
    channel.ready()
