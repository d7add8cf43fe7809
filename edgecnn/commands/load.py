"""``edgecnn load``: load on a running server, and what became of it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click
import numpy as np

from edgecnn.atomic import require_writable, writing
from edgecnn.client import Client, ClientError, ModelMetadata, RetryPolicy
from edgecnn.commands.console import Terminal, terminal_options
from edgecnn.commands.load_faults import with_options
from edgecnn.commands.load_tables import describe_load, load_document, print_load
from edgecnn.commands.parameters import FiniteRange
from edgecnn.environment import describe_environment
from edgecnn.errors import ResultError, UsageError
from edgecnn.loadtest.csv_file import write_records
from edgecnn.loadtest.plan import Arrivals, LoadPlan, Payload
from edgecnn.loadtest.requests import PAYLOAD_KINDS, PayloadKind, image_requests
from edgecnn.loadtest.run import LoadRun, run_load
from edgecnn.loadtest.summary import summarise_load
from edgecnn.loadtest.target import Target, parse_target

__all__ = ["load"]

_CLIENTS = 8

#: Connections of an open loop at most: a server that stalls makes it open more and more of them.
_CONNECTIONS = 512

_DURATION_S = 10.0


@dataclass(frozen=True, slots=True, kw_only=True)
class _Request:
    """What the user asked for; the fields are the options."""

    url: str
    model: str | None
    payload: PayloadKind
    images: tuple[Path, ...]
    clients: int | None
    rate: float | None
    arrivals: Arrivals
    connections: int
    duration: float | None
    requests: int | None
    warmup: float
    timeout_ms: float
    seed: int
    api_key_file: Path | None
    verify: bool
    ca: Path | None
    remote: bool
    output: Path | None
    plot: Path | None

    def plan(self, target: Target, payloads: tuple[Payload, ...]) -> LoadPlan:
        """The load.

        Raises:
            UsageError: options that do not go together.
        """
        if self.rate is not None and self.clients is not None:
            raise UsageError(
                "--clients is a closed loop and --rate an open one.",
                "Give one of them; --connections limits those of an open loop.",
            )
        duration = _DURATION_S if self.duration is None and self.requests is None else self.duration
        return LoadPlan(
            target=target,
            payloads=payloads,
            clients=self.connections if self.rate is not None else self.clients or _CLIENTS,
            rate_per_s=self.rate,
            arrivals=self.arrivals,
            duration_s=duration,
            requests=self.requests,
            warmup_s=self.warmup,
            timeout_s=self.timeout_ms / 1000,
            verify=self.verify,
            ca=self.ca,
            seed=self.seed,
        )


@click.command()
@click.argument("url", metavar="URL")
@click.option("--model", metavar="NAME", help="Which of the server's models.  [default: its only one]")
@click.option(
    "--payload",
    type=click.Choice(PAYLOAD_KINDS),
    default="jpeg",
    show_default=True,
    help="Image files, raw pixels, or tensors of the Open Inference Protocol: binary or JSON.",
)
@click.option(
    "--image",
    "images",
    type=click.Path(path_type=Path, dir_okay=False, exists=True),
    multiple=True,
    help="A file to send; may be given again.  [default: eight of noise]",
)
@click.option(
    "--clients",
    type=click.IntRange(min=1, max=10_000),
    help=f"A closed loop of so many, each with one request under way.  [default: {_CLIENTS}]",
)
@click.option(
    "--rate",
    type=FiniteRange(min=0, min_open=True),
    metavar="R",
    help="An open loop: R requests a second, whatever the server does.",
)
@click.option(
    "--arrivals",
    type=click.Choice(["poisson", "constant"]),
    default="poisson",
    show_default=True,
    help="Of an open loop: by chance, as of independent users, or evenly.",
)
@click.option(
    "--connections",
    type=click.IntRange(min=1, max=10_000),
    default=_CONNECTIONS,
    show_default=True,
    help="Of an open loop, at most.",
)
@click.option(
    "--duration",
    type=FiniteRange(min=0, min_open=True),
    metavar="S",
    help=f"Seconds to measure.  [default: {_DURATION_S:g}, or as long as --requests take]",
)
@click.option("--requests", type=click.IntRange(min=1), metavar="N", help="Requests to measure at most.")
@click.option(
    "--warmup",
    type=FiniteRange(min=0),
    default=1.0,
    show_default=True,
    metavar="S",
    help="Seconds of the same load before.",
)
@click.option(
    "--timeout-ms",
    type=FiniteRange(min=1),
    default=10_000.0,
    show_default=True,
    metavar="T",
    help="When a request is given up, counted from when it was due.",
)
@click.option("--seed", type=int, default=0, show_default=True, help="Of arrivals and noise.")
@click.option(
    "--api-key-file",
    type=click.Path(path_type=Path, dir_okay=False, exists=True),
    help="A file that holds the API key.",
)
@click.option("--verify/--no-verify", default=True, show_default=True, help="Check the certificate of HTTPS.")
@click.option(
    "--ca",
    type=click.Path(path_type=Path, dir_okay=False, exists=True),
    metavar="FILE",
    help="PEM; the authority, or the self-signed certificate, to trust.  [default: the system's]",
)
@click.option("--remote", is_flag=True, help="Allow a server that is not on this machine.")
@click.option("-o", "--output", type=click.Path(path_type=Path), help="Write every request as CSV.")
@click.option("--plot", type=click.Path(path_type=Path), help="Draw every request; .png or .svg.")
@terminal_options
def load(terminal: Terminal, /, **options: Any) -> None:  # noqa: ANN401 - click's own
    """Put load on the server at URL, and tell throughput, latency, refusals and errors.

    A closed loop (--clients) finds what the server can do at most. An open loop (--rate) finds what users
    see: a latency counts from when its request was due, whether it could be sent then or not.

    The load is made on this machine, which needs CPU for it, too: how much is told. Exit with 1 if no request
    was answered with success.
    """
    request = _Request(**options)
    target = _allowed(request, terminal)
    _require_tls(request, target)
    _require_outputs(request)
    headers = _headers(request)
    metadata = _model(request, target)
    requests = image_requests(request.payload, metadata, request.images, target, headers, seed=request.seed)
    plan = request.plan(target, tuple(map(Payload, requests)))
    environment = describe_environment()
    title = describe_load(plan, metadata.name, request.payload)
    terminal.note(title)
    with terminal.shares("Load") as observe:
        run = run_load(plan, observe)
    summary = summarise_load(run)
    _write(request, run, title)
    if terminal.json:
        terminal.document(load_document(plan, metadata.name, request.payload, summary, environment))
    else:
        print_load(terminal, summary)
    if summary.accepted is None:
        click.echo("Error: no request was answered with success; see the table above.", err=True)
        raise click.exceptions.Exit(1)


def _allowed(request: _Request, terminal: Terminal) -> Target:
    """The server, if load may be put on it.

    Raises:
        UsageError: no URL, or one of another machine without --remote.
    """
    target = parse_target(request.url)
    if not target.loopback:
        if not request.remote:
            raise UsageError(
                f"{target.host} may be another machine, and load can take it down.",
                "If it is yours to load, say so with --remote.",
            )
        terminal.warn(f"putting load on {target.host}; the network between is measured, too.")
    return target


def _require_tls(request: _Request, target: Target) -> None:
    """Refuse an authority that nothing would be checked against.

    Raises:
        UsageError: it is given for a server without TLS, or together with --no-verify.
    """
    if request.ca is not None and not target.tls:
        raise UsageError("--ca is for HTTPS only.", f"Write the URL as https://{target.authority}.")
    if request.ca is not None and not request.verify:
        raise UsageError("--ca and --no-verify contradict each other.", "Give one of them.")


def _headers(request: _Request) -> dict[str, str]:
    if request.api_key_file is None:
        return {}
    key = request.api_key_file.read_text(encoding="utf-8").strip()
    if not key or not key.isascii() or any(character.isspace() for character in key):
        raise UsageError(f"{request.api_key_file} holds no API key.", "Write it on the only line.")
    return {"authorization": f"Bearer {key}"}


def _model(request: _Request, target: Target) -> ModelMetadata:
    """What the model takes, as the server says.

    Raises:
        UsageError: the server has several models, and none was named.
        ClientError: it does not say.
    """
    key = _headers(request).get("authorization", "").removeprefix("Bearer ") or None
    retry = RetryPolicy(attempts=3, deadline_s=10)
    # The same for these requests as for the load: what is trusted, and by whom, must not differ.
    trusted = target.context(verify=request.verify, ca=request.ca) or True
    try:
        with Client(target.url, api_key=key, verify=trusted, retry=retry) as client:
            return client.metadata(request.model or _only_model(client))
    except ClientError as error:
        raise with_options(error, model=request.model) from error


def _only_model(client: Client) -> str:
    names = sorted({state.name for state in client.models()})
    if len(names) != 1:
        have = f"has {', '.join(names)}" if names else "has no model"
        raise UsageError(f"The server {have}.", "Name one with --model.")
    return names[0]


def _require_outputs(request: _Request) -> None:
    """Find out before the load, not after it.

    Raises:
        ResultError: a file cannot be written, or there is no such kind of plot.
    """
    for path, option in ((request.output, "-o"), (request.plot, "--plot")):
        if path is not None:
            with writing(path, ResultError, f"Choose another place with {option}."):
                require_writable(path)
    if request.plot is not None and request.plot.suffix not in {".png", ".svg"}:
        raise ResultError(f"{request.plot} is no kind of plot.", "Name it .png or .svg.")


def _write(request: _Request, run: LoadRun, title: str) -> None:
    if request.output is not None:
        with writing(request.output, ResultError, "Choose another place with -o."):
            write_records(run.measured, request.output)
    if request.plot is not None:
        from edgecnn.reports.plots.load import LoadSeries, write_load_plot

        records = run.measured
        answered = records.status > 0
        series = LoadSeries(
            title=title,
            due_s=records.due_ns.astype(np.float64) * 1e-9,
            latency_ms=records.latency_ms,
            kinds={
                "accepted": records.accepted,
                "refused": answered & ~records.accepted,
                "no answer": np.logical_not(answered),
            },
        )
        write_load_plot(series, request.plot)
