import asyncio
import shutil
import socket
import subprocess
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from pathlib import Path
from typing import Any

import grpc
import grpc.aio
import numpy as np
import pytest

from edgecnn.errors import UsageError
from edgecnn.serving.faults import (
    BadRequestError,
    DeadlineError,
    ForbiddenError,
    LoadFailedError,
    MethodNotAllowedError,
    NotFoundError,
    OverloadedError,
    RequestError,
    ServerFailureError,
    TooLargeError,
    UnauthorizedError,
    UnavailableError,
)
from edgecnn.serving.grpc_server import GrpcServer, GrpcSettings
from edgecnn.serving.open_inference.messages import HEALTH, SERVICE, message_type, methods

IMAGE = np.arange(192, dtype=np.float32).reshape(1, 3, 8, 8)

CONFIG = {"config": {"string_param": "{}"}}

Talk = Callable[["Client"], Awaitable[None]]


class Client:
    """Calls the methods of a service by name."""

    def __init__(self, channel: grpc.aio.Channel) -> None:
        self.channel = channel

    def call(self, method_name: str, of: str = SERVICE, /, message: Any = None, **options: Any) -> Any:
        fields = {} if message is not None else {k: options.pop(k) for k in list(options) if k not in OPTIONS}
        method = methods(of)[method_name]
        request = message if message is not None else message_type(method.input_type.full_name)(**fields)
        invoke = self.channel.unary_unary(
            f"/{of}/{method_name}",
            request_serializer=None if isinstance(request, bytes) else lambda m: m.SerializeToString(),
            response_deserializer=message_type(method.output_type.full_name).FromString,
        )
        return invoke(request, **options)

    def stream(self, requests: Any, **options: Any) -> Any:
        invoke = self.channel.stream_stream(
            f"/{SERVICE}/ModelStreamInfer",
            request_serializer=lambda message: message.SerializeToString(),
            response_deserializer=message_type("inference.ModelStreamInferResponse").FromString,
        )
        return invoke(requests, **options)


OPTIONS = ("timeout", "metadata", "compression")


def _run(
    service: Any,
    talk: Talk,
    check_key: Callable[[Mapping[str, str]], None] | None = None,
    refused: Callable[[RequestError], None] = lambda _: None,
    **settings: Any,
) -> None:
    async def main() -> None:
        server = GrpcServer(service, GrpcSettings(port=0, **settings), check_key, refused)
        host, port = await server.listen()
        try:
            async with grpc.aio.insecure_channel(f"{host}:{port}") as channel:
                await talk(Client(channel))
        finally:
            await server.drain(1)

    asyncio.run(asyncio.wait_for(main(), 30))


def _infer(raw: bytes | None = None, call_id: str = "", shape: tuple[int, ...] = (1, 3, 8, 8)) -> Any:
    request = message_type("inference.ModelInferRequest")(model_name="tiny", id=call_id)
    request.inputs.add(name="image", datatype="FP32", shape=shape)
    request.raw_input_contents.append(IMAGE.tobytes() if raw is None else raw)
    return request


def test_what_the_server_says_of_itself_and_its_model(service: Any) -> None:
    async def talk(client: Client) -> None:
        assert (await client.call("ServerLive")).live
        assert (await client.call("ServerReady")).ready
        assert (await client.call("ModelReady", name="tiny", version="1")).ready
        assert not (await client.call("ModelReady", name="tiny", version="2")).ready
        assert "statistics" in (await client.call("ServerMetadata")).extensions
        metadata = await client.call("ModelMetadata", name="tiny")
        assert (list(metadata.versions), metadata.inputs[0].datatype) == (["1"], "FP32")
        assert list(metadata.inputs[0].shape) == [-1, 3, 8, 8]
        config = (await client.call("ModelConfig", name="tiny")).config
        assert (config.max_batch_size, list(config.input[0].dims)) == (4, [3, 8, 8])
        statistics = await client.call("ModelStatistics")
        assert statistics.model_stats[0].inference_stats.success.count == 3
        assert len((await client.call("RepositoryIndex")).models) == 2
        assert len((await client.call("RepositoryIndex", ready=True)).models) == 1

    _run(service, talk)


