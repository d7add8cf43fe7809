"""``edgecnn serve``: the batching inference server."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
from collections.abc import Callable
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import click
import msgspec

from edgecnn.commands.console import Terminal, terminal_options
from edgecnn.commands.model_argument import ModelOptions, model_options, resolve_model
from edgecnn.commands.parameters import FiniteRange
from edgecnn.errors import UsageError
from edgecnn.serving_config import (
    ModelSettings,
    RepositorySettings,
    RunSettings,
    ServerSettings,
    ServingConfig,
    decode_serving_config,
)

__all__ = ["serve_command"]

#: The options that say how a model is run, whichever way it is named.
_HOW = tuple(each.name for each in fields(RunSettings))

#: How a model gets a name.
_NAMING = "MODEL=NAME, or name = in the configuration."


@click.command("serve")
@click.argument("models", nargs=-1, metavar="[MODEL[=NAME]]...")
@click.option("--repository", metavar="DIR", help="Serve a folder of models: NAME/VERSION/model.onnx.")
@click.option("--config", metavar="FILE", help="A serving configuration, as 'edgecnn tune' writes one.")
@click.option(
    "--engine", metavar="ENGINE", help="What runs the models, such as ort:arena=off.  [default: ort]"
)
@click.option(
    "--instances", type=click.IntRange(min=1), help="Engines side by side.  [default: measured at the start]"
)
@click.option(
    "--threads", type=click.IntRange(min=1), help="Of each engine.  [default: measured at the start]"
)
@click.option(
    "--max-batch",
    type=click.IntRange(min=1),
    help="Images of one call.  [default: what is measured to pay]",
)
@click.option(
    "--max-delay-ms",
    type=FiniteRange(min=0),
    metavar="MS",
    help="What a request may wait for others while an engine is free.  [default: 0]",
)
@click.option("--host", help="Address to listen on.  [default: 127.0.0.1, this machine only]")
@click.option("--port", type=click.IntRange(0, 65535), help="Of HTTP; 0 takes a free one.  [default: 8000]")
@click.option(
    "--grpc-port", type=click.IntRange(0, 65535), help="Of gRPC; 0 takes a free one.  [default: 8001]"
)
@click.option("--grpc/--no-grpc", default=None, help="Whether gRPC is spoken too.  [default: yes]")
@click.option("--workers", type=click.IntRange(min=1), help="Processes that share the port.  [default: 1]")
@click.option(
    "--timeout-ms",
    type=FiniteRange(min=0, min_open=True),
    metavar="MS",
    help="What a request may take.  [default: 10000]",
)
@click.option("--max-queue", type=click.IntRange(min=1), help="Images that may wait.  [default: 256]")
@click.option("--max-images", type=click.IntRange(min=1), help="Images of one request.  [default: 64]")
@click.option("--max-pixels", type=click.IntRange(min=1), help="Of one image file.  [default: 50000000]")
@click.option(
    "--max-body-mb",
    type=FiniteRange(min=0, min_open=True),
    metavar="MB",
    help="Of one request.  [default: 64]",
)
@click.option("--max-connections", type=click.IntRange(min=1), help="Open at the same time.  [default: 1024]")
@click.option(
    "--memory-limit-mb",
    type=FiniteRange(min=0, min_open=True),
    metavar="MB",
    help="Unload what was not used for longest above it.  [default: no limit]",
)
@click.option("--api-keys", metavar="FILE", help="Take only requests with one of its keys, one a line.")
@click.option("--tls-certificate", metavar="FILE", help="PEM; with --tls-key, speak TLS only.")
@click.option("--tls-key", metavar="FILE", help="PEM; the key of the certificate.")
@click.option(
    "--cors-origin",
    "cors_origins",
    multiple=True,
    metavar="ORIGIN",
    help="Pages of it may call; '*' for all.",
)
@click.option("--model-control", is_flag=True, default=None, help="Let clients load and unload models.")
@click.option("--access-log", is_flag=True, default=None, help="A line of JSON on stderr for each request.")
@click.option(
    "--drain-s",
    type=FiniteRange(min=0),
    metavar="S",
    help="What requests get to end when the server is stopped.  [default: 30]",
)
@model_options
@terminal_options
def serve_command(terminal: Terminal, /, **options: Any) -> None:  # noqa: ANN401 - click's own
    """Serve models over HTTP and gRPC: the Open Inference Protocol, images, metrics, and a page at /.

    MODEL is a model file, or the name of a network, for which --weights says which. Clients ask for it by
    NAME, or by its network's name. On the first start the server measures which instances, threads and
    batches pay on this machine, and remembers it.

    SIGTERM ends it when the requests in work are answered.
    """
    models, chosen = options.pop("models"), options.pop("model_options")
    config = _config(options, _models(models, chosen, options, terminal))
    if not config.model and config.repository is None:
        raise UsageError(
            "There is nothing to serve.", "Name a model, or give --repository DIR or --config FILE."
        )
    _require_names(config.model)
    verbose = terminal.verbosity >= 0
    if config.server.workers > 1:
        _supervise(config, terminal, verbose=verbose)
    else:
        _serve_alone(config, terminal, verbose=verbose)


def _models(
    texts: tuple[str, ...], chosen: ModelOptions, options: dict[str, Any], terminal: Terminal
) -> tuple[ModelSettings, ...]:
    """What the command line says of each model named on it."""
    how = {name: options[name] for name in _HOW if options[name] is not None}
    found: list[ModelSettings] = []
    for text in texts:
        path, name = _path_and_name(text)
        artifact = resolve_model(path, chosen, terminal.note)
        name = artifact.spec.network if name is None else name
        found.append(ModelSettings(path=str(artifact.path), name=name, spec=chosen.spec, **how))
    return tuple(found)


def _path_and_name(text: str) -> tuple[str, str | None]:
    """What MODEL[=NAME] says; a file whose own name has a "=" is taken whole.

    Raises:
        UsageError: no client can ask for that name.
    """
    from edgecnn.serving.names import require_servable

    path, told, name = (text, "", "") if Path(text).exists() else text.partition("=")
    if not told:
        return path, None
    require_servable(name, f"Write {path}=NAME, or {path} alone for the name of its network.")
    return path, name


def _require_names(models: tuple[ModelSettings, ...]) -> None:
    from edgecnn.serving.names import require_servable

    names = [model.name or Path(model.path).stem for model in models]
    for each in names:
        require_servable(each, f"Give it another: {_NAMING}")
        if names.count(each) > 1:
            raise UsageError(
                f"{names.count(each)} models are named {each!r}.",
                f"Give them names: {_NAMING}",
            )


def _config(options: dict[str, Any], models: tuple[ModelSettings, ...]) -> ServingConfig:
    """The file's settings, if there is one, and over them what the command line says."""
    path = options["config"]
    config = ServingConfig()
    if path is not None:
        try:
            config = decode_serving_config(Path(path).read_text(encoding="utf-8"), origin=path)
        except (OSError, UnicodeDecodeError) as error:
            raise UsageError(f"{path} cannot be read: {error}.", "Name a serving configuration.") from error
    how = {name: options[name] for name in _HOW if options[name] is not None}
    said = {
        each.name: options[each.name]
        for each in fields(ServerSettings)
        if options.get(each.name) not in (None, ())
    }
    repository = config.repository
    if options["repository"] is not None:
        repository = RepositorySettings(path=options["repository"])
    return replace(
        config,
        model=(*(replace(model, **how) for model in config.model), *models),
        repository=None if repository is None else replace(repository, **how),
        server=replace(config.server, **said),
    )