def test_scores_are_the_models_own(service: Any) -> None:
    async def talk(client: Client) -> None:
        answer = await client.call("ModelInfer", message=_infer(call_id="mine"))
        got = np.frombuffer(answer.raw_output_contents[0], np.float32).reshape(1, 10)
        np.testing.assert_array_equal(got, service.served.scores(IMAGE))
        assert (answer.model_name, answer.model_version, answer.id) == ("tiny", "1", "mine")

    _run(service, talk)


def test_models_are_loaded_and_unloaded(service: Any) -> None:
    async def talk(client: Client) -> None:
        await client.call("RepositoryModelLoad", model_name="tiny")
        await client.call("RepositoryModelUnload", model_name="tiny")
        with pytest.raises(grpc.aio.AioRpcError, match="it is its file"):
            await client.call("RepositoryModelLoad", model_name="tiny", parameters=CONFIG)
        service.control = False
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await client.call("RepositoryModelLoad", model_name="tiny")
        assert refused.value.code() == grpc.StatusCode.PERMISSION_DENIED

    _run(service, talk)
    assert service.calls == ["load tiny", "unload tiny"]


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (BadRequestError("a.", "b."), grpc.StatusCode.INVALID_ARGUMENT),
        (LoadFailedError("a.", "b."), grpc.StatusCode.INVALID_ARGUMENT),
        (TooLargeError("a.", "b."), grpc.StatusCode.INVALID_ARGUMENT),
        (NotFoundError("a.", "b."), grpc.StatusCode.NOT_FOUND),
        (ForbiddenError("a.", "b."), grpc.StatusCode.PERMISSION_DENIED),
        (UnauthorizedError("a.", "b."), grpc.StatusCode.UNAUTHENTICATED),
        (OverloadedError("a.", 2.5), grpc.StatusCode.RESOURCE_EXHAUSTED),
        (UnavailableError("a.", "b."), grpc.StatusCode.UNAVAILABLE),
        (DeadlineError("a.", "b."), grpc.StatusCode.DEADLINE_EXCEEDED),
        (ServerFailureError("a.", "b."), grpc.StatusCode.INTERNAL),
        (MethodNotAllowedError("a", "b", ("c",)), grpc.StatusCode.INTERNAL),
    ],
)
def test_errors_have_their_status_and_sentence(
    service: Any, error: RequestError, status: grpc.StatusCode
) -> None:
    service.served.refusal = error

    async def talk(client: Client) -> None:
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await client.call("ModelInfer", message=_infer())
        assert refused.value.code() == status
        assert refused.value.details() == error.sentence
        trailers = dict(refused.value.trailing_metadata())
        assert error.headers() == tuple((key, trailers[key]) for key, _ in error.headers())

    _run(service, talk)


def test_what_nobody_expected_is_logged_and_not_told(service: Any, caplog: pytest.LogCaptureFixture) -> None:
    service.served.refusal = ValueError("a secret")

    async def talk(client: Client) -> None:
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await client.call("ModelInfer", message=_infer())
        assert refused.value.code() == grpc.StatusCode.INTERNAL
        assert "secret" not in str(refused.value.details())

    _run(service, talk)
    assert "a secret" in caplog.text


@pytest.mark.parametrize("data", [b"\xff\xff\xff", b"\x0a\x05ab"])
def test_a_message_that_is_none_is_the_clients_fault(service: Any, data: bytes) -> None:
    async def talk(client: Client) -> None:
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await client.call("ModelInfer", message=data)
        assert refused.value.code() == grpc.StatusCode.INVALID_ARGUMENT
        assert "no inference.ModelInferRequest" in str(refused.value.details())

    _run(service, talk)


def test_unknown_models_and_bad_tensors(service: Any) -> None:
    async def talk(client: Client) -> None:
        request = _infer()
        request.model_name = "nobody"
        with pytest.raises(grpc.aio.AioRpcError) as unknown:
            await client.call("ModelInfer", message=request)
        assert unknown.value.code() == grpc.StatusCode.NOT_FOUND
        with pytest.raises(grpc.aio.AioRpcError, match="brings 7 bytes") as bad:
            await client.call("ModelInfer", message=_infer(bytes(7)))
        assert bad.value.code() == grpc.StatusCode.INVALID_ARGUMENT

    _run(service, talk)