def _serve_alone(config: ServingConfig, terminal: Terminal, *, verbose: bool) -> None:
    from edgecnn.serving.app import serve
    from edgecnn.serving.logs import log_to_stderr

    async def main() -> None:
        stop = asyncio.Event()
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            loop.add_signal_handler(number, stop.set)
        await serve(
            config,
            lambda addresses: _announce(terminal, config, addresses.http, addresses.grpc, addresses.pids),
            stop,
        )

    log_to_stderr(verbose=verbose, access=config.server.access_log)
    with asyncio.Runner(loop_factory=_event_loop()) as runner:
        runner.run(main())


def _supervise(config: ServingConfig, terminal: Terminal, *, verbose: bool) -> None:
    from edgecnn.serving.app import WorkerDocument
    from edgecnn.serving.logs import log_to_stderr
    from edgecnn.serving.metrics import forget_worker
    from edgecnn.serving.workers.listening import reserved_port
    from edgecnn.serving.workers.settings import SupervisorSettings
    from edgecnn.serving.workers.supervisor import supervise

    log_to_stderr(verbose=verbose, access=False)
    server = config.server
    reserving = reserved_port(server.host, server.grpc_port) if server.grpc else contextlib.nullcontext()
    with reserving as grpc_port:
        document = WorkerDocument(config=config, verbose=verbose, grpc_port=grpc_port)
        settings = SupervisorSettings(
            entry="edgecnn.serving.app:run_worker",
            document=msgspec.to_builtins(document, str_keys=True),
            workers=server.workers,
            host=server.host,
            port=server.port,
            tls_files=_tls_files(server),
            event_loop="uvloop:new_event_loop" if _has_uvloop() else "asyncio:new_event_loop",
            drain_s=server.drain_s,
        )
        grpc = None if grpc_port is None else f"{server.host}:{grpc_port}"
        drained = supervise(
            settings,
            lambda host, port: _announce(terminal, config, f"{host}:{port}", grpc, (os.getpid(),)),
            forget_worker,
        )
    if not drained:
        terminal.warn(
            "The workers were ended before they had drained: by a second signal, or because "
            f"{server.drain_s:g} s (--drain-s) were over."
        )
        raise click.exceptions.Exit(1)


def _tls_files(server: ServerSettings) -> tuple[Path, Path] | None:
    """What the supervisor itself refuses with; that one of the two is missing its workers say."""
    if server.tls_certificate is None or server.tls_key is None:
        return None
    return Path(server.tls_certificate), Path(server.tls_key)


def _announce(
    terminal: Terminal, config: ServingConfig, http: str, grpc: str | None, pids: tuple[int, ...]
) -> None:
    scheme = "https" if config.server.tls_certificate is not None else "http"
    if terminal.json:
        told = {"http": http, "grpc": grpc, "url": f"{scheme}://{http}", "pids": pids}
        click.echo(msgspec.json.encode(told).decode())
        return
    terminal.note(f"Ready: {scheme}://{http}/" + (f" and gRPC at {grpc}" if grpc else ""))


def _has_uvloop() -> bool:
    try:
        import uvloop  # noqa: F401
    except ImportError:
        return False
    return True


def _event_loop() -> Callable[[], asyncio.AbstractEventLoop]:
    """uvloop's where it is installed, which costs half as much for a request."""
    if not _has_uvloop():
        return asyncio.new_event_loop
    import uvloop

    loop: Callable[[], asyncio.AbstractEventLoop] = uvloop.new_event_loop
    return loop