def test_a_message_above_the_limit_is_refused(service: Any) -> None:
    async def talk(client: Client) -> None:
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await client.call("ModelInfer", message=_infer(bytes(5000)))
        assert refused.value.code() == grpc.StatusCode.RESOURCE_EXHAUSTED
        await client.call("ModelInfer", message=_infer())

    _run(service, talk, max_message_bytes=4000)


def test_the_clients_deadline_and_timeout_reach_the_model(service: Any) -> None:
    async def talk(client: Client) -> None:
        now = asyncio.get_running_loop().time()
        await client.call("ModelInfer", message=_infer())
        await client.call("ModelInfer", message=_infer(), timeout=2)
        request = _infer()
        request.parameters["timeout"].int64_param = 1_000_000
        await client.call("ModelInfer", message=request)
        unbounded, deadline, timeout = (each - now for each in service.served.deadlines)
        assert 4.9 < unbounded < 8
        assert 1.5 < deadline < 4
        assert 0.9 < timeout < 4

    _run(service, talk)


def test_what_the_client_gives_up_is_dropped(service: Any) -> None:
    service.served.delay_s = 4.0

    async def talk(client: Client) -> None:
        call = client.call("ModelInfer", message=_infer())
        while not service.served.deadlines:
            await asyncio.sleep(0.01)
        call.cancel()
        while not service.served.cancelled:
            await asyncio.sleep(0.01)

    _run(service, talk)
    assert service.served.cancelled == 1


def test_a_stream_is_answered_in_order_and_goes_on_after_an_error(service: Any) -> None:
    async def requests() -> AsyncIterator[Any]:
        for index in range(6):
            yield _infer(bytes(3) if index == 2 else None, call_id=str(index))

    async def talk(client: Client) -> None:
        answers = [answer async for answer in client.stream(requests())]
        assert [answer.infer_response.id for answer in answers] == [str(index) for index in range(6)]
        assert "brings 3 bytes" in answers[2].error_message
        assert all(not answer.error_message for index, answer in enumerate(answers) if index != 2)
        assert answers[5].infer_response.parameters["triton_final_response"].bool_param

    _run(service, talk, max_stream_calls=2)


def test_a_stream_that_is_given_up_drops_its_work(service: Any) -> None:
    service.served.delay_s = 4.0

    async def requests() -> AsyncIterator[Any]:
        for _ in range(3):
            yield _infer()
        await asyncio.sleep(60)

    async def talk(client: Client) -> None:
        stream = client.stream(requests())
        reading = asyncio.ensure_future(stream.read())
        while len(service.served.deadlines) < 3:
            await asyncio.sleep(0.01)
        stream.cancel()
        while service.served.cancelled < 3:
            await asyncio.sleep(0.01)
        with pytest.raises(asyncio.CancelledError):
            await reading

    _run(service, talk)


def test_refusals_are_told_to_who_counts_them(service: Any) -> None:
    told: list[str] = []

    async def talk(client: Client) -> None:
        with pytest.raises(grpc.aio.AioRpcError):
            await client.call("ModelInfer", message=_infer(bytes(7)))
        answers = [answer async for answer in client.stream([_infer(bytes(7)), _infer()])]
        assert len(answers) == 2

    _run(service, talk, refused=lambda error: told.append(error.reason))
    assert told == ["malformed", "malformed"]
    assert service.served.protocols == ["grpc"]


def _check_key(metadata: Mapping[str, str]) -> None:
    if metadata.get("authorization") != "Bearer good":
        raise UnauthorizedError("No key.", "Send one.")


def test_a_key_is_needed_but_for_health(service: Any) -> None:
    async def talk(client: Client) -> None:
        assert (await client.call("ServerReady")).ready
        assert (await client.call("Check", HEALTH)).status == 1
        for metadata in ((), (("authorization", "Bearer bad"),)):
            with pytest.raises(grpc.aio.AioRpcError) as refused:
                await client.call("ModelInfer", message=_infer(), metadata=metadata)
            assert refused.value.code() == grpc.StatusCode.UNAUTHENTICATED
            with pytest.raises(grpc.aio.AioRpcError) as refused:
                await client.stream([_infer()], metadata=metadata).read()
            assert refused.value.code() == grpc.StatusCode.UNAUTHENTICATED
        await client.call("ModelInfer", message=_infer(), metadata=(("authorization", "Bearer good"),))

    _run(service, talk, _check_key)


def test_calls_above_the_limit_are_refused_at_once(service: Any) -> None:
    service.served.delay_s = 0.5

    async def talk(client: Client) -> None:
        first = asyncio.ensure_future(client.call("ModelInfer", message=_infer()))
        while not service.served.deadlines:
            await asyncio.sleep(0.01)
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await client.call("ServerLive")
        assert refused.value.code() == grpc.StatusCode.RESOURCE_EXHAUSTED
        await first

    _run(service, talk, max_calls=1)


def test_grpcs_own_health_check(service: Any) -> None:
    async def talk(client: Client) -> None:
        got = [
            (await client.call("Check", HEALTH, service=of)).status for of in ("", "tiny", "other", "nobody")
        ]
        service.is_ready = False
        got.append((await client.call("Check", HEALTH)).status)
        assert got == [1, 1, 2, 3, 2]

    _run(service, talk)


def test_drain_lets_calls_in_flight_end(service: Any) -> None:
    service.served.delay_s = 0.3

    async def main() -> None:
        server = GrpcServer(service, GrpcSettings(port=0))
        host, port = await server.listen()
        async with grpc.aio.insecure_channel(f"{host}:{port}") as channel:
            answer = Client(channel).call("ModelInfer", message=_infer())
            while not service.served.deadlines:
                await asyncio.sleep(0.01)
            await server.drain(20)
            assert (await answer).model_name == "tiny"

    asyncio.run(asyncio.wait_for(main(), 30))


def test_a_taken_port_is_said(service: Any) -> None:
    async def main() -> None:
        with socket.socket() as taken:
            taken.bind(("127.0.0.1", 0))
            taken.listen()
            server = GrpcServer(service, GrpcSettings(port=taken.getsockname()[1]))
            with pytest.raises(UsageError, match="gRPC cannot listen on"):
                await server.listen()
            await server.drain(0)

    asyncio.run(main())


def test_certificates_that_cannot_be_read_are_said(service: Any, tmp_path: Path) -> None:
    async def main() -> None:
        missing = tmp_path / "none.pem"
        server = GrpcServer(service, GrpcSettings(port=0, certificate=missing, key=missing))
        with pytest.raises(UsageError, match="TLS cannot be set up"):
            await server.listen()
        await server.drain(0)

    asyncio.run(main())


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A self-signed certificate of localhost, and its key."""
    if shutil.which("openssl") is None:
        pytest.skip("there is no openssl to make a certificate")
    folder = tmp_path_factory.mktemp("tls")
    chain, key = folder / "server.pem", folder / "server.key"
    command = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"]
    command += ["-days", "2", "-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost"]
    subprocess.run([*command, "-keyout", key, "-out", chain], check=True, capture_output=True)
    return chain, key


def test_tls(service: Any, certificate: tuple[Path, Path]) -> None:
    chain, key = certificate

    async def main() -> None:
        server = GrpcServer(service, GrpcSettings(port=0, certificate=chain, key=key))
        _, port = await server.listen()
        credentials = grpc.ssl_channel_credentials(chain.read_bytes())
        try:
            async with grpc.aio.secure_channel(f"localhost:{port}", credentials) as channel:
                assert (await Client(channel).call("ModelInfer", message=_infer())).model_name == "tiny"
            async with grpc.aio.insecure_channel(f"localhost:{port}") as channel:
                with pytest.raises(grpc.aio.AioRpcError):
                    await Client(channel).call("ServerLive", timeout=5)
        finally:
            await server.drain(1)

    asyncio.run(asyncio.wait_for(main(), 30))


def test_a_key_that_is_none_is_said(service: Any, certificate: tuple[Path, Path]) -> None:
    chain, _ = certificate

    async def main() -> None:
        server = GrpcServer(service, GrpcSettings(port=0, certificate=chain, key=chain))
        with pytest.raises(UsageError, match="must belong together"):
            await server.listen()
        await server.drain(0)

    asyncio.run(main())
